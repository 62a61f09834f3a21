"""Who may import whom, what `import bridle` loads, and that every public name is documented."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bridle

PACKAGE = Path(bridle.__file__).parent

# A room (a module, or a folder of modules) may import itself and these of ours. The walk goes
# leftwards only; nothing below the command knows of the command.
MAY_IMPORT: dict[str, set[str]] = {
    # the ground: these know nothing of ours
    "checks": set(),
    "files": set(),
    "exit_codes": set(),
    "interruption": {"exit_codes"},
    "strict_json": set(),
    "formula": set(),
    "kernels": {"formula"},
    "progress": set(),
    # the walk
    "tensors": set(),
    "ranks": {"checks", "mapped", "tensors"},
    "mapped": {"checks"},
    "staging": set(),
    "rows": {"checks", "mapped", "staging", "tensors"},
    "probabilities": {"checks", "kernels"},
    "losses": {"checks", "formula", "kernels", "probabilities", "tensors"},
    "information": {"checks", "kernels", "probabilities"},
    "linear": {"checks", "formula", "kernels", "losses"},
    "experiments": {"checks", "probabilities"},
    # what uses the walk; none of them knows another, but the estimators what they are the faces of
    "data": {"checks", "files", "mapped", "rows"},
    "fit": {"checks", "kernels", "probabilities", "ranks", "rows", "strict_json", "tensors"},
    "networks": {"checks", "kernels", "probabilities", "progress", "rows"},
    "estimators": {
        "checks", "files", "fit", "losses", "networks", "probabilities", "progress", "ranks",
        "rows", "tensors",
    },
    "torch": {"checks", "formula", "kernels", "losses"},
    "judge": {
        "checks", "information", "kernels", "losses", "mapped", "probabilities", "strict_json",
        "tensors",
    },
    "dask": {"checks", "data", "estimators", "fit", "ranks"},
    "calibrate": {
        "checks", "estimators", "files", "mapped", "probabilities", "ranks", "tensors",
    },
    # what people look at
    "explain": {
        "calibrate", "checks", "estimators", "judge", "losses", "networks", "ranks", "rows",
        "strict_json",
    },
    "report": {
        "__init__", "calibrate", "checks", "fit", "judge", "mapped", "probabilities", "progress",
        "strict_json", "tensors",
    },
    # on top: no room imports them
    "cli": {
        "__init__", "calibrate", "checks", "data", "estimators", "exit_codes", "explain", "files",
        "fit", "information", "interruption", "judge", "kernels", "losses", "mapped", "networks",
        "probabilities", "progress", "ranks", "report", "rows", "strict_json",
    },
    "__main__": {"cli", "checks", "exit_codes"},
    # who is passed a tensor is the only one to open the torch room
    "dispatch": {"checks", "torch"},
    # the public names: the walk at once, the heavy rooms when first asked for
    "__init__": {
        "checks", "dispatch", "experiments", "information", "interruption", "linear", "losses",
        "probabilities",
    },
}  # fmt: skip
LATE = {"estimators", "judge"}
# Who asks a room to its right, inside a function, when it is asked for what that room makes.
WHEN_ASKED = {"bridle.judge.evaluation": "report"}  # Evaluation.to_html

# What `import bridle` must never load: each takes longer than the rest together, or is optional.
HEAVY = {
    "PIL", "dask", "distributed", "jinja2", "matplotlib", "numba", "pandas", "pyarrow", "rich",
    "safetensors", "sklearn", "torch", "triton", "typer",
}  # fmt: skip


def room_of(module: str) -> str:
    """Return ``losses`` for ``bridle.losses.binary``, and ``__init__`` for ``bridle``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imported_modules(source: str, module: str, *, is_package: bool) -> Iterator[tuple[int, str]]:
    """Yield ``(line, module of ours)`` for each import in a source, wherever in it that stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for name in node.names:
                if name.name.split(".")[0] == "bridle":
                    yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if is_package else module.split(".")[:-1]
                package = package[: len(package) - node.level + 1]
                base = ".".join([*package, *([node.module] if node.module else [])])
            if base == "bridle":
                for name in node.names:
                    is_room = name.name in MAY_IMPORT and name.name != "__init__"
                    yield node.lineno, f"bridle.{name.name}" if is_room else "bridle"
            elif base.split(".")[0] == "bridle":
                yield node.lineno, base
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            text = node.args[0].value if isinstance(node.args[0], ast.Constant) else ""
            if str(text).split(".")[0] == "bridle":
                yield node.lineno, str(text)


def for_types_only(source: str) -> set[int]:
    """Return the lines under ``if TYPE_CHECKING``, which never run."""
    return {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def within_functions(source: str) -> set[int]:
    """Return the lines that run only when a function is called."""
    return {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef)
        for line in range(node.lineno + 1, (node.end_lineno or node.lineno) + 1)
    }


def violations(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """Return what a module imports against the rules; an import for types alone counts too."""
    room = room_of(module)
    allowed = MAY_IMPORT[room] | {room}
    unseen = for_types_only(source) if room == "__init__" else set()
    late = within_functions(source) if module in WHEN_ASKED else set()
    return [
        f"{module}, line {line}: {room} may not import {target}"
        for line, target in imported_modules(source, module, is_package=is_package)
        if room_of(target) not in allowed
        and not (line in unseen and room_of(target) in LATE)
        and not (line in late and room_of(target) == WHEN_ASKED[module])
    ]


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def test_imports_go_in_one_direction() -> None:
    found = [
        problem
        for module, path in modules()
        for problem in violations(
            path.read_text(encoding="utf-8"), module, is_package=path.name == "__init__.py"
        )
    ]
    assert found == []


# Within the fit: solvers, which ask, know no rows; readers, which answer, know no solver.
FIT_MAY_IMPORT = {
    "problem": {"arrays", "precision", "problem", "requests"},
    "requests": {"arrays", "precision", "requests"},
    "solvers": {"arrays", "precision", "problem", "report", "requests", "solvers", "threads"},
    "readers": {"arrays", "precision", "readers", "requests", "threads"},
}
KNOWS_ROWS = {"readers"}


def test_no_solver_knows_rows() -> None:
    for module, path in modules():
        parts = module.split(".")
        if parts[1:2] != ["fit"] or len(parts) < 3 or parts[2] not in FIT_MAY_IMPORT:
            continue
        source = path.read_text(encoding="utf-8")
        found = imported_modules(source, module, is_package=path.name == "__init__.py")
        for line, target in found:
            if target == "bridle.rows":
                assert parts[2] in KNOWS_ROWS, f"{module}, line {line}"
            elif target.startswith("bridle.fit."):
                assert target.split(".")[2] in FIT_MAY_IMPORT[parts[2]], f"{module}, line {line}"


def test_every_room_has_a_rule_and_every_rule_a_room() -> None:
    rooms = {room_of(module) for module, _ in modules()}
    assert rooms - set(MAY_IMPORT) == set()
    assert set().union(*MAY_IMPORT.values()) <= set(MAY_IMPORT)


def test_the_rules_have_no_circle() -> None:
    waiting = {room: set(needs) for room, needs in MAY_IMPORT.items()}
    while waiting:
        ready = {room for room, needs in waiting.items() if not needs & set(waiting)}
        assert ready, f"a circle among {sorted(waiting)}"
        waiting = {room: needs for room, needs in waiting.items() if room not in ready}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("bridle.checks", "import bridle.rows"),
        ("bridle.checks", "from bridle import kernels"),
        ("bridle.probabilities", "from bridle.losses import nll"),
        ("bridle.probabilities", "from bridle.losses.binary import binary_cross_entropy"),
        ("bridle.losses.binary", "from bridle import softmax"),
        ("bridle.losses.binary", "import bridle"),
        ("bridle.losses.binary", "from ..fit import SoftmaxRegression"),
        ("bridle.losses.binary", "from .. import fit"),
        ("bridle.kernels.numpy.reference", "from bridle import checks"),
        ("bridle.judge.evaluation", "def late():\n    from bridle.fit import FitReport"),
        ("bridle.judge.evaluation", "import importlib\nimportlib.import_module('bridle.cli')"),
        ("bridle.judge.evaluation", "from bridle.report import page"),
        ("bridle.judge.metrics", "def late():\n    from bridle.report import page"),
        ("bridle.judge.evaluation", "if TYPE_CHECKING:\n    from bridle.data import Dataset"),
        ("bridle.fit.solver", "from bridle.judge import evaluate"),
        ("bridle.data.loading", "from bridle import cli"),
        ("bridle", "from bridle.fit import SoftmaxRegression"),
        ("bridle", "if TYPE_CHECKING:\n    from bridle.cli import app"),
    ],
)  # fmt: skip
def test_the_checker_catches_an_import_against_the_rules(module: str, source: str) -> None:
    assert len(violations(source, module, is_package=module == "bridle")) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("bridle.losses.binary", "from bridle import checks\nimport numpy\nfrom bridles import x"),
        ("bridle.losses.binary", "from .reduction import reduce_losses\nfrom ..kernels import x"),
        ("bridle.cli.app", "import bridle"),
        ("bridle.judge.evaluation", "def to_html():\n    from bridle.report import page"),
        ("bridle", "from bridle.losses import nll"),
        ("bridle", "if TYPE_CHECKING:\n    from bridle.estimators import SoftmaxRegression"),
    ],
)
def test_the_checker_lets_the_others_pass(module: str, source: str) -> None:
    assert violations(source, module, is_package=module == "bridle") == []


def loaded_after(statements: str) -> set[str]:
    """Return the heavy modules that a fresh interpreter has loaded after some statements."""
    program = f"import sys\n{statements}\nprint(*(sys.modules.keys() & set({sorted(HEAVY)})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_import_is_light_and_a_loss_stays_so() -> None:
    assert loaded_after("import bridle") == set()
    assert loaded_after("import bridle; bridle.cross_entropy_gradient([[1.0, 2]], [0])") == set()


def test_a_late_name_loads_its_room_when_asked_for() -> None:
    assert "sklearn" in loaded_after("import bridle; bridle.SoftmaxRegression")
    assert set(bridle.__all__) <= set(dir(bridle))
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        bridle.no_such_name  # type: ignore[attr-defined]  # noqa: B018


def test_public_names_are_sorted_and_all_there() -> None:
    assert bridle.__all__ == sorted(bridle.__all__)
    for name in bridle.__all__:
        assert getattr(bridle, name) is not None


@pytest.mark.parametrize("name", bridle.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    thing = getattr(bridle, name)
    text = inspect.getdoc(thing)
    assert text
    if not (inspect.isclass(thing) and issubclass(thing, Exception)):
        assert "Examples\n--------\n>>> " in text


def test_who_reads_files_asks_whether_they_are_there_as_files_does() -> None:
    """`Path.exists` and its kind say no, from Python 3.14 on, where they cannot tell."""
    asking = {
        path.relative_to(PACKAGE).as_posix()
        for room in ("cli", "data", "estimators")
        for path in (PACKAGE / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"exists", "is_file", "is_dir"}
    }
    assert asking == {"data/files.py"}  # of a member of an archive
