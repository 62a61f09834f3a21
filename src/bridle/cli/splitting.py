"""Which samples are held out: to judge the model on, and by each of some folds.

Not by lot: a random split has a seed to choose, and figures that change with it. The samples held
out are spread evenly over each class in the order of the data: for a share of a fifth, the middle
one of every five; of each class the folds take turns. That is the same each time, keeps every
class's share, and is fair to data that come sorted by class, by source or by time. What folds say
of samples that they hold out is so what the model would say of those that it is judged on: blocks
of sorted data would be stranger to the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks

Array = npt.NDArray[Any]


def holdout_split(target: Array, share: float) -> tuple[Array, Array]:
    """Return the sorted row numbers ``(train, test)`` of labels, or of distributions (N, C).

    Every class keeps its share in both, and at least one sample for training. Distributions count
    as one class.

    >>> holdout_split(np.array(["a"] * 6 + ["b"] * 4), 0.5)
    (array([0, 2, 4, 6, 8]), array([1, 3, 5, 7, 9]))
    """
    labels = target if target.ndim == 1 else np.zeros(len(target))
    _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    by_class = np.split(np.argsort(classes, kind="stable"), np.cumsum(counts)[:-1])
    test = np.sort(np.concatenate([_spread(rows, share) for rows in by_class]))
    if share > 0 and len(test) == 0:
        raise checks.InputError(
            f"--holdout {share:g}: too few samples of each class to hold any out; "
            f"--holdout 0 judges on the training samples"
        )
    return np.setdiff1d(np.arange(len(target)), test, assume_unique=True), test


def fold_of_rows(target: Array, folds: int) -> Array:
    """Return the number of the fold that holds out each sample, for labels.

    >>> fold_of_rows(np.array(["a"] * 5 + ["b"] * 3), 2)
    array([0, 1, 0, 1, 0, 1, 0, 1])
    """
    _, classes, counts = np.unique(target, return_inverse=True, return_counts=True)
    if folds > counts.max():
        raise checks.InputError(
            f"--cv: expected {counts.max()} folds at most, the samples to learn from of the "
            f"largest class, found {folds}"
        )
    fold = np.empty(len(target), np.intp)
    # From one class to the next the turns go on, or the first folds would have the most.
    fold[np.argsort(classes, kind="stable")] = np.arange(len(target)) % folds
    return fold


def _spread(rows: Array, share: float) -> Array:
    number = min(round(share * len(rows)), len(rows) - 1)
    middles = (np.arange(number) + 0.5) * len(rows) / max(number, 1)
    return np.asarray(rows[middles.astype(np.intp)])
