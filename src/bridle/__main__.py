"""``bridle`` and ``python -m bridle``: the command, or the line that installs it."""

from __future__ import annotations

import sys

from bridle import checks


def main() -> int:
    """Run the command and return its exit code."""
    try:
        checks.require("typer", extra="cli", purpose="the bridle command")
    except checks.MissingExtraError as error:
        print(f"bridle: {error}", file=sys.stderr)
        return 2
    from bridle.cli import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
