"""A file is written whole or not at all, and so are several that belong together."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write ``content`` under a temporary name beside ``path``, then move it into place.

    A reader sees the old file or the new one, never half of it; what was there before stays if
    the writing fails or is interrupted. The error names ``path``.
    """
    write_together({Path(path): content})


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write several files: none is moved into place before all are written."""
    temporary, new = dict[Path, Path](), list[Path]()
    try:
        for path, content in contents.items():
            temporary[path] = _written_beside(path, content)
        for path, place in temporary.items():
            is_new = not path.exists()
            place.replace(path)
            new += [path] if is_new else []
    except BaseException as error:
        for place in [*temporary.values(), *new]:
            place.unlink(missing_ok=True)
        # Of a move the second name is the file that was meant, the first a temporary one.
        if isinstance(error, OSError) and error.filename2:
            raise _naming(error, Path(error.filename2)) from error
        raise


def _written_beside(path: Path, content: bytes) -> Path:
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise _naming(error, path) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o666 & ~_umask())
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _naming(error, path) from error
        raise
    return Path(name)


def _naming(error: OSError, path: Path) -> OSError:
    """Return the error of the file that was meant; a write itself knows no name."""
    return OSError(error.errno, error.strerror or str(error), str(path))


def _umask() -> int:
    # The only portable way to read it is to set it; mkstemp's own 0600 would keep others out.
    mask = os.umask(0)
    os.umask(mask)
    return mask


# What is said of a path that leads nowhere. Anything else (no permission, a name too long, a disk
# that fails) is no answer: pathlib's own questions raise it up to Python 3.13, and from 3.14 on
# they say False, by which data that cannot be read would be left out in silence.
_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP)


def is_there(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path leads to anything; raises OSError where that cannot be told."""
    return _mode(path) is not None


def is_file(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path leads to a regular file; raises OSError where that cannot be told."""
    return stat.S_ISREG(_mode(path) or 0)


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path leads to a folder; raises OSError where that cannot be told."""
    return stat.S_ISDIR(_mode(path) or 0)


def _mode(path: str | os.PathLike[str]) -> int | None:
    try:
        return os.stat(path).st_mode
    except ValueError:  # a null character: no path at all
        return None
    except OSError as error:
        if error.errno in _NOWHERE:
            return None
        raise
