"""What every test shares: the hypothesis profiles, and marks that are not ours."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

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


def pytest_configure(config: pytest.Config) -> None:
    for mark in FOREIGN_MARKS:
        config.addinivalue_line("markers", f"{mark}: SciPy's or scikit-learn's own")
