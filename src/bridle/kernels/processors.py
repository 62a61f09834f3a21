"""How many processors there really are, and pieces of work for as many threads.

A thread more than there are processors is worse than none: it is stopped in the middle of its piece
for some milliseconds, while all others wait for it. So the number of threads is what this process
may use (affinity, a container's quota) less what other processes use now; pieces are small, each
free thread takes the next one, and a waiting thread sleeps.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

Item = TypeVar("Item")
Output = TypeVar("Output")

_LOAD, _MODEL = Path("/proc/loadavg"), Path("/proc/cpuinfo")
_CGROUPS, _OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
# Seconds for which a count is reused.
_COUNT_VALID_SECONDS = 0.02
# Results that may wait for an earlier one, beyond one for each thread.
_MOST_WAITING_RESULTS = 2


@cache
def available() -> int:
    """Return how many processors this process may use, by its affinity and its container's quota.

    ``NUMBA_NUM_THREADS`` sets another number.
    """
    told = os.environ.get("NUMBA_NUM_THREADS", "")
    if told.isdigit() and int(told) > 0:
        return int(told)
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    return max(1, int(min(allowed, _quota())))


@cache
def maker() -> str:
    """Return who made the processor, as it says itself: "GenuineIntel", "AuthenticAMD"; or ""."""
    try:
        lines = _MODEL.read_text().splitlines()
    except OSError:
        text = platform.processor()  # of Windows: "Intel64 Family 6 …, GenuineIntel"
        return text.rpartition(", ")[2] if ", " in text else ""
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")]
    return found[0] if found else ""


def free() -> int:
    """Return how many of them other processes leave free now; at least one."""
    return _free(int(time.monotonic() / _COUNT_VALID_SECONDS), available())


def _free(_moment: int, allowed: int) -> int:
    global _last
    if _last[:2] != (_moment, allowed):
        # Of what runs at this moment, one is the thread that asks.
        others = max(0, _running() - 1)
        unused = (os.cpu_count() or allowed) - others
        _last = (_moment, allowed, max(1, min(allowed, unused)))
    return _last[2]


_last = (-1, 0, 1)  # the moment, what was allowed, what was free


def _running() -> int:
    """Return how many threads of all processes run or wait for a processor; 1 if unknown."""
    try:
        return int(_LOAD.read_text().split()[3].partition("/")[0])
    except (OSError, IndexError, ValueError):
        return 1


def _quota() -> float:
    """Return how many processors' time a container grants, infinity without one."""
    quota = float("inf")
    for folder in _cgroup_folders():
        try:
            if (folder / "cpu.max").exists():
                granted, period = (folder / "cpu.max").read_text().split()[:2]
            else:
                granted = (folder / "cpu.cfs_quota_us").read_text()
                period = (folder / "cpu.cfs_period_us").read_text()
            if granted.strip() != "max" and float(granted) > 0:
                quota = min(quota, float(granted) / float(period))
        except (OSError, ValueError):
            continue
    return quota


def _cgroup_folders() -> list[Path]:
    """Return the folders of this process's control groups, of either version, and those above."""
    folders = [_CGROUPS, _CGROUPS / "cpu"]
    try:
        lines = _OWN_CGROUP.read_text().splitlines()
    except OSError:
        return folders
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds and "cpu" not in kinds.split(","):
            continue
        root = _CGROUPS / "cpu" if kinds else _CGROUPS
        below = root / path.lstrip("/")
        folders += [below, *(above for above in below.parents if root in above.parents)]
    return folders


@cache
def pool() -> ThreadPoolExecutor:
    """Return the threads that wait, asleep, for work."""
    return ThreadPoolExecutor(available(), thread_name_prefix="bridle")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.cache_clear)  # a child has none of its parent's threads


def in_order(
    items: Iterator[Item],
    work: Callable[[Item], Output],
    add: Callable[[Output], None],
    threads: int,
) -> None:
    """Call ``add(work(item))`` for every item, in their order, with the work on several threads.

    What is added, and in which order, does not depend on how many threads there are, nor on which
    of them is quick. Items are drawn one at a time, and few results wait to be added.
    """
    if threads <= 1:
        for item in items:
            add(work(item))
        return
    queue = _Ordered(items, work, add, threads + _MOST_WAITING_RESULTS)
    others = [pool().submit(queue.run) for _ in range(threads - 1)]
    try:
        queue.run()
    except BaseException:
        queue.close()
        raise
    finally:
        for other in others:
            other.cancel() or other.exception()
    queue.check()


class _Ordered(Generic[Item, Output]):
    """Hands items to several threads, and adds their results in the items' order."""

    def __init__(
        self,
        items: Iterator[Item],
        work: Callable[[Item], Output],
        add: Callable[[Output], None],
        most: int,
    ) -> None:
        self._items, self._work, self._add, self._most = enumerate(items), work, add, most
        self._changed = threading.Condition()
        self._results: dict[int, Output] = {}
        self._next = 0
        self._ended = False
        self._error: BaseException | None = None

    def run(self) -> None:
        """Work on items until none is left."""
        try:
            while (numbered_item := self._next_item()) is not None:
                number, item = numbered_item
                output = self._work(item)
                del item, numbered_item  # else a converted block would stay beside the next
                self._deliver(number, output)
        except BaseException as error:
            # Of an error in adding too: else the others would wait for a result that never comes.
            self.close(error)
            raise

    def close(self, error: BaseException | None = None) -> None:
        """Hand out no further item."""
        with self._changed:
            self._ended, self._error = True, self._error or error
            self._changed.notify_all()

    def check(self) -> None:
        """Raise the error of another thread, if there was one."""
        if self._error is not None:
            raise self._error

    def _next_item(self) -> tuple[int, Item] | None:
        with self._changed:
            # The thread with the earliest item never waits here: its result is not among those held
            # back.
            while len(self._results) >= self._most and not self._ended:
                self._changed.wait()
            if self._ended:
                return None
            try:
                numbered_item = next(self._items, None)
            except BaseException as error:
                self._ended, self._error = True, error
                self._changed.notify_all()
                raise
            self._ended = numbered_item is None
            return numbered_item

    def _deliver(self, number: int, output: Output) -> None:
        with self._changed:
            self._results[number] = output
            while self._next in self._results:
                self._add(self._results.pop(self._next))
                self._next += 1
            self._changed.notify_all()
