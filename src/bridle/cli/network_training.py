"""Train a network on samples as they are in a file, whatever their units."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

import numpy as np

from bridle import checks
from bridle.cli.flag_names import in_flags
from bridle.cli.messages import about, tell_user
from bridle.cli.options.network import NetworkOptions
from bridle.cli.progress import live_text
from bridle.cli.sampling import Samples
from bridle.data import Dataset
from bridle.estimators import NetworkClassifier, network_settings
from bridle.networks import compiled
from bridle.networks.costs import COSTS, USUAL_OUTPUT
from bridle.networks.samples import numbers
from bridle.networks.training import sparing_the_compiler
from bridle.networks.units import Standardize, standard
from bridle.progress import Listener
from bridle.rows import Rows

_USUAL_COST = {"sigmoid": "cross_entropy", "softmax": "log_likelihood"}

_STANDARD, _OF_SIZE_1 = "mean 0, deviation 1", "root mean square 1"
_AS_THEY_ARE = "as they are"


class Units(NamedTuple):
    """What a network learns features in, and how a report says it."""

    standardize: Standardize
    description: str
    # The option that gives other units, where the user has said nothing.
    otherwise: str = ""

    @property
    def line(self) -> str:
        """What a report says of them, in 80 columns."""
        otherwise = f" ({self.otherwise})" if self.otherwise else ""
        return f"  features: {self.description}{otherwise}"


def units_of(features: Rows, dataset: Dataset, standardize: bool | None) -> Units:
    """Return the units: 0 to 1 for pixels, mean 0 and deviation 1 else, unless told.

    Words are as they are; if told to scale them, and in sparse files, a column is divided by its
    root mean square and not centred, which would make it dense. What stands before the words was
    dense in the table, and is centred.
    """
    if standardize is False:
        return Units(False, _AS_THEY_ARE)
    if standardize is None and dataset.pixels:
        return Units(255.0, "pixels as 0 to 1", f"--standardize: {_STANDARD}")
    if dataset.reading.texts and features.is_sparse:
        return _beside_words(features, dataset, scale_words=standardize is True)
    otherwise = "" if standardize else f"--no-standardize: {_AS_THEY_ARE}"
    return Units(True, _OF_SIZE_1 if features.is_sparse else _STANDARD, otherwise)


def _beside_words(features: Rows, dataset: Dataset, *, scale_words: bool) -> Units:
    """Return the units of numbers that stand before words, and of the words."""
    values, width = numbers(features), features.shape[1]
    others = width - sum(len(each.words) for each in dataset.reading.texts)
    left = standard(values[:, :others].toarray())
    words = np.ones(width - others)
    if scale_words:
        words = standard(values[:, others:]).scale
    pair = np.append(left.shift, np.zeros(len(words))), np.append(left.scale, words)
    described = f"words {_OF_SIZE_1 if scale_words else _AS_THEY_ARE}"
    if others:
        described += f", others {_STANDARD}"
    elif not scale_words:
        described = _AS_THEY_ARE
    if scale_words:
        return Units(pair, described)
    return Units(pair, described, f"--standardize: {'all' if others else _OF_SIZE_1}")


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
    progress: Listener | None,
    *,
    wanted: bool,
) -> NetworkClassifier:
    """Train, judging after each epoch."""
    with in_flags(), about(train.source), told_of_compiling(wanted=wanted), sparing_the_compiler():
        validation = judged.features, judged.target
        return model.fit(train.features, train.target, validation=validation, progress=progress)


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


def live_epochs(label: str, *, wanted: bool) -> AbstractContextManager[Listener | None]:
    """Show the last epoch while a network trains, on a terminal only."""
    return live_text(label, lambda event: f"{label}   {event.line()}", wanted=wanted)
