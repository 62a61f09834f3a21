"""What the pages have from the program, when the site is built: docstrings, commands, links."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer.main
from docutils import nodes
from sphinx import addnodes

from bridle.cli.app import app as command

REFERENCE = re.compile(r"^```\{reference\} ([\w.]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PICTURE = re.compile(r"!\[([^\]]*)\]\((pictures/\w+)-light\.svg\)")
# What scikit-learn, PyTorch and Python give to each class of theirs is told there.
FOREIGN = (
    "object, BaseEstimator, ClassifierMixin, Module, tuple, ImportError, Exception, BaseException"
)


def reference(module: str, listed: str) -> Iterator[str]:
    """Yield the lines of a table of public names, and after it of what their docstrings say.

    What is no class or function has no docstring: it is told of behind its name, after a colon.
    """
    names = dict(re.findall(r"^(\w+)(?:: (.*))?$", listed, re.MULTILINE))
    yield from ["```{eval-rst}", f".. currentmodule:: {module}", "", ".. autosummary::"]
    yield from ["   :nosignatures:", ""]
    yield from (f"   {name}" for name, words in names.items() if not words)
    for name, words in names.items():
        if words:
            yield from ["", f".. py:data:: {name}", "", f"   {words}"]
        elif inspect.isclass(getattr(importlib.import_module(module), name)):
            yield from ["", f".. autoclass:: {name}", "   :members:"]
            yield f"   :inherited-members: {FOREIGN}"
        else:
            yield from ["", f".. autofunction:: {name}"]
    yield "```"


class Subjects:
    """Stands where a command writes its help: keeps its options as they are, by subject."""

    def __init__(self) -> None:
        self.told: dict[str, list[tuple[str, str]]] = {}

    @contextmanager
    def section(self, title: str) -> Iterator[None]:
        """Begin a subject."""
        self.told[title] = []
        yield

    def write_dl(self, rows: list[tuple[str, str]], **_layout: Any) -> None:
        """Keep the options of the subject that was begun last."""
        self.told[list(self.told)[-1]] += rows


def commands() -> Iterator[str]:
    """Yield the lines on each command: its help, and its options by subject."""
    group: Any = typer.main.get_command(command)
    for name, each in group.commands.items():
        context = each.make_context(f"bridle {name}", [], resilient_parsing=True)
        usage = each.get_usage(context).removeprefix("Usage: ")
        yield from ["", f"## bridle {name}", "", escaped(each.help), "", f"    {usage}", ""]
        subjects = Subjects()
        each.format_options(context, subjects)
        for subject, options in subjects.told.items():
            yield from ["", f"**{subject}**", ""]
            yield from (f"`{option}`\n: {escaped(words)}\n" for option, words in options)
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
    text = REFERENCE.sub(lambda found: "\n".join(reference(found[1], found[2])), text)
    source[0] = PICTURE.sub(lambda found: both_screens(found[1], found[2]), text)


def skip(_app: Any, _kind: str, name: str, found: object, _skips: bool, _options: Any) -> Any:
    """Leave out what scikit-learn makes for its metadata routing, and a tuple's bare fields."""
    made = re.fullmatch(r"set_\w+_request|get_metadata_routing", name)
    bare = (inspect.getdoc(found) or "").startswith("Alias for field number")
    return True if made or bare else None


def unsigned(_app: Any, _kind: str, _name: str, found: Any, *_told: Any) -> Any:
    """Show no signature of results, which only ours makes: their attributes are told below."""
    if not (inspect.isclass(found) and "\nAttributes\n---" in (inspect.getdoc(found) or "")):
        return None
    if not (dataclasses.is_dataclass(found) or hasattr(found, "_fields")):
        return None
    parameters = inspect.signature(found).parameters.values()
    made_by_ours = any(each.default is each.empty for each in parameters)
    return ("", None) if made_by_ours else None


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


def link(_app: Any, doctree: nodes.document) -> None:
    """Make a reference of each name of ours that a page writes as code, `bridle.evaluate` say."""
    for literal in list(doctree.findall(nodes.literal)):
        name = re.fullmatch(r"(bridle(?:\.\w+)+)(?:\(.*\))?", literal.astext())
        if name and isinstance(literal.parent, nodes.paragraph | nodes.entry):
            told = {"refdomain": "py", "reftype": "obj", "reftarget": name[1], "refwarn": False}
            document = doctree.settings.env.docname
            reference = addnodes.pending_xref("", refdoc=document, refexplicit=False, **told)
            literal.replace_self(reference)
            reference += literal


def find(app: Any, env: Any, node: Any, inner: Any) -> Any:
    """Return the link to a name that the reference tells under another: it is the same object."""
    if node.get("refdomain") != "py" or not node["reftarget"].startswith("bridle."):
        return None
    name = told(app.srcdir).get(id(object_of(node["reftarget"])))
    python = env.get_domain("py")
    where = (env, node["refdoc"], app.builder, "obj", name, node, inner)
    return python.resolve_xref(*where) if name else None


@functools.cache
def told(folder: Path) -> dict[int, str]:
    """Return the names that the reference tells, by what they are names of."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("api/*.md"))
    lists = [
        (module, re.findall(r"^\w+", names, re.M)) for module, names in REFERENCE.findall(text)
    ]
    found = [f"{module}.{name}" for module, names in lists for name in names]
    return {id(object_of(name)): name for name in reversed(found)}


def object_of(name: str) -> object:
    """Return what a dotted name stands for; None if nothing."""
    module, _, last = name.rpartition(".")
    try:
        return inspect.unwrap(getattr(importlib.import_module(module), last))
    except (ImportError, AttributeError):
        return None


def setup(app: Any) -> dict[str, bool]:
    """Tell Sphinx of the functions that it has to call."""
    app.connect("source-read", expand)
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-signature", unsigned)
    app.connect("autodoc-process-docstring", formulas, priority=400)  # before numpydoc
    app.connect("doctree-read", link)
    app.connect("missing-reference", find)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
