"""Files that lie below each other as one: which of them a row stands in."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Callable, Sequence


def shard_of_row(counts: Sequence[int]) -> Callable[[int], tuple[int, int]]:
    """Return what tells, given a row, which shard it stands in, and its number there.

    ``counts`` has the rows of each shard; one may have none.

    >>> place = shard_of_row([3, 0, 2])
    >>> place(2), place(3)
    ((0, 2), (2, 0))
    """
    starts = [0, *itertools.accumulate(counts)]

    def place(row: int) -> tuple[int, int]:
        shard = bisect_right(starts, row) - 1
        return shard, row - starts[shard]

    return place
