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
    all_classes: Array
    layout: Layout

    def at(self, C: float) -> Objective:
        """Return the objective of a strength, as the parameters tell it."""
        strength = self.layout.strength(C)
        return replace(self.objective, alpha=1.0 / (strength * self.objective.total_weight))


class OwnRows(NamedTuple):
    """The rows that a process has, and what is known of all before any is read."""

    reader: Reader  # of these rows, or of all
    classes: Array  # those that are fitted: they have weight
    all_classes: Array
    layout: Layout

    def problem(self, *, fit_intercept: bool, standardize: bool | float) -> Problem:
        """State the problem, for which the reader tells the statistics."""
        objective = build_objective(
            self.reader,
            len(self.classes),
            C=1.0,
            fit_intercept=fit_intercept,
            standardize=checks.flag_or_positive(standardize, "standardize"),
        )
        return Problem(self.reader, objective, self.classes, self.all_classes, self.layout)


def own_rows(
    features: Rows,
    found: FitTarget,
    *,
    symmetric: bool,
    memory_budget: int | None,
    first_row: int = 0,
    beside: Reader | None = None,
) -> OwnRows:
    """Leave out the classes without weight; ``beside`` is a reader of the same features."""
    layout = Layout(found.counted, checks.flag(symmetric, "symmetric"))
    counted = found.without(~layout.counted)
    reader = reader_of(
        features,
        counted.target,
        counted.sample_weight,
        len(counted.classes),
        checks.memory_budget(memory_budget),
        first_row=first_row,
        beside=beside,
    )
    return OwnRows(reader, counted.classes, found.classes, layout)


def problem_of(
    features: Rows,
    found: FitTarget,
    *,
    fit_intercept: bool,
    standardize: bool | float,
    symmetric: bool,
    memory_budget: int | None,
) -> Problem:
    """State the problem of rows that all are here."""
    own = own_rows(features, found, symmetric=symmetric, memory_budget=memory_budget)
    return own.problem(fit_intercept=fit_intercept, standardize=standardize)
