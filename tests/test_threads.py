"""How many threads the libraries have while a fit runs, and after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from bridle.fit import threads
from bridle.fit.readers import dense, reader_of
from bridle.kernels import thresholds
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


def reader(rows: int, width: int, classes: int, memory_budget: int | None = None) -> Any:
    target = np.arange(rows) % classes
    X = np.random.default_rng(0).normal(size=(rows, width))
    return reader_of(Rows([X]), target, None, classes, memory_budget)


def test_beside_our_kernel_only_large_products_are_shared_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(thresholds, "ONE_READING_NUMBERS", 2**16)
    with reader(8000, 600, 3).threads():
        assert blas_threads() == {1}
        with threads.large(2**30):
            assert blas_threads() == {2}
        with threads.large(2**10):
            assert blas_threads() == {1}
        assert blas_threads() == {1}
    assert blas_threads() == {2}


def test_a_small_fit_has_one_thread_for_all() -> None:
    with reader(300, 40, 5).threads(), threads.large(2**20):
        assert blas_threads() == {1}
    assert blas_threads() == {2}


def test_a_pass_in_pieces_has_one_thread_a_product() -> None:
    with reader(2000, 100, 80).threads():
        assert blas_threads() == {1}


def test_products_too_large_for_pieces_have_the_processors_that_are_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = reader(2000, 100, 80, 1000)
    for count in (1, 2):
        monkeypatch.setattr(threads, "free", lambda count=count: count)
        monkeypatch.setattr(dense, "free", lambda count=count: count)
        with whole.threads():
            assert blas_threads() == {count}
        with reader(8000, 600, 3).threads(), threads.large(2**30):
            assert blas_threads() == {count}


def test_an_error_gives_them_back() -> None:
    with pytest.raises(ValueError, match="so"), reader(300, 40, 5).threads():
        raise ValueError("so")
    assert blas_threads() == {2}
