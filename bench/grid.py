"""Every operation beside the plain way in numpy or FAISS, over a grid of n, d and k: the cells in
which ours takes longest by comparison come first.

python bench/grid.py [WORD ...] [--work 1e10] [--save FILE.csv]; a word chooses operations by name.
One thread, one core, seconds of CPU. All get the rows as they are: what scales them to norm 1
first, because it takes cosines for products, is timed doing so, as its user has to.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import data
import numpy as np
import peers
import pytest
import record
import tasks
from peers import Floats, unit

import meddel_fast as mf

ROWS = (100, 300, 1_000, 3_000, 10_000, 100_000, 1_000_000)
WIDTHS = (1, 2, 4, 8, 16, 64, 384, 1_280, 4_096)
KINDS = ("clustered", "isotropic")
ELEMENTS = 5e7  # of a set, at most
LEAST, MOST = 0.03, 20  # seconds a call is repeated for, and how often at most
WORST = 40


class Cell(NamedTuple):
    """One call of ours and the same by others; `work` is how many products that takes."""

    name: str
    work: float
    ours: Callable[[], Any]
    others: dict[str, Callable[[], Any]]


def greedy(x: Floats, threshold: float) -> Any:
    """Drop what is similar to an earlier sample that stays."""
    i, j = peers.numpy_pairs(x, threshold)
    order = np.lexsort((i, j))
    kept = np.ones(len(x), np.bool_)
    for a, b in zip(i[order].tolist(), j[order].tolist(), strict=True):
        if kept[a]:
            kept[b] = False
    return kept


def of_pairs(x: Floats) -> Iterator[Cell]:
    n, d = x.shape
    work, t = n * n * d / 2, 0.95
    one, some = np.zeros(n, np.int64), np.arange(n) * max(1, n // 1000) // n
    yield Cell("similar_pairs", work, lambda: mf.similar_pairs(x, threshold=t, threads=1), {
        "numpy": lambda: peers.numpy_pairs(unit(x), t),
        "faiss": lambda: peers.faiss_pairs(unit(x), t),
    })  # fmt: skip
    yield Cell("deduplicate, greedy", work, lambda: mf.deduplicate(x, t, threads=1), {
        "numpy": lambda: greedy(unit(x), t),
    })  # fmt: skip
    yield Cell("redundancy", work, lambda: mf.redundancy(x, threads=1), {
        "numpy": lambda: peers.numpy_redundancy(unit(x), one),
    })  # fmt: skip
    if n >= 2000:
        clusters = some.max() + 1
        yield Cell(
            "redundancy, clusters of 1,000", work / clusters,
            lambda: mf.redundancy(x, labels=some, threads=1),
            {"numpy": lambda: peers.numpy_redundancy(unit(x), some)},
        )  # fmt: skip
    for k in (1, 10):
        yield Cell(
            f"topk_similarity, {k}", 2 * work, lambda k=k: mf.topk_similarity(x, k=k, threads=1),
            {
                "numpy": lambda k=k: peers.numpy_topk(unit(x), k),
                "faiss": lambda k=k: peers.faiss_topk(unit(x), k),
            },
        )  # fmt: skip


def of_centres(x: Floats) -> Iterator[Cell]:
    n, d = x.shape
    for k in sorted({1, 2, 8, 40, n // 100, n // 20, n // 2} - {0}):
        if k > n // 2:
            continue
        yield Cell(
            f"kcenter_greedy, {k}", n * k * d,
            lambda k=k: mf.kcenter_greedy(x, k, threads=1),
            {"numpy": lambda k=k: peers.numpy_distances(x, k)},
        )  # fmt: skip
        yield Cell(
            f"kcenter_greedy, {k}, centres alone", n * k * d,
            lambda k=k: mf.kcenter_greedy(x, k, distances=False, threads=1),
            {"numpy": lambda k=k: peers.numpy_centres(x, k)},
        )  # fmt: skip
        init = unit(x[tasks.spread(n, k)[:k]])
        yield Cell(
            f"kmeans, assignment to {k}", n * k * d,
            lambda k=k, init=init: mf.kmeans(x, k, init=init, max_iterations=0, threads=1),
            {
                "numpy": lambda init=init: peers.numpy_assign(unit(x), init),
                "faiss": lambda init=init: peers.faiss_assign(unit(x), init),
            },
        )  # fmt: skip
        yield Cell(
            f"kmeans, {k}, whole", 11 * n * k * d,
            lambda k=k: mf.kmeans(x, k, spherical=False, max_iterations=10, threads=1),
            {"faiss": lambda k=k: peers.faiss_clusters(x, k, 10)},
        )  # fmt: skip


def cells(words: list[str], work: float) -> Iterator[tuple[str, int, int, Cell]]:
    for n in ROWS:
        for d in WIDTHS:
            if n * d > ELEMENTS:
                continue
            for kind in KINDS:
                x = data.make(kind, n, d)
                for cell in (*of_pairs(x), *of_centres(x)):
                    if cell.work <= work and (
                        not words or any(word in cell.name for word in words)
                    ):
                        yield kind, n, d, cell


def repeated(calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Medians; the calls take turns, until the quickest has taken a while."""
    times: dict[str, list[float]] = {who: [] for who in calls}
    while True:
        for who, call in calls.items():
            times[who].append(record.cpu_seconds(call))
        quickest = min(map(sum, times.values()))
        if quickest > LEAST or len(times["ours"]) >= MOST:
            return {who: statistics.median(some) for who, some in times.items()}


def measure(kind: str, n: int, d: int, cell: Cell) -> list[tuple[str, ...]]:
    """The quickest of the others alone."""
    calls = {"ours": cell.ours}
    cell.ours()
    for who, call in cell.others.items():
        try:
            call()
        except pytest.skip.Exception:
            continue
        calls[who] = call
    took = repeated(calls)
    ours = took.pop("ours")
    who = min(took, key=lambda who: took[who])
    return [record.line(cell.name, kind, f"{n} x {d}", ours, who, took[who])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--work", type=float, default=1e10, help="products of a cell, at most")
    parser.add_argument("--save", type=Path)
    given = parser.parse_args()
    record.on_one_core()
    lines: list[tuple[str, ...]] = []
    with peers.on_threads(1):
        for kind, n, d, cell in cells(given.words, given.work):
            lines += measure(kind, n, d, cell)
    lines.sort(key=lambda line: float(line[6]))
    record.show(lines[:WORST])
    slower = sum(float(line[6]) < 1 for line in lines)
    print(f"\n{slower} of {len(lines)} cells are slower than the quickest plain way")
    if given.save:
        record.save(given.save, lines)


if __name__ == "__main__":
    main()
