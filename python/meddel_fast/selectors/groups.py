"""Groups of samples (patients, videos) that a selection has to cover, or is split by."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays import check_names


class Groups(NamedTuple):
    """The group of each sample, 0 to number - 1, and -1 for none."""

    code: NDArray[np.int64]
    number: int


def check_each_named(name: str, value: Any, n: int) -> NDArray[Any]:
    """Return an int or str for each of n samples.

    Raises
    ------
    TypeError
        It is something else.
    """
    names = check_names(name, value)
    if names.shape != (n,) or names.dtype.kind not in "iuU":
        raise TypeError(
            f"{name} must be int or str of shape ({n},), got {names.dtype} of shape {names.shape}"
        )
    return names


def is_label(names: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which are labels: a negative number or an empty string stands for none."""
    some: NDArray[np.bool_] = names != "" if names.dtype.kind == "U" else names >= 0
    return some


def check_groups(
    groups: Any,
    pool: NDArray[np.int64],
    n: int,
    selected: NDArray[np.int64],
    counts: list[int],
) -> Groups | None:
    """Return the groups of the pool's samples.

    Raises
    ------
    TypeError
        Not an int or str for each of the n samples.
    ValueError
        A budget has no room for one sample of each group beside the selected ones.
    """
    if groups is None:
        return None
    names = check_each_named("groups", groups, n)[pool]
    some = is_label(names)
    code = np.full(len(names), -1, dtype=np.int64)
    found, inverse = np.unique(names[some], return_inverse=True)
    code[some] = inverse.reshape(-1)
    number = len(found)
    needed = number - len(np.unique(code[selected][code[selected] >= 0])) + len(selected)
    if counts and min(counts) < needed:
        beside = f" beside the {len(selected)} selected samples" if len(selected) else ""
        raise ValueError(
            f"budget must have room for one sample of each of {number} groups{beside}, which takes "
            f"{needed}, got {min(counts)}"
        )
    return Groups(code, number)


def cover(
    order: NDArray[np.int64], scores: NDArray[np.float64], groups: Groups, fixed: int
) -> tuple[NDArray[np.int64], int]:
    """Exchange samples so that each group keeps at least one.

    The best-scored sample of each missing group (ties: lowest index) comes in, at the end of the
    order; the least wanted samples whose group keeps another, or that have none, go. The first
    `fixed` of the order never go.

    Returns
    -------
    order : int64
        As long as the one given.
    replaced : int
        How many came in.
    """
    code = groups.code
    held = np.bincount(code[order][code[order] >= 0], minlength=groups.number)
    missing = np.flatnonzero(held == 0)
    if not len(missing):
        return order, 0
    best = np.lexsort((np.arange(len(code)), -scores, code))
    first = best[np.searchsorted(code[best], missing)]
    gone: list[int] = []
    for place in range(len(order) - 1, fixed - 1, -1):
        if len(gone) == len(missing):
            break
        group = code[order[place]]
        if group < 0 or held[group] > 1:
            gone.append(place)
            if group >= 0:
                held[group] -= 1
    first = first[np.lexsort((first, -scores[first]))]
    return np.concatenate([np.delete(order, gone), first]), len(missing)


def split_seats(
    groups: Groups, selected: NDArray[np.int64], counts: list[int]
) -> list[NDArray[np.int64]]:
    """Divide each budget among the groups, by rising code, those without a group first."""
    codes, inverse = np.unique(groups.code, return_inverse=True)
    held = np.bincount(inverse[selected], minlength=len(codes))
    least = np.maximum(held, codes >= 0)  # samples without a group need not be among the kept
    sizes = np.bincount(inverse)
    return [quotas(sizes, least, count) for count in counts]


def quotas(sizes: NDArray[np.int64], least: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Divide a budget among groups in proportion to their sizes.

    Webster's rule: seat s of a group (from 0) has the priority size / (s + 0.5), and the highest
    `count` win, ties to the group that comes first; a larger budget never takes a seat away. Each
    group gets at least its `least`, which come to no more than `count`, and at most its size.
    """
    seat = np.concatenate([np.arange(size) for size in sizes])
    group = np.repeat(np.arange(len(sizes)), sizes)
    priority = sizes[group] / (seat + 0.5)
    priority[seat < least[group]] = np.inf
    won = np.argsort(-priority, kind="stable")[:count]
    return np.bincount(group[won], minlength=len(sizes))
