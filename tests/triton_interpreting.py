"""How the suites of Triton's kernels run its interpreter."""

from __future__ import annotations

from typing import Any

from triton import language
from triton.runtime import interpreter

LANGUAGES = (language, language.core)


def exchange_the_language_once() -> None:
    """Let the interpreter exchange Triton's language for its own once for each launch of a kernel.

    It would do so again in each call of a function inside of a kernel, which changes nothing where
    it is done already, and takes a third of the suites' time.
    """

    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        named_there = self.fn.__globals__.values()
        used = [each for each in LANGUAGES if any(other is each for other in named_there)]
        if any(language.core.is_builtin(each.load) for each in used):
            interpreter._patch_lang(self.fn)
        return self.rewrite()(*arguments, **named)

    interpreter.InterpretedFunction.__call__ = call
