/** Station 3: the loss of a sample is −log of the probability that its label was given. */

import { bits, crossEntropyOf, entropy } from "../mathematics.js";
import {
  choices,
  curve,
  decimals,
  eachFrame,
  handle,
  html,
  number,
  percent,
  plot,
  set,
  showLive,
  slider,
  spaced,
  svg,
} from "../drawing.js";

const EXAMPLE = { rows: [[0.1, 0.3, 0.6], [0.2, 0.3, 0.5]], labels: [0, 2] };
const LEAST = 0.002;
const HIGHEST = { nats: 5, bits: 7 };
const CLASSES = EXAMPLE.rows[0].map((_, k) => k);

export function start(root) {
  const state = {
    p: 0.1,
    unit: "nats",
    spread: 0,
    rows: EXAMPLE.rows.map((row) => [...row]),
    labels: [...EXAMPLE.labels],
  };
  const draw = eachFrame(() => show());
  const inUnit = (nats) => (state.unit === "bits" ? bits(nats) : nats);

  const loss = lossCurve(state, inUnit, draw);
  const unit = choices({
    label: "Unit",
    options: [["nats", "nats, base e"], ["bits", "bits, base 2"]],
    value: state.unit,
    chosen(name) {
      state.unit = name;
      draw();
    },
  });
  const table = lossTable(state, draw);
  const spread = slider({
    label: "Target spread evenly",
    low: 0,
    high: 0.6,
    step: 0.01,
    value: 0,
    text: (value) => (value === 0 ? "one-hot" : percent(value)),
    moved(value) {
      state.spread = value;
      draw();
    },
  });

  root.querySelector(".figure").append(
    html("h3", {}, "Drag the dot: what a probability costs when its class comes"),
    loss.element,
    html("div", { class: "controls above" }, unit),
    html("h3", {}, "Two samples, three classes: change any number"),
    table.element,
    html("div", { class: "controls" }, spread.element),
  );

  function show() {
    loss.update();
    table.update(inUnit);
    const nats = -Math.log(state.p);
    showLive(root, {
      p: decimals(state.p, 3),
      nats: decimals(nats, 4),
      bits: decimals(bits(nats), 4),
      heads: decimals(bits(nats), 1),
    });
  }
  show();
}

/** The curve −log p with a dot to drag along it. */
function lossCurve(state, inUnit, changed) {
  const line = svg("path", { class: "curve" });
  const across = svg("path", { class: "now", fill: "none", "stroke-dasharray": "2 3" });
  const said = svg("text", { class: "value" });
  const dot = svg(
    "g",
    {},
    svg("circle", { class: "reach", r: 22 }),
    svg("circle", { class: "dot", r: 9, fill: "var(--grip)" }),
  );
  const chart = plot({
    label: "Loss of a probability",
    height: 250,
    margin: { left: 30 },
    x: { low: 0, high: 1, ticks: [0, 0.25, 0.5, 0.75, 1], title: "probability p of the class that came" },
    y: { low: 0, high: HIGHEST.nats, ticks: [], title: "loss" },
    draw,
  });
  chart.layer.append(across, line, said, dot);
  const tell = handle(dot, {
    label: "Probability of the class that came",
    low: LEAST,
    high: 1,
    step: 0.01,
    value: state.p,
    text: (p) => `${decimals(p, 3)}: loss ${decimals(inUnit(-Math.log(p)), 3)} ${state.unit}`,
    place: (point) => chart.x.inverse(point.x),
    moved(p) {
      state.p = p;
      changed();
    },
  });

  function draw() {
    const { x, y } = chart;
    const loss = inUnit(-Math.log(state.p));
    const top = Math.min(loss, chart.axes.y.high);
    const points = spaced(0, 1, 400).map((share) => LEAST ** (1 - share));
    const shown = points.filter((p) => inUnit(-Math.log(p)) <= chart.axes.y.high);
    set(line, { d: curve(shown.map((p) => [x(p), y(inUnit(-Math.log(p)))])) });
    set(across, { d: curve([[x(0), y(top)], [x(state.p), y(top)], [x(state.p), y(0)]]) });
    set(dot, { transform: `translate(${x(state.p)} ${y(top)})` });
    const right = state.p > 0.55;
    const [aside, above] = right ? [4, 18] : [18, 8];
    const belowTitle = Math.max(y(top) - above, chart.top + 6);
    set(said, { x: x(state.p) + aside, y: belowTitle, "text-anchor": right ? "end" : "start" });
    said.textContent = `−log ${number(state.p)} = ${decimals(loss, 3)} ${state.unit}`;
  }

  function update() {
    const high = HIGHEST[state.unit];
    Object.assign(chart.axes.y, { high, ticks: spaced(0, high, high + 1), title: `loss in ${state.unit}` });
    tell(state.p);
    chart.redraw();
  }
  return { element: chart.element, update };
}

/** The example as a table to type in: probabilities, label, target, loss. */
function lossTable(state, changed) {
  const rows = state.rows.map((row, i) => {
    const targets = row.map(() => html("small", {}));
    const cells = row.map((p, k) => html("td", {}, probabilityField(i, k, p), targets[k]));
    const loss = html("strong", {});
    const note = html("small", {});
    const head = html("th", { scope: "row" }, String(i));
    const label = html("td", {}, labelField(i));
    const element = html("tr", {}, head, cells, label, html("td", {}, loss, note));
    return { element, targets, loss, note };
  });

  function probabilityField(i, k, value) {
    return html("input", {
      type: "number",
      min: 0,
      max: 1,
      step: 0.05,
      value,
      "aria-label": `Sample ${i}: probability of class ${k}`,
      input(event) {
        state.rows[i][k] = event.target.value === "" ? NaN : Number(event.target.value);
        changed();
      },
    });
  }

  function labelField(i) {
    return html(
      "select",
      {
        "aria-label": `Label of sample ${i}`,
        change(event) {
          state.labels[i] = Number(event.target.value);
          changed();
        },
      },
      CLASSES.map((k) => html("option", { value: k, selected: k === state.labels[i] ? "" : null }, String(k))),
    );
  }

  const heads = ["", ...CLASSES.map((k) => `p${"₀₁₂"[k]}`), "label", "loss"];
  const mean = html("strong", {});
  const least = html("small", {});
  const element = html(
    "div",
    { class: "losses" },
    html(
      "table",
      {},
      html("thead", {}, html("tr", {}, heads.map((text) => html("th", { scope: "col" }, text)))),
      html("tbody", {}, rows.map((row) => row.element)),
    ),
    html("p", { class: "live", role: "status" }, "Mean loss ", mean, least),
  );

  function update(inUnit) {
    const found = state.rows.map((row, i) => lossOf(row, softTarget(state.labels[i], state.spread)));
    rows.forEach(({ targets, loss, note }, i) => {
      const target = softTarget(state.labels[i], state.spread);
      targets.forEach((place, k) => (place.textContent = `t = ${number(target[k], 2)}`));
      loss.textContent = Number.isNaN(found[i].nats) ? "none" : decimals(inUnit(found[i].nats), 4);
      note.textContent = found[i].problem;
    });
    const nats = found.reduce((total, { nats }) => total + nats, 0) / found.length;
    mean.textContent = Number.isNaN(nats) ? "none" : `${decimals(inUnit(nats), 4)} ${state.unit}`;
    const bound = inUnit(entropy(softTarget(0, state.spread)));
    least.textContent = state.spread ? `; no forecast gets below ${decimals(bound, 4)}, the entropy of t` : "";
  }
  return { element, update };
}

/** A share of the target spread evenly over the classes, the rest on the label. */
function softTarget(label, spread) {
  return CLASSES.map((k) => (k === label ? 1 - spread : 0) + spread / CLASSES.length);
}

/** The loss of a row, or what is wrong with it: the library refuses a row that is no distribution. */
function lossOf(row, target) {
  const total = row.reduce((sum, p) => sum + p, 0);
  if (row.some((p) => !(p >= 0 && p <= 1))) return { nats: NaN, problem: "0 ≤ p ≤ 1" };
  if (Math.abs(total - 1) > 1e-6) return { nats: NaN, problem: `sum ${number(total)}, not 1` };
  return { nats: crossEntropyOf(target, row) + 0, problem: "" };
}
