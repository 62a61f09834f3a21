"""`bridle.kernels.numpy.sparse_coordinates`, compiled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bridle.kernels.numba.compiling import kernel


@kernel
def curvatures(columns: Any, scores: Any, places: Any, classes: Any) -> Any:
    """Do what the reference does."""
    found = np.zeros(places.shape[0])
    for entry in range(places.shape[0]):
        place, p = places[entry], scores.probability[classes[entry]]
        total = 0.0
        for at in range(columns.starts[place], columns.starts[place + 1]):
            row, number = columns.rows[at], columns.numbers[at]
            total += scores.weight[row] * number * number * p[row] * (1 - p[row])
        found[entry] = total
    return found


@kernel
def sweep(columns: Any, scores: Any, model: Any, values: Any, only_moving: bool) -> float:
    """Do what the reference does."""
    worst, weight, mean = 0.0, scores.weight, scores.mean
    for entry in range(values.shape[0]):
        value, place, own = values[entry], model.columns[entry], model.classes[entry]
        curvature = model.curvature[entry] + model.extra[entry]
        if (only_moving and value == 0) or curvature <= 0:
            continue
        begin, end = columns.starts[place], columns.starts[place + 1]
        p, moved = scores.probability[own], scores.moved[own]
        slope = 0.0
        for at in range(begin, end):
            row = columns.rows[at]
            slope += columns.numbers[at] * weight[row] * p[row] * (moved[row] - mean[row])
        slope += model.slope[entry] + model.extra[entry] * (value - model.start[entry])
        wanted = curvature * value - slope
        size, after = abs(wanted) - model.cost[entry], 0.0
        if size > 0:
            after = math.copysign(size, wanted) / curvature
        if after == value:
            continue
        step = after - value
        worst = max(worst, abs(step) * math.sqrt(curvature))
        values[entry] = after
        for at in range(begin, end):
            row, change = columns.rows[at], columns.numbers[at] * step
            moved[row] += change
            mean[row] += p[row] * change
    return worst
