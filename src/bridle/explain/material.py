"""What of some data a page holds: a few classes, features and samples, in few exact bytes.

The page trains on the very numbers that are in it, so whatever is left out is left out before the
optimum is computed, and is said.
"""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isqrt
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bridle.rows import Rows

Array = npt.NDArray[Any]

MOST_CLASSES, MOST_FEATURES, _MOST_PIXELS = 10, 24, 28 * 28
_MOST_SAMPLES, _MOST_BYTES = 4000, 150_000
_FINEST = 1000  # steps of a deviation, where features are no bytes
_PIXEL_NAME = re.compile(r"pixel_([0-9]+)_([0-9]+)")


@dataclass(frozen=True)
class Labelled:
    """Samples with their classes."""

    features: Rows
    target: Array  # labels (N,)


@dataclass(frozen=True)
class Material:
    """What a page is made from.

    Attributes
    ----------
    title : str
        What the data are called.
    train, held : Labelled
        Samples to learn from, and others to judge on.
    feature_names : sequence of str or None
    pixels : bool
        Whether the features are images in bytes.
    """

    title: str
    train: Labelled
    held: Labelled
    feature_names: Sequence[str] | None
    pixels: bool = False


@dataclass(frozen=True)
class Kept:
    """The samples of the page, as it computes with them.

    ``values`` are whole numbers; ``values · step`` are the features, of about unit size.
    """

    classes: Array
    names: tuple[str, ...]
    shape: tuple[int, int] | None  # of images
    values: Array  # (n + m, D) of uint8 or int16: those to learn from first
    target: Array  # (n + m,) class numbers
    held: int  # m
    step: float
    notes: tuple[str, ...]

    @property
    def train(self) -> tuple[Array, Array]:
        """Features and classes to learn from."""
        count = len(self.target) - self.held
        return self.features[:count], self.target[:count]

    @property
    def judged(self) -> tuple[Array, Array]:
        """Features and classes to judge on."""
        count = len(self.target) - self.held
        return self.features[count:], self.target[count:]

    @property
    def features(self) -> Array:
        """The features in float64, as the page has them."""
        return np.asarray(self.values * self.step)

    def to_dict(self) -> dict[str, Any]:
        """Return what the page reads: gzip in base64 for the numbers."""
        return {
            "count": len(self.target),
            "held": self.held,
            "width": self.values.shape[1],
            "step": self.step,
            "bytes": self.values.dtype.itemsize,
            "values": packed(self.values),
            "labels": self.target,
        }


def kept(material: Material, weight: Array | None = None) -> Kept:
    """Choose classes, features and samples, and make the features whole numbers.

    ``weight`` (K, D) of a classifier tells which features matter, where there are too many.
    """
    notes: list[str] = []
    classes = _classes(material.train.target, notes)
    train, held = (_of_classes(each, classes) for each in (material.train, material.held))
    if not len(held.target):
        train, held = _parted(train)
    train, held = _fewer(train, held)
    shape = image_shape(material)
    columns = np.arange(train.features.shape[1])
    if shape is None:
        columns = _columns(train, weight, notes)
    given = material.feature_names
    names = [given[column] if given else f"feature {column}" for column in columns.tolist()]
    values, step, shape = _whole_numbers(_both(train, held, columns), len(train.target), shape)
    target = np.searchsorted(classes, np.concatenate([train.target, held.target]))
    found = Kept(classes, tuple(names), shape, values, target, len(held.target), step, tuple(notes))
    return _within(found, _MOST_BYTES, len(material.train.target))


def image_shape(material: Material) -> tuple[int, int] | None:
    """Return height and width of square grey images; None where features are something else."""
    width = material.train.features.shape[1]
    side = isqrt(width)
    if side * side != width or width > _MOST_PIXELS or side < 4:
        return None
    named = [_PIXEL_NAME.fullmatch(name) for name in material.feature_names or ()]
    if material.pixels or (named and all(named)):
        return side, side
    return None


def _classes(target: Array, notes: list[str]) -> Array:
    classes, counts = np.unique(target, return_counts=True)
    if len(classes) <= MOST_CLASSES:
        return classes
    notes.append(f"the {MOST_CLASSES} most frequent of {len(classes)} classes")
    return np.sort(classes[np.argsort(-counts, kind="stable")[:MOST_CLASSES]])


def _of_classes(samples: Labelled, classes: Array) -> Labelled:
    rows = np.flatnonzero(np.isin(samples.target, classes))
    if len(rows) == len(samples.target):
        return samples
    return Labelled(samples.features.take(rows), samples.target[rows])


def _parted(samples: Labelled) -> tuple[Labelled, Labelled]:
    """Return the samples but for every fifth, and those: where no others are of their classes."""
    held = np.arange(len(samples.target)) % 5 == 4
    parts = (np.flatnonzero(~held), np.flatnonzero(held))
    first, second = (Labelled(samples.features.take(p), samples.target[p]) for p in parts)
    return first, second


def _fewer(train: Labelled, held: Labelled) -> tuple[Labelled, Labelled]:
    """Return at most so many samples of both, in the proportion they have."""
    share = min(1.0, _MOST_SAMPLES / (len(train.target) + len(held.target)))
    return _first(train, share), _first(held, share)


def _first(samples: Labelled, share: float) -> Labelled:
    """Return a share of the samples, drawn at random; with whole classes a share of each."""
    if share == 1:
        return samples
    random = np.random.default_rng(0)
    order = random.permutation(len(samples.target))
    rows = np.sort(order[: max(1, round(share * len(order)))])
    return Labelled(samples.features.take(rows), samples.target[rows])


def _columns(train: Labelled, weight: Array | None, notes: list[str]) -> Array:
    width = train.features.shape[1]
    if width <= MOST_FEATURES:
        return np.arange(width)
    if weight is None:
        return np.arange(MOST_FEATURES)
    notes.append(f"the {MOST_FEATURES} of {width} features that weigh most")
    size = np.linalg.norm(weight, axis=0) * deviation(train.features.to_array())
    return np.sort(np.argsort(-size, kind="stable")[:MOST_FEATURES])


def deviation(values: Any) -> Array:
    """Return the standard deviation of each column, of a dense or sparse array."""
    if not sparse.issparse(values):
        return np.asarray(values.std(axis=0, dtype=np.float64))
    mean, square = values.mean(axis=0), (values * values).mean(axis=0)
    return np.sqrt(np.maximum(np.asarray(square - mean**2, np.float64), 0))


def _both(train: Labelled, held: Labelled, columns: Array) -> Array:
    return np.concatenate([dense(each.features, columns) for each in (train, held)])


def dense(features: Rows, columns: Array | None = None) -> Array:
    """Return features, or some of their columns, as float64, whatever they are stored in."""
    values = features.to_array()
    chosen = values if columns is None else values[:, columns]
    return np.asarray(chosen.toarray() if sparse.issparse(chosen) else chosen, np.float64)


def _whole_numbers(
    values: Array, count: int, shape: tuple[int, int] | None
) -> tuple[Array, float, tuple[int, int] | None]:
    """Return the features as whole numbers and their step; images as they are, others standardised.

    The page's features have mean 0 and deviation 1 over the samples to learn from.
    """
    if shape is not None and _are_bytes(values):
        return values.astype(np.uint8), 1 / max(float(values.max()), 1.0), shape
    centre, scale = values[:count].mean(axis=0), values[:count].std(axis=0)
    standard = (values - centre) / np.where(scale > 0, scale, np.inf)
    steps = np.clip(np.rint(standard * _FINEST), -32_000, 32_000)
    return steps.astype(np.int16), 1 / _FINEST, shape


def _are_bytes(values: Array) -> bool:
    return bool(
        values.size and values.min() >= 0 and values.max() <= 255 and (values % 1 == 0).all()
    )


def _within(found: Kept, most: int, given: int) -> Kept:
    """Return as many of the samples as so many bytes of the page hold."""
    size = len(packed(found.values))
    count = len(found.target) - found.held
    if size > most:
        share = most / size * 0.97
        random = np.random.default_rng(0)
        learnt = np.sort(random.permutation(count)[: max(1, int(share * count))])
        held = np.sort(random.permutation(found.held)[: max(1, int(share * found.held))])
        rows = np.concatenate([learnt, count + held])
        found = replace(found, values=found.values[rows], target=found.target[rows], held=len(held))
        count = len(learnt)
    if count < given:
        found = replace(found, notes=(*found.notes, f"{count} of {given} samples to learn from"))
    return found


def packed(values: Array) -> str:
    """Return numbers, little-endian, as gzip in base64: the same bytes each time."""
    raw = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    return base64.b64encode(gzip.compress(raw, 9, mtime=0)).decode()
