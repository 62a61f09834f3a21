"""The page as one file: its words, its style, its modules and its data, and nothing from outside.

Modules stay modules: an import map gives each the name it is imported by, with its text in a
``data:`` address, so that the page works from a folder without a server.
"""

from __future__ import annotations

import base64
import posixpath
import re
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, NamedTuple

from bridle import checks, strict_json

_IMPORT = re.compile(r'(from ")(\.{1,2}/[^"]+)(")')


class Station(NamedTuple):
    """A part of the page: ``stations/<name>.js`` and ``stations/<name>.html.j2``."""

    name: str
    title: str


STATIONS = (
    Station("scores", "Scores become probabilities"),
    Station("likelihood", "Likelihood, log, minus sign"),
    Station("loss", "The loss"),
    Station("gradient", "The gradient"),
    Station("classifier", "A linear classifier"),
    Station("race", "The race"),
    Station("surprise", "Surprise"),
    Station("calibration", "Is it calibrated?"),
)


def assembled(title: str, data: dict[str, Any]) -> str:
    """Return the page about some data, as HTML.

    Raises
    ------
    MissingExtraError
        Without Jinja2, with the command that installs it.
    """
    jinja2 = checks.require("jinja2", extra="report", purpose="a page")
    folder = resources.files(__package__) / "page"
    loader = jinja2.FunctionLoader(lambda name: _text(folder, name))
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    stations = [
        {
            "name": station.name,
            "title": station.title,
            "html": environment.get_template(f"stations/{station.name}.html.j2").render(
                name=station.name, title=station.title, place=place, data=data
            ),
        }
        for place, station in enumerate(STATIONS, 1)
    ]
    return str(
        environment.get_template("page.html.j2").render(
            title=title,
            stations=stations,
            style=_text(resources.files("bridle"), "pages.css") + _text(folder, "style.css"),
            data=strict_json.within_script(data),
            import_map=strict_json.within_script({"imports": _modules(folder)}),
        )
    )


def _text(folder: Traversable, name: str) -> str:
    return folder.joinpath(*name.split("/")).read_text(encoding="utf-8")


def _modules(folder: Traversable) -> dict[str, str]:
    """Return each module's name and its text as an address."""
    return {
        f"bridle/{name}": _address(_with_names(_text(folder, name), name))
        for name in sorted(_scripts(folder))
    }


def _scripts(folder: Traversable, place: str = "") -> Iterator[str]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _scripts(entry, f"{place}{entry.name}/")
        elif entry.name.endswith(".js"):
            yield f"{place}{entry.name}"


def _with_names(text: str, name: str) -> str:
    """Return a module that imports others by their names, as it has no address to start from."""

    def named(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(name), found[2]))
        return f"{found[1]}bridle/{path}{found[3]}"

    return _IMPORT.sub(named, text)


def _address(text: str) -> str:
    return f"data:text/javascript;base64,{base64.b64encode(text.encode()).decode()}"
