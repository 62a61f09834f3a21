"""(Scores or probabilities, target) → loss and gradient.

======================= ================================ =====================================
loss                    of                               file
======================= ================================ =====================================
cross-entropy           softmax scores                   ``cross_entropy.py``
focal                   softmax scores                   ``focal.py``
likelihood              probabilities                    ``likelihood.py``
binary cross-entropy    scores of independent sigmoids   ``binary.py``
quadratic               outputs                          ``quadratic.py``
======================= ================================ =====================================

``class_targets.py`` brings every accepted layout to rows, ``score_rows.py`` finds their losses and
gradients, ``reduction.py`` turns those into the answer; ``outputs.py`` is what else may be asked.
"""

from bridle.losses.binary import binary_cross_entropy, binary_cross_entropy_gradient
from bridle.losses.cross_entropy import cross_entropy, cross_entropy_gradient
from bridle.losses.focal import focal_loss, focal_loss_gradient
from bridle.losses.likelihood import likelihood, log_likelihood, nll
from bridle.losses.outputs import CrossEntropyOutputs
from bridle.losses.quadratic import quadratic_loss, quadratic_loss_gradient

__all__ = [
    "CrossEntropyOutputs",
    "binary_cross_entropy",
    "binary_cross_entropy_gradient",
    "cross_entropy",
    "cross_entropy_gradient",
    "focal_loss",
    "focal_loss_gradient",
    "likelihood",
    "log_likelihood",
    "nll",
    "quadratic_loss",
    "quadratic_loss_gradient",
]
