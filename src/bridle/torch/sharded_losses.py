"""The cross-entropies of a vocabulary that is shared out over ranks.

Between scores and loss there is one station more: the parts of this rank's columns are merged with
those of the others (`bridle.torch.shard_parts`). Everything after it is composed as of whole rows.

What is wrong with a call is told to all ranks before any of them waits for another in vain: the
options and shapes with the first exchange, the values of targets and weights, of which padding has
no part, with the second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bridle import checks
from bridle.formula.row_loss import Terms
from bridle.losses.outputs import CrossEntropyOutputs, asked_outputs
from bridle.torch import arguments, shards
from bridle.torch.class_rows import ClassRows, class_rows, in_default_layout, is_sparse
from bridle.torch.composition import (
    collect_outputs,
    divisor_and_terms,
    refuse_options,
    refuse_overwriting,
    row_losses,
)
from bridle.torch.kinds import has_values, refuse_pieces
from bridle.torch.linear_rows import Head, Plan, placeholder
from bridle.torch.parts import Options
from bridle.torch.reduction import reduce_losses
from bridle.torch.rows import is_plain_call
from bridle.torch.shard_parts import (
    Found,
    Wanted,
    counts,
    sharded_linear_row_parts,
    sharded_row_parts,
)
from bridle.torch.shards import Exchange, Shard, agree, tell_failure


class Settings(NamedTuple):
    """The options that both losses have; see `bridle.torch.cross_entropy`."""

    class_weight: Any
    ignore_index: int
    reduction: checks.Reduction
    label_smoothing: float
    sample_weight: Any
    normalizer: Any
    z_loss: float
    softcap: float
    temperature: float
    on_empty: checks.OnEmpty
    outputs: Sequence[str] | None
    check: bool | None


class _Prepared(NamedTuple):
    """A call whose options and shapes are right, as far as this rank can tell."""

    scores: Tensor  # or what has their shape, dtype and device
    target: Any
    asked: frozenset[str]
    terms: Terms
    options: Options
    choices: int  # class indices a row; 0 of distributions
    rows: int


def sharded_cross_entropy(
    input: Tensor,
    target: Any,
    group: Any,
    classes: int | None,
    settings: Settings,
    *,
    axis: int | None,
    dim: int | None,
    inplace: bool,
) -> Any:
    """Return `bridle.torch.cross_entropy` of this rank's columns of the scores."""
    place = checks.class_place(axis, dim, tuple(input.shape))
    place = min(1, input.dim() - 1) if place is None else place
    if shards.is_distributed(input):
        input, group, classes = _of_dtensor(input, place, "input", group, classes)
    group = shards.process_group(group)
    settings = _on_this_rank(settings)

    def prepared() -> _Prepared:
        own = shards.on_this_rank(target, place, "target")
        scores, own = in_default_layout(arguments.floating(input, "input"), own, axis, dim)
        if inplace:
            refuse_overwriting(scores)
        return _prepared(scores, own, settings)

    call, shard = _agreed("cross_entropy", group, input, classes, settings, prepared)

    def find(
        rows: ClassRows, options: Options, exchange: Exchange, wanted: Wanted, again: bool = False
    ) -> Found:
        given = rows.scores, rows.target, rows.weight
        return sharded_row_parts(*given, options, exchange, wanted, inplace=inplace and not again)

    return _loss(call, shard, settings, find)


def sharded_linear_cross_entropy(
    features: Tensor,
    weight: Tensor,
    target: Any,
    bias: Tensor | None,
    group: Any,
    classes: int | None,
    settings: Settings,
    plan: Callable[[], Plan],
    head_of: Callable[..., tuple[Head, tuple[int, ...]]],
) -> Any:
    """Return `bridle.torch.linear_cross_entropy` of this rank's rows of the weight.

    ``plan`` and ``head_of`` check what they make.
    """
    if shards.is_distributed(weight):
        weight, group, classes = _of_dtensor(weight, 0, "weight", group, classes)
    group = shards.process_group(group)
    settings, features = _on_this_rank(settings), _replicated(features)
    made: list[Any] = []

    def prepared() -> _Prepared:
        own_bias = shards.on_this_rank(bias, 0, "bias")
        head, positions = head_of(features, weight, own_bias, is_shard=True)
        made.extend((head, positions, plan()))
        own = _flat(shards.on_this_rank(target, len(positions), "target"), positions)
        return _prepared(placeholder(head), own, settings)

    wants_gradient = torch.is_grad_enabled() and getattr(features, "requires_grad", False)
    facts = {"features": bool(wants_gradient)}
    call, shard = _agreed(
        "linear_cross_entropy", group, features, classes, settings, prepared, facts
    )
    head, positions, cut = made
    if shard.width < shard.columns:  # a view costs its gradient a copy
        own_bias = None if head.bias is None else head.bias[: shard.width]
        head = head._replace(weight=head.weight[: shard.width], bias=own_bias)
    settings = _flat_weights(settings, positions)

    def find(
        rows: ClassRows, options: Options, exchange: Exchange, wanted: Wanted, again: bool = False
    ) -> Found:
        del again  # nothing is overwritten
        given = rows.target, rows.weight
        return sharded_linear_row_parts(head, *given, options, exchange, wanted, cut)

    return _loss(call, shard, settings, find, positions)


# --- what comes before --------------------------------------------------------------------------


def _of_dtensor(
    value: Any, place: int, name: str, group: Any, classes: int | None
) -> tuple[Tensor, Any, int | None]:
    """Return this rank's part, the group and the number of classes, of which none are padding."""
    whole = value.shape[place]
    local, group = shards.local_part(value, place, name, group)
    return local, group, whole if classes is None else classes


def _on_this_rank(settings: Settings) -> Settings:
    """Return the settings with this rank's parts of what are DTensors."""
    return settings._replace(
        class_weight=shards.on_this_rank(settings.class_weight, 0, "weight"),
        sample_weight=shards.on_this_rank(settings.sample_weight, -1, "sample_weight"),
    )


def _replicated(features: Any) -> Any:
    """Return all rows of features, which may be split over the ranks of a DTensor."""
    if not shards.is_distributed(features):
        return features
    from torch.distributed.tensor import Replicate

    return features.redistribute(placements=[Replicate()]).to_local()


def _prepared(scores: Tensor, target: Any, settings: Settings) -> _Prepared:
    """Check the options and what the shapes tell."""
    if not is_plain_call():
        found = "a call inside torch.func or a forward derivative"
        raise checks.InputError.of("group", expected="tensors under autograd alone", found=found)
    asked = asked_outputs(settings.outputs)
    smoothing = checks.fraction(settings.label_smoothing, "label_smoothing")
    terms = Terms(smoothing, float(settings.z_loss))
    refuse_options(settings.reduction, settings.on_empty, settings.normalizer, settings.softcap)
    options = Options(
        smoothing=smoothing > 0,
        entropy="entropy" in asked,
        argmax="argmax" in asked or "correct" in asked,
        temperature=checks.positive(settings.temperature, "temperature"),
        softcap=float(settings.softcap),
    )
    if scores.dim() == 0:
        checks.score_layout(arguments.like(scores))
    if is_sparse(target):
        choices = target[0].shape[-1] if target[0].dim() else 0
        if choices == 0:
            found = f"shape {tuple(target[0].shape)}"
            raise checks.InputError.of("target[0]", expected="indices (N, k)", found=found)
    else:
        refuse_pieces(target, "target")
        target = arguments.on_device_of(target, scores)
        choices = 0 if target.dim() == scores.dim() else 1
    rows = prod(scores.shape[:1] + scores.shape[2:]) if scores.dim() > 1 else 1
    return _Prepared(scores, target, asked, terms, options, choices, rows)


def _agreed(
    name: str,
    group: Any,
    like: Tensor,
    classes: int | None,
    settings: Settings,
    prepare: Callable[[], _Prepared],
    more: dict[str, Any] | None = None,
) -> tuple[_Prepared, Shard]:
    """Prepare the call, and return it once all ranks have prepared the same."""
    _refuse_stand_ins(like)
    try:
        call = prepare()
        classes = None if classes is None else checks.count(classes, "classes")
        facts = {"group": name, "classes": classes, **(more or {}), **_facts(call, settings)}
    except Exception:
        # What is wrong here is said, also where the others cannot be told: inside torch.func
        # PyTorch 2.9 exchanges nothing.
        with suppress(RuntimeError):
            tell_failure(group, like)
        raise
    columns = call.scores.shape[min(1, call.scores.dim() - 1)]
    return call, agree(group, columns, facts, like)


def _refuse_stand_ins(tensor: Tensor) -> None:
    """Refuse tensors without values, of which no rank could tell another."""
    if not has_values(tensor):
        found = f"{type(tensor).__name__} on {tensor.device}"
        raise checks.InputError.of("group", expected="tensors with values", found=found)


def _facts(call: _Prepared, settings: Settings) -> dict[str, Any]:
    """Return what is the same on all ranks, by the argument to look at where it is not."""
    looks = settings.check is not False
    is_index = call.choices > 0
    total = settings.normalizer
    return {
        "input": call.rows,
        "dtype": call.scores.dtype == torch.float64,
        "target's kind": f"{call.choices} {isinstance(call.target, (tuple, list))}",
        "target": shards.checksum(call.target) if looks and is_index else 0,
        "weight": settings.class_weight is not None,
        "sample_weight": _weights_told(settings.sample_weight, looks),
        "ignore_index": int(settings.ignore_index),
        "reduction": settings.reduction,
        "on_empty": settings.on_empty,
        "normalizer": float(total) if isinstance(total, (int, float)) else str(type(total)),
        "label_smoothing": float(settings.label_smoothing),
        "z_loss": float(settings.z_loss),
        "softcap": call.options.softcap,
        "temperature": float(call.options.temperature),
        "outputs": str(sorted(call.asked)),
        "check": str(settings.check),
    }


def _weights_told(weights: Any, looks: bool) -> Any:
    return shards.checksum(weights) if looks and isinstance(weights, Tensor) else weights is None


def _flat(target: Any, positions: tuple[int, ...]) -> Any:
    """Return the targets of rows of features, whose positions have any number of axes."""
    if is_sparse(target):
        return tuple(each.reshape(-1, each.shape[-1]) for each in map(torch.as_tensor, target))
    whole = torch.as_tensor(target)
    shape = tuple(whole.shape)
    if shape == positions:
        return whole.reshape(-1)
    if shape[:-1] == positions and whole.dim() == len(positions) + 1:
        return whole.reshape(prod(positions), shape[-1])
    expected = f"class indices of shape {positions}, or distributions of shape {(*positions, 'C')}"
    raise checks.InputError.of("target", expected=expected, found=shape)


def _flat_weights(settings: Settings, positions: tuple[int, ...]) -> Settings:
    """Return the settings with one sample weight a row."""
    if settings.sample_weight is None:
        return settings
    weights = torch.as_tensor(settings.sample_weight)
    if tuple(weights.shape) == positions[:1]:
        weights = weights.reshape(weights.shape + (1,) * (len(positions) - 1)).expand(positions)
    if tuple(weights.shape) == positions:
        weights = weights.reshape(-1)
    return settings._replace(sample_weight=weights)


# --- what comes after ---------------------------------------------------------------------------


def _loss(
    call: _Prepared,
    shard: Shard,
    settings: Settings,
    find: Callable[..., Found],
    positions: tuple[int, ...] | None = None,
) -> Any:
    """Return the loss, or the outputs that are asked for, of parts that ``find`` finds."""
    looks = arguments.should_check(settings.check, call.scores)
    soft = call.choices == 0 and not isinstance(call.target, (tuple, list))
    wanted = Wanted(
        call.choices,
        target_weight=settings.class_weight is not None and call.choices > 0,
        target_sum=soft and looks,
        likeliest=soft and "correct" in call.asked,
    )

    def exchange(options: Options, wanted: Wanted) -> Exchange:
        return Exchange(shard, call.rows, counts(options, wanted), call.scores, checked=looks)

    with exchange(call.options, wanted) as first:
        rows = class_rows(
            call.scores,
            call.target,
            settings.class_weight,
            ignore_index=settings.ignore_index,
            sample_weight=settings.sample_weight,
            check=settings.check,
            shard=shard,
        )
        if positions is not None:
            rows = rows._replace(loss_shape=positions)
        found = find(rows, call.options, first, wanted)
    if wanted.target_sum:
        _refuse_sums(found.target_sum, rows)
    rows = rows._replace(
        target_weight=found.target_weight if wanted.target_weight else None,
        likeliest=found.likeliest if wanted.likeliest else None,
    )
    divisor, terms = divisor_and_terms(rows, call.terms, settings.reduction, settings.normalizer)
    losses = row_losses(rows, found.parts, terms).view(rows.loss_shape)
    loss = reduce_losses(losses, divisor, reduction=settings.reduction, on_empty=settings.on_empty)
    if settings.outputs is None:
        return loss

    def unweighted() -> Any:
        plain = Options(temperature=call.options.temperature, softcap=call.options.softcap)
        gap_alone = Wanted(0)
        with exchange(plain, gap_alone) as second:
            unweighed = rows._replace(weight=None)
            return find(unweighed, plain, second, gap_alone, again=True).parts

    outputs: CrossEntropyOutputs = collect_outputs(call.asked, loss, rows, found.parts, unweighted)
    return outputs


def _refuse_sums(sums: Tensor, rows: ClassRows) -> None:
    """Refuse the first row of distributions whose sum over all ranks is not 1."""
    tolerance = arguments.sum_tolerance(rows.target, 1)
    bad = ~((sums - 1).abs() <= tolerance)
    if not arguments.any_true(bad):
        return
    row = int(bad.nonzero()[0, 0])
    raise checks.InputError.of(
        "target",
        expected="probabilities that sum to 1 over all ranks",
        found=f"a sum of {sums[row].item():.6g}",
        row=row,
        place=f"row {row}",
    )
