"""Archives of several arrays: which are learnt from, which are there to test."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression

from bridle.checks import InputError
from bridle.cli import run
from bridle.data import Reading, load
from bridle.data.archive import part_of

Array = npt.NDArray[Any]

RANDOM = np.random.default_rng(0)
CENTRES = RANDOM.integers(40, 200, (3, 4, 5))


def images(count: int) -> tuple[Array, Array]:
    labels = np.arange(count) % 3
    noise = RANDOM.integers(-39, 40, (count, 4, 5))
    return (CENTRES[labels] + noise).astype(np.uint8), labels


X_TRAIN, Y_TRAIN = images(60)
X_TEST, Y_TEST = images(21)
X_VAL, Y_VAL = images(12)
KERAS = {"x_train": X_TRAIN, "y_train": Y_TRAIN, "x_test": X_TEST, "y_test": Y_TEST}
MEDMNIST = {
    "train_images": X_TRAIN,
    "val_images": X_VAL,
    "test_images": X_TEST,
    "train_labels": Y_TRAIN[:, None],
    "val_labels": Y_VAL[:, None],
    "test_labels": Y_TEST[:, None],
}


def saved(path: Path, arrays: dict[str, Any]) -> str:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    return str(path)


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
@pytest.mark.parametrize(
    "arrays",
    [
        KERAS,
        MEDMNIST,
        {"X": X_TRAIN, "y": Y_TRAIN, "X_test": X_TEST, "y_test": Y_TEST},
        {"Xtrain": X_TRAIN, "ytrain": Y_TRAIN, "Xtest": X_TEST, "ytest": Y_TEST},
        {"data-training": X_TRAIN, "labels-training": Y_TRAIN, "data-testing": X_TEST,
         "labels-testing": Y_TEST},
        {"x_train": X_TRAIN, "y_train": Y_TRAIN, "x_val": X_TEST, "y_val": Y_TEST},
    ],
)  # fmt: skip
def test_train_is_learnt_from_and_test_is_there_to_test(
    tmp_path: Path, arrays: dict[str, Array], ending: str
) -> None:
    dataset = load(saved(tmp_path / f"a{ending}", arrays))
    np.testing.assert_array_equal(dataset.features.to_array(), X_TRAIN.reshape(60, -1))
    np.testing.assert_array_equal(dataset.target, Y_TRAIN)
    assert dataset.test is not None
    np.testing.assert_array_equal(dataset.test.features.to_array(), X_TEST.reshape(21, -1))
    np.testing.assert_array_equal(dataset.test.target, Y_TEST)
    assert dataset.pixels
    assert dataset.test.pixels
    assert any("are learnt from" in note and "to test" in note for note in dataset.notes)


def figures(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(["fit", *arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_fit_is_judged_on_the_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = saved(tmp_path / "mnist.npz", KERAS)
    found = figures(capsys, source, "--C", "0.1", "--tol", "1e-10")
    data, evaluation = found["data"], found["evaluation"]
    assert (data["training_samples"], data["judged_samples"]) == (60, 21)
    assert data["judged_on"] == "test"
    # Pixels are penalised as if scaled to 0 … 1.
    peer = LogisticRegression(C=0.1, tol=1e-10, max_iter=10_000)
    peer.fit(X_TRAIN.reshape(60, -1) / 255, Y_TRAIN)
    proba = peer.predict_proba(X_TEST.reshape(21, -1) / 255)
    expected = -np.log(proba[np.arange(21), Y_TEST]).mean()
    assert evaluation["cross_entropy_nats"] == pytest.approx(expected, rel=1e-5)


def test_other_sets_take_the_place_of_the_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = saved(tmp_path / "mnist.npz", KERAS)
    held = figures(capsys, source, "--holdout", "0.1")["data"]
    assert (held["training_samples"], held["judged_samples"]) == (54, 6)
    other = saved(tmp_path / "other.npz", {"x_test": X_VAL, "y_test": Y_VAL})
    assert figures(capsys, source, "--test", other)["data"]["judged_samples"] == 12


def test_a_model_is_given_the_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, model = saved(tmp_path / "mnist.npz", KERAS), str(tmp_path / "model")
    assert run(["fit", source, "--out", model, "--quiet"]) == 0
    assert run(["predict", model, source]) == 0
    captured = capsys.readouterr()
    assert len(list(csv.reader(captured.out.splitlines()))) == 1 + 21
    assert f"{source}: taken: x_test, y_test" in captured.err
    assert run(["predict", model, source, "--arrays", "X=x_train"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 60
    assert run(["evaluate", "--model", model, source]) == 0
    assert "21 samples" in capsys.readouterr().out


def test_arrays_names_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"pixels": X_TRAIN, "digit": Y_TRAIN, "held": X_TEST, "truth": Y_TEST, "other": Y_VAL}
    source = saved(tmp_path / "a.npz", names)
    both = "X=pixels,y=digit, X_test=held,y_test=truth"
    data = figures(capsys, source, "--arrays", both)["data"]
    assert (data["training_samples"], data["judged_samples"]) == (60, 21)
    data = figures(capsys, source, "--arrays", "X=held,y=truth", "--holdout", "0")["data"]
    assert data["training_samples"] == 21
    # The labels of a set that is named by its features alone go with them.
    med = saved(tmp_path / "med.npz", MEDMNIST)
    dataset = load(med, arrays={"X": "val_images"})
    np.testing.assert_array_equal(dataset.target, Y_VAL)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ("X=x_trian", "has no array 'x_trian', found 'x_train'"),
        ("x_train", "expected X=NAME,y=NAME (also X_test, y_test), each once, found 'x_train'"),
        ("X=a,X=b", "each once"),
        ("Z=a", "expected X=NAME,y=NAME"),
    ],
)
def test_names_that_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arrays: str, expected: str
) -> None:
    assert run(["fit", saved(tmp_path / "a.npz", KERAS), "--arrays", arrays]) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({**KERAS, "X": X_TRAIN}, "which array holds the features? 'x_train', 'X'"),
        ({**KERAS, "train_labels": Y_TRAIN}, "which array holds the labels? 'y_train', "),
        ({"x_test": X_TEST, "y_test": Y_TEST}, "no features to fit, only to test"),
    ],
)
def test_two_readings_are_an_error(tmp_path: Path, arrays: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError, match="--arrays X=NAME,y=NAME") as caught:
        load(saved(tmp_path / "a.npz", arrays))
    assert expected in str(caught.value)


def test_arrays_are_refused_where_nothing_has_names(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X_TRAIN)
    for source in ("digits", str(tmp_path / "a.npy"), str(tmp_path)):
        with pytest.raises(InputError, match="--arrays: expected an"):
            load(source, arrays={"X": "a"})


def test_a_test_without_labels_is_not_judged_on(tmp_path: Path) -> None:
    arrays = {"x_train": X_TRAIN, "y_train": Y_TRAIN, "x_test": X_TEST}
    dataset = load(saved(tmp_path / "a.npz", arrays))
    assert dataset.test is None
    assert any("not used" in note and "x_test" in note for note in dataset.notes)


def test_labels_that_are_named_have_their_counterpart(tmp_path: Path) -> None:
    arrays = {
        **KERAS,
        "y_train_fine": Y_TRAIN + 5,
        "y_test_fine": Y_TEST + 5,
    }
    dataset = load(saved(tmp_path / "a.npz", arrays), target="y_train_fine")
    assert dataset.test is not None
    np.testing.assert_array_equal(dataset.test.target, Y_TEST + 5)


@pytest.mark.parametrize("name", ["latest", "x", "attestation", "contrast_images", "trainer"])
def test_words_inside_of_words_are_no_sets(name: str) -> None:
    assert part_of(name) in (None, ("", True))


# --- the same in files beside each other ---------------------------------------------------------


@pytest.mark.parametrize("kind", ["npy", "npz", "parquet", "csv"])
def test_shards_that_say_what_they_are_for(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the Hugging Face hub lays them out: they are not joined."""
    data = tmp_path / "data"
    data.mkdir()
    sets = {"train": (X_TRAIN, Y_TRAIN), "test": (X_TEST, Y_TEST), "validation": (X_VAL, Y_VAL)}
    for name, (X, y) in sets.items():
        flat = X.reshape(len(X), -1)
        if kind == "npy":
            np.save(data / f"X_{name}.npy", flat)
            np.save(data / f"y_{name}.npy", y)
        elif kind == "npz":
            np.savez(data / f"{name}.npz", X=flat, y=y)
        else:
            frame = pd.DataFrame(flat, columns=[f"p{place}" for place in range(20)]).assign(label=y)
            if kind == "csv":
                frame.to_csv(data / f"{name}.csv", index=False)
            else:
                halves = np.array_split(np.arange(len(frame)), 2)
                for number, rows in enumerate(halves):
                    path = data / f"{name}-0000{number}-of-00002.parquet"
                    frame.iloc[rows].reset_index(drop=True).to_parquet(path)
    found = figures(capsys, str(data))["data"]
    assert (found["training_samples"], found["judged_samples"]) == (60, 21)
    assert any("are learnt from" in note for note in found["notes"])
    assert any("not used" in note and "validation" in note for note in found["notes"])
    assert run(["fit", str(data), "--out", str(tmp_path / "m"), "--quiet"]) == 0
    assert run(["predict", str(tmp_path / "m"), str(data)]) == 0
    answer = capsys.readouterr()
    assert len(answer.out.splitlines()) == 1 + 21
    assert "taken:" in answer.err


def as_table(path: Path, X: Array, y: Array) -> Path:
    names = [f"p{place}" for place in range(20)]
    path.parent.mkdir(exist_ok=True)
    pd.DataFrame(X.reshape(len(X), -1), columns=names).assign(label=y).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("fitted", "held"),
    [
        ("reviews.csv", "test.csv"),
        ("trainset.csv", "testset2.csv"),
        ("reviewsTrain.csv", "reviewsVal.csv"),
        ("a.csv", "a_dev.csv"),
    ],
)
def test_a_name_that_says_nothing_is_there_to_fit(
    tmp_path: Path, fitted: str, held: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = as_table(tmp_path / "a" / fitted, X_TRAIN, Y_TRAIN).parent
    as_table(folder / held, X_TEST, Y_TEST)
    assert run(["fit", str(folder), "--json", "--out", str(tmp_path / "m")]) == 0
    of_folder = json.loads(capsys.readouterr().out)
    alone = figures(capsys, str(folder / fitted), "--test", str(folder / held))
    assert of_folder["evaluation"] == alone["evaluation"]
    assert f"'{fitted}' are learnt from; '{held}' are there to test" in str(of_folder["data"])
    assert run(["predict", str(tmp_path / "m"), str(folder)]) == 0
    answer = capsys.readouterr()
    assert len(answer.out.splitlines()) == 1 + 21
    assert f"taken: {held}" in answer.err
    # Another set takes the place of the test, which is then not even read.
    (folder / held).write_text("other,columns\n1,2\n")
    data = figures(capsys, str(folder), "--holdout", "0.1")["data"]
    assert (data["training_samples"], data["judged_samples"]) == (54, 6)
    assert f"not used: '{held}'" in data["notes"]


UNLABELLED = "'test.csv': no labels, not used"


def test_a_test_table_without_labels_is_not_judged_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = as_table(tmp_path / "train.csv", X_TRAIN, Y_TRAIN)
    pd.read_csv(path).drop(columns="label").iloc[:9].to_csv(tmp_path / "test.csv", index=False)
    found = figures(capsys, str(tmp_path))
    assert found["evaluation"] == figures(capsys, str(path))["evaluation"]
    assert found["data"]["notes"][:2] == ["'train.csv' are learnt from", UNLABELLED]
    # Labels that are kept back are none, and a set with labels is taken before one without.
    pd.read_csv(path).assign(label=-1).to_csv(tmp_path / "test.csv", index=False)
    as_table(tmp_path / "dev.csv", X_VAL, Y_VAL)
    found = figures(capsys, str(tmp_path))["data"]
    assert (found["training_samples"], found["judged_samples"]) == (60, 12)
    assert found["notes"][1] == UNLABELLED
    (tmp_path / "dev.csv").unlink()
    pd.read_csv(path).assign(label="").to_csv(tmp_path / "test.csv", index=False)
    assert run(["fit", str(tmp_path)]) == 2
    assert "test.csv: line 2, column 'label': missing target value" in capsys.readouterr().err


def test_files_of_which_several_could_be_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    as_table(tmp_path / "train.csv", X_TRAIN, Y_TRAIN)
    as_table(tmp_path / "more.csv", X_VAL, Y_VAL)
    assert run(["fit", str(tmp_path)]) == 2
    expected = (
        "which is meant, 'train.csv' or 'more.csv'? name one file or folder, others by --test"
    )
    assert expected in capsys.readouterr().err
    assert run(["evaluate", str(tmp_path)]) == 2
    assert "which is meant, 'more.csv' or 'train.csv'?" in capsys.readouterr().err
    for name in ("train", "more"):
        (tmp_path / f"{name}.csv").rename(tmp_path / f"{name}_test.csv")
    (tmp_path / "train_test.csv").rename(tmp_path / "val.csv")
    with pytest.raises(InputError, match="nothing to fit, only to test: found 'more_test"):
        load(str(tmp_path))


def test_labels_in_a_file_are_those_of_the_set_to_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").mkdir()
    for name, X in (("train", X_TRAIN), ("test", X_TEST)):
        np.save(tmp_path / "a" / f"{name}.npy", X.reshape(len(X), -1))
    np.savetxt(tmp_path / "labels.txt", Y_TRAIN, fmt="%d")
    found = figures(capsys, str(tmp_path / "a"), "--labels", str(tmp_path / "labels.txt"))
    assert found["data"]["training_samples"] + found["data"]["judged_samples"] == 60
    assert "'test.npy': no labels, not used" in found["data"]["notes"]


def test_all_rows_to_fit_tell_words_and_means(tmp_path: Path) -> None:
    """Those to test are apart: of the others nothing is held out."""
    texts = [f"word{row} and more of it" for row in range(20)]
    frame = pd.DataFrame({"t": texts, "n": np.arange(20) ** 2, "y": np.arange(20) % 2})
    frame["n"] = frame["n"].astype(float).where(frame.index > 0)
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame[:8].to_csv(tmp_path / "test.csv", index=False)

    def rows(target: Array) -> Array:
        return np.arange(len(target) // 2)

    reading = Reading(na="mean")
    apart = load(str(tmp_path), reading=reading, training_rows=rows).reading
    assert apart.fills["n"] == frame["n"].mean()
    assert "word19" in apart.texts[0].words
    joined = load(str(tmp_path), reading=reading, training_rows=rows, wants_test=False).reading
    assert joined.fills["n"] == frame["n"][:10].mean()
    assert "word19" not in joined.texts[0].words


def pictures(folder: Path, images: Array) -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image.reshape(4, 5)).save(folder / f"{number}.png")


def test_folders_of_images_to_fit_and_to_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, X, y in (("train", X_TRAIN, Y_TRAIN), ("test", X_TEST, Y_TEST)):
        for label in range(3):
            pictures(tmp_path / "set" / name / f"c{label}", X[y == label].astype(np.uint8))
    found = figures(capsys, str(tmp_path / "set"))
    alone = figures(
        capsys, str(tmp_path / "set" / "train"), "--test", str(tmp_path / "set" / "test")
    )
    assert found["evaluation"]["cross_entropy_nats"] == alone["evaluation"]["cross_entropy_nats"]
    assert found["data"]["judged_samples"] == 21
    # Images without a folder for their class: "train" and "test" are no classes.
    for name in ("train", "test"):
        pictures(tmp_path / "flat" / name, X_TRAIN[:4].astype(np.uint8))
    assert run(["fit", str(tmp_path / "flat")]) == 2
    expected = "the folders 'test', 'train' are sets by their names, not classes"
    assert expected in capsys.readouterr().err
    (tmp_path / "data").mkdir()
    (tmp_path / "set").rename(tmp_path / "data" / "set")
    assert run(["fit", str(tmp_path / "data")]) == 2
    assert "there are folders in it: 'set'" in capsys.readouterr().err


def test_shards_of_other_names_are_joined(tmp_path: Path) -> None:
    for number, name in enumerate(("latest.npz", "contrast.npz")):
        np.savez(tmp_path / name, X=X_TRAIN[number::2].reshape(30, -1), y=Y_TRAIN[number::2])
    assert load(str(tmp_path)).features.shape == (60, 20)
