/** Station 7: surprise is −log2 p; entropy is its mean, and a wrong forecast adds the divergence. */

import { bits, crossEntropyOf, entropy, klDivergence } from "../mathematics.js";
import { bars, button, decimals, eachFrame, html, number, percent, set, showLive } from "../drawing.js";
import { pixels, showInk } from "../pictures.js";

const NAMES = ["sun", "cloud", "rain", "snow"];
const TRUTH = [1 / 2, 1 / 4, 1 / 8, 1 / 8];
const FORECAST = [1 / 8, 1 / 8, 1 / 4, 1 / 2];
const UNIFORM = NAMES.map(() => 1 / NAMES.length);

export function start(root, data) {
  const state = { truth: TRUTH, forecast: FORECAST };
  const draw = eachFrame(show);
  const truth = distribution("Truth p", "truth", "var(--third)");
  const forecast = distribution("Forecast q", "forecast", "var(--colour)");
  const stack = stackedBars();

  root.querySelector(".figure").append(
    html(
      "div",
      { class: "pair" },
      html("div", {}, html("h3", {}, "How often it comes true: p"), truth.element),
      html("div", {}, html("h3", {}, "What is forecast: q"), forecast.element),
    ),
    stack.element,
    html(
      "div",
      { class: "row controls" },
      button("Forecast the truth", () => become({ forecast: state.truth })),
      button("Forecast all alike", () => become({ forecast: UNIFORM })),
      button("Be sure of snow", () => become({ forecast: [0, 0, 0, 1] })),
      button("Start again", () => become({ truth: TRUTH, forecast: FORECAST })),
    ),
    gallery(data),
  );

  function distribution(label, key, colour) {
    return bars({
      label,
      names: NAMES,
      low: 0,
      high: 1,
      step: 0.01,
      values: state[key],
      text: (share) => `${decimals(100 * share, 1)} %`.replace(".0", ""),
      colour: () => colour,
      moved: (place, value) => become({ [key]: renormalised(state[key], place, value) }),
    });
  }

  function become(change) {
    Object.assign(state, change);
    draw();
  }

  function show() {
    truth.update(state.truth);
    forecast.update(state.forecast);
    const own = bits(entropy(state.truth));
    const extra = Math.max(0, bits(klDivergence(state.truth, state.forecast)));
    const whole = bits(crossEntropyOf(state.truth, state.forecast));
    stack.update(own, extra, whole);
    showLive(root, { entropy: inBits(own), divergence: inBits(extra), cross: inBits(whole) });
  }
  show();
}

const inBits = (value) => decimals(value, 3);

/** Return a distribution with one share changed, and the others in their old proportion. */
function renormalised(shares, place, value) {
  const rest = shares.reduce((total, share, k) => (k === place ? total : total + share), 0);
  const others = shares.length - 1;
  return shares.map((share, k) => {
    if (k === place) return value;
    return rest > 0 ? (share / rest) * (1 - value) : (1 - value) / others;
  });
}

/** Return two bars of the same length: H(p) with KL(p, q) after it, and H(p, q). */
function stackedBars() {
  const own = html("span", { class: "own" });
  const extra = html("span", { class: "extra" });
  const whole = html("span", { class: "whole" });
  const texts = { own: html("b"), extra: html("b"), whole: html("b") };
  const key = (name, text) => html("span", { class: "key" }, html("i", { class: name }), text, " ", texts[name]);
  const element = html(
    "div",
    { class: "stack" },
    html("div", { class: "legend" }, key("own", "entropy H(p)"), key("extra", "+ divergence KL(p, q)")),
    html("div", { class: "track" }, own, extra),
    html("div", { class: "legend" }, key("whole", "= cross-entropy H(p, q)")),
    html("div", { class: "track" }, whole),
  );
  const update = (first, second, both) => {
    // The track is 4 bits long, or as long as it must be; what is infinite goes to its end.
    const length = Number.isFinite(both) ? Math.max(4, both) : Infinity;
    const share = (value) => (Number.isFinite(length) ? value / length : value / 4);
    const firstShare = share(first);
    set(own, { style: `width: ${100 * firstShare}%` });
    set(extra, { style: `width: ${100 * (Number.isFinite(second) ? share(second) : 1 - firstShare)}%` });
    set(whole, { style: `width: ${100 * (Number.isFinite(both) ? share(both) : 1)}%` });
    texts.own.textContent = `${decimals(first, 2)} bits`;
    texts.extra.textContent = `${decimals(second, 2)} bits`;
    texts.whole.textContent = `${decimals(both, 2)} bits`;
  };
  return { element, update };
}

/** Return the samples of the data whose labels the model expected least. */
function gallery({ surprises, image }) {
  if (surprises.length === 0) return null;
  const pixelValues = surprises.flatMap(({ values }) => values);
  const [least, brightest] = [Math.min(0, ...pixelValues), Math.max(...pixelValues)];
  return html(
    "div",
    { class: "gallery" },
    html("h3", {}, "The most surprising samples of the data, which the model has not learnt from"),
    image
      ? null
      : html("p", {}, "With each, the features in which it is least like other samples of its label, and by how many standard deviations σ."),
    html(
      "ol",
      { class: image ? "pictures" : "tellings" },
      surprises.map((found) =>
        html(
          "li",
          {},
          image ? picture(found.values, image, least, brightest) : telling(found.telling),
          html("strong", {}, `${decimals(bits(found.nats), 2)} bits`),
          html("span", {}, "labelled ", html("q", {}, found.label), ` (${percent(Math.exp(-found.nats))})`),
          html("span", {}, "model: ", html("q", {}, found.predicted), ` (${percent(Math.exp(found.largest))})`),
        ),
      ),
    ),
  );
}

function picture(values, image, least, brightest) {
  const canvas = pixels(image, "The sample’s picture", "ink");
  showInk(canvas, values.map((value) => value - least), brightest - least);
  return canvas;
}

/** Return the features in which a sample is least like the others of its label. */
function telling(features) {
  return html(
    "ul",
    {},
    features.map(({ name, value, deviations }) =>
      html(
        "li",
        {},
        html("span", { class: "feature", title: name }, name),
        html("span", {}, number(value, 4)),
        html("small", {}, `${deviations > 0 ? "+" : ""}${decimals(deviations, 1)} σ`),
      ),
    ),
  );
}
