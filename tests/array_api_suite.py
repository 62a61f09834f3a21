"""Classifiers under scikit-learn's array API dispatch; `test_array_api.py` runs it.

It has a process of its own, since SciPy wants to know of other arrays before it is imported.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import estimator_checks_generator

import bridle
from bridle import NetworkClassifier, SoftmaxRegression, SoftmaxRegressionCV
from bridle.calibrate import METHODS, CalibratedClassifier, create
from bridle.estimators.array_api import as_numpy
from bridle.rows import Rows

torch = pytest.importorskip("torch", reason="the extra `torch` is not installed")

X, y = load_iris(return_X_y=True)
tensor, labels = torch.as_tensor(X), torch.as_tensor(y)
ANSWERS = ("predict", "predict_proba", "predict_log_proba", "decision_function")


def network(**options: Any) -> NetworkClassifier:
    return NetworkClassifier((3,), max_epochs=2, random_state=0, **options)


MODELS: dict[str, Any] = {
    "optimum": SoftmaxRegression(),
    "symmetric": SoftmaxRegression(symmetric=True, standardize=True),
    "folds": SoftmaxRegressionCV([0.1, 1.0], cv=2),
    "folds' mean": SoftmaxRegressionCV([0.1, 1.0], cv=2, refit=False),
    "scored": SoftmaxRegressionCV([0.1, 1.0], cv=2, scoring="accuracy"),
    "network": network(),
    "calibrated": CalibratedClassifier(SoftmaxRegression(), cv=3),
    "calibrated network": CalibratedClassifier(network(), method="vector", cv=3),
}
every = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


@pytest.fixture(autouse=True)
def _dispatched() -> Iterator[None]:
    with config_context(array_api_dispatch=True):
        yield


@pytest.fixture
def strict() -> Any:
    return pytest.importorskip("array_api_strict", reason="array_api_strict is not installed")


def own_checks() -> Iterator[Any]:
    """Yield scikit-learn's checks of array API dispatch, as they are and with weights."""
    for name, model in MODELS.items():
        for estimator, check in estimator_checks_generator(model):
            of_what, _, kind = check.func.__name__.partition("check_array_api")
            if of_what or not kind:
                continue
            told = ",".join(map(str, check.keywords.values()))
            yield pytest.param(estimator, check, {}, id=f"{name}{kind}-{told}")
            if "same_namespace" not in kind:
                weighed = {"check_sample_weight": True}
                yield pytest.param(estimator, check, weighed, id=f"{name}{kind}-{told}-weights")


@pytest.mark.parametrize(("model", "check", "options"), list(own_checks()))
def test_scikit_learns_own_checks(
    model: Any, check: Callable[..., Any], options: dict[str, Any]
) -> None:
    assert get_tags(model).array_api_support
    with config_context(array_api_dispatch=False):  # they switch it on themselves
        check(model, **options)


def arrays_of(model: Any) -> dict[str, Any]:
    """Return the fitted arrays by name, those of a list and of estimators inside too."""
    found: dict[str, Any] = {}
    for name, value in vars(model).items():
        if not name.endswith("_") or name == "classes_":
            continue
        if hasattr(value, "get_params"):
            found |= {f"{name}.{inner}": each for inner, each in arrays_of(value).items()}
        elif isinstance(value, list):
            found |= {f"{name}.{place}": each for place, each in enumerate(value)}
        else:
            found[name] = value
    return {name: each for name, each in found.items() if hasattr(each, "shape")}


@every
def test_fitted_arrays_and_answers_lie_where_the_features_do(model: Any) -> None:
    there, here = clone(model).fit(tensor, labels), clone(model).fit(X, y)
    ours, expected = arrays_of(there), arrays_of(here)
    assert ours.keys() == expected.keys()
    assert len(ours) >= 2
    for name, each in ours.items():
        assert isinstance(each, torch.Tensor), name
        assert isinstance(expected[name], np.ndarray), name
        np.testing.assert_array_equal(each.numpy(), expected[name])
    assert isinstance(there.classes_, np.ndarray)
    for name in filter(lambda name: hasattr(there, name), ANSWERS):
        found, right = getattr(there, name)(tensor), getattr(here, name)(X)
        assert isinstance(found, torch.Tensor), name
        np.testing.assert_array_equal(found.numpy(), right)
    if not isinstance(model, SoftmaxRegressionCV):
        assert there.score(tensor, labels) == accuracy_score(labels, there.predict(tensor))


@every
def test_a_model_of_tensors_is_good_for_arrays_where_dispatch_is_off(model: Any) -> None:
    there = clone(model).fit(tensor, labels)
    dispatched = there.predict_log_proba(tensor)
    with config_context(array_api_dispatch=False):
        for features in (tensor, X, X.tolist()):
            plain = there.predict_log_proba(features)
            assert isinstance(plain, np.ndarray)
            np.testing.assert_array_equal(plain, dispatched.numpy())
        unmoved = clone(model).fit(tensor, labels)
    assert all(isinstance(each, np.ndarray) for each in arrays_of(unmoved).values())


@every
@pytest.mark.parametrize("method", ANSWERS[:3])
def test_features_that_lie_elsewhere_are_refused_in_scikit_learns_words(
    model: Any, method: str
) -> None:
    name = f"{type(model).__name__}.{method}()"
    there, here = clone(model).fit(tensor, labels), clone(model).fit(X, y)
    for refused in (X, X.tolist()):
        with pytest.raises(ValueError, match="must use the same namespace") as raised:
            getattr(there, method)(refused)
        assert f"Inputs passed to {name} must" in str(raised.value)
    with pytest.raises(ValueError, match="must use the same namespace"):
        getattr(here, method)(tensor)
    # Rows are read wherever they are: they say themselves where that is.
    assert isinstance(getattr(there, method)(Rows([X])), np.ndarray)


@every
def test_an_estimator_is_moved_as_scikit_learn_moves_them(model: Any) -> None:
    from sklearn.utils._array_api import get_namespace_and_device, move_estimator_to

    there = clone(model).fit(tensor, labels)
    namespace, _, device = get_namespace_and_device(X)
    here = move_estimator_to(there, namespace, device)
    np.testing.assert_array_equal(
        here.predict_log_proba(X), there.predict_log_proba(tensor).numpy()
    )
    again = move_estimator_to(here, *get_namespace_and_device(tensor)[::2])
    np.testing.assert_array_equal(again.predict_proba(tensor), there.predict_proba(tensor))


@every
def test_texts_stay_numpys(model: Any) -> None:
    names = np.array(["a", "b", "c"])[y]
    found = clone(model).fit(tensor, names).predict(tensor)
    assert isinstance(found, np.ndarray)
    assert set(found) <= set("abc")


@every
def test_targets_and_weights_may_lie_elsewhere(model: Any, strict: Any) -> None:
    weight = np.linspace(0.5, 2.0, len(y))
    expected = clone(model).fit(X, y, sample_weight=weight).predict_proba(X)
    device = strict.Device("device1")
    features, target = (strict.asarray(each, device=device) for each in (X, y))
    for given in (
        (features, target, strict.asarray(weight, device=device)),
        (features, labels, weight),
        (tensor, target, torch.as_tensor(weight)),
        (X, labels, strict.asarray(weight, device=device)),
    ):
        fitted = clone(model).fit(given[0], given[1], sample_weight=given[2])
        found = fitted.predict_proba(given[0])
        assert type(found) is type(given[0])
        np.testing.assert_array_equal(as_numpy(found), expected)
        if isinstance(model, SoftmaxRegressionCV):
            assert isinstance(fitted.score(given[0], given[1]), float)


@every
def test_copies_and_files_of_a_model_of_tensors(model: Any, tmp_path: Path) -> None:
    there = clone(model).fit(tensor, labels)
    expected = there.predict_log_proba(tensor)
    written = io.BytesIO()
    joblib.dump(there, written)
    written.seek(0)
    for again in (pickle.loads(pickle.dumps(there)), copy.deepcopy(there), joblib.load(written)):
        assert torch.equal(again.predict_log_proba(tensor), expected)
    there.save(tmp_path / "model.safetensors")
    read = bridle.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(read.predict_log_proba(X), expected.numpy())


@pytest.mark.parametrize("name", ["optimum", "symmetric", "folds"])
@pytest.mark.filterwarnings("ignore:standardize=True:UserWarning")
def test_to_scikit_learn_is_of_numpy(name: str) -> None:
    there = clone(MODELS[name]).fit(tensor, labels)
    theirs = there.to_sklearn()
    assert isinstance(theirs, LogisticRegression)
    assert isinstance(theirs.coef_, np.ndarray)
    found = there.predict_proba(tensor).numpy()
    np.testing.assert_allclose(theirs.predict_proba(X), found, rtol=0, atol=1e-12)


def test_fits_begin_where_tensors_ended() -> None:
    model = SoftmaxRegression(warm_start=True).fit(tensor, labels)
    model.set_params(tol=1e-5).fit(tensor, labels)
    assert model.n_iter_ == 1, "it was there already"
    assert isinstance(model.coef_, torch.Tensor)
    model.fit(X, y)
    assert isinstance(model.coef_, np.ndarray)
    learnt = network(warm_start=True).fit(tensor, labels).fit(tensor, labels)
    assert isinstance(learnt.coefs_[0], torch.Tensor)
    assert learnt.history_[-1].cost < network().fit(tensor, labels).history_[-1].cost


def test_parts_of_the_samples_may_be_tensors() -> None:
    there, here = network(), network()
    for part in (slice(0, 100), slice(100, 150)):
        there.partial_fit(tensor[part], labels[part], classes=[0, 1, 2])
        here.partial_fit(X[part], y[part], classes=[0, 1, 2])
    assert torch.equal(there.coefs_[0], torch.as_tensor(here.coefs_[0]))


def test_samples_to_judge_may_lie_elsewhere(strict: Any) -> None:
    judged = strict.asarray(X[::3]), strict.asarray(y[::3])
    found = network().fit(tensor, labels, validation=judged)
    expected = network().fit(X, y, validation=(X[::3], y[::3]))
    costs, right = ([each.validation_cost for each in one.history_] for one in (found, expected))
    assert costs == right


@pytest.mark.parametrize("scoring", ["accuracy", "neg_log_loss"])
def test_a_search_over_a_pipeline_of_tensors(scoring: str) -> None:
    pipeline = make_pipeline(StandardScaler(), SoftmaxRegression())
    grid = {"softmaxregression__C": [0.01, 1.0]}
    there = GridSearchCV(pipeline, grid, scoring=scoring, cv=3).fit(tensor, labels)
    here = GridSearchCV(pipeline, grid, scoring=scoring, cv=3).fit(X, y)
    for name in ("mean_test_score", "std_test_score"):
        np.testing.assert_allclose(
            as_numpy(there.cv_results_[name]), here.cv_results_[name], rtol=1e-6
        )
    assert isinstance(there.best_estimator_[-1].coef_, torch.Tensor)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "uint8"])
def test_weights_are_of_float64_whatever_the_features(dtype: str) -> None:
    features = tensor.to(getattr(torch, dtype))
    model = SoftmaxRegression().fit(features, labels)
    assert (model.coef_.dtype, model.n_features_in_) == (torch.float64, 4)
    assert model.predict_proba(features).dtype == torch.float64
    assert model.predict(features).dtype == torch.int64


def test_a_classifier_of_others_is_calibrated_as_arrays_and_claims_nothing() -> None:
    model = CalibratedClassifier(GaussianNB(), cv=3)
    assert not get_tags(model).array_api_support
    found = model.fit(tensor, labels).predict_proba(tensor)
    assert isinstance(found, torch.Tensor)
    assert isinstance(model.estimator_.theta_, np.ndarray)
    np.testing.assert_array_equal(found.numpy(), clone(model).fit(X, y).predict_proba(X))


def test_arrays_of_any_layout_are_moved() -> None:
    from bridle.estimators.array_api import Place

    place = Place.of(tensor)
    assert place is not None
    for array in (X[::-1], X.T, X.astype(">f8"), y.astype(np.int32), y > 0, X[:0]):
        moved = place.moved(array)
        assert isinstance(moved, torch.Tensor)
        np.testing.assert_array_equal(moved.numpy(), array)
    for unknown in (np.array(["a"]), np.array([None]), np.ones(2, np.longdouble)):
        assert place.moved(unknown) is unknown


@pytest.mark.parametrize("method", list(METHODS))
def test_calibrators_follow_their_scores(method: str, tmp_path: Path) -> None:
    scores = np.random.default_rng(0).normal(size=(150, 3))
    tensors = torch.as_tensor(scores)
    there, here = create(method).fit(tensors, labels), create(method).fit(scores, y)
    assert get_tags(there).array_api_support
    ours, expected = arrays_of(there), arrays_of(here)
    assert ours.keys() == expected.keys()
    assert all(isinstance(each, torch.Tensor) for each in ours.values())
    for name in ANSWERS[:3]:
        found, right = getattr(there, name)(tensors), getattr(here, name)(scores)
        assert isinstance(found, torch.Tensor)
        np.testing.assert_array_equal(found.numpy(), right)
    there.save(tmp_path / "calibrator.safetensors")
    here.save(tmp_path / "same.safetensors")
    files = [tmp_path / f"{name}.safetensors" for name in ("calibrator", "same")]
    assert files[0].read_bytes() == files[1].read_bytes()
    if ours:
        with pytest.raises(ValueError, match="must use the same namespace"):
            there.predict(scores)
    else:
        assert method == "temperature", "a number lies nowhere"
        assert isinstance(there.predict(scores), np.ndarray)
