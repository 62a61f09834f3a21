"""What is compiled, when, and what the cache on disk holds: no needless or silent compilation."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bridle
from bridle import NetworkClassifier
from bridle.networks import compiled, training
from bridle.networks.epoch import Rule, Samples


def plan(count: int, width: int, epochs: int) -> tuple[training.Plan, Samples]:
    kind = compiled.Kind("sigmoid", "softmax", "log_likelihood", 0.0, 0.0)
    rule = Rule("sgd", 0.5, 0.0, 32)
    samples = Samples(
        np.broadcast_to(np.float32(0), (count, width)),
        np.zeros(count, np.int64),
        np.zeros((0, 10), np.float32),
        np.ones(count, np.float32),
    )
    return training.Plan(kind, (width, 30, 10), rule, epochs, 0), samples


def test_small_trainings_do_without_the_compiler() -> None:
    assert training.is_small(*plan(1438, 64, 30))  # the digits, as `bridle compare` takes them
    assert not training.is_small(*plan(1438, 64, 3000))
    assert not training.is_small(*plan(60_000, 784, 1))


def process(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bridle", *arguments],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )


def test_a_small_comparison_compiles_nothing(tmp_path: Path) -> None:
    answer = process(tmp_path, "compare", "digits", "--epochs", "3")
    assert answer.stderr == ""
    assert list(tmp_path.rglob("*.nbc")) == []


def test_a_compilation_is_told_once_for_a_machine(tmp_path: Path) -> None:
    arguments = ("train", "digits", "--hidden", "2", "--epochs", "90", "--batch-size", "32")
    first = process(tmp_path, *arguments)
    assert first.stderr.startswith("bridle: compiling the training for this machine, once")
    assert first.stderr.count("\n") == 1
    assert process(tmp_path, *arguments).stderr == ""
    assert list(tmp_path.rglob("*.nbc"))


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_both_ways_train_alike(monkeypatch: pytest.MonkeyPatch, solver: str) -> None:
    random = np.random.default_rng(0)
    X, y = random.normal(size=(90, 7)), random.integers(0, 3, 90)
    arguments: dict[str, Any] = {"max_epochs": 5, "solver": solver, "learning_rate": 0.01}
    with training.sparing_the_compiler():
        monkeypatch.setattr(training, "compiled_epoch", None)
        plain = NetworkClassifier((4,), random_state=0, **arguments).fit(X, y)
        monkeypatch.undo()
    other = NetworkClassifier((4,), random_state=0, **arguments).fit(X, y)
    for one, two in zip(plain.coefs_, other.coefs_, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-12)


GRADIENT = """
import numpy as np
from bridle.kernels.numba import row_kernels
scores, one = np.zeros((1, 2)), np.ones(1)
parts = row_kernels.row_parts(scores, np.array([1]))
print(*row_kernels.row_gradient(scores, parts, np.array([1]), one, t=one, out=scores)[0])
"""
ADAM = """
import numpy as np
import bridle
from bridle import NetworkClassifier
from bridle.networks import training
random = np.random.default_rng(0)
X, y = random.normal(size=(8, 2)), random.integers(0, 2, 8)
network = NetworkClassifier((2,), random_state=0, max_epochs=3, batch_size=4, solver="adam")
compiled = network.fit(X, y).coefs_[0].copy()
training.compiled_epoch = None
with training.sparing_the_compiler():
    plain = network.fit(X, y).coefs_[0]
np.testing.assert_allclose(compiled, plain, rtol=1e-9)
print(plain[0, 0])
"""


def answer_of(program: str, package: Path) -> str:
    """Return what a program prints that imports the package from this folder."""
    places = {"PYTHONPATH": str(package), "NUMBA_CACHE_DIR": str(package / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **places},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_edited_helper_in_another_file_is_compiled_anew(tmp_path: Path) -> None:
    shutil.copytree(Path(bridle.__file__).parent, tmp_path / "bridle")
    assert answer_of(GRADIENT, tmp_path) == "0.5 -0.5"
    compiled = sorted((tmp_path / "cache").rglob("*.nbc"))
    times = [path.stat().st_mtime_ns for path in compiled]
    assert answer_of(GRADIENT, tmp_path) == "0.5 -0.5"
    assert [path.stat().st_mtime_ns for path in compiled] == times  # read, not written
    helper = tmp_path / "bridle/kernels/numba/arguments.py"
    text = helper.read_text(encoding="utf-8")
    edited = text.replace("return np.float64(values[", "return 2.0 * np.float64(values[")
    assert edited != text
    helper.write_text(edited, encoding="utf-8")
    assert answer_of(GRADIENT, tmp_path) == "1.0 -1.0"


def test_a_cache_that_names_a_class_of_older_sources_is_no_error(tmp_path: Path) -> None:
    shutil.copytree(Path(bridle.__file__).parent, tmp_path / "bridle")
    assert answer_of(GRADIENT, tmp_path) == "0.5 -0.5"
    arguments = tmp_path / "bridle/kernels/numba/arguments.py"
    assert "class JobParts" in arguments.read_text(encoding="utf-8")
    for path in (tmp_path / "bridle/kernels/numba").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("JobParts", "PartsOfJobs"), encoding="utf-8")
    assert answer_of(GRADIENT, tmp_path) == "0.5 -0.5"


def test_an_edited_constant_of_a_network_is_compiled_anew(tmp_path: Path) -> None:
    shutil.copytree(Path(bridle.__file__).parent, tmp_path / "bridle")
    before = answer_of(ADAM, tmp_path)
    rule = tmp_path / "bridle/networks/epoch.py"
    text = rule.read_text(encoding="utf-8")
    edited = re.sub(r"^BETA_1.*$", "BETA_1, BETA_2, EPSILON = 0.5, 0.9, 1e-4", text, flags=re.M)
    assert edited != text
    rule.write_text(edited, encoding="utf-8")
    assert answer_of(ADAM, tmp_path) != before  # and the program holds it against the plain one
