"""What the page of ``bridle explain`` holds, and the command that writes it."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LogisticRegression

from bridle import NetworkClassifier, SoftmaxRegression, cross_entropy
from bridle.calibrate import TemperatureScaling
from bridle.checks import InputError
from bridle.explain import Labelled, Material, contents
from bridle.explain.material import image_shape, kept
from bridle.rows import Rows
from commands import Command

pytest.importorskip("typer")
pytest.importorskip("jinja2", reason="the extra `report` is not installed")

Array = npt.NDArray[Any]
MNIST = Path(__file__).parents[2] / "shared/data/mnist10k"
HOSTILE = "<script>alert(1)</script>"


def material(X: Any, y: Any, names: list[str] | None = None, *, pixels: bool = False) -> Material:
    held = np.random.default_rng(1).random(len(y)) < 0.2
    train, rest = Labelled(Rows([X[~held]]), y[~held]), Labelled(Rows([X[held]]), y[held])
    return Material("made", train, rest, names, pixels)


def digits() -> Material:
    found = load_digits()
    return material(found.data, found.target, [str(name) for name in found.feature_names])


def numbers(samples: dict[str, Any]) -> Array:
    """Return the features of the page, read as the page reads them."""
    raw = gzip.decompress(base64.b64decode(samples["values"]))
    values = np.frombuffer(raw, "u1" if samples["bytes"] == 1 else "<i2")
    found: Array = values.reshape(samples["count"], samples["width"]) * samples["step"]
    return found


def floats(text: str, shape: tuple[int, ...]) -> Array:
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(shape).astype(np.float64)


def test_the_optimum_is_that_of_the_numbers_in_the_page() -> None:
    found = contents(digits())
    samples, optimum = found["samples"], found["optimum"]
    count = samples["count"] - samples["held"]
    X, y = numbers(samples)[:count], np.asarray(samples["labels"])[:count]
    assert X.max() == 1.0
    assert found["image"] == (8, 8)
    theirs = LogisticRegression(C=optimum["C"], tol=1e-10, max_iter=2000, solver="newton-cg")
    theirs.fit(X, y)
    weight = floats(optimum["weight"], (10, 64))
    assert np.abs(weight - theirs.coef_).max() < 1e-4
    loss = cross_entropy(X @ weight.T + optimum["bias"], y)
    assert optimum["loss"] == pytest.approx(float(loss), abs=1e-6)
    penalty = (weight**2).sum() / (2 * optimum["C"] * count)
    assert optimum["objective"] == pytest.approx(float(loss) + penalty, abs=1e-6)
    assert optimum["gap"] <= 1e-9


def test_the_path_falls_on_the_samples_it_learns_and_turns_on_the_others() -> None:
    path = contents(digits())["path"]
    losses = [step["loss"] for step in path]
    held = [step["heldOutLoss"] for step in path]
    assert losses == sorted(losses, reverse=True)
    assert 0 < int(np.argmin(held)) < len(held) - 1


def test_judged_and_surprising_samples_are_the_models() -> None:
    given = digits()
    model = SoftmaxRegression(C=10.0, standardize=False).fit(
        given.train.features.to_array(), given.train.target
    )
    found = contents(given, model)
    logarithms = model.predict_log_proba(given.held.features.to_array())
    judged = found["judged"]
    scores = np.frombuffer(base64.b64decode(judged["scores"]), "<i2") * judged["step"]
    shown = scores.reshape(-1, 10)
    assert len(shown) == len(judged["labels"]) == len(logarithms)
    assert np.abs(np.maximum(logarithms, -60) - shown).max() <= judged["step"] / 2 + 1e-9
    calibrator = TemperatureScaling().fit(shown, judged["labels"])
    assert judged["temperature"] == calibrator.temperature_
    own = -logarithms[np.arange(len(logarithms)), given.held.target]
    assert [each["nats"] for each in found["surprises"]] == pytest.approx(np.sort(own)[::-1][:8])


@pytest.mark.parametrize("classes", [2, 100])
def test_few_and_many_classes(classes: int) -> None:
    random = np.random.default_rng(0)
    y = np.arange(1200) % classes
    X = random.normal(size=(1200, 40)) + random.normal(size=(classes, 40))[y] * 2
    found = contents(material(X, np.array([f"class {each}" for each in y])))
    assert len(found["classes"]) == min(classes, 10)
    assert len(found["features"]) == found["samples"]["width"] == 24
    assert found["race"]["layers"] == [24, 30, min(classes, 10)]
    notes = " ".join(found["notes"])
    assert "the 24 of 40 features that weigh most" in notes
    assert ("the 10 most frequent of 100 classes" in notes) == (classes == 100)
    assert len(found["judged"]["classes"]) == classes


def test_features_of_any_units_are_standardised_and_a_constant_is_nothing() -> None:
    random = np.random.default_rng(0)
    y = np.arange(300) % 3
    X = np.column_stack([random.normal(size=300) * 1e6 + 1e9 * y, np.full(300, 1e15), y * 1e-9])
    found = kept(material(X, y))
    features, _ = found.train
    assert np.allclose(features.mean(axis=0), 0, atol=1e-3)
    assert np.allclose(features[:, [0, 2]].std(axis=0), 1, atol=1e-3)
    assert not features[:, 1].any()


def test_held_out_samples_of_other_classes_alone() -> None:
    random = np.random.default_rng(0)
    X, y = random.normal(size=(130, 3)), np.append(np.arange(120) % 10, np.full(10, 10))
    train, rest = (Labelled(Rows([X[part]]), y[part]) for part in (slice(120), slice(120, 130)))
    given = Material("made", train, rest, None)
    found = kept(given)
    assert found.held == 24
    assert set(found.target) == set(range(10))
    with pytest.raises(InputError, match="row 0 is 10, which is none of the 10 classes"):
        contents(given)


def test_a_network_can_be_the_model() -> None:
    found = load_iris()
    given = material(found.data, found.target)
    model = NetworkClassifier((5,), standardize=True, max_epochs=30, random_state=0)
    model.fit(given.train.features.to_array(), given.train.target)
    shown = contents(given, model)
    assert shown["judged"]["accuracy"] == model.score(
        given.held.features.to_array(), given.held.target
    )


def test_what_is_an_image() -> None:
    y = np.arange(20) % 2
    square, other = np.zeros((20, 49)), np.zeros((20, 50))
    assert image_shape(material(square, y)) is None
    assert image_shape(material(square, y, pixels=True)) == (7, 7)
    assert image_shape(material(other, y, pixels=True)) is None
    named = [f"pixel_{place // 7}_{place % 7}" for place in range(49)]
    assert image_shape(material(square, y, named)) == (7, 7)


# --- the command ----------------------------------------------------------------------------------


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_the_page_of_the_digits(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "explain.html"
    code, text, error = command("explain", "--out", out)
    assert (code, error) == (0, "")
    assert text.startswith(f"{out}: ")
    page = out.read_text(encoding="utf-8")
    assert len(page.encode()) < 600_000
    data = data_of(page)
    assert data["title"] == "digits"
    assert data["classes"] == [str(each) for each in range(10)]
    ids = re.findall(r'<section class="station[^"]*" id="([a-z]+)"', page)
    assert ids == ["scores", "likelihood", "loss", "gradient", "classifier", "race", "surprise",
                   "calibration"]  # fmt: skip
    # Nothing from outside: all addresses are inside the page.
    outside = re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?(?!#|data:)([a-z]+:)?//', page)
    assert outside == []


@pytest.mark.skipif(not MNIST.exists(), reason="no MNIST beside the repository")
def test_the_page_of_mnist_is_small(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "explain.html"
    assert command("explain", MNIST, "--out", out, "--quiet") == (0, "", "")
    assert out.stat().st_size < 600_000
    data = data_of(out.read_text(encoding="utf-8"))
    assert data["image"] == [28, 28]
    assert data["title"] == "mnist10k"


def test_labels_and_names_never_become_markup(command: Command, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    y = np.arange(60) % 3
    frame = pd.DataFrame({"</script><b>": random.normal(size=60) + y, "b": random.normal(size=60)})
    frame["label"] = np.array([HOSTILE, "plain", 'it\'s & "so"'])[y]
    path, out = tmp_path / "table.csv", tmp_path / "page.html"
    frame.to_csv(path, index=False)
    code, _, error = command("explain", path, "--out", out)
    assert (code, error) == (0, "")
    page = out.read_text(encoding="utf-8")
    assert HOSTILE not in page
    assert "</script><b>" not in page
    data = data_of(page)
    assert HOSTILE in data["classes"]
    assert "</script><b>" in data["features"]


def test_a_model_of_the_command_is_judged(command: Command, tmp_path: Path) -> None:
    model, out = tmp_path / "model", tmp_path / "page.html"
    assert command("fit", "iris", "--out", model, "--quiet", "--C", "0.01")[0] == 0
    _, text, _ = command("evaluate", "iris", "--model", model, "--json")
    assert command("explain", "iris", "--model", model, "--out", out, "--holdout", "0")[0] == 0
    judged = data_of(out.read_text(encoding="utf-8"))["judged"]
    assert judged["loss"] == pytest.approx(json.loads(text)["cross_entropy_nats"], abs=2e-3)


def test_what_cannot_be_explained_is_one_line(command: Command, tmp_path: Path) -> None:
    for arguments, message in (
        (("nothing.csv",), "nothing.csv"),
        (("iris", "--out", tmp_path / "no" / "page.html"), "--out"),
        (("iris", "--model", tmp_path / "none"), "none"),
        (("iris", "--target", "a", "--labels", "b"), "--target"),
    ):
        code, out, error = command("explain", *arguments)
        assert (code, out) == (2, "")
        assert error.startswith("bridle: ")
        assert error.count("\n") == 1
        assert message in error
