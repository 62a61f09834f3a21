"""Networks of several labels a sample: sigmoid outputs, a yes or no for each class."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy import sparse
from sklearn.datasets import make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score
from sklearn.model_selection import cross_val_predict
from sklearn.neural_network import MLPClassifier
from sklearn.utils.estimator_checks import check_estimator

from bridle import InputError, NetworkClassifier
from bridle.cli import run
from bridle.networks import backpropagation, epoch, parameters
from bridle.networks.compiled import Kind, compiled_epoch
from bridle.networks.epoch import Rule, Samples

Array = npt.NDArray[Any]

X, Y = make_multilabel_classification(150, 12, n_classes=5, n_labels=2, random_state=0)
X = (X - X.mean(axis=0)) / X.std(axis=0)
ONE_HOT = np.eye(5, dtype=int)[np.arange(150) % 5]


def quick(**given: Any) -> NetworkClassifier:
    options = {"output": "sigmoid", "cost": "cross_entropy", "max_epochs": 5, "random_state": 0}
    return NetworkClassifier((7,), **{**options, **given})


@pytest.mark.parametrize("cost", ["cross_entropy", "quadratic"])
def test_sigmoid_outputs_are_a_scikit_learn_multilabel_classifier(cost: str) -> None:
    check_estimator(quick(cost=cost, max_epochs=100), on_skip=None)


# --- the gradient ---------------------------------------------------------------------------------


def cost_of(vector: Array, weight: Array, cost: str) -> float:
    """Return the mean cost of a 12-7-5 network of sigmoids, written down anew."""
    w1, b1, w2, b2 = np.split(vector, np.cumsum([84, 7, 35]))
    hidden = 1 / (1 + np.exp(-(X @ w1.reshape(12, 7) + b1)))
    a = 1 / (1 + np.exp(-(hidden @ w2.reshape(7, 5) + b2)))
    if cost == "quadratic":
        each = ((a - Y) ** 2).sum(axis=1) / 2
    else:
        each = -np.where(Y == 1, np.log(a), np.log(1 - a)).sum(axis=1)
    return float(weight @ each / weight.sum())


def vector_of(model: NetworkClassifier) -> Array:
    pairs = zip(model.coefs_, model.intercepts_, strict=True)
    return np.concatenate([part.ravel() for pair in pairs for part in pair])


@pytest.mark.parametrize("cost", ["cross_entropy", "quadratic"])
def test_a_step_is_down_the_gradient_of_the_cost(cost: str) -> None:
    weight = np.random.default_rng(1).uniform(0.5, 2, 150)
    model = quick(cost=cost, batch_size=150, learning_rate=1e-9).partial_fit(X, Y, None, weight)
    start = vector_of(model)
    assert model.history_[-1].cost == pytest.approx(cost_of(start, weight, cost), rel=1e-6)
    model.set_params(learning_rate=1.0).partial_fit(X, Y, None, weight)
    slopes = [
        (cost_of(start + step, weight, cost) - cost_of(start - step, weight, cost)) / 2e-6
        for step in 1e-6 * np.eye(len(start))
    ]
    np.testing.assert_allclose(start - vector_of(model), slopes, rtol=0, atol=1e-8)


@pytest.mark.parametrize("given", [X, sparse.csr_array(X)], ids=["dense", "sparse"])
def test_a_whole_batch_is_a_step_of_mlp_classifier(given: Any) -> None:
    theirs = MLPClassifier(
        (7,), activation="logistic", solver="sgd", alpha=0.7, batch_size=150,
        learning_rate_init=0.3, max_iter=1, momentum=0.0, nesterovs_momentum=False, random_state=0,
    )  # fmt: skip
    theirs.partial_fit(given, Y, classes=np.arange(5))
    ours = quick(alpha=0.7, batch_size=150, learning_rate=0.3).partial_fit(given, Y)
    ours.coefs_ = [each.copy() for each in theirs.coefs_]
    ours.intercepts_ = [each.copy() for each in theirs.intercepts_]
    theirs.partial_fit(given, Y)
    ours.partial_fit(given, Y)
    for one, other in zip(ours.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        ours.predict_proba(given), theirs.predict_proba(given), rtol=0, atol=1e-12
    )
    np.testing.assert_allclose(ours.predict_log_proba(given), theirs.predict_log_proba(given))
    assert np.array_equal(ours.predict(given), theirs.predict(given))
    assert ours.predict(given).dtype == theirs.predict(given).dtype
    assert ours.score(given, Y) == theirs.score(given, Y)
    assert ours.classes_.tolist() == theirs.classes_.tolist() == list(range(5))


@pytest.mark.parametrize("cost", ["cross_entropy", "quadratic"])
def test_a_compiled_epoch_is_the_plain_loop(cost: str) -> None:
    random = np.random.RandomState(3)
    sizes, order = (12, 7, 5), random.permutation(150)
    samples = Samples(X, np.zeros(0, np.int64), Y.astype(float), random.uniform(0.5, 2, 150))
    vector = parameters.initial(sizes, "standard_normal", random, np.dtype("float64"))
    kind, rule = Kind("relu", "sigmoid", cost, 0.1, 0.2, True), Rule("sgd", 0.1, 0.5, 8)
    plain, compiled = epoch.new_state(vector.copy()), epoch.new_state(vector.copy())
    net = backpropagation.network(*kind)
    expected = epoch.plain_epoch(net, sizes, samples, order, rule, plain)
    found = compiled_epoch(kind, sizes, samples, order, rule, compiled)
    np.testing.assert_allclose(plain.vector, compiled.vector, rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.hstack(expected), np.hstack(found), rtol=1e-11)


# --- what is answered -----------------------------------------------------------------------------


def test_the_figures_of_an_epoch_are_those_of_the_subsets() -> None:
    model = quick(learning_rate=1e-12, max_epochs=1).fit(X, Y, validation=(X[:60], Y[:60]))
    last = model.history_[-1]
    # Nothing was learnt: what was judged before each step is what there is at the end.
    proba = model.predict_proba(X)
    assert last.accuracy == pytest.approx(((proba > 0.5) == Y).all(axis=1).mean())
    assert last.accuracy == pytest.approx(accuracy_score(Y, model.predict(X)))
    assert last.validation_accuracy == pytest.approx(model.score(X[:60], Y[:60]))
    each = -np.where(Y == 1, np.log(proba), np.log1p(-proba)).sum(axis=1)
    assert last.cost == pytest.approx(each.mean())
    assert last.validation_cost == pytest.approx(each[:60].mean())


def test_labels_that_can_be_learnt_are() -> None:
    truth = (X[:, :3] > 0).astype(int)  # none of the three, all of them, and all between
    model = quick(max_epochs=200, learning_rate=1.0).fit(X, truth)
    assert model.score(X, truth) > 0.95
    assert len(np.unique(model.predict(X), axis=0)) == 8


@pytest.mark.parametrize(
    "given",
    [Y.tolist(), Y.astype(bool), Y.astype(np.float32), Y.astype(np.uint8), pd.DataFrame(Y),
     list(Y), np.asfortranarray(Y)[::1], sparse.csr_array(Y), sparse.csc_matrix(Y),
     sparse.coo_array(Y.astype(bool)), sparse.lil_array(Y.astype(float))],
    ids=lambda given: type(given).__name__,
)  # fmt: skip
def test_the_matrix_may_be_given_in_any_form(given: Any) -> None:
    expected, found = quick().fit(X, Y), quick().fit(X, given)
    assert found.multilabel_
    assert np.array_equal(vector_of(expected), vector_of(found))
    assert isinstance(found.predict(X), np.ndarray)
    assert found.score(X, given) == expected.score(X, Y)
    fitted = quick().partial_fit(X, given)
    assert np.array_equal(vector_of(fitted), vector_of(quick().partial_fit(X, Y)))


def test_other_options_work_with_it() -> None:
    model = quick(validation_fraction=0.2, early_stopping=2, max_epochs=50).fit(X, Y)
    assert model.history_[-1].validation_accuracy is not None
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        assert quick(tol=1.0, max_epochs=50).fit(X, Y).n_iter_ == 11
    warm = quick(warm_start=True).fit(X, Y)
    first = warm.history_[0].cost
    assert warm.fit(X, Y).history_[0].cost < first
    assert cross_val_predict(quick(), X, Y, cv=3).shape == Y.shape
    weight = np.arange(150) % 2
    kept = quick(batch_size=1000).fit(X[weight > 0], Y[weight > 0])
    weighted = quick(batch_size=1000).fit(X, Y, sample_weight=weight)
    np.testing.assert_allclose(vector_of(weighted), vector_of(kept), rtol=0, atol=1e-12)


def test_a_label_that_no_sample_or_every_sample_has_can_be_learnt() -> None:
    truth = Y.copy()
    truth[:, 0], truth[:, 1] = 0, 1
    model = quick(max_epochs=20).fit(X, truth)
    assert (model.predict(X)[:, :2] == [0, 1]).all()
    assert not quick(max_epochs=20).fit(X, np.zeros_like(Y)).predict(X).any()


# --- what is one label, and what several ----------------------------------------------------------


def test_rows_with_one_label_each_are_several_labels_under_sigmoids_only() -> None:
    softmax = quick(output="softmax", cost="log_likelihood").fit(X, ONE_HOT)
    assert not softmax.multilabel_
    assert softmax.predict(X).shape == (150,)
    sigmoid = quick().fit(X, ONE_HOT)
    assert sigmoid.multilabel_  # as in scikit-learn, however many labels a row happens to have
    assert sigmoid.predict(X).shape == (150, 5)
    told = quick(multilabel=False).fit(X, ONE_HOT)
    assert not told.multilabel_
    assert np.array_equal(vector_of(told), vector_of(quick().fit(X, ONE_HOT.argmax(axis=1))))
    assert told.predict(X).shape == (150,)
    assert np.allclose(told.predict_proba(X).sum(axis=1), 1)
    soft = quick().fit(X, ONE_HOT * 0.9 + 0.02)
    assert not soft.multilabel_
    # The weights are those of the same targets either way: what differs is what they mean.
    assert np.array_equal(vector_of(told), vector_of(sigmoid))


def test_the_first_part_decides_for_the_others() -> None:
    model = quick().partial_fit(X, Y, classes=np.arange(5))
    model.partial_fit(X, ONE_HOT)
    assert model.multilabel_
    with pytest.raises(InputError, match=r"^y: expected 0 or 1 for each of 150 samples"):
        model.partial_fit(X, Y[:, 0])
    with pytest.raises(InputError, match=r"found columns for the classes 0 to 3$"):
        model.partial_fit(X, Y[:, :4])
    with pytest.raises(InputError, match=r"\['a', 'b'\], found columns for the classes 0 to 4$"):
        quick().partial_fit(X, Y, classes=["a", "b"])
    single = quick().partial_fit(X, ONE_HOT.argmax(axis=1))
    single.partial_fit(X, ONE_HOT)
    assert not single.multilabel_
    with pytest.raises(InputError, match=r"take multilabel=True$"):
        single.partial_fit(X, Y)


SOFTMAX = {"output": "softmax", "cost": "log_likelihood"}
FIRST = int(np.argmax(Y.sum(axis=1) != 1))
ADVICE = "several labels a sample take output='sigmoid'$"


@pytest.mark.parametrize(
    ("options", "y", "message"),
    [
        (SOFTMAX, Y, f"^y: row {FIRST} has {Y[FIRST].sum()} labels, expected one; {ADVICE}"),
        (SOFTMAX, sparse.csr_array(Y), f"^y: expected a dense array, found a sparse.*{ADVICE}"),
        ({**SOFTMAX, "multilabel": True}, Y, "^output: expected 'sigmoid' for several labels"),
        ({"multilabel": False}, Y, f"^y: row {FIRST} has .* take multilabel=True$"),
        ({"multilabel": "yes"}, Y, "^multilabel: expected True or False"),
        ({"multilabel": True}, np.where(Y == 1, 2, 0), "found 2 at row 0, column"),
        ({"multilabel": True}, np.arange(150), r"^y: expected 0 or 1 .*found shape \(150,\)"),
        ({"multilabel": True}, Y[:, :1], r"two or more classes, found shape \(150, 1\)"),
        ({}, sparse.csr_array(Y * 3), "^y: expected 0 or 1 for each class, found 3 at row 0"),
        ({}, Y[:-1], r"^y: expected 0 or 1 for each of 150 samples .*found shape \(149, 5\)"),
        ({}, np.where(Y == 1, np.nan, 0), "^y: "),
        ({}, Y * 2 - 1, "^y: "),
        ({"class_weight": "balanced"}, Y, "^class_weight: expected None where y holds several"),
        ({"class_weight": {0: 2.0}}, Y, "^class_weight: expected None where y holds several"),
    ],
)
def test_what_means_nothing_is_refused(options: dict[str, Any], y: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        quick(**options).fit(X, y)


def test_validation_samples_are_of_the_same_kind() -> None:
    with pytest.raises(InputError, match=r"^validation: expected 0 or 1 for each of 150"):
        quick().fit(X, Y, validation=(X, Y[:, 0]))
    with pytest.raises(InputError, match=r"^validation: expected 0 or 1 .* the classes 0 to 2$"):
        quick().fit(X, Y, validation=(X, Y[:, :3]))
    with pytest.raises(InputError, match=r"^validation: row \d+ has \d labels, expected one"):
        quick().fit(X, ONE_HOT.argmax(axis=1), validation=(X, Y))


# --- files ----------------------------------------------------------------------------------------


def test_a_saved_network_keeps_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = quick(multilabel=True).fit(X, Y)
    path = tmp_path / "model.safetensors"
    model.save(path)
    loaded = NetworkClassifier.load(path)
    assert loaded.multilabel_ is True
    assert loaded.get_params() == model.get_params()
    assert np.array_equal(loaded.predict(X), model.predict(X))
    assert np.array_equal(loaded.predict_proba(X), model.predict_proba(X))
    loaded.partial_fit(X, Y)
    with safe_open(path, framework="numpy") as file:
        tensors = {each: file.get_tensor(each) for each in file.keys()}  # noqa: SIM118
        description = json.loads(file.metadata()["bridle"])
    for changed in ({"multilabel": 1}, {"multilabel": None}, {"classes": [1, 2, 3, 4, 5]}):
        other = {"bridle": json.dumps({**description, **changed})}
        save_file(tensors, tmp_path / "other", other)
        with pytest.raises(InputError, match="no readable bridle network"):
            NetworkClassifier.load(tmp_path / "other")
    np.savez(tmp_path / "data.npz", X=X, y=Y[:, 0])
    for command in (["predict", path, tmp_path / "data.npz"],
                    ["evaluate", "--model", path, tmp_path / "data.npz"]):  # fmt: skip
        assert run([str(word) for word in command]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"bridle: {path}: a network of several labels a sample")
        assert len(error.splitlines()) == 1


def test_distributions_in_files_stay_what_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    targets = ONE_HOT[np.random.default_rng(0).permutation(150)].astype(float)
    np.savez(tmp_path / "data.npz", X=X, y=targets)
    command = ["train", str(tmp_path / "data.npz"), "--hidden", "4", "--cost", "cross_entropy"]
    assert run([*command, "--epochs", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"]["multilabel"] is False
    assert 1 < found["evaluation"]["cross_entropy_nats"] < 3  # ln 5 at a guess
