"""Calibrators by name, and from files of any of them."""

from __future__ import annotations

import os

from bridle import checks
from bridle.calibrate.affine import DirichletScaling, MatrixScaling, VectorScaling
from bridle.calibrate.base import FORMAT, Calibrator
from bridle.calibrate.isotonic import IsotonicScaling
from bridle.calibrate.temperature import TemperatureScaling

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
    _, description = FORMAT.read(path)
    kind = str(description.get("kind"))
    if kind not in METHODS:
        raise checks.InputError(f"{path}: no bridle calibrator of a known kind")
    return METHODS[kind].load(path)
