"""Retrieval: known answers, and its rule restated one seed and one sample at a time."""

from __future__ import annotations

import re
import sys
import warnings
from typing import Any

import numpy as np
import pytest

import meddel_fast as mf
from meddel_fast import reference
from meddel_fast.selectors import check_options, retrieve, select
from meddel_fast.selectors.base import random_keys
from meddel_fast.stores.store import as_store


def at(*degrees: float) -> np.ndarray:
    """Rows on the unit circle."""
    turn = np.deg2rad(np.array(degrees))
    return np.column_stack([np.cos(turn), np.sin(turn)]).astype(np.float32)


POOL = at(10, 80, 40, 5, 101, 12, 200, 44)


def test_each_seed_has_its_nearest_then_each_its_second_nearest() -> None:
    """Seeds at 0 and 90 degrees: 5 and 80; 10 and 101; 12 and 44; 40 for both; 200."""
    ladder = retrieve(POOL, [2, 3, 5, 8], like=at(0, 90))
    order = [3, 1, 0, 4, 5, 7, 2, 6]
    for s, count in zip(ladder, (2, 3, 5, 8), strict=True):
        assert s.order.tolist() == order[:count]
        assert s.scores[s.order].tolist() == list(range(count, 0, -1))
        assert (s.settings["seeds"], s.settings["unserved"]) == (2, 0)
    assert ladder[0].cluster.tolist() == [0, 1, 0, 0, 1, 0, 1, 0]
    np.testing.assert_allclose(ladder[0].distance[[3, 4]], 1 - np.cos(np.deg2rad([5, 11])), 1e-6)


def test_a_sample_near_to_both_seeds_counts_once() -> None:
    s = retrieve(at(45, 20, 80, 180), 3, like=at(44, 47))
    assert s.order.tolist() == [0, 1, 2]  # 45; then 20 (24 from the first), 80 (33 from the other)
    assert s.cluster.tolist() == [0, 0, 1, 1]


def test_near_copies_of_what_is_kept_are_left_out() -> None:
    """Seed at 0: 1, its copy at 2, then 30, its copies at 31 and 29.5."""
    x = at(30, 1, 2, 31, 29.5, 60)
    s = retrieve(x, 3, like=at(0), dedup=float(np.cos(np.deg2rad(5))))
    assert s.order.tolist() == [1, 4, 5]
    assert s.reason.tolist() == ["duplicate", "kept", "duplicate", "duplicate", "kept", "kept"]
    assert s.duplicate_of.tolist() == [4, -1, 1, 4, -1, -1]
    s = retrieve(x, 2, like=at(0), dedup=float(np.cos(np.deg2rad(5))))
    assert s.reason.tolist() == ["budget", "kept", "duplicate", "budget", "kept", "budget"]
    with pytest.warns(UserWarning, match="kept of 5 samples 2 near copies"):
        s = retrieve(x, 5, like=at(0), dedup=float(np.cos(np.deg2rad(5))))
    assert s.order.tolist() == [1, 4, 5, 2, 0]
    assert s.settings["copies"] == 2


def test_what_is_nearer_to_the_unliked_is_pushed_away() -> None:
    x = at(10, 30, 50, 70)
    with pytest.warns(UserWarning, match="kept of 3 samples 1 pushed away"):
        ladder = retrieve(x, [2, 3], like=at(0), unlike=at(90))
    assert [s.order.tolist() for s in ladder] == [[0, 1], [0, 1, 2]]
    assert [s.settings["pushed"] for s in ladder] == [0, 1]
    # cos 10 = 0.98 is above 2 cos 80 = 0.35, cos 30 = 0.87 is below 2 cos 60 = 1
    with pytest.warns(UserWarning, match="kept of 2 samples 1 pushed away"):
        found = retrieve(x, 2, like=at(0), unlike=at(90), strength=2)
    assert found.settings["pushed"] == 1
    assert retrieve(x, 4, like=at(0), unlike=at(90), strength=0).settings["pushed"] == 0


def test_after_so_many_of_each_the_best_of_the_rest_follow() -> None:
    with pytest.warns(UserWarning, match="kept of 4 samples 2 in no list"):
        s = retrieve(at(1, 2, 3, 91, 95), 4, like=at(0, 90), each=1)
    assert s.order.tolist() == [0, 3, 1, 2]
    assert s.settings["filled"] == 2


def test_seeds_that_the_budget_does_not_reach_are_told() -> None:
    with pytest.warns(UserWarning, match="kept nothing for 2 of 3 seeds"):
        s = retrieve(at(0, 100, 220), 1, like=at(1, 99, 224))
    assert s.order.tolist() == [0]
    assert s.settings["unserved"] == 2


def test_clusters_with_enough_seeds_take_turns() -> None:
    rng = np.random.default_rng(0)
    x = at(*(np.repeat([0, 90, 180, 270], 10) + rng.normal(size=40)))
    like = at(1, 2, 181, 92, 91, 89)
    kind = np.arange(40) // 10
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        s = retrieve(x, 9, like=like, mode="cluster", clusters=4)
    assert np.bincount(kind[s.indices], minlength=4).tolist() == [3, 3, 3, 0]
    with pytest.warns(UserWarning, match="kept nothing for 1 of 6 seeds"):
        s = retrieve(x, 8, like=like, mode="cluster", clusters=4, min_seeds=2)
    assert np.bincount(kind[s.indices], minlength=4).tolist() == [4, 4, 0, 0]
    assert kind[s.order].tolist() == [1, 0] * 4  # that with more seeds first
    keys = random_keys(40, 0)
    assert s.order[0] == 10 + np.argmax(keys[10:20])
    s = retrieve(x, 9, like=like, mode="cluster", clusters=4, pick="near")
    best = reference.cosine(reference.widen(x), reference.widen(like)).max(axis=1)
    assert s.order[0] == 10 + np.argmax(best[10:20])


def restated(
    x: np.ndarray, like: np.ndarray, need: int, each: int, dedup: float, unlike: np.ndarray,
    strength: float, selected: list[int],
) -> tuple[list[int], dict[str, int]]:  # fmt: skip
    """Rounds, then the rest, then copies, then what is pushed away."""
    wide = [reference.widen(a) for a in (x, like, unlike)]
    to, off = reference.cosine(wide[1], wide[0]), reference.cosine(wide[0], wide[2])
    among = reference.cosine(wide[0], wide[0])
    score = to.max(axis=0) - strength * np.maximum(off.max(axis=1), 0)
    good = [i for i in range(len(x)) if score[i] > 0]
    order: list[int] = []
    lists = [sorted(good, key=lambda i: (-row[i], i)) for row in to]
    for turn in range(min(each, len(good))):
        asked = sorted((-to[s, lists[s][turn]], lists[s][turn]) for s in range(len(like)))
        order += [i for _, i in asked]
    listed = set(order)
    by_score = sorted(range(len(x)), key=lambda i: (-score[i], i))
    order += [i for i in by_score if i in good]
    kept, copies = list(selected), []
    for i in dict.fromkeys(order):
        if i in selected:
            continue
        copy = any(among[i, j] >= dedup for j in kept)
        (copies if copy else kept).append(i)
    found = kept[len(selected) :]
    every = [*found, *copies, *(i for i in by_score if i not in good + selected)][:need]
    filled = [i for i in every if i in found and i not in listed]
    used = [i for i in every if i in copies]
    return every, {"filled": len(filled), "copies": len(used), "pushed":
                   len(every) - len(used) - len([i for i in every if i in found])}  # fmt: skip


@pytest.mark.filterwarnings("ignore:retrieve. kept")
@pytest.mark.parametrize("seed", range(12))
def test_it_is_its_description(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    grid = rng.integers(-2, 3, (60, 3)).astype(np.float32)  # many ties and copies, zero rows too
    x = grid if seed % 2 else rng.normal(size=(60, 4)).astype(np.float32)
    d = x.shape[1]
    like = (x[rng.integers(0, 60, 5)] + rng.integers(-1, 2, (5, d))).astype(np.float32)
    unlike = x[rng.integers(0, 60, 2)]
    each, dedup = [60, 4][seed % 3 == 0], [0.9, 0.5, 1.0][seed % 3]
    selected = [[], [7, 50]][seed % 4 > 1]
    strength = [1.0, 0.7][seed % 5 == 0]
    options: dict[str, Any] = {
        "like": like, "unlike": unlike, "each": each, "dedup": dedup, "strength": strength
    }  # fmt: skip
    for piece in (1 << 22, 7):
        monkeypatch.setattr(sys.modules[retrieve.__module__], "_ENTRIES", piece)
        for found, count in zip(
            select("retrieve", x, [3, 12, 30, 60], selected=selected, **options),
            (3, 12, 30, 60), strict=True,
        ):  # fmt: skip
            every, told = restated(
                x, like, count - len(selected), each, dedup, unlike, strength, selected
            )
            assert found.order[len(selected) :].tolist() == every
            assert {name: found.settings[name] for name in told} == told


def test_no_two_kept_are_alike_and_all_seeds_are_served() -> None:
    rng = np.random.default_rng(3)
    x = np.repeat(rng.normal(size=(50, 8)), 6, axis=0) + 0.02 * rng.normal(size=(300, 8))
    like = rng.normal(size=(10, 8))
    s = retrieve(x, 40, like=like, dedup=0.98)
    similar = mf.similar_pairs(x[s.indices], threshold=0.98)
    assert len(similar.i) == 0
    assert s.settings["unserved"] == s.settings["copies"] == 0
    nearest = mf.topk_similarity(like, x).indices[:, 0]
    assert np.all(s.mask[nearest] | (s.duplicate_of[nearest] >= 0))


@pytest.mark.parametrize(
    ("error", "text", "options"),
    [
        (TypeError, "retrieve: needs like$", {}),
        (ValueError, r"like must be a 2-d float array", {"like": np.ones(2)}),
        (TypeError, "like must be an array, got a Store", {"like": as_store("x", np.ones((4, 2)))}),
        (ValueError, "like must have 2 columns like x, got 3", {"like": np.ones((4, 3))}),
        (ValueError, "unlike must have 2 columns", {"like": at(1), "unlike": np.ones((4, 3))}),
        (ValueError, "like must be finite", {"like": np.full((1, 2), np.nan)}),
        (ValueError, "like must have at least one row", {"like": np.ones((0, 2))}),
        (ValueError, "mode must be one of", {"like": at(1), "mode": "image"}),
        (ValueError, "dedup must be from -1 to 1", {"like": at(1), "dedup": 2}),
        (ValueError, "weights must be None for retrieve", {"like": at(1), "weights": np.ones(8)}),
    ],
)
def test_refusals(error: type[Exception], text: str, options: dict[str, Any]) -> None:
    with pytest.raises(error, match=re.compile(text)):
        retrieve(POOL, 2, **options)


def test_lists_of_many_seeds_that_are_alike_end() -> None:
    """80 seeds at one place have lists of 16 * 25 / 80 = 5 samples; the others follow by score."""
    x = at(*range(1, 26))
    with pytest.warns(UserWarning, match="kept of 9 samples 4 in no list"):
        ladder = retrieve(x, [5, 9], like=np.repeat(at(0), 80, axis=0))
    assert [s.order.tolist() for s in ladder] == [list(range(5)), list(range(9))]
    assert [s.settings["filled"] for s in ladder] == [0, 4]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"strength": 2.0}, "strength has no effect without unlike, got 2.0"),
        ({"pick": "near"}, "pick has no effect where mode is not 'cluster', got 'near'"),
        ({"min_seeds": 2}, "min_seeds has no effect where mode is not 'cluster'"),
        ({"clusters": 3}, "clusters has no effect where mode is not 'cluster'"),
        ({"max_iterations": 3}, "max_iterations has no effect where mode is not 'cluster'"),
    ],
)
def test_options_without_effect_are_refused(more: dict[str, Any], text: str) -> None:
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    with pytest.raises(ValueError, match=text):
        retrieve(x, 5, like=x[:2], **more)
    check_options("retrieve", {"like": x[:2], "unlike": x[:1], "mode": "cluster"} | more)
