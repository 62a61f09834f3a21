"""What is known about a fit when it ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from bridle import strict_json

if TYPE_CHECKING:
    from bridle.fit.requests import Separation
    from bridle.fit.solvers.watch import Solution

Array = npt.NDArray[Any]
Stopped = Literal[
    "gap", "decrement", "separable", "quasi-separable", "precision", "max_iter", "interrupted"
]


_LONGEST_HISTORY = 100


@dataclass(frozen=True)
class Pass:
    """What was known after a pass over the data: the lowest objective so far, and its gap.

    ``relative_gap`` bounds how far that is above the optimum, as a share of it; of a fit without a
    penalty it is estimated, and infinite while nothing is known.
    """

    passes: int
    objective: float
    relative_gap: float


@dataclass(frozen=True)
class FitReport:
    """How a fit ended, and how close to the optimum it is.

    Attributes
    ----------
    objective : float
        Mean cross-entropy in nats plus penalty, ``‖W‖² / (2 C Σ sample_weight)``.
    loss : float
        The mean cross-entropy alone.
    gradient_norm : float
        Euclidean norm of the objective's gradient, in the coordinates of the fit (centred, and
        scaled if standardised).
    relative_gap : float
        A bound on ``(objective − optimum) / optimum``; see `proven`.
    proven : bool
        True: the bound is a duality gap, and holds whatever the data. False: it is estimated from
        the last step's expected decrease, because there is no penalty, hence no dual point, or one
        so weak that rounding leaves the bound loose.
    iterations, passes : int
        Steps of the solver; sweeps over the data, those for statistics and line searches included.
    seconds : float
        Wall-clock time of the fit.
    stopped : str
        ``"gap"``: the proven gap is at most `tol`; ``"decrement"``: the estimate is;
        ``"separable"``: the classes are separated perfectly and there is no penalty, so there is
        no optimum; ``"quasi-separable"``: so are some of their samples, see `separation`;
        ``"precision"``: rounding forbids more progress; ``"max_iter"``; ``"interrupted"``: by
        Ctrl-C, at the best point seen.
    separation : str or None
        Of a quasi-separable fit: two classes, and the direction along which one is separated from
        the other, by its leading features.
    kept_features, zero_features : int or None
        Of a penalty that makes weights 0: the features that have a weight, and those of which the
        gap proves that they have none at the optimum, whatever it is. The others have none here.
    streamed_to : str or None
        The device to which the features went from the host in each pass, block by block; None
        where they lay where the products were made.
    history : tuple of Pass
        How the optimum was reached: ``passes``, ``objective`` and ``relative_gap``, after some 100
        of the passes at most, the first and the last among them.

    Examples
    --------
    >>> from bridle import SoftmaxRegression
    >>> report = SoftmaxRegression().fit([[0.0], [1.0], [2.0]], [0, 1, 1]).fit_report_
    >>> report.stopped, report.proven, report.relative_gap <= 1e-6
    ('gap', True, True)
    """

    objective: float
    loss: float
    gradient_norm: float
    relative_gap: float
    proven: bool
    iterations: int
    passes: int
    seconds: float
    stopped: Stopped
    separation: str | None = None
    kept_features: int | None = None
    zero_features: int | None = None
    streamed_to: str | None = None
    history: tuple[Pass, ...] = field(default=(), repr=False)

    @classmethod
    def of(
        cls,
        solution: Solution,
        seconds: float,
        classes: Array,
        names: list[str] | None = None,
        *,
        streamed_to: str | None,
    ) -> FitReport:
        """Return the report of what a solver ended with; features may have names."""
        point, separation = solution.point, solution.separation
        lower_bound = point.value - solution.gap
        return cls(
            objective=point.value,
            loss=point.loss,
            gradient_norm=float(np.linalg.norm(point.gradient)),
            relative_gap=solution.gap / lower_bound
            if lower_bound > 0
            else np.inf
            if solution.gap
            else 0.0,
            proven=solution.proven,
            iterations=solution.iterations,
            passes=solution.passes,
            seconds=seconds,
            stopped=solution.stopped,
            separation=None if separation is None else _description(separation, classes, names),
            kept_features=solution.kept_features,
            zero_features=solution.zero_features,
            streamed_to=streamed_to,
            history=_some(solution.history),
        )

    @property
    def separable(self) -> bool:
        """True if the data were found to be separable, at least in part, without a penalty."""
        return self.stopped in ("separable", "quasi-separable")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields in JSON's own types; an unknown gap is the string ``"Infinity"``."""
        return dict(strict_json.plain(self))

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> FitReport:
        """Return the report whose `to_dict` that was."""
        history = tuple(Pass(**_with_infinities(each)) for each in plain["history"])
        return cls(**{**_with_infinities(plain), "history": history})


def _with_infinities(plain: dict[str, Any]) -> dict[str, Any]:
    return {name: float(each) if each == "Infinity" else each for name, each in plain.items()}


def _some(history: tuple[Pass, ...]) -> tuple[Pass, ...]:
    """Return passes spread evenly over a long history, its ends among them."""
    if len(history) <= _LONGEST_HISTORY:
        return history
    places = np.linspace(0, len(history) - 1, _LONGEST_HISTORY).round().astype(int)
    return tuple(history[place] for place in places)


def _description(separation: Separation, classes: Array, names: list[str] | None) -> str:
    """Return the two classes, and the features that the direction is mostly made of."""
    size = np.abs(separation.importance)
    counted = np.argsort(-size, kind="stable")[: int((size > 1e-3 * size.max(initial=0)).sum())]
    leading = counted[:3]
    direction = separation.direction / np.abs(separation.direction[leading]).max(initial=1e-300)
    terms = [
        f"{direction[place]:+.2g}·{names[place] if names else f'x[{place}]'}" for place in leading
    ]
    more = " …" if len(counted) > len(leading) else ""
    first, second = (classes[place] for place in separation.classes)
    return (
        f"class {first!s} from class {second!s} along {' '.join(terms)}{more}, for "
        f"{separation.separated} of {separation.count} samples"
    )
