/** Pictures of pixels on canvases: grey ones of samples, and two-coloured ones of weights around 0. */

import { html } from "./drawing.js";

// Okabe and Ito's blue and vermilion; how opaque a pixel is, is how far it is from 0.
const ABOVE = [0, 114, 178];
const BELOW = [213, 94, 0];

/** Return a canvas for pictures of so many rows and columns. */
export function pixels([height, width], label, kind = "weights") {
  return html("canvas", { width, height, class: `pixels ${kind}`, role: "img", "aria-label": label });
}

/** Draw values from 0 (nothing) to `largest` (ink). */
export function showInk(canvas, values, largest = 1) {
  paint(canvas, values, (value) => [0, 0, 0, value / largest]);
}

/** Draw values around 0: blue above, orange below, nothing at 0. */
export function showSigned(canvas, values, largest) {
  paint(canvas, values, (value) => [...(value > 0 ? ABOVE : BELOW), Math.abs(value) / largest]);
}

function paint(canvas, values, colour) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  for (let place = 0; place < canvas.width * canvas.height; place += 1) {
    const [red, green, blue, opacity] = colour(values[place]);
    image.data.set([red, green, blue, 255 * Math.min(1, opacity)], 4 * place);
  }
  context.putImageData(image, 0, 0);
}

/** Return the largest distance from 0 among values; 1 where all are 0. */
export function largestOf(values) {
  let largest = 0;
  for (const value of values) largest = Math.max(largest, Math.abs(value));
  return largest || 1;
}
