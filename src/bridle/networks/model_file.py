"""A fitted network on disk: safetensors for the numbers, JSON for the rest."""

from __future__ import annotations

import os
from dataclasses import asdict, fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bridle import checks, files
from bridle.estimators import model_file
from bridle.networks import backpropagation
from bridle.networks.training import Epoch

if TYPE_CHECKING:
    from bridle.networks.classifier import NetworkClassifier

Array = npt.NDArray[Any]

FORMAT = "bridle.NetworkClassifier"
_VERSION = 1


def save(model: NetworkClassifier, path: str | os.PathLike[str]) -> None:
    """Write a fitted network, whole or not at all."""
    files.write_whole(path, content(model))


def content(model: NetworkClassifier) -> bytes:
    """Return a fitted network as the bytes of its file."""
    description = {
        **model_file.classifier_description(model),
        "parameters": _plain_parameters(model.get_params()),
        "sizes": [len(model.coefs_[0]), *(len(bias) for bias in model.intercepts_)],
        "multilabel": model.multilabel_,
        "history": [asdict(epoch) for epoch in model.history_],
    }
    tensors = {}
    for place, (weight, bias) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        tensors[f"weight_{place}"] = np.ascontiguousarray(weight)
        tensors[f"bias_{place}"] = np.ascontiguousarray(bias)
    return model_file.to_bytes(FORMAT, _VERSION, description, tensors)


def restore(model: NetworkClassifier, path: str | os.PathLike[str]) -> None:
    """Fill a new model from a file that `save` wrote."""
    tensors, description = model_file.read(path, FORMAT, _VERSION)
    try:
        model.set_params(**_parameters(description["parameters"]))
        backpropagation.network(model.activation, model.output, model.cost)
        classes, names = model_file.classes_and_names(description)
        model_file.restore_account_of_files(model, description)
        sizes = [int(size) for size in description["sizes"]]
        layers = range(len(sizes) - 1)
        coefs = [tensors[f"weight_{place}"] for place in layers]
        intercepts = [tensors[f"bias_{place}"] for place in layers]
        history = [_epoch(entry) for entry in description["history"]]
        multilabel = _multilabel(description["multilabel"], model.output, classes)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise checks.InputError(f"{path}: no readable bridle network ({error})") from None
    hidden = list(model.hidden_layer_sizes)
    expected = [*hidden, len(classes)] if classes.ndim == 1 else []
    if sizes[1:] != expected or not _have_sizes(coefs, intercepts, names, sizes):
        raise checks.InputError(f"{path}: the network's weights and classes do not fit together")
    model.coefs_, model.intercepts_, model.classes_ = coefs, intercepts, classes
    model.n_features_in_, model.n_iter_, model.history_ = len(coefs[0]), len(history), history
    model.multilabel_ = multilabel
    if names:
        model.feature_names_in_ = np.array(names, dtype=object)


def _have_sizes(
    coefs: list[Array], intercepts: list[Array], names: list[str], sizes: list[int]
) -> bool:
    one_dtype = len({values.dtype for values in [*coefs, *intercepts]}) == 1
    weights = all(
        weight.shape == shape for weight, shape in zip(coefs, pairwise(sizes), strict=True)
    )
    biases = all(bias.shape == (size,) for bias, size in zip(intercepts, sizes[1:], strict=True))
    return one_dtype and weights and biases and len(names) in (0, sizes[0])


def _multilabel(plain: Any, output: str, classes: Array) -> bool:
    if not isinstance(plain, bool):
        raise ValueError("expected true or false as multilabel")
    if plain and (output != "sigmoid" or not np.array_equal(classes, np.arange(len(classes)))):
        raise ValueError("several labels a sample: expected sigmoid outputs for classes 0, 1, …")
    return plain


def _plain_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    plain = model_file.with_plain_class_weight(parameters)
    random = plain["random_state"]
    if random is not None and not isinstance(random, int | np.integer):
        raise checks.InputError("random_state: expected a number or None to save")
    sizes = plain["hidden_layer_sizes"]
    given = [sizes] if isinstance(sizes, int | np.integer) else sizes
    plain["hidden_layer_sizes"] = [int(size) for size in given]
    return {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in plain.items()
    }


def _parameters(plain: dict[str, Any]) -> dict[str, Any]:
    parameters = model_file.with_class_weight(plain)
    return {**parameters, "hidden_layer_sizes": tuple(parameters["hidden_layer_sizes"])}


def _epoch(plain: dict[str, Any]) -> Epoch:
    values = {field.name: plain[field.name] for field in fields(Epoch)}
    norms = tuple(float(norm) for norm in values["gradient_norms"])
    return Epoch(**{**values, "gradient_norms": norms})
