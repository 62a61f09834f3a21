"""Files of several named arrays, and which of them are the features and the labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.data import files
from bridle.data.parts import Request

Array = npt.NDArray[Any]

FEATURE_KEYS = ("x", "features", "data", "embeddings", "embedding", "inputs", "images")
TARGET_KEYS = ("y", "target", "targets", "label", "labels")


@dataclass(frozen=True)
class Archive:
    """Named arrays of one file, each read when asked for."""

    file: str
    names: tuple[str, ...]
    read: Callable[[str], Array]


def choose(archive: Archive, request: Request) -> tuple[str, str | None]:
    """Return the names of the features and of the labels, if there are any.

    Names count in any case of letters. A single array is the features whatever its name.
    """
    target = _target(archive, request)
    others = tuple(name for name in archive.names if name != target)
    named = [name for name in others if name.lower() in FEATURE_KEYS]
    candidates = named or list(others)
    if len(candidates) == 1:
        return candidates[0], target
    found = f"found {files.listing(archive.names)}" if archive.names else "found no array"
    raise files.broken(
        archive.file, f"expected one array of features ({', '.join(FEATURE_KEYS)}), {found}"
    )


def only_labels(archive: Archive) -> Array:
    """Return the labels of an archive that is asked for nothing else."""
    named = [name for name in archive.names if name.lower() in TARGET_KEYS]
    candidates = named or list(archive.names)
    if len(candidates) != 1:
        expected = f"expected one array of labels ({', '.join(TARGET_KEYS)})"
        raise files.broken(
            archive.file, f"{expected}, found {files.listing(archive.names) or 'none'}"
        )
    return np.asarray(archive.read(candidates[0]))


def _target(archive: Archive, request: Request) -> str | None:
    if request.target is not None:
        if request.target in archive.names or not request.need_target:
            return request.target if request.target in archive.names else None
        raise checks.InputError(
            f"target: {archive.file} has no array {files.quoted(request.target)}, "
            f"found {files.listing(archive.names)}{files.suggestion(request.target, archive.names)}"
        )
    named = [name for name in archive.names if name.lower() in TARGET_KEYS]
    if len(named) > 1:
        raise files.broken(
            archive.file,
            f"which array holds the labels? name it with --target: {files.listing(named)}",
        )
    return named[0] if named else None
