"""The page on drop-ins: its code runs in its order, offline, and finds what the replaced finds.

Here its classifiers on arrays; `test_docs_drop_in_*.py` have its texts, tables, training and files.
cuML is not installed: a stand-in is called with the arguments that DINOv2's repository uses.
"""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

import bridle
import drop_in_page
import scikit_learn_suite
from drop_in_page import PAGE, ROOT, at_its_optimum

Array = npt.NDArray[Any]


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


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the names that these sections of the page have made."""
    return drop_in_page.run(
        tmp_path_factory.mktemp("page"),
        "DINOv2's `log_regression`",
        "CLIP's linear probe",
        "CLIP_benchmark's linear probe",
    )


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


def test_dinov3s_own_classifier_of_float_labels_is_ours(page: dict[str, Any]) -> None:
    """LBFGS at its `tol=1e-12`, which stops where rounding lets it, on labels in float64."""
    count, C = page["count"], page["probe"].C
    kept, labels = page["kept"], page["y_train"][count:].astype(np.float64)
    theirs = LogisticRegression(C=C, solver="lbfgs", max_iter=1000, tol=1e-12).fit(kept, labels)
    ours = bridle.SoftmaxRegression(C=C, tol=1e-12).fit(kept, labels)
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    np.testing.assert_array_equal(ours.predict(page["held"]), theirs.predict(page["held"]))
    np.testing.assert_allclose(
        ours.predict_proba(page["held"]), theirs.predict_proba(page["held"]), rtol=0, atol=1e-5
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


class CpuNamedCuda(str):
    """A device that is the CPU and says that it is the GPU, which CLIP_benchmark insists on."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return other == "cuda" or str.__eq__(self, other) is True


def clip_benchmarks_own_features(
    folder: Path, parts: dict[str, tuple[Array, Array]], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Return CLIP_benchmark's figures; it keeps what its tiny encoder makes of the parts."""
    torch: Any = importlib.import_module("torch")
    library: Any = importlib.import_module("clip_benchmark.metrics.linear_probe")
    for kind in (torch.nn.Module, torch.Tensor):
        monkeypatch.setattr(kind, "cuda", lambda self: self)

    def accuracy(output: Any, target: Any, topk: tuple[int, ...] = (1,)) -> list[float]:
        """Theirs turns an array of one number into a float, which NumPy refuses since 2.4."""
        best = output.topk(max(topk), dim=1).indices
        return [float((best[:, :k] == target[:, None]).any(dim=1).float().mean()) for k in topk]

    monkeypatch.setattr(library, "accuracy", accuracy)

    class Encoder(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = torch.nn.Linear(64, 16)

        def encode_image(self, images: Any) -> Any:
            return torch.relu(self.layer(images))

    loaders = {
        name: torch.utils.data.DataLoader(
            library.FeatureDataset(torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(y)),
            batch_size=100,
        )
        for name, (X, y) in parts.items()
    }
    return dict(
        library.evaluate(
            Encoder(), loaders["train"], loaders["test"], -1, 100, 0, 0.1, 3, "tiny", 0,
            str(folder), CpuNamedCuda("cpu"), val_dataloader=loaders["val"], amp=False,
        )
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true")
@pytest.mark.filterwarnings("ignore::scipy.linalg.LinAlgWarning")
@pytest.mark.parametrize("whose", ["theirs", "stand-ins"])
def test_clip_benchmarks_features_are_searched_as_the_paper_does(
    whose: str, page: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")
    count, y = page["count"], page["y_train"]
    parts = {
        "train": (page["kept"], y[count:]),
        "val": (page["held"], y[:count]),
        "test": (page["X_test"] / 16, page["y_test"]),
    }
    if whose == "theirs":
        pytest.importorskip("clip_benchmark", reason="clip_benchmark is not installed")
        figures = clip_benchmarks_own_features(tmp_path, parts, monkeypatch)
    else:
        (tmp_path / "tiny").mkdir()
        for name, (X, labels) in parts.items():
            X = torch.nn.functional.normalize(torch.as_tensor(X, dtype=torch.float32), dim=-1)
            torch.save(X, tmp_path / "tiny" / f"features_{name}.pt")
            torch.save(torch.as_tensor(labels), tmp_path / "tiny" / f"targets_{name}.pt")
        figures = dict.fromkeys(["lp_acc1", "lp_acc5", "lp_mean_per_class_recall"])

    probe, found = page["clip_benchmark_probe"](tmp_path / "tiny", tol=1e-12)
    assert found.keys() <= figures.keys()
    read = {
        name: torch.load(tmp_path / "tiny" / f"features_{name}.pt").double().numpy()
        for name in parts
    }
    X = np.concatenate([read["train"], read["val"]])
    theirs = at_its_optimum(probe.C_).fit(X, np.concatenate([parts["train"][1], parts["val"][1]]))
    answers, truth = theirs.predict_proba(read["test"]), parts["test"][1]
    np.testing.assert_allclose(probe.predict_proba(read["test"]), answers, rtol=0, atol=1e-6)
    assert found["lp_acc1"] == theirs.score(read["test"], truth)
    assert found["lp_acc5"] == metrics.top_k_accuracy_score(truth, answers, k=5)
    assert found["lp_mean_per_class_recall"] == metrics.balanced_accuracy_score(
        truth, theirs.predict(read["test"])
    )
    if whose == "theirs":  # three epochs of theirs are no optimum
        assert found["lp_acc1"] >= figures["lp_acc1"] - 0.05


def test_the_page_tells_of_each_test_of_scikit_learn_that_differs() -> None:
    rows = dict(re.findall(r"^\| `([\w.]+::[\w.:]+)` \| (.*) \|$", PAGE, re.MULTILINE))
    assert rows == scikit_learn_suite.DIFFERS


def test_the_page_is_found_and_what_it_names_is_there() -> None:
    for reader in ("README.md", "docs/architecture.md"):
        assert "drop-in.md" in (ROOT / reader).read_text(encoding="utf-8")
    for name in re.findall(r"tests/\w+\.py", PAGE):
        assert (ROOT / name).exists(), name


def test_what_the_page_imports_is_what_make_test_recipes_installs() -> None:
    """So that there no test of it skips."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lines = [*project["project"]["dependencies"], *project["dependency-groups"]["recipes"]]
    for extra in ("cli", "parquet", "torch"):
        lines += project["project"]["optional-dependencies"][extra]
    asked = {re.split(r"[>=]", line)[0] for line in lines if isinstance(line, str)}
    imported = set(re.findall(r"^(?:from|import) (\w+)", PAGE, re.MULTILINE)) - {"bridle"}
    called = {"sklearn": "scikit-learn", "mlflow": "mlflow-skinny"}
    names = {called.get(each, each.replace("_", "-")) for each in imported}
    assert names - asked == set()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "'.[cli,parquet,torch]' --group recipes" in makefile
    assert "'clip-benchmark>=" in makefile
