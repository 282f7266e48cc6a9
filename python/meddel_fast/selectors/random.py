"""Selection at random: the baseline that every other method has to beat."""

from __future__ import annotations

from typing import Any

import numpy as np

from meddel_fast.arrays import check_int
from meddel_fast.selectors.base import (
    Selection,
    check_budget,
    check_rows,
    make_selection,
    random_keys,
)


def random(x: Any, budget: int | float, *, seed: int = 0, threads: int | None = None) -> Selection:
    """Keep samples at random, without replacement.

    Each sample draws a number that depends on the seed and on its index only, and the highest are
    kept: a smaller budget keeps a subset of a larger one, on every machine.

    Parameters
    ----------
    x : shape (n, d)
        The embeddings; only their number matters.
    budget
        Count (int) or share (float) to keep.
    seed
        Another seed, another draw.
    threads
        Taken for the common interface; nothing here needs any.

    Returns
    -------
    Selection
        ``scores`` are the numbers drawn, in [0, 1).
    """
    rows = check_rows(x, threads)
    count = check_budget(budget, len(rows))
    seed = check_int("seed", seed, 0)
    keys = random_keys(len(rows), seed)
    order = np.argsort(-keys, kind="stable")[:count]
    return make_selection("random", order, keys, {"budget": budget, "count": count, "seed": seed})
