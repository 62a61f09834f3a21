"""How a linear head's loss may be called: by other names, with shifted labels, at many outputs.

What `bridle.linear_cross_entropy`, its namesake in `bridle.torch` and the gradient of arrays
compute is the loss of rows of features under one weight (C, D). Around it, for all alike:

- the argument names of `torch.nn.functional.linear_cross_entropy` stand beside ours, ``input``,
  ``linear_weight`` and ``linear_bias`` for ``features``, ``weight`` and ``bias``; ``weight`` is
  then, as there, what each class weighs;
- ``shift`` scores the features of a position against a later label;
- a weight (C, d1, …, D) has an output of C classes for each of d1 · … places, whose losses are
  found one place after the other.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from math import prod
from numbers import Real
from typing import Any, NamedTuple, TypeVar

import numpy as np

from bridle import checks
from bridle.kernels.numpy.reference import accumulator_dtype
from bridle.losses.outputs import CrossEntropyOutputs, LinearGradient
from bridle.tensors import on_host

Answer = TypeVar("Answer")

_NAMES = ("features", "weight", "target")
_TORCH_NAMES = {"input": "features", "linear_weight": "matrix", "linear_bias": "bias"}
# What an ignored position holds.
_IGNORED_OUTPUT = {"argmax": -1, "correct": False}


class ArrayLibrary(NamedTuple):
    """Operations that NumPy and PyTorch name differently."""

    stack: Callable[[list[Any]], Any]  # along a new last axis
    pad: Callable[[Any, int, Any], Any]  # the last axis, at its beginning


ARRAYS = ArrayLibrary(
    lambda parts: np.stack(parts, axis=-1),
    lambda values, count, fill: np.pad(
        values, [(0, 0)] * (values.ndim - 1) + [(count, 0)], constant_values=fill
    ),
)


def takes_head_calls(
    library: ArrayLibrary,
) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    """Return a decorator of ``(features, weight, target, *, …)``, written for a weight (C, D)."""

    def decorate(function: Callable[..., Answer]) -> Callable[..., Answer]:
        name = function.__name__

        @functools.wraps(function)
        def call(*given: Any, **options: Any) -> Any:
            if library is ARRAYS:  # a function of arrays alone, which takes tensors as arrays
                given = tuple(map(on_host, given))
                options = {key: on_host(value) for key, value in options.items()}
            features, weight, target, remaining = our_names(given, options, name)
            shift = checks.shift(remaining.pop("shift", 0))
            if shift:
                features, target, remaining = _shifted(features, target, remaining, shift)
            if _has_several_outputs(weight) and remaining.get("group") is None:
                result = _loss_of_outputs(function, library, features, weight, target, remaining)
            else:
                result = function(features, weight, target, **remaining)
            return _at_label_positions(library, result, shift, remaining) if shift else result

        call.__dict__["__signature__"] = _with_shift(inspect.signature(function))
        return call

    return decorate


def _has_several_outputs(weight: Any) -> bool:
    """Tell whether a weight has more dimensions than (C, D)."""
    if isinstance(weight, (list, tuple)):
        try:
            return np.ndim(weight) > 2
        except (ValueError, TypeError):  # no matrix at all: refused later
            return False
    return getattr(weight, "ndim", 2) > 2 and not getattr(weight, "is_nested", False)


def _with_shift(signature: inspect.Signature) -> inspect.Signature:
    """Return the signature that `help` shows, with the option that is dealt with here."""
    keyword_only = inspect.Parameter.KEYWORD_ONLY
    shift = inspect.Parameter("shift", keyword_only, default=0, annotation="int")
    return signature.replace(parameters=[*signature.parameters.values(), shift])


def our_names(
    given: Sequence[Any], options: Mapping[str, Any], function: str = "linear_cross_entropy"
) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Return features, weight, target and the further options of a call by either names."""
    if len(given) > len(_NAMES):
        found = f"{len(given)} positional arguments"
        raise checks.InputError.of(function, expected=", ".join(_NAMES), found=found)
    remaining = dict(options)
    remaining.pop("options", None)  # how torch cuts its blocks; ours are cut by memory_budget
    named = dict(zip(("features", "matrix", "target")[: len(given)], given, strict=True))
    for torch_name, our_name in _TORCH_NAMES.items():
        if torch_name in remaining:
            _set_once(
                remaining if our_name == "bias" else named,
                our_name,
                remaining.pop(torch_name),
                torch_name,
            )
    if "weight" in remaining:
        weight = remaining.pop("weight")
        if "matrix" in named:
            _set_once(remaining, "class_weight", weight, "weight")
        else:
            named["matrix"] = weight
    for name in ("features", "target"):
        if name in remaining:
            _set_once(named, name, remaining.pop(name), name)
    for name, our_name in zip(("features", "matrix", "target"), _NAMES, strict=True):
        if name not in named:
            raise TypeError(f"{function}() missing the argument {our_name!r}")
    if remaining.get("ignore_index", 0) is None:  # torch's default
        del remaining["ignore_index"]
    return named["features"], named["matrix"], named["target"], remaining


def _set_once(where: dict[str, Any], name: str, value: Any, said: str) -> None:
    if where.get(name) is not None:
        our_name = "weight" if name == "matrix" else name
        raise checks.InputError.of(said, expected="it once", found=f"it and {our_name} in one call")
    where[name] = value


def _shifted(
    features: Any, target: Any, options: dict[str, Any], shift: int
) -> tuple[Any, Any, dict[str, Any]]:
    """Return features without the last positions, and labels and weights without the first."""
    features = features if hasattr(features, "ndim") else np.asarray(features)
    if features.ndim < 2 or features.shape[-2] <= shift:
        expected = f"(…, T, D) with T above shift={shift} positions"
        raise checks.InputError.of("features", expected=expected, found=tuple(features.shape))
    positions = tuple(features.shape[:-1])

    def without_first(values: Any) -> Any:
        values = values if hasattr(values, "ndim") else np.asarray(values)
        if tuple(values.shape[: len(positions)]) != positions:
            return values  # what does not fit is refused below; a weight per sample does
        return values[(slice(None),) * (len(positions) - 1) + (slice(shift, None),)]

    target = (
        tuple(map(without_first, target)) if isinstance(target, tuple) else without_first(target)
    )
    if options.get("sample_weight") is not None:
        options = {**options, "sample_weight": without_first(options["sample_weight"])}
    return features[..., :-shift, :], target, options


def _at_label_positions(
    library: ArrayLibrary, result: Any, shift: int, options: Mapping[str, Any]
) -> Any:
    """Return values of positions where their labels are; the first labels have none.

    A gradient in the features stays where they are; the last have none.
    """
    if isinstance(result, LinearGradient):
        padding = [(0, 0)] * result.d_features.ndim
        padding[-2] = (0, shift)
        loss = _at_label_positions(library, result.loss, shift, options)
        return result._replace(loss=loss, d_features=np.pad(result.d_features, padding))
    if isinstance(result, CrossEntropyOutputs):
        reduced = options.get("reduction", "mean") != "none"
        return result._replace(
            **{
                name: library.pad(value, shift, _IGNORED_OUTPUT.get(name, 0))
                for name, value in result._asdict().items()
                if value is not None and not (name == "loss" and reduced)
            }
        )
    return library.pad(result, shift, 0) if options.get("reduction", "mean") == "none" else result


def _loss_of_outputs(
    function: Callable[..., Any],
    library: ArrayLibrary,
    features: Any,
    weight: Any,
    target: Any,
    options: dict[str, Any],
) -> Any:
    """Return the loss of a head with several outputs, each with a weight (C, D) of its own."""
    features, weight, target = (
        value if hasattr(value, "ndim") else np.asarray(value)
        for value in (features, weight, target)
    )
    classes, *sizes, width = weight.shape
    output_count, rows = prod(sizes), tuple(features.shape[:-1])
    bias, sample_weight = options.pop("bias", None), options.pop("sample_weight", None)
    bias, sample_weight = (
        value if value is None or hasattr(value, "ndim") else np.asarray(value)
        for value in (bias, sample_weight)
    )
    checks.head_of_places(
        tuple(features.shape),
        tuple(weight.shape),
        tuple(target.shape),
        None if bias is None else tuple(bias.shape),
        None if sample_weight is None else tuple(sample_weight.shape),
    )
    soft = tuple(target.shape) == (*rows, classes, *sizes)
    matrices = weight.reshape(classes, output_count, width)
    targets = (
        target.reshape(*rows, classes, output_count)
        if soft
        else target.reshape(*rows, output_count)
    )
    biases = None if bias is None else bias.reshape(classes, output_count)
    has_weight_per_output = sample_weight is not None and tuple(sample_weight.shape) != rows
    output_weights = sample_weight.reshape(*rows, output_count) if has_weight_per_output else None
    normalizer = options.get("normalizer")
    if not (normalizer is None or isinstance(normalizer, Real) or hasattr(normalizer, "dtype")):
        found, expected = type(normalizer).__name__, "a number beside a weight of several outputs"
        raise checks.InputError.of("normalizer", expected=expected, found=found)
    if options.get("reduction", "mean") == "mean" and normalizer is None:
        options["normalizer"] = _divisor(target, sample_weight, options, soft, rows, sizes)
    if options.get("random_state") is not None:  # each place draws its own numbers
        options["random_state"] = np.random.default_rng(options["random_state"])
    results = [
        function(
            features,
            matrices[:, output],
            targets[..., output],
            bias=None if biases is None else biases[:, output],
            sample_weight=sample_weight if output_weights is None else output_weights[..., output],
            **options,
        )
        for output in range(output_count)
    ]
    reduced = options.get("reduction", "mean") != "none"

    def combined(values: list[Any], is_loss: bool) -> Any:
        if is_loss and reduced:
            return sum(values[1:], values[0])
        return library.stack(values).reshape(*rows, *sizes)

    if isinstance(results[0], LinearGradient):
        loss = combined([value.loss for value in results], True)
        return _gradient_of_outputs(results, loss, tuple(weight.shape))
    if not isinstance(results[0], CrossEntropyOutputs):
        return combined(results, True)
    columns = zip(*results, strict=True)
    return CrossEntropyOutputs(
        *(
            None if column[0] is None else combined(list(column), name == "loss")
            for name, column in zip(CrossEntropyOutputs._fields, columns, strict=True)
        )
    )


def _gradient_of_outputs(
    gradients: list[LinearGradient], loss: Any, weight_shape: tuple[int, ...]
) -> LinearGradient:
    """Return the gradients of all places: features have their sum, each weight its own."""
    _, d_features, d_weight, d_bias = zip(*gradients, strict=True)
    dtype = d_features[0].dtype
    return LinearGradient(
        loss,
        np.sum(d_features, axis=0, dtype=accumulator_dtype(dtype)).astype(dtype, copy=False),
        np.stack(d_weight, axis=1).reshape(weight_shape),
        None if d_bias[0] is None else np.stack(d_bias, axis=1).reshape(weight_shape[:-1]),
    )


def _divisor(
    target: Any,
    sample_weight: Any,
    options: Mapping[str, Any],
    soft: bool,
    rows: tuple[int, ...],
    sizes: Sequence[int],
) -> Any:
    """Return what a mean over all places divides by: their targets' weights."""
    per_sample = sample_weight is not None and tuple(sample_weight.shape) == rows
    if soft:
        total_weight = prod(rows) if sample_weight is None else sample_weight.sum()
        return total_weight * prod(sizes) if sample_weight is None or per_sample else total_weight
    total = (target != options.get("ignore_index", -100)) * 1
    weight = options.get("class_weight")
    if weight is not None:
        weight = weight if hasattr(weight, "ndim") else np.asarray(weight)
        is_known = (target >= 0) & (target < len(weight))
        total = total * weight[is_known * target]
    if sample_weight is not None:
        total = total * (
            sample_weight.reshape(*rows, *(1,) * len(sizes)) if per_sample else sample_weight
        )
    return total.sum()
