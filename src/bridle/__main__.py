"""``bridle`` and ``python -m bridle``: the command, or the line that installs it."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress

from bridle import checks, exit_codes


def main() -> int:
    """Run the command and return its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The same text as in the files we write, whatever the terminal or pipe is set to.
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        checks.require("typer", extra="cli", purpose="the bridle command")
    except checks.MissingExtraError as error:
        print(f"bridle: {error}", file=sys.stderr)
        return exit_codes.REFUSED
    from bridle.cli import run

    try:
        code = run(sys.argv[1:])
        if sys.stdout is not None:  # which a shell may have closed
            sys.stdout.flush()  # when Python ends is too late to say that it failed
    except OSError as error:
        is_unread = isinstance(error, BrokenPipeError)
        if not is_unread:
            with suppress(OSError):
                print(f"bridle: {error.strerror}", file=sys.stderr)
        _discard_what_cannot_be_printed()
        return exit_codes.UNREAD if is_unread else exit_codes.REFUSED
    return code


def _discard_what_cannot_be_printed() -> None:
    """Keep Python from trying again when it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    sys.exit(main())
