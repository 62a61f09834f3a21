"""``--arrays X=a,y=b``: which arrays of a file are the features and the labels."""

from __future__ import annotations

from collections.abc import Sequence

from bridle import checks
from bridle.data.archive import ROLES

__all__ = ["ROLES", "named_arrays"]


def named_arrays(given: str | None, roles: Sequence[str] = ("X", "y")) -> dict[str, str] | None:
    """Return the names of arrays by what they are for; None where nothing is named.

    >>> named_arrays("X=pixels,y=digit")
    {'X': 'pixels', 'y': 'digit'}
    """
    if given is None:
        return None
    names = dict[str, str]()
    for entry in given.split(","):
        role, _, name = (word.strip() for word in entry.partition("="))
        if role not in roles or not name or role in names:
            more = " (also X_test, y_test)" if "X_test" in roles else ""
            raise checks.InputError(
                f"--arrays: expected X=NAME,y=NAME{more}, each once, found {given!r}"
            )
        names[role] = name
    return names
