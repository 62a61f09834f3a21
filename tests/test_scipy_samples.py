"""SciPy's own tests of its softmax family, run against ours where the signature is shared.

Ours takes the last axis by default, theirs the whole array. Ours knows no complex numbers: the
tests of those are listed as left out, so that a test which a new SciPy brings is noticed.
"""

from __future__ import annotations

import inspect
import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import bridle

Array = npt.NDArray[Any]


def scipy_tests() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(
            "scipy.special.tests.test_logsumexp",
            reason="this SciPy came without its tests",
            exc_type=ImportError,
        )


THEIRS = scipy_tests()

OURS: dict[str, Callable[..., Array]] = {
    "logsumexp": lambda a, axis=None, **options: bridle.logsumexp(a, axis=axis, **options),
    "softmax": lambda x, axis=None: bridle.softmax(x, axis=axis),
    "log_softmax": lambda x, axis=None: bridle.log_softmax(x, axis=axis),
}

RUN = {
    "TestLogSumExp": {
        "test_logsumexp",
        "test_xp_invalid_input",
        "test_array_like",
        "test_dtypes_a",  # its complex cases are left out
        "test_gh18295",
        "test_gh23548",
        "test_gh22903",
        "test_dtypes_ab",
        "test_logsumexp_b_shape",
        "test_logsumexp_b_zero",
        "test_logsumexp_shape",
        "test_logsumexp_sign_shape",
        "test_logsumexp_sign_zero",
        "test_logsumexp_sign",
        "test_logsumexp_b",
        "test_gh22601_infinite_elements",  # its complex cases are left out
    },
    "TestSoftmax": {
        "test_softmax_fixtures",
        "test_softmax_multi_axes",
        "test_softmax_int_array",
        "test_softmax_scalar",
        "test_softmax_array_like",
    },
    "TestLogSoftmax": {
        "test_log_softmax_basic",
        "test_log_softmax_int_array",
        "test_log_softmax_scalar",
        "test_log_softmax_array_like",
        "test_log_softmax_translation",
        "test_log_softmax_noneaxis",
        "test_axes",
        "test_log_softmax_2d_axis1",
        "test_log_softmax_2d_axis0",
        "test_log_softmax_3d",
    },
}

LEFT_OUT = {
    "TestLogSumExp": {
        "test_logsumexp_complex_sign": "complex numbers",
        "test_gh21610": "complex numbers",
        "test_gh21709_small_imaginary": "complex numbers",
        "test_no_writeback": "b",  # our own tests ask the same of every function
        "test_device": "b, and arrays that are not NumPy's",
    },
    "TestSoftmax": {},
    "TestLogSoftmax": {},
}


def test_methods(test_class: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(test_class) if name.startswith("test")}


test_methods.__test__ = False  # type: ignore[attr-defined]


def cases(method: Callable[..., None]) -> Iterator[dict[str, Any]]:
    """Yield the arguments that SciPy's own parametrisation calls a test method with."""
    marks = [mark for mark in getattr(method, "pytestmark", []) if mark.name == "parametrize"]
    spread = []
    for mark in marks:
        names = [name.strip() for name in mark.args[0].split(",")]
        values = [value if len(names) > 1 else (value,) for value in mark.args[1]]
        spread.append([dict(zip(names, each, strict=True)) for each in values])
    for chosen in itertools.product(*spread):
        yield {name: value for part in chosen for name, value in part.items()}


def is_complex(arguments: dict[str, Any]) -> bool:
    return any(
        isinstance(value, complex) or str(value).startswith("complex")
        for value in arguments.values()
    )


@pytest.mark.parametrize("name", sorted(RUN))
def test_every_test_of_scipy_is_run_or_left_out_for_a_reason(name: str) -> None:
    known = RUN[name] | set(LEFT_OUT[name])
    present = test_methods(getattr(THEIRS, name))
    assert not RUN[name] & set(LEFT_OUT[name])
    assert present - known == set(), "a test that this list does not know yet"
    assert RUN[name] - present == set(), "a test that this SciPy no longer has"


@pytest.mark.parametrize(
    ("class_name", "method_name"), [(name, each) for name in RUN for each in sorted(RUN[name])]
)
def test_scipy(class_name: str, method_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    for name, function in OURS.items():

        def counted(*args: Any, function: Callable[..., Array] = function, **options: Any) -> Array:
            called.append(args)
            return function(*args, **options)

        monkeypatch.setattr(THEIRS, name, counted)
    tests = getattr(THEIRS, class_name)()
    method = getattr(tests, method_name)
    takes_xp = "xp" in inspect.signature(method).parameters
    run = 0
    for arguments in cases(method):
        if is_complex(arguments):
            continue
        # Their expectations are computed with NumPy, which warns of log 0 and inf − inf.
        with np.errstate(all="ignore"):
            method(**arguments, **({"xp": np} if takes_xp else {}))
        run += 1
    assert run > 0
    assert len(called) >= run
