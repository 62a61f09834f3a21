"""``bridle train`` and ``bridle compare``, as a user types them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import dump_svmlight_file
from sklearn.feature_extraction.text import TfidfVectorizer

from bridle import NetworkClassifier
from bridle.data import Dataset, load
from bridle.rows import Rows
from commands import Command

pytest.importorskip("typer")
from bridle.cli.curves import quadratic_is_least_saturated
from bridle.cli.network_training import units_of
from bridle.networks import Epoch
from bridle.networks.samples import numbers
from bridle.networks.units import chosen
from problems import random_csr

MNIST = Path(__file__).parents[2] / "shared/data/mnist10k"
FAST = ("--epochs", "2")


def test_train_makes_a_network_that_predict_reads(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "model"
    code, text, _ = command(
        "train", "digits", "--hidden", "30", "--output", "sigmoid", "--cost", "quadratic",
        "--learning-rate", "1", "--out", out,
    )  # fmt: skip
    assert code == 0
    assert "network 64-30-10, sigmoid with quadratic: 30 epochs" in text
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["evaluation"]["accuracy"] > 0.95
    assert metrics["model"]["cost"] == "quadratic"
    last = metrics["fit"]["history"][-1]
    # Judged in the features' own units: the scaling is in the weights.
    assert last["validation_accuracy"] == pytest.approx(metrics["evaluation"]["accuracy"])
    assert command("predict", out, "digits")[0] == 0
    assert command("evaluate", "--model", out, "digits")[0] == 0
    model = NetworkClassifier.load(out / "model.safetensors")
    dataset = load("digits")
    assert dataset.target is not None
    assert model.score(dataset.features, dataset.target) > 0.95


def test_features_of_any_unit_are_learnt(command: Command, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 150)
    X = np.stack([y * 1e-6 + 1e-3, random.normal(size=150) * 1e7, np.ones(150)], axis=1)
    np.savez(tmp_path / "odd.npz", X=X, y=y)
    code, text, _ = command(
        "train", tmp_path / "odd.npz", "--hidden", "8", "--json", "--epochs", 60
    )
    assert code == 0
    assert json.loads(text)["evaluation"]["accuracy"] > 0.95


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--hidden", "none"), "--hidden: expected sizes as 30 or 100,50, found 'none'"),
        (("--C", "2"), "--C: bridle train has no such option, bridle fit has it"),
        (("--tol", "1e-3"), "--tol: bridle train has no such option, bridle fit has it"),
        (("--hidden", "30", "--cost", "hinge"), "--cost: expected one of quadratic"),
        (
            ("--hidden", "30", "--cost", "cross_entropy", "--output", "softmax"),
            "bridle: --cost: 'cross_entropy' has no meaning for --output softmax",
        ),
        (("--hidden", "30", "--learning-rate", "-1"), "bridle: --learning-rate: expected"),
        (("--hidden", "30", "--learning-rate", "nan"), "bridle: --learning-rate: expected"),
        (("--hidden", "30", "--alpha", "-1"), "bridle: --alpha: expected"),
        (("--hidden", "30", "--alpha", "1", "--l1-ratio", "2"), "bridle: --l1-ratio: expected"),
        (("--hidden", "30", "--batch-size", "0"), "bridle: --batch-size: expected"),
        (("--hidden", "30", "--epochs", "0"), "bridle: --epochs: expected"),
        (("--hidden", "30", "--momentum", "1"), "bridle: --momentum: expected"),
        (("--hidden", "30", "--solver", "lbfgs"), "bridle: --solver: expected one of sgd, adam"),
        (("--hidden", "30", "--init", "zeros"), "bridle: --init: expected one of scaled"),
        (("--hidden", "30", "--activation", "gelu"), "bridle: --activation: expected one of"),
        (("--hidden", "30", "--output", "linear"), "bridle: --output: expected one of"),
        (
            ("--hidden", "30", "--seed", "-1"),
            "bridle: --seed: expected a number in [0, 4294967295]",
        ),
        (("--hidden", "0"), "bridle: --hidden: expected"),
    ],
)
def test_train_refuses_what_means_nothing(
    command: Command, arguments: tuple[str, ...], message: str
) -> None:
    code, text, error = command("train", "digits", *arguments)
    assert (code, text) == (2, "")
    assert message in error
    assert len(error.splitlines()) == 1


def test_compare_puts_three_costs_side_by_side(command: Command) -> None:
    code, text, _ = command("compare", "digits")
    assert code == 0
    rows = {
        line.split()[0]: line.split()
        for line in text.splitlines()
        if line.startswith(("quadratic", "cross_entropy", "log_likelihood"))
    }
    assert [cells[1] for cells in rows.values()] == ["sigmoid", "sigmoid", "softmax"]
    epochs = {cost: int(cells[2]) for cost, cells in rows.items()}
    assert min(epochs["cross_entropy"], epochs["log_likelihood"]) < epochs["quadratic"]


def test_compare_starts_each_cost_alike(command: Command) -> None:
    options = ("--cost", "quadratic", "--cost", "cross_entropy", "--json", "--learning-rate", 1e-12)
    code, text, _ = command("compare", "digits", *options, *FAST)
    assert code == 0
    one, other = json.loads(text)["runs"]
    # Nothing was learnt: the same outputs, hence the same accuracy, from the same weights.
    assert [each["accuracy"] for each in one["history"]] == [
        each["accuracy"] for each in other["history"]
    ]
    assert len(one["history"]) == 2


def test_an_accuracy_that_is_not_reached_is_said(command: Command) -> None:
    code, text, _ = command("compare", "digits", "--accuracy", "1", *FAST)
    assert code == 0
    assert text.count("not reached") == 3


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_compare_draws(command: Command, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / f"curves.{kind}"
    code, text, _ = command("compare", "digits", "--out", out, *FAST)
    assert code == 0
    assert "drawn to" in text
    if kind == "svg":
        tree = ElementTree.fromstring(out.read_bytes())
        # Text is drawn as shapes, with the words in a comment before each.
        words = out.read_text(encoding="utf-8")
        assert tree.tag.endswith("svg")
        for title in ("Accuracy on the held-out samples", "Training cost", "Gradient at the first "
                      "layer", "Slope of the outputs: small where they are saturated",
                      "The quadratic cost's outputs are the least saturated because"):  # fmt: skip
            assert title in words
    else:
        assert out.read_bytes().startswith(b"\x89PNG")


def test_the_missing_extra_is_told_with_its_command(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, error = command("compare", "digits", "--out", tmp_path / "curves.png")
    assert code == 2
    assert "drawing curves needs matplotlib: " in error
    assert "-m pip install '" in error
    assert "[report]'" in error
    assert command("compare", "digits", *FAST)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out", "curves.pdf"), "expected a name that ends in .png or .svg"),
        (("--out", "no-such-folder/curves.png"), "no folder no-such-folder"),
        (("--cost", "quadratic", "--cost", "quadratic"), "--cost: expected each cost once"),
        (("--accuracy", "2"), "--accuracy: expected a number in [0, 1]"),
        (("--cost", "log_likelihood", "--output", "sigmoid"), "has no meaning for --output"),
        (("--learning-rate", "1e30", "--activation", "relu"), "--learning-rate: 1e+30 made"),
    ],
)
def test_compare_refuses_what_means_nothing(
    command: Command, arguments: tuple[str, ...], message: str
) -> None:
    code, text, error = command("compare", "digits", *arguments)
    assert (code, text) == (2, "")
    assert message in error
    assert len(error.splitlines()) == 1


@pytest.mark.skipif(not MNIST.exists(), reason="no MNIST beside the repository")
def test_a_hundred_units_on_8000_digits(command: Command) -> None:
    code, text, _ = command("train", MNIST, "--hidden", "100", "--epochs", "20", "--json")
    assert code == 0
    found = json.loads(text)
    assert found["data"]["training_samples"] == 8000
    assert found["evaluation"]["accuracy"] >= 0.94


def test_a_training_that_diverges_is_told(command: Command) -> None:
    code, text, error = command("train", "iris", "--hidden", "30", "--learning-rate", 1000)
    assert code == 0
    assert error.startswith("bridle: warning: the training diverged: its mean cost began at 1.")
    assert error.endswith("choose a lower --learning-rate, or scale the features\n")
    assert error.count("\n") == 1
    assert "where a guess costs 1.1;" in error  # ln 3
    assert "held-out accuracy" in text


@pytest.mark.parametrize("cost", ["quadratic", "cross_entropy", "log_likelihood"])
@pytest.mark.parametrize("init", ["scaled", "standard_normal"])
def test_a_short_training_is_no_divergence(command: Command, cost: str, init: str) -> None:
    options = ("--hidden", "30", "--cost", cost, "--init", init, "--epochs", "1")
    assert command("train", "digits", *options)[2] == ""


@pytest.mark.parametrize("hidden", ["30", "10,10,10,10,10,10"])
def test_the_comparison_fits_80_columns(command: Command, hidden: str) -> None:
    code, text, _ = command("compare", "digits", "--hidden", hidden, "--accuracy", "1", *FAST)
    assert code == 0
    assert max(map(len, text.splitlines())) <= 80
    norms = text[text.index("gradient norm of each layer, first epoch") :]
    assert norms.count(" → ") == 1 + 3 * (len(hidden.split(",")) + 1)


@pytest.mark.parametrize(
    "name", ["fit", "train", "compare", "predict", "evaluate", "calibrate", "explain"]
)
def test_the_help_is_in_panels_of_80_columns(command: Command, name: str) -> None:
    code, text, _ = command(name, "--help")
    assert code == 0
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    titles = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    expected = {
        "fit": [
            "Columns of a table:",
            "How files are read:",
            "Softmax classifier:",
        ],
        "train": ["Columns of a table:", "How files are read:", "Network:", "Training:"],
        "compare": ["Columns of a table:", "How files are read:", "Network:", "Training:"],
        "predict": ["How files are read:"],
        "evaluate": ["Answers:", "What is judged:", "How files are read:"],
        "calibrate": ["Answers:", "How files are read:", "Calibrator:"],
        "explain": ["Columns of a table:", "How files are read:"],
    }
    assert titles == ["Arguments:", "Data:", *expected[name], "Output:", "Options in a file:"]
    # Each option once.
    assert sum("--out " in line.split("  ")[1] for line in lines if line.startswith("  -")) <= 1
    assert "--help" in text


def test_the_sentence_on_saturation_is_there_where_it_is_true() -> None:
    def run_of(slope: float) -> list[Epoch]:
        return [Epoch(1, 1.0, 0.5, 1.0, 0.5, (1.0, 1.0), slope, 0.1)]

    high, low = run_of(0.1), run_of(0.01)
    tell = quadratic_is_least_saturated
    assert tell([("quadratic (sigmoid)", high), ("cross_entropy (sigmoid)", low)])
    assert not tell([("quadratic (sigmoid)", low), ("cross_entropy (sigmoid)", high)])
    assert not tell([("quadratic (sigmoid)", high)])
    assert not tell([("log_likelihood (softmax)", high), ("cross_entropy (sigmoid)", low)])


# --- words, and other sparse features -------------------------------------------------------------


def reviews(seed: int, count: int) -> pd.DataFrame:
    """Return texts, a column in large units, and one that is constant."""
    random = np.random.default_rng(seed)
    words = {"bad": ["dull", "flat", "loud"], "good": ["lovely", "funny", "bright"]}
    others = ["plot", "cast", "music", "story", "half", "ending", "pace", "the", "was"]
    truth = np.array(list(words))[random.integers(0, 2, count)]
    texts = [
        " ".join(random.permutation([*random.choice(words[label], 2), *random.choice(others, 5)]))
        for label in truth
    ]
    income = random.normal(50_000, 10_000, count)
    return pd.DataFrame({"id": range(count), "review": texts, "income": income, "fee": 0.1,
                         "verdict": truth})  # fmt: skip


@pytest.mark.parametrize("scale", [(), ("--standardize",)])
def test_a_network_learns_words_and_numbers(
    command: Command, tmp_path: Path, scale: tuple[str, ...]
) -> None:
    train, test, answers = tmp_path / "train.csv", tmp_path / "test.csv", tmp_path / "answers.csv"
    reviews(1, 200).to_csv(train, index=False)
    reviews(2, 60).to_csv(test, index=False)
    out = tmp_path / "model"
    code, text, error = command(
        "train", train, "--target", "verdict", "--hidden", "8", "--out", out, *scale
    )
    assert (code, error) == (0, "")
    assert "column 'review', mostly different texts, became 15 words" in text
    assert "network 17-8-2, softmax with log_likelihood" in text
    assert command("predict", out, test, "--out", answers)[0] == 0
    chained = command("evaluate", answers, "--target", "verdict", "--json")
    direct = command("evaluate", "--model", out, test, "--json")
    assert (chained[0], direct[0]) == (0, 0)
    found, expected = json.loads(chained[1]), json.loads(direct[1])
    assert found["accuracy"] == expected["accuracy"] == 1.0
    assert found["cross_entropy_nats"] == pytest.approx(expected["cross_entropy_nats"], rel=1e-6)
    # The scaling is in the weights: by hand, on the words that scikit-learn finds.
    model = NetworkClassifier.load(out / "model.safetensors")
    vectorizer = TfidfVectorizer().fit(reviews(1, 200)["review"])
    frame = reviews(2, 60)
    words = vectorizer.transform(frame["review"]).toarray()
    features = np.hstack([frame[["income", "fee"]].to_numpy(), words])
    assert model.score(features, frame["verdict"]) == 1.0
    assert np.abs(model.coefs_[0][1]).max() < 10  # of the constant column


def in_units(dataset: Dataset, standardize: bool | None) -> Any:
    """Return the features as a network of the command learns from them."""
    values = numbers(dataset.features)
    units = chosen(units_of(dataset.features, dataset, standardize).standardize, values)
    return values if units is None else units.of(values)


def test_words_are_as_they_are_and_numbers_of_unit_size() -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "train.csv"
        reviews(3, 80).to_csv(path, index=False)
        dataset = load(str(path), target="verdict")
    raw = dataset.features.to_array()
    before = raw.toarray()
    found = in_units(dataset, None)
    assert found.format == "csr"
    others, words = found.toarray()[:, :2], found.toarray()[:, 2:]
    assert np.array_equal(raw.toarray(), before)
    assert np.array_equal(words, before[:, 2:])
    assert others[:, 0].mean() == pytest.approx(0, abs=1e-12)
    assert others[:, 0].std() == pytest.approx(1)
    assert not others[:, 1].any()  # a constant
    scaled = in_units(dataset, True).toarray()
    assert np.allclose(scaled[:, :2], others)
    assert np.allclose((scaled[:, 2:] ** 2).mean(axis=0), 1)
    as_they_are = in_units(dataset, False)
    assert np.array_equal(as_they_are.toarray(), before)


def test_a_constant_of_any_size_is_nothing_to_a_network() -> None:
    random = np.random.default_rng(0)
    for constant in (0.1, 1e15, 1.7e18):
        values = np.column_stack([random.normal(size=50), np.full(50, constant)])
        dataset = Dataset(Rows([values]), np.arange(50) % 2, None, None, "data")
        found = in_units(dataset, None)
        assert not found[:, 1].any()
        assert found[:, 0].std() == pytest.approx(1)


def test_sparse_files_are_scaled_and_stay_sparse(command: Command, tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    y = random.integers(0, 3, 150)
    X = random_csr((150, 40), 0.2, random) * 1e4
    X = sparse.csr_array(sparse.hstack([X, sparse.csr_array(np.eye(3)[y] * 1e-3)]))
    path = tmp_path / "train.svmlight"
    dump_svmlight_file(X, y, str(path), zero_based=True)
    dataset = load(str(path))
    scaled = in_units(dataset, None)
    assert np.allclose((scaled.toarray() ** 2).mean(axis=0), 1)
    out = tmp_path / "model"
    code, text, _ = command("train", path, "--hidden", "8", "--out", out, "--json")
    assert code == 0
    assert json.loads(text)["evaluation"]["accuracy"] > 0.95
    assert command("predict", out, path, "--out", tmp_path / "answers.csv")[0] == 0
    code, text, _ = command("evaluate", "--model", out, path, "--json")
    assert json.loads(text)["accuracy"] > 0.95
    code, text, _ = command("compare", path, "--json", *FAST)
    assert code == 0
    assert len(json.loads(text)["runs"]) == 3


@pytest.mark.parametrize("name", ["predict", "evaluate"])
def test_what_does_not_fit_a_network_of_words_names_the_file(
    command: Command, tmp_path: Path, name: str
) -> None:
    train, other = tmp_path / "train.csv", tmp_path / "other.csv"
    reviews(1, 60).to_csv(train, index=False)
    reviews(2, 10).drop(columns="review").to_csv(other, index=False)
    out = tmp_path / "model"
    assert (
        command("train", train, "--target", "verdict", "--hidden", "4", "--out", out, *FAST)[0] == 0
    )
    arguments = ("--model", out, other) if name == "evaluate" else (out, other)
    code, _, error = command(name, *arguments)
    assert code == 2
    assert error.startswith(f"bridle: {other}: ")
    assert "review" in error
    assert len(error.splitlines()) == 1
