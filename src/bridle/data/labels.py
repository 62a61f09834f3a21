"""Labels that lie in a file of their own."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.data import archive, files, idx, npy, npz, targets, tensors

Array = npt.NDArray[Any]

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_ENDINGS = ".npy, .npz, .safetensors, idx, .csv, .tsv, .txt"


def read(labels: str, count: int, source: str) -> tuple[Array, tuple[str, ...]]:
    """Return ``count`` labels of a file, and remarks: one label a line, or an array."""
    path = Path(labels)
    notes: tuple[str, ...] = (f"target: labels of {labels}",)
    if _is_text(path):
        texts, lines = _lines(path)
        if len(texts) == count + 1 and texts[0].lower() in (*archive.TARGET_KEYS, "class"):
            notes += (f"{labels}: its first line, {files.quoted(texts[0])}, is a heading",)
            texts, lines = texts[1:], lines[1:]
        raw = _numbers_or_texts(texts)
    else:
        raw, lines = _array(path), []
    found = len(raw) if raw.ndim else 1
    if found != count:
        raise files.broken(labels, f"{found} labels, but {source} has {count} rows")
    place = (
        (lambda row: f"{labels}: line {lines[row]}")
        if lines
        else (lambda row: f"{labels}: row {row}")
    )
    return targets.as_target(raw, labels, place), notes


def _is_text(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith((".txt", ".csv", ".tsv"))


def _array(path: Path) -> Array:
    suffix = path.suffix.lower()
    if idx.is_idx(path):
        return idx.read_idx(path)
    if suffix == ".npy":
        return npy.map_npy(path)
    if suffix == ".npz":
        return archive.only_labels(npz.open_npz(path))
    if suffix == ".safetensors":
        return archive.only_labels(tensors.open_safetensors(path))
    raise files.broken(path, f"labels: expected one of {_ENDINGS}")


def _lines(path: Path) -> tuple[list[str], list[int]]:
    """Return the labels and the lines they stand on; empty lines at the end do not count."""
    with files.parsing(path, "text"):
        try:
            rows = list(_rows(path))
        except UnicodeDecodeError as error:
            raise files.undecodable(path) from error
    while rows and not "".join(rows[-1][1]).strip():
        rows.pop()
    for line, fields in rows:
        if len(fields) > 1:
            found = f"found {len(fields)} fields"
            raise files.broken(path, f"line {line}: expected one label a line, {found}")
    return ["".join(fields).strip() for _, fields in rows], [line for line, _ in rows]


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    delimiter = _DELIMITERS.get(Path(path.name.lower().removesuffix(".gz")).suffix)
    with files.open_text(path) as stream:
        if delimiter is None:
            yield from ((line, [text]) for line, text in enumerate(stream, 1))
        else:
            reader = csv.reader(stream, delimiter=delimiter, strict=True)
            yield from ((reader.line_num, fields) for fields in reader)


def _numbers_or_texts(texts: list[str]) -> Array:
    for kind in (int, float):
        try:
            return np.array([kind(text) for text in texts], np.dtype(kind))
        except (ValueError, OverflowError):
            continue
    return np.array(texts, object)
