"""scikit-learn's own tests of its logistic regression, run against ours where both mean the same.

Ours stands in for their solver "lbfgs"; in tests that compare solvers, the others remain theirs.
All others of their tests are listed as left out, so that one which a new scikit-learn brings is
noticed.
"""

from __future__ import annotations

import inspect
import itertools
import warnings
from collections.abc import Iterator
from typing import Any, Self

import numpy.typing as npt
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.utils.fixes import parse_version

from bridle import SoftmaxRegression

Array = npt.NDArray[Any]

if parse_version(sklearn.__version__) < parse_version("1.9"):
    pytest.skip(
        "the lists below are those of scikit-learn 1.9; older ones have other tests",
        allow_module_level=True,
    )
THEIRS: Any = pytest.importorskip(
    "sklearn.linear_model.tests.test_logistic",
    reason="this scikit-learn came without its tests",
    exc_type=ImportError,
)

RUN = {
    "test_multinomial_logistic_regression_string_inputs",
    "test_predict_2_classes",
    "test_predict_3_classes",
    "test_logistic_glmnet",
    "test_write_parameters",
    "test_logistic_regression_solvers",
    "test_logistic_regression_solvers_multiclass",
    "test_logistic_regression_solvers_multiclass_unpenalized",
    "test_logistic_regression_sample_weights",
    "test_logistic_regression_solver_class_weights",
    "test_logistic_regression_class_weights",
    "test_warm_start",
    "test_c_inf_no_warning",
    "test_multinomial_identifiability_on_iris",
    "test_sample_weight_not_modified",
    "test_large_sparse_matrix",
    "test_single_feature_newton_cg",
}
# Of L1 and elastic-net penalties, where ours stands in for "saga"; "liblinear" remains theirs.
PENALTIES = {
    "test_logreg_l1",
    "test_elastic_net_coeffs",
    "test_elastic_net_l1_l2_equivalence",
    "test_elastic_net_vs_l1_l2",
    "test_LogisticRegression_elastic_net_objective",
    "test_elastic_net_versus_sgd",
}
RUN |= PENALTIES
# In these, only "lbfgs" is ours: what it is compared with stays scikit-learn's.
COMPARES_SOLVERS = {
    "test_logistic_regression_solvers",
    "test_logistic_regression_solvers_multiclass",
    "test_logistic_regression_solvers_multiclass_unpenalized",
}

OTHER_PENALTY = "how their options of penalties go together"
CROSS_VALIDATION = "LogisticRegressionCV"
INTERNALS = "a private function of theirs"
LIBLINEAR = "liblinear's own behaviour"
LEFT_OUT = {
    "test_check_solver_option": "options that ours has not: solver, dual",
    "test_elasticnet_l1_ratio_err_helpful": OTHER_PENALTY,
    "test_sparsify": "sparsify: ours saves few weights, and answers from an array",
    "test_inconsistent_input": "their wording; ours names both counts",
    "test_nan": "their wording; ours names the row",
    "test_consistency_path": INTERNALS,
    "test_logistic_regression_path_convergence_fail": INTERNALS,
    "test_liblinear_dual_random_state": LIBLINEAR,
    "test_logistic_cv": CROSS_VALIDATION,
    "test_logistic_cv_refit_false_non_elasticnet": CROSS_VALIDATION,
    "test_logistic_cv_mock_scorer": CROSS_VALIDATION,
    "test_logistic_cv_multinomial_score": CROSS_VALIDATION,
    "test_multinomial_cv_iris": CROSS_VALIDATION,
    "test_logistic_cv_folds_with_classes_missing": CROSS_VALIDATION,
    "test_logistic_cv_sparse": CROSS_VALIDATION,
    "test_logistic_regressioncv_class_weights": CROSS_VALIDATION,
    "test_sample_and_class_weight_equivalence_liblinear": LIBLINEAR,
    "test_liblinear_decision_function_zero": LIBLINEAR,
    "test_logreg_intercept_scaling_zero": "intercept_scaling, which is liblinear's",
    "test_logistic_regression_cv_refit": CROSS_VALIDATION,
    "test_logreg_predict_proba_multinomial": "_predict_proba_lr, a private method of theirs",
    "test_max_iter": "their wording, and n_iter_ as an array",
    "test_n_iter": "n_iter_ as an array; LogisticRegressionCV",
    "test_warm_start_newton_solver": "two fits of one step: ours remembers its first in a second",
    "test_saga_vs_liblinear": LIBLINEAR,
    "test_dtype_match": "float32 weights for float32 features: ours are float64, as the proof is",
    "test_warm_start_converge_LR": "of sag: their default tolerance, which ours has not",
    "test_LogisticRegressionCV_GridSearchCV_elastic_net": OTHER_PENALTY,
    "test_LogisticRegressionCV_no_refit": CROSS_VALIDATION,
    "test_LogisticRegressionCV_elasticnet_attribute_shapes": OTHER_PENALTY,
    "test_LogisticRegressionCV_on_folds": CROSS_VALIDATION,
    "test_l1_ratio_non_elasticnet": OTHER_PENALTY,
    "test_logistic_regression_path_coefs_multinomial": INTERNALS,
    "test_logistic_regression_path_init_coefs": INTERNALS,
    "test_penalty_none": "penalty=None, which they give up for C=inf",
    "test_logisticregression_liblinear_sample_weight": LIBLINEAR,
    "test_scores_attribute_layout_elasticnet": OTHER_PENALTY,
    "test_liblinear_with_large_values": LIBLINEAR,
    "test_liblinear_not_stuck": LIBLINEAR,
    "test_lr_cv_scores_differ_when_sample_weight_is_requested": CROSS_VALIDATION,
    "test_lr_cv_scores_without_enabling_metadata_routing": CROSS_VALIDATION,
    "test_zero_max_iter": "max_iter=0: ours asks for at least one step",
    "test_passing_params_without_enabling_metadata_routing": CROSS_VALIDATION,
    "test_newton_cholesky_fallback_to_lbfgs": "the wording of one of their solvers about another",
    "test_liblinear_multiclass_raises": LIBLINEAR,
    "test_penalty_deprecated": "their deprecations",
    "test_logisticregressioncv_warns_with_use_legacy_attributes": CROSS_VALIDATION,
    "test_l1_ratio_None_deprecated": "their deprecations",
    "test_logisticregression_warns_with_n_jobs": "their deprecations",
    "test_logistic_regression_array_api_compliance": "as test_dtype_match; else array_api_suite.py",
    "test_lr_penalty_l1ratio_incompatible": OTHER_PENALTY,
    "test_lr_scoring_warns": CROSS_VALIDATION,
    "test_get_default_scorer": CROSS_VALIDATION,
    "test_logistic_regression_array_api_warm_start": "ours is in array_api_suite.py",
    "test_logistic_regression_callback_support": "their callbacks",
    "test_logistic_regression_callback_fitted_estimator": "their callbacks",
    "test_logistic_regression_callback_support_warning": "their callbacks",
}


class Ours(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # untyped bases
    """Our estimator under their signature."""

    def __init__(
        self,
        *,
        C: float = 1.0,
        penalty: str = "elasticnet",
        l1_ratio: float = 0.0,
        tol: float = 1e-4,
        fit_intercept: bool = True,
        class_weight: Any = None,
        random_state: Any = None,  # nothing is random
        max_iter: int = 100,
        warm_start: bool = False,
    ) -> None:
        self.C = C
        self.penalty = penalty
        self.l1_ratio = l1_ratio
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.random_state = random_state
        self.max_iter = max_iter
        self.warm_start = warm_start

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        if not (self.warm_start and hasattr(self, "_model")):
            self._model = SoftmaxRegression()
        self._model.set_params(
            C=self.C,
            l1_ratio=1.0 if self.penalty == "l1" else float(self.l1_ratio),
            # Theirs bounds the gradient. Weights that agree to 1e-5 want an objective to 1e-10.
            tol=1e-12,
            fit_intercept=self.fit_intercept,
            class_weight=self.class_weight,
            # Few steps are asked for on purpose; their default counts steps of another kind.
            max_iter=self.max_iter if self.max_iter < 100 else 1000,
            warm_start=self.warm_start,
        )
        self._model.fit(X, y, sample_weight)
        self.classes_ = self._model.classes_
        self.coef_, self.intercept_ = self._model.coef_, self._model.intercept_
        return self

    def decision_function(self, X: Any) -> Array:
        return self._written().decision_function(X)

    def predict(self, X: Any) -> Array:
        return self._written().predict(X)

    def predict_proba(self, X: Any) -> Array:
        return self._written().predict_proba(X)

    def _written(self) -> SoftmaxRegression:
        """Return our model with the weights that a test may have written here."""
        self._model.coef_, self._model.intercept_ = self.coef_, self.intercept_
        return self._model


def cases(test: Any) -> Iterator[dict[str, Any]]:
    """Yield the arguments of scikit-learn's own parametrisation, of solvers the one we replace."""
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    spread = []
    for mark in marks:
        names = [name.strip() for name in mark.args[0].split(",")]
        values = [value if len(names) > 1 else (value,) for value in mark.args[1]]
        spread.append([dict(zip(names, each, strict=True)) for each in values])
    seed = inspect.signature(test).parameters.keys() & {"global_random_seed"}
    for chosen in itertools.product(*spread):
        arguments = {name: value for part in chosen for name, value in part.items()}
        if arguments.get("solver", "lbfgs") == "lbfgs":
            yield {**arguments, **dict.fromkeys(seed, 42)}


def test_every_test_of_scikit_learn_is_run_or_left_out_for_a_reason() -> None:
    present = {name for name, _ in inspect.getmembers(THEIRS, inspect.isfunction)}
    present = {name for name in present if name.startswith("test")}
    assert not RUN & set(LEFT_OUT)
    assert present - RUN - set(LEFT_OUT) == set(), "a test that this list does not know yet"
    assert RUN - present == set(), "a test that this scikit-learn no longer has"
    assert COMPARES_SOLVERS <= RUN


@pytest.mark.parametrize("name", sorted(RUN))
def test_scikit_learn(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []

    def replacement(solver: str = "lbfgs", **options: Any) -> Any:
        ours = "saga" if name in PENALTIES else "lbfgs"
        if name in COMPARES_SOLVERS | PENALTIES and solver != ours:
            return LogisticRegression(solver=solver, **options)
        built.append(Ours(**options))
        return built[-1]

    monkeypatch.setattr(THEIRS, "LogisticRegression", replacement)
    run = 0
    for arguments in cases(getattr(THEIRS, name)):
        with warnings.catch_warnings():
            # That their defaults will change; and what sag and saga leave unfinished.
            warnings.simplefilter("ignore", FutureWarning)
            if name in COMPARES_SOLVERS:
                warnings.simplefilter("ignore", ConvergenceWarning)
            getattr(THEIRS, name)(**arguments)
        run += 1
    assert run > 0
    assert len(built) > 0
