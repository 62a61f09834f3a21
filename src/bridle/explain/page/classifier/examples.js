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
    const text = html("span", { "aria-hidden": "true" });
    const said = html("span", { class: "unseen" });
    return { row, name, text, said, element: html("li", {}, image ? picture(row) : null, text, said) };
  });
  const heading = html("h3");
  const element = html(
    "div",
    { class: "examples" },
    heading,
    html("ol", { class: image ? "of-pictures" : "of-names" }, items.map((item) => item.element)),
    html("p", { class: "hint" }, "✓ a: labelled a, and the answer is a; a\u00a0→\u00a0b: labelled a, but the answer is b"),
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
  const gap = image ? "" : " "; // there is little room under a picture
  const update = (model) => {
    let right = 0;
    for (const { row, name, text, said, element: item } of items) {
      scoresOf(model, features, row * width, width, scores);
      const answer = predicted(scores);
      const isRight = answer === labels[row];
      right += Number(isRight);
      item.className = isRight ? "" : "wrong";
      text.textContent = isRight ? `✓ ${name}` : `${name}${gap}→${gap}${classes[answer]}`;
      said.textContent = `true ${name}, said ${classes[answer]}`;
      item.title = said.textContent;
    }
    heading.textContent = `Samples that it learns from: ${right} of these ${items.length} right`;
  };
  return { element, update };
}
