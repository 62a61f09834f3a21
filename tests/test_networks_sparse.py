"""Networks on sparse features: what dense ones give, and never made dense."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import sparse
from sklearn.neural_network import MLPClassifier

from bridle import InputError, NetworkClassifier
from bridle.networks import epoch, parameters, training
from bridle.networks.backpropagation import network
from bridle.networks.compiled import Kind, compiled_epoch
from bridle.networks.costs import PAIRS
from bridle.networks.epoch import Rule, Samples
from bridle.networks.training import Plan
from bridle.rows import Rows
from problems import random_csr

Array = npt.NDArray[Any]

RANDOM = np.random.default_rng(2)
# Columns that are mostly empty, one that is full, one that has nothing; a row of nothing.
DENSE = np.where(RANDOM.random((120, 17)) < 0.2, RANDOM.normal(size=(120, 17)), 0)
DENSE[:, 3], DENSE[:, 11], DENSE[5] = RANDOM.normal(size=120), 0, 0
LABELS = np.arange(120) % 3
CSR = sparse.csr_array(DENSE)


def quick(**parameters: Any) -> NetworkClassifier:
    return NetworkClassifier((6,), **{"max_epochs": 4, "random_state": 0, **parameters})


def weights_of(model: NetworkClassifier) -> Array:
    pairs = zip(model.coefs_, model.intercepts_, strict=True)
    return np.concatenate([part.ravel() for pair in pairs for part in pair])


def with_wide_indices() -> Any:
    wide = CSR.copy()
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    return wide


def with_parts_of_numbers() -> Any:
    """Every number as two entries in one place, and not in the order of the columns."""
    entries = sparse.coo_array(DENSE)
    order = RANDOM.permutation(2 * entries.nnz)
    rows, columns = np.tile(entries.row, 2)[order], np.tile(entries.col, 2)[order]
    halves = np.tile(entries.data / 2, 2)[order]
    by_row = np.argsort(rows, kind="stable")
    starts = np.searchsorted(rows[by_row], np.arange(len(DENSE) + 1))
    return sparse.csr_array((halves[by_row], columns[by_row], starts), shape=DENSE.shape)


FORMATS: dict[str, Callable[[], Any]] = {
    "csr": lambda: CSR,
    "csc": lambda: sparse.csc_array(DENSE),
    "coo": lambda: sparse.coo_array(DENSE),
    "lil": lambda: sparse.lil_array(DENSE),
    "csr_matrix": lambda: sparse.csr_matrix(DENSE),
    "csc_matrix": lambda: sparse.csc_matrix(DENSE),
    "int64": with_wide_indices,
    "parts": with_parts_of_numbers,
    "rows": lambda: Rows([CSR[:50], CSR[50:]]),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_what_dense_features_are(name: str) -> None:
    given = FORMATS[name]()
    expected, found = quick().fit(DENSE, LABELS), quick().fit(given, LABELS)
    np.testing.assert_allclose(weights_of(found), weights_of(expected), rtol=0, atol=1e-13)
    np.testing.assert_allclose(
        found.predict_proba(given), expected.predict_proba(DENSE), rtol=0, atol=1e-13
    )
    np.testing.assert_allclose(
        found.predict_log_proba(given), expected.predict_log_proba(DENSE), rtol=0, atol=1e-12
    )
    assert np.array_equal(found.predict(given), expected.predict(DENSE))
    if name != "rows":
        assert found.score(given, LABELS) == expected.score(DENSE, LABELS)
    assert found.history_[-1].cost == pytest.approx(expected.history_[-1].cost, rel=1e-12)
    assert found.history_[-1].accuracy == pytest.approx(expected.history_[-1].accuracy)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "bool", "uint64"])
def test_the_weights_have_the_dtype_of_dense_features(dtype: str) -> None:
    values = (DENSE * 3).astype(dtype)
    expected = quick().fit(values, LABELS)
    found = quick().fit(sparse.csr_array(values), LABELS)
    assert found.coefs_[0].dtype == expected.coefs_[0].dtype
    atol = 1e-5 if found.coefs_[0].dtype == np.float32 else 1e-12
    np.testing.assert_allclose(weights_of(found), weights_of(expected), rtol=0, atol=atol)


@pytest.mark.parametrize(
    ("pair", "solver", "hidden"), list(product(PAIRS, ("sgd", "adam"), ((), (5,), (5, 4))))
)
def test_a_compiled_epoch_is_the_plain_loop(
    pair: tuple[str, str], solver: str, hidden: tuple[int, ...]
) -> None:
    random = np.random.RandomState(3)
    sizes = (DENSE.shape[1], *hidden, 3)
    weight = random.uniform(0.5, 2, len(DENSE))
    dense = Samples(DENSE, LABELS, np.zeros((0, 3)), weight)
    order = random.permutation(len(DENSE))  # the last batch of 7 is of one sample
    vector = parameters.initial(sizes, "standard_normal", random, np.dtype("float64"))
    kind, rule = Kind("tanh", *pair, 0.3, 0.4), Rule(solver, 0.05, 0.5, 7)
    states, figures = [], []
    for samples in (dense, dense._replace(features=CSR)):
        plain, compiled = epoch.new_state(vector.copy()), epoch.new_state(vector.copy())
        figures.append(epoch.plain_epoch(network(*kind), sizes, samples, order, rule, plain))
        figures.append(compiled_epoch(kind, sizes, samples, order, rule, compiled))
        states += [plain.vector, compiled.vector]
    for state, each in zip(states[1:], figures[1:], strict=True):
        np.testing.assert_allclose(state, states[0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(np.hstack(each), np.hstack(figures[0]), rtol=1e-11)


def test_a_whole_batch_is_a_step_of_mlp_classifier() -> None:
    theirs = MLPClassifier(
        (6,), activation="logistic", solver="sgd", alpha=0.7, batch_size=len(DENSE),
        learning_rate_init=0.3, max_iter=1, momentum=0.0, nesterovs_momentum=False, random_state=0,
    )  # fmt: skip
    theirs.partial_fit(CSR, LABELS, classes=np.arange(3))
    ours = quick(alpha=0.7, batch_size=len(DENSE), learning_rate=0.3).partial_fit(CSR, LABELS)
    ours.coefs_ = [each.copy() for each in theirs.coefs_]
    ours.intercepts_ = [each.copy() for each in theirs.intercepts_]
    theirs.partial_fit(CSR, LABELS)
    ours.partial_fit(CSR, LABELS)
    for one, other in zip(ours.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"validation_fraction": 0.3, "early_stopping": 1, "max_epochs": 30},
        {"tol": 0.1, "max_epochs": 30},
        {"class_weight": {0: 2.0}, "alpha": 0.1, "l1_ratio": 0.5},
        {"solver": "adam", "learning_rate": 0.01, "batch_size": 1},
        {"momentum": 0.9, "batch_size": 1000},
        {"output": "sigmoid", "cost": "quadratic", "activation": "relu"},
    ],
)
def test_every_option_does_what_it_does_with_dense_features(options: dict[str, Any]) -> None:
    weight = np.where(np.arange(120) % 7 == 0, 0, 1.5)
    expected, found = quick(**options), quick(**options)
    expected.fit(DENSE, LABELS, weight)
    found.fit(CSR, LABELS, weight)
    assert found.n_iter_ == expected.n_iter_
    np.testing.assert_allclose(weights_of(found), weights_of(expected), rtol=0, atol=1e-12)
    expected.partial_fit(DENSE[:50], LABELS[:50])
    found.partial_fit(sparse.csc_array(CSR[:50]), LABELS[:50])
    np.testing.assert_allclose(weights_of(found), weights_of(expected), rtol=0, atol=1e-12)


def test_validation_samples_may_be_sparse_or_dense() -> None:
    costs = {
        quick().fit(X, LABELS, validation=(V[:40], LABELS[:40])).history_[-1].validation_cost
        for X, V in product((DENSE, CSR), (DENSE, CSR))
    }
    assert max(costs) - min(costs) < 1e-12  # type: ignore[operator,type-var]


def test_what_is_not_finite_is_told_by_row_and_column() -> None:
    broken = CSR.copy()
    row = 7
    place = broken.indptr[row]
    broken.data[place] = np.inf
    message = f"X: expected finite numbers, found infinity at row 7, column {broken.indices[place]}"
    with pytest.raises(InputError, match=message):
        quick().fit(broken, LABELS)
    model = quick().fit(CSR, LABELS)
    with pytest.raises(InputError, match=message):
        model.predict(broken)
    with pytest.raises(ValueError, match="17 features"):
        model.predict(CSR[:, :5])


def test_features_are_not_changed() -> None:
    given = with_parts_of_numbers()
    before = [part.copy() for part in (given.data, given.indices, given.indptr)]
    quick().fit(given, LABELS).predict(given)
    for one, other in zip(before, (given.data, given.indices, given.indptr), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("spared", [False, True])
def test_the_features_are_never_made_dense(spared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    count, width = 2000, 30_000  # 480 MB if they were dense
    X = random_csr((count, width), 3e-4, RANDOM)
    y = np.arange(count) % 3
    quick(max_epochs=1).fit(CSR, LABELS)  # what compiling takes is not the features'

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("made dense")

    for name in ("toarray", "todense"):
        monkeypatch.setattr(sparse.csr_array, name, refuse)
    monkeypatch.setattr(training, "is_small", lambda *_: spared)
    model = NetworkClassifier((3,), max_epochs=1, random_state=0, batch_size=200)
    tracemalloc.start()
    try:
        with training.sparing_the_compiler():
            model.fit(X, y, validation=(X, y)).predict_proba(X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Some copies of the weights (0.7 MB), and of the features as they are stored (0.2 MB).
    assert peak < 25e6


def test_small_is_what_numpy_trains_in_a_second() -> None:
    """The work of a step beside sparse features is that of its weights, not of the features."""

    def is_small(count: int, width: int, stored: float) -> bool:
        features = random_csr((count, width), stored, RANDOM)
        labels = np.zeros(count, np.int64)
        samples = Samples(features, labels, np.zeros((0, 2)), np.ones(count))
        kind = Kind("sigmoid", "softmax", "log_likelihood", 0.0, 0.0)
        plan = Plan(kind, (width, 30, 2), Rule("sgd", 0.5, 0.0, 32), 10, 0)
        return training.is_small(plan, samples)

    assert is_small(300, 1000, 0.01)
    assert not is_small(3000, 20_000, 0.001)
