"""What the command prints on a terminal and what into a pipe: colours, the cursor, 80 columns."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("typer", reason="the command is an extra")
pty = pytest.importorskip("pty", reason="pseudo-terminals are POSIX's")
fcntl = pytest.importorskip("fcntl", reason="a terminal's size is told by POSIX's")
termios = pytest.importorskip("termios", reason="a terminal's size is told by POSIX's")

COLOUR = re.compile(r"\x1b\[[\d;]*m")
# What people set to have colours or to have none.
SETTINGS = ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES",
            "CLICOLOR", "CLICOLOR_FORCE")  # fmt: skip
LIVE = [
    "fit table.csv --target kind --label-errors --calibrate temperature",
    "fit iris --Cs 0.1,1 --cv 2",
    "compare iris --epochs 2",
]
ALL = [
    *LIVE,
    "evaluate ours.csv --target truth --slices site --costs costs.csv",
    "evaluate ours.csv theirs.csv --target truth --slices site",
    "calibrate ours.csv --target truth",
    "--help",
    "fit --help",
    "fit iris --C much",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a table and answers of two models, whose labels are long."""
    place, generator = tmp_path_factory.mktemp("terminal"), np.random.default_rng(0)
    target = np.arange(120) % 3
    names = np.array(["a class whose name has more letters than a column", "b", "Ü" * 60])
    site = np.where(target > 0, "a place with a long name, on and on and on and on", "here")
    frame = pd.DataFrame(generator.normal(size=(120, 3)) + target[:, None], columns=list("abc"))
    frame.assign(kind=names[target]).to_csv(place / "table.csv", index=False)
    for name in ("ours", "theirs"):
        answers = pd.DataFrame(generator.dirichlet(np.ones(3), size=120), columns=names)
        answers.assign(truth=names[target], site=site).to_csv(place / f"{name}.csv", index=False)
    pd.DataFrame(1 - np.eye(3)).to_csv(place / "costs.csv", index=False, header=False)
    return place


def surroundings(**settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    return {**kept, "TERM": "xterm-256color", **settings}


@cache
def in_pipe(arguments: str, folder: Path) -> str:
    """Return what a command prints into a pipe, where colours are asked for."""
    done = subprocess.run(
        [sys.executable, "-m", "bridle", *arguments.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        env=surroundings(FORCE_COLOR="1", TTY_COMPATIBLE="1"),
        cwd=folder,
        check=False,
    )
    return done.stdout.decode()


def on_terminal(arguments: str, folder: Path, **settings: str) -> str:
    """Return what a command prints on a terminal of 80 columns."""
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "bridle", *arguments.split()],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=surroundings(**settings),
        cwd=folder,
    )
    os.close(terminal)
    shown = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # what Linux answers once the other end is closed
            break
        if not chunk:
            break
        shown += chunk
    process.wait()
    os.close(master)
    return shown.decode().replace("\r\n", "\n")


def lasting(text: str) -> list[str]:
    """Return the lines that stay, without the seconds that differ between two runs."""
    shown = text.rsplit("\x1b[2K", 1)[-1]
    return re.sub(r" +\d+\.\d\d(?= s$| +\d\.\d{4} +)", "", shown, flags=re.MULTILINE).split("\n")


@pytest.mark.parametrize("arguments", ALL)
def test_a_pipe_gets_plain_text(folder: Path, arguments: str) -> None:
    printed = in_pipe(arguments, folder)
    assert printed.endswith("\n")
    assert all(line.isprintable() for line in printed.splitlines())
    assert "\r" not in printed
    refused = printed.startswith("bridle: ")
    assert refused or max(map(len, printed.splitlines())) <= 80


@pytest.mark.parametrize("arguments", ALL)
def test_a_terminal_is_left_with_the_same_text(folder: Path, arguments: str) -> None:
    shown = on_terminal(arguments, folder)
    assert lasting(shown) == lasting(in_pipe(arguments, folder))
    assert bool(COLOUR.search(shown)) == (arguments in LIVE)
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h"), "the cursor is shown again"


@pytest.mark.parametrize("arguments", LIVE[1:])
def test_without_colours_there_is_still_a_live_line(folder: Path, arguments: str) -> None:
    shown = on_terminal(arguments, folder, NO_COLOR="1")
    assert not COLOUR.search(shown)
    assert "\x1b[2K" in shown


@pytest.mark.parametrize("settings", [{}, {"FORCE_COLOR": "1"}])
def test_a_dumb_terminal_gets_plain_text(folder: Path, settings: dict[str, str]) -> None:
    shown = on_terminal(LIVE[0], folder, TERM="dumb", **settings)
    assert "\x1b" not in shown
    assert lasting(shown) == lasting(in_pipe(LIVE[0], folder))
