"""Which options of how files are read say something to which files."""

from __future__ import annotations

from pathlib import Path

from bridle import checks
from bridle.data import (
    arrays,
    delimited,
    embedded,
    files,
    images,
    labels,
    mnist,
    parquet,
    several,
    svmlight,
)  # fmt: skip
from bridle.data.folder import readers_in
from bridle.data.formats import Reader, reader_of
from bridle.data.parts import Request
from bridle.data.reading import FILE_OPTIONS
from bridle.files import is_file, is_folder

STANDARD_INPUT = "-"

_EVERY = frozenset(FILE_OPTIONS)
_OF_TEXT = _EVERY - {"index_base"}
# Texts in arrays are labels, and one of them may be called NA.
_BY_READER: dict[Reader, frozenset[str]] = {
    delimited.load_delimited: _OF_TEXT,
    parquet.load_parquet: frozenset({"na", "na_spellings"}),
    svmlight.load_svmlight: frozenset({"index_base"}),
    arrays.load_npy: frozenset({"na_spellings"}),
    arrays.load_npz: frozenset({"na_spellings"}),
    arrays.load_safetensors: frozenset({"na_spellings"}),
    mnist.load_idx: frozenset(),
    images.load_image: frozenset(),
}
_OF_TEXT_LABELS = frozenset({"delimiter", "encoding", "header", "na_spellings"})


def options_used_by(source: several.Source, labels_file: str | None = None) -> frozenset[str]:
    """Return the options of `Reading` that data, or the file of their labels, take heed of.

    They are all of them where there is no such file: whoever loads it says so.
    """
    found = several.files_of(source, labels_file)
    return _used_by(Request(several.name_of(source), found, labels=labels_file))


def _used_by(request: Request) -> frozenset[str]:
    readers = _readers(request)
    if readers is None:
        return _OF_TEXT if request.source == STANDARD_INPUT else _EVERY
    found = [_BY_READER[reader] for reader in readers]
    if request.labels is not None:
        is_text = labels.is_text(Path(request.labels))
        found.append(_OF_TEXT_LABELS if is_text else frozenset({"na_spellings"}))
    return frozenset().union(*found)


def refuse_unused(request: Request) -> None:
    """Refuse what was told of how to read other files than these are."""
    told = [name for name in FILE_OPTIONS if getattr(request.told, name) is not None]
    if not told:
        return
    used = _used_by(request)
    name = next((name for name in told if name not in used), None)
    if name is not None:
        option, kind = name.replace("_", "-"), _kind(request, name)
        raise checks.InputError(f"--{option}: {request.source} is {kind}, to which it says nothing")


def _readers(request: Request) -> set[Reader] | None:
    """Return the readers of the data, None where they are unknown."""
    if request.source in embedded.NAMES:
        return set()
    if request.source == STANDARD_INPUT:
        return None
    if request.files:
        return {reader for path in request.files if (reader := reader_of(path))} or None
    path = Path(request.source)
    with files.parsing(request.source, "a file"):
        if is_folder(path):
            return readers_in(path, request) or None
        reader = reader_of(path) if is_file(path) else None
    return None if reader is None else {reader}


def _kind(request: Request, name: str) -> str:
    """Return what data are that do not heed an option."""
    if request.source in embedded.NAMES:
        return "an embedded set"
    readers = _readers(request) or {delimited.load_delimited}
    is_table = readers <= {delimited.load_delimited, parquet.load_parquet}
    if name == "index_base":
        return "a table" if is_table else "no svmlight file"
    return "no table of text" if is_table else "no table"
