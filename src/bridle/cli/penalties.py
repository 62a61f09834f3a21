"""``bridle fit --l1-ratio`` and ``--group``: penalties that make weights 0, and what they keep."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bridle import checks
from bridle.cli.messages import one_line
from bridle.estimators import SoftmaxRegression

_WIDTH, _UNBROKEN = 80, "\N{NO-BREAK SPACE}"
_MOST_NAMES = 60  # printed; the files have all


@dataclass(frozen=True)
class Penalty:
    """The options of the penalty, as typed."""

    l1_ratio: str | None
    group: str | None

    @property
    def ratios(self) -> list[float]:
        """Return the shares of L1 to try."""
        if self.l1_ratio is None:
            return [0.0]
        try:
            found = [float(each) for each in self.l1_ratio.split(",")]
        except ValueError:
            raise checks.InputError(
                "--l1-ratio: expected a number in [0, 1], or several with commas between, found "
                f"{self.l1_ratio!r}"
            ) from None
        return sorted({checks.fraction(each, "--l1-ratio") for each in found})

    def check(self, *, has_Cs: bool) -> None:
        """Refuse options before any data are read."""
        ratios = self.ratios
        if len(ratios) > 1 and not has_Cs:
            raise checks.InputError(
                "--l1-ratio: expected one number; folds choose among several with --Cs"
            )
        if self.group is not None:
            checks.one_of(self.group, "--group", ("features",))
            if self.l1_ratio is None or min(ratios) == 0:
                raise checks.InputError("--group: expected with --l1-ratio above 0")


def kept_features(model: SoftmaxRegression) -> list[str] | None:
    """Return what the features are called that have a weight; None where the penalty keeps all."""
    if model.fit_report_.kept_features is None:
        return None
    kept = np.flatnonzero(model.coef_.any(axis=0)).tolist()
    names: Sequence[Any] | None = getattr(model, "feature_names_in_", None)
    return [f"x[{place}]" if names is None else str(names[place]) for place in kept]


def lines(model: SoftmaxRegression) -> Iterator[str]:
    """Yield how many features have weights, and which, in lines of at most 80 columns."""
    kept, report = kept_features(model), model.fit_report_
    if kept is None:
        return
    zero = "" if report.zero_features is None else f"; proven to have none: {report.zero_features}"
    yield f"  features with weights: {len(kept)} of {model.n_features_in_}{zero}"
    shown = [one_line(name) for name in kept[:_MOST_NAMES]]
    if len(kept) > _MOST_NAMES:
        shown.append(f"and {len(kept) - _MOST_NAMES} more")
    # Names are broken between each other only.
    text = ", ".join(name.replace(" ", _UNBROKEN) for name in shown)
    for line in textwrap.wrap(
        text, _WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False
    ):
        yield line.replace(_UNBROKEN, " ")
