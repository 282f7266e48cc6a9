"""Small pictures with near and exact copies, and an encoder that tells them apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_pictures(folder: Path, n: int = 24, side: int = 40, seed: int = 0) -> None:
    """Coarse noise: every third picture has a copy, every fourth a near one."""
    rng = np.random.default_rng(seed)
    for name in ("a", "b", "c"):
        (folder / name).mkdir(parents=True)
    for i in range(n):
        coarse = rng.integers(0, 255, (5, 5, 3)).astype(np.uint8)
        picture = np.asarray(Image.fromarray(coarse).resize((side, side)), np.int16)
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"a/{i:03d}.png")
        if i % 3 == 0:
            Image.fromarray(picture.astype(np.uint8)).save(folder / f"b/{i:03d}.png")
        if i % 4 == 1:
            near = np.clip(picture + rng.integers(-2, 3, picture.shape), 0, 255)
            Image.fromarray(near.astype(np.uint8)).save(folder / f"c/{i:03d}.png")


def write_encoder(folder: Path, seed: int = 0) -> Path:
    """A vision transformer of one layer, untrained."""
    import torch
    from transformers import ViTConfig, ViTImageProcessorPil, ViTModel

    width = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    shape = {"image_size": 32, "patch_size": 8, "num_hidden_layers": 1}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        ViTModel(ViTConfig(**width, **shape)).save_pretrained(folder)
    ViTImageProcessorPil().save_pretrained(folder)
    return folder
