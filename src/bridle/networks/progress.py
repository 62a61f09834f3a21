"""An epoch in a line."""

from __future__ import annotations

from bridle.networks.training import Epoch


def line(epoch: Epoch) -> str:
    """Return the figures to follow a training by."""
    text = f"epoch {epoch.epoch}   cost {epoch.cost:.4f}   accuracy {epoch.accuracy:.4f}"
    if epoch.validation_cost is not None:
        text += f"   held out: cost {epoch.validation_cost:.4f}"
        text += f"   accuracy {epoch.validation_accuracy:.4f}"
    return text + f"   {epoch.seconds:.2f} s"


def print_line(epoch: Epoch) -> None:
    """Print the figures of an epoch."""
    print(line(epoch))
