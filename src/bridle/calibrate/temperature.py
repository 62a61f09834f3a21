r"""One number that says how sure a classifier should be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.calibrate.base import Answers, Calibrator, log_softmax

Array = npt.NDArray[Any]

_MOST_STEPS = 200
_SHORTEST_STEP = 1e-11  # of log T
# Where a bracket of 1 / T ends: beyond, exp of any score there may be has no digits.
_LARGEST_POWER = 700.0


@dataclass(frozen=True)
class Slope:
    """The mean loss at an inverse temperature, and its first two derivatives in it."""

    inverse: float
    loss: float
    first: float
    second: float


class TemperatureScaling(Calibrator):
    r"""``softmax(z / T)`` with the T of the least mean cross-entropy.

    In β = 1 / T the mean loss is convex,

        f(β) = Σ w_i (log Σ_k exp(β z_ik) − β z_iy),
        f′ = Σ w_i (E_p[z] − z_iy),   f″ = Σ w_i Var_p[z]

    with w the sample weights, of a sum of 1. The root of f′ is found by Newton's method in log T,
    kept inside a bracket. Where there is none, that is stated: if every target has the highest
    score the loss falls for ever as T → 0 (``temperature_ = 0``: certainty); if the scores point
    away from the targets, nothing is better than a uniform guess (``temperature_ = inf``).

    Attributes
    ----------
    temperature_ : float
        T, in [0, ∞].
    loss_ : float
        The mean cross-entropy there, in nats.
    gap_ : float
        How far above the optimum that can be at most, in nats: ``|f′|`` times the width of the
        bracket, since f is convex.
    n_iter_ : int
        Passes over the scores.
    classes_, n_features_in_, feature_names_in_
        As in scikit-learn: a feature is the score of a class.

    Examples
    --------
    >>> import numpy as np
    >>> scores = np.log([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1]])
    >>> model = TemperatureScaling().fit(scores, [0, 0, 0, 1])  # right in 3 of 4 cases, not 9 of 10
    >>> model.predict_proba(scores)[0].round(6)
    array([0.75, 0.25])

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, *On Calibration of Modern Neural Networks*, 2017.
    """

    kind = "temperature"

    temperature_: float
    loss_: float
    gap_: float
    n_iter_: int

    @property
    def _fitted_array(self) -> Any:
        return None  # a number lies nowhere

    def _fit(self, answers: Answers) -> None:
        search = _Search(answers)
        found = search.run()
        self.temperature_ = math.inf if found.inverse == 0 else 1 / found.inverse
        self.loss_, self.gap_, self.n_iter_ = found.loss, search.gap(found), search.passes

    def _log_proba(self, block: Array) -> Array:
        return log_softmax(divided(block, self.temperature_))

    def _contents(self) -> dict[str, Array]:
        return {"figures": np.array([self.temperature_, self.loss_, self.gap_, self.n_iter_])}

    def _restore(self, tensors: dict[str, Array]) -> None:
        self.temperature_, self.loss_, self.gap_, passes = tensors["figures"].tolist()
        self.n_iter_ = int(passes)
        if not self.temperature_ >= 0:
            raise ValueError("expected a temperature of 0 or above")


def divided(block: Array, temperature: float) -> Array:
    """Return ``scores / T``; at T = 0 the highest ones stay, at ∞ all that are not masked."""
    highest = block.max(axis=1, keepdims=True)
    if temperature == 0:
        return np.where(block == highest, 0.0, -np.inf)
    if math.isinf(temperature):
        return np.where(np.isneginf(block), -np.inf, 0.0)
    return np.asarray((block - highest) / temperature)


class _Search:
    """Newton's method in log β on the slope of a convex function of β."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self.passes = 0
        self._below: Slope | None = None  # the largest β with a slope below 0
        self._above: Slope | None = None  # the smallest with one above 0

    def run(self) -> Slope:
        """Return the optimum; β = 0 or ∞ where the loss has none."""
        start = self._at(0.0)
        if start.first >= 0:
            # Scores that tell nothing at all have the same loss at every temperature.
            return self._at(1.0) if start.first == 0 and start.second == 0 else start
        certain = self._loss_of_certainty()
        if certain is not None:
            return Slope(math.inf, certain, 0.0, 0.0)
        self._below = start
        power = 0.0
        for _ in range(_MOST_STEPS):
            found = self._at(math.exp(power))
            if found.first == 0:
                break
            if found.first < 0:
                self._below = found
            else:
                self._above = found
            next_power = self._next(found, power)
            # Newton's steps shrink quadratically: this one would move no digit but by rounding.
            if abs(next_power - power) <= _SHORTEST_STEP:
                break
            power = next_power
        return found

    def gap(self, found: Slope) -> float:
        """Return how far above the least loss the found one can be."""
        if found.inverse in (0.0, math.inf) or found.first == 0:
            return 0.0
        other = self._above if found.first < 0 else self._below
        return abs(found.first) * abs((other or found).inverse - found.inverse)

    def _next(self, found: Slope, power: float) -> float:
        low = math.log(self._below.inverse) if self._below and self._below.inverse > 0 else None
        high = math.log(self._above.inverse) if self._above else None
        step = math.inf
        if found.second > 0:
            step = -found.first / (found.inverse * found.second)
        wanted = power + step
        if low is not None and high is not None:
            return wanted if low < wanted < high else (low + high) / 2
        # Without one end of the bracket: as far as Newton's step goes, in growing strides.
        stride = max(2.0, 2 * abs(power))
        bounded = power + math.copysign(min(abs(step), stride), -found.first)
        return min(max(bounded, -_LARGEST_POWER), _LARGEST_POWER)

    def _loss_of_certainty(self) -> float | None:
        """Return the mean loss at T = 0; None where a target has not the highest score."""
        loss = 0.0
        for scores, target, weight in self._answers.blocks():
            highest = scores == scores.max(axis=1, keepdims=True)
            if not highest[np.arange(len(scores)), target].all():
                return None
            loss += float(weight @ np.log(highest.sum(axis=1)))
        return loss

    def _at(self, inverse: float) -> Slope:
        self.passes += 1
        sums = [_sums(inverse, *block) for block in self._answers.blocks()]
        return Slope(inverse, *(math.fsum(column) for column in zip(*sums, strict=True)))


def _sums(inverse: float, scores: Array, target: Array, weight: Array) -> tuple[float, ...]:
    """Return the parts of some rows in the loss and its derivatives.

    All differences are taken from the highest score d = max − z ≥ 0, so that neither an offset of a
    row nor a large β costs digits.
    """
    below = scores.max(axis=1, keepdims=True) - scores
    own = below[np.arange(len(below)), target]
    masked = np.isinf(below)
    below[masked] = 0.0
    powers = np.exp(-inverse * below)
    powers[masked] = 0.0
    total = powers.sum(axis=1)
    mean = np.einsum("nk,nk->n", powers, below) / total
    below -= mean[:, None]
    variance = np.einsum("nk,nk,nk->n", powers, below, below) / total
    loss = np.log(total) + inverse * own
    return tuple(float(weight @ column) for column in (loss, own - mean, variance))
