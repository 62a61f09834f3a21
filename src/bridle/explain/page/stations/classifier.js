/** Station 5: a linear classifier, trained in the page, asked by the reader, and what a penalty does. */

import { button, decimals, html, number, percent, showLive } from "../drawing.js";
import { bytesOf, float32Of, pathOf, samplesOf } from "../samples.js";
import { judgedBy, objectiveOf, passesOf, step, untrained } from "../training.js";
import { askingPanel } from "../classifier/asking.js";
import { penaltyPanel } from "../classifier/penalties.js";
import { planePanel } from "../classifier/plane.js";
import { progressChart } from "../classifier/progress.js";
import { examplesFigure } from "../classifier/examples.js";
import { weightsFigure } from "../classifier/weights.js";

const SLICE = 9; // milliseconds of training a frame
const CLOSE = 0.005; // above the optimum: here training stops by itself
const SHORT = 12; // features of a table that leaves room below it
const SLOWLY = 30; // the batches of a frame grow with those done, so that the beginning can be seen

export async function start(root, data) {
  const [samples, path] = await Promise.all([samplesOf(data.samples), pathOf(data.path)]);
  const optimum = { ...data.optimum, weights: weightsOf(data.optimum, data.classes.length) };
  const training = trainingPanel(root, data, optimum, samples);
  const asking = askingPanel(data, samples, (answer) => showLive(root, answerTexts(answer)));
  root.querySelector(".figure").append(
    training.element,
    html("div", { class: "panel" }, asking.element),
    ...(data.image ? [] : [planePanel({ ...data, optimum }, samples.train)]),
    penaltyPanel({ ...data, optimum, path }),
  );
  training.follow((model) => asking.update(model));
  asking.begin();
  root.dataset.ready = "";
}

/** Return the weights of each class out of their bytes. */
function weightsOf({ weight }, classes) {
  const values = float32Of(bytesOf(weight));
  const width = values.length / classes;
  return Array.from({ length: classes }, (_, k) => values.subarray(k * width, (k + 1) * width));
}

/** Return the panel that trains; `follow(see)` lets another see the model whenever it has changed. */
function trainingPanel(root, data, optimum, { train, held }) {
  const weights = weightsFigure(data);
  const examples = examplesFigure(data, train);
  const below = data.image || data.features.length <= SHORT;
  const chart = progressChart(optimum.objective, Math.log(data.classes.length));
  const said = html("p", { class: "unseen", "aria-live": "polite" });
  const play = button("Train", () => (playing ? pause() : begin()));
  play.classList.add("main");
  let model = untrained(train, data.classes.length, optimum.C);
  let playing = false;
  let see = () => {};

  function begin() {
    playing = true;
    play.textContent = "Pause";
    requestAnimationFrame(frame);
  }

  function pause() {
    playing = false;
    play.textContent = "Train";
    said.textContent = root.querySelector("[data-live=above]").textContent;
  }

  function frame() {
    if (!playing) return;
    const until = performance.now() + SLICE;
    const most = model.batches + 1 + Math.floor(model.batches / SLOWLY);
    const enough = (1 + CLOSE) * optimum.objective;
    do step(model);
    while (model.batches < most && performance.now() < until && model.objective >= enough);
    const objective = show();
    if (objective < enough) arrive();
    else requestAnimationFrame(frame);
  }

  function arrive() {
    showLive(root, { above: `${root.querySelector("[data-live=above]").textContent}. Near enough: training has stopped` });
    pause();
  }

  function show() {
    // After the first passes the value at the end of the last one will do: it is there already.
    const objective = passesOf(model) < 3 ? objectiveOf(model).objective : model.objective;
    chart.add(model.batches, objective);
    tell(objective);
    return objective;
  }

  function tell(objective) {
    weights.update((j, k) => model.weight[j * model.classes + k]);
    examples.update(model);
    const judged = held.count ? `; ${percent(judgedBy(model, held).accuracy)} of the held-out samples right` : "";
    const isNew = model.weight.every((value) => value === 0);
    const always = isNew ? `. All scores are equal, so it answers “${data.classes[0]}” always` : "";
    showLive(root, {
      objective: decimals(objective, 4),
      above: `${aboveText(objective, optimum.objective)}${judged}${always}`,
      batches: `${model.batches.toLocaleString("en")} batches, ${Math.floor(passesOf(model)).toLocaleString("en")} passes`,
    });
    see(model);
  }

  function reset() {
    if (playing) pause();
    model = untrained(train, data.classes.length, optimum.C);
    chart.clear();
    tell(Math.log(data.classes.length));
  }

  function jump() {
    if (playing) pause();
    model = untrained(train, data.classes.length, optimum.C);
    model.weight.forEach((_, place) => {
      model.weight[place] = optimum.weights[place % model.classes][Math.floor(place / model.classes)];
    });
    model.bias.set(optimum.bias);
    chart.clear();
    show();
  }

  const element = html(
    "div",
    { class: "panel two" },
    html("div", {}, html("h3", {}, data.image ? "The templates, one a class" : "The weights"), weights.element, signs(), below ? examples.element : null),
    html(
      "div",
      {},
      html("h3", {}, "The objective falls"),
      chart.element,
      html(
        "div",
        { class: "row controls" },
        play,
        button("One batch", () => {
          if (playing) pause();
          step(model);
          show();
        }),
        button("Reset", reset),
        button("Show the optimum", jump),
      ),
      html("p", { class: "live" }, html("span", { "data-live": "batches" }), ": ", html("strong", { "data-live": "above" })),
      html("p", { class: "hint" }, provenText(optimum)),
      below ? null : examples.element,
      said,
    ),
  );
  return {
    element,
    follow(other) {
      see = other;
      tell(Math.log(data.classes.length));
    },
  };
}

const signs = () =>
  html("p", { class: "hint" }, html("b", { class: "above" }, "blue"), ": raises the score; ", html("b", { class: "below" }, "orange"), ": lowers it; nothing: 0");

function aboveText(objective, least) {
  const share = objective / least - 1;
  if (share < 1e-5) return "at the optimum";
  return `${share < 0.1 ? decimals(100 * share, 2) : decimals(100 * share, 0)} % above the optimum`;
}

function provenText({ objective, gap }) {
  // Rounded up to a power of ten: what is proven must not be said to be more.
  const power = Math.ceil(Math.log10(100 * Math.max(gap, 1e-12)));
  const most = (10 ** power).toFixed(Math.max(0, -power));
  return `Whatever the weights, the objective is never below ${number(objective, 4)} by more than ${most} %: the fit comes with a proof of it.`;
}

function answerTexts({ name, bias, sum, score, probability }) {
  return {
    class: name,
    bias: decimals(bias, 2),
    sum: decimals(sum, 2),
    score: decimals(score, 2),
    probability: percent(probability),
  };
}
