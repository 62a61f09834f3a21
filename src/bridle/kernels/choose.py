"""The registry of backends: which kernels serve which device, dtype and size.

A backend is one `Backend` and one line that registers it. Of several that serve the same scores the
one that was registered last is chosen; where none does, the caller falls back to plain operations
of its own: NumPy's (`REFERENCE`) or PyTorch's.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

from bridle.kernels import thresholds

FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})


@dataclass(frozen=True)
class HeadBlocks:
    """How many rows' scores of a linear head are made at a time.

    Parameters
    ----------
    block_bytes : int
        What the scores of a block may take.
    fewest_rows : int
        A product of fewer is slow, whatever they take.
    few_scores : int
        So many are made at once.
    least_blocks : int
        More scores than those go in so many blocks at least.

    Examples
    --------
    >>> HeadBlocks(2**24, 256).rows(8192, 32_000, 4)
    256
    """

    block_bytes: int
    fewest_rows: int
    few_scores: int = -1
    least_blocks: int = 1

    def rows(
        self,
        rows: int,
        classes: int,
        itemsize: int,
        memory_budget: int | None = None,
        fewest_rows: int = 0,
    ) -> int:
        """Return how many; a budget in bytes rules alone, ``fewest_rows`` may ask for more."""
        if memory_budget is not None:
            return max(1, memory_budget // (classes * itemsize))
        if rows * classes <= self.few_scores:
            return max(1, rows)
        fitting = max(fewest_rows, self.fewest_rows, self.block_bytes // (classes * itemsize))
        if self.least_blocks > 1:
            fitting = min(fitting, math.ceil(rows / self.least_blocks))
        return max(1, fitting)


def _always(_rows: int, _classes: int) -> bool:
    return True


def _here() -> bool:
    return True


@dataclass(frozen=True)
class Backend:
    """Kernels that keep `bridle.kernels.contract`, and what they serve.

    Parameters
    ----------
    name : str
        For people.
    devices, dtypes : frozenset of str
        Device types as PyTorch names them, and dtypes by their names.
    takes : {"arrays", "tensors"}
        How tensors are handed over: as arrays of the same memory (then the functions take
        ``bfloat16``, whether uint16 are the bits of such numbers, and ``threads`` too), or as they
        are.
    row_parts, row_gradient, row_parts_and_gradient : callable
        The contract's functions; the last may be None.
    head_blocks : HeadBlocks
        How a linear head's rows are cut on these devices.
    index_loss : callable, optional
        Returns the module whose kernels read class indices themselves and make loss and gradient at
        once; see `bridle.kernels.triton.index_loss`.
    distribution_loss : callable, optional
        The same of distributions; see `bridle.kernels.triton.distribution_loss`.
    head_loss : callable, optional
        Returns the module whose kernels make the loss of class indices of a linear head, and its
        gradients, without storing a score; see `bridle.kernels.triton.head_loss`.
    several_indices : bool
        Whether a target may have several class indices a row (N, k).
    pays : callable
        Tells of ``(rows, classes)`` whether so many scores are worth these kernels.
    available : callable
        Tells whether what compiles them is installed.
    """

    name: str
    devices: frozenset[str]
    dtypes: frozenset[str]
    takes: Literal["arrays", "tensors"]
    row_parts: Callable[..., Any]
    row_gradient: Callable[..., Any]
    head_blocks: HeadBlocks
    row_parts_and_gradient: Callable[..., Any] | None = None
    index_loss: Callable[[], Any] | None = None
    distribution_loss: Callable[[], Any] | None = None
    head_loss: Callable[[], Any] | None = None
    several_indices: bool = False
    pays: Callable[[int, int], bool] = _always
    available: Callable[[], bool] = _here

    def serves(self, device: str, dtype: str, shape: tuple[int, int]) -> bool:
        """Tell whether scores of this shape on this device are these kernels'.

        >>> TRITON.serves("cpu", "float32", (8, 10))
        False
        """
        return (
            device in self.devices
            and dtype in self.dtypes
            and self.available()
            and self.pays(*shape)
        )


def late(module: str, name: str) -> Callable[..., Any]:
    """Return a function of a module that is loaded when it is first called.

    >>> late("math", "sqrt")(4)
    2.0
    """

    def call(*arguments: Any, **options: Any) -> Any:
        return getattr(import_module(module), name)(*arguments, **options)

    return call


_registered: list[Backend] = []

# What callers have decided with the backends that are registered: empty again when they change.
DECISIONS: dict[Any, Any] = {}


def register(backend: Backend) -> Backend:
    """Let a backend serve; those before it keep what it does not serve."""
    _registered.append(backend)
    _forget()
    return backend


def unregister(backend: Backend) -> None:
    """Take a backend out again."""
    _registered.remove(backend)
    _forget()


def _forget() -> None:
    _candidates.cache_clear()
    reads_targets.cache_clear()
    DECISIONS.clear()


def backend(device: str, dtype: str, shape: tuple[int, int]) -> Backend | None:
    """Return the backend for a tensor of scores, or None where plain operations serve.

    >>> backend("cpu", "float32", (64, 10)), backend("cpu", "float32", (4096, 32_000)).name
    (None, 'numba')
    """
    for each in _candidates(device, dtype):
        if each.pays(*shape):
            return each
    return None


@cache
def reads_targets(device: Any) -> bool:
    """Tell whether a device has kernels that read targets themselves, whatever the scores."""
    return any(
        device.type in each.devices and each.index_loss is not None and each.available()
        for each in _registered
    )


def head_blocks(device: str, dtype: str) -> HeadBlocks:
    """Return how a linear head is cut on a device, whatever the size.

    >>> head_blocks("mps", "float32").fewest_rows
    4096
    """
    found = _candidates(device, dtype)
    return found[0].head_blocks if found else DEVICE_HEAD


@cache
def _candidates(device: str, dtype: str) -> tuple[Backend, ...]:
    """Return who serves a device and a dtype at any size, the latest first."""
    return tuple(
        each
        for each in reversed(_registered)
        if device in each.devices and dtype in each.dtypes and each.available()
    )


def array_backend(scores: Any) -> Backend:
    """Return the backend for an array of scores (N, C): compiled where that pays.

    >>> import numpy as np
    >>> array_backend(np.zeros((64, 10))).name
    'numpy'
    """
    readable = (
        scores.dtype.name in NUMBA.dtypes
        and scores.dtype.isnative
        and scores.strides[1] == scores.itemsize
    )
    return NUMBA if readable and worth_compiling(scores.size) else REFERENCE


def worth_compiling(count: int) -> bool:
    """Tell whether so many numbers of an array are worth loading, or even compiling, a kernel.

    >>> worth_compiling(1_000), worth_compiling(128_000_000)
    (False, True)
    """
    return count >= thresholds.COMPILED_ARRAY_NUMBERS


def _pays_on_cpu(rows: int, classes: int) -> bool:
    count = rows * classes
    return count > 0 and (
        count >= thresholds.COMPILED_TENSOR_NUMBERS or classes >= thresholds.SERIAL_COLUMNS
    )


@cache
def has_triton() -> bool:
    """Tell whether Triton is installed, for a PyTorch that talks to NVIDIA's devices."""
    return find_spec("triton") is not None and sys.modules["torch"].version.hip is None


CPU_HEAD = HeadBlocks(thresholds.BLAS_HEAD_BYTES, thresholds.HEAD_FEWEST_ROWS)
DEVICE_HEAD = HeadBlocks(
    thresholds.DEVICE_HEAD_BYTES,
    thresholds.DEVICE_HEAD_ROWS,
    thresholds.DEVICE_HEAD_FEW_SCORES,
    least_blocks=2,
)

_NUMPY, _NUMBA, _TRITON = (
    f"bridle.kernels.{each}.row_kernels" for each in ("numpy", "numba", "triton")
)

# The truth. It serves arrays that are not worth compiling for, and is registered for no device.
REFERENCE = Backend(
    name="numpy",
    devices=frozenset({"cpu"}),
    dtypes=FLOATS,
    takes="arrays",
    row_parts=late(_NUMPY, "row_parts"),
    row_gradient=late(_NUMPY, "row_gradient"),
    head_blocks=CPU_HEAD,
)

NUMBA = register(
    Backend(
        name="numba",
        devices=frozenset({"cpu"}),
        dtypes=FLOATS,
        takes="arrays",
        row_parts=late(_NUMBA, "row_parts"),
        row_gradient=late(_NUMBA, "row_gradient"),
        row_parts_and_gradient=late(_NUMBA, "row_parts_and_gradient"),
        head_blocks=CPU_HEAD,
        pays=_pays_on_cpu,
    )
)

TRITON = register(
    Backend(
        name="triton",
        devices=frozenset({"cuda"}),
        dtypes=FLOATS,
        takes="tensors",
        row_parts=late(_TRITON, "row_parts"),
        row_gradient=late(_TRITON, "row_gradient"),
        index_loss=cache(lambda: import_module("bridle.kernels.triton.index_loss")),
        distribution_loss=cache(lambda: import_module("bridle.kernels.triton.distribution_loss")),
        head_loss=cache(lambda: import_module("bridle.kernels.triton.head_loss")),
        head_blocks=DEVICE_HEAD,
        available=has_triton,
    )
)
