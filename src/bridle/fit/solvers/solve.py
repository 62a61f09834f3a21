"""From an objective to its optimum, by the method that suits the features.

Dense features go to L-BFGS in a curvature metric (`quasi_newton`), penalised sparse ones to
Newton's method by conjugate gradients (`newton_cg`), few rows to it in their span (`few_rows`);
small problems, and those where all else has failed, to Newton's method with the whole Hessian, as a
part of the first. Penalties that make weights 0 go to Newton's method on the others
(`sparse_newton`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from bridle.fit import arrays
from bridle.fit.problem.objective import Evaluation, Objective
from bridle.fit.requests import Question, Steps
from bridle.fit.solvers import few_rows, newton_cg, quasi_newton, sparse_newton
from bridle.fit.solvers.remembered_steps import RememberedSteps
from bridle.fit.solvers.watch import AfterPass, Keep, Solution, Watch
from bridle.fit.solvers.whole_hessian import first_choice, last_resort
from bridle.tensors import on_host

Array = npt.NDArray[Any]


class Reader(Protocol):
    """Who answers: see `readers`."""

    def threads(self) -> AbstractContextManager[Any]:
        """Let products have as many threads as suit a fit."""

    def answer_together(self, asked: Sequence[tuple[Any, Question[Any]]]) -> list[Any]:
        """Return the answers to questions of readers that share passes with this one."""


class Task(NamedTuple):
    """An objective to minimise, where to start, and steps remembered from other penalties."""

    objective: Objective
    reader: Reader
    start: Array
    remembered: RememberedSteps | None = None


def solve(
    task: Task,
    *,
    tol: float,
    max_iter: int,
    after_pass: AfterPass | None = None,
    keep: Keep | None = None,
) -> Solution:
    """Minimise an objective until the gap, relative to it, is at most ``tol``.

    An interruption (Ctrl-C) ends it at the best point seen.
    """
    watch = Watch(task.objective, after_pass, keep)
    try:
        with task.reader.threads():
            return _run([task], [_solution_steps(watch, task, tol, max_iter)])[0]
    except KeyboardInterrupt:
        if watch.best is None:
            raise
        return _on_host(watch.solution(watch.best, "interrupted"))


def solve_together(tasks: Sequence[Task], *, tol: float, max_iter: int) -> list[Solution]:
    """Solve problems whose readers share passes, each of which serves all that wait for one."""
    with tasks[0].reader.threads():
        return _run(
            tasks, [_solution_steps(Watch(task.objective), task, tol, max_iter) for task in tasks]
        )


def _run(tasks: Sequence[Task], problems: list[Steps[Solution]]) -> list[Solution]:
    """Answer what is asked, for all problems at once, until each has its solution."""
    solutions: dict[int, Solution] = {}
    answers: dict[int, Any] = dict.fromkeys(range(len(problems)))
    while answers:
        questions: dict[int, Question[Any]] = {}
        for place, answer in answers.items():
            try:
                questions[place] = problems[place].send(answer)
            except StopIteration as end:
                solutions[place] = end.value
        questions_of_readers = [
            (tasks[place].reader, question) for place, question in questions.items()
        ]
        results = tasks[0].reader.answer_together(questions_of_readers)
        answers = dict(zip(questions, results, strict=True))
    return [solutions[place] for place in range(len(problems))]


def _solution_steps(watch: Watch, task: Task, tol: float, max_iter: int) -> Steps[Solution]:
    objective = task.objective
    if objective.classes == 1:
        # One class that counts has probability 1, whatever the weights.
        point = Evaluation(np.zeros(objective.shape), 0.0, 0.0, np.zeros(objective.shape), 0.0)
        return replace(watch.solution(point, "gap", 0.0), proven=True)
    start = _with_class_frequencies(objective, task.start)
    if objective.penalty is not None and objective.penalty.one_vector:
        start = start - start[:, :1]  # the first class has no weights
    start = arrays.on_device_of(start, objective.target_product)
    solution = yield from _minimised(watch, start, task.remembered, tol, max_iter)
    return _on_host(solution)


def _on_host(solution: Solution) -> Solution:
    """Return a solution on the host, wherever it was found."""
    point = replace(
        solution.point,
        parameters=on_host(solution.point.parameters),
        gradient=on_host(solution.point.gradient),
    )
    return replace(solution, point=point)


def _minimised(
    watch: Watch, start: Array, remembered: RememberedSteps | None, tol: float, max_iter: int
) -> Steps[Solution]:
    objective = watch.objective
    if objective.penalty is not None:
        return (yield from sparse_newton.minimise(watch, start, tol=tol, max_iter=max_iter))
    if few_rows.serves(objective):
        remembered = RememberedSteps() if remembered is None else remembered
        ended, remembered.gram = yield from few_rows.minimise(
            watch, start, tol=tol, max_iter=max_iter, gram=remembered.gram
        )
        if isinstance(ended, Solution):
            return ended
        start = ended.parameters
    if not objective.facts.is_sparse or objective.alpha == 0 or first_choice(objective):
        return (
            yield from quasi_newton.minimise(
                watch, start, tol=tol, max_iter=max_iter, remembered=remembered
            )
        )
    solution = yield from newton_cg.minimise(watch, start, tol=tol, max_iter=max_iter)
    if solution.stopped == "gap" or not last_resort(objective):
        return solution
    start = solution.point.parameters
    return (yield from quasi_newton.minimise(watch, start, tol=tol, max_iter=max_iter))


def _with_class_frequencies(objective: Objective, start: Array) -> Array:
    """Return the start; where all weights are 0, with the intercept that is optimal for them."""
    if not objective.fit_intercept or start.any():
        return start
    start = start.copy()
    # It gives the classes' frequencies.
    start[-1] = np.log(np.maximum(objective.target_mean, np.finfo(np.float64).tiny))
    start[-1] -= start[-1].mean()
    return start
