"""Coverage of a neighbour graph beside its plain restatement, and its graph in files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clouds import Float, cloud
from numpy.typing import NDArray
from test_stores import assert_equal

import meddel_fast as mf
from meddel_fast import _core, reference
from meddel_fast.selectors import edge_files, select
from meddel_fast.selectors.coverage import even_seats
from meddel_fast.selectors.neighbor_graph import edges_to
from meddel_fast.selectors.plan import Task
from meddel_fast.stores.store import as_store, open_store


def columns(x: NDArray[Any], k: int, hops: int, kernel: str) -> list[dict[int, float]]:
    """How well each sample covers others, in the order in which they are found."""
    wide = reference.widen(x)
    cosine = reference.cosine(wide, wide)
    n = len(x)
    to: list[dict[int, float]] = [{} for _ in range(n)]
    for i in range(n):
        others = [j for j in np.lexsort((np.arange(n), -cosine[i])) if j != i][:k]
        for j in sorted([*others, i]):
            s = max(float(cosine[i, j]), 0.0)
            if i == j:
                s = float(wide[i].any())
            to[j][i] = float(s > 0 or i == j) if kernel == "top-hat" else s
    if hops == 1:
        return to
    both: list[dict[int, float]] = []
    for j in range(n):
        found = dict(to[j])
        for m, last in to[j].items():
            for i, first in to[m].items() if m != j else ():
                found[i] = max(found.get(i, 0.0), first * last)
        both.append(found)
    return both


def plain(
    covers: list[dict[int, float]], counts: list[int], weights: Float, selected: list[int]
) -> list[tuple[list[int], Float, Float, list[int]]]:
    """Greedy selection with nothing saved: order, gains, best values and by whom, a count each."""
    n = len(covers)
    best, by, order, won = [0.0] * n, [-1] * n, list[int](), dict[int, float]()

    def gain(j: int) -> float:
        total = 0.0
        for i, value in covers[j].items():
            total += max(value - best[i], 0.0) * weights[i]
        return total

    def keep(j: int) -> None:
        for i, value in covers[j].items():
            if value > best[i]:
                best[i], by[i] = value, j

    for j in selected:
        keep(j)
    rungs = {}
    for count in range(len(selected), max(counts) + 1):
        if count > len(selected):
            left = [j for j in range(n) if j not in order and j not in selected]
            j = min(left, key=lambda j: (-gain(j), j))
            order.append(j)
            won[j] = gain(j)
            keep(j)
        gains = np.array([won.get(j, gain(j)) for j in range(n)])
        gains[selected] = np.inf
        rungs[count] = list(selected) + order, gains, np.array(best), list(by)
    return [rungs[count] for count in counts]


@pytest.mark.parametrize("kernel", ["similarity", "top-hat"])
@pytest.mark.parametrize(("hops", "neighbors"), [(1, 4), (2, 4), (2, 1), (2, 59)])
@pytest.mark.parametrize("more", ["", "weighted", "extended"])
def test_lazy_coverage_is_plain_greedy_bit_for_bit(
    hops: int, neighbors: int, kernel: str, more: str
) -> None:
    x = cloud()
    weights = np.random.default_rng(1).uniform(0.5, 3, len(x)) if more == "weighted" else None
    selected = [8, 3] if more == "extended" else []
    counts = [3, 17, 41]
    found = select(
        "coverage", x, counts, hops=hops, neighbors=neighbors, kernel=kernel, weights=weights,
        selected=selected or None,
    )  # fmt: skip
    plain_weights = np.ones(len(x)) if weights is None else weights
    wanted = plain(columns(x, neighbors, hops, kernel), counts, plain_weights, selected)
    for one, (order, gains, best, by) in zip(found, wanted, strict=True):
        assert one.order.tolist() == order
        np.testing.assert_array_equal(one.scores, gains)
        assert one.cluster.tolist() == by
        assert one.settings["value"] == np.cumsum(plain_weights * best)[-1]
        assert one.settings["covered"] == np.count_nonzero(best)


def test_one_step_is_facility_location() -> None:
    x = cloud(90, 6)
    ours = select("coverage", x, [5, 30], hops=1, neighbors=7)
    for one, other in zip(ours, select("facility", x, [5, 30], neighbors=7), strict=True):
        assert one.order.tolist() == other.order.tolist()
        np.testing.assert_array_equal(one.scores, other.scores)
        assert one.settings["value"] == other.settings["value"]


def chain(*degrees: float) -> NDArray[np.float64]:
    """Samples on a circle, by their angles."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_by_hand() -> None:
    """Each has one neighbour: 1, 2 and 4 reach 0, 3 over two steps; 5 and 6 know each other."""
    x = chain(0, 10, 19, 27, 34, 90, 91)
    # nearest: 0 -> 1 -> 2 -> 3 -> 4 -> 3, 5 -> 6 -> 5
    one = select("coverage", x, [1, 2, 3], hops=1, neighbors=1, kernel="top-hat")
    assert [s.settings["covered"] for s in one] == [3, 5, 7]
    assert one[-1].order.tolist() == [3, 1, 5]
    two = select("coverage", x, [1, 2, 3], neighbors=1, kernel="top-hat")
    # 3 is reached from 1 (over 2), 2 and 4; 5 by 6; then 0 is left, which 0, 1 and 2 cover
    assert two[-1].order.tolist() == [3, 5, 0]
    assert [s.settings["covered"] for s in two] == [4, 6, 7]
    assert two[1].cluster.tolist() == [-1, 3, 3, 3, 3, 5, 5]
    soft = select("coverage", x, 1, neighbors=1)
    cos = np.cos(np.radians([9, 8, 7]))
    assert soft.settings["value"] == pytest.approx(cos[0] * cos[1] + cos[1] + 1 + cos[2])


def test_dense_regions_come_first_and_are_covered_once() -> None:
    rng = np.random.default_rng(5)
    kind = np.repeat(np.arange(4), [60, 30, 20, 11])
    x = np.eye(8)[kind] + 0.02 * rng.normal(size=(len(kind), 8))
    for kernel in ("similarity", "top-hat"):
        found = select("coverage", x, [4, 8], neighbors=10, kernel=kernel)
        assert len(np.unique(kind[found[1].order])) == 4
        assert kind[found[0].order[0]] == 0
    few = select("coverage", x, 4, labels=kind)
    assert kind[few.order].tolist() == [0, 1, 2, 3]  # one of each class, in turn
    assert few.settings["classes"] == 4


def test_classes_by_themselves_in_turn() -> None:
    x = cloud(70, 6)
    names = np.array(["b", "a", "c"])[np.random.default_rng(3).choice(3, 70, p=[0.6, 0.3, 0.1])]
    sizes = np.array([np.sum(names == name) for name in "abc"])
    ladder = select("coverage", x, [2, 9, 33, 70], labels=names, neighbors=4)
    for found, count in zip(ladder, (2, 9, 33, 70), strict=True):
        seats = even_seats(sizes, np.zeros(3, int), count)
        for name, seat in zip("abc", seats, strict=True):
            rows = np.flatnonzero(names == name)
            chosen = [j for j in found.order if names[j] == name]
            assert len(chosen) == seat
            if not seat:
                continue
            neighbors = min(4, len(rows) - 1)
            alone = select("coverage", x[rows], int(seat), neighbors=neighbors)
            assert chosen == rows[alone.order].tolist()
            covers = np.where(alone.cluster >= 0, rows[alone.cluster], -1)
            np.testing.assert_array_equal(found.cluster[rows], covers)
    assert names[ladder[1].order].tolist() == ["a", "b", "c"] * 3
    held = np.flatnonzero(names == "b")[:5]
    more = select("coverage", x, 8, labels=names, selected=held)
    assert names[more.order[5:]].tolist() == ["a", "c", "a"]
    more = select("coverage", x, 18, labels=names, selected=held)
    assert names[more.order[5:]].tolist() == ["a", "c"] * 5 + [
        "a",
        "b",
        "a",
    ]  # of "c" there are five


def test_seats_by_hand() -> None:
    none = np.zeros(3, np.int64)
    assert even_seats(np.array([9, 9, 9]), none, 7).tolist() == [3, 2, 2]
    assert even_seats(np.array([9, 1, 2]), none, 10).tolist() == [7, 1, 2]
    assert even_seats(np.array([9, 9, 9]), np.array([0, 4, 0]), 7).tolist() == [2, 4, 1]
    before = none
    for count in range(3, 21):
        now = even_seats(np.array([12, 3, 5]), np.array([0, 3, 0]), count)
        assert now.sum() == count
        assert np.all(now >= before)
        before = now


# The graph in files


def in_files(x: NDArray[Any], neighbors: int) -> Any:
    task = Task(as_store("x", x).within("30MB"), [1], np.zeros(0, np.int64), None, 0, 1)
    own = x.any(axis=1).astype(np.float64)
    with edge_files.edges_in_files(task, neighbors, lambda c: np.maximum(c, 0.0), own) as edges:
        return type(edges)(*(np.array(field) for field in edges))


@pytest.mark.parametrize(("an_edge", "a_list"), [(72, 48), (9_000, 48), (10**7, 3_000)])
@pytest.mark.parametrize("neighbors", [1, 6, 129])
def test_edges_in_files_are_those_in_memory(
    neighbors: int, an_edge: int, a_list: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For parts of any size, hubs that do not fit into one, copies and rows of zeros."""
    monkeypatch.setattr(edge_files, "_EDGE", an_edge)
    monkeypatch.setattr(edge_files, "_LIST", a_list)
    monkeypatch.setattr(edge_files, "_READ", a_list)
    x = cloud(130, 7, copies=False)
    x[20:40] = x[3]  # more copies than neighbours: a sample is not among its own nearest
    x[50:53] = 0.0
    similarity, indices = mf.topk_similarity(x, k=neighbors)
    wanted = edges_to(indices, np.maximum(similarity, 0.0), x.any(axis=1).astype(float))
    for found, right in zip(in_files(x, neighbors), wanted, strict=True):
        np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize("options", [{}, {"kernel": "top-hat", "hops": 1}, {"labels": True}])
def test_a_graph_beyond_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(60, 8))[rng.integers(60, size=9000)] + 0.3 * rng.normal(size=(9000, 8))
    x = x.astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    if "labels" in options:
        options = {"labels": np.where(np.arange(9000) < 300, "few", "many")}
    used: list[int] = []
    module = sys.modules["meddel_fast.selectors.coverage"]  # the function has the same name
    whole = module.edges_in_files

    def told(task: Task, *rest: Any) -> Any:
        used.append(task.n)
        return whole(task, *rest)

    monkeypatch.setattr(module, "edges_in_files", told)
    options = options | {"neighbors": 30, "exclude": np.arange(9000) == 77}
    budgets = [30, 300]
    wanted = select("coverage", x, budgets, **options)
    assert not used
    store = open_store(tmp_path / "x.npy", memory="35MB")
    assert_equal(select("coverage", store, budgets, **options), wanted)
    assert used == ([8999] if "labels" not in options else [8700])
    with pytest.raises(ValueError, match=r"memory must be at least 3\d+ bytes for the coverage of"):
        select("coverage", x, budgets, memory="20MB", **options)


def test_what_would_read_outside_is_refused() -> None:
    start, source, value = np.array([0, 1, 2]), np.array([0, 1]), np.ones(2)
    for hops in (0, 3):
        with pytest.raises(ValueError, match="hops must be 1 or 2"):
            _core.facility(start, source, value, None, [0], [2], hops, 1)
