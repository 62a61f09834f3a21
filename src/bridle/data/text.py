"""Columns of texts become the words in them, weighed by TF-IDF.

A text of its own in each row says nothing as a category; its words do. scikit-learn finds and
weighs them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bridle import checks
from bridle.data import columns, files, targets
from bridle.data.columns import Table
from bridle.data.words import TextColumn, vectorizer

Array = npt.NDArray[Any]

# The most frequent ones are kept: a model's file and its weights stay in bounds.
MOST_WORDS = 200_000
# A text has several words; names, codes and numbers with marks have one or two.
_FEWEST_WORDS = 3

_WORD = re.compile(r"\w*[^\W\d_]\w*")  # with a letter in it


def learnt(table: Table, column: str, rows: Array | None) -> TextColumn:
    """Learn the words of a column from some of its rows (None: from all)."""
    texts = columns.texts_only(table, column)
    found = vectorizer(max_features=MOST_WORDS)
    try:
        found.fit(texts if rows is None else texts[rows])
    except ValueError:  # the only reason that is left once there are texts: no word in any of them
        raise files.broken(
            table.file, f"column {files.quoted(column)}: expected texts, found no words in them"
        ) from None
    words = tuple(str(word) for word in found.get_feature_names_out())
    return TextColumn(column, words, tuple(found.idf_.tolist()))


def choose(table: Table, candidates: Sequence[str], asked_for: Sequence[str]) -> list[str]:
    """Return the columns to read as texts in a fit.

    They are those asked for, and those that hold texts of several words, mostly different ones.
    """
    for name in asked_for:
        if name not in candidates:
            raise checks.InputError(
                f"--text: column {files.quoted(name)} of {table.file} is no feature",
                argument="--text",
                expected="a column of features",
                found=files.quoted(name),
            )
    return [name for name in candidates if name in asked_for or _is_prose(table, name)]


def remark(texts: TextColumn, asked_for: Sequence[str]) -> str:
    """Return what was made of a column, for a human to read."""
    words = f"became {len(texts.words)} words, weighed by TF-IDF"
    if texts.column in asked_for:
        return f"column {texts.column!r} {words}"
    return f"column {texts.column!r}, mostly different texts, {words} (as --text does)"


def check_texts(table: Table, names: Iterable[str]) -> None:
    """Refuse a column of numbers where a model, or the user, expects texts."""
    for name in names:
        if name not in table.names:
            raise columns.needed(table.file, name, table.names)
        column = table.read(name)
        # A file that declares no types may have texts that all look like numbers.
        if table.typed and column.dtype != object:
            raise files.broken(
                table.file,
                f"column {files.quoted(name)}: expected texts, found {columns.kind_of(column)}",
            )


def stacked(dense: Array | None, texts: Sequence[TextColumn], table: Table) -> Any:
    """Return numbers, if there are any, and the words of texts side by side, as a CSR array."""
    blocks = [] if dense is None else [sparse.csr_array(dense)]
    blocks += [each.matrix(columns.texts_only(table, each.column)) for each in texts]
    return sparse.hstack(blocks, format="csr")


def without_words(
    feature_names: Sequence[str] | None, texts: Sequence[TextColumn]
) -> tuple[str, ...] | None:
    """Return the names of the features that are no words of texts; those come last."""
    if feature_names is None:
        return None
    names, words = tuple(feature_names), sum(len(each.words) for each in texts)
    return names[: len(names) - words]


def _is_prose(table: Table, name: str) -> bool:
    column = table.read(name)
    if column.dtype != object:
        return False
    values, codes = targets.distinct(column)
    known = np.array([not table.is_missing(text) for text in values])
    texts = [text for text, there in zip(values, known, strict=True) if there]
    if 2 * len(texts) <= known[codes].sum():
        return False
    several = sum(len(_WORD.findall(text)) >= _FEWEST_WORDS for text in texts)
    return 2 * several > len(texts)
