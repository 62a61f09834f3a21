"""(Scores or probabilities, target) → loss and gradient.

======================= ================================ =====================================
loss                    of                               file
======================= ================================ =====================================
cross-entropy           softmax scores                   ``cross_entropy.py``
likelihood              probabilities                    ``likelihood.py``
binary cross-entropy    scores of independent sigmoids   ``binary.py``
quadratic               outputs                          ``quadratic.py``
======================= ================================ =====================================

``class_targets.py`` brings every accepted layout to rows, ``reduction.py`` turns the rows' losses
into the answer.
"""

from bridle.losses.binary import binary_cross_entropy, binary_cross_entropy_gradient
from bridle.losses.cross_entropy import cross_entropy, cross_entropy_gradient
from bridle.losses.likelihood import likelihood, log_likelihood, nll
from bridle.losses.quadratic import quadratic_loss, quadratic_loss_gradient

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_gradient",
    "cross_entropy",
    "cross_entropy_gradient",
    "likelihood",
    "log_likelihood",
    "nll",
    "quadratic_loss",
    "quadratic_loss_gradient",
]
