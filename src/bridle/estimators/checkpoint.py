"""A long fit's best weights on disk, from which another run goes on.

The optimum is one and the fit goes there from anywhere, so that weights are all there is to keep;
what the solver had learned of the curvature is learned again in a few passes.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks, files
from bridle.estimators import model_file
from bridle.files import is_there

Array = npt.NDArray[Any]

# Seconds between two writings: what an interruption without warning costs at most.
_EVERY = 30.0


class Checkpoint:
    """The file of a fit with the given classes and number of features."""

    def __init__(self, path: str | os.PathLike[str], classes: Array, width: int) -> None:
        self._path, self._classes, self._width = Path(path), classes, width
        self._written = time.monotonic()

    def load(self) -> tuple[Array, Array] | None:
        """Return the weights (D, K) and the intercept that were kept; None if there is no file.

        Raises
        ------
        InputError
            A file of something else, or of a fit with other classes or features.
        """
        if not is_there(self._path):
            return None
        tensors, description = model_file.CHECKPOINT.read(self._path)
        try:
            coef, intercept = tensors["coef"], tensors["intercept"]
            classes, _ = model_file.classes_and_names(description)
        except (KeyError, TypeError, ValueError) as error:
            raise checks.InputError(f"{self._path}: no readable checkpoint ({error})") from None
        expected = (len(self._classes), self._width)
        if coef.shape != expected or intercept.shape != expected[:1]:
            raise checks.InputError.of(
                str(self._path),
                expected=f"a checkpoint of {expected[0]} classes and {expected[1]} features",
                found=f"weights of shape {coef.shape}",
            )
        if not np.array_equal(classes, self._classes):
            raise checks.InputError(f"{self._path}: the checkpoint is of a fit with other classes")
        if not (np.isfinite(coef).all() and np.isfinite(intercept).all()):
            raise checks.InputError(f"{self._path}: the checkpoint's weights are not finite")
        return coef.T.astype(np.float64), intercept.astype(np.float64)

    @property
    def due(self) -> bool:
        """Whether the last writing is long enough ago."""
        return time.monotonic() - self._written >= _EVERY

    def save(self, weight: Array, intercept: Array) -> None:
        """Write weights (D, K) and an intercept, whole or not at all."""
        tensors = {"coef": np.ascontiguousarray(weight.T), "intercept": intercept}
        description = model_file.class_description(self._classes)
        files.write_whole(self._path, model_file.CHECKPOINT.to_bytes(description, tensors))
        self._written = time.monotonic()
