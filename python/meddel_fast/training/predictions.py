"""Predicted masks on disk, a bit a pixel, so that anyone can score them again.

A file is an .npz without pickle: ``ids``, the images in the order of their scores; ``bits``, the
masks at the size they were scored at, rows of ``numpy.packbits``; ``size``, their side;
``confusions``, what came of each image. 512 bytes an image at 64 pixels, before compression.

Masks that were scored each at a size of its own have ``size`` 0, the sizes in ``shapes``, and
their ``bits`` one after the other in one row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.files import StrPath
from meddel_fast.common.npz import Npz, open_npz
from meddel_fast.common.outputs import archive, output_path

MAX_SIDE = 4096
"""Masks with longer sides, in pixels, are refused."""
MAX_BYTES, MAX_GROWTH = 1 << 30, 100
"""Files that unpack to more bytes, and to more times their own, are refused."""

_TYPES = {"ids": "U", "bits": "u1", "size": "i", "shapes": "i", "confusions": "i"}


def confusion_matrices(
    truth: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    ignored: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Count the pixels of each image by truth and prediction.

    Parameters
    ----------
    truth, predicted : bool, shape (n, h, w)
        Masks of the same images.
    ignored : bool, shape (n, h, w), optional
        Pixels that are not counted.

    Returns
    -------
    int64, shape (n, 2, 2)
        ``[i, truth, prediction]``.

    Raises
    ------
    ValueError
        The shapes differ, or are not 3-d.
    """
    if truth.ndim != 3 or truth.shape != predicted.shape:
        raise ValueError(
            f"truth and predicted must have one 3-d shape, got {truth.shape} and {predicted.shape}"
        )
    counted = np.full(len(truth), truth.shape[1] * truth.shape[2], np.int64)
    if ignored is not None:
        if ignored.shape != truth.shape:
            raise ValueError(f"ignored must be as truth, {truth.shape}, got {ignored.shape}")
        truth, predicted = truth & ~ignored, predicted & ~ignored
        counted -= ignored.sum(axis=(1, 2), dtype=np.int64)
    both = (truth & predicted).sum(axis=(1, 2), dtype=np.int64)
    wanted = truth.sum(axis=(1, 2), dtype=np.int64)
    found = predicted.sum(axis=(1, 2), dtype=np.int64)
    neither = counted - (wanted + found - both)
    cells = [neither, found - both, wanted - both, both]
    return np.stack(cells, axis=1).reshape(-1, 2, 2)


KIND = archive("a file of predictions", "ids", "bits", "size", "confusions")


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predicted masks of a test set.

    Attributes
    ----------
    ids
        The n images.
    bits : uint8, shape (n, ceil(size * size / 8)), or (bytes,)
        Their masks; with `shapes` those of all images in one row, each from a new byte on.
    size
        Side of a mask in pixels; 0 with `shapes`.
    confusions : int64, shape (n, 2, 2)
        See :func:`confusion_matrices`.
    shapes : int64, shape (n, 2), optional
        Height and width of each mask, where each has a size of its own.
    """

    ids: list[str]
    bits: NDArray[np.uint8]
    size: int
    confusions: NDArray[np.int64]
    shapes: NDArray[np.int64] | None = None

    @property
    def masks(self) -> NDArray[np.bool_]:
        """The masks, bool (n, size, size), where all have one size."""
        flat = np.unpackbits(self.bits, axis=1, count=self.size**2)
        return flat.reshape(-1, self.size, self.size).astype(np.bool_)

    def each(self) -> Iterator[NDArray[np.bool_]]:
        """Yield the masks one after the other, bool (h, w), whatever their sizes."""
        if self.shapes is None:
            for row in self.bits:
                flat = np.unpackbits(row, count=self.size**2)
                yield flat.reshape(self.size, self.size).astype(np.bool_)
            return
        ends = np.cumsum(_packed_bytes(self.shapes))
        parts = np.split(self.bits, ends[:-1])
        for (height, width), part in zip(self.shapes.tolist(), parts, strict=True):
            flat = np.unpackbits(part, count=height * width)
            yield flat.reshape(height, width).astype(np.bool_)

    @property
    def pixels(self) -> int:
        """Pixels of all masks together."""
        if self.shapes is None:
            return len(self.ids) * self.size**2
        return int(self.shapes.prod(axis=1).sum())

    def save(self, path: StrPath) -> None:
        """Write the file, atomically; its name ends in ``.npz``."""
        arrays: dict[str, Any] = {
            "ids": np.array(self.ids, dtype=np.str_),
            "bits": self.bits,
            "size": np.int64(self.size),
            "confusions": self.confusions,
        }
        if self.shapes is not None:
            arrays["shapes"] = self.shapes
        with output_path(path, KIND) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: StrPath) -> Predictions:
        """Read what :meth:`save` wrote.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ValueError
            The file is damaged, or holds something else.
        """
        found = _read(path, ("ids", "bits", "size", "confusions"), ("shapes",))
        return cls(
            found["ids"].tolist(),
            found["bits"],
            int(found["size"]),
            found["confusions"],
            found.get("shapes"),
        )


def load_confusions(path: StrPath) -> tuple[list[str], NDArray[np.int64]]:
    """Read ids and confusion matrices alone: thousands of masks need not be unpacked for them.

    Raises
    ------
    FileNotFoundError, ValueError
        As :meth:`Predictions.load`.
    """
    found = _read(path, ("ids", "confusions"))
    return found["ids"].tolist(), found["confusions"]


def _read(
    path: StrPath, names: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, NDArray[Any]]:
    """Read some arrays, sizes before the bits; those of images have one entry an id."""
    with open_npz(path, "predictions", names, optional) as arrays:
        _check_headers(arrays)
        found = {name: arrays.read(name) for name in arrays.headers if name != "bits"}
        if "bits" in arrays.headers:
            _check_bits(arrays, int(found["size"]), found.get("shapes"))
            found["bits"] = arrays.read("bits")
        return found


def _check_headers(arrays: Npz) -> None:
    packed = arrays.packed
    for name, (_, _, dtype) in arrays.headers.items():
        if not dtype.str[1:].startswith(_TYPES[name]):
            raise ValueError(f"wanted {name} of type {_TYPES[name]}, has {dtype}")
    shapes = {name: shape for name, (shape, _, _) in arrays.headers.items()}
    n = math.prod(shapes["ids"])
    if (shapes["ids"], shapes["confusions"]) != ((n,), (n, 2, 2)):
        got = f"{shapes['ids']} and {shapes['confusions']}"
        raise ValueError(f"wanted ids (n,) and confusions (n, 2, 2), has {got}")
    if shapes.get("size", ()) != ():
        raise ValueError(f"wanted one size, has {shapes['size']}")
    if shapes.get("shapes", (n, 2)) != (n, 2):
        raise ValueError(f"wanted shapes (n, 2), has {shapes['shapes']}")
    if arrays.bytes > max(MAX_BYTES, MAX_GROWTH * packed):
        raise ValueError(
            f"its {packed} bytes would grow to {arrays.bytes}, more than {MAX_BYTES} and "
            f"{MAX_GROWTH} times"
        )


def _check_bits(arrays: Npz, size: int, shapes: NDArray[np.int64] | None) -> None:
    n, bits = arrays.headers["ids"][0][0], arrays.headers["bits"][0]
    if shapes is None:
        if not 0 < size <= MAX_SIDE or bits != (n, -(-size * size // 8)):
            raise ValueError(
                f"wanted {n} masks of {size} pixels a side (1 to {MAX_SIDE}), has bits of shape "
                f"{bits}"
            )
        return
    if size or n == 0 or shapes.min() < 1 or shapes.max() > MAX_SIDE:
        raise ValueError(f"wanted size 0 and {n} masks of 1 to {MAX_SIDE} pixels a side in shapes")
    wanted = int(_packed_bytes(shapes).sum())
    if bits != (wanted,):
        raise ValueError(f"wanted the {wanted} bytes of {n} masks, has bits of shape {bits}")


def _packed_bytes(shapes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the bytes of each mask of these heights and widths."""
    counts: NDArray[np.int64] = -(-shapes.astype(np.int64).prod(axis=1) // 8)
    return counts


def pack(masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Pack masks, bool (n, size, size), into uint8 (n, ceil(size * size / 8))."""
    return np.packbits(masks.reshape(len(masks), -1), axis=1)
