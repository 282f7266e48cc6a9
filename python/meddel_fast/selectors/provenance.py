"""Where a selection comes from: the package's version, and hashes of names and of data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from meddel_fast import arrays
from meddel_fast._version import __version__
from meddel_fast.arrays.kinds.bits import as_bits
from meddel_fast.stores.store import Store, taken

_ROWS_HASHED = 1 << 12  # at a time


def provenance(ids: Sequence[str] | None = None, data: Any | None = None) -> dict[str, str]:
    """Return what tells a selection's origin: the package's version, hashes of names and data.

    Parameters
    ----------
    ids : sequence of str, optional
        Names of the samples.
    data : array of shape (n, d), optional
        What was selected from.

    Returns
    -------
    dict
        ``version``, and ``ids_sha256`` and ``data_sha256`` where given.
    """
    about = {"version": __version__}
    if ids is not None:
        about["ids_sha256"] = ids_sha256(ids)
    if data is not None:
        about["data_sha256"] = data_sha256(data)
    return about


def ids_sha256(ids: Sequence[str]) -> str:
    """SHA-256 of names in their order, as 64 hex digits."""
    return hashlib.sha256(json.dumps(list(ids)).encode()).hexdigest()


def data_sha256(data: Any) -> str:
    """SHA-256 of an array's type, shape and elements (row by row), as 64 hex digits."""
    array: Any
    array = data = taken("data", arrays.rows_of(data), in_parts=False)
    if not isinstance(data, Store):
        array = as_bits(arrays.to_numpy("data", data.cpu() if arrays.is_torch(data) else data))[0]
    n = len(array)
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    for begin in range(0, n, _ROWS_HASHED):
        end = min(n, begin + _ROWS_HASHED)
        rows = data.rows(begin, end) if isinstance(data, Store) else array[begin:end]
        digest.update(rows.tobytes())
    return digest.hexdigest()
