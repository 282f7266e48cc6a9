"""What an answer must fulfil before its time counts."""

from __future__ import annotations

import numpy as np
import peers
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Int = NDArray[np.int64]

BLOCK = 1024


def rounding(who: str) -> float:
    """How far off a cosine may be, and a decision that depends on it."""
    return 0.01 if who in peers.INEXACT else 1e-5


def greedy(x: Floats, centres: Int, rows: Int | None = None) -> None:
    """From sample 0 on, each is as far as any (of some rows) from those before it, but for fp32.

    It need not be the same selection: of two that are about as far either may come first, and
    from there on all others differ.
    """
    assert centres[0] == 0
    assert len(np.unique(centres)) == len(centres)
    chosen = x[centres].astype(np.float64)
    own, farthest = np.empty(len(centres)), np.zeros(len(centres))
    for begin in range(0, len(centres), BLOCK):
        block = np.arange(begin, min(begin + BLOCK, len(centres)))
        own[block] = _nearest(chosen[block], chosen)[block - begin, block - 1]
    rows = np.arange(len(x)) if rows is None else rows
    for begin in range(0, len(rows), BLOCK):
        block = x[rows[begin : begin + BLOCK]].astype(np.float64)
        farthest = np.maximum(farthest, _nearest(block, chosen).max(axis=0))
    error = 1e-5 * np.einsum("ij,ij->i", chosen, chosen).max()
    behind = (farthest[:-1] - own[1:]).max(initial=0)
    assert behind < error, f"a centre was {behind:g} (squared) nearer than another sample"


def _nearest(x: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distance to the nearest of the first centre, the first two, and so on."""
    squares, others = (np.einsum("ij,ij->i", v, v) for v in (x, centres))
    distance = squares[:, None] + others - 2 * x @ centres.T
    return np.minimum.accumulate(distance, axis=1, out=distance)


def same_pairs(
    x: Floats, threshold: float, found: tuple[Int, Int], wanted: tuple[Int, Int], error: float
) -> None:
    """The same pairs, but for some at the threshold."""
    n = len(x)
    mine, others = (np.sort(i * n + j) for i, j in (found, wanted))
    assert np.all(mine[1:] != mine[:-1]), "a pair was found twice"
    different = np.setxor1d(mine, others, assume_unique=True)
    a, b = (x[rows].astype(np.float64) for rows in (different // n, different % n))
    cosine = np.einsum("ij,ij->i", a, b)
    cosine /= np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    wrong = np.count_nonzero(np.abs(cosine - threshold) >= error)
    assert not wrong, f"{wrong} of {len(wanted[0])} pairs are missing or too many"
