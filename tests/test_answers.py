"""Answers of any model in a file: which columns they are, and what their numbers mean.

The right value is always computed here, from the probabilities that the file was made of.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bridle
from bridle import judge
from bridle.cli import run
from bridle.judge import kinds
from commands import Answer, Command

Array = npt.NDArray[Any]

PETS = ("cat", "dog", "eel")


def refused(answer: Answer) -> str:
    assert (answer.code, answer.out) == (2, "")
    line = answer.err.removesuffix("\n")
    assert line.startswith("bridle: ")
    assert line.isprintable()
    return line


def figures(answer: Answer) -> Any:
    assert (answer.code, answer.err) == (0, "")
    return json.loads(answer.out)


def distributions(classes: int, count: int = 60, seed: int = 0) -> tuple[Array, Array]:
    """Return probabilities (N, C), and targets that follow them; every class occurs."""
    generator = np.random.default_rng(seed)
    target = np.arange(count) % classes
    scores = generator.normal(size=(count, classes))
    scores[np.arange(count), target] += 1.5
    return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True), target


def nats(values: Array, target: Array) -> float:
    return float(-np.log(values[np.arange(len(target)), target]).mean())


def write(path: Path, columns: dict[str, Sequence[object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def columns_of(
    values: Array, labels: Sequence[object], pattern: str, order: Sequence[int]
) -> dict[str, Sequence[object]]:
    return {pattern.replace("*", str(labels[place])): values[:, place].tolist() for place in order}


# --- columns by name -----------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize(
    ("labels", "pattern"),
    [
        (PETS, "*"),
        (PETS, "prob_*"),
        (PETS, ".pred_*"),
        (PETS, "*_prob"),
        (PETS, "P(*)"),
        (PETS, "logit of *, %"),
        ((0, 1, 2), "*"),
        ((0, 1, 2), "class_*"),
        ((0, 1, 2), "p_*"),
        ((1, 10, 11), "prediction_*"),
        ((1, 10, 11), "1*1"),
        (("a", "aa", "aaa"), "a*"),
        (("New York", "York", "new york"), "p *"),
        (("Cat", "cat", "CAT"), "prob_*"),
        (("no", "not", "none"), "p_*"),
        (("x", "y", "class"), "*"),
        (("007", "7", "07"), "p*"),
    ],
)
def test_columns_are_found_by_name(
    command: Command,
    tmp_path: Path,
    labels: Sequence[object],
    pattern: str,
    order: Sequence[int],
) -> None:
    values, target = distributions(3)
    truth = [labels[place] for place in target]
    answers = columns_of(values, labels, pattern, order)
    for number, columns in enumerate([{"target": truth, **answers}, {**answers, "target": truth}]):
        path = write(tmp_path / f"{number}.csv", columns)
        found = figures(command("evaluate", path, "--json"))
        assert found["input_kind"] == "probabilities"
        assert found["classes"] == [labels[place] for place in order]
        assert found["cross_entropy_nats"] == pytest.approx(nats(values, target), rel=1e-12)
        assert found["accuracy"] == (values.argmax(axis=1) == target).mean()
        said = "".join(found["notes"])
        assert ("* a label" in said) == (pattern != "*")
        # Of "aa, aaa, aaaa" for "a, aa, aaa" nobody can tell what comes first.
        assert pattern == "a*" or (repr(pattern) in said) == (pattern != "*")


@pytest.mark.parametrize("named_after_columns", [False, True])
def test_ten_columns_in_the_order_of_texts(
    command: Command, tmp_path: Path, named_after_columns: bool
) -> None:
    """``prediction_10`` comes before ``prediction_2`` where a program sorts the names."""
    values, target = distributions(11, 110)
    order = sorted(range(11), key=str)
    answers = columns_of(values, range(11), "prediction_*", order)
    name = "digit" if named_after_columns else "label"
    path = write(tmp_path / "a.csv", {name: target.tolist(), **answers})
    found = figures(command("evaluate", path, "--json"))
    assert found["classes"] == order
    assert found["cross_entropy_nats"] == pytest.approx(nats(values, target), rel=1e-12)


BESIDE: dict[str, Callable[[int, Array], list[object]]] = {
    "fold": lambda count, _: [n % 5 for n in range(count)],
    "index": lambda count, _: list(range(count)),
    "id": lambda count, _: [f"r{n}" for n in range(count)],
    "pred": lambda _, values: [PETS[place] for place in values.argmax(axis=1)],
    "confidence": lambda _, values: values.max(axis=1).tolist(),
    "age": lambda count, _: [20 + n for n in range(count)],
    "price": lambda count, _: [n / 7 for n in range(count)],
    "split": lambda count, _: ["test"] * count,
    "is_right": lambda count, _: [n % 3 == 0 for n in range(count)],
}


@pytest.mark.parametrize("pattern", ["*", "prob_*", "*_prob"])
@pytest.mark.parametrize("names", [[name] for name in BESIDE] + [list(BESIDE)], ids=str)
def test_columns_that_are_no_answers_are_left_out_by_name(
    command: Command, tmp_path: Path, names: list[str], pattern: str
) -> None:
    values, target = distributions(3)
    others = {name: BESIDE[name](len(target), values) for name in names}
    answers = columns_of(values, PETS, pattern, (2, 0, 1))
    path = write(
        tmp_path / "a.csv", {**others, **answers, "target": [PETS[place] for place in target]}
    )
    found = figures(command("evaluate", path, "--json"))
    assert found["classes"] == ["eel", "cat", "dog"]
    assert found["input_kind"] == "probabilities"
    assert found["cross_entropy_nats"] == pytest.approx(nats(values, target), rel=1e-12)
    (left_out,) = [note for note in found["notes"] if note.startswith("left out")]
    assert all(repr(name) in left_out for name in names)
    printed = command("evaluate", path).out
    assert f"  {left_out}\n" in printed
    if "id" in names:
        assert found["most_surprising"][0]["index"].startswith("r")


@pytest.mark.parametrize("names", [["fold"], ["index"], ["confidence", "pred"], ["id", "age"]])
def test_scores_beside_columns_that_are_none(
    command: Command, tmp_path: Path, names: list[str]
) -> None:
    values, target = distributions(3)
    scores = np.log(values) + np.arange(60)[:, None] / 7 - 3
    others = {name: BESIDE[name](60, values) for name in names}
    answers = columns_of(scores, PETS, "*", (0, 1, 2))
    path = write(
        tmp_path / "a.csv", {**others, **answers, "target": [PETS[place] for place in target]}
    )
    found = figures(command("evaluate", path, "--json"))
    assert (found["input_kind"], found["classes"]) == ("scores", list(PETS))
    assert found["cross_entropy_nats"] == pytest.approx(nats(values, target), rel=1e-10)


def test_a_class_without_a_sample(command: Command, tmp_path: Path) -> None:
    values, target = distributions(4)
    seen = target < 3
    labels = [*PETS, "fox"]
    truth = [labels[place] for place in target[seen]]
    for number, pattern in enumerate(["*", "p_*"]):
        answers = columns_of(values[seen], labels, pattern, range(4))
        fold = {"fold": [n % 5 for n in range(len(truth))]}
        path = write(tmp_path / f"{number}.csv", {"target": truth, **answers, **fold})
        found = figures(command("evaluate", path, "--json"))
        assert found["classes"] == labels
        assert found["cross_entropy_nats"] == pytest.approx(nats(values[seen], target[seen]))
        assert any("classes without a sample: 'fox'" in note for note in found["notes"])


def test_scores_of_a_column_that_may_be_a_class_or_not(command: Command, tmp_path: Path) -> None:
    """Their sums cannot tell, so the user does."""
    values, target = distributions(4)
    scores, labels, seen = np.log(values) + 0.5, [*PETS, "fox"], target < 3
    truth = {"target": [labels[place] for place in target[seen]]}
    path = write(tmp_path / "a.csv", truth | columns_of(scores[seen], labels, "s_*", range(4)))
    line = refused(command("evaluate", path))
    assert "'s_fox'" in line
    assert "--answers 's_*'" in line
    found = figures(command("evaluate", path, "--answers", "s_*", "--json"))
    assert found["classes"] == labels
    assert found["cross_entropy_nats"] == pytest.approx(nats(values[seen], target[seen]))
    three = ",".join(f"s_{label}" for label in PETS)
    found = figures(command("evaluate", path, "--answers", three, "--json"))
    assert found["classes"] == list(PETS)
    kept = values[seen][:, :3] / values[seen][:, :3].sum(axis=1, keepdims=True)
    assert found["cross_entropy_nats"] == pytest.approx(nats(kept, target[seen]))


def test_columns_of_parquet_that_concern_nobody(command: Command, tmp_path: Path) -> None:
    """Gaps, dates and nested columns beside the answers are no reason to refuse them."""
    pyarrow = pytest.importorskip("pyarrow", reason="parquet is optional")
    from pyarrow import parquet

    values, target = distributions(3)
    content = {
        "when": pyarrow.array([0] * 60, pyarrow.timestamp("s")),
        "gaps": pyarrow.array([None, 1.0] * 30),
        "nested": [{"a": 1}] * 60,
        **{f"p_{label}": values[:, place] for place, label in enumerate(PETS)},
        "animal": [PETS[place] for place in target],
    }
    parquet.write_table(pyarrow.table(content), tmp_path / "a.parquet")
    found = figures(command("evaluate", tmp_path / "a.parquet", "--json"))
    assert found["cross_entropy_nats"] == pytest.approx(nats(values, target), rel=1e-12)
    assert "truth: column 'animal'" in found["notes"]
    assert "left out: columns 'when', 'gaps', 'nested'" in found["notes"]


# --- what fits nothing, or too much --------------------------------------------------------------


def test_two_sets_of_columns(command: Command, tmp_path: Path) -> None:
    values, target = distributions(3)
    truth = {"target": [PETS[place] for place in target]}
    first = columns_of(values, PETS, "old_*", (0, 1, 2))
    second = columns_of(values[::-1], PETS, "new_*", (0, 1, 2))
    path = write(tmp_path / "a.csv", truth | first | second)
    line = refused(command("evaluate", path))
    assert all(text in line for text in ("'old_*'", "'new_*'", "--answers"))
    for wanted in ("old_*", "old_dog,old_cat,old_eel", "eel=old_eel,cat=old_cat,dog=old_dog"):
        found = figures(command("evaluate", path, "--answers", wanted, "--json"))
        assert found["cross_entropy_nats"] == pytest.approx(nats(values, target), rel=1e-12)
    found = figures(command("evaluate", path, "--answers", "new_*", "--json"))
    assert found["cross_entropy_nats"] == pytest.approx(nats(values[::-1], target), rel=1e-12)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("Cat", "Dog", "Eel"), "differ in capitals"),
        (("prob_Cat", "prob_Dog", "prob_Eel"), "differ in capitals"),
        (("a", "b", "c"), "no columns are called after the labels"),
        (("prob_cat", "prob_dog", "prob_fox"), "no column is called after the label 'eel'"),
        (("prob_cat", "dog_prob", "p_eel"), "no columns are called after the labels"),
        (("0", "1", "2"), "no columns are called after the labels"),
    ],
)
def test_columns_that_fit_no_labels(
    command: Command, tmp_path: Path, names: tuple[str, ...], expected: str
) -> None:
    values, target = distributions(3)
    answers = dict(zip(names, values.T.tolist(), strict=True))
    path = write(tmp_path / "a.csv", {**answers, "target": [PETS[place] for place in target]})
    line = refused(command("evaluate", path))
    assert expected in line
    assert "--answers LABEL=COLUMN" in line
    assert all(repr(name) in line for name in (*names, *PETS))
    pairs = ",".join(f"{label}={name}" for label, name in zip(PETS, names, strict=True))
    found = figures(command("evaluate", path, "--answers", pairs, "--json"))
    assert found["cross_entropy_nats"] == pytest.approx(nats(values, target), rel=1e-12)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("p_*", "has no column 'p_cat'"),
        ("prob_cat,prob_dgo", "did you mean 'prob_dog'?"),
        ("cat=prob_cat,dog=prob_dog", "no column for the label 'eel'"),
        ("cat=prob_cat,dog=prob_dog,eel=prob_dog", "named twice"),
        ("", "--answers"),
    ],
)
def test_answers_that_are_not_there(
    command: Command, tmp_path: Path, wanted: str, expected: str
) -> None:
    values, target = distributions(3)
    answers = columns_of(values, PETS, "prob_*", (0, 1, 2))
    path = write(tmp_path / "a.csv", {**answers, "target": [PETS[place] for place in target]})
    assert expected in refused(command("evaluate", path, "--answers", wanted))


# --- one column for two classes ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "name", "meant"),
    [
        (("neg", "pos"), "prob_neg", 0),
        (("neg", "pos"), "prob_pos", 1),
        (("neg", "pos"), "neg", 0),
        (("neg", "pos"), "negProb", 0),
        (("neg", "pos"), "P(neg)", 0),
        (("no", "yes"), "probability of no", 0),
        ((0, 1), "p_0", 0),
        ((0, 1), "p1", 1),
        ((0, 1), "prob_class_0", 0),
        (("a", "b"), ".pred_a", 0),
    ],
)
def test_one_column_is_for_the_label_in_its_name(
    command: Command, tmp_path: Path, labels: Sequence[object], name: str, meant: int
) -> None:
    generator = np.random.default_rng(2)
    probability, target = generator.uniform(0.05, 0.95, size=40), np.arange(40) % 2
    path = write(
        tmp_path / "a.csv",
        {
            "index": range(40),
            name: probability.tolist(),
            "target": [labels[int(place)] for place in target],
        },
    )
    found = figures(command("evaluate", path, "--json"))
    own = np.where(target == meant, probability, 1 - probability)
    assert found["cross_entropy_nats"] == pytest.approx(-np.log(own).mean(), rel=1e-12)
    assert any(repr(name) in note and repr(str(labels[meant])) in note for note in found["notes"])


@pytest.mark.parametrize(
    "name", ["prob", "score", "not_pos", "1-pos", "prob_positive", "pos_or_neg", "apos", "Pos"]
)
def test_one_column_whose_name_says_nothing(command: Command, tmp_path: Path, name: str) -> None:
    probability, target = np.linspace(0.05, 0.95, 40), np.arange(40) % 2
    truth = [("neg", "pos")[place] for place in target]
    path = write(tmp_path / "a.csv", {name: probability.tolist(), "target": truth})
    assert "--answers LABEL=COLUMN" in refused(command("evaluate", path))
    for meant, label in enumerate(("neg", "pos")):
        found = figures(command("evaluate", path, "--answers", f"{label}={name}", "--json"))
        own = np.where(target == meant, probability, 1 - probability)
        assert found["cross_entropy_nats"] == pytest.approx(-np.log(own).mean(), rel=1e-12)


def test_one_column_of_an_array(command: Command, tmp_path: Path) -> None:
    probability, target = np.linspace(0.05, 0.95, 40), np.arange(40) % 2
    truth = np.array(["neg", "pos"])[target]
    np.savez(tmp_path / "a.npz", X=probability[:, None], y=truth)
    own = np.where(target == 1, probability, 1 - probability)
    found = figures(command("evaluate", tmp_path / "a.npz", "--json"))
    assert found["cross_entropy_nats"] == pytest.approx(-np.log(own).mean(), rel=1e-12)
    assert any("for 'pos', the last" in note for note in found["notes"])
    found = figures(command("evaluate", tmp_path / "a.npz", "--answers", "neg", "--json"))
    assert found["cross_entropy_nats"] == pytest.approx(-np.log(1 - own).mean(), rel=1e-12)


def test_columns_of_an_array_are_told_in_order(command: Command, tmp_path: Path) -> None:
    values, target = distributions(3)
    np.savez(tmp_path / "a.npz", X=values[:, [2, 0, 1]], y=np.array(PETS)[target])
    found = figures(command("evaluate", tmp_path / "a.npz", "--answers", "eel,cat,dog", "--json"))
    assert found["cross_entropy_nats"] == pytest.approx(nats(values, target), rel=1e-12)
    line = refused(command("evaluate", tmp_path / "a.npz", "--answers", "eel,cat"))
    assert "--answers: expected the labels of the 3 columns" in line
    sorted_labels = figures(command("evaluate", tmp_path / "a.npz", "--json"))
    assert any("'cat', 'dog', 'eel'" in note for note in sorted_labels["notes"])


# --- what the numbers mean -----------------------------------------------------------------------


def one_against_the_rest() -> tuple[Array, Array]:
    values, target = distributions(3)
    odds = values / (1 - values) * np.array([3.0, 0.4, 1.5])
    return odds / (1 + odds), target


def test_one_against_the_rest(command: Command, tmp_path: Path) -> None:
    values, target = one_against_the_rest()
    truth = {"target": [PETS[place] for place in target]}
    path = write(tmp_path / "a.csv", truth | columns_of(values, PETS, "*", (0, 1, 2)))
    line = refused(command("evaluate", path))
    assert all(option in line for option in ("--normalize", "--scores"))
    shares = values / values.sum(axis=1, keepdims=True)
    found = figures(command("evaluate", path, "--normalize", "--json"))
    assert found["cross_entropy_nats"] == pytest.approx(nats(shares, target), rel=1e-12)
    softmax = np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)
    found = figures(command("evaluate", path, "--scores", "--json"))
    assert found["cross_entropy_nats"] == pytest.approx(nats(softmax, target), rel=1e-12)
    assert "--normalize" in refused(command("evaluate", path, "--probabilities"))


@pytest.mark.parametrize("decimals", [None, 0, 1, 2])
def test_per_cent(command: Command, tmp_path: Path, decimals: int | None) -> None:
    values, target = distributions(3)
    values = 0.02 + 0.94 * values  # none is rounded to 0
    written = 100 * values if decimals is None else (100 * values).round(decimals)
    truth = {"target": [PETS[place] for place in target]}
    path = write(tmp_path / "a.csv", truth | columns_of(written, PETS, "p_*", (1, 0, 2)))
    line = refused(command("evaluate", path))
    assert all(option in line for option in ("--percent", "--scores"))
    found = figures(command("evaluate", path, "--percent", "--json"))
    assert found["input_kind"] == "probabilities"
    assert found["cross_entropy_nats"] == pytest.approx(nats(written / 100, target), rel=1e-12)


def test_per_cent_of_one_against_the_rest(command: Command, tmp_path: Path) -> None:
    values, target = one_against_the_rest()
    truth = {"target": [PETS[place] for place in target]}
    path = write(tmp_path / "a.csv", truth | columns_of(100 * values, PETS, "*", (0, 1, 2)))
    assert "--normalize" in refused(command("evaluate", path, "--percent"))
    shares = values / values.sum(axis=1, keepdims=True)
    found = figures(command("evaluate", path, "--percent", "--normalize", "--json"))
    assert found["cross_entropy_nats"] == pytest.approx(nats(shares, target), rel=1e-12)
    said = command("evaluate", path)
    assert said.code == 2 or "taken as scores" in said.out


def test_per_cent_of_one_column(command: Command, tmp_path: Path) -> None:
    probability, target = np.linspace(0.05, 0.95, 40), np.arange(40) % 2
    truth = [("neg", "pos")[place] for place in target]
    path = write(tmp_path / "a.csv", {"p_pos": (100 * probability).tolist(), "target": truth})
    line = refused(command("evaluate", path))
    assert all(option in line for option in ("--percent", "--scores"))
    own = np.where(target == 1, probability, 1 - probability)
    found = figures(command("evaluate", path, "--percent", "--json"))
    assert found["cross_entropy_nats"] == pytest.approx(-np.log(own).mean(), rel=1e-12)


def test_counts(command: Command, tmp_path: Path) -> None:
    values, target = distributions(3)
    votes = np.stack([np.random.default_rng(3).multinomial(500, row) for row in values]) + 1
    truth = {"target": [PETS[place] for place in target]}
    path = write(tmp_path / "a.csv", truth | columns_of(votes, PETS, "*", (0, 1, 2)))
    line = refused(command("evaluate", path))
    assert "all rows sum to 503" in line
    assert "--normalize" in line
    found = figures(command("evaluate", path, "--normalize", "--json"))
    assert found["cross_entropy_nats"] == pytest.approx(nats(votes / 503, target), rel=1e-12)


def test_scores_none_of_which_is_below_0_are_said_to_be_scores(
    command: Command, tmp_path: Path
) -> None:
    values, target = distributions(3)
    scores = np.log(values) + 20 + np.arange(60)[:, None] / 7
    truth = {"target": [PETS[place] for place in target]}
    path = write(tmp_path / "a.csv", truth | columns_of(scores, PETS, "*", (0, 1, 2)))
    found = figures(command("evaluate", path, "--json"))
    assert found["cross_entropy_nats"] == pytest.approx(nats(values, target), rel=1e-10)
    assert any("taken as scores" in note for note in found["notes"])
    quiet = figures(command("evaluate", path, "--scores", "--json"))
    assert not any("taken as scores" in note for note in quiet["notes"])


@pytest.mark.parametrize("classes", [2, 3, 10, 40])
@pytest.mark.parametrize("form", ["{:.2f}", "{:.3f}", "{:.4f}", "{:.3g}", "{:.2e}", "{:.6f}"])
def test_probabilities_rounded_as_text(
    command: Command, tmp_path: Path, classes: int, form: str
) -> None:
    values, target = distributions(classes, 4 * classes)
    labels = [f"k{place}" for place in range(classes)]
    answers = {
        f"p_{label}": [form.format(value) for value in values[:, place]]
        for place, label in enumerate(labels)
    }
    path = write(tmp_path / "a.csv", {**answers, "target": [labels[place] for place in target]})
    written = np.array([[float(text) for text in column] for column in answers.values()]).T
    with np.errstate(divide="ignore"):
        expected = nats(written, target)
    found = figures(command("evaluate", path, "--json"))
    assert found["input_kind"] == "probabilities"
    if np.isinf(expected):
        assert found["cross_entropy_nats"] == "Infinity"
        zeros = int((written[np.arange(len(target)), target] == 0).sum())
        assert f"{zeros} of the targets' were rounded to 0: an infinite loss each" in found["notes"]
    else:
        assert found["cross_entropy_nats"] == pytest.approx(expected, rel=1e-12)
    exact = (np.abs(written.sum(axis=1) - 1) < 1e-5).all()
    assert exact or any("used as they are" in note for note in found["notes"])


def test_one_row_that_is_broken(command: Command, tmp_path: Path) -> None:
    values, target = distributions(3)
    written = values.round(3)
    written[7] = [0.5, 0.2, 0.2]
    truth = {"target": [PETS[place] for place in target]}
    path = write(tmp_path / "a.csv", truth | columns_of(written, PETS, "*", (0, 1, 2)))
    line = refused(command("evaluate", path))
    assert "a.csv: line 9 sums to 0.9, expected a distribution as most rows are" in line


def test_probabilities_below_0_by_rounding_are_no_scores(command: Command, tmp_path: Path) -> None:
    values, target = distributions(3)
    values[7] = [1 + 1e-9, -1e-9, 0]
    truth = {"target": [PETS[place] for place in target]}
    path = write(tmp_path / "a.csv", truth | columns_of(values, PETS, "*", (0, 1, 2)))
    assert "row 7 has -1e-09 at class 1" in refused(command("evaluate", path))


def test_one_column_of_log_odds(command: Command, tmp_path: Path) -> None:
    odds, target = np.linspace(-3, 4, 40), np.arange(40) % 2
    truth = [("neg", "pos")[place] for place in target]
    path = write(tmp_path / "a.csv", {"score_neg": odds.tolist(), "target": truth})
    found = figures(command("evaluate", path, "--json"))
    assert found["input_kind"] == "scores"
    own = np.where(target == 0, odds, -odds)
    assert found["cross_entropy_nats"] == pytest.approx(np.log1p(np.exp(-own)).mean(), rel=1e-12)


def test_two_columns_that_each_answer_for_one_of_two(command: Command, tmp_path: Path) -> None:
    probability, target = np.linspace(0.05, 0.95, 40), np.arange(40) % 2
    truth = [("neg", "pos")[place] for place in target]
    columns = {"pos": probability.tolist(), "score_neg": probability.tolist(), "target": truth}
    line = refused(command("evaluate", write(tmp_path / "a.csv", columns)))
    assert "columns 'pos', 'score_neg' each answer for one label" in line


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--scores", "--normalize"], "--normalize: expected without --scores"),
        (["--scores", "--percent"], "--percent: expected without --scores"),
        (["--model", "none", "--answers", "p_*"], "--answers: expected without --model"),
        (["--model", "none", "--normalize"], "--normalize: expected without --model"),
        (["--na", "mean"], "--na: expected with --model"),
    ],
)
def test_options_that_exclude_each_other(
    command: Command, options: list[str], expected: str
) -> None:
    assert expected in refused(command("evaluate", "a.csv", *options))


@pytest.mark.parametrize(
    ("options", "cell", "expected"),
    [
        (["--normalize"], "-0.5", "line 4: --normalize: expected numbers of 0 or above"),
        (["--probabilities"], "-0.5", "line 4: --probabilities: expected 0 to 1"),
        (["--percent"], "250", "line 4: --percent: expected 0 to 100"),
        ([], "many", "line 4, column 'cat': text in a numeric column: 'many'"),
        ([], "", "line 4, column 'cat': missing value"),
        ([], "nan", "line 4, column 'cat': missing value ('nan')"),
    ],
)
def test_a_cell_that_is_no_answer(
    command: Command, tmp_path: Path, options: list[str], cell: str, expected: str
) -> None:
    values, target = distributions(3)
    columns = columns_of(values, PETS, "*", (0, 1, 2))
    columns["cat"] = [*columns["cat"][:2], cell, *columns["cat"][3:]]
    path = write(tmp_path / "a.csv", {**columns, "target": [PETS[place] for place in target]})
    assert expected in refused(command("evaluate", path, *options))


# --- the judge -----------------------------------------------------------------------------------


def test_the_judge_is_told_the_kind() -> None:
    values, target = one_against_the_rest()
    softmax = np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)
    found = bridle.evaluate(values, target, kind="scores")
    assert found.cross_entropy_nats == pytest.approx(nats(softmax, target))
    with pytest.raises(bridle.InputError, match=r"row 0 sums to .* expected a distribution \("):
        judge.evaluate(values, target, kind="probabilities")
    with pytest.raises(bridle.InputError, match="expected"):
        judge.evaluate(values - 1, target, kind="probabilities")
    with pytest.raises(bridle.InputError, match="kind: expected one of auto, scores, prob"):
        judge.evaluate(values, target, kind="logits")  # type: ignore[arg-type]
    distribution, target = distributions(3)
    softmax = np.exp(distribution) / np.exp(distribution).sum(axis=1, keepdims=True)
    found = bridle.evaluate(distribution, target, kind="scores")
    assert found.cross_entropy_nats == pytest.approx(nats(softmax, target))


@given(
    st.integers(2, 12),
    st.integers(0, 2**32 - 1),
    st.integers(2, 6),
    st.sampled_from([1.0, 100.0]),
    st.sampled_from([np.float64, np.float32]),
)
def test_rounding_never_parts_a_row_from_its_sum(
    classes: int, seed: int, decimals: int, total: float, dtype: Any
) -> None:
    values, _ = distributions(classes, 20, seed)
    places = decimals if total == 1 else decimals - 2
    written = (total * values).round(places).astype(dtype)
    assert kinds.row_sums(written, total).fits


@given(st.integers(2, 12), st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_rounding_excuses_no_more_than_itself(classes: int, seed: int, decimals: int) -> None:
    values, _ = distributions(classes, 20, seed)
    written = values.round(decimals)
    written[13, 0] += (classes + 2) * 10.0**-decimals
    found = kinds.row_sums(written.round(decimals))
    # A tenth of a per mille is what half precision is granted.
    assert found.bad_row == 13 or (classes + 3) * 10.0**-decimals < 2e-3


# --- chains: fit, predict, evaluate --------------------------------------------------------------


def shops(path: Path, count: int, seed: int, target: str = "kind", gaps: str = "") -> Path:
    """Write a table of texts, numbers and an id; where asked for, some values are missing."""
    generator = np.random.default_rng(seed)
    kind = np.arange(count) % 3
    size = generator.normal(size=count) + kind
    towns = np.array(["Ash", "Bath", "Ely", "York"])[generator.integers(0, 4, count)]
    sizes: list[object] = size.tolist()
    if gaps:
        sizes[3::5] = ["NA"] * len(sizes[3::5])
    if gaps == "size and town":
        towns[2::7] = ""
    return write(
        path,
        {
            "id": [f"s{seed}-{n:03}" for n in range(count)],
            "size": sizes,
            "town": towns.tolist(),
            target: np.array(["bakery", "chemist", "draper"])[kind].tolist(),
        },
    )


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("target", "gaps", "na"),
    [
        ("kind", "", []),
        ("target", "", []),
        ("draper", "", []),
        ("y", "size", ["--na", "mean"]),
        ("kind", "size and town", ["--na", "0"]),
    ],
)
def test_fit_predict_evaluate(
    command: Command, tmp_path: Path, target: str, gaps: str, na: list[str]
) -> None:
    train = shops(tmp_path / "train.csv", 90, 1, target, gaps)
    test = shops(tmp_path / "test.csv", 40, 2, target, gaps)
    out, predicted = tmp_path / "model", tmp_path / "p.csv"
    assert command("fit", train, "--target", target, *na, "--out", out, "--quiet").code == 0
    answer = command("predict", out, test, "--out", predicted)
    assert (answer.code, answer.out) == (0, "")
    assert answer.err.count("\n") == bool(gaps)  # how many values were missing
    assert ("missing values are filled" in answer.err) == bool(gaps)

    rows, truth = table(predicted), table(test)
    classes = ["bakery", "chemist", "draper"]
    named = [f"p_{label}" for label in classes] if target == "draper" else classes
    assert list(rows[0]) == ["id", target, "predicted", "probability", *named]
    assert [row["id"] for row in rows] == [row["id"] for row in truth]
    assert [row[target] for row in rows] == [row[target] for row in truth]
    own = [float(row[named[classes.index(row[target])]]) for row in rows]
    right = [row["predicted"] == row[target] for row in rows]

    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"{row[target]}\n" for row in truth))
    for arguments in ([], ["--target", target], ["--labels", labels]):
        found = figures(command("evaluate", predicted, *arguments, "--json"))
        assert found["classes"] == classes
        assert found["input_kind"] == "probabilities"
        assert found["cross_entropy_nats"] == pytest.approx(-np.log(own).mean(), rel=1e-12)
        assert found["accuracy"] == np.mean(right)
        assert found["most_surprising"][0]["index"] == rows[int(np.argmin(own))]["id"]
        left_out = "".join(note for note in found["notes"] if note.startswith("left out"))
        assert "'predicted', 'probability'" in left_out
    by_model = json.loads(command("evaluate", "--model", out, test, "--json").out)
    assert by_model["cross_entropy_nats"] == pytest.approx(-np.log(own).mean(), rel=1e-6)

    # What the fit itself wrote of the samples it held out is judged to the same figures.
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))["evaluation"]
    found = figures(command("evaluate", out / "predictions.csv", "--json"))
    for name in ("classes", "accuracy", "samples", "infinite_losses"):
        assert found[name] == metrics[name]
    for name in ("cross_entropy_nats", "brier_score", "expected_calibration_error"):
        assert found[name] == pytest.approx(metrics[name], rel=1e-6)


def test_predict_keeps_what_names_rows(command: Command, tmp_path: Path) -> None:
    train = shops(tmp_path / "train.csv", 60, 1)
    assert command("fit", train, "--target", "kind", "--out", tmp_path / "m", "--quiet").code == 0
    rows = table(shops(tmp_path / "test.csv", 10, 2))
    columns: dict[str, Sequence[object]] = {
        "Unnamed": [row["id"] for row in rows],
        "customer_id": [f"00{n}" for n in range(10)],
        "userId": list(range(10)),
        "file name": [f"{n}.txt" for n in range(10)],
        "remark": ["valid"] * 10,
        "size": [row["size"] for row in rows],
        "town": [row["town"] for row in rows],
    }
    predicted = tmp_path / "p.csv"
    test = write(tmp_path / "other.csv", columns)
    assert command("predict", tmp_path / "m", test, "--out", predicted) == (0, "", "")
    kept = table(predicted)
    assert list(kept[0])[:6] == [
        "id", "customer_id", "userId", "file name", "predicted", "probability",
    ]  # fmt: skip
    assert [row["customer_id"] for row in kept] == columns["customer_id"]
    assert [row["id"] for row in kept] == [str(n) for n in range(10)]
    compact = command("predict", tmp_path / "m", test, "--compact")
    assert compact.out.splitlines()[0] == "id,predicted,probability"
    line = refused(command("predict", tmp_path / "m", test, "--target", "kind"))
    assert "--target: " in line
    assert "no column 'kind'" in line


def test_predict_says_that_a_truth_with_gaps_is_not_kept(command: Command, tmp_path: Path) -> None:
    train = shops(tmp_path / "train.csv", 60, 1)
    assert command("fit", train, "--target", "kind", "--out", tmp_path / "m", "--quiet").code == 0
    rows = table(shops(tmp_path / "test.csv", 10, 2))
    rows[4]["kind"] = ""
    test = write(tmp_path / "a.csv", {name: [row[name] for row in rows] for name in rows[0]})
    answer = command("predict", tmp_path / "m", test)
    assert answer.code == 0
    assert "the target is not used" in answer.err
    assert "line 6" in answer.err
    assert answer.out.startswith("id,predicted,probability,bakery,")


HOSTILE = ("=cmd()", "-2", "a,b", 'q"q', "two\nlines", "naïve 🎈", "a\r=b", "'quoted", "plain")


@pytest.mark.parametrize("labels", [HOSTILE, (-2, 7, 10), ("007", "7", "07")], ids=str)
def test_labels_of_any_spelling_survive_the_chain(
    command: Command, tmp_path: Path, labels: Sequence[object]
) -> None:
    generator = np.random.default_rng(0)
    target = np.arange(90) % len(labels)
    np.savez(
        tmp_path / "a.npz",
        X=generator.normal(size=(90, 4)) + target[:, None] % 3,
        y=np.array(labels)[target],
    )
    out, predicted = tmp_path / "m", tmp_path / "p.csv"
    assert command("fit", tmp_path / "a.npz", "--out", out, "--quiet").code == 0
    assert command("predict", out, tmp_path / "a.npz", "--out", predicted) == (0, "", "")
    by_model = figures(command("evaluate", "--model", out, tmp_path / "a.npz", "--json"))
    np.save(tmp_path / "y.npy", np.array(labels)[target])
    for arguments in ([], ["--labels", tmp_path / "y.npy"]):
        found = figures(command("evaluate", predicted, *arguments, "--json"))
        assert found["accuracy"] == by_model["accuracy"]
        for name in ("cross_entropy_nats", "brier_score"):
            assert found[name] == pytest.approx(by_model[name], rel=1e-6)
        assert len(found["classes"]) == len(labels)


def test_what_a_network_predicts_is_judged(command: Command, tmp_path: Path) -> None:
    arguments = ("--hidden", "3", "--epochs", "2", "--out", tmp_path, "--quiet")
    assert command("train", "iris", *arguments).code == 0
    assert command("predict", tmp_path, "iris", "--out", tmp_path / "p.csv") == (0, "", "")
    found = figures(command("evaluate", tmp_path / "p.csv", "--json"))
    by_model = figures(command("evaluate", "--model", tmp_path, "iris", "--json"))
    assert found["cross_entropy_nats"] == pytest.approx(by_model["cross_entropy_nats"], rel=1e-6)


def test_a_class_that_an_apostrophe_would_make_another(command: Command, tmp_path: Path) -> None:
    """``=a`` is written as ``'=a``, which is the name of the other class."""
    labels = np.array(["=a", "'=a", "b"])[np.arange(30) % 3]
    X = np.random.default_rng(0).normal(size=(30, 2))
    np.savez(tmp_path / "a.npz", X=X, y=labels)
    assert command("fit", tmp_path / "a.npz", "--out", tmp_path / "m", "--quiet").code == 0
    header = command("predict", tmp_path / "m", tmp_path / "a.npz").out.splitlines()[0]
    assert header == "id,target,predicted,probability,p_'=a,p_=a,p_b"


@pytest.mark.parametrize(
    "labels",
    [
        ("predicted", "probability"),
        ("id", "target", "x"),
        ("y", "class"),
        ("a*", "b=c"),
        ("Index", "index"),
    ],
)
def test_classes_that_are_called_as_other_columns(
    command: Command, tmp_path: Path, labels: tuple[str, ...]
) -> None:
    target = np.arange(40) % len(labels)
    X = np.random.default_rng(0).normal(size=(40, 3)) + target[:, None]
    np.savez(tmp_path / "a.npz", X=X, y=np.array(labels)[target])
    out = tmp_path / "m"
    assert command("fit", tmp_path / "a.npz", "--holdout", "0", "--out", out, "--quiet").code == 0
    assert command("predict", out, tmp_path / "a.npz", "--out", tmp_path / "p.csv").code == 0
    by_model = figures(command("evaluate", "--model", out, tmp_path / "a.npz", "--json"))
    for path in (tmp_path / "p.csv", out / "predictions.csv"):
        found = figures(command("evaluate", path, "--json"))
        assert found["classes"] == by_model["classes"]
        assert found["cross_entropy_nats"] == pytest.approx(by_model["cross_entropy_nats"])


def test_more_classes_than_predictions_have_columns_for(command: Command, tmp_path: Path) -> None:
    classes = 1001
    X = np.random.default_rng(0).normal(size=(2 * classes, 2)).astype(np.float32)
    np.savez(tmp_path / "a.npz", X=X, y=np.arange(2 * classes) % classes)
    out = tmp_path / "m"
    fitted = command("fit", tmp_path / "a.npz", "--holdout", "0", "--tol", "0.1", "--out", out)
    assert fitted.code == 0
    with (out / "predictions.csv").open() as file:
        assert file.readline() == "id,target,predicted,probability,surprisal\n"
    assert "predictions.csv" in refused(command("evaluate", out / "predictions.csv"))


def test_an_array_of_one_axis_is_one_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "p.npy", np.array([0.9, 0.2, 0.6]))
    (tmp_path / "y.txt").write_text("yes\nno\nyes\n")
    assert run(["evaluate", str(tmp_path / "p.npy"), "--labels", str(tmp_path / "y.txt")]) == 0
    out = capsys.readouterr().out
    assert "the one column is for 'yes', the last of the labels" in out
    assert f"cross-entropy {-np.log([0.9, 0.8, 0.6]).mean():16.4f} nats" in out


@pytest.mark.parametrize("key", ["id", "file name"])
@pytest.mark.parametrize("number", [False, True])
def test_labels_go_with_the_names_of_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, number: bool
) -> None:
    names = [str(100 + row) if number else f"r{row}" for row in range(4)]
    answers = [
        f"{name},{1 - p:.2f},{p:.2f}" for name, p in zip(names, (0.9, 0.2, 0.6, 0.3), strict=True)
    ]
    (tmp_path / "p.csv").write_text("\n".join([f"{key},no,yes", *answers]) + "\n")
    truth = dict(zip(names, ("yes", "no", "yes", "yes"), strict=True))
    labels = tmp_path / "y.csv"
    command = ["evaluate", str(tmp_path / "p.csv"), "--labels", str(labels), "--json"]
    for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
        rows = [f"{names[row]},{truth[names[row]]}" for row in order]
        labels.write_text("\n".join([f"{key},label", *rows]) + "\n")
        assert run(command) == 0
        found = json.loads(capsys.readouterr().out)
        expected = -np.log([0.9, 0.8, 0.6, 0.3]).mean()
        assert found["cross_entropy_nats"] == pytest.approx(expected)
        said = f"{labels}: labels are matched with the rows by column '{key}'"
        assert (said in found["notes"]) == (order != sorted(order))
    labels.write_text(labels.read_text().replace(names[3], "other"))
    assert run(command) == 2
    assert f"column '{key}' has no '{names[3]}', which that of" in capsys.readouterr().err


def test_a_lone_column_beside_others_of_its_kind_is_no_answer_by_guess(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("y,p1,p2\n0,0.9,0.1\n1,0.2,0.8\n1,0.4,0.6\n")
    assert run(["evaluate", str(path)]) == 2
    error = capsys.readouterr().err
    assert "is column 'p1' the answer for the label '1', with 'p2' beside it?" in error
    loss = -np.log([0.9, 0.8, 0.6]).mean()
    for told, expected in (("0=p1,1=p2", loss), ("1=p1", -np.log([0.1, 0.2, 0.4]).mean())):
        assert run(["evaluate", str(path), "--answers", told, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)["cross_entropy_nats"]
        assert found == pytest.approx(expected)
    # Beside what is no answer it stands alone.
    path.write_text("y,p_1,p_id,fold\n0,0.1,7,1\n1,0.8,8,2\n1,0.6,9,3\n")
    assert run(["evaluate", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cross_entropy_nats"] == pytest.approx(loss)


def test_rows_that_sum_to_one_and_are_no_probabilities(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("y,no,yes\nno,1.2,-0.2\nyes,0.3,0.7\n")
    assert run(["evaluate", str(path)]) == 2
    expected = (
        "rows sum to 1, but entries go from -0.2 to 1.2, which probabilities do not: --scores"
    )
    assert expected in capsys.readouterr().err
    assert run(["evaluate", str(path), "--scores", "--json"]) == 0
    loss = np.log1p(np.exp([-1.4, -0.4])).mean()
    found = json.loads(capsys.readouterr().out)["cross_entropy_nats"]
    assert found == pytest.approx(loss)


# --- several files: is one better? ----------------------------------------------------------------


def test_two_models_are_compared_row_by_row(command: Command, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = np.array(["ant", "bee", "fly"])
    truth = labels[random.integers(0, 3, 120)]
    ids = [f"r{row}" for row in range(120)]
    clear = np.where(truth[:, None] == labels, 0.7, 0.15)
    vague = np.where(truth[:, None] == labels, 0.5, 0.25)
    shuffled = random.permutation(120)
    one = pd.DataFrame(clear, columns=labels).assign(id=ids, truth=truth)
    two = pd.DataFrame(vague[:, [2, 0, 1]], columns=["p_fly", "p_ant", "p_bee"])
    two = two.assign(id=ids, truth=truth).iloc[shuffled]
    one.to_csv(tmp_path / "new.csv", index=False)
    two.to_csv(tmp_path / "old.csv", index=False)
    paths = [tmp_path / "new.csv", tmp_path / "old.csv"]
    code, text, error = command("evaluate", *paths)
    assert (code, error) == (0, "")
    assert "new less old" in text
    code, text, _ = command("evaluate", *paths, "--json")
    loss = json.loads(text)["differences"][0]
    assert loss["difference"] == pytest.approx(np.log(0.5) - np.log(0.7), rel=1e-6)
    assert loss["first_wins"] == 1.0
    other = one.assign(truth=np.roll(truth, 1))
    other.to_csv(tmp_path / "other.csv", index=False)
    for arguments, message in (
        ((paths[0], tmp_path / "other.csv"), "other: expected answers to the same 120 samples"),
        ((paths[0], paths[0]), "expected different files"),
        ((*paths, "--model", "m"), "--model: expected one file of data, found 2"),
    ):
        code, out, error = command("evaluate", *arguments)
        assert (code, out) == (2, "")
        assert message in error
