"""Features in any storage, read in blocks of rows.

Arrays on disk, half precision, integers, sparse matrices and folders of shards all look the same
to a pass over the data: blocks of rows in the dtype that the products want. Only a block is ever
converted or gathered, never the whole.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bridle import checks, mapped
from bridle.mapped import MappedArray, check_size, mapped_file, opened, releaser
from bridle.staging import Staging
from bridle.tensors import is_tensor

Array = npt.NDArray[Any]
Tensor = Any
Features = Any  # a dense array, or a sparse one: SciPy publishes no type for either

# A block that has to be converted or gathered holds at most this many numbers (16 MB of float32).
_CONVERTED_NUMBERS = 2**22
# Scattered rows of a mapped file that are gathered before their pages are given back.
_SCATTERED_ROWS = 1024
# PyTorch's dtypes that float32 cannot hold; NumPy's are known by what they are, not by a name,
# which byte order and platform change.
_WIDE_TENSORS = ("torch.float64", "torch.int32", "torch.uint32", "torch.int64", "torch.uint64")
# Those of NumPy's that every device of PyTorch converts.
_TENSOR_DTYPES = frozenset(
    ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
)


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
        self._staging: Staging | None = None
        count = int(self._starts[-1]) if index is None else len(index)
        self.shape = (count, int(widths.pop()))
        self.is_sparse = kinds.pop()

    def __len__(self) -> int:
        return self.shape[0]

    def __reduce__(self) -> tuple[Any, ...]:
        """Tell another process of these rows: of mapped files where they are, of others what is in.

        No other rows go along.
        """
        own = self.as_handed_over()
        parts = [MappedArray.of(array) or array for array in own._parts]
        return _rows_from, (parts, own._index, own._staging)

    @property
    def are_mapped(self) -> bool:
        """Whether all are read from mapped files, which another process can open too."""
        return all(MappedArray.of(array) is not None for array in self._parts)

    def as_handed_over(self) -> Rows:
        """Return the same rows as another process gets them: in files it can open, or in memory."""
        return self if self.are_mapped else self._gathered()

    def alone(self) -> Rows:
        """Return the same rows without the others that they were taken from, if these take memory.

        They are stored as before; those of parts of several dtypes in `dtype`.
        """
        lie_in_files = all(_is_in_file(array) for part in self._parts for array in _arrays(part))
        return self if lie_in_files else self._gathered()

    def _gathered(self) -> Rows:
        """Return the same rows in memory, without others."""
        if self._index is None:
            return self
        if self._holds_tensors:
            return Rows([self._gather_tensor(self._index)])._with_staging(self._staging)
        dtypes = {array.dtype for array in self._parts}
        dtype = self.dtype if len(dtypes) > 1 else dtypes.pop()
        if self.is_sparse:
            gathered = self._gather_mapped(self._index, dtype)
        else:
            gathered = np.empty(self.shape, dtype)
            for which, block in self.blocks(max(len(self), 1), dtype):
                gathered[which] = block
        return Rows([gathered])._with_staging(self._staging)

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
        return self._staging is not None or self._holds_tensors

    @property
    def _holds_tensors(self) -> bool:
        return all(is_tensor(array) for array in self._parts)

    def place(self, device: Any) -> Any:
        """Return a device that these rows may go to, as PyTorch has it.

        Raises
        ------
        MissingExtraError, InputError
            Where PyTorch is absent; for sparse rows, and a device that is not there.
        """
        if self.is_sparse:
            raise checks.InputError.of(
                "device", expected=f"dense features on {device}", found="sparse"
            )
        return checks.torch_device(device, "device")

    def on(self, device: Any) -> Rows:
        """Return the rows as one PyTorch tensor on a device.

        It is of the dtype they are stored in, half precision too, where PyTorch has that; else of
        `dtype`.

        Raises
        ------
        MissingExtraError, InputError
            As `place`; for a device without room for them.
        """
        place = self.place(device)
        torch: Any = sys.modules["torch"]
        carried, kind = self._carried()
        staging = Staging(place, self.shape[1], getattr(torch, kind))
        try:
            return Rows([staging.whole(carried._fill, len(self))])
        except torch.OutOfMemoryError:
            expected = f"room for {self.nbytes_on_device / 1e9:.3g} GB of features"
            found = f"less on {place}"
            raise checks.InputError.of("device", expected=expected, found=found) from None

    def streamed_to(self, device: Any) -> Rows:
        """Return the same rows, which stay on the host: their blocks go to a device when asked for.

        They travel as `on` stores them. While the device computes on a block, the next is read.

        Raises
        ------
        MissingExtraError, InputError
            As `place`; for tensors that are on a device already.
        """
        place = self.place(device)
        if self._holds_tensors and self.device.type != "cpu":
            raise checks.InputError.of(
                "device", expected="features on the host to stream", found=f"them on {self.device}"
            )
        kind = getattr(sys.modules["torch"], self._carried()[1])
        return Rows(self._parts, self._index)._with_staging(Staging(place, self.shape[1], kind))

    @property
    def is_streamed(self) -> bool:
        """Whether they are on the host, and their products made on a device."""
        return self._staging is not None

    def on_device_of(self, values: Any) -> Any:
        """Return values (an array, a tensor, None) on the device, where `are_tensors`."""
        if values is None or not self.are_tensors:
            return values
        return sys.modules["torch"].as_tensor(values, device=self.device)

    @property
    def device(self) -> Any:
        """Where the tensors are, or go, where `are_tensors`; None else."""
        if self._staging is not None:
            return self._staging.device
        return self._parts[0].device if self._holds_tensors else None

    def tensor_blocks(self, rows: int, dtype: np.dtype[Any]) -> Iterator[tuple[slice, Tensor]]:
        """Yield ``(which rows, their features as a tensor in dtype)``, where `are_tensors`.

        There may be fewer rows at a time than told. A block is good until the next one.
        """
        kind = getattr(sys.modules["torch"], dtype.name)
        if self._staging is not None:
            for which, block in self._staging.blocks(self._carried()[0]._fill, len(self), rows):
                yield which, block.to(kind)
            return
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

    @property
    def nbytes_on_device(self) -> int:
        """What all rows take `on` a device; dense ones."""
        rows, kind = self._carried()
        itemsize = 2 if kind == "bfloat16" else np.dtype(kind).itemsize
        return len(rows) * rows.shape[1] * itemsize

    def take(self, index: Array) -> Rows:
        """Return a choice of rows; nothing is read or copied.

        Raises
        ------
        InputError
            A number that no row has; below 0 they count from the end.
        """
        chosen = np.asarray(index)
        if chosen.dtype == np.bool_:
            chosen = np.flatnonzero(chosen)
        outside = (chosen < -len(self)) | (chosen >= len(self))
        if outside.any():
            found = chosen[int(np.argmax(outside))]
            raise checks.InputError.of("index", expected=f"rows below {len(self)}", found=found)
        chosen = np.where(chosen < 0, chosen + len(self), chosen)
        chosen = chosen if self._index is None else self._index[chosen]
        return Rows(self._parts, chosen)._with_staging(self._staging)

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
            release = self._releaser(array)
            file = mapped_file(array)
            viewed = array.dtype == dtype and release is None
            step = rows if viewed else self._rows_within(rows, numbers)
            for begin in range(0, array.shape[0], step):
                end = min(begin + step, array.shape[0])
                which = slice(int(start) + begin, int(start) + end)
                check_size(file)
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
        if self.is_sparse or self._mapped_bytes <= mapped.RESIDENT_BYTES:
            block = self._gather(chosen, dtype)
            self._release(chosen)
            return block
        block = np.empty((len(chosen), self.shape[1]), dtype)
        # Reading a row loads its neighbours in the file too, 64 KB or so.
        for begin in range(0, len(chosen), _SCATTERED_ROWS):
            scattered = slice(begin, begin + _SCATTERED_ROWS)
            block[scattered] = self._gather(chosen[scattered], dtype)
            self._release(chosen[scattered])
        return block

    def _release(self, chosen: Array) -> None:
        """Give the pages back that some rows were read from."""
        for place in np.unique(np.searchsorted(self._starts, chosen, side="right") - 1).tolist():
            release = self._releaser(self._parts[place])
            if release is not None:
                release()

    def _gather(self, chosen: Array, dtype: np.dtype[Any]) -> Features:
        if self._holds_tensors:
            return _converted(self._gather_tensor(chosen), dtype)
        if len(self._parts) == 1:
            return _converted(self._parts[0][chosen], dtype)
        array_of_row = np.searchsorted(self._starts, chosen, side="right") - 1
        numbers = np.unique(array_of_row) if len(chosen) else np.zeros(1, np.intp)
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
        in_order = bool((order[:-1] < order[1:]).all())
        return joined if in_order else joined[np.argsort(order)]

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

    def _with_staging(self, staging: Staging | None) -> Rows:
        self._staging = staging
        return self

    def _carried(self) -> tuple[Rows, str]:
        """Return the rows as numbers that NumPy has too, and PyTorch's name of their dtype.

        That is the one they are stored in where they have one that every device knows.
        """
        names = {_dtype_name(array) for array in self._parts}
        name = names.pop() if len(names) == 1 else self.dtype.name
        if name == "bfloat16":  # whose bits pass for whole numbers
            return Rows([_bits(array) for array in self._parts], self._index), name
        return self, name if name in _TENSOR_DTYPES else self.dtype.name

    def _fill(self, begin: int, into: Tensor) -> None:
        """Write rows, from one on, into a tensor on the host, as many as it has."""
        if str(into.dtype) == "torch.bfloat16":
            into = into.view(sys.modules["torch"].int16)
        end = begin + len(into)
        if self._index is not None:
            self._fill_gathered(self._index[begin:end], into)
            return
        first = int(np.searchsorted(self._starts, begin, side="right")) - 1
        for array, start in zip(self._parts[first:], self._starts[first:].tolist(), strict=False):
            if start >= end:
                break
            own = slice(max(begin - start, 0), min(end - start, len(array)))
            check_size(mapped_file(array))
            release = self._releaser(array)
            rows = _as_tensor(array[own], into.dtype)
            into[start + own.start - begin : start + own.stop - begin].copy_(rows)
            if release is not None:
                release()

    def _fill_gathered(self, chosen: Array, into: Tensor) -> None:
        is_large = self._mapped_bytes > mapped.RESIDENT_BYTES
        step = _SCATTERED_ROWS if is_large else max(1, len(chosen))
        for begin in range(0, len(chosen), step):
            some = chosen[begin : begin + step]
            array_of_row = np.searchsorted(self._starts, some, side="right") - 1
            for place in np.unique(array_of_row).tolist():
                own = np.flatnonzero(array_of_row == place)
                array = self._parts[place]
                check_size(mapped_file(array))
                _gather_into(
                    into[begin : begin + step], own, array, some[own] - self._starts[place]
                )
                release = self._releaser(array)
                if release is not None:
                    release()

    def _releaser(self, part: Features) -> Callable[[], None] | None:
        """Return what gives the pages of a part back, where the parts are large mapped files."""
        # The arrays of a sparse part lie in one file, if in any.
        return releaser(next(iter(_arrays(part)), None), self._mapped_bytes)

    @cached_property
    def _mapped_bytes(self) -> int:
        arrays = (array for part in self._parts for array in _arrays(part))
        return sum(array.nbytes for array in arrays if mapped_file(array) is not None)

    def _rows_within(self, rows: int, numbers: int) -> int:
        if self.is_sparse:
            return rows
        fitting: int = numbers // max(self.shape[1], 1)
        return max(1, min(rows, fitting))


def _rows_from(parts: Sequence[Any], index: Array | None, staging: Staging | None) -> Rows:
    return Rows([opened(part) for part in parts], index)._with_staging(staging)


def _arrays(part: Features) -> tuple[Array, ...]:
    """Return the arrays that a part is made of; none of a tensor."""
    if sparse.issparse(part):
        return part.data, part.indices, part.indptr
    return () if is_tensor(part) else (part,)


def _is_in_file(array: Array) -> bool:
    """Tell whether an array takes no memory but what a mapped file does."""
    return not array.size or (mapped_file(array) is not None and not array.flags.writeable)


def _readable(array: Features) -> Features:
    if sparse.issparse(array):
        return _with_unique_entries(array.tocsr())
    if not is_tensor(array):
        checks.unmasked(array, "features")
        return np.asanyarray(array)
    tensor = array.detach()
    shared = tensor.device.type == "cpu" and str(tensor.dtype) != "torch.bfloat16"
    return tensor.numpy() if shared else tensor


def _dtype_name(array: Features) -> str:
    """Return what the dtype is called, in whatever byte order."""
    return str(array.dtype).removeprefix("torch.") if is_tensor(array) else str(array.dtype.name)


def _numpy_dtype(kind: Any) -> np.dtype[Any]:
    return np.dtype(str(kind).removeprefix("torch."))


def _bits(array: Features) -> Features:
    """Return the bits of bfloat16, which NumPy lacks, as numbers that it has."""
    return array.view(sys.modules["torch"].int16 if is_tensor(array) else np.int16)


def _gather_into(into: Tensor, places: Array, array: Features, rows: Array) -> None:
    """Write some rows of an array into rising places of a tensor on the host."""
    torch: Any = sys.modules["torch"]
    shared = _shared(array, into.dtype)
    if shared is None:
        into[places] = _as_tensor(array[rows], into.dtype).to(into.dtype)
        return
    index = torch.from_numpy(rows.astype(np.int64, copy=False))
    first, last = int(places[0]), int(places[-1])
    if last - first == len(places) - 1:
        # On all threads, and without a copy in between.
        torch.index_select(shared, 0, index, out=into[first : last + 1])
    else:
        into[places] = shared[index]


def _as_tensor(rows: Features, kind: Any) -> Tensor:
    """Return some rows as a tensor on the host, a copy where their memory cannot be shared."""
    if is_tensor(rows):
        return rows.cpu()
    shared = _shared(rows, kind)
    if shared is None:
        shared = _shared(np.ascontiguousarray(_converted(rows, _numpy_dtype(kind))), kind)
    return shared


def _shared(array: Features, kind: Any) -> Tensor | None:
    """Return an array as a tensor of a PyTorch dtype in the same memory, if that can be."""
    if is_tensor(array) or array.dtype != _numpy_dtype(kind):
        return None
    if any(stride < 0 or stride % array.itemsize for stride in array.strides):
        return None
    with warnings.catch_warnings():
        # Of memory that may only be read, which it is.
        warnings.simplefilter("ignore", UserWarning)
        return sys.modules["torch"].from_numpy(array)


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
