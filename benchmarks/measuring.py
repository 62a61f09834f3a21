"""What the benchmarks share: time, memory and the machine's own business, from the system."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Call = Callable[[], object]


def seconds(call: Call) -> float:
    """Return how long a call takes."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def processor_seconds() -> tuple[float, float, float]:
    """Return the machine's processor time so far, how much of it was busy, how much was ours."""
    first = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    ticks = [int(number) / os.sysconf("SC_CLK_TCK") for number in first]
    own = os.times()
    idle = ticks[3] + ticks[4]
    ours = own.user + own.system + own.children_user + own.children_system
    return sum(ticks), sum(ticks) - idle, ours


def share_of_others(before: tuple[float, float, float]) -> float:
    """Return the share of the processor that other processes took since `processor_seconds`."""
    pairs = zip(processor_seconds(), before, strict=True)
    all_of_them, busy, own = (after - earlier for after, earlier in pairs)
    return max(0.0, busy - own) / all_of_them


def extra_memory(call: Call) -> int:
    """Return the bytes that a call adds at its peak; it has been called before."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = status("VmRSS")
    call()
    return status("VmHWM") - before


def status(field: str) -> int:
    """Return a number of bytes from this process's status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


def in_own_process(file: str, *arguments: str, timeout: float | None = None) -> Any:
    """Run a benchmark's file with arguments, and return what it prints.

    It is killed after so many seconds, and `subprocess.TimeoutExpired` raised.
    """
    command = [sys.executable, file, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])
