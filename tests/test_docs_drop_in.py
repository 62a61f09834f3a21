"""The page on drop-ins: its code runs in its order, offline, and finds what the replaced finds.

SetFit, sentence-transformers and cuML are not installed, and their models come from a hub:
stand-ins are called as they are, with the arguments that SetFit 1.2 and DINOv2's repository use.
"""

from __future__ import annotations

import re
import sys
import types
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pytest
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.utils.fixes import parse_version

import bridle
import scikit_learn_suite

Array = npt.NDArray[Any]
ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "drop-in.md").read_text(encoding="utf-8")


class StandInEncoder:
    """Called like `sentence_transformers.SentenceTransformer`: words hashed to 32 features."""

    def __init__(self, model_name_or_path: str | None = None) -> None:
        self.name = model_name_or_path

    def encode(
        self,
        sentences: str | Sequence[str],
        batch_size: int = 32,  # noqa: ARG002  # theirs
        show_progress_bar: bool | None = None,  # noqa: ARG002  # theirs
        convert_to_tensor: bool = False,
        normalize_embeddings: bool = False,
    ) -> Any:
        texts = [sentences] if isinstance(sentences, str) else sentences
        found = np.zeros((len(texts), 32), np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text):
                found[row, zlib.crc32(word.encode()) % 32] += 1
        if normalize_embeddings:
            found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        if convert_to_tensor:
            torch = pytest.importorskip("torch", reason="the extra `torch` is not installed")
            found = torch.from_numpy(found)
        return found[0] if isinstance(sentences, str) else found


class StandInSetFit:
    """Called like `setfit.SetFitModel`; asks its head for what that asks."""

    def __init__(self, model_body: Any, model_head: Any) -> None:
        self.model_body, self.model_head = model_body, model_head
        self.labels: list[str] | None = None

    def fit(
        self,
        x_train: list[str],
        y_train: list[Any],
        num_epochs: int,  # noqa: ARG002  # theirs, of a head in PyTorch
    ) -> None:
        embeddings = self.model_body.encode(list(x_train), normalize_embeddings=False)
        self.model_head.fit(embeddings, list(y_train))
        if self.model_head.classes_.dtype.char == "U":
            self.labels = self.model_head.classes_.tolist()

    def predict(self, inputs: list[str]) -> Any:
        found = self.model_head.predict(self.model_body.encode(list(inputs)))
        if self.labels and found.ndim == 1 and found.dtype.char != "U":
            return [self.labels[int(each)] for each in found]
        return found

    def predict_proba(self, inputs: list[str]) -> Array:
        return np.asarray(self.model_head.predict_proba(self.model_body.encode(list(inputs))))

    def save_pretrained(self, folder: Path) -> None:
        joblib.dump(self.model_head, str(folder / "model_head.pkl"))


class StandInCuml:
    """Called like `cuml.linear_model.LogisticRegression`; scikit-learn's, at its optimum."""

    def __init__(
        self, *, penalty: str, C: float, max_iter: int, output_type: str, tol: float,
        linesearch_max_iter: int,
    ) -> None:  # fmt: skip
        assert (penalty, output_type, linesearch_max_iter) == ("l2", "numpy", 50)
        # Newton's steps are few; more would only wait for a bound that rounding is above.
        self._model = at_its_optimum(C, tol=tol, max_iter=min(max_iter, 30))

    def fit(self, X: Array, y: Array) -> None:
        self._model.fit(X, y)

    def predict_proba(self, X: Array) -> Array:
        return np.asarray(self._model.predict_proba(X))


def at_its_optimum(C: float, *, tol: float = 1e-12, max_iter: int = 30) -> Any:
    """Return scikit-learn's classifier with the solver that comes closest."""
    return LogisticRegression(C=C, tol=tol, max_iter=max_iter, solver="newton-cholesky")


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """Return the names that the page's code has made, of all its blocks."""
    made: dict[str, Any] = {"print": lambda *_: None}
    modules = {
        "setfit": types.SimpleNamespace(SetFitModel=StandInSetFit),
        "sentence_transformers": types.SimpleNamespace(SentenceTransformer=StandInEncoder),
    }
    with pytest.MonkeyPatch.context() as patched:
        for name, module in modules.items():
            patched.setitem(sys.modules, name, module)
        for block in re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
            exec(compile(block, "docs/drop-in.md", "exec"), made)
    return made


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_grid_search_and_ours_choose_the_same(page: dict[str, Any]) -> None:
    assert page["ours"].fit_report_.relative_gap <= 1e-12
    assert page["chosen"].C_ in (0.01, 0.1, 1.0)
    grid = page["GridSearchCV"](
        page["make_pipeline"](page["StandardScaler"](), at_its_optimum(1.0)),
        {"logisticregression__C": [0.01, 0.1, 1.0]},
        scoring="neg_log_loss",
        cv=3,
    ).fit(page["X_train"], page["y_train"])
    assert grid.best_params_["logisticregression__C"] == page["chosen"].C_
    np.testing.assert_allclose(
        grid.cv_results_["mean_test_score"], page["chosen"].scores_.mean(axis=0), atol=1e-3
    )


def dinov2_sweep(
    kept: Array, labels: Array, held: Array, held_labels: Array, powers: Array
) -> list[float]:
    """Return the accuracy at some of DINOv2's values of C, as its loop finds them."""
    accuracies = []
    for power in powers:
        model = StandInCuml(
            penalty="l2", C=10**power, max_iter=1000, output_type="numpy", tol=1e-12,
            linesearch_max_iter=50,
        )  # fmt: skip
        model.fit(kept, labels)
        right = model.predict_proba(held).argmax(axis=1) == held_labels
        accuracies.append(float(right.mean()))
    return accuracies


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::scipy.linalg.LinAlgWarning")
def test_dinov2s_sweep_chooses_the_same(page: dict[str, Any]) -> None:
    count = page["count"]
    data = (page["kept"], page["y_train"][count:], page["held"], page["y_train"][:count])
    probe, accuracy = page["dinov2_log_regression"](*data, tol=1e-12)
    powers = np.linspace(-6, 5, 45)
    theirs = dinov2_sweep(*data, powers[::8])  # each takes them a second and more
    np.testing.assert_array_equal(accuracy[::8], theirs)
    best = float(10 ** powers[np.argmax(accuracy)])
    assert np.isclose(probe.C, best, rtol=1e-12)
    final = at_its_optimum(best).fit(np.concatenate([data[0], data[2]]), [*data[1], *data[3]])
    X_test = page["X_test"] / 16
    np.testing.assert_allclose(
        probe.predict_proba(X_test), final.predict_proba(X_test), rtol=0, atol=1e-5
    )


def test_clips_probe_is_scikit_learns_at_its_optimum(page: dict[str, Any]) -> None:
    assert "SoftmaxRegression(C=0.316)" in PAGE
    kept, labels, held = page["kept"], page["y_train"][page["count"] :], page["held"]
    ours = bridle.SoftmaxRegression(C=0.316, tol=1e-12).fit(kept, labels)
    theirs = at_its_optimum(0.316).fit(kept, labels)
    np.testing.assert_allclose(
        ours.predict_proba(held), theirs.predict_proba(held), rtol=0, atol=1e-6
    )


def test_clips_search_judges_by_the_validation_rows(page: dict[str, Any]) -> None:
    probe = page["swept"]
    assert probe.scores_.shape == (1, len(probe.Cs_))
    assert np.isin(probe.Cs_, np.logspace(-6, 6, 97)).all()
    np.testing.assert_array_equal(probe.folds_[0].rows, np.arange(page["count"]))
    assert probe.scores_[0, list(probe.Cs_).index(probe.C_)] == probe.scores_.max()
    with_it = at_its_optimum(probe.C_).fit(page["kept"], page["y_train"][page["count"] :])
    score = with_it.score(page["held"], page["y_train"][: page["count"]])
    assert probe.scores_.max() == pytest.approx(score, abs=1.5 / page["count"])


def test_setfit_has_from_our_head_what_it_has_from_theirs(
    page: dict[str, Any], tmp_path: Path
) -> None:
    texts, labels, body = page["texts"], page["labels"], page["body"]
    ours = StandInSetFit(body, bridle.SoftmaxRegression(C=10.0, tol=1e-12))
    theirs = StandInSetFit(body, LogisticRegression(C=10.0, tol=1e-10, solver="newton-cg"))
    for model in (ours, theirs):
        model.fit(texts, labels, num_epochs=1)
    assert ours.labels == theirs.labels == ["disliked", "liked"]
    np.testing.assert_array_equal(ours.predict(texts), theirs.predict(texts))
    np.testing.assert_allclose(
        ours.predict_proba(texts), theirs.predict_proba(texts), rtol=0, atol=1e-5
    )
    assert page["setfit"].predict(["good and well made"]).tolist() == ["liked"]
    ours.model_head = ours.model_head.to_sklearn()
    ours.save_pretrained(tmp_path)
    assert type(joblib.load(tmp_path / "model_head.pkl")) is LogisticRegression


def test_embeddings_in_a_tensor_are_fitted_as_those_in_an_array(page: dict[str, Any]) -> None:
    body, texts, labels = page["body"], page["texts"], page["labels"]
    tensor = body.encode(texts, normalize_embeddings=True, convert_to_tensor=True)
    of_tensor = bridle.SoftmaxRegression(C=10.0, tol=1e-12).fit(tensor, labels)
    of_array = bridle.SoftmaxRegression(C=10.0, tol=1e-12).fit(tensor.numpy(), labels)
    np.testing.assert_allclose(of_tensor.coef_, of_array.coef_, atol=1e-6)
    assert page["embeddings"].dtype == np.float32


@pytest.mark.parametrize("kind", ["pandas", "pyarrow", "polars"])
def test_names_of_a_table_come_out_again(kind: str, page: dict[str, Any]) -> None:
    library = pytest.importorskip(kind, reason=f"{kind} is not installed")
    if kind == "polars" and parse_version(sklearn.__version__) < parse_version("1.9"):
        pytest.skip("scikit-learn knows polars' frames since 1.9")
    make = library.table if kind == "pyarrow" else library.DataFrame
    columns, y = page["columns"], page["y_train"]
    model = bridle.SoftmaxRegression(tol=1e-12).fit(make(columns), y)
    assert model.feature_names_in_.tolist() == list(columns)
    assert model.to_sklearn().feature_names_in_.tolist() == list(columns)
    of_array = bridle.SoftmaxRegression(tol=1e-12).fit(np.column_stack([*columns.values()]), y)
    np.testing.assert_allclose(model.coef_, of_array.coef_, atol=1e-8)
    np.testing.assert_array_equal(model.predict(make(columns)), model.predict(page["frame"]))
    swapped = make({name: columns[name] for name in reversed(columns)})
    with pytest.raises(ValueError, match="feature names"):
        model.predict(swapped)
    path = bridle.softmax_regression_path(make(columns), y, [1.0], tol=1e-12)
    np.testing.assert_allclose(path.coefs[0], model.coef_, atol=1e-6)


def test_the_page_tells_of_each_test_of_scikit_learn_that_differs() -> None:
    rows = dict(re.findall(r"^\| `([\w.]+::[\w.:]+)` \| (.*) \|$", PAGE, re.MULTILINE))
    assert rows == scikit_learn_suite.DIFFERS


def test_the_page_is_found_and_what_it_names_is_there() -> None:
    for reader in ("README.md", "docs/architecture.md"):
        assert "drop-in.md" in (ROOT / reader).read_text(encoding="utf-8")
    for name in re.findall(r"tests/\w+\.py", PAGE):
        assert (ROOT / name).exists(), name
