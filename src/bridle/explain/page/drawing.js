/**
 * What figures are made of: SVG and HTML elements, scales, curves, numbers as people read them, and
 * handles that answer to mouse, finger and arrow keys alike.
 */

const SVG = "http://www.w3.org/2000/svg";

/** Return an SVG element; attributes that are null or undefined are left out. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

/** Return an HTML element. Texts become text: nothing that data say is ever read as HTML. */
export function html(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function filled(element, attributes, children) {
  set(element, attributes);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Set attributes; a function becomes a listener. */
export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === null || value === undefined) element.removeAttribute(name);
    else element.setAttribute(name, value);
  }
  return element;
}

/** Return an SVG of a size in its own units that grows with its place, with a text for readers. */
export function canvas(width, height, label) {
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label });
}

/** Return a function from [low, high] to [start, end], with its inverse. */
export function scale([low, high], [start, end]) {
  const factor = (end - start) / (high - low);
  const to = (value) => start + (value - low) * factor;
  to.inverse = (place) => low + (place - start) / factor;
  return to;
}

/** Return the path of a curve through points; it breaks where a number is not finite. */
export function curve(points) {
  let pen = "M";
  let path = "";
  for (const [x, y] of points) {
    if (Number.isFinite(x) && Number.isFinite(y)) {
      path += `${pen}${x.toFixed(2)} ${y.toFixed(2)}`;
      pen = "L";
    } else pen = "M";
  }
  return path;
}

/** Return evenly spaced numbers, both ends included. */
export function spaced(low, high, count) {
  return Array.from({ length: count }, (_, k) => low + ((high - low) * k) / (count - 1));
}

/** Return a number in a few digits: 0.0231, 12.3, 1.2e-9, ∞. */
export function number(value, digits = 3) {
  if (Number.isNaN(value)) return "not a number";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text =
    size < 1e-4 || size >= 1e6
      ? value.toExponential(digits - 1).replace("e+", "e")
      : value.toLocaleString("en", { maximumSignificantDigits: digits, useGrouping: false });
  return text.replaceAll("-", "−");
}

/** Return a number with so many decimals, with a real minus sign. */
export function decimals(value, count) {
  return Number.isFinite(value) ? value.toFixed(count).replace("-", "−") : number(value);
}

/** Return a share as per cent: 12 %, 0.31 %, 99.98 %. */
export function percent(share) {
  if (!Number.isFinite(share)) return number(share);
  const value = 100 * share;
  const whole = value === 0 || value === 100 || (value >= 10 && value <= 99);
  const count = whole ? 0 : value >= 1 && value < 99.9 ? 1 : 2;
  return value > 0 && value < 0.005 ? "< 0.01 %" : `${value.toFixed(count)} %`;
}

/** Return a function that draws at most once a frame, however often it is called. */
export function eachFrame(draw) {
  let waits = false;
  return () => {
    if (waits) return;
    waits = true;
    requestAnimationFrame(() => {
      waits = false;
      draw();
    });
  };
}

/** Tell whether the reader asked for less motion. */
export const wantsStillness = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/**
 * Make an SVG element a handle: it is dragged by mouse or finger and moved by arrow keys (with
 * shift in large steps; Home and End go to the ends), and tells screen readers what it holds.
 *
 * `place(event point in the SVG's units)` gives the value of a point, `moved(value)` takes a new
 * value, `text(value)` says it. Returns a function that tells of a value set elsewhere.
 */
export function handle(element, { label, low, high, step, value, place, moved, text = number, upright = false }) {
  let current = value;
  const clamp = (wanted) => Math.min(high, Math.max(low, wanted));
  const tell = (told) => {
    current = told;
    set(element, {
      "aria-valuenow": Number(told.toPrecision(6)),
      "aria-valuetext": text(told),
    });
  };
  const move = (wanted) => {
    tell(clamp(wanted));
    moved(current);
  };
  set(element, {
    tabindex: 0,
    role: "slider",
    class: `${element.getAttribute("class") ?? ""} handle`.trim(),
    "aria-label": label,
    "aria-valuemin": low,
    "aria-valuemax": high,
    "aria-orientation": upright ? "vertical" : "horizontal",
    keydown(event) {
      const size = step * (event.shiftKey ? 10 : 1);
      const up = { ArrowUp: size, ArrowRight: size, PageUp: 10 * step };
      const down = { ArrowDown: -size, ArrowLeft: -size, PageDown: -10 * step };
      const change = { ...up, ...down }[event.key];
      if (change !== undefined) move(Math.round((current + change) / step) * step);
      else if (event.key === "Home") move(low);
      else if (event.key === "End") move(high);
      else return;
      event.preventDefault();
    },
    pointerdown(event) {
      element.setPointerCapture(event.pointerId);
      element.focus({ preventScroll: true });
      event.preventDefault();
    },
    pointermove(event) {
      if (element.hasPointerCapture(event.pointerId)) move(place(pointIn(element.ownerSVGElement, event)));
    },
  });
  tell(value);
  return tell;
}

/** Return where an event is, in the units of an SVG. */
export function pointIn(drawing, event) {
  const point = new DOMPoint(event.clientX, event.clientY);
  return point.matrixTransform(drawing.getScreenCTM().inverse());
}

/** Return a labelled slider with its value beside it, and a function that sets it. */
export function slider({ label, low, high, step, value, moved, text = number }) {
  const output = html("output", {}, text(value));
  const input = html("input", {
    type: "range",
    min: low,
    max: high,
    step,
    value,
    "aria-valuetext": text(value),
    input() {
      tell(Number(input.value));
      moved(Number(input.value));
    },
  });
  const tell = (told) => {
    input.value = told;
    input.setAttribute("aria-valuetext", text(told));
    output.textContent = text(told);
  };
  const element = html("label", { class: "slider" }, html("span", {}, label), input, output);
  return { element, tell };
}

/** Return a button. */
export function button(label, click) {
  return html("button", { type: "button", click }, label);
}

/** Return a group of choices of which one holds. */
export function choices({ label, options, value, chosen }) {
  const name = `choice-${choices.count++}`;
  return html(
    "fieldset",
    { class: "choices" },
    html("legend", {}, label),
    options.map(([key, text]) =>
      html(
        "label",
        {},
        html("input", {
          type: "radio",
          name,
          value: key,
          checked: key === value ? "" : null,
          change: () => chosen(key),
        }),
        html("span", {}, text),
      ),
    ),
  );
}
choices.count = 0;

/** Set the texts of a station's live numbers: elements with `data-live="name"`. */
export function showLive(root, texts) {
  for (const place of root.querySelectorAll("[data-live]")) {
    const text = texts[place.dataset.live];
    if (text !== undefined && place.textContent !== text) place.textContent = text;
  }
}

/**
 * Return an SVG drawn in the pixels of its place, so that its texts keep their size on every screen.
 *
 * `layout(width)` returns the height; it is called now and for every other width.
 */
export function fitted(label, layout) {
  const drawing = canvas(FIRST_WIDTH, FIRST_WIDTH, label);
  let drawn = 0;
  const fit = (width) => {
    if (width < 1 || width === drawn) return;
    drawn = width;
    set(drawing, { viewBox: `0 0 ${width} ${layout(width)}` });
  };
  fit(FIRST_WIDTH);
  new ResizeObserver(([entry]) => fit(Math.round(entry.contentRect.width))).observe(drawing);
  return drawing;
}
const FIRST_WIDTH = 320;

/**
 * Return upright bars with a name under each, their values above or below a line of 0.
 *
 * With `moved(index, value)` the bars can be dragged by their tops. `update(values)` draws others;
 * `text(value)` is what stands at a bar; shares as per cent are rounded where bars are narrow.
 * `over(layer, x, y)` draws over the bars, with the middle x(index) of a bar and the place y(value).
 */
export function bars({
  label,
  names,
  low,
  high,
  step,
  values,
  moved,
  text = number,
  colour,
  height = 200,
  over,
}) {
  const axis = svg("line", { class: "axis", x1: 0 });
  const layer = svg("g");
  const parts = names.map((name, k) => {
    const under = svg("text", { class: "name" }, svg("title", {}, name), "");
    const part = {
      name,
      bar: svg("rect", { class: "bar", fill: colour?.(k) ?? "var(--colour)" }),
      value: svg("text", { class: "value", "text-anchor": "middle" }),
      under,
    };
    if (moved) addGrip(part, k);
    return part;
  });
  let shown = values;
  let x;
  let y;
  let slot;

  function addGrip(part, k) {
    part.reach = svg("rect", { class: "reach", y: -16, height: 32 });
    part.pill = svg("rect", { y: -3.5, height: 7, rx: 3.5 });
    part.grip = svg("g", { class: "grip" }, part.reach, part.pill);
    part.tell = handle(part.grip, {
      label: `${label}: ${part.name}`,
      low,
      high,
      step,
      value: values[k],
      upright: true,
      text,
      place: (point) => y.inverse(point.y),
      moved: (told) => moved(k, told),
    });
  }

  function layout(width) {
    const room = roomForNames(names, width);
    const whole = height + room.more;
    slot = (width - room.left) / names.length;
    x = (k) => room.left + slot * (k + 0.5);
    y = scale([low, high], [height - (low < 0 ? 48 : 30), 22]);
    set(axis, { x2: width, y1: y(0), y2: y(0) });
    parts.forEach(({ name, bar, value, under, reach, pill }, k) => {
      set(bar, { x: x(k) - slot * 0.32, width: slot * 0.64 });
      set(value, { x: x(k), class: slot < SLIM ? "value small" : "value" });
      const upright = { x: x(k), y: height - 8, "text-anchor": "middle" };
      set(under, room.turned ? turnedAt(x(k), height - 20) : { ...upright, transform: null });
      under.lastChild.data = shortened(name, room.letters);
      if (!pill) return;
      set(reach, { x: -slot / 2, width: slot });
      set(pill, { x: -slot * 0.37, width: slot * 0.74 });
    });
    draw();
    return whole;
  }

  function draw() {
    parts.forEach(({ bar, value, grip }, k) => {
      const told = shown[k];
      const place = y(Math.min(high, Math.max(low, Number.isFinite(told) ? told : 0)));
      set(bar, { y: Math.min(place, y(0)), height: Math.abs(place - y(0)) });
      const beside = grip ? 10 : 6;
      set(value, { y: told < 0 ? place + beside + 11 : place - beside });
      value.textContent = fitting(text(told), told, slot);
      if (grip) set(grip, { transform: `translate(${x(k)} ${place})` });
    });
    over?.(layer, x, y);
  }

  const element = fitted(label, layout);
  element.append(axis);
  for (const { bar, value, under } of parts) element.append(bar, value, under);
  element.append(layer);
  for (const { grip } of parts) if (grip) element.append(grip);
  const update = (told) => {
    shown = [...told];
    parts.forEach(({ tell }, k) => tell?.(shown[k]));
    draw();
  };
  return { element, update };
}
// Pixels for a bar, below which there is no room for "< 0.01 %", for "−12.34", and for "100 %".
const [NARROW, SLIM, THIN] = [62, 44, 34];
const LETTER = 8; // pixels that a letter takes at most, as a rule
const MOST_LETTERS = 12;

/** Return the text of a value, or whole per cents of a share where the text has no room. */
function fitting(text, share, slot) {
  if (slot >= NARROW || !text.endsWith("%")) return text;
  return `${Math.round(100 * share)}${slot < THIN ? "" : "\u00a0%"}`;
}

/** Tell how names stand under bars: upright where they have room, else turned by 50 degrees. */
function roomForNames(names, width) {
  const longest = Math.max(...names.map((name) => [...name].length));
  if (longest * LETTER <= width / names.length) return { turned: false, letters: longest, left: 0, more: 0 };
  const letters = Math.min(longest, MOST_LETTERS);
  const length = letters * LETTER;
  const left = Math.max(0, length * 0.64 - width / names.length / 2);
  return { turned: true, letters, left, more: Math.max(0, length * 0.77 - 12) };
}

const turnedAt = (x, y) => ({ x, y, "text-anchor": "end", transform: `rotate(-50 ${x} ${y})` });

/** Return a name of at most so many letters; its end, which tells class_10 from class_11, stays. */
export function shortened(name, most = 6) {
  const letters = [...name];
  if (letters.length <= most) return name;
  const end = Math.floor((most - 1) / 2);
  return `${letters.slice(0, most - 1 - end).join("")}…${end ? letters.slice(-end).join("") : ""}`;
}

/**
 * Return axes to draw in, as wide as their place: `element`, the scales `x` and `y` of the moment, and
 * `layer` for what is drawn. `draw(plot)` is called for every other width; call it first yourself.
 *
 * Each axis is { low, high, ticks, text, title }; `text(tick)` is what stands at a tick.
 */
export function plot({ label, height = 220, x, y, draw, margin = {} }) {
  const around = { top: y.title ? 30 : 12, right: 14, bottom: x.title ? 44 : 26, left: 46, ...margin };
  const back = svg("g");
  const made = { layer: svg("g"), axes: { x, y }, redraw: () => lay(made.width) };
  let begun = false;

  function lay(width) {
    made.width = width;
    made.x = scale([made.axes.x.low, made.axes.x.high], [around.left, width - around.right]);
    made.y = scale([made.axes.y.low, made.axes.y.high], [height - around.bottom, around.top]);
    made.left = around.left;
    made.right = width - around.right;
    made.top = around.top;
    made.bottom = height - around.bottom;
    back.replaceChildren(...grid(made, height));
    if (begun) draw(made);
    return height;
  }

  made.element = fitted(label, lay);
  made.element.append(back, made.layer);
  begun = true;
  return made;
}

function grid({ x, y, axes, left, right, top, bottom }, height) {
  const write = (name, text, place) => svg("text", { class: name, ...place }, text);
  const at = (axis, tick, place) => write("tick", axis.text?.(tick) ?? number(tick), place);
  const upright = axes.x.ticks.map((tick) =>
    at(axes.x, tick, { x: x(tick), y: bottom + 17, "text-anchor": "middle" }),
  );
  const level = axes.y.ticks.flatMap((tick) => [
    svg("line", { class: "grid", x1: left, x2: right, y1: y(tick), y2: y(tick) }),
    at(axes.y, tick, { x: left - 7, y: y(tick) + 4, "text-anchor": "end" }),
  ]);
  const below = { x: right, y: height - 6, "text-anchor": "end" };
  const titles = [
    axes.x.title && write("name", axes.x.title, below),
    axes.y.title && write("name", axes.y.title, { x: 0, y: Math.max(12, top - 14) }),
  ];
  return [
    ...level,
    svg("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }),
    ...upright,
    ...titles.filter(Boolean),
  ];
}

/** Return a list of what each line of a figure means, with a place for its number of the moment. */
export function legend(entries) {
  const values = entries.map(() => html("strong", {}));
  const element = html(
    "ul",
    { class: "legend" },
    entries.map(({ text, colour, dashes }, k) =>
      html("li", {}, sample(colour, dashes), html("span", {}, text), values[k]),
    ),
  );
  const update = (texts) => texts.forEach((text, k) => (values[k].textContent = text));
  return { element, update };
}

function sample(colour, dashes) {
  const looks = { class: "curve", style: `stroke: ${colour}`, "stroke-dasharray": dashes };
  const line = svg("line", { x1: 1, x2: 25, y1: 6, y2: 6, ...looks });
  return svg("svg", { width: 26, height: 12, "aria-hidden": "true" }, line);
}
