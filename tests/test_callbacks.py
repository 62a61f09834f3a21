"""scikit-learn's callbacks: a task for each pass or epoch, with a classifier as of then."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

callback = pytest.importorskip("sklearn.callback", reason="callbacks come with scikit-learn 1.9")

from bridle import InputError, NetworkClassifier, SoftmaxRegression  # noqa: E402 - after the skip

X, Y = load_digits(return_X_y=True)
MODELS = [
    (SoftmaxRegression(C=0.1), "pass"),
    (SoftmaxRegression(C=0.1, symmetric=True), "pass"),
    (NetworkClassifier((10,), max_epochs=4, random_state=0), "epoch"),
    (NetworkClassifier((10,), max_epochs=4, random_state=0, standardize=True), "epoch"),
]


class Listening:
    """Writes down what it hears; it wants the fit to end after some tasks."""

    def __init__(self, ends_after: int | None = None) -> None:
        self.heard: list[str] = []
        self.scores: list[float] = []
        self.metadata: list[Any] = []
        self._ends_after = ends_after

    def setup(self, **_: Any) -> None:
        self.heard.append("setup")

    def teardown(self, **_: Any) -> None:
        self.heard.append("teardown")

    def on_fit_task_begin(self, _: Any, context: Any) -> None:
        self.heard.append(f"begin {context.task_name}")

    def on_fit_task_end(
        self, _: Any, context: Any, *, X: Any, y: Any, metadata: Any, fitted_estimator: Any
    ) -> bool:
        self.heard.append(f"end {context.task_name}")
        if fitted_estimator is not None:
            self.scores.append(fitted_estimator.score(X, y))
            self.metadata.append(metadata)
        return len(self.scores) == self._ends_after


@pytest.mark.parametrize(("model", "task"), MODELS)
@pytest.mark.parametrize("labels", [Y, Y > 4])
def test_each_step_is_a_task(model: Any, task: str, labels: Any) -> None:
    listening, weight = Listening(), np.linspace(0.5, 1.5, len(Y))
    steps: list[Any] = []
    told = clone(model).set_callbacks(listening)
    told.fit(X, labels, weight, progress=steps.append)
    heard = [f"begin {task}", f"end {task}"] * (len(steps) + 1)  # the last has nothing to do
    assert listening.heard == ["setup", "begin fit", *heard, "end fit", "teardown"]
    assert listening.scores[-1] == told.score(X, labels)
    assert len(listening.scores) == len(steps) + 1
    assert all(each["sample_weight"] is weight for each in listening.metadata)
    alone = clone(model).fit(X, labels, weight)
    np.testing.assert_array_equal(alone.predict_proba(X), told.predict_proba(X))
    assert told.get_params().keys() == model.get_params().keys()


def test_a_callback_ends_the_fit() -> None:
    model = SoftmaxRegression(C=0.1).set_callbacks(listening := Listening(ends_after=3))
    with pytest.warns(ConvergenceWarning, match="interrupted after 3 passes") as warned:
        model.fit(X, Y)
    assert warned[0].filename == __file__, "the caller is warned"
    assert model.fit_report_.stopped == "interrupted"
    assert model.score(X, Y) == listening.scores[-1] == listening.scores[2]
    network = NetworkClassifier((10,), max_epochs=9).set_callbacks(Listening(ends_after=2))
    assert network.fit(X, Y).n_iter_ == 2


@pytest.mark.parametrize(
    "options", [{"tol": 1e-2}, {"early_stopping": 2, "validation_fraction": 0.2}], ids=str
)
def test_the_last_epoch_is_told_too(options: dict[str, Any]) -> None:
    network = NetworkClassifier((10,), max_epochs=60, random_state=0, **options)
    network.set_callbacks(listening := Listening()).fit(X, Y)
    assert network.n_iter_ < 60
    assert len(listening.scores) == network.n_iter_ + 1  # and what the fit ends with


def test_a_warning_is_about_the_caller() -> None:
    network = NetworkClassifier((10,), max_epochs=2, tol=1e-9, random_state=0)
    for method in (network.fit, SoftmaxRegression(max_iter=1).fit):
        with pytest.warns(ConvergenceWarning) as warned:
            method(X, Y)
        assert warned[0].filename == __file__


def test_a_fit_that_fails_lets_them_go() -> None:
    broken = X.copy()
    broken[3, 4] = np.nan
    for model, _ in MODELS[::2]:
        listening = Listening()
        with pytest.raises(InputError, match="row 3"):
            clone(model).set_callbacks(listening).fit(broken, Y)
        assert (listening.heard[0], listening.heard[-1]) == ("setup", "teardown")


def test_a_search_hands_them_on() -> None:
    own = Listening()
    search = GridSearchCV(
        make_pipeline(StandardScaler(), SoftmaxRegression().set_callbacks(own)),
        {"softmaxregression__C": [0.01, 0.1]},
        cv=2,
    )
    search.set_callbacks(callback.ProgressBar()).fit(X, Y)
    # Two folds at two strengths, and all samples at the best; what is the search's is that alone.
    assert own.heard.count("setup") == own.heard.count("teardown") == 5
    assert own.heard.count("begin pass") == own.heard.count("end pass")


def test_scores_are_monitored() -> None:
    monitor = callback.ScoringMonitor(scoring="neg_log_loss")
    model = SoftmaxRegression(C=0.1).set_callbacks(monitor).fit(X, Y)
    logs = monitor.get_logs().data
    found = [row["neg_log_loss"] for row in logs if row["task_name"] == "pass"]
    assert len(found) >= model.fit_report_.passes
    assert found[-1] > found[0]
