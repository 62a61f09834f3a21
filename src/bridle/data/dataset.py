"""The result of loading, and how arrays from one or several files become it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bridle import checks
from bridle.data import files, labels, targets
from bridle.data.columns import Table
from bridle.data.parts import Features, Part, Request
from bridle.data.reading import Reading
from bridle.data.shards import shard_of_row
from bridle.rows import Rows

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Dataset:
    """Features with, where there is one, the target to learn.

    Attributes
    ----------
    features : Rows
        ``(N, D)``, memory-mapped where the format allows.
    target : ndarray or None
        ``(N,)`` labels of any scalar type as they stand in the file, or ``(N, C)`` class
        probabilities.
    feature_names : tuple of str or None
        Names of the ``D`` columns, where the format has names.
    ids : tuple of str or None
        Names of the ``N`` rows (the path of an image, an ``id`` column); None means row numbers.
    source : str
        What the user typed.
    notes : tuple of str
        What was decided on the way, for a human to read.
    pixels : bool
        Whether the features are images in bytes: brightness, all on one scale.
    image_shape : tuple of int or None
        Of features that were an image before they were laid flat: its sides, and its colours.
    texts : tuple of str or None
        The texts that words are made of, one for each row, where `load` was asked to keep them.
    reading : Reading
        How the files were read, told or inferred, and what was learnt of their texts: for files
        that come later.
    target_name : str or None
        The column of the target, in a table.
    named : dict of str to tuple of str
        Columns of a table that name its rows and that a model does not use; the one of `ids` first.
    table : Table or None
        The columns themselves, where `load` was asked for them; there are no features then.
    taken : str
        Of a file that holds several sets, the names of what was taken.
    test : Dataset or None
        A set to test on that the same file holds.
    shards : tuple of (str, int)
        Of rows that several files hold, one below the other: each file, and how many it has.
    files : tuple of str
        The files that a list, or patterns, meant.
    """

    features: Rows
    target: Array | None
    feature_names: tuple[str, ...] | None
    ids: tuple[str, ...] | None
    source: str
    notes: tuple[str, ...] = ()
    pixels: bool = False
    image_shape: tuple[int, ...] | None = None
    texts: tuple[str, ...] | None = None
    reading: Reading = field(default_factory=Reading)
    target_name: str | None = None
    named: dict[str, tuple[str, ...]] = field(default_factory=dict)
    table: Table | None = None
    taken: str = ""
    test: Dataset | None = None
    shards: tuple[tuple[str, int], ...] = ()
    files: tuple[str, ...] = ()

    def with_its_file(self, error: checks.InputError) -> checks.InputError:
        """Return an error, whose row is counted over all files, which names the file and row."""
        if not self.shards or error.row is None:
            return error
        row = error.row[0] if isinstance(error.row, tuple) else error.row
        shard, own_row = shard_of_row([count for _, count in self.shards])(row)
        return error.found_among(self.shards[shard][0], row - own_row, counted_over_all=True)


def from_parts(parts: Sequence[Part], request: Request, notes: Sequence[str] = ()) -> Dataset:
    """Lay the arrays of one or several files below each other; labels come from them or a file."""
    features = Rows(_of_one_width(parts, request.expected_width))
    target, label_notes = _target(parts, request, len(features))
    ids = None if parts[0].ids is None else tuple(name for part in parts for name in part.ids or ())
    shards = (f"{len(parts)} shards, {parts[0].file} first",) if len(parts) > 1 else ()
    return Dataset(
        features=features,
        target=target,
        feature_names=request.feature_names,
        ids=ids,
        source=request.source,
        notes=(*shards, *notes, *label_notes),
        pixels=all(part.pixels for part in parts),
        image_shape=parts[0].image_shape,
        reading=request.reading,
        shards=_shards(parts),
    )


def _shards(parts: Sequence[Part]) -> tuple[tuple[str, int], ...]:
    if len(parts) == 1:
        return ()
    return tuple((part.file, int(part.features.shape[0])) for part in parts)


def _of_one_width(parts: Sequence[Part], expected: int | None) -> list[Features]:
    first = parts[0]
    if first.pads_with_zeros:
        return _padded(parts, expected)
    width = first.features.shape[1] if expected is None else expected
    reason = f"as {first.file} has" if expected is None else "as the model has"
    for part in parts:
        if part.features.shape[1] != width:
            raise files.broken(
                part.file, f"expected {width} columns, {reason}, found {part.features.shape[1]}"
            )
        if sparse.issparse(part.features) != sparse.issparse(first.features):
            raise files.broken(
                part.file, f"sparse and dense mixed: {first.file} is of the other kind"
            )
    return [part.features for part in parts]


def _padded(parts: Sequence[Part], expected: int | None) -> list[Features]:
    width = max(part.features.shape[1] for part in parts) if expected is None else expected
    for part in parts:
        rows, found = part.features.shape
        if found > width:
            raise files.broken(
                part.file, f"expected {width} columns, as the model has, found {found}"
            )
        part.features.resize(rows, width)
    return [part.features for part in parts]


def _target(
    parts: Sequence[Part], request: Request, count: int
) -> tuple[Array | None, tuple[str, ...]]:
    if request.labels is not None:
        return labels.read(request, count)
    without = next((part.file for part in parts if part.target is None), None)
    if without is None:
        return _joined_target(parts, request), ()
    if request.need_target or any(part.target is not None for part in parts):
        raise files.broken(without, "no labels found: give them with --labels FILE")
    return None, ()


def _joined_target(parts: Sequence[Part], request: Request) -> Array:
    raw = [np.asarray(part.target) for part in parts]
    for part, piece in zip(parts, raw, strict=True):
        rows = part.features.shape[0]
        if piece.ndim == 0 or len(piece) != rows:
            found = len(piece) if piece.ndim else "a single number"
            raise files.broken(part.file, f"{rows} rows of features, but labels for {found}")
        if _kind_and_shape(piece) != _kind_and_shape(raw[0]):
            raise files.broken(
                part.file,
                f"labels are {piece.dtype} of shape {piece.shape}, in {parts[0].file} "
                f"{raw[0].dtype} of shape {raw[0].shape}",
            )
    joined = raw[0] if len(raw) == 1 else np.concatenate(raw)
    shard_of = shard_of_row([len(piece) for piece in raw])

    def place(row: int) -> str:
        shard, own_row = shard_of(row)
        return f"{parts[shard].file}: row {own_row} of the labels"

    # Only of a table rows can be left out.
    return targets.as_target(joined, parts[0].file, place, replace(request.reading, na="error"))


def _kind_and_shape(labels: Array) -> tuple[bool, tuple[int, ...]]:
    return labels.dtype.kind in "USO", labels.shape[1:]
