"""Train a network on samples as they are in a file, whatever their units."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.cli.messages import about, tell_user
from bridle.cli.network_options import NetworkOptions, in_flags
from bridle.cli.sampling import Samples
from bridle.data import Dataset
from bridle.networks import Epoch, NetworkClassifier, compiled, settings
from bridle.networks.costs import COSTS, USUAL_OUTPUT
from bridle.networks.progress import line
from bridle.networks.samples import dense
from bridle.networks.training import Watch, sparing_the_compiler
from bridle.rows import Rows

Array = npt.NDArray[Any]

_USUAL_COST = {"sigmoid": "cross_entropy", "softmax": "log_likelihood"}


class Units(NamedTuple):
    """``(x − mean) / scale`` of the features has about unit size, as a network wants it."""

    mean: Array
    scale: Array

    def of(self, features: Rows) -> Array:
        """Return the features in these units."""
        values = dense(features)
        return np.asarray(
            (values - self.mean.astype(values.dtype)) / self.scale.astype(values.dtype)
        )


def units_of(features: Rows, dataset: Dataset, standardize: bool | None) -> Units:
    """Return the units: 0 to 1 for pixels, mean 0 and deviation 1 else, unless told."""
    values, width = dense(features), features.shape[1]
    if standardize is None and dataset.pixels:
        return Units(np.zeros(width), np.full(width, 255.0))
    if standardize is False:
        return Units(np.zeros(width), np.ones(width))
    scale = values.std(axis=0, dtype=np.float64)
    return Units(values.mean(axis=0, dtype=np.float64), np.where(scale > 0, scale, 1.0))


def classifier(options: NetworkOptions) -> NetworkClassifier:
    """Return an untrained network; a cost or an output left open follows the other."""
    cost = options.cost or _USUAL_COST.get(options.output or "softmax", "log_likelihood")
    checks.one_of(cost, "--cost", COSTS)
    options.check_seed()
    model = NetworkClassifier(
        options.hidden_sizes(),
        activation=options.activation,
        output=options.output or USUAL_OUTPUT[cost],
        cost=cost,
        alpha=options.alpha,
        l1_ratio=options.l1_ratio,
        learning_rate=options.learning_rate,
        batch_size=options.batch_size,
        max_epochs=options.epochs,
        momentum=options.momentum,
        solver=options.solver,
        init=options.init,
        random_state=options.seed,
    )
    with in_flags():
        settings.plan(model, has_validation=True)
    return model


def trained(
    model: NetworkClassifier,
    train: Samples,
    judged: Samples,
    units: Units,
    watch: list[Watch],
    *,
    wanted: bool,
) -> NetworkClassifier:
    """Train in those units, judging after each epoch; then answer for features as they are."""
    with in_flags(), about(train.source), told_of_compiling(wanted=wanted), sparing_the_compiler():
        model.fit(
            units.of(train.features),
            train.target,
            validation=(units.of(judged.features), judged.target),
            watch=watch,
        )
    _fold_in(units, model)
    return model


def _fold_in(units: Units, model: NetworkClassifier) -> None:
    weights = [weight.astype(np.float64) for weight in model.coefs_]
    biases = [bias.astype(np.float64) for bias in model.intercepts_]
    weights[0] = weights[0] / units.scale[:, None]
    biases[0] = biases[0] - units.mean @ weights[0]
    model.coefs_, model.intercepts_ = weights, biases


@contextmanager
def told_of_compiling(*, wanted: bool) -> Iterator[None]:
    """Say what is going on while the first training on a machine waits for its compiler."""
    log = logging.getLogger(compiled.__name__)
    handler, level = _ToUser(), log.level
    if wanted:
        log.addHandler(handler)
        log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


class _ToUser(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        tell_user(record.getMessage())


@contextmanager
def live_epochs(label: str, *, wanted: bool) -> Iterator[list[Watch]]:
    """Show the last epoch while a network trains, on a terminal only."""
    if not wanted or not sys.stderr.isatty():
        yield []
        return
    from rich.console import Console

    with Console(stderr=True).status(label) as status:

        def show(epoch: Epoch) -> None:
            status.update(f"{label}   {line(epoch)}")

        yield [show]
