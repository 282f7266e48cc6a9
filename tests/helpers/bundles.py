"""Unit rows in bundles, with copies, and the rule by which duplicates are told among them."""

from __future__ import annotations

import numpy as np

N, D = 90, 8
EPS = [0.01, 0.05, 0.3]


def unit_rows() -> np.ndarray:
    """Unit rows in three bundles, with copies: of row 3 at 40 and 41, of row 8 at 9."""
    rng = np.random.default_rng(12)
    x = rng.normal(size=(3, D))[np.arange(N) % 3] * 2 + 0.5 * rng.normal(size=(N, D))
    x[[40, 41]], x[9] = x[3], x[8]
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def highest_to_earlier(x: np.ndarray) -> np.ndarray:
    """Rows in order of the sweep; minus infinity for the first."""
    cosine = x.astype(np.float64) @ x.T.astype(np.float64)
    cosine /= np.outer(*2 * [np.sqrt(np.diag(cosine))])
    return np.where(np.triu(np.ones_like(cosine), 1) > 0, cosine, -np.inf).max(axis=0)
