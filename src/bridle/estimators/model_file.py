"""A fitted model on disk: safetensors for the numbers, JSON for the rest.

Nothing in such a file is executed when it is read: no pickle, no import by name, no expression.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from bridle import checks, files
from bridle.fit.report import FitReport

if TYPE_CHECKING:
    from bridle.estimators.softmax_regression import SoftmaxRegression

Array = npt.NDArray[Any]

_FORMAT = "bridle.SoftmaxRegression"
_VERSION = 1
# Characters for which every label of a file may ask, however short its text is.
_LONGEST_LABEL = 1024


def save(model: SoftmaxRegression, path: str | os.PathLike[str]) -> None:
    """Write a fitted model, whole or not at all."""
    files.write_whole(path, content(model))


def content(model: SoftmaxRegression) -> bytes:
    """Return a fitted model as the bytes of its file."""
    description = {
        **classifier_description(model),
        "parameters": _plain_parameters(model.get_params()),
        "iterations": model.n_iter_,
        "fit_report": model.fit_report_.to_dict(),
    }
    tensors = {"coef": np.ascontiguousarray(model.coef_), "intercept": model.intercept_}
    return to_bytes(_FORMAT, _VERSION, description, tensors)


def restore(model: SoftmaxRegression, path: str | os.PathLike[str]) -> None:
    """Fill a new model from a file that `save` wrote."""
    tensors, description = read(path, _FORMAT, _VERSION)
    try:
        coef, intercept = tensors["coef"], tensors["intercept"]
        model.set_params(**_parameters(description["parameters"]))
        classes, names = classes_and_names(description)
        restore_account_of_files(model, description)
        report = _report(description["fit_report"])
        iterations = int(description["iterations"])
    except (KeyError, TypeError, ValueError) as error:
        raise checks.InputError(f"{path}: no readable bridle model ({error})") from None
    one_vector = classes.shape == (2,) and not model.symmetric
    rows = (1,) if one_vector else classes.shape
    shapes_agree = (
        coef.ndim == 2 and classes.ndim == 1 and intercept.shape == coef.shape[:1] == rows
    )
    if not shapes_agree or (names and len(names) != coef.shape[1]):
        raise checks.InputError(f"{path}: the model's weights and classes do not fit together")
    model.coef_, model.intercept_, model.classes_ = coef, intercept, classes
    model.n_features_in_, model.n_iter_, model.fit_report_ = coef.shape[1], iterations, report
    if names:
        model.feature_names_in_ = np.array(names, dtype=object)


def classifier_description(model: Any) -> dict[str, Any]:
    """Return what every classifier has, in JSON's types.

    ``reading`` is what the command found out about the files it read, for later ones, and
    ``target_name`` what their column of labels was called.
    """
    names = [str(name) for name in getattr(model, "feature_names_in_", [])]
    return {
        **class_description(model.classes_, names),
        "reading": getattr(model, "reading_", {}),
        "target_name": getattr(model, "target_name_in_", None),
    }


def restore_account_of_files(model: Any, description: dict[str, Any]) -> None:
    """Give a model what its file says of the files of its fit.

    Raises
    ------
    ValueError
        What `classifier_description` would not have written. What is in ``reading`` is for
        `bridle.data` to judge.
    """
    reading, name = description.get("reading", {}), description.get("target_name")
    if not isinstance(reading, dict):
        raise ValueError("expected an object as reading")
    if not isinstance(name, str | None):
        raise ValueError("expected a text as target_name")
    model.reading_ = reading
    if name is not None:
        model.target_name_in_ = name


def class_description(classes: Array, feature_names: Sequence[str] = ()) -> dict[str, Any]:
    """Return classes, and names of features if there are any, in JSON's types."""
    return {
        "classes": _plain_classes(classes),
        "class_dtype": classes.dtype.str,
        "feature_names": list(feature_names),
    }


def classes_and_names(description: dict[str, Any]) -> tuple[Array, list[str]]:
    """Return the classes and the features' names of a description.

    Raises
    ------
    KeyError, TypeError, ValueError
        What `class_description` would not have written.
    """
    plain = description["classes"]
    if not isinstance(plain, list):
        raise ValueError("classes: expected a list")
    try:
        classes = np.array(plain, dtype=_class_dtype(description["class_dtype"], plain))
    except OverflowError as error:
        raise ValueError(str(error)) from None
    if classes.ndim != 1 or _plain_classes(classes) != plain:
        raise ValueError("classes: they do not have the type that is told")
    return classes, [str(name) for name in description["feature_names"]]


def _class_dtype(name: Any, classes: list[Any]) -> np.dtype[Any]:
    try:
        dtype = np.dtype(str(name))
    except SyntaxError:  # what NumPy makes of a bracket without its partner
        raise ValueError(f"class_dtype: no dtype is called {str(name)[:40]!r}") from None
    longest = max((len(label) for label in classes if isinstance(label, str)), default=0)
    if dtype.kind not in "biufUSOmM" or dtype.itemsize > 4 * max(longest, _LONGEST_LABEL):
        raise ValueError(f"class_dtype: expected one of labels, found {str(name)[:40]!r}")
    return dtype


def write(
    path: str | os.PathLike[str],
    kind: str,
    version: int,
    description: dict[str, Any],
    tensors: dict[str, Array],
) -> None:
    """Write a model of some format, whole or not at all."""
    files.write_whole(path, to_bytes(kind, version, description, tensors))


def to_bytes(
    kind: str, version: int, description: dict[str, Any], tensors: dict[str, Array]
) -> bytes:
    """Return a model of some format as the bytes of its file."""
    described = {"format": kind, "version": version, **description}
    written: bytes = to_safetensors(tensors, metadata={"bridle": json.dumps(described)})
    return written


def read(
    path: str | os.PathLike[str], kind: str, version: int
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the tensors, all of them real, and the description of a model of that format."""
    description = _description(path)
    if description.get("format") != kind or description.get("version") != version:
        raise checks.InputError(f"{path}: expected a {kind} file of version {version}")
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError, ValueError, OSError) as error:
        raise checks.InputError(f"{path}: no bridle model ({error})") from None
    if any(tensor.dtype.kind != "f" for tensor in tensors.values()):
        raise checks.InputError(f"{path}: expected real weights")
    if any(np.isnan(tensor).any() for tensor in tensors.values()):
        raise checks.InputError(f"{path}: expected weights that are numbers, found NaN")
    return tensors, description


def format_of(path: str | os.PathLike[str]) -> str:
    """Return the format that a model's file says it has."""
    return str(_description(path).get("format"))


def _description(path: str | os.PathLike[str]) -> dict[str, Any]:
    if not Path(path).is_file():
        raise checks.InputError(f"{path}: no such file")
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            description = json.loads((file.metadata() or {})["bridle"])
    except (SafetensorError, KeyError, ValueError, OSError, RecursionError) as error:
        raise checks.InputError(f"{path}: no bridle model ({error})") from None
    return description if isinstance(description, dict) else {}


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
    # JSON knows no infinity.
    return {**with_plain_class_weight(parameters), "C": repr(float(parameters["C"]))}


def _parameters(plain: dict[str, Any]) -> dict[str, Any]:
    return {**with_class_weight(plain), "C": float(plain["C"])}


def with_plain_class_weight(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return parameters whose class weights are a list of pairs: JSON's keys are all strings."""
    weights = parameters["class_weight"]
    if not isinstance(weights, dict):
        return dict(parameters)
    pairs = [[np.asarray(label).item(), float(value)] for label, value in weights.items()]
    return {**parameters, "class_weight": pairs}


def with_class_weight(plain: dict[str, Any]) -> dict[str, Any]:
    """Undo `with_plain_class_weight`."""
    pairs = plain["class_weight"]
    return {**plain, "class_weight": dict(pairs) if isinstance(pairs, list) else pairs}


def _report(plain: dict[str, Any]) -> FitReport:
    numbers = {name: float(value) for name, value in plain.items() if value == "Infinity"}
    return FitReport(**{**plain, **numbers})
