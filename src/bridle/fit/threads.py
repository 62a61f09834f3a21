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
from bridle.fit.passes import in_pieces, reads_once
from bridle.kernels.processors import free

# Below so many multiplications a product gains nothing from a second thread.
_THREADED_PRODUCT = 2**23
_usual: ContextVar[int | None] = ContextVar("threads of a large product", default=None)


def threads_for(objective: Objective) -> AbstractContextManager[Any]:
    """Let products have as many threads as suit a fit of this objective.

    A small product is done before a second thread has begun, and on a busy machine the first would
    wait for it ten times as long as the product takes. Beside our own threads only what is `large`
    has more than one: as many as there are processors that no other process uses.
    """
    features, classes = objective.features, objective.classes
    multiplications = features.shape[0] * features.shape[1] * classes
    if multiplications < SINGLE_THREADED and tiny(objective):
        return nullcontext()  # looking for the libraries would take longer than the fit
    small = multiplications < _THREADED_PRODUCT
    kernel = reads_once(features, objective.target, classes)
    pieces = in_pieces(features, features.shape[1], classes, objective.memory_budget)
    if features.is_sparse or small or kernel or pieces:
        return _one_thread()
    if features.are_tensors:
        return nullcontext()
    return _limited(free())


@contextmanager
def large(multiplications: int) -> Iterator[None]:
    """Give products of so many multiplications the threads they would have, of those free."""
    usual = _usual.get()
    if usual is None or multiplications < _THREADED_PRODUCT:
        yield
    else:
        with _threadpools().limit(limits=min(usual, free()), user_api="blas"):
            yield


@contextmanager
def _limited(threads: int) -> Iterator[None]:
    with _threadpools().limit(limits=threads, user_api="blas"):
        yield


@contextmanager
def _one_thread() -> Iterator[None]:
    with _threadpools().limit(limits=1, user_api="blas") as limited:
        token = _usual.set(limited.get_original_num_threads().get("blas"))
        try:
            yield
        finally:
            _usual.reset(token)


@cache
def _threadpools() -> ThreadpoolController:
    return ThreadpoolController()
