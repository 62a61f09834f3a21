"""What goes wrong, in one line that says where."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from bridle import checks
from bridle.cli import ranks
from bridle.data import Dataset
from bridle.ranks import Alone, Ranks

# What was typed after "bridle", for whoever has to say it.
typed: ContextVar[Sequence[str]] = ContextVar("typed", default=())

# The names that the library gives to arrays; the user of the command knows files only.
_ARGUMENTS = ("X: ", "y: ", "scores_or_probabilities: ")


def one_line(text: str) -> str:
    """Return text on one line, with nothing in it that steers a terminal or has no encoding."""
    joined = " ".join(text.split())
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii")
        for sign in joined
    )


def no_such_option(command: str, others: Sequence[str]) -> str:
    """Return that a command has no such option, and which others have it.

    >>> no_such_option("predict", ["fit", "train", "compare"])
    'bridle predict has no such option, bridle fit, bridle train and bridle compare have it'
    """
    found = f"bridle {command} has no such option"
    if not others:
        return found
    *first, last = (f"bridle {each}" for each in others)
    listed = f"{', '.join(first)} and {last}" if first else last
    return f"{found}, {listed} {'have' if first else 'has'} it"


def tell(dataset: Dataset) -> None:
    """Say which part of a file that holds several was taken, where nothing else says it."""
    if dataset.taken:
        tell_user(f"{dataset.source}: taken: {dataset.taken}")


def tell_user(what: str) -> None:
    """Say something beside the figures: a line on standard error."""
    if ranks.rank() == 0:
        print(f"bridle: {one_line(what)}", file=sys.stderr, flush=True)


@contextmanager
def about(source: str) -> Iterator[None]:
    """Name the data in an error that speaks of arrays."""
    try:
        yield
    except checks.InputError as error:
        raise _named(error, source) from None


def _named(error: checks.InputError, source: str) -> checks.InputError:
    what = str(error)
    for argument in _ARGUMENTS:
        what = what.removeprefix(argument)
    if what.startswith(f"{source}: "):
        return error
    named = checks.InputError(f"{source}: {what}", row=error.row)
    named.place = error.place
    return named


@contextmanager
def about_part(dataset: Dataset, all_ranks: Alone | Ranks, first_row: int) -> Iterator[None]:
    """Name the data, the process and the row's numbers in an error that speaks of a part's rows.

    ``first_row`` is the number of the part's first row among all of the data.
    """
    try:
        yield
    except checks.InputError as error:
        named = _named(error, dataset.source)
        if all_ranks.size > 1:
            place = f"rank {all_ranks.rank}"
            named = named.found_among(place, first_row, counted_over_all=False)
        raise dataset.with_its_file(named) from None
