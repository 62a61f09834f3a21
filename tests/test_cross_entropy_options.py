"""Further options of `cross_entropy` for arrays: against a formula in the open, and for tensors."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bridle
from bridle import InputError, TargetRangeError
from bridle.kernels import thresholds

Array = npt.NDArray[Any]
OUTPUTS = ("loss", "log_prob", "entropy", "logsumexp", "argmax", "correct")


@pytest.fixture(params=["plain", "compiled"], autouse=True)
def _kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {"plain": 2**62, "compiled": 0}[request.param]
    monkeypatch.setattr(thresholds, "COMPILED_ARRAY_NUMBERS", numbers)


def problem(seed: int, rows: int, classes: int, kind: str) -> tuple[Array, Any, Array]:
    """Return scores, targets of a kind, and the same targets as distributions."""
    rng = np.random.default_rng(seed)
    scores = 2 * rng.normal(size=(rows, classes))
    share = rng.random((rows, classes))
    if kind == "index":
        index = rng.integers(0, classes, rows)
        return scores, index, np.eye(classes)[index]
    if kind == "dense":
        dense = share / share.sum(axis=1, keepdims=True)
        return scores, dense, dense
    columns = share.argsort(axis=1)[:, :2]
    mass = np.take_along_axis(share, columns, axis=1)
    mass /= mass.sum(axis=1, keepdims=True)
    dense = np.zeros_like(share)
    np.put_along_axis(dense, columns, mass, axis=1)
    return scores, (columns, mass), dense


def formula(
    scores: Array,
    dense: Array,
    weight: Array | None = None,
    *,
    label_smoothing: float = 0.0,
    sample_weight: Array | None = None,
    z_loss: float = 0.0,
    softcap: float = 0.0,
    temperature: float = 1.0,
) -> dict[str, Array]:
    """Return what the rows hold; for complex scores too."""
    z = (softcap * np.tanh(scores / softcap) if softcap else scores) / temperature
    logsumexp = np.log(np.exp(z).sum(axis=1))
    log_p = z - logsumexp[:, None]
    q = (1 - label_smoothing) * dense + label_smoothing / z.shape[1]
    mass = q if weight is None else q * weight
    loss = -(mass * log_p).sum(axis=1) + z_loss * logsumexp**2
    p = np.exp(log_p)
    return {
        "loss": loss if sample_weight is None else sample_weight * loss,
        "log_prob": (dense * log_p).sum(axis=1),
        "entropy": -(p * log_p).sum(axis=1),
        "logsumexp": logsumexp,
        "argmax": z.real.argmax(axis=1),
        "correct": z.real.argmax(axis=1) == dense.argmax(axis=1),
    }


@given(
    seed=st.integers(0, 2**16),
    rows=st.integers(1, 9),
    classes=st.sampled_from([2, 3, 7, 65, 131]),
    kind=st.sampled_from(["index", "dense", "sparse"]),
    weighted=st.booleans(),
    sampled=st.booleans(),
    label_smoothing=st.sampled_from([0.0, 0.2, 1.0]),
    z_loss=st.sampled_from([0.0, 0.05]),
    softcap=st.sampled_from([0.0, 1.5]),
    temperature=st.sampled_from([1.0, 0.6]),
)
def test_values_and_gradients_are_the_formula_s(
    seed: int, rows: int, classes: int, kind: str, weighted: bool, sampled: bool, **numbers: float
) -> None:
    scores, target, dense = problem(seed, rows, classes, kind)
    rng = np.random.default_rng(seed + 1)
    weight = rng.random(classes) if weighted else None
    sample_weight = rng.random(rows) if sampled else None
    given: dict[str, Any] = {"sample_weight": sample_weight, **numbers}
    right = formula(scores, dense, weight, **given)
    found = bridle.cross_entropy(scores, target, weight, reduction="none", outputs=OUTPUTS, **given)
    for name in OUTPUTS:
        np.testing.assert_allclose(getattr(found, name), right[name], rtol=1e-11, atol=1e-12)
    loss, gradient = bridle.losses.cross_entropy_gradient(
        scores, target, weight, reduction="none", **given
    )
    np.testing.assert_allclose(loss, right["loss"], rtol=1e-11, atol=1e-12)
    step = 1e-30
    for column in {0, classes // 2, classes - 1}:
        moved = scores.astype(complex)
        moved[:, column] += 1j * step
        slope = formula(moved, dense, weight, **given)["loss"].imag / step
        np.testing.assert_allclose(gradient[:, column], slope, rtol=1e-9, atol=1e-12)


def test_a_normalizer_divides_the_sum() -> None:
    scores, target, _ = problem(0, 5, 3, "index")
    total, slopes = bridle.losses.cross_entropy_gradient(scores, target, reduction="sum")
    loss, gradient = bridle.losses.cross_entropy_gradient(scores, target, normalizer=40.0)
    np.testing.assert_allclose(loss, total / 40)
    np.testing.assert_allclose(gradient, slopes / 40)
    assert bridle.cross_entropy(scores, target, normalizer=40.0) == loss


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_class_weights_do_not_touch_the_mean_of_z_losses(sampled: bool, smoothing: float) -> None:
    """In both worlds, and of a linear head: Σ z_i² over the positions, the rest over Σ w."""
    rng = np.random.default_rng(0)
    features, head = rng.normal(size=(6, 4)), rng.normal(size=(3, 4))
    target, weight = np.array([0, 1, 1, -100, 2, 0]), np.array([0.1, 5.0, 0.0])
    share = np.array([1.0, 0.0, 2.0, 3.0, 0.5, 1.0]) if sampled else np.ones(6)
    given: dict[str, Any] = {"label_smoothing": smoothing, "z_loss": 0.3}
    if sampled:
        given["sample_weight"] = share

    def mean(scores: Array) -> Any:
        rows = np.flatnonzero(target != -100)
        z = np.log(np.exp(scores[rows]).sum(axis=1))
        aims = (1 - smoothing) * np.eye(3)[target[rows]] + smoothing / 3
        losses = (aims * weight * (z[:, None] - scores[rows])).sum(axis=1)
        own = share[rows]
        first = (own * losses).sum() / (own * weight[target[rows]]).sum()
        return first + 0.3 * (own * z**2).sum() / own.sum()

    scores = features @ head.T
    right, slopes = mean(scores), np.zeros_like(scores)
    for at in np.ndindex(scores.shape):
        moved = scores.astype(complex)
        moved[at] += 1e-30j
        slopes[at] = mean(moved).imag / 1e-30
    loss, gradient = bridle.cross_entropy_gradient(scores, target, weight, **given)
    assert loss == pytest.approx(right, rel=1e-13)
    np.testing.assert_allclose(gradient, slopes, rtol=1e-12, atol=1e-15)
    of_head = bridle.linear_cross_entropy_gradient(
        features, head, target, class_weight=weight, **given
    )
    assert of_head.loss == pytest.approx(right, rel=1e-13)
    np.testing.assert_allclose(of_head.d_weight, slopes.T @ features, rtol=1e-12, atol=1e-14)

    torch = pytest.importorskip("torch", reason="the extra `torch` is not installed")
    tensors = {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in given.items()
    }
    aims, class_weight = torch.from_numpy(target), torch.from_numpy(weight)
    leaf = torch.from_numpy(scores).requires_grad_()
    found = bridle.cross_entropy(leaf, aims, class_weight, **tensors)
    found.backward()
    assert found.item() == pytest.approx(right, rel=1e-13)
    np.testing.assert_allclose(leaf.grad.numpy(), slopes, rtol=1e-12, atol=1e-15)
    ways: list[dict[str, Any]] = [{}, {"outputs": ("loss",)}]
    for options in ways:  # with the gradient made beside the loss, and afterwards
        matrix = torch.from_numpy(head).requires_grad_()
        answer = bridle.linear_cross_entropy(
            torch.from_numpy(features),
            matrix,
            aims,
            class_weight=class_weight,
            **tensors,
            **options,
        )
        answer = answer.loss if options else answer
        answer.backward()
        assert answer.item() == pytest.approx(right, rel=1e-13)
        np.testing.assert_allclose(matrix.grad.numpy(), slopes.T @ features, rtol=1e-12, atol=1e-14)


def test_a_given_normalizer_divides_all_terms() -> None:
    scores, target, _ = problem(0, 5, 3, "index")
    given: dict[str, Any] = {"z_loss": 0.1, "reduction": "sum"}
    total = bridle.cross_entropy(scores, target, np.array([1.0, 2.0, 0.5]), **given)
    given = {"z_loss": 0.1, "normalizer": 7.0}
    found = bridle.cross_entropy(scores, target, np.array([1.0, 2.0, 0.5]), **given)
    assert found == pytest.approx(total / 7, rel=1e-14)


def test_ignored_rows_hold_nothing() -> None:
    scores, target, _ = problem(0, 5, 3, "index")
    target[2] = -100
    scores[2] = np.nan
    found = bridle.cross_entropy(scores, target, outputs=OUTPUTS, reduction="none")
    held = [getattr(found, name)[2] for name in OUTPUTS]
    assert held == [0, 0, 0, 0, -1, False]
    assert found.argmax.dtype == np.int64
    assert found.correct.dtype == bool


def test_no_rows() -> None:
    found = bridle.cross_entropy(np.zeros((0, 3)), np.zeros(0, int), outputs=OUTPUTS)
    assert np.isnan(found.loss)
    assert all(getattr(found, name).shape == (0,) for name in OUTPUTS[1:])


def test_positions_and_what_is_not_asked() -> None:
    rng = np.random.default_rng(0)
    scores, target = rng.normal(size=(2, 5, 3, 4)), rng.integers(0, 5, (2, 3, 4))
    found = bridle.cross_entropy(scores, target, outputs=("entropy",))
    assert found.entropy.shape == (2, 3, 4)
    assert found.loss is None


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
@pytest.mark.parametrize("kind", ["index", "dense", "sparse"])
def test_tensors_say_the_same(kind: str, dtype: Any) -> None:
    torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")
    scores, target, _ = problem(3, 6, 11, kind)
    scores = scores.astype(dtype)
    options: dict[str, Any] = {
        "label_smoothing": 0.1,
        "z_loss": 0.01,
        "softcap": 4.0,
        "temperature": 0.8,
        "outputs": OUTPUTS,
    }
    as_tensor = torch.from_numpy(scores.astype(np.float64)).to(getattr(torch, np.dtype(dtype).name))
    aim = tuple(map(torch.from_numpy, target)) if kind == "sparse" else torch.from_numpy(target)
    found = bridle.cross_entropy(scores, target, **options)
    right: Any = bridle.cross_entropy(as_tensor, aim, **options)
    wide = np.dtype(dtype) == np.float64
    for name in OUTPUTS:
        one, other = np.asarray(getattr(found, name)), getattr(right, name).numpy()
        assert one.dtype == other.dtype
        np.testing.assert_allclose(
            one, other, rtol=1e-13 if wide else 2e-6, atol=1e-13 if wide else 1e-6
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "temperature: expected a finite number above 0"),
        ({"softcap": -1.0}, "softcap: expected a number of 0 or above"),
        ({"normalizer": 2.0, "reduction": "sum"}, "normalizer: expected a mean"),
        ({"outputs": "loss"}, "outputs: expected some of"),
        ({"outputs": ("losses",)}, "outputs: expected some of"),
        ({"target": (np.zeros((2, 3), int), np.ones((2, 2)))}, "target: expected indices and"),
        ({"target": (np.zeros((2, 1)), np.ones((2, 1)))}, r"target\[0\]: expected integers"),
        ({"target": (np.zeros((2, 1), int), np.full((2, 1), 0.5))}, r"target\[1\]"),
    ],
)
def test_bad_options_are_named(change: dict[str, Any], message: str) -> None:
    given = {"target": [0, 1], **change}
    with pytest.raises(InputError, match=message):
        bridle.cross_entropy(np.zeros((2, 3)) - 1, **given)


def test_a_sparse_target_out_of_range_is_named_or_breaks_its_row() -> None:
    scores = np.zeros((2, 3)) - 1
    target = (np.array([[0], [7]]), np.ones((2, 1)))
    with pytest.raises(TargetRangeError, match=r"row 1"):
        bridle.cross_entropy(scores, target)
    losses = bridle.cross_entropy(scores, target, reduction="none", check=False)
    assert np.isfinite(losses[0])
    assert np.isnan(losses[1])


@pytest.mark.parametrize("normalizer", [-1, -0.5, np.nan, np.inf])
def test_a_normalizer_below_zero_is_refused(normalizer: float) -> None:
    with pytest.raises(bridle.InputError, match="normalizer: expected a finite number of 0 or abo"):
        bridle.cross_entropy(np.zeros((2, 3)), [0, 1], normalizer=normalizer)
