"""Cross-entropy's time and memory beside PyTorch's and SciPy's, and beside the memory's own speed.

    python benchmarks/losses.py                      # all shapes: about a quarter of an hour
    python benchmarks/losses.py --shapes 4096x32000 --dtypes float32 --rounds 9

Each shape is measured in a process of its own. All contenders do the same work on the same scores
in turn, round after round, so that what disturbs the machine disturbs all; a ratio is the median
over the rounds of (their time / ours). ``limit`` is our time / that of a bare in-place pass over
the scores (``x *= 1`` on all threads): nothing that reads and writes the scores can be below 1.

``others`` is the share of the machine that other processes took meanwhile. Above a few percent, a
line says little: two threads that share a core with a third do not wait as one does.

``extra memory`` is what the operating system says a call added at its peak to a process that holds
the scores, in units of the gradient's size; each is measured in a process of its own, on its second
call.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import special
from torch import Tensor

import bridle
from bridle.kernels.numba import row_kernels
from bridle.torch import functional
from measuring import (
    Call,
    extra_memory,
    in_own_process,
    processor_seconds,
    seconds,
    share_of_others,
)

SHAPES = ("4096x32000", "512x256000", "65536x1000", "1000000x10")
DTYPES = ("float32", "bfloat16")


class Computed(torch.autograd.Function):
    """Scores as a model computes them: no leaf, so that a gradient may overwrite them."""

    @staticmethod
    def forward(ctx: Any, _anchor: Tensor, scores: Tensor) -> Tensor:
        """Return the scores, in their own memory."""
        ctx.set_materialize_grads(False)
        return scores.detach()

    @staticmethod
    def backward(_ctx: Any, *_gradients: Tensor | None) -> tuple[None, None]:
        """Drop the gradient."""
        return None, None


def contenders(scores: Tensor, target: Tensor) -> dict[str, dict[str, Call]]:
    """Return, for each kind of work, who does it; ours is called ``bridle``."""
    anchor = torch.zeros((), requires_grad=True)
    eager: Callable[..., Tensor] = torch.nn.functional.cross_entropy
    compiled: Callable[..., Tensor] = torch.compile(eager)

    def forward(loss: Callable[..., Tensor]) -> Call:
        def call() -> object:
            with torch.no_grad():
                return loss(scores, target)

        return call

    def both(loss: Callable[..., Tensor], **options: Any) -> Call:
        def call() -> object:
            return loss(Computed.apply(anchor, scores), target, **options).backward()  # type: ignore[no-untyped-call]

        return call

    ours: Callable[..., Tensor] = functional.cross_entropy
    names = {"eager": eager, "compiled": compiled, "bridle": ours}
    return {
        "forward": {name: forward(loss) for name, loss in names.items()},
        "forward + backward": {name: both(loss) for name, loss in names.items()},
        "in place": {
            "eager": both(eager),
            "compiled": both(compiled),
            "bridle": both(ours, inplace=True),
            "kernel": lambda: kernel_in_place(scores, target),
        },
    }


def kernel_in_place(scores: Tensor, target: Tensor) -> object:
    """Do both passes while a row is in cache: what is left when the upstream gradient is known."""
    is_bfloat16 = scores.dtype == torch.bfloat16
    array = scores.view(torch.uint16).numpy() if is_bfloat16 else scores.numpy()
    share = np.full(len(array), 1 / len(array))
    return row_kernels.row_parts_and_gradient(
        array, target.numpy(), share, t=share, out=array, bfloat16=is_bfloat16
    )


def array_contenders(scores: Tensor, target: Tensor) -> dict[str, dict[str, Call]]:
    """Return who does what with NumPy's arrays, which know no bfloat16."""
    if scores.dtype == torch.bfloat16:
        return {}
    array, labels = scores.numpy(), target.numpy()
    rows = np.arange(len(array))

    def with_scipy() -> object:
        return -special.log_softmax(array, axis=1)[rows, labels].mean()

    return {
        "array": {"scipy": with_scipy, "bridle": lambda: bridle.cross_entropy(array, labels)},
        "array + gradient": {
            "scipy": with_scipy,
            "bridle": lambda: bridle.cross_entropy_gradient(array, labels),
        },
    }


def make_problem(shape: str, dtype: str) -> tuple[Tensor, Tensor]:
    """Return scores and class indices."""
    rows, classes = map(int, shape.split("x"))
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn((rows, classes), generator=generator).to(getattr(torch, dtype))
    return scores, torch.randint(0, classes, (rows,), generator=generator)


def measure_times(shape: str, dtype: str, rounds: int) -> list[dict[str, Any]]:
    """Return one line for each kind of work: everyone's median, the median ratios, the limit."""
    scores, target = make_problem(shape, dtype)
    kept = scores.clone()
    bits = scores.view(torch.int16) if dtype == "bfloat16" else scores
    work = contenders(scores, target) | array_contenders(scores, target)
    lines = []
    for kind, calls in work.items():
        before = processor_seconds()
        # The last contender's gradient may lie where the scores were.
        calls = {"bare": lambda: bits.mul_(1), **calls}
        times: dict[str, list[float]] = {name: [] for name in calls}
        for turn in range(rounds + 1):
            for name, call in calls.items():
                if kind == "in place":
                    scores.copy_(kept)
                spent = seconds(call)
                if turn:  # the first warms up
                    times[name].append(spent)
        ratios = {
            name: statistics.median(a / b for a, b in zip(spent, times["bridle"], strict=True))
            for name, spent in times.items()
        }
        medians = {name: statistics.median(spent) * 1e3 for name, spent in times.items()}
        others = share_of_others(before)
        lines.append({"kind": kind, "milliseconds": medians, "ratios": ratios, "others": others})
    return lines


def measure_memory(shape: str, dtype: str, kind: str, name: str) -> float:
    """Return what a call adds to memory at its peak, in units of the gradient's size."""
    scores, target = make_problem(shape, dtype)
    call = (contenders(scores, target) | array_contenders(scores, target))[kind][name]
    call()
    return extra_memory(call) / (scores.numel() * scores.element_size())


def print_tables(shapes: list[str], dtypes: list[str], rounds: int, *, memory: bool) -> None:
    """Measure all, and print each line as soon as it is known."""
    print(
        "| scores | dtype | work | ours, ms | limit | eager / ours | compiled / ours "
        "| / ours | others |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for shape in shapes:
        for dtype in dtypes:
            for line in in_own_process(__file__, "--times", shape, dtype, str(rounds)):
                print_line(shape, dtype, line)
    if memory:
        print("\n| scores | dtype | work | who | extra memory / gradient |")
        print("|---|---|---|---|---|")
        for shape in shapes:
            for dtype in dtypes:
                for kind in ("forward", "forward + backward", "in place"):
                    for name in ("eager", "compiled", "bridle"):
                        extra = in_own_process(__file__, "--memory", shape, dtype, kind, name)
                        line = f"| {shape} | {dtype} | {kind} | {name} | {extra:.3f} |"
                        print(line, flush=True)


def print_line(shape: str, dtype: str, line: dict[str, Any]) -> None:
    """Print a row of the table of times."""
    ratios = line["ratios"]
    known = {name: f"{ratios[name]:.1f}" for name in ("eager", "compiled") if name in ratios}
    further = [
        f"{name} {ratio:.2f}"
        for name, ratio in ratios.items()
        if name not in ("bare", "eager", "compiled", "bridle")
    ]
    ours, limit = line["milliseconds"]["bridle"], 1 / ratios["bare"]
    print(
        f"| {shape} | {dtype} | {line['kind']} | {ours:.1f} | {limit:.1f} |"
        f" {known.get('eager', '')} | {known.get('compiled', '')} | {', '.join(further)} |"
        f" {line['others']:.0%} |",
        flush=True,
    )


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES))
    parser.add_argument("--dtypes", nargs="+", default=list(DTYPES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-memory", action="store_true")
    # How the program calls itself.
    parser.add_argument("--times", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--memory", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.times:
        shape, dtype, rounds = given.times
        print(json.dumps(measure_times(shape, dtype, int(rounds))))
    elif given.memory:
        print(json.dumps(measure_memory(*given.memory)))
    else:
        print_tables(given.shapes, given.dtypes, given.rounds, memory=not given.no_memory)


if __name__ == "__main__":
    main()
