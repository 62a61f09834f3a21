/** What the penalty does: weights fitted beforehand at several C, and both losses over C. */

import { canvas, curve, decimals, html, number, scale, set, slider, svg } from "../drawing.js";
import { byWeight, weightsFigure } from "./weights.js";

const [WIDTH, HEIGHT] = [440, 258];
const MOST_FEATURES = 10;
const PLOT = { left: 46, right: WIDTH - 12, top: 14, bottom: HEIGHT - 50 };

/** Return the panel: weights at the C of its slider, and the curves of both losses. */
export function penaltyPanel(data) {
  const path = data.path;
  const width = data.samples.width;
  const most = byWeight(data.optimum.weights, width).slice(0, MOST_FEATURES);
  const weights = weightsFigure(data, most.sort((a, b) => a - b));
  const chart = lossChart(path);
  const text = html("p", { class: "live" });
  const best = leastOf(path);
  const show = (place) => {
    const step = path[place];
    weights.update((j, k) => (step.weight[k * width + j] * step.largest) / 127);
    chart.update(place);
    text.textContent = sentence(step, place, best, path);
  };
  const from = path.findIndex(({ C }) => C >= data.optimum.C);
  const control = slider({
    label: "C: weak penalty →",
    low: 0,
    high: path.length - 1,
    step: 1,
    value: from,
    text: (place) => number(path[place].C, 2),
    moved: show,
  });
  show(from);
  return html(
    "div",
    { class: "panel two" },
    html("div", {}, html("h3", {}, heading(data)), weights.element, html("div", { class: "controls" }, control.element), text),
    html("div", {}, html("h3", {}, "Mean loss over C"), chart.element),
  );
}

function heading({ image, features }) {
  if (image) return "Templates, each C at its own scale";
  return features.length > MOST_FEATURES ? `The ${MOST_FEATURES} features that weigh most` : "The weights";
}

/** Return the place of the least held-out loss; −1 where nothing is held out. */
function leastOf(path) {
  const losses = path.map(({ heldOutLoss }) => heldOutLoss ?? Infinity);
  const least = Math.min(...losses);
  return Number.isFinite(least) ? losses.indexOf(least) : -1;
}

function sentence({ C, loss, heldOutLoss }, place, best, path) {
  const here = `At C = ${number(C, 2)} the loss is ${decimals(loss, 3)} on the samples learnt from`;
  if (best < 0) return `${here}.`;
  const held = `${here} and ${decimals(heldOutLoss, 3)} on those held out`;
  if (place === best) return `${held}, the least.`;
  const why = place < best ? "the penalty is too strong: the weights cannot grow" : "the weights have begun to learn the samples by heart";
  return `${held}; the least is ${decimals(path[best].heldOutLoss, 3)} at C = ${number(path[best].C, 2)}. Here ${why}.`;
}

function lossChart(path) {
  const losses = path.flatMap(({ loss, heldOutLoss }) => [loss, heldOutLoss ?? 0]);
  const top = 1.08 * Math.max(...losses);
  const x = scale([0, path.length - 1], [PLOT.left + 10, PLOT.right - 10]);
  const y = scale([0, top], [PLOT.bottom, PLOT.top]);
  const best = leastOf(path);
  const element = canvas(WIDTH, HEIGHT, "Loss of training and held-out samples over C");
  const stand = svg("line", { class: "stand", y1: PLOT.top, y2: PLOT.bottom });
  const dots = [svg("circle", { class: "learnt", r: 5 }), svg("circle", { class: "held", r: 5 })];
  element.append(
    svg("line", { class: "axis", x1: PLOT.left, x2: PLOT.right, y1: PLOT.bottom, y2: PLOT.bottom }),
    svg("line", { class: "axis", x1: PLOT.left, x2: PLOT.left, y1: PLOT.top, y2: PLOT.bottom }),
    ...[0, top / 2, top].map((value) =>
      svg("text", { class: "tick", x: PLOT.left - 6, y: y(value) + 4, "text-anchor": "end" }, decimals(value, 1)),
    ),
    ...path.flatMap(({ C }, place) =>
      place % 2 ? [] : [svg("text", { class: "tick", x: x(place), y: PLOT.bottom + 24, "text-anchor": "middle" }, number(C, 1))],
    ),
    svg("text", { class: "tick", x: (PLOT.left + PLOT.right) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, "C (a large C is a small penalty)"),
    stand,
    svg("path", { class: "curve learnt", d: curve(path.map(({ loss }, place) => [x(place), y(loss)])) }),
    svg("path", { class: "curve held", d: curve(path.map(({ heldOutLoss }, place) => [x(place), y(heldOutLoss ?? NaN)])) }),
    ...legend(best >= 0),
    ...dots,
  );
  if (best >= 0) element.append(minimum(x(best), y(path[best].heldOutLoss)));
  const update = (place) => {
    set(stand, { x1: x(place), x2: x(place) });
    [path[place].loss, path[place].heldOutLoss].forEach((value, which) =>
      set(dots[which], { cx: x(place), cy: y(value ?? 0), visibility: value === null ? "hidden" : null }),
    );
  };
  return { element, update };
}

function legend(hasHeld) {
  const x = PLOT.right - 150;
  const entry = (kind, name, y) => [
    svg("line", { class: `curve ${kind}`, x1: x, x2: x + 26, y1: y, y2: y }),
    svg("text", { class: "note", x: x + 34, y: y + 4 }, name),
  ];
  return [...entry("learnt", "learnt from", PLOT.top + 8), ...(hasHeld ? entry("held", "held out", PLOT.top + 30) : [])];
}

function minimum(x, y) {
  return svg("g", {}, svg("path", { class: "diamond", d: `M${x} ${y - 9}l9 9l-9 9l-9 -9z` }), svg("text", { class: "note", x, y: y - 16, "text-anchor": "middle" }, "least"));
}
