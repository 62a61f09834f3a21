"""The site: it builds without a warning, its links lead somewhere, it tells every public name."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest

from browsing import chromium, opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Rooms whose `__all__` is for those who use them; bridle.ranks has none.
ROOMS = (
    "bridle",
    "bridle.calibrate",
    "bridle.dask",
    "bridle.data",
    "bridle.estimators",
    "bridle.fit",
    "bridle.judge",
    "bridle.losses",
    "bridle.networks",
    "bridle.report",
    "bridle.torch",
)
PAGES = sorted(
    path.relative_to(DOCS).with_suffix("").as_posix()
    for path in DOCS.rglob("*.md")
    if "_build" not in path.parts
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as `make docs` does, elsewhere; every warning is a failure."""
    for module in ("sphinx", "myst_parser", "numpydoc", "furo"):
        pytest.importorskip(module, reason="the group `docs` is not installed")
    for module in ("typer", "torch", "dask", "distributed", "matplotlib"):
        pytest.importorskip(
            module, reason="the site tells of every extra, and one is not installed"
        )
    locks = pytest.importorskip("filelock", reason="the group `dev` is not installed")
    out = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # one site for all workers
        out = out.parent
    with locks.FileLock(out / "site.lock"):
        if not (out / "site").exists():
            build(out / "site being built")
            (out / "site being built").rename(out / "site")
    return out / "site"


def build(out: Path) -> None:
    """Build the site into a folder; what Sphinx remembers of it lies beside."""
    words = ["--fail-on-warning", "--keep-going", "--quiet", "--doctree-dir", f"{out}, its trees"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *words, str(DOCS), str(out)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


class Page(HTMLParser):
    """What a page loads, where it leads to, and what in it can be led to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self.anchors |= {told[name] for name in ("id", "name") if name in told}
        if tag == "a" and "href" in told:
            self.links.append(told["href"])
        elif "href" in told:
            self.loads.append(told["href"])
        if "src" in told:
            self.loads.append(told["src"])
        self.loads += re.findall(r"url\(([^)]*)\)", told.get("style", ""))


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def test_no_page_loads_anything_from_outside(site: Path, pages: dict[Path, Page]) -> None:
    loaded = {(path.name, each) for path, page in pages.items() for each in page.loads}
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        found = re.findall(r"url\(\s*['\"]?([^)'\"]*)|@import\s+['\"]([^'\"]*)", text)
        loaded |= {(path.name, one or other) for one, other in found}
    assert loaded
    outside = re.compile(r"(?!data:)([a-z]+:)?//|[a-z]+:(?<!data:)", re.IGNORECASE)
    assert [pair for pair in sorted(loaded) if outside.match(pair[1])] == []


def test_every_link_leads_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    nowhere = []
    for path, page in pages.items():
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            known = pages[target].anchors if target in pages else {anchor}
            if not target.exists() or (anchor and anchor not in known):
                nowhere.append((path.relative_to(site).as_posix(), link))
    assert nowhere == []


def test_links_lead_somewhere_on_a_code_host_too() -> None:
    nowhere = []
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(DOCS / f"{p}.md" for p in PAGES)]:
        for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
            parts = urlsplit(link)
            if not parts.scheme and parts.path and not (path.parent / parts.path).exists():
                nowhere.append((path.name, link))
    assert nowhere == []


def test_every_page_is_reached_from_the_first(site: Path, pages: dict[Path, Page]) -> None:
    first = site / "index.html"
    reached, waiting = {first}, [first]
    while waiting:
        path = waiting.pop()
        for link in pages[path].links:
            target = (path.parent / unquote(urlsplit(link).path)).resolve()
            if target in pages and target not in reached:
                reached.add(target)
                waiting.append(target)
    assert {site / f"{page}.html" for page in PAGES} <= reached


def listed() -> Iterator[str]:
    """Yield every name of the reference, as the pages list it."""
    for page in sorted((DOCS / "api").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        found = re.findall(r"^```\{reference\} ([\w.]+)\n(.*?)^```$", text, re.M | re.S)
        for module, names in found:
            yield from (f"{module}.{name}" for name in re.findall(r"^\w+", names, re.M))


def object_of(name: str) -> object:
    module, _, last = name.rpartition(".")
    return inspect.unwrap(getattr(importlib.import_module(module), last))


@pytest.mark.parametrize("room", ROOMS)
def test_the_reference_forgets_no_public_name(room: str) -> None:
    for module in ("torch", "dask"):
        pytest.importorskip(module, reason="the extra that a name is of is not installed")
    told = {id(object_of(name)) for name in listed()}
    names = [f"{room}.{name}" for name in importlib.import_module(room).__all__]
    assert [name for name in names if id(object_of(name)) not in told] == []


def test_the_pictures_are_those_that_are_drawn(tmp_path: Path) -> None:
    """Not number by number: a fit may take another pass on another machine."""
    pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
    draw = runpy.run_path(str(DOCS / "pictures.py"))["draw"]
    draw(tmp_path)
    drawn = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert set(drawn) == {path.name for path in (DOCS / "pictures").iterdir()}
    for name, text in drawn.items():
        kept = (DOCS / "pictures" / name).read_text(encoding="utf-8")
        assert words(kept) == words(text), f"{name} is old: python docs/pictures.py"
        assert len(kept) < 60_000
        assert f"pictures/{name.rpartition('-')[0]}-light.svg" in all_pages()


def words(picture: str) -> set[str]:
    """Return the words of a picture: names of its axes and its lines."""
    return set(re.findall(r">([A-Za-z][^<]*)</text>", picture))


def all_pages() -> str:
    return "".join((DOCS / f"{page}.md").read_text(encoding="utf-8") for page in PAGES)


def test_the_reference_tells_a_name_once_and_where_it_is_asked_for(site: Path) -> None:
    names = list(listed())
    assert len(names) == len(set(names))
    inventory = Page(site / "genindex.html").links
    for name in names:
        assert any(link.endswith(f"#{name}") for link in inventory), name


def test_the_page_of_the_command_tells_every_option(site: Path) -> None:
    typer_main = pytest.importorskip("typer.main", reason="the extra `cli` is not installed")
    from bridle.cli.app import app

    text = re.sub(r"<[^>]*>", "", (site / "options.html").read_text(encoding="utf-8"))
    for name, command in typer_main.get_command(app).commands.items():
        assert f"bridle {name} [OPTIONS]" in text
        for parameter in command.params:
            for option in parameter.opts:
                assert option in text, (name, option)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


FITS = "document.documentElement.scrollWidth <= window.innerWidth"


@pytest.mark.parametrize(("width", "dark"), [(360, False), (1280, True)])
def test_no_page_is_wider_than_the_window(
    browser: Browser, site: Path, width: int, dark: bool
) -> None:
    with opened(browser, site / "index.html", width=width, dark=dark) as visit:
        wider = []
        for page in PAGES:
            visit.page.goto((site / f"{page}.html").as_uri())
            assert visit.page.locator("h1").first.is_visible(), page
            if not visit.page.evaluate(FITS):
                wider.append(page)
        assert wider == []
        assert visit.problems == []


def test_a_picture_is_that_of_the_screen(browser: Browser, site: Path) -> None:
    for dark in (False, True):
        with opened(browser, site / "walk.html", dark=dark) as visit:
            shown = visit.page.locator("article img:visible")
            names = shown.evaluate_all("all => all.map(each => each.getAttribute('src'))")
            assert len(names) == 5
            screen = "dark" if dark else "light"
            assert all(name.endswith(f"-{screen}.svg") for name in names)


@pytest.mark.parametrize("width", [360, 1280])
def test_the_search_finds_from_a_file(browser: Browser, site: Path, width: int) -> None:
    with opened(browser, site / "search.html", anchor="?q=temperature", width=width) as visit:
        found = visit.page.locator("#search-results li a")
        found.first.wait_for()
        visit.page.wait_for_function(
            "() => /[1-9]/.test(document.querySelector('.search-summary').innerText)"
        )
        assert found.count() >= 3
        assert visit.page.evaluate(FITS)
        assert visit.problems == []
