"""The last layer of a classifier.

features → scores → probabilities → loss → gradient → fit → judge

The rooms are there after ``import bridle``, each loaded when it is first asked for:

=============== ==================================================================================
room            what is in it
=============== ==================================================================================
`probabilities` scores become probabilities: softmax, sigmoid, their logarithms
`information`   what a probability says: surprisal, entropy, divergence, perplexity
`losses`        losses of class targets, of single answers, of outputs, and their gradients
`linear`        the cross-entropy of a linear head, whose scores are never held
`torch`         the same for tensors under autograd, and modules; needs PyTorch
`fit`           how the last layer's exact optimum is found and proven; reports
`estimators`    the classifiers of scikit-learn's kind, and their files
`networks`      hidden layers: backpropagation, costs, an epoch
`calibrate`     probabilities that come true; `load` reads a model's file, calibrated or not
`judge`         how good answers are: figures, calibration, surprising samples
`data`          files become arrays: `data.load`
`experiments`   what a text on cost functions shows, to be repeated
`report`        a page of an evaluation: `report.page`
`rows`          features in blocks of rows
`progress`      what is told of a fit while it runs
`checks`        the errors, and what raises them
=============== ==================================================================================
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bridle import interruption

if interruption.is_starting_command():
    interruption.leave_at_once()

# What takes its time comes after.
from bridle import information, linear, losses, probabilities
from bridle.checks import InputError, MissingExtraError, TargetRangeError
from bridle.dispatch import takes_tensors
from bridle.linear import linear_cross_entropy_gradient
from bridle.losses import (
    CrossEntropyOutputs,
    binary_cross_entropy_gradient,
    cross_entropy_gradient,
    focal_loss_gradient,
    quadratic_loss_gradient,
)

__version__ = "0.1.0"

__all__ = [
    "CrossEntropyOutputs",
    "Evaluation",
    "FitReport",
    "InputError",
    "MissingExtraError",
    "NetworkClassifier",
    "SoftmaxPath",
    "SoftmaxRegression",
    "SoftmaxRegressionCV",
    "TargetRangeError",
    "binary_cross_entropy",
    "binary_cross_entropy_gradient",
    "compare_models",
    "cross_entropy",
    "cross_entropy_gradient",
    "cross_entropy_of",
    "entropy",
    "evaluate",
    "focal_loss",
    "focal_loss_gradient",
    "kl_divergence",
    "label_errors",
    "likelihood",
    "linear_cross_entropy",
    "linear_cross_entropy_gradient",
    "load",
    "log_likelihood",
    "log_sigmoid",
    "log_softmax",
    "logsumexp",
    "nll",
    "perplexity",
    "predicted_class",
    "quadratic_loss",
    "quadratic_loss_gradient",
    "sigmoid",
    "softmax",
    "softmax_regression_path",
    "surprisal",
]

# The functions that answer tensors too, in PyTorch, once a first tensor is passed.
binary_cross_entropy = takes_tensors(losses.binary_cross_entropy)
cross_entropy = takes_tensors(losses.cross_entropy, inplace=False, group=None, classes=None)
cross_entropy_of = takes_tensors(information.cross_entropy_of)
entropy = takes_tensors(information.entropy)
focal_loss = takes_tensors(losses.focal_loss)
kl_divergence = takes_tensors(information.kl_divergence)
likelihood = takes_tensors(losses.likelihood)
linear_cross_entropy = takes_tensors(
    linear.linear_cross_entropy,
    gradient_filter=None,
    unbiased=True,
    group=None,
    classes=None,
)
log_likelihood = takes_tensors(losses.log_likelihood)
log_sigmoid = takes_tensors(probabilities.log_sigmoid)
log_softmax = takes_tensors(probabilities.log_softmax)
logsumexp = takes_tensors(probabilities.logsumexp)
nll = takes_tensors(losses.nll)
perplexity = takes_tensors(information.perplexity)
predicted_class = takes_tensors(probabilities.predicted_class)
quadratic_loss = takes_tensors(losses.quadratic_loss)
sigmoid = takes_tensors(probabilities.sigmoid)
softmax = takes_tensors(probabilities.softmax)
surprisal = takes_tensors(information.surprisal)

# scikit-learn takes most of a second to import, PyTorch more; a mere loss never waits for them.
_LATE = {
    "Evaluation": "bridle.judge",
    "FitReport": "bridle.fit",
    "NetworkClassifier": "bridle.estimators",
    "SoftmaxPath": "bridle.estimators",
    "SoftmaxRegression": "bridle.estimators",
    "SoftmaxRegressionCV": "bridle.estimators",
    "compare_models": "bridle.judge",
    "evaluate": "bridle.judge",
    "label_errors": "bridle.judge",
    "load": "bridle.calibrate",
    "softmax_regression_path": "bridle.estimators",
}
_LATE_ROOMS = {
    "calibrate",
    "dask",
    "data",
    "estimators",
    "experiments",
    "fit",
    "judge",
    "networks",
    "progress",
    "ranks",
    "report",
    "rows",
    "torch",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    if name in _LATE_ROOMS:
        return import_module(f"bridle.{name}")
    raise AttributeError(f"module 'bridle' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_LATE_ROOMS})
