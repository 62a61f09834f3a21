"""Values in JSON's own types: what every parser of the standard reads."""

from __future__ import annotations

import json
import math
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Return the value in JSON's types: arrays and tuples as lists, dataclasses as objects.

    A number that JSON lacks becomes the string ``"Infinity"`` or ``"-Infinity"`` if it is
    infinite, and null (None) if it is undefined.

    >>> plain({"gap": float("inf"), "ratio": float("nan"), "shape": (2, 3)})
    {'gap': 'Infinity', 'ratio': None, 'shape': [2, 3]}
    """
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def within_script(value: Any) -> str:
    r"""Return JSON text that cannot end the HTML element that it stands in.

    >>> print(within_script("</script>"))
    "\u003c/script>"
    """
    return to_text(value).replace("<", "\\u003c")


def to_text(value: Any, *, indent: int | None = None) -> str:
    """Return `plain` of the value as JSON text."""
    return json.dumps(plain(value), allow_nan=False, ensure_ascii=False, indent=indent)
