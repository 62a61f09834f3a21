"""What a fit learnt of a column of texts: its words and how rare they are, as plain values.

They are kept with a model and read later texts in the same way, without any pickle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class TextColumn:
    """A column of texts, and what a fit learnt of it: its words and their rarity (idf)."""

    column: str
    words: tuple[str, ...]
    idf: tuple[float, ...]

    @property
    def feature_names(self) -> list[str]:
        """Names of the columns that the texts become."""
        return [f"{self.column}: {word}" for word in self.words]

    def matrix(self, texts: Array) -> Any:
        """Return the weights of the words in each text, ``(N, words)``, as a CSR array."""
        found = vectorizer(vocabulary=list(self.words))
        found.idf_ = np.array(self.idf)
        return sparse.csr_array(found.transform(texts))

    def to_dict(self) -> dict[str, Any]:
        """Return the column in JSON's types."""
        return {"column": self.column, "words": list(self.words), "idf": list(self.idf)}


def vectorizer(**options: Any) -> Any:
    """Return what finds and weighs words, of scikit-learn."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(**options)


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
        and all(_is_finite(each) for each in idf)
    ):
        raise ValueError("columns of texts: expected words, each with a finite number")
    return TextColumn(column, tuple(words), tuple(float(each) for each in idf))


def _is_finite(number: Any) -> bool:
    try:
        return isinstance(number, int | float) and math.isfinite(number)
    except OverflowError:  # an integer that is no float
        return False
