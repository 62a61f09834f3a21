"""Losses over a sharded vocabulary, on ranks of a process group: what `test_torch_shards` starts.

    python tests/shard_suite.py REPORT

starts four processes once (gloo, found through a file, on loopback), which run every case in the
groups of 2, 3 and 4 of them and write what they found to REPORT, as JSON. The truth is told by
`oracle`: plain PyTorch in float64 on the whole scores, written apart from ours.
"""

# mypy: disable-error-code="arg-type, call-overload, index, no-untyped-call, operator, union-attr"
# Options are put together in dictionaries, and a leaf has a gradient once backward has run: what no
# type checker follows.

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its own name everywhere

import bridle
from bridle.kernels import thresholds
from bridle.torch import CrossEntropyLoss, LinearCrossEntropyLoss, causal_lm_loss

SIZES = (2, 3, 4)
# Ends a hang, and decides nothing: all cases together take about a minute.
TIMEOUT = datetime.timedelta(minutes=30)
CASES: dict[str, Callable[[World], None]] = {}


class World(NamedTuple):
    """A process group that this process is a rank of."""

    group: Any
    rank: int
    size: int
    mesh: Any

    def bounds(self, widths: list[int]) -> slice:
        start = sum(widths[: self.rank])
        return slice(start, start + widths[self.rank])


def case(function: Callable[[World], None]) -> Callable[[World], None]:
    """Add a case; all ranks of a group run it, and what one of them raises is reported."""
    CASES[function.__name__] = function
    return function


# --- what is right ------------------------------------------------------------------------------


def oracle(
    scores: Tensor,
    target: Any,
    weight: Tensor | None = None,
    *,
    label_smoothing: float = 0.0,
    sample_weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    normalizer: float | None = None,
    z_loss: float = 0.0,
    softcap: float = 0.0,
    temperature: float = 1.0,
) -> dict[str, Tensor]:
    """Return the loss of whole scores (N, C) and the other outputs, by the formulas in float64."""
    s = scores.double()
    z = (softcap * torch.tanh(s / softcap) if softcap else s) / temperature
    log_p = torch.log_softmax(z, 1)
    lse = torch.logsumexp(z, 1)
    classes = z.shape[1]
    counted = torch.ones(len(z), dtype=torch.bool)
    is_index = isinstance(target, Tensor) and not target.is_floating_point()
    if isinstance(target, tuple):
        aim = torch.zeros_like(z).scatter_add(1, target[0], target[1].to(z))
    elif is_index:
        counted = target != ignore_index
        aim = F.one_hot(torch.where(counted, target, 0), classes).double()
    else:
        aim = target.double()
    w = torch.ones(classes).double() if weight is None else weight.double()
    mass = w * ((1 - label_smoothing) * aim + label_smoothing / classes)
    surprise = -(mass * log_p).sum(1)
    u = torch.ones(len(z)).double() if sample_weight is None else sample_weight.double()
    u = torch.where(counted, u, 0)
    per_class = (w * aim).sum(1) if is_index else torch.ones(len(z)).double()
    if reduction == "none":
        loss = u * (surprise + z_loss * lse**2)
    elif reduction == "sum":
        loss = (u * (surprise + z_loss * lse**2)).sum()
    elif normalizer is not None:
        loss = (u * (surprise + z_loss * lse**2)).sum() / normalizer
    else:
        loss = (u * surprise).sum() / (u * per_class).sum()
        if z_loss:
            loss = loss + (u * z_loss * lse**2).sum() / u.sum()
    return {
        "loss": loss,
        "log_prob": torch.where(counted, (aim * log_p).sum(1), 0),
        "entropy": torch.where(counted, -(log_p.exp() * log_p).sum(1), 0),
        "logsumexp": torch.where(counted, lse, 0),
        "argmax": torch.where(counted, z.argmax(1), -1),
        "correct": (z.argmax(1) == aim.argmax(1)) & counted,
    }


OUTPUTS = ("loss", "log_prob", "entropy", "logsumexp", "argmax", "correct")


def assert_near(found: Tensor, right: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(
        found.detach().double(),
        right.detach().double(),
        rtol=tolerance,
        atol=tolerance,
        equal_nan=True,
    )


def assert_same_bits(world: World, *tensors: Tensor) -> None:
    """Compare with what the other ranks have, bit by bit."""
    for tensor in tensors:
        own = tensor.detach().contiguous().view(-1)
        pieces = [torch.empty_like(own) for _ in range(world.size)]
        dist.all_gather(pieces, own, group=world.group)
        for piece in pieces:
            assert torch.equal(piece.view(torch.uint8), own.view(torch.uint8)), (piece, own)


def random_widths(generator: torch.Generator, ranks: int, most: int = 5) -> list[int]:
    """Return how many columns each rank has: uneven, some none, at least two in all."""
    while True:
        widths = torch.randint(0, most + 1, (ranks,), generator=generator).tolist()
        if sum(widths) >= 2:
            return [int(width) for width in widths]


def new_generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def double_numbers(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def targets(kind: str, generator: torch.Generator, rows: int, classes: int) -> Any:
    if kind == "index":
        return torch.randint(0, classes, (rows,), generator=generator)
    if kind == "soft":
        return torch.softmax(double_numbers(generator, rows, classes), 1)
    indices = torch.rand(rows, classes, generator=generator).topk(min(3, classes), 1).indices
    return indices, torch.softmax(double_numbers(generator, *indices.shape), 1)


def own_part(target: Any, bounds: slice, padding: int = 0) -> Any:
    """Return this rank's part of a target: of distributions, with padding that holds garbage."""
    if isinstance(target, tuple) or not target.is_floating_point():
        return target
    return F.pad(target[:, bounds], (0, padding), value=torch.nan)


# --- every pair of options ----------------------------------------------------------------------

TOGGLES = (
    "weight", "label_smoothing", "sample_weight", "ignore_index", "sum", "none", "normalizer",
    "z_loss", "softcap", "temperature", "outputs", "padding", "inplace",
)  # fmt: skip
AGAINST = ({"sum", "none"}, {"sum", "normalizer"}, {"none", "normalizer"})


def pairs() -> Iterator[tuple[str, set[str]]]:
    for kind in ("index", "soft", "sparse"):
        for pair in itertools.combinations(TOGGLES, 2):
            if set(pair) in AGAINST or ("ignore_index" in pair and kind != "index"):
                continue
            yield kind, set(pair)
        yield kind, set(TOGGLES) - {"none", "normalizer", "inplace", "ignore_index"}


def options_of(
    toggles: set[str], generator: torch.Generator, rows: int, classes: int
) -> dict[str, Any]:
    numbers = {"label_smoothing": 0.3, "z_loss": 0.05, "softcap": 3.0, "temperature": 0.7}
    found: dict[str, Any] = {name: numbers[name] for name in toggles & set(numbers)}
    if "weight" in toggles:
        found["weight"] = torch.rand(classes, generator=generator, dtype=torch.float64) + 0.5
    if "sample_weight" in toggles:
        found["sample_weight"] = torch.rand(rows, generator=generator, dtype=torch.float64)
    if "ignore_index" in toggles:
        found["ignore_index"] = -1
    if "normalizer" in toggles:
        found["normalizer"] = 5.5
    for reduction in toggles & {"sum", "none"}:
        found["reduction"] = reduction
    return found


def compare_scores(world: World, kind: str, toggles: set[str], seed: int) -> None:
    """Compare `cross_entropy` of this rank's columns with the oracle of all."""
    generator = new_generator(seed)
    widths, rows = random_widths(generator, world.size), int(seed % 5) + 1
    classes, bounds = sum(widths), world.bounds(widths)
    scores = 2 * double_numbers(generator, rows, classes)
    target = targets(kind, generator, rows, classes)
    options = options_of(toggles, generator, rows, classes)
    if "ignore_index" in toggles and rows > 1:
        target[0] = -1
    # Padding stands at the end of all columns, on one rank or more.
    padding = seed % 3 + 1 if "padding" in toggles and world.rank == world.size - 1 else 0
    extra = {"classes": classes} if "padding" in toggles else {}
    whole = scores.clone().requires_grad_()
    right = oracle(whole, target, **options)
    seeds = double_numbers(generator, rows)
    grown = (right["loss"] * (seeds if "none" in toggles else 1)).sum()
    if "outputs" in toggles:
        grown = grown + (seeds * (right["entropy"] + 2 * right["logsumexp"])).sum()
        grown = grown + (seeds * right["log_prob"]).sum()
    grown.backward()
    leaf = F.pad(scores[:, bounds], (0, padding), value=torch.nan).requires_grad_()
    if "weight" in options:
        options["weight"] = F.pad(options["weight"][bounds], (0, padding), value=torch.nan)
    own = leaf * 1 if "inplace" in toggles else leaf
    if "inplace" in toggles:
        own.retain_grad()
    found = bridle.cross_entropy(
        own,
        own_part(target, bounds, padding),
        **options,
        **extra,
        group=world.group,
        inplace="inplace" in toggles,
        outputs=OUTPUTS if "outputs" in toggles else None,
    )
    loss = found.loss if "outputs" in toggles else found
    assert_near(loss, right["loss"])
    assert_same_bits(world, loss)
    ours = (loss * (seeds if "none" in toggles else 1)).sum()
    if "outputs" in toggles:
        for name in OUTPUTS:
            assert_near(getattr(found, name), right[name])
        assert_same_bits(world, torch.stack([getattr(found, name) for name in OUTPUTS[1:-1]]))
        ours = ours + (seeds * (found.entropy + 2 * found.logsumexp)).sum()
        ours = ours + (seeds * found.log_prob).sum()
    ours.backward()
    gradient = leaf.grad if "inplace" not in toggles else own.grad
    assert gradient is not None
    assert whole.grad is not None
    assert_near(gradient[:, : widths[world.rank]], whole.grad[:, bounds])
    assert torch.equal(
        gradient[:, widths[world.rank] :], torch.zeros(rows, padding, dtype=torch.float64)
    )


def each_pair(world: World, compare: Callable[[World, str, set[str], int], None]) -> None:
    for seed, (kind, toggles) in enumerate(pairs()):
        try:
            compare(world, kind, toggles, seed)
        except Exception as error:
            raise AssertionError(f"{kind} {sorted(toggles)} seed {seed}") from error


@case
def every_pair_of_options(world: World) -> None:
    each_pair(world, compare_scores)


@case
def every_pair_of_options_in_compiled_kernels(world: World) -> None:
    if world.size != 3:  # the same kernels in any group
        return
    before = thresholds.COMPILED_TENSOR_NUMBERS
    thresholds.COMPILED_TENSOR_NUMBERS = 0
    try:
        each_pair(world, compare_scores)
    finally:
        thresholds.COMPILED_TENSOR_NUMBERS = before


def compare_heads(world: World, kind: str, toggles: set[str], seed: int) -> None:
    """Compare `linear_cross_entropy` of this rank's rows of a weight with the oracle of all."""
    generator = new_generator(seed)
    widths, rows, width = random_widths(generator, world.size), int(seed % 5) + 1, 3
    classes, bounds = sum(widths), world.bounds(widths)
    features = double_numbers(generator, rows, width)
    matrix, bias = double_numbers(generator, classes, width), double_numbers(generator, classes)
    target = targets(kind, generator, rows, classes)
    options = options_of(toggles, generator, rows, classes)
    if "ignore_index" in toggles and rows > 1:
        target[0] = -1
    padding = seed % 3 + 1 if "padding" in toggles and world.rank == world.size - 1 else 0
    extra = {"classes": classes} if "padding" in toggles else {}
    whole = [each.clone().requires_grad_() for each in (features, matrix, bias)]
    right = oracle(F.linear(*whole), target, **options)
    seeds = double_numbers(generator, rows)
    (right["loss"] * (seeds if "none" in toggles else 1)).sum().backward()
    if "weight" in options:
        options["class_weight"] = F.pad(
            options.pop("weight")[bounds], (0, padding), value=torch.nan
        )
    leaves = [
        features.clone().requires_grad_(),
        F.pad(matrix[bounds], (0, 0, 0, padding), value=torch.nan).requires_grad_(),
        F.pad(bias[bounds], (0, padding), value=torch.nan).requires_grad_(),
    ]
    found = bridle.linear_cross_entropy(
        leaves[0],
        leaves[1],
        own_part(target, bounds, padding),
        bias=leaves[2],
        **options,
        **extra,
        group=world.group,
        outputs=OUTPUTS if "outputs" in toggles else None,
        memory_budget=8 * classes * 2,  # two rows a block
    )
    loss = found.loss if "outputs" in toggles else found
    assert_near(loss, right["loss"])
    assert_same_bits(world, loss)
    if "outputs" in toggles:
        for name in OUTPUTS:
            assert_near(getattr(found, name), right[name])
    (loss * (seeds if "none" in toggles else 1)).sum().backward()
    own = slice(0, widths[world.rank])
    assert_near(leaves[0].grad, whole[0].grad)
    assert_same_bits(world, leaves[0].grad)
    for leaf, all_rows in zip(leaves[1:], whole[1:], strict=True):
        assert_near(leaf.grad[own], all_rows.grad[bounds])
        assert not leaf.grad[widths[world.rank] :].any()


@case
def every_pair_of_options_of_a_head(world: World) -> None:
    each_pair(world, compare_heads)


# --- layouts, dtypes, random shapes -------------------------------------------------------------


@case
def random_shapes(world: World) -> None:
    for seed in range(30):
        generator = new_generator(1000 + seed)
        widths = random_widths(generator, world.size, most=40)
        classes, bounds = sum(widths), world.bounds(widths)
        rows = int(torch.randint(0, 60, (1,), generator=generator))
        scores = 3 * double_numbers(generator, rows, classes)
        target = targets("index", generator, rows, classes)
        whole = scores.clone().requires_grad_()
        F.cross_entropy(whole, target, label_smoothing=0.1, reduction="sum").backward()
        # A layout with gaps between the rows.
        own = torch.empty(rows, widths[world.rank] + 2, dtype=torch.float64)
        own[:, : widths[world.rank]] = scores[:, bounds]
        leaf = own[:, : widths[world.rank]].detach().requires_grad_()
        loss = bridle.cross_entropy(
            leaf, target, label_smoothing=0.1, reduction="sum", group=world.group
        )
        loss.backward()
        right = F.cross_entropy(scores, target, label_smoothing=0.1, reduction="sum")
        assert_near(loss, right)
        assert_same_bits(world, loss)
        assert_near(leaf.grad, whole.grad[:, bounds])


@case
def padding_on_several_ranks(world: World) -> None:
    """As many columns on each rank, of which the last ranks' are padding: Megatron's way."""
    generator = new_generator(7)
    for classes in range(1, 4 * world.size + 1):
        bounds = slice(min(4 * world.rank, classes), min(4 * world.rank + 4, classes))
        scores = double_numbers(generator, 5, classes)
        target = targets("index", generator, 5, classes)
        whole = scores.clone().requires_grad_()
        right = F.cross_entropy(whole, target, label_smoothing=0.2)
        right.backward()
        padding = 4 - (bounds.stop - bounds.start)
        own = F.pad(scores[:, bounds], (0, padding), value=1e38).requires_grad_()
        loss = bridle.cross_entropy(
            own, target, label_smoothing=0.2, group=world.group, classes=classes
        )
        loss.backward()
        assert_near(loss, right)
        assert_near(own.grad[:, : 4 - padding], whole.grad[:, bounds])
        assert not own.grad[:, 4 - padding :].any()


@case
def classes_on_other_axes(world: World) -> None:
    generator = new_generator(3)
    widths = [2, 3, 1, 4][: world.size]
    classes, bounds = sum(widths), world.bounds(widths)
    scores = double_numbers(generator, 2, classes, 3)
    target = torch.randint(0, classes, (2, 3), generator=generator)
    target[0, 1] = -100
    soft = torch.softmax(double_numbers(generator, 2, classes, 3), 1)
    for aim in (target, soft):
        whole = scores.clone().requires_grad_()
        right = F.cross_entropy(whole, aim, reduction="none")
        right.sum().backward()
        own_aim = aim[:, bounds] if aim is soft else aim
        own = scores[:, bounds].clone().requires_grad_()
        loss = bridle.cross_entropy(own, own_aim, reduction="none", group=world.group)
        loss.sum().backward()
        assert_near(loss, right)
        assert_near(own.grad, whole.grad[:, bounds])
        last = scores[:, bounds].movedim(1, -1).clone().requires_grad_()
        last_aim = own_aim.movedim(1, -1) if aim is soft else own_aim
        bridle.cross_entropy(last, last_aim, reduction="sum", axis=-1, group=world.group).backward()
        assert_near(last.grad.movedim(-1, 1), whole.grad[:, bounds])
    one = scores[0, bounds, 0].clone().requires_grad_()
    loss = bridle.cross_entropy(one, target[0, 0], group=world.group)
    loss.backward()
    assert loss.shape == ()
    assert_near(loss, F.cross_entropy(scores[0, :, 0], target[0, 0]))


@case
def low_precision(world: World) -> None:
    generator = new_generator(5)
    widths = [30, 11, 25, 17][: world.size]
    classes, bounds = sum(widths), world.bounds(widths)
    target = targets("index", generator, 20, classes)
    for dtype, tolerance in ((torch.bfloat16, 1e-2), (torch.float16, 2e-3), (torch.float32, 2e-6)):
        scores = (4 * double_numbers(generator, 20, classes)).to(dtype)
        for options in ({}, {"temperature": 0.7}, {"softcap": 5.0, "label_smoothing": 0.1}):
            whole = scores.double().requires_grad_()
            right = oracle(whole, target, **options)["loss"]
            right.backward()
            own = scores[:, bounds].clone().requires_grad_()
            loss = bridle.cross_entropy(own, target, group=world.group, **options)
            loss.backward()
            assert loss.dtype == torch.float32
            assert own.grad.dtype == dtype
            assert_near(loss, right, 2e-6)
            assert_same_bits(world, loss)
            assert_near(own.grad, whole.grad[:, bounds], tolerance)


@case
def a_common_offset(world: World) -> None:
    """Scores far from 0, and divided by a temperature: maxima must not be rounded on the way."""
    generator = new_generator(6)
    widths = [3, 4, 2, 3][: world.size]
    classes, bounds = sum(widths), world.bounds(widths)
    scores = (torch.randn(6, classes, generator=generator) * 4 + 1e6).float()
    target = targets("index", generator, 6, classes)
    for temperature in (1.0, 3.0, 0.7):
        whole = scores.double().requires_grad_()
        right = oracle(whole, target, temperature=temperature)["loss"]
        right.backward()
        own = scores[:, bounds].clone().requires_grad_()
        loss = bridle.cross_entropy(own, target, temperature=temperature, group=world.group)
        loss.backward()
        assert_near(loss, right, 2e-6)
        assert_near(own.grad, whole.grad[:, bounds], 2e-6)


@case
def a_target_that_is_nearly_certain(world: World) -> None:
    """Of p near 1 the gradient p − 1 keeps its digits, in float32 too."""
    classes = 3 * world.size
    scores = torch.zeros(4, classes)
    target = torch.tensor([0, 1, classes - 1, 4])
    scores[range(4), target] = torch.tensor([5.0, 12.0, 18.0, 22.0])
    whole = scores.double().requires_grad_()
    oracle(whole, target, reduction="sum")["loss"].backward()
    bounds = slice(3 * world.rank, 3 * world.rank + 3)
    before = thresholds.COMPILED_TENSOR_NUMBERS
    for numbers in (before, 0):
        thresholds.COMPILED_TENSOR_NUMBERS = numbers
        own = scores[:, bounds].clone().requires_grad_()
        bridle.cross_entropy(own, target, reduction="sum", group=world.group).backward()
        thresholds.COMPILED_TENSOR_NUMBERS = before
        torch.testing.assert_close(own.grad.double(), whole.grad[:, bounds], rtol=1e-5, atol=0)


@case
def hostile_rows(world: World) -> None:
    """Masked classes, masked shards, masked targets, NaN and infinity: as of whole rows."""
    generator = new_generator(8)
    widths = [2, 3, 1, 2][: world.size]
    classes, bounds = sum(widths), world.bounds(widths)
    scores = double_numbers(generator, 9, classes)
    inf = torch.inf
    scores[1, :2] = -inf  # all of the first rank's
    scores[2, 2:] = -inf  # all but the first rank's
    scores[3, 0] = torch.nan
    scores[4, classes - 1] = inf
    scores[5] = -inf
    scores[6, 0] = -inf
    scores[7, :2] = -inf
    scores[8] = 1e300
    target = torch.tensor([0, 2, 0, 1, 1, 1, 1, 0, 1])  # that of row 7 is masked
    soft = F.one_hot(target, classes).double()
    half = torch.where(scores == -inf, 0, 1.0)
    half = half / half.sum(1, keepdim=True).clip(min=1)
    half[5] = 1 / classes
    for aim in (target, soft, half, (target[:, None], torch.ones(9, 1).double())):
        for options in ({}, {"label_smoothing": 0.1}, {"softcap": 2.0}, {"temperature": 2.0}):
            whole = scores.clone().requires_grad_()
            right = bridle.cross_entropy(whole, aim, reduction="none", outputs=OUTPUTS, **options)
            right.loss.sum().backward()
            own = scores[:, bounds].clone().requires_grad_()
            own_aim = own_part(aim, bounds)
            loss = bridle.cross_entropy(
                own, own_aim, reduction="none", group=world.group, outputs=OUTPUTS, **options
            )
            loss.loss.sum().backward()
            for name in OUTPUTS:
                usual = slice(0, 3) if name in ("argmax", "correct") else slice(None)
                assert_near(getattr(loss, name)[usual], getattr(right, name)[usual])
            there = torch.tensor([0, 1, 2, 6, 7, 8])  # the others are broken, and NaN may differ
            assert_near(own.grad[there], whole.grad[there][:, bounds])
            clean = ~whole.grad.isnan().any(1)
            assert_near(own.grad[clean], whole.grad[clean][:, bounds])
    # What does not count disturbs nothing, even if it is broken.
    ignored = torch.where(torch.arange(9) == 3, -100, target)
    own = scores[:, bounds].clone().requires_grad_()
    bridle.cross_entropy(own, ignored, reduction="sum", group=world.group).backward()
    assert not own.grad[3].any()


@case
def no_rows(world: World) -> None:
    own = torch.zeros(0, 3, dtype=torch.float64, requires_grad=True)
    nothing = torch.zeros(0, dtype=torch.long)
    loss = bridle.cross_entropy(own, nothing, group=world.group)
    assert loss.isnan()
    zero = bridle.cross_entropy(own, nothing, group=world.group, on_empty="zero")
    zero.backward()
    assert zero == 0
    assert own.grad.shape == (0, 3)
    raises(
        bridle.InputError,
        "no sample",
        lambda: bridle.cross_entropy(own, nothing, group=world.group, on_empty="raise"),
    )
    ignored = torch.full((2,), -100)
    scores = torch.zeros(2, 3, requires_grad=True)
    assert bridle.cross_entropy(scores, ignored, group=world.group).isnan()
    features, head = torch.zeros(0, 2), torch.zeros(3, 2, requires_grad=True)
    empty = bridle.linear_cross_entropy(features, head, nothing, group=world.group, on_empty="zero")
    empty.backward()
    assert not head.grad.any()


@case
def a_rank_without_columns(world: World) -> None:
    generator = new_generator(9)
    scores, target = double_numbers(generator, 4, 6), targets("index", generator, 4, 6)
    has_all = world.rank == world.size - 1
    own = (scores if has_all else scores[:, :0]).clone().requires_grad_()
    loss = bridle.cross_entropy(own, target, label_smoothing=0.1, group=world.group)
    loss.backward()
    whole = scores.clone().requires_grad_()
    right = F.cross_entropy(whole, target, label_smoothing=0.1)
    right.backward()
    assert_near(loss, right)
    assert_near(own.grad, whole.grad if has_all else whole.grad[:, :0])


# --- PyTorch's own samples ----------------------------------------------------------------------


def samples() -> list[Any]:
    """Return the sample inputs of PyTorch's own tests of cross_entropy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    torch.manual_seed(0)
    (info,) = [
        each
        for each in op_db
        if each.name == "nn.functional.cross_entropy" and each.variant_test_name == ""
    ]
    return list(info.sample_inputs("cpu", torch.float64, requires_grad=True))


SAMPLES: list[Any] = []


@case
def all_samples_of_pytorch(world: World) -> None:
    assert len(SAMPLES) >= 21
    for number, sample in enumerate(SAMPLES):
        for most in (1, 3):
            compare_sample(world, sample, number, most)


def compare_sample(world: World, sample: Any, number: int, most: int) -> None:
    whole = sample.input.detach().clone().requires_grad_()
    (target,) = sample.args
    target = target.detach()
    place = min(1, whole.dim() - 1)
    classes = whole.shape[place]
    edges = torch.randint(
        0, classes + 1, (world.size - 1,), generator=new_generator(number + 100 * most)
    )
    edges = torch.tensor([0, *edges.sort().values.tolist(), classes])
    bounds = slice(int(edges[world.rank]), int(edges[world.rank + 1]))
    is_soft = target.is_floating_point()
    aim = target.clone().requires_grad_() if is_soft else target
    right = F.cross_entropy(whole, aim, **sample.kwargs)
    right.sum().backward()
    index = (slice(None),) * place + (bounds,)
    own = sample.input.detach()[index].clone().requires_grad_()
    own_aim = target[index].clone().requires_grad_() if is_soft else target
    options = dict(sample.kwargs)
    if options.get("weight") is not None:
        options["weight"] = options["weight"].detach()[bounds]
    loss = bridle.cross_entropy(own, own_aim, **options, group=world.group, check=False)
    loss.sum().backward()
    assert_near(loss, right)
    assert_near(own.grad, whole.grad[index])
    if is_soft:
        assert_near(own_aim.grad, aim.grad[index])


# --- the known failures of others ---------------------------------------------------------------


@case
def padded_columns_are_not_in_the_sum(world: World) -> None:
    """As they were in tokamax and verl: with scores of 0 a padded column counts one more."""
    columns = 8
    classes = columns * world.size - 5
    scores = torch.zeros(3, columns, dtype=torch.float64)
    target = torch.tensor([0, 1, classes - 1])
    for smoothing in (0.0, 0.5):
        loss = bridle.cross_entropy(
            scores, target, label_smoothing=smoothing, group=world.group, classes=classes
        )
        assert_near(loss, torch.tensor(float(classes)).double().log())


@case
def smoothing_is_over_the_whole_vocabulary(world: World) -> None:
    """As it was not in Megatron: over the local shard only."""
    classes = 2 * world.size
    scores = torch.arange(classes).double()[None]
    target = torch.tensor([0])
    log_p = torch.log_softmax(scores[0], 0)
    right = -(0.9 * log_p[0] + 0.1 * log_p.mean())
    own = scores[:, 2 * world.rank : 2 * world.rank + 2]
    loss = bridle.cross_entropy(own, target, label_smoothing=0.1, group=world.group)
    assert_near(loss, right)


@case
def a_target_elsewhere_matches_no_padded_column(world: World) -> None:
    """As it did in Cut Your Losses: no rank takes a target for one of its own that is not."""
    columns = 4
    classes = columns * world.size - 3
    generator = new_generator(11)
    scores = double_numbers(generator, classes, classes)
    padded = F.pad(scores, (0, 3), value=7.0)
    own = padded[:, columns * world.rank : columns * world.rank + columns].requires_grad_()
    target = torch.arange(classes)
    loss = bridle.cross_entropy(own, target, reduction="none", group=world.group, classes=classes)
    assert_near(loss, F.cross_entropy(scores, target, reduction="none"))
    # An id that only padding could have is an error, or NaN where that is not looked for.
    beyond = torch.full((classes,), classes)
    given = {"group": world.group, "classes": classes}
    raises(bridle.TargetRangeError, f"row 0 is {classes}", lambda: bridle.cross_entropy(
        own, beyond, **given))  # fmt: skip
    assert bridle.cross_entropy(own, beyond, check=False, **given).isnan()
    head = torch.zeros(columns, 2, dtype=torch.float64)
    features = torch.zeros(classes, 2, dtype=torch.float64)
    assert bridle.linear_cross_entropy(features, head, beyond, check=False, **given).isnan()


@case
def the_bias_is_added_once(world: World) -> None:
    """As it was not in Cut Your Losses: once for each tile."""
    generator = new_generator(12)
    rows, width, columns = 11, 300, 130
    features = double_numbers(generator, rows, width)
    weight = double_numbers(generator, columns * world.size, width) / 10
    bias = 5 * double_numbers(generator, columns * world.size)
    target = targets("index", generator, rows, columns * world.size)
    whole = bias.clone().requires_grad_()
    right = F.cross_entropy(F.linear(features, weight, whole), target)
    right.backward()
    bounds = slice(columns * world.rank, columns * (world.rank + 1))
    own = bias[bounds].clone().requires_grad_()
    loss = bridle.linear_cross_entropy(
        features, weight[bounds], target, bias=own, group=world.group, memory_budget=columns * 24
    )
    loss.backward()
    assert_near(loss, right)
    assert_near(own.grad, whole.grad[bounds])


# --- errors: on all ranks, and never a hang -------------------------------------------------------


def raises(kind: type[Exception], text: str, call: Callable[[], Any]) -> None:
    found = None
    try:
        call()
    except kind as error:
        found = str(error)
    assert found is not None, f"nothing was raised; expected {text!r}"
    assert text in found, found


@case
def errors_of_all_ranks(world: World) -> None:
    group, scores = world.group, torch.zeros(4, 3)
    target = torch.tensor([0, 1, 2, 3])

    def loss(*given: Any, **options: Any) -> Callable[[], Any]:
        return lambda: bridle.cross_entropy(*given, **{"group": group, **options})

    far = torch.tensor([0, 1, 99, 2])
    raises(bridle.TargetRangeError, "row 2 is 99", loss(scores, far))
    raises(bridle.InputError, "group: expected a process group", loss(scores, target, group="tp"))
    raises(bridle.InputError, "classes: expected between", loss(scores, target, classes=99))
    raises(bridle.InputError, "classes: expected a whole number", loss(scores, target, classes=0))
    raises(
        bridle.InputError,
        "group: expected a process group",
        lambda: bridle.cross_entropy(scores, target, classes=3),
    )
    raises(
        bridle.InputError,
        "group: expected only with a tensor",
        lambda: bridle.cross_entropy([[0.0, 1.0]], [0], group=group),
    )
    raises(
        bridle.InputError,
        "group: expected only with a tensor",
        lambda: bridle.linear_cross_entropy([[0.0, 1.0]], [[0.0, 1.0]], [0], group=group),
    )
    raises(bridle.InputError, "at least one class", loss(torch.zeros(4, 0), target))
    raises(bridle.InputError, "label_smoothing", loss(scores, target, label_smoothing=2.0))
    raises(bridle.InputError, "normalizer", loss(scores, target, normalizer=-1.0))
    no_choice = torch.zeros(4, 0, dtype=torch.long), torch.zeros(4, 0)
    raises(bridle.InputError, "target[0]", loss(scores, no_choice))
    raises(bridle.InputError, "tensors with values", loss(scores.to("meta"), target))
    uneven = torch.full((4, 3), 0.25)
    raises(bridle.InputError, "row 0 is a sum of", loss(scores, uneven))
    raises(bridle.InputError, "target", loss(scores, torch.zeros(3, dtype=torch.long)))
    heads = torch.zeros(3, 2, 5)
    raises(
        bridle.InputError,
        "weight of shape (C, D)",
        lambda: bridle.linear_cross_entropy(
            torch.zeros(4, 5), heads, torch.zeros(4, 2, dtype=torch.long), group=group
        ),
    )


@case
def errors_of_one_rank(world: World) -> None:
    """Raise what is wrong on one rank there, and on the others name that rank."""
    group, scores, target = world.group, torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])
    wrong = world.size - 1
    is_wrong = world.rank == wrong

    def expect(
        text: str, call: Callable[[], Any], others: str = f"an error on rank {wrong}"
    ) -> None:
        raises(bridle.InputError, text if is_wrong else others, call)

    def loss(aim: Any, *given: Any, **options: Any) -> Callable[[], Any]:
        return lambda: bridle.cross_entropy(scores, aim, *given, **options, group=group)

    weight = torch.tensor([1.0, 1.0, -1.0 if is_wrong else 1.0])
    expect("weight: entry 2 is -1.0", loss(target, weight))
    expect("weight: expected shape", loss(target, torch.ones(4 if is_wrong else 3)[:5]))
    soft = torch.full((4, 3), 1 / (3 * world.size))
    soft[1, 1] = -0.5 if is_wrong else soft[1, 1]
    expect("target", loss(soft))
    expect("label_smoothing", loss(target, label_smoothing=-1.0 if is_wrong else 0.1))
    everywhere = f"another on rank {wrong} than on rank 0"

    def differ(name: str, call: Callable[[], Any]) -> None:
        raises(bridle.InputError, f"{name}: expected the same on all ranks of the group, "
               f"found {everywhere}", call)  # fmt: skip

    differ("target", loss(target.flip(0) if is_wrong else target))
    differ("sample_weight", loss(target, sample_weight=torch.ones(4) + is_wrong))
    differ("z_loss", loss(target, z_loss=1e-4 if is_wrong else 0.0))
    differ("reduction", loss(target, reduction="sum" if is_wrong else "mean"))
    differ("outputs", loss(target, outputs=["argmax"] if is_wrong else None))
    differ("input", lambda: bridle.cross_entropy(
        scores[: 3 if is_wrong else 4], target[: 3 if is_wrong else 4], group=group))  # fmt: skip
    differ("classes", loss(target, classes=4 if is_wrong else 3))
    features = torch.zeros(4, 2, requires_grad=is_wrong)
    differ("features", lambda: bridle.linear_cross_entropy(
        features, torch.zeros(3, 2), target, group=group))  # fmt: skip
    # After all of that the ranks are still together.
    assert_near(loss(target)(), torch.tensor(3.0 * world.size).double().log(), 1e-6)


@case
def rows_that_are_split_are_found_out(world: World) -> None:
    target = torch.tensor([0, 1]) if world.rank else torch.tensor([1, 0])
    raises(
        bridle.InputError,
        "gathered first",
        lambda: bridle.cross_entropy(torch.zeros(2, 3), target, group=world.group),
    )


@case
def no_second_derivative(world: World) -> None:
    target = torch.tensor([0, 1])
    scores = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    loss = bridle.cross_entropy(scores, target, group=world.group)
    raises(
        bridle.InputError,
        "a derivative of it",
        lambda: torch.autograd.grad(loss, scores, create_graph=True),
    )
    raises(
        bridle.InputError,
        "torch.func",
        lambda: torch.func.grad(lambda x: bridle.cross_entropy(x, target, group=world.group))(
            scores.detach()
        ),
    )
    own = scores * 1
    loss = bridle.cross_entropy(own, target, group=world.group, inplace=True)
    loss.backward(retain_graph=True)
    raises((bridle.InputError, RuntimeError), "", loss.backward)
    raises(
        bridle.InputError,
        "inplace",
        lambda: bridle.cross_entropy(scores, target, group=world.group, inplace=True),
    )


# --- how often ranks wait for each other ----------------------------------------------------------


@contextlib.contextmanager
def counted_collectives() -> Iterator[list[str]]:
    """Yield the names of the collectives that run."""
    seen: list[str] = []
    names = [
        "all_gather", "all_reduce", "broadcast", "reduce_scatter", "all_to_all", "gather",
        "all_gather_into_tensor", "reduce_scatter_tensor", "all_gather_object", "scatter",
        "all_to_all_single", "barrier", "send", "recv",
    ]  # fmt: skip
    before = {name: getattr(dist, name) for name in names}

    def wrapped(name: str) -> Any:
        def call(*given: Any, **options: Any) -> Any:
            seen.append(name)
            return before[name](*given, **options)

        return call

    for name in names:
        setattr(dist, name, wrapped(name))
    try:
        yield seen
    finally:
        for name in names:
            setattr(dist, name, before[name])


@case
def two_collectives_forward_and_none_backward(world: World) -> None:
    from torch.distributed.tensor.debug import CommDebugMode

    generator = new_generator(13)
    scores = double_numbers(generator, 4, 3)
    soft = torch.full((4, 3), 1 / (3 * world.size), dtype=torch.float64)
    pair = torch.zeros(4, 2, dtype=torch.long), torch.full((4, 2), 0.5)
    options = {"label_smoothing": 0.1, "z_loss": 0.1, "outputs": ("loss", "entropy", "correct")}
    for target in (torch.tensor([0, 1, 2, 0]), soft, pair):
        for some in ({}, {"weight": torch.ones(3)}, {"weight": torch.ones(3), **options}):
            own = scores.clone().requires_grad_()
            with counted_collectives() as seen:
                found: Any = bridle.cross_entropy(own, target, **some, group=world.group)
            assert seen == ["all_gather"] * 2, seen
            loss = found.loss if "outputs" in some else found
            with counted_collectives() as seen:
                loss.backward()
            assert seen == []
    features = double_numbers(generator, 4, 2)
    dist.broadcast(features, dist.get_global_rank(world.group, 0), group=world.group)
    for wants in (False, True):
        given = features.clone().requires_grad_(wants)
        weight = double_numbers(generator, 3, 2).requires_grad_()
        mode = CommDebugMode()
        with mode:
            loss = bridle.linear_cross_entropy(given, weight, pair[0][:, 0], group=world.group)
        assert mode.get_total_counts() == 2
        with counted_collectives() as seen:
            loss.backward()
        assert seen == ["all_reduce"] * wants


# --- in training --------------------------------------------------------------------------------


class ToyModel(torch.nn.Module):
    """A language model of a token and its successor, whose head may be one rank's."""

    def __init__(self, classes: int, width: int, bounds: slice) -> None:
        super().__init__()
        generator = new_generator(14)
        table = double_numbers(generator, classes, width)
        hidden = double_numbers(generator, width, width) / width**0.5
        head, bias = double_numbers(generator, classes, width), double_numbers(generator, classes)
        self.table, self.hidden = torch.nn.Parameter(table), torch.nn.Parameter(hidden)
        self.head = torch.nn.Parameter(head[bounds].clone())
        self.bias = torch.nn.Parameter(bias[bounds].clone())

    def forward(self, tokens: Tensor) -> Tensor:
        return torch.tanh(self.table[tokens] @ self.hidden)


def batches(classes: int, steps: int) -> Iterator[Tensor]:
    generator = new_generator(15)
    for _ in range(steps):
        yield torch.randint(0, classes, (4, 9), generator=generator)


@case
def a_tensor_parallel_language_model(world: World) -> None:
    """Fifty steps to the losses of a model that is whole, in two steps of accumulation each."""
    columns, classes, width = 7, 7 * world.size - 4, 6
    start = columns * world.rank
    bounds = slice(min(start, classes), min(start + columns, classes))
    alone = ToyModel(classes, width, slice(0, classes))
    sharded = ToyModel(classes, width, bounds)
    padding = columns - (bounds.stop - bounds.start)
    with torch.no_grad():
        sharded.head = torch.nn.Parameter(F.pad(sharded.head, (0, 0, 0, padding), value=3.0))
        sharded.bias = torch.nn.Parameter(F.pad(sharded.bias, (0, padding), value=3.0))
    optimizers = [torch.optim.AdamW(model.parameters(), 0.03) for model in (alone, sharded)]
    losses = []
    for tokens in batches(classes, 50):
        for optimizer in optimizers:
            optimizer.zero_grad()
        for part in tokens.chunk(2):
            scores = F.linear(alone(part), alone.head, alone.bias)[:, :-1]
            right = F.cross_entropy(
                scores.flatten(0, 1), part[:, 1:].flatten(), label_smoothing=0.1
            )
            (right / 2).backward()
            loss = bridle.linear_cross_entropy(
                sharded(part), sharded.head, part, bias=sharded.bias, label_smoothing=0.1,
                shift=1, group=world.group, classes=classes,
            )  # fmt: skip
            (loss / 2).backward()
            assert_near(loss, right, 1e-9)
            losses.append(loss.detach())
        for optimizer in optimizers:
            optimizer.step()
    assert_same_bits(world, torch.stack(losses))
    assert len(losses) == 100
    assert losses[-1] < losses[0]
    assert_near(sharded.table, alone.table, 1e-9)


@case
def a_causal_loss_of_logits(world: World) -> None:
    generator = new_generator(16)
    logits = double_numbers(generator, 2, 5, 3 * world.size)
    labels = torch.randint(0, 3 * world.size, (2, 5), generator=generator)
    own = logits[..., 3 * world.rank : 3 * world.rank + 3].clone().requires_grad_()
    whole = logits.clone().requires_grad_()
    right = causal_lm_loss(whole, labels, z_loss=1e-2)
    right.backward()
    loss = causal_lm_loss(own, labels, z_loss=1e-2, group=world.group)
    loss.backward()
    assert_near(loss, right)
    assert_near(own.grad, whole.grad[..., 3 * world.rank : 3 * world.rank + 3])
    flat = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    assert_near(right, oracle(*flat, z_loss=1e-2)["loss"])


@case
def modules(world: World) -> None:
    generator = new_generator(17)
    scores, target = double_numbers(generator, 4, 2 * world.size), torch.tensor([0, 1, 3, 2])
    bounds = slice(2 * world.rank, 2 * world.rank + 2)
    loss = CrossEntropyLoss(label_smoothing=0.1, group=world.group)
    assert_near(
        loss(scores[:, bounds], target), F.cross_entropy(scores, target, label_smoothing=0.1)
    )
    head = LinearCrossEntropyLoss(3, 2, bias=True, dtype=torch.float64, group=world.group)
    features = double_numbers(generator, 4, 3)
    weight, bias = (
        double_numbers(generator, 2 * world.size, 3),
        torch.arange(2.0 * world.size).double(),
    )
    with torch.no_grad():
        head.linear.weight.copy_(weight[bounds])
        head.linear.bias.copy_(bias[bounds])
    right = F.cross_entropy(F.linear(features, weight, bias), target)
    assert_near(head(features, target), right)


@case
def ddp_over_rows_and_a_sharded_head(world: World) -> None:
    """Rows are split over pairs of ranks, the vocabulary within each: 2 × 2."""
    if world.size != 4:
        return
    from torch.distributed.device_mesh import init_device_mesh

    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("rows", "classes"))
    rows_group, classes_group = mesh["rows"].get_group(), mesh["classes"].get_group()
    generator = new_generator(18)
    tokens = torch.randint(0, 6, (4, 5), generator=generator)
    tokens[0, 2:] = -100  # the halves have other numbers of labels
    inputs = torch.where(tokens < 0, 0, tokens)
    own_rows = slice(2 * mesh.get_local_rank("rows"), 2 * mesh.get_local_rank("rows") + 2)
    rank = mesh.get_local_rank("classes")
    alone = ToyModel(6, 4, slice(0, 6))
    scores = F.linear(alone(inputs), alone.head, alone.bias)
    right = F.cross_entropy(scores.flatten(0, 1), tokens.flatten())
    right.backward()
    model = ToyModel(6, 4, slice(3 * rank, 3 * rank + 3))
    ddp = torch.nn.parallel.DistributedDataParallel(model, process_group=rows_group)
    features = ddp(inputs[own_rows])
    loss = bridle.linear_cross_entropy(
        features, model.head, tokens[own_rows], bias=model.bias, group=mesh["classes"],
        normalizer=rows_group,
    )  # fmt: skip
    (2 * loss).backward()  # DDP averages over the two
    total = loss.detach().clone()
    dist.all_reduce(total, group=rows_group)
    assert_near(total, right)
    for name in ("table", "hidden"):
        assert_near(getattr(model, name).grad, getattr(alone, name).grad)
    # The head was used beside the forward of DDP, which has not averaged it.
    own = model.head.grad.clone()
    assert_near(own, alone.head.grad[3 * rank : 3 * rank + 3])
    del classes_group


@case
def split_rows_share_a_normalizer(world: World) -> None:
    """Without a sharded vocabulary: each rank has rows of its own, and the mean is over all."""
    generator = new_generator(19)
    counts = [3, 1, 0, 4][: world.size]
    scores = double_numbers(generator, sum(counts), 5)
    target = torch.randint(0, 5, (sum(counts),), generator=generator)
    target[0] = -100
    weight = torch.rand(5, generator=generator, dtype=torch.float64)
    shares = torch.rand(sum(counts), generator=generator, dtype=torch.float64)
    own = world.bounds(counts)
    for options in (
        {},
        {"weight": weight},
        {"weight": weight, "sample_weight": shares, "z_loss": 0.1},
    ):
        whole = scores.clone().requires_grad_()
        right = oracle(whole, target, **options)["loss"]
        right.backward()
        mine = scores[own].clone().requires_grad_()
        some = {**options, "sample_weight": shares[own]} if "sample_weight" in options else options
        loss = bridle.cross_entropy(mine, target[own], **some, normalizer=world.group)
        loss.backward()
        total = loss.detach().clone()
        dist.all_reduce(total, group=world.group)
        assert_near(total, right)
        assert_near(mine.grad, whole.grad[own])
    head = double_numbers(generator, 5, 3)
    features = double_numbers(generator, sum(counts), 3)
    loss = bridle.linear_cross_entropy(features[own], head, target[own], normalizer=world.mesh)
    dist.all_reduce(loss, group=world.group)
    assert_near(loss, F.cross_entropy(features @ head.T, target))


@case
def the_page_of_the_docs(world: World) -> None:
    """Run what docs/sharded-vocabulary.md shows, which is the same loss each time."""
    page = Path(__file__).parents[1] / "docs" / "sharded-vocabulary.md"
    blocks = page.read_text(encoding="utf-8").split("```python\n")[1:]
    generator = new_generator(26)
    hidden = double_numbers(generator, 4, 3)
    weight = double_numbers(generator, 2 * world.size, 3)
    labels = torch.tensor([0, 1, 3, 2])
    alone = dist.new_group([dist.get_rank()], use_local_synchronization=True)
    names = {
        "bridle": bridle,
        "hidden": hidden.requires_grad_(),
        "labels": labels,
        "rows_group": alone,
        "tp_group": world.group,
        "tp_mesh": world.mesh,
        "weight_local": weight[2 * world.rank : 2 * world.rank + 2].clone().requires_grad_(),
    }
    right = F.cross_entropy(hidden @ weight.T, labels)
    assert len(blocks) == 3
    for block in blocks:
        exec(block.split("```")[0], names)
        assert_near(names["loss"], right)


@case
def heads_of_several_outputs_are_refused(world: World) -> None:
    heads, features = torch.zeros(3, 2, 5), torch.zeros(4, 5)
    target = torch.zeros(4, 2, dtype=torch.long)
    raises(
        bridle.InputError,
        "normalizer: expected a number",
        lambda: bridle.linear_cross_entropy(features, heads, target, normalizer=world.group),
    )


# --- DTensors, FSDP, compilers --------------------------------------------------------------------


@case
def dtensors(world: World) -> None:
    from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

    generator = new_generator(20)
    for classes in (4 * world.size, 2 * world.size - 1, world.size + 1, 2):
        scores = double_numbers(generator, 5, classes)
        target = torch.randint(0, classes, (5,), generator=generator)
        weight = torch.rand(classes, generator=generator, dtype=torch.float64)
        whole = scores.clone().requires_grad_()
        right = F.cross_entropy(whole, target, weight, label_smoothing=0.1)
        right.backward()
        leaf = distribute_tensor(scores, world.mesh, [Shard(1)]).requires_grad_()
        aims = (target, distribute_tensor(target, world.mesh, [Replicate()]))
        weights = (weight, distribute_tensor(weight, world.mesh, [Shard(0)]))
        for aim, own_weight in zip(aims, weights, strict=True):
            leaf.grad = None
            loss = bridle.cross_entropy(leaf, aim, own_weight, label_smoothing=0.1)
            loss.backward()
            assert type(loss) is Tensor
            assert_near(loss, right)
            assert isinstance(leaf.grad, DTensor)
            assert_near(leaf.grad.full_tensor(), whole.grad)
        features = double_numbers(generator, 5, 3)
        matrix, bias = double_numbers(generator, classes, 3), double_numbers(generator, classes)
        alone = [each.clone().requires_grad_() for each in (features, matrix, bias)]
        right = F.cross_entropy(F.linear(*alone), target)
        right.backward()
        for placement in (None, Replicate(), Shard(0)):
            given = [
                features.clone().requires_grad_()
                if placement is None
                else distribute_tensor(features, world.mesh, [placement]).requires_grad_(),
                distribute_tensor(matrix, world.mesh, [Shard(0)]).requires_grad_(),
                distribute_tensor(bias, world.mesh, [Shard(0)]).requires_grad_(),
            ]
            loss = bridle.linear_cross_entropy(given[0], given[1], target, bias=given[2])
            loss.backward()
            assert_near(loss, right)
            for each, other in zip(given, alone, strict=True):
                gradient = each.grad.full_tensor() if isinstance(each, DTensor) else each.grad
                assert_near(gradient, other.grad)
    logits = double_numbers(generator, 2, 3, 2 * world.size)
    labels = torch.randint(0, 2 * world.size, (2, 3), generator=generator)
    split = distribute_tensor(logits, world.mesh, [Shard(2)])
    assert_near(causal_lm_loss(split, labels), causal_lm_loss(logits, labels))
    assert_near(
        bridle.cross_entropy(split, labels, axis=-1), bridle.cross_entropy(logits, labels, axis=-1)
    )
    rows = distribute_tensor(scores, world.mesh, [Shard(0)])
    raises(bridle.InputError, "Shard(1)", lambda: bridle.cross_entropy(rows, target))


@case
def fsdp_shards_what_is_no_vocabulary(world: World) -> None:
    """Inside FSDP2's forward the head is whole over the rows' ranks; outside it is found out."""
    from torch.distributed.fsdp import fully_shard

    class Head(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            generator = new_generator(21)
            self.weight = torch.nn.Parameter(double_numbers(generator, 5, 3))

        def forward(self, features: Tensor, target: Tensor) -> Tensor:
            loss: Tensor = bridle.linear_cross_entropy(
                features, self.weight, target, normalizer=world.group
            )
            return loss

    features = double_numbers(new_generator(22), 2 * world.size, 3)
    target = torch.arange(2 * world.size) % 5
    alone = Head()
    right = F.cross_entropy(features @ alone.weight.T, target)
    right.backward()
    head = Head()
    fully_shard(head, mesh=world.mesh)
    own = slice(2 * world.rank, 2 * world.rank + 2)
    loss = head(features[own], target[own])
    (world.size * loss).backward()
    assert_near(head.weight.grad.full_tensor(), alone.weight.grad)
    head.reshard()
    raises(
        bridle.InputError,
        "FSDP",
        lambda: bridle.linear_cross_entropy(features[own], head.weight, target[own]),
    )


@case
def fsdp_over_rows_and_tensor_parallel_classes(world: World) -> None:
    """Shard a head twice: by its classes, and what is left of it over the ranks of the rows."""
    if world.size != 4:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("rows", "classes"))
    generator = new_generator(27)
    features, weight = double_numbers(generator, 4, 3), double_numbers(generator, 8, 3)
    target = torch.tensor([0, 7, 3, 4])
    whole = weight.clone().requires_grad_()
    right = F.cross_entropy(features @ whole.T, target)
    right.backward()

    class Head(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(distribute_tensor(weight, mesh["classes"], [Shard(0)]))

        def forward(self, features: Tensor, target: Tensor) -> Tensor:
            loss: Tensor = bridle.linear_cross_entropy(
                features, self.weight, target, normalizer=mesh["rows"]
            )
            return loss

    head: Any = fully_shard(Head(), mesh=mesh["rows"])
    row = mesh.get_local_rank("rows")
    own = slice(2 * row, 2 * row + 2)
    loss = head(features[own], target[own])
    (2 * loss).backward()
    total = loss.detach().clone()
    dist.all_reduce(total, group=mesh["rows"].get_group())
    assert_near(total, right)
    assert_near(head.weight.grad.full_tensor(), whole.grad)


@case
def compiled(world: World) -> None:
    """Under a compiler the call is a graph break; nothing else changes."""
    if world.size != 2:
        return
    generator = new_generator(23)
    features, target = double_numbers(generator, 4, 3), torch.tensor([0, 5, 2, 3])
    weight, mixing = double_numbers(generator, 6, 3), double_numbers(generator, 3, 3)
    bounds = slice(3 * world.rank, 3 * world.rank + 3)

    def step(mixing: Tensor, own: Tensor) -> Tensor:
        mixed = torch.tanh(features @ mixing)
        head: Tensor = bridle.linear_cross_entropy(mixed, own, target, group=world.group)
        # A column-parallel layer sums the gradients of what goes in by itself.
        scores = mixed.detach() @ own.T
        loss: Tensor = bridle.cross_entropy(scores, target, group=world.group, label_smoothing=0.1)
        return head + loss

    def right_step(mixing: Tensor, weight: Tensor) -> Tensor:
        mixed = torch.tanh(features @ mixing)
        one = F.cross_entropy(mixed @ weight.T, target)
        return one + F.cross_entropy(mixed.detach() @ weight.T, target, label_smoothing=0.1)

    leaves = [mixing.clone().requires_grad_(), weight[bounds].clone().requires_grad_()]
    whole = [mixing.clone().requires_grad_(), weight.clone().requires_grad_()]
    right = right_step(*whole)
    right.backward()
    shared = torch.compile(bridle.cross_entropy, backend="aot_eager")(
        features, target % 3, normalizer=world.group
    )
    assert_near(shared, F.cross_entropy(features, target % 3) / world.size)
    for _ in range(2):
        for leaf in leaves:
            leaf.grad = None
        loss = torch.compile(step, backend="aot_eager")(*leaves)
        loss.backward()
        assert_near(loss, right)
        assert_near(leaves[0].grad, whole[0].grad)
        assert_near(leaves[1].grad, whole[1].grad[bounds])


@case
def autocast(world: World) -> None:
    generator = new_generator(24)
    features = torch.randn(6, 8, generator=generator)
    weight = torch.randn(5 * world.size, 8, generator=generator)
    target = torch.randint(0, 5 * world.size, (6,), generator=generator)
    given = features.clone().requires_grad_()
    own = weight[5 * world.rank : 5 * world.rank + 5].clone().requires_grad_()
    whole = [features.clone().requires_grad_(), weight.clone().requires_grad_()]
    with torch.autocast("cpu", torch.bfloat16):
        loss = bridle.linear_cross_entropy(given, own, target, group=world.group)
        right = bridle.linear_cross_entropy(*whole, target)
    loss.backward()
    right.backward()
    assert_near(loss, right, 1e-5)
    assert_near(given.grad, whole[0].grad, 2e-2)
    assert_near(own.grad, whole[1].grad[5 * world.rank : 5 * world.rank + 5], 2e-2)


@case
def a_gradient_filter(world: World) -> None:
    """Its threshold is a share of the whole row's weight, as without shards."""
    generator = new_generator(25)
    classes, bounds = 20 * world.size, slice(20 * world.rank, 20 * world.rank + 20)
    features = 3 * double_numbers(generator, 10, 6)
    weight = double_numbers(generator, classes, 6)
    target = torch.randint(0, classes, (10,), generator=generator)
    options = {"gradient_filter": 0.01, "unbiased": False}
    whole = [features.clone().requires_grad_(), weight.clone().requires_grad_()]
    bridle.linear_cross_entropy(*whole, target, **options).backward()
    given, own = features.clone().requires_grad_(), weight[bounds].clone().requires_grad_()
    bridle.linear_cross_entropy(given, own, target, **options, group=world.group).backward()
    assert_near(given.grad, whole[0].grad)
    assert_near(own.grad, whole[1].grad[bounds])


# --- the processes ------------------------------------------------------------------------------


def end_with(parent: int) -> None:
    """End this process once its parent has: nothing is left running."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def work(rank: int, folder: str, parent: int) -> None:
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=max(SIZES),
        timeout=TIMEOUT,
    )
    from torch.distributed.device_mesh import DeviceMesh

    report: dict[str, str | None] = {}
    for size in SIZES:
        group = dist.new_group(list(range(size)))
        if rank < size:
            world = World(group, rank, size, DeviceMesh.from_group(group, "cpu"))
            for name, function in CASES.items():
                report[f"{size} {name}"] = outcome(function, world)
        dist.barrier()
    Path(folder, f"report {rank}").write_text(json.dumps(report), encoding="utf-8")
    dist.destroy_process_group()


def outcome(function: Callable[[World], None], world: World) -> str | None:
    """Run a case; return what it raised. The ranks go on together, whichever of them failed."""
    failed = None
    try:
        function(world)
    except Exception:
        failed = traceback.format_exc()
    dist.barrier(world.group)
    return failed


def main(target: str) -> int:
    """Start the processes, and put together what they report."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")
    SAMPLES.extend(samples())
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        ranks = range(max(SIZES))
        processes = [
            context.Process(target=work, args=(rank, folder, os.getpid())) for rank in ranks
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        codes = [process.exitcode for process in processes]
        if any(codes):
            return 1
        reports = {
            rank: json.loads(Path(folder, f"report {rank}").read_text(encoding="utf-8"))
            for rank in ranks
        }
    Path(target).write_text(json.dumps(reports), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
