"""What the library says of its parameters, in the names that are typed."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from bridle import checks

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
