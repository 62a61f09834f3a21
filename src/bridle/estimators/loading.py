"""A classifier from its file, whichever it is."""

from __future__ import annotations

import os
import reprlib
from typing import Any

import numpy.typing as npt

from bridle import checks
from bridle.estimators import model_file
from bridle.estimators.network_classifier import NetworkClassifier
from bridle.estimators.softmax_regression import SoftmaxRegression

Array = npt.NDArray[Any]
Saved = SoftmaxRegression | NetworkClassifier

_CLASSES: dict[str, type[SoftmaxRegression] | type[NetworkClassifier]] = {
    model_file.SOFTMAX_REGRESSION.name: SoftmaxRegression,
    model_file.NETWORK_CLASSIFIER.name: NetworkClassifier,
}


def load_model(path: str | os.PathLike[str]) -> Saved:
    """Read the model that a file holds: that of a softmax regression, or of a network.

    `bridle.load` reads these, and what calibrates them too.

    Raises
    ------
    InputError
        No such file, or none that holds a model of ours.

    Examples
    --------
    >>> import tempfile
    >>> from bridle import SoftmaxRegression
    >>> model = SoftmaxRegression().fit([[0.0], [1.0], [2.0]], [0, 1, 1])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(f"{folder}/model.safetensors")
    ...     load_model(f"{folder}/model.safetensors")
    SoftmaxRegression()
    """
    return _class_of(model_file.format_of(path), path).load(path)


def model_of_contents(
    description: dict[str, Any], tensors: dict[str, Array], path: str | os.PathLike[str]
) -> Saved:
    """Return the model that a part of a file tells of; errors name the file at ``path``."""
    found = _class_of(str(description.get("format")), path)
    return found.from_contents(description, tensors, path)


def _class_of(
    name: str, path: str | os.PathLike[str]
) -> type[SoftmaxRegression] | type[NetworkClassifier]:
    if name not in _CLASSES:
        kinds = " or ".join(_CLASSES)
        raise checks.InputError.of(str(path), expected=f"a {kinds} file", found=reprlib.repr(name))
    return _CLASSES[name]
