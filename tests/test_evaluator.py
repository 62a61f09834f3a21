"""A stream of blocks is judged as the whole."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from bridle.checks import InputError
from bridle.judge import Evaluator, evaluate

RANDOM = np.random.default_rng(0)
SCORES, TARGET = RANDOM.normal(size=(103, 4)), RANDOM.integers(0, 4, 103)
WEIGHT, GROUPS = RANDOM.integers(0, 3, 103), np.arange(103) // 5


def streamed(parts: list[slice], **options: Any) -> Evaluator:
    stream = Evaluator()
    for part in parts:
        stream.update(SCORES[part], TARGET[part], **{k: v[part] for k, v in options.items()})
    return stream


@pytest.mark.parametrize("options", [{}, {"sample_weight": WEIGHT}, {"groups": GROUPS}])
@pytest.mark.parametrize("cuts", [(), (1,), (7, 50), (50, 51, 102)])
def test_blocks_give_the_figures_of_the_whole(
    cuts: tuple[int, ...], options: dict[str, Any]
) -> None:
    edges = [0, *cuts, 103]
    parts = [slice(low, high) for low, high in pairwise(edges)]
    whole = evaluate(SCORES, TARGET, kind="scores", **options).to_dict()
    assert streamed(parts, **options).result().to_dict() == whole
    first, second = streamed(parts[:1], **options), streamed(parts[1:], **options)
    assert first.merge(second).result().to_dict() == whole


def test_labels_and_tensors() -> None:
    torch = pytest.importorskip("torch", reason="the extra `torch` is not installed")
    stream = Evaluator(classes=["a", "b", "c", "d"])
    for part in (slice(60), slice(60, 103)):
        stream.update(torch.tensor(SCORES[part]), np.array(["a", "b", "c", "d"])[TARGET[part]])
    found, whole = stream.result(), evaluate(SCORES, TARGET, kind="scores")
    assert found.cross_entropy_nats == whole.cross_entropy_nats
    assert found.classes == ("a", "b", "c", "d")


def test_blocks_that_do_not_fit_change_nothing() -> None:
    stream = streamed([slice(50)])
    before = stream.result().to_dict()
    with pytest.raises(InputError, match="expected 4 classes, as before, found 3"):
        stream.update(SCORES[50:, :3], np.zeros(53, int))
    with pytest.raises(InputError, match="sample_weight: expected in all blocks, or in none"):
        stream.update(SCORES[50:], TARGET[50:], sample_weight=np.ones(53))
    with pytest.raises(InputError, match="groups: expected in all blocks, or in none"):
        stream.update(SCORES[50:], TARGET[50:], groups=np.ones(53))
    with pytest.raises(InputError, match="row 1"):
        stream.update([[0.0, 1, 2, 3], [np.nan, 1, 2, 3]], [0, 1])
    assert stream.result().to_dict() == before
    with pytest.raises(InputError, match="at least one block of rows"):
        Evaluator().result()
    with pytest.raises(InputError, match="kind: expected one of scores, probabilities"):
        Evaluator(kind="auto")  # type: ignore[arg-type]
