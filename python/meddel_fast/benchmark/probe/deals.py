"""Which samples are held out to be asked about, and which are the pool, draw by draw."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meddel_fast.benchmark.probe.labels import Labels
from meddel_fast.selectors.base import random_keys

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Deal:
    """The samples of one draw.

    Attributes
    ----------
    pool : int64, shape (p,)
        Rows that selectors see, ascending.
    test : int64, shape (t,)
        Rows with a class that are asked about, ascending; none is in the pool.
    """

    pool: Rows
    test: Rows


def deal_draws(
    labels: Labels, draws: int, *, share: float, seed: int, tested: NDArray[np.bool_] | None = None
) -> list[Deal]:
    """Deal the samples, a :class:`Deal` a draw.

    Parameters
    ----------
    labels
        Of the n samples.
    draws
        How many.
    share
        Share of each class that is held out, anew in each draw.
    seed
        Of the draws.
    tested : shape (n,)
        Samples that a split keeps for testing, in place of `share`: all draws are then the same.

    Raises
    ------
    ValueError
        Nothing could be asked about.
    """
    if tested is not None:
        deal = _by_split(labels, tested)
        return [deal] * draws
    return [_held_out(labels, share, _key(seed, draw)) for draw in range(draws)]


def _by_split(labels: Labels, tested: NDArray[np.bool_]) -> Deal:
    pool = np.flatnonzero(~tested)
    known = np.unique(labels.classes[pool])
    test = np.flatnonzero(tested & (labels.classes >= 0))
    asked = np.isin(labels.classes[test], known)
    if not asked.any():
        raise ValueError(
            f"no test sample has a class that the pool has: {len(test)} of {int(tested.sum())} "
            f"test samples have a class, {len(known[known >= 0])} classes are in the pool"
        )
    return Deal(pool, test)


def _held_out(labels: Labels, share: float, seed: int) -> Deal:
    """Hold out whole groups of each class where it has more than one, else samples."""
    units = _units(labels)
    keys = random_keys(len(labels), seed)
    out = np.zeros(len(labels), bool)
    for members in units.values():
        if len(members) < 2:
            continue  # what is not in the pool cannot be learnt
        wanted = max(1, round(share * sum(map(len, members))))
        members.sort(key=lambda rows: keys[rows[0]])
        held = 0
        for rows in members[:-1]:
            out[rows] = True
            held += len(rows)
            if held >= wanted:
                break
    if not out.any():
        sizes = Counter(labels.classes[labels.classes >= 0].tolist())
        raise ValueError(
            "no class has two samples, one to learn from and one to be asked about: "
            f"{len(sizes)} classes of {max(sizes.values())} sample"
        )
    # of a group of several classes one may be nowhere else
    known = np.isin(labels.classes, labels.classes[~out]) & (labels.classes >= 0)
    return Deal(np.flatnonzero(~out), np.flatnonzero(out & known))


def _units(labels: Labels) -> dict[int, list[Rows]]:
    """Give the rows of each unit that is held out as one, by class.

    A group that has samples of several classes is of its most frequent one.
    """
    by_group: dict[str, list[int]] = {}
    for row, group in enumerate(labels.groups):
        by_group.setdefault(group or f"\0{row}", []).append(row)
    units: dict[int, list[Rows]] = {}
    for rows in map(np.array, by_group.values()):
        told = labels.classes[rows]
        told = told[told >= 0]
        if len(told):
            units.setdefault(int(np.bincount(told).argmax()), []).append(rows)
    for one, members in units.items():
        if len(members) == 1:  # such as where the groups are the classes
            rows = members[0][labels.classes[members[0]] == one]
            units[one] = list(rows[:, None])
    return units


def _key(seed: int, draw: int) -> int:
    text = f"{seed}/held out/{draw}"  # never the numbers that the selector "random" draws
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
