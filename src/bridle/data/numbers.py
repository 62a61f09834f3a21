"""Texts that are numbers, and texts that would be but for a mark."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.data.reading import Reading

Array = npt.NDArray[Any]

_TRUTH = {"True": 1.0, "TRUE": 1.0, "true": 1.0, "False": 0.0, "FALSE": 0.0, "false": 0.0}
_INTEGER = re.compile(r"[+-]?[0-9]+")
_POINT = re.compile(r"[+-]?[0-9]*\.[0-9]+([eE][+-]?[0-9]+)?")
_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?")
# As a fraction that has three digits behind the comma, this could be a number of thousands.
_COMMA_OR_GROUPS = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")
_MARK_OF_GROUPS = r"[,.'\u2019 \u00a0\u202f]"
_GROUPS = re.compile(
    rf"[+-]?[1-9][0-9]{{0,2}}(?P<mark>{_MARK_OF_GROUPS})[0-9]{{3}}(?:(?P=mark)[0-9]{{3}})*(?:[.,][0-9]*)?"
)
_MINUS = "\u2212"
_CURRENCY = r"(?:[$€£¥₹₽₩]|(?:USD|EUR|GBP|JPY|CHF|CNY|INR|CAD|AUD)|(?:US|A|C)\$)"
_MARKED = re.compile(
    rf"\(?[+-]?\s*(?P<before>{_CURRENCY})?\s*[+-]?(?P<number>[0-9][0-9.,'\u2019 \u00a0\u202f]*)"
    rf"(?:[eE][+-]?[0-9]+)?\s*(?P<after>[%‰]|{_CURRENCY})?\)?"
)


def plain_number(text: str, reading: Reading) -> float:
    """Return the number that a text is, NaN where it is none."""
    if "_" in text:  # Python would skip it: 1_1 is no 11
        return float("nan")
    decimal = reading.decimal or "."
    if reading.thousands is not None:
        text = _without_groups(text, reading.thousands, decimal)
    if decimal == ",":
        if "." in text:
            return float("nan")
        text = text.replace(",", ".")
    try:
        return float(text)
    except ValueError:
        return float("nan")


def plain_numbers(texts: Iterable[str], reading: Reading) -> Array:
    """Return the numbers that texts are, NaN where they are none."""
    return np.array([plain_number(text, reading) for text in texts], np.float64)


def whole_column(texts: Array, reading: Reading) -> Array | None:
    """Return a column of texts (as objects) as float64 or booleans if every one is such."""
    if reading.thousands is None and reading.decimal != ",":
        # Python's own reading of each, in one go: exact, and most of what is ever read.
        try:
            found = texts.astype(np.float64)
        except ValueError:
            return truths(texts.tolist())
        clean = not np.isnan(found).any() and "_" not in "".join(texts.tolist())
        return found if clean else None
    found = plain_numbers(texts.tolist(), reading)
    return found if not np.isnan(found).any() else truths(texts.tolist())


def is_plain_integer(text: str) -> bool:
    """Tell whether a text is spelled as Python writes an integer: no zeros, signs or marks ahead.

    >>> [text for text in ("7", "-1", "007", "+7", "-0", "1_1", "1.0", "1e3") if is_plain_integer(text)]
    ['7', '-1']
    """  # noqa: E501
    if not _INTEGER.fullmatch(text) or len(text) > 20:
        return False
    value = int(text)
    return str(value) == text and -(2**63) <= value < 2**63


def writes_decimal_comma(columns: Iterable[Iterable[str]]) -> bool:
    """Tell from the texts of columns whether a table writes decimals with a comma.

    One column has to hold nothing but such numbers (and whole ones), one of them no number of
    thousands; and no column numbers with a point.
    """
    found = False
    for texts in columns:
        values = set(texts)
        fractions = [text for text in values if not _INTEGER.fullmatch(text)]
        if fractions and all(_POINT.fullmatch(text) for text in fractions):
            return False
        if fractions and all(_COMMA.fullmatch(text) for text in fractions):
            found = found or not all(_COMMA_OR_GROUPS.fullmatch(text) for text in fractions)
    return found


def mark_of(text: str) -> str | None:
    """Return what is wrong with a text that would be a number without a mark; None for others.

    >>> mark_of("12,345"), mark_of("$5"), mark_of("5%"), mark_of("a5")
    ("the ',' in it may mark thousands or decimals", "it has the mark '$'", "it has the mark '%'", None)
    """  # noqa: E501
    text = text.strip()
    if text.startswith(_MINUS) and text[1:2].isdigit():
        return f"its minus is the sign {_MINUS!r}, not a hyphen"
    match = _MARKED.fullmatch(text)
    if match is None:
        return None
    number = match["number"].strip()
    sign = match["before"] or match["after"]
    if sign is not None:
        return f"it has the mark {sign!r}"
    groups = _GROUPS.fullmatch(number)
    if groups is not None:
        mark = groups["mark"]
        return (
            "the ',' in it may mark thousands or decimals"
            if _COMMA_OR_GROUPS.fullmatch(number)
            else f"it has {mark!r} between its thousands"
        )
    return "it has a decimal comma" if _COMMA.fullmatch(number) else None


def _without_groups(text: str, mark: str, decimal: str) -> str:
    if mark not in text:
        return text
    whole, point, fraction = text.partition(decimal)
    first, *groups = whole.split(mark)
    sound = all(len(group) == 3 and group.isdigit() for group in groups)
    if not sound or not 1 <= len(first.lstrip("+-")) <= 3 or mark in fraction:
        return "?"
    return "".join([first, *groups, point, fraction])


def truths(texts: Iterable[str]) -> Array | None:
    """Return texts as booleans if every one is ``true`` or ``false``, in the usual spellings."""
    values = []
    for text in texts:
        truth = _TRUTH.get(text.strip())
        if truth is None:
            return None
        values.append(truth)
    return np.array(values, np.bool_) if values else None
