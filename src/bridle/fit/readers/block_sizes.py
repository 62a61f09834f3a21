"""How many rows are processed at a time, and from which sizes on each way of reading pays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bridle.kernels import thresholds
from bridle.kernels.processors import maker
from bridle.rows import Features, Rows

# What a fit may take beside the features and a few copies of its weights. A 128th part of it are
# a block's scores (2²¹ of them: enough for the products to run at full rate), a 64th what a block
# is converted to, a quarter the solver's remembered steps; the rest is the metric's.
DEFAULT_MEMORY = 2**28
_LEAST_MEMORY = 2**25


def default_memory(features: Rows) -> int:
    """Return a quarter of what the features take, within 32 and 256 MB; on a device 4 GB.

    Smaller blocks cost a fit of 1,000 classes 7 %, of 200 nothing.
    """
    if features.device is not None and features.device.type != "cpu":
        return thresholds.FIT_DEVICE_BYTES
    return max(_LEAST_MEMORY, min(features.nbytes // 4, DEFAULT_MEMORY))


def block_rows(depth: int, classes: int, memory_budget: int = DEFAULT_MEMORY) -> int:
    """Return how many rows' scores are held at a time.

    >>> block_rows(512, 1000), block_rows(512, 100_000)
    (2097, 256)
    """
    return max(memory_budget // 128 // classes, min(depth, thresholds.PASS_FEWEST_ROWS), 1)


def tensor_rows(depth: int, classes: int, memory_budget: int) -> int:
    """Return how many rows of tensors are held at a time: scores and converted features.

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


def reads_once(count: int, depth: int, classes: int) -> bool:
    """Tell whether arrays with class indices go through the kernel that reads each row once."""
    is_intel = maker() == "GenuineIntel"
    most = thresholds.ONE_READING_CLASSES_ON_INTEL if is_intel else thresholds.ONE_READING_CLASSES
    return classes <= most and count * depth > thresholds.ONE_READING_NUMBERS


def in_pieces(count: int, depth: int, classes: int, memory_budget: int) -> bool:
    """Tell whether a pass over arrays is shared out in pieces of rows, one thread a product.

    A library's own threads wait for each other after every product; on a busy machine that takes
    many times as long as the product. But each piece has sums of its own, for which many classes
    leave no room; and small passes are done before a second thread has begun.
    """
    large = count * depth * classes >= thresholds.SHARED_PASS
    return large and depth * classes * 8 * thresholds.SHARED_PASS_PIECES_AT_A_TIME <= memory_budget


def piece_rows(count: int, depth: int, classes: int, memory_budget: int) -> int:
    """Return how many rows a piece has: some pieces for each thread, whatever their number.

    >>> piece_rows(50_000, 384, 57, DEFAULT_MEMORY), piece_rows(10**6, 512, 1000, DEFAULT_MEMORY)
    (3125, 1048)
    >>> piece_rows(50_000, 512, 1000, 2**25)
    512
    """
    # A thread's scores may take a 16th of the memory where fewer rows would make products slow.
    least = min(thresholds.SHARED_PASS_FEWEST_ROWS, memory_budget // 64 // classes)
    most = max(block_rows(depth, classes, memory_budget) // 2, least, 1)
    return min(most, max(-(-count // thresholds.SHARED_PASS_PIECES), thresholds.PASS_FEWEST_ROWS))
