"""Cross-validation whose rows lie with several processes: every fold's rows are, too.

The folds are those that scikit-learn's `StratifiedKFold` makes of all rows in their order. Which
fold a row is held out in follows from how many rows of its class come before it: each process knows
that of its own rows, once the counts are told. All folds are fitted in the same passes, and judged
by sums as they are fitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import PredefinedSplit

from bridle import checks
from bridle.estimators.path import Fit, Path, fit_folds
from bridle.estimators.problem import OwnRows, own_rows
from bridle.estimators.shares import Own, Part, Settings, united
from bridle.fit.problem.targets import ClassMasses, FitTarget, among_all, warn_of_weightless
from bridle.fit.readers import Reader
from bridle.fit.readers.block_sizes import default_memory
from bridle.fit.requests import Point, Values
from bridle.ranks import Ranks
from bridle.rows import Rows

Array = npt.NDArray[Any]


class Counts(NamedTuple):
    """What a process says of its rows: how many of each class, and where the first of it is."""

    rows: int
    of_class: Array  # (K,)
    first: Array  # (K,): the row's number among these; beyond all where there is none


@dataclass(frozen=True)
class SharedFolds:
    """The folds of one process's rows, among those of all."""

    classes: Array
    rows: OwnRows  # all of this process's
    training: list[OwnRows]  # one for each fold: the rows held out have no weight
    held_out: list[OwnRows]
    places: list[Array]  # which of its rows each fold holds out
    held_weight: Array  # (folds,): what all rows that a fold holds out weigh

    def readers(self) -> list[Reader]:
        """Return the readers of all, of the training and of what is held out, in that order."""
        return [each.reader for each in (self.rows, *self.training, *self.held_out)]

    def of(self, readers: Sequence[Reader]) -> SharedFolds:
        """Return the same with the readers of all processes' rows."""
        count = len(self.training)

        def with_readers(rows: Sequence[OwnRows], which: slice) -> list[OwnRows]:
            pairs = zip(rows, readers[which], strict=True)
            return [each._replace(reader=reader) for each, reader in pairs]

        return replace(
            self,
            rows=self.rows._replace(reader=readers[0]),
            training=with_readers(self.training, slice(1, 1 + count)),
            held_out=with_readers(self.held_out, slice(1 + count, None)),
        )


def shared_folds(
    ranks: Ranks,
    own: Own,
    cv: int | PredefinedSplit,
    settings: Settings,
) -> SharedFolds:
    """Return this process's part of the folds: of a number of them, or told for its own rows.

    Raises
    ------
    InputError, RankError
        What is wrong with the rows of one of them, on all of them; distributions, fewer rows of
        every class than folds, a class with one sample.
    """
    features, found, names = ranks.made(own)
    of_all, first_rows = united(ranks.gathered(lambda: Part(ClassMasses.of(found), names)))
    if of_all.are_distributions:
        raise checks.InputError.of(
            "y", expected="labels", found="distributions: no folds of classes"
        )
    target = among_all(found, of_all, None)
    if ranks.rank == 0:
        warn_of_weightless(target)
    classes = len(of_all.classes)
    counts = ranks.gathered(lambda: _counts(target.target, classes))
    if isinstance(cv, int):
        folds, fold = cv, fold_of_rows(target.target, counts, ranks.rank, cv)
    else:
        told = ranks.made(partial(_told, cv, len(target.target)))
        every_fold_told = np.unique(np.concatenate(ranks.gathered(lambda: np.unique(told))))
        named = every_fold_told[every_fold_told >= 0]
        # A gap in the numbers is no fold.
        fold = np.where(told < 0, -1, np.searchsorted(named, told))
        folds = len(named)
    if folds < 2:
        raise checks.InputError.of("cv", expected="two folds or more", found=folds)
    weight = np.ones(len(fold)) if target.sample_weight is None else target.sample_weight
    held = np.zeros((folds, classes))
    is_held = fold >= 0
    np.add.at(held, (fold[is_held], target.target[is_held]), weight[is_held])
    held_mass = np.sum(ranks.gathered(lambda: held), axis=0)
    total = of_all.mass
    _check_learned(of_all, total - held_mass)
    if not held_mass.any(axis=1).all():
        empty = int(np.argmin(held_mass.any(axis=1)))
        raise checks.InputError.of(
            "cv", expected="samples with weight in every fold", found=f"none in fold {empty}"
        )
    first_row = first_rows[ranks.rank]
    # Those of training and of what is held out are all there at the same time.
    budget = checks.memory_budget(settings.memory_budget) or default_memory(features)
    every_fold = settings._replace(memory_budget=max(1, budget // (2 * folds + 1)))

    def part(rows: Rows, kept: Array, mass: Array, told: Settings) -> OwnRows:
        own_target = FitTarget(of_all.classes, target.target, weight * kept)
        weighed = among_all(own_target, of_all._replace(mass=mass), told.class_weight)
        return own_rows(
            rows,
            weighed,
            symmetric=told.symmetric,
            memory_budget=told.memory_budget,
            first_row=first_row,
        )

    found_folds = SharedFolds(
        classes=of_all.classes,
        rows=part(features, np.ones(len(fold)), total, every_fold),
        training=[
            part(features, fold != number, total - held_mass[number], every_fold)
            for number in range(folds)
        ],
        held_out=[
            part(features, fold == number, total, every_fold._replace(class_weight=None))
            for number in range(folds)
        ],
        places=[np.flatnonzero(fold == number) for number in range(folds)],
        held_weight=held_mass.sum(axis=1),
    )
    judged, fitted = found_folds.held_out[0].classes, found_folds.rows.classes
    for label in judged[~np.isin(judged, fitted)]:
        raise checks.InputError.of(
            "class_weight",
            expected="a weight above 0 for every class, whose log loss would be infinite",
            found=f"0 for {label!s}",
        )
    return found_folds


def _counts(target: Array, classes: int) -> Counts:
    first = np.full(classes, np.iinfo(np.int64).max)
    present, where = np.unique(target, return_index=True)
    first[present] = where
    return Counts(len(target), np.bincount(target, minlength=classes), first)


def fold_of_rows(target: Array, counts: Sequence[Counts], rank: int, folds: int) -> Array:
    """Return which fold holds out each of a rank's rows, as `StratifiedKFold` has it.

    Raises
    ------
    InputError
        More folds than any class has rows.
    """
    total = np.sum([each.of_class for each in counts], axis=0)
    if total.max() < folds:
        raise checks.InputError.of(
            "cv", expected=f"at most {total.max()} folds, as many as a class has rows", found=folds
        )
    # The classes in the order in which they first appear, laid one after the other, are dealt out
    # to the folds in turn.
    starts = np.cumsum([0, *(each.rows for each in counts)])[:-1]
    last = np.iinfo(np.int64).max
    first = np.min(
        [
            np.where(each.first == last, last, each.first + start)
            for each, start in zip(counts, starts.tolist(), strict=True)
        ],
        axis=0,
    )
    order = np.argsort(first, kind="stable")
    begin = np.empty(len(total), np.int64)
    begin[order] = np.cumsum([0, *total[order]])[:-1]
    before = sum((each.of_class for each in counts[:rank]), np.zeros(len(total), np.int64))
    found = np.empty(len(target), np.intp)
    for place in np.flatnonzero(counts[rank].of_class).tolist():
        own = np.flatnonzero(target == place)
        dealt = [
            _multiples(begin[place], begin[place] + total[place], number, folds)
            for number in range(folds)
        ]
        found[own] = np.searchsorted(
            np.cumsum(dealt), before[place] + np.arange(len(own)), side="right"
        )
    return found


def _multiples(begin: int, end: int, rest: int, step: int) -> int:
    """Return how many whole numbers in [begin, end) leave a rest in a division by step."""
    return int((end - rest + step - 1) // step - (begin - rest + step - 1) // step)


def _told(cv: PredefinedSplit, count: int) -> Array:
    fold = np.asarray(cv.test_fold)
    if len(fold) != count:
        raise checks.InputError.of(
            "cv", expected=f"a fold for each of {count} samples", found=len(fold)
        )
    return fold


def _check_learned(of_all: ClassMasses, training_mass: Array) -> None:
    learned = training_mass > 1e-12 * of_all.mass
    missing = (of_all.mass > 0) & ~learned.all(axis=0)
    if missing.any():
        place = int(np.argmax(missing))
        fold = int(np.argmin(learned[:, place]))
        raise checks.InputError.of(
            "cv",
            expected="a training sample of every class in every fold",
            found=f"none of class {of_all.classes[place]!s} in fold {fold}",
        )


class Search:
    """The fits of all folds at the strengths that are asked for, and their scores."""

    def __init__(
        self, folds: SharedFolds, *, fit_intercept: bool, standardize: bool | float, tol: float,
        max_iter: int,
    ) -> None:  # fmt: skip
        self._folds = folds
        self._problems = [
            rows.problem(fit_intercept=fit_intercept, standardize=standardize)
            for rows in folds.training
        ]
        self._paths = [Path(problem, tol, max_iter) for problem in self._problems]

    def fit(self, Cs: Sequence[float]) -> None:
        """Fit all folds at all ``Cs``, at once."""
        fit_folds(self._paths, Cs)

    def fits(self, C: float) -> list[Fit]:
        """Return the folds' fits at ``C``."""
        return [dict(path.fits([C]))[C] for path in self._paths]

    def keep_only(self, Cs: set[float]) -> None:
        """Forget all other optima: many of them would take more memory than the data."""
        for path in self._paths:
            path.keep_only(Cs)

    def scores(self, C: float) -> Array:
        """Return −(mean log loss) at ``C`` of what each fold holds out."""
        losses = []
        for fit, problem, rows in zip(
            self.fits(C), self._problems, self._folds.held_out, strict=True
        ):
            point = Point(*problem.objective.in_feature_units(fit.parameters))
            losses.append(float(rows.reader.answer(Values(point)).loss))
        return -np.array(losses) / self._folds.held_weight
