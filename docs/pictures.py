"""Draw the pictures of the pages, each for a light and a dark screen: `python docs/pictures.py`.

Every number in them is the library's own answer.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

import bridle

HERE = Path(__file__).parent / "pictures"
HISTORY = Path(__file__).parents[1] / "benchmarks" / "history.csv"
Colours = tuple[str, str, str]


class Screen(NamedTuple):
    """What a picture is drawn in."""

    page: str
    ink: str
    line: str
    colours: Colours


# Okabe and Ito's colours, which colour-blind readers tell apart; lines differ in dashes too.
SCREENS = {
    "light": Screen("#ffffff", "#1f2328", "#d8d5cc", ("#0072b2", "#d55e00", "#009e73")),
    "dark": Screen("#131416", "#e8e6e1", "#3a414a", ("#56b4e9", "#ff9a56", "#3ac79f")),
}
DASHES = ("-", "--", "-.")


def scores(figure: Figure, colours: Colours) -> None:
    """Draw how the probabilities of three classes change with the score of one."""
    first = np.linspace(-5, 7, 121)
    found = bridle.softmax(np.column_stack([first, np.full(121, 1.0), np.full(121, -1.0)]))
    axes = figure.subplots()
    names = ("cat, whose score moves", "dog, score 1", "eel, score -1")
    for column, name, colour, dash in zip(found.T, names, colours, DASHES, strict=True):
        axes.plot(first, column, dash, color=colour, label=name)
    axes.set(xlabel="score of cat", ylabel="probability", ylim=(0, 1))
    axes.legend(frameon=False, loc="center right")


def losses(figure: Figure, colours: Colours) -> None:
    """Draw two losses of a true class, and their gradients, over its score."""
    score = np.linspace(-8, 8, 161)
    target = np.ones_like(score)
    probability = bridle.sigmoid(score)
    surprise = bridle.binary_cross_entropy(score, target, reduction="none")
    square = bridle.quadratic_loss(probability[:, None], target[:, None], reduction="none")
    left, right = figure.subplots(1, 2)
    left.plot(score, surprise, DASHES[0], color=colours[0], label="cross-entropy")
    left.plot(score, square, DASHES[1], color=colours[1], label="squared error")
    left.set(xlabel="score of the true class", ylabel="loss")
    left.legend(frameon=False)
    right.plot(score, probability - target, DASHES[0], color=colours[0])
    slope = (probability - target) * probability * (1 - probability)
    right.plot(score, slope, DASHES[1], color=colours[1])
    right.set(xlabel="score of the true class", ylabel="gradient in the score")


def proof(figure: Figure, colours: Colours) -> None:
    """Draw the proven gap of a fit of the digits, pass by pass."""
    history = fitted().fit_report_.history
    axes = figure.subplots()
    passes = [each.passes for each in history]
    axes.semilogy(passes, [each.relative_gap for each in history], "o-", color=colours[0])
    axes.axhline(1e-6, color=colours[1], linestyle="--")
    axes.annotate("asked for: a millionth", (passes[0], 1.3e-6), color=colours[1])
    axes.set(xlabel="passes over the data", ylabel="proven gap", xticks=range(0, passes[-1] + 1, 5))


def templates(figure: Figure, colours: Colours) -> None:
    """Draw what a classifier of digits has learnt: one template of weights for each."""
    weights = fitted().coef_.reshape(10, 8, 8)
    most = np.abs(weights).max()
    page = figure.get_facecolor()
    ramp = mpl.colors.LinearSegmentedColormap.from_list("", [colours[1], page, colours[0]])
    for digit, axes in enumerate(figure.subplots(2, 5).flat):
        axes.imshow(weights[digit], cmap=ramp, vmin=-most, vmax=most)
        axes.set(title=str(digit))
        axes.set_axis_off()


def reliability(figure: Figure, colours: Colours) -> None:
    """Draw how often a classifier of noisy digits is right, before a temperature and after it."""
    X, y = load_digits(return_X_y=True)
    X += np.random.default_rng(0).normal(scale=6, size=X.shape)
    thirds = np.arange(len(y)) % 3
    model = bridle.SoftmaxRegression(C=1e4).fit(X[thirds == 0], y[thirds == 0])
    calibrator = bridle.calibrate.TemperatureScaling()
    calibrator.fit(model.predict_log_proba(X[thirds == 1]), y[thirds == 1])
    unseen = model.predict_log_proba(X[thirds == 2])
    axes = figure.subplots()
    axes.plot([0.3, 1], [0.3, 1], color=mpl.rcParams["grid.color"], label="as often as it says")
    for answers, name, colour, mark in (
        (np.exp(unseen), "as it is", colours[1], "s--"),
        (calibrator.predict_proba(unseen), "after one temperature", colours[0], "o-"),
    ):
        right = answers.argmax(axis=1) == y[thirds == 2]
        table = bridle.judge.reliability_table(answers.max(axis=1), right, bins=8)
        told = [each.confidence for each in table]
        axes.plot(told, [each.accuracy for each in table], mark, color=colour, label=name)
    axes.set(xlabel="probability that it gives", ylabel="how often it is right")
    axes.legend(frameon=False)


def history(figure: Figure, colours: Colours) -> None:
    """Draw what `make bench` has found so far: how many times as long the peer took, by work."""
    with HISTORY.open(encoding="utf-8") as stream:
        runs = list(csv.DictReader(stream))
    works, dates = (list(dict.fromkeys(run[name] for run in runs)) for name in ("work", "date"))
    processors = list(dict.fromkeys(run["processor"] for run in runs))
    looks = list(zip(processors, colours * 9, "osD^v<>ph" * 3, strict=False))
    for work, axes in zip(works, figure.subplots(-(-len(works) // 2), 2).flat, strict=False):
        for processor, colour, mark in looks:
            found = [run for run in runs if (run["work"], run["processor"]) == (work, processor)]
            places = [dates.index(run["date"]) for run in found]
            ratios = [float(run["ratio"]) for run in found]
            axes.plot(places, ratios, f"{mark}-", color=colour, label=processor)
            for place, ratio in zip(places, ratios, strict=True):
                axes.annotate(f"{ratio:.3g}", (place, ratio), (5, 4), textcoords="offset points")
        axes.axhline(1, color=colours[1], linestyle="--", linewidth=1)
        axes.set(title=work, xticks=range(len(dates)), xlim=(-0.5, len(dates) - 0.2))
        axes.set_ylim(0, 1.25 * axes.get_ylim()[1])
        axes.set_xticklabels([date.partition(" ")[0] for date in dates], fontsize=8)
    for axes in figure.axes[len(works) :]:
        axes.set_axis_off()
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower right", frameon=False, fontsize=9)


PICTURES: dict[str, tuple[Callable[[Figure, Colours], None], tuple[float, float]]] = {
    "scores": (scores, (6.4, 3.2)),
    "losses": (losses, (7.2, 3.0)),
    "proof": (proof, (6.4, 3.0)),
    "templates": (templates, (6.4, 3.0)),
    "reliability": (reliability, (5.4, 4.0)),
    "history": (history, (7.2, 8.0)),
}


def fitted() -> bridle.SoftmaxRegression:
    """Return a classifier of the embedded digits."""
    X, y = load_digits(return_X_y=True)
    return bridle.SoftmaxRegression(C=0.1).fit(X / 16, y)


def draw(folder: Path) -> None:
    """Write every picture, as SVG whose text is text."""
    folder.mkdir(exist_ok=True)
    for name_of_screen, screen in SCREENS.items():
        with mpl.rc_context(style(screen)):
            for name, (make, size) in PICTURES.items():
                figure = Figure(figsize=size, layout="constrained")
                make(figure, screen.colours)
                figure.savefig(folder / f"{name}-{name_of_screen}.svg", metadata={"Date": None})


def style(screen: Screen) -> Any:
    """Return what matplotlib calls the colours of a screen."""
    inks = ("axes.labelcolor", "axes.titlecolor", "text.color", "xtick.color", "ytick.color")
    return {
        **dict.fromkeys(inks, screen.ink),
        "axes.facecolor": screen.page,
        "figure.facecolor": screen.page,
        "axes.edgecolor": screen.line,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": screen.line,
        "grid.linewidth": 0.6,
        "lines.linewidth": 2.0,
        "font.family": "sans-serif",
        "font.size": 11,
        "svg.fonttype": "none",
        "svg.hashsalt": "bridle",
    }


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if sys.argv[1:] else HERE)
