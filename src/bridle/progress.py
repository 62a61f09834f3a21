"""What is told of a fit while it runs: one event for each step, whatever is fitted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

# What a gap is known to, relative to the objective: float64 sums tell no less.
_ROUNDING = 1e-15


@dataclass(frozen=True)
class Epoch:
    """What an epoch showed.

    Attributes
    ----------
    epoch : int
        1 for the first.
    cost, accuracy : float
        Means over the training samples, each taken before the update of its own batch; the cost is
        without penalty.
    validation_cost, validation_accuracy : float or None
        Means over the validation samples at the epoch's end; None if there are none.
    gradient_norms : tuple of float
        For each layer the Euclidean norm of the objective's gradient by its weights and biases:
        root mean square over the batches.
    output_derivative : float
        Mean σ′ of the output layer, ``a (1 − a)``, over the training samples: near 0, the outputs
        are saturated.
    seconds : float
        Time of the epoch, validation included.
    """

    epoch: int
    cost: float
    accuracy: float
    validation_cost: float | None
    validation_accuracy: float | None
    gradient_norms: tuple[float, ...]
    output_derivative: float
    seconds: float


@dataclass(frozen=True)
class Progress:
    """How far a fit has come.

    Attributes
    ----------
    unit : {"pass", "C", "epoch"}
        What a step is: a pass over the data in a fit to the optimum, a value of ``C`` that all
        folds of a cross-validation were fitted at, an epoch of a network.
    step : int
        How many of them are done; of epochs the number of the last one.
    value : float
        After a pass the lowest objective so far; after a ``C`` the mean of its scores over the
        folds; after an epoch the mean cost of the training samples.
    seconds : float
        Since the fit began.
    gap : float or None
        After a pass, a bound on the gap between the value and the optimum, relative to the value:
        infinite while nothing is known, and at rounding not always above 0.
    C, folds : float, int or None
        After a ``C``, which one it was, and how many folds there are.
    epoch : Epoch or None
        After an epoch, all its figures.

    Examples
    --------
    >>> from bridle import SoftmaxRegression
    >>> told = []
    >>> model = SoftmaxRegression().fit([[0.0], [1.0], [2.0]], [0, 1, 1], progress=told.append)
    >>> told[-1].unit, told[-1].step == model.fit_report_.passes, told[-1].gap <= 1e-6
    ('pass', True, True)
    """

    unit: Literal["pass", "C", "epoch"]
    step: int
    value: float
    seconds: float
    gap: float | None = None
    C: float | None = None
    folds: int | None = None
    epoch: Epoch | None = None

    def line(self) -> str:
        """Return the figures to follow a fit by.

        >>> Progress("pass", 7, 0.25, 1.5, gap=1e-3).line()
        'pass    7   objective 0.250000000   gap 1.00e-03   1.5 s'
        """
        return f"{self._figures()}   {self.seconds:.1f} s"

    def _figures(self) -> str:
        if self.epoch is not None:
            return f"epoch {self.step:3d}   {_of_epoch(self.epoch)}"
        if self.C is not None:
            score = f"mean score {self.value:.6f} of {self.folds} folds"
            return f"{self.step:3d}   C {self.C:.3g}   {score}"
        gap = shown_gap(math.inf if self.gap is None else self.gap, digits=2)
        return f"pass {self.step:4d}   objective {self.value:.9f}   gap {gap}"


Listener = Callable[[Progress], object]


class Reporter:
    """Tells of each step whoever asked to hear of it, with the time since the fit began.

    That is the caller's ``progress``, and, where the estimator is ``verbose``, a printed line.
    """

    def __init__(self, progress: Listener | None = None, *, verbose: bool | int = False) -> None:
        self._listeners = [] if progress is None else [progress]
        if verbose:
            self._listeners.insert(0, _print_line)
        self.started = time.perf_counter()

    @property
    def is_heard(self) -> bool:
        """Whether anyone listens: else there is no need to work out what would be told."""
        return bool(self._listeners)

    @property
    def seconds(self) -> float:
        """Time since the fit began."""
        return time.perf_counter() - self.started

    def after_pass(self, passes: int, objective: float, gap: float) -> None:
        """Tell of a pass over the data."""
        self._tell(Progress("pass", passes, objective, self.seconds, gap=gap))

    def after_strength(self, done: int, folds: int, C: float, score: float) -> None:
        """Tell of a ``C`` that all folds were fitted at."""
        self._tell(Progress("C", done, score, self.seconds, C=C, folds=folds))

    def after_epoch(self, epoch: Epoch) -> None:
        """Tell of an epoch."""
        self._tell(Progress("epoch", epoch.epoch, epoch.cost, self.seconds, epoch=epoch))

    def _tell(self, event: Progress) -> None:
        for listener in self._listeners:
            listener(event)


def shown_gap(relative_gap: float, digits: int = 1) -> str:
    """Return a relative gap in words; one that rounding makes, negative ones too, as that.

    >>> shown_gap(1e-3), shown_gap(-5e-8), shown_gap(float("inf"))
    ('1.0e-03', 'at rounding', 'unknown')
    """
    if not math.isfinite(relative_gap):
        return "unknown"
    return f"{relative_gap:.{digits}e}" if relative_gap > _ROUNDING else "at rounding"


def _of_epoch(epoch: Epoch) -> str:
    text = f"cost {epoch.cost:.4f}   accuracy {epoch.accuracy:.4f}"
    if epoch.validation_cost is not None:
        text += f"   held out: cost {epoch.validation_cost:.4f}"
        text += f"   accuracy {epoch.validation_accuracy:.4f}"
    return text


def _print_line(event: Progress) -> None:
    print(event.line(), flush=True)
