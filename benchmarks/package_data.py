"""Real texts that every Debian machine has: what its packages are, in a line each, by section.

`texts` are the short descriptions of the package manager's own lists, and the sections (``games``,
``math``, …) are the classes. As features they are tf-idf of words and pairs of words (CSR), or
embeddings of 256 numbers by the model that the wheel of wordllama brings,

    pip install --no-deps wordllama==0.3.9

a vector for each token, whose mean over a text is the text's. (Its own loader asks the network for
a file that the wheel has elsewhere, so its two files are read here.)
"""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
NAMES = ("packages", "packages-embedded")
_LIST = ["apt-cache", "dumpavail"]
_FEWEST = 20  # packages of a section; the others are left out


def missing(name: str) -> str:
    """Return what is not there to make the data of a name, or nothing."""
    if shutil.which(_LIST[0]) is None:
        return "no list of Debian packages (apt-cache)"
    if len(texts()[0]) < 1000:
        return "the list of Debian packages is not here (apt-get update)"
    if name == "packages-embedded" and (_wheel() is None or find_spec("tokenizers") is None):
        return "pip install tokenizers, and --no-deps wordllama==0.3.9"
    return ""


def make(name: str, step: int) -> tuple[Any, Array]:
    """Return features in float32 and class indices of every ``step``-th text."""
    described, sections = texts()
    target = np.unique(sections[::step], return_inverse=True)[1]
    if name == "packages":
        from sklearn.feature_extraction.text import TfidfVectorizer

        words = TfidfVectorizer(
            min_df=2, ngram_range=(1, 2), sublinear_tf=True, dtype=np.float32
        ).fit_transform(described[::step])
        return words, target
    return _embedded(described[::step]), target


@cache
def texts() -> tuple[list[str], Array]:
    """Return each description once, with its package's section, in the order of the list."""
    listed = subprocess.run(_LIST, capture_output=True, text=True, check=True).stdout
    found: dict[str, str] = {}
    for package in listed.split("\n\n"):
        fields = dict(
            line.split(": ", 1)
            for line in package.splitlines()
            if ": " in line[1:] and line[0] > " "
        )
        if {"Description", "Section"} <= fields.keys():
            found.setdefault(fields["Description"], fields["Section"].rpartition("/")[2])
    counts = Counter(found.values())
    kept = {text: section for text, section in found.items() if counts[section] >= _FEWEST}
    return list(kept), np.array(list(kept.values()))


def _wheel() -> Path | None:
    spec = find_spec("wordllama")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _embedded(described: list[str]) -> Array:
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer  # type: ignore[import-untyped]  # has none

    wheel = _wheel()
    assert wheel is not None
    (vectors,) = load_file(wheel / "weights" / "l2_supercat_256.safetensors").values()
    tokens = Tokenizer.from_file(str(wheel / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    tokens.no_padding()
    means = np.stack([
        vectors[each.ids].astype(np.float32).mean(axis=0)
        for each in tokens.encode_batch(described, add_special_tokens=False)
    ])  # fmt: skip
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), np.float32)
