"""Bootstrap intervals of scores that come from several runs on one set of test images.

Two things are drawn with replacement, each as it was sampled:

- the runs, in two nested levels: repetitions (selection and pre-training), then heads in each;
- the test images, those of one video or patient together, since they resemble each other. All runs
  are scored on the same images, so one draw of images holds for all runs and all selections.
  (Drawn for each run anew, images would count as more than there are: intervals would be too narrow
  by up to the root of the number of runs.)

A score is then computed as it is from all images: over the pixels of all drawn images together.
Because runs and images are the same draw for every selection, differences are paired. The draws
are hashes of a seed and a place (see `selectors.base.random_keys`): no library version and no
machine changes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from meddel_fast.selectors.base import random_keys

CONFIDENCE = 0.95
DRAWS = 2000  # each end of a normal 95 % interval then has a standard error of 1.5 % of its length
MIN_GROUPS = 5
"""With fewer groups of images than this a draw of groups says little; images are drawn instead."""

_BLOCK = 1 << 22  # drawn images held at once

K = TypeVar("K")
Floats = NDArray[np.float64]
Run = tuple[int, int]
"""Repetition and seed of the head."""


@dataclass(frozen=True, eq=False)
class Sample:
    """A score of several runs, as it was and as it is in each draw.

    Attributes
    ----------
    observed : float64, shape (runs,)
        The runs' scores.
    drawn : float64, shape (draws, runs)
        The scores with the images of each draw.
    weights : float64, shape (draws, runs)
        How often a draw has each run, as a share: rows add to 1.
    runs
        Repetition and head of each run.
    units
        Number of images, or groups of them, that were drawn from.
    bounds
        Between which any such score lies.
    """

    observed: Floats
    drawn: Floats
    weights: Floats
    runs: tuple[Run, ...]
    units: int
    bounds: tuple[float, float] = (0.0, 1.0)

    def map(self, function: Callable[[Floats], Floats]) -> Sample:
        """Apply a rising function to every score."""
        low, high = function(np.array(self.bounds)).tolist()
        observed, drawn = function(self.observed), function(self.drawn)
        return replace(self, observed=observed, drawn=drawn, bounds=(low, high))

    @property
    def mean(self) -> float:
        """The mean over the runs."""
        return float(self.observed.mean())

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Give the percentile interval of the mean over the runs.

        Draws of k runs have a share of (k - 1) / k of the runs' variance; their part is widened,
        which may come out beyond what a score can be: there the interval ends.
        """
        even = self.drawn.mean(axis=1)
        many = len({repeat for repeat, _ in self.runs})
        many = many if many > 1 else len(self.runs)
        wider = np.sqrt(many / max(1, many - 1))
        means = even + wider * ((self.drawn * self.weights).sum(axis=1) - even)
        tail = (1 - confidence) / 2
        low, high = np.clip(np.quantile(means, [tail, 1 - tail]), *self.bounds)
        return float(low), float(high)


def combine(samples: Sequence[Sample], factors: Sequence[float]) -> Sample:
    """Add samples of the same runs, each times its factor: differences, means, areas."""
    pairs = list(zip(factors, samples, strict=True))
    ends = [sorted(f * end for end in s.bounds) for f, s in pairs]
    return replace(
        samples[0],
        observed=np.sum([f * s.observed for f, s in pairs], axis=0),
        drawn=np.sum([f * s.drawn for f, s in pairs], axis=0),
        units=min(s.units for s in samples),
        bounds=(sum(low for low, _ in ends), sum(high for _, high in ends)),
    )


def average(samples: Sequence[Sample]) -> Sample:
    """Average samples of the same runs, run by run."""
    return combine(samples, [1 / len(samples)] * len(samples))


def miou_of_counts(counts: Floats) -> Floats:
    """Mean IoU of confusion matrices (..., 2, 2), of which one may be a sum over many images.

    The same operations in the same order as `segmentation.iou_from_confusion`; 0 of 0 is 1.
    """
    wrong = counts[..., 0, 1] + counts[..., 1, 0]
    halves = []
    for right in (counts[..., 1, 1], counts[..., 0, 0]):
        whole = right + wrong
        some = whole > 0
        halves.append(np.where(some, right / np.where(some, whole, 1.0), 1.0))
    miou: Floats = (halves[0] + halves[1]) / 2
    return miou


def run_weights(runs: Sequence[Run], draws: int = DRAWS, seed: int = 0) -> Floats:
    """Draw runs: repetitions with replacement, then in each as many of its heads as it has.

    Returns
    -------
    float64, shape (draws, runs)
        Shares of each draw; the rows add to 1.
    """
    groups: dict[int, list[int]] = {}
    for place, (repeat, _) in enumerate(runs):
        groups.setdefault(repeat, []).append(place)
    members = [groups[repeat] for repeat in sorted(groups)]
    most = max(map(len, members))
    keys = random_keys(draws * len(members) * (1 + most), _hash(seed, "runs"))
    keys = keys.reshape(draws, len(members), 1 + most)
    weights = np.zeros((draws, len(runs)))
    repeats = (keys[:, :, 0] * len(members)).astype(np.int64)
    for draw in range(draws):
        for key, repeat in zip(keys[draw], repeats[draw], strict=True):
            heads = members[repeat]
            for u in key[1 : 1 + len(heads)]:
                weights[draw, heads[int(u * len(heads))]] += 1
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def image_weights(
    images: int, name: str, draws: int = DRAWS, seed: int = 0
) -> Iterator[tuple[slice, Floats]]:
    """Draw images with replacement; yield blocks (draws of the block, counts (b, images)).

    The draws depend on the number of images, `name` and `seed` only.
    """
    height = max(1, _BLOCK // images)
    for first in range(0, draws, height):
        rows = min(height, draws - first)
        keys = random_keys(rows * images, _hash(seed, f"images/{name}/{first}"))
        places = (keys * images).astype(np.int64).reshape(rows, images)
        places += images * np.arange(rows)[:, None]
        counts = np.bincount(places.ravel(), minlength=rows * images)
        yield slice(first, first + rows), counts.reshape(rows, images).astype(np.float64)


def resample(
    confusions: Mapping[K, NDArray[Any]],
    runs: Sequence[Run],
    name: str,
    *,
    groups: Sequence[str] | None = None,
    measure: Callable[[Floats], Floats] = miou_of_counts,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[K, Sample]:
    """Draw runs and images, the same for all selections.

    Parameters
    ----------
    confusions
        Selection -> counts of each run and image, (runs, images, 2, 2), or with other last axes
        what `measure` takes; the same images in the same order everywhere.
    runs
        Repetition and seed of each run.
    name
        Of the test set: other sets have other draws of images, and the same of runs.
    groups
        Video or patient of each image, empty for none; None for none at all. See
        :func:`whole_groups`.
    measure
        From sums of counts, with the same last axes, to scores (...).
    draws, seed
        How many draws, and which.

    Raises
    ------
    ValueError
        The counts are not all of one shape, (runs, images, ...), or `groups` are of other images.
    """
    shapes = {counts.shape for counts in confusions.values()}
    first = next(iter(shapes))
    cells = first[2:]
    if shapes != {(len(runs), *first[1:])} or 0 in first or not cells:
        raise ValueError(
            f"confusions must all be of one shape ({len(runs)} runs, images, "
            f"{', '.join(map(str, cells or '?'))}), "
            f"got {sorted(shapes)}"
        )
    units = {key: whole_groups(counts, groups) for key, counts in confusions.items()}
    images = next(iter(units.values())).shape[1]
    flat = {
        key: np.ascontiguousarray(np.moveaxis(counts, 0, 1).reshape(images, -1), np.float64)
        for key, counts in units.items()
    }
    drawn = {key: np.empty((draws, len(runs))) for key in confusions}
    for block, weights in image_weights(images, name, draws, seed):
        for key, counts in flat.items():  # sums of whole numbers: exact in any order
            drawn[key][block] = measure((weights @ counts).reshape(-1, len(runs), *cells))
    shares = run_weights(runs, draws, seed)
    return {
        key: Sample(
            observed=measure(counts.sum(axis=1).astype(np.float64)),
            drawn=drawn[key],
            weights=shares,
            runs=tuple(runs),
            units=images,
        )
        for key, counts in confusions.items()
    }


def whole_groups(counts: NDArray[Any], groups: Sequence[str] | None) -> NDArray[Any]:
    """Add up the counts of images that are drawn together.

    Parameters
    ----------
    counts : shape (runs, images, ...)
        By image.
    groups
        Name of each image's group; images without one (empty) stand alone. None: all stand alone.

    Returns
    -------
    shape (runs, units, ...)
        By group, in the order of their first images; `counts` when there are fewer than
        `MIN_GROUPS` units.

    Raises
    ------
    ValueError
        There is not one group for each image.
    """
    if groups is None:
        return counts
    if len(groups) != counts.shape[1]:
        raise ValueError(
            f"groups must be one for each of {counts.shape[1]} images, got {len(groups)}"
        )
    unit, units = units_of(groups)
    if units == counts.shape[1]:
        return counts
    summed = np.zeros((units, len(counts), *counts.shape[2:]), counts.dtype)
    np.add.at(summed, unit, np.moveaxis(counts, 1, 0))
    return np.moveaxis(summed, 0, 1)


def units_of(groups: Sequence[str], least: int = MIN_GROUPS) -> tuple[NDArray[np.int64], int]:
    """Give the unit of each image, of those that are drawn as one, and how many units there are.

    Groups are units in the order of their first images; images without one (empty) are units by
    themselves, and all are with fewer than `least` units.
    """
    places: dict[tuple[str, int], int] = {}
    unit = [
        places.setdefault((group, -1 if group else i), len(places))
        for i, group in enumerate(groups)
    ]
    if len(places) < least:
        return np.arange(len(unit)), len(unit)
    return np.array(unit, np.int64), len(places)


def _hash(seed: int, place: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{place}".encode()).digest()[:8], "big")
