"""NumPy's ``.npy``: the header is checked against the file, the numbers stay on disk."""

from __future__ import annotations

import math
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from bridle.data import files

Array = npt.NDArray[Any]
Header = tuple[tuple[int, ...], bool, np.dtype[Any]]  # shape, Fortran order, dtype

_MAGIC = b"\x93NUMPY"


def map_npy(path: Path) -> Array:
    """Return the array of an ``.npy`` file, memory-mapped and read-only."""
    with path.open("rb") as stream:
        header = read_header(stream, str(path))
        start = stream.tell()
    return map_array(path, start, header, path.stat().st_size - start)


def read_header(stream: IO[bytes], file: str) -> Header:
    """Read what comes before the numbers; refuse objects, which only a pickle can hold."""
    magic = stream.read(len(_MAGIC))
    if magic != _MAGIC:
        found = "a pickle, which is never read" if files.is_pickle(magic) else "other first bytes"
        raise files.broken(file, f"not an .npy array: found {found}")
    stream.seek(-len(_MAGIC), 1)
    with files.parsing(file, "an .npy array"):
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
        else:
            raise ValueError(f"version {version[0]}.{version[1]}, expected 1.0 or 2.0")
    if dtype.hasobject:
        raise files.broken(file, "holds pickled Python objects; pickles are never read")
    if dtype.kind == "V" or any(length < 0 for length in shape):
        raise files.broken(
            file, f"expected an array of numbers or texts, found {dtype} of shape {shape}"
        )
    return tuple(shape), fortran, dtype


def content_size(header: Header) -> int:
    """Return how many bytes the numbers take that a header declares."""
    shape, _, dtype = header
    return math.prod(shape) * dtype.itemsize


def map_array(path: Path, start: int, header: Header, available: int, name: str = "") -> Array:
    """Memory-map an array that starts at a byte of a file and must end within ``available``."""
    shape, fortran, dtype = header
    size = content_size(header)
    if size > available:
        raise files.broken(
            f"{path}{name}",
            f"truncated: shape {shape} of {dtype} takes {size} bytes, found {available}",
        )
    with files.parsing(path, "an array"):
        if size == 0:  # nothing to map, and mmap refuses to
            return np.empty(shape, dtype)
        return np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C")
