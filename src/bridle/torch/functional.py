"""The public functions of bridle for tensors: same names, arguments and meaning as for arrays."""

from bridle.losses.outputs import CrossEntropyOutputs
from bridle.torch.binary import binary_cross_entropy
from bridle.torch.cross_entropy import cross_entropy
from bridle.torch.information import entropy, kl_divergence
from bridle.torch.language_model import causal_lm_loss
from bridle.torch.likelihood import nll
from bridle.torch.linear import linear_cross_entropy
from bridle.torch.probabilities import log_softmax, logsumexp, softmax
from bridle.torch.quadratic import quadratic_loss

__all__ = [
    "CrossEntropyOutputs",
    "binary_cross_entropy",
    "causal_lm_loss",
    "cross_entropy",
    "entropy",
    "kl_divergence",
    "linear_cross_entropy",
    "log_softmax",
    "logsumexp",
    "nll",
    "quadratic_loss",
    "softmax",
]
