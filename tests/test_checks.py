"""Every refusal of the walk: which argument, the first bad row, what was expected."""

from __future__ import annotations

import copy
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from scipy import sparse

import bridle
from bridle import checks

TWO = np.zeros((2, 3))
HALVES = [0.5, 0.5]
AT_LEAST_ONE = "expected at least one class"
OUTSIDE = "expected a class index in [0, 3)"
NUMBERS = "expected real numbers"
LAYOUT = "expected shape (C,), (N, C) or (N, C, d1, …)"
TARGET = "target: expected class indices (integers) of shape (2,) or probabilities of shape (2, 3)"
UNEVEN = "expected an array, found sequences of different lengths"

ce, nll, bce = bridle.cross_entropy, bridle.nll, bridle.binary_cross_entropy
kl: Callable[..., Any] = bridle.kl_divergence
softmax: Callable[..., Any] = bridle.softmax
loss: Callable[..., Any] = ce

REFUSALS: list[tuple[Callable[[], Any], str]] = [
    # scores
    (lambda: softmax(["a", "b"]), f"scores: {NUMBERS}, found <U1 of shape (2,)"),
    (lambda: softmax([1j]), f"scores: {NUMBERS}, found complex128 of shape (1,)"),
    (lambda: softmax([None, 1.0]), f"scores: {NUMBERS}, found object of shape (2,)"),
    (lambda: softmax([[1], [1, 2]]), f"scores: {UNEVEN}"),
    (lambda: bridle.sigmoid("x"), f"scores: {NUMBERS}, found <U1 of shape ()"),
    (lambda: bridle.predicted_class(3.0), f"scores: {AT_LEAST_ONE} along axis -1, found a scalar"),
    (
        lambda: bridle.predicted_class(np.zeros((2, 0))),
        f"scores: {AT_LEAST_ONE} along axis -1, found shape (2, 0)",
    ),
    (
        lambda: bridle.predicted_class(TWO, axis=2),
        f"scores: {AT_LEAST_ONE} along axis 2, found shape (2, 3)",
    ),
    (lambda: loss(3.0, 0), f"input: {LAYOUT}, found a scalar"),
    (lambda: loss(np.zeros((2, 0)), [0, 0]), f"input: {AT_LEAST_ONE}, found shape (2, 0)"),
    (lambda: loss([], 0), f"input: {AT_LEAST_ONE}, found shape (0,)"),
    (lambda: loss([["a"]], [0]), f"input: {NUMBERS}, found <U1 of shape (1, 1)"),
    (lambda: loss([[1], [1, 2]], [0, 0]), f"input: {UNEVEN}"),
    (lambda: nll(0.5, 0), f"probabilities: {LAYOUT}, found a scalar"),
    *[
        (
            lambda value=value: softmax(HALVES, temperature=value),
            f"temperature: expected a finite number above 0, found {value!r}",
        )
        for value in (0, -1.0, np.nan, np.inf, "warm", True, None)
    ],
    # class indices
    (lambda: loss(TWO, [0, 3]), f"target: row 1 is 3, {OUTSIDE}"),
    (lambda: loss(TWO, [-1, 7]), f"target: row 0 is -1, {OUTSIDE}"),
    (lambda: loss(TWO, np.array([0, 200], np.uint8)), f"target: row 1 is 200, {OUTSIDE}"),
    (lambda: loss(TWO[0], 3), f"target: it is 3, {OUTSIDE}"),
    (
        lambda: loss(np.zeros((2, 3, 2)), [[0, 1], [2, 5]]),
        f"target: row 1, 1 is 5, {OUTSIDE}",
    ),
    (lambda: nll(np.eye(3)[:2], [0, 3]), f"target: row 1 is 3, {OUTSIDE}"),
    (lambda: loss(TWO, [0, 1, 2]), f"{TARGET}, found int64 of shape (3,)"),
    (lambda: loss(TWO, [0.0, 1.0]), f"{TARGET}, found float64 of shape (2,)"),
    (lambda: loss(TWO, ["a", "b"]), f"{TARGET}, found <U1 of shape (2,)"),
    (lambda: loss(TWO, 0), f"{TARGET}, found int64 of shape ()"),
    (lambda: loss(TWO, [[0], [0, 1]]), f"target: {UNEVEN}"),
    (
        lambda: loss(TWO, [True, False]),
        "target: booleans stand for two classes, found booleans and 3 classes",
    ),
    # distributions as targets
    (
        lambda: loss(TWO, [[1, 0, 0], [0.5, 0.4, 0]]),
        "target: row 1 sums to 0.9, expected 1",
    ),
    (
        lambda: loss(TWO, [[1, 0, 0], [0.5, np.nan, 0]]),
        "target: entry 1, 1 is nan, expected a probability",
    ),
    (lambda: loss(TWO[0], [0.5, 0.6, 0.5]), "target: it sums to 1.6, expected 1"),
    (
        lambda: loss(np.zeros((1, 2, 2)), [[[0.5, 0.5], [0.5, 0.6]]]),
        "target: row 0, 1 sums to 1.1, expected 1",
    ),
    (lambda: loss(TWO, np.ones((2, 3), int)), "target: row 0 sums to 3, expected 1"),
    (
        lambda: loss(TWO, np.eye(3)[:2], ignore_index=1),
        "ignore_index: expected class indices as target, "
        "found ignore_index=1 with probabilities as target",
    ),
    # probabilities as input
    (
        lambda: nll([[0.5, 0.5], [2.0, 1.0]], [0, 0]),
        "probabilities: entry 1, 0 is 2, expected a probability (for scores, use cross_entropy)",
    ),
    (
        lambda: nll([[0.5, 0.5], [0.25, 0.5]], [0, 0]),
        "probabilities: row 1 sums to 0.75, expected 1 (for scores, use cross_entropy)",
    ),
    (
        lambda: nll(np.array([[0.5, 0.5], [np.nan, 0.5]], ml_dtypes.bfloat16), [0, 0]),
        "probabilities: entry 1, 0 is nan, expected a probability (for scores, use cross_entropy)",
    ),
    (
        lambda: bridle.likelihood([0.5, 0.25], 0),
        "probabilities: it sums to 0.75, expected 1 (for scores, use cross_entropy)",
    ),
    # weights and options
    (lambda: loss(TWO, [0, 1], [1, 2]), "weight: expected shape (3,), found (2,)"),
    (
        lambda: loss(TWO, [0, 1], [1, np.inf, -1]),
        "weight: entry 1 is inf, expected a finite number ≥ 0 in float64",
    ),
    (
        lambda: loss(TWO.astype(np.float32), [0, 1], [1, 1, 1e40]),
        "weight: entry 2 is 1e+40, expected a finite number ≥ 0 in float32",
    ),
    (
        lambda: loss(TWO, [0, 1], sample_weight=[1]),
        "sample_weight: expected shape (2,), found (1,)",
    ),
    (
        lambda: loss(np.zeros((2, 3, 2)), [[0, 1], [2, 0]], sample_weight=[[1, 1], [1, -2]]),
        "sample_weight: entry 1, 1 is -2.0, expected a finite number ≥ 0 in float64",
    ),
    (
        lambda: loss(TWO[0], 0, sample_weight=-1),
        "sample_weight: it is -1.0, expected a finite number ≥ 0 in float64",
    ),
    (
        lambda: loss(TWO, [0, 1], sample_weight=["a", "b"]),
        f"sample_weight: {NUMBERS}, found <U1 of shape (2,)",
    ),
    *[
        (
            lambda value=value: loss(TWO, [0, 1], label_smoothing=value),
            f"label_smoothing: expected a number in [0, 1], found {value!r}",
        )
        for value in (-0.1, 1.5, np.nan, "much", True)
    ],
    (
        lambda: loss(TWO, [0, 1], reduction="average"),
        "reduction: expected one of mean, sum, none, found 'average'",
    ),
    (
        lambda: loss(TWO, [0, 1], on_empty="ignore"),
        "on_empty: expected one of nan, zero, raise, found 'ignore'",
    ),
    (
        lambda: loss(TWO, [-100, -100], on_empty="raise"),
        "target: the mean is over no sample: none is counted",
    ),
    # binary and quadratic
    (lambda: bce([1.0, 2.0], [1.0]), "target: expected the shape of input, (2,), found (1,)"),
    (lambda: bce([1.0, 2.0], [1.0, 1.5]), "target: entry 1 is 1.5, expected a number in [0, 1]"),
    (lambda: bce(1.0, -0.5), "target: it is -0.5, expected a number in [0, 1]"),
    (
        lambda: bce(*np.array([[1, 1], [1, np.nan]], ml_dtypes.bfloat16)),
        "target: entry 1 is nan, expected a number in [0, 1]",
    ),
    (
        lambda: bce([1.0, 2.0], [1, 0], pos_weight=[1, -1]),
        "pos_weight: entry 1 is -1, expected a finite number ≥ 0 in float64".replace(
            "-1,", "-1.0,"
        ),
    ),
    (
        lambda: bce([1.0, 2.0], [1, 0], [1, 2, 3]),
        "weight: expected a shape that broadcasts to (2,), found (3,)",
    ),
    (
        lambda: bce([1.0], [1], reduction="all"),  # type: ignore[call-overload]
        "reduction: expected one of mean, sum, none, found 'all'",
    ),
    (lambda: bce(["a"], [1]), f"input: {NUMBERS}, found <U1 of shape (1,)"),
    (
        lambda: bridle.quadratic_loss([1.0, 2.0], [[1.0, 2.0]]),
        "target: expected the shape of output, (2,), found (1, 2)",
    ),
    (
        lambda: bridle.quadratic_loss(1.0, 1.0),
        "output: expected shape (C,) or (…, C), found a scalar",
    ),
    # information
    (
        lambda: bridle.surprisal([0.5, 1.5]),
        "probability: entry 1 is 1.5, expected a number in [0, 1]",
    ),
    (lambda: bridle.entropy(0.5), f"probabilities: {AT_LEAST_ONE} along axis -1, found a scalar"),
    (
        lambda: bridle.entropy(HALVES, axis=1),
        f"probabilities: {AT_LEAST_ONE} along axis 1, found shape (2,)",
    ),
    (lambda: bridle.entropy([HALVES, [0.5, 0.6]]), "probabilities: row 1 sums to 1.1, expected 1"),
    (
        lambda: bridle.entropy(HALVES, unit="dits"),  # type: ignore[call-overload]
        "unit: expected one of nats, bits, found 'dits'",
    ),
    (lambda: kl([0.5, 0.6], HALVES), "p: it sums to 1.1, expected 1"),
    (lambda: kl(HALVES, [[1, 0], [0.6, 0.5]]), "q: row 1 sums to 1.1, expected 1"),
    (
        lambda: kl(HALVES, [0.2, 0.3, 0.5]),
        "p, q: expected one number of classes, found shapes (2,) and (3,) with the classes last",
    ),
    (
        lambda: kl([HALVES] * 2, [HALVES] * 3),
        "p, q: expected shapes that broadcast, found (2, 2) and (3, 2) with the classes last",
    ),
    (
        lambda: bridle.perplexity([1.0, -2.0]),
        "cross_entropy: entry 1 is -2, expected a number of 0 or above",
    ),
    (
        lambda: bridle.perplexity(1.0, unit="trits"),  # type: ignore[call-overload]
        "unit: expected one of nats, bits, found 'trits'",
    ),
    # features
    (
        lambda: checks.finite_rows(np.array([[1, 2], [3, np.nan]]), "X", 10),
        "X: expected finite numbers, found NaN at row 11, column 1",
    ),
    (
        lambda: checks.finite_rows(np.array([[np.inf, -np.inf], [3, np.nan]]), "X"),
        "X: expected finite numbers, found infinity at row 0, column 0",
    ),
    (
        lambda: checks.finite_rows(sparse.csr_array([[0, 0], [0, 0], [0, np.inf]]), "X", 4),
        "X: expected finite numbers, found infinity at row 6, column 1",
    ),
    (lambda: checks.positive(0, "C", infinite=True), "C: expected a number above 0, found 0"),
    (lambda: checks.count(0, "top"), "top: expected a whole number of at least 1, found 0"),
]


@pytest.mark.parametrize(("call", "message"), REFUSALS, ids=[message for _, message in REFUSALS])
def test_a_refusal_says_which_argument_where_and_why(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(bridle.InputError) as raised:
        call()
    assert str(raised.value) == message
    assert isinstance(raised.value, ValueError)


def test_the_gradient_refuses_what_the_loss_refuses() -> None:
    for arguments, options in (
        ((TWO, [0, 3]), {}),
        ((TWO, [0, 1], [1, 2]), {}),
        ((TWO, [0, 1]), {"reduction": "all"}),
        ((TWO, [0, 1]), {"label_smoothing": 2}),
        (([["a"]], [0]), {}),
    ):
        messages = []
        for function in (bridle.cross_entropy, bridle.cross_entropy_gradient):
            with pytest.raises(bridle.InputError) as raised:
                function(*arguments, **options)
            messages.append(str(raised.value))
        assert messages[0] == messages[1]


def test_an_index_out_of_range_is_both_errors_that_the_field_knows() -> None:
    assert issubclass(bridle.TargetRangeError, IndexError)
    assert issubclass(bridle.TargetRangeError, ValueError)
    assert issubclass(bridle.TargetRangeError, bridle.InputError)


def test_finite_rows_let_large_numbers_pass() -> None:
    checks.finite_rows(np.full((3, 2), 1e308), "X")  # their sum overflows, they do not
    checks.finite_rows(np.full((300, 2), 60000, np.float16), "X")
    checks.finite_rows(np.ones((3, 2), np.int8), "X")
    checks.finite_rows(np.zeros((0, 2)), "X")
    checks.finite_rows(np.ones((2, 2), ml_dtypes.bfloat16), "X")


def test_a_missing_extra_prints_the_command_that_installs_it() -> None:
    with pytest.raises(bridle.MissingExtraError) as raised:
        checks.require("no_such_module.part", extra="report", purpose="drawing")
    command = f"{sys.executable} -m pip install '{Path(bridle.__file__).parents[2]}[report]'"
    assert str(raised.value) == f"drawing needs no_such_module.part: {command}"
    assert isinstance(raised.value, ImportError)
    assert checks.require("sys", extra="report", purpose="drawing") is sys


@pytest.mark.parametrize(
    ("origin", "source"),
    [
        ("file:///tmp/a%20b/bridle-0.1.0.whl", "/tmp/a b/bridle-0.1.0.whl"),
        ("https://example.org/bridle.whl", "bridle"),
        (None, "bridle"),
    ],
)
def test_an_extra_comes_from_where_the_package_came_from(
    tmp_path: Path, origin: str | None, source: str
) -> None:
    """As installed: the package, and beside it what pip notes of its origin."""
    shutil.copytree(
        Path(bridle.__file__).parent, tmp_path / "bridle", ignore=lambda *_: ["__pycache__"]
    )
    notes = tmp_path / "bridle-0.1.0.dist-info"
    notes.mkdir()
    (notes / "METADATA").write_text("Metadata-Version: 2.1\nName: bridle\nVersion: 0.1.0\n")
    if origin is not None:
        (notes / "direct_url.json").write_text(json.dumps({"url": origin, "archive_info": {}}))
    program = "from bridle import checks; checks.require('no_such', extra='cli', purpose='it')"
    answer = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    expected = f"it needs no_such: {sys.executable} -m pip install '{source}[cli]'\n"
    assert answer.stderr.endswith(expected)


def test_a_broken_extra_is_not_called_missing(tmp_path: Any, monkeypatch: Any) -> None:
    (tmp_path / "broken_extra.py").write_text("import no_such_dependency", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        checks.require("broken_extra", extra="report", purpose="drawing")


# --- the fields of an error ---------------------------------------------------------------------

evaluate: Callable[..., Any] = bridle.evaluate
binary: Callable[..., Any] = bce
bad_target = [0, 1, 7]
FIELDS: list[tuple[Callable[[], Any], tuple[str, str, str, object]]] = [
    (lambda: softmax(["a"]), ("scores", "real numbers", "<U1 of shape (1,)", None)),
    (
        lambda: softmax(HALVES, temperature=-1.0),
        ("temperature", "a finite number above 0", "-1.0", None),
    ),
    (
        lambda: loss(np.zeros((3, 3)), bad_target),
        ("target", "a class index in [0, 3)", "7", 2),
    ),
    (
        lambda: loss(np.zeros((2, 3, 2)), [[0, 1], [2, 5]]),
        ("target", "a class index in [0, 3)", "5", (1, 1)),
    ),
    (lambda: loss(TWO[0], 3), ("target", "a class index in [0, 3)", "3", None)),
    (
        lambda: loss(TWO, [0, 1], sample_weight=[1, -2.0]),
        ("sample_weight", "a finite number ≥ 0 in float64", "-2.0", 1),
    ),
    (
        lambda: loss(TWO, [0, 1], reduction="all"),
        ("reduction", "one of mean, sum, none", "'all'", None),
    ),
    (lambda: loss(TWO, [0, 1], axis=2), ("axis", "an axis of input, of shape (2, 3)", "2", None)),
    (lambda: nll([HALVES, [0.5, 0.4]], [0, 1]), (
        "probabilities", "a row that sums to 1", "a row that sums to 0.9", 1,
    )),
    (lambda: nll([HALVES, [1.5, -0.5]], [0, 1]), ("probabilities", "a probability", "1.5", 1)),
    (lambda: binary([0.5, 0.5], [0, 2]), ("target", "a number in [0, 1]", "2", 1)),
    (
        lambda: binary([0.5, 0.5], [0]),
        ("target", "the shape of input, (2,)", "(1,)", None),
    ),
    (
        lambda: kl(HALVES, [0.5, 0.25, 0.25]),
        ("p, q", "one number of classes", "shapes (2,) and (3,) with the classes last", None),
    ),
    (
        lambda: softmax(np.ma.masked_array([1.0, 2.0], [False, True])),
        ("scores", "an array without masked entries", "masked", 1),
    ),
    (
        lambda: evaluate([[1.0, 2.0], [np.nan, 0.0]], [0, 1]),
        ("scores_or_probabilities", "scores or probabilities", "a NaN at class 0", 1),
    ),
    (
        lambda: evaluate(TWO, ["a", "d"], classes=["a", "b", "c"]),
        ("target", "one of ['a', 'b', 'c']", "'d'", 1),
    ),
    (
        lambda: evaluate(TWO, ["a", "b"], classes=["a", "b", "a"]),
        ("classes", "labels that differ", "'a'", 2),
    ),
    (lambda: checks.labels(["a", None], "y"), ("y", "a label", "None", 1)),
    (
        lambda: checks.finite_rows(np.array([[0.0, 1.0], [np.inf, 2.0]]), "X", first_row=10),
        ("X", "finite numbers", "infinity at row 11, column 0", 11),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "fields"), FIELDS)
def test_an_error_carries_what_its_sentence_says(
    call: Callable[[], Any], fields: tuple[str, str, str, object]
) -> None:
    with pytest.raises(bridle.InputError) as raised:
        call()
    error = raised.value
    assert (error.argument, error.expected, error.found, error.row) == fields
    assert str(error).startswith(f"{fields[0]}: ")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_keeps_its_fields_on_its_way_between_processes(protocol: int) -> None:
    with pytest.raises(bridle.TargetRangeError) as raised:
        loss(TWO, [0, 3])
    error = pickle.loads(pickle.dumps(raised.value, protocol))
    assert type(error) is bridle.TargetRangeError
    assert str(error) == str(raised.value)
    assert (error.argument, error.found, error.row) == ("target", "3", 1)
    assert copy.copy(error).row == 1


def test_an_error_of_a_worker_process_arrives_whole() -> None:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as workers:
        waiting = workers.submit(bridle.perplexity, [1.0, -2.0])
        with pytest.raises(bridle.InputError) as raised:
            waiting.result()
    assert (raised.value.argument, raised.value.found, raised.value.row) == (
        "cross_entropy", "-2", 1,
    )  # fmt: skip


def test_an_error_without_fields_has_none() -> None:
    error = bridle.InputError("data.csv: no such file")
    assert (error.argument, error.expected, error.found, error.row) == (None,) * 4
