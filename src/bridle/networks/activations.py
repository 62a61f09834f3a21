"""What a hidden layer does to its weighted inputs, and how steep that is.

Every derivative is told by the activation ``a = f(z)`` itself, so that a backward pass needs the
activations of the forward pass and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle import checks, probabilities

Array = npt.NDArray[Any]


class Activation(NamedTuple):
    """A function ``f`` of weighted inputs, and ``f′(z)`` as a function of ``f(z)``."""

    value: Callable[[Array], Array]
    derivative: Callable[[Array], Array]


ACTIVATIONS = {
    "sigmoid": Activation(probabilities.sigmoid, lambda a: a * (1 - a)),
    "tanh": Activation(np.tanh, lambda a: 1 - a * a),
    "relu": Activation(lambda z: np.maximum(z, 0), lambda a: (a > 0).astype(a.dtype)),
    "identity": Activation(lambda z: z, np.ones_like),
}


def activation_named(name: str) -> Activation:
    """Return one of the four by its name."""
    checks.one_of(name, "activation", tuple(ACTIVATIONS))
    return ACTIVATIONS[name]
