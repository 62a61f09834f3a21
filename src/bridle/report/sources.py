"""The samples themselves, where they can be shown: small pictures, and the beginning of texts."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.report.rankings import name

Array = npt.NDArray[Any]

_LARGEST_SIDE = 48  # pixels
_BYTES_PER_SAMPLE = 2000  # on average, of its picture (in base64) and of its text
_LONGEST_TEXT = 240
_BYTE = 255.0


class Pictures(Protocol):
    """An image for each row: (H, W), (H, W, 3), or its colours first."""

    def __len__(self) -> int: ...
    def __getitem__(self, row: int, /) -> Array: ...


def with_sources(
    shown: list[dict[str, Any]],
    rows: Sequence[int],
    pictures: Pictures | None,
    texts: Sequence[object] | None,
) -> None:
    """Give the samples that are shown their picture and their text, as many as the page holds."""
    room = _BYTES_PER_SAMPLE * len(shown)
    if pictures is not None:
        images = [_plain(pictures[row]) for row in rows]
        largest = _BYTE
        if any(image.dtype != np.uint8 for image in images):
            largest = max(float(np.nanmax(image, initial=0.0)) for image in images) or 1.0
        for sample, image in zip(shown, images, strict=True):
            address = _address(image, largest)
            room -= len(address)
            if room < 0:
                break
            sample["picture"] = address
    if texts is not None:
        for sample, row in zip(shown, rows, strict=True):
            text = name(texts[row], _LONGEST_TEXT)
            room -= len(html.escape(text).encode())
            if room < 0:
                break
            sample["text"] = text


def with_fewer_sources(found: dict[str, Any], bytes_less: int) -> dict[str, Any]:
    """Return what is shown without the pictures and texts of the last samples of each table."""
    tables = {
        part: [dict(row) for row in found[part]["shown"]]
        for part in ("label_errors", "samples")
        if found[part] is not None
    }
    last = [row for rows in tables.values() for row in reversed(rows)]
    for row in last:
        if bytes_less <= 0:
            break
        for kind in ("picture", "text"):
            bytes_less -= len(html.escape(row.pop(kind, "")).encode())
    return {**found, **{part: {**found[part], "shown": rows} for part, rows in tables.items()}}


def without_sources(found: dict[str, Any]) -> dict[str, Any]:
    """Return what is shown without pictures and texts: those are no figures."""
    plain = {
        part: {
            **found[part],
            "shown": [
                {key: value for key, value in row.items() if key not in ("picture", "text")}
                for row in found[part]["shown"]
            ],
        }
        for part in ("samples", "label_errors")
        if found[part] is not None
    }
    return {**found, **plain}


def _plain(image: Any) -> Array:
    """Return an image as (H, W) or (H, W, 3)."""
    values = np.asarray(image)
    if values.ndim == 3 and values.shape[0] in (1, 3) and values.shape[2] not in (1, 3):
        values = values.transpose(1, 2, 0)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3) or not values.size:
        raise checks.InputError.of(
            "pictures", expected="images (H, W) or (H, W, 3)", found=values.shape
        )
    return values


def _address(image: Array, largest: float) -> str:
    """Return an image as an address that holds it: the smaller of two formats."""
    pillow = checks.require("PIL.Image", extra="report", purpose="pictures in a report")
    values = np.clip(np.nan_to_num(image.astype(np.float64)) * (_BYTE / largest), 0, _BYTE)
    picture = pillow.fromarray(np.rint(values).astype(np.uint8))
    picture.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE))
    written = []
    for kind, options in (("png", {"optimize": True}), ("jpeg", {"quality": 75})):
        stream = io.BytesIO()
        picture.save(stream, kind, **options)
        content = base64.b64encode(stream.getvalue()).decode()
        written.append(f"data:image/{kind};base64,{content}")
    return min(written, key=len)
