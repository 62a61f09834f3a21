"""What a probability says, of tensors: surprisal, entropy, divergence, perplexity."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from bridle import checks
from bridle.torch import arguments
from bridle.torch.parts import accumulator_dtype


def surprisal(probability: Tensor, *, unit: checks.Unit = "nats") -> Tensor:
    """Return ``−log p`` of each probability; see `bridle.surprisal`. Checked on the CPU.

    Examples
    --------
    >>> surprisal(torch.tensor([1.0, 0.5, 0.0]), unit="bits")
    tensor([0., 1., inf])
    """
    checks.unit(unit)
    values = arguments.floating(probability, "probability")
    if arguments.should_check(None, values):
        arguments.unit_interval(values, "probability")
    # 0 − log p, not a minus sign: the certain event's surprisal is 0, not −0.
    nats = 0 - torch.log(values.to(accumulator_dtype(values.dtype)))
    return _in_unit(nats, unit).to(values.dtype)


def perplexity(cross_entropy: Tensor, *, unit: checks.Unit = "nats") -> Tensor:
    """Return ``exp(H)`` of a cross-entropy in nats, ``2^H`` in bits; see `bridle.perplexity`.

    Examples
    --------
    >>> perplexity(torch.tensor(3.0), unit="bits")
    tensor(8.)
    """
    checks.unit(unit)
    values = arguments.floating(cross_entropy, "cross_entropy")
    if arguments.should_check(None, values):
        arguments.not_negative(values, "cross_entropy")
    wide = values.to(accumulator_dtype(values.dtype))
    return (torch.exp2(wide) if unit == "bits" else torch.exp(wide)).to(values.dtype)


def entropy(
    probabilities: Tensor,
    *,
    axis: int = -1,
    dim: int | None = None,
    unit: checks.Unit = "nats",
    check: bool | None = None,
) -> Tensor:
    """Return ``H(p) = −Σ_c p_c log p_c``; see `bridle.entropy`. Values are checked on the CPU.

    Examples
    --------
    >>> entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]]), unit="bits")
    tensor([1., 0.])
    """
    checks.unit(unit)
    values = arguments.floating(probabilities, "probabilities")
    values = _classes_last(values, checks.one_axis(axis, dim), "probabilities")
    if arguments.should_check(check, values):
        arguments.distributions(values, "probabilities", -1)
    surprise = torch.special.entr(values.to(accumulator_dtype(values.dtype)))
    if check is not False:
        surprise = surprise.clamp(min=0)  # rounded to just above 1, it is certain all the same
    return _in_unit(surprise.sum(dim=-1), unit).to(values.dtype)


def kl_divergence(
    p: Tensor,
    q: Tensor,
    *,
    axis: int = -1,
    dim: int | None = None,
    unit: checks.Unit = "nats",
    log_p: bool = False,
    log_q: bool = False,
    mask: Tensor | None = None,
    check: bool | None = None,
) -> Tensor:
    """Return ``KL(p ‖ q) = Σ_c p_c log(p_c / q_c)``; see `bridle.kl_divergence`.

    Where p is a softmax, or otherwise kept on the simplex, its gradient is that of the formula;
    off the simplex the sum is continued as ``Σ (p log(p/q) − p + q)``, which is never negative.
    With ``check=False`` value and gradient are those of the formula everywhere. Values are checked
    on the CPU.

    Examples
    --------
    >>> kl_divergence(torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75]))
    tensor(0.1438)
    """
    checks.unit(unit)
    axis = checks.one_axis(axis, dim)
    first, second, dtype = _pair(p, q, axis, (log_p, log_q), mask, check)
    # Where p is 0 the term is q: no logarithm of 0 is taken, nor differentiated.
    nothing = (first.values == (-torch.inf if log_p else 0)) & ~second.values.isnan()
    ratio = first.logarithm(nothing) - second.logarithm(nothing)
    mass, other = first.probability(), second.probability()
    if check is False:
        terms = torch.where(nothing, 0, mass * ratio)
    else:
        terms = torch.where(nothing, other, mass * ratio - mass + other).clamp(min=0)
    return _in_unit(terms.sum(dim=-1), unit).to(dtype)


def cross_entropy_of(
    p: Tensor,
    q: Tensor,
    *,
    axis: int = -1,
    dim: int | None = None,
    unit: checks.Unit = "nats",
    log_p: bool = False,
    log_q: bool = False,
    mask: Tensor | None = None,
    check: bool | None = None,
) -> Tensor:
    """Return ``H(p, q) = −Σ_c p_c log q_c``; see `bridle.cross_entropy_of`. Checked on the CPU.

    Examples
    --------
    >>> cross_entropy_of(torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75]), unit="bits")
    tensor(1.2075)
    """
    checks.unit(unit)
    axis = checks.one_axis(axis, dim)
    first, second, dtype = _pair(p, q, axis, (log_p, log_q), mask, check)
    mass = first.probability()
    # 0 · log 0 is left out before the logarithm, so that its derivative is 0 too.
    nothing = (mass == 0) & (second.values == (-torch.inf if log_q else 0))
    surprise = 0 - second.logarithm(nothing)
    if check is not False:
        surprise = surprise.clamp(min=0)
    return _in_unit((mass * surprise).sum(dim=-1), unit).to(dtype)


class _Distribution(NamedTuple):
    """One of two distributions, classes last, in the dtype that sums are kept in."""

    values: Tensor
    is_log: bool

    def probability(self) -> Tensor:
        """Return the probabilities."""
        return torch.exp(self.values) if self.is_log else self.values

    def logarithm(self, nothing: Tensor) -> Tensor:
        """Return their logarithms, with any number where there is ``nothing``."""
        if self.is_log:
            return self.values.masked_fill(nothing, 0)
        return torch.log(self.values.masked_fill(nothing, 1))


def _pair(
    p: Tensor,
    q: Tensor,
    axis: int,
    logarithms: tuple[bool, bool],
    mask: Tensor | None,
    check: bool | None,
) -> tuple[_Distribution, _Distribution, torch.dtype]:
    """Return both distributions, broadcast to one shape, and the dtype of the answer."""
    given = arguments.floating(p, "p"), arguments.floating(arguments.on_device_of(q, p, "q"), "q")
    pair = [_classes_last(each, axis, name) for each, name in zip(given, "pq", strict=True)]
    check_values = arguments.should_check(check, pair[0])
    if check_values and mask is None:
        for values, name, is_log in zip(pair, "pq", logarithms, strict=True):
            _check(values, name, is_log=is_log)
    pair = _broadcast(*pair)
    shape = tuple(pair[0].shape)
    if mask is not None:
        kept = _kept_entries(arguments.on_device_of(mask, p, "mask"), shape, axis)
        pair = [
            values.masked_fill(~kept, -torch.inf if is_log else 0)
            for values, is_log in zip(pair, logarithms, strict=True)
        ]
        if check_values:
            for values, name, is_log in zip(pair, "pq", logarithms, strict=True):
                _check(values, name, is_log=is_log, rows=kept.any(dim=-1))
    dtype = torch.promote_types(*(each.dtype for each in given))
    wide = accumulator_dtype(dtype)
    first, second = (
        _Distribution(values.to(wide), is_log)
        for values, is_log in zip(pair, logarithms, strict=True)
    )
    return first, second, dtype


def _broadcast(first: Tensor, second: Tensor) -> list[Tensor]:
    """Return both in one shape, by PyTorch: a program for any size must not ask NumPy for it."""
    if first.shape[-1] == second.shape[-1]:
        try:
            return list(torch.broadcast_tensors(first, second))  # type: ignore[no-untyped-call]
        except RuntimeError:  # which the check names
            pass
    checks.same_classes(arguments.like(first), arguments.like(second))
    raise AssertionError("shapes that do not broadcast were not refused")


def _classes_last(values: Tensor, axis: int, name: str) -> Tensor:
    if not -values.dim() <= axis < values.dim() or values.shape[axis] == 0:
        checks.class_axis(arguments.like(values), axis, name)
    return values.movedim(axis, -1)


def _check(values: Tensor, name: str, *, is_log: bool, rows: Tensor | None = None) -> None:
    """Refuse the first row, of all or some, that is no distribution."""
    found = values.detach()
    tolerance = arguments.sum_tolerance(values, -1, of_logarithms=is_log)
    if is_log:
        found, name = torch.exp(found.to(accumulator_dtype(found.dtype))), f"exp({name})"
    if rows is not None:
        certain = torch.zeros_like(found)
        certain[..., 0] = 1
        found = torch.where(rows[..., None], found, certain)
    arguments.distributions(found, name, -1, tolerance=tolerance)


def _kept_entries(mask: Tensor, shape: tuple[int, ...], axis: int) -> Tensor:
    """Return which entries (…, C) count, of a mask of positions or of entries."""
    found = tuple(mask.shape)
    checks.mask(mask.dtype == torch.bool, str(mask.dtype), found, shape, axis)
    kept = mask[..., None] if len(found) < len(shape) else mask.movedim(axis, -1)
    return kept.expand(shape)


def _in_unit(nats: Tensor, unit: checks.Unit) -> Tensor:
    return nats / math.log(2) if unit == "bits" else nats
