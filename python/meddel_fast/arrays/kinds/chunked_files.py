"""Arrays of Zarr and h5py, whose rows are read from their chunks as they are asked for."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays.kinds.readers import RowReader

_LOG = logging.getLogger(__name__)
_FEW = 100_000  # chunks of which those that are missing are counted


def open_rows(name: str, x: Any, column: str | None) -> Any:
    """Return the rows of an array of two axes; of one axis its values.

    Raises
    ------
    TypeError
        A group without a name for one of its arrays, or what is no array.
    ValueError
        No array of that name, or one that has other axes.
    """
    if not hasattr(x, "ndim"):
        names = sorted(map(str, x)) if hasattr(x, "keys") else []
        if column is None or column not in names:
            raise TypeError(
                f"{name} must be an array, got a {type(x).__module__}.{type(x).__name__}"
                + (f": give tensor= one of {', '.join(names)}" if names else "")
            )
        x = x[column]
    if x.ndim == 1:
        return x[:]
    if x.ndim != 2:
        raise ValueError(f"{name} must be a 2-d float array, got shape {tuple(x.shape)}")
    _tell_missing(name, x)
    return _Chunked(name, x)


class _Chunked(RowReader):
    """Rows of an array in chunks; those of one read are decoded once."""

    def __init__(self, name: str, x: Any) -> None:
        self.name, self._x = name, x
        self.shape = (int(x.shape[0]), int(x.shape[1]))
        self.dtype = np.dtype(x.dtype)
        chunks = getattr(x, "chunks", None) or (1, 1)  # of h5py, where they lie side by side
        self.beside = 2 * int(chunks[0]) * self.shape[1] * self.dtype.itemsize  # packed as well

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return a copy."""
        return np.asarray(self._x[start:stop])


def _tell_missing(name: str, x: Any) -> None:
    """Say how many chunks are not there: they read as the fill value, without an error."""
    count = getattr(x, "nchunks", 0)
    if not 0 < count <= _FEW:
        return
    missing = count - x.nchunks_initialized
    if missing > 0:
        _LOG.warning(
            "%s: %d of %d chunks are not stored and read as %s", name, missing, count, x.fill_value
        )
