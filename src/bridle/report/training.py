"""How a network was trained: its cost from epoch to epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bridle.progress import Epoch

_MOST_EPOCHS = 50


def epochs(history: Sequence[Epoch] | None) -> dict[str, Any] | None:
    """Return the costs of the epochs, of many some spread evenly, and the best of them."""
    if not history:
        return None
    last = len(history) - 1
    count = min(_MOST_EPOCHS, len(history))
    places = sorted({round(place * last / max(1, count - 1)) for place in range(count)})
    judged = [each for each in history if each.validation_cost is not None]
    best = min(judged, key=lambda each: each.validation_cost or 0.0) if judged else None
    return {
        "epochs": history[-1].epoch,
        "seconds": sum(each.seconds for each in history),
        "cost": history[-1].cost,
        "validation_cost": history[-1].validation_cost,
        "best_epoch": None if best is None else best.epoch,
        "best_validation_cost": None if best is None else best.validation_cost,
        "history": [
            {
                "epoch": history[place].epoch,
                "cost": history[place].cost,
                "validation_cost": history[place].validation_cost,
            }
            for place in places
        ],
    }
