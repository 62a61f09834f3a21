"""What several processes get of the samples that one loaded, and what that one keeps."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from bridle import InputError
from bridle import rows as rows_module
from bridle.cli import fitting, ranks
from bridle.cli.messages import about
from bridle.cli.sampling import _all_samples, chosen
from bridle.cli.sharing import rows_of_parts, shares
from bridle.data import Dataset, Scratch, load
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


@pytest.mark.parametrize("is_sparse", [False, True])
def test_one_share_at_a_time_is_in_memory(is_sparse: bool, tmp_path: Path) -> None:
    random, names = np.random.default_rng(0), [f"{place}.npz" for place in range(4)]
    parts = [random.normal(size=(300, 50)).astype(np.float32) for _ in names]
    labels = np.arange(1200) % 3
    np.save(tmp_path / "y.npy", labels)
    (tmp_path / "shards").mkdir()
    for name, part in zip(names, parts, strict=True):
        if is_sparse:
            sparse.save_npz(tmp_path / "shards" / name, sparse.csr_array(part))
        else:
            np.savez_compressed(tmp_path / "shards" / name, X=part)
    dataset = load(tmp_path / "shards", labels=str(tmp_path / "y.npy"), scratch=Scratch())
    rows = np.flatnonzero(np.arange(1200) % 5)
    train = chosen(_all_samples(dataset, "training"), rows, "training")
    whole, seen = np.concatenate(parts), []
    for place, share in enumerate(shares(dataset, train, None, 3)):
        features = share.samples.features
        arrays = [array for part in features._parts for array in rows_module._arrays(part)]
        assert all(map(rows_module._is_in_file, arrays)), "until it is handed over"
        assert share.unchecked is None
        told = pickle.loads(pickle.dumps(share))
        assert len(pickle.dumps(told.samples.features)) < whole[rows].nbytes * (
            0.8 if is_sparse else 0.4
        )
        found = told.samples.features.to_array()
        seen.append(found.toarray() if is_sparse else found)
        np.testing.assert_array_equal(
            told.samples.target, labels[rows][rows_of_parts(960, 3)[place]]
        )
    np.testing.assert_array_equal(np.concatenate(seen), whole[rows])


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
