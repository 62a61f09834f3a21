"""The minimum over single weights of sparse features, without any matrix between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bridle.fit.requests import Descended, EntryDescent
from bridle.kernels.numpy import sparse_coordinates as reference
from bridle.kernels.numpy.sparse_coordinates import Columns, Model, Scores

if TYPE_CHECKING:
    from bridle.fit.readers.all_rows import HostReader

Array = npt.NDArray[Any]

# Sweeps over entries that are not 0, between two over all, after which the offset is set right.
_SWEEPS_OF_MOVING = 10


def descended(reader: HostReader, question: EntryDescent) -> Descended:
    """Return the entries and the offset at the minimum, or where the most sweeps lead."""
    kernels: Any = reference
    if reader.facts.is_compiled:
        from bridle.kernels.numba import sparse_coordinates as kernels
    columns, places, scores = _rows(reader, question)
    curvature = kernels.curvatures(columns, scores, places, question.classes)
    model = Model(
        places,
        question.classes,
        question.slope,
        curvature,
        question.extra,
        question.start,
        question.cost,
    )
    values, offset = question.start.copy(), np.zeros(len(scores.probability))
    inverse, offset_slope = _inverse_of_offsets(scores), question.offset_slope
    first, sweeps = None, 0
    while sweeps < question.most_sweeps:
        if offset_slope is not None:
            offset += _move_offset(scores, inverse, offset_slope)
        for count in range(_SWEEPS_OF_MOVING + 1):
            worst = kernels.sweep(columns, scores, model, values, count > 0)
            first = worst if first is None else first
            sweeps += 1
            settled = worst <= question.part * first
            if settled:
                break
        if settled and count == 0:  # of a sweep over all
            return Descended(values, offset, settled=True)
    return Descended(values, offset, settled=False)


def _rows(
    reader: HostReader, question: EntryDescent
) -> tuple[Columns, npt.NDArray[np.intp], Scores]:
    """Return the columns of all rows, which of them each entry is of, and the scores."""
    used, places = np.unique(question.features, return_inverse=True)
    blocks = list(reader.blocks(question))
    matrix = sparse.vstack([block.stored_columns(used) for block in blocks], format="csc")
    numbers = matrix.data / np.repeat(question.scale[used], np.diff(matrix.indptr))
    columns = Columns(
        matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), numbers.astype(np.float64)
    )
    weight = np.concatenate([block.row_weight for block in blocks])
    probability = np.concatenate([block.probabilities(question.point) for block in blocks])
    # A row without weight may have any.
    probability = np.where(weight[:, None] > 0, probability, 0.0).T.astype(np.float64, order="C")
    moved, mean = np.zeros_like(probability), np.zeros(len(weight))
    return columns, places, Scores(probability, weight / weight.sum(), moved, mean)


def _inverse_of_offsets(scores: Scores) -> Array:
    """Return the inverse of the curvature in the offset; the first class's stays as it is."""
    weighted = scores.probability * scores.weight
    curvature = np.diag(weighted.sum(axis=1)) - weighted @ scores.probability.T
    inverse = np.zeros_like(curvature)
    inverse[1:, 1:] = np.linalg.pinv(curvature[1:, 1:], hermitian=True)
    return inverse


def _move_offset(scores: Scores, inverse: Array, slope: Array) -> Array:
    """Step to the minimum over the offset, and return the step."""
    probability, weight, moved, mean = scores
    now = slope + (probability * (moved - mean)) @ weight
    step = -inverse @ now
    moved += step[:, None]
    mean += step @ probability
    return np.asarray(step)
