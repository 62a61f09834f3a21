"""An evaluation as a table for a terminal of 80 columns."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from bridle.judge.metrics import ClassFigures
from bridle.judge.surprise import SurprisingSample

if TYPE_CHECKING:
    from bridle.judge.evaluation import Evaluation

_MOST_CLASSES = 12
_LABEL = 16
_TOP = 5


def headline(figures: Evaluation) -> Iterator[str]:
    """Yield the lines that concern all samples together."""
    classes = len(figures.classes)
    weighed = (
        ""
        if figures.outcomes.sample_weight is None
        else (f" (of weight {amount(figures.total_weight)} together)")
    )
    yield (
        f"{figures.samples:,} sample{'s' * (figures.samples != 1)}{weighed}, "
        f"{classes:,} class{'es' * (classes != 1)}, from {figures.input_kind}"
    )
    yield ""
    perplexity = f"     perplexity {number(figures.perplexity).strip()}"
    losses = (
        ("cross-entropy", figures.cross_entropy_nats, figures.cross_entropy_bits, perplexity),
        ("  uniform guess", figures.uniform_nats, figures.uniform_bits, ""),
        ("  class frequencies", figures.class_frequency_nats, figures.class_frequency_bits, ""),
    )
    for name, nats, bits, note in losses:
        yield f"{name:20}{number(nats)} nats {number(bits)} bits{note}"
    top = f"          top-5 {number(figures.top_5_accuracy).strip()}"
    # Of five classes or fewer all are in the top five.
    yield f"{'accuracy':20}{number(figures.accuracy)}{top if classes > _TOP else ''}"
    error = number(figures.expected_calibration_error).strip()
    yield f"{'Brier score':20}{number(figures.brier_score)}          calibration error {error}"
    yield f"{'infinite losses':20}{figures.infinite_losses:>10,}"
    loss, accuracy = (figures.intervals[name] for name in ("cross_entropy_nats", "accuracy"))
    if math.isfinite(loss.high):
        yield (
            f"{'95 % intervals':24}{loss.low:6.4f} to {loss.high:.4f} nats, "
            f"accuracy {accuracy.low:.4f} to {accuracy.high:.4f}"
        )


def class_table(per_class: Sequence[ClassFigures]) -> Iterator[str]:
    """Yield a line per class; of many classes only those of largest loss."""
    shown = list(per_class)
    heading = "class"
    if len(shown) > _MOST_CLASSES:
        heading = f"worst {_MOST_CLASSES} classes"
        shown.sort(key=lambda row: -math.inf if math.isnan(row.loss) else row.loss, reverse=True)
    yield f"{heading:20}{'support':>11} {'loss':>10} {'precision':>10} {'recall':>10}"
    for row in shown[:_MOST_CLASSES]:
        ratios = f"{number(row.precision)} {number(row.recall)}"
        yield f"{cell(row.label, 20)}{amount(row.support):>11} {number(row.loss)} {ratios}"


def surprise_table(samples: Sequence[SurprisingSample]) -> Iterator[str]:
    """Yield a line per sample, most surprising first."""
    names = f"{'target':{_LABEL}}  {'predicted':{_LABEL}}"
    yield f"most surprising  {names}  {'probability':>11} {'surprisal':>10}"
    for row in samples:
        name = cell(row.index, 15).strip()
        labels = f"{cell(row.target, _LABEL)}  {cell(row.predicted, _LABEL)}"
        yield f"{name:>15}  {labels}  {number(row.probability):>11} {number(row.surprisal)}"


def number(value: float) -> str:
    """Return a number in ten columns; ``-`` where it is undefined."""
    if math.isnan(value):
        return f"{'-':>10}"
    fixed = value == 0 or 1e-4 <= abs(value) < 1e5 or math.isinf(value)
    return f"{value:10.4f}" if fixed else f"{value:10.2e}"


def amount(value: float) -> str:
    """Return a count, or a sum of weights to six digits.

    >>> amount(12345), amount(12345.678), amount(0.25), amount(1e9)
    ('12,345', '12,345.7', '0.25', '1e+09')
    """
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"


def cell(label: object, width: int) -> str:
    """Return a label padded to ``width`` columns, with nothing in it to steer a terminal.

    One that is longer is cut, and ends with ``…``.

    >>> cell("cat", 6), cell("crocodile", 6)
    ('cat   ', 'croco…')
    """
    signs = [sign if sign.isprintable() else "?" for sign in str(label)]
    widths = [2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in signs]
    if sum(widths) <= width:
        return "".join(signs) + " " * (width - sum(widths))
    kept = sum(end < width for end in accumulate(widths))
    return "".join(signs[:kept]) + "…" + " " * (width - 1 - sum(widths[:kept]))
