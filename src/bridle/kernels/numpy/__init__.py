"""The kernels in plain NumPy: the truth, and what serves small problems."""
