r"""Products of columns with each other where nearly all of their numbers are 0.

With ``u = (x − shift) / scale`` and z for ``x / scale``, ν for ``shift / scale``,

    Σ f u_a u_b = Σ f z_a z_b − ν_a Σ f z_b − ν_b Σ f z_a + ν_a ν_b Σ f

of which only the first sum has anything to do for each pair, and only of numbers other than 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

Array = npt.NDArray[Any]


def centred_product(columns: Any, shift: Array, scale: Array, factor: Array) -> Array:
    """Return ``Σ f u uᵀ`` (m, m) of columns (n, m), with a factor f of each row."""
    stored = sparse.csr_array(columns, dtype=np.float64, copy=True)
    stored.data /= scale[stored.indices]
    rooted = _times_rows(stored, np.sqrt(factor))
    middle, nu = factor @ stored, shift / scale
    return np.asarray((rooted.T @ rooted).toarray()) + _of_shifts(nu, middle, factor.sum())


def entry_product(
    columns: Any,
    places: npt.NDArray[np.intp],
    classes: npt.NDArray[np.intp],
    shift: Array,
    scale: Array,
    probability: Array,
    weight: Array,
) -> Array:
    """Return ``Σ s u_a u_b p_k (δ_kl − p_l)`` of entries: a column's place and a class of each.

    Classes may be more than places: the last are intercepts', whose u is 1.
    """
    probability, weight = probability.astype(np.float64), weight.astype(np.float64)
    count, size = len(places), len(classes)
    stored = sparse.csc_array(columns, dtype=np.float64)
    # An intercept is a column of zeros, 1 above its shift of −1.
    nu = np.concatenate([(shift / scale)[places], np.full(size - count, -1.0)])
    rooted_weight = np.sqrt(weight)[:, None]
    rooted = rooted_weight * probability
    entries = stored[:, places]
    entries.data /= np.repeat(scale[places], np.diff(entries.indptr))
    own_class = np.repeat(classes[:count], np.diff(entries.indptr))
    plain = entries.copy()
    entries.data = entries.data * rooted[entries.indices, own_class]
    product = np.zeros((size, size))
    product[:count, :count] = -(entries.T @ entries).toarray()
    middle = np.zeros((probability.shape[1], size))
    middle[:, :count] = rooted.T @ entries
    middle -= (rooted.T @ rooted)[:, classes] * (nu / 2)
    crossed = middle[classes]
    crossed *= nu[:, None]
    product += crossed
    product += crossed.T
    for each in np.unique(classes).tolist():
        own = np.flatnonzero(classes == each)
        of_features = own[own < count]
        factor, stored_own = weight * probability[:, each], plain[:, of_features]
        own_middle = np.zeros(len(own))
        own_middle[: len(of_features)] = factor @ stored_own
        stored_own.data *= np.sqrt(factor)[stored_own.indices]
        product[np.ix_(of_features, of_features)] += (stored_own.T @ stored_own).toarray()
        product[np.ix_(own, own)] += _of_shifts(nu[own], own_middle, factor.sum())
    return product


def _of_shifts(nu: Array, middle: Array, total: float) -> Array:
    """Return what the shifts add, of ``middle = Σ f z`` and ``total = Σ f``."""
    return np.asarray(np.stack([nu, -middle], axis=1) @ np.stack([total * nu - middle, nu]))


def _times_rows(stored: Any, factor: Array) -> Any:
    scaled = stored.copy()
    scaled.data *= np.repeat(factor, np.diff(scaled.indptr))
    return scaled
