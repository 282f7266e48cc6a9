"""The shares of a budget that classes, sites, scanners, videos or clusters are to have."""

from __future__ import annotations

import heapq
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays import check_float
from meddel_fast.selectors.groups import check_each_named, is_label

_NAMED = ("uniform", "given")
_ROUNDING = 1e-9  # by which shares may sum to more than 1, or to less
_TOLD = 3  # classes that a warning names


class Classes(NamedTuple):
    """Classes of the pool's samples, and the share of the budget that each is to have.

    The last one is of the samples without a class. Shares need not sum to 1.
    """

    code: NDArray[np.int64]
    labels: list[str]
    share: NDArray[np.float64]
    target: str | dict[str, float]

    @property
    def number(self) -> int:
        """How many classes there are, without that of the others."""
        return len(self.labels)

    def seats(self, selected: NDArray[np.int64], counts: list[int]) -> list[NDArray[np.int64]]:
        """Divide each budget among the classes that there are samples of, by rising code."""
        sizes = np.bincount(self.code, minlength=len(self.share))
        held = np.bincount(self.code[selected], minlength=len(self.share))
        found = divide(self.share, sizes, held, counts, sizes)
        return [seats[sizes > 0] for seats in found]

    def missed(self, order: NDArray[np.int64]) -> dict[str, int]:
        """Return how many samples each class lacks among the kept ones, of those that lack some."""
        sizes = np.bincount(self.code, minlength=len(self.share))
        (due,) = divide(self.share, sizes, np.zeros_like(sizes), [len(order)])
        lacking = due - np.bincount(self.code[order], minlength=len(self.share))
        return {name: int(lacking[c]) for c, name in enumerate(self.labels) if lacking[c] > 0}


def check_target(target: Any) -> str | dict[str, float]:
    """Return a target, checked as far as that goes without classes; names become texts."""
    if isinstance(target, str) and target in _NAMED:
        return target
    if not isinstance(target, Mapping) or not target:
        raise ValueError(
            f"target must be 'uniform', 'given' or a share for each of some classes, got {target!r}"
        )
    shares = {str(name): check_float(f"target of {name!r}", share, 0, 1)
              for name, share in target.items()}  # fmt: skip
    if len(shares) < len(target):
        raise ValueError(f"target must name each class once, got {target!r}")
    total = sum(shares.values())
    if not 0 < total <= 1 + _ROUNDING:
        raise ValueError(f"target must sum to more than 0 and to 1 at most, got {total:g}")
    return shares


def check_classes(classes: Any, target: Any, pool: NDArray[np.int64], n: int) -> Classes | None:
    """Return the classes of the pool's samples, with their shares.

    Raises
    ------
    TypeError
        Not an int or str for each of the n samples.
    ValueError
        The target names a class that there is not, or leaves a rest that no class is there for.
    """
    if classes is None:
        return None
    names = check_each_named("classes", classes, n)
    target = check_target(target)
    known = {str(name) for name in np.unique(names[is_label(names)]).tolist()}
    unknown = sorted(set(target) - known) if isinstance(target, dict) else []
    if unknown:
        there = ", ".join(map(repr, sorted(known)[:10])) + ", ..." * (len(known) > 10)
        raise ValueError(f"target must name classes, got {unknown[0]!r}; there are {there}")
    names = names[pool]
    some = is_label(names)
    found, inverse = np.unique(names[some], return_inverse=True)
    labels = [str(name) for name in found.tolist()]
    if isinstance(target, dict):
        labels += sorted(set(target) - set(labels))  # of which all samples are excluded
    code = np.full(len(names), len(labels), dtype=np.int64)
    code[some] = inverse.reshape(-1)
    share = _shares(target, labels, np.bincount(code, minlength=len(labels) + 1))
    return Classes(code, labels, share, target)


def _shares(
    target: str | dict[str, float], labels: list[str], sizes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the share of each class, and of the samples without one."""
    if target == "given":
        return sizes.astype(np.float64)
    if not isinstance(target, dict):
        return np.append(np.ones(len(labels)), 0.0 if labels else 1.0)
    share = np.array([target.get(name, 0.0) for name in (*labels, "")])
    rest = 1.0 - sum(target.values())
    if rest > _ROUNDING:
        others = np.array([*(name not in target for name in labels), True]) * sizes
        if not others.any():
            raise ValueError(f"target must sum to 1 where it names every class, got {1.0 - rest:g}")
        share = share + rest * others / others.sum()
    return share


def divide(
    share: NDArray[np.float64],
    sizes: NDArray[np.int64],
    held: NDArray[np.int64],
    counts: list[int],
    most: NDArray[np.int64] | None = None,
) -> list[NDArray[np.int64]]:
    """Divide budgets among classes by Webster's rule.

    Seat s of a class (from 0) has the priority share / (s + 0.5), and the highest ones win; ties
    (and classes without a share, where nothing else is left) by size / (s + 0.5), and then to the
    class that comes first. A larger budget never takes a seat away. Each class has the seats that
    are `held` already, and no more than `most`.
    """
    seats = held.astype(np.int64)
    total = int(seats.sum())

    def entry(c: int) -> tuple[float, float, int]:
        middle = int(seats[c]) + 0.5
        return -float(share[c]) / middle, -float(sizes[c]) / middle, c

    room = [c for c in range(len(share)) if most is None or seats[c] < most[c]]
    heap = [entry(c) for c in room]
    heapq.heapify(heap)
    found: dict[int, NDArray[np.int64]] = {}
    for count in sorted(set(counts)):
        for _ in range(count - total):
            c = heap[0][2]
            seats[c] += 1
            if most is not None and seats[c] >= most[c]:
                heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, entry(c))
        total = max(total, count)
        found[count] = seats.copy()
    return [found[count] for count in counts]


def tell_missed(method: str, missed: list[dict[str, int]], counts: list[int]) -> None:
    """Warn of places that classes have no samples for: of the budget that misses the most."""
    lacking = [sum(one.values()) for one in missed]
    if not any(lacking):
        return
    worst = int(np.argmax(lacking))
    first = sorted(missed[worst].items(), key=lambda item: -item[1])[:_TOLD]
    text = ", ".join(f"{name!r} lacks {number}" for name, number in first)
    more = len(missed[worst]) - len(first)
    warnings.warn(
        f"{method}: target is not met, {lacking[worst]} of {counts[worst]} places went to other "
        f"classes: {text}" + (f", and {more} more classes" if more else ""),
        UserWarning,
        stacklevel=1,
    )
