"""Arrays on disk in place of memory: those that were parsed or unpacked, until they are dealt out.

They lie in one temporary file without a name: nobody else can open it, and the system gives its
room back when the process ends, however it ends. What is in it is mapped, read-only.
"""

from __future__ import annotations

import itertools
import math
import mmap
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.mapped import mapped_file

Array = npt.NDArray[Any]
Features = Any  # a dense array or a SciPy sparse one

# So much of the file is mapped at a time: each mapping takes a descriptor, of which there are
# few. What is not written to takes no room.
_MAPPED_BYTES = 2**30
_ALIGNMENT = 64
_WRITTEN_BYTES = 2**24  # of an array at a time
# After so much was read or written, the pages of what was read are given back.
_READ_BYTES = 2**26


class Scratch:
    """A temporary file of arrays, in the folder that ``TMPDIR`` names.

    Examples
    --------
    >>> kept = Scratch().kept(np.eye(2))
    >>> kept.tolist(), kept.flags.writeable
    ([[1.0, 0.0], [0.0, 1.0]], False)
    """

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._end, self._is_written = 0, False
        # What of the file is mapped, and where that begins.
        self._mapping: Array = np.empty(0, np.uint8)
        self._begin = self._read = 0
        self._mappings: list[mmap.mmap] = []

    def written(self, pieces: Iterable[Array]) -> Array:
        """Write pieces one after the other, and return their bytes.

        Raises
        ------
        InputError
            No room for them.
        """
        assert not self._is_written, "pieces are written one array after the other"
        self._is_written = True
        begin = end = self._end
        try:
            with _told_of_room():
                file = self._opened()
                file.seek(begin)
            for piece in pieces:
                content = np.ascontiguousarray(piece).reshape(-1).view(np.uint8)
                with _told_of_room():
                    file.write(content.data)
                end += content.size
                self.is_read(content.size)
        finally:
            self._is_written = False
        self._end = end + -end % _ALIGNMENT
        with _told_of_room():
            return self._mapped(begin, end)

    def filled(
        self, shape: tuple[int, ...], dtype: npt.DTypeLike, pieces: Iterable[Array]
    ) -> Array:
        """Write an array piece by piece, in the order of its numbers, and return it.

        Raises
        ------
        InputError
            No room for it.
        """
        wanted = np.dtype(dtype)
        content = self.written(np.asarray(piece, wanted) for piece in pieces)
        assert content.size == math.prod(shape) * wanted.itemsize
        return content.view(wanted).reshape(shape) if content.size else np.empty(shape, wanted)

    def joined(self, pieces: Iterable[Array]) -> Array:
        """Write arrays below each other, and return them as `numpy.concatenate` does.

        Only one of them needs to be in memory at a time.

        Raises
        ------
        InputError
            No room for them.
        """
        runs = [
            self._run(dtype, of_dtype)
            for dtype, of_dtype in itertools.groupby(pieces, lambda piece: piece.dtype)
        ]
        if len(runs) == 1:
            return runs[0]
        shape = (sum(len(run) for run in runs), *runs[0].shape[1:])
        blocks = (block for run in runs for block in _in_pieces(run))
        return self.filled(shape, np.result_type(*(run.dtype for run in runs)), blocks)

    def _run(self, dtype: np.dtype[Any], pieces: Iterable[Array]) -> Array:
        shape = [0]

        def counted() -> Iterator[Array]:
            for piece in pieces:
                shape[:] = [shape[0] + len(piece), *piece.shape[1:]]
                yield from _in_pieces(piece)

        content = self.written(counted())
        return content.view(dtype).reshape(shape) if content.size else np.empty(shape, dtype)

    def kept(self, array: Array) -> Array:
        """Write an array, if it is not there already, and return it as it is there.

        Raises
        ------
        InputError
            No room for it.
        """
        file = mapped_file(array)
        if file is not None and file[0] in self._mappings:
            return array
        return self.filled(array.shape, array.dtype, _in_pieces(array))

    def kept_rows(self, rows: Features) -> Features:
        """Write the arrays of a sparse CSR array, and return it as it is there.

        Raises
        ------
        InputError
            No room for it.
        """
        from scipy import sparse

        # Given to the constructor, they would be copied into memory: they are a small part of what
        # is mapped.
        kept = sparse.csr_array(rows.shape, dtype=rows.dtype)
        kept.data, kept.indices = self.kept(rows.data), self.kept(rows.indices)
        kept.indptr = self.kept(rows.indptr)
        return kept

    def is_read(self, size: int) -> None:
        """Tell that so many bytes of what lies there are about to be read, or something of them."""
        self._read += size
        if self._read > _READ_BYTES:
            self.release()

    def release(self) -> None:
        """Give the pages back of whatever was read; the next read maps them again."""
        self._read = 0
        if hasattr(mmap, "MADV_DONTNEED"):
            for mapping in self._mappings:
                mapping.madvise(mmap.MADV_DONTNEED)

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="bridle-")  # noqa: SIM115 - kept open
        return self._file

    def _mapped(self, begin: int, end: int) -> Array:
        if begin == end:
            return np.empty(0, np.uint8)
        file = self._opened()
        file.flush()
        if not self._begin <= begin <= end <= self._begin + len(self._mapping):
            start = begin - begin % mmap.ALLOCATIONGRANULARITY
            length = max(end - start, _MAPPED_BYTES)
            file.truncate(start + length)
            mapping: Any = np.memmap(file, np.uint8, "r", start, (length,))
            mapping.filename = None  # on some systems it has a name, which is this process's alone
            self._mapping, self._begin = mapping, start
            self._mappings.append(mapping.base)
        return np.asarray(self._mapping[begin - self._begin : end - self._begin])


def _in_pieces(array: Array) -> Iterator[Array]:
    if array.ndim == 0:
        yield array
        return
    step = max(1, _WRITTEN_BYTES * len(array) // max(1, array.nbytes))
    for begin in range(0, len(array), step):
        yield array[begin : begin + step]


@contextmanager
def _told_of_room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        folder = tempfile.gettempdir()
        raise checks.InputError(
            f"{folder}: what was read of the files cannot be kept there meanwhile: "
            f"{error.strerror or error} (TMPDIR names another folder)"
        ) from None
