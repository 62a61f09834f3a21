"""The options of a network, shared by the commands that train one."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Annotated

import typer

from bridle import checks
from bridle.cli.help_panels import NETWORK

# What the library calls the options.
_FLAGS = {
    "hidden_layer_sizes": "--hidden",
    "activation": "--activation",
    "output": "--output",
    "cost": "--cost",
    "alpha": "--alpha",
    "l1_ratio": "--l1-ratio",
    "learning_rate": "--learning-rate",
    "batch_size": "--batch-size",
    "max_epochs": "--epochs",
    "momentum": "--momentum",
    "solver": "--solver",
    "init": "--init",
}
_NAMED = re.compile(rf"\b({'|'.join(_FLAGS)})(?:='(\w+)'|(?=:)|$|(?=,))")
_LARGEST_SEED = 2**32 - 1

DEFAULT_EPOCHS, DEFAULT_RATE, DEFAULT_BATCH = 30, 0.5, 32

Hidden = Annotated[
    str | None,
    typer.Option(
        help="Units of the hidden layers, as 30 or 100,50: train a network.",
        metavar="SIZES",
        rich_help_panel=NETWORK,
    ),
]
Activation = Annotated[
    str,
    typer.Option(
        help="Of the hidden layers: sigmoid, tanh, relu or identity.", rich_help_panel=NETWORK
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        help="Of the last layer: sigmoid or softmax; what suits the cost, if not given.",
        show_default=False,
        rich_help_panel=NETWORK,
    ),
]
Alpha = Annotated[
    float, typer.Option(help="Strength of a network's penalty.", rich_help_panel=NETWORK)
]
L1Ratio = Annotated[
    float,
    typer.Option("--l1-ratio", help="The share of L1 in that penalty.", rich_help_panel=NETWORK),
]
LearningRate = Annotated[
    float, typer.Option(help="Step per gradient of a network.", rich_help_panel=NETWORK)
]
BatchSize = Annotated[
    int, typer.Option(help="Samples per step of a network.", rich_help_panel=NETWORK)
]
Epochs = Annotated[
    int, typer.Option(help="How often a network goes over the samples.", rich_help_panel=NETWORK)
]
Momentum = Annotated[
    float,
    typer.Option(help="What a network's step keeps of the last one.", rich_help_panel=NETWORK),
]
Solver = Annotated[
    str, typer.Option(help="How a network steps: sgd or adam.", rich_help_panel=NETWORK)
]
Init = Annotated[
    str,
    typer.Option(
        help="How a network's weights start: scaled or standard_normal.", rich_help_panel=NETWORK
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        help="Decides a network's first weights and its batches.", rich_help_panel=NETWORK
    ),
]


@dataclass(frozen=True)
class NetworkOptions:
    """The options as typed; `cost` and `output` may be left to each other."""

    hidden: str
    activation: str
    output: str | None
    cost: str | None
    alpha: float
    l1_ratio: float
    learning_rate: float
    batch_size: int
    epochs: int
    momentum: float
    solver: str
    init: str
    seed: int

    def with_cost(self, cost: str) -> NetworkOptions:
        """Return the same options under another cost."""
        return replace(self, cost=cost)

    def hidden_sizes(self) -> tuple[int, ...]:
        """Return the sizes of the hidden layers."""
        try:
            return tuple(checks.count(int(part), "--hidden") for part in self.hidden.split(","))
        except ValueError:
            raise checks.InputError(
                f"--hidden: expected sizes as 30 or 100,50, found {self.hidden!r}"
            ) from None

    def check_seed(self) -> None:
        """Refuse a number that decides nothing."""
        if not 0 <= self.seed <= _LARGEST_SEED:
            raise checks.InputError(
                f"--seed: expected a number in [0, {_LARGEST_SEED}], found {self.seed}"
            )


USUAL = NetworkOptions(
    "", "sigmoid", None, None, 0.0, 0.0, DEFAULT_RATE, DEFAULT_BATCH, DEFAULT_EPOCHS, 0.0, "sgd",
    "scaled", 0,
)  # fmt: skip


def refuse_without_network(given: NetworkOptions) -> None:
    """Refuse options of a network where none is trained."""
    changed = [
        f"--{field.name.replace('_', '-')}"
        for field in fields(NetworkOptions)
        if getattr(given, field.name) != getattr(USUAL, field.name)
    ]
    if changed:
        raise checks.InputError(f"{', '.join(changed)}: expected with --hidden, found without")


@contextmanager
def in_flags() -> Iterator[None]:
    """Name the options as they are typed in what the library says of its parameters."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except checks.InputError as error:
            raise checks.InputError(as_typed(str(error))) from None
    for each in caught:
        warnings.warn(as_typed(str(each.message)), each.category, stacklevel=2)


def as_typed(text: str) -> str:
    """Return text with the library's names of options replaced by those of the command.

    >>> as_typed("cost: 'cross_entropy' has no meaning for output='softmax'")
    "--cost: 'cross_entropy' has no meaning for --output softmax"
    """
    return _NAMED.sub(lambda found: _FLAGS[found[1]] + (f" {found[2]}" if found[2] else ""), text)
