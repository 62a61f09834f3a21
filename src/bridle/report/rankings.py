"""The worst first: classes, confusions, samples, labels. Of each no more than a page can hold."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.judge import Evaluation, LabelErrors, Outcomes, most_surprising
from bridle.judge.metrics import ClassFigures

Array = npt.NDArray[Any]

WORST_CLASSES, MOST_CLASSES = 12, 60
MOST_CONFUSIONS, MOST_SAMPLES, MOST_LABEL_ERRORS = 20, 50, 20
MOST_FEATURES = 200
_LONGEST = 56  # bytes
_NATS_PER_BIT = math.log(2)


def name(label: object, longest: int = _LONGEST) -> str:
    r"""Return a label or an id as text; of a long one the beginning, so that the page stays small.

    A file may hold what is no character; it is written as an escape.

    >>> name("cat"), name("a" * 60), name("\ud800")
    ('cat', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…', '\\ud800')
    """
    plain = str(label).encode(errors="backslashreplace").decode()
    joined = " ".join("".join(sign if sign.isprintable() else " " for sign in plain).split())
    # What counts is what a sign takes in the page: of "<" that is "&lt;".
    sizes = list(accumulate(len(html.escape(sign).encode()) for sign in joined))
    if not sizes or sizes[-1] <= longest:
        return joined
    room = longest - len("…".encode())
    return f"{joined[: sum(end <= room for end in sizes)]}…"


def features(kept: Sequence[str]) -> dict[str, Any]:
    """Return what the features are called that a model has kept, in their order."""
    return {"total": len(kept), "shown": [name(each) for each in kept[:MOST_FEATURES]]}


def classes(evaluation: Evaluation) -> dict[str, Any]:
    """Return the classes of largest loss, those without samples last."""

    def loss(row: ClassFigures) -> float:
        return -math.inf if math.isnan(row.loss) else row.loss

    ranked = sorted(evaluation.per_class, key=loss, reverse=True)
    return {
        "total": len(ranked),
        "shown": [
            {
                "label": name(row.label),
                "support": row.support,
                "loss_bits": row.loss / _NATS_PER_BIT,
                "precision": row.precision,
                "recall": row.recall,
                **(_intervals(row) if place < WORST_CLASSES else {}),
            }
            for place, row in enumerate(ranked[:MOST_CLASSES])
        ],
    }


def _intervals(row: ClassFigures) -> dict[str, Any]:
    return {
        "loss_bits_interval": [end / _NATS_PER_BIT for end in row.loss_interval],
        "precision_interval": row.precision_interval,
        "recall_interval": row.recall_interval,
    }


def confusions(outcomes: Outcomes) -> dict[str, Any]:
    """Return which class was most often taken for which other, of rows that count."""
    wrong = np.flatnonzero(~outcomes.correct)
    weight, number = outcomes.sample_weight, len(outcomes.classes)
    pairs, places = np.unique(
        outcomes.target[wrong].astype(np.int64) * number + outcomes.predicted[wrong],
        return_inverse=True,
    )
    own = None if weight is None else weight[wrong]
    counts = np.bincount(places, own, minlength=len(pairs))
    support = np.bincount(outcomes.target, weight, minlength=number)
    first = np.argsort(-counts, kind="stable")[:MOST_CONFUSIONS]
    return {
        "total": len(pairs),
        "wrong": counts.sum().item() if len(pairs) else 0,
        "shown": [
            {
                "label": name(outcomes.classes[pair // number]),
                "predicted": name(outcomes.classes[pair % number]),
                "count": count,
                "share": count / support[pair // number].item(),
            }
            for pair, count in zip(pairs[first].tolist(), counts[first].tolist(), strict=True)
        ],
    }


def surprising_rows(outcomes: Outcomes) -> list[int]:
    """Return the rows of largest surprisal, of those that count."""
    weight, surprisal = outcomes.sample_weight, outcomes.surprisal
    counted = np.arange(len(surprisal)) if weight is None else np.flatnonzero(weight)
    found: list[int] = counted[most_surprising(surprisal[counted], MOST_SAMPLES)].tolist()
    return found


def samples(
    outcomes: Outcomes, rows: Sequence[int], ids: Sequence[object] | None
) -> dict[str, Any]:
    """Return what is told of the samples of largest surprisal."""
    weight, surprisal = outcomes.sample_weight, outcomes.surprisal
    return {
        "total": len(surprisal) if weight is None else int(np.count_nonzero(weight)),
        "shown": [
            {
                "id": name(row if ids is None else ids[row]),
                "label": name(outcomes.classes[outcomes.target[row]]),
                "predicted": name(outcomes.classes[outcomes.predicted[row]]),
                "probability": outcomes.probability[row].item(),
                "surprisal_bits": surprisal[row].item() / _NATS_PER_BIT,
            }
            for row in rows
        ],
    }


def label_errors(
    found: LabelErrors, outcomes: Outcomes, ids: Sequence[object] | None
) -> dict[str, Any]:
    """Return the labels that another class fits better, the most doubtful first."""
    rows = found.order[:MOST_LABEL_ERRORS]
    return {
        "expected": found.expected_errors,
        "likely": int(np.count_nonzero(found.likely)),
        "shown": [
            {
                "id": name(row if ids is None else ids[row]),
                "label": name(outcomes.classes[outcomes.target[row]]),
                "suggested": name(outcomes.classes[found.suggested[row]]),
                "probability": found.self_confidence[row].item(),
                "doubt_bits": found.doubt[row].item() / _NATS_PER_BIT,
            }
            for row in rows.tolist()
            if found.doubt[row] > 0
        ],
    }
