"""A fitted model is given a flat folder of images, one image, or one row."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from sklearn.datasets import load_iris

from bridle.checks import InputError
from bridle.cli import run
from bridle.data import load

Array = npt.NDArray[Any]

RANDOM = np.random.default_rng(0)


def save(path: Path, pixels: Array) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def picture(label: str, shape: tuple[int, ...] = (4, 5)) -> Array:
    noise = RANDOM.integers(0, 60, shape)
    return (noise + (180 if label == "light" else 0)).astype(np.uint8)


@pytest.fixture
def model(tmp_path: Path) -> str:
    for label in ("dark", "light"):
        for number in range(6):
            save(tmp_path / "train" / label / f"{number}.png", picture(label))
    assert run(["fit", str(tmp_path / "train"), "--out", str(tmp_path / "model"), "--quiet"]) == 0
    return str(tmp_path / "model")


def answers(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, str]:
    assert run(["predict", *map(str, arguments)]) == 0
    rows = csv.DictReader(capsys.readouterr().out.splitlines())
    return {row["id"]: row["predicted"] for row in rows}


def test_a_flat_folder(tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name, label in (("b.png", "light"), ("a.png", "dark"), ("c.bmp", "light")):
        save(tmp_path / "new" / name, picture(label))
    (tmp_path / "new" / "README").write_text("passed over")
    expected = {"a.png": "dark", "b.png": "light", "c.bmp": "light"}
    assert answers(capsys, model, tmp_path / "new") == expected
    # Beside folders nothing that a prediction was asked for is left out.
    save(tmp_path / "new" / "more" / "d.png", picture("dark"))
    found = answers(capsys, model, tmp_path / "new")
    assert found == {**expected, "more/d.png": "dark"}


def test_a_remark_and_a_broken_image_beside_images(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save(tmp_path / "new" / "a.png", picture("dark")).parent
    (folder / "note.txt").write_text("taken in spring\n")
    assert answers(capsys, model, folder) == {"a.png": "dark"}
    (folder / "zz.png").write_bytes(b"no image")
    assert run(["predict", model, str(folder)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"bridle: {folder / 'zz.png'}: cannot be read as an image: expected ")
    assert "PNG, JPEG, BMP, GIF, WEBP, PPM" in error


def test_one_image(tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "one" / "x.png", picture("light"))
    save(tmp_path / "one" / "y.png", picture("dark"))
    assert answers(capsys, model, path) == {"x.png": "light"}
    assert run(["predict", model, str(save(tmp_path / "small.png", picture("dark", (2, 2))))]) == 2
    expected = f"{tmp_path / 'small.png'}: expected 20 columns, as the model has, found 4"
    assert expected in capsys.readouterr().err


def test_grey_images_for_a_model_of_colours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label in ("dark", "light"):
        for number in range(6):
            save(tmp_path / "train" / label / f"{number}.png", picture(label, (4, 5, 3)))
    model = str(tmp_path / "model")
    assert run(["fit", str(tmp_path / "train"), "--out", model, "--quiet"]) == 0
    grey = save(tmp_path / "grey.png", picture("light"))
    assert answers(capsys, model, grey) == {"grey.png": "light"}


def test_labels_are_needed_to_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "flat" / "a.png", picture("dark"))
    assert run(["fit", str(tmp_path / "flat")]) == 2
    assert "images without classes: expected one folder of images" in capsys.readouterr().err
    assert run(["fit", str(path)]) == 2
    assert "one image has no label" in capsys.readouterr().err


def test_pictures_beside_shards_and_classes_are_passed_over(tmp_path: Path) -> None:
    save(tmp_path / "plot.png", picture("dark"))
    np.save(tmp_path / "X.npy", np.eye(4))
    np.save(tmp_path / "y.npy", [0, 1, 0, 1])
    assert load(str(tmp_path)).features.shape == (4, 4)
    for label in ("a", "b"):
        save(tmp_path / "images" / label / "0.png", picture("dark"))
    save(tmp_path / "images" / "stray.png", picture("dark"))
    dataset = load(str(tmp_path / "images"))
    assert dataset.features.shape == (2, 20)
    assert "not in a folder of a class: 1 images, not used" in dataset.notes


@pytest.mark.parametrize("shape", [(20,), (4, 5), (1, 20), (1, 4, 5)])
@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_one_row_of_an_array(
    tmp_path: Path,
    model: str,
    shape: tuple[int, ...],
    ending: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / f"one.{ending}"
    pixels = picture("light").reshape(shape)
    np.save(path, pixels) if ending == "npy" else np.savez(path, X=pixels)
    assert answers(capsys, model, path) == {"0": "light"}


def test_arrays_of_another_size_are_no_row(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(19))
    with pytest.raises(InputError, match=r"expected shape \(N, D\), found \(19,\)"):
        load(str(tmp_path / "a.npy"), width=20, need_target=False)
    np.save(tmp_path / "a.npy", np.zeros(20))
    with pytest.raises(InputError, match=r"expected shape \(N, D\), found \(20,\)"):
        load(str(tmp_path / "a.npy"), need_target=False)


def test_one_row_of_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fit", "iris", "--out", str(tmp_path / "model"), "--quiet"]) == 0
    iris = load_iris()
    for row in (0, 60, 149):
        lines = [",".join(iris.feature_names), ",".join(map(str, iris.data[row]))]
        (tmp_path / "one.csv").write_text("\n".join(lines) + "\n")
        found = answers(capsys, tmp_path / "model", tmp_path / "one.csv")
        assert found == {"0": iris.target_names[iris.target[row]]}
