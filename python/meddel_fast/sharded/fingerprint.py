"""What tells a set of rows from another, however it is cut into parts and spread over processes."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.sharded.group import Group

_AT_ONCE = 1 << 18  # bytes of rows that are hashed at a time: in a core's cache


class Fingerprint:
    """A sum, mod 2^64, over rows, each of which is mixed with its number.

    The sum does not depend on the order in which the rows come, nor on who has them; rows that are
    altered, exchanged or turned round inside give another one.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self._sum = 0

    def add(self, rows: NDArray[Any], first: int) -> None:
        """Count rows in, the first of which has this number in the set."""
        some = max(1, _AT_ONCE // max(1, rows[:1].nbytes))
        for start in range(0, len(rows), some):
            hashes = row_hashes(rows[start : start + some])
            numbers = np.arange(first + start, first + start + len(hashes)).astype(np.uint64)
            self._sum += int(mixed(hashes + mixed(numbers)).sum(dtype=np.uint64))

    def of_all(self, group: Group) -> int:
        """Return that of the rows of all processes."""
        own = np.array([self._sum % 2**64], np.uint64)
        return sum(int(its[0]) for its in group.allgather(own)) % 2**64


def mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return numbers each bit of which depends on every bit of the given ones.

    It is splitmix64's last step (Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", 2014).
    """
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def words(rows: NDArray[Any]) -> NDArray[Any]:
    """Return the bits of rows, in the widest words that they fill."""
    rows = np.ascontiguousarray(rows)
    bytes_a_row = rows.shape[1] * rows.itemsize
    width = next(w for w in (8, 4, 2, 1) if bytes_a_row % w == 0)
    return rows.view(np.dtype(f"u{width}"))


def row_hashes(rows: NDArray[Any]) -> NDArray[np.uint64]:
    """Return a hash of each row's bits; equal rows have equal ones."""
    bits = words(rows).astype(np.uint64)
    bits ^= bits >> np.uint64(32)  # the high bits of small whole numbers are all that differ
    bits *= _odd(bits.shape[1])
    sums: NDArray[np.uint64] = bits.sum(axis=1, dtype=np.uint64)
    return sums


@functools.lru_cache(8)
def _odd(count: int) -> NDArray[np.uint64]:
    return 2 * np.random.default_rng(0).integers(2**63, size=count, dtype=np.uint64) + np.uint64(1)
