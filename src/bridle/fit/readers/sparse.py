"""Rows of sparse matrices, which are never made dense."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bridle import probabilities
from bridle.fit import arrays, threads
from bridle.fit.readers import all_rows, block_sizes
from bridle.fit.readers.reader import Answer, Reader, facts_of
from bridle.fit.readers.sparse_layout import (
    SparseFeatures,
    StoredRows,
    prepare_sparse,
    stored_rows,
)
from bridle.fit.requests import (
    InterceptValues,
    OfAllRows,
    Point,
    Question,
    Request,
)
from bridle.kernels import thresholds
from bridle.rows import Rows

Array = npt.NDArray[Any]
Sums = TypeVar("Sums")

# What the residuals of all rows may take to be kept from one request to the next.
_KEPT_BYTES = 2**28


@dataclass
class Kept:
    """The residuals and losses of a block's rows at the reader's last `InterceptValues`."""

    residual: Array  # (n, K): s (p − t)
    losses: Array  # (n,)


@dataclass
class SparseBlock:
    """Some rows of a sparse matrix: see `requests.Block`."""

    layout: SparseFeatures
    stored: StoredRows
    target: Array
    sample_weight: Array | None
    kept: Kept | None = None
    kept_at: Point | None = None

    @cached_property
    def row_weight(self) -> Array:
        """The sample weights, 1 where none were given."""
        return np.ones(len(self.target)) if self.sample_weight is None else self.sample_weight

    def counted(self) -> SparseBlock:
        """Return all rows: to choose some would cost more than they do."""
        return self

    def scores(self, point: Point) -> Array:
        """Return ``X W + b``."""
        scores = np.empty((len(self.target), len(point.offset)), point.weight.dtype)
        scores[:] = point.offset
        used = self._few_used(point.weight)
        if used is None:
            self.layout.add_product(self.stored.by_row, point.weight, scores)
        elif len(used):  # none has a weight where a fit begins
            scores += self.stored_columns(used) @ point.weight[used]
        return scores

    def _few_used(self, weight: Array) -> npt.NDArray[np.intp] | None:
        """Return the features that have weights, where they store a small part of the entries."""
        # A fit that makes no weight 0 shall not pay for looking at all of them.
        glanced = weight[:: thresholds.GLANCED_FEATURES].any(axis=1)
        if np.count_nonzero(glanced) > thresholds.FEW_USED * glanced.size:
            return None
        used = arrays.rows_with_numbers(weight)
        if not len(used):
            return used
        stored = self.stored.by_feature.indptr
        entries = int((stored[used + 1] - stored[used]).sum())
        return used if entries < thresholds.FEW_USED * stored[-1] else None

    def residual(self, point: Point) -> tuple[Array, Array]:
        """Return each row's loss, and ``s (p − t)``."""
        if self.kept is not None and _is_same_point(self.kept_at, point):
            return self.kept.losses, self.kept.residual
        scores = self.scores(point)
        losses = self.layout.residual_in_place(scores, self.target, self.sample_weight)
        return losses, scores

    def probabilities(self, point: Point) -> Array:
        """Return ``p``."""
        if self.kept is None or not _is_same_point(self.kept_at, point):
            return probabilities.softmax(self.scores(point))
        mass, weight = self.kept.residual.copy(), self.sample_weight
        if self.target.ndim == 1:
            mass[np.arange(len(mass)), self.target] += 1.0 if weight is None else weight
        else:
            mass += self.target if weight is None else self.target * weight[:, None]
        np.maximum(mass, 0, out=mass)
        return mass if weight is None else mass / np.where(weight > 0, weight, 1)[:, None]

    def residual_change(self, change: Array, point: Point) -> Array:
        """Return what a change of the scores does to the residual."""
        _, residual = self.residual(point)
        self.layout.multiply_by_hessian(change, residual, self.target, self.sample_weight)
        return change

    def loss_sums(self, losses: Array) -> tuple[float, float]:
        """Return ``Σ s · loss`` and the largest loss of a row that counts."""
        weight = self.sample_weight
        if weight is None:
            return float(losses.sum(dtype=np.float64)), float(losses.max(initial=0.0))
        counted = np.where(weight > 0, losses, 0.0)
        return float(weight @ counted), float(counted.max(initial=0.0))

    def transposed_product(self, matrix: Array) -> Array:
        """Return ``Xᵀ matrix``."""
        product = arrays.zeros_above_room(self.layout.shape[1], matrix)
        self.layout.add_product(self.stored.by_feature, matrix, product)
        return product

    def target_product(self, classes: int) -> Array:
        """Return ``Σ s x tᵀ``."""
        product = np.zeros((self.layout.shape[1], classes))
        self.layout.add_target_product(self.stored, self.target, self.row_weight, product)
        return product

    def squares_about(self, mean: Array) -> Array:
        """Return ``Σ s (x − mean)²``."""
        squares, stored_weight = np.zeros(len(mean)), np.zeros(len(mean))
        self.layout.add_squares(
            self.stored.by_feature, mean, self.row_weight, squares, stored_weight
        )
        # An entry that is not stored is a 0, at the distance of the mean.
        return np.asarray(squares + mean**2 * np.maximum(self.row_weight.sum() - stored_weight, 0))

    def square_sums(self, factor: Array) -> Array:
        """Return ``Σ factor x²`` and ``Σ factor x``."""
        rows = self._matrix
        return np.stack([factor @ rows.multiply(rows), factor @ rows])

    def scaled(
        self, shift: Array, scale: Array, factor: Array, places: Array | None = None
    ) -> Array:
        """Return the rows ``u · factor``, or some columns of them: dense, where there are few."""
        matrix = self._matrix
        if places is not None:
            matrix, shift, scale = matrix[:, places], shift[places], scale[places]
        dense = np.asarray(matrix.toarray())
        dense -= shift.astype(dense.dtype)
        dense *= factor.astype(dense.dtype)[:, None] / scale.astype(dense.dtype)
        return dense

    def thin_columns(self, places: Array | None) -> Any:
        """Return columns as they are stored, where rows have so few numbers that it is quicker."""
        matrix = self._matrix if places is None else self._matrix[:, places]
        pairs = float((np.diff(matrix.indptr).astype(np.float64) ** 2).sum())
        dense_pairs = matrix.shape[0] * float(matrix.shape[1]) ** 2
        return matrix if pairs * thresholds.THIN_PAIR < dense_pairs else None

    def stored_columns(self, places: Array) -> Any:
        """Return some columns of all rows as a sparse matrix, in CSC."""
        stored = self.stored.by_feature
        begins, lengths = stored.indptr[places], np.diff(stored.indptr)[places]
        ends = np.append(0, np.cumsum(lengths))
        at = np.repeat(begins - ends[:-1], lengths) + np.arange(ends[-1])
        shape = (len(self.target), len(places))
        return sparse.csc_array((stored.data[at], stored.indices[at], ends), shape=shape)

    def columns(self, places: Array) -> Array:
        """Return some columns of the rows that count."""
        values = np.asarray(self._matrix[:, places].toarray(), np.float64)
        return values if self.sample_weight is None else values[self.sample_weight > 0]

    @cached_property
    def _matrix(self) -> Any:
        data, indices, indptr = self.stored.by_row_arrays
        shape = (len(self.target), self.layout.shape[1])
        return sparse.csr_array((data, indices, indptr), shape=shape)

    def shift_kept_scores(self, step: Array) -> None:
        """Update what is kept to the scores plus ``step``: ``p exp(step)``, normalised."""
        assert self.kept is not None
        assert self.kept_at is not None
        target, weight = self.target, self.sample_weight
        shifted = self.probabilities(self.kept_at) * np.exp(step)
        norm = shifted.sum(axis=1)
        # A sample of weight 0 has a residual of 0, from which no probabilities follow; it counts
        # nowhere.
        np.divide(shifted, norm[:, None], out=shifted, where=norm[:, None] > 0)
        loss_change = np.log(norm, out=np.zeros_like(norm), where=norm > 0)
        if target.ndim == 1:
            shifted[np.arange(len(shifted)), target] -= 1
            loss_change -= step[target]
        else:
            shifted -= target
            loss_change -= target @ step
        if weight is not None:
            shifted *= weight[:, None]
        self.kept.residual, self.kept.losses = shifted, self.kept.losses + loss_change


def _is_same_point(one: Point | None, other: Point) -> bool:
    same_weight = one is not None and one.weight is other.weight
    return same_weight and np.array_equal(one.offset, other.offset)  # type: ignore[union-attr] # not None


class SparseReader(Reader):
    """All rows as a sparse matrix of one process."""

    def __init__(
        self,
        features: Rows,
        target: Array,
        sample_weight: Array | None,
        classes: int,
        memory_budget: int | None = None,
        *,
        first_row: int = 0,
        layout: SparseFeatures | None = None,
    ) -> None:
        self.features, self.target, self.sample_weight = features, target, sample_weight
        self.classes, self.first_row = classes, first_row
        self.memory_budget = memory_budget or block_sizes.default_memory(features)
        self.layout = prepare_sparse(features, classes, first_row) if layout is None else layout
        self.facts = facts_of(
            features,
            target,
            np.empty(0),
            all_rows_on_host=True,
            keeps_residuals=len(features) * classes * 8 <= _KEPT_BYTES,
            is_compiled=self.layout.compiled,
        )
        self._kept: list[Kept] = []
        self._kept_at: Point | None = None

    def answer(self, question: Question[Answer]) -> Answer:
        """Return the answer to any question."""
        if isinstance(question, OfAllRows):
            return all_rows.answer(self, question)  # type: ignore[no-any-return]
        if isinstance(question, InterceptValues) and self.facts.keeps_residuals:
            self._keep(question)
        return super().answer(question)

    def summed(self, request: Request[Sums]) -> Sums:
        """Return a request's sums over the rows."""
        if len(self.layout.blocks) == 1 and request.rows is None and request.most_rows is None:
            # Products with many features are large: nothing is added to zeros first.
            (block,) = self.blocks(request)
            return request.sums(block)
        return super().summed(request)

    def blocks(self, question: Question[Any]) -> Iterator[SparseBlock]:
        """Yield the rows that a question is about."""
        if question.rows is None and question.most_rows is None:
            for place, stored in enumerate(self.layout.blocks):
                kept = self._kept[place] if self._kept else None
                target_and_weight = self.target[stored.rows], self._weight(stored.rows)
                yield SparseBlock(self.layout, stored, *target_and_weight, kept, self._kept_at)
            return
        yield from self._chosen_blocks(question)

    def _chosen_blocks(self, question: Question[Any]) -> Iterator[SparseBlock]:
        rows = self.local_rows(question.rows, len(self.features))
        chosen = np.arange(len(self.features)) if rows is None else rows
        features = self.features if rows is None else self.features.take(rows)
        columns = question.columns(features.shape[1])
        most_rows = question.most_rows or block_sizes.block_rows(
            features.shape[1], columns, self.memory_budget
        )
        compiled = self.layout.compiled
        layout = SparseFeatures(features.shape, [], compiled)
        for which, features_block in features.blocks(most_rows, question.dtype or features.dtype):
            indices = chosen[which]
            yield SparseBlock(
                layout,
                stored_rows(which, features_block, compiled=compiled),
                self.target[indices],
                self._weight(indices),
            )

    def _weight(self, rows: Any) -> Array | None:
        return None if self.sample_weight is None else self.sample_weight[rows]

    def _keep(self, question: InterceptValues) -> None:
        """Bring what is kept to the point, without a product where only the offset differs."""
        point, previous = question.point, self._kept_at
        if previous is not None and previous.weight is point.weight:
            if not _is_same_point(previous, point):
                for block in self.blocks(question):
                    block.shift_kept_scores(point.offset - previous.offset)
        else:
            self._kept, self._kept_at = [], None  # its memory is free for the next
            kept = []
            for block in self.blocks(question):
                losses, residual = block.residual(point)
                kept.append(Kept(residual, losses))
            self._kept = kept
        self._kept_at = point

    def threads(self) -> AbstractContextManager[Any]:
        """Let the libraries' products have one thread: the kernels have their own."""
        (count, depth), classes = self.features.shape, self.classes
        if threads.is_tiny_fit(count, depth, classes):
            return nullcontext()
        return threads.one_thread()
