"""Calibrators: small exact fits on a classifier's scores, after which its probabilities come true.

Each takes scores (logits or log-probabilities) ``(N, K)`` of samples the classifier has not learnt
from, and their classes:

    TemperatureScaling   softmax(z / T)                 one number
    VectorScaling        softmax(a ∘ log q + b)         2 K numbers, q probabilities at T
    MatrixScaling        softmax(A log q + b)           K² + K numbers
    DirichletScaling     the same
    IsotonicScaling      a rising step function for each class, normalised

and has ``fit``, ``predict_proba``, ``predict_log_proba``, ``save`` and ``load``.
`CalibratedClassifier` fits a classifier and its calibrator together, `decompose` says what
calibrating would take away of a loss, `load` (which is `bridle.load`) reads whatever was saved.
"""

from bridle.calibrate.affine import AffineScaling, DirichletScaling, MatrixScaling, VectorScaling
from bridle.calibrate.base import Calibrator
from bridle.calibrate.classifier import CalibratedClassifier
from bridle.calibrate.decomposition import Decomposition, decompose, out_of_fold
from bridle.calibrate.isotonic import IsotonicScaling
from bridle.calibrate.loading import METHODS, create, load_calibrator
from bridle.calibrate.saved import load
from bridle.calibrate.temperature import TemperatureScaling

__all__ = [
    "METHODS",
    "AffineScaling",
    "CalibratedClassifier",
    "Calibrator",
    "Decomposition",
    "DirichletScaling",
    "IsotonicScaling",
    "MatrixScaling",
    "TemperatureScaling",
    "VectorScaling",
    "create",
    "decompose",
    "load",
    "load_calibrator",
    "out_of_fold",
]
