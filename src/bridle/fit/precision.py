"""In which arithmetic a fit takes its passes: coarse and quick at first, float64 for the proof."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np


class Precision(NamedTuple):
    """The arithmetic of a pass.

    Attributes
    ----------
    dtype
        Of the products and of what lies between them.
    rounds_factors
        Whether a device may round the factors of a product (TensorFloat-32).
    """

    dtype: np.dtype[Any]
    rounds_factors: bool = False

    @property
    def noise(self) -> float:
        """The relative error of an objective, below which a decrease shows nothing."""
        # Measured at a random point of 1.28 million rows: 1.5e-7 with rounded factors.
        return 1e-6 if self.rounds_factors else float(np.finfo(self.dtype).eps)


FLOAT64 = Precision(np.dtype(np.float64))
# On these processors (compute capabilities) float64 products are at least half as fast as float32.
_FAST_FLOAT64 = ((6, 0), (7, 0), (8, 0), (9, 0), (10, 0))


def ladder(dtype: np.dtype[Any], device: Any) -> tuple[Precision, ...]:
    """Return the arithmetics that a fit of features goes through, the last of which is float64.

    The device is PyTorch's, or None.
    """
    first = Precision(dtype)
    if first == FLOAT64:
        return (FLOAT64,)
    if device is None or device.type != "cuda":
        return (first, FLOAT64)
    capability = sys.modules["torch"].cuda.get_device_capability(device)
    rounded = (Precision(first.dtype, True),) if capability >= (8, 0) else ()
    return (*rounded, *(() if capability in _FAST_FLOAT64 else (first,)), FLOAT64)
