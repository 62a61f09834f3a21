"""A fit over ranks beside one process with as many processors; memory of a fit from disk.

    python benchmarks/ranks.py                     # embedding-200: two ranks, and one process
    python benchmarks/ranks.py --rounds 5 --quick
    python benchmarks/ranks.py --disk              # 2,000,000 x 256 float16: each rank's memory
    python benchmarks/ranks.py --announcements     # what a question and its answers take alone

One process has all processors; of the ranks each has its share of them. A time is the fit's own, on
the first rank; the ratio is the median over the rounds of (two ranks / one process). ``others`` is
the share of the machine that other processes took meanwhile.

With ``--disk`` a file is made, fitted by two ranks and removed again. Printed are each rank's
largest resident memory, mapped pages included, beside the half of the features that it reads, and
how often it read each byte of it for a pass.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import fit_data
import measuring

RANKS = 2
ROWS, WIDTH, CLASSES = 2_000_000, 256, 10
MEGABYTE = 1e6


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", default="embedding-200", choices=fit_data.NAMES)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--disk", action="store_true")
    parser.add_argument("--rows", type=int, default=ROWS, help="with --disk")
    parser.add_argument("--announcements", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--file", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        CHILDREN[options.child](options)
    elif options.disk:
        on_disk(options)
    elif options.announcements:
        print(json.dumps(started(RANKS, options, "announcements")[0], indent=2))
    else:
        compare(options)


def compare(options: argparse.Namespace) -> None:
    """Fit with two ranks and with one process, in turn."""
    ratios, before = [], measuring.processor_seconds()
    for _ in range(options.rounds):
        (one,), (two, _) = started(1, options, "fit"), started(RANKS, options, "fit")
        ratios.append(two["seconds"] / one["seconds"])
        print(
            f"{options.data}: one process {one['seconds']:.2f} s, {one['passes']} passes; "
            f"{RANKS} ranks {two['seconds']:.2f} s, {two['passes']} passes; "
            f"objective apart by {abs(two['objective'] / one['objective'] - 1):.1e}"
        )
    others = measuring.share_of_others(before)
    print(f"median ratio {statistics.median(ratios):.2f}, others {others:.0%}")


def on_disk(options: argparse.Namespace) -> None:
    """Fit a file that is larger than the memory allowed."""
    with tempfile.TemporaryDirectory() as folder:
        options.file = str(Path(folder) / "features.npy")
        features = np.lib.format.open_memmap(
            options.file, mode="w+", dtype=np.float16, shape=(options.rows, WIDTH)
        )
        random = np.random.default_rng(0)
        target = random.integers(CLASSES, size=options.rows)
        means = random.normal(size=(CLASSES, WIDTH)) / 4
        for begin in range(0, options.rows, 100_000):
            rows = slice(begin, begin + 100_000)
            noise = random.normal(size=(len(target[rows]), WIDTH))
            features[rows] = means[target[rows]] + noise
        features.flush()
        np.save(Path(folder) / "labels.npy", target)
        size = features.nbytes / MEGABYTE
        del features
        for rank, found in enumerate(started(RANKS, options, "disk")):
            print(
                f"rank {rank}: {found['peak'] / MEGABYTE:.0f} MB at the most, "
                f"{found['peak_over_start'] / MEGABYTE:.0f} MB over the process before the fit; "
                f"half of the features {size / 2:.0f} MB; read {found['reads']:.2f} times a pass; "
                f"{found['passes']} passes, {found['seconds']:.0f} s, proven {found['proven']}"
            )


def started(count: int, options: argparse.Namespace, child: str) -> list[dict[str, Any]]:
    """Start processes, and return what each prints last."""
    threads = str(max(1, (os.cpu_count() or 1) // count))
    typed = [
        sys.executable,
        __file__,
        "--child",
        child,
        "--data",
        options.data,
        "--file",
        options.file,
    ]
    typed += ["--rows", str(options.rows), *(["--quick"] if options.quick else [])]
    if count > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        typed = [sys.executable, *launcher, *typed[1:]]
    done = subprocess.run(
        typed, env=os.environ | {"OMP_NUM_THREADS": threads}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr)
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return sorted(found, key=lambda each: int(each["rank"]))


def _ranks() -> tuple[int, int]:
    """Begin the group, where there is one; return this rank and their number."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return 0, 1
    import torch

    torch.distributed.init_process_group("gloo")
    return torch.distributed.get_rank(), size


def fit(options: argparse.Namespace) -> None:
    """Fit a part of made data."""
    from bridle import SoftmaxRegression

    rank, size = _ranks()
    features, target = fit_data.make(options.data, options.quick)
    rows = slice(len(target) * rank // size, len(target) * (rank + 1) // size)
    features, target = features[rows], target[rows]
    SoftmaxRegression(C=1.0, max_iter=2, tol=0.5).fit(features, target)  # compiles
    model = SoftmaxRegression(C=1.0, tol=1e-5).fit(features, target)
    report = model.fit_report_
    _say({
        "rank": rank, "seconds": report.seconds, "passes": report.passes,
        "objective": report.objective,
    })  # fmt: skip


def disk(options: argparse.Namespace) -> None:
    """Fit a part of a file, and count what is read."""
    from bridle import SoftmaxRegression
    from bridle.rows import Rows

    rank, size = _ranks()
    features = np.load(options.file, mmap_mode="r")
    target = np.load(Path(options.file).with_name("labels.npy"))
    rows = slice(len(target) * rank // size, len(target) * (rank + 1) // size)
    read, blocks = 0, Rows.blocks

    def counting(self: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal read
        for which, block in blocks(self, *arguments, **named):
            read += len(block)
            yield which, block

    Rows.blocks = counting  # type: ignore[method-assign]
    before, begin = measuring.status("VmRSS"), time.perf_counter()
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    model = SoftmaxRegression(C=1.0).fit(Rows([features[rows]]), target[rows])
    seconds, peak = time.perf_counter() - begin, measuring.status("VmHWM")
    report = model.fit_report_
    _say({
        "rank": rank, "peak": peak, "peak_over_start": peak - before, "seconds": seconds,
        "reads": read / (rows.stop - rows.start) / report.passes, "passes": report.passes,
        "proven": report.proven,
    })  # fmt: skip


def announcements(options: argparse.Namespace) -> None:
    """Ask for sums that cost nothing, of several sizes."""
    del options
    from bridle.ranks import ranks_of

    rank, _ = _ranks()
    found: dict[str, Any] = {"rank": rank}
    for numbers in (10, 10_000, 100_000, 1_000_000):
        with ranks_of() as ranks:
            array = np.zeros(numbers)

            def lead(ask: Any, array: Any = array) -> float:
                times = []
                for _ in range(20):
                    begin = time.perf_counter()
                    ask(array.copy())
                    times.append(time.perf_counter() - begin)
                return statistics.median(times)

            milliseconds = 1000 * ranks.led(lambda q: q, lambda _, one, other: one + other, lead)
            found[f"{8 * numbers} bytes down and up, ms"] = round(milliseconds, 2)
    _say(found)


def _say(found: dict[str, Any]) -> None:
    # In one piece: the ranks write to the same pipe.
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


CHILDREN = {"fit": fit, "disk": disk, "announcements": announcements}

if __name__ == "__main__":
    main()
