"""Ranges of jobs for threads of our own.

Not numba's ``prange``: a process that has used its OpenMP pool kills every child it forks that uses
it too, and its other pool ends the process when two threads call at once. A kernel that holds no
lock of the interpreter needs no more than this.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from bridle.kernels import thresholds
from bridle.kernels.processors import available, free, pool


def for_ranges(
    work: Callable[[int, int], None], jobs: int, numbers: int, threads: int | None
) -> None:
    """Call ``work(first, last)`` for ranges that cover ``jobs``, on as many threads as pay off.

    A job's result never depends on its range.
    """
    threads = min(
        threads or available(), available(), jobs, numbers // thresholds.NUMBERS_PER_THREAD
    )
    if threads > 1:
        threads = min(threads, free())
    if threads <= 1:
        work(0, jobs)
        return
    pieces = min(jobs, threads * thresholds.RANGES_PER_THREAD)
    edges = [jobs * piece // pieces for piece in range(pieces + 1)]
    ranges = iter(list(pairwise(edges)))

    def run() -> None:
        for first, last in ranges:  # a list's iterator hands each range to one thread
            work(first, last)

    others = [pool().submit(run) for _ in range(threads - 1)]
    run()
    for other in others:
        other.result()
