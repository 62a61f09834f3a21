"""``.parquet``: numbers, texts (dictionaries too), lists of numbers as embeddings, and images.

Images are what the `datasets` library of Hugging Face writes: a column of structs ``{bytes, path}``
whose bytes are those of an image's file.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
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
from bridle.data.scratch import Scratch
from bridle.data.table import to_dataset

Array = npt.NDArray[Any]

_PANDAS_INDEX = "__index_level_"
# What of a file, and of each of its columns, is read at a time where it is not kept in memory: what
# is told of a file's size counts numbers that repeat themselves once.
_BATCH_BYTES, _COLUMN_BYTES, _BATCH_ROWS = 2**20, 2**16, 2**16


def load_parquet(paths: Sequence[Path], request: Request) -> Dataset:
    """Load ``.parquet`` files."""
    return to_dataset([_table(path, request) for path in paths], request)


def _table(path: Path, request: Request) -> Table:
    checks.require("pyarrow", extra="parquet", purpose=f"reading {path}")
    from pyarrow import parquet

    with files.parsing(path, "parquet"):
        file = parquet.ParquetFile(path)
        if request.scratch is None:
            content = _looked_at(file.read())
        else:
            content = _mapped(file, request.scratch)
    names = [name for name in content.column_names if not name.startswith(_PANDAS_INDEX)]
    twice = next((name for name in names if content.column_names.count(name) > 1), None)
    if twice is not None:
        raise files.broken(path, f"two columns are called {files.quoted(twice)}")
    dates = frozenset(name for name in names if _is_date(content.field(name).type))
    pictures = frozenset(name for name in names if _holds_images(content.field(name).type))
    dropped = [name for name in content.column_names if name.startswith(_PANDAS_INDEX)]

    def pieces(name: str) -> Iterable[Array]:
        make = _pixels if name in pictures else _column
        return make(path, name, content.column(name), request)

    return Table(
        file=str(path),
        names=tuple(names),
        count=content.num_rows,
        read=columns.read_once(pieces, request.scratch),
        texts=lambda name: _texts(content.column(name)),
        place=lambda row: f"{path}: row {row}",
        typed=True,
        reading=request.reading,
        notes=tuple(f"column {name!r} is a saved index: not used" for name in dropped),
        images=pictures,
        dates=dates,
        chosen_by_user=request.chooses_columns,
        pieces=pieces,
        scratch=request.scratch,
    )


def _looked_at(content: Any) -> Any:
    """Return what was read, once offsets and texts are looked at, which Arrow trusts."""
    content.validate(full=True)
    return content


def _mapped(file: Any, scratch: Scratch) -> Any:
    """Return what a file holds as Arrow's own format, which is mapped and not parsed again."""
    import pyarrow

    described = file.metadata
    size = sum(described.row_group(place).total_byte_size for place in range(file.num_row_groups))
    at_a_time = max(_BATCH_BYTES, _COLUMN_BYTES * described.num_columns)
    rows = max(1, at_a_time * described.num_rows // max(size, 1))
    parsed = file.iter_batches(batch_size=min(rows, _BATCH_ROWS))
    batches = (_looked_at(pyarrow.Table.from_batches([batch])) for batch in parsed)
    content = scratch.written(_stream_of(file.schema_arrow, batches))
    pyarrow.default_memory_pool().release_unused()  # which it would keep for a file to come
    return pyarrow.ipc.open_stream(pyarrow.py_buffer(content)).read_all()


def _stream_of(schema: Any, batches: Iterator[Any]) -> Iterator[Array]:
    """Yield the bytes of Arrow's stream of record batches."""
    import pyarrow

    written = io.BytesIO()

    def taken() -> Array:
        content = np.frombuffer(written.getvalue(), np.uint8)
        written.seek(0)
        written.truncate()
        return content

    with pyarrow.ipc.new_stream(pyarrow.PythonFile(written, "w"), schema) as stream:
        for batch in batches:
            stream.write_table(batch)
            yield taken()
    yield taken()


def _texts(column: Any) -> Array:
    values = column.to_pylist()
    return np.array(["" if value is None else str(value) for value in values], object)


def _column(path: Path, name: str, column: Any, request: Request) -> Iterable[Array]:
    """Return the pieces of a column.

    Where gaps may be, NaN or an empty text stands for a missing value.
    """
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
            return [np.array([text or "" for text in column.to_pylist()], object)]
        if not _is_number(kind):
            expected = "expected numbers, texts, lists of numbers, or images as {bytes, path}"
            raise files.broken(path, f"{place} is of type {kind}, {expected}{advice}")
        if column.null_count:  # booleans too become numbers, so that NaN can be among them
            column = column.cast("float64")
        return [np.asarray(column.to_numpy())]


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


def _pixels(path: Path, name: str, column: Any, request: Request) -> Iterable[Array]:
    place, pictures = f"column {files.quoted(name)}", list[images.Picture]()
    for row, entry in enumerate(column):
        content = entry["bytes"].as_py() if entry.is_valid else None
        if content is None:
            where = entry["path"].as_py() if entry.is_valid else None
            elsewhere = "" if where is None else f": only a path, {files.quoted(where)}"
            raise files.broken(path, f"row {row}, {place}: the image is not in the file{elsewhere}")
        pictures.append(images.Picture(f"{path}: row {row}, {place}", content))
    if not pictures:
        return [np.empty((0, 0), np.uint8)]
    width = sum(each.startswith(f"{name}[") for each in request.feature_names or ())
    if request.scratch is not None:
        mode, _, _ = images.layout_of(pictures, width)
        return (pixels.reshape(1, -1) for pixels in images.decoded(pictures, mode))
    pixels, _ = images.read_pixels(pictures, f"{path}: {place}", width)
    return [pixels.reshape(len(pixels), -1)]


def _embedding(path: Path, place: str, column: Any) -> Iterator[Array]:
    """Return the pieces of a column of lists; a row that is missing is one of NaN."""
    from pyarrow import compute

    if not _is_number(column.type.value_type):
        raise files.broken(path, f"{place}: expected lists of numbers, found {column.type}")
    width = _common_width(path, place, column)
    if not column.num_chunks:
        return iter([np.empty((0, width))])
    starts = np.cumsum([0, *(len(chunk) for chunk in column.chunks)]).tolist()

    def piece(chunk: Any, start: int) -> Array:
        with files.parsing(path, "parquet"):
            known = _known_rows(chunk)
            there = chunk.filter(chunk.is_valid()) if chunk.null_count else chunk
            values = compute.list_flatten(there)
            if values.null_count:
                missing = int(np.argmax(values.is_null().to_numpy(zero_copy_only=False)))
                row = start + int(known[missing // width])
                raise files.broken(path, f"row {row}, {place}: missing value in the list")
            content = values.to_numpy(zero_copy_only=False).reshape(len(known), width)
        if not column.null_count:
            return np.asarray(content)
        filled = np.full((len(chunk), width), np.nan)
        filled[known] = content
        return filled

    return (piece(*each) for each in zip(column.chunks, starts, strict=False))


def _common_width(path: Path, place: str, column: Any) -> int:
    """Return how many numbers all lists of a column have that are there; 0 where none is."""
    from pyarrow import compute

    width = start = 0
    for chunk in column.chunks:
        known = _known_rows(chunk)
        found = compute.list_value_length(chunk).to_numpy(zero_copy_only=False)
        lengths = found[known].astype(np.int64)
        width = width or int(lengths[0] if len(lengths) else 0)
        ragged = (lengths != width) | (lengths == 0)
        if ragged.any():
            at = int(np.argmax(ragged))
            expected = f"{width} numbers as in row 0" if width else "at least one number"
            found_there = f"row {start + known[at]}, {place}: expected {expected}"
            raise files.broken(path, f"{found_there}, found {lengths[at]}")
        start += len(chunk)
    return width


def _known_rows(chunk: Any) -> Array:
    """Return the numbers of the rows that have a value."""
    if not chunk.null_count:
        return np.arange(len(chunk))
    return np.flatnonzero(chunk.is_valid().to_numpy(zero_copy_only=False))


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
