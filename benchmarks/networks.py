"""Seconds per epoch of a network beside scikit-learn's, PyTorch's, and the plain NumPy loop's.

    python benchmarks/networks.py                                # about three minutes
    python benchmarks/networks.py --sizes 784-30-10 --batches 10 --rounds 7

The same samples, shaped as MNIST's images, the same layers (ReLU, softmax, log-likelihood), batch,
gradient descent, float32. All contenders run in turn, round after round, so that what disturbs the
machine disturbs all; a time is the least over the rounds, a ratio the median over the rounds of
(their time / ours). The others run on one thread and on all, and the faster counts: on a machine
with other work, two threads that wait for each other can take a hundred times as long as one.

``plain`` is `bridle.networks.epoch.plain_epoch`; ``difference`` is that of the mean cost of the
last epoch, relative, from the same start with the same batches. ``others`` is the share of the
machine that other processes took meanwhile.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from bridle import NetworkClassifier
from bridle.networks import backpropagation, epoch, parameters
from bridle.networks.compiled import Kind
from bridle.networks.epoch import Rule, Samples

Array = npt.NDArray[Any]
Sizes = tuple[int, ...]

RATE = 0.05
EPOCHS = 4  # in each call, so that what is done once per fit weighs less
KIND = Kind("relu", "softmax", "log_likelihood", 0.0, 0.0)


def ours(sizes: Sizes, batch: int, X: Array, y: Array) -> Callable[[], float]:
    """Return a training that returns the last epoch's cost."""
    model = NetworkClassifier(
        sizes[1:-1], activation=KIND.activation, learning_rate=RATE, batch_size=batch,
        max_epochs=EPOCHS, random_state=0,
    )  # fmt: skip
    return lambda: model.fit(X, y).history_[-1].cost


def plain(sizes: Sizes, batch: int, X: Array, y: Array) -> Callable[[], float]:
    """Return the same training as a loop of NumPy."""

    def run() -> float:
        random = np.random.RandomState(0)
        vector = parameters.initial(sizes, "scaled", random, X.dtype)
        state, cost = epoch.new_state(vector), 0.0
        samples = Samples(X, y, np.zeros((0, sizes[-1]), X.dtype), np.ones(len(X), X.dtype))
        net, rule = backpropagation.network(*KIND), Rule("sgd", RATE, 0.0, batch)
        for _ in range(EPOCHS):
            order = random.permutation(len(X))
            cost = epoch.plain_epoch(net, sizes, samples, order, rule, state).cost
        return cost

    return run


def scikit(sizes: Sizes, batch: int, X: Array, y: Array, threads: int) -> Callable[[], float]:
    """Return scikit-learn's training."""
    model = MLPClassifier(
        sizes[1:-1], activation="relu", solver="sgd", alpha=0.0, batch_size=batch,
        learning_rate_init=RATE, momentum=0.0, nesterovs_momentum=False, max_iter=EPOCHS,
        random_state=0,
    )  # fmt: skip

    def run() -> float:
        with threadpool_limits(threads):
            return float(model.fit(X, y).loss_)

    return run


def pytorch(sizes: Sizes, batch: int, X: Array, y: Array, threads: int) -> Callable[[], float]:
    """Return a plain loop in PyTorch."""
    features, labels = torch.from_numpy(X), torch.from_numpy(y)

    def run() -> float:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        parts: list[torch.nn.Module] = []
        for before, after in pairwise(sizes):
            parts += [torch.nn.Linear(before, after), torch.nn.ReLU()]
        model = torch.nn.Sequential(*parts[:-1])
        loss_of = torch.nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
        total = torch.zeros(())
        for _ in range(EPOCHS):
            total = torch.zeros(())
            for rows in torch.split(torch.randperm(len(X)), batch):
                optimizer.zero_grad()
                loss = loss_of(model(features[rows]), labels[rows])
                loss.backward()
                optimizer.step()
                total += loss.detach() * len(rows)
        return float(total) / len(X)

    return run


def machine_seconds() -> float:
    """Return the seconds of processor that all processes of the machine have had, where it says."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return float("nan")
    user, nice, system = map(int, stat.read_text().split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def compare(sizes: Sizes, batch: int, rows: int, rounds: int) -> None:
    """Print a line for one network and batch."""
    random = np.random.RandomState(1)
    X = random.rand(rows, sizes[0]).astype(np.float32)
    y = random.randint(0, sizes[-1], rows).astype(np.int64)
    every = os.cpu_count() or 1
    contenders = {
        "ours": ours(sizes, batch, X, y),
        "sklearn, one": scikit(sizes, batch, X, y, 1),
        "torch, one": pytorch(sizes, batch, X, y, 1),
        "plain": plain(sizes, batch, X, y),
        "sklearn, all": scikit(sizes, batch, X, y, every),
        "torch, all": pytorch(sizes, batch, X, y, every),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    costs = {name: run() for name, run in contenders.items()}
    machine, own = machine_seconds(), time.process_time()
    started = time.perf_counter()
    for _ in range(rounds):
        for name, run in contenders.items():
            began = time.perf_counter()
            run()
            seconds[name].append((time.perf_counter() - began) / EPOCHS)
    others = machine_seconds() - machine - (time.process_time() - own)
    share = max(0.0, others / (time.perf_counter() - started) / every)
    cells = [f"{min(seconds['ours']):.4f}"]
    for who in ("sklearn", "torch", "plain"):
        names = [name for name in seconds if name.startswith(who)]
        fastest = min(names, key=lambda name: min(seconds[name]))
        pairs = zip(seconds[fastest], seconds["ours"], strict=True)
        ratio = statistics.median(theirs / mine for theirs, mine in pairs)
        cells += [f"{min(seconds[fastest]):.4f}", f"{ratio:.1f}"]
    difference = abs(costs["ours"] / costs["plain"] - 1)
    label = "-".join(map(str, sizes))
    print(
        f"| {label} | {batch} | " + " | ".join(cells) + f" | {difference:.0e} | {share:.0%} |",
        flush=True,
    )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["784-30-10", "784-256-256-10"])
    parser.add_argument("--batches", nargs="+", type=int, default=[10, 64, 512])
    parser.add_argument("--rows", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(
        "| network | batch | ours s | sklearn s | x | torch s | x | plain s | x | difference "
        "| others |"
    )
    print("|" + "---|" * 11)
    for sizes in chosen.sizes:
        for batch in chosen.batches:
            compare(tuple(map(int, sizes.split("-"))), batch, chosen.rows, chosen.rounds)


if __name__ == "__main__":
    main()
