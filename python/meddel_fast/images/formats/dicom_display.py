"""How grey values of DICOM become 8 bits to look at.

They pass the modality's table or rescale (slope, intercept), then the first window: width w around
centre c maps ``(x - (c - 0.5)) / (w - 1) + 0.5``, cut to [0, 1], to 0-255 (the standard's linear
function; LINEAR_EXACT and SIGMOID likewise by their own). Without a window the table of values for
the VOI is looked up; without either the frame's lowest value becomes 0 and its highest 255. A frame
of one value only is shown by where that value lies in the bits stored, and so are one-bit frames.
Rescale and window of a frame's own functional group go before those of all frames. MONOCHROME1 is
turned over, so that high is bright. Padding takes no part in lowest and highest, and is black.

Colours of more than 8 bits keep the upper 8 of the bits stored, palettes their upper byte.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from meddel_fast.common.extras import needs

_GROUPS = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")


def value(dataset: Any, name: str) -> Any:
    """Give an element's value, or None where it is absent or empty."""
    found = dataset.get(name)
    if isinstance(found, str):
        found = found.strip()
    return None if found is None or (hasattr(found, "__len__") and len(found) == 0) else found


def numbers(dataset: Any, name: str) -> list[float | None]:
    """Give the numbers of an element, None for each that is empty.

    Raises
    ------
    ValueError
        One is no number.
    """
    found = value(dataset, name)
    several = found if hasattr(found, "__iter__") and not isinstance(found, str) else [found]
    try:
        given = [None if v is None or v == "" else float(v) for v in several]
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {found!r:.40}") from None
    if not all(v is None or math.isfinite(v) for v in given):
        raise ValueError(f"{name} is {found!s:.40}")
    return given


def upper_bytes(colours: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Take the upper bytes of looked-up colours."""
    return colours if colours.dtype == np.uint8 else (colours >> 8).astype(np.uint8)


def colours(pixels: npt.NDArray[Any], bits: int) -> npt.NDArray[np.uint8]:
    """Bring colours of `bits` bits to 8: the upper ones, or stretched where there are fewer."""
    if bits > 8:
        return (pixels >> (bits - 8)).astype(np.uint8)
    share = np.clip(pixels / (2**bits - 1), 0, 1)
    return np.asarray((share * 255 + 0.5).astype(np.uint8))


class Grey:
    """What the header says about the grey values of one frame."""

    def __init__(self, header: Any, number: int, bits: int) -> None:
        self.header, self.bits = header, bits
        self._items = list(_functional_groups(header, number))

    def shown(self, pixels: npt.NDArray[Any], *, inverted: bool) -> npt.NDArray[np.uint8]:
        """Map stored values to 0-255, as the head of this file says.

        Raises
        ------
        ValueError
            The header says what cannot be, or what is not done.
        """
        padding = self._padding(pixels)
        values = self._modality(pixels)
        share = self._windowed(values)
        if share is None:
            share = self._looked_up(values)
        if share is None:
            share = self._stretched(pixels, values, padding)
        if inverted:
            share = 1 - share
        if padding is not None:
            share[padding] = 0
        return np.asarray((share * 255 + 0.5).astype(np.uint8))

    def _places(self, group: str) -> Iterator[Any]:
        """Give where an element may stand, the most particular first."""
        for item in self._items:
            if (sequence := value(item, group)) is not None:
                yield sequence[0]
        yield self.header

    def _modality(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        for place in self._places("PixelValueTransformationSequence"):
            if value(place, "ModalityLUTSequence") is not None:
                with needs("dicom"):
                    from pydicom.pixels import apply_modality_lut

                return np.asarray(apply_modality_lut(pixels, place), np.float64)
            slope, intercept = (
                numbers(place, name)[0] for name in ("RescaleSlope", "RescaleIntercept")
            )
            if slope is not None or intercept is not None:
                values = pixels.astype(np.float64) * (1.0 if slope is None else slope)
                return values + (0.0 if intercept is None else intercept)
        return pixels.astype(np.float64)

    def _windowed(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
        for place in self._places("FrameVOILUTSequence"):
            pairs = zip(numbers(place, "WindowCenter"), numbers(place, "WindowWidth"), strict=False)
            function = str(value(place, "VOILUTFunction") or "LINEAR")
            for centre, width in pairs:
                if centre is None or width is None:
                    continue
                # a width of 0, which some devices write, is no window by the standard
                if width >= 1 or (width > 0 and function != "LINEAR"):
                    return _window(values, centre, width, function)
        return None

    def _looked_up(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
        for place in self._places("FrameVOILUTSequence"):
            if (tables := value(place, "VOILUTSequence")) is None:
                continue
            whole = np.rint(values)
            if (whole != values).any():
                raise ValueError("a VOI LUT over values that are not whole")
            with needs("dicom"):
                from pydicom.pixels import apply_voi

            found = apply_voi(whole.astype(np.int64), place)
            top = 2 ** int(tables[0].LUTDescriptor[2]) - 1
            return np.asarray(np.clip(np.asarray(found, np.float64) / max(top, 1), 0, 1))
        return None

    def _stretched(
        self,
        pixels: npt.NDArray[Any],
        values: npt.NDArray[np.float64],
        padding: npt.NDArray[np.bool_] | None,
    ) -> npt.NDArray[np.float64]:
        kept = values if padding is None else values[~padding]
        if kept.size and self.bits > 1:
            low, high = float(kept.min()), float(kept.max())
            if high > low:
                return np.clip((values - low) / (high - low), 0, 1)
        if pixels.dtype.kind == "f":
            return np.clip(pixels.astype(np.float64), 0, 1)
        low = -(2.0 ** (self.bits - 1)) if pixels.dtype.kind == "i" else 0.0
        return np.clip((pixels.astype(np.float64) - low) / (2.0**self.bits - 1), 0, 1)

    def _padding(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.bool_] | None:
        (first, *_), (last, *_) = (
            numbers(self.header, name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")
        )
        if first is None:
            return None
        last = first if last is None else last
        found = (pixels >= min(first, last)) & (pixels <= max(first, last))
        return found if found.any() else None


def _functional_groups(header: Any, number: int) -> Iterator[Any]:
    """Give the frame's own functional group, then that of all frames."""
    for name, index in zip(_GROUPS, (number, 0), strict=True):
        sequence = value(header, name)
        if sequence is not None and index < len(sequence):
            yield sequence[index]


def _window(
    values: npt.NDArray[np.float64], centre: float, width: float, function: str
) -> npt.NDArray[np.float64]:
    """Map values to 0-1 by a window."""
    if function == "SIGMOID":
        exponent = np.clip(-4 * (values - centre) / width, -700, 700)
        return np.asarray(1 / (1 + np.exp(exponent)))
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    elif function != "LINEAR_EXACT":
        raise ValueError(f"VOI LUT function {function!s:.20} is not applied")
    if width == 0:  # black up to the centre, white above
        return (values > centre).astype(np.float64)
    return np.clip((values - centre) / width + 0.5, 0, 1)
