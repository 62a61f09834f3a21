"""Rows on their way from the host to a device: through two buffers, which take turns.

On CUDA the buffers are pinned and copied by a stream of their own: while one is copied, the other
is filled, and the device computes on the rows that came before. What is read waits for its copy,
and nothing is written over that is still being read:

=================================  ================================================
who waits                          for what
=================================  ================================================
the host, to fill a buffer         its last copy to be done
the copy, into a block's memory    the products of the block that was there before
the products of a block            its copy
=================================  ================================================

Where these overlap without a thread of Python's own, there is none that a stop could leave behind.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

Tensor = Any
# Writes rows from a certain one on into a tensor on the host, as many as it has.
Fill = Callable[[int, Tensor], None]

# Of a buffer on the host: long enough for the copy's full speed, short enough to wait for.
_BUFFER_BYTES = 2**25
# Of a block on the device, at most: of a pass, reading its first block is what nothing overlaps.
_BLOCK_BYTES = 2**27


class Staging:
    """The way to a device for rows of one width and dtype; its memory is kept between passes.

    Parameters
    ----------
    device : torch.device
        Where blocks go.
    width : int
        Of the rows.
    kind : torch.dtype
        In which they travel.
    """

    def __init__(self, device: Any, width: int, kind: Any) -> None:
        self.device, self.kind = device, kind
        self._width = width
        self._row_bytes = max(1, width * kind.itemsize)
        self._idle: list[_Buffers] = []

    def __getstate__(self) -> dict[str, Any]:
        """Leave the buffers behind: a copy has its own."""
        return {**self.__dict__, "_idle": []}

    def blocks(self, fill: Fill, count: int, rows: int) -> Iterator[tuple[slice, Tensor]]:
        """Yield ``(which rows, they on the device)`` of ``count``, at most ``rows`` at a time.

        A block is good until the next one is asked for.
        """
        yield from self._sent(fill, count, min(rows, max(1, _BLOCK_BYTES // self._row_bytes)))

    def whole(self, fill: Fill, count: int) -> Tensor:
        """Return all of ``count`` rows on the device."""
        block = next(self._sent(fill, count, count), None)
        if block is not None:
            return block[1]
        return sys.modules["torch"].empty((0, self._width), dtype=self.kind, device=self.device)

    def _sent(self, fill: Fill, count: int, rows: int) -> Iterator[tuple[slice, Tensor]]:
        if count == 0:
            return
        rows = min(rows, count)
        # Two passes at the same time do not share their buffers.
        buffers = self._idle.pop() if self._idle else self._new_buffers()
        try:
            piece = max(1, min(_BUFFER_BYTES // self._row_bytes, rows))
            buffers.begin(piece, rows, blocks=min(2, -(-count // rows)))
            for number, first in enumerate(range(0, count, rows)):
                turn, last = number % 2, min(first + rows, count)
                block = buffers.block(turn)[: last - first]
                for begin in range(first, last, piece):
                    end = min(begin + piece, last)
                    buffers.send(fill, begin, block[begin - first : end - first])
                buffers.arrive()
                yield slice(first, last), block
                buffers.was_read(turn)
        finally:
            buffers.arrive()  # of a pass that was stopped too: what is on its way is not overtaken
            self._idle.append(buffers)

    def _new_buffers(self) -> _Buffers:
        kind = _PinnedBuffers if self.device.type == "cuda" else _Buffers
        return kind(self.device, self._width, self.kind)


class _Buffers:
    """Two buffers on the host and two blocks on a device, where what is sent is there at once."""

    _pinned = False

    def __init__(self, device: Any, width: int, kind: Any) -> None:
        self._torch: Any = sys.modules["torch"]
        self._device, self._width, self._kind = device, width, kind
        self._on_host: list[Tensor] = []
        self._there: list[Tensor] = []
        self._turn = 0

    def begin(self, piece: int, rows: int, *, blocks: int) -> None:
        """Have room for pieces of so many rows, and for one or two blocks, before a pass."""
        if not _have_room(self._on_host, 2, piece):
            self._on_host.clear()  # before there are others
            self._on_host += [
                self._torch.empty(
                    (piece, self._width), dtype=self._kind, device="cpu", pin_memory=self._pinned
                )
                for _ in range(2)
            ]
        if not _have_room(self._there, blocks, rows):
            self._there.clear()
            self._there += [
                self._torch.empty((rows, self._width), dtype=self._kind, device=self._device)
                for _ in range(blocks)
            ]

    def block(self, turn: int) -> Tensor:
        """Return a block's memory, to be written to."""
        return self._there[turn]

    def send(self, fill: Fill, begin: int, there: Tensor) -> None:
        """Let rows be read, from one on, and copied to where they go."""
        there.copy_(self._filled(fill, begin, len(there)))

    def arrive(self) -> None:
        """Let products begin when all is there that was sent."""

    def was_read(self, turn: int) -> None:
        """Let a block be written over when the products of it are done."""

    def _filled(self, fill: Fill, begin: int, rows: int) -> Tensor:
        held = self._on_host[self._turn][:rows]
        fill(begin, held)
        return held


class _PinnedBuffers(_Buffers):
    """The same on CUDA: copies go on while the host reads and the device computes."""

    _pinned = True

    def __init__(self, device: Any, width: int, kind: Any) -> None:
        super().__init__(device, width, kind)
        cuda = self._torch.cuda
        self._stream = cuda.Stream(device)
        self._computing = cuda.current_stream(device)
        self._copied = [cuda.Event(), cuda.Event()]
        self._read = [cuda.Event(), cuda.Event()]

    def begin(self, piece: int, rows: int, *, blocks: int) -> None:
        super().begin(piece, rows, blocks=blocks)
        self._computing = self._torch.cuda.current_stream(self._device)
        # A block's memory may have been another's, or of a pass that was stopped: still read.
        self._stream.wait_stream(self._computing)

    def block(self, turn: int) -> Tensor:
        self._stream.wait_event(self._read[turn])
        return super().block(turn)

    def send(self, fill: Fill, begin: int, there: Tensor) -> None:
        copied = self._copied[self._turn]
        copied.synchronize()
        held = self._filled(fill, begin, len(there))
        with self._torch.cuda.stream(self._stream):
            there.copy_(held, non_blocking=True)
        copied.record(self._stream)
        self._turn = 1 - self._turn

    def arrive(self) -> None:
        self._computing.wait_stream(self._stream)

    def was_read(self, turn: int) -> None:
        self._read[turn].record(self._computing)


def _have_room(tensors: list[Tensor], count: int, rows: int) -> bool:
    return len(tensors) >= count and len(tensors[0]) >= rows
