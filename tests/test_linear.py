"""`linear_cross_entropy` of arrays is `cross_entropy` of the scores; and the gradient filter."""

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
from bridle.kernels import choose, products, thresholds
from bridle.kernels.numba import filtered_products
from bridle.kernels.numba import residual_filter as compiled_filter
from bridle.kernels.numpy import residual_filter

Array = npt.NDArray[Any]
OUTPUTS = ("loss", "log_prob", "entropy", "logsumexp", "argmax", "correct")


def head(rows: int, width: int, classes: int, seed: int = 0) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(rows, width)),
        rng.normal(size=(classes, width)),
        rng.normal(size=classes),
    )


def targets(kind: str, rows: int, classes: int, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    index = rng.integers(0, classes, rows)
    if kind == "index":
        return index
    if kind == "some ignored":
        return np.where(rng.random(rows) < 0.4, -100, index)
    share = rng.random((rows, classes))
    if kind == "dense":
        return share / share.sum(axis=1, keepdims=True)
    columns = share.argsort(axis=1)[:, :3]
    mass = np.take_along_axis(share, columns, axis=1)
    return columns, mass / mass.sum(axis=1, keepdims=True)


@given(
    rows=st.integers(1, 40),
    width=st.integers(1, 9),
    classes=st.sampled_from([1, 2, 3, 7, 64, 65, 130]),
    block=st.sampled_from([1, 7, 1000]),
    compiled=st.booleans(),
    kind=st.sampled_from(["index", "some ignored", "dense", "sparse"]),
    reduction=st.sampled_from(["mean", "sum", "none"]),
    weighted=st.booleans(),
    sampled=st.booleans(),
    label_smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    z_loss=st.sampled_from([0.0, 0.01]),
    softcap=st.sampled_from([0.0, 2.0]),
    temperature=st.sampled_from([1.0, 0.7]),
    seed=st.integers(0, 2**16),
)
def test_any_combination_of_arguments(
    rows: int,
    width: int,
    classes: int,
    block: int,
    compiled: bool,
    kind: str,
    weighted: bool,
    sampled: bool,
    seed: int,
    **options: Any,
) -> None:
    features, weight, bias = head(rows, width, classes, seed)
    target = targets(kind, rows, classes, seed)
    rng = np.random.default_rng(seed)
    class_weight = rng.random(classes) if weighted else None
    options["sample_weight"] = rng.random(rows) if sampled else None
    options["check"] = False
    scores = features @ weight.T + bias
    loss, residual = bridle.cross_entropy_gradient(scores, target, class_weight, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thresholds, "COMPILED_ARRAY_NUMBERS", 0 if compiled else 2**62)
        given: dict[str, Any] = {"bias": bias, "class_weight": class_weight, **options}
        given["memory_budget"] = block * classes * 8
        found = bridle.linear_cross_entropy_gradient(features, weight, target, **given)
        alone = bridle.linear_cross_entropy(features, weight, target, **given)
    np.testing.assert_array_equal(alone, found.loss)
    right = (loss, residual @ weight, residual.T @ features, residual.sum(axis=0))
    for one, other in zip(found, right, strict=True):
        np.testing.assert_allclose(np.asarray(one), other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", ["index", "some ignored", "dense", "sparse"])
def test_outputs(kind: str) -> None:
    features, weight, bias = head(23, 5, 13)
    target = targets(kind, 23, 13)
    options: dict[str, Any] = {"outputs": OUTPUTS, "check": False}
    found = bridle.linear_cross_entropy(
        features, weight, target, bias=bias, memory_budget=13 * 8 * 6, **options
    )
    right = bridle.cross_entropy(features @ weight.T + bias, target, **options)
    for name in OUTPUTS:
        np.testing.assert_allclose(getattr(found, name), getattr(right, name), atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32])
def test_every_dtype(dtype: Any) -> None:
    features, weight, bias = (each.astype(dtype) for each in head(23, 5, 13))
    target = targets("index", 23, 13)
    found = bridle.linear_cross_entropy_gradient(features, weight, target, bias=bias)
    wide = [each.astype(np.float64) for each in (features, weight, bias)]
    right = bridle.linear_cross_entropy_gradient(wide[0], wide[1], target, bias=wide[2])
    assert found.loss.dtype == np.float32
    info: Any = ml_dtypes.finfo
    for one, other in zip(map(np.asarray, found[1:]), map(np.asarray, right[1:]), strict=True):
        assert one.dtype == dtype
        np.testing.assert_allclose(one.astype(float), other, atol=2 * float(info(dtype).eps))


def test_positions_strides_and_nothing() -> None:
    features, weight, _ = head(24, 5, 13)
    target = targets("index", 24, 13)
    flat = bridle.linear_cross_entropy(features, weight, target, reduction="none")
    shaped = bridle.linear_cross_entropy(
        features.reshape(2, 3, 4, 5), weight, target.reshape(2, 3, 4), reduction="none"
    )
    np.testing.assert_array_equal(shaped, flat.reshape(2, 3, 4))
    turned = bridle.linear_cross_entropy_gradient(
        np.asfortranarray(features)[::-1], np.asfortranarray(weight), target[::-1]
    )
    straight = bridle.linear_cross_entropy_gradient(features, weight, target)
    np.testing.assert_allclose(turned.d_features[::-1], straight.d_features, atol=1e-15)
    assert straight.d_bias is None
    one = bridle.linear_cross_entropy(features[0], weight, target[0])
    np.testing.assert_allclose(one, flat[0])
    nothing = bridle.linear_cross_entropy_gradient(features, weight, np.full(24, -100))
    assert np.isnan(nothing.loss)
    assert not nothing.d_features.any()
    assert not nothing.d_weight.any()


def test_ignored_rows_are_not_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    features, weight, _ = head(23, 5, 13)
    target = np.full(23, -100)
    target[[3, 8, 20]] = [1, 2, 3]
    rows = []
    make = products.make_scores

    def counted(block: Array, *others: Any) -> None:
        rows.append(len(block))
        make(block, *others)

    monkeypatch.setattr(products, "make_scores", counted)
    bridle.linear_cross_entropy(features, weight, target, memory_budget=2 * 13 * 8)
    assert rows == [2, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": np.zeros((13, 4))}, r"features: expected \(…, D\) beside a weight"),
        ({"weight": np.zeros((0, 5))}, "weight: expected a row for each"),
        ({"features": np.zeros((23, 5), np.longdouble)}, "features: expected float64 or narrower"),
        ({"bias": np.zeros(12)}, r"bias: expected shape \(13,\), found \(12,\)"),
        ({"target": np.zeros(22, int)}, "target: expected class indices"),
        ({"memory_budget": 0}, "memory_budget: expected a number of bytes"),
        ({"sample_weight": np.ones(4)}, "sample_weight: expected shape"),
        ({"normalizer": 1.0, "reduction": "sum"}, "normalizer: expected a mean"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], message: str) -> None:
    features, weight, _ = head(23, 5, 13)
    given = {"features": features, "weight": weight, "target": np.zeros(23, int), **change}
    with pytest.raises(InputError, match=message):
        bridle.linear_cross_entropy(**given)


def test_a_target_out_of_range_names_its_row() -> None:
    features, weight, _ = head(23, 5, 13)
    target = np.zeros(23, int)
    target[7] = 13
    with pytest.raises(TargetRangeError, match="row 7"):
        bridle.linear_cross_entropy(features, weight, target)


# --- the gradient filter --------------------------------------------------------------------------


@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 200),
    dtype=st.sampled_from(["float16", "bfloat16", "float32", "float64"]),
    drawn=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_the_compiled_filter_is_the_plain_one(
    rows: int, columns: int, dtype: str, drawn: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    kind = np.dtype(getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype)
    residual = (rng.normal(size=(rows, columns)) ** 5 * 1e-3).astype(kind)
    threshold = rng.random(rows) * 2e-3 * (rng.random(rows) < 0.9)
    draws = rng.random(rows) if drawn else None
    plain, compiled = residual.copy(), residual.copy()
    kept = residual_filter.filter_rows(plain, threshold, draws)
    found = compiled_filter.filter_rows(compiled, threshold, draws)
    np.testing.assert_array_equal(compiled.astype(float), plain.astype(float))
    np.testing.assert_array_equal(found, kept)
    large = np.abs(residual.astype(float)) >= threshold[:, None]
    np.testing.assert_array_equal(plain[large], residual[large])
    sizes = np.abs(plain.astype(float)[~large])
    assert drawn or not sizes.any()


@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 200),
    dtype=st.sampled_from(["float16", "bfloat16", "float32", "float64"]),
    drawn=st.booleans(),
    level=st.sampled_from([0.0, 1e-3, 2e-3, 1.0]),
    seed=st.integers(0, 2**16),
)
def test_the_kept_entries_are_what_the_plain_filter_leaves(
    rows: int, columns: int, dtype: str, drawn: bool, level: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    kind = np.dtype(getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype)
    residual = (rng.normal(size=(rows, columns)) ** 5 * 1e-3).astype(kind)
    residual[rng.random((rows, columns)) < 0.1] = 0
    threshold = level * rng.random(rows)
    draws = rng.random(rows) if drawn else None
    before = residual.copy()
    entries = compiled_filter.kept_entries(residual, threshold, draws)
    np.testing.assert_array_equal(residual, before)
    residual_filter.filter_rows(residual, threshold, draws)
    plain = residual.astype(float)
    counts = (plain != 0).sum(axis=1)
    one_in = thresholds.FILTER_SPARSE * (2 if kind.itemsize == 2 else 1)
    if counts.max() > columns // one_in + 2:
        assert entries is None
        return
    assert entries is not None
    np.testing.assert_array_equal(entries.counts, counts)
    found = in_full(entries, columns)
    np.testing.assert_allclose(found, plain, rtol={2: 2e-2, 4: 1e-6, 8: 1e-14}[kind.itemsize])
    turned = filtered_products.transposed(entries, columns)
    np.testing.assert_array_equal(in_full(turned, rows), found.T)
    matrix = rng.normal(size=(columns, 3)).astype(kind)
    out = rng.normal(size=(rows, 3)).astype(entries.values.dtype)
    expected = out + found @ matrix.astype(float)
    filtered_products.add_products(entries, matrix, out)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


def in_full(entries: filtered_products.Entries, columns: int) -> Array:
    """Return the matrix that has these entries."""
    full = np.zeros((len(entries.starts), columns))
    for line, (start, count) in enumerate(zip(entries.starts, entries.counts, strict=True)):
        some = slice(start, start + count)
        full[line, entries.places[some]] = entries.values[some]
    return full


@pytest.mark.parametrize("where", [0, 100, 199])
def test_an_entry_that_is_no_number_is_kept(where: int) -> None:
    residual = np.full((2, 200), 1e-6, np.float32)
    residual[1, where] = np.nan
    entries = compiled_filter.kept_entries(residual, np.full(2, 1e-3), None)
    assert entries is not None
    np.testing.assert_array_equal(entries.counts, [0, 1])
    found = in_full(entries, 200)
    assert np.isnan(found[1, where])
    assert compiled_filter.kept_entries(residual, np.full(2, 1e-7), None) is None


def test_an_unbiased_filter_is_right_on_average() -> None:
    features, weight, bias = head(16, 3, 40)
    target = targets("index", 16, 40)
    rng = np.random.default_rng(0)
    options: dict[str, Any] = {"bias": bias, "class_weight": rng.random(40)}
    right = bridle.linear_cross_entropy_gradient(features, weight, target, **options)
    trials = [
        bridle.linear_cross_entropy_gradient(
            features, weight, target, gradient_filter=0.05, random_state=rng, **options
        )
        for _ in range(400)
    ]
    assert all(trial.loss == right.loss for trial in trials)
    for position in (1, 2, 3):
        exact = right[position]
        assert exact is not None
        each = np.stack([trial[position] for trial in trials])  # type: ignore[misc]
        deviation = each.std(axis=0) / 20
        assert (np.abs(each.mean(axis=0) - exact) <= 5 * deviation + 1e-12).all()


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("kind", ["index", "some ignored", "dense"])
def test_entries_that_are_left_are_multiplied_alone(
    kind: str, unbiased: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same gradient comes of going from entry to entry and of a product over all of them."""
    monkeypatch.setattr(choose, "worth_compiling", lambda _: True)
    features, weight, bias = head(23, 5, 131)
    target = targets(kind, 23, 131)
    found = []
    for sparse in (1, 10**9):  # one in so many entries may be left
        monkeypatch.setattr(thresholds, "FILTER_SPARSE", sparse)
        found.append(
            bridle.linear_cross_entropy_gradient(
                features,
                weight,
                target,
                bias=bias,
                gradient_filter=0.02,
                unbiased=unbiased,
                random_state=0,
                memory_budget=7 * 131 * 8,
            )
        )
    assert compiled_filter.kept_entries(np.ones((1, 131)), np.zeros(1), None) is None
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


def test_a_filter_that_drops_takes_probabilities_away() -> None:
    features, weight, bias = head(64, 5, 130)
    target = targets("index", 64, 130)
    options: dict[str, Any] = {"bias": bias, "reduction": "sum"}
    right = bridle.linear_cross_entropy_gradient(features, weight, target, **options)
    found = bridle.linear_cross_entropy_gradient(
        features, weight, target, gradient_filter=1e-3, unbiased=False, **options
    )
    assert right.d_bias is not None
    assert found.d_bias is not None
    lost = right.d_bias - found.d_bias
    assert lost.max() > 0
    assert lost.min() > -1e-12
    assert lost.max() < 64 * 1e-3
