"""The derivatives of the parts, told once; as differentiable PyTorch where no kernel will do.

A first gradient comes from the kernels, which take `coefficients`. The forward derivative and the
gradient that is to be differentiated again are written out here: they keep N × C temporaries, which
is the price of one more derivative.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bridle.formula.row_loss import asked_of_parts
from bridle.torch.eager import active, bent, slope, smooth_parts, subtract_target, target_gap
from bridle.torch.parts import (
    Coefficients,
    Options,
    Parts,
    accumulator_dtype,
    empty_parts,
    is_distribution,
)

# A derivative for each of the parts, None where it is zero or means nothing.
Derivatives = tuple[Tensor | None, ...]


def coefficients(
    cotangents: Derivatives, log_sum: Tensor, mean_gap: Tensor, options: Options
) -> Coefficients:
    """Return the coefficients of the gradient's rows, given the cotangents of the parts."""
    _, to_log_sum, to_gap, _, to_smooth_gap, _, _, to_mean_gap, _ = cotangents
    return asked_of_parts(
        torch,
        torch.zeros_like(log_sum) if to_log_sum is None else to_log_sum,
        to_gap,
        to_smooth_gap if options.smoothing else None,
        to_mean_gap if options.entropy else None,
        log_sum + mean_gap if options.entropy else None,
    )


def differentiable_parts(
    scores: Tensor, target: Tensor, weight: Tensor | None, options: Options
) -> Parts:
    """Return the parts by operations that PyTorch itself can differentiate, any number of times."""
    z = bent(scores.to(accumulator_dtype(scores.dtype)), options)
    gaps = _gaps(z)
    finite_gaps = gaps.masked_fill(z == -torch.inf, 0)
    log_sum = torch.logsumexp(-gaps, dim=1)
    gap, mass = target_gap(gaps, target, weight)
    found = {"maximum": z.detach().amax(dim=1), "log_sum": log_sum, "gap": gap}
    if mass is not None:
        found["mass"] = mass
    if options.smoothing:
        found |= smooth_parts(finite_gaps, z != -torch.inf, weight)
        found["allowed"] = found["allowed"].to(z.dtype)
    if options.entropy:
        found["mean_gap"] = (torch.exp(-gaps - log_sum[:, None]) * finite_gaps).sum(dim=1)
    if options.argmax:
        found["argmax"] = z.detach().argmax(dim=1)
    return empty_parts(scores, target, options)._replace(**found)


def differentiable_gradient(
    scores: Tensor,
    target: Tensor,
    weight: Tensor | None,
    cotangents: Derivatives,
    options: Options,
) -> Tensor:
    """Return the gradient in the scores as a function of scores, target and cotangents."""
    # Rows whose cotangents are all 0 are replaced, so that a NaN in them does not return as 0 ·
    # NaN.
    nothing = scores.new_zeros(scores.shape[0])
    found = active(coefficients(cotangents, nothing, nothing, options))
    kept = torch.where(found[:, None], scores, 0).to(accumulator_dtype(scores.dtype))
    z = bent(kept, options)
    log_p = torch.log_softmax(z, dim=1)
    p = torch.exp(log_p)
    finite_log_p = log_p.masked_fill(p == 0, 0)
    # Σ p · (m − z) + log_sum is the entropy, so with log_sum = 0 it stands for their sum.
    entropy = -(p * finite_log_p).sum(dim=1)
    a, b, s, t = coefficients(cotangents, torch.zeros_like(entropy), entropy, options)
    result = p * a[:, None]
    if b is not None:
        result = result + b[:, None] * p * finite_log_p
    if s is not None:
        spread = s[:, None] if weight is None else s[:, None] * weight
        result = result - spread * (z != -torch.inf)
    if t is not None:
        result = subtract_target(result, target, weight, t)
    return torch.where(found[:, None], result * slope(kept, options), 0).to(scores.dtype)


def target_gradient(
    scores: Tensor,
    target: Tensor,
    weight: Tensor | None,
    cotangents: Derivatives,
    options: Options,
    maximum: Tensor | None = None,
) -> Tensor:
    """Return the gradient in distributions as target: ``w · (to_gap · (m − z) + to_mass)``.

    ``maximum`` (N,) is that of the rows where the scores are some of their columns.
    """
    z = bent(scores.to(accumulator_dtype(scores.dtype)), options)
    gaps = _gaps(z) if maximum is None else maximum[:, None] - z
    to_gap, to_mass = cotangents[2], cotangents[3]
    result = torch.zeros_like(gaps)
    if to_gap is not None:
        result = result + torch.where(to_gap[:, None] == 0, 0, to_gap[:, None] * gaps)
    if to_mass is not None:
        result = result + to_mass[:, None]
    return (result if weight is None else result * weight).to(target.dtype)


def tangents(
    scores: Tensor,
    target: Tensor,
    weight: Tensor | None,
    along_scores: Tensor | None,
    along_target: Tensor | None,
    options: Options,
) -> Derivatives:
    """Return how the parts move when scores and distributions move along a direction."""
    dtype = accumulator_dtype(scores.dtype)
    wide = scores.to(dtype)
    z = bent(wide, options)
    masked = z == -torch.inf
    direction = torch.zeros_like(z) if along_scores is None else along_scores.to(dtype)
    dz = (direction * slope(wide, options)).masked_fill(masked, 0)
    p = torch.softmax(z, dim=1)
    gaps = _gaps(z)
    finite_gaps = gaps.masked_fill(masked, 0)
    d_log_sum = (p * dz).sum(dim=1)
    d_gap, d_mass = _target_tangents(dz, gaps, target, weight, along_target)
    d_smooth = d_mean = None
    if options.smoothing:
        d_smooth = -(dz if weight is None else dz * weight).sum(dim=1)
    if options.entropy:
        mean_gap = (p * finite_gaps).sum(dim=1)
        d_mean = (p * finite_gaps * dz).sum(dim=1) - (mean_gap + 1) * d_log_sum
    return None, d_log_sum, d_gap, d_mass, d_smooth, None, None, d_mean, None


def _target_tangents(
    dz: Tensor,
    gaps: Tensor,
    target: Tensor,
    weight: Tensor | None,
    along_target: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    if not is_distribution(target):
        columns = target if target.dim() == 2 else target[:, None]
        moved = -dz.gather(1, columns.clamp(min=0)).masked_fill(columns < 0, 0)
        return (moved if target.dim() == 2 else moved[:, 0]), None
    shares = torch.ones_like(dz) if weight is None else weight.expand_as(dz)
    d_gap = -(shares * target * dz).sum(dim=1)
    if along_target is None:
        return d_gap, torch.zeros_like(d_gap)
    d_mass = shares * along_target
    d_gap = d_gap + (d_mass * gaps.masked_fill((d_mass == 0) & gaps.isinf(), 0)).sum(dim=1)
    return d_gap, d_mass.sum(dim=1)


def _gaps(z: Tensor) -> Tensor:
    """Return ``m − z`` with the maximum as the constant that it is to all derivatives."""
    return z.detach().amax(dim=1, keepdim=True) - z
