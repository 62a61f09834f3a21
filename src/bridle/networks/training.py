"""Epoch after epoch: order, figures, early stopping."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import ThreadpoolController

from bridle import checks
from bridle.kernels import thresholds
from bridle.networks import backpropagation, parameters
from bridle.networks.compiled import Kind, compiled_epoch, prepare
from bridle.networks.epoch import Figures, Rule, Samples, State, plain_epoch, target_rows
from bridle.networks.samples import take
from bridle.progress import Epoch, Reporter

Array = npt.NDArray[Any]


_compiler_is_spared: ContextVar[bool] = ContextVar("compiler_is_spared", default=False)
# Epochs in a row without a lower cost that end a training with a `tol`.
_UNCHANGED = 10


@dataclass(frozen=True)
class Plan:
    """What is trained, how, and for how long."""

    kind: Kind
    sizes: tuple[int, ...]
    rule: Rule
    max_epochs: int
    patience: int  # epochs without a lower validation cost; 0: no early stopping
    first_epoch: int = 1
    tol: float | None = None  # by how much a training cost is lower; None: all epochs are run


def train(
    plan: Plan,
    samples: Samples,
    validation: Samples | None,
    state: State,
    random: np.random.RandomState,
    reporter: Reporter,
    wants_end: Callable[[], bool] | None = None,
) -> list[Epoch]:
    """Train in place; with early stopping, end at the weights of the best epoch.

    ``wants_end`` is asked after each epoch, if it is there.

    With a ``tol``, the training ends when the cost has not fallen by more than that below its
    lowest for ten epochs; if the epochs run out before, a `ConvergenceWarning` says so.

    Raises
    ------
    InputError
        Weights that grow beyond all numbers, under too high a learning rate.
    """
    history: list[Epoch] = []
    best: tuple[float, int, Array] | None = None
    standstill = _Standstill(plan.tol)
    plain = _compiler_is_spared.get() and is_small(plan, samples)
    run = plain_epoch_of if plain else compiled_epoch
    if run is compiled_epoch:
        prepare(plan.sizes, samples, state)
    # The products of a batch are done before a second thread of the library has begun.
    with _threadpools().limit(limits=1, user_api="blas"):
        for number in range(plan.first_epoch, plan.first_epoch + plan.max_epochs):
            found = _epoch(plan, number, samples, validation, state, random, run)
            history.append(found)
            reporter.after_epoch(found)
            is_told_to_end = wants_end is not None and wants_end()
            if plan.patience and found.validation_cost is not None:
                if best is None or found.validation_cost < best[0]:
                    best = (found.validation_cost, number, state.vector.copy())
                elif number - best[1] >= plan.patience:
                    break
            if standstill.is_reached(found.cost) or is_told_to_end:
                break
        else:
            if plan.tol is not None:
                checks.warn(
                    f"max_epochs={plan.max_epochs} reached while the cost still fell by more than "
                    f"tol={plan.tol:g} in {_UNCHANGED} epochs; choose more epochs or a larger tol",
                    ConvergenceWarning,
                )
    if best is not None:
        state.vector[...] = best[2]
    return history


@contextmanager
def sparing_the_compiler() -> Iterator[None]:
    """Train in NumPy where that takes less than a second: for a process of one training.

    To compile would take ten times as long, and to load what was compiled half a second. It is the
    size that decides, not what happens to be compiled: the same command gives the same bits.
    """
    before = _compiler_is_spared.set(True)
    try:
        yield
    finally:
        _compiler_is_spared.reset(before)


def is_small(plan: Plan, samples: Samples) -> bool:
    """Tell whether NumPy trains in less than a second."""
    count, weights = len(samples.weight), parameters.count(plan.sizes)
    batches = -(-count // plan.rule.batch_size)
    products = count * weights
    if sparse.issparse(samples.features):
        # Of the features only what is stored is multiplied, but every step is one of all weights.
        first = samples.features.nnz * plan.sizes[1]
        steps = batches * weights * thresholds.NETWORK_PRODUCTS_A_WEIGHT
        products = first + count * parameters.count(plan.sizes[1:]) + steps
    epoch = batches * thresholds.NETWORK_PRODUCTS_A_BATCH + products
    return plan.max_epochs * epoch <= thresholds.NETWORK_PLAIN_PRODUCTS


def plain_epoch_of(kind: Kind, sizes: tuple[int, ...], *arguments: Any) -> Figures:
    """Do what `compiled_epoch` does, in NumPy."""
    return plain_epoch(backpropagation.network(*kind), sizes, *arguments)


class _Standstill:
    """Tells when the training cost no longer falls, as scikit-learn's `MLPClassifier` does."""

    def __init__(self, tol: float | None) -> None:
        self._tol, self._lowest, self._epochs = tol, math.inf, 0

    def is_reached(self, cost: float) -> bool:
        """Tell it of an epoch's cost."""
        if self._tol is None:
            return False
        self._epochs = 0 if cost < self._lowest - self._tol else self._epochs + 1
        self._lowest = min(self._lowest, cost)
        return self._epochs >= _UNCHANGED


def judge(plan: Plan, samples: Samples, vector: Array) -> tuple[float, float]:
    """Return the mean cost, without penalty, and the accuracy."""
    net = backpropagation.network(*plan.kind)
    layers = parameters.layers(vector, plan.sizes)
    sums = np.zeros(2)
    for start in range(0, len(samples.weight), thresholds.NETWORK_JUDGED_ROWS):
        rows = np.arange(start, min(start + thresholds.NETWORK_JUDGED_ROWS, len(samples.weight)))
        target, weight = target_rows(samples, rows, plan.sizes[-1]), samples.weight[rows]
        seen = backpropagation.forward(net, layers, samples.features[rows])
        costs = net.last.cost(seen.scores, seen.activations[-1], target)
        correct = backpropagation.correct(net, seen.scores, target)
        sums += [weight @ costs, weight @ correct]
    cost, accuracy = (sums / samples.weight.sum(dtype=np.float64)).tolist()
    return cost, accuracy


def warn_of_divergence(plan: Plan, samples: Samples, start: float, end: float) -> None:
    """Warn where a training has ended above where it began, and above what a guess costs.

    The guess is that of a network whose weights are all 0. Early stopping has gone back to better
    weights, and there is nothing to warn of.
    """
    if plan.patience or end <= start:
        return
    few = take(samples, np.arange(min(len(samples.weight), thresholds.NETWORK_JUDGED_ROWS)))
    guess, _ = judge(plan, few, np.zeros(parameters.count(plan.sizes), few.features.dtype))
    if end > guess:
        checks.warn(
            f"the training diverged: its mean cost began at {start:.3g} and ended at {end:.3g}, "
            f"where a guess costs {guess:.3g}; choose a lower learning_rate, or scale the features",
            ConvergenceWarning,
        )


def _epoch(
    plan: Plan,
    number: int,
    samples: Samples,
    validation: Samples | None,
    state: State,
    random: np.random.RandomState,
    run: Callable[..., Figures],
) -> Epoch:
    started = time.perf_counter()
    order = random.permutation(len(samples.weight))
    figures = run(plan.kind, plan.sizes, samples, order, plan.rule, state)
    if not (np.isfinite(figures.cost) and np.isfinite(state.vector).all()):
        raise checks.InputError(
            f"learning_rate: {plan.rule.learning_rate:g} made the weights grow beyond all numbers "
            f"in epoch {number}; choose a lower one, or scale the features",
            argument="learning_rate",
            expected="a lower one",
            found=f"{plan.rule.learning_rate:g}",
        )
    judged = (None, None) if validation is None else judge(plan, validation, state.vector)
    return Epoch(
        epoch=number,
        cost=figures.cost,
        accuracy=figures.accuracy,
        validation_cost=judged[0],
        validation_accuracy=judged[1],
        gradient_norms=figures.gradient_norms,
        output_derivative=figures.output_derivative,
        seconds=time.perf_counter() - started,
    )


@cache
def _threadpools() -> ThreadpoolController:
    return ThreadpoolController()
