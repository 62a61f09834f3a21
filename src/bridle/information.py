"""What a probability says: surprisal, entropy, divergence, perplexity; in nats or bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.kernels import reference
from bridle.kernels.reference import accumulator_dtype

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


def entropy(probabilities: npt.ArrayLike, *, axis: int = -1, unit: checks.Unit = "nats") -> Array:
    """Return ``H(p) = −Σ_c p_c log p_c``, with ``0 log 0 = 0``: the mean surprisal.

    Parameters
    ----------
    probabilities : array_like
        Distributions along ``axis``.
    axis : int
        Where the classes lie.
    unit : {"nats", "bits"}
        Natural logarithm, or logarithm to base 2.

    Raises
    ------
    InputError
        A row that is no distribution, or an unknown unit.

    Examples
    --------
    >>> entropy([[0.5, 0.5], [1.0, 0.0]], unit="bits")
    array([1., 0.])
    """
    values = _distribution(probabilities, "probabilities", axis)
    wide = _wide(values, values.dtype)
    return _in_unit(reference.weighted_loss(_nats(wide), wide), unit, values.dtype)


def kl_divergence(
    p: npt.ArrayLike, q: npt.ArrayLike, *, axis: int = -1, unit: checks.Unit = "nats"
) -> Array:
    """Return ``KL(p ‖ q) = Σ_c p_c log(p_c / q_c)``: 0 and above, 0 only if they agree.

    Where ``p`` has mass and ``q`` has none it is +inf. Parameters and errors are those of
    `entropy`; the two may broadcast against each other.

    Examples
    --------
    >>> float(kl_divergence([0.5, 0.5], [0.25, 0.75]).round(4))
    0.1438

    References
    ----------
    S. Kullback, R. A. Leibler, *On Information and Sufficiency*, 1951.
    """
    first, second, dtype = _two_distributions(p, q, axis)
    # Σ (p log(p/q) − p + q) has the same sum and no negative term: what rounding pushes below 0
    # can be told and set right, so that nearly equal distributions never diverge negatively.
    with np.errstate(divide="ignore", invalid="ignore"):  # log 0, and 0 · log 0 discarded
        terms = first * (np.log(first) - np.log(second)) - first + second
    terms = np.maximum(np.where(first > 0, terms, second), 0)
    return _in_unit(reference.total(terms)[..., 0], unit, dtype)


def cross_entropy_of(
    p: npt.ArrayLike, q: npt.ArrayLike, *, axis: int = -1, unit: checks.Unit = "nats"
) -> Array:
    """Return ``H(p, q) = −Σ_c p_c log q_c = H(p) + KL(p ‖ q)`` of two distributions.

    The mean surprisal of one who believes ``q`` where ``p`` is true. Parameters and errors are
    those of `entropy`; +inf where ``p`` has mass and ``q`` has none.

    Examples
    --------
    >>> float(cross_entropy_of([0.5, 0.5], [0.25, 0.75], unit="bits").round(4))
    1.2075
    """
    first, second, dtype = _two_distributions(p, q, axis)
    return _in_unit(reference.weighted_loss(_nats(second), first), unit, dtype)


def perplexity(cross_entropy: npt.ArrayLike, *, unit: checks.Unit = "nats") -> Array:
    """Return ``exp(H)`` of a cross-entropy in nats, ``2^H`` of one in bits.

    The number of equally likely classes that would surprise as much.

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


def _distribution(values: npt.ArrayLike, name: str, axis: int) -> Array:
    """Return checked distributions with the classes brought to the last axis."""
    array = checks.floating(values, name)
    checks.class_axis(array, axis, name)
    checks.probability_rows(array, name, axis)
    return np.moveaxis(array, axis, -1)


def _two_distributions(
    p: npt.ArrayLike, q: npt.ArrayLike, axis: int
) -> tuple[Array, Array, np.dtype[Any]]:
    first, second = _distribution(p, "p", axis), _distribution(q, "q", axis)
    checks.same_classes(first, second)
    first, second = np.broadcast_arrays(first, second)
    dtype = first.dtype
    if second.dtype != dtype:  # float16 and bfloat16 have no dtype in common but a wider one
        dtype = np.result_type(accumulator_dtype(dtype), accumulator_dtype(second.dtype))
    return _wide(first, dtype), _wide(second, dtype), dtype


def _nats(probability: Array) -> Array:
    # −log p = 0 − log p: a plain minus would turn the certain event's 0 into −0. A distribution's
    # entry that rounding left just above 1 is certain too.
    with np.errstate(divide="ignore"):
        return np.asarray(np.maximum(0 - np.log(probability), 0))


def _wide(values: Array, dtype: np.dtype[Any]) -> Array:
    return values.astype(accumulator_dtype(dtype), copy=False)


def _in_unit(nats: Array, unit: checks.Unit, dtype: np.dtype[Any]) -> Array:
    checks.unit(unit)
    values = nats / np.log(nats.dtype.type(2)) if unit == "bits" else nats
    with np.errstate(over="ignore"):
        return np.asarray(values).astype(dtype, copy=False)[()]
