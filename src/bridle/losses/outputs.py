"""What a cross-entropy may return beside the loss, of the one pass over the scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.losses.class_targets import ClassTargets
from bridle.losses.score_rows import RowLosses

Array = npt.NDArray[Any]
Output = Literal["loss", "log_prob", "entropy", "logsumexp", "argmax", "correct"]


class LinearGradient(NamedTuple):
    """A linear head's loss and its gradients; that of a bias there is not is None."""

    loss: Array
    d_features: Array
    d_weight: Array
    d_bias: Array | None


class CrossEntropyOutputs(NamedTuple):
    """What `cross_entropy` found in its one pass; None where it was not asked for.

    All but the loss, which follows ``reduction``, have the shape of the positions. Positions that
    are ignored hold 0 (the argmax −1, correct False). Arrays for arrays, tensors for tensors.

    Attributes
    ----------
    loss
        What `cross_entropy` returns alone, in nats.
    log_prob
        ``log softmax(z)[target]`` in nats; of a distribution as target ``Σ_c target_c log p_c``.
    entropy
        ``−Σ_c p_c log p_c`` of the softmax, in nats.
    logsumexp
        ``log Σ_c exp(z_c)`` of the scores, softcap and temperature included.
    argmax
        The index of the largest score, ties to the lowest.
    correct
        Whether that is the target (of a distribution: its most probable class).

    Examples
    --------
    >>> from bridle import cross_entropy
    >>> found = cross_entropy([[2.0, 1.0], [0.0, 3.0]], [0, 0], outputs=["argmax", "correct"])
    >>> found.argmax, found.correct, found.loss
    (array([0, 1]), array([ True, False]), None)
    """

    loss: Any = None
    log_prob: Any = None
    entropy: Any = None
    logsumexp: Any = None
    argmax: Any = None
    correct: Any = None


def asked_outputs(outputs: Sequence[str] | None) -> frozenset[str]:
    """Return the names of the outputs, which are known ones."""
    asked = frozenset(() if outputs is None else outputs)
    unknown = sorted(asked - set(get_args(Output)))
    if isinstance(outputs, str) or unknown:
        names = ", ".join(get_args(Output))
        raise checks.InputError.of("outputs", expected=f"some of {names}", found=repr(outputs))
    return asked


def collect_outputs(
    asked: frozenset[str], loss: Array, problem: ClassTargets, rows: RowLosses
) -> CrossEntropyOutputs:
    """Return what was asked for, of rows that were evaluated with it."""

    def whole(name: str) -> Array:
        pieces = [getattr(part, name) for part in rows.parts]
        return np.concatenate(pieces) if pieces else np.empty(0, problem.compute_dtype)

    found: dict[str, Any] = {"loss": loss} if "loss" in asked else {}
    if "log_prob" in asked:
        pieces = rows.negative_log or [np.empty(0, problem.compute_dtype)]
        found["log_prob"] = (0 - np.concatenate(pieces)).astype(problem.compute_dtype)
        found["log_prob"][problem.unknown] = np.nan
    if "entropy" in asked:
        found["entropy"] = whole("log_sum") + whole("mean_gap")
    if "logsumexp" in asked:
        found["logsumexp"] = whole("maximum") + whole("log_sum")
    if "argmax" in asked:
        found["argmax"] = whole("argmax").astype(np.int64)
    if "correct" in asked:
        found["correct"] = whole("argmax") == problem.target_class()
    nothing = {"argmax": -1, "correct": False}
    for name in found.keys() - {"loss"}:
        values = np.where(problem.counted, found[name], nothing.get(name, 0))
        found[name] = values.astype(found[name].dtype).reshape(problem.loss_shape)[()]
    return CrossEntropyOutputs(**found)
