"""The solver's arithmetic on the arrays of its reader: NumPy's, or tensors of any device.

What both kinds of arrays spell alike is written with their operators where it is needed; here is
the rest. A number that only goes on into other arithmetic stays on its device: reading it would
make the host wait.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.kernels import thresholds
from bridle.tensors import is_tensor, on_host

# A NumPy array, or a tensor.
Array = Any


def on_device_of(values: Any, like: Array) -> Array:
    """Return values (an array, a tensor, None) as an array of the kind and device of another."""
    if values is None or not is_tensor(like):
        return values if values is None else on_host(values)
    return sys.modules["torch"].as_tensor(values, device=like.device)


def device_of(values: Array) -> Any:
    """Return the device of a tensor; None for NumPy's arrays."""
    return values.device if is_tensor(values) else None


def is_on_accelerator(values: Array) -> bool:
    """Tell whether an array is in the memory of a device that is no CPU."""
    return is_tensor(values) and values.device.type != "cpu"


def in_dtype(values: Array, dtype: np.dtype[Any]) -> Array:
    """Return values in a NumPy dtype, or the tensor's of that name."""
    if not is_tensor(values):
        return values.astype(dtype, copy=False)
    return values.to(getattr(sys.modules["torch"], np.dtype(dtype).name))


def in_dtype_of(values: Array, other: Array) -> Array:
    """Return values in the dtype of another array."""
    return values.to(other.dtype) if is_tensor(values) else values.astype(other.dtype, copy=False)


def copied(values: Array) -> Array:
    """Return a copy."""
    return values.clone() if is_tensor(values) else values.copy()


def inner(left: Array, right: Array) -> Any:
    """Return Σ left · right, in float64 where either is."""
    if not is_tensor(left):
        return float(np.vdot(left, right))
    if left.dtype != right.dtype:
        kind = sys.modules["torch"].promote_types(left.dtype, right.dtype)
        left, right = left.to(kind), right.to(kind)
    return left.flatten() @ right.flatten()


def on_host_at_once(*numbers: Any) -> list[float]:
    """Return numbers as Python's; of a device's the host waits once for all."""
    if not is_tensor(numbers[0]):
        return [float(number) for number in numbers]
    torch = sys.modules["torch"]
    found: list[float] = torch.stack([number.double() for number in numbers]).tolist()
    return found


def norm(values: Array) -> float:
    """Return the Euclidean norm."""
    return math.sqrt(inner(values, values))


def stacked(weight: Array, intercept: Array) -> Array:
    """Return ``weight`` (D, K) with ``intercept`` (K,) below it."""
    if not is_tensor(weight):
        return np.vstack([weight, intercept])
    return sys.modules["torch"].cat([weight, intercept[None].to(weight.dtype)])


def nothing(like: Array) -> Any:
    """Return the number 0, on the device of an array."""
    return zeros((), like) if is_tensor(like) else 0.0


def larger(left: Any, right: Any) -> Any:
    """Return the larger of two numbers, or NaN; on their device."""
    return sys.modules["torch"].maximum(left, right) if is_tensor(left) else max(left, right)


def target_sum(target: Array, classes: int, row_weight: Array) -> Array:
    """Return Σ s t, the weight of each class (K,), in float64."""
    if target.ndim == 2:
        return row_weight @ in_dtype_of(target, row_weight)
    if not is_tensor(target):
        return np.bincount(target, row_weight, classes)
    one_hot = sys.modules["torch"].nn.functional.one_hot(target, classes)
    return row_weight @ one_hot.to(row_weight.dtype)


def flat_rows(values: list[Array]) -> Array:
    """Return tensors of one shape as the rows of a matrix."""
    return sys.modules["torch"].stack([each.flatten() for each in values])


def solve_triangle(triangle: Array, right: Array, *, upper: bool) -> Array:
    """Return x with ``triangle @ x = right``, of tensors."""
    solve: Any = sys.modules["torch"].linalg.solve_triangular
    return solve(triangle, right[:, None], upper=upper)[:, 0]


def with_columns(matrix: Array, column: Array, count: int) -> Array:
    """Return ``matrix`` (n, k) with a column (n,) to its right, so many times."""
    if not is_tensor(matrix):
        return np.hstack([matrix, np.repeat(column[:, None], count, axis=1)])
    return sys.modules["torch"].hstack([matrix, column[:, None].expand(-1, count)])


def joined(matrices: list[Array]) -> Array:
    """Return matrices below each other."""
    if is_tensor(matrices[0]):
        return sys.modules["torch"].cat(matrices)
    return np.concatenate(matrices)


def outer(left: Array, right: Array) -> Array:
    """Return the products of all pairs."""
    return left[:, None] * right[None, :]


def zeros(shape: tuple[int, ...] | int, like: Array) -> Array:
    """Return float64 zeros of the kind and device of another array."""
    if not is_tensor(like):
        return np.zeros(shape)
    torch = sys.modules["torch"]
    return torch.zeros(shape, dtype=torch.float64, device=like.device)


def empty(shape: tuple[int, ...], like: Array) -> Array:
    """Return uninitialised memory of the kind, device and dtype of another array."""
    if not is_tensor(like):
        return np.empty(shape, like.dtype)
    return sys.modules["torch"].empty(shape, dtype=like.dtype, device=like.device)


def zeros_above_room(rows: int, like: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return zeros with the columns and dtype of an array, and memory for one row more."""
    return np.zeros((rows + 1, like.shape[1]), like.dtype)[:-1]


def with_row_below(matrix: Array) -> Array:
    """Return a matrix with one more row, its values not set; in its own memory if that has room.

    With many features a second array of that size would cost as much as the arithmetic.
    """
    shape = (len(matrix) + 1, matrix.shape[1])
    room: Any = None if is_tensor(matrix) else matrix.base
    has_room = isinstance(room, np.ndarray) and room.shape == shape
    if has_room and room.ctypes.data == matrix.ctypes.data:
        return room
    longer = empty(shape, matrix)
    longer[:-1] = matrix
    return longer


def slices_in_cache(matrix: Array) -> Iterator[slice]:
    """Yield slices of the rows that stay in cache; of a device's matrix, all of them at once."""
    step = max(
        1, len(matrix) if is_tensor(matrix) else thresholds.CACHED_NUMBERS // matrix.shape[1]
    )
    for begin in range(0, len(matrix), step):
        yield slice(begin, begin + step)


def rows_with_numbers(matrix: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Return which rows of a matrix on the host are not all 0: quick where few numbers are not."""
    rows = np.flatnonzero(matrix != 0) // matrix.shape[1]
    return np.asarray(rows[np.diff(rows, prepend=-1) > 0])


def eigh(matrix: Array) -> tuple[Array, Array]:
    """Return eigenvalues in rising order, and eigenvectors, of a symmetric matrix."""
    if not is_tensor(matrix):
        return tuple(np.linalg.eigh(matrix))  # type: ignore[return-value]
    values, vectors = sys.modules["torch"].linalg.eigh(matrix)
    return values, vectors


def softmax(scores: Array) -> Array:
    """Return the softmax of each row."""
    if is_tensor(scores):
        return sys.modules["torch"].softmax(scores, dim=1)
    from bridle import probabilities

    return probabilities.softmax(scores)


def row_squares(matrix: Array) -> Array:
    """Return Σ_c x_c² of each row."""
    if is_tensor(matrix):
        return (matrix * matrix).sum(1)
    return np.einsum("nk,nk->n", matrix, matrix)


def column_products(left: Array, right: Array) -> Array:
    """Return Σ_n left · right of each column."""
    if is_tensor(left):
        return (left * right).sum(0)
    return np.einsum("nk,nk->k", left, right)


def column_sums(matrix: Array) -> Array:
    """Return the sum of each column, in float64."""
    if is_tensor(matrix):
        return matrix.sum(0, dtype=sys.modules["torch"].float64)
    # The same as ``matrix.sum(axis=0, dtype=np.float64)``, in half the time.
    return np.einsum("nk->k", matrix, dtype=np.float64, casting="same_kind")


def diagonal(values: Array) -> Array:
    """Return the matrix with this diagonal."""
    return sys.modules["torch"].diag(values) if is_tensor(values) else np.diag(values)


def log_softmax(scores: Array) -> Array:
    """Return the log-softmax of each row."""
    if is_tensor(scores):
        return sys.modules["torch"].log_softmax(scores, dim=1)
    from bridle import probabilities

    return probabilities.log_softmax(scores)
