r"""Calibrators that mix the scores: a factor for each class, or a whole matrix.

With the scores z at their best temperature, a correction of them is fitted that is penalised, so
that it stays 0 where samples are too few to tell:

    softmax(z + V z + b),   f(V, b) = Σ w_i CE_i + (‖V‖² + ‖b‖²) / (2 C Σ s),   w = s / Σ s

with s the sample weights. f is strongly convex in all that is fitted: a gradient g proves that its
point is at most ‖g‖² C Σ s / 2 above the least value.
"""

from __future__ import annotations

import math
import warnings
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

Array = npt.NDArray[Any]

_TOL = 1e-12  # nats
_LARGEST_GAP = 1e-6
_MOST_STEPS = 500
_KEPT_NUMBERS = 2**24  # of scores that are made once, not at every pass


class AffineScaling(Calibrator):
    """``softmax(z + V z + b)`` of scores z at their best temperature.

    Parameters
    ----------
    C : float
        How freely V and b may leave 0; as in scikit-learn, more samples leave more freedom. At 1 a
        matrix of ten classes follows the noise of a thousand samples.

    Attributes
    ----------
    temperature_ : float
        What the scores are divided by before; 1 where no temperature is the best.
    coef_ : ndarray, (K,) or (K, K)
        V, which for a vector is diagonal; ``z @ coef_`` is added.
    intercept_ : ndarray (K,)
        b.
    loss_, objective_ : float
        Mean cross-entropy in nats, without and with the penalty.
    gap_ : float
        How far above its optimum the objective can be at most.
    n_classes_ : int
    """

    _is_diagonal: ClassVar[bool]
    _of_log_probabilities: ClassVar[bool] = False

    temperature_: float
    coef_: Array
    intercept_: Array
    loss_: float
    objective_: float
    gap_: float

    def __init__(self, C: float = 0.01) -> None:
        self.C = C

    def _fit(self, answers: Answers) -> None:
        penalty = 1 / (checks.positive(self.C, "C") * answers.total)
        first = TemperatureScaling()
        first._fit(answers)
        # At 0 or ∞ nothing would be left of the scores.
        usable = 0 < first.temperature_ < math.inf
        self.temperature_ = first.temperature_ if usable else 1.0
        problem = _Problem(self, answers, penalty, self._is_diagonal)
        with np.errstate(
            invalid="ignore"
        ):  # SciPy's boundary of the trust region, at its first step
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
            warnings.warn(
                f"the calibrator may be {self.gap_:.1g} nats above its optimum",
                ConvergenceWarning,
                stacklevel=2,
            )

    def _log_proba(self, block: Array) -> Array:
        scores = self.scores(block)
        return log_softmax(mixed(scores, self.coef_, self.intercept_))

    def scores(self, block: Array) -> Array:
        """Return the scores that are mixed, at their temperature."""
        if np.isneginf(block).any():
            expected = "finite scores, which can be mixed"
            raise checks.InputError.of("scores", expected=expected, found="-inf")
        scores = log_softmax(block) if self._of_log_probabilities else block
        return divided(scores, self.temperature_)

    def _contents(self) -> dict[str, Array]:
        figures = np.array([self.temperature_, self.loss_, self.objective_, self.gap_])
        return {"figures": figures, "coef": self.coef_, "intercept": self.intercept_}

    def _restore(self, tensors: dict[str, Array]) -> None:
        self.temperature_, self.loss_, self.objective_, self.gap_ = tensors["figures"].tolist()
        self.coef_, self.intercept_ = tensors["coef"], tensors["intercept"]
        count = self.n_classes_
        shape = (count,) if self._is_diagonal else (count, count)
        if self.coef_.shape != shape or self.intercept_.shape != (count,):
            raise ValueError(f"expected weights of {count} classes")


class VectorScaling(AffineScaling):
    """``softmax(a ∘ z / T + b)``: a factor and a bias for each class; see `AffineScaling`.

    Examples
    --------
    >>> scores = np.log([[0.8, 0.2], [0.8, 0.2], [0.3, 0.7], [0.3, 0.7]])
    >>> model = VectorScaling(C=100.0).fit(scores, [0, 1, 1, 1])
    >>> model.predict_proba(scores).round(2)[[0, 2], 1]
    array([0.51, 0.98])

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, *On Calibration of Modern Neural Networks*, 2017.
    """

    kind = "vector"
    _is_diagonal = True


class MatrixScaling(AffineScaling):
    """``softmax(A z / T + b)``: every class's score from all of them; see `AffineScaling`.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, *On Calibration of Modern Neural Networks*, 2017.
    """

    kind = "matrix"
    _is_diagonal = False


class DirichletScaling(AffineScaling):
    """Matrix scaling of log-probabilities, which an offset of the scores does not change.

    References
    ----------
    M. Kull et al., *Beyond temperature scaling: Obtaining well-calibrated multi-class probabilities
    with Dirichlet calibration*, NeurIPS 2019.
    """

    kind = "dirichlet"
    _is_diagonal = False
    _of_log_probabilities = True


def mixed(scores: Array, coef: Array, intercept: Array) -> Array:
    """Return ``z + V z + b``."""
    change = scores * coef if coef.ndim == 1 else scores @ coef
    change += scores
    change += intercept
    return np.asarray(change)


@dataclass
class _Problem:
    """The penalised mean loss as a function of one vector: V, then b."""

    model: AffineScaling
    answers: Answers
    penalty: float
    is_diagonal: bool

    def __post_init__(self) -> None:
        kept = self.answers.classes * len(self.answers.target) <= _KEPT_NUMBERS
        self._kept = list(self._made()) if kept else None

    @property
    def size(self) -> int:
        """How many numbers are fitted."""
        count = self.answers.classes
        return 2 * count if self.is_diagonal else count * (count + 1)

    def parts(self, vector: Array) -> tuple[Array, Array]:
        """Return V and b."""
        count = self.answers.classes
        coef, intercept = vector[:-count], vector[-count:]
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
        return np.concatenate([coef, residual.sum(axis=0)])

    def _blocks(self) -> Iterator[tuple[Array, Array, Array]]:
        yield from self._made() if self._kept is None else self._kept

    def _made(self) -> Iterator[tuple[Array, Array, Array]]:
        for scores, target, weight in self.answers.blocks():
            yield self.model.scores(scores), target, weight
