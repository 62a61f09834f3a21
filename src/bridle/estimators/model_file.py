"""What every file of ours is: safetensors for the numbers, JSON for the rest; by format.

Nothing in such a file is executed when it is read: no pickle, no import by name, no expression.
"""

from __future__ import annotations

import json
import os
import reprlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from bridle import checks
from bridle.files import is_file

Array = npt.NDArray[Any]
Contents = tuple[dict[str, Any], dict[str, Array]]  # a description in JSON's types, and tensors

# Characters for which every label of a file may ask, however short its text is.
_LONGEST_LABEL = 1024


class Format(NamedTuple):
    """A kind of file, as its description names it."""

    name: str
    version: int

    def to_bytes(self, description: dict[str, Any], tensors: dict[str, Array]) -> bytes:
        """Return a file of this format as bytes."""
        described = json.dumps(self.described(description))
        written: bytes = to_safetensors(tensors, metadata={"bridle": described})
        return written

    def described(self, description: dict[str, Any]) -> dict[str, Any]:
        """Return a description that says of which format it is."""
        return {"format": self.name, "version": self.version, **description}

    def check(self, description: dict[str, Any], path: str | os.PathLike[str]) -> None:
        """Refuse the description of another format, or of another version of it."""
        found = (description.get("format"), description.get("version"))
        if found != self:
            raise checks.InputError(
                f"{path}: expected a {self.name} file of version {self.version}, found "
                f"{_told(found)}"
            )

    def read(self, path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, Any]]:
        """Return the tensors, all of them real, and the description of a file of this format."""
        description = _description(path)
        self.check(description, path)
        try:
            with safe_open(os.fspath(path), framework="numpy") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, TypeError, ValueError, OSError) as error:
            raise checks.InputError(f"{path}: no bridle model ({error})") from None
        if any(
            tensor.dtype.kind != ("i" if name.endswith(_PLACES) else "f")
            for name, tensor in tensors.items()
        ):
            raise checks.InputError(f"{path}: expected real weights")
        if any(np.isnan(tensor).any() for tensor in tensors.values()):
            raise checks.InputError.of(str(path), expected="weights that are numbers", found="NaN")
        return tensors, description


_VALUES, _PLACES = "_values", "_places"
_MOST_ROWS_OR_COLUMNS = 2**31


def without_zeros(name: str, dense: Array) -> dict[str, Array]:
    """Return the tensors that tell of a matrix what is not 0, and where that stands.

    >>> found = without_zeros("coef", np.array([[0.0, 2.0], [0.0, 0.0]]))
    >>> found["coef_values"], found["coef_places"]
    (array([2.]), array([1]))
    """
    flat = np.ascontiguousarray(dense).reshape(-1)
    places = np.flatnonzero(flat)
    return {name + _VALUES: flat[places], name + _PLACES: places.astype(np.int64)}


def with_zeros(name: str, tensors: dict[str, Array], shape: Sequence[int]) -> Array:
    """Return the matrix of a shape that `without_zeros` told of.

    Raises
    ------
    ValueError
        Places outside the shape, twice, or others than there are values.
    """
    values, places = tensors[name + _VALUES], tensors[name + _PLACES]
    are_counts = isinstance(shape, list) and all(type(each) is int for each in shape)
    if not are_counts or len(shape) != 2 or min(shape) < 0 or max(shape) > _MOST_ROWS_OR_COLUMNS:
        raise ValueError(f"expected {name}'s numbers of rows and columns")
    rows, columns = shape
    if values.shape != places.shape or values.ndim != 1:
        raise ValueError(f"expected {name} as values and their places")
    if len(places) and (
        places[0] < 0 or places[-1] >= rows * columns or (places[1:] <= places[:-1]).any()
    ):
        raise ValueError(f"expected rising places in {name}")
    try:
        dense = np.zeros(rows * columns)
    except (MemoryError, ValueError):
        raise ValueError(f"no room for {rows} by {columns} numbers") from None
    dense[places] = values
    return dense.reshape(rows, columns)


SOFTMAX_REGRESSION = Format("bridle.SoftmaxRegression", 1)
NETWORK_CLASSIFIER = Format("bridle.NetworkClassifier", 1)
CHECKPOINT = Format("bridle.Checkpoint", 1)
CALIBRATOR = Format("bridle.Calibrator", 1)
CALIBRATED_CLASSIFIER = Format("bridle.CalibratedClassifier", 1)


def together(**parts: Contents) -> Contents:
    """Return what a file of several parts holds: each by its name.

    >>> together(half=({"a": 1}, {"x": np.zeros(1)}))
    ({'half': {'a': 1}}, {'half.x': array([0.])})
    """
    descriptions = {name: description for name, (description, _) in parts.items()}
    tensors = {
        f"{name}.{each}": values
        for name, (_, those) in parts.items()
        for each, values in those.items()
    }
    return descriptions, tensors


def part(
    name: str, description: dict[str, Any], tensors: dict[str, Array], path: str | os.PathLike[str]
) -> Contents:
    """Return one of the parts that `together` joined."""
    found = description.get(name)
    if not isinstance(found, dict):
        raise checks.InputError(f"{path}: no readable bridle model (it lacks its {name})")
    begin = f"{name}."
    return found, {
        each.removeprefix(begin): values
        for each, values in tensors.items()
        if each.startswith(begin)
    }


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


def _told(found: tuple[Any, Any]) -> str:
    name, version = found
    if not isinstance(name, str):
        return "none of bridle's"
    return f"{reprlib.repr(name)} of version {reprlib.repr(version)}"


def format_of(path: str | os.PathLike[str]) -> str:
    """Return the format that a model's file says it has."""
    return str(_description(path).get("format"))


def _description(path: str | os.PathLike[str]) -> dict[str, Any]:
    if not is_file(path):
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
            raise checks.InputError.of(
                "classes_", expected="numbers, booleans or text to save", found=repr(label)
            )
    return plain
