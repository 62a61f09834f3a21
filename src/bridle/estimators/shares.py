"""What each process of a fit has of the rows, and what all of it says of the classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bridle.fit.problem.targets import (
    ClassMasses,
    ClassWeight,
    FitTarget,
    among_all,
    classes_of_all,
    warn_of_weightless,
)
from bridle.ranks import Alone, Ranks
from bridle.rows import Rows


class Share(NamedTuple):
    """The rows of one process; all of them, where there is but one."""

    features: Rows
    target: FitTarget  # among the classes of all
    first_row: int  # the number of its first row, among those of all


def share_of(
    ranks: Alone | Ranks, own: Callable[[], tuple[Rows, FitTarget]], class_weight: ClassWeight
) -> Share:
    """Return a process's share; ``own`` checks its rows, whose classes are its own.

    Raises
    ------
    InputError, RankError
        What is wrong with the rows of one of them, on all of them.
    """
    features, found = ranks.made(own)
    masses = ranks.gathered(lambda: ClassMasses.of(found))
    target = among_all(found, classes_of_all(masses), class_weight)
    if ranks.rank == 0:
        warn_of_weightless(target)
    return Share(features, target, sum(each.samples for each in masses[: ranks.rank]))
