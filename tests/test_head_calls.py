"""The linear head by torch's names, with shifted labels, and with several outputs."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import bridle as both_worlds

torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")

bridle: Any = both_worlds
plain: Any = torch.nn.functional.cross_entropy


def draw(*shape: int, seed: int = 0) -> Any:
    """Return random numbers in float64 that require a gradient."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()


def in_both_worlds(call: Any, *tensors: Any) -> tuple[Any, Any]:
    """Return what a call gives for tensors and, as a tensor, for the arrays of the same numbers."""
    arrays = [each if each is None else each.detach().numpy() for each in tensors]
    return call(*tensors), torch.as_tensor(np.asarray(call(*arrays)))


FEATURES, WEIGHT, BIAS = draw(7, 3), draw(5, 3, seed=1), draw(5, seed=2)
TARGET = torch.tensor([0, 4, -100, 2, 1, 1, 3])
SHARES = torch.linspace(0.5, 2, 5).double()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_torchs_names_stand_beside_ours(reduction: str) -> None:
    linear = torch.nn.functional.linear
    right = plain(
        linear(FEATURES, WEIGHT, BIAS), TARGET, SHARES, reduction=reduction, label_smoothing=0.1
    )
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": 0.1}
    calls = [
        lambda x, w, y, b, s: bridle.linear_cross_entropy(
            x, w, y, linear_bias=b, weight=s, ignore_index=None, options=None, **options
        ),
        lambda x, w, y, b, s: bridle.linear_cross_entropy(
            input=x, linear_weight=w, target=y, linear_bias=b, weight=s, **options
        ),
        lambda x, w, y, b, s: bridle.linear_cross_entropy(
            x, target=y, linear_weight=w, bias=b, class_weight=s, **options
        ),
        lambda x, w, y, b, s: bridle.linear_cross_entropy(
            features=x, weight=w, target=y, bias=b, class_weight=s, **options
        ),
        lambda x, w, y, b, s: bridle.linear_cross_entropy(
            x, w, target=y, bias=b, weight=s, **options
        ),
    ]
    for call in calls:
        for found in in_both_worlds(call, FEATURES, WEIGHT, TARGET, BIAS, SHARES):
            torch.testing.assert_close(found, right, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((FEATURES, WEIGHT, TARGET), {"input": FEATURES},
         "input: expected it once, found it and features in one call"),
        ((FEATURES, WEIGHT, TARGET), {"linear_weight": WEIGHT},
         "linear_weight: expected it once, found it and weight in one call"),
        ((FEATURES, WEIGHT, TARGET), {"bias": BIAS, "linear_bias": BIAS},
         "linear_bias: expected it once, found it and bias in one call"),
        ((FEATURES, WEIGHT, TARGET), {"weight": SHARES, "class_weight": SHARES},
         "weight: expected it once, found it and class_weight in one call"),
        ((FEATURES, WEIGHT, TARGET, BIAS), {},
         "linear_cross_entropy: expected features, weight, target, found 4 positional arguments"),
        ((FEATURES, WEIGHT, TARGET), {"shift": -1},
         "shift: expected a whole number of 0 or above, found -1"),
        ((FEATURES, WEIGHT, TARGET), {"shift": 7},
         "features: expected (…, T, D) with T above shift=7 positions, found (7, 3)"),
        ((FEATURES, draw(5, 2, 3), TARGET), {},
         "target: expected class indices of shape (7, 2), or distributions of shape (7, 5, 2), "
         "found (7,)"),
        ((FEATURES, draw(5, 2, 4), TARGET), {},
         "features: expected (N, D) beside a weight of shape (C, d1, …, D), found (7, 3) and "
         "(5, 2, 4)"),
        ((FEATURES, draw(5, 1, 3), TARGET[:, None]), {"bias": BIAS},
         "bias: expected shape (5, 1), found (5,)"),
    ],
)  # fmt: skip
def test_a_call_that_says_two_things(arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(bridle.InputError, match=f"^{re.escape(message)}$"):
        bridle.linear_cross_entropy(*arguments, **options)
    with pytest.raises(TypeError, match="missing the argument 'target'"):
        bridle.linear_cross_entropy(FEATURES, WEIGHT)


@pytest.mark.skipif(
    not hasattr(torch.nn.functional, "linear_cross_entropy"), reason="this PyTorch has no such head"
)
@pytest.mark.parametrize("sizes", [(2,), (2, 3)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("soft", [False, True])
def test_several_outputs_are_as_in_torch(
    sizes: tuple[int, ...], reduction: str, soft: bool
) -> None:
    weight, bias = draw(5, *sizes, 3, seed=4), draw(5, *sizes, seed=5)
    generator = torch.Generator().manual_seed(6)
    target = torch.randint(0, 5, (7, *sizes), generator=generator)
    target[0, 0] = -100
    if soft:
        target = torch.softmax(draw(7, 5, *sizes, seed=7), 1).detach()
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": 0.1}

    def ours(x: Any, w: Any, y: Any, b: Any, s: Any) -> Any:
        return bridle.linear_cross_entropy(x, w, y, linear_bias=b, weight=s, **options)

    right = torch.nn.functional.linear_cross_entropy(
        FEATURES, weight, target, linear_bias=bias, weight=SHARES, **options
    )
    found, of_arrays = in_both_worlds(ours, FEATURES, weight, target, bias, SHARES)
    torch.testing.assert_close(found, right, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(of_arrays, right.detach(), rtol=1e-12, atol=1e-15)
    leaves = (FEATURES, weight, bias)
    for one, other in zip(
        torch.autograd.grad(found.sum(), leaves),
        torch.autograd.grad(right.sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("soft", [False, True])
def test_several_outputs_with_sample_weights_and_further_outputs(soft: bool) -> None:
    weight, share = draw(5, 2, 3, seed=4), torch.rand(7, 2).double()
    scores = torch.einsum("nd,ckd->nkc", FEATURES, weight)
    target = torch.randint(0, 5, (7, 2), generator=torch.Generator().manual_seed(1))
    mass = torch.nn.functional.one_hot(target, 5).double()
    losses = -(mass * torch.log_softmax(scores, -1)).sum(-1)
    given = mass.movedim(-1, 1) if soft else target
    for shares, whole in ((share, share), (share[:, 0], share[:, :1].expand(7, 2))):
        found = bridle.linear_cross_entropy(
            FEATURES, weight, given, sample_weight=shares, outputs=("loss", "argmax", "logsumexp")
        )
        torch.testing.assert_close(found.loss, (whole * losses).sum() / whole.sum())
        torch.testing.assert_close(found.argmax, scores.argmax(-1))
        torch.testing.assert_close(found.logsumexp, torch.logsumexp(scores, -1))
    nothing = torch.full((7, 2), -100)
    assert bridle.linear_cross_entropy(FEATURES, weight, nothing).isnan()
    assert bridle.linear_cross_entropy(FEATURES, weight, nothing, on_empty="zero") == 0


@pytest.mark.parametrize("shift", [True, 1, 2])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_shifted_labels(shift: int, reduction: str) -> None:
    features, share = draw(2, 6, 3), torch.rand(2, 6).double()
    target = torch.randint(0, 5, (2, 6), generator=torch.Generator().manual_seed(1))
    target[1, 4] = -100
    steps = int(shift)
    scores = (features @ WEIGHT.T)[:, :-steps]
    losses = plain(scores.movedim(-1, 1), target[:, steps:], reduction="none")
    losses = losses * share[:, steps:]
    whole = (share[:, steps:] * (target[:, steps:] != -100)).sum()
    right = {
        "none": torch.nn.functional.pad(losses, (steps, 0)),
        "sum": losses.sum(),
        "mean": losses.sum() / whole,
    }[reduction]

    def ours(x: Any, w: Any, y: Any, s: Any) -> Any:
        return bridle.linear_cross_entropy(
            x, w, y, sample_weight=s, shift=shift, reduction=reduction
        )

    for found in in_both_worlds(ours, features, WEIGHT, target, share):
        torch.testing.assert_close(found, right, rtol=1e-12, atol=0)
    outputs = bridle.linear_cross_entropy(
        features, WEIGHT, target, shift=shift, reduction=reduction, outputs=("loss", "argmax")
    )
    expected = torch.nn.functional.pad(scores.argmax(-1), (steps, 0), value=-1)
    torch.testing.assert_close(
        outputs.argmax, expected.masked_fill((target == -100) & (expected >= 0), -1)
    )


def test_shifted_distributions_and_one_sequence() -> None:
    soft = torch.softmax(draw(7, 5, seed=3), -1).detach()
    right = plain((FEATURES @ WEIGHT.T)[:-1], soft[1:])
    found = bridle.linear_cross_entropy(FEATURES, WEIGHT, soft, shift=1)
    torch.testing.assert_close(found, right, rtol=1e-12, atol=0)
    loss = bridle.torch.LinearCrossEntropyLoss(3, 5, dtype=torch.float64, shift=1)
    right = plain(loss.linear(FEATURES)[:-1], TARGET[1:])
    torch.testing.assert_close(loss(FEATURES, TARGET), right, rtol=1e-12, atol=0)


# --- the gradient of arrays -----------------------------------------------------------------------


def gradient_of(loss: Any, *leaves: Any) -> list[Any]:
    """Return the gradients of a sum of losses as arrays."""
    return [each.numpy() for each in torch.autograd.grad(loss.sum(), leaves)]


def hold(found: Any, loss: Any, slopes: list[Any]) -> None:
    np.testing.assert_allclose(found[0], loss.detach().numpy(), rtol=1e-12, atol=1e-15)
    for one, other in zip(found[1:], slopes, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-14)


def test_the_gradient_takes_torchs_names() -> None:
    right = plain(torch.nn.functional.linear(FEATURES, WEIGHT, BIAS), TARGET, SHARES)
    slopes = gradient_of(right, FEATURES, WEIGHT, BIAS)
    x, w, b = (each.detach().numpy() for each in (FEATURES, WEIGHT, BIAS))
    y, s = TARGET.numpy(), SHARES.numpy()
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((x, w, y), {"linear_bias": b, "weight": s, "ignore_index": None, "options": None}),
        ((), {"input": x, "linear_weight": w, "target": y, "bias": b, "weight": s}),
        ((), {"features": x, "weight": w, "target": y, "bias": b, "class_weight": s}),
    ]
    for arguments, options in calls:
        hold(bridle.linear_cross_entropy_gradient(*arguments, **options), right, slopes)
    with pytest.raises(TypeError, match=r"linear_cross_entropy_gradient\(\) missing .*'target'"):
        bridle.linear_cross_entropy_gradient(x, w)


@pytest.mark.parametrize("sizes", [(2,), (2, 3)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("form", ["arrays", "lists", "tensors"])
def test_the_gradient_of_several_outputs(sizes: tuple[int, ...], reduction: str, form: str) -> None:
    weight, bias = draw(5, *sizes, 3, seed=4), draw(5, *sizes, seed=5)
    target = torch.randint(0, 5, (7, *sizes), generator=torch.Generator().manual_seed(6))
    target[0, 0] = -100
    right = plain(
        torch.einsum("nd,c...d->nc...", FEATURES, weight) + bias,
        target,
        SHARES,
        reduction=reduction,
        label_smoothing=0.1,
    )
    given = [each.detach() for each in (FEATURES, weight, target, bias, SHARES)]
    if form != "tensors":
        given = [each.tolist() if form == "lists" else each.numpy() for each in given]
    x, w, y, b, s = given
    found = bridle.linear_cross_entropy_gradient(
        x, w, y, bias=b, class_weight=s, reduction=reduction, label_smoothing=0.1
    )
    hold(found, right, gradient_of(right, FEATURES, weight, bias))
    without = bridle.linear_cross_entropy_gradient(x, w, y)
    assert without.d_bias is None


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_gradient_of_shifted_labels(reduction: str) -> None:
    features = draw(2, 6, 3)
    target = torch.randint(0, 5, (2, 6), generator=torch.Generator().manual_seed(1))
    target[1, 4] = -100
    scores = (features @ WEIGHT.T)[:, :-2].movedim(-1, 1)
    right = plain(scores, target[:, 2:], reduction=reduction)
    slopes = gradient_of(right, features, WEIGHT)
    if reduction == "none":
        right = torch.nn.functional.pad(right, (2, 0))
    x, w = features.detach().numpy(), WEIGHT.detach().numpy()
    found = bridle.linear_cross_entropy_gradient(x, w, target.numpy(), shift=2, reduction=reduction)
    assert found.d_bias is None
    hold(found[:3], right, slopes)
    assert (found.d_features[:, -2:] == 0).all()


def test_a_filter_draws_at_each_place_anew() -> None:
    x, w = FEATURES.detach().numpy(), draw(40, 2, 3, seed=4).detach().numpy()
    w[:, 1] = w[:, 0]
    y = np.zeros((7, 2), int)
    options: dict[str, Any] = {"gradient_filter": 0.2, "random_state": 3}
    found = bridle.linear_cross_entropy_gradient(x, w, y, **options)
    assert (found.d_weight[:, 0] != found.d_weight[:, 1]).any()
    again = bridle.linear_cross_entropy_gradient(x, w, y, **options)
    np.testing.assert_array_equal(found.d_weight, again.d_weight)


def test_half_precision_at_several_places() -> None:
    x = FEATURES.detach().numpy().astype(np.float16)
    w = draw(5, 2, 3, seed=4).detach().numpy().astype(np.float16)
    found = bridle.linear_cross_entropy_gradient(x, w, np.zeros((7, 2), int))
    right = bridle.linear_cross_entropy_gradient(
        x.astype(float), w.astype(float), np.zeros((7, 2), int)
    )
    for one, other in zip(found[1:3], right[1:3], strict=True):
        assert one.dtype == np.float16
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-4)


def test_a_compiled_call_has_no_break() -> None:
    def call(x: Any, w: Any, y: Any) -> Any:
        return bridle.linear_cross_entropy(x, linear_weight=w, target=y, shift=1)

    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(
        compiled(FEATURES, WEIGHT, TARGET), call(FEATURES, WEIGHT, TARGET), rtol=1e-12, atol=0
    )
