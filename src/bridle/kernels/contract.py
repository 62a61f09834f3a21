"""The contract of the row kernels, whichever compiler they go through.

Scores come as a matrix ``(N, C)`` with unit stride along the classes and any along the rows; a
kernel never sees a layout, an option's default or a user's error. It reads each row where it lies,
once from memory, keeps its sums in at least float32 (float64 for float64), and returns *parts*, not
the loss.

``row_parts(scores, target, *, weight, smoothing, entropy, argmax, temperature, softcap)``
    `RowParts`, for class indices (N,), −1 for a row without one, or distributions (N, C);
``row_gradient(scores, parts, target, a, *, b, s, t, weight, temperature, softcap, out)``
    the gradient of each row, written to ``out``, which may be the scores;
``row_parts_and_gradient(scores, target, a, *, s, t, weight, …, out)``
    both at once, for coefficients that are known beforehand; a backend need not have it.

With ``z = softcap · tanh(score / softcap) / temperature`` (no cap if softcap is 0), ``w`` the class
weights and ``m`` the largest ``z`` of a row, the parts are differences from ``m``, so that
``maximum + log_sum`` is the log-sum-exp and ``log_sum + target_gap`` the loss. All differences are
taken inside, because a sum with the maximum would round away the loss: at a common offset of 1e6 a
float32 keeps no decimals. Parts of disjoint column ranges (or vocabulary shards) merge; losses do
not.

There is one gradient for all that is made of parts. With the probabilities p and four coefficients
(N,) of each row, which the caller knows (one number, (1,), stands for all rows; None for zeros),

    [p · (a + b · log p) − s · w · [class not masked] − t · [class = target]] · dz / dscore

where a distribution has ``t · w · target`` for the last term.

A masked class has the score −inf: probability 0, gradient 0, no part in anything. A row with a NaN
or +inf, or with −inf alone, gives NaN and disturbs no other row. A row whose coefficients are all 0
has the gradient 0, whatever it holds. A target that is neither a class nor −1 makes its row NaN.
The bits of a result depend neither on the number of threads nor on the rows beside.

`bridle.kernels.numpy.row_kernels` is the truth: every other backend is tested against it in
float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle.formula.merging import merged

Array = npt.NDArray[Any]


class RowParts(NamedTuple):
    """The parts of each row, (N,) arrays or tensors; those that were not asked for are None.

    ``z`` is the score, capped and divided by the temperature; ``w`` the class weight, 1 by default;
    ``m`` the largest ``z``. A class with the score −inf is masked.
    """

    maximum: Any  # m
    log_sum: Any  # log Σ exp(z − m)
    target_gap: Any = None  # m − z[target]; +inf if that is masked, 0 without a target
    smooth_gap: Any = None  # Σ w · (m − z) over the classes that are not masked
    smooth_weight: Any = None  # Σ w over them
    allowed: Any = None  # their number
    mean_gap: Any = None  # Σ softmax(z) · (m − z); with log_sum, the entropy
    argmax: Any = None  # the lowest class with z = m
    soft_gap: Any = None  # Σ w · target · (m − z), of distributions
    soft_mass: Any = None  # Σ w · target, of distributions

    @property
    def gap(self) -> Any:
        """That of the target, of whichever kind it is."""
        return self.target_gap if self.soft_gap is None else self.soft_gap

    @property
    def mass(self) -> Any:
        """Σ w · target, of distributions."""
        return self.soft_mass


def merge_parts(pieces: Sequence[RowParts], owner: Array | None = None) -> RowParts:
    """Return the parts of whole rows from those of disjoint ranges of their columns, in order.

    ``owner`` (N,) tells which piece holds each row's target; any other number: none does. A piece
    whose classes are all masked has the maximum −inf and adds nothing. An ``argmax`` counts from
    the first column of the whole row.

    Examples
    --------
    >>> left = RowParts(np.array([2.0]), np.log([1 + np.exp(-2.0)]))  # scores 0, 2
    >>> right = RowParts(np.array([3.0]), np.array([0.0]))  # score 3
    >>> merged = merge_parts([left, right])
    >>> bool(np.isclose(merged.maximum + merged.log_sum, np.log(np.exp([0, 2, 3]).sum())))
    True
    """
    kind, stacked = pieces[0].maximum.dtype, _stack(pieces)
    with np.errstate(invalid="ignore", divide="ignore"):
        parts, _ = merged(np, stacked, np.arange(len(pieces))[:, None], owner)
    counts = {"allowed", "argmax"}
    return RowParts(
        **{name: part if name in counts else part.astype(kind) for name, part in parts.items()}
    )


def _stack(pieces: Sequence[RowParts]) -> dict[str, Array]:
    """Return each part that was asked for as (pieces, N), in float64 where it is a float."""
    names = [name for name, part in pieces[0]._asdict().items() if part is not None]
    stacked = {name: np.stack([getattr(piece, name) for piece in pieces]) for name in names}
    return {
        name: part if part.dtype.kind == "i" else part.astype(np.float64)
        for name, part in stacked.items()
    }
