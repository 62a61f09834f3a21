"""Processes forked from one that has imported what they need: what tests ask `rank_starter` for."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

_STARTER = Path(__file__).with_name("rank_starter.py")
_MOST_BYTES = 2**16
# As the session began, whatever the test that asks first has changed. No library (BLAS, pyarrow's
# allocator) starts threads when it is imported: a fork would have none of them.
_ENVIRONMENT = os.environ | {
    "OMP_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.002, 0.05  # seconds between two looks at a process


class Starter:
    """A process that imports modules once and then forks; its forks end with it."""

    def __init__(self, *modules: str) -> None:
        self._channel, other = socket.socketpair()
        with other:
            self._process = subprocess.Popen(
                [sys.executable, str(_STARTER), str(other.fileno()), *modules],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                pass_fds=[other.fileno()],
                start_new_session=True,  # an interruption is the tests', which end this one
            )

    def start(
        self,
        arguments: Sequence[object],
        environment: Mapping[str, str],
        streams: Sequence[int],
    ) -> Forked:
        """Start ``python`` with arguments: a script's name, or ``-m`` and a module's, and more.

        ``streams`` are the descriptors of its standard input, output and error. Processes that are
        given the same ones share them, as those of a launcher do.
        """
        order = {
            "arguments": list(map(str, arguments)),
            "environment": dict(environment),
            "folder": os.getcwd(),
        }
        return Forked(self, self.asked(order, streams)["pid"])

    def asked(self, order: dict[str, Any], streams: Sequence[int] = ()) -> dict[str, Any]:
        """Send an order and return the answer."""
        message = json.dumps(order).encode() + b"\n"
        with suppress(ConnectionError):  # which the missing answer tells of
            sent = socket.send_fds(self._channel, [message], streams) if streams else 0
            self._channel.sendall(message[sent:])
        answer = b""
        while not answer.endswith(b"\n"):
            piece = b""
            with suppress(ConnectionError):
                piece = self._channel.recv(_MOST_BYTES)
            if not piece:
                raise RuntimeError(f"{_STARTER.name} ended by {self._process.wait()}")
            answer += piece
        found: dict[str, Any] = json.loads(answer)
        return found

    def end(self) -> None:
        """End the process and all of its forks."""
        self._channel.close()
        self._process.wait()


class Forked:
    """A forked process: of what `subprocess.Popen` tells, what the tests ask for."""

    def __init__(self, starter: Starter, pid: int) -> None:
        self._starter, self.pid = starter, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the code by which it ended, minus a signal's number; None while it runs."""
        if self.returncode is None:
            self.returncode = self._starter.asked({"pid": self.pid})["code"]
        return self.returncode

    def wait(self, timeout: float = float("inf")) -> int:
        """Wait until it ends, and return its code."""
        end, pause = time.monotonic() + timeout, _SHORTEST_PAUSE
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise TimeoutError(f"process {self.pid} has not ended after {timeout:g} s")
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        return code

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def end(self) -> None:
        """Leave nothing of it behind."""
        self.kill()
        self.wait()


def starter_of(rank: int) -> Starter:
    """Return the starter of a rank, which both imports and ends with the tests' own process."""
    return _starters()[rank % 2]


@cache
def _starters() -> tuple[Starter, Starter]:
    """Start two of them at once, to import side by side.

    All that one of them forks has sets of texts in the same order, which separate processes have
    not: ranks whose work depends on it must not agree by that alone.
    """
    found = Starter(*_MODULES), Starter(*_MODULES)
    for each in found:
        atexit.register(each.end)
    return found


# What the suite of the ranks and the command import, at their beginning and later.
_MODULES = (
    "ranks_suite",
    "bridle.cli.evaluating",
    "bridle.cli.fitting",
    "bridle.cli.predicting",
    "bridle.cli.report_page",
    "bridle.estimators.loading",
    "bridle.networks",
)
