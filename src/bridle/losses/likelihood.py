"""The same loss from probabilities, and the likelihood that it is the logarithm of.

Three names for one preference: the parameters that make the likelihood of the targets largest
make its logarithm largest and the negative log-likelihood smallest, because the logarithm rises
everywhere. Only the sum of logarithms survives many samples: the product underflows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.kernels.numpy import reference
from bridle.losses.class_targets import ClassTargets, in_default_layout
from bridle.losses.cross_entropy import evaluate_class_loss
from bridle.losses.score_rows import RowLosses

Array = npt.NDArray[Any]


def nll(
    probabilities: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: checks.Reduction = "mean",
    label_smoothing: float = 0.0,
    sample_weight: npt.ArrayLike | None = None,
    normalizer: float | None = None,
    on_empty: checks.OnEmpty = "nan",
    axis: int | None = None,
    dim: int | None = None,
    check: bool = True,
) -> Array:
    """Return ``−log probabilities[target]`` in nats: cross-entropy from probabilities.

    ``nll(softmax(z), y)`` equals ``cross_entropy(z, y)``, which is to be preferred where the scores
    are at hand, since a small probability has lost digits (or is 0) that its score still has.

    Parameters
    ----------
    probabilities : array_like, (C,), (N, C) or (N, C, d1, …)
        Distributions over the classes; each sums to 1.
    target, weight, ignore_index, reduction, label_smoothing, sample_weight, normalizer, on_empty
        As in `cross_entropy`.
    axis, dim
        Where the classes lie, as there.
    check : bool
        False takes the values of all arguments as they are.

    Returns
    -------
    ndarray or NumPy scalar
        The loss, in the shape and dtype that `cross_entropy` gives it. A probability 0 at the
        target gives +inf; nothing is clipped.

    Raises
    ------
    InputError
        A row is no distribution (the message points to `cross_entropy` for scores), or another
        argument cannot be used.
    TargetRangeError
        An index outside ``[0, C)``.

    Examples
    --------
    >>> nll([[0.1, 0.3, 0.6], [0.2, 0.3, 0.5]], [0, 2], reduction="none")
    array([2.30258509, 0.69314718])
    """
    values, target, _ = in_default_layout(
        checks.floating(probabilities, "probabilities"),
        target,
        axis,
        dim,
        "probabilities",
    )
    checks.score_layout(values, "probabilities")
    if check:
        hint = " (for scores, use cross_entropy)"
        checks.probability_rows(values, "probabilities", min(values.ndim - 1, 1), hint)
    # log 0 = −inf is what masks a class, so probabilities and scores follow one rule.
    with np.errstate(divide="ignore", invalid="ignore"):
        wide = values.astype(reference.accumulator_dtype(values.dtype), copy=False)
        log_probabilities = np.log(wide)
    return evaluate_class_loss(
        log_probabilities,
        target,
        weight,
        _rows_of_logarithms,
        gradient=False,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
        sample_weight=sample_weight,
        normalizer=normalizer,
        on_empty=on_empty,
        check=check,
    ).loss


def _rows_of_logarithms(problem: ClassTargets, scale: Any, _z_share: float) -> RowLosses:
    """Return each row's loss, block by block; a distribution has no gradient of its own."""
    assert scale is None
    losses = np.empty(len(problem.scores), problem.compute_dtype)
    for rows in problem.blocks():
        block = problem.take(rows)
        # In C order: how a row is summed must depend neither on layout nor on block size.
        logarithms = np.ascontiguousarray(block.scores, dtype=problem.compute_dtype)
        # 0 − log p, not a minus sign: the certain target's loss is 0, not −0.
        losses[rows] = block.fill_uncounted(reference.weighted_loss(0 - logarithms, block.mass()))
    return RowLosses(losses, None)


def log_likelihood(probabilities: npt.ArrayLike, target: npt.ArrayLike) -> Array:
    """Return ``Σ_i log probabilities[i, target_i]`` in nats: the negative sum of `nll`.

    Parameters
    ----------
    probabilities, target
        As in `nll`.

    Returns
    -------
    NumPy scalar
        At most 0; −inf if one of the probabilities is 0.

    Raises
    ------
    InputError, TargetRangeError
        As `nll`.

    Examples
    --------
    >>> float(log_likelihood([[0.5, 0.5], [0.2, 0.8]], [0, 1]).round(4))
    -0.9163
    """
    return np.asarray(0 - nll(probabilities, target, reduction="sum"))[()]


def likelihood(probabilities: npt.ArrayLike, target: npt.ArrayLike) -> Array:
    """Return ``Π_i probabilities[i, target_i]``, the probability of all targets together.

    Parameters
    ----------
    probabilities, target
        As in `nll`.

    Returns
    -------
    NumPy scalar
        A probability, which underflows to 0 after a few hundred samples (1e-308 is the least that
        a float64 holds at full precision): compare models by `log_likelihood`.

    Raises
    ------
    InputError, TargetRangeError
        As `nll`.

    Examples
    --------
    >>> float(likelihood([[0.5, 0.5], [0.2, 0.8]], [0, 1]))
    0.4
    """
    values = checks.floating(probabilities, "probabilities")
    chosen = nll(values, target, reduction="none")
    # Taken from the logarithms of the checked targets, which serve every layout and soft targets;
    # each factor is off by about |log p| units in the last place.
    return np.asarray(np.exp(-chosen).prod())[()]
