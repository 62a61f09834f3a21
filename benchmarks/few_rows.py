"""Seconds of a fit with few rows and many features, beside scikit-learn's default.

    python benchmarks/few_rows.py                       # all of the table, some minutes
    python benchmarks/few_rows.py --kinds unit --rows 30 300 --repeat 5

Both are called with their defaults: ours until the gap is proven to be at most 1e-6 of the optimum,
scikit-learn's until no entry of its gradient is above 1e-4, which may be far from the optimum;
``theirs above`` says how far, relative to it. Calls are made in turn, and the times are medians.
Before each there is a pause: threads of the library that the other one used go on waiting for more
work for some milliseconds, on a processor that this one would have.
With as many classes as rows or more, there is one class a row.

``mixed``: normal features whose classes overlap in every direction. ``unit``: embeddings as CLIP
has them, rows of length 1 around a common direction, in float32. ``random``: normal features,
whose labels have nothing to do with them.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from bridle import SoftmaxRegression, cross_entropy
from measuring import processor_seconds, seconds, share_of_others

Array = npt.NDArray[Any]
KINDS = ("mixed", "unit", "random")
ROWS, WIDTHS, CLASSES = (30, 100, 300, 1000), (500, 2000, 5000), (2, 10, 100)
TARGET = 1.5
PAUSE = 0.1


def made(kind: str, rows: int, width: int, classes: int) -> tuple[Array, Array]:
    """Return features of a kind, and labels."""
    random = np.random.default_rng(0)
    y = np.arange(rows) % classes
    noise = random.standard_normal((rows, width))
    if kind == "random":
        return noise, y
    # Two class means are some 4 deviations apart, however many features there are.
    means = random.standard_normal((classes, width)) * 3 / np.sqrt(width)
    if kind == "mixed":
        return means[y] + noise, y
    embedded = 2 * means[y] + noise + random.standard_normal(width)
    embedded /= np.linalg.norm(embedded, axis=1, keepdims=True)
    return embedded.astype(np.float32), y


def processor() -> str:
    """Return the processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))


def objective(model: Any, X: Array, y: Array) -> float:
    """Return what both minimise at C = 1: for two classes scikit-learn's one vector of weights."""
    scores = X.astype(np.float64) @ model.coef_.T + model.intercept_
    if len(model.coef_) == 1:
        scores = np.hstack([np.zeros_like(scores), scores])
    penalty = float(np.vdot(model.coef_, model.coef_)) / 2
    return float(cross_entropy(scores, y, reduction="sum")) + penalty


def seconds_at_rest(call: Callable[[], Any]) -> float:
    """Return how long a call takes when no thread of an earlier one is waiting for work."""
    time.sleep(PAUSE)
    return seconds(call)


def measure(X: Array, y: Array, repeat: int) -> tuple[float, float, float, float]:
    """Return both medians in seconds, how far theirs is above ours, and the others' share."""
    calls: list[Callable[[], Any]] = [
        lambda: SoftmaxRegression().fit(X, y),
        lambda: LogisticRegression().fit(X, y),
    ]
    ours, theirs = (objective(call(), X, y) for call in calls)
    before = processor_seconds()
    times = [[seconds_at_rest(call) for call in calls] for _ in range(repeat)]
    first, second = (statistics.median(column) for column in zip(*times, strict=True))
    return first, second, theirs / ours - 1, share_of_others(before)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--rows", nargs="+", type=int, default=ROWS)
    parser.add_argument("--repeat", type=int, default=9)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{processor()}\n")
    print("| data | rows x features | classes | bridle, ms | scikit-learn, ms | ratio |"
          " theirs above | others |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    slower = 0
    for kind, rows, width, classes in product(options.kinds, options.rows, WIDTHS, CLASSES):
        X, y = made(kind, rows, width, min(classes, rows))
        ours, theirs, above, others = measure(X, y, options.repeat)
        slower += ours > TARGET * theirs
        print(
            f"| {kind} | {rows} x {width} | {min(classes, rows)} | {ours * 1e3:.1f} |"
            f" {theirs * 1e3:.1f} | {ours / theirs:.2f} | {above:.0e} | {others:.0%} |",
            flush=True,
        )
    print(f"\nslower than {TARGET} times scikit-learn's: {slower}")


if __name__ == "__main__":
    main()
