"""The data that fits are measured on: digits, embeddings and text, of sizes that take a while.

Embeddings are class means plus correlated noise: both have a power-law spectrum in a random
rotation, and the means lie so close that the classes overlap: with ``a = separation √width`` nobody
can be right more often than ``E Φ(z + a)^(classes − 1)`` over normal z, which is 0.87 of
``embedding-10``, 0.78 of ``embedding-57``, 0.73 of ``embedding-200-apart``, 0.58 of
``embedding-200`` and 0.31 of ``embedding-1000``. Text is bags of Zipf's words, each
class with words of its own mixed in, weighted by tf-idf, rows of length 1. `package_data` has
texts that people wrote.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

import package_data
from bridle.data import load

Array = npt.NDArray[Any]
MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist10k"


class Shape(NamedTuple):
    """The size of made data, and how far its classes lie apart."""

    rows: int
    width: int
    classes: int
    separation: float


EMBEDDINGS = {
    "embedding-10": Shape(60_000, 784, 10, 0.1),
    "embedding-57": Shape(50_000, 384, 57, 0.16),
    "embedding-200-apart": Shape(50_000, 512, 200, 0.15),
    "embedding-200": Shape(50_000, 512, 200, 0.13),
    "embedding-1000": Shape(50_000, 512, 1000, 0.12),
}
TEXT = {"text-20": Shape(20_000, 50_000, 20, 0.08)}
NAMES = ("mnist10k", *EMBEDDINGS, *TEXT, *package_data.NAMES)
_QUICK = 10  # how many times fewer rows, and words


def missing(name: str) -> str:
    """Return what is not there to make the data of a name, or nothing."""
    if name == "mnist10k" and not MNIST.exists():
        return f"there is no shared/data/{name} beside this repository"
    return package_data.missing(name) if name in package_data.NAMES else ""


def make(name: str, quick: bool) -> tuple[Any, Array]:
    """Return features in float32 (CSR for text) and class indices; quick data have fewer rows."""
    if name in package_data.NAMES:
        return package_data.make(name, _QUICK if quick else 1)
    if name == "mnist10k":
        found = load(str(MNIST))
        step = _QUICK if quick else 1
        pixels = np.asarray(found.features.to_array()[::step], np.float32) / np.float32(255)
        return pixels, np.unique(np.asarray(found.target)[::step], return_inverse=True)[1]
    shape = {**EMBEDDINGS, **TEXT}[name]
    if quick:
        shape = shape._replace(rows=shape.rows // _QUICK)
    return embeddings(shape) if name in EMBEDDINGS else text(shape)


def embeddings(shape: Shape) -> tuple[Array, Array]:
    """Return class means plus noise, their variances falling off as 1/j about a mean of 1."""
    random = np.random.default_rng(0)
    width = shape.width
    deviation = 1 / np.sqrt(1.0 + np.arange(width))
    deviation /= np.sqrt(np.mean(deviation**2))
    means = random.normal(size=(shape.classes, width)) * deviation
    rotation = np.linalg.qr(random.normal(size=(width, width)))[0]
    target = random.integers(shape.classes, size=shape.rows)
    noise = random.normal(size=(shape.rows, width)) * deviation
    features = (shape.separation * means[target] + noise) @ rotation
    return features.astype(np.float32), target


def text(shape: Shape) -> tuple[Any, Array]:
    """Return tf-idf of documents whose words are Zipf's, some of them their class's own."""
    random = np.random.default_rng(0)
    frequency = 1 / (1.0 + np.arange(shape.width))
    common = np.cumsum(frequency / frequency.sum())
    target = random.integers(shape.classes, size=shape.rows)
    lengths = random.poisson(125, size=shape.rows) + 1
    rows = np.repeat(np.arange(shape.rows), lengths)
    words = np.minimum(np.searchsorted(common, random.random(len(rows))), shape.width - 1)
    # A class's own words are the common ones under other names: as frequent, but elsewhere.
    names = np.stack([random.permutation(shape.width) for _ in range(shape.classes)])
    own = random.random(len(rows)) < shape.separation
    words[own] = names[target[rows[own]], words[own]]
    counts = sparse.csr_array((np.ones(len(rows)), (rows, words)), shape=(shape.rows, shape.width))
    counts.sum_duplicates()
    documents = np.bincount(counts.indices, minlength=shape.width)
    counts.data = (1 + np.log(counts.data)) * np.log(1 + shape.rows / documents[counts.indices])
    norms = np.sqrt(counts.multiply(counts).sum(axis=1))
    counts.data /= np.repeat(norms, np.diff(counts.indptr))
    return counts.astype(np.float32), target


def save(folder: Path, name: str, quick: bool) -> None:
    """Make data once, for the processes that are to measure with them."""
    features, target = make(name, quick)
    np.save(folder / f"{name}-target.npy", target)
    if sparse.issparse(features):
        sparse.save_npz(folder / f"{name}.npz", features, compressed=False)
    else:
        np.save(folder / f"{name}.npy", features)


def saved(folder: Path, name: str) -> tuple[Any, Array]:
    """Return what `save` wrote, in memory."""
    target = np.load(folder / f"{name}-target.npy")
    if (folder / f"{name}.npz").exists():
        return sparse.load_npz(folder / f"{name}.npz"), target
    return np.load(folder / f"{name}.npy"), target
