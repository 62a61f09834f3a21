"""A fit of sparse text beside scikit-learn's, until each is close to the optimum.

    python benchmarks/sparse_fit.py                        # 20,000 documents × 50,000 words
    python benchmarks/sparse_fit.py --C 1 --dtypes float32 --rounds 7

The text is drawn: words by Zipf's law, some of a document's from its topic's own; tf-idf, rows of
length 1. The optimum is ours at a proven relative gap of 1e-9. A peer's clock stops when the first
value it computes is within ``gap`` of that, though it cannot know; ours stops when the fit returns,
with its proof. Contenders take turns, and a ratio is the median over the rounds. ``others`` is the
share of the processor that other processes took.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import _logistic as peer_module

from bridle import SoftmaxRegression
from measuring import processor_seconds, share_of_others

Array = npt.NDArray[Any]
PEERS = ("lbfgs", "newton-cg")
OWN_WORDS = 0.3  # of a document's words, those from its topic


class _CloseEnoughError(Exception):
    """Ends a peer's fit from within."""


def zipf_text(
    documents: int, words: int, topics: int, length: int = 140, seed: int = 0
) -> tuple[Any, Array]:
    """Return tf-idf features (documents, words), float64, and each document's topic."""
    generator = np.random.default_rng(seed)
    frequency = np.arange(1, words + 1.0) ** -1.1
    topic = generator.integers(topics, size=documents)
    lengths = np.maximum(1, generator.poisson(length * generator.gamma(4.0, 0.25, documents)))
    row = np.repeat(np.arange(documents), lengths)
    draw, own = generator.random(len(row)), generator.random(len(row)) < OWN_WORDS
    word = np.searchsorted(_cumulated(frequency), draw)
    for each in range(topics):
        favoured = generator.random(words) < 1 / 30
        boost = np.where(favoured, generator.gamma(2.0, 3.0, words), 1.0)
        which = own & (topic[row] == each)
        word[which] = np.searchsorted(_cumulated(frequency * boost), draw[which])
    counts = sparse.csr_array((np.ones(len(row)), (row, word)), shape=(documents, words))
    counts.sum_duplicates()
    holding = np.bincount(counts.indices, minlength=words)
    rarity = np.log((1 + documents) / (1 + holding)) + 1
    counts.data = (1 + np.log(counts.data)) * rarity[counts.indices]
    norm = np.sqrt(np.asarray(counts.multiply(counts).sum(axis=1)).ravel())
    counts.data /= np.repeat(norm, np.diff(counts.indptr))
    noise = generator.random(documents) < 0.03
    topic[noise] = generator.integers(topics, size=int(noise.sum()))
    return counts, topic


def _cumulated(frequency: Array) -> Array:
    total = np.cumsum(frequency)
    return np.asarray(total / total[-1])


def peer_seconds(X: Any, y: Array, C: float, solver: str, goal: float) -> float:
    """Return how long a peer takes until it computes a value of at most ``goal``."""
    begin = time.perf_counter()

    def watched(function: Callable[..., Any], value: Callable[[Any], Any]) -> Callable[..., Any]:
        def inner(*arguments: Any, **options: Any) -> Any:
            result = function(*arguments, **options)
            if value(result) <= goal:
                raise _CloseEnoughError
            return result

        return inner

    class Optimize:
        @staticmethod
        def minimize(function: Any, *arguments: Any, **options: Any) -> Any:
            first = watched(function, lambda result: result[0])
            return optimize.minimize(first, *arguments, **options)

    def newton_cg(*, func: Any, **options: Any) -> Any:
        return newton(func=watched(func, float), **options)

    parts: Any = peer_module
    optimize, newton = parts.optimize, parts._newton_cg
    parts.optimize, parts._newton_cg = Optimize, newton_cg
    try:
        LogisticRegression(C=C, solver=solver, tol=1e-12, max_iter=3000).fit(X, y)
    except _CloseEnoughError:
        return time.perf_counter() - begin
    finally:
        parts.optimize, parts._newton_cg = optimize, newton
    return float("nan")


def our_seconds(X: Any, y: Array, C: float, gap: float) -> float:
    """Return how long our fit takes, its proof included."""
    begin = time.perf_counter()
    SoftmaxRegression(C=C, tol=gap).fit(X, y)
    return time.perf_counter() - begin


def main() -> None:
    """Print a line for each dtype and C."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--words", type=int, default=50_000)
    parser.add_argument("--topics", type=int, default=20)
    parser.add_argument("--C", type=float, nargs="+", default=[0.01, 1.0, 100.0])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "float64"])
    parser.add_argument("--peers", nargs="+", default=PEERS, choices=PEERS)
    parser.add_argument("--gap", type=float, default=1e-5)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    exact, y = zipf_text(options.documents, options.words, options.topics)
    print(f"{options.documents} documents, {options.words} words, {exact.nnz / len(y):.0f} in each")
    for C in options.C:
        optimum = SoftmaxRegression(C=C, tol=1e-9).fit(exact, y).fit_report_.objective
        for dtype in options.dtypes:
            X, before = exact.astype(dtype), processor_seconds()
            SoftmaxRegression(C=C, tol=options.gap).fit(X, y)  # loads the kernels
            ours: list[float] = []
            peers: dict[str, list[float]] = {name: [] for name in options.peers}
            for _ in range(options.rounds):
                ours.append(our_seconds(X, y, C, options.gap))
                for name, times in peers.items():
                    times.append(peer_seconds(X, y, C, name, optimum * (1 + options.gap)))
            line = f"{dtype}  C = {C:<6g} bridle {statistics.median(ours):6.2f} s"
            for name, times in peers.items():
                ratio = statistics.median(
                    theirs / mine for theirs, mine in zip(times, ours, strict=True)
                )
                line += f"   {name} {statistics.median(times):6.2f} s, {ratio:.1f} times ours"
            print(f"{line}   others {share_of_others(before):.0%}", flush=True)


if __name__ == "__main__":
    main()
