"""The rows of a large problem by the compiled kernels: the loss is composed of their parts.

A row's loss, in the parts of `bridle.kernels.parts` and with ε the label smoothing:

    (1 − ε) · mass · (log_sum + gap)  +  ε / allowed · (smooth_weight · log_sum + smooth_gap)

and its gradient is the kernels' one formula, with the coefficients that `_coefficients` states. The
matrix is read once; no mass per class is ever laid out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle.kernels.parts import RowParts
from bridle.losses.class_targets import ClassTargets

Array = npt.NDArray[Any]


class _Coefficients(NamedTuple):
    """What the kernels' gradient takes of each row, (N,) each."""

    a: Array
    s: Array | None
    t: Array


def suits(problem: ClassTargets) -> bool:
    """Tell whether the kernels can read the scores as they lie."""
    scores = problem.scores
    known = scores.dtype.name in ("float16", "bfloat16", "float32", "float64")
    return known and scores.dtype.isnative and scores.strides[1] == scores.itemsize


def rows(problem: ClassTargets, scale: Any) -> tuple[Array, Array | None]:
    """Return each row's loss and, given the factor that it takes, its gradient."""
    from bridle.kernels import cpu

    known = problem.counted & ~problem.unknown
    target = _target(problem, known)
    share = np.where(known, 1.0, 0.0)
    if problem.sample_weight is not None:
        share[known] = problem.sample_weight[known]
    weight, smoothing = problem.weight, problem.label_smoothing > 0
    everywhere = slice(0, len(problem.scores))
    if scale is None:
        parts = cpu.row_parts(problem.scores, target, weight=weight, smoothing=smoothing)
        return problem.settle(everywhere, _losses(problem, parts, target, share)), None
    gradient = np.empty(problem.scores.shape, problem.scores.dtype)
    a, s, t = _coefficients(problem, target, share * float(scale))
    parts = cpu.row_parts_and_gradient(
        problem.scores, target, a, s=s, t=t, weight=weight, smoothing=smoothing, out=gradient
    )
    losses = problem.settle(everywhere, _losses(problem, parts, target, share))
    # The kernels left exact zeros where nothing counts; only what was not checked is broken.
    gradient[problem.unknown & problem.counted] = np.nan
    return losses, gradient


def _target(problem: ClassTargets, known: Array) -> Array:
    if problem.target.ndim == 2:
        return problem.target
    return np.where(known, problem.target, -1).astype(np.int64)


def _mass(problem: ClassTargets, target: Array) -> Array | float:
    """Return what the target's −log p is weighed with, by class weights alone."""
    if target.ndim == 2:
        wide = target.astype(problem.compute_dtype, copy=False)
        return np.asarray(wide.sum(axis=1) if problem.weight is None else wide @ problem.weight)
    return 1.0 if problem.weight is None else problem.weight[np.maximum(target, 0)]


def _coefficients(problem: ClassTargets, target: Array, share: Array) -> _Coefficients:
    """Return what a gradient of ``share`` times the loss multiplies the kernels' terms with."""
    smoothing = problem.label_smoothing
    own = (1 - smoothing) * share
    massive = own * _mass(problem, target)
    # Of distributions the kernel multiplies t by the class weights itself.
    return _Coefficients(
        a=massive,
        s=smoothing * share if smoothing else None,
        t=own if target.ndim == 2 else massive,
    )


def _losses(problem: ClassTargets, parts: RowParts, target: Array, share: Array) -> Array:
    if parts.soft_gap is not None:
        assert parts.soft_mass is not None
        loss = _times(parts.soft_mass, parts.log_sum) + parts.soft_gap
    else:
        loss = _times(_mass(problem, target), parts.log_sum + parts.target_gap)
    smoothing = problem.label_smoothing
    if smoothing:
        assert parts.allowed is not None
        spread = smoothing / np.maximum(parts.allowed, 1)
        smooth = spread * (parts.smooth_weight * parts.log_sum + parts.smooth_gap)
        loss = _times(1 - smoothing, loss) + smooth
    return np.asarray(_times(share, loss), problem.compute_dtype)


def _times(mass: Array | float, loss: Array) -> Array:
    """Multiply, with 0 · inf = 0 and 0 · NaN = NaN: no mass asks nothing, a broken row says so."""
    return np.asarray(mass * np.where((np.asarray(mass) == 0) & np.isinf(loss), 0, loss))
