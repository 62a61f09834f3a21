"""From an objective to its optimum, by the method that suits the features.

Dense features go to L-BFGS in a curvature metric (`quasi_newton`), penalised sparse ones to
Newton's method by conjugate gradients (`newton`); small problems of both kinds, and those where all
else has failed, to Newton's method with the whole Hessian, as a part of the first.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from bridle.fit import newton, quasi_newton
from bridle.fit.hessian import SINGLE_THREADED, first_choice, last_resort, tiny
from bridle.fit.memory import Memory
from bridle.fit.objective import Objective
from bridle.fit.watch import Keep, Progress, Solution, Watch

Array = npt.NDArray[Any]

# Below so many multiplications a product gains nothing from a second thread.
_THREADED_PRODUCT = 2**23


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
        with _threads_for(objective):
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


def _threads_for(objective: Objective) -> AbstractContextManager[Any]:
    """Keep the products of a small problem on one thread, and what few a sparse one has.

    A small product is done before a second thread has begun, and on a busy machine the first would
    wait for it ten times as long as the product takes. Beside sparse kernels the library's threads
    would keep a core busy with waiting.
    """
    count, width = objective.features.shape
    multiplications = count * width * objective.classes
    if not objective.features.is_sparse and multiplications >= _THREADED_PRODUCT:
        return nullcontext()
    if multiplications < SINGLE_THREADED and tiny(objective):
        return nullcontext()  # and looking for the libraries would take longer than the fit
    return cast(AbstractContextManager[Any], _threadpools().limit(limits=1, user_api="blas"))


@cache
def _threadpools() -> ThreadpoolController:
    return ThreadpoolController()
