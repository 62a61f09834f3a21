"""The scikit-learn faces of what is fitted, and their files.

=========================== ======================================================================
file                        subject
=========================== ======================================================================
``base.py``                 what all classifiers share: features and targets in, classes out
``array_api.py``            scikit-learn's array API dispatch: arrays of other libraries
``softmax_classifier.py``   what those with linear scores share
``problem.py``              what all fits to an optimum begin with: objective and reader
``softmax_regression.py``   the classifier that is fitted to its proven optimum
``path.py``                 the same problem at many strengths of its penalty
``cross_validation.py``     the best of them by cross-validation
``to_scikit_learn.py``      either of them as scikit-learn's ``LogisticRegression``, fitted
``network_classifier.py``   the classifier with hidden layers
``network_settings.py``     its parameters and arguments, checked
``network_targets.py``      what its targets are: labels, distributions, several labels a sample
``network_file.py``         what only its file holds
``classifier_file.py``      a fitted classifier on disk
``model_file.py``           what every file of ours is, by format
``loading.py``              a classifier from its file, whichever it is
``checkpoint.py``           a long fit's best weights, from which another run goes on
=========================== ======================================================================
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bridle.estimators.cross_validation import SoftmaxRegressionCV
from bridle.estimators.path import SoftmaxPath, softmax_regression_path
from bridle.estimators.softmax_regression import SoftmaxRegression

if TYPE_CHECKING:
    from bridle.estimators.loading import load_model
    from bridle.estimators.network_classifier import NetworkClassifier

__all__ = [
    "NetworkClassifier",
    "SoftmaxPath",
    "SoftmaxRegression",
    "SoftmaxRegressionCV",
    "load_model",
    "softmax_regression_path",
]

# Networks are trained by compiled code, whose compiler a small fit need not wait for.
_LATE = {
    "NetworkClassifier": "bridle.estimators.network_classifier",
    "load_model": "bridle.estimators.loading",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module 'bridle.estimators' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
