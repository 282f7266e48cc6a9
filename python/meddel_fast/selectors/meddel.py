"""MedDEL, the paper's method: drop what is disruptive, then what is redundant."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.selectors.base import to_numpy
from meddel_fast.selectors.clusters import KEEP, Clusters, cluster_rows, sweep_order
from meddel_fast.selectors.options import CLUSTERS, choice, number
from meddel_fast.selectors.plan import Choice, Task
from meddel_fast.selectors.selection import Selection
from meddel_fast.selectors.selector import selector
from meddel_fast.selectors.semdedup import redundancy_within, threshold_at
from meddel_fast.selectors.spanning_forest import joins

RULES = ("semdedup", "greedy", "components")

_MAD_TO_DEVIATION = 1.4826  # of a normal distribution

_RESOLUTION = 2.0**-53  # the spacing of doubles below 1: closer similarities count as tied


class Cut(NamedTuple):
    """What a rule makes of a budget.

    Attributes
    ----------
    order : int64, shape (count,)
        Samples kept, most wanted first.
    scores : float64, shape (n,)
        Higher is kept sooner.
    duplicate_of : int64, shape (n,)
        The sample that each one repeats; -1 for none.
    similarity : float64, shape (n,)
        Cosine to it.
    eta
        Samples more similar than this to one that drops them are dropped.
    tied
        Number of samples at the threshold that only the tie rule decided on.
    """

    order: NDArray[np.int64]
    scores: NDArray[np.float64]
    duplicate_of: NDArray[np.int64]
    similarity: NDArray[np.float64]
    eta: float
    tied: int


class Problem(NamedTuple):
    """What a rule has to decide: which samples of `pool` stay, when all are swept in `order`."""

    x: Any
    label: NDArray[np.int64]
    order: NDArray[np.int64]
    pool: NDArray[np.int64]
    selected: NDArray[np.int64]
    rule: str
    threads: int | None


class Level(NamedTuple):
    """The outcome of a deduplication at one threshold."""

    keep: NDArray[np.bool_]
    representative: NDArray[np.int64]
    similarity: NDArray[np.float64]


@selector(
    paper="Yang et al. 2024 (arXiv 2401.17542)",
    cost="k-means, then O(n^2 d / k) at worst",
    nested=False,
    good_for="frames of videos: near duplicates go, and what shows nothing",
    weights="Of near duplicates the heaviest comes first and stays, whatever `keep` says.",
    checks={
        "disruptive_fraction": number(0.0, 1.0),
        "deviations": number(0.0, 1e6),
        "epsilon": number(0.0, 2.0),
        "rule": choice(*RULES),
        "keep": choice(*KEEP),
        **CLUSTERS,
    },
    instead={"epsilon": ("disruptive_fraction", "deviations")},
    processes=True,
)
def meddel(
    task: Task,
    *,
    disruptive_fraction: float = 0.1,
    deviations: float = 2.5,
    epsilon: float | None = None,
    rule: str = "semdedup",
    keep: str = "near",
    clusters: int | None = None,
    max_iterations: int = 100,
) -> Iterator[Choice]:
    """Cluster, drop disruptive samples, then the most redundant ones until the budget is met.

    Exactly as many as asked for are kept: when fewer are left after the disruptive ones, the least
    disruptive come back. Samples selected already are not disruptive, and come first in the sweep.

    Parameters
    ----------
    disruptive_fraction, deviations
        A sample is disruptive when its Euclidean distance from the mean of all stands out: more
        than `deviations` above the median of these distances (in median absolute deviations times
        1.4826, which are standard deviations where the distances are normal), and among the
        farthest `disruptive_fraction` of the samples (0 to 1; of equal ones all or none are). With
        0 deviations the share alone decides, up to a half.
    epsilon
        In place of both, the paper's rule to the letter: samples farther than this (1 - cosine, 0
        to 2) from the centroid of their cluster are disruptive; 0.9 in the paper. A UserWarning
        tells when there are none; 2, the largest distance, asks for that.
    rule
        Whether a dropped sample drops others. "semdedup": yes; one pass gives every budget (see
        :func:`~meddel_fast.selectors.semdedup.semdedup`). "greedy": no; a kept sample covers
        its neighbours. "components": samples connected by duplicates keep one representative.
    keep
        Which sample comes first in a cluster and stays: "near" to the centroid (the paper's
        text), "far" from it (its pseudocode), or a "random" one.
    clusters
        Number of clusters of the spherical k-means; None for
        :func:`~meddel_fast.selectors.clusters.default_clusters`.
    max_iterations
        At most this many iterations of k-means.

    Returns
    -------
    Selection
        ``scores``: by "semdedup" -M, by the other rules 1 for kept samples and minus the cosine to
        its representative for a duplicate; disruptive samples have -2 minus the distance that tells
        (that to the mean as a share of the largest).
        ``settings``: "eta", the threshold above which samples were dropped (None when all samples
        are disruptive); "tied", how many samples at the threshold the tie rule dropped
        ("semdedup": the last by index; otherwise: the last of the sweep); "disruptive", how many
        samples were; "returned", how many of them came back.

    Notes
    -----
    By "semdedup" and "components" a smaller budget keeps a subset of a larger one. By "greedy"
    it need not: a sample that is dropped at one threshold may stay at a lower one, because the one
    that covered it is gone.
    """
    found = cluster_rows(task.x, clusters, max_iterations, task.seed, task.threads)
    if epsilon is None:
        far, outcasts = _far_from_the_mean(task, disruptive_fraction, deviations)
    else:
        far, outcasts = found.distance, np.flatnonzero(found.distance > epsilon)
        if not len(outcasts) and epsilon < 2.0:
            _tell_of_nothing(found.distance, epsilon, rule, keep)
    outcasts = task.without_selected(outcasts[np.argsort(far[outcasts], kind="stable")])
    # A cluster of its own takes each disruptive sample out of every comparison.
    label = found.label.copy()
    label[outcasts] = found.settings["clusters"] + np.arange(len(outcasts))
    sweep = sweep_order(found.distance, keep, task.seed, task.selected, task.weights)
    sweep = sweep[~np.isin(sweep, outcasts)]
    pool = sweep[len(task.selected) :]
    settings = {
        "disruptive_fraction": disruptive_fraction if epsilon is None else None,
        "deviations": deviations if epsilon is None else None,
        "epsilon": epsilon,
        "rule": rule,
        "keep": keep,
        "disruptive": len(outcasts),
        **found.settings,
    }
    order = np.concatenate([sweep, outcasts])
    problem = Problem(task.x, label, order, pool, task.selected, rule, task.threads)
    wanted = [count - len(task.selected) for count in task.counts]
    if len(pool) and rule == "semdedup":
        cutter = _by_quantile(problem)
    elif len(pool):
        cutter = _by_threshold(problem, min(*wanted, len(pool)))
    for new in wanted:
        cut = cutter(min(new, len(pool))) if len(pool) else None
        returned = max(0, new - len(pool))
        yield _assemble(cut, outcasts, far, returned, found, {"returned": returned, **settings})


def meddel_ladder(x: Any, budgets: Sequence[int | float], **options: Any) -> list[Selection]:
    """Return :func:`meddel` for several budgets; clusters, and M by "semdedup", are found once."""
    return meddel(x, list(budgets), **options)


def _assemble(
    cut: Cut | None,
    outcasts: NDArray[np.int64],
    far: NDArray[np.float64],
    returned: int,
    found: Clusters,
    settings: dict[str, Any],
) -> Choice:
    """Join what the rule says of the other samples to the fate of the disruptive ones.

    `far` is the distance that makes a sample disruptive.
    """
    n = len(found.distance)
    if cut is None:  # all samples are disruptive
        nothing = np.full(n, -1, dtype=np.int64)
        cut = Cut(nothing[:0], np.zeros(n), nothing, np.full(n, np.nan), math.nan, 0)
    scores = cut.scores.copy()
    scores[outcasts] = -2.0 - far[outcasts]
    reason = np.where(cut.duplicate_of >= 0, "duplicate", "budget").astype("<U10")
    reason[outcasts] = "disruptive"
    return Choice(
        np.concatenate([cut.order, outcasts[:returned]]),
        scores,
        settings | {"eta": None if math.isnan(cut.eta) else cut.eta, "tied": cut.tied},
        reason=reason,
        duplicate_of=cut.duplicate_of,
        similarity=cut.similarity,
        distance=found.distance,
        cluster=found.label,
    )


def _far_from_the_mean(
    task: Task, fraction: float, deviations: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the distances to the mean of all samples, and the samples whose distance stands out.

    Not to the centroids: what is disruptive gathers in clusters of its own, and is near to them.
    The distance is a share of the largest one, so that it does not depend on the samples' scale.
    """
    result = ops.kmeans(task.x, 1, spherical=False, max_iterations=1, threads=task.threads)
    far = np.sqrt(to_numpy(result.distances))
    far /= np.max(far) or 1.0
    middle = np.median(far)
    usual = middle + deviations * _MAD_TO_DEVIATION * np.median(np.abs(far - middle))
    # Where most samples are copies of one the median deviation is 0: the share is a limit.
    within = task.n - math.floor(fraction * task.n + 0.5)
    limit = np.sort(far)[within - 1] if within else -1.0
    return far, np.flatnonzero((far > usual) & (far > limit))


def _tell_of_nothing(distance: NDArray[np.float64], epsilon: float, rule: str, keep: str) -> None:
    """Warn that no sample is beyond `epsilon`: half of the method had nothing to do."""
    text = (
        f"meddel: epsilon = {epsilon:g} removed nothing, "
        f"the farthest sample is {np.max(distance):.3g} from its centroid"
    )
    same = f": the selection is that of semdedup with keep = {keep!r}"
    warnings.warn(text + same * (rule == "semdedup"), UserWarning, stacklevel=1)


def _by_quantile(problem: Problem) -> Callable[[int], Cut]:
    """Prepare the cuts of "semdedup": M once, then a quantile of M a budget."""
    similarity, neighbor = redundancy_within(
        problem.x, problem.label, problem.order, problem.threads
    )
    pool = np.sort(problem.pool)
    ranking = pool[np.argsort(similarity[pool], kind="stable")]

    def cut(count: int) -> Cut:
        eta, tied = threshold_at(similarity[ranking], count)
        return Cut(ranking[:count], -similarity, neighbor, similarity, eta, tied)

    return cut


def _by_threshold(problem: Problem, least: int) -> Callable[[int], Cut]:
    """Prepare the cuts of the other rules: a threshold found by bisection for each budget.

    `least` is the smallest budget that will be asked for.
    """
    n = len(problem.order)
    pool = problem.pool
    levels: dict[float, Level] = {}

    def level(threshold: float) -> Level:
        if threshold not in levels:
            result = ops.deduplicate(
                problem.x,
                threshold,
                rule=problem.rule,
                order=problem.order,
                labels=problem.label,
                threads=problem.threads,
            )
            levels[threshold] = Level(*(to_numpy(field) for field in result))
        return levels[threshold]

    def count_at(threshold: float) -> int:
        return int(level(threshold).keep[pool].sum())

    if problem.rule == "components":
        kept = _kept_components(problem, least, count_at)
    else:
        kept = _kept_greedily(problem, count_at)

    def cut(count: int) -> Cut:
        low, high = _bracket(lambda threshold: kept(threshold, count), count)
        # Below 0 nothing is asked of a pair and nothing stays; above 1 nothing is dropped.
        below = np.zeros(n, dtype=bool) if low is None else level(low).keep
        above = np.ones(n, dtype=bool) if high is None else level(high).keep
        spare = pool[(above & ~below)[pool]]
        keep = below.copy()
        keep[spare[: count - int(below[pool].sum())]] = True
        threshold = low if low is not None else 0.0
        shown = level(threshold)
        repeats = shown.representative != np.arange(n)
        similarity = np.where(repeats, shown.similarity, np.nan)
        return Cut(
            order=pool[keep[pool]],
            scores=np.where(keep, 1.0, np.where(repeats, -similarity, 0.0)),
            duplicate_of=np.where(repeats, shown.representative, -1),
            similarity=similarity,
            eta=math.nextafter(threshold, -math.inf),  # dropped at it: more similar than eta
            tied=len(spare) - int((keep & ~below)[pool].sum()),
        )

    return cut


Kept = Callable[[float, int], int]
"""How many samples of the pool a threshold keeps, or a number on the same side of the count."""


def _semdedup_thresholds(problem: Problem) -> NDArray[np.float64]:
    """Return M of the pool, ascending: "semdedup" keeps at a threshold the samples below it."""
    found = redundancy_within(problem.x, problem.label, problem.order, problem.threads)
    return np.sort(found.similarity[problem.pool])


def _kept_components(problem: Problem, least: int, count_at: Callable[[float], int]) -> Kept:
    """Count components by the thresholds at which they join, which one pass finds.

    The first of a component repeats no earlier sample, so "semdedup" keeps it too: where that rule
    keeps fewer than `least`, so does this one, and no lower threshold is of interest.
    """
    m = _semdedup_thresholds(problem)
    floor = float(m[least - 1])
    found = joins(problem.x, problem.label, problem.pool, problem.selected, floor, problem.threads)

    def kept(threshold: float, count: int) -> int:
        if threshold < floor:
            return -1
        if found is None:
            return count_at(threshold)
        return len(problem.pool) - len(found) + int(np.searchsorted(found, threshold))

    return kept


def _kept_greedily(problem: Problem, count_at: Callable[[float], int]) -> Kept:
    """Count what "greedy" keeps, at as high thresholds as will do: low ones find too many pairs.

    What "semdedup" keeps "greedy" keeps too, which rules out high thresholds. Low ones are ruled
    out by the first of those that bisection comes to (1 - 2^-j), from above, that keeps fewer than
    wanted.
    """
    m = _semdedup_thresholds(problem)
    floors: dict[int, float] = {}

    def floor(count: int) -> float:
        step = 2.0**-52
        while step < 1.0 and (
            np.searchsorted(m, 1.0 - step) > count or count_at(1.0 - step) >= count
        ):
            step *= 2.0
        return 1.0 - step

    def kept(threshold: float, count: int) -> int:
        at_least = int(np.searchsorted(m, threshold))
        if at_least > count:
            return at_least
        if count not in floors:
            floors[count] = floor(count)
        return -1 if threshold < floors[count] else count_at(threshold)

    return kept


def _bracket(kept: Callable[[float], int], count: int) -> tuple[float | None, float | None]:
    """Find thresholds that keep at most, and at least, `count` samples.

    They are one and the same where a threshold keeps exactly `count`, and otherwise no farther
    apart than two similarities that count as tied. None stands for a threshold beyond [0, 1].
    """
    low, high = 0.0, 1.0
    at_low, at_high = kept(low), kept(high)
    if at_high <= count:
        return high, high if at_high == count else None
    if at_low >= count:
        return low if at_low == count else None, low
    while high - low > _RESOLUTION:
        middle = (low + high) / 2.0
        at_middle = kept(middle)
        if at_middle == count:
            return middle, middle
        low, high = (middle, high) if at_middle < count else (low, middle)
    return low, high
