r"""A row's loss, and its derivative by each part: term beside term.

In a row's parts (see `bridle.kernels.contract`), with ``lse = maximum + log_sum``, the label
smoothing ε and the coefficient ζ of the z-loss, the loss of a row is

    (1 − ε) · T + ε / allowed · (smooth_weight · log_sum + smooth_gap) + ζ · lse²

where ``T = Σ_c mass_c · (−log p_c)`` is the target's own term:

    mass · (log_sum + gap)         of class indices; several of a row are added up
    mass · log_sum + gap           of distributions, whose gap is weighted by the kernel
    mass · focal(log_sum + gap)    of one class index, where γ > 0 (see `bridle.formula.focal`)

Its gradient in the scores is the kernels' one formula (see `Coefficients`). Of a sum over rows each
of which counts ``share``, the coefficients are the derivatives by ``log_sum``, ``smooth_gap`` and
``gap``; they are written beside the term that they are of.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from bridle.formula.focal import focal, focal_slope


class Terms(NamedTuple):
    """What a row's loss has beside the target's own term, and what that is bent by."""

    label_smoothing: Any = 0.0  # ε
    z_loss: float = 0.0  # ζ
    z_share: Any = None  # what the z-loss is multiplied by beside; None: nothing
    gamma: float = 0.0  # γ of the focal term, of one class index a row


class Coefficients(NamedTuple):
    """What each row of a gradient is made with, (N,) each; ``t`` is as the gap, None is zeros.

    One number, (1,), stands for the same in all rows. With p the softmax, the gradient of a row is

        [p_c · (a + b · log p_c) − s · w_c · [c not masked] − t · [c = target]] · dz_c / dscores_c

    and of distributions the last term is ``t · w_c · target_c``.
    """

    a: Any
    b: Any = None
    s: Any = None
    t: Any = None

    def of_rows(self, rows: slice) -> Coefficients:
        """Return those of some rows."""
        return Coefficients(
            *(each if each is None or each.shape[0] == 1 else each[rows] for each in self)
        )


def times(xp: Any, mass: Any, values: Any) -> Any:
    """Multiply, with 0 · inf = 0 and 0 · NaN = NaN: no mass counts as 0, NaN stays NaN.

    >>> import numpy as np
    >>> times(np, np.array([0.0, 0.0, 2.0]), np.array([np.inf, np.nan, 3.0]))
    array([ 0., nan,  6.])
    """
    return mass * xp.where((mass == 0) & xp.isinf(values), 0, values)


# --- the target's own term -----------------------------------------------------------------------


def target_loss(xp: Any, parts: Any, gap: Any, mass: Any, gamma: float = 0.0) -> Any:
    """Return ``T``: of indices (N,) or (N, k) with their masses (None: 1), or of distributions."""
    if gap.ndim == 2:
        return times(xp, mass, parts.log_sum[:, None] + gap).sum(1)
    if is_some(parts.mass):
        return times(xp, parts.mass, parts.log_sum) + gap
    loss = parts.log_sum + gap
    if gamma:
        loss = focal(xp, loss, gamma)
    return loss if mass is None else times(xp, mass, loss)


def target_slopes(parts: Any, mass: Any, share: Any) -> tuple[Any, Any]:
    """Return ``∂T / ∂log_sum`` and ``∂T / ∂gap`` of ``share · T``."""
    if mass is not None and mass.ndim == 2:
        each = share[:, None] * mass
        return each.sum(1), each
    if is_some(parts.mass):
        return share * parts.mass, share
    own = share if mass is None else share * mass
    return own, own


# --- label smoothing -----------------------------------------------------------------------------


def smoothing_loss(parts: Any, label_smoothing: Any) -> Any:
    """Return ``ε / allowed · (smooth_weight · log_sum + smooth_gap)``."""
    total = parts.smooth_weight * parts.log_sum + parts.smooth_gap
    return label_smoothing * total / parts.allowed.clip(min=1)


def smoothing_slopes(parts: Any, label_smoothing: Any, share: Any) -> tuple[Any, Any]:
    """Return its derivatives by ``log_sum`` and ``smooth_gap``."""
    spread = label_smoothing * share / parts.allowed.clip(min=1)
    return spread * parts.smooth_weight, spread


# --- z-loss --------------------------------------------------------------------------------------


def z_loss(parts: Any, terms: Terms) -> Any:
    """Return ``ζ · lse²``."""
    penalty = terms.z_loss * (parts.maximum + parts.log_sum) ** 2
    return penalty if terms.z_share is None else terms.z_share * penalty


def z_loss_slope(xp: Any, parts: Any, terms: Terms, share: Any) -> Any:
    """Return its derivative by ``log_sum``, 0 of a row that counts nothing."""
    pull = 2 * terms.z_loss * share * (parts.maximum + parts.log_sum)
    pull = xp.where(share == 0, 0, pull)
    return pull if terms.z_share is None else terms.z_share * pull


# --- all of them ---------------------------------------------------------------------------------


def row_loss(xp: Any, parts: Any, gap: Any, mass: Any, terms: Terms) -> Any:
    """Return each row's loss (N,), without sample weights.

    ``gap`` is the parts', or that of several indices a row (N, k), of which ``mass`` are the
    weighted probabilities. Of one index a row ``mass`` is its class's weight; None: 1.

    >>> import numpy as np
    >>> from bridle.kernels.contract import RowParts
    >>> parts = RowParts(np.zeros(1), np.log([2.0]), target_gap=np.zeros(1))
    >>> row_loss(np, parts, parts.gap, None, Terms(z_loss=1.0)).round(4)
    array([1.1736])
    """
    smoothing = terms.label_smoothing
    loss = None
    if smoothing < 1:
        loss = target_loss(xp, parts, gap, mass, terms.gamma)
    if smoothing:
        smooth = smoothing_loss(parts, smoothing)
        loss = smooth if loss is None else (1 - smoothing) * loss + smooth
    return loss + z_loss(parts, terms) if terms.z_loss else loss


def coefficients(xp: Any, parts: Any, mass: Any, terms: Terms, share: Any) -> Coefficients:
    """Return what the gradient of ``Σ share · loss`` is made with; see `row_loss`.

    >>> import numpy as np
    >>> from bridle.kernels.contract import RowParts
    >>> parts = RowParts(np.zeros(1), np.log([2.0]), target_gap=np.zeros(1))
    >>> coefficients(np, parts, None, Terms(), np.ones(1))
    Coefficients(a=array([1.]), b=None, s=None, t=array([1.]))
    """
    smoothing, s = terms.label_smoothing, None
    own = (1 - smoothing) * share if smoothing else share
    if terms.gamma:
        own = own * focal_slope(xp, parts.log_sum + parts.gap, terms.gamma)
    a, t = target_slopes(parts, mass, own)
    if smoothing:
        more, s = smoothing_slopes(parts, smoothing, share)
        a = a + more
    if terms.z_loss:
        a = a + z_loss_slope(xp, parts, terms, share)
    return Coefficients(a, None, s, t)


def known_coefficients(mass: Any, terms: Terms, share: Any) -> tuple[Any, Any]:
    """Return what is known of them before the parts are, of one class index a row.

    What the target's own term counts, and what smoothing spreads evenly over the classes that are
    not masked (None: nothing).
    """
    smoothing = terms.label_smoothing
    own = (1 - smoothing) * share if smoothing else share
    return own if mass is None else own * mass, smoothing * share if smoothing else None


def weighted(xp: Any, weight: Any, loss: Any) -> Any:
    """Return ``weight · loss``; a row without weight does not count, even if it is broken.

    >>> import numpy as np
    >>> weighted(np, np.array([0.0, 0.0, 2.0]), np.array([np.nan, np.inf, 3.0]))
    array([0., 0., 6.])
    """
    return weight * xp.where((weight == 0) & ~xp.isfinite(loss), 0, loss)


def asked_of_parts(
    xp: Any, to_log_sum: Any, to_gap: Any, to_smooth_gap: Any, to_mean_gap: Any, entropy: Any
) -> Coefficients:
    """Return what derivatives by the parts ask of the gradient; ``entropy`` is Σ p (−log p).

    ``mean_gap + log_sum`` is the entropy, whose derivative by a score is ``−p (log p + entropy)``;
    that of ``mean_gap`` has ``p`` less.
    """
    a, b = to_log_sum, None
    if to_mean_gap is not None:
        b = -to_mean_gap
        # A row whose entropy is not asked for may hold a NaN.
        a = a + xp.where(b == 0, 0, b * (entropy + 1))
    return Coefficients(a, b, to_smooth_gap, to_gap)


def is_some(part: Any) -> bool:
    """Tell whether a part was asked for: others are None, or of no row."""
    return part is not None and part.ndim > 0 and part.shape[0] != 0
