"""Losses over a sharded vocabulary: the cases of `shard_suite`, on 2, 3 and 4 ranks."""

from __future__ import annotations

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
LEAST_CASES = 30  # a suite of none would pass as well


def test_every_case_on_two_three_and_four_ranks(tmp_path: Path) -> None:
    """One test, because one set of processes serves all cases: each would start its own."""
    target = tmp_path / "report.json"
    done = subprocess.run([sys.executable, str(SUITE), str(target)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    reports = json.loads(target.read_text(encoding="utf-8"))
    cases = {
        size: {name for name in reports["0"] if name.startswith(f"{size} ")} for size in (2, 3, 4)
    }
    assert all(len(names) >= LEAST_CASES for names in cases.values())
    failures = [
        f"rank {rank} of {name}:\n{text}"
        for rank, report in reports.items()
        for name, text in report.items()
        if text is not None
    ]
    assert not failures, "\n".join(failures)
