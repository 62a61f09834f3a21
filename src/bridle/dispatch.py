"""One function, two worlds: what is given a PyTorch tensor answers as PyTorch.

PyTorch is never imported for it: who passes a tensor has done so. The functions for tensors are
imported at the first of them.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import ParamSpec, TypeVar

from bridle import checks

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def takes_tensors(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Return the function, which hands over to its namesake in `bridle.torch` for a tensor.

    The first argument decides.
    """
    name = function.__name__
    first = next(iter(inspect.signature(function).parameters))

    @functools.wraps(function)
    def either(*arguments: Parameters.args, **options: Parameters.kwargs) -> Result:
        torch = sys.modules.get("torch")
        # ``input`` is what torch calls the first argument of `linear_cross_entropy`.
        given = arguments[0] if arguments else options.get(first, options.get("input"))
        if torch is not None and isinstance(given, getattr(torch, "Tensor", ())):
            import bridle.torch  # by a statement: torch.compile follows no other import

            answer: Result = getattr(bridle.torch, name)(*arguments, **options)
            return answer
        return function(*arguments, **options)

    either.__module__ = "bridle"  # where a pickle finds it again
    # Asked for by `torch.jit.script` before it reads the source.
    either.__dict__["__prepare_scriptable__"] = functools.partial(checks.torch_script, name)
    return either


def torch_room() -> ModuleType:
    """Import `bridle.torch`, or say which extra brings PyTorch."""
    checks.require("torch", extra="torch", purpose="bridle.torch")
    import bridle.torch

    return bridle.torch
