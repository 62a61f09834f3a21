"""scikit-learn's callbacks (its enhancement proposal 23): a fit tells of its tasks.

scikit-learn has them from version 1.9 on; before, `CallbackSupport` is empty.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

_theirs: Any = None
if importlib.util.find_spec("sklearn.callback") is not None:
    _theirs = importlib.import_module("sklearn.callback")


class _NoCallbacks:
    """Nothing: scikit-learn before 1.9."""


CallbackSupport: Any = _NoCallbacks if _theirs is None else _theirs.CallbackSupportMixin


def with_callbacks(fit: Function) -> Function:
    """Return a method that lets callbacks go when it ends, however it does."""
    return fit if _theirs is None else _theirs.with_callbacks(fit)


# Attributes of the estimator as if the fit had ended, worked out if a callback asks for them.
Fitted = Callable[[], Mapping[str, Any]]


class Tasks:
    """The tasks that a fit consists of, one after the other: passes over the data, or epochs.

    Where nobody set callbacks there are none, and nothing is told.
    """

    def __init__(self, estimator: Any, name: str, X: Any, y: Any, sample_weight: Any) -> None:
        self._name = name
        self._context: Any = None
        self._task: Any = None
        weights = None if sample_weight is None else {"sample_weight": sample_weight}
        self._given = {"estimator": estimator, "X": X, "y": y, "metadata": weights}
        if getattr(estimator, "_skl_callbacks", None):
            self._context = estimator._init_callback_context(max_subtasks=None)
            self._context.call_on_fit_task_begin(**self._given)
            self._begin(None)

    @property
    def are_heard(self) -> bool:
        """Whether there are callbacks."""
        return self._context is not None

    def next(self, fitted: Fitted) -> bool:
        """End a task and begin the next; tell whether a callback wants the fit to end."""
        assert self._task is not None
        wants_end = self._task.call_on_fit_task_end(**self._given, reconstruction_attributes=fitted)
        self._begin(fitted)
        return bool(wants_end)

    def end(self, fitted: Fitted) -> None:
        """End the last task, which had nothing to do, and the fit."""
        if self._context is not None and self._task is not None:
            self._task.call_on_fit_task_end(estimator=self._given["estimator"])
            self._context.call_on_fit_task_end(**self._given, reconstruction_attributes=fitted)

    def _begin(self, fitted: Fitted | None) -> None:
        assert self._context is not None
        self._task = self._context.subcontext(task_name=self._name)
        self._task.call_on_fit_task_begin(**self._given, reconstruction_attributes=fitted)
