"""fit → predict → evaluate, on files as people have them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from bridle.data import Reading, load
from commands import Command

Array = npt.NDArray[Any]

RANDOM = np.random.default_rng(0)
CLASSES = ["bad", "good", "mixed"]
WORDS = {"bad": "dull flat loud", "good": "lovely funny bright", "mixed": "uneven odd long"}
OTHERS = ["plot", "cast", "music", "the", "was", "and", "story", "half", "ending", "pace"]


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


# --- a table with texts, missing values and names of rows ----------------------------------------


def reviews(count: int, first: int) -> pd.DataFrame:
    truth = np.array(CLASSES)[RANDOM.integers(0, 3, count)]
    told = [RANDOM.choice(CLASSES) if RANDOM.random() < 0.3 else label for label in truth]
    texts = [
        " ".join([*RANDOM.permutation(WORDS[label].split())[:2], *RANDOM.choice(OTHERS, 5)])
        for label in told
    ]
    frame = pd.DataFrame(
        {
            "id": [f"order-{first + row:03}" for row in range(count)],
            "stars": RANDOM.integers(1, 6, count).astype(float),
            "review": texts,
            "shop": RANDOM.choice(["north", "south"], count),
            "sentiment": truth,
        }
    )
    frame.loc[3, "review"] = np.nan
    frame.loc[5, "stars"] = np.nan
    frame.loc[7, "shop"] = np.nan
    return frame


TRAIN, NEW = reviews(150, 0), reviews(40, 500)
MEAN, NORTH = TRAIN["stars"].mean(), (TRAIN["shop"].dropna() == "north").mean()


def encoded(frame: pd.DataFrame, vectorizer: TfidfVectorizer) -> Any:
    """Fill and encode by pandas and scikit-learn what the command is to fill and encode."""
    north = np.where(frame["shop"].isna(), NORTH, frame["shop"] == "north")
    numbers = np.column_stack([frame["stars"].fillna(MEAN), north, 1 - north])
    return sparse.hstack([sparse.csr_array(numbers), vectorizer.transform(texts_of(frame))])


def texts_of(frame: pd.DataFrame) -> list[str]:
    return [str(text) for text in frame["review"].fillna("")]


def peers_answers() -> Array:
    vectorizer = TfidfVectorizer().fit(texts_of(TRAIN))
    peer = LogisticRegression(tol=1e-12, max_iter=100_000)
    peer.fit(encoded(TRAIN, vectorizer).toarray(), TRAIN["sentiment"])
    assert peer.classes_.tolist() == CLASSES
    return np.asarray(peer.predict_proba(encoded(NEW, vectorizer).toarray()))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_texts_missing_values_and_names_of_rows(
    command: Command, tmp_path: Path, ending: str
) -> None:
    for name, frame in (("train", TRAIN), ("new", NEW)):
        path = tmp_path / f"{name}.{ending}"
        frame.to_csv(path, index=False) if ending == "csv" else frame.to_parquet(path)
    train, new, model = tmp_path / f"train.{ending}", tmp_path / f"new.{ending}", tmp_path / "m"
    refused = command("fit", train, "--out", model)
    assert refused.code == 2
    assert "missing value" in refused.err
    assert refused.err.count("\n") == 1
    fitted = command(
        *("fit", train, "--na", "mean", "--holdout", "0", "--tol", "1e-10", "--out", model)
    )
    assert fitted.code == 0
    assert "missing values are filled with the mean: 1 in 'stars', 1 in 'shop'" in fitted.out
    assert "missing texts count as without words: 1 in 'review'" in fitted.out
    assert "rows are named by column 'id'" in fitted.out
    assert command("predict", model, new, "--out", tmp_path / "answers.csv").code == 0
    expected = peers_answers()
    answers = pd.read_csv(tmp_path / "answers.csv")
    columns = ["id", "sentiment", "predicted", "probability", *CLASSES]
    assert answers.columns.tolist() == columns
    assert answers["id"].tolist() == NEW["id"].tolist()
    assert answers["sentiment"].tolist() == NEW["sentiment"].tolist()
    np.testing.assert_allclose(answers[CLASSES], expected, rtol=1e-4)
    places = [CLASSES.index(label) for label in NEW["sentiment"]]
    loss = -np.log(expected[np.arange(len(NEW)), places]).mean()
    for judged in (
        command("evaluate", tmp_path / "answers.csv", "--json"),
        command("evaluate", "--model", model, new, "--json"),
    ):
        assert judged.code == 0
        figures = json.loads(judged.out)
        assert figures["cross_entropy_nats"] == pytest.approx(loss, rel=1e-4)
        assert figures["accuracy"] == np.mean(expected.argmax(axis=1) == places)


def test_what_was_inferred_is_one_entry_of_the_models_file(
    command: Command, tmp_path: Path
) -> None:
    TRAIN.to_csv(tmp_path / "train.csv", index=False, sep=";")
    answer = command(
        *("fit", tmp_path / "train.csv", "--na", "mean", "--holdout", "0", "--out", tmp_path / "m")
    )
    assert answer.code == 0
    content = (tmp_path / "m" / "model.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    description = json.loads(header["__metadata__"]["bridle"])
    reading = description["reading"]
    assert (reading["delimiter"], reading["na"], reading["label_kind"]) == (";", "mean", "texts")
    assert set(reading["fills"]) == {"stars", "shop=north", "shop=south"}
    assert reading["fills"]["stars"] == pytest.approx(MEAN)
    (text,) = reading["texts"]
    assert text["column"] == "review"
    assert description["feature_names"][3:] == [f"review: {word}" for word in text["words"]]


def test_rows_without_a_text_can_be_dropped(command: Command, tmp_path: Path) -> None:
    frame = TRAIN.copy()
    frame.loc[5, "review"] += " onlyhere"
    frame.to_csv(tmp_path / "train.csv", index=False)
    answer = command("fit", tmp_path / "train.csv", "--na", "drop", "--json")
    data = json.loads(answer.out)["data"]
    assert data["training_samples"] + data["judged_samples"] == len(TRAIN) - 3
    dataset = load(
        str(tmp_path / "train.csv"),
        reading=Reading(na="drop"),
        training_rows=lambda target: np.arange(len(target)),
    )
    dropped = TRAIN["review"].isna() | TRAIN["stars"].isna() | TRAIN["shop"].isna()
    expected = TfidfVectorizer().fit(TRAIN["review"][~dropped])
    (text,) = dataset.reading.texts
    assert list(text.words) == list(expected.get_feature_names_out())
    np.testing.assert_allclose(text.idf, expected.idf_, rtol=1e-14)


# --- shards to fit and to test --------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_shards_to_test_have_the_types_of_those_to_fit(
    command: Command, tmp_path: Path, ending: str
) -> None:
    labels = np.array(["1", "2", "x"])[np.arange(60) % 3]
    codes = np.where(np.arange(60) < 30, "7", "b7")  # the first shard's look like numbers
    X = RANDOM.normal(size=(60, 2)) + np.arange(60)[:, None] % 3
    frame = pd.DataFrame(X, columns=["p", "q"]).assign(code=codes, label=labels)
    parts = {"train-0": frame[:30], "train-1": frame[30:], "test-0": frame[:30][labels[:30] != "x"]}
    (tmp_path / "set").mkdir()
    for name, part in parts.items():
        path = tmp_path / "set" / f"{name}.{ending}"
        part.to_csv(path, index=False) if ending == "csv" else part.to_parquet(path)
    answer = command("fit", tmp_path / "set", "--json", "--out", tmp_path / "m")
    assert answer.code == 0
    of_folder = json.loads(answer.out)
    assert (of_folder["data"]["training_samples"], of_folder["data"]["judged_samples"]) == (60, 20)
    assert of_folder["evaluation"]["classes"] == ["1", "2", "x"]
    again = command(
        *("evaluate", "--model", tmp_path / "m", tmp_path / "set" / f"test-0.{ending}", "--json")
    )
    assert json.loads(again.out)["accuracy"] == of_folder["evaluation"]["accuracy"]


# --- images ---------------------------------------------------------------------------------------


def png(pixels: Array) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def test_a_parquet_file_of_images_and_a_folder_of_them(command: Command, tmp_path: Path) -> None:
    labels = np.arange(24) % 2
    images = RANDOM.integers(0, 120, (24, 4, 5)) + 100 * labels[:, None, None]
    contents = [png(image.astype(np.uint8)) for image in images]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [{"bytes": each, "path": f"{row}.png"} for row, each in enumerate(contents)]
    source, model = tmp_path / "train.parquet", tmp_path / "m"
    parquet.write_table(pa.table({"image": pa.array(cells, kind), "label": labels}), source)
    assert command("fit", source, "--holdout", "0", "--out", model).code == 0
    assert command("predict", model, source, "--out", tmp_path / "answers.csv").code == 0
    of_answers = command("evaluate", tmp_path / "answers.csv", "--json")
    of_model = command("evaluate", "--model", model, source, "--json")
    assert (of_answers.code, of_model.code) == (0, 0)
    loss = json.loads(of_model.out)["cross_entropy_nats"]
    assert json.loads(of_answers.out)["cross_entropy_nats"] == pytest.approx(loss, rel=1e-7)
    by_row = rows_of((tmp_path / "answers.csv").read_text())
    assert list(by_row[0]) == ["id", "label", "predicted", "probability", "0", "1"]


def test_a_flat_folder_of_images_has_a_column_for_each_class(
    command: Command, tmp_path: Path
) -> None:
    images = RANDOM.integers(0, 60, (12, 4, 5)).astype(np.uint8)
    images[6:] += 180
    for row, image in enumerate(images):
        folder = tmp_path / "train" / ("dark" if row < 6 else "light")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{row}.png").write_bytes(png(image))
    (tmp_path / "new").mkdir()
    for row in (2, 8):
        (tmp_path / "new" / f"{row}.png").write_bytes(png(images[row]))
    model = tmp_path / "m"
    assert command("fit", tmp_path / "train", "--holdout", "0", "--out", model).code == 0
    rows = rows_of(command("predict", model, tmp_path / "new").out)
    assert list(rows[0]) == ["id", "predicted", "probability", "dark", "light"]
    assert [row["id"] for row in rows] == ["2.png", "8.png"]
    for answer in rows:
        assert float(answer["dark"]) + float(answer["light"]) == pytest.approx(1)
        assert float(answer[answer["predicted"]]) == float(answer["probability"])
    compact = rows_of(command("predict", model, tmp_path / "new", "--compact").out)
    assert list(compact[0]) == ["id", "predicted", "probability"]
