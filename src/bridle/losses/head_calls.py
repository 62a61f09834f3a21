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
from typing import Any, NamedTuple, TypeVar

import numpy as np

from bridle import checks
from bridle.kernels.numpy.reference import accumulator_dtype
from bridle.losses.outputs import CrossEntropyOutputs, LinearGradient

Answer = TypeVar("Answer")

_NAMES = ("features", "weight", "target")
_TORCH_NAMES = {"input": "features", "linear_weight": "matrix", "linear_bias": "bias"}
# What an ignored position holds.
_NOTHING = {"argmax": -1, "correct": False}


class World(NamedTuple):
    """What arrays and tensors do under different names."""

    stack: Callable[[list[Any]], Any]  # along a new last axis
    pad: Callable[[Any, int, Any], Any]  # the last axis, at its beginning


ARRAYS = World(
    lambda parts: np.stack(parts, axis=-1),
    lambda values, count, fill: np.pad(
        values, [(0, 0)] * (values.ndim - 1) + [(count, 0)], constant_values=fill
    ),
)


def takes_head_calls(world: World) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    """Return a decorator of ``(features, weight, target, *, …)``, which is called plainly."""

    def decorate(function: Callable[..., Answer]) -> Callable[..., Answer]:
        name = function.__name__

        @functools.wraps(function)
        def call(*given: Any, **options: Any) -> Any:
            features, weight, target, rest = our_names(given, options, name)
            shift = checks.shift(rest.pop("shift", 0))
            if shift:
                features, target, rest = _shifted(features, target, rest, shift)
            if _has_places(weight):
                found = _at_places(function, world, features, weight, target, rest)
            else:
                found = function(features, weight, target, **rest)
            return _at_labels(world, found, shift, rest) if shift else found

        call.__dict__["__signature__"] = _with_shift(inspect.signature(function))
        return call

    return decorate


def _has_places(weight: Any) -> bool:
    """Tell whether a weight has more dimensions than (C, D)."""
    if isinstance(weight, list | tuple):
        try:
            return np.ndim(weight) > 2
        except (ValueError, TypeError):  # no matrix at all, as will be said
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
    rest = dict(options)
    rest.pop("options", None)  # how torch cuts its blocks; ours are cut by memory_budget
    named = dict(zip(("features", "matrix", "target"), given, strict=False))
    for theirs, ours in _TORCH_NAMES.items():
        if theirs in rest:
            _put(rest if ours == "bias" else named, ours, rest.pop(theirs), theirs)
    if "weight" in rest:
        weight = rest.pop("weight")
        if "matrix" in named:
            _put(rest, "class_weight", weight, "weight")
        else:
            named["matrix"] = weight
    for name in ("features", "target"):
        if name in rest:
            _put(named, name, rest.pop(name), name)
    for name, ours in zip(("features", "matrix", "target"), _NAMES, strict=True):
        if name not in named:
            raise TypeError(f"{function}() missing the argument {ours!r}")
    if rest.get("ignore_index", 0) is None:  # torch's default
        del rest["ignore_index"]
    return named["features"], named["matrix"], named["target"], rest


def _put(where: dict[str, Any], name: str, value: Any, said: str) -> None:
    if where.get(name) is not None:
        ours = "weight" if name == "matrix" else name
        raise checks.InputError.of(said, expected="it once", found=f"it and {ours} in one call")
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

    def later(values: Any) -> Any:
        values = values if hasattr(values, "ndim") else np.asarray(values)
        if tuple(values.shape[: len(positions)]) != positions:
            return values  # what does not fit is refused below; a weight per sample does
        return values[(slice(None),) * (len(positions) - 1) + (slice(shift, None),)]

    target = tuple(map(later, target)) if isinstance(target, tuple) else later(target)
    if options.get("sample_weight") is not None:
        options = {**options, "sample_weight": later(options["sample_weight"])}
    return features[..., :-shift, :], target, options


def _at_labels(world: World, found: Any, shift: int, options: Mapping[str, Any]) -> Any:
    """Return values of positions where their labels are; the first labels have none.

    A gradient in the features stays where they are; the last have none.
    """
    if isinstance(found, LinearGradient):
        last = [(0, 0)] * found.d_features.ndim
        last[-2] = (0, shift)
        loss = _at_labels(world, found.loss, shift, options)
        return found._replace(loss=loss, d_features=np.pad(found.d_features, last))
    if isinstance(found, CrossEntropyOutputs):
        reduced = options.get("reduction", "mean") != "none"
        return found._replace(
            **{
                name: world.pad(value, shift, _NOTHING.get(name, 0))
                for name, value in found._asdict().items()
                if value is not None and not (name == "loss" and reduced)
            }
        )
    return world.pad(found, shift, 0) if options.get("reduction", "mean") == "none" else found


def _at_places(
    function: Callable[..., Any],
    world: World,
    features: Any,
    weight: Any,
    target: Any,
    options: dict[str, Any],
) -> Any:
    """Return the loss of a head with several outputs, each with a weight (C, D) of its own."""
    features, weight, target = (
        each if hasattr(each, "ndim") else np.asarray(each) for each in (features, weight, target)
    )
    classes, *sizes, width = weight.shape
    places, rows = prod(sizes), tuple(features.shape[:-1])
    bias, share = options.pop("bias", None), options.pop("sample_weight", None)
    bias, share = (
        each if each is None or hasattr(each, "ndim") else np.asarray(each)
        for each in (bias, share)
    )
    checks.head_of_places(
        tuple(features.shape),
        tuple(weight.shape),
        tuple(target.shape),
        None if bias is None else tuple(bias.shape),
        None if share is None else tuple(share.shape),
    )
    soft = tuple(target.shape) == (*rows, classes, *sizes)
    matrices = weight.reshape(classes, places, width)
    targets = target.reshape(*rows, classes, places) if soft else target.reshape(*rows, places)
    biases = None if bias is None else bias.reshape(classes, places)
    several = share is not None and tuple(share.shape) != rows
    shares = share.reshape(*rows, places) if several else None
    if options.get("reduction", "mean") == "mean" and options.get("normalizer") is None:
        options["normalizer"] = _divisor(target, share, options, soft, rows, sizes)
    if options.get("random_state") is not None:  # each place draws its own numbers
        options["random_state"] = np.random.default_rng(options["random_state"])
    found = [
        function(
            features,
            matrices[:, place],
            targets[..., place],
            bias=None if biases is None else biases[:, place],
            sample_weight=share if shares is None else shares[..., place],
            **options,
        )
        for place in range(places)
    ]
    reduced = options.get("reduction", "mean") != "none"

    def together(parts: list[Any], is_loss: bool) -> Any:
        if is_loss and reduced:
            return sum(parts[1:], parts[0])
        return world.stack(parts).reshape(*rows, *sizes)

    if isinstance(found[0], LinearGradient):
        loss = together([each.loss for each in found], True)
        return _gradient_of_places(found, loss, tuple(weight.shape))
    if not isinstance(found[0], CrossEntropyOutputs):
        return together(found, True)
    columns = zip(*found, strict=True)
    return CrossEntropyOutputs(
        *(
            None if column[0] is None else together(list(column), name == "loss")
            for name, column in zip(CrossEntropyOutputs._fields, columns, strict=True)
        )
    )


def _gradient_of_places(
    found: list[LinearGradient], loss: Any, weight_shape: tuple[int, ...]
) -> LinearGradient:
    """Return the gradients of all places: features have their sum, each weight its own."""
    _, d_features, d_weight, d_bias = zip(*found, strict=True)
    kind = d_features[0].dtype
    return LinearGradient(
        loss,
        np.sum(d_features, axis=0, dtype=accumulator_dtype(kind)).astype(kind, copy=False),
        np.stack(d_weight, axis=1).reshape(weight_shape),
        None if d_bias[0] is None else np.stack(d_bias, axis=1).reshape(weight_shape[:-1]),
    )


def _divisor(
    target: Any,
    share: Any,
    options: Mapping[str, Any],
    soft: bool,
    rows: tuple[int, ...],
    sizes: Sequence[int],
) -> Any:
    """Return what a mean over all places divides by: their targets' weights."""
    per_sample = share is not None and tuple(share.shape) == rows
    if soft:
        each = prod(rows) if share is None else share.sum()
        return each * prod(sizes) if share is None or per_sample else each
    total = (target != options.get("ignore_index", -100)) * 1
    weight = options.get("class_weight")
    if weight is not None:
        weight = weight if hasattr(weight, "ndim") else np.asarray(weight)
        known = (target >= 0) & (target < len(weight))
        total = total * weight[known * target]
    if share is not None:
        total = total * (share.reshape(*rows, *(1,) * len(sizes)) if per_sample else share)
    return total.sum()
