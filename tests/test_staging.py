"""The order of reading, copying and computing on CUDA: played through with streams of our own.

A stream here holds what it was given to do, and does it when it likes: early, late or at random, as
a device may, but in its order, and not before the events that it waits for. What would be written
over while it is still read, or read before it is there, shows as a wrong number.
"""

from __future__ import annotations

import copy
import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import pytest

from bridle import InputError, staging
from bridle.rows import Rows

torch: Any = pytest.importorskip("torch", reason="PyTorch is an extra")
WIDTH = 3
When = Literal["early", "late", "random"]


class PlayedEvent:
    def __init__(self) -> None:
        self.stream: PlayedStream | None = None
        self.place = 0

    def record(self, stream: PlayedStream) -> None:
        self.stream, self.place = stream, stream.given

    def synchronize(self) -> None:
        if self.stream is not None:
            self.stream.run_up_to(self.place)

    @property
    def is_done(self) -> bool:
        return self.stream is None or self.stream.done >= self.place


class PlayedStream:
    def __init__(self, device: Any = None) -> None:
        del device
        self.waiting: deque[Any] = deque()
        self.given = self.done = 0

    def give(self, work: Callable[[], object] | PlayedEvent) -> None:
        self.waiting.append(work)
        self.given += 1

    def wait_event(self, event: PlayedEvent) -> None:
        # What the event stands for now, whatever is recorded later.
        now = PlayedEvent()
        now.stream, now.place = event.stream, event.place
        self.give(now)

    def wait_stream(self, other: PlayedStream) -> None:
        event = PlayedEvent()
        event.record(other)
        self.wait_event(event)

    def synchronize(self) -> None:
        self.run_up_to(self.given)

    def can_step(self) -> bool:
        if not self.waiting:
            return False
        first = self.waiting[0]
        return not isinstance(first, PlayedEvent) or first.is_done

    def step(self) -> None:
        work = self.waiting.popleft()
        if not isinstance(work, PlayedEvent):
            work()
        self.done += 1

    def run_up_to(self, place: int) -> None:
        while self.done < place:
            if not self.can_step():
                self.waiting[0].synchronize()
            self.step()


class Played:
    """Stands for `torch.cuda`, and for PyTorch as the buffers see it."""

    Event, Stream = PlayedEvent, PlayedStream

    def __init__(self, when: When, seed: int) -> None:
        self.when, self.random = when, random.Random(seed)
        self.computing = PlayedStream()
        self.streams = [self.computing]
        self.current: PlayedStream | None = None
        self.cuda = self

    def current_stream(self, device: Any) -> PlayedStream:
        del device
        return self.computing

    @contextmanager
    def stream(self, stream: PlayedStream) -> Iterator[None]:
        if stream not in self.streams:
            self.streams.append(stream)
        self.current = stream
        yield
        self.current = None

    def empty(self, shape: Any, *, dtype: Any, pin_memory: bool = False, device: Any = None) -> Any:
        del device
        made = torch.full(shape, -1, dtype=dtype)
        return made if pin_memory else PlayedMemory(self, made)

    def computed(self, block: PlayedMemory) -> Any:
        """Return what the device computes of a block, a copy, once it has done so."""
        result = torch.full_like(block.held, -2)
        self.computing.give(lambda: result.copy_(block.held))
        return result

    def pass_time(self) -> None:
        """Let the streams do what they like."""
        steps = {"early": 10**6, "late": 0, "random": self.random.randrange(6)}[self.when]
        for _ in range(steps):
            able = [stream for stream in self.streams if stream.can_step()]
            if not able:
                return
            self.random.choice(able).step()


class PlayedMemory:
    """A tensor on the device, to which a stream copies."""

    def __init__(self, played: Played, held: Any) -> None:
        self.played, self.held = played, held

    def __len__(self) -> int:
        return len(self.held)

    def __getitem__(self, rows: slice) -> PlayedMemory:
        return PlayedMemory(self.played, self.held[rows])

    def copy_(self, source: Any, *, non_blocking: bool) -> None:
        assert non_blocking
        stream = self.played.current
        assert stream is not None
        stream.give(lambda: self.held.copy_(source))


@pytest.mark.parametrize("when", ["early", "late", "random"])
@pytest.mark.parametrize(("count", "piece", "rows"), [(1, 4, 4), (23, 2, 5), (40, 4, 8), (9, 9, 9)])
def test_nothing_is_written_over_that_is_still_read(
    when: When, count: int, piece: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(20 if when == "random" else 1):
        played = Played(when, seed)
        staged = _staging(played, piece, monkeypatch)
        for number in range(3):  # passes, with the buffers of the first
            found: list[Any] = []
            expected: list[Any] = []
            size = max(1, rows - number)
            for which, block in staged.blocks(_counting(played, number), count, size):
                # Products are given to the device, which makes them later.
                for _ in range(3):
                    found.append(played.computed(block))
                    played.pass_time()
                expected += [_rows_of(number, which.start, which.stop)] * 3
            played.computing.synchronize()
            assert len(found) == 3 * -(-count // size)
            assert (torch.cat(found) == torch.cat(expected)).all()


@pytest.mark.parametrize("when", ["early", "late", "random"])
def test_a_pass_that_was_stopped_leaves_nothing_behind(
    when: When, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(20 if when == "random" else 1):
        played = Played(when, seed)
        staged = _staging(played, 2, monkeypatch)
        found: list[Any] = []
        for which, block in staged.blocks(_counting(played, 7), 40, 6):
            found.append(played.computed(block))
            if which.start == 12:
                break
        whole = staged.whole(_counting(played, 9), 5)
        played.computing.synchronize()
        assert (torch.cat(found) == _rows_of(7, 0, 18)).all()
        assert (whole.held == _rows_of(9, 0, 5)).all()


def test_the_host_runs_at_most_two_copies_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played("late", 0)
    staged = _staging(played, 2, monkeypatch)
    for _, _ in staged.blocks(_counting(played, 0), 40, 8):
        copies = [stream for stream in played.streams if stream is not played.computing]
        assert sum(callable(work) for each in copies for work in each.waiting) <= 2


def _staging(played: Played, piece: int, monkeypatch: pytest.MonkeyPatch) -> staging.Staging:
    staged = staging.Staging(torch.device("cuda", 0), WIDTH, torch.int64)
    monkeypatch.setattr(staging, "_BUFFER_BYTES", piece * WIDTH * 8)
    monkeypatch.setitem(staging.sys.modules, "torch", played)  # type: ignore[attr-defined]
    buffers = staged._new_buffers()
    monkeypatch.undo()
    monkeypatch.setattr(staging, "_BUFFER_BYTES", piece * WIDTH * 8)
    assert type(buffers).__name__ == "_PinnedBuffers"
    staged._idle.append(buffers)
    return staged


def _counting(played: Played, number: int) -> staging.Fill:
    """Return what fills rows with their own numbers, and those of the pass."""

    def fill(begin: int, into: Any) -> None:
        played.pass_time()
        into.copy_(_rows_of(number, begin, begin + len(into)))

    return fill


def _rows_of(number: int, begin: int, end: int) -> Any:
    return (1000 * number + torch.arange(begin, end))[:, None].expand(-1, WIDTH)


def test_rows_on_their_way_are_copied_without_their_buffers() -> None:
    rows = Rows([np.arange(12.0).reshape(6, 2)]).streamed_to("cpu")
    for again in (rows, copy.deepcopy(rows), copy.deepcopy(copy.deepcopy(rows))):
        found = [block.clone() for _, block in again.tensor_blocks(4, np.dtype(np.float64))]
        assert torch.equal(torch.cat(found), torch.arange(12.0).double().view(6, 2))
    assert rows._staging is not None
    assert rows._staging._idle
    assert not copy.deepcopy(rows._staging)._idle


def test_numbers_of_rows() -> None:
    parts = [np.arange(6.0).reshape(3, 2), np.arange(6.0, 12).reshape(3, 2)]
    for rows in (Rows(parts), Rows(parts).streamed_to("cpu")):
        chosen = rows.take(np.array([-1, 0, 3]))
        np.testing.assert_array_equal(chosen.to_array()[:, 0], [10, 0, 6])
        np.testing.assert_array_equal(chosen.take(np.array([-1])).to_array()[:, 0], [6])
        for wrong in (6, -7):
            with pytest.raises(InputError, match=f"index: expected rows below 6, found {wrong}"):
                rows.take(np.array([0, wrong]))
