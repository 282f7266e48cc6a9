"""Selection at random: the baseline that every other method has to beat."""

from __future__ import annotations

from collections.abc import Iterator

from meddel_fast.selectors.plan import Choice, Task, ranked, weighted_keys
from meddel_fast.selectors.selector import selector


@selector(
    paper="-",
    cost="O(n log n)",
    good_for="the baseline",
    weights="The next one drawn is each sample in proportion to its weight.",
    processes=True,
)
def random(task: Task) -> Iterator[Choice]:
    """Keep samples at random, without replacement.

    Each sample draws a number that depends on the seed and on its index only, and the highest are
    kept: a smaller budget keeps a subset of a larger one, on every machine.

    Returns
    -------
    Selection
        ``scores`` are the numbers drawn, u in [0, 1); with weights w, log(u) / w.
    """
    yield from ranked(task, weighted_keys(task), {"seed": task.seed})
