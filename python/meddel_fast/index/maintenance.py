"""Work over all samples of an index: compacting and verifying it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.files import Progress
from meddel_fast.index.candidates import ANGLE_ROWS, BLOCK_BYTES, Clusters, Search, learn
from meddel_fast.index.greedy import REMOVED, admit
from meddel_fast.index.segments import Folder, State, arrivals

Ints = NDArray[np.int64]


def rewrite(folder: Folder, old: State, threads: int) -> State:
    """Write one segment of all that is there, with centroids learned from what is kept.

    Positions change: those of samples that were removed are given up.
    """
    live, rows = old.live, partial(folder.rows, old)
    centroids = learn(rows, old.kept, threads) if len(live) else old.centroids
    clusters, known = Clusters(centroids), []
    place = np.full(len(old.ids), REMOVED)
    place[live] = np.arange(len(live))

    def parts() -> Iterator[NDArray[Any]]:
        for part in _blocks(old, live):
            found = rows(part)
            cover, similarity = place[old.cover[part]], old.similarity[part]
            known.append(arrivals(found, clusters.place(found), cover, similarity))
            yield found

    segments: list[dict[str, Any]] = []
    if len(live):
        written = folder.write_rows(old.head, (len(live), old.head["d"]), parts())
        segments.append(
            {
                "n": len(live),
                "rows": written,
                "ids": folder.write(old.head, "ids", [old.ids[p] for p in live]),
                "arrivals": folder.write(old.head, "arrivals", np.concatenate(known)),
            }
        )
    head = {
        **old.head,
        "generation": old.head["generation"] + 1,
        "learned": len(live),
        "centroids": folder.write(old.head, "centroids", centroids),
        "segments": segments,
    }
    folder.commit(head)
    folder.sweep(head)
    return folder.load()


def check(folder: Folder, state: State, threads: int, progress: Progress | None) -> list[str]:
    """Name what is wrong with files, bounds and kept set; see ``SelectionIndex.verify``."""
    wrong = folder.damaged(state.head)
    if wrong:
        return wrong
    live, threshold, gather = state.live, state.head["threshold"], partial(folder.rows, state)
    clusters = Clusters(state.centroids)
    blind = Clusters(np.zeros_like(state.centroids[:1]))  # leaves nothing out
    cover, similarity = np.full(len(state.ids), REMOVED), np.full(len(state.ids), np.nan)
    done = 0
    for part in _blocks(state, live):
        rows = gather(part)
        if not _bounded(clusters, state, part, rows):
            wrong.append(f"the bounds on angles do not hold after sample {done}")
        kept = np.flatnonzero(cover == np.arange(len(cover)))
        none = np.zeros(len(kept))
        old = Search(
            blind, kept, none.astype(np.int64), none, none + np.pi, gather, threshold, threads
        )(rows)
        cover[part], similarity[part] = admit(rows, part, old, threshold, threads, lambda _: None)
        done += len(part)
        if progress is not None:
            progress(done, len(live))
    differ = live[
        (cover[live] != state.cover[live])
        | (np.nan_to_num(similarity[live]) != np.nan_to_num(state.similarity[live]))
    ]
    if len(differ):
        first = state.ids[differ[0]]
        wrong.append(
            f"{len(differ)} samples are not kept or covered as recomputed, first {first!r}"
        )
    return wrong


def _bounded(clusters: Clusters, state: State, part: Ints, rows: NDArray[Any]) -> bool:
    """Whether the angles that are held for these samples can be theirs."""
    cluster = state.cluster[part]
    for a in range(0, len(part), ANGLE_ROWS):
        low, high = clusters.angles(rows[a : a + ANGLE_ROWS])
        at = np.arange(len(low)), cluster[a : a + ANGLE_ROWS]
        held = part[a : a + ANGLE_ROWS]
        if (state.low[held] > high[at]).any() or (state.high[held] < low[at]).any():
            return False
    return True


def _blocks(state: State, positions: Ints) -> Iterator[Ints]:
    """Cut positions into blocks whose rows fit into memory."""
    row = state.head["d"] * np.dtype(state.head["dtype"]).itemsize
    block = max(1, BLOCK_BYTES // row)
    for a in range(0, len(positions), block):
        yield positions[a : a + block]
