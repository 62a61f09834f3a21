"""The page's mathematics.js says the library's numbers, on ordinary and on extreme inputs."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import bridle
from bridle.experiments import saturated_neuron

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(
    NODE is None, reason="no node on the path to run the page's modules"
)

# Reads [[function, arguments], …] and writes their results; numbers that JSON has no sign for
# stand as texts both ways.
DRIVER = """
import * as mathematics from "./mathematics.mjs";
import { readFileSync } from "node:fs";

const SPECIAL = { Infinity, "-Infinity": -Infinity, NaN };
const read = (value) => {
  if (Array.isArray(value)) return value.map(read);
  return Object.hasOwn(SPECIAL, value) ? SPECIAL[value] : value;
};
const write = (key, value) =>
  typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
const calls = JSON.parse(readFileSync(0, "utf8"));
const exported = Object.keys(mathematics);
const results = calls.map(([name, given]) => mathematics[name](...read(given)));
process.stdout.write(JSON.stringify({ exported, results }, write));
"""


def run_node(calls: list[tuple[str, list[Any]]], folder: Path) -> dict[str, Any]:
    """Return the module's exported names and the result of each call, of one run of Node."""
    module = resources.files("bridle.explain") / "page" / "mathematics.js"
    (folder / "mathematics.mjs").write_text(module.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "driver.mjs").write_text(DRIVER, encoding="utf-8")
    done = subprocess.run(
        [str(NODE), str(folder / "driver.mjs")],
        input=json.dumps(_plain(calls)),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return cast(dict[str, Any], json.loads(done.stdout))


def _plain(value: Any) -> Any:
    """Return what JSON can hold: lists, and texts for infinities and NaN."""
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def _numbers(value: Any) -> Any:
    """Return results with their infinities and NaNs as numbers again."""
    if isinstance(value, list):
        return [_numbers(each) for each in value]
    return float(value)


INF = math.inf
SCORES: list[list[float]] = [
    [2.0, 1.0, 0.2, -1.0],
    [1e3, 0.0, -1e3],
    [1e3, 1e3],
    [-1e3, -1e3, -1e3],
    [0.5, -INF, 1.5],
    [-INF, 3.0],
    [0.0, 1e-300],
    [1e-300, 2e-300, -1e-300],
    [7.0],
    [-800.0],
    [1e6 + 0.25, 1e6 - 1.5, 1e6],
    [-1e6 + 0.25, -1e6 - 1.5, -1e6],
    [0.0, -36.0, -37.0, -40.0],
    [709.0, 710.0, 745.0],
    [-745.0, -746.0, 0.0],
    [1e300, -1e300],
]
_random = np.random.default_rng(14)
SCORES += [
    (_random.normal(size=count) * size).tolist()
    for count in (1, 2, 3, 10, 100)
    for size in (0.01, 1.0, 30.0, 1000.0)
]
NOTHING = [-INF, -INF]


def _distribution(count: int, sharpness: float) -> list[float]:
    weights = np.exp(_random.normal(size=count) * sharpness)
    return cast(list[float], (weights / weights.sum()).tolist())


PAIRS: list[tuple[list[float], list[float]]] = [
    ([1.0, 0.0, 0.0], [0.1, 0.3, 0.6]),
    ([0.5, 0.5], [1e-300, 1.0]),
    ([0.0, 1.0], [0.0, 1.0]),
    ([0.5, 0.5, 0.0], [1.0, 0.0, 0.0]),
    ([1.0], [1.0]),
] + [
    (_distribution(count, sharp), _distribution(count, sharp))
    for count in (2, 5, 100)
    for sharp in (0.1, 2.0, 8.0)
]
POINTS = [
    0.0,
    1e-300,
    -1e-300,
    1.0,
    -1.0,
    4.0,
    36.0,
    -36.0,
    37.0,
    40.0,
    -40.0,
    745.0,
    -745.0,
    1e3,
    -1e3,
]
POINTS += cast(list[float], (_random.normal(size=40) * 10).tolist())
IN_TEST_EXPLAIN_TRAINING = {"reliabilityTable", "calibrationError"}
NEURONS = [
    (w, b, rate, cost, steps)
    for w, b in (
        (0.6, 0.9),
        (2.0, 2.0),
        (-3.0, 1.0),
        (20.0, 20.0),
        (-400.0, -400.0),
        (500.0, 500.0),
    )
    for cost in ("quadratic", "cross_entropy")
    for rate, steps in ((0.15, 300), (2.0, 40), (6.49, 40), (0.005, 40))
]


def _softmax_by_formula(scores: list[float]) -> Any:
    z = np.asarray(scores)
    powers = np.exp(z - z.max())
    return powers / powers.sum()


def _one_hot(target: int, count: int) -> Any:
    return np.eye(count)[target]


def _squared_error_gradient(scores: list[float], target: Any) -> Any:
    # By the Jacobian diag(p) − p pᵀ of softmax.
    p = _softmax_by_formula(scores)
    return (np.diag(p) - np.outer(p, p)) @ (p - target)


def _cases() -> list[tuple[str, list[Any], Any]]:
    """Return a function's name, its arguments, and what the library or NumPy says."""
    cases: list[tuple[str, list[Any], Any]] = []
    for scores in SCORES:
        cases += _cases_of_scores(scores)
    for name in ("softmax", "logSoftmax"):
        cases.append((name, [NOTHING], [math.nan, math.nan]))
    cases.append(("logSumExp", [NOTHING], bridle.logsumexp(NOTHING)))
    cases.append(("crossEntropy", [NOTHING, 0], math.nan))
    for target, forecast in PAIRS:
        cases.append(
            ("crossEntropyOf", [target, forecast], bridle.cross_entropy_of(target, forecast))
        )
        cases.append(("klDivergence", [target, forecast], bridle.kl_divergence(target, forecast)))
        cases.append(("entropy", [target], bridle.entropy(target)))
        bits = bridle.entropy(target, unit="bits")
        cases.append(("bits", [float(bridle.entropy(target))], bits))
    for z in POINTS:
        cases.append(("sigmoid", [z], bridle.sigmoid(z)))
        cases.append(("sigmoidSlope", [z], bridle.sigmoid(z) * bridle.sigmoid(-z)))
    return cases


def _cases_of_scores(scores: list[float]) -> list[tuple[str, list[Any], Any]]:
    count = len(scores)
    soft = (
        np.full(count, 1 / count)
        if np.isfinite(scores).all()
        else _one_hot(int(np.argmax(scores)), count)
    )
    cases: list[tuple[str, list[Any], Any]] = [
        ("softmax", [scores], bridle.softmax(scores)),
        ("softmax", [scores, 2.5], bridle.softmax(np.asarray(scores) / 2.5)),
        ("logSoftmax", [scores], bridle.log_softmax(scores)),
        ("logSoftmax", [scores, 0.25], bridle.log_softmax(np.asarray(scores) / 0.25)),
        ("logSumExp", [scores], bridle.logsumexp(scores)),
    ]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        powers = np.exp(scores)
        cases.append(("naiveSoftmax", [scores], powers / powers.sum()))
    for target in (0, count - 1):
        hard = _one_hot(target, count)
        p = _softmax_by_formula(scores)
        squared = ((p - hard) ** 2).sum() / 2
        cases += [
            ("crossEntropy", [scores, target], bridle.cross_entropy(scores, target)),
            (
                "crossEntropyGradient",
                [scores, target],
                bridle.cross_entropy_gradient(scores, target)[1],
            ),
            ("crossEntropyGradient", [scores, target], p - hard),
            ("squaredError", [scores, target], squared),
            ("squaredErrorGradient", [scores, target], _squared_error_gradient(scores, hard)),
        ]
    p = _softmax_by_formula(scores)
    cases += [
        ("crossEntropy", [scores, soft], bridle.cross_entropy(scores, soft)),
        ("crossEntropyGradient", [scores, soft], bridle.cross_entropy_gradient(scores, soft)[1]),
        ("squaredError", [scores, soft], ((p - soft) ** 2).sum() / 2),
        ("squaredErrorGradient", [scores, soft], _squared_error_gradient(scores, soft)),
    ]
    return cases


def test_numbers_are_the_librarys(tmp_path: Path) -> None:
    cases = _cases()
    neurons: list[tuple[str, list[Any]]] = [("neuron", list(given)) for given in NEURONS]
    rates: list[tuple[str, list[Any]]] = [
        ("safeRate", ["quadratic"]),
        ("safeRate", ["cross_entropy"]),
    ]
    calls = [(name, given) for name, given, _ in cases] + neurons + rates
    answer = run_node(calls, tmp_path)
    tested = {name for name, _ in calls} | IN_TEST_EXPLAIN_TRAINING
    assert sorted(answer["exported"]) == sorted(tested), "a function untested"
    results = answer["results"]
    for (name, given, expected), found in zip(cases, results, strict=False):
        np.testing.assert_allclose(
            np.asarray(_numbers(found)),
            np.asarray(expected),
            rtol=1e-12,
            atol=1e-12,
            err_msg=f"{name}({given})",
        )
    _check_neurons(results[len(cases) : -2])
    _check_rates(*map(float, results[-2:]))


def _check_neurons(results: list[Any]) -> None:
    for (w, b, rate, cost, steps), found in zip(NEURONS, results, strict=True):
        expected = saturated_neuron(w, b, rate, cost, steps)
        for field in expected._fields:
            np.testing.assert_allclose(
                [float(step[field]) for step in found],
                getattr(expected, field),
                rtol=1e-12,
                atol=1e-12,
                err_msg=f"{field} of {cost} from {w, b} at {rate}",
            )


def _check_rates(quadratic: float, cross_entropy: float) -> None:
    # 1 / the greatest curvature in (w, b), found on a fine grid.
    a = np.linspace(0, 1, 1_000_001)
    curvature = a**2 * (1 - a) * (2 - 3 * a)  # of ½ a² in z, by a′ = a (1 − a)
    np.testing.assert_allclose(quadratic, 1 / (2 * curvature.max()), rtol=1e-9)
    np.testing.assert_allclose(cross_entropy, 1 / (2 * (a * (1 - a)).max()), rtol=1e-9)


def test_a_log_probability_keeps_its_digits_where_the_probability_has_none(tmp_path: Path) -> None:
    # log1p(e^-40) is 4e-18: an absolute 1e-12 would not see it.
    found = run_node([("logSoftmax", [[40.0, 0.0]]), ("crossEntropy", [[40.0, 0.0], 0])], tmp_path)
    rest = math.log1p(math.exp(-40))
    assert found["results"][0] == pytest.approx([-rest, -40 - rest], rel=1e-12, abs=0)
    assert found["results"][1] == pytest.approx(rest, rel=1e-12, abs=0)
