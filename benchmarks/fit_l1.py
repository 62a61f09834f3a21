"""Seconds to the optimum under penalties that make weights 0, beside other solvers.

    python benchmarks/fit_l1.py                     # an hour; --quick: a tenth of the rows
    python benchmarks/fit_l1.py --data text-20 --penalties L1 --peers "saga float32" --limit 60
    python benchmarks/fit_l1.py --paths             # fifty strengths, beside the hardest of them
    python benchmarks/fit_l1.py --one-against-rest  # solvers of that objective

The strengths of text are one near the least loss of held-out rows, and a third and three times of
it; those of embeddings, of which no feature is without use, lie below that. `fit_l1_peers` says how
peers are watched, and `fit` how contenders are measured: each in a process of its own, where it has
fitted something before, its time to a gap that of the first point it came to that is as close.
Ours are medians of ``--rounds`` fits. A gap is (objective − best) / best; the
best is the least that anybody found, ours among them with ``tol=1e-7`` in float64, so that no
objective is lower by more than that. ``proven`` is what our users wait, ``tol=1e-5``.

A peer stops at ``--limit`` seconds. A time with ``>`` was not enough; ``last gap`` is how far it
had come by then.

``kept`` are the features with a weight, ``proven 0`` those that the fit proves to have none at the
optimum. ``products`` is our time until the proof over that of its passes' two bare matrix products,
which bounds what a pass can take; ``memory`` is what our fit adds at its peak, as a share of the
features; ``others`` the share of the processor that other processes took meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
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

import fit_data
import fit_l1_peers
import fit_peers
from bridle import SoftmaxRegression, softmax_regression_path
from bridle.progress import Progress
from few_rows import processor
from fit import bytes_of, first_below, rates, ratio
from fit_l1_peers import Problem
from measuring import extra_memory, in_own_process, processor_seconds, seconds, share_of_others

Array = npt.NDArray[Any]
GAPS = (1e-3, 1e-5)
TARGET, PATH_TARGET = 5.0, 10.0
STRENGTHS = {"embedding-10": (0.01, 0.03, 0.1), "text-20": (3.0, 10.0, 30.0)}
PENALTIES = ["L1", "elastic-net", "group"]
ELASTIC_NET, GROUP = 0.5, "features"
PATH_LENGTH, PATH_DECADES = 50, 3


def problems_of(name: str, kinds: list[str], strengths: list[float]) -> list[Problem]:
    """Return the penalties that data are fitted with."""
    Cs = STRENGTHS[name]
    of_kind = {
        "L1": [Problem(C, 1.0, "none") for C in strengths or Cs],
        "elastic-net": [Problem(C, ELASTIC_NET, "none") for C in strengths or Cs[1:2]],
        "group": [Problem(C, 1.0, GROUP) for C in strengths or Cs[:1]],
    }
    return [problem for kind in kinds for problem in of_kind[kind]]


def model_of(problem: Problem, **options: Any) -> SoftmaxRegression:
    """Return our model."""
    group = None if problem.group == "none" else problem.group
    return SoftmaxRegression(C=problem.C, l1_ratio=problem.l1_ratio, group=group, **options)


def load_kernels(X: Any, y: Array, problem: Problem) -> None:
    """Fit far enough that all that is compiled is loaded."""
    model_of(problem, max_iter=5).fit(X, y)


# --- what a child process measures ----------------------------------------------------------------


def find_optimum(folder: Path, name: str, problem: Problem) -> dict[str, Any]:
    """Return our best point's objective, and what is proven of it."""
    X, y = fit_data.saved(folder, name)
    model = model_of(problem, tol=1e-7).fit(X, y)
    report = model.fit_report_
    value = fit_l1_peers.true_objective(X, y, problem, model.coef_.T, model.intercept_)
    return {
        "objective": value,
        "accuracy": model.score(X, y),
        "gap": report.relative_gap,
        "stopped": report.stopped,
        "weights": int(np.count_nonzero(model.coef_)),
    }


def measure_ours(
    folder: Path, name: str, problem: Problem, optimum: float, rounds: int
) -> dict[str, Any]:
    """Return our times to each gap and to the proof of 1e-5, its passes, features and memory."""
    X, y = fit_data.saved(folder, name)
    model = model_of(problem, tol=1e-5)
    load_kernels(X, y, problem)
    memory = extra_memory(partial(model.fit, X, y))
    before = processor_seconds()
    reached: dict[str, list[float]] = {str(gap): [] for gap in GAPS}
    proven = []
    for _ in range(rounds):
        events: list[Progress] = []
        model.fit(X, y, progress=events.append)
        proven.append(model.fit_report_.seconds)
        for gap in GAPS:
            times = [event.seconds for event in events if event.value <= optimum * (1 + gap)]
            reached[str(gap)].append(times[0] if times else np.inf)
    report = model.fit_report_
    value = fit_l1_peers.true_objective(X, y, problem, model.coef_.T, model.intercept_)
    return {
        "reached": {gap: statistics.median(times) for gap, times in reached.items()},
        "last": value / optimum - 1,
        "seconds": statistics.median(proven),
        "points": report.passes,
        "others": share_of_others(before),
        "stopped": report.stopped,
        "kept": report.kept_features,
        "zero": report.zero_features,
        "memory": memory / bytes_of(X),
    }


def measure_peer(
    folder: Path, name: str, problem: Problem, optimum: float, peer: str, limit: float
) -> dict[str, Any]:
    """Return a peer's time to each gap, and where it was at last."""
    X, y = fit_data.saved(folder, name)
    before = processor_seconds()
    trace, _ = fit_peers.run(fit_l1_peers.PEERS[peer](problem), X, y, problem.C, limit)
    others = share_of_others(before)

    @cache
    def gap_at(index: int) -> float:
        value = fit_l1_peers.true_objective(X, y, problem, *trace[index])
        return value / optimum - 1 if np.isfinite(value) else np.inf

    return {
        "reached": {str(gap): first_below(gap, gap_at, trace) for gap in GAPS},
        "last": gap_at(len(trace) - 1) if len(trace) else None,
        "seconds": limit,
        "points": len(trace),
        "others": others,
    }


def measure_rest(folder: Path, name: str, C: float, peer: str) -> dict[str, Any]:
    """Return what a solver of one against rest takes, and finds."""
    X, y = fit_data.saved(folder, name)
    if peer == "bridle":
        model = SoftmaxRegression(C=C, l1_ratio=1.0, tol=1e-4)
        load_kernels(X, y, Problem(C, 1.0, "none"))
        taken = seconds(partial(model.fit, X, y))
        kept = model.fit_report_.kept_features
        assert kept is not None
        return fit_l1_peers.OneAgainstRest(taken, model.score(X, y), kept)._asdict()
    return fit_l1_peers.ONE_AGAINST_REST[peer](X, y, C)._asdict()


def measure_path(folder: Path, name: str) -> dict[str, Any]:
    """Return the time of a whole path, and that of its hardest fit by itself."""
    X, y = fit_data.saved(folder, name)
    strongest = fit_l1_peers.strongest(X, y, Problem(1.0, 1.0, "none"))
    Cs = strongest * np.logspace(0, PATH_DECADES, PATH_LENGTH)
    load_kernels(X, y, Problem(Cs[-1], 1.0, "none"))
    before = processor_seconds()
    begin = time.perf_counter()
    path = softmax_regression_path(X, y, Cs=Cs, l1_ratio=1.0, tol=1e-5)
    whole = time.perf_counter() - begin
    # In the path the last fits take the most passes; by themselves they are tried from the end on.
    single = {}
    for C in Cs[::-12]:
        model = model_of(Problem(float(C), 1.0, "none"), tol=1e-5).fit(X, y)
        single[float(C)] = model.fit_report_.seconds
    hardest = max(single, key=single.__getitem__)
    return {
        "whole": whole,
        "passes": sum(report.passes for report in path.reports),
        "proven": all(report.stopped == "gap" for report in path.reports),
        "hardest": single[hardest],
        "C": hardest,
        "others": share_of_others(before),
    }


def measure_rate(folder: Path, name: str) -> dict[str, float]:
    """Return the seconds of a pass and of the bare products of its shape."""
    X, y = fit_data.saved(folder, name)
    return rates(X, y, int(y.max()) + 1)


# --- the tables -----------------------------------------------------------------------------------


def print_tables(
    names: list[str],
    kinds: list[str],
    strengths: list[float],
    peers: list[str],
    limit: float,
    rounds: int,
    quick: bool,
) -> None:
    """Measure all, and print each line as soon as it is known; at last what it comes to."""
    summary = []
    for name in names:
        with tempfile.TemporaryDirectory() as made:
            fit_data.save(Path(made), name, quick)
            rate = in_own_process(__file__, "--child", "rate", made, name)
            for problem in problems_of(name, kinds, strengths):
                case = print_case(made, name, problem, peers, limit, rounds)
                summary.append(case | {"rate": rate})
    print_summary(summary)


def print_case(
    folder: str, name: str, problem: Problem, peers: list[str], limit: float, rounds: int
) -> dict[str, Any]:
    """Print everyone's times to the gaps of one problem; return ours, and the best of others."""
    told = [folder, name, *map(str, problem)]
    X, y = fit_data.saved(Path(folder), name)
    optimum = in_own_process(__file__, "--child", "optimum", *told)
    print(
        f"{name}, {X.shape[0]}x{X.shape[1]}, {int(y.max()) + 1} classes, {words(problem)}: optimum"
        f" {optimum['objective']:.10f}, proven to {optimum['gap']:.0e} (ended by"
        f" {optimum['stopped']}); {optimum['weights']} weights, training accuracy"
        f" {optimum['accuracy']:.3f}; load {os.getloadavg()[0]:.1f}\n"
    )
    print("| who |", " | ".join(f"{gap:g}" for gap in GAPS), "| last gap | points | others |")
    print("|---" * (4 + len(GAPS)) + "|")
    value = str(optimum["objective"])
    ours = in_own_process(__file__, "--child", "ours", *told, value, str(rounds))
    print_line("bridle", ours)
    best: dict[str, tuple[float, str]] = {str(gap): (np.inf, "none") for gap in GAPS}
    for peer in peers:
        if reason := fit_l1_peers.reason_against(peer, problem.group):
            print(f"| {peer} | {reason} |" + " |" * (2 + len(GAPS)))
            continue
        found = measure(told, value, peer, limit)
        print_line(peer, found)
        for gap, reached in found["reached"].items():
            if reached is not None:
                best[gap] = min(best[gap], (reached, peer))
        if found["last"] is not None and found["last"] < -1e-7:
            print(f"\n{peer} found a lower objective, by {-found['last']:.1e}\n")
    print(flush=True)
    return {"name": name, "problem": problem, "ours": ours, "best": best, "limit": limit}


def words(problem: Problem) -> str:
    """Return what a penalty is called."""
    kind = "L1" if problem.l1_ratio == 1 else f"elastic net, l1_ratio {problem.l1_ratio:g}"
    return f"{kind if problem.group == 'none' else 'group lasso'}, C = {problem.C:g}"


def measure(told: list[str], optimum: str, peer: str, limit: float) -> dict[str, Any]:
    """Return `measure_peer` in a process of its own, which is ended if it does not end itself."""
    call = ("--child", "peer", *told, optimum, peer, str(limit))
    try:
        found: dict[str, Any] = in_own_process(__file__, *call, timeout=1.5 * limit + 40)
    except subprocess.TimeoutExpired:  # within a library's call, where nobody can look
        nothing = dict.fromkeys(map(str, GAPS))
        return {"reached": nothing, "seconds": limit, "last": None, "points": 0, "others": 0.0}
    return found


def print_line(who: str, found: dict[str, Any]) -> None:
    """Print one contender's times."""
    times = [
        f"> {found['seconds']:.0f}" if reached is None or reached == np.inf else f"{reached:.2f}"
        for reached in found["reached"].values()
    ]
    last = "unknown" if found["last"] is None else f"{found['last']:.1e}"
    print(
        f"| {who} | {' | '.join(times)} | {last} | {found['points']} | {found['others']:.0%} |",
        flush=True,
    )


def print_summary(cases: list[dict[str, Any]]) -> None:
    """Print what the target is about, and what bounds it."""
    print("| data | penalty | 1e-05, s | proven, s | best peer, s | who | peer / ours | passes |"
          " kept | proven 0 | products | memory | others |")  # fmt: skip
    print("|---" * 13 + "|")
    missed = 0
    for case in cases:
        ours, (best, who) = case["ours"], case["best"]["1e-05"]
        reached = ours["reached"]["1e-05"]
        missed += case["problem"].l1_ratio == 1 and min(best, case["limit"]) < TARGET * reached
        bare = case["rate"]["products seconds"] * ours["points"]
        proven = f"{ours['seconds']:.2f}" if ours["stopped"] == "gap" else ours["stopped"]
        seconds_of_best = f"{best:.2f}" if np.isfinite(best) else f"> {case['limit']:.0f}"
        print(
            f"| {case['name']} | {words(case['problem'])} | {reached:.2f} | {proven} |"
            f" {seconds_of_best} | {who} | {ratio(best, reached, case['limit'])} |"
            f" {ours['points']} | {ours['kept']} | {ours['zero']} | {ours['seconds'] / bare:.1f} |"
            f" {ours['memory']:.0%} | {ours['others']:.0%} |"
        )
    print(f"\nbelow {TARGET:g} times the best peer, of pure L1: {missed}")


def print_paths(names: list[str], quick: bool) -> None:
    """Print how long paths take, beside the hardest of their fits."""
    print("| data | path, s | passes | all proven | hardest fit, s | its C | path / fit | others |")
    print("|---" * 8 + "|")
    for name in names:
        with tempfile.TemporaryDirectory() as made:
            fit_data.save(Path(made), name, quick)
            found = in_own_process(__file__, "--child", "path", made, name)
        print(
            f"| {name} | {found['whole']:.1f} | {found['passes']} | {found['proven']} |"
            f" {found['hardest']:.1f} | {found['C']:.3g} |"
            f" {found['whole'] / found['hardest']:.1f} | {found['others']:.0%} |",
            flush=True,
        )
    print(f"\nthe target: at most {PATH_TARGET:g}")


def print_rest(names: list[str], strengths: list[float], limit: float, quick: bool) -> None:
    """Print solvers of one against rest, at their default tolerance, and ours until 1e-4."""
    print("| data | C | who | seconds | training accuracy | kept |")
    print("|---" * 6 + "|")
    for name in names:
        with tempfile.TemporaryDirectory() as made:
            fit_data.save(Path(made), name, quick)
            for C in strengths or STRENGTHS[name]:
                for who in ("bridle", *fit_l1_peers.ONE_AGAINST_REST):
                    if reason := fit_l1_peers.reason_against(who):
                        print(f"| {name} | {C:g} | {who} | {reason} | | |")
                        continue
                    try:
                        found = in_own_process(
                            __file__, "--child", "rest", made, name, str(C), who, timeout=limit
                        )
                    except subprocess.TimeoutExpired:
                        print(f"| {name} | {C:g} | {who} | > {limit:g} | | |")
                        continue
                    print(
                        f"| {name} | {C:g} | {who} | {found['seconds']:.2f} |"
                        f" {found['accuracy']:.3f} | {found['kept']} |",
                        flush=True,
                    )


def _problem(C: str, l1_ratio: str, group: str) -> Problem:
    return Problem(float(C), float(l1_ratio), group)


CHILDREN: dict[str, Callable[..., Any]] = {
    "optimum": lambda folder, name, *told: find_optimum(Path(folder), name, _problem(*told)),
    "ours": lambda folder, name, C, share, group, optimum, rounds: measure_ours(
        Path(folder), name, _problem(C, share, group), float(optimum), int(rounds)
    ),
    "peer": lambda folder, name, C, share, group, optimum, peer, limit: measure_peer(
        Path(folder), name, _problem(C, share, group), float(optimum), peer, float(limit)
    ),
    "rest": lambda folder, name, C, who: measure_rest(Path(folder), name, float(C), who),
    "path": lambda folder, name: measure_path(Path(folder), name),
    "rate": lambda folder, name: measure_rate(Path(folder), name),
}


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    peers = fit_l1_peers.PEERS
    parser.add_argument("--data", nargs="+", choices=STRENGTHS, default=list(STRENGTHS))
    parser.add_argument("--penalties", nargs="+", choices=PENALTIES, default=PENALTIES)
    parser.add_argument("--Cs", nargs="+", type=float, default=[], help="of each of these")
    parser.add_argument("--peers", nargs="*", choices=peers, default=list(peers))
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for each peer")
    parser.add_argument("--rounds", type=int, default=3, help="of our fits")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--paths", action="store_true")
    parser.add_argument("--one-against-rest", action="store_true")
    # How the program calls itself.
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # what a fit could not do stands in the tables
    if given.child:
        print(json.dumps(CHILDREN[given.child[0]](*given.child[1:])))
        return
    print(f"{processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    if given.paths:
        print_paths(given.data, given.quick)
    elif given.one_against_rest:
        print_rest(given.data, given.Cs, given.limit, given.quick)
    else:
        print_tables(
            given.data,
            given.penalties,
            given.Cs,
            given.peers,
            given.limit,
            given.rounds,
            given.quick,
        )


if __name__ == "__main__":
    main()
