"""A quadratic model of the objective in some entries of the weights, and its minimum.

Rounds of coordinate descent find which entries are 0; then Newton's method on the others, whose
penalty is smooth there, solves for all of them at once. Neither reads any data.

References: see `kernels.numpy.coordinates`; S. Wright, *Accelerated Block-coordinate Relaxation for
Regularized Optimization*, 2012, for the two in turns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg

from bridle.fit import threads
from bridle.kernels import thresholds
from bridle.kernels.numpy import coordinates as reference

Array = npt.NDArray[np.float64]

_SWEEPS = 5  # before each Newton step
_MOST_ROUNDS = 40
_MOST_HALVINGS = 8


@dataclass(frozen=True)
class EntryModel:
    """``slope · d + ½ d · matrix d`` plus the cost of ``start + d``.

    ``cost`` is that of each entry's size; of groups of ``size`` entries side by side, that of their
    length. The ``free`` last entries are in no group, and have no cost.
    """

    matrix: Array  # (n, n)
    slope: Array  # (n,)
    start: Array  # (n,)
    cost: Array  # (n,)
    free: int
    size: int = 1

    def minimum(self, part: float) -> Array:
        """Return the entries at the minimum, where no slope is wrong by more than told.

        That is ``part`` of the worst at the start, in units in which each entry has the curvature 1
        (of a group, at most).
        """
        unit = self._units()
        scaled = EntryModel(
            self.matrix / unit[:, None] / unit,
            self.slope / unit,
            self.start * unit,
            self.cost / unit,
            self.free,
            self.size,
        )
        state = _Descent(scaled)
        tolerance = part * state.violation()
        for _ in range(_MOST_ROUNDS):
            state.sweep()
            if state.violation() <= tolerance:
                break
            state.newton_step()
            if state.violation() <= tolerance:
                break
        return np.asarray(state.values / unit)

    def _units(self) -> Array:
        unit = np.sqrt(np.maximum(np.diagonal(self.matrix), 0.0))
        if self.size > 1:
            grouped, _ = self._grouped(unit)
            grouped[:] = grouped.max(axis=1, keepdims=True)
        unit[unit == 0] = 1.0
        return np.asarray(unit)

    def violation(self, values: Array, slope: Array) -> float:
        """Return how far the worst slope is from one that the cost allows."""
        if self.size == 1:
            excess = np.abs(slope + self.cost * np.sign(values))
            at_zero = np.maximum(np.abs(slope) - self.cost, 0)
            return float(np.where(values != 0, excess, at_zero).max(initial=0.0))
        grouped, _ = self._grouped(values)
        slopes, free_slopes = self._grouped(slope)
        cost = self.cost[: grouped.size : self.size]
        lengths = np.linalg.norm(grouped, axis=1)
        directions = grouped / np.maximum(lengths, 1e-300)[:, None]
        excess = np.linalg.norm(slopes + cost[:, None] * directions, axis=1)
        at_zero = np.maximum(np.linalg.norm(slopes, axis=1) - cost, 0)
        worst = np.where(lengths > 0, excess, at_zero).max(initial=0.0)
        return max(float(worst), float(np.abs(free_slopes).max(initial=0.0)))

    def value_of_cost(self, values: Array) -> float:
        """Return what entries cost."""
        if self.size == 1:
            return float(self.cost @ np.abs(values))
        grouped, _ = self._grouped(values)
        return float(self.cost[: grouped.size : self.size] @ np.linalg.norm(grouped, axis=1))

    @property
    def grouped_entries(self) -> int:
        """How many entries are in groups."""
        return len(self.cost) - self.free

    def _grouped(self, values: Array) -> tuple[Array, Array]:
        count = self.grouped_entries
        return values[:count].reshape(-1, self.size), values[count:]


class _Descent:
    """Where the minimisation of a model is."""

    def __init__(self, model: EntryModel) -> None:
        self._model = model
        self.values, self._slope = model.start.copy(), model.slope.copy()
        compiled = len(model.matrix) ** 2 >= thresholds.COMPILED_DESCENT
        if compiled:
            from bridle.kernels.numba import coordinates

            self._sweeps = coordinates.sweep, coordinates.sweep_groups
        else:
            self._sweeps = reference.sweep, reference.sweep_groups
        if model.size > 1:
            count, size = model.grouped_entries, model.size
            groups = np.arange(count).reshape(-1, size)
            own = model.matrix[groups[:, :, None], groups[:, None, :]]
            self._curvatures, self._bases = np.linalg.eigh(own)

    def sweep(self) -> None:
        """Take some rounds of coordinate descent."""
        model, (sweep, sweep_groups) = self._model, self._sweeps
        for _ in range(_SWEEPS):
            if model.size == 1:
                sweep(model.matrix, self._slope, self.values, model.cost)
            else:
                sweep_groups(
                    model.matrix,
                    self._slope,
                    self.values,
                    model.cost,
                    self._curvatures,
                    self._bases,
                )

    def violation(self) -> float:
        """Return the model's, here."""
        return self._model.violation(self.values, self._slope)

    def newton_step(self) -> None:
        """Step to the minimum over the entries that are not 0; what would change sign becomes 0."""
        model, values = self._model, self.values
        moves = values != 0
        moves[model.grouped_entries :] = True
        if model.size > 1:
            grouped = moves[: model.grouped_entries].reshape(-1, model.size)
            grouped[grouped.any(axis=1)] = True  # a group is 0 as a whole, or not
        support = np.flatnonzero(moves | (model.cost == 0))
        curvature = model.matrix[np.ix_(support, support)]
        slope = self._slope[support]
        if model.size == 1:
            slope = slope + model.cost[support] * np.sign(values[support])
        else:
            self._add_groups(support, curvature, slope)
        try:
            with threads.large(len(support) ** 3 // 6):
                factor = linalg.cho_factor(curvature, overwrite_a=True, check_finite=False)
        except linalg.LinAlgError:
            return
        full = np.zeros_like(values)
        full[support] = -linalg.cho_solve(factor, slope, check_finite=False)
        before = model.value_of_cost(values)
        length, first_crossing = 1.0, self._first_crossing(full)
        for _ in range(_MOST_HALVINGS):
            moved = values + length * full
            if model.size == 1:
                moved[(moved * values < 0) & (model.cost > 0)] = 0.0
            step = moved - values
            change = model.matrix @ step
            gained = float(self._slope @ step + step @ change / 2)
            if gained + model.value_of_cost(moved) - before <= 0:
                self.values = moved
                self._slope += change
                return
            # Up to where the first entry is 0 the penalty is what the step takes it for.
            length = first_crossing if length > first_crossing > 0 else length / 2

    def _first_crossing(self, full: Array) -> float:
        """Return which part of a step makes an entry 0, a little beyond; 0 where none does."""
        model, values = self._model, self.values
        if model.size > 1:
            return 0.0
        crosses = (full * values < 0) & (model.cost > 0) & (np.abs(full) > np.abs(values))
        if not crosses.any():
            return 0.0
        part = float(np.min(-values[crosses] / full[crosses]))
        return part * (1 + 1e-12)

    def _add_groups(self, support: npt.NDArray[np.intp], curvature: Array, slope: Array) -> None:
        """Add the slope ``c v / ‖v‖`` of the groups that are not 0, and what it changes by."""
        model, size = self._model, self._model.size
        for begin in range(0, int(np.searchsorted(support, model.grouped_entries)), size):
            own = slice(begin, begin + size)
            group = self.values[support[own]]
            cost, length = model.cost[support[begin]], float(np.linalg.norm(group))
            if length == 0:  # of no cost
                continue
            direction = group / length
            slope[own] += cost * direction
            curvature[own, own] -= cost / length * np.outer(direction, direction)
            curvature[np.arange(begin, begin + size), np.arange(begin, begin + size)] += (
                cost / length
            )
