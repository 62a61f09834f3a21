"""Other exact solvers of the same objective, and what they had reached at every moment.

One run of each with its tolerance out of reach tells all: every point that a solver comes to is
written down with the time, and judged afterwards, in float64, by `true_objective`. So a peer's time
to a gap is that of its cheapest tolerance, chosen by somebody who knew it beforehand.
"""

from __future__ import annotations

import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
from scipy import special

Array = npt.NDArray[Any]
Peer = Callable[[Any, Array, float, "Trace"], None]

_HESSIAN_BYTES = 2 * 2**30
_ITERATIONS = 100_000


class LimitReachedError(Exception):
    """A peer has used up its time."""


class Trace:
    """Points and their times, kept in a file so that they count in no measured memory."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the trace
        self._shapes: tuple[tuple[int, ...], tuple[int, ...]] = ((0,), (0,))
        self._begin = time.perf_counter()
        self._paused = 0.0

    def start(self) -> None:
        """Begin to count the time."""
        self._begin, self._paused = time.perf_counter(), 0.0

    def add(self, weight: Array, intercept: Array) -> None:
        """Write down where a solver is now; the time that takes is not the solver's."""
        now = time.perf_counter()
        self._shapes = weight.shape, intercept.shape
        for part in (weight, intercept):
            self._file.write(np.ascontiguousarray(part, np.float64).tobytes())
        # Last, as a time limit may have come in between: such a point does not count.
        self.seconds.append(now - self._begin - self._paused)
        self._paused += time.perf_counter() - now

    def __len__(self) -> int:
        return len(self.seconds)

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        """Return the weights (D, K) and the intercept (K,) of a point."""
        sizes = [int(np.prod(shape)) for shape in self._shapes]
        self._file.seek(index * sum(sizes) * 8)
        numbers = np.frombuffer(self._file.read(sum(sizes) * 8))
        weight, intercept = np.split(numbers, sizes[:1])
        return weight.reshape(self._shapes[0]), intercept.reshape(self._shapes[1])


def true_objective(X: Any, y: Array, C: float, weight: Array, intercept: Array) -> float:
    """Return the mean cross-entropy plus penalty, in float64, without any of our own code."""
    total = total_loss(X, y, weight, intercept)
    return (total + float(np.vdot(weight, weight)) / (2 * C)) / len(y)


def total_loss(X: Any, y: Array, weight: Array, intercept: Array) -> float:
    """Return the sum of the cross-entropies, in the same way."""
    total = 0.0
    for begin in range(0, len(y), 4096):
        rows = slice(begin, begin + 4096)
        scores = X[rows].astype(np.float64) @ weight + intercept
        own = scores[np.arange(len(scores)), y[rows]]
        total += float((special.logsumexp(scores, axis=1) - own).sum())
    return total


def run(peer: Peer, X: Any, y: Array, C: float, limit: float) -> tuple[Trace, str]:
    """Run a peer for so many seconds at most; return its points, and how it ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tolerances that are not reached
        with _time_limit(30):  # what is done only once in a process
            peer(X[:2000], y[:2000] % 2, C, Trace())
        trace = Trace()
        with _time_limit(limit):
            peer(X, y, C, trace)
            return trace, "ended"
    return trace, "limit"


@contextmanager
def _time_limit(limit: float) -> Iterator[None]:
    """Leave the block when its time is over, at the end of the call into a library under way."""

    def leave(*_: object) -> None:
        raise LimitReachedError

    signal.signal(signal.SIGALRM, leave)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    except LimitReachedError:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


# --- scikit-learn ---------------------------------------------------------------------------------


def scikit(solver: str, dtype: str, package: str = "sklearn") -> Peer:
    """Return scikit-learn's solver; a package of the same interface may stand in for it."""

    def fit(X: Any, y: Array, C: float, trace: Trace) -> None:
        from importlib import import_module

        classifier = import_module(f"{package}.linear_model").LogisticRegression
        model = classifier(solver=solver, C=C, tol=1e-12, max_iter=_ITERATIONS)
        typed = X.astype(dtype, copy=False)
        trace.start()
        with _watched(_METHOD[solver], trace):
            model.fit(typed, y)
        trace.add(model.coef_.T, model.intercept_)

    return fit


# The method of the objective that a solver calls once at each point it comes to.
_METHOD = {
    "lbfgs": "loss_gradient",
    "newton-cg": "gradient_hessian_product",
    "newton-cholesky": "gradient_hessian",
}


@contextmanager
def _watched(method: str, trace: Trace) -> Iterator[None]:
    """Write down every point at which scikit-learn's objective is asked by ``method``."""
    from sklearn.linear_model._linear_loss import LinearModelLoss

    original = getattr(LinearModelLoss, method)

    def watched(self: Any, coef: Array, *arguments: Any, **options: Any) -> Any:
        weight, intercept = self.weight_intercept(coef)
        trace.add(np.atleast_2d(weight).T, np.atleast_1d(intercept))
        return original(self, coef, *arguments, **options)

    with mock.patch.object(LinearModelLoss, method, watched):
        yield


# --- PyTorch --------------------------------------------------------------------------------------


def torch_lbfgs(dtype: str) -> Peer:
    """Return PyTorch's L-BFGS over all rows at once, with its strong Wolfe search."""

    def fit(X: Any, y: Array, C: float, trace: Trace) -> None:
        import torch

        features, target = _tensor(X.astype(dtype, copy=False)), torch.from_numpy(y)
        classes = int(y.max()) + 1
        kind = getattr(torch, dtype)
        weight = torch.zeros((X.shape[1], classes), dtype=kind, requires_grad=True)
        intercept = torch.zeros(classes, dtype=kind, requires_grad=True)
        solver = torch.optim.LBFGS(
            [weight, intercept], max_iter=_ITERATIONS, max_eval=_ITERATIONS, tolerance_grad=0.0,
            tolerance_change=0.0, history_size=50, line_search_fn="strong_wolfe",
        )  # fmt: skip

        def closure() -> Any:
            trace.add(weight.detach().numpy(), intercept.detach().numpy())
            solver.zero_grad()
            penalty = weight.square().sum() / (2 * C * len(y))
            scores = features @ weight + intercept
            objective = torch.nn.functional.cross_entropy(scores, target) + penalty
            objective.backward()  # type: ignore[no-untyped-call]
            return objective

        trace.start()
        solver.step(closure)  # type: ignore[no-untyped-call]

    return fit


def _tensor(X: Any) -> Any:
    import torch

    if isinstance(X, np.ndarray):
        return torch.from_numpy(X)
    starts, columns, values = map(torch.from_numpy, (X.indptr, X.indices, X.data))
    return torch.sparse_csr_tensor(starts, columns, values, size=X.shape)


# --- who takes part -------------------------------------------------------------------------------


PEERS: dict[str, Peer] = {
    "newton-cg float32": scikit("newton-cg", "float32"),
    "lbfgs float32": scikit("lbfgs", "float32"),
    "torch float32": torch_lbfgs("float32"),
    "newton-cholesky float32": scikit("newton-cholesky", "float32"),
    "lbfgs float64": scikit("lbfgs", "float64"),
    "newton-cg float64": scikit("newton-cg", "float64"),
    "newton-cholesky float64": scikit("newton-cholesky", "float64"),
    "intelex float32": scikit("lbfgs", "float32", "sklearnex"),
}


def reason_against(peer: str, width: int, classes: int) -> str | None:
    """Return why a peer does not take part, if there is a reason."""
    from importlib.util import find_spec

    if "cholesky" in peer and (size := 8 * ((width + 1) * classes) ** 2) > _HESSIAN_BYTES:
        return f"its Hessian takes {size / 2**30:.0f} GB"
    for name, package in (("torch", "torch"), ("intelex", "sklearnex")):
        if name in peer and find_spec(package) is None:
            return "not installed"
    return None
