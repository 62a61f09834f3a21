"""A folder of images, one folder for each class: pixels become features, folder names classes."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bridle import checks
from bridle.data import files, parts
from bridle.data.dataset import Dataset, from_parts
from bridle.data.parts import Part, Request

if TYPE_CHECKING:
    from PIL.Image import Image

_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".pgm", ".ppm"})
# Pillow goes by the content, whatever the name. Only these: for others it starts programs (EPS)
# or writes to the terminal (TIFF).
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM")
_GREY = frozenset({"1", "L", "LA"})
_DEEP = ("I", "F")  # 16 and more bits: a conversion to 8 would clip
_TRANSPARENT = frozenset({"LA", "PA", "RGBA", "La", "RGBa"})


def image_files(folder: Path) -> list[Path]:
    """Return the images in the direct sub-folders of a folder, by class and name."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and _is_visible(path))
    return [
        path
        for name in classes
        for path in sorted(name.iterdir())
        if path.suffix.lower() in _ENDINGS and _is_visible(path) and path.is_file()
    ]


def load_images(folder: Path, paths: Sequence[Path], request: Request) -> Dataset:
    """Load images of one size: grey if all are, else in colours ``(red, green, blue)``."""
    parts.refuse_labels(request, "a folder of images")
    parts.refuse_target_name(request, "a folder of images")
    checks.require("PIL", extra="cli", purpose=f"reading {paths[0]}")
    # Pillow logs its doubts about broken files; without a handler they would reach the terminal.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    modes, size = _modes_and_size(paths)
    mode = "L" if modes <= _GREY else "RGB"
    width, height = size
    shape = (len(paths), height, width) if mode == "L" else (len(paths), height, width, 3)
    with files.parsing(folder, "images"):
        pixels = np.empty(shape, np.uint8)
    for row, path in enumerate(paths):
        with files.parsing(path, "an image"), _opened(path) as image:
            pixels[row] = np.asarray(image.convert(mode))
    part = Part(
        file=str(folder),
        features=parts.feature_rows(pixels, str(folder)),
        target=np.array([path.parent.name for path in paths]),
        ids=tuple(path.relative_to(folder).as_posix() for path in paths),
        pixels=True,
    )
    return from_parts(
        [part], request, (*parts.flattening_note(shape), *_notes(folder, paths, modes))
    )


def _modes_and_size(paths: Sequence[Path]) -> tuple[set[str], tuple[int, int]]:
    """Look at every header before any pixel is read."""
    modes, size = set[str](), (0, 0)
    for path in paths:
        with files.parsing(path, "an image"), _opened(path) as image:
            found, mode = image.size, image.mode
            transparent = "transparency" in image.info
        size = size if modes else found
        if found != size:
            raise files.broken(
                path, f"an image of {_sides(found)}, expected {_sides(size)} as in {paths[0]}"
            )
        if mode.startswith(_DEEP):
            raise files.broken(path, f"pixels of more than 8 bits (mode {mode}), expected 8")
        modes.add("RGBA" if transparent and mode not in _TRANSPARENT else mode)
    return modes, size


def _opened(path: Path) -> Image:
    import PIL.Image

    # A size that Pillow only warns of is one that nobody means: the header is broken.
    warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
    return PIL.Image.open(path, formats=_FORMATS)


def _notes(folder: Path, paths: Sequence[Path], modes: set[str]) -> list[str]:
    classes = {path.parent for path in paths}
    notes = [f"target: {len(classes)} folders of images"]
    if modes & _TRANSPARENT:
        notes.append("transparency is not used")
    without = sorted(
        path.name
        for path in folder.iterdir()
        if path.is_dir() and _is_visible(path) and path not in classes
    )
    if without:
        notes.append(f"folders without images: {files.listing(without)}")
    return notes


def _sides(size: tuple[int, int]) -> str:
    return f"{size[0]} by {size[1]}"


def _is_visible(path: Path) -> bool:
    return not path.name.startswith(".")
