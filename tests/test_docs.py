"""Whatever a page shows is run: its Python, its commands, in the order of the page.

Each page has one folder and one namespace. A block that cannot run here stands below a comment
`<!-- not run: why -->`, and is listed as skipped. The pages on drop-ins and on how to add have
tests of their own, which run their Python and their diffs.
"""

from __future__ import annotations

import doctest
import re
import runpy
import shlex
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

import bridle

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {
    "README": ROOT / "README.md",
    "CONTRIBUTING": ROOT / "CONTRIBUTING.md",
    **{
        path.relative_to(DOCS).with_suffix("").as_posix(): path
        for path in sorted(DOCS.rglob("*.md"))
        if "_build" not in path.parts
    },
}
# Their Python and diffs are run by tests/test_docs_drop_in.py and tests/test_docs_adding.py.
OF_THEIR_OWN = re.compile(r"drop-in|adding-.*")
COMMANDS = {"console", "bash"}
RUN = {"python"} | COMMANDS
# Output; what Sphinx makes something of, which tests/test_docs_site.py builds.
SHOWN = {"text", "diff", "toml", "{commands}", "{include}", "{reference}", "{toctree}"}
OF_EXTRAS = {"dask", "distributed", "jinja2", "matplotlib", "pandas", "pyarrow", "torch", "typer"}
NOT_RUN = re.compile(r"<!-- not run: (\S.*?) -->\s*", re.DOTALL)
Names = dict[str, Any]
Array = npt.NDArray[Any]


class Block(NamedTuple):
    """A block of code of a page: where, in what language, and why it is not run, if it is not."""

    page: str
    line: int
    language: str
    text: str
    why_not: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: str) -> list[Block]:
    """Return every block of code of a page, in its order; an indented one has no language."""
    markdown = pytest.importorskip("markdown_it", reason="what reads Markdown is not installed")
    found, above = [], ""
    for token in markdown.MarkdownIt("commonmark").parse(PAGES[page].read_text(encoding="utf-8")):
        if token.type in {"fence", "code_block"}:
            language = (token.info.split() or [""])[0]
            why_not = NOT_RUN.fullmatch(above)
            line = token.map[0] + 1
            found.append(
                Block(page, line, language, token.content, why_not[1] if why_not else None)
            )
        above = token.content if token.type == "html_block" else ""
    return found


def runs(block: Block) -> bool:
    """Return whether a block is run here."""
    here = block.language in COMMANDS or not OF_THEIR_OWN.fullmatch(block.page)
    return block.language in RUN and not block.why_not and here


UNRUN = [block for page in PAGES for block in blocks(page) if block.why_not]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_of_a_kind_that_is_known(page: str) -> None:
    for block in blocks(page):
        known = block.language in RUN | SHOWN
        assert known, f"{block}: neither run nor shown: {block.language!r}, {block.text[:60]!r}"
        assert block.why_not is None or block.language in RUN, f"{block} would not be run anyway"


@pytest.mark.parametrize("block", UNRUN, ids=str)
def test_what_is_not_run_says_why(block: Block) -> None:
    pytest.skip(f"{block}: {' '.join((block.why_not or '').split())}")


@pytest.mark.parametrize("page", [page for page in PAGES if any(runs(b) for b in blocks(page))])
def test_what_a_page_shows_runs(
    page: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    # What a block defines is of a module, as the classes of what is pickled are.
    module = ModuleType(f"page_{page}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    names = vars(module)
    with skipped_without_extras(), SUPPLIED.get(page, nothing)(names):
        for block in filter(runs, blocks(page)):
            if block.language in COMMANDS:
                run_commands(block, capsys)
            else:
                run_python(block, names)


@contextmanager
def skipped_without_extras() -> Iterator[None]:
    """Skip a page that asks for a library that only an extra brings, where it is not installed."""
    try:
        yield
    except ImportError as error:
        module = (error.name or "").partition(".")[0]
        if isinstance(error, bridle.MissingExtraError) or module in OF_EXTRAS:
            pytest.skip(f"an extra is not installed: {error}")
        raise


def run_python(block: Block, names: Names) -> None:
    """Run a block of Python, as a session if it shows one."""
    where = str(PAGES[block.page])
    if block.text.startswith(">>> "):
        session = doctest.DocTestParser().get_doctest(block.text, {}, str(block), where, block.line)
        session.globs = names
        told = list[str]()
        flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
        doctest.DocTestRunner(optionflags=flags).run(session, out=told.append, clear_globs=False)
        assert not told, "".join(told)
    else:  # in the lines of the page, for the traceback
        exec(compile("\n" * block.line + block.text, where, "exec"), names)


def run_commands(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    """Run the commands of a block; what stands below one after `$` has to be what it prints."""
    for line, shown in commands_of(block.text):
        words = shlex.split(line, comments=True)
        capsys.readouterr()
        code = run(words)
        out, err = capsys.readouterr()
        if code and "pip install" in err:
            pytest.skip(f"an extra is not installed: {err}")
        assert code == 0, f"{block}: {line}: {err}"
        printed = {without_numbers(each) for each in out.splitlines()}
        for each in shown:
            assert without_numbers(each) in printed, f"{block}: {each!r} not in\n{out}"


def run(words: list[str]) -> int:
    """Run a command in this process; return its exit code."""
    if words[0] == "bridle":
        pytest.importorskip("typer", reason="the extra `cli` is not installed")
        from bridle.cli import run as run_bridle

        return run_bridle(words[1:])
    assert words[:2] == ["python", "-m"], f"neither bridle nor python -m, and not marked: {words}"
    runpy.run_module(words[2], run_name="__main__")
    return 0


def commands_of(text: str) -> list[tuple[str, list[str]]]:
    """Return the commands of a block, each with the lines that it is said to print."""
    lines = text.replace("\\\n", " ").splitlines()
    if not any(line.startswith("$ ") for line in lines):
        return [(line, []) for line in lines if line.strip() and not line.startswith("#")]
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.strip() not in {"", "…"}:
            found[-1][1].append(line)
    return found


def without_numbers(line: str) -> str:
    """Return what of a line is the same on every machine: numbers may differ in a digit."""
    return re.sub(r"\s+", " ", re.sub(r"-?\d[\d.,]*(e[-+]?\d+)?", "0", line)).strip()


# What a page takes for granted ----------------------------------------------------------------


def blobs(rows: int, columns: int = 6, classes: int = 3) -> tuple[Array, Array]:
    """Return features and labels of classes that overlap a little."""
    random = np.random.default_rng(0)
    y = np.arange(rows) % classes
    centres = 2 * random.normal(size=(classes, columns))
    return (random.normal(size=(rows, columns)) + centres[y]).astype(np.float32), y


@contextmanager
def nothing(_names: Names) -> Iterator[None]:
    """Supply nothing: the page makes its data itself."""
    yield


@contextmanager
def reviews(_names: Names) -> Iterator[None]:
    """Lay out tables of reviews."""
    runpy.run_path(str(ROOT / "examples" / "make_reviews.py"), run_name="__main__")
    yield


@contextmanager
def readers_data(names: Names) -> Iterator[None]:
    """Lay out what the README's reader has: tables, arrays, answers, tensors."""
    torch = pytest.importorskip("torch", reason="the extra `torch` is not installed")
    runpy.run_path(str(ROOT / "examples" / "make_reviews.py"), run_name="__main__")
    run = '[fit]\ndata = "reviews.csv"\ntarget = "sentiment"\n'
    Path("run.toml").write_text(run, encoding="utf-8")
    X, y = blobs(120)
    np.save("embeddings.npy", X)
    np.save("y.npy", y)
    Path("huge").mkdir()
    for part, rows in enumerate((slice(0, 50), slice(50, 120))):
        np.save(f"huge/features-{part}.npy", X[rows])
    truth = [line.rpartition(",")[2] for line in Path("test.csv").read_text().splitlines()[1:]]
    others = [f"{i},{'ab'[i % 2]},{label},0.6,0.4" for i, label in enumerate(truth)]
    others.insert(0, "id,site,sentiment,good,bad")
    Path("others.csv").write_text("\n".join(others), encoding="utf-8")
    theirs = [f"{'neg' if i % 3 else 'pos'},0.{i % 7 + 2},0.{8 - i % 7}" for i in range(60)]
    Path("theirs.csv").write_text("\n".join(["truth,prob_neg,prob_pos", *theirs]), encoding="utf-8")
    Path("costs.csv").write_text("class,wait,operate\ngood,0,1\nbad,20,2\n", encoding="utf-8")
    names |= {"X": X[:90], "y": y[:90], "X_test": X[90:], "y_test": y[90:]}
    names |= {"X_new": X[90:], "y_new": y[90:], "scores": X[:, :3], "target": y}
    head = torch.nn.Linear(6, 3)
    names |= {"head": head, "hidden": torch.from_numpy(X), "labels": torch.from_numpy(y)}
    names["logits"] = head(names["hidden"])
    yield


@contextmanager
def one_rank(_names: Names) -> Iterator[None]:
    """Stand for torchrun, with one process: the only one of its group, which ends with the page."""
    distributed = pytest.importorskip(
        "torch.distributed", reason="the extra `torch` is not installed"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    with pytest.MonkeyPatch.context() as patched:
        for name, value in told.items():
            patched.setenv(name, str(value))
        try:
            yield
        finally:
            if distributed.is_initialized():
                distributed.destroy_process_group()


@contextmanager
def many_machines(names: Names) -> Iterator[None]:
    """Lay out what the first rank has, and a cluster in this process at the page's address."""
    distributed = pytest.importorskip("distributed", reason="the extra `dask` is not installed")
    array = pytest.importorskip("dask.array", reason="the extra `dask` is not installed")
    X, y = blobs(120)
    np.save("features-0.npy", X)
    np.save("labels-0.npy", y)
    names |= {"held_out": X[:30], "held_out_labels": y[:30]}
    for name in ("a", "b"):
        np.savez(f"{name}.npz", X=X, y=y)
    array.to_npy_stack("features", array.from_array(X, chunks=(40, -1)))
    array.to_npy_stack("labels", array.from_array(y, chunks=40))
    start = distributed.Client

    def at(address: str) -> Any:
        assert address == "tcp://scheduler:8786"
        return start(processes=False, n_workers=2, threads_per_worker=1, dashboard_address=None)

    with one_rank(names), pytest.MonkeyPatch.context() as patched:
        patched.setattr(distributed, "Client", at)
        try:
            yield
        finally:
            if "client" in names:
                names["client"].close()


@contextmanager
def a_group(names: Names) -> Iterator[None]:
    """Lay out what a rank of a group has: all rows of the weight, since it is the only one."""
    with one_rank(names):
        import torch
        from torch import distributed
        from torch.distributed.device_mesh import init_device_mesh

        distributed.init_process_group("gloo")
        generator = torch.Generator().manual_seed(0)
        weight = torch.randn(7, 5, generator=generator, requires_grad=True)
        names |= {"hidden": torch.randn(4, 5, generator=generator), "weight_local": weight}
        names |= {"labels": torch.tensor([0, 3, 6, 2]), "bridle": bridle}
        names |= {"tp_group": distributed.group.WORLD, "rows_group": distributed.group.WORLD}
        names["tp_mesh"] = init_device_mesh("cpu", (1,))
        yield


@contextmanager
def explained(_names: Names) -> Iterator[None]:
    """Lay out a table and a model to explain."""
    X, y = blobs(90)
    rows = [",".join([*map(str, x), "abc"[label]]) for x, label in zip(X, y, strict=True)]
    table = "\n".join(["a,b,c,d,e,f,label", *rows])
    Path("table.csv").write_text(table, encoding="utf-8")
    assert run(["bridle", "fit", "iris", "--out", "my-model", "--quiet"]) == 0
    yield


@contextmanager
def several_labels(names: Names) -> Iterator[None]:
    """Lay out samples with several labels each."""
    X, y = blobs(60)
    names |= {"bridle": bridle, "X": X, "Y": np.column_stack([y == 0, y < 2]).astype(int)}
    yield


SUPPLIED: dict[str, Callable[[Names], AbstractContextManager[None]]] = {
    "README": readers_data,
    "command": reviews,
    "explain": explained,
    "known-problems": one_rank,
    "many-machines": many_machines,
    "networks": several_labels,
    "sharded-vocabulary": a_group,
}
