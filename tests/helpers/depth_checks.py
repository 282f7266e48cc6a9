"""What the tests of depth share: a table of depths and channels, and what holds of each cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from depths import SIDE

from meddel_fast.images.load_images import ImageError, examine, load_image
from meddel_fast.images.pixels import Pixels, read_pixels

CHANNELS = {  # factors of the ramp in each channel, TIFF's photometric interpretation, its extras
    "grey": ((1.0,), 1, ()),
    "white is zero": ((1.0,), 0, ()),
    "grey, alpha": ((1.0, 0.4), 1, (2,)),
    "grey times alpha": ((1.0, 0.4), 1, (1,)),
    "white is zero, alpha": ((1.0, 0.4), 0, (2,)),
    "colour": ((1.0, 0.8, 0.5), 2, ()),
    "colour, alpha": ((1.0, 0.8, 0.5, 0.4), 2, (2,)),
    "colour times alpha": ((1.0, 0.8, 0.5, 0.4), 2, (1,)),
    "colour, unknown": ((1.0, 0.8, 0.5, 0.4), 2, (0,)),
    "colour, untold": ((1.0, 0.8, 0.5, 0.4), 2, ()),  # the fourth is alpha, as many leave out
    "cmyk": ((1.0, 0.8, 0.5, 0.4), 5, ()),
}
DEPTHS: dict[str, tuple[int, Any, float]] = {  # bits, type, white
    "1": (1, np.uint8, 1),
    "2": (2, np.uint8, 3),
    "4": (4, np.uint8, 15),
    "8": (8, np.uint8, 255),
    "10": (10, np.uint16, 1023),
    "12": (12, np.uint16, 4095),
    "12 in 16": (16, np.uint16, 4095),
    "8 in 16": (16, np.uint16, 255),
    "16": (16, np.uint16, 65535),
    "12 in 32": (32, np.uint32, 4095),
    "32": (32, np.uint32, 2**32 - 1),
    "signed 8": (8, np.int8, 127),
    "12 in signed 16": (16, np.int16, 4095),
    "16 in signed 32": (32, np.int32, 65535),
    "float 16": (16, np.float16, 1),
    "float 32": (32, np.float32, 1),
    "float 64": (64, np.float64, 1),
    "float 32 of 12": (32, np.float32, 4095),
}


def stored(array: np.ndarray) -> np.ndarray:
    return array.astype(np.int16) if array.dtype == np.int8 else array


def looks(array: np.ndarray, kind: str, white: float) -> np.ndarray:
    """What a picture of these channels looks like on black, from 0 to 255."""
    share = (array.astype(np.float64) / white).reshape(*array.shape[:2], -1)
    if kind == "cmyk":
        share = (1 - share[..., :3]) * (1 - share[..., 3:])
    colours = 3 if share.shape[-1] > 2 else 1
    alpha = share[..., colours : colours + 1] if share.shape[-1] in (2, 4) else 1.0
    base = share[..., :colours]
    if kind.startswith("white"):
        base = 1 - base
    if "times" not in kind and "unknown" not in kind:
        base = base * alpha
    return np.broadcast_to(base * 255, (*base.shape[:2], 3))


def assert_looks(path: Path, wanted: np.ndarray, near: float = 1.0) -> None:
    found = load_image(path, SIDE).astype(float)
    assert np.abs(found - wanted).max() <= near
    info = examine(path.read_bytes(), path)
    assert (info.width, info.height) == (SIDE, SIDE)


def assert_refused(path: Path, reason: str) -> None:
    for read in (lambda: load_image(path, SIDE), lambda: read_pixels(path),
                 lambda: examine(path.read_bytes(), path)):  # fmt: skip
        with pytest.raises(ImageError, match=reason):
            read()


def assert_stored(pixels: Pixels, array: np.ndarray, kind: str) -> None:
    wanted = stored(array)
    colours = 3 if "colour" in kind else 1
    assert pixels.values.dtype.isnative
    assert pixels.inverted == kind.startswith("white")
    assert pixels.premultiplied == ("times" in kind)
    if kind == "cmyk":
        assert pixels.values.shape == (SIDE, SIDE, 3)
        assert pixels.kind == "colour"
        return
    assert pixels.kind == ("colour" if colours == 3 else "grey")
    base = wanted if wanted.ndim == 2 else wanted[..., :colours]
    np.testing.assert_array_equal(pixels.values, base[..., 0] if base.shape[2:] == (1,) else base)
    if "alpha" in kind or "untold" in kind:
        np.testing.assert_array_equal(pixels.alpha, wanted[..., -1])
    else:
        assert pixels.alpha is None
