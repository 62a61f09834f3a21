r"""Calibrators that mix the scores: a factor for each class, or a whole matrix.

Of the scores z at their best temperature T, logarithms of probabilities are taken, and a correction
of those is fitted that is penalised, so that it stays 0 where samples are too few to tell:

    q = (1 − ε) softmax(z / T) + ε / K,   ε = 1 / (1 + Σ s)
    p = softmax(log q + V log q + b)
    f(V, b) = Σ w_i CE_i + (K (‖diag V‖² + ‖b‖²) + K (K − 1) ‖off V‖²) / (C Σ s),   w = s / Σ s

with s the sample weights: weight k is k samples. ε is what one more sample of any class would leave
to each: of probabilities far below it so few samples tell nothing, and their logarithms, which grow
without end, would be multiplied by V. The more numbers there are of a kind (K on the diagonal,
K (K − 1) off it), the more each is penalised, so that together they have as much freedom whatever K
is. With each number times the root of its penalty f is strongly convex: there a gradient g proves
that its point is at most ‖g‖² C Σ s / 4 above the least value.

Reference: E. Berta, D. Holzmüller, M. I. Jordan, F. Bach, *Structured Matrix Scaling for
Multi-Class Calibration*, AISTATS 2026, whose penalty, ε and C = 1 these are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from bridle import checks
from bridle.calibrate.base import Answers, Calibrator, log_softmax
from bridle.calibrate.temperature import TemperatureScaling, divided
from bridle.estimators.array_api import as_numpy

Array = npt.NDArray[Any]

_TOL = 1e-12  # nats
_LARGEST_GAP = 1e-6
_MOST_STEPS = 500
_KEPT_NUMBERS = 2**24  # of scores that are made once, not at every pass


class AffineScaling(Calibrator):
    """``softmax(log q + V log q + b)`` of probabilities q at their best temperature.

    Parameters
    ----------
    C : float
        How freely V and b may leave 0; as in scikit-learn, more samples leave more freedom.

    Attributes
    ----------
    temperature_ : float
        What the scores are divided by before; 1 where no temperature is the best.
    floor_ : float
        ε: how much of a uniform guess is mixed in before logarithms are taken.
    coef_ : ndarray, (K,) or (K, K)
        V, which for a vector is diagonal; ``log q @ coef_`` is added.
    intercept_ : ndarray (K,)
        b.
    loss_, objective_ : float
        Mean cross-entropy in nats, without and with the penalty.
    gap_ : float
        How far above its optimum the objective can be at most.
    classes_, n_features_in_, feature_names_in_
        As in scikit-learn: a feature is the score of a class.
    """

    _is_diagonal: ClassVar[bool]

    temperature_: float
    floor_: float
    coef_: Array
    intercept_: Array
    loss_: float
    objective_: float
    gap_: float

    def __init__(self, C: float = 1.0) -> None:
        self.C = C

    @property
    def _fitted_array(self) -> Any:
        return self.coef_

    def _fit(self, answers: Answers) -> None:
        penalty = 2 / (checks.positive(self.C, "C") * answers.total)
        first = TemperatureScaling()
        first._fit(answers)
        # At 0 or ∞ nothing would be left of the scores.
        usable = 0 < first.temperature_ < math.inf
        self.temperature_ = first.temperature_ if usable else 1.0
        self.floor_ = 1 / (1 + answers.total)
        problem = _Problem(self, answers, penalty, self._is_diagonal)
        # SciPy's boundary of the trust region, at its first step.
        with np.errstate(invalid="ignore", over="ignore"):
            found = minimize(
                problem.value_and_gradient,
                np.zeros(problem.size),
                jac=True,
                hessp=problem.hessian_product,
                method="trust-krylov",
                options={"gtol": math.sqrt(_TOL * penalty), "maxiter": _MOST_STEPS},
            )
        self.coef_, self.intercept_ = problem.parts(found.x)
        self.objective_, gradient = problem.value_and_gradient(found.x)
        self.loss_ = self.objective_ - penalty / 2 * float(found.x @ found.x)
        self.gap_ = float(gradient @ gradient) / (2 * penalty)
        if self.gap_ > _LARGEST_GAP:
            checks.warn(
                f"the calibrator may be {self.gap_:.1g} nats above its optimum",
                ConvergenceWarning,
            )

    def _log_proba(self, block: Array) -> Array:
        coef, intercept = as_numpy(self.coef_), as_numpy(self.intercept_)
        return log_softmax(mixed(self.logarithms(block), coef, intercept))

    def logarithms(self, block: Array) -> Array:
        """Return log q, which is mixed."""
        masked = np.isneginf(block).any(axis=0)
        if masked.any():
            expected = "finite scores of every class, which can be mixed"
            found = f"-inf of class {int(np.argmax(masked))}"
            raise checks.InputError.of("scores", expected=expected, found=found)
        logarithms = log_softmax(divided(block, self.temperature_))
        # (1 − ε) exp(log p) + ε / K, without leaving the logarithms.
        most, least = math.log1p(-self.floor_), math.log(self.floor_ / block.shape[1])
        return np.asarray(np.logaddexp(logarithms + most, least))

    def _contents(self) -> dict[str, Array]:
        known = (self.temperature_, self.floor_, self.loss_, self.objective_, self.gap_)
        figures = np.array(known)
        coef, intercept = as_numpy(self.coef_), as_numpy(self.intercept_)
        return {"figures": figures, "coef": coef, "intercept": intercept}

    def _restore(self, tensors: dict[str, Array]) -> None:
        self.temperature_, self.floor_, *proof = tensors["figures"].tolist()
        self.loss_, self.objective_, self.gap_ = proof
        self.coef_, self.intercept_ = tensors["coef"], tensors["intercept"]
        count = self.n_classes_
        shape = (count,) if self._is_diagonal else (count, count)
        if self.coef_.shape != shape or self.intercept_.shape != (count,):
            raise ValueError(f"expected weights of {count} classes")
        if not (self.temperature_ > 0 and 0 < self.floor_ < 1):
            raise ValueError("expected a temperature above 0 and a floor in (0, 1)")


class VectorScaling(AffineScaling):
    """A factor and a bias for each class's logarithm; see `AffineScaling`.

    Examples
    --------
    >>> scores = np.log([[0.8, 0.2], [0.8, 0.2], [0.3, 0.7], [0.3, 0.7]])
    >>> model = VectorScaling(C=1000.0).fit(scores, [0, 1, 1, 1])
    >>> model.predict_proba(scores).round(2)[[0, 2], 1]
    array([0.51, 0.99])

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, *On Calibration of Modern Neural Networks*, 2017.
    """

    kind = "vector"
    _is_diagonal = True


class MatrixScaling(AffineScaling):
    """Every class's score from the logarithms of all; see `AffineScaling`.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, *On Calibration of Modern Neural Networks*, 2017.
    """

    kind = "matrix"
    _is_diagonal = False


class DirichletScaling(AffineScaling):
    """Matrix scaling under the name that it has of log-probabilities.

    `MatrixScaling` takes the logarithms of probabilities too, which an offset of the scores does
    not change: the two are the same.

    References
    ----------
    M. Kull et al., *Beyond temperature scaling: Obtaining well-calibrated multi-class probabilities
    with Dirichlet calibration*, NeurIPS 2019.
    """

    kind = "dirichlet"
    _is_diagonal = False


def mixed(scores: Array, coef: Array, intercept: Array) -> Array:
    """Return ``z + V z + b``."""
    change = scores * coef if coef.ndim == 1 else scores @ coef
    change += scores
    change += intercept
    return np.asarray(change)


@dataclass
class _Problem:
    """The penalised mean loss as a function of one vector: V, then b, times √penalty of each."""

    model: AffineScaling
    answers: Answers
    penalty: float
    is_diagonal: bool

    def __post_init__(self) -> None:
        kept = self.answers.classes * len(self.answers.target) <= _KEPT_NUMBERS
        self._kept = list(self._made()) if kept else None
        count = self.answers.classes
        shares = np.full((count, count), float(count * (count - 1)))
        np.fill_diagonal(shares, count)
        coef = shares.diagonal() if self.is_diagonal else shares.ravel()
        self._units = np.sqrt(np.concatenate([coef, np.full(count, float(count))]))

    @property
    def size(self) -> int:
        """How many numbers are fitted."""
        count = self.answers.classes
        return 2 * count if self.is_diagonal else count * (count + 1)

    def parts(self, vector: Array) -> tuple[Array, Array]:
        """Return V and b."""
        count, numbers = self.answers.classes, vector / self._units
        coef, intercept = numbers[:-count], numbers[-count:]
        return coef if self.is_diagonal else coef.reshape(count, count), intercept

    def value_and_gradient(self, vector: Array) -> tuple[float, Array]:
        """Return the objective and its gradient."""
        value, gradient = self.penalty / 2 * float(vector @ vector), self.penalty * vector
        for scores, target, weight in self._blocks():
            logarithms = log_softmax(mixed(scores, *self.parts(vector)))
            rows = np.arange(len(target))
            value -= float(weight @ logarithms[rows, target])
            residual = np.exp(logarithms)
            residual[rows, target] -= 1
            residual *= weight[:, None]
            gradient = gradient + self._back(scores, residual)
        return value, gradient

    def hessian_product(self, vector: Array, direction: Array) -> Array:
        """Return the Hessian times a direction."""
        coef, intercept = self.parts(direction)
        product = self.penalty * direction
        for scores, _, weight in self._blocks():
            probability = np.exp(log_softmax(mixed(scores, *self.parts(vector))))
            change = mixed(scores, coef, intercept) - scores
            change -= np.einsum("nk,nk->n", probability, change)[:, None]
            change *= probability * weight[:, None]
            product = product + self._back(scores, change)
        return np.asarray(product)

    def _back(self, scores: Array, residual: Array) -> Array:
        if self.is_diagonal:
            coef = np.einsum("nk,nk->k", scores, residual)
        else:
            coef = (scores.T @ residual).ravel()
        return np.asarray(np.concatenate([coef, residual.sum(axis=0)]) / self._units)

    def _blocks(self) -> Iterator[tuple[Array, Array, Array]]:
        yield from self._made() if self._kept is None else self._kept

    def _made(self) -> Iterator[tuple[Array, Array, Array]]:
        for scores, target, weight in self.answers.blocks():
            yield self.model.logarithms(scores), target, weight
