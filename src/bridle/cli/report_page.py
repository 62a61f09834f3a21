"""The page that ``--report`` asks for, beside whatever else a command writes."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from bridle import checks, report
from bridle.cli import outputs
from bridle.cli.messages import one_line, typed
from bridle.fit import FitReport
from bridle.judge import Comparison, Evaluation, label_errors

Array = npt.NDArray[Any]


def check(path: Path | None, *, sources: Iterable[object], folder: Path | None = None) -> None:
    """Refuse a page that could not be written, before the work rather than after it.

    Nor may it replace what is read (``sources``), or another file of the ``folder`` that is written
    too: in that, which need not be there yet, it may stand.
    """
    if path is None:
        return
    report.check_installed()
    if folder is not None and path.parent.absolute() == folder.absolute():
        if path.name in (outputs.MODEL, outputs.METRICS, outputs.PREDICTIONS):
            raise checks.InputError(f"--report {path}: expected another name than {path.name}")
        outputs.check_place(path, "--report")
    else:
        outputs.check_file(path, "--report")
    for source in sources:
        if source is not None and path.exists() and _is_same(path, Path(str(source))):
            raise checks.InputError(f"--report {path}: expected another file than what is read")


def contents(
    evaluation: Evaluation,
    answers: Array,
    *,
    title: str,
    ids: Sequence[object] | None,
    judged_on: str | None = None,
    fit: FitReport | None = None,
    comparison: Comparison | None = None,
    calibrator: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what the page shows; likely label errors among it, unless the model has learnt them.

    Of what it has learnt a model knows too well what the labels say.
    """
    doubted = None
    few = len(evaluation.classes) <= report.MOST_CLASSES_JOINED
    if judged_on != "training" and few:
        doubted = label_errors(answers, evaluation.outcomes.target, kind=evaluation.input_kind)
    return report.contents(
        evaluation,
        answers=answers,
        ids=ids,
        judged_on=judged_on,
        fit=fit,
        label_errors=doubted,
        comparison=comparison,
        calibrator=calibrator,
        title=title,
        command=shlex.join(["bridle", *typed.get()]),
    )


def failure_to_write(path: Path | None, found: dict[str, Any] | None) -> OSError | None:
    """Write the page, if there is one; return the error of a disk that is full."""
    if path is None or found is None:
        return None
    try:
        outputs.write_text(path, report.assembled(found))
    except OSError as error:
        return error
    return None


def ending(path: Path) -> str:
    """Return what is told of a page that was written."""
    return one_line(f"{path}: {path.stat().st_size / 1000:.0f} kB; open it in a browser")


def title_of(source: str, model: Path | None = None) -> str:
    """Return what a page is called that is about a file, or about a model's answers to it."""
    name = "standard input" if source == "-" else Path(source).name or source
    return name if model is None else f"{model.name} on {name}"


def _is_same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except (OSError, ValueError):  # an embedded set, standard input
        return False
