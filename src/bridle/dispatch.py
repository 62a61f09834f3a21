"""One function, two worlds: what is given a PyTorch tensor answers as PyTorch.

PyTorch is never imported for it: who passes a tensor has done so. The functions for tensors are
imported at the first of them. What type checkers are told of it stands in ``__init__.pyi``.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar

from bridle import checks

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Tensor = TypeVar("Tensor", covariant=True)


class TensorLike(Protocol[Tensor]):
    """A PyTorch tensor to type checkers, by a method that no array has.

    So the overloads need no PyTorch where there are only arrays, and arrays stay arrays there.
    """

    def requires_grad_(self) -> Tensor:
        """Return the tensor, which autograd then follows."""
        ...


def takes_tensors(
    function: Callable[Parameters, Result], **only_of_tensors: object
) -> Callable[Parameters, Result]:
    """Return the function, which hands over to its namesake in `bridle.torch` for a tensor.

    The first argument decides. ``only_of_tensors`` are the options that the namesake alone has,
    with their defaults: arrays are refused with another value.
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
        for option, default in only_of_tensors.items():
            if options.pop(option, default) != default:
                raise checks.InputError.of(
                    option, expected=f"only with a tensor as {first}", found="it with an array"
                )
        return function(*arguments, **options)

    either.__module__ = "bridle"  # where a pickle finds it again
    either.__doc__ = _with_tensors(inspect.getdoc(function) or "", name)
    either.__dict__["__signature__"] = _with_options(inspect.signature(function), only_of_tensors)
    # Asked for by `torch.jit.script` before it reads the source.
    either.__dict__["__prepare_scriptable__"] = functools.partial(checks.torch_script, name)
    return either


def _with_tensors(text: str, name: str) -> str:
    """Return a docstring that says, before its parameters, what tensors are answered with."""
    note = f"Tensors of PyTorch are answered with tensors, under autograd: `bridle.torch.{name}`."
    head, parameters, rest = text.partition("\n\nParameters\n---")
    return f"{head}\n\n{note}{parameters}{rest}"


def _with_options(signature: inspect.Signature, defaults: dict[str, Any]) -> inspect.Signature:
    """Return the signature that `help` shows: with the options of tensors too."""
    keyword_only = inspect.Parameter.KEYWORD_ONLY
    further = [
        inspect.Parameter(name, keyword_only, default=default) for name, default in defaults.items()
    ]
    return signature.replace(parameters=[*signature.parameters.values(), *further])
