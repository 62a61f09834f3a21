"""scikit-learn's array API dispatch, in a process that told SciPy of it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_classifiers_of_other_libraries_arrays() -> None:
    pytest.importorskip("torch", reason="the extra `torch` is not installed")
    suite = Path(__file__).with_name("array_api_suite.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(suite)],
        env=os.environ | {"SCIPY_ARRAY_API": "1"},
        cwd=suite.parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if importlib.util.find_spec("array_api_strict") is None:
        pytest.skip("array_api_strict is not installed; PyTorch's part has passed")
