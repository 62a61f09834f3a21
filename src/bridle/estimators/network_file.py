"""What only the file of a network holds: its layers, and the history of its training."""

from __future__ import annotations

from dataclasses import asdict, fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.networks import backpropagation
from bridle.progress import Epoch

if TYPE_CHECKING:
    from bridle.estimators.network_classifier import NetworkClassifier

Array = npt.NDArray[Any]


def contents(model: NetworkClassifier) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the description and the tensors of a fitted network."""
    description = {
        "sizes": [len(model.coefs_[0]), *(len(bias) for bias in model.intercepts_)],
        "multilabel": model.multilabel_,
        "history": [asdict(epoch) for epoch in model.history_],
    }
    tensors = {}
    for place, (weight, bias) in enumerate(model._layers()):
        tensors[f"weight_{place}"] = np.ascontiguousarray(weight)
        tensors[f"bias_{place}"] = np.ascontiguousarray(bias)
    if isinstance(model.standardize, tuple | list):
        shift, scale = (np.asarray(each, np.float64) for each in model.standardize)
        tensors |= {"shift": shift, "scale": scale}
    return description, tensors


def restore(
    model: NetworkClassifier, description: dict[str, Any], tensors: dict[str, Array]
) -> None:
    """Give a new network, whose parameters and classes are known, what `contents` returned."""
    backpropagation.network(model.activation, model.output, model.cost)
    layers = range(len(description["sizes"]) - 1)
    model.coefs_ = [tensors[f"weight_{place}"] for place in layers]
    model.intercepts_ = [tensors[f"bias_{place}"] for place in layers]
    model.n_features_in_ = int(description["sizes"][0])
    model.history_ = [_epoch(entry) for entry in description["history"]]
    model.n_iter_ = len(model.history_)
    if model.standardize is None:
        model.standardize = tensors["shift"], tensors["scale"]
    model.multilabel_ = _multilabel(description["multilabel"], model.output, model.classes_)


def fits_together(model: NetworkClassifier) -> bool:
    """Tell whether the layers have the sizes that the parameters and the classes say."""
    sizes = [model.n_features_in_, *model.hidden_layer_sizes, len(model.classes_)]
    weights = [weight.shape for weight in model.coefs_]
    biases = [bias.shape for bias in model.intercepts_]
    one_dtype = len({values.dtype for values in [*model.coefs_, *model.intercepts_]}) == 1
    return one_dtype and weights == list(pairwise(sizes)) and biases == [(n,) for n in sizes[1:]]


def plain_parameters(plain: dict[str, Any]) -> dict[str, Any]:
    """Return parameters that only a network has in JSON's types too."""
    random = plain["random_state"]
    if random is not None and not isinstance(random, int):
        raise checks.InputError(
            "random_state: expected a number or None to save",
            argument="random_state",
            expected="a number or None to save",
            found=type(random).__name__,
        )
    sizes = plain["hidden_layer_sizes"]
    given = [sizes] if isinstance(sizes, int) else sizes
    plain = {**plain, "hidden_layer_sizes": [int(size) for size in given]}
    # A shift and a scale are among the tensors.
    return (
        plain | {"standardize": None} if isinstance(plain["standardize"], tuple | list) else plain
    )


def _multilabel(plain: Any, output: str, classes: Array) -> bool:
    if not isinstance(plain, bool):
        raise ValueError("expected true or false as multilabel")
    if plain and (output != "sigmoid" or not np.array_equal(classes, np.arange(len(classes)))):
        raise ValueError("several labels a sample: expected sigmoid outputs for classes 0, 1, …")
    return plain


def _epoch(plain: dict[str, Any]) -> Epoch:
    values = {field.name: plain[field.name] for field in fields(Epoch)}
    norms = tuple(float(norm) for norm in values["gradient_norms"])
    return Epoch(**{**values, "gradient_norms": norms})
