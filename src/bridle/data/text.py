"""Columns of texts become the words in them, weighed by TF-IDF.

A text of its own in each row says nothing as a category; its words do. scikit-learn finds and
weighs them. What a fit learnt of a column, its words and how rare they are, is kept as plain
values, so that later texts are read the same way without any pickle.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bridle import checks
from bridle.data import columns, files
from bridle.data.columns import Table

Array = npt.NDArray[Any]

# The most frequent ones are kept: a model's file and its weights stay in bounds.
MOST_WORDS = 200_000
# A text has several words; names, codes and numbers with marks have one or two.
_FEWEST_WORDS = 3

_WORD = re.compile(r"\w*[^\W\d_]\w*")  # with a letter in it


@dataclass(frozen=True)
class TextColumn:
    """A column of texts, and what a fit learnt of it: its words and their rarity (idf)."""

    column: str
    words: tuple[str, ...]
    idf: Array

    @property
    def feature_names(self) -> list[str]:
        """Names of the columns that the texts become."""
        return [f"{self.column}: {word}" for word in self.words]

    def matrix(self, texts: Array) -> Any:
        """Return the weights of the words in each text, ``(N, words)``, as a CSR array."""
        vectorizer = _vectorizer(vocabulary=list(self.words))
        vectorizer.idf_ = self.idf
        return sparse.csr_array(vectorizer.transform(texts))

    def to_dict(self) -> dict[str, Any]:
        """Return the column in JSON's types."""
        return {"column": self.column, "words": list(self.words), "idf": self.idf.tolist()}


def learnt(table: Table, column: str, rows: Array | None) -> TextColumn:
    """Learn the words of a column from some of its rows (None: from all)."""
    texts = table.read(column)
    vectorizer = _vectorizer(max_features=MOST_WORDS)
    try:
        vectorizer.fit(texts if rows is None else texts[rows])
    except ValueError:  # the only reason that is left once there are texts: no word in any of them
        raise files.broken(
            table.file, f"column {files.quoted(column)}: expected texts, found no words in them"
        ) from None
    words = tuple(str(word) for word in vectorizer.get_feature_names_out())
    return TextColumn(column, words, np.asarray(vectorizer.idf_))


def choose(table: Table, candidates: Sequence[str], asked_for: Sequence[str]) -> list[str]:
    """Return the columns to read as texts in a fit.

    They are those asked for, and those that hold texts of several words, mostly different ones.
    """
    for name in asked_for:
        if name not in table.names:
            raise checks.InputError(
                f"--text: {table.file} has no column {files.quoted(name)}, found "
                f"{files.listing(table.names)}{files.suggestion(name, table.names)}"
            )
        if name not in candidates:
            raise checks.InputError(
                f"--text: column {files.quoted(name)} of {table.file} is no feature"
            )
    return [name for name in candidates if name in asked_for or _is_prose(table.read(name))]


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
            raise files.broken(
                table.file,
                f"column {files.quoted(name)} is missing, the model needs it"
                f"{files.suggestion(name, table.names)}",
            )
        column = table.read(name)
        if column.dtype != object:
            raise files.broken(
                table.file,
                f"column {files.quoted(name)}: expected texts, found {columns.kind_of(column)}",
            )


def stacked(dense: Array | None, texts: Sequence[TextColumn], read: Callable[[str], Array]) -> Any:
    """Return numbers, if there are any, and the words of texts side by side, as a CSR array."""
    blocks = [] if dense is None else [sparse.csr_array(dense)]
    blocks += [each.matrix(read(each.column)) for each in texts]
    return sparse.hstack(blocks, format="csr")


def without_words(
    feature_names: Sequence[str] | None, texts: Sequence[TextColumn]
) -> tuple[str, ...] | None:
    """Return the names of the features that are no words of texts; those come last."""
    if feature_names is None:
        return None
    names, words = tuple(feature_names), sum(len(each.words) for each in texts)
    return names[: len(names) - words]


def to_plain(texts: Sequence[TextColumn]) -> list[dict[str, Any]]:
    """Return what a fit learnt of the columns of texts, in JSON's types."""
    return [each.to_dict() for each in texts]


def from_plain(plain: Any) -> tuple[TextColumn, ...]:
    """Return the columns that `to_plain` described.

    Raises
    ------
    ValueError
        Anything that it would not have written.
    """
    if not isinstance(plain, list):
        raise ValueError("columns of texts: expected a list")
    return tuple(_text_column(entry) for entry in plain)


def _text_column(plain: Any) -> TextColumn:
    entry = plain if isinstance(plain, Mapping) else {}
    column, words, idf = entry.get("column"), entry.get("words"), entry.get("idf")
    if not (
        isinstance(column, str)
        and isinstance(words, list)
        and isinstance(idf, list)
        and 0 < len(words) == len(idf)
        and all(isinstance(word, str) for word in words)
        and len(set(words)) == len(words)
        and all(isinstance(each, int | float) and math.isfinite(each) for each in idf)
    ):
        raise ValueError("columns of texts: expected words, each with a finite number")
    return TextColumn(column, tuple(words), np.array(idf, np.float64))


def _vectorizer(**options: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(**options)


def _is_prose(column: Array) -> bool:
    if column.dtype != object:
        return False
    values = set(column.tolist())
    if 2 * len(values) <= len(column):
        return False
    several = sum(len(_WORD.findall(text)) >= _FEWEST_WORDS for text in values)
    return 2 * several > len(values)
