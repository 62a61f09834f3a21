"""What folds say of the samples that they have not learnt from, for whoever needs it of a fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import PredefinedSplit

from bridle import checks
from bridle.cli.messages import about
from bridle.cli.sampling import Samples
from bridle.cli.splitting import fold_of_rows
from bridle.data import files
from bridle.estimators import SoftmaxRegression, SoftmaxRegressionCV
from bridle.estimators.cross_validation import search_at

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class HeldOut:
    """What folds say of each training sample, none of which has learnt from it."""

    folds: int
    classes: list[Any]
    log_probabilities: Array  # (N, K)
    labels: Array  # (N,)


def check(option: str, samples: Samples) -> None:
    """Refuse samples of which folds could not be made, before the fit rather than after it."""
    if samples.target.ndim != 1:
        raise checks.InputError(f"{option}: expected one label a sample, found distributions")
    classes, counts = np.unique(samples.target, return_counts=True)
    if counts.min() < 2:
        alone = files.quoted(classes[counts.argmin()])
        raise checks.InputError(
            f"{option}: {samples.source}: class {alone} has 1 sample to learn from, and the fold "
            "that holds it out has nothing to learn it from; add samples of the class, merge it "
            "with another or leave it out"
        )


def held_out(
    model: SoftmaxRegression, search: SoftmaxRegressionCV | None, samples: Samples, folds: int
) -> HeldOut:
    """Return what folds at the settings of a model say.

    Those of the search that its C was chosen by are not fitted again.
    """
    with about(samples.source):
        if search is None:
            splits = PredefinedSplit(fold_of_rows(samples.target, folds))
            search = search_at(model, splits).fit(samples.features, samples.target)
        answers = search.out_of_fold_log_proba(samples.features)
    return HeldOut(len(search.folds_), search.classes_.tolist(), answers, samples.target)
