r"""Rows whose classes are spread over ranks → the parts of the whole rows, under autograd.

Each rank's kernels reduce its own columns; the parts of all are gathered, and merged in the order
of the ranks by `bridle.formula.merging`, so that all ranks hold the same bits. Backward needs no
other rank: with the share ``P`` of this rank's columns in a row's probability and ``p = P · q``,
where ``q`` is the softmax of those columns alone, a gradient's

    p (a + b log p) = q (P a + P b log P + P b log q)

is what the kernels make with other coefficients, ``P (a + b log P)`` and ``P b``. The other two
terms are sums over classes, and stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from bridle import checks
from bridle.formula.merging import merged, of_owner
from bridle.torch import kernels
from bridle.torch.derivatives import coefficients, target_gradient
from bridle.torch.eager import bent
from bridle.torch.kinds import is_batched, is_known_here
from bridle.torch.linear_rows import Block, Gradients, Head, Plan, blocks
from bridle.torch.parts import (
    Coefficients,
    Options,
    Parts,
    accumulator_dtype,
    is_distribution,
    some_parts,
    widest_dtype,
)
from bridle.torch.rows import constant_parts
from bridle.torch.shards import Exchange, Shard


class Wanted(NamedTuple):
    """What is gathered of the targets beside the parts."""

    choices: int  # indices a row; 0 of distributions
    target_weight: bool = False  # the class weights of indices, which their owners know
    target_sum: bool = False  # the sum of distributions, which no rank sees alone
    likeliest: bool = False  # their most probable class


class Found(NamedTuple):
    """The parts of whole rows, and what else was gathered; empty where it was not."""

    parts: Parts
    target_weight: Tensor  # (N,) or (N, k)
    target_sum: Tensor  # (N,)
    likeliest: Tensor  # (N,)


def counts(options: Options, wanted: Wanted) -> dict[str, int]:
    """Return by name how many numbers of a row are gathered."""
    one, names = {"maximum": 1, "log_sum": 1}, ["smooth_gap", "smooth_weight", "allowed"]
    own = {"target_gap": wanted.choices} if wanted.choices else {"soft_gap": 1, "soft_mass": 1}
    more = {
        "target_weight": wanted.choices if wanted.target_weight else 0,
        "target_sum": int(wanted.target_sum),
        "largest_share": int(wanted.likeliest),
        "likeliest": int(wanted.likeliest),
        "mean_gap": int(options.entropy),
        "argmax": int(options.argmax),
        **{name: int(options.smoothing) for name in names},
    }
    return one | own | {name: count for name, count in more.items() if count}


def sharded_row_parts(
    scores: Tensor,
    target: Tensor,
    weight: Tensor | None,
    options: Options,
    exchange: Exchange,
    wanted: Wanted,
    *,
    inplace: bool = False,
) -> Found:
    """Return the parts of whole rows, differentiable in this rank's columns of them.

    ``scores`` have padding still, ``target`` (global ids, or this rank's part of distributions) and
    ``weight`` have none. The gradient of padding is 0.
    """
    found = _ShardedRows.apply(scores, target, weight, options, exchange, wanted, inplace)  # type: ignore[no-untyped-call]
    return Found(Parts(*found[:-3]), *found[-3:])


def sharded_linear_row_parts(
    head: Head,
    target: Tensor,
    weight: Tensor | None,
    options: Options,
    exchange: Exchange,
    wanted: Wanted,
    plan: Plan,
) -> Found:
    """Return the same of the scores that a head makes block by block, differentiable in the head.

    The weight and the bias are this rank's, the features all ranks' alike: backward adds up their
    gradients over the ranks.
    """
    found = _ShardedHead.apply(*head, target, weight, options, exchange, wanted, plan)  # type: ignore[no-untyped-call]
    return Found(Parts(*found[:-3]), *found[-3:])


class _ShardedRows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        scores: Tensor,
        target: Tensor,
        weight: Tensor | None,
        options: Options,
        exchange: Exchange,
        wanted: Wanted,
        inplace: bool,
    ) -> tuple[Tensor, ...]:
        shard = exchange.shard
        ctx.inplace = inplace
        own_target = _own_target(target.detach(), shard)
        own = scores.detach()[:, : shard.width]
        own_parts = _own_parts(own, own_target, weight, options)
        return _merged(ctx, (scores,), target, weight, own_parts, options, exchange, wanted)

    @staticmethod
    def backward(ctx: Any, *given: Any) -> Any:
        cotangents = given[: len(Parts._fields)]
        if ctx.inplace and ctx.is_used:
            raise checks.InputError.of("inplace", expected="one backward pass", found="a second")
        step = _Step.of(ctx, cotangents)
        (scores,) = step.given
        width = ctx.shard.width
        own = scores.detach()[:, :width]
        to_scores = to_target = None
        if ctx.needs_input_grad[1]:
            to_target = target_gradient(
                own, step.target, step.weight, cotangents, ctx.options, step.whole_maximum
            )
        if ctx.needs_input_grad[0]:
            ctx.is_used = True
            to_scores = (
                scores.detach() if ctx.inplace else kernels.new_memory(tuple(scores.shape), scores)
            )
            step.write_gradient(own, slice(None), to_scores[:, :width])
            to_scores[:, width:] = 0
            if ctx.inplace:
                torch.autograd.graph.increment_version(scores)
        return to_scores, to_target, *(None,) * 5


class _ShardedHead(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        head_weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        weight: Tensor | None,
        options: Options,
        exchange: Exchange,
        wanted: Wanted,
        plan: Plan,
    ) -> tuple[Tensor, ...]:
        ctx.plan = plan
        head = Head(features, head_weight, bias)
        own_target = _own_target(target.detach(), exchange.shard)
        pieces = [
            _own_parts(scores, own_target[rows], weight, options)
            for rows, _, scores in _blocks(head.detached(), plan)
        ]
        own_parts = {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}
        return _merged(ctx, tuple(head), target, weight, own_parts, options, exchange, wanted)

    @staticmethod
    def backward(ctx: Any, *given: Any) -> Any:
        cotangents = given[: len(Parts._fields)]
        step = _Step.of(ctx, cotangents)
        head = Head(*step.given).detached()
        to_target = torch.zeros_like(step.target) if ctx.needs_input_grad[3] else None
        if head.weight.shape[0]:
            sums = _sums(step, head, ctx, cotangents, to_target)
        else:
            sums = _nothing(head, ctx.needs_input_grad[:3])
        to_features, *others = sums
        if to_features is not None:
            to_features = to_features.contiguous()
            dist.all_reduce(to_features, group=ctx.shard.group)
        dtype = head.weight.dtype
        found = (None if each is None else each.to(dtype) for each in (to_features, *others))
        return *found, to_target, *(None,) * 5


def _sums(
    step: _Step, head: Head, ctx: Any, cotangents: Any, to_target: Tensor | None
) -> tuple[Tensor | None, ...]:
    """Return this rank's gradients of a head, and fill that of the target, where it has one."""
    sink = Gradients(head, ctx.needs_input_grad[:3], ctx.plan)
    for block in blocks(head, ctx.plan):
        rows, scores = block.rows, block.scores
        if to_target is not None:
            some = tuple(None if each is None else each[rows] for each in cotangents)
            known = step.target[rows], step.weight, some, ctx.options, step.whole_maximum[rows]
            to_target[rows] = target_gradient(scores, *known)
        step.write_gradient(scores, rows, scores)
        sink.add(block, step.asked.a[rows])
    return sink.kept()


def _nothing(head: Head, asked: tuple[bool, bool, bool]) -> tuple[Tensor | None, ...]:
    """Return the gradients of a rank without classes, in the dtypes that the others' have."""
    dtype = head.weight.dtype
    dtype = accumulator_dtype(dtype) if dtype == torch.float16 else dtype
    return tuple(
        torch.zeros_like(each, dtype=dtype) if needed and each is not None else None
        for each, needed in zip(head, asked, strict=True)
    )


def _blocks(head: Head, plan: Plan) -> Any:
    """Return the blocks of rows; without classes, one that has no scores."""
    if head.weight.shape[0]:
        return blocks(head, plan)
    rows = slice(0, head.features.shape[0])
    return [Block(rows, head.features, head.features[:, :0])]


def _own_target(target: Tensor, shard: Shard) -> Tensor:
    if is_distribution(target):
        return target
    # Kernels know one index a row without a class, but no such among several.
    return shard.local(target) if target.dim() == 1 else shard.local(target).clamp(min=0)


def _own_parts(
    scores: Tensor, target: Tensor, weight: Tensor | None, options: Options
) -> dict[str, Tensor]:
    """Return the parts of this rank's columns, by the names that `merged` knows."""
    if scores.shape[1] == 0:
        parts = _parts_of_none(scores, target, options)
    else:
        parts = kernels.row_parts(scores, target, weight, options)
        if options.bending() != Options().bending() and scores.dtype != torch.float64:
            # Rounded after its division, a maximum is another than that which gaps are taken from.
            largest = scores.amax(dim=1).to(widest_dtype(scores))
            parts = parts._replace(maximum=bent(largest, options))
    named = {
        name: part for name, part in parts._asdict().items() if part.shape[0] or not len(scores)
    }
    soft = is_distribution(target)
    named["soft_gap" if soft else "target_gap"] = named.pop("gap")
    if soft:
        named["soft_mass"] = named.pop("mass")
    return named


def _parts_of_none(scores: Tensor, target: Tensor, options: Options) -> Parts:
    """Return the parts of no columns: those of columns that are all masked."""
    nothing = scores.new_zeros(scores.shape[0], dtype=accumulator_dtype(scores.dtype))
    found = {"maximum": nothing - torch.inf, "log_sum": nothing, "gap": nothing}
    if is_distribution(target):
        found["mass"] = nothing
    elif target.dim() == 2:
        found["gap"] = nothing[:, None].expand(target.shape)
    if options.smoothing:
        found |= {"smooth_gap": nothing, "smooth_weight": nothing, "allowed": nothing}
    if options.entropy:
        found["mean_gap"] = nothing
    if options.argmax:
        found["argmax"] = nothing
    return some_parts(found)


def _merged(
    ctx: Any,
    given: tuple[Tensor | None, ...],
    target: Tensor,
    weight: Tensor | None,
    own: Mapping[str, Tensor],
    options: Options,
    exchange: Exchange,
    wanted: Wanted,
) -> tuple[Tensor, ...]:
    """Exchange and merge the parts, and keep what backward needs."""
    shard, soft = exchange.shard, is_distribution(target)
    told = {**own, **_told_of_targets(target, weight, shard, wanted)}
    if options.argmax:
        told["argmax"] = told["argmax"] + shard.start
    pieces = exchange.gather(told)
    order = torch.arange(len(pieces["maximum"]), device=target.device)[:, None]
    owner = None if soft else shard.owners(target)
    whole, share = merged(torch, pieces, order, owner)
    dtype = own["log_sum"].dtype
    names = {"target_gap": "gap", "soft_gap": "gap", "soft_mass": "mass"}
    kinds = {"argmax": torch.int64}
    parts = some_parts(
        {names.get(name, name): part.to(kinds.get(name, dtype)) for name, part in whole.items()}
    )
    parts = Parts(*(part if part.shape[0] else part.clone() for part in parts))
    more = _gathered_of_targets(pieces, order, owner, dtype)
    rank = dist.get_rank(shard.group)
    ctx.options, ctx.shard, ctx.is_used, ctx.number = options, shard, False, len(given)
    ctx.mark_non_differentiable(*constant_parts(parts, target, options), *more)
    ctx.set_materialize_grads(False)
    gap = own["soft_gap" if soft else "target_gap"]
    kept = (own["maximum"].to(dtype), own["log_sum"], gap, share[rank])
    of_whole = (parts.maximum, parts.log_sum, parts.mean_gap)
    ctx.save_for_backward(*given, target, weight, *kept, *of_whole)
    return *parts, *more


def _told_of_targets(
    target: Tensor, weight: Tensor | None, shard: Shard, wanted: Wanted
) -> dict[str, Tensor]:
    """Return what this rank alone knows of the targets."""
    found = {}
    if wanted.target_weight:
        chosen = shard.local(target).clamp(min=0)
        nothing = weight is None or not len(weight)
        found["target_weight"] = torch.zeros_like(target) if nothing else weight[chosen]  # type: ignore[index]
    if wanted.target_sum:
        found["target_sum"] = target.detach().sum(dim=1, dtype=widest_dtype(target))
    if wanted.likeliest:
        largest, place = target.new_full((len(target),), -torch.inf), target.new_zeros(len(target))
        if shard.width:
            largest, place = target.detach().max(dim=1)
        found |= {"largest_share": largest, "likeliest": place + shard.start}
    return found


def _gathered_of_targets(
    pieces: Mapping[str, Tensor], order: Tensor, owner: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the last three of `Found`."""
    weights, total, place = (pieces["maximum"].new_empty(0) for _ in range(3))
    if "target_weight" in pieces:
        weights = of_owner(torch, pieces["target_weight"], order, owner).to(dtype)
    if "target_sum" in pieces:
        total = pieces["target_sum"].sum(0)
    if "likeliest" in pieces:
        top = pieces["largest_share"].argmax(0)
        place = torch.where(order == top, pieces["likeliest"], 0).sum(0).long()
    return weights, total, place


class _Step(NamedTuple):
    """What a backward pass needs of its rows."""

    given: tuple[Any, ...]
    target: Tensor
    weight: Tensor | None
    own_parts: Parts
    whole_maximum: Tensor
    asked: Coefficients  # of the whole rows
    own: Coefficients  # of this rank's columns
    masked: Tensor  # rows of which this rank's columns are all masked
    shard: Shard
    options: Options

    @classmethod
    def of(cls, ctx: Any, cotangents: Any) -> _Step:
        """Return it; a derivative of a gradient would need the other ranks."""
        if torch.is_grad_enabled() or is_batched(*cotangents):
            raise checks.InputError.of(
                "group",
                expected="one backward pass at a time",
                found="a derivative of it, or gradients in batches",
            )
        *given, target, weight, maximum, log_sum, gap, share, top, log_total, mean_gap = (
            ctx.saved_tensors
        )
        asked = coefficients(cotangents, log_total, mean_gap, ctx.options)
        masked = maximum == -torch.inf
        parts = some_parts({"maximum": maximum, "log_sum": log_sum, "gap": gap})
        own = _own_coefficients(asked, share, masked, target, ctx.shard)
        return cls(
            tuple(given), target, weight, parts, top, asked, own, masked, ctx.shard, ctx.options
        )

    def write_gradient(self, scores: Tensor, rows: slice, out: Tensor) -> None:
        """Write the gradient of some rows of this rank's columns."""
        if not scores.shape[1]:
            return
        parts = self.own_parts
        some = parts._replace(
            maximum=parts.maximum[rows], log_sum=parts.log_sum[rows], gap=parts.gap[rows]
        )
        target = _own_target(self.target, self.shard)[rows]
        asked = self.own.of_rows(rows)
        kernels.row_gradient(scores, some, target, self.weight, asked, self.options, out)
        if self.asked.t is not None and not self.options.softcap:
            self._add_masked_targets(rows, out)

    def _add_masked_targets(self, rows: slice, out: Tensor) -> None:
        """Give a masked target its part, where a row's columns were left out as all masked.

        Its loss is infinite, and its gradient that of any target whose probability is 0.
        """
        masked, target, t = self.masked[rows], self.target[rows], self.asked.t
        assert t is not None
        if is_known_here(masked) and not bool(masked.any()):
            return
        t = t[rows] / self.options.temperature
        if is_distribution(target):
            mass = target if self.weight is None else target * self.weight
            amounts = torch.where(masked, t, 0)[:, None] * mass
            out -= torch.where(masked[:, None], amounts, 0).to(out.dtype)
            return
        columns = target if target.dim() == 2 else target[:, None]
        amounts = t if t.dim() == 2 else t[:, None]
        amounts = torch.where(masked[:, None] & self.shard.is_here(columns), -amounts, 0)
        out.scatter_add_(1, self.shard.local(columns).clamp(min=0), amounts.to(out.dtype))


def _own_coefficients(
    asked: Coefficients, share: Tensor, masked: Tensor, target: Tensor, shard: Shard
) -> Coefficients:
    """Return what the kernels make this rank's columns of a gradient with; see above.

    Rows whose columns are all masked get none: their softmax is NaN, and their gradient 0. On a CPU
    the kernels take them in float64: where p is near 1, ``P a − t`` is all that is left.
    """
    dtype = share.dtype if share.device.type == "cpu" else asked.a.dtype
    share = share.to(dtype)
    a, b, s, t = (None if each is None else each.to(dtype) for each in asked)
    assert a is not None
    own_a, own_b = _times(a, share), None
    if b is not None:
        log_share = torch.where(share == 0, 0, torch.log(share))
        own_a, own_b = own_a + _times(b, share * log_share), _times(b, share)
    if t is not None and t.dim() == 2:
        t = torch.where(masked[:, None] | ~shard.is_here(target), 0, t)
    elif t is not None:
        t = torch.where(masked, 0, t)
    own_b, s = (None if each is None else torch.where(masked, 0, each) for each in (own_b, s))
    return Coefficients(torch.where(masked, 0, own_a), own_b, s, t)


def _times(coefficient: Tensor, share: Tensor) -> Tensor:
    """Multiply; a row that asks for nothing gets nothing, even if it is broken."""
    return torch.where(coefficient == 0, 0, coefficient * share)
