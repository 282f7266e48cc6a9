"""Equal rows have exactly cosine 1, and many of them are looked at once."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from operation_cases import RULES, doubled, twice
from samples import DTYPES, as_reference, assert_same, of_type

import meddel_fast as mf
from meddel_fast import _core, reference
from meddel_fast.sharded import parts
from meddel_fast.sharded.deduplicate import first_copies

Rows = NDArray[np.float32]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_operation_finds_exact_copies_at_1(
    isa: str, screen: str, dtype: str, rng: np.random.Generator
) -> None:
    """With the product of two roots, 24 to 30 % of the copies had a cosine below 1."""
    x, which = doubled(rng, 40, 37, dtype)
    first, second = twice(which)
    pairs = mf.similar_pairs(x, threshold=1.0)
    assert_same([*map(np.asarray, pairs)], [first, second, np.ones(40)])
    for rule in RULES:
        found = mf.deduplicate(x, 1.0, rule=rule)
        np.testing.assert_array_equal(np.flatnonzero(found.keep), first)
        np.testing.assert_array_equal(np.asarray(found.representative)[second], first)
        np.testing.assert_array_equal(np.asarray(found.similarity)[second], 1.0)
    assert np.all(np.asarray(mf.topk_similarity(x, k=1).similarity) == 1.0)
    np.testing.assert_array_equal(np.asarray(mf.topk_similarity(x, k=1).indices)[first, 0], second)
    redundancy = mf.redundancy(x)
    np.testing.assert_array_equal(np.asarray(redundancy.similarity)[second], 1.0)
    centres = mf.kcenter_greedy(x, radius=0.0, metric="cosine")
    assert sorted(which[np.asarray(centres.indices)]) == list(range(40))
    assert not np.any(np.asarray(centres.distances))
    clusters = mf.kmeans(x, 40, init=as_reference(x)[first].astype(np.float32), max_iterations=0)
    assert not np.any(np.asarray(clusters.distances))


@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1.0, 1e18])
@pytest.mark.parametrize("d", [1, 2, 3, 8, 65, 384, 4096])
def test_cosine_of_a_row_with_itself_and_its_opposite(
    d: int, scale: float, rng: np.random.Generator
) -> None:
    x = (rng.normal(size=(64, d)) * scale).astype(np.float32)
    for y, cosine in ((x, 1.0), (-x, -1.0), (2 * x, 1.0), (-x / 4, -1.0)):
        for i in range(0, 64, 8):
            row, other = x[i : i + 1], y[i : i + 1]
            assert mf.topk_similarity(row, other, 1).similarity[0, 0] == cosine
        wide = reference.cosine(reference.widen(x), reference.widen(y))
        assert np.all(np.diagonal(wide) == cosine)
        assert np.all(np.abs(wide) <= 1.0)


def test_no_cosine_is_beyond_1(isa: str, screen: str, rng: np.random.Generator) -> None:
    """Rows that differ by an ulp or a factor come out at 1 at most."""
    x = rng.normal(size=(50, 24)).astype(np.float32)
    x = np.concatenate([x, np.nextafter(x, np.float32(9)), 3 * x, np.float32(0.7) * x, -5 * x])
    found = mf.topk_similarity(x, k=4)
    assert_same(found, reference.topk_similarity(x, k=4))
    assert found.similarity.max() == 1.0
    assert mf.similar_pairs(x, threshold=-1.0).similarity.min() == -1.0


def test_equal_zero_rows_are_no_copies_by_cosine(screen: str, rng: np.random.Generator) -> None:
    x = np.zeros((30, 5), np.float32)
    x[::7] = rng.normal(size=(5, 5))
    for rule in RULES:
        assert mf.deduplicate(x, 1.0, rule=rule).keep.all()
        for threshold in (-1.0, 0.0, 0.5):
            wanted = reference.deduplicate(x, threshold, rule=rule)
            assert_same(mf.deduplicate(x, threshold, rule=rule), wanted)
    assert_same(
        mf.kcenter_greedy(x, 30, metric="cosine"), reference.kcenter_greedy(x, 30, metric="cosine")
    )
    zeros = np.flatnonzero(~x.any(axis=1))
    assert np.all(mf.redundancy(x).similarity[zeros[1:]] == 0.0)
    assert np.all(mf.redundancy(x).neighbor[zeros[1:]] == 0)


def few_kinds(rng: np.random.Generator, n: int, d: int) -> NDArray[Any]:
    """Rows of some kinds: zero ones, of one direction, near ones, equal ones but for -0."""
    kinds = int(rng.integers(1, max(2, n // 2)))
    base = rng.normal(size=(kinds, d)).astype(np.float32)
    if kinds > 3:
        base[1], base[2] = 2 * base[0], np.float32(3) * base[0]
        base[3, 0] = -0.0
    if rng.random() < 0.5:
        base[rng.integers(kinds)] = 0.0
    if rng.random() < 0.3:
        base = np.round(base)
    if rng.random() < 0.3:
        base = base[:1] + np.float32(0.05) * base
    x = base[rng.integers(kinds, size=n)]
    return (x, x.astype(np.float16), np.clip(20 * x, -127, 127).astype(np.int8))[rng.integers(3)]


@pytest.mark.parametrize("seed", range(12))
def test_copies_change_no_answer(screen: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(2, 60)), int(rng.choice([1, 2, 3, 8, 17, 70]))
    x = few_kinds(rng, n, d)
    order = None if rng.random() < 0.4 else rng.permutation(n)
    labels = None if rng.random() < 0.5 else rng.integers(3, size=n)
    threshold = float(rng.choice([-0.5, 0.0, 0.3, 0.9, 0.999, 1.0]))
    y = few_kinds(rng, int(rng.integers(2, 40)), d).astype(x.dtype)
    k, known = int(rng.integers(1, n)), rng.permutation(n)[: n // 2]

    def check(name: str, *args: Any, more: dict[str, Any] | None = None, **kwargs: Any) -> None:
        got = getattr(mf, name)(x, *args, **kwargs, **(more or {}))
        assert_same(got, getattr(reference, name)(x, *args, **kwargs))

    check("redundancy", order=order, labels=labels)
    for rule in RULES:
        for more in ({}, {"threads": 3}, {"memory": "40MB"}):
            check("deduplicate", threshold, rule=rule, order=order, labels=labels, more=more)
    check("topk_similarity", None, k)
    check("topk_similarity", y, int(rng.integers(1, len(y))))
    for metric in ("euclidean", "cosine"):
        check("kcenter_greedy", n, metric=metric, start=k)
        check("kcenter_greedy", n - len(known), metric=metric, selected=known)
        check("kcenter_greedy", n - len(known), metric=metric, selected=known, radius=0.0)
    for spherical in (True, False):
        check("kmeans", k, spherical=spherical, max_iterations=5, seed=seed)


@pytest.mark.parametrize("seed", range(3))
def test_copies_change_no_answer_in_parts(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of one part, and of several, for parts of 1,024 rows."""
    monkeypatch.setattr(parts.Parts, "_rows_a_part", lambda self, left: (1024, False))
    rng = np.random.default_rng(seed)
    x = few_kinds(rng, 2500, 9)[rng.permutation(2500)]
    x[rng.permutation(2500)[:900]] = x[7]
    order = None if seed % 2 else rng.permutation(2500)
    labels = None if seed < 2 else rng.integers(3, size=2500)
    settings = {"order": order, "labels": labels}

    def check(name: str, *args: Any, **kwargs: Any) -> None:
        function = getattr(mf, name)
        assert_same(function(x, *args, memory="40MB", **kwargs), function(x, *args, **kwargs))

    check("redundancy", **settings)
    check("topk_similarity", None, 5)
    check("topk_similarity", x[::3].copy(), 4)
    for rule in RULES:
        check("deduplicate", 0.99, rule=rule, **settings)
    for metric in ("euclidean", "cosine"):
        check("kcenter_greedy", 60, metric=metric, start=seed)
    check("kmeans", 12, max_iterations=3, seed=seed)


@pytest.fixture(scope="module")
def black() -> Rows:
    """20,000 rows, all but 40 of them equal: none of them could be told apart by a screen."""
    rng = np.random.default_rng(3)
    x = np.tile(rng.normal(size=(1, 32)).astype(np.float32), (20_000, 1))
    x[::500] = rng.normal(size=(40, 32))
    return x


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("rule", RULES)
def test_many_equal_rows_hold_few_pairs(black: Rows, rule: str, in_order: bool) -> None:
    """Greedy and components held 199,171,180 pairs for these, more than memory has room for."""
    n = len(black)
    order = np.arange(n) if in_order else np.arange(n)[::-1].copy()
    found = mf.deduplicate(black, 0.99, rule=rule, order=order, max_pairs=50)
    first = 1 if in_order else n - 1
    assert sorted(np.flatnonzero(found.keep)) == sorted([*range(0, n, 500), first])
    dropped = ~found.keep
    assert np.all(found.similarity[dropped] == 1.0)
    lowest = np.full(n, 1) if in_order or rule != "semdedup" else np.arange(n) + 1
    if rule == "semdedup" and not in_order:
        lowest[lowest % 500 == 0] += 1  # the next one in front of it is another row
    wanted = lowest if in_order or rule == "semdedup" else np.full(n, first)
    np.testing.assert_array_equal(found.representative[dropped], wanted[dropped])


@pytest.mark.parametrize("groups", [1, 7])
def test_components_of_parts_join_copies_without_their_pairs(
    black: Rows, groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As array they were decided at once; in parts 199,171,180 pairs were looked at one by one."""
    joined = []

    def join(parent: Any, i: Any, j: Any) -> Any:
        joined.append(len(i))
        return _core.join_components(parent, i, j)

    counting = SimpleNamespace(**{**vars(_core), "join_components": join})
    monkeypatch.setitem(vars(sys.modules["meddel_fast.sharded.deduplicate"]), "_core", counting)
    labels = np.arange(len(black)) // 3 % groups
    settings: dict[str, Any] = {"rule": "components", "labels": labels}
    found = mf.deduplicate(black, 0.99, memory="40MB", **settings)
    assert sum(joined) < 3 * len(black)
    assert_same(found, mf.deduplicate(black, 0.99, **settings))


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_first_copies_are_equal_rows_of_one_group_that_are_not_zero(dtype: str) -> None:
    rows = of_type(np.array([[1, 2, 3]] * 5 + [[0, 0, 0]] * 3 + [[3, 2, 1]], np.float32), dtype)
    groups = np.array([0, 1, 0, 1, 2, 0, 0, 0, 0])
    found = first_copies(rows, groups, 1)
    np.testing.assert_array_equal(found, [0, 1, 0, 1, 4, 5, 6, 7, 8])


def test_many_equal_rows_in_the_other_operations(black: Rows) -> None:
    n = len(black)
    equal = np.flatnonzero(np.arange(n) % 500)
    redundancy = mf.redundancy(black)
    assert np.all(redundancy.similarity[equal[1:]] == 1.0)
    assert np.all(redundancy.neighbor[equal[1:]] == 1)
    top = mf.topk_similarity(black, k=3)
    assert np.all(top.similarity[equal] == 1.0)
    assert np.all(top.indices[equal[3:]] == [1, 2, 3])
    np.testing.assert_array_equal(top.indices[1], [2, 3, 4])
    centres = mf.kcenter_greedy(black, n)
    assert sorted(centres.indices[:41] % 500 == 0) == [False] + 40 * [True]
    assert not centres.radii[41:].any()
    left = np.setdiff1d(np.arange(n), centres.indices[:41])
    np.testing.assert_array_equal(centres.indices[41:], left)
    clusters = mf.kmeans(black, 200, max_iterations=3)
    assert len(np.unique(clusters.labels[equal])) == 1


def test_too_many_pairs_name_the_ways_out(rng: np.random.Generator) -> None:
    x = rng.normal(size=(100, 3)).astype(np.float32)
    with pytest.raises(MemoryError, match=r"iter_similar_pairs.*memory="):
        mf.similar_pairs(x, threshold=-1.0, max_pairs=10)
    for rule in ("greedy", "components"):
        with pytest.raises(MemoryError, match=r"memory=.*labels"):
            mf.deduplicate(x, -1.0, rule=rule, max_pairs=10)
