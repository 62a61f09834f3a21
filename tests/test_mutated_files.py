"""Files of every format with a few bytes changed: they load, or one clear line says what is wrong.

The mutations come from fixed seeds: a failure is a failure in every run.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from safetensors.numpy import save_file
from scipy import sparse
from sklearn.datasets import dump_svmlight_file, load_iris

from bridle import InputError, NetworkClassifier, SoftmaxRegression
from bridle.calibrate import CalibratedClassifier
from bridle.cli import run

FEATURES = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
LABELS = np.arange(12) % 3
TEXTS = [f"a text with words {word} and {word * 2}" for word in "pqrstuvwxyza"]
# What a JSON description, a header or a line of text may be made of.
SPLINTERS = [b"(", b"[", b"{", b'"', b",", b"0", b"-1", b"9999999999", b"NaN", b"1e999", b"null",
             b"\xff", b"\0", b"\n", b"<U9", b"O", b"i4,(", b"'", b"true"]  # fmt: skip


def mutations(content: bytes, count: int, seed: object) -> Iterator[bytes]:
    """Yield copies with bits flipped, bytes replaced, parts left out or doubled, ends cut off."""
    dice = random.Random(str(seed))
    for _ in range(count):
        mutated = bytearray(content)
        for _ in range(dice.choice([1, 1, 1, 2, 5])):
            at = dice.randrange(len(mutated) + 1)
            length = dice.choice([0, 1, 1, 2, 8, 100])
            kind = dice.randrange(4)
            if kind == 0:
                mutated[at : at + 1] = bytes(
                    byte ^ 1 << dice.randrange(8) for byte in mutated[at : at + 1]
                )
            elif kind == 1:
                mutated[at : at + length] = dice.choice(SPLINTERS)
            elif kind == 2:
                mutated[at:at] = mutated[at : at + length]
            else:
                mutated = mutated[:at] if dice.random() < 0.3 else mutated
            mutated = mutated or bytearray(b"\0")
        yield bytes(mutated)


def _image_table(path: Path) -> None:
    import io

    entries = []
    for row in range(4):
        stream = io.BytesIO()
        Image.fromarray((FEATURES[row : row + 3] * 50 + 100).astype(np.uint8)).save(stream, "PNG")
        entries.append({"bytes": stream.getvalue(), "path": None})
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    parquet.write_table(pa.table({"image": pa.array(entries, kind), "y": [0, 1, 0, 1]}), path)


def _text_table(path: Path) -> None:
    pd.DataFrame({"t": TEXTS, "n": LABELS, "y": LABELS}).to_csv(path, index=False)


DATA: dict[str, Callable[[Path], Any]] = {
    "csv": _text_table,
    "tsv": lambda path: pd.DataFrame(FEATURES).assign(y=LABELS).to_csv(path, index=False, sep="\t"),
    "csv.gz": lambda path: pd.DataFrame(FEATURES).assign(y=LABELS).to_csv(path, index=False),
    "parquet": _image_table,
    "npy": lambda path: np.save(path, FEATURES),
    "npz": lambda path: np.savez(
        path, x_train=FEATURES, y_train=LABELS, x_test=FEATURES, y_test=LABELS
    ),
    "packed.npz": lambda path: np.savez_compressed(path, X=FEATURES, y=LABELS),
    "sparse.npz": lambda path: sparse.save_npz(path, sparse.csr_array(FEATURES)),
    "safetensors": lambda path: save_file({"X": FEATURES, "y": LABELS}, path),
    "svmlight": lambda path: dump_svmlight_file(FEATURES, LABELS, str(path)),
    "idx": lambda path: path.write_bytes(
        bytes([0, 0, 8, 3, *[0, 0, 0, 2], *[0, 0, 0, 3], *[0, 0, 0, 4], *range(24)])
    ),
    "png": lambda path: Image.fromarray((FEATURES * 50 + 100).astype(np.uint8)).save(path),
}


def _softmax_model(path: Path) -> None:
    SoftmaxRegression().fit(*load_iris(return_X_y=True)).save(path / "model.safetensors")


def _network(path: Path) -> None:
    model = NetworkClassifier((3,), max_epochs=1, random_state=0)
    X, y = load_iris(return_X_y=True)
    model.fit(X, load_iris().target_names[y]).save(path / "model.safetensors")


def _calibrated(path: Path) -> None:
    model = CalibratedClassifier(SoftmaxRegression(), "isotonic", cv=3)
    model.fit(*load_iris(return_X_y=True)).save(path / "model.safetensors")


def _text_model(path: Path) -> None:
    _text_table(path / "a.csv")
    assert run(["fit", str(path / "a.csv"), "--out", str(path), "--quiet"]) == 0


MODELS: dict[str, tuple[Callable[[Path], None], str]] = {
    "softmax": (_softmax_model, "iris"),
    "network": (_network, "iris"),
    "calibrated": (_calibrated, "iris"),
    "texts": (_text_model, "a.csv"),
}


def check_answer(code: int, err: str) -> None:
    assert code in (0, 2)
    lines = err.splitlines()
    assert code == 0 or len(lines) == 1
    assert all(line.startswith("bridle: ") and line.isprintable() for line in lines)


@pytest.mark.parametrize("name", MODELS)
def test_mutated_models(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    make, data = MODELS[name]
    make(tmp_path)
    source = data if data == "iris" else str(tmp_path / data)
    original = (tmp_path / "model.safetensors").read_bytes()
    path = tmp_path / "mutated.safetensors"
    for number, content in enumerate(mutations(original, 150, name)):
        path.write_bytes(content)
        code = run(["predict", str(path), source, "--out", str(tmp_path / "answers.csv")])
        try:
            check_answer(code, capsys.readouterr().err)
        except AssertionError as error:
            raise AssertionError(f"mutation {number}") from error


@pytest.mark.parametrize("several", [False, True])
def test_mutated_networks_load_or_are_refused(tmp_path: Path, several: bool) -> None:
    y = np.stack([LABELS == 0, FEATURES[:, 0] > 0, FEATURES[:, 1] > 0], axis=1)
    model = NetworkClassifier(
        (3,), output="sigmoid", cost="cross_entropy", max_epochs=1, random_state=0
    )
    path = tmp_path / "model.safetensors"
    model.fit(FEATURES, y if several else LABELS).save(path)
    for content in mutations(path.read_bytes(), 200, several):
        path.write_bytes(content)
        refused = None
        try:
            model = NetworkClassifier.load(path)
        except InputError as error:
            refused = str(error)
        if refused is None:
            assert model.predict(FEATURES).shape == ((12, 3) if model.multilabel_ else (12,))
        else:
            assert refused.startswith(f"{path}: ")


@pytest.mark.parametrize("dtype", ["i4, (", "(", "{'a': 1}", "O(", "f8,f8", "V8", "<U1", "|i1",
                                   "<U9999999", "", "<f8", "[('a', 'f8')]", "c16"])  # fmt: skip
@pytest.mark.parametrize("make", [_softmax_model, _network])
def test_a_mangled_dtype_of_the_classes(
    tmp_path: Path,
    make: Callable[[Path], None],
    dtype: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make(tmp_path)
    path = tmp_path / "model.safetensors"
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        description = file.metadata()["bridle"]
    start = description.index('"class_dtype": "') + len('"class_dtype": "')
    end = description.index('"', start)
    save_file(tensors, path, metadata={"bridle": description[:start] + dtype + description[end:]})
    code = run(["predict", str(path), "iris"])
    answer = capsys.readouterr()
    # What every class can have without a change (0, 1, 2 in one byte) is no fault.
    if code == 0:
        assert (make, dtype) in ((_softmax_model, "|i1"), (_softmax_model, "<f8"))
        return
    check_answer(code, answer.err)
    assert str(path) in answer.err


@pytest.mark.parametrize("ending", DATA)
def test_mutated_data(tmp_path: Path, ending: str, capsys: pytest.CaptureFixture[str]) -> None:
    original = tmp_path / f"original.{ending}"
    DATA[ending](original)
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(str(label) for label in LABELS))
    needs_labels = ending in ("npy", "sparse.npz", "idx")
    model = tmp_path / "model.safetensors"
    SoftmaxRegression().fit(FEATURES, LABELS).save(model)
    path = tmp_path / f"mutated.{ending}"
    for number, content in enumerate(mutations(original.read_bytes(), 20, ending)):
        path.unlink(missing_ok=True)  # a mapping of the last try may still be alive
        path.write_bytes(content)
        commands = [["fit", str(path), "--json"], ["predict", str(model), str(path)]]
        commands[0] += ["--labels", str(labels)] if needs_labels else []
        for command in commands:
            code = run(command)
            try:
                check_answer(code, capsys.readouterr().err)
            except AssertionError as error:
                raise AssertionError(f"mutation {number} of {command}") from error
