"""The figures, as SVG: text stays text, each says its numbers, none needs a script.

Bars stretch to any width, so that their text keeps its size: their places are shares of it. A
diagram has a shape to keep, and is drawn for the narrowest screen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from bridle.report.drawing import LEFT, SIDE, drawn, label, share, stretched
from bridle.report.numbers import KINDS, count, number, percent, signed

_ROW = 50  # pixels from one bar to the next
_TOP = 24  # above a diagram
_HEIGHT = _TOP + SIDE + 42
_BARS = 74  # pixels of the histogram's height


def losses(found: dict[str, Any]) -> str:
    """Return bars of the loss and of both guesses, with the interval of the first."""
    figures = found["evaluation"]
    rows = [
        ("the model", "cross_entropy_bits", "model"),
        ("guessing by class frequencies", "class_frequency_bits", "guess"),
        ("guessing all classes alike", "uniform_bits", "guess"),
    ]
    values = [float(figures[key]) for _, key, _ in rows]
    low, high = (float(end) for end in figures["intervals"]["cross_entropy_bits"])
    scale = max([each for each in (*values, high) if math.isfinite(each)] or [1.0]) or 1.0
    if values and math.isfinite(max(values)):
        scale = min(scale, 2 * max(values) or 1.0)  # an interval of few samples may be endless
    parts = []
    for place, ((title, key, kind), value) in enumerate(zip(rows, values, strict=True)):
        top = place * _ROW
        parts += [
            f'<text x="0" y="{top + 14}">{label(title)}</text>',
            f'<text x="100%" y="{top + 14}" text-anchor="end" class="strong" '
            f'data-key="evaluation.{key}">{number(figures[key])}</text>',
            f'<rect x="0" y="{top + 22}" width="100%" height="12" rx="2" class="track"/>',
            f'<rect x="0" y="{top + 22}" width="{share(value, scale)}" height="12" rx="2" '
            f'class="{kind}"/>',
        ]
    if math.isfinite(high):
        parts += _whisker(share(low, scale), share(high, scale), 40)
    says = [f"{title} {number(value)}" for (title, _, _), value in zip(rows, values, strict=True)]
    says.insert(1, f"its 95 % interval {number(low)} to {number(high)}")
    return stretched(len(rows) * _ROW - 8, f"Loss in bits a sample: {'; '.join(says)}.", parts)


def composition(found: dict[str, Any]) -> str:
    """Return two bars, of refinement and calibration, as parts of the class frequencies' score."""
    parts, says = [], []
    for place, (title, key) in enumerate(
        (("cross-entropy, bits", "cross_entropy_bits"), ("Brier score", "brier_score"))
    ):
        row, top = found["composition"][key], place * _ROW
        total, refinement, frequencies = (
            float(row[each]) for each in ("total", "refinement", "class_frequencies")
        )
        scale = max(total, frequencies) or 1.0
        parts += [
            f'<text x="0" y="{top + 14}">{label(title)}</text>',
            f'<text x="100%" y="{top + 14}" text-anchor="end" class="strong" '
            f'data-key="composition.{key}.total">{number(row["total"])}</text>',
            f'<rect x="0" y="{top + 22}" width="{share(frequencies, scale)}" height="12" rx="2" '
            f'class="track"/>',
            f'<rect x="0" y="{top + 22}" width="{share(total, scale)}" height="12" rx="2" '
            f'class="second"/>',
            f'<rect x="0" y="{top + 22}" width="{share(refinement, scale)}" height="12" rx="2" '
            f'class="first"/>',
        ]
        says.append(
            f"{title} {number(total)} of {number(frequencies)} by class frequencies: "
            f"refinement {number(refinement)}, calibration {number(row['calibration'])}"
        )
    return stretched(2 * _ROW - 8, f"{'; '.join(says)}.", parts)


def differences(rows: Sequence[dict[str, Any]], first_place: int) -> str:
    """Return the differences of two models with their intervals, each about its own zero."""
    parts, says = [], []
    for place, row in enumerate(rows):
        top, key = place * (_ROW - 6), f"comparison.differences.{first_place + place}"
        value, low, high = (float(row[each]) for each in ("difference", "low", "high"))
        ends = [abs(each) for each in (value, low, high) if math.isfinite(each)]
        reach = max([*ends, 0.0]) * 1.05 or 1.0
        parts += [
            f'<text x="0" y="{top + 14}">{label(row["metric"])}</text>',
            f'<text x="100%" y="{top + 14}" text-anchor="end" class="strong" '
            f'data-key="{key}.difference">{signed(row["difference"])}</text>',
            f'<rect x="0" y="{top + 20}" width="100%" height="14" rx="2" class="track"/>',
            f'<line x1="50%" x2="50%" y1="{top + 18}" y2="{top + 36}" class="zero"/>',
        ]
        start, stop, middle = (share(reach + each, 2 * reach) for each in (low, high, value))
        parts += _whisker(start, stop, top + 27)
        parts.append(f'<circle cx="{middle}" cy="{top + 27}" r="4.5" class="dot"/>')
        ends_said = f"{signed(row['low'])} to {signed(row['high'])}"
        says.append(f"{row['metric']} {signed(row['difference'])}, interval {ends_said}")
    return stretched(len(rows) * (_ROW - 6), f"{'; '.join(says)}.", parts)


def reliability(shown: dict[str, Any], start: float) -> str:
    """Return accuracy over confidence, with the band of a calibrated model and the diagonal."""
    bins = shown["bins"]
    band = [
        *((row["confidence"], row["band_low"]) for row in bins),
        *((row["confidence"], row["band_high"]) for row in reversed(bins)),
    ]
    corners = " ".join(f"{_x(x, start):.1f},{_y(y, start):.1f}" for x, y in band)
    parts = [
        *_frame(start),
        f'<polygon points="{corners}" class="band"/>',
        f'<line x1="{_x(start, start):.1f}" y1="{_y(start, start):.1f}" x2="{_x(1, start):.1f}" '
        f'y2="{_y(1, start):.1f}" class="diagonal"/>',
        *(_bin(row, start) for row in bins),
    ]
    says = ", ".join(
        f"{percent(row['confidence'])} sure and {percent(row['accuracy'])} right" for row in bins
    )
    told = f"Reliability of {len(bins)} groups, {shown['outside']} outside the band: {says}."
    return drawn(_HEIGHT, told, parts)


def histogram(shown: dict[str, Any], start: float) -> str:
    """Return how many samples have which confidence."""
    bars = shown["histogram"]
    highest, width = max([*bars, 0]) or 1, SIDE / len(bars)
    parts = [
        f'<line x1="{LEFT}" x2="{LEFT + SIDE}" y1="{_BARS + 6}" y2="{_BARS + 6}" class="axis"/>'
    ]
    for place, each in enumerate(bars):
        tall = _BARS * each / highest
        parts.append(
            f'<rect x="{LEFT + place * width + 1:.1f}" y="{6 + _BARS - tall:.2f}" '
            f'width="{width - 2:.1f}" height="{tall:.2f}" class="model"/>'
        )
    parts += [
        f'<text x="{LEFT - 6}" y="16" text-anchor="end" class="tick">{count(highest)}</text>',
        *_ticks_below(start, _BARS + 22),
    ]
    says = ", ".join(map(count, bars))
    told = (
        f"Samples by confidence, in {len(bars)} equal steps from {percent(start)} to 100 %: {says}."
    )
    return drawn(_BARS + 28, told, parts)


def figure(found: dict[str, Any], path: str, kind: str) -> str:
    """Return a figure of the page with the key that it stands under."""
    value: Any = found
    for step in path.split("."):
        value = value[int(step)] if isinstance(value, list) else value[step]
    written = label(KINDS[kind](value))
    return f'<span data-key="{path}">{written}</span>'


def _bin(row: dict[str, Any], start: float) -> str:
    x, y = _x(row["confidence"], start), _y(row["accuracy"], start)
    if not row["outside"]:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" class="dot"/>'
    # A shape of its own: colour is not the only sign.
    corners = f"{x:.1f},{y - 7:.1f} {x + 7:.1f},{y:.1f} {x:.1f},{y + 7:.1f} {x - 7:.1f},{y:.1f}"
    return f'<polygon points="{corners}" class="off"/>'


def _frame(start: float) -> Iterable[str]:
    ends = (LEFT, _TOP + SIDE)
    yield f'<rect x="{LEFT}" y="{_TOP}" width="{SIDE}" height="{SIDE}" class="plot"/>'
    for each in _ticks(start):
        y = _y(each, start)
        yield f'<line x1="{LEFT}" x2="{LEFT + SIDE}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
        yield (
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" class="tick">'
            f"{each * 100:.0f} %</text>"
        )
    yield from _ticks_below(start, ends[1] + 16)
    yield f'<text x="{LEFT + SIDE / 2}" y="{ends[1] + 34}" text-anchor="middle">confidence</text>'
    yield '<text x="0" y="12">share that is right</text>'


def _ticks(start: float) -> list[float]:
    return [start, (start + 1) / 2, 1.0]


def _ticks_below(start: float, y: float) -> Iterable[str]:
    for each, anchor in zip(_ticks(start), ("start", "middle", "end"), strict=True):
        yield (
            f'<text x="{_x(each, start):.1f}" y="{y}" text-anchor="{anchor}" class="tick">'
            f"{each * 100:.0f} %</text>"
        )


def _x(value: float, start: float) -> float:
    return LEFT + SIDE * (value - start) / (1 - start)


def _y(value: float, start: float) -> float:
    return _TOP + SIDE * (1 - value) / (1 - start)


def _whisker(start: str, stop: str, y: float) -> list[str]:
    ends = [
        f'<line x1="{each}" x2="{each}" y1="{y - 4}" y2="{y + 4}" class="whisker"/>'
        for each in (start, stop)
    ]
    return [f'<line x1="{start}" x2="{stop}" y1="{y}" y2="{y}" class="whisker"/>', *ends]
