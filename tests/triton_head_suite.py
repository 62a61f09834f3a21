"""The kernels of a linear head with few features, and the step over them, against plain formulas.

As `triton_index_suite`: in a process of its own, through Triton's interpreter or on a GPU,

    TRITON_INTERPRET=1 pytest tests/triton_head_suite.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bridle.kernels import thresholds
from bridle.kernels.triton import head_loss
from bridle.kernels.triton.head_loss import HeadLoss
from bridle.kernels.triton.index_loss import IndexLoss
from bridle.torch import functional, kernels
from triton_index_suite import (
    DEVICE,
    INFINITY,
    _device_arithmetic,  # noqa: F401 - a fixture for all tests
    right,
    served,  # noqa: F401 - a fixture
)

HALVES = [torch.float16, torch.bfloat16]
# What a gradient may be off, relative to its largest entry: the residual is rounded to half.
CLOSE = {torch.float16: 1e-3, torch.bfloat16: 1e-2}
TERMS: list[dict[str, Any]] = [
    {},
    {"label_smoothing": 0.1},
    {"z_loss": 0.01},
    {"softcap": 3.0, "temperature": 2.0},
    {"label_smoothing": 0.2, "z_loss": 0.1, "softcap": 5.0, "temperature": 0.5},
]


def drawn(
    rows: int, width: int, classes: int, dtype: torch.dtype, *, weighted: bool = False, **terms: Any
) -> HeadLoss:
    """Return a head, of whose rows the third does not count, and its loss."""
    generator = torch.Generator().manual_seed(rows + width + classes)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    target = torch.randint(classes, (rows,), generator=generator)
    target[2:3] = -1
    weight = torch.rand(classes, generator=generator) if weighted else None
    sample_weight = torch.rand(rows, generator=generator) if weighted else None
    loss = IndexLoss(
        target.to(DEVICE),
        None if weight is None else weight.to(DEVICE),
        None if sample_weight is None else sample_weight.to(DEVICE),
        -1,
        **terms,
    )
    drawn_head = normal(rows, width), 3 * width**-0.5 * normal(classes, width), normal(classes)
    features, head, bias = (each.to(dtype).to(DEVICE) for each in drawn_head)
    return HeadLoss(features, head, bias, loss)


def truth(given: HeadLoss) -> tuple[Tensor, float, list[Tensor]]:
    """Return losses, their divisor, and the gradients of features, head and bias, in float64."""
    head = [each.double().cpu() for each in given[:3] if each is not None]
    losses, divisor, residual = right(torch.nn.functional.linear(*head), given.loss)
    gradients = [residual @ head[1], residual.T @ head[0], residual.sum(dim=0)]
    return losses, divisor.item(), gradients[: len(head)]


def compare(given: HeadLoss) -> None:
    losses, divisor, gradients = truth(given)
    if not divisor:
        divisor, gradients = 1.0, [torch.zeros_like(each) for each in gradients]
    found, known = head_loss.losses(given, None, divisor)
    answers = [head_loss.features_gradient(given, known, torch.float32)]
    answers += [
        each for each in head_loss.head_gradients(given, known, torch.float32) if each is not None
    ]
    assert (found.double().cpu() - losses).abs().max() <= 2e-6 * losses.abs().max()
    for answer, expected in zip(answers, gradients, strict=True):
        error = (answer.double().cpu() - expected).abs().max()
        assert error <= CLOSE[given.features.dtype] * expected.abs().max()


@pytest.fixture(params=["tiles as on a device", "small tiles", "one program for all"])
def _tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut small problems as a device cuts large ones: many tiles, several shares, or one."""
    if request.param == "tiles as on a device":
        return
    for name in ("SUMS", "FEATURES", "HEAD"):
        monkeypatch.setattr(thresholds, f"NARROW_{name}_TILE", (16, 32, 4))
    monkeypatch.setattr(thresholds, "NARROW_LOSS_ROWS", 16)
    programs = 7 if request.param == "small tiles" else 1
    monkeypatch.setattr(thresholds, "NARROW_PROGRAMS", programs)


@pytest.mark.usefixtures("_tiles")
@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize(
    ("rows", "width", "classes"),
    [(1, 1, 1), (5, 3, 7), (131, 17, 97), (37, 64, 130), (16, 128, 64), (70, 33, 257)],
)
def test_losses_and_gradients_are_those_of_the_formulas(
    rows: int, width: int, classes: int, dtype: torch.dtype
) -> None:
    compare(drawn(rows, width, classes, dtype))


@pytest.mark.usefixtures("_tiles")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("terms", TERMS, ids=str)
def test_every_term_of_the_loss_is_there(terms: dict[str, Any], weighted: bool) -> None:
    given = drawn(45, 20, 77, torch.float16, weighted=weighted, **terms)
    compare(given)
    compare(given._replace(bias=None))


@pytest.mark.usefixtures("_tiles")
def test_a_sure_row_has_a_small_loss_and_no_negative_one() -> None:
    given = drawn(40, 24, 90, torch.bfloat16)
    features, head = given.features, given.head.clone()
    target = given.loss.target.clamp(min=0)
    head[target] = features  # of 24 dimensions: the largest score by far, for most
    given = given._replace(features=8 * features, head=head, bias=None)
    given = given._replace(loss=given.loss._replace(target=target))
    losses, _ = head_loss.losses(given, None, 1.0)
    expected, _, _ = truth(given)
    assert (expected < 1e-6).sum() > 20
    assert (losses >= 0).all()
    # Not of the loss, but of the scores that it is a difference of.
    assert (losses.double().cpu() - expected).abs().max() <= 2e-6 * 8 * 24
    assert losses[losses < 1e-9].numel() > 0


@pytest.mark.usefixtures("_tiles")
@pytest.mark.parametrize("value", [float("nan"), INFINITY])
def test_a_broken_row_breaks_no_other(value: float) -> None:
    given = drawn(35, 20, 77, torch.bfloat16)
    whole = truth(given)
    given.features[2, 3] = value  # it does not count
    losses, known = head_loss.losses(given, None, whole[1])
    of_features = head_loss.features_gradient(given, known, torch.float32)
    assert losses[2] == 0
    assert (of_features[2] == 0).all()
    torch.testing.assert_close(losses.double().cpu(), whole[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(of_features.double().cpu(), whole[2][0], rtol=0.02, atol=1e-3)
    given.features[7, 3] = value
    losses, known = head_loss.losses(given, None, whole[1])
    of_features = head_loss.features_gradient(given, known, torch.float32)
    of_head, _ = head_loss.head_gradients(given, known, torch.float32)
    assert losses.isnan().nonzero().flatten().tolist() == [7]
    assert of_features.isnan().all(dim=1).nonzero().flatten().tolist() == [7]
    assert of_head.isnan().all()


@pytest.mark.usefixtures("_tiles")
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_class_may_be_masked_by_its_bias(smoothing: float) -> None:
    given = drawn(35, 20, 77, torch.float16, label_smoothing=smoothing)
    assert given.bias is not None
    given.bias[given.loss.target[0]] = -INFINITY
    others = given.loss.target != given.loss.target[0]
    losses, known = head_loss.losses(given, None, 1.0)
    expected, _, _ = truth(given)
    assert losses[0] == expected[0] == INFINITY
    torch.testing.assert_close(
        losses[others].double().cpu(), expected[others.cpu()], rtol=1e-5, atol=1e-5
    )
    some = given._replace(features=given.features[others])
    compare(some._replace(loss=given.loss._replace(target=given.loss.target[others])))
    _, of_bias = head_loss.head_gradients(given, known, torch.float32)
    assert of_bias is not None
    assert of_bias[given.loss.target[0]] == -(~others).sum() * (1 - smoothing)


def test_the_same_call_gives_the_same_bits() -> None:
    given = drawn(131, 17, 97, torch.bfloat16)
    answers = []
    for _ in range(2):
        losses, known = head_loss.losses(given, None, 7.0)
        answers.append([losses, head_loss.features_gradient(given, known, torch.float32)])
        answers[-1] += head_loss.head_gradients(given, known, torch.float32)  # type: ignore[arg-type]
    assert all(torch.equal(one, other) for one, other in zip(*answers, strict=True))


# --- the step under autograd ----------------------------------------------------------------------


def test_which_heads_are_served() -> None:
    """Narrow ones in half precision; the others' scores are stored."""
    for width, dtype, expected in (
        (128, torch.bfloat16, True),
        (129, torch.bfloat16, False),
        (5, torch.float16, True),
        (5, torch.float32, False),
        (0, torch.float16, False),
    ):
        features = torch.zeros(3, width, dtype=dtype)
        assert head_loss.serves(features, features) is expected
        assert not head_loss.serves(features[:0], features)


def plain(head: list[Tensor], target: Tensor, factor: float, **options: Any) -> list[Tensor]:
    """Return loss and gradients of PyTorch's layer and loss, in float64."""
    leaves = [each.detach().double().cpu().requires_grad_() for each in head]
    scores = torch.nn.functional.linear(*leaves)
    loss = torch.nn.functional.cross_entropy(scores, target.cpu(), **options)
    return [loss.detach(), *torch.autograd.grad(factor * loss, leaves)]


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_step_is_that_of_plain_pytorch(
    dtype: torch.dtype,
    reduction: str,
    served: Callable[[bool], None],  # noqa: F811
) -> None:
    served(True)
    given = drawn(45, 20, 77, dtype)
    head: list[Any] = [given.features, given.head, given.bias]
    head[0] = head[0].T.contiguous().T  # not side by side
    target = torch.where(given.loss.target < 0, -100, given.loss.target)
    # Loss scaling: without it, what a mean divides by would be lost in float16.
    factor = 2.0**12
    expected = plain(head, target, factor, reduction=reduction, label_smoothing=0.1)
    leaves = [each.detach().requires_grad_() for each in head]
    loss = functional.linear_cross_entropy(
        *leaves[:2], target, bias=leaves[2], reduction=reduction, label_smoothing=0.1
    )
    for _ in range(2):  # the second time they are made again
        found = torch.autograd.grad(factor * loss, leaves, retain_graph=True)
        for answer, right_one in zip((loss, *found), expected, strict=True):
            assert answer.dtype == (torch.float32 if answer is loss else dtype)
            error = (answer.double().cpu() - right_one).norm() / right_one.norm()
            assert error <= CLOSE[dtype]


@pytest.mark.parametrize("asked", [0, 1, 2])
def test_a_gradient_that_nobody_asks_for_is_not_made(
    asked: int,
    served: Callable[[bool], None],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served(True)
    given = drawn(20, 9, 30, torch.bfloat16)
    made = []

    def noted(name: str) -> Callable[..., Any]:
        function = getattr(head_loss, name)

        def call(*arguments: Any) -> Any:
            made.append(name)
            return function(*arguments)

        return call

    for name in ("features_gradient", "head_gradients"):
        monkeypatch.setattr(head_loss, name, noted(name))
    leaves: list[Any] = [given.features, given.head, given.bias]
    leaves[asked] = leaves[asked].clone().requires_grad_()
    target = given.loss.target.clamp(min=0)
    loss = functional.linear_cross_entropy(*leaves[:2], target, bias=leaves[2])
    loss.backward()
    assert made == [["features_gradient", "head_gradients", "head_gradients"][asked]]
    expected = plain(leaves, target, 1.0)[1 + asked]
    error = (leaves[asked].grad.double().cpu() - expected).norm() / expected.norm()
    assert error <= CLOSE[torch.bfloat16]


@pytest.mark.parametrize("width", [20, 140])
@pytest.mark.parametrize("dtype", [*HALVES, torch.float32], ids=str)
@pytest.mark.skipif(DEVICE == "cpu", reason="what is waited for shows on a device")
def test_the_host_waits_for_no_head(dtype: torch.dtype, width: int) -> None:
    given = drawn(300, width, 500, dtype, weighted=True)
    assert given.loss.weight is not None
    leaves = [given.features.requires_grad_(), given.head.requires_grad_()]
    for weight in (None, given.loss.weight):
        for _ in range(2):  # the first time, kernels are compiled
            loss = functional.linear_cross_entropy(
                *leaves, given.loss.target, class_weight=weight, ignore_index=-1
            )
            loss.backward()
            torch.cuda.synchronize()
            torch.cuda.set_sync_debug_mode("error")
        torch.cuda.set_sync_debug_mode("default")
        assert loss.isfinite()


@pytest.mark.skipif(DEVICE == "cpu", reason="what a device allocates is counted on one")
def test_no_scores_are_stored() -> None:
    rows, classes = 4096, 50_000
    features = torch.randn(rows, 64, device=DEVICE, dtype=torch.bfloat16).requires_grad_()
    head = torch.randn(classes, 64, device=DEVICE, dtype=torch.bfloat16).requires_grad_()
    target = torch.randint(classes, (rows,), device=DEVICE)
    assert kernels.head_kernels(features, head) is not None
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    functional.linear_cross_entropy(features, head, target, check=False).backward()
    assert torch.cuda.max_memory_allocated() - before < rows * classes * 2 / 10
