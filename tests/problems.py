"""Problems drawn at random: scores in every dtype, layout and shape, with targets of every kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from scipy import sparse

import oracle

Array = npt.NDArray[Any]

SIZES = st.sampled_from([1, 2, 3, 5, 7, 13])
INDEX_DTYPES = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


def random_csr(shape: tuple[int, int], density: float, generator: np.random.Generator) -> Any:
    """Return a sparse array of random places and numbers.

    Through SciPy's older function, which takes the generator by its place: its name is another one
    in SciPy 1.13 than today.
    """
    return sparse.csr_array(sparse.random(*shape, density, "csr", None, generator))


@dataclass
class Problem:
    """Arguments of a class loss."""

    scores: Array
    target: Array
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def compute_dtype(self) -> np.dtype[Any]:
        """The dtype that the loss comes in."""
        half = self.scores.dtype.name in ("float16", "bfloat16")
        return np.dtype(np.float32) if half else self.scores.dtype.newbyteorder("=")

    @property
    def soft(self) -> bool:
        return self.target.shape == self.scores.shape


@st.composite
def shapes(draw: st.DrawFn, smallest_batch: int = 0) -> tuple[int, ...]:
    """Draw ``(C,)``, ``(N, C)`` or ``(N, C, d1, …)``."""
    classes = draw(SIZES)
    if draw(st.booleans()) and smallest_batch == 0:
        return (classes,)
    rows = draw(st.sampled_from([smallest_batch, 1, 2, 5, 11]))
    return (rows, classes, *draw(st.lists(st.sampled_from([1, 2, 3]), max_size=2)))


@st.composite
def problems(
    draw: st.DrawFn,
    *,
    soft: bool | None = None,
    dtypes: list[np.dtype[Any]] = oracle.FLOAT_DTYPES,
    layouts: bool = False,
    smallest_batch: int = 0,
    sample_weight: bool = True,
    ignored: bool = True,
) -> Problem:
    """Draw a problem with a finite loss: no target lies on a masked class."""
    shape = draw(shapes(smallest_batch))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scores = rng.normal(scale=draw(st.sampled_from([0.1, 3.0, 30.0])), size=shape)
    allowed = _allowed_classes(rng, scores) if draw(st.booleans()) else np.ones(shape, bool)
    scores[~allowed] = -np.inf
    options: dict[str, Any] = {}
    if draw(st.booleans()):
        options["weight"] = rng.uniform(0.1, 3, _classes(shape))
    if draw(st.booleans()):
        options["label_smoothing"] = draw(st.sampled_from([0.1, 0.5, 1.0]))
    if sample_weight and draw(st.booleans()):
        per_position = (*shape[:1], *shape[2:]) if len(shape) > 1 else ()
        options["sample_weight"] = rng.uniform(0.1, 3, per_position)
    if draw(st.booleans()) if soft is None else soft:
        target = _distributions(rng, allowed)
    else:
        target = _indices(rng, allowed).astype(draw(st.sampled_from(INDEX_DTYPES)))
        if ignored and draw(st.booleans()):
            options["ignore_index"] = draw(st.sampled_from([77, 0]))
            target = np.where(rng.random(target.shape) < 0.3, options["ignore_index"], target)
    scores = scores.astype(draw(st.sampled_from(dtypes)))
    if layouts:
        scores = oracle.LAYOUTS[draw(st.sampled_from(sorted(oracle.LAYOUTS)))](scores)
        target = oracle.LAYOUTS[draw(st.sampled_from(sorted(oracle.LAYOUTS)))](target)
    return Problem(scores, target, options)


def _classes(shape: tuple[int, ...]) -> int:
    return shape[0] if len(shape) == 1 else shape[1]


def _class_axis(shape: tuple[int, ...]) -> int:
    return min(len(shape) - 1, 1)


def _allowed_classes(rng: np.random.Generator, scores: Array) -> Array:
    """Mask a third of the classes, but never the one with the largest score."""
    axis = _class_axis(scores.shape)
    largest: Array = scores == scores.max(axis=axis, keepdims=True)
    return largest | (rng.random(scores.shape) > 0.3)


def _indices(rng: np.random.Generator, allowed: Array) -> Array:
    chance = np.where(allowed, rng.random(allowed.shape), -1)
    return np.asarray(chance.argmax(axis=_class_axis(allowed.shape)))


def _distributions(rng: np.random.Generator, allowed: Array) -> Array:
    mass = np.where(allowed, rng.random(allowed.shape), 0)
    return np.asarray(mass / mass.sum(axis=_class_axis(allowed.shape), keepdims=True))
