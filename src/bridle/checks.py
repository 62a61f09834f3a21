"""Bad input becomes a named error, here alone.

Every message names the argument, says what was expected and what was found, and points at the
first bad row. The module imports nothing of ours, so every room may use it.
"""

from __future__ import annotations

import importlib
import reprlib
import sys
import warnings
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NoReturn, Self, TypeVar, get_args

import numpy as np
import numpy.typing as npt
from scipy import sparse

Array = npt.NDArray[Any]
Reduction = Literal["mean", "sum", "none"]
OnEmpty = Literal["nan", "zero", "raise"]
Position = int | tuple[int, ...]
Label = str | int | float  # a bool is an int
Unit = Literal["nats", "bits"]
AnyAxis = TypeVar("AnyAxis", int, int | tuple[int, ...] | None)
_REDUCTIONS, _ON_EMPTY = get_args(Reduction), get_args(OnEmpty)


class InputError(ValueError):
    """An argument or a file that cannot be used; the message says which, where and why.

    Attributes
    ----------
    argument : str or None
        What the argument is called; of several that do not fit together ``"p, q"``.
    expected, found : str or None
        What was wanted, and what was given instead.
    row : int, tuple of int or None
        The first bad row or entry, where one can be named: its index, several in more dimensions.
    place : str or None
        Which of several places of rows (a rank, a file) it was found in, where the message says so.

    Each is None where it is not known, as for most files.
    """

    place: str | None = None

    def __init__(
        self,
        *message: object,
        argument: str | None = None,
        expected: str | None = None,
        found: str | None = None,
        row: Position | None = None,
    ) -> None:
        # Set one by one: a pickle holds the message, and these as the attributes they are.
        super().__init__(*message)
        self.argument = argument
        self.expected = expected
        self.found = found
        self.row = row

    def found_at(self, place: str) -> Self:
        """Return the same error, which says in brackets where it was found.

        >>> str(InputError("X: found NaN", argument="X").found_at("rank 3"))
        'X: found NaN (rank 3)'
        """
        found = type(self)(
            f"{self} ({place})",
            argument=self.argument,
            expected=self.expected,
            found=self.found,
            row=self.row,
        )
        found.place = place if self.place is None else f"{self.place}, {place}"
        return found

    def found_among(self, place: str, first_row: int, *, counted_over_all: bool) -> Self:
        """Return the same error, of one place of several that have rows, which says where.

        ``first_row`` is the number of the place's first row among those of all places; whether
        the message counts over all, or that place's rows alone, the new one says the row's number
        in both. The error's ``row`` is counted over all.

        >>> error = InputError("y: row 2 is NaN", row=2)
        >>> str(error.found_among("rank 3", 100, counted_over_all=False))
        'y: row 2 is NaN (rank 3: row 2 of its own, row 102 of all)'
        """
        if self.row is None:
            return self.found_at(place)
        row, *others = self.row if isinstance(self.row, tuple) else (self.row,)
        own = row - first_row if counted_over_all else row
        found = self.found_at(f"{place}: row {own} of its own, row {first_row + own} of all")
        found.row = (first_row + own, *others) if others else first_row + own
        return found

    @classmethod
    def of(
        cls,
        argument: str,
        *,
        expected: str,
        found: object,
        row: Position | None = None,
        place: str | None = None,
        hint: str = "",
    ) -> Self:
        """Return the error, whose message is the sentence that its fields make.

        ``place`` is how the sentence calls the position of what was found, where it has one.

        >>> str(InputError.of("shift", expected="a whole number", found="'x'"))
        "shift: expected a whole number, found 'x'"
        >>> error = InputError.of("target", expected="a label", found="nan", row=3, place="row 3")
        >>> str(error), error.row
        ('target: row 3 is nan, expected a label', 3)
        """
        sentence = (
            f"{argument}: expected {expected}, found {found}{hint}"
            if place is None
            else f"{argument}: {place} is {found}, expected {expected}{hint}"
        )
        return cls(sentence, argument=argument, expected=expected, found=str(found), row=row)


class TargetRangeError(InputError, IndexError):
    """A class index outside ``[0, C)``: torch raises IndexError, scikit-learn ValueError."""


class MissingExtraError(ImportError):
    """An optional dependency is absent; the message holds the command that installs it."""


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import ``module``, or say how to install the extra of bridle that brings it.

    >>> require("no_such_module", extra="report", purpose="drawing curves")
    Traceback (most recent call last):
    ...
    bridle.checks.MissingExtraError: drawing curves needs no_such_module: ... -m pip install ...
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise MissingExtraError(f"{purpose} needs {module}: {_installs(extra)}") from None


def _installs(extra: str) -> str:
    """Return the command that installs an extra from where this package came from.

    That is a checkout, a wheel on disk, or else the name by which pip knows it; for the Python that
    runs, which need not be the one whose ``pip`` is on the path.
    """
    # Rarely needed, and slow to import.
    import json
    from importlib import metadata
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    checkout = Path(__file__).parents[2]
    source = "bridle"
    if (checkout / "pyproject.toml").is_file() and Path(__file__).parents[1].name == "src":
        source = str(checkout)
    else:
        try:
            origin = metadata.distribution("bridle").read_text("direct_url.json")
            url = json.loads(origin or "{}").get("url", "")
        except (metadata.PackageNotFoundError, ValueError):
            url = ""
        if url.startswith("file:"):
            source = url2pathname(urlsplit(url).path)
    return f"{sys.executable or 'python'} -m pip install '{source}[{extra}]'"


def torch_script(name: str) -> NoReturn:
    """Refuse to be compiled by TorchScript."""
    raise InputError.of(
        "torch.jit.script",
        expected="a function without keyword-only arguments",
        found=f"bridle's {name}; torch.compile and torch.export take it",
    )


def is_floating(dtype: np.dtype[Any]) -> bool:
    """Tell whether ``dtype`` is a real float, bfloat16 (known to NumPy by name only) included."""
    return dtype.kind == "f" or dtype.name == "bfloat16"


def floating(values: npt.ArrayLike, name: str) -> Array:
    """Return ``values`` as a float array; integers and booleans become float64."""
    array = _as_array(values, name)
    if is_floating(array.dtype):
        return array
    if array.dtype.kind in "iub":
        return array.astype(np.float64)
    raise InputError.of(name, expected="real numbers", found=_describe(array))


def float_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Return the dtype of real floats that an argument names."""
    try:
        found = np.dtype(dtype)
    except TypeError:
        raise InputError.of("dtype", expected="a dtype of NumPy", found=repr(dtype)) from None
    if not is_floating(found):
        raise InputError.of("dtype", expected="real floats", found=found)
    return found


def broadcastable(
    first: tuple[int, ...], second: tuple[int, ...], names: tuple[str, str]
) -> tuple[int, ...]:
    """Return the common shape of two arrays; refuse two that have none."""
    try:
        return np.broadcast_shapes(first, second)
    except ValueError:
        raise InputError.of(
            names[1],
            expected=f"a shape that broadcasts against {names[0]}, {first}",
            found=second,
        ) from None


def real_numbers(values: npt.ArrayLike, name: str) -> Array:
    """Return ``values`` as an array of real numbers, in the dtype they have."""
    array = _as_array(values, name)
    if not is_floating(array.dtype) and array.dtype.kind not in "iub":
        # scikit-learn's words, which its users know.
        hint = " (Complex data not supported)" if array.dtype.kind == "c" else ""
        raise InputError.of(name, expected="real numbers", found=f"{_describe(array)}{hint}")
    return array


def plain_array(values: npt.ArrayLike, name: str) -> Array:
    """Return an array of any dtype, without a mask."""
    return _as_array(values, name)


def score_layout(input: Array, name: str = "input") -> int:
    """Return the number of classes of scores ``(C,)``, ``(N, C)`` or ``(N, C, d1, …)``."""
    if input.ndim == 0:
        raise InputError.of(name, expected="shape (C,), (N, C) or (N, C, d1, …)", found="a scalar")
    classes: int = input.shape[0] if input.ndim == 1 else input.shape[1]
    if classes == 0:
        raise InputError.of(name, expected="at least one class", found=f"shape {input.shape}")
    return classes


def class_place(
    axis: int | None, dim: int | None, shape: tuple[int, ...], name: str = "input"
) -> int | None:
    """Return where the classes are; None where that is where they are by default.

    That is axis 1, or the only one. ``dim`` is PyTorch's word for ``axis``.
    """
    if axis is None and dim is None:
        return None
    if axis is not None and dim is not None:
        raise InputError.of("axis, dim", expected="one of them", found=f"{axis!r} and {dim!r}")
    given, word = (axis, "axis") if dim is None else (dim, "dim")
    if not isinstance(given, (int, np.integer)) or isinstance(given, bool):
        raise InputError.of(word, expected="a whole number", found=repr(given))
    if not -len(shape) <= given < len(shape):
        raise InputError.of(word, expected=f"an axis of {name}, of shape {shape}", found=given)
    place = int(given) % len(shape)
    return None if place == min(1, len(shape) - 1) else place


def one_axis(axis: AnyAxis, dim: AnyAxis | None) -> AnyAxis:
    """Return the axis that is meant, the last by default; ``dim`` is PyTorch's word for it."""
    if dim is None:
        return axis
    if axis != -1:
        raise InputError.of("axis, dim", expected="one of them", found=f"{axis!r} and {dim!r}")
    return dim


def placed_target(target: tuple[int, ...], shape: tuple[int, ...], place: int) -> bool:
    """Tell whether a target has the scores' shape; refuse one of neither possible shape."""
    index_shape = shape[:place] + shape[place + 1 :]
    if target not in (shape, index_shape):
        raise InputError.of(
            "target",
            expected=_index_or_probabilities(index_shape, shape),
            found=f"shape {target}",
        )
    return target == shape


def _index_or_probabilities(index_shape: tuple[int, ...], shape: tuple[int, ...]) -> str:
    return f"class indices (integers) of shape {index_shape} or probabilities of shape {shape}"


def class_target(target: npt.ArrayLike, shape: tuple[int, ...], classes: int) -> tuple[Array, bool]:
    """Return the target as an array, and whether it holds probabilities rather than indices.

    ``shape`` is that of the scores. Indices have it without the class axis; probabilities (and
    one-hot targets of any number type) have it whole.
    """
    array = _as_array(target, "target")
    index_shape = shape[2:] if len(shape) == 1 else (shape[0], *shape[2:])
    if array.shape == index_shape and array.size == 0:
        return array.astype(np.int64), False
    if array.shape == index_shape and array.dtype.kind in "iu":
        return array, False
    if array.shape == index_shape and array.dtype.kind == "b":
        if classes != 2:
            raise _booleans("target", classes)
        return array.astype(np.int8), False
    if array.shape == shape and (is_floating(array.dtype) or array.dtype.kind in "iub"):
        return array, True
    raise InputError.of(
        "target",
        expected=_index_or_probabilities(index_shape, shape),
        found=_describe(array),
    )


def target_range(target: Array, classes: int, ignored: Array, name: str = "target") -> None:
    """Refuse the first class index outside ``[0, classes)`` that is not ignored."""
    bad = ((target < 0) | (target >= classes)) & ~ignored
    if bad.any():
        raise TargetRangeError.of(
            name,
            expected=f"a class index in [0, {classes})",
            found=target[bad][0],
            row=_position(bad),
            place=_first("row", bad),
        )


def _booleans(name: str, classes: int) -> InputError:
    found = f"booleans and {classes} classes"
    message = f"{name}: booleans stand for two classes, found {found}"
    return InputError(message, argument=name, expected="two classes", found=found)


def class_indices(target: Any, rows: int, classes: int, name: str = "target") -> Array:
    """Return one class index in ``[0, classes)`` for each of ``rows`` rows."""
    array = _as_array(target, name)
    if array.shape != (rows,) or array.dtype.kind not in "iub":
        hint = " (labels need classes=)" if array.dtype.kind in "OSU" else ""
        hint = " (continuous)" if is_floating(array.dtype) else hint
        raise InputError.of(
            name,
            expected=f"class indices (integers) of shape ({rows},)",
            found=f"{_describe(array)}{hint}",
        )
    if array.dtype.kind == "b" and classes != 2:
        raise _booleans(name, classes)
    target_range(array, classes, np.zeros(rows, np.bool_), name)
    return array.astype(np.intp)


def unmasked(values: object, name: str) -> None:
    """Refuse an array with masked entries: what is under a mask is no value."""
    if not isinstance(values, np.ma.MaskedArray):
        return
    mask = np.ma.getmaskarray(values)
    if mask.any():
        row = _first_index(mask)[0] if mask.ndim else None
        raise InputError.of(
            name,
            expected="an array without masked entries",
            found="masked",
            row=row,
            place="it" if row is None else f"row {row}",
            hint="; fill them or leave their rows out",
        )


def labels(values: object, name: str) -> Array:
    """Return labels, or distributions, as an array; refuse the first label that is missing.

    Tested before there is an array, in which NaN among texts would be the text ``nan``.

    >>> labels(["a", "b"], "y")
    array(['a', 'b'], dtype='<U1')
    """
    if isinstance(values, (list, tuple)):
        _no_missing(values, name)
    array = _as_array(values, name)  # type: ignore[arg-type]  # it says what it is not
    one_column = array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)
    if one_column and array.dtype.kind in "OT":
        _no_missing(array.ravel().tolist(), name)
    elif one_column and array.dtype.kind in "fcmM":
        absent = np.isnat(array) if array.dtype.kind in "mM" else np.isnan(array)
        if absent.any():
            row = int(np.argmax(absent))
            raise _no_label(name, row, array.ravel()[row])
    return array


def _no_missing(values: Iterable[object], name: str) -> None:
    for row, entry in enumerate(values):
        value = entry[0] if isinstance(entry, (list, tuple)) and len(entry) == 1 else entry
        if _is_missing(value):
            raise _no_label(name, row, value)


def _no_label(name: str, row: int, found: object, expected: str = "a label") -> InputError:
    return InputError.of(name, expected=expected, found=found, row=row, place=f"row {row}")


def class_factor(value: object, label: object) -> float:
    """Return the weight of a class, which must be finite and not negative."""
    known = _is_real_number(value) and 0 <= value < np.inf  # type: ignore[operator]
    if not known:
        plain = label.item() if isinstance(label, np.generic) else label
        message = (
            f"class_weight: class {plain!r} has weight {value!s}, expected a finite number ≥ 0"
        )
        raise InputError(
            message, argument="class_weight", expected="a finite number ≥ 0", found=str(value)
        )
    return float(value)  # type: ignore[arg-type]


def class_labels(classes: object, columns: int) -> tuple[Label, ...]:
    """Return one plain label for each column; refuse the first of another type or given twice."""
    labels = _plain_values(classes, "classes")
    if len(labels) != columns:
        raise InputError.of(
            "classes", expected=f"{columns}, one for each column", found=len(labels)
        )
    plain: dict[Label, None] = {}
    for position, label in enumerate(labels):
        if not isinstance(label, (str, int, float)):
            raise InputError.of(
                "classes",
                expected="text, a number or a boolean",
                found=reprlib.repr(label),
                row=position,
                place=f"entry {position}",
            )
        if label in plain:
            raise InputError(
                f"classes: entry {position} repeats {label!r}",
                argument="classes",
                expected="labels that differ",
                found=repr(label),
                row=position,
            )
        plain[label] = None
    return tuple(plain)


def labelled_target(
    target: object, classes: Sequence[Label], rows: int, name: str = "target"
) -> Array:
    """Return the position among ``classes`` of each row's label; refuse the first without one."""
    labels = _plain_values(target, name)
    if len(labels) != rows:
        raise InputError.of(name, expected=f"{rows} labels, one for each row", found=len(labels))
    position: dict[object, int] = {label: index for index, label in enumerate(classes)}
    try:
        indices = np.array([position.get(label, -1) for label in labels], np.intp)
    except TypeError:  # a label that is itself a list or an array
        row = next(row for row, label in enumerate(labels) if not isinstance(label, Hashable))
        found = reprlib.repr(labels[row])
        raise _no_label(name, row, found, "one label") from None
    if (indices < 0).any():
        row = int(np.argmax(indices < 0))
        found, known = reprlib.repr(labels[row]), reprlib.repr(list(classes))
        raise InputError(
            f"{name}: row {row} is {found}, which is none of the {len(classes)} classes {known}",
            argument=name,
            expected=f"one of {known}",
            found=found,
            row=row,
        )
    return indices


def score_row(values: Array, name: str, row: int) -> NoReturn:
    """Refuse a row of scores that has no softmax: a NaN, a +inf, or −inf alone."""
    if np.isnan(values).any():
        found = f"a NaN at class {int(np.argmax(np.isnan(values)))}"
    elif (values == np.inf).any():
        found = f"infinity at class {int(np.argmax(values == np.inf))}"
    else:
        found = "every class masked with -inf"
    expected = "scores or probabilities"
    message = f"{name}: row {row} has {found}, expected {expected}"
    raise InputError(message, argument=name, expected=expected, found=found, row=row)


def probability_row(values: Array, name: str, row: int, *, most: bool = True) -> NoReturn:
    """Refuse a row that is no distribution where others, or the caller, say that it should be."""
    if (values < 0).any():
        found = f"has {values[values < 0][0]:g} at class {int(np.argmax(values < 0))}"
    else:
        found = f"sums to {values.sum():.6g}"
    expected = "a distribution as most rows are" if most else "a distribution"
    raise InputError(
        f"{name}: row {row} {found}, expected {expected} (divide each row by its sum; "
        f"scores that merely look like probabilities may be shifted by a constant)",
        argument=name,
        expected=expected,
        found=f"a row that {found}",
        row=row,
    )


def probability_rows(
    values: Array,
    name: str,
    axis: int = -1,
    hint: str = "",
    *,
    tolerance: float | None = None,
) -> None:
    """Refuse the first row that is not a probability distribution along ``axis``.

    The sum may miss 1 by what rounding each entry to the dtype explains, or by the tolerance given.
    """
    wide = values.astype(np.result_type(np.float32, _wide(values.dtype)), copy=False)
    rows = np.moveaxis(wide, axis, -1)
    if tolerance is None:
        tolerance = sum_tolerance(values.dtype.name, rows.shape[-1])
    entries = ~((rows >= 0) & (rows <= 1 + tolerance))
    with np.errstate(invalid="ignore", over="ignore"):
        sums = np.asarray(rows.sum(axis=-1, dtype=np.result_type(np.float64, wide.dtype)))
    bad = np.asarray(entries.any(axis=-1) | (np.abs(sums - 1) > tolerance))
    if not bad.any():
        return
    row = tuple(int(part) for part in np.unravel_index(np.argmax(bad), bad.shape))
    if entries[row].any():
        column = int(np.argmax(entries[row]))
        place = list(row)
        place.insert(axis % wide.ndim, column)
        raise InputError.of(
            name,
            expected="a probability",
            found=f"{rows[row][column]:g}",
            row=_position(bad),
            place=f"entry {', '.join(map(str, place))}",
            hint=hint,
        )
    found = f"sums to {sums[row]:.6g}"
    raise InputError(
        f"{name}: {_first('row', bad)} {found}, expected 1{hint}",
        argument=name,
        expected="a row that sums to 1",
        found=f"a row that {found}",
        row=_position(bad),
    )


def warn_of_probabilities(scores: Array) -> None:
    """Warn if scores ``(C,)``, ``(N, C)`` or ``(N, C, d1, …)`` look like distributions.

    A first sample of zeros and ones says nothing: small integers are scores as often as not.
    """
    samples = scores[None] if scores.ndim == 1 else scores
    if samples.ndim < 2 or samples.size == 0 or samples.shape[1] == 1:
        return
    if _are_distributions(samples[:1]) and _are_distributions(samples):
        warn(
            "input: expected scores (logits), but every row lies in [0, 1] and sums to 1. "
            "If these are probabilities, use bridle.nll"
        )


def _are_distributions(samples: Array) -> bool:
    wide = samples.astype(_wide(samples.dtype), copy=False)
    with np.errstate(invalid="ignore", over="ignore"):
        if not ((wide >= 0) & (wide <= 1)).all() or np.isin(wide[0], (0, 1)).all():
            return False
        sums = wide.sum(axis=1, dtype=np.result_type(np.float64, wide.dtype))
        tolerance = sum_tolerance(samples.dtype.name, samples.shape[1])
        return bool((np.abs(sums - 1) <= tolerance).all())


def warn_of_scores(name: str, what: str) -> None:
    """Warn that what may be meant as probabilities is taken as scores."""
    warn(
        f"{name}: {what}; they are taken as scores, whose probabilities are their softmax. "
        f'kind="scores" says so; probabilities are divided by the sum of their row first'
    )


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the user's own line, however deep in the package the reason was found.

    Between the two may stand what scikit-learn puts around a method for its callbacks.
    """
    frame, level = sys._getframe(), 1
    not_the_users = ("bridle.", "sklearn.callback.")
    while frame.f_back is not None:
        if not frame.f_globals.get("__name__", "").startswith(not_the_users):
            break
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def unit_interval(values: Array, name: str) -> None:
    """Refuse the first entry outside [0, 1]."""
    wide = values.astype(_wide(values.dtype), copy=False)
    _first_outside(wide, name, ~((wide >= 0) & (wide <= 1)), "a number in [0, 1]")


def not_negative(values: Array, name: str) -> None:
    """Refuse the first entry below 0."""
    wide = values.astype(_wide(values.dtype), copy=False)
    _first_outside(wide, name, wide < 0, "a number of 0 or above")


def class_axis(values: Array, axis: int, name: str) -> None:
    """Refuse an array that has no such axis, or no class along it."""
    if not -values.ndim <= axis < values.ndim or values.shape[axis] == 0:
        found = f"shape {values.shape}" if values.ndim else "a scalar"
        raise InputError.of(name, expected=f"at least one class along axis {axis}", found=found)


def same_classes(first: Array, second: Array) -> None:
    """Refuse two sets of distributions, classes last, that do not stand against each other."""
    found = f"{first.shape} and {second.shape} with the classes last"
    if first.shape[-1] != second.shape[-1]:
        raise InputError.of("p, q", expected="one number of classes", found=f"shapes {found}")
    try:
        np.broadcast_shapes(first.shape, second.shape)
    except ValueError:
        raise InputError.of("p, q", expected="shapes that broadcast", found=found) from None


def mask(
    is_bool: bool, kind: str, found: tuple[int, ...], shape: tuple[int, ...], axis: int
) -> None:
    """Refuse a mask that is neither one of positions nor one of entries.

    ``shape`` is that of the distributions with the classes last; a mask of entries has them along
    ``axis``.
    """
    if not is_bool:
        raise InputError.of("mask", expected="booleans (True counts)", found=kind)
    if found == shape[:-1]:
        return
    places = list(range(len(shape)))
    places.insert(axis if axis >= 0 else len(shape) + axis, places.pop())
    entries = tuple(shape[place] for place in places)
    fits = len(found) == len(entries) and all(
        size in (1, whole) for size, whole in zip(found, entries, strict=True)
    )
    if not fits:
        raise InputError.of(
            "mask",
            expected=(
                f"the shape {shape[:-1]} of the positions, or one of entries that broadcasts to "
                f"{entries}"
            ),
            found=found,
        )


def sum_tolerance(dtype: str, classes: int = 1, *, of_logarithms: bool = False) -> float:
    """Return how far a row of probabilities kept in ``dtype``, or their logarithms, may miss 1."""
    if of_logarithms and dtype == "bfloat16":
        return 5e-2  # a logarithm of -8 has a step of 1/16: an error of 3 % in the probability
    if dtype == "float16":
        # Below 6e-5 a half has a fixed step of 2⁻²⁴, whose roundings add up over the classes.
        return 1e-2 + classes * 2.0**-25
    if dtype == "bfloat16":
        return 1e-2
    # float64 is what float32 probabilities, or those of five decimals, are often kept in.
    return 1e-4


def weights(
    values: npt.ArrayLike,
    name: str,
    shape: tuple[int, ...],
    dtype: npt.DTypeLike = np.float64,
    *,
    check: bool,
) -> Array:
    """Return weights in ``dtype``; refuse the first that is negative or not finite there."""
    array = floating(values, name)
    if array.shape != shape:
        raise InputError.of(name, expected=f"shape {shape}", found=array.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        kept = array.astype(dtype, copy=False)
        bad = ~((array >= 0) & np.isfinite(kept))
    if check and bad.any():
        raise InputError.of(
            name,
            expected=f"a finite number ≥ 0 in {kept.dtype}",
            found=array[bad][0],
            row=_position(bad),
            place=_first("entry", bad),
        )
    return kept


def finite_rows(values: Any, name: str, first_row: int = 0) -> None:
    """Refuse the first row of a dense or sparse block that holds a NaN or an infinity."""
    numbers = values.data if sparse.issparse(values) else values
    if numbers.dtype.kind in "iub":
        return
    # One sum over the block is far cheaper than a test of every entry, and finite only if all are
    # (or if they overflow, which the full test then tells apart).
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(numbers.sum(dtype=np.float64)):
            return
    bad = ~np.isfinite(numbers)
    if not bad.any():
        return
    where = np.unravel_index(np.argmax(bad), bad.shape)
    found = "NaN" if np.isnan(numbers[where]) else "infinity"
    if sparse.issparse(values):
        entries = values.tocoo()
        where = (entries.row[where[0]], entries.col[where[0]])
    row = first_row + int(where[0])
    raise InputError.of(
        name,
        expected="finite numbers",
        found=f"{found} at row {row}, column {int(where[1])}",
        row=row,
    )


def positive(value: float, name: str, *, infinite: bool = False) -> float:
    """Return a number that must be above zero, and finite unless infinity has a meaning."""
    allowed = _is_real_number(value) and value > 0 and (infinite or value < np.inf)
    if not allowed:
        kind = "number" if infinite else "finite number"
        raise InputError.of(name, expected=f"a {kind} above 0", found=repr(value))
    return float(value)


def finite_squares(squares: Array, name: str) -> None:
    """Refuse the first column whose sum of squares overflows."""
    bad = ~np.isfinite(squares)
    if bad.any():
        column = int(np.argmax(bad))
        raise InputError.of(
            name,
            expected="numbers whose squares can be summed",
            found=f"too large ones in column {column}",
        )


def finite_number(value: float, name: str) -> float:
    """Return a finite real number."""
    if not _is_real_number(value) or not np.isfinite(value):
        raise InputError.of(name, expected="a finite number", found=repr(value))
    return float(value)


def at_least_zero(value: float, name: str) -> float:
    """Return a finite number that must be 0 or above."""
    if not _is_real_number(value) or not 0 <= value < np.inf:
        raise InputError.of(name, expected="a finite number of 0 or above", found=repr(value))
    return float(value)


def flag(value: bool, name: str) -> bool:
    """Return True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise InputError.of(name, expected="True or False", found=repr(value))
    return bool(value)


def flag_or_positive(value: bool | float, name: str) -> bool | float:
    """Return True, False, or a finite number above zero."""
    return bool(value) if isinstance(value, (bool, np.bool_)) else positive(value, name)


def shift_and_scale(pair: Sequence[npt.ArrayLike], columns: int, name: str) -> tuple[Array, Array]:
    """Return a finite shift and a scale above zero, which may be infinite, of each column."""
    expected = f"(shift, scale), a number or {columns} each"
    if len(pair) != 2:
        raise InputError.of(name, expected=expected, found=f"{len(pair)} values")
    shift, scale = (real_numbers(each, name).astype(np.float64) for each in pair)
    if not all(each.shape in ((), (columns,)) for each in (shift, scale)):
        raise InputError.of(name, expected=expected, found=f"shapes {shift.shape}, {scale.shape}")
    _first_outside(shift, name, ~np.isfinite(shift), "a finite shift")
    _first_outside(scale, name, ~(scale > 0), "a scale above 0")
    return np.broadcast_to(shift, columns), np.broadcast_to(scale, columns)


def count(value: int, name: str) -> int:
    """Return a whole number that must be at least 1."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise InputError.of(name, expected="a whole number of at least 1", found=repr(value))
    return int(value)


def costs(values: npt.ArrayLike, name: str) -> Array:
    """Return finite numbers of 0 or above in a row, in float64, of which not all are 0."""
    found = real_numbers(values, name).astype(np.float64)
    if found.ndim != 1:
        raise InputError.of(name, expected="numbers in a row", found=f"shape {found.shape}")
    _first_outside(
        found, name, ~(np.isfinite(found) & (found >= 0)), "a finite number of 0 or above"
    )
    if not found.any():
        raise InputError.of(name, expected="a number above 0 among them", found="zeros")
    return found


def fraction(value: float, name: str) -> float:
    """Return a number that must lie in ``[0, 1]``."""
    if not _is_real_number(value) or not 0 <= value <= 1:
        raise InputError.of(name, expected="a number in [0, 1]", found=repr(value))
    return float(value)


def reduction(value: str) -> None:
    """Refuse a reduction other than torch's three."""
    one_of(value, "reduction", _REDUCTIONS)


def on_empty(value: str) -> None:
    """Refuse an answer to an empty mean that we do not give."""
    one_of(value, "on_empty", _ON_EMPTY)


def normalizer(value: Any, reduction: str, name: str = "normalizer") -> None:
    """Refuse a divisor where there is no mean to divide, or one that is negative or no number."""
    if value is not None and reduction != "mean":
        found = f"it with reduction={reduction!r}"
        raise InputError.of(name, expected="a mean, which it divides", found=found)
    if _is_real_number(value):
        at_least_zero(value, name)


def softcap(value: float) -> float:
    """Return the bound of a softcap, 0 for none."""
    if not _is_real_number(value) or not value >= 0:
        raise InputError.of("softcap", expected="a number of 0 or above", found=repr(value))
    return float(value)


def memory_budget(value: Any) -> int | None:
    """Return a number of bytes, or None where the caller left it to us."""
    if value is None:
        return None
    if not _is_real_number(value) or not value >= 1:
        raise InputError.of(
            "memory_budget", expected="a number of bytes, 1 or above", found=repr(value)
        )
    return int(value)


def torch_device(value: Any, name: str) -> Any:
    """Return a device that PyTorch has, with its number where there may be several."""
    torch = require("torch", extra="torch", purpose="a fit on a device")
    try:
        device = torch.empty(0, device=value).device
    except (RuntimeError, AssertionError, TypeError, ImportError) as error:
        # PyTorch's own words are many lines, and the first of them may list all devices.
        reason = str(error).partition("\n")[0].partition(". ")[0]
        raise InputError(
            f"{name}: expected one that PyTorch has: {reason}",
            argument=name,
            expected="one that PyTorch has",
            found=str(value),
        ) from None
    if device.type == "meta":
        raise InputError.of(name, expected="a device that holds numbers", found="meta")
    return device


def linear_head(
    features: tuple[int, ...], weight: tuple[int, ...], *, has_classes: bool = True
) -> None:
    """Refuse features and a weight that no product can be made of."""
    if not features or len(weight) != 2 or features[-1] != weight[1]:
        raise InputError.of(
            "features",
            expected="(…, D) beside a weight of shape (C, D)",
            found=f"{features} and {weight}",
        )
    if has_classes and weight[0] == 0:
        raise InputError.of("weight", expected="a row for each of one class or more", found="none")


def head_of_places(
    features: tuple[int, ...],
    weight: tuple[int, ...],
    target: tuple[int, ...],
    bias: tuple[int, ...] | None,
    sample_weight: tuple[int, ...] | None,
) -> None:
    """Refuse what does not fit a weight (C, d1, …, D), which has an output for each of d1 · …."""
    if len(features) != 2 or features[1] != weight[-1]:
        raise InputError.of(
            "features",
            expected="(N, D) beside a weight of shape (C, d1, …, D)",
            found=f"{features} and {weight}",
        )
    if 0 in weight[:-1]:
        raise InputError.of("weight", expected="one class and one place or more", found=weight)
    positions = (features[0], *weight[1:-1])
    soft = (features[0], *weight[:-1])
    if target not in (positions, soft):
        raise InputError.of(
            "target",
            expected=f"class indices of shape {positions}, or distributions of shape {soft}",
            found=target,
        )
    if bias is not None and bias != weight[:-1]:
        raise InputError.of("bias", expected=f"shape {weight[:-1]}", found=bias)
    if sample_weight is not None and sample_weight not in (features[:1], positions):
        raise InputError.of("sample_weight", expected=f"shape {positions}", found=sample_weight)


def shift(value: Any) -> int:
    """Return by how many positions labels are ahead; True is one."""
    if isinstance(value, (bool, np.bool_)):
        return int(value)
    if not isinstance(value, (int, np.integer)) or value < 0:
        raise InputError.of("shift", expected="a whole number of 0 or above", found=repr(value))
    return int(value)


def linear_target(target: Any, shape: tuple[int, ...], classes: int) -> Any:
    """Return targets of positions of that shape as those of rows."""
    if isinstance(target, tuple) and len(target) == 2:
        first, second = _as_array(target[0], "target[0]"), _as_array(target[1], "target[1]")
        if not first.ndim or not second.ndim:
            raise InputError.of(
                "target",
                expected="indices and probabilities of shape (…, k)",
                found=f"{first.shape} and {second.shape}",
            )
        return first.reshape(-1, first.shape[-1]), second.reshape(-1, second.shape[-1])
    given = _as_array(target, "target")
    if given.shape == (*shape, classes) and not (given.shape == shape and given.dtype.kind != "f"):
        return given.reshape(-1, classes)
    if given.shape == shape:
        return given.reshape(-1)
    raise InputError.of(
        "target",
        expected=f"class indices of shape {shape}, or distributions of shape {(*shape, classes)}",
        found=given.shape,
    )


def unit(value: str) -> None:
    """Refuse a unit of information other than nats and bits."""
    one_of(value, "unit", get_args(Unit))


def one_of(value: object, name: str, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is none of the allowed names."""
    if value not in allowed:
        raise InputError.of(name, expected=f"one of {', '.join(allowed)}", found=repr(value))


def same_shape(first: Array, second: Array, names: tuple[str, str]) -> None:
    """Refuse two arrays whose shapes differ."""
    if first.shape != second.shape:
        raise InputError.of(
            names[1],
            expected=f"the shape of {names[0]}, {first.shape}",
            found=second.shape,
        )


def _first_outside(values: Array, name: str, bad: Array, expected: str) -> None:
    if np.any(bad):
        raise InputError.of(
            name,
            expected=expected,
            found=f"{values[bad][0]:g}",
            row=_position(np.asarray(bad)),
            place=_first("entry", np.asarray(bad)),
        )


def _first(kind: str, bad: Array) -> str:
    """Return ``row 3`` or ``entry 2, 0``; what has no axes needs no position."""
    return f"{kind} {', '.join(map(str, _first_index(bad)))}" if bad.ndim else "it"


def _first_index(bad: Array) -> tuple[int, ...]:
    return tuple(int(part) for part in np.unravel_index(np.argmax(bad), bad.shape))


def _position(bad: Array) -> Position | None:
    """Return where the first true entry is, as an error's field: 3, or (2, 0); None of a scalar."""
    index = _first_index(bad)
    return index[0] if len(index) == 1 else index or None


def _as_array(values: npt.ArrayLike, name: str) -> Array:
    unmasked(values, name)
    try:
        array = np.asarray(values)
    except ValueError:  # NumPy's own message names no argument
        found = "sequences of different lengths"
        raise InputError.of(name, expected="an array", found=found) from None
    if array.dtype.kind in "iu" and not (array.dtype.isnative and array.flags.c_contiguous):
        # Of other orders of bytes or of axes, NumPy 2.0 and 2.1 may end the process where such
        # integers are compared with a number that they cannot be (-100):
        # https://github.com/numpy/numpy/issues/28117
        return array.astype(array.dtype.newbyteorder("="), order="C")
    return array


def _is_missing(value: object) -> bool:
    """Tell whether an object stands for no value: None, NaN, NaT, or pandas' NA."""
    if isinstance(value, (str, bytes, int)):
        return False
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, (float, np.floating)):
        return bool(value != value)
    return isinstance(value, (np.datetime64, np.timedelta64)) and bool(np.isnat(value))


def _is_real_number(value: object) -> bool:
    # A tuple, as in all that a compiled loss asks: PyTorch 2.9 compiles no union of types.
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _plain_values(values: object, name: str) -> list[object]:
    """Return a list of Python scalars, without the detour over an array that unites their types."""
    unmasked(values, name)
    # The entries of tensors and of Arrow's columns are objects of theirs; their lists are plain.
    own_list = getattr(values, "to_pylist", getattr(values, "tolist", None))
    items = values if own_list is None else own_list()
    if isinstance(items, str) or not isinstance(items, Iterable):
        raise InputError.of(name, expected="a sequence of labels", found=reprlib.repr(items))
    return [item.item() if getattr(item, "ndim", None) == 0 else item for item in items]


def _wide(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.float32) if dtype.name == "bfloat16" else dtype


def _describe(array: Array) -> str:
    return f"{array.dtype} of shape {array.shape}"
