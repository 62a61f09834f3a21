"""Where the products of a fit of dense features are made: here, or on a device."""

from __future__ import annotations

import sys
from typing import Any

from bridle.kernels import thresholds
from bridle.rows import Rows


def placed(
    features: Rows,
    device: Any,
    *,
    streamed: bool | None = None,
    memory_budget: int | None = None,
) -> Rows:
    """Return features as a fit on a device reads them; as they are where none is told.

    They are copied to the device where they fit there beside the fit, else they stay on the host
    and are streamed: see `Rows.streamed_to`. That is told by ``streamed``, or found out: on CUDA by
    the memory that is free, and any other device is taken to have room.

    Raises
    ------
    MissingExtraError, InputError
        Where PyTorch is absent; a device that is not there, sparse features, and features to be
        streamed that are on a device already.
    """
    if device is None:
        return features
    place = features.place(device)
    if features.device == place and streamed in (None, features.is_streamed):
        return features
    if streamed is None:
        streamed = not _has_room(features, place, memory_budget)
    if streamed:
        return features.streamed_to(place)
    # What is on the host is on PyTorch's "cpu".
    is_here = place.type == "cpu" and features.device is None
    return features if is_here else features.on(place)


def _has_room(features: Rows, device: Any, memory_budget: int | None) -> bool:
    """Tell whether a device has room for features and what a fit takes beside them."""
    if device.type != "cuda":
        return True
    cuda: Any = sys.modules["torch"].cuda
    free, _ = cuda.mem_get_info(device)
    # What PyTorch has taken of the device and does not use now.
    free += cuda.memory_reserved(device) - cuda.memory_allocated(device)
    beside = memory_budget or thresholds.FIT_DEVICE_BYTES
    return bool(features.nbytes_on_device + beside <= free)
