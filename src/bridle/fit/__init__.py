"""Fit the last layer to its exact optimum, with proof.

=========================== ======================================================================
file                        subject
=========================== ======================================================================
``passes.py``               one pass over the data: the sums of loss and gradient
``tensor_pass.py``          the same of PyTorch tensors, on their device
``objective.py``            mean cross-entropy, penalty, gradient; the data's statistics
``sparse.py``               sparse features as their products want them
``sparse_pass.py``          a pass over them, and products with the Hessian
``gap.py``                  how far from the optimum a point can be at most: the duality gap
``watch.py``                what is known of a fit while it runs, and who is told
``metric.py``               the curvature that turns a gradient into a good direction
``hessian.py``              the whole curvature of a small problem
``memory.py``               what the last steps did to the gradient
``quasi_newton.py``         L-BFGS in that metric, until the gap is proven
``newton.py``               Newton's method by conjugate gradients, for sparse features
``solver.py``               which of them a problem goes to; several problems in the same passes
``threads.py``              how many threads the libraries' products take meanwhile
``targets.py``              labels or distributions, and their weights, as the objective wants them
``report.py``               what is known about a fit when it ends
``prediction.py``           what a fitted classifier answers
``softmax_regression.py``   the scikit-learn classifier around all of it
``path.py``                 the same problem at many strengths of its penalty
``cross_validation.py``     the best of them by cross-validation
``checkpoint.py``           a long fit's best weights, from which another run goes on
``model_file.py``           a fitted model on disk
=========================== ======================================================================
"""

from bridle.fit.cross_validation import SoftmaxRegressionCV
from bridle.fit.path import SoftmaxPath, softmax_regression_path
from bridle.fit.report import FitReport
from bridle.fit.softmax_regression import SoftmaxRegression

__all__ = [
    "FitReport",
    "SoftmaxPath",
    "SoftmaxRegression",
    "SoftmaxRegressionCV",
    "softmax_regression_path",
]
