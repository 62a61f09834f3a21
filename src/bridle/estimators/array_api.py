"""scikit-learn's array API dispatch: fitted numbers and answers lie where the features do.

Under ``sklearn.set_config(array_api_dispatch=True)`` a classifier's fitted numbers are arrays of
the library that its features in `fit` were of, on their device, and so are its answers. Features of
another library or device are refused then, with scikit-learn's own words. What is in between is
computed as ever: a fit to PyTorch's tensors on their device, all else on the host.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn import config_context, get_config
from sklearn.utils import _array_api
from sklearn.utils.validation import check_is_fitted

from bridle.rows import Features, Rows
from bridle.tensors import is_tensor, on_host

Array = npt.NDArray[Any]
Method = TypeVar("Method", bound=Callable[..., Any])


class Place(NamedTuple):
    """A library of arrays, and a device of its."""

    namespace: Any
    device: Any

    @classmethod
    def of(cls, array: Any) -> Place | None:
        """Return where an array lies, if dispatch is on and it is not NumPy's; else None."""
        if not (get_config()["array_api_dispatch"] and _is_foreign(array)):
            return None
        found = _array_api.get_namespace_and_device(array)
        return cls(found[0], found[2])

    def moved(self, array: Array) -> Any:
        """Return an array of NumPy's there; one of a dtype that is unknown there as it is."""
        if not hasattr(self.namespace, array.dtype.name):
            return array
        dtype = array.dtype.newbyteorder("=")
        widest = _array_api._max_precision_float_dtype(*self)
        if dtype == np.float64 and widest == self.namespace.float32:
            dtype = np.dtype(np.float32)
        native = np.ascontiguousarray(array, dtype)
        return self.namespace.asarray(native, device=self.device)


def as_numpy(array: Any) -> Any:
    """Return an array of any library as NumPy's, and what is no array as it is.

    Of a tuple or a dict, each of those in it.
    """
    if is_tensor(array):
        return on_host(array)
    if type(array) is tuple:
        return tuple(as_numpy(each) for each in array)
    if type(array) is dict:
        return {name: as_numpy(each) for name, each in array.items()}
    if not _is_foreign(array):
        return array
    with config_context(array_api_dispatch=True):
        namespace, *_ = _array_api.get_namespace_and_device(array)
    return _array_api._convert_to_numpy(array, namespace)


def for_metrics(*given: Any) -> tuple[Any, ...]:
    """Return labels and weights as scikit-learn's metrics take them: on the host, or dispatched."""
    return given if get_config()["array_api_dispatch"] else tuple(map(on_host, given))


class ArrayApiSupport:
    """An estimator whose fitted arrays lie where its features do, under array API dispatch.

    The labels in ``classes_`` stay NumPy's, as text has to.
    """

    def score(
        self, X: Features, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> float:
        """Return the share of the samples whose class is predicted.

        Parameters
        ----------
        X : (N, D)
            As in `fit`.
        y : array-like (N,)
            Their classes. A tensor may lie on any device.
        sample_weight : array-like (N,), optional
            What each sample counts.
        """
        found: float = super().score(X, *for_metrics(y, sample_weight))  # type: ignore[misc]
        return found

    @property
    def _fitted_array(self) -> Any:
        """One of the fitted arrays, by which features are known to lie elsewhere; None for none."""
        raise NotImplementedError

    def _move_fitted(self, move: Callable[[Array], Any]) -> None:
        for name, value in vars(self).items():
            if name.endswith("_") and name != "classes_":
                setattr(self, name, _moved(value, move))

    def _check_place(self, X: Any, method: str) -> None:
        """Refuse features that lie elsewhere than the fitted arrays, as scikit-learn does.

        That has been so since its version 1.9. `Rows` are read wherever they are.
        """
        check_is_fitted(self)
        check = getattr(_array_api, "check_same_namespace", None)
        if check is None or self._fitted_array is None or isinstance(X, Rows):
            return
        is_array = _is_foreign(X) or isinstance(X, np.ndarray) or sparse.issparse(X)
        # A list stands for what is no array: scikit-learn does not know all tables.
        check(X if is_array else [], self, attribute="_fitted_array", method=method)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]  # of scikit-learn's base
        tags.array_api_support = True
        return tags


def fitting_where_the_features_are(fit: Method) -> Method:
    """Return a method that fits, and leaves the fitted numbers where the features are.

    Those are its first argument.
    """
    signature = inspect.signature(fit)

    @wraps(fit)
    def fitted(*given: Any, **named: Any) -> Any:
        if not get_config()["array_api_dispatch"]:
            return fit(*given, **named)
        told = signature.bind(*given, **named)
        estimator, features = list(told.arguments.values())[:2]
        place = Place.of(features)
        _make_readable(told)
        # Labels, folds and scorers are NumPy's in a fit, whatever the features are.
        with config_context(array_api_dispatch=False):
            fit(*told.args, **told.kwargs)
        if place is not None:
            estimator._move_fitted(place.moved)
        return estimator

    return fitted  # type: ignore[return-value]  # of one signature


def answering_where_the_features_are(answer: Method) -> Method:
    """Return a method whose numbers lie where the features do, as those of the fit have to."""
    signature = inspect.signature(answer)

    @wraps(answer)
    def answered(*given: Any, **named: Any) -> Any:
        if not get_config()["array_api_dispatch"]:
            return answer(*given, **named)
        told = signature.bind(*given, **named)
        estimator, features = list(told.arguments.values())[:2]
        estimator._check_place(features, answer.__name__)
        place = Place.of(features)
        _make_readable(told)
        with config_context(array_api_dispatch=False):
            found = answer(*told.args, **told.kwargs)
        return found if place is None else place.moved(found)

    return answered  # type: ignore[return-value]  # of one signature


def _make_readable(told: inspect.BoundArguments) -> None:
    """Make all arguments NumPy's, but features that are a tensor, which a fit reads where it is."""
    for place, (name, value) in enumerate(told.arguments.items()):
        if place > 1 or not is_tensor(value):
            told.arguments[name] = as_numpy(value)


def _moved(value: Any, move: Callable[[Array], Any]) -> Any:
    if isinstance(value, np.ndarray):
        return move(value)
    if type(value) is list:
        return [_moved(each, move) for each in value]
    if isinstance(value, ArrayApiSupport):
        value._move_fitted(move)
    return value


def _is_foreign(array: Any) -> bool:
    if isinstance(array, np.ndarray | np.generic):
        return False
    marks = ("__array_namespace__", "__cuda_array_interface__")
    return is_tensor(array) or any(hasattr(array, mark) for mark in marks)
