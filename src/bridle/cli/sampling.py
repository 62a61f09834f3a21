"""What is learnt from and what is judged on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks, data
from bridle.cli.messages import about
from bridle.cli.splitting import holdout_split
from bridle.data import Dataset, Reading, Scratch, Selection, files, several
from bridle.rows import Rows

Array = npt.NDArray[Any]

_CHECKED_ROWS = 1024  # at a time


@dataclass(frozen=True)
class Source:
    """Where the samples are, and how they are parted."""

    data: str | tuple[str, ...]
    target: str | None
    labels: str | None
    test: str | None
    test_labels: str | None
    holdout: float | None
    arrays: Mapping[str, str] | None
    reading: Reading
    selection: Selection

    def load(self, **known: Any) -> Dataset:
        """Load the samples, of which some may be held out; ``known`` is of a model for them."""
        return data.load(
            self.data,
            target=self.target,
            labels=self.labels,
            arrays=self.arrays,
            reading=self._told(self.data, self.labels, beside=(self.test, self.test_labels)),
            selection=self.selection,
            training_rows=None if self.test is not None else self._training_rows,
            wants_test=self.test is None and self.holdout is None,
            **known,
        )

    def told_of_test(self) -> Reading:
        """Return what was told of how files are read, without what the fit's files alone heed."""
        assert self.test is not None
        return self._told(self.test, self.test_labels, beside=(self.data, self.labels))

    def _told(
        self,
        source: str | tuple[str, ...],
        labels: str | None,
        *,
        beside: tuple[str | tuple[str, ...] | None, str | None],
    ) -> Reading:
        other, other_labels = beside
        if other is None or self.reading == Reading():
            return self.reading
        used = data.options_used_by(source, labels)
        elsewhere = data.options_used_by(other, other_labels) - used
        return self.reading.without(elsewhere)

    def check(self) -> None:
        """Refuse arguments that exclude each other, or that nothing would heed."""
        arrays = self.arrays or {}
        tests = [f"--arrays {role}=…" for role in ("X_test", "y_test") if role in arrays]
        for option, given, other, excluded in (
            ("--holdout", self.holdout is not None, "--test", self.test is not None),
            ("--target", self.target is not None, "--labels", self.labels is not None),
            ("--arrays y=…", "y" in arrays, "--labels", self.labels is not None),
            (", ".join(tests), bool(tests), "--holdout", self.holdout is not None),
            (
                "--arrays y_test=…",
                "y_test" in arrays,
                "--test-labels",
                self.test_labels is not None,
            ),
        ):
            if given and excluded:
                raise checks.InputError(f"{option}: expected without {other}, found both")
        if self.target is not None and self.target in self.selection.keep:
            raise checks.InputError(f"--keep: {files.quoted(self.target)} is the target")
        if self.test is None and self.test_labels is not None:
            raise checks.InputError("--test-labels: expected with --test, found it alone")
        if self.test is None and "y_test" in arrays and "X_test" not in arrays:
            raise checks.InputError("--arrays y_test=…: expected with X_test=…, found it alone")
        if self.holdout is not None and not 0 <= self.holdout < 1:
            raise checks.InputError(
                f"--holdout: expected a share in [0, 1), found {self.holdout:g}"
            )

    @property
    def files(self) -> tuple[str | None, ...]:
        """What is read: folders as such, and of a pattern the files that it fits."""
        found = tuple(map(str, several.files_of(self.data, self.labels)))
        typed = found or ((self.data,) if isinstance(self.data, str) else self.data)
        return (*typed, self.labels, self.test, self.test_labels)

    @property
    def share(self) -> float:
        """How much of each class is held out where there is nothing else to judge on."""
        return 0.2 if self.holdout is None else self.holdout

    def _training_rows(self, target: Array) -> Array:
        with about(several.name_of(self.data)):
            return holdout_split(target, self.share)[0]


@dataclass(frozen=True)
class Samples:
    """Samples to fit or to judge: where from, features, targets, and what to call them."""

    source: str
    features: Rows
    target: Array
    ids: list[int | str]
    role: str
    image_shape: tuple[int, ...] | None = None
    texts: Sequence[str] | None = None


def samples_of(
    source: Source,
    dataset: Dataset,
    *,
    keep_texts: bool = False,
    are_checked: bool = False,
    scratch: Scratch | None = None,
) -> tuple[Samples, Samples]:
    """Return the samples to learn from and those to judge on, these with their texts if told.

    The features are looked through for what is no number, unless somebody else does that. Those of
    ``--test`` are kept in the ``scratch``, where there is one.
    """
    everything = _all_samples(dataset, "training", are_checked=are_checked)
    if source.test is not None:
        return everything, _test_samples(source, source.test, dataset, keep_texts, scratch)
    if source.holdout is None and dataset.test is not None:
        return everything, _all_samples(dataset.test, "test")
    if source.share == 0:
        return everything, everything
    with about(dataset.source):
        kept, held = holdout_split(everything.target, source.share)
    return chosen(everything, kept, "training"), chosen(everything, held, "held-out")


def _all_samples(dataset: Dataset, role: str, *, are_checked: bool = False) -> Samples:
    assert dataset.target is not None  # load refuses data without labels
    _check_labels(dataset.source, dataset.target)
    if not are_checked:
        # Before the split, which would count other rows; and before a long fit, which a NaN among
        # the held-out samples would waste.
        check_finite(dataset.features, dataset)
    ids: list[int | str] = list(dataset.ids or range(len(dataset.target)))
    return Samples(
        dataset.source,
        dataset.features,
        dataset.target,
        ids,
        role,
        dataset.image_shape,
        dataset.texts,
    )


def _check_labels(source: str, target: Array) -> None:
    if target.ndim == 1 and target.dtype.kind == "f":
        fraction = target[np.argmax(target != np.trunc(target))]
        raise checks.InputError(
            f"{source}: target: expected whole numbers or texts as labels, found {fraction:g}"
        )


def check_finite(features: Rows, dataset: Dataset, first_row: int = 0) -> None:
    """Refuse features of some rows of a dataset, from one on, that are no numbers."""
    for rows, block in features.blocks(_CHECKED_ROWS):
        try:
            checks.finite_rows(block, dataset.source, first_row + rows.start)
        except checks.InputError as error:
            raise dataset.with_its_file(error) from None


def chosen(samples: Samples, rows: Array, role: str) -> Samples:
    """Return some of the samples, by their numbers."""
    return Samples(
        source=samples.source,
        features=samples.features.take(rows),
        target=samples.target[rows],
        ids=[samples.ids[row] for row in rows],
        role=role,
        image_shape=samples.image_shape,
        texts=None if samples.texts is None else [samples.texts[row] for row in rows],
    )


def _test_samples(
    source: Source,
    test_data: str,
    dataset: Dataset,
    keep_texts: bool,
    scratch: Scratch | None,
) -> Samples:
    test = data.load(
        test_data,
        target=source.target,
        labels=source.test_labels,
        arrays=_test_arrays(source.arrays),
        feature_names=dataset.feature_names,
        width=dataset.features.shape[1],
        reading=source.told_of_test(),
        fitted=dataset.reading,
        usual_target=dataset.target_name,
        keep_texts=keep_texts,
        scratch=scratch,
    )
    return _all_samples(test, "test")


def _test_arrays(arrays: Mapping[str, str] | None) -> dict[str, str] | None:
    """Return the names in a file of its own: those for the test, else those for the fit."""
    if arrays is None:
        return None
    names = {role: arrays.get(f"{role}_test", arrays.get(role)) for role in ("X", "y")}
    return {role: name for role, name in names.items() if name is not None}
