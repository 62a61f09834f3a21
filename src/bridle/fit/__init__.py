"""Fit the last layer to its exact optimum, with proof.

=========================== ======================================================================
file                        subject
=========================== ======================================================================
``objective.py``            one pass over the data: mean cross-entropy, penalty, gradient
``gap.py``                  how far from the optimum a point can be at most: the duality gap
``metric.py``               the curvature that turns a gradient into a good direction
``solver.py``               L-BFGS in that metric, until the gap is proven
``softmax_regression.py``   the scikit-learn classifier around them
``targets.py``              labels or distributions, and their weights, as the objective wants them
``report.py``               what is known about a fit when it ends
``model_file.py``           a fitted model on disk
=========================== ======================================================================
"""

from bridle.fit.report import FitReport
from bridle.fit.softmax_regression import SoftmaxRegression

__all__ = ["FitReport", "SoftmaxRegression"]
