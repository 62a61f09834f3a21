"""The small sets that come with scikit-learn: nothing is downloaded."""

from __future__ import annotations

import numpy as np

from bridle import checks
from bridle.data import files
from bridle.data.dataset import Dataset
from bridle.data.parts import (
    Request,
    refuse_labels,
    refuse_selection,
    refuse_target_name,
)
from bridle.rows import Rows

_LOADERS = {
    "digits": "load_digits",
    "iris": "load_iris",
    "wine": "load_wine",
    "breast-cancer": "load_breast_cancer",
}
NAMES = tuple(_LOADERS)


def load_embedded(request: Request) -> Dataset:
    """Load an embedded set by name; classes that have names are told by them."""
    from sklearn import datasets

    refuse_labels(request, "an embedded set")
    refuse_target_name(request, "an embedded set")
    refuse_selection(request, "an embedded set")
    content = getattr(datasets, _LOADERS[request.source])()
    names = tuple(str(name) for name in content.feature_names)
    _check_names(request, names)
    target = np.asarray(content.target)
    if request.source != "digits":
        target = np.asarray(content.target_names).astype(np.str_)[target]
    sides = (8, 8) if request.source == "digits" else None
    return Dataset(Rows([content.data]), target, names, None, request.source, image_shape=sides)


def _check_names(request: Request, names: tuple[str, ...]) -> None:
    if request.feature_names is None or request.feature_names == names:
        return
    missing = [name for name in request.feature_names if name not in names]
    what = (
        f"no column {files.quoted(missing[0])}, which the model needs"
        if missing
        else f"{len(names)} columns, the model was fitted to {len(request.feature_names)}"
    )
    raise checks.InputError(f"{request.source}: has {what}")
