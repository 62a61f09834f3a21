"""``bridle explain``: data in; a page that answers "why cross-entropy?" with them out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bridle import checks, explain, interruption
from bridle.cli import outputs
from bridle.cli.messages import about, one_line
from bridle.cli.options.config import save_options
from bridle.cli.sampling import Samples, Source, samples_of
from bridle.data import Dataset
from bridle.explain import Labelled, Material


@dataclass(frozen=True)
class Options:
    """Where the page goes, and whose answers it shows."""

    out: Path
    model: Path | None
    quiet: bool


def write_page(source: Source, options: Options) -> None:
    """Load, split, compute, and write the page."""
    outputs.check_file(options.out)
    checks.require("jinja2", extra="report", purpose="a page")
    model = None if options.model is None else outputs.load_model(options.model)
    known = {} if model is None else outputs.features_of(model)
    dataset = source.load(**known)
    interruption.raise_again()
    train, held = samples_of(source, dataset)
    save_options()
    for samples in (train, held):
        _check_one_label(samples)
    with about(dataset.source):
        content = explain.contents(_material(dataset, train, held), model)
    page = explain.assembled(content["title"], content)
    outputs.write_text(options.out, page)
    if not options.quiet:
        print(f"{options.out}: {len(page.encode()) / 1000:.0f} kB; open it in a browser")
        for note in (*dataset.notes, *content["notes"]):
            print(f"  {one_line(note)}")


def _check_one_label(samples: Samples) -> None:
    if samples.target.ndim != 1:
        raise checks.InputError(
            f"{samples.source}: target: expected one label a sample, found distributions"
        )


def _material(dataset: Dataset, train: Samples, held: Samples) -> Material:
    return Material(
        one_line(Path(dataset.source).name or dataset.source),
        Labelled(train.features, train.target),
        Labelled(held.features, held.target),
        dataset.feature_names,
        dataset.pixels,
    )
