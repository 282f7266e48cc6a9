"""Small data sets and networks for the tests of the learning stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from meddel_fast.common.hashes import sha256_file
from meddel_fast.images.manifest import Manifest
from meddel_fast.training.settings import PretrainConfig

TINY = PretrainConfig(
    image_size=32,
    patch_size=8,
    hidden_size=32,
    layers=2,
    heads=2,
    decoder_hidden_size=16,
    decoder_layers=1,
    decoder_heads=2,
    steps=6,
    warmup_steps=2,
    batch_size=4,
    learning_rate=1e-3,
    checkpoint_every=2,
)


def blob_frames(folder: Path, n: int = 12, side: int = 40, name: str = "blobs") -> Manifest:
    """A data set of brownish noise with a bright disc in each frame, and its mask."""
    rng = np.random.default_rng(7)
    rows = []
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    y, x = np.mgrid[:side, :side]
    for i in range(n):
        centre, radius = rng.uniform(side / 4, 3 * side / 4, 2), rng.uniform(side / 8, side / 4)
        mask = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2
        pixels = rng.normal(0, 8, (side, side, 3)) + np.where(mask[..., None], 200, 90)
        image, truth = folder / f"images/{i:03d}.png", folder / f"masks/{i:03d}.png"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(image)
        Image.fromarray(mask.astype(np.uint8) * 255).save(truth)
        rows.append(
            {
                "id": f"images/{i:03d}.png",
                "image": f"images/{i:03d}.png",
                "mask": f"masks/{i:03d}.png",
                "sha256": sha256_file(image),
                "mask_sha256": sha256_file(truth),
                "bytes": image.stat().st_size,
                "width": side,
                "height": side,
                "mode": "RGB",
                "split": "train",
                "group": "",
                "frame": -1,
                "status": "ok",
                "reason": "",
            }
        )
    return Manifest.from_rows(name, folder, rows)
