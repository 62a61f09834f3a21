"""Training curves of several networks side by side, as PNG or SVG."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bridle import checks, files
from bridle.cli.messages import one_line
from bridle.networks import Epoch

History = list[Epoch]
_FORMATS = (".png", ".svg")
LEAST_SATURATED = (
    "The quadratic cost's outputs are the least saturated because a (1 - a) is a factor of its "
    "gradient: the nearer an output comes to 0 or 1, the less it is pushed there. The other costs "
    "push right answers on; wrong ones that are saturated, which the factor keeps from learning, "
    "are too few to show in a mean."
)
# Told apart without colour too.
_LINES = ("-", "--", "-.", ":")


def check_picture(path: Path) -> None:
    """Refuse what cannot be drawn, before the work rather than after it."""
    if path.suffix.lower() not in _FORMATS:
        raise checks.InputError(f"--out {path}: expected a name that ends in .png or .svg")
    checks.require("matplotlib", extra="report", purpose="drawing curves")


def draw(path: Path, title: str, role: str, runs: Sequence[tuple[str, History]]) -> None:
    """Write four panels over the epochs: accuracy, cost, gradient, slope of the outputs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7.5), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True)
    for panel, (title_above, label, scale, value) in zip(panels.flat, _measures(role), strict=True):
        for (name, history), style in zip(runs, _LINES, strict=False):
            epochs = [epoch.epoch for epoch in history]
            panel.plot(epochs, [value(each, history[0]) for each in history], style, label=name)
        panel.set_title(title_above, fontsize="medium")
        panel.set_ylabel(label)
        panel.set_yscale(scale)
        panel.grid(visible=True, alpha=0.3)
    for panel in panels[1]:
        panel.set_xlabel("epoch")
        panel.xaxis.get_major_locator().set_params(integer=True)
    # A name from the user is no formula to be typeset.
    figure.suptitle(one_line(title), parse_math=False)
    if quadratic_is_least_saturated(runs):
        figure.supxlabel("\n".join(textwrap.wrap(LEAST_SATURATED, 120)), fontsize="small")
    panels.flat[0].legend(loc="lower right", title="cost")
    stream = io.BytesIO()
    figure.savefig(stream, format=path.suffix[1:].lower(), dpi=120)
    files.write_whole(path, stream.getvalue())


def quadratic_is_least_saturated(runs: Sequence[tuple[str, History]]) -> bool:
    """Tell whether the quadratic cost ends with the outputs that are farthest from 0 and 1."""
    slopes = {name: history[-1].output_derivative for name, history in runs}
    return len(slopes) > 1 and max(slopes, key=lambda name: slopes[name]).startswith("quadratic")


def _measures(role: str) -> list[tuple[str, str, str, Callable[[Epoch, Epoch], Any]]]:
    """Return of each panel the title, what its axis shows, the axis's scale, and the value."""
    return [
        (
            f"Accuracy on the {role} samples",
            "accuracy",
            "linear",
            lambda each, _first: each.validation_accuracy,
        ),
        (
            "Training cost",
            "cost / that of the first epoch",
            "log",
            lambda each, first: each.cost / first.cost,
        ),
        (
            "Gradient at the first layer",
            "norm of the gradient",
            "log",
            lambda each, _first: each.gradient_norms[0],
        ),
        (
            "Slope of the outputs: small where they are saturated",
            "mean of a (1 - a)",
            "log",
            lambda each, _first: each.output_derivative,
        ),
    ]
