"""Networks that learn from features in other units than they are given in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import sparse
from sklearn.base import clone

from bridle import NetworkClassifier
from bridle.checks import InputError

Array = npt.NDArray[Any]
SETTINGS: dict[str, Any] = {"max_epochs": 4, "random_state": 0}
SHIFT, SCALE = np.array([5e4, 0.0, -3.0, 0.1]), np.array([1e4, 1e-3, 7.0, 1.0])


def made(dtype: str = "float64") -> tuple[Array, Array, Array]:
    """Return features of about unit size, the same in other units, and labels."""
    random = np.random.default_rng(3)
    y = np.arange(120) % 3
    unit = random.standard_normal((120, 4)) + y[:, None] * [1, -1, 0.5, 0]
    return unit.astype(dtype), (unit * SCALE + SHIFT).astype(dtype), y


def test_standard_units_are_those_of_the_training_samples() -> None:
    _, X, y = made()
    by_hand = (X - X.mean(axis=0)) / X.std(axis=0)
    found = NetworkClassifier((5,), standardize=True, **SETTINGS).fit(X, y)
    expected = NetworkClassifier((5,), **SETTINGS).fit(by_hand, y)
    assert np.allclose(found.predict_proba(X), expected.predict_proba(by_hand), atol=1e-9)
    assert [each.cost for each in found.history_] == pytest.approx(
        [each.cost for each in expected.history_]
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_shift_and_a_scale_of_each_column(dtype: str) -> None:
    unit, X, y = made(dtype)
    found = NetworkClassifier((5,), standardize=(SHIFT, SCALE), **SETTINGS).fit(X, y)
    expected = NetworkClassifier((5,), **SETTINGS).fit(unit, y)
    tolerance = 1e-9 if dtype == "float64" else 2e-2  # what is left of 5e4 ± 1e4 in float32
    assert np.allclose(found.predict_proba(X), expected.predict_proba(unit), atol=tolerance)
    assert {part.dtype for part in [*found.coefs_, *found.intercepts_]} == {np.dtype("float64")}


def test_a_number_divides_all_columns() -> None:
    unit, _, y = made()
    found = NetworkClassifier((5,), standardize=255, **SETTINGS).fit(unit * 255, y)
    expected = NetworkClassifier((5,), **SETTINGS).fit(unit, y)
    assert np.allclose(found.predict_proba(unit * 255), expected.predict_proba(unit), atol=1e-9)


def test_validation_samples_are_judged_in_the_same_units() -> None:
    unit, X, y = made()
    other_unit, other = unit[::-1] + 0.1, (unit[::-1] + 0.1) * SCALE + SHIFT
    found = NetworkClassifier((5,), standardize=(SHIFT, SCALE), **SETTINGS)
    found.fit(X, y, validation=(other, y[::-1]))
    expected = NetworkClassifier((5,), **SETTINGS).fit(unit, y, validation=(other_unit, y[::-1]))
    assert [each.validation_cost for each in found.history_] == pytest.approx(
        [each.validation_cost for each in expected.history_]
    )


def test_sparse_features_are_divided_and_only_shifted_columns_filled() -> None:
    _, X, y = made()
    X = np.maximum(X, np.median(X, axis=0)) - np.median(X, axis=0)
    dense = NetworkClassifier((5,), standardize=((0, 0, -3, 0), SCALE), **SETTINGS).fit(X, y)
    same = clone(dense).fit(sparse.csr_array(X), y)
    assert np.allclose(same.predict_proba(X), dense.predict_proba(X), atol=1e-9)
    size = np.sqrt((X**2).mean(axis=0))
    divided = NetworkClassifier((5,), **SETTINGS).fit(sparse.csr_array(X / size), y)
    found = NetworkClassifier((5,), standardize=True, **SETTINGS).fit(sparse.csr_array(X), y)
    assert np.allclose(found.predict_proba(X), divided.predict_proba(X / size), atol=1e-9)


@pytest.mark.parametrize("constant", [0.1, 1e15, -1.7e18])
def test_a_constant_column_changes_nothing(constant: float) -> None:
    _, X, y = made()
    with_constant = np.column_stack([X, np.full(len(X), constant)])
    model = NetworkClassifier((5,), standardize=True, **SETTINGS).fit(with_constant, y)
    assert not model.coefs_[0][4].any()
    without = [model.coefs_[0][:4], *model.coefs_[1:]]
    proba = model.predict_proba(with_constant)
    model.coefs_, model.n_features_in_ = without, 4
    assert np.array_equal(proba, model.predict_proba(X))


def test_training_goes_on_in_the_same_units() -> None:
    unit, X, y = made()
    found = NetworkClassifier((5,), standardize=(SHIFT, SCALE), momentum=0.5, random_state=0)
    expected = NetworkClassifier((5,), momentum=0.5, random_state=0)
    for _ in range(4):
        found.partial_fit(X, y)
        expected.partial_fit(unit, y)
    assert np.allclose(found.predict_proba(X), expected.predict_proba(unit), atol=1e-9)
    again = found.set_params(warm_start=True, max_epochs=2).fit(X, y)
    same = expected.set_params(warm_start=True, max_epochs=2).fit(unit, y)
    assert np.allclose(again.predict_proba(X), same.predict_proba(unit), atol=1e-9)


def test_a_file_keeps_the_units(tmp_path: Path) -> None:
    _, X, y = made()
    path = tmp_path / "model.safetensors"
    told: tuple[Any, ...] = (False, True, 255.0, (SHIFT, SCALE), (1.0, 2.0))
    for standardize in told:
        model = NetworkClassifier((5,), standardize=standardize, **SETTINGS).fit(X, y)
        model.save(path)
        loaded = NetworkClassifier.load(path)
        assert np.array_equal(loaded.predict_proba(X), model.predict_proba(X))
        if isinstance(standardize, tuple):
            assert isinstance(loaded.standardize, tuple)
            assert np.array_equal(loaded.standardize[0], standardize[0])
            assert np.array_equal(loaded.standardize[1], standardize[1])
        else:
            assert loaded.standardize == standardize


@pytest.mark.parametrize(
    ("standardize", "message"),
    [
        (-1.0, "standardize: expected a finite number above 0"),
        ((0.0,), r"standardize: expected \(shift, scale\), a number or 4 each, found 1 values"),
        ((SHIFT[:2], 1.0), r"found shapes \(2,\), \(\)"),
        ((0.0, [1, 0, 1, 1]), "standardize: entry 1 is 0, expected a scale above 0"),
        ((np.nan, 1.0), "standardize: it is nan, expected a finite shift"),
    ],
)
def test_units_without_meaning(standardize: Any, message: str) -> None:
    _, X, y = made()
    with pytest.raises(InputError, match=message):
        NetworkClassifier((5,), standardize=standardize, **SETTINGS).fit(X, y)


def test_parts_cannot_tell_the_units_of_the_whole() -> None:
    _, X, y = made()
    with pytest.raises(InputError, match="which has not all samples, found True"):
        NetworkClassifier((5,), standardize=True).partial_fit(X, y)
