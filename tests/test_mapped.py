"""Files mapped into memory: read block by block, given back on the way, and never copied whole."""

from __future__ import annotations

import json
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from scipy.special import softmax

from bridle import mapped
from bridle.checks import InputError
from bridle.rows import Rows


def test_blocks_are_views_and_their_pages_are_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.arange(60, dtype=np.float16).reshape(20, 3)
    np.save(tmp_path / "x.npy", values)
    there = np.load(tmp_path / "x.npy", mmap_mode="r")
    returned: list[object] = []
    monkeypatch.setattr(mapped, "releaser", lambda array: lambda: returned.append(array))
    monkeypatch.setattr(mapped, "_READ_BYTES", 2 * 7 * 3 * 2)
    found = list(mapped.blocks(there, 7))
    assert [(rows.start, rows.stop) for rows, _ in found] == [(0, 7), (7, 14), (14, 20)]
    assert np.array_equal(np.concatenate([block for _, block in found]), values)
    assert all(np.shares_memory(block, there) for _, block in found)
    assert len(returned) == 2  # when enough was read, and at the end
    with (tmp_path / "x.npy").open("r+b") as file:
        file.truncate(140)
    with pytest.raises(InputError, match="was cut short while it was read"):
        list(mapped.blocks(there, 7))


def test_what_is_stored_is_not_copied(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((4, 3), np.float16))
    there = np.load(tmp_path / "x.npy", mmap_mode="r")
    stored = Rows([there]).stored()
    assert stored.dtype == np.float16
    assert np.shares_memory(stored, there)
    for rows in (Rows([there, there]), Rows([there]).take(np.array([2, 0]))):
        assert np.array_equal(rows.stored(), rows.to_array())
    assert Rows([np.ones((2, 2), np.int8)]).stored().dtype == np.float32


@pytest.mark.parametrize("kind", ["scores", "probabilities"])
def test_the_memory_of_judging_a_file_does_not_grow_with_its_answers(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: Any,
) -> None:
    pytest.importorskip("typer")
    pytest.importorskip("jinja2")
    from bridle.cli import run
    from bridle.judge import evaluate

    random, classes = np.random.default_rng(0), 200
    page, peaks = tmp_path / "page.html", []
    monkeypatch.setattr(mapped, "RESIDENT_BYTES", 1000)
    arguments = ["evaluate", tmp_path / "answers.npy", "--labels", tmp_path / "labels.npy"]
    for rows in (500, 6000, 16_000):  # the first of which imports what it needs
        target = random.integers(0, classes, rows)
        scores = random.standard_normal((rows, classes))
        scores[np.arange(rows), target] += 3
        answers = (scores if kind == "scores" else softmax(scores, axis=1)).astype(np.float16)
        np.save(tmp_path / "answers.npy", answers)
        np.save(tmp_path / "labels.npy", target)
        tracemalloc.start()
        assert run([*map(str, arguments), "--report", str(page), "--json"]) == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        figures = json.loads(capsys.readouterr().out)
        expected = evaluate(answers, target, kind=kind)
        loss = pytest.approx(expected.cross_entropy_nats, rel=1e-12)
        assert figures["cross_entropy_nats"] == loss
        assert figures["input_kind"] == kind
        assert page.stat().st_size < 300_000
    # 10,000 rows more: 4 MB in the file, 8 MB in single precision, 1 MB of what is kept of each.
    assert peaks[2] - peaks[1] < 3e6


def test_an_array_in_a_file_is_handed_over_by_its_name(tmp_path: Path) -> None:
    values = np.arange(600, dtype=">f4").reshape(50, 12)
    np.save(tmp_path / "x.npy", values)
    there = np.load(tmp_path / "x.npy", mmap_mode="r")
    fortran = np.memmap(tmp_path / "x.npy", ">f4", "r", 128 + 480, (12, 20), "F")
    for view in (
        there,
        there[7:9],
        there[::-3],
        there[:, 1::5],
        there.T,
        there[0],
        there[3:3],
        fortran,
    ):
        found = mapped.MappedArray.of(view)
        assert found is not None
        packed = pickle.dumps(found)
        assert len(packed) < 600
        again = pickle.loads(packed).open()
        assert again.dtype == view.dtype
        np.testing.assert_array_equal(again, view)
        assert mapped.mapped_file(again) is not None
        assert not again.flags.writeable
    assert mapped.MappedArray.of(values) is None
    assert mapped.MappedArray.of(there.copy()) is None
    # What is written to such an array is in no file.
    assert mapped.MappedArray.of(np.load(tmp_path / "x.npy", mmap_mode="c")) is None
    changed = np.load(tmp_path / "x.npy", mmap_mode="c")
    changed[0] = 7
    changed.flags.writeable = False
    assert mapped.MappedArray.of(changed[:3]) is None
    told = mapped.MappedArray.of(there[40:])
    assert told is not None
    with (tmp_path / "x.npy").open("r+b") as file:
        file.truncate(2000)
    with pytest.raises(
        InputError, match=r"x.npy: expected the file that another process has found"
    ):
        told.open()
    (tmp_path / "x.npy").unlink()
    with pytest.raises(InputError, match=r"x.npy: expected the file .* No such file"):
        told.open()


def test_rows_go_to_another_process_alone(tmp_path: Path) -> None:
    whole = np.random.default_rng(0).integers(0, 9, (1000, 30))
    np.save(tmp_path / "x.npy", whole[:600].astype(np.uint8))
    np.save(tmp_path / "y.npy", whole[600:].astype(np.float16))
    there = [np.load(tmp_path / name, mmap_mode="r") for name in ("x.npy", "y.npy")]
    chosen = np.array([3, 999, 600, 3, 0, 599])
    dense: list[Any] = [whole[:600].astype(np.uint8), whole[600:].astype(np.float16)]
    thin = [sparse.csr_array(part.astype(np.float32)) for part in dense]
    cases: list[tuple[list[Any], int]] = [
        (there, 1500),
        (dense, 1500),
        (dense[:1], 1500),
        (thin, 3000),
        ([there[0], dense[1]], 1500),
    ]
    for parts, at_most in cases:
        own = chosen[chosen < sum(part.shape[0] for part in parts)]
        for index in (own, own[:0]):
            rows = Rows(parts).take(index)
            packed = pickle.dumps(rows)
            assert len(packed) < at_most
            again = pickle.loads(packed)
            assert again.dtype == rows.dtype
            assert again.are_mapped is rows.are_mapped is (parts is there)
            found = again.to_array()
            found = found.toarray() if again.is_sparse else found
            np.testing.assert_array_equal(found, whole[index])
    # Of dtypes that no third one holds as exactly as the products do, that of the products.
    both = Rows([whole[:9].astype(np.int16), whole[9:99].astype(np.uint16)]).take(np.arange(4, 20))
    assert both.alone().dtype == both.dtype == np.float32
    np.testing.assert_array_equal(both.alone().to_array(), whole[4:20])
    # They are stored as before: bytes in bytes.
    assert len(pickle.dumps(Rows(dense[:1]).take(np.arange(500)))) < 500 * 30 + 1500
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(Rows(there))).to_array(), whole)
