"""Scores whose classes lie on another axis than torch's: the same loss, the same gradient."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import bridle as both_worlds

Array = npt.NDArray[Any]

bridle: Any = both_worlds
CASES = [
    ((4, 4, 4), -1),
    ((2, 3, 5), 2),
    ((5, 2, 3), 0),
    ((5, 3), 0),
    ((2, 3, 2, 5), -1),
    ((5,), 0),
]


def problem(shape: tuple[int, ...], axis: int) -> tuple[Array, Array, Array, dict[str, Any]]:
    """Return scores, indices, distributions (classes on the axis) and options of the positions."""
    rng = np.random.default_rng(3)
    scores = rng.normal(size=shape) * 2
    classes, positions = shape[axis], np.delete(shape, axis)
    index = rng.integers(0, classes, positions)
    soft = np.moveaxis(rng.dirichlet(np.ones(classes), tuple(positions)), -1, axis)
    return scores, index, soft, {"weight": rng.random(classes), "label_smoothing": 0.1}


def by_hand(scores: Array, soft: Array, axis: int, options: dict[str, Any]) -> tuple[Array, Array]:
    """Return the loss of each position, and the gradient of their sum, by the formulas."""
    scores, soft = np.moveaxis(scores, axis, -1), np.moveaxis(soft, axis, -1)
    log_p = scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))
    epsilon = options["label_smoothing"]
    mass = options["weight"] * ((1 - epsilon) * soft + epsilon / scores.shape[-1])
    gradient = np.exp(log_p) * mass.sum(axis=-1, keepdims=True) - mass
    return -(mass * log_p).sum(axis=-1), np.moveaxis(gradient, -1, axis)


@pytest.mark.parametrize(("shape", "axis"), CASES)
@pytest.mark.parametrize("name", ["axis", "dim"])
def test_arrays(shape: tuple[int, ...], axis: int, name: str) -> None:
    scores, index, soft, options = problem(shape, axis)
    one_hot = np.moveaxis(np.eye(shape[axis])[index], -1, axis)
    options[name] = axis
    for target, mass in ((index, one_hot), (soft, soft)):
        losses, gradient = by_hand(scores, mass, axis, options)
        found = bridle.cross_entropy(scores, target, reduction="none", **options)
        np.testing.assert_allclose(found, losses, rtol=1e-12)
        total, slope = bridle.cross_entropy_gradient(scores, target, reduction="sum", **options)
        assert total == pytest.approx(losses.sum(), rel=1e-12)
        np.testing.assert_allclose(slope, gradient, atol=1e-13)
        p = np.exp(scores) / np.exp(scores).sum(axis=axis, keepdims=True)
        found = bridle.nll(p, target, reduction="none", **options)
        np.testing.assert_allclose(found, losses, rtol=1e-12)
    outputs = bridle.cross_entropy(scores, index, outputs=("argmax",), **{name: axis})
    np.testing.assert_array_equal(outputs.argmax, scores.argmax(axis=axis))


@pytest.mark.parametrize(("shape", "axis"), CASES)
@pytest.mark.parametrize("inplace", [False, True])
def test_tensors(shape: tuple[int, ...], axis: int, inplace: bool) -> None:
    torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")
    scores, index, soft, options = problem(shape, axis)
    one_hot = np.moveaxis(np.eye(shape[axis])[index], -1, axis)
    given = {**options, "weight": torch.tensor(options["weight"]), "dim": axis}
    for target, mass in ((index, one_hot), (soft, soft)):
        losses, gradient = by_hand(scores, mass, axis, options)
        leaf = torch.tensor(scores, requires_grad=True)
        for reduction in ("none", "sum"):
            found = bridle.cross_entropy(
                leaf * 1, torch.tensor(target), reduction=reduction, inplace=inplace, **given
            )
            right = losses if reduction == "none" else losses.sum()
            np.testing.assert_allclose(found.detach(), right, rtol=1e-12)
            (slope,) = torch.autograd.grad(found.sum(), leaf)
            np.testing.assert_allclose(slope, gradient, atol=1e-13)
        found = bridle.nll(
            torch.softmax(leaf, axis), torch.tensor(target), reduction="none", **given
        )
        np.testing.assert_allclose(found.detach(), losses, rtol=1e-12)
    loss = bridle.torch.CrossEntropyLoss(axis=axis, reduction="none")
    right = torch.nn.functional.cross_entropy(
        torch.movedim(leaf, axis, min(1, leaf.dim() - 1)), torch.tensor(index), reduction="none"
    )
    torch.testing.assert_close(loss(leaf, torch.tensor(index)), right)


def test_the_default_stays_torchs() -> None:
    scores, index, *_ = problem((4, 4, 4), -1)
    found = bridle.cross_entropy(scores, index, reduction="none")
    right = bridle.cross_entropy(np.moveaxis(scores, 1, 2), index, reduction="none", axis=-1)
    np.testing.assert_array_equal(found, right)


def test_sparse_distributions_of_columns() -> None:
    scores = np.random.default_rng(0).normal(size=(5, 3))
    target = (np.array([[0, 1], [2, 3], [4, 0]]), np.full((3, 2), 0.5))
    right = bridle.cross_entropy(scores.T, target)
    assert bridle.cross_entropy(scores, target, axis=0) == right


@pytest.mark.parametrize(
    ("options", "target", "message"),
    [
        ({"axis": 3}, [[0] * 3] * 2,
         "axis: expected an axis of input, of shape (2, 3, 4), found 3"),
        ({"dim": "c"}, [[0] * 3] * 2, "dim: expected a whole number, found 'c'"),
        ({"axis": 1, "dim": -1}, [[0] * 3] * 2, "axis, dim: expected one of them, found 1 and -1"),
        ({"axis": -1}, [[0] * 4] * 2,
         "target: expected class indices (integers) of shape (2, 3) or probabilities of shape "
         "(2, 3, 4), found shape (2, 4)"),
        ({"axis": -1}, [[0, 1, 4]] * 2, "target: row 0, 2 is 4, expected a class index in [0, 4)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_in_the_callers_layout(
    options: dict[str, Any], target: Any, message: str
) -> None:
    with pytest.raises(both_worlds.InputError, match=f"^{re.escape(message)}$"):
        bridle.cross_entropy(np.zeros((2, 3, 4)), target, **options)
    torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")
    with pytest.raises(both_worlds.InputError, match=f"^{re.escape(message)}$"):
        bridle.cross_entropy(torch.zeros(2, 3, 4), torch.tensor(target), **options)
