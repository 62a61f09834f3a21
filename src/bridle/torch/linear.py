"""Softmax cross-entropy of a linear head, whose scores are never whole."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor

from bridle import checks
from bridle.formula.row_loss import Coefficients, Terms, coefficients
from bridle.losses.head_calls import takes_head_calls
from bridle.losses.outputs import CrossEntropyOutputs, asked_outputs
from bridle.torch import arguments, kernels
from bridle.torch.arguments import TENSORS
from bridle.torch.class_rows import ClassRows, class_rows, is_sparse
from bridle.torch.composition import (
    collect_outputs,
    divisor_and_terms,
    refuse_options,
    row_losses,
)
from bridle.torch.device_head import device_head_answer, serving_head
from bridle.torch.device_loss import LossCall, LossOptions
from bridle.torch.fused import row_factors
from bridle.torch.kinds import is_batched, is_known_here, refuse_pieces
from bridle.torch.linear_rows import (
    Gradients,
    Head,
    HeadAnswer,
    Plan,
    blocks,
    float16_divisor,
    linear_row_parts,
    placeholder,
)
from bridle.torch.parts import Options, Parts
from bridle.torch.reduction import reduce_losses
from bridle.torch.rows import is_plain_call
from bridle.torch.sharded_losses import Settings, sharded_linear_cross_entropy
from bridle.torch.shards import is_distributed, outside_of_compilers


@takes_head_calls(TENSORS)
def linear_cross_entropy(
    features: Tensor,
    weight: Tensor,
    target: Tensor | tuple[Tensor, Tensor],
    *,
    bias: Tensor | None = None,
    class_weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: checks.Reduction = "mean",
    label_smoothing: float = 0.0,
    sample_weight: Tensor | None = None,
    normalizer: Any = None,
    z_loss: float = 0.0,
    softcap: float = 0.0,
    temperature: float = 1.0,
    on_empty: checks.OnEmpty = "nan",
    outputs: Sequence[str] | None = None,
    memory_budget: int | None = None,
    gradient_filter: float | None = None,
    unbiased: bool = True,
    check: bool | None = None,
    group: Any = None,
    classes: int | None = None,
) -> Any:
    r"""Return the cross-entropy of ``features @ weight.T + bias`` without holding those scores.

    The same number as ``cross_entropy(features @ weight.T + bias, target, …)``, with the same
    meaning of every argument, and the same gradients. Blocks of rows are multiplied out, reduced
    and multiplied back while they are in cache: three matrix products, and memory for one block.
    (On a GPU, of half precision with at most 128 features: scores are made three times, and stored
    nowhere.)
    Ignored rows are left out of the products (not on a GPU, which would have to be waited for), and
    a gradient that nobody asks for is not made.

    The argument names of `torch.nn.functional.linear_cross_entropy` are taken too: ``input``,
    ``linear_weight``, ``linear_bias``, and ``weight`` for what each class weighs where the head's
    weight is given by its place or as ``linear_weight``. (torch's ``options`` say how to cut
    blocks, and are not needed.) As there, a weight (C, d1, …, D) beside features (N, D) has an
    output at each of d1 · … places, with targets (N, d1, …) or distributions (N, C, d1, …).

    Where one number comes back (a mean or a sum), its gradient is made with it. Otherwise
    (``reduction="none"``, ``outputs``, `torch.func`, `torch.compile`) backward makes the scores
    again, block by block. Only a derivative of the gradient holds them all.

    Parameters
    ----------
    features : Tensor, (…, D)
        What the scores are made from, in any float dtype. Of half precision they are float32 sums
        that nothing rounds, except on a GPU of more than 128 features, which rounds them as those
        of PyTorch's layers; the loss is float32. The gradient of bfloat16 is multiplied back in it;
        that of float16 is kept in float32 until backward's factor, which loss scaling makes large,
        is known.
    weight : Tensor, (C, D)
        A row for each class, in the dtype of the features (under autocast, in any).
    target : Tensor, or a pair of them
        Class indices (…), distributions (…, C), or sparse distributions: a pair of indices (…, k)
        and probabilities (…, k).
    bias : Tensor, (C,), optional
        A score for each class, whatever the features are.
    class_weight : Tensor, (C,), optional
        What `cross_entropy` calls ``weight``.
    ignore_index, reduction, label_smoothing, sample_weight, normalizer, z_loss, softcap
        As in `bridle.torch.cross_entropy`.
    temperature, on_empty, outputs, check
        As there.
    shift : int
        How many positions labels are ahead: the features (…, T, D) of a position are scored against
        the label ``shift`` further on, as for a language model with ``shift=1``. With
        ``reduction="none"`` a value stands where its label does, and the first are 0.
    memory_budget : int, optional
        Bytes that the scores of a block may take. The result depends on it by rounding alone. By
        default 16 MiB (64 MiB of float32 and float64 where PyTorch's library makes the products, as
        on an Intel processor), or what 256 rows take, and in half precision at least what half as
        many rows take as there are features; on a GPU what half of the rows take, up to 2 GiB or
        4,096 rows.
    gradient_filter : float, optional
        Entries of a row's gradient in the scores that are smaller than this share of the row's
        weight (for class indices: probabilities below it) are not multiplied back. None, the
        default, leaves nothing out. The loss does not change; see ``docs/performance.md`` for
        what the gradient loses.
    unbiased : bool
        What happens to those entries. True keeps an entry p < ε at the value ε with the
        probability p / ε, so that the expected gradient is exact (PyTorch's generator draws);
        False drops it, as *Cut Your Losses* does: with many classes much of the mass may be lost.
    group : ProcessGroup or DeviceMesh, optional
        Over whose ranks the rows of the weight are shared out, see the notes there; ``bias``,
        ``class_weight`` and distributions as target with them. The features are the same on all
        ranks, and backward adds up their gradient over the ranks: the one exchange that it makes.
        A weight that is a `DTensor` sharded by its rows needs no group; features that are one and
        split in any way are then gathered first.
    classes : int, optional
        With a group: how many classes there are, where the last rows of all are padding.

    Returns
    -------
    Tensor or CrossEntropyOutputs
        As `cross_entropy`; float32 for half precision.

    Raises
    ------
    InputError, TargetRangeError
        As `cross_entropy`, and for features, weight and bias that do not fit.

    Examples
    --------
    >>> features = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> weight = torch.tensor([[2.0, 0.0], [1.0, 3.0], [0.0, 0.0]])
    >>> round(linear_cross_entropy(features, weight, torch.tensor([0, 1])).item(), 4)
    0.2513

    References
    ----------
    E. Wijmans et al., *Cut Your Losses in Large-Vocabulary Language Models*, 2025.
    """
    if group is not None or classes is not None or is_distributed(weight):
        settings = Settings(
            class_weight,
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
        return outside_of_compilers(sharded_linear_cross_entropy)(
            features,
            weight,
            target,
            bias,
            group,
            classes,
            settings,
            lambda: _plan(memory_budget, gradient_filter, unbiased),
            _head,
        )
    asked = asked_outputs(outputs)
    terms = Terms(checks.fraction(label_smoothing, "label_smoothing"), float(z_loss))
    refuse_options(reduction, on_empty, normalizer, softcap)
    temperature = checks.positive(temperature, "temperature")
    plan = _plan(memory_budget, gradient_filter, unbiased)
    head, loss_shape = _head(features, weight, bias)
    target = _flat_target(target, loss_shape, weight.shape[0])
    if sample_weight is not None:
        sample_weight = _flat_sample_weight(sample_weight, loss_shape)
    if outputs is None and not check:
        loss_options = LossOptions(
            operator.index(ignore_index),
            terms.label_smoothing,
            terms.z_loss,
            temperature,
            float(softcap),
            reduction,
            on_empty,
            inplace=False,
        )
        call = LossCall(target, class_weight, sample_weight, normalizer, loss_options)
        module = serving_head(head, call, plan)
        if module is not None:
            return _by_device_kernels(head, call, module, plan)
    rows = class_rows(
        placeholder(head),
        target,
        class_weight,
        ignore_index=ignore_index,
        sample_weight=sample_weight,
        check=check,
    )
    options = Options(
        smoothing=terms.label_smoothing > 0,
        entropy="entropy" in asked,
        argmax="argmax" in asked or "correct" in asked,
        temperature=temperature,
        softcap=float(softcap),
    )
    divisor, terms = divisor_and_terms(rows, terms, reduction, normalizer)
    kept = _counted_rows(rows)
    if kept is not None:
        head, rows = head._replace(features=head.features[kept]), _take_rows(rows, kept)

    def loss_of(losses: Tensor) -> Tensor:
        if reduction == "none":
            return _to_positions(losses, kept, loss_shape)
        return reduce_losses(losses, divisor, reduction=reduction, on_empty=on_empty)

    if outputs is None and reduction != "none" and _gradient_is_known(head, rows, divisor):
        made = partial(
            _answer_in_blocks,
            rows=rows,
            options=options,
            terms=terms,
            divisor=divisor,
            plan=plan,
            loss_of=loss_of,
        )

        def again(head: Head) -> Tensor:
            parts = linear_row_parts(head, rows.target, rows.weight, options, plan)
            return loss_of(row_losses(rows, parts, terms))

        return _loss_with_gradients(head, made, again)
    parts = linear_row_parts(head, rows.target, rows.weight, options, plan)
    loss = loss_of(row_losses(rows, parts, terms))
    if outputs is None:
        return loss
    bending = Options(temperature=options.temperature, softcap=options.softcap)
    found = collect_outputs(
        asked, loss, rows, parts, lambda: linear_row_parts(head, rows.target, None, bending, plan)
    )
    return CrossEntropyOutputs(
        *(
            value
            if value is None or name == "loss"
            else _to_positions(value, kept, loss_shape, name)
            for name, value in found._asdict().items()
        )
    )


def _plan(memory_budget: int | None, gradient_filter: float | None, unbiased: bool) -> Plan:
    threshold = (
        0.0 if gradient_filter is None else checks.fraction(gradient_filter, "gradient_filter")
    )
    return Plan(checks.memory_budget(memory_budget), threshold, unbiased)


def _by_device_kernels(head: Head, call: LossCall, module: Any, plan: Plan) -> Tensor:
    """Return the loss on a device whose kernels read the targets themselves."""
    if not (torch.is_grad_enabled() and _asks_gradient(head)):
        return device_head_answer(head, (False, False, False), call, module, plan).loss

    def again(head: Head) -> Tensor:
        """Return the same loss by parts that can be differentiated twice."""
        options = call.options._asdict()
        del options["inplace"]
        # With outputs asked for, the general path is taken.
        loss: Tensor = linear_cross_entropy(
            head.features,
            head.weight,
            call.target,
            bias=head.bias,
            class_weight=call.weight,
            sample_weight=call.sample_weight,
            normalizer=call.normalizer,
            **options,
            outputs=("loss",),
            memory_budget=plan.memory_budget,
            check=False,
        ).loss
        return loss

    made = partial(device_head_answer, call=call, module=module, plan=plan)
    return _loss_with_gradients(head, made, again)


def _answer_in_blocks(
    head: Head,
    asked: tuple[bool, bool, bool],
    rows: ClassRows,
    options: Options,
    terms: Terms,
    divisor: Tensor | float,
    plan: Plan,
    loss_of: Callable[[Tensor], Tensor],
) -> HeadAnswer:
    """Return a sum or mean of losses, and its gradients, made while a block's scores are there."""
    gradients = Gradients(head, asked, plan)
    share: Tensor | float | None = None
    if head.features.dtype == torch.float16:
        weights = rows.weight, rows.sample_weight
        divisor, share = float16_divisor(weights, options.temperature, divisor)
    pieces = []
    for block in blocks(head, plan):
        some = _take_rows(rows, block.rows)
        parts = kernels.row_parts(block.scores, some.target, some.weight, options)
        of_block = _block_coefficients(parts, some, terms, divisor)
        kernels.row_gradient(
            block.scores, parts, some.target, some.weight, of_block, options, block.scores
        )
        gradients.add(block, of_block.a)
        pieces.append(parts)
    parts = Parts(*(torch.cat(each) for each in zip(*pieces, strict=True)))
    return HeadAnswer(loss_of(row_losses(rows, parts, terms)), gradients.kept(), share)


def _loss_with_gradients(
    head: Head, made: Callable[..., HeadAnswer], again: Callable[[Head], Tensor]
) -> Tensor:
    loss: Tensor = _LinearLoss.apply(*head, made, again)  # type: ignore[no-untyped-call]
    return loss


class _LinearLoss(torch.autograd.Function):
    """A loss that is one number; its gradients are made with it, and a second time ``again``."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        made: Callable[[Head, tuple[bool, bool, bool]], HeadAnswer],
        again: Callable[[Head], Tensor],
    ) -> Tensor:
        ctx.save_for_backward(features, weight, bias)
        head, ctx.again = Head(features, weight, bias).detached(), again
        loss, ctx.gradients, ctx.share = made(head, ctx.needs_input_grad[:3])
        return loss

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        (factor,) = cotangents
        if ctx.gradients is None or torch.is_grad_enabled():
            gradients = _gradients_again(ctx, factor)
        else:
            # Given away: autograd then keeps them, where it would copy what someone else holds.
            gradients, ctx.gradients = ctx.gradients, None
            if ctx.share is not None:
                factor = factor * ctx.share
                gradients = tuple(
                    None if each is None else _times(each, factor).to(torch.float16)
                    for each in gradients
                )
            elif not is_known_here(factor) or factor != 1:  # a GPU would have to be waited for
                gradients = tuple(
                    None if each is None else _times(each, factor) for each in gradients
                )
        return *gradients, None, None


def _times(gradient: Tensor, factor: Tensor) -> Tensor:
    """Return a gradient, which is overwritten, times a factor or each of a batch of factors."""
    if is_batched(factor):
        return gradient * factor
    return kernels.multiplied(gradient, factor, kernels.index_kernels(gradient))


def _gradients_again(ctx: Any, factor: Tensor) -> tuple[Tensor | None, ...]:
    """Return the gradients of a second backward, or as what can itself be differentiated."""
    differentiable = torch.is_grad_enabled()
    given: list[Any] = list(ctx.saved_tensors)
    if not differentiable:
        asked = ctx.needs_input_grad[:3]
        given = [each if each is None else each.detach() for each in given]
        for each, needed in zip(given, asked, strict=True):
            if needed:
                each.requires_grad_()
    with torch.enable_grad():
        loss = ctx.again(Head(*given))
        wanted = [each for each in given if each is not None and each.requires_grad]
        found = iter(torch.autograd.grad(loss, wanted, factor, create_graph=differentiable))
    return tuple(next(found) if each is not None and each.requires_grad else None for each in given)


def _block_coefficients(
    parts: Parts, rows: ClassRows, terms: Terms, divisor: Tensor | float
) -> Coefficients:
    """Return the coefficients of a block's gradient."""
    row_coefficients = coefficients(
        torch, parts, rows.mass_of_targets(), terms, row_factors(rows, divisor)
    )
    return row_coefficients._replace(a=row_coefficients.a.expand(rows.target.shape[0]))


def _asks_gradient(head: Head) -> bool:
    return any(each is not None and each.requires_grad for each in head)


def _gradient_is_known(head: Head, rows: ClassRows, divisor: Tensor | float) -> bool:
    """Tell whether the gradient of a sum of losses is asked for, and known before backward."""
    constants = (rows.sample_weight, divisor, rows.target, rows.mass)
    return (
        is_plain_call()
        and torch.is_grad_enabled()
        and _asks_gradient(head)
        and not any(isinstance(each, Tensor) and each.requires_grad for each in constants)
    )


def _head(
    features: Any, weight: Any, bias: Any, *, is_shard: bool = False
) -> tuple[Head, tuple[int, ...]]:
    """Return features in rows, weight and bias, in the one dtype they have or autocast gives.

    A weight that is a shard may be of no class.
    """
    features, weight = (
        arguments.floating(features, "features"),
        arguments.floating(weight, "weight"),
    )
    if bias is not None:
        bias = arguments.floating(bias, "bias")
    checks.linear_head(tuple(features.shape), tuple(weight.shape), has_classes=not is_shard)
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        raise checks.InputError.of(
            "bias", expected=f"shape ({weight.shape[0]},)", found=tuple(bias.shape)
        )
    head = Head(features.reshape(prod(features.shape[:-1]), features.shape[-1]), weight, bias)
    device = features.device.type
    # A compiler of PyTorch 2.9 cannot ask which devices have autocast; those it compiles for do.
    may_autocast = torch.compiler.is_compiling() or torch.amp.is_autocast_available(device)
    if may_autocast and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        head = Head(*(each if each is None else each.to(dtype) for each in head))  # type: ignore[arg-type]
    dtypes = {each.dtype for each in head if each is not None}
    if len(dtypes) > 1:
        names = " and ".join(sorted(map(str, dtypes)))
        raise checks.InputError.of("weight", expected="the dtype of the features", found=names)
    return head, tuple(features.shape[:-1])


def _flat_target(target: Any, loss_shape: tuple[int, ...], classes: int) -> Any:
    """Return the target of (N, C) scores; what does not fit is refused there."""
    refuse_pieces(target, "target")
    if is_sparse(target):
        return tuple(each.reshape(-1, each.shape[-1]) for each in map(torch.as_tensor, target))
    checked = torch.as_tensor(target)
    shape = tuple(checked.shape)
    if shape == (*loss_shape, classes) and not (
        shape == loss_shape and not checked.is_floating_point()
    ):
        return checked.reshape(-1, classes)
    if shape == loss_shape:
        return checked.reshape(-1)
    raise checks.InputError.of(
        "target",
        expected=(
            f"class indices of shape {loss_shape}, or distributions of shape "
            f"{(*loss_shape, classes)}"
        ),
        found=shape,
    )


def _flat_sample_weight(sample_weight: Any, loss_shape: tuple[int, ...]) -> Tensor:
    refuse_pieces(sample_weight, "sample_weight")
    weights = torch.as_tensor(sample_weight)
    if tuple(weights.shape) == loss_shape[:1]:
        weights = weights.reshape(weights.shape + (1,) * (len(loss_shape) - 1)).expand(loss_shape)
    elif tuple(weights.shape) != loss_shape:
        raise checks.InputError.of(
            "sample_weight", expected=f"shape {loss_shape}", found=tuple(weights.shape)
        )
    return weights.reshape(-1)


def _counted_rows(rows: ClassRows) -> Tensor | None:
    """Return the rows that are not ignored, if some are; None where that cannot be known."""
    counted = rows.counted
    if counted is None or not is_plain_call() or not is_known_here(counted):
        return None
    if bool(counted.all()):
        return None
    return counted.nonzero()[:, 0]


def _take_rows(rows: ClassRows, kept: slice | Tensor) -> ClassRows:
    """Return some of the rows; of the scores, which all are the same memory, as many."""
    taken = {
        name: value[kept]
        for name in ("target", "mass", "sample_weight", "counted", "unknown")
        if (value := getattr(rows, name)) is not None
    }
    rows_taken = rows._replace(**taken)
    count = rows_taken.target.shape[0]
    return rows_taken._replace(scores=rows.scores[:count], loss_shape=(count,))


def _to_positions(
    values: Tensor, kept: Tensor | None, loss_shape: tuple[int, ...], name: str = "loss"
) -> Tensor:
    """Return the values in the shape of the positions; ignored rows hold a fixed value."""
    if kept is not None:
        ignored_value = {"argmax": -1, "correct": False}.get(name, 0)
        full = values.new_full((prod(loss_shape),), ignored_value)
        values = full.index_copy(0, kept, values)
    return values.view(loss_shape)
