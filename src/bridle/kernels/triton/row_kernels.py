"""The contract on a GPU: checks nothing, waits for nothing, launches the Triton kernels.

`parts` and `gradient` hold the kernels, made of `sums`, `scores` and `arithmetic`;
they load Triton, this module does so when it is first asked for an answer.

Every tensor lies on one CUDA device (on the CPU under ``TRITON_INTERPRET=1``). Nothing here reads a
number back, so the host never waits for the device; a target that is no class makes its row NaN.
The tiles depend on the number of classes alone, and every sum has one order: results are the same,
bit for bit, in every run and for every number of rows.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from bridle.kernels import thresholds
from bridle.kernels.contract import RowParts
from bridle.kernels.triton.launch import next_power_of_2


def row_parts(
    scores: Tensor,
    target: Tensor | None,
    *,
    weight: Tensor | None = None,
    smoothing: bool = False,
    entropy: bool = False,
    argmax: bool = False,
    temperature: float = 1.0,
    softcap: float = 0.0,
) -> RowParts:
    """Return the parts of each row, with one pass over the scores and no copy of them.

    Parameters
    ----------
    scores : Tensor (N, C)
        float16, bfloat16, float32 or float64, of any strides; C from 1 to 2³¹ − 2¹⁷. −inf masks a
        class.
    target : Tensor (N,) or (N, C), optional
        Class indices, −1 for a row without one; or distributions; or None.
    weight : Tensor (C,), optional
        Class weights, finite and 0 or above.
    smoothing, entropy, argmax : bool
        Ask for the parts of label smoothing, for ``mean_gap``, and for ``argmax``.
    temperature, softcap : float
        z = cap(scores) / temperature, with cap(s) = softcap · tanh(s / softcap) if softcap > 0.

    Returns
    -------
    RowParts
        On the device of the scores.
    """
    from bridle.kernels.triton.parts import merge_kernel, row_parts_kernel

    indices, distributions = _by_kind(target)
    parts = _empty_parts(scores, target, smoothing=smoothing, entropy=entropy, argmax=argmax)
    rows, classes = scores.shape
    if rows == 0:
        return parts
    count = 1 if classes <= thresholds.WIDEST_ROW else math.ceil(classes / thresholds.SPLIT_COLUMNS)
    width = classes if count == 1 else thresholds.SPLIT_COLUMNS
    blocks = None if count == 1 else _empty_blocks(scores, parts, count)
    bending = _bending(temperature, softcap)
    tile = _tile(width, parts.maximum)
    matrix = _matrix(scores)
    with torch.cuda.device(scores.get_device()):
        row_parts_kernel[math.ceil(rows / tile["ROWS"]), count](
            matrix,
            indices,
            _matrix(distributions),
            _vector(weight),
            parts,
            blocks,
            rows,
            classes,
            width,
            **bending,
            SPLIT=blocks is not None,
            **tile,
        )
        if blocks is not None:
            merge_kernel[(rows,)](
                blocks,
                matrix,
                indices,
                parts,
                classes,
                count,
                **bending,
                LANES=next_power_of_2(count),
                enable_fp_fusion=False,
            )
    return parts


def row_gradient(
    scores: Tensor,
    parts: RowParts,
    target: Tensor | None,
    a: Tensor,
    *,
    b: Tensor | None = None,
    s: Tensor | None = None,
    t: Tensor | None = None,
    weight: Tensor | None = None,
    temperature: float = 1.0,
    softcap: float = 0.0,
    out: Tensor,
) -> Tensor:
    r"""Write the gradient of each row to ``out`` and return it.

    .. math::

        \left[p_c (a + b \log p_c) - s w_c [c \text{ not masked}] - t [c = target]\right]
        \frac{dz_c}{dscores_c}, \quad p = \mathrm{softmax}(z);

    of distributions the last term is ``t · w_c · target_c``. At a masked class only that last term
    remains, and without a target (−1) there is none. A row whose coefficients are all 0 is 0 and is
    not read, which goes before what follows: a row whose parts are NaN, or whose target is no
    class, is NaN.

    Parameters
    ----------
    scores, target, weight, temperature, softcap
        Those of `row_parts`.
    parts : RowParts
        What `row_parts` returned for them: ``maximum``, ``log_sum`` and, of class indices,
        ``target_gap``.
    a, b, s, t : Tensor (N,)
        The coefficients of each row; one number, (1,), stands for all rows, None for zeros.
    out : Tensor (N, C)
        Where the gradient goes: the scores themselves, or memory of its own that has every entry
        once (no stride 0), of any float dtype.

    Returns
    -------
    Tensor
        ``out``.
    """
    from bridle.kernels.triton.gradient import row_gradient_kernel

    rows, classes = scores.shape
    if rows == 0:
        return out
    indices, distributions = _by_kind(target)
    gap = None if indices is None else parts.target_gap
    tile = _tile(classes, parts.maximum)
    programs = math.ceil(rows / tile["ROWS"]) * math.ceil(classes / tile["COLUMNS"])
    with torch.cuda.device(scores.get_device()):
        row_gradient_kernel[(programs,)](
            _matrix(scores),
            _matrix(out),
            indices,
            _matrix(distributions),
            _vector(weight),
            _vector(parts.maximum),
            _vector(parts.log_sum),
            _vector(gap),
            *(_of_rows(coefficient, rows) for coefficient in (a, b, s, t)),
            rows,
            classes,
            **_bending(temperature, softcap),
            **tile,
        )
    return out


def _by_kind(target: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Return ``(class indices, None)`` or ``(None, distributions)``."""
    if target is not None and target.dim() == 2:
        return None, target
    return _vector(target), None


def accumulator_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype that scores of a dtype are summed in."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _empty_parts(
    scores: Tensor, target: Tensor | None, *, smoothing: bool, entropy: bool, argmax: bool
) -> RowParts:
    """Return memory for the parts that are asked for."""
    indices, distributions = _by_kind(target)
    dtype = accumulator_dtype(scores.dtype)

    def numbers(wanted: bool) -> Tensor | None:
        return scores.new_empty(len(scores), dtype=dtype) if wanted else None

    return RowParts(
        maximum=scores.new_empty(len(scores), dtype=dtype),
        log_sum=scores.new_empty(len(scores), dtype=dtype),
        target_gap=numbers(indices is not None),
        smooth_gap=numbers(smoothing),
        smooth_weight=numbers(smoothing),
        allowed=numbers(smoothing),
        mean_gap=numbers(entropy),
        argmax=scores.new_empty(len(scores), dtype=torch.int64) if argmax else None,
        soft_gap=numbers(distributions is not None),
        soft_mass=numbers(distributions is not None),
    )


def _empty_blocks(scores: Tensor, parts: RowParts, count: int) -> Any:
    """Return memory for the sums of each column block, for those that the parts need."""
    from bridle.kernels.triton.sums import Sums

    shape, dtype = (len(scores), count), accumulator_dtype(scores.dtype)

    def like(part: Tensor | None) -> Tensor | None:
        return None if part is None else scores.new_empty(shape, dtype=dtype)

    return Sums(
        maximum=like(parts.maximum),
        rest=like(parts.log_sum),
        surprise=like(parts.mean_gap),
        smooth_gap=like(parts.smooth_gap),
        smooth_weight=like(parts.smooth_weight),
        allowed=like(parts.allowed),
        soft_gap=like(parts.soft_gap),
        soft_mass=like(parts.soft_mass),
        argmax=None if parts.argmax is None else scores.new_empty(shape, dtype=torch.int32),
    )


def _matrix(tensor: Tensor | None) -> Any:
    from bridle.kernels.triton.scores import Matrix

    return None if tensor is None else Matrix(tensor, *tensor.stride())


def _vector(tensor: Tensor | None) -> Tensor | None:
    """Return a vector without gaps: one number a row (or class) costs nothing to copy."""
    return None if tensor is None else tensor.contiguous()


def _of_rows(coefficient: Tensor | None, rows: int) -> Tensor | None:
    """Return one number for each row: that is what the kernel reads."""
    return None if coefficient is None else coefficient.expand(rows).contiguous()


def _bending(temperature: float, softcap: float) -> dict[str, Any]:
    """Return the kernels' arguments for the bending of scores."""
    return {
        "inverse_temperature": 1.0 / temperature,
        "softcap": float(softcap),
        "CAPPED": softcap > 0,
    }


def _tile(columns: int, sums: Tensor) -> dict[str, Any]:
    """Return the tile for so many columns and sums of that dtype, and how it is compiled."""
    scores = thresholds.TILE_BYTES // sums.element_size()
    width = min(max(next_power_of_2(columns), 16), scores)
    return {
        "ROWS": scores // width,
        "COLUMNS": width,
        # A product and a sum are rounded apart unless a kernel says otherwise, as in the reference.
        "enable_fp_fusion": False,
        "num_warps": 4,
    }
