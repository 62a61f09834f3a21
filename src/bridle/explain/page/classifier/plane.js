/** The plane of two features: points to drag, and the regions of the classes, fitted as one drags. */

import { decimals, html, pointIn, scale, set, svg, wantsStillness } from "../drawing.js";
import { intoProbabilities, lookAgain, scoresOf, step, untrained } from "../training.js";
import { byWeight } from "./weights.js";

const MOST_POINTS = 150;
const SIDE = 400;
const CELLS = 64;
const SLICE = 6; // milliseconds of training a frame
const MOST_BATCHES = 3000; // after a change

/** Return the panel of the plane, for samples to learn from. */
export function planePanel({ classes, features, optimum }, train) {
  const state = { axes: byWeight(optimum.weights, train.width).slice(0, 2), points: null, model: null, chosen: 0, left: 0, waits: false };
  const regions = html("canvas", { width: CELLS, height: CELLS });
  const marks = svg("g");
  const drawing = svg("svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, role: "group", "aria-label": "Samples in the plane of two features" }, marks);
  const said = html("p", { class: "unseen", "aria-live": "polite" });
  const text = html("p", { class: "live" });
  const start = () => {
    state.points = pointsOf(train, state.axes);
    state.model = untrained(state.points.samples, classes.length, optimum.C);
    state.chosen = 0;
    drawPoints();
    retrain();
  };

  function retrain() {
    lookAgain(state.model);
    state.left = MOST_BATCHES;
    if (state.waits) return;
    state.waits = true;
    requestAnimationFrame(frame);
  }

  function frame() {
    const until = performance.now() + SLICE;
    while (state.left > 0 && performance.now() < until) {
      step(state.model);
      state.left -= 1;
    }
    if (!wantsStillness() || state.left === 0) drawRegions();
    state.waits = state.left > 0;
    if (state.waits) requestAnimationFrame(frame);
  }

  function drawRegions() {
    const { points, model } = state;
    const context = regions.getContext("2d");
    const colours = coloursOf(regions, classes.length);
    context.clearRect(0, 0, CELLS, CELLS);
    const place = new Float64Array(2);
    const shares = new Float64Array(classes.length);
    for (let row = 0; row < CELLS; row += 1) {
      for (let column = 0; column < CELLS; column += 1) {
        place[0] = points.x.inverse(((column + 0.5) * SIDE) / CELLS);
        place[1] = points.y.inverse(((row + 0.5) * SIDE) / CELLS);
        intoProbabilities(scoresOf(model, place, 0, model.samples.width, shares));
        const largest = Math.max(...shares);
        context.globalAlpha = 0.08 + (0.4 * (largest - 1 / classes.length)) / (1 - 1 / classes.length);
        context.fillStyle = colours[shares.indexOf(largest)];
        context.fillRect(column, row, 1, 1);
      }
    }
    text.textContent = `Objective of these ${model.samples.count} samples and their two features: ${decimals(model.objective, 4)}`;
  }

  function drawPoints() {
    const { samples, positions } = state.points;
    marks.replaceChildren(
      ...positions.map((_, row) =>
        svg("path", {
          class: "point",
          d: shape(samples.labels[row]),
          style: `fill: var(--class-${samples.labels[row] % 10})`,
          role: "img",
          tabindex: row === state.chosen ? 0 : -1,
          focus: () => choose(row),
          keydown: (event) => pressed(event, row),
          pointerdown: (event) => {
            event.currentTarget.setPointerCapture(event.pointerId);
            event.currentTarget.focus({ preventScroll: true });
            event.preventDefault();
          },
          pointermove: (event) => {
            if (!event.currentTarget.hasPointerCapture(event.pointerId)) return;
            const { x, y } = pointIn(drawing, event);
            moveTo(row, [state.points.x.inverse(x), state.points.y.inverse(y)]);
          },
        }),
      ),
    );
    positions.forEach((_, row) => placePoint(row));
  }

  function placePoint(row) {
    const { positions, samples, x, y } = state.points;
    const [first, second] = positions[row];
    set(marks.children[row], {
      transform: `translate(${x(first).toFixed(1)} ${y(second).toFixed(1)})`,
      "aria-label": `${classes[samples.labels[row]]}, ${decimals(first, 1)} and ${decimals(second, 1)}`,
    });
  }

  function choose(row) {
    set(marks.children[state.chosen], { tabindex: -1 });
    set(marks.children[row], { tabindex: 0 });
    state.chosen = row;
  }

  function moveTo(row, place) {
    const { positions, samples, x, y } = state.points;
    [x, y].forEach((axis, which) => {
      const ends = [axis.inverse(0), axis.inverse(SIDE)];
      const value = Math.min(Math.max(...ends), Math.max(Math.min(...ends), place[which]));
      positions[row][which] = value;
      if (which < samples.width) samples.features[row * samples.width + which] = value;
    });
    placePoint(row);
    retrain();
  }

  function pressed(event, row) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const count = state.points.positions.length;
    const others = { PageDown: (row + 1) % count, PageUp: (row + count - 1) % count };
    if (moves[event.key]) {
      const size = event.shiftKey ? 0.5 : 0.1;
      const [first, second] = state.points.positions[row];
      moveTo(row, [first + size * moves[event.key][0], second + size * moves[event.key][1]]);
      said.textContent = marks.children[row].getAttribute("aria-label");
    } else if (others[event.key] !== undefined) marks.children[others[event.key]].focus();
    else return;
    event.preventDefault();
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawRegions);
  start();
  const axis = (which, label) =>
    html(
      "label",
      { class: "axis-choice" },
      `${label} `,
      html(
        "select",
        {
          change(event) {
            state.axes[which] = Number(event.currentTarget.value);
            start();
          },
        },
        features.map((name, j) => html("option", { value: j, selected: j === state.axes[which] ? "" : null }, name)),
      ),
    );
  return html(
    "div",
    { class: "panel two" },
    html("div", { class: "plane" }, regions, drawing, said),
    html(
      "div",
      {},
      html("h3", {}, "Two features alone: drag the points"),
      html("p", {}, "The classifier learns again at each move, from these points only. A region is where its class is the most probable; the border between two is a straight line, because both scores are sums. By keys: arrows move a point, page up and page down go to the next."),
      html("div", { class: "controls" }, features.length > 1 ? [axis(0, "Across"), axis(1, "Up")] : null, html("ul", { class: "shapes" }, classes.map((name, k) => html("li", {}, svg("svg", { viewBox: "-9 -9 18 18", "aria-hidden": "true" }, svg("path", { class: "point", d: shape(k), style: `fill: var(--class-${k % 10})` })), html("span", { title: name }, name)))), html("button", { type: "button", click: start }, "Put all points back")),
      text,
    ),
  );
}

/** Return some samples with two features each, where they stand, and the scales of both axes. */
function pointsOf({ features, labels, count, width }, axes) {
  const shown = Math.min(count, MOST_POINTS);
  const used = axes.length;
  const at = (row, which) => features[row * width + axes[which]];
  // With one feature alone, the other direction only parts the points.
  const positions = Array.from({ length: shown }, (_, row) => [at(row, 0), used > 1 ? at(row, 1) : (row * 0.618) % 1]);
  const samples = {
    features: Float64Array.from({ length: shown * used }, (_, place) => positions[Math.floor(place / used)][place % used]),
    labels: labels.slice(0, shown),
    count: shown,
    width: used,
  };
  return { samples, positions, x: axisOf(positions, 0, [0, SIDE]), y: axisOf(positions, 1, [SIDE, 0]) };
}

function axisOf(positions, which, ends) {
  const values = positions.map((place) => place[which]);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const rim = 0.08 * (high - low) || 1;
  return scale([low - rim, high + rim], ends);
}

/** Return the shape of a class: no two of ten are alike. */
function shape(k) {
  return [
    "M-6 0a6 6 0 1 0 12 0a6 6 0 1 0 -12 0z",
    "M-5 -5h10v10h-10z",
    "M0 -7l6.5 12h-13z",
    "M0 -7.5l6 7.5l-6 7.5l-6 -7.5z",
    "M-2.2 -7h4.4v4.8h4.8v4.4h-4.8v4.8h-4.4v-4.8h-4.8v-4.4h4.8z",
    "M0 7l6.5 -12h-13z",
    "M-4 -7l4 4l4 -4l3 3l-4 4l4 4l-3 3l-4 -4l-4 4l-3 -3l4 -4l-4 -4z",
    "M0 -8l2 5h5.5l-4.3 3.6l1.6 5.6l-4.8 -3.3l-4.8 3.3l1.6 -5.6l-4.3 -3.6h5.5z",
    "M-3.5 -6.5h7l3.5 6.5l-3.5 6.5h-7l-3.5 -6.5z",
    "M-7 -2.5h14v5h-14z",
  ][k % 10];
}

function coloursOf(element, count) {
  const style = getComputedStyle(element);
  return Array.from({ length: count }, (_, k) => style.getPropertyValue(`--class-${k % 10}`).trim());
}
