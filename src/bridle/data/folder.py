"""A folder: a pair of idx files, images (by class, or flat), or shards of one format."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from bridle.data import files, idx, images, mnist, parts, targets
from bridle.data.archive import TEST, TRAIN, VALIDATION, set_of_word
from bridle.data.dataset import Dataset
from bridle.data.formats import ENDINGS, Reader, check_options, reader_of
from bridle.data.parts import Request
from bridle.data.reading import Selection
from bridle.data.text import without_words

# A word of a shard's name: train-00000-of-00002.parquet, X_test.npy.
_SET = re.compile(
    r"(?<![a-z0-9])(train|training|test|testing|val|valid|validation|dev)(?![a-z0-9])"
)


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
        parts.refuse_selection(request, "a folder of images")
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
    read = {path: reader_of(path) for path in content if not images.is_image(path)}
    readers = {path: reader for path, reader in read.items() if reader is not None}
    if any(not _is_txt(path) for path in readers):  # a .txt beside data is a remark on them
        return {path: reader for path, reader in readers.items() if not _is_txt(path)}
    return readers


def _is_txt(path: Path) -> bool:
    return files.unpacked_name(path).endswith(".txt")


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
    sets = _sets(list(readers))
    if request.labels is not None or request.as_table or len(sets) < 2:
        return reader(list(readers), request)
    if request.has_model:
        part = next(each for each in (TEST, VALIDATION, TRAIN) if each in sets)
        names = ", ".join(path.name for path in sets[part])
        return dataclasses.replace(reader(sets[part], request), taken=names)
    if TRAIN not in sets:
        raise files.broken(folder, "no shards to fit, only to test: name one file")
    return _fit_and_test(reader, sets, request)


def _sets(paths: list[Path]) -> dict[str, list[Path]]:
    """Return the shards to fit, to test and to validate; nothing unless every name says which."""
    sets = dict[str, list[Path]]()
    for path in paths:
        word = _SET.search(path.name.lower())
        if word is None:
            return {}
        sets.setdefault(set_of_word(word[0]), []).append(path)
    return sets


def _fit_and_test(reader: Reader, sets: dict[str, list[Path]], request: Request) -> Dataset:
    dataset = reader(sets[TRAIN], request)
    part = TEST if TEST in sets else VALIDATION
    kind = targets.kind_of(dataset.target)
    like = dataclasses.replace(
        request,
        feature_names=without_words(dataset.feature_names, dataset.reading.texts),
        width=dataset.features.shape[1],
        fitted=dataclasses.replace(dataset.reading, label_kind=kind),
        selection=Selection(),
        usual_target=dataset.target_name,
    )
    notes = [
        f"{_names(sets[TRAIN])} are learnt from; {_names(sets[part])} are there to test (--test or "
        "--holdout take their place)"
    ]
    if part == TEST and VALIDATION in sets:
        notes.append(f"not used: {_names(sets[VALIDATION])}")
    return dataclasses.replace(
        dataset, notes=(*notes, *dataset.notes), test=reader(sets[part], like)
    )


def _names(paths: list[Path]) -> str:
    return files.listing((path.name for path in paths), most=4)
