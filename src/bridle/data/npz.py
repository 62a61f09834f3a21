"""NumPy's ``.npz``, a zip of ``.npy`` arrays: mapped where stored plainly, else unpacked."""

from __future__ import annotations

import functools
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.data import files, npy
from bridle.data.archive import Archive
from bridle.data.scratch import Scratch

Array = npt.NDArray[Any]

_ENDING = ".npy"
_LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip member: the lengths of its name and extra field


def open_npz(path: Path, scratch: Scratch | None = None) -> Archive:
    """List the arrays of an ``.npz`` file; packed ones go to ``scratch``, where there is one."""
    with path.open("rb") as stream:
        if files.is_pickle(stream.read(2)):
            raise files.broken(path, "not an .npz archive: found a pickle, which is never read")
    with files.parsing(path, "an .npz archive"), zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(_ENDING): info for info in archive.infolist()}
    others = [info.filename for info in members.values() if not info.filename.endswith(_ENDING)]
    if others:
        raise files.broken(path, f"expected .npy arrays, found {files.quoted(others[0])}")
    read = functools.cache(lambda name: _read(path, members[name], scratch))
    return Archive(str(path), tuple(members), read)


def _read(path: Path, member: zipfile.ZipInfo, scratch: Scratch | None) -> Array:
    place = f"{path}: array {files.quoted(member.filename.removesuffix(_ENDING))}"
    plain = member.compress_type == zipfile.ZIP_STORED
    if not plain and member.compress_type != zipfile.ZIP_DEFLATED:
        raise files.broken(place, "packed by a method that NumPy does not write")
    _check_size(path, place, member)
    with (
        files.parsing(place, "an .npy array"),
        zipfile.ZipFile(path) as archive,
        archive.open(member) as stream,
    ):
        header = npy.read_header(stream, place)
        start = stream.tell()
        size = npy.content_size(header)
        if start + size != member.file_size:
            found = member.file_size - start
            raise files.broken(place, f"shape {header[0]} takes {size} bytes, found {found}")
        content = None if plain else files.read_exactly(stream, size, scratch)
    if content is None:
        return npy.map_array(path, _content_start(path, member) + start, header, size)
    return _shaped(place, content, header)


def _check_size(path: Path, place: str, member: zipfile.ZipInfo) -> None:
    held = min(member.compress_size, path.stat().st_size)
    most = files.largest_content(held) if member.compress_type == zipfile.ZIP_DEFLATED else held
    if member.file_size > most:
        raise files.broken(
            place, f"truncated: {member.file_size} bytes declared, at most {most} can be held"
        )


def _content_start(path: Path, member: zipfile.ZipInfo) -> int:
    with files.parsing(path, "an .npz archive"), path.open("rb") as stream:
        stream.seek(member.header_offset)
        name, extra = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
    return int(member.header_offset + _LOCAL_HEADER.size + name + extra)


def _shaped(place: str, content: Array, header: npy.Header) -> Array:
    shape, fortran, dtype = header
    with files.parsing(place, "an .npy array"):
        if content.size != npy.content_size(header):
            raise ValueError("the packed bytes end too early")
        if content.size == 0:
            return np.empty(shape, dtype)
        return content.view(dtype).reshape(shape, order="F" if fortran else "C")
