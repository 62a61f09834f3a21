"""From the parts of rows to what a loss returns: the same for scores, heads and probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bridle import checks
from bridle.formula.outputs import collected, log_probability
from bridle.formula.row_loss import Terms, row_loss, weighted
from bridle.losses.outputs import CrossEntropyOutputs
from bridle.torch import arguments
from bridle.torch.class_rows import ClassRows
from bridle.torch.parts import Parts, accumulator_dtype, widest_dtype
from bridle.torch.reduction import ordered_sum
from bridle.torch.shards import is_number, outside_of_compilers, sum_over


def row_losses(rows: ClassRows, parts: Parts, terms: Terms) -> Tensor:
    """Return the loss (N,) of each row, 0 where it is not counted."""
    loss: Tensor = row_loss(torch, parts, parts.gap, rows.mass_of_targets(), terms)
    if rows.sample_weight is not None:
        loss = weighted(torch, rows.sample_weight, loss)
    if rows.unknown is not None:
        loss = loss * torch.where(rows.unknown, torch.nan, 1.0)
    return loss if rows.counted is None else torch.where(rows.counted, loss, 0)


def divisor_and_terms(
    rows: ClassRows, terms: Terms, reduction: checks.Reduction, normalizer: Any
) -> tuple[Tensor | float, Terms]:
    """Return what the sum of the losses is divided by, and the terms of a loss that is."""
    if reduction != "mean":
        return 1.0, terms
    if normalizer is not None and is_number(normalizer):
        return normalizer, terms
    divisor: Tensor | float = mean_divisor(rows)
    # Class weights do not touch z-loss: it is averaged over the positions, or their weights.
    apart = bool(terms.z_loss) and rows.weight is not None and not rows.is_soft()
    counted = mean_divisor(rows._replace(weight=None)) if apart else divisor
    if normalizer is not None:
        divisor, counted = _over_ranks((divisor, counted), normalizer, rows.scores)
    if not apart:
        return divisor, terms
    positions = torch.as_tensor(counted, device=rows.scores.device)
    share = divisor / torch.where(positions == 0, 1, positions)
    return divisor, terms._replace(z_share=share.to(accumulator_dtype(rows.scores.dtype)))


def mean_divisor(rows: ClassRows) -> Tensor | float:
    """Return Σ sample_weight · weight[target] over counted rows; distributions weigh 1."""
    shares = rows.sample_weight
    if rows.weight is not None and not rows.is_soft():
        chosen = rows.weight_of_targets()
        shares = chosen if shares is None else shares * chosen
    if shares is None:
        return rows.scores.shape[0] if rows.counted is None else rows.counted.sum()
    return ordered_sum(shares if rows.counted is None else torch.where(rows.counted, shares, 0))


def _over_ranks(
    divisors: tuple[Tensor | float, Tensor | float], group: Any, like: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the sums of two divisors over the ranks of a group."""
    dtype = widest_dtype(like)
    each = [torch.as_tensor(value, device=like.device).to(dtype) for value in divisors]
    first, second = outside_of_compilers(sum_over)(torch.stack(each), group)
    return first, second


def refuse_overwriting(scores: Tensor) -> None:
    """Refuse to write a gradient over a leaf that requires it: that would destroy a parameter."""
    base = scores if scores._base is None else scores._base
    if torch.is_grad_enabled() and base.is_leaf and base.requires_grad:
        found = "a leaf that requires a gradient"
        raise checks.InputError.of("inplace", expected="scores that a model computed", found=found)


def collect_outputs(
    asked: frozenset[str],
    loss: Tensor,
    rows: ClassRows,
    parts: Parts,
    unweighted: Callable[[], Parts],
) -> CrossEntropyOutputs:
    """Return what was asked for; ``unweighted`` finds the parts again, without class weights."""

    def log_probability_of() -> Tensor:
        plain = parts
        if rows.weight is not None and rows.target.is_floating_point():
            # The parts of distributions are weighted: the plain ones take a pass of their own.
            plain = unweighted()
        found: Tensor = log_probability(torch, plain, plain.gap, rows.mass)
        return found if rows.unknown is None else found.masked_fill(rows.unknown, torch.nan)

    found: dict[str, Tensor] = {
        name: values.view(rows.loss_shape)
        for name, values in collected(
            torch, asked, parts, log_probability_of, lambda: _target_class(rows), rows.counted
        ).items()
    }
    return CrossEntropyOutputs(loss=loss if "loss" in asked else None, **found)


def _target_class(rows: ClassRows) -> Tensor:
    if rows.likeliest is not None:
        return rows.likeliest
    if rows.mass is not None:
        return rows.target.gather(1, rows.mass.argmax(dim=1, keepdim=True))[:, 0]
    return rows.target.argmax(dim=1) if rows.target.is_floating_point() else rows.target


def refuse_options(reduction: str, on_empty: str, normalizer: Any, softcap: float = 0.0) -> None:
    """Refuse what has no meaning, whatever the scores are."""
    checks.reduction(reduction)
    checks.on_empty(on_empty)
    arguments.normalizer(normalizer, reduction)
    checks.softcap(softcap)
