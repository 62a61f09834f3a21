"""Products of matrices too small for a library: at ten rows its packing takes longer than they do.

``C = A B``, or ``C + A B``, in tiles of a few rows by one vector or two, which stay in registers
while the common dimension is gone through. ``A`` may lie transposed. The last vector of a row is
read and written under a mask, so that no width needs padding.
"""

from __future__ import annotations

from typing import Any

from numba.core import types

from bridle.kernels.numba.compiling import inlined, instruction
from bridle.kernels.numba.vectors import VECTOR_BYTES, Vectors


def _tile(rows: int, vectors: int = 2, *, add: bool = False) -> Any:
    """Return a building block that computes so many rows of C, in one vector of columns or two."""

    @instruction
    def product(
        _typing: Any, c: Any, c_at: Any, c_step: Any, a: Any, a_at: Any, a_step: Any,
        a_depth: Any, b: Any, b_at: Any, b_step: Any, depth: Any, columns: Any,
    ) -> Any:  # fmt: skip
        """``C[r, k] = Σ_d A[r, d] B[d, k]`` for k below ``columns``, or add that to it.

        Arrays are flat; ``_at`` is where a matrix begins, ``_step`` how far its rows are apart,
        ``a_depth`` how far A's entries of a row are.
        """
        del c_at, c_step, a_at, a_step, a_depth, b_at, b_step, depth, columns
        size = types.intp
        signature = types.none(c, size, size, a, size, size, size, b, size, size, size, size)
        lanes = VECTOR_BYTES // (c.dtype.bitwidth // 8)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _generate(context, builder, signature, arguments, (rows, vectors, lanes), add)
            return context.get_dummy_value()

        return signature, generate

    return product


def _generate(
    context: Any,
    builder: Any,
    signature: Any,
    arguments: Any,
    tile: tuple[int, int, int],
    add: bool,
) -> None:
    rows, per_row, lanes = tile
    c, c_at, c_step, a, a_at, a_step, a_depth, b, b_at, b_step, depth, columns = arguments
    c, a, b = (
        context.make_array(signature.args[place])(context, builder, array).data
        for place, array in ((0, c), (3, a), (7, b))
    )
    vectors = Vectors(context.get_value_type(signature.args[0].dtype), lanes, builder)
    word = c_at.type
    masks = [vectors.mask(builder.sub(columns, word(part * lanes))) for part in range(per_row)]
    places = [
        [
            builder.add(builder.add(c_at, builder.mul(word(row), c_step)), word(part * lanes))
            for part in range(per_row)
        ]
        for row in range(rows)
    ]
    starts = [
        [
            vectors.load(c, place, mask) if add else vectors.zero
            for place, mask in zip(line, masks, strict=True)
        ]
        for line in places
    ]
    before, loop, after = (
        builder.block, builder.append_basic_block("depth"), builder.append_basic_block("done"),
    )  # fmt: skip
    builder.cbranch(builder.icmp_signed(">", depth, word(0)), loop, after)
    builder.position_at_end(loop)
    step = builder.phi(word)
    step.add_incoming(word(0), before)
    sums = [[builder.phi(vectors.kind) for _ in masks] for _ in range(rows)]
    line = builder.add(b_at, builder.mul(step, b_step))
    right = [
        vectors.load(b, builder.add(line, word(part * lanes)), mask)
        for part, mask in enumerate(masks)
    ]
    left = builder.add(a_at, builder.mul(step, a_depth))
    totals = []
    for row in range(rows):
        place = builder.add(left, builder.mul(word(row), a_step))
        factor = vectors.splat(builder.load(builder.gep(a, [place])))
        totals.append(
            [vectors.multiply_add(factor, *pair) for pair in zip(right, sums[row], strict=True)]
        )
    following = builder.add(step, word(1))
    step.add_incoming(following, loop)
    for row in range(rows):
        for part in range(len(masks)):
            sums[row][part].add_incoming(starts[row][part], before)
            sums[row][part].add_incoming(totals[row][part], loop)
    builder.cbranch(builder.icmp_signed("<", following, depth), loop, after)
    builder.position_at_end(after)
    for row in range(rows):
        for part in range(len(masks)):
            result = builder.phi(vectors.kind)
            result.add_incoming(starts[row][part], before)
            result.add_incoming(totals[row][part], loop)
            totals[row][part] = result
    for row in range(rows):
        for part, mask in enumerate(masks):
            vectors.store(totals[row][part], c, places[row][part], mask)


# Two vectors of each of six rows, two of B and one of A: what an older machine has registers for.
_rows_6, _rows_4, _rows_2, _rows_1 = _tile(6), _tile(4), _tile(2), _tile(1)


@inlined
def multiply(
    c: Any, c_at: Any, rows: int, columns: int, a: Any, a_at: Any, a_step: int, a_depth: int,
    b: Any, b_at: Any, depth: int,
) -> None:  # fmt: skip
    """``C = A B``, where C (rows, columns) and B (depth, columns) lie row by row in flat arrays.

    A's entry (r, d) is ``a[a_at + r · a_step + d · a_depth]``.
    """
    width = 2 * (VECTOR_BYTES // c.itemsize)
    for k in range(0, columns, width):
        left = columns - k
        row = 0
        while row + 6 <= rows:
            _rows_6(c, c_at + row * columns + k, columns, a, a_at + row * a_step, a_step, a_depth,
                    b, b_at + k, columns, depth, left)  # fmt: skip
            row += 6
        if row + 4 <= rows:
            _rows_4(c, c_at + row * columns + k, columns, a, a_at + row * a_step, a_step, a_depth,
                    b, b_at + k, columns, depth, left)  # fmt: skip
            row += 4
        if row + 2 <= rows:
            _rows_2(c, c_at + row * columns + k, columns, a, a_at + row * a_step, a_step, a_depth,
                    b, b_at + k, columns, depth, left)  # fmt: skip
            row += 2
        if row < rows:
            _rows_1(c, c_at + row * columns + k, columns, a, a_at + row * a_step, a_step, a_depth,
                    b, b_at + k, columns, depth, left)  # fmt: skip


# One vector of each of twelve rows hides an addition's delay as well as two of six.
_narrow_12, _narrow_4, _narrow_1 = (_tile(rows, 1) for rows in (12, 4, 1))
_adding_12, _adding_4, _adding_1 = (_tile(rows, 1, add=True) for rows in (12, 4, 1))


@inlined
def multiply_narrow(
    c: Any, rows: int, a: Any, a_at: Any, a_step: int, b: Any, depth: int, columns: int
) -> None:
    """``C = A B`` for whole vectors of columns, one vector at a time; A lies row by row."""
    lanes = VECTOR_BYTES // c.itemsize
    for k in range(0, columns, lanes):
        row = 0
        while row + 12 <= rows:
            _narrow_12(c, row * columns + k, columns, a, a_at + row * a_step, a_step, 1,
                       b, k, columns, depth, lanes)  # fmt: skip
            row += 12
        while row + 4 <= rows:
            _narrow_4(c, row * columns + k, columns, a, a_at + row * a_step, a_step, 1,
                      b, k, columns, depth, lanes)  # fmt: skip
            row += 4
        while row < rows:
            _narrow_1(c, row * columns + k, columns, a, a_at + row * a_step, a_step, 1,
                      b, k, columns, depth, lanes)  # fmt: skip
            row += 1


@inlined
def add_narrow_transposed(
    c: Any, rows: int, a: Any, a_at: Any, a_step: int, b: Any, depth: int, columns: int
) -> None:
    """``C += Aᵀ B`` for whole vectors of columns, where A (depth, rows) lies row by row."""
    lanes = VECTOR_BYTES // c.itemsize
    for k in range(0, columns, lanes):
        row = 0
        while row + 12 <= rows:
            _adding_12(c, row * columns + k, columns, a, a_at + row, 1, a_step,
                       b, k, columns, depth, lanes)  # fmt: skip
            row += 12
        while row + 4 <= rows:
            _adding_4(c, row * columns + k, columns, a, a_at + row, 1, a_step,
                      b, k, columns, depth, lanes)  # fmt: skip
            row += 4
        while row < rows:
            _adding_1(c, row * columns + k, columns, a, a_at + row, 1, a_step,
                      b, k, columns, depth, lanes)  # fmt: skip
            row += 1
