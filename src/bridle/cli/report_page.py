"""The page that ``--report`` asks for, beside whatever else a command writes."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks, report
from bridle.cli import outputs
from bridle.cli.messages import one_line, typed
from bridle.cli.options.output import Page
from bridle.data.formats import reader_of
from bridle.explain.assembly import STATIONS
from bridle.files import is_folder, is_there
from bridle.judge import Evaluation, label_errors
from bridle.rows import Rows

Array = npt.NDArray[Any]


class _Images:
    """Features that were images before they were laid flat, as such."""

    def __init__(self, features: Rows, shape: tuple[int, ...]) -> None:
        self._features, self._shape = features, shape

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, row: int, /) -> Array:
        values = self._features.take(np.array([row])).to_array()
        return np.asarray(values).reshape(self._shape)


def images(features: Rows, shape: tuple[int, ...] | None) -> _Images | None:
    """Return the images that features were, if they were."""
    return None if shape is None or features.is_sparse else _Images(features, shape)


def check(page: Page, *, sources: Iterable[object], folder: Path | None = None) -> None:
    """Refuse a page that could not be written, before the work rather than after it.

    Nor may it replace what is read (``sources``), or another file of the ``folder`` that is written
    too: in that, which need not be there yet, it may stand.
    """
    path, explained = page.path, page.explain_page
    if path is None:
        if explained is not None:
            raise checks.InputError("--explain-page: expected with --report, found it alone")
        return
    report.check_installed()
    if folder is not None and path.parent.absolute() == folder.absolute():
        if path.name in (outputs.MODEL, outputs.METRICS, outputs.PREDICTIONS):
            raise checks.InputError(f"--report {path}: expected another name than {path.name}")
        outputs.check_place(path, "--report")
    else:
        outputs.check_file(path, "--report")
    if explained is not None and not _explains(explained):
        raise checks.InputError(
            f"--explain-page {explained}: expected a page that bridle explain --out wrote"
        )
    for source in (*sources, explained):
        if source is not None and is_there(path) and _is_read(path, Path(str(source))):
            raise checks.InputError(f"--report {path}: expected another file than what is read")


def _explains(path: Path) -> bool:
    """Tell whether a file is a page of explanations, by the names of its stations."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return all(f'id="{station.name}"' in text for station in STATIONS)


def contents(page: Page, evaluation: Evaluation, answers: Array, **told: Any) -> dict[str, Any]:
    """Return what the page shows; likely label errors among it, unless the model has learnt them.

    Of what it has learnt a model knows too well what the labels say. ``told`` is what
    `bridle.report.page` takes beside.
    """
    doubted = None
    few = len(evaluation.classes) <= report.MOST_CLASSES_JOINED
    if told.get("judged_on") != "training" and few:
        doubted = label_errors(answers, evaluation.outcomes.target, kind=evaluation.input_kind)
    return report.contents(
        evaluation,
        answers=answers,
        label_errors=doubted,
        explain_page=page.link,
        command=shlex.join(["bridle", *typed.get()]),
        **told,
    )


def failure_to_write(page: Page, found: dict[str, Any] | None) -> OSError | None:
    """Write the page, if there is one; return the error of a disk that is full."""
    if page.path is None or found is None:
        return None
    try:
        outputs.write_text(page.path, report.assembled(found))
    except OSError as error:
        return error
    return None


def ending(page: Page) -> str:
    """Return what is told of a page that was written."""
    path = page.path
    assert path is not None
    return one_line(f"{path}: {path.stat().st_size / 1000:.0f} kB; open it in a browser")


def title_of(source: str, model: Path | None = None) -> str:
    """Return what a page is called that is about a file, or about a model's answers to it."""
    name = "standard input" if source == "-" else Path(source).name or source
    return name if model is None else f"{model.name} on {name}"


def _is_read(path: Path, source: Path) -> bool:
    """Tell whether a file is what is read, or one with data in the folder that is."""
    try:
        in_folder = is_folder(source) and path.parent.samefile(source)
        return path.samefile(source) or (in_folder and reader_of(path) is not None)
    except (OSError, ValueError):  # an embedded set, standard input
        return False
