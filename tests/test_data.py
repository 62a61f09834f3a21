"""Files become arrays, or one line that says what is wrong and where."""

from __future__ import annotations

import bz2
import errno
import gzip
import json
import lzma
import os
import pickle
import random
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet
from safetensors.numpy import save_file
from scipy import sparse
from sklearn import datasets
from sklearn.datasets import dump_svmlight_file

from bridle import files
from bridle.checks import InputError, MissingExtraError
from bridle.data import Dataset, load
from problems import random_csr

Array = npt.NDArray[Any]

MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist10k"
FEATURES = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
LABELS = np.array([0, 1, 2, 0, 1, 2, 0])
NAMES = np.array(["a", "b", "c", "a", "b", "c", "a"])
IMAGES = np.arange(7 * 2 * 3, dtype=np.uint8).reshape(7, 2, 3)


def idx_bytes(array: Array) -> bytes:
    kinds = {"|u1": 8, "|i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}
    head = bytes([0, 0, kinds[array.dtype.str], array.ndim])
    return head + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def written(path: Path, content: str | bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return str(path)


def save_image(path: Path, pixels: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def dense(dataset: Dataset) -> Array:
    content = dataset.features.to_array()
    return np.asarray(content.toarray() if sparse.issparse(content) else content)


def stored(dataset: Dataset) -> list[Any]:
    """Return the arrays as they were handed to Rows: there is no public way to see them."""
    return list(dataset.features._parts)


def refusal(source: str | Path, **arguments: Any) -> str:
    with pytest.raises(InputError) as caught:
        load(str(source), **arguments)
    message = str(caught.value)
    assert message.isprintable(), "one line, nothing that a terminal would obey"
    return message


# --- each format, there and back -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "first"),
    [
        ("digits", (1797, 64), 0),
        ("iris", (150, 4), "setosa"),
        ("wine", (178, 13), "class_0"),
        ("breast-cancer", (569, 30), "malignant"),
    ],
)
def test_embedded_sets(name: str, shape: tuple[int, int], first: object) -> None:
    dataset = load(name)
    assert dataset.features.shape == shape
    assert dataset.target is not None
    assert dataset.target[0] == first
    assert dataset.feature_names is not None
    assert len(dataset.feature_names) == shape[1]
    assert load(name, feature_names=dataset.feature_names).source == name


def test_embedded_content_is_sklearns() -> None:
    iris = datasets.load_iris()
    dataset = load("iris")
    np.testing.assert_array_equal(dense(dataset), iris.data)
    np.testing.assert_array_equal(dataset.target, iris.target_names[iris.target])


def test_a_file_of_an_embedded_name_needs_a_dot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "X.npy", FEATURES)
    (tmp_path / "digits").mkdir()
    (tmp_path / "X.npy").rename(tmp_path / "digits" / "X.npy")
    assert load("digits").features.shape == (1797, 64)
    assert load("./digits", need_target=False).features.shape == (7, 3)


@pytest.mark.parametrize("ending", ["csv", "tsv", "csv.gz", "tsv.gz"])
def test_delimited(tmp_path: Path, ending: str) -> None:
    comma = "\t" if ending.startswith("tsv") else ","
    lines = [
        "ID,width,color,on,Class",
        "007,1.5,red,True,x",
        "8,-2,blue,False,y",
        "9,3e2,red,True,x",
    ]
    source = written(tmp_path / f"a.{ending}", "\n".join(lines).replace(",", comma) + "\n")
    dataset = load(source)
    np.testing.assert_array_equal(dense(dataset), [[1.5, 0, 1, 1], [-2, 1, 0, 0], [300, 0, 1, 1]])
    assert dataset.feature_names == ("width", "color=blue", "color=red", "on")
    assert dataset.ids == ("007", "8", "9")
    assert dataset.target is not None
    assert dataset.target.tolist() == ["x", "y", "x"]
    assert dataset.source == source
    assert dataset.notes == (
        "target: column 'Class'",
        "rows are named by column 'ID'",
        "text column 'color' became 2 one-hot columns",
    )


@given(
    st.lists(
        st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.integers(-9, 9)),
        min_size=1,
        max_size=9,
    )
)
@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50
)
def test_numbers_of_a_table_survive(tmp_path: Path, rows: list[tuple[float, int]]) -> None:
    text = "a,y\n" + "".join(f"{value!r},{label}\n" for value, label in rows)
    dataset = load(written(tmp_path / "a.csv", text))
    np.testing.assert_allclose(dense(dataset)[:, 0], [value for value, _ in rows], rtol=1e-15)
    np.testing.assert_array_equal(dataset.target, [label for _, label in rows])


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffa,b,y\n1,2,x\n3,4,z\n",
        "a,b,y\r\n1,2,x\r\n3,4,z\r\n",
        "a,b,y\r1,2,x\r3,4,z",
        "\n  \na, b ,y\n\n1, 2, x\n   \n3,4,z\n\n\n",
        '"a","b","y"\n"1","2","x"\n"3","4","z"\n',
        ",a,b,y\n0,1,2,x\n1,3,4,z\n",
    ],
)
def test_dialects_of_csv(tmp_path: Path, text: str) -> None:
    dataset = load(written(tmp_path / "a.csv", text))
    np.testing.assert_array_equal(dense(dataset), [[1, 2], [3, 4]])
    assert dataset.feature_names == ("a", "b")
    assert dataset.target is not None
    assert dataset.target.tolist() == ["x", "z"]


def test_integers_too_large_for_64_bits(tmp_path: Path) -> None:
    dataset = load(written(tmp_path / "a.csv", f"a,b,y\n{10**30},{2**64 - 1},0\n2,-1,1\n"))
    np.testing.assert_array_equal(dense(dataset), [[1e30, 2.0**64], [2, -1]])


def test_none_is_a_class(tmp_path: Path) -> None:
    dataset = load(written(tmp_path / "a.csv", "a,y\n1,None\n2,some\n3,None\n"))
    assert dataset.target is not None
    assert dataset.target.tolist() == ["None", "some", "None"]


def test_parquet(tmp_path: Path) -> None:
    columns = {
        "vector": pa.array(FEATURES.tolist(), pa.list_(pa.float32())),
        "fixed": pa.array(FEATURES.tolist(), pa.list_(pa.float32(), 3)),
        "kind": pa.array(NAMES.tolist()).dictionary_encode(),
        "count": pa.array(range(7), pa.uint8()),
        "half": pa.array(np.arange(7, dtype=np.float16)),
        "exact": pa.array(range(7), pa.decimal128(5, 2)),
        "id": range(7),
        "label": LABELS,
    }
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    dataset = load(str(tmp_path / "a.parquet"))
    content = dense(dataset)
    np.testing.assert_array_equal(content[:, :6], np.hstack([FEATURES, FEATURES]))
    np.testing.assert_array_equal(content[:, 6:9], NAMES[:, None] == ["a", "b", "c"])
    np.testing.assert_array_equal(content[:, 9:], np.arange(7)[:, None] * np.ones(3))
    assert dataset.feature_names is not None
    assert dataset.feature_names[:4] == ("vector[0]", "vector[1]", "vector[2]", "fixed[0]")
    assert dataset.ids == tuple("0123456")
    np.testing.assert_array_equal(dataset.target, LABELS)


def test_a_saved_pandas_index_is_no_feature(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2, 3], "y": [0, 1, 0]}, index=[5, 9, 7])
    frame.to_parquet(tmp_path / "a.parquet")
    dataset = load(str(tmp_path / "a.parquet"))
    assert dataset.feature_names == ("a",)
    assert "column '__index_level_0__' is a saved index: not used" in dataset.notes
    frame.to_csv(tmp_path / "a.csv")
    dataset = load(str(tmp_path / "a.csv"))
    assert dataset.feature_names == ("a",)
    assert "the first column has no name: not used" in dataset.notes


@pytest.mark.parametrize("names", [("X", "y"), ("features", "labels"), ("Embeddings", "TARGET")])
@pytest.mark.parametrize("ending", ["npz", "packed.npz", "safetensors"])
def test_archives(tmp_path: Path, names: tuple[str, str], ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    arrays: dict[str, Any] = {names[0]: FEATURES, names[1]: LABELS, "other": LABELS}
    if ending == "npz":
        np.savez(path, **arrays)
    elif ending == "packed.npz":
        np.savez_compressed(path, **arrays)
    else:
        save_file(arrays, path)
    dataset = load(str(path))
    np.testing.assert_array_equal(dense(dataset), FEATURES)
    np.testing.assert_array_equal(dataset.target, LABELS)
    assert dataset.notes == ("not used: arrays 'other'",)
    assert isinstance(stored(dataset)[0], np.memmap) == (ending != "packed.npz")


def test_the_target_of_an_archive_can_be_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=FEATURES, coarse=LABELS > 0, fine=NAMES)
    coarse = load(str(tmp_path / "a.npz"), target="coarse").target
    assert coarse is not None
    assert coarse.dtype == np.bool_
    fine = load(str(tmp_path / "a.npz"), target="fine").target
    assert fine is not None
    assert fine.tolist() == NAMES.tolist()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "u1", "i8", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_is_mapped(tmp_path: Path, dtype: str, order: Any) -> None:
    array = np.asarray(FEATURES * 9, order=order).astype(np.dtype(dtype))
    np.save(tmp_path / "x.npy", array)
    np.save(tmp_path / "l.npy", LABELS)
    dataset = load(str(tmp_path / "x.npy"), labels=str(tmp_path / "l.npy"))
    assert isinstance(stored(dataset)[0], np.memmap)
    assert stored(dataset)[0].dtype == array.dtype
    np.testing.assert_array_equal(dense(dataset), array)
    np.testing.assert_array_equal(dataset.target, LABELS)
    assert dataset.notes == (f"target: labels of {tmp_path / 'l.npy'}",)


def test_images_in_an_array_are_laid_flat_without_a_copy(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGES)
    dataset = load(str(tmp_path / "x.npy"), need_target=False)
    assert isinstance(stored(dataset)[0], np.memmap)
    assert dataset.features.shape == (7, 6)
    assert dataset.notes == ("images of 2 by 3 became 6 columns",)
    assert dataset.target is None


def test_bfloat16_is_widened(tmp_path: Path) -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    save_file({"X": FEATURES.astype(bfloat16), "y": LABELS}, tmp_path / "a.safetensors")
    expected = FEATURES.astype(bfloat16).astype(np.float32)
    np.testing.assert_array_equal(dense(load(str(tmp_path / "a.safetensors"))), expected)


@pytest.mark.parametrize("ending", ["svmlight", "libsvm", "svm"])
@pytest.mark.parametrize("zero_based", [True, False])
def test_svmlight(tmp_path: Path, ending: str, zero_based: bool) -> None:
    path = str(tmp_path / f"a.{ending}")
    dump_svmlight_file(FEATURES, LABELS, path, zero_based=zero_based)
    dataset = load(path)
    assert dataset.features.is_sparse
    np.testing.assert_allclose(dense(dataset), FEATURES, rtol=1e-7)
    assert dataset.target is not None
    assert dataset.target.dtype == np.int64
    np.testing.assert_array_equal(dataset.target, LABELS)
    (note,) = dataset.notes
    assert note.startswith(f"columns are counted from {int(not zero_based)} in the file")


@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "bsr", "dia"])
def test_sparse_npz(tmp_path: Path, layout: str) -> None:
    matrix = random_csr((7, 5), 0.3, np.random.default_rng(0))
    sparse.save_npz(tmp_path / "a.npz", matrix.asformat(layout))
    labels = written(tmp_path / "l.txt", "\n".join(NAMES))
    dataset = load(str(tmp_path / "a.npz"), labels=labels)
    assert dataset.features.is_sparse
    np.testing.assert_array_equal(dense(dataset), matrix.toarray())
    np.testing.assert_array_equal(dataset.target, NAMES)


@pytest.mark.parametrize("dtype", ["u1", "i1", ">i2", ">i4", ">f4", ">f8"])
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_idx(tmp_path: Path, dtype: str, packed: str) -> None:
    images = IMAGES.astype(dtype)
    path = written(tmp_path / f"train-images-idx3-ubyte{packed}", idx_bytes(images))
    labels = written(tmp_path / f"train-labels-idx1-ubyte{packed}", idx_bytes(LABELS.astype(">i4")))
    dataset = load(path)
    assert stored(dataset)[0].dtype == images.dtype
    np.testing.assert_array_equal(dense(dataset), IMAGES.reshape(7, 6))
    np.testing.assert_array_equal(dataset.target, LABELS)
    assert dataset.target is not None
    assert dataset.target.dtype.isnative
    assert isinstance(stored(dataset)[0], np.memmap) == (not packed)
    assert dataset.notes == ("images of 2 by 3 became 6 columns", f"target: labels of {labels}")


def test_idx_labels_are_found_packed_or_not(tmp_path: Path) -> None:
    path = written(tmp_path / "t10k-images.idx3-ubyte", idx_bytes(IMAGES))
    assert "no labels found (t10k-labels.idx1-ubyte)" in refusal(path)
    assert load(path, need_target=False).target is None
    written(tmp_path / "t10k-labels.idx1-ubyte.gz", idx_bytes(LABELS.astype("u1")))
    np.testing.assert_array_equal(load(path).target, LABELS)


def test_idx_folder(tmp_path: Path) -> None:
    written(tmp_path / "t10k-images-idx3-ubyte.gz", idx_bytes(IMAGES))
    written(tmp_path / "t10k-labels-idx1-ubyte.gz", idx_bytes(LABELS.astype("u1")))
    assert load(str(tmp_path)).features.shape == (7, 6)
    written(tmp_path / "train-images-idx3-ubyte.gz", idx_bytes(IMAGES[:4]))
    written(tmp_path / "train-labels-idx1-ubyte.gz", idx_bytes(LABELS[:4].astype("u1")))
    dataset = load(str(tmp_path))
    assert dataset.features.shape == (4, 6)
    assert dataset.notes[0] == (
        f"train-images-idx3-ubyte.gz taken; {tmp_path / 't10k-images-idx3-ubyte.gz'} "
        "can be given to --test"
    )
    written(tmp_path / "train-images-idx3-ubyte", idx_bytes(IMAGES[:4]))
    assert isinstance(stored(load(str(tmp_path)))[0], np.memmap), "the unpacked twin is taken"
    written(tmp_path / "more-images-idx3-ubyte", idx_bytes(IMAGES))
    assert "expected one idx file of images" in refusal(tmp_path)


@pytest.mark.skipif(not MNIST.exists(), reason="the MNIST sample is not beside the repository")
def test_mnist() -> None:
    dataset = load(str(MNIST))
    assert dataset.features.shape == (10_000, 784)
    assert dataset.target is not None
    assert sorted(set(dataset.target.tolist())) == list(range(10))
    assert stored(dataset)[0].dtype == np.uint8


@pytest.mark.parametrize("ending", ["png", "bmp", "gif", "webp", "jpg"])
def test_images_by_class(tmp_path: Path, ending: str) -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    save_image(tmp_path / "dog" / f"1.{ending}", grey)
    save_image(tmp_path / "cat" / f"2.{ending}", grey + 100)
    written(tmp_path / "cat" / "notes.txt", "not an image")
    written(tmp_path / "cat" / f".hidden.{ending}", "not an image")
    (tmp_path / "mouse").mkdir()
    dataset = load(str(tmp_path))
    assert dataset.target is not None
    assert dataset.target.tolist() == ["cat", "dog"]
    assert dataset.ids == (f"cat/2.{ending}", f"dog/1.{ending}")
    assert "folders without images: 'mouse'" in dataset.notes
    if ending in ("png", "bmp"):
        np.testing.assert_array_equal(dense(dataset), [grey.ravel() + 100, grey.ravel()])


def test_one_image_in_colour_makes_all_so(tmp_path: Path) -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    save_image(tmp_path / "a" / "1.png", grey)
    save_image(tmp_path / "b" / "1.png", np.dstack([grey, grey + 1, grey + 2, grey + 3]))
    dataset = load(str(tmp_path))
    assert dataset.features.shape == (2, 36)
    np.testing.assert_array_equal(dense(dataset)[0], np.dstack([grey] * 3).ravel())
    assert "transparency is not used" in dataset.notes
    assert "images of 3 by 4 by 3 became 36 columns" in dataset.notes


# --- shards --------------------------------------------------------------------------------------


def test_npy_shards(tmp_path: Path) -> None:
    for shard in range(3):
        np.save(tmp_path / f"X_{shard:03}.npy", FEATURES + shard)
    written(tmp_path / "README.md", "passed over")
    labels = written(tmp_path.with_suffix(".txt"), "\n".join(map(str, [*LABELS] * 3)))
    dataset = load(str(tmp_path), labels=labels)
    assert all(isinstance(part, np.memmap) for part in stored(dataset))
    expected = np.vstack([FEATURES, FEATURES + 1, FEATURES + 2])
    np.testing.assert_array_equal(dense(dataset), expected)
    for shard in range(3):
        np.save(tmp_path / f"y_{shard:03}.npy", LABELS + 3 * shard)
    dataset = load(str(tmp_path))
    np.testing.assert_array_equal(dense(dataset), expected)
    np.testing.assert_array_equal(dataset.target, np.hstack([LABELS, LABELS + 3, LABELS + 6]))
    assert dataset.notes == (f"3 shards, {tmp_path / 'X_000.npy'} first",)


@pytest.mark.parametrize(("features", "labels"), [("embeddings", "labels"), ("features", "target")])
def test_names_of_npy_shards(tmp_path: Path, features: str, labels: str) -> None:
    for shard in ("a", "b"):
        np.save(tmp_path / f"{features}_{shard}.npy", FEATURES)
        np.save(tmp_path / f"{labels}_{shard}.npy", LABELS)
    assert load(str(tmp_path)).features.shape == (14, 3)


def test_shards_of_other_formats(tmp_path: Path) -> None:
    def write(kind: str, name: str) -> None:
        path = tmp_path / kind / f"{name}.{kind}"
        path.parent.mkdir(exist_ok=True)
        if kind == "npz":
            np.savez(path, X=FEATURES, y=LABELS)
        elif kind == "safetensors":
            save_file({"X": FEATURES, "y": LABELS}, path)
        elif kind == "svmlight":
            dump_svmlight_file(FEATURES, LABELS, str(path), zero_based=False)
        else:
            frame = pd.DataFrame(FEATURES, columns=["a", "b", "c"]).assign(y=LABELS)
            (frame.to_parquet if kind == "parquet" else frame.to_csv)(path, index=False)

    for kind in ("npz", "safetensors", "svmlight", "parquet", "csv"):
        write(kind, "0")
        write(kind, "1")
        dataset = load(str(tmp_path / kind))
        np.testing.assert_allclose(dense(dataset), np.vstack([FEATURES] * 2), rtol=1e-6)
        np.testing.assert_array_equal(dataset.target, np.hstack([LABELS] * 2))


def test_text_columns_of_shards_share_their_one_hot_columns(tmp_path: Path) -> None:
    for name, kinds in (("0", ["x", "z"]), ("1", ["w", "x"])):
        table = pa.table({"kind": kinds, "y": [0, 1]})
        parquet.write_table(table, tmp_path / f"{name}.parquet")
    dataset = load(str(tmp_path))
    assert dataset.feature_names == ("kind=w", "kind=x", "kind=z")
    np.testing.assert_array_equal(dense(dataset), [[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]])


def test_svmlight_shards_may_be_narrower(tmp_path: Path) -> None:
    written(tmp_path / "a.svm", "1 1:2 3:4\n")
    written(tmp_path / "b.svm", "0 1:5\n")
    np.testing.assert_array_equal(dense(load(str(tmp_path))), [[2, 0, 4], [5, 0, 0]])
    padded = load(str(tmp_path), feature_names=list("abcd"))
    assert padded.features.shape == (2, 4)
    assert "expected 2 columns, as the model has, found 3" in refusal(
        tmp_path, feature_names=["a", "b"]
    )


def test_shards_that_do_not_fit(tmp_path: Path) -> None:
    np.save(tmp_path / "X_0.npy", FEATURES)
    np.save(tmp_path / "X_1.npy", FEATURES[:, :2])
    wide = refusal(tmp_path, need_target=False)
    assert (
        wide
        == f"{tmp_path / 'X_1.npy'}: expected 3 columns, as {tmp_path / 'X_0.npy'} has, found 2"
    )
    np.save(tmp_path / "y_0.npy", LABELS)
    assert f"{tmp_path / 'X_1.npy'}: no shard of labels" in refusal(tmp_path)
    np.save(tmp_path / "X_1.npy", FEATURES)
    np.save(tmp_path / "y_1.npy", NAMES)
    assert f"{tmp_path / 'X_1.npy'}: labels are <U1" in refusal(tmp_path)
    np.save(tmp_path / "y_1.npy", LABELS[:5])
    assert "7 rows of features, but labels for 5" in refusal(tmp_path)
    (tmp_path / "X_1.npy").unlink()
    assert f"{tmp_path / 'y_1.npy'}: no shard of features" in refusal(tmp_path)
    written(tmp_path / "a.svm", "1 1:1\n")
    assert "expected files of one kind" in refusal(tmp_path)


def test_table_shards_that_do_not_fit(tmp_path: Path) -> None:
    written(tmp_path / "a.csv", "a,y\n1,0\n2,1\n")
    second = written(tmp_path / "b.csv", "a,y\n1,0\nq,1\n")
    assert refusal(tmp_path) == (
        f"{second}: line 3, column 'a': text in a numeric column: 'q' (--categorical a if the "
        "numbers are categories as well)"
    )
    written(tmp_path / "b.csv", "b,y\n1,0\n2,1\n")
    assert "its columns differ from" in refusal(tmp_path)


# --- target --------------------------------------------------------------------------------------


def test_default_target_is_the_last_column_if_it_looks_like_classes(tmp_path: Path) -> None:
    source = written(tmp_path / "a.csv", "a,species\n" + "1,x\n2,z\n" * 3)
    dataset = load(source)
    assert dataset.notes == ("target: column 'species' (the last one)",)
    assert load(source, need_target=False).target is None
    named = load(source, target="a")
    assert named.target is not None
    assert named.target.tolist() == [1, 2] * 3
    assert named.feature_names == ("species=x", "species=z")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1,0.5\n2,1.5\n", "'b', holds fractional numbers; name the target with --target"),
        ("a,b\n1,p\n2,q\n3,r\n", "'b', has 3 different values in 3 rows; name the target"),
        ("label,b,y\n1,1,1\n", "which column is the target? name it with --target: 'label', 'y'"),
        ("y\n1\n0\n", "no column is left for the features"),
    ],
)
def test_no_default_target(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in refusal(written(tmp_path / "a.csv", text))


def test_an_unknown_target_column_comes_with_a_suggestion(tmp_path: Path) -> None:
    source = written(tmp_path / "a.csv", "width,species\n1,x\n2,z\n")
    assert refusal(source, target="specie") == (
        f"target: {source} has no column 'specie', found 'width', 'species'; "
        "did you mean 'species'?"
    )
    many = written(
        tmp_path / "b.csv", ",".join(f"c{place}" for place in range(50)) + "\n" + "1," * 49 + "1\n"
    )
    assert "'c9', … (50 in all)" in refusal(many, target="zzz")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.array([0.0, 1.0, 0.0, 2.0]), [0, 1, 0, 2]),
        (np.array([[1], [2], [3], [1]], np.int16), [1, 2, 3, 1]),
        (np.array([True, False, True, True]), [True, False, True, True]),
        (np.array(["a", "b", "a", "é"]), ["a", "b", "a", "é"]),
        (np.array([b"a", b"b", b"a", b"c"]), ["a", "b", "a", "c"]),
        (np.array([0.5, 1.5, 0.5, 1.5]), [0.5, 1.5, 0.5, 1.5]),
        (np.full((4, 2), 0.5, np.float32), [[0.5, 0.5]] * 4),
        (np.array([1, 2, 3, 4], ">i8"), [1, 2, 3, 4]),
    ],
)
def test_labels_of_any_scalar_type(tmp_path: Path, labels: Array, expected: list[Any]) -> None:
    np.savez(tmp_path / "a.npz", X=FEATURES[:4], y=labels)
    target = load(str(tmp_path / "a.npz")).target
    assert target is not None
    assert target.tolist() == expected
    assert type(target.tolist()[0]) is type(expected[0])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.array([0.0, np.nan, 1, 1]), "row 1 of the labels: missing target value"),
        (np.array([0.0, 1, np.inf, 1]), "row 2 of the labels: infinite target value"),
        (
            np.array([0.1, 0.2, 0.3, 0.4]),
            "4 different fractional numbers in 4 rows look like a regr",
        ),
        (np.array(["a", "b", "", "a"]), "row 2 of the labels: missing target value"),
        (
            np.array(["a", "b" * 300, "a", "a"]),
            "row 1 of the labels: expected a label of at most 256",
        ),
        (np.full((4, 2), 0.6), "target: row 0 sums to 1.2, expected 1"),
        (np.zeros((4, 2, 2)), "target: expected shape (N,) or (N, C), found (4, 2, 2)"),
        (np.zeros(4, complex), "target: expected labels or probabilities, found complex128"),
        (np.zeros(3, int), "4 rows of features, but labels for 3"),
        (np.array(3), "4 rows of features, but labels for a single number"),
    ],
)
def test_labels_that_are_none(tmp_path: Path, labels: Array, expected: str) -> None:
    np.savez(tmp_path / "a.npz", X=FEATURES[:4], y=labels)
    message = refusal(tmp_path / "a.npz")
    assert message.startswith(str(tmp_path / "a.npz"))
    assert expected in message


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("l.txt", "0\n1\n0\n1\n\n\n", [0, 1, 0, 1]),
        ("l.txt.gz", "0\r\n1\r\n0\r\n1", [0, 1, 0, 1]),
        ("l.csv", 'label\n"a,b"\nc\nc\nc\n', ["a,b", "c", "c", "c"]),
        ("l.tsv", "a\nb\nc\nd", ["a", "b", "c", "d"]),
        ("l.txt", "0.0\n1.0\n1\n1e0\n", ["0.0", "1.0", "1", "1e0"]),
        ("l-idx1-ubyte", idx_bytes(LABELS[:4].astype("u1")), [0, 1, 2, 0]),
    ],
)
def test_files_of_labels(
    tmp_path: Path, name: str, content: str | bytes, expected: list[Any]
) -> None:
    np.save(tmp_path / "x.npy", FEATURES[:4])
    target = load(str(tmp_path / "x.npy"), labels=written(tmp_path / name, content)).target
    assert target is not None
    assert target.tolist() == expected


def test_archives_of_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", FEATURES)
    np.savez(tmp_path / "l.npz", y=NAMES, other=FEATURES)
    save_file({"anything": LABELS}, tmp_path / "l.safetensors")
    for name, expected in (("l.npz", NAMES), ("l.safetensors", LABELS)):
        target = load(str(tmp_path / "x.npy"), labels=str(tmp_path / name)).target
        np.testing.assert_array_equal(target, expected)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("l.txt", "0\n1\n2\n", "3 labels, but "),
        ("l.txt", "0\n\n0\n1\n", "line 2: missing target value"),
        ("l.txt", "a\nb\nNA\nb\n", "line 3: missing target value ('NA')"),
        ("l.csv", "0,1\n1,2\n0,2\n1,2\n", "line 1: expected one label a line, found 2 fields"),
        ("l.txt", b"0\n1\n\xff\n1\n", "line 3: not UTF-8 text"),
        ("l.txt", "", "0 labels, but "),
        ("l.csv", '"a\nb', "cannot be read as text: unexpected end of data"),
        ("l.bin", "0\n", "labels: expected one of .npy"),
        ("l.npy", "noise", "not an .npy array"),
    ],
)
def test_broken_files_of_labels(
    tmp_path: Path, name: str, content: str | bytes, expected: str
) -> None:
    np.save(tmp_path / "x.npy", FEATURES[:4])
    labels = written(tmp_path / name, content)
    message = refusal(tmp_path / "x.npy", labels=labels)
    assert message.startswith(labels)
    assert expected in message


def test_arguments_that_do_not_fit_the_format(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", FEATURES)
    labels = written(tmp_path / "l.txt", "0\n" * 7)
    table = written(tmp_path / "a.csv", "a,y\n1,0\n")
    assert "is an .npy array and has no column 'q'" in refusal(tmp_path / "x.npy", target="q")
    assert load(str(tmp_path / "x.npy"), target="q", need_target=False).target is None
    assert "is a table and holds its own labels" in refusal(table, labels=labels)
    assert "no such file (labels)" in refusal(tmp_path / "x.npy", labels=str(tmp_path / "none.txt"))
    assert "no labels found: give them with --labels FILE" in refusal(tmp_path / "x.npy")


# --- prediction with the columns of a model ------------------------------------------------------


def test_a_table_is_encoded_to_the_columns_of_the_model(tmp_path: Path) -> None:
    names = ["zip=0123", "size", "color=a=b", "color=red", "zip=9"]
    text = "color,extra,zip,size\nred,?,0123,1\na=b,?,9,2\n"
    dataset = load(written(tmp_path / "a.csv", text), feature_names=names, need_target=False)
    np.testing.assert_array_equal(dense(dataset), [[1, 1, 0, 1, 0], [0, 2, 1, 0, 1]])
    assert dataset.feature_names == tuple(names)
    assert dataset.target is None


def test_the_target_is_loaded_where_it_is_no_feature(tmp_path: Path) -> None:
    source = written(tmp_path / "a.csv", "label,y\n1,0\n2,1\n3,0\n")
    dataset = load(source, feature_names=["label"], need_target=False)
    assert dataset.target is not None
    assert dataset.target.tolist() == [0, 1, 0]
    assert load(source, feature_names=["y"], target="gone", need_target=False).target is None


def test_a_target_with_gaps_does_not_hinder_a_prediction(tmp_path: Path) -> None:
    source = written(tmp_path / "a.csv", "a,y\n1,0\n2,\n3,0\n")
    assert "line 3, column 'y': missing target value" in refusal(source)
    dataset = load(source, feature_names=["a"], need_target=False)
    assert dataset.target is None
    assert dataset.notes[-1].startswith("the target is not used: ")
    table = pa.table({"a": [1, 2], "y": [0, None]})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert load(str(tmp_path / "a.parquet"), need_target=False).target is None


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["size", "weight"], "column 'weight' is missing"),
        (["sise"], "column 'sise' is missing, the model needs it; did you mean 'size'?"),
        (["colour=red"], "column 'colour' is missing, the model needs it; did you mean 'color'?"),
        (["color=red"], "line 3, column 'color': 'blue' is not among the values of the fit, 'red'"),
        (["color"], "line 2, column 'color': text in a numeric column: 'red'"),
        (["size[0]"], "column 'size': expected 1 numbers a row, found numbers"),
        (["size", "size=1"], "column 'size' is needed both as it is and in parts"),
        (["size", "size"], "feature_names: two columns are called 'size'"),
    ],
)
def test_a_table_without_the_columns_of_the_model(
    tmp_path: Path, names: list[str], expected: str
) -> None:
    source = written(tmp_path / "a.csv", "color,size\nred,1\nblue,2\n")
    assert expected in refusal(source, feature_names=names, need_target=False)


def test_what_a_fit_names_a_prediction_finds(tmp_path: Path) -> None:
    columns = {"e": FEATURES.tolist(), "kind": NAMES, "n": range(7), "b": LABELS > 0, "y": LABELS}
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    fitted = load(str(tmp_path / "a.parquet"))
    again = load(str(tmp_path / "a.parquet"), feature_names=fitted.feature_names)
    np.testing.assert_array_equal(dense(fitted), dense(again))
    backwards = (fitted.feature_names or ())[::-1]
    turned = load(str(tmp_path / "a.parquet"), feature_names=backwards)
    np.testing.assert_array_equal(dense(fitted)[:, ::-1], dense(turned))


def test_an_embedding_of_another_width_is_not_cut(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"e": FEATURES.tolist()}), tmp_path / "a.parquet")
    source = str(tmp_path / "a.parquet")
    message = refusal(source, feature_names=["e[0]", "e[1]"], need_target=False)
    assert message.endswith("column 'e': expected 2 numbers a row, found 3 numbers a row")
    chosen = load(source, feature_names=["e[2]", "e[0]"], need_target=False)
    np.testing.assert_allclose(dense(chosen), FEATURES[:, [2, 0]])


def test_arrays_take_the_names_of_the_model(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=FEATURES, y=LABELS)
    assert load(str(tmp_path / "a.npz"), feature_names=["a", "b", "c"]).feature_names == (
        "a",
        "b",
        "c",
    )
    message = refusal(tmp_path / "a.npz", feature_names=["a"])
    assert message.endswith("expected 1 columns, as the model has, found 3")
    assert "has no column 'a'" in refusal("iris", feature_names=["a"])


# --- broken files --------------------------------------------------------------------------------


def tensors_bytes(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def npy_bytes(header: str, data: bytes = b"") -> bytes:
    padded = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(padded)) + padded + data


BROKEN_TEXT: dict[str, tuple[str, str | bytes, str]] = {
    "empty": ("a.csv", "", "empty file"),
    "blank": ("a.csv", "\n \n", "empty, expected a header and rows"),
    "header only": ("a.csv", "a,b,y\n", "no rows below the header"),
    "too few fields": (
        "a.csv",
        "a,b,y\n1,2,0\n\n1,2\n",
        "line 4: too few fields, expected 3, found 2",
    ),
    "too many fields": (
        "a.csv",
        "a,b,y\n1,2,0,9\n",
        "line 2: too many fields, expected 3, found 4",
    ),
    "too many everywhere": ("a.csv", "a,y\n1,2,3\n4,5,6\n", "line 2: too many fields"),
    "twice the same column": ("a.csv", "a,b,a\n1,2,3\n", "line 1: two columns are called 'a'"),
    "nameless column": ("a.csv", "a,,y\n1,2,3\n", "line 1: column 2 of the header has no name"),
    "missing value": ("a.csv", "a,y\n1,0\n,1\n3,1\n", "line 3, column 'a': missing value"),
    "NA": ("a.csv", "a,y\n1,0\n2,1\nNA,1\n", "line 4, column 'a': missing value ('NA')"),
    "nan": ("a.tsv", "a\ty\nnan\t0\n2\t1\n", "line 2, column 'a': missing value ('nan')"),
    "infinity": (
        "a.csv",
        "a,y\n1,0\n-inf,1\n",
        "line 3, column 'a': expected a finite number, found inf",
    ),
    "all missing": ("a.csv", "a,y\n,0\n,1\n", "line 2, column 'a': missing value"),
    "text in a number": (
        "a.csv",
        'a,t,y\n1,"x\ny",0\n2,z,1\ntwo,z,1\n',
        "line 5, column 'a': text in a numeric column: 'two'",
    ),
    "gap in a text": ("a.csv", "a,y\nred,0\n,1\nblue,1\n", "line 3, column 'a': missing value"),
    "missing target": (
        "a.csv",
        "a,y\n1,0\n2,null\n3,1\n",
        "line 3, column 'y': missing target value",
    ),
    "regression target": ("a.csv", "a,y\n1,.1\n2,.2\n3,.3\n", "look like a regression target"),
    "too many values": (
        "a.csv",
        "a,y\n" + "".join(f"v{row % 101},0\n" for row in range(808)),
        "text column 'a' has 101 different values in 808 rows, at most 100 can become one-hot",
    ),
    "names that clash": ("a.csv", "a,a=b,y\nx,1,0\nz,2,1\n", "cannot be told apart"),
    "open quote": ("a.csv", 'a,y\n1,0\n"x,1\n2,1\n', "line 3: unexpected end of data"),
    "quote within": ("a.csv", 'a,y\n"x"z,1\n', "line 2: ',' expected after '\"'"),
    "only quotes": ("a.csv", 'a\n""\n1\n2\n', "rows? a line holds nothing but quotes"),
    "not UTF-8": ("a.csv", b"a,y\n1,0\n\xff,1\n", "line 3: not UTF-8 text"),
    "a zero byte": ("a.csv", "a,y\n1,0\n\0,1\n", "line 3: not text, found a NUL byte"),
    "an endless field": ("a.csv", "a,y\n" + "x" * 200_000 + ",1\n", "line 2: field larger than"),
    "control characters": ("a.csv", "a,y\n1,0\n2,1\n\x1b[31m,1\n", r"column: '\x1b[31m'"),
    "not gzip": ("a.csv.GZ", "", "cannot be read as"),
    "no ending": ("a", "x", "unknown ending '', expected one of .csv"),
    "unknown ending": ("a.xlsx", "x", "unknown ending '.xlsx'"),
    "svmlight text": ("a.svm", "1 1:2\nx 1:2\n", "line 2: expected a number as label, found 'x'"),
    "svmlight pair": ("a.svm", "1 1:2 # ok\n1 1=2\n", "line 2: expected column:value, found '1=2'"),
    "svmlight order": (
        "a.svm",
        "1 3:2 2:1\n",
        "line 1: expected rising columns, found '2' after 3",
    ),
    "svmlight width": ("a.svm", "1 99999999999:2\n", "line 1: column '99999999999' is too large"),
    "svmlight negative": ("a.svm", "1 -1:2\n", "line 1: expected column:value, found '-1:2'"),
    "svmlight comment": ("a.svm", "# nothing\n", "expected at least one row, found none"),
    "svmlight without features": ("a.svm", "1\n2\n", "found shape (2, 0)"),
    "svmlight nan": ("a.svm", "nan 1:2\n", "row 0 of the labels: missing target value"),
}

BROKEN_BINARY: dict[str, tuple[str, bytes, str]] = {
    "pickle as npy": ("a.npy", pickle.dumps([1]), "found a pickle, which is never read"),
    "pickle as npz": ("a.npz", pickle.dumps([1]), "found a pickle, which is never read"),
    "npy of objects": (
        "a.npy",
        npy_bytes("{'descr': '|O', 'fortran_order': False, 'shape': (2, 2)}", b"0" * 64),
        "holds pickled Python objects; pickles are never read",
    ),
    "npy that promises": (
        "a.npy",
        npy_bytes("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999, 9)}", b"0" * 64),
        "truncated: shape (99999999999, 9) of float64 takes 7199999999928 bytes, found 64",
    ),
    "npy of negative length": (
        "a.npy",
        npy_bytes("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 9)}", b"0" * 64),
        "found float64 of shape (-1, 9)",
    ),
    "npy of records": (
        "a.npy",
        npy_bytes("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}", b"0" * 8),
        "expected an array of numbers or texts",
    ),
    "npy header": (
        "a.npy",
        npy_bytes("{'descr': __import__('os')"),
        "cannot be read as an .npy array",
    ),
    "npy of the future": ("a.npy", b"\x93NUMPY\x09\0" + b"0" * 99, "version 9.0"),
    "npz of other files": ("a.npz", b"PK\5\6" + b"\0" * 18, "found no array"),
    "safetensors length": (
        "a.safetensors",
        struct.pack("<Q", 2**62) + b"{}",
        "Error while deserializing header: ",
    ),
    "safetensors list": ("a.safetensors", tensors_bytes([]), "cannot be read as safetensors"),
    "safetensors nothing": ("a.safetensors", tensors_bytes({}), "found no array"),
    "safetensors beyond": (
        "a.safetensors",
        tensors_bytes({"X": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}, b"0" * 9),
        "cannot be read as safetensors",
    ),
    "safetensors size": (
        "a.safetensors",
        tensors_bytes({"X": {"dtype": "F32", "shape": [9, 9], "data_offsets": [0, 8]}}, b"0" * 8),
        "cannot be read as safetensors",
    ),
    "safetensors dtype": (
        "a.safetensors",
        tensors_bytes(
            {"X": {"dtype": "F8_E5M2", "shape": [2, 2], "data_offsets": [0, 4]}}, b"0" * 4
        ),
        "is F8_E5M2, expected one of BOOL",
    ),
    "idx magic": ("a.idx", b"PK\3\4" + b"0" * 20, "not idx: the first bytes are 50 4b 03 04"),
    "idx header": ("a.idx", b"\0\0\x08\3\0\0", "truncated: 3 axes declared"),
    "idx promises": (
        "a.idx",
        b"\0\0\x08\2" + b"\xff" * 8,
        "truncated: shape (4294967295, 4294967295) takes 18446744065119617025 bytes, found 0",
    ),
    "idx too long": ("a.idx", idx_bytes(IMAGES) + b"0", "too long: shape (7, 2, 3) takes 42 bytes"),
    "idx without rows": ("a.idx", idx_bytes(IMAGES[:0]), "found shape (0, 2, 3)"),
    "idx of labels": ("a.idx", idx_bytes(IMAGES[:, 0, 0].copy()), "are these the labels?"),
    "idx of 99 axes": (
        "a.idx",
        b"\0\0\x08\x63" + b"\0\0\0\1" * 99 + b"0",
        "cannot be read as an array",
    ),
    "idx.gz promises": ("a.idx.gz", b"\0\0\x08\2" + b"\xff" * 8, "too many for "),
    "idx.gz short": ("a.idx.gz", idx_bytes(IMAGES)[:-2], "takes 42 bytes, found 40"),
    "idx.gz long": ("a.idx.gz", idx_bytes(IMAGES) + b"0", "takes 42 bytes, found more"),
}


@pytest.mark.parametrize("case", BROKEN_TEXT.values(), ids=BROKEN_TEXT)
def test_broken_text(tmp_path: Path, case: tuple[str, str | bytes, str]) -> None:
    name, content, expected = case
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    if name.endswith(".GZ"):
        path.write_bytes(b"a,y\n1,0\n")
    message = refusal(path)
    assert message.startswith(str(path))
    assert expected in message


@pytest.mark.parametrize("case", BROKEN_BINARY.values(), ids=BROKEN_BINARY)
def test_broken_binary(tmp_path: Path, case: tuple[str, bytes, str]) -> None:
    name, content, expected = case
    source = written(tmp_path / name, content)
    message = refusal(source, need_target=False)
    assert message.startswith(source)
    assert expected in message


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([["a"]]), "features: expected real numbers, found <U1"),
        (np.zeros((2, 2), complex), "features: expected real numbers, found complex128"),
        (np.zeros((2, 2), "M8[s]"), "features: expected real numbers, found datetime64[s]"),
        (np.zeros(4), "features: expected shape (N, D), found (4,)"),
        (np.array(4.0), "features: expected shape (N, D), found ()"),
        (np.zeros((0, 3)), "at least one row and column, found shape (0, 3)"),
        (np.zeros((3, 0)), "at least one row and column, found shape (3, 0)"),
    ],
)
def test_arrays_that_are_no_features(tmp_path: Path, array: Array, expected: str) -> None:
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", X=array)
    for name in ("a.npy", "a.npz"):
        assert expected in refusal(tmp_path / name, need_target=False)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"X": FEATURES, "data": FEATURES, "y": LABELS}, "expected one array of features"),
        ({"a": FEATURES, "b": FEATURES}, "found 'a', 'b'"),
        ({"X": FEATURES, "y": LABELS, "label": LABELS}, "which array holds the labels?"),
        ({"X": FEATURES}, "no labels found: give them with --labels FILE"),
        ({"X": np.array([[None]], object)}, "pickles are never read"),
    ],
)
def test_archives_that_leave_a_choice(
    tmp_path: Path, arrays: dict[str, Any], expected: str
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    assert expected in refusal(tmp_path / "a.npz")


def test_a_zip_that_lies_about_a_length(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", X=FEATURES)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        size = struct.pack("<I", archive.infolist()[0].file_size)
    content = (tmp_path / "a.npz").read_bytes()
    written(tmp_path / "a.npz", content.replace(size, b"\xff\xff\xff\x7f"))
    assert "2147483647 bytes declared" in refusal(tmp_path / "a.npz", need_target=False)
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "expected .npy arrays, found 'readme.txt'" in refusal(tmp_path / "b.npz")


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        # The first two end in SciPy's own words, which begin otherwise in each version.
        ({"format": b"csr", "indices": [0, 99], "indptr": [0, 1, 2]}, "must be < 3"),
        ({"format": b"csr", "indices": [0, -5], "indptr": [0, 1, 2]}, "must be >= 0"),
        ({"format": b"csr", "indices": [0, 1], "indptr": [0, 10**9, 2]}, "cannot be read"),
        ({"format": b"csc", "indices": [0, 99], "indptr": [0, 1, 1, 2]}, "cannot be read"),
        ({"format": b"coo", "row": [0, -1], "col": [0, 1]}, "cannot be read"),
        (
            {"format": b"coo", "row": [0, 1], "col": [0, 1], "shape": [10**12, 3]},
            "stores 2 numbers only",
        ),
        (
            {"format": b"coo", "row": [0, 1], "col": [0, 1], "shape": [2, 10**12]},
            "stores 2 numbers only",
        ),
        ({"format": b"dia", "offsets": [10**10], "shape": [10**11, 3]}, "stores 2 numbers only"),
        ({"format": b"csr", "shape": [2]}, "found shape (2,)"),
        ({"format": b"xyz"}, "cannot be read as a sparse matrix"),
        ({"format": b"csr", "data": [1j, 2j]}, "expected real numbers, found complex128"),
    ],
)
def test_sparse_matrices_that_would_be_read_outside_their_memory(
    tmp_path: Path, arrays: dict[str, Any], expected: str
) -> None:
    content: dict[str, Any] = {"shape": [2, 3], "data": [1.0, 2.0], **arrays}
    np.savez(tmp_path / "a.npz", **content)
    assert expected in refusal(tmp_path / "a.npz", need_target=False)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"a": [1, None]}, "row 1, column 'a': missing value"),
        ({"a": [1.0, np.nan]}, "row 1, column 'a': expected a finite number, found NaN"),
        ({"a": ["x", ""]}, "row 1, column 'a': missing value"),
        ({"a": [[1.0], [2.0, 3.0]]}, "row 1, column 'a': expected 1 numbers as in row 0, found 2"),
        ({"a": [[1.0, 2.0], [3.0, None]]}, "row 1, column 'a': missing value in the list"),
        ({"a": [[], []]}, "expected lists of numbers"),
        (
            {"a": pa.array([[], []], pa.list_(pa.float32()))},
            "row 0, column 'a': expected at least one",
        ),
        ({"a": [["x"], ["z"]]}, "expected lists of numbers, found list"),
        ({"a": [b"1", b"2"]}, "column 'a' is of type binary"),
        ({"a": [{"b": 1}, {"b": 2}]}, "column 'a' is of type struct"),
        ({"a": pa.array([1, 2], pa.timestamp("s"))}, "column 'a' is of type timestamp"),
        ({"a": pa.nulls(2)}, "column 'a': no row has a value; --drop a leaves it out"),
    ],
)
def test_broken_parquet(tmp_path: Path, columns: dict[str, Any], expected: str) -> None:
    parquet.write_table(pa.table({**columns, "y": [0, 1]}), tmp_path / "a.parquet")
    message = refusal(tmp_path / "a.parquet")
    assert message.startswith(str(tmp_path / "a.parquet"))
    assert expected in message


def test_parquet_without_rows_or_with_one_name_twice(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    parquet.write_table(table, tmp_path / "a.parquet")
    assert "two columns are called 'a'" in refusal(tmp_path / "a.parquet")
    parquet.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "a.parquet")
    assert "expected at least one row" in refusal(tmp_path / "a.parquet")


def test_broken_images(tmp_path: Path) -> None:
    grey = np.zeros((3, 4), np.uint8)
    save_image(tmp_path / "a" / "1.png", grey)
    second = tmp_path / "b" / "2.png"
    save_image(second, grey.T.copy())
    assert refusal(tmp_path) == (
        f"{second}: an image of 3 by 4, expected 4 by 3 as in {tmp_path / 'a' / '1.png'}"
    )
    save_image(second, grey.astype(np.uint16))
    assert f"{second}: pixels of more than 8 bits" in refusal(tmp_path)
    save_image(second, grey)
    written(second, second.read_bytes()[:-30])
    assert f"{second}: cannot be read as an image" in refusal(tmp_path)
    labels = written(tmp_path / "l.txt", "0\n0\n")
    assert "holds its own labels" in refusal(tmp_path, labels=labels)


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_an_image_that_promises_too_much(tmp_path: Path, side: int) -> None:
    save_image(tmp_path / "a" / "1.bmp", np.zeros((3, 4), np.uint8))
    content = bytearray((tmp_path / "a" / "1.bmp").read_bytes())
    content[18:26] = struct.pack("<ii", side, side)
    written(tmp_path / "a" / "1.bmp", bytes(content))
    assert f"{side**2} pixels" in refusal(tmp_path)


@pytest.mark.parametrize("content", ["tiff", "eps"])
def test_images_of_other_formats_under_a_known_ending(tmp_path: Path, content: str) -> None:
    save_image(tmp_path / "a" / "1.png", np.zeros((3, 4), np.uint8))
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / "b.png", format=content)
    (tmp_path / "b.png").rename(tmp_path / "a" / "2.png")
    assert f"{tmp_path / 'a' / '2.png'}: cannot be read as an image" in refusal(tmp_path)


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a.csv") == f"{tmp_path / 'a.csv'}: no such file"
    assert "no such file" in refusal("")
    assert "no such file" in refusal("a\0b")
    assert "no such file" in refusal(tmp_path / "new\nline.csv")
    assert "did you mean 'iris'?" in refusal("irsi")
    assert "cannot be read as a file" in refusal("x" * 5000 + ".csv")
    assert "no data: expected files" in refusal(tmp_path)
    written(tmp_path / "README.md", "hello")
    assert "no data: expected files" in refusal(tmp_path)


def test_what_cannot_be_looked_at_is_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From Python 3.14 on, pathlib's own questions say that such a path is nothing."""
    for name in "abc":
        save_image(tmp_path / "images" / name / "1.png", np.zeros((3, 4), np.uint8))
        written(tmp_path / name / "part.csv", "x,y\n1,0\n2,1\n")
    look = os.stat

    def refused(path: Any, *arguments: Any, **named: Any) -> os.stat_result:
        if "b" in Path(os.fsdecode(path)).parts:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return look(path, *arguments, **named)

    monkeypatch.setattr(os, "stat", refused)
    assert "Permission denied" in refusal(tmp_path / "images")
    told = refusal(tmp_path / "*/part.csv")
    assert told == f"{tmp_path / 'b' / 'part.csv'}: cannot be read as a file: Permission denied"
    for ask in (files.is_there, files.is_file, files.is_folder):
        with pytest.raises(PermissionError):
            ask(tmp_path / "b")
    assert (files.is_there(tmp_path / "c"), files.is_file(tmp_path / "c")) == (True, False)
    assert files.is_folder(tmp_path / "c")
    assert not any(
        files.is_there(each) for each in (tmp_path / "d", "a\0b", tmp_path / "a/part.csv/x")
    )


@pytest.mark.parametrize("pattern", ["s*/*.csv", "**/*.csv", "s*/**", "s2/*.csv", "s*/deep/*.csv"])
def test_a_folder_that_may_not_be_listed_is_not_left_out(
    pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The standard library's own patterns pass over it in silence."""
    for name in ("s1", "s2", "s2/deep", "s1/deep"):
        written(tmp_path / name / "part.csv", "x,y\n1,0\n2,1\n")
    look = os.scandir
    locked = "s2/deep" if "deep" in pattern else "s2"

    def refused(path: Any = ".") -> Any:
        if not isinstance(path, int) and Path(os.fsdecode(path)) == tmp_path / locked:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return look(path)

    load(str(tmp_path / pattern))
    monkeypatch.setattr(os, "scandir", refused)
    told = refusal(tmp_path / pattern)
    assert told == f"{tmp_path / locked}: cannot be read as a folder: Permission denied"


# --- hostile bytes -------------------------------------------------------------------------------


def _small_csv(path: Path) -> None:
    written(
        path,
        "id,a,color,y\n" + "".join(f"r{row},{row / 2},c{row % 2},{row % 3}\n" for row in range(7)),
    )


def _small_csv_bytes() -> bytes:
    return b"id,a,color,y\n" + b"".join(b"r%d,%d.5,c%d,1\n" % (row, row, row) for row in range(7))


def _small_txt(path: Path) -> None:
    rows = "".join(f"{row / 2}  c{row % 2} {row % 3}\n" for row in range(7))
    path.write_bytes(f"# a remark\na color  y\n{rows}".encode())


def _small_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", _small_csv_bytes())


def _small_parquet(path: Path) -> None:
    columns = {"e": FEATURES.tolist(), "kind": NAMES, "y": LABELS}
    parquet.write_table(pa.table(columns), path)


SMALL: dict[str, Callable[[Path], Any]] = {
    "csv": _small_csv,
    "tsv": _small_csv,
    "csv.gz": _small_csv,
    "txt": _small_txt,
    "csv.bz2": lambda path: path.write_bytes(bz2.compress(_small_csv_bytes())),
    "csv.xz": lambda path: path.write_bytes(lzma.compress(_small_csv_bytes())),
    "csv.zst": lambda path: path.write_bytes(
        pa.compress(_small_csv_bytes(), codec="zstd", asbytes=True)
    ),
    "csv.zip": _small_zip,
    "parquet": _small_parquet,
    "npy": lambda path: np.save(path, FEATURES),
    "npz": lambda path: np.savez(path, X=FEATURES, y=LABELS),
    "packed.npz": lambda path: np.savez_compressed(path, X=FEATURES, y=NAMES),
    "sparse.npz": lambda path: sparse.save_npz(path, sparse.csr_array(FEATURES)),
    "safetensors": lambda path: save_file({"X": FEATURES, "y": LABELS}, path),
    "svmlight": lambda path: dump_svmlight_file(FEATURES, LABELS, str(path), zero_based=False),
    "libsvm": lambda path: dump_svmlight_file(FEATURES, LABELS, str(path), zero_based=True),
    "idx": lambda path: written(path, idx_bytes(IMAGES)),
    "idx.gz": lambda path: written(path, idx_bytes(IMAGES)),
    "png": lambda path: save_image(path, IMAGES[0]),
    "jpg": lambda path: save_image(path, IMAGES[0]),
    "gif": lambda path: save_image(path, IMAGES[0]),
    "bmp": lambda path: save_image(path, IMAGES[0]),
    "webp": lambda path: save_image(path, IMAGES[0]),
}


def loaded_or_refused(path: Path) -> Dataset | str:
    is_image = path.parent.name == "class"
    try:
        return load(str(path.parents[1] if is_image else path), need_target=False)
    except InputError as error:
        return str(error)


def loads_or_refuses(path: Path) -> None:
    result = loaded_or_refused(path)
    if isinstance(result, str):
        assert result.isprintable()
        assert path.name in result
        return
    for _, block in result.features.blocks(5):
        assert block.shape[1] == result.features.shape[1]


@pytest.mark.parametrize("ending", SMALL)
def test_binary_noise_under_every_ending(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "class" / f"a.{ending}"
    path.parent.mkdir()
    noise = random.Random(ending)
    for length in (1, 2, 3, 10, 100, 1000, 20_000):
        path.write_bytes(noise.randbytes(length))
        source = path.parents[1] if ending in ("png", "jpg", "gif", "bmp", "webp") else path
        assert path.name in refusal(source, need_target=False)


@pytest.mark.parametrize("ending", SMALL)
@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_few_flipped_bits_load_or_are_refused(
    tmp_path: Path, ending: str, data: st.DataObject
) -> None:
    is_image = ending in ("png", "jpg", "gif", "bmp", "webp")
    path = tmp_path / ("class" if is_image else "files") / f"a.{ending}"
    path.parent.mkdir(exist_ok=True)
    original = tmp_path / f"original.{ending}"
    if not original.exists():
        SMALL[ending](original)
    content = bytearray(original.read_bytes())
    for bit in data.draw(st.lists(st.integers(0, 8 * len(content) - 1), min_size=1, max_size=4)):
        content[bit // 8] ^= 1 << bit % 8
    length = data.draw(st.one_of(st.just(len(content)), st.integers(1, len(content))))
    path.unlink(missing_ok=True)  # a mapping of the last try may still be alive
    path.write_bytes(content[:length])
    loads_or_refuses(path)


@given(text=st.text(alphabet="ay,01x.\"'\n\r\t =N", max_size=40))
@settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_text_is_a_table_or_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,y\n" + text.encode())
    loads_or_refuses(path)


# --- what is not installed, what is not loaded ---------------------------------------------------


@pytest.mark.parametrize(
    ("module", "ending", "extra"),
    [("pandas", "csv", "cli"), ("pyarrow", "parquet", "parquet"), ("PIL", "png", "cli")],
)
def test_a_missing_extra_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, ending: str, extra: str
) -> None:
    path = tmp_path / "class" / f"a.{ending}"
    path.parent.mkdir()
    SMALL[ending](path)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"-m pip install '.*\[{extra}\]'"):
        load(str(tmp_path if ending == "png" else path))


def test_import_is_light() -> None:
    heavy = ("pandas", "sklearn", "pyarrow", "PIL", "safetensors", "numba", "torch")
    code = f"import sys, bridle.data; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
