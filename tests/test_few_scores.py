"""Few scores and plain class indices: the same answers by a handful of operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")

from bridle import TargetRangeError  # noqa: E402
from bridle.torch import functional  # noqa: E402
from bridle.torch.few_scores import loss_of_few_scores  # noqa: E402


def problem(rows: int = 23, classes: int = 7) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(rows)
    scores = 3 * torch.randn(rows, classes, generator=generator)
    scores[0, 0] = -1.0  # no probability
    return scores, torch.randint(classes, (rows,), generator=generator)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("shape", [(1, 2), (23, 7), (64, 10), (5, 997)])
def test_loss_and_gradient_are_right(shape: tuple[int, int], reduction: Any) -> None:
    """Against the formula in NumPy's long doubles."""
    scores, target = problem(*shape)
    z = scores.numpy().astype(np.longdouble)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    own = p[np.arange(len(z)), target.numpy()]
    right = {"mean": -np.log(own).mean(), "sum": -np.log(own).sum()}
    p[np.arange(len(z)), target.numpy()] -= 1
    if reduction == "mean":
        p /= len(z)
    assert loss_of_few_scores(scores, target, -100, reduction) is not None
    leaf = scores.clone().requires_grad_()
    loss = functional.cross_entropy(leaf, target, reduction=reduction)
    loss.sum().backward()
    assert loss.dtype == torch.float32
    np.testing.assert_allclose(loss.detach().numpy(), right[reduction].astype(float), rtol=2e-7)
    np.testing.assert_allclose(leaf.grad.numpy(), p.astype(float), rtol=3e-7, atol=1e-12)


def test_it_is_differentiated_twice() -> None:
    scores, target = problem(5, 4)

    def gradient(z: Any) -> Any:
        loss = functional.cross_entropy(z, target)
        return torch.autograd.grad(loss, z, create_graph=True)[0]

    leaf = scores.clone().requires_grad_()
    (found,) = torch.autograd.grad(gradient(leaf)[:, 0].sum(), leaf)
    p = torch.softmax(scores.double(), 1)
    right = -p[:, :1] * p / len(p)
    right[:, 0] += p[:, 0] / len(p)
    torch.testing.assert_close(found.double(), right, rtol=1e-5, atol=1e-8)


UNUSUAL: dict[str, Any] = {
    "ignored": lambda z, y: (z, y.index_fill(0, torch.tensor([2]), -100)),
    "unknown": lambda z, y: (z, y.index_fill(0, torch.tensor([2]), 7)),
    "negative": lambda z, y: (z, y.index_fill(0, torch.tensor([2]), -1)),
    "NaN": lambda z, y: (z.index_fill(0, torch.tensor([2]), torch.nan), y),
    "infinite": lambda z, y: (z.index_fill(0, torch.tensor([2]), torch.inf), y),
    "masked target": lambda z, y: (z.scatter(1, y[:, None], -torch.inf), y),
    "sure": lambda z, y: (z.scatter(1, y[:, None], 40.0), y),
    "probabilities": lambda z, y: (torch.softmax(z, 1), y),
    "nothing": lambda z, y: (z[:0], y[:0]),
    "half precision": lambda z, y: (z.bfloat16(), y),
    "float64": lambda z, y: (z.double(), y),
    "booleans for many classes": lambda z, y: (z, y > 3),
    "distributions": lambda z, _: (z, torch.softmax(z, 1)),
    "positions": lambda z, y: (z[None].mT, y[None]),
    "no tensor": lambda z, y: (z.numpy(), y),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_is_unusual_is_left_to_the_general_path(name: str) -> None:
    scores, target = UNUSUAL[name](*problem())
    assert loss_of_few_scores(scores, target, -100, "mean") is None


def test_one_ignored_class_leaves_its_rows_out() -> None:
    scores, target = problem()
    found = functional.cross_entropy(scores, target, ignore_index=2)
    right = torch.nn.functional.cross_entropy(scores.double(), target, ignore_index=2)
    assert found.item() == pytest.approx(right.item(), rel=1e-6)


def test_errors_and_warnings_are_those_of_the_general_path() -> None:
    scores, target = problem()
    target[4] = 7
    with pytest.raises(TargetRangeError, match="7"):
        functional.cross_entropy(scores, target)
    assert functional.cross_entropy(scores, target, check=False).isnan()
    with pytest.warns(UserWarning, match="probabilities"):
        functional.cross_entropy(torch.softmax(scores, 1), problem()[1])


def test_the_losses_of_rows_are_left_to_the_general_path() -> None:
    assert loss_of_few_scores(*problem(), -100, "none") is None


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint8", "uint64"])
def test_integers_of_any_width_give_the_same_bits(dtype: str) -> None:
    scores, target = problem()
    found = loss_of_few_scores(scores, target.to(getattr(torch, dtype)), -100, "mean")
    assert torch.equal(found, loss_of_few_scores(scores, target, -100, "mean"))


def test_booleans_for_two_classes_are_0_and_1() -> None:
    scores, target = problem()
    answers = target > 3
    found = loss_of_few_scores(scores[:, :2], answers, -100, "mean")
    assert torch.equal(found, loss_of_few_scores(scores[:, :2], answers.long(), -100, "mean"))
