"""What is read of a DICOM file: its picture, or the reason against it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from meddel_fast.images.load_images import ImageError, load_image
from meddel_fast.images.sources import open_image


def shown(path: Path) -> np.ndarray:
    with open_image(path) as image:
        return np.asarray(image)


def eight(share: np.ndarray) -> np.ndarray:
    return np.floor(np.clip(share, 0, 1) * 255 + 0.5).astype(np.uint8)


def refusal(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        load_image(path, 8)
    return caught.value.reason
