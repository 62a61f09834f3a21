"""``bridle fit``: data in; a classifier at its optimum, its figures and a report out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bridle import checks, interruption
from bridle.calibrate import METHODS
from bridle.cli import cluster, folds, outputs, penalties, ranks, report_page, reporting
from bridle.cli.calibrated_fit import Calibration, calibration
from bridle.cli.doubting import doubts
from bridle.cli.messages import about, tell_user
from bridle.cli.options.config import save_options
from bridle.cli.options.output import Folder, Page, Printing
from bridle.cli.penalties import Penalty
from bridle.cli.progress import live_line
from bridle.cli.reporting import Fitted
from bridle.cli.sampling import Samples, Source, samples_of
from bridle.cli.sharing import Share, are_looked_through_in_parts, scratch, shares, without_rows
from bridle.cli.splitting import fold_of_rows
from bridle.cli.sweeping import Chosen, Sweep, chosen
from bridle.data import Dataset
from bridle.estimators import SoftmaxRegression
from bridle.files import is_there
from bridle.fit.placement import placed
from bridle.rows import Features


@dataclass(frozen=True)
class Options:
    """What is fitted: the options of the classifier as typed."""

    C: float | None
    sweep: Sweep | None
    penalty: Penalty
    standardize: bool | None
    tol: float
    checkpoint: Path | None
    device: str | None
    stream: bool | None
    label_errors: bool
    calibrate: str | None
    folds: int  # of whatever needs some
    dask: str | None  # a cluster's address, or "local"
    timeout: float  # of ranks, where there are several, or of a cluster


def fit(source: Source, options: Options, folder: Folder, report: Page, printing: Printing) -> None:
    """Load, split, fit, judge, print and write.

    Of several processes that a launcher started, each fits a share of the samples, and the first
    does all the rest: it loads them, and deals them out.
    """
    _check(options, folder)
    read = (*source.files, options.checkpoint)
    report_page.check(report, sources=read, folder=folder.path)
    if options.checkpoint is not None and is_there(options.checkpoint) and printing.for_people:
        tell_user(f"going on from the weights in {options.checkpoint}")
    loaded: list[Loaded] = []  # by the first process alone
    with ranks.started(options.timeout) as all_ranks:
        deal = partial(
            _loaded_shares, source, options, all_ranks.size, report.path is not None, loaded
        )
        share = all_ranks.dealt(deal)
        own = all_ranks.made(lambda: _at_hand(share.checked(), options, all_ranks.size))
        live = printing.for_people and all_ranks.rank == 0
        if all_ranks.size > 1:
            loaded[:] = [each.once_dealt() for each in loaded]
        model, sweep = _fitted(options, share, own, loaded, live=live)
    if not loaded:
        return
    dataset, train, judged = loaded[0]
    reporting.remember_data(model, dataset)
    figures: dict[str, Any] = {
        "model": {
            "C": model.C,
            "l1_ratio": model.l1_ratio,
            "group": model.group,
            "standardize": model.standardize,
            "tol": model.tol,
        },
        "fit": model.fit_report_.to_dict(),
    }
    kept = penalties.kept_features(model)
    if kept is not None:
        figures["kept_features"] = kept
    if sweep is not None:
        figures["cross_validation"] = sweep.to_dict()
    places = _places(options, all_ranks.size, model.fit_report_.streamed_to)
    lines, calibrated = chain(places, _lines(model, sweep)), None
    held_out, is_interrupted = _held_out(options, model, sweep, own)
    if options.label_errors and held_out is not None:
        found = doubts(held_out, train)
        figures["label_errors"], lines = found.to_dict(), chain(lines, found.lines())
    if options.calibrate is not None:
        if held_out is None:
            calibrated = Calibration(options.calibrate, why_not="the command was interrupted")
        else:
            calibrated = calibration(options.calibrate, held_out)
        lines = chain(lines, calibrated.lines())
    answering = model if calibrated is None else calibrated.applied_to(model)
    fitted = Fitted(answering, dataset, train, judged, source.test, figures, lines, calibrated)
    reporting.report(fitted, folder, printing, report)
    if is_interrupted:
        # What there was is judged and written; the exit code still says how it ended.
        if model.fit_report_.stopped == "interrupted":
            _tell_how_to_go_on(options)
        raise KeyboardInterrupt


class Loaded(NamedTuple):
    """The data, samples to learn from, and those to judge on."""

    dataset: Dataset
    train: Samples
    judged: Samples

    def once_dealt(self) -> Loaded:
        """Return them without the features to learn from, which are in the shares."""
        train = replace(self.train, features=without_rows(self.dataset).features)
        judged = replace(self.judged, features=self.judged.features.alone())
        return Loaded(without_rows(self.dataset), train, judged)


def _loaded_shares(
    source: Source, options: Options, parts: int, keep_texts: bool, loaded: list[Loaded]
) -> Iterator[Share]:
    """Load the data, and yield what each of so many processes fits."""
    kept = scratch(parts, elsewhere=options.dask is not None)
    dataset = source.load(keep_texts=keep_texts, scratch=kept)
    interruption.raise_again()
    in_parts = kept is not None and are_looked_through_in_parts(dataset)
    train, judged = samples_of(
        source, dataset, keep_texts=keep_texts, are_checked=in_parts, scratch=kept
    )
    for option in _in_need_of_folds(options):
        folds.check(option, train)
    fold = None
    if options.sweep is not None:
        if train.target.ndim != 1:
            raise checks.InputError("--Cs: expected one label a sample, found distributions")
        fold = fold_of_rows(train.target, options.sweep.cv)
    loaded.append(Loaded(dataset, train, judged))
    save_options()
    if parts == 1:
        yield Share(train, fold, dataset)
    else:
        yield from shares(dataset, train, fold, parts)


def _check(options: Options, folder: Folder) -> None:
    if options.C is not None:
        checks.positive(options.C, "--C", infinite=True)
    checks.positive(options.tol, "--tol")
    options.penalty.check(has_Cs=options.sweep is not None)
    checks.positive(options.timeout, "--timeout")
    if options.stream is not None and options.device is None:
        name = "--stream" if options.stream else "--no-stream"
        raise checks.InputError(f"{name}: expected with --device, found it alone")
    for_one_process = _in_need_of_folds(options)
    for name in for_one_process + ["--dask"] * (options.dask is not None):
        ranks.refuse(name)
    if options.dask is not None:
        for name in for_one_process + ["--device"] * (options.device is not None):
            raise checks.InputError(f"{name}: expected without --dask, found both")
    if options.sweep is not None:
        options.sweep.check(in_one_process=options.dask is None and not ranks.is_one_of_several())
        for name, given in (("--C", options.C), ("--checkpoint", options.checkpoint)):
            if given is not None:
                raise checks.InputError(f"{name}: expected without --Cs, found both")
    if options.calibrate is not None:
        checks.one_of(options.calibrate, "--calibrate", tuple(METHODS))
    if options.folds < 2:
        raise checks.InputError(f"--cv: expected 2 folds or more, found {options.folds}")
    reporting.check_folder(folder)
    if options.checkpoint is not None:
        outputs.check_file(options.checkpoint, "--checkpoint")


def _fitted(
    options: Options, share: Share, own: Samples, loaded: Sequence[Loaded], *, live: bool
) -> tuple[SoftmaxRegression, Chosen | None]:
    """Return the model, and how its C was chosen if it was."""
    with ExitStack() as stack:
        X: Features = own.features
        if options.dask is not None:
            dataset, train, _ = loaded[0]
            X = stack.enter_context(cluster.parts_on(options.dask, dataset, train, options.timeout))
        scale = _scale(options, share.dataset)
        if options.sweep is None:
            return _at_one_strength(options, X, own, scale, live=live), None
        assert share.fold is not None
        found = chosen(
            options.sweep,
            X,
            own,
            share.fold,
            standardize=scale,
            penalty=options.penalty,
            tol=options.tol,
            timeout=options.timeout,
            wanted=live,
        )
        return found.model, found


def _at_one_strength(
    options: Options, X: Features, own: Samples, scale: bool | float, *, live: bool
) -> SoftmaxRegression:
    (l1_ratio,), group = options.penalty.ratios, options.penalty.group
    model = SoftmaxRegression(
        options.C or 1.0, l1_ratio=l1_ratio, group=group, standardize=scale, tol=options.tol
    )
    line = live_line(options.tol, penalised=bool(np.isfinite(model.C)), wanted=live)
    with about(own.source), line as progress:
        return model.fit(
            X,
            own.target,
            progress=progress,
            checkpoint=options.checkpoint,
            timeout=options.timeout,
        )


def _in_need_of_folds(options: Options) -> list[str]:
    return [
        name
        for name, given in (
            ("--label-errors", options.label_errors),
            ("--calibrate", options.calibrate is not None),
        )
        if given
    ]


def _held_out(
    options: Options, model: SoftmaxRegression, sweep: Chosen | None, train: Samples
) -> tuple[folds.HeldOut | None, bool]:
    """Return what folds say, if somebody needs it, and whether there was an interruption.

    Then no folds are fitted, and those that are being fitted are given up, not the model.
    """
    if model.fit_report_.stopped == "interrupted":
        return None, True
    if not _in_need_of_folds(options):
        return None, False
    try:
        search = None if sweep is None else sweep.search
        return folds.held_out(model, search, train, options.folds), False
    except KeyboardInterrupt:
        return None, True


def _at_hand(samples: Samples, options: Options, ranks_in_all: int) -> Samples:
    """Return samples with their features where they are read in each pass.

    The first of several processes had its own in a temporary file until the others had theirs;
    out of memory, as theirs are, they are read in two thirds of the time.
    """
    if options.device is None:
        if ranks_in_all == 1:
            return samples
        return replace(samples, features=samples.features.as_handed_over())
    device = ranks.own_device(options.device)
    try:
        there = placed(samples.features, device, streamed=options.stream)
        return replace(samples, features=there)
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


def _places(options: Options, ranks: int, streamed_to: str | None) -> Iterator[str]:
    """Yield where the rows were, if elsewhere than here."""
    if ranks > 1:
        yield f"  fitted by {ranks} processes, each on a part of the samples"
    if streamed_to is not None:
        yield f"  features stay on the host, streamed to {streamed_to} in blocks"
    if options.dask is not None:
        yield f"  passes made by the workers of a Dask cluster: {options.dask}"


def _lines(model: SoftmaxRegression, sweep: Chosen | None) -> Iterator[str]:
    if sweep is not None:
        yield from sweep.lines()
    if model.standardize == 255:
        yield "  pixels are penalised on one scale, 0 to 1 (--standardize: each on its own)"
    elif "texts" in model.reading_ and not model.standardize:
        yield "  features are penalised as they are (--standardize: each on its own scale)"
    yield from outputs.fit_lines(model.fit_report_)
    yield from penalties.lines(model)


def _tell_how_to_go_on(options: Options) -> None:
    if options.checkpoint is not None:
        tell_user(f"the same command goes on from {options.checkpoint}")
    else:
        tell_user("a fit with --checkpoint FILE can be gone on with")
