"""The numbers of a page."""

from __future__ import annotations

from typing import Any

from bridle import checks, ranks
from bridle.calibrate import CalibratedClassifier
from bridle.estimators import NetworkClassifier, SoftmaxRegression
from bridle.estimators.array_api import as_numpy
from bridle.explain.judged import judged, surprises
from bridle.explain.material import Material, image_shape, kept
from bridle.explain.optimum import optimum, path
from bridle.explain.race import race


def contents(
    material: Material,
    model: SoftmaxRegression | NetworkClassifier | CalibratedClassifier | None = None,
) -> dict[str, Any]:
    """Return what the page about some data holds, in JSON's types but for arrays.

    Without a model, one is fitted to all samples to learn from: bytes divided by 255, other
    features standardised. Of a calibrated one the calibrated answers are shown.
    """
    with ranks.alone():
        return _contents(material, model)


def _contents(
    material: Material, model: SoftmaxRegression | NetworkClassifier | CalibratedClassifier | None
) -> dict[str, Any]:
    if model is None:
        scale = 255.0 if material.pixels else image_shape(material) is None
        model = SoftmaxRegression(standardize=scale)
        model.fit(material.train.features, material.train.target)
    # Refused here, where the labels are still those of the data.
    checks.labelled_target(material.held.target, model.classes_.tolist(), len(material.held.target))
    logarithms = model.predict_log_proba(material.held.features)
    fitted = model.estimator_ if isinstance(model, CalibratedClassifier) else model
    weight = fitted.coef_ if isinstance(fitted, SoftmaxRegression) else fitted.coefs_[0].T
    found = kept(material, as_numpy(weight))
    return {
        "title": material.title,
        "classes": [str(label) for label in found.classes],
        "image": found.shape,
        "features": [] if found.shape else found.names,
        "notes": found.notes,
        "samples": found.to_dict(),
        "optimum": optimum(found),
        "path": path(found),
        "race": race(found),
        "surprises": surprises(material, logarithms, model.classes_),
        "judged": judged(material, logarithms, model.classes_),
    }
