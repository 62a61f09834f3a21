"""What a probability says: surprisal, entropy, divergence, perplexity; in nats or bits."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.kernels.numpy import reference
from bridle.kernels.numpy.reference import accumulator_dtype

Array = npt.NDArray[Any]


def surprisal(probability: npt.ArrayLike, *, unit: checks.Unit = "nats") -> Array:
    """Return ``−log p`` of each probability: how much news its coming true is.

    Parameters
    ----------
    probability : array_like
        Probabilities of any float dtype and shape; 0 gives +inf.
    unit : {"nats", "bits"}
        Natural logarithm, or logarithm to base 2.

    Returns
    -------
    ndarray
        In the shape and dtype of the probabilities.

    Raises
    ------
    InputError
        An entry outside [0, 1], or an unknown unit.

    Examples
    --------
    >>> surprisal([1.0, 0.5, 0.0], unit="bits")
    array([ 0.,  1., inf])

    References
    ----------
    C. E. Shannon, *A Mathematical Theory of Communication*, 1948.
    """
    values = checks.floating(probability, "probability")
    checks.unit_interval(values, "probability")
    return _in_unit(_nats(_wide(values, values.dtype)), unit, values.dtype)


def entropy(
    probabilities: npt.ArrayLike,
    *,
    axis: int = -1,
    dim: int | None = None,
    unit: checks.Unit = "nats",
    check: bool = True,
) -> Array:
    """Return ``H(p) = −Σ_c p_c log p_c``, with ``0 log 0 = 0``: the mean surprisal.

    Parameters
    ----------
    probabilities : array_like
        Distributions along ``axis``.
    axis : int
        Where the classes lie.
    dim : int, optional
        PyTorch's word for ``axis``.
    unit : {"nats", "bits"}
        Natural logarithm, or logarithm to base 2.
    check : bool
        False takes the numbers as they are, whatever they sum to.

    Returns
    -------
    ndarray or NumPy scalar
        In [0, log C], in the shape of the probabilities without ``axis`` and in their dtype.

    Raises
    ------
    InputError
        A row that is no distribution, or an unknown unit.

    Examples
    --------
    >>> entropy([[0.5, 0.5], [1.0, 0.0]], unit="bits")
    array([1., 0.])
    """
    axis = checks.one_axis(axis, dim)
    values = _classes_last(checks.floating(probabilities, "probabilities"), "probabilities", axis)
    if check:
        checks.probability_rows(values, "probabilities")
    wide = _wide(values, values.dtype)
    return _in_unit(reference.weighted_loss(_nats(wide, check=check), wide), unit, values.dtype)


def kl_divergence(
    p: npt.ArrayLike,
    q: npt.ArrayLike,
    *,
    axis: int = -1,
    dim: int | None = None,
    unit: checks.Unit = "nats",
    log_p: bool = False,
    log_q: bool = False,
    mask: npt.ArrayLike | None = None,
    check: bool = True,
) -> Array:
    """Return ``KL(p ‖ q) = Σ_c p_c log(p_c / q_c)``: 0 and above, 0 only if they agree.

    Where ``p`` has mass and ``q`` has none it is +inf.

    Parameters
    ----------
    p, q : array_like
        Distributions along ``axis``; the two may broadcast against each other.
    axis, dim, unit
        As in `entropy`.
    log_p, log_q : bool
        Whether ``p`` or ``q`` holds natural logarithms of probabilities, as `log_softmax` gives
        them. Their ratio is then right even where a probability underflows.
    mask : array_like of bool, optional
        What counts, True or False. In the shape of the result: positions, of which the others have
        the divergence 0 and are not looked at. With an axis for the classes too (of length 1 or
        more, as the distributions'): entries, of which the others are left out of the sum; those
        that are left must be distributions.
    check : bool
        False takes the numbers as they are. The sum is then that of the formula, whatever ``p`` and
        ``q`` sum to, which may be negative. Distributions that miss a sum of 1 by what is allowed
        for rounding (1e-4 in float64 and float32) have ``Σ (p log(p/q) − p + q)``, which is the
        same for a sum of 1, and never negative.

    Returns
    -------
    ndarray or NumPy scalar
        In the shape that both have together without ``axis``, in the wider of their dtypes.

    Raises
    ------
    InputError
        A row that is no distribution, shapes that do not fit, or an unknown unit.

    Examples
    --------
    >>> float(kl_divergence([0.5, 0.5], [0.25, 0.75]).round(4))
    0.1438

    References
    ----------
    S. Kullback, R. A. Leibler, *On Information and Sufficiency*, 1951.
    """
    axis = checks.one_axis(axis, dim)
    first, second, dtype = _pair(p, q, axis, (log_p, log_q), mask, check=check)
    with np.errstate(divide="ignore", invalid="ignore"):  # log 0, and 0 · log 0 discarded
        terms = first.probability * (first.logarithm - second.logarithm)
    nothing = (first.probability == 0) & ~np.isnan(second.logarithm)
    if check:
        # Σ (p log(p/q) − p + q) has the same sum and no negative term: what rounding pushes below 0
        # can be told and set right, so that nearly equal distributions never diverge negatively.
        terms = terms - first.probability + second.probability
        terms = np.maximum(np.where(nothing, second.probability, terms), 0)
    else:
        terms = np.where(nothing, 0, terms)
    return _in_unit(reference.total(terms)[..., 0], unit, dtype)


def cross_entropy_of(
    p: npt.ArrayLike,
    q: npt.ArrayLike,
    *,
    axis: int = -1,
    dim: int | None = None,
    unit: checks.Unit = "nats",
    log_p: bool = False,
    log_q: bool = False,
    mask: npt.ArrayLike | None = None,
    check: bool = True,
) -> Array:
    """Return ``H(p, q) = −Σ_c p_c log q_c = H(p) + KL(p ‖ q)`` of two distributions.

    The mean surprisal under the prediction ``q`` of what is drawn from ``p``.

    Parameters
    ----------
    p, q, axis, dim, unit, log_p, log_q, mask
        As in `kl_divergence`.
    check : bool
        False takes the numbers as they are, whatever they sum to.

    Returns
    -------
    ndarray or NumPy scalar
        In the shape and dtype of `kl_divergence`; +inf where ``p`` has mass and ``q`` has none.

    Raises
    ------
    InputError
        As `kl_divergence`.

    Examples
    --------
    >>> float(cross_entropy_of([0.5, 0.5], [0.25, 0.75], unit="bits").round(4))
    1.2075
    """
    axis = checks.one_axis(axis, dim)
    first, second, dtype = _pair(p, q, axis, (log_p, log_q), mask, check=check)
    surprise = 0 - second.logarithm
    if check:
        surprise = np.maximum(surprise, 0)  # rounded to just above 1, it is certain all the same
    return _in_unit(reference.weighted_loss(surprise, first.probability), unit, dtype)


def perplexity(cross_entropy: npt.ArrayLike, *, unit: checks.Unit = "nats") -> Array:
    """Return ``exp(H)`` of a cross-entropy in nats, ``2^H`` of one in bits.

    The number of equally likely classes that would surprise as much.

    Parameters
    ----------
    cross_entropy : array_like
        Cross-entropies or entropies of any float dtype and shape, 0 or above.
    unit : {"nats", "bits"}
        What they are in.

    Returns
    -------
    ndarray or NumPy scalar
        In the shape and dtype of the cross-entropies.

    Raises
    ------
    InputError
        A negative cross-entropy, or an unknown unit.

    Examples
    --------
    >>> float(perplexity(3.0, unit="bits"))
    8.0
    """
    checks.unit(unit)
    values = checks.floating(cross_entropy, "cross_entropy")
    checks.not_negative(values, "cross_entropy")
    wide = _wide(values, values.dtype)
    with np.errstate(over="ignore"):
        result = np.exp2(wide) if unit == "bits" else np.exp(wide)
        return np.asarray(result).astype(values.dtype, copy=False)[()]


class _Distribution(NamedTuple):
    """One of two distributions, classes last; 0 and −inf where a mask leaves it out."""

    probability: Array
    logarithm: Array


def _pair(
    p: npt.ArrayLike,
    q: npt.ArrayLike,
    axis: int,
    logarithms: tuple[bool, bool],
    mask: npt.ArrayLike | None,
    *,
    check: bool,
) -> tuple[_Distribution, _Distribution, np.dtype[Any]]:
    """Return both distributions in the dtype that sums are kept in, and that of the answer."""
    pair = [
        _classes_last(checks.floating(values, name), name, axis)
        for values, name in ((p, "p"), (q, "q"))
    ]
    if check and mask is None:
        for values, name, is_log in zip(pair, "pq", logarithms, strict=True):
            _check(values, name, is_log=is_log)
    checks.same_classes(*pair)
    first, second = np.broadcast_arrays(*pair)
    if mask is not None:
        kept = _kept_entries(mask, first.shape, axis)
        pair = [np.where(kept, values, _no_probability(values, is_log=is_log))
                for values, is_log in zip((first, second), logarithms, strict=True)]  # fmt: skip
        if check:
            rows = np.asarray(kept.any(axis=-1))
            for values, name, is_log in zip(pair, "pq", logarithms, strict=True):
                _check(values, name, is_log=is_log, rows=rows)
        first, second = pair
    dtype = first.dtype
    if second.dtype != dtype:  # float16 and bfloat16 have no dtype in common but a wider one
        dtype = np.result_type(accumulator_dtype(dtype), accumulator_dtype(second.dtype))
    distributions = [
        _distribution(_wide(values, dtype), is_log=is_log)
        for values, is_log in zip((first, second), logarithms, strict=True)
    ]
    return distributions[0], distributions[1], dtype


def _classes_last(array: Array, name: str, axis: int) -> Array:
    checks.class_axis(array, axis, name)
    return np.moveaxis(array, axis, -1)


def _distribution(values: Array, *, is_log: bool) -> _Distribution:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return (
            _Distribution(np.exp(values), values)
            if is_log
            else _Distribution(values, np.log(values))
        )


def _no_probability(values: Array, *, is_log: bool) -> Any:
    """Return what stands for no probability."""
    return values.dtype.type(-np.inf if is_log else 0)


def _check(values: Array, name: str, *, is_log: bool, rows: Array | None = None) -> None:
    """Refuse the first row, of all or some, that is no distribution."""
    tolerance = checks.sum_tolerance(values.dtype.name, values.shape[-1], of_logarithms=is_log)
    if is_log:
        with np.errstate(over="ignore"):
            values, name = np.exp(_wide(values, values.dtype)), f"exp({name})"
    if rows is not None and not rows.all():
        certain = np.zeros(values.shape[-1], values.dtype)
        certain[0] = 1
        values = np.where(rows[..., None], values, certain)
    checks.probability_rows(values, name, tolerance=tolerance)


def _kept_entries(mask: npt.ArrayLike, shape: tuple[int, ...], axis: int) -> Array:
    """Return which entries (…, C) count, of a mask of positions or of entries."""
    given = checks.plain_array(mask, "mask")
    checks.mask(given.dtype == np.bool_, str(given.dtype), given.shape, shape, axis)
    if given.ndim < len(shape):
        return np.broadcast_to(given[..., None], shape)
    return np.broadcast_to(np.moveaxis(given, axis, -1), shape)


def _nats(probability: Array, *, check: bool = True) -> Array:
    # −log p = 0 − log p: a plain minus would turn the certain event's 0 into −0. A distribution's
    # entry that rounding left just above 1 is certain too.
    with np.errstate(divide="ignore", invalid="ignore"):
        nats = 0 - np.log(probability)
    return np.asarray(np.maximum(nats, 0) if check else nats)


def _wide(values: Array, dtype: np.dtype[Any]) -> Array:
    return values.astype(accumulator_dtype(dtype), copy=False)


def _in_unit(nats: Array, unit: checks.Unit, dtype: np.dtype[Any]) -> Array:
    checks.unit(unit)
    values = nats / np.log(nats.dtype.type(2)) if unit == "bits" else nats
    with np.errstate(over="ignore"):
        return np.asarray(values).astype(dtype, copy=False)[()]
