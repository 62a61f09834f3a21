"""The shell completes commands and their options."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("typer", reason="the command is an extra")

import typer.main

from bridle.cli.app import app

COMMAND: Any = typer.main.get_command(app)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bridle", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def completions(words: str) -> list[str]:
    """Return what bash is told for the last of the words."""
    done = run(_BRIDLE_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(words.count(" ")))
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell", "pwsh"])
def test_the_script_of_a_shell_is_printed(shell: str) -> None:
    done = run("--show-completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_BRIDLE_COMPLETE" in done.stdout
    assert "bridle" in done.stdout


def test_another_shell_is_refused_in_one_line() -> None:
    done = run("--show-completion", "tcsh")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "bridle: --show-completion: expected one of bash, zsh, fish, powershell, pwsh, "
        "found 'tcsh'\n"
    )


def test_commands_are_completed() -> None:
    assert set(completions("bridle ")) == set(COMMAND.commands)
    assert completions("bridle ev") == ["evaluate"]


@pytest.mark.parametrize("name", sorted(COMMAND.commands))
def test_every_option_of_a_command_is_completed(name: str) -> None:
    options = {
        word
        for parameter in COMMAND.commands[name].params
        if parameter.param_type_name == "option" and not parameter.hidden
        for word in [*parameter.opts, *parameter.secondary_opts]
        if word.startswith("--")
    }
    found = completions(f"bridle {name} --")
    assert options <= set(found)
    longest = max(options, key=len)
    assert completions(f"bridle {name} {longest[:-1]}") == [longest]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("bridle train iris --solver a", ["adam"]),
        ("bridle train iris --init s", ["scaled", "standard_normal"]),
        ("bridle train iris --activation ", ["sigmoid", "tanh", "relu", "identity"]),
        ("bridle train iris --output so", ["softmax"]),
        ("bridle compare iris --cost quadratic --cost c", ["cross_entropy"]),
    ],
)
def test_names_that_an_option_takes_are_completed(words: str, expected: list[str]) -> None:
    assert completions(words) == expected


def test_other_shells_are_told_too() -> None:
    done = run(_BRIDLE_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="bridle evaluate --prob")
    assert done.returncode == 0
    assert '"--probabilities":' in done.stdout
    fish = {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_ARGS": "bridle pred"}
    done = run(_BRIDLE_COMPLETE="complete_fish", **fish)
    assert done.stdout.split()[0] == "predict"


def in_shell(shell: list[str], program: str, folder: Path) -> list[str]:
    """Return the lines that a shell prints where `bridle` is this one."""
    shim = folder / "bridle"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bridle "$@"\n', encoding="utf-8")
    shim.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*shell, program],
        env={**os.environ, "PATH": path, "HOME": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash on this machine")
def test_bash_completes_with_the_script(tmp_path: Path) -> None:
    program = (
        'eval "$(bridle --show-completion bash)"\n'
        "COMP_WORDS=(bridle eva) COMP_CWORD=1\n"
        "_bridle_completion bridle\n"
        'echo "${COMPREPLY[@]}"\n'
        "complete -p bridle\n"
    )
    completed, registered = in_shell(["bash", "--norc", "-c"], program, tmp_path)
    assert completed == "evaluate"
    assert "-o default -F _bridle_completion" in registered, "where nothing fits, files do"


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish on this machine")
def test_fish_completes_with_the_script(tmp_path: Path) -> None:
    (tmp_path / "run.toml").touch()
    program = "bridle --show-completion fish | source\n" + "\n".join(
        f"complete -C 'bridle {words}'"
        for words in ("eva", "fit iris --save-c", "train iris --solver a", "fit --config run")
    )
    found = [
        line.split("\t")[0] for line in in_shell(["fish", "--no-config", "-c"], program, tmp_path)
    ]
    assert found == ["evaluate", "--save-config", "adam", "run.toml"]
