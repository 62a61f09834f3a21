/** Station 2: the likelihood is a product, its logarithm a sum; both are greatest at one weight. */

import { logSoftmax } from "../mathematics.js";
import {
  curve,
  decimals,
  eachFrame,
  fitted,
  html,
  number,
  plot,
  pointIn,
  set,
  showLive,
  slider,
  spaced,
  svg,
} from "../drawing.js";

// Class k of ten scores −w (x − k)²: each class wants the feature x to be near its own number.
const SAMPLES = [
  { name: "p₁₁", feature: 1.3, label: 1 },
  { name: "p₂₃", feature: 2.6, label: 3 },
  { name: "p₃₅", feature: 5.7, label: 5 },
];
const CLASSES = Array.from({ length: 10 }, (_, k) => k);
const HIGHEST = 6;
const WEIGHTS = spaced(0, HIGHEST, 241);

const probabilitiesOf = ({ feature }, weight) => logarithmsOf(feature, weight).map(Math.exp);
const logarithmsOf = (feature, weight) =>
  logSoftmax(CLASSES.map((k) => -weight * (feature - k) ** 2));

/** The logarithms of the three labels' probabilities. */
const logarithms = (weight) =>
  SAMPLES.map(({ feature, label }) => logarithmsOf(feature, weight)[label]);

/** The sum of all samples' logarithms, where the three stand there so many times. */
const sumOfAll = (weight, copies) =>
  copies * logarithms(weight).reduce((total, log) => total + log, 0);

/** Their product, factor by factor, as a computer's numbers give it. */
function productOfAll(weight, copies) {
  const factors = logarithms(weight).map(Math.exp);
  let product = 1;
  for (let copy = 0; copy < copies; copy += 1) for (const p of factors) product *= p;
  return product;
}

/** Where a function with one summit is greatest: each round leaves two thirds of the range. */
function summit(of, low, high) {
  for (let round = 0; round < 80; round += 1) {
    const third = (high - low) / 3;
    if (of(low + third) < of(high - third)) low += third;
    else high -= third;
  }
  return (low + high) / 2;
}

const BEST = summit((weight) => sumOfAll(weight, 1), 0, HIGHEST);

export function start(root) {
  const state = { weight: 1, copies: 1 };
  const draw = eachFrame(() => show());

  function moveTo(weight) {
    state.weight = Math.min(HIGHEST, Math.max(0, weight));
    weights.tell(state.weight);
    draw();
  }

  const samples = SAMPLES.map(sampleFigure);
  const panels = [
    panel({ title: "Product of all probabilities", colour: "var(--colour)", of: productOfAll, state, moveTo }),
    panel({ title: "Its logarithm, a sum", colour: "var(--third)", of: sumOfAll, state, moveTo }),
    panel({
      title: "Minus the logarithm, a loss",
      colour: "var(--second)",
      of: (weight, copies) => -sumOfAll(weight, copies),
      state,
      moveTo,
      last: true,
    }),
  ];
  const weights = slider({
    label: "Weight w",
    low: 0,
    high: HIGHEST,
    step: 0.01,
    value: state.weight,
    text: (value) => decimals(value, 2),
    moved: moveTo,
  });
  const count = slider({
    label: "Number of samples",
    low: 0,
    high: 10,
    step: 1,
    value: 0,
    text: (power) => String(3 * 2 ** power),
    moved(power) {
      state.copies = 2 ** power;
      draw();
    },
  });

  root.querySelector(".figure").append(
    html("div", { class: "three" }, samples.map((sample) => sample.element)),
    html("div", { class: "controls above" }, weights.element, count.element),
    ...panels.map(({ element }) => element),
  );

  function show() {
    const { weight, copies } = state;
    samples.forEach((sample) => sample.update(weight));
    panels.forEach((each) => each.update());
    const [first, second, third] = logarithms(weight).map((log) => decimals(Math.exp(log), 3));
    const product = productOfAll(weight, copies);
    showLive(root, {
      first,
      second,
      third,
      one: number(Math.exp(sumOfAll(weight, 1)), 4),
      count: String(3 * copies),
      product: product === 0 ? "0: too small for a computer's number" : number(product, 4),
      log: product === 0 ? "−∞, which is wrong" : number(Math.log(product), 5),
      sum: number(sumOfAll(weight, copies), 5),
      loss: number(-sumOfAll(weight, copies), 5),
      weight: decimals(weight, 2),
      best: decimals(BEST, 2),
    });
  }
  show();
}

/** A sample's ten probabilities as small bars, its label's in colour. */
function sampleFigure(sample) {
  const rects = CLASSES.map((k) =>
    svg("rect", { class: k === sample.label ? "bar" : "bar pale", fill: "var(--colour)" }),
  );
  const below = svg("text", { class: "name small", "text-anchor": "middle", y: 84 }, String(sample.label));
  const base = svg("line", { class: "axis", x1: 0, y1: 70, y2: 70 });
  const heading = html("h3", {});
  let weight = 0;
  let width = 0;
  const place = () =>
    probabilitiesOf(sample, weight).forEach((p, k) =>
      set(rects[k], { x: ((k + 0.15) * width) / 10, width: (0.7 * width) / 10, y: 70 - 66 * p, height: 66 * p }),
    );
  const drawing = fitted(`Probabilities of ten classes for x = ${sample.feature}`, (told) => {
    width = told;
    set(base, { x2: width });
    set(below, { x: ((sample.label + 0.5) * width) / 10 });
    place();
    return 88;
  });
  drawing.append(...rects, base, below);
  return {
    element: html("div", {}, heading, drawing),
    update(told) {
      weight = told;
      heading.textContent = `${sample.name} = ${decimals(probabilitiesOf(sample, weight)[sample.label], 2)}`;
      place();
    },
  };
}

/** A curve over the weights with the line of the optimum; a press or a drag moves the weight. */
function panel({ title, colour, of, state, moveTo, last = false }) {
  const line = svg("path", { class: "curve", style: `stroke: ${colour}` });
  const optimum = svg("line", { class: "optimum" });
  const now = svg("line", { class: "now" });
  const dot = svg("circle", { class: "dot", r: 6, fill: colour });
  const note = svg("text", { class: "note" });
  const chart = plot({
    label: title,
    height: last ? 170 : 136,
    margin: { top: 28, bottom: last ? 44 : 8, left: 62 },
    x: { low: 0, high: HIGHEST, ticks: last ? [0, 1, 2, 3, 4, 5, 6] : [], title: last ? "weight w" : null },
    y: { low: 0, high: 1, ticks: [], title },
    draw,
  });
  chart.layer.append(optimum, now, line, dot, note);
  let values = [];
  let copies = null;
  const dragged = (event) => moveTo(chart.x.inverse(pointIn(chart.element, event).x));
  set(chart.element, {
    class: "draggable",
    pointerdown(event) {
      chart.element.setPointerCapture(event.pointerId);
      dragged(event);
    },
    pointermove(event) {
      if (chart.element.hasPointerCapture(event.pointerId)) dragged(event);
    },
  });

  function draw() {
    const { x, y } = chart;
    const value = of(state.weight, state.copies);
    set(line, { d: curve(WEIGHTS.map((weight, k) => [x(weight), y(values[k])])) });
    set(dot, { cx: x(state.weight), cy: y(value) });
    set(optimum, { x1: x(BEST), x2: x(BEST), y1: 22, y2: chart.bottom });
    set(now, { x1: x(state.weight), x2: x(state.weight), y1: y(value), y2: chart.bottom });
    const best = of(BEST, state.copies);
    set(note, { x: x(BEST) + 10, y: chart.bottom - 24 });
    note.textContent = best === 0 ? "0 everywhere" : "";
  }

  function update() {
    if (copies === state.copies) return draw();
    copies = state.copies;
    values = WEIGHTS.map((weight) => of(weight, copies));
    const [worst, best] = [of(0, copies), of(BEST, copies)];
    const ends = worst < 0 || worst > 1 ? worst : 0;
    chart.axes.y.low = Math.min(ends, 0);
    chart.axes.y.high = Math.max(ends, ends === 0 ? best * 1.08 : 0) || 1;
    chart.axes.y.ticks = [...new Set([0, best, ends])];
    chart.redraw();
    return undefined;
  }
  return { element: chart.element, update };
}
