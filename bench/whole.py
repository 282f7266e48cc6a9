"""Whole calls as a user makes them, beside others': k-means with its seeding, seeding alone,
k-center, redundancy in clusters of 1,000, and every selector end to end.

python bench/whole.py [WORD ...] [--rounds 3] [--save FILE.csv] prints a table; a word chooses the
tasks whose name or data contain it. One thread, one core, seconds of CPU, medians of rounds in
which all take turns (what has taken 5 seconds is not repeated).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import data
import numpy as np
import peers
import record
from peers import Floats

import meddel_fast as mf
from meddel_fast import _core
from meddel_fast.selectors import METHODS

N, D, ITERATIONS = 100_000, 384, 10
KINDS = ("video", "clustered", "isotropic")
CLUSTERS = {
    "faiss": peers.faiss_clusters, "superkmeans, exact": peers.superkmeans_clusters,
    "superkmeans, default": peers.superkmeans_fast_clusters,
    "scikit-learn": peers.sklearn_clusters,
}  # fmt: skip
SELECTORS = (
    "kcenter", "semdedup", "meddel", "d4", "density", "prototypes", "facility", "coverage",
    "craig", "hierarchical", "herding", "retrieve", "combine",
)  # fmt: skip


class Race(NamedTuple):
    """Ours first; `judge` tells of an answer what stands beside its time."""

    task: str
    data: str
    shape: str
    calls: dict[str, Callable[[], Any]]
    judge: Callable[[str, Any], str] = lambda _who, _answer: ""


def inertia(x: Floats, answer: Any) -> float:
    """Sum of the squared distances to the centroids, whoever made them."""
    labels, centroids = answer
    return sum(
        float(np.sum((x[b : b + 4096].astype(np.float64) - centroids[labels[b : b + 4096]]) ** 2))
        for b in range(0, len(x), 4096)
    )


def kmeans(name: str, k: int) -> Race:
    x = data.make(name, N, D)

    def ours() -> Any:
        found = mf.kmeans(x, k, spherical=False, max_iterations=ITERATIONS, threads=1)
        return found.labels, found.centroids

    calls = {"ours": ours}
    for who, call in CLUSTERS.items():
        calls[who] = lambda call=call: call(x, k, ITERATIONS)
    best: dict[str, float] = {}

    def judge(who: str, answer: Any) -> str:
        best[who] = inertia(x, answer)
        return "" if who == "ours" else f"inertia {best[who] / best['ours']:.3f} of ours"

    task = f"k-means, k = {k:,}, seeding and {ITERATIONS} iterations"
    return Race(task, name, f"{N} x {D}", calls, judge)


def seeding(name: str, k: int) -> Race:
    x = data.make(name, N, D)
    uniforms = np.random.default_rng(0).random(k).tolist()

    def seeds(screens: str) -> Any:
        _core.use_screen(screens)
        try:
            return _core.kmeans_plus_plus(x, False, uniforms, 1)
        finally:
            _core.use_screen("auto")

    found: list[Any] = []

    def judge(_who: str, answer: Any) -> str:
        found.append(answer)
        np.testing.assert_array_equal(answer, found[0])
        return "the same seeds" if len(found) > 1 else ""

    calls = {"ours": lambda: seeds("auto"), "plain passes": lambda: seeds("never")}
    return Race(f"k-means++ alone, k = {k:,}", name, f"{N} x {D}", calls, judge)


def kcenter(name: str, percent: float) -> Race:
    x = data.make(name, N, D)
    k = round(len(x) * percent / 100)
    calls = {
        "ours": lambda: mf.kcenter_greedy(x, k, distances=False, threads=1).indices,
        "ours, with distances": lambda: mf.kcenter_greedy(x, k, threads=1).indices,
        "numpy": lambda: peers.numpy_centres(x, k),
    }
    return Race(f"k-center, {percent:g} %", name, f"{N} x {D}", calls)


def redundancy(name: str, n: int = 50_000) -> Race:
    x = data.make(name, n, D)
    labels = mf.kmeans(x, n // 1000, max_iterations=2, threads=1).labels
    calls = {
        "ours": lambda: mf.redundancy(x, labels=labels, threads=1).similarity,
        "SemDeDup loop": lambda: peers.semdedup_redundancy(peers.unit(x), labels),
    }
    return Race("redundancy, clusters of 1,000", name, f"{n} x {D}", calls)


def selector(method: str, n: int = 200_000) -> Race:
    x = data.make("clustered", n, D)
    needed = {"like": x[:: max(1, n // 1000)], "score": np.arange(n) % 997.0}
    given = {option: needed[option] for option in METHODS[method].needs}
    calls = {"ours": lambda: mf.selectors.select(method, x, n // 20, threads=1, **given)}
    return Race(f"selector {method}, 5 %", "clustered", f"{n} x {D}", calls)


def races() -> Iterator[tuple[str, Callable[[], Race]]]:
    """Yield what a word is looked for in, and the way to the race: its data are made when due."""
    for k in (1000, 100):
        for name in KINDS:
            yield f"k-means {k} {name}", lambda name=name, k=k: kmeans(name, k)
            yield f"seeding {k} {name}", lambda name=name, k=k: seeding(name, k)
    for percent in (5, 0.5):
        for name in KINDS if percent < 1 else KINDS[:2]:
            text = f"k-center {percent:g} {name}"
            yield text, lambda name=name, percent=percent: kcenter(name, percent)
    for name in KINDS[:2]:
        yield f"redundancy {name}", lambda name=name: redundancy(name)
    for method in SELECTORS:
        yield f"selector {method}", lambda method=method: selector(method)


def run(race: Race, rounds: int) -> list[tuple[str, ...]]:
    notes: dict[str, str] = {}

    def seen(who: str, answer: Any) -> None:
        notes[who] = race.judge(who, answer)

    medians = record.in_turns(race.calls, rounds, seen)
    ours = medians.pop("ours")
    case = race.task, race.data, race.shape
    if not medians:
        return [record.line(*case, ours, "-", None)]
    return [record.line(*case, ours, who, its, notes[who]) for who, its in medians.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", type=Path)
    given = parser.parse_args()
    record.on_one_core()
    lines = []
    with peers.on_threads(1):
        for text, start in races():
            if given.words and not any(word in text for word in given.words):
                continue
            new = run(start(), given.rounds)
            lines += new
            record.show(new)
    if given.save:
        record.save(given.save, lines)


if __name__ == "__main__":
    main()
