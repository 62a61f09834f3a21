"""``bridle fit --label-errors``: which of the samples to learn from are likely mislabelled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bridle.cli.folds import HeldOut
from bridle.cli.messages import one_line
from bridle.cli.sampling import Samples
from bridle.judge import LabelErrors, label_errors
from bridle.judge.text import cell

_PRINTED, _KEPT = 5, 100


@dataclass(frozen=True)
class Doubts:
    """Labels in question, with the names of their samples."""

    found: LabelErrors
    samples: Samples
    folds: int

    def to_dict(self) -> dict[str, Any]:
        """Return the figures of ``metrics.json``."""
        return {
            "folds": self.folds,
            "expected_errors": self.found.expected_errors,
            "pairs": [
                {"label": label, "suggested": truth, "expected": count}
                for label, truth, count in self.found.pairs()[:_KEPT]
            ],
            "samples": [
                {
                    "id": self.samples.ids[row],
                    "label": self.samples.target[row],
                    "suggested": self.found.classes[self.found.suggested[row]],
                    "doubt": self.found.doubt[row],
                }
                for row in self._rows(_KEPT)
            ],
        }

    def lines(self) -> Iterator[str]:
        """Yield what is printed, in 80 columns."""
        rows = self._rows(_PRINTED)
        count = f"{self.found.expected_errors:.0f} of {len(self.found.order)}"
        yield ""
        yield f"labels: about {count} are likely wrong, by folds that have not learnt them"
        for row in rows:
            suggested = self.found.classes[self.found.suggested[row]]
            times = np.exp(min(float(self.found.doubt[row]), 700.0))
            text = f"{self.samples.ids[row]}: {self.samples.target[row]}, rather {suggested}"
            yield f"  {cell(one_line(text), 50)} {times:.3g} times as probable"

    def _rows(self, most: int) -> list[int]:
        """Return the rows of which another class is more probable, the most doubtful first."""
        return [row for row in self.found.order[:most].tolist() if self.found.doubt[row] > 0]


def doubts(held_out: HeldOut, samples: Samples) -> Doubts:
    """Hold the labels of samples against what folds say that have not learnt them."""
    found = label_errors(
        held_out.log_probabilities, held_out.labels, classes=held_out.classes, kind="scores"
    )
    return Doubts(found, samples, held_out.folds)
