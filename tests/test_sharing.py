"""What several processes get of the samples that one loaded, and what that one keeps."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bridle import InputError
from bridle.cli import fitting, ranks
from bridle.cli.messages import about
from bridle.cli.sharing import rows_of_parts
from bridle.data import Dataset
from commands import Command


class FirstOfTwo:
    """The first of two ranks, which hands the other its share."""

    rank, size = 0, 2

    def dealt(self, make: Callable[[], Iterable[Any]]) -> Any:
        own, other = make()
        assert len(other.samples.target) == len(own.samples.target)
        return own

    def made(self, make: Callable[[], Any]) -> Any:
        return make()


def test_the_first_rank_keeps_its_share_alone(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    X = np.random.default_rng(0).normal(size=(500, 3))
    np.savez_compressed(tmp_path / "packed.npz", X=X, y=np.arange(500) % 2)
    kept: list[int] = []

    def fitted(*_: Any, **__: Any) -> Any:
        gc.collect()
        held = (each for each in gc.get_objects() if type(each) is Dataset)
        kept.extend(len(each.features) for each in held if each.source.endswith("packed.npz"))
        raise InputError("that will do")

    monkeypatch.setattr(ranks, "started", lambda _: nullcontext(FirstOfTwo()))
    monkeypatch.setattr(fitting, "_fitted", fitted)
    answer = command("fit", str(tmp_path / "packed.npz"))
    assert answer.err == "bridle: that will do\n"
    assert kept
    assert max(kept) == 0, "no data set with all rows is held while the fit runs"


def test_parts_are_all_rows_in_their_order() -> None:
    for count in (0, 1, 7, 100):
        for parts in (1, 2, 3, 8):
            found = rows_of_parts(count, parts)
            assert len(found) == parts
            assert [row for rows in found for row in range(count)[rows]] == list(range(count))
            sizes = [rows.stop - rows.start for rows in found]
            assert max(sizes) - min(sizes) <= 1


def test_data_are_named_once() -> None:
    for said in ("X: row 3 is NaN", "a.npz: row 3 is NaN"):
        with pytest.raises(InputError, match=r"^a.npz: row 3 is NaN$"), about("a.npz"):
            raise InputError(said)
