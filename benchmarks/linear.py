"""The loss of a linear head beside PyTorch's, and beside the three products that it cannot avoid.

    python benchmarks/linear.py                             # all shapes
    python benchmarks/linear.py --shapes 2048x512x32000 --dtypes bfloat16 --rounds 7
    python benchmarks/linear.py --filter                    # speed and error of the gradient filter

Shapes are rows × features × classes. All contenders do forward and backward in turn, round after
round; a ratio is the median over the rounds. ``products`` is our time over that of the three bare
matrix products, by PyTorch, into fresh memory. Where ``--rows`` cuts a shape to fewer rows, so are
all contenders'. ``extra memory`` is what a call adds at its peak beyond the gradients, as a share
of what eager PyTorch adds; ``others`` is the share of the processor that other processes took.

ml-cross-entropy (its ``torch_compile`` form, which knows the CPU) takes part where it is installed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import scipy.linalg  # noqa: F401 - loaded before its threads are limited
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from bridle.torch import linear_cross_entropy
from measuring import (
    Call,
    extra_memory,
    in_own_process,
    processor_seconds,
    seconds,
    share_of_others,
)

SHAPES = ("2048x512x32000", "4096x64x100000", "50000x768x1000", "8192x2304x256000")
DTYPES = ("float32", "bfloat16")
NAMES = ("eager", "compiled", "chunked", "ml-cross-entropy", "bridle")
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def plain(features: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """Return PyTorch's loss, by way of the scores."""
    scores = torch.nn.functional.linear(features, weight)
    return torch.nn.functional.cross_entropy(scores, target)


def losses() -> dict[str, Loss]:
    """Return who takes part."""
    functional: Any = torch.nn.functional
    found: dict[str, Loss] = {"eager": plain, "compiled": torch.compile(plain)}
    if hasattr(functional, "linear_cross_entropy"):
        options = torch.nn.LinearCrossEntropyOptions()
        found["chunked"] = partial(functional.linear_cross_entropy, options=options)
    try:
        from cut_cross_entropy import linear_cross_entropy as theirs
    except ImportError:
        pass
    else:
        found["ml-cross-entropy"] = partial(theirs, impl="torch_compile")
    found["bridle"] = linear_cross_entropy
    return found


def make_problem(shape: str, dtype: str, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return features, weight and class indices, of at most so many rows."""
    rows, width, classes = map(int, shape.split("x"))
    generator = torch.Generator().manual_seed(0)
    kind = getattr(torch, dtype)
    features = torch.randn((min(rows, most), width), generator=generator).to(kind)
    weight = (torch.randn((classes, width), generator=generator) / width**0.5).to(kind)
    target = torch.randint(0, classes, (len(features),), generator=generator)
    return features.requires_grad_(), weight.requires_grad_(), target


def step(loss: Loss, features: Tensor, weight: Tensor, target: Tensor) -> None:
    """Do forward and backward, into fresh gradients."""
    features.grad = weight.grad = None
    loss(features, weight, target).backward()  # type: ignore[no-untyped-call]


def products(features: Tensor, weight: Tensor) -> None:
    """Do the three matrix products of a step."""
    with torch.no_grad():
        scores = features @ weight.T
        scores @ weight
        scores.T @ features


def measure_times(shape: str, dtype: str, rounds: int, most: int) -> dict[str, Any]:
    """Return everyone's median, and the median of their time over ours."""
    features, weight, target = make_problem(shape, dtype, most)
    calls: dict[str, Call] = {"products": partial(products, features, weight)}
    for name, loss in losses().items():
        calls[name] = partial(step, loss, features, weight, target)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    before = processor_seconds()
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds(call))
    ratios = {
        name: statistics.median(a / b for a, b in zip(spent, times["bridle"], strict=True))
        for name, spent in times.items()
    }
    milliseconds = statistics.median(times["bridle"]) * 1e3
    return {"ratios": ratios, "milliseconds": milliseconds, "others": share_of_others(before)}


def measure_memory(shape: str, dtype: str, name: str, most: int) -> float:
    """Return the bytes that a step adds at its peak, beyond its gradients."""
    features, weight, target = make_problem(shape, dtype, most)
    call = partial(step, losses()[name], features, weight, target)
    call()
    features.grad = weight.grad = None
    gradients = sum(each.numel() * each.element_size() for each in (features, weight))
    return extra_memory(call) - gradients


def print_table(shapes: list[str], dtypes: list[str], rounds: int, most: int) -> None:
    """Measure all, and print each line as soon as it is known."""
    peers = [name for name in NAMES if name != "bridle"]
    heads = [f"{name} / ours" for name in peers]
    print("| shape | dtype | ours, ms | products |", " | ".join(heads), "| extra memory | others |")
    print("|---" * (6 + len(peers)) + "|")
    for shape in shapes:
        for dtype in dtypes:
            run = partial(in_own_process, __file__)
            found = run("--times", shape, dtype, str(rounds), str(most))
            ours, eager = (
                run("--memory", shape, dtype, name, str(most)) for name in ("bridle", "eager")
            )
            ratios = found["ratios"]
            known = [f"{ratios[name]:.2f}" if name in ratios else "absent" for name in peers]
            print(
                f"| {shape} | {dtype} | {found['milliseconds']:.0f} |"
                f" {1 / ratios['products']:.2f} | {' | '.join(known)} |"
                f" {ours / eager:.1%} | {found['others']:.0%} |",
                flush=True,
            )


# --- the gradient filter --------------------------------------------------------------------------


def trained(tail: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return features, weight, bias and target as of a trained head, with Zipf's classes.

    ``tail`` says how much of the mass lies with classes that are improbable each.
    """
    rows, width, classes = 2048, 512, 32000
    generator = torch.Generator().manual_seed(0)
    frequency = 1 / torch.arange(1, classes + 1)
    target = torch.multinomial(frequency, rows, replacement=True, generator=generator)
    weight = torch.randn((classes, width), generator=generator) / width**0.5
    noise = torch.randn((rows, width), generator=generator)
    features = 8 * weight[target] + (1 - tail) * noise
    bias = torch.log(frequency) * (1 - tail / 2)
    return features.requires_grad_(), weight.requires_grad_(), bias, target


def spent(call: Call) -> float:
    """Return the processor time that a call takes, in seconds."""
    before = time.process_time()
    call()
    return time.process_time() - before


def print_filter(rounds: int) -> None:
    """Print what the filter saves, and what it does to the gradient.

    In processor time on one thread: what else the machine does would change the ratio, for threads
    that wait for each other in a product lose more by it than those that do not.
    """
    torch.set_num_threads(1)
    threadpool_limits(1)
    print("| mass in the tail | median top p | threshold | form | exact / ours | error in features "
          "| error in weight | mass lost |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for tail in (0.0, 0.5):
        features, weight, bias, target = trained(tail)
        with torch.no_grad():
            p = torch.softmax(features @ weight.T + bias, dim=1)
            top = p.amax(dim=1).median().item()

        def gradients(**options: Any) -> tuple[Tensor, ...]:
            found = linear_cross_entropy(features, weight, target, bias=bias, **options)  # noqa: B023
            return torch.autograd.grad(found, (features, weight))  # noqa: B023

        exact = gradients()
        for threshold in (1e-2, 3e-3, 1e-3, 2.0**-12):
            lost = p.masked_fill(p >= threshold, 0).sum(dim=1).mean().item()
            for unbiased in (True, False):
                options = {"gradient_filter": threshold, "unbiased": unbiased}
                found = gradients(**options)
                filtered = partial(gradients, **options)
                pairs = [(spent(gradients), spent(filtered)) for _ in range(rounds)]
                speed = statistics.median(a / b for a, b in pairs)
                errors = [
                    ((one - other).norm() / other.norm()).item()
                    for one, other in zip(found, exact, strict=True)
                ]
                print(
                    f"| {tail} | {top:.2f} | {threshold:.1e} |"
                    f" {'unbiased' if unbiased else 'dropped'} | {speed:.2f} | {errors[0]:.3f} |"
                    f" {errors[1]:.3f} | {0.0 if unbiased else lost:.1%} |",
                    flush=True,
                )


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES))
    parser.add_argument("--dtypes", nargs="+", default=list(DTYPES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=10**9)
    parser.add_argument("--filter", action="store_true")
    # How the program calls itself.
    parser.add_argument("--times", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--memory", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.times:
        shape, dtype, rounds, most = given.times
        print(json.dumps(measure_times(shape, dtype, int(rounds), int(most))))
    elif given.memory:
        shape, dtype, name, most = given.memory
        print(json.dumps(measure_memory(shape, dtype, name, int(most))))
    elif given.filter:
        print_filter(given.rounds)
    else:
        print_table(given.shapes, given.dtypes, given.rounds, given.rows)


if __name__ == "__main__":
    main()
