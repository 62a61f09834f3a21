"""A folder: a pair of idx files, images (by class, or flat), shards of one format, or sets.

Sets are files, or folders, whose names say which are there to fit and which to test.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

from bridle.data import files, idx, images, mnist, parts
from bridle.data.archive import NONE
from bridle.data.dataset import Dataset
from bridle.data.formats import ENDINGS, Reader, check_options, reader_of
from bridle.data.parts import Request
from bridle.data.sets import Set, load_sets, parted
from bridle.files import is_file, is_folder


@dataclasses.dataclass(frozen=True)
class _Content:
    """The files of a folder by what they are: idx, shards of data, images by class, or flat."""

    idx: list[Path]
    shards: dict[Path, Reader]
    classed: list[Path]
    flat: list[Path]


def load_folder(folder: Path, request: Request) -> Dataset:
    """Load what a folder holds; files of other kinds (a README) are passed over."""
    found = _content(folder, request)
    if not found.idx and not found.shards and (sets := _sets_of_folders(folder)):
        if request.need_target and found.classed:
            raise _sets_as_classes(folder, sets)
        return load_sets(folder, sets, request)
    if not found.shards or found.idx or found.classed:
        parts.refuse_arrays(request, "a folder of images")
        parts.refuse_selection(request, "a folder of images")
    if found.idx:
        chosen, notes = mnist.find_images(found.idx, str(folder))
        dataset = mnist.load_idx([chosen], request)
        return dataclasses.replace(dataset, notes=(*notes, *dataset.notes))
    if found.classed:
        pictures = found.classed if request.need_target else [*found.flat, *found.classed]
        return images.load_images(folder, pictures, request)
    if found.flat and not found.shards:
        return _load_flat(folder, found.flat, request)
    if not found.shards:
        inner = [path.name for path in sorted(folder.iterdir()) if _is_folder(path)]
        hint = f"; there are folders in it: {files.listing(inner)}" if inner else ""
        raise files.broken(
            folder,
            f"no data: expected files ({ENDINGS}, idx) or one folder of images for each class"
            f"{hint}",
        )
    return _load_shards(folder, found.shards, request)


def load_files(readers: dict[Path, Reader], request: Request) -> Dataset:
    """Load several files as the shards that a folder would hold."""
    single = (mnist.load_idx, images.load_image)
    alone = next((path for path, reader in readers.items() if reader in single), None)
    if alone is not None:
        found = f"found {len(readers)} files"
        raise files.broken(alone, f"expected one such file alone, or a folder of them, {found}")
    return _load_shards(request.source, readers, request)


def readers_in(folder: Path, request: Request) -> set[Reader]:
    """Return the readers of what a folder holds, that of each set where it holds several."""
    found = _content(folder, request)
    if found.idx or found.classed or (found.flat and not found.shards):
        return {mnist.load_idx if found.idx else images.load_image}
    if found.shards:
        return set(found.shards.values())
    inner = [path for path in folder.iterdir() if _is_folder(path)]
    return {reader for path in inner for reader in readers_in(path, request)}


def _content(folder: Path, request: Request) -> _Content:
    with files.parsing(folder, "a folder"):
        listed = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        content = [path for path in listed if is_file(path) and not _is_labels(path, request)]
        classed, flat = images.image_files(folder), images.flat_files(folder)
    pairs = [path for path in content if idx.is_idx(path)]
    return _Content(pairs, _shards(content, beside_data=bool(flat)), classed, flat)


def _sets_as_classes(folder: Path, sets: dict[str, Set]) -> Exception:
    """Return the error of images in folders called train and test, with none for their class."""
    return files.broken(
        folder,
        f"the folders {', '.join(map(str, sets.values()))} are sets by their names, not classes: "
        "expected one folder of images for each class in them",
    )


def _load_flat(folder: Path, flat: list[Path], request: Request) -> Dataset:
    if request.need_target:
        raise files.broken(
            folder, "images without classes: expected one folder of images for each class"
        )
    return images.load_images(folder, flat, request)


def _is_labels(path: Path, request: Request) -> bool:
    return request.labels is not None and path.samefile(request.labels)


def _shards(content: list[Path], *, beside_data: bool) -> dict[Path, Reader]:
    read = {path: reader_of(path) for path in content if not images.is_image(path)}
    readers = {path: reader for path, reader in read.items() if reader is not None}
    # A .txt beside data is a remark on them.
    if beside_data or any(not _is_txt(path) for path in readers):
        return {path: reader for path, reader in readers.items() if not _is_txt(path)}
    return readers


def _is_txt(path: Path) -> bool:
    return files.unpacked_name(path).endswith(".txt")


def _load_shards(where: Path | str, readers: dict[Path, Reader], request: Request) -> Dataset:
    kinds = set(readers.values())
    if len(kinds) > 1:
        names = files.listing(path.name for path in readers)
        raise files.broken(where, f"expected files of one kind, found {names}")
    reader = kinds.pop()
    check_options(reader, next(iter(readers)), request)
    return load_sets(where, _of_files(reader, list(readers)), request)


def _of_files(reader: Reader, paths: list[Path]) -> dict[str, Set]:
    return {
        part: Set(tuple(path.name for path in found), functools.partial(reader, found))
        for part, found in parted(paths).items()
    }


def _sets_of_folders(folder: Path) -> dict[str, Set]:
    """Return the folders in a folder if their names all say sets, several, and each one another."""
    with files.parsing(folder, "a folder"):
        inner = [path for path in sorted(folder.iterdir()) if _is_folder(path)]
    sets = parted(inner)
    if len(sets) < 2 or NONE in sets or len(sets) < len(inner):
        return {}
    return {
        part: Set((path.name,), functools.partial(load_folder, path))
        for part, (path,) in sets.items()
    }


def _is_folder(path: Path) -> bool:
    return is_folder(path) and not path.name.startswith(".")
