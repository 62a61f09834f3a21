"""How Sphinx builds the site: `make docs`. Nothing that it makes loads anything from outside."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer.main

import bridle
from bridle.cli.app import app as command

project = "bridle"
author = "bridle's authors"
version = release = bridle.__version__
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"bridle {release}"
html_copy_source = False
html_show_copyright = False
html_show_search_summary = False  # which asks for each page found: a browser refuses that of files
html_static_path = ["static"]
html_css_files = ["site.css"]
pygments_style = "default"
pygments_dark_style = "github-dark"

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

# Docstrings write `bridle.evaluate`; what is no name of ours stays as it is written.
default_role = "py:obj"
add_module_names = False
autodoc_typehints = "none"  # the lists of parameters say the types, in words
autodoc_member_order = "bysource"
smartquotes = False  # --test is no dash
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False  # autodoc lists them, with their docstrings

# What scikit-learn, PyTorch and Python give to each class of theirs is told there.
FOREIGN = "object, BaseEstimator, ClassifierMixin, Module, tuple, Exception, BaseException"


def reference(module: str, names: list[str]) -> Iterator[str]:
    """Yield the lines of a table of public names, and after it of what their docstrings say."""
    yield from ["```{eval-rst}", f".. currentmodule:: {module}", "", ".. autosummary::"]
    yield from ["   :nosignatures:", ""]
    yield from (f"   {name}" for name in names)
    for name in names:
        found = getattr(importlib.import_module(module), name)
        kind = "class" if inspect.isclass(found) else "function" if callable(found) else "data"
        yield from ["", f".. auto{kind}:: {name}"]
        if kind == "class":
            yield from ["   :members:", f"   :inherited-members: {FOREIGN}"]
    yield "```"


def commands() -> Iterator[str]:
    """Yield the lines on each command: its help, and its options by subject."""
    group: Any = typer.main.get_command(command)
    for name, each in group.commands.items():
        context = each.make_context(f"bridle {name}", [], resilient_parsing=True)
        usage = each.get_usage(context).removeprefix("Usage: ")
        yield from ["", f"## bridle {name}", "", escaped(each.help), "", f"    {usage}", ""]
        subjects = dict[str, list[str]]()
        for parameter in each.get_params(context):
            option, text = parameter.get_help_record(context) or ("", "")
            if not option:
                continue  # hidden
            subject = getattr(parameter, "rich_help_panel", None) or "Others"
            subjects.setdefault(
                "Arguments" if parameter.param_type_name == "argument" else subject, []
            ).append(f"`{option}`\n: {escaped(text)}\n")
        for subject, options in subjects.items():
            yield from ["", f"**{subject}**", "", *options]
        examples = re.findall(r"^Example: (.*)$", each.epilog or "", re.MULTILINE)
        yield from ["", "**Examples**", "", *(f"    {line}" for line in examples), ""]


def escaped(text: str) -> str:
    """Return a plain text as Markdown that shows it."""
    return re.sub(r"([\\`*_\[\]<>#$|~])", r"\\\1", " ".join(text.split()))


def both_screens(words: str, path: str) -> str:
    """Return a picture as it is on a light screen and on a dark one."""
    lines = list[str]()
    for screen in ("light", "dark"):
        lines += [f"```{{image}} {path}-{screen}.svg", f":alt: {' '.join(words.split())}"]
        lines += [f":class: only-{screen}", "```", ""]
    return "\n".join(lines)


def expand(_app: Any, _name: str, source: list[str]) -> None:
    """Put into a page what is made from the program when the site is built."""
    text = source[0].replace("```{commands}\n```", "\n".join(commands()))
    text = re.sub(
        r"^```\{reference\} ([\w.]+)\n(.*?)^```$",
        lambda found: "\n".join(reference(found[1], found[2].split())),
        text,
        flags=re.MULTILINE | re.DOTALL,
    )
    source[0] = re.sub(
        r"!\[([^\]]*)\]\((pictures/\w+)-light\.svg\)",
        lambda found: both_screens(found[1], found[2]),
        text,
    )


def skip(_app: Any, _kind: str, name: str, found: object, _skips: bool, _options: Any) -> Any:
    """Leave out what scikit-learn makes for its metadata routing, and a tuple's bare fields."""
    made = re.fullmatch(r"set_\w+_request|get_metadata_routing", name)
    bare = (inspect.getdoc(found) or "").startswith("Alias for field number")
    return True if made or bare else None


def unsigned(_app: Any, _kind: str, _name: str, found: Any, *_told: Any) -> Any:
    """Show no signature of a class that only ours makes: its attributes are told below it."""
    made = dataclasses.is_dataclass(found) or hasattr(found, "_fields")
    return ("", None) if inspect.isclass(found) and made else None


def formulas(
    _app: Any, _kind: str, _name: str, _found: object, _told: Any, lines: list[str]
) -> None:
    """Make literal what a docstring indents after a blank line: it is a formula or a table."""
    above, within = 0, False  # how far the text is indented, and whether this is in a formula
    result: list[str] = []
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if line and not (within and indent > above):
            within = bool(result) and not result[-1] and indent > above
            if within:
                result += [" " * above + "::", ""]
            else:
                above = indent
        result.append(line)
    lines[:] = result


def setup(app: Any) -> None:
    """Tell Sphinx of the functions that it has to call."""
    app.connect("source-read", expand)
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-signature", unsigned)
    app.connect("autodoc-process-docstring", formulas, priority=400)  # before numpydoc
