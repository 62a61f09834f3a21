"""Which reader belongs to which ending of a name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bridle.data import arrays, delimited, files, idx, images, mnist, parquet, parts, svmlight
from bridle.data.dataset import Dataset
from bridle.data.parts import Request

Reader = Callable[[Sequence[Path], Request], Dataset]

_TEXT_READERS: dict[str, Reader] = {
    ".csv": delimited.load_delimited,
    ".tsv": delimited.load_delimited,
    ".txt": delimited.load_delimited,
    ".svmlight": svmlight.load_svmlight,
    ".libsvm": svmlight.load_svmlight,
    ".svm": svmlight.load_svmlight,
}
_READERS: dict[str, Reader] = {
    ".parquet": parquet.load_parquet,
    ".npz": arrays.load_npz,
    ".npy": arrays.load_npy,
    ".safetensors": arrays.load_safetensors,
}
ENDINGS = ", ".join(_TEXT_READERS) + f" ({', '.join(files.PACKED)} too), " + ", ".join(_READERS)


TABLES: tuple[Reader, ...] = (delimited.load_delimited, parquet.load_parquet)


def check_options(reader: Reader, path: Path, request: Request) -> None:
    """Refuse names of columns for files that are no tables, of arrays for those that have none."""
    if reader not in TABLES:
        parts.refuse_selection(request, "no table")
    if reader not in (arrays.load_npz, arrays.load_safetensors):
        parts.refuse_arrays(request, f"a file {files.quoted(path.suffix)}")


def reader_of(path: Path) -> Reader | None:
    """Return the reader of a file by its name, None where no format has such a name."""
    if idx.is_idx(path):
        return mnist.load_idx
    if images.is_image(path):
        return images.load_image
    name = path.name.lower()
    found = next((reader for ending, reader in _READERS.items() if name.endswith(ending)), None)
    if found is not None:
        return found
    name = files.unpacked_name(path)
    return next((read for ending, read in _TEXT_READERS.items() if name.endswith(ending)), None)
