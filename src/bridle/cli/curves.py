"""Training curves of several networks side by side, as PNG or SVG."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bridle import checks, files
from bridle.cli.messages import one_line
from bridle.networks import Epoch

History = list[Epoch]
_FORMATS = (".png", ".svg")
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
    for panel, (label, scale, value) in zip(panels.flat, _measures(role), strict=True):
        for (name, history), style in zip(runs, _LINES, strict=False):
            epochs = [epoch.epoch for epoch in history]
            panel.plot(epochs, [value(each, history[0]) for each in history], style, label=name)
        panel.set_ylabel(label)
        panel.set_yscale(scale)
        panel.grid(visible=True, alpha=0.3)
    for panel in panels[1]:
        panel.set_xlabel("epoch")
        panel.xaxis.get_major_locator().set_params(integer=True)
    # A name from the user is no formula to be typeset.
    figure.suptitle(one_line(title), parse_math=False)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(runs), title="cost")
    stream = io.BytesIO()
    figure.savefig(stream, format=path.suffix[1:].lower(), dpi=120)
    files.write_whole(path, stream.getvalue())


def _measures(role: str) -> list[tuple[str, str, Callable[[Epoch, Epoch], Any]]]:
    return [
        (f"{role} accuracy", "linear", lambda each, _first: each.validation_accuracy),
        ("training cost / its first epoch's", "log", lambda each, first: each.cost / first.cost),
        ("gradient norm, first layer", "log", lambda each, _first: each.gradient_norms[0]),
        ("mean slope a(1 - a) of the outputs", "log", lambda each, _first: each.output_derivative),
    ]
