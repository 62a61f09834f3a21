"""A sparse row times a dense matrix, with the row's sums in registers.

The line of sums is cut into tiles of up to four vectors, which stay in registers while the row's
entries are gone through. The last vector is read and written under a mask, so that no width needs
padding.
"""

from __future__ import annotations

from typing import Any

from numba.core import types

from bridle.kernels.numba.compiling import inlined, instruction
from bridle.kernels.numba.vectors import VECTOR_BYTES, Vectors


def _tile(count: int) -> Any:
    """Return a building block for a tile of so many vectors."""

    @instruction
    def product(
        _typing: Any, line: Any, line_at: Any, dense: Any, dense_at: Any, step: Any, columns: Any,
        data: Any, indices: Any, first: Any, last: Any,
    ) -> Any:  # fmt: skip
        """``line[k] += Σ_e data[e] · dense[indices[e], k]``, for e from ``first`` to ``last − 1``.

        Arrays are flat; ``_at`` is where the first column begins, ``step`` how far the rows of
        ``dense`` are apart, ``columns`` how many there are from here on.
        """
        del line_at, dense_at, step, columns, first, last
        size = types.intp
        signature = types.none(line, size, dense, size, size, size, data, indices, size, size)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _generate(context, builder, signature, arguments, count)
            return context.get_dummy_value()

        return signature, generate

    return product


def _generate(context: Any, builder: Any, signature: Any, arguments: Any, count: int) -> None:
    line, line_at, dense, dense_at, step, columns, data, indices, first, last = arguments
    line, dense, data, indices = (
        context.make_array(signature.args[place])(context, builder, array).data
        for place, array in ((0, line), (2, dense), (6, data), (7, indices))
    )
    number = context.get_value_type(signature.args[0].dtype)
    lanes = VECTOR_BYTES // (signature.args[0].dtype.bitwidth // 8)
    vectors = Vectors(number, lanes, builder)
    word = line_at.type
    offsets = [word(part * lanes) for part in range(count)]
    masks = [vectors.mask(builder.sub(columns, offset)) for offset in offsets]
    sums = [
        vectors.load(line, builder.add(line_at, offset), mask)
        for offset, mask in zip(offsets, masks, strict=True)
    ]

    before, loop, after = (
        builder.block, builder.append_basic_block("entries"), builder.append_basic_block("done"),
    )  # fmt: skip
    builder.cbranch(builder.icmp_signed("<", first, last), loop, after)
    builder.position_at_end(loop)
    entry = builder.phi(word)
    entry.add_incoming(first, before)
    running = [builder.phi(vectors.kind) for _ in masks]
    value = _as_number(builder, builder.load(builder.gep(data, [entry])), number)
    index = builder.load(builder.gep(indices, [entry]))
    index = index if index.type == word else builder.sext(index, word)
    at = builder.add(dense_at, builder.mul(index, step))
    factor = vectors.splat(value)
    totals = [
        vectors.multiply_add(factor, vectors.load(dense, builder.add(at, offset), mask), total)
        for offset, mask, total in zip(offsets, masks, running, strict=True)
    ]
    following = builder.add(entry, word(1))
    entry.add_incoming(following, loop)
    for start, total, kept in zip(sums, totals, running, strict=True):
        kept.add_incoming(start, before)
        kept.add_incoming(total, loop)
    builder.cbranch(builder.icmp_signed("<", following, last), loop, after)

    builder.position_at_end(after)
    results = [builder.phi(vectors.kind) for _ in masks]
    for start, total, result in zip(sums, totals, results, strict=True):
        result.add_incoming(start, before)
        result.add_incoming(total, loop)
    for result, offset, mask in zip(results, offsets, masks, strict=True):
        vectors.store(result, line, builder.add(line_at, offset), mask)


def _as_number(builder: Any, value: Any, number: Any) -> Any:
    if value.type == number:
        return value
    narrower = str(value.type) == "float"
    return builder.fpext(value, number) if narrower else builder.fptrunc(value, number)


_tile_1, _tile_2, _tile_3, _tile_4 = (_tile(count) for count in range(1, 5))


@inlined
def add_row_product(
    line: Any, line_at: int, dense: Any, columns: int, data: Any, indices: Any, first: int,
    last: int,
) -> None:  # fmt: skip
    """Add ``Σ_e data[e] · dense[indices[e]]`` to the ``columns`` numbers from ``line_at`` on.

    All arrays are flat; ``dense`` lies row by row.
    """
    lanes = VECTOR_BYTES // line.itemsize
    for k in range(0, columns, 4 * lanes):
        left = columns - k
        if left > 3 * lanes:
            _tile_4(line, line_at + k, dense, k, columns, left, data, indices, first, last)
        elif left > 2 * lanes:
            _tile_3(line, line_at + k, dense, k, columns, left, data, indices, first, last)
        elif left > lanes:
            _tile_2(line, line_at + k, dense, k, columns, left, data, indices, first, last)
        else:
            _tile_1(line, line_at + k, dense, k, columns, left, data, indices, first, last)
