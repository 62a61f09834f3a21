"""What one process that has all rows on the host can answer beside sums: about each row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bridle.fit import threads
from bridle.fit.readers.entry_descent import descended
from bridle.fit.readers.separation import separation_along
from bridle.fit.requests import (
    Combination,
    EntryDescent,
    Facts,
    Gram,
    OfAllRows,
    Question,
    RowScores,
    RowTargets,
    SeparationAlong,
    Targets,
)
from bridle.kernels import thresholds
from bridle.rows import Features, Rows

Array = npt.NDArray[Any]


class HostReader(Protocol):
    """What is needed of a reader: its rows in blocks, their targets and weights."""

    features: Rows
    target: Array
    sample_weight: Array | None
    classes: int
    memory_budget: int
    facts: Facts

    def blocks(self, question: Question[Any]) -> Iterator[Any]:
        """Yield the rows that a question is about, as `requests.Block`."""


def answer(reader: HostReader, question: OfAllRows[Any]) -> Any:
    """Return the answer to a question about each row."""
    if isinstance(question, RowTargets):
        return _targets(reader)
    if isinstance(question, Gram):
        return _gram(reader, question)
    if isinstance(question, RowScores):
        return _scores(reader, question)
    if isinstance(question, Combination):
        return _combination(reader, question)
    if isinstance(question, EntryDescent):
        return descended(reader, question)
    assert isinstance(question, SeparationAlong)
    return separation_along(reader, question)


def _targets(reader: HostReader) -> Targets:
    weight = reader.sample_weight
    return Targets(reader.target, np.ones(len(reader.target)) if weight is None else weight)


def _scores(reader: HostReader, question: RowScores) -> Array:
    scores = [block.scores(question.point) for block in reader.blocks(question)]
    return np.concatenate(scores)


def _combination(reader: HostReader, question: Combination) -> Array:
    product = np.zeros((reader.features.shape[1], question.coefficients.shape[1]))
    start = 0
    for block in reader.blocks(question):
        rows = slice(start, start + len(block.target))
        product += block.transposed_product(question.coefficients[rows])
        start = rows.stop
    return product


def _gram(reader: HostReader, question: Gram) -> Array:
    count, width = reader.features.shape
    gram = np.empty((count, count), question.kind)
    with threads.large(count**2 * width):
        for rows, block in _whole_blocks(reader):
            for others, other in _whole_blocks(reader):
                if others.start > rows.start:
                    break
                second = block if others == rows else other
                products = _products(question, block, second, reader.memory_budget)
                gram[rows, others] = products
                gram[others, rows] = products.T
    return gram


def _whole_blocks(reader: HostReader) -> Iterator[tuple[slice, Features]]:
    """Yield the rows in as few blocks as the budget allows: one, where nothing is converted."""
    features = reader.features
    numbers = reader.memory_budget // 4 // features.dtype.itemsize
    return features.blocks(len(features), features.dtype, numbers=numbers)


def _products(question: Gram, block: Array, other: Array, memory_budget: int) -> Array:
    total = np.zeros((len(block), len(other)), question.kind)
    memory = max(memory_budget // thresholds.CENTRED_SHARE, thresholds.CENTRED_LEAST_BYTES)
    width = max(1, memory // question.kind.itemsize // max(len(block), 1))
    for begin in range(0, block.shape[1], width):
        columns = slice(begin, begin + width)
        left = _scaled(question, block[:, columns], columns)
        # The product of an array with itself is half the work.
        right = left if other is block else _scaled(question, other[:, columns], columns)
        total += left @ right.T
    return total


def _scaled(question: Gram, features: Array, columns: slice) -> Array:
    """Return some columns of rows u, centred before they are rounded."""
    shift, scale = question.shift[columns], question.scale[columns]
    exact = np.result_type(features, shift)
    if np.all(scale == 1):
        # Rounded as they are written, which spares an exact copy.
        scaled = np.empty(features.shape, question.kind)
        return np.subtract(features, shift, out=scaled, dtype=exact, casting="same_kind")
    centred = features - shift
    centred /= scale
    return centred.astype(question.kind, copy=False)
