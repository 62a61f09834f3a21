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

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import linalg

from bridle.fit.requests import Point, Separation, SeparationAlong

if TYPE_CHECKING:
    from bridle.fit.readers.all_rows import HostReader

Array = npt.NDArray[Any]

# A step that leads to a separation already, but for what later steps would still take back: the
# largest loss of margin, as a part of the largest gain.
_NEARLY = 0.3
_ROUNDING = 1e-8
_LEAST_STEP = 0.05  # in scores: Newton steps along a separation are of length 1
# Rounds that put lost margins to 0, and the passes that each may take.
_ROUNDS, _PASSES = 5, 100


def separation_along(reader: HostReader, question: SeparationAlong) -> Separation | None:
    """Return the direction of quasi-complete separation next to a step of the parameters, if any.

    What the step takes from some samples' margins is put to 0, in the least-squares sense; what is
    found is tested, and is a separation or nothing. No answer is found where all margins would take
    more than the memory budget.
    """
    if len(reader.features) * reader.classes * 8 > reader.memory_budget:
        return None
    margins, step = _Margins(reader, question), question.step
    violated = np.zeros(0, np.intp)
    for _ in range(_ROUNDS):
        values = margins.of(step)
        lowest, highest = float(values.min()), float(values.max())
        if highest < _LEAST_STEP or lowest < -_NEARLY * highest:
            return None
        if lowest >= -_ROUNDING * highest:
            return margins.separation(step, values)
        violated = np.union1d(violated, np.flatnonzero(values < -0.1 * _ROUNDING * highest))
        step = step - margins.least_step(violated, values[violated])
    return None


class _Margins:
    """By how much scores of the samples' own classes are above the others', as numbers (N K,)."""

    def __init__(self, reader: HostReader, question: SeparationAlong) -> None:
        self._reader, self._question = reader, question
        target = reader.target
        self._target_class = target if target.ndim == 1 else target.argmax(axis=1)
        # Of a distribution, classes with a share must keep level with each other.
        self._has_mass = None if target.ndim == 1 else target > 0
        weight = reader.sample_weight
        self._counted = np.ones(len(target), bool) if weight is None else weight > 0

    def point_of(self, step: Array) -> Point:
        """Return a step of the fit's parameters on the features as stored."""
        question = self._question
        weight = (step[:-1] if question.fit_intercept else step) / question.scale[:, None]
        intercept = step[-1] if question.fit_intercept else np.zeros(step.shape[1])
        return Point(weight, intercept - question.shift @ weight)

    def of(self, step: Array) -> Array:
        point = self.point_of(step)
        block_scores = [block.scores(point) for block in self._reader.blocks(self._question)]
        scores = np.concatenate(block_scores)
        scores = scores[np.arange(len(scores)), self._target_class][:, None] - scores
        scores[~self._counted] = 0
        if self._has_mass is not None:
            scores[self._has_mass] = -np.abs(scores[self._has_mass])
        return np.asarray(scores.ravel())

    def transposed(self, values: Array, pairs: Array) -> Array:
        """Return the derivative of ``values · of(step)[pairs]`` by the step."""
        question, classes = self._question, self._reader.classes
        coefficients = np.zeros((len(self._target_class), classes))
        coefficients.ravel()[pairs] = -values
        coefficients[~self._counted] = 0
        total = -coefficients.sum(axis=1)
        coefficients[np.arange(len(coefficients)), self._target_class] += total
        product, start = np.zeros((len(question.shift), classes)), 0
        for block in self._reader.blocks(question):
            rows = slice(start, start + len(block.target))
            product += block.transposed_product(coefficients[rows])
            start = rows.stop
        residual = coefficients.sum(axis=0)
        product -= np.outer(question.shift, residual)
        product /= question.scale[:, None]
        return np.vstack([product, residual]) if question.fit_intercept else product

    def least_step(self, pairs: Array, solution: Array) -> Array:
        """Return the least step that gives the pairs these margins, as nearly as any does."""
        shape = self._question.step.shape
        operator = linalg.LinearOperator(
            (len(pairs), shape[0] * shape[1]),
            matvec=lambda flat: self.of(flat.reshape(shape))[pairs],
            rmatvec=lambda solution: self.transposed(solution, pairs).ravel(),
            dtype=np.float64,
        )
        solution = linalg.lsqr(operator, solution, atol=1e-12, btol=1e-12, iter_lim=_PASSES)[0]
        return np.asarray(solution.reshape(shape))

    def separation(self, step: Array, values: Array) -> Separation:
        classes = self._reader.classes
        gains = values.reshape(-1, classes)
        separated = gains > 1e-3 * float(gains.max())
        samples = np.zeros((classes, classes), np.intp)
        np.add.at(samples, self._target_class, separated)
        first, second = np.unravel_index(int(samples.argmax()), samples.shape)
        weight = self.point_of(step).weight
        direction = weight[:, first] - weight[:, second]
        return Separation(
            (int(first), int(second)),
            direction,
            direction * self._question.deviation,
            int(separated.any(axis=1).sum()),
            int(self._counted.sum()),
        )
