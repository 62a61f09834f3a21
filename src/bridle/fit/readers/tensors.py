"""Rows that are PyTorch tensors: all sums are made and left on their device.

A device that has kernels for class indices makes losses and residual by them; elsewhere the same is
done by PyTorch's own operations.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.fit import arrays
from bridle.fit.precision import Precision
from bridle.fit.readers import block_sizes
from bridle.fit.readers.dense import DenseReader
from bridle.fit.readers.reader import Answer, Reader, facts_of
from bridle.fit.requests import (
    Point,
    Question,
    Statistics,
    Values,
    ValueSums,
    WholeHessian,
)
from bridle.kernels import choose
from bridle.rows import Rows
from bridle.tensors import on_host

Array = npt.NDArray[Any]
Tensor = Any
Sums = TypeVar("Sums")


@dataclass
class TensorBlock:
    """Some rows of a tensor: see `requests.Block`."""

    features: Tensor  # (n, D)
    target: Tensor
    sample_weight: Tensor | None

    @cached_property
    def row_weight(self) -> Tensor:
        """The sample weights, 1 where none were given."""
        if self.sample_weight is not None:
            return self.sample_weight
        torch: Any = sys.modules["torch"]
        return torch.ones(len(self.target), dtype=torch.float64, device=self.target.device)

    def counted(self) -> TensorBlock:
        """Return all rows: to choose some would make the host wait."""
        return self

    def scores(self, point: Point) -> Tensor:
        """Return ``X W + b``."""
        return sys.modules["torch"].addmm(point.offset, self.features, point.weight)

    def residual(self, point: Point) -> tuple[Tensor, Tensor]:
        """Return each row's loss, and ``s (p − t)``."""
        torch: Any = sys.modules["torch"]
        losses, residual = _losses_and_residual(torch, self.scores(point), self.target)
        if self.sample_weight is not None:
            residual *= self.sample_weight[:, None].to(residual.dtype)
        return losses, residual

    def probabilities(self, point: Point) -> Tensor:
        """Return ``p``."""
        return arrays.softmax(self.scores(point))

    def residual_change(self, change: Tensor, point: Point) -> Tensor:
        """Return what a change of the scores does to the residual."""
        mass = self.probabilities(point).to(change.dtype)
        change = change - (mass * change).sum(1, keepdim=True)
        return change * mass * self.row_weight[:, None].to(change.dtype)

    def loss_sums(self, losses: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``Σ s · loss`` and the largest loss of a row that counts, on the device."""
        torch: Any = sys.modules["torch"]
        if self.sample_weight is None:
            return losses.sum(dtype=torch.float64), losses.max().double()
        counted = torch.where(self.sample_weight > 0, losses.double(), 0.0)
        return counted @ self.sample_weight, counted.max()

    def transposed_product(self, matrix: Tensor) -> Tensor:
        """Return ``Xᵀ matrix``."""
        return self.features.T @ matrix

    def target_product(self, classes: int) -> Tensor:
        """Return ``Σ s x tᵀ``."""
        target = self.target
        if target.ndim == 1:
            target = sys.modules["torch"].nn.functional.one_hot(target, classes)
        return self.features.T @ (target * self.row_weight[:, None])

    def squares_about(self, mean: Tensor) -> Tensor:
        """Return ``Σ s (x − mean)²``."""
        return self.row_weight @ (self.features - mean) ** 2

    def square_sums(self, factor: Tensor) -> Tensor:
        """Return ``Σ factor x²`` and ``Σ factor x``."""
        torch: Any = sys.modules["torch"]
        rows = self.features.double()
        return torch.stack([factor @ (rows * rows), factor @ rows])

    def scaled(
        self, shift: Array, scale: Array, factor: Tensor, places: Array | None = None
    ) -> Tensor:
        """Return the rows ``u · factor``, or some columns of them."""
        dtype, features = self.features.dtype, self.features
        if places is not None:
            features, shift, scale = features[:, places], shift[places], scale[places]
        shift, scale = (arrays.on_device_of(each, features).to(dtype) for each in (shift, scale))
        return (features - shift) * (factor.to(dtype)[:, None] / scale)

    def thin_columns(self, places: Array | None) -> None:
        """Return nothing: these rows are dense."""

    def columns(self, places: Array) -> Array:
        """Return some columns of the rows that count; they alone come to the host."""
        values = on_host(self.features[:, places])
        if self.sample_weight is not None:
            values = values[on_host(self.sample_weight) > 0]
        return np.asarray(values)


class TensorReader(Reader):
    """All rows as tensors on one device."""

    def __init__(
        self,
        features: Rows,
        target: Array,
        sample_weight: Array | None,
        classes: int,
        memory_budget: int | None = None,
        *,
        first_row: int = 0,
    ) -> None:
        self.features, self.classes, self.first_row = features, classes, first_row
        self.target, self.sample_weight = (
            features.on_device_of(target),
            features.on_device_of(sample_weight),
        )
        self.memory_budget = memory_budget or block_sizes.default_memory(features)
        self.facts = facts_of(features, target, features.on_device_of(np.empty(0)))

    def answer(self, question: Question[Answer]) -> Answer:
        """Return the answer to a request."""
        if isinstance(question, WholeHessian):
            return self._host_reader.answer(question)  # type: ignore[return-value]  # the request's sums
        if not isinstance(question, Values):
            return super().answer(question)
        with _products_in(question.point.precision, self.features.device):
            total: ValueSums = self.summed(question)
        # The one wait of a pass: both numbers at once.
        both = sys.modules["torch"].stack([total.loss, total.worst_loss])
        total.loss, total.worst_loss = both.tolist()
        return total  # type: ignore[return-value]  # the request's sums

    def blocks(self, question: Question[Any]) -> Iterator[TensorBlock]:
        """Yield the rows that a question is about."""
        features, target, weight = self.features, self.target, self.sample_weight
        rows = self.local_rows(question.rows, len(features))
        if rows is not None:
            features, target = features.take(rows), target[rows]
            weight = None if weight is None else weight[rows]
        depth, dtype = features.shape[1], question.dtype or features.dtype
        size = block_sizes.tensor_rows(depth, question.columns(depth), self.memory_budget)
        for which, block in features.tensor_blocks(size, dtype):
            if isinstance(question, Statistics):
                _check_finite(block, self.first_row + which.start)
            yield TensorBlock(block, target[which], None if weight is None else weight[which])

    @cached_property
    def _host_reader(self) -> DenseReader:
        """The same rows for what is small wherever they are, block by block on the host."""
        target_and_weight = on_host(self.target), on_host(self.sample_weight)
        return DenseReader(
            self.features, *target_and_weight, self.classes, first_row=self.first_row
        )


def _check_finite(block: Tensor, first: int) -> None:
    if not bool(sys.modules["torch"].isfinite(block).all()):
        checks.finite_rows(on_host(block), "X", first)


def _losses_and_residual(torch: Any, scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row's loss and its probabilities less its target, over the scores."""
    if target.ndim == 2:
        log_probability = torch.log_softmax(scores, dim=1)
        target = target.to(scores.dtype)
        losses = -(target * log_probability).sum(dim=1)
        return losses, log_probability.exp_().sub_(target)
    dtype, shape = str(scores.dtype).removeprefix("torch."), tuple(scores.shape)
    backend = choose.backend(scores.device.type, dtype, shape)
    if backend is not None and backend.index_loss is not None:
        module = backend.index_loss()
        loss = module.IndexLoss(target, None, None, ignore_index=-1)
        return module.losses(scores, loss, out=scores)[0], scores
    log_probability = torch.log_softmax(scores, dim=1)
    losses = -log_probability.gather(1, target[:, None])[:, 0]
    # Beside a probability near 1, p − 1 would be little more than rounding.
    return losses, log_probability.exp_().scatter_(
        1, target[:, None], torch.expm1(-losses)[:, None]
    )


@contextmanager
def _products_in(precision: Precision, device: Any) -> Iterator[None]:
    """Let float32 products round their factors, or not; the user's setting comes back.

    It is one for the process: products of other threads are meanwhile made the same way.
    """
    if device.type != "cuda":
        yield
        return
    settings = sys.modules["torch"].backends.cuda.matmul
    # From PyTorch 2.9 on, which refuses to mix the two ways of saying it.
    named = hasattr(settings, "fp32_precision")
    name = "fp32_precision" if named else "allow_tf32"
    values = ("ieee", "tf32") if named else (False, True)
    before = getattr(settings, name)
    setattr(settings, name, values[precision.rounds_factors])
    try:
        yield
    finally:
        setattr(settings, name, before)
