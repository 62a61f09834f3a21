"""MNIST's idx format: two zeros, a type, the number of axes, their lengths, then the numbers.

It has no well-kept library, and needs none: everything is big-endian, and the header says how
long the file must be.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.data import files, npy
from bridle.data.scratch import Scratch

Array = npt.NDArray[Any]

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_ENDING = re.compile(r"[-._]idx[0-9]*(-[a-z]+)?(\.gz)?$", re.IGNORECASE)


def is_idx(path: Path) -> bool:
    """Tell by its name whether a file is idx: ``train-images-idx3-ubyte.gz``, ``images.idx``."""
    return _ENDING.search(path.name) is not None


def read_idx(path: Path, scratch: Scratch | None = None) -> Array:
    """Return the array of an idx file: memory-mapped, or unpacked where it is ``.gz``.

    That is mapped too, where there is a ``scratch``.
    """
    with files.parsing(path, "idx"), files.open_bytes(path) as stream:
        magic = stream.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES or magic[3] == 0:
            raise files.broken(path, f"not idx: the first bytes are {magic.hex(' ') or 'none'}")
        lengths = stream.read(4 * magic[3])
        if len(lengths) < 4 * magic[3]:
            raise files.broken(path, f"truncated: {magic[3]} axes declared, the header ends before")
        shape = tuple(np.frombuffer(lengths, ">u4").tolist())
        dtype = np.dtype(_DTYPES[magic[2]])
        start = 4 + len(lengths)
        size = math.prod(shape) * dtype.itemsize
        _check_size(path, shape, size, start)
        if files.is_gzip(path):
            content = files.read_exactly(stream, size, scratch)
            if content.size < size or stream.read(1):
                found = "more" if content.size == size else str(content.size)
                raise files.broken(path, f"shape {shape} takes {size} bytes, found {found}")
            return content.view(dtype).reshape(shape)
    return npy.map_array(path, start, (shape, False, dtype), size)


def _check_size(path: Path, shape: tuple[int, ...], size: int, start: int) -> None:
    held = path.stat().st_size
    if files.is_gzip(path):
        if start + size > files.largest_content(held):
            raise files.broken(
                path,
                f"truncated: shape {shape} takes {size} bytes, too many for {held} packed ones",
            )
    elif start + size != held:
        which = "truncated" if start + size > held else "too long"
        raise files.broken(path, f"{which}: shape {shape} takes {size} bytes, found {held - start}")
