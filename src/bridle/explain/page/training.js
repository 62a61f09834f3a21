/**
 * Softmax regression by mini-batch gradient descent with momentum: small enough to read, fast enough
 * to train while the page is looked at.
 *
 * The objective is the library's: the mean cross-entropy of the samples plus Σ w² / (2 C n). Weights
 * stand feature by feature, `weight[feature * classes + k]`, so that a pixel of 0 costs nothing.
 */

const BATCH = 50;
const MOMENTUM = 0.9;

/** Return a classifier whose weights are 0, for samples `{ features, labels, count, width }`. */
export function untrained(samples, classes, C) {
  return {
    samples,
    classes,
    penalty: 1 / (C * samples.count),
    rate: safeRate(samples, 1 / (C * samples.count)),
    weight: new Float64Array(samples.width * classes),
    bias: new Float64Array(classes),
    weightSpeed: new Float64Array(samples.width * classes),
    biasSpeed: new Float64Array(classes),
    order: Int32Array.from({ length: samples.count }, (_, row) => row),
    random: randomNumbers(1),
    place: 0,
    batches: 0,
  };
}

/**
 * Return the step size. The Hessian of a sample's loss is at most half its squared row norm (with 1
 * for the bias), so steps of 1 over the largest never climb; momentum makes each go as far as ten.
 */
function safeRate({ features, count, width }, penalty) {
  let largest = 0;
  for (let row = 0; row < count; row += 1) {
    let square = 1;
    for (let j = row * width; j < (row + 1) * width; j += 1) square += features[j] * features[j];
    largest = Math.max(largest, square);
  }
  return 1 / (largest / 2 + penalty);
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
function intoProbabilities(scores) {
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

/** Return the mean cross-entropy of samples, and the share of them that is classified rightly. */
export function judgedBy(model, { features, labels, count, width }) {
  const scores = new Float64Array(model.classes);
  let [loss, right] = [0, 0];
  for (let row = 0; row < count; row += 1) {
    scoresOf(model, features, row * width, width, scores);
    const own = scores[labels[row]];
    if (scores.every((score) => score <= own)) right += 1;
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

/** Return the gradient over some rows: probability − target, times the features, in the mean. */
export function gradientOf({ samples, classes, penalty, weight, ...model }, rows) {
  const { features, labels, width } = samples;
  const gradient = { weight: weight.map((value) => penalty * value), bias: new Float64Array(classes) };
  const scores = new Float64Array(classes);
  for (const row of rows) {
    scoresOf({ ...model, weight, classes }, features, row * width, width, scores);
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

/** Take one step over the next batch; the samples are shuffled before each pass over them. */
export function step(model) {
  if (model.place === 0) shuffle(model.order, model.random);
  const rows = model.order.subarray(model.place, model.place + BATCH);
  const gradient = gradientOf(model, rows);
  move(model.weight, model.weightSpeed, gradient.weight, model.rate);
  move(model.bias, model.biasSpeed, gradient.bias, model.rate);
  model.place = model.place + BATCH >= model.samples.count ? 0 : model.place + BATCH;
  model.batches += 1;
}

/** Return how often the samples have been gone through. */
export const passesOf = ({ batches, samples }) => batches / Math.ceil(samples.count / BATCH);

function move(values, speed, gradient, rate) {
  for (let k = 0; k < values.length; k += 1) {
    speed[k] = MOMENTUM * speed[k] - rate * gradient[k];
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
