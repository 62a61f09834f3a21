"""`linear_cross_entropy` of tensors against the plain computation, which holds the scores."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")

import bridle  # noqa: E402
from bridle.kernels import thresholds  # noqa: E402
from bridle.torch import (  # noqa: E402
    LinearCrossEntropyLoss,
    cross_entropy,
    linear_cross_entropy,
    products,
)
from tensors import DTYPES  # noqa: E402
from test_torch_opinfo import MODULES, OPERATIONS, compare  # noqa: E402

OUTPUTS = ("loss", "log_prob", "entropy", "logsumexp", "argmax", "correct")


@pytest.fixture(params=["plain PyTorch", "compiled kernel"], autouse=True)
def _backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "compiled kernel":
        monkeypatch.setattr(thresholds, "COMPILED_TENSOR_NUMBERS", 0)


def head(
    rows: int = 23, width: int = 5, classes: int = 13, dtype: Any = torch.float64, seed: int = 0
) -> tuple[Any, Any, Any]:
    """Return features, weight and bias that require gradients."""
    generator = torch.Generator().manual_seed(seed)
    shapes = (rows, width), (classes, width), (classes,)
    made = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    features, weight, bias = (each.to(dtype).requires_grad_() for each in made)
    return features, weight, bias


def in_blocks(rows: int, weight: Any) -> int:
    """Return the memory that so many rows of scores take."""
    return int(rows * len(weight) * max(weight.element_size(), 4))  # of half precision in float32


def plain(
    features: Any,
    weight: Any,
    target: Any,
    *,
    bias: Any = None,
    class_weight: Any = None,
    **more: Any,
) -> Any:
    scores = torch.nn.functional.linear(features, weight, bias)
    return cross_entropy(scores, target, class_weight, check=False, **more)


def assert_same(
    given: tuple[Any, Any, Any], target: Any, tolerance: float = 1e-12, **options: Any
) -> None:
    """Compare values and gradients for blocks of 1, of some, and of all rows."""
    features, weight, bias = given
    expected = plain(features, weight, target, bias=bias, **options)
    generator = torch.Generator().manual_seed(1)
    cotangent = torch.rand(expected.shape, generator=generator, dtype=expected.dtype)
    slopes = torch.autograd.grad(expected, given, cotangent)
    for rows in (1, 7, 1000):
        found = linear_cross_entropy(
            features,
            weight,
            target,
            bias=bias,
            memory_budget=in_blocks(rows, weight),
            check=False,
            **options,
        )
        exact = partial(torch.testing.assert_close, rtol=tolerance, atol=tolerance, equal_nan=True)
        exact(found, expected)
        for one, other in zip(torch.autograd.grad(found, given, cotangent), slopes, strict=True):
            exact(one, other)


# --- equal to cross_entropy of the scores ---------------------------------------------------------


def targets(kind: str, rows: int, classes: int, generator: Any) -> Any:
    """Return targets of a kind for scores (rows, classes)."""
    index = torch.randint(classes, (rows,), generator=generator)
    if kind == "index":
        return index
    if kind == "some ignored":
        return index.masked_fill(torch.rand(rows, generator=generator) < 0.4, -100)
    share = torch.rand((rows, classes), generator=generator, dtype=torch.float64)
    if kind == "dense":
        return share / share.sum(dim=1, keepdim=True)
    columns = share.argsort(dim=1)[:, :3]
    mass = share.gather(1, columns)
    return columns, mass / mass.sum(dim=1, keepdim=True)


@given(
    rows=st.integers(1, 40),
    width=st.integers(1, 9),
    classes=st.sampled_from([1, 2, 3, 7, 64, 65, 130]),
    kind=st.sampled_from(["index", "some ignored", "dense", "sparse"]),
    reduction=st.sampled_from(["mean", "sum", "none"]),
    class_weight=st.booleans(),
    sample_weight=st.booleans(),
    label_smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    z_loss=st.sampled_from([0.0, 0.01]),
    softcap=st.sampled_from([0.0, 2.0]),
    temperature=st.sampled_from([1.0, 0.7]),
    normalizer=st.sampled_from([None, 5.0]),
    seed=st.integers(0, 2**16),
)
def test_any_combination_of_arguments(
    rows: int,
    width: int,
    classes: int,
    kind: str,
    reduction: str,
    class_weight: bool,
    sample_weight: bool,
    normalizer: float | None,
    seed: int,
    **numbers: float,
) -> None:
    given = head(rows, width, classes, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    options: dict[str, Any] = {"reduction": reduction, **numbers}
    if class_weight:
        options["class_weight"] = torch.rand(classes, generator=generator, dtype=torch.float64)
    if sample_weight:
        options["sample_weight"] = torch.rand(rows, generator=generator, dtype=torch.float64)
    if reduction == "mean":
        options["normalizer"] = normalizer
    assert_same(given, targets(kind, rows, classes, generator), 1e-11, **options)


PAIRED: dict[str, Any] = {
    "class_weight": torch.linspace(0.1, 2, 13, dtype=torch.float64),
    "sample_weight": torch.linspace(0, 3, 23, dtype=torch.float64),
    "label_smoothing": 0.2,
    "z_loss": 0.01,
    "softcap": 2.0,
    "temperature": 0.7,
    "normalizer": 11.0,
    "ignore_index": 4,
    "reduction": "sum",
}


@pytest.mark.parametrize("first", PAIRED)
@pytest.mark.parametrize("second", PAIRED)
@pytest.mark.parametrize("kind", ["index", "dense", "sparse"])
def test_each_pair_of_arguments(first: str, second: str, kind: str) -> None:
    pair = {name: PAIRED[name] for name in (first, second)}
    if "normalizer" in pair and "reduction" in pair:
        pair["reduction"] = "mean"
    if "ignore_index" in pair and kind != "index":
        pair["ignore_index"] = -7  # distributions are never ignored by an index of theirs
    assert_same(head(), targets(kind, 23, 13, torch.Generator().manual_seed(3)), **pair)


@pytest.mark.parametrize("kind", ["index", "some ignored", "dense", "sparse"])
def test_outputs_and_their_gradients(kind: str) -> None:
    features, weight, bias = given = head()
    target = targets(kind, 23, 13, torch.Generator().manual_seed(2))
    options = {"outputs": OUTPUTS, "class_weight": PAIRED["class_weight"]}
    expected = plain(features, weight, target, bias=bias, **options)
    found = linear_cross_entropy(
        features, weight, target, bias=bias, memory_budget=in_blocks(6, weight), check=False,
        **options,
    )  # fmt: skip
    for name in OUTPUTS:
        one, other = getattr(found, name), getattr(expected, name)
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    slopes = [
        torch.autograd.grad(
            each.loss + (each.entropy * each.log_prob + each.logsumexp**2).sum(), given
        )
        for each in (found, expected)
    ]
    torch.testing.assert_close(*slopes, rtol=1e-11, atol=1e-11)


def test_positions_and_one_sample() -> None:
    features, weight, bias = head(24)
    target = torch.randint(13, (24,))
    flat = linear_cross_entropy(features, weight, target, bias=bias, reduction="none")
    shaped = linear_cross_entropy(
        features.view(2, 3, 4, 5), weight, target.view(2, 3, 4), bias=bias, reduction="none"
    )
    torch.testing.assert_close(shaped, flat.view(2, 3, 4), rtol=0, atol=0)
    weights = torch.tensor([0.5, 2.0])
    by_sample = linear_cross_entropy(
        features.view(2, 12, 5), weight, target.view(2, 12), bias=bias, sample_weight=weights
    )
    spread = weights.repeat_interleave(12)
    torch.testing.assert_close(
        by_sample,
        linear_cross_entropy(features, weight, target, bias=bias, sample_weight=spread),
    )
    one = linear_cross_entropy(features[0], weight, target[0], bias=bias)
    torch.testing.assert_close(one, flat[0])


def test_no_rows_and_no_counted_rows() -> None:
    features, weight, _ = head()
    nothing = torch.zeros(0, dtype=torch.int64)
    assert linear_cross_entropy(features[:0], weight, nothing).isnan()
    assert linear_cross_entropy(features[:0], weight, nothing, on_empty="zero") == 0
    ignored = torch.full((23,), -100)
    loss = linear_cross_entropy(features, weight, ignored, on_empty="zero")
    slopes = torch.autograd.grad(loss, (features, weight))
    assert all(bool((each == 0).all()) for each in slopes)
    with pytest.raises(bridle.InputError, match="mean is over no sample"):
        linear_cross_entropy(features, weight, ignored, on_empty="raise")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_every_dtype(dtype: Any) -> None:
    features, weight, bias = given = head(dtype=dtype)
    target = torch.randint(13, (23,), generator=torch.Generator().manual_seed(0))
    wide = [each.detach().double().requires_grad_() for each in given]
    expected = plain(wide[0], wide[1], target, bias=wide[2])
    found = linear_cross_entropy(
        features, weight, target, bias=bias, memory_budget=in_blocks(4, weight)
    )
    assert found.dtype == torch.float32
    tolerance = 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)
    found.backward()
    expected.backward()
    for one, other in zip(given, wide, strict=True):
        assert one.grad.dtype == dtype
        torch.testing.assert_close(one.grad.double(), other.grad, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("way", ["plain", "with a gradient", "compiled", "forward mode", "mapped"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_no_score_is_rounded_to_half_precision(dtype: Any, way: str) -> None:
    """Loss and log-sum-exp are those of the exact scores; rounded ones are off by up to 2e-3."""
    features, weight, bias = (each.detach() for each in head(40, 64, 300, dtype))
    target = torch.randint(300, (40,), generator=torch.Generator().manual_seed(0))
    exact = features.double() @ weight.double().T + bias.double()
    right = torch.nn.functional.cross_entropy(exact, target, reduction="none")

    def both(rows: Any) -> Any:
        found = linear_cross_entropy(
            rows,
            weight,
            target,
            bias=bias,
            reduction="none",
            outputs=("loss", "logsumexp"),
            memory_budget=in_blocks(7, weight),
        )
        return found.loss, found.logsumexp

    if way == "compiled":
        torch._dynamo.reset()
        found = torch.compile(both, backend="aot_eager", fullgraph=True)(features)
    elif way == "forward mode":
        found = torch.func.jvp(both, (features,), (features,))[0]
    elif way == "mapped":
        found = [each[0] for each in torch.func.vmap(both)(features[None])]
    else:
        found = both(features.clone().requires_grad_(way == "with a gradient"))
    torch.testing.assert_close(found[0].double(), right, rtol=2e-6, atol=2e-6)
    torch.testing.assert_close(found[1].double(), exact.logsumexp(dim=1), rtol=1e-6, atol=1e-6)
    if way == "with a gradient":
        leaf = features.clone().requires_grad_()
        mean = linear_cross_entropy(leaf, weight, target, bias=bias)
        mean.backward()
        assert mean.item() == pytest.approx(right.mean().item(), rel=1e-6)
        slopes = (torch.softmax(exact, dim=1) - torch.eye(300).double()[target]) / 40
        expected = slopes @ weight.double()
        error = (leaf.grad.double() - expected).norm() / expected.norm()
        assert error < 2 * torch.finfo(dtype).eps  # multiplied back in half precision


@pytest.mark.parametrize("classes", [1, 2, 7, 32, 33, 77, 1001])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_what_is_left_beside_a_narrowed_residual_has_no_part_in_its_products(
    dtype: Any, classes: int
) -> None:
    """A tile of Intel's products reads on beyond a row whose length it does not divide."""
    residual = torch.rand(45, classes)
    residual.view(torch.int16)[:, ::2] = 0x7FFF  # the half of it that is rounded away: a NaN
    expected = residual.to(dtype).double().sum(dim=1)
    found = products.narrowed(residual, dtype)
    assert torch.equal(found.double().sum(dim=1), expected)
    out = torch.empty(45, 20, dtype=dtype)
    products.multiply_back(found, torch.ones(classes, 20, dtype=dtype), out)
    torch.testing.assert_close(out.double(), expected[:, None].expand(45, 20), rtol=0.01, atol=0)
    beyond = torch.as_strided(found, (45, min(classes, 32)), found.stride(), classes)
    assert (beyond == 0).all()


def test_bfloat16_in_many_blocks_keeps_its_loss() -> None:
    """A loss that is summed in bfloat16 stops growing at a few hundred blocks."""
    features, weight, _ = head(1024, 64, 3000, torch.bfloat16)
    target = torch.randint(3000, (1024,), generator=torch.Generator().manual_seed(0))
    truth = plain(features.double() / 8, weight.double(), target)
    found = linear_cross_entropy(features / 8, weight, target, memory_budget=in_blocks(1, weight))
    assert abs(found.item() / truth.item() - 1) < 1e-6


def errors(found: Any, wide: Any) -> list[float]:
    """Return how far gradients are off, relative to the whole of each."""
    return [
        float((one.double() - each.grad).norm() / each.grad.norm())
        for one, each in zip(found, wide, strict=True)
    ]


@pytest.mark.parametrize("kind", ["index", "soft", "filter"])
def test_float16_with_loss_scaling_keeps_small_gradients(kind: str) -> None:
    """A mean over many rows makes most of a residual vanish in float16, if it is not scaled."""
    rounded = head(3000, 16, 400, torch.float16)
    given = [each.detach().float().requires_grad_() for each in rounded]
    target = torch.randint(400, (3000,), generator=torch.Generator().manual_seed(0))
    options: dict[str, Any] = {"class_weight": torch.linspace(0.01, 30, 400), "temperature": 0.5}
    if kind == "soft":
        target = torch.nn.functional.one_hot(target, 400).double() * 0.5 + 0.5 / 400
    if kind == "filter":
        options["gradient_filter"] = 1e-9
    wide = [each.detach().double().requires_grad_() for each in given]
    scores = 2 * torch.nn.functional.linear(*wide)
    shares = options["class_weight"].double()
    torch.nn.functional.cross_entropy(scores, target, shares).backward()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14)
    optimizer = torch.optim.SGD(given, lr=0.0)
    options["memory_budget"] = in_blocks(700, given[1])
    with torch.autocast("cpu", torch.float16):
        loss = linear_cross_entropy(*given[:2], target, bias=given[2], **options)
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    # What PyTorch's own float16 layer is off by where it does not overflow, 3e-4 to 5e-4.
    assert max(errors([each.grad for each in given], wide)) < 5e-4


@pytest.mark.parametrize("scale", [1.0, 2.0**12])
def test_float16_on_a_device_whose_residual_is_half_precision(
    scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a GPU works: half precision is multiplied, to float32 or rounded once more."""
    given = head(2000, 16, 400, torch.float16)
    target = torch.randint(400, (2000,), generator=torch.Generator().manual_seed(0))
    wide = [each.detach().double().requires_grad_() for each in given]
    torch.nn.functional.cross_entropy(torch.nn.functional.linear(*wide), target).backward()
    monkeypatch.setattr(products, "residual_dtype", lambda _: torch.float16)
    mm, addmm, made = torch.mm, torch.addmm, []

    def wide_addmm(*arguments: Any, out_dtype: Any = None, out: Any = None) -> Any:
        if out_dtype is None:
            return addmm(*arguments, out=out)
        total, left, right = arguments
        return out.copy_(total + mm(left.to(out_dtype), right.to(out_dtype)))

    def wide_mm(left: Any, right: Any, *, out_dtype: Any = None, out: Any = None) -> Any:
        if out_dtype is None:
            return mm(left, right, out=out)
        assert left.dtype == right.dtype == torch.float16
        made.append(out_dtype)
        return out.copy_(mm(left.to(out_dtype), right.to(out_dtype)))

    monkeypatch.setattr(torch, "mm", wide_mm)
    monkeypatch.setattr(torch, "addmm", wide_addmm)
    for makes_wide in (False, True):
        monkeypatch.setattr(products, "makes_wide", lambda _, answer=makes_wide: answer)
        features, weight, bias = (each.detach().clone().requires_grad_() for each in given)
        loss = linear_cross_entropy(features, weight, target, bias=bias)
        (scale * loss).backward()
        found = [each.grad / scale for each in (features, weight, bias)]
        assert max(errors(found, wide)) < 1e-3
        assert (len(made) > 0) == makes_wide


def test_float16_gradients_in_batches_and_of_nothing() -> None:
    features, weight, bias = given = head(23, 5, 13, torch.float16)
    target = torch.randint(13, (23,), generator=torch.Generator().manual_seed(0))
    wide = [each.detach().double().requires_grad_() for each in given]
    plain(wide[0], wide[1], target, bias=wide[2]).backward()
    loss = linear_cross_entropy(features, weight, target, bias=bias)
    factors = torch.tensor([1.0, 0.0, 512.0])
    found = torch.autograd.grad(loss, given, factors, is_grads_batched=True)
    for one, each in zip(found, wide, strict=True):
        assert one.dtype == torch.float16
        right = factors.double().view(-1, *(1,) * each.dim()) * each.grad
        torch.testing.assert_close(one.double(), right, rtol=4e-3, atol=2e-3)
    nothing = linear_cross_entropy(
        features, weight, torch.full((23,), -100), bias=bias, on_empty="zero"
    )
    assert all((each == 0).all() for each in torch.autograd.grad(nothing, given))
    none = linear_cross_entropy(
        features[:0], weight, target[:0], sample_weight=torch.ones(0), reduction="sum"
    )
    assert (torch.autograd.grad(none, weight)[0] == 0).all()


def test_scores_of_a_gpu_have_the_dtype_of_the_features() -> None:
    """Told of a device that is not here, by what its tensors say of themselves."""
    from types import SimpleNamespace

    from bridle.torch.linear_rows import scores_dtype

    for device, expected in (("cuda", torch.bfloat16), ("cpu", torch.float32)):
        half: Any = SimpleNamespace(device=torch.device(device), dtype=torch.bfloat16)
        assert scores_dtype(half) == expected


# --- derivatives and transforms -------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reduction": "none", "label_smoothing": 0.1},
        {"z_loss": 0.1, "softcap": 2.0, "reduction": "sum"},
        {"ignore_index": 1, "temperature": 0.5},
    ],
)
def test_gradcheck_and_gradgradcheck(options: dict[str, Any]) -> None:
    given = head(7, 3, 5)
    target = torch.tensor([0, 1, 2, 3, 4, 1, 0])

    def loss(features: Any, weight: Any, bias: Any) -> Any:
        return linear_cross_entropy(
            features, weight, target, bias=bias, memory_budget=80, **options
        )

    assert torch.autograd.gradcheck(loss, given, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(loss, given)


def test_gradient_in_distributions() -> None:
    given = head(7, 3, 5)
    target = targets("dense", 7, 5, torch.Generator().manual_seed(0)).requires_grad_()

    def loss(*inputs: Any) -> Any:
        features, weight, bias, target = inputs
        return linear_cross_entropy(
            features, weight, target, bias=bias, memory_budget=80, check=False
        )

    assert torch.autograd.gradcheck(loss, (*given, target))


def test_transforms() -> None:
    features, weight, _ = (each.detach() for each in head(7, 3, 5))
    target = torch.tensor([0, 1, 2, 3, 4, 1, 0])

    def ours(weight: Any, features: Any) -> Any:
        return linear_cross_entropy(features, weight, target, memory_budget=80)

    def theirs(weight: Any, features: Any) -> Any:
        return plain(features, weight, target)

    batch = torch.stack([features, features.flip(0), -features])
    direction = torch.randn_like(weight)
    for transform in (
        torch.func.grad,
        torch.func.hessian,
        lambda loss: torch.func.vmap(torch.func.grad(loss), (None, 0)),
        lambda loss: lambda w, x: torch.func.jvp(partial(loss, features=x), (w,), (direction,)),
    ):
        given = batch if "vmap" in transform.__code__.co_names else features
        torch.testing.assert_close(
            transform(ours)(weight, given), transform(theirs)(weight, given), rtol=1e-11, atol=1e-11
        )


def test_second_backward_and_scaled_backward() -> None:
    features, weight, bias = given = head()
    target = torch.randint(13, (23,))
    loss = linear_cross_entropy(features, weight, target, bias=bias)
    first = torch.autograd.grad(3 * loss, given, retain_graph=True)
    second = torch.autograd.grad(3 * loss, given)
    torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-12)
    third = torch.autograd.grad(3 * plain(features, weight, target, bias=bias), given)
    torch.testing.assert_close(first, third, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_compiles_whole(reduction: Any) -> None:
    features, weight, bias = given = head(dtype=torch.float32)
    target = torch.randint(13, (23,))
    loss = partial(
        linear_cross_entropy, reduction=reduction, label_smoothing=0.1, z_loss=0.01, softcap=3.0
    )
    compiled = torch.compile(loss, fullgraph=True)
    results = [
        each(features, weight, target, bias=bias, memory_budget=in_blocks(5, weight))
        for each in (compiled, loss)
    ]
    torch.testing.assert_close(*results)
    slopes = [torch.autograd.grad(each.sum(), given) for each in results]
    torch.testing.assert_close(*slopes)


def test_autocast_casts_as_a_linear_layer_does() -> None:
    features, weight, bias = given = head(dtype=torch.float32)
    target = torch.randint(13, (23,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = linear_cross_entropy(features, weight, target, bias=bias)
        expected = plain(features, weight, target, bias=bias)
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)
    assert [each.dtype for each in torch.autograd.grad(found, given)] == [torch.float32] * 3


# --- no needless work -----------------------------------------------------------------------------


@pytest.fixture(name="made")
def _made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the products that are made."""
    made: list[str] = []
    for name in ("make_scores", "multiply_back", "add_products"):
        function = getattr(products, name)

        def counted(*arguments: Any, name: str = name, function: Any = function) -> Any:
            made.append(name)
            return function(*arguments)

        monkeypatch.setattr(products, name, counted)
    return made


def test_only_what_is_asked_is_multiplied(made: list[str]) -> None:
    features, weight, bias = head()
    target = torch.randint(13, (23,))
    with torch.no_grad():
        linear_cross_entropy(features, weight, target)
    assert made == ["make_scores"]
    made.clear()
    linear_cross_entropy(features.detach(), weight, target, bias=bias).backward()
    assert made == ["make_scores", "add_products"]
    made.clear()
    linear_cross_entropy(features, weight.detach(), target).backward()
    assert made == ["make_scores", "multiply_back"]


def test_ignored_rows_are_not_multiplied(made: list[str]) -> None:
    features, weight, _ = head()
    target = torch.full((23,), -100)
    target[[3, 8, 20]] = torch.tensor([1, 2, 3])
    linear_cross_entropy(features, weight, target, memory_budget=in_blocks(2, weight)).backward()
    assert made.count("make_scores") == 2
    assert (features.grad[target == -100] == 0).all()


# --- the gradient filter --------------------------------------------------------------------------


def test_a_filter_leaves_the_loss_and_bounds_the_gradient() -> None:
    features, weight, bias = given = head(64, 5, 130)
    target = torch.randint(130, (64,), generator=torch.Generator().manual_seed(0))
    loss = partial(linear_cross_entropy, features, weight, target, bias=bias, reduction="sum")
    exact, dropped = loss(), loss(gradient_filter=1e-3, unbiased=False)
    assert exact == dropped
    (right,), (found,) = (torch.autograd.grad(each, [bias]) for each in (exact, dropped))
    assert not torch.equal(right, found)
    assert (right - found).abs().max() < 64 * 1e-3
    assert (right - found).min() > -1e-12  # what is dropped are probabilities
    del given


def test_an_unbiased_filter_is_right_on_average() -> None:
    features, weight, bias = given = head(16, 3, 40)
    target = torch.randint(40, (16,), generator=torch.Generator().manual_seed(0))
    loss = partial(
        linear_cross_entropy, features, weight, target, bias=bias, class_weight=torch.rand(40)
    )
    torch.manual_seed(0)
    right = torch.autograd.grad(loss(), given)
    trials = [torch.autograd.grad(loss(gradient_filter=0.05), given) for _ in range(400)]
    for position, exact in enumerate(right):
        each = torch.stack([trial[position] for trial in trials])
        deviation = each.std(dim=0) / 20
        assert ((each.mean(dim=0) - exact).abs() <= 5 * deviation + 1e-12).all()
        assert not torch.equal(each[0], exact)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("rows", [1, 23, 64])
def test_entries_that_are_left_are_multiplied_alone(
    dtype: Any, unbiased: bool, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same gradient comes of going from entry to entry and of a product over all of them."""
    monkeypatch.setattr(thresholds, "COMPILED_TENSOR_NUMBERS", 0)
    features, weight, bias = given = head(rows, 5, 131, dtype)
    target = torch.randint(131, (rows,), generator=torch.Generator().manual_seed(0))
    found = []
    for sparse in (1, 10**9):  # one in so many entries may be left
        monkeypatch.setattr(thresholds, "FILTER_SPARSE", sparse)
        torch.manual_seed(0)
        loss = linear_cross_entropy(
            features,
            weight,
            target,
            bias=bias,
            gradient_filter=0.02,
            unbiased=unbiased,
            memory_budget=in_blocks(10, weight),
        )
        found.append(torch.autograd.grad(loss, given))
    tolerance = 8 * torch.finfo(dtype).eps
    for one, other in zip(*found, strict=True):
        assert one.dtype == dtype
        assert (one - other).abs().max() <= tolerance * other.abs().max()


@pytest.mark.parametrize("threshold", [1.0, 1e-30])
def test_a_filter_that_leaves_nothing_or_everything(threshold: float) -> None:
    features, weight, bias = given = head(23, 5, 131)
    target = torch.randint(131, (23,), generator=torch.Generator().manual_seed(0))
    loss = partial(linear_cross_entropy, features, weight, target, bias=bias)
    found = torch.autograd.grad(loss(gradient_filter=threshold, unbiased=False), given)
    right = torch.autograd.grad(loss(), given)
    for one, other in zip(found, right, strict=True):
        expected = other if threshold < 0.5 else torch.zeros_like(other)
        torch.testing.assert_close(one, expected)


def test_a_filter_in_two_passes() -> None:
    """Without reduction the gradient is made in backward; what is filtered is the same."""
    features, weight, bias = given = head(16, 3, 40)
    target = torch.randint(40, (16,), generator=torch.Generator().manual_seed(0))
    options: dict[str, Any] = {"bias": bias, "gradient_filter": 0.01, "unbiased": False}
    one = linear_cross_entropy(features, weight, target, reduction="sum", **options)
    two = linear_cross_entropy(features, weight, target, reduction="none", **options).sum()
    slopes = [torch.autograd.grad(each, given) for each in (one, two)]
    torch.testing.assert_close(*slopes, rtol=1e-12, atol=1e-12)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": torch.zeros(13, 4)}, r"features: expected \(…, D\) beside a weight"),
        ({"weight": torch.zeros(13, 5)}, "weight: expected the dtype of the features"),
        ({"bias": torch.zeros(12)}, r"bias: expected shape \(13,\), found \(12,\)"),
        ({"target": torch.zeros(22, dtype=torch.int64)}, "target: expected class indices"),
        ({"target": torch.full((23,), 13)}, "target"),
        ({"memory_budget": 0}, "memory_budget: expected a number of bytes"),
        ({"gradient_filter": 1.5}, "gradient_filter"),
        ({"sample_weight": torch.ones(4)}, "sample_weight: expected shape"),
        ({"outputs": ("losses",)}, "outputs: expected some of"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], message: str) -> None:
    features, weight, bias = head()
    given: dict[str, Any] = {"weight": weight, "target": torch.zeros(23, dtype=torch.int64)}
    given |= {"bias": bias, **change}
    with pytest.raises(bridle.InputError, match=message):
        linear_cross_entropy(features, **given)


# --- PyTorch's own samples ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("variant", ["", "chunked", "chunked_none"])
def test_samples_of_pytorch(variant: str, dtype: Any) -> None:
    """Their weights for several positions (C, d1, …) are several heads, which ours is not."""
    named = [op for op in OPERATIONS if op.name == "nn.functional.linear_cross_entropy"]
    if not named:
        pytest.skip("this torch has no linear_cross_entropy")
    (operation,) = [op for op in named if op.variant_test_name == variant]
    torch.manual_seed(0)
    compared = 0
    for sample in operation.sample_inputs("cpu", dtype, requires_grad=True):
        weight, target = sample.args
        if weight.dim() > 2:
            continue
        compared += 1
        options = {name: value for name, value in sample.kwargs.items() if name != "options"}
        renamed = {"linear_bias": "bias", "weight": "class_weight"}
        ours = {renamed.get(name, name): value for name, value in options.items()}
        if ours.get("ignore_index", 0) is None:
            del ours["ignore_index"]
        inputs = [sample.input, weight, target, ours.get("bias")]
        compare(
            partial(linear_cross_entropy, sample.input, weight, target, check=False, **ours),
            partial(
                torch.nn.functional.linear_cross_entropy, sample.input, weight, target, **options
            ),
            [each for each in inputs if each is not None],
        )
    assert compared >= 20


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_module_samples_of_pytorch(dtype: Any) -> None:
    named = [each for each in MODULES if each.name == "nn.LinearCrossEntropyLoss"]
    if not named:
        pytest.skip("this torch has no LinearCrossEntropyLoss")
    torch.manual_seed(0)
    compared = 0
    for each in named[0].module_inputs_func(
        named[0], device="cpu", dtype=dtype, requires_grad=True, training=True
    ):
        options = dict(each.constructor_input.kwargs)
        if options.pop("out_features", ()) != ():
            continue
        compared += 1
        theirs = named[0].module_cls(*each.constructor_input.args, **options)
        options.pop("options", None)
        if options.get("ignore_index", 0) is None:
            del options["ignore_index"]
        ours = LinearCrossEntropyLoss(*each.constructor_input.args, **options, check=False)
        ours.load_state_dict(theirs.state_dict())
        inputs, target = each.forward_input.args
        compare(partial(ours, inputs, target), partial(theirs, inputs, target), [inputs])
    assert compared >= 10


# --- memory ---------------------------------------------------------------------------------------

LARGE = """
import resource, torch
from bridle.torch import linear_cross_entropy

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

torch.manual_seed(0)
small = torch.randn(64, 8, requires_grad=True)  # what libraries need once
linear_cross_entropy(small, torch.randn(9000, 8, requires_grad=True), torch.arange(64)).backward()
features = torch.randn(16384, 256, requires_grad=True)
weight = torch.randn(100_000, 256).div_(16).requires_grad_()
target = torch.randint(100_000, (16384,))
before = peak()
loss = linear_cross_entropy(features, weight, target)
loss.backward()
print(peak() - before - 4 * (features.numel() + weight.numel()), loss.item())
"""


def test_the_scores_are_never_whole(request: pytest.FixtureRequest) -> None:
    """16,384 x 100,000 scores are 6.5 GB; the loss and its gradients take 0.6 GB beside them."""
    if "plain" in request.node.name:
        pytest.skip("of such a size the kernel is always the compiled one")
    if sys.platform == "win32":
        pytest.skip("the peak of a process is read as on Unix")
    made = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=True)
    extra, loss = map(float, made.stdout.split())
    assert extra < 0.6e9
    assert np.isfinite(loss)
