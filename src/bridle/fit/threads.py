"""How many threads the libraries' products take, beside kernels and processes that want them too.

A library's thread that has nothing to do goes on waiting for its next product, for 20 ms or so, on
a core that something else could use.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

from bridle.fit.hessian import SINGLE_THREADED, tiny
from bridle.fit.objective import Objective
from bridle.fit.passes import reads_once

# Below so many multiplications a product gains nothing from a second thread.
_THREADED_PRODUCT = 2**23
_usual: ContextVar[int | None] = ContextVar("threads of a large product", default=None)


def threads_for(objective: Objective) -> AbstractContextManager[Any]:
    """Let products have as many threads as suit a fit of this objective.

    A small product is done before a second thread has begun, and on a busy machine the first would
    wait for it ten times as long as the product takes. Beside our own kernels, dense or sparse,
    only what is `large` has more than one.
    """
    features, classes = objective.features, objective.classes
    multiplications = features.shape[0] * features.shape[1] * classes
    if multiplications < SINGLE_THREADED and tiny(objective):
        return nullcontext()  # looking for the libraries would take longer than the fit
    small = multiplications < _THREADED_PRODUCT
    kernel = reads_once(features, objective.target, classes)
    if features.is_sparse or small or kernel:
        return _one_thread(but_for_large=kernel)
    return nullcontext()


@contextmanager
def large() -> Iterator[None]:
    """Give large products the threads that they would have without `threads_for`."""
    usual = _usual.get()
    if usual is None:
        yield
    else:
        with _threadpools().limit(limits=usual, user_api="blas"):
            yield


@contextmanager
def _one_thread(*, but_for_large: bool) -> Iterator[None]:
    with _threadpools().limit(limits=1, user_api="blas") as limited:
        before = limited.get_original_num_threads().get("blas")
        token = _usual.set(before if but_for_large else None)
        try:
            yield
        finally:
            _usual.reset(token)


@cache
def _threadpools() -> ThreadpoolController:
    return ThreadpoolController()
