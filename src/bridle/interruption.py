"""Ctrl-C while the command starts: a line and an exit code.

Importing NumPy and scikit-learn takes a second, in which an interruption would end in a traceback
from wherever it struck, or in an error of a library that was half imported. Until there is
something to keep, the process leaves at once; from then on an interruption is Python's own.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import pairwise
from typing import Any

from bridle import exit_codes


def leave_at_once() -> None:
    """From now on an interruption ends the process; not where it is ignored or handled already."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def raise_again() -> None:
    """From now on an interruption is a KeyboardInterrupt, as ever."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def is_starting_command() -> bool:
    """Tell whether this process was started as ``bridle`` or ``python -m bridle``."""
    as_module = ("-m", "bridle") in pairwise(sys.orig_argv)
    return as_module or [os.path.basename(name) for name in sys.argv[:1]] == ["bridle"]


def _leave(*_: Any) -> None:
    os.write(2, b"bridle: interrupted\n")
    os._exit(exit_codes.INTERRUPTED)
