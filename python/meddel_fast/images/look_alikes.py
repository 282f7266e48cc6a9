"""Which images look alike, so that neighbours of one video do not stand in different splits.

Each image is described by a row of two parts, taken from a small picture of it: its layout (8 x 8
pixels less their mean) and a histogram of its colours. The cosine of two rows is the weighted mean
of the cosines of the parts. No model is needed. The thresholds were chosen on real frames:
docs/leakage.md has what they find.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.images.load_images import ImageError, load_image
from meddel_fast.images.remote_files import raise_outage
from meddel_fast.images.splits import join
from meddel_fast.ops import iter_similar_pairs

NEAR = 0.95
"""Cosine from which on any two images are joined."""

NEXT = 0.75
"""Cosine from which on two images are joined whose names are counted one after the other."""

AHEAD = 2
"""So many names further an image still counts as one that follows."""

_SIDE, _CELLS = 32, 8  # pixels of the small picture and of the layout, a side
_RED, _BLUE, _LIGHT = 8, 8, 4  # bins of the histogram
_COLOUR = 0.6  # weight of the histogram
_FLAT = 4.0  # a layout that deviates less, as root mean square of 0-255, is little but noise
_MEMORY = "1GB"
_LAST_NUMBER = re.compile(r"(.*?)(\d+)(\D*)", re.DOTALL)

Look = NDArray[np.float32]


def look(path: Path) -> Look | None:
    """Describe an image by its small picture.

    Parameters
    ----------
    path
        The file, or any address (:mod:`meddel_fast.images.address`).

    Returns
    -------
    numpy.ndarray or None
        float32 (448,); None for an image that cannot be read.
    """
    try:
        small = load_image(path, _SIDE).astype(np.int64)
    except (ImageError, OSError) as error:
        raise_outage(error)
        return None
    step = _SIDE // _CELLS
    layout = small.reshape(_CELLS, step, _CELLS, step, 3).mean((1, 3)).reshape(-1, 3)
    layout = (layout - layout.mean(0)).ravel()
    size = max(float(np.sqrt(layout @ layout)), _FLAT * np.sqrt(layout.size))
    total = small.sum(-1) + 3
    # shares of red and blue, over the range that they have in tissue: integers, so that all
    # machines put a pixel into the same bin
    red = np.clip((small[..., 0] + 1) * 2 * _RED // total - _RED // 2, 0, _RED - 1)
    blue = np.clip((small[..., 2] + 1) * 3 * _BLUE // total, 0, _BLUE - 1)
    light = small.sum(-1) * _LIGHT // (3 * 255 + 1)
    bins = np.bincount(((red * _BLUE + blue) * _LIGHT + light).ravel(), minlength=256)
    colour = np.sqrt(bins / bins.sum())
    return np.concatenate([np.sqrt(1 - _COLOUR) / size * layout, np.sqrt(_COLOUR) * colour]).astype(
        np.float32
    )


def alike(
    names: Sequence[str],
    looks: Sequence[Look | None],
    known: Sequence[bool],
    threads: int | None = None,
) -> list[int]:
    """Join images that look alike, and number the components.

    Two images are joined that have a cosine of :data:`NEAR` or more, and two that follow one
    another by the number in their names, in one folder, that have :data:`NEXT` or more. Two
    whose groups are known are not joined by their looks.

    Parameters
    ----------
    names
        Ids of the n images.
    looks
        What :func:`look` gave.
    known
        Whether an image's group is known.
    threads
        Number of threads; None for all cores.

    Returns
    -------
    list of int
        For each image the lowest number of an image in its component.
    """
    seen = [i for i, one in enumerate(looks) if one is not None]
    free = np.array([i for i in seen if not known[i]], dtype=np.int64)
    held = np.array([i for i in seen if known[i]], dtype=np.int64)
    if len(free) == 0:
        return list(range(len(names)))
    x = np.stack([looks[i] for i in free])
    found = ops.deduplicate(x, NEAR, rule="components", memory=_MEMORY, threads=threads)
    pairs = [*zip(free.tolist(), free[found.representative].tolist(), strict=True)]
    if len(held):
        y = np.stack([looks[i] for i in held])
        for chunk in iter_similar_pairs(x, y, threshold=NEAR, threads=threads):
            pairs += zip(free[chunk.i].tolist(), held[chunk.j].tolist(), strict=True)
    return join(len(names), pairs=[*pairs, *_following([names[i] for i in free], x, free)])


def _following(names: list[str], x: Look, rows: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Pair images that are counted one after the other and look somewhat alike."""
    counted = defaultdict(list)
    for at, name in enumerate(names):
        path = PurePosixPath(name)
        found = _LAST_NUMBER.fullmatch(path.stem)
        if found:
            start, number, end = found.groups()
            counted[path.parent, start, end].append((int(number), at))
    pairs: list[tuple[int, int]] = []
    for series in counted.values():
        order = np.array([at for _, at in sorted(series)])
        for ahead in range(1, AHEAD + 1):
            a, b = order[:-ahead], order[ahead:]
            near = _cosines(x[a], x[b]) >= NEXT
            pairs += zip(rows[a[near]].tolist(), rows[b[near]].tolist(), strict=True)
    return pairs


def _cosines(x: Look, y: Look) -> NDArray[np.float64]:
    dots = [np.einsum("ij,ij->i", a, b, dtype=np.float64) for a, b in ((x, y), (x, x), (y, y))]
    cosines: NDArray[np.float64] = dots[0] / np.sqrt(dots[1] * dots[2])
    return cosines
