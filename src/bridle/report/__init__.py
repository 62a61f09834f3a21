"""A page of an evaluation: one HTML file that needs nothing from outside, not even JavaScript.

``contents`` makes a plain dictionary of all that is shown: ``rankings`` the worst classes, samples
and labels, ``calibrated`` the confidence before and after one temperature, ``verdict`` the three
sentences, ``versus`` the comparison with other models, ``origin`` what it was made of. ``assembly``
prints it into ``page/``, with numbers as ``numbers`` writes them and ``figures`` as SVG.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from bridle.fit import FitReport
from bridle.judge import Comparison, Evaluation, LabelErrors
from bridle.report.assembly import assembled, check_installed
from bridle.report.contents import MOST_CLASSES_JOINED, contents

__all__ = ["MOST_CLASSES_JOINED", "assembled", "check_installed", "contents", "page"]


def page(
    evaluation: Evaluation,
    *,
    answers: npt.ArrayLike | None = None,
    ids: Sequence[object] | None = None,
    judged_on: str | None = None,
    fit: FitReport | None = None,
    label_errors: LabelErrors | None = None,
    comparison: Comparison | None = None,
    calibrator: Mapping[str, Any] | None = None,
    title: str | None = None,
    command: str | None = None,
    made: str | None = None,
) -> str:
    """Return a page of an evaluation as HTML, below 300 kB for any number of samples and classes.

    Parameters
    ----------
    evaluation : Evaluation
        As from `bridle.evaluate`.
    answers : array_like, (N, C) or (N,), optional
        What was evaluated. With it the page shows what one temperature would make of them, and has
        a fingerprint of the answers.
    ids : sequence of N names, optional
        What the rows are called; their numbers from 0 if not given.
    judged_on : {"held-out", "test", "training"}, optional
        Which samples these are.
    fit : FitReport, optional
        The proof of the model's optimum.
    label_errors : LabelErrors, optional
        As from `bridle.label_errors` of the same samples, which the model has not learnt from.
    comparison : Comparison, optional
        As from `bridle.compare_models`.
    calibrator : mapping, optional
        How the model was calibrated, and what that gained: what ``calibration`` is in
        ``metrics.json``.
    title : str, optional
        What was judged: a file, a model.
    command : str, optional
        What made the page.
    made : str, optional
        When; now, if not given.

    Returns
    -------
    str
        To be written as UTF-8.

    Raises
    ------
    MissingExtraError
        Without Jinja2, with the command that installs it.
    InputError
        Answers, ids or label errors of other samples than the evaluation's, or another
        ``judged_on``.

    Examples
    --------
    >>> import bridle
    >>> answers = [[0.1, 0.3, 0.6], [0.2, 0.3, 0.5]]
    >>> found = bridle.evaluate(answers, ["cat", "eel"], classes=["cat", "dog", "eel"])
    >>> bridle.report.page(found, answers=answers)[:15]
    '<!doctype html>'
    """
    told: dict[str, Any] = {
        "answers": answers,
        "ids": ids,
        "judged_on": judged_on,
        "fit": fit,
        "label_errors": label_errors,
        "comparison": comparison,
        "calibrator": calibrator,
        "title": title,
        "command": command,
        "made": made,
    }
    return assembled(contents(evaluation, **told))
