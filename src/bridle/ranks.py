"""Processes of one job that answer questions together: the ranks of a `torch.distributed` group.

One of them, the driver (rank 0), asks; every rank answers from what it has, and the answers are
merged on their way to the driver, in an order that depends on their number alone. So no rank's
rounding can lead it to another decision than the others', and a rank that fails answers with its
error, which ends the work on all of them.

A rank says that it has something to hand over by a key in the group's store, and is waited for
there: who waits looks meanwhile for a sign of life, which a thread of each rank gives. Only what is
ready goes through the group's own operations, so that these need not wait long for anybody.

What is handed over is pickled, as in PyTorch's own collectives of objects: the ranks of a group are
one program and trust each other. No file is written or read.
"""

from __future__ import annotations

import io
import pickle
import reprlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.mapped import MappedArray
from bridle.tensors import is_tensor, on_host

Array = npt.NDArray[Any]
Store = Any  # torch.distributed.Store
Answer = TypeVar("Answer")
Result = TypeVar("Result")
Ask = Callable[[Any], Any]

DEFAULT_TIMEOUT = 60.0
# Arrays of more bytes go through the group's operations, from memory to memory; smaller ones in the
# message, through the store.
_INLINE_BYTES = 2**14
_PIECE_BYTES = 2**26
# Signs of life within a timeout.
_BEATS = 6
_SECONDS_TO_LEAVE = 5.0  # after an error, for the others to hear of it
_STORE_LOST = "the group's store is lost"
# Between two looks at the store: a small share of what was waited already, in seconds.
_SHARE_OF_WAIT, _SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 3e-4, 0.05


class RankError(RuntimeError):
    """What ended the work of a group on one of its ranks, or that a rank was lost.

    Attributes
    ----------
    rank : int or None
        Which one, where it is known.
    """

    def __init__(self, message: str, rank: int | None) -> None:
        super().__init__(message)
        self.rank = rank

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.rank)


class ClusterError(RuntimeError):
    """A Dask cluster without workers, or whose workers are lost again and again."""


class _Failure(NamedTuple):
    """An error as an answer, and what it was before it told of the rank."""

    rank: int | None
    error: checks.InputError | RankError
    found: checks.InputError | None = None


def _of_all(failures: Sequence[_Failure]) -> _Failure:
    """Return the first of all ranks' failures; without a name where all have found the same."""
    first = failures[0]
    same = {str(each.found) for each in failures}
    if first.found is None or len(same) > 1:
        return first
    return first._replace(error=first.found)


class _Ended(NamedTuple):
    """The driver's last word: the result of the work."""

    result: Any


class Alone:
    """One process that has all there is: it asks itself."""

    rank, size = 0, 1

    def gathered(self, make: Callable[[], Answer]) -> list[Answer]:
        """Return what each rank makes, in their order."""
        return [make()]

    def made(self, make: Callable[[], Result]) -> Result:
        """Return what this rank makes, once all have made theirs."""
        return make()

    def dealt(self, make: Callable[[], Iterable[Result]]) -> Result:
        """Return the first of what is made for each rank."""
        return next(iter(make()))

    def led(
        self, answer: Callable[[Any], Any], merge: Callable[[Any, Any, Any], Any],
        lead: Callable[[Ask], Result],
    ) -> Result:  # fmt: skip
        """Return the result of ``lead``, whose questions are answered here."""
        del merge
        return lead(answer)

    def __enter__(self) -> Alone:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def ranks_of(group: Any = None, *, timeout: float = DEFAULT_TIMEOUT) -> Alone | Ranks:
    """Return the ranks of a process group.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup, False or None
        None means all ranks where a process group was initialised, and else this process alone;
        False means this process alone.
    timeout : float
        Seconds without a sign of life after which a rank counts as lost.

    Raises
    ------
    InputError
        No group, or one that this process is not in.
    """
    timeout = checks.positive(timeout, "timeout")
    torch: Any = sys.modules.get("torch")
    has_groups = torch is not None and torch.distributed.is_available()
    if group is not None and group is not False:
        if not has_groups or not isinstance(group, torch.distributed.ProcessGroup):
            raise checks.InputError.of(
                "group", expected="a process group, False or None", found=reprlib.repr(group)
            )
    elif (
        group is False
        or _is_alone.get()
        or not has_groups
        or not torch.distributed.is_initialized()
    ):
        return Alone()
    if torch.distributed.get_rank(group) < 0:
        raise checks.InputError.of(
            "group", expected="a group that this process is in", found="another"
        )
    if torch.distributed.get_world_size(group) == 1:
        return Alone()
    return Ranks(group, timeout)


_is_alone: ContextVar[bool] = ContextVar("bridle_is_alone", default=False)


@contextmanager
def alone() -> Iterator[None]:
    """Let whatever is fitted within be fitted by this process alone."""
    token = _is_alone.set(True)
    try:
        yield
    finally:
        _is_alone.reset(token)


# How many times each group has begun: the ranks count alike, so that their words are not mixed up.
_begun: dict[tuple[int, ...], int] = {}
# Groups for arrays on the CPU, beside the world that they were made in. They are never ended one by
# one: PyTorch would give the next one the same name, under which the store knows the old addresses.
_transports: dict[tuple[tuple[int, ...], float], tuple[Any, Any]] = {}


class Ranks:
    """The ranks of a group of more than one; each of them makes one of these at the same time."""

    def __init__(self, group: Any, timeout: float) -> None:
        self._distributed: Any = sys.modules["torch"].distributed
        self.rank: int = self._distributed.get_rank(group)
        self.size: int = self._distributed.get_world_size(group)
        self._timeout, self._group = timeout, group
        self._members = tuple(self._distributed.get_process_group_ranks(group or self._world))
        count = _begun[self._members] = _begun.get(self._members, 0) + 1
        prefix = f"bridle/{hash(self._members)}/{count}"
        # PyTorch has no public name for the store of the default group.
        store = sys.modules["torch"].distributed.distributed_c10d._get_default_store()
        own_store = self._distributed.PrefixStore(prefix, store)
        self._store = _WatchedStore(own_store, timeout)
        self._heart = _Heart(self._store, own_store, self.rank, timeout)
        self._exchanges = self._led = 0
        self._said: list[str] = []  # keys of the driver that others may still read
        self._cause: Exception | None = None

    @property
    def _world(self) -> Any:
        return self._distributed.group.WORLD

    def __enter__(self) -> Ranks:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the work; the first rank once all have heard how: the store may end with it."""
        with suppress(RankError):
            if self.rank:
                self._heart.stop()  # before the last word: its key is not set again
                self._store.add("left", 1)
            else:
                patience = self._timeout if kind is None else min(_SECONDS_TO_LEAVE, self._timeout)
                if self._waited_for_the_others(patience):
                    self._heart.stop()
                    self._said += ["left", *(f"alive/{rank}" for rank in range(self.size))]
                    self.forget_said()
        self._heart.stop()
        self._store.stop()
        if kind is not None:
            _transports.pop(self._key, None)  # whose connections may be broken

    def _waited_for_the_others(self, patience: float) -> bool:
        end = time.monotonic() + patience
        for _ in _looks():
            if self._store.add("left", 0) >= self.size - 1:
                return True
            if time.monotonic() > end:
                break
        return False

    def say(self, key: str, value: bytes) -> None:
        """Let the driver set a key that every rank reads; see `forget_said`."""
        self._store.set(key, value)
        self._said.append(key)

    def forget_said(self) -> None:
        """Let the driver delete what it said, once an answer of each rank shows that it was read.

        A store that kept it would grow with every pass.
        """
        for key in self._said:
            self._store.delete_key(key)
        self._said.clear()

    def gathered(self, make: Callable[[], Answer]) -> list[Answer]:
        """Return what each rank makes, in their order, on all of them; small things only.

        Raises
        ------
        InputError, RankError
            What went wrong on one of them, on all of them.
        """
        self._exchanges += 1
        name = f"gathered/{self._exchanges}"
        mine = self._attempted(make)
        if self.rank == 0:
            found = [mine] + [
                self._attempted(partial(self._own_word, f"{name}/{other}", other))
                for other in range(1, self.size)
            ]
            if not any(isinstance(each, _Failure) for each in found):
                self.forget_said()  # who gave its word here has read all words before
            self.say(name, pickle.dumps(found))
        else:
            self._store.set(f"{name}/{self.rank}", pickle.dumps(mine))
            found = self._word(name, 0)
        failures = [each for each in found if isinstance(each, _Failure)]
        if failures:
            self._fail(_of_all(failures) if len(failures) == self.size else failures[0])
        return found

    def _fail(self, failure: _Failure) -> NoReturn:
        """Raise an error that ended the work; where it began, with the traceback to its cause."""
        raise failure.error from self._cause

    def made(self, make: Callable[[], Result]) -> Result:
        """Return what this rank makes, once all have made theirs; it is not handed over.

        Raises
        ------
        InputError, RankError
            What went wrong on one of them, on all of them.
        """
        own: list[Result] = []
        self.gathered(lambda: own.append(make()))  # None: what was made stays here
        return own[0]

    def dealt(self, make: Callable[[], Iterable[Result]]) -> Result:
        """Return what the driver makes for this rank: for each of them one, in their order.

        Each is handed over as it is made, so that the driver need not hold all of them; arrays in
        mapped files by the names of these, which the ranks open themselves.

        Raises
        ------
        InputError, RankError
            What went wrong on one of them, on all of them.
        """
        self._led += 1
        channel = _Channel(self, self._transport())
        own = self._dealt_out(make, channel) if self.rank == 0 else channel.received(0)
        self.gathered(lambda: own if isinstance(own, _Failure) else None)
        return own  # type: ignore[no-any-return]  # a failure has been raised

    def _dealt_out(self, make: Callable[[], Iterable[Any]], channel: _Channel) -> Any:
        """Hand each rank what is made for it, or why it was not; return what is for this one."""

        def shares() -> Iterator[Any]:
            yield from make()

        made = shares()
        own = self._attempted(partial(next, made))
        failure = own if isinstance(own, _Failure) else None
        for rank in range(1, self.size):
            message = failure or self._attempted(lambda: _Message.of(next(made), opens_files=True))
            if isinstance(message, _Failure):
                # The driver works for all here: it is not about the rows of rank 0.
                failure = message._replace(error=message.found or message.error)
                message = _Message.of(failure)
            sent = self._attempted(partial(channel.send, message, rank))
            failure = failure or (sent if isinstance(sent, _Failure) else None)
            del message  # before the next is made
        return failure or own

    def led(
        self, answer: Callable[[Any], Any], merge: Callable[[Any, Any, Any], Any],
        lead: Callable[[Ask], Result],
    ) -> Result:  # fmt: skip
        """Return, on all ranks, the result of ``lead``, which runs on the driver.

        Each question that it asks is answered by ``answer`` on every rank, and
        ``merge(question, one, other)`` makes one of two answers, on whichever rank has both.

        Raises
        ------
        InputError, RankError
            What went wrong on one of them, on all of them.
        """
        transport = self._transport()
        self._led += 1
        if self.rank:
            return _Follower(self, transport).serve(answer, merge)  # type: ignore[no-any-return]
        return _Driver(self, transport).run(answer, merge, lead)

    @property
    def _key(self) -> tuple[tuple[int, ...], float]:
        return self._members, self._timeout

    def _transport(self) -> Any:
        """Return a group of CPU arrays with our timeout, made once all ranks are there."""
        self.gathered(lambda: None)
        world, found = _transports.get(self._key, (None, None))
        if world is not self._world:
            found = self._new_transport()
            _transports[self._key] = self._world, found
        return found

    def _new_transport(self) -> Any:
        # PyTorch names a group after how many there are, where not all ranks make it.
        is_part = len(self._members) < self._distributed.get_world_size()
        try:
            return self._distributed.new_group(
                list(self._members),
                timeout=timedelta(seconds=self._timeout),
                backend="gloo",
                use_local_synchronization=is_part,
            )
        except RuntimeError as error:
            raise RankError(f"a rank was lost at the beginning ({error})", None) from None

    def _attempted(self, make: Callable[[], Any]) -> Any:
        """Return what is made, or why it was not, with this rank's name."""
        try:
            return make()
        except checks.InputError as error:
            name = f"rank {self.rank}"
            is_named = error.place is not None and f"{error.place}:".startswith(f"{name}:")
            return _Failure(self.rank, error if is_named else error.found_at(name), error)
        except RankError as error:
            return _Failure(error.rank, error)
        except Exception as error:
            self._cause = error
            reason = str(error) or type(error).__name__
            return _Failure(self.rank, RankError(f"rank {self.rank}: {reason}", self.rank))

    def _own_word(self, key: str, rank: int) -> Any:
        """Return what a rank says to this one alone."""
        word = self._word(key, rank)
        self._store.delete_key(key)
        return word

    def _word(self, key: str, rank: int) -> Any:
        """Return what a rank says under a key, once it does."""
        self._heart.wait_for(key, rank)
        return pickle.loads(self._store.get(key))


class _WatchedStore:
    """The group's store, whose keeper may be lost too: its own operations would wait for ever."""

    def __init__(self, store: Store, timeout: float) -> None:
        self._store, self._timeout = store, timeout
        # What is asked, its arguments, and where the answer goes: one that comes too late, nowhere.
        self._asked: SimpleQueue[tuple[str, tuple[Any, ...], SimpleQueue[Any]]] = SimpleQueue()
        threading.Thread(target=self._answer, daemon=True).start()

    def stop(self) -> None:
        """Let its thread end, once it has answered all."""
        self._asked.put(("", (), SimpleQueue()))

    def _answer(self) -> None:
        while True:
            name, arguments, reply = self._asked.get()
            if not name:
                return
            try:
                reply.put(getattr(self._store, name)(*arguments))
            except RuntimeError as error:
                reply.put(error)

    def _ask(self, name: str, *arguments: Any) -> Any:
        reply: SimpleQueue[Any] = SimpleQueue()
        self._asked.put((name, arguments, reply))
        try:
            found = reply.get(timeout=self._timeout)
        except Empty:
            found = TimeoutError(f"no answer for {self._timeout:g} s")
        if isinstance(found, Exception):
            raise RankError(f"{_STORE_LOST}, with the process that keeps it ({found})", None)
        return found

    def set(self, key: str, value: Any) -> None:
        """Set a key."""
        self._ask("set", key, value)

    def get(self, key: str) -> bytes:
        """Return what a key was set to."""
        return self._ask("get", key)  # type: ignore[no-any-return]

    def check(self, keys: list[str]) -> bool:
        """Tell whether all keys are set."""
        return self._ask("check", keys)  # type: ignore[no-any-return]

    def add(self, key: str, amount: int) -> int:
        """Add to a key that counts, and return how far it is."""
        return self._ask("add", key, amount)  # type: ignore[no-any-return]

    def delete_key(self, key: str) -> None:
        """Forget a key."""
        self._ask("delete_key", key)


class _Heart:
    """Signs of life in the store: our own, and how long ago another rank's last one was seen."""

    def __init__(self, store: _WatchedStore, own: Store, rank: int, timeout: float) -> None:
        self._store, self._rank, self._timeout = store, rank, timeout
        self._own = own  # of the thread that beats
        self._seen: dict[int, tuple[bytes, float]] = {}
        self._begun = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(_SECONDS_TO_LEAVE)

    def _beat(self) -> None:
        beats = 0
        with suppress(RuntimeError):  # who waits for the store's keeper finds it lost himself
            while True:
                beats += 1
                self._own.set(f"alive/{self._rank}", str(beats))
                if self._stopped.wait(self._timeout / _BEATS):
                    return

    def wait_for(self, key: str, rank: int) -> None:
        """Wait for a rank to set a key, as long as there are signs of life of it."""
        self._seen.pop(rank, None)
        next_look = self._begun = time.monotonic()
        for _ in _looks():
            if self._store.check([key]):
                return
            if time.monotonic() >= next_look:
                self._look_for(rank)
                next_look += self._timeout / _BEATS

    def _look_for(self, rank: int) -> None:
        key, now = f"alive/{rank}", time.monotonic()
        beat = self._store.get(key) if self._store.check([key]) else b""
        last, when = self._seen.get(rank, (b"", self._begun))
        if beat != last:
            self._seen[rank] = (beat, now)
        elif now - when > self._timeout:
            raise RankError(
                f"rank {rank}: no sign of life for {self._timeout:g} s: lost, or never came here "
                "(all ranks of a group fit together; group=False: this process alone)",
                rank,
            )


def _looks() -> Iterator[None]:
    """Yield as often as it is worth looking for a key.

    PyTorch's own wait would write a line of warning each time that it is not there yet.
    """
    begun = time.monotonic()
    while True:
        yield
        waited = time.monotonic() - begun
        time.sleep(min(max(waited * _SHARE_OF_WAIT, _SHORTEST_PAUSE), _LONGEST_PAUSE))


class _Channel:
    """What driver and followers share: messages with arrays, and answers on their way up."""

    def __init__(self, ranks: Ranks, transport: Any) -> None:
        self._ranks, self._transport = ranks, transport
        self._store, self._members = ranks._store, ranks._members
        self._distributed = ranks._distributed
        self._asked = 0
        self._prefix = (
            f"led/{ranks._led}"  # of this work: an earlier one's last word is no question
        )

    def merged(self, answer: Any, merge: Callable[[Any, Any], Any]) -> Any:
        """Return the merged answers of this rank and those above it; None once handed over."""
        rank, size, step = self._ranks.rank, self._ranks.size, 1
        while step < size:
            if rank % (2 * step):
                self.send(_Message.of(answer), rank - step)
                return None
            if rank + step < size:
                other = self.received(rank + step)
                answer = self._both(answer, other, merge)
            step *= 2
        return answer

    def _both(self, one: Any, other: Any, merge: Callable[[Any, Any], Any]) -> Any:
        failures = [each for each in (one, other) if isinstance(each, _Failure)]
        if failures:
            return min(failures, key=lambda failure: -1 if failure.rank is None else failure.rank)
        return self._ranks._attempted(lambda: merge(one, other))

    def send(self, message: _Message, rank: int) -> None:
        """Give a rank something, which is waiting for it, or will be."""
        self._store.set(self._key(self._ranks.rank, rank), message.header)
        for array in message.new:
            whole = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            for piece in _pieces(whole):
                there, transport = self._members[rank], self._transport
                self._distributed.send(_bytes(piece), there, group=transport)

    def received(self, rank: int) -> Any:
        """Return what a rank gives to this one, or why it did not."""
        return self._ranks._attempted(partial(self._received, rank))

    def _received(self, rank: int) -> Any:
        key = self._key(rank, self._ranks.rank)
        header = self._header(key, rank)
        self._store.delete_key(key)

        def fill(memory: Any) -> None:
            for piece in _pieces(memory):
                self._distributed.recv(piece, self._members[rank], group=self._transport)

        with _lost(rank):
            return _unpacked(header, fill)[0]

    def _key(self, giver: int, taker: int) -> str:
        return f"{self._prefix}/answer/{self._asked}/{giver}/{taker}"

    @property
    def _question_key(self) -> str:
        return f"{self._prefix}/question/{self._asked}"

    def _header(self, key: str, rank: int) -> bytes:
        self._ranks._heart.wait_for(key, rank)
        return self._store.get(key)

    def _broadcast(self, memory: Any) -> None:
        self._distributed.broadcast(memory, self._members[0], group=self._transport)


class _Driver(_Channel):
    """Rank 0: asks, and says how it ends."""

    _sent: Sequence[_Sent] = ()
    _failure: _Failure | None = None

    def run(
        self, answer: Callable[[Any], Any], merge: Callable[[Any, Any, Any], Any],
        lead: Callable[[Ask], Result],
    ) -> Result:  # fmt: skip
        def ask(question: Any) -> Any:
            with _interruption_put_off():
                self._announce(question)
                mine = self._ranks._attempted(partial(answer, question))
                found = self.merged(mine, partial(merge, question))
                if not isinstance(found, _Failure):
                    self._ranks.forget_said()  # each answer in it is of one who has read them
            if isinstance(found, _Failure):
                self._failure = found
                self._ranks._fail(found)
            return found

        try:
            result = lead(ask)
            self._announce(_Ended(result))
        except BaseException as error:
            self._say_that_it_failed(error)
            raise
        return result

    def _announce(self, word: Any) -> None:
        """Tell all ranks; arrays that were in the last question are not sent again."""
        self._asked += 1
        message = _Message.of(word, self._sent)
        self._ranks.say(self._question_key, message.header)
        with _lost(None):
            for array in message.new:
                if array.nbytes:
                    self._broadcast(_bytes(array))
        self._sent = message.sent

    def _say_that_it_failed(self, error: BaseException) -> None:
        def again() -> None:
            raise error if isinstance(error, Exception) else RuntimeError("interrupted")

        self._asked += 1
        with suppress(RuntimeError):
            failure = self._failure or self._ranks._attempted(again)
            header = _Message.of(failure).header
            self._ranks.say(self._question_key, header)


class _Follower(_Channel):
    """Every other rank: answers until the driver says that it is over."""

    def serve(self, answer: Callable[[Any], Any], merge: Callable[[Any, Any, Any], Any]) -> Any:
        # Ctrl-C reaches all ranks: the driver ends the fit at the best weights seen.
        with _on_interruption(signal.SIG_IGN):
            return self._serve(answer, merge)

    def _serve(self, answer: Callable[[Any], Any], merge: Callable[[Any, Any, Any], Any]) -> Any:
        known: list[Array] = []
        while True:
            self._asked += 1
            header = self._header(self._question_key, 0)
            with _lost(0):
                word, known = _unpacked(header, self._broadcast, known)
            if isinstance(word, _Failure | _Ended):
                if isinstance(word, _Failure):
                    self._ranks._fail(word)
                return word.result
            mine = self._ranks._attempted(partial(answer, word))
            # Where whom the answer is for is lost, the driver will say so.
            with suppress(RuntimeError):
                self.merged(mine, partial(merge, word))


class _Sent(NamedTuple):
    """An array that the other end has, and its numbers then: it may have been written to since."""

    array: Array
    copy: Array

    def is_still(self, array: Array) -> bool:
        return array is self.array and np.array_equal(array, self.copy, equal_nan=True)


class _Message(NamedTuple):
    """An object in two parts: a pickle, and the large arrays that it refers to by their place."""

    header: bytes
    new: list[Array]  # arrays that the other end does not have
    sent: list[_Sent]  # all of them, once they are sent

    @classmethod
    def of(
        cls, word: Any, sent: Sequence[_Sent] | None = None, *, opens_files: bool = False
    ) -> _Message:
        """Return it; ``sent`` is at the other end already. With None nothing is kept in mind."""
        packed, contents = _packed(word, opens_files=opens_files)
        # The store takes some megabytes only. (A failure, of few words, is sent without arrays.)
        if len(packed) > _INLINE_BYTES and not isinstance(word, _Failure):
            contents.append(np.frombuffer(packed, np.uint8))
            packed = b""
        places = [
            next((place for place, each in enumerate(sent or ()) if each.is_still(array)), None)
            for array in contents
        ]
        both = list(zip(contents, places, strict=True))
        layout = [place if place is not None else (a.dtype, a.shape) for a, place in both]
        now_there = []
        if sent is not None:
            now_there = [
                sent[place] if place is not None else _Sent(array, array.copy())
                for array, place in both
            ]
        new = [array for array, place in both if place is None]
        return cls(pickle.dumps((layout, packed)), new, now_there)


class _Packer(pickle.Pickler):
    """Leaves large arrays, and tensors, to be handed over beside the pickle.

    Of those in mapped files only where they lie, if whoever gets them can open the files.
    """

    def __init__(self, stream: io.BytesIO, *, opens_files: bool) -> None:
        super().__init__(stream, protocol=5)
        self.contents: list[Array] = []
        self._opens_files = opens_files

    def persistent_id(self, value: Any) -> int | MappedArray | None:
        """Return where an array is: in a file, or among the contents; None for what is pickled."""
        if self._opens_files and isinstance(value, np.ndarray):
            in_file = MappedArray.of(value)
            if in_file is not None:
                return in_file
        if is_tensor(value):
            value = on_host(value)
        elif (
            not isinstance(value, np.ndarray)
            or value.nbytes <= _INLINE_BYTES
            or value.dtype.hasobject
        ):
            return None
        for place, known in enumerate(self.contents):
            if known is value:
                return place
        self.contents.append(value)
        return len(self.contents) - 1


class _Unpacker(pickle.Unpickler):
    def __init__(self, packed: bytes, contents: Sequence[Array]) -> None:
        super().__init__(io.BytesIO(packed))
        self._contents = contents

    def persistent_load(self, place: int | MappedArray) -> Array:
        """Return the array at a place."""
        if isinstance(place, MappedArray):
            return np.asarray(place.open())
        return self._contents[place]


def _packed(word: Any, *, opens_files: bool = False) -> tuple[bytes, list[Array]]:
    packer = _Packer(stream := io.BytesIO(), opens_files=opens_files)
    packer.dump(word)
    return stream.getvalue(), packer.contents


def without_tensors(answer: Answer) -> Answer:
    """Return an object with arrays on the host in place of its tensors."""
    packed, contents = _packed(answer)
    return _Unpacker(packed, contents).load()  # type: ignore[no-any-return]


def _unpacked(
    header: bytes, fill: Callable[[Any], Any], known: Sequence[Array] = ()
) -> tuple[Any, list[Array]]:
    """Return an object and its arrays; ``fill`` gets the memory of those that are not ``known``."""
    layout, packed = pickle.loads(header)
    torch: Any = sys.modules["torch"]
    contents = []
    for each in layout:
        if isinstance(each, int):
            contents.append(known[each])
            continue
        dtype, shape = each
        memory = torch.empty(int(np.prod(shape)) * dtype.itemsize, dtype=torch.uint8)
        if len(memory):
            fill(memory)
        contents.append(memory.numpy().view(dtype).reshape(shape))
    words = packed or contents[-1].tobytes()
    return _Unpacker(words, contents).load(), contents


def _pieces(memory: Any) -> Iterator[Any]:
    """Yield what is sent at a time: each piece has the group's whole timeout."""
    for begin in range(0, len(memory), _PIECE_BYTES):
        yield memory[begin : begin + _PIECE_BYTES]


def _bytes(array: Array) -> Any:
    """Return the memory of an array as a tensor."""
    whole = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return sys.modules["torch"].from_numpy(whole if whole.flags.writeable else whole.copy())


@contextmanager
def _on_interruption(handler: Any) -> Iterator[None]:
    """Let a handler have Ctrl-C, where it comes to this thread at all."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _interruption_put_off() -> Iterator[None]:
    """Finish an exchange before Ctrl-C interrupts: the others would wait for its end.

    A second Ctrl-C does not wait.
    """
    came = False

    def remember(*_: Any) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True

    with _on_interruption(remember):
        yield
    if came:
        raise KeyboardInterrupt


@contextmanager
def _lost(rank: int | None) -> Iterator[None]:
    """Name the rank that did not finish what it was ready to do, where it is known."""
    try:
        yield
    except RuntimeError as error:
        name = "a rank" if rank is None else f"rank {rank}"
        raise RankError(f"{name}: lost while arrays were handed over ({error})", rank) from None
