/** The weights of a linear classifier: a picture for each class, or a table of features and classes. */

import { decimals, html } from "../drawing.js";
import { largestOf, pixels, showSigned } from "../pictures.js";

const CROWDED = 6; // classes beside which a cell has no room for a leading zero, nor a name for its length

/**
 * Return a figure of weights. `update(weightAt)` draws others, where `weightAt(j, k)` is the weight
 * of feature j in the score of class k. Of features, only those in `rows` are shown.
 */
export function weightsFigure(data, rows = data.features.map((_, j) => j)) {
  return data.image ? templates(data) : table(data, rows);
}

/** Return the features in order of the size of their weights (K rows of D). */
export function byWeight(weights, width) {
  const size = Array.from({ length: width }, (_, j) => weights.reduce((sum, row) => sum + row[j] ** 2, 0));
  return size.map((_, j) => j).sort((a, b) => size[b] - size[a]);
}

function templates({ classes, image }) {
  const count = image[0] * image[1];
  const pictures = classes.map((name) => pixels(image, `Template of ${name}`));
  const values = classes.map(() => new Float64Array(count));
  const element = html(
    "div",
    { class: "templates", style: `--columns: ${Math.min(5, classes.length)}` },
    classes.map((name, k) =>
      html("figure", {}, pictures[k], html("figcaption", { title: name }, name)),
    ),
  );
  const update = (weightAt) => {
    values.forEach((template, k) => {
      for (let j = 0; j < count; j += 1) template[j] = weightAt(j, k);
    });
    const largest = Math.max(...values.map(largestOf));
    pictures.forEach((picture, k) => showSigned(picture, values[k], largest));
  };
  return { element, update };
}

function table({ classes, features }, rows) {
  const cells = rows.map(() => classes.map(() => html("td")));
  const text = (value) => {
    const shown = decimals(value, Math.abs(value) < 9.95 ? 1 : 0);
    return classes.length > CROWDED ? shown.replace("0.", ".") : shown;
  };
  const element = html(
    "div",
    { class: `weights-table${classes.length > CROWDED ? " crowded" : ""}` },
    html(
      "table",
      {},
      html(
        "thead",
        {},
        html(
          "tr",
          {},
          html("td", {}, "weight of"),
          classes.map((name) => html("th", { scope: "col", title: name }, html("span", {}, name))),
        ),
      ),
      html(
        "tbody",
        {},
        rows.map((j, place) =>
          html("tr", {}, html("th", { scope: "row", title: features[j] }, html("span", {}, features[j])), cells[place]),
        ),
      ),
    ),
  );
  const update = (weightAt) => {
    const values = rows.map((j) => classes.map((_, k) => weightAt(j, k)));
    const largest = largestOf(values.flat());
    cells.forEach((row, place) =>
      row.forEach((cell, k) => {
        const value = values[place][k];
        const colour = value > 0 ? "var(--above)" : "var(--below)";
        const share = Math.round((70 * Math.abs(value)) / largest);
        cell.style.background = `color-mix(in srgb, ${colour} ${share}%, transparent)`;
        cell.textContent = text(value);
      }),
    );
  };
  return { element, update };
}
