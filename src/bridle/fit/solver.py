"""From an objective to its optimum, by the method that suits the features.

Dense features go to L-BFGS in a curvature metric (`quasi_newton`), penalised sparse ones to
Newton's method by conjugate gradients (`newton`); small problems of both kinds, and those where all
else has failed, to Newton's method with the whole Hessian, as a part of the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle.fit import arrays, few_rows, newton, quasi_newton
from bridle.fit.hessian import first_choice, last_resort
from bridle.fit.memory import Memory
from bridle.fit.objective import Asked, Evaluation, Objective, evaluate_together
from bridle.fit.quasi_newton import Steps
from bridle.fit.threads import threads_for
from bridle.fit.watch import Keep, Progress, Solution, Watch
from bridle.rows import on_host

Array = npt.NDArray[Any]


class Task(NamedTuple):
    """An objective to minimise, from where, and what solutions of others have taught."""

    objective: Objective
    start: Array
    memory: Memory | None = None


def solve(
    objective: Objective,
    start: Array,
    *,
    tol: float,
    max_iter: int,
    progress: Progress | None = None,
    keep: Keep | None = None,
) -> Solution:
    """Minimise ``objective`` from ``start`` until the gap, relative to it, is at most ``tol``.

    An interruption (Ctrl-C) ends it at the best point seen.
    """
    watch = Watch(objective, progress, keep)
    try:
        with threads_for(objective):
            return _run([_steps(watch, Task(objective, start), tol, max_iter)])[0]
    except KeyboardInterrupt:
        if watch.best is None:
            raise
        return _on_host(watch.solution(watch.best, "interrupted"))


def solve_together(tasks: Sequence[Task], *, tol: float, max_iter: int) -> list[Solution]:
    """Solve problems with the same features, each pass over which serves all that wait for one."""
    with threads_for(tasks[0].objective):
        return _run([_steps(Watch(task.objective), task, tol, max_iter) for task in tasks])


def _run(problems: list[Steps[Solution]]) -> list[Solution]:
    """Answer what is asked, for all problems at once, until each has its solution."""
    solutions: dict[int, Solution] = {}
    answers: dict[int, Evaluation | None] = dict.fromkeys(range(len(problems)))
    while answers:
        asked: dict[int, Asked] = {}
        for place, answer in answers.items():
            try:
                asked[place] = problems[place].send(answer)  # type: ignore[arg-type] # begins by None
            except StopIteration as end:
                solutions[place] = end.value
        answers = dict(zip(asked, evaluate_together(list(asked.values())), strict=True))
    return [solutions[place] for place in range(len(problems))]


def _steps(watch: Watch, task: Task, tol: float, max_iter: int) -> Steps[Solution]:
    objective = task.objective
    if objective.classes == 1:
        # One class that counts has probability 1, whatever the weights.
        point = Evaluation(np.zeros(objective.shape), 0.0, 0.0, np.zeros(objective.shape), 0.0)
        return replace(watch.solution(point, "gap", 0.0), proven=True)
    start = arrays.beside(_informed(objective, task.start), objective.target_product)
    found = yield from _minimised(watch, start, task.memory, tol, max_iter)
    return _on_host(found)


def _on_host(found: Solution) -> Solution:
    """Return a solution on the host, wherever it was found."""
    point = replace(
        found.point,
        parameters=on_host(found.point.parameters),
        gradient=on_host(found.point.gradient),
    )
    return replace(found, point=point)


def _minimised(
    watch: Watch, start: Array, memory: Memory | None, tol: float, max_iter: int
) -> Steps[Solution]:
    objective = watch.objective
    if few_rows.serves(objective):
        memory = Memory() if memory is None else memory
        if memory.gram is None:
            memory.gram = few_rows.gram_matrix(objective)
        gram = memory.gram
        ended = yield from few_rows.minimise(watch, start, tol=tol, max_iter=max_iter, gram=gram)
        if isinstance(ended, Solution):
            return ended
        start = ended.parameters
    if objective.sparse is None or objective.alpha == 0 or first_choice(objective):
        return (
            yield from quasi_newton.minimise(
                watch, start, tol=tol, max_iter=max_iter, memory=memory
            )
        )
    found = newton.minimise(watch, start, tol=tol, max_iter=max_iter)
    if found.stopped == "gap" or not last_resort(objective):
        return found
    start = found.point.parameters
    return (yield from quasi_newton.minimise(watch, start, tol=tol, max_iter=max_iter))


def _informed(objective: Objective, start: Array) -> Array:
    """Return the start; without weights, with the intercept that is best for none."""
    if not objective.fit_intercept or start.any():
        return start
    start = start.copy()
    # It gives the classes' frequencies.
    start[-1] = np.log(np.maximum(objective.target_mean, np.finfo(np.float64).tiny))
    start[-1] -= start[-1].mean()
    return start
