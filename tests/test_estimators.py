"""What all estimators share: one base, one kind of file, one event of progress."""

from __future__ import annotations

import copy
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from bridle import InputError, NetworkClassifier, SoftmaxRegression, SoftmaxRegressionCV
from bridle.calibrate import CalibratedClassifier, TemperatureScaling
from bridle.estimators import documentation, load_model
from bridle.progress import Epoch, Progress, Reporter
from bridle.rows import Rows

X, y = load_iris(return_X_y=True)
MULTI = np.stack([y == 0, X[:, 0] > 6], axis=1).astype(int)
Model = SoftmaxRegression | SoftmaxRegressionCV | NetworkClassifier


def network(**options: Any) -> NetworkClassifier:
    return NetworkClassifier((3,), max_epochs=2, random_state=0, **options)


MAKERS: dict[str, Callable[[], Any]] = {
    "optimum": lambda: SoftmaxRegression(C=0.5),
    "sparse optimum": lambda: SoftmaxRegression(C=0.5, l1_ratio=0.7, group="features"),
    "folds": lambda: SoftmaxRegressionCV([0.1, 1.0], cv=2),
    "network": network,
    "sigmoids": lambda: network(output="sigmoid", cost="cross_entropy"),
}
every = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@every
def test_nothing_is_answered_before_a_fit(make: Callable[[], Any], tmp_path: Path) -> None:
    for method in ("predict", "predict_proba", "predict_log_proba"):
        with pytest.raises(NotFittedError):
            getattr(make(), method)(X)
    with pytest.raises(NotFittedError):
        make().save(tmp_path / "model.safetensors")


@every
def test_features_are_counted_and_named_in_every_storage(make: Callable[[], Any]) -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = make().fit(frame, y)
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[list("dcba")])
    model.fit(Rows([X]), y)
    assert model.n_features_in_ == 4
    assert not hasattr(model, "feature_names_in_")
    with pytest.raises(InputError, match=r"^X: expected 4 features, found 3$") as raised:
        model.predict(Rows([X[:, :3]]))
    fields = raised.value.argument, raised.value.expected, raised.value.found
    assert fields == ("X", "4 features", "3")
    with pytest.raises(InputError, match=r"^X: row 2 is masked"):
        model.predict(np.ma.masked_array(X, np.arange(X.size).reshape(X.shape) == 9))


@every
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_tensors_are_taken_as_the_arrays_they_are(make: Callable[[], Any], dtype: str) -> None:
    torch = pytest.importorskip("torch")
    features = torch.as_tensor(X).to(getattr(torch, dtype))
    weight = torch.linspace(0.5, 2.0, len(y), dtype=torch.float64)
    found = make().fit(features, torch.as_tensor(y), weight)
    as_array = features.double().numpy().astype("float64" if dtype == "float64" else "float32")
    expected = make().fit(as_array, y, weight.numpy())
    given = found.predict_proba(features)
    # The fits to the optimum are of 1e-6 in the objective; the products of halves are PyTorch's.
    np.testing.assert_allclose(given, expected.predict_proba(as_array), atol=2e-2)
    np.testing.assert_array_equal(found.predict(features), expected.predict(as_array))


@every
def test_answers_agree_with_each_other(make: Callable[[], Any]) -> None:
    names = np.array(["x", "y", "z"])
    model = make().fit(X, names[y])
    shares = model.predict_proba(X)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_allclose(np.log(shares), model.predict_log_proba(X), rtol=1e-6)
    np.testing.assert_array_equal(model.predict(X), names[shares.argmax(axis=1)])


@every
def test_clones_copies_and_pickles_are_the_same(make: Callable[[], Any]) -> None:
    model = make().fit(X, y)
    expected = model.predict_proba(X)
    written = io.BytesIO()
    joblib.dump(model, written)
    written.seek(0)
    for again in (
        pickle.loads(pickle.dumps(model)), copy.deepcopy(model), joblib.load(written),
        clone(model).fit(X, y),
    ):  # fmt: skip
        np.testing.assert_array_equal(again.predict_proba(X), expected)
        assert again.n_features_in_ == 4
    assert repr(clone(model)) == repr(make())
    assert clone(model).set_params(verbose=1).get_params()["verbose"] == 1


@every
def test_a_file_says_which_model_it_holds(make: Callable[[], Any], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = make().fit(frame, y)
    model.save(path)
    found = load_model(path)
    kind = NetworkClassifier if isinstance(model, NetworkClassifier) else SoftmaxRegression
    assert type(found) is kind
    np.testing.assert_array_equal(found.predict_proba(frame), model.predict_proba(frame))
    assert list(found.feature_names_in_) == list("abcd")
    assert path.read_bytes() == found.to_bytes()


def test_parameters_of_numpy_are_plain_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    scalars: dict[str, Any] = {
        "C": np.float32(2),
        "standardize": np.float32(4),
        "max_iter": np.int64(50),
    }
    SoftmaxRegression(**scalars).fit(X, y).save(path)
    found = SoftmaxRegression.load(path)
    assert (found.C, found.standardize, found.max_iter) == (2.0, 4.0, 50)
    assert type(found.standardize) is float


def test_a_file_of_another_format_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"a": np.zeros(1)}, path, {"bridle": json.dumps({"format": "bridle.Other"})})
    with pytest.raises(InputError) as raised:
        load_model(path)
    assert str(raised.value) == (
        f"{path}: expected a bridle.SoftmaxRegression or bridle.NetworkClassifier file, "
        "found 'bridle.Other'"
    )
    with pytest.raises(InputError, match="no such file"):
        load_model(tmp_path / "none")


@pytest.mark.parametrize("key", ["iterations", "sizes"])
def test_a_number_beyond_all_integers_is_no_readable_model(key: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model: Any = SoftmaxRegression() if key == "iterations" else network()
    model.fit(X, y).save(path)
    with safe_open(path, framework="numpy") as file:
        description = json.loads(file.metadata()["bridle"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    description[key] = float("inf") if key == "iterations" else [float("inf"), 3, 3]
    save_file(tensors, path, {"bridle": json.dumps(description)})
    with pytest.raises(InputError, match="no readable bridle "):
        load_model(path)


def test_an_event_is_one_for_all() -> None:
    epoch = Epoch(2, 0.5, 0.75, 0.625, 0.25, (1.0,), 0.1, 0.125)
    told: list[Progress] = []
    reporter = Reporter(told.append)
    reporter.after_pass(3, 0.5, 1e-3)
    reporter.after_strength(4, 5, 10.0, -0.25)
    reporter.after_epoch(epoch)
    assert [(event.unit, event.step, event.value) for event in told] == [
        ("pass", 3, 0.5), ("C", 4, -0.25), ("epoch", 2, 0.5),
    ]  # fmt: skip
    assert [(event.gap, event.C, event.folds, event.epoch) for event in told] == [
        (1e-3, None, None, None), (None, 10.0, 5, None), (None, None, None, epoch),
    ]  # fmt: skip
    assert Progress("epoch", 2, 0.5, 7.25, epoch=epoch).line() == (
        "epoch   2   cost 0.5000   accuracy 0.7500   held out: cost 0.6250   "
        "accuracy 0.2500   7.2 s"
    )
    assert Reporter(told.append).is_heard
    assert Reporter(verbose=1).is_heard
    assert not Reporter().is_heard


NO_LABELS: Any = None
ROW_OF_TWO = np.array([[0, 1, 0]] * 12 + [[1, 1, 0]] + [[1, 0, 0]] * 137)
STRANGE = np.where(np.arange(300).reshape(150, 2) == 13, 5, 0)

# What raises an error, and the argument, what was expected, what was found and the row.
FIELDS: list[tuple[Callable[[], Any], tuple[str, str | None, str | None, int | None]]] = [
    (
        lambda: SoftmaxRegression().fit(X, NO_LABELS),
        ("y", "labels or distributions", "None", None),
    ),
    (
        lambda: SoftmaxRegression().fit(X, y[:9]),
        ("y", "one entry for each of 150 samples of X", "shape (9,)", None),
    ),
    (
        lambda: SoftmaxRegression().fit(X, np.zeros(150, int)),
        ("y", "at least two classes", "one class, 0", None),
    ),
    (
        lambda: SoftmaxRegression(class_weight="even").fit(X, y),
        ("class_weight", 'a dict, "balanced" or None', "'even'", None),
    ),
    (
        lambda: SoftmaxRegression(class_weight={7: 1.0}).fit(X, y),
        ("class_weight", "one of the classes: 0, 1, 2", "7", None),
    ),
    (
        lambda: SoftmaxRegression().fit(X, y, np.zeros(150)),
        ("sample_weight", "a weight above 0", "zeros", None),
    ),
    (
        lambda: SoftmaxRegressionCV("dino").fit(X, y),
        ("Cs", "numbers or one of clip, dinov2", "'dino'", None),
    ),
    (
        lambda: SoftmaxRegressionCV(2, cv=2).fit(X, y, rows=3),
        ("rows", None, None, None),
    ),
    (
        lambda: network().partial_fit(X, np.where(np.arange(150) == 4, 9, y), classes=[0, 1, 2]),
        ("y", "one of the classes", "9", 4),
    ),
    (
        lambda: network().fit(X, ROW_OF_TWO),
        ("y", "one label a sample", "2 labels", 12),
    ),
    (
        lambda: network(output="sigmoid", cost="cross_entropy", multilabel=True).fit(X, STRANGE),
        ("y", "0 or 1 for each class", "5 at row 6, column 1", 6),
    ),
    (
        lambda: network(multilabel=True).fit(X, MULTI),
        ("output", "'sigmoid' for several labels a sample (multilabel)", "'softmax'", None),
    ),
    (
        lambda: network(early_stopping=True).fit(X, y),
        ("early_stopping", "validation_fraction above 0, or validation samples", "True", None),
    ),
    (
        lambda: network(momentum=1.0).fit(X, y),
        ("momentum", "a number below 1", "1", None),
    ),
    (
        lambda: network(validation_fraction=0.001).fit(X, y),
        ("validation_fraction", "a larger one", "0.001", None),
    ),
    (
        lambda: network(output="sigmoid").fit(X, y),
        ("cost", "a cost for output='sigmoid'", "'log_likelihood'", None),
    ),
    (
        lambda: network().set_params(random_state=np.random.RandomState(0)).fit(X, y).to_bytes(),
        ("random_state", "a number or None to save", "RandomState", None),
    ),
    (
        lambda: Rows([np.zeros(3)]),
        ("features", "at least one two-dimensional array", None, None),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "fields"), FIELDS)
def test_an_error_carries_what_its_sentence_says(
    call: Callable[[], Any], fields: tuple[str, str | None, str | None, int | None]
) -> None:
    with pytest.raises(InputError) as raised:
        call()
    error = raised.value
    assert (error.argument, error.expected, error.found, error.row) == fields
    assert str(error).startswith(f"{fields[0]}: ")


WARNED: dict[str, Callable[[], Any]] = {
    "steps": lambda: SoftmaxRegression(max_iter=1, tol=1e-12),
    "folds' steps": lambda: SoftmaxRegressionCV([1.0], cv=3, max_iter=1, tol=1e-12),
    "separable": lambda: SoftmaxRegression(C=np.inf),
    "epochs": lambda: NetworkClassifier((3,), max_epochs=2, tol=1e-12, random_state=0),
}


@pytest.mark.parametrize("make", WARNED.values(), ids=WARNED)
def test_a_warning_names_the_users_own_line(make: Callable[[], Any]) -> None:
    """Not one of ours, nor of what scikit-learn puts around `fit` for its callbacks."""
    with pytest.warns(ConvergenceWarning) as told:
        make().fit(X, y == 0)
    assert {each.filename for each in told} == {__file__}


def test_a_class_without_weight_is_told_at_the_users_own_line() -> None:
    with pytest.warns(UserWarning, match="no weight") as told:
        SoftmaxRegression().fit(X, y, sample_weight=(y > 0).astype(float))
    assert [each.filename for each in told] == [__file__]


def test_without_an_address_the_site_of_the_checkout_is_the_documentation(tmp_path: Path) -> None:
    assert documentation.built(tmp_path) == ""
    pages = tmp_path / "docs" / "_build" / "html"
    pages.mkdir(parents=True)
    (pages / "index.html").touch()
    assert documentation.built(tmp_path) == pages.as_uri()


def test_the_diagram_leads_to_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    estimators = [make() for make in MAKERS.values()]
    both = [*estimators, CalibratedClassifier(SoftmaxRegression()), TemperatureScaling()]
    monkeypatch.setattr(documentation, "site", lambda: "")
    assert {each._get_doc_link() for each in both} == {""}, "where nobody knows the address"
    monkeypatch.setattr(documentation, "site", lambda: "https://bridle.example/docs")
    pages = Path(__file__).parents[1] / "docs" / "api"
    for each in both:
        page, _, name = (
            each._get_doc_link()
            .removeprefix("https://bridle.example/docs/api/")
            .partition(".html#")
        )
        assert name in (f"bridle.{type(each).__name__}", f"bridle.calibrate.{type(each).__name__}")
        assert f"\n{type(each).__name__}\n" in (pages / f"{page}.md").read_text(encoding="utf-8")
        assert each._get_doc_link() in each._repr_html_()
