"""``bridle evaluate`` of several files: the answers of several models to the same samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks, strict_json
from bridle.cli import report_page
from bridle.cli.answer_kinds import as_scores
from bridle.cli.evaluating import Answers, read_answers, with_report
from bridle.cli.messages import about, one_line
from bridle.cli.options.answers import AnswerOptions
from bridle.cli.options.config import save_options
from bridle.cli.options.output import Page
from bridle.cli.slicing import slices_of
from bridle.data import Reading, files
from bridle.judge import Comparison, compare_models

Array = npt.NDArray[Any]


def compare(
    sources: Sequence[str],
    target: str | None,
    labels: str | None,
    arrays: Mapping[str, str] | None,
    options: AnswerOptions,
    reading: Reading,
    *,
    slices: Sequence[str],
    report: Page,
    json: bool,
) -> None:
    """Print how the answers in several files differ, row by row; write a page of the first."""
    report_page.check(report, sources=(*sources, labels))
    found, scores = [], []
    for source in sources:
        answers, judged = read_answers(source, target, labels, arrays, options, reading, slices)
        found.append(answers)
        scores.append(as_scores(judged))
    save_options()
    first = found[0]
    classes: list[Any] = list(first.classes)
    models = {}
    for name, answers, values in zip(_names(sources), found, scores, strict=True):
        with about(name):
            rows, columns = _rows_of(first, answers), _columns_of(classes, answers)
            models[name] = values[rows][:, columns]
    parts = slices_of(sources[0], first.table, slices, first.used)
    compared = compare_models(
        models, np.asarray(first.truth), classes=classes, kind="scores", slices=parts
    )
    shown = None if report.path is None else _report(report, sources[0], first, models, compared)
    failure = report_page.failure_to_write(report, shown)
    if json:
        notes = {source: list(each.notes) for source, each in zip(sources, found, strict=True)}
        figures = with_report({**compared.to_dict(), "notes": notes}, shown)
        print(strict_json.to_text(figures, indent=2))
    else:
        _print(sources, found, compared)
    if failure is not None:
        raise failure
    if report.path is not None and not json:
        print(f"\n{report_page.ending(report)}")


def _print(sources: Sequence[str], found: Sequence[Answers], compared: Comparison) -> None:
    for source, each in zip(sources, found, strict=True):
        for note in each.notes:
            print(f"  {one_line(f'{source}: {note}')}")
    shown = {one_line(name): each for name, each in compared.models.items()}
    print(replace(compared, models=shown))


def _report(
    page: Page, source: str, first: Answers, models: Mapping[str, Array], compared: Comparison
) -> dict[str, Any]:
    """Return what the page shows: the first file's answers, and how the others differ."""
    name = next(iter(models))
    return report_page.contents(
        page,
        compared.models[name],
        models[name],
        title=report_page.title_of(source),
        ids=first.ids,
        comparison=compared,
    )


def _names(sources: Sequence[str]) -> list[str]:
    """Return the files' names, or their paths where two are called the same."""
    names = [Path(source).stem for source in sources]
    if len(set(names)) < len(names):
        names = list(sources)
    if len(set(names)) < len(names):
        raise checks.InputError(f"{files.listing(sources)}: expected different files")
    return names


def _rows_of(first: Answers, other: Answers) -> Array:
    """Return the rows of other answers in the order of the first: by ids, else as they are."""
    count = len(first.truth)
    rows = np.arange(len(other.truth))
    if first.ids is not None and other.ids is not None:
        places = {name: row for row, name in enumerate(other.ids)}
        unique = len(places) == len(other.ids) and len(set(first.ids)) == count
        if unique and set(first.ids) == set(places):
            rows = np.array([places[name] for name in first.ids])
    truth = np.asarray(other.truth)[rows]
    if len(rows) != count or truth.astype(str).tolist() != first.truth.astype(str).tolist():
        raise checks.InputError(
            f"expected answers to the same {count} samples as the first file, with the same labels"
        )
    return rows


def _columns_of(classes: Sequence[Any], other: Answers) -> list[int]:
    """Return which column answers for each class of the first file."""
    places = {str(label): place for place, label in enumerate(other.classes)}
    missing = [str(label) for label in classes if str(label) not in places]
    if missing or len(places) != len(classes):
        raise checks.InputError(
            f"expected answers for the classes of the first file, "
            f"{files.listing(map(str, classes))}, found {files.listing(places)}"
        )
    return [places[str(label)] for label in classes]
