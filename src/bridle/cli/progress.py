"""The live line of a fit or of many, on a terminal only."""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from bridle.fit.cross_validation import Progress as SweepProgress
from bridle.fit.softmax_regression import Progress


@contextmanager
def live_line(tol: float, *, wanted: bool) -> Iterator[Progress | None]:
    """Show the pass, the objective, the gap and the time left while a fit runs."""
    if not wanted or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    estimate = TimeLeft(tol)
    with Console(stderr=True).status("reading the data once") as status:

        def show(passes: int, objective: float, gap: float, seconds: float) -> None:
            left = estimate.seconds(seconds, gap)
            ending = "" if left is None else f"   about {left:.0f} s left"
            status.update(f"pass {passes}   objective {objective:.6f}   gap {gap:.1e}{ending}")

        yield show


@contextmanager
def live_sweep(*, wanted: bool) -> Iterator[SweepProgress | None]:
    """Show the last C that all folds were fitted at."""
    if not wanted or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    with Console(stderr=True).status("reading the data once for each fold") as status:

        def show(done: int, folds: int, C: float, score: float) -> None:
            status.update(f"{done} done, of {folds} folds each   C {C:.3g}   score {score:.6f}")

        yield show


class TimeLeft:
    """Seconds until the gap reaches its goal, if it goes on falling as it has of late.

    The gap of a convex fit falls about geometrically, so its logarithm is extended as a line
    through the last twenty steps.
    """

    def __init__(self, goal: float) -> None:
        self._goal = goal
        self._steps: deque[tuple[float, float]] = deque(maxlen=20)

    def seconds(self, now: float, gap: float) -> float | None:
        """Note a gap; return the estimate, or None while there is nothing to go by."""
        if not 0 < gap < math.inf:
            return None
        self._steps.append((now, math.log(gap)))
        started, first = self._steps[0]
        fallen = first - self._steps[-1][1]
        if len(self._steps) < 3 or fallen <= 0:
            return None
        return max(0.0, (math.log(gap) - math.log(self._goal)) * (now - started) / fallen)
