"""The row kernels in plain NumPy, in float64 at least: what every faster kernel is tested against.

It is also the kernel for small problems, which must not wait for a compiler.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.formula import bending
from bridle.kernels.contract import RowParts
from bridle.kernels.numpy.reference import accumulator_dtype, shifted_parts

Array = npt.NDArray[Any]

# Below this loss of the target, p − 1 has lost more than a digit and is computed as expm1(−loss).
NEAR_CERTAIN = 0.35


def row_parts(
    scores: Array,
    target: Array,
    *,
    weight: Array | None = None,
    smoothing: bool = False,
    entropy: bool = False,
    argmax: bool = False,
    temperature: float = 1.0,
    softcap: float = 0.0,
) -> RowParts:
    """Return the parts of each row of scores; see `bridle.kernels.numba.row_kernels.row_parts`.

    Examples
    --------
    >>> import numpy as np
    >>> parts = row_parts(np.array([[0.0, 2.0, 1.0]]), np.array([2]))
    >>> loss = parts.log_sum + parts.target_gap
    >>> print(f"{loss[0]:.6f}")
    1.407606
    """
    z = bending.bent(np, widened(scores), temperature, softcap)
    maximum, shifted, log_sum = shifted_parts(z)
    gap = -shifted
    broken = np.where(np.isnan(log_sum[:, 0]), np.nan, 0.0)
    found = {"maximum": maximum[:, 0], "log_sum": log_sum[:, 0]}
    if target.ndim == 1:
        found["target_gap"] = _index_gap(gap, target) + broken
    else:
        mass = _weighted(target.astype(z.dtype), weight)
        products = np.where(mass == 0, 0.0, mass) * np.where(mass == 0, 0.0, gap)
        found |= {"soft_gap": products.sum(axis=1) + broken, "soft_mass": mass.sum(axis=1)}
    free = z != -np.inf
    finite_gap = np.where(free, gap, 0.0)
    if smoothing:
        masses = _weighted(free.astype(z.dtype), weight)
        found["smooth_gap"] = (masses * finite_gap).sum(axis=1) + broken
        found["smooth_weight"] = masses.sum(axis=1)
    if entropy:
        p = np.exp(-finite_gap - log_sum) * free
        found["mean_gap"] = (p * finite_gap).sum(axis=1) + broken
    kind = accumulator_dtype(scores.dtype)
    kept = {name: part.astype(kind, copy=False) for name, part in found.items()}
    if smoothing:
        kept["allowed"] = free.sum(axis=1)
    if argmax:
        kept["argmax"] = (z == maximum).argmax(axis=1)
    return RowParts(**kept)


def row_gradient(
    scores: Array,
    parts: RowParts,
    target: Array,
    a: Array,
    *,
    b: Array | None = None,
    s: Array | None = None,
    t: Array | None = None,
    weight: Array | None = None,
    temperature: float = 1.0,
    softcap: float = 0.0,
    out: Array,
) -> Array:
    """Write each row's gradient to ``out``; see `bridle.kernels.numba.row_kernels.row_gradient`.

    Examples
    --------
    >>> import numpy as np
    >>> scores, target, one = np.array([[0.0, 0.0]]), np.array([1]), np.ones(1)
    >>> row_gradient(scores, row_parts(scores, target), target, one, t=one, out=scores)
    array([[ 0.5, -0.5]])
    """
    del parts  # rounded to the accumulator's dtype: the truth finds its own
    rows = (len(scores),)  # one coefficient may stand for all
    a = np.broadcast_to(a, rows)
    b, s, t = (None if each is None else np.broadcast_to(each, rows) for each in (b, s, t))
    z = bending.bent(np, widened(scores), temperature, softcap)
    _, shifted, log_sum = shifted_parts(z)
    with np.errstate(invalid="ignore"):
        log_p = shifted - log_sum
    # Not exp(log p), whose argument is rounded at the size of log p.
    p = np.exp(shifted)
    p /= p.sum(axis=1, keepdims=True)
    d = np.asarray(a)[:, None] * p
    if b is not None:
        d += np.asarray(b)[:, None] * np.where(p == 0, 0.0, p) * np.where(p == 0, 0.0, log_p)
    if s is not None:
        d -= np.asarray(s)[:, None] * _weighted((z != -np.inf).astype(z.dtype), weight)
    if t is not None and target.ndim == 2:
        d -= np.asarray(t)[:, None] * _weighted(target.astype(z.dtype), weight)
    elif t is not None:
        _subtract_target(d, (p, log_p), target, widened(np.asarray(a)), widened(np.asarray(t)))
    d *= bending.slope(np, widened(scores), temperature, softcap)
    if target.ndim == 1:
        d[(target < -1) | (target >= scores.shape[1])] = np.nan
    given = [np.asarray(each) for each in (a, b, s, t) if each is not None]
    d[np.all([each == 0 for each in given], axis=0)] = 0
    out[...] = d.astype(out.dtype)
    return out


def widened(values: Array) -> Array:
    """Return float64, or what is wider, in C order: how a row is summed depends on no layout."""
    kind = np.result_type(np.float64, accumulator_dtype(values.dtype))
    return values.astype(kind, order="C", copy=False)


def _weighted(mass: Array, weight: Array | None) -> Array:
    return mass if weight is None else mass * weight


def _index_gap(gap: Array, target: Array) -> Array:
    found = gap[np.arange(len(gap)), np.clip(target, 0, gap.shape[1] - 1)]
    found = np.where(target == -1, 0.0, found)
    return np.where((target < -1) | (target >= gap.shape[1]), np.nan, found)


def _subtract_target(
    d: Array, softmax: tuple[Array, Array], target: Array, a: Array, t: Array
) -> None:
    """Subtract ``t`` at each row's target; where p is near 1, from ``a · (p − 1) + a``.

    There p − 1 would be little more than rounding. ``softmax`` is p and log p.
    """
    rows = np.flatnonzero((target >= 0) & (target < d.shape[1]))
    places = rows, target[rows]
    p, log_p = softmax[0][places], softmax[1][places]
    others = d[places] - a[rows] * p  # exactly 0 where there are none
    near = a[rows] * np.expm1(log_p) + (a[rows] - t[rows]) + others
    d[places] = np.where(log_p > -NEAR_CERTAIN, near, d[places] - t[rows])
