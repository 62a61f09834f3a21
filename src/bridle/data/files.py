"""What every reader needs of a file: errors that name it, its bytes, and no trust in its sizes."""

from __future__ import annotations

import difflib
import gzip
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from bridle import checks

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
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {quoted(close[0])}?" if close else ""


def is_pickle(first_bytes: bytes) -> bool:
    """Tell whether a file starts as a pickle does."""
    return first_bytes[:1] == b"\x80" and first_bytes[1:2] in {b"\2", b"\3", b"\4", b"\5"}


def is_gzip(path: Path) -> bool:
    """Tell whether a file's name says that it is packed by gzip."""
    return path.name.lower().endswith(".gz")


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for bytes, unpacked where its name ends in ``.gz``."""
    return cast(IO[bytes], gzip.open(path, "rb")) if is_gzip(path) else path.open("rb")


def open_text(path: Path) -> IO[str]:
    """Open a UTF-8 file for text with its line ends as they are, unpacked where it is ``.gz``."""
    if is_gzip(path):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def undecodable(path: Path) -> checks.InputError:
    """Return the error of a file that is not UTF-8, with the first line that is not."""
    with open_bytes(path) as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return broken(path, f"line {number}: not UTF-8 text")
    return broken(path, "not UTF-8 text")


def largest_content(packed_bytes: int) -> int:
    """Return how many bytes a DEFLATE stream of this length can hold at most."""
    return _DEFLATE_RATIO * packed_bytes


def read_exactly(stream: IO[bytes], size: int) -> Array:
    """Return the next ``size`` bytes, or fewer where the stream ends before."""
    content, position = np.empty(size, np.uint8), 0
    while position < size and (chunk := stream.read(min(_CHUNK, size - position))):
        content[position : position + len(chunk)] = np.frombuffer(chunk, np.uint8)
        position += len(chunk)
    return content[:position]


def _reason(error: object) -> str:
    first = next((line for line in str(error).splitlines() if line.strip()), "")
    return _printable(first, lambda _: "?")[:160] or type(error).__name__


def _printable(text: str, replace: Callable[[str], str]) -> str:
    return "".join(letter if letter.isprintable() else replace(letter) for letter in text)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
