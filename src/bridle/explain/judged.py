"""What a classifier says of samples that it has not seen: its surprises, and its calibration."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.calibrate import TemperatureScaling
from bridle.explain.material import Material
from bridle.judge import evaluate

Array = npt.NDArray[Any]

_MOST_NUMBERS = 20_000
_STEP = 1 / 500  # of a score, in nats
_SURPRISES = 8


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
    """Return the held-out samples whose labels got the least probability."""
    target = np.searchsorted(classes, material.held.target)
    surprise = -logarithms[np.arange(len(target)), target]
    features = material.held.features
    found = []
    for row in np.argsort(-surprise, kind="stable")[:_SURPRISES]:
        values = features.take(np.array([row])).to_array()
        dense = np.asarray(values.toarray() if hasattr(values, "toarray") else values)[0]
        found.append(
            {
                "row": int(row),
                "label": str(classes[target[row]]),
                "predicted": str(classes[int(np.argmax(logarithms[row]))]),
                "nats": float(surprise[row]),
                "largest": float(logarithms[row].max()),
                "values": dense[:1024],
            }
        )
    return found
