"""``.parquet``: numbers, texts (dictionaries too), lists of numbers as embeddings, and images.

Images are what the `datasets` library of Hugging Face writes: a column of structs ``{bytes, path}``
whose bytes are those of an image's file.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.data import columns, files, images
from bridle.data.columns import Table
from bridle.data.dataset import Dataset
from bridle.data.parts import Request
from bridle.data.reading import Reading
from bridle.data.table import to_dataset

Array = npt.NDArray[Any]

_PANDAS_INDEX = "__index_level_"


def load_parquet(paths: Sequence[Path], request: Request) -> Dataset:
    """Load ``.parquet`` files."""
    return to_dataset([_table(path, request) for path in paths], request)


def _table(path: Path, request: Request) -> Table:
    checks.require("pyarrow", extra="parquet", purpose=f"reading {path}")
    from pyarrow import parquet

    with files.parsing(path, "parquet"):
        content = parquet.ParquetFile(path).read()
        # Arrow trusts what it reads: offsets and texts are looked at once, here.
        content.validate(full=True)
    names = [name for name in content.column_names if not name.startswith(_PANDAS_INDEX)]
    twice = next((name for name in names if content.column_names.count(name) > 1), None)
    if twice is not None:
        raise files.broken(path, f"two columns are called {files.quoted(twice)}")
    dates = frozenset(name for name in names if _is_date(content.field(name).type))
    pictures = frozenset(name for name in names if _holds_images(content.field(name).type))
    dropped = [name for name in content.column_names if name.startswith(_PANDAS_INDEX)]
    read = cache(
        lambda name: (
            _pixels(path, name, content.column(name), request)
            if name in pictures
            else _column(path, name, content.column(name), request)
        )
    )
    return Table(
        file=str(path),
        names=tuple(names),
        count=content.num_rows,
        read=read,
        texts=lambda name: _texts(content.column(name)),
        place=lambda row: f"{path}: row {row}",
        typed=True,
        reading=request.reading,
        notes=tuple(f"column {name!r} is a saved index: not used" for name in dropped),
        images=pictures,
        dates=dates,
        chosen_by_user=request.chooses_columns,
    )


def _texts(column: Any) -> Array:
    values = column.to_pylist()
    return np.array(["" if value is None else str(value) for value in values], object)


def _column(path: Path, name: str, column: Any, request: Request) -> Array:
    """Return a column; where gaps may be, NaN or an empty text stands for a missing value."""
    from pyarrow import types

    reading, place = request.reading, f"column {files.quoted(name)}"
    gaps = reading.na not in (None, "error")
    advice = f"; --drop {name} leaves it out" if request.chooses_columns else ""
    with files.parsing(path, "parquet"):
        if types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if types.is_decimal(column.type):
            column = column.cast("float64")
        kind = column.type
        if types.is_null(kind):
            raise files.broken(path, f"{place}: no row has a value{advice}")
        can_have_gaps = gaps and (_is_number(kind) or _is_text(kind))
        if (
            column.null_count
            and not can_have_gaps
            and not (reading.na == "drop" and _is_list(kind))
        ):
            raise _gap(path, place, column, reading)
        if _is_list(kind):
            return _embedding(path, place, column)
        if _is_text(kind):
            return np.array([text or "" for text in column.to_pylist()], object)
        if not _is_number(kind):
            expected = "expected numbers, texts, lists of numbers, or images as {bytes, path}"
            raise files.broken(path, f"{place} is of type {kind}, {expected}{advice}")
        if column.null_count:  # booleans too become numbers, so that NaN can be among them
            column = column.cast("float64")
        return np.asarray(column.to_numpy())


def _gap(path: Path, place: str, column: Any, reading: Reading) -> checks.InputError:
    """Return the error of the first missing value."""
    from pyarrow import compute

    row = compute.index(compute.is_null(column), True).as_py()
    can_be_filled = _is_number(column.type) or _is_text(column.type)
    advice = columns.advice_on_missing(reading) if can_be_filled else ""
    return files.broken(path, f"row {row}, {place}: missing value{advice}")


def _holds_images(kind: Any) -> bool:
    from pyarrow import types

    if not types.is_struct(kind):
        return False
    fields = {kind.field(place).name: kind.field(place).type for place in range(kind.num_fields)}
    return (
        fields.keys() == {"bytes", "path"}
        and kind.num_fields == 2
        and bool(types.is_binary(fields["bytes"]) or types.is_large_binary(fields["bytes"]))
    )


def _pixels(path: Path, name: str, column: Any, request: Request) -> Array:
    place, pictures = f"column {files.quoted(name)}", list[images.Picture]()
    for row, entry in enumerate(column):
        content = entry["bytes"].as_py() if entry.is_valid else None
        if content is None:
            where = entry["path"].as_py() if entry.is_valid else None
            elsewhere = "" if where is None else f": only a path, {files.quoted(where)}"
            raise files.broken(path, f"row {row}, {place}: the image is not in the file{elsewhere}")
        pictures.append(images.Picture(f"{path}: row {row}, {place}", content))
    if not pictures:
        return np.empty((0, 0), np.uint8)
    width = sum(each.startswith(f"{name}[") for each in request.feature_names or ())
    pixels, _ = images.read_pixels(pictures, f"{path}: {place}", width)
    return pixels.reshape(len(pixels), -1)


def _embedding(path: Path, place: str, column: Any) -> Array:
    from pyarrow import compute

    if not _is_number(column.type.value_type):
        raise files.broken(path, f"{place}: expected lists of numbers, found {column.type}")
    if column.null_count:  # rows that are left out by what follows
        known = np.asarray(compute.is_valid(column).to_numpy())
        content = _embedding(path, place, column.filter(compute.is_valid(column)))
        filled = np.full((len(known), content.shape[1]), np.nan)
        filled[known] = content
        return filled
    lengths = np.asarray(compute.list_value_length(column).to_numpy())
    width = int(lengths[0]) if len(lengths) else 0
    ragged = (lengths != width) | (lengths == 0)
    if ragged.any():
        row = int(np.argmax(ragged))
        expected = f"{width} numbers as in row 0" if width else "at least one number"
        raise files.broken(path, f"row {row}, {place}: expected {expected}, found {lengths[row]}")
    values = compute.list_flatten(column)
    if values.null_count:
        row = compute.index(compute.is_null(values), True).as_py() // width
        raise files.broken(path, f"row {row}, {place}: missing value in the list")
    return np.asarray(values.to_numpy()).reshape(len(lengths), width)


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_date(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_temporal(kind) and not types.is_duration(kind))


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))
