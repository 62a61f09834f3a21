"""The command, as a user meets it: what it prints, what it writes, how it refuses."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine

import bridle
from bridle.cli import outputs
from bridle.cli.messages import one_line
from bridle.cli.progress import TimeLeft, step_line
from bridle.cli.splitting import holdout_split
from bridle.rows import Rows
from commands import Answer, Command

Array = npt.NDArray[Any]

EMBEDDED = {
    "digits": load_digits,
    "iris": load_iris,
    "wine": load_wine,
    "breast-cancer": load_breast_cancer,
}


def refused(answer: Answer) -> str:
    """Return the one line on stderr of a refusal."""
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.startswith("bridle: ")
    assert answer.err.endswith("\n")
    line = answer.err.removesuffix("\n")
    assert line.isprintable(), "one line, nothing that a terminal would obey"
    assert "Traceback" not in line
    return line


def strict_json(text: str) -> Any:
    def refuse(token: str) -> NoReturn:
        raise AssertionError(f"{token} is no JSON")

    return json.loads(text, parse_constant=refuse)


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def write_csv(path: Path, header: Sequence[object], rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def blobs(count: int = 60, classes: int = 3, seed: int = 0) -> tuple[Array, Array]:
    """Return overlapping clouds ``(N, 3)`` and their classes."""
    generator = np.random.default_rng(seed)
    target = np.arange(count) % classes
    centres = generator.normal(size=(classes, 3))
    return centres[target] + 0.7 * generator.normal(size=(count, 3)), target


def blob_table(path: Path, labels: Sequence[object], count: int = 60) -> Path:
    features, target = blobs(count, len(labels))
    rows = [
        [*values, labels[label]]
        for values, label in zip(features.tolist(), target.tolist(), strict=True)
    ]
    return write_csv(path, ["a", "b", "c", "target"], rows)


@pytest.fixture
def arrays(tmp_path: Path) -> tuple[Path, Path]:
    """Return the paths of features and labels as .npy."""
    features, target = blobs()
    np.save(tmp_path / "X.npy", features)
    np.save(tmp_path / "y.npy", target)
    return tmp_path / "X.npy", tmp_path / "y.npy"


# --- fit: what it prints and writes --------------------------------------------------------------


@pytest.mark.parametrize("name", EMBEDDED)
def test_fit_embedded_sets(command: Command, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    answer = command("fit", name, "--out", out)
    assert (answer.code, answer.err) == (0, "")
    accuracy = re.search(r"^held-out accuracy (\S+)$", answer.out, re.MULTILINE)
    assert accuracy is not None
    assert float(accuracy[1]) >= {"digits": 0.95}.get(name, 0.9)
    gap = re.search(r"optimum reached: proven gap (\S+),", answer.out)
    assert gap is not None
    assert float(gap[1]) <= 1e-6
    for heading in ("cross-entropy", "Brier score", "precision", "most surprising"):
        assert heading in answer.out
    assert f"written to {out}: model.safetensors, metrics.json, predictions.csv" in answer.out
    assert sorted(path.name for path in out.iterdir()) == [
        "metrics.json",
        "model.safetensors",
        "predictions.csv",
    ]


def test_without_out_nothing_is_written(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "nothing written" in command("fit", "iris").out
    assert list(tmp_path.iterdir()) == []


def test_keys_of_the_metrics(command: Command, tmp_path: Path) -> None:
    """They are a promise to the scripts that read them."""
    command("fit", "iris", "--out", tmp_path)
    metrics = strict_json((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert list(metrics) == ["bridle", "data", "model", "fit", "evaluation"]
    assert metrics["bridle"] == bridle.__version__
    assert set(metrics["data"]) == {
        "source",
        "test_source",
        "features",
        "training_samples",
        "judged_samples",
        "judged_on",
        "notes",
    }
    assert set(metrics["model"]) == {"C", "l1_ratio", "group", "standardize", "tol"}
    assert set(metrics["fit"]) == {
        "objective",
        "loss",
        "gradient_norm",
        "relative_gap",
        "proven",
        "iterations",
        "passes",
        "seconds",
        "separation",
        "kept_features",
        "zero_features",
        "streamed_to",
        "stopped",
        "history",
    }
    assert set(metrics["evaluation"]) == {
        "input_kind",
        "samples",
        "classes",
        "cross_entropy_nats",
        "cross_entropy_bits",
        "infinite_losses",
        "perplexity",
        "uniform_nats",
        "uniform_bits",
        "class_frequency_nats",
        "class_frequency_bits",
        "accuracy",
        "top_5_accuracy",
        "brier_score",
        "expected_calibration_error",
        "expected_calibration_error_by_chance",
        "total_weight",
        "reliability",
        "per_class",
        "confusion_matrix",
        "most_surprising",
        "intervals",
    }
    assert metrics["data"]["training_samples"] + metrics["data"]["judged_samples"] == 150
    assert metrics["data"]["judged_samples"] == metrics["evaluation"]["samples"] == 30
    assert metrics["fit"]["proven"] is True


@pytest.mark.parametrize("name", EMBEDDED)
def test_predictions_agree_with_the_data_the_model_and_predict(
    command: Command, tmp_path: Path, name: str
) -> None:
    command("fit", name, "--out", tmp_path)
    content = EMBEDDED[name]()
    labels = np.asarray(content.target)
    if name != "digits":
        labels = np.asarray(content.target_names)[labels]
    metrics = strict_json((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    rows = table((tmp_path / "predictions.csv").read_text(encoding="utf-8"))
    assert len(rows) == metrics["data"]["judged_samples"]
    ids = [int(row["id"]) for row in rows]
    assert ids == sorted(set(ids))
    assert [row["target"] for row in rows] == [str(labels[row]) for row in ids]

    model = bridle.SoftmaxRegression.load(tmp_path / "model.safetensors")
    assert [row["predicted"] for row in rows] == [
        str(label) for label in model.predict(Rows([content.data[ids]]))
    ]
    log_probability = model.predict_log_proba(Rows([content.data[ids]]))
    own = -log_probability[np.arange(len(ids)), np.searchsorted(model.classes_, labels[ids])]
    np.testing.assert_allclose([float(row["surprisal"]) for row in rows], own, rtol=1e-6)
    mean = np.mean([float(row["surprisal"]) for row in rows])
    np.testing.assert_allclose(mean, metrics["evaluation"]["cross_entropy_nats"], rtol=1e-6)

    everything = table(command("predict", tmp_path, name).out)
    assert [int(row["id"]) for row in everything] == list(range(len(labels)))
    assert [row["predicted"] for row in everything] == [
        str(label) for label in model.predict(Rows([content.data]))
    ]
    for row in rows:
        again = everything[int(row["id"])]
        assert row["predicted"] == again["predicted"]
        assert float(row["probability"]) == pytest.approx(float(again["probability"]), rel=1e-6)


def test_json_is_all_that_is_printed(command: Command, tmp_path: Path) -> None:
    answer = command("fit", "iris", "--json", "--out", tmp_path)
    assert (answer.code, answer.err) == (0, "")
    assert strict_json(answer.out) == strict_json((tmp_path / "metrics.json").read_text())


def test_quiet_is_quiet(command: Command, tmp_path: Path) -> None:
    assert command("fit", "iris", "--quiet", "--out", tmp_path / "long") == (0, "", "")
    assert command("fit", "iris", "-q", "--out", tmp_path / "short") == (0, "", "")
    assert (tmp_path / "long" / "model.safetensors").is_file()


def test_quiet_still_refuses(command: Command) -> None:
    assert "no-such.csv: no such file" in refused(command("fit", "no-such.csv", "--quiet"))


def test_notes_say_what_was_decided(command: Command, tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "a.csv", ["t", "y"], [["red", 0], ["blue", 1], ["red", 1], ["blue", 0]] * 5
    )
    out = command("fit", path).out
    assert "target: column 'y'" in out
    assert "text column 't' became 2 one-hot columns" in out


# --- fit: what is held out -----------------------------------------------------------------------


def figures(answer: Answer) -> Any:
    assert answer.code == 0, answer.err
    return strict_json(answer.out)


def test_holdout_share(command: Command, arrays: tuple[Path, Path]) -> None:
    features, labels = arrays
    fit = ("fit", features, "--labels", labels, "--json", "--holdout")
    for share, judged in (("0.5", 30), ("0.2", 12), ("0.05", 3)):
        data = figures(command(*fit, share))["data"]
        assert (data["judged_on"], data["judged_samples"]) == ("held-out", judged)
        assert data["training_samples"] == 60 - judged


def test_holdout_of_nothing_judges_on_the_training_samples(
    command: Command, arrays: tuple[Path, Path], tmp_path: Path
) -> None:
    features, labels = arrays
    out = tmp_path / "out"
    answer = command("fit", features, "--labels", labels, "--holdout", "0", "--out", out)
    assert "training accuracy" in answer.out
    rows = table((out / "predictions.csv").read_text())
    assert [int(row["id"]) for row in rows] == list(range(60))


@pytest.mark.parametrize("share", ["1", "1.5", "-0.1", "nan", "inf", "-inf"])
def test_holdout_that_is_no_share(command: Command, share: str) -> None:
    line = refused(command("fit", "iris", "--holdout", share))
    assert "--holdout: expected a share in [0, 1), found" in line


def test_holdout_that_holds_nothing_out(command: Command) -> None:
    line = refused(command("fit", "iris", "--holdout", "1e-9"))
    assert line.startswith("bridle: iris: --holdout 1e-09: too few samples")


def test_holdout_that_leaves_one_sample_of_each_class(command: Command) -> None:
    answer = command("fit", "iris", "--holdout", "0.999")
    assert answer.out.startswith("iris: 3 samples, 4 features, 3 classes")


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_data_too_few_to_split(command: Command, tmp_path: Path, rows: int) -> None:
    samples = [[1, "x"], [2, "y"], [3, "x"], [4, "y"]]
    path = write_csv(tmp_path / "tiny.csv", ["a", "target"], samples[:rows])
    line = refused(command("fit", path))
    assert "tiny.csv" in line
    assert "--holdout 0.2" in line


def test_tiny_data_can_be_fitted_whole(command: Command, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "tiny.csv", ["a", "target"], [[1, "x"], [2, "y"]])
    answer = command("fit", path, "--holdout", "0")
    assert (answer.code, answer.err) == (0, "")
    assert "tiny.csv: 2 samples, 1 features, 2 classes" in answer.out


def test_the_split_is_the_same_each_time(command: Command, tmp_path: Path) -> None:
    held = []
    for folder in ("first", "second"):
        command("fit", "iris", "--out", tmp_path / folder)
        rows = table((tmp_path / folder / "predictions.csv").read_text())
        held.append([int(row["id"]) for row in rows])
    assert held[0] == held[1] == list(range(2, 150, 5))


@given(
    counts=st.lists(st.integers(1, 23), min_size=2, max_size=5),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32 - 1),
)
def test_law_of_the_split(counts: list[int], share: float, seed: int) -> None:
    target = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    shares = [min(round(share * count), count - 1) for count in counts]
    if sum(shares) == 0:
        return  # refused, as tested above
    train, test = holdout_split(target, share)
    np.testing.assert_array_equal(
        np.sort(np.concatenate([train, test])), np.arange(len(target)), "all rows, each once"
    )
    assert np.all(np.diff(train) > 0)
    assert np.all(np.diff(test) > 0)
    assert np.bincount(target[test], minlength=len(counts)).tolist() == shares
    assert set(target[train]) == set(target), "no class is unknown to the model"


def test_distributions_are_split_as_one_class() -> None:
    train, test = holdout_split(np.full((10, 3), 1 / 3), 0.2)
    assert test.tolist() == [2, 7]
    assert len(train) == 8


def test_nothing_is_held_out_of_a_share_of_nothing() -> None:
    train, test = holdout_split(np.array([0, 1, 1]), 0)
    assert train.tolist() == [0, 1, 2]
    assert test.tolist() == []


def colours(path: Path, names: Sequence[str], count: int, seed: int) -> Path:
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        label = ("no", "yes")[number % 2]
        size = number % 2 + generator.normal(scale=0.3)
        colour = ("red", "green", "blue")[number % 3]
        cells = {"size": size, "colour": colour, "bought": label, "id": f"r{seed}-{number}"}
        rows.append([cells[name] for name in names])
    return write_csv(path, names, rows)


def test_test_data_with_columns_in_another_order(command: Command, tmp_path: Path) -> None:
    train = colours(tmp_path / "train.csv", ["size", "colour", "bought"], 40, 1)
    same = colours(tmp_path / "same.csv", ["size", "colour", "bought"], 20, 2)
    other = colours(tmp_path / "other.csv", ["id", "bought", "colour", "size"], 20, 2)
    results = []
    for test in (same, other):
        out = tmp_path / test.stem
        answer = command("fit", train, "--target", "bought", "--test", test, "--out", out)
        assert (answer.code, answer.err) == (0, "")
        assert "test accuracy" in answer.out
        metrics = strict_json((out / "metrics.json").read_text())
        assert metrics["data"]["features"] == 4, "three colours and a size"
        assert metrics["data"]["training_samples"] == 40
        assert metrics["data"]["judged_samples"] == 20
        assert metrics["data"]["judged_on"] == "test"
        assert metrics["data"]["test_source"] == str(test)
        results.append(table((out / "predictions.csv").read_text()))
    by_number, by_name = results
    assert [row.pop("id") for row in by_number] == [str(row) for row in range(20)]
    assert [row.pop("id") for row in by_name] == [f"r2-{row}" for row in range(20)]
    assert by_number == by_name


def test_test_data_with_a_value_unknown_to_the_fit(command: Command, tmp_path: Path) -> None:
    train = colours(tmp_path / "train.csv", ["size", "colour", "bought"], 40, 1)
    test = write_csv(
        tmp_path / "test.csv",
        ["size", "colour", "bought"],
        [[1, "red", "yes"], [0, "mauve", "no"], [0, "pink", "no"]],
    )
    out = tmp_path / "out"
    line = refused(
        command("fit", train, "--target", "bought", "--test", test, "--out", out, "--quiet")
    )
    assert "test.csv: line 3, column 'colour': 'mauve' is not among the values" in line
    assert not out.exists()


def test_test_labels_that_the_model_has_not_seen(
    command: Command, arrays: tuple[Path, Path], tmp_path: Path
) -> None:
    features, labels = arrays
    others = tmp_path / "others.npy"
    np.save(others, np.load(labels) + 1)
    fit = ("fit", features, "--labels", labels, "--test", features, "--test-labels")
    line = refused(command(*fit, others))
    assert "X.npy: target: row 2 is 3, which is none of the 3 classes [0, 1, 2]" in line
    assert command(*fit, labels).code == 0


def test_test_data_of_another_width(
    command: Command, arrays: tuple[Path, Path], tmp_path: Path
) -> None:
    features, labels = arrays
    narrow = tmp_path / "narrow.npy"
    np.save(narrow, np.load(features)[:, :2])
    line = refused(
        command("fit", features, "--labels", labels, "--test", narrow, "--test-labels", labels)
    )
    assert "narrow.npy: " in line
    assert "found 2" in line


def test_arguments_that_exclude_each_other(command: Command, arrays: tuple[Path, Path]) -> None:
    features, labels = arrays
    both = command("fit", "iris", "--test", "iris", "--holdout", "0.3")
    assert "--holdout: expected without --test, found both" in refused(both)
    alone = command("fit", features, "--labels", labels, "--test-labels", labels)
    assert "--test-labels: expected with --test, found it alone" in refused(alone)


# --- fit: the objective --------------------------------------------------------------------------


@pytest.mark.filterwarnings("default")
def test_separable_data_without_a_penalty(command: Command, tmp_path: Path) -> None:
    rows = [[number / 2, number < 10] for number in range(20)]
    path = write_csv(tmp_path / "apart.csv", ["a", "target"], rows)
    answer = command("fit", path, "--C", "inf", "--out", tmp_path / "out")
    assert answer.code == 0
    assert answer.err.count("\n") == 1
    assert answer.err.startswith("bridle: warning: the classes are separable")
    assert "separable: there is no optimum" in answer.out
    metrics = strict_json((tmp_path / "out" / "metrics.json").read_text())
    assert (metrics["model"]["C"], metrics["fit"]["stopped"]) == ("Infinity", "separable")
    # The model is as good as any other; it can be read again.
    assert command("predict", tmp_path / "out", path).code == 0


@pytest.mark.filterwarnings("default")
def test_a_warning_is_shown_each_time(command: Command, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", ["a", "target"], [[n / 2, n < 10] for n in range(20)])
    first = command("fit", path, "--C", "inf", "--quiet")
    assert first.err.startswith("bridle: warning: ")
    assert command("fit", path, "--C", "inf", "--quiet") == first


def test_standardize_is_the_penalty_of_scaled_features(
    command: Command, arrays: tuple[Path, Path], tmp_path: Path
) -> None:
    features, labels = arrays
    scaled = tmp_path / "scaled.npy"
    np.save(scaled, np.load(features) * [1e3, 1.0, 1e-3])
    losses = {}
    for option in ("--standardize", "--no-standardize"):
        for name, path in (("as it is", features), ("scaled", scaled)):
            answer = command("fit", path, "--labels", labels, "--holdout", "0", "--json", option)
            losses[option, name] = figures(answer)["fit"]["objective"]
    assert losses["--standardize", "scaled"] == pytest.approx(
        losses["--standardize", "as it is"], rel=1e-6
    )
    assert losses["--no-standardize", "scaled"] != pytest.approx(
        losses["--no-standardize", "as it is"], rel=1e-2
    )


def test_a_weaker_penalty_fits_closer(command: Command, arrays: tuple[Path, Path]) -> None:
    features, labels = arrays
    fit = ("fit", features, "--labels", labels, "--holdout", "0", "--json", "--C")
    losses = [figures(command(*fit, C))["fit"]["loss"] for C in ("1e-4", "0.1", "100", "inf")]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > 1.09, "close to guessing, log 3"


def test_tol_is_kept(command: Command) -> None:
    for tol in ("1e-2", "1e-10"):
        found = figures(command("fit", "iris", "--json", "--tol", tol))
        assert found["model"]["tol"] == float(tol)
        assert 0 <= found["fit"]["relative_gap"] <= float(tol)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--C", "0"),
        ("--C", "-1"),
        ("--C", "nan"),
        ("--tol", "0"),
        ("--tol", "inf"),
        ("--tol", "-1e-6"),
    ],
)
def test_numbers_out_of_range(command: Command, option: str, value: str) -> None:
    line = refused(command("fit", "iris", f"{option}={value}"))
    assert line.startswith(f"bridle: {option}: expected a ")
    assert f"found {float(value)!r}" in line


def test_targets_that_are_distributions(command: Command, tmp_path: Path) -> None:
    features, _ = blobs()
    soft = np.random.default_rng(0).dirichlet([1, 1, 1], len(features))
    data = tmp_path / "soft.npz"
    np.savez(data, X=features, y=soft)
    out = tmp_path / "out"
    assert command("fit", data, "--out", out).code == 0
    rows = table((out / "predictions.csv").read_text())
    assert [row["target"] for row in rows] == [
        str(soft[int(row["id"])].argmax()) for row in rows
    ], "judged by the most probable class"
    found = figures(command("evaluate", "--model", out, data, "--json"))
    assert found["samples"] == 60


# --- fit: the folder it writes -------------------------------------------------------------------


def test_out_is_a_file(command: Command, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    assert "taken: expected a folder, found a file" in refused(
        command("fit", "iris", "--out", taken)
    )
    assert "taken is a file" in refused(command("fit", "iris", "--out", taken / "a" / "b"))
    assert taken.read_text() == "mine"


def test_out_is_checked_before_the_data_are_read(command: Command, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("")
    assert "taken" in refused(command("fit", "no-such.csv", "--out", taken))


def test_out_that_holds_a_folder_by_the_name_of_a_file(command: Command, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").mkdir()
    line = refused(command("fit", "iris", "--out", tmp_path))
    assert "metrics.json in it is a folder" in line
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
)
def test_out_without_permission(command: Command, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert "no permission to write in" in refused(command("fit", "iris", "--out", locked / "a"))


def test_out_replaces_its_files_and_no_others(command: Command, tmp_path: Path) -> None:
    for name in ("model.safetensors", "metrics.json", "predictions.csv", "notes.txt"):
        (tmp_path / name).write_text("old")
    line = refused(command("fit", "iris", "--out", tmp_path))
    assert line == f"bridle: --out {tmp_path}: holds model.safetensors already; --force replaces it"
    assert (tmp_path / "metrics.json").read_text() == "old"
    assert command("fit", "iris", "--out", tmp_path, "--force").code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "metrics.json",
        "model.safetensors",
        "notes.txt",
        "predictions.csv",
    ]
    assert (tmp_path / "notes.txt").read_text() == "old"
    assert strict_json((tmp_path / "metrics.json").read_text())["data"]["source"] == "iris"
    assert len(table((tmp_path / "predictions.csv").read_text())) == 30
    assert bridle.SoftmaxRegression.load(tmp_path / "model.safetensors").coef_.shape == (3, 4)


def test_out_nested(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "a" / "b c" / "ü"
    assert command("fit", "iris", "--out", out).code == 0
    assert (out / "metrics.json").is_file()


@pytest.mark.parametrize("name", ["metrics.json", "predictions.csv"])
def test_out_with_a_file_of_somebody_else(command: Command, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    line = refused(command("fit", "iris", "--out", tmp_path))
    assert line.endswith(f"holds {name} already; --force replaces it")


@pytest.mark.parametrize("interrupted_at", [0, 1, 2])
def test_an_interrupted_writing_leaves_nothing(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted_at: int
) -> None:
    replace, calls = Path.replace, iter(range(3))

    def interrupt(path: Path, target: Path) -> Path:
        if next(calls) == interrupted_at:
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", interrupt)
    answer = command("fit", "iris", "--out", tmp_path / "a" / "b")
    assert answer == (130, "", "bridle: interrupted\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX's")
@pytest.mark.parametrize("failed", ["model.safetensors", "metrics.json"])
def test_a_full_disk_costs_the_files_not_the_figures(
    command: Command, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, failed: str
) -> None:
    import resource

    sound = tmp_path_factory.mktemp("sound")
    expected = command("fit", "iris", "--out", sound).out.splitlines()
    model, metrics = (
        (sound / name).stat().st_size for name in ("model.safetensors", "metrics.json")
    )
    assert model < metrics
    # Times are written into both, so that their lengths differ by some digits.
    most = model // 2 if failed == "model.safetensors" else (model + metrics) // 2
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, usual[1]))
        answer = command("fit", "iris", "--out", tmp_path / "new" / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert answer.code == 2
    assert answer.err == f"bridle: {tmp_path / 'new' / 'out' / failed}: File too large\n"
    shown, expected = (
        [re.sub(r"[0-9.]+ s$", "… s", line) for line in lines]
        for lines in (answer.out.splitlines(), expected)
    )
    assert shown == expected[:-2], "all but the times, and what is said of the files"
    assert list(tmp_path.iterdir()) == [], "neither half of a model nor an empty folder"


# --- predict -------------------------------------------------------------------------------------


@pytest.fixture
def bought(command: Command, tmp_path: Path) -> Path:
    """Return the folder of a model of ``size`` (a number) and ``colour`` (a text)."""
    train = colours(tmp_path / "train.csv", ["size", "colour", "bought"], 40, 1)
    out = tmp_path / "bought"
    assert command("fit", train, "--target", "bought", "--out", out, "--quiet").code == 0
    return out


def test_predict_takes_the_folder_or_the_file(command: Command, bought: Path) -> None:
    data = bought.parent / "train.csv"
    by_folder = command("predict", bought, data, "--compact")
    assert (by_folder.code, by_folder.err) == (0, "")
    assert command("predict", bought / "model.safetensors", data, "--compact") == by_folder
    rows = table(by_folder.out)
    assert list(rows[0]) == ["id", "predicted", "probability"]
    assert len(rows) == 40
    assert {row["predicted"] for row in rows} == {"no", "yes"}
    assert all(0.5 <= float(row["probability"]) <= 1 for row in rows)


def test_predict_probabilities(command: Command, bought: Path) -> None:
    answer = command("predict", bought, bought.parent / "train.csv")
    rows = table(answer.out)
    assert list(rows[0]) == ["id", "bought", "predicted", "probability", "no", "yes"]
    for row in rows:
        both = {label: float(row[label]) for label in ("no", "yes")}
        assert sum(both.values()) == pytest.approx(1, abs=1e-8)
        assert max(both, key=lambda label: both[label]) == row["predicted"]
        assert float(row["probability"]) == max(both.values())


def test_predict_out(command: Command, bought: Path, tmp_path: Path) -> None:
    data = bought.parent / "train.csv"
    printed = command("predict", bought, data).out
    out = tmp_path / "answers.csv"
    out.write_text("old")
    assert command("predict", bought, data, "--out", out) == (0, "", "")
    assert out.read_bytes() == printed.encode()


def test_predict_out_that_cannot_be_written(command: Command, bought: Path, tmp_path: Path) -> None:
    data = bought.parent / "train.csv"
    line = refused(command("predict", bought, data, "--out", tmp_path / "none" / "a.csv"))
    assert line.endswith(f"a.csv: no folder {tmp_path / 'none'}")
    line = refused(command("predict", bought, data, "--out", bought))
    assert "expected a file, found a folder" in line


def test_predict_needs_no_target_and_minds_no_more_columns(
    command: Command, bought: Path, tmp_path: Path
) -> None:
    whole = colours(tmp_path / "a.csv", ["size", "colour", "bought"], 7, 3)
    other = tmp_path / "b.csv"
    rows = [["x", row["colour"], "?", row["size"]] for row in table(whole.read_text())]
    write_csv(other, ["remark", "colour", "price", "size"], rows)
    without = command("predict", bought, other, "--compact")
    assert without == command("predict", bought, whole, "--compact")
    named = list(table(command("predict", bought, other).out)[0])
    assert named == ["id", "predicted", "probability", "no", "yes"]


def test_predict_with_a_column_missing(command: Command, bought: Path, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", ["size", "color"], [[1, "red"]])
    line = refused(command("predict", bought, path))
    assert "a.csv: column 'colour' is missing, the model needs it; did you mean 'color'?" in line


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([1, "mauve"], "line 3, column 'colour': 'mauve' is not among the values of the fit"),
        ([1, "Red"], "line 3, column 'colour': 'Red' is not among the values of the fit"),
        ([1, ""], "line 3, column 'colour': missing value"),
        (["big", "red"], "line 3, column 'size': text in a numeric column: 'big'"),
        (["", "red"], "line 3, column 'size': missing value"),
        (["inf", "red"], "line 3, column 'size': expected a finite number, found inf"),
    ],
)
def test_predict_with_a_cell_that_the_model_cannot_take(
    command: Command, bought: Path, tmp_path: Path, cells: list[object], expected: str
) -> None:
    path = write_csv(tmp_path / "a.csv", ["size", "colour"], [[0, "red"], cells, [1, "green"]])
    out = tmp_path / "answers.csv"
    assert f"a.csv: {expected}" in refused(command("predict", bought, path, "--out", out))
    assert not out.exists()


def test_predict_names_the_row_of_a_nan(
    command: Command, arrays: tuple[Path, Path], tmp_path: Path
) -> None:
    features, labels = arrays
    command("fit", features, "--labels", labels, "--out", tmp_path / "m", "--quiet")
    broken = np.load(features)
    broken[41, 2] = np.nan
    np.save(tmp_path / "broken.npy", broken)
    line = refused(command("predict", tmp_path / "m", tmp_path / "broken.npy"))
    assert line.endswith("broken.npy: expected finite numbers, found NaN at row 41, column 2")


@pytest.mark.parametrize("content", [b"", b"\xff" * 50, b"\0" * 8, b"{}", bytes(2**16)])
def test_predict_with_a_file_that_is_no_model(
    command: Command, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert "model.safetensors" in refused(command("predict", path, "iris"))
    assert "model.safetensors" in refused(command("predict", tmp_path, "iris"))


def test_predict_without_a_model(command: Command, tmp_path: Path) -> None:
    assert "none: no such file" in refused(command("predict", tmp_path / "none", "iris"))
    assert "model.safetensors: no such file" in refused(command("predict", tmp_path, "iris"))


def test_predict_on_data_of_another_model(command: Command, tmp_path: Path) -> None:
    command("fit", "iris", "--out", tmp_path, "--quiet")
    assert refused(command("predict", tmp_path, "wine")).startswith("bridle: wine: has no column")


# --- evaluate ------------------------------------------------------------------------------------

NAMES = ["cat", "dog", "eel"]


def answers() -> tuple[Array, Array]:
    """Return probabilities ``(40, 3)`` and the classes, each of which occurs."""
    generator = np.random.default_rng(1)
    target = np.arange(40) % 3
    odds = generator.normal(size=(40, 3))
    odds[np.arange(40), target] += 1
    probabilities = np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)
    return probabilities, target


def answers_table(path: Path, values: Array, labels: Sequence[object], order: list[int]) -> Path:
    _, target = answers()
    rows = [
        [labels[label], *row]
        for label, row in zip(target.tolist(), values[:, order].tolist(), strict=True)
    ]
    return write_csv(path, ["truth", *(labels[place] for place in order)], rows)


def test_evaluate_knows_columns_by_name_or_by_place(command: Command, tmp_path: Path) -> None:
    values, target = answers()
    expected = bridle.evaluate(values, target).to_dict()
    texts = answers_table(tmp_path / "texts.csv", values, NAMES, [2, 0, 1])
    numbers = answers_table(tmp_path / "numbers.csv", values, [0, 1, 2], [1, 2, 0])
    np.savez(tmp_path / "a.npz", X=values, y=target)
    np.savez(tmp_path / "named.npz", X=values, y=np.array(NAMES)[target])
    np.save(tmp_path / "X.npy", values)
    np.save(tmp_path / "y.npy", target)
    for arguments in (
        [texts, "--target", "truth"],
        [numbers, "--target", "truth"],
        [tmp_path / "a.npz"],
        [tmp_path / "named.npz"],
        [tmp_path / "X.npy", "--labels", tmp_path / "y.npy"],
    ):
        found = figures(command("evaluate", *arguments, "--json"))
        assert found["input_kind"] == "probabilities"
        for name in ("samples", "accuracy", "top_5_accuracy", "infinite_losses"):
            assert found[name] == expected[name]
        for name in ("cross_entropy_nats", "brier_score", "expected_calibration_error"):
            assert found[name] == pytest.approx(expected[name], rel=1e-12)
    by_name = figures(command("evaluate", texts, "--target", "truth", "--json"))
    assert by_name["classes"] == ["eel", "cat", "dog"]
    assert {row["label"]: row["support"] for row in by_name["per_class"]} == {
        "cat": 14,
        "dog": 13,
        "eel": 13,
    }


def test_evaluate_takes_scores(command: Command, tmp_path: Path) -> None:
    values, target = answers()
    scores = np.log(values) + np.arange(40)[:, None]
    path = answers_table(tmp_path / "scores.csv", scores, NAMES, [0, 1, 2])
    found = figures(command("evaluate", path, "--target", "truth", "--json"))
    assert found["input_kind"] == "scores"
    expected = bridle.evaluate(values, target)
    assert found["cross_entropy_nats"] == pytest.approx(expected.cross_entropy_nats, rel=1e-10)
    assert found["accuracy"] == expected.accuracy


def test_evaluate_prints_a_table(command: Command, tmp_path: Path) -> None:
    values, _ = answers()
    path = answers_table(tmp_path / "a.csv", values, NAMES, [0, 1, 2])
    answer = command("evaluate", path, "--target", "truth")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("40 samples, 3 classes, from probabilities")
    assert "most surprising" in answer.out


def test_evaluate_does_not_clip(command: Command, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=[[1.0, 0.0], [1.0, 0.0]], y=[0, 1])
    found = figures(command("evaluate", tmp_path / "a.npz", "--json"))
    assert (found["cross_entropy_nats"], found["infinite_losses"]) == ("Infinity", 1)


@pytest.mark.parametrize(
    ("name", "positive"), [("probability of yes", "yes"), ("yes", "yes"), ("no", "no")]
)
def test_evaluate_takes_one_column_for_two_classes(
    command: Command, tmp_path: Path, name: str, positive: str
) -> None:
    generator = np.random.default_rng(2)
    truth = np.where(np.arange(20) % 2, "yes", "no")
    probability = generator.uniform(size=20)
    rows = list(zip(truth.tolist(), probability.tolist(), strict=True))
    path = write_csv(tmp_path / "a.csv", ["target", name], rows)
    found = figures(command("evaluate", path, "--json"))
    own = np.where(truth == positive, probability, 1 - probability)
    assert found["cross_entropy_nats"] == pytest.approx(-np.log(own).mean(), rel=1e-12)


def test_evaluate_what_predict_wrote(command: Command, bought: Path, tmp_path: Path) -> None:
    """The two ways to judge a model agree, whatever columns ``predict`` writes beside."""
    data = colours(tmp_path / "new.csv", ["size", "colour", "bought"], 20, 5)
    by_model = figures(command("evaluate", "--model", bought, data, "--target", "bought", "--json"))
    predicted = table(command("predict", bought, data).out)
    truth = [row["bought"] for row in table(data.read_text())]
    joined = write_csv(
        tmp_path / "joined.csv",
        [*predicted[0], "truth"],
        [[*row.values(), label] for row, label in zip(predicted, truth, strict=True)],
    )
    by_file = figures(command("evaluate", joined, "--target", "truth", "--json"))
    assert by_file["classes"] == by_model["classes"] == ["no", "yes"]
    assert by_file["input_kind"] == "probabilities"
    assert by_file["accuracy"] == by_model["accuracy"]
    assert by_file["cross_entropy_nats"] == pytest.approx(by_model["cross_entropy_nats"], rel=1e-6)


def test_evaluate_a_file_without_answers(command: Command, bought: Path, tmp_path: Path) -> None:
    rows = table((bought / "predictions.csv").read_text())
    names = ["id", "target", "predicted", "probability"]
    path = write_csv(tmp_path / "a.csv", names, [[row[name] for name in names] for row in rows])
    line = refused(command("evaluate", path))
    assert "a.csv: expected a column of probabilities or scores for each class" in line


def test_evaluate_columns_that_may_be_anything(command: Command, tmp_path: Path) -> None:
    """A table of features is no table of answers, even where its labels are small integers."""
    path = blob_table(tmp_path / "features.csv", [0, 1])
    line = refused(command("evaluate", path))
    assert "features.csv: 3 columns of answers for 2 labels in the target" in line
    assert "64 columns of answers for 10 labels" in refused(command("evaluate", "digits"))


def test_evaluate_classes_without_samples(command: Command, tmp_path: Path) -> None:
    values, _ = answers()
    np.savez(tmp_path / "a.npz", X=values, y=np.zeros(40, int))
    found = figures(command("evaluate", tmp_path / "a.npz", "--json"))
    assert [row["support"] for row in found["per_class"]] == [40, 0, 0]
    rows = [["cat", *row] for row in values.tolist()]
    path = write_csv(tmp_path / "a.csv", ["target", *NAMES], rows)
    found = figures(command("evaluate", path, "--json"))
    assert [row["label"] for row in found["per_class"]] == NAMES


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([0.5, np.nan, 0.5], "row 5 has a NaN at class 1, expected scores or probabilities"),
        ([0.5, np.inf, 0.5], "row 5 has infinity at class 1, expected scores or probabilities"),
        ([-np.inf] * 3, "row 5 has every class masked with -inf"),
        ([0.5, 0.2, 0.2], "row 5 sums to 0.9, expected a distribution as most rows are"),
    ],
)
def test_evaluate_broken_answers(
    command: Command, tmp_path: Path, row: list[float], expected: str
) -> None:
    values, target = answers()
    values[5] = row
    np.savez(tmp_path / "a.npz", X=values, y=target)
    line = refused(command("evaluate", tmp_path / "a.npz"))
    assert line.startswith(f"bridle: {tmp_path / 'a.npz'}: {expected}")


def test_evaluate_a_sparse_matrix(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "a.svmlight"
    path.write_text("0 1:1 2:0.5\n1 1:0.1 2:0.9\n")
    assert "a.svmlight: expected dense answers" in refused(command("evaluate", path))


def test_evaluate_a_model(command: Command, tmp_path: Path) -> None:
    command("fit", "digits", "--out", tmp_path, "--quiet")
    found = figures(command("evaluate", "--model", tmp_path, "digits", "--json"))
    X, y = load_digits(return_X_y=True)
    model = bridle.SoftmaxRegression.load(tmp_path / "model.safetensors")
    assert found["accuracy"] == (model.predict(Rows([X])) == y).mean()
    assert found["classes"] == list(range(10))


def test_evaluate_a_model_on_labels_it_does_not_know(
    command: Command, bought: Path, tmp_path: Path
) -> None:
    path = write_csv(
        tmp_path / "a.csv", ["size", "colour", "target"], [[1, "red", "yes"], [1, "red", "maybe"]]
    )
    line = refused(command("evaluate", "--model", bought, path))
    assert "a.csv: target: row 1 is 'maybe', which is none of the 2 classes" in line


# --- text from data ------------------------------------------------------------------------------

HOSTILE = [
    "=cmd()",
    "+1",
    "@x",
    "-2",
    "\t=tab",
    "a,b",
    'q"q',
    "two\nlines",
    "naïve 🎈",
    "\uff1d1",
    "a\r=cmd()",
    "'quoted",
    "plain",
]
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def inert(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULAS) else text


def test_labels_that_a_spreadsheet_would_run(command: Command, tmp_path: Path) -> None:
    features, target = blobs(120, len(HOSTILE))
    labels = np.array(HOSTILE)[target]
    np.savez(tmp_path / "a.npz", X=features, y=labels)
    out = tmp_path / "out"
    answer = command("fit", tmp_path / "a.npz", "--holdout", "0", "--out", out)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.replace("\n", "").isprintable()
    # As bytes: reading text would turn a carriage return within a label into a line end.
    rows = table((out / "predictions.csv").read_bytes().decode())
    assert [row["target"] for row in rows] == [inert(label) for label in labels]
    model = bridle.SoftmaxRegression.load(out / "model.safetensors")
    assert [row["predicted"] for row in rows] == [inert(x) for x in model.predict(features)]
    assert all(float(row["surprisal"]) >= 0 for row in rows)
    metrics = strict_json((out / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["evaluation"]["classes"] == sorted(HOSTILE), "JSON needs no such escape"
    printed = table(command("predict", out, tmp_path / "a.npz").out)
    assert list(printed[0])[4:] == [inert(label) for label in sorted(HOSTILE)]
    assert [row["predicted"] for row in printed] == [row["predicted"] for row in rows]


def test_names_of_rows_that_a_spreadsheet_would_run(command: Command, tmp_path: Path) -> None:
    rows = [[f"=r{n}", n % 2 + n / 100, n % 2] for n in range(20)]
    path = write_csv(tmp_path / "a.csv", ["id", "a", "target"], rows)
    out = tmp_path / "out"
    assert command("fit", path, "--out", out, "--quiet").code == 0
    for row in table((out / "predictions.csv").read_text()):
        assert re.fullmatch(r"'=r\d+", row["id"])


def test_numbers_are_no_formulas(command: Command, tmp_path: Path) -> None:
    path = blob_table(tmp_path / "a.csv", [-2, -1, 3])
    out = tmp_path / "out"
    assert command("fit", path, "--out", out, "--quiet").code == 0
    rows = table((out / "predictions.csv").read_text())
    assert {row["target"] for row in rows} == {"-2", "-1", "3"}


def test_fractional_labels_keep_their_digits(command: Command, tmp_path: Path) -> None:
    """The command fits none, but a model may have been fitted elsewhere."""
    features, target = blobs()
    labels = np.array([0.12345678901, 0.12345678902, -1.5])
    model = bridle.SoftmaxRegression().fit(features, target)
    model.classes_ = labels
    model.save(tmp_path / "m")
    np.save(tmp_path / "X.npy", features)
    rows = table(command("predict", tmp_path / "m", tmp_path / "X.npy").out)
    assert [row["predicted"] for row in rows] == [str(x) for x in model.predict(features)]
    assert {row["predicted"] for row in rows} == {str(label) for label in labels}


def test_a_carriage_return_begins_no_row() -> None:
    text = outputs.csv_text(["a", "b"], [["x\r=cmd()", "y"]])
    assert text == 'a,b\n"x\r=cmd()",y\n'


@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=2),
        max_size=5,
    )
)
def test_law_of_csv_text(rows: list[list[str]]) -> None:
    text = outputs.csv_text(["a", "=b"], rows)
    read = list(csv.reader(io.StringIO(text, newline="")))
    assert read == [["a", "'=b"], *([inert(cell) for cell in row] for row in rows)]
    assert not any(cell.startswith(FORMULAS) for row in read for cell in row)


@given(st.floats(allow_nan=False))
def test_law_of_nine_digits(value: float) -> None:
    (written,) = outputs.nine_digits(np.array([value]))
    assert written == pytest.approx(value, rel=5.1e-9, abs=0)
    if np.isfinite(value):
        assert len(Decimal(repr(written)).normalize().as_tuple().digits) <= 9


@given(st.text())
def test_law_of_one_line(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    line.encode()
    assert one_line(line) == line


@pytest.mark.skipif(sys.platform != "linux", reason="names of bytes are Linux's")
def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    features, target = blobs(20, 2)
    name = os.fsdecode(b"\xff\x1b[31m.csv")
    rows = [[*row, label] for row, label in zip(features.tolist(), target.tolist(), strict=True)]
    write_csv(tmp_path / name, ["a", "b", "c", "target"], rows)
    answer = subprocess.run(
        [sys.executable, "-m", "bridle", "fit", name, "--out", "out"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert (answer.returncode, answer.stderr) == (0, b"")
    assert answer.stdout.decode().startswith(r"\udcff\x1b[31m.csv: 16 samples")
    assert b"\x1b" not in answer.stdout
    metrics = strict_json((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["data"]["source"] == name


# --- help and wrong usage ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [[], ["fit"], ["train"], ["compare"], ["predict"], ["evaluate"]], ids=str
)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_has_an_example_that_can_be_copied(
    command: Command, name: list[str], option: str
) -> None:
    answer = command(*name, option)
    assert (answer.code, answer.err) == (0, "")
    examples = re.findall(r"Example: (bridle .*)", answer.out)
    assert examples
    for example in examples:
        assert example.startswith(" ".join(["bridle", *name]))
        assert not example.endswith("-")


def test_no_arguments_show_the_help(command: Command) -> None:
    assert command() == command("--help")


def test_version(command: Command) -> None:
    assert command("--version") == (0, f"bridle {bridle.__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fit", "iris", "--no-such"], "--no-such"),
        (["fit", "iris", "--hold", "0.1"], "--hold"),
        (["fit"], "Missing argument 'DATA'"),
        (["predict"], "Missing argument 'MODEL'"),
        (["predict", "model"], "Missing argument 'DATA'"),
        (["evaluate"], "Missing argument 'FILE'"),
        (["evaluate", "--model"], "--model"),
        (["fit", "iris", "wine"], "iris: an embedded set, expected files or it alone"),
        (["fit", "iris", "--C", "strong"], "'--C'"),
        (["fit", "iris", "--C", "--quiet"], "'--C'"),
        (["fit", "iris", "--C"], "--C"),
        (["fit", "iris", "--holdout", "some"], "'--holdout'"),
        (["fit", "iris", "--quiet=maybe"], "--quiet"),
        (["fitt", "iris"], "fitt"),
        (["--no-such"], "--no-such"),
        (["fit", "irsi"], "irsi: no such file, folder or embedded set; did you mean 'iris'?"),
        (["fit", ""], "'': no such file"),
        (["fit", "a\0b.csv"], r"a\x00b.csv"),
        (["fit", "iris", "--out", "a\0b"], "--out"),
        (["predict", "a\0b", "iris"], r"a\x00b"),
        (["fit", "x" * 300 + ".csv"], "File name too long"),
        (["fit", "iris", "--out", "x" * 300], "File name too long"),
        (["fit", "iris", "--target", "x"], "has no column 'x'"),
        (["fit", "iris", "--labels", "y.npy"], "holds its own labels"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_wrong_usage(command: Command, arguments: list[str], expected: str) -> None:
    assert expected in refused(command(*arguments))


# --- true processes ------------------------------------------------------------------------------


def bridle_process(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bridle", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        **options,
    )


def test_as_a_process(tmp_path: Path) -> None:
    answer = bridle_process("fit", "digits", "--out", tmp_path / "out")
    assert (answer.returncode, answer.stderr) == (0, ""), "no live line without a terminal"
    assert "held-out accuracy 0.9" in answer.stdout
    assert (tmp_path / "out" / "predictions.csv").is_file()
    answer = bridle_process("fit", tmp_path / "none.csv")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == f"bridle: {tmp_path / 'none.csv'}: no such file\n"


@pytest.mark.filterwarnings("default")
def test_what_is_printed_is_utf_8_whatever_the_locale(command: Command, tmp_path: Path) -> None:
    path = blob_table(tmp_path / "a.csv", ["naïve", "🎈"])
    command("fit", path, "--out", tmp_path / "m", "--quiet")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    answer = bridle_process("predict", tmp_path / "m", path, env=environment)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert {row["predicted"] for row in table(answer.stdout)} == {"naïve", "🎈"}


def test_a_reader_that_stops_early(tmp_path: Path) -> None:
    rows, model = tmp_path / "X.npy", tmp_path / "m"
    features, target = blobs(60_000)
    np.save(rows, features)
    bridle.SoftmaxRegression(tol=1e-2).fit(features, target).save(model)
    process = subprocess.Popen(
        [sys.executable, "-m", "bridle", "predict", str(model), str(rows)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith(b"id,predicted,probability,")
    process.stdout.close()
    with process.stderr as errors:
        assert errors.read() == b""
    process.wait()


class Terminal(NamedTuple):
    code: int
    out: bytes
    shown: str
    folder: Path


def shown_until(master: int, stop: Callable[[str], bool]) -> str:
    """Return what a terminal shows until it has what is waited for, or its process is gone."""
    shown = b""
    while not stop(shown.decode(errors="replace")):
        try:
            chunk = os.read(master, 65536)
        except OSError:  # what Linux answers once the other end is closed
            break
        if not chunk:
            break
        shown += chunk
    return shown.decode(errors="replace")


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    """Run a fit that could go on for long with stderr on a terminal, and interrupt it on the way.

    However slow the machine: it is interrupted when it shows its gap, and ends when it is done.
    """
    pty = pytest.importorskip("pty", reason="pseudo-terminals are POSIX's")
    place = tmp_path_factory.mktemp("interrupted")
    generator = np.random.default_rng(0)
    # Correlated features of scales a million apart: many steps.
    features = generator.normal(size=(40_000, 300)) @ generator.normal(size=(300, 300))
    np.save(place / "X.npy", (features * np.logspace(-3, 3, 300)).astype(np.float32))
    np.save(place / "y.npy", generator.integers(0, 60, 40_000))
    arguments = ["fit", "X.npy", "--labels", "y.npy", "--no-standardize", "--tol", "1e-14"]
    master, terminal = pty.openpty()
    with (place / "printed").open("wb") as printed:
        process = subprocess.Popen(
            [sys.executable, "-m", "bridle", *arguments, "--out", "out"],
            cwd=place,
            stdout=printed,
            stderr=terminal,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
            # A shell starts what goes on in the background with interruptions ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        os.close(terminal)
        shown = shown_until(master, lambda text: "gap" in text)
        process.send_signal(signal.SIGINT)
        shown += shown_until(master, lambda _: False)
        process.wait()
    finally:
        process.kill()
        os.close(master)
    return Terminal(process.returncode, (place / "printed").read_bytes(), shown, place / "out")


def test_the_live_line_is_shown_on_a_terminal(interrupted: Terminal) -> None:
    assert re.search(r"pass \d+   objective \d+\.\d+   gap \d", interrupted.shown)


def test_the_best_c_is_chosen_by_cross_validation(command: Command, tmp_path: Path) -> None:
    code, out, error = command("fit", "wine", "--Cs", "0.01,1,0.1", "--cv", "3", "--out", tmp_path)
    assert (code, error) == (0, "")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    found = metrics["cross_validation"]
    assert (found["scoring"], found["folds"]) == ("neg_log_loss", 3)
    assert [row["C"] for row in found["scores"]] == [0.01, 0.1, 1.0]
    best = max(found["scores"], key=lambda row: row["mean"])
    assert metrics["model"]["C"] == best["C"]
    assert "neg_log_loss, mean of 3 folds" in out
    (marked,) = [line for line in out.splitlines() if line.endswith("chosen")]
    assert marked.split()[0] == f"{best['C']:g}"
    model = bridle.SoftmaxRegression.load(tmp_path / "model.safetensors")
    assert best["C"] == model.C
    assert command("predict", tmp_path, "wine")[0] == 0


def test_a_best_c_at_the_end_of_the_grid_is_told(command: Command) -> None:
    code, out, _ = command("fit", "wine", "--Cs", "1e-6,1e-5", "--scoring", "accuracy")
    assert code == 0
    assert "is at an end of what was tried: try beyond" in out
    code, out, _ = command("fit", "iris", "--Cs", "clip", "--cv", "2", "--json")
    assert code == 0
    assert 7 < len(json.loads(out)["cross_validation"]["scores"]) <= 15


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--Cs", "1,two"], "--Cs: expected numbers with commas between, or one of clip"),
        (["--Cs", "0"], "--Cs: expected a number above 0"),
        (["--Cs", "1,-1"], "--Cs: expected a number above 0"),
        (["--Cs", "1,2", "--C", "1"], "--C: expected without --Cs"),
        (["--Cs", "1,2", "--scoring", "roc_auc"], "scoring: roc_auc at C=1 in fold 0: "),
        (["--Cs", "1,2", "--hidden", "3"], "--hidden: bridle fit has no such option, bridle train"),
        (["--Cs", "1,2", "--checkpoint", "x"], "--checkpoint: expected without --Cs"),
        (["--Cs", "1,2", "--cv", "1"], "--cv: expected 2 folds or more, found 1"),
        (["--Cs", "1,2", "--cv", "500"], "--cv: expected 40 folds at most, the samples to"),
        (["--Cs", "1,2", "--scoring", "beauty"], "--scoring: expected neg_log_loss"),
        (["--cv", "3"], "--cv: expected with --Cs, --calibrate or --label-errors, found it alone"),
        (["--cv", "5"], "--cv: expected with --Cs, --calibrate or --label-errors, found it alone"),
        (["--scoring", "neg_log_loss"], "--scoring: expected with --Cs, found it alone"),
    ],
)
def test_a_sweep_that_cannot_be(command: Command, arguments: list[str], message: str) -> None:
    code, out, error = command("fit", "iris", *arguments)
    assert (code, out) == (2, "")
    assert error.startswith("bridle: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_checkpoint_is_kept_and_gone_on_from(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "iris.checkpoint"
    arguments = ("fit", "iris", "--holdout", "0", "--checkpoint", path, "--json")
    passes = []
    for _ in range(2):
        code, out, error = command(*arguments)
        assert (code, error) == (0, "")
        passes.append(json.loads(out)["fit"]["passes"])
    assert passes[1] < passes[0] / 2
    code, out, error = command("fit", "wine", "--checkpoint", path)
    assert (code, out) == (2, "")
    assert "expected a checkpoint of 3 classes and 13 features" in error
    line = refused(command("train", "iris", "--hidden", "3", "--checkpoint", path))
    assert "--checkpoint: bridle train has no such option, bridle fit has it" in line


def test_a_fit_that_goes_on_says_so(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "iris.checkpoint"
    arguments = ("fit", "iris", "--checkpoint", path)
    assert command(*arguments).err == ""
    assert command(*arguments).err == f"bridle: going on from the weights in {path}\n"
    assert command(*arguments, "--quiet").err == ""
    line = refused(command("fit", "iris", "--checkpoint", tmp_path / "none" / "a"))
    assert line.startswith(f"bridle: --checkpoint {tmp_path / 'none' / 'a'}: no folder")


def test_what_an_interrupted_fit_wrote_is_replaced(command: Command, tmp_path: Path) -> None:
    assert command("fit", "iris", "--out", tmp_path, "--quiet").code == 0
    metrics = strict_json((tmp_path / "metrics.json").read_text())
    metrics["fit"]["stopped"] = "interrupted"
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    assert command("fit", "iris", "--out", tmp_path, "--quiet").code == 0


@pytest.mark.skipif(sys.platform == "win32", reason="a signal of a terminal is POSIX's")
@pytest.mark.parametrize("module", ["numpy", "bridle.checks", "typer", "bridle.cli.app", "sklearn",
                                    "scipy.sparse", "bridle.fit", "bridle.data"])  # fmt: skip
def test_an_interruption_while_the_command_starts(tmp_path: Path, module: str) -> None:
    """It strikes when a module begins to be loaded: no moment is left to luck."""
    (tmp_path / "sitecustomize.py").write_text(
        f"""
import os, signal, sys
# A shell starts what goes on in the background with interruptions ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
class Strike:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Strike())
"""
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    answer = bridle_process("fit", "iris", env={**os.environ, "PYTHONPATH": path})
    assert (answer.returncode, answer.stdout) == (130, "")
    assert answer.stderr == "bridle: interrupted\n"


def test_an_import_of_the_library_leaves_interruptions_alone() -> None:
    program = (
        "import signal; signal.signal(2, signal.default_int_handler); import bridle; "
        "assert signal.getsignal(2) is signal.default_int_handler; "
        "import bridle.cli; assert signal.getsignal(2) is signal.default_int_handler"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_interrupted_fit(interrupted: Terminal) -> None:
    assert interrupted.code == 130
    assert b"interrupted at the best weights seen: proven gap" in interrupted.out
    assert sorted(path.name for path in interrupted.folder.iterdir()) == [
        "metrics.json",
        "model.safetensors",
        "predictions.csv",
    ]
    assert "bridle: warning: interrupted after" in interrupted.shown
    assert "a fit with --checkpoint FILE can be gone on with" in interrupted.shown
    assert interrupted.shown.count("bridle: interrupted") == 1
    assert interrupted.shown.endswith("bridle: interrupted\r\n")
    assert "Traceback" not in interrupted.shown


@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_no_live_line_where_none_is_wanted(
    command: Command, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert command("fit", "iris", option).err == ""


def test_time_left_of_a_gap_that_falls_steadily() -> None:
    estimate = TimeLeft(1e-8)
    left = [estimate.seconds(float(step), 10.0**-step) for step in range(8)]
    assert left[:2] == [None, None]
    assert left[2:] == [pytest.approx(8 - step) for step in range(2, 8)]
    assert estimate.seconds(9.0, 1e-9) == 0.0


@pytest.mark.parametrize("gap", [0.0, np.inf, np.nan, -1.0])
def test_time_left_is_unknown_of_a_gap_that_is_none(gap: float) -> None:
    estimate = TimeLeft(1e-8)
    for step in range(4):
        assert estimate.seconds(float(step), gap) is None


def test_time_left_of_a_gap_that_falls_in_steps() -> None:
    """A gap that stands still and jumps is told within a factor of two from a third of the way."""
    told = {}
    for count in (60, 150):
        estimate = TimeLeft(1e-5)
        for step in range(count):
            # Flat while the bound says nothing, then ten passes of rest for each jump.
            exponent = 5 * (max(0, step - 12) // 10 * 10) / (count - 12)
            told[step] = estimate.seconds(float(step), min(1.0, 10.0**-exponent))
        for step in range(12 + (count - 12) // 2, count - 12):
            left = told[step]
            assert left is not None
            assert (count - step) / 2 < left < 2 * (count - step)


@pytest.mark.parametrize("gap", [0.0, -4.6e-8, 1e-16])
def test_a_gap_below_rounding_is_said_to_be_that(gap: float) -> None:
    assert step_line(9, 0.5, gap, None) == "pass 9   objective 0.500000   gap at rounding"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("digits", []),
        ("digits", ["--C", "1000"]),
        ("iris", ["--tol", "1e-2"]),
        ("wine", ["--C", "0.01", "--tol", "1e-4"]),
        ("iris", ["--C", "inf"]),
    ],
)
def test_what_a_gap_means_for_the_probabilities(
    command: Command, tmp_path: Path, name: str, arguments: list[str]
) -> None:
    """The bound that is told holds against the optimum, found to rounding."""
    places = tmp_path / "told", tmp_path / "exact"
    answer = command("fit", name, "--holdout", "0", *arguments, "--out", places[0])
    assert answer.code == 0
    said = re.search(
        r"no probability is further than (\S+)\s+from what it is at the optimum( \(estimated\))?$",
        answer.out,
        re.MULTILINE,
    )
    assert said is not None
    assert (said[2] is not None) == ("inf" in arguments)
    exact = [*arguments, "--tol", "1e-12"]
    command("fit", name, "--holdout", "0", *exact, "--out", places[1], "--quiet")
    features = Rows([EMBEDDED[name]().data])
    one, other = (bridle.SoftmaxRegression.load(p / "model.safetensors") for p in places)
    differences = one.predict_proba(features) - other.predict_proba(features)
    # Over one class or several the difference is at most half of all their absolute values.
    furthest = np.abs(differences).sum(axis=1) / 2
    assert furthest.mean() <= float(said[1])
    bound = np.sqrt(one.fit_report_.relative_gap * one.fit_report_.objective / 2)
    assert bound <= float(said[1]) <= 2 * bound


def test_the_commands_tolerance_is_the_estimators(command: Command) -> None:
    metrics = json.loads(command("fit", "iris", "--json").out)
    assert metrics["model"]["tol"] == bridle.SoftmaxRegression().tol == 1e-6


@pytest.mark.parametrize(
    "arguments",
    [
        ["digits"],
        ["digits", "--tol", "1e-13"],
        ["iris", "--C", "inf"],
        ["wine", "--Cs", "0.1,1"],
        ["iris", "--Cs", "0.1,1", "--scoring", "accuracy"],
    ],
    ids=" ".join,
)
def test_what_a_fit_prints_fits_80_columns(command: Command, arguments: list[str]) -> None:
    printed = command("fit", *arguments).out
    assert max(map(len, printed.splitlines())) <= 80


def test_a_sweep_prints_costs_and_no_negative_scores(command: Command) -> None:
    printed = command("fit", "wine", "--Cs", "0.1,1").out
    found = json.loads(command("fit", "wine", "--Cs", "0.1,1", "--json").out)["cross_validation"]
    assert "cross-entropy in nats (-neg_log_loss, mean of 5 folds" in printed
    for row in found["scores"]:
        assert row["mean"] < 0
        line = f"{row['C']:>10.3g}   {-row['mean']:.6f} ± {row['deviation']:.6f}"
        assert line in printed


def test_time_left_is_unknown_while_the_gap_grows() -> None:
    estimate = TimeLeft(1e-8)
    assert [estimate.seconds(float(step), 2.0**step) for step in range(5)] == [None] * 5
