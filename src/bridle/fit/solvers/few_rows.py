r"""Newton's method in the span of the rows, for features that have few of them.

With a penalty, the optimum's weights are combinations of the centred, scaled rows: ``V = Uᵀ A``
with one row of ``A`` (N, K) per sample. All that the objective needs of the features is then their
Gram matrix ``G = U Uᵀ`` (N, N), taken once, however many columns there are:

    f = Σ w_i CE(softmax(G A + c)_i, t_i) + α/2 ⟨A, G A⟩,   w = s / Σ s

Gradients keep the same form, ``∇_V f = Uᵀ E`` with ``E = w (P − T) + α A``, and an inner product of
two of them is ``⟨E₁, G E₂⟩``. The Newton equations are solved by conjugate gradients in this inner
product, one product with G each, or at once where they are few. The point that is found is judged
by its weights on the features themselves, like every other: the proof does not use G.

References: G. Wahba, *Spline Models for Observational Data*, 1990, for the span of the rows;
J. Zhu, T. Hastie, *Kernel Logistic Regression and the Import Vector Machine*, 2005.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg

from bridle.fit import threads
from bridle.fit.problem.objective import Evaluation, Objective
from bridle.fit.requests import (
    Combination,
    Gram,
    RowScores,
    RowTargets,
    Steps,
    Targets,
    Values,
    ask,
)
from bridle.fit.solvers.watch import Solution, Watch
from bridle.fit.solvers.whole_hessian import first_choice
from bridle.kernels import thresholds
from bridle.kernels.numpy import reference

Array = npt.NDArray[Any]

# What the state of the method takes, in matrices (N, K).
_STATE_MATRICES = 10
_MOST_PRODUCTS, _MOST_TRIALS, _INTERCEPT_STEPS = 250, 30, 8
_SUFFICIENT_DECREASE = 1e-4
# The part of the tolerance that G's gap has to reach, and how many times a point that is not proven
# over the features goes on from there, each time a hundred times as far.
_GRAM_TOLERANCE, _ROUNDS = 0.1, 3


def serves(objective: Objective) -> bool:
    """Tell whether the features have so few rows that their span is the smaller space to search."""
    facts = objective.facts
    count, width = facts.count, facts.width
    if facts.is_sparse or not facts.all_rows_on_host or objective.alpha == 0:
        return False
    most = min(thresholds.SPAN_ROWS, thresholds.SPAN_ROWS_PER_FEATURE * width)
    if count > most or first_choice(objective):
        return False
    # With no more rows than features, the state is no larger than some copies of the weights.
    state = 0 if count <= width else _STATE_MATRICES * count * objective.classes
    return (count**2 + state) * 8 <= objective.memory_budget


def minimise(
    watch: Watch, start: Array, *, tol: float, max_iter: int, gram: Array | None = None
) -> Steps[tuple[Solution | Evaluation, Array]]:
    """Minimise the watched objective in the rows' span until the gap, relative to it, is ``tol``.

    Returns the point where it came to, instead of a solution, if rounding leaves the gap open; and
    the Gram matrix, which another penalty need not have made again.
    """
    objective = watch.objective
    targets = yield from ask(RowTargets())
    if gram is None:
        rows_per_class = objective.facts.count / objective.classes
        narrow = rows_per_class >= thresholds.SPAN_FLOAT32_ROWS_PER_CLASS
        kind = np.dtype(np.float32 if narrow else np.float64)
        gram = yield from ask(Gram(objective.shift, objective.scale, kind))
    scores = None
    if objective.split(start)[0].any():
        scores = yield from ask(RowScores(objective.point(start)))
    newton = _Newton(objective, gram, targets, start, scores)
    solution = yield from _prove_on_features(watch, newton, tol, max_iter)
    return solution, gram


def _prove_on_features(
    watch: Watch, newton: _Newton, tol: float, max_iter: int
) -> Steps[Solution | Evaluation]:
    objective, gram_tolerance = watch.objective, _GRAM_TOLERANCE * tol
    for _ in range(_ROUNDS):
        with threads.large(len(newton.gram) ** 2 * objective.classes):
            ended = newton.iterate(watch, gram_tolerance, max_iter)
        product = yield from ask(Combination(newton.coefficients))
        parameters = newton.parameters(product)
        watch.passes += 1
        sums = yield from ask(Values(objective.point(parameters)))
        point = watch.record(objective.evaluation(parameters, sums))
        gap = watch.gap(point)
        if gap <= tol * (point.value - gap):
            return watch.solution(point, "gap", gap)
        if ended == "max_iter":
            return watch.solution(point, "max_iter")
        if ended == "rounding" and newton.is_exact:
            break
        # From the scores that the features give, what a rounded G has left open can be closed.
        newton.correct((yield from ask(RowScores(objective.point(parameters)))))
        gram_tolerance /= 100
    return point


@dataclass
class _State:
    """A point of the span, and what its value and gradient are made of."""

    coefficients: Array  # A (N, K)
    products: Array  # G A
    intercept: Array  # c (K,)
    value: float
    residual: Array  # w (P − T)


class _Newton:
    """Newton's method on the coefficients of the rows."""

    def __init__(
        self,
        objective: Objective,
        gram: Array,
        targets: Targets,
        start: Array,
        scores: Array | None,
    ) -> None:
        count = len(gram)
        self._objective, self.gram, self._target = objective, gram, targets.target
        self._share = targets.row_weight / objective.total_weight
        # As a feature the intercept gets the mean size of the other directions.
        self._intercept_size = float(np.trace(gram)) / count**2 if objective.fit_intercept else 0.0
        coefficients, intercept = self._begin(start, scores)
        self._state = self._state_at(coefficients, self._product(coefficients), intercept)
        self.iterations = 0

    def _begin(self, start: Array, scores: Array | None) -> tuple[Array, Array]:
        """Return coefficients of rows that give the start's scores, as far as rows can."""
        objective, gram = self._objective, self.gram
        _, intercept = objective.split(start)
        if scores is None:  # of no weights
            return np.zeros((len(gram), objective.classes)), intercept
        # This is only a start: directions that rounding cannot tell from 0 stay at 0.
        share = 1e-10 if gram.dtype == np.float64 else 1e-5
        coefficients = _regularised_solution(gram, share, scores - intercept)
        return coefficients - coefficients.mean(axis=1, keepdims=True), intercept - intercept.mean()

    def _product(self, matrix: Array) -> Array:
        """Return ``G matrix`` in float64, as exact as G is."""
        return np.asarray((self.gram @ matrix.astype(self.gram.dtype)).astype(np.float64))

    @property
    def is_exact(self) -> bool:
        """Whether G is as exact as the features."""
        return self.gram.dtype == np.float64

    def correct(self, scores: Array) -> None:
        """Go on from the scores that the features give at these coefficients.

        Steps add to the products with their rounding, and with that of G.
        """
        state = self._state
        self._state = self._state_at(state.coefficients, scores - state.intercept, state.intercept)

    @property
    def coefficients(self) -> Array:
        """The coefficients of the rows (N, K)."""
        return self._state.coefficients

    def parameters(self, product: Array) -> Array:
        """Return the parameters of the fit: ``Uᵀ A`` and the intercept, from ``Xᵀ A``."""
        objective, state = self._objective, self._state
        product -= np.outer(objective.shift, state.coefficients.sum(axis=0))
        product /= objective.scale[:, None]
        return np.vstack([product, state.intercept]) if objective.fit_intercept else product

    def iterate(self, watch: Watch, tol: float, max_iter: int) -> str:
        """Step until the gap in the span is small, and say what ended it."""
        alpha = self._objective.alpha
        while True:
            state = self._state
            excess = state.residual + alpha * state.coefficients
            gram_excess = self._product(excess)
            gap = float(np.vdot(excess, gram_excess)) / (2 * alpha)
            if gap <= tol * max(state.value - gap, 0.0):
                self._optimise_intercept()
                return "gap"
            if watch.iteration >= max_iter:
                return "max_iter"
            watch.iteration += 1
            next_state = self._step(excess, gram_excess, gap, tol)
            if next_state is None:
                self._optimise_intercept()
                return "rounding"
            self._state = next_state

    def _state_at(self, coefficients: Array, products: Array, intercept: Array) -> _State:
        scores = products + intercept
        losses = reference.residual_in_place(scores, self._target, self._share)
        penalty = self._objective.alpha / 2 * float(np.vdot(coefficients, products))
        value = float(losses @ self._share) + penalty
        return _State(coefficients, products, intercept, value, scores)

    def _probabilities(self, state: _State) -> Array:
        """Return the probabilities; scores are cheaper to exponentiate again than to keep."""
        scores = state.products + state.intercept
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return scores

    def _step(self, excess: Array, gram_excess: Array, gap: float, tol: float) -> _State | None:
        state, classes = self._state, self._objective.classes
        probability = self._probabilities(state)
        if (len(excess) + 1) * (classes - 1) <= thresholds.SPAN_EQUATIONS_AT_ONCE:
            step, shift = self._solve_at_once(excess, probability)
            products = self._product(step)
        else:
            least = 0.1 * tol * state.value
            step, products, shift = self._solve(excess, gram_excess, probability, gap, least)
        slope = float(np.vdot(gram_excess, step)) + float(shift @ state.residual.sum(axis=0))
        return self._search(step, products, shift, slope) if slope < 0 else None

    def _search(self, step: Array, products: Array, shift: Array, slope: float) -> _State | None:
        """Return the first point that is low enough; None if rounding hides any."""
        state, length = self._state, 1.0
        noise = 2 * np.finfo(self.gram.dtype).eps * abs(state.value)
        for _ in range(_MOST_TRIALS):
            trial = self._state_at(
                state.coefficients + length * step,
                state.products + length * products,
                state.intercept + length * shift,
            )
            if trial.value <= state.value + _SUFFICIENT_DECREASE * length * slope:
                return trial
            # Where rounding hides the decrease, the slope still shows it (Hager, Zhang 2005).
            if trial.value <= state.value + noise:
                change = trial.residual + self._objective.alpha * trial.coefficients
                trial_slope = float(np.vdot(products, change)) + float(
                    shift @ trial.residual.sum(axis=0)
                )
                if abs(trial_slope) <= (1 - 2 * _SUFFICIENT_DECREASE) * abs(slope):
                    return trial
            length /= 2
        return None

    def _score_hessian_product(self, probability: Array, change: Array) -> Array:
        """Return ``w (diag p − p pᵀ)`` of every row, times a change of its scores."""
        product = probability * change
        product -= probability * product.sum(axis=1, keepdims=True)
        product *= self._share[:, None]
        return np.asarray(product)

    def _solve(
        self, excess: Array, gram_excess: Array, probability: Array, gap: float, least: float
    ) -> tuple[Array, Array, Array]:
        """Return roughly the Newton step, by conjugate gradients in the inner product of G.

        The step of the coefficients, its product with G, and the intercept's.
        """
        alpha, intercept_size = self._objective.alpha, self._intercept_size
        residual, gram_residual = -excess, -gram_excess
        intercept_residual = -self._state.residual.sum(axis=0)
        direction, gram_direction, intercept_direction = (
            residual.copy(),
            gram_residual.copy(),
            intercept_size * intercept_residual,
        )
        step, products, shift = (
            np.zeros_like(residual),
            np.zeros_like(residual),
            np.zeros_like(intercept_residual),
        )
        first_square = square = float(np.vdot(residual, gram_residual)) + intercept_size * float(
            intercept_residual @ intercept_residual
        )
        forcing = float(np.clip(np.sqrt(gap / self._state.value), 1e-3, 0.3))
        target = max(forcing**2 * first_square, 2 * alpha * least)
        for _ in range(_MOST_PRODUCTS):
            hessian_direction = self._score_hessian_product(
                probability, gram_direction + intercept_direction
            )
            intercept_product = hessian_direction.sum(axis=0)
            hessian_direction += alpha * direction
            curvature = float(np.vdot(gram_direction, hessian_direction)) + float(
                intercept_direction @ intercept_product
            )
            if not curvature > 0:
                break
            length = square / curvature
            step += length * direction
            products += length * gram_direction
            shift += length * intercept_direction
            residual -= length * hessian_direction
            intercept_residual -= length * intercept_product if intercept_size else 0.0
            gram_residual = self._product(residual)
            previous, square = (
                square,
                float(np.vdot(residual, gram_residual))
                + intercept_size * float(intercept_residual @ intercept_residual),
            )
            if not square > target:
                break
            direction *= square / previous
            direction += residual
            gram_direction *= square / previous
            gram_direction += gram_residual
            intercept_direction = (
                intercept_direction * (square / previous) + intercept_size * intercept_residual
            )
        return step, products, shift

    def _solve_at_once(self, excess: Array, probability: Array) -> tuple[Array, Array]:
        """Return the Newton step of few equations, in contrasts of the classes."""
        count, classes = excess.shape
        contrast_count, alpha = classes - 1, self._objective.alpha
        contrasts = linalg.helmert(classes).T
        mean_contrasts = probability @ contrasts
        curvature = np.einsum("ik,ka,kb->iab", probability, contrasts, contrasts, optimize=True)
        curvature -= mean_contrasts[:, :, None] * mean_contrasts[:, None, :]
        curvature *= self._share[:, None, None]
        size, extra = count * contrast_count, contrast_count if self._intercept_size else 0
        matrix = np.zeros((size + extra, size + extra))
        row_blocks = np.einsum("iab,ij->iajb", curvature, self.gram)
        matrix[:size, :size] = row_blocks.reshape(size, size)
        matrix[np.arange(size), np.arange(size)] += alpha
        right_side = -(excess @ contrasts).reshape(size)
        if extra:
            matrix[:size, size:] = curvature.reshape(size, contrast_count)
            matrix[size:, :size] = row_blocks.sum(axis=0).reshape(contrast_count, size)
            matrix[size:, size:] = curvature.sum(axis=0)
            # The intercept's own curvature may be too small for rounding to show beside the
            # others'.
            intercept_side = -self._state.residual.sum(axis=0) @ contrasts
            right_side = np.concatenate([right_side, intercept_side])
        try:
            solution = linalg.solve(matrix, right_side, check_finite=False)
        except linalg.LinAlgError:
            solution = np.linalg.lstsq(matrix, right_side, rcond=None)[0]
        step = solution[:size].reshape(count, contrast_count) @ contrasts.T
        shift = solution[size:] @ contrasts.T if extra else np.zeros(classes)
        return step, shift

    def _optimise_intercept(self) -> None:
        """Step along the intercept alone: the bound on the gap is linear in its slope."""
        if not self._intercept_size:
            return
        for _ in range(_INTERCEPT_STEPS):
            state = self._state
            slope = state.residual.sum(axis=0)
            probability = self._probabilities(state)
            weighted = probability * self._share[:, None]
            hessian = np.diag(weighted.sum(axis=0)) - probability.T @ weighted
            shift = -np.linalg.lstsq(hessian, slope, rcond=1e-13)[0]
            moved = self._state_at(state.coefficients, state.products, state.intercept + shift)
            if not np.linalg.norm(moved.residual.sum(axis=0)) < np.linalg.norm(slope) / 2:
                return
            self._state = moved


def _regularised_solution(gram: Array, share: float, right_side: Array) -> Array:
    """Return ``(G + λ I)⁻¹ right_side`` for a share λ of G's mean eigenvalue, or what it takes.

    Where one direction holds most of G, its rounding alone may hide that G has no negative
    eigenvalue: then λ grows.
    """
    mean = float(np.trace(gram)) / len(gram)
    while True:
        regularised = gram + (share * mean + np.finfo(np.float64).tiny) * np.eye(len(gram))
        try:
            return np.asarray(
                linalg.solve(regularised, right_side, assume_a="pos", overwrite_a=True)
            )
        except linalg.LinAlgError:
            share *= 10
