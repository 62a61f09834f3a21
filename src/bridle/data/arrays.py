"""Datasets of plain arrays: ``.npy``, ``.npz`` and ``.safetensors``, single or as shards."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from bridle.data import files, npy, npz, parts, sparse, tensors
from bridle.data.archive import NONE, Archive, Choice, choose, part_of
from bridle.data.dataset import Dataset, from_parts
from bridle.data.parts import Part, Request

Array = npt.NDArray[Any]

_FEATURE_SHARD = re.compile(r"(?:x|features?|embeddings?)(?=[-_.]|$)(.*)", re.IGNORECASE)
_TARGET_SHARD = re.compile(r"(?:y|labels?|targets?)(?=[-_.]|$)(.*)", re.IGNORECASE)


def load_npy(paths: Sequence[Path], request: Request) -> Dataset:
    """Load ``.npy`` features; among shards, ``y_000.npy`` holds the labels of ``X_000.npy``."""
    parts.refuse_target_name(request, "an .npy array", has_labels=len(paths) > 1)
    pairs = _pairs(paths) if len(paths) > 1 else [(paths[0], None)]
    loaded, shape = [], ()
    for features, labels in pairs:
        array = npy.map_npy(features)
        shape = array.shape
        target = None if labels is None else npy.map_npy(labels)
        rows = _rows(array, str(features), request)
        pixels, sides = parts.are_pixels(array), parts.image_shape(array)
        loaded.append(Part(str(features), rows, target, pixels=pixels, image_shape=sides))
    return from_parts(loaded, request, parts.flattening_note(shape))


def load_npz(paths: Sequence[Path], request: Request) -> Dataset:
    """Load ``.npz`` archives: named dense arrays, or one sparse matrix each."""
    archives = [npz.open_npz(path, request.scratch) for path in paths]
    if any(sparse.is_sparse(archive) for archive in archives):
        parts.refuse_arrays(request, "a sparse matrix")
        return sparse.load_sparse(archives, request)
    return _load_archives(archives, request)


def load_safetensors(paths: Sequence[Path], request: Request) -> Dataset:
    """Load ``.safetensors`` files of named arrays."""
    archives = [tensors.open_safetensors(path, request.scratch) for path in paths]
    return _load_archives(archives, request)


def _load_archives(archives: Sequence[Archive], request: Request) -> Dataset:
    choices = [choose(archive, request) for archive in archives]
    if not request.wants_test:
        choices = [(fitted, None) for fitted, _ in choices]
    tests = [test for _, test in choices]
    dataset = _of_choices(archives, [fitted for fitted, _ in choices], request)
    notes = {
        note: None
        for archive, (fitted, test) in zip(archives, choices, strict=True)
        for note in _notes(archive, request.labels is None, fitted, test)
    }
    chosen = choices[0][0]
    taken = str(chosen) if _is_part(chosen) else ""
    dataset = replace(dataset, notes=(*dataset.notes, *notes), taken=taken)
    if any(test is None for test in tests):
        return dataset
    held = replace(request, labels=None, target=None, width=dataset.features.shape[1])
    test = _of_choices(archives, [test for test in tests if test is not None], held)
    return replace(dataset, test=test)


def _of_choices(
    archives: Sequence[Archive], choices: Sequence[Choice], request: Request
) -> Dataset:
    loaded, notes = [], {}
    for archive, choice in zip(archives, choices, strict=True):
        array = archive.read(choice.features)
        place = f"{archive.file}: array {files.quoted(choice.features)}"
        rows = _rows(array, place, request)
        given = choice.target is None or request.labels is not None
        labels = None if given else archive.read(str(choice.target))
        pixels, sides = parts.are_pixels(array), parts.image_shape(array)
        loaded.append(Part(archive.file, rows, labels, pixels=pixels, image_shape=sides))
        notes.update(dict.fromkeys(parts.flattening_note(array.shape)))
    return from_parts(loaded, request, tuple(notes))


def _rows(array: Array, place: str, request: Request) -> Array:
    if request.as_table and array.ndim == 1:  # answers for one of two classes
        array = array[:, None]
    return parts.feature_rows(array, place, request.expected_width)


def _notes(archive: Archive, has_labels: bool, chosen: Choice, test: Choice | None) -> list[str]:
    used = {chosen.features, chosen.target if has_labels else None}
    notes = []
    if test is not None:
        used |= {test.features, test.target}
        notes.append(
            f"{chosen} are learnt from; {test} are there to test (--test or --holdout take their "
            "place)"
        )
    elif _is_part(chosen):
        notes.append(f"taken: {chosen}")
    unused = [name for name in archive.names if name not in used]
    if unused:
        notes.append(f"not used: arrays {files.listing(unused)}")
    return notes


def _is_part(chosen: Choice) -> bool:
    return part_of(chosen.features) not in (None, (NONE, True))


def _pairs(paths: Sequence[Path]) -> list[tuple[Path, Path | None]]:
    labels = _by_common_name(paths, _TARGET_SHARD.fullmatch)
    features = [path for path in paths if path not in labels.values()]
    if not labels:
        return [(path, None) for path in features]
    pairs: list[tuple[Path, Path | None]] = []
    for path in features:
        match = _FEATURE_SHARD.fullmatch(path.stem)
        label = labels.pop(match[1], None) if match else None
        if label is None:
            raise files.broken(path, "no shard of labels goes with it (y_… for X_…)")
        pairs.append((path, label))
    if labels:
        raise files.broken(
            next(iter(labels.values())), "no shard of features goes with it (X_… for y_…)"
        )
    return pairs


def _by_common_name(
    paths: Sequence[Path], match: Callable[[str], re.Match[str] | None]
) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        rest = match(path.stem)
        if rest is None:
            continue
        if rest[1] in found:
            raise files.broken(path, f"holds labels for the same shard as {found[rest[1]].name}")
        found[rest[1]] = path
    return found
