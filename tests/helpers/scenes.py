"""Images that look alike or do not, what became of them by name, and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from meddel_fast.images.manifest import Manifest


def scene(seed: int, shift: float = 0.0, light: float = 1.0) -> np.ndarray:
    """Draw a soft coloured scene, (48, 64, 3) uint8, seen from a place that moves with `shift`."""
    field = np.random.default_rng(seed).uniform(20, 235, (7, 9, 3)).astype(np.uint8)
    wide = np.asarray(Image.fromarray(field).resize((160, 96), Image.Resampling.BICUBIC))
    left = 20 + round(shift)
    return (wide[20:68, left : left + 64] * light).astype(np.uint8)


def save(path: Path, pixels: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def by_id(manifest: Manifest, column: str = "split") -> dict[str, Any]:
    ids = (name.removeprefix("images/") for name in manifest.ids)
    return dict(zip(ids, manifest.column(column), strict=True))


def command(*arguments: object) -> Any:
    pytest.importorskip("typer")
    from typer.testing import CliRunner

    from meddel_fast.cli import app

    return CliRunner().invoke(app, [*map(str, arguments)])
