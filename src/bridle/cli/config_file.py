"""The options of commands in a TOML file, which ``--config`` reads and ``--save-config`` writes.

A table for each command, as ``[fit]``; in it the options by the names that are typed, without the
dashes, and the arguments by theirs. What is read goes the way of what is typed, so that the same
checks see it. What is written is what was told, not the defaults.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridle import checks, files
from bridle.cli.messages import no_such_option
from bridle.data.files import quoted
from bridle.files import is_there

Tables = dict[str, dict[str, object]]

_HEADING = "# Options of bridle, to be read with --config: a table for each command.\n"
_LARGEST_FILE = 1_000_000
_INTEGERS = range(-(2**63), 2**63)  # what every parser of TOML reads without loss
_NAMED = r"(?:^|: ){0}:|--(?:no-)?{0}\b(?!-)"
_LINE = re.compile(r" \(at line (\d+), column \d+\)$")


@dataclass(frozen=True)
class Option:
    """An option or argument of a command, as a file spells it.

    A flag may have a second name, which says the opposite. ``items`` tells what a text with commas
    is made of, ``numbers`` or ``texts``, so that an array of them may stand in its place.
    """

    parameter: str
    key: str
    kind: type  # bool, int, float, str, or list: several texts
    opposite: str | None = None
    items: str | None = None

    def read(self, key: str, value: object) -> object:
        """Return what would have been typed; of another type a ValueError says what is expected."""
        if self.kind is bool:
            if not isinstance(value, bool):
                raise ValueError("true or false")
            return value != (key == self.opposite)
        if self.kind is list:
            return _items(value, (str,), "text, or an array of texts")
        if self.kind is int:
            return _items([value], (int,), "a whole number of at most 64 bits")[0]
        if self.kind is float:
            return float(_items([value], (int, float), "a number")[0])
        if self.items is None:
            return _items([value], (str,), "text")[0]
        if isinstance(value, str):
            return value
        kinds = (int, float, str) if self.items == "numbers" else (str,)
        items = [str(item) for item in _items(value, kinds, f"text, or an array of {self.items}")]
        if any("," in item for item in items):
            raise ValueError("no comma in an item, as commas part them")
        return ",".join(items)

    def written(self, value: object) -> tuple[str, object]:
        """Return the key and the value that say the same in a file."""
        if self.kind is bool:
            if not value and self.opposite is not None and self.opposite != f"no-{self.key}":
                return self.opposite, True
            return self.key, value
        if self.kind is list and isinstance(value, Sequence):
            texts = [str(item) for item in value]
            return self.key, texts[0] if len(texts) == 1 else texts
        return self.key, value if self.kind in (int, float) else str(value)


def _items(value: object, kinds: tuple[type, ...], expected: str) -> list[Any]:
    items = value if isinstance(value, list) else [value]
    for item in items:
        if isinstance(item, bool) or not isinstance(item, kinds):
            raise ValueError(expected)
        if isinstance(item, int) and item not in _INTEGERS:
            raise ValueError(expected)
        if isinstance(item, str) and "\0" in item:
            raise ValueError(f"{expected}, without U+0000")
    if not items:
        raise ValueError(expected)
    return items


@dataclass(frozen=True)
class Config:
    """What a file tells of one command: values by parameter, and the keys that they stand under."""

    path: Path
    command: str
    values: Mapping[str, object]
    keys: Mapping[str, str]

    def noted(self, message: str, used: Sequence[str]) -> str:
        """Return a message that says which of what it speaks of stands in the file.

        It speaks of an option by its name, or of a file that was told by the file's.
        """
        named = [name for name in used if re.search(_NAMED.format(self.keys[name]), message)]
        meant = named or [name for name in used if message.startswith(_places(self.values[name]))]
        mentioned = [self.keys[name] for name in meant]
        if not mentioned:
            return message
        return f"{message} ({' and '.join(mentioned)}: from [{self.command}] of {self.path})"


def _places(value: object) -> tuple[str, ...]:
    """Return how an error begins that is about a file of this name, or one of these."""
    names = value if isinstance(value, list) else [value]
    return tuple(f"{shown}:" for name in names for shown in (name, repr(name)))


def read(
    path: Path, command: str, options: Sequence[Option], names: Mapping[str, Sequence[str]]
) -> Config:
    """Return what a file tells of a command, one of those whose options' ``names`` are given."""
    table = _table_of(_parsed(path, _text(path)), path, command, list(names))
    known = {key: each for each in options for key in (each.key, each.opposite) if key is not None}
    values, keys = dict[str, object](), dict[str, str]()
    for key, value in table.items():
        place = f"{path}: {one_key(key)} in [{command}]"
        option = known.get(key)
        if option is None:
            raise checks.InputError(f"{place}: {_unknown(key, command, list(known), names)}")
        if option.parameter in keys:
            other = keys[option.parameter]
            raise checks.InputError(f"{place}: expected once, found {one_key(other)} too")
        try:
            values[option.parameter] = option.read(key, value)
        except ValueError as error:
            raise checks.InputError(f"{place}: expected {error}, found {_shown(value)}") from None
        keys[option.parameter] = key
    return Config(path, command, values, keys)


def _text(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise checks.InputError(
            f"{path}: expected a file of options, found more than {_LARGEST_FILE:,} bytes"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise checks.InputError(
            f"{path}: line {line}: expected UTF-8, found the byte 0x{content[error.start]:02x}"
        ) from None


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(f"{text}\n")  # an error at the very end would tell no line
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        place = _LINE.search(reason)
        if place is None:
            raise checks.InputError(f"{path}: expected TOML: {reason}") from None
        line = int(place[1])
        found = quoted(text.split("\n")[line - 1].strip())
        raise checks.InputError(
            f"{path}: line {line}: expected TOML, found {found}: {reason[: place.start()]}"
        ) from None


def _table_of(
    parsed: Mapping[str, Any], path: Path, command: str, commands: Sequence[str]
) -> dict[str, Any]:
    for key, value in parsed.items():
        if key not in commands:
            if isinstance(value, dict):
                what = f"expected the name of a command, {', '.join(commands)}"
                raise checks.InputError(f"{path}: [{one_key(key)}]: {what}")
            what = f"expected in the table of a command, as [{command}]"
            raise checks.InputError(f"{path}: {one_key(key)}: {what}, found before all tables")
        if not isinstance(value, dict):
            raise checks.InputError(f"{path}: {key}: expected a table, found {_shown(value)}")
    if command not in parsed:
        found = ", ".join(f"[{key}]" for key in parsed) or "nothing"
        raise checks.InputError(f"{path}: expected a table [{command}], found {found}")
    table: dict[str, Any] = parsed[command]
    return table


def _unknown(
    key: str, command: str, known: Sequence[str], names: Mapping[str, Sequence[str]]
) -> str:
    if key in ("config", "save-config"):
        return "expected on the command line only"
    others = [other for other, keys in names.items() if key in keys]
    by_letters = {each.lower(): each for each in known}
    meant = key.lower().lstrip("-").replace("_", "-")
    nearest = difflib.get_close_matches(meant, by_letters, n=1)
    hint = f"; {by_letters[nearest[0]]} is one" if nearest and not others else ""
    return no_such_option(command, others) + hint


def one_key(key: str) -> str:
    """Return a key as it may stand in a message: bare where it could in the file."""
    return key if re.fullmatch(r"[\w-]{1,60}", key, re.ASCII) else quoted(key)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value in _INTEGERS else "an integer of more than 64 bits"
    if isinstance(value, float):
        return str(value)
    if isinstance(value, str):
        return f"the text {quoted(value)}"
    if isinstance(value, list):
        items = ("an array" if isinstance(item, list) else _shown(item) for item in value[:3])
        return f"an array of {len(value)}: {', '.join(items)}" if value else "[]"
    return "a table" if isinstance(value, dict) else "a date or a time"


def check_place(path: Path, told: Mapping[str, object]) -> None:
    """Refuse a file that could not be written, or that would lose what somebody else wrote.

    Nor may the command read or write the file for something else, as ``told``.
    """
    from bridle.cli import outputs  # which takes longer to import than the help

    outputs.check_file(path, "--save-config")
    for name, value in told.items():
        if isinstance(value, Path) and value.absolute() == path.absolute():
            option = f"--{name.replace('_', '-')}"
            raise checks.InputError(f"--save-config {path}: expected another file than {option}")
    _others(path)


def save(path: Path, command: str, told: Mapping[str, object]) -> None:
    """Write what was told of a command; what the file tells of others is kept."""
    text = as_toml({**_others(path), command: dict(told)})
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        found = quoted(error.object[error.start : error.end])
        raise checks.InputError(f"--save-config: expected text in UTF-8, found {found}") from None
    files.write_whole(path, content)


def _others(path: Path) -> Tables:
    """Return the tables of a file that holds what was written here, and nothing else."""
    if not is_there(path):
        return {}
    with suppress(ValueError, RecursionError, TypeError, AttributeError):
        content = path.read_bytes() if path.stat().st_size <= _LARGEST_FILE else b"\0"
        tables: Tables = tomllib.loads(content.decode())
        if not content or as_toml(tables) == content.decode():
            return tables  # nobody's words or order of lines would be lost
    raise checks.InputError(
        f"--save-config {path}: is there already, with more in it than bridle wrote; expected a "
        "new file"
    )


def as_toml(tables: Mapping[str, Mapping[str, object]]) -> str:
    """Return tables of flat values as a file; a TypeError says that a value is none of these."""
    lines = [_HEADING]
    for name, table in tables.items():
        lines.append(f"\n[{name}]\n")
        lines += [f"{key} = {_value(value)}\n" for key, value in table.items()]
    return "".join(lines)


def _value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):
        # JSON's escapes are among TOML's, but it leaves U+007F as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (bool, int, float)):
        return str(value).lower()
    raise TypeError
