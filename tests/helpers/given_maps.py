"""A test set of masks of several sizes, and predictions of it as somebody else would have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meddel_fast.images.manifest import Manifest
from meddel_fast.images.scan.folder import scan_folder

SIZES = [(40, 56), (48, 48), (33, 61), (64, 50), (41, 41), (52, 37)]
"""Heights and widths of the test images, in the order of their names."""


def truths(seed: int = 0) -> dict[str, NDArray[np.bool_]]:
    """A disc in each image, by name; the images called ``train`` are no test images."""
    rng = np.random.default_rng(seed)
    found = {}
    for i, (height, width) in enumerate([*SIZES, (40, 40)]):
        y, x = np.mgrid[:height, :width]
        cy, cx = rng.uniform(0.3, 0.7, 2) * (height, width)
        radius = rng.uniform(0.15, 0.3) * min(height, width)
        found["train" if i == len(SIZES) else f"{i:02}"] = (y - cy) ** 2 + (x - cx) ** 2 < radius**2
    return found


def data_set(folder: Path, name: str = "polyps", seed: int = 0) -> Manifest:
    """Write images and masks; all but ``train`` are for testing."""
    masks = truths(seed)
    rng = np.random.default_rng(seed + 100)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for stem, mask in masks.items():
        pixels = rng.integers(0, 255, (*mask.shape, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{stem}.jpg", quality=95)
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "masks" / f"{stem}.png")
    lines = [f"{stem}.jpg,{'train' if stem == 'train' else 'test'}" for stem in masks]
    (folder / "splits.csv").write_text("\n".join(["file,split", *lines]) + "\n")
    return scan_folder(folder, name=name)


def soft(mask: NDArray[np.bool_], seed: int, noise: float = 0.25) -> NDArray[np.uint8]:
    """A map of grey levels that is mostly right."""
    rng = np.random.default_rng(seed)
    chances = np.where(mask, 0.75, 0.2) + rng.normal(0, noise, mask.shape)
    return (chances.clip(0.02, 0.97) * 255).astype(np.uint8)


def write_maps(
    folder: Path, seed: int = 0, noise: float = 0.25, data: int = 0
) -> dict[str, NDArray[np.uint8]]:
    """Write a PNG of grey levels for each test image, and give them by name."""
    folder.mkdir(parents=True, exist_ok=True)
    masks = truths(data)
    del masks["train"]
    maps = {s: soft(mask, seed + i, noise) for i, (s, mask) in enumerate(masks.items())}
    for stem, values in maps.items():
        Image.fromarray(values).save(folder / f"{stem}.png")
    return maps
