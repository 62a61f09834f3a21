"""Focal loss from scores: cross-entropy that leaves the easy samples alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.losses.class_targets import ClassTargets, in_default_layout
from bridle.losses.cross_entropy import EvaluatedLoss, evaluate_class_loss
from bridle.losses.score_rows import LossOptions, RowLosses, rows_of_scores

Array = npt.NDArray[Any]


def focal_loss(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    *,
    gamma: float = 2.0,
    ignore_index: int = -100,
    reduction: checks.Reduction = "mean",
    sample_weight: npt.ArrayLike | None = None,
    normalizer: float | None = None,
    on_empty: checks.OnEmpty = "nan",
    axis: int | None = None,
    dim: int | None = None,
    check: bool = True,
) -> Array:
    r"""Return ``−(1 − p)^γ log p`` in nats, with ``p = softmax(input)[target]``, averaged.

    A sample that is right already (p near 1) counts for less than in `cross_entropy`, the more so
    the larger γ is: at γ = 2 and p = 0.9 a hundredth. So many easy samples do not drown the few
    hard ones. The loss of a sample is

        sample_weight · weight[target] · (1 − p)^γ · (−log p)

    and γ = 0 is `cross_entropy`.

    Parameters
    ----------
    input : array_like, (C,), (N, C) or (N, C, d1, …)
        Scores (logits), any float dtype and layout; a class with the score −inf is masked.
    target : array_like
        Class indices of shape ``()``, ``(N,)`` or ``(N, d1, …)``: any integer type; booleans for
        two classes. Distributions have no focal loss here.
    weight : array_like, (C,), optional
        A weight per class, 0 or above: the paper's α. A mean divides by the sum of the weights of
        the targets' classes, as that of `cross_entropy` does.
    gamma : float
        The focusing parameter γ, 0 or above.
    ignore_index, reduction, sample_weight, normalizer, on_empty
        As in `cross_entropy`. The paper divides by the number of samples that are no background:
        that is a ``normalizer``.
    axis, dim, check
        As there.

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
        Targets that are no class indices, a γ below 0 or not finite, or any other argument that
        cannot be used, with the first bad row.

    Warns
    -----
    UserWarning
        The input looks like probabilities.

    Examples
    --------
    >>> focal_loss([[2.0, 1.0, 0.0], [0.0, 3.0, 0.0]], [0, 1], reduction="none").round(4)
    array([0.0457, 0.0008])
    >>> float(focal_loss([[2.0, 1.0, 0.0], [0.0, 3.0, 0.0]], [0, 1], gamma=0).round(4))
    0.2513

    References
    ----------
    T.-Y. Lin et al., *Focal Loss for Dense Object Detection*, 2017, section 3; here of a softmax.
    """
    values, indices, _ = in_default_layout(checks.floating(input, "input"), target, axis, dim)
    return _evaluation(
        values,
        indices,
        weight,
        gamma,
        ignore_index=ignore_index,
        reduction=reduction,
        sample_weight=sample_weight,
        normalizer=normalizer,
        on_empty=on_empty,
        check=check,
    ).loss


def focal_loss_gradient(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    *,
    gamma: float = 2.0,
    ignore_index: int = -100,
    reduction: checks.Reduction = "mean",
    sample_weight: npt.ArrayLike | None = None,
    normalizer: float | None = None,
    on_empty: checks.OnEmpty = "nan",
    axis: int | None = None,
    dim: int | None = None,
    check: bool = True,
) -> tuple[Array, Array]:
    """Return ``(loss, d loss / d input)``, of which the loss is that of `focal_loss`.

    The gradient of a sample's loss is that of its cross-entropy, ``softmax(z) − one_hot``, times
    ``(1 − p)^γ · (1 − γ · p · log p / (1 − p))``.

    Parameters
    ----------
    input, target, weight, gamma, ignore_index, reduction, sample_weight, normalizer, on_empty
        As in `focal_loss`; with ``reduction="none"`` each row is the gradient of its own loss.
    axis, dim, check
        As there.

    Returns
    -------
    loss : ndarray or NumPy scalar
        In nats, as `focal_loss` gives it.
    gradient : ndarray
        In the shape and dtype of the input; finite even where the loss is +inf.

    Raises
    ------
    InputError, TargetRangeError
        As `focal_loss`.

    Examples
    --------
    >>> loss, gradient = focal_loss_gradient([2.0, 1.0, 0.0], 0)
    >>> gradient.round(3)
    array([-0.098,  0.072,  0.026])
    """
    placed = in_default_layout(checks.floating(input, "input"), target, axis, dim)
    found = _evaluation(
        placed.values,
        placed.target,
        weight,
        gamma,
        gradient=True,
        ignore_index=ignore_index,
        reduction=reduction,
        sample_weight=sample_weight,
        normalizer=normalizer,
        on_empty=on_empty,
        check=check,
    )
    assert found.rows.gradients is not None
    return found.loss, placed.in_input_layout_of(
        found.problem.in_input_layout(found.rows.gradients)
    )


def _evaluation(
    values: Array, target: Any, weight: npt.ArrayLike | None, gamma: float, **options: Any
) -> EvaluatedLoss:
    loss_options = LossOptions(gamma=checks.at_least_zero(gamma, "gamma"))
    if options["check"]:
        checks.warn_of_probabilities(values)

    def rows(problem: ClassTargets, scale: Any, _z_share: float) -> RowLosses:
        if problem.target.ndim != 1:
            shape = np.shape(target[0] if isinstance(target, tuple) else target)
            found = f"distributions of shape {shape}"
            raise checks.InputError.of("target", expected="class indices", found=found)
        return rows_of_scores(problem, scale, loss_options)

    return evaluate_class_loss(values, target, weight, rows, **options)
