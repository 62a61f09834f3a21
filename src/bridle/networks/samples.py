"""Labels or distributions with their features, as an epoch wants them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.networks.epoch import Samples
from bridle.rows import Features, Rows

Array = npt.NDArray[Any]


def numbers(features: Rows, name: str = "X") -> Features:
    """Return the features as one array of float32 or float64, or as one CSR array.

    Refuse what is not finite.
    """
    values = features.to_array()
    if not features.is_sparse:
        values = np.ascontiguousarray(values)
    checks.finite_rows(values, name)
    return values


def from_arrays(
    features: Features, target: Array, sample_weight: Array | None, classes: int
) -> Samples:
    """Return samples to learn from; those of weight 0 are as if they were not there.

    The target holds class indices (N,) or distributions (N, K).
    """
    dtype, weight = features.dtype, sample_weight
    if weight is None:
        weight = np.ones(features.shape[0])
    elif (weight == 0).any():
        features, target, weight = features[weight > 0], target[weight > 0], weight[weight > 0]
    soft = target.ndim == 2
    return Samples(
        features=features,
        labels=np.zeros(0, np.int64) if soft else target.astype(np.int64),
        distributions=np.zeros((0, classes), dtype)
        if not soft
        else np.ascontiguousarray(target, dtype),
        weight=weight.astype(dtype),
    )


def take(samples: Samples, rows: Array) -> Samples:
    """Return some of the samples."""
    return Samples(
        samples.features[rows],
        samples.labels[rows] if len(samples.labels) else samples.labels,
        samples.distributions[rows] if len(samples.distributions) else samples.distributions,
        samples.weight[rows],
    )


def split(
    samples: Samples, fraction: float, random: np.random.RandomState
) -> tuple[Samples, Samples]:
    """Draw a share of each class for validation; of all, for distributions and sets of labels."""
    classes = samples.labels if len(samples.labels) else np.zeros(len(samples.weight), np.int64)
    shuffled = random.permutation(len(classes))
    held = np.concatenate(
        [
            rows[: min(round(fraction * len(rows)), len(rows) - 1)]
            for rows in (shuffled[classes[shuffled] == each] for each in np.unique(classes))
        ]
    )
    if len(held) == 0:
        raise checks.InputError(
            f"validation_fraction: {fraction:g} of each class is no sample: expected a larger one",
            argument="validation_fraction",
            expected="a larger one",
            found=f"{fraction:g}",
        )
    kept = np.setdiff1d(np.arange(len(classes)), held, assume_unique=True)
    return take(samples, kept), take(samples, np.sort(held))
