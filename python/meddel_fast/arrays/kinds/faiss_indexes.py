"""FAISS indexes that hold their rows as they came: flat ones, and what is built on such.

Others hold codes, of which only something near the rows can be had. The rows are numbered by their
places, 0 to ntotal - 1, also below an ``IndexIDMap``.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FLAT = ("IndexFlat", "IndexFlatL2", "IndexFlatIP")
_AROUND = {
    "IndexHNSWFlat": "storage",
    "IndexNSGFlat": "storage",
    "IndexIDMap": "index",
    "IndexIDMap2": "index",
}


def open_rows(name: str, x: Any, column: str | None) -> Any:
    """Return the rows of an index: a view of a flat one's, a copy of those in inverted lists.

    Raises
    ------
    TypeError
        An index that does not hold its rows as they came.
    ValueError
        Inverted lists whose ids are not 0 to ntotal - 1, each once.
    """
    faiss = sys.modules["faiss"]
    held, seen = x, list[str]()
    while True:
        held = faiss.downcast_index(held) if hasattr(held, "ntotal") else held
        kind = type(held).__name__
        seen.append(kind)
        if kind not in _AROUND:
            break
        held = getattr(held, _AROUND[kind])
    if kind in _FLAT:
        return _of_flat(faiss, held, x)
    if kind == "IndexIVFFlat":
        return _of_lists(name, faiss, held)
    raise TypeError(
        f"{name} must be an index that holds its rows as they came (flat, IVF flat, HNSW flat), "
        f"got a faiss.{' of a '.join(seen)}: what its reconstruct_n gives may be others"
    )


class _Held:
    """The memory of an index, which stays as long as an array looks at it."""

    def __init__(self, array: NDArray[Any], owner: Any) -> None:
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, True)}
        self.owner = owner


def _of_flat(faiss: Any, held: Any, owner: Any) -> NDArray[Any]:
    n, d = int(held.ntotal), int(held.d)
    if n == 0:
        return np.empty((0, d), np.float32)
    rows = faiss.rev_swig_ptr(held.get_xb(), n * d).reshape(n, d)
    return np.asarray(_Held(rows, owner))


def _of_lists(name: str, faiss: Any, held: Any) -> NDArray[Any]:
    """Return the rows in the order of their ids.

    reconstruct_n leaves the rows of ids that it does not meet as the memory was that it got.
    """
    n, d, lists = int(held.ntotal), int(held.d), held.invlists
    rows, found = np.empty((n, d), np.float32), np.zeros(n, np.int64)
    for number in range(held.nlist):
        size = int(lists.list_size(number))
        if size == 0:
            continue
        ids = faiss.rev_swig_ptr(lists.get_ids(number), size)
        if ids.min() < 0 or ids.max() >= n:
            wrong = ids.max() if ids.max() >= n else ids.min()
            raise ValueError(f"{name} must have the ids 0 to {n - 1} of its {n} rows, got {wrong}")
        codes = faiss.rev_swig_ptr(lists.get_codes(number), size * d * 4)
        rows[ids] = codes.view(np.float32).reshape(size, d)
        np.add.at(found, ids, 1)
    if (found != 1).any():
        wrong = int(np.argmax(found != 1))
        raise ValueError(
            f"{name} must have each id from 0 to {n - 1} once, got {wrong} {found[wrong]} times"
        )
    return rows
