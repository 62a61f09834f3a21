/** Station 6: two costs teach the same neuron; three costs teach the same network. */

import { neuron, safeRate, sigmoidSlope } from "../mathematics.js";
import {
  choices,
  curve,
  decimals,
  eachFrame,
  html,
  legend,
  percent,
  plot,
  set,
  showLive,
  spaced,
  svg,
} from "../drawing.js";
import { linesPlot, timeControls } from "../playing.js";

const EPOCHS = { same: 300, own: 30 };
const SAME_RATE = 0.15;
const STARTS = { wrong: [0.6, 0.9], badly: [2, 2] };
const SECONDS = 6;
const COSTS = [
  { key: "quadratic", text: "quadratic cost", colour: "var(--second)", dashes: "9 4" },
  { key: "cross_entropy", text: "cross-entropy", colour: "var(--colour)", dashes: null },
];
const LINES = {
  quadratic: COSTS[0],
  cross_entropy: COSTS[1],
  log_likelihood: { colour: "var(--third)", dashes: "2 4" },
};

export function start(root, data) {
  root
    .querySelector(".figure")
    .append(html("h3", {}, "One sigmoid neuron: input 1, desired output 0"), ...neuronRace(root));
  root
    .querySelector(".why")
    .before(html("div", { class: "figure wide" }, networkTitle(data.race), networkRace(data.race)));
}

/** The race of the two costs over one neuron, as elements. */
function neuronRace(root) {
  const state = { start: "badly", rates: "same", epoch: 0, paths: [] };
  const draw = eachFrame(() => show());
  const outputs = linesPlot({
    label: "Output of the neuron in each epoch",
    height: 270,
    x: { low: 0, high: EPOCHS.same, ticks: [0, 100, 200, 300], title: "epoch" },
    y: { low: 0, high: 1, ticks: [0, 0.5, 1], title: "output a: should be 0" },
    lines: COSTS,
  });
  const brake = brakePlot(state);
  const key = legend(COSTS);
  const time = timeControls({ last: EPOCHS.same, seconds: SECONDS, label: "Epoch", moved, said: sentence });
  const starts = choices({
    label: "Start (w, b)",
    options: [["wrong", "(0.6, 0.9)"], ["badly", "(2, 2)"]],
    value: state.start,
    chosen: (name) => again({ start: name }),
  });
  const rates = choices({
    label: "Learning rate",
    options: [["same", "0.15 for both"], ["own", "1 / greatest curvature each"]],
    value: state.rates,
    chosen: (name) => again({ rates: name }),
  });

  const rateOf = (cost) => (state.rates === "same" ? SAME_RATE : safeRate(cost));
  const now = (k) => state.paths[k][state.epoch];

  function again(change) {
    Object.assign(state, change);
    const [w, b] = STARTS[state.start];
    const last = EPOCHS[state.rates];
    state.paths = COSTS.map(({ key: cost }) => neuron(w, b, rateOf(cost), cost, last));
    state.epoch = Math.min(state.epoch, last);
    outputs.span({ high: last, ticks: spaced(0, last, 4) });
    time.reach(last, state.epoch);
    draw();
  }

  function moved(epoch) {
    state.epoch = epoch;
    draw();
  }

  function sentence() {
    return COSTS.map(({ text }, k) => `${text}: output ${decimals(now(k).output, 3)}`).join("; ");
  }

  function show() {
    outputs.update(state.paths.map((path) => path.map(({ output }) => output)), state.epoch);
    brake.update(state);
    key.update(COSTS.map((_, k) => decimals(now(k).output, 3)));
    const z = now(0).weight + now(0).bias;
    showLive(root, {
      epoch: String(state.epoch),
      slope: decimals(sigmoidSlope(z), 4),
      quadratic: decimals(now(0).output, 4),
      quadraticPull: decimals(now(0).output * sigmoidSlope(z), 4),
      crossEntropy: decimals(now(1).output, 4),
      rates: COSTS.map(({ key: cost }) => decimals(rateOf(cost), 2)).join(" and "),
    });
  }
  again({});
  show();
  return [
    key.element,
    html("div", { class: "pair" }, outputs.element, brake.element),
    html("div", { class: "controls" }, ...time.elements, starts, rates),
    ratesText(),
  ];
}

const ratesText = () =>
  html(
    "p",
    { class: "live under" },
    html("em", {}, "Learning rates"),
    ", by which a step multiplies the gradient: ",
    html("span", { "data-live": "rates" }),
    ". At “1 / greatest curvature each” a step surely lowers any cost that bends no more than this one, and by the most that can be promised.",
  );

/** σ′(z) as a hill with both neurons on it: the height is what the quadratic cost lets through. */
function brakePlot(state) {
  const hill = svg("path", { class: "curve", style: "stroke: var(--soft)" });
  const under = svg("path", { class: "band" });
  const marks = COSTS.map(({ colour }) => ({
    stem: svg("line", { class: "now", style: `stroke: ${colour}` }),
    dot: svg("circle", { class: "dot", r: 7, fill: colour }),
    letter: svg("text", { class: "small", "text-anchor": "middle" }),
  }));
  const chart = plot({
    label: "The brake: sigma prime of z, and where both neurons are on it",
    height: 270,
    x: { low: -5, high: 5, ticks: [-4, -2, 0, 2, 4], title: "z = w + b" },
    y: { low: 0, high: 0.29, ticks: [0, 0.1, 0.2], title: "the brake σ′(z)" },
    draw,
  });
  chart.layer.append(under, hill, ...marks.flatMap(({ stem, dot, letter }) => [stem, dot, letter]));

  function draw() {
    if (!state.paths.length) return;
    const { x, y } = chart;
    const points = spaced(-5, 5, 121).map((z) => [x(z), y(sigmoidSlope(z))]);
    set(hill, { d: curve(points) });
    set(under, { d: curve([[x(-5), y(0)], ...points, [x(5), y(0)]]) });
    state.paths.forEach((path, k) => {
      const { weight, bias } = path[state.epoch];
      const z = Math.min(5, Math.max(-5, weight + bias));
      const height = y(sigmoidSlope(z));
      set(marks[k].stem, { x1: x(z), x2: x(z), y1: y(0), y2: height });
      set(marks[k].dot, { cx: x(z), cy: height });
      set(marks[k].letter, { x: x(z), y: height - 12 });
    });
    const apart = Math.abs(marks[0].letter.getAttribute("x") - marks[1].letter.getAttribute("x")) > 16;
    marks[0].letter.textContent = apart ? "Q" : "both";
    marks[1].letter.textContent = apart ? "CE" : "";
  }
  return { element: chart.element, update: draw };
}

function networkTitle({ layers, learningRate, batchSize }) {
  const same = `same weights at first, same batches of ${batchSize}, same learning rate ${learningRate}`;
  const [inputs, hidden, outputs] = layers;
  const units = `${inputs} inputs, ${hidden} units in the middle, ${outputs} outputs`;
  return html("h3", {}, `A network of ${units}, under three costs: ${same}`);
}

/** The fitted histories of a network under three costs, played, as an element. */
function networkRace({ runs }) {
  const lines = runs.map(({ cost, label }) => ({ ...LINES[cost], text: label }));
  const last = runs[0].epochs.length;
  const judged = runs.every(({ epochs }) => epochs.every(({ heldOutAccuracy }) => heldOutAccuracy !== null));
  const share = { text: percent, ticks: [0, 0.5, 1], high: 1 };
  const views = {
    heldOutAccuracy: { short: "held out", title: "share of right answers, held-out samples", ...share },
    accuracy: { short: "learnt from", title: "share of right answers, samples learnt from", ...share },
    slope: { short: "σ′", title: "mean σ′ of the outputs", text: (slope) => decimals(slope, 3) },
  };
  if (!judged) delete views.heldOutAccuracy;
  const state = { view: Object.keys(views)[0], epoch: 1 };
  const draw = eachFrame(() => show());
  const chart = linesPlot({
    label: "The network in each epoch",
    height: 240,
    x: { low: 1, high: Math.max(2, last), ticks: epochTicks(last), title: "epoch" },
    y: { low: 0, high: 1, ticks: [0, 0.5, 1], title: "" },
    margin: { left: 56, top: 36 },
    lines,
  });
  const key = legend(lines);
  const time = timeControls({ first: 1, last, seconds: 5, label: "Epoch", moved, said: sentence });
  const shown = choices({
    label: "Shown",
    options: Object.entries(views).map(([name, { short }]) => [name, short]),
    value: state.view,
    chosen(name) {
      state.view = name;
      draw();
    },
  });

  const values = () => runs.map(({ epochs }) => epochs.map((epoch) => epoch[state.view]));
  const texts = () => values().map((each) => views[state.view].text(each[state.epoch - 1]));

  function moved(epoch) {
    state.epoch = epoch;
    draw();
  }

  function sentence() {
    const found = texts();
    return lines.map(({ text }, k) => `${text}: ${found[k]}`).join("; ");
  }

  function show() {
    const { title, text, high, ticks } = views[state.view];
    const found = values();
    const tickText = high ? (part) => `${Math.round(100 * part)} %` : text;
    const most = high ?? Math.max(...found.flat()) * 1.05;
    chart.level({ high: most, ticks: ticks ?? [0, most / 2, most], text: tickText, title });
    chart.update(found, state.epoch - 1);
    key.update(texts());
  }
  show();
  const beside = html("div", {}, key.element, html("div", { class: "controls" }, ...time.elements, shown));
  return html("div", { class: "beside" }, chart.element, beside);
}

/** At most six whole numbers from 1 to the last epoch. */
function epochTicks(last) {
  const step = Math.max(1, Math.ceil(last / 5 / 5) * 5);
  return [1, ...Array.from({ length: Math.floor(last / step) }, (_, k) => (k + 1) * step)].filter(
    (tick, k, all) => all.indexOf(tick) === k,
  );
}
