"""Whole clusters on one process each: the same bits, where they are so compared and where not."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from breaking_group import broken
from samples import assert_same, clustered
from thread_group import on_ranks

import meddel_fast as mf
from meddel_fast.sharded import clusters

N, D = 6000, 48
X = clustered(np.random.default_rng(0), N, D, centres=40).astype(np.float16)
LABELS = np.random.default_rng(1).integers(-20, 20, size=N)
ORDER = np.random.default_rng(2).permutation(N)

CALLS: dict[str, Any] = {
    "semdedup": lambda x, **how: mf.deduplicate(x, 0.97, labels=LABELS, **how),
    "in order": lambda x, **how: mf.deduplicate(x, 0.97, labels=LABELS, order=ORDER, **how),
    "greedy": lambda x, **how: mf.deduplicate(x, 0.97, rule="greedy", labels=LABELS, **how),
    "greedy in order": lambda x, **how: mf.deduplicate(
        x, 0.97, rule="greedy", labels=LABELS, order=ORDER, **how
    ),
    "redundancy": lambda x, **how: mf.redundancy(x, labels=LABELS, order=ORDER, **how),
}


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each decision was made on."""
    plain = clusters.decide_in_clusters
    sizes: list[int] = []

    def watch(parts: Any, chosen: Any, places: Any, floor: float, keeper: Any, decide: Any) -> Any:
        def counted(rows: Any, *rest: Any) -> Any:
            sizes.append(len(rows))
            return decide(rows, *rest)

        return plain(parts, chosen, places, floor, keeper, counted)

    for name in ("deduplicate", "redundancy"):  # the modules: the package has functions so named
        module = sys.modules[f"meddel_fast.sharded.{name}"]
        monkeypatch.setattr(module, "decide_in_clusters", watch)
    return sizes


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("name", CALLS)
def test_the_bits_of_one_process(name: str, size: int, taken: list[int]) -> None:
    wanted = CALLS[name](X, threads=1)
    for found in on_ranks(size, lambda g: CALLS[name](X, threads=1, memory="40MB", group=g)):
        assert_same(found, wanted)
    assert sum(taken) == N
    assert len(taken) == size  # each rank in one piece
    if name == "semdedup":
        assert 0 < wanted.keep.sum() < N


def test_what_is_found_is_sent_by_one(taken: list[int]) -> None:
    """Rows once, and of each sample two numbers, to each of the others."""

    class Counting:
        def __init__(self, group: Any) -> None:
            self.rank, self.size, self.sent, self._group = group.rank, group.size, 0, group

        def allgather(self, array: Any) -> Any:
            self.sent += array.nbytes
            return self._group.allgather(array)

        def broadcast(self, array: Any, root: int) -> Any:
            self.sent += array.nbytes if root == self.rank else 0
            return self._group.broadcast(array, root)

    def work(group: Any) -> int:
        counting = Counting(group)
        CALLS["semdedup"](X, threads=1, memory="40MB", group=counting)
        return counting.sent

    sent = [found for found in on_ranks(3, work) if isinstance(found, int)]
    rows_and_found = X.nbytes + 16 * N
    assert rows_and_found <= sum(sent) <= rows_and_found + 3 * 200  # and what a plan asks
    assert taken


@pytest.mark.parametrize(
    ("labels", "memory"),
    [
        (np.zeros(N, np.int64), "40MB"),  # one has all
        (np.arange(N) % 10 // 8, "40MB"),  # one has nearly all
        (LABELS, "5.2MB"),  # no room for the rows of clusters
    ],
)
def test_part_against_part_where_that_is_better(labels: Any, memory: str, taken: list[int]) -> None:
    wanted = mf.deduplicate(X, 0.97, labels=labels, threads=1)
    for found in on_ranks(
        3, lambda g: mf.deduplicate(X, 0.97, labels=labels, threads=1, memory=memory, group=g)
    ):
        assert_same(found, wanted)
    assert taken == []


@pytest.mark.parametrize("name", ["in order", "greedy in order"])
def test_a_death_at_any_turn(
    name: str, tmp_path: Any, taken: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What others take up is not compared again: clusters take the same turns for any number."""
    monkeypatch.setenv("MEDDEL_CHECKPOINT_EVERY", "0")
    wanted = CALLS[name](X, threads=1)
    how = {"threads": 1, "memory": "40MB", "checkpoint": tmp_path}
    spared = []
    exchange = 9
    while broken(2, 1, exchange, lambda g: CALLS[name](X, group=g, **how)):
        taken.clear()
        for found in on_ranks(3, lambda g: CALLS[name](X, group=g, **how)):
            assert_same(found, wanted)
        spared.append(N - sum(taken))
        exchange += 19
    assert spared[0] == 0
    assert spared == sorted(spared)
    assert spared[-1] > N // 2
    assert list(tmp_path.iterdir()) == []


def test_dealing() -> None:
    """The largest first, each to the one with least to do; many small ones go round."""
    labels = np.repeat([7, 3, 5, 9, 1], [40, 30, 30, 20, 10])
    dealt = clusters.Clusters(labels, 2)
    pairs = [int((np.bincount(labels[dealt.owner == rank]) ** 2).sum()) for rank in range(2)]
    assert sorted(pairs) == [1900, 2000]
    assert dealt.even
    assert dealt.most(2) == max(np.bincount(dealt.owner))
    single = clusters.Clusters(np.arange(20_000), 3)
    assert np.ptp(np.bincount(single.owner)) <= 2
    assert not clusters.Clusters(np.array([0] * 100 + [1] * 10), 3).even
