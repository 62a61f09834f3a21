"""What a quasi-Newton method remembers: one direction, however it is worked out."""

from __future__ import annotations

import numpy as np
import pytest

from bridle.fit import arrays
from bridle.fit.solvers.remembered_steps import RememberedSteps

torch = pytest.importorskip("torch", reason="PyTorch is an extra")


class Diagonal:
    """A preconditioner."""

    def __init__(self, values: object) -> None:
        self.values = values

    def invert(self, gradient: object) -> object:
        return gradient / self.values  # type: ignore[operator]


@pytest.mark.parametrize("count", [1, 2, 7, 60])
def test_a_device_finds_the_direction_of_the_two_loops(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By products with all pairs at once, of a convex quadratic's steps."""
    random = np.random.default_rng(0)
    shape = (5, 9)
    root = random.normal(size=(45, 45))
    hessian = torch.tensor(root @ root.T + np.eye(45))
    remembered = RememberedSteps()
    for _ in range(count):
        step = torch.tensor(random.normal(size=shape))
        remembered.add(step, (hessian @ step.flatten()).reshape(shape))
    gradient = torch.tensor(random.normal(size=shape))
    metric = Diagonal(torch.tensor(random.uniform(1, 3, size=shape)))
    expected = remembered.direction(gradient, metric)  # type: ignore[arg-type]
    monkeypatch.setattr(arrays, "is_on_accelerator", lambda _: True)
    found = remembered.direction(gradient, metric)  # type: ignore[arg-type]
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)
    assert float((found * gradient).sum()) < 0
