"""Several objectives with strengths, in one greedy."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.arrays import check_float
from meddel_fast.common.progress import counted
from meddel_fast.selectors import options, seeds
from meddel_fast.selectors.base import to_numpy
from meddel_fast.selectors.greedy import FarAndWanted, Wish
from meddel_fast.selectors.neighbor_graph import nearest
from meddel_fast.selectors.plan import Choice, Task
from meddel_fast.selectors.selector import selector

NEIGHBORS = 20
_STATIC = ("typicality", "like", "unlike", "score")
_LIMITS = {"diversity": (0.0, 1e6), "dedup": (0.5, 1.0), **dict.fromkeys(_STATIC, (-1e6, 1e6))}


def _objectives(name: str, value: Any, n: int | None) -> dict[str, float]:
    """Accept names with strengths: a check of options."""
    shape = f"{name} must be pairs of a name and a strength, got {value!r}"
    if isinstance(value, str) or not isinstance(value, Mapping | Sequence):
        raise TypeError(shape)
    pairs = list(value.items()) if isinstance(value, Mapping) else list(value)
    if any(isinstance(p, str) or not isinstance(p, Sequence) or len(p) != 2 for p in pairs):
        raise TypeError(shape)
    found: dict[str, float] = {}
    for one, strength in pairs:
        if not isinstance(one, str) or one not in _LIMITS:
            raise ValueError(f"{name} must be of {', '.join(map(repr, _LIMITS))}, got {one!r}")
        if one in found:
            raise ValueError(f"{name} must hold each objective once, got {one!r} twice")
        found[one] = check_float(f"{name}: {one}", strength, *_LIMITS[one])
    if not set(found) - {"dedup"}:
        raise ValueError(f"{name} must hold one beside 'dedup', which only leaves out, got {value}")
    return found


@selector(
    paper="Gonzalez 1985 (diversity); Hacohen et al. 2022 (typicality)",
    cost="O(n b d) at worst; O(n^2 d) at worst for typicality",
    good_for="several aims at once: spread, typical, like a query, uncertain, no copies",
    per_sample={"score": "fiu"},
    checks={
        "objectives": _objectives,
        "like": seeds.rows,
        "unlike": seeds.rows,
        "neighbors": options.NEIGHBORS,
    },
    sets=("like", "unlike"),
    adds=("value", "copies"),
)
def combine(
    task: Task,
    *,
    objectives: Any = (("diversity", 1.0), ("typicality", 0.5)),
    like: Any = None,
    unlike: Any = None,
    score: Any = None,
    neighbors: int | None = None,
) -> Iterator[Choice]:
    """Keep the sample of the highest sum of strength times objective, again and again.

    Each objective is a number from 0 to 1 for each sample:

    - "diversity": 1 - the highest cosine to a kept sample (1 where none is positive);
    - "typicality": the mean cosine to the `neighbors` most similar others;
    - "like": the highest cosine to a row of `like`;
    - "unlike": the highest cosine to a row of `unlike`, which is taken off the sum;
    - "score": the `score`.

    All but the first, which alone changes as samples are kept, are scaled so that the lowest of the
    pool is 0 and the highest 1 (all 0 where they are equal).

    Parameters
    ----------
    objectives : sequence of (name, strength), or dict
        The names above. A negative strength wants the opposite (diversity has none). With ("dedup",
        threshold), from 0.5 to 1, a sample is left out when its cosine to a kept one is at or above
        the threshold, as long as there are others.
    like, unlike : shape (m, d), optional
        Embeddings of what is wanted, and of what is not.
    score : float, shape (n,), optional
        Uncertainty, quality; the higher the better.
    neighbors
        For typicality; None for 20, or all if there are fewer.

    Returns
    -------
    Selection
        ``order`` is that of selection, and smaller budgets are nested. ``scores``: of kept samples
        the sum when they were kept, of the others what it is now, less 1 and the strengths for near
        copies. ``distance`` is 1 - the highest cosine to a kept sample (1 where none is positive).
        ``settings["value"]`` adds up the sums, ``settings["means"]`` has the mean of each objective
        over the samples chosen, each when it was kept.

    Notes
    -----
    A sum only falls as samples are kept, so that one of any time before bounds it: only samples
    whose bound is among the highest are compared with what was kept since (lazy greedy).
    """
    wanted: dict[str, float] = _objectives("objectives", objectives, None)
    given = {"like": like, "unlike": unlike, "score": score}
    for name, value in given.items():
        if (value is None) == (name in wanted):
            lacks = "an array" if value is None else "None"
            verb = "is" if name in wanted else "is not"
            raise ValueError(f"{name} must be {lacks} where {name!r} {verb} an objective")
    if neighbors is not None and "typicality" not in wanted:
        raise ValueError(
            f"neighbors must be None where 'typicality' is not an objective, got {neighbors}"
        )
    seeds.check_width(task, like=like, unlike=unlike)
    wish = Wish.of(wanted, _terms(task, wanted, given, neighbors), task.n)
    greedy = FarAndWanted(task, wish)
    settings: dict[str, Any] = {"objectives": wanted}
    if "typicality" in wanted:
        settings["neighbors"] = _neighbors(task, neighbors)
    rungs: dict[int, Choice] = {}
    first = len(task.selected)
    with counted(max(task.counts) - first) as progress:
        for count in sorted(set(task.counts)):
            for _ in greedy.keep(count - first):
                progress.advance(1)
            rungs[count] = _rung(task, greedy, wish, settings)
    for count in task.counts:
        if rungs[count].settings["copies"]:
            warnings.warn(
                f"combine: {rungs[count].settings['copies']} of {count} samples are near copies, "
                f"for want of others at dedup = {wanted['dedup']:g}",
                UserWarning,
                stacklevel=1,
            )
        yield rungs[count]


def _neighbors(task: Task, neighbors: int | None) -> int:
    return min(task.n - 1, NEIGHBORS if neighbors is None else neighbors)


def _terms(
    task: Task, wanted: dict[str, float], given: dict[str, Any], neighbors: int | None
) -> dict[str, NDArray[np.float64]]:
    """Return the objectives that do not change, each from 0 to 1."""
    terms = {}
    for name in wanted:
        if name == "typicality":
            k = _neighbors(task, neighbors)
            values = np.zeros(task.n)
            if k:
                values = np.cumsum(nearest(task, k)[0], axis=1)[:, -1] / k
        elif name == "score":
            values = given[name].astype(np.float64)
        elif name in ("like", "unlike"):
            values = seeds.highest(task, given[name])[0]
        else:
            continue
        low, high = float(values.min()), float(values.max())
        terms[name] = (values - low) / (high - low) if high > low else np.zeros(task.n)
    return terms


def _rung(task: Task, greedy: FarAndWanted, wish: Wish, settings: dict[str, Any]) -> Choice:
    """Say what is kept by now, and how far all others are from it."""
    distance = greedy.distances()
    order = np.array(greedy.order, dtype=np.int64)
    kept = np.concatenate([task.selected, order])
    scores = wish.sums(np.arange(task.n), distance)
    free = np.ones(task.n, dtype=bool)
    free[kept] = False
    copies = np.flatnonzero(free & (distance <= wish.limit))
    scores[copies] -= wish.room
    scores[order] = greedy.gains
    used = len(order) - greedy.distinct
    scores[order[greedy.distinct :]] -= wish.room
    means = {name: math.fsum(term[order]) / len(order) for name, term in wish.terms.items()}
    if wish.diversity:
        means["diversity"] = math.fsum(greedy.at) / len(order)
    told = {"value": math.fsum(greedy.gains), "means": means, "copies": used}
    reason = np.full(task.n, "budget", dtype="<U10")
    duplicate_of, similarity = np.full(task.n, -1), np.full(task.n, np.nan)
    if len(copies):
        found = ops.topk_similarity(
            task.x[copies], greedy.rows_kept(), k=1, memory=task.memory, threads=task.threads
        )
        reason[copies] = "duplicate"
        duplicate_of[copies] = kept[to_numpy(found.indices)[:, 0]]
        similarity[copies] = to_numpy(found.similarity)[:, 0]
    distance[kept] = 0.0
    return Choice(
        order,
        scores,
        settings | told,
        reason=reason,
        duplicate_of=duplicate_of,
        similarity=similarity,
        distance=distance,
    )
