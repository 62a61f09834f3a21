"""Parquet with nested columns: image sets of the Hugging Face hub, and structs that are none."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from bridle.checks import InputError
from bridle.cli import run
from bridle.data import load

Array = npt.NDArray[Any]

HUB_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
GREY = np.random.default_rng(0).integers(0, 256, (12, 4, 5), dtype=np.uint8)
COLOURS = np.random.default_rng(1).integers(0, 256, (12, 4, 5, 3), dtype=np.uint8)


def png(pixels: Array) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def entries(images: Array) -> list[dict[str, Any]]:
    return [{"bytes": png(image), "path": f"{row}.png"} for row, image in enumerate(images)]


def written(
    path: Path, rows: list[Any], kind: pa.DataType = HUB_IMAGE, **columns: list[Any]
) -> str:
    table = {"image": pa.array(rows, kind), "label": [0, 1] * (len(rows) // 2), **columns}
    parquet.write_table(pa.table(table), path)
    return str(path)


@pytest.mark.parametrize("images", [GREY, COLOURS])
@pytest.mark.parametrize("kind", [HUB_IMAGE, pa.struct(
    [("path", pa.large_string()), ("bytes", pa.large_binary())]
)])  # fmt: skip
def test_images_of_the_hub_are_pixels(tmp_path: Path, images: Array, kind: pa.DataType) -> None:
    dataset = load(written(tmp_path / "a.parquet", entries(images), kind))
    pixels = images.reshape(len(images), -1)
    np.testing.assert_array_equal(dataset.features.to_array(), pixels)
    assert dataset.target is not None
    assert dataset.target.tolist() == [0, 1] * 6
    assert dataset.pixels
    assert f"the images of column 'image' became {pixels.shape[1]} columns" in dataset.notes


def test_images_in_shards_and_beside_other_columns(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    for shard in range(2):
        part = GREY[shard * 6 : (shard + 1) * 6]
        written(tmp_path / "shards" / f"train-0000{shard}-of-00002.parquet", entries(part))
    dataset = load(str(tmp_path / "shards"))
    np.testing.assert_array_equal(dataset.features.to_array(), GREY.reshape(12, -1))
    assert dataset.pixels
    beside = load(written(tmp_path / "a.parquet", entries(GREY), width=list(range(3, 15))))
    assert beside.features.shape == (12, 21)
    assert not beside.pixels  # not all on one scale


def test_grey_images_for_a_model_of_colours(tmp_path: Path) -> None:
    fitted = load(written(tmp_path / "a.parquet", entries(COLOURS)))
    source = written(tmp_path / "b.parquet", entries(GREY))
    grey = load(source, feature_names=fitted.feature_names)
    expected = np.repeat(GREY.reshape(12, -1), 3, axis=1)
    np.testing.assert_array_equal(grey.features.to_array(), expected)


def test_from_parquet_to_predictions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = np.where(np.arange(12)[:, None, None] % 2 == 0, GREY // 4, GREY // 4 + 190)
    source = written(tmp_path / "a.parquet", entries(images))
    assert run(["fit", source, "--out", str(tmp_path / "m"), "--holdout", "0"]) == 0
    assert "pixels are penalised on one scale" in capsys.readouterr().out
    assert run(["predict", str(tmp_path / "m"), source]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[1] for line in lines[1:]] == ["0", "1"] * 6


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (None, "row 1, column 'image': the image is not in the file"),
        ({"bytes": None, "path": "a.png"}, "row 1, column 'image': the image is not in the file: "
         "only a path, 'a.png'"),
        ({"bytes": b"no image", "path": "a.png"}, "row 1, column 'image': cannot be read as an "),
        ({"bytes": png(GREY[0, :3]), "path": "a.png"}, "row 1, column 'image': an image of 5 by 3, "
         "expected 5 by 4 as in "),
    ],
)  # fmt: skip
def test_images_that_cannot_be_read(tmp_path: Path, row: Any, expected: str) -> None:
    source = written(tmp_path / "a.parquet", [entries(GREY)[0], row])
    with pytest.raises(InputError) as caught:
        load(source)
    assert str(caught.value).startswith(f"{source}: {expected}")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([{"text": "a"}, {"text": "b"}], pa.struct([("text", pa.string())])),
        ([{"bytes": "a", "path": "b"}] * 2, pa.struct([("bytes", pa.string())])),
        ([{"bytes": b"", "path": "", "more": ""}] * 2, pa.struct([*HUB_IMAGE, ("more", "string")])),
        ([[("a", "b")]] * 2, pa.map_(pa.string(), pa.string())),
        ([["a"], ["b"]], pa.list_(pa.string())),
        ([[{"a": "b"}]] * 2, pa.list_(pa.struct([("a", pa.string())]))),
        ([[[1.0]], [[2.0]]], pa.list_(pa.list_(pa.float32()))),
        ([b"a", b"b"], pa.binary()),
    ],
)
def test_other_nested_columns_are_refused(
    tmp_path: Path, rows: list[Any], kind: pa.DataType
) -> None:
    source = written(tmp_path / "a.parquet", rows, kind)
    with pytest.raises(InputError, match=r"column 'image'.*expected") as caught:
        load(source)
    assert str(caught.value).isprintable()
