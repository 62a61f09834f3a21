"""Losses, linear head and exact fit on a GPU, beside the peers and the card's own limits.

    python benchmarks/gpu.py                    # everything: under four minutes
    python benchmarks/gpu.py --only losses      # or steps, heads, fits

Contenders do the same work on the same numbers, one after the other, in one process; a time is the
median of CUDA-event timings with the cache emptied in between, over 30 ms of calls (heads: 100 ms,
which are two or three calls of the largest). `Liger` and `ml-cross-entropy` take
part where they are installed.

``of copy``
    The bytes that cannot be avoided, over the time, as a share of what a copy from memory to memory
    moves: N·C·b forward, and forward with backward 2·N·C·b (each score read once, each gradient
    written once) or 3·N·C·b (scores read twice, as rows wider than the cache need).
``kernels``
    The same share of our kernels alone, without the host: of the one that makes loss and gradient,
    counting 2·N·C·b, or of forward's and backward's, counting 3·N·C·b (marked ``/3``).
``of the products``
    The time over that of the head's three bare products in cuBLAS.
``memory``
    GiB at the peak beyond inputs and gradients.
``host``
    Microseconds until a step of forward and backward has been handed over, not done.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import Any

import torch
from torch import Tensor

from bridle import SoftmaxRegression
from bridle.fit.readers import TensorReader
from bridle.fit.requests import Values
from bridle.fit.solvers.watch import Watch
from bridle.torch import functional

DEVICE = "cuda"
LOSSES = [
    (8192, 32_000, "bfloat16"),
    (8192, 32_000, "float32"),
    (4096, 128_256, "bfloat16"),
    (2048, 256_000, "bfloat16"),
    (8192, 50_257, "bfloat16"),
    (65_536, 1000, "float32"),
    (65_536, 1000, "bfloat16"),
    (200_000, 600, "float32"),
    (1_000_000, 100, "float32"),
    (4_000_000, 10, "float32"),
    (1024, 1_000_003, "bfloat16"),
]
STEPS = [(64, 10, "float32"), (4096, 1000, "bfloat16")]
HEADS = [
    (8192, 2304, 256_000, "bfloat16"),
    (8192, 4096, 128_256, "bfloat16"),
    (16_384, 2048, 32_000, "bfloat16"),
    (8192, 768, 50_257, "bfloat16"),
    (65_536, 768, 1000, "float32"),
    (4096, 64, 1_000_000, "bfloat16"),
    (4096, 128, 1_000_000, "bfloat16"),
    (8192, 64, 100_000, "bfloat16"),
    (65_536, 64, 1000, "float16"),
]
FITS = [(50_000, 512, 200, 0.13, "float32"), (1_281_167, 768, 1000, 0.12, "float16")]
Call = Callable[[], object]


def milliseconds(call: Call, budget: int = 30) -> float:
    """Return how long the device takes for a call: the median over a budget of milliseconds."""
    from triton.testing import do_bench

    return float(do_bench(call, warmup=10, rep=budget, return_mode="median"))


def copy_bandwidth() -> float:
    """Return the bytes that a copy reads and writes in a second."""
    source = torch.randn(2**29, device=DEVICE)
    target = torch.empty_like(source)
    return 2 * source.nbytes / milliseconds(lambda: target.copy_(source)) * 1e3


# --- losses ---------------------------------------------------------------------------------------


def loss_contenders() -> dict[str, Callable[..., Any]]:
    """Return cross-entropies of scores and class indices, by name; ours is ``bridle``."""
    eager = torch.nn.functional.cross_entropy
    found: dict[str, Callable[..., Any]] = {"eager": eager, "compiled": torch.compile(eager)}
    if find_spec("liger_kernel"):
        from liger_kernel.transformers.functional import liger_cross_entropy

        found["Liger"] = liger_cross_entropy
    return found | {"bridle": functional.cross_entropy}


def losses(bandwidth: float) -> None:
    """Print forward, and forward with backward, of every shape."""
    print("\nCross-entropy of class indices, forward + backward, ms; of copy: shares")
    contenders = loss_contenders()
    print(f"{'scores':24}" + "".join(f"{name:>10}" for name in contenders), end="")
    print(f"{'of copy: 2NCb':>15}{'3NCb':>7}{'forward':>9}{'kernels':>9}")
    for shape in LOSSES:
        loss_row(contenders, bandwidth, *shape)


def loss_row(
    contenders: dict[str, Callable[..., Any]],
    bandwidth: float,
    rows: int,
    classes: int,
    dtype: str,
) -> None:
    """Print one shape's line."""
    scores = numbers(rows, classes, dtype)
    target = torch.randint(classes, (rows,), device=DEVICE)
    size = rows * classes * scores.element_size()
    print(f"{f'{rows} x {classes} {dtype}':24}", end="")
    found = 0.0
    for loss in contenders.values():
        found = tried(step(loss, scores.clone(), target))  # Liger writes over them
        print(f"{found:10.3f}", end="", flush=True)
    # The last of them is ours.
    forward = milliseconds(partial(functional.cross_entropy, scores, target))
    shares = (2 * size / found, 3 * size / found, size / forward)
    texts = (f"{share * 1e3 / bandwidth:.2f}" for share in shares)
    print("{:>15}{:>7}{:>9}".format(*texts), end="")
    print(f"{kernels_alone(scores, target, bandwidth):>9}", flush=True)


def kernels_alone(scores: Tensor, target: Tensor, bandwidth: float) -> str:
    """Return our kernels' own share of the copy's bandwidth."""
    from bridle.kernels.triton import index_loss

    loss, out = index_loss.IndexLoss(target, None, None, -100), torch.empty_like(scores)
    ones = torch.ones((), device=DEVICE)

    def both() -> object:
        return index_loss.losses(scores, loss, out=out)

    def apart() -> object:
        _, kept = index_loss.losses(scores, loss, keep=True)
        assert kept is not None
        return index_loss.write_gradient(scores, kept, loss, ones, out=out)

    call, count, mark = (both, 2, "") if index_loss.makes_both(scores) else (apart, 3, "/3")
    return f"{count * scores.nbytes / milliseconds(call) * 1e3 / bandwidth:.2f}{mark}"


def step(loss: Callable[..., Any], scores: Tensor, target: Tensor, **options: Any) -> Call:
    """Return a call of forward and backward."""
    leaf = scores.detach().requires_grad_()

    def call() -> object:
        return torch.autograd.grad(loss(leaf, target, **options), leaf)

    return call


def numbers(rows: int, width: int, dtype: str, scale: float = 1.0) -> Tensor:
    """Return normal numbers."""
    kind: torch.dtype = getattr(torch, dtype)
    return torch.randn(rows, width, device=DEVICE, dtype=kind).mul_(scale)


def tried(call: Call, budget: int = 30) -> float:
    """Return a call's milliseconds; NaN of who cannot do the work."""
    try:
        return milliseconds(call, budget)
    except Exception as error:  # a peer's own limits: the table goes on
        print(f"[{type(error).__name__}]", end="")
        return float("nan")


# --- steps ----------------------------------------------------------------------------------------


def steps() -> None:
    """Print what a small step costs the host, and how many kernels it launches."""
    print("\nA step of forward and backward: host microseconds, launches")
    calls: dict[str, Call] = {}
    for rows, classes, dtype in STEPS:
        scores = numbers(rows, classes, dtype).requires_grad_()
        target = torch.randint(classes, (rows,), device=DEVICE)
        weight = torch.rand(classes, device=DEVICE).to(scores.dtype)
        more: dict[str, Any] = {"label_smoothing": 0.1, "weight": weight}
        for label, options in (("", {}), (", smoothing and weights", more)):
            for name in ("eager", "bridle"):
                loss = loss_contenders()[name]
                title = f"{rows} x {classes} {dtype}{label}: {name}"
                calls[title] = step(loss, scores, target, **options)
    # A process that has been profiled launches slowly from then on: all times are taken first.
    times = {title: host_time(call) for title, call in calls.items()}
    for title, call in calls.items():
        print(f"    {title:56}{times[title]:8.0f} us{launches(call):6} launches", flush=True)


def host_time(call: Call) -> float:
    """Return the host's microseconds for a call."""
    for _ in range(20):
        call()
    found = []
    for _ in range(100):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        call()
        found.append(time.perf_counter() - begin)
    torch.cuda.synchronize()
    return median(found) * 1e6


def launches(call: Call) -> int:
    """Return how many kernels a call launches."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        call()
        torch.cuda.synchronize()
    on_device = (e for e in profile.events() if str(e.device_type).endswith("CUDA"))
    return sum("Mem" not in event.name for event in on_device)


# --- the linear head ------------------------------------------------------------------------------


def head_contenders() -> dict[str, Callable[..., Any]]:
    """Return losses of features, weight and class indices, by name."""

    def eager(features: Tensor, weight: Tensor, target: Tensor) -> Any:
        return torch.nn.functional.cross_entropy(features @ weight.T, target)

    found: dict[str, Callable[..., Any]] = {"eager": eager}
    if find_spec("cut_cross_entropy"):
        from cut_cross_entropy import linear_cross_entropy

        found["ml-c-e"] = linear_cross_entropy
    if find_spec("liger_kernel"):
        from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

        def liger(features: Tensor, weight: Tensor, target: Tensor) -> Any:
            return liger_fused_linear_cross_entropy(features, weight, target)

        found["Liger"] = liger
    return found | {"bridle": functional.linear_cross_entropy}


def heads() -> None:
    """Print time and memory of a linear head's loss and gradients."""
    print("\nLinear head, forward + backward: of the products, (memory in GiB)")
    contenders = head_contenders()
    print(f"{'N x D x C':32}{'products':>12}" + "".join(f"{name:>16}" for name in contenders))
    for shape in HEADS:
        head_row(contenders, *shape)
        torch.cuda.empty_cache()


def head_row(
    contenders: dict[str, Callable[..., Any]], rows: int, width: int, classes: int, dtype: str
) -> None:
    """Print one shape's line."""
    features = numbers(rows, width, dtype, 0.3).requires_grad_()
    weight = numbers(classes, width, dtype, 0.05).requires_grad_()
    target = torch.randint(classes, (rows,), device=DEVICE)
    bare = milliseconds(products(features.detach(), weight.detach()), 100)
    print(f"{f'{rows} x {width} x {classes} {dtype}':32}{bare:9.1f} ms", end="", flush=True)
    for loss in contenders.values():
        call = partial(gradients_of, loss, features, weight, target)
        found = tried(call, 100)
        extra = float("nan")
        if found == found:
            extra = (peak_memory(call) - features.nbytes - weight.nbytes) / 2**30
        print(f"{found / bare:8.2f} ({extra:5.2f})", end="", flush=True)
    print()


def gradients_of(
    loss: Callable[..., Any], features: Tensor, weight: Tensor, target: Tensor
) -> object:
    """Return the gradients of a head's loss."""
    return torch.autograd.grad(loss(features, weight, target), (features, weight))


def products(features: Tensor, weight: Tensor) -> Call:
    """Return a call of the three products that no head can do without."""
    scores = torch.empty(len(features), len(weight), device=DEVICE, dtype=features.dtype)

    def call() -> object:
        torch.mm(features, weight.T, out=scores)
        return torch.mm(scores, weight), torch.mm(scores.T, features)

    return call


def peak_memory(call: Call) -> int:
    """Return the bytes that a call takes at its peak."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    kept = call()
    torch.cuda.synchronize()
    del kept
    return torch.cuda.max_memory_allocated() - before


# --- the exact fit --------------------------------------------------------------------------------


def fits() -> None:
    """Print how long fits to a proven 1e-5 take, and what with."""
    print("\nExact fits, C = 1, to a proven gap of 1e-5")
    fit_once(*FITS[0])  # loads and compiles
    for shape in FITS:
        rows, width, classes, _, dtype = shape
        seconds, report, parts = fit_once(*shape)
        proof = f"proven gap {report.relative_gap:.1e} ({report.stopped})"
        print(f"{rows} x {width} {dtype}, {classes} classes: {seconds:.2f} s, {proof}")
        print(f"    {report.passes} passes, {report.iterations} steps")
        for name, (calls, spent) in parts.items():
            print(f"    {name:34}{calls:5} calls {spent:7.2f} s", flush=True)


def fit_once(
    rows: int, width: int, classes: int, separation: float, dtype: str
) -> tuple[float, Any, dict[str, tuple[int, float]]]:
    """Fit made embeddings; return seconds, report, and calls and seconds of each part."""
    features, target = embeddings(rows, width, classes, separation, dtype)
    parts: dict[str, tuple[int, float]] = {}
    places: list[tuple[Any, str]] = [
        (TensorReader, "answer"),
        (Watch, "gap"),
    ]
    before = [getattr(module, name) for module, name in places]
    for (module, name), function in zip(places, before, strict=True):
        setattr(module, name, timed(function, parts))
    try:
        torch.cuda.synchronize()
        begin = time.perf_counter()
        model = SoftmaxRegression(C=1.0, tol=1e-5).fit(features, target)
        seconds = time.perf_counter() - begin
    finally:
        for (module, name), function in zip(places, before, strict=True):
            setattr(module, name, function)
    return seconds, model.fit_report_, parts


def timed(function: Callable[..., Any], parts: dict[str, tuple[int, float]]) -> Callable[..., Any]:
    """Return a function that keeps count of its calls and their time."""

    def call(*arguments: Any, **options: Any) -> Any:
        torch.cuda.synchronize()
        begin = time.perf_counter()
        result = function(*arguments, **options)
        torch.cuda.synchronize()
        name = function.__name__
        if name == "answer":
            name = type(arguments[1]).__name__
        if isinstance(arguments[-1], Values):
            precision = arguments[-1].point.precision
            name = f"passes, {precision.dtype}{', TF32' if precision.rounds_factors else ''}"
        calls, spent = parts.get(name, (0, 0.0))
        parts[name] = calls + 1, spent + time.perf_counter() - begin
        return result

    return call


def embeddings(
    rows: int, width: int, classes: int, separation: float, dtype: str
) -> tuple[Tensor, Tensor]:
    """Return class means plus noise, as `fit_data.embeddings` does, made on the device."""
    generator = torch.Generator(device=DEVICE).manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=DEVICE)

    deviation = (1.0 + torch.arange(width, device=DEVICE)) ** -0.5
    deviation /= (deviation**2).mean().sqrt()
    means = normal(classes, width) * deviation
    rotation = torch.linalg.qr(normal(width, width))[0]
    target = torch.randint(classes, (rows,), generator=generator, device=DEVICE)
    features = torch.empty(rows, width, dtype=getattr(torch, dtype), device=DEVICE)
    for part in blocks(rows, 2**17):
        noise = normal(part.stop - part.start, width) * deviation
        features[part] = ((separation * means[target[part]] + noise) @ rotation).to(features.dtype)
    return features, target


def blocks(rows: int, size: int) -> Iterator[slice]:
    """Yield slices of so many rows."""
    for begin in range(0, rows, size):
        yield slice(begin, min(begin + size, rows))


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", choices=["losses", "steps", "heads", "fits"])
    chosen = parser.parse_args().only
    if not torch.cuda.is_available():
        parser.error("expected a CUDA device, found none")
    bandwidth = copy_bandwidth()
    versions = f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}"
    print(f"{torch.cuda.get_device_name()}, {versions}; a copy moves {bandwidth / 1e9:.0f} GB/s")
    if chosen in (None, "steps"):
        steps()
    if chosen in (None, "losses"):
        losses(bandwidth)
    if chosen in (None, "heads"):
        heads()
    if chosen in (None, "fits"):
        fits()


if __name__ == "__main__":
    main()
