"""What every test shares: the hypothesis profiles, marks that are not ours, and the command."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from commands import Answer, Command

# Timings never decide a test: a shared machine may be slow at any moment.
settings.register_profile(
    "default", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
# The same examples in every run: a red build means a changed program, not another die.
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

# The test files of SciPy and scikit-learn, some of which run against ours, carry these; strict
# marks must know them.
FOREIGN_MARKS = (
    "array_api_backends",
    "skip_xp_backends",
    "thread_unsafe",
    "uses_xp_capabilities",
    "xfail_xp_backends",
)


# Each has tests that take a minute or more. Begun last, one process would still be at them long
# after the others are done.
LONGEST = ("test_triton_kernels.py", "test_torch_shards.py", "test_compiling.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_configure(config: pytest.Config) -> None:
    for mark in FOREIGN_MARKS:
        config.addinivalue_line("markers", f"{mark}: SciPy's or scikit-learn's own")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command in this process; files named by a Path are given as text."""
    pytest.importorskip("typer", reason="the extra `cli` is not installed")
    from bridle.cli import run

    def call(*arguments: object) -> Answer:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Answer(code, *capsys.readouterr())

    return call
