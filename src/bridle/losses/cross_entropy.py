"""Softmax cross-entropy from scores, with PyTorch's meaning of every argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from bridle import checks, kernels
from bridle.kernels import reference
from bridle.losses import compiled
from bridle.losses.class_targets import ClassLossOptions, ClassTargets, class_targets
from bridle.losses.reduction import gradient_scale, reduce_losses

Array = npt.NDArray[Any]
RowLosses = Callable[[ClassTargets, Any], tuple[Array, Array | None]]


def cross_entropy(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: checks.Reduction = "mean",
    label_smoothing: float = 0.0,
    sample_weight: npt.ArrayLike | None = None,
    on_empty: checks.OnEmpty = "nan",
    check: bool = True,
) -> Array:
    r"""Return ``−log softmax(input)[target]`` in nats, averaged over the samples.

    With a distribution ``t`` as target the loss of a sample is ``−Σ_c w_c t_c log softmax(z)_c``.
    The names and meanings are those of `torch.nn.functional.cross_entropy`; what torch leaves
    open or gets wrong (masked classes, empty means, targets out of range) is stated below.

    Parameters
    ----------
    input : array_like, (C,), (N, C) or (N, C, d1, …)
        Scores (logits), any float dtype and layout. A class masked with −inf has probability 0,
        gradient 0 and no share of the smoothing: masking it is the same as leaving it out.
    target : array_like
        Class indices of shape ``()``, ``(N,)`` or ``(N, d1, …)`` (any integer type; booleans for
        two classes), or distributions in the shape of the input (one-hot and soft targets).
    weight : array_like, (C,), optional
        A weight per class, 0 or above. A mean divides by the sum of the targets' weights.
    ignore_index : int
        Samples with this index count nowhere: loss 0, gradient 0.
    reduction : {"mean", "sum", "none"}
        What becomes of the losses of the samples.
    label_smoothing : float in [0, 1]
        The share ε of the target that is spread evenly over the classes.
    sample_weight : array_like, optional
        A weight per sample (or position), 0 or above. Weight k is the same as k copies.
    on_empty : {"nan", "zero", "raise"}
        What a mean over no sample at all is. Torch gives NaN.
    check : bool
        False takes the values of target and weights as they are, at no cost: distributions need
        not sum to 1, weights may be negative, and an index out of range gives NaN in its row.

    Returns
    -------
    ndarray or NumPy scalar
        The loss; float32 for half precision, else the dtype of the input. A target class of
        probability 0 gives +inf; a row with a NaN or +inf, or of −inf alone, gives NaN.

    Raises
    ------
    TargetRangeError
        An index outside ``[0, C)``, with its row; an `IndexError` and a `ValueError`.
    InputError
        Any other argument that cannot be used, with the first bad row.

    Warns
    -----
    UserWarning
        The input looks like probabilities; `nll` is for those.

    Examples
    --------
    >>> float(cross_entropy([[2.0, 1.0, 0.0], [0.0, 3.0, 0.0]], [0, 1]).round(4))
    0.2513
    >>> cross_entropy([[2.0, 1.0, 0.0], [0.0, 3.0, 0.0]], [0, 1], reduction="none").round(4)
    array([0.4076, 0.0949])
    >>> float(cross_entropy([2.0, 1.0, 0.0], [0.5, 0.5, 0.0]).round(4))
    0.9076

    References
    ----------
    C. M. Bishop, *Pattern Recognition and Machine Learning*, 2006, section 4.3.4.
    C. Szegedy et al., *Rethinking the Inception Architecture*, 2016 (label smoothing).
    """
    loss, _ = evaluate_class_loss(
        _scores(input, check),
        target,
        weight,
        _rows_of_scores,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
        sample_weight=sample_weight,
        on_empty=on_empty,
        check=check,
    )
    return loss


def cross_entropy_gradient(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    **options: Unpack[ClassLossOptions],
) -> tuple[Array, Array]:
    """Return ``(loss, d loss / d input)``; the arguments are those of `cross_entropy`.

    The gradient of a sample is ``softmax(z) · Σ_c mass_c − mass``: for plain class indices
    ``softmax(z) − one_hot``, divided by N for a mean. With ``reduction="none"`` each row is the
    gradient of its own loss. It comes in the shape and dtype of the input and is finite even
    where the loss is +inf.

    Raises
    ------
    InputError, TargetRangeError
        As `cross_entropy`.

    Examples
    --------
    >>> loss, gradient = cross_entropy_gradient([2.0, 1.0, 0.0], 0)
    >>> gradient.round(3)
    array([-0.335,  0.245,  0.09 ])
    """
    scores = _scores(input, options.get("check", True))
    loss, gradient = evaluate_class_loss(
        scores, target, weight, _rows_of_scores, gradient=True, **options
    )
    assert gradient is not None
    return loss, gradient


@np.errstate(over="ignore", invalid="ignore")  # inf and NaN in the answer say it themselves
def evaluate_class_loss(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None,
    rows: RowLosses,
    *,
    gradient: bool = False,
    reduction: checks.Reduction = "mean",
    on_empty: checks.OnEmpty = "nan",
    **options: Any,
) -> tuple[Array, Array | None]:
    """Return a class loss and its gradient, given what computes those of the rows.

    ``options`` are those of `class_targets`. Scores and logarithms of probabilities both serve as
    input: the second are scores whose log-sum-exp is 0.
    """
    checks.reduction(reduction)
    checks.on_empty(on_empty)
    problem = class_targets(input, target, weight, **options)
    normalizer = problem.normalizer() if reduction == "mean" else 1.0
    scale = gradient_scale(normalizer, reduction) if gradient else None
    losses, gradients = rows(problem, scale)
    loss = reduce_losses(
        losses.reshape(problem.loss_shape), normalizer, reduction=reduction, on_empty=on_empty
    )
    return loss, None if gradients is None else problem.in_input_layout(gradients)


def rows_in_blocks(
    problem: ClassTargets, scale: Any, negative_log_probability: Callable[[Array], Array]
) -> tuple[Array, Array | None]:
    """Return each row's loss and, given the factor that it takes, its gradient, in plain NumPy."""
    losses = np.empty(len(problem.scores), problem.compute_dtype)
    gradients = None if scale is None else np.empty(problem.scores.shape, problem.scores.dtype)
    for rows in problem.blocks():
        scores = problem.block_scores(rows)
        negative_log = negative_log_probability(scores)
        mass = problem.mass(rows, scores)
        losses[rows] = problem.settle(rows, reference.weighted_loss(negative_log, mass))
        if gradients is not None:
            slopes = reference.loss_gradient(negative_log, mass)
            if scale != 1.0:
                slopes *= problem.compute_dtype.type(scale)
            gradients[rows] = problem.settle(rows, slopes)
    return losses, gradients


def _rows_of_scores(problem: ClassTargets, scale: Any) -> tuple[Array, Array | None]:
    if kernels.worth_compiling(problem.scores.size) and compiled.suits(problem):
        return compiled.rows(problem, scale)
    return rows_in_blocks(problem, scale, reference.negative_log_softmax)


def _scores(input: npt.ArrayLike, check: bool) -> Array:
    values = checks.floating(input, "input")
    if check:
        checks.warn_of_probabilities(values)
    return values
