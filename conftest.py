"""Doctests are collected from every module; those of absent extras are left out."""

from importlib.util import find_spec

collect_ignore: list[str] = []
if find_spec("torch") is None:
    collect_ignore += ["src/bridle/torch"]
if find_spec("triton") is None:
    collect_ignore += ["src/bridle/kernels/triton"]
