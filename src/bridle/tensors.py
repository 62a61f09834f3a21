"""PyTorch's tensors, told from other arrays without loading PyTorch."""

from __future__ import annotations

import sys
from typing import Any


def is_tensor(array: Any) -> bool:
    """Tell whether an array is a PyTorch tensor; PyTorch is not loaded to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def on_host(array: Any) -> Any:
    """Return a tensor as a NumPy array, and anything else as it is."""
    if not is_tensor(array):
        return array
    tensor = array.detach().cpu()
    return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
