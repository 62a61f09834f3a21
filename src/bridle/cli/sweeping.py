"""``bridle fit --Cs``: the strength of the penalty by cross-validation, and its table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import get_scorer_names
from sklearn.model_selection import PredefinedSplit

from bridle import checks
from bridle.cli.messages import about
from bridle.cli.penalties import Penalty
from bridle.cli.progress import is_cost, live_sweep, name_of_score
from bridle.cli.sampling import Samples
from bridle.estimators import SoftmaxRegression, SoftmaxRegressionCV
from bridle.estimators.path import PRESETS
from bridle.rows import Features

Array = npt.NDArray[Any]


SUMMED_SCORE = "neg_log_loss"  # which is a sum over rows, wherever they are


@dataclass(frozen=True)
class Sweep:
    """The options of a choice among several ``C``."""

    Cs: str
    cv: int
    scoring: str

    def values(self) -> str | list[float]:
        """Return the strengths as the library takes them."""
        if self.Cs in PRESETS:
            return self.Cs
        try:
            values = [float(value) for value in self.Cs.split(",")]
        except ValueError:
            names = ", ".join(sorted(PRESETS))
            raise checks.InputError(
                f"--Cs: expected numbers with commas between, or one of {names}, found {self.Cs!r}"
            ) from None
        return [checks.positive(value, "--Cs", infinite=True) for value in values]

    def check(self, *, in_one_process: bool) -> None:
        """Refuse options before any data are read."""
        self.values()
        if not in_one_process and self.scoring != SUMMED_SCORE:
            raise checks.InputError(
                f"--scoring: expected {SUMMED_SCORE} where the samples lie with several processes: "
                f"other scores need all answers in one; found {self.scoring!r}"
            )
        if self.scoring not in get_scorer_names():
            raise checks.InputError(
                f"--scoring: expected neg_log_loss, accuracy or another of scikit-learn's scores, "
                f"found {self.scoring!r}"
            )


@dataclass(frozen=True)
class Chosen:
    """The classifier at the best ``C`` and share of L1, and what all of them scored."""

    model: SoftmaxRegression
    scores: list[dict[str, float]]  # of each C; where several shares of L1 were tried, of each
    scoring: str
    folds: int
    search: SoftmaxRegressionCV

    def to_dict(self) -> dict[str, Any]:
        """Return the table in JSON's types."""
        return {"scoring": self.scoring, "folds": self.folds, "scores": self.scores}

    def lines(self) -> Iterator[str]:
        """Yield the table, with the best marked, and what is to be said of it."""
        sign, what = 1, self.scoring
        if is_cost(what):
            # Everything else that is printed is a cost in nats: so is this, not its negative.
            sign, what = -1, f"{name_of_score(what)} (-{what}"
        ending, several = (")" if sign < 0 else ""), len(self.search.l1_ratios_) > 1
        what = f"{what}, mean of {self.folds} folds ± deviation{ending}"
        if several:
            yield from (what, f"{'l1 ratio':>10}{'C':>10}")
        else:
            yield f"{'C':>10}   {what}"
        for row in self.scores:
            is_chosen = (row["l1_ratio"], row["C"]) == (self.model.l1_ratio, self.model.C)
            mark = "   chosen" if is_chosen else ""
            ratio = f"{row['l1_ratio']:>10.3g}" if several else ""
            score = f"{sign * row['mean']:.6f} ± {row['deviation']:.6f}"
            yield f"{ratio}{row['C']:>10.3g}   {score}{mark}"
        ends = self.search.Cs_[0], self.search.Cs_[-1]
        if len(self.search.Cs_) > 1 and self.model.C in ends:
            yield f"the best C, {self.model.C:g}, is at an end of what was tried: try beyond"


def chosen(
    sweep: Sweep, X: Features, train: Samples, folds: Array, *, standardize: bool | float,
    penalty: Penalty, tol: float, timeout: float, wanted: bool,
) -> Chosen:  # fmt: skip
    """Fit every fold at every ``C``, and all training samples at the best.

    ``X`` are the features of ``train``, wherever they lie; ``folds`` are the numbers of those that
    hold out each sample.
    """
    search = SoftmaxRegressionCV(
        sweep.values(),
        cv=PredefinedSplit(folds),
        scoring=sweep.scoring,
        l1_ratios=penalty.ratios,
        group=penalty.group,
        standardize=standardize,
        tol=tol,
    )
    with about(train.source), live_sweep(sweep.scoring, wanted=wanted) as progress:
        search.fit(X, train.target, progress=progress, timeout=timeout)
    rows = [
        {
            "C": C,
            "l1_ratio": ratio,
            "mean": float(search.scores_[:, at, place].mean()),
            "deviation": float(search.scores_[:, at, place].std()),
        }
        for at, ratio in enumerate(search.l1_ratios_.tolist())
        for place, C in enumerate(search.Cs_.tolist())
        if not np.isnan(search.scores_[:, at, place]).any()
    ]
    return Chosen(search.best_estimator_, rows, sweep.scoring, len(search.scores_), search)
