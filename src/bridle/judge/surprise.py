"""The samples that a model got most wrong are where to look first: often the label is at fault."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class SurprisingSample:
    """One sample: its row (or its name), what it was said to be, how unlikely the model held it."""

    index: int | str
    target: checks.Label
    predicted: checks.Label
    probability: float
    surprisal: float


def most_surprising(surprisal: npt.ArrayLike, count: int = 10) -> Array:
    """Return the rows of the ``count`` largest surprisals, largest first.

    Parameters
    ----------
    surprisal : array_like, (N,)
        ``−log p`` at the target, in any unit. Infinities come first; ties go by row.
    count : int
        How many rows, 0 or more; all if there are fewer.

    Returns
    -------
    integer ndarray, (min(count, N),)

    Raises
    ------
    InputError
        Surprisals that are no real numbers, NaN among them, or a negative count.

    Examples
    --------
    >>> most_surprising([0.1, 2.0, float("inf"), 2.0], count=3)
    array([2, 1, 3])
    """
    values = checks.floating(surprisal, "surprisal").astype(np.float64, copy=False)
    if values.ndim != 1:
        raise checks.InputError.of("surprisal", expected="shape (N,)", found=values.shape)
    if np.isnan(values).any():
        row = int(np.argmax(np.isnan(values)))
        message = f"surprisal: row {row} is NaN"
        raise checks.InputError(
            message, argument="surprisal", expected="a number", found="NaN", row=row
        )
    if count < 0:
        raise checks.InputError.of("count", expected="0 or more", found=count)
    return np.argsort(-values, kind="stable")[:count]
