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
  const count = value >= 10 && value <= 99 ? 0 : value >= 1 && value < 99.9 ? 1 : 2;
  return value > 0 && value < 0.005 ? "< 0.01 %" : `${value.toFixed(count)} %`;
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
 * Return upright bars with a name under each, their values above or below a line of 0.
 *
 * With `moved(index, value)` the bars can be dragged by their tops. `update(values)` draws others;
 * `text(value)` is what stands at a bar.
 */
export function bars({ label, names, low, high, step, values, moved, text = number, colour, height = 200 }) {
  const width = Math.max(240, names.length * 44);
  const margin = { top: 22, bottom: 30 };
  const y = scale([low, high], [height - margin.bottom, margin.top]);
  const slot = width / names.length;
  const drawing = canvas(width, height, label);
  drawing.append(svg("line", { class: "axis", x1: 0, x2: width, y1: y(0), y2: y(0) }));
  const parts = names.map((name, k) => {
    const x = k * slot + slot / 2;
    const bar = svg("rect", { class: "bar", x: x - slot * 0.32, width: slot * 0.64, fill: colour?.(k) ?? "var(--colour)" });
    const value = svg("text", { class: "value", x, "text-anchor": "middle" });
    const under = svg("text", { class: "name", x, y: height - 8, "text-anchor": "middle" }, shortened(name));
    under.append(svg("title", {}, name));
    drawing.append(bar, value, under);
    if (!moved) return { bar, value };
    const top = svg("rect", { class: "grip", x: x - slot * 0.4, width: slot * 0.8, height: 10, rx: 5 });
    drawing.append(top);
    const tell = handle(top, {
      label: `${label}: ${name}`,
      low,
      high,
      step,
      value: values[k],
      upright: true,
      text,
      place: (point) => y.inverse(point.y),
      moved: (told) => moved(k, told),
    });
    return { bar, value, top, tell };
  });
  const update = (shown) => {
    shown.forEach((told, k) => {
      const { bar, value, top, tell } = parts[k];
      const place = y(Math.min(high, Math.max(low, Number.isFinite(told) ? told : 0)));
      set(bar, { y: Math.min(place, y(0)), height: Math.abs(place - y(0)) });
      set(value, { y: told < 0 ? place + 15 : place - 8 });
      value.textContent = text(told);
      if (top) {
        set(top, { y: place - 5 });
        tell(told);
      }
    });
  };
  update(values);
  return { element: drawing, update };
}

/** Return a name that has room under a bar. */
export function shortened(name, most = 6) {
  const letters = [...name];
  return letters.length <= most ? name : `${letters.slice(0, most - 1).join("")}…`;
}
