"""The Triton kernels against the contract in long doubles, on a GPU or through the interpreter.

Triton decides when it is first imported whether it interprets, for the whole process. So these
tests run in a process of their own, which `test_triton_kernels` starts; by hand:

    TRITON_INTERPRET=1 pytest tests/triton_kernels_suite.py

and without that variable on the GPU.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from bridle.kernels import thresholds
from bridle.kernels.contract import RowParts
from bridle.kernels.numpy import row_kernels as rows_reference
from bridle.kernels.triton import row_kernels
from bridle.kernels.triton.scores import Matrix

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import accuracy
from triton_interpreting import mend_the_interpreter

Array = npt.NDArray[Any]

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INFINITY = float("inf")

if DEVICE == "cpu":
    mend_the_interpreter()


@pytest.fixture(autouse=True)
def _device_arithmetic() -> Iterator[None]:
    """Let the interpreter's NumPy make infinities and NaN without a word, as a GPU does."""
    with np.errstate(all="ignore"):
        yield


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_scores(rows: int, classes: int, dtype: torch.dtype, scale: float = 3.0) -> Tensor:
    drawn = torch.randn(rows, classes, dtype=torch.float64, generator=generator(rows + classes))
    return (scale * drawn).to(dtype).to(DEVICE)


def random_target(rows: int, classes: int) -> Tensor:
    return torch.randint(classes, (rows,), generator=generator(classes)).to(DEVICE)


def exact(tensor: Tensor | None) -> Array:
    """Return the same numbers in long doubles, so that float64 kernels can be judged as well."""
    assert tensor is not None
    return np.asarray(tensor.detach().double().cpu().numpy().astype(np.longdouble))


def accumulated(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def assert_close(
    found: Tensor | None, right: Array, dtype: torch.dtype, *, ulps: float, scale: Any = 0.0
) -> None:
    """Ask for so many roundings in ``dtype``, relative to each number and to ``scale``."""
    assert found is not None
    allowed = ulps * torch.finfo(dtype).eps * (np.abs(right) + scale)
    values = exact(found)
    finite = np.isfinite(right)
    np.testing.assert_array_equal(values[~finite], right[~finite])
    error = np.abs(values - right)[finite]
    smallest = torch.finfo(dtype).smallest_normal
    worst = (error - np.broadcast_to(allowed, right.shape)[finite]).max(initial=0.0)
    assert worst <= smallest, (error.max(), values[finite], right[finite])


# --- the contract, one line a formula ------------------------------------------------------------


def bent(scores: Array, temperature: float, softcap: float) -> tuple[Array, Array]:
    """Return z and dz/dscores."""
    tanh = np.tanh(scores / np.longdouble(softcap)) if softcap else scores
    z = np.where(np.isinf(scores), scores, softcap * tanh if softcap else scores)
    return z / np.longdouble(temperature), (
        (1 - tanh**2) if softcap else np.ones_like(scores)
    ) / np.longdouble(temperature)


def masses(target: Tensor | None, weight: Array, shape: tuple[int, ...]) -> Array:
    """Return what the target takes from the gradient at each class."""
    mass = np.zeros(shape, np.longdouble)
    if target is None:
        return mass
    if target.dim() == 2:
        return exact(target) * weight
    labels = target.cpu().numpy()
    counted = np.flatnonzero(labels >= 0)
    mass[counted, labels[counted]] = 1
    return mass


def right_parts(
    scores: Tensor,
    target: Tensor | None,
    *,
    weight: Tensor | None = None,
    temperature: float = 1.0,
    softcap: float = 0.0,
) -> dict[str, Array]:
    """Return every part of rows that have a finite maximum."""
    z, _ = bent(exact(scores), temperature, softcap)
    w = np.ones(z.shape[1]) if weight is None else exact(weight)
    maximum = z.max(axis=1)
    gap = maximum[:, None] - z
    total = np.exp(-gap).sum(axis=1)
    allowed = np.isfinite(z)
    finite_gap = np.where(allowed, gap, 0)
    mass = masses(target, w, z.shape)
    target_gap = np.where(mass != 0, mass * gap, 0).sum(axis=1)
    return {
        "maximum": maximum,
        "log_sum": np.log1p(total - 1),
        "target_gap": target_gap,
        "soft_gap": target_gap,
        "soft_mass": mass.sum(axis=1),
        "smooth_gap": (w * finite_gap).sum(axis=1),
        "smooth_weight": (w * allowed).sum(axis=1),
        "allowed": allowed.sum(axis=1).astype(float),
        "mean_gap": (np.exp(-gap) * finite_gap).sum(axis=1) / total,
        "argmax": z.argmax(axis=1).astype(float),
    }


def right_gradient(
    scores: Tensor,
    target: Tensor | None,
    coefficients: dict[str, Any],
    *,
    weight: Tensor | None = None,
    temperature: float = 1.0,
    softcap: float = 0.0,
) -> tuple[Array, Array]:
    """Return the gradient, and the size of the terms that it is the sum of."""
    z, slope = bent(exact(scores), temperature, softcap)
    w = np.ones(z.shape[1]) if weight is None else exact(weight)
    log_p = z - z.max(axis=1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    p, allowed = np.exp(log_p), np.isfinite(z)
    log_p = np.where(allowed, log_p, 0)
    a, b, s, t = (
        np.zeros((len(z), 1)) if value is None else exact(value)[:, None]
        for value in (coefficients[name] for name in "abst")
    )
    mass = masses(target, w, z.shape)
    gradient = (p * (a + b * log_p) - s * w * allowed - t * mass) * slope
    size = p * (abs(a) + abs(b * log_p)) * (1 + abs(log_p)) + abs(s) * w * allowed + abs(t) * mass
    return gradient, size / temperature


def asked_for(target: Tensor | None, smoothing: bool, entropy: bool, argmax: bool) -> set[str]:
    """Return the names of the parts that a call promises."""
    names = {"maximum", "log_sum"}
    if target is not None:
        names |= {"target_gap"} if target.dim() == 1 else {"soft_gap", "soft_mass"}
    names |= {"smooth_gap", "smooth_weight", "allowed"} if smoothing else set()
    return names | ({"mean_gap"} if entropy else set()) | ({"argmax"} if argmax else set())


# --- every option with every other ---------------------------------------------------------------

OPTIONS: dict[str, list[Any]] = {
    "dtype": DTYPES,
    "classes": [1, 2, 33, 100],
    "target": ["index", "soft", "none"],
    "weight": [False, True],
    "smoothing": [False, True],
    "entropy": [False, True],
    "argmax": [False, True],
    "temperature": [1.0, 0.7],
    "softcap": [0.0, 5.0],
    "masked": [False, True],
    "layout": ["contiguous", "transposed", "rows apart", "one row many times"],
    "blocks": [False, True],
    "b": [False, True],
    "s": [False, True],
    "t": [False, True],
    "in_place": [False, True],
}


def pairwise(options: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Return cases in which any two options occur with all pairs of their values."""
    names = sorted(options)
    missing = {
        ((one, a), (two, b))
        for one, two in combinations(names, 2)
        for a, b in product(range(len(options[one])), range(len(options[two])))
    }
    rng, cases = np.random.default_rng(0), []
    while missing:
        first = min(missing)
        best: tuple[int, dict[str, int]] = (0, {})
        for _ in range(30):
            case = {name: int(rng.integers(len(options[name]))) for name in names}
            case.update(dict(first))
            covered = sum(case[one] == a and case[two] == b for (one, a), (two, b) in missing)
            best = max(best, (covered, case), key=lambda each: each[0])
        case = best[1]
        missing -= set(combinations([(name, case[name]) for name in names], 2))
        cases.append({name: options[name][case[name]] for name in names})
    return cases


def laid_out(scores: Tensor, layout: str) -> Tensor:
    """Return the same numbers, or rows that are all the first, as they may lie in memory."""
    rows, classes = scores.shape
    if layout == "transposed":
        return scores.t().contiguous().t()
    if layout == "rows apart":
        wide = scores.new_full((rows, classes + 3), float("nan"))
        wide[:, 2 : classes + 2] = scores
        return wide[:, 2 : classes + 2]
    return scores[:1].expand(rows, classes) if layout == "one row many times" else scores


def drawn_target(kind: str, rows: int, classes: int, dtype: torch.dtype) -> Tensor | None:
    if kind == "none":
        return None
    if kind == "soft":
        return random_scores(rows, classes, torch.float64).softmax(1).to(dtype)
    target = random_target(rows, classes)
    target[1] = -1
    return target


@pytest.mark.parametrize(
    "case", pairwise(OPTIONS), ids=lambda case: "-".join(map(str, case.values()))
)
def test_every_option_with_every_other(
    case: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if case["blocks"]:
        monkeypatch.setattr(thresholds, "WIDEST_ROW", 16)
        monkeypatch.setattr(thresholds, "SPLIT_COLUMNS", 16)
    rows, classes, dtype = 5, case["classes"], case["dtype"]
    scores = random_scores(rows, classes, dtype)
    target = drawn_target(case["target"], rows, classes, dtype)
    if case["masked"]:
        # Never the first class, and never one with a mass: those have a test of their own.
        scores[:, 1::3] = -INFINITY
        if target is not None and target.dim() == 1:
            target[(target % 3) == 1] = 0
        elif target is not None:
            target[:, 1::3] = 0
    scores = laid_out(scores, case["layout"])
    weight = torch.linspace(0.5, 2, classes, dtype=torch.float64).to(dtype).to(DEVICE)
    options: dict[str, Any] = {
        "weight": weight if case["weight"] else None,
        "temperature": case["temperature"],
        "softcap": case["softcap"],
    }
    flags = {name: case[name] for name in ("smoothing", "entropy", "argmax")}
    parts = row_kernels.row_parts(scores, target, **flags, **options)

    right = right_parts(scores, target, **options)
    sums = accumulated(dtype)
    names = asked_for(target, **flags)
    assert {name for name, part in parts._asdict().items() if part is not None} == names
    bend = np.abs(right["maximum"]) + 10 if case["temperature"] != 1 or case["softcap"] else 1
    scale = bend * np.maximum(right["smooth_weight"], 1)
    for name in names:
        part = getattr(parts, name)
        assert part.dtype == (torch.int64 if name == "argmax" else sums)
        assert_close(part, right[name], sums, ulps=8, scale=scale)

    coefficients: dict[str, Any] = {
        name: torch.randn(rows, dtype=sums, generator=generator(seed)).to(DEVICE)
        if name == "a" or case[name]
        else None
        for seed, name in enumerate("abst")
    }
    gradient, size = right_gradient(scores, target, coefficients, **options)
    in_place = case["in_place"] and case["layout"] != "one row many times"
    out = scores if in_place else torch.full((rows, classes), float("nan"), dtype=dtype).to(DEVICE)
    found = row_kernels.row_gradient(scores, parts, target, **coefficients, **options, out=out)
    assert found is out
    # The interpreter cuts a bfloat16 where a GPU rounds it.
    bend = 10 if case["temperature"] != 1 or case["softcap"] else 1
    size = size * bend * 16 * torch.finfo(sums).eps / torch.finfo(dtype).eps
    assert_close(out, gradient, dtype, ulps=1, scale=size)


# --- ragged shapes -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("classes", [1, 2, 31, 33, 511, 512, 513, 1000, 1023, 1024, 1025, 2049])
def test_ragged_widths(classes: int, dtype: torch.dtype) -> None:
    scores, target = random_scores(5, classes, dtype), random_target(5, classes)
    parts = row_kernels.row_parts(scores, target, smoothing=True, entropy=True, argmax=True)
    right = right_parts(scores, target)
    sums = accumulated(dtype)
    for name in asked_for(target, True, True, True):
        assert_close(getattr(parts, name), right[name], sums, ulps=8, scale=1)
    ones = torch.ones(5, dtype=sums, device=DEVICE)
    out = row_kernels.row_gradient(
        scores, parts, target, ones, t=ones, out=torch.empty_like(scores)
    )
    gradient, size = right_gradient(scores, target, {"a": ones, "b": None, "s": None, "t": ones})
    size = size * 8 * torch.finfo(sums).eps / torch.finfo(dtype).eps
    assert_close(out, gradient, dtype, ulps=1, scale=size)


@pytest.mark.parametrize("classes", [1, 2, 33])
@pytest.mark.parametrize("rows", [0, 1, 31, 32, 33])
def test_ragged_heights(rows: int, classes: int) -> None:
    scores, target = random_scores(rows, classes, torch.float32), random_target(rows, classes)
    parts = row_kernels.row_parts(scores, target)
    right = right_parts(scores, target) if rows else {"log_sum": np.zeros(0)}
    assert_close(parts.log_sum, right["log_sum"], torch.float32, ulps=8)
    ones = torch.ones(rows, device=DEVICE)
    out = row_kernels.row_gradient(
        scores, parts, target, ones, t=ones, out=torch.empty_like(scores)
    )
    assert out.shape == (rows, classes)
    np.testing.assert_allclose(exact(out).sum(axis=1), np.zeros(rows), atol=1e-6)


def test_a_gradient_writes_to_its_own_columns_only() -> None:
    scores, target = random_scores(5, 33, torch.float32), random_target(5, 33)
    parts = row_kernels.row_parts(scores, target)
    ones = torch.ones(5, device=DEVICE)
    wide = torch.full((7, 40), 7.0, device=DEVICE)
    out = row_kernels.row_gradient(scores, parts, target, ones, t=ones, out=wide[1:6, 4:37])
    plain = row_kernels.row_gradient(
        scores, parts, target, ones, t=ones, out=torch.empty_like(scores)
    )
    assert torch.equal(out, plain)
    wide[1:6, 4:37] = 7.0
    assert (wide == 7).all()


def test_neither_scores_nor_targets_are_written_to() -> None:
    scores, target = random_scores(5, 33, torch.float32), random_target(5, 33)
    soft, weight = random_scores(5, 33, torch.float32).softmax(1), torch.ones(33, device=DEVICE)
    ones = torch.ones(5, device=DEVICE)
    for aim in (target, soft):
        given = [scores, aim, weight, ones]
        copies = [each.clone() for each in given]
        parts = row_kernels.row_parts(scores, aim, weight=weight, smoothing=True, argmax=True)
        out = torch.empty_like(scores)
        row_kernels.row_gradient(scores, parts, aim, ones, s=ones, t=ones, weight=weight, out=out)
        assert all(map(torch.equal, given, copies))


def test_strides_may_be_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch knows none; a kernel takes memory from its end as well."""
    scores, target = random_scores(5, 33, torch.float32), random_target(5, 33)
    soft, ones = random_scores(5, 33, torch.float32).softmax(1), torch.ones(5, device=DEVICE)
    for aim, turned in ((target, target), (soft, soft.flip(0, 1))):
        parts = row_kernels.row_parts(scores, aim)
        plain = row_kernels.row_gradient(
            scores, parts, aim, ones, t=ones, out=torch.empty_like(scores)
        )
        with monkeypatch.context() as patch:
            patch.setattr(row_kernels, "_matrix", from_its_end)
            back = scores.flip(0, 1)
            found = row_kernels.row_parts(back, turned)
            assert torch.equal(found.log_sum, parts.log_sum)
            out = row_kernels.row_gradient(back, found, turned, ones, t=ones, out=back)
        assert torch.equal(out.flip(0, 1), plain)


def from_its_end(tensor: Tensor | None) -> Any:
    """Return a matrix whose entry (0, 0) is the last in memory."""
    if tensor is None:
        return None
    return Matrix(tensor[-1:, -1:], *(-stride for stride in tensor.stride()))


def test_a_very_wide_row_is_split_and_merged() -> None:
    classes = 2**18 + 4099
    scores = random_scores(2, classes, torch.float32)
    scores[0, : 2**16] = -INFINITY  # a whole block
    scores[1, classes - 1] = 40
    target = torch.tensor([classes - 1, 5], device=DEVICE)
    parts = row_kernels.row_parts(scores, target, smoothing=True, entropy=True, argmax=True)
    right = right_parts(scores, target)
    for name in asked_for(target, True, True, True):
        assert_close(getattr(parts, name), right[name], torch.float32, ulps=64, scale=1e-9)


@pytest.mark.parametrize("classes", [257, 1030])
def test_blocks_do_not_change_what_a_row_is(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scores, target = random_scores(3, classes, torch.float64), random_target(3, classes)
    scores[0, :200] = -INFINITY
    scores[1, 3] = 30
    whole = row_kernels.row_parts(scores, target, smoothing=True, entropy=True, argmax=True)
    for width in (16, 128):
        monkeypatch.setattr(thresholds, "WIDEST_ROW", width)
        monkeypatch.setattr(thresholds, "SPLIT_COLUMNS", width)
        split = row_kernels.row_parts(scores, target, smoothing=True, entropy=True, argmax=True)
        for name in asked_for(target, True, True, True):
            right = exact(getattr(whole, name))
            assert_close(getattr(split, name), right, torch.float64, ulps=8)


@pytest.fixture(scope="module")
def far_memory() -> Tensor:
    """Untouched memory costs nothing: 4 GB are reserved, some thousand pages are used."""
    try:
        return torch.empty(2**31 + 8, dtype=torch.float16, device=DEVICE)
    except RuntimeError as error:
        pytest.skip(f"no room to reserve: {error}")


@pytest.mark.parametrize(
    ("shape", "strides"),
    [
        ((2, 5), (2**31, 1)),
        ((3, 2), (1, 2**31)),
        # Strides and indices that fit 32 bits each, and whose product does not.
        ((2049, 2), (2**20, 1)),
        ((3, 2049), (1, 2**20)),
    ],
)
def test_more_than_two_to_the_31_numbers_apart(
    shape: tuple[int, int], strides: tuple[int, int], far_memory: Tensor
) -> None:
    scores = far_memory.as_strided(shape, strides)
    scores.copy_(random_scores(*shape, torch.float16))
    target = random_target(*shape)
    target[-1] = shape[1] - 1
    parts = row_kernels.row_parts(scores, target)
    right = right_parts(scores, target)
    assert_close(parts.target_gap, right["target_gap"], torch.float32, ulps=2)
    assert_close(parts.log_sum, right["log_sum"], torch.float32, ulps=8, scale=0.1)
    ones = torch.ones(shape[0], device=DEVICE)
    gradient, size = right_gradient(scores, target, {"a": ones, "b": None, "s": None, "t": ones})
    row_kernels.row_gradient(scores, parts, target, ones, t=ones, out=scores)
    # What is below a half's range is rounded to its smallest steps.
    assert_close(scores, gradient, torch.float16, ulps=1, scale=size * 2**-10 + 2**-14)
    soft = random_scores(*shape, torch.float16).softmax(1)
    scores.copy_(soft)
    found = row_kernels.row_parts(random_scores(*shape, torch.float16), scores)
    near = row_kernels.row_parts(random_scores(*shape, torch.float16), soft)
    assert found.soft_gap is not None
    assert near.soft_gap is not None
    assert torch.equal(found.soft_gap, near.soft_gap)


# --- hostile values ------------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_broken_row_is_nan_and_disturbs_no_other(
    dtype: torch.dtype, blocks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if blocks:
        monkeypatch.setattr(thresholds, "WIDEST_ROW", 16)
        monkeypatch.setattr(thresholds, "SPLIT_COLUMNS", 16)
    scores, target = random_scores(7, 40, dtype), random_target(7, 40)
    sums = accumulated(dtype)
    coefficients: dict[str, Any] = {
        name: torch.ones(7, dtype=sums, device=DEVICE) for name in "abst"
    }

    def everything(softcap: float) -> tuple[RowParts, Tensor]:
        parts = row_kernels.row_parts(
            scores, target, smoothing=True, entropy=True, argmax=True, softcap=softcap
        )
        out = torch.empty_like(scores)
        return parts, row_kernels.row_gradient(
            scores, parts, target, **coefficients, softcap=softcap, out=out
        )

    for softcap in (0.0, 4.0):
        scores = random_scores(7, 40, dtype)
        right, right_out = everything(softcap)
        scores[1], scores[2, 17], scores[4, 39] = -INFINITY, float("nan"), INFINITY
        scores[5, 3], scores[5, 20], scores[5, 30] = INFINITY, float("nan"), -INFINITY
        found, out = everything(softcap)
        broken, whole = [1, 2, 4, 5], [0, 3, 6]
        for name in ("maximum", "log_sum", "target_gap", "smooth_gap", "mean_gap"):
            assert getattr(found, name)[broken].isnan().all(), name
            assert torch.equal(getattr(found, name)[whole], getattr(right, name)[whole]), name
        assert out[broken].isnan().all()
        assert torch.equal(out[whole], right_out[whole])
        assert found.argmax is not None
        assert found.argmax[broken].tolist() == [0, 17, 39, 20]


def test_argmax_is_torchs_also_of_a_nan_or_a_tie_far_along_the_row() -> None:
    scores = random_scores(6, 2600, torch.float32)
    scores[0, 1050], scores[1, 2099], scores[1, 1051] = float("nan"), float("nan"), INFINITY
    scores[2, 2500] = scores[2, 1030] = 50
    scores[3, 10], scores[3, 2058] = float("nan"), float("nan")  # one lane, twice
    scores[4] = -INFINITY
    scores[5, 2047] = scores[5, 1023] = INFINITY
    found = row_kernels.row_parts(scores, None, argmax=True).argmax
    assert found is not None
    assert found.tolist() == [1050, 2099, 1030, 10, 0, 1023]


def test_masked_classes_and_a_masked_target() -> None:
    scores = torch.tensor([[1.0, -INFINITY, 3], [-INFINITY, 1, 2], [-INFINITY, -INFINITY, -5]])
    scores = scores.to(DEVICE)
    target = torch.tensor([0, 0, 2], device=DEVICE)
    parts = row_kernels.row_parts(scores, target, smoothing=True, entropy=True)
    assert parts.target_gap is not None
    assert parts.target_gap.tolist() == [2, INFINITY, 0]
    assert_close(parts.allowed, np.array([2.0, 2, 1]), torch.float32, ulps=0)
    assert_close(parts.smooth_gap, np.array([2.0, 1, 0]), torch.float32, ulps=1)
    assert parts.log_sum[2] == 0
    ones = torch.ones(3, device=DEVICE)
    for softcap in (0.0, 4.0):
        out = row_kernels.row_gradient(
            scores, parts, target, ones, b=ones, s=ones, t=2 * ones, softcap=softcap,
            out=torch.empty_like(scores),
        )  # fmt: skip
        assert out.isfinite().all()
        assert (out[[0, 2, 2], [1, 0, 1]] == 0).all()
        assert out[1, 0] == (-2 if softcap == 0 else 0)


@pytest.mark.parametrize("weighted", [False, True])
def test_mass_at_a_masked_class(weighted: bool) -> None:
    scores = torch.tensor([[-INFINITY, 1, 2]] * 3, device=DEVICE)
    target = torch.tensor([[0.0, 0.5, 0.5], [0.5, 0, 0.5], [0, 0, 1]], device=DEVICE)
    weight = torch.tensor([0.0, 1, 1], device=DEVICE) if weighted else None
    parts = row_kernels.row_parts(scores, target, weight=weight)
    assert parts.soft_gap is not None
    assert parts.soft_gap.tolist() == [0.5, 0 if weighted else INFINITY, 0]
    scores = scores.flip(1).contiguous()
    parts = row_kernels.row_parts(
        scores, target.flip(1), weight=None if weight is None else weight.flip(0)
    )
    assert parts.soft_gap is not None
    assert parts.soft_gap.tolist() == [0.5, 0 if weighted else INFINITY, 0]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("blocks", [False, True])
def test_the_largest_scores_and_a_common_offset(
    dtype: torch.dtype, blocks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if blocks:
        monkeypatch.setattr(thresholds, "WIDEST_ROW", 16)
        monkeypatch.setattr(thresholds, "SPLIT_COLUMNS", 16)
    lowest = torch.finfo(dtype).min
    large = min(-lowest, 1.6e38)  # twice that is float32's range
    scores = torch.zeros(6, 20, dtype=torch.float64)
    scores[0, :3] = torch.tensor([large, -large, 0])
    scores[1] = large
    scores[2] = -large
    scores[3] = {torch.float32: 1e6, torch.float64: 1e6}.get(dtype, 1e4) + torch.arange(20.0)
    scores[4] = -INFINITY
    scores[4, 18] = lowest  # as low as a score can be, and all there is
    scores[5] = lowest
    scores = scores.to(dtype).to(DEVICE)
    for label in (0, 1, 2, 18):
        target = torch.full((6,), label, device=DEVICE)
        parts = row_kernels.row_parts(scores, target, entropy=True, argmax=True)
        right = right_parts(scores, target)
        sums = accumulated(dtype)
        for name in ("maximum", "log_sum", "target_gap", "mean_gap", "argmax"):
            assert_close(getattr(parts, name), right[name], sums, ulps=4, scale=1e-9)
        ones = torch.ones(6, dtype=sums, device=DEVICE)
        out = row_kernels.row_gradient(
            scores, parts, target, ones, b=ones, t=ones, out=torch.empty_like(scores)
        )
        gradient, size = right_gradient(
            scores, target, {"a": ones, "b": ones, "s": None, "t": ones}
        )
        gradient[4] = 0 if label == 18 else np.where(np.arange(20) == label, -1, 0)
        gradient[4, 18] = 0 if label == 18 else 1
        assert_close(out, gradient, dtype, ulps=2, scale=size)


def test_a_temperature_keeps_its_digits_in_float64() -> None:
    scores, target = random_scores(3, 50, torch.float64), random_target(3, 50)
    options: dict[str, Any] = {"temperature": 0.1, "softcap": 1 / 3}
    parts = row_kernels.row_parts(scores, target, **options)
    right = right_parts(scores, target, **options)
    assert_close(parts.log_sum, right["log_sum"], torch.float64, ulps=32)
    assert_close(parts.target_gap, right["target_gap"], torch.float64, ulps=32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_softcap_at_every_size(dtype: torch.dtype) -> None:
    """From where tanh is the identity to where it is flat, across the seam at 0.625."""
    sizes = np.concatenate([np.logspace(-6, 2, 300), np.linspace(0.6, 0.65, 101), [0.0]])
    scores = torch.tensor(np.concatenate([sizes, -sizes])[:, None], dtype=dtype, device=DEVICE)
    parts = row_kernels.row_parts(scores, None, softcap=1.0)
    right = np.tanh(exact(scores))
    assert_close(parts.maximum, right[:, 0], dtype, ulps=3)
    # Two classes, one of them at 0: the slope shows in the gradient.
    pair = torch.cat([scores, torch.zeros_like(scores)], dim=1)
    parts = row_kernels.row_parts(pair, None, softcap=1.0)
    ones = torch.ones(len(pair), dtype=dtype, device=DEVICE)
    out = row_kernels.row_gradient(pair, parts, None, ones, softcap=1.0, out=torch.empty_like(pair))
    score = exact(pair)[:, 0]
    slope = 4 / (np.exp(score) + np.exp(-score)) ** 2
    assert_close(out[:, 0], slope / (1 + np.exp(-np.tanh(score))), dtype, ulps=12)


# --- targets -------------------------------------------------------------------------------------

NO_CLASSES = [-2, -100, 7, 2**31, 2**40, 2**63 - 1, -(2**63)]


@pytest.mark.parametrize("blocks", [False, True])
def test_a_target_that_is_no_class_is_nan_and_reads_nothing(
    blocks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if blocks:
        monkeypatch.setattr(thresholds, "WIDEST_ROW", 4)
        monkeypatch.setattr(thresholds, "SPLIT_COLUMNS", 4)
    target = torch.tensor([3, *NO_CLASSES, -1], device=DEVICE)
    scores = random_scores(len(target), 7, torch.float32)
    parts = row_kernels.row_parts(scores, target)
    assert parts.target_gap is not None
    assert parts.target_gap[1:-1].isnan().all()
    assert parts.target_gap[-1] == 0
    assert parts.log_sum.isfinite().all()
    ones = torch.ones(len(target), device=DEVICE)
    out = row_kernels.row_gradient(
        scores, parts, target, ones, t=ones, out=torch.empty_like(scores)
    )
    assert out[1:-1].isnan().all()
    assert out[[0, -1]].isfinite().all()


def test_rows_without_coefficients_are_zero_whatever_they_hold() -> None:
    scores, target = random_scores(5, 9, torch.float32), random_target(5, 9)
    scores[1, 2], scores[2], target[3] = float("nan"), -INFINITY, 99
    parts = row_kernels.row_parts(scores, target)
    some = torch.tensor([1.0, 0, 0, 0, 1], device=DEVICE)
    out = row_kernels.row_gradient(
        scores, parts, target, some, b=0 * some, s=0 * some, t=some, out=torch.empty_like(scores)
    )
    assert (out[1:4] == 0).all()
    assert (out[[0, 4]] != 0).all()
    for name in "abst":  # each of them alone makes a row count
        coefficients: dict[str, Any] = dict.fromkeys("abst", 0 * some) | {name: some}
        target = random_target(5, 9)
        out = row_kernels.row_gradient(
            scores, parts, target, **coefficients, out=torch.full_like(scores, 5.0)
        )
        assert (out[1:4] == 0).all()
        assert (out[[0, 4]] != 0).any(dim=1).all()


@pytest.mark.parametrize("names", ["a", "at", "abst", "b", "s", "t"])
@pytest.mark.parametrize("softcap", [0.0, 4.0])
def test_a_row_without_a_target_has_what_is_asked_of_it(names: str, softcap: float) -> None:
    """An entropy and a log-sum-exp have gradients where no target is; a broken row is NaN."""
    target = torch.tensor([-1, 3, -1, -1, -1, 0, -1, -1], device=DEVICE)
    scores = random_scores(len(target), 9, torch.float32)
    scores[2, 4], scores[3, 1:8], scores[4, 2] = float("nan"), -INFINITY, INFINITY
    scores[5], scores[6] = -INFINITY, -INFINITY
    coefficients: dict[str, Any] = dict.fromkeys("abst") | {"a": torch.zeros(8, device=DEVICE)}
    for name in names:
        coefficients[name] = torch.full((8,), {"a": 0.5, "t": 0.7}.get(name, 0.1), device=DEVICE)
        coefficients[name][6:] = 0
    parts = row_kernels.row_parts(scores, target, smoothing=True, entropy=True, softcap=softcap)
    out = torch.empty_like(scores)
    row_kernels.row_gradient(scores, parts, target, **coefficients, softcap=softcap, out=out)

    arrays = scores.cpu().numpy(), target.cpu().numpy()
    right = rows_reference.row_parts(*arrays, smoothing=True, entropy=True, softcap=softcap)
    for name in ("log_sum", "target_gap", "smooth_gap", "smooth_weight", "allowed", "mean_gap"):
        one = np.asarray(getattr(right, name), np.longdouble)
        assert_close(getattr(parts, name), one, torch.float32, ulps=8, scale=1)
    given: dict[str, Any] = {
        key: None if each is None else each.cpu().numpy() for key, each in coefficients.items()
    }
    gradient: Array = np.empty(scores.shape)
    rows_reference.row_gradient(arrays[0], right, arrays[1], **given, softcap=softcap, out=gradient)
    assert_close(out, gradient.astype(np.longdouble), torch.float32, ulps=8, scale=0.5)


# --- laws ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("count", "classes"), [(150, 10), (5, 1500)])
def test_a_row_is_the_same_bit_for_bit_among_others_and_in_place(
    count: int, classes: int, dtype: torch.dtype
) -> None:
    scores, target = random_scores(count, classes, dtype), random_target(count, classes)
    ones = torch.ones(count, dtype=accumulated(dtype), device=DEVICE)
    parts = row_kernels.row_parts(scores, target, entropy=True)
    out = row_kernels.row_gradient(
        scores, parts, target, ones, t=ones, out=torch.empty_like(scores)
    )
    for rows in (slice(0, 1), slice(3, count), slice(count - 1, count)):
        alone = row_kernels.row_parts(scores[rows], target[rows], entropy=True)
        for name in ("maximum", "log_sum", "target_gap", "mean_gap"):
            assert torch.equal(getattr(alone, name), getattr(parts, name)[rows])
    row_kernels.row_gradient(scores, parts, target, ones, t=ones, out=scores)
    assert torch.equal(scores, out)


# --- digits --------------------------------------------------------------------------------------


def by_the_kernels(case: accuracy.Case) -> accuracy.Answer:
    scores, target = case.scores.to(DEVICE), case.target.to(DEVICE)
    parts = row_kernels.row_parts(scores, target)
    assert parts.target_gap is not None
    ones = torch.ones_like(parts.maximum)
    # The interpreter cuts a bfloat16 where a GPU rounds it, so PyTorch rounds here.
    out = torch.empty(scores.shape, dtype=parts.maximum.dtype, device=DEVICE)
    row_kernels.row_gradient(scores, parts, target, ones, t=ones, out=out)
    gradient = out.to(scores.dtype).double().cpu().numpy()
    losses = (parts.log_sum + parts.target_gap).double().cpu().numpy()
    if scores.dtype.itemsize == 2:
        # A GPU's own exponential, which half precision is summed from, is 0 below float32's normal
        # numbers.
        right = case.losses.astype(np.float64)
        vanishes = (right < np.finfo(np.float32).tiny) & (losses >= 0) & (losses <= right)
        losses = np.where(vanishes, right, losses)
    return accuracy.Answer(losses, gradient)


# A float32 has an exponential of its own, others a device's, which is less exact; a float64 has no
# wider numbers to be summed in.
LOSS = {"float64": 3, "float32": 2, "bfloat16": 4, "float16": 4}
# The rounding of a log-sum of 7 is 4 ulp of a probability; little comes to it.
GRADIENT = 5.5


@pytest.mark.parametrize("shape", [(100, 2), (64, 37), (4, 1100)], ids=str)
@pytest.mark.parametrize("dtype", accuracy.DTYPES)
def test_losses_and_gradients_have_their_digits(dtype: str, shape: tuple[int, int]) -> None:
    """What `test_accuracy` asks of the other kernels, against 50-digit arithmetic."""
    peer = accuracy.contenders(DEVICE)["PyTorch"]
    for case in accuracy.cases(dtype, *shape):
        found = accuracy.figures(by_the_kernels(case), case)
        theirs = accuracy.figures(peer(case), case)
        assert found.loss <= LOSS[dtype], (case.kind, found)
        assert found.loss <= theirs.loss + 0.5, (case.kind, found, theirs)
        assert found.gradient <= GRADIENT, (case.kind, found)
        assert found.gradient <= theirs.gradient + 0.5, (case.kind, found, theirs)


def test_many_equal_others_add_up() -> None:
    """A lane adds 64 equal terms, whose roundings do not cancel."""
    scores = torch.full((8, 2**16), 0.0, device=DEVICE)
    scores[:, 5] = torch.linspace(11, 60, 8, device=DEVICE)
    target = torch.full((8,), 5, device=DEVICE)
    found = row_kernels.row_parts(scores, target).log_sum
    right = np.log1p((2**16 - 1) * np.exp(-exact(scores)[:, 5]))
    assert_close(found, right, torch.float32, ulps=2)


OPTIONS_OF_SURE_ROWS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.7},
    {"softcap": 30.0},
]


@pytest.mark.parametrize("options", OPTIONS_OF_SURE_ROWS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_sure_rows_gradient_at_its_target_does_not_cancel(
    dtype: torch.dtype, options: dict[str, Any]
) -> None:
    rows = 60
    scores, target = random_scores(rows, 9, dtype, 0.1), random_target(rows, 9)
    each = torch.arange(rows, device=DEVICE)
    scores[each, target] += torch.linspace(0, 12, rows, dtype=dtype, device=DEVICE)
    parts = row_kernels.row_parts(scores, target, **options)
    draws = torch.rand(rows, dtype=dtype, generator=generator()).to(DEVICE)
    coefficients: dict[str, Any] = {"a": 1 + draws, "b": draws, "s": None, "t": 1 + draws}
    out = torch.empty_like(scores)
    row_kernels.row_gradient(scores, parts, target, **coefficients, **options, out=out)
    right, _ = right_gradient(scores, target, coefficients, **options)
    rows_and_targets = np.arange(rows), target.cpu().numpy()
    # A score bent is rounded, and its exponential has that error times the score.
    ulps = 64 if options else 8
    assert_close(out[each, target], right[rows_and_targets], dtype, ulps=ulps, scale=1e-3)


def test_an_unlikely_target_keeps_its_probability() -> None:
    """Where no loss is asked for, nothing at the target is near 1 to be taken away."""
    scores = torch.tensor([[0.0, -20, -40]] * 3, device=DEVICE)
    target = torch.arange(3, device=DEVICE)
    parts, ones = row_kernels.row_parts(scores, target), torch.ones(3, device=DEVICE)
    out = row_kernels.row_gradient(scores, parts, target, ones, out=torch.empty_like(scores))
    assert_close(out, np.exp(exact(scores)), torch.float32, ulps=4)


@pytest.mark.parametrize("layout", ["one a lane", "several a lane", "blocks"])
def test_one_other_class_has_its_digits(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two classes that count, no order of summing hides the exponential's own error."""
    if layout == "blocks":
        monkeypatch.setattr(thresholds, "WIDEST_ROW", 16)
        monkeypatch.setattr(thresholds, "SPLIT_COLUMNS", 16)
    rows, classes = 24, 1040 if layout == "several a lane" else 20
    scores = torch.full((rows, classes), -INFINITY, device=DEVICE)
    # Neighbours in one lane of a tile of 1024, or in two lanes, or in two blocks.
    first, second = 3, 1027 if layout == "several a lane" else 18
    scores[:, first] = random_scores(rows, 1, torch.float32, 0.3)[:, 0] - 4
    scores[:, second] = random_scores(rows, 2, torch.float32, 0.3)[:, 0] + torch.linspace(
        0, 70, rows, device=DEVICE
    )
    for labels in (first, second):
        target = torch.full((rows,), labels, device=DEVICE)
        parts = row_kernels.row_parts(scores, target)
        assert parts.target_gap is not None
        high, low = exact(scores[:, second]), exact(scores[:, first])
        top = np.maximum(high, low)
        gap = top - (low if labels == first else high)
        right = np.log1p(np.exp(-np.abs(high - low))) + gap
        loss = exact(parts.log_sum + parts.target_gap)
        ulp = np.spacing(right.astype(np.float32)).astype(float)
        assert (np.abs(loss - right) / ulp).max() <= 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_scores_are_summed_in_float32(dtype: torch.dtype) -> None:
    scores, target = random_scores(5, 1300, dtype), random_target(5, 1300)
    half = row_kernels.row_parts(scores, target, smoothing=True, entropy=True)
    full = row_kernels.row_parts(scores.float(), target, smoothing=True, entropy=True)
    for name in asked_for(target, True, True, False):
        right = exact(getattr(full, name))
        assert_close(getattr(half, name), right, torch.float32, ulps=4)


def test_an_output_of_another_dtype() -> None:
    scores, target = random_scores(3, 20, torch.float16), random_target(3, 20)
    parts = row_kernels.row_parts(scores, target)
    ones = torch.ones(3, device=DEVICE)
    out = torch.empty(3, 20, device=DEVICE)
    row_kernels.row_gradient(scores, parts, target, ones, t=ones, out=out)
    half = row_kernels.row_gradient(
        scores, parts, target, ones, t=ones, out=torch.empty_like(scores)
    )
    assert torch.equal(out.half(), half)


def test_coefficients_of_any_stride() -> None:
    scores, target = random_scores(4, 20, torch.float32), random_target(4, 20)
    parts = row_kernels.row_parts(scores, torch.stack([target, 0 * target], dim=1)[:, 0])
    one = torch.ones(1, device=DEVICE).expand(4)
    every_second = torch.ones(8, device=DEVICE)[::2]
    plain = torch.ones(4, device=DEVICE)
    found = row_kernels.row_gradient(
        scores, parts, target, one, t=every_second, out=torch.empty_like(scores)
    )
    right = row_kernels.row_gradient(
        scores, parts, target, plain, t=plain, out=torch.empty_like(scores)
    )
    assert torch.equal(found, right)


@pytest.mark.skipif(DEVICE == "cpu", reason="the interpreter has no device to wait for")
def test_the_host_never_waits() -> None:
    scores, target = random_scores(5, 300000, torch.float32), random_target(5, 300000)
    ones, out = torch.ones(5, device=DEVICE), torch.empty_like(scores)
    torch.cuda.set_sync_debug_mode("error")
    try:
        parts = row_kernels.row_parts(scores, target, smoothing=True, entropy=True, argmax=True)
        row_kernels.row_gradient(scores, parts, target, ones, t=ones, temperature=0.7, out=out)
    finally:
        torch.cuda.set_sync_debug_mode("default")
