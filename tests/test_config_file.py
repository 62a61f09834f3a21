"""Options in a file: --config reads them as if they were typed, --save-config writes them."""

from __future__ import annotations

import json
import math
import os
import re
import tomllib
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands import Answer, Command

pytest.importorskip("typer", reason="the command is an extra")

import typer.main

from bridle.cli import config_file, fitting
from bridle.cli.app import app
from bridle.cli.config_file import Option

GROUP: Any = typer.main.get_command(app)
ROWS = 60


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> Command:
    """Run the command in a folder with a table and with answers of two models."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    target = np.arange(ROWS) % 3
    names = np.array(["red", "green", "blue"])[target]
    frame = pd.DataFrame(generator.normal(size=(ROWS, 3)) + target[:, None], columns=list("abc"))
    frame.assign(kind=names).to_csv("table.csv", index=False)
    for name in ("ours", "theirs"):
        rows = generator.dirichlet(np.ones(3), size=ROWS)
        answers = pd.DataFrame(rows, columns=["red", "green", "blue"])
        answers.assign(truth=names).to_csv(f"{name}.csv", index=False)
    return command


def written(text: str, name: str = "run.toml") -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def refusal(answer: Answer) -> str:
    """Return the one line of a refusal, without the command's name."""
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("bridle: ")
    line = answer.err.removesuffix("\n")
    assert line.isprintable(), "one line, nothing that a terminal would obey"
    return line.removeprefix("bridle: ")


def metrics(folder: str) -> Any:
    """Return the figures of a fit without what differs from one fit to the next: its time."""
    found = json.loads(Path(folder, "metrics.json").read_bytes())
    for place in (found["fit"], *found["fit"].get("history", [])):
        place.pop("seconds", None)
    return found


# What each command is told, and how a file says it.
TOLD = {
    "fit": (
        "table.csv --target kind --Cs 0.1,1 --cv 3 --no-standardize --label-errors --quiet",
        {
            "data": "table.csv", "target": "kind", "Cs": "0.1,1", "cv": 3, "standardize": False,
            "label-errors": True, "quiet": True,
        },
    ),
    "train": (
        "table.csv --hidden 5,4 --epochs 2 --learning-rate 0.1 --drop a --drop b --json",
        {
            "data": "table.csv", "hidden": "5,4", "epochs": 2, "learning-rate": 0.1,
            "drop": ["a", "b"], "json": True,
        },
    ),
    "compare": (
        "table.csv --cost quadratic --cost cross_entropy --epochs 1 --header --accuracy 1",
        {
            "data": "table.csv", "cost": ["quadratic", "cross_entropy"], "epochs": 1,
            "header": True, "accuracy": 1.0,
        },
    ),
    "predict": (
        "model table.csv --compact --out answers.csv",
        {"model": "model", "data": "table.csv", "compact": True, "out": "answers.csv"},
    ),
    "evaluate": (
        "ours.csv theirs.csv --probabilities --target truth",
        {"data": ["ours.csv", "theirs.csv"], "probabilities": True, "target": "truth"},
    ),
    "calibrate": (
        "ours.csv --method vector --json",
        {"data": "ours.csv", "method": "vector", "json": True},
    ),
    "explain": ("table.csv --out why.html", {"data": "table.csv", "out": "why.html"}),
}  # fmt: skip


def without_seconds(text: str) -> list[str]:
    return [line for line in text.splitlines() if "seconds" not in line and " s" not in line]


def test_every_command_but_help_reads_a_file() -> None:
    assert list(TOLD) == [name for name in GROUP.commands if name != "help"]


@pytest.mark.parametrize("name", TOLD)
def test_what_a_command_was_told_is_written_and_read_again(command: Command, name: str) -> None:
    if name == "predict":
        assert command("fit", "table.csv", "--out", "model", "--quiet").code == 0
    if name == "explain":
        pytest.importorskip("jinja2", reason="the extra `report` is not installed")
    arguments, expected = TOLD[name]
    first = command(name, *arguments.split(), "--save-config", "run.toml")
    assert (first.code, first.err) == (0, "")
    assert tomllib.loads(Path("run.toml").read_text(encoding="utf-8")) == {name: expected}
    again = command(name, "--config", "run.toml", "--save-config", "again.toml")
    assert (again.code, again.err) == (0, "")
    assert without_seconds(again.out) == without_seconds(first.out)
    assert Path("again.toml").read_bytes() == Path("run.toml").read_bytes()
    assert not list(Path().glob(".*"))


def test_a_fit_from_the_saved_file_is_the_same_fit(command: Command) -> None:
    told = ("--target", "kind", "--C", "0.3", "--holdout", "0.25", "--drop", "b", "--quiet")
    options = (*told, "--out", "first", "--save-config", "run.toml")
    assert command("fit", "table.csv", *options).code == 0
    assert command("fit", "--config", "run.toml", "--out", "second") == (0, "", "")
    assert metrics("first") == metrics("second")
    assert metrics("first")["model"]["C"] == 0.3
    predictions = (Path(name, "predictions.csv").read_bytes() for name in ("first", "second"))
    assert len(set(predictions)) == 1


def test_what_is_typed_wins(command: Command) -> None:
    written('[fit]\ndata = "nowhere.csv"\nC = 3\ndrop = ["a", "b"]\nstandardize = true\n')
    typed = ("table.csv", "--C", "0.5", "--drop", "c", "--no-standardize", "--quiet")
    told = command("fit", *typed, "--config", "run.toml", "--out", "with")
    assert told == (0, "", "")
    assert command("fit", *typed, "--out", "without") == (0, "", "")
    assert metrics("with") == metrics("without")


@pytest.mark.parametrize(
    ("table", "typed"),
    [
        ('data = "iris"\nCs = [0.1, 1]\ncv = 3', "iris --Cs 0.1,1 --cv 3"),
        ('data = "iris"\nCs = ["clip"]\ncv = 2', "iris --Cs clip --cv 2"),
        ('data = "iris"\nC = inf\ntol = 1e-3', "iris --C inf --tol 1e-3"),
        ('data = "iris"\nC = 2\nholdout = 0', "iris --C 2 --holdout 0"),
        ('data = "table.csv"\nheader = true', "table.csv --header"),
        ('data = "table.csv"\nno-header = false', "table.csv --header"),
        ('data = "table.csv"\nno-standardize = true', "table.csv --no-standardize"),
        ('data = "table.csv"\nlabel-errors = false', "table.csv"),
        ('data = "table.csv"\ndrop = "a,b"', "table.csv --drop a,b"),
        ('data = "table.csv"\nna-spellings = ["none", "NA"]', "table.csv --na-spellings none,NA"),
    ],
)
def test_a_file_says_what_is_typed(command: Command, table: str, typed: str) -> None:
    written(f"[fit]\n{table}\nquiet = true\n")
    told = command("fit", "--config", "run.toml", "--out", "told")
    assert (told.code, told.out) == (0, "")
    assert command("fit", *typed.split(), "--quiet", "--out", "typed") == told
    assert metrics("told") == metrics("typed")


@pytest.mark.parametrize("sizes", ['"5,4"', "[5, 4]", '["5", "4"]'])
def test_sizes_are_numbers_or_text(command: Command, sizes: str) -> None:
    written(f'[train]\ndata = "table.csv"\nhidden = {sizes}\nepochs = 1\n')
    assert "network 3-5-4-3" in command("train", "--config", "run.toml").out


def test_tables_of_other_commands_are_left_alone(command: Command) -> None:
    written('[train]\nwhatever = 1\n[fit]\ndata = "iris"\nquiet = true\n')
    assert command("fit", "--config", "run.toml") == (0, "", "")


@pytest.mark.parametrize(
    "content",
    [
        b'\xef\xbb\xbf[fit]\ndata = "iris"\n',
        b'[fit]\r\ndata = "iris" # a flower\r\n\r\n',
        b'fit = {data = "iris"}',
        b'fit.data = "iris"',
        b'fit."data" = """iri\\\n  s"""',
    ],
)
def test_spellings_of_toml(command: Command, content: bytes) -> None:
    Path("run.toml").write_bytes(content)
    answer = command("fit", "--config", "run.toml")
    assert (answer.code, answer.err) == (0, "")


REFUSED = [
    # --- values of another type, and what they are ---
    ("C = '1'", "C in [fit]: expected a number, found the text '1'"),
    ("C = true", "C in [fit]: expected a number, found true"),
    ("C = [1]", "C in [fit]: expected a number, found an array of 1: 1"),
    ("C = {a = 1}", "C in [fit]: expected a number, found a table"),
    ("C = 1979-05-27", "C in [fit]: expected a number, found a date or a time"),
    ("C = 07:32:00", "C in [fit]: expected a number, found a date or a time"),
    (f"C = {10**400}", "C in [fit]: expected a number, found an integer of more than 64 bits"),
    (f"C = 0x{'f' * 9000}", "C in [fit]: expected a number, found an integer of more than 64 bits"),
    ("cv = 3.0", "cv in [fit]: expected a whole number of at most 64 bits, found 3.0"),
    (f"cv = {2**63}", "cv in [fit]: expected a whole number of at most 64 bits, found an integer"),
    ("cv = nan", "cv in [fit]: expected a whole number of at most 64 bits, found nan"),
    ("json = 1", "json in [fit]: expected true or false, found 1"),
    ("header = 'no'", "header in [fit]: expected true or false, found the text 'no'"),
    ("target = 3", "target in [fit]: expected text, found 3"),
    ("target = ['a', 'b']", "target in [fit]: expected text, found an array of 2: the text 'a',"),
    ("target = false", "target in [fit]: expected text, found false"),
    (r'target = "a\u0000b"', r"target in [fit]: expected text, without U+0000, found the text 'a"),
    (r'out = "a\u0000b"', r"out in [fit]: expected text, without U+0000, found the text 'a\x00b'"),
    ("drop = [1, 2]", "drop in [fit]: expected text, or an array of texts, found an array of 2"),
    ("drop = []", "drop in [fit]: expected text, or an array of texts, found []"),
    ("drop = [['a']]", "expected text, or an array of texts, found an array of 1: an array"),
    ("arrays = [1]", "arrays in [fit]: expected text, or an array of texts, found an array of 1"),
    ("na-spellings = ['a,b']", "na-spellings in [fit]: expected no comma in an item, as commas"),
    ("Cs = [true]", "Cs in [fit]: expected text, or an array of numbers, found an array of 1"),
    ("Cs = []", "Cs in [fit]: expected text, or an array of numbers, found []"),
    # --- keys ---
    ("c = 1", "c in [fit]: bridle fit has no such option; C is one"),
    ("'c s' = 1", "'c s' in [fit]: bridle fit has no such option; Cs is one"),
    ("label_errors = true", "bridle fit has no such option; label-errors is one"),
    ("'--label-errors' = true", "--label-errors in [fit]: bridle fit has no such option; label-"),
    ("hidden = 3", "bridle fit has no such option, bridle train and bridle compare have it"),
    ("compact = true", "compact in [fit]: bridle fit has no such option, bridle predict has it"),
    ("config = 'other.toml'", "config in [fit]: expected on the command line only"),
    ("save-config = 'other.toml'", "save-config in [fit]: expected on the command line only"),
    ("help = true", "help in [fit]: bridle fit has no such option"),
    ("q = true", "q in [fit]: bridle fit has no such option"),
    ('"a\\u001b[31m" = 1', r"'a\x1b[31m' in [fit]: bridle fit has no such option"),
    ("a.b = 1", "a in [fit]: bridle fit has no such option"),
    ("header = true\nno-header = true", "no-header in [fit]: expected once, found header too"),
    ("C = 1\nC = 2 # too", "line 4: expected TOML, found 'C = 2 # too': Cannot overwrite a value"),
    ("C = 1\nC = 2", "line 4: expected TOML, found 'C = 2': Cannot overwrite a value"),
    # --- values out of range, and options that exclude each other: as if they were typed ---
    ("C = -1", "--C: expected a number above 0, found -1.0 (C: from [fit] of run.toml)"),
    ("C = nan", "--C: expected a number above 0, found nan (C: from [fit] of run.toml)"),
    ("cv = 1\nCs = [1, 2]", "--cv: expected 2 folds or more, found 1 (cv: from [fit] of run.toml)"),
    ("calibrate = 'platt'", "found 'platt' (calibrate: from [fit] of run.toml)"),
    ("Cs = [1, -2]", "(Cs: from [fit] of run.toml)"),
    ("json = true\nquiet = true", "found both (json and quiet: from [fit] of run.toml)"),
    ("stream = false", "--no-stream: expected with --device, found it alone (stream: from [fit]"),
    ("decimal = ','", "--decimal: iris is an embedded set, to which it says nothing (decimal"),
    ("labels = 'y.npy'", "(labels: from [fit] of run.toml)"),
    ("test = ''", "'': no such file, folder or embedded set (test: from [fit] of run.toml)"),
    ("test = 'nowhere.csv'", "nowhere.csv: no such file (test: from [fit] of run.toml)"),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "message"), REFUSED)
def test_a_file_that_is_wrong(command: Command, lines: str, message: str) -> None:
    written(f'[fit]\ndata = "iris"\n{lines}\n')
    line = refusal(command("fit", "--config", "run.toml", "--save-config", "saved.toml"))
    assert message in line
    assert "run.toml" in line
    assert not Path("saved.toml").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a table [fit], found nothing"),
        (b"# only a comment\n", "expected a table [fit], found nothing"),
        (b"[train]\n[predict]\n", "expected a table [fit], found [train], [predict]"),
        (b"C = 1\n", "C: expected in the table of a command, as [fit], found before all tables"),
        (b"[fitt]\nC = 1\n", "[fitt]: expected the name of a command, fit, train, compare, pred"),
        (b"[help]\n[fit]\n", "[help]: expected the name of a command, fit, train, compare, predi"),
        (b"[[fit]]\nC = 1\n", "fit: expected a table, found an array of 1: a table"),
        (b"fit = 1\n", "fit: expected a table, found 1"),
        (b"[fit]\n[fit]\n", "line 2: expected TOML, found '[fit]': Cannot declare ('fit',) twice"),
        (b"[fit]\nC 1\n", "line 2: expected TOML, found 'C 1': Expected '='"),
        (b"[fit]\nC = 'a\n", "expected TOML: Expected"),
        (b"[fit", "line 1: expected TOML, found '[fit': Expected ']' at the end of a table declar"),
        (b"[fit]\nC = 1\nC = 2", "line 3: expected TOML, found 'C = 2': Cannot overwrite a value"),
        (b"[fit]\nC = \xff\n", "line 2: expected UTF-8, found the byte 0xff"),
        ("[fit]\nC = 1\n".encode("utf-16"), "line 1: expected UTF-8, found the byte 0xff"),
        (b"\x00\x01\x02", "expected TOML"),
        (b"[fit]\nC = " + b"[" * 50_000, "expected TOML"),
        (b"[fit]\nC = " + b"9" * 5_000, "expected TOML"),
        (b"#" * 1_000_001, "expected a file of options, found more than 1,000,000 bytes"),
        (b"a,b,kind\n1,2,red\n", "line 1: expected TOML, found 'a,b,kind'"),
    ],
)
def test_a_file_that_holds_something_else(command: Command, content: bytes, message: str) -> None:
    Path("run.toml").write_bytes(content)
    line = refusal(command("fit", "iris", "--config", "run.toml"))
    assert line.startswith("run.toml: ")
    assert message in line
    assert len(line) < 300


def test_a_file_that_cannot_be_read(command: Command) -> None:
    assert (
        refusal(command("fit", "--config", "none.toml")) == "none.toml: No such file or directory"
    )
    assert refusal(command("fit", "--config", ".")) == ".: Is a directory"
    found = refusal(command("fit", "--config", os.devnull))
    assert found == f"{os.devnull}: expected a table [fit], found nothing"


def test_of_an_option_that_is_typed_the_file_is_not_blamed(command: Command) -> None:
    written('[fit]\ndata = "iris"\nC = 1\n')
    line = refusal(command("fit", "--config", "run.toml", "--C", "-1"))
    assert line == "--C: expected a number above 0, found -1.0"


def test_an_argument_that_is_nowhere_is_missed(command: Command) -> None:
    written("[fit]\nC = 1\n")
    assert "Missing argument 'DATA'" in refusal(command("fit", "--config", "run.toml"))


def test_the_files_of_the_docs_can_be_used(command: Command) -> None:
    frame = pd.read_csv("table.csv").rename(columns={"kind": "sentiment"})
    frame.assign(id=[f"r{row}" for row in range(ROWS)], site="here").to_csv(
        "reviews.csv", index=False
    )
    page = (Path(__file__).parents[1] / "docs" / "command.md").read_text(encoding="utf-8")
    for line in re.findall(r"^bridle fit .*config.*$", page, re.MULTILINE):
        assert command(*line.split()[1:], "--quiet")[:2] == (0, ""), line
    (shown,) = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    written(shown)
    for name in ("fit", "train"):
        answer = command(name, "--config", "run.toml", "--quiet")
        assert (answer.code, answer.out) == (0, ""), answer.err


# --- what is written ------------------------------------------------------------------------------


def test_options_that_are_refused_are_not_written(command: Command) -> None:
    for wrong in ("--cv 1 --Cs 1,2", "--tol 0", "--drop kind", "--decimal ,,", "--target none"):
        answer = command("fit", "table.csv", *wrong.split(), "--save-config", "run.toml")
        assert answer.code == 2
        assert not Path("run.toml").exists(), wrong


def test_options_are_written_before_the_work(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "_fitted", interrupted)
    answer = command("fit", "table.csv", "--C", "2", "--save-config", "run.toml")
    assert answer == (130, "", "bridle: interrupted\n")
    assert tomllib.loads(Path("run.toml").read_text(encoding="utf-8")) == {
        "fit": {"data": "table.csv", "C": 2.0}
    }


def test_several_commands_share_a_file(command: Command) -> None:
    assert command("fit", "iris", "--quiet", "--save-config", "run.toml").code == 0
    assert command("evaluate", "ours.csv", "--save-config", "run.toml").code == 0
    assert command("fit", "wine", "--quiet", "--save-config", "run.toml").code == 0
    assert tomllib.loads(Path("run.toml").read_text(encoding="utf-8")) == {
        "fit": {"data": "wine", "quiet": True},
        "evaluate": {"data": "ours.csv"},
    }


@pytest.mark.parametrize(
    "content",
    ["a,b\n1,2\n", "# my own words\n[fit]\nC = 1\n", "[fit]\nC = 1\n", "[fit]\nC = 1979-05-27\n"],
)
def test_what_somebody_else_wrote_is_not_replaced(command: Command, content: str) -> None:
    written(content)
    line = refusal(command("fit", "iris", "--save-config", "run.toml"))
    assert line.startswith("--save-config run.toml: is there already, with more in it than bridle")
    assert Path("run.toml").read_text(encoding="utf-8") == content


def test_places_that_cannot_be_written(command: Command) -> None:
    for place, message in (
        (".", "--save-config .: expected a file, found a folder"),
        ("none/run.toml", "--save-config none/run.toml: no folder none"),
        ("model", "--save-config model: expected another file than --out"),
        (os.devnull, f"--save-config {os.devnull}: expected a file, found a device or a pipe"),
    ):
        told = ("--out", "model", "--save-config", place)
        assert refusal(command("fit", "iris", *told)) == message


def test_a_name_that_is_no_unicode_cannot_be_written(command: Command) -> None:
    place = os.fsdecode(b"m\xffdel")
    answer = command("fit", "iris", "--out", place, "--save-config", "run.toml")
    assert refusal(answer) == r"--save-config: expected text in UTF-8, found '\udcff'"
    assert sorted(path.name for path in Path().iterdir()) == ["ours.csv", "table.csv", "theirs.csv"]


def test_of_several_processes_the_first_writes(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(*_: object, **__: object) -> None:
        for name, value in (
            ("RANK", "1"),
            ("WORLD_SIZE", "2"),
            ("MASTER_ADDR", ""),
            ("MASTER_PORT", ""),
        ):
            monkeypatch.setenv(name, value)

    monkeypatch.setattr(fitting, "fit", elsewhere)
    assert command("fit", "iris", "--save-config", "run.toml").code == 0
    assert not Path("run.toml").exists()


# --- laws -----------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
VALUES = {
    bool: st.booleans(),
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(),
    str: TEXTS,
    list: st.lists(TEXTS, min_size=1),
}


@given(
    st.sampled_from(list(VALUES)).flatmap(lambda kind: st.tuples(st.just(kind), VALUES[kind])),
    st.sampled_from([None, "no-key", "other"]),
    st.sampled_from([None, "numbers", "texts"]),
)
def test_law_of_what_is_written(
    told: tuple[type, object], opposite: str | None, items: str | None
) -> None:
    kind, value = told
    option = Option("key", "key", kind, opposite if kind is bool else None, items)
    key, shown = option.written(value)
    text = config_file.as_toml({"fit": {key: shown}})
    found = option.read(key, tomllib.loads(text)["fit"][key])
    if isinstance(value, float) and math.isnan(value):
        assert isinstance(found, float)
        assert math.isnan(found)
    else:
        assert found == value
        assert type(found) is type(value)


def test_what_help_calls_several_is_known_to_hold_several() -> None:
    several = {
        parameter.metavar
        for each in GROUP.commands.values()
        for parameter in each.params
        if str(parameter.metavar).endswith("S")
    }
    assert several == {"SIZES", "VALUES", "RATIOS", "NAMES", "TEXTS", "SECONDS", "ADDRESS"}
