"""Features in any storage, read in blocks of rows.

Arrays on disk, half precision, integers, sparse matrices and folders of shards all look the same
to a pass over the data: blocks of rows in the dtype that the products want. Only a block is ever
converted or gathered, never the whole.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bridle import checks
from bridle.mapped import check_size, mapped_file, releaser
from bridle.tensors import is_tensor

Array = npt.NDArray[Any]
Features = Any  # a dense array, or a sparse one: SciPy publishes no type for either

# A block that has to be converted or gathered holds at most this many numbers (16 MB of float32).
_CONVERTED_NUMBERS = 2**22
# Scattered rows of a mapped file that are gathered before their pages are given back.
_SCATTERED_ROWS = 1024
# PyTorch's dtypes that float32 cannot hold; NumPy's are known by what they are, not by a name,
# which byte order and platform change.
_WIDE_TENSORS = ("torch.float64", "torch.int32", "torch.uint32", "torch.int64", "torch.uint64")


class Rows:
    """Features ``(N, D)``: one array or several below each other, or a choice of their rows.

    Parameters
    ----------
    parts : sequence of (n_i, D) arrays
        Dense (of any real dtype and layout, memory-mapped too), PyTorch tensors, or SciPy sparse,
        all of one width.
    index : (N,) integers, optional
        Which rows of the parts laid below each other are meant; all by default.

    Raises
    ------
    InputError
        No part, a part that is not two-dimensional, parts of different width, or sparse parts
        among dense ones.

    Examples
    --------
    >>> rows = Rows([np.eye(2, dtype="float16"), np.zeros((3, 2), "float16")])
    >>> rows.shape, rows.take(np.array([1, 4])).shape
    ((5, 2), (2, 2))
    >>> [block.shape for _, block in rows.blocks(2, np.dtype("float32"))]
    [(2, 2), (2, 2), (1, 2)]
    """

    def __init__(self, parts: Sequence[Features], index: Array | None = None) -> None:
        self._parts = [_readable(array) for array in parts]
        if not self._parts or any(array.ndim != 2 for array in self._parts):
            raise checks.InputError(
                "features: expected at least one two-dimensional array",
                argument="features",
                expected="at least one two-dimensional array",
            )
        widths = {array.shape[1] for array in self._parts}
        if len(widths) > 1:
            raise checks.InputError.of("features", expected="one width", found=sorted(widths))
        devices = {str(array.device) for array in self._parts if is_tensor(array)}
        if len(devices) > 1:
            raise checks.InputError.of("features", expected="one device", found=sorted(devices))
        kinds = {bool(sparse.issparse(array)) for array in self._parts}
        if len(kinds) > 1:
            raise checks.InputError.of(
                "features", expected="all parts dense or all sparse", found="both"
            )
        self._starts = np.cumsum([0, *(array.shape[0] for array in self._parts)])
        self._index = index
        count = int(self._starts[-1]) if index is None else len(index)
        self.shape = (count, int(widths.pop()))
        self.is_sparse = kinds.pop()

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype the products are taken in: float32 where it holds every number, else float64.

        In any byte order. Of long doubles and integers of 64 bits float64 keeps 53 bits.
        """
        wide = any(_is_wide(array) for array in self._parts)
        return np.dtype(np.float64 if wide else np.float32)

    @property
    def are_tensors(self) -> bool:
        """Whether the products are PyTorch's: on another device, or of a dtype that is its own."""
        return all(is_tensor(array) for array in self._parts)

    def on(self, device: Any) -> Rows:
        """Return the rows as one PyTorch tensor on a device, copied there block by block.

        Half precision stays what it is; all else goes there in `dtype`.

        Raises
        ------
        MissingExtraError, InputError
            Where PyTorch is absent; for sparse rows, and a device that is not there.
        """
        torch = checks.require("torch", extra="torch", purpose="a fit on a device")
        if self.is_sparse:
            raise checks.InputError.of(
                "device", expected=f"dense features on {device}", found="sparse"
            )
        half = all(_is_half(array) for array in self._parts)
        dtype = np.dtype(np.float16) if half else self.dtype
        try:
            there = torch.empty(self.shape, dtype=getattr(torch, dtype.name), device=device)
        except (RuntimeError, AssertionError) as error:  # PyTorch's own words are many lines
            found = str(error).partition("\n")[0]
            raise checks.InputError(
                f"device: expected one that PyTorch has: {found}",
                argument="device",
                expected="one that PyTorch has",
                found=str(device),
            ) from None
        for rows, block in self.blocks(len(self), dtype):
            there[rows] = torch.from_numpy(np.ascontiguousarray(block))
        return Rows([there])

    def on_device_of(self, values: Any) -> Any:
        """Return values (an array, a tensor, None) on the device, where `are_tensors`."""
        if values is None or not self.are_tensors:
            return values
        return sys.modules["torch"].as_tensor(values, device=self.device)

    @property
    def device(self) -> Any:
        """Where the tensors are, where `are_tensors`; None else."""
        return self._parts[0].device if self.are_tensors else None

    def tensor_blocks(self, rows: int, dtype: np.dtype[Any]) -> Iterator[tuple[slice, Any]]:
        """Yield ``(which rows, their features as a tensor in dtype)``, where `are_tensors`."""
        kind = getattr(sys.modules["torch"], dtype.name)
        starts = self._starts if self._index is None else [0]
        for start, array in zip(starts, self._parts, strict=False):
            count = len(array) if self._index is None else len(self)
            for begin in range(0, count, rows):
                which = slice(int(start) + begin, int(start) + min(begin + rows, count))
                if self._index is None:
                    yield which, array[begin : begin + rows].to(kind)
                else:
                    yield which, self._gather_tensor(self._index[which]).to(kind)

    @property
    def nbytes(self) -> int:
        """What all rows take in `dtype`; of sparse ones, the stored numbers of all parts."""
        if self.is_sparse:
            return int(sum(array.nnz for array in self._parts)) * self.dtype.itemsize
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def take(self, index: Array) -> Rows:
        """Return a choice of rows; nothing is read or copied."""
        chosen = np.asarray(index)
        if chosen.dtype == np.bool_:
            chosen = np.flatnonzero(chosen)
        return Rows(self._parts, chosen if self._index is None else self._index[chosen])

    def blocks(
        self,
        rows: int,
        dtype: np.dtype[Any] | None = None,
        *,
        numbers: int = _CONVERTED_NUMBERS,
    ) -> Iterator[tuple[slice, Features]]:
        """Yield ``(which rows, their features in dtype)``, at most ``rows`` of them at a time.

        A block is a view where the storage already has the dtype, else a copy of at most
        ``numbers`` numbers, or of one row.
        """
        dtype = self.dtype if dtype is None else dtype
        if self._index is not None:
            yield from self._gathered_blocks(self._rows_within(rows, numbers), dtype)
            return
        for start, array in zip(self._starts, self._parts, strict=False):
            release = releaser(array)
            mapped = mapped_file(array)
            viewed = array.dtype == dtype and release is None
            step = rows if viewed else self._rows_within(rows, numbers)
            for begin in range(0, array.shape[0], step):
                end = min(begin + step, array.shape[0])
                which = slice(int(start) + begin, int(start) + end)
                check_size(mapped)
                yield which, _converted(_row_range(array, begin, end), dtype)
                if release is not None:
                    release()

    def to_array(self) -> Features:
        """Return all rows as one dense or sparse array in `dtype`."""
        if len(self._parts) == 1 and self._index is None:
            check_size(mapped_file(self._parts[0]))
            return _converted(self._parts[0], self.dtype)
        blocks = [block for _, block in self.blocks(max(len(self), 1))]
        if not blocks:
            empty = np.zeros(self.shape, self.dtype)
            return sparse.csr_array(empty) if self.is_sparse else empty
        return sparse.vstack(blocks, format="csr") if self.is_sparse else np.concatenate(blocks)

    def stored(self, rows: slice = slice(None)) -> Features:
        """Return all rows, or those of a range, as they are stored if that is one dense array.

        That is of floats, and not even read. Others as by `to_array`.
        """
        if len(self._parts) == 1 and self._index is None and not self.is_sparse:
            part = self._parts[0]
            if not is_tensor(part) and part.dtype.kind == "f":
                return part if rows == slice(None) else part[rows]
        if rows == slice(None):
            return self.to_array()
        return self.take(np.arange(*rows.indices(len(self)))).to_array()

    def _gathered_blocks(self, step: int, dtype: np.dtype[Any]) -> Iterator[tuple[slice, Features]]:
        assert self._index is not None
        for begin in range(0, len(self), step):
            chosen = self._index[begin : begin + step]
            yield slice(begin, begin + len(chosen)), self._gather_mapped(chosen, dtype)

    def _gather_mapped(self, chosen: Array, dtype: np.dtype[Any]) -> Features:
        for array in self._parts:
            check_size(mapped_file(array))
        releases = [release for array in self._parts if (release := releaser(array)) is not None]
        if not releases:
            return self._gather(chosen, dtype)
        block = np.empty((len(chosen), self.shape[1]), dtype)
        # Reading a row loads its neighbours in the file too, 64 KB or so.
        for begin in range(0, len(chosen), _SCATTERED_ROWS):
            scattered = slice(begin, begin + _SCATTERED_ROWS)
            block[scattered] = self._gather(chosen[scattered], dtype)
            for release in releases:
                release()
        return block

    def _gather(self, chosen: Array, dtype: np.dtype[Any]) -> Features:
        if self.are_tensors:
            return _converted(self._gather_tensor(chosen), dtype)
        if len(self._parts) == 1:
            return _converted(self._parts[0][chosen], dtype)
        array_of_row = np.searchsorted(self._starts, chosen, side="right") - 1
        numbers = np.unique(array_of_row)
        gathered = [
            _converted(
                self._parts[number][chosen[array_of_row == number] - self._starts[number]], dtype
            )
            for number in numbers
        ]
        order = np.concatenate([np.flatnonzero(array_of_row == number) for number in numbers])
        joined = (
            sparse.vstack(gathered, format="csr") if self.is_sparse else np.concatenate(gathered)
        )
        return joined[np.argsort(order)]

    def _gather_tensor(self, chosen: Array) -> Any:
        torch = sys.modules["torch"]
        array_of_row = np.searchsorted(self._starts, chosen, side="right") - 1
        gathered, positions = [], []
        for place in np.unique(array_of_row):
            array, rows_of_array = self._parts[place], np.flatnonzero(array_of_row == place)
            index = torch.as_tensor(
                chosen[rows_of_array] - self._starts[place], device=array.device
            )
            gathered.append(array[index])
            positions.append(rows_of_array)
        if len(gathered) == 1:
            return gathered[0]
        order = np.argsort(np.concatenate(positions)) if positions else np.zeros(0, np.intp)
        joined = torch.cat(gathered) if gathered else self._parts[0][:0]
        return joined[torch.as_tensor(order, device=joined.device)]

    def _rows_within(self, rows: int, numbers: int) -> int:
        if self.is_sparse:
            return rows
        fitting: int = numbers // max(self.shape[1], 1)
        return max(1, min(rows, fitting))


def _readable(array: Features) -> Features:
    if sparse.issparse(array):
        return _with_unique_entries(array.tocsr())
    if not is_tensor(array):
        checks.unmasked(array, "features")
        return np.asanyarray(array)
    tensor = array.detach()
    shared = tensor.device.type == "cpu" and str(tensor.dtype) != "torch.bfloat16"
    return tensor.numpy() if shared else tensor


def _is_half(array: Features) -> bool:
    return not is_tensor(array) and array.dtype.kind == "f" and array.dtype.itemsize == 2


def _is_wide(array: Features) -> bool:
    if is_tensor(array):
        return str(array.dtype) in _WIDE_TENSORS
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "b" or (kind in "iu" and size <= 2):
        return False
    return not (array.dtype.name == "bfloat16" or (kind == "f" and size <= 4))


def _with_unique_entries(array: Features) -> Features:
    """Return booleans without duplicate entries: as numbers, True twice would be 2."""
    if array.dtype != np.bool_ or array.has_canonical_format:
        return array
    unique = array.copy()
    unique.sum_duplicates()
    return unique


def _converted(block: Features, dtype: np.dtype[Any]) -> Features:
    if not is_tensor(block):
        if block.dtype == np.float16 and dtype == np.float32 and not sparse.issparse(block):
            # Half the time of `astype`, which converts them one by one.
            return np.take(_float16_values(), block.view(np.uint16), mode="clip")
        return block.astype(dtype, copy=False)
    return block.to(device="cpu", dtype=getattr(sys.modules["torch"], dtype.name)).numpy()


@cache
def _float16_values() -> npt.NDArray[np.float32]:
    """Return what the 65,536 patterns of a float16 stand for."""
    return np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)


def _row_range(array: Features, begin: int, end: int) -> Features:
    """Return a view of some rows, where SciPy's own slice would be a copy."""
    if not sparse.issparse(array):
        return array[begin:end]
    first, last = array.indptr[begin], array.indptr[end]
    view = sparse.csr_array((end - begin, array.shape[1]), dtype=array.dtype)
    # Given to the constructor, a small part of the entries would be copied.
    view.data, view.indices = array.data[first:last], array.indices[first:last]
    view.indptr = array.indptr[begin : end + 1] - first
    return view
