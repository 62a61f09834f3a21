r"""Directions in which weights without a penalty grow without end, though the loss stays above 0.

The classes are quasi-completely separated if some change ``V`` of the weights and intercept never
lowers the score of a sample's own class beside another's, and raises that of some samples:

    x̃_i (v_{y_i} − v_k) ≥ 0  for all i, k;   > 0 for some

The loss then falls along V for ever, towards an infimum that no weights attain. Close to it a
Newton step is such a V: each step multiplies the rest of those samples' loss by 1/e, and what it
does to the others vanishes.

Reference: A. Albert, J. A. Anderson, *On the existence of maximum likelihood estimates in logistic
regression models*, 1984.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import linalg

from bridle.fit.objective import Objective

Array = npt.NDArray[Any]

# A step that leads to a separation already, but for what later steps would still take back: the
# largest loss of margin, as a part of the largest gain.
_NEARLY = 0.3
_ROUNDING = 1e-8
_LEAST_STEP = 0.05  # in scores: Newton steps along a separation are of length 1
# Rounds that put lost margins to 0, and the passes that each may take.
_ROUNDS, _PASSES = 5, 100


@dataclass(frozen=True)
class Separation:
    """A direction without end, told by its two most separated classes."""

    classes: tuple[int, int]  # the first is separated from the second …
    direction: Array  # (D,) … as these features, as stored, grow
    importance: Array  # (D,): the direction times each feature's deviation
    separated: int  # samples that it separates from some class
    count: int  # samples that count


def separation_along(objective: Objective, step: Array) -> Separation | None:
    """Return the direction of quasi-complete separation next to a step of the parameters, if any.

    What the step takes from some samples' margins is put to 0, in the least-squares sense; what is
    found is tested, and is a separation or nothing. No answer is found where all margins would take
    more than the memory budget, nor of tensors.
    """
    if objective.features.are_tensors:
        return None
    if len(objective.features) * objective.classes * 8 > objective.memory_budget:
        return None
    margins = _Margins(objective)
    held = np.zeros(0, np.intp)
    for _ in range(_ROUNDS):
        found = margins.of(step)
        lowest, highest = float(found.min()), float(found.max())
        if highest < _LEAST_STEP or lowest < -_NEARLY * highest:
            return None
        if lowest >= -_ROUNDING * highest:
            return margins.separation(step, found)
        held = np.union1d(held, np.flatnonzero(found < -0.1 * _ROUNDING * highest))
        step = step - margins.least_step(held, found[held])
    return None


class _Margins:
    """By how much scores of the samples' own classes are above the others', as numbers (N K,)."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        target = objective.target
        self._own = target if target.ndim == 1 else target.argmax(axis=1)
        # Of a distribution, classes with a share must keep level with each other.
        self._shared = None if target.ndim == 1 else target > 0
        weight = objective.sample_weight
        self._counted = np.ones(len(target), bool) if weight is None else weight > 0

    def of(self, step: Array) -> Array:
        objective = self._objective
        scaled, offset = objective.in_feature_units(step)
        scores = np.empty((len(self._own), objective.classes))
        for rows, block in objective.blocks(objective.classes):
            scores[rows] = block @ scaled + offset
        scores = scores[np.arange(len(scores)), self._own][:, None] - scores
        scores[~self._counted] = 0
        if self._shared is not None:
            scores[self._shared] = -np.abs(scores[self._shared])
        return np.asarray(scores.ravel())

    def transposed(self, values: Array, pairs: Array) -> Array:
        """Return the derivative of ``values · of(step)[pairs]`` by the step."""
        objective = self._objective
        back = np.zeros((len(self._own), objective.classes))
        back.ravel()[pairs] = -values
        back[~self._counted] = 0
        total = -back.sum(axis=1)
        back[np.arange(len(back)), self._own] += total
        product = np.zeros((objective.features.shape[1], objective.classes))
        for rows, block in objective.blocks(objective.classes):
            product += block.T @ back[rows]
        residual = back.sum(axis=0)
        product -= np.outer(objective.shift, residual)
        product /= objective.scale[:, None]
        return np.vstack([product, residual]) if objective.fit_intercept else product

    def least_step(self, pairs: Array, values: Array) -> Array:
        """Return the least step that gives the pairs these margins, as nearly as any does."""
        shape = self._objective.shape
        operator = linalg.LinearOperator(
            (len(pairs), shape[0] * shape[1]),
            matvec=lambda flat: self.of(flat.reshape(shape))[pairs],
            rmatvec=lambda values: self.transposed(values, pairs).ravel(),
            dtype=np.float64,
        )
        found = linalg.lsqr(operator, values, atol=1e-12, btol=1e-12, iter_lim=_PASSES)[0]
        return np.asarray(found.reshape(shape))

    def separation(self, step: Array, found: Array) -> Separation:
        objective, classes = self._objective, self._objective.classes
        gains = found.reshape(-1, classes)
        apart = gains > 1e-3 * float(gains.max())
        samples = np.zeros((classes, classes), np.intp)
        np.add.at(samples, self._own, apart)
        first, second = np.unravel_index(int(samples.argmax()), samples.shape)
        weight, _ = objective.split(step)
        scaled, _ = objective.in_feature_units(step)
        along = weight[:, first] - weight[:, second]
        return Separation(
            (int(first), int(second)),
            scaled[:, first] - scaled[:, second],
            along * np.sqrt(objective.second_moment),
            int(apart.any(axis=1).sum()),
            int(self._counted.sum()),
        )


def describe(separation: Separation, classes: Array, names: list[str] | None) -> str:
    """Return the two classes, and the features that the direction is mostly made of."""
    size = np.abs(separation.importance)
    counted = np.argsort(-size, kind="stable")[: int((size > 1e-3 * size.max(initial=0)).sum())]
    leading = counted[:3]
    direction = separation.direction / np.abs(separation.direction[leading]).max(initial=1e-300)
    terms = [
        f"{direction[place]:+.2g}·{names[place] if names else f'x[{place}]'}" for place in leading
    ]
    more = " …" if len(counted) > len(leading) else ""
    first, second = (classes[place] for place in separation.classes)
    return (
        f"class {first!s} from class {second!s} along {' '.join(terms)}{more}, for "
        f"{separation.separated} of {separation.count} samples"
    )
