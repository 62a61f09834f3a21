"""Files that are mapped into memory: checked before they are read, given back after.

An array in one of them is handed to another process by the name of the file (`MappedArray`).
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from bridle import checks

# Pages that were read of a larger mapped file are given back: memory is bounded, whatever its size.
RESIDENT_BYTES = 2**28
# So much of it is read before: of many small blocks each would wait for the system.
_READ_BYTES = 2**24


def blocks(values: Any, step: int) -> Iterator[tuple[slice, Any]]:
    """Yield ``(which rows, a view of them)`` of an array or a tensor, ``step`` at a time.

    The pages of a large mapped file are given back on the way: a view is good until the next.

    Raises
    ------
    InputError
        The file has become shorter since.
    """
    release, mapping, read = releaser(values), mapped_file(values), 0
    for begin in range(0, len(values), step):
        check_size(mapping)
        block = values[begin : begin + step]
        yield slice(begin, begin + len(block)), block
        if release is not None:
            read += block.nbytes
            if read >= _READ_BYTES or begin + step >= len(values):
                release()
                read = 0


def mapped_file(array: Any) -> tuple[Any, int, str | None] | None:
    """Return the mapping that an array lies in, the bytes its file must have, and its name.

    A temporary file that nobody else can open has no name.
    """
    for base in _bases(array):
        if isinstance(base, np.memmap) and isinstance(base.base, mmap.mmap):
            start = base.offset - base.offset % mmap.ALLOCATIONGRANULARITY
            name = None if base.filename is None else str(base.filename)
            return base.base, start + len(base.base), name
    return None


def _bases(array: Any) -> Iterator[Any]:
    """Yield an array, the one that it is a view of, and so on."""
    while isinstance(array, np.ndarray):
        yield array
        array = array.base


class MappedArray(NamedTuple):
    """Where in which file a mapped array lies: what another process needs to open it itself."""

    file: str
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def of(cls, array: Any) -> MappedArray | None:
        """Return where a read-only array lies; None for one in no file with a name, or writable."""
        mapped = mapped_file(array)
        if mapped is None or array.flags.writeable or _may_differ(array):
            return None
        mapping, needed, file = mapped
        if file is None:
            return None
        begin = np.frombuffer(mapping, np.uint8).__array_interface__["data"][0]
        offset = array.__array_interface__["data"][0] - begin + needed - len(mapping)
        return cls(file, offset, array.dtype, array.shape, array.strides)

    def open(self) -> Any:
        """Return the array, mapped read-only.

        Raises
        ------
        InputError
            The file is not there, or shorter than it was.
        """
        try:
            whole = np.memmap(self.file, np.uint8, "r")
            return np.ndarray(self.shape, self.dtype, whole, self.offset, self.strides)
        except (OSError, ValueError, TypeError) as error:
            raise checks.InputError(
                f"{self.file}: expected the file that another process has found ({error})"
            ) from None


def _may_differ(array: Any) -> bool:
    """Tell whether a mapped array may hold changes that its file has not."""
    return any(getattr(base, "mode", None) == "c" for base in _bases(array))


def opened(array: Any) -> Any:
    """Return the array that `MappedArray` tells of, and any other object as it is."""
    return array.open() if isinstance(array, MappedArray) else array


def check_size(mapped: tuple[Any, int, str | None] | None) -> None:
    """Refuse a file that has become shorter than its mapping, before it is read.

    Reading beyond the end of a mapped file ends the process, with nothing that Python could catch.
    So does a file that is cut short while a block is read: that much cannot be seen here.
    """
    if mapped is None:
        return
    mapping, needed, name = mapped
    size = mapping.size()
    if size < needed:
        raise checks.InputError(
            f"{name}: was cut short while it was read: expected {needed} bytes, found {size}",
            expected=f"{needed} bytes",
            found=f"{size} bytes",
        )


def releaser(array: Any, read_together: int = 0) -> Callable[[], None] | None:
    """Return what gives the pages of a large mapped file back; None for any other array.

    Small files are large together: of arrays that are read one after the other,
    ``read_together`` is how many bytes all of them have. The next read maps it again. Not so where
    the mapping may hold changes that no file has.
    """
    if not isinstance(array, np.ndarray) or max(array.nbytes, read_together) <= RESIDENT_BYTES:
        return None
    base: Any = array
    read_only = False
    while isinstance(base, np.ndarray):
        read_only = read_only or getattr(base, "mode", None) == "r"
        base = base.base
    if not (read_only and isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED")):
        return None
    mapping = base
    return lambda: mapping.madvise(mmap.MADV_DONTNEED)
