"""Figures of what went down: the gap of a fit over its passes, the costs of a network's epochs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from bridle.report.drawing import LEFT, SIDE, drawn, label
from bridle.report.numbers import count, number, power

_TALL, _TOP = 150, 24
_HEIGHT = _TOP + _TALL + 42
_MOST_TICKS = 5

Point = tuple[float, float]


def gaps(history: Sequence[dict[str, Any]]) -> str:
    """Return the relative gap over the passes, by powers of ten; empty where it is not known."""
    points = [
        (float(row["passes"]), math.log10(float(row["relative_gap"])))
        for row in history
        if row["relative_gap"] not in (None, "Infinity") and float(row["relative_gap"]) > 0
    ]
    if len(points) < 2:
        return ""
    # A gap of just above 1 needs no ten.
    low, high = math.floor(min(y for _, y in points)), math.ceil(max(y for _, y in points) - 0.05)
    step = max(1, math.ceil((high - low) / _MOST_TICKS))
    places = range(low, low + step * math.ceil((high - low) / step) + 1, step)
    ticks = [(float(each), f"1e{each:+03d}") for each in places]
    first, last = points[0], points[-1]
    says = (
        f"Relative gap over the passes: {power(10 ** first[1])} after pass {count(first[0])}, "
        f"{power(10 ** last[1])} after pass {count(last[0])}."
    )
    parts = [
        *_frame(points, ticks, "passes", "relative gap"),
        _line(points, ticks, points, "curve"),
    ]
    return drawn(_HEIGHT, says, parts)


def costs(history: Sequence[dict[str, Any]]) -> str:
    """Return the costs over the epochs: of the samples that were learnt from, and of others."""
    learnt = [(float(row["epoch"]), float(row["cost"])) for row in history if _finite(row["cost"])]
    others = [
        (float(row["epoch"]), float(row["validation_cost"]))
        for row in history
        if _finite(row["validation_cost"])
    ]
    everything = [*learnt, *others]
    if len(learnt) < 2:
        return ""
    highest = max(y for _, y in everything) or 1.0
    ticks = [(0.0, "0"), (highest / 2, number(highest / 2)), (highest, number(highest))]
    says = f"Cost over the epochs: {number(learnt[0][1])} to {number(learnt[-1][1])} in training"
    parts = [
        *_frame(everything, ticks, "epochs", "cost"),
        _line(learnt, ticks, everything, "curve"),
    ]
    if len(others) > 1:
        parts.append(_line(others, ticks, everything, "curve other"))
        says += f", {number(others[0][1])} to {number(others[-1][1])} on the judged samples"
    return drawn(_HEIGHT, f"{says}.", parts)


def _finite(value: Any) -> bool:
    return value not in (None, "Infinity", "-Infinity")


def _frame(
    points: Sequence[Point], ticks: Sequence[tuple[float, str]], below: str, above: str
) -> Iterable[str]:
    yield f'<rect x="{LEFT}" y="{_TOP}" width="{SIDE}" height="{_TALL}" class="plot"/>'
    for value, text in ticks:
        y = _y(value, ticks)
        yield f'<line x1="{LEFT}" x2="{LEFT + SIDE}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
        place = f'x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end"'
        yield f'<text {place} class="tick">{label(text)}</text>'
    ends = sorted({x for x, _ in points})
    for x, anchor in ((ends[0], "start"), (ends[-1], "end")):
        place = f'x="{_x(x, points):.1f}" y="{_TOP + _TALL + 16}" text-anchor="{anchor}"'
        yield f'<text {place} class="tick">{count(x)}</text>'
    middle = LEFT + SIDE / 2
    yield f'<text x="{middle}" y="{_TOP + _TALL + 34}" text-anchor="middle">{label(below)}</text>'
    yield f'<text x="0" y="12">{label(above)}</text>'


def _line(
    points: Sequence[Point],
    ticks: Sequence[tuple[float, str]],
    everything: Sequence[Point],
    kind: str,
) -> str:
    corners = " ".join(f"{_x(x, everything):.1f},{_y(y, ticks):.1f}" for x, y in points)
    return f'<polyline points="{corners}" class="{kind}"/>'


def _x(value: float, points: Sequence[Point]) -> float:
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    return LEFT + SIDE * (value - first) / ((last - first) or 1.0)


def _y(value: float, ticks: Sequence[tuple[float, str]]) -> float:
    low, high = ticks[0][0], ticks[-1][0]
    share = (value - low) / ((high - low) or 1.0)
    return _TOP + _TALL * (1 - min(1.0, max(0.0, share)))
