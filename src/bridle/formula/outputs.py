"""What else the parts of a row tell, beside its loss."""

from __future__ import annotations

from typing import Any

from bridle.formula.row_loss import Terms, row_loss


def entropy(parts: Any) -> Any:
    """Return ``−Σ p log p`` of the softmax."""
    return parts.log_sum + parts.mean_gap


def logsumexp(parts: Any) -> Any:
    """Return ``log Σ exp(z)``."""
    return parts.maximum + parts.log_sum


def log_probability(xp: Any, parts: Any, gap: Any, mass: Any) -> Any:
    """Return ``Σ target · log p``: of class indices with the mass None, of others unweighted."""
    return 0 - row_loss(xp, parts, gap, mass, Terms())


# What positions that are ignored hold.
OF_IGNORED = {"argmax": -1, "correct": False}


def collected(
    xp: Any,
    asked: frozenset[str],
    parts: Any,
    log_probability_of: Any,
    target_class: Any,
    counted: Any,
) -> dict[str, Any]:
    """Return the outputs (N,) that were asked for, by name, but for the loss.

    ``log_probability_of`` and ``target_class`` are called where they are wanted; ``counted`` tells
    which rows are (None: all).
    """
    found: dict[str, Any] = {}
    if "log_prob" in asked:
        found["log_prob"] = log_probability_of()
    if "entropy" in asked:
        found["entropy"] = entropy(parts)
    if "logsumexp" in asked:
        found["logsumexp"] = logsumexp(parts)
    if "argmax" in asked:
        found["argmax"] = parts.argmax
    if "correct" in asked:
        found["correct"] = parts.argmax == target_class()
    if counted is None:
        return found
    return {
        name: xp.where(counted, values, OF_IGNORED.get(name, 0)) for name, values in found.items()
    }
