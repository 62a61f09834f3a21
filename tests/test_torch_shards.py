"""Losses over a sharded vocabulary: each case of `shard_suite`, on 2, 3 and 4 ranks."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")

if not torch.distributed.is_available() or not hasattr(os, "fork"):
    pytest.skip("needs torch.distributed and processes that fork", allow_module_level=True)

SUITE = Path(__file__).parent / "shard_suite.py"


def cases() -> list[str]:
    """Return the names of the cases, without running the suite in this process."""
    tree = ast.parse(SUITE.read_text(encoding="utf-8"))
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(each) == "case" for each in node.decorator_list)
    ]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Run the suite once: what each rank reports of each case."""
    target = tmp_path_factory.mktemp("shards") / "report.json"
    done = subprocess.run([sys.executable, str(SUITE), str(target)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(target.read_text(encoding="utf-8"))


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("name", cases())
def test_on_ranks(reports: Any, name: str, size: int) -> None:
    found = {rank: reports[str(rank)][f"{size} {name}"] for rank in range(size)}
    failures = {rank: text for rank, text in found.items() if text is not None}
    assert not failures, "\n".join(f"rank {rank}: {text}" for rank, text in failures.items())


def test_there_are_cases() -> None:
    assert len(cases()) >= 25
