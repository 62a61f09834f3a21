"""How the weights of a fit become those of a classifier, and back.

A fit has a vector of weights for every class that counts. A classifier has one row for each class,
those without weight included; of two classes, as in scikit-learn, only the difference of the two.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]


class Layout(NamedTuple):
    """Which classes have vectors of their own, in a fit and in the classifier."""

    counted: npt.NDArray[np.bool_]  # (K,): the classes that are fitted
    symmetric: bool  # two vectors for two classes

    @property
    def one_vector(self) -> bool:
        """Whether two classes share one vector, whose sign tells them apart."""
        return len(self.counted) == 2 and not self.symmetric

    def strength(self, C: float) -> float:
        """Return the strength that the fit of one vector for each class needs.

        Two classes' vectors are opposite at the optimum: ``W = (−w, w) / 2`` has half the squares
        of their difference ``w``, on which scikit-learn's penalty is.

        >>> Layout(np.array([True, True]), symmetric=False).strength(1.0)
        0.5
        """
        return C / 2 if self.one_vector else C

    def fitted(self, weight: Array, intercept: Array) -> tuple[Array, Array]:
        """Return ``coef_`` (K, D), or (1, D), and ``intercept_`` of a fit's (D, K'), (K',).

        A class that did not count has probability 0 at the optimum: its intercept is −∞.
        """
        whole = np.zeros((len(self.counted), len(weight)))
        whole[self.counted] = weight.T
        offset = np.full(len(self.counted), -np.inf)
        offset[self.counted] = intercept
        if self.one_vector:
            return whole[1:] - whole[:1], offset[1:] - offset[:1]
        return whole, offset

    def of_fit(self, coef: Array, intercept: Array) -> tuple[Array, Array] | None:
        """Return a fit's weights of `fitted` ones; None if one of them was left out there."""
        if self.one_vector:
            coef = np.vstack([-coef / 2, coef / 2])
            intercept = np.concatenate([-intercept / 2, intercept / 2])
        weight, offset = coef[self.counted].T, intercept[self.counted]
        return (weight, offset) if np.isfinite(offset).all() else None
