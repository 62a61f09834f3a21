"""A classifier's parameters and arguments, checked, in the terms of the training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bridle import checks
from bridle.networks import backpropagation, parameters, training
from bridle.networks.compiled import Kind
from bridle.networks.epoch import SOLVERS, Rule
from bridle.networks.units import Standardize

if TYPE_CHECKING:
    from bridle.estimators.network_classifier import NetworkClassifier

_PATIENCE = 10


@dataclass(frozen=True)
class Checked:
    """The parameters that do not depend on the data."""

    kind: Kind
    hidden_layer_sizes: tuple[int, ...]
    solver: str
    learning_rate: float
    momentum: float
    batch_size: int
    patience: int
    tol: float | None

    def of_targets(self, *, multilabel: bool) -> Checked:
        """Return the same for one label a sample or for several, which softmax cannot tell."""
        if multilabel and self.kind.output != "sigmoid":
            raise checks.InputError.of(
                "output",
                expected="'sigmoid' for several labels a sample (multilabel)",
                found=repr(self.kind.output),
            )
        return replace(self, kind=self.kind._replace(multilabel=multilabel))

    def training(
        self,
        sizes: tuple[int, ...],
        epochs: int,
        count: int,
        first: int = 1,
        *,
        to_the_end: bool = False,
    ) -> training.Plan:
        """Return the plan for so many samples; ``to_the_end`` of all epochs, whatever the tol."""
        batch_size = min(self.batch_size, count)
        rule = Rule(self.solver, self.learning_rate, self.momentum, batch_size)
        tol = None if to_the_end else self.tol
        return training.Plan(self.kind, sizes, rule, epochs, self.patience, first, tol)


def plan(model: NetworkClassifier, *, has_validation: bool) -> Checked:
    """Check the parameters of a classifier."""
    kind = Kind(
        model.activation,
        model.output,
        model.cost,
        checks.at_least_zero(model.alpha, "alpha"),
        checks.fraction(model.l1_ratio, "l1_ratio"),
    )
    backpropagation.network(*kind)
    checks.one_of(model.solver, "solver", SOLVERS)
    checks.one_of(model.init, "init", parameters.INITS)
    checks.count(model.max_epochs, "max_epochs")
    share = checks.fraction(model.validation_fraction, "validation_fraction")
    momentum = checks.fraction(model.momentum, "momentum")
    if momentum == 1 or share == 1:
        name = "momentum" if momentum == 1 else "validation_fraction"
        raise checks.InputError.of(name, expected="a number below 1", found="1")
    if model.early_stopping and share == 0 and not has_validation:
        raise checks.InputError(
            "early_stopping: expected validation_fraction above 0, or validation samples",
            argument="early_stopping",
            expected="validation_fraction above 0, or validation samples",
            found=repr(model.early_stopping),
        )
    return Checked(
        kind=kind,
        hidden_layer_sizes=_hidden(model.hidden_layer_sizes),
        solver=model.solver,
        learning_rate=checks.positive(model.learning_rate, "learning_rate"),
        momentum=momentum,
        batch_size=checks.count(model.batch_size, "batch_size"),
        patience=_patience(model.early_stopping),
        tol=None if model.tol is None else checks.at_least_zero(model.tol, "tol"),
    )


def standardize_in_parts(model: NetworkClassifier) -> Standardize:
    """Return what features that come in parts are standardised by, told beforehand."""
    if model.standardize is True:
        raise checks.InputError.of(
            "standardize",
            expected="False, a number or (shift, scale) in partial_fit, which has not all samples",
            found="True",
        )
    return model.standardize


def _hidden(sizes: Sequence[int] | int) -> tuple[int, ...]:
    given = [sizes] if isinstance(sizes, int | np.integer) else list(sizes)
    return tuple(int(checks.count(size, "hidden_layer_sizes")) for size in given)


def _patience(early_stopping: bool | int) -> int:
    if isinstance(early_stopping, bool | np.bool_):
        return _PATIENCE if early_stopping else 0
    return checks.count(early_stopping, "early_stopping")
