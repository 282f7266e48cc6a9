"""Near duplicates, part against part, by each of the three rules."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import _core
from meddel_fast.arrays import PAIR_BYTES, DeduplicateResult, check_choice, check_float, in_chunks
from meddel_fast.common.progress import counted, metered
from meddel_fast.sharded.checkpoint import Checkpoint
from meddel_fast.sharded.fingerprint import row_hashes, words
from meddel_fast.sharded.group import Group
from meddel_fast.sharded.parts import Float, Int, Parts, Settings, Tile
from meddel_fast.sharded.redundancy import SAVED, Places, highest_earlier
from meddel_fast.sharded.rounds import rounds_done, tile_pairs

_HELD = 64  # bytes a row of the set: what redundancy or groups hold, and the result
_COPIES = 32  # bytes a row of the set beside, for components: the first copies and their groups
_MANY = 16  # one row in so many is a copy
_AT_ONCE = 1 << 20  # bytes of rows that are compared for equality at a time
_SHARE = 8  # the part of the budget for pairs, of which no more are held at a time


@metered
def deduplicate(
    x: Any,
    threshold: float = 0.95,
    *,
    rule: str = "semdedup",
    order: Any | None = None,
    labels: Any | None = None,
    memory: int | str | None = None,
    group: Group | None = None,
    checkpoint: Any | None = None,
    threads: int | None = None,
) -> DeduplicateResult:
    """Do :func:`meddel_fast.deduplicate` on parts; each process of a group returns all of it.

    There is no max_pairs: pairs are used up as they are found, however many there are.

    A checkpoint holds the roots, or what drops each sample so far, and by how many rounds of part
    pairs, or samples that are settled.
    """
    settings = Settings.check(x, memory, group, threads)
    threshold = check_float("threshold", threshold, -1.0, 1.0)
    check_choice("rule", rule, ("semdedup", "greedy", "components"))
    pair_room = settings.memory // _SHARE
    parts = Parts("x", x, settings)
    places = Places(parts.n, order, labels)
    held = _HELD + _COPIES * (rule == "components")
    options = {
        "rule": rule, "threshold": threshold, "order": places.order, "labels": places.labels
    }  # fmt: skip
    keeper = Checkpoint(checkpoint, "deduplicate", options, settings.group, parts)
    parts.plan(held=keeper.bytes(SAVED), everywhere=held, beside=pair_room, **keeper.cut())
    parts.survey()
    limit = max(1, pair_room // PAIR_BYTES)
    if rule == "components":
        found = _components(parts, places, threshold, limit, keeper)
        keeper.end()
        return found
    # No cosine below the threshold matters.
    floor = float(np.nextafter(threshold, -2.0))
    if rule == "greedy":
        similarity, neighbor = _greedy(parts, places, floor, threshold, limit, keeper)
    else:
        similarity, neighbor = highest_earlier(parts, places, floor, keeper)
    keeper.end()
    keep = neighbor < 0
    every = np.arange(parts.n)
    return DeduplicateResult(
        keep, np.where(keep, every, neighbor), np.where(keep, np.nan, similarity)
    )


def _greedy(
    parts: Parts, places: Places, floor: float, threshold: float, limit: int, keeper: Checkpoint
) -> tuple[Float, Int]:
    """Settle part after part in the samples' order; what is kept of one is looked at by later ones.

    All processes settle a part, alike; each compares its own later rows with what is kept.
    """
    similarity, neighbor = np.full(parts.n, floor), np.full(parts.n, -1, np.int64)
    settled, state = 0, keeper.begin()
    if state is not None:
        settled = state.told["settled"]
        similarity, neighbor = (
            parts.all_of(state.own[name]) for name in ("similarity", "neighbor")
        )

    def save(settled: int) -> None:
        if keeper.due():
            own = slice(parts.own.start, parts.own.stop)
            keeper.save(
                {"settled": settled},
                own={"similarity": similarity[own], "neighbor": neighbor[own]},
            )

    def settle(start: int) -> None:
        samples = places.samples(start, min(parts.n, start + parts.step))
        rows = parts.fetch(samples)
        owners = parts.owners(samples)
        mine = samples[owners == parts.group.rank]
        part = _Part(
            rows, samples, places,
            parts.join(owners, similarity[mine]), parts.join(owners, neighbor[mine]),
        )  # fmt: skip
        part.settle(0, len(samples), threshold, limit, parts.settings.threads)
        similarity[samples], neighbor[samples] = part.similarity, part.neighbor
        kept = part.neighbor < 0
        covers = places.part(rows[kept], samples[kept])
        del rows, part
        if not kept.any():
            return
        later = [t for t in parts.own_tiles if places.of[t.slice].max() >= start + len(samples)]
        for tile, own in parts.stream(later):
            own_part = places.part(own, np.arange(tile.start, tile.stop))
            similarity[tile.slice], neighbor[tile.slice] = _core.earlier_in_part(
                own_part, covers, similarity[tile.slice], neighbor[tile.slice],
                parts.settings.threads,
            )  # fmt: skip

    with counted(parts.n) as progress:
        progress.advance(settled)
        for start in range(settled, parts.n, parts.step):
            progress.step(min(parts.step, parts.n - start))
            settle(start)
            save(min(start + parts.step, parts.n))
    return similarity, neighbor


class _Part:
    """Rows that follow each other in the samples' order, with what drops them so far."""

    def __init__(
        self, rows: NDArray[Any], samples: Int, places: Places, similarity: Float, neighbor: Int
    ) -> None:
        self._rows, self._samples, self._places = rows, samples, places
        self.similarity, self.neighbor = similarity, neighbor

    def settle(self, begin: int, end: int, threshold: float, limit: int, threads: int) -> None:
        """Apply the rule to rows [begin, end); in halves, where they have too many pairs."""
        here = slice(begin, end)
        rows, samples = self._rows[here], self._samples[here]
        labels = None if self._places.labels is None else self._places.labels[samples]
        kept = self.neighbor[here] < 0
        representative = np.where(kept, samples, self.neighbor[here])
        similarity = np.where(kept, np.nan, self.similarity[here])
        most = limit if end - begin > 1 else 1
        try:
            representative, similarity = _core.greedy_in_part(
                rows, threshold, samples, labels, most, representative, similarity, threads
            )
        except OverflowError:
            middle = (begin + end) // 2
            self.settle(begin, middle, threshold, limit, threads)
            self._cover(slice(middle, end), slice(begin, middle), threads)
            self.settle(middle, end, threshold, limit, threads)
            return
        dropped = representative != samples
        self.neighbor[here] = np.where(dropped, representative, -1)
        self.similarity[here] = np.where(dropped, similarity, self.similarity[here])

    def _cover(self, later: slice, earlier: slice, threads: int) -> None:
        kept = self.neighbor[earlier] < 0
        if not kept.any():
            return
        covers = self._rows[earlier][kept]
        self.similarity[later], self.neighbor[later] = _core.earlier_in_part(
            self._places.part(self._rows[later], self._samples[later]),
            self._places.part(covers, self._samples[earlier][kept]),
            self.similarity[later],
            self.neighbor[later],
            threads,
        )


def _components(
    parts: Parts, places: Places, threshold: float, limit: int, keeper: Checkpoint
) -> DeduplicateResult:
    """Join the pairs' components as they are found: positions, of which the lowest is the root."""
    root, state = np.arange(parts.n), keeper.begin()
    if state is not None:
        root = parts.all_of(state.own["root"])
    done = rounds_done(parts, state, keeper)
    groups = np.zeros(parts.n, np.int64)
    if places.labels is not None:
        groups = np.unique(places.labels, return_inverse=True)[1]
    first = np.arange(parts.own.start, parts.own.stop)

    def join(tile: Tile, rows: NDArray[Any], other: Tile, other_rows: NDArray[Any]) -> None:
        nonlocal root
        own, others = groups[tile.slice], groups[other.slice]
        for i, j in _pairs(parts, own, others, threshold, limit, tile, rows, other, other_rows):
            root = _core.join_components(root, places.of[i], places.of[j])

    # What a row joins, its copies join through it: where there are many, they get groups in which
    # nothing else is. (A few cost less among the others, as groups look at both halves of a part.)
    for tile, rows in parts.stream(parts.own_tiles):
        here = slice(tile.start - parts.own.start, tile.stop - parts.own.start)
        first[here] = tile.start + first_copies(rows, groups[tile.slice], parts.settings.threads)
    first = parts.all_of(first)
    copies = np.flatnonzero(first != np.arange(parts.n))
    if len(copies) * _MANY > parts.n:
        root = _core.join_components(root, places.of[copies], places.of[first[copies]])
        groups[copies] = groups.max() + 1 + np.arange(len(copies))

    def save(rounds: int) -> None:
        nonlocal root
        if keeper.due():
            root = _joined(parts, root)
            own = root[parts.own.start : parts.own.stop]
            keeper.save({"rounds": rounds, "starts": parts.starts}, own={"root": own})

    if done is None:
        for tile, rows in parts.stream(parts.own_tiles):
            join(tile, rows, tile, rows)
        save(0)
    for tile, rows, other, other_rows in tile_pairs(parts, done or 0, save):
        join(tile, rows, other, other_rows)
    root = _joined(parts, root)
    order = np.arange(parts.n) if places.order is None else places.order
    representative = order[root[places.of]]
    keep = representative == np.arange(parts.n)
    return DeduplicateResult(keep, representative, _cosines(parts, keep, representative))


def _joined(parts: Parts, root: Int) -> Int:
    """Return the roots with what all processes have joined."""
    own = root
    for rank in range(parts.group.size if parts.group.size > 1 else 0):
        its = parts.group.broadcast(own if rank == parts.group.rank else None, rank)
        root = _core.join_components(root, np.arange(parts.n), its)
    return root


def first_copies(rows: NDArray[Any], groups: Int, threads: int) -> Int:
    """Return for each row the first of its group that is equal to it, bit for bit, or itself.

    Of many rows it may pass over a copy, never take another for one. Zero rows are no copies: their
    cosine is 0.
    """
    first = np.arange(len(rows))
    if len(rows) < 2:
        return first
    some = max(1, _AT_ONCE // max(1, rows[:1].nbytes))
    chunks = [slice(start, start + some) for start in range(0, len(rows), some)]
    hashes = np.concatenate(
        [row_hashes(rows[chunk]) ^ groups[chunk].astype(np.uint64) for chunk in chunks]
    )
    _, places, kinds = np.unique(hashes, return_index=True, return_inverse=True)
    found = places[kinds]
    maybe = np.flatnonzero(found != first)
    maybe = maybe[_core.squared_norms(rows, threads)[maybe] > 0] if len(maybe) else maybe
    for start in range(0, len(maybe), some):
        these = maybe[start : start + some]
        like = found[these]
        equal = groups[these] == groups[like]
        equal &= np.all(words(rows[these]) == words(rows[like]), axis=1)
        first[these[equal]] = like[equal]
    return first


def _pairs(
    parts: Parts,
    own: Int,
    others: Int,
    threshold: float,
    limit: int,
    tile: Tile,
    rows: NDArray[Any],
    other: Tile,
    other_rows: NDArray[Any],
) -> Any:
    """Yield the similar pairs of two parts, or within one, some rows at a time, as samples."""
    threads = parts.settings.threads

    def find(part: range, most: int) -> tuple[Int, Int, Float]:
        begin, end = part.start, part.stop
        if own.any() or others.any():
            i, j, cosines = _core.pairs_of_groups(
                rows[begin:end], own[begin:end], other_rows, others, threshold, most, threads
            )
            return i + begin, j, cosines
        second = None if tile is other else other_rows
        return _core.similar_pairs(rows, second, begin, end, threshold, most, threads)

    for _, (i, j, _) in in_chunks(len(rows), len(other_rows), limit, find):
        yield i + tile.start, j + other.start


def _cosines(parts: Parts, keep: NDArray[np.bool_], representative: Int) -> Float:
    """Return the cosine of each dropped sample to its representative, NaN for the others."""
    own = np.full(len(parts.own), np.nan)
    dropped = np.flatnonzero(~keep[parts.own.start : parts.own.stop]) + parts.own.start
    roots = np.unique(representative[~keep])
    some = max(1, parts.step // 4)
    for start in range(0, len(roots), some):
        batch = roots[start : start + some]
        root_rows = parts.fetch(batch)
        covered = np.isin(representative[dropped], batch)
        samples = dropped[covered]
        for first in range(0, len(samples), some):
            asked = samples[first : first + some]
            of = np.searchsorted(batch, representative[asked])
            own[asked - parts.own.start] = _core.row_cosines(
                parts.take(asked), root_rows[of], parts.settings.threads
            )
    return parts.all_of(own)
