"""The help of a command with many options: in panels, each of one subject, in plain text."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

ARGUMENTS = "Arguments"
DATA = "Data"
COLUMNS = "Columns of a table"
READING = "How files are read"
ANSWERS = "Answers"
JUDGING = "What is judged"
CLASSIFIER = "Softmax classifier"
CALIBRATOR = "Calibrator"
NETWORK = "Network"
TRAINING = "Training"
OUTPUT = "Output"
CONFIG = "Options in a file"
_OTHERS = "Options"
# What `bridle.calibrate.METHODS` has, which to import takes longer than the help.
CALIBRATORS = ("temperature", "vector", "matrix", "dirichlet", "isotonic")
# Longer names (--standardize / --no-standardize) stand on a line of their own.
_WIDEST = 24
_ORDER = (
    ARGUMENTS,
    DATA,
    ANSWERS,
    JUDGING,
    COLUMNS,
    READING,
    CLASSIFIER,
    CALIBRATOR,
    NETWORK,
    TRAINING,
    OUTPUT,
    CONFIG,
)


class PanelledCommand(TyperCommand):
    """A command whose options are listed by the panel that they name."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then one section for each panel."""
        panels = dict[str, list[tuple[str, str]]]()
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                # Several values of an argument are typed one after the other.
                name, text = record[0].replace("<list[str]>", "<str> …"), record[1]
                panels.setdefault(_panel_of(parameter), []).append((name, text))
        others = panels.pop(_OTHERS, [])
        if others:
            panels.setdefault(OUTPUT if OUTPUT in panels else _OTHERS, []).extend(others)
        for title in (*_ORDER, _OTHERS):
            if title in panels:
                with formatter.section(title):
                    formatter.write_dl(panels[title], col_max=_WIDEST)


def _panel_of(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return ARGUMENTS
    return getattr(parameter, "rich_help_panel", None) or _OTHERS
