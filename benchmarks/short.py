"""The short table, and its history: one line for each kind of work, beside one named peer.

    make bench                                   # some minutes; appends to benchmarks/history.csv
    python benchmarks/short.py --dry             # the table alone
    python benchmarks/short.py --only "fit text-20"

Each line is measured in a process of its own, by the script that measures the whole table of that
kind; ours and the peer's take turns there, or in the fits run one after the other. ``ratio`` is the
median of (their time / ours). A fit's times are those to a gap of 1e-5 from the optimum.

`history.csv` keeps a line for each: with the version, the commit and the machine, since seconds of
one machine say nothing of another's. Lines with much of ``others``, the share of the machine that
other processes took, say little.
"""

from __future__ import annotations

import argparse
import csv
import platform
import subprocess
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

import bridle
import fit_data
from bridle.kernels.processors import free
from measuring import in_own_process

HERE = Path(__file__).parent
HISTORY = HERE / "history.csv"
FIELDS = (
    "date", "version", "commit", "processor", "cores", "python", "numpy",
    "work", "seconds", "peer", "ratio", "others",
)  # fmt: skip
GAP = "1e-05"


class Line(NamedTuple):
    """Our seconds, the peer, its time over ours, and the share of other processes."""

    seconds: float
    peer: str
    ratio: float
    others: float


def loss(shape: str, dtype: str) -> Line:
    """Measure forward and backward of a loss beside PyTorch's."""
    lines = in_own_process(str(HERE / "losses.py"), "--times", shape, dtype, "5")
    found = next(line for line in lines if line["kind"] == "forward + backward")
    seconds = found["milliseconds"]["bridle"] / 1e3
    return Line(seconds, "torch eager", found["ratios"]["eager"], found["others"])


def head(shape: str) -> Line:
    """Measure a step of the linear head beside PyTorch's."""
    script, most = str(HERE / "linear.py"), str(10**9)
    found = in_own_process(script, "--times", shape, "float32", "3", most)
    seconds, ratio = found["milliseconds"] / 1e3, found["ratios"]["eager"]
    return Line(seconds, "torch eager", ratio, found["others"])


def fit(name: str, C: str = "1.0", peer: str = "newton-cg float32") -> Line:
    """Measure a fit to a gap of 1e-5 beside the best of scikit-learn's solvers."""
    script = str(HERE / "fit.py")
    with tempfile.TemporaryDirectory() as folder:
        fit_data.save(Path(folder), name, quick=False)
        problem = (folder, name, C)
        optimum = str(in_own_process(script, "--child", "optimum", *problem)["objective"])
        ours = in_own_process(script, "--child", "ours", *problem, optimum)
        theirs = in_own_process(script, "--child", "peer", *problem, optimum, peer, "120")
    seconds, other = ours["reached"][GAP], theirs["reached"][GAP]
    ratio = np.nan if None in (seconds, other) else other / seconds
    others = max(ours["others"], theirs["others"])
    return Line(np.nan if seconds is None else seconds, f"scikit-learn {peer}", ratio, others)


WORK: dict[str, Callable[[], Line]] = {
    "loss 1000000x10 float32": partial(loss, "1000000x10", "float32"),
    "loss 4096x32000 float32": partial(loss, "4096x32000", "float32"),
    "loss 65536x1000 bfloat16": partial(loss, "65536x1000", "bfloat16"),
    "head 2048x512x32000": partial(head, "2048x512x32000"),
    "fit embedding-10": partial(fit, "embedding-10"),
    "fit embedding-200": partial(fit, "embedding-200"),
    "fit text-20": partial(fit, "text-20"),
}


def machine() -> dict[str, str]:
    """Return what every line of a run says of the code and the machine."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "version": bridle.__version__,
        "commit": commit.stdout.strip(),
        "processor": processor(),
        "cores": str(free()),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def processor() -> str:
    """Return the processor's name, as the system has it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()


def append(lines: list[dict[str, str]], path: Path) -> None:
    """Add lines to a history, which begins with the names of its columns."""
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerows(lines)


def main() -> None:
    """Measure, print each line as soon as it is known, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="+", choices=WORK, default=list(WORK))
    parser.add_argument("--dry", action="store_true", help="keep nothing")
    parser.add_argument("--history", type=Path, default=HISTORY)
    given = parser.parse_args()
    known, lines = machine(), []
    print("| work | ours, s | peer | ratio | others |\n|---|---|---|---|---|")
    for work in given.only:
        found = WORK[work]()
        shown = (f"{found.seconds:.4g}", found.peer, f"{found.ratio:.2f}", f"{found.others:.2f}")
        print(f"| {work} | {' | '.join(shown)} |", flush=True)
        lines.append(known | dict(zip(FIELDS[-5:], (work, *shown), strict=True)))
    if not given.dry:
        append(lines, given.history)


if __name__ == "__main__":
    main()
