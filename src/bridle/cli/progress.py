"""The live line of a fit or of many, on a terminal only."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np

from bridle.progress import Listener, Progress, shown_gap


@contextmanager
def live_text(
    first: str, told: Callable[[Progress], str], *, wanted: bool
) -> Iterator[Listener | None]:
    """Show a text, then what each event makes of it, on standard error if that is a terminal.

    Colours and the moving of the cursor are left to rich, which heeds NO_COLOR and TERM=dumb. It
    would take a pipe for a terminal where FORCE_COLOR is set: a log is no place for a live line.
    """
    if not wanted or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(first)) as status:
        yield lambda event: status.update(Text(told(event)))


def live_line(
    tol: float, *, penalised: bool, wanted: bool
) -> AbstractContextManager[Listener | None]:
    """Show the pass, the objective, the gap and the time left while a fit runs."""
    # The bound is linear in the intercept's gradient and quadratic in the weights'. Where it has
    # come to about the goal's root, a few steps of the intercept alone take it to the goal; without
    # a penalty the gap is an estimate that is quadratic in all.
    estimate = TimeLeft(math.sqrt(tol) if penalised else tol)

    def told(event: Progress) -> str:
        gap = math.inf if event.gap is None else event.gap
        return step_line(event.step, event.value, gap, estimate.seconds(event.seconds, gap))

    return live_text("reading the data once", told, wanted=wanted)


def step_line(passes: int, objective: float, gap: float, left: float | None) -> str:
    """Return what is shown after a pass.

    >>> step_line(7, 0.25, 1e-3, 12.4)
    'pass 7   objective 0.250000   gap 1.0e-03   about 12 s left'
    >>> step_line(9, 0.25, -5e-8, None)
    'pass 9   objective 0.250000   gap at rounding'
    """
    # Near the goal the last steps are few, and of no rate that could be told.
    ending = f"   about {left:.0f} s left" if left is not None and left >= 0.5 else ""
    return f"pass {passes}   objective {objective:.6f}   gap {shown_gap(gap)}{ending}"


def live_sweep(scoring: str, *, wanted: bool) -> AbstractContextManager[Listener | None]:
    """Show the last C that all folds were fitted at."""
    sign = -1 if is_cost(scoring) else 1

    def told(event: Progress) -> str:
        score = f"{name_of_score(scoring)} {sign * event.value:.6f}"
        return f"{event.step} done, of {event.folds} folds each   C {event.C:.3g}   {score}"

    return live_text("reading the data once for each fold", told, wanted=wanted)


def is_cost(scoring: str) -> bool:
    """Tell whether scikit-learn's score is a cost with its sign turned."""
    return scoring.startswith("neg_")


def name_of_score(scoring: str) -> str:
    """Return what is shown of a score, or of the cost whose negative it is.

    >>> name_of_score("neg_log_loss"), name_of_score("neg_brier_score"), name_of_score("accuracy")
    ('cross-entropy in nats', 'brier score', 'accuracy')
    """
    if scoring == "neg_log_loss":
        return "cross-entropy in nats"
    return scoring.removeprefix("neg_").replace("_", " ") if is_cost(scoring) else scoring


class TimeLeft:
    """Seconds until the gap reaches its goal, if it goes on falling at its rate.

    The gap of a convex fit falls about geometrically, in steps of all sizes. So the rate is that of
    the line that fits its logarithm best over the latter two thirds of the time that it fell.
    """

    def __init__(self, goal: float) -> None:
        self._goal = goal
        self._steps: list[tuple[float, float]] = []

    def seconds(self, now: float, gap: float) -> float | None:
        """Note a gap; return the estimate, or None while there is nothing to go by."""
        if not 0 < gap < math.inf:
            return None
        if gap >= 1:  # the bound says nothing yet: the fall begins after it
            self._steps.clear()
        self._steps.append((now, math.log(gap)))
        recent = self._steps[len(self._steps) // 3 :]
        if len(self._steps) < 3:
            return None
        times, logs = np.array(recent).T
        times = times - times.mean()
        spread = float(times @ times)
        slope = float(times @ (logs - logs.mean())) / spread if spread > 0 else 0.0
        if slope >= 0:
            return None
        return max(0.0, (math.log(gap) - math.log(self._goal)) / -slope)
