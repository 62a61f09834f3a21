"""A folder: a pair of idx files, images (by class, or flat), or shards of one format."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from bridle.data import files, idx, images, mnist, parts
from bridle.data.dataset import Dataset
from bridle.data.formats import ENDINGS, Reader, check_options, reader_of
from bridle.data.parts import Request


def load_folder(folder: Path, request: Request) -> Dataset:
    """Load what a folder holds; files of other kinds (a README) are passed over."""
    with files.parsing(folder, "a folder"):
        listed = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        content = [path for path in listed if path.is_file() and not _is_labels(path, request)]
        classed, flat = images.image_files(folder), images.flat_files(folder)
    pairs = [path for path in content if idx.is_idx(path)]
    shards = _shards(content)
    if not shards or pairs or classed:
        parts.refuse_arrays(request, "a folder of images")
        parts.refuse_texts(request, "a folder of images")
    if pairs:
        chosen, notes = mnist.find_images(pairs, str(folder))
        dataset = mnist.load_idx([chosen], request)
        return dataclasses.replace(dataset, notes=(*notes, *dataset.notes))
    if classed:
        pictures = classed if request.need_target else [*flat, *classed]
        return images.load_images(folder, pictures, request)
    if flat and not shards:
        return _load_flat(folder, flat, request)
    return _load_shards(folder, shards, request)


def _load_flat(folder: Path, flat: list[Path], request: Request) -> Dataset:
    if request.need_target:
        raise files.broken(
            folder, "images without classes: expected one folder of images for each class"
        )
    return images.load_images(folder, flat, request)


def _is_labels(path: Path, request: Request) -> bool:
    return request.labels is not None and path.samefile(request.labels)


def _shards(content: list[Path]) -> dict[Path, Reader]:
    readers = {path: reader_of(path) for path in content if not images.is_image(path)}
    return {path: reader for path, reader in readers.items() if reader is not None}


def _load_shards(folder: Path, readers: dict[Path, Reader], request: Request) -> Dataset:
    kinds = set(readers.values())
    if not kinds:
        raise files.broken(
            folder,
            f"no data: expected files ({ENDINGS}, idx) or one folder of images for each class",
        )
    if len(kinds) > 1:
        names = files.listing(path.name for path in readers)
        raise files.broken(folder, f"expected files of one kind, found {names}")
    reader = kinds.pop()
    check_options(reader, next(iter(readers)), request)
    return reader(list(readers), request)
