"""The losses as modules: thin shells that keep a function's arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from bridle import checks
from bridle.torch.binary import binary_cross_entropy
from bridle.torch.cross_entropy import cross_entropy
from bridle.torch.linear import linear_cross_entropy
from bridle.torch.quadratic import quadratic_loss


class _Loss(torch.nn.Module):
    def __prepare_scriptable__(self) -> NoReturn:
        """Refuse `torch.jit.script`, which asks for this first, in one line."""
        checks.torch_script(type(self).__name__)


def _other_than_default(function: Callable[..., Any], **options: Any) -> dict[str, Any]:
    """Return the options to call a function with: those that say something, and are printed."""
    defaults = inspect.signature(function).parameters
    return {name: value for name, value in options.items() if value != defaults[name].default}


class CrossEntropyLoss(_Loss):
    """`bridle.torch.cross_entropy` as a module; takes the place of `torch.nn.CrossEntropyLoss`.

    Parameters
    ----------
    weight : Tensor, (C,), optional
        A weight per class, kept as a buffer.
    ignore_index, reduction, label_smoothing
        As in `torch.nn.CrossEntropyLoss`.
    z_loss, softcap, temperature, on_empty, inplace, outputs, axis, dim, check, group, classes
        As in `cross_entropy`.

    Examples
    --------
    >>> loss = CrossEntropyLoss(label_smoothing=0.1)
    >>> loss(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([0]))
    tensor(0.5076)
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        ignore_index: int = -100,
        reduction: checks.Reduction = "mean",
        label_smoothing: float = 0.0,
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
    ) -> None:
        super().__init__()
        checks.reduction(reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.label_smoothing = label_smoothing
        self.options = _other_than_default(
            cross_entropy,
            z_loss=z_loss,
            softcap=softcap,
            temperature=temperature,
            on_empty=on_empty,
            inplace=inplace,
            outputs=outputs,
            axis=axis,
            dim=dim,
            check=check,
            group=group,
            classes=classes,
        )

    def forward(
        self,
        input: Tensor,
        target: Tensor | tuple[Tensor, Tensor],
        *,
        sample_weight: Tensor | None = None,
        normalizer: Any = None,
    ) -> Any:
        """Return the loss; sample weights and normaliser belong to a batch, not to the module."""
        return cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
            sample_weight=sample_weight,
            normalizer=normalizer,
            **self.options,
        )

    def extra_repr(self) -> str:
        """Name the options when the module is printed."""
        shown = {
            "ignore_index": self.ignore_index,
            "reduction": self.reduction,
            "label_smoothing": self.label_smoothing,
            **self.options,
        }
        return ", ".join(f"{name}={value!r}" for name, value in shown.items())


class LinearCrossEntropyLoss(_Loss):
    """A linear head and its cross-entropy in one; `bridle.torch.linear_cross_entropy`.

    Takes the place of `torch.nn.LinearCrossEntropyLoss` and reads its state.

    Parameters
    ----------
    in_features, num_classes : int
        Sizes of the head; ``linear.weight`` is (num_classes, in_features).
    bias : bool
        Whether the head has a bias.
    device, dtype
        Where and in what the head lies.
    weight : Tensor, (C,), optional
        A weight per class, kept as a buffer.
    reduction, ignore_index, label_smoothing
        As in `torch.nn.CrossEntropyLoss`.
    z_loss, softcap, temperature, on_empty, outputs, memory_budget, gradient_filter, unbiased
        As in `linear_cross_entropy`.
    check, shift
        As there.
    group, classes
        As there: ``num_classes`` is then the number of this rank's.

    Examples
    --------
    >>> loss = LinearCrossEntropyLoss(2, 3)
    >>> with torch.no_grad():
    ...     _ = loss.linear.weight.copy_(torch.tensor([[2.0, 0.0], [1.0, 3.0], [0.0, 0.0]]))
    >>> round(loss(torch.eye(2), torch.tensor([0, 1])).item(), 4)
    0.2513
    """

    weight: Tensor | None

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        bias: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
        reduction: checks.Reduction = "mean",
        weight: Tensor | None = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        z_loss: float = 0.0,
        softcap: float = 0.0,
        temperature: float = 1.0,
        on_empty: checks.OnEmpty = "nan",
        outputs: Sequence[str] | None = None,
        memory_budget: int | None = None,
        gradient_filter: float | None = None,
        unbiased: bool = True,
        check: bool | None = None,
        shift: int = 0,
        group: Any = None,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        checks.reduction(reduction)
        self.linear = torch.nn.Linear(in_features, num_classes, bias, device, dtype)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.label_smoothing = label_smoothing
        self.options = _other_than_default(
            linear_cross_entropy,
            z_loss=z_loss,
            softcap=softcap,
            temperature=temperature,
            on_empty=on_empty,
            outputs=outputs,
            memory_budget=memory_budget,
            gradient_filter=gradient_filter,
            unbiased=unbiased,
            check=check,
            shift=shift,
            group=group,
            classes=classes,
        )

    def forward(
        self,
        input: Tensor,
        target: Tensor | tuple[Tensor, Tensor],
        *,
        sample_weight: Tensor | None = None,
        normalizer: Any = None,
    ) -> Any:
        """Return the loss; sample weights and normaliser belong to a batch, not to the module."""
        return linear_cross_entropy(
            input,
            self.linear.weight,
            target,
            bias=self.linear.bias,
            class_weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
            sample_weight=sample_weight,
            normalizer=normalizer,
            **self.options,
        )

    def extra_repr(self) -> str:
        """Return what is shown between the parentheses of the module."""
        return f"ignore_index={self.ignore_index}, reduction={self.reduction!r}"


class BinaryCrossEntropyLoss(_Loss):
    """`bridle.torch.binary_cross_entropy` as a module, for `torch.nn.BCEWithLogitsLoss`.

    Parameters
    ----------
    weight : Tensor, optional
        A weight per entry, kept as a buffer.
    reduction : {"mean", "sum", "none"}
        What becomes of the losses of the entries.
    pos_weight : Tensor, optional
        A weight of the positive answers, kept as a buffer.

    Examples
    --------
    >>> BinaryCrossEntropyLoss()(torch.tensor([2.0, -1.0]), torch.tensor([1.0, 0.0]))
    tensor(0.2201)
    """

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        reduction: checks.Reduction = "mean",
        pos_weight: Tensor | None = None,
        check: bool | None = None,
    ) -> None:
        super().__init__()
        checks.reduction(reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)
        self.reduction = reduction
        self.check = check

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return binary_cross_entropy(
            input,
            target,
            self.weight,
            reduction=self.reduction,
            pos_weight=self.pos_weight,
            check=self.check,
        )


class QuadraticLoss(_Loss):
    """`bridle.torch.quadratic_loss` as a module.

    Examples
    --------
    >>> QuadraticLoss()(torch.tensor([[0.75, 0.25]]), torch.tensor([[1.0, 0.0]]))
    tensor(0.0625)
    """

    def __init__(self, *, reduction: checks.Reduction = "mean") -> None:
        super().__init__()
        checks.reduction(reduction)
        self.reduction = reduction

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return quadratic_loss(output, target, reduction=self.reduction)
