"""Samples and intervals of the scores beside mIoU: Dice of all pixels, IoU and Dice by image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from meddel_fast.benchmark.scores.bootstrap import Floats, Run, Sample, average, resample
from meddel_fast.benchmark.scores.statistics import MEAN

OTHERS = ("dice", "image_iou", "image_dice")
OTHER_COLUMNS = tuple(f"{name}_{end}" for name in OTHERS for end in ("low", "high"))

_ONE = 1 << 40  # a score of 1 in whole numbers, whose sums are the same in any order

K = TypeVar("K")
Counts = NDArray[np.int64]
"""Of each run and image, (runs, images, truth, prediction)."""


def by_image(counts: Counts) -> dict[str, Floats]:
    """Give IoU and Dice of the lesion in each image, (...) of counts (..., 2, 2); 0 of 0 is 1.

    NaN where the mask ignores the whole image, which has no share in means then.
    """
    false, missed, hit = (counts[..., i, j].astype(np.float64) for i, j in ((0, 1), (1, 0), (1, 1)))
    union, both = hit + false + missed, 2 * hit + false + missed
    found = {
        "image_iou": np.where(union > 0, hit / np.maximum(union, 1), 1.0),
        "image_dice": np.where(both > 0, 2 * hit / np.maximum(both, 1), 1.0),
    }
    seen = counts.any(axis=(-2, -1))
    return {name: np.where(seen, each, np.nan) for name, each in found.items()}


def averages(
    values: Mapping[K, Floats], runs: Sequence[Run], name: str, groups: Sequence[str]
) -> dict[K, Sample]:
    """Draw means over images of scores (runs, images), by the draws that mIoU has; NaN counts not.

    What is drawn are whole numbers: an image's score, and of how many images it is, 1 or 0.
    """
    tables = {}
    for key, scores in values.items():
        counted = ~np.isnan(scores)
        whole = np.rint(np.where(counted, scores, 0) * _ONE).astype(np.int64)
        tables[key] = np.stack([whole, counted], axis=-1)
    return resample(tables, runs, name, groups=groups, measure=_mean)


def _mean(table: Floats) -> Floats:
    means: Floats = table[..., 0] / np.maximum(table[..., 1], 1) / _ONE
    return means


def _dice(counts: Floats) -> Floats:
    twice = 2 * counts[..., 1, 1]
    whole = twice + counts[..., 0, 1] + counts[..., 1, 0]
    dice: Floats = np.where(whole > 0, twice / np.maximum(whole, 1), 1.0)
    return dice


def other_intervals(
    counted: Iterable[tuple[str, Mapping[K, Counts], Sequence[Run]]],
    groups: Mapping[str, Sequence[str]],
) -> dict[K, dict[str, dict[str, float]]]:
    """Give the columns `OTHER_COLUMNS` by selection and data set, "mean" included.

    Parameters
    ----------
    counted
        Name of each data set, the counts of each selection, and their runs.
    groups
        Data set -> video or patient of each of its test images, empty for none.
    """
    samples: dict[K, dict[str, dict[str, Sample]]] = {}
    for name, counts, runs in counted:
        each = {key: by_image(found) for key, found in counts.items()}
        drawn: dict[str, Any] = {
            "dice": resample(counts, runs, name, groups=groups[name], measure=_dice)
        }
        for score in ("image_iou", "image_dice"):
            values = {key: scores[score] for key, scores in each.items()}
            drawn[score] = averages(values, runs, name, groups[name])
        for key in counts:
            of_key = samples.setdefault(key, {score: {} for score in OTHERS})
            for score in OTHERS:
                of_key[score][name] = drawn[score][key]
    return {key: _columns(scores) for key, scores in samples.items()}


def _columns(scores: Mapping[str, dict[str, Sample]]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for score, sets in scores.items():
        for name, sample in {**sets, MEAN: average(list(sets.values()))}.items():
            low, high = sample.interval()
            found.setdefault(name, {}).update({f"{score}_low": low, f"{score}_high": high})
    return found
