"""What is learnt from and what is judged on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks, data
from bridle.cli.messages import about
from bridle.cli.splitting import holdout_split
from bridle.data import Dataset, Reading, Selection
from bridle.rows import Rows

Array = npt.NDArray[Any]

_CHECKED_ROWS = 1024  # at a time


@dataclass(frozen=True)
class Source:
    """Where the samples are, and how they are parted."""

    data: str
    target: str | None
    labels: str | None
    test: str | None
    test_labels: str | None
    holdout: float | None
    arrays: Mapping[str, str] | None
    reading: Reading
    selection: Selection

    def load(self) -> Dataset:
        """Load the samples, of which some may be held out."""
        return data.load(
            self.data,
            target=self.target,
            labels=self.labels,
            arrays=self.arrays,
            reading=self.reading,
            selection=self.selection,
            training_rows=None if self.test is not None else self._training_rows,
            wants_test=self.test is None and self.holdout is None,
        )

    @property
    def share(self) -> float:
        """How much of each class is held out where there is nothing else to judge on."""
        return 0.2 if self.holdout is None else self.holdout

    def _training_rows(self, target: Array) -> Array:
        with about(self.data):
            return holdout_split(target, self.share)[0]


@dataclass(frozen=True)
class Samples:
    """Samples to fit or to judge: where from, features, targets, and what to call them."""

    source: str
    features: Rows
    target: Array
    ids: list[int | str]
    role: str


def check_source(source: Source) -> None:
    """Refuse arguments that exclude each other."""
    if source.test is not None and source.holdout is not None:
        raise checks.InputError("--holdout: expected without --test, found both")
    if source.test is None and source.test_labels is not None:
        raise checks.InputError("--test-labels: expected with --test, found it alone")
    if source.holdout is not None and not 0 <= source.holdout < 1:
        raise checks.InputError(f"--holdout: expected a share in [0, 1), found {source.holdout:g}")


def samples_of(source: Source, dataset: Dataset) -> tuple[Samples, Samples]:
    """Return the samples to learn from and those to judge on."""
    everything = _all_samples(dataset, "training")
    if source.test is not None:
        return everything, _test_samples(source, source.test, dataset)
    if source.holdout is None and dataset.test is not None:
        return everything, _all_samples(dataset.test, "test")
    if source.share == 0:
        return everything, everything
    with about(dataset.source):
        kept, held = holdout_split(everything.target, source.share)
    return _chosen(everything, kept, "training"), _chosen(everything, held, "held-out")


def _all_samples(dataset: Dataset, role: str) -> Samples:
    assert dataset.target is not None  # load refuses data without labels
    _check_labels(dataset.source, dataset.target)
    _check_finite(dataset)
    ids: list[int | str] = list(dataset.ids or range(len(dataset.target)))
    return Samples(dataset.source, dataset.features, dataset.target, ids, role)


def _check_labels(source: str, target: Array) -> None:
    if target.ndim == 1 and target.dtype.kind == "f":
        fraction = target[np.argmax(target != np.trunc(target))]
        raise checks.InputError(
            f"{source}: target: expected whole numbers or texts as labels, found {fraction:g}"
        )


def _check_finite(dataset: Dataset) -> None:
    # Before the split, which would count other rows; and before a long fit, which a NaN among the
    # held-out samples would waste.
    for rows, block in dataset.features.blocks(_CHECKED_ROWS):
        checks.finite_rows(block, dataset.source, rows.start)


def _chosen(samples: Samples, rows: Array, role: str) -> Samples:
    return Samples(
        source=samples.source,
        features=samples.features.take(rows),
        target=samples.target[rows],
        ids=[samples.ids[row] for row in rows],
        role=role,
    )


def _test_samples(source: Source, test_data: str, dataset: Dataset) -> Samples:
    test = data.load(
        test_data,
        target=source.target,
        labels=source.test_labels,
        arrays=_test_arrays(source.arrays),
        feature_names=dataset.feature_names,
        width=dataset.features.shape[1],
        reading=source.reading,
        fitted=dataset.reading,
        usual_target=dataset.target_name,
    )
    return _all_samples(test, "test")


def _test_arrays(arrays: Mapping[str, str] | None) -> dict[str, str] | None:
    """Return the names in a file of its own: those for the test, else those for the fit."""
    if arrays is None:
        return None
    names = {role: arrays.get(f"{role}_test", arrays.get(role)) for role in ("X", "y")}
    return {role: name for role, name in names.items() if name is not None}
