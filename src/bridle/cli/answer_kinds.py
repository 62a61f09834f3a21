"""Whether answers are probabilities or scores, and what is made of them where they are neither.

Numbers in [0, 1] whose rows do not sum to 1 (one-vs-rest), per cent and counts are no scores that
their softmax would do justice to, and no distributions either: the user says what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks, mapped, probabilities
from bridle.cli.options.answers import AnswerOptions
from bridle.judge import kinds
from bridle.judge.kinds import InputKind

Array = npt.NDArray[Any]

_NORMALIZE = "--normalize divides each row by its sum"
_SCORES = "--scores takes them as scores, to be passed through a softmax"
_PERCENT = "--percent takes them as per cent"
_BLOCK_NUMBERS = 2**20


@dataclass(frozen=True)
class Judged:
    """Answers as the judge takes them."""

    values: Array
    kind: InputKind | None
    note: str = ""
    rounded: bool = False


def as_judged(
    values: Array, options: AnswerOptions, place: Callable[[int], str], source: str
) -> Judged:
    """Return answers (N, C), or (N,) of the second of two classes, and what they are.

    Raises
    ------
    InputError
        They could be several things, or are not what the options say; it lists the options.
    """
    if options.kind == "scores":
        return Judged(values, "scores")
    if options.percent:
        values = values / 100.0
    if options.normalize:
        if (options.percent or options.kind is not None) and not _are_fractions(values):
            return _refused_range(values, options, place)
        return _normalized(values, place)
    low, high = _range(values)
    slack = checks.sum_tolerance(values.dtype.name, values.shape[-1])
    if -slack <= low < 0 and high <= 1 + slack:
        return Judged(values, "probabilities")  # of which the judge refuses those below 0
    if not (low >= 0 and high <= 1 + slack):
        if options.percent or options.kind is not None:
            return _refused_range(values, options, place)
        return _above_one(values, low, high, source)
    if values.ndim == 1:
        return Judged(np.minimum(values, 1), "probabilities")
    sums = kinds.row_sums(values)
    if sums.bad_row is not None:
        raise _no_distribution(values, sums, options, place, source)
    if not sums.rounded:
        return Judged(values, "probabilities")
    note = f"probabilities rounded to {sums.rounded}: used as they are, not divided by their sums"
    return Judged(values, "probabilities", note, rounded=True)


def as_scores(judged: Judged) -> Array:
    """Return a column of scores for each class: of probabilities, their logarithms."""
    values = judged.values.astype(np.float64)
    are_scores = judged.kind != "probabilities"
    if not are_scores and values.ndim == 2:
        values = values / values.sum(axis=1, keepdims=True)
    return probabilities.score_columns(values, are_scores=are_scores)


def _are_fractions(values: Array) -> bool:
    low, high = _range(values)
    return low >= 0 and high <= 1 + checks.sum_tolerance(values.dtype.name, values.shape[-1])


def _range(values: Array) -> tuple[float, float]:
    ends = [(block.min(), block.max()) for block in _blocks(values)]
    lowest, highest = np.array(ends, np.float64).T
    return float(lowest.min()), float(highest.max())


def _blocks(values: Array) -> Iterator[Array]:
    """Yield some rows at a time, of a file without keeping those before."""
    step = max(1, _BLOCK_NUMBERS // (1 if values.ndim == 1 else max(1, values.shape[1])))
    for _, block in mapped.blocks(values, step):
        yield block


def _normalized(values: Array, place: Callable[[int], str]) -> Judged:
    if values.ndim == 1:
        raise checks.InputError(
            "--normalize: expected a column for each class, found one for one of two classes"
        )
    sums = values.sum(axis=1, dtype=np.float64)
    bad = ~((values >= 0).all(axis=1) & (sums > 0) & (sums < np.inf))
    if bad.any():
        row = int(np.argmax(bad))
        raise checks.InputError(
            f"{place(row)}: --normalize: expected numbers of 0 or above that are not all 0, "
            f"found {_shown(values[row])}"
        )
    return Judged(values / sums[:, None], "probabilities", "rows divided by their sums")


def _refused_range(values: Array, options: AnswerOptions, place: Callable[[int], str]) -> Judged:
    wide = values if values.ndim == 2 else values[:, None]
    slack = checks.sum_tolerance(values.dtype.name, values.shape[-1])
    row = int(np.argmax(~((wide >= 0) & (wide <= 1 + slack)).all(axis=1)))
    what = "--percent: expected 0 to 100" if options.percent else "--probabilities: expected 0 to 1"
    raise checks.InputError(f"{place(row)}: {what}, found {_shown(wide[row] * options.total)}")


def _above_one(values: Array, low: float, high: float, source: str) -> Judged:
    """Return scores, unless numbers of 0 or above look like per cent or counts."""
    if low < 0 and _sum_to_one(values):
        raise checks.InputError(
            f"{source}: rows sum to 1, but entries go from {low:g} to {high:g}, which "
            f"probabilities do not: {_SCORES}"
        )
    if not low >= 0 or not np.isfinite(high):  # a NaN or an infinity is named by the judge
        return Judged(values, "scores" if np.isfinite(low) or low == -np.inf else None)
    what = ""
    if values.ndim == 1:
        if high <= 100:
            what = f"one column, from {low:g} to {high:g}, is per cent or scores: {_PERCENT}"
    else:
        sums = kinds.row_sums(values, 100.0)
        total = float(values[0].sum(dtype=np.float64))
        if sums.fits or (sums.nearly and high <= 100):
            what = f"rows sum to {'100' if sums.fits else 'about 100'}: {_PERCENT}"
        elif total > 0 and len(values) > 1 and kinds.row_sums(values / total).fits:
            what = f"all rows sum to {total:g}, as counts do: {_NORMALIZE}"
    if what:
        raise checks.InputError(f"{source}: {what}, {_SCORES}")
    return Judged(
        values,
        "scores",
        f"no answer is below 0 (the largest is {high:g}): taken as scores all the same; "
        f"--percent or --normalize if they are none",
    )


def _sum_to_one(values: Array) -> bool:
    """Tell whether all rows of several do, as those of scores would by an odd chance only."""
    low, high = _range(values)
    if values.ndim == 1 or len(values) == 1 or not np.isfinite([low, high]).all():
        return False
    slack = checks.sum_tolerance(values.dtype.name, values.shape[1]) * max(1.0, -low, high)
    return all(
        bool((np.abs(block.sum(axis=1, dtype=np.float64) - 1) <= slack).all())
        for block in _blocks(values)
    )


def _no_distribution(
    values: Array,
    sums: kinds.Sums,
    options: AnswerOptions,
    place: Callable[[int], str],
    source: str,
) -> checks.InputError:
    row = sums.bad_row or 0
    found = f"{place(row)} sums to {values[row].sum(dtype=float) * options.total:.6g}"
    total = f"{options.total:g}"
    if sums.nearly:
        return checks.InputError(
            f"{found}, expected a distribution as most rows are: {_NORMALIZE}, {_SCORES}"
        )
    if options.kind is not None or options.percent:
        return checks.InputError(f"{found}, expected {total}: {_NORMALIZE}")
    return checks.InputError(
        f"{source}: answers from 0 to 1 whose rows do not sum to 1 ({found}), as one-vs-rest "
        f"probabilities are: {_NORMALIZE}, {_SCORES}"
    )


def _shown(row: Array) -> str:
    shown = ", ".join(f"{entry:g}" for entry in row[:10].tolist())
    return f"[{shown}{', …' if len(row) > 10 else ''}]"
