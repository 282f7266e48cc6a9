"""Selectors over a group: the selection of one process, on each rank, or a refusal by name."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import clustered
from thread_group import ThreadGroup, on_ranks

import meddel_fast as mf
from meddel_fast.selectors import METHODS, SELECTORS, Selection
from meddel_fast.sharded import SoloGroup, Spread
from meddel_fast.sharded.parts import Settings
from meddel_fast.stores.store import LocalRows, open_store

N, D = 3200, 8
HOW: dict[str, Any] = {"memory": "30MB", "threads": 1}
FIELDS = (
    *("order", "scores", "reason", "duplicate_of", "similarity", "distance", "cluster"),
)  # fmt: skip
RNG = np.random.default_rng(0)
X = clustered(RNG, N, D, centres=30)
X[3000:3030] = X[5]  # copies in two ranks' rows
X[3100] = 0.0
EACH: dict[str, Any] = {
    "exclude": RNG.random(N) < 0.1,
    "weights": RNG.uniform(0.5, 1.0, N),
    "groups": np.array([f"patient {i * 7}" for i in np.sort(RNG.integers(12, size=N))]),
    "score": RNG.gamma(2.0, size=N).astype(np.float32),
    "strata": np.array(["left", "right"])[RNG.integers(2, size=N)],
    "labels": RNG.integers(3, size=N).astype(np.int8),
}
SELECTED = np.flatnonzero(~EACH["exclude"])[[9, 2500, 40]]
BUDGETS = [40, 0.1]
CUTS = {1: [], 2: [1700], 4: [700, 900, 900]}  # of 700, 200, 0 and 2,300 rows: no whole blocks
OWN: dict[str, dict[str, Any]] = {
    "meddel": {"rule": "greedy", "max_iterations": 3},
    "facility": {"neighbors": 4},
    "craig": {"neighbors": 3},
    "graphcut": {"neighbors": 3},
    "d2": {"neighbors": 3},
    "coverage": {"neighbors": 3},
    "hierarchical": {"levels": [60, 8], "resamplings": [1, 2]},
}
SHARED_WORK = [name for name, method in METHODS.items() if method.processes]


def options(name: str, part: slice) -> dict[str, Any]:
    """All that a method takes, of a range of rows."""
    takes = {*METHODS[name].per_sample, "exclude", "groups"}
    if METHODS[name].weights:
        takes.add("weights")
    own = {"max_iterations": 4} if "max_iterations" in METHODS[name].checks else {}
    if name in ("stratified", "moderate", "ccs"):
        takes -= {*METHODS[name].per_sample}  # k-means instead
    takes -= {"hierarchy"}
    each = {key: EACH[key][part] for key in takes}
    return own | OWN.get(name, {}) | each | {"selected": SELECTED}


@functools.cache
def alone(name: str) -> list[Selection]:
    return SELECTORS[name](X, BUDGETS, **options(name, slice(None)))


def assert_equal(found: Any, wanted: list[Selection]) -> None:
    if isinstance(found, BaseException):
        raise found
    for one, other in zip(found, wanted, strict=True):
        assert one.settings == other.settings
        for field in FIELDS:
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field), field)


def own_rows(group: ThreadGroup) -> slice:
    cuts = [0, *CUTS[group.size], N]
    return slice(cuts[group.rank], cuts[group.rank + 1])


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("group") / "x.npy"
    np.save(path, X)
    return path


@pytest.mark.parametrize(
    ("name", "size"),
    [*((name, size) for name in SHARED_WORK for size in (2, 4)), ("d4", 1), ("coverage", 1)],
)
def test_a_store_that_all_read(path: Path, name: str, size: int) -> None:
    def select(group: ThreadGroup) -> Any:
        more = options(name, slice(None))
        return SELECTORS[name](open_store(path), BUDGETS, group=group, **HOW, **more)

    for found in on_ranks(size, select):
        assert_equal(found, alone(name))


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("name", SHARED_WORK)
def test_rows_and_values_that_each_has(name: str, size: int) -> None:
    def select(group: ThreadGroup) -> Any:
        part = own_rows(group)
        more = options(name, part)
        return SELECTORS[name](LocalRows(X[part]), BUDGETS, group=group, **HOW, **more)

    for found in on_ranks(size, select):
        assert_equal(found, alone(name))


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("meddel", {"rule": "components", "clusters": 5, "max_iterations": 2}),
        ("moderate", {"labels": None}),
        ("kcenter", {"groups": None, "group_rule": "split"}),
        ("prototypes", {"groups": None, "group_rule": "split", "max_iterations": 2}),
        ("coverage", {"neighbors": 3, "labels": None, "strata": None}),
        ("hierarchical", {"levels": [1100, 20], "resamplings": 1, "max_iterations": 2}),
        ("kcenter", {"strata": None, "target": {"left": 0.8}}),
    ],
)
def test_other_ways_of_a_method(name: str, more: dict[str, Any]) -> None:
    def given(part: slice) -> dict[str, Any]:
        found = {k: EACH[k][part] if v is None else v for k, v in more.items()}
        return {"classes" if k == "strata" else k: v for k, v in found.items()}

    wanted = [SELECTORS[name](X, 100, **given(slice(None)))]

    def select(group: ThreadGroup) -> Any:
        part = own_rows(group)
        return [SELECTORS[name](LocalRows(X[part]), 100, group=group, **HOW, **given(part))]

    for found in on_ranks(4, select):
        assert_equal(found, wanted)


def test_a_tree_of_a_group(path: Path) -> None:
    wanted = mf.selectors.build_hierarchy(X, [60, 8], resamplings=1)
    alone = mf.selectors.hierarchical(X, BUDGETS, hierarchy=wanted)

    def read(group: ThreadGroup) -> Any:
        x = open_store(path)
        tree = mf.selectors.build_hierarchy(x, [60, 8], resamplings=1, group=group, **HOW)
        found = mf.selectors.hierarchical(x, BUDGETS, hierarchy=tree, group=group, **HOW)
        return found, tree.data_sha256, tree

    def have(group: ThreadGroup) -> Any:
        x = LocalRows(X[own_rows(group)])
        tree = mf.selectors.build_hierarchy(x, [60, 8], resamplings=1, group=group, **HOW)
        with pytest.raises(ValueError, match="hierarchy must be made of LocalRows, or x be no"):
            mf.selectors.hierarchical(x, 5, hierarchy=wanted, group=group, **HOW)
        found = mf.selectors.hierarchical(x, BUDGETS, hierarchy=tree, group=group, **HOW)
        return found, tree.data_sha256, tree

    for work, sha256 in ((read, wanted.data_sha256), (have, "")):
        for result in on_ranks(2, work):
            if isinstance(result, BaseException):
                raise result
            found, said, tree = result
            assert_equal(found, alone)
            assert said == sha256
            for one, other in zip(tree.assignments, wanted.assignments, strict=True):
                np.testing.assert_array_equal(one, other)


def test_types_of_rows() -> None:
    torch = pytest.importorskip("torch")
    for x in (X.astype(np.float16), X.astype(np.float64), torch.from_numpy(X).bfloat16()):
        wanted = [mf.selectors.prototypes(x, 50, max_iterations=2)]

        def select(group: ThreadGroup, x: Any = x) -> Any:
            rows = LocalRows(x[own_rows(group)])
            return [mf.selectors.prototypes(rows, 50, max_iterations=2, group=group, **HOW)]

        for found in on_ranks(4, select):
            assert_equal(found, wanted)


def test_some_rows_begin_at_blocks() -> None:
    """Rows that are taken out are handed on, so that k-means may go on."""
    which = np.flatnonzero(np.random.default_rng(1).random(N) < 0.9)

    def take(group: ThreadGroup) -> Any:
        spread = Spread(LocalRows(X[own_rows(group)]), Settings(10**8, group, 1))
        some = spread[which][np.arange(1, len(which))]
        own = some.own
        rows = own.rows(0, len(own)) if len(own) else np.empty((0, D), np.float32)
        return some.own_slice, some.shape, rows

    found: list[Any] = on_ranks(4, take)
    assert {shape for _, shape, _ in found} == {(len(which) - 1, D)}
    assert all(here.start % 1024 == 0 or here.start == here.stop for here, _, _ in found)
    assert [here.stop for here, _, _ in found[:-1]] == [here.start for here, _, _ in found[1:]]
    np.testing.assert_array_equal(np.concatenate([rows for *_, rows in found]), X[which[1:]])


@pytest.mark.parametrize("name", SELECTORS)
def test_methods_that_one_process_works_on(name: str) -> None:
    if METHODS[name].processes:
        assert "join_group" in (SELECTORS[name].__doc__ or "")
        return
    with pytest.raises(ValueError, match=f"group must be None for {name}, which one process works"):
        SELECTORS[name](X, 5, group=SoloGroup(), **dict.fromkeys(METHODS[name].needs, X))


OPERATIONS = {
    "kmeans": lambda g: mf.kmeans(X, 2, group=g),
    "kcenter": lambda g: mf.kcenter_greedy(X, 2, group=g),
    "pairs": lambda g: mf.similar_pairs(X, group=g),
    "redundancy": lambda g: mf.redundancy(X, group=g),
    "topk": lambda g: mf.topk_similarity(X, group=g),
    "deduplicate": lambda g: mf.deduplicate(X, group=g),
    "select": lambda g: mf.selectors.random(X, 5, group=g),
    "select by name": lambda g: mf.selectors.select("meddel", X, 5, group=g),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("group", ["world", 3, SoloGroup, object()])
def test_what_is_no_group_is_refused(name: str, group: Any) -> None:
    with pytest.raises(TypeError, match=r"group must be a group of processes, .*join_group.*, got"):
        OPERATIONS[name](group)


def test_a_rank_of_its_own_rows_needs_a_group() -> None:
    with pytest.raises(TypeError, match="x must be all rows without a group, got LocalRows"):
        mf.selectors.random(LocalRows(X), 5)


@pytest.mark.parametrize(
    ("kind", "text", "weights"),
    [
        (TypeError, r"weights must be of shape \(1700,\).* \(3,\) \(found by rank 0\)", [1.0] * 3),
        (TypeError, "weights must be of one type on all ranks, got None, float64", None),
        (TypeError, "weights must be of one type on all ranks, got <U1, float64", ["a"] * 1700),
        (TypeError, "weights must be of one type on all ranks, got int64, float64", [1] * 1700),
        (ValueError, "weights must be above 0", [0.0] * 1700),
    ],
)
def test_what_one_rank_gives_wrong_all_say(kind: Any, text: str, weights: Any) -> None:
    def select(group: ThreadGroup) -> Any:
        part = own_rows(group)
        given = EACH["weights"][part] if group.rank else weights
        return mf.selectors.random(LocalRows(X[part]), 5, weights=given, group=group)

    for found in on_ranks(2, select):
        with pytest.raises(kind, match=text):
            assert_equal(found, [])


def test_widths_of_whole_numbers_and_texts_may_differ() -> None:
    names, codes = EACH["groups"], EACH["labels"]

    def select(group: ThreadGroup) -> Any:
        part = own_rows(group)
        groups = names[part].astype("<U30" if group.rank else "<U20")
        labels = codes[part].astype(np.uint8 if group.rank else np.int64)
        rows = LocalRows(X[part])
        return [mf.selectors.moderate(rows, 40, labels=labels, groups=groups, group=group)]

    wanted = [mf.selectors.moderate(X, 40, labels=codes, groups=names)]
    for found in on_ranks(2, select):
        assert_equal(found, wanted)


def test_a_bad_row_of_one_rank_all_say() -> None:
    bad = X.copy()
    bad[3050, 3] = np.nan

    def local(group: ThreadGroup) -> Any:
        return mf.selectors.random(LocalRows(bad[own_rows(group)]), 5, group=group)

    def shared(group: ThreadGroup) -> Any:
        return mf.selectors.loss(bad, 5, score=EACH["score"], group=group)

    for select in (local, shared):
        for found in on_ranks(2, select):
            with pytest.raises(ValueError, match=r"NaN or infinity in row 3050 \(found by rank 1"):
                assert_equal(found, [])


def test_the_least_budget_is_that_of_all() -> None:
    def select(group: ThreadGroup) -> Any:
        memory = "1GB" if group.rank else "3MB"
        return mf.selectors.facility(X, 5, neighbors=30, memory=memory, group=group)

    for found in on_ranks(2, select):
        with pytest.raises(ValueError, match=r"memory must be at least .*, got 3000000"):
            assert_equal(found, [])


def test_a_graph_in_files_of_each_rank() -> None:
    x = np.concatenate([X, X[:3000] + 0.01])
    wanted = [mf.selectors.coverage(x, 60, neighbors=40)]

    def select(group: ThreadGroup) -> Any:
        return [mf.selectors.coverage(x, 60, neighbors=40, group=group, memory="33MB", threads=1)]

    for found in on_ranks(2, select):
        assert_equal(found, wanted)
