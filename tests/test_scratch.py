"""Features that are parsed or unpacked may lie in a temporary file: they are the same there."""

from __future__ import annotations

import gc
import gzip
import os
import pickle
import re
import struct
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from bridle import InputError, SoftmaxRegression
from bridle.data import Dataset, Reading, Scratch, columns, delimited, encoding, load, scratch
from bridle.mapped import MappedArray, mapped_file

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(3, size=90)
FEATURES = (RANDOM.normal(size=(90, 5)) + np.eye(3, 5)[LABELS]).round(4)
THIRDS = (slice(0, 20), slice(20, 65), slice(65, 90))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of temporary files, with nothing in it."""
    found = tmp_path / "temporary"
    found.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(found))
    return found


def is_kept(features: Any) -> bool:
    """Tell whether all arrays of features lie in the temporary file."""
    parts = features._parts
    arrays = [
        array
        for part in parts
        for array in ((part.data, part.indices, part.indptr) if sparse.issparse(part) else (part,))
    ]
    files = [mapped_file(array) for array in arrays]
    return all(file is not None and file[2] is None for file in files)


@pytest.mark.parametrize(
    "array",
    [
        FEATURES,
        FEATURES.astype(">f4"),
        FEATURES.T[::-2],
        np.asfortranarray(FEATURES.astype(np.float16)),
        LABELS > 1,
        np.array(["a", "", "longer"]),
        np.array(3.5),
        np.zeros((0, 4), np.float32),
    ],
)
def test_an_array_is_the_same_there(array: Any, folder: Path) -> None:
    kept = Scratch().kept(array)
    assert kept.dtype == array.dtype
    np.testing.assert_array_equal(kept, array)
    if array.size:
        assert not kept.flags.writeable
        assert mapped_file(kept) is not None
        assert MappedArray.of(kept) is None, "nobody else can open it"
    assert not list(folder.iterdir()), "it has no name, so that nothing is left behind"


def test_many_arrays_share_a_mapping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "_MAPPED_BYTES", 20_000)
    monkeypatch.setattr(scratch, "_WRITTEN_BYTES", 1000)
    place, arrays = Scratch(), [RANDOM.normal(size=size) for size in (3, 900, 4000, 1, 2000, 7)]
    kept = [place.kept(array) for array in arrays]
    for one, other in zip(kept, arrays, strict=True):
        np.testing.assert_array_equal(one, other)
    mappings = {id(found[0]) for each in kept if (found := mapped_file(each)) is not None}
    assert len(mappings) == 3
    del place
    gc.collect()
    np.testing.assert_array_equal(kept[2], arrays[2])


def test_what_is_cut_short_by_an_error_is_written_over() -> None:
    place = Scratch()
    first = place.kept(np.arange(5))

    def broken() -> Any:
        yield np.arange(3)
        raise InputError("no more")

    with pytest.raises(InputError, match="no more"):
        place.written(broken())
    second = place.kept(np.arange(100, 110))
    assert first.tolist() == [0, 1, 2, 3, 4]
    assert second.tolist() == list(range(100, 110))


def test_no_room_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.path.exists("/dev/full"):
        full = open("/dev/full", "w+b", buffering=0)  # noqa: SIM115 - the scratch closes it
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: full)
        with pytest.raises(InputError, match=r"temporary: what was read .*No space left on device"):
            Scratch().kept(np.arange(5000))
        monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "absent"))
    with pytest.raises(InputError, match=r"absent: .*No such file .*TMPDIR names another folder"):
        Scratch().kept(np.arange(5))


def packed(path: Path, rows: slice) -> None:
    np.savez_compressed(path, X=FEATURES[rows].astype(np.float32), y=LABELS[rows])


def fortran(path: Path, rows: slice) -> None:
    np.savez_compressed(path, X=np.asfortranarray(FEATURES[rows]), y=LABELS[rows])


def bfloat16(path: Path, rows: slice) -> None:
    import torch
    from safetensors.torch import save_file

    X = torch.from_numpy(FEATURES[rows]).to(torch.bfloat16)
    save_file({"X": X, "y": torch.from_numpy(LABELS[rows])}, path)


def svmlight(path: Path, rows: slice, first: int = 1) -> None:
    pairs = zip(LABELS[rows], FEATURES[rows], strict=True)
    lines = [
        f"{label} " + " ".join(f"{at}:{each}" for at, each in enumerate(row, first) if each > 0)
        for label, row in pairs
    ]
    path.write_text("\n".join(lines))


def svmlight_from_0(path: Path, rows: slice) -> None:
    svmlight(path, rows, first=0)


def thin(path: Path, rows: slice) -> None:
    sparse.save_npz(path, sparse.csc_array(np.maximum(FEATURES[rows], 0)))


SHARDS: list[tuple[Callable[[Path, slice], None], str]] = [
    (packed, ".npz"),
    (fortran, ".npz"),
    (bfloat16, ".safetensors"),
    (svmlight, ".svmlight"),
    (svmlight_from_0, ".svmlight"),
    (thin, ".npz"),
]


def write_shards(folder: Path, write: Callable[[Path, slice], None], ending: str) -> None:
    folder.mkdir()
    for place, rows in enumerate(THIRDS):
        write(folder / f"part-{place}{ending}", rows)


def assert_same(found: Dataset, expected: Dataset) -> None:
    for name in ("feature_names", "ids", "notes", "pixels", "image_shape", "texts", "reading"):
        assert getattr(found, name) == getattr(expected, name), name
    for name in ("target_name", "named", "taken", "shards", "files", "source"):
        assert getattr(found, name) == getattr(expected, name), name
    one, other = found.features, expected.features
    assert (one.shape, one.dtype, one.is_sparse) == (other.shape, other.dtype, other.is_sparse)
    assert [part.dtype for part in one._parts] == [part.dtype for part in other._parts]
    # Of an array that lies below others, as of these others.
    chosen = np.arange(len(one))[::-3]
    for left, right in (
        (one, other),
        (one.take(chosen), other.take(chosen)),
        (pickle.loads(pickle.dumps(one.take(chosen))), other.take(chosen)),
    ):
        found_rows, rows = left.to_array(), right.to_array()
        if one.is_sparse:
            found_rows, rows = found_rows.toarray(), rows.toarray()
        np.testing.assert_array_equal(found_rows, rows)
    if expected.target is None:
        assert found.target is None
    else:
        assert found.target is not None
        assert found.target.dtype == expected.target.dtype
        np.testing.assert_array_equal(found.target, expected.target)


@pytest.mark.parametrize(("write", "ending"), SHARDS)
def test_shards_are_the_same_there(
    write: Callable[[Path, slice], None], ending: str, tmp_path: Path, folder: Path
) -> None:
    if ending == ".safetensors":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    write_shards(tmp_path / "shards", write, ending)
    labels = None
    if write is thin:
        np.save(tmp_path / "labels.npy", LABELS)
        labels = str(tmp_path / "labels.npy")
    source = str(tmp_path / "shards")
    found = load(source, labels=labels, scratch=Scratch())
    assert is_kept(found.features)
    assert_same(found, load(source, labels=labels))
    assert not list(folder.iterdir())


def test_packed_idx_and_images_are_the_same_there(tmp_path: Path, folder: Path) -> None:
    pixels = RANDOM.integers(256, size=(30, 4, 6), dtype=np.uint8)
    labels = (np.arange(30) % 3).astype(np.uint8)
    (tmp_path / "idx").mkdir()
    for name, array in (("images-idx3", pixels), ("labels-idx1", labels)):
        header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        path = tmp_path / "idx" / f"train-{name}-ubyte.gz"
        path.write_bytes(gzip.compress(header + array.tobytes()))
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    for row, (each, label) in enumerate(zip(pixels, labels, strict=True)):
        (tmp_path / "images" / f"class {label}").mkdir(parents=True, exist_ok=True)
        image.fromarray(each).save(tmp_path / "images" / f"class {label}" / f"{row:02}.png")
    for name in ("idx", "images"):
        found = load(tmp_path / name, scratch=Scratch())
        assert is_kept(found.features)
        assert_same(found, load(tmp_path / name))
    (tmp_path / "images" / "class 1" / "01.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(InputError, match=r"01.png: cannot be read as an image"):
        load(tmp_path / "images", scratch=Scratch())
    assert not list(folder.iterdir())


def parquet(path: Path, rows: slice) -> None:
    """Write a table with a column of each kind, in several groups of rows."""
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    X, y, numbers = FEATURES[rows], LABELS[rows], np.arange(90)[rows]
    # The second file spells its colours, the others number them.
    colours = arrow.array([("red", "green", "blue")[each] for each in numbers % 3])
    gaps = arrow.array([None if each % 11 == 5 else each / 7 for each in numbers], "float32")
    columns = {
        "embedding": arrow.array(list(X.astype(np.float32)), arrow.list_(arrow.float32())),
        "fixed": arrow.FixedSizeListArray.from_arrays(arrow.array(X.reshape(-1)), 5),
        "whole": arrow.array(numbers % 13, "int16"),
        "truth": arrow.array(numbers % 2 == 0),
        "gaps": gaps,
        "colour": colours.dictionary_encode() if rows.start else colours,
        "label": arrow.array([f"c{each}" for each in y]),
    }
    parquet.write_table(arrow.table(columns), path, row_group_size=8)


def commas(path: Path, rows: slice) -> None:
    """Write a table of text with numbers, texts and missing values."""
    lines = ["a,b,colour,gaps,truth,label"]
    for number in np.arange(90)[rows].tolist():
        one, other = FEATURES[number, :2].tolist()
        colour = '"dark, ""red"""' if number % 3 else "gr\u00fcn"
        gap = "" if number % 11 == 5 else number / 7
        lines.append(f"{one},{other},{colour},{gap},{number % 2 == 0},c{LABELS[number]}")
    path.write_text("\n".join(lines), encoding="utf-8")


def prose(path: Path, rows: slice) -> None:
    """Write a table with texts of many words beside a number."""
    words = [" ".join(f"word{each}" for each in row) for row in RANDOM.integers(30, size=(90, 4))]
    lines = [f"{words[row]},{FEATURES[row, 0]},{LABELS[row]}" for row in range(90)[rows]]
    path.write_text("\n".join(["text,number,label", *lines]))


@pytest.mark.filterwarnings("ignore:.*missing values are filled")
@pytest.mark.parametrize("policy", ["mean", "drop", "text"])
@pytest.mark.parametrize(
    ("write", "ending"), [(parquet, ".parquet"), (commas, ".csv"), (prose, ".csv")]
)
def test_tables_are_the_same_there(
    write: Callable[[Path, slice], None],
    ending: str,
    policy: str,
    tmp_path: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if policy == "text" and write is not commas:
        return
    monkeypatch.setattr(encoding, "_FILLED_NUMBERS", 100)
    monkeypatch.setattr(columns, "_ROWS_AT_A_TIME", 7)
    monkeypatch.setattr(delimited, "CELLS_AT_A_TIME", 30)
    write_shards(tmp_path / "shards", write, ending)
    reading = Reading(na="0" if policy == "text" else policy)
    for source in (tmp_path / "shards", tmp_path / "shards" / f"part-1{ending}"):
        found = load(source, reading=reading, scratch=Scratch())
        expected = load(source, reading=reading)
        assert is_kept(found.features)
        assert_same(found, expected)
        if policy == "drop":  # of later files each row wants its answer
            continue
        later, alike = (
            load(
                source,
                scratch=place,
                need_target=False,
                fitted=expected.reading,
                feature_names=expected.feature_names,
            )
            for place in (Scratch(), None)
        )
        assert_same(later, alike)
    table = load(tmp_path / "shards", as_table=True, reading=reading, scratch=Scratch()).table
    plain = load(tmp_path / "shards", as_table=True, reading=reading).table
    assert table is not None
    assert plain is not None
    for name in plain.names:
        np.testing.assert_array_equal(table.read(name), plain.read(name))
        np.testing.assert_array_equal(table.texts(name), plain.texts(name))
    assert not list(folder.iterdir())


@pytest.mark.parametrize("kind", ["list", "fixed"])
def test_lists_with_gaps_are_the_same_there(kind: str, tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    def written(rows: list[Any]) -> Path:
        of_kind = arrow.list_(arrow.float32(), 2 if kind == "fixed" else -1)
        columns = {"e": arrow.array(rows, of_kind), "y": arrow.array(np.arange(len(rows)) % 2)}
        path = tmp_path / "a.parquet"
        parquet.write_table(arrow.table(columns), path, row_group_size=3)
        return path

    rows: list[Any] = [[each, -each] for each in range(20)]
    rows[3] = rows[11] = None
    path, drop = written(rows), Reading(na="drop")
    found, expected = (load(path, reading=drop, scratch=place) for place in (Scratch(), None))
    assert_same(found, expected)
    kept = [row for row in rows if row is not None]
    np.testing.assert_array_equal(found.features.to_array(), kept)
    assert said_alike(path) == f"{path}: row 3, column 'e': missing value"
    rows[15] = [1, None]
    for place in (None, Scratch()):
        with pytest.raises(InputError, match="row 15, column 'e': missing value in the list"):
            load(written(rows), reading=drop, scratch=place)
    if kind == "list":
        rows[3], rows[11], rows[13] = [0, 0], [0, 0], [1, 2, 3]
        expected_numbers = "row 13, column 'e': expected 2 numbers as in row 0, found 3"
        assert said_alike(written(rows)) == f"{path}: {expected_numbers}"
    assert said_alike(written([])).startswith(f"{path}: expected at least one row")


def test_one_embedding_is_there_once(tmp_path: Path, folder: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    (tmp_path / "shards").mkdir()
    for place, rows in enumerate(THIRDS):
        values = arrow.array(FEATURES[rows].reshape(-1), arrow.float32())
        embedding = arrow.FixedSizeListArray.from_arrays(values, 5)
        table = arrow.table({"embedding": embedding, "label": arrow.array(LABELS[rows])})
        parquet.write_table(table, tmp_path / "shards" / f"{place}.parquet", row_group_size=7)
    found = load(tmp_path / "shards", scratch=Scratch())
    assert is_kept(found.features)
    assert_same(found, load(tmp_path / "shards"))
    assert found.features.stored().dtype == np.float32
    assert not list(folder.iterdir())


def test_what_is_wrong_is_the_same_error_there(tmp_path: Path, folder: Path) -> None:
    write_shards(tmp_path / "packed", packed, ".npz")
    content = (tmp_path / "packed" / "part-1.npz").read_bytes()
    middle = len(content) // 3
    (tmp_path / "packed" / "part-1.npz").write_bytes(
        content[:middle] + b"\0\1\2" + content[middle + 3 :]
    )
    write_shards(tmp_path / "lines", svmlight, ".svmlight")
    with (tmp_path / "lines" / "part-2.svmlight").open("a") as stream:
        stream.write("\n1 2:x")
    for name in ("packed", "lines"):
        assert "part-" in said_alike(tmp_path / name)
    assert not list(folder.iterdir())


def said_alike(source: Path) -> str:
    """Return what is said of data that are wrong, whether they stay in memory or not."""
    said = []
    for place in (None, Scratch()):
        with pytest.raises(InputError) as raised:
            load(source, scratch=place)
        said.append(str(raised.value))
    assert said[0] == said[1]
    return said[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1,2,red", "part-1.csv: line 47: too few fields, expected 6, found 3"),
        ("1,x,red,1,True,c1", "part-1.csv: line 47, column 'b': text in a numeric column: 'x'"),
        ("1,,red,1,True,c1", "part-1.csv: line 47, column 'b': missing value"),
        ("1,2,red,1,True,", "part-1.csv: line 47, column 'label': missing target value"),
        ('1,2,"red,1,True,c1', "part-1.csv: line 47: unexpected end of data"),
        ('1,2,"a\nb",inf,True,c1', "part-1.csv: line 47, column 'gaps': expected a finite number"),
    ],
)
def test_a_broken_line_is_the_same_error_there(
    line: str, said: str, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "CELLS_AT_A_TIME", 60)
    write_shards(tmp_path / "shards", commas, ".csv")
    for path in (tmp_path / "shards").iterdir():
        path.write_text(re.sub(r",,", ",0,", path.read_text("utf-8")), "utf-8")
    with (tmp_path / "shards" / "part-1.csv").open("a") as stream:
        stream.write("\n" + line)
    assert said_alike(tmp_path / "shards").startswith(f"{tmp_path / 'shards' / said}")
    assert not list(folder.iterdir())


def test_cells_keep_their_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "CELLS_AT_A_TIME", 6)
    lines = ["a,b,", '"x, ""y""",1,', '"two\nlines",2,', "\U0001f600 \u00e9,3,", " z ,4,"]
    (tmp_path / "a.csv").write_text("\n".join(lines), encoding="utf-8")
    for place in (None, Scratch()):
        table = load(tmp_path / "a.csv", as_table=True, scratch=place).table
        assert table is not None
        assert table.names == ("a", "b")
        assert table.texts("a").tolist() == ['x, "y"', "two\nlines", "\U0001f600 \u00e9", "z"]
        assert table.read("b").tolist() == [1, 2, 3, 4]
        assert table.place(2) == f"{tmp_path / 'a.csv'}: line 5"
        assert table.notes == ("column 3 has no name and is empty: not used",)


def test_one_file_at_most_is_in_memory(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    for number in range(6):
        X = np.zeros((20_000, 32), np.float32)  # 2.56 MB
        X[:, 0] = np.arange(len(X)) % 7
        np.savez_compressed(tmp_path / "shards" / f"{number}.npz", X=X, y=np.arange(len(X)) % 2)
    kept, peaks = Scratch(), []
    for place in (None, kept):
        tracemalloc.start()
        found = load(tmp_path / "shards", scratch=place)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    everything = found.features.nbytes
    assert peaks[0] > everything
    # The labels are held; of features a piece that is unpacked.
    assert peaks[1] < everything / 3


@pytest.mark.parametrize(("write", "ending"), [SHARDS[0], SHARDS[1], SHARDS[3]])
def test_a_fit_of_it_is_the_same(
    write: Callable[[Path, slice], None], ending: str, tmp_path: Path
) -> None:
    write_shards(tmp_path / "shards", write, ending)
    for source in (tmp_path / "shards", tmp_path / "shards" / f"part-1{ending}"):
        models = []
        for place in (None, Scratch()):
            dataset = load(source, scratch=place)
            assert dataset.target is not None
            model = SoftmaxRegression(C=0.1, tol=1e-9).fit(dataset.features, dataset.target)
            models.append(model)
        np.testing.assert_array_equal(models[0].coef_, models[1].coef_)
        np.testing.assert_array_equal(models[0].intercept_, models[1].intercept_)
