r"""The parts of whole rows from those of disjoint ranges of their columns.

With ``m_r`` and ``l_r`` the maximum and the log-sum of piece r, and ``rise_r = m − m_r``,

    m = max_r m_r,   log_sum = log Σ_r exp(l_r − rise_r),   share_r = exp(l_r − rise_r − log_sum)

where ``share_r`` is the probability of the piece. Gaps are taken from the new maximum: each of a
piece's grows by ``rise_r`` times what it weighs. A piece whose classes are all masked has the
maximum −inf and adds nothing, whatever else it holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

# Gaps that are sums over classes, and the sums of what those classes weigh.
_WEIGHTED_GAPS = (("smooth_gap", "smooth_weight"), ("soft_gap", "soft_mass"))


class Merged(NamedTuple):
    """Parts of whole rows by name, (N,) or (N, k), and the share (R, N) of each piece in them."""

    parts: dict[str, Any]
    share: Any


def merged(xp: Any, pieces: Mapping[str, Any], order: Any, owner: Any = None) -> Merged:
    """Return the parts of whole rows, and what each piece has of their probability.

    Parameters
    ----------
    xp
        NumPy or PyTorch.
    pieces
        Parts of R pieces, each (R, N), by the names that `bridle.kernels.contract.RowParts` has;
        a ``target_gap`` may be (R, N, k), of several indices a row. An ``argmax`` counts from the
        first column of the whole row. Further names than that are not looked at.
    order
        (R, 1): 0, 1, … R − 1, where the pieces are.
    owner
        (N,) or (N, k): which piece holds each target; any other number: none does.

    >>> import numpy as np
    >>> pieces = {"maximum": np.array([[2.0], [3.0]]), "log_sum": np.zeros((2, 1))}
    >>> found = merged(np, pieces, np.array([[0], [1]]))
    >>> found.parts["log_sum"].round(4), found.share.round(4)
    (array([0.3133]), array([[0.2689],
           [0.7311]]))
    """
    inf = float("inf")
    maxima = pieces["maximum"]
    masked, maximum = maxima == -inf, xp.amax(maxima, 0)
    rise = xp.where(masked, 0.0, maximum - maxima)
    top = xp.argmin(xp.where(masked, inf, rise), 0) == order
    logs = xp.where(masked, -inf, pieces["log_sum"] - rise)
    log_sum, share = _sum_of_logs(xp, logs, top, masked)
    broken = xp.where(xp.isnan(log_sum), float("nan"), 0.0)
    parts = {"maximum": maximum, "log_sum": log_sum}
    for gap, weight in _WEIGHTED_GAPS:
        if gap in pieces:
            weights = pieces[weight]
            lift = xp.where(weights == 0, 0.0, weights * rise)
            of_masked = xp.where(weights == 0, 0.0, inf)
            parts[gap] = xp.where(masked, of_masked, pieces[gap] + lift).sum(0) + broken
            parts[weight] = weights.sum(0)
    if "allowed" in pieces:
        parts["allowed"] = pieces["allowed"].sum(0)
    if "mean_gap" in pieces:
        terms = xp.where(share == 0, 0.0, share * (pieces["mean_gap"] + rise))
        parts["mean_gap"] = terms.sum(0) + broken
    if "argmax" in pieces:
        parts["argmax"] = xp.where(top, pieces["argmax"], 0).sum(0)
    if "target_gap" in pieces and owner is not None:
        gaps = pieces["target_gap"]
        if gaps.ndim == 3:
            masked, rise, broken = masked[..., None], rise[..., None], broken[..., None]
        own = xp.where(masked, inf, gaps + rise)
        parts["target_gap"] = of_owner(xp, own, order, owner) + broken
    return Merged(parts, share)


def of_owner(xp: Any, values: Any, order: Any, owner: Any) -> Any:
    """Return, of values (R, N) or (R, N, k) of the pieces, those of each target's owner, or 0."""
    order = order if values.ndim == 2 else order[..., None]
    return xp.where(order == owner, values, 0).sum(0)


def _sum_of_logs(xp: Any, logs: Any, top: Any, masked: Any) -> tuple[Any, Any]:
    """Return ``log Σ exp(logs)`` over the pieces, and the share of each in the sum.

    ``exp(logs) − 1`` of the piece with the maximum is summed, and its 1 stays out: beside it, a
    rest below 1e-16 would vanish.
    """
    masses = xp.exp(logs)
    rests = xp.where(top, xp.expm1(logs), masses)
    log_sum = xp.log1p(rests.sum(0))
    return xp.where(masked.all(0), float("nan"), log_sum), masses / masses.sum(0)
