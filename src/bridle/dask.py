"""Fits on a Dask cluster, whose workers keep the rows.

A dask array or data frame goes to `SoftmaxRegression.fit`, `SoftmaxRegressionCV.fit` and
`softmax_regression_path` like any other; here are files that each worker reads for itself.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks, data
from bridle.estimators import (
    SoftmaxPath,
    SoftmaxRegression,
    SoftmaxRegressionCV,
    softmax_regression_path,
)
from bridle.estimators.cluster import Parts
from bridle.fit.readers.cluster import results_of
from bridle.ranks import DEFAULT_TIMEOUT, ClusterError

__all__ = ["ClusterError", "fit", "fit_cv", "fit_path"]


def fit(
    client: Any,
    shards: Sequence[str | os.PathLike[str]],
    *,
    target: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    **settings: Any,
) -> SoftmaxRegression:
    """Fit softmax regression to the rows of many files, each of which a worker reads and keeps.

    Parameters
    ----------
    client : distributed.Client
        The cluster, whose workers see the files under the same names.
    shards : sequence of paths
        Files as `bridle.data.load` takes them, all with the same features. Each is one part: a
        pass is a task for each of them, and a tree of merges. A part whose worker is lost is read
        again by another.
    target : str, optional
        The column, or the array, that holds the labels; else `bridle.data.load` finds it.
    timeout : float
        Seconds without any worker after which the fit ends with an error.
    **settings
        The parameters of `SoftmaxRegression`.

    Returns
    -------
    SoftmaxRegression
        Fitted to the optimum over all rows.

    Raises
    ------
    InputError
        No shards, or what is wrong with one of them.
    ClusterError
        The cluster has no workers, or loses them again and again.

    Examples
    --------
    >>> from distributed import Client                             # doctest: +SKIP
    >>> client = Client("tcp://scheduler:8786")                    # doctest: +SKIP
    >>> fit(client, ["a.npz", "b.npz"], C=0.1).fit_report_.proven  # doctest: +SKIP
    True
    """
    parts, known = _parts(client, shards, target, timeout)
    model = SoftmaxRegression(**settings).fit(parts, (), timeout=timeout)
    _remember(model, known)
    return model


def fit_cv(
    client: Any,
    shards: Sequence[str | os.PathLike[str]],
    Cs: str | int | npt.ArrayLike = 10,
    *,
    target: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    **settings: Any,
) -> SoftmaxRegressionCV:
    """Choose ``C`` by cross-validation over the rows of many files, and fit all of them with it.

    Parameters
    ----------
    client, shards, target, timeout
        As in `fit`.
    Cs, **settings
        The parameters of `SoftmaxRegressionCV`. ``cv`` is a number of folds, those of all rows in
        the order of the shards, or scikit-learn's `PredefinedSplit` of all rows; ``scoring`` is
        ``"neg_log_loss"``.

    Returns
    -------
    SoftmaxRegressionCV
        Fitted at the best ``C``.

    Raises
    ------
    InputError, ClusterError
        As `fit`; what `SoftmaxRegressionCV.fit` refuses.

    Examples
    --------
    >>> from distributed import Client                                     # doctest: +SKIP
    >>> client = Client("tcp://scheduler:8786")                            # doctest: +SKIP
    >>> fit_cv(client, ["a.npz", "b.npz"], [0.01, 0.1, 1.0], cv=3).C_      # doctest: +SKIP
    0.1
    """
    parts, known = _parts(client, shards, target, timeout)
    model = SoftmaxRegressionCV(Cs, **settings).fit(parts, (), timeout=timeout)
    _remember(model, known)
    _remember(model.best_estimator_, known)
    return model


def fit_path(
    client: Any,
    shards: Sequence[str | os.PathLike[str]],
    Cs: str | int | npt.ArrayLike = 10,
    *,
    target: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    **settings: Any,
) -> SoftmaxPath:
    """Fit the rows of many files for each of several ``C``, every one to its proven optimum.

    Parameters
    ----------
    client, shards, target, timeout
        As in `fit`.
    Cs, **settings
        The parameters of `softmax_regression_path`.

    Returns
    -------
    SoftmaxPath
        The weights and a report for each ``C``.

    Raises
    ------
    InputError, ClusterError
        As `fit`; no ``C``, or one that is not above 0.

    Examples
    --------
    >>> from distributed import Client                                     # doctest: +SKIP
    >>> client = Client("tcp://scheduler:8786")                            # doctest: +SKIP
    >>> fit_path(client, ["a.npz", "b.npz"], [0.1, 1.0]).coefs.shape       # doctest: +SKIP
    (2, 10, 64)
    """
    parts, _ = _parts(client, shards, target, timeout)
    return softmax_regression_path(parts, (), Cs, timeout=timeout, **settings)


def _parts(
    client: Any, shards: Sequence[str | os.PathLike[str]], target: str | None, timeout: float
) -> tuple[Parts, dict[str, Any]]:
    """Return the rows of files, each on a worker, and what is known of the first."""
    if isinstance(shards, str | os.PathLike):
        raise checks.InputError.of(
            "shards", expected="a list of files", found=f"one name, {os.fspath(shards)!r}"
        )
    if not shards:
        raise checks.InputError.of("shards", expected="at least one file", found="none")
    paths = [os.fspath(each) for each in shards]
    first = client.submit(_loaded, paths[0], target, pure=False)
    # The others are read as the first was: columns by their names, words by its words.
    (known,) = results_of(client, [client.submit(_known_of, first, pure=False)], timeout)
    others = [client.submit(_loaded, path, target, known, pure=False) for path in paths[1:]]
    loaded = [first, *others]
    (empty,) = results_of(client, [client.submit(_without_rows, first, pure=False)], timeout)
    return Parts(client, client.map(_triple, loaded, pure=False), empty, paths), known


def _remember(model: SoftmaxRegression | SoftmaxRegressionCV, known: dict[str, Any]) -> None:
    """Keep with a classifier how the files were read, as later ones will be."""
    if known["feature_names"] is not None:
        model.feature_names_in_ = np.array(known["feature_names"], dtype=object)
    model.reading_ = known["fitted"].to_plain()


def _loaded(path: str, target: str | None, known: dict[str, Any] | None = None) -> data.Dataset:
    return data.load(path, target=target, **(known or {}))


def _known_of(dataset: data.Dataset) -> dict[str, Any]:
    """Return what is told of a fit's files to read others like them."""
    return {
        "feature_names": dataset.feature_names,
        "width": dataset.features.shape[1],
        "fitted": dataset.reading,
        "usual_target": dataset.target_name,
    }


def _triple(dataset: data.Dataset) -> tuple[Any, Any, None]:
    return dataset.features, dataset.target, None


def _without_rows(dataset: data.Dataset) -> Any:
    return dataset.features.take(np.zeros(0, np.intp))
