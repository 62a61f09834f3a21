/** The curve of the objective, batch by batch, and the line of the proven optimum below it. */

import { canvas, curve, number, scale, set, svg } from "../drawing.js";

const [WIDTH, HEIGHT] = [440, 250];
const PLOT = { left: 46, right: WIDTH - 10, top: 12, bottom: HEIGHT - 42 };
const MOST_POINTS = 600;

/** Return the chart; `add(batches, objective)` goes on with the curve, `clear()` begins anew. */
export function progressChart(optimum, start) {
  const ends = [Math.log(0.85 * optimum), Math.log(1.3 * start)];
  const height = scale(ends, [PLOT.bottom, PLOT.top]);
  const y = (value) => Math.max(PLOT.top, height(Math.log(value)));
  const element = canvas(WIDTH, HEIGHT, "Objective over batches, falling to the proven optimum");
  const line = svg("path", { class: "curve" });
  const dot = svg("circle", { class: "now", r: 5 });
  const ticks = svg("g");
  element.append(
    svg("line", { class: "axis", x1: PLOT.left, x2: PLOT.right, y1: PLOT.bottom, y2: PLOT.bottom }),
    svg("line", { class: "axis", x1: PLOT.left, x2: PLOT.left, y1: PLOT.top, y2: PLOT.bottom }),
    ...heights(ends).map((value) =>
      svg("text", { class: "tick", x: PLOT.left - 6, y: y(value) + 4, "text-anchor": "end" }, number(value, 1)),
    ),
    ticks,
    svg("text", { class: "tick", x: (PLOT.left + PLOT.right) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, "batches"),
    svg("line", { class: "optimum", x1: PLOT.left, x2: PLOT.right, y1: y(optimum), y2: y(optimum) }),
    svg("text", { class: "optimum-name", x: PLOT.left + 8, y: y(optimum) - 6 }, `proven optimum: ${number(optimum, 4)}`),
    line,
    dot,
  );
  let points = [];
  const clear = () => {
    points = [[0, start]];
    show();
  };
  const add = (batches, objective) => {
    points.push([batches, objective]);
    if (points.length > MOST_POINTS) points = points.filter((_, place) => place % 2 === 0);
    show();
  };
  const show = () => {
    const last = Math.max(100, points.at(-1)[0]);
    const x = scale([0, Math.log(1 + last)], [PLOT.left, PLOT.right]);
    const places = points.map(([batches, value]) => [x(Math.log(1 + batches)), y(value)]);
    set(line, { d: curve(places) });
    set(dot, { cx: places.at(-1)[0], cy: places.at(-1)[1] });
    const powers = [1, 10, 100, 1000, 10_000, 100_000].filter((power) => power <= last);
    ticks.replaceChildren(
      ...powers.map((power) =>
        svg(
          "text",
          { class: "tick", x: x(Math.log(1 + power)), y: PLOT.bottom + 18, "text-anchor": "middle" },
          power.toLocaleString("en"),
        ),
      ),
    );
  };
  clear();
  return { element, add, clear };
}

/** Return round numbers between two powers of e. */
function heights([low, high]) {
  const decades = [-4, -3, -2, -1, 0, 1].map((power) => 10 ** power);
  return decades
    .flatMap((decade) => [1, 2, 5].map((digit) => digit * decade))
    .filter((value) => Math.log(value) > low && Math.log(value) < high);
}
