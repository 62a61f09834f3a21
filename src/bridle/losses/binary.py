"""Cross-entropy of independent sigmoid outputs: each score is a yes or no of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from bridle import checks
from bridle.kernels.numpy.reference import accumulator_dtype
from bridle.losses.reduction import gradient_scale, reduce_losses

Array = npt.NDArray[Any]


def binary_cross_entropy(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    *,
    reduction: checks.Reduction = "mean",
    pos_weight: npt.ArrayLike | None = None,
    check: bool = True,
) -> Array:
    """Return ``−[p · t · log σ(z) + (1 − t) · log σ(−z)]`` in nats, averaged over all entries.

    As `torch.nn.functional.binary_cross_entropy_with_logits`, but right at infinite scores.

    Parameters
    ----------
    input : array_like
        Scores ``z`` of any float dtype and shape; each entry is one sigmoid output.
    target : array_like
        ``t`` in [0, 1], in the shape of the input; booleans and integers too.
    weight : array_like, optional
        A weight per entry, broadcast to the input's shape. A mean divides by the number of
        entries, as torch does, not by the sum of the weights.
    reduction : {"mean", "sum", "none"}
        What becomes of the losses of the entries.
    pos_weight : array_like, optional
        ``p``, a weight of the positive answers, broadcast to the input's shape.
    check : bool
        False takes the values of target and weights as they are.

    Returns
    -------
    ndarray or NumPy scalar
        The loss; float32 for half precision, else the dtype of the input.

    Raises
    ------
    InputError
        Shapes that do not fit, a target outside [0, 1], a weight that is negative or not finite.

    Examples
    --------
    >>> float(binary_cross_entropy([2.0, -1.0], [1.0, 0.0]).round(4))
    0.2201

    References
    ----------
    C. M. Bishop, *Pattern Recognition and Machine Learning*, 2006, section 4.3.2.
    """
    terms = _prepare(input, target, weight, reduction, pos_weight, check)
    return _reduced_loss(*terms, reduction)


def binary_cross_entropy_gradient(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    *,
    reduction: checks.Reduction = "mean",
    pos_weight: npt.ArrayLike | None = None,
    check: bool = True,
) -> tuple[Array, Array]:
    """Return ``(loss, d loss / d input)``: ``σ(z) − t`` per entry, divided by their number.

    With ``pos_weight`` p the entry is ``(1 − t) · σ(z) − p · t · σ(−z)``.

    Parameters
    ----------
    input, target, weight, reduction, pos_weight, check
        As in `binary_cross_entropy`.

    Returns
    -------
    loss : ndarray or NumPy scalar
        In nats, as `binary_cross_entropy` gives it.
    gradient : ndarray or NumPy scalar
        In the shape and dtype of the input.

    Raises
    ------
    InputError
        As `binary_cross_entropy`.

    Examples
    --------
    >>> loss, gradient = binary_cross_entropy_gradient([0.0, 2.0], [1, 0], reduction="sum")
    >>> gradient.round(3)
    array([-0.5  ,  0.881])
    """
    values = checks.floating(input, "input")
    scores, positive, negative = _prepare(values, target, weight, reduction, pos_weight, check)
    loss = _reduced_loss(scores, positive, negative, reduction)
    # The sigmoid of −z, not 1 − σ(z), which would round away a small one.
    with np.errstate(over="ignore", invalid="ignore"):
        gradient = negative * special.expit(scores) - positive * special.expit(-scores)
        gradient *= gradient.dtype.type(gradient_scale(gradient.size, reduction))
        return loss, np.asarray(gradient).astype(values.dtype, copy=False)[()]


@np.errstate(over="ignore", invalid="ignore")  # inf and NaN in the answer say it themselves
def _prepare(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None,
    reduction: str,
    pos_weight: npt.ArrayLike | None,
    check: bool,
) -> tuple[Array, Array, Array]:
    """Return the scores and the masses of the answers yes and no, in the compute dtype."""
    checks.reduction(reduction)
    scores = checks.floating(input, "input")
    answers = checks.floating(target, "target")
    checks.same_shape(scores, answers, ("input", "target"))
    if check:
        checks.unit_interval(answers, "target")
    dtype = accumulator_dtype(scores.dtype)
    answers = answers.astype(dtype, copy=False)
    positive, negative = answers, 1 - answers
    if pos_weight is not None:
        positive = positive * _broadcast(pos_weight, "pos_weight", scores.shape, dtype, check)
    if weight is not None:
        shared = _broadcast(weight, "weight", scores.shape, dtype, check)
        positive, negative = positive * shared, negative * shared
    return scores.astype(dtype, copy=False), positive, negative


def _broadcast(
    values: npt.ArrayLike, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], check: bool
) -> Array:
    given = checks.floating(values, name)
    array = checks.weights(given, name, given.shape, dtype, check=check)
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        expected = f"a shape that broadcasts to {shape}"
        raise checks.InputError.of(name, expected=expected, found=array.shape) from None


@np.errstate(over="ignore", invalid="ignore")
def _reduced_loss(scores: Array, positive: Array, negative: Array, reduction: str) -> Array:
    yes = _times(-positive, special.log_expit(scores))
    no = _times(-negative, special.log_expit(-scores))
    losses = np.asarray(yes + no)
    return reduce_losses(losses, losses.size, reduction=reduction)


def _times(mass: Array, log_probability: Array) -> Array:
    """Multiply, with 0 · (−inf) = 0: an answer without mass does not depend on its score."""
    counted = (mass != 0) | np.isnan(log_probability)
    return np.multiply(mass, log_probability, out=np.zeros_like(mass), where=counted)
