"""``bridle help``: what --help says, and the manual page."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest

from commands import Command

pytest.importorskip("typer", reason="the command is an extra")

import typer.main

import bridle
from bridle import exit_codes
from bridle.cli.app import app

GROUP: Any = typer.main.get_command(app)


@pytest.mark.parametrize("name", GROUP.commands)
def test_help_says_what_the_option_says(command: Command, name: str) -> None:
    told = command("help", name)
    assert (told.code, told.err) == (0, "")
    assert told == command(name, "--help")
    assert f"Usage: bridle {name} [OPTIONS]" in told.out


def test_help_of_all(command: Command) -> None:
    assert command("help") == command("--help")


@pytest.mark.parametrize("typed", [["fitt"], ["help", "fitt"]])
def test_of_an_unknown_command_the_nearest_is_told(command: Command, typed: list[str]) -> None:
    code, out, error = command(*typed)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"bridle: No such command 'fitt'\. Did you mean '?fit'?\?.*\n", error)


def test_the_manual_page_is_of_all_commands(command: Command) -> None:
    answer = command("help", "fit", "--man")
    assert answer == (2, "", "bridle: --man: expected without a command, found 'fit'\n")


def manual(command: Command) -> str:
    answer = command("help", "--man")
    assert (answer.code, answer.err) == (0, "")
    return answer.out


def test_the_manual_page_tells_everything(command: Command) -> None:
    page = manual(command)
    assert page.startswith(f'.TH BRIDLE 1 "" "bridle {bridle.__version__}"')
    plain = page.replace(r"\-", "-").replace(r"\&", "").replace(r"\(dq", '"')
    sections = re.findall(r"^\.SH (.*)$", page, re.MULTILINE)
    assert sections == ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMANDS", "EXIT STATUS",
                        "FILES", "EXAMPLES"]  # fmt: skip
    parts = re.split(r'^\.S[SH] "?(?:bridle )?(.*?)"?$', plain, flags=re.MULTILINE)
    by_name = dict(zip(parts[1::2], parts[2::2], strict=True))
    for name, each in GROUP.commands.items():
        assert " ".join(each.help.split("\n\n")[0].split()) in by_name[name]
        for parameter in each.params:
            words = [*parameter.opts, *parameter.secondary_opts]
            if parameter.param_type_name == "argument":
                words = [parameter.metavar]
            for word in words:
                heading = rf"^\.B .*(?<![\w-]){re.escape(word)}(?![\w-])"
                assert re.search(heading, by_name[name], re.MULTILINE), (name, word)
            assert " ".join((parameter.help or "").split()) in by_name[name]
    for code, meaning in exit_codes.MEANINGS.items():
        assert f".B {code}\n{meaning}\n" in by_name["EXIT STATUS"]
    assert "torchrun --nproc-per-node 4 -m bridle fit shards/ --out model" in by_name["EXAMPLES"]


def test_text_is_no_request_of_the_manual_page(command: Command) -> None:
    requests = {
        line.split()[0] for line in manual(command).splitlines() if line.startswith((".", "'"))
    }
    assert requests == {".TH", ".nh", ".ad", ".SH", ".SS", ".B", ".TP", ".PP", ".nf", ".fi"}


@pytest.mark.skipif(shutil.which("groff") is None, reason="there is no groff on this machine")
def test_groff_has_nothing_to_say_of_the_manual_page(command: Command) -> None:
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-Kutf8", "-ww", "-P-cbou"],
        input=manual(command),
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stderr == ""
    shown = " ".join(done.stdout.split())
    assert "bridle - the last layer of a classifier, exact and proven" in shown
    assert "Fit a softmax classifier to its exact optimum, and report it." in shown
    assert "--label-errors Say which labels are likely wrong" in shown
    assert 'drop = ["id", "site"], data = "reviews.csv"' in shown
