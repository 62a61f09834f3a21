"""Which samples are held out to judge the model on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import train_test_split

from bridle import checks

Array = npt.NDArray[Any]


def holdout_split(target: Array, share: float, seed: int) -> tuple[Array, Array]:
    """Return the sorted row numbers ``(train, test)``; every class keeps its share in both.

    A class with a single sample keeps it for training. Distributions as targets are split at
    random.
    """
    rows = np.arange(len(target))
    if share == 0:
        return rows, rows[:0]
    if target.ndim == 2:
        return _split(rows, None, share, seed)
    _, classes, counts = np.unique(target, return_inverse=True, return_counts=True)
    shared = counts[classes] > 1
    train, test = _split(rows[shared], classes[shared], share, seed)
    return np.sort(np.concatenate([train, rows[~shared]])), test


def _split(rows: Array, classes: Array | None, share: float, seed: int) -> tuple[Array, Array]:
    try:
        train, test = train_test_split(rows, test_size=share, stratify=classes, random_state=seed)
    except ValueError as error:
        reason = f"{len(rows)} samples cannot be split so: {error}"
        raise checks.InputError(f"--holdout {share:g}: {reason}") from None
    return np.sort(train), np.sort(test)
