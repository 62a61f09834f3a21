"""How numbers are written for people: an infinite one is ∞, an undefined one –."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

_FIXED = 1e5  # from here on, powers of ten
_MOST_DIGITS = 6
_MINUS, _UNDEFINED = "\u2212", "\u2013"
_SPACE = "\u00a0"  # does not break


def number(value: Any, digits: int = 3) -> str:
    """Return a number with some decimals.

    >>> number(0.12345), number("Infinity"), number(None), number(0), number(2e-5), number(-1234.5)
    ('0.123', '∞', '–', '0', '2.0e-05', '−1,234.500')
    """
    if value is None:
        return _UNDEFINED
    real = float(value)
    if math.isnan(real):
        return _UNDEFINED
    if math.isinf(real):
        return "∞" if real > 0 else f"{_MINUS}∞"
    if real == 0:
        return "0"
    if abs(real) < 10**-digits / 2 or abs(real) >= _FIXED:
        return _minus(f"{real:.1e}" if abs(real) < 1 else f"{real:.3e}")
    return _minus(f"{real:,.{digits}f}")


def signed(value: Any) -> str:
    """Return a difference with its sign.

    >>> signed(0.5), signed(-0.5), signed(0)
    ('+0.5000', '−0.5000', '0')
    """
    text = number(value, 4)
    bare = value is None or float(value) <= 0 or text == _UNDEFINED
    return text if bare else f"+{text}"


def percent(value: Any) -> str:
    """Return a share in per cent; one that is nearly none or all is not rounded to that.

    >>> percent(0.1234).replace(_SPACE, " "), percent(0.99996).replace(_SPACE, " ")
    ('12.3 %', '99.996 %')
    >>> percent(1.0).replace(_SPACE, " "), percent(None)
    ('100 %', '–')
    """
    if value is None:
        return _UNDEFINED
    share = 100 * float(value)
    if not math.isfinite(share):
        return number(share)
    if share in (0, 100):
        return f"{share:.0f}{_SPACE}%"
    for digits in range(1, _MOST_DIGITS + 1):
        if round(share, digits) not in (0, 100):
            break
    return f"{_minus(f'{share:.{digits}f}')}{_SPACE}%"


def count(value: Any) -> str:
    """Return a count, or a sum of weights to six digits.

    >>> count(12345), count(0.25), count(30.0)
    ('12,345', '0.25', '30')
    """
    if value is None:
        return _UNDEFINED
    whole = float(value)
    return f"{int(whole):,}" if whole.is_integer() and whole < 1e15 else f"{whole:,.6g}"


def whole(value: Any) -> str:
    """Return an estimated number without decimals; of one below 10, one decimal.

    >>> whole(3.14159), whole(7.0), whole(1234.5)
    ('3.1', '7', '1,234')
    """
    is_small = value is not None and 0 < float(value) < 10 and not float(value).is_integer()
    return number(value, 1) if is_small else number(value, 0)


def seconds(value: Any) -> str:
    """Return a time to a hundredth, a shorter one to a ten-thousandth.

    >>> seconds(0.0612), seconds(0.0051)
    ('0.06', '0.0051')
    """
    return number(value, 4 if value is not None and float(value) < 0.01 else 2)


def power(value: Any) -> str:
    """Return a small number as a power of ten: a relative gap.

    >>> power(9.5e-7), power("Infinity"), power(0)
    ('9.5e-07', '∞', '0')
    """
    if value is None or value == 0 or not math.isfinite(float(value)):
        return number(value)
    return _minus(f"{float(value):.1e}")


def text(value: Any) -> str:
    """Return a text as it is, and a number as Python writes it."""
    return str(value)


KINDS: dict[str, Callable[[Any], str]] = {
    "bits": number,
    "signed": signed,
    "percent": percent,
    "count": count,
    "power": power,
    "seconds": seconds,
    "whole": whole,
    "text": text,
}


def _minus(written: str) -> str:
    return f"{_MINUS}{written[1:]}" if written.startswith("-") else written
