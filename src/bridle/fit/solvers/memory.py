"""The old name of `RememberedSteps`, for ``estimators/path.py`` until that imports the new one."""

from bridle.fit.solvers.remembered_steps import RememberedSteps as Memory

__all__ = ["Memory"]
