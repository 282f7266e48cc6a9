"""Arguments beside the samples: numbers, choices, and vectors with an entry a row."""

from __future__ import annotations

import math
import numbers
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays.rows import is_torch, to_numpy
from meddel_fast.common.close_names import did_you_mean
from meddel_fast.common.resources import cores

_WEIGHTS = (1e-100, 1e100)
_MOST_THREADS = 2**31 - 1  # what an int of C holds; no more are started than there is work


def check_int(name: str, value: Any, low: int, high: int | None = None, why: str = "") -> int:
    """Return ``value`` as an int if it is a whole number within [low, high]."""
    if type(value) is not int and (
        isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer))
    ):
        raise TypeError(f"{name} must be an int, got {type(value).__name__} {value!r}")
    if high is not None and high < low:
        raise ValueError(f"{name} has no value to take: there are {high}{why or ' at most'}")
    if value < low or (high is not None and value > high):
        wanted = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} must be {wanted}{why}, got {value}")
    return int(value)


def check_float(name: str, value: Any, low: float, high: float) -> float:
    """Return ``value`` as a float if it is a number within [low, high]."""
    if type(value) is not float and (
        isinstance(value, (bool, np.bool_))
        or not isinstance(value, (int, float, np.integer, np.floating))
    ):
        raise TypeError(f"{name} must be a number, got {type(value).__name__} {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low:g} to {high:g}, got {value}")
    return float(value)


def check_budget(budget: Any, n: int, excluded: int = 0) -> int:
    """Return the number of samples to keep.

    Parameters
    ----------
    budget
        An int is a count in 1..n; a float is a share in (0, 1], of which the count is
        ``max(1, floor(share * n + 0.5))``.
    n
        Number of samples to choose from.
    excluded
        Number of samples that are left out of these.
    """
    if isinstance(budget, bool | np.bool_) or not isinstance(budget, numbers.Real):
        raise TypeError(
            "budget must be a count (int) or a share (float), "
            f"got {type(budget).__name__} {budget!r}"
        )
    if isinstance(budget, numbers.Integral):
        count = int(budget)
        if not 1 <= count <= n:
            rows = f"the rows of x less {excluded} excluded" if excluded else "the rows of x"
            raise ValueError(f"budget must be from 1 to {n} ({rows}), got {count}")
        return count
    share = float(budget)
    if not 0.0 < share <= 1.0:
        raise ValueError(f"budget must be above 0 and at most 1.0 as a share, got {share}")
    return max(1, math.floor(share * n + 0.5))


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """Return ``value`` if it is one of ``choices``."""
    if value not in choices:
        wanted = ", ".join(map(repr, choices))
        near = did_you_mean(value, choices)
        raise ValueError(f"{name} must be one of {wanted}, got {value!r}{near}")
    return str(value)


def resolve_threads(threads: int | None) -> int:
    """Return the number of threads: the argument, else MEDDEL_THREADS, else all usable cores."""
    if threads is not None:
        return min(check_int("threads", threads, 1), _MOST_THREADS)
    named = os.environ.get("MEDDEL_THREADS", "")
    if named:
        if not named.isascii() or not named.isdigit() or int(named) < 1:
            raise ValueError(f"MEDDEL_THREADS must be a whole number from 1 on, got {named!r}")
        return min(int(named), _MOST_THREADS)
    return cores()


def check_index_vector(name: str, value: Any, n: int | None) -> NDArray[np.int64]:
    """Return a 1-d vector of integers (of length n, if given), from any device, as int64."""
    array = to_numpy(name, value.cpu() if is_torch(value) else value)
    if array.size == 0 and array.ndim == 1:
        array = array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be a 1-d int array, got {array.dtype} of {array.shape}")
    if n is not None and len(array) != n:
        raise ValueError(f"{name} must have one entry a row of x ({n}), got {len(array)}")
    return array.astype(np.int64)


def check_names(name: str, value: Any) -> NDArray[Any]:
    """Return a vector of ints or of texts; of objects only if they are the one or the other.

    Raises
    ------
    TypeError
        Something else; the message names the first such sample.
    """
    array = to_numpy(name, value)
    if array.dtype.kind != "O":
        return array
    entries = array.reshape(-1).tolist()
    if entries and all(type(entry) is int for entry in entries):
        return array.astype(np.int64)
    for place, entry in enumerate(entries):
        if not isinstance(entry, str):
            raise TypeError(
                f"{name} must be int or str for each sample ('' stands for none), got "
                f"{entry!r} for sample {place}"
            )
    return array.astype(np.str_)


def check_order(order: Any | None, n: int) -> NDArray[np.int64] | None:
    """Return a permutation of the rows as int64."""
    if order is None:
        return None
    array = check_index_vector("order", order, n)
    if not np.array_equal(np.sort(array), np.arange(n)):
        raise ValueError(f"order must be a permutation of 0 to {n - 1}")
    return array


def check_labels(labels: Any | None, n: int) -> NDArray[np.int64] | None:
    """Return one label a row as int64."""
    return None if labels is None else check_index_vector("labels", labels, n)


def check_weights(name: str, value: Any | None, n: int) -> NDArray[np.float64] | None:
    """Return a weight a row, from any device, as float64.

    Between the ends, neither products with distances nor squares of sums overflow or vanish.
    """
    if value is None:
        return None
    if is_torch(value):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
    array = to_numpy(name, value)
    if array.ndim != 1 or array.dtype.kind not in "iuf":
        raise TypeError(
            f"{name} must be a 1-d array of numbers, got {array.dtype} of {array.shape}"
        )
    if len(array) != n:
        raise ValueError(f"{name} must have one entry a row of x ({n}), got {len(array)}")
    weights = array.astype(np.float64)
    low, high = _WEIGHTS
    bad = np.flatnonzero(~((weights == 0.0) | ((weights >= low) & (weights <= high))))
    if len(bad):
        wrong = weights[bad[0]]
        raise ValueError(f"{name} must be 0 or {low:g} to {high:g}, got {wrong:g} in row {bad[0]}")
    if not weights.any():
        raise ValueError(f"{name} must not be 0 in all rows")
    return weights


def check_centres(
    n: int, k: int | None, radius: float | None, start: int, selected: Any | None
) -> tuple[int, float, NDArray[np.int64], int]:
    """Check what `kcenter_greedy` is asked for; return k, radius (or -1), centres, start."""
    centres = np.zeros(0, dtype=np.int64)
    if selected is not None:
        centres = check_index_vector("selected", selected, None)
        if len(centres) and not 0 <= centres.min() <= centres.max() < n:
            raise ValueError(f"selected must be rows of x, 0 to {n - 1}")
        if len(np.unique(centres)) < len(centres):
            raise ValueError("selected must not hold a sample twice")
    why = " (the rows of x less the selected ones)" if len(centres) else " (the rows of x)"
    if k is None and radius is None:
        raise ValueError("give k, radius or both: neither came")
    limit = -1.0 if radius is None else check_float("radius", radius, 0.0, float(np.finfo("d").max))
    if k is not None or len(centres) == n:
        k = check_int("k", n if k is None else k, 1, n - len(centres), why)
    else:
        k = n - len(centres)
    return k, limit, centres, check_int("start", start, 0, n - 1)
