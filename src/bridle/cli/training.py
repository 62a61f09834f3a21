"""``bridle train``: data in; a network, its figures and a report out."""

from __future__ import annotations

from collections.abc import Iterator

from bridle import interruption
from bridle.cli import outputs, report_page, reporting
from bridle.cli.network_training import Units, classifier, live_epochs, trained, units_of
from bridle.cli.options.config import save_options
from bridle.cli.options.network import NetworkOptions
from bridle.cli.options.output import Folder, Page, Printing
from bridle.cli.reporting import Fitted
from bridle.cli.sampling import Source, samples_of
from bridle.estimators import NetworkClassifier


def train(
    source: Source,
    options: NetworkOptions,
    standardize: bool | None,
    folder: Folder,
    report: Page,
    printing: Printing,
) -> None:
    """Load, split, train, judge, print and write."""
    untrained = classifier(options)
    reporting.check_folder(folder)
    report_page.check(report, sources=source.files, folder=folder.path)
    dataset = source.load(keep_texts=report.path is not None)
    interruption.raise_again()
    samples, judged = samples_of(source, dataset, keep_texts=report.path is not None)
    save_options()
    units = units_of(samples.features, dataset, standardize)
    untrained.set_params(standardize=units.standardize)
    with live_epochs("training", wanted=printing.for_people) as watch:
        model = trained(untrained, samples, judged, watch, wanted=printing.for_people)
    reporting.remember_data(model, dataset)
    figures = {
        # The shift and the scale of each column are for the model's own file.
        "model": {**model.get_params(), "standardize": units.description},
        "fit": {"features": units.description, "history": model.history_},
    }
    fitted = Fitted(model, dataset, samples, judged, source.test, figures, _lines(model, units))
    reporting.report(fitted, folder, printing, report)


def _lines(model: NetworkClassifier, units: Units) -> Iterator[str]:
    yield units.line
    yield outputs.training_line(model)
