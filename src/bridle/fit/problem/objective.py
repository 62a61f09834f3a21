r"""Mean cross-entropy plus penalty, and its gradient, from the sums of a pass over the data.

Conventions
-----------
============== ========== ====================================================================
name           shape      meaning
============== ========== ====================================================================
``parameters`` (D [+1],K) weights on *centred, scaled* features; the last row is the intercept
``shift``      (D,)       what is subtracted from a feature: its mean, 0 without intercept
``scale``      (D,)       what it is divided by: its deviation if standardised, else 1;
                          infinity for a constant column beside an intercept, which leaves 0
============== ========== ====================================================================

    f(V, c) = Σ_i s_i · CE(softmax(u_i V + c), t_i) / Σ_i s_i + α/2 ‖V‖²,   u = (x − shift) / scale

or, in place of the square, with a `Penalty` that makes weights 0; its gradient is the loss's alone.

Centring changes nothing but the intercept's meaning, and spares the solver the stiffest direction
of most data. It happens in the algebra: ``u V + c = x W + b`` with ``W = V / scale`` and
``b = c − shift · W``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.fit import arrays
from bridle.fit.precision import FLOAT64, Precision
from bridle.fit.problem.penalty import Penalty
from bridle.fit.requests import Extremes, Facts, Moments, Point, Question, Statistics, ValueSums
from bridle.tensors import on_host

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Evaluation:
    """The objective at one point, with the sums that its gap is made of."""

    parameters: Array
    value: float
    loss: float
    gradient: Array  # (D [+1], K)
    worst_loss: float  # the largest loss of a sample that counts


@dataclass(frozen=True)
class Objective:
    """Mean cross-entropy of a linear softmax classifier, with a penalty on its weights."""

    facts: Facts
    alpha: float
    fit_intercept: bool
    classes: int
    shift: Array  # (D,)
    scale: Array  # (D,)
    total_weight: float
    target_mean: Array  # (K,): Σ s t / Σ s
    target_product: Array  # (D, K): Σ s u tᵀ / Σ s
    feature_mean: Array  # (D,): Σ s u / Σ s, 0 beside an intercept
    second_moment: Array  # (D,): Σ s u² / Σ s
    memory_budget: int  # bytes beside the features and the weights
    penalty: Penalty | None = None  # in place of the square: alpha is 0 beside it

    @property
    def is_penalised(self) -> bool:
        """Whether weights cost something, so that a dual point bounds the gap."""
        return self.alpha > 0 or (self.penalty is not None and self.penalty.has_cost)

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the parameters."""
        return self.facts.width + self.fit_intercept, self.classes

    def split(self, parameters: Array) -> tuple[Array, Array]:
        """Return ``(V, c)`` of stacked parameters; ``c`` is 0 without an intercept."""
        if self.fit_intercept:
            return parameters[:-1], parameters[-1]
        return parameters, arrays.zeros(self.classes, parameters)

    def in_feature_units(self, parameters: Array) -> tuple[Array, Array]:
        """Return ``(W, b)`` on the features as stored, from parameters of the fit."""
        weight, intercept = self.split(parameters)
        scaled = weight
        if not np.all(self.scale == 1):
            scaled = weight / arrays.on_device_of(self.scale, weight)[:, None]
        return scaled, intercept - arrays.on_device_of(self.shift, scaled) @ scaled

    def in_fit_units(self, weight: Array, intercept: Array) -> Array:
        """Return the fit's parameters of ``(W, b)``: the inverse of `in_feature_units`."""
        scale = np.where(np.isfinite(self.scale), self.scale, 0.0)
        if not self.fit_intercept:
            return weight * scale[:, None]
        return np.vstack([weight * scale[:, None], intercept + self.shift @ weight])

    def point(self, parameters: Array, precision: Precision = FLOAT64) -> Point:
        """Return where sums are asked for, in the dtype of a precision."""
        weight, offset = (
            arrays.in_dtype(values, precision.dtype) for values in self.in_feature_units(parameters)
        )
        return Point(weight, offset, precision)

    def evaluation(self, parameters: Array, sums: ValueSums) -> Evaluation:
        """Return value and gradient, from the sums of `Values`, whose memory is used for it."""
        weight, _ = self.split(parameters)
        loss = float(sums.loss) / self.total_weight
        gradient = self.with_penalty(sums.product, sums.residual, parameters)
        value = loss
        if self.alpha > 0:
            value += self.alpha / 2 * float(arrays.inner(weight, weight))
        elif self.penalty is not None:
            value += self.penalty.value(on_host(weight))
        return Evaluation(parameters, value, loss, gradient, float(sums.worst_loss))

    def with_penalty(self, product: Array, residual: Array, direction: Array) -> Array:
        """Return ``Σ s u rᵀ / Σ s + α V`` in the parameters' shape, of ``Σ s x rᵀ`` and ``Σ s r``.

        In the product's dtype; its memory is used up.
        """
        weight, _ = self.split(direction)
        gradient = slopes = product
        if self.fit_intercept:
            gradient = arrays.with_row_below(product)
            slopes, _ = self.split(gradient)
            gradient[-1] = arrays.in_dtype_of(residual / self.total_weight, product)
        residual = arrays.in_dtype_of(residual, product)
        divisor = arrays.in_dtype_of(
            arrays.on_device_of(self.scale * self.total_weight, product), product
        )
        shift = arrays.in_dtype_of(arrays.on_device_of(self.shift, product), product)
        for block in arrays.slices_in_cache(product):
            slope = slopes[block]
            if self.fit_intercept:
                slope -= arrays.outer(shift[block], residual)
            slope /= divisor[block, None]
            if self.alpha > 0:
                slope += self.alpha * arrays.in_dtype_of(weight[block], product)
        return gradient

    def without_weights(self, parameters: Array) -> Evaluation:
        """Return value and gradient where all weights are 0: every sample has the same scores."""
        _, offset = self.split(parameters)
        log_probability = arrays.log_softmax(offset[None])[0]
        probability = arrays.softmax(offset[None])[0]
        target = arrays.on_device_of(self.target_mean, parameters)
        loss = -float(target @ log_probability)
        mean = arrays.on_device_of(self.feature_mean, parameters)
        gradient = arrays.outer(mean, probability) - self.target_product
        if self.fit_intercept:
            gradient = arrays.stacked(gradient, probability - target)
        # Of classes that have samples; a distribution's loss is a mean of such.
        worst = -float(log_probability.min())
        return Evaluation(parameters, loss, loss, gradient, worst)


class Reader(Protocol):
    """What `build_objective` needs of a reader."""

    facts: Facts
    memory_budget: int

    def answer(self, question: Question[Any]) -> Any:
        """Return the answer."""


def build_objective(
    reader: Reader, classes: int, *, C: float, fit_intercept: bool, standardize: bool | float,
    scales: Array | None = None,
) -> Objective:  # fmt: skip
    """Ask for the statistics of the features, and state the objective.

    Features are divided by ``scales`` (D,) beside their own scale.
    """
    facts = reader.facts
    moments: Moments = reader.answer(Statistics(facts.width, classes))
    mean, squares = on_host(moments.mean), on_host(moments.squares)
    checks.finite_squares(squares, "X")
    total, product = moments.weight, moments.target_product
    variance = squares / total
    shift = mean if fit_intercept else np.zeros(facts.width)
    scale = np.full(facts.width, float(standardize) or 1.0)
    if standardize is True:
        scale = _deviation(variance, mean, facts.count)
    if scales is not None:
        scale = scale * scales
    if fit_intercept:
        # A constant column repeats the intercept. What rounding leaves of it after centring would
        # act as a second intercept, with next to no penalty.
        scale[_constant_columns(reader, variance, mean)] = np.inf
    target_mean = on_host(moments.classes) / total
    # Σ s (x − shift) tᵀ / (scale Σ s)
    means = arrays.on_device_of(np.outer(shift, target_mean), product)
    target_product = (product / total - means) / arrays.on_device_of(scale, product)[:, None]
    return Objective(
        facts=facts,
        alpha=1.0 / (C * total),
        fit_intercept=fit_intercept,
        classes=classes,
        shift=shift,
        scale=scale,
        total_weight=total,
        target_mean=target_mean,
        target_product=target_product,
        feature_mean=(mean - shift) / scale,
        second_moment=(variance + (mean - shift) ** 2) / scale**2,
        memory_budget=reader.memory_budget,
    )


def _deviation(variance: Array, mean: Array, count: int) -> Array:
    # A variance that rounding alone explains belongs to a constant column, which is left alone.
    epsilon = np.finfo(np.float64).eps
    noise = count * epsilon * np.maximum(variance, 0) + (count * epsilon * mean) ** 2
    return np.where(variance <= noise, 1.0, np.sqrt(np.maximum(variance, 0)))


def _constant_columns(reader: Reader, variance: Array, mean: Array) -> Array:
    """Return the columns, not of zeros, in which every row that counts has one value.

    No sum is exact enough to tell: columns whose variance may be rounding, by far, are looked at
    once more.
    """
    suspected = np.flatnonzero((variance <= 1e-9 * mean**2) & (mean != 0))
    if not len(suspected):
        return suspected
    low, high = reader.answer(Extremes(suspected))
    largest = np.maximum(np.abs(low), np.abs(high))
    return np.asarray(suspected[high - low <= 4 * np.finfo(np.float64).eps * largest])
