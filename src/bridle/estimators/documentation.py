"""Where the diagram of an estimator, which a notebook shows, leads to: the reference."""

from __future__ import annotations

from functools import cache
from importlib import metadata
from pathlib import Path
from typing import ClassVar

from bridle.files import is_file


@cache
def site() -> str:
    """Return the address of the documentation: that of the package's metadata, if it tells one.

    In a checkout, else, the site that ``make docs`` has built; nothing where there is none.
    """
    try:
        urls = metadata.metadata("bridle").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:  # it was not installed
        urls = []
    told = {label.strip(): url.strip() for label, _, url in (each.partition(",") for each in urls)}
    return str(told.get("Documentation", "")).rstrip("/") or built(Path(__file__).parents[3])


def built(checkout: Path) -> str:
    """Return the address of the site that was built in a checkout, or nothing."""
    pages = checkout / "docs" / "_build" / "html"
    return pages.as_uri() if is_file(pages / "index.html") else ""


class Documented:
    """An estimator that has its place in the reference; see scikit-learn's ``_get_doc_link``."""

    _doc_link_module = "bridle"
    _reference: ClassVar[tuple[str, str]] = ("estimators", "bridle")  # page, and where the name is

    @property
    def _doc_link_template(self) -> str:
        page, module = self._reference
        return f"{site()}/api/{page}.html#{module}.{{estimator_name}}" if site() else ""
