"""Files that lie below each other as one: which are meant, and which of them a row stands in."""

from __future__ import annotations

import glob
import itertools
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path


def name_of(source: str | Sequence[str]) -> str:
    """Return what messages call one file, or several.

    >>> name_of("a.csv"), name_of(["a.csv", "b.csv", "c.csv"])
    ('a.csv', 'a.csv and 2 more')
    """
    if isinstance(source, str):
        return source
    return f"{source[0]} and {len(source) - 1} more" if len(source) > 1 else "".join(source)


def files_of(source: str | Sequence[str]) -> tuple[Path, ...]:
    """Return the files of a list, or of a pattern; none where one file or folder is called so."""
    if not isinstance(source, str):
        return tuple(map(Path, source)) if len(source) > 1 else files_of("".join(source))
    if not glob.has_magic(source) or Path(source).exists():
        return ()
    return tuple(sorted(map(Path, glob.glob(source, recursive=True))))


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
