"""One epoch: what goes in, what comes out, and the plain NumPy loop that says what it means."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle.networks import backpropagation, parameters
from bridle.networks.backpropagation import Network

Array = npt.NDArray[Any]

SOLVERS = ("sgd", "adam")
# Adam's constants, as its authors and every library have them.
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


class Samples(NamedTuple):
    """What is learnt from; exactly one of the two targets has rows."""

    features: Any  # (N, D) float32 or float64: an array in C order, or a CSR array
    labels: Array  # (N,) class indices, or (0,)
    distributions: Array  # (N, K) of the features' dtype, or (0, K); 0 and 1 if multilabel
    weight: Array  # (N,) above 0, of the features' dtype


class State(NamedTuple):
    """What an epoch changes, in place: all of the length of the parameters' vector but `steps`."""

    vector: Array
    first: Array  # momentum, or Adam's mean of gradients
    second: Array  # Adam's mean of squared gradients
    steps: Array  # (1,) how many updates there were


class Rule(NamedTuple):
    """How a gradient becomes a step."""

    solver: str
    learning_rate: float
    momentum: float
    batch_size: int


class Figures(NamedTuple):
    """Means over the samples of an epoch, each as it was met: before its batch's update."""

    cost: float
    accuracy: float
    output_derivative: float  # mean σ′ of the output layer
    gradient_norms: tuple[float, ...]  # by layer: root mean square over the batches of ‖∂C/∂(w, b)‖


def new_state(vector: Array) -> State:
    """Return a state that starts at a vector, which it will change."""
    return State(vector, np.zeros_like(vector), np.zeros_like(vector), np.zeros(1, np.int64))


def target_rows(samples: Samples, rows: Array, classes: int) -> Array:
    """Return the targets (B, K) of some samples as distributions."""
    if len(samples.distributions):
        return np.asarray(samples.distributions[rows])
    return np.eye(classes, dtype=samples.features.dtype)[samples.labels[rows]]


def plain_epoch(
    net: Network, sizes: tuple[int, ...], samples: Samples, order: Array, rule: Rule, state: State
) -> Figures:
    """Go over the samples once, batch by batch in the order given; the truth for `compiled`."""
    layers = parameters.layers(state.vector, sizes)
    sums, squares, batches = np.zeros(3), np.zeros(len(layers)), 0
    for start in range(0, len(order), rule.batch_size):
        rows = order[start : start + rule.batch_size]
        weight = samples.weight[rows]
        target = target_rows(samples, rows, sizes[-1])
        found = backpropagation.backward(net, layers, samples.features[rows], target, weight)
        slopes = found.output_derivatives.mean(axis=1)
        sums += [weight @ found.costs, weight @ found.correct, weight @ slopes]
        squares += [_square(each.weight) + _square(each.bias) for each in found.gradients]
        batches += 1
        gradient = np.concatenate([part.ravel() for each in found.gradients for part in each])
        _step(rule, state, gradient)
    return figures(sums, squares, float(samples.weight[order].sum(dtype=np.float64)), batches)


def figures(sums: Array, squares: Array, total_weight: float, batches: int) -> Figures:
    """Return an epoch's means from its sums."""
    cost, accuracy, slope = (sums / total_weight).tolist()
    return Figures(cost, accuracy, slope, tuple(np.sqrt(squares / batches).tolist()))


def _square(values: Array) -> float:
    return float((values * values).sum())


def _step(rule: Rule, state: State, gradient: Array) -> None:
    state.steps[0] += 1
    if rule.solver == "adam":
        _adam(rule, state, gradient)
        return
    if rule.momentum == 0:
        state.vector[...] -= rule.learning_rate * gradient
        return
    state.first[...] = rule.momentum * state.first - rule.learning_rate * gradient
    state.vector[...] += state.first


def _adam(rule: Rule, state: State, gradient: Array) -> None:
    """Follow the mean of gradients, divided by the root of the mean of their squares.

    Both means start at 0 and would be too small at first: the rate makes up for it.
    """
    state.first[...] = BETA_1 * state.first + (1 - BETA_1) * gradient
    state.second[...] = BETA_2 * state.second + (1 - BETA_2) * gradient**2
    steps = int(state.steps[0])
    rate = rule.learning_rate * np.sqrt(1 - BETA_2**steps) / (1 - BETA_1**steps)
    state.vector[...] -= rate * state.first / (np.sqrt(state.second) + EPSILON)
