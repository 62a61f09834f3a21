"""``bridle help``: the same as ``--help``, and the manual page."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bridle import checks

EXAMPLES = ("bridle help fit", "bridle help --man | man -l -")


def _names(context: typer.Context, incomplete: str) -> list[str]:
    group: Any = context.find_root().command
    return [name for name in group.commands if name.startswith(incomplete)]


def show_help(
    context: typer.Context,
    command: Annotated[
        str | None,
        typer.Argument(
            help="The command to tell of; all of them if not given.",
            metavar="COMMAND",
            show_default=False,
            autocompletion=_names,
        ),
    ] = None,
    man: Annotated[
        bool, typer.Option("--man", help="Print the manual page of all commands, for man.")
    ] = False,
) -> None:
    """Tell what a command does, as its --help does."""
    root: Any = context.find_root()
    if man:
        if command is not None:
            raise checks.InputError(f"--man: expected without a command, found {command!r}")
        from bridle.cli import manual

        print(manual.page(root), end="")
        return
    if command is None:
        print(root.get_help())
        return
    _, found, _ = root.command.resolve_command(root, [command])
    print(type(root)(found, info_name=command, parent=root).get_help())
