"""The common ways to do the same in torch on a GPU, each cut into steps that cost the same.

A peer is a function of the steps to do, so that a part of it can be timed: of how many there are,
and which, :func:`timed` decides. All take unit rows where it is about cosines: scaling them is not
part of what is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import NamedTuple

import torch
from gpu_clock import Clock
from torch import Tensor

TILE = 16384  # rows and columns of a product: 0.5 GB in bf16


class Peer(NamedTuple):
    """Work in `steps`; ``run(some)`` does those."""

    steps: int
    run: Callable[[list[int]], object]


def timed(clock: Clock, peer: Peer, limit: float) -> tuple[float, bool]:
    """Seconds of the whole, and whether they are extrapolated from evenly spread steps."""
    few = spread(peer.steps, 8)
    peer.run(few[:2])
    estimate = clock.once(lambda: peer.run(few))[0] / len(few) * peer.steps
    if estimate < limit or len(few) == peer.steps:
        return median(clock.runs(lambda: peer.run(list(range(peer.steps))), limit)), False
    more = spread(peer.steps, max(8, int(limit / 2 / estimate * peer.steps)))
    return clock.once(lambda: peer.run(more))[0] / len(more) * peer.steps, True


def spread(total: int, count: int) -> list[int]:
    """About `count` of the numbers below `total`, evenly."""
    count = min(total, count)
    return [int((i + 0.5) * total / count) for i in range(count)]


def unit(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Rows of length 1, made a part at a time."""
    out = torch.empty(x.shape, dtype=dtype, device=x.device)
    for begin in range(0, len(x), TILE):
        rows = x[begin : begin + TILE].float()
        out[begin : begin + TILE] = torch.nn.functional.normalize(rows)
    return out


def pairs(x: Tensor, threshold: float, tile: int = TILE) -> Peer:
    """Tiles of the upper half: product, threshold, positions of what is left."""
    starts = range(0, len(x), tile)
    tiles = [(i, j) for i in starts for j in starts if j >= i]
    corners = torch.tensor(tiles, device=x.device)

    def run(some: list[int]) -> list[Tensor]:
        found = []
        for step in some:
            i, j = tiles[step]
            near = x[i : i + tile] @ x[j : j + tile].T >= threshold
            found.append((near.triu(1) if i == j else near).nonzero() + corners[step])
        return found

    return Peer(len(tiles), run)


def topk(x: Tensor, y: Tensor, k: int, tile: int = TILE) -> Peer:
    """Tiles of queries and rows: product, its k best, merged with those so far."""
    columns = range(0, len(y), tile)
    tiles = [(i, j) for i in range(0, len(x), tile) for j in columns]

    def run(some: list[int]) -> Tensor:
        best = torch.full((min(tile, len(x)), k), -2.0, dtype=x.dtype, device=x.device)
        for i, j in (tiles[s] for s in some):
            near = x[i : i + tile] @ y[j : j + tile].T
            found = near.topk(min(k, near.shape[1]), dim=1).values
            best = torch.cat([best[: len(found)], found], dim=1).topk(k, dim=1).values
        return best

    return Peer(len(tiles), run)


def redundancy(x: Tensor, labels: Tensor) -> Peer:
    """As SemDeDup: for each cluster the product's upper half, and the maximum of each column."""
    order = labels.argsort(stable=True)
    sizes = torch.bincount(labels).tolist()
    members = order.split(sizes)

    def run(some: list[int]) -> list[Tensor]:
        found = []
        for rows in (x[members[s]] for s in some if sizes[s]):
            found.append((rows @ rows.T).triu(1).max(dim=0).values)
        return found

    return Peer(len(sizes), run)


def kmeans(x: Tensor, centroids: Tensor, iterations: int, tile: int = TILE) -> Peer:
    """Lloyd: products with the centroids, the best, sums by index; one step is a part of rows."""
    starts = list(range(0, len(x), tile))

    def run(some: list[int]) -> Tensor:
        sums = torch.zeros(centroids.shape, device=x.device)
        for step in some:
            rows = x[starts[step % len(starts)] :][:tile]
            sums.index_add_(0, (rows @ centroids.T).argmax(dim=1), rows.float())
        return torch.nn.functional.normalize(sums)

    return Peer(len(starts) * iterations, run)


def centres_by_product(x: Tensor, k: int) -> Peer:
    """One product with the samples, one minimum and one argmax a centre; the host never waits."""
    squares = torch.cat([part.float().square().sum(dim=1) for part in x.split(TILE)])

    def run(some: list[int]) -> Tensor:
        nearest = torch.full((len(x),), torch.inf, device=x.device)
        last = torch.zeros(1, dtype=torch.int64, device=x.device)
        for _ in some:
            distance = squares + squares[last] - 2 * (x @ x[last][0]).float()
            torch.minimum(nearest, distance, out=nearest)
            last = nearest.argmax().view(1)
        return last

    return Peer(k, run)


def centres_by_difference(x: Tensor, k: int) -> Peer:
    """As torch_cluster's fps and anomalib's loop: squared differences to the last centre."""

    def run(some: list[int]) -> Tensor:
        nearest = torch.full((len(x),), torch.inf, device=x.device)
        last = torch.zeros(1, dtype=torch.int64, device=x.device)
        for _ in some:
            for begin in range(0, len(x), 1 << 20):  # the differences of all would not fit
                rows = x[begin : begin + (1 << 20)]
                part = nearest[begin : begin + (1 << 20)]
                distance = (rows - x[last]).float().square_().sum(dim=1)
                torch.minimum(part, distance, out=part)
            last = nearest.argmax().view(1)
        return last

    return Peer(k, run)
