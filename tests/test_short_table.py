"""The history of the short table: what a run adds to it, and what is kept."""

from __future__ import annotations

import csv
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def short() -> dict[str, Any]:
    """Return the names of the script, which measures nothing when it is loaded."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(BENCHMARKS))
        found = runpy.run_path(str(BENCHMARKS / "short.py"))
    assert "measuring" in sys.modules
    return found


def test_a_run_adds_its_lines(short: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    line = short["machine"]() | {"work": "loss, of 2", "seconds": "1", "peer": "p", "ratio": "2"}
    for run in range(2):
        short["append"]([line | {"others": str(run)}], path)
    found = list(csv.DictReader(path.open(encoding="utf-8")))
    assert [list(each) for each in found] == [list(short["FIELDS"])] * 2
    assert [each["others"] for each in found] == ["0", "1"]
    assert found[0]["work"] == "loss, of 2"
    assert found[0]["version"]


def test_the_history_that_is_kept_can_be_drawn(short: dict[str, Any]) -> None:
    runs = list(csv.DictReader(short["HISTORY"].open(encoding="utf-8")))
    assert runs
    for run in runs:
        assert tuple(run) == short["FIELDS"]
        assert run["work"] in short["WORK"]
        assert float(run["ratio"]) > 0
        assert float(run["seconds"]) > 0
