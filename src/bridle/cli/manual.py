"""The manual page, bridle(1): every command and option, from what their help says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import bridle
from bridle import exit_codes

_FILES = (
    ("model.safetensors", "A fitted model, which bridle predict and bridle.load read."),
    ("metrics.json", "The figures of a fit or of a training."),
    ("predictions.csv", "What the model says of the samples that it was judged on."),
    ("run.toml", "Whatever it is called: options that --config reads and --save-config writes."),
)


def page(root: Any) -> str:
    """Return the page in the language of man, given the context of the command as a whole."""
    return "".join(f"{line}\n" for line in _lines(root))


def _lines(root: Any) -> Iterator[str]:
    group = root.command
    yield f'.TH BRIDLE 1 "" "bridle {bridle.__version__}" "User Commands"'
    yield from (".nh", ".ad l")  # names of options and files are not to be parted
    yield from (".SH NAME", _text("bridle - the last layer of a classifier, exact and proven"))
    yield from (".SH SYNOPSIS", ".B bridle", _text("COMMAND [OPTIONS] …"))
    yield from (".SH DESCRIPTION", _text(group.help))
    yield from (".SH OPTIONS", *_options(group, root))
    yield ".SH COMMANDS"
    commands = {
        name: (command, type(root)(command, info_name=name, parent=root))
        for name, command in group.commands.items()
    }
    for name, (command, context) in commands.items():
        yield f'.SS "bridle {name}"'
        yield from (f".B bridle {name}", _text(" ".join(command.collect_usage_pieces(context))))
        for paragraph in command.help.split("\n\n"):
            yield from (".PP", _text(paragraph))
        yield from _options(command, context)
    yield ".SH EXIT STATUS"
    for code, meaning in exit_codes.MEANINGS.items():
        yield from _entry(str(code), meaning)
    yield ".SH FILES"
    for file, meaning in _FILES:
        yield from _entry(file, meaning)
    yield from (".SH EXAMPLES", ".nf")
    for command in (group, *(command for command, _ in commands.values())):
        yield from (_text(line) for line in re.findall(r"Example: (.+)", command.epilog or ""))
    yield ".fi"


def _options(command: Any, context: Any) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            yield from _entry(*record)


def _entry(term: str, meaning: str) -> Iterator[str]:
    yield from (".TP", f".B {_text(term)}", _text(meaning))


def _text(text: str) -> str:
    """Return text on one line, in which nothing is taken for a request or an escape."""
    line = " ".join(text.split()).replace("\\", r"\e").replace("-", r"\-").replace('"', r"\(dq")
    return rf"\&{line}" if line.startswith((".", "'")) else line
