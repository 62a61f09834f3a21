"""The numbers that the page of ``bridle explain`` shows in Chromium are the library's."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

import bridle
from bridle.experiments import saturated_neuron
from browsing import GUARD, assert_says, chromium, live, press, settle, visiting, write_pages

pytest.importorskip("jinja2", reason="the extra `report` is not installed")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

Array = npt.NDArray[Any]
LN2 = np.log(2)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pages(tmp_path_factory.mktemp("pages"))["digits"]


@pytest.fixture
def page(browser: Browser, digits: Path) -> Iterator[Page]:
    with visiting(browser, digits) as visit:
        yield visit.page
        assert visit.problems == []


def data_of(page: Page) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(page.locator("#data").inner_text())
    return data


def assert_all_say(texts: Locator, values: Array, digits: int | None = None) -> None:
    shown = texts.all_text_contents()
    assert len(shown) == len(values)
    for text, value in zip(shown, values, strict=True):
        assert_says(text, value, digits)


# --- 1: scores become probabilities ---------------------------------------------------------------


def test_probabilities_are_softmax_of_scores_over_temperature(page: Page) -> None:
    keys = ("ArrowUp",) * 7, ("PageDown",), ("Shift+ArrowUp",), ("End",)
    for bar, pressed in zip(page.locator("#scores .handle").all(), keys, strict=True):
        press(bar, *pressed)
    scores = np.array([2.7, 0.0, 1.2, 5.0])
    shown = page.locator("#scores .pair svg").nth(1).locator(".value")
    assert_all_say(shown, 100 * bridle.softmax(scores))
    temperature = page.locator("#scores input").nth(0)
    press(temperature, *["ArrowRight"] * 10)  # of 1/20 each: 2 to the power of 1/2
    probabilities = bridle.softmax(scores / np.sqrt(2))
    assert_all_say(shown, 100 * probabilities)
    assert_says(live(page, "scores", "probability"), 100 * probabilities[0])
    press(temperature, *["ArrowRight"] * 10)
    press(page.locator("#scores input").nth(1), "End")  # 1000 to all scores
    assert_all_say(shown, 100 * bridle.softmax(scores / 2))
    assert live(page, "scores", "naive") != "not a number"  # 502.5 is not too much for exp
    press(temperature, "Home")  # T is 1/4: scores of 4000 and more
    assert live(page, "scores", "naive") == "not a number"
    assert_all_say(shown, 100 * bridle.softmax(scores * 4))
    assert_says(live(page, "scores", "logsumexp"), float(bridle.logsumexp(4 * (scores + 1000))))


# --- 2: likelihood --------------------------------------------------------------------------------


def test_likelihoods_are_softmaxs_and_the_product_underflows(page: Page) -> None:
    press(page.locator("#likelihood input").nth(0), *["PageUp"] * 2)
    weight = float(live(page, "likelihood", "weight"))
    features, labels = np.array([1.3, 2.6, 5.7]), [1, 3, 5]
    scores = -weight * (features[:, None] - np.arange(10)) ** 2
    losses = bridle.cross_entropy(scores, labels, reduction="none")
    for name, loss in zip(("first", "second", "third"), losses, strict=True):
        assert_says(live(page, "likelihood", name), np.exp(-loss))
    assert_says(live(page, "likelihood", "one"), np.exp(-losses.sum()), 4)
    press(page.locator("#likelihood input").nth(1), "End")  # 3 · 2¹⁰ samples
    assert live(page, "likelihood", "product").startswith("0: too small")
    assert_says(live(page, "likelihood", "loss"), 1024 * losses.sum(), 5)


# --- 3: the loss ----------------------------------------------------------------------------------


def type_row(page: Page, row: int, probabilities: list[float]) -> None:
    for place, probability in enumerate(probabilities):
        field = page.get_by_label(f"Sample {row}: probability of class {place}")
        press(field, "Control+a", *str(probability))


def test_losses_of_rows_that_are_typed(page: Page) -> None:
    losses = page.locator("#loss tbody strong")
    assert losses.all_inner_texts() == ["2.3026", "0.6931"]
    rows = [[0.7, 0.2, 0.1], [0.05, 0.9, 0.05]]
    for row, probabilities in enumerate(rows):
        type_row(page, row, probabilities)
    press(page.get_by_label("Label of sample 0"), "ArrowDown")
    press(page.get_by_label("Label of sample 1"), "Home")
    assert_all_say(losses, bridle.nll(rows, [1, 0], reduction="none"))
    mean = page.locator("#loss p[role=status] strong")
    assert_says(mean.inner_text(), float(bridle.nll(rows, [1, 0])))
    press(page.locator("#loss input[type=range]"), *["ArrowRight"] * 30)
    targets = 0.7 * np.eye(3)[[1, 0]] + 0.1
    assert_all_say(losses, bridle.cross_entropy_of(targets, rows))
    press(page.locator("#loss input[type=radio]").first, "ArrowRight")
    assert_all_say(losses, bridle.cross_entropy_of(targets, rows, unit="bits"))
    assert mean.inner_text().endswith("bits")
    type_row(page, 0, [0.7, 0.2, 0.3])
    assert losses.first.inner_text() == "none"


def test_the_loss_of_the_curve_is_surprisal(page: Page) -> None:
    dot = page.locator("#loss .handle")
    press(dot, *["ArrowRight"] * 15)
    p = 0.25
    assert_says(live(page, "loss", "p"), p)
    assert_says(live(page, "loss", "nats"), float(bridle.surprisal(p)))
    assert_says(live(page, "loss", "bits"), float(bridle.surprisal(p, unit="bits")))


# --- 4: the gradient ------------------------------------------------------------------------------


def squared_error_gradient(scores: Array, target: int) -> Array:
    """Return the gradient of Σ (p − t)² / 2 by the chain rule, with the Jacobian of softmax."""
    p = bridle.softmax(scores)
    jacobian = np.diag(p) - np.outer(p, p)
    found: Array = jacobian @ (p - np.eye(len(p))[target])
    return found


def assert_gradients(page: Page, scores: Array, target: int) -> None:
    _, expected = bridle.cross_entropy_gradient(scores, target)
    squared = squared_error_gradient(scores, target)
    for place, gradient in enumerate((expected, squared)):
        panel = page.locator("#gradient .pair > div").nth(place)
        assert_all_say(panel.locator("svg > g > text"), -gradient, 2)  # the arrows go against it
    assert_says(live(page, "gradient", "crossEntropy"), expected[target])
    assert_says(live(page, "gradient", "squared"), squared[target])
    assert_says(
        live(page, "gradient", "crossEntropyLoss"), float(bridle.cross_entropy(scores, target)), 4
    )


def test_arrows_are_the_gradients_and_steps_follow_them(page: Page) -> None:
    scores = np.array([0.5, 2.0, 0.2, -1.0])
    assert_gradients(page, scores, 0)
    for _ in range(3):
        press(page.get_by_role("button", name="Step down the cross-entropy"), "Enter")
        scores = scores - bridle.cross_entropy_gradient(scores, 0)[1]
        assert_gradients(page, scores, 0)
    press(page.get_by_role("button", name="Step down the squared error"), "Space")
    scores = scores - squared_error_gradient(scores, 0)
    press(page.locator("#gradient input[type=radio]").first, "ArrowDown", "ArrowDown")
    assert_gradients(page, scores, 2)
    press(page.get_by_role("button", name="Surest and wrong"), "Enter")
    shown = [float(bar.get_attribute("aria-valuenow") or "nan") for bar in
             page.locator("#gradient .handle").all()]  # fmt: skip
    assert_gradients(page, np.array(shown), 2)


# --- 5: the classifier ----------------------------------------------------------------------------


def samples_of(data: dict[str, Any]) -> tuple[Array, Array]:
    """Return the page's held-out samples, read as the page reads them."""
    samples = data["samples"]
    raw = np.frombuffer(gzip.decompress(base64.b64decode(samples["values"])), "u1")
    features = raw.reshape(samples["count"], samples["width"]) * samples["step"]
    return features[-samples["held"] :], np.array(samples["labels"])[-samples["held"] :]


def test_training_reaches_the_proven_optimum(page: Page) -> None:
    least = data_of(page)["optimum"]["objective"]
    start = live(page, "classifier", "objective")
    assert_says(start, np.log(10))
    train = page.locator("#classifier button.main")
    press(train, "Enter")
    # It may rise for a moment later: batches differ. So what is shown is read in the same moment.
    reached = page.wait_for_function(
        """(most) => {
          const [objective, above] = ["objective", "above"].map((name) =>
            document.querySelector(`#classifier [data-live=${name}]`).textContent);
          return Number(objective) <= most && [objective, above];
        }""",
        arg=1.05 * least,
        timeout=GUARD,
    ).json_value()
    stopped = page.get_by_text("Near enough: training has stopped").first
    stopped.wait_for(timeout=GUARD)
    assert train.inner_text() == "Train"
    assert float(live(page, "classifier", "objective")) <= 1.005 * least + 5e-5
    shown = float(reached[0])
    assert shown >= least - 1e-4
    above = float(reached[1].split(" %")[0])
    assert above == pytest.approx(100 * (shown / least - 1), abs=0.05)


def test_the_optimum_shown_is_that_of_the_fit(page: Page) -> None:
    data = data_of(page)
    optimum = data["optimum"]
    press(page.get_by_role("button", name="Show the optimum"), "Enter")
    assert_says(live(page, "classifier", "objective"), optimum["objective"])
    accuracy = live(page, "classifier", "above").split(";")[1]
    assert_says(accuracy, 100 * optimum["accuracy"])
    penalties = page.locator("#classifier .panel").last.locator("p.live")
    assert_says(penalties.inner_text().split("the loss is")[1], optimum["loss"])
    # The page begins with its first held-out sample of the first class.
    X, y = samples_of(data)
    weight = np.frombuffer(base64.b64decode(optimum["weight"]), "<f4").reshape(10, -1)
    scores = weight @ X[y == 0][0] + optimum["bias"]
    highest = int(np.argmax(scores))
    assert live(page, "classifier", "class") == data["classes"][highest]
    assert_says(live(page, "classifier", "score"), scores[highest])
    probabilities = bridle.softmax(scores)
    assert_says(live(page, "classifier", "probability"), 100 * probabilities[highest])


# --- 6: the race ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("chosen", "start"), [(0, (0.6, 0.9)), (1, (2.0, 2.0))])
def test_the_neuron_is_the_librarys(page: Page, chosen: int, start: tuple[float, float]) -> None:
    if chosen == 0:
        press(page.locator("#race input[type=radio]").nth(1), "ArrowLeft")
    costs = {"quadratic": "quadratic", "crossEntropy": "cross_entropy"}
    paths = {name: saturated_neuron(*start, 0.15, cost, 300).output for name, cost in costs.items()}
    epochs = page.locator("#race input[type=range]").first
    for keys in (["Home"], ["ArrowRight"] * 7, ["PageUp"] * 3, ["End"]):
        press(epochs, *keys)
        epoch = int(live(page, "race", "epoch"))
        assert epoch == int(epochs.input_value())
        for name, path in paths.items():
            assert_says(live(page, "race", name), path[epoch])
    assert epoch == 300


@pytest.mark.parametrize(
    ("chosen", "start", "below", "steps"),
    [(0, (0.6, 0.9), 0.2, (2, 1)), (1, (2.0, 2.0), 0.5, (7, 2))],
)
def test_what_the_page_says_of_rates_of_one_over_the_greatest_curvature(
    page: Page, chosen: int, start: tuple[float, float], below: float, steps: tuple[int, int]
) -> None:
    if chosen == 0:
        press(page.locator("#race input[type=radio]").nth(1), "ArrowLeft")
    press(page.locator("#race input[type=radio]").nth(2), "ArrowRight")
    # The curvature in z on a fine grid; that in (w, b) is twice as much.
    z = np.linspace(-8, 8, 160_001)
    a = 1 / (1 + np.exp(-z))
    curvatures = {
        "quadratic": (a**2 * (1 - a) * (2 - 3 * a)).max(),
        "cross_entropy": (a * (1 - a)).max(),
    }
    rates = {cost: 1 / (2 * curvature) for cost, curvature in curvatures.items()}
    for text, rate in zip(live(page, "race", "rates").split(" and "), rates.values(), strict=True):
        assert_says(text, rate)
    epochs = page.locator("#race input[type=range]").first
    press(epochs, "Home", *["ArrowRight"] * steps[0])
    names = ("quadratic", "crossEntropy")
    for name, (cost, rate), step in zip(names, rates.items(), steps, strict=True):
        path = saturated_neuron(*start, rate, cost, steps[0]).output
        assert_says(live(page, "race", name), path[-1])
        assert next(epoch for epoch, output in enumerate(path) if output < below) == step


def test_the_networks_are_those_of_the_histories(page: Page) -> None:
    runs = data_of(page)["race"]["runs"]
    epochs = page.locator("#race .wide input[type=range]")
    for key in ("Home", "ArrowRight", "End"):
        press(epochs, key)
        place = int(epochs.input_value()) - 1
        shares = [run["epochs"][place]["heldOutAccuracy"] for run in runs]
        assert_all_say(page.locator("#race .wide .legend strong"), 100 * np.array(shares))


# --- 7: surprise ----------------------------------------------------------------------------------


def test_bits_are_the_librarys(page: Page) -> None:
    bars = page.locator("#surprise .handle")
    for place, keys in ((0, ["PageDown"] * 2), (2, ["ArrowUp"] * 5), (5, ["PageUp"])):
        press(bars.nth(place), *keys)
    shown = [float(bar.get_attribute("aria-valuenow") or "nan") for bar in bars.all()]
    truth, forecast = (np.array(part) / sum(part) for part in (shown[:4], shown[4:]))
    assert truth == pytest.approx(np.array(shown[:4]), abs=1e-5)
    values = {
        "entropy": bridle.entropy(truth, unit="bits"),
        "cross": bridle.cross_entropy_of(truth, forecast, unit="bits"),
        "divergence": bridle.kl_divergence(truth, forecast, unit="bits"),
    }
    for name, value in values.items():
        assert_says(live(page, "surprise", name), float(value))
    press(page.get_by_role("button", name="Be sure of snow"), "Enter")
    assert live(page, "surprise", "cross") == "∞"


def test_the_most_surprising_samples_are_in_bits(page: Page) -> None:
    surprises = data_of(page)["surprises"]
    bits = np.array([found["nats"] for found in surprises]) / LN2
    assert_all_say(page.locator("#surprise .gallery li > strong"), bits)


# --- 8: calibration -------------------------------------------------------------------------------


def test_loss_and_calibration_error_are_evaluates(page: Page) -> None:
    judged = data_of(page)["judged"]
    steps = np.frombuffer(base64.b64decode(judged["scores"]), "<i2")
    scores = steps.reshape(len(judged["labels"]), -1) * judged["step"]

    def assert_column(name: str, temperature: float) -> None:
        figures = bridle.evaluate(scores / temperature, judged["labels"], kind="scores")
        error = figures.expected_calibration_error
        assert_says(live(page, "calibration", f"{name}-loss"), figures.cross_entropy_nats)
        assert_says(live(page, "calibration", f"{name}-error"), 100 * error)

    assert_column("before", 1.0)
    confidence = bridle.softmax(scores).max(axis=1).mean()
    accuracy = np.mean(scores.argmax(axis=1) == judged["labels"])
    error = np.sqrt(confidence * (1 - confidence) / len(scores))
    assert_says(live(page, "calibration", "sentence").split("/ n) = ")[1], 100 * error)
    clear = abs(confidence - accuracy) > 2 * error
    assert ("no clear sign" in live(page, "calibration", "verdict")) == (not clear)
    assert_column("after", judged["temperature"])
    press(page.locator("#calibration input"), *["PageUp"] * 2)
    temperature = np.exp(float(page.locator("#calibration input").input_value()))
    assert temperature > 1
    assert_column("now", temperature)
    press(page.get_by_role("button", name="The best T"), "Enter")
    settle(page)
    assert_column("now", judged["temperature"])
