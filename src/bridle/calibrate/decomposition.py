"""What a loss is made of: what calibrating would take away, and what it would leave.

A forecast can be wrong in two ways. It can tell samples apart badly (*refinement*), or say
something else than what comes true of those it takes for alike (*calibration*). The second is what
a calibrator takes away. Each row is calibrated by one that has not seen it: fitted to the row
itself, it would find something to mend in a perfect forecast too.

Reference: E. Berta, D. Holzmüller, M. I. Jordan, F. Bach, *Rethinking Early Stopping: Refine, Then
Calibrate*, 2025.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from bridle import checks
from bridle.calibrate.base import Calibrator, answers_of, log_softmax
from bridle.calibrate.loading import create

Array = npt.NDArray[Any]


class Parts(NamedTuple):
    """``total = refinement + calibration``."""

    total: float
    refinement: float
    calibration: float


class Decomposition(NamedTuple):
    """What two scores are made of; made by `decompose`.

    ``class_frequencies`` is what guessing the targets' own frequencies costs: a refinement above it
    means that the answers tell nothing of the classes.
    """

    cross_entropy: Parts  # nats
    brier_score: Parts
    class_frequencies: tuple[float, float]  # cross-entropy and Brier score


def decompose(
    scores: npt.ArrayLike,
    target: npt.ArrayLike | Iterable[object],
    *,
    classes: Iterable[object] | None = None,
    method: str = "temperature",
    folds: int = 5,
    sample_weight: npt.ArrayLike | None = None,
    random_state: int = 0,
) -> Decomposition:
    """Part cross-entropy and Brier score into refinement and calibration.

    Parameters
    ----------
    scores : array_like or tensor, (N, K)
        Logits or log-probabilities of samples that the model has not learnt from.
    target : array_like, (N,)
        Class indices; or labels, if ``classes`` are given.
    classes : sequence of K labels, optional
        In the order of the columns.
    method : str
        The calibrator: a key of `METHODS`.
    folds : int
        How many calibrators are fitted, each to all rows but its own.
    sample_weight : array_like, (N,), optional
        How much each row counts.
    random_state : int
        Decides the folds.

    Returns
    -------
    Decomposition
        A calibration part is 0 where calibrators make unseen rows no better.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> scores = random.normal(size=(2000, 3))
    >>> p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    >>> target = (p.cumsum(axis=1) > random.random((2000, 1))).argmax(axis=1)
    >>> calibrated = decompose(scores, target).cross_entropy
    >>> too_sure = decompose(3 * scores, target).cross_entropy
    >>> round(calibrated.calibration, 2), round(too_sure.calibration, 2)
    (0.0, 0.35)
    >>> bool(np.isclose(calibrated.refinement, too_sure.refinement, atol=1e-3))
    True
    """
    answers = answers_of(scores, target, sample_weight, classes)
    calibrated = out_of_fold(
        create(method), scores, answers.target, folds=folds, sample_weight=sample_weight,
        random_state=random_state,
    )  # fmt: skip
    before = [_figures(log_softmax(block), *rest) for block, *rest in answers.blocks()]
    counted = answers.weight > 0
    after = _figures(calibrated[counted], answers.target[counted], answers.weight[counted])
    frequency = np.bincount(answers.target, weights=answers.weight, minlength=answers.classes)
    present = frequency[frequency > 0]
    loss, brier = (
        _parts(total, refined) for total, refined in zip(np.sum(before, axis=0), after, strict=True)
    )
    return Decomposition(
        loss, brier, (float(-present @ np.log(present)), float(1 - present @ present))
    )


def out_of_fold(
    model: Calibrator,
    scores: npt.ArrayLike,
    target: npt.ArrayLike | Iterable[object],
    *,
    classes: Iterable[object] | None = None,
    folds: int = 5,
    sample_weight: npt.ArrayLike | None = None,
    random_state: int = 0,
) -> Array:
    """Return the log-probabilities (N, K) that calibrators give which have not seen the row.

    Parameters
    ----------
    model : Calibrator
        What is fitted, once for each fold; it stays as it is.
    scores, target, classes, folds, sample_weight, random_state
        As in `decompose`. Of a single row, which leaves nothing to fit, the softmax is returned.
    """
    answers = answers_of(scores, target, sample_weight, classes)
    count = len(answers.target)
    if checks.count(folds, "folds") < 2:
        raise checks.InputError.of("folds", expected="2 or more", found=folds)
    fold = np.random.default_rng(random_state).permutation(count) % min(folds, count)
    found = np.empty((count, answers.classes))
    for place in np.unique(fold):
        held = np.flatnonzero(fold == place)
        rest = np.flatnonzero(fold != place)
        if not answers.weight[rest].any():
            found[held] = log_softmax(answers.rows(held))
            continue
        weight = answers.weight[rest] * answers.total
        fitted = clone(model).fit(answers.rows(rest), answers.target[rest], weight)
        found[held] = fitted.predict_log_proba(answers.rows(held))
    return found


def _figures(logarithms: Array, target: Array, weight: Array) -> tuple[float, float]:
    """Return the weighted sums of the losses and of the squared errors."""
    rows = np.arange(len(target))
    probability = np.exp(logarithms)
    own = probability[rows, target].copy()
    probability[rows, target] = 0.0
    squares = np.einsum("nk,nk->n", probability, probability) + (1 - own) ** 2
    return float(-weight @ logarithms[rows, target]), float(weight @ squares)


def _parts(total: float, refined: float) -> Parts:
    calibration = max(0.0, float(total - refined))
    return Parts(float(total), float(total) - calibration, calibration)
