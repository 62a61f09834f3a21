"""Scores become probabilities: softmax, sigmoid, and their logarithms.

Conventions. ``scores`` (logits) are real numbers of any float dtype and layout; the classes lie
along ``axis``. Results come in the input's dtype (integers and lists give float64); sums are kept
in at least float32. A score of −inf is a masked class with probability 0. A NaN or a +inf among
the scores of a row, or nothing but −inf, makes that row NaN and no other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from bridle import checks
from bridle.kernels.numpy import reference
from bridle.kernels.numpy.reference import Axis

Array = npt.NDArray[Any]


def softmax(
    scores: npt.ArrayLike,
    *,
    temperature: float = 1.0,
    axis: Axis = -1,
    dim: Axis = None,
    dtype: npt.DTypeLike | None = None,
) -> Array:
    r"""Turn scores into probabilities: ``exp(z_c / T) / Σ_k exp(z_k / T)``.

    Parameters
    ----------
    scores : array_like, (…, C, …)
        Scores (logits) of any float dtype.
    temperature : float
        ``T`` above 0. Above 1 flattens the distribution, below 1 sharpens it.
    axis : int, tuple of int or None
        Where the classes lie; None takes the whole array as one distribution.
    dim : int or tuple of int, optional
        PyTorch's word for ``axis``.
    dtype : dtype, optional
        A real float that the scores are converted to first, as in torch.

    Returns
    -------
    ndarray or NumPy scalar
        Probabilities in the shape and dtype of the scores, or the dtype given.

    Raises
    ------
    InputError
        Scores are no real numbers, or the temperature is not above 0.

    Examples
    --------
    >>> softmax([1.0, 2.0, 3.0]).round(3)
    array([0.09 , 0.245, 0.665])
    >>> softmax([1e6, 1e6 + 1, -float("inf")]).round(3)
    array([0.269, 0.731, 0.   ])

    References
    ----------
    J. S. Bridle, *Probabilistic interpretation of feedforward classification network outputs*,
    Neurocomputing, 1990.
    """
    axis = checks.one_axis(axis, dim)
    values, kept = _prepared(scores, dtype)
    shifted = _over_temperature(_shift(values, axis), temperature)
    exponentials = np.exp(shifted, out=shifted)
    exponentials /= reference.total(exponentials, axis).astype(exponentials.dtype, copy=False)
    return np.asarray(exponentials.astype(kept, copy=False))[()]


def log_softmax(
    scores: npt.ArrayLike,
    *,
    temperature: float = 1.0,
    axis: Axis = -1,
    dim: Axis = None,
    dtype: npt.DTypeLike | None = None,
) -> Array:
    """Return the logarithm of `softmax`: ``z_c / T − log Σ_k exp(z_k / T)``, in nats.

    It is right where ``log(softmax(z))`` is not: a probability too small for its dtype keeps its
    logarithm.

    Parameters
    ----------
    scores, temperature, axis, dim, dtype
        As in `softmax`.

    Returns
    -------
    ndarray or NumPy scalar
        Logarithms of probabilities in the shape and dtype of the scores, or the dtype given.

    Raises
    ------
    InputError
        As `softmax`.

    Examples
    --------
    >>> log_softmax([0.0, 1000.0])
    array([-1000.,     0.])
    """
    axis = checks.one_axis(axis, dim)
    values, kept = _prepared(scores, dtype)
    tempered = _over_temperature(_shift(values, axis), temperature)
    _, shifted, log_sum = reference.shifted_parts(tempered, axis)
    with np.errstate(invalid="ignore", over="ignore"):  # below a half's range: −inf, rightly
        return np.asarray((shifted - log_sum).astype(kept, copy=False))[()]


def logsumexp(
    scores: npt.ArrayLike,
    *,
    axis: Axis = -1,
    dim: Axis = None,
    keepdims: bool = False,
    b: npt.ArrayLike | None = None,
    return_sign: bool = False,
) -> Any:
    """Return ``log Σ_c b_c exp(z_c)`` without overflow, with ``b = 1`` unless given.

    Parameters
    ----------
    scores : array_like
        Scores of any float dtype.
    axis : int, tuple of int or None
        Which axes are summed; None sums all.
    dim : int or tuple of int, optional
        PyTorch's word for ``axis``.
    keepdims : bool
        Keep the summed axes with length 1.
    b : array_like, optional
        Factors of any sign, which broadcast against the scores. What has the factor 0 is not
        there, whatever its score is.
    return_sign : bool
        Return a pair: the logarithm of the sum's size, and its sign, −1, 0 or 1. Else the
        logarithm of a negative sum is NaN.

    Returns
    -------
    ndarray or NumPy scalar, or a pair of them
        In the dtype of the scores; with ``b``, in the wider of both. As in SciPy, a +inf gives
        +inf, nothing at all (or −inf alone) gives −inf.

    Raises
    ------
    InputError
        Scores are no real numbers.

    Examples
    --------
    >>> float(logsumexp([1000.0, 1000.0]).round(4))
    1000.6931
    """
    axis = checks.one_axis(axis, dim)
    values, dtype = _prepared(scores)
    if b is not None or return_sign:
        return _signed_logsumexp(values, dtype, axis, keepdims, b, return_sign)
    maximum, _, log_sum = reference.shifted_parts(values, axis)
    result = np.where(np.isinf(maximum), maximum, maximum + log_sum).astype(dtype)
    if not keepdims:
        result = result.squeeze(axis=axis) if axis is not None else result.reshape(())
    return np.asarray(result)[()]


def _signed_logsumexp(
    values: Array,
    dtype: np.dtype[Any],
    axis: Axis,
    keepdims: bool,
    b: npt.ArrayLike | None,
    return_sign: bool,
) -> Any:
    factors = None
    if b is not None:
        factors = checks.floating(b, "b")
        checks.broadcastable(values.shape, factors.shape, ("scores", "b"))
        if factors.dtype != dtype:
            wide = [reference.accumulator_dtype(each) for each in (dtype, factors.dtype)]
            dtype = np.result_type(*wide)
        work = np.result_type(values, reference.accumulator_dtype(factors.dtype))
        values, factors = np.broadcast_arrays(values.astype(work), factors.astype(work))
        # SciPy answers NaN where +inf has the factor 0 and nothing else is left.
        values = np.where(factors == 0, work.type(-np.inf), values)
    found = special.logsumexp(
        values, axis=axis, b=factors, keepdims=keepdims, return_sign=return_sign
    )
    if return_sign:
        return tuple(np.asarray(each).astype(dtype)[()] for each in found)
    return np.asarray(found).astype(dtype)[()]


def sigmoid(scores: npt.ArrayLike) -> Array:
    """Return ``1 / (1 + exp(−z))`` of each score: the softmax of ``[z, 0]``.

    Parameters
    ----------
    scores : array_like
        Scores (log-odds) ``z`` of any float dtype and shape.

    Returns
    -------
    ndarray or NumPy scalar
        Probabilities in the shape and dtype of the scores.

    Raises
    ------
    InputError
        Scores are no real numbers.

    Examples
    --------
    >>> sigmoid([-1000.0, 0.0, 2.0]).round(3)
    array([0.   , 0.5  , 0.881])
    """
    values, dtype = _prepared(scores)
    return np.asarray(special.expit(values).astype(dtype, copy=False))[()]


def log_sigmoid(scores: npt.ArrayLike) -> Array:
    """Return ``log sigmoid(z) = −log(1 + exp(−z))`` in nats, right in both tails.

    Parameters
    ----------
    scores : array_like
        Scores (log-odds) ``z`` of any float dtype and shape.

    Returns
    -------
    ndarray or NumPy scalar
        Logarithms of probabilities in the shape and dtype of the scores.

    Raises
    ------
    InputError
        Scores are no real numbers.

    Examples
    --------
    >>> log_sigmoid([-1000.0, 0.0]).round(4)
    array([-1.000e+03, -6.931e-01])
    """
    values, dtype = _prepared(scores)
    return np.asarray(special.log_expit(values).astype(dtype, copy=False))[()]


def predicted_class(scores: npt.ArrayLike, *, axis: int = -1, dim: int | None = None) -> Array:
    """Return the index of the largest score; ties go to the lowest index.

    Softmax keeps the order, so scores and probabilities give the same answer.

    Parameters
    ----------
    scores : array_like, (…, C, …)
        Scores or probabilities of any float dtype.
    axis : int
        Where the classes lie.
    dim : int, optional
        PyTorch's word for ``axis``.

    Returns
    -------
    integer ndarray or NumPy scalar
        In the shape of the scores without the axis of the classes.

    Raises
    ------
    InputError
        Scores are no real numbers, or there is no class to choose from.

    Examples
    --------
    >>> predicted_class([[0.1, 0.7, 0.2], [0.5, 0.5, 0.0]])
    array([1, 0])
    """
    axis = checks.one_axis(axis, dim)
    values = checks.floating(scores, "scores")
    checks.class_axis(values, axis, "scores")
    return np.asarray(values.argmax(axis=axis))[()]


def both_columns(second: npt.ArrayLike, *, are_scores: bool) -> Array:
    """Return both classes' columns from the probability, or the score, of the second one.

    Parameters
    ----------
    second : array_like, (N,)
        Probabilities, or scores whose sigmoid they are.
    are_scores : bool
        Which of the two.

    Returns
    -------
    ndarray, (N, 2)
        Probabilities, or scores of which the larger is 0: those of an infinite one stay certain.

    Examples
    --------
    >>> both_columns([0.25, 1.0], are_scores=False)
    array([[0.75, 0.25],
           [0.  , 1.  ]])
    >>> both_columns([0.0, 2.0], are_scores=True)
    array([[ 0.,  0.],
           [-2.,  0.]])
    """
    values = np.asarray(second, np.float64)
    if not are_scores:
        return np.stack([1 - values, values], axis=1)
    return np.stack([0 - np.maximum(values, 0), 0 - np.maximum(-values, 0)], axis=1)


def score_columns(answers: npt.ArrayLike, *, are_scores: bool) -> Array:
    """Return a column of scores for each class, whatever was answered.

    Parameters
    ----------
    answers : array_like, (N, C) or (N,)
        Scores or probabilities; (N,) of the second of two classes.
    are_scores : bool
        Which of the two.

    Returns
    -------
    ndarray, (N, C)
        Scores as they are; of probabilities their logarithms, of those above 1 by rounding, 0.

    Examples
    --------
    >>> score_columns([1.0, 0.5], are_scores=False).round(3)
    array([[  -inf,  0.   ],
           [-0.693, -0.693]])
    """
    values = np.asarray(answers)
    if are_scores:
        return both_columns(values, are_scores=True) if values.ndim == 1 else values
    values = np.minimum(values, 1)
    values = both_columns(values, are_scores=False) if values.ndim == 1 else values
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(values))


def _prepared(
    scores: npt.ArrayLike, dtype: npt.DTypeLike | None = None
) -> tuple[Array, np.dtype[Any]]:
    values = checks.floating(scores, "scores")
    if dtype is not None:
        with np.errstate(over="ignore"):
            values = values.astype(checks.float_dtype(dtype), copy=False)
    return values.astype(reference.accumulator_dtype(values.dtype), copy=False), values.dtype


def _shift(values: Array, axis: Axis) -> Array:
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(values - values.max(axis=axis, keepdims=True, initial=-np.inf))


def _over_temperature(shifted: Array, temperature: float) -> Array:
    # Divided after the shift: before it, a small temperature would overflow large scores.
    divisor = checks.positive(temperature, "temperature")
    if divisor == 1.0:
        return shifted
    # Kept within the dtype's range: 0/0 or inf/inf would turn the limits T → 0 and T → ∞ into NaN.
    limits = np.finfo(shifted.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(shifted / np.clip(shifted.dtype.type(divisor), limits.tiny, limits.max))
