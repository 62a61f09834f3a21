"""safetensors: the library checks the header, the numbers stay on disk."""

from __future__ import annotations

import functools
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.data import files, npy
from bridle.data.archive import Archive
from bridle.data.scratch import Scratch

Array = npt.NDArray[Any]

_DTYPES = {
    "BOOL": "?",
    "U8": "<u1",
    "I8": "<i1",
    "U16": "<u2",
    "I16": "<i2",
    "U32": "<u4",
    "I32": "<i4",
    "U64": "<u8",
    "I64": "<i8",
    "F16": "<f2",
    "BF16": "<u2",
    "F32": "<f4",
    "F64": "<f8",
}
_WIDENED_NUMBERS = 2**22  # at a time
_LENGTH = struct.Struct("<Q")  # of the header, before it


def open_safetensors(path: Path, scratch: Scratch | None = None) -> Archive:
    """List the arrays of a ``.safetensors`` file; bfloat16 goes to ``scratch``, if there is one."""
    import safetensors

    with files.parsing(path, "safetensors"):
        # For its checks of the header: lengths, overlaps, ends; it gives no offsets to map at.
        with safetensors.safe_open(path, framework="numpy"):
            pass
        with path.open("rb") as stream:
            (length,) = _LENGTH.unpack(stream.read(_LENGTH.size))
            entries = json.loads(stream.read(length))
    entries.pop("__metadata__", None)
    start = _LENGTH.size + length
    return Archive(
        str(path),
        tuple(sorted(entries)),
        functools.cache(lambda name: _read(path, name, start, entries[name], scratch)),
    )


def _read(
    path: Path, name: str, start: int, entry: dict[str, Any], scratch: Scratch | None
) -> Array:
    kind, shape = entry["dtype"], tuple(entry["shape"])
    if kind not in _DTYPES:
        raise files.broken(
            path, f"array {files.quoted(name)} is {kind}, expected one of {', '.join(_DTYPES)}"
        )
    begin, end = entry["data_offsets"]
    header = (shape, False, np.dtype(_DTYPES[kind]))
    array = npy.map_array(path, start + begin, header, end - begin, f": array {files.quoted(name)}")
    if kind != "BF16":
        return array
    if scratch is None:
        return _from_bfloat16(array)
    bits = array.reshape(-1)
    starts = range(0, len(bits), _WIDENED_NUMBERS)
    wide = (_from_bfloat16(bits[start : start + _WIDENED_NUMBERS]) for start in starts)
    return scratch.filled(shape, np.float32, wide)


def _from_bfloat16(bits: Array) -> Array:
    # A bfloat16 is the upper half of a float32; NumPy has no name for it, so it is widened once.
    wide = np.empty(bits.shape, np.uint32)
    np.left_shift(bits, 16, out=wide, dtype=np.uint32)
    return wide.view(np.float32)
