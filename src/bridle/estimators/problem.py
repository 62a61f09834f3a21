"""A fit's problem, at any strength of its penalty: what all fits to an optimum begin with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.fit.problem.layout import Layout
from bridle.fit.problem.objective import Objective, build_objective
from bridle.fit.problem.penalty import PenaltyKind
from bridle.fit.problem.targets import FitTarget
from bridle.fit.readers import Reader, reader_of
from bridle.rows import Rows
from bridle.tensors import on_host

Array = npt.NDArray[Any]


class Problem(NamedTuple):
    """An objective without its ``C``, and who reads the rows that it is a sum over."""

    reader: Reader
    objective: Objective  # of some strength
    classes: Array  # those that are fitted: they have weight
    all_classes: Array
    layout: Layout
    penalty: PenaltyKind = PenaltyKind()

    def at(self, C: float) -> Objective:
        """Return the objective of a strength, as the parameters tell it."""
        objective = self.objective
        if self.penalty.is_square or np.isinf(C):
            strength = self.layout.strength(C)
            return replace(objective, alpha=1.0 / (strength * objective.total_weight))
        one_vector = self.layout.one_vector
        strength = 1.0 / (C * objective.total_weight)
        width = objective.facts.width
        return replace(
            objective,
            alpha=0.0,
            # Solved on the host, wherever the rows are.
            target_product=on_host(objective.target_product),
            penalty=self.penalty.of_strength(strength, width, one_vector=one_vector),
        )

    def strongest(self) -> float:
        """Return the largest C at which the penalty holds all weights at 0.

        There the intercept gives the classes' frequencies, and the gradient is what the statistics
        tell.
        """
        objective = self.at(1.0)
        penalty = objective.penalty
        assert penalty is not None
        offset = np.zeros(objective.shape)
        if objective.fit_intercept:
            offset[-1] = np.log(objective.target_mean)
        slope, _ = objective.split(objective.without_weights(offset).gradient)
        needed = penalty.dual_lengths(slope) / (penalty.l1 * penalty.factors)
        most = float(needed.max(initial=0.0))
        if not most > np.finfo(np.float64).tiny:
            raise checks.InputError.of(
                "Cs",
                expected="numbers, where no feature has to do with the classes",
                found="a count",
            )
        return 1.0 / most


class OwnRows(NamedTuple):
    """The rows that a process has, and what is known of all before any is read."""

    reader: Reader  # of these rows, or of all
    classes: Array  # those that are fitted: they have weight
    all_classes: Array
    layout: Layout

    def problem(
        self,
        *,
        fit_intercept: bool,
        standardize: bool | float,
        penalty: PenaltyKind = PenaltyKind(),  # noqa: B008  # is immutable
    ) -> Problem:
        """State the problem, for which the reader tells the statistics."""
        width = self.reader.facts.width
        if penalty.factors is not None and len(penalty.factors) != width:
            raise checks.InputError.of(
                "penalty_weight",
                expected=f"a number for each of {width} features",
                found=len(penalty.factors),
            )
        objective = build_objective(
            self.reader,
            len(self.classes),
            C=1.0,
            fit_intercept=fit_intercept,
            standardize=checks.flag_or_positive(standardize, "standardize"),
            scales=penalty.scales,
        )
        return Problem(self.reader, objective, self.classes, self.all_classes, self.layout, penalty)

    def problems(
        self,
        kinds: Mapping[float, PenaltyKind],
        *,
        fit_intercept: bool,
        standardize: bool | float,
    ) -> dict[float, Problem]:
        """State the problem with each of several penalties, of which most share the statistics."""
        found: dict[float, Problem] = {}
        shared: Problem | None = None
        for ratio, kind in kinds.items():
            if shared is not None and kind.scales is None:
                found[ratio] = shared._replace(penalty=kind)
                continue
            found[ratio] = self.problem(
                fit_intercept=fit_intercept, standardize=standardize, penalty=kind
            )
            if kind.scales is None:
                shared = found[ratio]
        return found


def penalty_kind(
    l1_ratio: float, group: str | None, penalty_weight: npt.ArrayLike | None
) -> PenaltyKind:
    """Return what is penalised, as parameters tell it.

    Raises
    ------
    InputError
        A share of L1 outside [0, 1], a group of another name or without L1, or weights below 0.
    """
    share = checks.fraction(l1_ratio, "l1_ratio")
    if group is not None:
        checks.one_of(group, "group", ("features",))
        if share == 0:
            raise checks.InputError.of("group", expected="l1_ratio above 0 with it", found="0")
    factors = None
    if penalty_weight is not None:
        factors = checks.costs(penalty_weight, "penalty_weight")
    return PenaltyKind(share, group is not None, factors)


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
