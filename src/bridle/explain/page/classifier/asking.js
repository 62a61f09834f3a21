/** A sample to draw or to change, the scores and probabilities it gets, and where they come from. */

import { button, decimals, html, percent, set, slider } from "../drawing.js";
import { softmax } from "../mathematics.js";
import { largestOf, pixels, showInk, showSigned } from "../pictures.js";
import { scoresOf } from "../training.js";
import { painting } from "./painting.js";

const FIRST_FEATURES = 6;

/**
 * Return the panel. `update(model)` asks another model; `told(answer)` is told what came out:
 * the chosen class, its bias, the sum of what its features give, score and probability.
 */
export function askingPanel(data, { train, held }, told) {
  const samples = held.count ? held : train;
  const state = { features: new Float64Array(train.width), chosen: null, model: null };
  const changed = () => update(state.model);
  const take = (features) => {
    state.features.set(features);
    changed();
  };
  const input = data.image ? imageInput(data, samples, train, take) : featureInput(data, samples, take);
  const answers = answerTable(data.classes, (k) => {
    state.chosen = state.chosen === k ? null : k;
    changed();
  });

  function update(model) {
    state.model = model;
    if (!model) return;
    const scores = Array.from(scoresOf(model, state.features, 0, train.width));
    const probabilities = softmax(scores);
    const chosen = state.chosen ?? scores.indexOf(Math.max(...scores));
    const parts = state.features.map((value, j) => value * model.weight[j * model.classes + chosen]);
    answers.update(scores, probabilities, chosen);
    input.explain(parts, data.classes[chosen]);
    told({
      name: data.classes[chosen],
      bias: model.bias[chosen],
      sum: parts.reduce((total, part) => total + part, 0),
      score: scores[chosen],
      probability: probabilities[chosen],
    });
  }

  const element = html("div", { class: `ask ${data.image ? "of-image" : "of-features"}` }, input.element, answers.element, input.explanation);
  return { element, update, begin: input.begin };
}

/** Return buttons, one a class, each of which gives one after another of the samples of its class. */
function starts({ classes }, { labels, count, width, features }, buttonOf, give) {
  const rows = classes.map((_, k) => Array.from({ length: count }, (_, row) => row).filter((row) => labels[row] === k));
  const turns = classes.map(() => 0);
  const sampleOf = (k) => {
    const row = rows[k][turns[k] % rows[k].length];
    return features.subarray(row * width, (row + 1) * width);
  };
  const next = classes.map((_, k) => () => {
    give(sampleOf(k));
    turns[k] += 1;
    shown[k].show(sampleOf(k));
  });
  const has = classes.map((_, k) => rows[k].length > 0);
  const shown = classes.map((name, k) => (has[k] ? buttonOf(name, next[k]) : null));
  shown.forEach((each, k) => each?.show(sampleOf(k)));
  return { elements: shown.map((each) => each?.element ?? null), begin: next[has.indexOf(true)] };
}

function imageInput(data, samples, train, take) {
  const range = rangeOf(train);
  const inkOf = (features) => features.map((value, j) => (value - range.low[j]) / (range.high[j] - range.low[j] || 1));
  const grid = painting(data.image, (ink) => take(ink.map((share, j) => range.low[j] + share * (range.high[j] - range.low[j]))));
  const thumbnail = (name, next) => {
    const picture = pixels(data.image, "", "ink");
    const element = html("button", { type: "button", click: next, "aria-label": `A sample labelled ${name}`, title: `labelled ${name}` }, picture);
    return { element, show: (features) => showInk(picture, inkOf(features)) };
  };
  const from = starts(data, samples, thumbnail, (features) => grid.set(inkOf(features)));
  const evidence = pixels(data.image, "What each pixel adds to the score");
  const heading = html("h3");
  return {
    element: html(
      "div",
      { class: "input" },
      html("h3", {}, "Draw here"),
      grid.element,
      html("div", { class: "row" }, button("Clear", grid.clear), html("span", { class: "hint" }, "or take a sample of the data:")),
      html("div", { class: "thumbnails" }, from.elements),
    ),
    explanation: html(
      "div",
      { class: "evidence" },
      heading,
      evidence,
      html("p", { class: "hint" }, html("b", { class: "above" }, "blue"), " pixels raise the score, ", html("b", { class: "below" }, "orange"), " ones lower it; choose another class at its name"),
    ),
    explain(parts, name) {
      heading.textContent = `Pixel × template of ${name}`;
      showSigned(evidence, parts, largestOf(parts));
    },
    begin: from.begin,
  };
}

/** Return the values of empty and of full ink: of bytes 0 and 1; else what the data have in a pixel. */
function rangeOf({ features, count, width }) {
  const low = new Float64Array(width).fill(Infinity);
  const high = new Float64Array(width).fill(-Infinity);
  for (let place = 0; place < count * width; place += 1) {
    const j = place % width;
    low[j] = Math.min(low[j], features[place]);
    high[j] = Math.max(high[j], features[place]);
  }
  return low.some((value) => value < 0) ? { low, high } : { low: low.fill(0), high: high.fill(1) };
}

function featureInput(data, samples, take) {
  const { features, classes } = data;
  const values = new Float64Array(features.length);
  const changed = () => take(values);
  const rows = features.map((name, j) => featureRow(name, samples, j, (value) => {
    values[j] = value;
    changed();
  }));
  const text = (name, next) => ({ element: button(name, next), show() {} });
  const from = starts(data, samples, text, (given) => {
    values.set(given);
    rows.forEach((row, j) => row.tell(given[j]));
    changed();
  });
  const order = byDifference(samples, classes.length);
  const elements = order.map((j) => rows[j].element);
  const heading = html("h3");
  return {
    element: html(
      "div",
      { class: "input" },
      html("h3", {}, "A sample: its features, in standard deviations from their means"),
      html("div", { class: "row starts" }, html("span", { class: "hint" }, "Take one labelled"), from.elements),
      heading,
      elements.slice(0, FIRST_FEATURES),
      elements.length > FIRST_FEATURES
        ? html("details", {}, html("summary", {}, `${elements.length - FIRST_FEATURES} more features`), elements.slice(FIRST_FEATURES))
        : null,
    ),
    explanation: null,
    explain(parts, name) {
      heading.textContent = `Right: what each adds to the score of ${name}`;
      const largest = largestOf(parts);
      rows.forEach((row, j) => row.explain(parts[j], largest));
    },
    begin: from.begin,
  };
}

function featureRow(name, samples, j, moved) {
  let furthest = 3;
  for (let row = 0; row < samples.count; row += 1) {
    furthest = Math.max(furthest, Math.abs(samples.features[row * samples.width + j]));
  }
  const end = Math.ceil(furthest);
  const { element, tell } = slider({ label: name, low: -end, high: end, step: 0.01, value: 0, moved, text: (value) => decimals(value, 2) });
  set(element.querySelector("span"), { title: name });
  const bar = signedBar();
  return { element: html("div", { class: "feature" }, element, bar.element), tell, explain: bar.update };
}

/** Return the features in order of how much their means differ between classes. */
function byDifference({ features, labels, count, width }, classes) {
  const sums = Array.from({ length: classes }, () => new Float64Array(width));
  const counts = new Float64Array(classes);
  for (let row = 0; row < count; row += 1) {
    counts[labels[row]] += 1;
    for (let j = 0; j < width; j += 1) sums[labels[row]][j] += features[row * width + j];
  }
  const spread = Array.from({ length: width }, (_, j) => {
    const means = sums.map((sum, k) => sum[j] / Math.max(1, counts[k]));
    return Math.max(...means) - Math.min(...means);
  });
  return spread.map((_, j) => j).sort((a, b) => spread[b] - spread[a]);
}

/** Return a bar that grows from its middle to either side, with its number. */
function signedBar() {
  const bar = html("i");
  const text = html("span");
  const element = html("div", { class: "signed" }, html("div", {}, bar), text);
  const update = (value, largest) => {
    const share = (50 * Math.abs(value)) / largest;
    bar.className = value < 0 ? "below" : "above";
    bar.style.cssText = `width: ${share}%; left: ${value < 0 ? 50 - share : 50}%`;
    text.textContent = decimals(value, 2);
  };
  return { element, update };
}

function answerTable(classes, choose) {
  const rows = classes.map((name, k) => {
    const score = signedBar();
    const bar = html("i");
    const text = html("span");
    const choice = html("button", { type: "button", title: name, click: () => choose(k) }, name);
    const element = html("tr", {}, html("th", { scope: "row" }, choice), html("td", {}, score.element), html("td", {}, html("div", { class: "share" }, html("div", {}, bar), text)));
    return { element, score, bar, text, button: choice };
  });
  const element = html(
    "table",
    { class: "answers" },
    html("thead", {}, html("tr", {}, html("td"), html("th", { scope: "col" }, "score"), html("th", { scope: "col" }, "probability"))),
    html("tbody", {}, rows.map((row) => row.element)),
  );
  const update = (scores, probabilities, chosen) => {
    const largest = Math.max(1, largestOf(scores));
    rows.forEach((row, k) => {
      row.score.update(scores[k], largest);
      row.bar.style.width = `${100 * probabilities[k]}%`;
      row.text.textContent = percent(probabilities[k]);
      set(row.button, { "aria-pressed": String(k === chosen) });
    });
  };
  return { element, update };
}
