"""A fit whose rows lie in several places: what each of them says, and the problem of all of it.

Each place checks its own rows; their classes are united, and from then on every place knows the
classes of all. The solver sees one reader.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy.typing as npt

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


class Settings(NamedTuple):
    """What the problem of some rows depends on beside them."""

    class_weight: ClassWeight
    symmetric: bool
    memory_budget: int | None


def rows_of_place(
    features: Rows, found: FitTarget, place: int, masses: Sequence[ClassMasses], settings: Settings
) -> tuple[OwnRows, FitTarget]:
    """Return a place's rows and their target among the classes of all places."""
    target = among_all(found, classes_of_all(masses), settings.class_weight)
    own = own_rows(
        features,
        target,
        symmetric=settings.symmetric,
        memory_budget=settings.memory_budget,
        first_row=sum(each.samples for each in masses[:place]),
    )
    return own, target


def solved_by_ranks(
    ranks: Alone | Ranks, own: Callable[[], tuple[Rows, FitTarget]], settings: Settings,
    solve: Solve[Result],
) -> tuple[Result, Array]:  # fmt: skip
    """Return what ``solve`` finds, and the classes; ``own`` checks this rank's rows.

    Raises
    ------
    InputError, RankError
        What is wrong with the rows of one of them, on all of them.
    """
    features, found = ranks.made(own)
    masses = ranks.gathered(lambda: ClassMasses.of(found))
    rows, target = rows_of_place(features, found, ranks.rank, masses, settings)
    if ranks.rank == 0:
        warn_of_weightless(target)
    result = solved(ranks, [rows.reader], lambda readers: solve(rows._replace(reader=readers[0])))
    return result, target.classes
