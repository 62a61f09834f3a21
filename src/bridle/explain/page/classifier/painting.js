/** A grid to draw on with mouse, finger or keys, in strokes as soft as those of scanned digits. */

import { html } from "../drawing.js";
import { pixels, showInk } from "../pictures.js";

/** Return a grid of so many rows and columns; `changed(ink)` is told of every stroke, ink in [0, 1]. */
export function painting([height, width], changed) {
  const ink = new Float64Array(height * width);
  const cursor = { x: Math.floor(width / 2), y: Math.floor(height / 2) };
  const picture = pixels([height, width], "", "ink");
  const mark = html("div", { class: "cursor" });
  const said = html("p", { class: "unseen", "aria-live": "polite" });
  const pad = html(
    "div",
    {
      class: "pad",
      tabindex: 0,
      role: "application",
      "aria-label": "Grid to draw on: arrow keys move the cursor, space paints, backspace rubs out",
      style: `aspect-ratio: ${width} / ${height}`,
      keydown: pressed,
      pointerdown: begun,
      pointermove: moved,
    },
    picture,
    mark,
  );
  let before = null;

  function show() {
    showInk(picture, ink);
    mark.style.cssText = `left: ${(100 * cursor.x) / width}%; top: ${(100 * cursor.y) / height}%; width: ${100 / width}%; height: ${100 / height}%`;
  }

  function stroke(from, to) {
    soften(ink, width, height, from, to);
    show();
    changed(ink);
  }

  function pressed(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const place = () => cursor.y * width + cursor.x;
    if (moves[event.key]) {
      const [right, down] = moves[event.key];
      cursor.x = Math.min(width - 1, Math.max(0, cursor.x + right));
      cursor.y = Math.min(height - 1, Math.max(0, cursor.y + down));
      show();
    } else if (event.key === " ") {
      const centre = [cursor.x + 0.5, cursor.y + 0.5];
      stroke(centre, centre);
    } else if (event.key === "Backspace" || event.key === "Delete") {
      ink[place()] = 0;
      show();
      changed(ink);
    } else return;
    said.textContent = `row ${cursor.y + 1}, column ${cursor.x + 1}: ${Math.round(100 * ink[place()])} % ink`;
    event.preventDefault();
  }

  function pointOf(event) {
    const box = picture.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
  }

  function begun(event) {
    pad.setPointerCapture(event.pointerId);
    pad.focus({ preventScroll: true });
    event.preventDefault();
    before = pointOf(event);
    stroke(before, before);
  }

  function moved(event) {
    if (!pad.hasPointerCapture(event.pointerId)) return;
    const now = pointOf(event);
    stroke(before, now);
    before = now;
  }

  const set = (values) => {
    ink.set(values);
    show();
    changed(ink);
  };
  show();
  return { element: html("div", {}, pad, said), set, clear: () => set(new Float64Array(ink.length)) };
}

/** Add ink along a stroke: full on it, less and less beside it, wider on larger grids. */
function soften(ink, width, height, from, to) {
  const side = Math.max(width, height);
  const [core, rim] = [0.25 + 0.03 * side, 0.85 + 0.0125 * side];
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const away = distance([x + 0.5, y + 0.5], from, to);
      const added = Math.min(1, Math.max(0, 1 - (away - core) / rim));
      ink[y * width + x] = Math.max(ink[y * width + x], added);
    }
  }
}

/** Return how far a point is from the line between two others. */
function distance([x, y], [fromX, fromY], [toX, toY]) {
  const [right, down] = [toX - fromX, toY - fromY];
  const length = right * right + down * down;
  const along = length === 0 ? 0 : ((x - fromX) * right + (y - fromY) * down) / length;
  const share = Math.min(1, Math.max(0, along));
  return Math.hypot(x - fromX - share * right, y - fromY - share * down);
}
