"""Dice and IoU as PraNet's evaluation has them, and most tables on polyps after it.

Each map is stretched to 0 to 1 by its own lowest and highest value; it is cut at the 256 thresholds
0/255 to 255/255 (what is at the threshold counts as lesion); the scores of a threshold are averaged
over the images, and those averages over the thresholds. An image of which nothing is hit scores 0,
and a map of one value is not stretched. (github.com/DengPingFan/PraNet, eval/main.m and
eval/Fmeasure_calu.m, and its issue 19.)

So a mask that is right scores a little below 1: at threshold 0 everything is lesion.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEVELS = 256
_THRESHOLDS = np.arange(LEVELS) / (LEVELS - 1)


def mean_scores(
    truth: NDArray[np.bool_],
    values: NDArray[np.floating],
    ignored: NDArray[np.bool_] | None = None,
) -> tuple[float, float]:
    """Score one map, averaged over the thresholds.

    The mean over images of what this gives is that over thresholds and images in any order.

    Parameters
    ----------
    truth : bool, shape (h, w)
        The lesion.
    values : floating, shape (h, w)
        The map.
    ignored : bool, shape (h, w), optional
        Pixels that do not count.

    Returns
    -------
    iou, dice
    """
    stretched = _stretched(np.asarray(values, np.float64))
    counted = np.ones(truth.shape, bool) if ignored is None else ~ignored
    # How many thresholds a pixel reaches: it is lesion at all of those, and at none above.
    reached = np.searchsorted(_THRESHOLDS, stretched[counted], side="right")
    lesion = truth[counted]
    hits, found = (
        np.bincount(part, minlength=LEVELS + 1)[::-1].cumsum()[::-1][1:]
        for part in (reached[lesion], reached)
    )
    wanted = int(lesion.sum())
    some = hits > 0
    union, both = np.where(some, found + wanted - hits, 1), np.where(some, found + wanted, 1)
    return float((hits / union).mean()), float((2 * hits / both).mean())


def _stretched(values: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = values.min(), values.max()
    return values if high == low else (values - low) / (high - low)
