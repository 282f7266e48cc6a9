"""What each option of a method may be: said once, and checked before any work.

A check takes the option's name, its value and the number of samples, if that is known yet, and
returns the value, or raises an error that names the option, what is wanted and what came.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meddel_fast.arrays import check_choice, check_float, check_int

Check = Callable[[str, Any, int | None], Any]


def choice(*choices: str) -> Check:
    """Accept one of these names."""
    return lambda name, value, n: check_choice(name, value, choices)


def number(low: float, high: float) -> Check:
    """Accept a number within [low, high]."""
    return lambda name, value, n: check_float(name, value, low, high)


def count(most: Callable[[int], int] | None = None, *, low: int = 1) -> Check:
    """Accept a whole number from `low` to what `most` makes of the number of samples."""

    def check(name: str, value: Any, n: int | None) -> int:
        high = None if most is None or n is None else most(n)
        return check_int(name, value, low, high)

    return check


CLUSTERS: dict[str, Check] = {"clusters": count(lambda n: n), "max_iterations": count()}
"""Options of the k-means that methods share."""

NEIGHBORS = count(lambda n: max(1, n - 1))
