"""The commands together; whatever goes wrong in one becomes one line and an exit code."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any

import typer
import typer.completion
import typer.main

import bridle
from bridle import checks, exit_codes
from bridle.cli import ranks
from bridle.cli.commands import calibrate, compare, evaluate, explain, fit, predict, train
from bridle.cli.commands import help as show_help
from bridle.cli.messages import no_such_option, one_line, typed
from bridle.cli.options.config import forget, noted, with_config
from bridle.cli.options.panels import PanelledCommand
from bridle.ranks import ClusterError, RankError

# typer carries click with it or leans on it, by version; either way this is the base of all errors
# in a command line, two steps above the one that typer exports.
_CommandLineError: type[Exception] = typer.BadParameter.__mro__[2]

# Any: typer lists no names of this module, though they are public.
_completion: Any = typer.completion
# What a shell's script sets when it asks for completions. (typer's own option guesses the shell
# from the processes around it; ours is told.)
_COMPLETE = "_BRIDLE_COMPLETE"
_SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")


def _examples(*lines: str) -> str:
    # The sign \b keeps each on one line, so that it can be copied.
    return "\n".join(["\b", *(f"Example: {line}" for line in lines)])


def _exit_codes() -> str:
    told = (f"  {code:<5} {meaning}" for code, meaning in exit_codes.MEANINGS.items())
    return "\n".join(["\b", "Exit codes:", *told])


app = typer.Typer(
    help="Fit a softmax classifier to its exact optimum, train networks, and judge any "
    "classifier's answers.",
    epilog=f"{_examples('bridle fit digits')}\n\n{_exit_codes()}",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # a fault of ours is reported as Python shows it
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command, _lines in (
    (fit.fit, fit.EXAMPLES),
    (train.train, train.EXAMPLES),
    (compare.compare, compare.EXAMPLES),
    (predict.predict, predict.EXAMPLES),
    (evaluate.evaluate, evaluate.EXAMPLES),
    (calibrate.calibrate, calibrate.EXAMPLES),
    (explain.explain, explain.EXAMPLES),
):
    app.command(cls=PanelledCommand, epilog=_examples(*_lines))(with_config(_command))
app.command("help", cls=PanelledCommand, epilog=_examples(*show_help.EXAMPLES))(show_help.show_help)


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code, one of `bridle.exit_codes`."""
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        return _run(list(arguments) or ["--help"])


def _run(arguments: list[str]) -> int:
    if _COMPLETE in os.environ:
        _completion.completion_init()  # teaches click the words of typer's scripts
    typed.set(arguments)
    forget()
    for before, word in pairwise(["", *arguments]):
        if "\0" in word:  # no shell passes one, but what calls `run` may; typer 0.20 fails over it
            name = f"{before}: " if before.startswith("-") else ""
            return _refuse(f"{name}no such file: expected no null character, found {word!r}")
    try:
        code = app(args=arguments, prog_name="bridle", standalone_mode=False)
    except (checks.InputError, checks.MissingExtraError, RankError, ClusterError) as error:
        return _refuse(str(error))
    except _CommandLineError as error:
        return _refuse(f"{_usage(error)} (bridle --help tells more)")
    except SystemExit as end:  # what typer makes of completions, and of a pipe that nobody reads
        return int(end.code or 0) if _COMPLETE in os.environ else exit_codes.UNREAD
    except OSError as error:
        named = error.filename
        reason = error.strerror or str(error)
        return _refuse(f"{named}: {reason}" if named else reason)
    except MemoryError as error:
        return _refuse(f"not enough memory: {error}")
    except (KeyboardInterrupt, typer.Abort):
        code = exit_codes.INTERRUPTED
    if code == exit_codes.INTERRUPTED:  # which some versions of typer return themselves
        print("bridle: interrupted", file=sys.stderr)
    return int(code or 0)


def _usage(error: Any) -> str:
    name, context = getattr(error, "option_name", None), getattr(error, "ctx", None)
    if name is not None and context is not None:
        others = _commands_with(name)
        if others:
            return f"{name}: {no_such_option(context.info_name, others)}"
    return str(error.format_message()).strip().rstrip(".")


def _commands_with(option: str) -> list[str]:
    """Return the commands that have an option."""
    group: Any = typer.main.get_command(app)
    return [
        name
        for name, command in group.commands.items()
        for parameter in command.params
        if option in (*parameter.opts, *parameter.secondary_opts)
    ]


def _refuse(message: str) -> int:
    message = noted(message)
    # What ends one of several processes ends all: the first says it, unless it is the one lost.
    if ranks.rank() == 0 or message.startswith(("rank 0: ", "the group's store is lost")):
        print(f"bridle: {one_line(message)}", file=sys.stderr)
    else:
        ranks.let_the_first_speak()
    return exit_codes.REFUSED


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    if ranks.rank() == 0:
        print(f"bridle: warning: {one_line(str(message))}", file=sys.stderr)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"bridle {bridle.__version__}")
        raise typer.Exit


def _show_completion(shell: str | None) -> None:
    if shell is not None:
        checks.one_of(shell, "--show-completion", _SHELLS)
        script = _completion.get_completion_script(
            prog_name="bridle", complete_var=_COMPLETE, shell=shell
        )
        print(script)
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
    show_completion: Annotated[
        str | None,
        typer.Option(
            help=f"Print the script that completes bridle's options in a shell: "
            f"{', '.join(_SHELLS)}.",
            metavar="SHELL",
            show_default=False,
            callback=_show_completion,
            is_eager=True,
        ),
    ] = None,
) -> None:
    del version, show_completion  # their callbacks have done what they ask for
    if context.invoked_subcommand not in ("fit", "predict", "evaluate"):
        ranks.refuse(f"bridle {context.invoked_subcommand}")
