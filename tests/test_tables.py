"""Tables as people have them: what a label is, what a column is, and how files are written.

Each expected value is written down or computed by NumPy from the numbers that were written to the
file, never by what is tested.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import shlex
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy import sparse
from sklearn.datasets import dump_svmlight_file
from sklearn.linear_model import LogisticRegression

import bridle
from bridle.checks import InputError
from bridle.data import Dataset, Reading, Selection, load
from commands import Command

Array = npt.NDArray[Any]

ROWS = 40
NUMBERS = np.random.default_rng(0).normal(size=(ROWS, 3)).round(3)
TRUTH = (NUMBERS[:, 0] > 0).astype(int)
FRAME = pd.DataFrame(NUMBERS, columns=["a", "b", "c"]).assign(y=np.where(TRUTH, "pos", "neg"))

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


def written(path: Path, content: str | bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def as_csv(path: Path, frame: pd.DataFrame = FRAME, **options: Any) -> str:
    return written(path, frame.to_csv(**{"index": False, **options}))


def dense(dataset: Dataset) -> Array:
    content = dataset.features.to_array()
    return np.asarray(content.toarray() if sparse.issparse(content) else content)


def named(model: bridle.SoftmaxRegression, rows: Array) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=model.feature_names_in_)


def labels_of(dataset: Dataset) -> list[Any]:
    assert dataset.target is not None
    return list(dataset.target.tolist())


def refusal(source: str, **arguments: Any) -> str:
    with pytest.raises(InputError) as caught:
        load(source, **arguments)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 500
    return message


def loads_as_frame(source: str, **arguments: Any) -> Dataset:
    """Load what was written of `FRAME`, and hold it against the numbers that were written."""
    dataset = load(source, **arguments)
    np.testing.assert_array_equal(dense(dataset), NUMBERS)
    assert labels_of(dataset) == FRAME["y"].tolist()
    return dataset


# --- labels keep their spelling ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spelled", "expected"),
    [
        (["7", "007", "7"], ["7", "007", "7"]),
        (["01", "2", "2"], ["01", "2", "2"]),
        (["1e3", "1000", "1000"], ["1e3", "1000", "1000"]),
        (["1_1", "11", "11"], ["1_1", "11", "11"]),
        (["1.0", "1", "1"], ["1.0", "1", "1"]),
        (["+1", "-1", "-1"], ["+1", "-1", "-1"]),
        (["0", "-0", "0"], ["0", "-0", "0"]),
        (["0x1", "1", "1"], ["0x1", "1", "1"]),
        (["\uff11", "1", "1"], ["\uff11", "1", "1"]),
        (["True", "False", "True"], ["True", "False", "True"]),
        (["1", "-1", "20"], [1, -1, 20]),
        ([str(2**63 - 1), str(-(2**63)), "0"], [2**63 - 1, -(2**63), 0]),
        ([str(2**63), "0", "0"], [str(2**63), "0", "0"]),
        (["yes", "yes ", " yes"], ["yes", "yes", "yes"]),
        (["\u00a0no", "no\t", "no"], ["no", "no", "no"]),
        (["9 ", " 10", "9"], [9, 10, 9]),
    ],
)
@pytest.mark.parametrize("place", ["table", "labels.txt", "labels.csv"])
def test_labels_keep_their_spelling(
    tmp_path: Path, spelled: list[str], expected: list[object], place: str
) -> None:
    if place == "table":
        rows = "".join(f"{row}.5,{label}\n" for row, label in enumerate(spelled))
        dataset = load(written(tmp_path / "a.csv", f"a,y\n{rows}"))
    else:
        np.save(tmp_path / "x.npy", NUMBERS[:3])
        content = "".join(f"{label}\n" for label in spelled)
        labels = written(tmp_path / place, content)
        reading = Reading(header=False)  # three lines alone could begin with a heading
        dataset = load(str(tmp_path / "x.npy"), labels=labels, reading=reading)
    assert labels_of(dataset) == expected


def test_classes_are_written_back_as_they_were_spelled(command: Command, tmp_path: Path) -> None:
    path = as_csv(tmp_path / "a.csv", FRAME.assign(y=np.where(TRUTH, "01", "1")))
    assert command("fit", path, "--out", tmp_path / "m", "--quiet").code == 0
    model = bridle.SoftmaxRegression.load(tmp_path / "m" / "model.safetensors")
    assert model.classes_.tolist() == ["01", "1"]
    answer = command("predict", tmp_path / "m", path)
    predicted = pd.read_csv(io.StringIO(answer.out), dtype=str)["predicted"]
    assert set(predicted) == {"01", "1"}
    assert (predicted == np.where(TRUTH, "01", "1")).mean() > 0.9


def test_blanks_around_names_of_columns_are_not_part_of_them(tmp_path: Path) -> None:
    source = written(tmp_path / "a.csv", "a , b,y \n1.5,2,x\n2.5,3,z\n")
    dataset = load(source, target="y")
    assert dataset.feature_names == ("a", "b")
    archive = tmp_path / "b.npz"
    np.savez(archive, X=NUMBERS[:3], y=np.array(["yes", "yes ", "no"]))
    assert labels_of(load(str(archive))) == ["yes", "yes", "no"]


# --- one set of types for all files --------------------------------------------------------------


def test_a_later_file_has_the_types_of_the_fit(command: Command, tmp_path: Path) -> None:
    labels = np.array(["1", "2", "x"])[np.arange(ROWS) % 3]
    train = as_csv(tmp_path / "train.csv", FRAME.assign(y=labels))
    test = as_csv(tmp_path / "test.csv", FRAME.assign(y=labels)[labels != "x"])
    np.savez(tmp_path / "test.npz", X=NUMBERS[labels != "x"], y=labels[labels != "x"].astype(int))
    figures = []
    for judged in (test, tmp_path / "test.npz"):
        answer = command(
            "fit", train, "--test", judged, "--out", tmp_path / "m", "--json", "--force"
        )
        assert (answer.code, answer.err) == (0, "")
        figures.append(json.loads(answer.out)["evaluation"])
        again = command("evaluate", "--model", tmp_path / "m", judged, "--json")
        assert json.loads(again.out)["accuracy"] == figures[-1]["accuracy"]
    assert figures[0] == figures[1]
    model = bridle.SoftmaxRegression.load(tmp_path / "m" / "model.safetensors")
    expected = np.mean(model.predict(named(model, NUMBERS[labels != "x"])) == labels[labels != "x"])
    assert figures[0]["accuracy"] == pytest.approx(expected)


def test_a_label_that_the_fit_could_not_have_had(tmp_path: Path) -> None:
    source = written(tmp_path / "a.csv", "a,y\n1.5,1\n2.5,02\n")
    message = refusal(source, fitted=Reading(label_kind="integers"))
    assert message.endswith("line 3, column 'y': label '02': expected an integer, as in the fit")
    source = written(tmp_path / "b.csv", "a,y\n1.5,True\n2.5,False\n")
    assert labels_of(load(source, fitted=Reading(label_kind="booleans"))) == [True, False]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_shards_are_one_table(tmp_path: Path, order: tuple[int, int]) -> None:
    contents = ["k,a,y\n1,0.5,1\nx,1.5,2\n", "a,y,k\n2.5,1,1\n3.5,x,1\n"]
    for name, which in zip("ab", order, strict=True):
        written(tmp_path / f"{name}.csv", contents[which])
    dataset = load(str(tmp_path), target="y", selection=Selection(categorical=("k",)))
    assert dataset.feature_names is not None
    columns = dict(zip(dataset.feature_names, dense(dataset).T.tolist(), strict=True))
    expected: dict[str, list[float]] = {
        "a": [0.5, 1.5, 2.5, 3.5],
        "k=1": [1, 0, 1, 1],
        "k=x": [0, 1, 0, 0],
    }
    labels = ["1", "2", "1", "x"]
    turned = [2, 3, 0, 1] if order == (1, 0) else [0, 1, 2, 3]
    assert columns == {name: [values[row] for row in turned] for name, values in expected.items()}
    assert labels_of(dataset) == [labels[row] for row in turned]


def test_a_column_of_categories_stays_one_in_a_file_of_numbers(
    command: Command, tmp_path: Path
) -> None:
    kinds = np.array(["1", "2", "x"])[np.arange(ROWS) % 3]
    train = as_csv(tmp_path / "a.csv", FRAME.assign(k=kinds)[["k", "a", "y"]])
    fit = ("fit", train, "--categorical", "k", "--out", tmp_path / "m", "--quiet")
    assert command(*fit).code == 0
    later = as_csv(tmp_path / "b.csv", FRAME.assign(k=1)[["k", "a"]][:5])
    out = tmp_path / "p.csv"
    answer = command("predict", tmp_path / "m", later, "--out", out)
    assert (answer.code, answer.err) == (0, "")
    model = bridle.SoftmaxRegression.load(tmp_path / "m" / "model.safetensors")
    assert model.feature_names_in_.tolist() == ["k=1", "k=2", "k=x", "a"]
    rows = np.column_stack([np.ones(5), np.zeros(5), np.zeros(5), NUMBERS[:5, 0]])
    found = pd.read_csv(out)[["neg", "pos"]].to_numpy()
    np.testing.assert_allclose(found, model.predict_proba(named(model, rows)), rtol=1e-8)


# --- svmlight: which number the first column has -------------------------------------------------


def svmlight(path: Path, rows: Array, labels: Array) -> str:
    dump_svmlight_file(sparse.csr_array(rows), labels, str(path), zero_based=True)
    return str(path)


def test_the_index_base_of_the_fit_holds_for_later_files(command: Command, tmp_path: Path) -> None:
    train = svmlight(tmp_path / "train.svm", NUMBERS, TRUTH)
    without_zero = NUMBERS * [0, 1, 1]
    test = svmlight(tmp_path / "test.svm", without_zero, TRUTH)
    assert command("fit", train, "--out", tmp_path / "m", "--quiet").code == 0
    model = bridle.SoftmaxRegression.load(tmp_path / "m" / "model.safetensors")
    answer = command("evaluate", "--model", tmp_path / "m", test, "--json")
    expected = np.mean(model.predict(without_zero) == TRUTH)
    assert json.loads(answer.out)["accuracy"] == pytest.approx(expected)
    answer = command("fit", train, "--test", test, "--json")
    assert (answer.code, answer.err) == (0, "")
    # One row at a time, as a service sends them.
    for row in range(5):
        single = svmlight(tmp_path / "one.svm", NUMBERS[row : row + 1] * [0, 1, 1], TRUTH[:1])
        found = command("predict", tmp_path / "m", single).out.splitlines()[1].split(",")[1]
        assert int(found) == model.predict(without_zero[row : row + 1])[0]


def test_the_index_base_can_be_told(command: Command, tmp_path: Path) -> None:
    path = svmlight(tmp_path / "a.svm", NUMBERS * [0, 1, 1], TRUTH)
    assert load(path).features.shape == (ROWS, 2)
    told = load(path, reading=Reading(index_base=0))
    np.testing.assert_allclose(dense(told), NUMBERS * [0, 1, 1])
    assert told.reading.index_base == 0
    whole = svmlight(tmp_path / "b.svm", NUMBERS, TRUTH)
    assert "has a column 0, but columns are counted from 1, as told" in refusal(
        whole, reading=Reading(index_base=1)
    )
    command("fit", path, "--out", tmp_path / "m", "--quiet")
    line = command("predict", tmp_path / "m", whole).err
    assert "has a column 0, but columns are counted from 1, as the files of the fit did" in line
    assert "index-base: expected 0 or 1, found 2" in command("fit", path, "--index-base", 2).err
    table = as_csv(tmp_path / "a.csv")
    assert "is a table, to which it says nothing" in command("fit", table, "--index-base", 1).err


def test_shards_of_svmlight_share_their_index_base(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    svmlight(tmp_path / "s" / "0.svm", NUMBERS[:20] * [0, 1, 1], TRUTH[:20])
    svmlight(tmp_path / "s" / "1.svm", NUMBERS[20:], TRUTH[20:])
    rows = NUMBERS.copy()
    rows[:20, 0] = 0
    np.testing.assert_allclose(dense(load(str(tmp_path / "s"))), rows)


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz"])
def test_packed_svmlight(tmp_path: Path, ending: str) -> None:
    plain = Path(svmlight(tmp_path / "a.svm", NUMBERS, TRUTH)).read_bytes()
    packed = PACKERS[ending](plain)
    path = written(tmp_path / f"a.svmlight.{ending}", packed)
    np.testing.assert_allclose(dense(load(path)), NUMBERS)
    broken = packed[:9] if ending == "gz" else b"1 1=2\n"
    assert "cannot be read as svmlight" in refusal(written(Path(path), broken))


# --- row numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Unnamed: 0", range(ROWS)),
        ("Unnamed: 0.1", range(ROWS)),
        ("index", range(ROWS)),
        ("index", np.random.default_rng(1).permutation(ROWS)),
        ("PassengerId", range(1, ROWS + 1)),
        ("anything", range(ROWS)),
        ("anything", range(ROWS)[::-1]),
        ("as floats", np.arange(ROWS, dtype=float)),
        ("index", [*range(25), *range(15)]),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_row_numbers_are_no_feature(
    tmp_path: Path, name: str, values: Sequence[float], kind: str
) -> None:
    frame = FRAME.copy()
    frame.insert(0, name, list(values))
    path = str(tmp_path / f"a.{kind}")
    (frame.to_csv if kind == "csv" else frame.to_parquet)(path, index=False)
    dataset = load(path)
    assert dataset.feature_names == ("a", "b", "c")
    note = f"column '{name}' numbers the rows: not used (--keep {shlex.quote(name)} overrides)"
    assert note in dataset.notes
    kept = load(path, selection=Selection(keep=(name,)))
    assert kept.feature_names == (name, "a", "b", "c")
    np.testing.assert_array_equal(dense(kept)[:, 0], list(values))


def test_sorted_noise_is_not_learnt_from_its_row_numbers(command: Command, tmp_path: Path) -> None:
    noise = np.random.default_rng(2).normal(size=(200, 3))
    frame = pd.DataFrame(noise, columns=["a", "b", "c"]).assign(y=np.repeat(["u", "v"], 100))
    path = as_csv(tmp_path / "a.csv", frame.reset_index())
    accuracy = json.loads(command("fit", path, "--json").out)["evaluation"]["accuracy"]
    assert accuracy < 0.75
    kept = json.loads(command("fit", path, "--json", "--keep", "index").out)
    assert kept["evaluation"]["accuracy"] > 0.9, "what the row numbers would tell"


@pytest.mark.parametrize(
    "values",
    [
        np.arange(ROWS) * 2,
        np.arange(ROWS) + 1995,
        np.arange(ROWS) % 20,
        np.arange(ROWS) + 0.5,
        np.random.default_rng(0).permutation(ROWS),
    ],
)
def test_numbers_that_do_not_number_the_rows(tmp_path: Path, values: Array) -> None:
    path = as_csv(tmp_path / "a.csv", FRAME.assign(n=values)[["n", "a", "y"]])
    assert load(path).feature_names == ("n", "a")


def test_where_row_numbers_are_all_there_is(tmp_path: Path) -> None:
    path = as_csv(tmp_path / "a.csv", FRAME.assign(n=range(ROWS))[["n", "y"]])
    assert refusal(path).endswith(
        "no column is left for the features; column 'n' numbers the rows: not used "
        "(--keep n overrides)"
    )
    # Four rows rise by one each too easily.
    assert load(written(tmp_path / "b.csv", "n,y\n0,p\n1,q\n2,p\n3,q\n")).feature_names == ("n",)


# --- tables without a header ---------------------------------------------------------------------


def test_no_header(command: Command, tmp_path: Path) -> None:
    path = as_csv(tmp_path / "a.csv", header=False)
    dataset = loads_as_frame(path)
    assert dataset.feature_names == ("c1", "c2", "c3")
    assert any(note.startswith("no header: line 1 is the first row") for note in dataset.notes)
    assert command("fit", path, "--out", tmp_path / "m", "--quiet").code == 0
    # One row alone does not show that it is no header: the model knows.
    one = written(tmp_path / "one.csv", Path(path).read_text().splitlines()[0] + "\n")
    assert len(command("predict", tmp_path / "m", one).out.splitlines()) == 2


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["5.1,3.5,u", "4.9,3.0,v", "6.1,3.1,u"], False),  # numbers, and a label that recurs
        (["0,0,1", "0,3,0", "1,0,0"], False),  # would be two columns of one name
        (["5,0,0,255", "3,0,9,0", "5,0,0,0"], False),
        (["p,x,s", "e,x,y", "p,x,s", "e,b,s"], False),  # texts that recur below
        (["?,3.5,u", "4.9,3.0,v", "6.1,3.1,u"], False),
        (["1e5,-2,u", "4.9,3.0,v", "6.1,3.1,u"], False),
        (["x,y,class", "4.9,3.0,v", "6.1,3.1,u"], True),  # names above numbers
        (["kind,shape,class", "a,b,v", "a,c,u", "d,b,v"], True),  # that recur nowhere
        (["0,1,2", "0.5,1.5,0", "0.1,2.5,1"], True),  # pandas' names for columns without any
        ([",0,1,2", "0,0.5,1.5,0", "1,0.1,2.5,1"], True),
        (["0,1,target", "0.5,0.5,0", "0.1,0.9,1"], True),
        (["country,2018,2019,2020,label", "a,1,2,3,v", "b,2,3,4,u"], True),
        (["1.85,red,1.24,007", "0.54,blue,-2.01,7", "0.11,green,0.4,7"], False),
        (["name,400.5,401.0,size", "a,1,2,v", "b,2,3,u"], None),
        (["name,2,3,size", "a,2,3,v", "b,2,3,u"], None),
        (["0,1", "1,0", "1,1"], None),
        ([">100,1.5,2.5,v", "3,2.5,3.5,u", "4,1.5,2.5,v", "5,1.5,2.5,u"], None),
        (["1,2,3", "4,5,6", "7,8,9"], None),
        (["u,x,w", "u,c,d", "e,c,d"], None),
    ],
)
def test_a_header_is_recognised(tmp_path: Path, rows: list[str], expected: bool | None) -> None:
    width = rows[0].count(",") + 1
    source = written(tmp_path / "a.csv", "\n".join(rows) + "\n")
    first = rows[0].split(",")
    told = {
        True: [name for name in first if name],
        False: [f"c{place}" for place in range(1, width + 1)],
    }
    if expected is None:
        message = refusal(source, need_target=False)
        assert (
            "the names of the columns, or the first row? --header or --no-header tells" in message
        )
    for header in (True, False) if expected is None else (expected,):
        reading = Reading(header=header) if expected is None else Reading()
        names = told[header]
        with pytest.raises(InputError, match="column 'no such'"):
            load(source, feature_names=["no such"], need_target=False, reading=reading)
        count = len(rows) - header
        selection = Selection(keep=tuple(names), categorical=tuple(names[:-1]))
        dataset = load(source, target=names[-1], reading=reading, selection=selection)
        assert len(labels_of(dataset)) == count
        assert dataset.reading.header is header


def test_names_in_a_comment(tmp_path: Path) -> None:
    rows = np.column_stack([NUMBERS, TRUTH])
    for name, options in {"a.csv": {"delimiter": ","}, "b.txt": {}}.items():
        mark = options.get("delimiter", " ")
        header = "made by NumPy\n" + mark.join(["u", "v", "w", "class"])
        np.savetxt(tmp_path / name, rows, header=header, fmt="%.3f", **options)
        dataset = load(str(tmp_path / name))
        assert dataset.feature_names == ("u", "v", "w")
        np.testing.assert_array_equal(dense(dataset), NUMBERS)
        assert labels_of(dataset) == [f"{label}.000" for label in TRUTH]
        assert "the names of the columns stand in a comment, line 2" in dataset.notes


def test_names_in_a_comment_above_texts(tmp_path: Path) -> None:
    source = written(tmp_path / "a.csv", "#name,kind\nann,u\nbob,v\ncarl,w\n")
    assert "the names of the columns, or the first row?" in refusal(source, need_target=False)
    told = load(source, need_target=False, reading=Reading(header=False))
    assert told.features.shape == (3, 6)
    source = written(tmp_path / "b.csv", "# by a, b\na,b\n1.5,2\n2.5,3\n")
    assert load(source, need_target=False).feature_names == ("a", "b")


def test_two_columns_of_one_name_may_be_a_row(tmp_path: Path) -> None:
    source = written(tmp_path / "a.csv", "a,a,y\n1,2,u\n3,4,v\n")
    assert "two columns are called 'a' (--no-header if this line is the first row)" in refusal(
        source
    )


# --- numbers with marks, columns of many values --------------------------------------------------


@pytest.mark.parametrize(
    ("spelled", "cause"),
    [
        ("{:,}", "the ',' in it may mark thousands or decimals"),
        ("${}", "it has the mark '$'"),
        ("-${}", "it has the mark '$'"),
        ("\u20ac {}", "it has the mark '\u20ac'"),
        ("{} USD", "it has the mark 'USD'"),
        ("{}%", "it has the mark '%'"),
        ("{} %", "it has the mark '%'"),
        ("{:_}", None),
        ("1,0{:,}", "it has ',' between its thousands"),
        ("{:,}.50", "it has ',' between its thousands"),
    ],
)
def test_numbers_with_marks(tmp_path: Path, spelled: str, cause: str | None) -> None:
    cells = [spelled.format(number) for number in range(10_000, 10_000 + 37 * ROWS, 37)]
    frame = pd.DataFrame({"price": cells, "a": NUMBERS[:, 0], "y": FRAME["y"]})
    path = as_csv(tmp_path / "a.csv", frame)
    message = refusal(path)
    assert "column 'price'" in message
    assert "--drop price" in message
    if cause is not None:
        assert f"{cells[0]!r} is a number but for its spelling: {cause}" in message
        assert "--categorical price" in message
    assert load(path, selection=Selection(drop=("price",))).feature_names == ("a",)


def test_the_mark_of_thousands_can_be_told(command: Command, tmp_path: Path) -> None:
    numbers = np.arange(ROWS) * 7919 % 100_000
    cells = [f"{number:,}" for number in numbers]
    path = as_csv(tmp_path / "a.csv", pd.DataFrame({"n": cells, "y": FRAME["y"]}))
    np.testing.assert_array_equal(dense(load(path, reading=Reading(thousands=",")))[:, 0], numbers)
    swapped = [f"{number:,}.25".translate(str.maketrans(",.", ".,")) for number in numbers]
    path = as_csv(tmp_path / "b.csv", pd.DataFrame({"n": swapped, "y": FRAME["y"]}), sep=";")
    dataset = load(path, reading=Reading(thousands="."))
    np.testing.assert_array_equal(dense(dataset)[:, 0], numbers + 0.25)
    assert dataset.reading.decimal == ","
    misplaced = written(tmp_path / "c.csv", 'n,y\n"1,234",u\n"12,34",v\n"2,345",u\n')
    assert "line 3, column 'n': text in a numeric column: '12,34'" in refusal(
        misplaced, reading=Reading(thousands=",")
    )
    line = command("fit", path, "--thousands", ".", "--decimal", ".").err
    assert "thousands: '.' is the decimal sign as well" in line


@pytest.mark.parametrize(
    ("rows", "values", "most"),
    [(40, 10, None), (40, 11, 10), (80, 20, None), (80, 21, 20), (800, 100, None), (800, 101, 100)],
)
def test_how_many_values_a_text_column_may_have(
    tmp_path: Path, rows: int, values: int, most: int | None
) -> None:
    """A quarter of the rows, at least 10, at most 100."""
    frame = pd.DataFrame({"k": [f"k{row % values}" for row in range(rows)], "y": 0})
    frame["y"] = np.arange(rows) % 2
    path = as_csv(tmp_path / "a.csv", frame)
    if most is None:
        assert load(path).features.shape == (rows, values)
        return
    message = refusal(path)
    assert f"has {values} different values in {rows} rows, at most {most} can become" in message
    if values <= 100:
        asked = load(path, selection=Selection(categorical=("k",)))
        assert asked.features.shape == (rows, values)


@pytest.mark.parametrize(
    ("spelled", "cause"),
    [
        ("2020-01-{:02}", "they look like dates"),
        ("{}.12.2020", "they look like dates"),
        ("{}-Sep-03", "they look like dates"),
        ("Sep {}, 2003", "they look like dates"),
        ("{}kg", "they look like numbers with units"),
        ("{} ms", "they look like numbers with units"),
        ("ticket-{}", "they look like names or codes of single rows"),
    ],
)
def test_the_advice_on_many_values_names_the_cause(
    tmp_path: Path, spelled: str, cause: str
) -> None:
    cells = [spelled.format(row) for row in range(ROWS)]
    path = as_csv(tmp_path / "a.csv", FRAME.assign(k=cells)[["k", "a", "y"]])
    assert f"{cause}" in refusal(path)
    assert refusal(path).endswith("--text k reads their words instead, --drop k leaves it out")


def test_free_text_becomes_words_where_most_rows_have_their_own(tmp_path: Path) -> None:
    own = [f"a film for {row} friends" for row in range(ROWS)]
    path = as_csv(tmp_path / "a.csv", FRAME.assign(k=own)[["k", "a", "y"]])
    assert "k: friends" in (load(path).feature_names or ())
    twice = [f"a film for {row // 2} friends" for row in range(ROWS)]
    path = as_csv(tmp_path / "b.csv", FRAME.assign(k=twice)[["k", "a", "y"]])
    assert "they look like free text; --text k reads their words instead" in refusal(path)


# --- files of labels -----------------------------------------------------------------------------

TEXTS = np.where(TRUTH, "b", "a")


def features(folder: Path) -> str:
    np.save(folder / "x.npy", NUMBERS)
    return str(folder / "x.npy")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("index and heading", pd.Series(TEXTS, name="diagnosis").to_csv()),
        ("index without a name", pd.Series(TEXTS).to_csv()),
        ("index, no heading", pd.Series(TEXTS).to_csv(header=False)),
        ("index from 1", pd.Series(TEXTS, index=range(1, ROWS + 1), name="y").to_csv()),
        ("index of a part", pd.Series(TEXTS, index=np.arange(ROWS) * 3 + 5, name="y").to_csv()),
        ("heading", pd.Series(TEXTS, name="diagnosis").to_csv(index=False)),
        ("heading 0", pd.Series(TEXTS).to_csv(index=False)),
        ("semicolons", pd.Series(TEXTS, name="diagnosis").to_csv(sep=";")),
        (
            "files and labels",
            "file,label\n" + "".join(f"f{n}.png,{t}\n" for n, t in enumerate(TEXTS)),
        ),
        ("plain", "".join(f"{text}\n" for text in TEXTS)),
    ],
)
@pytest.mark.parametrize("numbers", [False, True])
def test_labels_files_of_pandas(tmp_path: Path, name: str, content: str, numbers: bool) -> None:
    if numbers:
        # The same file of labels 0 and 1; its heading 0 alone could then be a label.
        swap = {"a": "0", "b": "1"}
        lines = [
            line.rsplit(sep, 1) for line in content.splitlines() for sep in [",;"[";" in line]]
        ]
        mark = ";" if ";" in content else ","
        content = "".join(
            mark.join([*line[:-1], swap.get(line[-1], line[-1])]) + "\n" for line in lines
        )
        if name == "heading 0":
            labels = written(tmp_path / "l.csv", content)
            message = refusal(features(tmp_path), labels=labels)
            assert f"{ROWS + 1} labels, but" in message
            assert "if the first line, '0', is a heading, --header tells" in message
            told = load(features(tmp_path), labels=labels, reading=Reading(header=True))
            assert labels_of(told) == TRUTH.tolist()
            return
    dataset = load(features(tmp_path), labels=written(tmp_path / "l.csv", content))
    assert labels_of(dataset) == (TRUTH if numbers else TEXTS).tolist()


def test_a_heading_is_never_a_class_in_silence(tmp_path: Path) -> None:
    source = features(tmp_path)
    short = written(tmp_path / "l.csv", pd.Series(TEXTS[:-1], name="diagnosis").to_csv(index=False))
    message = refusal(source, labels=short)
    assert "line 1, 'diagnosis', stands nowhere else: a heading" in message
    assert "--header or --no-header tells" in message
    assert "39 labels, but" in refusal(source, labels=short, reading=Reading(header=True))
    told = load(source, labels=short, reading=Reading(header=False))
    assert labels_of(told) == ["diagnosis", *TEXTS[:-1].tolist()]
    numbers = written(tmp_path / "n.csv", pd.Series(TRUTH[:-1], name="x").to_csv(index=False))
    assert "39 labels, but" in refusal(source, labels=numbers)
    named = written(tmp_path / "y.csv", pd.Series(TEXTS[:-1], name="label").to_csv(index=False))
    assert "39 labels, but" in refusal(source, labels=named)


def test_labels_in_another_order(tmp_path: Path) -> None:
    shuffled = pd.Series(TEXTS).sample(frac=1, random_state=0)
    labels = written(tmp_path / "l.csv", shuffled.to_csv())
    message = refusal(features(tmp_path), labels=labels)
    assert message == f"{labels}: column 1 numbers the rows in another order: sort the file by it"
    two = written(tmp_path / "m.csv", "".join(f"{text},{text}\n" for text in TEXTS))
    assert "expected one label a line, found 2 fields" in refusal(features(tmp_path), labels=two)
    ragged = written(tmp_path / "r.csv", "0,a\n1\n")
    assert "line 2: expected 2 fields, found 1" in refusal(features(tmp_path), labels=ragged)


# --- delimiters, decimals, encodings, comments ---------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "notes"),
    [
        ("a.csv", {"sep": ";"}, ["delimiter: semicolon (--delimiter tells another)"]),
        ("a.csv", {"sep": "\t"}, ["delimiter: tab (--delimiter tells another)"]),
        ("a.csv", {"sep": "|"}, ["delimiter: pipe (--delimiter tells another)"]),
        ("a.txt", {"sep": " "}, ["delimiter: blanks (--delimiter tells another)"]),
        ("a.tsv", {"sep": "\t"}, []),
        ("a.csv", {}, []),
        ("a.tsv", {}, ["delimiter: comma (--delimiter tells another)"]),
        (
            "a.csv",
            {"sep": ";", "decimal": ","},
            [
                "delimiter: semicolon (--delimiter tells another)",
                "numbers have a decimal comma (--decimal . tells otherwise)",
            ],
        ),
        (
            "a.csv",
            {"sep": "\t", "decimal": ","},
            [
                "delimiter: tab (--delimiter tells another)",
                "numbers have a decimal comma (--decimal . tells otherwise)",
            ],
        ),
        (
            "a.csv",
            {"decimal": ",", "quoting": 1},
            ["numbers have a decimal comma (--decimal . tells otherwise)"],
        ),
    ],
)
def test_delimiters_and_decimals_are_recognised(
    command: Command, tmp_path: Path, name: str, options: dict[str, Any], notes: list[str]
) -> None:
    path = as_csv(tmp_path / name, **options)
    dataset = loads_as_frame(path)
    assert dataset.notes == (*notes, "target: column 'y'")
    without_header = as_csv(tmp_path / f"headless-{name}", header=False, **options)
    assert load(without_header, target="c4").features.shape == (ROWS, 3)
    assert command("fit", path, "--out", tmp_path / "m", "--quiet").code == 0
    # A single row of whole numbers shows no decimal sign: the model knows it.
    mark = options.get("sep", ",")
    one = written(tmp_path / f"one-{name}", mark.join("abcy") + "\n" + mark.join("123x") + "\n")
    assert command("predict", tmp_path / "m", one).code == 0


def test_what_cannot_be_recognised_is_told(tmp_path: Path) -> None:
    both = written(tmp_path / "a.csv", "a;b,y\n" + "u;v,x\nw;v,z\n" * 3)
    assert "could be delimited by comma or semicolon: --delimiter tells" in refusal(both)
    told = load(both, reading=Reading(delimiter="comma"))
    assert told.feature_names == ("a;b=u;v", "a;b=w;v")
    with pytest.raises(
        InputError, match=r"delimiter: expected one sign of ASCII, or comma, semicolon"
    ):
        Reading(delimiter="::")
    odd = written(tmp_path / "b.csv", as_plain(FRAME.to_csv(index=False), ",", "~"))
    loads_as_frame(odd, reading=Reading(delimiter="~"))
    other = written(tmp_path / "c.txt", "1 3:2.5 7:1e3 # remark\n-1 5:1\n")
    assert refusal(other) == f"{other}: looks like svmlight, whose names end in .svmlight"


def as_plain(text: str, old: str, new: str) -> str:
    return text.replace(old, new)


def test_the_line_of_a_fault_is_told_under_any_delimiter(tmp_path: Path) -> None:
    text = FRAME.to_csv(index=False, sep=";", decimal=",").splitlines()
    text[20] = "1,5;2,5"
    path = written(tmp_path / "a.csv", "# one remark\n" + "\n".join(text) + "\n")
    assert refusal(path).endswith("line 22: too few fields, expected 4, found 2")
    text[20] = "1,5;2.5;1;neg"
    written(tmp_path / "a.csv", "# one remark\n" + "\n".join(text) + "\n")
    assert "line 22, column 'b': text in a numeric column: '2.5'" in refusal(path)


def test_excels_first_line(tmp_path: Path) -> None:
    for line in ("sep=;\n", '"sep=;"\r\n', "SEP=;\n"):
        path = written(tmp_path / "a.csv", line + FRAME.to_csv(index=False, sep=";", decimal=","))
        dataset = loads_as_frame(path)
        assert "delimiter semicolon, as its first line says" in dataset.notes


def test_blanks_in_any_number(tmp_path: Path) -> None:
    loads_as_frame(written(tmp_path / "a.txt", FRAME.to_string(index=False) + "\n"))
    quoted = written(tmp_path / "b.txt", 'a\t b  y\n 1.5  2 "x  1"\n\n2.5\t3   z \n')
    dataset = load(quoted)
    np.testing.assert_array_equal(dense(dataset), [[1.5, 2], [2.5, 3]])
    assert labels_of(dataset) == ["x  1", "z"]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16-le", "shift_jis"])
def test_encodings_are_told_and_kept(command: Command, tmp_path: Path, encoding: str) -> None:
    names = ("\u30cd\u30b3", "\u72ac") if encoding == "shift_jis" else ("caf\u00e9", "sch\u00f6n")
    labels = np.where(TRUTH, *names)
    frame = FRAME.assign(y=labels)
    path = written(tmp_path / "a.csv", frame.to_csv(index=False).encode(encoding))
    assert "not UTF-8 text (--encoding latin-1" in refusal(path)
    assert labels_of(load(path, reading=Reading(encoding=encoding))) == labels.tolist()
    fit = ("fit", path, "--encoding", encoding, "--out", tmp_path / "m", "--quiet")
    assert command(*fit).code == 0
    assert command("evaluate", "--model", tmp_path / "m", path).code == 0


def test_byte_order_marks_and_unknown_encodings(tmp_path: Path) -> None:
    for encoding in ("utf-8-sig", "utf-16"):
        content = FRAME.to_csv(index=False).encode(encoding)
        loads_as_frame(written(tmp_path / "a.csv", content))
    with pytest.raises(InputError, match="encoding: 'klingon' is no encoding"):
        Reading(encoding="klingon")
    with pytest.raises(InputError, match="encoding: 'hex' is no encoding"):
        Reading(encoding="hex")
    path = written(tmp_path / "b.csv", "a,y\n1,\u00e9\n")
    assert "not ascii text" in refusal(path, reading=Reading(encoding="ascii"))


def test_comments(tmp_path: Path) -> None:
    lines = FRAME.to_csv(index=False).splitlines()
    commented = ["# made by hand", "#", *lines[:9], "  # a remark, as it were", *lines[9:], "# end"]
    path = written(tmp_path / "a.csv", "\n".join(commented))
    dataset = loads_as_frame(path)
    assert "comments are left out: 4, from line 1" in dataset.notes
    other = written(tmp_path / "b.csv", "\n".join(["% made by hand", *lines, "%"]))
    loads_as_frame(other, reading=Reading(comment="%"))
    # Of a quoted field that goes on over lines, one may begin with the sign.
    quoted = written(tmp_path / "c.csv", 'a,k,y\n1.5,"u\n# no comment\n\nv",x\n2.5,w,z\n')
    assert load(quoted).feature_names == ("a", "k=u\n# no comment\n\nv", "k=w")


def test_a_row_that_begins_as_a_comment(tmp_path: Path) -> None:
    source = written(tmp_path / "a.csv", "k,a,y\n#1,1.5,x\nw,2.5,z\nw,3.5,x\n")
    message = refusal(source)
    assert "line 2 begins with '#': a comment, or a row? --comment '#' or --comment ''" in message
    assert load(source, reading=Reading(comment="")).feature_names == ("k=#1", "k=w", "a")
    assert load(source, reading=Reading(comment="#")).features.shape == (2, 2)


def test_quoted_headers(tmp_path: Path) -> None:
    source = written(tmp_path / "a.csv", '"a, in m","b ""x""","c\nd","y"\n1.5,2,3,u\n2.5,4,5,v\n')
    dataset = load(source)
    assert dataset.feature_names == ("a, in m", 'b "x"', "c\nd")
    np.testing.assert_array_equal(dense(dataset), [[1.5, 2, 3], [2.5, 4, 5]])
    dropped = load(source, selection=Selection(drop=("a, in m",)))
    assert dropped.feature_names == ('b "x"', "c\nd")


def test_a_delimiter_at_the_end_of_every_line(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", FRAME.to_csv(index=False).replace("\n", ",\n"))
    assert "column 5 has no name and is empty: not used" in loads_as_frame(path).notes


# --- missing values ------------------------------------------------------------------------------


def with_gaps() -> pd.DataFrame:
    frame = FRAME.astype(object).assign(k=np.array(["r", "s"], object)[np.arange(ROWS) % 2])
    frame.loc[3, "a"] = ""
    frame.loc[7, "b"] = "NA"
    frame.loc[9, "b"] = "n/a"
    frame.loc[11, "k"] = "NaN"
    return frame[["k", "a", "b", "c", "y"]]


def test_missing_values_are_an_error_unless_told(tmp_path: Path) -> None:
    path = as_csv(tmp_path / "a.csv", with_gaps())
    for reading in (Reading(), Reading(na="error")):
        message = refusal(path, reading=reading)
        assert "line 13, column 'k': missing value ('NaN')" in message
        # Who has told need not be told how to.
        assert ("--na drop, mean or a TEXT tells what to do" in message) == (reading.na is None)
    two = refusal(path, selection=Selection(drop=("k", "a")))
    assert "line 9, column 'b': missing value ('NA') (one of 2 in the column); --na drop" in two


def test_rows_with_missing_values_are_dropped(command: Command, tmp_path: Path) -> None:
    path = as_csv(tmp_path / "a.csv", with_gaps())
    dataset = load(path, reading=Reading(na="drop"))
    left = np.setdiff1d(np.arange(ROWS), [3, 7, 9, 11])
    np.testing.assert_array_equal(dense(dataset)[:, 2:], NUMBERS[left])
    assert labels_of(dataset) == FRAME["y"][left].tolist()
    assert dataset.ids == tuple(str(row) for row in left), "a row keeps its number"
    note = f"4 of {ROWS} rows have missing values: not used (2 in 'b', 1 in 'k', 1 in 'a')"
    assert note in dataset.notes
    fit = ("fit", path, "--na", "drop", "--out", tmp_path / "m", "--quiet")
    assert command(*fit).code == 0
    # Every row of a later file wants an answer: that some have none is no decision of the fit's.
    assert "line 13, column 'k': missing value" in command("predict", tmp_path / "m", path).err
    told = command("predict", tmp_path / "m", path, "--na", "drop")
    assert [line.split(",")[0] for line in told.out.splitlines()[1:]] == [str(n) for n in left]
    assert f"4 of {ROWS} rows have missing values" in told.err


def test_missing_labels_are_dropped(tmp_path: Path) -> None:
    frame = FRAME.astype(object)
    frame.loc[[0, 5], "y"] = ""
    dataset = load(as_csv(tmp_path / "a.csv", frame), reading=Reading(na="drop"))
    assert labels_of(dataset) == frame["y"].drop([0, 5]).tolist()
    empty = written(tmp_path / "b.csv", "a,b,y\n,1,u\n1,,v\n")
    assert "every row has a missing value" in refusal(empty, reading=Reading(na="drop"))


def test_missing_values_become_the_mean_of_the_fit(command: Command, tmp_path: Path) -> None:
    path = as_csv(tmp_path / "a.csv", with_gaps())
    selection = Selection(drop=("k",))
    dataset = load(path, reading=Reading(na="mean"), selection=selection)
    expected = NUMBERS.copy()
    expected[3, 0] = np.delete(NUMBERS[:, 0], 3).mean()
    expected[[7, 9], 1] = np.delete(NUMBERS[:, 1], [7, 9]).mean()
    np.testing.assert_allclose(dense(dataset), expected, rtol=1e-14)
    assert "missing values are filled with the mean: 2 in 'b', 1 in 'a'" in dataset.notes
    fit = ("fit", path, "--na", "mean", "--drop", "k", "--holdout", "0", "--out", tmp_path / "m")
    assert command(*fit).code == 0
    # A later file has other means, and a gap where the fit had none.
    later = written(tmp_path / "b.csv", "a,b,c\n,5,\n9,,1\n")
    answer = command("predict", tmp_path / "m", later)
    assert answer.code == 0
    model = bridle.SoftmaxRegression.load(tmp_path / "m" / "model.safetensors")
    rows = np.array([[expected[3, 0], 5, NUMBERS[:, 2].mean()], [9, expected[7, 1], 1]])
    found = pd.read_csv(io.StringIO(answer.out))[["neg", "pos"]].to_numpy()
    np.testing.assert_allclose(found, model.predict_proba(named(model, rows)), rtol=1e-8)
    assert "missing values are filled with the mean: 1 in 'a', 1 in 'b', 1 in 'c'" in answer.err


def test_the_mean_of_a_text_column_is_the_share_of_its_values(
    command: Command, tmp_path: Path
) -> None:
    kinds = np.array(["r", "r", "s", "NA", ""], object)[np.arange(ROWS) % 5]
    path = as_csv(tmp_path / "a.csv", FRAME.assign(k=kinds)[["k", "a", "y"]])
    dataset = load(path, reading=Reading(na="mean"))
    assert dataset.feature_names == ("k=r", "k=s", "a")
    rows: dict[str, list[float]] = {
        "r": [1, 0],
        "s": [0, 1],
        "NA": [2 / 3, 1 / 3],
        "": [2 / 3, 1 / 3],
    }
    np.testing.assert_allclose(dense(dataset)[:, :2], [rows[kind] for kind in kinds], rtol=1e-14)
    fit = ("fit", path, "--na", "mean", "--holdout", "0", "--out", tmp_path / "m", "--quiet")
    assert command(*fit).code == 0
    model = bridle.SoftmaxRegression.load(tmp_path / "m" / "model.safetensors")
    later = written(tmp_path / "b.csv", "k,a\n,1.5\ns,2.5\n")
    answer = command("predict", tmp_path / "m", later)
    found = pd.read_csv(io.StringIO(answer.out))[["neg", "pos"]].to_numpy()
    expected = model.predict_proba(named(model, np.array([[2 / 3, 1 / 3, 1.5], [0, 1, 2.5]])))
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    # A fit without gaps to fill keeps no means.
    plain = as_csv(tmp_path / "c.csv", FRAME.assign(k=np.where(TRUTH, "r", "s"))[["k", "a", "y"]])
    assert command("fit", plain, "--out", tmp_path / "n", "--quiet").code == 0
    line = command("predict", tmp_path / "n", later, "--na", "mean").err
    assert "b.csv: line 2, column 'k': missing value, and the fit kept no mean (--na mean)" in line
    other = written(tmp_path / "d.csv", "k,a\ns,\n")
    line = command("predict", tmp_path / "n", other, "--na", "mean").err
    assert "d.csv: line 2, column 'a': missing value, and the fit kept no mean (--na mean)" in line


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_means_are_those_of_the_rows_that_are_learnt_from(
    command: Command, tmp_path: Path, ending: str
) -> None:
    held = np.arange(ROWS) % 2 == 1  # the middle one of every two of each class, as documented
    classes = np.where(np.arange(ROWS) // 2 % 2, "u", "v")
    numbers = np.where(held, 9.0, 0) + NUMBERS[:, 0] + (classes == "u")
    numbers[[4, 5, 8, 11]] = np.nan
    kinds = np.where(held, "s", np.where(NUMBERS[:, 1] > 0, "r", "t")).astype(object)
    kinds[[2, 3]] = None
    frame = pd.DataFrame({"n": numbers, "k": kinds, "y": classes})
    path = tmp_path / f"a.{ending}"
    frame.to_csv(path, index=False) if ending == "csv" else frame.to_parquet(path)
    answer = command(
        *("fit", path, "--na", "mean", "--holdout", "0.5", "--tol", "1e-10", "--json"),
        *("--no-standardize", "--out", tmp_path / "m"),
    )
    assert answer.code == 0
    filled = frame["n"].fillna(frame["n"][~held].mean())
    share = (frame["k"][~held].dropna() == "r").mean()
    red = np.where(frame["k"].isna(), share, frame["k"] == "r")
    teal = np.where(frame["k"].isna(), 1 - share, frame["k"] == "t")
    features = np.column_stack([filled, red, (frame["k"] == "s"), teal])
    peer = LogisticRegression(tol=1e-12, max_iter=10_000).fit(features[~held], classes[~held])
    truth = (classes[held] == "v").astype(int)
    proba = peer.predict_proba(features[held])[np.arange(held.sum()), truth]
    found = json.loads(answer.out)["evaluation"]["cross_entropy_nats"]
    assert found == pytest.approx(-np.log(proba).mean(), rel=1e-5)
    reading = described(tmp_path / "m" / "model.safetensors")["reading"]
    expected = {"n": frame["n"][~held].mean(), "k=r": share, "k=t": 1 - share, "k=s": 0}
    assert reading["fills"] == pytest.approx(expected)


def test_a_column_without_any_value(tmp_path: Path) -> None:
    for cell in ("", "NA", "?"):
        path = as_csv(tmp_path / "a.csv", FRAME.assign(k=cell)[["k", "a", "y"]])
        message = (
            refusal(path) if cell != "?" else refusal(path, reading=Reading(na_spellings=("?",)))
        )
        assert "no row has a value; a fit leaves the column out by --drop" in message
    path = as_csv(tmp_path / "b.csv", FRAME.assign(k="")[["k", "a", "y"]])
    assert (
        "column 'k' has no value in the rows that are learnt from, hence no mean: --drop k"
        in refusal(path, reading=Reading(na="mean"))
    )
    assert load(path, selection=Selection(drop=("k",))).feature_names == ("a",)


def test_missing_values_of_parquet(tmp_path: Path) -> None:
    count = pa.array([1, None, 3, 4], pa.int32())
    sure = pa.array([True, False, None, True])
    kind = pa.array(["u", "NA", "u", None]).dictionary_encode()
    table = pa.table({"count": count, "sure": sure, "kind": kind, "y": [0, 1, 0, 1]})
    parquet.write_table(table, tmp_path / "a.parquet")
    path = str(tmp_path / "a.parquet")
    assert "row 1, column 'count': missing value" in refusal(path)
    means = load(path, reading=Reading(na="mean"))
    # A file that declares its types declares what is missing: the text NA is a value.
    assert means.feature_names == ("count", "sure", "kind=NA", "kind=u")
    expected: list[list[float]] = [
        [1, 1, 0, 1],
        [8 / 3, 0, 1, 0],
        [3, 2 / 3, 0, 1],
        [4, 1, 1 / 3, 2 / 3],
    ]
    np.testing.assert_allclose(dense(means), expected, rtol=1e-14)
    dropped = load(path, reading=Reading(na="drop"))
    np.testing.assert_array_equal(dense(dropped), [[1, 1, 1]])
    assert dropped.ids == ("0",)


def test_missing_values_become_a_text(tmp_path: Path) -> None:
    path = as_csv(tmp_path / "a.csv", with_gaps())
    dataset = load(path, reading=Reading(na="-1.5"))
    assert dataset.feature_names == ("k=-1.5", "k=r", "k=s", "a", "b", "c")
    expected = NUMBERS.copy()
    expected[3, 0] = expected[7, 1] = expected[9, 1] = -1.5
    np.testing.assert_array_equal(dense(dataset)[:, 3:], expected)
    np.testing.assert_array_equal(dense(dataset)[:, 0], np.arange(ROWS) == 11)
    assert "--na 'none': column 'a' holds numbers" in refusal(path, reading=Reading(na="none"))


def test_spellings_of_missing_values(command: Command, tmp_path: Path) -> None:
    for spelled in ("?", "-", "None", "unknown"):
        frame = FRAME.astype(object).assign(k=np.where(TRUTH, "z", spelled))[["k", *"abcy"]]
        frame.loc[3, "a"] = spelled
        path = as_csv(tmp_path / "a.csv", frame)
        # Among numbers such a text is missing, among texts it is one of them.
        assert f"line 5, column 'a': missing value ('{spelled}'); --na drop" in refusal(path)
        dataset = load(path, reading=Reading(na="drop"))
        assert dataset.features.shape == (ROWS - 1, 5)
        told = Reading(na="drop", na_spellings=("NA",))
        assert f"text in a numeric column: '{spelled}'" in refusal(path, reading=told)
        told = Reading(na="drop", na_spellings=(spelled,))
        left = (frame["k"] == "z") & (frame["a"] != spelled)
        assert load(path, reading=told).features.shape == (left.sum(), 4)
    countries = as_csv(tmp_path / "b.csv", FRAME.assign(y=np.where(TRUTH, "NA", "EU")))
    message = refusal(countries)
    assert (
        "column 'y': missing target value ('NA'); if that is a label, --na-spellings ''" in message
    )
    fit = ("fit", countries, "--na-spellings", "", "--out", tmp_path / "m", "--quiet")
    assert command(*fit).code == 0
    model = bridle.SoftmaxRegression.load(tmp_path / "m" / "model.safetensors")
    assert model.classes_.tolist() == ["EU", "NA"]
    assert command("evaluate", "--model", tmp_path / "m", countries).code == 0
    np.save(tmp_path / "x.npy", NUMBERS)
    labels = written(tmp_path / "l.txt", "\n".join(np.where(TRUTH, "NA", "EU")))
    told = Reading(na_spellings=())
    assert set(labels_of(load(str(tmp_path / "x.npy"), labels=labels, reading=told))) == {
        "EU",
        "NA",
    }


# --- which columns -------------------------------------------------------------------------------


def test_columns_are_chosen(command: Command, tmp_path: Path) -> None:
    path = as_csv(tmp_path / "a.csv")
    for selection, names in (
        (Selection(drop=("b",)), ("a", "c")),
        (Selection(drop=("a,b",)), ("c",)),
        (Selection(columns=("c", "a")), ("c", "a")),
    ):
        assert load(path, selection=selection).feature_names == names
    for option in ("--drop", "--columns", "--keep", "--categorical"):
        line = command("fit", path, option, "aa").err
        assert f"{option}: {path} has no column 'aa', found 'a', 'b', 'c', 'y'" in line
    assert "'y' is the target" in command("fit", path, "--target", "y", "--drop", "y").err
    assert "expected a table, iris is an embedded set" in command("fit", "iris", "--drop", "a").err
    np.savez(tmp_path / "a.npz", X=NUMBERS, y=TRUTH)
    assert "expected a table" in command("fit", tmp_path / "a.npz", "--drop", "a").err
    assert "--na: " in command("fit", tmp_path / "a.npz", "--na", "mean").err


def test_an_id_is_a_feature_where_it_is_kept(tmp_path: Path) -> None:
    path = as_csv(tmp_path / "a.csv", FRAME.assign(id=np.arange(ROWS) % 7)[["id", "a", "y"]])
    assert load(path).feature_names == ("a",)
    kept = load(path, selection=Selection(keep=("id",)))
    assert kept.feature_names == ("id", "a")
    assert kept.ids is None


def test_numbers_as_categories(tmp_path: Path) -> None:
    frame = FRAME.assign(k=np.array([7, 10, 9])[np.arange(ROWS) % 3])[["k", "a", "y"]]
    expected = frame["k"].to_numpy()[:, None] == [10, 7, 9]
    for path in (as_csv(tmp_path / "a.csv", frame), str(tmp_path / "a.parquet")):
        frame.to_parquet(tmp_path / "a.parquet")
        dataset = load(path, selection=Selection(categorical=("k",)))
        assert dataset.feature_names == ("k=10", "k=7", "k=9", "a")
        np.testing.assert_array_equal(dense(dataset)[:, :3], expected)
        again = load(path, feature_names=dataset.feature_names)
        np.testing.assert_array_equal(dense(again), dense(dataset))


# --- names of files, packed files, standard input ------------------------------------------------


def packed(content: bytes, ending: str) -> bytes:
    if ending == "zip":
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.csv", content)
            archive.writestr("__MACOSX/._a.csv", b"\0")
        return stream.getvalue()
    if ending == "zst":
        return bytes(pa.compress(content, codec="zstd", asbytes=True))
    return PACKERS[ending](content)


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz", "zip", "zst"])
@pytest.mark.parametrize("kind", ["csv", "tsv", "txt"])
def test_packed_tables(tmp_path: Path, ending: str, kind: str) -> None:
    text = FRAME.to_csv(index=False, sep="\t" if kind == "tsv" else ",")
    loads_as_frame(written(tmp_path / f"a.{kind}.{ending}", packed(text.encode(), ending)))
    broken = written(tmp_path / f"b.{kind}.{ending}", b"a,y\n1,0\n")
    assert "cannot be read as a table of text" in refusal(broken)


def test_a_zip_of_several_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.csv.zip", "w") as archive:
        archive.writestr("a.csv", "a,y\n1,0\n")
        archive.writestr("b.csv", "a,y\n1,0\n")
    assert "expected one file in the .zip, found 'a.csv', 'b.csv'" in refusal(
        str(tmp_path / "a.csv.zip")
    )


def test_a_text_beside_shards_is_no_shard(tmp_path: Path) -> None:
    as_csv(tmp_path / "0.csv", FRAME[:20])
    as_csv(tmp_path / "1.csv", FRAME[20:])
    written(tmp_path / "README.txt", "about, this\n")
    loads_as_frame(str(tmp_path))


class _Standard:
    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


def test_standard_input(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def given(content: str) -> None:
        monkeypatch.setattr(sys, "stdin", _Standard(content.encode()))

    given(FRAME.to_csv(index=False, sep=";"))
    answer = command("fit", "-", "--out", tmp_path / "m")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("-: 32 samples, 3 features, 2 classes")
    given(FRAME.to_csv(index=False))
    by_stream = command("predict", tmp_path / "m", "-")
    assert by_stream == command("predict", tmp_path / "m", as_csv(tmp_path / "a.csv"))
    given("a,y\n1,0\n2\n")
    assert command("fit", "-").err == "bridle: -: line 3: too few fields, expected 2, found 1\n"
    given("")
    assert command("fit", "-").err == "bridle: -: empty file\n"


# --- what is kept with the model -----------------------------------------------------------------


def described(model: Path) -> dict[str, Any]:
    with safe_open(model, framework="numpy") as file:
        return dict(json.loads(file.metadata()["bridle"]))


@pytest.mark.parametrize("how", [["fit"], ["train", "--hidden", "3", "--epochs", "2"]], ids=str)
def test_how_files_were_read_is_kept(command: Command, tmp_path: Path, how: list[str]) -> None:
    path = as_csv(tmp_path / "a.csv", sep=";", decimal=",", header=False)
    fit = (*how, path, "--na", "mean", "--holdout", "0", "--out", tmp_path / "m")
    assert command(*fit).code == 0
    reading = described(tmp_path / "m" / "model.safetensors")["reading"]
    assert reading.pop("fills") == pytest.approx(
        dict(zip(["c1", "c2", "c3"], NUMBERS.mean(axis=0), strict=True))
    )
    assert reading == {
        "delimiter": ";",
        "decimal": ",",
        "comment": "#",
        "header": False,
        "na": "mean",
        "label_kind": "texts",
    }
    assert command("evaluate", "--model", tmp_path / "m", path).code == 0


@pytest.mark.parametrize(
    "reading",
    [
        [],
        {"delimiter": 3},
        {"delimiter": "::"},
        {"decimal": "x"},
        {"encoding": "klingon"},
        {"encoding": 7},
        {"header": 1},
        {"na_spellings": 5},
        {"na_spellings": [5]},
        {"index_base": "1"},
        {"index_base": True},
        {"label_kind": "colours"},
        {"fills": {"a": "b"}},
        {"fills": {"a": 10**400}},
        {"fills": [1]},
        {"unknown": 1},
        {"thousands": "7"},
    ],
)
def test_a_model_with_a_broken_account_of_its_files(
    command: Command, tmp_path: Path, reading: Any
) -> None:
    path = as_csv(tmp_path / "a.csv")
    assert command("fit", path, "--out", tmp_path / "m", "--quiet").code == 0
    file = tmp_path / "m" / "model.safetensors"
    description = described(file)
    with safe_open(file, framework="numpy") as model:
        tensors = {name: model.get_tensor(name) for name in model.keys()}  # noqa: SIM118
    save_file(tensors, file, {"bridle": json.dumps({**description, "reading": reading})})
    answer = command("predict", tmp_path / "m", path)
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert answer.err.startswith(f"bridle: {file}: no readable ")


# --- a law ---------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(12, 60),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    decimal=st.sampled_from([".", ","]),
    header=st.booleans(),
    index=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
@example(  # the first row holds the only "n/a?", above labels that look like numbers
    seed=312,
    rows=12,
    delimiter=",",
    decimal=".",
    header=False,
    index=False,
    encoding="utf-8",
    quoting=csv.QUOTE_MINIMAL,
    line_end="\n",
)
@settings(
    deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_law_of_dialects(
    tmp_path: Path,
    seed: int,
    rows: int,
    delimiter: str,
    decimal: str,
    header: bool,
    index: bool,
    encoding: str,
    quoting: int,
    line_end: str,
) -> None:
    """Whatever the dialect, a table is what was written, and so is the same file after the fit."""
    generator = np.random.default_rng(seed)
    numbers = generator.normal(size=(rows, 2)).round(4) + 0.00001
    kinds = generator.choice(["red", "dark blue", 'a "b"', "x;y,z|w\tv"], rows)
    labels = generator.choice(["007", "7", "n/a?"], rows)
    frame = pd.DataFrame({"first": numbers[:, 0], "kind": kinds, "last one": numbers[:, 1]})
    frame["class"] = labels
    content = frame.to_csv(
        sep=delimiter,
        decimal=decimal,
        header=header,
        index=index,
        quoting=quoting,
        lineterminator=line_end,
    )
    path = written(tmp_path / "a.csv", content.encode(encoding))
    target = "class" if header else f"c{4 + index}"
    dataset = load(path, target=target)
    assert dataset.feature_names is not None
    found = dict(zip(dataset.feature_names, dense(dataset).T, strict=True))
    names = ("first", "kind", "last one") if header else tuple(f"c{n + index}" for n in (1, 2, 3))
    np.testing.assert_allclose(found.pop(names[0]), numbers[:, 0], rtol=1e-15)
    np.testing.assert_allclose(found.pop(names[2]), numbers[:, 1], rtol=1e-15)
    expected = {f"{names[1]}={kind}": kinds == kind for kind in np.unique(kinds)}
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    assert labels_of(dataset) == labels.tolist()
    plain = json.loads(json.dumps(dataset.reading.to_plain()))
    fitted = Reading.from_plain(plain, "a model")
    again = load(path, target=target, feature_names=dataset.feature_names, fitted=fitted)
    np.testing.assert_array_equal(dense(again), dense(dataset))
    assert labels_of(again) == labels.tolist()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("user_id", [7000 + 13 * row for row in range(ROWS)]),
        ("orderId", [f"order-{row:03}" for row in range(ROWS)]),
        ("uuid", [f"{row * 7919:08x}-x" for row in range(ROWS)]),
    ],
)
def test_names_of_rows_are_no_feature(
    tmp_path: Path, name: str, values: Sequence[object], kind: str
) -> None:
    path = str(tmp_path / f"a.{kind}")
    frame = FRAME.assign(**{name: list(values)})[[name, "a", "b", "c", "y"]]
    (frame.to_csv if kind == "csv" else frame.to_parquet)(path, index=False)
    dataset = load(path)
    assert dataset.feature_names == ("a", "b", "c")
    assert f"column '{name}' names the rows: not used (--keep {name} overrides)" in dataset.notes
    # A value that comes back is that of a group, which may say something.
    frame[name] = [values[row // 5] for row in range(ROWS)]
    (frame.to_csv if kind == "csv" else frame.to_parquet)(path, index=False)
    assert any(each.startswith(name) for each in load(path).feature_names or ())


def test_truths_with_gaps_are_numbers(command: Command, tmp_path: Path) -> None:
    truths = (NUMBERS[:, 1] > 0).astype(str).astype(object)
    whole = as_csv(tmp_path / "a.csv", FRAME.assign(t=truths)[["a", "t", "y"]])
    fit = ("fit", whole, "--na", "mean", "--holdout", "0", "--out", tmp_path / "m", "--quiet")
    assert command(*fit).code == 0
    truths[3] = ""
    gappy = as_csv(tmp_path / "b.csv", FRAME.assign(t=truths)[["a", "t", "y"]])
    dataset = load(gappy, reading=Reading(na="mean"))
    expected = (NUMBERS[:, 1] > 0).astype(float)
    expected[3] = np.delete(expected, 3).mean()
    assert dataset.feature_names == ("a", "t")
    np.testing.assert_allclose(dense(dataset)[:, 1], expected, rtol=1e-14)
    assert command("predict", tmp_path / "m", gappy).code == 0


def test_a_minus_sign_that_is_no_hyphen_is_named(tmp_path: Path) -> None:
    cells = [f"{number}".replace("-", "\u2212") for number in NUMBERS[:, 0]]
    message = refusal(as_csv(tmp_path / "a.csv", FRAME.assign(a=cells)))
    assert "its minus is the sign '\u2212', not a hyphen" in message


# --- rows that are longer than the header --------------------------------------------------------


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("sep", [",", " ", "\t", ";"])
def test_row_numbers_under_no_name_at_all(tmp_path: Path, sep: str, start: int) -> None:
    """As R's write.table writes them: the header has one name less than the rows."""
    header, *rows = FRAME.to_csv(index=False, sep=sep, quoting=csv.QUOTE_NONNUMERIC).splitlines()
    lines = [header, *(f'"{number}"{sep}{row}' for number, row in enumerate(rows, start))]
    dataset = loads_as_frame(written(tmp_path / "a.txt", "\n".join(lines) + "\n"))
    assert "the first column has no name: not used" in dataset.notes
    assert dataset.feature_names == ("a", "b", "c")


def test_a_delimiter_at_the_end_of_each_row_alone(tmp_path: Path) -> None:
    header, *rows = FRAME.to_csv(index=False).splitlines()
    path = written(tmp_path / "a.csv", "\n".join([header, *(f"{row}," for row in rows)]))
    assert "column 5 has no name and is empty: not used" in loads_as_frame(path).notes


def test_other_rows_that_are_too_long_are_refused(tmp_path: Path) -> None:
    # An amount with a mark in it, or names of rows: two readings.
    text = "day,amount\n" + "".join(f"2024-01-{day},1,{day}00\n" for day in range(10, 20))
    assert "line 2: too many fields, expected 2, found 3" in refusal(
        written(tmp_path / "a.csv", text)
    )


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_a_packed_file_under_a_plain_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(PACKERS[kind](FRAME.to_csv(index=False).encode()))
    assert f"expected text, found the content of a .{kind} file" in refusal(str(path))


def test_a_name_in_other_capitals_is_suggested(command: Command, tmp_path: Path) -> None:
    path = as_csv(tmp_path / "a.csv", FRAME.rename(columns={"y": "KIND", "a": "A"}))
    assert command("fit", path, "--target", "kind").err.endswith("; did you mean 'KIND'?\n")
    fit = ("fit", as_csv(tmp_path / "b.csv"), "--out", tmp_path / "m", "--quiet")
    assert command(*fit).code == 0
    answer = command("predict", tmp_path / "m", path)
    assert "column 'a' is missing, the model needs it; did you mean 'A'?" in answer.err


def test_advice_is_given_where_it_can_be_taken(command: Command, tmp_path: Path) -> None:
    answers = pd.DataFrame(
        {"neg": [0.2, None, 0.4], "pos": [0.8, 0.5, 0.6], "y": ["pos", "pos", "neg"]}
    )
    for frame in (answers, answers.fillna({"neg": 0.5}).assign(y=["pos", "", "neg"])):
        error = command("evaluate", as_csv(tmp_path / "a.csv", frame)).err
        assert "missing" in error
        assert "--na" not in error
    labels = np.where(np.arange(ROWS) == 3, "", FRAME["y"]).astype(str)
    np.savez(tmp_path / "a.npz", X=NUMBERS, y=labels)
    assert refusal(str(tmp_path / "a.npz")).endswith("row 3 of the labels: missing target value")
    parquet.write_table(pa.table({"a": [1, None], "y": [0, 1]}), tmp_path / "a.parquet")
    expected = "row 1, column 'a': missing value; --na drop, mean or a TEXT tells what to do"
    assert refusal(str(tmp_path / "a.parquet")).endswith(expected)
    # A mark is named for what it is.
    plain = as_csv(tmp_path / "p.csv")
    assert command("fit", plain, "--out", tmp_path / "m", "--quiet").code == 0
    later = as_csv(tmp_path / "q.csv", sep=";", decimal=",")
    assert (
        "has a decimal comma: --decimal , or --thou"
        in command("predict", tmp_path / "m", later).err
    )
    assert command("predict", tmp_path / "m", later, "--decimal", ",").code == 0


def test_columns_and_lists_without_a_value_in_parquet(tmp_path: Path) -> None:
    path = str(tmp_path / "a.parquet")
    rows: dict[str, Any] = {"e": [[1.0, 2.0], None, [3.0, 4.0], [5.0, 7.0]], "y": [0, 1, 0, 1]}
    parquet.write_table(pa.table(rows), path)
    dropped = load(path, reading=Reading(na="drop"))
    np.testing.assert_array_equal(dense(dropped), [[1, 2], [3, 4], [5, 7]])
    np.testing.assert_array_equal(labels_of(dropped), [0, 0, 1])
    assert "1 of 4 rows have missing values: not used (1 in 'e')" in dropped.notes
    assert refusal(path).endswith("row 1, column 'e': missing value")
    parquet.write_table(pa.table({"n": pa.nulls(2), "a": [1, 2], "y": [0, 1]}), path)
    for na in (None, "drop", "mean"):
        message = refusal(path, reading=Reading(na=na))
        assert "column 'n': no row has a value; --drop n leaves it out" in message


@pytest.mark.parametrize("sep", [" ", "\t", ",", ";", "   "])
@pytest.mark.parametrize("heading", [None, "kind"])
def test_row_numbers_in_a_txt_of_labels(tmp_path: Path, sep: str, heading: str | None) -> None:
    np.save(tmp_path / "X.npy", NUMBERS)
    lines = [f"{row}{sep}{label} one" for row, label in enumerate(FRAME["y"])]
    if heading is not None and sep.strip():
        lines.insert(0, f"{sep}{heading}")
    labels = written(tmp_path / "y.txt", "\n".join(lines) + "\n")
    dataset = load(str(tmp_path / "X.npy"), labels=labels)
    assert labels_of(dataset) == [f"{label} one" for label in FRAME["y"]]
    assert f"{labels}: column 1 numbers the rows" in dataset.notes
    # Labels of several words, of which the first numbers nothing, are labels.
    whole = written(tmp_path / "z.txt", "".join(f"7{sep}{label}\n" for label in FRAME["y"]))
    dataset = load(str(tmp_path / "X.npy"), labels=whole)
    assert labels_of(dataset) == [f"7{sep}{label}" for label in FRAME["y"]]


@pytest.mark.parametrize("option", ["columns", "keep", "categorical", "text"])
def test_a_column_that_is_dropped_and_asked_for(tmp_path: Path, option: str) -> None:
    selection = Selection(drop=("a",), **{option: ("a",)})
    message = refusal(as_csv(tmp_path / "a.csv"), selection=selection)
    assert message == f"--{option}: expected without --drop, found 'a' in both"
