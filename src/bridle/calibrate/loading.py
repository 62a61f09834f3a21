"""Calibrators by name, and from files of any of them."""

from __future__ import annotations

import os
from typing import Any

import numpy.typing as npt

from bridle import checks
from bridle.calibrate.affine import DirichletScaling, MatrixScaling, VectorScaling
from bridle.calibrate.base import Calibrator
from bridle.calibrate.isotonic import IsotonicScaling
from bridle.calibrate.temperature import TemperatureScaling
from bridle.estimators.model_file import CALIBRATOR

METHODS: dict[str, type[Calibrator]] = {
    each.kind: each
    for each in (
        TemperatureScaling,
        VectorScaling,
        MatrixScaling,
        DirichletScaling,
        IsotonicScaling,
    )
}


def create(method: str) -> Calibrator:
    """Return an unfitted calibrator by its name: a key of `METHODS`.

    >>> create("temperature")
    TemperatureScaling()
    """
    checks.one_of(method, "method", tuple(METHODS))
    return METHODS[method]()


def load_calibrator(path: str | os.PathLike[str]) -> Calibrator:
    """Read a calibrator of any kind that `Calibrator.save` wrote; nothing in the file is executed.

    Raises
    ------
    InputError
        No such file, or none that holds a calibrator.
    """
    tensors, description = CALIBRATOR.read(path)
    return calibrator_of_contents(description, tensors, path)


def calibrator_of_contents(
    description: dict[str, Any],
    tensors: dict[str, npt.NDArray[Any]],
    path: str | os.PathLike[str],
) -> Calibrator:
    """Return the calibrator that a part of a file tells of; errors name the file at ``path``."""
    kind = str(description.get("kind"))
    if kind not in METHODS:
        raise checks.InputError(f"{path}: no bridle calibrator of a known kind")
    return METHODS[kind].from_contents(description, tensors, path)
