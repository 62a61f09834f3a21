"""The scikit-learn faces of what is fitted, and their files.

=========================== ======================================================================
file                        subject
=========================== ======================================================================
``softmax_regression.py``   the classifier that is fitted to its proven optimum
``path.py``                 the same problem at many strengths of its penalty
``cross_validation.py``     the best of them by cross-validation
``prediction.py``           what a fitted classifier answers
``checkpoint.py``           a long fit's best weights, from which another run goes on
``model_file.py``           a fitted model on disk
=========================== ======================================================================
"""

from bridle.estimators.cross_validation import SoftmaxRegressionCV
from bridle.estimators.path import SoftmaxPath, softmax_regression_path
from bridle.estimators.softmax_regression import SoftmaxRegression

__all__ = [
    "SoftmaxPath",
    "SoftmaxRegression",
    "SoftmaxRegressionCV",
    "softmax_regression_path",
]
