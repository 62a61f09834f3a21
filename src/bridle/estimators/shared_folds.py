"""Cross-validation whose rows lie in several places: every fold's rows do, too.

The folds are those that scikit-learn's `StratifiedKFold` makes of all rows in their order. Which
fold a row is held out in follows from how many rows of its class come before it: each place knows
that of its own rows, once the counts are told. All folds are fitted in the same passes, and judged
by sums as they are fitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import PredefinedSplit

from bridle import checks
from bridle.estimators.path import Fit, Path, fit_folds
from bridle.estimators.problem import OwnRows, own_rows
from bridle.estimators.shares import (
    Checked,
    Made,
    Places,
    Settings,
    target_of_all,
    whole_of,
    without_reader,
)
from bridle.fit.problem.penalty import PenaltyKind
from bridle.fit.problem.targets import ClassMasses, FitTarget, among_all, warn_of_weightless
from bridle.fit.readers import Reader
from bridle.fit.readers.block_sizes import default_memory
from bridle.fit.requests import Point, Values

Array = npt.NDArray[Any]


class Counts(NamedTuple):
    """What a place says of its rows: how many of each class, and where the first of it is."""

    rows: int
    of_class: Array  # (K,)
    first: Array  # (K,): the row's number among these; beyond all where there is none


@dataclass(frozen=True)
class SharedFolds:
    """The folds of one place's rows, among those of all."""

    classes: Array
    rows: OwnRows  # all of this place's
    training: list[OwnRows]  # one for each fold: the rows held out have no weight
    held_out: list[OwnRows]
    fold: Array  # (N,): which one holds out each row; -1 for none
    held_weight: Array  # (folds,): what all rows that a fold holds out weigh

    def readers(self) -> list[Reader]:
        """Return the readers of all, of the training and of what is held out, in that order."""
        return [each.reader for each in (self.rows, *self.training, *self.held_out)]

    def of(self, readers: Sequence[Reader]) -> SharedFolds:
        """Return the same with the readers of all places' rows."""
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
    places: Places, cv: int | PredefinedSplit, settings: Settings
) -> tuple[Made, SharedFolds]:
    """Return each place's part of the folds, and what is known of them without their rows.

    They are a number of folds, or told for the rows: a rank tells of its own, a cluster's client
    of all.

    Raises
    ------
    InputError, RankError, ClusterError
        What is wrong with the rows of one of the places; distributions, fewer rows of every class
        than folds, a class with one sample.
    """
    of_all, first_rows = whole_of(places)
    if of_all.are_distributions:
        raise checks.InputError.of(
            "y", expected="labels", found="distributions: no folds of classes"
        )
    if places.is_first:
        warn_of_weightless(target_of_all(of_all, None))
    classes = places.shared(of_all)
    targets = places.make(_target_among, places.checked, classes)
    counts = places.said(places.make(_counts, targets))
    if isinstance(cv, int):
        folds = cv
        _check_number(counts, folds)
        numbers = places.dealt(range(len(counts)))
        dealing = places.shared(Dealing.of(counts, folds))
        fold = places.make(fold_of_rows, targets, dealing, numbers)
    else:
        told = places.told_of_rows(np.asarray(cv.test_fold), "cv", [each.rows for each in counts])
        named = np.unique(np.concatenate(places.said(places.make(np.unique, told))))
        named = named[named >= 0]
        folds = len(named)
        fold = places.make(_without_gaps, told, places.shared(named))
    if folds < 2:
        raise checks.InputError.of("cv", expected="two folds or more", found=folds)
    held = places.make(_held_mass, targets, fold, places.shared(folds))
    held_mass = np.sum(places.said(held), axis=0)
    _check_held(of_all, held_mass)
    made = places.make(
        _folds_of_place,
        places.checked,
        targets,
        fold,
        classes,
        places.shared(held_mass),
        places.dealt(first_rows),
        places.shared(settings),
    )
    shape = places.one(places.make(_without_rows, made))
    _check_judged(shape)
    return made, shape


def _target_among(checked: Checked, of_all: ClassMasses) -> FitTarget:
    return among_all(checked[1], of_all, None)


def _without_gaps(told: Array, named: Array) -> Array:
    """Return the folds' numbers without those that no row has; below 0 stays in no fold."""
    return np.where(told < 0, -1, np.searchsorted(named, told))


def _held_mass(target: FitTarget, fold: Array, folds: int) -> Array:
    """Return what the rows of each class that each fold holds out weigh (folds, K)."""
    held = np.zeros((folds, len(target.classes)))
    is_held = fold >= 0
    np.add.at(held, (fold[is_held], target.target[is_held]), _weight(target)[is_held])
    return held


def _weight(target: FitTarget) -> Array:
    return np.ones(len(target.target)) if target.sample_weight is None else target.sample_weight


def _check_held(of_all: ClassMasses, held_mass: Array) -> None:
    _check_learned(of_all, of_all.mass - held_mass)
    if not held_mass.any(axis=1).all():
        empty = int(np.argmin(held_mass.any(axis=1)))
        raise checks.InputError.of(
            "cv", expected="samples with weight in every fold", found=f"none in fold {empty}"
        )


def _folds_of_place(
    checked: Checked,
    target: FitTarget,
    fold: Array,
    of_all: ClassMasses,
    held_mass: Array,
    first_row: int,
    settings: Settings,
) -> SharedFolds:
    features, total, folds = checked[0], of_all.mass, len(held_mass)
    # Those of training and of what is held out are all there at the same time.
    budget = checks.memory_budget(settings.memory_budget) or default_memory(features)
    every_fold = settings._replace(memory_budget=max(1, budget // (2 * folds + 1)))

    def part(kept: Array, mass: Array, told: Settings, beside: Reader | None = None) -> OwnRows:
        own_target = FitTarget(of_all.classes, target.target, _weight(target) * kept)
        weighed = among_all(own_target, of_all._replace(mass=mass), told.class_weight)
        return own_rows(
            features,
            weighed,
            symmetric=told.symmetric,
            memory_budget=told.memory_budget,
            first_row=first_row,
            beside=beside,
        )

    rows = part(np.ones(len(fold)), total, every_fold)
    unweighted = every_fold._replace(class_weight=None)
    return SharedFolds(
        classes=of_all.classes,
        rows=rows,
        training=[
            part(fold != number, total - held_mass[number], every_fold, rows.reader)
            for number in range(folds)
        ],
        held_out=[part(fold == number, total, unweighted, rows.reader) for number in range(folds)],
        fold=fold,
        held_weight=held_mass.sum(axis=1),
    )


def _without_rows(folds: SharedFolds) -> SharedFolds:
    """Return what is the same in all places."""
    return replace(
        folds,
        rows=without_reader(folds.rows),
        training=[without_reader(each) for each in folds.training],
        held_out=[without_reader(each) for each in folds.held_out],
        fold=folds.fold[:0],
    )


def _check_judged(folds: SharedFolds) -> None:
    judged, fitted = folds.held_out[0].classes, folds.rows.classes
    for label in judged[~np.isin(judged, fitted)]:
        raise checks.InputError.of(
            "class_weight",
            expected="a weight above 0 for every class, whose log loss would be infinite",
            found=f"0 for {label!s}",
        )


def held_rows(fold: Array, folds: int) -> list[Array]:
    """Return which rows each fold holds out, by the fold of each."""
    return [np.flatnonzero(fold == number) for number in range(folds)]


def _counts(target: FitTarget) -> Counts:
    classes = len(target.classes)
    first = np.full(classes, np.iinfo(np.int64).max)
    present, where = np.unique(target.target, return_index=True)
    first[present] = where
    return Counts(len(target.target), np.bincount(target.target, minlength=classes), first)


def _check_number(counts: Sequence[Counts], folds: int) -> None:
    most = int(np.sum([each.of_class for each in counts], axis=0).max())
    if most < folds:
        raise checks.InputError.of(
            "cv", expected=f"at most {most} folds, as many as a class has rows", found=folds
        )


class Dealing(NamedTuple):
    """How rows are dealt out to the folds: the same however they are shared out to places."""

    folds: int
    total: Array  # (K,): how many rows of each class there are
    begin: Array  # (K,): where each class begins, when all are laid one after the other
    before: Array  # (places, K): how many rows of each class lie in the places before

    @classmethod
    def of(cls, counts: Sequence[Counts], folds: int) -> Dealing:
        """Lay the classes one after the other in the order in which they first appear."""
        of_class = np.array([each.of_class for each in counts])
        total = of_class.sum(axis=0)
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
        return cls(folds, total, begin, np.cumsum(of_class, axis=0) - of_class)


def fold_of_rows(target: FitTarget, dealing: Dealing, place: int) -> Array:
    """Return which fold holds out each of a place's rows, as `StratifiedKFold` has it.

    The classes, laid one after the other, are dealt out to the folds in turn.
    """
    folds, total, begin, before = dealing
    found = np.empty(len(target.target), np.intp)
    for known in np.unique(target.target).tolist():
        own = np.flatnonzero(target.target == known)
        dealt = [
            _multiples(begin[known], begin[known] + total[known], number, folds)
            for number in range(folds)
        ]
        found[own] = np.searchsorted(
            np.cumsum(dealt), before[place, known] + np.arange(len(own)), side="right"
        )
    return found


def _multiples(begin: int, end: int, rest: int, step: int) -> int:
    """Return how many whole numbers in [begin, end) leave a rest in a division by step."""
    return int((end - rest + step - 1) // step - (begin - rest + step - 1) // step)


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
        max_iter: int, penalty: PenaltyKind,
    ) -> None:  # fmt: skip
        self._folds = folds
        self._problems = [
            rows.problem(fit_intercept=fit_intercept, standardize=standardize, penalty=penalty)
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
        readers = [rows.reader for rows in self._folds.held_out]
        questions = [
            Values(Point(*problem.objective.in_feature_units(fit.parameters)))
            for fit, problem in zip(self.fits(C), self._problems, strict=True)
        ]
        asked = list(zip(readers, questions, strict=True))
        if all(reader.shares_passes_with(readers[0]) for reader in readers):
            answers = readers[0].answer_together(asked)
        else:
            answers = [reader.answer(question) for reader, question in asked]
        losses = np.array([float(each.loss) for each in answers])
        return -losses / self._folds.held_weight
