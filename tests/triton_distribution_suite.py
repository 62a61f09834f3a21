"""The kernel for distributions, and the autograd step over it, against plain formulas.

As `triton_index_suite`, whose tools it takes:

    TRITON_INTERPRET=1 pytest tests/triton_distribution_suite.py
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from bridle.checks import InputError
from bridle.kernels import thresholds
from bridle.kernels.triton import distribution_loss, launch
from bridle.kernels.triton.distribution_loss import DistributionLoss
from bridle.kernels.triton.index_loss import Tile
from bridle.torch import functional
from triton_index_suite import (  # noqa: F401 - the fixtures
    CLOSE,
    DEVICE,
    DTYPES,
    INFINITY,
    OPTIONS,
    Operations,
    _device_arithmetic,
    close,
    close_rows,
    drawn,
    in_turn,
    served,
    step,
)

# Rows a thread each (to 16 classes), in registers by 4 to 256 threads, read twice (wider).
SHAPES = [
    *((1, 1), (33, 10), (65, 16), (34, 20), (9, 17), (17, 37), (9, 100), (5, 129), (3, 264)),
    *((3, 513), (2, 1000), (2, 4096), (3, 4099), (2, 17000)),
]


def distributions(rows: int, classes: int, dtype: torch.dtype) -> Tensor:
    """Return distributions with zeros among them, and a row that sums to less than 1."""
    generator = torch.Generator().manual_seed(rows * classes + 1)
    found = torch.softmax(3 * torch.randn(rows, classes, generator=generator).double(), dim=1)
    if classes > 4:
        found[:, 4] = 0
    found[0] *= 0.5
    return found.to(dtype).to(DEVICE)


def loss_of(target: Tensor, options: dict[str, Any]) -> DistributionLoss:
    given, (rows, classes) = dict(options), target.shape
    weight = torch.linspace(0.5, 2, classes).to(DEVICE) if given.pop("weighted", 0) else None
    share = torch.linspace(0, 1, rows).to(DEVICE) if given.pop("sampled", 0) else None
    return DistributionLoss(target, weight, share, **given)


def right(scores: Tensor, loss: DistributionLoss) -> tuple[Tensor, Tensor]:
    """Return losses and their sum's gradient, by the formulas."""
    leaf = scores.detach().double().cpu().requires_grad_()
    capped = loss.softcap * torch.tanh(leaf / loss.softcap) if loss.softcap else leaf
    z = torch.where(leaf == -INFINITY, leaf, capped) / loss.temperature
    log_p = torch.log_softmax(z, dim=1)
    target, classes = loss.target.cpu().double(), scores.shape[1]
    weight = torch.ones(classes).double() if loss.weight is None else loss.weight.double().cpu()
    free = z > -INFINITY
    surprise = -(weight * target * torch.where(target > 0, log_p, 0)).sum(dim=1)
    losses = (1 - loss.label_smoothing) * surprise
    if loss.label_smoothing:
        spread = -(weight * torch.where(free, log_p, 0)).sum(dim=1)
        losses = losses + loss.label_smoothing * spread / free.double().sum(dim=1)
    if loss.z_loss:
        losses = losses + loss.z_loss * torch.logsumexp(z, dim=1) ** 2
    if loss.sample_weight is not None:
        losses = losses * loss.sample_weight.double().cpu()
    (gradient,) = torch.autograd.grad(losses.sum(), leaf)
    return losses.detach(), gradient


def compare(scores: Tensor, loss: DistributionLoss, out: Tensor | None = None) -> None:
    """Hold loss and gradient, made at once and apart, against the formulas."""
    losses, gradient = right(scores, loss)
    tolerance = 1e-12 if scores.dtype == torch.float64 else 2e-6
    found, kept = distribution_loss.losses(scores, loss, keep=True)
    close(found, losses, tolerance)
    one = torch.full((), 3.0, dtype=found.dtype, device=DEVICE)
    each = torch.linspace(1, 2, len(scores), dtype=found.dtype).to(DEVICE)
    apart = torch.full_like(scores, math.nan)
    distribution_loss.write_gradient(scores, kept, loss, one, normalizer=3.0, out=apart)
    close_rows(apart, gradient)
    distribution_loss.write_gradient(scores, kept, loss, each, out=apart)
    close_rows(apart, gradient * each.double().cpu()[:, None])
    both = torch.full_like(scores, math.nan) if out is None else out
    again, _ = distribution_loss.losses(scores, loss, out=both)
    assert torch.equal(again, found)
    close_rows(both, gradient)


@pytest.mark.parametrize(("shape", "dtype", "options"), in_turn(SHAPES), ids=str)
def test_every_width(
    shape: tuple[int, int],
    dtype: torch.dtype,
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if shape[0] == 3:  # as of many
        monkeypatch.setattr(thresholds, "FEW_ROWS", 0)
    scores, _ = drawn(*shape, dtype)
    target = distributions(*shape, dtype)
    if shape[1] > 30:
        scores[:, 4] = -INFINITY  # which has no mass
    compare(scores, loss_of(target, options))


@pytest.mark.parametrize("tile", [Tile(2, 16, 1, 3), Tile(4, 64, 1, 1), Tile(1, 16, 1)], ids=str)
@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16], ids=str)
def test_targets_of_another_dtype_that_lie_elsewhere(
    kind: torch.dtype, tile: Tile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distribution_loss, "loss_tile", lambda *_, **__: tile)
    wide, _ = drawn(5, 50, torch.float32)
    scores, target = wide[:, 3:44], distributions(5, 60, kind)[:, 7:48]
    memory = torch.full((5, 60), math.nan, device=DEVICE)
    compare(scores, loss_of(target, OPTIONS[1]), memory[:, 2:43])
    beside = torch.cat([memory[:, :2], memory[:, 43:]], dim=1)
    assert beside.isnan().all()
    expected, gradient = right(scores, loss_of(target, {}))
    found, _ = distribution_loss.losses(scores, loss_of(target, {}), out=scores)  # in place
    close(found, expected, 2e-6)
    close_rows(scores, gradient)


@pytest.mark.parametrize("classes", [10, 70, 5000])
def test_what_is_broken_masked_or_does_not_count(classes: int) -> None:
    scores, _ = drawn(7, classes, torch.float32)
    target = distributions(7, classes, torch.float32)
    sound, out = torch.empty_like(scores), torch.empty_like(scores)
    losses, _ = distribution_loss.losses(scores, loss_of(target, {}), out=sound)
    scores[1], scores[2, 7], scores[3, 0], scores[4, 8] = -INFINITY, math.nan, INFINITY, -INFINITY
    share = torch.tensor([1.0, 1, 1, 1, 1, 0, 1], device=DEVICE)
    scores[5] = math.nan
    found, _ = distribution_loss.losses(
        scores, loss_of(target, {})._replace(sample_weight=share), out=out
    )
    assert found[1:4].isnan().all()
    assert out[1:4].isnan().all()
    assert found[4] == INFINITY  # mass at a masked class
    assert out[4].isfinite().all()
    assert found[5] == 0
    assert (out[5] == 0).all()
    for row in (0, 6):
        assert torch.equal(found[row], losses[row])
        assert torch.equal(out[row], sound[row])


STEPS: list[dict[str, Any]] = [
    {},
    {"label_smoothing": 0.1, "weight": torch.linspace(0.1, 1, 12)},
    {"z_loss": 0.1, "softcap": 3.0, "temperature": 0.7},
    {"sample_weight": torch.linspace(0, 1, 21).view(7, 3)},
    {"normalizer": 11.0},
]


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize(
    ("dtype", "reduction"),
    [(dtype, "mean") for dtype in DTYPES] + [(torch.float64, "sum"), (torch.float32, "none")],
    ids=str,
)
def test_the_step_is_that_of_plain_pytorch(
    dtype: torch.dtype,
    reduction: str,
    inplace: bool,
    served: Callable[[bool], None],  # noqa: F811
) -> None:
    scores = torch.randn(7, 12, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    target = torch.softmax(
        torch.randn(7, 12, 3, generator=torch.Generator().manual_seed(1)), dim=1
    ).to(dtype)
    for options in STEPS:
        if "normalizer" in options and reduction != "mean":
            continue
        given = {
            name: each.to(DEVICE) if isinstance(each, Tensor) else each
            for name, each in options.items()
        }
        how: dict[str, Any] = {"reduction": reduction, "inplace": inplace}
        twice = dtype == torch.float64 and not inplace
        served(False)
        expected = step(scores, target, options | how, twice=twice)
        served(True)
        with mock.patch.object(
            distribution_loss, "losses", wraps=distribution_loss.losses
        ) as losses:
            found = step(scores.to(DEVICE), target.to(DEVICE), given | how, twice=twice)
        assert losses.call_count == 1
        for one, other in zip(found, expected, strict=True):
            size = max(float(other.detach().abs().max()), 1e-9)
            tolerance = 2e-6 if other.dtype != dtype else CLOSE[dtype]
            torch.testing.assert_close(one.cpu(), other, rtol=0, atol=tolerance * size)


def test_a_step_takes_no_more_than_four_launches(
    served: Callable[[bool], None],  # noqa: F811
) -> None:
    served(True)
    scores, _ = drawn(9, 12, torch.float32)
    leaf, target = scores.requires_grad_(), distributions(9, 12, torch.float32)
    counter = Operations()
    with mock.patch.object(launch.Launch, "__call__", counter.launcher()), counter:
        loss: Any = functional.cross_entropy(leaf, target, label_smoothing=0.1)
        torch.autograd.grad(loss, leaf, torch.ones((), device=DEVICE))
    assert counter.launched == 3
    assert counter.launched + len(counter.operations) <= 4, counter.operations


def test_who_is_served(served: Callable[[bool], None]) -> None:  # noqa: F811
    served(True)
    scores, labels = drawn(5, 12, torch.float32)
    target = torch.softmax(scores, dim=1)
    with mock.patch.object(distribution_loss, "losses", wraps=distribution_loss.losses) as losses:
        functional.cross_entropy(scores, target)
        assert losses.call_count == 1
        functional.cross_entropy(scores, labels)
        functional.cross_entropy(scores, target, outputs=("loss",))
        functional.cross_entropy(scores, target.clone().requires_grad_())
        functional.cross_entropy(scores, target, check=True)
        assert losses.call_count == 1


def test_losses_that_are_masked_in_place(served: Callable[[bool], None]) -> None:  # noqa: F811
    scores, _ = drawn(5, 12, torch.float32)
    target, mask = torch.softmax(scores.flip(1), dim=1), torch.tensor([1.0, 0, 1, 0, 1])
    found = []
    for module in (False, True):
        served(module)
        leaf = scores.clone().requires_grad_()
        losses: Any = functional.cross_entropy(leaf * 1, target, reduction="none", check=False)
        losses *= mask.to(DEVICE)
        found.append(torch.autograd.grad(losses.sum(), leaf)[0])
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-6)


def test_distributions_have_no_index_to_ignore(served: Callable[[bool], None]) -> None:  # noqa: F811
    served(True)
    scores, _ = drawn(5, 12, torch.float32)
    with pytest.raises(InputError, match="ignore_index: expected class indices as target"):
        functional.cross_entropy(scores, torch.softmax(scores, dim=1), ignore_index=1)


@pytest.mark.parametrize("factor", [1, 3])
def test_a_gradient_in_place_leaves_what_lies_between(
    factor: int,
    served: Callable[[bool], None],  # noqa: F811
) -> None:
    for soft in (False, True):
        wide, label = drawn(6, 20, torch.float32)
        target = torch.softmax(wide[:, :7].flip(1), dim=1) if soft else label % 7
        found = []
        for module in (False, True):
            served(module)
            memory = wide.clone().requires_grad_()
            held = memory * 1
            loss = functional.cross_entropy(held[:, :7], target, inplace=True, check=False)
            found.append((torch.autograd.grad(factor * loss, memory)[0], held.detach()[:, 7:]))
        torch.testing.assert_close(found[1][0], found[0][0], rtol=0, atol=1e-6)
        assert torch.equal(found[1][1], wide[:, 7:])


@pytest.mark.parametrize("head", [False, True])
def test_labels_and_weights_that_lie_apart(
    head: bool,
    served: Callable[[bool], None],  # noqa: F811
) -> None:
    """A column of a table, and one number for all rows."""
    scores, labels = drawn(9, 12, torch.float32)
    table = torch.stack([labels, labels.flip(0)], dim=1)
    weights = torch.linspace(0.1, 1, 18).to(DEVICE).view(9, 2)
    weight = torch.linspace(-1, 1, 60).to(DEVICE).view(5, 12).T.contiguous()
    for target in (table[:, 0], torch.softmax(scores.flip(1), dim=1)):
        for share in (weights[:, 1], torch.tensor([0.5], device=DEVICE).expand(9)):
            found = []
            for module in (False, True):
                served(module)
                leaf = (scores[:, :5] if head else scores).clone().requires_grad_()
                if head:
                    loss = functional.linear_cross_entropy(
                        leaf, weight, target, sample_weight=share, check=False
                    )
                else:
                    loss = functional.cross_entropy(leaf, target, sample_weight=share, check=False)
                found.append((loss.detach(), torch.autograd.grad(loss, leaf)[0]))
            torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-6)
