"""A vocabulary shared out over the ranks of a process group: who owns which classes, and exchange.

A call exchanges twice, both times by gathering a few numbers of every rank:

1. what the call is (`agree`): how many columns each rank has, its options, a checksum of what must
   be the same on all ranks. Every rank reads the same table, and so decides alike.
2. the parts of its rows (`Exchange`), beside which stands whether a rank has failed meanwhile: it
   joins in all the same, so that no rank waits for one that has raised an error.

Nothing else is exchanged. A ``DTensor`` says by itself which group it is sharded over.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from bridle import checks
from bridle.torch.parts import widest_dtype

# What each rank tells of a call: whether it failed, its columns, and at most so many facts.
_FACTS = 30
_NUMBERS = (Tensor, int, float, np.generic, np.ndarray, torch.SymInt, torch.SymFloat)


class Shard(NamedTuple):
    """Which of a row's classes are this rank's: ``[start, start + width)`` of ``classes``."""

    group: Any
    ends: tuple[int, ...]  # where the classes of each rank end
    start: int
    width: int
    columns: int  # of this rank's scores: what is more than ``width`` is padding
    classes: int

    def own(self, values: Tensor, axis: int) -> Tensor:
        """Return what is this rank's of values for each class: a view without padding.

        They are this rank's, as many as its scores have columns, or those of all classes.
        """
        if values.dim() and values.shape[axis] == self.columns:
            return values.narrow(axis, 0, self.width)
        if values.dim() and values.shape[axis] == self.classes:
            return values.narrow(axis, self.start, self.width)
        return values  # refused by whoever asks for its shape

    def is_here(self, target: Tensor) -> Tensor:
        """Tell which global class ids are this rank's."""
        return (target >= self.start) & (target < self.start + self.width)

    def local(self, target: Tensor) -> Tensor:
        """Return class ids counted from this rank's first; −1 for those of other ranks."""
        return torch.where(self.is_here(target), target - self.start, -1)

    def owners(self, target: Tensor) -> Tensor:
        """Return which rank each global class id belongs to; −1 for one that is none."""
        ends = torch.tensor(self.ends, device=target.device)
        return torch.where(target < 0, -1, torch.bucketize(target.contiguous(), ends, right=True))


# --- groups ---------------------------------------------------------------------------------------


def is_number(value: Any) -> bool:
    """Tell what divides by itself from a group; a compiler cannot tell groups."""
    return isinstance(value, _NUMBERS)


def _is_group(value: Any) -> bool:
    mesh = sys.modules.get("torch.distributed.device_mesh")
    kinds = (getattr(dist, "ProcessGroup", None), getattr(mesh, "DeviceMesh", None))
    return isinstance(value, tuple(kind for kind in kinds if kind is not None))


def process_group(value: Any, name: str = "group") -> Any:
    """Return the process group that is meant, to which this process belongs."""
    expected = "a process group, or a DeviceMesh of one dimension"
    if not _is_group(value):
        raise checks.InputError.of(name, expected=expected, found=repr(value))
    if not isinstance(value, dist.ProcessGroup):
        if value.ndim != 1:
            raise checks.InputError.of(name, expected=expected, found=f"one of {value.ndim}")
        value = value.get_group()
    if dist.get_rank(value) < 0:
        found = "one without this process"
        raise checks.InputError.of(name, expected="a group of this process", found=found)
    return value


def sum_over(values: Tensor, group: Any) -> Tensor:
    """Return the sum over the ranks of a group, whose derivative is that by this rank's own."""
    total = values.detach().to(widest_dtype(values), copy=True)
    dist.all_reduce(total, group=process_group(group, "normalizer"))
    return values + (total - values.detach()) if values.requires_grad else total


# --- DTensors -------------------------------------------------------------------------------------


def is_distributed(value: Any) -> bool:
    """Tell a DTensor, without loading what makes them."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(value, module.DTensor)


def local_part(value: Any, axis: int, name: str, group: Any) -> tuple[Tensor, Any]:
    """Return this rank's part of a DTensor that is sharded along an axis, and its group."""
    mesh, placements = value.device_mesh, tuple(value.placements)
    if mesh.ndim != 1 or not placements[0].is_shard(axis):
        hint = (
            f"; its full_tensor() is one, and one that is sharded by its classes is taken: "
            f"Shard({axis}) on a mesh of one dimension, not {placements} on {tuple(mesh.shape)}"
        )
        raise checks.InputError.of(name, expected="a plain tensor", found="a DTensor", hint=hint)
    if group is not None and process_group(group) != mesh.get_group():
        found = "a DTensor of another group"
        raise checks.InputError.of("group", expected="that of the DTensor", found=found)
    return value.to_local(), mesh.get_group()


def on_this_rank(value: Any, axis: int, name: str) -> Any:
    """Return what this rank has of a DTensor that is sharded along an axis, or not at all."""
    if not is_distributed(value):
        return value
    if all(each.is_replicate() or each.is_shard(axis) for each in value.placements):
        return value.to_local()
    expected = f"one that is sharded along axis {axis}, or not at all"
    raise checks.InputError.of(name, expected=expected, found=f"a DTensor {value.placements}")


_OUTSIDE: dict[Callable[..., Any], Callable[..., Any]] = {}


def outside_of_compilers(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that a compiler calls as it is, and always the same one.

    It is made when a compiler first asks for it: what makes it takes seconds to import.
    """
    if not torch.compiler.is_compiling():
        return function
    if function not in _OUTSIDE:
        _OUTSIDE[function] = torch.compiler.disable(function)  # type: ignore[no-untyped-call]
    return _OUTSIDE[function]


# --- the first exchange ---------------------------------------------------------------------------


def agree(
    group: Any,
    columns: int,
    facts: Mapping[str, Any],
    like: Tensor,
) -> Shard:
    """Return which classes are this rank's, once all ranks have told that they make the same call.

    A rank that cannot make it calls `tell_failure` instead; then all raise.

    Parameters
    ----------
    columns
        How many this rank's scores have.
    facts
        What must be the same on all ranks, by the name of an argument; a tensor of one number
        stays where it is. Of them ``classes`` is the number of classes, None for all columns.
    like
        A tensor on the device of the exchange.
    """
    table = _told(group, False, columns, facts, like)
    for rank, row in enumerate(table):
        for name, ours, theirs in zip(facts, table[0][2:], row[2:], strict=False):
            if ours != theirs:
                raise checks.InputError.of(
                    name,
                    expected="the same on all ranks of the group",
                    found=f"another on rank {rank} than on rank 0",
                    hint=_HINTS.get(name, ""),
                )
    return _shard(group, [row[1] for row in table], facts["classes"])


def tell_failure(group: Any, like: Tensor) -> None:
    """Tell the ranks that call `agree` that this one cannot."""
    _told(group, True, 0, {}, like)


def _told(
    group: Any, failed: bool, columns: int, facts: Mapping[str, Any], like: Tensor
) -> list[list[int]]:
    """Return what every rank tells; raise where another has failed."""
    told = [*map(_encoded, facts.values()), *[0] * (_FACTS - len(facts))]
    own = [
        int(failed),
        columns,
        *(0 if isinstance(each, Tensor) else each for each in told),
    ]
    header = torch.tensor(own, device=like.device)
    for place, each in enumerate(told):
        if isinstance(each, Tensor):
            header[2 + place] = each
    table: list[list[int]] = _gathered(header, group).tolist()
    for rank, row in enumerate(table):
        if row[0] and not failed:
            raise _other_rank(rank)
    return table


_HINTS = {
    "target": "; rows that are split over these ranks are gathered first, and so is a weight that "
    "FSDP has sharded"
}


def _shard(group: Any, columns: list[int], classes: int | None) -> Shard:
    total, rank = sum(columns), dist.get_rank(group)
    if total == 0:
        raise checks.InputError.of("input", expected="at least one class", found="none on any rank")
    if classes is None:
        classes = total
    if not 0 < classes <= total:
        expected = f"between 1 and the {total} columns of all ranks"
        raise checks.InputError.of("classes", expected=expected, found=classes)
    ends = [min(sum(columns[: each + 1]), classes) for each in range(len(columns))]
    start = min(sum(columns[:rank]), classes)
    return Shard(group, tuple(ends), start, ends[rank] - start, columns[rank], classes)


def _encoded(value: Any) -> Any:
    """Return a fact as an integer of 64 bits, of which only equality is asked."""
    if value is None:
        return -(2**62)
    if isinstance(value, str):
        return zlib.crc32(value.encode())
    if isinstance(value, float):
        (bits,) = struct.unpack("<q", struct.pack("<d", value))
        return bits
    return value


def checksum(values: Any) -> Tensor | int:
    """Return a number that tells tensors apart, on their device: None and others have 0."""
    if isinstance(values, (tuple, list)):
        return sum((checksum(each) * (place + 1) for place, each in enumerate(values)), 0)
    if not isinstance(values, Tensor) or values.is_complex():
        return 0
    flat = values.detach().flatten()
    wide = flat.to(torch.float64).view(torch.int64) if flat.is_floating_point() else flat.long()
    # Odd factors, so that the order matters; what overflows wraps around.
    factors = (2 * torch.arange(wide.numel(), device=wide.device) + 1) * 0x9E3779B1
    return (wide * factors).sum()


def _other_rank(rank: int) -> checks.InputError:
    return checks.InputError.of(
        "group",
        expected="arguments that all ranks can use",
        found=f"an error on rank {rank}",
        hint=", which tells it",
    )


def _gathered(values: Tensor, group: Any) -> Tensor:
    """Return the values (R, …) of all ranks, in their order."""
    pieces = [torch.empty_like(values) for _ in range(dist.get_world_size(group))]
    dist.all_gather(pieces, values.contiguous(), group=group)
    return torch.stack(pieces)


# --- the second exchange --------------------------------------------------------------------------


class Exchange:
    """The gathering of some numbers of each row, which a rank that fails before it joins as well.

    >>> with exchange:  # doctest: +SKIP
    ...     pieces = exchange.gather(own)

    Parameters
    ----------
    shard
        Whose group exchanges.
    rows
        How many.
    counts
        By name, how many numbers a row has.
    like
        A tensor on the device of the exchange.
    checked
        Whether the numbers are looked at: else a failed rank makes NaN of all rows, and tells why.
    """

    def __init__(
        self, shard: Shard, rows: int, counts: Mapping[str, int], like: Tensor, *, checked: bool
    ) -> None:
        self.shard = shard
        self._counts, self._checked, self._is_done = dict(counts), checked, False
        self._memory = like.new_empty((rows, sum(counts.values())), dtype=widest_dtype(like))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception) and not self._is_done:
            self._exchanged(self._memory.fill_(torch.nan), failed=True)

    def gather(self, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the numbers (R, N) or (R, N, k) of all ranks, given this rank's, by name."""
        rows, dtype = len(self._memory), self._memory.dtype
        flat = [own[name].reshape(rows, count) for name, count in self._counts.items()]
        numbers = torch.cat([each.to(dtype) for each in flat], dim=1)
        everyone = self._exchanged(numbers, failed=False)
        pieces = torch.split(everyone, list(self._counts.values()), dim=2)
        return {
            name: piece if own[name].dim() == 2 else piece[..., 0]
            for name, piece in zip(self._counts, pieces, strict=True)
        }

    def _exchanged(self, numbers: Tensor, *, failed: bool) -> Tensor:
        self._is_done = True
        state = numbers.new_full((1, numbers.shape[1]), float(failed))
        everyone = _gathered(torch.cat([numbers, state]), self.shard.group)
        if self._checked and not failed:
            for rank, other in enumerate(everyone[:, -1, 0].tolist()):
                if other:
                    raise _other_rank(rank)
        return everyone[:, :-1]
