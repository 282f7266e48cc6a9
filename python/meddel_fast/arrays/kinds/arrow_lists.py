"""Arrow's lists of numbers as arrays of two axes: views of their memory, or a refusal by the row.

A row is a fixed-size list, a list or a large list whose rows all have one length, or an extension
type that stores one (Arrow's fixed-shape tensors of one axis).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.extras import needs

SUPPORTED = "float32, float16, float64 or int8"  # Arrow has no bfloat16
TYPES = {"halffloat": "<f2", "float": "<f4", "double": "<f8", "int8": "|i1"}


def arrow() -> Any:
    """Return pyarrow."""
    with needs("benchmark"):
        import pyarrow

    return pyarrow


def storage(kind: Any) -> Any:
    """Return what an extension type is stored as; other types as they are."""
    pa = arrow()

    while isinstance(kind, pa.BaseExtensionType):
        if len(getattr(kind, "shape", [0])) != 1:
            return kind  # a tensor of several axes is no vector
        kind = kind.storage_type
    return kind


def stored(array: Any) -> Any:
    """Return what an extension array is stored as; other arrays as they are."""
    pa = arrow()

    while isinstance(array, pa.ExtensionArray):
        array = array.storage
    return array


def holds_vectors(kind: Any) -> bool:
    """Whether a type is one of lists of numbers that the operations take."""
    pa = arrow()

    kind = storage(kind)
    types = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_one(kind) for is_one in types) and str(kind.value_type) in TYPES


def choose(name: str, schema: Any, column: str | None) -> str:
    """Return the name of the column of embeddings, or refuse with what there is."""
    found = [field.name for field in schema if holds_vectors(field.type)]
    columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
    if column is None and len(found) == 1:
        return str(found[0])
    if column is not None and column in found and schema.names.count(column) == 1:
        return column
    wanted = f"lists of {SUPPORTED}"
    if column is None and found:
        raise ValueError(
            f"column must name one of the {len(found)} of {name} that hold {wanted}: "
            f"{', '.join(found)}; all of its columns: {columns}"
        )
    if column is None:
        raise TypeError(f"{name} must have a column of {wanted}; its columns: {columns or 'none'}")
    if column not in schema.names:
        raise ValueError(f"{name} has no column {column!r}; its columns: {columns or 'none'}")
    raise TypeError(
        f"column {column!r} of {name} must be one, and hold {wanted}; its columns: {columns}"
    )


def vectors(
    name: str, lists: Any, *, column: str = "", width: int | None = None, first: int = 0
) -> NDArray[Any]:
    """Return rows as an array of two axes, a read-only view of what Arrow holds.

    Parameters
    ----------
    name, column
        What errors call them.
    lists
        An Arrow array of a type that :func:`holds_vectors`.
    width
        Of each row; that of the first one by default.
    first
        The index of the first row, for errors.

    Raises
    ------
    ValueError
        A null, or rows of several lengths; the message names the first such row.
    """
    pa = arrow()

    lists, of = stored(lists), f" of {column!r}" if column else ""
    if lists.null_count:
        row = first + _first_null(lists)
        raise ValueError(f"{name} must hold no null, row {row}{of} is")
    if pa.types.is_fixed_size_list(lists.type):
        width = lists.type.list_size
    else:
        lengths = lists.value_lengths().to_numpy()
        width = int(lengths[0]) if width is None and len(lengths) else width
        wrong = np.flatnonzero(lengths != width)
        if len(wrong):
            raise ValueError(
                f"{name} must hold rows of one length, row {first + wrong[0]}{of} has "
                f"{lengths[wrong[0]]} numbers, the first {width}"
            )
    values = lists.flatten()
    if values.null_count:
        row = first + _first_null(values) // max(1, width or 0)
        raise ValueError(f"{name} must hold no null, row {row}{of} has one")
    array: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return array.reshape(len(lists), width or 0)


def _first_null(array: Any) -> int:
    return int(np.argmax(array.is_null().to_numpy(zero_copy_only=False)))
