"""One outcome per row: all that the judge needs to know of scores or probabilities.

The N × C input is read in blocks of rows, each widened to float64, so that figures depend neither
on the dtype's rounding of a sum nor on the layout. What is kept is a few numbers a row; every
figure of the room is computed from those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from bridle import checks, mapped, probabilities
from bridle.judge import kinds
from bridle.judge.kinds import AskedKind, InputKind
from bridle.tensors import is_tensor, on_host

Array = npt.NDArray[Any]

_NAME = "scores_or_probabilities"
# A block's float64 copy (512 kB) and what is made of it stay in cache.
_BLOCK_NUMBERS = 2**16
_COLUMN_NUMBERS = 2**19  # of some classes of all rows: 4 MB


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
    sample_weight : float64 array or None
        How much each row counts; None: once.
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
    sample_weight: Array | None = None

    @property
    def correct(self) -> Array:
        """Where the predicted class is the target."""
        return np.asarray(self.predicted == self.target)

    def counted(self) -> Outcomes:
        """Return the rows whose weight is above 0: the others count nowhere."""
        if self.sample_weight is None or self.sample_weight.all():
            return self
        kept = self.sample_weight > 0
        some: dict[str, Any] = {
            name: value[kept] for name, value in vars(self).items() if isinstance(value, np.ndarray)
        }
        return replace(self, **some)

    def mean(self, values: Array) -> float:
        """Return the weighted mean of one number per row."""
        if self.sample_weight is None:
            return float(values.mean())
        # Averaged with weights of a sum of 1, so that no product of large ones overflows.
        return float(np.average(values, weights=self.sample_weight / self.sample_weight.max()))


def row_outcomes(
    scores_or_probabilities: npt.ArrayLike,
    target: npt.ArrayLike | Iterable[object],
    *,
    classes: Iterable[object] | None = None,
    kind: AskedKind = "auto",
    sample_weight: npt.ArrayLike | None = None,
) -> Outcomes:
    """Return what became of each row of scores or probabilities.

    Parameters
    ----------
    scores_or_probabilities, target, classes, kind, sample_weight
        As in `bridle.evaluate`.

    Returns
    -------
    Outcomes
        Arrays with an entry for each row.

    Raises
    ------
    InputError, TargetRangeError
        As `bridle.evaluate`.

    Examples
    --------
    >>> found = row_outcomes([[0.1, 0.3, 0.6], [0.2, 0.3, 0.5]], [0, 2])
    >>> found.surprisal.round(6), found.rank, found.input_kind
    (array([2.302585, 0.693147]), array([2, 0]), 'probabilities')
    """
    values, dtype = _read(scores_or_probabilities, kind)
    labels, indices = labels_and_target(values, target, classes)
    count = len(indices)
    weight = checked_weight(sample_weight, count)
    found = _input_kind(values, kind, dtype)
    parts = [
        _block_outcomes(block, indices[start : start + len(block)], found, start)
        for start, block in value_blocks(values, found)
    ]
    joined = (np.concatenate(column) for column in zip(*parts, strict=True))
    return replace(Outcomes(found, labels, indices, *joined), sample_weight=weight)


def labels_and_target(
    scores_or_probabilities: npt.ArrayLike,
    target: npt.ArrayLike | Iterable[object],
    classes: Iterable[object] | None,
) -> tuple[tuple[checks.Label, ...], Array]:
    """Return the label of each class, and the class indices (N,) of the target."""
    shape = np.shape(_checked_values(on_host(scores_or_probabilities)))
    count, columns = shape[0], 2 if len(shape) == 1 else shape[1]
    target = on_host(target)
    if classes is None:
        return tuple(range(columns)), checks.class_indices(target, count, columns)
    labels = checks.class_labels(classes, columns)
    return labels, checks.labelled_target(target, labels, count)


def probability_blocks(
    scores_or_probabilities: npt.ArrayLike, kind: AskedKind
) -> Iterator[tuple[int, Array]]:
    """Yield ``(first row, probabilities)`` of blocks of rows, whatever was given."""
    values, dtype = _read(scores_or_probabilities, kind)
    found = _input_kind(values, kind, dtype)
    for start, block in value_blocks(values, found):
        if found == "scores":
            _refuse_broken(block, ~np.isfinite(block.max(axis=1)), start)
            block = np.asarray(probabilities.softmax(block))
        yield start, block


def probability_columns(
    scores_or_probabilities: npt.ArrayLike, kind: AskedKind
) -> Iterator[tuple[int, Array]]:
    """Yield ``(first class, probabilities (N, some))`` of some classes at a time."""
    values, dtype = _read(scores_or_probabilities, kind)
    found = _input_kind(values, kind, dtype)
    if values.ndim == 1:
        yield 0, np.concatenate([block for _, block in probability_blocks(values, found)])
        return
    total = np.zeros(len(values))
    for start, block in value_blocks(values, found) if found == "scores" else ():
        _refuse_broken(block, ~np.isfinite(block.max(axis=1)), start)
        total[start : start + len(block)] = probabilities.logsumexp(block)
    step, release = max(1, _COLUMN_NUMBERS // len(values)), mapped.releaser(values)
    for first in range(0, values.shape[1], step):
        block = values[:, first : first + step].astype(np.float64)
        if found == "scores":
            block -= total[:, None]
            np.exp(block, out=block)
        if release is not None:
            release()
        yield first, np.clip(block, 0, 1, out=block)  # beyond them is rounding


def _read(scores_or_probabilities: npt.ArrayLike, kind: AskedKind) -> tuple[Array, str]:
    """Return checked values, and the dtype whose rounding their sums have."""
    checks.one_of(kind, "kind", get_args(AskedKind))
    given: Any = scores_or_probabilities
    values = _checked_values(on_host(given))
    if is_tensor(given):  # what PyTorch's bfloat16 was read into sums better
        return values, str(given.dtype).removeprefix("torch.")
    return values, values.dtype.name


def _checked_values(scores_or_probabilities: npt.ArrayLike) -> Array:
    values = checks.real_numbers(scores_or_probabilities, _NAME)
    if values.ndim not in (1, 2) or values.size == 0:
        raise checks.InputError.of(
            _NAME,
            expected="shape (N, C), or (N,) for two classes, with at least one row and one class",
            found=f"shape {values.shape}",
        )
    return values


def checked_weight(sample_weight: npt.ArrayLike | None, count: int) -> Array | None:
    """Return the weights; refuse those that are none, or of which nothing is left."""
    if sample_weight is None:
        return None
    weight = checks.weights(on_host(sample_weight), "sample_weight", (count,), check=True)
    with np.errstate(over="ignore"):
        total = float(weight.sum())
    if not 0 < total < np.inf:
        expected = "weights whose sum is finite and above 0"
        raise checks.InputError.of("sample_weight", expected=expected, found=f"a sum of {total:g}")
    return weight


def value_blocks(values: Array, kind: InputKind) -> Iterator[tuple[int, Array]]:
    """Yield ``(first row, block)``: C-contiguous float64 copies with one column per class."""
    if values.ndim == 2:
        yield from kinds.blocks(values, _BLOCK_NUMBERS)
        return
    for start, block in kinds.blocks(values[:, None], _BLOCK_NUMBERS // 2):
        yield start, probabilities.both_columns(block[:, 0], are_scores=kind == "scores")


def _input_kind(values: Array, wanted: AskedKind, dtype: str) -> InputKind:
    """Tell probabilities from scores; refuse rows that were meant as the former but are not.

    All entries in [0, 1] and half of the rows summing nearly to 1 is what "meant" means.
    """
    if wanted == "scores":
        return wanted
    tolerance = checks.sum_tolerance(dtype, values.shape[-1])
    ranges = [(block.min(), block.max()) for _, block in value_blocks(values, "probabilities")]
    # A NaN is not inside either: it is found, and named, where its surprisal is taken.
    if not all(low >= -tolerance and high <= 1 + tolerance for low, high in ranges):
        if wanted == "probabilities":
            checks.probability_rows(_rows(values), _NAME)
        may_be_per_cent = values.ndim == 2 and all(0 <= low <= high <= 101 for low, high in ranges)
        if may_be_per_cent and kinds.row_sums(values, 100.0, dtype).fits:
            checks.warn_of_scores(_NAME, "rows sum to 100, as per cent do")
        return "scores"
    found = kinds.row_sums(_rows(values), dtype=dtype)
    if found.bad_row is not None and (found.nearly or wanted == "probabilities"):
        row = _rows(values[found.bad_row :][:1]).astype(np.float64)[0]
        checks.probability_row(row, _NAME, found.bad_row, most=found.nearly)
    if found.fits:
        return "probabilities"
    checks.warn_of_scores(_NAME, "entries are in [0, 1] and rows do not sum to 1")
    return "scores"


def _rows(values: Array) -> Array:
    """Return both classes' probabilities where only the second one's are given."""
    if values.ndim == 2:
        return values
    return probabilities.both_columns(values.astype(np.float64), are_scores=False)


def _block_outcomes(
    block: Array, target: Array, kind: InputKind, first_row: int
) -> tuple[Array, ...]:
    rows = np.arange(len(block))
    predicted = probabilities.predicted_class(block)
    rank = _rank(block, target)
    if kind == "scores":
        log_probability = probabilities.log_softmax(block)
        surprisal = 0 - log_probability[rows, target]
        _refuse_broken(block, np.isnan(surprisal), first_row)
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


def _refuse_broken(block: Array, broken: Array, first_row: int) -> None:
    if broken.any():
        row = int(np.argmax(broken))
        checks.score_row(block[row], _NAME, first_row + row)
