/** Start every station of the page with the data that stand in it. */

import { start as scores } from "./stations/scores.js";
import { start as likelihood } from "./stations/likelihood.js";
import { start as loss } from "./stations/loss.js";
import { start as gradient } from "./stations/gradient.js";
import { start as classifier } from "./stations/classifier.js";
import { start as race } from "./stations/race.js";
import { start as surprise } from "./stations/surprise.js";
import { start as calibration } from "./stations/calibration.js";

const stations = { scores, likelihood, loss, gradient, classifier, race, surprise, calibration };
const data = JSON.parse(document.getElementById("data").textContent);

let hasMoved = false;
for (const kind of ["wheel", "touchmove", "pointerdown", "keydown"]) {
  addEventListener(kind, () => (hasMoved = true), { once: true, passive: true });
}

await Promise.all(
  Object.entries(stations).map(([name, start]) => start(document.getElementById(name), data)),
);
document.documentElement.dataset.ready = "";
// The figures above the station of the address have their heights only now, two frames later.
requestAnimationFrame(() => requestAnimationFrame(goToAddress));

function goToAddress() {
  if (hasMoved || !location.hash) return;
  document.getElementById(location.hash.slice(1))?.scrollIntoView({ behavior: "instant" });
}
