"""The page's own training and tables, run in Node, against NumPy and the library's fits."""

from __future__ import annotations

import base64
import functools
import json
import shutil
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from bridle import strict_json
from bridle.explain import Labelled, Material, contents
from bridle.judge import expected_calibration_error, reliability_table
from bridle.rows import Rows

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="Node runs the page's modules, and is missing")
MODULES = ("samples.js", "training.js", "mathematics.js")


def run(folder: Path, script: str, given: Any) -> Any:
    """Return what a script prints, beside the page's modules, with `given` read."""
    for name in MODULES:
        text = (resources.files("bridle.explain") / "page" / name).read_text(encoding="utf-8")
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "given.json").write_text(strict_json.to_text(given))
    (folder / "script.js").write_text(
        'import fs from "node:fs";\n'
        'import * as samples from "./samples.js";\n'
        'import * as training from "./training.js";\n'
        'import * as mathematics from "./mathematics.js";\n'
        'const given = JSON.parse(fs.readFileSync("given.json"));\n'
        f"{script}\nconsole.log(JSON.stringify(found));\n"
    )
    assert NODE is not None
    ran = subprocess.run(
        [NODE, "script.js"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def material(held: int, features: Any, target: Any, *, pixels: bool) -> Material:
    """Return samples of which the last ones are held out."""
    train, last = (
        Labelled(Rows([np.ascontiguousarray(features[rows])]), np.asarray(target[rows]))
        for rows in (slice(None, -held), slice(-held, None))
    )
    return Material("samples", train, last, None, pixels)


@functools.cache
def digits() -> dict[str, Any]:
    """Return what the page about the digits holds."""
    images, labels = load_digits(return_X_y=True)
    return contents(material(300, images.astype(np.uint8), labels, pixels=True))


TRAINED = """
const { train, held } = await samples.samplesOf(given.samples);
const model = training.untrained(train, given.classes.length, given.optimum.C);
const before = training.judgedBy(model, held);
const passes = [];
while (training.passesOf(model) < 60) {
  training.step(model);
  if (model.place === 0) passes.push(model.objective);
}
const { objective } = training.objectiveOf(model);
const found = { before, passes, held: training.judgedBy(model, held), objective };
"""


def test_training_reaches_the_optimum_of_the_digits(tmp_path: Path) -> None:
    page = digits()
    found = run(tmp_path, TRAINED, page)
    optimum = page["optimum"]["objective"]
    assert optimum < found["objective"] < 1.005 * optimum
    assert found["passes"][-1] == found["objective"]
    assert np.all(np.diff(found["passes"]) <= 0)  # a pass that climbs is taken back
    assert found["held"]["accuracy"] > 0.9
    # Without weights all scores are equal, and the first class is predicted.
    labels = np.array(page["samples"]["labels"])[-300:]
    assert found["before"]["accuracy"] == pytest.approx(np.mean(labels == 0))
    assert found["before"]["loss"] == pytest.approx(np.log(10))
    assert page["optimum"]["gap"] < 1e-6


@pytest.mark.parametrize("outlier", [0.0, 100.0])
def test_training_reaches_the_optimum_of_features(tmp_path: Path, outlier: float) -> None:
    random = np.random.default_rng(4)
    target = random.integers(0, 3, 400)
    features = random.normal(size=(400, 5)) + target[:, None] * [1, -1, 0, 2, 0]
    features[7, 2] += outlier  # makes the longest row far longer than all others
    page = contents(material(80, features, target, pixels=False))
    found = run(tmp_path, TRAINED, page)
    assert found["objective"] < 1.05 * page["optimum"]["objective"]


def test_objective_and_gradient_equal_numpys(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    features = random.normal(size=(37, 6)) * (random.random((37, 6)) < 0.6)
    labels = random.integers(0, 4, 37)
    weight, bias = 3 * random.normal(size=(6, 4)), random.normal(size=4)
    rows = random.permutation(37)[:20]
    found = run(
        tmp_path,
        """
        const features = Float64Array.from(given.features.flat());
        const labels = Int32Array.from(given.labels);
        const data = { features, labels, count: 37, width: 6 };
        const model = training.untrained(data, 4, 0.3);
        model.weight.set(given.weight.flat());
        model.bias.set(given.bias);
        const gradient = training.gradientOf(model, given.rows);
        const [weight, bias] = [gradient.weight, gradient.bias].map((each) => Array.from(each));
        const found = { ...training.objectiveOf(model), weight, bias };
        """,
        {"features": features, "labels": labels, "weight": weight, "bias": bias, "rows": rows},
    )
    scores = features @ weight + bias
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    penalty = 1 / (0.3 * 37)
    loss = -np.log(probabilities[np.arange(37), labels]).mean()
    residual = (probabilities - np.eye(4)[labels])[rows] / len(rows)
    assert found["loss"] == pytest.approx(loss, rel=1e-9)
    assert found["objective"] == pytest.approx(loss + penalty / 2 * (weight**2).sum(), rel=1e-9)
    np.testing.assert_allclose(
        np.reshape(found["weight"], (6, 4)),
        features[rows].T @ residual + penalty * weight,
        rtol=1e-9,
        atol=1e-12,
    )
    np.testing.assert_allclose(found["bias"], residual.sum(axis=0), rtol=1e-9, atol=1e-12)


def test_features_come_out_as_they_went_in(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    target = random.integers(0, 2, 60)
    page = contents(
        material(12, random.normal(size=(60, 3)) + target[:, None], target, pixels=False)
    )
    found = run(
        tmp_path,
        "const { train, held } = await samples.samplesOf(given.samples);\n"
        "const labels = Array.from(held.labels);\n"
        "const found = { train: Array.from(train.features), held: held.count, labels };",
        page,
    )
    train = np.reshape(found["train"], (48, 3))
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(train.std(axis=0), 1, atol=1e-3)
    assert found["held"] == 12
    assert found["labels"] == target[-12:].tolist()


@pytest.mark.parametrize("count", [1, 4, 15, 16, 200, 1003])
def test_reliability_equals_the_judges(tmp_path: Path, count: int) -> None:
    random = np.random.default_rng(count)
    confidence = random.random(count).round(2 if count > 100 else 8)  # many ties, or none
    correct = random.random(count) < confidence
    found = run(
        tmp_path,
        "const table = mathematics.reliabilityTable(given.confidence, given.correct);\n"
        "const found = { table, error: mathematics.calibrationError(table) };",
        {"confidence": confidence, "correct": correct},
    )
    expected = reliability_table(confidence, correct)
    assert [list(row.values()) for row in found["table"]] == [
        pytest.approx([row.count, row.lowest, row.highest, row.confidence, row.accuracy], rel=1e-12)
        for row in expected
    ]
    error = expected_calibration_error(confidence, correct)
    assert found["error"] == pytest.approx(error, rel=1e-12, abs=1e-15)


def test_surprises_say_in_what_a_sample_is_unlike_its_label() -> None:
    target = np.tile([0, 1], 60)
    features = np.random.default_rng(3).normal(size=(120, 4)) + 6 * target[:, None]
    features[-1] = [0.0, 0.0, 0.0, -60.0]  # labelled 1, and furthest from it in the last feature
    page = contents(material(20, features, target, pixels=False))
    found = page["surprises"][0]
    ones = features[:-20][target[:-20] == 1]
    assert (found["row"], found["label"], found["predicted"]) == (19, "1", "0")
    assert found["telling"][0]["name"] == "feature 3"
    assert found["telling"][0]["value"] == -60.0
    deviations = (-60 - ones[:, 3].mean()) / ones[:, 3].std()
    assert found["telling"][0]["deviations"] == pytest.approx(deviations)
    assert found["values"] == []


def test_weights_of_the_path_come_out_as_the_fits(tmp_path: Path) -> None:
    page = digits()
    found = run(
        tmp_path,
        "const path = await samples.pathOf(given.path);\n"
        "const step = path.find(({ C }) => C === 1);\n"
        "const found = Array.from(step.weight, (value) => (value * step.largest) / 127);",
        page,
    )
    exact = np.frombuffer(base64.b64decode(page["optimum"]["weight"]), "<f4")
    np.testing.assert_allclose(found, exact, atol=np.abs(exact).max() / 200)
