"""What figures are made of: an SVG that keeps its shape, one that stretches, and texts in them."""

from __future__ import annotations

import html
from collections.abc import Iterable

SIDE, LEFT = 270, 46  # of a diagram: what is drawn on, and the room for its ticks
WIDTH = LEFT + SIDE + 14


def stretched(height: int, says: str, parts: Iterable[str]) -> str:
    """Return a figure of any width."""
    return (
        f'<svg class="stretched" height="{height}" role="img" aria-label="{label(says)}">'
        f"{''.join(parts)}</svg>"
    )


def drawn(height: int, says: str, parts: Iterable[str]) -> str:
    """Return a figure that keeps its shape."""
    return (
        f'<svg class="drawn" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{label(says)}">{"".join(parts)}</svg>'
    )


def share(value: float, scale: float) -> str:
    """Return a place from left to right, which no value leaves."""
    return f"{100 * min(1.0, max(0.0, value / scale)):.2f}%"


def label(text: str) -> str:
    """Return a text as it stands in a figure."""
    return html.escape(text)
