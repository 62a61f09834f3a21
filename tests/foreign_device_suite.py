"""A device without kernels: everything works there, by PyTorch's own operations.

The device is PyTorch's place for foreign ones (``privateuseone``), and its memory is the host's: a
tensor on it holds another, of which every operation is made. What asks for the host's memory in
silence fails, as on any device. It is one for the process, so `test_backends` starts one:

    pytest tests/foreign_device_suite.py
"""

# mypy: disable-error-code="no-untyped-call, assignment, arg-type, unused-ignore"
# What PyTorch offers for devices made in Python has few types.

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from bridle import (
    SoftmaxRegression,
    SoftmaxRegressionCV,
    softmax_regression_path,
    staging,
)
from bridle.kernels import choose
from bridle.kernels.contract import RowParts
from bridle.kernels.numpy import row_kernels
from bridle.rows import Rows
from bridle.torch import functional, kernels

_setup_privateuseone_for_python_backend("foreign")
DEVICE = torch.device("foreign", 0)


class ForeignTensor(Tensor):
    """A tensor on the device; ``held`` has its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> ForeignTensor:
        made: Any = Tensor._make_wrapper_subclass  # type: ignore[attr-defined]
        found: ForeignTensor = made(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
        )
        found.held = held
        return found

    def tolist(self) -> Any:
        """Return Python's numbers, which PyTorch gives of its own tensors alone."""
        return self.held.tolist()

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, _types: Any, given: Any = (), named: Any = None
    ) -> Any:
        return on_the_device(function, given, named or {})


def on_the_device(function: Any, given: Any, named: dict[str, Any]) -> Any:
    """Call an operation with the tensors that are held, and hold what comes of it."""
    owners: dict[int, Tensor] = {}

    def held(value: Any) -> Any:
        if isinstance(value, Tensor):
            own = value.held if isinstance(value, ForeignTensor) else value
            owners[id(own)] = value
            return own
        return value

    plain, options = tree_map(held, given), tree_map(held, named)
    foreign = any(isinstance(owner, ForeignTensor) for owner in owners.values())
    if options.get("device") is not None:
        foreign = torch.device(options["device"]).type == DEVICE.type
        options["device"] = torch.device("cpu") if foreign else options["device"]
    found = function(*plain, **options)

    def owned(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return (
            owners.get(id(value))
            if id(value) in owners
            else (ForeignTensor(value) if foreign else value)
        )

    return tree_map(owned, found)


class Everywhere(TorchDispatchMode):
    """Lets new tensors be made on the device too."""

    def __torch_dispatch__(
        self, function: Any, types: Any, given: Any = (), named: Any = None
    ) -> Any:
        del types
        return on_the_device(function, given, named or {})


CALLS: list[str] = []


def reference_parts(scores: Any, target: Any, *, weight: Any, **options: Any) -> RowParts:
    CALLS.append("parts")
    arrays = scores.held.numpy(), target.held.numpy()
    found = row_kernels.row_parts(
        *arrays, weight=None if weight is None else weight.held.numpy(), **options
    )
    return RowParts(
        *(None if part is None else ForeignTensor(torch.as_tensor(part)) for part in found)
    )


def reference_gradient(
    scores: Any, _parts: Any, target: Any, a: Any, *, out: Any, **named: Any
) -> Any:
    CALLS.append("gradient")
    plain = {
        name: value.held.numpy() if isinstance(value, ForeignTensor) else value
        for name, value in named.items()
    }
    given = scores.held.numpy(), row_kernels.row_parts(scores.held.numpy(), target.held.numpy())
    row_kernels.row_gradient(
        *given, target.held.numpy(), a.held.numpy(), out=out.held.numpy(), **plain
    )
    return out


REFERENCE = choose.Backend(
    name="reference",
    devices=frozenset({"foreign"}),
    dtypes=frozenset({"float32", "float64"}),
    takes="tensors",
    row_parts=reference_parts,
    row_gradient=reference_gradient,
    head_blocks=choose.HeadBlocks(block_bytes=800, fewest_rows=1),
)


@pytest.fixture(params=["PyTorch's own operations", "the reference, registered"], autouse=True)
def registered(request: pytest.FixtureRequest) -> Iterator[bool]:
    CALLS.clear()
    reference = request.param != "PyTorch's own operations"
    if reference:
        choose.register(REFERENCE)
    with Everywhere():
        yield reference
    if reference:
        choose.unregister(REFERENCE)


def problem(dtype: Any = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(23, 7, generator=generator, dtype=dtype)
    return scores, torch.randint(7, (23,), generator=generator)


def test_who_serves(registered: bool) -> None:
    scores = problem()[0].to(DEVICE)
    assert scores.device.type == "foreign"
    assert kernels.backend_of(scores) is (REFERENCE if registered else kernels.PLAIN)
    with pytest.raises((TypeError, RuntimeError, NotImplementedError)):
        scores.numpy()


@pytest.mark.parametrize(
    "options",
    [{}, {"label_smoothing": 0.1}, {"reduction": "none"}, {"z_loss": 0.1, "softcap": 2.0}],
    ids=str,
)
def test_loss_and_gradient(registered: bool, options: dict[str, Any]) -> None:
    scores, target = problem()
    there = scores.to(DEVICE).requires_grad_()
    here = scores.requires_grad_()
    found = functional.cross_entropy(there, target.to(DEVICE), **options)
    assert found.device.type == "foreign"
    found.sum().backward()
    assert there.grad is not None
    z = here if "softcap" not in options else 2 * torch.tanh(here / 2)
    right = torch.nn.functional.cross_entropy(
        z,
        target,
        reduction=options.get("reduction", "mean"),
        label_smoothing=options.get("label_smoothing", 0.0),
    )
    if "z_loss" in options:
        right = right + 0.1 * torch.logsumexp(z, 1).square().mean()
    right.sum().backward()
    assert here.grad is not None
    torch.testing.assert_close(found.detach().cpu(), right.detach())
    torch.testing.assert_close(there.grad.cpu(), here.grad)
    assert ("gradient" in CALLS) == registered


def test_the_linear_head(registered: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(23, 5, generator=generator, dtype=torch.float64)
    weight = torch.randn(11, 5, generator=generator, dtype=torch.float64)
    target = torch.randint(11, (23,), generator=generator)
    there = [each.to(DEVICE).requires_grad_() for each in (features, weight)]
    here = [each.requires_grad_() for each in (features, weight)]
    found = functional.linear_cross_entropy(*there, target.to(DEVICE))
    found.backward()
    right = torch.nn.functional.cross_entropy(here[0] @ here[1].T, target)
    right.backward()
    torch.testing.assert_close(found.detach().cpu(), right.detach())
    for one, other in zip(there, here, strict=True):
        assert one.grad is not None
        torch.testing.assert_close(one.grad.cpu(), other.grad)
    # 800 bytes are the scores of nine rows of eleven classes: three blocks.
    assert CALLS.count("parts") == (3 if registered else 0)


def test_the_fit_finds_its_optimum() -> None:
    X, y = load_digits(return_X_y=True)
    model = SoftmaxRegression(C=0.01).fit(torch.tensor(X).to(DEVICE), torch.tensor(y).to(DEVICE))
    expected = SoftmaxRegression(C=0.01).fit(X, y)
    there = torch.tensor(X).to(DEVICE), torch.tensor(y).to(DEVICE), torch.ones(len(y)).to(DEVICE)
    assert model.score(*there) == expected.score(X, y)
    assert model.fit_report_.proven
    assert model.fit_report_.objective == pytest.approx(expected.fit_report_.objective, rel=2e-6)
    found = model.predict_proba(torch.tensor(X).to(DEVICE))
    np.testing.assert_allclose(found, expected.predict_proba(X), atol=1e-3)


def test_penalties_and_their_search_find_theirs() -> None:
    X, y = load_digits(return_X_y=True)
    X, there, labels = X / 16, torch.tensor(X / 16).to(DEVICE), torch.tensor(y).to(DEVICE)
    settings: dict[str, Any]
    for settings in ({"l1_ratio": 1.0}, {"l1_ratio": 0.5}, {"group": "features", "l1_ratio": 1.0}):
        found = SoftmaxRegression(C=0.1, **settings).fit(there, labels)
        expected = SoftmaxRegression(C=0.1, **settings).fit(X, y)
        assert found.fit_report_.proven
        objectives = found.fit_report_.objective, expected.fit_report_.objective
        assert objectives[0] == pytest.approx(objectives[1], rel=2e-6)
    search = SoftmaxRegressionCV([0.1], l1_ratios=[1.0], cv=2, scoring="accuracy")
    search.fit(there, labels)
    assert search.score(there, labels, labels + 1) == search.score(X, y, y + 1)


@pytest.mark.parametrize("dtype", ["float16", "float64", "uint8"])
def test_a_streamed_fit_finds_its_optimum(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "_BUFFER_BYTES", 64 * 8 * 50)
    monkeypatch.setattr(staging, "_BLOCK_BYTES", 64 * 8 * 331)
    X, y = load_digits(return_X_y=True)
    features, chosen = X.astype(dtype), np.random.default_rng(0).permutation(len(y))[:1500]
    expected = SoftmaxRegression(C=0.01).fit(X[chosen], y[chosen])
    rows = Rows([features[:900], features[900:]]).take(chosen).streamed_to(DEVICE)
    for target in (y[chosen], torch.tensor(y[chosen]).to(DEVICE)):
        report = SoftmaxRegression(C=0.01).fit(rows, target).fit_report_
        assert report.proven
        assert report.streamed_to == "foreign:0"
        assert report.objective == pytest.approx(expected.fit_report_.objective, rel=2e-6)
    resident = SoftmaxRegression(C=0.01, device=DEVICE).fit(features[chosen], y[chosen])
    assert resident.fit_report_.streamed_to is None
    assert resident.fit_report_.objective == pytest.approx(expected.fit_report_.objective, rel=2e-6)
    path = softmax_regression_path(features, y, [0.01], device=DEVICE)
    search = SoftmaxRegressionCV([0.01], cv=2, device=DEVICE).fit(features, y)
    assert path.reports[0].proven
    assert search.fit_report_.proven
