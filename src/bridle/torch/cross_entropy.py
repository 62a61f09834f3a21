"""Softmax cross-entropy of tensors, composed from the parts of the rows."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from bridle import checks
from bridle.formula.row_loss import Terms
from bridle.losses.outputs import asked_outputs
from bridle.torch import arguments
from bridle.torch.class_rows import as_rows, class_rows, in_default_layout
from bridle.torch.composition import (
    collect_outputs,
    divisor_and_terms,
    refuse_options,
    refuse_overwriting,
    row_losses,
)
from bridle.torch.device_loss import (
    Decision,
    LossCall,
    LossOptions,
    call_key,
    device_loss,
    known_decision,
    new_decision,
    serving_module,
)
from bridle.torch.few_scores import loss_of_few_scores
from bridle.torch.fused import FusedSum, can_fuse, fused_loss
from bridle.torch.parts import Options, Parts
from bridle.torch.reduction import reduce_losses
from bridle.torch.rows import row_parts
from bridle.torch.sharded_losses import Settings, sharded_cross_entropy
from bridle.torch.shards import is_distributed, outside_of_compilers

_NUMBERS = frozenset({int, float})


def cross_entropy(
    input: Tensor,
    target: Tensor | tuple[Tensor, Tensor],
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: checks.Reduction = "mean",
    label_smoothing: float = 0.0,
    sample_weight: Tensor | None = None,
    normalizer: Any = None,
    z_loss: float = 0.0,
    softcap: float = 0.0,
    temperature: float = 1.0,
    on_empty: checks.OnEmpty = "nan",
    inplace: bool = False,
    outputs: Sequence[str] | None = None,
    axis: int | None = None,
    dim: int | None = None,
    check: bool | None = None,
    group: Any = None,
    classes: int | None = None,
) -> Any:
    r"""Return ``−log softmax(z)[target]`` in nats, differentiable, averaged over the samples.

    ``z = cap(input) / temperature`` are the scores; the arguments that `bridle.cross_entropy` has
    too mean what they mean there, which is what they mean in
    `torch.nn.functional.cross_entropy`. The loss of a position is

        sample_weight · [Σ_c w_c q_c (log Σ_k exp(z_k) − z_c) + z_loss · (log Σ_k exp(z_k))²]

    with ``q = (1 − ε) · target + ε / K`` over the K classes that are not masked.

    Parameters
    ----------
    input : Tensor, (C,), (N, C) or (N, C, d1, …)
        Scores in any float dtype and layout, read as they lie. Half precision is accumulated in
        float32.
    target : Tensor, or a pair of them
        Class indices (any integer type; booleans for two classes), distributions in the shape of
        the input, or sparse distributions: a pair of indices (N, k) and probabilities (N, k).
    weight : Tensor, (C,), optional
        A weight per class. A mean divides by the sum of the weights of the targets' classes; of
        distributions, as torch does, by the number of positions (or their weights).
    ignore_index, reduction, label_smoothing, sample_weight, on_empty
        As in `bridle.cross_entropy`.
    normalizer : number, Tensor or process group, optional
        What a mean divides the sum by, instead of the number (or weight) of this call's targets:
        the count of tokens over all devices and accumulation steps. A process group (or a
        one-dimensional DeviceMesh): the sum over its ranks of what each would divide by.
    z_loss : float
        Coefficient of the squared log-sum-exp, which keeps scores from drifting. Class weights
        and smoothing do not touch it: in a mean it is averaged over the positions (or their sample
        weights). Only a ``normalizer`` that is given divides all.
    softcap : float
        Above 0, scores are bent to ``softcap · tanh(input / softcap)``.
    temperature : float
        Above 0; scores are divided by it.
    inplace : bool
        Write the gradient over the input's memory, where a gradient is wanted: during this call
        if it is known by then, else in backward. The scores are lost; whoever else kept them for
        a backward pass gets PyTorch's error about an in-place operation. Not for a leaf that
        requires a gradient, and for one backward pass only; no effect inside ``torch.compile``.
    outputs : sequence of names, optional
        Some of ``loss``, ``log_prob`` (of the target), ``entropy`` (of the softmax),
        ``logsumexp``, ``argmax`` and ``correct``; the answer is then a `CrossEntropyOutputs`.
    axis, dim : int, optional
        Where the classes lie, as in `bridle.cross_entropy`: axis 1 by default, ``axis=-1`` for
        scores (batch, position, class). They are read where they lie.
    check : bool, optional
        Whether values are checked: by default on the CPU, and on no other device, since that waits
        for the device. An unchecked index out of range makes its row's loss NaN, which takes a few
        operations more than one look that finds none: of few indices (64 × 10) checking is the
        quicker. Inside ``torch.compile`` the indices' range is checked alone.
    group : ProcessGroup or DeviceMesh, optional
        Over whose ranks the classes are shared out: see below. A `DTensor` that is sharded by its
        classes needs no group.
    classes : int, optional
        With a group: how many classes there are, where the last columns of all are padding.

    Returns
    -------
    Tensor or CrossEntropyOutputs
        The loss; float32 for half precision, else the dtype of the input.

    Raises
    ------
    TargetRangeError
        An index outside ``[0, C)``, with its row; an `IndexError` and a `ValueError`.
    InputError
        Any other argument that cannot be used, with the first bad row.

    Warns
    -----
    UserWarning
        The input looks like probabilities (looked for on the CPU); `nll` is for those.

    Notes
    -----
    **A sharded vocabulary.** With ``group`` the input is this rank's columns of the scores, in the
    order of the ranks; there may be another number of them on each, or none. Class indices are ids
    of *all* classes, and they, the sample weights and every option are the same on all ranks.
    ``weight`` and distributions have this rank's columns (or all). Columns beyond ``classes`` are
    padding and have no part in anything, whatever they hold: their gradient is 0. The loss is what
    the whole scores would give, to rounding, and the same bits on all ranks; smoothing is over all
    classes.

    Forward gathers twice over the group: what the call is, then a few numbers a row (a third time
    for the ``log_prob`` of distributions beside class weights); backward exchanges nothing. The
    host waits for the first on any device. What is wrong on one rank raises an error on all of
    them (on a GPU, what is unchecked there makes the others' loss NaN). There is one backward pass,
    no derivative of it and no `torch.func`; under ``torch.compile`` the call is a graph break.

    **Rows that are split over ranks.** ``normalizer=group`` divides by the sum over that group of
    what each rank would divide by: the ranks' losses then sum to the mean over all their rows.
    (DDP averages gradients: multiply the loss by the number of ranks.)

    Examples
    --------
    >>> import torch
    >>> scores = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 0.0]], requires_grad=True)
    >>> loss = cross_entropy(scores, torch.tensor([0, 1]))
    >>> loss.backward()
    >>> round(loss.item(), 4), scores.grad[0].numpy().round(3)
    (0.2513, array([-0.167,  0.122,  0.045], dtype=float32))
    >>> found = cross_entropy(scores, torch.tensor([0, 0]), outputs=("loss", "correct"))
    >>> found.correct
    tensor([ True, False])

    References
    ----------
    C. M. Bishop, *Pattern Recognition and Machine Learning*, 2006, section 4.3.4.
    B. Zoph et al., *ST-MoE: Designing Stable and Transferable Sparse Expert Models*, 2022 (z-loss).
    """
    if group is not None or classes is not None or is_distributed(input):
        settings = Settings(
            weight,
            ignore_index,
            reduction,
            label_smoothing,
            sample_weight,
            normalizer,
            z_loss,
            softcap,
            temperature,
            on_empty,
            outputs,
            check,
        )
        return outside_of_compilers(sharded_cross_entropy)(
            input, target, group, classes, settings, axis=axis, dim=dim, inplace=inplace
        )
    key = None
    if outputs is None and not (check or inplace) and axis is None and dim is None:
        told = ignore_index, reduction, label_smoothing, normalizer, z_loss, softcap, temperature
        key = call_key(input, target, weight, sample_weight, *told, on_empty)
        known = known_decision(key)
        if known is not None:
            call = LossCall(target, weight, sample_weight, normalizer, known.options)
            return _by_device_kernels(input, call, known)
    unasked = weight is None and sample_weight is None and normalizer is None and outputs is None
    if unasked and axis is None and dim is None:
        numbers = label_smoothing, z_loss, softcap, temperature
        is_plain = _NUMBERS.issuperset(map(type, numbers)) and numbers == (0, 0, 0, 1)
        if is_plain and not inplace and on_empty == "nan":
            few = loss_of_few_scores(input, target, ignore_index, reduction)
            if few is not None:
                return few
    asked = asked_outputs(outputs)
    terms = Terms(checks.fraction(label_smoothing, "label_smoothing"), float(z_loss))
    scores = arguments.floating(input, "input")
    scores, target = in_default_layout(scores, target, axis, dim)
    refuse_options(reduction, on_empty, normalizer, softcap)
    temperature = checks.positive(temperature, "temperature")
    if inplace:
        refuse_overwriting(scores)
    loss_options = LossOptions(
        operator.index(ignore_index),
        terms.label_smoothing,
        terms.z_loss,
        temperature,
        float(softcap),
        reduction,
        on_empty,
        inplace,
    )
    call = LossCall(target, weight, sample_weight, normalizer, loss_options)
    module = None if outputs is not None or check else serving_module(scores, call)
    if module is not None:
        key = key if scores is input else None
        return _by_device_kernels(scores, call, new_decision(key, module, loss_options))
    if arguments.should_check(check, scores):
        arguments.warn_of_probabilities(scores)
    rows = class_rows(
        scores,
        target,
        weight,
        ignore_index=ignore_index,
        sample_weight=sample_weight,
        check=check,
    )
    if inplace:
        rows = rows._replace(scores=_own_memory(rows.scores))
    options = Options(
        smoothing=terms.label_smoothing > 0,
        entropy="entropy" in asked,
        argmax="argmax" in asked or "correct" in asked,
        temperature=temperature,
        softcap=float(softcap),
    )
    divisor, terms = divisor_and_terms(rows, terms, reduction, normalizer)

    def loss_of(parts: Parts) -> Tensor:
        losses = row_losses(rows, parts, terms).view(rows.loss_shape)
        return reduce_losses(losses, divisor, reduction=reduction, on_empty=on_empty)

    is_sum = outputs is None and reduction != "none" and not z_loss
    if is_sum and can_fuse(rows, options, divisor):
        fused_sum = FusedSum(terms.label_smoothing, divisor, loss_of, inplace)
        return fused_loss(rows, options, fused_sum)
    parts = row_parts(rows.scores, rows.target, rows.weight, options, inplace=inplace)
    loss = loss_of(parts)
    if outputs is None:
        return loss
    return collect_outputs(
        asked, loss, rows, parts, lambda: row_parts(rows.scores, rows.target, None, options)
    )


def _by_device_kernels(scores: Tensor, call: LossCall, decision: Decision) -> Tensor:
    """Return the loss on a device whose kernels read the targets themselves."""
    rows = as_rows(scores)
    if call.options.inplace:
        rows = _own_memory(rows)

    def composed(again: Tensor) -> Tensor:
        """Return the same function of the rows, from parts that can be differentiated twice."""
        target = call.target
        target = as_rows(target) if target.is_floating_point() else target.reshape(-1)
        share = call.sample_weight
        # With outputs asked for, the general path is taken.
        loss: Tensor = cross_entropy(
            again,
            target,
            call.weight,
            sample_weight=None if share is None else share.reshape(-1),
            normalizer=call.normalizer,
            **call.options._asdict() | {"inplace": False},
            outputs=("loss",),
            check=False,
        ).loss
        return loss

    loss = device_loss(rows, call, decision, composed)
    if call.options.reduction != "none":
        return loss
    return loss.view(scores.shape[:1] + scores.shape[2:] if scores.dim() > 1 else ())


def _own_memory(rows: Tensor) -> Tensor:
    overlapping = rows.shape[0] > 1 and rows.stride(0) < rows.shape[1]
    return rows.contiguous() if overlapping else rows
