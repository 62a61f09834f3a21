/** Station 1: scores become probabilities; only their differences count. */

import { logSumExp, naiveSoftmax, softmax } from "../mathematics.js";
import { bars, button, decimals, eachFrame, html, number, percent, showLive, slider } from "../drawing.js";

const NAMES = ["cat", "dog", "fox", "owl"];
const START = [2, 1, 0.2, -1];
const [LOW, HIGH] = [-5, 5];
const HEIGHT = 280;

export function start(root) {
  const state = { scores: [...START], temperature: 1, offset: 0 };
  const draw = eachFrame(() => show());

  const scores = bars({
    label: "Score",
    names: NAMES,
    low: LOW,
    high: HIGH,
    step: 0.1,
    height: HEIGHT,
    values: state.scores,
    text: (value) => decimals(value, 1),
    moved(place, value) {
      state.scores[place] = value;
      draw();
    },
  });
  const probabilities = bars({
    label: "Probability",
    names: NAMES,
    low: 0,
    high: 1,
    height: HEIGHT,
    values: softmax(START),
    text: percent,
  });
  const temperature = slider({
    label: "Temperature T",
    low: -2,
    high: 3,
    step: 0.05,
    value: 0,
    text: (power) => decimals(2 ** power, 2),
    moved(power) {
      state.temperature = 2 ** power;
      draw();
    },
  });
  const offset = slider({
    label: "Added to all scores",
    low: 0,
    high: 1000,
    step: 1,
    value: 0,
    text: (value) => decimals(value, 0),
    moved(value) {
      state.offset = value;
      draw();
    },
  });
  const again = button("Start again", () => {
    Object.assign(state, { scores: [...START], temperature: 1, offset: 0 });
    temperature.tell(0);
    offset.tell(0);
    draw();
  });

  root.querySelector(".figure").append(
    html(
      "div",
      { class: "pair" },
      html("div", {}, html("h3", {}, "Scores: drag the bars"), scores.element),
      html("div", {}, html("h3", {}, "Probabilities"), probabilities.element),
    ),
    html("div", { class: "controls" }, temperature.element, offset.element, again),
  );

  function show() {
    const shifted = state.scores.map((score) => (score + state.offset) / state.temperature);
    const found = softmax(shifted);
    const naive = naiveSoftmax(shifted);
    scores.update(state.scores);
    probabilities.update(found);
    const [first] = shifted;
    showLive(root, {
      score: decimals(first, 2),
      power: number(Math.exp(first)),
      sum: number(shifted.reduce((total, score) => total + Math.exp(score), 0)),
      probability: percent(found[0]),
      naive: Number.isNaN(naive[0]) ? "not a number" : percent(naive[0]),
      stable: percent(found[0]),
      logsumexp: decimals(logSumExp(shifted), 3),
    });
  }
  show();
}
