"""PyTorch's own sample inputs: the same values and gradients to 1e-12 in float64.

Some samples lie outside our default contract: probabilities that do not sum to 1, class weights
below 0. Ours refuses those by default, naming the place, and agrees with torch once told not to
check.
"""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import bridle

Array = npt.NDArray[Any]

torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")


def internal(module: str) -> Any:
    """Import one of torch's test modules; they move, and their imports warn of torch's own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(f"torch.testing._internal.{module}")
        except ImportError as error:
            pytest.skip(f"this torch has no sample inputs to run: {error}", allow_module_level=True)


OPERATIONS: Any = internal("common_methods_invocations").op_db
MODULES: Any = internal("common_modules").module_db

# How many samples must at least have run: a test over none would pass as well.
LEAST = {
    "softmax": 7,
    "log_softmax": 7,
    "logsumexp": 15,
    "nn.functional.cross_entropy": 21,
    "nn.functional.binary_cross_entropy_with_logits": 26,
    "nn.CrossEntropyLoss": 105,
    "nn.BCEWithLogitsLoss": 6,
}


def samples_of(name: str) -> list[Any]:
    """Return an operation's samples; those with a ``dtype`` to cast to have no counterpart here."""
    torch.manual_seed(0)
    plain = [op for op in OPERATIONS if op.name == name and op.variant_test_name == ""]
    assert len(plain) == 1
    return list(plain[0].sample_inputs("cpu", torch.float64, requires_grad=True))


def as_array(value: Any) -> Any:
    return value.detach().numpy() if isinstance(value, torch.Tensor) else value


def assert_equal(found: Array, right: Any, scale: float = 1.0) -> None:
    right = as_array(right)
    assert np.shape(found) == np.shape(right)
    np.testing.assert_allclose(found, right, rtol=1e-12, atol=1e-12 * scale)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name: str) -> None:
    function = getattr(bridle, name)
    operation = getattr(torch, name)
    samples = samples_of(name)
    for sample in samples:
        (axis,) = sample.args
        assert sample.kwargs == {}
        assert_equal(function(as_array(sample.input), axis=axis), operation(sample.input, axis))
    assert len(samples) >= LEAST[name]


def test_logsumexp() -> None:
    samples = samples_of("logsumexp")
    for sample in samples:
        axis, keepdims = sample.args
        ours = axis if sample.input.ndim else None  # NumPy knows no axis of a scalar
        found = bridle.logsumexp(as_array(sample.input), axis=ours, keepdims=keepdims)
        assert_equal(found, torch.logsumexp(sample.input, axis, keepdims))
    assert len(samples) >= LEAST["logsumexp"]


def compare_loss(
    ours: Callable[..., tuple[Array, Array]],
    theirs: Any,
    scores: Any,
    target: Any,
    options: dict[str, Any],
    *,
    refused: bool,
) -> None:
    """Compare value and gradient; with reduction "none" the gradient of the sum."""
    scores = scores.detach().clone().requires_grad_()
    right = theirs(scores, target, **options)
    right.sum().backward()
    arrays = {name: as_array(value) for name, value in options.items()}
    if refused:
        with pytest.raises(bridle.InputError, match=r"^\w+: (it|entry \d+|row \d+).* (is|sums)"):
            ours(as_array(scores), as_array(target), **arrays)
        arrays["check"] = False
    loss, gradient = ours(as_array(scores), as_array(target), **arrays)
    # A mean over weights of both signs may divide by nearly nothing: all grows alike.
    scale = max(1.0, float(np.abs(as_array(right)).max(initial=0)))
    assert_equal(loss, right, scale)
    assert_equal(gradient, scores.grad, scale)


def outside_contract(target: Any, options: dict[str, Any], *, sums: bool) -> bool:
    """Tell whether torch's sample holds what ours refuses unless told not to check.

    ``sums``: whether a target of floats must sum to 1 over the classes.
    """
    weights = [options.get(name) for name in ("weight", "pos_weight")]
    if any(weight is not None and (weight < 0).any() for weight in weights):
        return True
    if not target.is_floating_point():
        return False
    classes = 1 if target.ndim > 1 else 0
    missed = sums and ((target.sum(dim=classes) - 1).abs() > 1e-5).any()
    return bool((target < 0).any() or (target > 1).any() or missed)


def test_cross_entropy() -> None:
    samples = samples_of("nn.functional.cross_entropy")
    refused = 0
    for sample in samples:
        (target,) = sample.args
        outside = outside_contract(target, sample.kwargs, sums=True)
        compare_loss(
            bridle.cross_entropy_gradient,
            torch.nn.functional.cross_entropy,
            sample.input,
            target,
            sample.kwargs,
            refused=outside,
        )
        refused += outside
    assert len(samples) >= LEAST["nn.functional.cross_entropy"]
    assert 0 < refused < len(samples)


def test_binary_cross_entropy() -> None:
    samples = samples_of("nn.functional.binary_cross_entropy_with_logits")
    for sample in samples:
        (target,) = sample.args
        compare_loss(
            bridle.binary_cross_entropy_gradient,
            torch.nn.functional.binary_cross_entropy_with_logits,
            sample.input,
            target,
            sample.kwargs,
            refused=outside_contract(target, sample.kwargs, sums=False),
        )
    assert len(samples) >= LEAST["nn.functional.binary_cross_entropy_with_logits"]


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("nn.CrossEntropyLoss", bridle.cross_entropy_gradient),
        ("nn.BCEWithLogitsLoss", bridle.binary_cross_entropy_gradient),
    ],
)
def test_modules(name: str, ours: Callable[..., tuple[Array, Array]]) -> None:
    (module,) = [info for info in MODULES if info.name == name]
    torch.manual_seed(0)
    inputs = module.module_inputs_func(
        module, device="cpu", dtype=torch.float64, requires_grad=True, training=True
    )
    for each in inputs:
        options = each.constructor_input.kwargs
        assert each.constructor_input.args == ()
        scores, target = each.forward_input.args
        compare_loss(
            ours,
            lambda z, t, **kwargs: module.module_cls(**kwargs)(z, t),
            scores,
            target,
            options,
            refused=outside_contract(target, options, sums=name == "nn.CrossEntropyLoss"),
        )
    assert len(inputs) >= LEAST[name]


def test_names_order_and_defaults_of_the_arguments_are_torch_s() -> None:
    theirs = inspect.signature(torch.nn.functional.cross_entropy).parameters
    ours = inspect.signature(bridle.cross_entropy).parameters
    legacy = {"size_average", "reduce"}  # deprecated in torch since 2018
    shared = [name for name in theirs if name not in legacy]
    assert [name for name in ours if name in theirs] == shared
    for name in shared:
        assert ours[name].default == theirs[name].default
