"""No option is silently ignored: what would have no effect is refused in one line."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet
from scipy import sparse
from sklearn.datasets import dump_svmlight_file

from commands import Command

pytest.importorskip("typer", reason="the command is an extra")

import typer.main

from bridle.cli.app import app
from bridle.data import options_used_by

GROUP: Any = typer.main.get_command(app)
ROWS = 40
GENTLE = ("--epochs", "2", "--learning-rate", "0.001")  # on labels that nothing tells
FEATURES = np.random.default_rng(0).normal(size=(ROWS, 3))
LABELS = np.where(np.arange(ROWS) % 2, "yes", "no")
NUMBERS = np.arange(ROWS) % 2


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lie in a folder with the same samples in a file of every kind."""
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame(FEATURES, columns=["a", "b", "c"]).assign(y=LABELS)
    frame.to_csv("table.csv", index=False)
    frame.to_csv("semicolons.csv", index=False, sep=";")
    frame.to_parquet("table.parquet", index=False)
    np.savez("named.npz", X=FEATURES, y=LABELS, X_test=FEATURES[:9], y_test=LABELS[:9])
    np.save("X.npy", FEATURES)
    np.save("y.npy", NUMBERS)
    Path("y.txt").write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    dump_svmlight_file(FEATURES, NUMBERS, "rows.svmlight")
    sparse.save_npz("sparse.npz", sparse.csr_array(FEATURES))
    answers = pd.DataFrame({"y": LABELS, "p_no": 0.25, "p_yes": 0.75})
    answers.to_csv("answers.csv", index=False)
    np.save("answers.npy", answers[["p_no", "p_yes"]].to_numpy())
    return tmp_path


WITHOUT_EFFECT = [
    # --- options of the other kind of model ---
    *(
        (f"fit iris {name}{value}", f"{name}: bridle fit has no such option, bridle train and")
        for name in (
            "--hidden", "--activation", "--output", "--cost", "--alpha", "--solver",
            "--learning-rate", "--batch-size", "--epochs", "--momentum", "--init", "--seed",
        )
        for value in (" 1", "=1")
    ),
    *(
        (f"{name} iris {option}", f"bridle {name} has no such option, bridle fit has it")
        for name in ("train", "compare")
        for option in (
            "--C 1", "--Cs 1,2", "--cv 3", "--scoring accuracy", "--tol 1e-3", "--device cpu",
            "--stream", "--no-stream", "--checkpoint file", "--calibrate temperature",
            "--group features",
        )
    ),
    ("compare iris --force", "--force: bridle compare has no such option, bridle fit and bridle"),
    ("predict m iris --categorical a", "has no such option, bridle fit, bridle train, bridle co"),
    ("predict m iris --labels y.npy", "--labels: bridle predict has no such option, bridle fit,"),
    ("evaluate iris --out file", "--out: bridle evaluate has no such option, bridle fit, bridle"),
    # --- options that need another, or exclude it ---
    ("fit iris --group features", "--group: expected with --l1-ratio above 0"),
    ("fit iris --group features --l1-ratio 0", "--group: expected with --l1-ratio above 0"),
    ("fit iris --group classes --l1-ratio 1", "--group: expected"),
    ("fit iris --l1-ratio 1.5", "--l1-ratio: expected a number in [0, 1], found 1.5"),
    ("fit iris --l1-ratio much", "--l1-ratio: expected a number in [0, 1], or several with"),
    ("fit iris --l1-ratio 0.5,1", "--l1-ratio: expected one number; folds choose among several"),
    ("fit iris --cv 5", "--cv: expected with --Cs, --calibrate or --label-errors, found it alone"),
    ("fit iris --calibrate temperature --cv 1", "--cv: expected 2 folds or more, found 1"),
    ("fit iris --calibrate platt", "--calibrate: expected one of temperature, vector, matrix"),
    ("fit iris --scoring neg_log_loss", "--scoring: expected with --Cs, found it alone"),
    ("fit iris --Cs 1,2 --C 1", "--C: expected without --Cs"),
    ("fit iris --Cs 1,2 --checkpoint file", "--checkpoint: expected without --Cs"),
    ("train iris --l1-ratio 0.5", "--l1-ratio: expected with --alpha, found no penalty"),
    ("train iris --l1-ratio 0", "--l1-ratio: expected with --alpha, found no penalty"),
    ("compare iris --l1-ratio 1 --alpha 0", "--l1-ratio: expected with --alpha"),
    ("train iris --solver adam --momentum 0.5", "--momentum: expected with --solver sgd"),
    ("compare iris --solver adam --momentum 0", "--momentum: expected with --solver sgd"),
    *(
        (f"{name} {arguments}", message)
        for name in ("fit", "train", "compare")
        for arguments, message in (
            ("iris --json --quiet", "--quiet: expected without --json, found both"),
            ("iris --test wine --holdout 0.5", "--holdout: expected without --test, found both"),
            ("iris --test-labels y.npy", "--test-labels: expected with --test, found it alone"),
            ("X.npy --labels y.npy --target y", "--target: expected without --labels, found both"),
            (
                "named.npz --arrays X=X,y=y --labels y.npy",
                "--arrays y=…: expected without --labels, found both",
            ),
            (
                "named.npz --arrays X=X,y=y,X_test=X_test --holdout 0.2",
                "--arrays X_test=…: expected without --holdout, found both",
            ),
            (
                "named.npz --arrays X=X,y=y,X_test=X_test,y_test=y_test --holdout 0.2",
                "--arrays X_test=…, --arrays y_test=…: expected without --holdout, found both",
            ),
            (
                "named.npz --arrays X=X,y=y,y_test=y_test",
                "--arrays y_test=…: expected with X_test=…, found it alone",
            ),
            (
                "X.npy --labels y.npy --test named.npz --test-labels y.npy --arrays y_test=y",
                "--arrays y_test=…: expected without --test-labels, found both",
            ),
            # --- options of other data ---
            ("X.npy --labels y.npy --text a", "--text: expected a table, X.npy is no table"),
            ("rows.svmlight --drop a", "--drop: expected a table, rows.svmlight is no table"),
            ("named.npz --categorical a", "--categorical: expected a table"),
            ("iris --columns a", "--columns: expected a table, iris is an embedded set"),
            ("iris --target y", "target: iris is an embedded set and has no column 'y'"),
            ("X.npy --labels y.npy --arrays X=X", "--arrays: expected an .npz or .safetensors"),
            ("table.csv --arrays X=X", "--arrays: expected an .npz or .safetensors"),
            ("table.csv --labels y.npy", "labels: table.csv is a table and holds its own labels"),
            ("table.csv --columns a --keep b", "--keep: 'b' is not among --columns"),
            ("table.csv --columns a --text b", "--text: 'b' is not among --columns"),
            ("table.csv --columns a --categorical b", "--categorical: 'b' is not among --columns"),
            ("table.csv --columns a,b --drop b", "--columns: expected without --drop"),
            ("table.csv --target y --keep y", "--keep: 'y' is the target"),
            ("table.csv --test table.parquet --index-base 1", "--index-base: table.csv is a table"),
        )
    ),
    ("fit iris --force", "--force: expected with --out, found it alone"),
    ("train iris --force", "--force: expected with --out, found it alone"),
    ("fit sparse.npz --labels y.npy --device cpu", "--device: expected dense features on cpu"),
    ("fit iris --stream", "--stream: expected with --device, found it alone"),
    ("fit iris --no-stream", "--no-stream: expected with --device, found it alone"),
    pytest.param(
        "fit iris --device nowhere",
        "--device: expected one that PyTorch has: ",
        marks=pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed"),
    ),
    # --- answers ---
    ("evaluate answers.csv --percent --scores", "--percent: expected without --scores, found both"),
    ("evaluate answers.csv --normalize --scores", "--normalize: expected without --scores"),
    ("evaluate answers.csv --na mean", "--na: expected with --model; answers have no gaps to fill"),
    ("evaluate answers.csv --labels y.npy --target y", "--target: expected without --labels"),
    ("evaluate answers.csv --index-base 1", "--index-base: answers.csv is a table"),
    ("evaluate answers.npy --labels y.npy --decimal ,", "--decimal: answers.npy is no table"),
    ("evaluate answers.npy --labels y.npy --comment x", "--comment: answers.npy is no table"),
    ("evaluate answers.npy --target y", "target: answers.npy is an .npy array and has no column"),
    ("evaluate named.npz --arrays X=X,y_test=y", "--arrays: expected X=NAME,y=NAME, each once"),
    ("evaluate answers.csv --percent --normalize", "--percent: expected 0 to 100"),
    ("evaluate counts.csv --probabilities --normalize", "--probabilities: expected 0 to 1"),
    *(
        (f"evaluate --model m iris {option}", f"{option.split()[0]}: expected without --model")
        for option in ("--answers p_*", "--normalize", "--percent")
    ),
    ("evaluate --model m iris --scores", "--scores/--probabilities: expected without --model"),
    # --- predictions ---
    ("predict m table.csv --compact --target y", "--target: expected without --compact"),
    ("predict m named.npz --compact --arrays X=X,y=y", "--arrays y=…: expected without --compact"),
    ("predict m named.npz --arrays X=X,X_test=X", "--arrays: expected X=NAME,y=NAME, each once"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "message"), WITHOUT_EFFECT, ids=lambda text: text[:60])
@pytest.mark.usefixtures("files")
def test_what_has_no_effect_is_refused(command: Command, line: str, message: str) -> None:
    counts = pd.DataFrame({"y": LABELS, "p_no": 3, "p_yes": 5})
    counts.to_csv("counts.csv", index=False)
    if "--percent --normalize" in line:  # 300 per cent
        (counts.assign(p_no=300.0)).to_csv("answers.csv", index=False)
    code, out, error = command(*line.split())
    assert (code, out) == (2, "")
    assert error.startswith("bridle: ")
    assert message in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("predict m iris --target foo", "target: iris is an embedded set and has no column 'foo'"),
        ("predict m iris --delimiter ;", "--delimiter: iris is an embedded set, to which it says"),
        ("predict m rows.svmlight --target y", "target: rows.svmlight is an svmlight file"),
        ("predict m X.npy --target y", "--target: X.npy has no column 'y'"),
        ("predict m X.npy --header", "--header: X.npy is no table, to which it says nothing"),
        ("evaluate --model m X.npy --labels y.npy --thousands .", "--thousands: X.npy is no table"),
    ],
)
@pytest.mark.usefixtures("files")
def test_a_model_heeds_what_it_is_told_or_says_so(
    command: Command, line: str, message: str
) -> None:
    data = ("iris",) if "iris" in line else ("X.npy", "--labels", "y.npy")
    assert command("fit", *data, "--out", "m", "--quiet")[0] == 0
    code, out, error = command(*line.split())
    assert (code, out) == (2, "")
    assert message in error
    assert len(error.splitlines()) == 1


TOLD = {
    "delimiter": ("--delimiter", ","),
    "decimal": ("--decimal", "."),
    "thousands": ("--thousands", "'"),
    "encoding": ("--encoding", "utf-8"),
    "comment": ("--comment", "#"),
    "header": ("--no-header",),
    "na": ("--na", "drop"),
    "na_spellings": ("--na-spellings", "-"),
    "index_base": ("--index-base", "1"),
}
OF_TEXT = set(TOLD) - {"index_base"}
OF_TEXT_LABELS = {"delimiter", "encoding", "header", "na_spellings"}


@pytest.mark.parametrize(
    ("data", "labels", "used"),
    [
        ("iris", None, set()),
        ("table.csv", None, OF_TEXT),
        ("-", None, OF_TEXT),
        ("table.parquet", None, {"na", "na_spellings"}),
        ("named.npz", None, {"na_spellings"}),
        ("X.npy", "y.npy", {"na_spellings"}),
        ("X.npy", "y.txt", OF_TEXT_LABELS),
        ("sparse.npz", "y.txt", OF_TEXT_LABELS),
        ("rows.svmlight", None, {"index_base"}),
        ("tables", None, OF_TEXT),
        ("shards", "y.txt", OF_TEXT_LABELS),
        ("sets", None, {"na", "na_spellings"}),
        ("pictures", None, set()),
    ],
)
def test_options_of_files_are_used_or_refused(
    command: Command, files: Path, data: str, labels: str | None, used: set[str]
) -> None:
    for folder, name in (("tables", "table.csv"), ("shards", "X.npy")):
        (files / folder).mkdir()
        (files / folder / name).write_bytes((files / name).read_bytes())
    for part in ("train", "test"):
        (files / "sets" / part).mkdir(parents=True)
        content = (files / "table.parquet").read_bytes()
        (files / "sets" / part / "table.parquet").write_bytes(content)
    for colour in (0, 255):
        (files / "pictures" / str(colour)).mkdir(parents=True)
        image = pytest.importorskip("PIL.Image", reason="images need an extra")
        image.new("L", (2, 2), colour).save(files / "pictures" / str(colour) / "a.png")
    assert options_used_by(data, labels) == used
    with_labels = () if labels is None else ("--labels", labels)
    for name in set(TOLD) - used - ({"index_base"} if data == "-" else set()):
        code, out, error = command("fit", data, *with_labels, *TOLD[name])
        assert (code, out) == (2, ""), name
        option = name.replace("_", "-")
        assert error.startswith(f"bridle: --{option}: {data} is "), error
        assert error.endswith(", to which it says nothing\n")


@pytest.mark.parametrize(
    "line",
    [
        "fit semicolons.csv --delimiter ; --test table.parquet",
        "fit table.parquet --test semicolons.csv --delimiter ;",
        "fit table.csv --comment # --test table.parquet --na drop",
        "train table.parquet --test table.csv --decimal . --learning-rate 0.01",
        "fit X.npy --labels y.txt --no-header --test X.npy --test-labels y.txt",
    ],
)
@pytest.mark.usefixtures("files")
def test_what_one_of_two_files_heeds_is_no_fault(command: Command, line: str) -> None:
    code, _, error = command(*line.split())
    assert (code, error) == (0, "")


@pytest.mark.parametrize("name", ["no-such.csv", "no-such", "a\0b.csv", "table.strange"])
@pytest.mark.usefixtures("files")
def test_a_file_that_is_not_there_is_the_first_thing_said(command: Command, name: str) -> None:
    Path("table.strange").write_text("a", encoding="utf-8")
    code, _, error = command("fit", name, "--index-base", "1", "--delimiter", ";")
    assert code == 2
    assert "no such file" in error or "unknown ending" in error or "cannot be read" in error


def test_no_command_has_an_option_of_the_other_model() -> None:
    options = {
        name: {word for parameter in command.params for word in parameter.opts}
        for name, command in GROUP.commands.items()
    }
    network = {
        "--hidden", "--activation", "--output", "--cost", "--alpha", "--solver",
        "--learning-rate", "--momentum", "--batch-size", "--epochs", "--init", "--seed",
    }  # fmt: skip
    optimum = {
        "--C", "--Cs", "--cv", "--scoring", "--tol", "--checkpoint", "--device", "--stream",
        "--calibrate", "--label-errors", "--group",
    }  # fmt: skip
    assert optimum <= options["fit"]
    assert not options["fit"] & network
    for name in ("train", "compare"):
        assert network <= options[name]
        assert not options[name] & optimum
    assert options["train"] - options["compare"] == {"--force", "--report", "--explain-page"}


# --- what a report says of the features, and of columns -------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "units", "otherwise"),
    [
        ("table.csv", "mean 0, deviation 1", "--no-standardize: as they are"),
        ("table.csv --standardize", "mean 0, deviation 1", ""),
        ("table.csv --no-standardize", "as they are", ""),
        ("rows.svmlight", "root mean square 1", "--no-standardize: as they are"),
        ("pixels.npz", "pixels as 0 to 1", "--standardize: mean 0, deviation 1"),
        ("pixels.npz --standardize", "mean 0, deviation 1", ""),
        (
            "reviews.csv --target y",
            "words as they are, others mean 0, deviation 1",
            "--standardize: all",
        ),
        ("reviews.csv --target y --drop n", "as they are", "--standardize: root mean square 1"),
        (
            "reviews.csv --target y --standardize",
            "words root mean square 1, others mean 0, deviation 1",
            "",
        ),
    ],
)
@pytest.mark.usefixtures("files")
def test_the_units_of_the_features_are_said(
    command: Command, arguments: str, units: str, otherwise: str
) -> None:
    random = np.random.default_rng(1)
    np.savez("pixels.npz", X=random.integers(0, 255, (ROWS, 4, 4)).astype(np.uint8), y=LABELS)
    reviews(ROWS).to_csv("reviews.csv", index=False)
    given = arguments.split()
    code, text, error = command("train", *given, *GENTLE)
    assert (code, error) == (0, "")
    (line,) = [line for line in text.splitlines() if line.startswith("  features: ")]
    # What the user has not said is told with the option that says otherwise.
    assert line.removeprefix(f"  features: {units}") == (f" ({otherwise})" if otherwise else "")
    assert len(line) <= 80
    found = json.loads(command("train", *given, *GENTLE, "--json")[1])
    assert found["fit"]["features"] == units
    code, text, _ = command("compare", *given, *GENTLE)
    assert line in text.splitlines()
    assert json.loads(command("compare", *given, *GENTLE, "--json")[1])["features"] == units


def reviews(count: int) -> pd.DataFrame:
    random = np.random.default_rng(2)
    words = np.array(["plot", "cast", "music", "story", "half", "ending", "pace", "the", "was"])
    texts = [" ".join(random.choice(words, 6)) for _ in range(count)]
    return pd.DataFrame({"review": texts, "n": random.normal(size=count), "y": LABELS[:count]})


@pytest.mark.parametrize(
    "line",
    [
        "reviews.csv --target y",
        "reviews.csv --target y --text review",
        "reviews.csv --target y --test reviews.csv",
        "sparse.npz --labels y.npy",
        "rows.svmlight",
    ],
)
@pytest.mark.usefixtures("files")
def test_words_and_sparse_files_are_compared(command: Command, line: str) -> None:
    reviews(ROWS).to_csv("reviews.csv", index=False)
    code, text, error = command("compare", *line.split(), *GENTLE)
    assert (code, error) == (0, "")
    assert text.count("not reached") < 3
    if "reviews" in line:
        assert "column 'review'" in text
        assert "words, weighed by TF-IDF" in text


@pytest.mark.parametrize("name", ["predict", "evaluate"])
def test_a_command_advises_no_option_that_it_lacks(
    command: Command, files: Path, name: str
) -> None:
    assert command("fit", "table.csv", "--out", "m", "--quiet")[0] == 0
    words = pd.DataFrame({"a": ["1", "x"], "b": [1, 2], "c": [1, 2], "y": ["yes", "no"]})
    words.to_csv("words.csv", index=False)
    dates = pa.table(
        {"a": pa.array([0, 1], pa.date32()), "b": [1, 2], "c": [1, 2], "y": ["yes", "no"]}
    )
    parquet.write_table(dates, files / "dates.parquet")
    for data, what in (
        ("words.csv", "line 3, column 'a': text in a numeric column: 'x'\n"),
        ("dates.parquet", "column 'a' is of type date32[day], expected numbers"),
    ):
        arguments = ("--model", "m", data) if name == "evaluate" else ("m", data)
        code, _, error = command(name, *arguments)
        assert code == 2
        assert what in error
        own = {word for each in GROUP.commands[name].params for word in each.opts}
        assert {word.strip(";,") for word in error.split() if word.startswith("--")} <= own
    # A fit has them, and says so.
    more = pd.concat([words.assign(a=["1", "2"])] * 5 + [words])
    more.to_csv("more.csv", index=False)
    assert "(--categorical a if the numbers" in command("fit", "more.csv")[2]
    assert "; --drop a leaves it out" in command("fit", "dates.parquet")[2]


# --- per cent, and dates --------------------------------------------------------------------------

SHARES = np.round(np.random.default_rng(3).uniform(0.02, 0.98, ROWS), 3)


def in_percent(sign: str, *, both: bool = True) -> pd.DataFrame:
    columns = {"y": LABELS, "p_yes": [f"{100 * share:.1f}{sign}" for share in SHARES]}
    if both:
        columns["p_no"] = [f"{100 * (1 - share):.1f}{sign}" for share in SHARES]
    return pd.DataFrame(columns)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("both", [True, False], ids=["two columns", "one column"])
@pytest.mark.parametrize("sign", ["%", " %", "\u00a0%"])
@pytest.mark.usefixtures("files")
def test_per_cent_with_its_sign(command: Command, kind: str, both: bool, sign: str) -> None:
    frame = in_percent(sign, both=both)
    frame.to_csv("shares.csv", index=False)
    frame.to_parquet("shares.parquet", index=False)
    code, out, error = command("evaluate", f"shares.{kind}", "--percent", "--json")
    assert (code, error) == (0, "")
    # By hand: the mean surprisal of the truth.
    truth = np.where(LABELS == "yes", SHARES, 1 - SHARES)
    assert json.loads(out)["cross_entropy_nats"] == pytest.approx(-np.log(truth).mean(), rel=1e-6)
    code, out, error = command("evaluate", f"shares.{kind}")
    assert (code, out) == (2, "")
    assert error == (
        f"bridle: shares.{kind}: column 'p_yes' is spelled with the sign %: --percent takes the "
        "answers as per cent\n"
    )


@pytest.mark.usefixtures("files")
def test_per_cent_signs_hide_no_text_and_no_decimal_comma(command: Command) -> None:
    frame = in_percent("%")
    broken = frame.assign(p_yes=[*frame["p_yes"][:-1], "most"])
    broken.to_csv("broken.csv", index=False)
    line = command("evaluate", "broken.csv", "--percent")[2]
    assert "line 41, column 'p_yes': text in a numeric column: 'most'" in line
    commas = frame.replace(r"\.", ",", regex=True)
    commas.to_csv("commas.csv", index=False, sep=";")
    plain = frame.replace("%", "", regex=True)
    plain.to_csv("plain.csv", index=False)
    expected = command("evaluate", "plain.csv", "--percent", "--json")[1]
    found = command("evaluate", "commas.csv", "--percent", "--decimal", ",", "--json")[1]
    assert json.loads(found)["cross_entropy_nats"] == json.loads(expected)["cross_entropy_nats"]
    mixed = frame.assign(p_no=plain["p_no"])
    mixed.to_csv("mixed.csv", index=False)
    found = command("evaluate", "mixed.csv", "--percent", "--json")[1]
    assert json.loads(found)["cross_entropy_nats"] == json.loads(expected)["cross_entropy_nats"]


@pytest.mark.usefixtures("files")
def test_labels_may_be_called_after_per_cents(command: Command) -> None:
    labels = np.where(NUMBERS, "10%", "20%")
    pd.DataFrame({"y": labels, "10%": SHARES, "20%": 1 - SHARES}).to_csv("rates.csv", index=False)
    code, out, error = command("evaluate", "rates.csv", "--target", "y", "--json")
    assert (code, error) == (0, "")
    assert json.loads(out)["classes"] == ["10%", "20%"]


@pytest.mark.parametrize(
    ("kind", "spelled"),
    [
        (pa.date32(), ["2020-01-05", "2021-03-04"]),
        (pa.timestamp("s"), ["2020-01-05 00:00:00", "2021-03-04 00:00:00"]),
    ],
    ids=str,
)
@pytest.mark.usefixtures("files")
def test_labels_that_are_dates(command: Command, kind: pa.DataType, spelled: list[str]) -> None:
    days = pd.to_datetime(np.where(NUMBERS, "2021-03-04", "2020-01-05"))
    table = pa.table({"a": FEATURES[:, 0], "b": FEATURES[:, 1], "day": pa.array(days).cast(kind)})
    parquet.write_table(table, "days.parquet")
    texts = np.array(spelled)[NUMBERS]
    frame = pd.DataFrame({"a": FEATURES[:, 0], "b": FEATURES[:, 1], "day": texts})
    frame.to_csv("days.csv", index=False)
    figures = []
    for data in ("days.parquet", "days.csv"):
        for target in ((), ("--target", "day")):
            code, out, error = command("fit", data, *target, "--json")
            assert (code, error) == (0, "")
            found = json.loads(out)["evaluation"]
            assert found["classes"] == spelled
            figures.append(found["cross_entropy_nats"])
    assert figures == pytest.approx([figures[0]] * 4)
    assert command("fit", "days.parquet", "--out", "m", "--quiet")[0] == 0
    for data in ("days.parquet", "days.csv"):
        assert command("evaluate", "--model", "m", data)[0] == 0
        assert command("predict", "m", data, "--out", "answers.csv") == (0, "", "")
        assert command("evaluate", "answers.csv", "--target", "day")[0] == 0
    one, other = spelled
    answers = pa.table({"truth": table["day"], one: SHARES, other: 1 - SHARES})
    parquet.write_table(answers, "answers.parquet")
    code, out, error = command("evaluate", "answers.parquet", "--json")
    assert (code, error) == (0, "")
    truth = np.where(NUMBERS, 1 - SHARES, SHARES)
    assert json.loads(out)["cross_entropy_nats"] == pytest.approx(-np.log(truth).mean(), rel=1e-6)


@pytest.mark.usefixtures("files")
def test_rows_without_a_date_as_label(command: Command) -> None:
    days = pd.Series(pd.to_datetime(np.where(NUMBERS, "2021-03-04", "2020-01-05"))).dt.date
    days[3] = None
    pd.DataFrame({"a": FEATURES[:, 0], "day": days}).to_parquet("days.parquet", index=False)
    line = command("fit", "days.parquet", "--target", "day")[2]
    assert "row 3, column 'day': missing target value" in line
    code, out, _ = command("fit", "days.parquet", "--target", "day", "--na", "drop")
    assert code == 0
    assert "1 of 40 rows have missing values: not used (1 in 'day')" in out
