"""How many threads the libraries have while a fit runs, and after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bridle.fit.objective import build_objective
from threadpoolctl import ThreadpoolController, threadpool_limits

from bridle.fit import passes, threads
from bridle.rows import Rows


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(threads, "free", lambda: 2)
    with threadpool_limits(2, user_api="blas"):
        if blas_threads() != {2}:
            pytest.skip("the libraries here have one thread")
        yield


def blas_threads() -> set[int]:
    libraries = ThreadpoolController().select(user_api="blas").info()
    return {library["num_threads"] for library in libraries}


def objective(rows: int, width: int, classes: int) -> Any:
    target = np.arange(rows) % classes
    options: dict[str, Any] = {"C": 1.0, "fit_intercept": True, "standardize": False}
    X = np.random.default_rng(0).normal(size=(rows, width))
    return build_objective(Rows([X]), target, classes, sample_weight=None, **options)


def test_beside_our_kernel_only_large_products_are_shared_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passes, "_KERNEL_NUMBERS", 2**16)
    with threads.threads_for(objective(8000, 600, 3)):
        assert blas_threads() == {1}
        with threads.large(2**30):
            assert blas_threads() == {2}
        with threads.large(2**10):
            assert blas_threads() == {1}
        assert blas_threads() == {1}
    assert blas_threads() == {2}


def test_a_small_fit_has_one_thread_for_all() -> None:
    with threads.threads_for(objective(300, 40, 5)), threads.large(2**20):
        assert blas_threads() == {1}
    assert blas_threads() == {2}


def test_a_pass_in_pieces_has_one_thread_a_product() -> None:
    with threads.threads_for(objective(2000, 100, 80)):
        assert blas_threads() == {1}


def test_products_too_large_for_pieces_have_the_processors_that_are_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = replace(objective(2000, 100, 80), memory_budget=1000)
    for count in (1, 2):
        monkeypatch.setattr(threads, "free", lambda count=count: count)
        with threads.threads_for(whole):
            assert blas_threads() == {count}
        with threads.threads_for(objective(8000, 600, 3)), threads.large(2**30):
            assert blas_threads() == {count}


def test_an_error_gives_them_back() -> None:
    with pytest.raises(ValueError, match="so"), threads.threads_for(objective(300, 40, 5)):
        raise ValueError("so")
    assert blas_threads() == {2}
