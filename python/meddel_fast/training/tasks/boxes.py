"""Boxes: from masks, filled into masks, and compared. Needs numpy alone.

A box is float64 ``[x0, y0, x1, y1]`` in pixels; the last pixel of a mask's part is at ``x1 - 1``,
so that a part one pixel wide has a box of width 1.
"""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import ArrayLike, NDArray

Boxes = NDArray[np.float64]  # (k, 4)


def label_parts(mask: ArrayLike) -> NDArray[np.int32]:
    """Label the connected parts of a mask.

    Parameters
    ----------
    mask
        Booleans (h, w). Pixels that touch at a side or a corner are connected.

    Returns
    -------
    ndarray
        int32 (h, w): 0 outside, 1 … k in the parts, by rising first pixel in raster order.

    Raises
    ------
    ValueError
        Another number of dimensions.
    """
    inside = np.asarray(mask).astype(bool)
    if inside.ndim != 2:
        raise ValueError(f"mask must be a 2-d bool array, got shape {inside.shape}")
    edges = np.diff(inside.astype(np.int8), axis=1, prepend=0, append=0)
    rows, starts = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1]
    first = np.searchsorted(rows, np.arange(len(inside) + 1)).tolist()
    roots = _join(first, starts.tolist(), ends.tolist())
    _, numbers = np.unique(roots, return_inverse=True)
    labels = np.zeros(inside.shape, np.int32)
    for row, start, end, number in zip(rows, starts, ends, numbers, strict=True):
        labels[row, start:end] = number + 1
    return labels


def _join(first: list[int], starts: list[int], ends: list[int]) -> list[int]:
    """Give each run of pixels the first run of its part; row y has runs first[y] … first[y + 1]."""
    parent = list(range(len(starts)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    for above, here, below in zip(first, first[1:], first[2:], strict=False):
        i, j = above, here
        while i < here and j < below:
            if starts[j] <= ends[i] and starts[i] <= ends[j]:  # ends are exclusive: corners touch
                low, high = sorted((root(i), root(j)))
                parent[high] = low
            if ends[i] < ends[j]:
                i += 1
            else:
                j += 1
    return [root(run) for run in range(len(starts))]


def boxes_of_mask(mask: ArrayLike, min_area: float = 0.0) -> Boxes:
    """Give the boxes (k, 4) of a mask's parts, but for those below a share of the image."""
    labels = label_parts(mask)
    ys, xs = np.nonzero(labels)
    parts = labels[ys, xs] - 1
    areas = np.bincount(parts, minlength=labels.max(initial=0))
    low = np.full((len(areas), 2), np.inf)
    high = np.zeros((len(areas), 2))
    places = np.stack([xs, ys], axis=1)
    np.minimum.at(low, parts, places)
    np.maximum.at(high, parts, places + 1)
    return np.hstack([low, high])[areas >= min_area * labels.size]


def likeliest_box(chances: NDArray[np.float32], threshold: float) -> Boxes:
    """Give the box (1, 4) of the part above `threshold` with the most chance, summed up.

    No part: (0, 4). Equal sums: the part that comes first in raster order.
    """
    labels = label_parts(chances > threshold)
    if not labels.any():
        return np.empty((0, 4))
    sums = np.bincount(labels.ravel(), weights=chances.ravel().astype(np.float64))
    return boxes_of_mask(labels == 1 + int(np.argmax(sums[1:])))


def read_boxes(text: str, width: int, height: int, size: int) -> Boxes:
    """Read the boxes (k, 4) of a manifest's row, as in its image squeezed to a square of `size`.

    Raises
    ------
    ValueError
        The text is no JSON list of boxes with x0 < x1 and y0 < y1 inside the image.
    """
    wanted = f"boxes must be a JSON list of [x0, y0, x1, y1] within {width} x {height}, got {text}"
    try:
        boxes = np.array(json.loads(text), np.float64).reshape(-1, 4)
    except (ValueError, TypeError):
        raise ValueError(wanted) from None
    low, high = boxes[:, :2], boxes[:, 2:]
    if not ((low >= 0).all() and (low < high).all() and (high <= [width, height]).all()):
        raise ValueError(wanted)
    return boxes * (size / np.array([width, height, width, height]))


class FilledBoxes:
    """Masks (size, size) of images, filled where a box is; made when they are asked for.

    Parameters
    ----------
    boxes
        Per image its boxes (k, 4).
    size
        Side of the masks.
    """

    def __init__(self, boxes: list[Boxes], size: int) -> None:
        self._boxes, self._size = boxes, size

    def __len__(self) -> int:
        return len(self._boxes)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        masks = np.zeros((len(rows), self._size, self._size), np.uint8)
        for mask, row in zip(masks, rows, strict=True):
            corners = np.rint(self._boxes[int(row)]).astype(int)
            low = corners[:, :2].clip(max=self._size - 1)
            high = np.maximum(corners[:, 2:], low + 1)  # a box smaller than a pixel fills one
            for (x0, y0), (x1, y1) in zip(low, high, strict=True):
                mask[y0:y1, x0:x1] = 1
        return masks


def box_iou(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """Give the intersection over union (m, n) of boxes (m, 4) and (n, 4)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = (high - low).clip(0).prod(axis=2)
    areas = [(x[:, 2:] - x[:, :2]).prod(axis=1) for x in (a, b)]
    iou: NDArray[np.float64] = common / (areas[0][:, None] + areas[1][None] - common)
    return iou
