r"""Sets of classes that hold the true one as often as asked, whatever the model is worth.

Split-conformal prediction: on samples that the model has not learnt from, and that are exchangeable
with those to come, the scores of the true classes say how far a set has to reach. With n such
samples and the level 1 − α, it reaches as far as the ⌈(n + 1)(1 − α)⌉-th smallest of them, and the
true class of a new sample is in its set in at least 1 − α of all cases. A sample of weight k counts
as k.

``"lac"`` takes every class whose probability is high enough (the smallest sets on average, which
may be empty); ``"aps"`` takes classes from the most probable down until enough probability is
together (sets that grow where the model is unsure).

References: M. Sadinle, J. Lei, L. Wasserman, *Least Ambiguous Set-Valued Classifiers with Bounded
Error Levels*, 2019; Y. Romano, M. Sesia, E. Candès, *Classification with Valid and Adaptive
Coverage*, 2020.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.judge.kinds import AskedKind
from bridle.judge.outcomes import checked_weight, probability_blocks
from bridle.tensors import on_host

Array = npt.NDArray[Any]
Method = Literal["lac", "aps"]


@dataclass(frozen=True)
class ConformalSets:
    """How far prediction sets have to reach; made by `conformal_sets`.

    Attributes
    ----------
    method : {"lac", "aps"}
    level : float
        How often a set is to hold the true class.
    reach : float
        The score up to which a class is in a set: ∞ where the samples are too few for the level.
    samples : int
        How many samples said so; with weights, how many of those are above 0.
    """

    method: Method
    level: float
    reach: float
    samples: int

    def predict(self, scores_or_probabilities: npt.ArrayLike, *, kind: AskedKind = "auto") -> Array:
        """Return which classes are in each sample's set: booleans (N, C)."""
        found = []
        for _, probability in probability_blocks(scores_or_probabilities, kind):
            found.append(_scores_of_all(probability, self.method) <= self.reach)
        return np.concatenate(found)

    def coverage(
        self,
        scores_or_probabilities: npt.ArrayLike,
        target: npt.ArrayLike | Iterable[object],
        *,
        classes: Iterable[object] | None = None,
        kind: AskedKind = "auto",
        sample_weight: npt.ArrayLike | None = None,
    ) -> tuple[float, Array]:
        """Return how often the sets of samples hold their class, in all and for each class (C,).

        Arguments are as in `conformal_sets`. A class without samples has NaN.
        """
        sets = self.predict(scores_or_probabilities, kind=kind)
        indices = _indices(target, classes, *sets.shape)
        weight = _weight(sample_weight, len(sets))
        held = sets[np.arange(len(sets)), indices]
        counts = np.bincount(indices, weight, minlength=sets.shape[1])
        hits = np.bincount(indices, held * weight, minlength=sets.shape[1])
        by_class = np.where(counts > 0, hits / np.where(counts > 0, counts, 1), np.nan)
        return float(np.average(held, weights=weight)), by_class


def conformal_sets(
    scores_or_probabilities: npt.ArrayLike,
    target: npt.ArrayLike | Iterable[object],
    *,
    level: float = 0.9,
    method: Method = "lac",
    classes: Iterable[object] | None = None,
    kind: AskedKind = "auto",
    sample_weight: npt.ArrayLike | None = None,
) -> ConformalSets:
    """Find how far prediction sets reach, from samples that the model has not learnt from.

    Parameters
    ----------
    scores_or_probabilities : array_like, (N, C) or (N,)
        As in `bridle.evaluate`.
    target : array_like, (N,)
        Class indices; or labels, if ``classes`` are given.
    level : float
        How often the true class is to be in its set, in (0, 1).
    method : {"lac", "aps"}
        See `bridle.judge.conformal`.
    classes, kind
        As in `bridle.evaluate`.
    sample_weight : array_like, (N,), optional
        Weight k is the same as k copies; a new sample has weight 1.

    Returns
    -------
    ConformalSets
        With ``predict`` and ``coverage``.

    Raises
    ------
    InputError, TargetRangeError
        As `bridle.evaluate`; a level outside (0, 1), another method.

    Examples
    --------
    >>> answers = [[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]]
    >>> sets = conformal_sets(answers, [0, 0, 1, 1], level=0.6)
    >>> sets.predict([[0.95, 0.05], [0.7, 0.3]]).tolist()
    [[True, False], [True, False]]
    """
    if not 0 < checks.finite_number(level, "level") < 1:
        raise checks.InputError.of("level", expected="a number in (0, 1)", found=repr(level))
    checks.one_of(method, "method", get_args(Method))
    scores = []
    count, columns = _shape(scores_or_probabilities)
    indices, weight = _indices(target, classes, count, columns), _weight(sample_weight, count)
    for start, probability in probability_blocks(scores_or_probabilities, kind):
        own = indices[start : start + len(probability)]
        scores.append(_scores_of_all(probability, method)[np.arange(len(own)), own])
    reach = _quantile(np.concatenate(scores), weight, level)
    return ConformalSets(method, level, reach, int(np.count_nonzero(weight)))


def _quantile(scores: Array, weight: Array, level: float) -> float:
    """Return the least score up to which there is enough weight; ∞ where there never is."""
    order = np.argsort(scores)
    up_to = weight[order].cumsum()
    slack = 1e-9 * (up_to[-1] + 1)  # 20 · 0.9 may round to above 18
    place = int(np.searchsorted(up_to, (up_to[-1] + 1) * level - slack))
    return float(scores[order[place]]) if place < len(scores) else math.inf


def _indices(target: Any, classes: Iterable[object] | None, count: int, columns: int) -> Array:
    if classes is None:
        return checks.class_indices(on_host(target), count, columns)
    return checks.labelled_target(target, checks.class_labels(classes, columns), count)


def _weight(sample_weight: npt.ArrayLike | None, count: int) -> Array:
    found = checked_weight(sample_weight, count)
    return np.ones(count) if found is None else found


def _scores_of_all(probability: Array, method: Method) -> Array:
    """Return how far a set has to reach for each class to be in it."""
    if method == "lac":
        return 1 - probability
    order = np.argsort(-probability, axis=1, kind="stable")
    together = np.take_along_axis(probability, order, 1).cumsum(axis=1)
    found = np.empty_like(together)
    np.put_along_axis(found, order, together, 1)
    return found


def _shape(values: npt.ArrayLike) -> tuple[int, int]:
    shape = np.shape(values)
    return (shape[0], shape[1]) if len(shape) == 2 else (shape[0] if shape else 0, 2)
