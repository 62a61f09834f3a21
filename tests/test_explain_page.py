"""The page of ``bridle explain`` in Chromium: every control, by keys and by mouse; every width."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from browsing import HOSTILE, chromium, drag, live, settle, visiting, write_pages

pytest.importorskip("jinja2", reason="the extra `report` is not installed")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("digits", "table")
STATIONS = ("scores", "likelihood", "loss", "gradient", "classifier", "race", "surprise",
            "calibration")  # fmt: skip
CONTROLS = "[role=slider], button, input, select, summary"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_pages(tmp_path_factory.mktemp("pages"))


# --- by keyboard alone ----------------------------------------------------------------------------

FOCUSED = """() => {
  const element = document.activeElement;
  if (!element || element === document.body) return null;
  globalThis.tabbed ??= new Set();
  const isNew = !tabbed.has(element);
  tabbed.add(element);
  const kind = element.localName === "input" ? element.type : element.localName;
  const section = element.closest("section")?.id;
  return { isNew, kind: element.getAttribute("role") ?? kind, section };
}"""
UNREACHED = f"""() => [...document.querySelectorAll("{CONTROLS}")]
  .filter((element) => !tabbed.has(element))
  .map((element) => `${{element.closest("section")?.id}}: ${{element.outerHTML.slice(0, 120)}}`)"""
ENDS = """() => {
  const { value, min, max } = document.activeElement;
  const told = (name) => document.activeElement.getAttribute(`aria-value${name}`);
  const isHandle = value === undefined;
  return (isHandle ? ["now", "min", "max"].map(told) : [value, min, max]).map(Number);
}"""
MOVES = (
    "ArrowUp",
    "ArrowRight",
    "Shift+ArrowRight",
    "ArrowDown",
    "ArrowLeft",
    "PageUp",
    "PageDown",
)
# A select's list of choices is the browser's own; arrows choose without opening it.
KEYS = {
    "number": ("ArrowUp", "ArrowDown", "Control+a", "Backspace", "0", ".", "2"),
    "select": ("ArrowDown", "ArrowUp"),
    "button": ("Enter", "Space"),
    "summary": ("Enter",),
    "application": ("ArrowUp", "Space", "ArrowLeft", "Space", "Backspace", "ArrowDown"),
    "img": ("ArrowUp", "ArrowLeft", "Shift+ArrowRight", "ArrowDown", "PageDown", "PageUp"),
    "a": (),
}


def focused(page: Page) -> dict[str, Any] | None:
    found: dict[str, Any] | None = page.evaluate(FOCUSED)
    return found


def use(page: Page, kind: str) -> None:
    """Press on the focused element what it answers to."""
    if kind in ("slider", "range"):
        use_slider(page)
    elif kind == "radio":
        use_radios(page)
    else:
        for key in KEYS[kind]:
            page.keyboard.press(key)


def use_slider(page: Page) -> None:
    """Move a handle or a slider: it goes both ways, and to both of its ends."""
    for key in MOVES:
        page.keyboard.press(key)
    page.keyboard.press("Home")
    value, low, high = page.evaluate(ENDS)
    assert value == low
    page.keyboard.press("ArrowRight")
    assert page.evaluate(ENDS)[0] > low
    page.keyboard.press("End")
    value, low, high = page.evaluate(ENDS)
    assert value == high
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(ENDS)[0] < high


def use_radios(page: Page) -> None:
    """Choose one after another, back to the first: to Tab, they are one."""
    while True:
        page.keyboard.press("ArrowRight")
        found = focused(page)
        assert found is not None
        if not found["isNew"]:
            return


@pytest.mark.parametrize("name", NAMES)
def test_every_control_is_used_by_keyboard_alone(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    sections = set()
    with visiting(browser, pages[name]) as visit:
        page = visit.page
        page.keyboard.press("Tab")
        while (found := focused(page)) is not None and found["isNew"]:
            sections.add(found["section"])
            use(page, found["kind"])
            page.keyboard.press("Tab")
        settle(page)
        assert page.evaluate(UNREACHED) == []
        assert sections >= set(STATIONS)
        assert visit.problems == []


# --- by mouse -------------------------------------------------------------------------------------


def number_of(page: Page, selector: str) -> float:
    told = page.locator(selector).first.get_attribute("aria-valuenow")
    assert told is not None
    return float(told)


def test_bars_and_curves_are_dragged(browser: Browser, pages: dict[str, Path]) -> None:
    with visiting(browser, pages["digits"]) as visit:
        page = visit.page
        before = live(page, "scores", "probability")
        score = number_of(page, "#scores .handle")
        drag(page.locator("#scores .handle").first, 0, -40)
        assert number_of(page, "#scores .handle") > score + 1
        assert live(page, "scores", "probability") != before
        drag(page.locator("#loss .handle").first, 200, 0)
        assert number_of(page, "#loss .handle") > 0.3
        drag(page.locator("#calibration .handle").first, 40, 0)
        assert number_of(page, "#calibration .handle") > 0.5
        weight = live(page, "likelihood", "weight")
        drag(page.locator("#likelihood .draggable").first, 50, 0)
        assert live(page, "likelihood", "weight") != weight
        assert visit.problems == []


def test_a_digit_is_painted(browser: Browser, pages: dict[str, Path]) -> None:
    with visiting(browser, pages["digits"]) as visit:
        page = visit.page
        page.locator("#classifier button", has_text="Show the optimum").click()
        page.locator("#classifier button", has_text="Clear").click()
        empty = page.locator("#classifier .answers").inner_text()
        drag(page.locator("#classifier .pad"), 10, 90)
        assert page.locator("#classifier .answers").inner_text() != empty
        assert visit.problems == []


def test_a_point_of_the_plane_is_dragged(browser: Browser, pages: dict[str, Path]) -> None:
    with visiting(browser, pages["table"]) as visit:
        point = visit.page.locator("#classifier .plane .point").last
        before = point.get_attribute("aria-label")
        drag(point, 30, 30)
        assert point.get_attribute("aria-label") != before
        assert visit.problems == []


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_clicked(browser: Browser, pages: dict[str, Path], name: str) -> None:
    with visiting(browser, pages[name]) as visit:
        page = visit.page
        for summary in page.locator("summary").all():
            summary.click()
        for control in page.locator("button, .choices label, input[type=range]").all():
            control.click()
        settle(page)
        assert visit.problems == []


# --- how it looks ---------------------------------------------------------------------------------

GEOMETRY = (Path(__file__).parent / "browsing.js").read_text(encoding="utf-8")
OPEN_ALL = "() => document.querySelectorAll('details').forEach((each) => (each.open = true))"
CHECKS = {
    "wide": "document.documentElement.scrollWidth > innerWidth ? ['page: ' + innerWidth] : []",
    "small texts": "geometry.smallTexts(10.5)",
    "overlaps": "geometry.overlaps(2)",
    "small controls": "geometry.smallControls(24)",
}
Looks = dict[str, list[str]]


@pytest.fixture(
    scope="module",
    params=[(name, width, dark) for name in NAMES for width in (360, 1280) for dark in (0, 1)],
    ids=lambda given: "-".join([given[0], str(given[1]), ("light", "dark")[given[2]]]),
)
def looks(request: pytest.FixtureRequest, browser: Browser, pages: dict[str, Path]) -> Looks:
    """Return, by check, what is wrong in a page, as "station: what"."""
    name, width, dark = request.param
    found: dict[str, list[str]] = {check: [] for check in CHECKS}
    with visiting(browser, pages[name], width=width, dark=bool(dark)) as visit:
        page = visit.page
        page.evaluate(GEOMETRY)
        page.evaluate(OPEN_ALL)
        for key in ("as it opens", "Home", "End"):
            page.evaluate("(key) => geometry.moveAll(key)", key)
            settle(page)
            for check, script in CHECKS.items():
                found[check] += [f"{each} ({key})" for each in page.evaluate(f"() => {script}")]
        found["wide"] += visit.problems
    return found


def test_nothing_is_too_wide_and_no_text_too_small(looks: Looks) -> None:
    assert looks["wide"] == []
    assert looks["small texts"] == []


@pytest.mark.parametrize("station", STATIONS)
@pytest.mark.parametrize("check", ["overlaps", "small controls"])
def test_texts_stand_apart_and_controls_are_large(looks: Looks, check: str, station: str) -> None:
    assert [each for each in looks[check] if each.startswith(station)] == []


LOOKS = """() => [document.body.outerHTML,
  ...[...document.querySelectorAll("canvas")].map((canvas) => canvas.toDataURL())].join("\\n")"""


@pytest.mark.parametrize("name", NAMES)
def test_nothing_moves_by_itself(browser: Browser, pages: dict[str, Path], name: str) -> None:
    with visiting(browser, pages[name], still=True) as visit:
        page = visit.page
        if name == "table":  # the plane's classifier is drawn once, when it has learnt
            page.get_by_text("Objective of these").wait_for()
        before = page.evaluate(LOOKS)
        page.wait_for_timeout(1000)
        assert page.evaluate(LOOKS) == before
        assert page.evaluate("() => document.getAnimations().length") == 0
        assert visit.problems == []


# --- addresses and labels -------------------------------------------------------------------------

TOP = "(name) => document.getElementById(name).getBoundingClientRect().top"
# The page scrolls smoothly: until it has stood still for some frames.
AT_REST = """() => new Promise((done) => {
  let [before, still] = [scrollY, 0];
  const look = () => {
    still = scrollY === before ? still + 1 : 0;
    before = scrollY;
    still < 20 ? requestAnimationFrame(look) : done();
  };
  look();
})"""


@pytest.mark.parametrize("still", [False, True], ids=["smooth", "still"])
@pytest.mark.parametrize("name", ["gradient", "race"])
def test_the_address_of_a_station(
    browser: Browser, pages: dict[str, Path], name: str, still: bool
) -> None:
    with visiting(browser, pages["digits"], anchor=f"#{name}", still=still) as visit:
        visit.page.evaluate(AT_REST)
        assert abs(visit.page.evaluate(TOP, name)) < 20


def test_the_stations_are_linked_to(browser: Browser, pages: dict[str, Path]) -> None:
    with visiting(browser, pages["digits"]) as visit:
        page = visit.page
        for name in STATIONS[1:-1]:
            page.locator(f"nav a[href='#{name}']").focus()
            page.evaluate(AT_REST)
            page.keyboard.press("Enter")
            page.evaluate(AT_REST)
            assert abs(page.evaluate(TOP, name)) < 20
            assert page.url.endswith(f"#{name}")


def test_a_label_that_is_markup_is_text(browser: Browser, pages: dict[str, Path]) -> None:
    with visiting(browser, pages["table"]) as visit:
        page = visit.page
        shown = page.get_by_text(HOSTILE)
        assert shown.count() > 3
        assert page.locator("main script").count() == 0
        assert page.locator("#classifier button", has_text=HOSTILE).first.is_visible()
        assert visit.problems == []
