"""The kernels for an NVIDIA GPU, compiled by Triton."""
