/** Station 8: does a confidence of 80 % come true in 80 of 100 cases? A temperature can mend it. */

import { calibrationError, reliabilityTable } from "../mathematics.js";
import { bytesOf, int16Of } from "../samples.js";
import {
  button, canvas, curve, decimals, eachFrame, handle, html, percent, scale, set, showLive, slider, spaced, svg,
} from "../drawing.js";

const BINS = 15;
const [COLDEST, HOTTEST] = [-3, 3]; // powers of e: where the library seeks the best temperature
const SIZE = 280;
const PLOT = { left: 40, right: SIZE - 8, top: 10, bottom: SIZE - 40 };

export function start(root, data) {
  const judged = data.judged;
  const answers = answersOf(judged);
  const best = Math.log(judged.temperature);
  const before = summary(answers, 1);
  const after = summary(answers, judged.temperature);
  const diagram = reliabilityDiagram();
  const losses = lossCurve(answers, best, before.loss, (power) => moved(power));
  let power = 0;
  const draw = eachFrame(show);

  const temperature = slider({
    label: "Temperature T",
    low: COLDEST,
    high: HOTTEST,
    step: 0.01,
    value: power,
    text: temperatureText,
    moved: (told) => moved(told),
  });
  root.querySelector(".figure").append(
    html(
      "div",
      { class: "pair" },
      html("div", {}, html("h3", {}, "How often right, for how sure"), diagram.element),
      html("div", {}, html("h3", {}, "Mean loss at each temperature"), losses.element),
    ),
    html(
      "div",
      { class: "controls" },
      temperature.element,
      html("div", { class: "row" }, button("T = 1", () => moved(0)), button("The best T", () => moved(best))),
    ),
    table(judged.temperature),
    html(
      "p",
      { class: "under" },
      "The ",
      html("em", {}, "calibration error"),
      " is the mean distance from the diagonal, each group weighted by its size. The best T is chosen on the very samples that judge it here: on new ones it would do a little worse.",
    ),
  );
  showLive(root, {
    samples: String(answers.count),
    bins: String(before.table.length),
    crowd: crowd(before.table),
    accuracy: precise(before.accuracy),
    verdict: verdict(before),
    least: leastText(before, after, judged.temperature),
    ...column("before", before),
    ...column("after", after),
  });

  function moved(told) {
    power = told;
    draw();
  }

  function show() {
    const now = summary(answers, Math.exp(power));
    temperature.tell(power);
    diagram.update(now.table);
    losses.update(power, now.loss);
    showLive(root, { temperature: temperatureText(power), sentence: sentence(now), ...column("now", now) });
  }
  show();
}

function answersOf({ scores, step, labels, classes }) {
  return {
    scores: Float64Array.from(int16Of(bytesOf(scores)), (value) => value * step),
    labels,
    count: labels.length,
    width: classes.length,
  };
}

/** Return the loss, and who is right how surely, with all scores divided by a temperature. */
function summary({ scores, labels, count, width }, temperature) {
  const confidence = new Float64Array(count);
  const correct = new Uint8Array(count);
  let loss = 0;
  for (let row = 0; row < count; row += 1) {
    const from = row * width;
    let first = 0;
    for (let k = 1; k < width; k += 1) if (scores[from + k] > scores[from + first]) first = k;
    let sum = 0;
    for (let k = 0; k < width; k += 1) sum += Math.exp((scores[from + k] - scores[from + first]) / temperature);
    confidence[row] = 1 / sum;
    correct[row] = first === labels[row] ? 1 : 0;
    loss += Math.log(sum) + (scores[from + first] - scores[from + labels[row]]) / temperature;
  }
  const table = reliabilityTable(confidence, correct, BINS);
  return {
    loss: loss / count,
    table,
    error: calibrationError(table),
    confidence: mean(confidence),
    accuracy: mean(correct),
    count,
  };
}

const mean = (values) => values.reduce((total, value) => total + value, 0) / values.length;

const temperatureText = (power) => decimals(Math.exp(power), 2);

function column(name, { loss, error, confidence }) {
  return {
    [`${name}-loss`]: decimals(loss, 4),
    [`${name}-error`]: precise(error),
    [`${name}-confidence`]: precise(confidence),
  };
}

/** Return the table of what a temperature changes: at 1, now, and at the best. */
function table(best) {
  const place = (name) => html("td", { "data-live": name });
  const row = (title, ...names) => html("tr", {}, html("th", { scope: "row" }, title), names.map(place));
  const head = (...children) => html("th", { scope: "col" }, ...children);
  const three = (name) => ["before", "now", "after"].map((time) => `${time}-${name}`);
  return html(
    "table",
    { class: "live" },
    html(
      "thead",
      {},
      html(
        "tr",
        {},
        html("td"),
        head("T = 1"),
        head("T = ", html("span", { "data-live": "temperature" })),
        head(`best: ${decimals(best, 2)}`),
      ),
    ),
    html(
      "tbody",
      {},
      row("Loss, nats", ...three("loss")),
      row("Calibration error", ...three("error")),
      row("How sure, mean", ...three("confidence")),
      row("Right", "accuracy", "accuracy", "accuracy"),
    ),
  );
}

const precise = (share) => `${decimals(100 * share, 1)}\u00a0%`;

/** Tell where most groups are, if they cannot be told apart. */
function crowd(table) {
  const sure = table.filter(({ confidence, accuracy }) => confidence > 0.95 && accuracy > 0.95).length;
  if (sure <= table.length / 2) return "";
  return `Most groups, ${sure} of ${table.length}, lie on top of each other at the top right.`;
}

/** How far chance moves the share of right answers, at most, of a model that is right as often as it says. */
const standardError = ({ confidence, count }) => Math.sqrt((confidence * (1 - confidence)) / count);

/** Tell whether the mean confidence is off by more than chance: 1 above, −1 below, 0 no clear sign. */
function clearSign(found) {
  const gap = found.confidence - found.accuracy;
  return Math.abs(gap) <= 2 * standardError(found) ? 0 : Math.sign(gap);
}

function sentence(found) {
  const { confidence, accuracy } = found;
  const sure = `With this temperature it is ${precise(confidence)} sure on average and right in ${precise(accuracy)}`;
  const error = `if the first were true, chance would move the second by √(p (1 − p) / n) = ${precise(standardError(found))}, its standard error`;
  const signs = {
    "-1": "It is right clearly more often than it says.",
    0: "They are less than two of these apart: no clear sign of a difference.",
    1: "It is clearly surer than it is right.",
  };
  return `${sure}; ${error}. ${signs[clearSign(found)]}`;
}

function verdict(before) {
  if (before.accuracy === 1) return "is right in every one of them";
  const sign = clearSign(before);
  if (sign === 0) return "shows no clear sign of too much or too little confidence";
  return `is ${sign > 0 ? "overconfident" : "underconfident"}`;
}

function leastText(before, after, temperature) {
  if (before.accuracy === 1) return ", so its loss falls on and on as T goes to 0";
  return `: its loss of ${decimals(before.loss, 4)} is least, ${decimals(after.loss, 4)}, at T = ${decimals(temperature, 2)}`;
}

/** Return the square of confidence and accuracy, in which the diagonal is perfect. */
function reliabilityDiagram() {
  const x = scale([0, 1], [PLOT.left, PLOT.right]);
  const y = scale([0, 1], [PLOT.bottom, PLOT.top]);
  const element = canvas(SIZE, SIZE, "Reliability diagram: accuracy over confidence");
  element.append(
    ...frame(),
    ...[0, 0.25, 0.5, 0.75, 1].flatMap((share) => [
      tick(x(share), PLOT.bottom + 16, "middle", `${share * 100}`),
      tick(PLOT.left - 6, y(share) + 4, "end", `${share * 100}`),
    ]),
    tick((PLOT.left + PLOT.right) / 2, SIZE - 6, "middle", "how sure, %"),
    svg("line", { class: "diagonal", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }),
  );
  const marks = svg("g");
  element.append(marks);
  const update = (table) => {
    marks.replaceChildren(
      svg("path", { class: "curve", d: curve(table.map((bin) => [x(bin.confidence), y(bin.accuracy)])) }),
      ...table.flatMap((bin) => [
        svg("line", {
          class: "gap",
          x1: x(bin.confidence),
          x2: x(bin.confidence),
          y1: y(bin.confidence),
          y2: y(bin.accuracy),
        }),
        svg(
          "circle",
          { class: "bin", cx: x(bin.confidence), cy: y(bin.accuracy), r: 5 },
          svg(
            "title",
            {},
            `${bin.count} samples, ${percent(bin.confidence)} sure, right in ${percent(bin.accuracy)}`,
          ),
        ),
      ]),
    );
  };
  return { element, update };
}

/** Return the curve of the loss over the temperature, with its optimum and a handle on it. */
function lossCurve(answers, best, loss, moved) {
  const points = spaced(COLDEST, HOTTEST, 61).map((power) => [power, summary(answers, Math.exp(power)).loss]);
  const least = summary(answers, Math.exp(best)).loss;
  const hottest = points.at(-1)[1];
  const top = Math.max(1.15 * hottest, 1.5 * loss);
  const x = scale([COLDEST, HOTTEST], [PLOT.left, PLOT.right]);
  const y = scale([0, top], [PLOT.bottom, PLOT.top]);
  const shown = (power, value) => [x(power), y(Math.min(value, top))];
  const element = canvas(SIZE, SIZE, "Mean loss over temperature");
  const dot = svg("g", {}, svg("circle", { class: "reach", r: 20 }), svg("circle", { r: 9 }));
  const [bestX, bestY] = shown(best, least);
  element.append(
    ...frame(),
    ...[0.1, 0.5, 1, 2, 10].map((each) => tick(x(Math.log(each)), PLOT.bottom + 16, "middle", String(each))),
    ...[0, top / 2, top].map((each) => tick(PLOT.left - 6, y(each) + 4, "end", decimals(each, top < 0.2 ? 2 : 1))),
    tick((PLOT.left + PLOT.right) / 2, SIZE - 6, "middle", "temperature"),
    svg("line", { class: "optimum", x1: bestX, x2: bestX, y1: PLOT.top, y2: PLOT.bottom }),
    svg(
      "text",
      { class: "note", x: bestX + (best > 1 ? -6 : 6), y: PLOT.top + 14, "text-anchor": best > 1 ? "end" : "start" },
      `best: T = ${temperatureText(best)}`,
    ),
    svg("path", { class: "curve", d: curve(points.filter(([, value]) => value <= top).map(([power, value]) => shown(power, value))) }),
    svg("path", { class: "diamond", d: `M${bestX} ${bestY - 8}l8 8l-8 8l-8 -8z` }),
    dot,
  );
  const tell = handle(dot, {
    label: "Temperature",
    low: COLDEST,
    high: HOTTEST,
    step: 0.02,
    value: 0,
    text: temperatureText,
    place: (point) => x.inverse(point.x),
    moved,
  });
  const update = (power, value) => {
    const [cx, cy] = shown(power, value);
    set(dot, { transform: `translate(${cx} ${cy})` });
    tell(power);
  };
  return { element, update };
}

const frame = () => [
  svg("line", { class: "axis", x1: PLOT.left, x2: PLOT.right, y1: PLOT.bottom, y2: PLOT.bottom }),
  svg("line", { class: "axis", x1: PLOT.left, x2: PLOT.left, y1: PLOT.top, y2: PLOT.bottom }),
];

const tick = (x, y, anchor, text) => svg("text", { class: "tick", x, y, "text-anchor": anchor }, text);
