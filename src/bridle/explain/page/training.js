/**
 * Softmax regression by mini-batch gradient descent with momentum: small enough to read, fast enough
 * to train while the page is looked at.
 *
 * The objective is the library's: the mean cross-entropy of the samples plus Σ w² / (2 C n). Weights
 * stand feature by feature, `weight[feature * classes + k]`, so that a pixel of 0 costs nothing.
 */

const BATCH = 50;
// More than 0.9 would add up the chance of small batches; without it, it shortens long valleys.
const [MOMENTUM, CALM_MOMENTUM] = [0.9, 0.98];
const BUILD_UP = 10; // batches after which momentum is at its half
const CALMER = 0.1; // how much smaller each climb makes the steps
const POWERS = 15; // turns of the power method
const ALMOST = 1.1; // what it stays below the eigenvalue by then, and more

/** Return a classifier whose weights are 0, for samples `{ features, labels, count, width }`. */
export function untrained(samples, classes, C) {
  const penalty = 1 / (C * samples.count);
  return {
    samples,
    classes,
    penalty,
    rate: safeRate(samples, penalty),
    climbs: 0,
    run: 0, // batches since the momentum began
    objective: Math.log(classes),
    weight: new Float64Array(samples.width * classes),
    bias: new Float64Array(classes),
    best: null, // weights and bias of the last pass that fell
    anchor: null, // weights and bias at the beginning of a pass, with the gradient of all samples
    weightSpeed: new Float64Array(samples.width * classes),
    biasSpeed: new Float64Array(classes),
    order: Int32Array.from({ length: samples.count }, (_, row) => row),
    random: randomNumbers(1),
    place: 0,
    batches: 0,
  };
}

/** Take samples that have been changed where they stand as they are now. */
export function lookAgain(model) {
  model.rate = safeRate(model.samples, model.penalty);
  Object.assign(model, { climbs: 0, run: 0, best: null, anchor: null });
  model.objective = objectiveOf(model).objective;
}

/**
 * Return the step size: 1 over the curvature that a batch can be expected to have.
 *
 * The Hessian of a sample's loss is at most half its squared row norm, with 1 for the bias. That of
 * all samples is at most half the largest eigenvalue of their mean x xᵀ, often far less; a batch
 * lies between: mostly like all samples, with its share of the longest row.
 */
function safeRate(samples, penalty) {
  let longest = 0;
  for (let row = 0; row < samples.count; row += 1) longest = Math.max(longest, squareOf(samples, row));
  const share = samples.count > 1 ? Math.max(0, samples.count - BATCH) / (BATCH * (samples.count - 1)) : 0;
  const curvature = (1 - share) * largestEigenvalue(samples) + share * longest;
  return 1 / (Math.min(curvature, longest) / 2 + penalty);
}

function squareOf({ features, width }, row) {
  let square = 1;
  for (let j = row * width; j < (row + 1) * width; j += 1) square += features[j] * features[j];
  return square;
}

/** Return the largest eigenvalue of the mean x xᵀ (with 1 for the bias), by the power method. */
function largestEigenvalue({ features, count, width }) {
  let direction = new Float64Array(width + 1).fill(1);
  let length = Math.sqrt(width + 1);
  for (let turn = 0; turn < POWERS; turn += 1) {
    const next = new Float64Array(width + 1);
    for (let row = 0; row < count; row += 1) {
      let along = direction[width];
      for (let j = 0; j < width; j += 1) along += features[row * width + j] * direction[j];
      along /= length * count;
      for (let j = 0; j < width; j += 1) next[j] += along * features[row * width + j];
      next[width] += along;
    }
    direction = next;
    length = Math.sqrt(next.reduce((sum, value) => sum + value * value, 0));
  }
  return ALMOST * length;
}

/** Return the scores of one row of features, or write them into `scores`. */
export function scoresOf({ weight, bias, classes }, features, from, width, scores = new Float64Array(classes)) {
  scores.set(bias);
  for (let j = 0; j < width; j += 1) {
    const value = features[from + j];
    if (value === 0) continue;
    for (let k = 0; k < classes; k += 1) scores[k] += value * weight[j * classes + k];
  }
  return scores;
}

/** Turn scores into probabilities where they stand; return log Σ exp(scores). */
export function intoProbabilities(scores) {
  let largest = -Infinity;
  for (const score of scores) largest = Math.max(largest, score);
  let sum = 0;
  for (let k = 0; k < scores.length; k += 1) {
    scores[k] = Math.exp(scores[k] - largest);
    sum += scores[k];
  }
  for (let k = 0; k < scores.length; k += 1) scores[k] /= sum;
  return largest + Math.log(sum);
}

/** Return the class of the largest score; of equal ones the first, as the library does. */
export function predicted(scores) {
  let first = 0;
  for (let k = 1; k < scores.length; k += 1) if (scores[k] > scores[first]) first = k;
  return first;
}

/** Return the mean cross-entropy of samples, and the share of them that is classified rightly. */
export function judgedBy(model, { features, labels, count, width }) {
  const scores = new Float64Array(model.classes);
  let [loss, right] = [0, 0];
  for (let row = 0; row < count; row += 1) {
    scoresOf(model, features, row * width, width, scores);
    const own = scores[labels[row]];
    if (predicted(scores) === labels[row]) right += 1;
    loss += intoProbabilities(scores) - own;
  }
  return { loss: loss / count, accuracy: right / count };
}

/** Return the mean cross-entropy of the samples to learn from, and what is minimised. */
export function objectiveOf(model) {
  const { loss } = judgedBy(model, model.samples);
  let square = 0;
  for (const weight of model.weight) square += weight * weight;
  return { loss, objective: loss + (model.penalty * square) / 2 };
}

/**
 * Return the gradient over some rows: probability − target, times the features, in the mean; at the
 * model's weights or others.
 */
export function gradientOf({ samples, classes, penalty, weight, bias }, rows, at = { weight, bias }) {
  const { features, labels, width } = samples;
  const gradient = { weight: at.weight.map((value) => penalty * value), bias: new Float64Array(classes) };
  const scores = new Float64Array(classes);
  const asked = { ...at, classes };
  for (const row of rows) {
    scoresOf(asked, features, row * width, width, scores);
    intoProbabilities(scores);
    scores[labels[row]] -= 1;
    for (let k = 0; k < classes; k += 1) {
      scores[k] /= rows.length;
      gradient.bias[k] += scores[k];
    }
    for (let j = 0; j < width; j += 1) {
      const value = features[row * width + j];
      if (value === 0) continue;
      for (let k = 0; k < classes; k += 1) gradient.weight[j * classes + k] += value * scores[k];
    }
  }
  return gradient;
}

/**
 * Take one step over the next batch. The samples are shuffled before each pass over them; after
 * each, `model.objective` is what it is then.
 */
export function step(model) {
  if (model.place === 0) shuffle(model.order, model.random);
  const rows = model.order.subarray(model.place, model.place + BATCH);
  const gradient = calmed(gradientOf(model, rows), model, rows);
  const rate = model.rate / (1 + CALMER * model.climbs);
  const momentum = Math.min(model.anchor ? CALM_MOMENTUM : MOMENTUM, model.run / (model.run + BUILD_UP));
  move(model.weight, model.weightSpeed, gradient.weight, rate, momentum);
  move(model.bias, model.biasSpeed, gradient.bias, rate, momentum);
  model.run += 1;
  model.place = model.place + BATCH >= model.samples.count ? 0 : model.place + BATCH;
  model.batches += 1;
  if (model.place === 0) endPass(model);
}

/**
 * Return a batch's gradient without what it was off from that of all samples when the pass began:
 * near the optimum small batches would otherwise shake the model for ever.
 */
function calmed(gradient, { anchor, ...model }, rows) {
  if (!anchor) return gradient;
  const off = gradientOf(model, rows, anchor);
  for (const part of ["weight", "bias"]) {
    const [values, offs, whole] = [gradient[part], off[part], anchor.whole[part]];
    for (let k = 0; k < values.length; k += 1) values[k] += whole[k] - offs[k];
  }
  return gradient;
}

/** Take a pass that climbs back; from the first such pass on, calm the batches. */
function endPass(model) {
  const { objective } = objectiveOf(model);
  if (objective > model.objective && model.best) {
    model.climbs += 1;
    model.run = 0; // the momentum has run through the valley and up its other side
    model.weight.set(model.best.weight);
    model.bias.set(model.best.bias);
  } else {
    model.objective = objective;
    model.best = { weight: model.weight.slice(), bias: model.bias.slice() };
  }
  if (model.climbs) model.anchor = { ...model.best, whole: gradientOf(model, model.order) };
}

/** Return how often the samples have been gone through. */
export const passesOf = ({ batches, samples }) => batches / Math.ceil(samples.count / BATCH);

function move(values, speed, gradient, rate, momentum) {
  for (let k = 0; k < values.length; k += 1) {
    speed[k] = momentum * speed[k] - rate * gradient[k];
    values[k] += speed[k];
  }
}

function shuffle(order, random) {
  for (let last = order.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    [order[last], order[other]] = [order[other], order[last]];
  }
}

/** Return a source of numbers in [0, 1), the same for the same seed: every visit trains alike. */
function randomNumbers(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
