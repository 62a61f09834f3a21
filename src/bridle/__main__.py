"""``bridle`` and ``python -m bridle``: the command, or the line that installs it."""

from __future__ import annotations

import io
import sys

from bridle import checks


def main() -> int:
    """Run the command and return its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The same text as in the files we write, whatever the terminal or pipe is set to.
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        checks.require("typer", extra="cli", purpose="the bridle command")
    except checks.MissingExtraError as error:
        print(f"bridle: {error}", file=sys.stderr)
        return 2
    from bridle.cli import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
