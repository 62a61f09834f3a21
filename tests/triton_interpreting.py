"""How the suites of Triton's kernels run its interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
from triton import language
from triton.runtime import interpreter

LANGUAGES = (language, language.core)


def mend_the_interpreter() -> None:
    """Let Triton's interpreter make what a GPU makes, in time."""
    if not hasattr(interpreter._interpreter, "fma_fp32"):
        _calculate_as_devices_do()
    _multiply_bfloat16()
    _exchange_the_language_once()


def _calculate_as_devices_do() -> None:
    """Let a NaN's partner win in `maximum` and `minimum`, and `fma` round once.

    That is what they are compiled to, and what the interpreter of Triton 3.9 does.
    """
    builder = interpreter.InterpreterBuilder
    builder.create_maxnumf = lambda self, x, y: self.binary_op(x, y, np.fmax)
    builder.create_minnumf = lambda self, x, y: self.binary_op(x, y, np.fmin)
    builder.create_fma = lambda self, x, y, z: self.ternary_op(x, y, z, _multiplied_and_added)


def _multiply_bfloat16() -> None:
    """Let products of bfloat16 be of such numbers; the interpreter multiplies their bits."""
    builder = interpreter.InterpreterBuilder
    multiply = builder.create_dot
    builder.create_dot = lambda self, a, b, *rest: multiply(self, _wide(a), _wide(b), *rest)


def _wide(handle: Any) -> Any:
    """Return numbers of bfloat16, which the interpreter holds as their bits, in float32."""
    if handle.dtype.scalar != language.bfloat16:
        return handle
    bits = handle.data.astype(np.uint32) << 16
    return interpreter.TensorHandle(bits.view(np.float32), language.float32)


def _multiplied_and_added(x: Any, y: Any, z: Any) -> Any:
    # A product of two float32 is exact in float64.
    return (x.astype(np.float64) * y + z).astype(x.dtype)


def _exchange_the_language_once() -> None:
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
