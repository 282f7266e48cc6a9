"""The numbers that a mask's file stores, one a pixel, and how deep they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.images.masks.rule import colour_number
from meddel_fast.images.pixels import Pixels

LOSSY = ", lossy"
ONE_BIT = "1 bits"
_OPAQUE = (255, 1023, 4095, 16383, 65535, 2**32 - 1)


def depth_of(pixels: Pixels) -> str:
    """Name the depth by which masks are told apart: one number means one thing in each."""
    values = pixels.values
    few = pixels.kind == "grey" and pixels.bits in (1, 2, 4)
    bits = pixels.bits if few else 8 * values.dtype.itemsize
    return ("float" if values.dtype.kind == "f" else f"{bits} bits") + LOSSY * pixels.lossy


def numbers_of(pixels: Pixels, by_index: bool) -> tuple[NDArray[Any], bool]:
    """Give the number of each pixel ``(h, w)``, and whether 0 is white.

    Grey levels as stored, but for one bit, which is 0 or 255; what is transparent is laid on black;
    colours as `masks.rule.colour_number` has them.

    Parameters
    ----------
    pixels
        What the file stores.
    by_index
        Take a palette's indices, not its colours.

    Raises
    ------
    ValueError
        An index that the palette does not have, colours that are neither of 8 nor 16 bits, or
        black alone of which some is transparent: is that the lesion, or the ground?
    """
    values, inverted = pixels.values, pixels.inverted
    if pixels.kind == "palette":
        if by_index:
            return values, False
        return colour_number(_on_black(_looked_up(pixels), pixels.alpha)), False
    if pixels.kind == "grey" and pixels.bits == 1:
        values, inverted = np.where((values != 0) != inverted, np.uint8(255), np.uint8(0)), False
    values = _on_black(values, None if pixels.premultiplied else pixels.alpha)
    if pixels.alpha is not None and not values.any() and len(np.unique(pixels.alpha)) > 1:
        raise ValueError("it is all black, and only its transparency tells pixels apart")
    return (colour_number(values) if values.ndim == 3 else values), inverted


def _looked_up(pixels: Pixels) -> NDArray[Any]:
    if pixels.palette is None or pixels.values.max(initial=0) >= len(pixels.palette):
        raise ValueError("an index that its palette does not have")
    return np.asarray(pixels.palette[pixels.values])


def _on_black(values: NDArray[Any], alpha: NDArray[Any] | None) -> NDArray[Any]:
    if alpha is None:
        return values
    highest = alpha.max(initial=0)
    top = 1 if alpha.dtype.kind in "fb" else next(top for top in _OPAQUE if highest <= top)
    if (alpha == top).all():
        return values
    alpha = alpha[..., None] if values.ndim == 3 else alpha
    if values.dtype.kind == "f" or alpha.dtype.kind == "f":
        return np.asarray((values * (alpha / top)).astype(values.dtype))
    laid = (values.astype(np.int64) * alpha + top // 2) // top
    return np.asarray(laid.astype(values.dtype))
