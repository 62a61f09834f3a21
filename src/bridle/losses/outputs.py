"""What a cross-entropy may return beside the loss, of the one pass over the scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.formula.outputs import collected
from bridle.kernels.contract import RowParts
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
    if outputs is None:
        return frozenset()
    asked = frozenset(outputs)
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

    def log_probability() -> Array:
        pieces = rows.log_probability or [np.empty(0)]
        found = np.concatenate(pieces).astype(problem.compute_dtype)
        found[problem.unknown] = np.nan
        return found

    parts = RowParts(whole("maximum"), whole("log_sum"))
    if "entropy" in asked:
        parts = parts._replace(mean_gap=whole("mean_gap"))
    if not asked.isdisjoint(("argmax", "correct")):
        parts = parts._replace(argmax=whole("argmax").astype(np.int64))
    found: dict[str, Any] = {
        name: values.reshape(problem.loss_shape)[()]
        for name, values in collected(
            np, asked, parts, log_probability, problem.target_class, problem.counted
        ).items()
    }
    return CrossEntropyOutputs(loss=loss if "loss" in asked else None, **found)
