"""An evaluation as a table for a terminal of 80 columns."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from bridle.judge.intervals import Interval
from bridle.judge.metrics import ClassFigures
from bridle.judge.surprise import SurprisingSample

if TYPE_CHECKING:
    from bridle.judge.costs import DecisionFigures
    from bridle.judge.evaluation import Evaluation
    from bridle.judge.slices import SliceFigures

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
    intervals = figures.intervals
    perplexity = f"     perplexity {number(figures.perplexity).strip()}"
    nats, bits = figures.cross_entropy_nats, figures.cross_entropy_bits
    yield f"{'cross-entropy':20}{number(nats)} nats {number(bits)} bits{perplexity}"
    ends = _ends(intervals["cross_entropy_nats"])
    known = f"{ends} nats" if ends else "-"
    yield f"{'  95 % interval':24}{known:30}infinite losses {figures.infinite_losses:,}"
    for name, nats, bits in (
        ("  uniform guess", figures.uniform_nats, figures.uniform_bits),
        ("  class frequencies", figures.class_frequency_nats, figures.class_frequency_bits),
    ):
        yield f"{name:20}{number(nats)} nats {number(bits)} bits"
    # Of five classes or fewer all are in the top five.
    top = f"top-5 {number(figures.top_5_accuracy).strip()}" if classes > _TOP else ""
    chance = _ends(figures.expected_calibration_error_by_chance)
    for name, value, key, note in (
        ("accuracy", figures.accuracy, "accuracy", top),
        ("Brier score", figures.brier_score, "brier_score", ""),
        (
            "calibration error",
            figures.expected_calibration_error,
            "expected_calibration_error",
            f"by chance {chance}",
        ),
    ):
        ends = _ends(intervals[key])
        known = f"({ends})" if ends else ""
        yield f"{name:20}{number(value)} {known:23}{note}".rstrip()


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


def slice_table(slices: Sequence[SliceFigures]) -> Iterator[str]:
    """Yield a line per value of each column, the largest loss first; of many values some."""
    for column in dict.fromkeys(row.column for row in slices):
        rows = [row for row in slices if row.column == column]
        most = f" ({_MOST_CLASSES} of {len(rows)})" if len(rows) > _MOST_CLASSES else ""
        yield ""
        title = f"by {cell(column, 20 - len(most)).rstrip()}{most}"
        yield f"{title:24} samples  {'cross-entropy, nats':23} accuracy"
        for row in rows[:_MOST_CLASSES]:
            loss = _with_interval(row.cross_entropy_nats, row.intervals["cross_entropy_nats"])
            right = _with_interval(row.accuracy, row.intervals["accuracy"])
            yield f"{cell(row.value, 22)}{amount(row.samples):>10}  {loss:23} {right}"


def decision_table(found: DecisionFigures) -> Iterator[str]:
    """Yield what decisions cost, and for two classes what each threshold would do."""
    yield ""
    yield f"{'mean cost a sample':36}{'cost':>10}  95 % interval"
    yield f"  {'expected of the best decisions':34}{number(found.expected_cost)}"
    lines = [("seen of the best decisions", found.cost, found.cost_interval)]
    if found.most_probable_cost is not None and found.most_probable_cost_interval is not None:
        interval = found.most_probable_cost_interval
        lines.append(("of the most probable class", found.most_probable_cost, interval))
    for title, cost, interval in lines:
        yield f"  {title:34}{number(cost)}  {_ends(interval)}"
    always = f"of always {cell(found.constant_action, 22).rstrip()}"
    yield f"  {always:34}{number(found.constant_cost)}"
    yield ""
    yield f"{'decision':26}{'samples':>12} {'expected':>10} {'cost':>10}  95 % interval"
    rows = sorted(found.per_action, key=lambda row: -row.samples)
    for row in rows[:_MOST_CLASSES]:
        figures = f"{amount(row.samples):>12} {number(row.expected_cost)} {number(row.cost)}"
        yield f"{cell(row.action, 26)}{figures}  {_ends(row.cost_interval)}".rstrip()
    if len(rows) > _MOST_CLASSES:
        yield f"the {_MOST_CLASSES} most frequent of {len(rows)} decisions"
    if found.thresholds:
        yield from _threshold_lines(found)


def _threshold_lines(found: DecisionFigures) -> Iterator[str]:
    second = cell(found.per_action[1].action, 24).rstrip()
    yield ""
    yield f"calling {second} from a probability on; {found.best_threshold:.4g} suits the costs"
    yield f"{'from':>6} {'called':>7}  {'precision':22}{'recall':22}{'cost':>8}"
    for row in found.thresholds:
        precision = _with_interval(row.precision, row.precision_interval, 2)
        recall = _with_interval(row.recall, row.recall_interval, 2)
        cost = number(row.cost).strip()
        yield (f"{row.threshold:6.2f} {row.positive:7.1%}  {precision:22}{recall:22}{cost:>8}")


def _ends(interval: Interval) -> str:
    if not math.isfinite(interval.high - interval.low):
        return ""
    return f"{number(interval.low).strip()} to {number(interval.high).strip()}"


def _with_interval(value: float, interval: Interval, digits: int = 3) -> str:
    """Return a figure and where it may lie, in short; ``-`` where it is undefined."""
    if math.isnan(value):
        return "-"
    low, high = (f"{max(0.0, end):.{digits}f}" for end in interval)
    return f"{value:.{digits}f} ({low} to {high})"


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
