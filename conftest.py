"""What all tests need first: what is collected, and each worker's share of the processors."""

import os
from importlib.util import find_spec

# Doctests are collected from every module; those of absent extras are left out.
collect_ignore: list[str] = []
if find_spec("torch") is None:
    collect_ignore += ["src/bridle/torch"]
if find_spec("triton") is None:
    collect_ignore += ["src/bridle/kernels/triton"]

# Several workers have their share of the processors each. A library's threads beyond it would wait
# for each other by spinning: fits took five times the processors' time. NumPy, SciPy and PyTorch
# read this when they are loaded, in the processes that tests start too.
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if _WORKERS > 1:
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(_name, str(max(1, (os.cpu_count() or 1) // _WORKERS)))
