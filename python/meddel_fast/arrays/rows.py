"""Samples as the kernels take them: checked, of a known type; and results in the user's kind.

numpy arrays and torch tensors come in, and what :mod:`meddel_fast.arrays.kinds` makes such of; a
:class:`Rows` goes to the kernels, and its :meth:`Rows.back` turns results into what came in.
Nothing is copied when the rows are already adjacent elements of a supported type, so a
memory-mapped ``.npy`` stays on disk.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import _core
from meddel_fast.arrays.kinds import in_memory, result_in_kind
from meddel_fast.arrays.kinds.bits import as_bits

SUPPORTED = "float32, float16, bfloat16 (torch, JAX), float64 or int8"

_FLOAT32 = np.dtype(np.float32)


def is_torch(x: Any) -> bool:
    """Whether x is a torch tensor, without importing torch for those who do not use it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def to_numpy(name: str, x: Any) -> NDArray[Any]:
    """Return x as an array that shares its memory where it can (a tensor's bf16 comes as uint16).

    Raises
    ------
    TypeError
        If x is of a kind that numpy would take for something else, or lose a part of: masked
        arrays, sparse ones, iterators, text, mappings, objects that are no array.
    ValueError
        If it is a list of lists of different lengths, or on another device.
    """
    if type(x) is not np.ndarray:
        x = in_memory(name, x)
    check_kind(name, x)
    if not is_torch(x):
        try:
            array = np.asarray(x)
        except ValueError as error:
            raise ValueError(f"{name} must be an array, with rows of one length: {error}") from None
        if array.ndim == 0 and array.dtype.kind == "O":
            raise TypeError(f"{name} must be an array, got {_kind(x)}")
        return array
    torch = sys.modules["torch"]
    if x.device.type != "cpu":
        raise ValueError(f"{name} must be on the CPU here, got {x.device}")
    x = x.detach()
    if x.dtype == torch.bfloat16:
        return x.view(torch.int16).numpy().view(np.uint16)  # type: ignore[no-any-return]
    try:
        return x.resolve_conj().resolve_neg().numpy()  # type: ignore[no-any-return]
    except TypeError:  # a type that numpy does not have
        raise TypeError(f"{name} must be {SUPPORTED}, got {x.dtype}") from None


def to_matrix(name: str, x: Any) -> NDArray[Any]:
    """Return :func:`to_numpy` of x if it has two axes, and numbers in it."""
    array = to_numpy(name, x)
    if array.dtype.kind == "O":  # whatever its shape
        raise TypeError(f"{name} must be {SUPPORTED}, got {array.dtype} in {_kind(x)}")
    if array.ndim != 2:
        raise ValueError(f"{name} must be a 2-d float array, got shape {array.shape}")
    return array


def to_bits(name: str, x: Any) -> tuple[NDArray[Any], bool]:
    """Return :func:`to_matrix` of x, of bfloat16 its bits, and whether it is of that type."""
    array, bfloat16 = as_bits(to_matrix(name, x))
    return array, bfloat16 or (is_torch(x) and x.dtype == sys.modules["torch"].bfloat16)


def check_kind(name: str, x: Any) -> None:
    """Refuse what numpy takes, but for something else."""
    if type(x) is np.ndarray:  # the common case, told at once
        return
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(
            f"{name} must not be a masked array, whose mask would be lost: fill it, or leave the "
            "masked rows out"
        )
    sparse = hasattr(x, "toarray") and hasattr(x, "nnz")
    if sparse or (is_torch(x) and str(x.layout) not in ("torch.strided", "torch._mkldnn")):
        raise TypeError(f"{name} must be dense, got {_kind(x)}: make it dense first")
    if isinstance(x, (Iterator, Mapping, Set, str, bytes)):
        way = ": pass numpy.stack(list(x))" if isinstance(x, Iterator) else ""
        raise TypeError(f"{name} must be an array, got {_kind(x)}{way}")


def _kind(x: Any) -> str:
    kind = type(x)
    library = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"a {library}{kind.__qualname__}"


def in_kind(x: Any, found: Any) -> Any:
    """Return a result of numpy arrays, or an iterator over some, as x's library has it."""
    if not is_torch(x):
        return result_in_kind(x, found)
    if isinstance(found, Iterator):
        return (in_kind(x, chunk) for chunk in found)
    torch = sys.modules["torch"]
    fields = (torch.from_numpy(f) if isinstance(f, np.ndarray) else f for f in found)
    return type(found)(*fields)


@dataclass(frozen=True)
class Rows:
    """A checked (n, d) array as the kernels take it, and the way back to the user's kind."""

    array: NDArray[Any]
    torch: bool
    bfloat16: bool
    known: _core.Prepared | None = None

    @property
    def matrix(self) -> NDArray[Any] | _core.Prepared:
        """The rows for the functions of ``_core``, with what is known of them."""
        held = self.known is not None and self.known.rows is self.array
        return self.known if held else self.array  # type: ignore[return-value]

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.array.shape[0])

    @property
    def d(self) -> int:
        """Number of columns."""
        return int(self.array.shape[1])

    def floats(self, which: Any = slice(None)) -> NDArray[np.float32]:
        """Return all or some of the rows in fp32, exactly, as a copy."""
        if self.array.dtype is _FLOAT32:
            return np.array(self.array[which], order="C")
        return np.ascontiguousarray(replace(self, array=self.array[which]).widened().array)

    def take(self, which: NDArray[np.int64]) -> Rows:
        """Return some of the rows."""
        return replace(self, array=self.array[which])

    def back(self, *arrays: NDArray[Any]) -> tuple[Any, ...]:
        """Return results as torch tensors when the input was one, else as they are."""
        return tuple(map(sys.modules["torch"].from_numpy, arrays)) if self.torch else arrays

    def widened(self) -> Rows:
        """Return the rows in fp32, exactly."""
        if self.bfloat16:
            wide = (self.array.astype(np.uint32) << 16).view(np.float32)
        else:
            wide = self.array.astype(np.float32)
        return Rows(wide, self.torch, False)

    def prepared(self) -> Rows:
        """Return the same rows, of which operations keep what they work out."""
        if self.known is not None:
            return self
        return replace(self, known=_core.Prepared(self.array))


def open_rows(name: str, x: Any) -> Rows:
    """Return an (n, d) array as the kernels take it, its elements not yet checked.

    Raises
    ------
    TypeError
        If the elements are of no supported type.
    ValueError
        If x is not 2-d, or is empty.
    """
    if type(x) is np.ndarray and x.dtype is _FLOAT32 and x.ndim == 2 and x.size:
        flags = x.flags
        if flags.c_contiguous and flags.aligned:  # as most come
            return Rows(x, False, False)
    array, bfloat16 = to_bits(name, x)
    if 0 in array.shape:
        raise ValueError(f"{name} must have at least one row and one column, got {array.shape}")
    return Rows(adjacent(_supported_type(name, array, bfloat16)), is_torch(x), bfloat16)


def check_equal_width(x: Any, y: Any) -> None:
    """Refuse a second set, rows of whatever kind, that has another ``d`` than the first."""
    if y.d != x.d:
        raise ValueError(f"y must have {x.d} columns like x, got {y.d}")


def check_finite(
    name: str, rows: NDArray[Any] | _core.Prepared, threads: int, first: int = 0
) -> None:
    """Refuse rows, of which `first` is the index of the first, with a NaN or an infinity."""
    bad = _core.first_nonfinite_row(rows, threads)
    if bad >= 0:
        raise ValueError(f"{name} must be finite in fp32, got NaN or infinity in row {first + bad}")


def _supported_type(name: str, x: NDArray[Any], bfloat16: bool) -> NDArray[Any]:
    if bfloat16:
        return x
    if x.dtype.kind == "f" and x.dtype.itemsize == 8:
        with np.errstate(over="ignore"):  # beyond fp32 becomes infinite and is refused below
            return x.astype(np.float32)
    if (x.dtype.kind, x.dtype.itemsize) not in {("f", 4), ("f", 2), ("i", 1)}:
        raise TypeError(f"{name} must be {SUPPORTED}, got {x.dtype}")
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))


def adjacent(x: NDArray[Any]) -> NDArray[Any]:
    """Return x, copied only if elements are not adjacent or aligned, or rows run backwards."""
    row, element = x.strides
    adjacent = x.shape[1] == 1 or element == x.itemsize
    forwards = len(x) == 1 or (row >= x.shape[1] * x.itemsize and row % x.itemsize == 0)
    if adjacent and forwards and x.flags.aligned:
        return x
    return np.array(x, order="C")  # (ascontiguousarray keeps a misaligned one)
