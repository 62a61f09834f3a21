"""How files are read: told by the user, or inferred while fitting and kept with the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from bridle import checks
from bridle.data import words
from bridle.data.words import TextColumn

# A text that stands for "not known", in any case of letters, beside the empty one. "None" is not
# one of them: it is a fine name for a class.
NA_SPELLINGS = ("na", "n/a", "#n/a", "nan", "-nan", "null", "<na>", "#na")

BLANKS = " "  # the delimiter of fields with any number of blanks or tabs between them
INTEGERS, TEXTS, BOOLEANS = "integers", "texts", "booleans"

# What can be told of files, and nothing else has.
FILE_OPTIONS = (
    *("delimiter", "decimal", "thousands", "encoding", "comment", "header", "na", "na_spellings"),
    "index_base",
)

# What happens to rows without a value. Whatever else is given is the text to put in their place.
NA_POLICIES = ("error", "drop", "mean")

_NAMED_DELIMITERS = {
    "comma": ",",
    "semicolon": ";",
    "tab": "\t",
    "\\t": "\t",
    "pipe": "|",
    "blank": BLANKS,
    "blanks": BLANKS,
    "space": BLANKS,
}
_WORDS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", BLANKS: "blanks"}


@dataclass(frozen=True)
class Reading:
    r"""How files are read; None where nobody has said, so that the file has to show it.

    Attributes
    ----------
    delimiter : str
        Between the fields of a table of text: one sign, or a name of one (``tab``, ``\t``,
        ``semicolon``, ``comma``, ``pipe``, ``blanks``).
    decimal : str
        The decimal sign of a table of text, ``.`` or ``,``.
    thousands : str
        The mark between groups of three digits.
    encoding : str
        Of text files, as Python names it; UTF-8, or what a byte order mark says, if not given.
    comment : str
        What a line of comment begins with; an empty text where there are none.
    header : bool
        Whether a table of text, or a file of labels, begins with the names of its columns.
    na : str
        What happens where a value is missing: ``error``, ``drop`` (of the row), ``mean`` (of the
        column), or the text to put in its place.
    na_spellings : tuple of str
        What stands for a missing value, in any case of letters, beside an empty cell.
    index_base : int
        The number that svmlight files give to their first column, 0 or 1.
    label_kind : str
        What labels are: ``integers``, ``texts`` or ``booleans``.
    fills : mapping of str to float
        For each numeric column what stands in for a missing value: its mean in the fit.
    texts : tuple of TextColumn
        The columns whose words are the last of the features, and what the fit learnt of them.
    """

    delimiter: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    comment: str | None = None
    header: bool | None = None
    na: str | None = None
    na_spellings: tuple[str, ...] | None = None
    index_base: int | None = None
    label_kind: str | None = None
    fills: Mapping[str, float] = field(default_factory=dict)
    texts: tuple[TextColumn, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.delimiter, str):
            named = _NAMED_DELIMITERS.get(self.delimiter.lower(), self.delimiter)
            object.__setattr__(self, "delimiter", named)
        _check(self)

    def over(self, other: Reading) -> Reading:
        """Return what this reading says, and the other's word where it is silent."""
        return replace(other, **self._told())

    def without(self, names: Iterable[str]) -> Reading:
        """Return the same without what it says of some options of files."""
        silent: dict[str, Any] = dict.fromkeys(names)
        return replace(self, **silent)

    def is_missing(self, text: str) -> bool:
        """Tell whether a text stands for a missing value."""
        plain = text.strip().lower()
        return plain == "" or plain in self._spellings

    @property
    def _spellings(self) -> tuple[str, ...]:
        return NA_SPELLINGS if self.na_spellings is None else self.na_spellings

    def to_plain(self) -> dict[str, Any]:
        """Return what is said in JSON's types."""
        said = self._told()
        for name, to_plain in (("na_spellings", list), ("texts", words.to_plain)):
            if name in said:
                said[name] = to_plain(said[name])
        return said

    def _told(self) -> dict[str, Any]:
        silent, own = Reading(), {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in own.items() if value != getattr(silent, name)}

    @classmethod
    def from_plain(cls, plain: object, source: str) -> Reading:
        """Undo `to_plain`; whatever is wrong with what a file holds is one clear error."""
        try:
            if not isinstance(plain, dict):
                raise TypeError("expected an object")
            plain = dict(plain)
            for name, from_plain in (("na_spellings", tuple), ("texts", words.from_plain)):
                if plain.get(name) is not None:
                    plain[name] = from_plain(plain[name])
            return cls(**plain)
        except (TypeError, ValueError) as error:
            raise checks.InputError(
                f"{source}: no readable account of how its files were read ({error})"
            ) from None


def delimiter_word(delimiter: str) -> str:
    """Return what a delimiter is called in a message."""
    return _WORDS.get(delimiter, repr(delimiter))


def _check(reading: Reading) -> None:
    _check_texts(reading)
    _one_of(reading.decimal, "decimal", (".", ","))
    _one_of(reading.index_base, "index-base", (0, 1))
    _one_of(reading.label_kind, "labels", (INTEGERS, TEXTS, BOOLEANS))
    _one_of(reading.header, "header", (True, False))
    if reading.delimiter is not None and (
        len(reading.delimiter) != 1
        or not reading.delimiter.isascii()
        or reading.delimiter in '"\n\r\0'
    ):
        expected = "one sign of ASCII, or comma, semicolon, tab, pipe or blanks"
        raise checks.InputError.of("delimiter", expected=expected, found=repr(reading.delimiter))
    if reading.thousands is not None and (
        len(reading.thousands) != 1 or reading.thousands.isalnum() or reading.thousands in "+-"
    ):
        raise checks.InputError.of("thousands", expected="one sign", found=repr(reading.thousands))
    if reading.thousands is not None and reading.thousands == reading.decimal:
        raise checks.InputError(
            f"thousands: {reading.thousands!r} is the decimal sign as well",
            argument="thousands",
            expected="another sign than the decimal one",
            found=repr(reading.thousands),
        )
    if reading.encoding is not None:
        _check_encoding(reading.encoding)
    numbers = all(
        isinstance(name, str) and isinstance(value, int | float) and np.isfinite(value)
        for name, value in reading.fills.items()
    )
    if not numbers:
        raise checks.InputError(
            "fills: expected a finite number for each column",
            argument="fills",
            expected="a finite number for each column",
        )


def _check_texts(reading: Reading) -> None:
    texts = (*("delimiter", "decimal", "thousands", "encoding", "comment", "na", "label_kind"),)
    for name in texts:
        value = getattr(reading, name)
        if value is not None and not isinstance(value, str):
            raise checks.InputError.of(name, expected="a text", found=repr(value))
    spellings = reading.na_spellings
    if spellings is not None:
        if not all(isinstance(each, str) for each in spellings):
            raise checks.InputError(
                "na-spellings: expected texts", argument="na-spellings", expected="texts"
            )
        plain = tuple(each.strip().lower() for each in spellings)
        object.__setattr__(reading, "na_spellings", plain)
    if not isinstance(reading.fills, Mapping):
        raise checks.InputError(
            "fills: expected a number for each column",
            argument="fills",
            expected="a number for each column",
        )


def _one_of(value: object, name: str, choices: tuple[object, ...]) -> None:
    same = [choice for choice in choices if value == choice and type(value) is type(choice)]
    if value is not None and not same:
        listed = " or ".join(str(choice) for choice in choices)
        raise checks.InputError.of(name, expected=listed, found=repr(value))


def _check_encoding(name: str) -> None:
    try:
        b"text".decode(name)
    except UnicodeError:
        pass  # it is an encoding, of other bytes
    except LookupError as error:
        raise checks.InputError(
            f"encoding: {name!r} is no encoding of text that Python knows, as utf-8, latin-1 or "
            f"cp1252 are",
            argument="encoding",
            expected="an encoding of text that Python knows",
            found=repr(name),
        ) from error


@dataclass(frozen=True)
class Selection:
    """Which columns of a table a fit learns from; a fitted model knows its own.

    Attributes
    ----------
    drop, columns, keep, categorical, text : tuple of str
        Columns to leave out; the only ones to use; those that are features though they number or
        name the rows; those whose values are categories though they look like numbers; those whose
        words are the features, weighed by TF-IDF.
    """

    drop: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
