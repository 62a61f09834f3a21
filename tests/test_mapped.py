"""Files mapped into memory: read block by block, given back on the way, and never copied whole."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
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
