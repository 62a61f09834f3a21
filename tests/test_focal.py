"""Focal loss: the formula in long doubles, finite differences, and the ends p → 0 and p → 1."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bridle
from bridle.formula.focal import focal, focal_slope
from bridle.kernels import thresholds
from oracle import FLOAT_DTYPES, Long, assert_close, long

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed"
)
GAMMAS = [0.0, 0.3, 1.0, 2.0, 5.0]


def right_rows(scores: Any, target: Any, weight: Any = None, gamma: float = 2.0) -> tuple[Any, Any]:
    """Return losses (N,) and their gradients (N, C), from the book's formula, row by row."""
    rows = long(scores)
    losses, gradients = np.zeros(len(rows), Long), np.zeros(rows.shape, Long)
    for n, (row, t) in enumerate(zip(rows, target, strict=True)):
        others = np.exp(np.delete(row - row.max(), t))
        own = np.exp(row[t] - row.max())
        p, above = own / (own + others.sum()), others.sum() / (own + others.sum())
        # log p = log1p(−(1 − p)) near 1, where p itself has no digits left.
        log_p = np.log1p(-above) if above < 0.5 else row[t] - row.max() - np.log(own + others.sum())
        alpha = Long(1) if weight is None else long(weight)[t]
        losses[n] = -alpha * above ** Long(gamma) * log_p
        by_p = Long(gamma) * above ** Long(gamma - 1) * log_p - above ** Long(gamma) / p
        q = np.exp(row - row.max()) / (own + others.sum())
        gradients[n] = alpha * by_p * -p * q
        gradients[n, t] = alpha * by_p * p * above
    return losses, gradients


def problem(seed: int, rows: int, classes: int, spread: float = 3.0) -> tuple[Any, Any, Any]:
    random = np.random.default_rng(seed)
    return (
        spread * random.normal(size=(rows, classes)),
        random.integers(0, classes, rows),
        random.uniform(0.5, 2, classes),
    )


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 7),
    classes=st.integers(2, 9),
    gamma=st.sampled_from(GAMMAS) | st.floats(0, 8),
    weighted=st.booleans(),
    reduction=st.sampled_from(["mean", "sum", "none"]),
)
def test_it_is_the_formula_and_its_derivative(
    seed: int, rows: int, classes: int, gamma: float, weighted: bool, reduction: Any
) -> None:
    scores, target, weight = problem(seed, rows, classes)
    weight = weight if weighted else None
    losses, gradients = right_rows(scores, target, weight, gamma)
    divisor = 1 if reduction != "mean" else rows if weight is None else weight[target].sum()
    options: Any = {"gamma": gamma, "reduction": reduction}
    loss, gradient = bridle.focal_loss_gradient(scores, target, weight, **options)
    assert_close(loss, losses if reduction == "none" else losses.sum() / divisor, "f8", ulps=200)
    assert_close(gradient, gradients / divisor, "f8", ulps=400, scale=1 / rows)
    assert_close(bridle.focal_loss(scores, target, weight, **options), loss, "f8", ulps=0)


def test_the_value_of_a_row_that_one_can_reckon() -> None:
    # p = 3/4 and 1/4: (1/4)² log(4/3) and (3/4)² log 4.
    scores = np.log([[3.0, 1.0], [3.0, 1.0]])
    found = bridle.focal_loss(scores, [0, 1], reduction="none", check=False)
    np.testing.assert_allclose(found, [np.log(4 / 3) / 16, 9 / 16 * np.log(4)], rtol=1e-14)
    assert bridle.focal_loss(scores, [0, 1], gamma=0.5, check=False) == pytest.approx(
        (np.log(4 / 3) / 2 + np.sqrt(0.75) * np.log(4)) / 2
    )


@pytest.mark.parametrize("gamma", GAMMAS)
def test_the_gradient_is_what_finite_differences_give(gamma: float) -> None:
    scores, target, weight = problem(3, 5, 4, spread=1.0)
    share = np.array([1.0, 2.0, 0.0, 0.5, 3.0])
    options: Any = {"gamma": gamma, "sample_weight": share, "normalizer": 2.5}
    _, gradient = bridle.focal_loss_gradient(scores, target, weight, **options)
    step, found = 1e-6, np.zeros_like(scores)
    for at in np.ndindex(scores.shape):
        for sign in (1, -1):
            moved = scores.copy()
            moved[at] += sign * step
            found[at] += sign * bridle.focal_loss(moved, target, weight, **options) / (2 * step)
    np.testing.assert_allclose(gradient, found, atol=1e-8)


@pytest.mark.parametrize("world", ["arrays", pytest.param("tensors", marks=needs_torch)])
def test_without_focus_it_is_cross_entropy(world: str) -> None:
    scores, target, weight = problem(4, 40, 6)
    target[::5] = -100
    scores[0] = np.nan
    scores[7, 2] = -np.inf
    options: Any = {"sample_weight": np.arange(40.0)}
    given: list[Any] = [scores, target, weight]
    if world == "tensors":
        import torch

        given = [torch.from_numpy(each) for each in given]
    for reduction in ("mean", "sum", "none"):
        found = bridle.focal_loss(*given, gamma=0.0, reduction=reduction, **options)
        right = bridle.cross_entropy(*given, reduction=reduction, **options)
        np.testing.assert_array_equal(np.asarray(found), np.asarray(right))
    for one, other in zip(
        bridle.focal_loss_gradient(scores, target, weight, gamma=0, **options),
        bridle.cross_entropy_gradient(scores, target, weight, **options),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", FLOAT_DTYPES, ids=str)
@pytest.mark.parametrize("gamma", GAMMAS)
def test_every_dtype_keeps_its_digits(dtype: Any, gamma: float) -> None:
    scores, target, _ = problem(5, 30, 5)
    given = scores.astype(dtype)
    losses, gradients = right_rows(given, target, gamma=gamma)
    loss, gradient = bridle.focal_loss_gradient(given, target, gamma=gamma, reduction="none")
    kept = np.result_type(np.float32, dtype) if dtype.kind == "f" else np.dtype(np.float32)
    assert loss.dtype == kept
    assert gradient.dtype == dtype
    assert_close(loss, losses, kept, ulps=100)
    assert_close(gradient, gradients, dtype, ulps=60, scale=1.0)


@pytest.mark.parametrize("gamma", [0.3, 0.5, 1.0, 2.0])
def test_near_certainty_no_digit_is_lost(gamma: float) -> None:
    """``1 − p`` is far below what 1 − p, reckoned from p, could tell."""
    scores = np.array([[40.0, 0.0], [200.0, 0.0], [700.0, 0.0], [0.0, -30.0], [1000.0, 0.0]])
    losses, gradients = right_rows(scores, [0] * 5, gamma=gamma)
    loss, gradient = bridle.focal_loss_gradient(scores, [0] * 5, gamma=gamma, reduction="none")
    np.testing.assert_allclose(loss[:4], losses[:4].astype(float), rtol=1e-11)
    np.testing.assert_allclose(gradient[:4], gradients[:4].astype(float), rtol=1e-11)
    assert loss[4] == 0
    assert not gradient[4].any()


def test_the_slope_has_its_limits() -> None:
    ends = np.array([0.0, 1e-320, 1e-30, 1e3, np.inf])
    for gamma in (0.0, 0.3, 1.0, 2.0):
        with np.errstate(all="raise", under="ignore"):
            slope, value = focal_slope(np, ends, gamma), focal(np, ends, gamma)
        assert np.isfinite(slope).all()
        np.testing.assert_array_equal(slope[3:], 1.0)
        np.testing.assert_array_equal(value[3:], ends[3:])
        assert slope[0] == (gamma == 0)
        assert value[0] == 0
        assert slope[2] == pytest.approx((1 + gamma) * 1e-30**gamma)


def test_masked_classes_are_left_out() -> None:
    scores, target, _ = problem(6, 6, 5)
    target[:] = 0
    scores[:, 3] = -np.inf
    loss, gradient = bridle.focal_loss_gradient(scores, target, reduction="none")
    kept = [0, 1, 2, 4]
    few, few_gradient = bridle.focal_loss_gradient(scores[:, kept], target, reduction="none")
    np.testing.assert_allclose(loss, few, rtol=1e-14)
    np.testing.assert_allclose(gradient[:, kept], few_gradient, rtol=1e-12, atol=1e-16)
    assert not gradient[:, 3].any()


HOSTILE = np.array(
    [
        [-np.inf, 1.0, 2.0],  # the target's class is masked: +inf, with a finite gradient
        [1e38, -1e38, 0.0],
        [-1e38, 1e38, 0.0],
        [1e6 + 1, 1e6, 1e6],
        [np.nan, 0.0, 1.0],
        [np.inf, 0.0, 1.0],
        [-np.inf, -np.inf, -np.inf],
        [np.nan, np.nan, np.nan],  # ignored
        [0.5, -1.0, 2.0],
    ]
)
HOSTILE_TARGET = np.array([0, 0, 0, 0, 0, 0, 0, -100, 1])


def check_hostile(loss: Any, gradient: Any, gamma: float) -> None:
    offset, plain = right_rows(HOSTILE[[3, 8]], [0, 1], gamma=gamma)
    certain = 0.0
    distance = 2e38
    np.testing.assert_allclose(
        loss,
        [np.inf, certain, distance, offset[0], np.nan, np.nan, np.nan, 0, offset[1]],
        rtol=1e-6,
    )
    broken = [4, 5, 6]
    assert np.isnan(gradient[broken]).any(axis=1).all()
    others = np.delete(gradient, broken, axis=0)
    assert np.isfinite(others).all()
    # A masked target: what its cross-entropy asks of the others.
    np.testing.assert_allclose(others[0, 1:], [1 / (1 + np.e), np.e / (1 + np.e)], rtol=1e-6)
    np.testing.assert_array_equal(others[1], 0)
    np.testing.assert_allclose(others[2], [-1, 1, 0])
    np.testing.assert_allclose(others[3], plain[0].astype(float), rtol=1e-5)
    np.testing.assert_array_equal(others[4], 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("gamma", [0.3, 1.0, 2.0])
def test_hostile_rows_harm_no_other(dtype: Any, gamma: float) -> None:
    found = bridle.focal_loss_gradient(
        HOSTILE.astype(dtype), HOSTILE_TARGET, gamma=gamma, reduction="none"
    )
    check_hostile(*found, gamma)


@needs_torch
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("gamma", [0.3, 1.0, 2.0])
def test_hostile_rows_harm_no_other_in_tensors(dtype: Any, gamma: float) -> None:
    import torch

    scores = torch.from_numpy(HOSTILE.astype(dtype)).requires_grad_()
    loss = bridle.focal_loss(
        scores, torch.from_numpy(HOSTILE_TARGET), gamma=gamma, reduction="none"
    )
    (gradient,) = torch.autograd.grad(loss, scores, torch.ones_like(loss))
    check_hostile(loss.detach().numpy(), gradient.numpy(), gamma)


def test_a_mean_over_nothing_is_what_is_said() -> None:
    scores = np.zeros((3, 2))
    ignored = [-100] * 3
    loss, gradient = bridle.focal_loss_gradient(scores, ignored)
    assert np.isnan(loss)
    assert not gradient.any()
    assert bridle.focal_loss(scores, ignored, on_empty="zero") == 0
    assert bridle.focal_loss(scores, ignored, reduction="sum") == 0
    with pytest.raises(bridle.InputError, match="the mean is over no sample"):
        bridle.focal_loss(scores, ignored, on_empty="raise")
    assert np.isnan(bridle.focal_loss(np.zeros((0, 4)), np.zeros(0, int)))


def test_layouts_and_one_sample() -> None:
    scores, target, weight = problem(7, 24, 5)
    flat, flat_gradient = bridle.focal_loss_gradient(scores, target, weight)
    image = np.moveaxis(scores.reshape(2, 3, 4, 5), -1, 1)
    loss, gradient = bridle.focal_loss_gradient(image, target.reshape(2, 3, 4), weight)
    assert loss == pytest.approx(flat, rel=1e-14)
    np.testing.assert_allclose(np.moveaxis(gradient, 1, -1).reshape(24, 5), flat_gradient)
    last = bridle.focal_loss(scores.reshape(2, 12, 5), target.reshape(2, 12), weight, axis=-1)
    assert last == pytest.approx(flat, rel=1e-14)
    one = bridle.focal_loss(scores[0], target[0])
    assert one == pytest.approx(right_rows(scores[:1], target[:1])[0][0])
    assert bridle.focal_loss([[1.0, 2.0]], [True]) == bridle.focal_loss([[1.0, 2.0]], [1])
    assert bridle.focal_loss([[3.0]], [0]) == 0  # of one class p is 1


def test_many_scores_go_through_the_compiled_kernels() -> None:
    classes = 512
    rows = thresholds.COMPILED_ARRAY_NUMBERS // classes + 1
    scores, target, weight = problem(8, rows, classes)
    loss, gradient = bridle.focal_loss_gradient(scores, target, weight, reduction="none")
    some = np.linspace(0, rows - 1, 7).astype(int)
    right, right_gradient = right_rows(scores[some], target[some], weight)
    assert_close(loss[some], right, "f8", ulps=200)
    assert_close(gradient[some], right_gradient, "f8", ulps=400, scale=1.0)


DISTRIBUTIONS: list[Any] = [
    [[0.5, 0.5], [1.0, 0.0]],
    (np.array([[0], [1]]), np.array([[1.0], [1.0]])),
]


@pytest.mark.parametrize("target", DISTRIBUTIONS)
def test_distributions_are_refused(target: Any) -> None:
    with pytest.raises(bridle.InputError, match="target: expected class indices") as raised:
        bridle.focal_loss([[1.0, 2.0], [0.0, 3.0]], target)
    assert raised.value.argument == "target"


@pytest.mark.parametrize("gamma", [-1, np.nan, np.inf, "2", None])
def test_a_focus_must_be_a_number_of_zero_or_above(gamma: Any) -> None:
    with pytest.raises(bridle.InputError, match="gamma: expected a finite number") as raised:
        bridle.focal_loss([[1.0, 2.0]], [0], gamma=gamma)
    assert raised.value.argument == "gamma"


def test_other_arguments_are_those_of_the_other_losses() -> None:
    with pytest.raises(bridle.TargetRangeError):
        bridle.focal_loss([[1.0, 2.0], [0.0, 1.0]], [0, 2])
    unchecked = bridle.focal_loss([[1.0, 2.0], [0.0, 1.0]], [0, 2], check=False, reduction="none")
    assert np.isnan(unchecked).tolist() == [False, True]
    with pytest.raises(bridle.InputError, match="weight"):
        bridle.focal_loss([[1.0, 2.0]], [0], [1.0, -1.0])
    with pytest.raises(bridle.InputError, match="reduction"):
        bridle.focal_loss([[1.0, 2.0]], [0], reduction="average")  # type: ignore[call-overload]
    with pytest.warns(UserWarning, match="probabilities"):
        bridle.focal_loss([[0.2, 0.8], [0.5, 0.5]], [0, 1])


# --- tensors ------------------------------------------------------------------------------------


@needs_torch
@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    gamma=st.sampled_from(GAMMAS),
    weighted=st.booleans(),
    reduction=st.sampled_from(["mean", "sum", "none"]),
)
def test_tensors_give_what_arrays_give(
    seed: int, gamma: float, weighted: bool, reduction: Any
) -> None:
    import torch

    scores, target, weight = problem(seed, 6, 5)
    target[seed % 6] = -100
    share = np.array([1.0, 0.0, 2.0, 0.5, 1.0, 3.0])
    options: Any = {"gamma": gamma, "reduction": reduction, "sample_weight": share}
    given = weight if weighted else None
    right, right_gradient = bridle.focal_loss_gradient(scores, target, given, **options)
    s = torch.from_numpy(scores).requires_grad_()
    found = bridle.focal_loss(s, torch.from_numpy(target), given, **options)
    (gradient,) = torch.autograd.grad(found.sum(), s)
    np.testing.assert_allclose(found.detach().numpy(), right, rtol=1e-12)
    np.testing.assert_allclose(gradient.numpy(), right_gradient, rtol=1e-9, atol=1e-13)


@needs_torch
@pytest.mark.parametrize("gamma", GAMMAS)
def test_autograd_agrees_with_differences_twice(gamma: float) -> None:
    import torch

    scores, target, weight = problem(9, 4, 3, spread=1.0)
    s = torch.from_numpy(scores).requires_grad_()
    t, w = torch.from_numpy(target), torch.from_numpy(weight)

    def loss(x: Any) -> Any:
        return bridle.focal_loss(x, t, w, gamma=gamma)

    assert torch.autograd.gradcheck(loss, s, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(loss, s)
    mapped = torch.func.vmap(loss)(torch.stack([s, 2 * s]))
    torch.testing.assert_close(mapped, torch.stack([loss(s), loss(2 * s)]))


@needs_torch
@pytest.mark.parametrize("gamma", [0.3, 2.0])
def test_near_certainty_tensors_lose_no_digit_either(gamma: float) -> None:
    import torch

    scores = np.array([[40.0, 0.0], [200.0, 0.0], [1000.0, 0.0]])
    right, right_gradient = bridle.focal_loss_gradient(scores, [0] * 3, gamma=gamma)
    s = torch.from_numpy(scores).requires_grad_()
    found = bridle.focal_loss(s, torch.zeros(3, dtype=torch.int64), gamma=gamma)
    found.backward()  # type: ignore[no-untyped-call, unused-ignore]
    np.testing.assert_allclose(found.detach().numpy(), right, rtol=1e-12)
    assert s.grad is not None
    # At the target's class plain PyTorch takes 1 from p, which a float64 cannot tell from 1.
    np.testing.assert_allclose(s.grad.numpy()[:, 1], right_gradient[:, 1], rtol=1e-12)
    np.testing.assert_allclose(s.grad.numpy()[:, 0], right_gradient[:, 0], atol=1e-16)


@needs_torch
@pytest.mark.parametrize("name", ["bfloat16", "float16", "float32", "float64"])
def test_every_dtype_of_tensors(name: str) -> None:
    import torch

    scores, target, _ = problem(10, 30, 5)
    dtype = getattr(torch, name)
    s = torch.from_numpy(scores).to(dtype).requires_grad_()
    losses, gradients = right_rows(s.detach().double().numpy(), target)
    found = bridle.focal_loss(s, torch.from_numpy(target), reduction="none")
    assert found.dtype == (torch.float64 if name == "float64" else torch.float32)
    (gradient,) = torch.autograd.grad(found.sum(), s)
    assert gradient.dtype == dtype
    rtol = 1e-12 if name == "float64" else 1e-5
    np.testing.assert_allclose(found.detach().numpy(), losses.astype(float), rtol=rtol)
    bound = 8 * torch.finfo(dtype).eps
    np.testing.assert_allclose(gradient.double().numpy(), gradients.astype(float), atol=bound)


@needs_torch
@pytest.mark.parametrize("target", DISTRIBUTIONS)
def test_tensors_of_distributions_are_refused(target: Any) -> None:
    import torch

    given = tuple(map(torch.tensor, target)) if isinstance(target, tuple) else torch.tensor(target)
    with pytest.raises(bridle.InputError, match="target: expected class indices"):
        bridle.focal_loss(torch.tensor([[1.0, 2.0], [0.0, 3.0]]), given)
    with pytest.raises(bridle.InputError, match="gamma: expected"):
        bridle.focal_loss(torch.zeros(1, 2), torch.tensor([0]), gamma=-1.0)


@needs_torch
def test_it_compiles_into_one_program() -> None:
    import torch

    scores, target, _ = problem(11, 12, 4)
    target[3] = -100
    s, t = torch.from_numpy(scores).float().requires_grad_(), torch.from_numpy(target)
    compiled = torch.compile(
        lambda x, y: bridle.focal_loss(x, y, gamma=1.5), fullgraph=True, backend="aot_eager"
    )
    for rows in (12, 7):
        found, right = (
            compiled(s[:rows], t[:rows]),
            bridle.focal_loss(s[:rows], t[:rows], gamma=1.5),
        )
        torch.testing.assert_close(found, right)
        torch.testing.assert_close(torch.autograd.grad(found, s), torch.autograd.grad(right, s))
