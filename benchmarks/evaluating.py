"""Memory and time of judging a million rows of a thousand classes, in blocks and from a file.

    python benchmarks/evaluating.py                       # some minutes; a file of 2 GB in /tmp
    python benchmarks/evaluating.py --rows 100000 --classes 1000

``blocks``: scores are made block by block, and given to `bridle.judge.Evaluator`. ``file``: the
same scores in half precision in a .npy file, which ``bridle evaluate FILE --labels … --report …``
reads. Each in a process of its own, whose peak is what the system says: all that it held, libraries
and the pages of the file that were in memory included.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from measuring import in_own_process, status

Array = npt.NDArray[Any]
BLOCK = 4096


def scores_of(start: int, rows: int, classes: int) -> tuple[Array, Array]:
    """Return scores in half precision that tell something of their classes, and those."""
    random = np.random.default_rng(start)
    target = random.integers(0, classes, rows)
    scores = random.standard_normal((rows, classes), np.float32)
    scores[np.arange(rows), target] += 4
    return scores.astype(np.float16), target


def in_blocks(rows: int, classes: int) -> None:
    """Judge blocks as they are made."""
    from bridle.judge import Evaluator

    stream, seconds = Evaluator(), 0.0
    for start in range(0, rows, BLOCK):
        scores, target = scores_of(start, min(BLOCK, rows - start), classes)
        begin = time.perf_counter()
        stream.update(scores, target)
        seconds += time.perf_counter() - begin
    begin = time.perf_counter()
    found = stream.result()
    seconds += time.perf_counter() - begin
    tell(seconds, found.cross_entropy_nats)


def from_file(folder: Path) -> None:
    """Judge a file by the command, and write a page."""
    from bridle.cli import run

    page, begin = folder / "page.html", time.perf_counter()
    found = folder / "figures.json"
    output, sys.stdout = sys.stdout, found.open("w", encoding="utf-8")
    code = run(["evaluate", str(folder / "scores.npy"), "--labels", str(folder / "labels.npy"),
                "--scores", "--report", str(page), "--json"])  # fmt: skip
    sys.stdout.close()
    sys.stdout = output
    assert code == 0
    seconds = time.perf_counter() - begin
    figures = json.loads(found.read_text(encoding="utf-8"))
    tell(seconds, figures["cross_entropy_nats"], page=page.stat().st_size)


def tell(seconds: float, loss: float, **others: int) -> None:
    """Print what a process found of itself."""
    # Not what `getrusage` says: that begins with the peak of whoever started the process.
    print(json.dumps({"seconds": seconds, "loss": loss, "peak": status("VmHWM"), **others}))


def write(folder: Path, rows: int, classes: int) -> None:
    """Write the scores and the labels of all rows."""
    shape = (rows, classes)
    scores = np.lib.format.open_memmap(folder / "scores.npy", "w+", np.float16, shape)
    labels = np.empty(rows, np.int64)
    for start in range(0, rows, BLOCK):
        stop = min(start + BLOCK, rows)
        scores[start:stop], labels[start:stop] = scores_of(start, stop - start, classes)
    scores.flush()
    np.save(folder / "labels.npy", labels)


def main() -> None:
    """Print the table, or be one of its processes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--part", choices=("blocks", "file"))
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.part == "blocks":
        in_blocks(options.rows, options.classes)
        return
    if options.part == "file":
        from_file(options.folder)
        return
    sizes = ("--rows", str(options.rows), "--classes", str(options.classes))
    print("| way | seconds | peak, MB | page, kB | loss, nats |\n|---|---|---|---|---|")
    show("blocks", in_own_process(__file__, "--part", "blocks", *sizes))
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), options.rows, options.classes)
        show("file", in_own_process(__file__, "--part", "file", "--folder", name))


def show(way: str, found: dict[str, Any]) -> None:
    """Print a line of the table."""
    page = f"{found['page'] / 1e3:.0f}" if "page" in found else ""
    print(
        f"| {way} | {found['seconds']:.0f} | {found['peak'] / 1e6:.0f} | {page} |"
        f" {found['loss']:.4f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
