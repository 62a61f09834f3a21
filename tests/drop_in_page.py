"""docs/drop-in.md as a program: its blocks in their order, offline.

A block whose library is not installed is left out, and so is what its tests ask for; SetFit and
sentence-transformers have stand-ins, which are called as SetFit 1.2 calls and is called. An encoder
would come from a hub: where the library is there, one of its own kind is made of random vectors.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
import types
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression

# Read when a library of Hugging Face is imported, of which the block may be the first.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

Array = npt.NDArray[Any]
ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "drop-in.md").read_text(encoding="utf-8")
FIRST = "In: scikit-learn's pipeline and grid search"  # whose data all others take
WORDS = ["so", "good", "very", "well", "made", "and", "bad", "badly", "not", "at", "all", "quite"]


class StandInEncoder:
    """Called like `sentence_transformers.SentenceTransformer`: words hashed to 32 features."""

    def __init__(self, model_name_or_path: str | None = None) -> None:
        self.name = model_name_or_path

    def encode(
        self,
        sentences: str | Sequence[str],
        batch_size: int = 32,  # noqa: ARG002  # theirs
        show_progress_bar: bool | None = None,  # noqa: ARG002  # theirs
        convert_to_tensor: bool = False,
        normalize_embeddings: bool = False,
    ) -> Any:
        texts = [sentences] if isinstance(sentences, str) else sentences
        found = np.zeros((len(texts), 32), np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text):
                found[row, zlib.crc32(word.encode()) % 32] += 1
        if normalize_embeddings:
            found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        if convert_to_tensor:
            torch = pytest.importorskip("torch", reason="the extra `torch` is not installed")
            found = torch.from_numpy(found)
        return found[0] if isinstance(sentences, str) else found


class StandInSetFit:
    """Called like `setfit.SetFitModel`; asks its head for what that asks."""

    def __init__(self, model_body: Any, model_head: Any) -> None:
        self.model_body, self.model_head = model_body, model_head
        self.labels: list[str] | None = None

    def fit(
        self,
        x_train: list[str],
        y_train: list[Any],
        num_epochs: int,  # noqa: ARG002  # theirs, of a head in PyTorch
    ) -> None:
        embeddings = self.model_body.encode(list(x_train), normalize_embeddings=False)
        self.model_head.fit(embeddings, list(y_train))
        if self.model_head.classes_.dtype.char == "U":
            self.labels = self.model_head.classes_.tolist()

    def predict(self, inputs: list[str]) -> Any:
        found = self.model_head.predict(self.model_body.encode(list(inputs)))
        if self.labels and found.ndim == 1 and found.dtype.char != "U":
            return [self.labels[int(each)] for each in found]
        return found

    def predict_proba(self, inputs: list[str]) -> Array:
        return np.asarray(self.model_head.predict_proba(self.model_body.encode(list(inputs))))

    def save_pretrained(self, folder: Path) -> None:
        joblib.dump(self.model_head, str(folder / "model_head.pkl"))


def at_its_optimum(C: float, *, tol: float = 1e-12, max_iter: int = 30) -> Any:
    """Return scikit-learn's classifier with the solver that comes closest."""
    return LogisticRegression(C=C, tol=tol, max_iter=max_iter, solver="newton-cholesky")


def is_there(library: str) -> bool:
    """Tell whether a library is installed."""
    return importlib.util.find_spec(library) is not None


def run(folder: Path, *headings: str) -> dict[str, Any]:
    """Return the names that the blocks under these headings make, in a folder of their own."""
    made: dict[str, Any] = {"print": lambda *_: None}
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setenv("MLFLOW_TRACKING_URI", (folder / "mlruns").as_uri())
        patched.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # the slim MLflow has no other
        _put_encoders(patched)
        for block in _blocks(FIRST, *headings):
            needed = re.findall(r"^(?:from|import) (\w+)", block, re.MULTILINE)
            if all(library in sys.modules or is_there(library) for library in needed):
                exec(compile(block, "docs/drop-in.md", "exec"), made)
    return made


def _blocks(*headings: str) -> list[str]:
    """Return the blocks of code under some of the headings, in the order of the page."""
    found: list[str] = []
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    titles = [section.split("\n", 1)[0] for section in sections]
    assert set(headings) <= set(titles), set(headings) - set(titles)
    for title, section in zip(titles, sections, strict=True):
        if title in headings:
            found += re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return found


def _put_encoders(patched: pytest.MonkeyPatch) -> None:
    """Let the encoder's name mean one that no hub is needed for."""
    if is_there("sentence_transformers"):
        if is_there("setfit"):
            importlib.import_module("setfit")  # with the library as it is
        theirs = importlib.import_module("sentence_transformers")
        patched.setattr(theirs, "SentenceTransformer", _encoder_of_few_words(theirs))
    else:
        encoders = types.SimpleNamespace(SentenceTransformer=StandInEncoder)
        patched.setitem(sys.modules, "sentence_transformers", encoders)
    if not is_there("setfit"):
        models = types.SimpleNamespace(SetFitModel=StandInSetFit)
        patched.setitem(sys.modules, "setfit", models)


def _encoder_of_few_words(library: Any) -> Any:
    """Return a real encoder: the mean of random vectors of the words, whatever its name is."""
    tokenizers = importlib.import_module("tokenizers")
    modules = importlib.import_module("sentence_transformers.sentence_transformer.modules")
    vocabulary = {word: place for place, word in enumerate(["?", *WORDS])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    vectors = np.random.default_rng(0).normal(size=(len(vocabulary), 32)).astype(np.float32)

    class OfFewWords(library.SentenceTransformer):  # type: ignore[misc]
        def __init__(self, model_name_or_path: str | None = None) -> None:  # noqa: ARG002
            super().__init__(
                modules=[modules.StaticEmbedding(tokenizer, embedding_weights=vectors)],
                device="cpu",
            )

    return OfFewWords
