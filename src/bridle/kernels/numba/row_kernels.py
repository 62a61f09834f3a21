"""The contract on a CPU: compiled by numba, threaded, NumPy arrays in and out.

The scores are read as they lie and never copied. See `bridle.kernels` for the contract and
`bridle.kernels.contract` for the parts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from bridle.kernels import thresholds
from bridle.kernels.contract import RowParts, merge_parts
from bridle.kernels.numba import lanes, row_entries
from bridle.kernels.numba.arguments import Coefficients, JobParts, Scores, Scratch, Target, Wanted
from bridle.kernels.numba.chunks import CHUNK
from bridle.kernels.threads import for_ranges

Array = npt.NDArray[Any]


def row_parts(
    scores: Array,
    target: Array,
    *,
    weight: Array | None = None,
    smoothing: bool = False,
    entropy: bool = False,
    argmax: bool = False,
    temperature: float = 1.0,
    softcap: float = 0.0,
    bfloat16: bool = False,
    threads: int | None = None,
) -> RowParts:
    """Return the parts of each row of scores.

    Parameters
    ----------
    scores
        (N, C) float16, bfloat16 (ml_dtypes, or uint16 with ``bfloat16=True``), float32 or float64;
        unit stride along the classes, any along the rows.
    target
        (N,) class indices, −1 for a row without one; or (N, C) distributions.
    weight
        (C,) class weights.
    smoothing, entropy, argmax
        Whether the parts of that name are wanted.
    temperature, softcap
        ``z = softcap · tanh(scores / softcap) / temperature``; a softcap of 0 caps nothing.
    threads
        At most so many; by default, one for each core. The result does not depend on it.

    Examples
    --------
    >>> import numpy as np
    >>> parts = row_parts(np.array([[0.0, 2.0, 1.0]]), np.array([2]))
    >>> loss = parts.log_sum + parts.target_gap
    >>> print(f"{loss[0]:.6f}")
    1.407606
    """
    plain = _plain(scores, bfloat16)
    blocks = _blocks(plain)
    read = _scores(plain, temperature, softcap, blocks, _is_bfloat16(scores, bfloat16))
    kind = _accumulator(plain)
    targets = _target(plain, target, weight, kind, weighted=smoothing)
    wanted = Wanted(smoothing, entropy, argmax)
    jobs = len(plain) * blocks
    job_parts = _empty_parts(jobs, wanted, targets.hard, kind)

    if (
        blocks == 1
        and targets.hard
        and plain.shape[1] <= thresholds.LANES_CLASSES
        and softcap == 0
        and not any(wanted)
    ):
        _lanes(read, targets, kind, len(plain), job_parts, None, None, threads)
        return _row_parts(job_parts, wanted, targets.hard)

    def work(first: int, last: int) -> None:
        row_entries.forward(read, targets, wanted, _scratch(kind, CHUNK), first, last, job_parts)

    for_ranges(work, jobs, plain.size, threads)
    if blocks == 1:
        return _row_parts(job_parts, wanted, targets.hard)
    pieces = [
        _row_parts(JobParts(*(part[piece::blocks] for part in job_parts)), wanted, targets.hard)
        for piece in range(blocks)
    ]
    owner = (
        np.where(targets.index < 0, -1, targets.index // thresholds.BLOCK_COLUMNS)
        if targets.hard
        else None
    )
    return merge_parts(pieces, owner)


def row_gradient(
    scores: Array,
    parts: RowParts,
    target: Array,
    a: Array,
    *,
    b: Array | None = None,
    s: Array | None = None,
    t: Array | None = None,
    weight: Array | None = None,
    temperature: float = 1.0,
    softcap: float = 0.0,
    out: Array,
    bfloat16: bool = False,
    threads: int | None = None,
) -> Array:
    """Write each row's gradient to ``out``, which may be the scores, and return it.

    With the coefficients (N,) of a row, the probabilities p and the class weights w,

        d = [p · (a + b · log p) − s · w · [not masked] − t · [class = target]] · dz/dscores

    and of distributions the last term is ``t · w_c · target_c``. ``parts`` are those of `row_parts`
    (``maximum``, ``log_sum`` and ``target_gap`` are read). A row whose coefficients are all 0 gets
    0 and is not read.

    Examples
    --------
    >>> import numpy as np
    >>> scores, target, one = np.array([[0.0, 0.0]]), np.array([1]), np.ones(1)
    >>> row_gradient(scores, row_parts(scores, target), target, one, t=one, out=scores)
    array([[ 0.5, -0.5]])
    """
    plain = _plain(scores, bfloat16)
    blocks = _blocks(plain)
    read = _scores(plain, temperature, softcap, blocks, _is_bfloat16(scores, bfloat16))
    kind = _accumulator(plain)
    targets = _target(plain, target, weight, kind, weighted=s is not None)
    write = _output(plain, out, read)
    coefficients = _coefficients(len(plain), a, b, s, t)
    if (
        targets.hard
        and b is None
        and s is None
        and plain.shape[1] <= thresholds.LANES_GRADIENT_CLASSES
        and softcap == 0
    ):
        _lanes(read, targets, kind, len(plain), None, coefficients, write, threads)
        return out
    job_parts = _parts_for_gradient(parts, targets.hard, kind)

    def work(first: int, last: int) -> None:
        scratch = _scratch(kind, CHUNK)
        row_entries.backward(read, targets, scratch, first, last, job_parts, coefficients, write)

    for_ranges(work, len(plain) * blocks, plain.size, threads)
    return out


def row_parts_and_gradient(
    scores: Array,
    target: Array,
    a: Array,
    *,
    s: Array | None = None,
    t: Array | None = None,
    weight: Array | None = None,
    smoothing: bool = False,
    entropy: bool = False,
    argmax: bool = False,
    temperature: float = 1.0,
    softcap: float = 0.0,
    out: Array,
    bfloat16: bool = False,
    threads: int | None = None,
) -> RowParts:
    """Return each row's parts and write its gradient to ``out`` while the row is in cache.

    For coefficients that are known beforehand. As `row_parts` and `row_gradient`, but for ``s``:
    with ``smoothing`` it is spread over the classes that are not masked, of which only the row can
    tell the number: the gradient has ``s / allowed`` for s and ``a + s · smooth_weight / allowed``
    for a. A row is exponentiated once.

    Examples
    --------
    >>> import numpy as np
    >>> scores, one = np.array([[0.0, 0.0]]), np.ones(1)
    >>> parts = row_parts_and_gradient(scores, np.array([1]), one, t=one, out=scores)
    >>> scores
    array([[ 0.5, -0.5]])
    """
    more: dict[str, Any] = {
        "weight": weight,
        "temperature": temperature,
        "softcap": softcap,
        "bfloat16": bfloat16,
        "threads": threads,
    }
    if scores.shape[1] > thresholds.BLOCK_COLUMNS:
        asked: dict[str, Any] = {"smoothing": smoothing, "entropy": entropy, "argmax": argmax}
        parts = row_parts(scores, target, **asked, **more)
        if s is not None and parts.allowed is not None and parts.smooth_weight is not None:
            s = s / np.maximum(parts.allowed, 1)
            a = a + s * parts.smooth_weight
        row_gradient(scores, parts, target, a, s=s, t=t, out=out, **more)
        return parts
    plain = _plain(scores, bfloat16)
    read = _scores(plain, temperature, softcap, 1, _is_bfloat16(scores, bfloat16))
    kind = _accumulator(plain)
    targets = _target(plain, target, weight, kind, weighted=smoothing or s is not None)
    wanted = Wanted(smoothing, entropy, argmax)
    job_parts = _empty_parts(len(plain), wanted, targets.hard, kind)
    write = _output(plain, out, read)
    coefficients = _coefficients(len(plain), a, None, s, t)
    if (
        targets.hard
        and s is None
        and plain.shape[1] <= thresholds.LANES_CLASSES
        and softcap == 0
        and not any(wanted)
    ):
        _lanes(read, targets, kind, len(plain), job_parts, coefficients, write, threads)
        return _row_parts(job_parts, wanted, targets.hard)

    def work(first: int, last: int) -> None:
        scratch = _scratch(kind, plain.shape[1])
        row_entries.both(
            read, targets, wanted, scratch, first, last, job_parts, coefficients, write
        )

    for_ranges(work, len(plain), plain.size, threads)
    return _row_parts(job_parts, wanted, targets.hard)


def _lanes(
    scores: Scores,
    target: Target,
    kind: np.dtype[Any],
    rows: int,
    job_parts: JobParts | None,
    coefficients: Coefficients | None,
    out: Scores | None,
    threads: int | None,
) -> None:
    """Find the parts if there is ``job_parts`` to hold them, the gradient if there is ``out``."""
    parts = job_parts or _empty_parts(0, Wanted(False, False, False), True, kind)
    given = coefficients or _coefficients(0, None, None, None, None)
    write = out or scores._replace(flat=np.empty(0, scores.flat.dtype))

    def work(first: int, last: int) -> None:
        tile = lanes.new_tile(scores.columns, kind)
        wants = (job_parts is not None, parts, out is not None, given, write)
        lanes.lanes(scores, target, tile, first, last, *wants)

    for_ranges(work, rows, rows * scores.columns, threads)


def _blocks(plain: Array) -> int:
    columns: int = plain.shape[1]
    return max(1, -(-columns // thresholds.BLOCK_COLUMNS))


def _is_bfloat16(scores: Array, bfloat16: bool) -> bool:
    return bfloat16 or scores.dtype.name == "bfloat16"


def _plain(scores: Array, bfloat16: bool) -> Array:
    """Return the scores in a dtype that numba knows, where they are; half precision as uint16."""
    if scores.dtype.name in ("float16", "bfloat16"):
        return scores.view(np.uint16)
    known = ("uint16",) if bfloat16 else ("float32", "float64")
    if scores.dtype.name not in known or not scores.dtype.isnative:
        raise TypeError(f"expected float16, bfloat16, float32 or float64, found {scores.dtype}")
    return scores


def _accumulator(plain: Array) -> np.dtype[Any]:
    return np.dtype(np.float64 if plain.dtype == np.float64 else np.float32)


def _flat(matrix: Array, *, writeable: bool) -> tuple[Array, int, int]:
    """Return a matrix's memory as one line, where its first row starts there, and a row's step.

    numba vectorises only loops over an array whose type says that it is contiguous.
    """
    rows, columns = matrix.shape
    size = matrix.itemsize
    step, uneven = divmod(matrix.strides[0], size) if rows > 1 else (columns, 0)
    if uneven or (columns > 1 and matrix.strides[1] != size):
        raise ValueError(f"expected unit stride along the classes, found {matrix.strides} bytes")
    lowest = matrix[-1:] if step < 0 else matrix[:1]
    length = abs(step) * (rows - 1) + columns
    line = as_strided(lowest[0], (length,), (size,), writeable=writeable)
    return line, max(0, -step * (rows - 1)), step


def _scores(
    plain: Array, temperature: float, softcap: float, blocks: int, bfloat16: bool
) -> Scores:
    kind = _accumulator(plain).type
    empty = plain.size == 0
    line, start, step = (plain.reshape(-1), 0, 0) if empty else _flat(plain, writeable=False)
    line.flags.writeable = False
    scale = kind(1 / temperature)
    # For float64 there is no wider dtype to compute the rest in.
    rest = kind((1 - float(scale) * temperature) / temperature if kind is np.float32 else 0)
    columns = plain.shape[1]
    return Scores(
        flat=line,
        start=start,
        step=step,
        columns=columns,
        block=thresholds.BLOCK_COLUMNS,
        blocks=blocks,
        bfloat16=bfloat16,
        softcap=float(softcap),
        temperature=float(temperature),
        scale=scale,
        scale_rest=rest,
    )


def _target(
    plain: Array, target: Array, weight: Array | None, kind: np.dtype[Any], *, weighted: bool
) -> Target:
    """Return the target in the kernels' types; what is not there has no entries."""
    hard = target.ndim == 1
    index = np.ascontiguousarray(target if hard else (), dtype=np.int64)
    soft = np.ascontiguousarray(np.empty((0, 0)) if hard else target, dtype=kind)
    if weight is not None:
        weights = np.ascontiguousarray(weight, dtype=kind)
    else:
        weights = np.ones(plain.shape[1] if weighted or not hard else 0, dtype=kind)
    return Target(hard, _read_only(index), _read_only(soft), _read_only(weights))


def _read_only(array: Array) -> Array:
    """Return a view that cannot be written: numba compiles once for it, whatever the caller has."""
    view = array.view()
    view.flags.writeable = False
    return view


def _output(plain: Array, out: Array, scores: Scores) -> Scores:
    view = _plain(out, scores.bfloat16)
    if view.shape != plain.shape or view.dtype != plain.dtype:
        raise ValueError(f"out: expected {plain.shape} as the scores, found {out.shape}")
    if view.size == 0:
        return scores._replace(flat=np.empty(0, view.dtype))
    line, start, step = _flat(view, writeable=True)
    return scores._replace(flat=line, start=start, step=step)


def _coefficients(rows: int, *given: Array | None) -> Coefficients:
    """Return the coefficients as the kernels take them; one number stands for all rows."""
    none = np.empty(0)
    kept = [none if each is None else np.atleast_1d(each) for each in given]
    for each in kept:
        if each.shape not in ((0,), (1,), (rows,)):
            raise ValueError(f"expected 1 or {rows} coefficients, found {each.shape}")
    return Coefficients(*(_read_only(np.ascontiguousarray(each, np.float64)) for each in kept))


def _empty_parts(jobs: int, wanted: Wanted, hard: bool, kind: np.dtype[Any]) -> JobParts:
    def some(asked: bool, dtype: Any = kind) -> Array:
        return np.empty(jobs if asked else 0, dtype)

    smooth = wanted.smoothing
    return JobParts(
        maximum=some(True),
        log_sum=some(True),
        gap=some(True),
        mass=some(not hard),
        smooth_gap=some(smooth),
        smooth_weight=some(smooth),
        allowed=some(smooth, np.int64),
        mean_gap=some(wanted.entropy),
        argmax=some(wanted.argmax, np.int64),
    )


def _parts_for_gradient(parts: RowParts, hard: bool, kind: np.dtype[Any]) -> JobParts:
    """Return the parts that a gradient reads, in the places where the kernels look for them."""
    none, counts = np.empty(0, kind), np.empty(0, np.int64)
    gap = np.ascontiguousarray(parts.target_gap if hard else (), kind)
    maximum = np.ascontiguousarray(parts.maximum, kind)
    log_sum = np.ascontiguousarray(parts.log_sum, kind)
    return JobParts(maximum, log_sum, gap, none, none, none, counts, none, counts)


def _row_parts(job_parts: JobParts, wanted: Wanted, hard: bool) -> RowParts:
    return RowParts(
        maximum=job_parts.maximum,
        log_sum=job_parts.log_sum,
        target_gap=job_parts.gap if hard else None,
        smooth_gap=job_parts.smooth_gap if wanted.smoothing else None,
        smooth_weight=job_parts.smooth_weight if wanted.smoothing else None,
        allowed=job_parts.allowed if wanted.smoothing else None,
        mean_gap=job_parts.mean_gap if wanted.entropy else None,
        argmax=job_parts.argmax if wanted.argmax else None,
        soft_gap=None if hard else job_parts.gap,
        soft_mass=None if hard else job_parts.mass,
    )


def _scratch(kind: np.dtype[Any], kept: int) -> Scratch:
    """Return a thread's own memory, with room for the exponentials of ``kept`` columns."""
    chunks = -(-kept // CHUNK)
    return Scratch(
        z=np.empty(CHUNK, kind),
        d=np.empty(CHUNK, kind),
        e=np.empty(chunks * CHUNK, kind),
        sums=np.empty(6),
    )
