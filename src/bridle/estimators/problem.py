"""A fit's problem, at any strength of its penalty: what all fits to an optimum begin with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy.typing as npt

from bridle import checks
from bridle.fit.problem.layout import Layout
from bridle.fit.problem.objective import Objective, build_objective
from bridle.fit.problem.targets import FitTarget
from bridle.fit.readers import Reader, reader_of
from bridle.rows import Rows

Array = npt.NDArray[Any]


class Problem(NamedTuple):
    """An objective without its ``C``, and who reads the rows that it is a sum over."""

    reader: Reader
    objective: Objective  # of some strength
    classes: Array  # those that are fitted: they have weight
    layout: Layout

    def at(self, C: float) -> Objective:
        """Return the objective of a strength, as the parameters tell it."""
        strength = self.layout.strength(C)
        return replace(self.objective, alpha=1.0 / (strength * self.objective.total_weight))


def problem_of(
    features: Rows,
    found: FitTarget,
    *,
    fit_intercept: bool,
    standardize: bool | float,
    symmetric: bool,
    memory_budget: int | None,
) -> Problem:
    """Leave out the classes without weight, and read the statistics of the others' rows."""
    layout = Layout(found.counted, checks.flag(symmetric, "symmetric"))
    counted = found.without(~layout.counted)
    reader = reader_of(
        features,
        counted.target,
        counted.sample_weight,
        len(counted.classes),
        checks.memory_budget(memory_budget),
    )
    objective = build_objective(
        reader,
        len(counted.classes),
        C=1.0,
        fit_intercept=fit_intercept,
        standardize=checks.flag_or_positive(standardize, "standardize"),
    )
    return Problem(reader, objective, counted.classes, layout)
