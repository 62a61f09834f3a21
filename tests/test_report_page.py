"""The page of an evaluation in Chromium: at every width, in both schemes, by keyboard, on paper."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

import bridle
from bridle.judge import decision_figures, slice_figures
from browsing import HOSTILE, chromium, opened, settle

pytest.importorskip("jinja2", reason="the extra `report` is not installed")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("digits", "names", "many")
LARGEST = 300_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def digits() -> str:
    """Return a page with all its parts: of images, a fit, its epochs, two models."""
    X, y = load_digits(return_X_y=True)
    model = bridle.SoftmaxRegression().fit(X[::2], y[::2])
    network = bridle.NetworkClassifier((10,), max_epochs=3, random_state=0)
    network.fit(X[::2], y[::2], validation=(X[1::2], y[1::2]))
    answers, others = (each.predict_log_proba(X[1::2]) for each in (model, network))
    target = y[1::2]
    evaluation = bridle.evaluate(answers, target)
    return evaluation.to_html(
        answers=answers,
        pictures=X[1::2].reshape(-1, 8, 8),
        judged_on="held-out",
        fit=model.fit_report_,
        training=network.history_,
        label_errors=bridle.label_errors(answers, target),
        comparison=bridle.compare_models({"ours": answers, "theirs": others}, target),
        slices=slice_figures(evaluation, {"half": np.arange(len(target)) % 2}),
        decisions=decision_figures(answers, target, 1 - np.eye(10)),
        title="digits",
        command="bridle fit digits --report report.html",
    )


def names() -> str:
    """Return a page of two classes whose names, texts and parts are markup, and long."""
    random = np.random.default_rng(0)
    labels = [HOSTILE, "W" * 300]
    target = [labels[row % 2] for row in range(200)]
    answers = random.dirichlet(np.ones(2), 200)
    answers[np.arange(200), np.arange(200) % 2] += 0.5
    answers /= answers.sum(axis=1, keepdims=True)
    told: dict[str, Any] = {"classes": labels}
    evaluation = bridle.evaluate(answers, target, **told)
    models = {HOSTILE: answers, "M" * 300: answers[:, ::-1]}
    return evaluation.to_html(
        answers=answers,
        ids=[f"{HOSTILE}{row}" for row in range(200)],
        texts=[f"{HOSTILE} {'m' * 200} {row}" for row in range(200)],
        label_errors=bridle.label_errors(answers, target, **told),
        comparison=bridle.compare_models(models, target, **told),
        slices=slice_figures(evaluation, {"M" * 80: [HOSTILE, "i" * 90] * 100}),
        decisions=decision_figures(answers, target, [[0.0, 1.0], [1e6, 0.0]], **told),
        title="M" * 80,
        explain_page=f"{HOSTILE}.html",
        command=f"bridle evaluate '{HOSTILE}' {'x' * 500}",
    )


def many() -> str:
    """Return a page of a thousand classes, of answers without any label of probability 0."""
    random = np.random.default_rng(0)
    answers = random.normal(size=(3000, 1000)).astype(np.float32)
    target = random.integers(1000, size=3000)
    answers[np.arange(3000), target] += 4
    return bridle.evaluate(answers, target, kind="scores").to_html(answers=answers)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    made = {"digits": digits, "names": names, "many": many}
    paths = {name: folder / f"{name}.html" for name in NAMES}
    for name, path in paths.items():
        path.write_text(made[name](), encoding="utf-8")
    return paths


OPEN_ALL = "() => document.querySelectorAll('details').forEach((each) => (each.open = true))"
TOO_WIDE = """() => {
  const width = document.documentElement.clientWidth;
  const page = document.documentElement.scrollWidth > width ? [`page: ${width}`] : [];
  // What scrolls within a card is cut off on paper, and hidden on a phone.
  const cards = [...document.querySelectorAll(".card")]
    .filter((card) => card.scrollWidth > card.clientWidth + 1);
  const told = (card) => `card of ${card.closest("section").id}: ${card.scrollWidth}`;
  return [...page, ...cards.map(told)];
}"""
GEOMETRY = (Path(__file__).parent / "browsing.js").read_text(encoding="utf-8")
CONTRAST = """() => {
  const luminance = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((each) => {
      const share = each / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = getComputedStyle(each).backgroundColor;
      if (!/, 0\\)$|transparent/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const texts = "p, td, th, dd, dt, li, a, summary, h1, h2, h3, small, svg text";
  return [...document.querySelectorAll(texts)]
    .filter((element) => element.checkVisibility() && element.textContent.trim())
    .flatMap((element) => {
      const style = getComputedStyle(element);
      const own = element.localName === "text" ? style.fill : style.color;
      const [first, second] = [own, behind(element)].map(luminance).sort((a, b) => b - a);
      const ratio = (first + 0.05) / (second + 0.05);
      const told = `${element.localName} ${element.textContent.trim().slice(0, 30)}`;
      return ratio < 4.5 ? [`${told}: ${ratio.toFixed(2)}`] : [];
    });
}"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 820, 1280])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_too_wide_too_small_too_pale_or_asked_for(
    browser: Browser, pages: dict[str, Path], name: str, width: int, dark: bool
) -> None:
    with opened(browser, pages[name], width=width, dark=dark) as visit:
        page = visit.page
        page.evaluate(GEOMETRY)
        page.evaluate(OPEN_ALL)
        settle(page)
        assert page.evaluate(TOO_WIDE) == []
        assert page.evaluate("() => geometry.smallTexts(10)") == []
        assert page.evaluate("() => geometry.overlaps(2)") == []
        assert page.evaluate("() => geometry.smallControls(24)") == []
        assert page.evaluate(CONTRAST) == []
        assert visit.problems == []
    assert pages[name].stat().st_size < LARGEST


FOCUSED = """() => {
  const element = document.activeElement;
  if (!element || element === document.body) return null;
  globalThis.tabbed ??= new Set();
  const isNew = !tabbed.has(element);
  tabbed.add(element);
  const { outlineStyle, outlineWidth } = getComputedStyle(element);
  return { isNew, kind: element.localName, outline: `${outlineStyle} ${outlineWidth}` };
}"""


def test_links_and_details_are_used_by_keyboard_alone(
    browser: Browser, pages: dict[str, Path]
) -> None:
    kinds = set()
    with opened(browser, pages["digits"]) as visit:
        page = visit.page
        page.keyboard.press("Tab")
        while (found := page.evaluate(FOCUSED)) is not None and found["isNew"]:
            kinds.add(found["kind"])
            assert found["outline"] == "solid 3px"
            if found["kind"] == "summary":
                page.keyboard.press("Enter")
                assert page.evaluate("() => document.activeElement.parentElement.open")
            page.keyboard.press("Tab")
        assert kinds == {"a", "summary"}
        reached = "() => [...document.querySelectorAll('a, summary')].every((e) => tabbed.has(e))"
        assert page.evaluate(reached)
        assert visit.problems == []


TOP = "(name) => document.getElementById(name).getBoundingClientRect().top"


def test_a_link_leads_to_its_sentence(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["digits"]) as visit:
        page = visit.page
        page.locator("#samples a[href='#read-surprisal']").focus()
        page.keyboard.press("Enter")
        settle(page)
        place = page.evaluate(
            "() => document.getElementById('read-surprisal').getBoundingClientRect().top"
        )
        assert 0 <= place < 800
        assert page.url.endswith("#read-surprisal")


def test_figures_and_pictures_have_names(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["digits"]) as visit:
        page = visit.page
        figures = page.get_by_role("img")
        names = [
            each.get_attribute("aria-label") or each.get_attribute("alt") for each in figures.all()
        ]
        assert len(names) > 50
        assert all(names)
        assert page.locator("img").evaluate_all("all => all.every((e) => e.naturalWidth > 0)")
        levels = page.locator("h1, h2, h3").evaluate_all("all => all.map((e) => +e.localName[1])")
        assert levels[0] == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))
        tables = page.locator("table").evaluate_all(
            "all => all.every((e) => e.querySelector('thead th[scope=col]')"
            " && e.querySelector('tbody th[scope=row]'))"
        )
        assert tables


def test_on_paper_it_is_light_and_whole(browser: Browser, pages: dict[str, Path]) -> None:
    for name in NAMES:
        with opened(browser, pages[name], width=720, dark=True) as visit:
            page = visit.page
            page.emulate_media(media="print")
            settle(page)
            background = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
            assert background == "rgb(255, 255, 255)"
            ink = page.evaluate("() => getComputedStyle(document.body).color")
            assert max(map(int, ink[4:-1].split(","))) < 64
            assert page.evaluate(TOO_WIDE) == []
            assert len(page.pdf(format="A4")) > 10_000
            assert visit.problems == []


def test_markup_in_names_is_text(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["names"]) as visit:
        page: Page = visit.page
        assert page.get_by_text(HOSTILE).count() > 10
        assert page.locator("main script, header script").count() == 0
        assert page.locator("script").count() == 1
        assert visit.problems == []


def test_a_notebook_shows_it_in_a_frame(browser: Browser, tmp_path: Path) -> None:
    shown = bridle.evaluate([[0.9, 0.1], [0.2, 0.8]], [0, 1])._repr_html_()
    path = tmp_path / "notebook.html"
    path.write_text(f"<!doctype html><link rel=icon href='data:,'><p>a cell</p>{shown}")
    with opened(browser, path) as visit:
        frame = visit.page.frame_locator("iframe")
        assert frame.locator("h1").inner_text() == "answers"
        assert frame.locator("section").count() > 5
        assert visit.problems == []
