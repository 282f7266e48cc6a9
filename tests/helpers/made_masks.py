"""Made masks: four that a data set would have, numbered in any way, written in any container."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from containers import write_dicom
from PIL import Image

from meddel_fast.images.load_masks import count, load_mask
from meddel_fast.images.masks.census import Census
from meddel_fast.images.masks.rule import Meaning

SIDE = 64
LESION, OTHER, RIM = 1, 2, 3  # what a pixel of a made mask is, beside 0


def made_masks() -> list[np.ndarray]:
    """Four masks: one with all there is, one of a class alone, one full of lesion, one empty."""
    whole = np.zeros((SIDE, SIDE), np.uint8)
    whole[8:40, 8:48] = RIM
    whole[16:32, 16:32] = LESION
    whole[16:32, 32:40] = OTHER
    single = np.zeros((SIDE, SIDE), np.uint8)
    single[40:56, 0:24] = OTHER
    most = np.full((SIDE, SIDE), LESION, np.uint8)
    most[:8] = 0
    return [whole, single, most, np.zeros((SIDE, SIDE), np.uint8)]


MASKS = made_masks()
BLANK = MASKS[3]


def numbered(mask: np.ndarray, numbers: tuple[float, ...]) -> np.ndarray:
    return np.array(numbers)[mask]


def written(path: Path, image: Any, **options: Any) -> Path:
    image.save(path, **options)
    return path


def grey(kind: str, dtype: type = np.uint8, **options: Any) -> Callable[[Path, np.ndarray], Path]:
    def write(path: Path, numbers: np.ndarray) -> Path:
        return written(path.with_suffix(kind), Image.fromarray(numbers.astype(dtype)), **options)

    return write


def colour(kind: str, alpha: bool = False, **options: Any) -> Callable[[Path, np.ndarray], Path]:
    def write(path: Path, numbers: np.ndarray) -> Path:
        image = np.repeat(numbers.astype(np.uint8)[..., None], 3, axis=2)
        if alpha:
            image = np.dstack([image, np.full(numbers.shape, 255, np.uint8)])
        return written(path.with_suffix(kind), Image.fromarray(image), **options)

    return write


def palette(kind: str) -> Callable[[Path, np.ndarray], Path]:
    """Indices into the palette of Pascal VOC, whose last colour is a light one."""

    def write(path: Path, numbers: np.ndarray) -> Path:
        image = Image.fromarray(numbers.astype(np.uint8), "P")
        bits = [[(i >> 3 * k + c & 1) << 7 - k for k in range(3)] for i in range(256)
                for c in range(3)]  # fmt: skip
        image.putpalette([sum(parts) for parts in bits])
        return written(path.with_suffix(kind), image)

    return write


def dicom(dtype: type, kind: str = "MONOCHROME2") -> Callable[[Path, np.ndarray], Path]:
    """A window that would stretch the mask, were it obeyed."""

    def write(path: Path, numbers: np.ndarray) -> Path:
        pytest.importorskip("pydicom")
        window = {"WindowCenter": 2, "WindowWidth": 3}
        write_dicom(path.with_suffix(".dcm"), numbers[None].astype(dtype), kind, **window)
        return path.with_suffix(".dcm")

    return write


def settled(paths: list[Path], given: dict[str, Any] | None = None) -> Meaning:
    census = Census()
    for path in paths:
        count(census, path)
    return census.settle(given)


def read(paths: list[Path], given: dict[str, Any] | None = None) -> list[np.ndarray]:
    meaning = settled(paths, given)
    return [load_mask(path, SIDE, Meaning.from_json(meaning.to_json())) for path in paths]


def saved(folder: Path, write: Callable[[Path, np.ndarray], Path],
          numbers: tuple[float, ...]) -> list[Path]:  # fmt: skip
    return [write(folder / str(i), numbered(mask, numbers)) for i, mask in enumerate(MASKS)]
