"""Seconds of a fit on an idle machine, and beside processes that keep processors busy.

    python benchmarks/busy.py                # one busy processor, five rounds
    python benchmarks/busy.py --busy 2 --rounds 3

Every fit runs in a process of its own that has fitted the same before. ``one thread`` has the
libraries and our kernels limited to one thread on the idle machine: what a busy processor may cost
at most is 1.3 times that, on a machine of two. ``others`` is the share of the processors that
anything but this benchmark and its competitors took meanwhile: above some per cent a row says
little.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bridle import SoftmaxRegression

# rows, features, classes, dtype
CASES: dict[str, tuple[int, int, int, str]] = {
    "pixels": (10_000, 784, 10, "float32"),
    "packages": (50_000, 384, 57, "float32"),
    "embeddings": (60_000, 512, 200, "float32"),
    "few classes": (200_000, 128, 8, "float32"),
    "few rows": (1000, 5000, 10, "float64"),
}
TARGET = 1.3
SPIN = "while True: pass"
ONE_THREAD = {
    f"{name}_NUM_THREADS": "1" for name in ("NUMBA", "OPENBLAS", "OMP", "MKL", "BLIS", "VECLIB")
}


def fit_twice(case: str) -> dict[str, float]:
    """Return the seconds of a second fit, after one that has loaded and compiled everything."""
    rows, width, classes, dtype = CASES[case]
    random = np.random.default_rng(0)
    y = np.arange(rows) % classes
    scale = np.arange(1, width + 1) ** -0.3  # embeddings have some large directions
    X = (random.normal(size=(classes, width))[y] * 0.3 + random.normal(size=(rows, width))) * scale
    X = X.astype(dtype)
    SoftmaxRegression(max_iter=2).fit(X[: rows // 2], y[: rows // 2])
    began = time.perf_counter()
    SoftmaxRegression().fit(X, y)
    return {"seconds": time.perf_counter() - began}


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep so many processors busy."""
    competitors = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(processes)]
    try:
        yield
    finally:
        for competitor in competitors:
            competitor.kill()
            competitor.wait()


def seconds(case: str, processes: int, settings: dict[str, str]) -> tuple[float, float]:
    """Return the seconds of a fit beside so many busy processes, and the others' share."""
    command = [sys.executable, "-W", "ignore", __file__, "--child", case]
    with busy(processes):
        before, began = _ticks(), time.perf_counter()
        children = os.times()
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=os.environ | settings
        )
        elapsed, after = time.perf_counter() - began, os.times()
        ours = after.children_user + after.children_system
        ours -= children.children_user + children.children_system
        others = (_ticks() - before) - ours - processes * elapsed
    share = max(0.0, others) / (elapsed * (os.cpu_count() or 1))
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"]), share


def _ticks() -> float:
    """Return the seconds that all processors have been busy."""
    first = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    ticks = [int(number) / os.sysconf("SC_CLK_TCK") for number in first]
    return sum(ticks) - ticks[3] - ticks[4]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--child", choices=CASES)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--busy", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(fit_twice(options.child)))
        return
    print("| data | rows x features, classes | one thread, s | idle, s | busy, s |"
          " busy / one thread | others |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    for case in options.cases:
        ways: list[tuple[int, dict[str, str]]] = [(0, ONE_THREAD), (0, {}), (options.busy, {})]
        found: list[list[tuple[float, float]]] = [
            [seconds(case, *way) for way in ways] for _ in range(options.rounds)
        ]
        one, idle, beside = (
            statistics.median(each[place][0] for each in found) for place in range(3)
        )
        others = statistics.median(share for each in found for _, share in each)
        rows, width, classes, _ = CASES[case]
        sign = "" if beside <= TARGET * one else " (!)"
        print(
            f"| {case} | {rows} x {width}, {classes} | {one:.2f} | {idle:.2f} | {beside:.2f} |"
            f" {beside / one:.2f}{sign} | {others:.0%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
