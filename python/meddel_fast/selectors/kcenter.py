"""k-center greedy, also known as CoreSet or farthest-point selection."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.selectors.base import to_numpy
from meddel_fast.selectors.options import choice
from meddel_fast.selectors.plan import Choice, Task
from meddel_fast.selectors.selector import selector


@selector(
    paper="Gonzalez 1985; Sener & Savarese 2018",
    cost="O(n b d) at worst",
    good_for="covering the rare: no sample is far from a kept one",
    positions=("start",),
    checks={"metric": choice("euclidean", "cosine")},
    processes=True,
)
def kcenter(task: Task, *, metric: str = "euclidean", start: int = 0) -> Iterator[Choice]:
    """Keep the sample farthest from all that is kept, again and again (Sener & Savarese 2018).

    Parameters
    ----------
    metric
        "euclidean" or "cosine" (1 - cosine).
    start
        The first sample kept, when none is selected already; where it is excluded, the next.

    Returns
    -------
    Selection
        ``order`` is the order of selection, so that a smaller budget keeps its beginning.
        ``scores`` of kept samples are the distance to the nearest sample kept before (infinity for
        the first), of the others the distance to the nearest centre. ``distance`` is the distance
        to the nearest centre: 0 for kept samples, and its maximum is the covering radius, which
        ``settings["radius"]`` repeats.
    """
    centres, order = task.selected, np.zeros(0, dtype=np.int64)
    radii = np.zeros(0)
    rungs: dict[int, Choice] = {}
    for count in sorted(set(task.counts)):  # each rung goes on where the one below ended
        result = ops.kcenter_greedy(
            task.x,
            count - len(centres),
            metric=metric,
            start=start,
            selected=centres if len(centres) else None,
            threads=task.threads,
        )
        order = np.concatenate([order, to_numpy(result.indices)])
        radii = np.concatenate([radii, to_numpy(result.radii)])
        centres = np.concatenate([task.selected, order])
        distance = to_numpy(result.distances)
        rungs[count] = _rung(order, radii, distance, {"metric": metric, "start": start})
    for count in task.counts:
        yield rungs[count]


def _rung(
    order: NDArray[np.int64],
    radii: NDArray[np.float64],
    distance: NDArray[np.float64],
    settings: dict[str, object],
) -> Choice:
    scores = distance.copy()
    scores[order] = radii
    radius = float(np.max(distance))
    return Choice(order, scores, settings | {"radius": radius}, distance=distance)
