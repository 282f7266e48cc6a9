"""Selectors: exact counts, known answers, the paper's rules restated by brute force."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import blobs

from meddel_fast import selectors
from meddel_fast.arrays import check_budget
from meddel_fast.selectors import METHODS, SELECTORS, Selection, meddel, select, select_ladder
from meddel_fast.selectors.base import random_keys
from meddel_fast.selectors.clusters import default_clusters

VARIANTS = [
    ("random", {}),
    ("kcenter", {}),
    ("kcenter", {"metric": "cosine", "start": 3}),
    ("semdedup", {}),
    ("semdedup", {"keep": "near"}),
    ("semdedup", {"keep": "random", "seed": 5}),
    ("meddel", {}),
    ("meddel", {"rule": "greedy"}),
    ("meddel", {"rule": "components"}),
    ("meddel", {"disruptive_fraction": 0.2, "deviations": 0}),
    ("meddel", {"epsilon": 2.0}),
    ("meddel", {"rule": "components", "keep": "near", "epsilon": 0.2}),
    ("prototypes", {}),
    ("prototypes", {"keep": "easy"}),
    ("stratified", {}),
    ("d4", {}),
    ("d4", {"dedup": 0.5, "keep": "easy", "sweep": "near", "clusters": 3}),
    ("density", {}),
    ("density", {"keep": "easy", "temperature": 0.02, "nearest": 2}),
    ("hierarchical", {}),
    ("hierarchical", {"levels": [5, 2], "inside": "closest", "metric": "cosine"}),
    ("hierarchical", {"levels": [6, 3, 2], "inside": "farthest", "resamplings": [1, 0, 2]}),
    ("moderate", {}),
    ("facility", {}),
    ("facility", {"neighbors": 3}),
    ("facility", {"greedy": "stochastic", "seed": 2}),
    ("craig", {}),
    ("craig", {"neighbors": 4}),
    ("coverage", {}),
    ("coverage", {"neighbors": 3, "hops": 1, "kernel": "top-hat"}),
    ("graphcut", {}),
    ("graphcut", {"neighbors": 3, "trade_off": 0.8}),
    ("herding", {}),
    ("d2", {}),
    ("d2", {"neighbors": 2, "reverse": 0.1}),
    ("ccs", {}),
    ("ccs", {"strata": 4, "cutoff": 0.2}),
    ("loss", {}),
    ("loss", {"keep": "low"}),
    ("retrieve", {}),
    ("retrieve", {"each": 2, "dedup": 0.5, "unlike": np.eye(7), "strength": 0.9}),
    ("retrieve", {"mode": "cluster", "dedup": 0.9}),
    ("combine", {}),
    ("combine", {"objectives": {"typicality": -0.5, "diversity": 2, "dedup": 0.5}}),
    ("combine", {"objectives": {"like": 1, "dedup": 0.9}, "like": np.ones((2, 7))}),
]


def given(name: str, n: int, d: int = 6) -> dict[str, Any]:
    """The options that a method cannot do without, for the first n rows of the tests' data."""
    score = np.random.default_rng(8).integers(0, 6, 200)[:n].astype(np.float32)
    seeds = np.float32([[1, 2, 0, 0, 1, 2, 0], [0, 1, 3, -1, 0, 0, 1]])[:, :d]
    return {option: {"score": score, "like": seeds}[option] for option in METHODS[name].needs}


def fitting(options: dict[str, Any], d: int = 6) -> dict[str, Any]:
    """Options of a variant, for samples of so many columns."""
    return {k: v[:, :d] if k in ("like", "unlike") else v for k, v in options.items()}


def of_rows(name: str, options: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """What `given` gives, for some of the samples."""
    each = METHODS[name].per_sample
    return {key: value[rows] if key in each else value for key, value in options.items()}


pytestmark = pytest.mark.filterwarnings(
    "ignore:retrieve. kept", "ignore:combine. .* are near copies"
)
NAMES = [name + "".join(f"-{k}={v}" for k, v in options.items()) for name, options in VARIANTS]
variants = pytest.mark.parametrize(("name", "options"), VARIANTS, ids=NAMES)
may_remove_nothing = pytest.mark.filterwarnings("ignore:meddel. epsilon = 0.2 removed nothing")


def cosines(x: np.ndarray) -> np.ndarray:
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30)
    return unit @ unit.T


def check_consistent(s: Selection, n: int, count: int) -> None:
    """Assert what holds for every selection of every method."""
    assert s.n == n
    assert len(s) == count
    assert s.indices.dtype == s.order.dtype == np.int64
    assert np.array_equal(np.sort(s.order), s.indices)
    assert len(np.unique(s.indices)) == count
    assert 0 <= s.indices[0] <= s.indices[-1] < n
    assert s.mask.sum() == count
    assert np.array_equal(s.reason == "kept", s.mask)
    assert sum(s.counts().values()) == n
    repeats = s.reason == "duplicate"
    assert np.array_equal(s.duplicate_of >= 0, repeats)
    assert np.array_equal(np.isfinite(s.similarity), repeats)
    assert np.all(s.duplicate_of[repeats] != np.flatnonzero(repeats))
    for field in (s.scores, s.reason, s.duplicate_of, s.similarity, s.distance, s.cluster):
        assert field.shape == (n,)
    assert not np.isnan(s.scores).any()
    if count < n:
        assert s.scores[s.mask].min() >= s.scores[~s.mask].max()


def same(a: Selection, b: Selection) -> bool:
    fields = ("indices", "order", "scores", "duplicate_of", "similarity", "distance", "cluster")
    return (
        (a.method, a.n, a.settings) == (b.method, b.n, b.settings)
        and all(np.array_equal(getattr(a, f), getattr(b, f), equal_nan=True) for f in fields)
        and np.array_equal(a.reason, b.reason)
    )


@variants
def test_every_budget_is_met_exactly(name: str, options: dict[str, Any]) -> None:
    x = blobs(24)
    ladder = select_ladder(name, x, list(range(1, 25)), **fitting(options), **given(name, 24))
    for count, selection in enumerate(ladder, start=1):
        check_consistent(selection, 24, count)
    nested = METHODS[name].nested or (name == "meddel" and options.get("rule") != "greedy")
    if nested and options.get("greedy") != "stochastic":
        for smaller, larger in itertools.pairwise(ladder):
            assert set(smaller.indices) < set(larger.indices)


@may_remove_nothing
@variants
def test_degenerate_input(name: str, options: dict[str, Any]) -> None:
    same_rows = np.tile(np.float32([[1, 2, 3, 4, 5]]), (7, 1))
    options = {
        k: v
        for k, v in options.items()
        if k not in ("start", "neighbors", "clusters", "levels", "resamplings")
    }
    for x in (same_rows, np.zeros((7, 5), np.float32), np.eye(7, dtype=np.float32)):
        for count in range(1, 8):
            d = x.shape[1]
            more = fitting(options, d) | given(name, 7, d)
            check_consistent(select(name, x, count, **more), 7, count)
    options = fitting(options, 3) | given(name, 1, 3)
    check_consistent(select(name, np.ones((1, 3)), 1, **options), 1, 1)
    check_consistent(select(name, np.ones((1, 3)), 0.01, **options), 1, 1)


@variants
def test_ladder_equals_single_budgets_and_repeats(name: str, options: dict[str, Any]) -> None:
    x = blobs()
    options = fitting(options) | given(name, 40)
    budgets = [1, 0.05, 0.33, 17, 1.0]
    for budget, selection in zip(budgets, select_ladder(name, x, budgets, **options), strict=True):
        assert same(selection, select(name, x, budget, **options))
        assert same(selection, select(name, x, budget, threads=1, **options))


@variants
def test_save_and_load(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    selection = select(name, blobs(), 0.3, **fitting(options), **given(name, 40))
    selection.save(tmp_path / "s.parquet", ids=[f"frame <{i}>.jpg" for i in range(40)])
    assert same(Selection.load(tmp_path / "s.parquet"), selection)
    assert [p.name for p in tmp_path.iterdir()] == ["s.parquet"]


@pytest.mark.parametrize("name", [n for n in SELECTORS if n not in ("random", "loss")])
def test_kinds_of_input_agree(name: str) -> None:
    x = np.round(blobs() * 8).astype(np.int8)
    more = given(name, 40)
    expected = select(name, x, 0.3, **more)
    strided = np.repeat(x.astype(np.float32), 2, axis=1)[:, ::2]
    for other in (x.astype(np.float16), x.astype(np.float32), x.astype(np.float64), strided):
        assert same(select(name, other, 0.3, **more), expected)


def test_torch_tensors_are_taken() -> None:
    torch = pytest.importorskip("torch")
    x = blobs()
    for name in SELECTORS:
        more = given(name, 40)
        assert same(select(name, torch.from_numpy(x), 0.3, **more), select(name, x, 0.3, **more))
        brain, wide = torch.from_numpy(x).bfloat16(), torch.from_numpy(x).bfloat16().float()
        assert same(select(name, brain, 0.3, **more), select(name, wide.numpy(), 0.3, **more))


def restated_semdedup(
    x: np.ndarray, label: np.ndarray, distance: np.ndarray, keep: str
) -> np.ndarray:
    """M of SemDeDup, straight from its description, one cluster and one pair at a time."""
    similarity = cosines(x.astype(np.float64))
    m = np.zeros(len(x))
    for c in np.unique(label):
        members = list(np.flatnonzero(label == c))
        sign = -1 if keep == "far" else 1
        members.sort(key=lambda i: (sign * distance[i], i))
        for position, j in enumerate(members):
            m[j] = max([0.0] + [similarity[i, j] for i in members[:position]])
    return m


@pytest.mark.parametrize("keep", ["far", "near"])
def test_semdedup_is_its_description(keep: str) -> None:
    x = blobs(60, seed=3)
    selection = select("semdedup", x, 20, keep=keep, clusters=5)
    m = restated_semdedup(x, selection.cluster, selection.distance, keep)
    assert np.allclose(-selection.scores, m, atol=1e-12)
    assert set(selection.indices) == set(np.lexsort((np.arange(60), -selection.scores))[:20])
    eta, tied = selection.settings["eta"], selection.settings["tied"]
    assert eta == -selection.scores[selection.indices].min()
    assert np.count_nonzero(-selection.scores <= eta) == 20 + tied
    assert np.all(selection.similarity[selection.reason == "duplicate"] >= eta)


def test_similarity_is_the_cosine_to_the_duplicate_named() -> None:
    x = blobs()
    for rule in ("semdedup", "greedy", "components"):
        s = meddel(x, 12, rule=rule)
        rows = np.flatnonzero(s.reason == "duplicate")
        assert len(rows) > 10
        if rule != "components":  # there, the representative of a chain may be far away
            assert np.all(s.similarity[rows] > s.settings["eta"] - 1e-12)
        expected = cosines(x.astype(np.float64))[rows, s.duplicate_of[rows]]
        assert np.allclose(s.similarity[rows], expected, atol=1e-12)
        assert np.array_equal(s.cluster[rows], s.cluster[s.duplicate_of[rows]])


def test_keep_names_the_survivor() -> None:
    x = np.float32([[1, 0], [1, 0.30], [1, 0.31], [1, -0.5]])
    far, near = (meddel(x, 3, keep=keep, clusters=1) for keep in ("far", "near"))
    assert far.distance[2] > far.distance[1]
    assert list(np.flatnonzero(~far.mask)) == [1]
    assert list(np.flatnonzero(~near.mask)) == [2]


def test_rules_differ_as_described_on_a_chain() -> None:
    """0 - 1 - 2 - 3 in steps of 20 degrees; neighbours count as duplicates, others do not."""
    angles = np.radians([0, 20, 40, 60, 180])
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    kept = {
        rule: [set(s.indices) for s in selectors.meddel_ladder(
            x, [1, 2, 3, 4, 5], rule=rule, clusters=1, epsilon=2.0, keep="near"
        )]
        for rule in ("semdedup", "greedy", "components")
    }  # fmt: skip
    order = np.argsort(meddel(x, 5, clusters=1, epsilon=2.0).distance, kind="stable")
    first = int(order[0])
    for rule in kept:
        assert [len(s) for s in kept[rule]] == [1, 2, 3, 4, 5]
    assert kept["components"][1] == {first, 4}  # the whole chain is one component
    chain_ends = {0, 1, 2, 3} - kept["greedy"][2]
    assert len(chain_ends) == 2  # a kept sample covers its neighbours only


@may_remove_nothing
def test_exact_copies_tie_to_the_lowest_index() -> None:
    x = np.tile(np.float32([[3, 1, 2]]), (6, 1))
    for name, options in VARIANTS:
        drawn = (
            name in ("random", "stratified", "ccs", "hierarchical")
            or options.get("keep") == "random"
        )
        drawn = drawn or options.get("greedy") == "stochastic" or "mode" in options
        if drawn or "start" in options or "disruptive_fraction" in options:
            continue
        if "neighbors" in options or name == "d2":  # 0 is a neighbour of all copies, 5 of none
            continue
        options = fitting(options, 3) | given(name, 6, 3)
        if name == "loss":
            options["score"] = np.ones(6)
        assert list(select(name, x, 2, **options).order) == [0, 1]


def test_permuted_rows_permute_the_selection() -> None:
    x = np.delete(blobs(80, d=12), [5, 7, 9], axis=0)  # no ties left
    permutation = np.random.default_rng(4).permutation(len(x))
    for rule in ("semdedup", "greedy", "components"):
        a = meddel(x, 20, rule=rule, clusters=1)
        b = meddel(x[permutation], 20, rule=rule, clusters=1)
        assert set(permutation[b.indices]) == set(a.indices)
    start = int(np.flatnonzero(permutation == 0)[0])
    a, b = select("kcenter", x, 15), select("kcenter", x[permutation], 15, start=start)
    assert np.array_equal(permutation[b.order], a.order)


def test_kcenter_spreads_and_reports_its_radius() -> None:
    x = np.float32([[0, 0], [0.1, 0], [10, 0], [10.1, 0], [5, 7]])
    s = select("kcenter", x, 3)
    assert list(s.order) == [0, 3, 4]
    assert s.settings["radius"] == pytest.approx(0.1, abs=1e-6)
    assert s.scores[0] == math.inf
    assert np.all(np.diff(s.scores[s.order]) <= 0)


def test_prototypes_ranks_by_distance() -> None:
    x = blobs()
    hard, easy = (select("prototypes", x, 8, keep=keep) for keep in ("hard", "easy"))
    assert hard.distance[hard.mask].min() >= hard.distance[~hard.mask].max()
    assert easy.distance[easy.mask].max() <= easy.distance[~easy.mask].min()


def test_random_draws_are_pinned_and_fair() -> None:
    assert list(select("random", np.ones((10, 1)), 4).order) == [3, 9, 0, 7]
    assert not np.array_equal(random_keys(100, 0), random_keys(100, 1))
    assert np.array_equal(random_keys(50, 3), random_keys(100, 3)[:50])
    keys = random_keys(20_000, 11)
    assert np.abs(np.histogram(keys, 10, (0, 1))[0] - 2000).max() < 200


@pytest.mark.parametrize(
    ("budget", "n", "count"),
    [(1, 9, 1), (9, 9, 9), (1.0, 9, 9), (0.5, 9, 5), (0.05, 10, 1), (0.01, 10, 1), (0.33, 100, 33)],
)
def test_budgets(budget: float, n: int, count: int) -> None:
    assert check_budget(budget, n) == count
    with pytest.raises(ValueError, match=rf"from 1 to {n} \(the rows of x\), got {n + 1}"):
        check_budget(n + 1, n)


def test_a_selection_is_not_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        select("random", blobs(), 3).n = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (ValueError, "budget.*1 to 40.*got 0", lambda x: select("random", x, 0)),
        (ValueError, "budget.*1 to 40.*got 41", lambda x: select("random", x, 41)),
        (ValueError, "budget must be.*share.*got 1.5", lambda x: select("kcenter", x, 1.5)),
        (ValueError, "budget must be.*share.*got 0.0", lambda x: select("kcenter", x, 0.0)),
        (ValueError, "budget must be.*share.*got -0.5", lambda x: select("kcenter", x, -0.5)),
        (ValueError, "budget.*got nan", lambda x: select("kcenter", x, math.nan)),
        (TypeError, "budget.*got str", lambda x: select("kcenter", x, "all")),
        (TypeError, "budget.*got bool", lambda x: select("kcenter", x, True)),
        (ValueError, "name must be one of 'random'.*'best'", lambda x: select("best", x, 3)),
        (TypeError, "random: no option epsilon", lambda x: select("random", x, 3, epsilon=1)),
        (ValueError, "x must be.*shape \\(6,\\)", lambda x: select("random", x[0], 3)),
        (
            ValueError,
            "x must have at least one row.*\\(0, 6\\)",
            lambda x: select("meddel", x[:0], 3),
        ),
        (
            ValueError,
            "x must have at least one row.*\\(40, 0\\)",
            lambda x: select("meddel", x[:, :0], 3),
        ),
        (TypeError, "x must be float32.*int64", lambda x: select("kcenter", x.astype(int), 3)),
        (ValueError, "clusters.*1 to 40.*41", lambda x: select("semdedup", x, 3, clusters=41)),
        (TypeError, "clusters.*got float", lambda x: select("semdedup", x, 3, clusters=2.0)),
        (ValueError, "keep must be.*'hard'", lambda x: select("semdedup", x, 3, keep="hard")),
        (ValueError, "keep must be.*got 'far'", lambda x: select("prototypes", x, 3, keep="far")),
        (ValueError, "rule must be.*'best'", lambda x: meddel(x, 3, rule="best")),
        (ValueError, "epsilon must be from 0 to 2, got -1", lambda x: meddel(x, 3, epsilon=-1)),
        (TypeError, "epsilon.*'paper'", lambda x: meddel(x, 3, epsilon="paper")),
        (ValueError, "disruptive_fraction.*1.1", lambda x: meddel(x, 3, disruptive_fraction=1.1)),
        (TypeError, "loss: needs score", lambda x: select("loss", x, 3)),
        (ValueError, "seed.*at least 0", lambda x: select("random", x, 3, seed=-1)),
        (ValueError, "start.*0 to 39.*40", lambda x: select("kcenter", x, 3, start=40)),
        (ValueError, "metric.*'l1'", lambda x: select("kcenter", x, 3, metric="l1")),
        (ValueError, "max_iterations", lambda x: select("meddel", x, 3, max_iterations=0)),
    ],
)
def test_refusals_name_the_argument(error: type[Exception], text: str, call: Any) -> None:
    with pytest.raises(error, match=text):
        call(blobs())


@pytest.mark.parametrize("name", list(SELECTORS))
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_rows_are_named(name: str, bad: float) -> None:
    x = blobs()
    x[13, 2] = x[30, 1] = bad
    with pytest.raises(ValueError, match=r"x must be finite.* row 13"):
        select(name, x, 3, **given(name, 40))


def test_files_that_are_no_selections_are_refused(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    with pytest.raises(FileNotFoundError):
        Selection.load(tmp_path / "absent.parquet")
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(ValueError, match="is not a Parquet file"):
        Selection.load(tmp_path / "text.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="not a saved selection"):
        Selection.load(tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="ids must be one for each of 40 samples, got 1"):
        select("random", blobs(), 3).save(tmp_path / "s.parquet", ids=["a"])


def test_tables_agree() -> None:
    assert list(METHODS) == list(SELECTORS)
    assert all(m.paper and m.cost and m.good_for and m.exact for m in METHODS.values())
    assert {m.name for m in METHODS.values() if not m.nested} == {"meddel", "d4", "density"}
    assert [default_clusters(n) for n in (1, 4, 100, 2000, 88_282)] == [1, 1, 5, 22, 149]
