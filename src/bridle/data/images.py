"""Images: their pixels become features. In folders, one for each class, or bytes inside a table."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.data import files, parts
from bridle.data.dataset import Dataset, from_parts
from bridle.data.parts import Part, Request
from bridle.data.scratch import Scratch
from bridle.files import is_file, is_folder

if TYPE_CHECKING:
    from PIL.Image import Image

Array = npt.NDArray[Any]

_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".pgm", ".ppm"})
# Pillow goes by the content, whatever the name. Only these: for others it starts programs (EPS)
# or writes to the terminal (TIFF).
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM")
_GREY = frozenset({"1", "L", "LA"})
_DEEP = ("I", "F")  # 16 and more bits: a conversion to 8 would clip
_TRANSPARENT = frozenset({"LA", "PA", "RGBA", "La", "RGBa"})


@dataclass(frozen=True)
class Picture:
    """One image: where it stands, for messages, and a file or the bytes of one."""

    place: str
    content: Path | bytes


def is_image(path: Path) -> bool:
    """Tell by its name whether a file is an image that can be read."""
    return path.suffix.lower() in _ENDINGS and _is_visible(path)


def image_files(folder: Path) -> list[Path]:
    """Return the images in the direct sub-folders of a folder, by class and name."""
    classes = sorted(path for path in folder.iterdir() if is_folder(path) and _is_visible(path))
    return [path for name in classes for path in flat_files(name)]


def flat_files(folder: Path) -> list[Path]:
    """Return the images that lie in a folder itself."""
    return [path for path in sorted(folder.iterdir()) if is_image(path) and is_file(path)]


def load_images(folder: Path, paths: Sequence[Path], request: Request) -> Dataset:
    """Load images of one size: one folder for each class, or of no class where none is needed."""
    parts.refuse_labels(request, "a folder of images")
    parts.refuse_target_name(request, "a folder of images")
    pictures = [Picture(str(path), path) for path in paths]
    file = str(folder if len(paths) > 1 else paths[0])
    width, scratch = request.expected_width, request.scratch
    pixels, modes = read_pixels(pictures, file, width, scratch)
    flat = any(path.parent == folder for path in paths)
    part = Part(
        file=file,
        features=parts.feature_rows(pixels, file),
        target=None if flat else np.array([path.parent.name for path in paths]),
        ids=tuple(path.relative_to(folder).as_posix() for path in paths),
        pixels=True,
        image_shape=pixels.shape[1:],
    )
    notes = [*parts.flattening_note(pixels.shape), *_notes(folder, paths, modes, flat=flat)]
    return from_parts([part], request, notes)


def load_image(paths: Sequence[Path], request: Request) -> Dataset:
    """Load one image, which is one row without a label."""
    (path,) = paths
    if request.need_target:
        raise files.broken(path, "one image has no label: expected a folder of them for each class")
    return load_images(path.parent, paths, request)


def read_pixels(
    pictures: Sequence[Picture],
    file: str,
    width: int | None = None,
    scratch: Scratch | None = None,
) -> tuple[Array, set[str]]:
    """Return the pixels of images of one size, in bytes, and the modes they were stored in.

    They are grey ``(N, height, width)`` if all images are, else in colours ``(N, height, width,
    3)``: red, green, blue. Grey ones become colours too where a model, of so many features, was
    fitted to colours.
    """
    mode, shape, modes = layout_of(pictures, width)
    if scratch is not None:
        return scratch.filled(shape, np.uint8, decoded(pictures, mode)), modes
    with files.parsing(file, "images"):
        pixels = np.empty(shape, np.uint8)
    for row, image in enumerate(decoded(pictures, mode)):
        pixels[row] = image
    return pixels, modes


def layout_of(
    pictures: Sequence[Picture], width: int | None = None
) -> tuple[str, tuple[int, ...], set[str]]:
    """Return the mode and the shape that the pixels of images get, and the modes they have."""
    checks.require("PIL", extra="cli", purpose=f"reading {pictures[0].place}")
    # Pillow logs its doubts about broken files; without a handler they would reach the terminal.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    modes, (columns, rows) = _modes_and_size(pictures)
    mode = "L" if modes <= _GREY and width != 3 * rows * columns else "RGB"
    return mode, (len(pictures), rows, columns) + ((3,) if mode == "RGB" else ()), modes


def decoded(pictures: Sequence[Picture], mode: str) -> Iterator[Array]:
    """Yield the pixels of each image."""
    for picture in pictures:
        with files.parsing(picture.place, "an image"), _opened(picture) as image:
            pixels = np.asarray(image.convert(mode))
        yield pixels


def _modes_and_size(pictures: Sequence[Picture]) -> tuple[set[str], tuple[int, int]]:
    """Look at every header before any pixel is read."""
    modes, size = set[str](), (0, 0)
    for picture in pictures:
        with files.parsing(picture.place, "an image"), _opened(picture) as image:
            found, mode = image.size, image.mode
            transparent = "transparency" in image.info
        size = size if modes else found
        if found != size:
            raise files.broken(
                picture.place,
                f"an image of {_sides(found)}, expected {_sides(size)} as in {pictures[0].place}",
            )
        if mode.startswith(_DEEP):
            raise files.broken(
                picture.place, f"pixels of more than 8 bits (mode {mode}), expected 8"
            )
        modes.add("RGBA" if transparent and mode not in _TRANSPARENT else mode)
    return modes, size


def _opened(picture: Picture) -> Image:
    import PIL.Image

    # A size that Pillow only warns of is one that nobody means: the header is broken.
    warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
    content = picture.content
    source = io.BytesIO(content) if isinstance(content, bytes) else content
    try:
        return PIL.Image.open(source, formats=_FORMATS)
    except PIL.UnidentifiedImageError:
        raise ValueError(f"expected one of {', '.join(_FORMATS)}") from None


def _notes(folder: Path, paths: Sequence[Path], modes: set[str], *, flat: bool) -> list[str]:
    classes = {path.parent for path in paths}
    notes = [] if flat else [f"target: {len(classes)} folders of images"]
    outside = 0 if flat else len(flat_files(folder))
    if outside:
        notes.append(f"not in a folder of a class: {outside} images, not used")
    if modes & _TRANSPARENT:
        notes.append("transparency is not used")
    if flat:
        return notes
    without = sorted(
        path.name
        for path in folder.iterdir()
        if is_folder(path) and _is_visible(path) and path not in classes
    )
    if without:
        notes.append(f"folders without images: {files.listing(without)}")
    return notes


def _sides(size: tuple[int, int]) -> str:
    return f"{size[0]} by {size[1]}"


def _is_visible(path: Path) -> bool:
    return not path.name.startswith(".")
