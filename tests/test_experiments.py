"""What the small experiments show."""

from __future__ import annotations

import numpy as np
import pytest

from bridle import InputError, experiments


def test_cross_entropy_halves_its_cost_before_the_quadratic_cost_has_lost_a_tenth() -> None:
    quick = experiments.saturated_neuron(2.0, 2.0, 0.15, "cross_entropy", 300)
    slow = experiments.saturated_neuron(2.0, 2.0, 0.15, "quadratic", 300)
    halved = quick.epochs_to(0.5)
    assert halved is not None
    assert slow.cost[halved] > 0.9 * slow.cost[0]


@pytest.mark.parametrize("start", [(0.6, 0.9), (2.0, 2.0)])
@pytest.mark.parametrize("cost", experiments.NEURON_COSTS)
def test_each_step_is_the_slope_of_the_cost(start: tuple[float, float], cost: str) -> None:
    found = experiments.saturated_neuron(*start, 0.15, cost, 5)
    assert (found.weight[0], found.bias[0]) == start
    below, above = (
        experiments.saturated_neuron(start[0] + shift, start[1], 0.15, cost, 1).cost[0]
        for shift in (-1e-6, 1e-6)
    )
    slope = (above - below) / 2e-6
    assert found.weight[1] == pytest.approx(start[0] - 0.15 * slope, abs=1e-9)
    assert np.all(np.diff(found.cost) < 0)


def test_a_neuron_refuses_what_means_nothing() -> None:
    with pytest.raises(InputError, match="cost: expected one of quadratic, cross_entropy"):
        experiments.saturated_neuron(1.0, 1.0, 0.1, "log_likelihood", 3)
    with pytest.raises(InputError, match="weight: expected a finite number"):
        experiments.saturated_neuron(np.nan, 1.0, 0.1, "quadratic", 3)
    with pytest.raises(InputError, match="epochs: expected"):
        experiments.saturated_neuron(1.0, 1.0, 0.1, "quadratic", 0)


def test_the_table_holds_both_starts_and_both_costs() -> None:
    assert len(experiments.neuron_table().splitlines()) == 7
