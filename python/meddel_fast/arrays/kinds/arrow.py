"""Columns and tables that speak Arrow: pyarrow, Polars, nanoarrow, narwhals and others.

A column of lists of numbers is read where it is. A table whose columns are numbers has no rows in
memory: they are put together, at once or a range at a time.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays.kinds.arrow_lists import (
    SUPPORTED,
    TYPES,
    arrow,
    choose,
    holds_vectors,
    vectors,
)
from meddel_fast.arrays.kinds.readers import Chunks, Columns

_UNREAD = {
    "LazyFrame": "collect() it",
    "RecordBatchReader": "read_all() it, as it can be read but once",
    "Scanner": "pass its to_table()",
    "FileSystemDataset": "pass its to_table(), or the files to open_store",
    "InMemoryDataset": "pass its to_table()",
    "UnionDataset": "pass its to_table()",
    "ParquetFile": "pass its path to open_store",
}


def open_rows(name: str, x: Any, column: str | None) -> Any:
    """Return the rows of a column of lists, or of a table; of a column of values an array.

    Raises
    ------
    TypeError
        What is in it are no numbers that the operations take, or it has not been read yet.
    ValueError
        A null; rows of several lengths; several columns that could be meant.
    """
    kind = type(x).__name__
    if _library(x) == "narwhals" and hasattr(x, "to_native"):
        from meddel_fast.arrays.kinds import opened

        return opened(name, x.to_native(), column)
    if kind in _UNREAD:
        raise TypeError(f"{name} must be in memory, got a {_library(x)}.{kind}: {_UNREAD[kind]}")
    pa = arrow()
    try:
        data = _taken(pa, x)
    except (TypeError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise TypeError(f"{name} must be a column or a table of numbers: {error}") from None
    if data is None:
        return x
    if isinstance(data, pa.Table):
        return of_table(name, data, column)
    if column is not None:
        raise ValueError(f"column must be None for {name}, which is one column, got {column!r}")
    return of_column(name, data)


def result(x: Any, field: str, array: NDArray[Any], each: bool) -> Any:
    """Return a result as a pyarrow array or a Polars Series; numpy's stays for other libraries."""
    if _library(x) == "narwhals":
        from meddel_fast.arrays.kinds import kind_of

        kind = kind_of(x.to_native())
        return array if kind is None or kind.result is None else kind.result(
            x.to_native(), field, array, each
        )  # fmt: skip
    if _library(x) == "polars":
        return sys.modules["polars"].Series(field, array)
    if _library(x) != "pyarrow":
        return array
    pa = arrow()
    if array.ndim == 1:
        return pa.array(array)
    return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), array.shape[1])


def of_column(name: str, data: Any, *, column: str = "") -> Any:
    """Return the rows of an Arrow array, chunked or not, or an array of its values.

    Raises what :func:`open_rows` does; `column` is what errors call it, if not `name` alone.
    """
    pa = arrow()
    chunks = data.chunks if isinstance(data, pa.ChunkedArray) else [data]
    if not holds_vectors(data.type):
        return _values(name, data, column)
    rows, first = list[NDArray[Any]](), 0
    for chunk in chunks:
        width = rows[0].shape[1] if rows else None
        if len(chunk):
            rows.append(vectors(name, chunk, column=column, width=width, first=first))
        first += len(chunk)
    if not rows:
        return np.empty((0, 0), np.float32)
    return rows[0] if len(rows) == 1 else Chunks(name, rows)


def of_table(name: str, table: Any, column: str | None) -> Any:
    """Return the rows of an Arrow table: its column of lists, or one column for each element."""
    types = {field.type for field in table.schema}
    numbers = len(types) == 1 and str(next(iter(types))) in TYPES
    if numbers and column is None:
        for one, called in zip(table.columns, table.column_names, strict=True):
            _check_nulls(name, one, called)
        parts = [partial(_part, one) for one in table.columns]
        return Columns(name, parts, table.num_rows, np.dtype(TYPES[str(types.pop())]))
    if column is None and not any(map(holds_vectors, types)):
        columns = ", ".join(f"{field.name} ({field.type})" for field in table.schema)
        raise TypeError(
            f"{name} must have a column of lists, or columns of one type, of {SUPPORTED}; its "
            f"columns: {columns or 'none'}"
        )
    chosen = choose(name, table.schema, column)
    return of_column(name, table.column(chosen), column=chosen)


def _part(column: Any, start: int, stop: int) -> NDArray[Any]:
    return column.slice(start, stop - start).to_numpy()  # type: ignore[no-any-return]


def _taken(pa: Any, x: Any) -> Any:
    """Return an Arrow array, chunked or not, or a table on the memory of x; None for others."""
    if isinstance(x, (pa.Array, pa.ChunkedArray, pa.Table)):
        return x
    if isinstance(x, pa.RecordBatch):
        return pa.Table.from_batches([x])
    if hasattr(x, "__arrow_c_stream__"):
        data = pa.chunked_array(x)
    elif hasattr(x, "__arrow_c_array__"):
        data = pa.chunked_array([pa.array(x)])
    else:
        return None
    if not pa.types.is_struct(data.type):
        return data
    schema = pa.schema(list(data.type))
    batches = [pa.RecordBatch.from_struct_array(chunk) for chunk in data.chunks]
    return pa.Table.from_batches(batches, schema)


def _values(name: str, data: Any, column: str) -> NDArray[Any]:
    pa = arrow()
    if pa.types.is_nested(data.type) or isinstance(data.type, pa.BaseExtensionType):
        of = f" in {column!r}" if column else ""
        raise TypeError(f"{name} must be lists of {SUPPORTED}, got {data.type}{of}")
    if not (pa.types.is_string(data.type) or pa.types.is_large_string(data.type)):
        _check_nulls(name, data, column)  # of texts the one who asked for them says what is wrong
    if isinstance(data, pa.ChunkedArray):
        return data.to_numpy()  # type: ignore[no-any-return]
    return data.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _check_nulls(name: str, data: Any, column: str) -> None:
    if data.null_count:
        row = int(np.argmax(np.asarray(data.is_null())))
        of = f" of {column!r}" if column else ""
        raise ValueError(f"{name} must hold no null, row {row}{of} is")


def _library(x: Any) -> str:
    """Return the library that x, or a class that it derives from, is of."""
    for cls in type(x).__mro__:
        library = cls.__module__.partition(".")[0]
        if library in ("polars", "pyarrow", "narwhals"):
            return library
    return type(x).__module__.partition(".")[0]
