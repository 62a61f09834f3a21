r"""Coordinate descent on a softmax loss's own quadratic, from the numbers of sparse columns.

In some entries (j, k) of the weights, with the changes d of them, ``D = X d`` of the scores, and
``m_i = Σ_k p_ik D_ik``:

    q(d) = g · d + ½ Σ_i s_i Σ_k p_ik (D_ik − m_i) D_ik + ½ Σ_e a_e d_e² + Σ_e c_e |v_e + d_e|

No matrix between the entries is made: a step in one of them reads and changes the rows that its
column stores a number in.

Reference: J. Friedman, T. Hastie, R. Tibshirani, *Regularization Paths for Generalized Linear
Models via Coordinate Descent*, 2010, section 4, there with each class by itself.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


class Columns(NamedTuple):
    """Sparse columns: those of column j are ``starts[j]`` to ``starts[j + 1]``."""

    starts: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    numbers: Array


class Scores(NamedTuple):
    """What is known of the rows' scores, and how far they have moved."""

    probability: Array  # (K, N): p
    weight: Array  # (N,): s
    moved: Array  # (K, N): D
    mean: Array  # (N,): m


class Model(NamedTuple):
    """The quadratic's entries: the column and the class of each, and what it is made of."""

    columns: Indices
    classes: Indices
    slope: Array  # g
    curvature: Array  # Σ s x² p (1 − p)
    extra: Array  # a
    start: Array  # v
    cost: Array  # c


def curvatures(columns: Columns, scores: Scores, places: Indices, classes: Indices) -> Array:
    """Return ``Σ s x² p (1 − p)`` of each entry."""
    found = np.zeros(len(places))
    for entry, (place, own) in enumerate(zip(places, classes, strict=True)):
        rows, numbers = _column(columns, place)
        p = scores.probability[own, rows]
        found[entry] = np.sum(scores.weight[rows] * numbers**2 * p * (1 - p))
    return found


def sweep(
    columns: Columns, scores: Scores, model: Model, values: Array, only_moving: bool
) -> float:
    """Minimise over each entry by turns, once; ``values`` and the scores' moves change in place.

    With ``only_moving`` entries that are 0 stay so. Returns the largest step, in units in which its
    entry has the curvature 1.
    """
    worst = 0.0
    for entry in range(len(values)):
        value, place, own = values[entry], model.columns[entry], model.classes[entry]
        curvature = model.curvature[entry] + model.extra[entry]
        if (only_moving and value == 0) or curvature <= 0:
            continue
        rows, numbers = _column(columns, place)
        p = scores.probability[own, rows]
        slope = model.slope[entry] + model.extra[entry] * (value - model.start[entry])
        slope += np.sum(
            numbers * scores.weight[rows] * p * (scores.moved[own, rows] - scores.mean[rows])
        )
        wanted = curvature * value - slope
        size = max(abs(wanted) - model.cost[entry], 0.0)
        step = math.copysign(size, wanted) / curvature - value
        if step != 0:
            worst = max(worst, abs(step) * math.sqrt(curvature))
            values[entry] = value + step if size > 0 else 0.0
            scores.moved[own, rows] += numbers * step
            scores.mean[rows] += p * numbers * step
    return worst


def _column(columns: Columns, place: int) -> tuple[npt.NDArray[np.int64], Array]:
    own = slice(columns.starts[place], columns.starts[place + 1])
    return columns.rows[own], columns.numbers[own]
