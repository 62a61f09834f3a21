"""The loss of a causal language model: each position's scores say what comes next."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bridle import checks
from bridle.torch import arguments
from bridle.torch.cross_entropy import cross_entropy
from bridle.torch.shards import is_distributed, local_part, on_this_rank


def causal_lm_loss(
    outputs: Any,
    labels: Tensor,
    num_items_in_batch: Any = None,
    *,
    ignore_index: int = -100,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float = 0.0,
    temperature: float = 1.0,
    on_empty: checks.OnEmpty = "nan",
    inplace: bool = False,
    check: bool | None = None,
    group: Any = None,
    classes: int | None = None,
) -> Tensor:
    """Return the cross-entropy of each next token, as Hugging Face's causal models define it.

    Made for ``Trainer(compute_loss_func=causal_lm_loss)``; with
    ``functools.partial(causal_lm_loss, inplace=True)`` the gradient needs no memory of its own.
    The labels are shifted, not the logits: no copy of the logits is made.

    Parameters
    ----------
    outputs : Tensor (…, T, V), or what has it
        The logits, or a model's outputs with an attribute or key ``logits``.
    labels : Tensor (…, T)
        The tokens themselves; position ``t`` is scored against label ``t + 1``.
    num_items_in_batch : number, Tensor or process group, optional
        What the sum is divided by: the number of labels over all devices and accumulation steps.
        By default the number of this call's labels that are not ignored.
    ignore_index : int
        Labels with this value count nowhere, and neither does the last position.
    weight, label_smoothing, z_loss, softcap, temperature, on_empty, inplace, check
        As in `bridle.torch.cross_entropy`.
    group, classes
        As there: the logits are this rank's columns of a sharded vocabulary.

    Returns
    -------
    Tensor
        The loss in nats, a scalar; float32 for half precision.

    Raises
    ------
    InputError, TargetRangeError
        As `cross_entropy`, and for labels that do not fit the logits.

    Examples
    --------
    >>> logits = torch.zeros(1, 3, 4)
    >>> causal_lm_loss(logits, torch.tensor([[3, 1, 2]]))
    tensor(1.3863)

    References
    ----------
    Y. Bengio et al., *A Neural Probabilistic Language Model*, 2003.
    """
    logits = _logits(outputs)
    if is_distributed(logits):
        whole = logits.shape[-1]
        logits, group = local_part(logits, logits.dim() - 1, "outputs", group)
        classes = whole if classes is None else classes
    logits = arguments.floating(logits, "outputs")
    labels = on_this_rank(labels, -1, "labels")
    if logits.dim() < 2 or tuple(labels.shape) != tuple(logits.shape[:-1]):
        found = f"{tuple(logits.shape)} and {tuple(labels.shape)}"
        raise checks.InputError.of("labels", expected="(…, T) beside logits (…, T, V)", found=found)
    arguments.normalizer(num_items_in_batch, "mean", "num_items_in_batch")
    following = torch.nn.functional.pad(labels[..., 1:], (0, 1), value=ignore_index)
    if isinstance(num_items_in_batch, Tensor):
        num_items_in_batch = num_items_in_batch.to(logits.device)
    loss: Tensor = cross_entropy(
        logits.flatten(0, -2),
        following.flatten().to(logits.device),
        weight,
        ignore_index=ignore_index,
        normalizer=num_items_in_batch,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        softcap=softcap,
        temperature=temperature,
        on_empty=on_empty,
        inplace=inplace,
        check=check,
        group=group,
        classes=classes,
    )
    return loss


def _logits(outputs: Any) -> Any:
    if isinstance(outputs, Tensor):
        return outputs
    return outputs["logits"] if isinstance(outputs, dict) else outputs.logits
