"""PyTorch's own sample inputs, in every dtype of a CPU: values and gradients in its tolerances."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")

import bridle  # noqa: E402
from bridle.kernels import thresholds  # noqa: E402
from bridle.torch import BinaryCrossEntropyLoss, CrossEntropyLoss, functional  # noqa: E402
from tensors import DTYPES  # noqa: E402


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
LEAST = {"nn.functional.cross_entropy": 21, "log_softmax": 7, "logsumexp": 5}


@pytest.fixture(params=["plain PyTorch", "compiled kernel"], autouse=True)
def _backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "compiled kernel":
        monkeypatch.setattr(thresholds, "COMPILED_TENSOR_NUMBERS", 0)


def samples_of(name: str, dtype: Any) -> list[Any]:
    torch.manual_seed(0)
    (plain,) = [op for op in OPERATIONS if op.name == name and op.variant_test_name == ""]
    samples = [
        sample
        for sample in plain.sample_inputs("cpu", dtype, requires_grad=True)
        if "dtype" not in sample.kwargs
    ]
    assert len(samples) >= LEAST.get(name, 1)
    return samples


def compare(ours: Callable[[], Any], theirs: Callable[[], Any], inputs: list[Any]) -> None:
    """Compare values, and the gradients of their sum in all inputs that have one.

    A half-precision loss of ours is float32, which is closer to the truth than torch's own.
    """
    found, right = ours(), theirs()
    half = inputs[0].dtype in (torch.float16, torch.bfloat16)

    def assert_near(one: Any, other: Any) -> None:
        tolerance = {"rtol": None, "atol": None}
        if half and other is not None:
            epsilon = 4 * torch.finfo(inputs[0].dtype).eps
            size = other.detach().abs().nan_to_num(0, 0, 0).amax() if other.numel() else 0
            tolerance = {"rtol": epsilon, "atol": epsilon * max(1.0, float(size))}
        torch.testing.assert_close(one, other, equal_nan=True, **tolerance)

    assert_near(found.to(right.dtype), right)
    differentiable = [each for each in inputs if each.requires_grad]
    gradients = [
        torch.autograd.grad(result.sum(), differentiable, allow_unused=True)
        for result in (found, right)
    ]
    for one, other in zip(*gradients, strict=True):
        assert_near(one, other)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_cross_entropy(dtype: Any) -> None:
    for sample in samples_of("nn.functional.cross_entropy", dtype):
        (target,) = sample.args
        given = partial(functional.cross_entropy, check=False), torch.nn.functional.cross_entropy
        ours, theirs = (partial(each, sample.input, target, **sample.kwargs) for each in given)
        compare(ours, theirs, [sample.input, target])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_log_softmax(dtype: Any) -> None:
    for name in ("log_softmax", "softmax"):
        for sample in samples_of(name, dtype):
            axis = sample.args[0]
            ours = partial(getattr(bridle, name), sample.input, axis=axis)
            compare(ours, partial(getattr(torch, name), sample.input, axis), [sample.input])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_logsumexp(dtype: Any) -> None:
    for sample in samples_of("logsumexp", dtype):
        axis, keepdims = sample.args
        ours = partial(bridle.logsumexp, sample.input, axis=axis, keepdims=keepdims)
        compare(ours, partial(torch.logsumexp, sample.input, axis, keepdims), [sample.input])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_kl_div(dtype: Any) -> None:
    """Their samples are no distributions; the softmax of them is, and its derivatives agree."""
    compared = 0
    for sample in samples_of("nn.functional.kl_div", dtype):
        scores, target = sample.input, sample.args[0]
        if scores.dim() == 0 or scores.shape != target.shape:
            continue
        if sample.kwargs.get("reduction", "mean") not in ("sum", "none"):
            continue  # a mean over classes too, which no divergence is
        compared += 1

        def theirs(scores: Any = scores, target: Any = target) -> Any:
            logs = [torch.log_softmax(each, -1) for each in (scores, target)]
            terms = torch.nn.functional.kl_div(*logs, reduction="none", log_target=True)
            return terms.sum(dim=-1)

        def ours(scores: Any = scores, target: Any = target) -> Any:
            return bridle.kl_divergence(bridle.softmax(target), bridle.softmax(scores))

        compare(ours, theirs, [scores, target])
    assert compared >= 4


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("name", "module", "least"),
    [
        ("nn.CrossEntropyLoss", CrossEntropyLoss, 100),
        ("nn.BCEWithLogitsLoss", BinaryCrossEntropyLoss, 6),
    ],
)
def test_modules(name: str, module: Any, least: int, dtype: Any) -> None:
    (info,) = [each for each in MODULES if each.name == name]
    torch.manual_seed(0)
    inputs = info.module_inputs_func(
        info, device="cpu", dtype=dtype, requires_grad=True, training=True
    )
    assert len(inputs) >= least
    for each in inputs:
        options = each.constructor_input.kwargs
        scores, target = each.forward_input.args
        ours = partial(module(**options, check=False), scores, target)
        compare(ours, partial(info.module_cls(**options), scores, target), [scores, target])
