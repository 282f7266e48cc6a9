"""Balanced batches: turns by hand, even at every level, ranks, epochs, going on from a state."""

from __future__ import annotations

import itertools
import math
import pickle
import sys
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from meddel_fast.selectors import HierarchyResult, hierarchical
from meddel_fast.training import BalancedSampler
from meddel_fast.training.balanced_sampler import shares


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
        for pair in zip(own[::2], own[1::2], strict=True):
            assert pair.count(alone) == 1  # and so do the clusters inside each
        assert own.count(alone) == 4
    assert sorted(i for i in drawn if i in (3, 4, 5, 6)) == [3, 4, 5, 6]
    assert sorted(i for i in drawn if i in (0, 1)) == [0, 0, 1, 1]


def cut(rooms: list[int], total: int) -> Fraction:
    """The t with sum of min(room, t) = total."""
    for low in range(max(rooms) + 1):
        have, above = sum(min(r, low) for r in rooms), sum(r > low for r in rooms)
        if above and have + above >= total:
            return low + Fraction(total - have, above)
    return Fraction(max(rooms))


def test_shares_are_the_cut() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        parents = int(rng.integers(1, 5))
        parent = np.r_[np.arange(parents), rng.integers(0, parents, int(rng.integers(0, 12)))]
        parent = rng.permutation(parent)
        room = rng.integers(0, 9, len(parent))
        room[[np.flatnonzero(parent == p)[0] for p in range(parents)]] += 1
        whole = np.bincount(parent, weights=room).astype(np.int64)
        total = np.array([int(rng.integers(0, w + 1)) for w in whole])
        keys = rng.random(len(parent))
        found = shares(total, room, parent, keys)
        assert np.all(found <= room)
        for p in range(parents):
            inside = np.flatnonzero(parent == p)
            assert found[inside].sum() == total[p]
            t = cut(room[inside].tolist(), int(total[p]))
            for i in inside:
                assert abs(int(found[i]) - min(Fraction(int(room[i])), t)) < 1
            over = inside[room[inside] > t]  # the lowest keys of these get one more
            more = found[over] > math.floor(t)
            assert not more.any() or keys[over][more].max() <= keys[over][~more].min(initial=2)


@pytest.mark.parametrize("seed", [0, 1, 77])
@pytest.mark.parametrize("repeats", [1, 3, None])
@pytest.mark.parametrize("length", [40, 333])
def test_every_level_gets_its_cut(seed: int, repeats: int | None, length: int) -> None:
    tree = long_tailed()
    drawn = BalancedSampler(tree, length=length, repeats=repeats, seed=seed).draws()
    times = np.bincount(drawn, minlength=tree.n)
    assert times.sum() == length
    assert times.max() <= (repeats or length)
    labels = [np.arange(tree.n), tree.labels(0), tree.labels(1), tree.labels(2)]
    labels.append(np.zeros(tree.n, np.int64))
    for below, above in itertools.pairwise(labels):
        parent = np.zeros(below.max() + 1, np.int64)
        parent[below] = above
        got = np.bincount(below, weights=times).astype(int)
        room = np.bincount(below) * (repeats or length)
        for p in range(above.max() + 1):
            inside = np.flatnonzero(parent == p)
            t = cut(room[inside].tolist(), int(got[inside].sum()))
            for i in inside:
                assert abs(got[i] - min(Fraction(int(room[i])), t)) < 1


def test_each_stretch_has_its_part_of_each_cluster() -> None:
    tree = long_tailed()
    top = tree.labels(-1)
    for repeats in (1, 4, None):
        sampler = BalancedSampler(tree, length=360, repeats=repeats, seed=2)
        drawn = sampler.draws()
        share = np.bincount(top[drawn], minlength=4) / 360
        for begin in range(0, 300, 13):
            stretch = np.bincount(top[drawn[begin : begin + 60]], minlength=4)
            assert np.abs(stretch - 60 * share).max() < 4, (repeats, begin)
    rounds = top[drawn].reshape(90, 4)  # without a limit all get the same
    assert np.all(np.sort(rounds, axis=1) == np.arange(4))
    assert len({tuple(r) for r in rounds}) > 15  # of 24 orders


def test_a_straggler_does_not_come_in_every_round() -> None:
    tree = tree_of([0] * 99 + [1], [0, 1])
    assert list(BalancedSampler(tree, length=80, repeats=None)).count(99) == 40
    assert list(BalancedSampler(tree, length=80)).count(99) == 4
    assert list(BalancedSampler(tree, length=80, repeats=1)).count(99) == 1
    assert sorted(BalancedSampler(tree, repeats=1)) == list(range(100))


def test_once_at_most_is_the_balanced_selection() -> None:
    tree = long_tailed()
    kept = hierarchical(np.ones((tree.n, 2), np.float32), 120, hierarchy=tree).indices
    drawn = list(BalancedSampler(tree, length=120, repeats=1))
    for level in range(3):
        label = tree.labels(level)
        mine, theirs = (np.bincount(label[i], minlength=label.max() + 1) for i in (drawn, kept))
        assert np.abs(mine - theirs).max() <= 3 - level  # who gets one more is drawn


def test_draws_are_fair() -> None:
    """Who comes first in a cluster, and which coarse one begins, is even over seeds."""
    first = [list(BalancedSampler(SMALL, length=2, seed=s)) for s in range(600)]
    counts = np.bincount(np.ravel(first), minlength=8) / 600
    assert np.abs(counts - [1 / 4, 1 / 4, 1 / 2, *[1 / 8] * 4, 1 / 2]).max() < 0.07
    assert abs(np.mean([drawn[0] < 3 for drawn in first]) - 0.5) < 0.07


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
@pytest.mark.parametrize("length", [1, 100, 401])
def test_ranks_share_one_epoch(world_size: int, length: int) -> None:
    tree = long_tailed()
    whole = BalancedSampler(tree, length=length, seed=2)
    for epoch in (0, 3):
        whole.set_epoch(epoch)
        parts = []
        for rank in range(world_size):
            own = BalancedSampler(tree, length=length, seed=2, rank=rank, world_size=world_size)
            own.set_epoch(epoch)
            parts.append(list(own))
            assert len(parts[-1]) == len(own) == -(-length // world_size)
        together = np.array(parts).T.ravel()
        assert np.array_equal(together[:length], list(whole))
        assert np.array_equal(together[length:], np.resize(list(whole), len(together))[length:])


def test_epochs_and_seeds_differ() -> None:
    tree = long_tailed()
    sampler = BalancedSampler(tree, length=50, seed=1)
    seen = []
    for epoch in range(5):
        sampler.set_epoch(epoch)
        seen.append(tuple(sampler))
        assert tuple(sampler) == seen[-1]  # again, as nothing was set
    assert len(set(seen)) == 5
    assert len(set(itertools.chain(*seen))) > 120
    assert tuple(BalancedSampler(tree, length=50, seed=2)) != seen[0]
    assert all(type(i) is int for i in seen[0])


def test_draws_are_pinned() -> None:
    """The same on every machine."""
    assert list(BalancedSampler(SMALL, length=12, seed=5)) == [4, 2, 0, 7, 6, 1, 2, 7, 3, 0, 7, 2]


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
    drawn = list(BalancedSampler(tree[rows], length=300, repeats=None))
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
        (ValueError, "length must be from 1 to 32 .8 samples, each 4 times", {"length": 33}),
        (ValueError, "length must be from 1 to 8", {"length": 0, "repeats": 1}),
        (ValueError, "length must be at least 1", {"length": 0, "repeats": None}),
        (ValueError, "repeats must be at least 1", {"repeats": 0}),
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
        ("repeats", BalancedSampler(SMALL, length=8, repeats=2)),
        ("hierarchy_sha256", BalancedSampler(other, length=8)),
    ):
        with pytest.raises(ValueError, match=f"{name} must be the state's"):
            mine.load_state_dict(state)
    for wrong, text in (({"drawn": 9}, "drawn must be from 0 to 8"), ({"epoch": -1}, "epoch must")):
        with pytest.raises(ValueError, match=text):
            sampler.load_state_dict(state | wrong)
    with pytest.raises(ValueError, match="epoch must be from 0"):
        sampler.set_epoch(-1)
    with pytest.raises(ValueError, match="drawn must be from 0 to 8, got 9"):
        sampler.state_dict(drawn=9)
