"""What a fit of 10⁹ rows would take, reckoned from what is measured here.

    python benchmarks/scale.py                       # about a minute
    python benchmarks/scale.py --link 3.1            # GB/s of the network at hand, one way

Measured: a pass over some rows on this machine's processors, and what the driver adds to each step
(its arithmetic on the weights, from the time between two passes of a fit over few rows); a question
and its answers between two ranks on loopback, of two sizes, which give a latency and a rate. The
rate of a GPU's pass is the one of docs/performance.md.

Reckoned: rows are shared evenly; a question goes down a tree and the answers come up one, a level
of it after another; nothing overlaps.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from bridle import SoftmaxRegression
from bridle.fit.problem.objective import build_objective
from bridle.fit.readers import DenseReader, reader_of
from bridle.fit.requests import Values
from bridle.rows import Rows

ROWS, WIDTH, CLASSES = 10**9, 1024, 1000
SAMPLE = 20_000
PASSES = 100  # of a fit; a proof to 1e-5 of 50,000 x 512 x 200 takes 66
# 1,281,167 x 768 x 1,000 in half precision on an H200: see docs/performance.md.
GPU_RATE = 4 * 1_281_167 * 768 * 1000 / 0.012
GPU_MEMORY = 141e9
OUR_PROCESSORS = 2
MACHINE_PROCESSORS = 32


class Place(NamedTuple):
    """A kind of rank: multiplications and additions a second, memory, how many."""

    name: str
    ranks: int
    rate: float
    memory: float | None = None


class Link(NamedTuple):
    """What a message takes: seconds, and seconds a byte."""

    latency: float
    per_byte: float

    def seconds(self, count: int) -> float:
        """Return what so many bytes take."""
        return self.latency + count * self.per_byte


def main() -> None:
    """Measure, reckon and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--link", type=float, help="GB/s between ranks, in place of loopback's")
    options = parser.parse_args()
    pass_seconds, solver_seconds = measured_pass(), measured_solver()
    rate = 4 * SAMPLE * WIDTH * CLASSES / pass_seconds
    link = measured_link()
    if options.link is not None:
        link = link._replace(per_byte=1 / (options.link * 1e9))
    down, up = 4 * WIDTH * CLASSES, 8 * WIDTH * CLASSES
    print(f"a pass over {SAMPLE:,} rows: {pass_seconds:.3f} s, {rate / 1e9:.0f} GFLOP/s")
    print(f"the driver's own arithmetic: {solver_seconds:.3f} s a step")
    print(f"a message: {1e3 * link.latency:.2f} ms and {1e-9 / link.per_byte:.2f} GB/s")
    print(f"a question takes {down / 1e6:.1f} MB down and {up / 1e6:.1f} MB up, to each rank\n")
    print("| ranks | rows' share | pass | messages | driver | step | fit | of it the pass |")
    print("|---|---|---|---|---|---|---|---|")
    machine = rate * MACHINE_PROCESSORS / OUR_PROCESSORS
    for place in (
        *(Place("GPU", count, GPU_RATE, GPU_MEMORY) for count in (8, 64, 512)),
        Place(f"machine of {MACHINE_PROCESSORS} processors", 100, machine),
    ):
        print(row(place, link, solver_seconds))


def row(place: Place, link: Link, solver: float) -> str:
    """Return a line of the table."""
    levels = math.ceil(math.log2(place.ranks))
    share = 2 * ROWS * WIDTH / place.ranks
    products = 4 * ROWS * WIDTH * CLASSES / place.ranks / place.rate
    messages = levels * (link.seconds(4 * WIDTH * CLASSES) + link.seconds(8 * WIDTH * CLASSES))
    step = products + messages + solver
    fits = "" if place.memory is None or share < place.memory else " (more than it has)"
    return (
        f"| {place.ranks} x {place.name} | {share / 1e9:.0f} GB{fits} | {products:.2f} s | "
        f"{messages:.2f} s | {solver:.2f} s | {step:.2f} s | {PASSES * step / 60:.1f} min | "
        f"{products / step:.0%} |"
    )


def measured_pass() -> float:
    """Return the seconds of a pass over some rows in half precision."""
    random = np.random.default_rng(0)
    features = random.normal(size=(SAMPLE, WIDTH)).astype(np.float16)
    target = random.integers(CLASSES, size=SAMPLE)
    reader = reader_of(Rows([features]), target, None, CLASSES)
    objective = build_objective(reader, CLASSES, C=1.0, fit_intercept=True, standardize=False)
    weight = 0.01 * random.normal(size=objective.shape)
    point = objective.point(weight)
    single = point._replace(
        weight=point.weight.astype(np.float32), offset=point.offset.astype(np.float32)
    )
    times = []
    with reader.threads():
        for _ in range(5):
            begin = time.perf_counter()
            reader.answer(Values(single))
            times.append(time.perf_counter() - begin)
    return statistics.median(times)


def measured_solver() -> float:
    """Return what is left of a step of a fit with so many weights, but few rows."""
    random = np.random.default_rng(0)
    features = random.normal(size=(2 * CLASSES, WIDTH)).astype(np.float32)
    target = np.arange(len(features)) % CLASSES
    answering, passes = 0.0, 0
    answer_together = DenseReader.answer_together

    def timed(self: DenseReader, asked: Any) -> Any:
        nonlocal answering, passes
        begin = time.perf_counter()
        answers = answer_together(self, asked)
        answering += time.perf_counter() - begin
        passes += 1
        return answers

    DenseReader.answer_together = timed  # type: ignore[method-assign]
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        SoftmaxRegression(C=1e-3, max_iter=30, tol=1e-12).fit(features, target)
    DenseReader.answer_together = answer_together  # type: ignore[method-assign]
    return (time.perf_counter() - begin - answering) / passes


def measured_link() -> Link:
    """Return what messages take between two ranks on loopback, half of them each way."""
    script = str(Path(__file__).with_name("ranks.py"))
    done = subprocess.run(
        [sys.executable, script, "--announcements"], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    times = {int(k.split()[0]): v / 1e3 for k, v in found.items() if k.endswith("ms")}
    small, large = min(times), max(times)
    per_byte = (times[large] - times[small]) / (2 * (large - small))
    return Link(times[small] / 2, per_byte)


if __name__ == "__main__":
    main()
