"""The public functions of bridle for tensors: same names, arguments and meaning as for arrays."""

from functools import partial

from bridle import checks
from bridle.losses.outputs import CrossEntropyOutputs
from bridle.torch.binary import binary_cross_entropy
from bridle.torch.cross_entropy import cross_entropy
from bridle.torch.focal import focal_loss
from bridle.torch.information import (
    cross_entropy_of,
    entropy,
    kl_divergence,
    perplexity,
    surprisal,
)
from bridle.torch.language_model import causal_lm_loss
from bridle.torch.likelihood import likelihood, log_likelihood, nll
from bridle.torch.linear import linear_cross_entropy
from bridle.torch.probabilities import (
    log_sigmoid,
    log_softmax,
    logsumexp,
    predicted_class,
    sigmoid,
    softmax,
)
from bridle.torch.quadratic import quadratic_loss

__all__ = [
    "CrossEntropyOutputs",
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

# `torch.jit.script` looks for this before it reads a source that it could not compile.
for _name in (name for name in __all__ if name != "CrossEntropyOutputs"):
    globals()[_name].__prepare_scriptable__ = partial(checks.torch_script, _name)
