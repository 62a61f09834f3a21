"""Rows of dense arrays, in memory or mapped from files.

Few classes go through a kernel that reads each row once for both of its products; otherwise the
products are a library's, block by block, with the residual made in place between them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bridle import checks, probabilities
from bridle.fit import threads
from bridle.fit.precision import Precision
from bridle.fit.readers import all_rows, block_sizes
from bridle.fit.readers.reader import Answer, Reader, facts_of
from bridle.fit.requests import (
    OfAllRows,
    Point,
    Question,
    Statistics,
    Values,
    ValueSums,
)
from bridle.kernels import thresholds
from bridle.kernels.numpy import reference
from bridle.kernels.numpy import sparse as sparse_reference
from bridle.kernels.processors import free, in_order
from bridle.rows import Features, Rows

Array = npt.NDArray[Any]


@dataclass
class DenseBlock:
    """Some rows of an array: see `requests.Block`."""

    features: Array  # (n, D)
    target: Array
    sample_weight: Array | None
    buffers: threading.local | None = None  # holds each thread's scores, reused by all blocks

    @cached_property
    def row_weight(self) -> Array:
        """The sample weights, 1 where none were given."""
        return np.ones(len(self.target)) if self.sample_weight is None else self.sample_weight

    def counted(self) -> DenseBlock:
        """Return the rows with a weight: those held out are cheaper to leave out."""
        weight = self.sample_weight
        if weight is None or weight.all():
            return self
        counted = weight != 0
        counted_rows = self.features[counted], self.target[counted], weight[counted]
        return DenseBlock(*counted_rows, self.buffers)

    def scores(self, point: Point) -> Array:
        """Return ``X W + b``."""
        scores = self._score_buffer(point.weight.shape[1], point.weight.dtype)
        np.matmul(self.features, point.weight, out=scores)
        scores += point.offset
        return scores

    def _score_buffer(self, classes: int, dtype: np.dtype[Any]) -> Array:
        """Return a reused buffer: new memory costs a page fault for each of its pages."""
        count = len(self.target)
        if self.buffers is None:
            return np.empty((count, classes), dtype)
        buffer: Array | None = getattr(self.buffers, "scores", None)
        if (
            buffer is None
            or len(buffer) < count
            or buffer.shape[1] != classes
            or buffer.dtype != dtype
        ):
            buffer = self.buffers.scores = np.empty((count, classes), dtype)
        return buffer[:count]

    def residual(self, point: Point) -> tuple[Array, Array]:
        """Return each row's loss, and ``s (p − t)``."""
        scores, weight = self.scores(point), self.sample_weight
        row_weight = None if weight is None else weight.astype(scores.dtype)
        return reference.residual_in_place(scores, self.target, row_weight), scores

    def probabilities(self, point: Point) -> Array:
        """Return ``p``."""
        return probabilities.softmax(self.scores(point))

    def residual_change(self, change: Array, point: Point) -> Array:
        """Return what a change of the scores does to the residual."""
        change = change.copy()  # the point's scores may come to the same memory
        _, residual = self.residual(point)
        sparse_reference.multiply_by_hessian(change, residual, self.target, self.sample_weight)
        return change

    def loss_sums(self, losses: Array) -> tuple[float, float]:
        """Return ``Σ s · loss`` and the largest loss of a row that counts."""
        weight = self.sample_weight
        if weight is None:
            return float(losses.sum(dtype=np.float64)), float(losses.max(initial=0.0))
        return float(np.vdot(losses, weight)), float(losses.max(initial=0.0, where=weight > 0))

    def transposed_product(self, matrix: Array) -> Array:
        """Return ``Xᵀ matrix``."""
        return np.asarray(self.features.T @ matrix)

    def target_product(self, classes: int) -> Array:
        """Return ``Σ s x tᵀ``."""
        if self.target.ndim == 2:
            return np.asarray(self.features.T @ (self.target * self.row_weight[:, None]))
        indices = (self.row_weight, (self.target, np.arange(len(self.target))))
        by_class = sparse.csr_array(indices, shape=(classes, len(self.target)))
        return np.asarray((by_class @ self.features).T)

    def squares_about(self, mean: Array) -> Array:
        """Return ``Σ s (x − mean)²``."""
        squares = self.features - mean
        squares *= squares
        # Not by a product: a library's threads would wait for each other.
        return np.asarray(np.einsum("n,nd->d", self.row_weight, squares))

    def square_sums(self, factor: Array) -> Array:
        """Return ``Σ factor x²`` and ``Σ factor x``."""
        return np.stack([factor @ (self.features * self.features), factor @ self.features])

    def scaled(
        self, shift: Array, scale: Array, factor: Array, places: Array | None = None
    ) -> Array:
        """Return the rows ``u · factor``, or some columns of them."""
        dtype, features = self.features.dtype, self.features
        if places is not None:
            features, shift, scale = features[:, places], shift[places], scale[places]
        centred = features - shift.astype(dtype)
        centred *= factor.astype(dtype)[:, None] / scale.astype(dtype)
        return np.asarray(centred)

    def thin_columns(self, places: Array | None) -> None:
        """Return nothing: these rows are dense."""

    def columns(self, places: Array) -> Array:
        """Return some columns of the rows that count."""
        values = self.features[:, places]
        return np.asarray(values if self.sample_weight is None else values[self.row_weight > 0])


class DenseReader(Reader):
    """All rows as arrays of one process."""

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
        self.features, self.target, self.sample_weight = features, target, sample_weight
        self.classes, self.first_row = classes, first_row
        self.memory_budget = memory_budget or block_sizes.default_memory(features)
        self.facts = facts_of(features, target, np.empty(0), all_rows_on_host=True)

    def answer(self, question: Question[Answer]) -> Answer:
        """Return the answer to any question."""
        if isinstance(question, OfAllRows):
            return all_rows.answer(self, question)  # type: ignore[no-any-return]
        if isinstance(question, Values):
            return self.answer_together([(self, question)])[0]  # type: ignore[no-any-return]
        multiplications = self.facts.count * question.multiplications(self.facts.width)
        with threads.large(multiplications):
            return super().answer(question)

    def blocks(self, question: Question[Any]) -> Iterator[DenseBlock]:
        """Yield the rows that a question is about."""
        features, target, weight = self.features, self.target, self.sample_weight
        rows = self.local_rows(question.rows, len(features))
        if rows is not None:
            features, target = features.take(rows), target[rows]
            weight = None if weight is None else weight[rows]
        for which, block in self._cut(features, question):
            if isinstance(question, Statistics):
                checks.finite_rows(block, "X", self.first_row + which.start)
            yield DenseBlock(block, target[which], None if weight is None else weight[which])

    def _cut(self, features: Rows, question: Question[Any]) -> Iterator[tuple[slice, Array]]:
        dtype = question.dtype or features.dtype
        if question.most_rows is not None:
            return features.blocks(question.most_rows, dtype)
        columns = question.columns(features.shape[1])
        return block_sizes.blocks_of(features, columns, dtype, self.memory_budget)

    def answer_together(self, asked: Sequence[tuple[Any, Question[Any]]]) -> list[Any]:
        """Answer questions of readers with the same features: `Values` in one pass over them."""
        answers: dict[int, Any] = {}
        passes: dict[Precision, dict[int, tuple[DenseReader, Values]]] = {}
        for place, (reader, question) in enumerate(asked):
            if isinstance(question, Values):
                precision = question.point.precision
                passes.setdefault(precision, {})[place] = (reader, question)
            else:
                answers[place] = reader.answer(question)
        for requests in passes.values():
            pass_answers = values_in_one_pass(list(requests.values()))
            answers.update(zip(requests, pass_answers, strict=True))
        return [answers[place] for place in range(len(asked))]

    def shares_passes_with(self, other: Reader) -> bool:
        """Tell whether the features are the same: targets and weights may differ."""
        return (
            isinstance(other, DenseReader)
            and other.features is self.features
            and other.classes == self.classes
        )

    def threads(self) -> AbstractContextManager[Any]:
        """Let products have as many threads as suit a fit; see `threads`."""
        (count, depth), classes = self.features.shape, self.classes
        multiplications = count * depth * classes
        if threads.is_tiny_fit(count, depth, classes):
            return nullcontext()
        small = multiplications < thresholds.THREADED_PRODUCT
        if small or self.reads_once() or self.in_pieces():
            return threads.one_thread()
        return threads.limited(free())

    def reads_once(self) -> bool:
        """Tell whether features go through the kernel that reads each row once."""
        fits_kernel = block_sizes.reads_once(*self.features.shape, self.classes)
        return self.facts.has_indices and fits_kernel

    def in_pieces(self) -> bool:
        """Tell whether a pass is shared out to threads in pieces of rows."""
        return block_sizes.in_pieces(*self.features.shape, self.classes, self.memory_budget)


def values_in_one_pass(asked: Sequence[tuple[DenseReader, Values]]) -> list[ValueSums]:
    """Return the sums of requests of one precision, by readers with the same features."""
    reader, first = asked[0]
    features, dtype = reader.features, first.dtype
    (count, depth), classes = features.shape, reader.classes
    budget = sum(answering.memory_budget for answering, _ in asked)
    totals = [request.empty(answering.facts.like) for answering, request in asked]

    def add(piece_sums: list[ValueSums]) -> None:
        for (_, request), total, sums in zip(asked, totals, piece_sums, strict=True):
            request.merge(total, sums)

    kernel = all(answering.reads_once() for answering, _ in asked)
    piece_work, workers = _piece_sums(asked, kernel=kernel), 1
    if kernel or not block_sizes.in_pieces(count, depth, classes, budget):
        # The kernel has threads of its own, and so have large products.
        blocks = block_sizes.blocks_of(features, classes, dtype, budget)
    else:
        size = block_sizes.piece_rows(count, depth, classes, budget)
        blocks = features.blocks(size, dtype, numbers=budget // 64 // 2)
        workers = free()
    in_order(blocks, piece_work, add, workers)
    return totals


def _piece_sums(
    asked: Sequence[tuple[DenseReader, Values]], *, kernel: bool
) -> Callable[[tuple[slice, Features]], list[ValueSums]]:
    """Return what is done with a piece of the rows; each thread has scores of its own."""
    buffers = threading.local()

    def sums(piece: tuple[slice, Features]) -> list[ValueSums]:
        rows, features = piece
        piece_sums = []
        for reader, request in asked:
            weight = None if reader.sample_weight is None else reader.sample_weight[rows]
            block = DenseBlock(features, reader.target[rows], weight, buffers)
            if kernel and features.flags.c_contiguous:
                piece_sums.append(_one_pass_sums(block, request.point))
            else:
                piece_sums.append(request.sums(block))
        return piece_sums

    return sums


def _one_pass_sums(block: DenseBlock, point: Point) -> ValueSums:
    from bridle.kernels.numba import dense_pass

    sums = dense_pass.pass_sums(
        block.features, point.weight, point.offset, block.target, block.sample_weight
    )
    loss, worst_loss, product, residual = sums
    return ValueSums(loss, worst_loss, residual, product)
