"""``bridle fit``: data in; a classifier at its optimum, its figures and a report out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from bridle import checks, interruption
from bridle.cli import outputs, report_page, reporting
from bridle.cli.doubting import doubts
from bridle.cli.messages import about, tell_user
from bridle.cli.options.output import Folder, Page, Printing
from bridle.cli.progress import live_line
from bridle.cli.reporting import Fitted
from bridle.cli.sampling import Samples, Source, samples_of
from bridle.cli.sweeping import Chosen, Sweep, chosen
from bridle.data import Dataset
from bridle.estimators import SoftmaxRegression


@dataclass(frozen=True)
class Options:
    """What is fitted: the options of the classifier as typed."""

    C: float | None
    sweep: Sweep | None
    standardize: bool | None
    tol: float
    checkpoint: Path | None
    device: str | None
    label_errors: bool


def fit(source: Source, options: Options, folder: Folder, report: Page, printing: Printing) -> None:
    """Load, split, fit, judge, print and write."""
    _check(options, folder)
    read = (source.data, source.labels, source.test, source.test_labels, options.checkpoint)
    report_page.check(report, sources=read, folder=folder.path)
    if options.checkpoint is not None and options.checkpoint.exists() and printing.for_people:
        tell_user(f"going on from the weights in {options.checkpoint}")
    dataset = source.load(keep_texts=report.path is not None)
    interruption.raise_again()
    train, judged = samples_of(source, dataset, keep_texts=report.path is not None)
    model, sweep = _fitted(options, dataset, train, live=printing.for_people)
    reporting.remember_data(model, dataset)
    figures = {
        "model": {"C": model.C, "standardize": model.standardize, "tol": model.tol},
        "fit": model.fit_report_.to_dict(),
    }
    if sweep is not None:
        figures["cross_validation"] = sweep.to_dict()
    lines = _lines(model, sweep)
    if options.label_errors:
        found = doubts(model, train)
        figures["label_errors"], lines = found.to_dict(), chain(lines, found.lines())
    fitted = Fitted(model, dataset, train, judged, source.test, figures, lines)
    reporting.report(fitted, folder, printing, report)
    if model.fit_report_.stopped == "interrupted":
        # What there was is judged and written; the exit code still says how it ended.
        _tell_how_to_go_on(options)
        raise KeyboardInterrupt


def _check(options: Options, folder: Folder) -> None:
    if options.C is not None:
        checks.positive(options.C, "--C", infinite=True)
    checks.positive(options.tol, "--tol")
    if options.sweep is not None:
        options.sweep.check()
        for name, given in (("--C", options.C), ("--checkpoint", options.checkpoint)):
            if given is not None:
                raise checks.InputError(f"{name}: expected without --Cs, found both")
    reporting.check_folder(folder)
    if options.checkpoint is not None:
        outputs.check_file(options.checkpoint, "--checkpoint")


def _fitted(
    options: Options, dataset: Dataset, train: Samples, *, live: bool
) -> tuple[SoftmaxRegression, Chosen | None]:
    """Return the model, and how its C was chosen if it was."""
    if options.device is not None:
        train = _on_device(train, options.device)
    scale = _scale(options, dataset)
    if options.sweep is not None:
        found = chosen(options.sweep, train, standardize=scale, tol=options.tol, wanted=live)
        return found.model, found
    model = SoftmaxRegression(options.C or 1.0, standardize=scale, tol=options.tol)
    line = live_line(options.tol, penalised=bool(np.isfinite(model.C)), wanted=live)
    with about(train.source), line as progress:
        model.fit(train.features, train.target, progress=progress, checkpoint=options.checkpoint)
    return model, None


def _on_device(train: Samples, device: str) -> Samples:
    try:
        return replace(train, features=train.features.on(device))
    except checks.InputError as error:  # it names the parameter, not the option
        raise checks.InputError(f"--{error}") from None


def _scale(options: Options, dataset: Dataset) -> bool | float:
    if options.standardize is not None:
        return options.standardize
    # Pixels have one unit. Each divided by its own deviation, those that are nearly always
    # background would count as much as the rest: noise, at the cost of accuracy.
    # Nor are words: of the rare ones, which most are, the deviation is next to nothing.
    if dataset.reading.texts:
        return False
    return 255.0 if dataset.pixels else True


def _lines(model: SoftmaxRegression, sweep: Chosen | None) -> Iterator[str]:
    if sweep is not None:
        yield from sweep.lines()
    if model.standardize == 255:
        yield "  pixels are penalised on one scale, 0 to 1 (--standardize: each on its own)"
    elif "texts" in model.reading_ and not model.standardize:
        yield "  features are penalised as they are (--standardize: each on its own scale)"
    yield from outputs.fit_lines(model.fit_report_)


def _tell_how_to_go_on(options: Options) -> None:
    if options.checkpoint is not None:
        tell_user(f"the same command goes on from {options.checkpoint}")
    else:
        tell_user("a fit with --checkpoint FILE can be gone on with")
