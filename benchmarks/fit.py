"""Seconds to the optimum of softmax regression, beside other exact solvers.

    python benchmarks/fit.py                        # hours; --quick: a tenth of the rows
    python benchmarks/fit.py --data embedding-10 --Cs 1 --peers "newton-cg float32" --limit 60
    python benchmarks/fit.py --small                # iris, wine and digits
    python benchmarks/fit.py --estimate             # ImageNet's linear probe, by arithmetic

A gap is (objective − optimum) / optimum; the optimum is our own, in float64 with ``tol=1e-10``.
Each contender runs in a process of its own, where it has fitted something before, and its time to a
gap is that of the first point it came to that is as close. Ours come from ``progress``; how those
of the others are found says `fit_peers`. ``proven`` is what our users wait: ``fit`` with
``tol=1e-5``, until the gap is not only reached but proven. ``memory`` is what that call adds at its
peak, as a share of the features. ``points`` are passes for us, and for the others the points at
which they asked for the gradient (L-BFGS) or the Hessian (Newton).

A peer stops at ``--limit``, and before if it takes longer than another took to all gaps: it cannot
become the best any more. A time with ``>`` was not enough.

``pass`` and ``products`` are GFLOP/s of one evaluation of objective and gradient, and of the two
bare products it contains (``X @ W`` and ``X.T @ R``, NumPy's or SciPy's, into fresh memory).
``others`` is the share of the processor that other processes took meanwhile.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

import fit_data
import fit_peers
from bridle import SoftmaxRegression
from bridle.fit.precision import Precision
from bridle.fit.problem.objective import build_objective
from bridle.fit.readers import reader_of
from bridle.fit.requests import Point, Values
from bridle.progress import Progress
from bridle.rows import Rows
from measuring import (
    Call,
    extra_memory,
    in_own_process,
    processor_seconds,
    seconds,
    share_of_others,
)

Array = npt.NDArray[Any]
GAPS = (1e-3, 1e-5, 1e-7)
SMALL = ("iris", "wine", "digits")
ROUNDS = 5


# --- what a child process measures ----------------------------------------------------------------


def find_optimum(folder: Path, name: str, C: float) -> dict[str, Any]:
    """Return the optimum, by float32 first and float64 from there, and what is proven of it."""
    X, y = fit_data.saved(folder, name)
    began = time.perf_counter()
    model = SoftmaxRegression(C=C, tol=1e-6).fit(X, y)
    model.set_params(tol=1e-10, warm_start=True).fit(X.astype(np.float64), y)
    report = model.fit_report_
    return {
        "objective": fit_peers.true_objective(X, y, C, model.coef_.T, model.intercept_),
        "accuracy": model.score(X, y),
        "gap": report.relative_gap,
        "proven": report.proven,
        "stopped": report.stopped,
        "seconds": time.perf_counter() - began,
    }


def measure_ours(folder: Path, name: str, C: float, optimum: float) -> dict[str, Any]:
    """Return our time and passes to each gap, and time and memory until 1e-5 is proven."""
    X, y = fit_data.saved(folder, name)
    SoftmaxRegression(C=C, max_iter=1).fit(X, y)
    before = processor_seconds()
    proving = SoftmaxRegression(C=C, tol=1e-5)
    memory = extra_memory(partial(proving.fit, X, y))
    events: list[Progress] = []
    model = SoftmaxRegression(C=C, tol=GAPS[-1]).fit(X, y, progress=events.append)
    told = [(event.seconds, event.step, event.value) for event in events]
    others = share_of_others(before)
    firsts = {
        str(gap): next(((s, p) for s, p, value in told if value <= optimum * (1 + gap)), None)
        for gap in GAPS
    }
    value = fit_peers.true_objective(X, y, C, model.coef_.T, model.intercept_)
    return {
        "reached": {gap: first and first[0] for gap, first in firsts.items()},
        "passes": {gap: first[1] for gap, first in firsts.items() if first},
        "last": value / optimum - 1,
        "seconds": model.fit_report_.seconds,
        "points": model.fit_report_.passes,
        "others": others,
        "proven seconds": proving.fit_report_.seconds,
        "proof": proving.fit_report_.stopped,
        "proven passes": proving.fit_report_.passes,
        "memory": memory / bytes_of(X),
    }


def bytes_of(X: Any) -> int:
    """Return how much memory features take."""
    parts = (X.data, X.indices, X.indptr) if sparse.issparse(X) else (X,)
    return sum(part.nbytes for part in parts)


def measure_peer(
    folder: Path, name: str, C: float, optimum: float, peer: str, limit: float
) -> dict[str, Any]:
    """Return a peer's time to each gap, and where it was at last."""
    X, y = fit_data.saved(folder, name)
    before = processor_seconds()
    trace, ended = fit_peers.run(fit_peers.PEERS[peer], X, y, C, limit)
    others = share_of_others(before)

    @cache
    def gap_at(index: int) -> float:
        value = fit_peers.true_objective(X, y, C, *trace[index])
        return value / optimum - 1 if np.isfinite(value) else np.inf

    return {
        "reached": {str(gap): first_below(gap, gap_at, trace) for gap in GAPS},
        "last": gap_at(len(trace) - 1) if len(trace) else np.inf,
        "seconds": trace.seconds[-1] if len(trace) else 0.0,
        "points": len(trace),
        "ended": ended,
        "others": others,
    }


def first_below(gap: float, gap_at: Callable[[int], float], trace: fit_peers.Trace) -> float | None:
    """Return when a gap was reached, by bisection: nearly every point is better than the last."""
    low, high = -1, len(trace) - 1
    if high < 0 or gap_at(high) > gap:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if gap_at(middle) <= gap else (middle, high)
    return trace.seconds[high]


def measure_rate(folder: Path, name: str) -> dict[str, float]:
    """Return GFLOP/s of one of our passes, and of the bare products of its shape."""
    X, y = fit_data.saved(folder, name)
    return rates(X, y, int(y.max()) + 1)


def rates(X: Any, y: Array, classes: int) -> dict[str, float]:
    """Return GFLOP/s and seconds of a pass and of its two bare products."""
    reader = reader_of(Rows([X]), y, None, classes)
    objective = build_objective(reader, classes, C=1.0, fit_intercept=True, standardize=False)

    def answered(point: Point) -> Any:
        with reader.threads():
            return reader.answer(Values(point))

    random = np.random.default_rng(0)
    parameters = random.normal(size=objective.shape) * 1e-2
    weight = parameters[:-1].astype(X.dtype)
    residual = random.normal(size=(X.shape[0], classes)).astype(X.dtype)
    size = X.nnz if sparse.issparse(X) else X.size
    calls: dict[str, Call] = {
        "pass": lambda: answered(objective.point(parameters, Precision(X.dtype))),
        "products": lambda: (X @ weight, X.T @ residual),
    }
    found: dict[str, float] = {}
    # One after the other, not in turn: the two may use thread pools that stand in each other's way.
    for what, call in calls.items():
        call()
        found[f"{what} seconds"] = min(seconds(call) for _ in range(ROUNDS))
        found[what] = 4e-9 * size * classes / found[f"{what} seconds"]
    return found


# --- the tables -----------------------------------------------------------------------------------


def print_tables(
    names: list[str], strengths: list[float], peers: list[str], limit: float, quick: bool
) -> None:
    """Measure all, and print each line as soon as it is known; at last what it comes to."""
    summary = []
    for name in names:
        if missing := fit_data.missing(name):
            print(f"{name}: skipped: {missing}\n")
            continue
        with tempfile.TemporaryDirectory() as made:
            fit_data.save(Path(made), name, quick)
            rate = in_own_process(__file__, "--child", "rate", made, name)
            for C in strengths:
                problem = [made, name, str(C)]
                summary.append(print_case(problem, peers, limit) | {"rate": rate})
    print_summary(summary)


def print_case(problem: list[str], peers: list[str], limit: float) -> dict[str, Any]:
    """Print everyone's times to the gaps of one problem; return ours, and the best of others."""
    folder, name, C = problem
    X, y = fit_data.saved(Path(folder), name)
    classes = int(y.max()) + 1
    optimum = in_own_process(__file__, "--child", "optimum", *problem)
    print(
        f"{name}, {X.shape[0]}x{X.shape[1]}, {classes} classes, C = {float(C):g}: optimum"
        f" {optimum['objective']:.10f}, {'proven' if optimum['proven'] else 'estimated'} to"
        f" {optimum['gap']:.0e} (ended by {optimum['stopped']}, {optimum['seconds']:.0f} s);"
        f" training accuracy {optimum['accuracy']:.3f}\n"
    )
    print("| who |", " | ".join(f"{gap:g}" for gap in GAPS), "| last gap | points | others |")
    print("|---" * (4 + len(GAPS)) + "|")
    value = str(optimum["objective"])
    ours = in_own_process(__file__, "--child", "ours", *problem, value)
    print_line("bridle", ours)
    best: dict[str, tuple[float, str]] = {str(gap): (np.inf, "none") for gap in GAPS}
    for peer in peers:
        if reason := fit_peers.reason_against(peer, X.shape[1], classes):
            print(f"| {peer} | {reason} |" + " |" * (2 + len(GAPS)))
            continue
        left = min(limit, max(seconds for seconds, _ in best.values()))
        found = measure(problem, value, peer, left)
        print_line(peer, found)
        for gap, reached in found["reached"].items():
            if reached is not None:
                best[gap] = min(best[gap], (reached, peer))
    print(flush=True)
    return {"name": name, "C": float(C), "ours": ours, "best": best, "limit": limit}


def measure(problem: list[str], optimum: str, peer: str, limit: float) -> dict[str, Any]:
    """Return `measure_peer` in a process of its own, which is ended if it does not end itself."""
    try:
        found: dict[str, Any] = in_own_process(
            __file__,
            "--child",
            "peer",
            *problem,
            optimum,
            peer,
            str(limit),
            timeout=3 * limit + 300,
        )
    except subprocess.TimeoutExpired:
        nothing = dict.fromkeys(map(str, GAPS))
        return {"reached": nothing, "seconds": limit, "last": np.inf, "points": 0, "others": 0.0}
    return found


def print_line(who: str, found: dict[str, Any]) -> None:
    """Print one contender's times."""
    times = [
        f">{found['seconds']:.1f}" if reached is None else f"{reached:.2f}"
        for reached in found["reached"].values()
    ]
    print(
        f"| {who} | {' | '.join(times)} | {found['last']:.1e} | {found['points']} |"
        f" {found['others']:.0%} |",
        flush=True,
    )


def print_summary(cases: list[dict[str, Any]]) -> None:
    """Print what the targets are about: the reach, the rate of the passes, the memory."""
    heads = [f"best other / ours at {gap:g}" for gap in GAPS]
    print("| data | C |", " | ".join(heads), "| best at 1e-05 | passes to 1e-05 | 1e-05 proven, s |"
          " pass | products | pass / products | fit / products | memory |")  # fmt: skip
    print("|---" * (10 + len(GAPS)) + "|")
    for case in cases:
        ours, rate = case["ours"], case["rate"]
        ratios = [
            ratio(case["best"][str(gap)][0], ours["reached"][str(gap)], case["limit"])
            for gap in GAPS
        ]
        bare = rate["products seconds"] * ours["proven passes"]
        proven = f"{ours['proven seconds']:.2f}" if ours["proof"] == "gap" else ours["proof"]
        print(
            f"| {case['name']} | {case['C']:g} | {' | '.join(ratios)} |"
            f" {case['best']['1e-05'][1]} | {ours['passes'].get('1e-05', '')} | {proven} |"
            f" {rate['pass']:.0f} | {rate['products']:.0f} |"
            f" {rate['pass'] / rate['products']:.2f} | {ours['proven seconds'] / bare:.2f} |"
            f" {ours['memory']:.0%} |"
        )


def ratio(other: float, ours: float | None, limit: float) -> str:
    """Return how many times as long the others took, or how many times at least."""
    if ours is None:
        return "not reached"
    return f"{other / ours:.1f}" if np.isfinite(other) else f">{limit / ours:.1f}"


# --- small problems -------------------------------------------------------------------------------


def small_call(library: str, name: str) -> Callable[[], Any]:
    """Return a fit of a small data set, by us or by scikit-learn's Newton steps."""
    from sklearn import datasets
    from sklearn.linear_model import LogisticRegression

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    # Our C is twice theirs for two classes; these have three and ten.
    models = {
        "bridle": SoftmaxRegression(tol=1e-8),
        "newton-cholesky": LogisticRegression(solver="newton-cholesky"),
    }
    return partial(models[library].fit, X, y)


def measure_first(library: str, name: str) -> float:
    """Return the time of a process's first fit, the libraries imported."""
    return seconds(small_call(library, name))


def print_small() -> None:
    """Print the times of first and repeated calls beside scikit-learn's."""
    print("| data | first call, ms | / newton-cholesky | again, ms | / newton-cholesky | ended by |"
          " others |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    libraries = ("bridle", "newton-cholesky")
    for name in SMALL:
        before = processor_seconds()
        first = [
            [in_own_process(__file__, "--child", "first", each, name) for each in libraries]
            for _ in range(ROUNDS)
        ]
        calls = [small_call(each, name) for each in libraries]
        again = [[seconds(call) for call in calls] for _ in range(4 * ROUNDS)]
        cells = []
        for pairs in (first, again):
            cells.append(f"{statistics.median(ours for ours, _ in pairs) * 1e3:.1f}")
            cells.append(f"{statistics.median(ours / theirs for ours, theirs in pairs):.2f}")
        stopped = calls[0]().fit_report_.stopped
        print(f"| {name} | {' | '.join(cells)} | {stopped} | {share_of_others(before):.0%} |")


# --- ImageNet's linear probe ----------------------------------------------------------------------


def print_estimate() -> None:
    """Print what a pass over ImageNet's features would take, and a fit's passes."""
    whole, width, classes, rows = 1_281_167, 768, 1000, 20_000
    random = np.random.default_rng(0)
    X = random.normal(size=(rows, width)).astype(np.float32)
    rate = rates(X, random.integers(classes, size=rows), classes)
    seconds_a_pass = rate["pass seconds"] * whole / rows
    with tempfile.TemporaryDirectory() as made:
        fit_data.save(Path(made), "embedding-1000", quick=False)
        X, y = fit_data.saved(Path(made), "embedding-1000")
    report = SoftmaxRegression(tol=1e-5).fit(X, y).fit_report_
    print(
        f"{rows}x{width}, {classes} classes, float32: {rate['pass seconds']:.2f} s a pass,"
        f" {rate['pass']:.0f} GFLOP/s; {whole:,} rows: {seconds_a_pass:.0f} s a pass.\n"
        f"The {classes} classes of embedding-1000, C = 1, took {report.passes} passes until 1e-5"
        f" was proven ({report.stopped}): {seconds_a_pass * report.passes / 60:.0f} minutes."
    )


CHILDREN: dict[str, Callable[..., Any]] = {
    "optimum": lambda folder, name, C: find_optimum(Path(folder), name, float(C)),
    "ours": lambda folder, name, C, optimum: measure_ours(
        Path(folder), name, float(C), float(optimum)
    ),
    "peer": lambda folder, name, C, optimum, peer, limit: measure_peer(
        Path(folder), name, float(C), float(optimum), peer, float(limit)
    ),
    "rate": lambda folder, name: measure_rate(Path(folder), name),
    "first": measure_first,
}


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", nargs="+", choices=fit_data.NAMES, default=fit_data.NAMES)
    parser.add_argument("--Cs", nargs="+", type=float, default=[0.01, 1.0, 100.0])
    parser.add_argument("--peers", nargs="*", choices=fit_peers.PEERS, default=fit_peers.PEERS)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for each peer")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--estimate", action="store_true")
    # How the program calls itself.
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # what a fit could not do stands in the tables
    if given.child:
        print(json.dumps(CHILDREN[given.child[0]](*given.child[1:])))
    elif given.small:
        print_small()
    elif given.estimate:
        print_estimate()
    else:
        print_tables(given.data, given.Cs, list(given.peers), given.limit, given.quick)


if __name__ == "__main__":
    main()
