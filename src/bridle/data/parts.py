"""What a reader is asked for, and the arrays it hands over."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.data import files
from bridle.data.reading import Reading, Selection
from bridle.data.scratch import Scratch

Array = npt.NDArray[Any]
Features = Any  # a dense array or a SciPy sparse one


@dataclass(frozen=True)
class Request:
    """The arguments of `bridle.data.load`."""

    source: str  # as the user typed it, for messages
    # The files that it means, where these are several: they lie below each other.
    files: tuple[Path, ...] = ()
    target: str | None = None
    labels: str | None = None
    feature_names: tuple[str, ...] | None = None
    width: int | None = None
    need_target: bool = True
    told: Reading = field(default_factory=Reading)
    fitted: Reading | None = None
    selection: Selection = field(default_factory=Selection)
    # A table's columns as they are, for who matches them by name: no target chosen, no features.
    as_table: bool = False
    # Whether the texts that words are made of are kept, for who shows them.
    keep_texts: bool = False
    # The column that a model's target was in: taken where it is there and nothing else was said.
    usual_target: str | None = None
    arrays: Mapping[str, str] | None = None
    training_rows: Callable[[Array], Array] | None = None
    # Whether a set to test on that the data hold beside the one to fit is of use.
    wants_test: bool = True
    # Where arrays go that are parsed or unpacked, each file's at once; None: they stay in memory.
    scratch: Scratch | None = None

    @property
    def has_model(self) -> bool:
        """Whether the data are for a model that is fitted already."""
        return self.width is not None or self.feature_names is not None

    @property
    def chooses_columns(self) -> bool:
        """Whether the user says which columns are learnt from: in a fit alone."""
        return not (self.has_model or self.as_table)

    @property
    def likely(self) -> Reading:
        """How the files of the fit were read; nothing is known while there is no model."""
        return self.fitted or Reading()

    @property
    def reading(self) -> Reading:
        """What is known before the file is seen: the user's word, then the model's."""
        return self.told.over(self.likely)

    @property
    def expected_width(self) -> int | None:
        """How many features a fitted model asks for; None while there is no model."""
        return self.width if self.feature_names is None else len(self.feature_names)


@dataclass(frozen=True)
class Part:
    """Features ``(N, D)`` of one file and, where it has them, raw labels and names of rows."""

    file: str
    features: Features
    target: Array | None = None
    ids: tuple[str, ...] | None = None
    # Bytes that are the brightness of pixels, all on one scale.
    pixels: bool = False
    # Of a row that was an image before it was laid flat: its sides, and its colours if it has any.
    image_shape: tuple[int, ...] | None = None
    # svmlight writes no zeros, so a file may be narrower than its neighbours and mean the same.
    pads_with_zeros: bool = False


def refuse_target_name(request: Request, kind: str, *, has_labels: bool = True) -> None:
    """Refuse the name of a target where nothing has names.

    A prediction does not mind, where the data have no labels that could be taken for that target.
    """
    if request.target is not None and (request.need_target or has_labels):
        raise checks.InputError(
            f"target: {request.source} is {kind} and has no column {files.quoted(request.target)}",
            argument="target",
            expected=f"a table with the column {files.quoted(request.target)}",
            found=kind,
        )


def refuse_labels(request: Request, kind: str) -> None:
    """Refuse a labels file where the data hold their labels themselves."""
    if request.labels is not None:
        raise checks.InputError(
            f"labels: {request.source} is {kind} and holds its own labels, "
            f"found {files.quoted(request.labels)}",
            argument="labels",
            expected="None where the data hold their own labels",
            found=files.quoted(request.labels),
        )


def refuse_selection(request: Request, kind: str) -> None:
    """Refuse a choice of columns, or a model that reads one's texts, where there is no table."""
    told = [f"--{each.name}" for each in fields(Selection) if getattr(request.selection, each.name)]
    if told:
        raise checks.InputError(
            f"{', '.join(told)}: expected a table, {request.source} is {kind}",
            argument=", ".join(told),
            expected="a table",
            found=kind,
        )
    if request.likely.texts:
        raise checks.InputError.of(
            str(request.source),
            expected=(
                f"a table with the column {files.quoted(request.likely.texts[0].column)}, whose "
                "texts the model reads"
            ),
            found=kind,
        )


def refuse_arrays(request: Request, kind: str) -> None:
    """Refuse names of arrays where there are none."""
    if request.arrays:
        raise checks.InputError(
            f"--arrays: expected an .npz or .safetensors file of named arrays, {request.source} "
            f"is {kind}",
            argument="--arrays",
            expected="an .npz or .safetensors file of named arrays",
            found=kind,
        )


def feature_rows(array: Array, file: str, width: int | None = None) -> Array:
    """Return an array as features ``(N, D)``: images ``(N, H, W[, channels])`` are laid flat.

    An array of just as many numbers as a model has features, ``width``, is one row.
    """
    if array.dtype.kind not in "biuf":
        raise files.broken(file, f"features: expected real numbers, found {array.dtype}")
    if array.size == width and array.shape != (1, width):
        return array.reshape(1, -1)
    if array.ndim < 2:
        raise files.broken(file, f"features: expected shape (N, D), found {array.shape}")
    if 0 in array.shape:
        raise files.broken(
            file, f"features: expected at least one row and column, found shape {array.shape}"
        )
    return array if array.ndim == 2 else array.reshape(len(array), -1)


def are_pixels(array: Array) -> bool:
    """Tell whether an array, not yet laid flat, holds images in bytes."""
    return array.dtype == np.uint8 and array.ndim > 2


def image_shape(array: Array) -> tuple[int, ...] | None:
    """Return the shape of one image, where an array holds images: bytes with two sides or more."""
    return array.shape[1:] if are_pixels(array) and array.ndim <= 4 else None


def square_image_shape(width: int) -> tuple[int, ...] | None:
    """Return the shape of a square image of so many numbers, grey or in three colours.

    >>> square_image_shape(784), square_image_shape(3072), square_image_shape(10)
    ((28, 28), (32, 32, 3), None)
    """
    for colours in (1, 3):
        side = math.isqrt(width // colours)
        if colours * side * side == width:
            return (side, side) if colours == 1 else (side, side, 3)
    return None


def flattening_note(shape: tuple[int, ...]) -> tuple[str, ...]:
    """Return the remark that images were laid flat, if they were."""
    if len(shape) <= 2:
        return ()
    sides = " by ".join(str(side) for side in shape[1:])
    return (f"images of {sides} became {int(np.prod(shape[1:]))} columns",)
