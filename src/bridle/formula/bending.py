r"""Softcap and temperature: what happens to a score before the softmax.

    z = softcap · tanh(score / softcap) / temperature,   dz / dscore = (1 − tanh²) / temperature

without a cap where ``softcap`` is 0.
"""

from __future__ import annotations

from typing import Any


def bent(xp: Any, scores: Any, temperature: float, softcap: float) -> Any:
    """Return z; what is not finite stays as it is: −inf is a masked class, and +inf an error.

    >>> import numpy as np
    >>> bent(np, np.array([-np.inf, 0.0, 2.0]), 2.0, 0.0)
    array([-inf,   0.,   1.])
    """
    if softcap:
        capped = softcap * xp.tanh(scores / softcap)
        scores = xp.where(xp.isfinite(scores), capped, scores)
    return scores if temperature == 1.0 else scores / temperature


def slope(xp: Any, scores: Any, temperature: float, softcap: float) -> Any:
    """Return dz / dscore: a number where there is no cap.

    >>> import numpy as np
    >>> slope(np, np.array([0.0, 2.0]), 2.0, 0.0)
    0.5
    """
    if not softcap:
        return 1 / temperature
    return (1 - xp.tanh(scores / softcap) ** 2) / temperature
