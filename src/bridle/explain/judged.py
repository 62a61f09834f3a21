"""What a classifier says of samples that it has not seen: its surprises, and its calibration."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.calibrate import TemperatureScaling
from bridle.explain.material import Material, dense, deviation, image_shape
from bridle.judge import evaluate

Array = npt.NDArray[Any]

_MOST_NUMBERS = 12_000
_STEP = 1 / 500  # of a score, in nats
_SURPRISES, _TELLING = 8, 3


def judged(material: Material, logarithms: Array, classes: Array) -> dict[str, Any]:
    """Return the log-probabilities of the held-out samples, and what there is to say of them.

    Parameters
    ----------
    logarithms : ndarray (N, K)
        What the model gives the held-out samples.
    classes : ndarray (K,)
        Its labels.
    """
    target = np.searchsorted(classes, material.held.target)
    count = max(1, min(len(target), _MOST_NUMBERS // len(classes)))
    rows = np.sort(np.random.default_rng(0).permutation(len(target))[:count])
    # Below −60 nats a probability is 0 in any picture.
    steps = np.rint(np.maximum(logarithms[rows], -60.0) / _STEP).astype("<i2")
    scores, labels = steps * _STEP, target[rows]
    figures = evaluate(scores, labels, kind="scores")
    calibrator = TemperatureScaling().fit(scores, labels)
    return {
        "classes": [str(label) for label in classes],
        "scores": base64.b64encode(steps.tobytes()).decode(),
        "step": _STEP,
        "labels": labels,
        "loss": figures.cross_entropy_nats,
        "accuracy": figures.accuracy,
        "calibrationError": figures.expected_calibration_error,
        "temperature": calibrator.temperature_,
        "lossAtTemperature": calibrator.loss_,
    }


def surprises(material: Material, logarithms: Array, classes: Array) -> list[dict[str, Any]]:
    """Return the held-out samples whose labels got the least probability.

    Images come whole. Of other samples come the features that are least like those of the label's
    samples to learn from, in their standard deviations.
    """
    target = np.searchsorted(classes, material.held.target)
    surprise = -logarithms[np.arange(len(target)), target]
    is_image = image_shape(material) is not None
    found = []
    for row in np.argsort(-surprise, kind="stable")[:_SURPRISES]:
        values = dense(material.held.features.take(np.array([row])))[0]
        found.append(
            {
                "row": int(row),
                "label": str(classes[target[row]]),
                "predicted": str(classes[int(np.argmax(logarithms[row]))]),
                "nats": float(surprise[row]),
                "largest": float(logarithms[row].max()),
                "values": _short(values) if is_image else [],
                "telling": [] if is_image else _telling(material, values, classes[target[row]]),
            }
        )
    return found


def _short(values: Array) -> Array:
    """Return whole numbers as such: their text is half as long."""
    return values.astype(np.int64) if (values % 1 == 0).all() else values.round(4)


def _telling(material: Material, values: Array, label: Any) -> list[dict[str, Any]]:
    """Return the features of a sample that are furthest from the mean of its label's samples."""
    rows = np.flatnonzero(material.train.target == label)
    if not len(rows):
        return []
    others = material.train.features.take(rows).to_array()
    mean = np.asarray(others.mean(axis=0, dtype=np.float64)).ravel()
    scale = deviation(others)
    away = (values - mean) / np.where(scale > 0, scale, np.inf)
    names = material.feature_names
    return [
        {
            "name": str(names[column]) if names else f"feature {column}",
            "value": float(values[column]),
            "deviations": float(away[column]),
        }
        for column in np.argsort(-np.abs(away), kind="stable")[:_TELLING].tolist()
    ]
