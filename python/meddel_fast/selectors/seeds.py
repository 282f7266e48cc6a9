"""Rows that a user brings beside the pool: what is wanted more of, or less."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import arrays, ops
from meddel_fast.selectors.base import to_numpy
from meddel_fast.selectors.plan import Task
from meddel_fast.stores.store import Store


def rows(name: str, value: Any, n: int | None) -> Any:
    """Accept an (m, d) array: a check of options."""
    if isinstance(value, Store):
        raise TypeError(f"{name} must be an array, got a Store: store.rows(0, len(store)) is one")
    value = arrays.in_memory(name, value)
    arrays.check_rows(name, value, arrays.resolve_threads(None))
    return value if hasattr(value, "shape") else np.asarray(value)


def check_width(task: Task, **sets: Any) -> None:
    """Refuse rows of another width than the pool's; None is no set.

    Raises
    ------
    ValueError
        The message names the set.
    """
    for name, value in sets.items():
        if value is not None and np.shape(value)[1] != task.x.shape[1]:
            raise ValueError(
                f"{name} must have {task.x.shape[1]} columns like x, got {np.shape(value)[1]}"
            )


def highest(task: Task, sets: Any) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return each sample's highest cosine to a row of a set, and which one: the first of equals."""
    found = ops.topk_similarity(task.x, sets, k=1, threads=task.threads)
    return to_numpy(found.similarity)[:, 0], to_numpy(found.indices)[:, 0]
