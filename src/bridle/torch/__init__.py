"""bridle for PyTorch: the same functions under autograd, the modules, and what only tensors need.

``functional.py`` lists the functions. A loss of class targets is composed from the parts of rows of
scores:

=================== ===========================================================================
file                subject
=================== ===========================================================================
``arguments.py``    what tensors given as arguments must be
``kinds.py``        tensors that are no plain numbers: stand-ins, batches, pieces of others
``class_rows.py``   every layout of scores and targets becomes rows
``rows.py``         the one operation under autograd: scores in rows → parts; for compilers too
``kernels.py``      which kernel does the rows; ``eager.py`` is plain PyTorch
``derivatives.py``  forward and higher derivatives
``fused.py``        a sum or mean of losses, whose gradient is known but for a factor
``linear.py``       the loss of a linear head; ``linear_rows.py`` makes its scores in blocks
``device_loss.py``  both losses on a GPU, whose kernels read targets themselves; ``device_head.py``
``composition.py``  from the parts of rows to what a loss returns
``shards.py``       a vocabulary shared out over ranks, and what they exchange; ``shard_parts.py``
                    merges their parts, ``sharded_losses.py`` makes the losses of them
=================== ===========================================================================
"""

from bridle import checks

checks.require("torch", extra="torch", purpose="bridle.torch")

from bridle.torch.functional import (  # noqa: E402 - once PyTorch is known to be there
    CrossEntropyOutputs,
    binary_cross_entropy,
    causal_lm_loss,
    cross_entropy,
    cross_entropy_of,
    entropy,
    focal_loss,
    kl_divergence,
    likelihood,
    linear_cross_entropy,
    log_likelihood,
    log_sigmoid,
    log_softmax,
    logsumexp,
    nll,
    perplexity,
    predicted_class,
    quadratic_loss,
    sigmoid,
    softmax,
    surprisal,
)
from bridle.torch.modules import (  # noqa: E402
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    LinearCrossEntropyLoss,
    QuadraticLoss,
)

__all__ = [
    "BinaryCrossEntropyLoss",
    "CrossEntropyLoss",
    "CrossEntropyOutputs",
    "LinearCrossEntropyLoss",
    "QuadraticLoss",
    "binary_cross_entropy",
    "causal_lm_loss",
    "cross_entropy",
    "cross_entropy_of",
    "entropy",
    "focal_loss",
    "kl_divergence",
    "likelihood",
    "linear_cross_entropy",
    "log_likelihood",
    "log_sigmoid",
    "log_softmax",
    "logsumexp",
    "nll",
    "perplexity",
    "predicted_class",
    "quadratic_loss",
    "sigmoid",
    "softmax",
    "surprisal",
]
