"""The contract of the row kernels in plain PyTorch: for small problems and for every device.

Work is done in float64 where the device has it, so that what is rounded is the answer alone. Blocks
of rows bound the temporaries.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bridle.formula import bending
from bridle.kernels import thresholds
from bridle.torch.parts import (
    Coefficients,
    Options,
    Parts,
    accumulator_dtype,
    is_distribution,
    some_parts,
    widest_dtype,
)


def row_parts(scores: Tensor, target: Tensor, weight: Tensor | None, options: Options) -> Parts:
    """Return the parts of each row; see `Parts`."""
    blocks = _blocks(scores)
    if len(blocks) == 1:
        return block_parts(scores, target, weight, options)[0]
    pieces = [block_parts(scores[rows], target[rows], weight, options)[0] for rows in blocks]
    return Parts(*(torch.cat(piece) for piece in zip(*pieces, strict=True)))


def row_gradient(
    scores: Tensor,
    target: Tensor,
    weight: Tensor | None,
    coefficients: Coefficients,
    options: Options,
    out: Tensor,
) -> Tensor:
    """Write the gradient of each row to ``out``, which may be the scores; see `Coefficients`."""
    blocks = _blocks(scores)
    if len(blocks) == 1:
        return out.copy_(block_gradient(scores, target, weight, coefficients, options))
    for rows in blocks:
        some = coefficients.of_rows(rows)
        out[rows] = block_gradient(scores[rows], target[rows], weight, some, options)
    return out


def is_one_block(scores: Tensor) -> bool:
    """Tell whether scores are so few that keeping their softmax costs next to nothing."""
    return len(_blocks(scores)) == 1


def bent(scores: Tensor, options: Options) -> Tensor:
    """Return ``z = cap(scores) / temperature``, −inf where a class is masked."""
    z: Tensor = bending.bent(torch, scores, *options.bending())
    return z


def slope(scores: Tensor, options: Options) -> Tensor | float:
    """Return ``dz / dscores``."""
    found: Tensor | float = bending.slope(torch, scores, *options.bending())
    return found


def filter_rows(residual: Tensor, threshold: Tensor, draws: Tensor | None) -> Tensor:
    """Filter a gradient in place, as `bridle.kernels.numpy.residual_filter` does."""
    size, level = residual.abs().to(widest_dtype(residual)), threshold[:, None]
    small = size < level
    kept = residual.masked_fill(small, 0)
    if draws is not None:
        share = (size / level).masked_fill(~small, 0)
        passed = torch.floor(share.cumsum(dim=1) + draws[:, None])
        chosen = small & (passed.diff(dim=1, prepend=torch.zeros_like(passed[:, :1])) > 0)
        kept = torch.where(chosen, (residual.sign() * level).to(residual.dtype), kept)
    residual.copy_(kept)
    return (residual != 0).any(dim=0)


def _blocks(scores: Tensor) -> list[slice]:
    on_cpu = scores.device.type == "cpu"
    numbers = thresholds.PLAIN_BLOCK_NUMBERS if on_cpu else thresholds.PLAIN_DEVICE_BLOCK_NUMBERS
    step = max(1, numbers // scores.shape[1])
    return [slice(begin, begin + step) for begin in range(0, max(len(scores), 1), step)]


def block_parts(
    scores: Tensor, target: Tensor, weight: Tensor | None, options: Options
) -> tuple[Parts, Tensor]:
    """Return the parts of each row, and the softmax."""
    dtype = accumulator_dtype(scores.dtype)
    z = bent(scores.to(widest_dtype(scores)), options)
    maximum = z.amax(dim=1, keepdim=True)
    p = torch.softmax(z, dim=1)
    top = p.amax(dim=1, keepdim=True)
    # What may be a row's maximum stays out of its sum: beside it, a rest below 1e-16 would vanish.
    # Where the target is not the maximum its loss is too large for that to matter, and finding the
    # maximum's place would take as long as all the exponentials.
    exact = options.entropy or options.argmax or target.dim() == 2
    apart = z.argmax(dim=1, keepdim=True) if exact else target[:, None].clamp(min=0)
    own = p.gather(1, apart)
    rest = p.scatter(1, apart, 0).sum(dim=1, keepdim=True)
    log_sum = torch.log1p((rest + (own - top)) / top)
    found = {"maximum": maximum[:, 0], "log_sum": log_sum[:, 0]}
    if exact or options.smoothing:
        gaps = maximum - z
    if exact:
        found["gap"], mass = target_gap(gaps, target, weight)
        if mass is not None:
            found["mass"] = mass
    else:
        found["gap"] = (maximum - z.gather(1, apart))[:, 0].masked_fill_(target < 0, 0)
    if options.smoothing or options.entropy:
        allowed = z != -torch.inf
        gaps = torch.where(allowed, gaps, 0)
    if options.smoothing:
        found |= smooth_parts(gaps, allowed, weight)
    if options.entropy:
        found["mean_gap"] = (p * gaps).sum(dim=1)
    kept = {name: part.to(dtype) for name, part in found.items()}
    if options.argmax:
        kept["argmax"] = apart[:, 0]
    return some_parts(kept), p


def target_gap(gaps: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return the parts of the target, given the gaps; the second of distributions only."""
    if not is_distribution(target):
        columns = target if target.dim() == 2 else target[:, None]
        chosen = gaps.gather(1, columns.clamp(min=0)).masked_fill(columns < 0, 0)
        return (chosen if target.dim() == 2 else chosen[:, 0]), None
    mass = target.to(gaps.dtype) if weight is None else target.to(gaps.dtype) * weight
    products = mass * gaps.masked_fill((mass == 0) & gaps.isinf(), 0)
    return products.sum(dim=1), mass.sum(dim=1)


def smooth_parts(gaps: Tensor, allowed: Tensor, weight: Tensor | None) -> dict[str, Tensor]:
    """Return what smoothing needs, given the gaps (0 at masked classes) and who is allowed."""
    if weight is not None:
        gaps = gaps * weight
    return {
        "smooth_gap": gaps.sum(dim=1),
        "smooth_weight": (allowed if weight is None else allowed * weight).sum(dim=1),
        "allowed": allowed.sum(dim=1),
    }


def block_gradient(
    scores: Tensor,
    target: Tensor,
    weight: Tensor | None,
    coefficients: Coefficients,
    options: Options,
    p: Tensor | None = None,
) -> Tensor:
    """Return the gradient of each row, given the softmax where it is known."""
    wide = scores.to(widest_dtype(scores)) if p is None or not options.is_linear() else scores
    a, b, s, t = coefficients
    if p is None:
        p = torch.softmax(bent(wide, options), dim=1)
    result: Tensor = p * a[:, None]
    if b is not None:
        z = bent(scores.to(widest_dtype(scores)), options)
        log_p = torch.log_softmax(z, dim=1)
        result += b[:, None] * p * log_p.masked_fill(p == 0, 0)
    if s is not None:
        spread = s[:, None] if weight is None else s[:, None] * weight
        result -= spread * (wide != -torch.inf)
    if t is not None:
        result = subtract_target(result, target, weight, t)
    if options.bending() != Options().bending():
        result = result * slope(wide, options)
    found = active(coefficients)
    if len(found) == 1 and found:
        return result
    return result.masked_fill_(~found[:, None], 0)


def subtract_target(result: Tensor, target: Tensor, weight: Tensor | None, t: Tensor) -> Tensor:
    """Return a gradient's rows without what they have at their targets."""
    if is_distribution(target):
        return result - t[:, None] * (target if weight is None else target * weight)
    columns, amounts = (target, t) if target.dim() == 2 else (target[:, None], t[:, None])
    amounts = torch.where(columns < 0, 0, -amounts).to(result.dtype)
    return result.scatter_add(1, columns.clamp(min=0), amounts)


def active(coefficients: Coefficients) -> Tensor:
    """Tell which rows have any coefficient: the others' gradient is 0, whatever they hold."""
    found: Tensor = coefficients.a != 0
    for each in (coefficients.b, coefficients.s, coefficients.t):
        if each is not None and each is not coefficients.a:
            found = found | (each != 0 if each.dim() == 1 else (each != 0).any(dim=1))
    return found
