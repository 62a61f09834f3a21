"""How many threads the libraries' products take, beside kernels and processes that want them too.

A library's thread that has nothing to do goes on waiting for its next product, for 20 ms or so, on
a core that something else could use. A small product is done before a second thread has begun, and
on a busy machine the first would wait for it ten times as long as the product takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

from threadpoolctl import ThreadpoolController

from bridle.kernels import thresholds
from bridle.kernels.processors import free

_usual_threads: ContextVar[int | None] = ContextVar("threads of a large product", default=None)


def is_tiny(weights: int) -> bool:
    """Tell whether a problem of so many weights is done before the libraries have been found."""
    return weights <= thresholds.TINY_PROBLEM


def is_tiny_fit(count: int, depth: int, classes: int) -> bool:
    """Tell whether a fit is so small that no product needs its threads to be limited."""
    tiny = is_tiny((depth + 1) * classes)
    return tiny and count * depth * classes < thresholds.SINGLE_THREADED


@contextmanager
def one_thread() -> Iterator[None]:
    """Give products one thread, but for those that are `large`."""
    with _threadpools().limit(limits=1, user_api="blas") as limited:
        token = _usual_threads.set(limited.get_original_num_threads().get("blas"))
        try:
            yield
        finally:
            _usual_threads.reset(token)


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Give products so many threads at most."""
    with _threadpools().limit(limits=threads, user_api="blas"):
        yield


@contextmanager
def large(multiplications: int) -> Iterator[None]:
    """Give products of so many multiplications the threads they would have, of those free."""
    usual_threads = _usual_threads.get()
    if usual_threads is None or multiplications < thresholds.THREADED_PRODUCT:
        yield
    else:
        with _threadpools().limit(limits=min(usual_threads, free()), user_api="blas"):
            yield


@cache
def _threadpools() -> ThreadpoolController:
    return ThreadpoolController()
