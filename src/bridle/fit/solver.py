"""From an objective to its optimum, by the method that suits the features.

Dense features go to L-BFGS in a curvature metric (`quasi_newton`), penalised sparse ones to
Newton's method by conjugate gradients (`newton`); small problems of both kinds, and those where all
else has failed, to Newton's method with the whole Hessian, as a part of the first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.fit import newton, quasi_newton
from bridle.fit.hessian import first_choice, last_resort
from bridle.fit.memory import Memory
from bridle.fit.objective import Objective
from bridle.fit.threads import threads_for
from bridle.fit.watch import Keep, Progress, Solution, Watch

Array = npt.NDArray[Any]


def solve(
    objective: Objective,
    start: Array,
    *,
    tol: float,
    max_iter: int,
    progress: Progress | None = None,
    keep: Keep | None = None,
    memory: Memory | None = None,
) -> Solution:
    """Minimise ``objective`` from ``start`` until the gap, relative to it, is at most ``tol``.

    ``memory`` is what a solution at another strength of the penalty has taught. An interruption
    (Ctrl-C) ends it at the best point seen.
    """
    watch = Watch(objective, progress, keep)
    try:
        with threads_for(objective):
            return _solve(watch, _informed(objective, start), tol, max_iter, memory)
    except KeyboardInterrupt:
        if watch.best is None:
            raise
        return watch.solution(watch.best, "interrupted")


def _solve(
    watch: Watch, start: Array, tol: float, max_iter: int, memory: Memory | None
) -> Solution:
    objective = watch.objective
    if objective.sparse is None or objective.alpha == 0 or first_choice(objective):
        return quasi_newton.minimise(watch, start, tol=tol, max_iter=max_iter, memory=memory)
    found = newton.minimise(watch, start, tol=tol, max_iter=max_iter)
    if found.stopped == "gap" or not last_resort(objective):
        return found
    return quasi_newton.minimise(watch, found.point.parameters, tol=tol, max_iter=max_iter)


def _informed(objective: Objective, start: Array) -> Array:
    """Return the start; without weights, with the intercept that is best for none."""
    if not objective.fit_intercept or start.any():
        return start
    start = start.copy()
    # It gives the classes' frequencies.
    start[-1] = np.log(np.maximum(objective.target_mean, np.finfo(np.float64).tiny))
    start[-1] -= start[-1].mean()
    return start
