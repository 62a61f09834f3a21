"""Softmax cross-entropy from scores, with PyTorch's meaning of every argument."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.losses.class_targets import ClassTargets, class_targets, in_default_layout
from bridle.losses.outputs import asked_outputs, collect_outputs
from bridle.losses.reduction import gradient_scale, reduce_losses
from bridle.losses.score_rows import LossOptions, RowLosses, rows_of_scores

Array = npt.NDArray[Any]


def cross_entropy(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: checks.Reduction = "mean",
    label_smoothing: float = 0.0,
    sample_weight: npt.ArrayLike | None = None,
    normalizer: float | None = None,
    z_loss: float = 0.0,
    softcap: float = 0.0,
    temperature: float = 1.0,
    on_empty: checks.OnEmpty = "nan",
    outputs: Sequence[str] | None = None,
    axis: int | None = None,
    dim: int | None = None,
    check: bool = True,
) -> Any:
    r"""Return ``−log softmax(z)[target]`` in nats, averaged over the samples.

    ``z = cap(input) / temperature`` are the scores. The names and meanings are those of
    `torch.nn.functional.cross_entropy`; what torch leaves open or gets wrong (masked classes,
    empty means, targets out of range) is stated below. The loss of a sample is

        sample_weight · [Σ_c w_c q_c (log Σ_k exp(z_k) − z_c) + z_loss · (log Σ_k exp(z_k))²]

    with ``q = (1 − ε) · target + ε / K`` over the K classes that are not masked.

    Parameters
    ----------
    input : array_like, (C,), (N, C) or (N, C, d1, …)
        Scores (logits), any float dtype and layout. A class masked with −inf has probability 0,
        gradient 0 and no share of the smoothing: masking it is the same as leaving it out.
    target : array_like, or a pair of them
        Class indices of shape ``()``, ``(N,)`` or ``(N, d1, …)`` (any integer type; booleans for
        two classes), distributions in the shape of the input (one-hot and soft targets), or sparse
        distributions: a tuple of two arrays, indices (N, k) and probabilities (N, k).
    weight : array_like, (C,), optional
        A weight per class, 0 or above. A mean divides by the sum of the weights of the targets'
        classes; of distributions, as torch does, by the number of samples (or their weights).
    ignore_index : int
        Samples with this index count nowhere: loss 0, gradient 0.
    reduction : {"mean", "sum", "none"}
        What becomes of the losses of the samples.
    label_smoothing : float in [0, 1]
        The share ε of the target that is spread evenly over the classes.
    sample_weight : array_like, optional
        A weight per sample (or position), 0 or above. Weight k is the same as k copies.
    normalizer : number, optional
        What a mean divides the sum by, such as the number of samples on all machines.
    z_loss : float
        The coefficient of ``(log Σ exp z)²``, which keeps scores from drifting. Class weights and
        smoothing do not touch it: in a mean, whatever they are, it is averaged over the samples
        (or their weights). Only a ``normalizer`` that is given divides all.
    softcap : float
        ``cap(s) = softcap · tanh(s / softcap)``; 0 caps nothing.
    temperature : float
        What the scores are divided by, above 0.
    on_empty : {"nan", "zero", "raise"}
        What a mean over no sample at all is. Torch gives NaN.
    outputs : sequence of str, optional
        Some of ``"loss", "log_prob", "entropy", "logsumexp", "argmax", "correct"``: what one pass
        over the scores returns, in a named tuple.
    axis, dim : int, optional
        Where the classes lie, in the input and in distributions as target; two names of one
        option. By default on axis 1 as in torch, or on the only one: scores (batch, position,
        class) need ``axis=-1``.
    check : bool
        False takes the values of target and weights as they are: distributions need not sum to 1,
        weights may be negative, and an index out of range gives NaN in its row.
    inplace : bool
        Of tensors alone: write the gradient over their memory; see `bridle.torch.cross_entropy`.
    group, classes
        Of tensors alone: their classes are shared out over the ranks of a process group; see there.

    Returns
    -------
    ndarray, NumPy scalar or CrossEntropyOutputs
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
    asked = asked_outputs(outputs)
    placed = in_default_layout(checks.floating(input, "input"), target, axis, dim)
    found = evaluate_class_loss(
        _scores(placed.values, check),
        placed.target,
        weight,
        _rows(z_loss, softcap, temperature, asked),
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
        sample_weight=sample_weight,
        normalizer=normalizer,
        on_empty=on_empty,
        check=check,
    )
    if outputs is None:
        return found.loss
    return collect_outputs(asked, found.loss, found.problem, found.rows)


def cross_entropy_gradient(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: checks.Reduction = "mean",
    label_smoothing: float = 0.0,
    sample_weight: npt.ArrayLike | None = None,
    normalizer: float | None = None,
    z_loss: float = 0.0,
    softcap: float = 0.0,
    temperature: float = 1.0,
    on_empty: checks.OnEmpty = "nan",
    axis: int | None = None,
    dim: int | None = None,
    check: bool = True,
) -> tuple[Array, Array]:
    """Return ``(loss, d loss / d input)``, of which the loss is that of `cross_entropy`.

    The gradient of a sample's loss is, without a softcap and at temperature 1,
    ``softmax(z) · Σ_c mass_c − mass``: for plain class indices ``softmax(z) − one_hot``, divided
    by N for a mean.

    Parameters
    ----------
    input, target, weight, ignore_index, reduction, label_smoothing, sample_weight, normalizer
        As in `cross_entropy`; with ``reduction="none"`` each row is the gradient of its own loss.
    z_loss, softcap, temperature, on_empty, axis, dim, check
        As there. (There is no gradient of further ``outputs``.)

    Returns
    -------
    loss : ndarray or NumPy scalar
        In nats, as `cross_entropy` gives it.
    gradient : ndarray
        In the shape and dtype of the input; finite even where the loss is +inf.

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
    placed = in_default_layout(checks.floating(input, "input"), target, axis, dim)
    found = evaluate_class_loss(
        _scores(placed.values, check),
        placed.target,
        weight,
        _rows(z_loss, softcap, temperature),
        gradient=True,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
        sample_weight=sample_weight,
        normalizer=normalizer,
        on_empty=on_empty,
        check=check,
    )
    assert found.rows.gradients is not None
    return found.loss, placed.in_input_layout_of(
        found.problem.in_input_layout(found.rows.gradients)
    )


class EvaluatedLoss(NamedTuple):
    """A loss, and what it was made of."""

    loss: Array
    problem: ClassTargets
    rows: RowLosses


@np.errstate(over="ignore", invalid="ignore")  # inf and NaN in the answer say it themselves
def evaluate_class_loss(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None,
    rows: Callable[[ClassTargets, Any, float], RowLosses],
    *,
    gradient: bool = False,
    reduction: checks.Reduction = "mean",
    normalizer: float | None = None,
    on_empty: checks.OnEmpty = "nan",
    **options: Any,
) -> EvaluatedLoss:
    """Return a class loss and, if asked, its gradient, given what computes those of the rows.

    ``options`` are those of `class_targets`; ``rows`` is given the checked problem, the factor of a
    gradient (None: no gradient is asked for) and that of the z-loss. Scores and logarithms of
    probabilities both serve as input: the second are scores whose log-sum-exp is 0.
    """
    checks.reduction(reduction)
    checks.on_empty(on_empty)
    checks.normalizer(normalizer, reduction)
    problem = class_targets(input, target, weight, **options)
    divisor, z_share = mean_divisor(problem, reduction, normalizer)
    scale = gradient_scale(divisor, reduction) if gradient else None
    found = rows(problem, scale, z_share)
    loss = reduce_losses(
        found.losses.reshape(problem.loss_shape), divisor, reduction=reduction, on_empty=on_empty
    )
    return EvaluatedLoss(loss, problem, found)


def mean_divisor(
    problem: ClassTargets, reduction: checks.Reduction, normalizer: float | None
) -> tuple[Any, float]:
    """Return what the sum of the losses is divided by, and what z-loss is multiplied by before."""
    if reduction != "mean":
        return 1.0, 1.0
    if normalizer is not None:
        return normalizer, 1.0
    divisor = problem.normalizer()
    return divisor, problem.z_share(divisor)


def _rows(
    z_loss: float, softcap: float, temperature: float, asked: frozenset[str] = frozenset()
) -> Callable[[ClassTargets, Any, float], RowLosses]:
    loss_options = LossOptions(
        float(z_loss),
        checks.softcap(softcap),
        checks.positive(temperature, "temperature"),
        asked,
    )
    return lambda problem, scale, z_share: rows_of_scores(
        problem, scale, replace(loss_options, z_loss=loss_options.z_loss * z_share)
    )


def _scores(values: Array, check: bool) -> Array:
    if check:
        checks.warn_of_probabilities(values)
    return values
