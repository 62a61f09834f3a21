"""The four equations against differences, against PyTorch's autograd, and against their text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise, product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bridle import checks
from bridle.networks import backpropagation
from bridle.networks.activations import ACTIVATIONS
from bridle.networks.backpropagation import Layer, Network
from bridle.networks.costs import COSTS, OUTPUTS, PAIRS, last_layer

Array = npt.NDArray[Any]
PENALTIES = ((0.0, 0.0), (0.7, 0.0), (0.7, 1.0), (0.7, 0.3))
COMBINATIONS = [
    (activation, *pair, *penalty)
    for activation, pair, penalty in product(ACTIVATIONS, PAIRS, PENALTIES)
]
SIZES = (4, 5, 3, 3)
STEP = 1e-5

Problem = tuple[list[Layer], Array, Array, Array]


def problem(seed: int = 0) -> Problem:
    """Return layers, features, soft and hard targets mixed, and weights."""
    random = np.random.default_rng(seed)
    layers = [
        Layer(random.normal(size=(before, after)), random.normal(size=after))
        for before, after in pairwise(SIZES)
    ]
    features = random.normal(size=(7, SIZES[0]))
    target = random.dirichlet(np.ones(SIZES[-1]), size=7)
    target[:4] = np.eye(SIZES[-1])[[0, 1, 2, 1]]
    return layers, features, target, random.uniform(0.5, 2, size=7)


def parameters(layers: Sequence[Layer]) -> list[Array]:
    return [array for layer in layers for array in layer]


@pytest.mark.parametrize(("activation", "output", "cost", "alpha", "l1_ratio"), COMBINATIONS)
def test_gradients_equal_central_differences(
    activation: str, output: str, cost: str, alpha: float, l1_ratio: float
) -> None:
    net = backpropagation.network(activation, output, cost, alpha, l1_ratio)
    layers, features, target, weight = problem()
    found = backpropagation.backward(net, layers, features, target, weight)

    def objective() -> float:
        return backpropagation.backward(net, layers, features, target, weight).objective

    for values, gradient in zip(parameters(layers), parameters(found.gradients), strict=True):
        assert np.abs(gradient - differences(objective, values)).max() <= 1e-7


def differences(objective: Callable[[], float], values: Array) -> Array:
    gradient = np.empty_like(values)
    for place in np.ndindex(values.shape):
        kept = values[place]
        values[place] = kept + STEP
        above = objective()
        values[place] = kept - STEP
        gradient[place] = (above - objective()) / (2 * STEP)
        values[place] = kept
    return gradient


@pytest.mark.parametrize(("activation", "output", "cost", "alpha", "l1_ratio"), COMBINATIONS)
def test_gradients_equal_autograd(
    activation: str, output: str, cost: str, alpha: float, l1_ratio: float
) -> None:
    torch = pytest.importorskip("torch")
    net = backpropagation.network(activation, output, cost, alpha, l1_ratio)
    layers, features, target, weight = problem(1)
    found = backpropagation.backward(net, layers, features, target, weight)
    leaves = [torch.tensor(values, requires_grad=True) for values in parameters(layers)]
    a = torch.tensor(features)
    for place in range(0, len(leaves) - 2, 2):
        a = TORCH_ACTIVATIONS[activation](torch, a @ leaves[place] + leaves[place + 1])
    z = a @ leaves[-2] + leaves[-1]
    costs = TORCH_COSTS[output, cost](torch, z, torch.tensor(target))
    regular = sum((1 - l1_ratio) / 2 * (w**2).sum() + l1_ratio * w.abs().sum() for w in leaves[::2])
    objective = (torch.tensor(weight) @ costs + alpha * regular) / weight.sum()
    objective.backward()
    assert abs(found.objective - objective.item()) <= 1e-12
    for leaf, gradient in zip(leaves, parameters(found.gradients), strict=True):
        assert np.abs(gradient - leaf.grad.numpy()).max() <= 1e-10


TORCH_ACTIVATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "sigmoid": lambda torch, z: torch.sigmoid(z),
    "tanh": lambda torch, z: torch.tanh(z),
    "relu": lambda torch, z: torch.relu(z),
    "identity": lambda _torch, z: z,
}
TORCH_COSTS: dict[tuple[str, str], Callable[[Any, Any, Any], Any]] = {
    ("sigmoid", "quadratic"): lambda torch, z, y: ((torch.sigmoid(z) - y) ** 2).sum(1) / 2,
    ("softmax", "quadratic"): lambda torch, z, y: ((torch.softmax(z, 1) - y) ** 2).sum(1) / 2,
    ("sigmoid", "cross_entropy"): lambda torch, z, y: (
        torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none").sum(1)
    ),
    ("softmax", "log_likelihood"): lambda torch, z, y: torch.nn.functional.cross_entropy(
        z, y, reduction="none"
    ),
}


def outputs_and_targets() -> tuple[Array, Array]:
    random = np.random.default_rng(2)
    a = random.dirichlet(np.ones(5), size=11)
    return a, np.eye(5)[random.integers(0, 5, 11)]


def test_the_quadratic_cost_multiplies_the_error_by_the_slope_of_the_sigmoid() -> None:
    a, y = outputs_and_targets()
    slope = a * (1 - a)
    assert np.array_equal(last_layer("sigmoid", "quadratic").error(a, y), (a - y) * slope)


@pytest.mark.parametrize("pair", [("sigmoid", "cross_entropy"), ("softmax", "log_likelihood")])
def test_the_others_leave_the_difference_alone(pair: tuple[str, str]) -> None:
    a, y = outputs_and_targets()
    assert np.array_equal(last_layer(*pair).error(a, y), a - y)


@pytest.mark.parametrize("pair", sorted(set(product(OUTPUTS, COSTS)) - set(PAIRS)))
def test_a_pair_without_meaning_is_refused_with_the_reason(pair: tuple[str, str]) -> None:
    with pytest.raises(checks.InputError, match=f"cost: '{pair[1]}' has no meaning for output"):
        last_layer(*pair)


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(checks.InputError, match="activation: expected one of sigmoid, tanh"):
        backpropagation.network("swish", "softmax", "log_likelihood")
    with pytest.raises(checks.InputError, match="output: expected one of sigmoid, softmax"):
        last_layer("linear", "quadratic")
    with pytest.raises(checks.InputError, match="cost: expected one of quadratic"):
        last_layer("sigmoid", "hinge")


def test_a_weight_is_as_many_copies() -> None:
    net = backpropagation.network("tanh", "softmax", "log_likelihood", 0.3, 0.5)
    layers, features, target, _ = problem()
    times = np.array([1, 2, 3, 1, 2, 1, 4])
    weighted = backpropagation.backward(net, layers, features, target, times.astype(float))
    rows = np.repeat(np.arange(7), times)
    repeated = backpropagation.backward(net, layers, features[rows], target[rows])
    assert weighted.objective == pytest.approx(repeated.objective, rel=1e-13)
    for one, other in zip(
        parameters(weighted.gradients), parameters(repeated.gradients), strict=True
    ):
        assert np.allclose(one, other, rtol=0, atol=1e-14)


@pytest.mark.parametrize("pair", PAIRS)
def test_saturated_scores_cost_what_they_should_and_nothing_is_nan(pair: tuple[str, str]) -> None:
    net = Network(ACTIVATIONS["identity"], last_layer(*pair), 0.0, 0.0)
    layers = [Layer(np.eye(2), np.zeros(2))]
    features = np.array([[800.0, -800.0], [-800.0, 800.0]])
    found = backpropagation.backward(net, layers, features, np.array([[1.0, 0], [1, 0]]))
    assert found.costs[0] == 0
    assert found.costs[1] in (1.0, 1600.0)
    assert all(np.isfinite(values).all() for values in parameters(found.gradients))
