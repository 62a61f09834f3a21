"""What a row of scores is reduced to, and how parts of disjoint columns merge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class RowParts(NamedTuple):
    """The parts of each row, (N,) each; those that were not asked for are None.

    ``z`` is the score, capped and divided by the temperature; ``w`` the class weight, 1 by default;
    ``m`` the largest ``z``. A class with the score −inf is masked.
    """

    maximum: Array  # m
    log_sum: Array  # log Σ exp(z − m)
    target_gap: Array | None = None  # m − z[target]; +inf if that is masked, 0 without a target
    smooth_gap: Array | None = None  # Σ w · (m − z) over the classes that are not masked
    smooth_weight: Array | None = None  # Σ w over them
    allowed: Array | None = None  # their number
    mean_gap: Array | None = None  # Σ softmax(z) · (m − z); with log_sum, the entropy
    argmax: Array | None = None  # the lowest class with z = m
    soft_gap: Array | None = None  # Σ w · target · (m − z), of distributions
    soft_mass: Array | None = None  # Σ w · target, of distributions


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
    maxima = stacked["maximum"]
    masked, maximum = maxima == -np.inf, maxima.max(axis=0)
    with np.errstate(invalid="ignore"):
        rise = np.where(masked, 0.0, maximum - maxima)
    top = np.where(masked, np.inf, rise).argmin(axis=0)[None]
    log_sum, share = _merge_logs(np.where(masked, -np.inf, stacked["log_sum"] - rise), top)
    broken = np.where(np.isnan(log_sum), np.nan, 0.0)
    merged = {"maximum": maximum, "log_sum": log_sum}
    for gap, mass in (("smooth_gap", "smooth_weight"), ("soft_gap", "soft_mass")):
        if gap in stacked:
            lift = np.where(stacked[mass] == 0, 0.0, stacked[mass] * rise)
            nothing = np.where(stacked[mass] == 0, 0.0, np.inf)
            own = np.where(masked, nothing, stacked[gap] + lift)
            merged[gap] = own.sum(axis=0) + broken
            merged[mass] = stacked[mass].sum(axis=0)
    if "allowed" in stacked:
        merged["allowed"] = stacked["allowed"].sum(axis=0)
    if "mean_gap" in stacked:
        terms = np.where(share == 0, 0.0, share * (stacked["mean_gap"] + rise))
        merged["mean_gap"] = terms.sum(axis=0) + broken
    if "argmax" in stacked:
        merged["argmax"] = np.take_along_axis(stacked["argmax"], top, 0)[0]
    if "target_gap" in stacked and owner is not None:
        mine = np.arange(len(pieces))[:, None] == owner
        own = np.where(masked, np.inf, stacked["target_gap"] + rise)
        merged["target_gap"] = np.where(mine, own, 0.0).sum(axis=0) + broken
    counts = {"allowed", "argmax"}
    return RowParts(
        **{name: part if name in counts else part.astype(kind) for name, part in merged.items()}
    )


def _stack(pieces: Sequence[RowParts]) -> dict[str, Array]:
    """Return each part that was asked for as (pieces, N), in float64 where it is a float."""
    names = [name for name, part in pieces[0]._asdict().items() if part is not None]
    stacked = {name: np.stack([getattr(piece, name) for piece in pieces]) for name in names}
    return {
        name: part if part.dtype.kind == "i" else part.astype(np.float64)
        for name, part in stacked.items()
    }


def _merge_logs(logs: Array, top: Array) -> tuple[Array, Array]:
    """Return ``log Σ exp(logs)`` and the share of each piece in the sum.

    ``exp(logs) − 1`` of the piece with the maximum is summed, and its 1 stays out: beside it, a
    rest below 1e-16 would vanish.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        masses = np.exp(logs)
        rests = masses.copy()
        np.put_along_axis(rests, top, np.expm1(np.take_along_axis(logs, top, 0)), 0)
        log_sum = np.log1p(rests.sum(axis=0))
        log_sum[np.isneginf(logs).all(axis=0)] = np.nan
        return log_sum, masses / masses.sum(axis=0)
