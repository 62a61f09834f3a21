"""Points that a solver evaluates, in arithmetic that gets finer on the way."""

from __future__ import annotations

from typing import Any

from bridle.fit import arrays
from bridle.fit.precision import Precision, ladder
from bridle.fit.problem.objective import Evaluation
from bridle.fit.requests import Steps, Values, ask
from bridle.fit.solvers.watch import Watch

Array = Any  # NumPy's, or tensors where the features are: see `arrays`


class Passes:
    """Evaluates the objective in the precision in use."""

    def __init__(self, watch: Watch) -> None:
        self.objective = watch.objective
        self.watch = watch
        facts = watch.objective.facts
        self._precisions = list(ladder(facts.dtype, arrays.device_of(facts.like)))

    @property
    def precision(self) -> Precision:
        """The arithmetic of the next pass."""
        return self._precisions[0]

    def evaluate(self, parameters: Array) -> Steps[Evaluation]:
        """Return value and gradient."""
        self.watch.passes += 1
        point = self.objective.point(parameters, self.precision)
        sums = yield from ask(Values(point))
        return self.watch.record(self.objective.evaluation(parameters, sums))

    def begin(self, start: Array) -> Steps[Evaluation]:
        """Return the start's value and gradient, for which no pass is needed without weights."""
        weight, _ = self.objective.split(start)
        if bool((weight != 0).any()):
            return (yield from self.evaluate(start))
        return self.watch.record(self.objective.without_weights(start))

    def raise_precision(self) -> bool:
        """Go on in the next finer arithmetic; False if it was the finest already."""
        if len(self._precisions) == 1:
            return False
        del self._precisions[0]
        return True
