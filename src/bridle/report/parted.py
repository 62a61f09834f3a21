"""Figures of parts of the samples, and of what decisions on them cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bridle.judge import DecisionFigures, SliceFigures
from bridle.report.rankings import name

MOST_SLICES, MOST_ACTIONS = 15, 8
_NATS_PER_BIT = math.log(2)


def shown_slices(slices: Sequence[SliceFigures] | None) -> dict[str, Any] | None:
    """Return the parts of each column, the largest loss first; of many, some."""
    if not slices:
        return None
    return {
        "total": len(slices),
        "shown": [
            {
                "column": name(each.column),
                "value": name(each.value),
                "samples": each.samples,
                "loss_bits": each.cross_entropy_nats / _NATS_PER_BIT,
                "loss_bits_interval": [
                    end / _NATS_PER_BIT for end in each.intervals["cross_entropy_nats"]
                ],
                "accuracy": each.accuracy,
                "accuracy_interval": each.intervals["accuracy"],
            }
            for each in slices[:MOST_SLICES]
        ],
    }


def shown_decisions(found: DecisionFigures | None) -> dict[str, Any] | None:
    """Return what decisions cost; of many kinds, the most frequent."""
    if found is None:
        return None
    ranked = sorted(found.per_action, key=lambda each: -each.samples)
    second = found.per_action[1].action if found.thresholds else None
    return {
        "expected_cost": found.expected_cost,
        "cost": found.cost,
        "cost_interval": found.cost_interval,
        "most_probable_cost": found.most_probable_cost,
        "most_probable_cost_interval": found.most_probable_cost_interval,
        "constant_action": name(found.constant_action),
        "constant_cost": found.constant_cost,
        "total": len(ranked),
        "shown": [
            {
                "action": name(each.action),
                "samples": each.samples,
                "expected_cost": each.expected_cost,
                "cost": each.cost,
                "cost_interval": each.cost_interval,
            }
            for each in ranked[:MOST_ACTIONS]
        ],
        "positive": None if second is None else name(second),
        "best_threshold": found.best_threshold,
        "thresholds": found.thresholds,
    }
