"""Columns of texts become TF-IDF features, learnt from the training samples alone."""

from __future__ import annotations

import csv
import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from bridle.checks import InputError
from bridle.cli import run
from bridle.cli.splitting import holdout_split
from bridle.data import Selection, load
from bridle.data.words import from_plain, to_plain

RANDOM = np.random.default_rng(0)
WORDS = {"good": ["lovely", "bright", "funny", "tender"], "bad": ["dull", "flat", "loud", "stale"]}
NEUTRAL = ["plot", "cast", "music", "the", "was", "and", "story", "half", "ending", "pace"]


def review(label: str) -> str:
    other = "bad" if label == "good" else "good"
    telling = [RANDOM.choice(WORDS[label if RANDOM.random() < 0.8 else other]) for _ in range(3)]
    return " ".join(RANDOM.permutation([*telling, *RANDOM.choice(NEUTRAL, 6)]))


LABELS = RANDOM.choice(["good", "bad"], 150)
REVIEWS = [review(label) for label in LABELS]


def table(path: Path, **columns: Any) -> str:
    frame = pd.DataFrame(columns)
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return str(path)


@pytest.mark.parametrize("ending", ["csv", "tsv.csv", "parquet"])
@pytest.mark.parametrize("asked_for", [(), ("review",)])
def test_words_are_weighed_as_scikit_learn_does(
    tmp_path: Path, ending: str, asked_for: tuple[str, ...]
) -> None:
    source = table(tmp_path / f"a.{ending}", review=REVIEWS, label=LABELS)
    dataset = load(source, selection=Selection(text=asked_for))
    vectorizer = TfidfVectorizer()
    expected = vectorizer.fit_transform(REVIEWS)
    found = dataset.features.to_array()
    assert sparse.issparse(found)
    np.testing.assert_allclose(found.toarray(), expected.toarray(), rtol=1e-12)
    names = [f"review: {word}" for word in vectorizer.get_feature_names_out()]
    assert dataset.feature_names == tuple(names)
    note = f"column 'review'{'' if asked_for else ', mostly different texts,'} became {len(names)} "
    assert any(each.startswith(note) for each in dataset.notes)


def test_fit_and_judgement_as_by_scikit_learn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = np.where(np.arange(150) % 4 == 0, "mixed", LABELS)
    source = table(tmp_path / "a.csv", review=REVIEWS, label=labels)
    options = ["--C", "2", "--tol", "1e-10", "--json", "--out", str(tmp_path / "m")]
    assert run(["fit", source, *options]) == 0
    found = json.loads(capsys.readouterr().out)
    train, held = holdout_split(labels, 0.2)
    # Words of the samples held out are not known to the fit.
    vectorizer = TfidfVectorizer().fit([REVIEWS[row] for row in train])
    X = vectorizer.transform(REVIEWS).toarray()
    peer = LogisticRegression(C=2, tol=1e-12, max_iter=10_000).fit(X[train], labels[train])
    probabilities = peer.predict_proba(X[held])
    columns = np.searchsorted(peer.classes_, labels[held])
    expected = -np.log(probabilities[np.arange(len(held)), columns]).mean()
    assert found["data"]["features"] == X.shape[1]
    assert found["evaluation"]["cross_entropy_nats"] == pytest.approx(expected, rel=1e-4)
    # A model on disk reads new texts in the same way: unknown words count nothing, nor do blanks.
    new = [*REVIEWS[:20], "unheard of entirely", "", "12"]
    source = table(tmp_path / "n.csv", other=range(len(new)), review=new)
    assert run(["predict", str(tmp_path / "m"), source]) == 2  # one is missing: nothing is guessed
    assert "line 23, column 'review': missing value; --na" in capsys.readouterr().err
    assert run(["predict", str(tmp_path / "m"), source, "--na", ""]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    answers = peer.predict_proba(vectorizer.transform(new).toarray())
    assert [float(row["probability"]) for row in rows] == pytest.approx(
        answers.max(axis=1), rel=1e-4
    )


def test_texts_beside_numbers_and_categories(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = {
        "stars": np.arange(150) % 5,
        "shop": RANDOM.choice(["a", "b"], 150),
        "review": REVIEWS,
    }
    source = table(tmp_path / "a.csv", **columns, label=LABELS)
    dataset = load(source)
    names = dataset.feature_names or ()
    assert names[:3] == ("stars", "shop=a", "shop=b")
    found = dataset.features.to_array()
    assert sparse.issparse(found)
    np.testing.assert_array_equal(found[:, [0]].toarray().ravel(), columns["stars"])
    model = str(tmp_path / "m")
    assert run(["fit", source, "--out", model, "--quiet"]) == 0
    backwards = dict(reversed(list(columns.items())))
    assert run(["predict", model, table(tmp_path / "b.csv", **backwards)]) == 0
    first = capsys.readouterr().out
    assert run(["predict", model, table(tmp_path / "c.csv", **columns)]) == 0
    assert capsys.readouterr().out == first


def test_a_file_of_the_test_has_the_words_of_the_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = table(tmp_path / "a.csv", review=REVIEWS[:100], label=LABELS[:100])
    test = table(
        tmp_path / "b.csv", review=[*REVIEWS[100:-1], "words unheard of"], label=LABELS[100:]
    )
    assert run(["fit", source, "--test", test, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    assert data["features"] == len(TfidfVectorizer().fit(REVIEWS[:100]).vocabulary_)


@pytest.mark.parametrize(
    "texts",
    [
        [f"code{number}" for number in range(150)],  # one word each
        [f"{number} - {number}" for number in range(150)],  # no words
        ["the same three words", "another four words here"] * 75,  # few different ones
        [f"${number},000" for number in range(150)],
    ],
)
def test_what_is_no_text_by_itself(tmp_path: Path, texts: list[str]) -> None:
    source = table(tmp_path / "a.csv", n=range(150), t=texts, label=LABELS)
    try:
        dataset = load(source)
    except InputError:
        return  # too many different values: what else they may be is told there
    assert not dataset.reading.texts


def test_text_can_be_told(tmp_path: Path) -> None:
    source = table(tmp_path / "a.csv", t=["x1 red", "x2 blue", "x3 red"] * 50, label=LABELS)
    assert load(source).feature_names == ("t=x1 red", "t=x2 blue", "t=x3 red")
    names = load(source, selection=Selection(text=("t",))).feature_names
    assert names == ("t: blue", "t: red", "t: x1", "t: x2", "t: x3")
    numbers = table(tmp_path / "b.csv", t=range(10, 160), label=LABELS)
    assert (
        load(numbers, selection=Selection(text=("t",))).feature_names is not None
    )  # as they are spelled


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            {"selection": Selection(text=("reviw",))},
            "--text: {} has no column 'reviw', found 'review', 'label'; did you",
        ),
        (
            {"selection": Selection(text=("label",)), "target": "label"},
            "--text: 'label' is the tar",
        ),
        (
            {"selection": Selection(text=("review",), drop=("review",))},
            "--text: expected without --drop, found 'review' in both",
        ),
        (
            {"selection": Selection(text=("review",), categorical=("review",))},
            "--text: expected without --categorical, found 'review' in both",
        ),
    ],
)
def test_columns_that_cannot_be_texts(
    tmp_path: Path, arguments: dict[str, Any], expected: str
) -> None:
    source = table(tmp_path / "a.csv", review=REVIEWS, label=LABELS)
    with pytest.raises(InputError) as caught:
        load(source, **arguments)
    assert str(caught.value).startswith(expected.format(source))


def test_texts_are_for_tables(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(3))
    for source in ("digits", str(tmp_path / "a.npy")):
        with pytest.raises(InputError, match="--text: expected a table"):
            load(source, selection=Selection(text=("a",)))
    empty = table(tmp_path / "a.csv", t=["1", "2", "3"], label=list("aab"))
    with pytest.raises(InputError, match="column 't': expected texts, found no words in them"):
        load(empty, selection=Selection(text=("t",)))
    parquet = table(tmp_path / "a.parquet", t=[1, 2, 3], label=list("aab"))
    with pytest.raises(InputError, match="column 't': expected texts, found numbers"):
        load(parquet, selection=Selection(text=("t",)))


def test_a_model_of_texts_needs_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, model = table(tmp_path / "a.csv", review=REVIEWS, label=LABELS), str(tmp_path / "m")
    assert run(["fit", source, "--out", model, "--quiet"]) == 0
    other = table(tmp_path / "b.csv", revew=REVIEWS)
    assert run(["predict", model, other]) == 2
    expected = "column 'review' is missing, the model needs it; did you mean 'revew'?"
    assert expected in capsys.readouterr().err
    np.save(tmp_path / "a.npy", np.eye(3))
    assert run(["predict", model, str(tmp_path / "a.npy")]) == 2
    assert "expected a table with the column 'review'" in capsys.readouterr().err


def test_what_was_learnt_is_plain_and_checked() -> None:
    column = {"column": "a", "words": ["x", "y"], "idf": [1.0, 2.5]}
    assert to_plain(from_plain([column])) == [column]
    faults: list[Any] = [
        {},
        [1],
        [{**column, "idf": [1.0]}],
        [{**column, "idf": [1.0, float("nan")]}],
        [{**column, "words": ["x", "x"]}],
        [{**column, "words": []}],
        [{**column, "words": "xy"}],
        [{**column, "column": None}],
    ]
    for broken in faults:
        with pytest.raises(ValueError, match="columns of texts"):
            from_plain(broken)


def test_the_first_example_of_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    example = Path(__file__).parents[1] / "examples" / "make_reviews.py"
    runpy.run_path(str(example), run_name="__main__")
    lines = (example.parents[1] / "README.md").read_text().splitlines()
    commands = [line.partition("#")[0].split()[1:] for line in lines if line.startswith("bridle ")]
    chain = ["fit", "predict", "predict", "evaluate", "evaluate"]
    first = commands[: len(chain)]
    assert [command[0] for command in first] == chain
    printed = []
    for command in first:
        assert run(command) == 0
        printed.append(capsys.readouterr().out)
    # The answers in a file are judged as the model that gave them is.
    of_answers, of_model = (text[text.index("cross-entropy") :] for text in printed[-2:])
    assert of_answers == of_model
