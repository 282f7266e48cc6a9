"""Rows in several directions, for methods to select from, and how alike they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import reference

Float = NDArray[np.float64]


def cloud(n: int = 60, d: int = 5, seed: int = 0, copies: bool = True) -> NDArray[np.float32]:
    """Five directions of different width; rows 7 and 20 repeat row 3, row 11 is zero."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 5, n)
    noise = rng.normal(size=(n, d)) * np.array([0.05, 0.1, 0.3, 0.5, 0.8])[kind][:, None]
    x = (rng.normal(size=(5, d))[kind] + noise).astype(np.float32)
    if copies:
        x[7] = x[20] = x[3]
        x[11] = 0.0
    return x


def cosines(x: NDArray[Any]) -> Float:
    """The truth, clipped at 0; a sample's own cosine is rounded like any other."""
    wide = reference.widen(x)
    return np.maximum(reference.cosine(wide, wide), 0.0)
