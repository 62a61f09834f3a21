/** Station 4: the gradient p − t as arrows; squared error's arrows vanish where p is near 0 or 1. */

import {
  crossEntropy,
  crossEntropyGradient,
  softmax,
  squaredError,
  squaredErrorGradient,
} from "../mathematics.js";
import {
  bars,
  button,
  choices,
  decimals,
  eachFrame,
  html,
  number,
  percent,
  showLive,
  slider,
  svg,
} from "../drawing.js";

const NAMES = ["cat", "dog", "fox", "owl"];
const START = [0.5, 2, 0.2, -1];
const WRONG = [-5, 5, -2, -3];
const [LOW, HIGH] = [-6, 6];
const COSTS = {
  crossEntropy: {
    title: "Cross-entropy: arrows t − p",
    step: "Step down the cross-entropy",
    colour: "var(--colour)",
    loss: crossEntropy,
    gradient: crossEntropyGradient,
  },
  squared: {
    title: "Squared error, same p: its arrows",
    step: "Step down the squared error",
    colour: "var(--second)",
    loss: squaredError,
    gradient: squaredErrorGradient,
  },
};

export function start(root) {
  const state = { scores: [...START], target: 0, rate: 1, steps: 0 };
  const draw = eachFrame(() => show());

  const scores = bars({
    label: "Score",
    names: NAMES,
    low: LOW,
    high: HIGH,
    step: 0.1,
    height: 190,
    values: state.scores,
    text: (value) => decimals(value, 2),
    moved(place, value) {
      state.scores[place] = value;
      state.steps = 0;
      draw();
    },
  });
  const panels = Object.values(COSTS).map((cost) => costPanel(cost, state, step));
  const label = choices({
    label: "True class",
    options: NAMES.map((name, k) => [String(k), name]),
    value: "0",
    chosen(key) {
      state.target = Number(key);
      draw();
    },
  });
  const rate = slider({
    label: "Size of a step",
    low: 0.1,
    high: 4,
    step: 0.1,
    value: state.rate,
    text: (value) => decimals(value, 1),
    moved(value) {
      state.rate = value;
      draw();
    },
  });

  const said = html("p", { class: "unseen", role: "status", "aria-live": "polite" });

  root.querySelector(".figure").append(
    html("h3", {}, "Scores: drag the bars"),
    scores.element,
    html("div", { class: "pair" }, panels.map((panel) => panel.element)),
    html(
      "div",
      { class: "controls" },
      label,
      rate.element,
      html(
        "div",
        { class: "row" },
        button("Surest and wrong", () => restart(wrongFor(state.target))),
        button("Start again", () => restart(START)),
      ),
    ),
    said,
  );

  function restart(from) {
    Object.assign(state, { scores: [...from], steps: 0 });
    draw();
  }

  function step(cost) {
    const gradient = cost.gradient(state.scores, state.target);
    state.scores = state.scores.map((score, k) => score - state.rate * gradient[k]);
    state.steps += 1;
    said.textContent = `Step ${state.steps}: loss ${number(cost.loss(state.scores, state.target))}`;
    draw();
  }

  function show() {
    scores.update(state.scores);
    panels.forEach((panel) => panel.update());
    const probabilities = softmax(state.scores);
    const texts = { label: NAMES[state.target], steps: String(state.steps) };
    for (const [name, { loss, gradient }] of Object.entries(COSTS)) {
      texts[name] = decimals(gradient(state.scores, state.target)[state.target], 4);
      texts[`${name}Loss`] = number(loss(state.scores, state.target), 4);
    }
    showLive(root, { ...texts, p: percent(probabilities[state.target]) });
  }
  show();
}

/** Scores that are nearly sure of a class that is not the target. */
function wrongFor(target) {
  const scores = [...WRONG];
  [scores[0], scores[target]] = [scores[target], scores[0]];
  if (target === 1) [scores[0], scores[1]] = [5, -5];
  return scores;
}

/** The probabilities with an arrow for each: where one step of a cost wants them, and how strongly. */
function costPanel(cost, state, step) {
  const loss = html("strong", {});
  const longest = html("strong", {});
  let arrows = [];
  const chart = bars({
    label: `${cost.title}. Probability`,
    names: NAMES,
    low: 0,
    high: 1,
    height: 200,
    values: softmax(state.scores),
    text: () => "",
    colour: () => cost.colour,
    over: (layer, x, y) => layer.replaceChildren(...targetLines(x, y), ...arrowsOver(x, y)),
  });
  for (const bar of chart.element.querySelectorAll(".bar")) bar.classList.add("pale");

  function targetLines(x, y) {
    const half = (x(1) - x(0)) * 0.32;
    return NAMES.map((_, k) => {
      const place = y(Number(k === state.target));
      return svg("line", { class: "target", x1: x(k) - half, x2: x(k) + half, y1: place, y2: place });
    });
  }

  function arrowsOver(x, y) {
    const probabilities = softmax(state.scores);
    return arrows.flatMap((gradient, k) => {
      const from = y(probabilities[k]);
      const to = y(probabilities[k] - gradient);
      const place = { x: x(k), y: Math.min(from, to) - 7, "text-anchor": "middle" };
      const text = svg("text", { class: "value small", ...place }, number(-gradient, 2));
      return [arrow(x(k), from, to, cost.colour), text];
    });
  }

  function update() {
    arrows = cost.gradient(state.scores, state.target);
    loss.textContent = number(cost.loss(state.scores, state.target), 4);
    longest.textContent = number(Math.max(...arrows.map(Math.abs)), 3);
    chart.update(softmax(state.scores));
  }
  const element = html(
    "div",
    {},
    html("h3", {}, cost.title),
    chart.element,
    html("p", { class: "live under" }, "loss ", loss, ", longest arrow ", longest),
    button(cost.step, () => step(cost)),
  );
  return { element, update };
}

/** An upright arrow; one that is too short for its head is a dot. */
function arrow(x, from, to, colour) {
  const length = Math.abs(to - from);
  if (length < 4) return svg("circle", { cx: x, cy: from, r: 2.5, fill: colour });
  const head = Math.sign(to - from) * Math.min(7, length * 0.6);
  const path = `M${x} ${from}L${x} ${to}M${x - 5} ${to - head}L${x} ${to}L${x + 5} ${to - head}`;
  return svg("path", { class: "arrow", d: path, style: `stroke: ${colour}` });
}
