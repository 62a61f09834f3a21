/** Histories that are played: lines over epochs, a play button, a slider of epochs. */

import { button, curve, decimals, html, plot, set, slider, svg } from "./drawing.js";

/**
 * Return lines over epochs, strong up to the epoch of the moment and pale after it, with a dot on each:
 * `update(values, place)` draws others, `level` and `span` change the axes.
 */
export function linesPlot({ lines, ...axes }) {
  let shown = [];
  let place = 0;
  const drawn = lines.map(({ colour, dashes }) => ({
    ahead: svg("path", { class: "curve faint", style: `stroke: ${colour}`, "stroke-dasharray": dashes }),
    past: svg("path", { class: "curve", style: `stroke: ${colour}`, "stroke-dasharray": dashes }),
    dot: svg("circle", { class: "dot", r: 6, fill: colour }),
  }));
  const chart = plot({ ...axes, draw });
  for (const part of ["ahead", "past", "dot"]) chart.layer.append(...drawn.map((each) => each[part]));

  function draw() {
    const { x, y, axes: { x: epochs } } = chart;
    shown.forEach((values, k) => {
      const points = values.map((value, epoch) => [x(epochs.low + epoch), y(value)]);
      set(drawn[k].ahead, { d: curve(points) });
      set(drawn[k].past, { d: curve(points.slice(0, place + 1)) });
      set(drawn[k].dot, { cx: points[place][0], cy: points[place][1] });
    });
  }

  function update(values, epoch) {
    shown = values;
    place = epoch;
    draw();
  }
  function level(change) {
    Object.assign(chart.axes.y, change);
    chart.redraw();
  }
  function span(change) {
    shown = [];
    Object.assign(chart.axes.x, change);
    chart.redraw();
  }
  return { element: chart.element, update, level, span };
}

/**
 * Return a play button and a slider of epochs, which call `moved(epoch)`; readers of screens are told
 * `said()` where it stops. `reach(last, epoch)` sets another end.
 */
export function timeControls({ first = 0, last: end, seconds, label, moved, said }) {
  let last = end;
  let exact = first;
  const status = html("p", { class: "unseen", role: "status", "aria-live": "polite" });
  const goTo = (epoch) => {
    exact = epoch;
    moved(Math.round(exact));
  };
  const epochs = slider({
    label,
    low: first,
    high: last,
    step: 1,
    value: first,
    text: (value) => decimals(value, 0),
    moved(epoch) {
      play.stop();
      goTo(epoch);
    },
  });
  const play = player({
    started: () => exact >= last && goTo(first),
    stopped: () => (status.textContent = `Epoch ${Math.round(exact)}. ${said()}`),
    step(time) {
      goTo(Math.min(last, exact + (time / seconds) * (last - first)));
      epochs.tell(Math.round(exact));
      return exact < last;
    },
  });
  function reach(told, epoch) {
    play.stop();
    last = told;
    exact = epoch;
    set(epochs.element.querySelector("input"), { max: last });
    epochs.tell(epoch);
  }
  return { elements: [html("div", { class: "playing" }, play.element, epochs.element), status], reach };
}

/**
 * A button that plays and pauses, and a function that stops: `step(seconds)` is called each frame with
 * the time since the last, and returns whether there is more to play.
 */
function player({ step, started = () => {}, stopped = () => {} }) {
  let last = null;
  const element = button("Play", () => (last === null ? play() : stop()));
  function play() {
    last = performance.now();
    element.textContent = "Pause";
    started();
    requestAnimationFrame(frame);
  }
  function stop() {
    if (last === null) return;
    last = null;
    element.textContent = "Play";
    stopped();
  }
  function frame(now) {
    if (last === null) return;
    const more = step(Math.max(0, now - last) / 1000);
    last = now;
    if (more) requestAnimationFrame(frame);
    else stop();
  }
  return { element, stop };
}
