"""Ask a reader for what a fit asks: an objective's statement, its value, what a solver returns."""

from __future__ import annotations

from typing import Any

from bridle.fit.precision import FLOAT64, Precision
from bridle.fit.problem.objective import Evaluation, Objective, build_objective
from bridle.fit.readers import Reader, reader_of
from bridle.fit.requests import Steps, Values
from bridle.rows import Rows


def stated(
    X: Any,
    target: Any,
    classes: int,
    *,
    sample_weight: Any = None,
    memory_budget: int | None = None,
    **options: Any,
) -> tuple[Objective, Any]:
    """Return an objective and its reader; C is 1, with an intercept, unless told otherwise."""
    rows = X if isinstance(X, Rows) else Rows([X])
    reader = reader_of(rows, target, sample_weight, classes, memory_budget)
    settings = {"C": 1.0, "fit_intercept": True, "standardize": False} | options
    return build_objective(reader, classes, **settings), reader


def evaluated(
    objective: Objective, reader: Reader, parameters: Any, precision: Precision = FLOAT64
) -> Evaluation:
    """Return value and gradient at parameters, from one pass."""
    sums = reader.answer(Values(objective.point(parameters, precision)))
    return objective.evaluation(parameters, sums)


def answered(steps: Steps[Any], reader: Reader) -> Any:
    """Return what a generator of questions returns, each of which a reader answers."""
    answer = None
    while True:
        try:
            answer = reader.answer(steps.send(answer))
        except StopIteration as end:
            return end.value
