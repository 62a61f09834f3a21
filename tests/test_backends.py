"""The registry of backends, and a device without kernels."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bridle.kernels import choose, thresholds
from bridle.kernels.choose import DEVICE_HEAD, NUMBA, REFERENCE, HeadBlocks

SUITE = Path(__file__).with_name("foreign_device_suite.py")


def test_small_scores_on_a_cpu_take_no_compiled_kernel() -> None:
    few, many = thresholds.COMPILED_TENSOR_NUMBERS - 1, thresholds.COMPILED_TENSOR_NUMBERS
    assert choose.backend("cpu", "float32", (few, 1)) is None
    assert choose.backend("cpu", "float32", (many, 1)) is NUMBA
    assert choose.backend("cpu", "float32", (1, thresholds.SERIAL_COLUMNS)) is NUMBA
    assert choose.backend("cpu", "float32", (0, thresholds.SERIAL_COLUMNS)) is None
    assert choose.backend("cpu", "int64", (many, 10)) is None
    assert choose.backend("mps", "float32", (many, 10)) is None


def test_arrays_that_a_compiled_kernel_cannot_read_go_to_numpy() -> None:
    scores = np.zeros((thresholds.COMPILED_ARRAY_NUMBERS // 8, 8), np.float32)
    assert choose.array_backend(scores) is NUMBA
    assert choose.array_backend(scores[:-1]) is REFERENCE
    assert choose.array_backend(scores.astype(">f4")) is REFERENCE
    assert choose.array_backend(scores.astype(np.longdouble)) is REFERENCE
    assert choose.array_backend(np.asfortranarray(scores)) is REFERENCE


def test_the_latest_that_serves_is_chosen() -> None:
    few = replace(NUMBA, name="few classes", pays=lambda _, classes: classes < 5)
    choose.register(few)
    try:
        assert choose.backend("cpu", "float64", (3, 4)) is few
        assert few.serves("cpu", "float64", (3, 4))
        assert not few.serves("cpu", "float64", (3, 5))
        assert choose.backend("cpu", "float64", (2**20, 5)) is NUMBA
        assert choose.backend("cuda:", "float64", (3, 4)) is None
    finally:
        choose.unregister(few)
    assert choose.backend("cpu", "float64", (3, 4)) is None


@pytest.mark.parametrize(
    ("blocks", "given", "rows"),
    [
        (HeadBlocks(2**24, 256), (8192, 1000, 4), 2**24 // 4000),
        (HeadBlocks(2**24, 256), (8192, 10**6, 4), 256),
        (HeadBlocks(2**24, 256), (8192, 10**6, 4, 8 * 10**6), 2),
        (HeadBlocks(2**24, 256), (8192, 10**6, 4, 1), 1),
        (HeadBlocks(2**24, 256), (8192, 10**6, 4, None, 700), 700),
        (HeadBlocks(2**24, 256), (0, 10**6, 4), 256),
        # Half precision on an accelerator: 2³⁰ scores, at most half of the rows.
        (DEVICE_HEAD, (8192, 256_000, 2), 4096),
        (DEVICE_HEAD, (65_536, 256_000, 2), 4194),
        (DEVICE_HEAD, (65_536, 1000, 2), 32_768),
        (DEVICE_HEAD, (1000, 1000, 2), 1000),
        (DEVICE_HEAD, (0, 1000, 2), 1),
    ],
)
def test_the_rows_of_a_head_at_a_time(blocks: HeadBlocks, given: Any, rows: int) -> None:
    assert blocks.rows(*given) == rows


@pytest.mark.parametrize(
    ("mkl", "maker", "blas"),
    [
        (True, "GenuineIntel", False),
        (True, "AuthenticAMD", True),
        (True, "", False),
        (False, "AuthenticAMD", False),
    ],
)
def test_who_makes_the_products_of_tensors(
    mkl: bool, maker: str, blas: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")
    from bridle.torch import products

    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: mkl)
    monkeypatch.setattr(products, "maker", lambda: maker)
    products.uses_blas.cache_clear()
    try:
        assert products.uses_blas() is blas
        block = products.head_blocks(torch.zeros(1, 1)).block_bytes
        assert block == (thresholds.BLAS_HEAD_BYTES if blas else thresholds.TORCH_HEAD_BYTES)
        half = products.head_blocks(torch.zeros(1, 1, dtype=torch.bfloat16)).block_bytes
        assert half == thresholds.BLAS_HEAD_BYTES
    finally:
        products.uses_blas.cache_clear()


@pytest.mark.parametrize("blas", [True, False])
def test_either_library_gives_the_same_head(blas: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")
    from bridle.torch import functional, products

    monkeypatch.setattr(thresholds, "BLAS_MULTIPLICATIONS", 0)
    monkeypatch.setattr(products, "uses_blas", lambda: blas)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(23, 5, generator=generator, dtype=torch.float64).requires_grad_()
    weight = torch.randn(11, 5, generator=generator, dtype=torch.float64).requires_grad_()
    target = torch.arange(23) % 11
    found = functional.linear_cross_entropy(features, weight, target, memory_budget=800)
    right = torch.nn.functional.cross_entropy(features @ weight.T, target)
    torch.testing.assert_close(found, right)
    for one, other in zip(
        torch.autograd.grad(found, (features, weight)),
        torch.autograd.grad(right, (features, weight)),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_every_device_works_without_kernels_of_its_own() -> None:
    pytest.importorskip("torch", reason="the extra `torch` is not installed")
    from torch.utils import backend_registration

    if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this PyTorch lets no device be made in Python")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(SUITE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
