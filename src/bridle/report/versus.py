"""Models beside each other."""

from __future__ import annotations

import math
from typing import Any

from bridle.judge import Comparison, Difference
from bridle.report.numbers import number, percent
from bridle.report.rankings import name

MOST_MODELS, MOST_DIFFERENCES = 10, 18
_NATS_PER_BIT = math.log(2)
_METRICS = {
    "cross_entropy_nats": "cross-entropy, bits",
    "brier_score": "Brier score",
    "accuracy": "accuracy",
}


def versus(found: Comparison) -> dict[str, Any]:
    """Return the figures of each model, and their differences row by row; losses in bits."""
    models = list(found.models.items())
    return {
        "models_total": len(models),
        "models": [
            {
                "name": name(title),
                "cross_entropy_bits": each.cross_entropy_bits,
                "brier_score": each.brier_score,
                "accuracy": each.accuracy,
            }
            for title, each in models[:MOST_MODELS]
        ],
        "differences_total": len(found.differences),
        "differences": [_difference(each) for each in found.differences[:MOST_DIFFERENCES]],
        "sentence": _sentence(found.differences[0]),
    }


def _difference(each: Difference) -> dict[str, Any]:
    unit = _NATS_PER_BIT if each.metric == "cross_entropy_nats" else 1.0
    return {
        "first": name(each.first),
        "second": name(each.second),
        "slice": name(each.slice),
        "samples": each.samples,
        "metric": _METRICS[each.metric],
        "difference": each.difference / unit,
        "low": each.interval.low / unit,
        "high": each.interval.high / unit,
        "first_wins": each.first_wins,
        "is_clear": each.is_clear,
    }


def _sentence(loss: Difference) -> str:
    """Return what the losses of the first two models say."""
    first, second = f"“{name(loss.first)}”", f"“{name(loss.second)}”"
    if not loss.is_clear:
        wins = percent(loss.first_wins)
        return (
            f"Neither of {first} and {second} is clearly better: the interval of their difference "
            f"holds 0, and {first} has the smaller loss in {wins} of resampled sets."
        )
    better, worse = (first, second) if loss.difference < 0 else (second, first)
    bits = number(abs(loss.difference) / _NATS_PER_BIT, 4)
    return f"{better} is better than {worse} by {bits} bits a sample: the interval leaves out 0."
