"""A fit of features on disk takes bounded memory, however many rows there are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

# More than what may stay of a mapped file, and several times what the fit may take.
ROWS, WIDTH, CLASSES = 1_100_003, 128, 20

SCRIPT = """
import json, sys, warnings
from pathlib import Path
import numpy as np
from bridle import SoftmaxRegression
from bridle.kernels.numba import dense_pass as cpu_pass

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

X, y = np.load("X.npy", mmap_mode="r"), np.load("y.npy")
before, told = peak(), []
warnings.simplefilter("ignore")
model = SoftmaxRegression(max_iter=3, tol=1e-3, memory_budget=2**26)
model.fit(X, y, progress=told.append)
scores = model.decision_function(X[:10])
print(json.dumps([before, peak(), len(told), model.fit_report_.objective, told[0].value]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc tells peak memory")
def test_half_precision_on_disk(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    means = random.normal(size=(CLASSES, WIDTH))
    y = random.integers(CLASSES, size=ROWS)
    X = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float16, (ROWS, WIDTH))
    for begin in range(0, ROWS, 50_000):
        rows = y[begin : begin + 50_000]
        X[begin : begin + 50_000] = means[rows] + 4 * random.normal(size=(len(rows), 1))
    X.flush()
    np.save(tmp_path / "y.npy", y)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    before, peak, told, objective, first = json.loads(done.stdout)
    assert X.nbytes > 2**28
    assert peak - before < 0.6 * X.nbytes
    assert told >= 4
    assert objective < first
