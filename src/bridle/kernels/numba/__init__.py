"""The kernels for a CPU, compiled by numba and threaded."""
