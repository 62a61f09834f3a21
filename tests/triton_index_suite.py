"""The kernels for class indices, and the autograd step over them, against plain formulas.

As `triton_kernels_suite`: in a process of its own, through Triton's interpreter or on a GPU,

    TRITON_INTERPRET=1 pytest tests/triton_index_suite.py
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bridle.checks import InputError
from bridle.kernels import choose, thresholds
from bridle.kernels.triton import index_loss, launch
from bridle.kernels.triton.index_loss import IndexLoss, Tile
from bridle.torch import device_loss, functional, kernels

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import accuracy
from triton_interpreting import mend_the_interpreter

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INFINITY = float("inf")
# What a gradient may be off, relative to the largest entry of its row.
CLOSE = {torch.float16: 2e-3, torch.bfloat16: 1e-2, torch.float32: 2e-6, torch.float64: 1e-13}

if DEVICE == "cpu":
    mend_the_interpreter()


@pytest.fixture(autouse=True)
def _device_arithmetic() -> Iterator[None]:
    """Let the interpreter's NumPy make infinities and NaN without a word, as a GPU does."""
    with np.errstate(all="ignore"):
        yield


def drawn(rows: int, classes: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows + classes)
    scores = 3 * torch.randn(rows, classes, dtype=torch.float64, generator=generator)
    target = torch.randint(classes, (rows,), generator=generator)
    return scores.to(dtype).to(DEVICE), target.to(DEVICE)


def right(scores: Tensor, loss: IndexLoss) -> tuple[Tensor, Tensor, Tensor]:
    """Return losses, the divisor of their mean, and the mean's gradient, by the formulas."""
    leaf = scores.detach().double().cpu().requires_grad_()
    capped = loss.softcap * torch.tanh(leaf / loss.softcap) if loss.softcap else leaf
    z = torch.where(leaf == -INFINITY, leaf, capped) / loss.temperature
    log_p = torch.log_softmax(z, dim=1)
    target = loss.target.cpu().long()
    counted = target != loss.ignore_index
    chosen = torch.where(counted, target, 0)
    ones = torch.ones(scores.shape[1]).double()
    weight = ones if loss.weight is None else loss.weight.double().cpu()
    smoothing, free = loss.label_smoothing, z > -INFINITY
    own = -log_p.gather(1, chosen[:, None])[:, 0]
    losses = own * weight[chosen] * (1 - smoothing)
    if smoothing:
        spread = -(weight * torch.where(free, log_p, 0)).sum(dim=1)
        losses = losses + smoothing * spread / free.double().sum(dim=1)
    if loss.z_loss:
        losses = losses + loss.z_loss * torch.logsumexp(z, dim=1) ** 2
    share = torch.ones(len(scores)).double()
    if loss.sample_weight is not None:
        share = loss.sample_weight.double().cpu()
    losses = torch.where(counted, losses * share, 0)
    divisor = torch.where(counted, share * weight[chosen], 0).sum()
    (gradient,) = torch.autograd.grad(losses.sum() / divisor, leaf)
    return losses.detach(), divisor.detach(), gradient


def compare(scores: Tensor, loss: IndexLoss, out: Tensor | None = None) -> None:
    """Hold loss, divisor, mean and gradient, made at once and apart, to the formulas."""
    losses, divisor, gradient = right(scores, loss)
    tight = 1e-13 if scores.dtype == torch.float64 else 2e-6
    found_divisor = index_loss.divisor(loss, scores.shape[1])
    torch.testing.assert_close(found_divisor.cpu()[0], divisor, rtol=1e-12, atol=0)
    found, kept = index_loss.losses(scores, loss, keep=True)
    close(found, losses, tight)
    mean = index_loss.total(found, found_divisor, 1.0, empty_is_zero=False)
    close(mean, losses.sum() / divisor, tight)
    one = torch.ones((), dtype=found.dtype, device=DEVICE)
    assert kept is not None
    for number in (one, one.expand(len(scores)).contiguous()):
        apart = torch.full_like(scores, math.nan, memory_format=torch.contiguous_format)
        index_loss.write_gradient(scores, kept, loss, number, divisor=found_divisor, out=apart)
        close_rows(apart, gradient)
    both = torch.full_like(scores, math.nan) if out is None else out
    again, nothing = index_loss.losses(scores, loss, divisor=found_divisor, out=both)
    assert nothing is None
    close(again, losses, tight)
    close_rows(both, gradient)


def close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(found.double().cpu(), expected, rtol=tolerance, atol=tolerance)


def close_rows(found: Tensor, gradient: Tensor) -> None:
    size = gradient.abs().amax(dim=1, keepdim=True).clamp(min=0.1)
    error = ((found.double().cpu() - gradient).abs() / size).max()
    assert error <= CLOSE[found.dtype], error


OPTIONS: list[dict[str, Any]] = [
    {},
    {"label_smoothing": 0.1, "weighted": True},
    {"z_loss": 0.01, "softcap": 5.0, "temperature": 0.7, "label_smoothing": 0.2},
    {"weighted": True, "sampled": True, "softcap": 4.0},
]


def loss_of(target: Tensor, classes: int, options: dict[str, Any]) -> IndexLoss:
    given = dict(options)
    weight = torch.linspace(0.5, 2, classes).to(DEVICE) if given.pop("weighted", 0) else None
    share = torch.linspace(0.1, 1, len(target)).to(DEVICE) if given.pop("sampled", 0) else None
    return IndexLoss(target, weight, share, -100, **given)


# --- every kernel variant -------------------------------------------------------------------------

# Rows a thread each (to 16 or 24 classes), in registers by 4 to 128 threads, read twice (wider).
SHAPES = [
    *(
        (1, 1),
        (33, 10),
        (65, 16),
        (34, 20),
        (9, 17),
        (17, 37),
        (9, 65),
        (9, 100),
        (5, 129),
        (3, 264),
    ),
    *((3, 513), (2, 1000), (2, 2049), (2, 4096), (3, 4099), (2, 17000)),
]


KINDS = [
    (torch.float16, OPTIONS[0]),
    (torch.bfloat16, OPTIONS[2]),
    (torch.float32, OPTIONS[1]),
    (torch.float32, OPTIONS[3]),
    (torch.float64, OPTIONS[2]),
]


def in_turn(shapes: list[tuple[int, int]]) -> list[tuple[tuple[int, int], torch.dtype, Any]]:
    """Return each shape with two of the kinds, in turn; all of them would take minutes."""
    return [
        (shape, *KINDS[(place + more) % len(KINDS)])
        for place, shape in enumerate(shapes)
        for more in (0, 2)
    ]


@pytest.mark.parametrize(("shape", "dtype", "options"), in_turn(SHAPES), ids=str)
def test_every_width(
    shape: tuple[int, int],
    dtype: torch.dtype,
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if shape[0] == 3:  # as of many
        monkeypatch.setattr(thresholds, "FEW_ROWS", 0)
    scores, target = drawn(*shape, dtype)
    if shape[1] > 30:
        scores[:, 3] = -INFINITY
        target = target.clamp(min=4)
    if shape[0] > 2:
        target[1] = -100
    compare(scores, loss_of(target, shape[1], options))


TILES = {
    "whole rows": Tile(16, 64, 1, 1),
    "whole rows, in four tiles": Tile(4, 16, 1, 4),
    "whole rows, a thread each": Tile(32, 1, 1, 1),
    "loop": Tile(1, 16, 1),
    "one tile and a bit": Tile(1, 32, 1),
}


@pytest.mark.parametrize("options", [OPTIONS[0], OPTIONS[2]], ids=str)
@pytest.mark.parametrize("tile", TILES.values(), ids=list(TILES))
@pytest.mark.parametrize("classes", [32, 61])
def test_every_tile(
    classes: int, tile: Tile, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if tile.columns == 1:  # more would be compiled for minutes
        classes //= 4
    if tile.held:  # all but the last are full
        tile = tile._replace(held=math.ceil(classes / tile.columns))
    monkeypatch.setattr(index_loss, "loss_tile", lambda *_, **__: tile)
    monkeypatch.setattr(index_loss, "gradient_tile", lambda *_: Tile(1, 16, 1))
    scores, target = drawn({1: 2, 4: 5}.get(tile.rows, 9), classes, torch.float32)
    compare(scores, loss_of(target, classes, options))


@pytest.mark.parametrize(
    ("dtype", "start"),
    [
        *((torch.bfloat16, start) for start in (0, 1, 4, 7, 8)),
        (torch.float32, 3),
        (torch.float64, 1),
    ],
    ids=str,
)
@pytest.mark.parametrize("held", [False, True], ids=["loop", "held"])
def test_rows_that_begin_anywhere(
    held: bool, dtype: torch.dtype, start: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read 16 bytes at a time, and the edges beside it, for every remainder."""
    if not held:
        monkeypatch.setattr(index_loss, "loss_tile", lambda *_, **__: Tile(1, 32, 1))
    monkeypatch.setattr(index_loss, "gradient_tile", lambda *_: Tile(1, 32, 1))
    for classes in (33, 64 - start):
        wide, target = drawn(2, classes + start + 5, dtype)
        scores = wide[:, start : start + classes]
        target = target % classes
        target[0], target[1] = 0, classes - 1  # the edges themselves
        memory = torch.full((2, classes + 9), math.nan, dtype=dtype, device=DEVICE)
        compare(scores, loss_of(target, classes, {}), memory[:, 3 : 3 + classes])
        # In place: the target's score is read before another program's gradient is written.
        loss, whole = loss_of(target, classes, {}), wide.clone()
        _, _, gradient = right(scores, loss)
        divisor = index_loss.divisor(loss, classes)
        _, kept = index_loss.losses(scores, loss, keep=True)
        assert kept is not None
        one = torch.ones((), dtype=kept.top.dtype, device=DEVICE)
        index_loss.write_gradient(scores, kept, loss, one, divisor=divisor, out=scores)
        close_rows(scores, gradient)
        wide[:, start : start + classes] = whole[:, start : start + classes]
        assert torch.equal(wide, whole)
        index_loss.losses(scores, loss, divisor=divisor, out=scores)
        close_rows(scores, gradient)
        wide[:, start : start + classes] = whole[:, start : start + classes]
        assert torch.equal(wide, whole)


@pytest.mark.parametrize("kind", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
def test_labels_of_every_integer(kind: torch.dtype) -> None:
    scores, target = drawn(5, 20, torch.float32)
    compare(scores, IndexLoss(target.to(kind), None, None, -100))


def test_more_than_two_to_the_31_numbers_apart() -> None:
    try:
        memory = torch.empty(2**31 + 8192, dtype=torch.bfloat16, device=DEVICE)
    except RuntimeError as error:
        pytest.skip(f"no room to reserve: {error}")
    for classes in (5, 5000):
        scores = memory.as_strided((2, classes), (2**31, 1))
        given, target = drawn(2, classes, torch.bfloat16)
        scores.copy_(given)
        compare(scores, loss_of(target, classes, {}), torch.empty_like(given))


def test_very_many_losses_have_their_sum() -> None:
    losses = torch.rand(70_001, device=DEVICE)
    found = index_loss.total(losses, None, 2.0, empty_is_zero=False)
    close(found, losses.double().sum().cpu() / 2, 1e-7)


def test_very_many_labels_are_counted() -> None:
    target = torch.arange(70_001, device=DEVICE) % 7
    loss = IndexLoss(target, None, None, 3)
    assert index_loss.divisor(loss, 7).item() == (target != 3).sum().item()


# --- hostile values -------------------------------------------------------------------------------


@pytest.fixture(params=[9, 40, 77], ids=["a thread a row", "in registers", "read twice"])
def classes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return a number of classes of which rows are summed in one of the three ways."""
    if request.param == 77:
        monkeypatch.setattr(index_loss, "loss_tile", lambda *_, **__: Tile(1, 32, 1))
    return int(request.param)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_broken_row_is_nan_and_disturbs_no_other(dtype: torch.dtype, classes: int) -> None:
    scores, target = drawn(8, classes, dtype)
    loss = loss_of(target, classes, {"label_smoothing": 0.1})
    divisor = index_loss.divisor(loss, classes)
    whole = torch.empty_like(scores)
    expected, _ = index_loss.losses(scores, loss, divisor=divisor, out=whole)
    scores[1], scores[2, 7], scores[4, classes - 1] = -INFINITY, math.nan, INFINITY
    found_out = torch.empty_like(scores)
    found, _ = index_loss.losses(scores, loss, divisor=divisor, out=found_out)
    broken, sound = [1, 2, 4], [0, 3, 5, 6, 7]
    assert found[broken].isnan().all()
    assert found_out[broken].isnan().all()
    assert torch.equal(found[sound], expected[sound])
    assert torch.equal(found_out[sound], whole[sound])


@pytest.mark.parametrize("softcap", [0.0, 3.0])
def test_what_does_not_count_is_0_whatever_it_holds(classes: int, softcap: float) -> None:
    scores, target = drawn(4, classes, torch.float32)
    scores[0], scores[1] = math.nan, -INFINITY
    target[0] = -100
    share = torch.tensor([1.0, 0, 1, 1], device=DEVICE)
    loss = IndexLoss(target, None, share, -100, softcap=softcap)
    out = torch.full_like(scores, math.nan)
    found, _ = index_loss.losses(scores, loss, divisor=index_loss.divisor(loss, classes), out=out)
    assert (found[:2] == 0).all()
    assert (out[:2] == 0).all()
    assert (out[2:] != 0).any(dim=1).all()


def test_a_target_that_is_no_class_is_nan_and_reads_nothing(classes: int) -> None:
    labels = [3, -1, -2, classes, 2**31, 2**40, 2**63 - 1, -(2**63)]
    target = torch.tensor(labels, device=DEVICE)
    scores, _ = drawn(len(target), classes, torch.float32)
    loss = IndexLoss(target, torch.ones(classes, device=DEVICE), None, -100)
    out = torch.empty_like(scores)
    found, _ = index_loss.losses(scores, loss, out=out)
    assert found[1:].isnan().all()
    assert out[1:].isnan().all()
    assert found[0].isfinite()
    assert out[0].isfinite().all()


def test_a_masked_target(classes: int) -> None:
    scores, target = drawn(3, classes, torch.float32)
    target[0] = target[1] = 4
    scores[:2, 4] = -INFINITY
    weight = torch.ones(classes, device=DEVICE)
    loss = IndexLoss(target, weight, None, -100)
    out = torch.empty_like(scores)
    found, _ = index_loss.losses(scores, loss, out=out)
    assert found[:2].tolist() == [INFINITY, INFINITY]
    assert out.isfinite().all()
    assert out[0, 4] == -1
    weight[4] = 0  # nothing is asked of that class
    found, _ = index_loss.losses(scores, loss, out=out)
    assert (found[:2] == 0).all()
    assert (out[:2] == 0).all()


def test_a_mean_over_nothing() -> None:
    scores, _ = drawn(3, 9, torch.float32)
    target = torch.full((3,), -100, device=DEVICE)
    loss, out = IndexLoss(target, None, None, -100), torch.full_like(scores, math.nan)
    divisor = index_loss.divisor(loss, 9)
    found, _ = index_loss.losses(scores, loss, divisor=divisor, out=out)
    assert (out == 0).all()
    assert index_loss.total(found, divisor, 1.0, empty_is_zero=False).isnan()
    assert index_loss.total(found, divisor, 1.0, empty_is_zero=True) == 0


def test_a_row_is_the_same_bit_for_bit_among_others() -> None:
    for classes in (10, 100, 5001):
        scores, target = drawn(10 if classes > 1000 else 70, classes, torch.float32)
        whole = torch.empty_like(scores)
        found, _ = index_loss.losses(scores, IndexLoss(target, None, None, -100), out=whole)
        for rows in (slice(0, 1), slice(3, None)):
            out = torch.empty_like(scores[rows])
            alone = IndexLoss(target[rows], None, None, -100)
            losses, _ = index_loss.losses(scores[rows], alone, out=out)
            assert torch.equal(losses, found[rows])
            assert torch.equal(out, whole[rows])


# --- digits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(60, 2), (40, 37)], ids=str)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_losses_and_gradients_have_their_digits(dtype: str, shape: tuple[int, int]) -> None:
    """Against 50 digits. Half precision's own rounding hides what would show here."""
    for case in accuracy.cases(dtype, *shape):
        scores, loss = case.scores.to(DEVICE), IndexLoss(case.target.to(DEVICE), None, None, -100)
        both = torch.empty_like(scores)
        losses, kept = index_loss.losses(scores, loss, out=both, keep=True)
        assert kept is not None
        apart = torch.empty_like(scores)
        one = torch.ones((), dtype=losses.dtype, device=DEVICE)
        index_loss.write_gradient(scores, kept, loss, one, out=apart)
        for out in (both, apart):
            answer = accuracy.Answer(losses.double().cpu().numpy(), out.double().cpu().numpy())
            found = accuracy.figures(answer, case)
            assert found.loss <= (3 if dtype == "float64" else 2), (case.kind, found)
            assert found.gradient <= 5.5, (case.kind, found)


# --- the step under autograd ----------------------------------------------------------------------


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], None]]:
    """Let scores be served by these kernels, or by plain PyTorch."""

    def by(module: bool) -> None:
        backend = choose.TRITON if module else kernels.PLAIN
        monkeypatch.setattr(kernels, "backend_of", lambda _: backend)
        monkeypatch.setattr(choose, "reads_targets", lambda _: module)
        choose.DECISIONS.clear()

    yield by
    choose.DECISIONS.clear()


STEPS: list[dict[str, Any]] = [
    {},
    {"label_smoothing": 0.1, "weight": torch.linspace(0.1, 1, 12)},
    {"z_loss": 0.1, "softcap": 3.0, "temperature": 0.7},
    {"sample_weight": torch.linspace(0, 1, 21).view(7, 3)},
    {"normalizer": 11.0},
    {"normalizer": torch.tensor(11)},
]


def step(scores: Tensor, target: Tensor, options: dict[str, Any], *, twice: bool = False) -> Any:
    """Return loss and gradient, and with ``twice`` the gradient of a function of that."""
    leaf = scores.detach().clone().requires_grad_()
    loss = functional.cross_entropy(leaf * 1, target, **options, check=False)
    ramp = torch.linspace(1, 2, loss.numel()).to(loss.device).view(loss.shape)
    total = (loss * ramp).sum() * 0.5
    (gradient,) = torch.autograd.grad(total, leaf, create_graph=twice)
    if not twice:
        return loss, gradient
    # Made on the host: a device's sine has other last digits.
    ripple = torch.sin(torch.arange(gradient.numel())).to(loss.device).view(gradient.shape)
    return loss, gradient, torch.autograd.grad((gradient * ripple).sum(), leaf)[0]


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize(
    ("dtype", "reduction"),
    [(dtype, "mean") for dtype in DTYPES] + [(torch.float64, "sum"), (torch.float32, "none")],
    ids=str,
)
def test_the_step_is_that_of_plain_pytorch(
    dtype: torch.dtype, reduction: str, inplace: bool, served: Callable[[bool], None]
) -> None:
    scores = torch.randn(7, 12, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    target = torch.randint(12, (7, 3), generator=torch.Generator().manual_seed(1))
    target[1, 2] = -100
    for options in STEPS:
        if "normalizer" in options and reduction != "mean":
            continue
        given = {
            name: each.to(DEVICE) if isinstance(each, Tensor) else each
            for name, each in options.items()
        }
        how: dict[str, Any] = {"reduction": reduction, "inplace": inplace}
        served(False)
        expected = step(scores, target, options | how)
        served(True)
        found = step(scores.to(DEVICE), target.to(DEVICE), given | how)
        for one, other in zip(found, expected, strict=True):
            size = max(float(other.detach().abs().max()), 1e-9)
            tolerance = 2e-6 if other.dtype != dtype else CLOSE[dtype]
            torch.testing.assert_close(one.cpu(), other, rtol=0, atol=tolerance * size)
        if dtype == torch.float64 and not inplace:
            served(False)
            expected = step(scores, target, options | how, twice=True)
            served(True)
            found = step(scores.to(DEVICE), target.to(DEVICE), given | how, twice=True)
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one.cpu(), other, rtol=1e-9, atol=1e-12)


def test_a_second_backward(served: Callable[[bool], None]) -> None:
    served(True)
    scores, target = drawn(5, 12, torch.float32)
    leaf = scores.requires_grad_()
    loss = functional.cross_entropy(leaf, target)
    (first,) = torch.autograd.grad(loss, leaf, retain_graph=True)
    kept = first.clone()
    (second,) = torch.autograd.grad(3 * loss, leaf)
    torch.testing.assert_close(second, 3 * kept)
    assert torch.equal(first, kept)
    overwritten = functional.cross_entropy(scores * 1, target, inplace=True)
    torch.autograd.grad(overwritten, leaf, retain_graph=True)
    with pytest.raises(InputError, match="one backward pass"):
        torch.autograd.grad(overwritten, leaf)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gradients_in_batches(
    dtype: torch.dtype, reduction: Any, inplace: bool, served: Callable[[bool], None]
) -> None:
    served(True)
    scores, target = drawn(5, 12, dtype)
    leaf = scores.requires_grad_()
    options: dict[str, Any] = {"label_smoothing": 0.1, "softcap": 4.0}
    loss: Any = functional.cross_entropy(
        leaf * 1, target, **options, reduction=reduction, inplace=inplace
    )
    factors = torch.linspace(-1, 2, 3 * loss.numel(), device=DEVICE, dtype=loss.dtype)
    factors = factors.view(3, *loss.shape)
    wide = leaf.detach().double().requires_grad_()
    capped = 4 * torch.tanh(wide / 4)
    right: Any = torch.nn.functional.cross_entropy(
        capped, target, label_smoothing=0.1, reduction=reduction
    )
    expected = [torch.autograd.grad(right, wide, each, retain_graph=True)[0] for each in factors]
    (found,) = torch.autograd.grad(loss, leaf, factors, is_grads_batched=True)
    assert found.dtype == dtype
    close(found, torch.stack(expected).cpu(), CLOSE[dtype])


def test_jacobians_by_vectors(served: Callable[[bool], None]) -> None:
    served(True)
    scores, target = drawn(4, 12, torch.float64)

    def losses(leaf: Tensor) -> Any:
        return functional.cross_entropy(leaf, target, reduction="none")

    found: Any = torch.autograd.functional.jacobian(losses, scores, vectorize=True)  # type: ignore[no-untyped-call]
    right = torch.softmax(scores, dim=1)
    right[torch.arange(4), target] -= 1
    for row in range(4):
        close(found[row, row], right[row].cpu(), 1e-13)
        assert (found[row].abs().sum(dim=1) > 0).sum() == 1
    twice: Any = torch.autograd.functional.hessian(  # type: ignore[no-untyped-call]
        lambda leaf: losses(leaf).sum(), scores, vectorize=True
    )
    p = torch.softmax(scores[0], dim=0)
    close(twice[0, :, 0], (torch.diag(p) - p.outer(p)).cpu(), 1e-13)


@pytest.mark.parametrize("name", ["target", "weight", "sample_weight", "normalizer"])
def test_what_changes_before_backward_is_noticed(name: str, served: Callable[[bool], None]) -> None:
    served(True)
    scores, target = drawn(5, 12, torch.float16)  # whose gradient waits for backward
    given: dict[str, Any] = {
        "target": target,
        "weight": torch.ones(12, device=DEVICE),
        "sample_weight": torch.ones(5, device=DEVICE),
        "normalizer": torch.tensor(5.0, device=DEVICE),
    }
    leaf = scores.requires_grad_()
    loss: Any = functional.cross_entropy(leaf, **given)
    given[name] += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(loss, leaf)


def test_an_ignored_index_of_numpys(served: Callable[[bool], None]) -> None:
    served(True)
    scores, target = drawn(5, 12, torch.float32)
    ignored: Any = np.int64(target[0].item())
    found = functional.cross_entropy(scores, target, ignore_index=ignored, reduction="none")
    assert found[0] == 0


@pytest.mark.parametrize("options", STEPS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_a_call_like_one_before_is_decided_no_more(
    dtype: torch.dtype, options: dict[str, Any], served: Callable[[bool], None]
) -> None:
    """Its launches are those of the call before, unless its tensors lie in another way."""
    served(True)
    given: dict[str, Any] = {
        name: each.to(DEVICE) if isinstance(each, Tensor) else each
        for name, each in options.items()
    }
    memory = torch.randn(2 + 7 * 3 * 12, device=DEVICE).to(dtype)
    target = torch.randint(12, (7, 3), device=DEVICE)
    target[2, 1] = -100

    def answers(scores: Tensor) -> list[Tensor]:
        leaf = scores.detach().requires_grad_()
        loss = functional.cross_entropy(leaf, target, **given)
        return [loss.detach(), *torch.autograd.grad(loss * 3, leaf)]

    found, decided = [], []
    for place in (0, 0, 1, 0, 1):  # at a multiple of 16 bytes, or not
        found.append(answers(memory[place : place + 252].view(7, 3, 12).movedim(2, 1)))
        decided.append(len(choose.DECISIONS))
    remembers = not isinstance(options.get("normalizer"), Tensor)
    assert decided == ([1, 1, 2, 2, 2] if remembers else [0] * 5)
    memory = memory.flip(0).contiguous()
    for place in (0, 1):
        scores = memory[place : place + 252].view(7, 3, 12).movedim(2, 1)
        found += answers(scores), answers(scores)
        choose.DECISIONS.clear()
        found.append(answers(scores))
    for one, other in ((0, 1), (0, 3), (2, 4), (5, 6), (5, 7), (8, 9), (8, 10)):
        assert all(torch.equal(*pair) for pair in zip(found[one], found[other], strict=True))


def test_sizes_that_differ_from_call_to_call_are_forgotten(
    served: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    served(True)
    monkeypatch.setattr(device_loss, "_MOST_DECISIONS", 3)
    for rows in range(1, 9):
        functional.cross_entropy(*drawn(rows, 5, torch.float32))
        assert 0 < len(choose.DECISIONS) <= 3


def test_a_gradient_that_is_asked_for_times_0(served: Callable[[bool], None]) -> None:
    served(True)
    scores, target = drawn(5, 12, torch.float32)
    scores[1, 2] = math.nan
    leaf = scores.requires_grad_()
    (gradient,) = torch.autograd.grad(0 * functional.cross_entropy(leaf, target), leaf)
    assert (gradient == 0).all()


def test_who_is_served(served: Callable[[bool], None]) -> None:
    served(True)
    scores, target = drawn(5, 12, torch.float32)
    with mock.patch.object(index_loss, "losses", wraps=index_loss.losses) as losses:
        functional.cross_entropy(scores, target)
        assert losses.call_count == 1
        functional.cross_entropy(scores, target, outputs=("loss",))
        functional.cross_entropy(scores, torch.softmax(scores, dim=1))
        functional.cross_entropy(scores, target, on_empty="raise")
        functional.cross_entropy(scores, target, sample_weight=[1.0] * 5)  # type: ignore[arg-type]
        functional.cross_entropy(scores, target, check=True)
        assert losses.call_count == 1
    assert not index_loss.serves(0, 5)


def test_arguments_that_do_not_fit_are_refused_as_ever(served: Callable[[bool], None]) -> None:
    served(True)
    scores, target = drawn(5, 12, torch.float32)
    for wrong in (
        {"weight": torch.ones(3, device=DEVICE)},
        {"sample_weight": torch.ones(3, device=DEVICE)},
        {"target": target[:3]},
        {"target": target.float()},
        {"temperature": 0.0},
        {"reduction": "average"},
    ):
        given: dict[str, Any] = {"input": scores, "target": target, **wrong}
        with pytest.raises(InputError):
            functional.cross_entropy(**given)


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1, "ignore_index": 3}])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_a_step_takes_no_more_than_eight_launches(
    dtype: torch.dtype, reduction: Any, options: dict[str, Any], served: Callable[[bool], None]
) -> None:
    """Kernels of ours, and PyTorch's own operations on numbers, forward and backward."""
    served(True)
    scores, target = drawn(9, 12, dtype)
    leaf, weight = scores.requires_grad_(), torch.rand(12).to(DEVICE)
    ones = torch.ones(9 if reduction == "none" else (), device=DEVICE)
    counter = Operations()
    with mock.patch.object(launch.Launch, "__call__", counter.launcher()), counter:
        loss: Any = functional.cross_entropy(
            leaf,
            target,
            weight,
            reduction=reduction,
            **options,
        )
        torch.autograd.grad(loss, leaf, ones)
    assert counter.launched <= 3
    assert counter.launched + len(counter.operations) <= 8, counter.operations


_MEMORY_ALONE = (
    "empty",
    "new_empty",
    "view",
    "detach",
    "unbind",
    "expand",
    "alias",
    "as_strided",
    "slice",
)
_LAUNCH = launch.Launch.__call__


class Operations(TorchDispatchMode):
    """Counts the operations that work on numbers, and the kernels that are launched."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[str] = []
        self.launched, self._inside = 0, False

    def launcher(self) -> Callable[..., None]:
        """Return what counts a launch and makes it."""

        def launch(*arguments: Any) -> None:
            self.launched += 1
            self._inside = True  # the interpreter copies what a kernel is given
            _LAUNCH(*arguments)
            self._inside = False

        return launch

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        name = operation._schema.name.removeprefix("aten::")
        if not self._inside and not name.lstrip("_").startswith(_MEMORY_ALONE):
            self.operations.append(name)
        return operation(*arguments, **(options or {}))


# --- the linear head ------------------------------------------------------------------------------


@pytest.mark.parametrize(("reduction", "biased"), list(product(["mean", "sum"], [False, True])))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_linear_head_is_that_of_plain_pytorch(
    dtype: torch.dtype, reduction: str, biased: bool, served: Callable[[bool], None]
) -> None:
    generator = torch.Generator().manual_seed(0)
    for rows, width, classes in ((7, 5, 12), (33, 4, 10), (9, 130, 21)):  # the last are stored
        head = [torch.randn(rows, width, generator=generator)]
        head += [torch.randn(classes, width, generator=generator)]
        head += [torch.randn(classes, generator=generator)] if biased else []
        target = torch.randint(classes, (rows,), generator=generator)
        target[2], target[3] = -100, classes - 1
        options: dict[str, Any]
        for options in (
            {},
            {"label_smoothing": 0.1, "class_weight": torch.linspace(0.1, 1, classes)},
            {"z_loss": 0.1, "softcap": 3.0, "temperature": 0.7, "memory_budget": 8 * classes},
        ):
            results = []
            for device, module in (("cpu", False), (DEVICE, True)):
                served(module)
                leaves = [each.to(dtype).to(device).requires_grad_() for each in head]
                given: dict[str, Any] = {
                    name: each.to(device) if isinstance(each, Tensor) else each
                    for name, each in options.items()
                }
                given |= {"bias": leaves[2] if biased else None, "reduction": reduction}
                loss: Any = functional.linear_cross_entropy(
                    leaves[0], leaves[1], target.to(device), **given
                )
                results.append([loss.detach(), *torch.autograd.grad(1.5 * loss, leaves)])
                with torch.no_grad():
                    loss = functional.linear_cross_entropy(
                        leaves[0], leaves[1], target.to(device), **given
                    )
                results[-1].append(loss)
            for expected, found in zip(*results, strict=True):
                error = (found.double().cpu() - expected.double()).norm() / expected.double().norm()
                assert error <= (3e-6 if dtype == torch.float32 else 3e-2)


def test_an_unknown_target_of_a_head_is_nan(served: Callable[[bool], None]) -> None:
    served(True)
    features, weight = torch.randn(4, 3).to(DEVICE), torch.randn(12, 3).to(DEVICE)
    features.requires_grad_()
    target = torch.tensor([1, 99, 3, -100], device=DEVICE)
    loss = functional.linear_cross_entropy(features, weight, target, check=False)
    (gradient,) = torch.autograd.grad(loss, features)
    assert loss.isnan()
    assert gradient.isnan().any(dim=1).tolist() == [False, True, False, False]
