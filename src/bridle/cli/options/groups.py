"""A group of options becomes one typed argument of a command."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


def with_options(
    **groups: Callable[..., Any],
) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Give a function the options of ``groups``, and pass it what they build from those.

    A command that is declared as ``fit(source, C, output)`` with the groups `source` and `output`
    gets the options of both in the places of these two arguments. A group may have groups itself.
    """
    options = {name: inspect.signature(build, eval_str=True) for name, build in groups.items()}

    def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
        own = inspect.signature(function, eval_str=True)
        parameters = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for name, declared in own.parameters.items()
            for parameter in (options[name].parameters.values() if name in groups else [declared])
        ]

        @functools.wraps(function)
        def run(**given: Any) -> Result:
            for name, build in groups.items():
                told = {option: given.pop(option) for option in options[name].parameters}
                given[name] = build(**told)
            return function(**given)

        # typer reads a command's options off these two.
        run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


def with_defaults(build: Callable[..., Result], **defaults: object) -> Callable[..., Result]:
    """Return a group some of whose options need not be given."""
    signature = inspect.signature(build, eval_str=True)
    parameters = [
        each.replace(default=defaults[each.name]) if each.name in defaults else each
        for each in signature.parameters.values()
    ]

    @functools.wraps(build)
    def run(**given: Any) -> Result:
        return build(**given)

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run


def one_of(*choices: str) -> Callable[[str], list[str]]:
    """Return what the shell asks for the values of an option: those that begin as typed."""

    def starting_with(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return starting_with
