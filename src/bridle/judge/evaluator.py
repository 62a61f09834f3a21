"""Samples that come in blocks are judged as they come, and remembered by a few numbers a row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.judge.evaluation import Evaluation, evaluation_of
from bridle.judge.intervals import group_numbers
from bridle.judge.kinds import InputKind
from bridle.judge.outcomes import Outcomes, checked_weight, row_outcomes
from bridle.tensors import on_host

Array = npt.NDArray[Any]


class Evaluator:
    """Judges a stream of blocks: of each row some 50 bytes are kept, not its scores.

    Parameters
    ----------
    classes : sequence of labels, optional
        As in `bridle.evaluate`; without, targets are class indices.
    kind : {"scores", "probabilities"}
        What the rows of all blocks are: one block alone could not tell for the others.

    Examples
    --------
    >>> stream = Evaluator(kind="probabilities")
    >>> for answers, target in ([[0.1, 0.3, 0.6]], [0]), ([[0.2, 0.3, 0.5]], [2]):
    ...     stream = stream.update(answers, target)
    >>> found = stream.result()
    >>> found.samples, round(found.cross_entropy_nats, 4)
    (2, 1.4979)
    """

    def __init__(
        self, *, classes: Iterable[object] | None = None, kind: InputKind = "scores"
    ) -> None:
        checks.one_of(kind, "kind", ("scores", "probabilities"))
        self._classes, self._kind = None if classes is None else list(classes), kind
        self._outcomes: list[Outcomes] = []
        self._groups: list[Array] = []

    def update(
        self,
        scores_or_probabilities: npt.ArrayLike,
        target: npt.ArrayLike | Iterable[object],
        *,
        sample_weight: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
    ) -> Self:
        """Judge some more rows: arrays, or tensors on any device.

        Parameters
        ----------
        scores_or_probabilities, target, sample_weight, groups
            As in `bridle.evaluate`; weights and groups in all blocks or in none.

        Raises
        ------
        InputError, TargetRangeError
            As `bridle.evaluate`; another number of classes than before, weights or groups in some
            blocks only. Nothing is added then.
        """
        found = row_outcomes(
            scores_or_probabilities, target, classes=self._classes, kind=self._kind
        )
        if sample_weight is not None:  # which in a single block may all be 0
            shape = found.target.shape
            weight = checks.weights(on_host(sample_weight), "sample_weight", shape, check=True)
            found = replace(found, sample_weight=weight)
        self._check_fits(found, groups)
        if groups is not None:
            group_numbers(groups, len(found.target))
            self._groups.append(np.asarray(groups))
        self._outcomes.append(found)
        return self

    def merge(self, other: Evaluator) -> Self:
        """Add what another one has judged, as after its blocks: of another process, for example."""
        for found in other._outcomes:
            self._check_fits(found, other._groups or None)
        self._outcomes += other._outcomes
        self._groups += other._groups
        return self

    def result(self) -> Evaluation:
        """Return the figures of all rows so far; rows are numbered in the order they came.

        Raises
        ------
        InputError
            No row so far.
        """
        if not self._outcomes:
            raise checks.InputError.of(
                "update", expected="at least one block of rows", found="none"
            )
        first = self._outcomes[0]
        whole: dict[str, Any] = {
            field.name: np.concatenate([getattr(each, field.name) for each in self._outcomes])
            for field in fields(first)
            if isinstance(getattr(first, field.name), np.ndarray)
        }
        if first.sample_weight is not None:
            checked_weight(whole["sample_weight"], len(whole["target"]))
        groups = np.concatenate(self._groups) if self._groups else None
        return evaluation_of(replace(first, **whole), groups)

    def _check_fits(self, found: Outcomes, groups: object) -> None:
        if not self._outcomes:
            return
        first = self._outcomes[0]
        if found.classes != first.classes:
            expected = f"{len(first.classes)} classes, as before"
            raise checks.InputError.of(
                "scores_or_probabilities", expected=expected, found=len(found.classes)
            )
        for name, given, before in (
            ("sample_weight", found.sample_weight is not None, first.sample_weight is not None),
            ("groups", groups is not None, bool(self._groups)),
        ):
            if given != before:
                expected = "in all blocks, or in none"
                found_text = "in this one alone" if given else "not in this one"
                raise checks.InputError.of(name, expected=expected, found=found_text)
