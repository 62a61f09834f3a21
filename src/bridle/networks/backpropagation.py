r"""Backpropagation: four equations, written out for a batch of samples.

Conventions
-----------
A network of L layers has the sizes ``n_0`` (features), ``n_1 … n_(L−1)`` (hidden), ``n_L = K``
(classes). Samples are rows, B of them in a batch; layer l = 1 … L has

====== ================ =====================================================
symbol shape            meaning
====== ================ =====================================================
``w``  (n_(l−1), n_l)   weights, ``w[j, k]`` from unit j to unit k of the next
``b``  (n_l,)           biases
``z``  (B, n_l)         weighted inputs ``a^(l−1) w + b``
``a``  (B, n_l)         activations ``f(z)``; ``a^0`` are the features
``δ``  (B, n_l)         errors: ∂C/∂z of each sample's own cost C
====== ================ =====================================================

(Texts that write a sample as a column have ``w`` the other way round, and ``w a`` for ``a w``.)

The four equations::

    BP1   δ^L = ∂C/∂z^L                              costs.py, per output and cost
    BP2   δ^l = (δ^(l+1) (w^(l+1))ᵀ) · f′(z^l)       the error of a hidden layer
    BP3   ∂C/∂b^l = δ^l                              summed over the samples
    BP4   ∂C/∂w^l = (a^(l−1))ᵀ δ^l                   summed over the samples

The objective of a batch is ``(Σ s_i C_i + α R(w)) / Σ s_i`` with sample weights ``s`` (1 unless
given) and ``R = (1 − ρ) ½ Σ w² + ρ Σ |w|`` over all weights, biases left out; α is `alpha`, ρ is
`l1_ratio`. That is what ``alpha`` means in scikit-learn's `MLPClassifier`.

References
----------
D. E. Rumelhart, G. E. Hinton, R. J. Williams, *Learning representations by back-propagating
errors*, Nature 323, 1986. M. A. Nielsen, *Neural Networks and Deep Learning*, 2015, chapters 2, 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle.networks.activations import Activation, activation_named
from bridle.networks.costs import LastLayer, last_layer, output_derivative

Array = npt.NDArray[Any]


class Layer(NamedTuple):
    """Weights ``(n_(l−1), n_l)`` and biases ``(n_l,)``; or their gradients."""

    weight: Array
    bias: Array


class Network(NamedTuple):
    """What a network computes, apart from its weights."""

    hidden: Activation
    last: LastLayer
    alpha: float
    l1_ratio: float
    multilabel: bool = False


class Forward(NamedTuple):
    """A forward pass: ``activations[l]`` is a^l, from the features to the output."""

    activations: list[Array]
    scores: Array  # z^L


class Backward(NamedTuple):
    """The objective's value and gradient on a batch, and what was seen on the way."""

    objective: float
    gradients: list[Layer]
    costs: Array  # (B,) of the samples, without penalty
    correct: Array  # (B,) whether the answer was the target's, as `correct` tells
    output_derivatives: Array  # (B, K)


def network(
    activation: str,
    output: str,
    cost: str,
    alpha: float = 0.0,
    l1_ratio: float = 0.0,
    multilabel: bool = False,
) -> Network:
    """Return a network by its names; refuse a cost that has no meaning for the output."""
    last = last_layer(output, cost)
    return Network(activation_named(activation), last, alpha, l1_ratio, multilabel)


def forward(net: Network, layers: Sequence[Layer], features: Any) -> Forward:
    """Compute all activations of a batch, from the first layer to the last."""
    activations = [features]
    for layer in layers[:-1]:
        activations.append(net.hidden.value(activations[-1] @ layer.weight + layer.bias))
    scores = activations[-1] @ layers[-1].weight + layers[-1].bias
    activations.append(net.last.output(scores))
    return Forward(activations, scores)


def backward(
    net: Network,
    layers: Sequence[Layer],
    features: Any,
    target: Array,
    sample_weight: Array | None = None,
) -> Backward:
    """Return the objective and its gradient for a batch.

    Parameters
    ----------
    net : Network
    layers : sequence of Layer
    features : ndarray or CSR array (B, n_0)
    target : ndarray (B, K)
        A distribution for each sample, one-hot for a label; 0 or 1 for each class if multilabel.
    sample_weight : ndarray (B,), optional
    """
    weight = np.ones(features.shape[0], features.dtype) if sample_weight is None else sample_weight
    total = weight.sum()
    seen = forward(net, layers, features)
    outputs = seen.activations[-1]
    costs = net.last.cost(seen.scores, outputs, target)
    gradients = [
        Layer(
            (gradient.weight + _penalty_gradient(net, layer.weight)) / total, gradient.bias / total
        )
        for gradient, layer in zip(
            _cost_gradients(net, layers, seen, target, weight), layers, strict=True
        )
    ]
    return Backward(
        objective=float((weight @ costs + penalty(net, layers)) / total),
        gradients=gradients,
        costs=costs,
        correct=correct(net, seen.scores, target),
        output_derivatives=output_derivative(outputs),
    )


def correct(net: Network, scores: Array, target: Array) -> Array:
    """Tell whose highest score is the target's; if multilabel, who has all classes right."""
    if net.multilabel:
        return np.asarray(((scores > 0) == (target > 0)).all(axis=1))
    return np.asarray(scores.argmax(axis=1) == target.argmax(axis=1))


def penalty(net: Network, layers: Sequence[Layer]) -> float:
    """Return ``α R(w)``."""
    squares = sum(float((layer.weight**2).sum()) for layer in layers)
    sizes = sum(float(np.abs(layer.weight).sum()) for layer in layers)
    return net.alpha * ((1 - net.l1_ratio) * squares / 2 + net.l1_ratio * sizes)


def _cost_gradients(
    net: Network, layers: Sequence[Layer], seen: Forward, target: Array, weight: Array
) -> list[Layer]:
    gradients = []
    # BP1; every equation is linear in δ, so a sample's weight goes in once, here.
    error = net.last.error(seen.activations[-1], target) * weight[:, None]
    for place in reversed(range(len(layers))):
        inputs = seen.activations[place]
        gradients.append(Layer(inputs.T @ error, error.sum(axis=0)))  # BP4, BP3
        if place > 0:
            error = (error @ layers[place].weight.T) * net.hidden.derivative(inputs)  # BP2
    return gradients[::-1]


def _penalty_gradient(net: Network, weight: Array) -> Array:
    # Where a weight is 0 its modulus has no slope; sign(0) = 0 leaves it there.
    slope = (1 - net.l1_ratio) * weight + net.l1_ratio * np.sign(weight)
    return np.asarray(net.alpha * slope)
