"""Cross-entropy from probabilities, of tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bridle import checks
from bridle.formula.row_loss import Terms
from bridle.torch import arguments
from bridle.torch.class_rows import ClassRows, class_rows, in_default_layout
from bridle.torch.composition import divisor_and_terms, refuse_options, row_losses
from bridle.torch.eager import smooth_parts
from bridle.torch.parts import Options, Parts, accumulator_dtype, empty_parts
from bridle.torch.reduction import reduce_losses


def nll(
    probabilities: Tensor,
    target: Tensor | tuple[Tensor, Tensor],
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: checks.Reduction = "mean",
    label_smoothing: float = 0.0,
    sample_weight: Tensor | None = None,
    normalizer: Tensor | float | None = None,
    on_empty: checks.OnEmpty = "nan",
    axis: int | None = None,
    dim: int | None = None,
    check: bool | None = None,
) -> Tensor:
    """Return ``−log probabilities[target]`` in nats; see `bridle.nll`.

    Examples
    --------
    >>> nll(torch.tensor([[0.1, 0.3, 0.6], [0.2, 0.3, 0.5]]), torch.tensor([0, 2]))
    tensor(1.4979)
    """
    refuse_options(reduction, on_empty, normalizer)
    values = arguments.floating(probabilities, "probabilities")
    values, target = in_default_layout(values, target, axis, dim, "probabilities")
    if arguments.should_check(check, values) and values.dim():
        hint = " (for scores, use cross_entropy)"
        arguments.distributions(values, "probabilities", min(values.dim() - 1, 1), hint)
    rows = class_rows(
        values,
        target,
        weight,
        ignore_index=ignore_index,
        sample_weight=sample_weight,
        check=check,
        name="probabilities",
    )
    terms = Terms(checks.fraction(label_smoothing, "label_smoothing"), 0.0)
    losses = row_losses(rows, _parts(rows, terms), terms).view(rows.loss_shape)
    divisor, _ = divisor_and_terms(rows, terms, reduction, normalizer)
    return reduce_losses(losses, divisor, reduction=reduction, on_empty=on_empty)


def log_likelihood(probabilities: Tensor, target: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    """Return ``Σ_i log probabilities[i, target_i]`` in nats; see `bridle.log_likelihood`.

    Examples
    --------
    >>> log_likelihood(torch.tensor([[0.5, 0.5], [0.2, 0.8]]), torch.tensor([0, 1]))
    tensor(-0.9163)
    """
    return 0 - nll(probabilities, target, reduction="sum")


def likelihood(probabilities: Tensor, target: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    """Return ``Π_i probabilities[i, target_i]``; see `bridle.likelihood`.

    Examples
    --------
    >>> likelihood(torch.tensor([[0.5, 0.5], [0.2, 0.8]]), torch.tensor([0, 1]))
    tensor(0.4000)
    """
    return torch.exp(0 - nll(probabilities, target, reduction="none")).prod()


def _parts(rows: ClassRows, terms: Terms) -> Parts:
    """Return the parts of scores ``log p``, whose log-sum-exp is 0 by themselves."""
    options = Options(smoothing=terms.label_smoothing > 0)
    wide = rows.scores.to(accumulator_dtype(rows.scores.dtype))
    found: dict[str, Any] = {"log_sum": torch.zeros_like(wide[:, 0])}
    if rows.target.is_floating_point():
        mass = rows.target.to(wide.dtype)
        mass = mass if rows.weight is None else mass * rows.weight
        # 0 · log 0 is left out before the logarithm, so that its derivative is 0 too.
        found["gap"] = (mass * _surprise(wide.masked_fill(mass == 0, 1))).sum(dim=1)
        found["mass"] = mass.sum(dim=1)
    else:
        columns = rows.target if rows.target.dim() == 2 else rows.target[:, None]
        chosen = wide.gather(1, columns.clamp(min=0)).masked_fill(columns < 0, 1)
        found["gap"] = _surprise(chosen if rows.target.dim() == 2 else chosen[:, 0])
    if options.smoothing:
        allowed = wide != 0
        found |= smooth_parts(_surprise(wide.masked_fill(~allowed, 1)), allowed, rows.weight)
        found["allowed"] = found["allowed"].to(wide.dtype)
    return empty_parts(rows.scores, rows.target, options)._replace(**found)


def _surprise(probability: Tensor) -> Tensor:
    # 0 − log p, not a minus sign: the certain target's loss is 0, not −0.
    return 0 - torch.log(probability)
