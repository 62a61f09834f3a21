"""Focal loss of tensors, composed from the parts of the rows."""

from __future__ import annotations

from torch import Tensor

from bridle import checks
from bridle.formula.row_loss import Terms
from bridle.torch import arguments
from bridle.torch.class_rows import class_rows, in_default_layout
from bridle.torch.composition import divisor_and_terms, refuse_options, row_losses
from bridle.torch.reduction import reduce_losses
from bridle.torch.rows import row_parts


def focal_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    gamma: float = 2.0,
    ignore_index: int = -100,
    reduction: checks.Reduction = "mean",
    sample_weight: Tensor | None = None,
    normalizer: Tensor | float | None = None,
    on_empty: checks.OnEmpty = "nan",
    axis: int | None = None,
    dim: int | None = None,
    check: bool | None = None,
) -> Tensor:
    """Return ``−(1 − p)^γ log p`` in nats, differentiable; see `bridle.focal_loss`.

    ``check`` is that of `bridle.torch.cross_entropy`: by default values are checked on the CPU.

    Examples
    --------
    >>> import torch
    >>> scores = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 0.0]])
    >>> focal_loss(scores, torch.tensor([0, 1]), reduction="none")
    tensor([0.0457, 0.0008])
    """
    terms = Terms(gamma=checks.at_least_zero(gamma, "gamma"))
    refuse_options(reduction, on_empty, normalizer)
    scores, indices = in_default_layout(arguments.floating(input, "input"), target, axis, dim)
    if arguments.should_check(check, scores):
        arguments.warn_of_probabilities(scores)
    rows = class_rows(
        scores,
        indices,
        weight,
        ignore_index=ignore_index,
        sample_weight=sample_weight,
        check=check,
    )
    if rows.is_soft():
        found = f"distributions of shape {tuple(rows.target.shape)}"
        raise checks.InputError.of("target", expected="class indices", found=found)
    losses = row_losses(rows, row_parts(rows.scores, rows.target), terms).view(rows.loss_shape)
    divisor, _ = divisor_and_terms(rows, terms, reduction, normalizer)
    return reduce_losses(losses, divisor, reduction=reduction, on_empty=on_empty)
