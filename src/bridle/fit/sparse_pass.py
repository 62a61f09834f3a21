r"""Passes over sparse features: the objective with its gradient, and products with its Hessian.

    H d = Σ_i s_i u_i [(diag p_i − p_i p_iᵀ) (u_i d)]ᵀ / Σ s + α d

The probabilities come from the residuals of the point, which are kept where they fit in memory and
found again where they do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.fit.objective import Evaluation, Objective
from bridle.fit.sparse import SparseBlock, SparseFeatures

Array = npt.NDArray[Any]
RowResults = tuple[SparseBlock, Array, Array]  # a block of rows, its residuals and losses

_KEPT_BYTES = 2**28
_CACHED_NUMBERS = 2**15
_NEAR = 1e-2  # the intercept's gradient from where Newton's steps lead straight to the end
_LARGEST_SYSTEM = 1024  # classes
_LEAST_CURVATURE = 1e-30  # its inverse is still a float32


def feature_blocks(width: int, classes: int) -> Iterator[slice]:
    """Yield slices of the features whose weights stay in cache from one operation to the next."""
    step = max(1, _CACHED_NUMBERS // classes)
    for begin in range(0, width, step):
        yield slice(begin, min(begin + step, width))


class SparsePass:
    """The objective as a Newton method wants it; always evaluated in float64.

    ``tol`` is the relative gap that will be asked for.
    """

    def __init__(self, objective: Objective, tol: float) -> None:
        assert objective.sparse is not None
        self.objective = objective
        self.features: SparseFeatures = objective.sparse
        # The gap is about as large as the intercept's gradient.
        self._intercept_tolerance = max(1e-13, 1e-3 * tol)
        self.count = 0
        kept = len(objective.target) * objective.classes * 8 <= _KEPT_BYTES
        self._residuals: list[Array] | None = None
        if kept:
            self._residuals = [
                np.empty((block.rows.stop - block.rows.start, objective.classes))
                for block in self.features.blocks
            ]
        self._at: Evaluation | None = None  # whose residuals these are

    def evaluate(self, parameters: Array) -> Evaluation:
        """Return value and gradient at ``parameters``."""
        objective = self.objective
        self.count += 1
        weight, offset = objective.in_feature_units(parameters)
        cold = objective.fit_intercept and not weight.any()
        gradient = np.zeros(objective.shape)
        product, _ = objective.split(gradient)
        residual_sum = np.zeros(objective.classes)
        total, worst = 0.0, 0.0
        rows: Iterable[RowResults] = self._rows(None if cold else weight, offset)
        if self._residuals is not None and objective.fit_intercept:
            rows, step = self._perfected(list(rows))
            parameters = parameters.copy()
            parameters[-1] += step
        for block, residual, losses in rows:
            share = self.share(block)
            if share is not None:
                losses = np.where(share > 0, losses, 0.0)
            worst = max(worst, float(losses.max(initial=0.0)))
            total += float(losses.sum() if share is None else share @ losses)
            residual_sum += residual.sum(axis=0)
            if not cold:
                self.features.add_product(block.by_feature, residual, product)
        if cold:
            # All samples have the same probabilities, and centred features have the sum 0.
            np.negative(objective.target_product, out=product)
            gradient[-1] = residual_sum / objective.total_weight
        else:
            self.finish(gradient, residual_sum, parameters)
        own, _ = objective.split(parameters)
        loss = total / objective.total_weight
        value = loss + objective.alpha / 2 * float(np.vdot(own, own))
        self._at = Evaluation(parameters, value, loss, gradient, worst)
        return self._at

    def finish(self, product: Array, residual_sum: Array, parameters: Array) -> None:
        """Turn ``Σ s x rᵀ`` into ``Σ s u rᵀ / Σ s + α V``, in the parameters' shape, in place."""
        objective = self.objective
        divisor = objective.scale * objective.total_weight
        weight, _ = objective.split(parameters)
        for part in feature_blocks(len(weight), objective.classes):
            slope = product[part]
            slope -= np.outer(objective.shift[part], residual_sum).astype(slope.dtype, copy=False)
            slope /= divisor[part, None].astype(slope.dtype, copy=False)
            slope += slope.dtype.type(objective.alpha) * weight[part]
        if objective.fit_intercept:
            product[-1] = residual_sum / objective.total_weight

    def _rows(self, weight: Array | None, offset: Array) -> Iterator[RowResults]:
        for place, block in enumerate(self.features.blocks):
            yield block, *self._residual(place, block, weight, offset)

    def _perfected(self, rows: list[RowResults]) -> tuple[list[RowResults], Array]:
        """Return the rows at a better intercept, if the given one is close to the best; its step.

        The proof wants the intercept's gradient to be 0, and moving it needs no product.
        """
        objective = self.objective
        total_step = np.zeros(objective.classes)
        slope = self._intercept_slope(rows)
        while self._intercept_tolerance < np.abs(slope).max() < _NEAR:
            step = self.intercept_step(((block, residual) for block, residual, _ in rows), slope)
            moved = [self._tilted(*row, step) for row in rows]
            moved_slope = self._intercept_slope(moved)
            if np.linalg.norm(moved_slope) > np.linalg.norm(slope) / 2:
                break
            rows, slope = moved, moved_slope
            total_step += step
        self._residuals = [residual for _, residual, _ in rows]
        return rows, total_step

    def _intercept_slope(self, rows: list[RowResults]) -> Array:
        total = np.zeros(self.objective.classes)
        for _, residual, _ in rows:
            total += residual.sum(axis=0)
        return total / self.objective.total_weight

    def _tilted(
        self, block: SparseBlock, residual: Array, losses: Array, step: Array
    ) -> RowResults:
        """Return what a row's scores plus ``step`` give: ``p exp(step)``, normalised."""
        target, share = self.objective.target[block.rows], self.share(block)
        _, probability = self.masses(block, residual)
        tilted = probability * np.exp(step)
        norm = tilted.sum(axis=1)
        # A sample of weight 0 has a residual of 0, which tells no probabilities; it has no say.
        np.divide(tilted, norm[:, None], out=tilted, where=norm[:, None] > 0)
        moved = np.log(norm, out=np.zeros_like(norm), where=norm > 0)
        if target.ndim == 1:
            tilted[np.arange(len(tilted)), target] -= 1
            moved -= step[target]
        else:
            tilted -= target
            moved -= target @ step
        if share is not None:
            tilted *= share[:, None]
        return block, tilted, losses + moved

    def intercept_step(self, rows: Iterable[tuple[SparseBlock, Array]], slope: Array) -> Array:
        """Return the intercept's Newton step, from ``mean_i (diag p_i − p_i p_iᵀ)`` of the rows.

        The same constant for all classes changes no probability, and is no part of the step. For
        very many classes ``p pᵀ`` is left out: it is small, and without it no step is too long.
        """
        classes = self.objective.classes
        many = classes > _LARGEST_SYSTEM
        mean = np.zeros(classes)
        outer = np.zeros((0, 0) if many else (classes, classes))
        for block, residual in rows:
            mass, probability = self.masses(block, residual)
            mean += mass.sum(axis=0)
            if not many:
                outer += mass.T @ probability
        slope = slope * self.objective.total_weight
        if many:
            step: Array = -slope / np.maximum(mean, _LEAST_CURVATURE)
        else:
            step = np.linalg.lstsq(np.diag(mean) - outer, -slope, rcond=1e-12)[0]
        return np.asarray(step - step.mean())

    def masses(self, block: SparseBlock, residual: Array) -> tuple[Array, Array]:
        """Return a block's probabilities times the sample weights, and as they are."""
        target, share = self.objective.target[block.rows], self.share(block)
        mass = residual.copy()
        if target.ndim == 1:
            mass[np.arange(len(mass)), target] += 1.0 if share is None else share
        else:
            mass += target if share is None else target * share[:, None]
        np.maximum(mass, 0, out=mass)
        return mass, mass if share is None else mass / np.where(share > 0, share, 1)[:, None]

    def hessian(self, point: Evaluation, dtype: np.dtype[Any]) -> Hessian:
        """Return the Hessian at ``point``, to be multiplied in ``dtype``."""
        if self._at is not point and self._residuals is not None:
            self.evaluate(point.parameters)
            self._at = point
        return Hessian(self, point, dtype)

    def residuals(self, point: Evaluation) -> Any:
        """Yield each block with its residuals at the point that `hessian` was asked for."""
        weight, offset = (
            (None, None)
            if self._residuals is not None
            else self.objective.in_feature_units(point.parameters)
        )
        for place, block in enumerate(self.features.blocks):
            if self._residuals is not None:
                yield block, self._residuals[place]
            else:
                yield block, self._residual(place, block, weight, offset)[0]

    def _residual(
        self, place: int, block: SparseBlock, weight: Any, offset: Any
    ) -> tuple[Array, Array]:
        shape = (block.rows.stop - block.rows.start, self.objective.classes)
        scores = np.empty(shape) if self._residuals is None else self._residuals[place]
        scores[:] = offset
        if weight is not None:
            self.features.add_product(block.by_row, weight, scores)
        target = self.objective.target[block.rows]
        return scores, self.features.residual_in_place(scores, target, self.share(block))

    def share(self, block: SparseBlock) -> Array | None:
        """Return the sample weights of a block."""
        weight = self.objective.sample_weight
        return None if weight is None else weight[block.rows]


class Hessian:
    """The second derivative at a point, as products with directions in the parameters' shape."""

    def __init__(self, passes: SparsePass, point: Evaluation, dtype: np.dtype[Any]) -> None:
        self._pass, self._point, self._dtype = passes, point, dtype

    def multiply(self, direction: Array) -> Array:
        """Return the product with ``direction``, in its dtype."""
        passes, objective = self._pass, self._pass.objective
        passes.count += 1
        weight, offset = objective.in_feature_units(direction)
        weight = weight.astype(direction.dtype, copy=False)
        product = np.zeros(direction.shape, direction.dtype)
        slope, _ = objective.split(product)
        total = np.zeros(objective.classes)
        for block, residual in passes.residuals(self._point):
            scores = np.empty(residual.shape, direction.dtype)
            scores[:] = offset
            passes.features.add_product(block.by_row, weight, scores)
            target, share = objective.target[block.rows], passes.share(block)
            passes.features.curve_rows(scores, residual, target, share)
            total += scores.sum(axis=0)
            passes.features.add_product(block.by_feature, scores, slope)
        passes.finish(product, total, direction)
        return product

    def preconditioner(self) -> Array:
        """Return the inverse of M, in the parameters' shape and the products' dtype."""
        objective = self._pass.objective
        total = np.zeros(objective.classes)
        for block, residual in self._pass.residuals(self._point):
            mass, probability = self._pass.masses(block, residual)
            total += mass.sum(axis=0) - np.einsum("nk,nk->k", mass, probability)
        curvature = np.maximum(total / objective.total_weight, _LEAST_CURVATURE)
        inverse = np.empty(objective.shape, self._dtype)
        for part in feature_blocks(self._pass.features.shape[1], objective.classes):
            diagonal = np.multiply.outer(objective.second_moment[part], curvature)
            inverse[part] = 1 / (diagonal + max(objective.alpha, _LEAST_CURVATURE))
        if objective.fit_intercept:
            inverse[-1] = 1 / curvature
        return inverse

    def intercept_step(self) -> Array:
        """Return the Newton step of the intercept alone."""
        rows = self._pass.residuals(self._point)
        return self._pass.intercept_step(rows, self._point.gradient[-1])
