"""Whatever bridle saved, from its file."""

from __future__ import annotations

import os
import reprlib
from typing import TYPE_CHECKING

from bridle import checks
from bridle.calibrate.base import Calibrator
from bridle.calibrate.classifier import CalibratedClassifier
from bridle.calibrate.loading import load_calibrator
from bridle.estimators.model_file import (
    CALIBRATED_CLASSIFIER,
    CALIBRATOR,
    NETWORK_CLASSIFIER,
    SOFTMAX_REGRESSION,
    format_of,
)

if TYPE_CHECKING:
    from bridle.estimators import NetworkClassifier, SoftmaxRegression

_KINDS = (SOFTMAX_REGRESSION, NETWORK_CLASSIFIER, CALIBRATED_CLASSIFIER, CALIBRATOR)


def load(
    path: str | os.PathLike[str],
) -> SoftmaxRegression | NetworkClassifier | CalibratedClassifier | Calibrator:
    """Read a model or a calibrator from the file that its ``save`` or the command wrote.

    A classifier that was fitted with ``--calibrate`` comes back as a `CalibratedClassifier`: what
    it predicts is calibrated, and its ``estimator_`` is the classifier itself. Nothing in the file
    is executed.

    Parameters
    ----------
    path : path
        A file: ``model.safetensors`` in the folder of a fit, for example.

    Returns
    -------
    SoftmaxRegression, NetworkClassifier, CalibratedClassifier or Calibrator

    Raises
    ------
    InputError
        No such file, or none that holds any of these.

    Examples
    --------
    >>> import tempfile
    >>> from bridle import SoftmaxRegression
    >>> model = SoftmaxRegression().fit([[0.0], [1.0], [2.0]], [0, 1, 1])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(f"{folder}/model.safetensors")
    ...     load(f"{folder}/model.safetensors")
    SoftmaxRegression()
    """
    name = format_of(path)
    if name == CALIBRATED_CLASSIFIER.name:
        return CalibratedClassifier.load(path)
    if name == CALIBRATOR.name:
        return load_calibrator(path)
    if name not in (each.name for each in _KINDS):
        kinds = ", ".join(each.name for each in _KINDS)
        found = reprlib.repr(name)
        raise checks.InputError.of(str(path), expected=f"a file of one of {kinds}", found=found)
    from bridle.estimators.loading import load_model  # networks, too, at once

    return load_model(path)
