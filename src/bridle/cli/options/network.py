"""The options of a network and of its training, shared by the commands that train one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import typer

from bridle import checks
from bridle.cli.options.groups import one_of
from bridle.cli.options.panels import NETWORK, TRAINING

_LARGEST_SEED = 2**32 - 1


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

    def with_cost(self, cost: str | None) -> NetworkOptions:
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


def network(
    *,
    hidden: Annotated[
        str,
        typer.Option(
            help="Units of the hidden layers, as 30 or 100,50.",
            metavar="SIZES",
            rich_help_panel=NETWORK,
        ),
    ] = "30",
    activation: Annotated[
        str,
        typer.Option(
            help="Of the hidden layers: sigmoid, tanh, relu or identity.",
            autocompletion=one_of("sigmoid", "tanh", "relu", "identity"),
            metavar="NAME",
            rich_help_panel=NETWORK,
        ),
    ] = "sigmoid",
    output: Annotated[
        str | None,
        typer.Option(
            help="Of the last layer: sigmoid or softmax; what suits the cost, if not given.",
            autocompletion=one_of("sigmoid", "softmax"),
            show_default=False,
            metavar="NAME",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    alpha: Annotated[
        float, typer.Option(help="Strength of the penalty.", rich_help_panel=TRAINING)
    ] = 0.0,
    l1_ratio: Annotated[
        float | None,
        typer.Option(
            "--l1-ratio",
            help="With --alpha: the share of L1 in the penalty. 0 if not given.",
            show_default=False,
            rich_help_panel=TRAINING,
        ),
    ] = None,
    solver: Annotated[
        str,
        typer.Option(
            help="How to step: sgd or adam.",
            autocompletion=one_of("sgd", "adam"),
            metavar="NAME",
            rich_help_panel=TRAINING,
        ),
    ] = "sgd",
    learning_rate: Annotated[
        float, typer.Option(help="Step per gradient.", rich_help_panel=TRAINING)
    ] = 0.5,
    momentum: Annotated[
        float | None,
        typer.Option(
            help="With --solver sgd: what a step keeps of the last one. 0 if not given.",
            show_default=False,
            rich_help_panel=TRAINING,
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(help="Samples per step.", rich_help_panel=TRAINING)
    ] = 32,
    epochs: Annotated[
        int, typer.Option(help="How often to go over the samples.", rich_help_panel=TRAINING)
    ] = 30,
    init: Annotated[
        str,
        typer.Option(
            help="How the weights start: scaled or standard_normal.",
            autocompletion=one_of("scaled", "standard_normal"),
            metavar="NAME",
            rich_help_panel=TRAINING,
        ),
    ] = "scaled",
    seed: Annotated[
        int,
        typer.Option(help="Decides the first weights and the batches.", rich_help_panel=TRAINING),
    ] = 0,
) -> NetworkOptions:
    """Return the options of a network, its cost left open."""
    if l1_ratio is not None and alpha == 0:
        raise checks.InputError("--l1-ratio: expected with --alpha, found no penalty")
    if momentum is not None and solver == "adam":
        raise checks.InputError("--momentum: expected with --solver sgd, found adam")
    return NetworkOptions(
        hidden=hidden,
        activation=activation,
        output=output,
        cost=None,
        alpha=alpha,
        l1_ratio=0.0 if l1_ratio is None else l1_ratio,
        learning_rate=learning_rate,
        batch_size=batch_size,
        epochs=epochs,
        momentum=0.0 if momentum is None else momentum,
        solver=solver,
        init=init,
        seed=seed,
    )


COSTS = ("quadratic", "cross_entropy", "log_likelihood")
Standardize = Annotated[
    bool | None,
    typer.Option(
        "--standardize/--no-standardize",
        help="Train on features of mean 0 and deviation 1. On, unless they are pixels, which "
        "are taken as 0 … 1, or words, which are as they are.",
        show_default=False,
        rich_help_panel=TRAINING,
    ),
]
