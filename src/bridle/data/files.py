"""What every reader needs of a file: errors that name it, its bytes, and no trust in its sizes."""

from __future__ import annotations

import bz2
import codecs
import difflib
import gzip
import io
import lzma
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.data.scratch import Scratch

Array = npt.NDArray[Any]

# DEFLATE cannot pack more than 1032 bytes into one: a file that promises more is broken.
_DEFLATE_RATIO = 1032
_LONGEST_QUOTE = 60
_CHUNK = 2**20


@contextmanager
def parsing(file: Path | str, kind: str) -> Iterator[None]:
    """Turn whatever a parser throws at broken content into one line that names the file.

    Parsers raise nearly anything at hostile bytes (KeyError, SyntaxError, MemoryError, …), so this
    catches all of it; keep calls of our own out of its reach.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a parser's doubts about a broken file
            yield
    except (checks.InputError, checks.MissingExtraError):
        raise
    except Exception as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise broken(file, f"cannot be read as {kind}: {_reason(reason or error)}") from error


def broken(file: Path | str, what: str) -> checks.InputError:
    """Return the error of a file, or of a place in it, on one line."""
    return checks.InputError(_printable(f"{file}: {what}", _escaped))


def quoted(text: object) -> str:
    """Return text from a file for a message: escaped, and cut where it is long."""
    written = str(text)
    cut = written if len(written) <= _LONGEST_QUOTE else written[:_LONGEST_QUOTE] + "…"
    return repr(cut)


def listing(names: Iterable[str], most: int = 10) -> str:
    """Return quoted names for a message, the first ones only where there are many."""
    everything = list(names)
    shown = ", ".join(quoted(name) for name in everything[:most])
    return shown if len(everything) <= most else f"{shown}, … ({len(everything)} in all)"


def suggestion(name: str, names: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` where a name comes close, else nothing."""
    known = list(names)
    close = [each for each in known if each.lower() == name.lower()]
    close = close or difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {quoted(close[0])}?" if close else ""


def is_pickle(first_bytes: bytes) -> bool:
    """Tell whether a file starts as a pickle does."""
    return first_bytes[:1] == b"\x80" and first_bytes[1:2] in {b"\2", b"\3", b"\4", b"\5"}


def is_gzip(path: Path) -> bool:
    """Tell whether a file's name says that it is packed by gzip."""
    return path.name.lower().endswith(".gz")


PACKED = (".gz", ".bz2", ".xz", ".zip", ".zst")

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def unpacked_name(path: Path) -> str:
    """Return a file's name in lower case without the ending that says how it is packed."""
    name = path.name.lower()
    return next((name.removesuffix(ending) for ending in PACKED if name.endswith(ending)), name)


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for bytes, unpacked where its name ends as a packed file's does."""
    ending = path.suffix.lower()
    if ending == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    if ending == ".bz2":
        return cast(IO[bytes], bz2.open(path, "rb"))
    if ending == ".xz":
        return cast(IO[bytes], lzma.open(path, "rb"))
    if ending == ".zip":
        return _open_zip(path)
    if ending == ".zst":
        # The extra of parquet brings a reader of zstd; another package for it is not needed.
        arrow = checks.require("pyarrow", extra="parquet", purpose=f"reading {path}")
        return io.BufferedReader(arrow.input_stream(str(path), compression="zstd"))
    return path.open("rb")


def _open_zip(path: Path) -> IO[bytes]:
    with zipfile.ZipFile(path) as archive:
        members = [each for each in archive.infolist() if not each.is_dir()]
        # What the archiver of macOS adds is no content.
        members = [each for each in members if not each.filename.startswith("__MACOSX/")]
        if len(members) != 1:
            found = listing(each.filename for each in members) or "none"
            raise broken(path, f"expected one file in the .zip, found {found}")
        return archive.open(members[0])


# What packed files and others that are no text begin with, and how their names end.
_PACKED_MARKS = (
    (re.compile(rb"\x1f\x8b"), ".gz"),
    (re.compile(rb"BZh[1-9]1AY&SY"), ".bz2"),
    (re.compile(rb"\xfd7zXZ\0"), ".xz"),
    (re.compile(rb"PK\x03\x04"), ".zip or .xlsx"),
    (re.compile(rb"\x28\xb5\x2f\xfd"), ".zst"),
    (re.compile(rb"PAR1\x15"), ".parquet"),
)


def refuse_packed(path: Path) -> None:
    """Refuse a file that is packed, or otherwise no text, under a name that does not say so."""
    if path.name.lower().endswith(PACKED):
        return
    with path.open("rb") as stream:
        start = stream.read(10)
    found = next((ending for mark, ending in _PACKED_MARKS if mark.match(start)), None)
    if found is not None:
        raise broken(path, f"expected text, found the content of a {found} file")


def encoding_of(path: Path, told: str | None) -> str:
    """Return how a text file is encoded: as its byte order mark says, as told, else UTF-8."""
    with open_bytes(path) as stream:
        start = stream.read(3)
    marked = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
    return marked or told or "utf-8"


def open_text(path: Path, encoding: str | None = None) -> IO[str]:
    """Open a text file, unpacked, with its line ends as they are."""
    found = encoding_of(path, encoding)
    return io.TextIOWrapper(cast(Any, open_bytes(path)), encoding=found, newline="")


def undecodable(path: Path, told: str | None = None) -> checks.InputError:
    """Return the error of a file that is not in its encoding, with the first line that is not."""
    encoding = encoding_of(path, told)
    plain = encoding.removesuffix("-sig")
    name = plain.upper() if plain.startswith("utf") else encoding
    hint = "" if told else " (--encoding latin-1, cp1252, … tells another)"
    if plain == "utf-8":
        with open_bytes(path) as stream:
            for number, line in enumerate(stream, 1):
                try:
                    line.decode(plain)
                except UnicodeDecodeError:
                    return broken(path, f"line {number}: not {name} text{hint}")
    return broken(path, f"not {name} text{hint}")


def largest_content(packed_bytes: int) -> int:
    """Return how many bytes a DEFLATE stream of this length can hold at most."""
    return _DEFLATE_RATIO * packed_bytes


def read_exactly(stream: IO[bytes], size: int, scratch: Scratch | None = None) -> Array:
    """Return the next ``size`` bytes, or fewer where the stream ends before."""
    if scratch is not None:
        return scratch.written(chunks(stream, size))
    content, position = np.empty(size, np.uint8), 0
    for chunk in chunks(stream, size):
        content[position : position + len(chunk)] = chunk
        position += len(chunk)
    return content[:position]


def chunks(stream: IO[bytes], size: int) -> Iterator[Array]:
    """Yield the next ``size`` bytes, or fewer where the stream ends before, some at a time."""
    while size > 0 and (chunk := stream.read(min(_CHUNK, size))):
        yield np.frombuffer(chunk, np.uint8)
        size -= len(chunk)


def _reason(error: object) -> str:
    first = next((line for line in str(error).splitlines() if line.strip()), "")
    return _printable(first, lambda _: "?")[:160] or type(error).__name__


def _printable(text: str, replace: Callable[[str], str]) -> str:
    return "".join(letter if letter.isprintable() else replace(letter) for letter in text)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
