"""The last layer of a classifier.

features → scores → probabilities → loss → gradient → fit → judge
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bridle.checks import InputError, MissingExtraError, TargetRangeError
from bridle.information import cross_entropy_of, entropy, kl_divergence, perplexity, surprisal
from bridle.losses import (
    binary_cross_entropy,
    binary_cross_entropy_gradient,
    cross_entropy,
    cross_entropy_gradient,
    likelihood,
    log_likelihood,
    nll,
    quadratic_loss,
    quadratic_loss_gradient,
)
from bridle.probabilities import (
    log_sigmoid,
    log_softmax,
    logsumexp,
    predicted_class,
    sigmoid,
    softmax,
)

if TYPE_CHECKING:
    from bridle.fit import SoftmaxRegression
    from bridle.judge import evaluate

__version__ = "0.1.0"

__all__ = [
    "InputError",
    "MissingExtraError",
    "SoftmaxRegression",
    "TargetRangeError",
    "binary_cross_entropy",
    "binary_cross_entropy_gradient",
    "cross_entropy",
    "cross_entropy_gradient",
    "cross_entropy_of",
    "entropy",
    "evaluate",
    "kl_divergence",
    "likelihood",
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
    "surprisal",
]

# scikit-learn takes most of a second to import; who only wants a loss never waits for it.
_LATE = {"SoftmaxRegression": "bridle.fit", "evaluate": "bridle.judge"}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module 'bridle' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
