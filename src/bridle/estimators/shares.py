"""A fit whose rows lie in several places: what each of them says, and the problem of all of it.

Each place checks its own rows; their classes are united, and from then on every place knows the
classes of all. The solver sees one reader.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import zip_longest
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.estimators.problem import OwnRows, own_rows
from bridle.fit.problem.targets import (
    ClassMasses,
    ClassWeight,
    FitTarget,
    among_all,
    classes_of_all,
    warn_of_weightless,
)
from bridle.fit.readers.ranks import solved
from bridle.ranks import Alone, Ranks
from bridle.rows import Rows

Array = npt.NDArray[Any]
Result = TypeVar("Result")
# What is looked for in the rows of all places, whose reader answers for them together.
Solve = Callable[[OwnRows], Result]
# Checks the rows of a place, whose classes are its own, and says what its features are called.
Own = Callable[[], tuple[Rows, FitTarget, tuple[str, ...]]]


class Part(NamedTuple):
    """What a place says of its rows, before any is read."""

    masses: ClassMasses
    names: tuple[str, ...]  # of the features; none where they have none


class Whole(NamedTuple):
    """What all places say together, and where the rows of each begin."""

    of_all: ClassMasses
    first_rows: tuple[int, ...]


def united(parts: Sequence[Part]) -> Whole:
    """Return what parts say together.

    Raises
    ------
    InputError
        Other names of features in one part than in another; classes that do not go together.
    """
    filled = [part for part in parts if part.masses.samples] or list(parts[:1])
    for part in filled:
        if part.names != filled[0].names:
            raise checks.InputError.of(
                "X",
                expected="features of the same names, in one order, in all parts",
                found=_first_difference(filled[0].names, part.names),
            )
    masses = [part.masses for part in parts]
    starts = np.cumsum([0, *(each.samples for each in masses)])[:-1]
    return Whole(classes_of_all(masses), tuple(starts.tolist()))


def _first_difference(one: Sequence[str], other: Sequence[str]) -> str:
    for left, right in zip_longest(one, other, fillvalue="none"):
        if left != right:
            return f"{left} in one and {right} in another"
    return "the same"


class Settings(NamedTuple):
    """What the problem of some rows depends on beside them."""

    class_weight: ClassWeight
    symmetric: bool
    memory_budget: int | None


def rows_of_place(
    features: Rows, found: FitTarget, of_all: ClassMasses, first_row: int, settings: Settings
) -> tuple[OwnRows, FitTarget]:
    """Return a place's rows and their target among the classes of all places."""
    target = among_all(found, of_all, settings.class_weight)
    own = own_rows(
        features,
        target,
        symmetric=settings.symmetric,
        memory_budget=settings.memory_budget,
        first_row=first_row,
    )
    return own, target


def solved_by_ranks(
    ranks: Alone | Ranks, own: Own, settings: Settings, solve: Solve[Result]
) -> tuple[Result, Array]:
    """Return what ``solve`` finds, and the classes; ``own`` checks this rank's rows.

    Raises
    ------
    InputError, RankError
        What is wrong with the rows of one of them, on all of them.
    """
    features, found, names = ranks.made(own)
    whole = united(ranks.gathered(lambda: Part(ClassMasses.of(found), names)))
    first_row = whole.first_rows[ranks.rank]
    rows, target = ranks.made(
        partial(rows_of_place, features, found, whole.of_all, first_row, settings)
    )
    result = solved(ranks, [rows.reader], lambda readers: solve(rows._replace(reader=readers[0])))
    if ranks.rank == 0:
        warn_of_weightless(target)
    return result, target.classes
