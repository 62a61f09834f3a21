"""Pairs of idx files named as MNIST's: ``train-images-idx3-ubyte`` and its ``…labels-idx1…``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bridle.data import files, idx, parts
from bridle.data.dataset import Dataset, from_parts
from bridle.data.parts import Part, Request
from bridle.files import is_file

_IMAGES = re.compile(r"images(?=[-._]idx)", re.IGNORECASE)
_AXES = re.compile(r"(?<=idx)[0-9]+", re.IGNORECASE)


def load_idx(paths: Sequence[Path], request: Request) -> Dataset:
    """Load one file of images; its labels are found by its name, or given."""
    parts.refuse_target_name(request, "an idx file")
    (path,) = paths
    array = idx.read_idx(path, request.scratch)
    if array.ndim == 1:
        raise files.broken(path, "expected images, found one number a row: are these the labels?")
    features = parts.feature_rows(array, str(path))
    pixels, sides = parts.are_pixels(array), parts.image_shape(array)
    notes = parts.flattening_note(array.shape)
    labels = None if request.labels is not None else _labels(path, request.need_target)
    if labels is None:
        part = Part(str(path), features, pixels=pixels, image_shape=sides)
        return from_parts([part], request, notes)
    target = idx.read_idx(labels)
    part = Part(str(path), features, target, pixels=pixels, image_shape=sides)
    return from_parts([part], request, (*notes, f"target: labels of {labels}"))


def find_images(paths: Sequence[Path], folder: str) -> tuple[Path, tuple[str, ...]]:
    """Return the images to take among the idx files of a folder, and remarks."""
    found = {path.name.removesuffix(".gz"): path for path in paths if _IMAGES.search(path.name)}
    # Of a packed file and its unpacked twin the latter counts: it can be memory-mapped.
    found.update({path.name: path for path in paths if path.name in found})
    if len(found) == 1:
        return next(iter(found.values())), ()
    train = [path for name, path in found.items() if name.startswith("train")]
    tests = [path for name, path in found.items() if name.startswith("t10k")]
    if len(found) == 2 and len(train) == len(tests) == 1:
        return train[0], (f"{train[0].name} taken; {tests[0]} can be given to --test",)
    names = files.listing(sorted(path.name for path in (found.values() or paths)))
    raise files.broken(folder, f"expected one idx file of images, found {names}: name one")


def _labels(images: Path, needed: bool) -> Path | None:
    name = _AXES.sub("1", _IMAGES.sub(_as_written, images.name))
    plain = name.removesuffix(".gz")
    candidates = [
        images.with_name(choice) for choice in dict.fromkeys((name, plain, f"{plain}.gz"))
    ]
    found = [path for path in candidates if path != images and is_file(path)]
    if found:
        return found[0]
    if needed:
        raise files.broken(images, f"no labels found ({candidates[0].name}): give --labels FILE")
    return None


def _as_written(images: re.Match[str]) -> str:
    return "Labels" if images[0][0].isupper() else "labels"
