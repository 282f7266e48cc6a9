"""A selector: the samples that are least like the most similar other one."""

from __future__ import annotations

from collections.abc import Iterator

from meddel_fast.selectors.neighbor_graph import nearest
from meddel_fast.selectors.options import count
from meddel_fast.selectors.plan import Choice, Task, ranked
from meddel_fast.selectors.selector import selector


@selector(paper="-", cost="O(n² d) at worst", good_for="the odd ones out", checks={"k": count()})
def outliers(task: Task, *, k: int = 1) -> Iterator[Choice]:
    """Keep the samples whose k-th most similar other one is least similar.

    Parameters
    ----------
    k
        Which neighbour is looked at.
    """
    similarity, _ = nearest(task, min(k, task.n - 1))
    yield from ranked(task, -similarity[:, -1], {"k": k})
