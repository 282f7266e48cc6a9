"""The most similar samples of each, part against part."""

from __future__ import annotations

from typing import Any

import numpy as np

from meddel_fast import _core
from meddel_fast.arrays import TopKResult, check_int
from meddel_fast.common.progress import counted, metered
from meddel_fast.sharded.group import Group
from meddel_fast.sharded.pairs import two_sets
from meddel_fast.sharded.parts import Settings


@metered
def topk_similarity(
    x: Any,
    y: Any | None = None,
    k: int = 1,
    *,
    memory: int | str | None = None,
    group: Group | None = None,
    threads: int | None = None,
) -> TopKResult:
    """Do :func:`meddel_fast.topk_similarity` on parts; each process of a group returns it all."""
    settings = Settings.check(x, memory, group, threads)
    check_int("k", k, 1)
    first, second = two_sets(x, y, settings, held=32 * k, everywhere=16 * k)
    if second is None:
        if first.n < 2:
            raise ValueError("x must have at least 2 rows when y is not given, got 1")
        check_int("k", k, 1, first.n - 1, " (the other rows of x)")
    else:
        check_int("k", k, 1, second.n, " (the rows of y)")
    similarity = np.full((len(first.own), k), -np.inf)
    indices = np.full((len(first.own), k), -1, np.int64)
    source = first if second is None else second
    with counted(source.n) as progress:
        for sent in source.tiles:
            progress.step(sent.stop - sent.start)
            sent_rows = source.broadcast(sent)
            for tile, rows in first.stream(first.own_tiles):
                here = first.mine(tile)
                similarity[here], indices[here] = _core.topk_in_part(
                    rows, tile.start if second is None else -1, sent_rows, sent.start,
                    similarity[here], indices[here], settings.threads,
                )  # fmt: skip
    return TopKResult(first.all_of(similarity), first.all_of(indices))
