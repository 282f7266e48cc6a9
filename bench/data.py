"""Arrays to measure on: made ones of several shapes, and real features where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

Floats = NDArray[np.float32]

NAMES = ["clustered", "video", "isotropic", "real"]


def make(name: str, n: int, d: int) -> Floats:
    """Return n x d samples; the real ones have their own size."""
    rng = np.random.default_rng(0)
    if name == "real":
        return _real()
    x = {"clustered": _clustered, "video": _video, "isotropic": _isotropic}[name](rng, n, d)
    return np.ascontiguousarray(x, dtype=np.float32)


def _normal(rng: np.random.Generator, n: int, d: int) -> Floats:
    return rng.standard_normal(size=(n, d), dtype=np.float32)


def _clustered(rng: np.random.Generator, n: int, d: int) -> Floats:
    """200 gaussian clusters; every tenth sample is a near duplicate of another."""
    x = 1.2 * _normal(rng, 200, d)[rng.integers(200, size=n)] + _normal(rng, n, d)
    copies = rng.choice(n, size=n // 10, replace=False)
    x[copies] = x[rng.integers(n, size=len(copies))] + 0.1 * _normal(rng, len(copies), d)
    return x


def _video(rng: np.random.Generator, n: int, d: int) -> Floats:
    """Random walks within 24 dimensions, 400 frames each, with a little noise in all."""
    walks = []
    for start in range(0, n, 400):
        steps = 0.12 * _normal(rng, min(400, n - start), 24)
        steps[0] = 2 * _normal(rng, 1, 24)[0]
        walks.append(np.cumsum(steps, axis=0))
    noise = np.float32(0.3 / np.sqrt(d)) * _normal(rng, n, d)
    return np.concatenate(walks) @ (_normal(rng, 24, d) / np.float32(np.sqrt(d))) + noise


def _isotropic(rng: np.random.Generator, n: int, d: int) -> Floats:
    return _normal(rng, n, d)


def _real() -> Floats:
    """Features of 1,600 endoscopy frames, beside the repository or at MEDDEL_DATA."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("MEDDEL_DATA", default)) / "embeddings_effnet_lite0_f32.npy"
    if not path.is_file():
        pytest.skip(f"real embeddings not found at {path} (set MEDDEL_DATA)")
    return np.load(path)
