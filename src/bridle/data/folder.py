"""A folder: a pair of idx files, images by class, or shards of one format."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from bridle.data import files, idx, images, mnist, parts
from bridle.data.dataset import Dataset
from bridle.data.formats import ENDINGS, check_options, reader_of
from bridle.data.parts import Request


def load_folder(folder: Path, request: Request) -> Dataset:
    """Load what a folder holds; files of other kinds (a README) are passed over."""
    with files.parsing(folder, "a folder"):
        listed = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        content = [path for path in listed if path.is_file() and not _is_labels(path, request)]
        pictures = images.image_files(folder)
    pairs = [path for path in content if idx.is_idx(path)]
    if pairs or pictures:
        parts.refuse_arrays(request, "a folder of images")
        parts.refuse_texts(request, "a folder of images")
    if pairs:
        chosen, notes = mnist.find_images(pairs, str(folder))
        dataset = mnist.load_idx([chosen], request)
        return dataclasses.replace(dataset, notes=(*notes, *dataset.notes))
    if pictures:
        return images.load_images(folder, pictures, request)
    return _load_shards(folder, content, request)


def _is_labels(path: Path, request: Request) -> bool:
    return request.labels is not None and path.samefile(request.labels)


def _load_shards(folder: Path, content: list[Path], request: Request) -> Dataset:
    readers = {path: reader for path in content if (reader := reader_of(path)) is not None}
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
