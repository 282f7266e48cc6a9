"""Arrays to measure on: made ones of several shapes, and real ones where they are at hand."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

Floats = NDArray[np.float32]

MADE = ["clustered", "video", "isotropic", "text"]
NAMES = [*MADE, "real", "frames", "sentences"]
QUICK = ["clustered", "real", "frames"]  # where slow peers run too
ROOT = Path(__file__).resolve().parents[1]
SENTENCES = Path(os.environ.get("MEDDEL_SENTENCES", ROOT / "build" / "bench" / "sentences.npy"))


def make(name: str, n: int, d: int) -> Floats:
    """Return n x d samples; the real ones have their own size, sentences n at most."""
    if name == "real":
        return np.load(_real_data() / "embeddings_effnet_lite0_f32.npy")
    if name == "frames":
        return _frames(_real_data())
    if name == "sentences":
        return _sentences(n)
    shapes = {"clustered": _clustered, "video": _video, "isotropic": _normal, "text": _text}
    return np.ascontiguousarray(shapes[name](np.random.default_rng(0), n, d), dtype=np.float32)


def long_tailed(
    n: int, d: int, concepts: int, *, spread: float
) -> tuple[Floats, NDArray[np.int64]]:
    """Return samples of concepts whose numbers fall as 1 / rank, and the concept of each.

    Centres are directions at random; samples lie about them at `spread`, of the centres' norm 1.
    """
    rng = np.random.default_rng(0)
    share = np.cumsum(1.0 / np.arange(1, concepts + 1))
    concept = np.searchsorted(share / share[-1], (np.arange(n) + 0.5) / n)
    concept = rng.permutation(np.minimum(concept, concepts - 1))
    centres = rng.standard_normal((concepts, d), dtype=np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    x = np.empty((n, d), np.float32)
    for start in range(0, n, 1 << 14):
        part = concept[start : start + (1 << 14)]
        noise = rng.standard_normal((len(part), d), dtype=np.float32)
        x[start : start + (1 << 14)] = centres[part] + np.float32(spread / d**0.5) * noise
    return x, concept


def threshold(rows: Floats, share: float) -> float:
    """Cosine that about this share of all pairs of unit rows reach, from a sample of them."""
    rng = np.random.default_rng(0)
    sample = rows[rng.choice(len(rows), size=min(2000, len(rows)), replace=False)]
    cosines = (sample @ sample.T)[np.triu_indices(len(sample), 1)]
    return float(np.quantile(cosines, 1 - share))


def _normal(rng: np.random.Generator, n: int, d: int) -> Floats:
    return rng.standard_normal(size=(n, d), dtype=np.float32)


def _with_near_duplicates(rng: np.random.Generator, x: Floats) -> Floats:
    """Every tenth sample becomes a near duplicate of another."""
    n, d = x.shape
    copies = rng.choice(n, size=n // 10, replace=False)
    x[copies] = x[rng.integers(n, size=len(copies))] + 0.1 * _normal(rng, len(copies), d)
    return x


def _clustered(rng: np.random.Generator, n: int, d: int) -> Floats:
    """200 gaussian clusters that overlap: cosine .59 within one."""
    x = 1.2 * _normal(rng, 200, d)[rng.integers(200, size=n)] + _normal(rng, n, d)
    return _with_near_duplicates(rng, x)


def _video(rng: np.random.Generator, n: int, d: int) -> Floats:
    """Random walks within 24 dimensions, 400 frames each, with a little noise in all."""
    walks = []
    for start in range(0, n, 400):
        steps = 0.12 * _normal(rng, min(400, n - start), 24)
        steps[0] = 2 * _normal(rng, 1, 24)[0]
        walks.append(np.cumsum(steps, axis=0))
    noise = np.float32(0.3 / np.sqrt(d)) * _normal(rng, n, d)
    return np.concatenate(walks) @ (_normal(rng, 24, d) / np.float32(np.sqrt(d))) + noise


def _text(rng: np.random.Generator, n: int, d: int) -> Floats:
    """Like sentence embeddings: variances that fall as 1/i, along no particular axes."""
    axes, _ = np.linalg.qr(_normal(rng, d, d))
    scale = np.float32(1) / np.sqrt(np.arange(1, d + 1, dtype=np.float32))
    return _with_near_duplicates(rng, _normal(rng, n, d)) @ (scale[:, None] * axes)


def _real_data() -> Path:
    """The folder of 1,612 endoscopy frames, beside the repository or at MEDDEL_DATA."""
    default = ROOT.parent / "shared" / "data"
    folder = Path(os.environ.get("MEDDEL_DATA", default))
    if not (folder / "manifest.csv").is_file():
        pytest.skip(f"real data not found at {folder} (set MEDDEL_DATA)")
    return folder


def _frames(folder: Path) -> Floats:
    """The frames themselves: thumbnails of 24 x 24 pixels, less the mean one."""
    image = pytest.importorskip("PIL.Image")
    thumbnails = []
    with (folder / "manifest.csv").open(newline="") as manifest:
        for row in csv.DictReader(manifest):
            with image.open(folder / row["file"]) as frame:
                thumbnails.append(np.asarray(frame.convert("RGB").resize((24, 24))))
    x = np.stack(thumbnails).reshape(len(thumbnails), -1) / np.float32(255)
    return x - x.mean(axis=0)


def _sentences(n: int) -> Floats:
    """Embeddings of real sentences, of length 1, as embed_text.py makes them: n spread over all."""
    if not SENTENCES.is_file():
        pytest.skip(f"no sentence embeddings at {SENTENCES} (bench/embed_text.py makes them)")
    x = np.load(SENTENCES)
    return x[np.linspace(0, len(x) - 1, min(n, len(x))).astype(int)]
