"""What is forked for a test behaves as a new interpreter does, and ends with what forked it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

import pytest

if not hasattr(os, "fork"):
    pytest.skip("needs processes that fork", allow_module_level=True)

from forking import Forked, Starter

ENDINGS = {
    "its end": "print('done')",
    "a code": "import sys; print('no'); sys.exit(3)",
    "a code of another kind": "raise SystemExit('said')",
    "no code": "raise SystemExit",
    "an error": "print('no'); raise ValueError('what')",
    "an interruption": "raise KeyboardInterrupt",
    "a signal": "import os; os.kill(os.getpid(), 15)",
    "at once": "import os; print('unsaid'); os._exit(5)",
    "what is left to do": "import atexit; atexit.register(print, 'last'); print('first')",
    "a thread": "import threading; threading.Timer(0.1, print, ['late']).start(); print('soon')",
    "a pool": "from concurrent.futures import ThreadPoolExecutor as P; P().submit(print, 'late')",
    "a full disk": "import sys, os; os.dup2(os.open('/dev/full', os.O_WRONLY), 1); print('lost')",
    "what it was told": "import os, sys; print(sys.argv, sys.path, sys.stdin.read(), os.getcwd());"
    "print(sorted(os.environ.items()), __name__, sys.stdout.encoding, sys.stdin.seekable())",
}


@pytest.fixture(scope="module")
def starter() -> Iterator[Starter]:
    found = Starter()
    yield found
    found.end()


def forked(starter: Starter, typed: list[str], found: dict[str, str]) -> tuple[int, str, str]:
    reader, writer = os.pipe()
    os.write(writer, b"given")  # before it starts: it may end before it reads
    os.close(writer)
    with TemporaryFile("w+") as out, TemporaryFile("w+") as errors:
        with open(reader) as stdin:
            each = starter.start(typed, found, [stdin.fileno(), out.fileno(), errors.fileno()])
        code = each.wait(60)
        out.seek(0)
        errors.seek(0)
        return code, out.read(), errors.read()


@pytest.mark.parametrize("source", ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize("is_module", [False, True])
def test_it_ends_as_an_interpreter_does(
    starter: Starter, source: str, is_module: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work.py").write_text(source)
    (tmp_path / "sitecustomize.py").write_text("print('before all')")
    monkeypatch.chdir(tmp_path)
    typed = ["-m", "work", "word"] if is_module else [str(tmp_path / "work.py"), "word"]
    told = {"PYTHONPATH": str(tmp_path), "PYTHONUNBUFFERED": "1", "RANK": "3"}
    usual = {name: each for name, each in os.environ.items() if name not in told}
    for found in (usual, usual | told):
        new = subprocess.run(
            [sys.executable, *typed], env=found, capture_output=True, text=True, input="given"
        )
        code, out, errors = forked(starter, typed, found)
        assert (code, out) == (new.returncode, new.stdout)
        # A traceback has more above the script's own lines.
        assert errors.splitlines()[-1:] == new.stderr.splitlines()[-1:]


def sleeping(starter: Starter, folder: Path) -> Forked:
    script = folder / "sleep.py"
    script.write_text("import time; time.sleep(600)")
    with open(os.devnull, "r+") as nothing:
        return starter.start([script], os.environ, [nothing.fileno()] * 3)


def test_it_can_be_ended(starter: Starter, tmp_path: Path) -> None:
    each = sleeping(starter, tmp_path)
    assert each.poll() is None
    with pytest.raises(TimeoutError):
        each.wait(0.05)
    each.kill()
    assert each.wait(60) == -signal.SIGKILL


def test_what_is_forked_ends_with_its_starter(tmp_path: Path) -> None:
    starter = Starter()
    each = sleeping(starter, tmp_path)
    starter.end()
    with pytest.raises(ProcessLookupError):
        os.kill(each.pid, 0)


def test_a_starter_that_has_ended_is_told() -> None:
    starter = Starter("no_such_module")
    with pytest.raises(RuntimeError, match=r"rank_starter\.py ended by 1"):
        starter.asked({"pid": 1})
    starter.end()
