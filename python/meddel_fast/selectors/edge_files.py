"""A neighbour graph that a budget does not hold, in temporary files.

The same edges as :func:`meddel_fast.selectors.neighbor_graph.edges_to` makes in memory. The lists
of neighbours are found for some samples at a time and written down one after the other; then they
are read once for each range of samples whose edges the budget holds, and these are written. What
comes of it is mapped, so that the system keeps as much of it in memory as it has to spare. The
files have no name, and are gone when the process is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.selectors.base import to_numpy
from meddel_fast.selectors.neighbor_graph import Edges
from meddel_fast.selectors.plan import Task

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LIST = 48  # bytes a neighbour while lists are found: of the search, and as they are written
_EDGE = 72  # bytes an edge while those to some samples are put in order
_READ = 24  # bytes a neighbour while lists are read


@contextmanager
def edges_in_files(
    task: Task, neighbors: int, value: Callable[[Floats], Floats], own: Floats
) -> Iterator[Edges]:
    """Yield the edges that lead to each sample, as long as they are wanted.

    Parameters
    ----------
    neighbors
        How many nearest others each sample has an edge to.
    value
        What an edge is worth, of cosines.
    own : shape (n,)
        The value of each sample's edge to itself.
    """
    assert task.memory is not None
    with ExitStack() as files:
        lists, sources, values = (
            files.enter_context(tempfile.TemporaryFile(prefix="meddel-fast-")) for _ in range(3)
        )
        degree = np.ones(task.n, np.int64)  # of the edge from itself
        for first, similarity, indices in _nearest(task, neighbors):
            record = np.empty(indices.shape, _NEIGHBOR)
            record["target"], record["value"] = indices, value(similarity)
            _write(lists, record)
            degree += np.bincount(indices.reshape(-1), minlength=task.n)
            del first
        start = np.concatenate([[0], np.cumsum(degree)])
        room = max(1, task.memory // 4 // _EDGE)
        low = 0
        while low < task.n:
            high = max(low + 1, int(np.searchsorted(start, start[low] + room, "right")) - 1)
            for source, worth in _edges_to(range(low, high), lists, neighbors, own, task.memory):
                _write(sources, source)
                _write(values, worth)
            low = high
        lists.truncate(0)
        yield Edges(start, _mapped(sources, np.int64), _mapped(values, np.float64))


_NEIGHBOR = np.dtype([("target", np.int64), ("value", np.float64)])


def _nearest(task: Task, neighbors: int) -> Iterator[tuple[int, Floats, Ints]]:
    """Yield the most similar others of some samples at a time, with the first of these."""
    assert task.memory is not None
    some = max(1, task.memory // 8 // (_LIST * (neighbors + 1)))
    for first in range(0, task.n, some):
        part = np.arange(first, min(first + some, task.n))
        found = ops.topk_similarity(
            task.x[part], task.x, neighbors + 1, memory=task.memory // 2, threads=task.threads
        )
        indices = to_numpy(found.indices)
        # Of the most similar samples the most similar others: all but itself, or else the last.
        others = indices != part[:, None]
        others[others.all(axis=1), -1] = False
        shape = (len(part), neighbors)
        yield (
            first,
            to_numpy(found.similarity)[others].reshape(shape),
            indices[others].reshape(shape),
        )


def _edges_to(
    targets: range, lists: IO[bytes], neighbors: int, own: Floats, memory: int
) -> Iterator[tuple[Ints, Floats]]:
    """Yield sources and values of the edges that lead to some samples, in their order.

    Those to one sample come in pieces, as one alone may have more than there is room for.
    """
    found: list[tuple[Ints, Ints, Floats]] = []
    some = max(1, memory // 16 // (_READ * (neighbors + 1)))
    lists.seek(0)
    for first in range(0, len(own), some):
        rows = np.arange(first, min(first + some, len(own)))
        record = np.empty((len(rows), neighbors + 1), _NEIGHBOR)
        bits = lists.read(len(rows) * neighbors * _NEIGHBOR.itemsize)
        record[:, :-1] = np.frombuffer(bits, _NEIGHBOR).reshape(len(rows), neighbors)
        record["target"][:, -1], record["value"][:, -1] = rows, own[rows]
        inside = (record["target"] >= targets.start) & (record["target"] < targets.stop)
        source = np.broadcast_to(rows[:, None], inside.shape)[inside]
        piece = record["target"][inside], source, record["value"][inside]
        if len(targets) == 1:
            yield piece[1:]
        else:
            found.append(piece)
    if len(targets) > 1:
        target, source, value = (np.concatenate(field) for field in zip(*found, strict=True))
        order = np.argsort(target, kind="stable")  # sources rise already
        yield source[order], value[order]


def _write(file: IO[bytes], array: NDArray[Any]) -> None:
    file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _mapped(file: IO[bytes], dtype: type) -> Any:
    file.flush()
    return np.asarray(np.memmap(file, dtype, "r"))
