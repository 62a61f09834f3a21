"""Processors are counted as they are; pieces give the same bits on any number of threads."""

from __future__ import annotations

import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asking import evaluated, stated
from bridle.fit.readers import dense
from bridle.kernels import processors
from bridle.rows import Rows


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a machine whose files say what a test wants."""
    monkeypatch.setattr(processors, "_CGROUPS", tmp_path)
    monkeypatch.setattr(processors, "_OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr(processors, "_LOAD", tmp_path / "load")
    monkeypatch.setattr(processors, "_last", (-1, 0, 1))
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    processors.available.cache_clear()
    yield tmp_path
    processors.available.cache_clear()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_affinity_and_quota_and_a_number_that_is_told(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert processors.available() == 6
    processors.available.cache_clear()
    write(machine / "own", "0::/outer/inner\n")
    write(machine / "outer" / "cpu.max", "350000 100000\n")
    write(machine / "outer" / "inner" / "cpu.max", "max 100000\n")
    assert processors.available() == 3
    processors.available.cache_clear()
    write(machine / "own", "4:cpu,cpuacct:/docker\n3:memory:/docker\n")
    write(machine / "cpu" / "docker" / "cpu.cfs_quota_us", "50000")
    write(machine / "cpu" / "docker" / "cpu.cfs_period_us", "100000")
    assert processors.available() == 1
    processors.available.cache_clear()
    monkeypatch.setenv("NUMBA_NUM_THREADS", "5")
    assert processors.available() == 5


@pytest.mark.parametrize(
    ("load", "free"),
    [
        ("0.10 0.20 0.30 1/99 7", 6),  # one runs: this one
        ("9.99 0.20 0.30 3/99 7", 6),  # two others, and eight processors
        ("0.10 0.20 0.30 7/99 7", 2),
        ("0.10 0.20 0.30 50/99 7", 1),
        ("no such text", 6),
        (None, 6),
    ],
)
def test_what_others_use_is_not_free(machine: Path, load: str | None, free: int) -> None:
    if load is not None:
        write(machine / "load", load)
    assert processors.free() == free


def test_the_count_is_asked_anew_after_a_while(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = itertools.count()
    monkeypatch.setattr("bridle.kernels.processors.time.monotonic", lambda: next(now) * 1.0)
    for running, free in (("1", 6), ("8", 1), ("4", 5)):
        write(machine / "load", f"0 0 0 {running}/99 7")
        assert processors.free() == free


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_are_added_in_order(threads: int) -> None:
    added: list[int] = []
    slow = threading.Event()

    def work(item: int) -> int:
        if item == 0 and threads > 1:
            slow.wait()  # the first takes longer than some others
        elif item >= 2:
            slow.set()
        return item**2

    processors.in_order(iter(range(40)), work, added.append, threads)
    assert added == [item**2 for item in range(40)]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("where", ["items", "work", "add"])
def test_an_error_ends_the_work(where: str, threads: int) -> None:
    def failing(place: str, item: int) -> int:
        if where == place and item == 7:
            raise ValueError("so")
        return item

    def items() -> Any:
        for item in range(40):
            yield failing("items", item)

    def add(item: int) -> None:
        failing("add", item)

    with pytest.raises(ValueError, match="so"):
        processors.in_order(items(), lambda item: failing("work", item), add, threads)


@pytest.mark.parametrize("where", ["items", "work", "add"])
def test_an_error_in_one_thread_leaves_nothing_for_the_others_to_wait_for(where: str) -> None:
    def failing(place: str, item: int) -> int:
        if where == place:
            raise ValueError("so")
        return item

    def add(item: int) -> None:
        failing("add", item)

    items = (failing("items", item) for item in range(40))
    queue = processors._Ordered(items, lambda item: failing("work", item), add, 2)
    with ThreadPoolExecutor(1) as pool:
        assert isinstance(pool.submit(queue.run).exception(), ValueError)
    queue.run()  # of another thread, which has nothing to do
    with pytest.raises(ValueError, match="so"):
        queue.check()


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("soft", [False, True])
def test_a_pass_has_the_same_bits_on_any_number_of_threads(
    dtype: Any, soft: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    X = random.normal(size=(5000, 40)).astype(dtype)
    y = random.dirichlet(np.ones(70), 5000) if soft else random.integers(0, 70, 5000)
    weight = random.integers(0, 3, 5000).astype(float)
    objective, reader = stated(Rows([X[:3000], X[3000:]]), y, 70, sample_weight=weight)
    parameters = random.normal(size=objective.shape) / 10
    assert reader.in_pieces()
    found = []
    for count in (1, 2, 4):
        monkeypatch.setattr(dense, "free", lambda count=count: count)
        found.append(evaluated(objective, reader, parameters))
    reader.memory_budget = 1
    assert not reader.in_pieces()
    whole = evaluated(objective, reader, parameters)
    for point in found:
        assert point.value == found[0].value
        np.testing.assert_array_equal(point.gradient, found[0].gradient)
        np.testing.assert_allclose(point.gradient, whole.gradient, rtol=0, atol=1e-14)
        assert point.value == pytest.approx(whole.value, rel=1e-14)
