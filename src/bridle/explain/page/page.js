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

for (const [name, start] of Object.entries(stations)) {
  start(document.getElementById(name), data);
}
document.documentElement.dataset.ready = "";
