"""The command on several processes at once: what ``torchrun -m bridle fit`` starts."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from bridle import checks
from bridle.ranks import Alone, Ranks, ranks_of

# What every launcher of PyTorch's processes sets.
_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")

_SECONDS_TO_SPEAK = 10.0


def is_one_of_several() -> bool:
    """Tell whether a launcher started this process as one of several."""
    return all(name in os.environ for name in _VARIABLES) and os.environ["WORLD_SIZE"] != "1"


def rank() -> int:
    """Return this process's number among those started; 0 where it is alone."""
    return int(os.environ["RANK"]) if is_one_of_several() else 0


def let_the_first_speak() -> None:
    """Wait with the end of a process that failed: a launcher then ends all others at once.

    It does not take that long: the first, which fails too, ends this one.
    """
    time.sleep(_SECONDS_TO_SPEAK)


def refuse(command: str) -> None:
    """Refuse a command that each of several processes would do again."""
    if is_one_of_several():
        raise checks.InputError(
            f"{command}: expected one process; of several, as torchrun starts them, bridle fit "
            "makes one fit, bridle predict one file each, and bridle evaluate one judgement"
        )


@contextmanager
def started(timeout: float) -> Iterator[Alone | Ranks]:
    """Make one group of the processes that a launcher started, for a while."""
    if not is_one_of_several():
        yield Alone()
        return
    torch = checks.require("torch", extra="torch", purpose="a fit over several processes")
    torch.distributed.init_process_group("gloo", timeout=timedelta(seconds=timeout))
    try:
        with ranks_of(timeout=timeout) as ranks:
            yield ranks
    finally:
        torch.distributed.destroy_process_group()


def own_device(device: str) -> str:
    """Return the device of this process's own among several GPUs of one machine."""
    if device == "cuda" and is_one_of_several():
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return device
