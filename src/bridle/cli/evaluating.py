"""``bridle evaluate``: judge any model's answers, or run one of ours and judge its own."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks, data, strict_json
from bridle.cli import (
    answer_columns,
    answer_kinds,
    answer_words,
    judging_parts,
    outputs,
    ranks,
    report_page,
)
from bridle.cli.answer_kinds import Judged
from bridle.cli.messages import about, one_line, tell
from bridle.cli.options.answers import AnswerOptions
from bridle.cli.options.config import save_options
from bridle.cli.options.judging import Judging
from bridle.cli.options.output import Page
from bridle.cli.sharing import rows_in, scratch
from bridle.cli.slicing import slices_in_data, slices_of
from bridle.data import Dataset, Reading, Scratch, columns, files, targets
from bridle.data.choice import is_id
from bridle.data.columns import Table
from bridle.data.cost_matrix import load_costs
from bridle.judge import (
    DecisionFigures,
    Evaluation,
    SliceFigures,
    decision_figures,
    slice_figures,
    text,
)
from bridle.ranks import Alone, Ranks
from bridle.report import without_sources
from bridle.report.sources import Pictures

Array = npt.NDArray[Any]

# Answers are found by the names of their columns, so there are names: -2, 7, 10 is no first row.
# They have no gaps to fill.
_NAMED = Reading(header=True, na="error")


@dataclass(frozen=True)
class Answers:
    """Answers, the class of each column, the true labels, and what was decided on the way."""

    read: Callable[[slice], Array]  # returns the answers of some rows
    classes: Sequence[object]
    truth: Array
    notes: tuple[str, ...]
    place: Callable[[int], str]
    dataset: Dataset
    ids: tuple[str, ...] | None = None
    table: Table | None = None
    used: tuple[str, ...] = ()  # the columns of the table that are answers


@dataclass(frozen=True)
class _Judged:
    """Answers that are judged, and what else is known of their samples."""

    evaluation: Evaluation
    answers: Array | None  # of all rows, where something beside the figures is made of them
    notes: tuple[str, ...]
    ids: Sequence[str] | None
    slices: Mapping[str, Sequence[str]]
    texts: Sequence[str] | None = None
    pictures: Pictures | None = None


def evaluate(
    source: str,
    *,
    model: Path | None,
    target: str | None,
    labels: str | None,
    arrays: Mapping[str, str] | None,
    options: AnswerOptions,
    judging: Judging,
    reading: Reading,
    report: Page,
    json: bool,
    timeout: float,
) -> None:
    """Print the figures of answers in a file, or of a model on data; write a page of them.

    Of several processes that a launcher started, each judges a part of the rows, and the first
    does all the rest.
    """
    report_page.check(report, sources=(source, labels, model, judging.costs))
    if model is not None and options.given:
        raise checks.InputError(f"{options.given[0]}: expected without --model")
    wants_page = report.path is not None
    keep_answers = wants_page or judging.costs is not None
    with ranks.started(timeout) as all_ranks:
        if model is None:
            told = (source, target, labels, arrays, options, judging, reading)
            found = _of_answers(all_ranks, *told, keep_answers=keep_answers)
        else:
            of_model = (model, source, target, labels, arrays, judging, reading)
            found = _of_model(
                all_ranks, *of_model, keep_texts=wants_page, keep_answers=keep_answers
            )
    if found is None:
        return
    slices = slice_figures(found.evaluation, found.slices)
    decisions = None
    if judging.costs is not None and found.answers is not None:
        decisions = _decisions(judging.costs, found.evaluation, found.answers)
    shown = None
    if found.answers is not None and wants_page:
        shown = report_page.contents(
            report,
            found.evaluation,
            found.answers,
            title=report_page.title_of(source, model),
            ids=found.ids,
            texts=found.texts,
            pictures=found.pictures,
            slices=slices,
            decisions=decisions,
        )
    failure = report_page.failure_to_write(report, shown)
    if json:
        figures = _as_json(found, slices, decisions)
        print(strict_json.to_text(with_report(figures, shown), indent=2))
    else:
        print("\n".join(_as_text(found, slices, decisions)))
    # A disk that is full costs the page, not the figures.
    if failure is not None:
        raise failure
    if report.path is not None and not json:
        print(f"\n{report_page.ending(report)}")


def _as_json(
    found: _Judged, slices: Sequence[SliceFigures], decisions: DecisionFigures | None
) -> dict[str, Any]:
    figures = {**found.evaluation.to_dict(), "notes": list(found.notes)}
    if slices:
        figures["slices"] = slices
    if decisions is not None:
        figures["decisions"] = decisions
    return figures


def _as_text(
    found: _Judged, slices: Sequence[SliceFigures], decisions: DecisionFigures | None
) -> Iterator[str]:
    yield from (f"  {one_line(note)}" for note in found.notes)
    yield str(found.evaluation)
    yield from text.slice_table(slices)
    if decisions is not None:
        yield from text.decision_table(decisions)


def _check_costs(judging: Judging, classes: Sequence[object]) -> None:
    """Refuse a file of costs before the work, in each of several processes."""
    if judging.costs is not None:
        load_costs(judging.costs, classes)


def _decisions(path: Path, evaluation: Evaluation, answers: Array) -> DecisionFigures:
    """Return what decisions cost, by a file of costs."""
    classes = evaluation.classes
    costs, actions = load_costs(path, classes)
    truth = [classes[place] for place in evaluation.outcomes.target.tolist()]
    with about(str(path)):
        return decision_figures(
            answers,
            truth,
            costs,
            classes=classes,
            actions=None if actions == tuple(map(str, classes)) else actions,
            kind=evaluation.input_kind,
        )


def with_report(figures: dict[str, Any], shown: dict[str, Any] | None) -> dict[str, Any]:
    """Return figures as JSON tells them, with what a page shows if there is one."""
    return figures if shown is None else {**figures, "report": without_sources(shown)}


def _of_model(
    all_ranks: Alone | Ranks,
    path: Path,
    source: str,
    target: str | None,
    labels: str | None,
    arrays: Mapping[str, str] | None,
    judging: Judging,
    reading: Reading,
    *,
    keep_texts: bool,
    keep_answers: bool,
) -> _Judged | None:
    """Return what is judged on the first process, None on the others."""
    fitted = all_ranks.made(lambda: outputs.load_model(path))
    known = outputs.features_of(fitted)

    loaded: list[tuple[Dataset, dict[str, list[str]]]] = []  # by the first process alone

    def deal() -> Iterator[judging_parts.RowsToJudge]:
        dataset = data.load(
            source,
            target=target,
            labels=labels,
            arrays=arrays,
            reading=reading,
            keep_texts=keep_texts,
            scratch=scratch(all_ranks.size),
            **known,
        )
        tell(dataset)
        classes = fitted.classes_.tolist()
        _check_costs(judging, classes)
        features = dataset.features
        slices = slices_in_data(source, judging.slices, len(features), reading, known)
        loaded.append((dataset, slices))
        save_options()
        read = partial(rows_in, features)
        return judging_parts.rows_to_judge(dataset, read, _labels(dataset), classes, all_ranks.size)

    own = all_ranks.dealt(deal)
    found = judging_parts.judged(
        all_ranks,
        own,
        lambda: np.asarray(fitted.predict_log_proba(own.values)),
        kind="scores",
        keep_answers=keep_answers,
    )
    if found is None:
        return None
    dataset, slices = loaded[0]
    pictures = report_page.images(dataset.features, dataset.image_shape)
    notes = (*dataset.notes, *outputs.notes_of(fitted))
    return _Judged(*found, notes, dataset.ids, slices, dataset.texts, pictures)


def read_answers(
    source: str,
    target: str | None,
    labels: str | None,
    arrays: Mapping[str, str] | None,
    options: AnswerOptions,
    reading: Reading,
    slices: Sequence[str] = (),
) -> tuple[Answers, Judged]:
    """Return the answers in a file with their true labels, and the same as the judge takes them.

    Columns that are ``slices`` are not told of as left out.
    """
    found = _read(source, target, labels, arrays, options, reading, slices)
    judged = _as_judged(found, options)
    return replace(found, notes=_notes(found, judged)), judged


def _read(
    source: str,
    target: str | None,
    labels: str | None,
    arrays: Mapping[str, str] | None,
    options: AnswerOptions,
    reading: Reading,
    slices: Sequence[str],
    kept: Scratch | None = None,
) -> Answers:
    if reading.na is not None:
        raise checks.InputError("--na: expected with --model; answers have no gaps to fill")
    dataset = data.load(
        source,
        target=target,
        labels=labels,
        arrays=arrays,
        reading=reading,
        fitted=_NAMED,
        as_table=True,
        scratch=kept,
    )
    if dataset.table is not None:
        found = _by_name(dataset, dataset.table, target, options, slices)
    else:
        found = _by_place(dataset, options)
    return replace(found, notes=(*dataset.notes, *found.notes))


def _as_judged(found: Answers, options: AnswerOptions) -> Judged:
    """Return answers as the judge takes them."""
    values = found.read(slice(None))
    return answer_kinds.as_judged(values, options, found.place, found.dataset.source)


def _notes(found: Answers, judged: Judged) -> tuple[str, ...]:
    return tuple(note for note in (*found.notes, judged.note) if note)


def _of_answers(
    all_ranks: Alone | Ranks,
    source: str,
    target: str | None,
    labels: str | None,
    arrays: Mapping[str, str] | None,
    options: AnswerOptions,
    judging: Judging,
    reading: Reading,
    *,
    keep_answers: bool,
) -> _Judged | None:
    """Return what is judged on the first process, None on the others."""
    loaded: list[tuple[Answers, dict[str, list[str]]]] = []  # by the first process alone

    def deal() -> Iterator[judging_parts.RowsToJudge]:
        kept = scratch(all_ranks.size)
        found = _read(source, target, labels, arrays, options, reading, judging.slices, kept)
        _check_costs(judging, found.classes)
        slices = slices_of(source, found.table, judging.slices, found.used)
        loaded.append((found, slices))
        save_options()
        size = all_ranks.size
        return judging_parts.rows_to_judge(
            found.dataset, found.read, found.truth, found.classes, size
        )

    own = all_ranks.dealt(deal)
    judged = judging_parts.kind_of_all(
        all_ranks, own.values, options, lambda: _as_judged(loaded[0][0], options)
    )
    outcome = judging_parts.judged(
        all_ranks,
        own,
        lambda: judged.values,
        kind=judged.kind,
        keep_answers=keep_answers,
    )
    if outcome is None:
        return None
    evaluation, answers = outcome
    found, slices = loaded[0]
    if found.ids is not None:
        named = [
            replace(row, index=found.ids[int(row.index)]) for row in evaluation.most_surprising
        ]
        evaluation = replace(evaluation, most_surprising=tuple(named))
    notes, infinite = _notes(found, judged), evaluation.infinite_losses
    if judged.rounded and infinite > 0:
        zeros = f"{infinite} of the targets' were rounded to 0: an infinite loss each"
        notes = (*notes, zeros)
    return _Judged(evaluation, answers, notes, found.ids, slices)


def _labels(dataset: Dataset) -> Array:
    assert dataset.target is not None  # load refuses data without labels
    # A distribution as target is judged by its most probable class.
    return dataset.target if dataset.target.ndim == 1 else dataset.target.argmax(axis=1)


def _by_name(
    dataset: Dataset,
    table: Table,
    target: str | None,
    options: AnswerOptions,
    slices: Sequence[str],
) -> Answers:
    name, truth, note = _truth(dataset, table, target)
    names = [each for each in table.names if each != name]
    spelled = answer_columns.without_percent_signs(table) if options.percent else table
    match = answer_columns.find(
        spelled, names, np.unique(truth).tolist(), options.answers, options.total
    )
    values = answer_columns.numbers(spelled, match.names)
    ids = next((each for each in names if is_id(each) and each not in match.names), None)
    left_out = [each for each in names if each not in (*match.names, *slices)]
    if len(match.classes) == 2 and len(match.names) == 1:
        values = values[:, 0]
    return Answers(
        values.__getitem__,
        match.classes,
        truth,
        (note, match.note, f"left out: columns {files.listing(left_out)}" if left_out else ""),
        table.place,
        dataset,
        None if ids is None else tuple(str(each) for each in table.texts(ids).tolist()),
        table,
        tuple(match.names),
    )


def _truth(dataset: Dataset, table: Table, target: str | None) -> tuple[str | None, Array, str]:
    """Return the column of the truth, if it is one, the labels, and what was decided."""
    if dataset.target is not None:
        if dataset.target.ndim != 1:
            raise checks.InputError(
                f"--labels: expected a label a row, found probabilities of "
                f"{dataset.target.shape[1]} classes"
            )
        return None, dataset.target, ""
    if target is not None:
        if target not in table.names:
            raise columns.absent("--target", table, target)
        return target, _column_of_labels(table, target), ""
    name = _truth_name(table)
    return name, _column_of_labels(table, name), f"truth: column {files.quoted(name)}"


def _truth_name(table: Table) -> str:
    named = [
        name
        for name in table.names
        if answer_words.plain(name) in answer_words.TRUTH and _are_labels(table, name)
    ]
    fitting = [name for name in named if _names_columns(table, name)]
    if len(named) == 1 or len(fitting) == 1:
        return (fitting or named)[0]
    if not named:
        # Whatever it is called: a column whose values other columns are called after.
        fitting = [
            name
            for name in table.names
            if answer_words.plain(name) not in answer_words.BESIDE
            and _are_labels(table, name)
            and len(targets.distinct(table.texts(name))[0]) > 1
            and _names_columns(table, name)
        ]
        if len(fitting) == 1:
            return fitting[0]
    candidates = fitting or named or list(table.names)
    raise files.broken(
        table.file,
        f"which column is the truth? name it with --target, or give the labels with --labels FILE: "
        f"{files.listing(candidates)}",
    )


def _are_labels(table: Table, name: str) -> bool:
    column = table.texts(name) if name in table.dates else answer_columns.column_of(table, name)
    if column is None or column.ndim != 1:
        return False
    # A column of text holds numbers as floats, labels that are integers among them.
    return column.dtype.kind != "f" or bool((column == np.trunc(column)).all())


def _names_columns(table: Table, name: str) -> bool:
    labels = targets.distinct(table.texts(name))[0]
    others = [each for each in table.names if each != name]
    return len(labels) <= len(others) + 1 and answer_columns.could_be(others, labels)


def _column_of_labels(table: Table, name: str) -> Array:
    """Return a column of labels as they are spelled: integers where all are plainly that."""
    place = f"column {files.quoted(name)}"

    def where(row: int) -> str:
        return f"{table.place(row)}, {place}"

    labels = columns.raw_labels(table, name)
    if not table.typed:
        return targets.from_spelling(labels, table.file, where, table.reading)
    found = targets.as_target(labels, table.file, where, table.reading)
    if found.ndim != 1:
        raise files.broken(table.file, f"{place}: expected a label a row, found probabilities")
    return found


def _by_place(dataset: Dataset, options: AnswerOptions) -> Answers:
    """Return the answers of an array, whose columns have no names.

    They stand for the labels in order, one or all but the first of two, or for the class indices
    0, 1, …, unless the user names them.
    """
    if dataset.features.is_sparse:
        raise checks.InputError(f"{dataset.source}: expected dense answers, found a sparse matrix")
    truth = _labels(dataset)
    classes, note = _classes_in_order(dataset, truth, options.answers)
    is_one_column = len(classes) == 2 and dataset.features.shape[1] == 1

    def read(rows: slice) -> Array:
        values = dataset.features.stored(rows)
        return np.asanyarray(values)[:, 0] if is_one_column else np.asanyarray(values)

    return Answers(
        read,
        classes,
        truth,
        (note,),
        lambda row: f"{dataset.source}: row {row}",
        dataset,
        dataset.ids,
    )


def _classes_in_order(
    dataset: Dataset, truth: Array, wanted: str | None
) -> tuple[Sequence[object], str]:
    source, width = dataset.source, dataset.features.shape[1]
    # An embedded set has features, whose names are no labels.
    named = dataset.feature_names is not None
    seen = np.unique(truth)
    if wanted is not None:
        return _told_order(source, width, seen.tolist(), wanted), ""
    order = files.listing(map(str, seen.tolist()))
    if width == 1 and len(seen) == 2:
        last = files.quoted(seen[1])
        return seen.tolist(), f"answers: the one column is for {last}, the last of the labels"
    if width > 1 and len(seen) == width:
        return (
            seen.tolist(),
            f"answers: columns have no names, taken as the labels in order: {order}",
        )
    highest = int(seen[-1]) + 1 if seen.dtype.kind in "iu" and seen[0] >= 0 else 0
    if width > 1 and 0 < highest <= width and not named:
        return range(width), f"answers: columns have no names, taken as classes 0 to {width - 1}"
    raise checks.InputError(
        f"{source}: {width} columns of answers for {len(seen)} labels in the target, {order}: name "
        f"the columns' labels in order with --answers LABEL,LABEL,…"
    )


def _told_order(source: str, width: int, seen: list[object], wanted: str) -> list[object]:
    texts = next(csv.reader([wanted], skipinitialspace=True), [])
    by_text = {str(label): label for label in seen}
    if width == 1 and len(seen) == 2 and len(texts) == 1 and texts[0] in by_text:
        return [label for text, label in by_text.items() if text != texts[0]] + [by_text[texts[0]]]
    missing = [text for text in by_text if text not in texts]
    if len(texts) != width or missing or len(set(texts)) < width:
        raise checks.InputError(
            f"--answers: expected the labels of the {width} columns of {source} in order, among "
            f"them {files.listing(by_text)}, found {files.quoted(wanted)}"
        )
    return [by_text.get(text, text) for text in texts]
