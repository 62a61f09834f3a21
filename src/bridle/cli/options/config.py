"""``--config`` and ``--save-config``: the options of any command may stand in a file."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin

import typer

from bridle.cli import config_file, ranks
from bridle.cli.config_file import Config, Option
from bridle.cli.options.panels import CONFIG

# What help calls a text that holds several, with commas between, and what these are.
_ITEMS = {
    "SIZES": "numbers",
    "VALUES": "numbers",
    "RATIOS": "numbers",
    "NAMES": "texts",
    "TEXTS": "texts",
}
_OWN = ("config", "save_config")

# What --save-config has still to write, and what adds to an error which options stand in the file.
_unsaved: ContextVar[Callable[[], None] | None] = ContextVar("unsaved", default=None)
_noted: ContextVar[Callable[[str], str]] = ContextVar("noted", default=str)


def forget() -> None:
    """Forget the file of an earlier command in this process."""
    _unsaved.set(None)
    _noted.set(str)


def save_options() -> None:
    """Write what --save-config asks for: the options are checked, and the work begins."""
    save = _unsaved.get()
    _unsaved.set(None)
    if save is not None and ranks.rank() == 0:
        save()


def noted(message: str) -> str:
    """Return an error's message, and which of the options that it speaks of stand in the file."""
    return _noted.get()(message)


def with_config(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that read its options from a file, and write them to one."""
    signature = inspect.signature(command, eval_str=True)

    def read(context: typer.Context, path: Path | None) -> Path | None:
        if path is None or context.resilient_parsing:
            return path
        group: Any = context.find_root().command
        commands = {name: each.params for name, each in group.commands.items()}
        names = {
            name: list(_spellings(each)) for name, each in commands.items() if _has_config(each)
        }
        options = list(_options(context, signature))
        found = config_file.read(path, str(context.info_name), options, names)
        context.default_map, context.obj = dict(found.values), found
        return path

    @functools.wraps(command)
    def run(
        *, context: typer.Context, config: Path | None, save_config: Path | None, **told: Any
    ) -> None:
        if config is not None:  # read before the others were looked for
            found: Config = context.obj
            used = [name for name in told if _source(context, name) == "DEFAULT_MAP"]
            _noted.set(functools.partial(found.noted, used=used))
        if save_config is not None:
            config_file.check_place(save_config, told)
            written = dict(_told(context, signature, told))
            name = str(context.info_name)
            _unsaved.set(functools.partial(config_file.save, save_config, name, written))
        command(**told)
        save_options()  # where a command does not say when its work begins

    parameters = [*signature.parameters.values(), *_own_parameters(read)]
    # typer reads a command's options off these two.
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _own_parameters(read: Callable[..., Path | None]) -> Iterator[inspect.Parameter]:
    config = typer.Option(
        help="A TOML file of options, for what is not typed. A table for each command, as [fit]; "
        "in it options and arguments by their names, as C = 0.5, header = false, drop = "
        '["id", "site"], data = "reviews.csv". Paths are as seen from the working folder.',
        metavar="FILE",
        show_default=False,
        rich_help_panel=CONFIG,
        is_eager=True,
        callback=read,
    )
    save_config = typer.Option(
        help="Write what was typed, or stands in --config, to a file for --config, before the "
        "work begins.",
        metavar="FILE",
        show_default=False,
        rich_help_panel=CONFIG,
    )
    kind = inspect.Parameter.KEYWORD_ONLY
    yield inspect.Parameter("context", kind, annotation=typer.Context)
    for name, option in zip(_OWN, (config, save_config), strict=True):
        annotation = Annotated[Path | None, option]
        yield inspect.Parameter(name, kind, annotation=annotation, default=None)


def _has_config(parameters: Iterable[Any]) -> bool:
    return any(parameter.name in _OWN for parameter in parameters)


def _spellings(parameters: Iterable[Any]) -> Iterator[str]:
    """Yield how a file spells each parameter: as it is typed, without the dashes."""
    for parameter in parameters:
        if parameter.param_type_name == "argument":
            yield parameter.name
            continue
        for word in (*parameter.opts, *parameter.secondary_opts):
            if word.startswith("--"):
                yield word.removeprefix("--")


def _options(context: typer.Context, signature: inspect.Signature) -> Iterator[Option]:
    command: Any = context.command
    for parameter in command.params:
        if parameter.name in _OWN:
            continue
        kind = _kind(signature.parameters[parameter.name].annotation)
        key, *opposite = _spellings([parameter])
        items = _ITEMS.get(parameter.metavar) if kind is str else None
        yield Option(parameter.name, key, kind, opposite[0] if opposite else None, items)


def _kind(annotation: Any) -> type:
    """Return the type of an option that is declared as ``Annotated[list[str] | None, …]``."""
    declared = get_args(annotation)[0]
    inner = get_origin(declared) or declared
    if inner is UnionType:
        declared = next(each for each in get_args(declared) if each is not NoneType)
        inner = get_origin(declared) or declared
    return str if inner is Path else inner


def _told(
    context: typer.Context, signature: inspect.Signature, values: Mapping[str, object]
) -> Iterator[tuple[str, object]]:
    for option in _options(context, signature):
        if _source(context, option.parameter) in ("COMMANDLINE", "DEFAULT_MAP"):
            yield option.written(values[option.parameter])


def _source(context: typer.Context, parameter: str) -> str | None:
    source = context.get_parameter_source(parameter)
    return None if source is None else source.name
