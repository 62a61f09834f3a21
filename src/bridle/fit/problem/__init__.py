"""What is minimised, and how far from its least value a point can be.

================= ================================================================================
file              subject
================= ================================================================================
``objective.py``  mean cross-entropy and penalty, from sums over the data
``gap.py``        a bound on the distance from the optimum: the duality gap
``targets.py``    labels or distributions, and their weights, as the objective wants them
``layout.py``     how the weights of a fit become those of a classifier
================= ================================================================================
"""
