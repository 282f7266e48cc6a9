"""The goals on one thread, each with what is measured now: python bench/goals.py [WORD ...].

A word selects the goals whose name or data contain it. What takes a million samples, two threads or
a look at the memory is in large.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import data
import peers
import pytest
import tasks
from peers import Floats
from table import seconds, table

import meddel_fast as mf
from meddel_fast import _core

N, D = 50_000, 384
HEADER = ("task", "data", "ours", "peer", "its time", "ratio", "goal", "")


class Goal(NamedTuple):
    """A task on one kind of data, and how many times as long as ours each peer is to take."""

    name: str
    data: str
    n: int
    start: Callable[[Floats], tasks.Task]
    ratios: dict[str, float]


def goals() -> Iterator[Goal]:
    yield from kcenter_goals()
    join = {"clustered": 15, "isotropic": 5, "text": 5}
    for name in data.NAMES:
        ratios = {"faiss": join.get(name, 20)}
        yield Goal("pairs >= .95", name, N, lambda x: tasks.pairs(x, 0.95, 1), ratios)
    for size in (1000, 8000):
        for name in ("clustered", "video", "sentences"):
            start, ratios = redundancy(size), {"SemDeDup loop": 10}
            yield Goal(f"redundancy, clusters of {size}", name, N, start, ratios)
    both = {"faiss": 3, "scikit-learn": 3}
    for name in data.NAMES:
        yield Goal("top 1", name, N, lambda x: tasks.top1(x, 1), both)
    for name in [*data.MADE, "sentences"]:
        yield Goal("assign to 1,000", name, N, lambda x: tasks.assign(x, 1000, 1), both)


def kcenter_goals() -> Iterator[Goal]:
    """Against a pass over all rows a centre, by a product with the matrix and row by row."""
    loops = {"anomalib loop": 500, "DeepCore loop": 500, "skmatter Voronoi": 15}
    for name in ("video", "clustered"):
        yield Goal("k-center, k = 10,000", name, 200_000, kcenter(5), brute(100) | loops)
    for name in ("video", "clustered"):
        # Without the distances, which the peers do not return either.
        start, ratios = kcenter(5, distances=False), brute(100) | {"skmatter Voronoi": 15}
        yield Goal("k-center, k = 10,000, centres alone", name, 200_000, start, ratios)
    for name in data.NAMES:
        yield Goal("k-center, .5 %", name, 200_000, kcenter(0.5), brute(10))
    for name in ("real", "frames", "sentences"):
        yield Goal("k-center, 5 %", name, N, kcenter(5), brute(40))


def brute(ratio: float) -> dict[str, float]:
    return {"numpy": ratio, "numpy pass": ratio}


def kcenter(percent: float, distances: bool = True) -> Callable[[Floats], tasks.Task]:
    def start(x: Floats) -> tasks.Task:
        return tasks.kcenter(x, round(len(x) * percent / 100), 1, 30, distances)

    return start


def redundancy(size: int) -> Callable[[Floats], tasks.Task]:
    def start(x: Floats) -> tasks.Task:
        labels = mf.kmeans(x, len(x) // size, max_iterations=2, threads=1).labels
        return tasks.redundancy(x, labels, 1)

    return start


def measure(goal: Goal) -> Iterator[tuple[str, ...]]:
    task = goal.start(data.make(goal.data, goal.n, D))
    took, answer = tasks.clock(task.ours)
    task.check(answer)
    took = tasks.steady(task.ours, took)
    for who, ratio in goal.ratios.items():
        peer = task.peers[who]()
        reached = "reached" if peer.seconds >= ratio * took else "NOT reached"
        its = seconds(peer.seconds) + " *" * peer.extrapolated
        measured = f"{peer.seconds / took:.1f}x"
        yield goal.name, goal.data, seconds(took), who, its, measured, f"{ratio:g}x", reached


def main() -> None:
    words = sys.argv[1:]
    load = os.getloadavg()[0]
    lines = [HEADER]
    with peers.on_threads(1):
        for goal in goals():
            if words and not any(word in f"{goal.name} {goal.data}" for word in words):
                continue
            try:
                for line in measure(goal):
                    lines.append(line)
                    print(" | ".join(line), flush=True)
            except pytest.skip.Exception as missing:
                print(f"{goal.name}, {goal.data}: skipped, {missing}", flush=True)
    print(f"\n{_core.isa()}, one thread, load {load:.1f} at the start")
    print(table(lines, case=3))
    print("* extrapolated from a part of the peer's work")


if __name__ == "__main__":
    main()
