"""Which samples are held out to judge the model on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import train_test_split

from bridle import checks

Array = npt.NDArray[Any]


def holdout_split(target: Array, share: float, seed: int = 0) -> tuple[Array, Array]:
    """Return the sorted row numbers ``(train, test)``; every class keeps its share in both.

    Every class has a sample for training, if need be its only one. Distributions as targets are
    split at random.
    """
    rows = np.arange(len(target))
    if share == 0:
        return rows, rows[:0]
    if target.ndim == 2:
        return _split(rows, None, share, seed)
    _, classes, counts = np.unique(target, return_inverse=True, return_counts=True)
    shared = counts[classes] > 1
    train, test = _split(rows[shared], classes[shared], share, seed)
    # Of a rare class a large share is all of it.
    lost = np.setdiff1d(classes[test], classes[train])
    kept = np.isin(test, [test[np.argmax(classes[test] == one)] for one in lost])
    train = np.sort(np.concatenate([train, rows[~shared], test[kept]]))
    return train, test[~kept]


def _split(rows: Array, classes: Array | None, share: float, seed: int) -> tuple[Array, Array]:
    try:
        train, test = train_test_split(rows, test_size=share, stratify=classes, random_state=seed)
    except ValueError:
        of_each = "" if classes is None else " of each class"
        raise checks.InputError(
            f"--holdout {share:g}: too few samples{of_each} to split them so; "
            f"--holdout 0 judges on the training samples"
        ) from None
    return np.sort(train), np.sort(test)
