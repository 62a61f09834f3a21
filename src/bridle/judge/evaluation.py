"""All figures of one evaluation, as an object, as JSON and as text."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks, strict_json
from bridle.checks import Label
from bridle.judge import calibration, calibration_bounds, metrics, surprise, text
from bridle.judge.calibration import ReliabilityBin
from bridle.judge.intervals import Interval, group_numbers, mean_interval, share_interval
from bridle.judge.kinds import AskedKind, InputKind
from bridle.judge.metrics import ClassFigures
from bridle.judge.outcomes import Outcomes, row_outcomes
from bridle.judge.surprise import SurprisingSample

Array = npt.NDArray[Any]

_TOP = 5
# For more classes the matrix is unreadable, and its C² numbers could outgrow the input.
_CONFUSION_CLASSES = 1000


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How good scores or probabilities are on labelled samples; made by `bridle.evaluate`.

    The attributes are the keys of `to_dict`, in this order. Losses are in nats unless the name
    says bits; an undefined ratio (nothing out of nothing) is NaN.

    Attributes
    ----------
    input_kind : {"probabilities", "scores"}
        How the input was taken.
    samples : int
        ``N``; with sample weights, how many of them are above 0.
    total_weight : float
        What all means divide by: the sum of the sample weights, ``N`` without.
    classes : tuple
        The label of each class, in the order of the columns.
    cross_entropy_nats, cross_entropy_bits : float
        Mean surprisal ``Σ w −log p(target) / Σ w`` (w = 1 without weights), never clipped: one
        probability of 0 makes it +inf.
    infinite_losses : int
        How many samples have probability 0 at their target, whatever they weigh.
    perplexity : float
        ``exp(cross_entropy_nats)``.
    uniform_nats, uniform_bits : float
        The cross-entropy of guessing every class alike, ``log C``.
    class_frequency_nats, class_frequency_bits : float
        That of guessing the targets' own frequencies: their entropy.
    accuracy, top_5_accuracy : float
        How often the target is the largest entry, and among the min(5, C) largest; ties go to the
        lowest index.
    brier_score : float
        `bridle.judge.brier_score`.
    expected_calibration_error : float
        `bridle.judge.expected_calibration_error`, with 15 bins of equal mass. Chance makes it
        larger than the true error: see ``intervals`` and ``expected_calibration_error_by_chance``.
    expected_calibration_error_by_chance : Interval
        Where that figure of a calibrated model with the same confidences would lie, in 95 of 100
        cases: `bridle.judge.calibration_error_bounds`.
    reliability : tuple of ReliabilityBin
        `bridle.judge.reliability_table`: count, lowest, highest, confidence, accuracy.
    per_class : tuple of ClassFigures
        label, support, loss (mean surprisal of the class's samples), precision, recall, and the
        intervals of the last three.
    confusion_matrix : (C, C) array or None
        Rows are targets, columns predictions; None beyond 1,000 classes. Counts in int64 (as
        ``support`` and the table's ``count``), or sums of sample weights in float64.
    most_surprising : tuple of SurprisingSample
        The ten samples of largest surprisal: index, target, predicted, probability (of the
        target), surprisal.
    intervals : dict of str to Interval
        Where ``cross_entropy_nats``, ``cross_entropy_bits``, ``perplexity``, ``accuracy``,
        ``top_5_accuracy``, ``brier_score`` and ``expected_calibration_error`` would lie for ever
        more such samples, in 95 of 100 cases: see `bridle.judge.intervals`, and for the last, which
        is no mean of rows, `bridle.judge.calibration_bounds`.
    outcomes : Outcomes
        The figures of each row, of weight 0 too; not part of `to_dict`.

    Examples
    --------
    >>> figures = evaluate([[2.0, 0.0], [0.0, 2.0], [1.0, 0.0]], [0, 1, 1])
    >>> figures.input_kind, round(figures.accuracy, 4), round(figures.cross_entropy_nats, 4)
    ('scores', 0.6667, 0.5224)
    """

    input_kind: InputKind
    samples: int
    total_weight: float
    classes: tuple[Label, ...]
    cross_entropy_nats: float
    cross_entropy_bits: float
    infinite_losses: int
    perplexity: float
    uniform_nats: float
    uniform_bits: float
    class_frequency_nats: float
    class_frequency_bits: float
    accuracy: float
    top_5_accuracy: float
    brier_score: float
    expected_calibration_error: float
    expected_calibration_error_by_chance: Interval
    reliability: tuple[ReliabilityBin, ...]
    per_class: tuple[ClassFigures, ...]
    confusion_matrix: Array | None
    most_surprising: tuple[SurprisingSample, ...]
    intervals: dict[str, Interval]
    outcomes: Outcomes = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures in plain JSON types, under stable keys: the attributes' names.

        Tables become lists of objects with the fields named above, the matrix a list of rows. A
        number that JSON lacks becomes the string ``"Infinity"`` if it is infinite, and null (None)
        if it is undefined.

        Examples
        --------
        >>> figures = evaluate([[1.0, 0.0], [1.0, 0.0]], [0, 1]).to_dict()
        >>> figures["cross_entropy_nats"], figures["per_class"][1]["precision"]
        ('Infinity', None)
        """
        names = [name for name in self.__dataclass_fields__ if name != "outcomes"]
        return {name: strict_json.plain(getattr(self, name)) for name in names}

    def to_json(self, *, indent: int | None = None) -> str:
        """Return `to_dict` as strict JSON text."""
        return strict_json.to_text(self.to_dict(), indent=indent)

    def to_html(self, **told: Any) -> str:
        """Return a page of the evaluation: `bridle.report.page`, with its options.

        Raises
        ------
        MissingExtraError, InputError
            As there.

        Examples
        --------
        >>> figures = evaluate([[0.9, 0.1], [0.2, 0.8]], [0, 1])
        >>> figures.to_html(title="two samples")[:15]
        '<!doctype html>'
        """
        # The one place where the judge asks a room to its right, and only when it is asked itself.
        from bridle.report import page

        return page(self, **told)

    def _repr_html_(self) -> str | None:
        """Return the page as notebooks show it: in a frame, so that its style stays its own.

        Without Jinja2 they show the text.
        """
        try:
            page = self.to_html()
        except checks.MissingExtraError:
            return None
        return (
            f'<iframe srcdoc="{html.escape(page)}" title="An evaluation" sandbox="" '
            f'style="width: 100%; height: 640px; border: 0; resize: vertical"></iframe>'
        )

    def __str__(self) -> str:
        return "\n".join(
            [
                *text.headline(self),
                "",
                *text.class_table(self.per_class),
                "",
                *text.surprise_table(self.most_surprising),
            ]
        )


def evaluate(
    scores_or_probabilities: npt.ArrayLike,
    target: npt.ArrayLike | Iterable[object],
    *,
    classes: Iterable[object] | None = None,
    kind: AskedKind = "auto",
    sample_weight: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
) -> Evaluation:
    """Judge scores or probabilities against the true classes.

    A score of −inf is a masked class.

    Parameters
    ----------
    scores_or_probabilities : array_like, (N, C) or (N,)
        Of any real dtype and layout, memory-mapped too; read in blocks of rows in float64. (N,)
        stands for two classes: the probabilities of the second if all lie in [0, 1], else its
        scores (log-odds), whose probabilities are their sigmoid.
    target : array_like, (N,)
        Class indices in [0, C); or labels, if ``classes`` are given.
    classes : sequence of C labels, optional
        Text, numbers or booleans, in the order of the columns.
    kind : {"auto", "scores", "probabilities"}
        What the rows are. ``"auto"`` takes them as probabilities if every row is non-negative and
        sums to 1, within the rounding of the dtype or of the decimals that all entries have (0.333
        thrice; they are used as they are), else as scores, whose probabilities are their softmax;
        the result says which, and a warning where scores look like probabilities (one-vs-rest) or
        per cent. Told that they are probabilities, rows that do not sum to 1 are refused.
    sample_weight : array_like, (N,), optional
        How much each row counts, 0 or above: weight k is the same as k copies, and a row of weight
        0 counts nowhere. All figures are weighted but ``samples``, ``infinite_losses`` and the
        order of ``most_surprising``, which are about rows.
    groups : array_like, (N,), optional
        Which rows belong together, as those of one patient: they are not independent, and the
        intervals know it.

    Returns
    -------
    Evaluation
        Figures as attributes; prints as a table; ``to_dict()`` and ``to_json()``.

    Raises
    ------
    TargetRangeError
        A class index outside [0, C).
    InputError
        No rows or classes, targets of another number or kind, a label that ``classes`` lacks, a
        row with a NaN, a +inf or −inf alone; or entries in [0, 1] of which at least half of the
        rows sum to nearly 1 (within 0.05) but not all do: broken probabilities; a ``kind`` that
        the rows are not; weights of another number, negative or not finite, or a sum of 0.

    Examples
    --------
    >>> print(evaluate([[0.1, 0.3, 0.6], [0.2, 0.3, 0.5]], ["cat", "eel"],
    ...                classes=["cat", "dog", "eel"]))
    2 samples, 3 classes, from probabilities
    <BLANKLINE>
    cross-entropy           1.4979 nats     2.1610 bits     perplexity 4.4721
      95 % interval         0.0000 to 11.7228 nats        infinite losses 0
      uniform guess         1.0986 nats     1.5850 bits
      class frequencies     0.6931 nats     1.0000 bits
    accuracy                0.5000 (0.0945 to 0.9055)
    Brier score             0.8200 (0.0000 to 2.0000)
    calibration error       0.5500 (0.0000 to 0.5500)     by chance 0.4500 to 0.5500
    <BLANKLINE>
    class                   support       loss  precision     recall
    cat                           1     2.3026          -     0.0000
    dog                           0          -          -          -
    eel                           1     0.6931     0.5000     1.0000
    <BLANKLINE>
    most surprising  target            predicted         probability  surprisal
                  0  cat               eel                    0.1000     2.3026
                  1  eel               eel                    0.5000     0.6931
    """
    outcomes = row_outcomes(
        scores_or_probabilities, target, classes=classes, kind=kind, sample_weight=sample_weight
    )
    return evaluation_of(outcomes, groups)


def evaluation_of(outcomes: Outcomes, groups: npt.ArrayLike | None = None) -> Evaluation:
    """Return the figures of rows whose outcomes are known; see `evaluate`."""
    counted = outcomes.counted()
    weight = counted.sample_weight
    nats = counted.mean(counted.surprisal)
    uniform = metrics.uniform_cross_entropy(len(counted.classes))
    frequency = metrics.class_frequency_cross_entropy(counted.target, weight)
    places = group_numbers(groups, len(outcomes.target))
    if places is not None and outcomes.sample_weight is not None:
        places = places[outcomes.sample_weight > 0]
    found = calibration.binned(counted.confidence, counted.correct, sample_weight=weight)
    bounds = calibration_bounds.bounds_of(found, places)
    return Evaluation(
        input_kind=counted.input_kind,
        samples=len(counted.target),
        total_weight=float(len(counted.target) if weight is None else weight.sum()),
        classes=counted.classes,
        cross_entropy_nats=nats,
        cross_entropy_bits=_bits(nats),
        infinite_losses=int(np.count_nonzero(np.isinf(counted.surprisal))),
        perplexity=_exp(nats),
        uniform_nats=uniform,
        uniform_bits=_bits(uniform),
        class_frequency_nats=frequency,
        class_frequency_bits=_bits(frequency),
        accuracy=counted.mean(counted.correct),
        top_5_accuracy=counted.mean(counted.rank < _TOP),
        brier_score=counted.mean(counted.squared_error),
        expected_calibration_error=calibration.table_error(found.table),
        expected_calibration_error_by_chance=bounds.if_calibrated,
        reliability=found.table,
        per_class=metrics.class_figures(counted, places),
        confusion_matrix=_confusion_matrix(counted),
        most_surprising=_most_surprising(outcomes),
        intervals={**_intervals(counted, places), "expected_calibration_error": bounds.interval},
        outcomes=outcomes,
    )


def _confusion_matrix(outcomes: Outcomes) -> Array | None:
    classes = len(outcomes.classes)
    if classes > _CONFUSION_CLASSES:
        return None
    return metrics.confusion_matrix(
        outcomes.target, outcomes.predicted, classes, sample_weight=outcomes.sample_weight
    )


def _most_surprising(outcomes: Outcomes) -> tuple[SurprisingSample, ...]:
    weight, surprisal = outcomes.sample_weight, outcomes.surprisal
    counted = np.arange(len(surprisal)) if weight is None else np.flatnonzero(weight)
    return tuple(
        SurprisingSample(
            index=int(row),
            target=outcomes.classes[outcomes.target[row]],
            predicted=outcomes.classes[outcomes.predicted[row]],
            probability=float(outcomes.probability[row]),
            surprisal=float(outcomes.surprisal[row]),
        )
        for row in counted[surprise.most_surprising(surprisal[counted])]
    )


def _intervals(counted: Outcomes, places: Array | None) -> dict[str, Interval]:
    known: dict[str, Any] = {"sample_weight": counted.sample_weight, "groups": places}
    nats = mean_interval(counted.surprisal, **known)
    nats = nats.above_zero()
    brier = mean_interval(counted.squared_error, **known)
    return {
        "cross_entropy_nats": nats,
        "cross_entropy_bits": Interval(_bits(nats.low), _bits(nats.high)),
        "perplexity": Interval(_exp(nats.low), _exp(nats.high)),
        "accuracy": share_interval(counted.correct, **known),
        "top_5_accuracy": share_interval(counted.rank < _TOP, **known),
        "brier_score": brier.above_zero(2.0),
    }


def _bits(nats: float) -> float:
    return nats / math.log(2)


def _exp(nats: float) -> float:
    try:
        return math.exp(nats)
    except OverflowError:
        return math.inf
