"""``bridle fit --hidden`` and ``bridle compare``, as a user types them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from bridle import NetworkClassifier
from bridle.data import load

pytest.importorskip("typer")
from bridle.cli import run
from bridle.cli.curves import quadratic_is_least_saturated
from bridle.networks import Epoch

MNIST = Path(__file__).parents[2] / "shared/data/mnist10k"
Command = Callable[..., tuple[int, str, str]]
FAST = ("--epochs", "2")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: object) -> tuple[int, str, str]:
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_fit_trains_a_network_that_predict_reads(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "model"
    code, text, _ = command(
        "fit", "digits", "--hidden", "30", "--output", "sigmoid", "--cost", "quadratic",
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
    code, text, _ = command("fit", tmp_path / "odd.npz", "--hidden", "8", "--json", "--epochs", 60)
    assert code == 0
    assert json.loads(text)["evaluation"]["accuracy"] > 0.95


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--hidden", "none"), "--hidden: expected sizes as 30 or 100,50, found 'none'"),
        (("--hidden", "30", "--C", "2"), "--C, --tol: expected without --hidden"),
        (("--cost", "quadratic"), "--cost: expected with --hidden"),
        (("--epochs", "9", "--seed", "1"), "--epochs, --seed: expected with --hidden"),
        (("--hidden", "30", "--cost", "hinge"), "--cost: expected one of quadratic"),
        (
            ("--hidden", "30", "--cost", "cross_entropy", "--output", "softmax"),
            "bridle: --cost: 'cross_entropy' has no meaning for --output softmax",
        ),
        (("--hidden", "30", "--learning-rate", "-1"), "bridle: --learning-rate: expected"),
        (("--hidden", "30", "--learning-rate", "nan"), "bridle: --learning-rate: expected"),
        (("--hidden", "30", "--alpha", "-1"), "bridle: --alpha: expected"),
        (("--hidden", "30", "--l1-ratio", "2"), "bridle: --l1-ratio: expected"),
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
def test_fit_refuses_what_means_nothing(
    command: Command, arguments: tuple[str, ...], message: str
) -> None:
    code, text, error = command("fit", "digits", *arguments)
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
    code, text, _ = command("fit", MNIST, "--hidden", "100", "--epochs", "20", "--json")
    assert code == 0
    found = json.loads(text)
    assert found["data"]["training_samples"] == 8000
    assert found["evaluation"]["accuracy"] >= 0.94


def test_a_training_that_diverges_is_told(command: Command) -> None:
    code, text, error = command("fit", "iris", "--hidden", "30", "--learning-rate", 1000)
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
    assert command("fit", "digits", *options)[2] == ""


@pytest.mark.parametrize("hidden", ["30", "10,10,10,10,10,10"])
def test_the_comparison_fits_80_columns(command: Command, hidden: str) -> None:
    code, text, _ = command("compare", "digits", "--hidden", hidden, "--accuracy", "1", *FAST)
    assert code == 0
    assert max(map(len, text.splitlines())) <= 80
    norms = text[text.index("gradient norm of each layer, first epoch") :]
    assert norms.count(" → ") == 1 + 3 * (len(hidden.split(",")) + 1)


@pytest.mark.parametrize("name", ["fit", "compare", "predict", "evaluate"])
def test_the_help_is_in_panels_of_80_columns(command: Command, name: str) -> None:
    code, text, _ = command(name, "--help")
    assert code == 0
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    titles = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    expected = {
        "fit": ["Columns of a table:", "How files are read:", "Softmax classifier:", "Network:"],
        "compare": ["Columns of a table:", "How files are read:", "Network:"],
        "predict": ["How files are read:"],
        "evaluate": ["Answers:", "How files are read:"],
    }
    assert titles == ["Arguments:", "Data:", *expected[name], "Output:"]
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
