"""``bridle fit --calibrate``: a calibrator of what folds say, kept with the model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bridle.calibrate import CalibratedClassifier, Calibrator, TemperatureScaling, create
from bridle.cli import before_and_after
from bridle.cli.folds import HeldOut
from bridle.cli.outputs import Model
from bridle.estimators import SoftmaxRegression


@dataclass(frozen=True)
class Calibration:
    """A calibrator that was fitted to answers of folds, or why there is none."""

    method: str
    calibrator: Calibrator | None = None
    folds: int | None = None
    why_not: str | None = None

    def applied_to(self, model: SoftmaxRegression) -> Model:
        """Return the calibrated model; the model itself where nothing could be calibrated."""
        if self.calibrator is None or self.why_not is not None:
            return model
        return CalibratedClassifier.joined(model, self.calibrator, self.folds)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures of ``metrics.json`` that are known before anything is judged."""
        known = {} if self.calibrator is None else before_and_after.proof(self.calibrator)
        return {"method": self.method, "folds": self.folds, "why_not": self.why_not, **known}

    def lines(self) -> Iterator[str]:
        """Yield what is printed, in 80 columns."""
        yield ""
        if self.why_not is not None:
            yield f"not calibrated: {self.why_not}"
            return
        yield f"calibrated ({self.method}) by what {self.folds} folds say that have not learnt it"
        found = None if self.calibrator is None else before_and_after.temperature(self.calibrator)
        if found is not None:
            yield f"  {found}"


def calibration(method: str, held_out: HeldOut) -> Calibration:
    """Fit a calibrator to what folds say.

    A temperature of 0 or ∞ would leave nothing of the scores: then the model stays as it is.
    """
    target = np.searchsorted(held_out.classes, held_out.labels)
    calibrator = create(method).fit(held_out.log_probabilities, target)
    why_not = None
    if isinstance(calibrator, TemperatureScaling):
        if calibrator.temperature_ == 0:
            why_not = "every answer of the folds is right; no mistake tells how sure to be"
        elif math.isinf(calibrator.temperature_):
            why_not = "the answers of the folds tell nothing of the labels, or the opposite"
    return Calibration(method, calibrator, held_out.folds, why_not)
