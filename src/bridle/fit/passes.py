"""One pass over the data: the sums that an objective and its gradient are made of.

Few classes go through a kernel that reads each row once for both of its products; otherwise the
products are a library's, block by block, with the residual made in place between them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bridle.fit.precision import FLOAT64, Precision
from bridle.fit.tensor_pass import tensor_sums
from bridle.kernels.numpy import reference
from bridle.kernels.processors import free, in_order
from bridle.rows import Features, Rows

Array = npt.NDArray[Any]

# What a fit may take beside the features and a few copies of its weights. A 128th part of it are
# a block's scores (2²¹ of them: enough for the products to run at full rate), a 64th what a block
# is converted to, a quarter the solver's remembered steps; the rest is the metric's.
DEFAULT_MEMORY = 2**28
_LEAST_MEMORY = 2**25
# On a device, blocks of 2¹⁷ rows of 1,000 classes in float64, and their features.
_DEVICE_MEMORY = 2**32
# A block of so many rows takes no more than the weights do; fewer make the products slow.
_EFFICIENT_ROWS = 256
# Up to so many classes one reading wins, by a factor of 2 to 3 (measured from 2 to 64), in data of
# so many numbers: below, loading compiled code would take longer than all passes of a fit.
_FEW_CLASSES = 64
_KERNEL_NUMBERS = 2**24
# A pass of so many multiplications is shared out: to pieces that are small beside the pass, so that
# a thread that has to wait for its processor does not keep all waiting, but not to more.
_SHARED_PASS = 2**23
_PIECES, _PIECES_AT_A_TIME = 16, 8


class Sums(NamedTuple):
    """What a pass over the rows adds up, in float64."""

    loss: float  # Σ s · loss
    worst_loss: float  # the largest loss of a row that counts
    product: Array  # (D, K): Σ s x (p − t)ᵀ
    residual: Array  # (K,): Σ s (p − t)


def default_memory(features: Rows) -> int:
    """Return a quarter of what the features take, within 32 and 256 MB; on a device 4 GB.

    Smaller blocks cost a fit of 1,000 classes 7 %, of 200 nothing.
    """
    if features.device is not None and features.device.type != "cpu":
        return _DEVICE_MEMORY
    return max(_LEAST_MEMORY, min(features.nbytes // 4, DEFAULT_MEMORY))


def block_rows(depth: int, classes: int, memory_budget: int = DEFAULT_MEMORY) -> int:
    """Return how many rows of scores are in the works at a time.

    >>> block_rows(512, 1000), block_rows(512, 100_000)
    (2097, 256)
    """
    return max(memory_budget // 128 // classes, min(depth, _EFFICIENT_ROWS), 1)


def tensor_rows(depth: int, classes: int, memory_budget: int) -> int:
    """Return how many rows of tensors are in the works at a time: scores and converted features.

    >>> tensor_rows(768, 1000, 2**32)
    151830
    """
    return max(1, min(memory_budget // (16 * (depth + classes)), 2**24))


def blocks_of(
    features: Rows, classes: int, dtype: np.dtype[Any], memory_budget: int
) -> Iterator[tuple[slice, Features]]:
    """Yield blocks of rows for which scores are made."""
    rows = block_rows(features.shape[1], classes, memory_budget)
    return features.blocks(rows, dtype, numbers=memory_budget // 64)


def reads_once(features: Rows, target: Array, classes: int) -> bool:
    """Tell whether features go through the kernel that reads each row once."""
    arrays = not features.is_sparse and not features.are_tensors
    few = classes <= _FEW_CLASSES and target.ndim == 1
    return arrays and few and features.shape[0] * features.shape[1] > _KERNEL_NUMBERS


def in_pieces(features: Rows, depth: int, classes: int, memory_budget: int) -> bool:
    """Tell whether a pass is shared out to threads in pieces of rows, one thread a product.

    A library's own threads wait for each other after every product; on a busy machine that takes
    many times as long as the product. But each piece has sums of its own, for which many classes
    leave no room; and small passes are done before a second thread has begun.
    """
    arrays = not features.is_sparse and not features.are_tensors
    large = len(features) * depth * classes >= _SHARED_PASS
    return arrays and large and depth * classes * 8 * _PIECES_AT_A_TIME <= memory_budget


def piece_rows(count: int, depth: int, classes: int, memory_budget: int) -> int:
    """Return how many rows a piece has: some pieces for each thread, whatever their number.

    >>> piece_rows(50_000, 384, 57, DEFAULT_MEMORY), piece_rows(10**6, 512, 1000, DEFAULT_MEMORY)
    (3125, 1048)
    """
    most = max(block_rows(depth, classes, memory_budget) // 2, 1)
    return min(most, max(-(-count // _PIECES), _EFFICIENT_ROWS))


class Point(NamedTuple):
    """Where a fit asks for the sums: its target and weights, in the dtype the sums are taken in."""

    target: Array  # (N,) class indices, or (N, K) distributions
    sample_weight: Array | None  # (N,)
    weight: Array  # (D, K): scores are features @ weight + offset
    offset: Array  # (K,)
    precision: Precision = FLOAT64


def sums_over(
    features: Rows, points: Sequence[Point], memory_budget: int = DEFAULT_MEMORY
) -> list[Sums]:
    """Return the sums at each point, of one shape and dtype all, in one pass over the features."""
    first = points[0]
    depth, classes = first.weight.shape
    if features.are_tensors:
        rows_at_a_time = tensor_rows(depth, classes, memory_budget)
        return [Sums(*tensor_sums(features, *point, rows_at_a_time)) for point in points]
    totals = [_Total(first.weight.shape) for _ in points]

    def add(parts: list[Sums]) -> None:
        for total, part in zip(totals, parts, strict=True):
            total.add(part)

    if reads_once(features, first.target, classes):
        # The kernel has threads of its own.
        blocks = blocks_of(features, classes, first.weight.dtype, memory_budget)
        in_order(blocks, _Pieces(points, kernel=True), add, 1)
    elif in_pieces(features, depth, classes, memory_budget):
        size = piece_rows(len(features), depth, classes, memory_budget)
        numbers = memory_budget // 64 // 2
        blocks = features.blocks(size, first.weight.dtype, numbers=numbers)
        in_order(blocks, _Pieces(points), add, free())
    else:
        blocks = blocks_of(features, classes, first.weight.dtype, memory_budget)
        in_order(blocks, _Pieces(points), add, 1)
    return [total.sums() for total in totals]


class _Pieces:
    """What is done with a block of rows, at each point; threads have scores of their own."""

    def __init__(self, points: Sequence[Point], *, kernel: bool = False) -> None:
        self._points, self._kernel = points, kernel
        self._memory = threading.local()

    def __call__(self, piece: tuple[slice, Features]) -> list[Sums]:
        rows, block = piece
        kernel = self._kernel and block.flags.c_contiguous
        parts = []
        for point in self._points:
            share = None if point.sample_weight is None else point.sample_weight[rows]
            own = point._replace(target=point.target[rows], sample_weight=share)
            if kernel:
                parts.append(_in_one_reading(block, own))
            else:
                parts.append(_by_products(block, own, self._scores(block.shape[0])))
        return parts

    def _scores(self, count: int) -> Array:
        """Return one memory again and again: fresh memory would be faulted in page by page."""
        classes, dtype = self._points[0].weight.shape[1], self._points[0].weight.dtype
        held: Array | None = getattr(self._memory, "scores", None)
        if held is None or len(held) < count:
            held = self._memory.scores = np.empty((count, classes), dtype)
        return held[:count]


class _Total:
    """Sums that grow block by block."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.loss, self.worst_loss = 0.0, 0.0
        self.product, self.residual = np.zeros(shape), np.zeros(shape[1])

    def add(self, part: Sums) -> None:
        self.loss += part.loss
        self.worst_loss = max(self.worst_loss, part.worst_loss)
        self.product += part.product
        self.residual += part.residual

    def sums(self) -> Sums:
        return Sums(self.loss, self.worst_loss, self.product, self.residual)


def _in_one_reading(block: Array, point: Point) -> Sums:
    from bridle.kernels.numba import dense_pass as cpu_pass

    target, share, weight, offset, _ = point
    return Sums(*cpu_pass.pass_sums(block, weight, offset, target, share))


def _by_products(block: Features, point: Point, scores: Array) -> Sums:
    """Return a block's sums; ``scores`` is memory for them."""
    target, share, weight, offset, _ = point
    if share is not None and not share.all():
        # Held out rows are cheaper to leave out than to multiply.
        counted = share != 0
        block, target, share = block[counted], target[counted], share[counted]
        scores = scores[: len(target)]
    if sparse.issparse(block):
        scores[:] = block @ weight
    else:
        np.matmul(block, weight, out=scores)
    scores += offset
    narrow = None if share is None else share.astype(scores.dtype)
    losses = reference.residual_in_place(scores, target, narrow)
    if share is None:
        loss, worst = losses.sum(dtype=np.float64), losses.max(initial=0.0)
    else:
        loss, worst = np.vdot(losses, share), losses.max(initial=0.0, where=share > 0)
    residual = scores.sum(axis=0, dtype=np.float64)
    return Sums(float(loss), float(worst), np.asarray(block.T @ scores), residual)
