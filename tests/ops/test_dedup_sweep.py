"""The sweep says at every threshold what deduplicate does, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from operation_cases import RULES, doubled
from samples import (
    ADVERSARIAL,
    DTYPES,
    adversarial,
    as_reference,
    assert_same,
    clustered,
    of_type,
    told,
)

import meddel_fast as mf
from meddel_fast import reference

FLOOR = 0.6


def ties(rng: np.random.Generator, n: int = 60) -> NDArray[np.float32]:
    """Rows of few small whole numbers: many equal cosines, copies and multiples, zero rows."""
    return rng.integers(-1, 2, size=(n, 3)).astype(np.float32)


def thresholds_of(x: Any, floor: float) -> list[float]:
    """Cosines of the pairs, what is next to them on both sides, and the ends."""
    rows = reference.widen(as_reference(x))
    found = np.unique(reference.cosine(rows, rows))
    found = found[np.linspace(0, len(found) - 1, min(len(found), 9)).astype(int)]
    near = np.concatenate([found, np.nextafter(found, 2), np.nextafter(found, -2), [floor, 1.0]])
    return np.unique(near[(near >= floor) & (near <= 1.0)]).tolist()


def check(x: Any, rule: str, floor: float = FLOOR, **options: Any) -> None:
    sweep = mf.dedup_sweep(x, rule=rule, floor=floor, **options)
    thresholds = thresholds_of(x, floor)
    kept = []
    for threshold in thresholds:
        wanted = told("deduplicate", as_reference(x), threshold, rule=rule, **options)
        got = sweep.at(threshold)
        assert_same(got, wanted)
        assert_same(mf.deduplicate(x, threshold, rule=rule, **options), wanted)
        kept.append(int(wanted[0].sum()))
    assert sweep.counts(thresholds).tolist() == kept
    assert (sweep.pairs.similarity >= floor).all()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_types(rule: str, dtype: str, rng: np.random.Generator) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("torch")
    check(of_type(clustered(rng, 70, 17), dtype), rule)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("floor", [-1.0, -0.3, 0.0, 0.5, 1.0])
def test_ties_copies_and_zero_rows(rule: str, floor: float, rng: np.random.Generator) -> None:
    check(ties(rng), rule, floor)


@pytest.mark.parametrize("rule", RULES)
def test_screens_and_instruction_sets(
    rule: str, isa: str, screen: str, rng: np.random.Generator
) -> None:
    order, labels = rng.permutation(90), rng.integers(3, size=90)
    check(clustered(rng, 90, 24), rule, 0.9, order=order, labels=labels)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial(rule: str, name: str, rng: np.random.Generator) -> None:
    check(adversarial(name, rng, 40, 12), rule)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("labelled", [False, True])
def test_copies_in_order(rule: str, labelled: bool, rng: np.random.Generator) -> None:
    x, _ = doubled(rng, 30, 3)
    labels = rng.integers(2, size=60) if labelled else None
    check(x, rule, order=rng.permutation(60), labels=labels)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n", [1, 2])
def test_few_rows(rule: str, n: int, rng: np.random.Generator) -> None:
    check(np.tile(rng.normal(size=(1, 5)).astype(np.float32), (n, 1)), rule)


@pytest.mark.parametrize("rule", RULES)
def test_budgets(rule: str, rng: np.random.Generator) -> None:
    for x in (clustered(rng, 60, 6), ties(rng)):
        sweep = mf.dedup_sweep(x, rule=rule, floor=-1.0)
        rows = reference.widen(x)
        values = np.unique(np.append(reference.cosine(rows, rows), [-1.0, 1.0]))
        kept = np.array([reference.deduplicate(x, t, rule=rule)[0].sum() for t in values])
        for budget in range(1, 61):
            if kept[0] > budget:
                with pytest.raises(ValueError, match=f"at least {kept[0]}, which are kept"):
                    sweep.threshold_for(budget)
                continue
            found = sweep.threshold_for(budget)
            place = int(np.flatnonzero(values == found)[0])
            assert kept[place] <= budget
            assert place == len(values) - 1 or kept[place + 1] > budget
            if rule != "greedy":
                assert (kept[place + 1 :] > budget).all()
            assert_same(sweep.at_budget(budget), sweep.at(found))
        assert sweep.threshold_for(1.0) == 1.0
        assert sweep.threshold_for(0.75) == sweep.threshold_for(45)


def test_pairs_are_those_that_decide(rng: np.random.Generator) -> None:
    x = clustered(rng, 50, 6)
    i, j, similarity = mf.dedup_sweep(x, rule="greedy", floor=0.7).pairs
    found = dict(zip(zip(j.tolist(), i.tolist(), strict=True), similarity.tolist(), strict=True))
    every = reference.similar_pairs(x, threshold=0.7)
    wanted = dict(zip(zip(*map(np.ndarray.tolist, every[:2]), strict=True), every[2], strict=True))
    first = {25: 1}  # a copy: with the first alone
    assert found == {
        (a, b): s for (a, b), s in wanted.items()
        if not {a, b} & first.keys() or first.get(b) == a
    }  # fmt: skip

    highest, neighbor = reference.redundancy(x)
    i, j, similarity = mf.dedup_sweep(x, floor=0.7).pairs
    assert i.tolist() == np.flatnonzero(highest >= 0.7).tolist()
    assert_same((j, similarity), (neighbor[i], highest[i]))

    i, j, similarity = mf.dedup_sweep(x, rule="components", floor=0.7).pairs
    root = np.arange(50)
    for a, b in zip(i, j, strict=True):
        assert root[a] != root[b]  # a forest
        root[root == root[a]] = root[b]
    assert len(np.unique(root)) == reference.deduplicate(x, 0.7, rule="components")[0].sum()


@pytest.mark.parametrize("rule", RULES)
def test_nearest(rule: str, rng: np.random.Generator) -> None:
    x = clustered(rng, 60, 6)
    sweep = mf.dedup_sweep(x, rule=rule, floor=0.0)
    rows = sorted(zip(*(f.tolist() for f in sweep.pairs), strict=True), key=lambda r: (-r[2], *r))
    for threshold, m in ((0.9, 3), (0.0, 2), (1.0, 4), (0.5, 1000)):
        above = [row for row in rows if row[2] >= threshold]
        below = [row for row in rows if row[2] < threshold]
        got = list(zip(*(f.tolist() for f in sweep.nearest(threshold, m)), strict=True))
        assert got == above[-m:] + below[:m]


def test_a_known_answer() -> None:
    """Four directions in the plane at 0, 10, 30 and 60 degrees, and the first once more."""
    angle = np.radians([0, 10, 30, 60, 0])
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    for rule in RULES:
        sweep = mf.dedup_sweep(x, rule=rule, floor=0.5)
        assert (
            sweep.counts([1.0, 0.99, 0.95, 0.9, 0.88, 0.8, 0.51]).tolist()
            == {
                "semdedup": [4, 4, 3, 2, 2, 1, 1],
                "components": [4, 4, 3, 2, 2, 1, 1],
                "greedy": [4, 4, 3, 3, 3, 2, 2],
            }[rule]
        )
    lines = mf.dedup_sweep(x, floor=0.5).quantiles([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    cosines = np.cos(np.radians([30, 20, 10, 0]))
    np.testing.assert_allclose(lines, [-np.inf, -np.inf, *cosines], atol=1e-6)


def test_greedy_may_keep_fewer_at_a_higher_threshold() -> None:
    """Row 1 is 12 degrees from row 0 and 11 from rows 2 and 3, which are 19 or more from others."""
    away, turn = np.radians([12, 0, 11, 11]), np.radians([0, 0, 120, 240])
    x = np.stack([np.sin(away) * np.cos(turn), np.sin(away) * np.sin(turn), np.cos(away)], axis=1)
    sweep = mf.dedup_sweep(x, rule="greedy", floor=0.9)
    asked = np.cos(np.radians([25, 12.5, 11.5, 10.5]))
    assert sweep.counts(asked).tolist() == [1, 3, 2, 4]
    assert [int(sweep.at_budget(b).keep.sum()) <= b for b in (1, 2, 3, 4)] == [True] * 4


def test_threads_and_progress(rng: np.random.Generator) -> None:
    x, told_of = clustered(rng, 300, 16), []
    for rule in RULES:
        wanted = mf.dedup_sweep(x, rule=rule, floor=0.5, threads=1)
        other = mf.dedup_sweep(
            x, rule=rule, floor=0.5, threads=3, progress=lambda *a: told_of.append(a)
        )
        assert told_of
        assert told_of[-1][0] == told_of[-1][1]
        told_of.clear()
        for threshold in (0.5, 0.9, 1.0):
            assert_same(other.at(threshold), wanted.at(threshold))


@pytest.mark.parametrize("rule", RULES)
def test_an_interrupt_ends_it(rule: str, rng: np.random.Generator) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mf.dedup_sweep(clustered(rng, 300, 16), rule=rule, progress=stop)


def test_parts_and_prepared(rng: np.random.Generator) -> None:
    x = clustered(rng, 80, 9)
    wanted = mf.dedup_sweep(x, floor=0.5)
    for sweep in (
        mf.dedup_sweep(x, floor=0.5, memory="64MB"),
        mf.dedup_sweep(mf.Prepared(x), floor=0.5),
    ):
        assert_same(sweep.at(0.9), wanted.at(0.9))
    for rule in ("greedy", "components"):
        with pytest.raises(ValueError, match="rule must be 'semdedup' with memory"):
            mf.dedup_sweep(x, rule=rule, memory="64MB")
        sweep = mf.dedup_sweep(mf.Prepared(x), rule=rule, floor=0.5)
        assert_same(sweep.at(0.9), mf.deduplicate(x, 0.9, rule=rule))


@pytest.mark.parametrize("rule", RULES)
def test_torch_in_torch_out(rule: str, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    x = clustered(rng, 40, 9)
    got = mf.dedup_sweep(torch.from_numpy(x), rule=rule).at(0.9)
    assert all(isinstance(field, torch.Tensor) for field in got)
    assert_same(got, reference.deduplicate(x, 0.9, rule=rule))


def test_bad_input(rng: np.random.Generator) -> None:
    x = clustered(rng, 40, 9)
    for options, message in (
        ({"rule": "all"}, "rule must be one of"),
        ({"floor": 1.5}, "floor must be from -1 to 1, got 1.5"),
        ({"order": [0, 0]}, "order must have one entry"),
        ({"rule": "greedy", "floor": float("nan")}, "floor must be from -1 to 1, got nan"),
    ):
        with pytest.raises(ValueError, match=message):
            mf.dedup_sweep(x, **options)
    sweep = mf.dedup_sweep(x, floor=0.8)
    for ask in (sweep.at, sweep.nearest, lambda t: sweep.counts([t])):
        with pytest.raises(ValueError, match=r"threshold must be from 0.8 to 1, got 0.79"):
            ask(0.79)
    with pytest.raises(ValueError, match="m must be at least 1"):
        sweep.nearest(0.9, 0)
    with pytest.raises(ValueError, match="shares must be from 0 to 1"):
        sweep.quantiles([2])
    with pytest.raises(ValueError, match="budget must be from 1 to 40"):
        sweep.at_budget(41)
    with pytest.raises(MemoryError, match="more than max_pairs = 3 pairs"):
        mf.dedup_sweep(x, rule="greedy", floor=-1.0, max_pairs=3)
    assert repr(sweep) == "DedupSweep(40 samples, rule 'semdedup', thresholds from 0.8)"
