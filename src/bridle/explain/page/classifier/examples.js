/** Some of the samples that the classifier learns from, and whether it is right about each. */

import { html } from "../drawing.js";
import { largestOf, pixels, showInk } from "../pictures.js";
import { predicted, scoresOf } from "../training.js";

const MOST = 20;

/** Return the figure; `update(model)` marks the samples that a model takes for another class. */
export function examplesFigure({ classes, image }, { features, labels, count, width }) {
  const many = Math.min(MOST, count);
  const shown = Array.from({ length: many }, (_, place) => Math.floor((place * count) / many));
  const items = shown.map((row) => {
    const name = classes[labels[row]];
    const text = html("span", { title: name });
    return { row, name, text, element: html("li", {}, image ? picture(row) : null, text) };
  });
  const heading = html("h3");
  const element = html(
    "div",
    { class: "examples" },
    heading,
    html("ol", { class: image ? "of-pictures" : "of-names" }, items.map((item) => item.element)),
  );

  function picture(row) {
    const values = features.subarray(row * width, (row + 1) * width);
    const canvas = pixels(image, "", "ink");
    const least = Math.min(0, ...values);
    const ink = values.map((value) => value - least);
    showInk(canvas, ink, largestOf(ink));
    return canvas;
  }

  const scores = new Float64Array(classes.length);
  const update = (model) => {
    let right = 0;
    for (const { row, name, text, element: item } of items) {
      scoresOf(model, features, row * width, width, scores);
      const isRight = predicted(scores) === labels[row];
      right += Number(isRight);
      item.className = isRight ? "" : "wrong";
      text.textContent = `${isRight ? "✓" : "✗"} ${name}`;
    }
    heading.textContent = `Samples that it learns from: ${right} of these ${items.length} right`;
  };
  return { element, update };
}
