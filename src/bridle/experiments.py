r"""Small experiments that show what a formula means.

Print the saturated neuron's table with ``python -m bridle.experiments``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle import checks, probabilities

Array = npt.NDArray[Any]

NEURON_COSTS = ("quadratic", "cross_entropy")


class Trajectory(NamedTuple):
    """What a neuron went through: arrays (epochs + 1,), the start first."""

    weight: Array
    bias: Array
    output: Array
    cost: Array

    def epochs_to(self, share: float) -> int | None:
        """Return the first epoch whose cost is at most a share of the first cost, if any is."""
        reached = self.cost <= share * self.cost[0]
        return int(np.argmax(reached)) if reached.any() else None


def saturated_neuron(
    weight: float, bias: float, learning_rate: float, cost: str, epochs: int
) -> Trajectory:
    r"""Teach one sigmoid neuron to answer 0 to the input 1, by gradient descent.

    With ``a = σ(w + b)``, both derivatives are

    - quadratic, ``C = ½ a²``: ``a · σ′(z) = a · a (1 − a)``, next to nothing where a is near 1;
    - cross-entropy, ``C = −ln(1 − a)``: ``a``, the greatest where the neuron is most wrong.

    Parameters
    ----------
    weight, bias : float
        Where it starts: (0.6, 0.9) is wrong, (2, 2) is badly wrong.
    learning_rate : float
    cost : {"quadratic", "cross_entropy"}
    epochs : int
        Steps of gradient descent.

    Returns
    -------
    Trajectory
        Weight, bias, output and cost (in nats for cross-entropy) before the first step and after
        each.

    Raises
    ------
    InputError
        Another cost; numbers that are none.

    Examples
    --------
    >>> for cost in ("quadratic", "cross_entropy"):
    ...     print(saturated_neuron(2.0, 2.0, 0.15, cost, 8).output.round(3)[[0, 4, 8]])
    [0.982 0.982 0.981]
    [0.982 0.945 0.85 ]

    References
    ----------
    M. A. Nielsen, *Neural Networks and Deep Learning*, 2015, chapter 3.
    """
    checks.one_of(cost, "cost", NEURON_COSTS)
    rate = checks.positive(learning_rate, "learning_rate")
    path = np.empty((checks.count(epochs, "epochs") + 1, 4))
    w, b = checks.finite_number(weight, "weight"), checks.finite_number(bias, "bias")
    for step in range(len(path)):
        z = w + b
        a = float(probabilities.sigmoid(z))
        quadratic = cost == "quadratic"
        # −ln(1 − σ(z)) = −ln σ(−z)
        path[step] = w, b, a, a * a / 2 if quadratic else -float(probabilities.log_sigmoid(-z))
        slope = a * a * (1 - a) if quadratic else a
        w, b = w - rate * slope, b - rate * slope
    return Trajectory(*path.T)


def neuron_table(learning_rate: float = 0.15, epochs: int = 300) -> str:
    """Return, for both starts and both costs, how long the cost takes to fall."""
    lines = [
        f"input 1, desired output 0, learning rate {learning_rate:g}",
        "",
        "start (w, b)  cost           output at 0    10    50   150   300   "
        "epochs to 9/10   to 1/2 of the cost",
    ]
    for start in ((0.6, 0.9), (2.0, 2.0)):
        for cost in NEURON_COSTS:
            found = saturated_neuron(*start, learning_rate, cost, epochs)
            places = [min(place, epochs) for place in (0, 10, 50, 150, 300)]
            outputs = "".join(f"{found.output[place]:6.3f}" for place in places)
            tenth, half = found.epochs_to(0.9), found.epochs_to(0.5)
            lines.append(
                f"{start!s:13} {cost:14} {'':6}{outputs}   "
                f"{_or_more(tenth, epochs):>14}   {_or_more(half, epochs):>6}"
            )
    return "\n".join(lines)


def _or_more(epoch: int | None, epochs: int) -> str:
    return f"> {epochs}" if epoch is None else str(epoch)


if __name__ == "__main__":
    print(neuron_table())
