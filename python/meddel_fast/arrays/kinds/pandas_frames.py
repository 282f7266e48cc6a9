"""pandas: frames of numbers, and columns of vectors or values.

A frame whose columns are one block of memory with rows in it (``DataFrame(x, copy=False)``) is read
where it is; one that pandas keeps column after column is put together, and so is a column of
arrays. Results come as Series and frames; what has an entry for each row has x's index.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays.kinds.readers import Columns, RowReader

_TYPES = {("f", 8), ("f", 4), ("f", 2), ("i", 1)}


def open_rows(name: str, x: Any, column: str | None) -> Any:
    """Return the rows of a frame or of a column of vectors; of other columns their values.

    Raises
    ------
    TypeError
        Columns of several types, or of none that the operations take.
    ValueError
        A missing value; vectors of several lengths.
    """
    pd = sys.modules["pandas"]
    if isinstance(x, pd.DataFrame):
        return _of_frame(name, x, column)
    if not isinstance(x, pd.Series):
        return np.asarray(x)
    if column is not None:
        raise ValueError(f"column must be None for {name}, which is one column, got {column!r}")
    return _of_series(name, x)


def result(x: Any, field: str, array: NDArray[Any], each: bool) -> Any:
    """Return a result as a Series or a frame; with x's index where it has an entry a row."""
    pd = sys.modules["pandas"]
    index = x.index if each and hasattr(x, "index") and len(x.index) == len(array) else None
    if array.ndim == 1:
        return pd.Series(array, index=index, name=field, copy=False)
    return pd.DataFrame(array, index=index, copy=False)


def _of_frame(name: str, x: Any, column: str | None) -> Any:
    columns = [x.iloc[:, place] for place in range(x.shape[1])]  # two may have one name
    chosen = [c for c in columns if (_holds_vectors(c) if column is None else c.name == column)]
    if column is not None and len(chosen) != 1:
        raise ValueError(f"{name} must have one column {column!r}; its columns: {_columns(x)}")
    if len(chosen) > 1:
        found = ", ".join(str(c.name) for c in chosen)
        raise ValueError(
            f"{name} must have one column of vectors, got {len(chosen)}: {found}; pass one of them"
        )
    if chosen:
        return _of_series(name, chosen[0], column=str(chosen[0].name))
    kinds = [_number_type(kind) for kind in x.dtypes]
    if not kinds or kinds[0] is None or any(kind != kinds[0] for kind in kinds):
        raise TypeError(
            f"{name} must have a column of vectors, or columns of numbers of one type; its "
            f"columns: {_columns(x)}"
        )
    head = x.iloc[:1]
    if np.shares_memory(head.to_numpy(), head.iloc[:, 0].to_numpy()):
        return x.to_numpy()  # the frame's one block
    for one in columns:
        if not isinstance(one.dtype, np.dtype):
            _check_missing(name, one, str(one.name))
    return Columns(name, [partial(_part, one, kinds[0]) for one in columns], len(x), kinds[0])


def _part(column: Any, dtype: np.dtype[Any], start: int, stop: int) -> NDArray[Any]:
    return column.iloc[start:stop].to_numpy(dtype=dtype)  # type: ignore[no-any-return]


def _of_series(name: str, x: Any, *, column: str = "") -> Any:
    kind = x.dtype
    if getattr(kind, "pyarrow_dtype", None) is not None:
        from meddel_fast.arrays.kinds.arrow import of_column

        return of_column(name, x.array.__arrow_array__(), column=column)
    if _holds_vectors(x):
        return _Vectors(name, x.to_numpy(), column)
    number = _number_type(kind)
    if number is not None and not isinstance(kind, np.dtype):
        _check_missing(name, x, column)
        return x.to_numpy(dtype=number)
    return x.to_numpy()


class _Vectors(RowReader):
    """A column of arrays, or lists, of one length and type."""

    at_once = True

    def __init__(self, name: str, entries: NDArray[Any], column: str) -> None:
        first, of = np.asarray(entries[0]), f" of {column!r}" if column else ""
        for row, entry in enumerate(entries):
            if not isinstance(entry, (np.ndarray, list, tuple)):
                raise ValueError(
                    f"{name} must hold a vector in each row, row {row}{of} is {entry!r:.40}"
                )
            array = np.asarray(entry)
            if (array.shape, array.dtype) != (first.shape, first.dtype) or array.ndim != 1:
                raise ValueError(
                    f"{name} must hold vectors of one length and type, row {row}{of} is "
                    f"{array.dtype} of {array.shape}, the first {first.dtype} of {first.shape}"
                )
        if (first.dtype.kind, first.dtype.itemsize) not in _TYPES:
            raise TypeError(f"{name} must hold vectors of numbers, got {first.dtype}{of}")
        self.name, self._entries = name, entries
        self.shape, self.dtype = (len(entries), len(first)), first.dtype

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return a copy."""
        out = np.empty((stop - start, self.shape[1]), self.dtype)
        for place, entry in enumerate(self._entries[start:stop]):
            out[place] = entry
        return out


def _holds_vectors(x: Any) -> bool:
    """Whether a column holds vectors; of one of objects the first that is not missing tells."""
    kind = getattr(x.dtype, "pyarrow_dtype", None)
    if kind is not None:
        from meddel_fast.arrays.kinds.arrow_lists import holds_vectors

        return holds_vectors(kind)
    if x.dtype != object:
        return False
    entry = next((e for e in x if e is not None and not isinstance(e, float)), None)
    return isinstance(entry, (np.ndarray, list, tuple))


def _number_type(kind: Any) -> np.dtype[Any] | None:
    """Return the numpy type of a column of numbers, nullable or not; None for others."""
    own = kind if isinstance(kind, np.dtype) else getattr(kind, "numpy_dtype", None)
    return own if isinstance(own, np.dtype) and own.kind in "iufb" else None


def _check_missing(name: str, x: Any, column: str) -> None:
    missing = x.isna().to_numpy()
    if missing.any():
        of = f" of {column!r}" if column else ""
        raise ValueError(f"{name} must hold no null, row {int(np.argmax(missing))}{of} is")


def _columns(x: Any) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in x.dtypes.items()) or "none"
