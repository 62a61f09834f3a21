"""The entries of the CPU kernels: a range of jobs each, a job being a row or one block of a row."""

from __future__ import annotations

from typing import Any

import numpy as np

from bridle.kernels.numba.arguments import at
from bridle.kernels.numba.compiling import kernel
from bridle.kernels.numba.gradient import unrounded_maximum, write_gradient
from bridle.kernels.numba.machine import borrowed
from bridle.kernels.numba.parts import ALLOWED, SMOOTH_WEIGHT, reduce


@kernel
def forward(
    scores: Any, target: Any, wanted: Any, scratch: Any, first: int, last: int, job_parts: Any
) -> None:
    """Write the parts of jobs ``first`` to ``last``."""
    scores, target, scratch = borrowed(scores), borrowed(target), borrowed(scratch)
    job_parts = borrowed(job_parts)
    for job in range(first, last):
        reduce(scores, target, wanted, scratch, job, False, job_parts)


@kernel
def backward(
    scores: Any,
    target: Any,
    scratch: Any,
    first: int,
    last: int,
    job_parts: Any,
    coefficients: Any,
    out: Any,
) -> None:
    """Write the gradient of jobs ``first`` to ``last``."""
    scores, target, scratch = borrowed(scores), borrowed(target), borrowed(scratch)
    job_parts, coefficients, out = borrowed(job_parts), borrowed(coefficients), borrowed(out)
    for job in range(first, last):
        row = job // scores.blocks
        abst = (
            at(coefficients.a, row),
            at(coefficients.b, row),
            at(coefficients.s, row),
            at(coefficients.t, row),
        )
        best = job_parts.maximum[row]
        if abst != (0.0, 0.0, 0.0, 0.0):
            best = unrounded_maximum(scores, scratch, best, row)
        gap = np.float64(job_parts.gap[row]) if target.hard else 0.0
        found = (best, np.float64(job_parts.log_sum[row]), gap)
        write_gradient(scores, target, scratch, job, False, found, abst, out)


@kernel
def both(
    scores: Any,
    target: Any,
    wanted: Any,
    scratch: Any,
    first: int,
    last: int,
    job_parts: Any,
    coefficients: Any,
    out: Any,
) -> None:
    """Write the parts and the gradient of jobs ``first`` to ``last``, each a whole row.

    ``s`` is spread evenly over the classes that are not masked (label smoothing).
    """
    scores, target, scratch = borrowed(scores), borrowed(target), borrowed(scratch)
    job_parts, coefficients, out = borrowed(job_parts), borrowed(coefficients), borrowed(out)
    for row in range(first, last):
        found = reduce(scores, target, wanted, scratch, row, True, job_parts)
        a, s, t = at(coefficients.a, row), at(coefficients.s, row), at(coefficients.t, row)
        if wanted.smoothing and s != 0:
            s = s / scratch.sums[ALLOWED]
            a = a + s * scratch.sums[SMOOTH_WEIGHT]
        write_gradient(scores, target, scratch, row, True, found, (a, 0.0, s, t), out)
