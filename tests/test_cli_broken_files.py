"""Broken files: one readable line that names the file, exit code 2, nothing written."""

from __future__ import annotations

import gzip
import io
import pickle
import random
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from safetensors.numpy import save as safetensors_bytes
from scipy import sparse

from bridle.cli import run

Array = npt.NDArray[Any]
Arguments = list[str]
# Writes what is broken into a folder; returns the arguments of `bridle fit`, relative to it.
Maker = Callable[[Path], Arguments]

ROWS = 20
FEATURES = np.random.default_rng(0).normal(size=(ROWS, 3))
LABELS = np.arange(ROWS) % 2
LINES = ["a,b,y", *(f"{row}.5,{row % 7},{row % 2}" for row in range(ROWS))]


class Case(NamedTuple):
    """How to break it, and what the line has to say: the file at fault, and the fault."""

    maker: Maker
    file: str
    expected: str


CASES: dict[str, Case] = {}


def case(name: str, file: str, expected: str) -> Callable[[Maker], Maker]:
    """Register a broken file under a readable name."""

    def register(maker: Maker) -> Maker:
        assert name not in CASES
        CASES[name] = Case(maker, file, expected)
        return maker

    return register


def content_case(name: str, file: str, content: str | bytes, expected: str) -> None:
    """Register a file that is broken by what it holds."""

    @case(name, file, expected)
    def _maker(folder: Path) -> Arguments:
        data = content.encode() if isinstance(content, str) else content
        (folder / file).write_bytes(data)
        return [file]


def npy_bytes(array: Array, *, pickled: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=pickled)
    return stream.getvalue()


def npz_bytes(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def idx_bytes(array: Array, kind: int = 8) -> bytes:
    head = bytes([0, 0, kind, array.ndim])
    return head + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


def table_with(line: int, text: str) -> str:
    """Return a sound table but for one line, counted from 1."""
    return "\n".join([*LINES[: line - 1], text, *LINES[line:]]) + "\n"


def with_value(value: float) -> Array:
    features = FEATURES.copy()
    features[13, 2] = value
    return features


def parquet_bytes(**columns: Any) -> bytes:
    stream = io.BytesIO()
    parquet.write_table(pa.table(columns), stream)
    return stream.getvalue()


# --- tables --------------------------------------------------------------------------------------

content_case("csv: empty", "a.csv", "", "empty file")
content_case("csv: only blank lines", "a.csv", "\n\n  \n", "empty, expected a header and rows")
content_case("csv: header only", "a.csv", "a,b,y\n", "no rows below the header")
content_case(
    "csv: a row too short",
    "a.csv",
    table_with(9, "1.5,0"),
    "line 9: too few fields, expected 3, found 2",
)
content_case(
    "csv: a row too long",
    "a.csv",
    table_with(9, "1.5,0,1,1"),
    "line 9: too many fields, expected 3, found 4",
)
content_case(
    "csv: NaN among the features",
    "a.csv",
    table_with(4, "nan,0,1"),
    "line 4, column 'a': missing value ('nan')",
)
content_case(
    "csv: an empty cell", "a.csv", table_with(4, "1.5,,1"), "line 4, column 'b': missing value"
)
content_case(
    "csv: infinity",
    "a.csv",
    table_with(4, "1.5,inf,1"),
    "line 4, column 'b': expected a finite number, found inf",
)
content_case(
    "csv: text in a number",
    "a.csv",
    table_with(21, "1.5,seven,1"),
    "line 21, column 'b': text in a numeric column: 'seven'",
)
content_case(
    "csv: a missing label",
    "a.csv",
    table_with(3, "1.5,0,"),
    "line 3, column 'y': missing target value",
)
content_case(
    "csv: two columns of one name", "a.csv", "a,a,y\n1,2,0\n", "two columns are called 'a'"
)
content_case(
    "csv: an open quote", "a.csv", table_with(5, '"1.5,0,1'), "line 5: unexpected end of data"
)
content_case("csv: not UTF-8", "a.csv", b"a,y\n1,0\n\xff,1\n", "line 3: not UTF-8 text")
content_case("csv: a zero byte", "a.csv", b"a,y\n1,0\n2\0,1\n", "line 3: not text")
content_case(
    "csv: control characters",
    "a.csv",
    table_with(6, "\x1b[31mred,0,1"),
    r"line 6, column 'a': text in a numeric column: '\x1b[31mred'",
)
content_case(
    "csv: one class only",
    "a.csv",
    "a,y\n" + "".join(f"{row}.5,yes\n" for row in range(ROWS)),
    "expected at least two classes, found one class, yes",
)
content_case(
    "csv: a regression target",
    "a.csv",
    "a,y\n" + "".join(f"{row},{row / 7}\n" for row in range(ROWS)),
    "look like a regression target",
)
content_case(
    "csv: only a target", "a.csv", "y\n" + "0\n1\n" * 9, "no column is left for the features"
)
content_case("csv: too few rows to hold out", "a.csv", "a,y\n1,0\n2,1\n", "too few samples")
content_case("tsv: one column", "a.tsv", "a\n1.5\n2.5\n", "no column is called target, label")
content_case("csv.gz: not packed", "a.csv.gz", "\n".join(LINES), "cannot be read as")
content_case(
    "csv.gz: truncated",
    "a.csv.gz",
    gzip.compress("\n".join(LINES).encode())[:-12],
    "cannot be read as a table of text: Compressed file ended",
)


@case("csv: an unknown target column", "a.csv", "has no column 'z', found 'a', 'b', 'y'")
def _unknown_target(folder: Path) -> Arguments:
    (folder / "a.csv").write_text("\n".join(LINES))
    return ["a.csv", "--target", "z"]


content_case(
    "parquet: corrupt in the middle",
    "a.parquet",
    (lambda whole: whole[:40] + bytes(range(256)) + whole[296:])(
        parquet_bytes(a=np.arange(500.0), y=np.arange(500) % 2)
    ),
    "cannot be read as parquet",
)
content_case(
    "parquet: truncated",
    "a.parquet",
    parquet_bytes(a=FEATURES[:, 0], y=LABELS)[:-9],
    "cannot be read as parquet",
)
content_case(
    "parquet: a missing value",
    "a.parquet",
    parquet_bytes(a=[1.0, None, 3.0], y=[0, 1, 0]),
    "row 1, column 'a': missing value",
)
content_case(
    "parquet: NaN",
    "a.parquet",
    parquet_bytes(a=[1.0, 2.0, np.nan], y=[0, 1, 0]),
    "row 2, column 'a': expected a finite number, found NaN",
)
content_case(
    "parquet: embeddings of two widths",
    "a.parquet",
    parquet_bytes(a=[[1.0, 2.0], [3.0]], y=[0, 1]),
    "row 1, column 'a': expected 2 numbers as in row 0, found 1",
)

# --- arrays --------------------------------------------------------------------------------------


def npy_case(name: str, content: bytes, expected: str) -> None:
    """Register a broken ``X.npy`` whose labels are sound."""

    @case(name, "X.npy", expected)
    def _maker(folder: Path) -> Arguments:
        (folder / "X.npy").write_bytes(content)
        np.save(folder / "y.npy", LABELS)
        return ["X.npy", "--labels", "y.npy"]


npy_case("npy: empty", b"", "empty file")
npy_case(
    "npy: objects",
    npy_bytes(np.array([[1, None]] * ROWS, object), pickled=True),
    "holds pickled Python objects; pickles are never read",
)
npy_case("npy: a pickle", pickle.dumps(FEATURES), "a pickle, which is never read")
npy_case("npy: texts", npy_bytes(np.full((ROWS, 3), "one")), "expected real numbers, found <U3")
npy_case(
    "npy: complex numbers",
    npy_bytes(FEATURES.astype(complex)),
    "expected real numbers, found complex128",
)
npy_case("npy: dates", npy_bytes(np.zeros((ROWS, 3), "M8[D]")), "expected real numbers")
npy_case("npy: one dimension", npy_bytes(FEATURES[:, 0]), "expected shape (N, D), found (20,)")
npy_case("npy: no dimension", npy_bytes(np.array(1.0)), "expected shape (N, D), found ()")
npy_case("npy: no rows", npy_bytes(FEATURES[:0]), "found shape (0, 3)")
npy_case("npy: no columns", npy_bytes(FEATURES[:, :0]), "found shape (20, 0)")
npy_case("npy: truncated", npy_bytes(FEATURES)[:-8], "truncated: shape (20, 3) of float64")
npy_case("npy: truncated in the header", npy_bytes(FEATURES)[:50], "cannot be read as an .npy")
npy_case(
    "npy: NaN among the features",
    npy_bytes(with_value(np.nan)),
    "expected finite numbers, found NaN at row 13, column 2",
)


def labels_case(name: str, file: str, content: bytes | str, expected: str) -> None:
    """Register broken labels for a sound ``X.npy``."""

    @case(name, file, expected)
    def _maker(folder: Path) -> Arguments:
        np.save(folder / "X.npy", FEATURES)
        (folder / file).write_bytes(content.encode() if isinstance(content, str) else content)
        return ["X.npy", "--labels", file]


labels_case("labels: too few", "y.npy", npy_bytes(LABELS[:-1]), "19 labels, but X.npy has 20 rows")
labels_case(
    "labels: too many",
    "y.txt",
    "0\n1\n" * 10 + "0\n",
    "21 labels, but X.npy has 20 rows",
)
labels_case("labels: a gap", "y.txt", "0\n1\n" * 5 + "\n1\n" + "0\n1\n" * 4, "line 11")
labels_case("labels: two a line", "y.csv", "0,1\n" * ROWS, "line 1: expected one label a line")
labels_case("labels: NaN", "y.npy", npy_bytes(np.where(LABELS, np.nan, 0.0)), "row 1: missing")
labels_case(
    "labels: objects", "y.npy", npy_bytes(LABELS.astype(object), pickled=True), "holds pickled"
)
labels_case("labels: noise", "y.npy", b"\x93NUMPY" + bytes(range(200)), "cannot be read")
labels_case("labels: of no known kind", "y.json", "[0, 1]", "labels: expected one of .npy")


@case("labels: none", "X.npy", "no labels found: give them with --labels FILE")
def _no_labels(folder: Path) -> Arguments:
    np.save(folder / "X.npy", FEATURES)
    return ["X.npy"]


@case("labels: no such file", "y.npy", "no such file (labels)")
def _labels_not_there(folder: Path) -> Arguments:
    np.save(folder / "X.npy", FEATURES)
    return ["X.npy", "--labels", "y.npy"]


@case("npy: one class only", "X.npy", "expected at least two classes, found one class, 0")
def _one_class(folder: Path) -> Arguments:
    np.save(folder / "X.npy", FEATURES)
    np.save(folder / "y.npy", np.zeros(ROWS, int))
    return ["X.npy", "--labels", "y.npy"]


content_case(
    "npz: infinity among the features",
    "a.npz",
    npz_bytes(X=with_value(-np.inf), y=LABELS),
    "expected finite numbers, found infinity at row 13, column 2",
)
content_case("npz: a pickle", "a.npz", pickle.dumps({"X": FEATURES}), "never read")
content_case(
    "npz: pickled objects",
    "a.npz",
    npz_bytes(X=FEATURES.astype(object), y=LABELS),
    "pickles are never read",
)
content_case(
    "npz: truncated", "a.npz", npz_bytes(X=FEATURES, y=LABELS)[:-30], "cannot be read as an .npz"
)
content_case(
    "npz: labels of another length",
    "a.npz",
    npz_bytes(X=FEATURES, y=LABELS[:7]),
    "20 rows of features, but labels for 7",
)
content_case(
    "npz: two arrays that may be the features",
    "a.npz",
    npz_bytes(first=FEATURES, second=FEATURES, y=LABELS),
    "expected one array of features",
)


@case("npz: a zip of other files", "a.npz", "expected .npy arrays, found 'readme.txt'")
def _zip(folder: Path) -> Arguments:
    with zipfile.ZipFile(folder / "a.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    return ["a.npz"]


@case("npz: a sparse matrix with an index outside", "a.npz", "cannot be read as a sparse matrix")
def _sparse(folder: Path) -> Arguments:
    matrix = sparse.csr_array(FEATURES)
    matrix.indices[5] = 99
    sparse.save_npz(folder / "a.npz", matrix)
    np.save(folder / "y.npy", LABELS)
    return ["a.npz", "--labels", "y.npy"]


SOUND_TENSORS = safetensors_bytes({"X": FEATURES, "y": LABELS})
content_case(
    "safetensors: a header of absurd size",
    "a.safetensors",
    struct.pack("<Q", 2**62) + SOUND_TENSORS[8:],
    "Error while deserializing header: ",
)
content_case(
    "safetensors: a header longer than the file",
    "a.safetensors",
    struct.pack("<Q", 10**6) + SOUND_TENSORS[8:],
    "cannot be read as safetensors",
)
content_case(
    "safetensors: truncated",
    "a.safetensors",
    SOUND_TENSORS[:-5],
    "cannot be read as safetensors",
)
content_case(
    "safetensors: NaN",
    "a.safetensors",
    safetensors_bytes({"X": with_value(np.nan), "y": LABELS}),
    "found NaN at row 13, column 2",
)

content_case(
    "svmlight: a negative index",
    "a.svmlight",
    "1 1:2 3:4\n0 -1:2\n",
    "line 2: expected column:value, found '-1:2'",
)
content_case(
    "svmlight: text", "a.svmlight", "1 1:2\nyes 1:2\n", "line 2: expected a number as label"
)
content_case("svmlight: empty", "a.svmlight", "", "empty file")
content_case("svmlight: one class", "a.svmlight", "1 1:2\n1 1:3\n1 2:1\n", "found one class, 1")
content_case("svmlight: infinity", "a.svmlight", "1 1:2\n0 1:inf\n" * 9, "found infinity at row 1")

# --- idx and images ------------------------------------------------------------------------------

IMAGES = np.arange(ROWS * 4).reshape(ROWS, 2, 2)


def idx_case(name: str, images: bytes, expected: str, ending: str = "") -> None:
    """Register broken idx images whose labels are sound."""
    file = f"train-images-idx3-ubyte{ending}"

    @case(name, file, expected)
    def _maker(folder: Path) -> Arguments:
        (folder / file).write_bytes(images)
        (folder / "train-labels-idx1-ubyte").write_bytes(idx_bytes(LABELS))
        return [file]


idx_case("idx: a wrong magic number", b"\1\2\3\4" + idx_bytes(IMAGES)[4:], "not idx")
idx_case("idx: an unknown type", idx_bytes(IMAGES, kind=0x0A), "not idx: the first bytes are 00")
idx_case("idx: too short", idx_bytes(IMAGES)[:-1], "truncated: shape (20, 2, 2) takes 80 bytes")
idx_case("idx: too long", idx_bytes(IMAGES) + b"0", "too long: shape (20, 2, 2)")
idx_case("idx: a header cut off", idx_bytes(IMAGES)[:9], "truncated: 3 axes declared")
idx_case("idx.gz: truncated", gzip.compress(idx_bytes(IMAGES))[:-9], "cannot be read", ".gz")
idx_case("idx.gz: not packed", idx_bytes(IMAGES), "cannot be read", ".gz")
idx_case("idx: fewer images than labels", idx_bytes(IMAGES[:7]), "7 rows of features")


@case("idx: no labels", "train-images-idx3-ubyte", "no labels found (train-labels-idx1-ubyte)")
def _idx_alone(folder: Path) -> Arguments:
    (folder / "train-images-idx3-ubyte").write_bytes(idx_bytes(IMAGES))
    return ["train-images-idx3-ubyte"]


def save_image(path: Path, sides: tuple[int, int] = (4, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", sides, 7).save(path)


def image_folder(folder: Path) -> None:
    for name in ("cat", "dog"):
        for number in range(5):
            save_image(folder / "pictures" / name / f"{number}.png")


@case("images: of different sizes", "2.png", "an image of 5 by 4, expected 4 by 4")
def _sizes(folder: Path) -> Arguments:
    image_folder(folder)
    save_image(folder / "pictures" / "dog" / "2.png", (5, 4))
    return ["pictures"]


@case("images: truncated", "3.png", "cannot be read as an image")
def _image_truncated(folder: Path) -> Arguments:
    image_folder(folder)
    path = folder / "pictures" / "dog" / "3.png"
    path.write_bytes(path.read_bytes()[:-30])
    return ["pictures"]


@case("images: noise", "3.png", "cannot be read as an image")
def _image_noise(folder: Path) -> Arguments:
    image_folder(folder)
    (folder / "pictures" / "cat" / "3.png").write_bytes(random.Random(0).randbytes(500))
    return ["pictures"]


@case("images: one class only", "pictures", "expected at least two classes, found one class, cat")
def _one_folder(folder: Path) -> Arguments:
    for number in range(9):
        save_image(folder / "pictures" / "cat" / f"{number}.png")
    return ["pictures"]


# --- folders -------------------------------------------------------------------------------------


@case("folder: empty", "data", "no data: expected files (.csv, ")
def _empty_folder(folder: Path) -> Arguments:
    (folder / "data").mkdir()
    return ["data"]


@case("folder: files of two kinds", "data", "expected files of one kind, found 'a.csv', 'b.npz'")
def _mixed_folder(folder: Path) -> Arguments:
    (folder / "data").mkdir()
    (folder / "data" / "a.csv").write_text("\n".join(LINES))
    (folder / "data" / "b.npz").write_bytes(npz_bytes(X=FEATURES, y=LABELS))
    return ["data"]


@case("folder: a broken shard", "b.csv", "line 3: too few fields")
def _broken_shard(folder: Path) -> Arguments:
    (folder / "data").mkdir()
    (folder / "data" / "a.csv").write_text("\n".join(LINES))
    (folder / "data" / "b.csv").write_text(table_with(3, "1"))
    return ["data"]


@case("folder: shards of two widths", "b.npz", "expected 3 columns")
def _two_widths(folder: Path) -> Arguments:
    (folder / "data").mkdir()
    (folder / "data" / "a.npz").write_bytes(npz_bytes(X=FEATURES, y=LABELS))
    (folder / "data" / "b.npz").write_bytes(npz_bytes(X=FEATURES[:, :2], y=LABELS))
    return ["data"]


content_case("an unknown ending", "a.xlsx", "a,y\n1,0\n", "unknown ending '.xlsx'")


@case("no such file", "a.csv", "no such file")
def _nothing(_: Path) -> Arguments:
    return ["a.csv"]


def noise_cases() -> None:
    """Register noise under every ending that a reader answers to, and as a packed stream."""
    noise = random.Random(1).randbytes(4096)
    for ending in (
        ".csv",
        ".tsv",
        ".csv.gz",
        ".tsv.gz",
        ".parquet",
        ".npz",
        ".npy",
        ".safetensors",
        ".svmlight",
        ".libsvm",
        ".svm",
        ".idx",
        "-images-idx3-ubyte",
        "-images-idx3-ubyte.gz",
    ):
        content_case(f"noise: {ending}", f"a{ending}", noise, "")
    content_case("noise: packed .csv.gz", "a.csv.gz", gzip.compress(noise), "line 1: not")


noise_cases()


# --- the law -------------------------------------------------------------------------------------


def check_refusal(line: str, file: str, expected: str) -> None:
    """Assert that a refusal is one line that says where and what."""
    assert line.startswith("bridle: ")
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert line[:-1].isprintable()
    assert "Traceback" not in line
    assert file in line
    assert expected in line
    assert len(line) < 500


@pytest.mark.parametrize("name", CASES)
def test_a_broken_file_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    maker, file, expected = CASES[name]
    arguments = maker(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    code = run(["fit", *arguments, "--out", "out"])
    out, err = capsys.readouterr()
    check_refusal(err, file, expected)
    assert (code, out) == (2, "")
    assert sorted(tmp_path.rglob("*")) == before, "nothing is written"


@pytest.mark.parametrize(
    "name",
    [
        "npy: truncated",
        "npy: objects",
        "npy: NaN among the features",
        "npz: infinity among the features",
        "labels: too few",
        "labels: none",
        "noise: .npz",
        "no such file",
        "folder: empty",
    ],
)
def test_broken_test_data_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    maker, file, expected = CASES[name]
    arguments = maker(tmp_path)
    arguments = ["--test-labels" if item == "--labels" else item for item in arguments]
    np.savez(tmp_path / "sound.npz", X=FEATURES, y=LABELS)
    monkeypatch.chdir(tmp_path)
    code = run(["fit", "sound.npz", "--test", *arguments, "--out", "out"])
    out, err = capsys.readouterr()
    check_refusal(err, file, expected)
    assert (code, out) == (2, "")
    assert not (tmp_path / "out").exists()


def test_there_are_enough_kinds() -> None:
    assert len(CASES) >= 20


def test_sound_files_are_not_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the cases break is sound before: each refusal is of its fault and no other."""
    sound: list[Arguments] = []
    for name, content in {
        "a.csv": "\n".join(LINES).encode(),
        "a.tsv": "\n".join(LINES).encode(),  # commas all the same: recognised
        "a.csv.gz": gzip.compress("\n".join(LINES).encode()),
        "a.parquet": parquet_bytes(a=FEATURES[:, 0], y=LABELS),
        "a.npz": npz_bytes(X=FEATURES, y=LABELS),
        "a.safetensors": SOUND_TENSORS,
        "a.svmlight": b"1 1:2 3:4\n0 1:2\n" * 9,
        "train-images-idx3-ubyte": idx_bytes(IMAGES),
        "train-labels-idx1-ubyte": idx_bytes(LABELS),
    }.items():
        (tmp_path / name).write_bytes(content)
        sound.append([str(tmp_path / name)])
    sound.pop()
    np.save(tmp_path / "X.npy", FEATURES)
    np.save(tmp_path / "y.npy", LABELS)
    sound.append([str(tmp_path / "X.npy"), "--labels", str(tmp_path / "y.npy")])
    image_folder(tmp_path)
    sound.append([str(tmp_path / "pictures")])
    for arguments in sound:
        assert run(["fit", *arguments, "--quiet"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("name", ["csv: a row too short", "npy: truncated", "noise: .npz"])
def test_a_broken_file_in_a_true_process(tmp_path: Path, name: str) -> None:
    maker, file, expected = CASES[name]
    arguments = maker(tmp_path)
    answer = subprocess.run(
        [sys.executable, "-m", "bridle", "fit", *arguments, "--out", "out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    check_refusal(answer.stderr, file, expected)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert not (tmp_path / "out").exists()
