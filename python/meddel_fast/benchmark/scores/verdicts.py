"""The one rule by which a difference is told from none: page, tables, terminal and probe use it.

Several selections are compared with one other, a *family*. Of each the difference D is the mean
over runs of the score less the other's in the same run. Its variance has two parts:

- runs: the spread of repetitions, of which three alone say next to nothing. It is pooled over the
  family (its selections are trained alike): the residual of selections by repetitions, m of them
  k times, has (m - 1)(k - 1) degrees of freedom. A difference whose own spread is greater keeps
  that. Heads are averaged within their repetition.
- images: the bootstrap's variance of D, less what it holds of the runs' part (a run's own luck
  with these images, which is in the spread of the repetitions already).

The simultaneous intervals of a family are D plus and minus c standard errors, c the 95 % quantile
of the greatest of the family's studentised differences under no difference (max-T; Dunnett's test
where runs are all there is), drawn with the correlations of the differences and with both parts
of the variance as uncertain as they are. ``docs/benchmark.md`` says what that was tried against.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

from meddel_fast.benchmark.scores.bootstrap import CONFIDENCE, Floats, Run, Sample
from meddel_fast.common.extras import needs
from meddel_fast.selectors.base import random_keys

BETTER, WORSE, ALIKE, NOT_JUDGED = "better", "worse", "not told apart", "not judged"
ONE_REPETITION = "one repetition"
ONE_IMAGE = "one test image"
CORRECTION = (
    "simultaneous over all selections compared with the same other at one ratio and data set: "
    "max-T, the runs' variance pooled over them"
)
FROZEN = (
    "All repetitions select from the embeddings of one encoder: what another encoder would change "
    "is in no interval."
)
_DRAWS = 10_000  # of the greatest difference under none
_ROUNDING = 1e-12  # a difference of scores that is none

K = TypeVar("K", bound=Hashable)
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """A difference of two selections, and what is to be said of it.

    Attributes
    ----------
    difference
        Mean over the runs of the score less that of the other.
    low, high
        Its 95 % interval by itself.
    all_low, all_high
        Its interval of those that hold all differences of the family at once.
    comparisons
        The family's size; selections that came to the same scores count once.
    verdict
        By the simultaneous interval: `BETTER`, `WORSE`, `ALIKE`; or `NOT_JUDGED`.
    why
        Why it is not judged; else empty.
    """

    difference: float
    low: float
    high: float
    all_low: float
    all_high: float
    comparisons: int
    verdict: str
    why: str

    def row(self) -> dict[str, Any]:
        """Give all of it as the columns of a table."""
        return asdict(self)


def compare(
    samples: Mapping[K, Sample], other: Sample, *, alike: Iterable[Sample] = ()
) -> dict[K, Comparison]:
    """Compare a family of selections with one other.

    Parameters
    ----------
    samples
        By selection; all of the same runs and images as `other`.
    other
        What each is compared with.
    alike
        Further samples of the same runs that are trained as the family is: they help to tell the
        spread of repetitions, where the family is small.

    Returns
    -------
    dict
        A comparison for each of `samples`. With a single repetition none is judged, and the
        intervals are of images and heads alone; with a single image they are of runs alone.

    Raises
    ------
    ValueError
        The samples are not of the same runs.
    """
    everything = [other, *samples.values(), *alike]
    if any(sample.runs != other.runs for sample in everything):
        raise ValueError("samples must be of the same runs, in the same order")
    if not samples:
        return {}
    scores = [sample.observed.tobytes() for sample in samples.values()]
    places = {one: i for i, one in enumerate(dict.fromkeys(scores))}
    distinct = dict(zip(scores, samples.values(), strict=True))
    spread = _Spread([distinct[one] for one in places], other, everything)
    once = len({repeat for repeat, _ in other.runs}) == 1
    why = ONE_REPETITION if once else ONE_IMAGE if other.units == 1 else ""
    alone, together = spread.quantiles()
    found = {}
    for key, one in zip(samples, scores, strict=True):
        i = places[one]
        centre, error = spread.differences[i], spread.errors[i]
        low, high = centre - together * error, centre + together * error
        verdict = BETTER if low > _ROUNDING else WORSE if high < -_ROUNDING else ALIKE
        found[key] = Comparison(
            float(centre),
            float(centre - alone[i] * error),
            float(centre + alone[i] * error),
            float(low),
            float(high),
            len(places),
            NOT_JUDGED if why else verdict,
            why,
        )
    return found


def rule(runs: Sequence[Run]) -> dict[str, Any]:
    """Say by what rule differences of these runs are judged, and why not where they are not."""
    repeats = {repeat for repeat, _ in runs}
    judged = len(repeats) > 1
    why = (
        "one repetition: how much another selection and training would move a score is not known, "
        "so no difference is judged (run.repeats = 3 would tell)"
    )
    return {
        "confidence": CONFIDENCE,
        "correction": CORRECTION,
        "repeats": len(repeats),
        "heads": len({head for _, head in runs}),
        "judged": judged,
        "why": "" if judged else why,
        "leaves_out": FROZEN,
    }


def marks(differences: Iterable[Row]) -> set[tuple[str, float, str]]:
    """Give what may be set off in tables: (selector, ratio, data set) better than random."""
    return {
        (str(row["selector"]), float(row["ratio"]), str(row["dataset"]))
        for row in differences
        if row["against"] == "random" and row["verdict"] == BETTER
    }


def cleared(differences: Iterable[Row], floors: Sequence[str]) -> set[tuple[str, float, str]]:
    """Give (selector, ratio, data set) of what is better than each of the floors."""
    found: dict[tuple[str, float, str], set[str]] = {}
    for row in differences:
        if row["against"] in floors and row["verdict"] == BETTER:
            key = (str(row["selector"]), float(row["ratio"]), str(row["dataset"]))
            found.setdefault(key, set()).add(str(row["against"]))
    return {key for key, above in found.items() if above == set(floors)}


class _Spread:
    """Differences of a family with their standard errors and correlations.

    Attributes
    ----------
    differences : float64, shape (family,)
    errors : float64, shape (family,)
        Standard errors, both parts together.
    """

    def __init__(
        self, samples: Sequence[Sample], other: Sample, everything: Sequence[Sample]
    ) -> None:
        units = _units(other.runs)
        scores = np.array([s.observed for s in samples])
        self.differences: Floats = (scores - other.observed).mean(axis=1)
        self._runs, self._run_freedom = _run_part(
            [s.observed @ units for s in samples],
            other.observed @ units,
            [s.observed @ units for s in everything],
        )
        self._images = _image_part(samples, other, units)
        self._image_freedom = other.units - 1
        total = self._runs + self._images
        self.errors: Floats = np.sqrt(np.diag(total))
        self._total = total

    def quantiles(self) -> tuple[Floats, float]:
        """Give the 95 % quantiles of each studentised difference, and of the greatest of all."""
        n = len(self.errors)
        safe = np.where(self.errors > 0, self.errors, 1.0)
        correlations = self._total / np.outer(safe, safe)
        values, vectors = np.linalg.eigh(correlations)
        root = vectors * np.sqrt(np.clip(values, 0, None))
        share = np.diag(self._runs) / safe**2
        estimated = np.outer(_variances(self._run_freedom, 0), share)
        estimated += np.outer(_variances(self._image_freedom, 1), 1 - share)
        studentised = np.abs(_normal(n) @ root.T) / np.sqrt(estimated)
        alone = np.quantile(studentised, CONFIDENCE, axis=0)
        return alone, float(np.quantile(studentised.max(axis=1), CONFIDENCE))


def _units(runs: Sequence[Run]) -> Floats:
    """Weights (runs, units) that average the heads of each repetition, or of one keep the heads."""
    repeats = [repeat for repeat, _ in runs]
    if len(set(repeats)) == 1:
        return np.eye(len(runs))
    members: Floats = np.equal.outer(repeats, sorted(set(repeats))).astype(np.float64)
    members /= members.sum(axis=0)
    return members


def _run_part(
    samples: Sequence[Floats], other: Floats, everything: Sequence[Floats]
) -> tuple[Floats, int]:
    """Give the covariance (family, family) of the differences by runs, and its freedom.

    Scores that are the same in every repetition (a floor, a method that draws nothing) have no
    spread, and tell nothing of that of the others. Where a difference's own spread is greater than
    the pooled one, it is taken: no selection is judged by a spread that others, which vary less,
    have made small.
    """
    repeats = len(other)
    if repeats == 1:
        return np.zeros((len(samples), len(samples))), 0
    moving = np.unique([scores for scores in everything if np.ptp(scores) > 0] or [other], axis=0)
    rest = moving - moving.mean(axis=1, keepdims=True)
    freedom = repeats - 1
    if len(moving) > 1:
        rest -= rest.mean(axis=0)
        freedom *= len(moving) - 1
    variance = float((rest**2).sum()) / freedom
    shared = variance if np.ptp(other) > 0 else 0.0
    pooled = shared + np.array([variance if np.ptp(scores) > 0 else 0.0 for scores in samples])
    own = np.var(np.array(samples) - other, axis=1, ddof=1)
    wider = np.sqrt(np.maximum(own, pooled) / np.where(pooled > 0, pooled, 1.0))
    covariance: Floats = np.full((len(samples), len(samples)), shared)
    np.fill_diagonal(covariance, pooled)
    return covariance * np.outer(wider, wider) / repeats, freedom


def _image_part(samples: Sequence[Sample], other: Sample, units: Floats) -> Floats:
    """Give the covariance (family, family) of the differences by images.

    Of the draws' covariance of the means, what comes from each run's own luck with the images is
    taken away: it is in the spread of the runs.
    """
    repeats = units.shape[1]
    drawn = np.array([(s.drawn - other.drawn) @ units for s in samples])
    drawn -= drawn.mean(axis=1, keepdims=True)
    means = drawn.mean(axis=2)
    draws = means.shape[1]
    covariance: Floats = means @ means.T / draws
    if repeats > 1:
        luck = (drawn - means[:, :, None]).reshape(len(samples), -1)
        covariance -= luck @ luck.T / (draws * (repeats - 1) * repeats)
    some = np.diag(covariance) > 0
    return covariance * np.outer(some, some) * other.units / max(1, other.units - 1)


@lru_cache(maxsize=8)
def _normal(size: int) -> Floats:
    """Draw normal numbers (draws, size)."""
    with needs("benchmark"):
        from scipy.special import ndtri
    keys = np.maximum(random_keys(_DRAWS * size, size), 2.0**-53)
    normal: Floats = ndtri(keys).reshape(_DRAWS, size)
    return normal


@lru_cache(maxsize=8)
def _variances(freedom: int, part: int) -> Floats:
    """Draw estimates (draws,) of a variance of 1; without freedom it is known."""
    if freedom < 1:
        return np.ones(_DRAWS)
    with needs("benchmark"):
        from scipy.special import chdtri
    drawn: Floats = chdtri(freedom, random_keys(_DRAWS, -1 - part)) / freedom
    return drawn
