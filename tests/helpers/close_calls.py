"""Rows on which a bound that is a little too tight shows: cosines an ulp from a threshold and from
each other, and data whose shape the screens' sample does not tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import reference

Floats32 = NDArray[np.float32]


def cosines(x: Floats32, y: Floats32) -> NDArray[np.float64]:
    """The truth's cosine of row i of x and row i of y."""
    x, y = reference.widen(x), reference.widen(y)
    parts = [slice(p, p + 32) for p in range(0, len(x), 32)]
    return np.concatenate([np.diagonal(reference.cosine(x[part], y[part])) for part in parts])


def straddle(
    rng: np.random.Generator, u: Floats32, threshold: float
) -> tuple[Floats32, Floats32, Floats32]:
    """Return u (two columns changed), and for each row one just below and one just at threshold.

    v has nearly the wanted cosine to u by construction. Then its first column, where u is large, is
    bisected over fp32: neighbours differ by some 100 ulp of the cosine. Then the second, on a scale
    that is as much finer, which leaves an ulp or so between the two.
    """
    p, d = u.shape
    assert d >= 4
    u = u / np.linalg.norm(u, axis=1, keepdims=True)
    u[:, :2] = 0.5 * np.sqrt(1 - threshold**2)  # so that the rest can reach the threshold alone
    u[:, 2:] *= np.sqrt(1 - 2 * u[:, :1] ** 2) / np.linalg.norm(u[:, 2:], axis=1, keepdims=True)
    rest = u[:, 2:].astype(np.float64)
    length = np.linalg.norm(rest, axis=1, keepdims=True)
    away = rng.normal(size=rest.shape)
    away -= np.sum(away * rest, axis=1, keepdims=True) / length**2 * rest
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    along = threshold * np.linalg.norm(u.astype(np.float64), axis=1, keepdims=True) / length
    below = np.zeros((p, d), np.float32)
    below[:, 2:] = along * rest / length + np.sqrt(1 - along**2) * away
    above = below.copy()
    for column, reach in ((0, 1e-4), (1, 1e-9)):
        above[:] = below
        below[:, column], above[:, column] = -reach, reach
        assert np.all(cosines(u, below) < threshold)
        assert np.all(cosines(u, above) >= threshold)
        for _ in range(80):
            middle = above.copy()
            middle[:, column] = 0.5 * (above[:, column] + below[:, column])
            high = cosines(u, middle) >= threshold
            above[high], below[~high] = middle[high], middle[~high]
    assert np.all(cosines(u, below) < threshold)
    assert np.all(cosines(u, above) >= threshold)
    return u, below, above


def powers_of_two(rng: np.random.Generator, x: Floats32, reach: int = 40) -> Floats32:
    """Scale each row by a power of two, which changes no cosine by a single bit."""
    return np.ldexp(x, rng.integers(-reach, reach + 1, size=(len(x), 1))).astype(np.float32)


def near_ties(rng: np.random.Generator, n: int, d: int) -> tuple[Floats32, Floats32]:
    """Return queries of equal coordinates, and rows that are permutations of one another.

    Every query is as near to every row but for the rounding of sums, by which the truth decides.
    """
    base = rng.normal(size=d) + 1.0
    rows = np.stack([rng.permutation(base) for _ in range(n)]).astype(np.float32)
    queries = np.full((5, d), 1.0, np.float32) * np.float32([[0.1], [1], [3], [-1], [1e6]])
    return queries, rows


def unit(x: NDArray[Any]) -> Floats32:
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def _with_copies(rng: np.random.Generator, x: NDArray[Any]) -> Floats32:
    """Overwrite the last third: near copies of all degrees, copies, negated and scaled ones."""
    x = x.astype(np.float32)
    third = len(x) // 3
    noise = unit(rng.normal(size=(third, x.shape[1])))
    size = np.linalg.norm(x[:third], axis=1, keepdims=True) * rng.choice(
        [0.0, 1e-7, 1e-4, 0.03, 0.3, 0.5], size=(third, 1)
    )
    sign = rng.choice([-1, 1, 1, 4], size=(third, 1))
    x[len(x) - third :] = sign * (x[:third] + size * noise)
    return x


def _isotropic(rng: np.random.Generator, n: int, d: int) -> Floats32:
    """Most of a row lies outside the kept dimensions where d is large."""
    return _with_copies(rng, rng.normal(size=(n, d)))


def _flat(rng: np.random.Generator, n: int, d: int) -> Floats32:
    """Rank 3: nothing lies outside."""
    return _with_copies(rng, rng.normal(size=(n, 3)) @ rng.normal(size=(3, d)))


def _flat_and_rest(rng: np.random.Generator, n: int, d: int) -> Floats32:
    """Most of a row inside few dimensions, some outside, and a few rows wholly outside."""
    x = rng.normal(size=(n, 8)) @ rng.normal(size=(8, d)) + 0.5 * rng.normal(size=(n, d))
    x[::17] = rng.normal(size=x[::17].shape)
    return _with_copies(rng, x)


def _crowd(rng: np.random.Generator, n: int, d: int) -> Floats32:
    """All cosines close to 0.95: too many for the prefix, so that the dense screen decides."""
    centre = unit(rng.normal(size=(1, d)))
    return unit(centre + 0.229 * unit(rng.normal(size=(n, d))))


def _spikes(rng: np.random.Generator, n: int, d: int) -> Floats32:
    """A crowd in which a few rows have one coordinate that the dense screen must clip."""
    x = _crowd(rng, n, d)
    few = rng.choice(n, size=max(1, n // 60), replace=False)
    x[few, rng.integers(d, size=len(few))] += rng.choice([-20, -1, 0.5, 1, 20], size=len(few))
    return x


def _int8(rng: np.random.Generator, n: int, d: int) -> NDArray[np.int8]:
    x = rng.choice(np.array([-128, -127, 0, 1, 127], np.int8), size=(n, d))
    x[: n // 8] = rng.choice(np.array([-128, 127], np.int8), size=(n // 8, 1))
    x[n // 2 :] = x[: n - n // 2]
    x[n // 2 :, : 1 + d // 40] = 3
    return x


def _norms(rng: np.random.Generator, n: int, d: int) -> Floats32:
    x = _isotropic(rng, n, d)
    scale = 10.0 ** rng.integers(-20, 19, size=(n, 1))
    scale[::5] = rng.choice([1e-20, 1e18], size=scale[::5].shape)
    return (x * scale).astype(np.float32)


def _one_hot(rng: np.random.Generator, n: int, d: int) -> Floats32:
    x = np.eye(d, dtype=np.float32)[rng.integers(d, size=n)]
    return x * rng.choice([-1, 1, 1e-20, 1e18], size=(n, 1)).astype(np.float32)


def _zeros_among(rng: np.random.Generator, n: int, d: int) -> Floats32:
    x = _isotropic(rng, n, d)
    x[rng.random(n) < 0.5] = 0
    return x


def _constant(rng: np.random.Generator, n: int, d: int) -> Floats32:
    x = np.full((n, d), 0.1, np.float32) * rng.choice([-1, 1, 3], size=(n, 1)).astype(np.float32)
    x[0] = 0
    return x


def _line(rng: np.random.Generator, n: int, d: int) -> Floats32:
    return np.outer(np.linspace(-1, 2, n), rng.normal(size=d)).astype(np.float32)


def _permutations(rng: np.random.Generator, n: int, d: int) -> Floats32:
    queries, rows = near_ties(rng, n, d)
    rows[::9] = queries[np.arange(len(rows[::9])) % len(queries)]
    return rows


SHAPES: dict[str, Callable[[np.random.Generator, int, int], Any]] = {
    "isotropic": _isotropic, "flat": _flat, "flat_and_rest": _flat_and_rest, "crowd": _crowd,
    "spikes": _spikes, "int8": _int8, "norms": _norms, "one_hot": _one_hot,
    "zeros_among": _zeros_among, "constant": _constant, "line": _line,
    "permutations": _permutations,
}  # fmt: skip
