"""The losses of rows of scores, and their gradients: composed of the kernels' parts.

What a loss is made of is `bridle.formula.row_loss`. Few scores go to the plain kernels in blocks of
rows, many to the compiled ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.formula import bending
from bridle.formula.outputs import log_probability
from bridle.formula.row_loss import Terms, coefficients, row_loss, weighted
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
    gamma: float = 0.0  # of the focal term


@dataclass
class RowLosses:
    """What was found of the rows, (N,) each; of block after block what was asked."""

    losses: Array
    gradients: Array | None
    parts: list[RowParts] = field(default_factory=list)
    log_probability: list[Array] = field(default_factory=list)  # of the targets, unweighted


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
    gap, mass = _gap(block, parts, recipe), _mass(block)
    terms = Terms(wide.type(block.label_smoothing), recipe.z_loss, gamma=recipe.gamma)
    losses = weighted(np, share, row_loss(np, parts, gap, mass, terms))
    found.losses[rows] = block.settle(losses.astype(block.compute_dtype))
    if recipe.asked:
        found.parts.append(parts)
    if "log_prob" in recipe.asked:
        plain = parts
        if parts.soft_gap is not None and block.weight is not None:
            # The parts of distributions are weighted: the plain ones take a pass of their own.
            plain = kernel.row_parts(block.scores, target, **(bend | {"weight": None}))
        own = gap if block.columns is not None else plain.gap
        unweighted = _mass(block, weighted=False)
        found.log_probability.append(log_probability(np, plain, own, unweighted))
    if found.gradients is None:
        return
    gradients = found.gradients[rows]
    a, _, s, t = coefficients(np, parts, mass, terms, share * wide.type(scale))
    if block.columns is None:
        kernel.row_gradient(block.scores, parts, target, a, s=s, t=t, out=gradients, **bend)
    else:
        places = np.arange(len(gradients))[:, None], block.columns
        less = _less_at_columns(block, t, recipe).astype(gradients.dtype)
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


def _gap(block: ClassTargets, parts: RowParts, recipe: Recipe) -> Array:
    """Return the parts' gap, or how far sparse targets' scores are below the maximum (N, k)."""
    if block.columns is None:
        return np.asarray(parts.gap)
    chosen = rows_reference.widened(np.take_along_axis(block.scores, block.columns, axis=1))
    z = bending.bent(np, chosen, recipe.temperature, recipe.softcap)
    return np.asarray(parts.maximum[:, None] - z)


def _mass(block: ClassTargets, *, weighted: bool = True) -> Array | None:
    """Return what the targets' −log p count, class weights included or not; None: 1, or the parts'.

    Of sparse targets (N, k), of class indices (N,).
    """
    weight = block.weight if weighted else None
    if block.columns is not None:
        wide = block.target.astype(block.compute_dtype, copy=False)
        return wide if weight is None else np.asarray(wide * weight[block.columns])
    if weight is None or block.target.ndim == 2:
        return None
    known = block.counted & ~block.unknown
    return np.asarray(weight[np.where(known, block.target, 0)])


def _less_at_columns(block: ClassTargets, t: Array, recipe: Recipe) -> Array:
    """Return what the gradient of sparse targets has less at their columns."""
    assert block.columns is not None
    chosen = rows_reference.widened(np.take_along_axis(block.scores, block.columns, axis=1))
    return np.asarray(t * bending.slope(np, chosen, recipe.temperature, recipe.softcap))
