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
class LossOptions:
    """How scores become losses, and which outputs are asked for beside the loss."""

    z_loss: float = 0.0
    softcap: float = 0.0
    temperature: float = 1.0
    asked: frozenset[str] = frozenset()
    gamma: float = 0.0  # of the focal term


@dataclass
class RowLosses:
    """The rows' losses (N,) and gradients; and, per block, what the outputs are made of."""

    losses: Array
    gradients: Array | None
    parts: list[RowParts] = field(default_factory=list)
    log_probability: list[Array] = field(default_factory=list)  # of the targets, unweighted


def rows_of_scores(
    problem: ClassTargets,
    scale: Any,
    loss_options: LossOptions = LossOptions(),
    out: Array | None = None,
) -> RowLosses:
    """Return each row's loss and, given the factor that it takes, its gradient.

    The gradient is written to ``out``, which may be the scores, or to memory of its own.
    """
    kernel = choose.array_backend(problem.scores)
    gradients = None
    if scale is not None:
        gradients = np.empty(problem.scores.shape, problem.scores.dtype) if out is None else out
    results = RowLosses(np.empty(len(problem.scores), problem.compute_dtype), gradients)
    for rows in problem.blocks() if kernel is choose.REFERENCE else _one_block(problem):
        _evaluate(kernel, problem.take(rows), rows, scale, loss_options, results)
    return results


def _one_block(problem: ClassTargets) -> Iterator[slice]:
    yield slice(0, len(problem.scores))


def _evaluate(
    kernel: Backend,
    block: ClassTargets,
    rows: slice,
    scale: Any,
    loss_options: LossOptions,
    results: RowLosses,
) -> None:
    """Find the losses and the gradients of a block of rows."""
    known = block.counted & ~block.unknown
    target = _kernel_target(block, known)
    wide = np.result_type(np.float64, block.compute_dtype)
    if known.all() and block.sample_weight is None:
        row_weight = np.ones(1, wide)  # for all rows
    else:
        row_weight = known.astype(wide)
        if block.sample_weight is not None:
            row_weight[known] = block.sample_weight[known]
    kernel_options: dict[str, Any] = {
        "weight": block.weight,
        "temperature": loss_options.temperature,
        "softcap": loss_options.softcap,
    }
    parts = kernel.row_parts(
        block.scores,
        target,
        smoothing=block.label_smoothing > 0,
        entropy="entropy" in loss_options.asked,
        argmax=not loss_options.asked.isdisjoint(("argmax", "correct")),
        **kernel_options,
    )
    gap, mass = _gap(block, parts, loss_options), _mass(block)
    terms = Terms(wide.type(block.label_smoothing), loss_options.z_loss, gamma=loss_options.gamma)
    losses = weighted(np, row_weight, row_loss(np, parts, gap, mass, terms))
    results.losses[rows] = block.fill_uncounted(losses.astype(block.compute_dtype))
    if loss_options.asked:
        results.parts.append(parts)
    if "log_prob" in loss_options.asked:
        unweighted_parts = parts
        if parts.soft_gap is not None and block.weight is not None:
            # The parts of distributions include class weights: those without take a second pass.
            unweighted_parts = kernel.row_parts(
                block.scores, target, **(kernel_options | {"weight": None})
            )
        target_gap = gap if block.columns is not None else unweighted_parts.gap
        unweighted = _mass(block, weighted=False)
        results.log_probability.append(
            log_probability(np, unweighted_parts, target_gap, unweighted)
        )
    if results.gradients is None:
        return
    gradients = results.gradients[rows]
    a, _, s, t = coefficients(np, parts, mass, terms, row_weight * wide.type(scale))
    if block.columns is None:
        kernel.row_gradient(
            block.scores, parts, target, a, s=s, t=t, out=gradients, **kernel_options
        )
    else:
        places = np.arange(len(gradients))[:, None], block.columns
        subtracted = _gradient_at_columns(block, t, loss_options).astype(gradients.dtype)
        kernel.row_gradient(block.scores, parts, target, a, s=s, out=gradients, **kernel_options)
        np.subtract.at(gradients, places, subtracted)
    # The kernels wrote exact zeros for rows that do not count; an unknown target makes its row NaN.
    gradients[block.unknown & block.counted] = np.nan


def _kernel_target(block: ClassTargets, known: Array) -> Array:
    if block.columns is not None:
        return np.full(len(block.scores), -1, np.int64)
    if block.target.ndim == 2:
        return block.target
    # Wide first: an unsigned integer has no −1.
    indices = block.target.astype(np.int64, copy=False)
    return indices if known.all() else np.where(known, indices, -1)


def _gap(block: ClassTargets, parts: RowParts, loss_options: LossOptions) -> Array:
    """Return the parts' gap, or how far sparse targets' scores are below the maximum (N, k)."""
    if block.columns is None:
        return np.asarray(parts.gap)
    chosen = rows_reference.widened(np.take_along_axis(block.scores, block.columns, axis=1))
    z = bending.bent(np, chosen, loss_options.temperature, loss_options.softcap)
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


def _gradient_at_columns(block: ClassTargets, t: Array, loss_options: LossOptions) -> Array:
    """Return what the gradient subtracts at the columns of sparse targets."""
    assert block.columns is not None
    chosen = rows_reference.widened(np.take_along_axis(block.scores, block.columns, axis=1))
    return np.asarray(t * bending.slope(np, chosen, loss_options.temperature, loss_options.softcap))
