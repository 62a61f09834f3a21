"""The quadratic cost: what networks were taught with before cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.kernels.numpy.reference import accumulator_dtype
from bridle.losses.reduction import gradient_scale, reduce_losses

Array = npt.NDArray[Any]


def quadratic_loss(
    output: npt.ArrayLike, target: npt.ArrayLike, *, reduction: checks.Reduction = "mean"
) -> Array:
    """Return ``½ Σ_c (a_c − y_c)²`` per sample, averaged over the samples.

    Parameters
    ----------
    output : array_like, (C,) or (…, C)
        Outputs ``a`` (after the activation) of any float dtype; samples lie along all axes but
        the last.
    target : array_like
        Desired outputs ``y``, in the same shape.
    reduction : {"mean", "sum", "none"}
        What becomes of the losses of the samples.

    Returns
    -------
    ndarray or NumPy scalar
        The loss; float32 for half precision, else the dtype of the output.

    Raises
    ------
    InputError
        Shapes differ, or the output is a scalar.

    Examples
    --------
    >>> float(quadratic_loss([[0.75, 0.25], [0.0, 1.0]], [[1, 0], [0, 1]]))
    0.03125

    References
    ----------
    M. Nielsen, *Neural Networks and Deep Learning*, 2015, chapter 1.
    """
    return quadratic_loss_gradient(output, target, reduction=reduction)[0]


def quadratic_loss_gradient(
    output: npt.ArrayLike, target: npt.ArrayLike, *, reduction: checks.Reduction = "mean"
) -> tuple[Array, Array]:
    """Return ``(loss, d loss / d output)``: ``a − y``, divided by the samples for a mean.

    Parameters
    ----------
    output, target, reduction
        As in `quadratic_loss`.

    Returns
    -------
    loss : ndarray or NumPy scalar
        As `quadratic_loss` gives it.
    gradient : ndarray
        In the shape and dtype of the output.

    Raises
    ------
    InputError
        As `quadratic_loss`.

    Examples
    --------
    >>> quadratic_loss_gradient([0.75, 0.5], [1.0, 0.0])[1]
    array([-0.25,  0.5 ])
    """
    checks.reduction(reduction)
    given = checks.floating(output, "output")
    desired = checks.floating(target, "target")
    checks.same_shape(given, desired, ("output", "target"))
    if given.ndim == 0:
        raise checks.InputError.of("output", expected="shape (C,) or (…, C)", found="a scalar")
    dtype = accumulator_dtype(given.dtype)
    wide = np.result_type(np.float64, dtype)
    # What the dtype cannot hold is inf, and inf − inf is NaN: the answers say so themselves.
    with np.errstate(over="ignore", invalid="ignore"):
        error = given.astype(dtype, copy=False) - desired.astype(dtype, copy=False)
        squares = np.einsum("...c,...c->...", error, error, dtype=wide)
        losses = np.asarray(squares / 2).astype(dtype)
        loss = reduce_losses(losses, losses.size, reduction=reduction)
        scale = dtype.type(gradient_scale(losses.size, reduction))
        return loss, (error * scale).astype(given.dtype, copy=False)
