"""One outcome per row: all that the judge needs to know of scores or probabilities.

The N × C input is read in blocks of rows, each widened to float64, so that figures depend neither
on the dtype's rounding of a sum nor on the layout. What is kept is a few numbers a row; every
figure of the room is computed from those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bridle import checks, probabilities
from bridle.rows import is_tensor, on_host

Array = npt.NDArray[Any]
InputKind = Literal["probabilities", "scores"]

_NAME = "scores_or_probabilities"
# A block's float64 copy (512 kB) and what is made of it stay in cache.
_BLOCK_NUMBERS = 2**16
# Rows that miss a sum of 1 by less than this were meant as probabilities: three decimals of a
# hundred classes miss by 0.05, independent scores in [0, 1] seldom come so close.
_NEARLY_ONE = 0.05


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What became of each row; arrays are of shape (N,).

    Attributes
    ----------
    input_kind : {"probabilities", "scores"}
        How the input was taken.
    classes : tuple
        The label of each class; 0 … C−1 if none were given.
    target, predicted : integer arrays
        Class indices; the prediction is the largest entry, ties go to the lowest index.
    rank : integer array
        How many classes stand before the target's in the order (score descending, index
        ascending): 0 where the prediction is right, below k where it is in the top k.
    probability, surprisal : float64 arrays
        ``p`` at the target, and ``−log p`` in nats: +inf where ``p = 0``, never clipped.
    confidence : float64 array
        The probability of the predicted class.
    squared_error : float64 array
        ``Σ_c (p_c − y_c)²`` with ``y`` the target as one-hot.
    """

    input_kind: InputKind
    classes: tuple[checks.Label, ...]
    target: Array
    predicted: Array
    rank: Array
    probability: Array
    surprisal: Array
    confidence: Array
    squared_error: Array

    @property
    def correct(self) -> Array:
        """Where the predicted class is the target."""
        return np.asarray(self.predicted == self.target)


def row_outcomes(
    scores_or_probabilities: npt.ArrayLike,
    target: npt.ArrayLike | Iterable[object],
    *,
    classes: Iterable[object] | None = None,
) -> Outcomes:
    """Return what became of each row of scores or probabilities.

    Parameters and errors are those of `bridle.evaluate`.

    Examples
    --------
    >>> found = row_outcomes([[0.1, 0.3, 0.6], [0.2, 0.3, 0.5]], [0, 2])
    >>> found.surprisal.round(6), found.rank, found.input_kind
    (array([2.302585, 0.693147]), array([2, 0]), 'probabilities')
    """
    given: Any = scores_or_probabilities
    values = _checked_values(on_host(given))
    dtype = values.dtype.name
    if is_tensor(given):  # what PyTorch's bfloat16 was read into sums better
        dtype = str(given.dtype).removeprefix("torch.")
    target = on_host(target)
    count, columns = values.shape[0], 2 if values.ndim == 1 else values.shape[1]
    if classes is None:
        labels: tuple[checks.Label, ...] = tuple(range(columns))
        indices = checks.class_indices(target, count, columns)
    else:
        labels = checks.class_labels(classes, columns)
        indices = checks.labelled_target(target, labels, count)
    kind = _input_kind(values, dtype)
    parts = [
        _block_outcomes(block, indices[start : start + len(block)], kind, start)
        for start, block in _blocks(values, kind)
    ]
    joined = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Outcomes(kind, labels, indices, *joined)


def _checked_values(scores_or_probabilities: npt.ArrayLike) -> Array:
    values = checks.real_numbers(scores_or_probabilities, _NAME)
    if values.ndim not in (1, 2) or values.size == 0:
        raise checks.InputError(
            f"{_NAME}: expected shape (N, C), or (N,) for two classes, with at least one row and "
            f"one class, found shape {values.shape}"
        )
    return values


def _blocks(values: Array, kind: InputKind) -> Iterator[tuple[int, Array]]:
    """Yield ``(first row, block)``: C-contiguous float64 copies with one column per class."""
    columns = 2 if values.ndim == 1 else values.shape[1]
    step = max(1, _BLOCK_NUMBERS // columns)
    for start in range(0, values.shape[0], step):
        block = values[start : start + step].astype(np.float64, order="C")
        yield start, block if block.ndim == 2 else _two_columns(block, kind)


def _two_columns(second: Array, kind: InputKind) -> Array:
    """Return both classes' columns from the probability or the score of the second one."""
    if kind == "probabilities":
        return np.stack([1 - second, second], axis=1)
    # [0, z] shifted so that its maximum is 0: z = +inf is then certainty, not inf − inf.
    return np.stack([np.minimum(-second, 0), np.minimum(second, 0)], axis=1)


def _input_kind(values: Array, dtype: str) -> InputKind:
    """Tell probabilities from scores; refuse rows that were meant as the former but are not.

    All entries in [0, 1] and half of the rows summing nearly to 1 is what "meant" means.
    """
    tolerance = checks.sum_tolerance(dtype, values.shape[-1])
    near, first_bad = 0, None
    for start, block in _blocks(values, "probabilities"):
        lowest = block.min()
        if not (lowest >= -tolerance and block.max() <= 1 + tolerance):
            return "scores"  # a NaN too: it is found, and named, where its surprisal is taken
        miss = np.abs(block.sum(axis=1) - 1)
        near += int(np.count_nonzero(miss <= _NEARLY_ONE))
        bad = miss > tolerance
        if lowest < 0:
            bad |= (block < 0).any(axis=1)
        if first_bad is None and bad.any():
            row = int(np.argmax(bad))
            first_bad = start + row, block[row].copy()
    if first_bad is not None and 2 * near >= values.shape[0]:
        row, entries = first_bad
        checks.probability_row(entries, _NAME, row)
    return "probabilities" if first_bad is None else "scores"


def _block_outcomes(
    block: Array, target: Array, kind: InputKind, first_row: int
) -> tuple[Array, ...]:
    rows = np.arange(len(block))
    predicted = probabilities.predicted_class(block)
    rank = _rank(block, target)
    if kind == "scores":
        log_probability = probabilities.log_softmax(block)
        surprisal = 0 - log_probability[rows, target]
        _refuse_broken(block, surprisal, first_row)
        distribution = np.exp(log_probability, out=log_probability)
    else:
        distribution = np.minimum(block, 1, out=block)  # above 1 is the dtype's rounding
        with np.errstate(divide="ignore"):  # probability 0 at the target: +inf, by contract
            surprisal = 0 - np.log(distribution[rows, target])
    probability = distribution[rows, target]
    confidence = distribution[rows, predicted]
    # 1 − p before squaring: expanding the square would cancel where p is near 1.
    distribution[rows, target] -= 1
    squared_error = np.einsum("nc,nc->n", distribution, distribution)
    return predicted, rank, probability, surprisal, confidence, squared_error


def _rank(block: Array, target: Array) -> Array:
    own = block[np.arange(len(block)), target][:, None]
    ahead = np.asarray(np.count_nonzero(block > own, axis=1))
    tied = block == own
    if np.count_nonzero(tied) > len(block):
        before = np.arange(block.shape[1]) < target[:, None]
        ahead += np.count_nonzero(tied & before, axis=1)
    return ahead


def _refuse_broken(block: Array, surprisal: Array, first_row: int) -> None:
    broken = np.isnan(surprisal)
    if broken.any():
        row = int(np.argmax(broken))
        checks.score_row(block[row], _NAME, first_row + row)
