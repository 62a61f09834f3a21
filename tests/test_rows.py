"""Rows: the same numbers in the same order, whatever the storage and the block."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from bridle import InputError
from bridle.data import load
from bridle.mapped import releaser
from bridle.rows import Rows
from problems import random_csr


def joined(rows: Any, size: Any, dtype: Any = None) -> Any:
    blocks = list(rows.blocks(size, dtype))
    covered = [number for which, _ in blocks for number in range(which.start, which.stop)]
    assert covered == list(range(len(rows)))
    dense = [block.toarray() if sparse.issparse(block) else block for _, block in blocks]
    return np.concatenate(dense) if dense else np.zeros(rows.shape)


@given(
    sizes=st.lists(st.integers(0, 7), min_size=1, max_size=5),
    width=st.integers(0, 4),
    block=st.integers(1, 9),
    thin=st.booleans(),
    seed=st.integers(0, 999),
)
def test_blocks_of_shards_and_choices(
    sizes: Any, width: Any, block: Any, thin: Any, seed: Any
) -> None:
    generator = np.random.default_rng(seed)
    parts = [generator.integers(0, 5, (size, width)).astype(np.float64) for size in sizes]
    stored = [sparse.csr_array(part) for part in parts] if thin else parts
    whole, rows = np.concatenate(parts), Rows(stored)
    assert rows.shape == whole.shape
    np.testing.assert_array_equal(joined(rows, block), whole)
    chosen = generator.integers(0, len(whole), 6) if len(whole) else np.zeros(0, int)
    np.testing.assert_array_equal(joined(rows.take(chosen), block), whole[chosen])
    again = rows.take(chosen).take(np.arange(len(chosen))[::2])
    np.testing.assert_array_equal(joined(again, block), whole[chosen[::2]])
    dense = rows.to_array()
    np.testing.assert_array_equal(dense.toarray() if thin else dense, whole)


def test_a_mask_is_a_choice() -> None:
    whole = np.arange(10.0).reshape(5, 2)
    mask = np.array([True, False, True, True, False])
    np.testing.assert_array_equal(Rows([whole]).take(mask).to_array(), whole[mask])


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        ("bool", "float32"),
        ("uint8", "float32"),
        ("int16", "float32"),
        ("float16", "float32"),
        ("float32", "float32"),
        ("int32", "float64"),
        ("int64", "float64"),
        ("float64", "float64"),
        (">i2", "float32"),
        (">f2", "float32"),
        (">f4", "float32"),
        (">i4", "float64"),
        (">u4", "float64"),
        (">i8", "float64"),
        (">f8", "float64"),
        ("longdouble", "float64"),
    ],
)
def test_the_dtype_of_the_products_holds_every_number(stored: Any, wanted: Any) -> None:
    # 2**24 + 1 is the first whole number that float32 has not.
    largest = 2**24 + 1 if wanted == "float64" else 1
    values = np.full((3, 2), largest).astype(stored)
    rows = Rows([values])
    np.testing.assert_array_equal(joined(rows, 2), values.astype(wanted))
    assert joined(rows, 2)[0, 0] == largest
    assert rows.dtype == wanted
    assert joined(rows, 2).dtype == wanted
    assert joined(rows, 2, np.dtype("float64")).dtype == "float64"


def test_every_float16_is_converted_exactly() -> None:
    every = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(-1, 8)
    for stored in (every, every[:, ::-1], np.asfortranarray(every), every.astype(">f2")):
        ((_, block),) = Rows([stored]).blocks(len(every), np.dtype(np.float32))
        np.testing.assert_array_equal(block, stored.astype(np.float32))
        assert block.dtype == np.float32


def test_bfloat16() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    rows = Rows([np.array([[1.5, -2.0]], ml_dtypes.bfloat16)])
    np.testing.assert_array_equal(joined(rows, 1), np.array([[1.5, -2.0]], np.float32))


def test_a_block_of_the_right_dtype_is_a_view_of_the_memory_map(tmp_path: Any) -> None:
    np.save(tmp_path / "X.npy", np.ones((9, 3), np.float32))
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    for _, block in Rows([mapped]).blocks(4):
        assert np.shares_memory(block, mapped)


def test_converted_blocks_are_bounded() -> None:
    rows = Rows([np.ones((9, 3), np.float16)])
    assert max(len(block) for _, block in rows.blocks(9, numbers=10)) == 3
    assert max(len(block) for _, block in rows.take(np.arange(9)).blocks(9, numbers=10)) == 3


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "at least one two-dimensional array"),
        ([np.ones(3)], "at least one two-dimensional array"),
        ([np.ones((2, 3)), np.ones((2, 4))], r"expected one width, found \[3, 4\]"),
        ([np.ones((2, 3)), sparse.csr_array(np.ones((2, 3)))], "found both"),
    ],
)
def test_parts_that_do_not_fit_together(parts: Any, message: Any) -> None:
    with pytest.raises(InputError, match=message):
        Rows(parts)


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="the system cannot be told")
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_large_mapped_file_gives_its_memory_back(
    dtype: str, tmp_path: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("bridle.mapped.RESIDENT_BYTES", 1000)
    values = np.arange(4099 * 7).reshape(4099, 7) % 1000
    np.save(tmp_path / "x.npy", values.astype(dtype))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    returned = []
    monkeypatch.setattr("bridle.rows.releaser", lambda part, _: lambda: returned.append(part))
    assert releaser(mapped) is not None
    rows = Rows([mapped])
    for features in (rows, rows.take(np.arange(4099))):
        found = np.concatenate([block for _, block in features.blocks(1000, np.dtype("float32"))])
        np.testing.assert_array_equal(found, values)
    assert len(returned) >= 10


def test_only_mapped_files_without_changes_are_given_back(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("bridle.mapped.RESIDENT_BYTES", 10)
    np.save(tmp_path / "x.npy", np.ones((50, 3)))
    assert releaser(np.ones((50, 3))) is None
    changed = np.load(tmp_path / "x.npy", mmap_mode="c")
    changed[0] = 7
    assert releaser(changed) is None
    assert releaser(np.asarray(np.load(tmp_path / "x.npy", mmap_mode="r"))) is not None


def test_blocks_of_sparse_rows_are_views() -> None:
    matrix = random_csr((11, 7), 0.5, np.random.default_rng(0))
    blocks = list(Rows([matrix]).blocks(4))
    assert [block.shape for _, block in blocks] == [(4, 7), (4, 7), (3, 7)]
    assert all(np.shares_memory(block.data, matrix.data) for _, block in blocks)
    assert all(np.shares_memory(block.indices, matrix.indices) for _, block in blocks)
    for rows, block in blocks:
        np.testing.assert_array_equal(block.toarray(), matrix.toarray()[rows])


@pytest.mark.parametrize("layout", ["csr", "csc", "coo"])
def test_a_truth_that_is_stored_twice_is_one(layout: str) -> None:
    entries = (
        np.array([True, True, True, False]),
        (np.array([0, 0, 1, 1]), np.array([1, 1, 0, 2])),
    )
    coo = sparse.coo_array(entries, shape=(2, 3))
    if layout == "csr":
        # Given in its parts, nothing adds the duplicates up.
        matrix = sparse.csr_array((entries[0], [1, 1, 0, 2], [0, 2, 4]), shape=(2, 3))
    else:
        matrix = coo.asformat(layout)
    before = matrix.nnz
    expected = [[0, 1, 0], [1, 0, 0]]
    np.testing.assert_array_equal(joined(Rows([matrix]), 1, np.dtype(np.float32)), expected)
    assert matrix.nnz == before, "the caller's matrix is not changed"


@pytest.mark.parametrize("kind", ["whole", "view", "choice", "archive"])
def test_a_file_that_is_cut_short_is_an_error(tmp_path: Path, kind: str) -> None:
    """Reading it would end the process by a bus error."""
    path = tmp_path / ("a.npz" if kind == "archive" else "a.npy")
    features = np.arange(30_000.0).reshape(3000, 10)
    if kind == "archive":
        np.savez(path, X=features)
        rows = load(str(path), need_target=False).features
    else:
        np.save(path, features)
        mapped = np.load(path, mmap_mode="r")
        rows = Rows([mapped[5:].reshape(-1, 5) if kind == "view" else mapped])
        rows = rows.take(np.arange(0, 3000, 7)) if kind == "choice" else rows
    blocks = rows.blocks(100)
    next(blocks)
    os.truncate(path, 70_000)
    with pytest.raises(
        InputError, match=rf"{path.name}: was cut short while it was read: expected "
    ):
        for _ in blocks:
            pass
    with pytest.raises(InputError, match="was cut short"):
        next(rows.blocks(100))
