"""Which labels are likely wrong, told by a model that has not learnt from them.

A model's answers to samples that it has not seen say, sample by sample, how well the label fits.
Two questions are answered apart. *Which first?* By doubt: the logarithm of how many times more
probable the best other class is than the label. On digits with planted errors that found more of
them early than the label's own probability did, at every strength of the penalty that was tried.
*How many?* By confident learning: a sample counts as another class's when that class is at least as
probable as it is, on average, for the samples that are labelled so.

Reference: C. G. Northcutt, L. Jiang, I. L. Chuang, *Confident Learning: Estimating Uncertainty in
Dataset Labels*, 2021.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.judge.kinds import AskedKind
from bridle.judge.outcomes import Outcomes, row_outcomes, value_blocks
from bridle.probabilities import softmax
from bridle.tensors import on_host

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class LabelErrors:
    """How well labels fit what a model says; made by `bridle.label_errors`.

    Attributes
    ----------
    order : ndarray (n,) of int
        The rows that count, the most doubtful label first: all (N,) but those of weight 0.
    doubt : ndarray (N,)
        ``log (p of the best other class / p of the label)``; above 0 where another is more
        probable.
    self_confidence : ndarray (N,)
        The probability of each row's label.
    suggested : ndarray (N,) of int
        The position among `classes` that the model finds most probable.
    likely : ndarray (N,) of bool
        The rows that confident learning counts as another class's.
    joint : ndarray (C, C)
        How many samples are estimated to be labelled i and to be of class j; with weights, the
        sum of theirs.
    classes : tuple
    """

    order: Array
    doubt: Array
    self_confidence: Array
    suggested: Array
    likely: Array
    joint: Array
    classes: tuple[checks.Label, ...]

    @property
    def expected_errors(self) -> float:
        """How many labels are estimated to be wrong; with weights, the sum of theirs."""
        return float(self.joint.sum() - np.trace(self.joint))

    def pairs(self) -> list[tuple[checks.Label, checks.Label, float]]:
        """Return ``(label, truth, how many)`` of each kind of error, the most frequent first."""
        wrong = self.joint.copy()
        np.fill_diagonal(wrong, 0)
        places = np.argwhere(wrong > 0)
        places = places[np.argsort(-wrong[wrong > 0], kind="stable")]
        return [(self.classes[i], self.classes[j], float(wrong[i, j])) for i, j in places.tolist()]


def label_errors(
    scores_or_probabilities: npt.ArrayLike,
    target: npt.ArrayLike | Iterable[object],
    *,
    classes: Iterable[object] | None = None,
    kind: AskedKind = "auto",
    sample_weight: npt.ArrayLike | None = None,
) -> LabelErrors:
    """Find labels that are likely wrong.

    Parameters
    ----------
    scores_or_probabilities : array_like, (N, C) or (N,)
        Of a model that has not learnt from the row it answers: out of fold, as by scikit-learn's
        ``cross_val_predict(model, X, y, method="predict_proba")``. As in `bridle.evaluate`.
    target : array_like, (N,)
        The labels in question.
    classes, kind
        As in `bridle.evaluate`.
    sample_weight : array_like, (N,), optional
        How much each row counts, 0 or above, in what is estimated: weight k is the same as k
        copies. The doubt about a label is the row's own.

    Returns
    -------
    LabelErrors

    Raises
    ------
    InputError, TargetRangeError
        As `bridle.evaluate`.

    Examples
    --------
    >>> answers = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.95, 0.05]]
    >>> found = label_errors(answers, [0, 0, 1, 1, 1])
    >>> int(found.order[0]), found.likely.tolist()
    (4, [False, False, False, False, True])
    >>> found.pairs()
    [(1, 0, 1.0)]
    """
    labels = None if classes is None else list(classes)
    outcomes = row_outcomes(
        scores_or_probabilities, target, classes=labels, kind=kind, sample_weight=sample_weight
    )
    given: Any = on_host(scores_or_probabilities)
    threshold = _thresholds(outcomes)
    likely, suggested, doubt = _confident(given, outcomes, threshold)
    order = np.argsort(-doubt, kind="stable")
    if outcomes.sample_weight is not None:
        counted = outcomes.sample_weight > 0
        order, likely = order[counted[order]], likely & counted
    joint = _joint(outcomes, suggested, likely)
    return LabelErrors(
        order,
        doubt,
        outcomes.probability,
        outcomes.predicted,
        likely & (suggested != outcomes.target),
        joint,
        outcomes.classes,
    )


def _thresholds(outcomes: Outcomes) -> Array:
    """Return each class's mean probability over the samples that are labelled so."""
    count, weight = len(outcomes.classes), _weight(outcomes)
    samples = np.bincount(outcomes.target, weight, minlength=count)
    sums = np.bincount(outcomes.target, outcomes.probability * weight, minlength=count)
    # A class without samples is nobody's.
    return np.where(samples > 0, sums / np.where(samples > 0, samples, 1), np.inf)


def _weight(outcomes: Outcomes) -> Array:
    if outcomes.sample_weight is None:
        return np.ones(len(outcomes.target))
    return outcomes.sample_weight


def _confident(given: Any, outcomes: Outcomes, threshold: Array) -> tuple[Array, Array, Array]:
    """Return which rows reach a class's threshold, the most probable class of those, and doubt."""
    values = np.asarray(given)
    likely, suggested = np.zeros(len(values), np.bool_), outcomes.predicted.copy()
    doubt = np.full(len(values), -np.inf)
    for start, block in value_blocks(values, outcomes.input_kind):
        rows = slice(start, start + len(block))
        probability = softmax(block) if outcomes.input_kind == "scores" else block
        reached = probability >= threshold * (1 - 1e-12)
        likely[rows] = reached.any(axis=1)
        best = np.where(reached, probability, -1.0).argmax(axis=1)
        suggested[rows] = np.where(likely[rows], best, suggested[rows])
        others = block.copy()
        others[np.arange(len(others)), outcomes.target[rows]] = -np.inf
        doubt[rows] = _ratio(others.max(axis=1), block, outcomes, rows)
    return likely, suggested, doubt


def _ratio(other: Array, block: Array, outcomes: Outcomes, rows: slice) -> Array:
    """Return the logarithm of ``p of the other / p of the label``: of scores, their difference."""
    own = block[np.arange(len(block)), outcomes.target[rows]]
    with np.errstate(divide="ignore", invalid="ignore"):
        if outcomes.input_kind == "probabilities":
            other, own = np.log(np.maximum(other, 0)), np.log(own)
        # Neither has any probability (a single class): no doubt.
        ratio = np.nan_to_num(other - own, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    return np.asarray(ratio)


def _joint(outcomes: Outcomes, suggested: Array, likely: Array) -> Array:
    """Return the confident counts, brought to the number of samples of each label."""
    count, weight = len(outcomes.classes), _weight(outcomes)
    places = outcomes.target[likely] * count + suggested[likely]
    joint = np.bincount(places, weight[likely], minlength=count * count).reshape(count, count)
    samples = np.bincount(outcomes.target, weight, minlength=count)
    sums = joint.sum(axis=1)
    nobody = sums == 0
    joint[nobody, nobody] = samples[nobody]
    sums[nobody] = np.where(samples[nobody] > 0, samples[nobody], 1)
    return np.asarray(joint * (samples / sums)[:, None])
