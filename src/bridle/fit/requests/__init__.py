"""What may be asked of the data, and how the answers of its parts make that of the whole.

=================== ==============================================================================
file                subject
=================== ==============================================================================
``base.py``         what a request is; the block of rows that it sums over; what is known before
``statistics.py``   the moments of the features, and their products with the targets
``values.py``       the loss and its gradient at a point
``curvature.py``    the loss's curvature: factors, the whole of it, products with it
``entries.py``      the loss's curvature between some single weights
``thin.py``         products of columns whose numbers are nearly all 0
``all_rows.py``     what only one process that has all rows can answer
=================== ==============================================================================
"""

from bridle.fit.requests.all_rows import (
    Combination,
    Descended,
    EntryDescent,
    Gram,
    RowScores,
    RowTargets,
    Separation,
    SeparationAlong,
    Targets,
)
from bridle.fit.requests.base import (
    Block,
    Facts,
    OfAllRows,
    Point,
    Question,
    Request,
    Steps,
    ask,
)
from bridle.fit.requests.curvature import (
    ClassCurvature,
    ClassSums,
    FeatureCurvature,
    FeatureDiagonal,
    HessianProduct,
    HessianSums,
    Importance,
    LeadingRows,
    WeightedRows,
    WholeHessian,
)
from bridle.fit.requests.entries import CountedRows, Entries, EntryCurvature, EntrySums
from bridle.fit.requests.statistics import Extremes, Moments, Statistics
from bridle.fit.requests.values import InterceptValues, Values, ValueSums

__all__ = [
    "Block",
    "ClassCurvature",
    "ClassSums",
    "Combination",
    "CountedRows",
    "Descended",
    "Entries",
    "EntryCurvature",
    "EntryDescent",
    "EntrySums",
    "Extremes",
    "Facts",
    "FeatureCurvature",
    "FeatureDiagonal",
    "Gram",
    "HessianProduct",
    "HessianSums",
    "Importance",
    "InterceptValues",
    "LeadingRows",
    "Moments",
    "OfAllRows",
    "Point",
    "Question",
    "Request",
    "RowScores",
    "RowTargets",
    "Separation",
    "SeparationAlong",
    "Statistics",
    "Steps",
    "Targets",
    "ValueSums",
    "Values",
    "WeightedRows",
    "WholeHessian",
    "ask",
]
