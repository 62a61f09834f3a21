"""How the command ends: every code that docs/command.md tells of, provoked."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("typer", reason="the command is an extra")

from bridle import exit_codes
from commands import Command

COMMAND = [sys.executable, "-m", "bridle"]
BUFFERING = pytest.mark.parametrize("unbuffered", ["", "1"])
needs_posix = pytest.mark.skipif(os.name != "posix", reason="signals and devices are POSIX's")


def ended(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def with_module(folder: Path, source: str) -> str:
    """Return a PYTHONPATH on which Python runs a source before the command."""
    (folder / "sitecustomize.py").write_text(source, encoding="utf-8")
    return os.pathsep.join([str(folder), *sys.path])


def test_each_code_stands_in_the_help_and_in_the_docs(command: Command) -> None:
    page = (Path(__file__).parents[1] / "docs" / "command.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| (\d+) \| ", page, re.MULTILINE)
    helped = re.findall(r"^    (\d+) +(.+)$", command("--help").out, re.MULTILINE)
    codes = [
        each for name, each in vars(exit_codes).items() if name.isupper() and name != "MEANINGS"
    ]
    assert told == [str(code) for code in codes]
    assert helped == [(str(code), exit_codes.MEANINGS[code]) for code in codes]


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["fit", "-h"], ["fit", "iris"]])
def test_done(arguments: list[str], command: Command) -> None:
    done = command(*arguments)
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nothing"],
        ["nothing"],
        ["fit"],
        ["fit", "iris", "--nothing"],
        ["fit", "iris", "--C", "much"],
        ["fit", "iris", "--C", "-1"],
        ["fit", "nowhere.csv"],
        ["evaluate", "iris"],
        ["fit", "--config", "nowhere.toml"],
    ],
)
def test_refused(arguments: list[str], command: Command) -> None:
    done = command(*arguments)
    assert (done.code, done.out) == (2, "")
    assert re.fullmatch(r"bridle: [^\n]+\n", done.err)


def test_a_process_ends_as_the_command_does_in_this_one() -> None:
    done = ended("fit", "iris")
    assert (done.returncode, done.stderr) == (0, "")
    done = ended("fit", "nowhere.csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"bridle: [^\n]+\n", done.stderr)


def test_refused_without_the_library_of_the_command(tmp_path: Path) -> None:
    path = with_module(tmp_path, "import sys; sys.modules['typer'] = None")
    done = ended("fit", "iris", PYTHONPATH=path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the bridle command" in done.stderr


@pytest.mark.parametrize(("line", "says"), [
    ("raise MemoryError('no 8 GB')", "not enough memory: no 8 GB"),
    ("raise OSError(28, 'No space left on device', 'out')", "out: No space left on device"),
])  # fmt: skip
def test_refused_by_the_machine(tmp_path: Path, line: str, says: str) -> None:
    done = ended("fit", "iris", PYTHONPATH=with_module(tmp_path, raising(line)))
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"bridle: {says}\n")


def test_a_fault_of_ours(tmp_path: Path) -> None:
    path = with_module(tmp_path, raising("raise ZeroDivisionError"))
    done = ended("fit", "iris", PYTHONPATH=path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Traceback (most recent call last):\n")


def raising(line: str) -> str:
    """Return a source that makes what does the work of a fit do something else."""
    return f"""
import builtins, sys
found = builtins.__import__
def load(name, *rest, **more):
    module = found(name, *rest, **more)
    work = sys.modules.get("bridle.cli.fitting")
    if work is not None and hasattr(work, "fit"):
        builtins.__import__ = found
        def fit(*_):
            {line}
        work.fit = fit
    return module
builtins.__import__ = load
"""


@needs_posix
@pytest.mark.parametrize("work", ["raise KeyboardInterrupt", "import os; os.kill(os.getpid(), 2)"])
def test_interrupted(tmp_path: Path, work: str) -> None:
    # A shell starts what goes on in the background with interruptions ignored.
    begin = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    done = ended("fit", "iris", PYTHONPATH=with_module(tmp_path, f"{begin}\n{raising(work)}"))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "bridle: interrupted\n")


@needs_posix
@BUFFERING
@pytest.mark.parametrize("arguments", [["--version"], ["fit", "--help"], ["fit", "iris", "--json"],
                                       ["nothing"]])  # fmt: skip
def test_nobody_reads(arguments: list[str], unbuffered: str) -> None:
    """Both streams go to a pipe whose other end is closed before the command begins."""
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    try:
        done = subprocess.run([*COMMAND, *arguments], env=environment, stdout=writer, stderr=writer)
    finally:
        os.close(writer)
    assert done.returncode == 141
    assert exit_codes.UNREAD - 128 == signal.SIGPIPE


@needs_posix
@BUFFERING
@pytest.mark.parametrize("arguments", [["--version"], ["fit", "--help"], ["fit", "iris", "--json"]])
def test_a_reader_that_is_gone_costs_no_words(arguments: list[str], unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    try:
        done = subprocess.run(
            [*COMMAND, *arguments], env=environment, stdout=writer, stderr=subprocess.PIPE
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
@BUFFERING
@pytest.mark.parametrize("arguments", [["--version"], ["fit", "iris"]])
def test_a_disk_that_is_full(arguments: list[str], unbuffered: str) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, *arguments], env=environment, stdout=full, stderr=subprocess.PIPE
        )
        assert (done.returncode, done.stderr) == (2, b"bridle: No space left on device\n")
        done = subprocess.run([*COMMAND, *arguments], env=environment, stdout=full, stderr=full)
        assert done.returncode == 2


@needs_posix
def test_standard_output_that_is_closed() -> None:
    line = f"'{sys.executable}' -m bridle --version >&-"
    done = subprocess.run(["sh", "-c", line], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
