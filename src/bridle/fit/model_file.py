"""A fitted model on disk: safetensors for the numbers, JSON for the rest.

Nothing in such a file is executed when it is read: no pickle, no import by name, no expression.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from bridle import checks, files
from bridle.fit.report import FitReport

if TYPE_CHECKING:
    from bridle.fit.softmax_regression import SoftmaxRegression

Array = npt.NDArray[Any]

_FORMAT = "bridle.SoftmaxRegression"
_VERSION = 1


def save(model: SoftmaxRegression, path: str | os.PathLike[str]) -> None:
    """Write a fitted model, whole or not at all."""
    description = {
        "format": _FORMAT,
        "version": _VERSION,
        "parameters": _plain_parameters(model.get_params()),
        "classes": _plain_classes(model.classes_),
        "class_dtype": model.classes_.dtype.str,
        "feature_names": [str(name) for name in getattr(model, "feature_names_in_", [])],
        "iterations": model.n_iter_,
        "fit_report": model.fit_report_.to_dict(),
    }
    tensors = {"coef": np.ascontiguousarray(model.coef_), "intercept": model.intercept_}
    content = to_safetensors(tensors, metadata={"bridle": json.dumps(description)})
    files.write_whole(path, content)


def restore(model: SoftmaxRegression, path: str | os.PathLike[str]) -> None:
    """Fill a new model from a file that `save` wrote."""
    coef, intercept, description = _read(path)
    try:
        model.set_params(**_parameters(description["parameters"]))
        classes = np.array(description["classes"], dtype=np.dtype(description["class_dtype"]))
        report = _report(description["fit_report"])
        names = [str(name) for name in description["feature_names"]]
        iterations = int(description["iterations"])
    except (KeyError, TypeError, ValueError) as error:
        raise checks.InputError(f"{path}: no readable bridle model ({error})") from None
    shapes_agree = coef.ndim == 2 and intercept.shape == classes.shape == coef.shape[:1]
    if not shapes_agree or (names and len(names) != coef.shape[1]):
        raise checks.InputError(f"{path}: the model's weights and classes do not fit together")
    model.coef_, model.intercept_, model.classes_ = coef, intercept, classes
    model.n_features_in_, model.n_iter_, model.fit_report_ = coef.shape[1], iterations, report
    if names:
        model.feature_names_in_ = np.array(names, dtype=object)


def _read(path: str | os.PathLike[str]) -> tuple[Array, Array, dict[str, Any]]:
    if not Path(path).is_file():
        raise checks.InputError(f"{path}: no such file")
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            description = json.loads((file.metadata() or {})["bridle"])
            tensors = {name: file.get_tensor(name) for name in ("coef", "intercept")}
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise checks.InputError(f"{path}: no bridle model ({error})") from None
    known = isinstance(description, dict) and description.get("format") == _FORMAT
    if not known or description.get("version") != _VERSION:
        raise checks.InputError(f"{path}: expected a {_FORMAT} file of version {_VERSION}")
    if any(tensor.dtype.kind != "f" for tensor in tensors.values()):
        raise checks.InputError(f"{path}: expected real weights")
    return tensors["coef"], tensors["intercept"], description


def _plain_classes(classes: Array) -> list[Any]:
    if classes.dtype.kind in "mM":
        return [int(value) for value in classes.astype(np.int64)]
    plain = [
        value.decode("latin-1") if isinstance(value, bytes) else value for value in classes.tolist()
    ]
    for label in plain:
        if not isinstance(label, str | int | float | bool):
            raise checks.InputError(
                f"classes_: expected numbers, booleans or text to save, found {label!r}"
            )
    return plain


def _plain_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    plain = dict(parameters)
    # JSON knows neither infinity nor keys that are not strings.
    plain["C"] = repr(float(plain["C"]))
    if isinstance(plain["class_weight"], dict):
        plain["class_weight"] = [
            [np.asarray(label).item(), float(value)]
            for label, value in plain["class_weight"].items()
        ]
    return plain


def _parameters(plain: dict[str, Any]) -> dict[str, Any]:
    parameters = dict(plain)
    parameters["C"] = float(parameters["C"])
    if isinstance(parameters["class_weight"], list):
        parameters["class_weight"] = dict(parameters["class_weight"])
    return parameters


def _report(plain: dict[str, Any]) -> FitReport:
    numbers = {name: float(value) for name, value in plain.items() if value == "Infinity"}
    return FitReport(**{**plain, **numbers})
