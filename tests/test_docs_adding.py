"""The pages on how to add something: their diffs apply, and their code runs."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import bridle

ROOT = Path(__file__).parents[1]
PACKAGE = Path(bridle.__file__).parent
PAGES = ["adding-a-backend", "adding-a-format", "adding-a-loss", "adding-a-metric",
         "adding-a-reader"]  # fmt: skip
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed"
)


class Hunk(NamedTuple):
    """A change of one file: lines that stand there before, and after."""

    file: str
    before: str
    after: str


def blocks(page: str, language: str) -> list[str]:
    """Return the blocks of code of a page in one language."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def hunks(page: str) -> Iterator[Hunk]:
    """Yield the hunks of a page's diffs; they have no line numbers, which would soon be wrong."""
    for block in blocks(page, "diff"):
        for part in re.split(r"^--- .*\n", block, flags=re.MULTILINE)[1:]:
            name, *changes = re.split(r"^@@\n", part, flags=re.MULTILINE)
            for change in changes:
                lines = change.splitlines()
                assert all(line[:1] in {"", " ", "+", "-"} for line in lines), change
                before, after = (
                    "".join(f"{line[1:]}\n" for line in lines if line[:1] not in {sign})
                    for sign in ("+", "-")
                )
                yield Hunk(name.strip().removeprefix("+++ b/src/bridle/"), before, after)


def applied(page: str, folder: Path) -> Path:
    """Return a copy of the package with a page's diffs, in a folder to import it from."""
    copy = folder / "bridle"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for file, before, after in hunks(page):
        path = copy / file
        if before:
            content = path.read_text(encoding="utf-8")
            assert content.count(before) == 1, f"{file} has not once:\n{before}"
            path.write_text(content.replace(before, after), encoding="utf-8")
        else:
            assert not path.exists()
            path.write_text(after, encoding="utf-8")
    return folder


def run(page: str, folder: Path, source: Path) -> None:
    """Run all Python of a page as one program that imports the package from ``source``."""
    program = folder / "page.py"
    program.write_text("\n".join(blocks(page, "python")), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(program)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", ["adding-a-format", "adding-a-metric"])
def test_a_diff_makes_a_package_in_which_the_code_runs(page: str, tmp_path: Path) -> None:
    source = applied(page, tmp_path / "source")
    run(page, tmp_path, source)


@pytest.mark.parametrize(
    "page", ["adding-a-reader", pytest.param("adding-a-backend", marks=needs_torch)]
)
def test_what_needs_no_change_of_the_package_runs_beside_it(page: str, tmp_path: Path) -> None:
    assert not list(hunks(page))
    run(page, tmp_path, PACKAGE.parent)


@needs_torch
def test_the_loss_that_the_page_adds_is_the_one_that_ships(tmp_path: Path) -> None:
    found = list(hunks("adding-a-loss"))
    assert len(found) >= 8
    for file, _, after in found:
        assert after in (PACKAGE / file).read_text(encoding="utf-8"), f"{file} has not:\n{after}"
    run("adding-a-loss", tmp_path, PACKAGE.parent)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_found_and_what_it_names_is_there(page: str) -> None:
    for reader in ("README.md", "docs/architecture.md"):
        assert f"{page}.md" in (ROOT / reader).read_text(encoding="utf-8")
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert (ROOT / "docs" / link).exists(), link
    for name in re.findall(r"`(tests/\w+\.py)`", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"`((?:data|judge|kernels|fit|formula|losses|torch)/[\w/]+\.py)`", text):
        assert (PACKAGE / name).exists() or name in {hunk.file for hunk in hunks(page)}, name


def test_no_page_is_forgotten() -> None:
    assert sorted(path.stem for path in (ROOT / "docs").glob("adding-*.md")) == PAGES
