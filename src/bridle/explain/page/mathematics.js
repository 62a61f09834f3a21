/**
 * From scores to losses, on plain arrays of numbers: the same formulas as the library's, which a
 * test compares number by number. All logarithms are natural, so that losses are in nats.
 */

const sum = (values) => values.reduce((total, value) => total + value, 0);

/** log Σ exp(scores); the largest score is taken out first, so that nothing overflows. */
export function logSumExp(scores) {
  const largest = Math.max(...scores);
  if (!Number.isFinite(largest)) return largest === -Infinity ? -Infinity : NaN;
  // The 1 of the largest stays out of the sum: beside it a small rest would vanish.
  const place = scores.indexOf(largest);
  const rest = sum(scores.map((score, k) => (k === place ? 0 : Math.exp(score - largest))));
  return largest + Math.log1p(rest);
}

/** exp(score) / Σ exp(scores), each score divided by the temperature first. */
export function softmax(scores, temperature = 1) {
  return logSoftmax(scores, temperature).map(Math.exp);
}

/** The logarithms of the probabilities, right far below what a probability can be. */
export function logSoftmax(scores, temperature = 1) {
  const divided = scores.map((score) => score / temperature);
  const largest = Math.max(...divided);
  if (!Number.isFinite(largest)) return divided.map(() => NaN);
  // Differences from the largest, not from the sum's logarithm: an offset of all scores cancels.
  const place = divided.indexOf(largest);
  const rest = sum(divided.map((score, k) => (k === place ? 0 : Math.exp(score - largest))));
  return divided.map((score) => score - largest - Math.log1p(rest));
}

/** What a schoolbook's softmax gives: exp overflows above 709, and ∞ / ∞ is no number. */
export function naiveSoftmax(scores) {
  const powers = scores.map(Math.exp);
  const total = sum(powers);
  return powers.map((power) => power / total);
}

/** 1 / (1 + exp(−z)). */
export function sigmoid(z) {
  return z >= 0 ? 1 / (1 + Math.exp(-z)) : Math.exp(z) / (1 + Math.exp(z));
}

/** σ′(z) = σ(z) (1 − σ(z)). */
export function sigmoidSlope(z) {
  return sigmoid(z) * sigmoid(-z);
}

/** −log softmax(scores)[target]; a target may be a class or a distribution over classes. */
export function crossEntropy(scores, target) {
  const logarithms = logSoftmax(scores);
  if (!Array.isArray(target)) return -logarithms[target];
  return -sum(target.map((share, k) => (share === 0 ? 0 : share * logarithms[k])));
}

/** −Σ t log p of two distributions; 0 · log 0 is 0. */
export function crossEntropyOf(target, probabilities) {
  return -sum(target.map((share, k) => (share === 0 ? 0 : share * Math.log(probabilities[k]))));
}

/** −Σ p log p: the least mean surprise that any forecast of p can have. */
export function entropy(probabilities) {
  return crossEntropyOf(probabilities, probabilities);
}

/** Σ t log(t / p): what forecasting p costs where t is true, beyond the entropy of t. */
export function klDivergence(target, probabilities) {
  return sum(
    target.map((share, k) => (share === 0 ? 0 : share * Math.log(share / probabilities[k]))),
  );
}

/** p − t: the gradient of the cross-entropy in the scores. */
export function crossEntropyGradient(scores, target) {
  return softmax(scores).map((p, k) => p - share(target, k));
}

/** Σ (p − t)² / 2 of the same probabilities. */
export function squaredError(scores, target) {
  return sum(softmax(scores).map((p, k) => (p - share(target, k)) ** 2)) / 2;
}

/** Its gradient in the scores, p (r − Σ p r) with r = p − t: a p near 0 or 1 stops it. */
export function squaredErrorGradient(scores, target) {
  const probabilities = softmax(scores);
  const residual = probabilities.map((p, k) => p - share(target, k));
  const mean = sum(probabilities.map((p, k) => p * residual[k]));
  return probabilities.map((p, k) => p * (residual[k] - mean));
}

function share(target, k) {
  return Array.isArray(target) ? target[k] : Number(target === k);
}

export const bits = (nats) => nats / Math.LN2;

/**
 * One sigmoid neuron that learns to answer 0 to the input 1, by gradient descent: its weight, bias,
 * output and cost before the first step and after each.
 */
export function neuron(weight, bias, learningRate, cost, steps) {
  const path = [];
  let [w, b] = [weight, bias];
  for (let step = 0; step <= steps; step += 1) {
    const z = w + b;
    const output = sigmoid(z);
    const quadratic = cost === "quadratic";
    // −ln(1 − σ(z)) = ln(1 + e^z)
    const value = quadratic ? (output * output) / 2 : Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)));
    path.push({ weight: w, bias: b, output, cost: value });
    // dC/dz: the quadratic cost keeps σ′(z), in the cross-entropy it has cancelled.
    const slope = quadratic ? output * sigmoidSlope(z) : output;
    w -= learningRate * slope;
    b -= learningRate * slope;
  }
  return path;
}

/**
 * 1 / the greatest curvature of this neuron's cost in (w, b), which is twice that in z, as z = w + b:
 * the rate at which a step surely lowers any cost that bends no more, by the most to be promised.
 */
export function safeRate(cost) {
  return cost === "quadratic" ? 1 / (2 * QUADRATIC_CURVATURE) : 1 / (2 * CROSS_ENTROPY_CURVATURE);
}
// d²C/dz² is σ (1 − σ) for the cross-entropy, greatest at σ = 1/2; for the quadratic cost it is
// a² (1 − a) (2 − 3a), greatest where its derivative 2a (2 − 15a/2 + 6a²) is 0 first.
const CROSS_ENTROPY_CURVATURE = 1 / 4;
const STEEPEST = (15 - Math.sqrt(33)) / 24;
const QUADRATIC_CURVATURE = STEEPEST ** 2 * (1 - STEEPEST) * (2 - 3 * STEEPEST);

/**
 * Bins of equal mass, ascending in confidence: the sample at place i of N belongs to bin
 * ⌊i · bins / N⌋, and samples of equal confidence (to 12 decimals) all take the place of their first.
 */
export function reliabilityTable(confidence, correct, bins = 15) {
  const order = Array.from(confidence, (_, row) => row).sort((a, b) => confidence[a] - confidence[b]);
  const table = [];
  let [before, last, first] = [-Infinity, -1, 0];
  order.forEach((row, place) => {
    const rounded = Math.round(confidence[row] * 1e12);
    if (rounded > before) first = place;
    before = rounded;
    const bin = Math.floor((first * bins) / order.length);
    if (bin !== last) table.push({ count: 0, lowest: confidence[row], highest: 0, confidence: 0, accuracy: 0 });
    last = bin;
    const found = table.at(-1);
    found.count += 1;
    found.highest = confidence[row];
    found.confidence += confidence[row];
    found.accuracy += Number(correct[row]);
  });
  for (const found of table) {
    found.confidence /= found.count;
    found.accuracy /= found.count;
  }
  return table;
}

/** Σ n |accuracy − confidence| / N over the bins of a reliability table. */
export function calibrationError(table) {
  const gaps = sum(table.map(({ count, accuracy, confidence }) => count * Math.abs(accuracy - confidence)));
  return gaps / sum(table.map(({ count }) => count));
}
