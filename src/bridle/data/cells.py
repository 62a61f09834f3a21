"""The cells of a table of text: in memory as pandas parsed them, or in a temporary file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from bridle.data.scratch import Scratch

Array = npt.NDArray[Any]
Frame = Any  # a pandas DataFrame whose columns are numbered by place

# Of a file that goes to a temporary one, so many cells are in memory at a time.
CELLS_AT_A_TIME = 2**20
_BETWEEN = "\0"  # which no table of text has: it would be refused


class Cells(Protocol):
    """The cells of one file, as they stand in it."""

    count: int
    has_gaps: bool  # whether a row has fewer cells than others

    def column(self, place: int, most: int | None = None) -> Array:
        """Return the cells of a column as texts (objects), the first ones or all."""


class FrameCells:
    """Cells in memory."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self.count = len(frame)
        self.has_gaps = bool(frame.isna().any(axis=None))

    def column(self, place: int, most: int | None = None) -> Array:
        """Return the cells of a column."""
        return np.asarray(self._frame[place].iloc[:most].to_numpy(dtype=object))


class _Piece(NamedTuple):
    """Cells of some rows, column by column, with a null character after each but the last."""

    text: Array  # in UTF-8
    ends: list[int]  # of the columns in it

    def column(self, place: int, most: int | None) -> list[str]:
        content = self.text[self.ends[place] : self.ends[place + 1]].tobytes()
        text = content.decode("utf-8", "surrogatepass")
        return text.split(_BETWEEN) if most is None else text.split(_BETWEEN, most)[:most]


class KeptCells:
    """Cells in a temporary file, to which they go some rows at a time."""

    def __init__(self, frames: Iterable[Frame], scratch: Scratch) -> None:
        self._pieces = list[_Piece]()
        self.count, self.has_gaps = 0, False
        for frame in frames:
            self.count += len(frame)
            self.has_gaps = self.has_gaps or bool(frame.isna().any(axis=None))
            if len(frame) and not self.has_gaps:
                self._pieces.append(_kept(frame, scratch))

    def column(self, place: int, most: int | None = None) -> Array:
        """Return the cells of a column."""
        found = list[str]()
        for piece in self._pieces:
            found += piece.column(place, None if most is None else most - len(found))
            if len(found) == most:
                break
        column = np.empty(len(found), object)
        column[:] = found
        return column


def _kept(frame: Frame, scratch: Scratch) -> _Piece:
    texts, ends = [], [0]
    for place in frame:
        cells = frame[place].to_numpy(dtype=object).tolist()
        content = _BETWEEN.join(cells).encode("utf-8", "surrogatepass")
        texts.append(np.frombuffer(content, np.uint8))
        ends.append(ends[-1] + len(content))
    return _Piece(scratch.written(texts), ends)
