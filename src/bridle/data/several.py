"""Several files as one: those of a list, and those that patterns fit."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from bridle.data import files
from bridle.data.formats import reader_of
from bridle.files import is_file, is_folder, is_there

Source = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_ALONE = {"": "''", "-": "- (standard input)"}


def name_of(source: Source) -> str:
    """Return what messages call one file, or several.

    >>> name_of("a.csv"), name_of(["a.csv", "b.csv", "c.csv"])
    ('a.csv', 'a.csv and 2 more')
    """
    first, *others = _names(source) or [""]
    return f"{first} and {len(others)} more" if others else first


def files_of(source: Source, labels: str | None = None) -> tuple[Path, ...]:
    """Return the files that are meant; none where it is one name, which is no pattern.

    As of what lies in a folder, files without data and the file of labels are passed over among
    those that a pattern fits; not among those that are named.

    Raises
    ------
    InputError
        A file that is named twice, or what is no file among others.
    """
    names = _names(source)
    fitting = [_fitting(name, labels) for name in names]
    if len(names) == 1:
        return fitting[0]
    for name in names:
        if name in _ALONE:
            raise files.broken(_ALONE[name], f"expected a file, or it alone, among {len(names)}")
    found = [
        path for name, paths in zip(names, fitting, strict=True) for path in paths or (Path(name),)
    ]
    seen = dict[Path, Path]()
    for path in found:
        if path.resolve() in seen:
            raise files.broken(path, "named twice, or fits two patterns: expected each file once")
        seen[path.resolve()] = path
    return tuple(found)


def _names(source: Source) -> list[str]:
    if isinstance(source, str | os.PathLike):
        return [os.fspath(source)]
    return [os.fspath(each) for each in source]


def _fitting(name: str, labels: str | None) -> tuple[Path, ...]:
    """Return the files with data that a pattern fits; none where a name is no pattern."""
    if not glob.has_magic(name) or os.path.lexists(name):
        return ()
    _look_into_folders(name)
    found = [path for path in sorted(map(Path, glob.glob(name, recursive=True))) if _is_file(path)]
    return tuple(path for path in found if reader_of(path) and not _is_same(path, labels))


def _look_into_folders(pattern: str) -> None:
    """Refuse a folder that a pattern leads into and that may not be read: `glob` passes it over."""
    parent, last = os.path.split(pattern)
    if not last:  # a pattern of folders alone
        return
    if glob.has_magic(parent):
        _look_into_folders(parent)
    folders = glob.glob(parent, recursive=True) if glob.has_magic(parent) else [parent]
    if last == "**":
        folders += glob.glob(pattern, recursive=True)
    for folder in folders:
        if not glob.has_magic(last):
            with files.parsing(os.path.join(folder, last), "a file"):
                is_there(os.path.join(folder, last))
            continue
        with files.parsing(folder or ".", "a folder"):
            if is_folder(folder or "."):
                os.scandir(folder or ".").close()


def _is_file(path: Path) -> bool:
    with files.parsing(path, "a file"):
        return is_file(path)


def _is_same(path: Path, labels: str | None) -> bool:
    return labels is not None and is_there(labels) and path.samefile(labels)
