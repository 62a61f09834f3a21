"""Open pages in Chromium and read what they show: for the tests that do."""

from __future__ import annotations

import functools
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from bridle.explain import Labelled, Material, assembled, contents
from bridle.rows import Rows

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

HOSTILE = "<script>alert(1)</script>"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Only a guard against waiting for ever: what is waited for depends on no speed.
GUARD = 600_000  # milliseconds
MINUS = "\N{MINUS SIGN}"
TWO_FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield the system's Chromium; skip the tests where it or Playwright is absent."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(names)} is on the path")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@functools.cache
def digits() -> dict[str, Any]:
    """Return what the page about the digits holds: images of ten classes."""
    found = load_digits()
    names = [str(name) for name in found.feature_names]
    return contents(_material("digits", found.data, found.target, names))


@functools.cache
def table() -> dict[str, Any]:
    """Return what the page about a table holds: eight features, a label that is markup."""
    random = np.random.default_rng(0)
    y = np.arange(300) % 3
    X = random.normal(size=(300, 8)) + 1.2 * random.normal(size=(3, 8))[y]
    labels = np.array([HOSTILE, "plain", "a label of several words"])[y]
    names = ["width", "a name of very many letters", *(f"feature {k}" for k in range(6))]
    return contents(_material("table", X, labels, names))


def _material(title: str, X: Any, y: Any, names: list[str]) -> Material:
    held = np.arange(len(y)) % 5 == 4
    train, rest = (Labelled(Rows([X[rows]]), y[rows]) for rows in (~held, held))
    return Material(title, train, rest, names)


def write_pages(folder: Path) -> dict[str, Path]:
    """Write the page of the digits and that of the table; return their paths by name."""
    paths = {}
    for data in (digits(), table()):
        paths[data["title"]] = folder / f"{data['title']}.html"
        paths[data["title"]].write_text(assembled(data["title"], data), encoding="utf-8")
    return paths


@dataclass
class Visit:
    """A page that is open, and what went wrong in it so far."""

    page: Page
    problems: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Note errors, dialogs and what would be loaded from elsewhere."""

        def on_console(message: Any) -> None:
            if message.type in ("error", "warning"):
                self.problems.append(f"console: {message.text}")

        def on_request(request: Any) -> None:
            if not request.url.startswith(("file:", "data:")):
                self.problems.append(f"request: {request.url}")

        def on_dialog(dialog: Any) -> None:
            self.problems.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        self.page.on("console", on_console)
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("request", on_request)
        self.page.on("dialog", on_dialog)


@contextmanager
def opened(
    browser: Browser,
    path: Path,
    *,
    anchor: str = "",
    width: int = 1280,
    dark: bool = False,
    still: bool = False,
) -> Iterator[Visit]:
    """Yield a page as soon as it is loaded."""
    context = browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce" if still else "no-preference",
    )
    context.set_default_timeout(GUARD)
    visit = Visit(context.new_page())
    visit.watch()
    visit.page.goto(path.as_uri() + anchor)
    yield visit
    context.close()


@contextmanager
def visiting(browser: Browser, path: Path, **told: Any) -> Iterator[Visit]:
    """Yield a page of explanations whose stations have all started."""
    with opened(browser, path, **told) as visit:
        visit.page.wait_for_selector("html[data-ready]", state="attached")
        visit.page.wait_for_selector("#classifier[data-ready]", state="attached")
        settle(visit.page)
        yield visit


def settle(page: Page) -> None:
    """Wait until what was asked for is drawn: figures are drawn in the next frame."""
    page.evaluate(TWO_FRAMES)


def press(target: Locator, *keys: str) -> None:
    """Press keys on an element, and wait for what they do."""
    target.focus()
    for key in keys:
        target.page.keyboard.press(key)
    settle(target.page)


def drag(target: Locator, right: float, down: float) -> None:
    """Drag an element by its middle, in pixels."""
    target.scroll_into_view_if_needed()
    box = target.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    mouse = target.page.mouse
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + right, y + down, steps=5)
    mouse.up()
    settle(target.page)


def live(page: Page, station: str, name: str) -> str:
    """Return the text of a station's live number."""
    text: str = page.locator(f"#{station} [data-live='{name}']").first.inner_text()
    return text


def assert_says(text: str, value: float, digits: int | None = None) -> None:
    """Assert that the first number of a text is the value, rounded to the text's decimals.

    After "<" it is above the value. Where trailing zeros are left out of the text, it
    is told of how many digits it is.
    """
    found = re.search(r"(< )?(-?[\d,]+(?:\.\d+)?(?:e-?\d+)?)", text.replace(MINUS, "-"))
    assert found is not None, text
    shown = found[2].replace(",", "")
    if found[1]:
        assert value < float(shown), f"{text} should be {value}"
        return
    mantissa, _, power = shown.partition("e")
    unit = 10.0 ** (int(power or 0) - len(mantissa.partition(".")[2]))
    if digits is not None and value != 0:
        unit = 10.0 ** (np.floor(np.log10(abs(value))) + 1 - digits)
    assert abs(float(shown) - value) <= 0.501 * unit, f"{text} should be {value}"
