"""What is known of a fit while it runs: its best point, its bound, and who is told of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.fit.problem.gap import duality_gap
from bridle.fit.problem.objective import Evaluation, Objective
from bridle.fit.problem.penalty_gap import dual_point, proven_zero
from bridle.fit.report import Pass, Stopped
from bridle.fit.requests import Separation

Array = npt.NDArray[Any]
# (passes, lowest objective, bound on its relative gap), after each pass
AfterPass = Callable[[int, float, float], None]
Keep = Callable[[Array], None]  # the best parameters, after each pass that found better ones


@dataclass(frozen=True)
class Solution:
    """Where the solver ended, and what is known of that point."""

    point: Evaluation
    gap: float  # absolute; a proven bound if `proven`
    proven: bool
    iterations: int
    passes: int
    stopped: Stopped
    separation: Separation | None = None  # why there is no optimum
    # Of a penalty that makes weights 0: how many features have one, and how many are proven to have
    # none at the optimum.
    kept_features: int | None = None
    zero_features: int | None = None
    history: tuple[Pass, ...] = ()


class Watch:
    """Counts passes, remembers the best point, and tells of them."""

    def __init__(
        self, objective: Objective, after_pass: AfterPass | None = None, keep: Keep | None = None
    ) -> None:
        self.objective = objective
        self.passes = 1  # the statistics were the first
        self.iteration = 0
        self.best: Evaluation | None = None
        self.estimate = np.inf  # of the gap, where there is no bound
        self.history: list[Pass] = []
        self._lower_bound = 0.0  # no objective is below
        self._bounded: tuple[Evaluation, float] | None = None  # the last point, and its gap
        self._after_pass, self._keep = after_pass, keep

    def record(self, point: Evaluation) -> Evaluation:
        """Take note of a point after a pass, and return it."""
        if self.best is None or point.value < self.best.value:
            self.best = point
            if self._keep is not None:
                self._keep(point.parameters)
        self._lower_bound = max(self._lower_bound, point.value - self.gap(point))
        lowest = self.best.value
        gap = lowest - self._lower_bound if self.objective.is_penalised else self.estimate
        relative = gap / lowest if lowest else 0.0
        self.history.append(Pass(self.passes, lowest, float(relative)))
        if self._after_pass is not None:
            self._after_pass(self.passes, lowest, relative)
        return point

    def gap(self, point: Evaluation) -> float:
        """Return the `duality_gap` of a point; of the one that was asked about last, again."""
        if self._bounded is None or self._bounded[0] is not point:
            self._bounded = point, duality_gap(self.objective, point)
        return self._bounded[1]

    def solution(self, point: Evaluation, stopped: Stopped, gap: float | None = None) -> Solution:
        """Return what the fit ended with: a bound on its gap, or an estimate without a penalty."""
        bound = self.gap(point) if gap is None else gap
        # A penalty that leaves features free bounds nothing where these have no optimum.
        proven = self.objective.is_penalised and bool(np.isfinite(bound))
        kept, zero = feature_counts(self.objective, point)
        return Solution(
            point,
            bound,
            proven,
            self.iteration,
            self.passes,
            stopped,
            history=tuple(self.history),
            kept_features=kept,
            zero_features=zero,
        )


def feature_counts(objective: Objective, point: Evaluation) -> tuple[int | None, int | None]:
    """Return how many features have weights, and how many are proven to have none.

    None where the penalty makes no weight 0.
    """
    penalty = objective.penalty
    if penalty is None or not penalty.has_cost:
        return None, None
    weight, _ = objective.split(point.parameters)
    if objective.classes == 1:  # which has probability 1 without any
        return 0, len(weight)
    zero = proven_zero(objective, dual_point(objective, point))
    return int(np.count_nonzero(weight.any(axis=1))), int(np.count_nonzero(zero))
