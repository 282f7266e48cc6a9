"""Balanced batches: turns by hand, even at every level, ranks, epochs, going on from a state."""

from __future__ import annotations

import itertools
import pickle
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from meddel_fast.selectors import HierarchyResult
from meddel_fast.training import BalancedSampler


def tree_of(*assignments: list[int]) -> HierarchyResult:
    return HierarchyResult(
        tuple(np.array(a, np.int64) for a in assignments),
        tuple(np.zeros((max(a) + 1, 2), np.float32) for a in assignments),
        np.zeros(len(assignments[0])),
        {},
    )


SMALL = tree_of([0, 0, 1, 2, 2, 2, 2, 3], [0, 0, 1, 1])
"""Coarse 0: {0, 1}, {2}; coarse 1: {3, 4, 5, 6}, {7}."""


def long_tailed(n: int = 400) -> HierarchyResult:
    rng = np.random.default_rng(0)
    fine = np.sort(np.minimum((40 * rng.random(n) ** 2).astype(int), 39))
    fine = np.unique(fine, return_inverse=True)[1].reshape(-1)
    middle = (np.arange(fine.max() + 1) ** 2 // 230).tolist()
    middle = np.unique(middle, return_inverse=True)[1].reshape(-1)
    top = np.minimum(np.arange(middle.max() + 1), 3)
    return tree_of(rng.permutation(fine).tolist(), middle.tolist(), top.tolist())


def test_turns_by_hand() -> None:
    drawn = list(BalancedSampler(SMALL, length=16, seed=3))
    for pair in zip(drawn[::2], drawn[1::2], strict=True):
        assert sorted(i > 2 for i in pair) == [False, True]  # each coarse one once a round
    for own in ([i for i in drawn if i < 3], [i for i in drawn if i > 2]):
        alone = 2 if own[0] < 3 else 7
        assert len({i == alone for i in own[::2]}) == 1  # the clusters inside take turns
        assert len({i == alone for i in own[1::2]}) == 1
        assert own.count(alone) == 4
    assert sorted(i for i in drawn if i in (3, 4, 5, 6)) == [3, 4, 5, 6]
    assert sorted(i for i in drawn if i in (0, 1)) == [0, 0, 1, 1]


def spread(counts: np.ndarray) -> int:
    return int(counts.max() - counts.min())


@pytest.mark.parametrize("seed", [0, 1, 77])
def test_every_stretch_is_even_at_every_level(seed: int) -> None:
    tree = long_tailed()
    sampler = BalancedSampler(tree, seed=seed)
    top, middle, fine = tree.labels(2), tree.labels(1), tree.labels(0)
    for begin, length in ((0, 64), (37, 130), (1000, 999), (123_456, 50)):
        drawn = sampler.draw(np.arange(begin, begin + length))
        assert spread(np.bincount(top[drawn], minlength=4)) <= 2
        for above, below, number in (
            (top, middle, middle.max() + 1), (middle, fine, fine.max() + 1),
            (fine, np.arange(tree.n), tree.n),
        ):  # fmt: skip
            counts = np.bincount(below[drawn], minlength=number)
            parent = np.zeros(number, np.int64)
            parent[below] = above
            for c in range(above.max() + 1):
                assert spread(counts[parent == c]) <= 1


def test_whole_rounds_of_the_top_are_exact() -> None:
    tree = long_tailed()
    drawn = BalancedSampler(tree, seed=5).draw(np.arange(4 * 25))
    assert np.bincount(tree.labels(-1)[drawn]).tolist() == [25] * 4
    orders = {tuple(tree.labels(-1)[drawn[r : r + 4]]) for r in range(0, 100, 4)}
    assert len(orders) > 10  # of 24


def test_draws_are_fair() -> None:
    """Who comes first in a cluster, and which coarse one begins, is even over seeds."""
    first = [BalancedSampler(SMALL, length=2, seed=s) for s in range(600)]
    drawn = np.array([list(s) for s in first]).ravel()
    counts = np.bincount(drawn, minlength=8) / 600
    assert np.abs(counts - [1 / 4, 1 / 4, 1 / 2, *[1 / 8] * 4, 1 / 2]).max() < 0.07
    assert abs(np.mean([next(iter(s)) < 3 for s in first]) - 0.5) < 0.07


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
@pytest.mark.parametrize("length", [1, 100, 401])
def test_ranks_share_one_stream(world_size: int, length: int) -> None:
    tree = long_tailed()
    whole = BalancedSampler(tree, seed=2)
    for epoch in (0, 3):
        parts = []
        for rank in range(world_size):
            own = BalancedSampler(tree, length=length, seed=2, rank=rank, world_size=world_size)
            own.set_epoch(epoch)
            parts.append(list(own))
            assert len(parts[-1]) == len(own) == -(-length // world_size)
        together = np.array(parts).T.ravel()
        begin = epoch * length
        assert np.array_equal(together, whole.draw(np.arange(begin, begin + len(together))))


def test_epochs_go_on() -> None:
    tree = tree_of([0] * 50 + [1] * 50)
    sampler = BalancedSampler(tree, length=20, seed=1)
    seen = []
    for epoch in range(5):
        sampler.set_epoch(epoch)
        seen.append(list(sampler))
        assert list(sampler) == seen[-1]  # again, as nothing was set
    assert sorted(itertools.chain(*seen)) == list(range(100))  # none twice before all came
    assert list(BalancedSampler(tree, length=20, seed=2)) != seen[0]
    assert all(type(i) is int for i in seen[0])


def test_going_on_in_the_middle_of_an_epoch() -> None:
    tree = long_tailed()
    sampler = BalancedSampler(tree, length=90, seed=4)
    sampler.set_epoch(2)
    whole = list(sampler)
    running = iter(sampler)
    before = [next(running) for _ in range(37)]
    state = sampler.state_dict()
    again = BalancedSampler(tree, length=90, seed=4)
    again.load_state_dict(state)
    again.set_epoch(2)  # as a loop over epochs does
    assert again.state_dict() == state
    assert before + list(again) == whole
    assert list(again) == whole  # and the next iteration is a whole one
    again.load_state_dict(state)
    again.set_epoch(3)
    assert len(list(again)) == 90
    assert sampler.state_dict(drawn=30)["drawn"] == 30
    again.load_state_dict(sampler.state_dict(drawn=30))
    assert list(again) == whole[30:]
    again.load_state_dict(sampler.state_dict(drawn=90))
    assert list(again) == []


def test_an_iteration_left_behind_starts_anew() -> None:
    sampler = BalancedSampler(SMALL, length=8)
    whole = list(sampler)
    next(iter(sampler))
    assert list(sampler) == whole
    copy = pickle.loads(pickle.dumps(sampler))
    assert list(copy) == whole


def test_going_on_with_other_ranks() -> None:
    tree = long_tailed()
    two = [BalancedSampler(tree, length=60, rank=r, world_size=2) for r in range(2)]
    running = [iter(s) for s in two]
    before = [[next(i) for _ in range(12)] for i in running]
    state = two[0].state_dict()
    assert state == two[1].state_dict()
    three = [BalancedSampler(tree, length=60, rank=r, world_size=3) for r in range(3)]
    after = []
    for s in three:
        s.load_state_dict(state)
        after.append(list(s))
    stream = [*np.array(before).T.ravel(), *np.array(after).T.ravel()]
    assert stream == list(BalancedSampler(tree, length=60))
    five = BalancedSampler(tree, length=60, rank=0, world_size=5)
    with pytest.raises(ValueError, match="drawn must divide among 5 ranks, got 24"):
        five.load_state_dict(state)


def test_a_part_of_the_samples() -> None:
    tree = long_tailed()
    rows = np.flatnonzero(tree.labels(-1) != 1)  # one coarse cluster is left empty
    drawn = list(BalancedSampler(tree[rows], length=300))
    counts = np.bincount(tree.labels(-1)[rows[drawn]], minlength=4)
    assert counts.tolist() == [100, 0, 100, 100]


def test_a_loader_takes_it() -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.data import BatchSampler, DataLoader, TensorDataset

    data, sampler = TensorDataset(torch.arange(8)), BalancedSampler(SMALL, length=16)
    batches = [b[0].tolist() for b in DataLoader(data, batch_size=4, sampler=sampler)]
    assert list(itertools.chain(*batches)) == list(sampler)
    assert all(sum(i < 3 for i in batch) == 2 for batch in batches)
    loader = DataLoader(data, batch_sampler=BatchSampler(sampler, 5, drop_last=True))
    assert [len(b[0]) for b in loader] == [5, 5, 5]
    assert len(loader) == 3


def test_ranks_are_torch_s_where_it_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: True,
        get_rank=lambda: 2,
        get_world_size=lambda: 4,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(distributed=distributed))
    sampler = BalancedSampler(SMALL)
    assert (sampler.rank, sampler.world_size, len(sampler)) == (2, 4, 2)
    distributed.is_initialized = lambda: False
    assert BalancedSampler(SMALL).world_size == 1
    monkeypatch.delitem(sys.modules, "torch")
    assert BalancedSampler(SMALL).world_size == 1


@pytest.mark.parametrize(
    ("error", "text", "options"),
    [
        (TypeError, "hierarchy must be a HierarchyResult, got list", {"hierarchy": [0, 1]}),
        (ValueError, "hierarchy must have samples", {"hierarchy": SMALL[np.zeros(0, int)]}),
        (ValueError, "length must be at least 1", {"length": 0}),
        (TypeError, "length must be an int", {"length": 0.5}),
        (ValueError, "seed must be from 0", {"seed": -1}),
        (ValueError, "seed must be from 0", {"seed": 2**32}),
        (ValueError, "rank and world_size must be given together", {"rank": 0}),
        (ValueError, "rank and world_size must be given together", {"world_size": 2}),
        (ValueError, "rank must be from 0 to 1, got 2", {"rank": 2, "world_size": 2}),
        (ValueError, "world_size must be at least 1", {"rank": 0, "world_size": 0}),
    ],
)
def test_refusals(error: type[Exception], text: str, options: dict[str, Any]) -> None:
    with pytest.raises(error, match=text):
        BalancedSampler(**{"hierarchy": SMALL, **options})


def test_wrong_states_are_refused() -> None:
    sampler = BalancedSampler(SMALL, length=8)
    state = sampler.state_dict()
    other = tree_of([0, 0, 1, 2, 2, 2, 3, 3], [0, 0, 1, 1])
    for name, mine in (
        ("seed", BalancedSampler(SMALL, length=8, seed=1)),
        ("length", BalancedSampler(SMALL, length=9)),
        ("hierarchy_sha256", BalancedSampler(other, length=8)),
    ):
        with pytest.raises(ValueError, match=f"{name} must be the state's"):
            mine.load_state_dict(state)
    for wrong, text in (({"drawn": 9}, "drawn must be from 0 to 8"), ({"epoch": -1}, "epoch must")):
        with pytest.raises(ValueError, match=text):
            sampler.load_state_dict(state | wrong)
    with pytest.raises(ValueError, match="epoch must be at least 0"):
        sampler.set_epoch(-1)
    with pytest.raises(ValueError, match="drawn must be from 0 to 8, got 9"):
        sampler.state_dict(drawn=9)
