"""How the CPU kernels are compiled."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.extending import intrinsic, overload

Function = TypeVar("Function", bound=Callable[..., Any])

INLINED: Any = {"error_model": "numpy", "forceinline": True}


def inlined(function: Function) -> Function:
    """Compile a building block into whatever calls it, so that its loops become vectors there."""
    return cast(Function, numba.njit(**INLINED)(function))


def reorderable(function: Function) -> Function:
    """Compile a building block whose one addition a loop may do in any order, in lanes.

    The order is chosen once, when the loop is compiled: the same machine gives the same bits. It is
    the only fast-math flag of all kernels: others drop NaN and infinity, or undo a compensated
    difference.
    """
    return cast(Function, numba.njit(fastmath={"reassoc"}, **INLINED)(function))


def implementation_of(name: Callable[..., Any]) -> Callable[[Function], Function]:
    """Say which function a name stands for, by the types of its arguments."""
    # strict: numba would compare annotations too.
    return cast(Any, overload)(name, strict=False, jit_options=INLINED)  # type: ignore[no-any-return]


def instruction(function: Callable[..., Any]) -> Any:
    """Make a building block of what generates LLVM instructions."""
    return intrinsic(function)


def kernel(function: Function) -> Function:
    """Compile an entry: without the interpreter's lock, once for all processes.

    Where no directory can be written, it is compiled in each process instead.
    """
    options: Any = {"error_model": "numpy", "nogil": True}
    entry: Any = numba.njit(**options)(function)
    with suppress(RuntimeError, AttributeError):  # no directory, or numba keeps it another way now
        entry._cache = _SourcesCache(function)
    return cast(Function, entry)


class _SourcesCache(FunctionCache):
    """numba's cache on disk, used as long as no source has changed.

    numba's own looks at the entry's file and at the values that the entry closes over, but not at
    the constants of its module, nor at the files of the functions that it calls.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        stamp = source_digest(Path(function.__code__.co_filename).parent)
        self._cache_file = IndexDataCacheFile(  # type: ignore[no-untyped-call]
            self.cache_path, self._impl.filename_base, stamp
        )
        # numba compares versions before it reads an index, but stamps only afterwards: an index of
        # older sources may name classes that are gone, and would not even load.
        self._cache_file._version = f"{self._cache_file._version} {stamp}"


@cache
def source_digest(folder: Path) -> str:
    """Return a digest of the sources that an entry in this folder may be made of.

    Those are the folder's own and all of the kernels'.
    """
    sources = {*Path(__file__).parents[1].rglob("*.py"), *folder.rglob("*.py")}
    return hashlib.sha256(b"".join(source.read_bytes() for source in sorted(sources))).hexdigest()


def is_ready(entry: Any, arguments: Sequence[Any]) -> bool:
    """Tell whether a kernel is compiled for such arguments, in this process or on disk.

    numba has no public question for the second. Where its inner names are others than today's the
    answer is yes, and a wait for the compiler is not announced.
    """
    types = tuple(entry.typeof_pyval(argument) for argument in arguments)
    if types in entry.overloads:
        return True
    try:
        index = entry._cache._cache_file._load_index()
        return any(key[0] == types for key in index)
    except (AttributeError, LookupError, TypeError, OSError):
        return True
