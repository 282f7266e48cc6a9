"""What an answer must fulfil on a few rows, worked out in fp64 on the device, before it counts."""

from __future__ import annotations

import torch
from gpu_peers import spread
from torch import Tensor

import meddel_fast as mf

SAMPLE = 64
CHUNK = 1 << 16
EPS = 1e-12  # fp64 in another order of summation than the contract's


def sample(x: Tensor) -> Tensor:
    """Some rows' numbers, evenly."""
    return torch.tensor(spread(len(x), SAMPLE), device=x.device)


def _unit(x: Tensor) -> Tensor:
    return torch.nn.functional.normalize(x.double(), eps=1e-300)


def cosines(x: Tensor, rows: Tensor) -> Tensor:
    """Cosines of some rows to all, fp64."""
    some = _unit(x[rows])
    return torch.cat([some @ _unit(part).T for part in x.split(CHUNK)], dim=1)


def pairs(x: Tensor, threshold: float, found: mf.SimilarPairsResult) -> None:
    """As many partners for each as there are, but for cosines at the threshold."""
    rows = sample(x)
    count = (found.i.bincount(minlength=len(x)) + found.j.bincount(minlength=len(x)))[rows]
    near = cosines(x, rows)
    near[torch.arange(len(rows), device=x.device), rows] = -2
    least, most = ((near >= threshold + e).sum(dim=1) for e in (EPS, -EPS))
    assert bool(((least <= count) & (count <= most)).all()), "pairs are missing or too many"


def topk(x: Tensor, y: Tensor, k: int, found: mf.TopKResult) -> None:
    rows = sample(x)
    some = _unit(x[rows])
    near = torch.cat([some @ _unit(part).T for part in y.split(CHUNK)], dim=1)
    wanted = near.topk(k, dim=1).values
    torch.testing.assert_close(found.similarity[rows], wanted, rtol=0, atol=EPS)


def redundancy(x: Tensor, labels: Tensor, found: mf.RedundancyResult) -> None:
    rows = sample(x)
    numbers = torch.arange(len(x), device=x.device)
    earlier = (labels == labels[rows][:, None]) & (numbers < rows[:, None])
    wanted = cosines(x, rows).masked_fill(~earlier, -torch.inf).max(dim=1).values
    torch.testing.assert_close(found.similarity[rows], wanted, rtol=0, atol=EPS)


def kmeans(x: Tensor, iterations: int, found: mf.KMeansResult) -> None:
    """Each has the centroid of highest cosine, and no iteration was saved that peers make."""
    assert found.iterations == iterations, f"converged after {found.iterations}"
    rows = sample(x)
    near = _unit(x[rows]) @ _unit(found.centroids).T
    chosen = near.gather(1, found.labels[rows][:, None])[:, 0]
    assert bool((chosen >= near.max(dim=1).values - EPS).all()), "another centroid is nearer"


def kcenter(x: Tensor, found: mf.KCenterResult) -> None:
    """No row was ever farther from the centres so far than the one chosen next."""
    rows, centres = x[sample(x)].double(), x[found.indices].double()
    squares, others = ((v * v).sum(dim=1) for v in (rows, centres))
    distance = (squares[:, None] + others - 2 * rows @ centres.T).clamp_min(0)
    nearest = distance.cummin(dim=1).values
    error = EPS * float(others.max())
    farthest = nearest.max(dim=0).values[:-1]
    assert bool((farthest <= found.radii[1:].square() + error).all()), "a row was farther"
    last = found.distances[sample(x)].square()
    torch.testing.assert_close(last, nearest[:, -1], rtol=0, atol=error)
