"""The page of an evaluation: what it says, what it is made of, and what it never does."""

from __future__ import annotations

import base64
import dataclasses
import errno
import hashlib
import inspect
import io
import json
import math
import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import bridle
from bridle import InputError
from bridle.calibrate import TemperatureScaling
from bridle.calibrate.decomposition import decompose
from bridle.explain.assembly import STATIONS
from bridle.judge import (
    Comparison,
    ReliabilityBin,
    class_calibration,
    consistency_band,
    decision_figures,
    reliability_table,
    slice_figures,
)
from commands import Command

pytest.importorskip("jinja2", reason="the extra `report` is not installed")
from bridle.report import contents, page

Array = npt.NDArray[Any]
HOSTILE = "<script>alert(1)</script>"
LARGEST = 300_000


class Page(HTMLParser):
    """A page read as a browser reads it: the figures with their keys, elements, the data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.figures: list[tuple[str, str]] = []  # key, text
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words = ""
        self._open: list[str] = []
        self._in_figure = False
        self._data = ""
        self.feed(text)
        self.data = json.loads(self._data, parse_constant=pytest.fail)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.elements.append((tag, given))
        self._open.append(tag)
        if "data-key" in given:
            self._in_figure = True
            self.figures.append((given["data-key"], ""))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass
        self._in_figure = False

    def handle_data(self, data: str) -> None:
        if "script" in self._open:
            self._data += data
        elif "style" not in self._open:
            self.words += data
            if self._in_figure:
                key, text = self.figures[-1]
                self.figures[-1] = (key, text + data)

    def value(self, key: str) -> Any:
        found = self.data
        for step in key.split("."):
            found = found[int(step)] if isinstance(found, list) else found[step]
        return found


def check_figures(found: Page) -> None:
    """Hold every figure of a page against its data, to the digits that are written."""
    for key, text in found.figures:
        value = found.value(key)
        if text == value:  # a text: a class may be called "Infinity"
            continue
        plain = text.replace(",", "").replace("\u2212", "-")
        if plain in ("\u2013", "∞", "-∞"):
            assert value == {"\u2013": None, "∞": "Infinity", "-∞": "-Infinity"}[plain], key
            continue
        share = plain.endswith("\u00a0%")
        plain = plain.removesuffix("\u00a0%")
        assert re.fullmatch(r"[+-]?\d+(\.\d+)?(e[+-]\d+)?", plain), (key, text)
        mantissa, _, exponent = plain.partition("e")
        unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
        assert abs(float(plain) - value * (100 if share else 1)) <= unit / 2 * (1 + 1e-9), key


def digits() -> tuple[bridle.SoftmaxRegression, Array, Array]:
    X, y = load_digits(return_X_y=True)
    model = bridle.SoftmaxRegression().fit(X[::2], y[::2])
    return model, model.predict_log_proba(X[1::2]), y[1::2]


@pytest.fixture(scope="module")
def judged() -> dict[str, Any]:
    model, answers, target = digits()
    weaker = np.random.default_rng(0).normal(size=answers.shape) + answers / 3
    return {
        "evaluation": bridle.evaluate(answers, target),
        "answers": answers,
        "target": target,
        "told": {
            "answers": answers,
            "ids": [f"sample {row}" for row in range(len(target))],
            "judged_on": "held-out",
            "fit": model.fit_report_,
            "label_errors": bridle.label_errors(answers, target),
            "comparison": bridle.compare_models({"ours": answers, "theirs": weaker}, target),
            "title": "digits",
            "command": "bridle fit digits --report report.html",
            "made": "2026-01-02 03:04 UTC",
        },
    }


# The band of a calibrated model.


def quantile(share: float, count: int, chance: float) -> int:
    """Return the least number of hits that is not exceeded with a probability of ``share``."""
    total = 0.0
    for hits in range(count + 1):
        total += math.comb(count, hits) * chance**hits * (1 - chance) ** (count - hits)
        if total >= share:
            return hits
    return count


def test_the_band_is_the_central_95_percent_of_a_binomial() -> None:
    for count, chance in ((1, 0.5), (7, 0.3), (40, 0.9), (100, 0.999), (25, 0.0), (25, 1.0)):
        band = consistency_band((ReliabilityBin(count, chance, chance, chance, 0.5),))
        expected = [quantile(share, count, chance) / count for share in (0.025, 0.975)]
        assert list(band[0]) == pytest.approx(expected, abs=1e-12)


def test_a_calibrated_model_stays_in_the_band_in_95_of_100_groups() -> None:
    random = np.random.default_rng(0)
    inside = []
    for _ in range(200):
        sure = random.uniform(0.3, 0.9, 3000)
        table = reliability_table(sure, random.random(3000) < sure)
        band = consistency_band(table)
        inside += [b.low <= row.accuracy <= b.high for row, b in zip(table, band, strict=True)]
    # Ends are whole numbers of hits, so that the band holds a little more than 95 %.
    assert 0.94 <= np.mean(inside) <= 0.98


def test_the_band_of_weights_is_that_of_copies() -> None:
    sure, right = np.array([0.6, 0.7, 0.9]), np.array([True, False, True])
    weighed = reliability_table(sure, right, sample_weight=[3.0, 2.0, 4.0], bins=1)
    copied = reliability_table(sure.repeat([3, 2, 4]), right.repeat([3, 2, 4]), bins=1)
    assert consistency_band(weighed) == consistency_band(copied)
    light = reliability_table(sure, right, sample_weight=[0.1, 0.1, 0.1], bins=1)
    assert consistency_band(light) == ((0.0, 1.0),)


# What is shown.


def test_every_figure_shown_is_in_the_data(judged: dict[str, Any]) -> None:
    found = Page(page(judged["evaluation"], **judged["told"]))
    check_figures(found)
    keys = {key for key, _ in found.figures}
    assert len(keys) > 300
    for key in (
        "verdict.0",
        "evaluation.cross_entropy_bits",
        "evaluation.class_frequency_bits",
        "evaluation.uniform_bits",
        "evaluation.intervals.cross_entropy_bits.0",
        "calibration.temperature",
        "calibration.before.bins.0.band_low",
        "calibration.after.bins.0.accuracy",
        "fit.relative_gap",
        "fit.passes",
        "fit.seconds",
        "fit.stopped",
        "classes.shown.9.loss_bits",
        "confusions.shown.0.share",
        "samples.shown.49.surprisal_bits",
        "label_errors.shown.0.doubt_bits",
        "label_errors.expected",
        "comparison.differences.2.first_wins",
        "origin.command",
        "origin.bridle",
        "origin.made",
        "origin.fingerprint",
    ):
        assert key in keys, key


def test_the_data_are_those_of_the_evaluation(judged: dict[str, Any]) -> None:
    figures = judged["evaluation"].to_dict()
    found = contents(judged["evaluation"], **judged["told"])
    for key, value in found["evaluation"].items():
        assert value == figures[key], key
    assert found["fit"] == judged["told"]["fit"].to_dict()
    for shown, row in zip(
        found["calibration"]["before"]["bins"], figures["reliability"], strict=True
    ):
        assert {key: shown[key] for key in ("count", "confidence", "accuracy")} == {
            key: row[key] for key in ("count", "confidence", "accuracy")
        }
    error = found["calibration"]["before"]["expected_calibration_error"]
    assert error == figures["expected_calibration_error"]
    by_label = {str(row["label"]): row for row in figures["per_class"]}
    losses = [row["loss_bits"] for row in found["classes"]["shown"]]
    assert losses == sorted(losses, reverse=True)
    for shown in found["classes"]["shown"]:
        row = by_label[shown["label"]]
        assert shown["support"] == row["support"]
        assert shown["recall"] == row["recall"]
        assert shown["loss_bits"] == pytest.approx(row["loss"] / math.log(2), rel=1e-15)
    samples = found["samples"]["shown"]
    assert len(samples) == 50
    for shown, row in zip(samples[:10], figures["most_surprising"], strict=True):
        assert shown["id"] == f"sample {row['index']}"
        assert shown["label"] == str(row["target"])
        assert shown["probability"] == row["probability"]
    assert json.dumps(found, allow_nan=False)


def test_confusions_are_those_of_the_matrix(judged: dict[str, Any]) -> None:
    evaluation = judged["evaluation"]
    matrix = evaluation.confusion_matrix
    shown = contents(evaluation)["confusions"]
    wrong = matrix - np.diag(np.diag(matrix))
    assert shown["total"] == np.count_nonzero(wrong)
    assert shown["wrong"] == wrong.sum()
    assert [row["count"] for row in shown["shown"]] == sorted(wrong[wrong > 0])[::-1][:20]
    for row in shown["shown"]:
        label, predicted = int(row["label"]), int(row["predicted"])
        assert row["count"] == wrong[label, predicted]
        assert row["share"] == wrong[label, predicted] / matrix[label].sum()


def test_the_calibrated_half_is_the_temperature_of_the_same_answers(judged: dict[str, Any]) -> None:
    answers, target = judged["answers"], judged["target"]
    found = contents(judged["evaluation"], answers=answers)["calibration"]
    model = TemperatureScaling().fit(answers, target)
    after = bridle.evaluate(model.predict_proba(answers), target, kind="probabilities")
    assert found["temperature"] == model.temperature_
    assert found["cross_entropy_bits"] == pytest.approx(after.cross_entropy_bits, rel=1e-12)
    error = found["after"]["expected_calibration_error"]
    assert error == pytest.approx(after.expected_calibration_error, rel=1e-9)
    sure = after.outcomes.confidence
    assert found["after"]["mean_confidence"] == pytest.approx(sure.mean(), rel=1e-12)
    edges = np.linspace(found["axis_start"], 1, 21)
    assert found["after"]["histogram"] == np.histogram(sure, edges)[0].tolist()


@pytest.mark.parametrize("kind", ["probabilities", "scores"])
def test_a_column_for_two_classes_is_as_two(kind: str) -> None:
    random = np.random.default_rng(0)
    scores = random.normal(size=5000) * 2
    target = (random.random(5000) < 1 / (1 + np.exp(-scores / 2))).astype(int)
    one = 1 / (1 + np.exp(-scores)) if kind == "probabilities" else scores
    both = np.stack([1 - one, one] if kind == "probabilities" else [0 * one, one], axis=1)
    found = [
        contents(bridle.evaluate(each, target), answers=each)["calibration"] for each in (one, both)
    ]
    assert found[0]["temperature"] == pytest.approx(found[1]["temperature"], rel=1e-9)
    assert found[0]["after"]["histogram"] == found[1]["after"]["histogram"]
    assert found[0]["temperature"] == pytest.approx(2, rel=0.1)


def test_weight_k_is_k_copies() -> None:
    random = np.random.default_rng(0)
    answers, target = random.normal(size=(60, 4)) * 2, random.integers(4, size=60)
    weight = random.integers(0, 4, size=60)
    rows = np.arange(60).repeat(weight)
    weighed = contents(
        bridle.evaluate(answers, target, sample_weight=weight.astype(float)), answers=answers
    )
    copied = contents(bridle.evaluate(answers[rows], target[rows]), answers=answers[rows])
    assert weighed["calibration"]["temperature"] == pytest.approx(
        copied["calibration"]["temperature"], rel=1e-9
    )
    for part in ("before", "after"):
        shown, other = weighed["calibration"][part], copied["calibration"][part]
        assert shown["histogram"] == other["histogram"]
        assert shown["outside"] == other["outside"]
    assert weighed["confusions"]["wrong"] == copied["confusions"]["wrong"]
    assert weighed["samples"]["total"] == np.count_nonzero(weight)
    text = page(bridle.evaluate(answers, target, sample_weight=weight.astype(float)))
    assert f"of weight {weight.sum()}" in re.sub(r"\s+", " ", Page(text).words)


def test_the_fingerprint_is_of_labels_and_answers_whatever_their_dtype() -> None:
    answers = np.array([[0.5, 0.5], [0.25, 0.75]], np.float32)
    target = [1, 0]

    def fingerprint(values: Array, labels: list[int]) -> str:
        evaluation = bridle.evaluate(values, labels)
        return str(contents(evaluation, answers=values)["origin"]["fingerprint"])

    by_hand = hashlib.sha256(b"[0, 1]" + np.array(target, "<i8").tobytes())
    by_hand.update(answers.astype("<f8").tobytes())
    assert fingerprint(answers, target) == by_hand.hexdigest()
    assert fingerprint(np.asfortranarray(answers.astype(float)), target) == by_hand.hexdigest()
    assert fingerprint(answers, [0, 1]) != by_hand.hexdigest()
    assert fingerprint(answers[::-1], target) != by_hand.hexdigest()
    without = contents(bridle.evaluate(answers, target))["origin"]
    assert without["fingerprint_of"] == "labels and losses"


# The figures.


def test_bars_are_as_long_as_the_losses(judged: dict[str, Any]) -> None:
    found = Page(page(judged["evaluation"]))
    figures = found.data["evaluation"]
    widths = [
        float(given["width"].rstrip("%"))
        for tag, given in found.elements
        if tag == "rect" and given["class"] in ("model", "guess") and given["width"].endswith("%")
    ]
    losses = [
        figures[key] for key in ("cross_entropy_bits", "class_frequency_bits", "uniform_bits")
    ]
    assert np.array(widths) / max(widths) == pytest.approx(np.array(losses) / max(losses), abs=1e-3)


def test_a_diagram_has_a_mark_for_each_group_in_its_place(judged: dict[str, Any]) -> None:
    found = Page(page(judged["evaluation"]))
    shown, start = found.data["calibration"]["before"], found.data["calibration"]["axis_start"]
    (plot,) = (given for _, given in found.elements if given.get("class") == "plot")
    left, top, side = (float(plot[each]) for each in ("x", "y", "width"))
    dots = [
        (float(given["cx"]), float(given["cy"]))
        for tag, given in found.elements
        if given.get("class") == "dot" and given.get("r") == "4.5"
    ][:-1]  # the last explains the others
    expected = [
        (
            left + side * (row["confidence"] - start) / (1 - start),
            top + side * (1 - row["accuracy"]) / (1 - start),
        )
        for row in shown["bins"]
        if not row["outside"]
    ]
    assert np.array(dots) == pytest.approx(np.array(expected), abs=0.051)
    diamonds = [given for _, given in found.elements if given.get("class") == "off"]
    assert len(diamonds) - 1 == shown["outside"]
    bars = [
        float(given["height"])
        for tag, given in found.elements
        if tag == "rect" and given["class"] == "model" and not given["width"].endswith("%")
    ]
    counts = np.array(shown["histogram"])
    assert np.array(bars) / max(bars) == pytest.approx(counts / counts.max(), abs=1e-3)


def test_pictures_say_their_numbers(judged: dict[str, Any]) -> None:
    found = Page(page(judged["evaluation"], **judged["told"]))
    pictures = [given for tag, given in found.elements if tag == "svg"]
    said = [given["aria-label"] for given in pictures if given.get("role") == "img"]
    # The losses and their parts, two diagrams and histograms, the gap, one comparison.
    assert len(said) == 8
    assert all(given.get("aria-hidden") == "true" for given in pictures if "role" not in given)
    figures = judged["evaluation"]
    assert f"{figures.cross_entropy_bits:.3f}" in said[0]
    assert f"{figures.reliability[0].confidence:.1%}".replace("%", "\u00a0%") in said[2]
    assert all(re.search(r"\d", each) for each in said)


# What it never does.


def test_nothing_is_asked_of_a_network_and_nothing_runs(judged: dict[str, Any]) -> None:
    text = page(judged["evaluation"], **judged["told"])
    found = Page(text)
    for asking in ("http:", "https:", "url(", "@import"):
        assert asking not in text
    assert [given for tag, given in found.elements if tag == "script"] == [
        {"type": "application/json", "id": "data"}
    ]
    assert [given["href"] for tag, given in found.elements if tag == "link"] == ["data:,"]
    for _, given in found.elements:
        assert "src" not in given
        assert not any(name.startswith("on") for name in given)


def test_names_are_text_wherever_they_stand() -> None:
    names = [HOSTILE, '"><img src=x onerror=alert(2)>', "{{ 7 * 7 }}", "Infinity"]
    answers = np.random.default_rng(0).dirichlet(np.ones(4), 40)
    target = [names[row % 4] for row in range(40)]
    evaluation = bridle.evaluate(answers, target, classes=names)
    told: dict[str, Any] = {
        "answers": answers,
        "ids": [f"{HOSTILE}{row}" for row in range(40)],
        "title": HOSTILE,
        "command": f"bridle evaluate '{HOSTILE}'",
        "label_errors": bridle.label_errors(answers, target, classes=names),
        "comparison": bridle.compare_models(
            {HOSTILE: answers, "</script><b>": answers[::-1]}, target, classes=names
        ),
    }
    text = page(evaluation, **told)
    found = Page(text)
    check_figures(found)
    assert [tag for tag, _ in found.elements].count("script") == 1
    assert {"img", "b"}.isdisjoint(tag for tag, _ in found.elements)
    assert found.data["title"] == HOSTILE
    shown = {text for key, text in found.figures if key.endswith(".label")}
    assert shown == set(names)
    assert HOSTILE in found.words
    assert "<script>alert" not in text


# The longest that names get, in the signs that take the most bytes.
LONG = '<"&' * 40


def long_names(count: int) -> list[str]:
    return [f"{place:06d}{LONG}" for place in range(count)]


def test_the_page_is_small_for_any_number_of_samples_and_classes() -> None:
    samples, classes = 200_000, 1000
    random = np.random.default_rng(0)
    rows = random.normal(size=(2000, classes)).astype(np.float16)
    answers = np.tile(rows, (samples // 2000, 1))
    target = random.integers(classes, size=samples)
    answers[np.arange(samples), target] += 3
    names = long_names(classes)
    evaluation = bridle.evaluate(answers, np.array(names)[target], classes=names, kind="scores")
    text = page(evaluation, ids=long_names(samples), title=LONG * 10)
    assert len(text.encode()) < LARGEST
    found = Page(text)
    check_figures(found)
    shown = found.data
    lengths = [len(shown[part]["shown"]) for part in ("classes", "confusions", "samples")]
    assert lengths == [60, 20, 50]
    words = re.sub(r"\s+", " ", found.words)
    assert "The worst 12 of 1,000 classes" in words
    assert "No more than 60 of 1,000 classes are listed here" in words
    assert "These are 50 of 200,000" in words


def test_the_page_with_all_its_parts_is_small() -> None:
    samples, classes = 4000, 400
    random = np.random.default_rng(0)
    answers = random.normal(size=(samples, classes))
    target = random.integers(classes, size=samples)
    answers[np.arange(samples), target] += 3
    names = long_names(classes)
    told: dict[str, Any] = {"classes": names, "kind": "scores"}
    labels = np.array(names)[target]
    compared = bridle.compare_models({"a": answers, "b": answers / 2}, labels, **told)
    differences = tuple(
        dataclasses.replace(each, first=f"1{LONG}", second=f"2{LONG}", slice=f"{place}{LONG}")
        for place in range(40)
        for each in compared.differences
    )
    models = {f"{place}{LONG}": compared.models["a"] for place in range(12)}
    evaluation = bridle.evaluate(answers, labels, **told)
    columns = {name: random.integers(30, size=samples).astype(str) for name in names[:2]}
    report = digits()[0].fit_report_
    epochs = [bridle.progress.Epoch(k, 1 / k, 0.5, 1 / k, 0.5, (), 0.1, 0.1) for k in range(1, 400)]
    costs = random.random((classes, classes))
    text = page(
        evaluation,
        answers=answers,
        ids=long_names(samples),
        texts=long_names(samples),
        pictures=random.integers(256, size=(samples, 32, 32, 3), dtype=np.uint8),
        judged_on="held-out",
        fit=dataclasses.replace(report, history=report.history[:1] * 100),
        training=epochs,
        slices=slice_figures(evaluation, columns),
        decisions=decision_figures(answers, labels, costs, **told),
        label_errors=bridle.label_errors(answers, labels, **told),
        comparison=Comparison(models, differences),
        title=LONG * 10,
        command=LONG * 1000,
    )
    assert len(text.encode()) < LARGEST
    found = Page(text)
    check_figures(found)
    # What the page has no room for is left out: the samples keep their names.
    drawn = [given for tag, given in found.elements if tag == "img"]
    assert 0 < len(drawn) < 50
    words = re.sub(r"\s+", " ", found.words)
    assert "10 of 12 models and 18 of 120 differences are shown" in words


# Edges.


EDGES = [
    pytest.param([[0.9, 0.1], [0.0, 1.0]], [0, 0], id="probability 0 at a label"),
    pytest.param([[0.3, 0.7]], [1], id="one sample"),
    pytest.param([[1.0], [1.0]], [0, 0], id="one class"),
    pytest.param([[0.5, 0.5]] * 9, [0, 1, 0] * 3, id="nothing known"),
    pytest.param([[1.0, 0.0], [0.0, 1.0]], [0, 1], id="certain and right"),
    pytest.param([[9.0, -9.0], [-9.0, 9.0]], [1, 0], id="certain and wrong"),
    pytest.param([[3.0, -np.inf, 1.0], [0.0, 0.0, 1.0]], [0, 2], id="a masked class"),
]


@pytest.mark.parametrize(("answers", "target"), EDGES)
def test_odd_answers_have_a_page(answers: Any, target: Any) -> None:
    evaluation = bridle.evaluate(answers, target)
    found = Page(page(evaluation, answers=answers))
    check_figures(found)
    assert "nan" not in found.words.lower()
    assert all(re.search(r"[a-z]", sentence) for sentence in found.data["verdict"])


def test_a_probability_of_0_is_said_and_no_temperature_is_shown() -> None:
    answers = [[0.9, 0.1], [0.0, 1.0]]
    found = contents(bridle.evaluate(answers, [0, 0]), answers=answers)
    assert "infinite" in found["verdict"][0]
    assert found["calibration"]["after"] is None
    assert "probability 0" in found["calibration"]["why_not"]


# The verdict.


def verdict(scale: float, samples: int = 4000) -> list[str]:
    """Return the verdict of answers that are ``scale`` times as sure as is right."""
    random = np.random.default_rng(1)
    scores = random.normal(size=(samples, 5)) * 2
    chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    target = (random.random(samples)[:, None] > chances.cumsum(axis=1)).sum(axis=1)
    found: list[str] = contents(bridle.evaluate(scores * scale, target))["verdict"]
    return found


def test_the_verdict_tells_calibrated_answers_from_others() -> None:
    assert verdict(1.0)[1].startswith("Its confidence comes true")
    assert verdict(2.0)[1].startswith("It is too sure of itself")
    assert verdict(0.5)[1].startswith("It is not sure enough")


def test_the_verdict_tells_good_from_bad_and_unknown() -> None:
    assert "takes away" in verdict(1.0)[0]
    assert "worse than not looking" in verdict(-3.0)[0]
    assert "do not tell" in verdict(1.2, samples=3)[0]


def test_the_verdict_names_the_worst_class_and_confusion() -> None:
    answers = np.full((30, 3), 0.05)
    target = np.arange(30) % 3
    answers[np.arange(30), target] = 0.9
    answers[[0, 3, 6, 9]] = [0.05, 0.9, 0.05]
    found = contents(bridle.evaluate(answers, target, classes=None))
    assert found["verdict"][2] == (
        "It fails most on “0” (60.0\u00a0% of 10 found, 1.820 bits each), and most often takes "
        "“0” for “1” (4 times, 40.0\u00a0% of that class)."
    )
    loss = (6 * -math.log2(0.9) + 4 * -math.log2(0.05)) / 10
    assert f"{loss:.3f}" == "1.820"
    right = np.eye(3)[target] * 0.8 + 0.2 / 3
    assert contents(bridle.evaluate(right, target))["verdict"][2].startswith("It makes no mistake")


# Bad input.


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"answers": [[0.5, 0.5]]}, "answers: expected those that were evaluated"),
        ({"ids": ["a"]}, "ids: expected one for each of the 2 rows"),
        ({"judged_on": "holdout"}, "judged_on"),
        ({"label_errors": bridle.label_errors([[0.5, 0.5]], [0])}, "label_errors: expected one"),
    ],
)
def test_what_is_of_other_samples_is_refused(told: dict[str, Any], message: str) -> None:
    evaluation = bridle.evaluate([[0.5, 0.5], [0.1, 0.9]], [0, 1])
    with pytest.raises(InputError, match=message):
        page(evaluation, **told)


def test_without_jinja2_the_command_that_installs_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(bridle.MissingExtraError, match="a report needs jinja2"):
        page(bridle.evaluate([[0.5, 0.5]], [0]))


# The command.


def answers_file(path: Path, seed: int = 0) -> Path:
    """Write answers with hostile labels and ids to 300 samples."""
    random = np.random.default_rng(seed)
    target = np.arange(300) % 3
    answers = random.dirichlet(np.ones(3), 300) + np.eye(3)[target]
    labels = np.array([HOSTILE, "b", "c"])
    table = pd.DataFrame(answers / answers.sum(axis=1, keepdims=True), columns=labels)
    table.insert(0, "truth", labels[target])
    table.insert(0, "id", [f"<i>{row}" for row in range(300)])
    table.to_csv(path, index=False)
    return path


def test_fit_writes_a_page_of_what_it_held_out(command: Command, tmp_path: Path) -> None:
    path, folder = tmp_path / "model/report.html", tmp_path / "model"
    code, out, err = command("fit", "digits", "--out", folder, "--report", path)
    assert (code, err) == (0, "")
    assert f"{path}: {path.stat().st_size / 1000:.0f} kB; open it in a browser" in out
    found = Page(path.read_text())
    check_figures(found)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert found.data == metrics["report"]
    for key, value in found.data["evaluation"].items():
        assert metrics["evaluation"][key] == value, key
    assert found.data["fit"] == metrics["fit"]
    assert found.data["judged_on"] == metrics["data"]["judged_on"] == "held-out"
    assert found.data["label_errors"] is not None
    assert found.data["origin"]["command"] == f"bridle fit digits --out {folder} --report {path}"
    named = [row["id"] for row in found.data["samples"]["shown"][:10]]
    assert named == [str(row["index"]) for row in metrics["evaluation"]["most_surprising"]]
    assert sorted(each.name for each in folder.iterdir()) == [
        "metrics.json",
        "model.safetensors",
        "predictions.csv",
        "report.html",
    ]


def test_labels_that_were_learnt_from_are_not_doubted(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    assert command("fit", "iris", "--holdout", "0", "--report", path, "-q") == (0, "", "")
    found = Page(path.read_text())
    assert found.data["label_errors"] is None
    assert "Labels that are likely wrong" not in found.words
    assert "on others it will be worse" in found.words


def test_evaluate_writes_a_page_of_answers(command: Command, tmp_path: Path) -> None:
    source, path = answers_file(tmp_path / "answers.csv"), tmp_path / "report.html"
    code, out, err = command("evaluate", source, "--report", path, "--json")
    assert (code, err) == (0, "")
    figures = json.loads(out)
    text = path.read_text()
    found = Page(text)
    check_figures(found)
    assert found.data == figures["report"]
    assert found.data["evaluation"]["accuracy"] == figures["accuracy"]
    assert HOSTILE in found.words
    assert "<script>alert" not in text
    assert [tag for tag, _ in found.elements].count("i") == 0
    assert found.data["samples"]["shown"][0]["id"].startswith("<i>")
    assert "if the model has not learnt from these samples" in re.sub(r"\s+", " ", found.words)


def test_evaluate_writes_a_page_of_a_model_on_data(command: Command, tmp_path: Path) -> None:
    folder, path = tmp_path / "model", tmp_path / "report.html"
    assert command("fit", "iris", "--out", folder, "-q")[0] == 0
    code, out, _ = command("evaluate", "--model", folder, "iris", "--report", path)
    assert code == 0
    assert "open it in a browser" in out
    found = Page(path.read_text())
    check_figures(found)
    assert found.data["title"] == "model on iris"
    assert found.data["evaluation"]["samples"] == 150


def test_several_files_are_compared_in_the_page(command: Command, tmp_path: Path) -> None:
    one, other = answers_file(tmp_path / "one.csv"), answers_file(tmp_path / "other.csv", 1)
    path = tmp_path / "report.html"
    code, out, err = command("evaluate", one, other, "--report", path, "--json")
    assert (code, err) == (0, "")
    figures = json.loads(out)
    found = Page(path.read_text())
    check_figures(found)
    shown = found.data["comparison"]
    assert [row["name"] for row in shown["models"]] == ["one", "other"]
    for row, difference in zip(shown["differences"], figures["differences"], strict=True):
        unit = math.log(2) if difference["metric"] == "cross_entropy_nats" else 1
        assert row["difference"] == pytest.approx(difference["difference"] / unit, rel=1e-12)
        assert row["low"] == pytest.approx(difference["interval"][0] / unit, rel=1e-12)
        assert row["first_wins"] == difference["first_wins"]
    assert found.data["evaluation"]["accuracy"] == figures["models"]["one"]["accuracy"]


@pytest.mark.parametrize("name", ["fit", "evaluate"])
def test_a_page_that_cannot_be_written_is_refused_before_the_work(
    command: Command, tmp_path: Path, name: str
) -> None:
    # Nothing is read: there is no such file either.
    arguments = (name, tmp_path / "absent.csv", "--report")
    code, out, err = command(*arguments, tmp_path / "no folder/report.html")
    assert (code, out) == (2, "")
    assert "--report" in err
    assert "no folder" in err
    code, _, err = command(*arguments, tmp_path)
    assert code == 2
    assert "expected a file, found a folder" in err
    assert len(err.splitlines()) == 1
    # A file is moved into its place: of a pipe or a device nothing would be left.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code, _, err = command(*arguments, pipe)
    assert code == 2
    assert "expected a file, found a device or a pipe" in err
    assert pipe.is_fifo()


def test_a_page_replaces_nothing_that_is_read_or_written(command: Command, tmp_path: Path) -> None:
    source = answers_file(tmp_path / "answers.csv")
    before = source.read_bytes()
    for name in ("evaluate", "fit"):
        code, _, err = command(name, source, "--report", source)
        assert code == 2
        assert "expected another file than what is read" in err
    assert source.read_bytes() == before
    folder = tmp_path / "model"
    code, _, err = command("fit", "iris", "--out", folder, "--report", folder / "metrics.json")
    assert code == 2
    assert "expected another name than metrics.json" in err
    assert not folder.exists()


def test_without_jinja2_the_command_refuses_before_the_work(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    code, _, err = command("evaluate", tmp_path / "absent.csv", "--report", tmp_path / "x.html")
    assert code == 2
    assert "a report needs jinja2" in err


def test_the_figures_are_printed_though_the_page_cannot_be_written(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bridle.cli import outputs

    def full(path: Path, _: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(outputs, "write_text", full)
    path = tmp_path / "report.html"
    for arguments in (
        ("fit", "iris", "--report", path),
        ("evaluate", answers_file(tmp_path / "a.csv"), "--report", path),
    ):
        code, out, err = command(*arguments)
        assert code == 2
        assert "accuracy" in out
        assert "No space left on device" in err
        assert "open it" not in out


# What the loss is made of, classes, and how the optimum was reached.


def test_the_loss_is_parted_as_decompose_does(judged: dict[str, Any]) -> None:
    answers, target = judged["answers"], judged["target"]
    shown = contents(judged["evaluation"], answers=answers)["composition"]
    found = decompose(answers, target)
    for key, parts, unit, frequency in (
        ("cross_entropy_bits", found.cross_entropy, math.log(2), found.class_frequencies[0]),
        ("brier_score", found.brier_score, 1.0, found.class_frequencies[1]),
    ):
        assert shown[key]["total"] == pytest.approx(parts.total / unit, rel=1e-12)
        total = shown[key]["refinement"] + shown[key]["calibration"]
        assert total == pytest.approx(shown[key]["total"], rel=1e-12)
        assert shown[key]["refinement"] == pytest.approx(parts.refinement / unit, rel=1e-12)
        assert shown[key]["share"] == pytest.approx(parts.total / frequency, rel=1e-12)
    assert shown["samples"] == len(target)
    widths = {
        given["class"]: float(given["width"].rstrip("%"))
        for tag, given in Page(page(judged["evaluation"], answers=answers)).elements
        if tag == "rect" and given["class"] in ("first", "second") and "%" in given["width"]
    }  # of the Brier score, the last
    brier = shown["brier_score"]
    assert widths["first"] / widths["second"] == pytest.approx(
        brier["refinement"] / brier["total"], abs=2e-3
    )


def test_of_many_samples_some_are_parted() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(size=(12_000, 150))
    target = (scores + random.gumbel(size=scores.shape)).argmax(axis=1)
    evaluation = bridle.evaluate(2 * scores, target, kind="scores")
    shown = contents(evaluation, answers=2 * scores)["composition"]
    assert shown["samples"] == 1_000_000 // 150
    rows = np.linspace(0, 11_999, shown["samples"]).astype(int)
    found = decompose(2 * scores[rows], target[rows]).cross_entropy
    assert shown["cross_entropy_bits"]["total"] == pytest.approx(found.total / math.log(2))
    words = re.sub(r"\s+", " ", Page(page(evaluation, answers=2 * scores)).words)
    assert "These are figures of 6,666 samples, taken evenly" in words


@pytest.mark.parametrize("weighed", [False, True])
def test_calibration_by_class_is_the_judges(judged: dict[str, Any], weighed: bool) -> None:
    answers, target = judged["answers"] * 3, judged["target"]
    weight = np.random.default_rng(0).integers(0, 3, len(target)) if weighed else None
    evaluation = bridle.evaluate(answers, target, kind="scores", sample_weight=weight)
    shown = contents(evaluation, answers=answers)["class_calibration"]
    found = class_calibration(answers, target, kind="scores", sample_weight=weight)
    assert shown["mean_error"] == pytest.approx(np.mean([each.error for each in found]))
    by_label = {str(each.label): each for each in found}
    excess = []
    for row in shown["shown"]:
        each = by_label[row["label"]]
        assert row["error"] == each.error
        assert row["frequency"] == each.frequency
        assert row["by_chance_high"] == each.error_by_chance.high
        assert row["outside"] == ("beyond chance" if each.error > each.error_by_chance.high else "")
        excess.append(each.error - each.error_by_chance.high)
    assert excess == sorted(excess, reverse=True)
    assert shown["beyond_chance"] == sum(each > 0 for each in excess) > 0


def test_the_gap_over_the_passes_is_the_history(judged: dict[str, Any]) -> None:
    report = judged["told"]["fit"]
    history = report.history
    assert [each.passes for each in history] == sorted({each.passes for each in history})
    assert history[-1].passes == report.passes
    values = [each.objective for each in history]
    assert values == sorted(values, reverse=True)
    assert history[-1].objective == pytest.approx(report.objective, rel=1e-12)
    gaps = [each.relative_gap for each in history]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] <= report.relative_gap
    # Each bound was true: the optimum is no lower than the last one says.
    lowest = report.objective * (1 - report.relative_gap)
    for each in history:
        assert each.objective * (1 - each.relative_gap) <= report.objective
        assert each.objective >= lowest
    found = Page(page(judged["evaluation"], fit=report))
    (line,) = (given for tag, given in found.elements if tag == "polyline")
    points = np.array([list(map(float, each.split(","))) for each in line["points"].split()])
    assert len(points) == len(history)
    heights = np.log10(gaps)
    share = (points[:, 1] - points[0, 1]) / (points[-1, 1] - points[0, 1])
    expected = (heights - heights[0]) / (heights[-1] - heights[0])
    assert share == pytest.approx(expected, abs=0.01)


def test_a_history_is_short_and_survives_a_file(tmp_path: Path) -> None:
    model = digits()[0]
    model.save(tmp_path / "model.safetensors")
    again = bridle.SoftmaxRegression.load(tmp_path / "model.safetensors")
    assert again.fit_report_ == model.fit_report_
    assert len(bridle.FitReport.from_dict(model.fit_report_.to_dict()).history) <= 100
    free = bridle.SoftmaxRegression(C=np.inf).fit([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1])
    assert math.isinf(free.fit_report_.history[0].relative_gap)
    assert bridle.FitReport.from_dict(free.fit_report_.to_dict()) == free.fit_report_
    page(bridle.evaluate([[0.5, 0.5]], [0]), fit=free.fit_report_)


# The samples themselves.


def picture(row: dict[str, Any]) -> Array:
    kind, _, content = row["picture"].partition(";base64,")
    assert kind in ("data:image/png", "data:image/jpeg")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def test_surprising_images_are_shown(judged: dict[str, Any]) -> None:
    X = load_digits().data[1::2]
    evaluation = judged["evaluation"]
    told = {"pictures": X.reshape(-1, 8, 8), "label_errors": judged["told"]["label_errors"]}
    shown = contents(evaluation, **told)
    rows = [sample.index for sample in evaluation.most_surprising]
    for row, sample in zip(rows, shown["samples"]["shown"], strict=False):
        assert np.array_equal(picture(sample), np.rint(X[int(row)].reshape(8, 8) * 255 / 16))
    assert "picture" in shown["label_errors"]["shown"][0]
    text = page(evaluation, **told)
    found = Page(text)
    drawn = [given["src"] for tag, given in found.elements if tag == "img"]
    assert len(drawn) > 50
    assert all(each.startswith("data:image/") for each in drawn)
    assert all(given["alt"] for tag, given in found.elements if tag == "img")
    # They are no figures: neither the page's data nor metrics.json have them.
    assert "picture" not in found.data["samples"]["shown"][0]
    assert len(text.encode()) < LARGEST


@pytest.mark.parametrize("shape", [(60, 40), (60, 40, 3), (3, 60, 40), (1, 60, 40), (60, 40, 1)])
def test_pictures_are_small_whatever_their_size(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    pictures = random.integers(256, size=(60, *shape), dtype=np.uint8)
    evaluation = bridle.evaluate(random.dirichlet(np.ones(3), 60), random.integers(3, size=60))
    shown = contents(evaluation, pictures=pictures)["samples"]["shown"]
    assert picture(shown[0]).shape[:2] == (48, 32)
    assert sum(len(row.get("picture", "")) for row in shown) <= 50 * 2000
    words = Page(page(evaluation, pictures=pictures)).words
    count = sum("picture" in row for row in shown)
    assert (count == 50) != (f"The first {count} are shown with their picture" in words)
    with pytest.raises(InputError, match="pictures: expected images"):
        contents(evaluation, pictures=np.zeros((60, 5)))
    with pytest.raises(InputError, match="pictures: expected one for each of the 60 rows"):
        contents(evaluation, pictures=pictures[:5])


def test_surprising_texts_are_shown_as_text(judged: dict[str, Any]) -> None:
    evaluation = judged["evaluation"]
    texts = [f"{HOSTILE} of {row}, " + "and so on, " * 90 for row in range(len(judged["target"]))]
    text = page(evaluation, texts=texts)
    found = Page(text)
    assert "<script>alert" not in text
    row = evaluation.most_surprising[0].index
    assert f"{HOSTILE} of {row}, and so on" in found.words
    assert "and so on, " * 60 not in found.words
    assert len(text.encode()) < LARGEST
    assert "text" not in found.data["samples"]["shown"][0]


# Explanations.


def test_each_figure_is_linked_to_how_to_read_it(judged: dict[str, Any]) -> None:
    found = Page(page(judged["evaluation"], **judged["told"]))
    ids = [given["id"] for _, given in found.elements if "id" in given]
    assert len(ids) == len(set(ids))
    links = [given["href"] for tag, given in found.elements if tag == "a"]
    assert len(links) >= 8
    assert all(each.startswith("#") and each[1:] in ids for each in links)
    assert "--explain-page" in found.words


def test_sentences_are_linked_to_the_stations(judged: dict[str, Any]) -> None:
    told = {**judged["told"], "explain_page": "my pages/a&b.html"}
    found = Page(page(judged["evaluation"], **told))
    links = [given["href"] for tag, given in found.elements if tag == "a"]
    outside = [each.partition("#") for each in links if not each.startswith("#")]
    assert {place for place, _, _ in outside} == {"my%20pages/a%26b.html"}
    stations = {station.name for station in STATIONS}
    assert {name for _, _, name in outside} <= stations
    assert {"loss", "surprise", "calibration", "classifier"} <= {name for _, _, name in outside}
    assert "--explain-page" not in found.words
    for hostile in ("javascript:alert(1)", "//elsewhere/x.html", "https://elsewhere/x.html"):
        text = page(judged["evaluation"], explain_page=hostile)
        links = [given["href"] for tag, given in Page(text).elements if tag == "a"]
        assert not any(re.match(r"[a-z]+:|//", each) for each in links)


# From an evaluation itself.


def test_an_evaluation_makes_its_page(judged: dict[str, Any]) -> None:
    evaluation, told = judged["evaluation"], judged["told"]
    assert evaluation.to_html(**told) == page(evaluation, **told)
    frame = Page(f"{evaluation._repr_html_()}<script>0</script>").elements[0]
    assert frame[0] == "iframe"
    assert frame[1]["sandbox"] == ""
    assert Page(frame[1]["srcdoc"]).data["evaluation"]["accuracy"] == evaluation.accuracy
    with pytest.raises(TypeError, match="heading"):
        evaluation.to_html(heading="?")
    assert "judged_on" in inspect.signature(page).parameters


def test_without_jinja2_notebooks_show_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    evaluation = bridle.evaluate([[0.5, 0.5]], [0])
    assert evaluation._repr_html_() is None
    with pytest.raises(bridle.MissingExtraError):
        evaluation.to_html()


# More of the command.


def test_train_writes_a_page_with_its_epochs(command: Command, tmp_path: Path) -> None:
    path, folder = tmp_path / "report.html", tmp_path / "model"
    code, out, err = command(
        "train", "digits", "--hidden", "10", "--epochs", "4", "--out", folder, "--report", path
    )
    assert (code, err) == (0, "")
    assert f"{path}: " in out
    found = Page(path.read_text())
    check_figures(found)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert found.data == metrics["report"]
    history = metrics["fit"]["history"]
    shown = found.data["training"]
    assert [row["cost"] for row in shown["history"]] == [row["cost"] for row in history]
    assert shown["best_validation_cost"] == min(row["validation_cost"] for row in history)
    lines = [given["points"] for tag, given in found.elements if tag == "polyline"]
    assert [len(each.split()) for each in lines] == [4, 4]
    assert found.data["fit"] is None
    images = [given for tag, given in found.elements if tag == "img"]
    assert len(images) > 40
    code, _, err = command("train", tmp_path / "absent.csv", "--report", tmp_path / "no/x.html")
    assert code == 2
    assert "no folder" in err


def test_texts_of_reviews_are_shown(command: Command, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    words = np.array(["fine", "lovely", "bad", "awful", "film", "plot", "<i>end</i>", "music"])
    labels = np.arange(60) % 2
    rows = [" ".join([*random.choice(words, 6), words[2 * label]]) for label in labels]
    frame = pd.DataFrame({"review": rows, "label": np.array(["good", "bad"])[labels]})
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    frame.to_csv(train, index=False)
    frame[::-1].to_csv(test, index=False)
    path, model = tmp_path / "report.html", tmp_path / "model"
    fit = ("fit", train, "--report", path)
    for arguments, first in (
        ((*fit, "--out", model), train),
        ((*fit, "--test", test), test),
        (("evaluate", "--model", model, test, "--report", path), test),
    ):
        code, _, err = command(*arguments)
        assert (code, err) == (0, "")
        found = Page(path.read_text())
        check_figures(found)
        kept = pd.read_csv(first)["review"]
        for row in found.data["samples"]["shown"][:3]:
            assert kept[int(row["id"])] in found.words
        assert [tag for tag, _ in found.elements].count("i") == 0


def test_images_of_a_folder_are_shown(command: Command, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in ("dark", "light"):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        for row in range(10):
            values = random.integers(128, size=(12, 9, 3)) + (128 if name == "light" else 0)
            Image.fromarray(values.astype(np.uint8)).save(folder / f"{row}.png")
    path = tmp_path / "report.html"
    assert command("fit", tmp_path / "images", "--report", path, "-q") == (0, "", "")
    found = Page(path.read_text())
    drawn = [given["src"] for tag, given in found.elements if tag == "img"]
    first = np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn[0].partition(",")[2]))))
    name = found.data["samples"]["shown"][0]["id"]
    original = np.asarray(Image.open(tmp_path / "images" / name))
    assert first.shape == original.shape == (12, 9, 3)
    assert np.abs(first.astype(int) - original).mean() < 12  # what JPEG loses


def test_slices_and_costs_are_in_the_page(command: Command, tmp_path: Path) -> None:
    source, path = answers_file(tmp_path / "answers.csv"), tmp_path / "report.html"
    table = pd.read_csv(source)
    table["site"] = np.array([HOSTILE, "south"])[np.arange(300) % 2]
    table.to_csv(source, index=False)
    costs = tmp_path / "costs.csv"
    costs.write_text("0,1,1\n9,0,1\n9,1,0\n")
    told = ("--slices", "site", "--costs", costs, "--report", path, "--json")
    code, out, err = command("evaluate", source, *told)
    assert (code, err) == (0, "")
    figures = json.loads(out)
    text = path.read_text()
    found = Page(text)
    check_figures(found)
    assert "<script>alert" not in text
    assert found.data == figures["report"]
    for shown, row in zip(found.data["slices"]["shown"], figures["slices"], strict=True):
        assert (shown["value"], shown["accuracy"]) == (row["value"], row["accuracy"])
        assert shown["accuracy_interval"] == row["intervals"]["accuracy"]
    assert found.data["decisions"]["cost"] == figures["decisions"]["cost"]
    keys = {key for key, _ in found.figures}
    assert {"slices.shown.1.loss_bits_interval.0", "decisions.shown.2.cost"} <= keys


def test_a_page_is_linked_to_explanations_beside_it(command: Command, tmp_path: Path) -> None:
    explained, folder = tmp_path / "why.html", tmp_path / "pages"
    folder.mkdir()
    assert command("explain", "iris", "--out", explained, "-q")[0] == 0
    path = folder / "report.html"
    source = answers_file(tmp_path / "answers.csv")
    report = ("evaluate", source, "--report", path, "--explain-page")
    assert command(*report, explained)[0] == 0
    links = [given["href"] for tag, given in Page(path.read_text()).elements if tag == "a"]
    assert "../why.html#calibration" in links
    for wrong in (source, tmp_path / "absent.html", path):
        code, _, err = command(*report, wrong)
        assert code == 2
        assert "expected a page that bridle explain --out wrote" in err
    code, _, err = command("evaluate", source, "--explain-page", explained)
    assert code == 2
    assert "--explain-page: expected with --report" in err
