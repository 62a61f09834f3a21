"""One problem at many strengths of its penalty: what is shared, and each optimum from the last."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.estimators import cluster
from bridle.estimators.base import rows_of
from bridle.estimators.problem import OwnRows, Problem, penalty_kind
from bridle.estimators.shares import Places, RankPlaces, Settings, rows_in, solved_over
from bridle.estimators.softmax_regression import warn_unless_optimal
from bridle.fit.placement import placed
from bridle.fit.problem.targets import ClassWeight, FitTarget, target_of_part
from bridle.fit.report import FitReport
from bridle.fit.solvers.remembered_steps import RememberedSteps
from bridle.fit.solvers.solve import Task, solve_together
from bridle.ranks import DEFAULT_TIMEOUT, ranks_of
from bridle.rows import Features, Rows
from bridle.tensors import on_host

Array = npt.NDArray[Any]

PRESETS = {
    # Radford et al. 2021, appendix A.3: 96 steps from 1e-6 to 1e6, searched coarse to fine.
    "clip": np.logspace(-6, 6, 97),
    # Oquab et al. 2023: the 45 values of its logistic regression's evaluation.
    "dinov2": np.logspace(-6, 5, 45),
}


@dataclass(frozen=True)
class SoftmaxPath:
    """Optima for several strengths of the penalty.

    Attributes
    ----------
    Cs : ndarray (n,)
        As they were given.
    coefs, intercepts : ndarray (n, K, D), (n, K)
        The weights of each, in the shapes of `SoftmaxRegression`'s: for two classes (n, 1, D) and
        (n, 1), unless they are symmetric.
    reports : list of FitReport
        How close to its optimum each is.
    classes : ndarray (K,)
        The labels, sorted.

    Examples
    --------
    >>> path = softmax_regression_path([[0.0], [1.0], [2.0]], [0, 1, 1], Cs=[0.1, 10.0])
    >>> path.coefs.shape, [report.proven for report in path.reports]
    ((2, 1, 1), [True, True])
    """

    Cs: Array
    coefs: Array
    intercepts: Array
    reports: list[FitReport]
    classes: Array


def softmax_regression_path(
    X: Features,
    y: npt.ArrayLike,
    Cs: str | int | npt.ArrayLike = 10,
    *,
    sample_weight: npt.ArrayLike | None = None,
    l1_ratio: float = 0.0,
    penalty_group: str | None = None,
    penalty_weight: npt.ArrayLike | None = None,
    fit_intercept: bool = True,
    class_weight: ClassWeight = None,
    tol: float = 1e-6,
    max_iter: int = 1000,
    standardize: bool | float = False,
    symmetric: bool = False,
    memory_budget: int | None = None,
    device: Any = None,
    group: Any = None,
    timeout: float = DEFAULT_TIMEOUT,
) -> SoftmaxPath:
    """Fit softmax regression for each of several ``C``, every one to its own proven optimum.

    The data's statistics are taken once; each fit begins where the optima before it point to, and
    with what they taught of the curvature.

    Parameters
    ----------
    X, y, sample_weight
        As in `SoftmaxRegression.fit`, dask arrays and data frames too.
    Cs : int, array_like or str
        The strengths, in any order; a number of them, spread logarithmically from 1e-4 to 1e4, or,
        with `l1_ratio`, from the largest at which all weights are 0 to a thousand times that; or
        the name of a protocol: ``"clip"`` (97 values, 1e-6 to 1e6), ``"dinov2"`` (45 values, 1e-6
        to 1e5).
    l1_ratio, penalty_group, penalty_weight
        As ``l1_ratio``, ``group`` and ``penalty_weight`` in `SoftmaxRegression`.
    fit_intercept, class_weight, tol, max_iter, standardize, symmetric, memory_budget, device
        As in `SoftmaxRegression`.
    group, timeout
        As in `SoftmaxRegression.fit`: the ranks of a process group find the path together.

    Returns
    -------
    SoftmaxPath
        The weights and a report for each ``C``.

    Raises
    ------
    InputError
        As `SoftmaxRegression.fit`; no ``C``, or one that is not above 0.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> path = softmax_regression_path(*load_iris(return_X_y=True), Cs=[0.01, 1, 100])
    >>> path.coefs.shape, all(report.proven for report in path.reports)
    ((3, 3, 4), True)
    >>> [round(report.loss, 2) for report in path.reports]
    [0.6, 0.12, 0.04]

    References
    ----------
    J. Friedman, T. Hastie, R. Tibshirani, *Regularization Paths for Generalized Linear Models via
    Coordinate Descent*, 2010, for warm starts along a path.
    """
    strengths(Cs)  # refuses what is none
    penalty = penalty_kind(l1_ratio, penalty_group, penalty_weight)
    tol, max_iter = checks.positive(tol, "tol"), checks.count(max_iter, "max_iter")
    settings = Settings(class_weight, symmetric, memory_budget)

    def optima(rows: OwnRows) -> tuple[Array, dict[float, Fit]]:
        problem = rows.problem(
            fit_intercept=fit_intercept, standardize=standardize, penalty=penalty
        )
        values = strengths_of(Cs, problem)
        return values, dict(Path(problem, tol, max_iter).fits(np.unique(values)))

    places: Places
    if cluster.is_collection(X):
        parts = cluster.parts_of(X, y, sample_weight, device)
        places = cluster.ClusterPlaces(parts, timeout, memory_budget)
        (values, fits), classes = solved_over(places, settings, optima)
    else:
        check_own = partial(_own_rows, X, y, sample_weight, device, memory_budget)
        with ranks_of(group, timeout=timeout) as ranks:
            places = RankPlaces(ranks, check_own, rows_in(X))
            (values, fits), classes = solved_over(places, settings, optima)
    if places.is_first:
        for C, fit in fits.items():
            warn_unless_optimal(fit.report, tol=tol, max_iter=max_iter, at=f"C={C:g}: ")
    chosen = [fits[value] for value in values.tolist()]
    return SoftmaxPath(
        Cs=values,
        coefs=np.stack([fit.coef for fit in chosen]),
        intercepts=np.stack([fit.intercept for fit in chosen]),
        reports=[fit.report for fit in chosen],
        classes=classes,
    )


def _own_rows(
    X: Features, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None, device: Any,
    memory_budget: int | None,
) -> tuple[Rows, FitTarget, tuple[str, ...]]:  # fmt: skip
    features, names = rows_of(X), _names_of(X)
    if features is None:
        features = Rows([X if hasattr(X, "ndim") else np.asarray(X)])
    target = target_of_part(on_host(y), on_host(sample_weight), len(features))
    budget = checks.memory_budget(memory_budget)
    return placed(features, device, memory_budget=budget), target, names


def _names_of(X: Features) -> tuple[str, ...]:
    """Return what a table's columns are called; nothing of an array."""
    columns: Any = getattr(X, "columns", ())
    if isinstance(columns, list) and not all(isinstance(name, str) for name in columns):
        columns = getattr(X, "column_names", ())  # Arrow's `columns` are the data
    return tuple(map(str, columns))


def strengths(Cs: str | int | npt.ArrayLike) -> Array:
    """Return the values of ``C`` that an argument stands for.

    >>> strengths(3), len(strengths("clip"))
    (array([1.e-04, 1.e+00, 1.e+04]), 97)
    """
    if isinstance(Cs, str):
        if Cs not in PRESETS:
            names = ", ".join(sorted(PRESETS))
            raise checks.InputError.of("Cs", expected=f"numbers or one of {names}", found=repr(Cs))
        return PRESETS[Cs].copy()
    if isinstance(Cs, int | np.integer) and not isinstance(Cs, bool):
        return np.logspace(-4, 4, checks.count(int(Cs), "Cs"))
    values = np.asarray(Cs)
    if values.ndim != 1 or len(values) == 0:
        raise checks.InputError.of(
            "Cs", expected="one number or more in a row", found=f"shape {values.shape}"
        )
    return np.array([checks.positive(value, "Cs", infinite=True) for value in values.tolist()])


def strengths_of(Cs: str | int | npt.ArrayLike, problem: Problem) -> Array:
    """Return the values of ``C`` that an argument stands for in a problem."""
    alone = len(problem.classes) == 1  # which has probability 1 at any strength
    if problem.penalty.is_square or alone or not isinstance(Cs, int | np.integer):
        return strengths(Cs)
    factors = problem.penalty.factors
    if problem.penalty.l1_ratio == 0 or (factors is not None and not factors.all()):
        raise checks.InputError.of(
            "Cs", expected="numbers, where a feature has no penalty", found=repr(Cs)
        )
    least = problem.strongest()
    return np.geomspace(least, 1000 * least, checks.count(int(Cs), "Cs"))


@dataclass(frozen=True)
class Fit:
    """One point of a path, on the features as stored."""

    parameters: Array
    coef: Array  # (K, D), or (1, D)
    intercept: Array  # (K,), or (1,)
    report: FitReport


class Path:
    """A problem whose penalty is varied; it remembers the optima it has been to."""

    def __init__(self, problem: Problem, tol: float, max_iter: int) -> None:
        self._problem, self._tol, self._max_iter = problem, tol, max_iter
        self._known: dict[float, Fit] = {}
        self._remembered = RememberedSteps()

    def fits(self, Cs: Sequence[float] | Array) -> Iterator[tuple[float, Fit]]:
        """Yield each ``C`` of an ascending row with its fit."""
        for C in np.asarray(Cs).tolist():
            fit_together([self], [C])
            yield C, self._known[C]

    def begin(self, C: float) -> None:
        """Fit at ``C`` if nothing was fitted yet."""
        if not self._known:
            fit_together([self], [C])

    def learn_from(self, other: Path) -> None:
        """Begin with the metric of another path, over nearly the same rows."""
        if self._remembered.metric is None and self._shape == other._shape:
            self._remembered.metric = other._remembered.metric

    def keep_only(self, Cs: set[float]) -> None:
        """Forget all other optima: many of them would take more memory than the data."""
        self._known = {C: fit for C, fit in self._known.items() if C in Cs}

    @property
    def _shape(self) -> tuple[int, int]:
        return self._problem.objective.shape

    def _shares_passes_with(self, other: Path) -> bool:
        return self._problem.reader.shares_passes_with(other._problem.reader)

    def _start(self, C: float) -> Array:
        """Return where the optimum may be: on the line through the two nearest, in log C."""
        near = sorted(self._known, key=lambda known: abs(math.log(known) - math.log(C)))[:2]
        if not near or not math.isfinite(C):
            stronger = [known for known in self._known if known < C]
            return self._known[max(stronger)].parameters if stronger else self._zeros()
        nearest = self._known[near[0]].parameters
        if not self._problem.penalty.is_square:
            return nearest  # on the line, weights that are 0 at both would be all that is left at 0
        if len(near) < 2 or not math.isfinite(near[1]):
            return nearest
        part = math.log(C / near[0]) / math.log(near[1] / near[0])
        return np.asarray(nearest + part * (self._known[near[1]].parameters - nearest))

    def _zeros(self) -> Array:
        return np.zeros(self._shape)


def fit_together(paths: Sequence[Path], Cs: Sequence[float]) -> None:
    """Let every path find its fits at all ``Cs``, at once where they have the same features.

    A pass over the features then serves all. Sparse features gain nothing from it.
    """
    waiting = [(path, C) for C in Cs for path in paths if C not in path._known]
    if not all(path._shares_passes_with(paths[0]) for path in paths):
        for one in waiting:
            _fit_all([one])
    elif waiting:
        _fit_all(waiting)


def fit_folds(paths: Sequence[Path], Cs: Sequence[float]) -> None:
    """Fit all folds at all ``Cs``, at once; of the first fit of all, the others have its metric."""
    first, *others = paths
    first.begin(Cs[0])
    for path in others:
        path.learn_from(first)
    fit_together(paths, Cs)


def _fit_all(waiting: Sequence[tuple[Path, float]]) -> None:
    started = time.perf_counter()
    tasks: list[Task] = []
    taken: set[int] = set()
    for path, C in waiting:
        # Of several fits of one path, the first adds to what it has learned.
        remembered = path._remembered.copy() if id(path) in taken else path._remembered
        taken.add(id(path))
        tasks.append(Task(path._problem.at(C), path._problem.reader, path._start(C), remembered))
    tol, max_iter = waiting[0][0]._tol, waiting[0][0]._max_iter
    solutions = solve_together(tasks, tol=tol, max_iter=max_iter)
    seconds = time.perf_counter() - started  # that all of them took together
    for (path, C), task, solution in zip(waiting, tasks, solutions, strict=True):
        weight, intercept = task.objective.in_feature_units(solution.point.parameters)
        streamed_to = task.objective.facts.streamed_to
        report = FitReport.of(solution, seconds, path._problem.classes, streamed_to=streamed_to)
        fitted = path._problem.layout.fitted(weight, intercept)
        path._known[C] = Fit(solution.point.parameters, *fitted, report)
