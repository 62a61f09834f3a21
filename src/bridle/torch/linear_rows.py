"""The parts of the rows of ``features @ weight.T + bias``, and their gradients, block by block.

The scores are never whole. A block of rows is multiplied out into memory that every block uses
again, reduced to its parts there, and, for a gradient, overwritten by its residual and multiplied
back, while it is in cache. What is kept of a block are a few numbers a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from bridle.kernels import thresholds
from bridle.torch import kernels, products
from bridle.torch.derivatives import (
    Derivatives,
    coefficients,
    differentiable_gradient,
    differentiable_parts,
    tangents,
    target_gradient,
)
from bridle.torch.kinds import has_values, is_batched
from bridle.torch.parts import Coefficients, Options, Parts, accumulator_dtype, empty_parts
from bridle.torch.rows import OPTIONS_SCHEMA, PARTS_SCHEMA, constant_parts, map_by_loop


class Head(NamedTuple):
    """What makes the scores: ``features @ weight.T + bias``."""

    features: Tensor  # (N, D)
    weight: Tensor  # (C, D)
    bias: Tensor | None  # (C,)

    def detached(self) -> Head:
        """Return the same values, of which no gradient is asked."""
        return Head(*(None if each is None else each.detach() for each in self))  # type: ignore[arg-type]

    def wide(self) -> Head:
        """Return the same values in float32 where they are in half precision."""
        dtype = accumulator_dtype(self.features.dtype)
        return Head(*(None if each is None else each.to(dtype) for each in self))  # type: ignore[arg-type]


class Plan(NamedTuple):
    """How the work is cut, and what of it is left out."""

    memory_budget: int | None = None  # bytes for the scores of a block; None: see `block_rows`
    threshold: float = 0.0  # of the gradient filter; 0 filters nothing
    unbiased: bool = True


class Block(NamedTuple):
    """Some rows and their scores, which the receiver may overwrite."""

    rows: slice
    features: Tensor
    scores: Tensor


def block_rows(head: Head, plan: Plan) -> int:
    """Return how many rows' scores are made at a time.

    Found when the work is done: a compiled program serves any number of rows and classes.
    """
    features, fewest = head.features, 0
    if features.device.type == "cpu" and features.element_size() < 4:
        # Half precision is summed up beside, in float32. Of many features, more rows at a time make
        # that rare, and their scores take half of the sum.
        fewest = features.shape[-1] // 2
    size = scores_dtype(features).itemsize
    rows, classes = len(features), len(head.weight)
    return products.head_blocks(features).rows(rows, classes, size, plan.memory_budget, fewest)


def scores_dtype(features: Tensor) -> torch.dtype:
    """Return the dtype of a block's scores.

    Those of half precision are float32 on a CPU: rounded, they would cost the loss its third digit.
    A GPU rounds them, as a layer of PyTorch's does: float32 there takes four times the memory, and
    the time of a third product where features are narrow.
    """
    if features.device.type == "cuda":
        return features.dtype
    return accumulator_dtype(features.dtype)


def blocks(head: Head, plan: Plan) -> Iterator[Block]:
    """Yield the blocks of rows, one after the other, all in the same memory."""
    count, classes = len(head.features), len(head.weight)
    step = max(1, min(block_rows(head, plan), count))
    memory = kernels.new_memory((step, classes), head.features, scores_dtype(head.features))
    for begin in range(0, max(count, 1), step):
        rows = slice(begin, min(begin + step, count))
        features = head.features[rows]
        scores = memory[: len(features)]
        products.make_scores(features, head.weight, head.bias, scores)
        yield Block(rows, features, scores)


def gradient_dtype(weight: Tensor) -> torch.dtype:
    """Return the dtype that gradients are kept in until backward.

    Of float16 that is float32: what they are multiplied by may come afterwards.
    """
    return torch.float32 if weight.dtype == torch.float16 else weight.dtype


class HeadAnswer(NamedTuple):
    """A loss that is one number, and the gradients that were made with it."""

    loss: Tensor
    gradients: tuple[Tensor | None, ...]  # of features, weight and bias
    share: Tensor | float | None  # what those of float16 are still to be multiplied by


def float16_divisor(
    weights: tuple[Tensor | None, ...], temperature: float, divisor: Tensor | float
) -> tuple[Tensor | float, Tensor | float]:
    """Return what losses are divided by for their residuals to fill the range of float16.

    And what the gradients are then still to be multiplied by. Divided by a mean's number of rows,
    most residuals would vanish before the factor of backward, which loss scaling makes large, could
    prevent that.
    """
    largest: Tensor | float = 1 / products.FLOAT16_UNIT / temperature
    for each in weights:
        if each is not None and each.numel():
            largest = each.detach().amax().float() * largest
    return largest, largest * _inverse(divisor)


def _inverse(divisor: Tensor | float) -> Tensor | float:
    """Return 1 / divisor, of a tensor in float32; a mean over nothing has the gradient 0."""
    if isinstance(divisor, Tensor):
        total = divisor.double()
        return torch.where(total == 0, 0, 1 / total).float()
    return 1 / divisor if divisor else 0.0


class Gradients:
    """The gradients of a head, of which block after block is added; only of what is asked."""

    def __init__(self, head: Head, asked: tuple[bool, bool, bool], plan: Plan) -> None:
        self._head, self._plan = head, plan
        wide, narrow = accumulator_dtype(head.features.dtype), gradient_dtype(head.weight)
        features, weight, bias = asked
        self._features = torch.zeros_like(head.features, dtype=narrow) if features else None
        self._weight = None
        if weight:
            # Sums over many blocks, in half precision, would stop growing; a single one is its
            # sum. Where a product adds inside, to two blocks' sum, half precision rounds it once
            # more than it must, and a float32 sum would be the largest thing in memory.
            count = 2 if products.makes_wide(head.weight) else 1
            is_single_block = (
                len(head.features) <= count * block_rows(head, plan) and not plan.threshold
            )
            dtype = narrow if is_single_block else wide
            self._weight = kernels.new_memory(tuple(head.weight.shape), head.weight, dtype).zero_()
        self._bias = head.weight.new_zeros(len(head.weight), dtype=wide) if bias else None

    def add(self, block: Block, scale: Tensor) -> None:
        """Add a block whose scores have become their gradient; ``scale`` (n,) is what p weighs."""
        # What a filter leaves is read without gaps.
        residual, dtype = block.scores, self._head.weight.dtype
        filtered = self._plan.threshold > 0
        if filtered:
            residual = residual.to(dtype)
        else:
            residual = products.narrowed(residual, products.residual_dtype(self._head.weight))
        block = block._replace(scores=residual)
        if filtered and self._add_filtered(block, self._plan.threshold * scale.abs()):
            return
        if self._features is not None:
            products.multiply_back(residual, self._head.weight, self._features[block.rows])
        if self._weight is not None:
            products.add_products(residual, block.features, self._weight)
        if self._bias is not None:
            self._bias += residual.sum(dim=0, dtype=self._bias.dtype)

    def _add_filtered(self, block: Block, threshold: Tensor) -> bool:
        """Filter a block and add its products; False if too many entries are left for that."""
        residual, plan = block.scores, self._plan
        if not has_values(residual):  # what is left would depend on them
            return False
        draws = torch.rand(len(residual), device=residual.device) if plan.unbiased else None
        entries = kernels.kept_entries(residual, threshold, draws)
        if entries is not None:
            self._add_entries(block, entries)
            return True
        columns = kernels.filter_rows(residual, threshold, draws).nonzero()[:, 0]
        if len(columns) < thresholds.FILTER_COLUMNS * residual.shape[1]:
            self._add_columns(block, columns)
            return True
        return False

    def _add_entries(self, block: Block, entries: Any) -> None:
        """Add a block in which all other entries are 0."""
        if self._features is not None:
            kernels.add_sparse_products(entries, self._head.weight, self._features[block.rows])
        if self._weight is None and self._bias is None:
            return
        columns = kernels.transposed_entries(entries, block.scores.shape[1])
        if self._weight is not None:
            kernels.add_sparse_products(columns, block.features, self._weight)
        if self._bias is not None:
            ones = self._bias.new_ones(len(block.features), 1)
            kernels.add_sparse_products(columns, ones, self._bias[:, None])

    def _add_columns(self, block: Block, columns: Tensor) -> None:
        """Add a block in which all other columns are 0."""
        residual = block.scores[:, columns]
        if self._features is not None:
            weight = self._head.weight[columns]
            products.multiply_back(residual, weight, self._features[block.rows])
        if self._weight is not None:
            chosen = self._weight.new_zeros(len(columns), self._weight.shape[1])
            products.add_products(residual, block.features, chosen)
            self._weight.index_add_(0, columns, chosen)
        if self._bias is not None:
            chosen = residual.sum(dim=0, dtype=self._bias.dtype)
            self._bias.index_add_(0, columns, chosen)

    def results(self) -> tuple[Tensor | None, ...]:
        """Return the gradients in the dtype of what they are of."""
        return self._as(self._head.weight.dtype)

    def kept(self) -> tuple[Tensor | None, ...]:
        """Return the gradients in the dtype that they are kept in until backward."""
        return self._as(gradient_dtype(self._head.weight))

    def _as(self, dtype: torch.dtype) -> tuple[Tensor | None, ...]:
        sums = self._features, self._weight, self._bias
        return tuple(None if each is None else each.to(dtype) for each in sums)


def linear_row_parts(
    head: Head,
    target: Tensor,
    class_weight: Tensor | None = None,
    options: Options = Options(),  # noqa: B008 - an immutable tuple
    plan: Plan = Plan(),  # noqa: B008
) -> Parts:
    """Return the parts of each row, differentiable in the head and in distributions as target.

    Backward makes the scores again, block by block: a fourth product, for which nothing is kept.
    """
    if torch.compiler.is_compiling():
        if torch._C._are_functorch_transforms_active():
            # A compiler traces no derivative of an operator inside `torch.func`.
            scores = _scores(head.features, head)
            return differentiable_parts(scores, target, class_weight, options)
        found = parts_operator(*head, target, class_weight, *plan, *options)
        return Parts(*found)
    function: Any = _LinearRowParts
    return Parts(*function.apply(*head, target, class_weight, plan, *options))


def parts_of_blocks(
    head: Head, target: Tensor, class_weight: Tensor | None, options: Options, plan: Plan
) -> Parts:
    """Return the parts of each row."""
    pieces = [
        kernels.row_parts(block.scores, target[block.rows], class_weight, options)
        for block in blocks(head, plan)
    ]
    # Each a tensor of its own, as autograd wants them: the kernels may give one for several.
    return Parts(*(torch.cat(piece) for piece in zip(*pieces, strict=True)))


class _LinearRowParts(torch.autograd.Function):
    @staticmethod
    def forward(
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        class_weight: Tensor | None,
        plan: Plan,
        *options: Any,
    ) -> tuple[Tensor, ...]:
        head = Head(features, weight, bias).detached()
        return tuple(parts_of_blocks(head, target, class_weight, Options(*options), plan))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        features, weight, bias, target, class_weight, ctx.plan, *options = inputs
        parts = Parts(*output)
        ctx.options = Options(*options)
        ctx.mark_non_differentiable(*constant_parts(parts, target, ctx.options))
        ctx.set_materialize_grads(False)
        given = (features, weight, bias, target, class_weight)
        ctx.save_for_forward(*given)
        ctx.save_for_backward(*given, parts.maximum, parts.log_sum, parts.gap, parts.mean_gap)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> Any:
        *given, maximum, log_sum, gap, mean_gap = ctx.saved_tensors
        head, target, class_weight = Head(*given[:3]), given[3], given[4]
        if torch.is_grad_enabled() or is_batched(*cotangents):
            found: tuple[Tensor | None, ...] = _differentiable_gradients(
                head, target, class_weight, cotangents, ctx.options
            )
        else:
            asked = coefficients(cotangents, log_sum, mean_gap, ctx.options)
            known = (maximum, log_sum, gap)
            needed = ctx.needs_input_grad[:3]
            found = _gradients(
                head, target, class_weight, known, asked, ctx.options, ctx.plan, needed
            )
        to_target = None
        if ctx.needs_input_grad[3]:
            to_target = _target_gradient(head, target, class_weight, cotangents, ctx)
        return *found, to_target, None, None, *(None,) * len(ctx.options)

    @staticmethod
    def jvp(ctx: Any, *directions: Any) -> Any:
        with forward_ad._set_fwd_grad_enabled(True):
            primal: Callable[[Tensor], Any] = forward_ad.unpack_dual
            given: list[Any] = [
                None if each is None else primal(each)[0] for each in ctx.saved_tensors[:5]
            ]
            return _tangents(Head(*given[:3]), given[3], given[4], directions, ctx)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        return map_by_loop(_LinearRowParts.apply, info.batch_size, in_dims, arguments)


def _gradients(
    head: Head,
    target: Tensor,
    class_weight: Tensor | None,
    known: tuple[Tensor, Tensor, Tensor],
    asked: Coefficients,
    options: Options,
    plan: Plan,
    needed: tuple[bool, bool, bool],
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the head, given maximum, log-sum and gap of the rows."""
    parts = empty_parts(placeholder(head), target, options)
    sink = Gradients(head, needed, plan)
    for block in blocks(head, plan):
        rows = block.rows
        maximum, log_sum, gap = (each[rows] for each in known)
        own = parts._replace(maximum=maximum, log_sum=log_sum, gap=gap)
        some = asked.of_rows(rows)
        kernels.row_gradient(
            block.scores, own, target[rows], class_weight, some, options, block.scores
        )
        sink.add(block, some.a)
    return sink.results()


def _row_slices(head: Head, plan: Plan) -> list[slice]:
    count, step = len(head.features), max(block_rows(head, plan), 1)
    return [slice(begin, begin + step) for begin in range(0, max(count, 1), step)]


def _scores(features: Tensor, head: Head) -> Tensor:
    """Return scores by operations that PyTorch can differentiate; of half precision in float32."""
    wide = head._replace(features=features).wide()
    if torch.amp.is_autocast_available(features.device.type):
        with torch.autocast(features.device.type, enabled=False):
            return torch.nn.functional.linear(*wide)
    return torch.nn.functional.linear(*wide)


def _tangents(
    head: Head, target: Tensor, class_weight: Tensor | None, directions: Any, ctx: Any
) -> Derivatives:
    """Return how the parts move with the head and the target, block by block."""
    head, dtype = head.wide(), accumulator_dtype(head.features.dtype)
    along = Head(*(None if each is None else each.to(dtype) for each in directions[:3]))  # type: ignore[arg-type]
    along_target = directions[3]
    pieces = []
    for rows in _row_slices(head, ctx.plan):
        features = head.features[rows]
        scores = _scores(features, head)
        direction = torch.zeros_like(scores)
        if along.features is not None:
            direction = direction + along.features[rows] @ head.weight.T
        if along.weight is not None:
            direction = direction + features @ along.weight.T
        if along.bias is not None:
            direction = direction + along.bias
        to_target = None if along_target is None else along_target[rows]
        pieces.append(
            tangents(scores, target[rows], class_weight, direction, to_target, ctx.options)
        )
    return tuple(None if part[0] is None else torch.cat(part) for part in zip(*pieces, strict=True))


def _differentiable_gradients(
    head: Head,
    target: Tensor,
    class_weight: Tensor | None,
    cotangents: Derivatives,
    options: Options,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the gradients by operations that can be differentiated; these keep the scores."""
    scores, dtype = _scores(head.features, head), head.features.dtype
    residual = differentiable_gradient(scores, target, class_weight, cotangents, options).to(dtype)
    bias = None if head.bias is None else residual.sum(dim=0)
    return residual @ head.weight, residual.T @ head.features, bias


def _target_gradient(
    head: Head, target: Tensor, class_weight: Tensor | None, cotangents: Derivatives, ctx: Any
) -> Tensor:
    head, pieces = head.wide(), []
    for rows in _row_slices(head, ctx.plan):
        some = tuple(None if each is None else each[rows] for each in cotangents)
        scores = _scores(head.features[rows], head)
        pieces.append(target_gradient(scores, target[rows], class_weight, some, ctx.options))
    return torch.cat(pieces)


# --- the custom operators, for torch.compile ------------------------------------------------------

_PLAN = "int? memory_budget, float threshold, bool unbiased"
_HEAD = "Tensor features, Tensor weight, Tensor? bias, Tensor target, Tensor? class_weight"


@torch.library.custom_op(
    "bridle::linear_row_parts",
    mutates_args=(),
    schema=f"({_HEAD}, {_PLAN}, {OPTIONS_SCHEMA}) -> ({PARTS_SCHEMA})",
)
def parts_operator(*arguments: Any) -> tuple[Tensor, ...]:
    """`parts_of_blocks` as an operator that a compiler takes as it is."""
    head, (target, class_weight) = Head(*arguments[:3]), arguments[3:5]
    plan, options = Plan(*arguments[5:8]), Options(*arguments[8:])
    return tuple(parts_of_blocks(head, target, class_weight, options, plan))


@torch.library.custom_op(
    "bridle::linear_row_gradients",
    mutates_args=(),
    schema=f"({_HEAD}, Tensor maximum, Tensor log_sum, Tensor gap, "
    "Tensor a, Tensor? b, Tensor? s, Tensor? t, "
    f"{_PLAN}, bool[] needed, {OPTIONS_SCHEMA}) -> (Tensor, Tensor, Tensor)",
)
def gradients_operator(*arguments: Any) -> tuple[Tensor, ...]:
    """Return `_gradients`, as an operator; those not needed are empty."""
    head, (target, class_weight) = Head(*arguments[:3]), arguments[3:5]
    known, asked = arguments[5:8], Coefficients(*arguments[8:12])
    plan, needed, options = Plan(*arguments[12:15]), arguments[15], Options(*arguments[16:])
    found = _gradients(head, target, class_weight, known, asked, options, plan, needed)
    return tuple(head.features.new_empty(0) if each is None else each for each in found)


@parts_operator.register_fake
def _(*arguments: Any) -> tuple[Tensor, ...]:
    head, target, options = Head(*arguments[:3]), arguments[3], Options(*arguments[8:])
    return tuple(empty_parts(placeholder(head), target, options))


@gradients_operator.register_fake
def _(*arguments: Any) -> tuple[Tensor, ...]:
    head, needed = arguments[:3], arguments[15]
    return tuple(
        torch.empty_like(each) if asked and each is not None else arguments[0].new_empty(0)
        for each, asked in zip(head, needed, strict=True)
    )


def _operator_context(ctx: Any, inputs: Any, output: Any) -> None:
    given, ctx.plan, ctx.options = inputs[:5], Plan(*inputs[5:8]), Options(*inputs[8:])
    parts = Parts(*output)
    ctx.save_for_backward(*given, parts.maximum, parts.log_sum, parts.gap, parts.mean_gap)


def _operator_backward(ctx: Any, *cotangents: Tensor | None) -> Any:
    *given, maximum, log_sum, gap, mean_gap = ctx.saved_tensors
    asked = coefficients(cotangents, log_sum, mean_gap, ctx.options)
    needed = [bool(each) for each in ctx.needs_input_grad[:3]]
    known = (maximum, log_sum, gap)
    found = gradients_operator(*given, *known, *asked, *ctx.plan, needed, *ctx.options)
    results = [each if asked else None for each, asked in zip(found, needed, strict=True)]
    to_target = None
    if ctx.needs_input_grad[3]:
        head, target, class_weight = Head(*given[:3]), given[3], given[4]
        to_target = target_gradient(
            _scores(head.features, head), target, class_weight, cotangents, ctx.options
        )
    return *results, to_target, None, *(None,) * (len(ctx.plan) + len(ctx.options))


parts_operator.register_autograd(_operator_backward, setup_context=_operator_context)


def placeholder(head: Head) -> Tensor:
    """Return what has the scores' shape, dtype and device, and the memory of one row."""
    return head.features.new_empty(head.weight.shape[0]).expand(head.features.shape[0], -1)
