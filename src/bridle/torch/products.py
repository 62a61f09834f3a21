"""The three matrix products of a linear head, of tensors; see `bridle.kernels.products`.

On a CPU, float32 and float64 go through SciPy's library or PyTorch's, whichever `uses_blas` says.
Half precision is PyTorch's, which has the processor's own products for it, except that a CPU's
scores are not rounded to it: a loss would lose up to 2e-3 of itself. Nor is the residual rounded to
float16, below whose range small probabilities vanish: on a CPU its products are float32's, which
take as long there (on an Intel processor with two cores), and on a GPU they are made of a residual
that fills that range, see `FLOAT16_UNIT`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from bridle.kernels import choose, products, thresholds
from bridle.kernels.processors import maker
from bridle.torch.kinds import has_values

# Whether GPUs make products of half precision in float32, and add them to such sums: AMD's do not.
_MAKES_WIDE = torch.version.hip is None
# The largest entry of a residual in float16 whose factor is not known yet: its smallest normal
# number then is a probability of 2.4e-7, and products with a weight below 128 do not overflow.
FLOAT16_UNIT = 256.0
# Numbers of half precision in a row of a tile.
_TILE_COLUMNS = 32


_TORCH_HEAD = choose.HeadBlocks(thresholds.TORCH_HEAD_BYTES, thresholds.HEAD_FEWEST_ROWS)


@cache
def uses_blas() -> bool:
    """Tell whether SciPy's library makes the products on this machine's CPU, and not PyTorch's.

    PyTorch's is mostly Intel's MKL, which on other makers' processors is slower than the OpenBLAS
    that SciPy brings: on AMD, SciPy's takes 0.85 of its time; on Intel 1.16 (see `thresholds`).
    Where PyTorch has another library, a second one would only bring a second
    set of threads. The choice depends on the machine alone, so that the same call gives the same
    bits in every process.
    """
    has_mkl: Callable[[], bool] = torch.backends.mkl.is_available
    return has_mkl() and maker() not in ("GenuineIntel", "")


def head_blocks(features: Tensor) -> choose.HeadBlocks:
    """Return how a linear head of such features is cut, which depends on who makes the products."""
    device, dtype = features.device.type, features.dtype
    if device == "cpu" and dtype.itemsize >= 4 and not uses_blas():
        return _TORCH_HEAD
    return choose.head_blocks(device, str(dtype).removeprefix("torch."))


def make_scores(features: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> None:
    """Set ``out`` (n, C) to ``features @ weight.T + bias``; of half precision, float32 sums."""
    if out.dtype != features.dtype:
        _make_wide_scores(features, weight, out)
        if bias is not None:
            out += bias
    elif _through_blas(features, weight, out):
        rows = features.contiguous().numpy()
        products.make_scores(
            rows, weight.numpy(), None if bias is None else bias.numpy(), out.numpy()
        )
    elif bias is None:
        torch.mm(features, weight.T, out=out)
    else:
        torch.addmm(bias, features, weight.T, out=out)


def _make_wide_scores(features: Tensor, weight: Tensor, out: Tensor) -> None:
    wide = features.to(out.dtype)
    step = max(1, thresholds.HALF_PART_NUMBERS // max(weight.shape[1], 1))
    for begin in range(0, weight.shape[0], step):
        columns = slice(begin, begin + step)
        torch.mm(wide, weight[columns].to(out.dtype).T, out=out[:, columns])


def residual_dtype(weight: Tensor) -> torch.dtype:
    """Return the dtype that a residual is multiplied back in."""
    if weight.dtype == torch.float16 and weight.device.type == "cpu":
        return torch.float32
    return weight.dtype


def narrowed(residual: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a block's residual in the dtype that it is multiplied back in.

    On a CPU in its own memory, each row in the front of its place; the rest of the place is lost.
    Zeros come next there: Intel's products of bfloat16 by tiles (oneDNN, issue 5717) read up to a
    tile beyond a row, times 0, and what is left of float32 numbers may be NaN.
    """
    if residual.dtype == dtype:
        return residual
    if residual.device.type != "cpu" or not has_values(residual):
        return residual.to(dtype)
    rows, columns = residual.shape
    place = residual.view(dtype)
    found = place[:, :columns]
    step = max(1, thresholds.NARROWED_NUMBERS // columns)
    for begin in range(0, rows, step):
        some = slice(begin, begin + step)
        found[some] = residual[some].to(dtype)  # apart first: the two share their memory
    place[:, columns : columns + _TILE_COLUMNS] = 0
    return found


def multiply_back(residual: Tensor, weight: Tensor, out: Tensor) -> None:
    """Set ``out`` (n, D), whose dtype may be wider, to ``residual @ weight``."""
    if _through_blas(residual, weight, out):
        products.multiply_back(residual.numpy(), weight.numpy(), out.numpy())
    elif out.dtype == weight.dtype:
        torch.mm(residual, weight, out=out)
    elif residual.dtype == out.dtype:
        out.zero_()
        step = max(1, thresholds.HALF_PART_NUMBERS // max(weight.shape[1], 1))
        for begin in range(0, weight.shape[0], step):
            columns = slice(begin, begin + step)
            out.addmm_(residual[:, columns], weight[columns].to(out.dtype))
    elif makes_wide(out):
        torch.mm(residual, weight, out_dtype=out.dtype, out=out)
    else:
        out.copy_(residual @ weight)


def add_products(residual: Tensor, features: Tensor, total: Tensor) -> None:
    """Add ``residual.T @ features`` to ``total`` (C, D), whose dtype may be wider."""
    if _through_blas(features, total, total):
        products.add_products(residual.numpy(), features.contiguous().numpy(), total.numpy())
    elif total.dtype == residual.dtype:
        total.addmm_(residual.T, features.to(total.dtype))
    elif makes_wide(total):
        # Added to inside the product: apart, it would take a third as long once more.
        torch.addmm(total, residual.T, features, out_dtype=total.dtype, out=total)
    else:
        step = max(1, thresholds.HALF_PART_NUMBERS // max(features.shape[1], 1))
        for begin in range(0, len(total), step):
            columns = slice(begin, begin + step)
            total[columns] += residual[:, columns].T @ features


def makes_wide(tensor: Tensor) -> bool:
    """Tell whether products of half precision are made in float32, and added to such sums."""
    return tensor.device.type == "cuda" and _MAKES_WIDE


def _through_blas(left: Tensor, matrix: Tensor, out: Tensor) -> bool:
    return (
        out.device.type == "cpu"
        and uses_blas()
        and has_values(out)
        and left.dtype == matrix.dtype == out.dtype
        and out.dtype in (torch.float32, torch.float64)
        and matrix.is_contiguous()
        and out.is_contiguous()
        and len(left) * matrix.numel() >= thresholds.BLAS_MULTIPLICATIONS
    )
