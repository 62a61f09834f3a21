"""What slices of the samples and decisions cost, by hand and as a user asks the command for it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from bridle.checks import InputError
from bridle.data.cost_matrix import load_costs
from bridle.judge import (
    best_decisions,
    decision_figures,
    evaluate,
    mean_interval,
    share_interval,
    slice_figures,
    threshold_table,
)
from commands import Command

Array = npt.NDArray[Any]
HOSTILE = "<script>alert(1)</script>"


def made(count: int = 120, classes: int = 3, seed: int = 0) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    target = np.arange(count) % classes
    answers = random.dirichlet(np.ones(classes), count) + 0.7 * np.eye(classes)[target]
    return answers / answers.sum(axis=1, keepdims=True), target


# --- slices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("weighed", [False, True])
def test_a_slice_has_the_figures_of_its_rows(weighed: bool, grouped: bool) -> None:
    answers, target = made()
    site = np.array(["north", "south", "west"])[np.random.default_rng(1).integers(3, size=120)]
    weight = np.random.default_rng(2).integers(0, 3, 120) if weighed else None
    groups = np.arange(120) // 7 if grouped else None
    whole = evaluate(answers, target, sample_weight=weight, groups=groups)
    found = slice_figures(whole, {"site": site}, groups=groups)
    assert sorted(each.value for each in found) == ["north", "south", "west"]
    losses = [each.cross_entropy_nats for each in found]
    assert losses == sorted(losses, reverse=True)
    for each in found:
        rows = site == each.value
        told: dict[str, Any] = {"sample_weight": None if weight is None else weight[rows]}
        alone = evaluate(answers[rows], target[rows], **told)
        assert each.column == "site"
        assert each.samples == alone.samples
        for name in ("cross_entropy_nats", "brier_score", "accuracy"):
            assert getattr(each, name) == pytest.approx(getattr(alone, name), rel=1e-12)
        told["groups"] = None if groups is None else groups[rows]
        losses_of = whole.outcomes.surprisal[rows]
        low, high = mean_interval(losses_of, **told)
        assert each.intervals["cross_entropy_nats"] == pytest.approx((max(0, low), high))
        right = share_interval(whole.outcomes.correct[rows], **told)
        assert each.intervals["accuracy"] == pytest.approx(right)


def test_slices_that_fit_no_sample() -> None:
    whole = evaluate(*made(6))
    with pytest.raises(InputError, match=r"slices: site: expected shape \(6,\)"):
        slice_figures(whole, {"site": ["a"]})
    with pytest.raises(InputError, match="slices: site"):
        slice_figures(whole, {"site": np.array([None] * 6)})


# --- costs ----------------------------------------------------------------------------------------


def test_decisions_are_counted_by_hand() -> None:
    answers, target = made(90, 3)
    names = ["a", "b", "c"]
    cost = np.array([[0.0, 2, 5], [1, 0, 1], [9, 3, -1]])
    labels = np.array(names)[target]
    found = decision_figures(answers, labels, cost, classes=names)
    decided = best_decisions(answers, cost)
    seen = [cost[truth, action] for truth, action in zip(target, decided.action, strict=True)]
    assert found.cost == pytest.approx(np.mean(seen))
    assert found.cost_interval == pytest.approx(mean_interval(seen))
    assert found.expected_cost == pytest.approx(decided.expected_cost.mean())
    likely = [cost[truth, row.argmax()] for truth, row in zip(target, answers, strict=True)]
    assert found.most_probable_cost == pytest.approx(np.mean(likely))
    always = [np.mean([cost[truth, action] for truth in target]) for action in range(3)]
    assert found.constant_action == names[int(np.argmin(always))]
    assert found.constant_cost == pytest.approx(min(always))
    assert [each.samples for each in found.per_action] == np.bincount(
        decided.action, minlength=3
    ).tolist()
    for place, each in enumerate(found.per_action):
        rows = decided.action == place
        assert each.cost == pytest.approx(np.array(seen)[rows].mean())
        assert each.expected_cost == pytest.approx(decided.expected_cost[rows].mean())
    assert found.thresholds == ()
    assert found.best_threshold is None


def test_calibrated_answers_cost_what_they_expect() -> None:
    random = np.random.default_rng(0)
    p = random.uniform(size=20_000)
    target = (random.random(20_000) < p).astype(int)
    cost = [[0.0, 1.0], [10.0, 2.0]]
    found = decision_figures(p, target, cost)
    low, high = found.cost_interval
    assert low <= found.expected_cost <= high
    assert found.most_probable_cost is not None
    assert found.cost < min(found.most_probable_cost, found.constant_cost)
    assert found.best_threshold == pytest.approx(1 / 9)
    table = threshold_table(p, target == 1, miss_cost=8, alarm_cost=1)
    # Compared as text: the share of nothing is no number, and equal to none.
    assert str(found.thresholds) == str(table)
    right = 2.0 * np.mean(target == 1)  # what right calls cost is set aside
    at = threshold_table(p, target == 1, [1 / 9], miss_cost=8, alarm_cost=1)[0]
    assert at.cost + right == pytest.approx(found.cost)
    assert at.cost_interval.low < at.cost < at.cost_interval.high


def test_weight_k_is_k_copies() -> None:
    answers, target = made(60, 2)
    weight = np.random.default_rng(3).integers(0, 4, 60)
    rows = np.arange(60).repeat(weight)
    cost = [[0.0, 3.0], [1.0, 0.5]]
    weighed = decision_figures(answers, target, cost, sample_weight=weight)
    copied = decision_figures(answers[rows], target[rows], cost)
    assert weighed.cost == pytest.approx(copied.cost)
    assert weighed.cost_interval == pytest.approx(copied.cost_interval)
    assert weighed.thresholds[7].precision == pytest.approx(copied.thresholds[7].precision)
    assert weighed.thresholds[7].recall_interval == pytest.approx(
        copied.thresholds[7].recall_interval
    )


def test_actions_that_are_no_classes() -> None:
    answers, target = made(30, 3)
    cost = np.random.default_rng(0).random((3, 2))
    found = decision_figures(answers, target, cost, actions=["wait", "operate"])
    assert found.most_probable_cost is None
    assert [each.action for each in found.per_action] == ["wait", "operate"]
    never = decision_figures(answers, target, [[0, 1.0]] * 3, actions=["wait", "operate"])
    assert never.per_action[1].samples == 0
    assert math.isnan(never.per_action[1].cost)
    with pytest.raises(InputError, match="actions: expected the classes in their order"):
        decision_figures(answers, target, np.eye(3), actions=[2, 1, 0])
    with pytest.raises(InputError, match=r"cost: expected shape \(3, actions\)"):
        decision_figures(answers, target, np.eye(4))


# --- a file of costs ------------------------------------------------------------------------------

GOOD = [
    ("0,1\n5,0\n", None),
    ("0;1\n5;0\n", None),
    ("# what it costs\n,no,yes\nno,0,1\nyes,5,0\n", ("no", "yes")),
    ("true,yes,no\nyes,0,5\nno,1,0\n", ("no", "yes")),
    (";no;yes\nno;0,0;1,0\nyes;5,0;0,0\n", ("no", "yes")),
    ("\tno\tyes\r\nno\t0\t1\r\nyes\t5\t0\r\n", ("no", "yes")),
]


@pytest.mark.parametrize(("text", "actions"), GOOD)
def test_costs_are_read_with_names_or_without(
    tmp_path: Path, text: str, actions: tuple[str, ...] | None
) -> None:
    path = tmp_path / "costs.csv"
    path.write_text(text, newline="")
    costs, found = load_costs(path, ["no", "yes"])
    assert costs.tolist() == [[0, 1], [5, 0]]
    assert found == actions


BAD = [
    ("0,1\n", "expected a row of costs for each of the 2 classes"),
    ("0,1\n5\n", "line 2: 1 cells, expected 2"),
    ("0,x\n5,0\n", "line 1: expected a finite cost, found 'x'"),
    ("0,inf\n5,0\n", "line 1: expected a finite cost"),
    (",no,yes\nno,0,1\nno,5,0\n", "line 3: 'no' is a class that has a row already"),
    (",no,yes\nno,0,1\nYes,5,0\n", "did you mean 'yes'"),
    (",no,no\nno,0,1\nyes,5,0\n", "line 1: expected different names"),
    ("c\nno\nyes\n", "line 2: expected costs, found none"),
    ("0,1\n5,\x000\n", "NUL"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_costs_that_are_none_are_refused_with_the_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "costs.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_costs(path, ["no", "yes"])


def test_a_file_of_costs_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_costs(tmp_path / "absent.csv", ["no", "yes"])
    path = tmp_path / "costs.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError):
        load_costs(path, ["no", "yes"])
    path.write_bytes(b"0,1\n\xe9,0\n")
    with pytest.raises(InputError, match="line 2: not UTF-8"):
        load_costs(path, ["no", "yes"])


# --- the command ----------------------------------------------------------------------------------


def answers_file(path: Path, classes: tuple[str, ...] = ("no", "yes"), seed: int = 0) -> Path:
    answers, target = made(120, len(classes), seed)
    table = pd.DataFrame(answers, columns=classes)
    table.insert(0, "truth", np.array(classes)[target])
    table.insert(0, "id", [f"s{row}" for row in range(120)])
    random = np.random.default_rng(5)
    table["site"] = np.array(["north", HOSTILE, ""])[random.integers(3, size=120)]
    table["year"] = random.integers(2019, 2022, 120)
    table.to_csv(path, index=False)
    return path


def test_slices_of_a_file(command: Command, tmp_path: Path) -> None:
    path = answers_file(tmp_path / "answers.csv")
    code, out, err = command("evaluate", path, "--slices", "site,year")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert "left out: columns 'id'\n" in out
    for text in ("by site", "by year", HOSTILE[:20], "(missing)", "2020"):
        assert text in out
    code, out, _ = command("evaluate", path, "--slices", "site, year", "--json")
    figures = json.loads(out)
    assert [row["column"] for row in figures["slices"]] == ["site"] * 3 + ["year"] * 3
    table = pd.read_csv(path, keep_default_na=False)
    for row in figures["slices"]:
        chosen = table[table[row["column"]].astype(str) == row["value"].replace("(missing)", "")]
        assert row["samples"] == len(chosen)
        alone = evaluate(chosen[["no", "yes"]], chosen["truth"], classes=["no", "yes"])
        assert row["cross_entropy_nats"] == pytest.approx(alone.cross_entropy_nats)
        interval = pytest.approx(list(alone.intervals["accuracy"]))
        assert row["intervals"]["accuracy"] == interval
    assert "slices" not in json.loads(command("evaluate", path, "--json")[1])


def test_slices_of_two_files_are_compared(command: Command, tmp_path: Path) -> None:
    one = answers_file(tmp_path / "one.csv")
    other = answers_file(tmp_path / "other.csv", seed=1)
    code, out, err = command("evaluate", one, other, "--slices", "year")
    assert (code, err) == (0, "")
    assert "one less other, year=2020" in out
    shown = [line for line in out.splitlines() if str(tmp_path) not in line]
    assert max(map(len, shown)) <= 80
    figures = json.loads(command("evaluate", one, other, "--slices", "year", "--json")[1])
    slices = dict.fromkeys(each["slice"] for each in figures["differences"])
    assert list(slices) == ["", "year=2019", "year=2020", "year=2021"]


def test_slices_of_a_models_data(command: Command, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"x": random.normal(size=90), "site": np.array(["n", "s"])[
        random.integers(2, size=90)]})  # fmt: skip
    frame["label"] = np.where(frame["x"] + random.normal(size=90) > 0, "up", "down")
    path, model = tmp_path / "data.csv", tmp_path / "model"
    frame.to_csv(path, index=False)
    assert command("fit", path, "--target", "label", "--out", model, "-q")[0] == 0
    code, out, err = command("evaluate", "--model", model, path, "--slices", "site", "--json")
    assert (code, err) == (0, "")
    found = {row["value"]: row["samples"] for row in json.loads(out)["slices"]}
    assert found == frame["site"].value_counts().to_dict()
    code, _, err = command("evaluate", "--model", model, "iris", "--slices", "site")
    assert code == 2


@pytest.mark.parametrize(
    ("slices", "message"),
    [
        ("sites", "has no column 'sites'"),
        ("no", "column 'no' holds answers"),
        ("id", "at most 100 different values, 'id' has 120"),
        ("site,site", "expected different names of columns"),
        ("", "expected different names of columns"),
    ],
)
def test_slices_that_are_refused(
    command: Command, tmp_path: Path, slices: str, message: str
) -> None:
    path = answers_file(tmp_path / "answers.csv")
    for sources in ([path], [path, answers_file(tmp_path / "other.csv", seed=1)]):
        code, out, err = command("evaluate", *sources, "--slices", slices)
        assert (code, out) == (2, "")
        assert message in err
        assert len(err.splitlines()) == 1


def test_arrays_have_no_slices(command: Command, tmp_path: Path) -> None:
    answers, target = made()
    np.savez(tmp_path / "a.npz", X=answers, y=target)
    code, _, err = command("evaluate", tmp_path / "a.npz", "--slices", "site")
    assert code == 2
    assert "--slices: expected a table of columns" in err


def test_costs_of_two_classes(command: Command, tmp_path: Path) -> None:
    path, costs = answers_file(tmp_path / "answers.csv"), tmp_path / "costs.csv"
    costs.write_text(",no,yes\nno,0,1\nyes,20,0\n")
    code, out, err = command("evaluate", path, "--costs", costs)
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert "0.04762 suits the costs" in out  # 1 / 21
    code, out, _ = command("evaluate", path, "--costs", costs, "--json")
    figures = json.loads(out)["decisions"]
    table = pd.read_csv(path)
    answers, truth = table[["no", "yes"]].to_numpy(), (table["truth"] == "yes").to_numpy()
    found = decision_figures(answers, truth.astype(int), [[0, 1], [20, 0]])
    assert figures["cost"] == pytest.approx(found.cost)
    assert figures["cost_interval"] == pytest.approx(list(found.cost_interval))
    assert figures["thresholds"][3]["recall"] == pytest.approx(found.thresholds[3].recall)
    assert [row["action"] for row in figures["per_action"]] == ["no", "yes"]


def test_costs_of_other_actions(command: Command, tmp_path: Path) -> None:
    path, costs = answers_file(tmp_path / "a.csv", ("a", "b", "c")), tmp_path / "costs.csv"
    costs.write_text(f"class,{HOSTILE},wait\na,0,1\nb,2,1\nc,3,1\n")
    code, out, err = command("evaluate", path, "--costs", costs)
    assert (code, err) == (0, "")
    assert HOSTILE in out
    assert "most probable class" not in out
    assert max(map(len, out.splitlines())) <= 80
    costs.write_text("0,1\n1,0\n")
    code, _, err = command("evaluate", path, "--costs", costs)
    assert code == 2
    assert "expected a row of costs for each of the 3 classes" in err
    code, _, err = command("evaluate", path, path, "--costs", costs)
    assert code == 2
    assert "--costs: expected one file of answers, found 2" in err
