"""The options of a network, shared by the commands that train one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import typer

from bridle import checks

DEFAULT_EPOCHS, DEFAULT_RATE, DEFAULT_BATCH = 30, 0.5, 32

Hidden = Annotated[
    str | None,
    typer.Option(
        help="Units of the hidden layers, as 30 or 100,50: train a network.", metavar="SIZES"
    ),
]
Activation = Annotated[
    str, typer.Option(help="Of the hidden layers: sigmoid, tanh, relu or identity.")
]
Output = Annotated[
    str | None,
    typer.Option(
        help="Of the last layer: sigmoid or softmax; what suits the cost, if not given.",
        show_default=False,
    ),
]
Alpha = Annotated[float, typer.Option(help="Strength of a network's penalty.")]
L1Ratio = Annotated[float, typer.Option("--l1-ratio", help="The share of L1 in that penalty.")]
LearningRate = Annotated[float, typer.Option(help="Step per gradient of a network.")]
BatchSize = Annotated[int, typer.Option(help="Samples per step of a network.")]
Epochs = Annotated[int, typer.Option(help="How often a network goes over the samples.")]
Momentum = Annotated[float, typer.Option(help="What a network's step keeps of the last one.")]
Solver = Annotated[str, typer.Option(help="How a network steps: sgd or adam.")]
Init = Annotated[
    str, typer.Option(help="How a network's weights start: scaled or standard_normal.")
]
Seed = Annotated[int, typer.Option(help="Decides a network's first weights and its batches.")]


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
