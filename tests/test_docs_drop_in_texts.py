"""The page on drop-ins, texts: SetFit's head, embeddings, MTEB's classifier.

Run with the libraries themselves where they are installed; SetFit and sentence-transformers have
stand-ins where they are not.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import bridle
import drop_in_page
from drop_in_page import WORDS, at_its_optimum

Array = npt.NDArray[Any]


def theirs_at_its_optimum(C: float) -> Any:
    """Return scikit-learn's classifier of the numbers in float64: in float32 it stops before."""
    wide = FunctionTransformer(lambda values: np.asarray(values, np.float64))
    return make_pipeline(wide, at_its_optimum(C))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the names that these sections of the page have made."""
    if drop_in_page.is_there("mteb"):
        with pytest.MonkeyPatch.context() as patched:
            _give_texts(patched)
            return _names(tmp_path_factory)
    return _names(tmp_path_factory)


def _names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return drop_in_page.run(
        tmp_path_factory.mktemp("page"),
        "SetFit's `model_head`",
        "Embeddings of sentence-transformers",
        "MTEB's `evaluator_model`",
    )


def _give_texts(patched: pytest.MonkeyPatch) -> None:
    """Let the task's data be texts made here: three kinds, two words of each and four of any."""
    mteb: Any = importlib.import_module("mteb")
    datasets: Any = importlib.import_module("datasets")

    def made(rows: int, seed: int) -> Any:
        random = np.random.default_rng(seed)
        label = random.integers(0, 3, rows)
        words = [
            [*random.choice(WORDS[3 * kind : 3 * kind + 3], 2), *random.choice(WORDS, 4)]
            for kind in label
        ]
        texts = [" ".join(each) for each in words]
        return datasets.Dataset.from_dict({"text": texts, "label": label.tolist()})

    def load_data(self: Any, **_: Any) -> None:
        self.dataset = datasets.DatasetDict(train=made(120, 1), test=made(200, 2))
        self.data_loaded = True

    patched.setattr(type(mteb.get_task("Banking77Classification.v2")), "load_data", load_data)


def test_setfit_has_from_our_head_what_it_has_from_theirs(
    page: dict[str, Any], tmp_path: Path
) -> None:
    texts, labels, body = page["texts"], page["labels"], page["body"]
    kind = type(page["setfit"])
    ours = kind(model_body=body, model_head=bridle.SoftmaxRegression(C=10.0, tol=1e-12))
    theirs = kind(model_body=body, model_head=theirs_at_its_optimum(10.0))
    for model in (ours, theirs):
        model.fit(texts, labels, num_epochs=1)
    assert ours.labels == theirs.labels == ["disliked", "liked"]
    np.testing.assert_array_equal(ours.predict(texts), theirs.predict(texts))
    np.testing.assert_allclose(
        np.asarray(ours.predict_proba(texts)),
        np.asarray(theirs.predict_proba(texts)),
        rtol=0,
        atol=1e-5,  # the embeddings are in float32
    )
    assert list(page["setfit"].predict(["good and well made"])) == ["liked"]
    ours.model_head = ours.model_head.to_sklearn()
    ours.save_pretrained(tmp_path)
    assert type(joblib.load(tmp_path / "model_head.pkl")) is LogisticRegression
    if drop_in_page.is_there("setfit"):
        again = kind.from_pretrained(str(tmp_path))
        np.testing.assert_array_equal(again.predict(texts), theirs.predict(texts))


def test_setfits_trainer_fits_our_head(page: dict[str, Any], tmp_path: Path) -> None:
    """After two steps of its body, which both have gone through."""
    setfit: Any = pytest.importorskip("setfit", reason="SetFit is not installed")
    datasets: Any = importlib.import_module("datasets")
    texts, labels = page["texts"], page["labels"]
    model = setfit.SetFitModel(
        model_body=type(page["body"])(), model_head=bridle.SoftmaxRegression(C=10.0, tol=1e-12)
    )
    before = model.model_body.encode(texts)
    arguments = setfit.TrainingArguments(
        output_dir=str(tmp_path), max_steps=2, batch_size=4, report_to="none", save_strategy="no"
    )
    rows = datasets.Dataset.from_dict({"text": texts, "label": labels})
    setfit.Trainer(model=model, args=arguments, train_dataset=rows).train()
    embeddings = model.model_body.encode(texts)
    assert np.abs(embeddings - before).max() > 0
    theirs = theirs_at_its_optimum(10.0).fit(embeddings, labels)
    found = np.asarray(model.predict_proba(texts))
    np.testing.assert_allclose(found, theirs.predict_proba(embeddings), rtol=0, atol=1e-5)


def test_embeddings_in_a_tensor_are_fitted_as_those_in_an_array(page: dict[str, Any]) -> None:
    body, texts, labels = page["body"], page["texts"], page["labels"]
    tensor = body.encode(texts, normalize_embeddings=True, convert_to_tensor=True)
    of_tensor = bridle.SoftmaxRegression(C=10.0, tol=1e-12).fit(tensor, labels)
    of_array = bridle.SoftmaxRegression(C=10.0, tol=1e-12).fit(tensor.numpy(), labels)
    np.testing.assert_allclose(of_tensor.coef_, of_array.coef_, atol=1e-6)
    assert page["embeddings"].dtype == np.float32
    theirs = theirs_at_its_optimum(10.0).fit(page["embeddings"], labels)
    expected = theirs.predict_proba(page["embeddings"])
    found = of_array.predict_proba(page["embeddings"])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)  # sums of float32
    wide = page["embeddings"].astype(np.float64)
    found = bridle.SoftmaxRegression(C=10.0, tol=1e-12).fit(wide, labels).predict_proba(wide)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


def test_mteb_finds_with_ours_what_it_finds_with_theirs(
    page: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Predictions and scores of all ten experiments, of which the page's have the default `tol`."""
    mteb: Any = pytest.importorskip("mteb", reason="MTEB is not installed")
    _give_texts(monkeypatch)

    def judged(classifier: Any, folder: Path) -> tuple[Any, list[list[int]]]:
        task = mteb.get_task("Banking77Classification.v2")
        task.evaluator_model = classifier
        found = mteb.evaluate(
            page["body"], task, cache=None, prediction_folder=folder, show_progress_bar=False
        )
        (kept,) = folder.rglob("*.json")
        return found.task_results[0].scores["test"][0], json.loads(kept.read_text())["default"]

    ours = judged(bridle.SoftmaxRegression(tol=1e-12), tmp_path / "ours")
    theirs = judged(theirs_at_its_optimum(1.0), tmp_path / "theirs")
    assert ours == theirs
    assert len(ours[0]["scores_per_experiment"]) == 10
    assert 0.5 < ours[0]["accuracy"] < 1
    on_page = page["judged"].task_results[0].get_score()
    assert on_page == pytest.approx(ours[0]["main_score"], abs=1e-3)


def test_mteb_judges_several_labels_a_row_by_ours(
    page: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    mteb: Any = pytest.importorskip("mteb", reason="MTEB is not installed")
    datasets: Any = importlib.import_module("datasets")

    def made(rows: int, seed: int) -> Any:
        random = np.random.default_rng(seed)
        words = [random.choice(WORDS, random.integers(3, 7)) for _ in range(rows)]
        labels = [[kind for kind in range(3) if {*WORDS[3 * kind :][:3]} & {*w}] for w in words]
        return datasets.Dataset.from_dict({"text": [*map(" ".join, words)], "label": labels})

    def load_data(self: Any, **_: Any) -> None:
        self.dataset = datasets.DatasetDict(train=made(120, 1), test=made(200, 2))
        self.data_loaded = True

    name = "MalteseNewsClassification"
    monkeypatch.setattr(type(mteb.get_task(name)), "load_data", load_data)

    def judged(classifier: Any) -> Any:
        task = mteb.get_task(name)
        task.evaluator_model = MultiOutputClassifier(classifier)
        found = mteb.evaluate(page["body"], task, cache=None, show_progress_bar=False)
        return found.task_results[0].scores["test"][0]

    ours = judged(bridle.SoftmaxRegression(tol=1e-12))
    theirs = judged(theirs_at_its_optimum(1.0))
    for figure in ("accuracy", "f1", "hamming", "lrap"):
        assert ours[figure] == pytest.approx(theirs[figure], abs=1e-12), figure
    assert 0.3 < ours["accuracy"] < 1
