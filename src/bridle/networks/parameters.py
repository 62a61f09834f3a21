"""All weights and biases of a network in one vector, and the layers as views into it.

One vector is what a compiled epoch, a momentum and a file want; a view of each layer is what the
equations want. Layer after layer, each its weights row by row and then its biases.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.networks.backpropagation import Layer

Array = npt.NDArray[Any]

INITS = ("scaled", "standard_normal")


def count(sizes: Sequence[int]) -> int:
    """Return how many numbers a network of these sizes has."""
    return sum((before + 1) * after for before, after in pairwise(sizes))


def layers(vector: Array, sizes: Sequence[int]) -> list[Layer]:
    """Return each layer's weights and biases as views into the vector."""
    found, start = [], 0
    for before, after in pairwise(sizes):
        middle, end = start + before * after, start + (before + 1) * after
        found.append(Layer(vector[start:middle].reshape(before, after), vector[middle:end]))
        start = end
    return found


def initial(
    sizes: Sequence[int], init: str, random: np.random.RandomState, dtype: np.dtype[Any]
) -> Array:
    """Return the vector to start from, drawn in float64 so that each dtype starts at the same.

    ``"standard_normal"``: weights and biases from N(0, 1), which saturates sigmoids of many inputs.
    ``"scaled"``: weights from N(0, 1 / inputs), so that weighted inputs vary by about 1 whatever
    the width; biases 0.
    """
    checks.one_of(init, "init", INITS)
    vector = np.zeros(count(sizes))
    for layer in layers(vector, sizes):
        layer.weight[...] = random.standard_normal(layer.weight.shape)
        if init == "scaled":
            layer.weight[...] /= np.sqrt(len(layer.weight))
        else:
            layer.bias[...] = random.standard_normal(layer.bias.shape)
    return vector.astype(dtype)
