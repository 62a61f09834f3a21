"""A fit whose rows lie in several places: what each of them says, and the problem of all of it.

Each place checks its own rows; their classes are united, and from then on every place knows the
classes of all. The solver sees one reader. Places are the ranks of a process group (`RankPlaces`)
or the parts on a Dask cluster (`cluster.ClusterPlaces`); whatever is done in each of them is
written once, for both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import zip_longest
from typing import Any, NamedTuple, Protocol, TypeVar

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
from bridle.fit.readers import Reader
from bridle.fit.readers.ranks import solved
from bridle.ranks import Alone, Ranks
from bridle.rows import Rows

Array = npt.NDArray[Any]
Result = TypeVar("Result")
# What is looked for in the rows of all places, whose reader answers for them together.
Solve = Callable[[OwnRows], Result]
# The rows of a place, the target, whose classes are its own, and what its features are called.
Checked = tuple[Rows, FitTarget, tuple[str, ...]]
Own = Callable[[], Checked]
# What each place has made of its own. Of a rank it is that rank's; of a cluster, one of these is a
# list of futures, one for each part, or a single future, the same for all.
Made = Any


class Places(Protocol):
    """Where the rows are, and how something is done in each of these places."""

    checked: Made  # of each place: `Checked`
    is_first: bool  # whether this process tells the user

    def make(self, work: Callable[..., Any], *given: Made) -> Made:
        """Let each place make something, which stays there, from what it has."""

    def said(self, made: Made) -> list[Any]:
        """Return what each place made, in their order: small things only."""

    def one(self, made: Made) -> Any:
        """Return what one of them made, where all have made the same."""

    def own(self, made: Made) -> Array:
        """Return the arrays that places made of the rows that this process was given, as one."""

    def shared(self, value: Any) -> Made:
        """Give one value to all places."""

    def dealt(self, values: Sequence[Any]) -> Made:
        """Give each place its own of several values."""

    def told_of_rows(self, values: Array, name: str, counts: Sequence[int]) -> Made:
        """Give each place what is told of its rows, of which there are so many in each.

        Raises
        ------
        InputError
            Something is told of another number of rows.
        """

    def solved(self, readers: Made, solve: Callable[[Sequence[Reader]], Result]) -> Result:
        """Return what ``solve`` makes of readers of all rows; each place has as many of its own.

        Raises
        ------
        InputError, RankError, ClusterError
            What went wrong in one of them.
        """


class RankPlaces:
    """The ranks of a process group, each of which calls everything that is here; or one process."""

    def __init__(self, ranks: Alone | Ranks, own: Own, rows: int) -> None:
        """Let every rank check its ``rows``.

        Raises
        ------
        InputError, RankError
            What is wrong with the rows of one of them, on all of them.
        """
        self._ranks, self.is_first = ranks, ranks.rank == 0
        # Known before anything is checked, so that a bad row's number among all can be told.
        self._first_row = sum(ranks.gathered(lambda: rows)[: ranks.rank])
        # Who checks rows knows of no others; whatever is made of them later does.
        self.checked = ranks.made(partial(self._attempted, own, counted_over_all=False))

    def make(self, work: Callable[..., Any], *given: Made) -> Made:
        """Let each rank make something."""
        made = partial(work, *given)
        return self._ranks.made(partial(self._attempted, made, counted_over_all=True))

    def _attempted(self, work: Callable[[], Any], *, counted_over_all: bool) -> Made:
        try:
            return work()
        except checks.InputError as error:
            if self._ranks.size == 1:
                raise
            place = f"rank {self._ranks.rank}"
            raise error.found_among(
                place, self._first_row, counted_over_all=counted_over_all
            ) from None

    def said(self, made: Made) -> list[Any]:
        """Return what each rank made."""
        return self._ranks.gathered(lambda: made)

    def one(self, made: Made) -> Any:
        """Return what this rank made."""
        return made

    def own(self, made: Made) -> Array:
        """Return what this rank made."""
        return np.asarray(made)

    def shared(self, value: Any) -> Made:
        """Return the value, which all ranks have."""
        return value

    def dealt(self, values: Sequence[Any]) -> Made:
        """Return this rank's value."""
        return values[self._ranks.rank]

    def told_of_rows(self, values: Array, name: str, counts: Sequence[int]) -> Made:
        """Return what this rank tells of its rows."""
        return self.make(check_told, values, name, counts[self._ranks.rank])

    def solved(self, readers: Made, solve: Callable[[Sequence[Reader]], Result]) -> Result:
        """Return, on all ranks, what ``solve`` makes on the first."""
        return solved(self._ranks, readers, solve)


def check_told(values: Array, name: str, count: int) -> Array:
    """Refuse what is not told of so many rows."""
    if len(values) != count:
        raise checks.InputError.of(
            name, expected=f"a fold for each of {count} samples", found=len(values)
        )
    return values


def rows_in(X: Any) -> int:
    """Return how many rows features have that are not checked yet; 0 where they do not say it."""
    shape = getattr(X, "shape", None)
    if shape is not None:
        return int(shape[0]) if len(shape) else 0
    return len(X) if hasattr(X, "__len__") else 0


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


def _part(checked: Checked) -> Part:
    _, found, names = checked
    return Part(ClassMasses.of(found), names)


def whole_of(places: Places) -> Whole:
    """Return what all places say of their rows together; see `united`."""
    return united(places.said(places.make(_part, places.checked)))


def target_of_all(of_all: ClassMasses, class_weight: ClassWeight) -> FitTarget:
    """Return a target that has no rows, and stands for those of all places."""
    none = FitTarget(of_all.classes[:0], np.zeros(0, np.intp), None)
    return among_all(none, of_all, class_weight)


def _rows_of_place(
    checked: Checked, of_all: ClassMasses, first_row: int, settings: Settings
) -> OwnRows:
    features, found, _ = checked
    target = among_all(found, of_all, settings.class_weight)
    return own_rows(
        features,
        target,
        symmetric=settings.symmetric,
        memory_budget=settings.memory_budget,
        first_row=first_row,
    )


def _readers(rows: OwnRows) -> list[Reader]:
    return [rows.reader]


def without_reader(rows: OwnRows) -> OwnRows:
    """Return what is known of all rows, without a place's own."""
    return rows._replace(reader=None)  # type: ignore[arg-type]  # the one of all comes in its place


def solved_over(places: Places, settings: Settings, solve: Solve[Result]) -> tuple[Result, Array]:
    """Return what ``solve`` finds in the rows of all places, and the classes.

    Raises
    ------
    InputError, RankError, ClusterError
        What is wrong with the rows of one of them, or went wrong there.
    """
    of_all, first_rows = whole_of(places)
    target = target_of_all(of_all, settings.class_weight)
    if places.is_first:
        warn_of_weightless(target)
    rows = places.make(
        _rows_of_place,
        places.checked,
        places.shared(of_all),
        places.dealt(first_rows),
        places.shared(settings),
    )
    whole = places.one(places.make(without_reader, rows))
    result = places.solved(
        places.make(_readers, rows), lambda readers: solve(whole._replace(reader=readers[0]))
    )
    return result, target.classes
