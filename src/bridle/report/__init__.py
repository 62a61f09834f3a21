"""A page of an evaluation: one HTML file that needs nothing from outside, not even JavaScript.

``contents`` makes a plain dictionary of all that is shown: ``composition`` what the loss is made
of, ``rankings`` the worst classes, samples and labels, ``sources`` those samples themselves,
``calibrated`` the confidence before and after one temperature, ``by_class`` the calibration of each
class, ``training`` a network's epochs, ``parted`` slices and decisions, ``verdict`` the three
sentences, ``versus`` the comparison with other models, ``origin`` what it was made of. ``assembly``
prints it into ``page/``, with numbers as ``numbers`` writes them and ``figures`` as SVG.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ParamSpec

from bridle.report.assembly import assembled, check_installed
from bridle.report.contents import MOST_CLASSES_JOINED, contents
from bridle.report.sources import without_sources

__all__ = [
    "MOST_CLASSES_JOINED",
    "assembled",
    "check_installed",
    "contents",
    "page",
    "without_sources",
]


P = ParamSpec("P")


def _with_parameters_of(
    first: Callable[P, Any],
) -> Callable[[Callable[..., str]], Callable[P, str]]:
    """Give a function the parameters of another, to be read off it and to be checked by types."""

    def decorate(function: Callable[..., str]) -> Callable[P, str]:
        signature = inspect.signature(first).replace(return_annotation="str")
        function.__signature__ = signature  # type: ignore[attr-defined]
        return function

    return decorate


@_with_parameters_of(contents)
def page(*given: Any, **told: Any) -> str:
    """Return a page of an evaluation as HTML, below 300 kB for any number of samples and classes.

    Parameters
    ----------
    evaluation : Evaluation
        As from `bridle.evaluate`.
    answers : array_like, (N, C) or (N,), optional
        What was evaluated. With it the page shows what the loss is made of, what one temperature
        would make of the answers and each class's calibration, and has a fingerprint of them.
    ids : sequence of N names, optional
        What the rows are called; their numbers from 0 if not given.
    texts : sequence of N texts, optional
        What the samples are: the beginning of the most surprising ones is shown.
    pictures : sequence of N images (H, W) or (H, W, 3), optional
        The same for images, of which small copies are shown. Only those rows are asked for.
    judged_on : {"held-out", "test", "training"}, optional
        Which samples these are.
    fit : FitReport, optional
        The proof of the model's optimum, and how it was reached.
    kept_features : sequence of str, optional
        What the features are called that have weights, where a penalty has left others out.
    training : sequence of `bridle.progress.Epoch`, optional
        A network's history.
    label_errors : LabelErrors, optional
        As from `bridle.label_errors` of the same samples, which the model has not learnt from.
    comparison : Comparison, optional
        As from `bridle.compare_models`.
    slices : sequence of SliceFigures, optional
        As from `bridle.judge.slice_figures`.
    decisions : DecisionFigures, optional
        As from `bridle.judge.decision_figures`.
    calibrator : mapping, optional
        How the model was calibrated, and what that gained: what ``calibration`` is in
        ``metrics.json``.
    explain_page : str, optional
        The place of a page of ``bridle explain``, as seen from this one: what is read off a figure
        is then linked to the station that explains it.
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
        Answers, ids, texts, pictures or label errors of other samples than the evaluation's, or
        another ``judged_on``.

    Examples
    --------
    >>> import bridle
    >>> answers = [[0.1, 0.3, 0.6], [0.2, 0.3, 0.5]]
    >>> found = bridle.evaluate(answers, ["cat", "eel"], classes=["cat", "dog", "eel"])
    >>> bridle.report.page(found, answers=answers)[:15]
    '<!doctype html>'
    """
    return assembled(contents(*given, **told))
