"""`bridle.kernels.numpy.coordinates`, compiled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bridle.kernels.numba.compiling import inlined, kernel
from bridle.kernels.numpy.coordinates import ROW_STEPS


@inlined
def _add(slope: Any, row: Any, step: float) -> None:
    for place in range(slope.shape[0]):
        slope[place] += step * row[place]


@kernel
def sweep(matrix: Any, slope: Any, values: Any, cost: Any) -> None:
    """Do what the reference does."""
    for entry in range(values.shape[0]):
        curvature, value = matrix[entry, entry], values[entry]
        if curvature <= 0:
            continue
        wanted = curvature * value - slope[entry]
        size = abs(wanted) - cost[entry]
        after = 0.0
        if size > 0:
            after = math.copysign(size, wanted) / curvature
        if after != value:
            values[entry] = after
            _add(slope, matrix[entry], after - value)


@inlined
def _group_minimum(curvature: Any, slope: Any, cost: float, after: Any) -> None:
    size, square, largest = slope.shape[0], 0.0, 1e-300
    for k in range(size):
        square += slope[k] * slope[k]
        largest = max(largest, curvature[k])
    least = 1e-12 * largest
    if math.sqrt(square) <= cost:
        for k in range(size):
            after[k] = 0.0
        return
    if cost == 0:
        for k in range(size):
            after[k] = -slope[k] / max(curvature[k], least)
        return
    length = (math.sqrt(square) - cost) / largest
    for _ in range(100):
        square, change = 0.0, 0.0
        for k in range(size):
            own = max(curvature[k], least)
            divisor = length * own + cost
            ratio = slope[k] / divisor
            square += ratio * ratio
            change += ratio * ratio * own / divisor
        norm = math.sqrt(square)
        if norm <= 1 + 1e-14:
            break
        length += (norm - 1) * square / change
    for k in range(size):
        after[k] = -length * slope[k] / (length * max(curvature[k], least) + cost)


@kernel
def sweep_groups(
    matrix: Any, slope: Any, values: Any, cost: Any, curvatures: Any, bases: Any
) -> None:
    """Do what the reference does."""
    groups, size = curvatures.shape
    at_zero, rotated, after = np.empty(size), np.empty(size), np.empty(size)
    for group in range(groups):
        begin = group * size
        for k in range(size):
            at_zero[k] = slope[begin + k]
            for other in range(size):
                at_zero[k] -= matrix[begin + k, begin + other] * values[begin + other]
        for k in range(size):
            rotated[k] = 0.0
            for other in range(size):
                rotated[k] += bases[group, other, k] * at_zero[other]
        _group_minimum(curvatures[group], rotated, cost[begin], after)
        for k in range(size):
            value = 0.0
            for other in range(size):
                value += bases[group, k, other] * after[other]
            at_zero[k] = value - values[begin + k]
            values[begin + k] = value
        for k in range(size):
            if at_zero[k] != 0:
                _add(slope, matrix[begin + k], at_zero[k])
    for entry in range(groups * size, values.shape[0]):
        curvature = matrix[entry, entry]
        if curvature > 0:
            step = -slope[entry] / curvature
            values[entry] += step
            _add(slope, matrix[entry], step)


@inlined
def _descend_entries(
    model: Any, slope: Any, along: Any, values: Any, cost: float, row: int, first: int, own: Any
) -> None:
    square, classes = model.square[row], values.shape[1]
    for k in range(classes):
        own[k] = slope[k, row]
    for k in range(first, classes):
        value = values[row, k]
        curvature = model.diagonal[row, k] + square
        if curvature <= 0:
            continue
        down = own[k] + square * value
        for place in range(along.shape[0]):
            down += model.weighted_basis[row, k, place] * along[place]
        wanted = curvature * value - down
        size, after = abs(wanted) - cost, 0.0
        if size > 0:
            after = math.copysign(size, wanted) / curvature
        if after != value:
            step = after - value
            values[row, k] = after
            for other in range(classes):
                own[other] += step * model.features[row, row] * model.classes[k, other]
            for place in range(along.shape[0]):
                along[place] += step * model.basis[row, k, place]


@inlined
def _descend_row(
    model: Any, slope: Any, along: Any, values: Any, cost: float, row: int, spread: Any,
    rotation: Any, room: Any,
) -> None:  # fmt: skip
    square, classes, own_feature = model.square[row], values.shape[1], model.features[row, row]
    own, curvature, at_zero, after, step = room[0], room[1], room[2], room[3], room[4]
    bend = 0.0
    for k in range(classes):
        own[k] = slope[k, row]
        for other in range(classes):
            product = 0.0
            for place in range(along.shape[0]):
                product += model.basis[row, k, place] * model.weighted_basis[row, other, place]
            bend += product * product
    for k in range(classes):
        curvature[k] = own_feature * spread[k] + math.sqrt(bend) + square
    for _ in range(ROW_STEPS):
        for k in range(classes):
            step[k] = own[k] + square * values[row, k]
            for place in range(along.shape[0]):
                step[k] += model.weighted_basis[row, k, place] * along[place]
        for k in range(classes):
            at_zero[k] = 0.0
            for other in range(classes):
                at_zero[k] += rotation[other, k] * (step[other] - curvature[k] * values[row, other])
        _group_minimum(curvature, at_zero, cost, after)
        for k in range(classes):
            value = 0.0
            for other in range(classes):
                value += rotation[k, other] * after[other]
            step[k] = value - values[row, k]
            values[row, k] = value
        for k in range(classes):
            for other in range(classes):
                own[k] += own_feature * model.classes[k, other] * step[other]
            for place in range(along.shape[0]):
                along[place] += step[k] * model.basis[row, k, place]


@kernel
def _sweep_factors(
    model: Any, slope: Any, along: Any, values: Any, cost: Any, first: int, by_row: bool,
    only_moving: bool, spread: Any, rotation: Any,
) -> None:  # fmt: skip
    rows, classes = values.shape
    before, room = np.empty(classes), np.empty((5, classes))
    for row in range(rows):
        moves = cost[row] <= 0
        for k in range(classes):
            before[k] = values[row, k]
            moves = moves or before[k] != 0
        if only_moving and not moves:
            continue
        if by_row:
            _descend_row(model, slope, along, values, cost[row], row, spread, rotation, room)
        else:
            _descend_entries(model, slope, along, values, cost[row], row, first, room[0])
        for k in range(classes):
            step = 0.0
            for other in range(classes):
                step += model.classes[k, other] * (values[row, other] - before[other])
            if step != 0:
                _add(slope[k], model.features[row], step)


def sweep_factors(
    model: Any, slope: Any, along: Any, values: Any, cost: Any, first: int, by_row: bool,
    only_moving: bool,
) -> None:  # fmt: skip
    """Do what the reference does."""
    spread, rotation = np.linalg.eigh(model.classes)
    told = model, slope, along, values, cost, first, by_row, only_moving
    _sweep_factors(*told, np.ascontiguousarray(spread), np.ascontiguousarray(rotation))
