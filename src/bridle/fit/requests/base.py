r"""What may be asked of the data: sums over its rows, and how they begin, grow and merge.

Whoever needs the data never reads a row. A solver yields *requests*; a *reader* (`readers`) answers
them from wherever the rows are. A request knows

``empty``
    what its sums are before the first row;
``sums``
    what a block of rows adds up to, in the block's own arithmetic (see `Block`);
``merge``
    the sums of two disjoint sets of rows, in float64; the first may be reused for it.

So an answer does not depend on how rows are cut or shared out, but for the rounding of sums. Data
in a new place need a new reader, and nothing else.

Conventions
-----------
============== ========== ====================================================================
name           shape      meaning
============== ========== ====================================================================
``x``          (D,)       a row of the features, as stored
``u``          (D,)       the same centred and scaled: ``(x − shift) / scale``
``t``          (K,)       its target as a distribution
``s``                     its sample weight
``p``          (K,)       its probabilities at a `Point`, ``softmax(x W + b)``
============== ========== ====================================================================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from bridle.fit.precision import FLOAT64, Precision

Array = Any  # NumPy's, or tensors where the features are: see `arrays`
Answer = TypeVar("Answer")
Sums = TypeVar("Sums")
Result = TypeVar("Result")


class Point(NamedTuple):
    """Where sums are asked for: weights on the features as stored, in the products' dtype."""

    weight: Array  # (D, K): scores are features @ weight + offset
    offset: Array  # (K,)
    precision: Precision = FLOAT64


class Block(Protocol):
    """Some rows as a reader has them at hand: dense arrays, tensors or a sparse matrix."""

    target: Array  # (n,) class indices, or (n, K) distributions

    @property
    def row_weight(self) -> Array:
        """The sample weights (n,), 1 where none were given; float64."""

    def counted(self) -> Block:
        """Return the rows with a weight, where that is cheaper than working on all."""

    def scores(self, point: Point) -> Array:
        """Return ``X W + b`` (n, K), which may be overwritten until the next are asked for."""

    def residual(self, point: Point) -> tuple[Array, Array]:
        """Return each row's loss (n,), without its weight, and ``s (p − t)``; to be read only."""

    def probabilities(self, point: Point) -> Array:
        """Return ``p`` (n, K); of a row without weight, anything."""

    def residual_change(self, change: Array, point: Point) -> Array:
        """Return what a change of the scores does to the residual: ``s (diag p − p pᵀ)`` of it."""

    def loss_sums(self, losses: Array) -> tuple[Any, Any]:
        """Return ``Σ s · loss`` and the largest loss of a row that counts."""

    def transposed_product(self, matrix: Array) -> Array:
        """Return ``Xᵀ matrix`` (D, K) of a matrix (n, K), in its dtype."""

    def target_product(self, classes: int) -> Array:
        """Return ``Σ s x tᵀ`` (D, K) in float64."""

    def squares_about(self, mean: Array) -> Array:
        """Return ``Σ s (x − mean)²`` (D,) in float64."""

    def square_sums(self, factor: Array) -> Array:
        """Return ``Σ factor x²`` and ``Σ factor x`` (2, D) in float64."""

    def scaled(
        self,
        shift: Array,
        scale: Array,
        factor: Array,
        places: npt.NDArray[np.intp] | None = None,
    ) -> Array:
        """Return the rows ``u · factor``, or some columns, dense, in the features' dtype."""

    def thin_columns(self, places: npt.NDArray[np.intp] | None) -> Any:
        """Return some columns as a sparse matrix, or None where it is quicker to have them dense.

        That is, for products of the columns with each other.
        """

    def columns(self, places: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
        """Return some columns of the rows that count, dense, in float64, on the host."""


@dataclass(frozen=True)
class Facts:
    """What a solver knows of the data before it asks: no sum over rows, but what they are like."""

    count: int  # rows, over all places
    width: int  # features
    dtype: np.dtype[Any]  # the narrowest float that holds every number of them
    nbytes: int  # what they take
    is_sparse: bool
    has_indices: bool  # targets are class indices; else distributions
    like: Array  # an empty array of the kind and on the device that sums come on
    all_rows_on_host: bool = False  # in one process: `OfAllRows` is answered
    keeps_residuals: bool = False  # sums at an intercept moved from the last are cheap
    streamed_to: str | None = None  # a device, to which features on the host go block by block
    is_compiled: bool = False  # products may be narrower than the features, and gain by it


class Question(ABC, Generic[Answer]):
    """What a reader answers."""

    rows: npt.NDArray[np.intp] | None = None  # which of all, in rising order; None: all
    dtype: np.dtype[Any] | None = None  # that features are read in; None: their own
    most_rows: int | None = None  # of a block

    @abstractmethod
    def columns(self, width: int) -> int:
        """Return how many numbers are held for a row, beside its ``width`` features."""

    def multiplications(self, width: int) -> int:
        """Return how many a row takes, roughly."""
        return width * self.columns(width)


class OfAllRows(Question[Answer]):
    """A question about single rows, not a sum: asked only where `Facts.all_rows_on_host`."""

    dtype = np.dtype(np.float64)


class Request(Question[Sums]):
    """A question about all rows, or some, whose answer is a sum over them."""

    @abstractmethod
    def empty(self, like: Array) -> Sums:
        """Return the sums of no rows, of the kind and on the device of an array."""

    @abstractmethod
    def sums(self, block: Any) -> Sums:
        """Return the sums over a `Block`."""

    @abstractmethod
    def merge(self, one: Sums, other: Sums) -> Sums:
        """Return the sums over two disjoint sets of rows; ``one`` may be reused."""


# What asks for sums, one after the other, and returns a result: whatever drives several of them can
# answer all in one pass.
Steps = Generator[Question[Any], Any, Result]


def ask(question: Question[Answer]) -> Steps[Answer]:
    """Yield a question and return its answer; for the answer's type."""
    answer: Answer = yield question
    return answer
