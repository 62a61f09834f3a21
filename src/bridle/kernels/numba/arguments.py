"""What the CPU kernels are handed, and how they reach a chunk of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.core import types

from bridle.kernels.numba.chunks import CHUNK, cap, read, store
from bridle.kernels.numba.compiling import implementation_of, inlined
from bridle.kernels.numba.exponential import BIAS_32, BIAS_64, LOWEST_32, LOWEST_64
from bridle.kernels.numba.machine import prefetch

LINE_BYTES = 64


class Scores(NamedTuple):
    """Where the scores lie and how they are bent.

    Row ``i`` is ``flat[start + i · step :][:columns]``; ``blocks`` blocks of ``block`` columns make
    a row. ``scale + scale_rest`` is 1 / temperature in two numbers of the accumulator's dtype.
    """

    flat: Any
    start: int
    step: int
    columns: int
    block: int
    blocks: int
    bfloat16: bool
    softcap: float
    temperature: float
    scale: Any
    scale_rest: Any


class Target(NamedTuple):
    """Class indices (N,), −1 for none; or distributions (N, C); and class weights (C,)."""

    hard: bool
    index: Any
    soft: Any
    weight: Any


class Wanted(NamedTuple):
    """Which parts are asked for beside those of the loss."""

    smoothing: bool
    entropy: bool
    argmax: bool


class JobParts(NamedTuple):
    """The parts of each job; those not asked for have no entries."""

    maximum: Any
    log_sum: Any
    gap: Any
    mass: Any
    smooth_gap: Any
    smooth_weight: Any
    allowed: Any
    mean_gap: Any
    argmax: Any


class Coefficients(NamedTuple):
    """What each row's gradient is made with; those not given have no entries."""

    a: Any
    b: Any
    s: Any
    t: Any


class Scratch(NamedTuple):
    """One thread's own memory: a chunk of scores, one of a gradient, exponentials of a row."""

    z: Any
    d: Any
    e: Any
    sums: Any


def unbias(z: Any) -> float:
    """Return the power of two that takes the bias from an exponential."""
    raise NotImplementedError


@implementation_of(unbias)
def _unbias(z: Any) -> Any:
    power = 2.0**-BIAS_64 if z.dtype == types.float64 else 2.0**-BIAS_32
    return lambda z: power  # noqa: ARG005 - its type is all


def lowest_of(z: Any) -> float:
    """Return the difference from the maximum below which an exponential is 0."""
    raise NotImplementedError


@implementation_of(lowest_of)
def _lowest_of(z: Any) -> Any:
    lowest = float(LOWEST_64 if z.dtype == types.float64 else LOWEST_32)
    return lambda z: lowest  # noqa: ARG005 - its type is all


@inlined
def extent(scores: Any, job: int) -> Any:
    """Return a job's row, its first column, and the column after its last."""
    row = job // scores.blocks
    low = (job - row * scores.blocks) * scores.block
    return row, low, min(low + scores.block, scores.columns)


@inlined
def read_chunk(scores: Any, row: int, begin: int, count: int, scratch: Any) -> Any:
    """Return the scores of a chunk, capped; −inf where the row has ended."""
    start = scores.start + row * scores.step + begin
    z = read(scores.flat[start : start + count], scores.bfloat16, scratch)
    if scores.softcap > 0:
        cap(z, scores.softcap, scratch)
        return scratch
    return z


@inlined
def prefetch_chunk(scores: Any, row: int, begin: int) -> None:
    """Ask for the same chunk of the next job, between two loops that are busy with arithmetic."""
    ahead = scores.step if scores.blocks == 1 else scores.block
    start = scores.start + row * scores.step + begin + ahead
    for j in range(0, CHUNK, LINE_BYTES // scores.flat.itemsize):
        prefetch(scores.flat, start + j)


@inlined
def store_chunk(d: Any, out: Any, row: int, begin: int, count: int) -> None:
    """Write a chunk of a gradient."""
    start = out.start + row * out.step + begin
    store(d, out.bfloat16, out.flat[start : start + count])


@inlined
def at(values: Any, row: int) -> float:
    """Return a coefficient of a row, which may be that of all; 0 where there is none."""
    if values.size == 0:
        return 0.0
    return np.float64(values[row if values.size > 1 else 0])
