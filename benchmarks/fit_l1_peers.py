"""Other solvers of penalties that make weights 0, and what they had reached at every moment.

As in `fit_peers`, a point is written down with the time at which a solver came to it, and judged
afterwards. scikit-learn's ``saga`` is stopped after each run through the samples and goes on from
all that it knows, which changes nothing but the order of later samples. glmnet cannot be watched:
its points are those of whole fits, each with a finer tolerance than the last, and a point's time is
that of its own fit alone. ``glmnet path`` comes to the strength by way of nine larger ones, as its
authors advise.

One against rest is another objective, of which these solvers find the optimum: their times stand
beside ours, and have no gap.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fit_peers import Peer, Trace, total_loss

Array = npt.NDArray[Any]

_ITERATIONS = 100_000
_TOLERANCES = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10)  # of glmnet: 1e-7 is its default
_PATH = 10


class Problem(NamedTuple):
    """A penalty."""

    C: float
    l1_ratio: float
    group: str  # "features", or "none"


def true_objective(X: Any, y: Array, problem: Problem, weight: Array, intercept: Array) -> float:
    """Return the mean cross-entropy plus penalty, in float64, without any of our own code."""
    if problem.group == "features":
        size = float(np.linalg.norm(weight, axis=1).sum())
    else:
        size = float(np.abs(weight).sum())
    share = problem.l1_ratio
    penalty = share * size + (1 - share) * float(np.vdot(weight, weight)) / 2
    return (total_loss(X, y, weight, intercept) + penalty / problem.C) / len(y)


def strongest(X: Any, y: Array, problem: Problem) -> float:
    """Return the largest C at which no weight leaves 0."""
    indicator = (y[:, None] == np.arange(int(y.max()) + 1)).astype(np.float64)
    slope = X.astype(np.float64).T @ (indicator.mean(axis=0) - indicator)
    lengths = np.linalg.norm(slope, axis=1) if problem.group == "features" else np.abs(slope)
    return problem.l1_ratio / float(lengths.max())


# --- the same objective ---------------------------------------------------------------------------


def saga(dtype: str, problem: Problem) -> Peer:
    """Return scikit-learn's solver."""

    def fit(X: Any, y: Array, C: float, trace: Trace) -> None:
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(
            solver="saga", C=C, l1_ratio=problem.l1_ratio, tol=0.0, max_iter=_ITERATIONS,
            random_state=np.random.RandomState(0),
        )  # fmt: skip
        typed = _with_short_indices(X).astype(dtype, copy=False)
        trace.start()
        with _watched_saga(trace):
            model.fit(typed, y)

    return fit


def _with_short_indices(X: Any) -> Any:
    """Return sparse features with indices of 32 bits, as scikit-learn's solvers take no others."""
    if not sparse.issparse(X):
        return X
    indices, starts = (part.astype(np.int32, copy=False) for part in (X.indices, X.indptr))
    return sparse.csr_array((X.data, indices, starts), shape=X.shape)


@contextmanager
def _watched_saga(trace: Trace) -> Iterator[None]:
    """Write down the point after each run through the samples."""
    from sklearn.linear_model import _logistic

    original = _logistic.sag_solver

    def watched(*arguments: Any, **options: Any) -> Any:
        before, known = arguments[:6], arguments[12]
        for _ in range(arguments[6]):
            found = original(*before, 1, *arguments[7:12], known, **options)
            known = found[2]
            trace.add(known["coef"][:-1], known["coef"][-1])
        return found

    with mock.patch.object(_logistic, "sag_solver", watched):
        yield


def glmnet(steps: int, problem: Problem) -> Peer:
    """Return glmnet, by way of so many strengths of which the last is the one that is asked for."""

    def fit(X: Any, y: Array, C: float, trace: Trace) -> None:
        solver = import_module("glmnet").LogitNet
        last = 1 / (C * len(y))
        first = max(last, problem.l1_ratio / (strongest(X, y, problem) * len(y)))
        path = [last] if steps == 1 else np.geomspace(first, last, steps)
        for tolerance in _TOLERANCES:
            model = solver(
                alpha=problem.l1_ratio, lambda_path=np.array(path), standardize=False, n_splits=0,
                tol=tolerance, max_iter=10 * _ITERATIONS,
            )  # fmt: skip
            trace.start()
            with _grouped(problem.group == "features"):
                model.fit(X, y)
            if model.coef_path_.shape[-1] == len(path):
                trace.add(np.atleast_2d(model.coef_path_[..., -1]).T,
                          np.atleast_1d(model.intercept_path_[..., -1]))  # fmt: skip

    return fit


@contextmanager
def _grouped(wanted: bool) -> Iterator[None]:
    """Let glmnet keep or drop a feature for all classes, which its wrapper has no word for."""
    logistic = import_module("glmnet.logistic")

    def grouped(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: original(*arguments[:-1], 2)

    if not wanted:
        yield
        return
    with ExitStack() as patches:
        for name in ("lognet", "splognet"):
            changed = grouped(getattr(logistic, name))
            patches.enter_context(mock.patch.object(logistic, name, changed))
        yield


PEERS: dict[str, Callable[[Problem], Peer]] = {
    "saga float32": partial(saga, "float32"),
    "saga float64": partial(saga, "float64"),
    "glmnet": partial(glmnet, 1),
    "glmnet path": partial(glmnet, _PATH),
}


# --- one against rest -----------------------------------------------------------------------------


class OneAgainstRest(NamedTuple):
    """What such a solver found, at its default tolerance."""

    seconds: float
    accuracy: float
    kept: int  # features that have a weight for some class


def liblinear(X: Any, y: Array, C: float) -> OneAgainstRest:
    """Fit scikit-learn's ``liblinear``, which penalises the intercept too."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    each = LogisticRegression(solver="liblinear", C=C, l1_ratio=1.0)
    return _found(OneVsRestClassifier(each), X, y)


def skglm(X: Any, y: Array, C: float) -> OneAgainstRest:
    """Fit skglm's logistic regression."""
    from sklearn.multiclass import OneVsRestClassifier

    solver = import_module("skglm.estimators").SparseLogisticRegression
    each = solver(alpha=1 / (C * len(y)))
    return _found(OneVsRestClassifier(each), X, y)


def _found(model: Any, X: Any, y: Array) -> OneAgainstRest:
    X = _with_short_indices(X)
    model.fit(X[:500], y[:500])  # what is compiled or imported only once
    begin = time.perf_counter()
    model.fit(X, y)
    seconds = time.perf_counter() - begin
    coefs = np.vstack([each.coef_ for each in model.estimators_])
    return OneAgainstRest(seconds, model.score(X, y), int(coefs.any(axis=0).sum()))


ONE_AGAINST_REST = {"liblinear": liblinear, "skglm": skglm}


# --- who takes part -------------------------------------------------------------------------------


def reason_against(peer: str, group: str = "none") -> str | None:
    """Return why a peer does not take part, if there is a reason."""
    from importlib.util import find_spec

    for package in ("glmnet", "skglm"):
        if package in peer and find_spec(package) is None:
            return "not installed"
    return "has no groups" if group == "features" and "saga" in peer else None
