"""Train a network on samples as they are in a file, whatever their units."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bridle import checks
from bridle.cli.flag_names import in_flags
from bridle.cli.messages import about, tell_user
from bridle.cli.options.network import NetworkOptions
from bridle.cli.sampling import Samples
from bridle.data import Dataset
from bridle.estimators import NetworkClassifier, network_settings
from bridle.networks import compiled
from bridle.networks.costs import COSTS, USUAL_OUTPUT
from bridle.networks.samples import numbers
from bridle.networks.training import sparing_the_compiler
from bridle.progress import Listener, Progress
from bridle.rows import Features, Rows

Array = npt.NDArray[Any]

_USUAL_COST = {"sigmoid": "cross_entropy", "softmax": "log_likelihood"}

_STANDARD, _OF_SIZE_1 = "mean 0, deviation 1", "root mean square 1"
_AS_THEY_ARE = "as they are"


class Units(NamedTuple):
    """``(x − mean) / scale`` of the features has about unit size, as a network wants it.

    Sparse features stay sparse: the mean is 0 but for what stands before the words of texts, which
    was dense in the table.
    """

    mean: Array
    scale: Array
    description: str = _AS_THEY_ARE
    # The option that gives other units, where the user has said nothing.
    otherwise: str = ""

    @property
    def line(self) -> str:
        """What a report says of them, in 80 columns."""
        otherwise = f" ({self.otherwise})" if self.otherwise else ""
        return f"  features: {self.description}{otherwise}"

    def of(self, features: Rows) -> Features:
        """Return the features in these units."""
        values = numbers(features)
        if not sparse.issparse(values):
            return self._of_dense(values)
        centred = int(np.flatnonzero(self.mean).max(initial=-1)) + 1
        left = Units(self.mean[:centred], self.scale[:centred])
        right = values[:, centred:]
        right.data = right.data / self.scale[centred:].astype(values.dtype)[right.indices]
        dense = left._of_dense(values[:, :centred].toarray())
        return sparse.hstack([sparse.csr_array(dense), right], format="csr")

    def _of_dense(self, values: Array) -> Array:
        return np.asarray(
            (values - self.mean.astype(values.dtype)) / self.scale.astype(values.dtype)
        )


def units_of(features: Rows, dataset: Dataset, standardize: bool | None) -> Units:
    """Return the units: 0 to 1 for pixels, mean 0 and deviation 1 else, unless told.

    Words are as they are; if told to scale them, and in sparse files, a column is divided by its
    root mean square and not centred, which would make it dense.
    """
    values, width = numbers(features), features.shape[1]
    if standardize is None:
        return _usual(values, dataset, width)
    if standardize is False:
        return Units(np.zeros(width), np.ones(width))
    return _scaled(values, dataset, width, words_too=True)


def _usual(values: Features, dataset: Dataset, width: int) -> Units:
    """Return the units where the user has said nothing, with the option that gives others."""
    if dataset.pixels:
        otherwise = f"--standardize: {_STANDARD}"
        return Units(np.zeros(width), np.full(width, 255.0), "pixels as 0 to 1", otherwise)
    found = _scaled(values, dataset, width, words_too=False)
    if not dataset.reading.texts:
        return found._replace(otherwise=f"--no-standardize: {_AS_THEY_ARE}")
    alone = found.description == _AS_THEY_ARE
    return found._replace(otherwise=f"--standardize: {_OF_SIZE_1 if alone else 'all'}")


def _scaled(values: Features, dataset: Dataset, width: int, *, words_too: bool) -> Units:
    if not sparse.issparse(values):
        return _standard(values)
    words = sum(len(each.words) for each in dataset.reading.texts)
    left = _standard(values[:, : width - words if words else 0].toarray())
    right = values[:, len(left.mean) :]
    as_they_are = bool(words) and not words_too
    scale = np.ones(words) if as_they_are else _root_mean_square(right)
    return Units(
        np.append(left.mean, np.zeros(len(scale))),
        np.append(left.scale, scale),
        _described(words, width, as_they_are=as_they_are),
    )


def _described(words: int, width: int, *, as_they_are: bool) -> str:
    """Return what the units of sparse features are, of which the last may be words."""
    if not words:
        return _OF_SIZE_1
    others = "" if words == width else f", others {_STANDARD}"
    if as_they_are:
        return f"words {_AS_THEY_ARE}{others}" if others else _AS_THEY_ARE
    return f"words {_OF_SIZE_1}{others}"


def _standard(values: Array) -> Units:
    """Return the units in which mean is 0 and deviation 1; a constant column is 0 in them."""
    mean, scale = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
    # Rounding leaves a constant a deviation, and a mean that is not quite the constant.
    constant = values.min(axis=0) == values.max(axis=0)
    mean[constant], scale[constant] = values[0, constant], 1.0
    return Units(mean, np.where(scale > 0, scale, 1.0), _STANDARD)


def _root_mean_square(values: Features) -> Array:
    squares = np.bincount(
        values.indices, weights=values.data.astype(np.float64) ** 2, minlength=values.shape[1]
    )
    return np.where(squares > 0, np.sqrt(squares / values.shape[0]), 1.0)


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
        # A matrix of targets in a file is of distributions, even if all of them are 0 and 1.
        multilabel=False,
        random_state=options.seed,
    )
    with in_flags():
        network_settings.plan(model, has_validation=True)
    return model


def trained(
    model: NetworkClassifier,
    train: Samples,
    judged: Samples,
    units: Units,
    progress: Listener | None,
    *,
    wanted: bool,
) -> NetworkClassifier:
    """Train in those units, judging after each epoch; then answer for features as they are."""
    with in_flags(), about(train.source), told_of_compiling(wanted=wanted), sparing_the_compiler():
        model.fit(
            units.of(train.features),
            train.target,
            validation=(units.of(judged.features), judged.target),
            progress=progress,
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
def live_epochs(label: str, *, wanted: bool) -> Iterator[Listener | None]:
    """Show the last epoch while a network trains, on a terminal only."""
    if not wanted or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    with Console(stderr=True).status(label) as status:

        def show(event: Progress) -> None:
            status.update(f"{label}   {event.line()}")

        yield show
