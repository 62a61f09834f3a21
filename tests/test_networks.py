"""The classifier of several layers: scikit-learn's conventions, laws, hostile input, files."""

from __future__ import annotations

import json
import warnings
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.utils.estimator_checks import check_estimator

from bridle import InputError, NetworkClassifier
from bridle.networks import backpropagation, epoch, parameters
from bridle.networks.compiled import Kind, compiled_epoch
from bridle.networks.costs import PAIRS
from bridle.networks.epoch import Rule, Samples
from bridle.progress import Progress
from bridle.rows import Rows

Array = npt.NDArray[Any]


def digits(count: int = 600) -> tuple[Array, Array]:
    X, y = load_digits(return_X_y=True)
    return X[:count] / 16, y[:count]


def quick(**parameters: Any) -> NetworkClassifier:
    return NetworkClassifier((8,), **{"max_epochs": 5, "random_state": 0, **parameters})


def test_it_is_a_scikit_learn_classifier() -> None:
    check_estimator(NetworkClassifier(), on_skip=None)


# --- an epoch -------------------------------------------------------------------------------------

SIZES = (7, 6, 5, 3)


def drawn(dtype: str, *, soft: bool) -> tuple[Samples, Array, Array]:
    """Return samples, a vector to start from, and an order whose last batch is small."""
    random = np.random.RandomState(4)
    features = random.normal(size=(53, SIZES[0])).astype(dtype)
    labels = np.zeros(0, np.int64) if soft else random.randint(0, 3, 53)
    distributions = random.dirichlet(np.ones(3), 53 if soft else 0).astype(dtype).reshape(-1, 3)
    weight = random.uniform(0.5, 2, 53).astype(dtype)
    vector = parameters.initial(SIZES, "scaled", random, np.dtype(dtype))
    return Samples(features, labels, distributions, weight), vector, random.permutation(53)


@pytest.mark.parametrize(
    ("activation", "pair", "solver"),
    list(product(("sigmoid", "tanh", "relu", "identity"), PAIRS, ("sgd", "adam"))),
)
def test_a_compiled_epoch_is_the_plain_loop(
    activation: str, pair: tuple[str, str], solver: str
) -> None:
    for momentum, alpha, soft in ((0.0, 0.0, True), (0.9, 0.3, False)):
        samples, vector, order = drawn("float64", soft=soft)
        kind = Kind(activation, *pair, alpha, 0.4)
        rule = Rule(solver, 0.1, momentum, 8)
        plain, compiled = epoch.new_state(vector.copy()), epoch.new_state(vector.copy())
        net = backpropagation.network(*kind)
        expected = epoch.plain_epoch(net, SIZES, samples, order, rule, plain)
        found = compiled_epoch(kind, SIZES, samples, order, rule, compiled)
        assert np.allclose(plain.vector, compiled.vector, rtol=0, atol=1e-12)
        assert np.allclose(np.hstack(expected), np.hstack(found), rtol=1e-11)


def test_float32_follows_float64_to_its_own_rounding() -> None:
    kind, rule = Kind("sigmoid", "softmax", "log_likelihood", 0.1, 0.0), Rule("sgd", 0.1, 0.9, 8)
    found = {}
    for dtype in ("float32", "float64"):
        samples, vector, order = drawn(dtype, soft=False)
        state = epoch.new_state(vector)
        compiled_epoch(kind, SIZES, samples, order, rule, state)
        assert state.vector.dtype == dtype
        found[dtype] = state.vector
    assert np.allclose(found["float32"], found["float64"], rtol=0, atol=2e-6)


def test_a_whole_batch_is_a_step_of_mlp_classifier() -> None:
    X, y = digits(200)
    theirs = MLPClassifier(
        (8,), activation="logistic", solver="sgd", alpha=0.7, batch_size=200,
        learning_rate_init=0.3, max_iter=1, momentum=0.0, nesterovs_momentum=False, random_state=0,
    )  # fmt: skip
    theirs.partial_fit(X, y, classes=np.unique(y))
    ours = quick(alpha=0.7, batch_size=200, learning_rate=0.3).partial_fit(X, y)
    ours.coefs_ = [each.copy() for each in theirs.coefs_]
    ours.intercepts_ = [each.copy() for each in theirs.intercepts_]
    theirs.partial_fit(X, y)
    ours.partial_fit(X, y)
    for one, other in zip(ours.coefs_, theirs.coefs_, strict=True):
        assert np.allclose(one, other, rtol=0, atol=1e-12)
    assert ours.history_[-1].cost < theirs.loss_  # theirs holds the penalty too


# --- the estimator --------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", PAIRS)
def test_every_cost_learns(pair: tuple[str, str]) -> None:
    X, y = digits()
    model = NetworkClassifier(
        (30,), output=pair[0], cost=pair[1], max_epochs=40, random_state=0, learning_rate=1.0
    ).fit(X, y)
    assert model.score(X, y) > 0.9
    found = model.predict_proba(X)
    assert np.allclose(found.sum(axis=1), 1)
    assert np.allclose(np.log(found), model.predict_log_proba(X))
    assert np.array_equal(model.classes_[found.argmax(axis=1)], model.predict(X))


def test_a_seed_decides_everything() -> None:
    X, y = digits()
    one, same, other = (
        quick(random_state=seed, validation_fraction=0.2).fit(X, y) for seed in (3, 3, 4)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one.coefs_, same.coefs_, strict=True))
    assert not np.array_equal(one.coefs_[0], other.coefs_[0])


def test_the_cost_does_not_change_start_and_batches() -> None:
    X, y = digits()
    found = [
        quick(output=output, cost=cost, learning_rate=1e-12, max_epochs=1).fit(X, y).coefs_[0]
        for output, cost in PAIRS
    ]
    assert all(np.allclose(each, found[0], rtol=0, atol=1e-10) for each in found)


def test_a_weight_in_a_whole_batch_is_as_many_copies_and_zero_is_absence() -> None:
    X, y = digits(60)
    times = np.random.RandomState(1).randint(0, 4, 60)
    times[:10] = 1
    model = quick(batch_size=1000, alpha=0.1)
    weighted = clone(model).fit(X, y, sample_weight=times)
    repeated = clone(model).fit(X.repeat(times, axis=0), y.repeat(times))
    assert np.allclose(weighted.coefs_[0], repeated.coefs_[0], rtol=0, atol=1e-10)


def test_class_weight_is_a_factor_on_the_samples() -> None:
    X, y = digits()
    factors = {label: 1.0 + label for label in range(10)}
    one = quick(class_weight=factors).fit(X, y)
    other = quick().fit(X, y, sample_weight=1.0 + y)
    assert np.allclose(one.coefs_[0], other.coefs_[0], rtol=0, atol=1e-12)
    third = quick(class_weight=factors).partial_fit(X, y)
    fourth = quick().partial_fit(X, y, sample_weight=1.0 + y)
    assert np.allclose(third.coefs_[0], fourth.coefs_[0], rtol=0, atol=1e-12)


def test_soft_targets_that_are_hard_are_labels() -> None:
    X, y = digits()
    assert np.allclose(
        quick().fit(X, np.eye(10)[y]).coefs_[0], quick().fit(X, y).coefs_[0], rtol=0, atol=1e-12
    )


def test_partial_fit_is_an_epoch_of_fit() -> None:
    X, y = digits()
    for solver in ("sgd", "adam"):
        model = quick(solver=solver, momentum=0.5, learning_rate=0.01)
        whole = clone(model).fit(X, y)
        for _ in range(5):
            model.partial_fit(X, y, classes=np.arange(10))
        assert np.allclose(whole.coefs_[0], model.coefs_[0], rtol=0, atol=1e-12)
        assert [each.epoch for each in model.history_] == [1, 2, 3, 4, 5]


def test_partial_fit_knows_classes_before_it_sees_them() -> None:
    X, y = digits()
    model = quick().partial_fit(X[y < 5], y[y < 5], classes=range(10))
    assert model.predict_proba(X).shape == (600, 10)
    model.partial_fit(X[y >= 5], y[y >= 5])
    with pytest.raises(InputError, match="y: row 0 is 77, none of the classes"):
        model.partial_fit(X[:1], [77])
    with pytest.raises(InputError, match="classes: expected those of the first call"):
        model.partial_fit(X, y, classes=range(11))


def test_warm_start_goes_on() -> None:
    X, y = digits()
    model = quick(warm_start=True).fit(X, y)
    first = model.history_[0].cost
    assert model.fit(X, y).history_[0].cost < first
    assert model.fit(X[y < 3], y[y < 3]).classes_.tolist() == [0, 1, 2]


def test_a_tol_ends_the_training_where_the_cost_stands_still() -> None:
    X, y = digits(200)
    options: dict[str, Any] = {"learning_rate": 1.0, "random_state": 0}
    whole = NetworkClassifier((8,), max_epochs=120, **options).fit(X, y)
    costs = [each.cost for each in whole.history_]
    tol, lowest, still, last = 2e-3, np.inf, 0, len(costs)
    for number, cost in enumerate(costs, 1):
        still = 0 if cost < lowest - tol else still + 1
        lowest = min(lowest, cost)
        if still == 10:
            last = number
            break
    assert 10 < last < 120
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        found = NetworkClassifier((8,), max_epochs=120, tol=tol, **options).fit(X, y)
        NetworkClassifier((8,), max_epochs=last, tol=tol, **options).fit(X, y)
    assert [each.cost for each in found.history_] == costs[:last]
    assert found.n_iter_ == last
    with pytest.warns(ConvergenceWarning, match=rf"^max_epochs={last - 1} reached while the cost"):
        NetworkClassifier((8,), max_epochs=last - 1, tol=tol, **options).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        NetworkClassifier((8,), tol=tol, **options).partial_fit(X, y)
    with pytest.raises(InputError, match=r"^tol: expected a finite number of 0 or above"):
        NetworkClassifier(tol=-1.0).fit(X, y)


def test_a_tol_is_kept_in_the_file(tmp_path: Path) -> None:
    X, y = digits(50)
    quick(tol=10.0, max_epochs=20).fit(X, y).save(tmp_path / "model.safetensors")
    found = NetworkClassifier.load(tmp_path / "model.safetensors")
    assert found.tol == 10.0
    assert found.n_iter_ == 11


def test_early_stopping_ends_at_the_best_epoch() -> None:
    X, y = digits()
    model = NetworkClassifier(
        (30,), learning_rate=3.0, max_epochs=500, validation_fraction=0.3, early_stopping=3,
        random_state=0,
    ).fit(X[:200], np.random.RandomState(0).permutation(y[:200]))  # fmt: skip
    costs = [each.validation_cost for each in model.history_]
    assert all(cost is not None for cost in costs)
    assert len(costs) < 500
    assert len(costs) - 1 - int(np.argmin(np.array(costs, float))) == 3


def test_history_and_listeners_see_the_same() -> None:
    X, y = digits()
    told: list[Progress] = []
    model = quick(max_epochs=3).fit(X, y, validation=(X[:50], y[:50]), progress=told.append)
    assert [event.epoch for event in told] == model.history_
    assert [(event.unit, event.step) for event in told] == [("epoch", n) for n in (1, 2, 3)]
    last = model.history_[-1]
    assert told[-1].value == last.cost
    assert told[-1].seconds >= sum(epoch.seconds for epoch in model.history_)
    assert len(last.gradient_norms) == 2
    assert all(norm > 0 for norm in last.gradient_norms)
    assert 0 < last.output_derivative < 0.25
    assert last.validation_accuracy == pytest.approx(model.score(X[:50], y[:50]))
    proba = model.predict_proba(X[:50])[np.arange(50), y[:50]]
    assert last.validation_cost == pytest.approx(-np.log(proba).mean())


def test_verbose_prints_a_line_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[Progress] = []
    model = quick(max_epochs=2, verbose=1).fit(*digits(), progress=told.append)
    assert capsys.readouterr().out.splitlines() == [event.line() for event in told]
    assert told[1].line().startswith(f"epoch   2   cost {model.history_[1].cost:.4f}   accuracy ")
    told.clear()
    model.partial_fit(*digits(), progress=told.append)
    assert [event.line() for event in told] == capsys.readouterr().out.splitlines()
    assert [event.step for event in told] == [3]


@pytest.mark.parametrize("hidden", [(), (1,), (3, 1, 2), 5])
def test_any_depth(hidden: Any) -> None:
    X, y = digits(100)
    model = NetworkClassifier(hidden, max_epochs=1, random_state=0).fit(X, y)
    assert model.predict(X).shape == (100,)


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8", "bool"])
def test_features_of_any_dtype_and_layout(dtype: str) -> None:
    X, y = digits(100)
    values = np.asfortranarray((X * 2).astype(dtype))[::-1]
    values.setflags(write=False)
    model = quick().fit(values, y[::-1])
    assert model.coefs_[0].dtype == np.float32
    rows = Rows([values[:40], values[40:]])
    assert np.array_equal(quick().fit(rows, y[::-1]).coefs_[0], model.coefs_[0])
    assert np.array_equal(model.predict(rows), model.predict(values))


# --- hostile input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"output": "sigmoid"}, "cost: 'log_likelihood' has no meaning for output='sigmoid'"),
        ({"cost": "cross_entropy"}, "cost: 'cross_entropy' has no meaning for output='softmax'"),
        ({"activation": "swish"}, "activation: expected one of"),
        ({"solver": "lbfgs"}, "solver: expected one of sgd, adam"),
        ({"init": "zeros"}, "init: expected one of scaled, standard_normal"),
        ({"alpha": -1}, "alpha: expected a finite number of 0 or above, found -1"),
        ({"l1_ratio": 2}, "l1_ratio: expected a number in"),
        ({"learning_rate": 0}, "learning_rate: expected"),
        ({"learning_rate": np.nan}, "learning_rate: expected"),
        ({"batch_size": 0}, "batch_size: expected"),
        ({"max_epochs": 0}, "max_epochs: expected"),
        ({"momentum": 1}, "momentum: expected a number below 1"),
        ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes: expected a whole number"),
        ({"validation_fraction": 1}, "validation_fraction: expected a number below 1"),
        ({"validation_fraction": 1e-9}, "validation_fraction: 1e-09 of each class is no sample"),
        ({"early_stopping": True}, "early_stopping: expected validation_fraction above 0"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        quick().set_params(**parameters).fit(*digits(100))


def test_data_that_cannot_be_learnt_are_refused() -> None:
    X, y = digits(100)
    broken = X.copy()
    broken[7, 3] = np.nan
    with pytest.raises(InputError, match="X: expected finite numbers, found NaN at row 7"):
        quick().fit(broken, y)
    with pytest.raises(InputError, match="at least two classes"):
        quick().fit(X, np.zeros(100))
    with pytest.raises(InputError, match="validation: row 0 is 99"):
        quick().fit(X, y, validation=(X[:1], [99]))


def test_a_learning_rate_too_high_is_told() -> None:
    X, y = digits(100)
    model = quick(activation="identity", output="softmax", cost="quadratic", alpha=1e6)
    with pytest.raises(InputError, match="learning_rate: 1e\\+30 made the weights grow"):
        model.set_params(learning_rate=1e30, max_epochs=50).fit(X, y)


# --- files ----------------------------------------------------------------------------------------


def test_a_saved_network_predicts_the_same(tmp_path: Path) -> None:
    X, y = digits()
    names = np.array(["zero", "one"], dtype=object)
    model = NetworkClassifier((5, 4), max_epochs=2, random_state=0, class_weight={"zero": 2.0}).fit(
        X, names[y % 2]
    )
    model.save(tmp_path / "network")
    loaded = NetworkClassifier.load(tmp_path / "network")
    assert np.array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.history_ == model.history_
    assert loaded.get_params() == model.get_params()
    loaded.partial_fit(X, names[y % 2])


def test_files_that_are_no_network_are_refused(tmp_path: Path) -> None:
    from bridle import SoftmaxRegression

    X, y = digits(100)
    path = tmp_path / "model"
    with pytest.raises(InputError, match="no such file"):
        NetworkClassifier.load(path)
    SoftmaxRegression().fit(X, y).save(path)
    with pytest.raises(InputError, match=r"expected a bridle\.NetworkClassifier file"):
        NetworkClassifier.load(path)
    quick().fit(X, y).save(path)
    with pytest.raises(InputError, match=r"expected a bridle\.SoftmaxRegression file"):
        SoftmaxRegression.load(path)
    with pytest.raises(InputError, match="random_state: expected a number or None to save"):
        quick(random_state=np.random.RandomState(0)).fit(X, y).save(path)


@pytest.mark.parametrize("name", ["weight_0", "bias_0", "weight_1", "bias_1"])
def test_weights_that_do_not_fit_together_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model"
    quick().fit(*digits(100)).save(path)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        tensors = {each: file.get_tensor(each) for each in file.keys()}  # noqa: SIM118
    tensors[name] = tensors[name][:-1]
    save_file(tensors, path, metadata)
    with pytest.raises(InputError, match="do not fit together"):
        NetworkClassifier.load(path)
    description = json.loads(metadata["bridle"])
    del description["history"], tensors[name]
    save_file(tensors, path, {"bridle": json.dumps(description)})
    with pytest.raises(InputError, match="no readable bridle network"):
        NetworkClassifier.load(path)
