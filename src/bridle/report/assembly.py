"""The page as one file: its words, its style, its figures and its data."""

from __future__ import annotations

from importlib import resources
from typing import Any

from bridle import checks, strict_json
from bridle.report import curves, figures
from bridle.report.sources import with_fewer_sources, without_sources

_LARGEST = 298_000  # bytes: samples that would make the page larger are shown by their names


def check_installed() -> Any:
    """Return Jinja2, or say how to install it.

    Raises
    ------
    MissingExtraError
        With the command that installs it.
    """
    return checks.require("jinja2", extra="report", purpose="a report")


def assembled(found: dict[str, Any]) -> str:
    """Return the page about what `bridle.report.contents` found, as HTML.

    Raises
    ------
    MissingExtraError
        Without Jinja2, with the command that installs it.
    """
    page = _rendered(found)
    excess = len(page.encode(errors="backslashreplace")) - _LARGEST
    return page if excess <= 0 else _rendered(with_fewer_sources(found, excess))


def _rendered(found: dict[str, Any]) -> str:
    jinja2 = check_installed()
    folder = resources.files(__package__) / "page"

    def text(name: str) -> str:
        return folder.joinpath(name).read_text(encoding="utf-8")

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    markup = jinja2.utils.markupsafe.Markup
    shared = resources.files("bridle").joinpath("pages.css").read_text(encoding="utf-8")

    def shown(path: str, kind: str) -> Any:
        return markup(figures.figure(found, path, kind))

    return str(
        environment.get_template("page.html.j2").render(
            found=found,
            shown=shown,
            pairs=_pairs(found["comparison"]),
            losses=markup(figures.losses(found)),
            composition=lambda: markup(figures.composition(found)),
            gaps=lambda history: markup(curves.gaps(history)),
            costs=lambda history: markup(curves.costs(history)),
            reliability=lambda *given: markup(figures.reliability(*given)),
            histogram=lambda *given: markup(figures.histogram(*given)),
            differences=lambda *given: markup(figures.differences(*given)),
            style=markup(shared + text("style.css")),
            data=markup(strict_json.within_script(without_sources(found))),
        )
    )


def _pairs(comparison: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return the differences that belong together: of two models, on the same samples."""
    pairs: list[dict[str, Any]] = []
    for place, row in enumerate(comparison["differences"] if comparison else []):
        title = (row["first"], row["second"], row["slice"])
        same_metric = pairs and row["metric"] in {each["metric"] for each in pairs[-1]["rows"]}
        if not pairs or pairs[-1]["title"] != title or same_metric:
            pairs.append({"title": title, "place": place, "rows": []})
        pairs[-1]["rows"].append(row)
    return pairs
