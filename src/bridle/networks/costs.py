r"""What the last layer is, what a wrong answer costs, and the error that it sends back.

For outputs ``a`` of weighted inputs ``z``, and a target ``y`` that is a distribution over the K
classes, per sample:

============== ======= ============================ =============================
cost           output  C                            δ^L = ∂C/∂z
============== ======= ============================ =============================
quadratic      sigmoid ½ Σ (a − y)²                 (a − y) · σ′(z)
quadratic      softmax ½ Σ (a − y)²                 a · ((a − y) − Σ a (a − y))
cross_entropy  sigmoid −Σ [y ln a + (1−y) ln(1−a)]  a − y
log_likelihood softmax −Σ y ln a                    a − y
============== ======= ============================ =============================

The first is small wherever the output is saturated, however wrong it is: σ′(z) = a (1 − a). In the
last two that factor has gone. Costs are taken from ``z``, where an ``a`` of 0 or 1 has not yet lost
what it was rounded from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle import checks, probabilities

Array = npt.NDArray[Any]

OUTPUTS = ("sigmoid", "softmax")
COSTS = ("quadratic", "cross_entropy", "log_likelihood")

# The output that each cost was made for.
USUAL_OUTPUT = {
    "quadratic": "sigmoid",
    "cross_entropy": "sigmoid",
    "log_likelihood": "softmax",
}

_WITHOUT_MEANING = {
    ("softmax", "cross_entropy"): (
        "cross_entropy takes each output for a yes or no of its own, and those of softmax share "
        "one sum; the cross-entropy of softmax is cost='log_likelihood'"
    ),
    ("sigmoid", "log_likelihood"): (
        "log_likelihood looks at the target's output alone, and nothing would hold down the other "
        "sigmoids: all of them at 1 cost nothing; take cost='cross_entropy' or output='softmax'"
    ),
}


class LastLayer(NamedTuple):
    """An output with its cost; all take and return arrays (B, K), ``cost`` returns (B,)."""

    output: Callable[[Array], Array]  # z → a
    cost: Callable[[Array, Array, Array], Array]  # z, a, y → C of each sample
    error: Callable[[Array, Array], Array]  # a, y → δ^L


def last_layer(output: str, cost: str) -> LastLayer:
    """Return the pair, or refuse it with the reason.

    Raises
    ------
    InputError
        An unknown name, or a cost that has no meaning for the output.
    """
    checks.one_of(output, "output", OUTPUTS)
    checks.one_of(cost, "cost", COSTS)
    if (output, cost) in _WITHOUT_MEANING:
        reason = _WITHOUT_MEANING[output, cost]
        raise checks.InputError(
            f"cost: {cost!r} has no meaning for output={output!r}: {reason}",
            argument="cost",
            expected=f"a cost for output={output!r}",
            found=repr(cost),
        )
    return _PAIRS[output, cost]


def output_derivative(a: Array) -> Array:
    """Return ``∂a_k/∂z_k = a_k (1 − a_k)``, the same for both outputs: σ′ of each unit."""
    return np.asarray(a * (1 - a))


def _softmax(z: Array) -> Array:
    return np.asarray(probabilities.softmax(z))


def _quadratic(_z: Array, a: Array, y: Array) -> Array:
    return np.asarray(0.5 * ((a - y) ** 2).sum(axis=1))


def _cross_entropy(z: Array, _a: Array, y: Array) -> Array:
    # −ln σ(z) and −ln(1 − σ(z)) = −ln σ(−z).
    likely = y * probabilities.log_sigmoid(z) + (1 - y) * probabilities.log_sigmoid(-z)
    return np.asarray(-likely.sum(axis=1))


def _log_likelihood(z: Array, _a: Array, y: Array) -> Array:
    return np.asarray(-(y * probabilities.log_softmax(z)).sum(axis=1))


def _quadratic_sigmoid_error(a: Array, y: Array) -> Array:
    return np.asarray((a - y) * output_derivative(a))


def _quadratic_softmax_error(a: Array, y: Array) -> Array:
    difference = a - y
    return np.asarray(a * (difference - (a * difference).sum(axis=1, keepdims=True)))


def _difference(a: Array, y: Array) -> Array:
    return np.asarray(a - y)


_PAIRS = {
    ("sigmoid", "quadratic"): LastLayer(
        probabilities.sigmoid, _quadratic, _quadratic_sigmoid_error
    ),
    ("softmax", "quadratic"): LastLayer(_softmax, _quadratic, _quadratic_softmax_error),
    ("sigmoid", "cross_entropy"): LastLayer(probabilities.sigmoid, _cross_entropy, _difference),
    ("softmax", "log_likelihood"): LastLayer(_softmax, _log_likelihood, _difference),
}
PAIRS = tuple(_PAIRS)
