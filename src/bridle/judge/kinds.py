"""Probabilities or scores: what rows of numbers are, by their range and by their sums.

Probabilities that were written with a few decimals miss a sum of 1 by the rounding of each entry.
How far they were rounded is seen from the numbers themselves, so that a table of text and an array
are judged alike: ``0.333 0.333 0.333`` sums to 1 within the rounding of three decimals.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bridle import checks, mapped

Array = npt.NDArray[Any]
InputKind = Literal["probabilities", "scores"]
AskedKind = Literal["auto", "scores", "probabilities"]

# A block's float64 copy (512 kB) and what is made of it stay in cache.
_BLOCK_NUMBERS = 2**16
# Rows that miss the sum by less than this share of it were meant to have it: three decimals of a
# hundred classes miss by 0.05, independent numbers in [0, 1] seldom come so close.
_NEARLY = 0.05
# Fewer digits excuse no wrong sum: [0.5, 0.2, 0.2] is not a distribution.
_FEWEST_DIGITS = 2
_MOST_DIGITS = 9
# Half precision written as text has so few digits, and sums as inexactly as this.
_HALF_DIGITS, _HALF_TOLERANCE = 5, 1e-3
# How far the float64 of a rounded number may be from it, after a division by 100 too.
_SAME = 1e-12


@dataclass(frozen=True, eq=False)
class Sums:
    """How the rows of non-negative numbers sum to a total.

    Attributes
    ----------
    fits : bool
        Every row does, within the rounding of its entries.
    rounded : str
        How they were rounded where only that makes them fit, such as ``"3 decimals"``; else empty.
    nearly : bool
        At least half of the rows do nearly, within a twentieth of the total.
    bad_row : int or None
        The first row that does not.
    """

    fits: bool
    rounded: str
    nearly: bool
    bad_row: int | None


def blocks(values: Array, numbers: int = _BLOCK_NUMBERS) -> Iterator[tuple[int, Array]]:
    """Yield ``(first row, block)``: C-contiguous float64 copies of some rows of ``(N, C)``."""
    step = max(1, numbers // values.shape[1])
    for rows, block in mapped.blocks(values, step):
        yield rows.start, block.astype(np.float64, order="C")


def row_sums(values: Array, total: float = 1.0, dtype: str | None = None) -> Sums:
    """Return how the rows of ``values`` (N, C) sum to ``total``, 1 or 100.

    ``dtype`` is what they were kept in, if that was another than now.

    Examples
    --------
    >>> row_sums(np.array([[0.333, 0.333, 0.333], [0.25, 0.25, 0.5]]))
    Sums(fits=True, rounded='3 decimals', nearly=True, bad_row=None)
    >>> row_sums(np.array([[33.0, 33.0, 33.0], [25.0, 25.0, 50.0]]), total=100).rounded
    '0 decimals'
    """
    tolerance = total * checks.sum_tolerance(dtype or values.dtype.name, values.shape[1])
    nearly = 0
    fits = True
    for _, block in blocks(values):
        miss = np.abs(block.sum(axis=1) - total)
        nearly += int(np.count_nonzero(miss <= _NEARLY * total))
        fits = fits and bool(((miss <= tolerance) & (block >= 0).all(axis=1)).all())
    is_nearly = 2 * nearly >= values.shape[0]
    if fits:
        return Sums(True, "", is_nearly, None)
    bad_row = _first_bad(values, total, tolerance, None) or 0
    for rounding in _roundings(values, total):
        granted = total * _HALF_TOLERANCE if rounding.places <= _HALF_DIGITS else 0.0
        found = _first_bad(values, total, max(tolerance, granted), rounding)
        if found is None:
            return Sums(True, str(rounding), is_nearly, None)
        bad_row = max(bad_row, found)  # of the rounding that explains the most rows
    return Sums(False, "", is_nearly, bad_row)


@dataclass(frozen=True)
class _Rounding:
    """All entries are rounded to so many places: decimals, or digits from the first on."""

    places: int
    digits: bool

    def __str__(self) -> str:
        return f"{self.places} {'digits' if self.digits else 'decimals'}"

    def allowance(self, block: Array, total: float) -> tuple[Array, Array]:
        """Return how far rounding may have moved the sum of each row up, and down."""
        # What is written as 0 can only have been rounded down.
        written = block > 0
        if not self.digits:
            half = 0.5 * 10.0**-self.places
            return half * np.count_nonzero(written, axis=1), np.full(
                len(block), half * block.shape[1]
            )
        # The total itself is rounded from what is below it.
        exponents = np.minimum(_exponents(block), np.log10(total) - 1)
        either_way = np.where(written, 0.5 * 10.0 ** (exponents + 1 - self.places), 0.0).sum(axis=1)
        return either_way, either_way


def _first_bad(
    values: Array, total: float, tolerance: float, rounding: _Rounding | None
) -> int | None:
    for start, block in blocks(values):
        above, below = (0.0, 0.0) if rounding is None else rounding.allowance(block, total)
        surplus = block.sum(axis=1) - total
        good = (surplus <= above + tolerance) & (-surplus <= below + tolerance)
        good &= (block >= 0).all(axis=1)
        if not good.all():
            return start + int(np.argmin(good))
    return None


def _roundings(values: Array, total: float) -> Iterator[_Rounding]:
    """Yield to how many decimals all entries are rounded, and to how many digits."""
    kind = values.dtype
    epsilon = float(np.finfo(kind).eps) if kind.kind == "f" else 0.0
    same = max(_SAME, 4 * epsilon)
    fewest = _FEWEST_DIGITS - round(np.log10(total))
    for decimals in range(fewest, _MOST_DIGITS + 1):
        if 10.0**-decimals < 100 * same * total:
            break
        near = (abs(block.round(decimals) - block) <= same * total for _, block in blocks(values))
        if all(each.all() for each in near):
            yield _Rounding(decimals, digits=False)
            break
    for digits in range(_FEWEST_DIGITS, _MOST_DIGITS + 1):
        if 10.0**-digits < 100 * same:
            break
        if all(_has_digits(block, digits, same) for _, block in blocks(values)):
            yield _Rounding(digits, digits=True)
            break


def _has_digits(block: Array, digits: int, same: float) -> bool:
    scaled = block / 10.0 ** _exponents(block)  # from 1 to 10
    return bool((abs(scaled.round(digits - 1) - scaled) <= 10 * same).all())


def _exponents(block: Array) -> Array:
    """Return of each number which power of ten its first digit counts; 0 where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        exponents = np.floor(np.log10(block) + 1e-15)
    return np.where(np.isfinite(exponents), exponents, 0.0)
