"""A user's file: what a type checker knows of the public names, with arrays and with tensors.

mypy reads it with the other tests, `test_face` with PyTorch absent; `test_face` runs it too. An
overload that says something else than is asserted here is an error.
"""

from __future__ import annotations

from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

import bridle
from bridle import CrossEntropyOutputs, Evaluation, FitReport, SoftmaxPath

Array = npt.NDArray[Any]
Pair = tuple[Array, Array]
SCORES = [[2.0, 1.0, 0.0], [0.0, 3.0, 0.0]]


def arrays() -> None:
    """Arrays, lists and numbers in, arrays out."""
    scores, target = np.array(SCORES), np.array([0, 1])
    p = assert_type(bridle.softmax(scores, axis=1), Array)
    assert_type(bridle.softmax(SCORES, dim=-1, temperature=2, dtype=np.float32), Array)
    assert_type(bridle.log_softmax(scores, axis=None), Array)
    assert_type(bridle.logsumexp(scores, dim=1, keepdims=True), Array)
    assert_type(bridle.logsumexp(scores, b=scores, return_sign=True), Pair)
    assert_type(bridle.sigmoid(0.5), Array)
    assert_type(bridle.log_sigmoid(scores), Array)
    assert_type(bridle.predicted_class(scores, dim=0), Array)
    assert_type(bridle.surprisal(p, unit="bits"), Array)
    assert_type(bridle.entropy(p, dim=1), Array)
    assert_type(bridle.kl_divergence(p, p, mask=[True, False], log_p=False), Array)
    assert_type(bridle.cross_entropy_of(p, p, dim=-1), Array)
    assert_type(bridle.perplexity(1.5), Array)
    assert_type(bridle.cross_entropy(scores, target), Array)
    assert_type(bridle.cross_entropy(SCORES, [0, 1], reduction="none", axis=1, z_loss=0.1), Array)
    assert_type(bridle.cross_entropy(scores, target, outputs=["correct"]), CrossEntropyOutputs)
    assert_type(bridle.cross_entropy(scores, target, outputs=None), Array)
    assert_type(bridle.cross_entropy_gradient(scores, target, softcap=3.0, dim=1), Pair)
    assert_type(bridle.nll(p, target, sample_weight=[1, 2], normalizer=3, dim=1), Array)
    assert_type(bridle.likelihood(p, target), Array)
    assert_type(bridle.log_likelihood(p, target), Array)
    assert_type(bridle.focal_loss(scores, target, gamma=1.5), Array)
    assert_type(bridle.focal_loss_gradient(scores, target), Pair)
    assert_type(bridle.binary_cross_entropy([0.5], [1], pos_weight=2.0), Array)
    assert_type(bridle.binary_cross_entropy_gradient([0.5], [1]), Pair)
    assert_type(bridle.quadratic_loss(p, p, reduction="sum"), Array)
    assert_type(bridle.quadratic_loss_gradient(p, p), Pair)
    weight = np.ones((4, 3))
    assert_type(bridle.linear_cross_entropy(scores, weight, target, softcap=2.0), Array)
    assert_type(
        bridle.linear_cross_entropy(scores, weight, target, bias=[0] * 4, outputs=["entropy"]),
        CrossEntropyOutputs,
    )
    found = bridle.linear_cross_entropy_gradient(scores, weight, target, label_smoothing=0.1)
    assert_type(found.d_weight, Array)


def fits() -> None:
    """Name the rooms, and what they hand out."""
    features, labels = [[0.0], [1.0], [2.0]], [0, 1, 1]
    model = bridle.SoftmaxRegression(C=1.0).fit(features, labels)
    assert_type(model.fit_report_, FitReport)
    assert_type(bridle.softmax_regression_path(features, labels, [1.0]), SoftmaxPath)
    assert_type(bridle.evaluate(SCORES, [0, 1]), Evaluation)
    assert_type(bridle.judge.evaluate(SCORES, [0, 1]), Evaluation)
    assert_type(bridle.data.load("digits"), bridle.data.Dataset)
    assert_type(bridle.losses.nll([0.5, 0.5], 0), Array)


def errors() -> None:
    """Read what went wrong from the fields of the error."""
    try:
        bridle.cross_entropy(SCORES, [0, 3])
    except bridle.InputError as error:
        assert_type(error.argument, str | None)
        assert_type(error.expected, str | None)
        assert_type(error.found, str | None)
        assert_type(error.row, int | tuple[int, ...] | None)
