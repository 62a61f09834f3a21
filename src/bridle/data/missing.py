"""Missing values of a table: refused, left out with their rows, or filled."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.data import columns, encoding, files, targets
from bridle.data.choice import Choice
from bridle.data.columns import Table
from bridle.data.parts import Request

Array = npt.NDArray[Any]


def without_missing(
    table: Table,
    choice: Choice,
    request: Request,
    training_rows: Callable[[Table], Array | None],
) -> tuple[Table, tuple[str, ...], Array | None]:
    """Return a table in which missing values are dealt with as told, remarks, and the rows kept.

    The rows are None where all are. Means are those of the training rows alone (None: of all). What
    a fit tells for its own rows holds for later files, but for ``drop``: of those, each row wants
    its answer.
    """
    policy = request.told.na
    if policy is None and request.likely.na != "drop":
        policy = request.likely.na
    table = replace(table, reading=replace(table.reading, na=policy))
    if policy is None or policy == "error":
        return table, (), None
    labels = [choice.target] if choice.target is not None and request.need_target else []
    counted = [*choice.candidates, *(labels if policy == "drop" else [])]
    spelled = (*choice.categorical, *choice.texts, choice.target)
    found = {name: columns.gaps(table, name, as_texts=name in spelled) for name in counted}
    found = {name: mask for name, mask in found.items() if mask.any()}
    if policy == "drop":
        table, notes, kept = _without_gaps(table, found)
    else:
        if policy == "mean" and request.fitted is None:
            fills = _means(table, choice, training_rows(table))
            table = replace(table, reading=replace(table.reading, fills=fills))
        notes, kept = _filled(choice, policy, found), None
    if request.fitted is not None:
        for note in notes:  # the remarks on a fit's own data are shown with its figures
            warnings.warn(f"{request.source}: {note}", stacklevel=2)
    return table, notes, kept


def _filled(choice: Choice, policy: str, found: dict[str, Array]) -> tuple[str, ...]:
    """Return what is said of gaps that are filled."""
    if not found:
        return ()
    if policy != "mean":
        return (f"missing values are filled with the text {policy!r}: {_counts(found)}",)
    texts = {name: mask for name, mask in found.items() if name in choice.texts}
    others = {name: mask for name, mask in found.items() if name not in choice.texts}
    notes = [f"missing values are filled with the mean: {_counts(others)}"] if others else []
    notes += [f"missing texts count as without words: {_counts(texts)}"] if texts else []
    return tuple(notes)


def _without_gaps(
    table: Table, found: dict[str, Array]
) -> tuple[Table, tuple[str, ...], Array | None]:
    if not found:
        return table, (), None
    incomplete = np.any(list(found.values()), axis=0)
    rows = np.flatnonzero(~incomplete)
    counts = _counts(found)
    if len(rows) == 0:
        raise files.broken(table.file, f"every row has a missing value: {counts}")
    said = f"{incomplete.sum()} of {table.count} rows have missing values: not used ({counts})"
    return columns.taken(table, rows), (said,), rows


def _counts(found: dict[str, Array]) -> str:
    counts = {name: int(mask.sum()) for name, mask in found.items()}
    most = sorted(counts, key=lambda name: -counts[name])[:10]
    shown = ", ".join(f"{counts[name]} in {name!r}" for name in most)
    rest = len(counts) - len(most)
    return shown + (f", and {rest} more columns" if rest else "")


def _means(table: Table, choice: Choice, training: Array | None) -> dict[str, float]:
    """Return the mean of every column of the matrix: a later file may have gaps in any of them.

    Of a one-hot column ``k=red`` that is the share of ``red`` among the values of ``k``. A missing
    text has no words instead. The means are those of the training rows (None: of all).
    """
    rows = slice(None) if training is None else training
    means = dict[str, float]()
    for name in choice.candidates:
        if name in choice.texts:
            continue
        if name not in choice.categorical and columns.are_numbers(table, name):
            known = columns.with_gaps(table, name)[rows]
            known = known[~np.isnan(known)]
            if len(known) == 0:
                raise _without_mean(table, name)
            mean = float(np.mean(known))
            if np.isfinite(mean):  # an infinite value is refused, with its row, where it is used
                means[name] = mean
        elif name in choice.categorical or table.read(name).dtype == object:
            texts = table.texts(name)
            values = [text for text in targets.distinct(texts)[0] if not table.is_missing(text)]
            if len(values) > encoding.MOST_VALUES:  # refused where it is used
                continue
            counts = Counter(texts[rows].tolist())
            known_texts = sum(counts[value] for value in values)
            if known_texts == 0:
                raise _without_mean(table, name)
            means |= {f"{name}={value}": counts[value] / known_texts for value in values}
    return means


def _without_mean(table: Table, name: str) -> checks.InputError:
    return files.broken(
        table.file,
        f"column {files.quoted(name)} has no value in the rows that are learnt from, hence no "
        f"mean: --drop {name}",
    )
