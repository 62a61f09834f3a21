"""The losses of rows of scores, and their gradients: composed of the kernels' parts.

A row's loss, in the parts of `bridle.kernels.contract` and with ε the label smoothing:

    sample_weight · [ (1 − ε) · mass · (log_sum + gap)
                      + ε / allowed · (smooth_weight · log_sum + smooth_gap)
                      + z_loss · (maximum + log_sum)² ]

and its gradient is the kernels' one formula, with the coefficients that `_coefficients` states. Few
scores go to the plain kernels in blocks of rows, many to the compiled ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.kernels import choose
from bridle.kernels.choose import Backend
from bridle.kernels.contract import RowParts
from bridle.kernels.numpy import row_kernels as rows_reference
from bridle.losses.class_targets import ClassTargets

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Recipe:
    """What is made of the scores, and what is asked beside the loss."""

    z_loss: float = 0.0
    softcap: float = 0.0
    temperature: float = 1.0
    asked: frozenset[str] = frozenset()


@dataclass
class RowLosses:
    """What was found of the rows, (N,) each; of block after block what was asked."""

    losses: Array
    gradients: Array | None
    parts: list[RowParts] = field(default_factory=list)
    negative_log: list[Array] = field(default_factory=list)  # −log p of the targets, unweighted


def rows_of_scores(
    problem: ClassTargets, scale: Any, recipe: Recipe = Recipe(), out: Array | None = None
) -> RowLosses:  # fmt: skip
    """Return each row's loss and, given the factor that it takes, its gradient.

    The gradient is written to ``out``, which may be the scores, or to memory of its own.
    """
    kernel = choose.array_backend(problem.scores)
    gradients = None
    if scale is not None:
        gradients = np.empty(problem.scores.shape, problem.scores.dtype) if out is None else out
    found = RowLosses(np.empty(len(problem.scores), problem.compute_dtype), gradients)
    for rows in problem.blocks() if kernel is choose.REFERENCE else _one_block(problem):
        _evaluate(kernel, problem.some(rows), rows, scale, recipe, found)
    return found


def _one_block(problem: ClassTargets) -> Iterator[slice]:
    yield slice(0, len(problem.scores))


def _evaluate(
    kernel: Backend, block: ClassTargets, rows: slice, scale: Any, recipe: Recipe, found: RowLosses
) -> None:
    """Find the losses and the gradients of a block of rows."""
    known = block.counted & ~block.unknown
    target = _kernel_target(block, known)
    wide = np.result_type(np.float64, block.compute_dtype)
    if known.all() and block.sample_weight is None:
        share = np.ones(1, wide)  # for all rows
    else:
        share = known.astype(wide)
        if block.sample_weight is not None:
            share[known] = block.sample_weight[known]
    bend: dict[str, Any] = {
        "weight": block.weight,
        "temperature": recipe.temperature,
        "softcap": recipe.softcap,
    }
    parts = kernel.row_parts(
        block.scores,
        target,
        smoothing=block.label_smoothing > 0,
        entropy="entropy" in recipe.asked,
        argmax=not recipe.asked.isdisjoint(("argmax", "correct")),
        **bend,
    )
    gap = _gap(block, parts, recipe)
    losses = _losses(block, parts, gap, share, recipe)
    found.losses[rows] = block.settle(losses)
    if recipe.asked:
        found.parts.append(parts)
    if "log_prob" in recipe.asked:
        plain = parts
        if parts.soft_gap is not None and block.weight is not None:
            # The parts of distributions are weighted: the plain ones take a pass of their own.
            plain = kernel.row_parts(block.scores, target, **(bend | {"weight": None}))
        found.negative_log.append(_target_loss(block, plain, gap, weighted=False))
    if found.gradients is None:
        return
    gradients = found.gradients[rows]
    a, s, t = _coefficients(block, parts, share * wide.type(scale), recipe)
    if block.columns is None:
        kernel.row_gradient(block.scores, parts, target, a, s=s, t=t, out=gradients, **bend)
    else:
        places = np.arange(len(gradients))[:, None], block.columns
        less = _at_columns(block, block.columns, t, recipe).astype(gradients.dtype)
        kernel.row_gradient(block.scores, parts, target, a, s=s, out=gradients, **bend)
        np.subtract.at(gradients, places, less)
    # The kernels left exact zeros where nothing counts; only what was not checked is broken.
    gradients[block.unknown & block.counted] = np.nan


def _kernel_target(block: ClassTargets, known: Array) -> Array:
    if block.columns is not None:
        return np.full(len(block.scores), -1, np.int64)
    if block.target.ndim == 2:
        return block.target
    indices = block.target if known.all() else np.where(known, block.target, -1)
    return indices.astype(np.int64, copy=False)


def _gap(block: ClassTargets, parts: RowParts, recipe: Recipe) -> Array | None:
    """Return how far sparse targets' scores are below the maximum; None for other targets."""
    if block.columns is None:
        return None
    chosen = np.take_along_axis(block.scores, block.columns, axis=1)
    z = rows_reference.bent(chosen, recipe.temperature, recipe.softcap)
    return np.asarray(parts.maximum[:, None] - z)


def _target_loss(
    block: ClassTargets, parts: RowParts, gap: Array | None, *, weighted: bool = True
) -> Array:
    """Return ``Σ mass · (−log p)`` of the targets, weighted by class or not."""
    if gap is not None:
        mass = _sparse_mass(block) if weighted else block.target
        return np.asarray(_times(mass, parts.log_sum[:, None] + gap).sum(axis=1))
    if parts.soft_gap is not None:
        assert parts.soft_mass is not None
        return np.asarray(_times(parts.soft_mass, parts.log_sum) + parts.soft_gap)
    return _times(_mass(block) if weighted else 1.0, parts.log_sum + parts.target_gap)


def _sparse_mass(block: ClassTargets) -> Array:
    """Return the class-weighted probabilities (N, k) of sparse targets."""
    wide = block.target.astype(block.compute_dtype, copy=False)
    if block.weight is None:
        return wide
    assert block.columns is not None
    return np.asarray(wide * block.weight[block.columns])


def _mass(block: ClassTargets) -> Array | float:
    """Return what the target's −log p is weighed with, by class weights alone."""
    if block.columns is not None:
        return np.asarray(_sparse_mass(block).sum(axis=1))
    if block.target.ndim == 2:
        wide = block.target.astype(block.compute_dtype, copy=False)
        if block.weight is None:
            return np.asarray(wide.sum(axis=1))
        # Not by `@`, whose order of summation depends on the number of rows.
        return np.asarray(np.einsum("nc,c->n", wide, block.weight))
    if block.weight is None:
        return 1.0
    known = block.counted & ~block.unknown
    return np.asarray(block.weight[np.where(known, block.target, 0)])


def _losses(
    block: ClassTargets, parts: RowParts, gap: Array | None, share: Array, recipe: Recipe
) -> Array:
    loss = _target_loss(block, parts, gap)
    smoothing = share.dtype.type(block.label_smoothing)
    if smoothing:
        assert parts.allowed is not None
        spread = smoothing / np.maximum(parts.allowed, 1)
        smooth = spread * (parts.smooth_weight * parts.log_sum + parts.smooth_gap)
        loss = _times(1 - smoothing, loss) + smooth
    if recipe.z_loss:
        loss = loss + recipe.z_loss * (parts.maximum + parts.log_sum) ** 2
    return np.asarray(_times(share, loss), block.compute_dtype)


def _coefficients(
    block: ClassTargets, parts: RowParts, share: Array, recipe: Recipe
) -> tuple[Array, Array | None, Array]:
    """Return (a, s, t) for a gradient of ``share`` times the loss."""
    smoothing = share.dtype.type(block.label_smoothing)
    own = (1 - smoothing) * share
    massive = own * _mass(block)
    slope, spread = massive, None
    if smoothing:
        assert parts.allowed is not None
        spread = smoothing * share / np.maximum(parts.allowed, 1)
        slope = slope + spread * parts.smooth_weight
    if recipe.z_loss:
        pull = 2 * recipe.z_loss * (parts.maximum + parts.log_sum).astype(np.float64)
        slope = slope + np.where(share == 0, 0.0, share * pull)
    # Of distributions the kernel multiplies t by the class weights itself.
    return slope, spread, own if block.target.ndim == 2 else massive


def _at_columns(block: ClassTargets, columns: Array, t: Array, recipe: Recipe) -> Array:
    """Return what the gradient of sparse targets has less at their columns."""
    chosen = np.take_along_axis(block.scores, columns, axis=1)
    slope = rows_reference.slope(chosen, recipe.temperature, recipe.softcap)
    return np.asarray(t[:, None] * _sparse_mass(block) * slope)


def _times(mass: Array | float, loss: Array) -> Array:
    """Multiply, with 0 · inf = 0 and 0 · NaN = NaN: no mass asks nothing, a broken row says so."""
    nothing = np.asarray(mass) == 0
    if nothing.any():
        loss = np.where(nothing & np.isinf(loss), 0, loss)
    return np.asarray(mass * loss)
