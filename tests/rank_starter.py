"""A process that has imported what ranks need, and forks one of them whenever it is asked to.

    python tests/rank_starter.py SOCKET MODULE...

imports the modules once and then answers `forking`, one line of JSON each way, until the socket is
closed. A new interpreter takes five seconds of a processor for PyTorch, scikit-learn, pandas and
Bridle; a fork of this one a hundredth of a second. What it forks goes on as ``python SCRIPT ...``
or ``python -m MODULE ...`` would, but that it ends without taking the interpreter apart.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import json
import os
import runpy
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

_MOST_BYTES = 2**16  # of one piece of a message
_STREAMS = 3  # standard input, output and error
_FLUSH_FAILED = 120  # Python's own code


def told_folders() -> list[str]:
    """Return what PYTHONPATH tells, as Python takes it into `sys.path`."""
    told = os.environ.get("PYTHONPATH", "")
    return [os.path.abspath(each) for each in told.split(os.pathsep)] if told else []


# What the starter itself began with, and the paths that every interpreter has: neither this
# script's folder nor those.
_own_folders = told_folders()
_usual_path = [each for each in sys.path[1:] if each not in _own_folders]


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    for name in sys.argv[2:]:
        importlib.import_module(name)
    # The collector would write to every page that the forks have in common.
    gc.collect()
    gc.freeze()
    # Of several threads a fork has one, and what the others held stays held.
    assert threading.active_count() == 1, threading.enumerate()
    assert _threads() == 1, "a library has started threads when it was imported"
    serve(channel)


def _threads() -> int:
    """Return how many threads there are, with those that Python does not know: of OpenMP, BLAS."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.exists() else threading.active_count()


def serve(channel: socket.socket) -> None:
    """Fork and tell of what was forked, until nobody asks any more; leave nothing behind."""
    running: set[int] = set()
    try:
        while True:
            order, streams = received(channel)
            if order is None:
                return
            answer: dict[str, int | None]
            if "pid" in order:
                code = ended(order["pid"])
                if code is not None:
                    running.discard(order["pid"])
                answer = {"code": code}
            else:
                pid = forked(channel, order, streams)
                running.add(pid)
                answer = {"pid": pid}
            channel.sendall(json.dumps(answer).encode() + b"\n")
    finally:
        for pid in running:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def received(channel: socket.socket) -> tuple[Any, list[int]]:
    """Return the next order and the streams that came with it; None after the last."""
    message, streams, _, _ = socket.recv_fds(channel, _MOST_BYTES, _STREAMS)
    while message and not message.endswith(b"\n"):
        piece = channel.recv(_MOST_BYTES)
        message = message + piece if piece else b""
    return (json.loads(message) if message else None), streams


def ended(pid: int) -> int | None:
    """Return the code of a child as `subprocess` tells it, or None while it runs."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def forked(channel: socket.socket, order: dict[str, Any], streams: list[int]) -> int:
    """Fork a child that does as it is told, and return its number."""
    pid = os.fork()
    if pid == 0:
        channel.close()
        live(order, streams)
    for each in streams:
        os.close(each)
    return pid


def live(order: dict[str, Any], streams: list[int]) -> NoReturn:
    """Be what a new interpreter would be, from its start to its end."""
    code = 1
    try:
        code = finished(outcome(order, streams))
        if code == -signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        os._exit(code)


def become(order: dict[str, Any], streams: list[int]) -> None:
    """Take over the environment, the folder and the streams, and what an interpreter reads there.

    Interpreters do not share the state of NumPy's generator, either.
    """
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    take_over(streams)
    folders = told_folders()
    sys.path[:] = [*folders, *_usual_path]
    if any(Path(each, "sitecustomize.py").exists() for each in folders if each not in _own_folders):
        sys.modules.pop("sitecustomize", None)
        importlib.import_module("sitecustomize")
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()


def take_over(streams: list[int]) -> None:
    """Make standard streams as Python does: those of the starter know what its own files can do."""
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    for place, name in enumerate(("stdin", "stdout", "stderr")):
        os.dup2(streams[place], place)
        os.close(streams[place])
        found, is_written = getattr(sys, name), place > 0
        file = open(  # noqa: SIM115 - it is open as long as the process runs
            place,
            "wb" if is_written else "rb",
            0 if is_written and unbuffered else -1,
            closefd=False,
        )
        text = io.TextIOWrapper(
            file,
            found.encoding,
            found.errors,
            newline="\n",
            line_buffering=name == "stderr",
            write_through=is_written and unbuffered,
        )
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)


def run(arguments: list[str]) -> None:
    """Run a script, or a module after ``-m``, as Python's own command line does."""
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path.insert(0, os.getcwd())
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
        runpy.run_path(arguments[0], run_name="__main__")


def outcome(order: dict[str, Any], streams: list[int]) -> int:
    """Do as ordered, and return the code of how it ended, which is told as Python tells it."""
    try:
        become(order, streams)
        run(order["arguments"])
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        return -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    return 0


def finished(code: int) -> int:
    """Do what Python does before it ends, in its order; return the code, or that of a full disk."""
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, and for their pools
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except OSError as error:
        sys.excepthook(type(error), error, None)
        code = _FLUSH_FAILED
    with suppress(OSError):
        sys.stderr.flush()
    return code


if __name__ == "__main__":
    main()
