"""The tree of clusters and the balanced selection down it, restated and by hand.

Longer than 450 lines because the restatements serve the tests of trees and of selections alike.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from samples import clustered
from test_selectors import same

import meddel_fast as mf
from meddel_fast import reference
from meddel_fast.selectors import HierarchyResult, build_hierarchy, hierarchical, select
from meddel_fast.selectors.cluster_levels import closest_members, default_levels

Int = np.ndarray[Any, np.dtype[np.int64]]


def tree_of(*assignments: list[int], d: int = 3) -> HierarchyResult:
    """A tree given by its assignments, each sample as far from its centroid as its index."""
    counts = [max(a) + 1 for a in assignments]
    return HierarchyResult(
        tuple(np.array(a, np.int64) for a in assignments),
        tuple(np.zeros((k, d), np.float32) for k in counts),
        np.arange(len(assignments[0]), dtype=np.float64),
        {},
    )


def rows_of(tree: HierarchyResult) -> np.ndarray:
    return np.ones((tree.n, 3), np.float32)


def random_tree(rng: np.random.Generator, n: int, levels: list[int]) -> HierarchyResult:
    """Clusters of very different sizes, none of them empty."""
    below, assignments = n, []
    for k in levels:
        drawn = np.minimum((k * rng.random(below) ** 3).astype(int), k - 1)
        drawn[rng.permutation(below)[:k]] = np.arange(k)
        assignments.append(drawn.tolist())
        below = k
    return tree_of(*assignments)


# The cut


def cut(sizes: list[int], wanted: int) -> Fraction:
    """The t with sum of min(size, t) = wanted, as a fraction: on one piece this is linear."""
    for low in range(max(sizes) + 1):
        have = sum(min(size, low) for size in sizes)
        above = sum(size > low for size in sizes)
        if have + above >= wanted and above:
            return low + Fraction(wanted - have, above)
    return Fraction(max(sizes))


def check_cut(children: list[Int], mask: np.ndarray, wanted: int) -> None:
    """Of each child min(size, t), t rounded down or up."""
    t = cut([len(child) for child in children], wanted)
    kept = [int(mask[child].sum()) for child in children]
    assert sum(kept) == wanted
    for child, count in zip(children, kept, strict=True):
        share = min(Fraction(len(child)), t)
        assert abs(count - share) < 1, (len(child), t, kept)


@pytest.mark.parametrize("levels", [[1], [6], [17, 5], [30, 9, 3], [25, 12, 6, 2]])
@pytest.mark.parametrize("inside", ["random", "closest", "farthest"])
def test_every_cluster_gets_what_the_cut_says(levels: list[int], inside: str) -> None:
    rng = np.random.default_rng(len(levels))
    tree = random_tree(rng, 120, levels)
    samples = [tree.labels(level) for level in range(len(levels))]
    everything = np.arange(120)
    ladder = hierarchical(rows_of(tree), list(range(1, 121)), hierarchy=tree, inside=inside, seed=4)
    for budget, found in enumerate(ladder, start=1):
        roots = [everything[samples[-1] == c] for c in range(levels[-1])]
        check_cut(roots, found.mask, budget)
        for level in range(len(levels) - 1, 0, -1):
            for c in range(levels[level]):
                inner = np.flatnonzero(tree.assignments[level] == c)
                children = [everything[samples[level - 1] == child] for child in inner]
                check_cut(children, found.mask, int(found.mask[samples[level] == c].sum()))
        if inside != "random":
            for c in range(levels[0]):
                members = everything[samples[0] == c]
                count = int(found.mask[members].sum())
                best = members[:count] if inside == "closest" else members[len(members) - count :]
                assert np.array_equal(np.flatnonzero(found.mask & (samples[0] == c)), best)


def test_who_gets_one_more_is_drawn_and_comes_to_the_cut_on_average() -> None:
    tree = tree_of([0] * 2 + [1] * 9 + [2] * 9 + [3] * 9)  # 2 + 3 t = 12: t = 10 / 3
    counts = [
        np.bincount(
            tree.assignments[0][hierarchical(rows_of(tree), 12, hierarchy=tree, seed=s).indices],
            minlength=4,
        )
        for s in range(300)
    ]
    assert {tuple(sorted(c)) for c in counts} == {(2, 3, 3, 4)}
    assert np.abs(np.mean(counts, axis=0) - [2, 10 / 3, 10 / 3, 10 / 3]).max() < 0.1


def test_by_hand() -> None:
    """Coarse clusters {0..4}, {5..11}; the second has {5} and {6..11} inside."""
    tree = tree_of([0, 0, 0, 1, 1, 2, *[3] * 6], [0, 0, 1, 1])
    x = rows_of(tree)
    kept = {
        n: hierarchical(x, n, hierarchy=tree, inside="closest").indices.tolist()
        for n in (4, 8, 10, 12)
    }
    assert kept[4] == [0, 3, 5, 6]  # two of each, one of each cluster inside
    assert kept[8][-4:] == [5, 6, 7, 8]  # four of each; {5} has one only
    assert len({0, 1, 2, 3, 4} & set(kept[8])) == 4
    assert kept[10] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert kept[12] == list(range(12))
    far = hierarchical(x, 8, hierarchy=tree, inside="farthest")
    assert far.indices.tolist()[-4:] == [5, 9, 10, 11]
    assert np.array_equal(far.cluster, tree.assignments[0])
    assert np.array_equal(far.distance, tree.distance)
    assert far.scores[far.order].tolist() == [12, 11, 10, 9, 8, 7, 6, 5]


def test_selected_samples_count_as_their_cluster_s_own() -> None:
    tree = tree_of([0] * 6 + [1] * 6 + [2] * 6)
    x, selected = rows_of(tree), [2, 5, 3, 0]
    three = hierarchical(x, [6, 8, 12, 15], hierarchy=tree, inside="closest", selected=selected)
    sizes = [np.bincount(tree.assignments[0][s.indices], minlength=3).tolist() for s in three]
    assert sizes == [[4, 1, 1], [4, 2, 2], [4, 4, 4], [5, 5, 5]]
    assert three[0].order[:4].tolist() == selected
    assert three[3].indices[:5].tolist() == [0, 1, 2, 3, 5]


def test_selected_samples_count_at_every_level() -> None:
    tree = tree_of([0] * 6 + [1] * 6 + [2] * 6 + [3] * 6, [0, 0, 1, 1])
    for budget, wanted in ((6, [4, 0, 1, 1]), (8, [4, 0, 2, 2]), (12, [4, 2, 3, 3])):
        found = hierarchical(rows_of(tree), budget, hierarchy=tree, selected=[0, 1, 2, 3])
        assert np.bincount(found.indices // 6, minlength=4).tolist() == wanted


def test_weights_count_inside_a_cluster() -> None:
    tree = tree_of([0] * 5 + [1] * 5)
    x, weights = rows_of(tree), np.array([1, 1, 1, 1, 9, 1, 1, 1, 1, 0.1])
    for inside, kept in (("closest", [0, 5]), ("farthest", [4, 8])):
        found = hierarchical(x, 2, hierarchy=tree, inside=inside, weights=weights)
        assert found.indices.tolist() == kept
    drawn = [
        hierarchical(x, 2, hierarchy=tree, weights=weights, seed=seed).indices[0]
        for seed in range(200)
    ]
    assert 110 < drawn.count(4) < 165  # 9 of 13


def test_excluded_samples_leave_the_tree() -> None:
    rng = np.random.default_rng(3)
    tree = random_tree(rng, 60, [12, 4])
    mask = tree.labels(-1) == 2
    mask[::3] = True
    found = hierarchical(rows_of(tree), 15, hierarchy=tree, exclude=mask, inside="closest")
    left = np.flatnonzero(~mask)
    alone = hierarchical(np.ones((len(left), 3)), 15, hierarchy=tree[left], inside="closest")
    assert np.array_equal(found.order, left[alone.order])
    groups = np.arange(60) % 3
    split = hierarchical(rows_of(tree), 30, hierarchy=tree, groups=groups, group_rule="split")
    assert np.bincount(groups[split.indices]).tolist() == [10, 10, 10]


# The tree


def restated(
    x: np.ndarray, levels: list[int], resamplings: list[int], spherical: bool, seed: int
) -> list[tuple[Int, np.ndarray]]:
    """Algorithm 1 of the paper with plain k-means; clusters that are left empty are dropped."""
    rows, found = x, []
    for k, times in zip(levels, resamplings, strict=True):
        fit = {"spherical": spherical, "max_iterations": 10, "seed": seed}
        labels, centroids, distances, *_ = reference.kmeans(rows, k, **fit)
        most = max(2, len(rows) // (2 * k))
        for _ in range(times):
            some: list[int] = []
            for c in range(k):
                members = np.flatnonzero(labels == c)
                nearest = sorted(members, key=lambda i: (distances[i], i))
                some += nearest[:most]
            centroids = reference.kmeans(rows[sorted(some)], k, **fit)[1]
            labels, _, distances, *_ = reference.kmeans(
                rows, k, spherical=spherical, max_iterations=0, init=centroids
            )
        used = np.unique(labels)
        found.append((np.searchsorted(used, labels), centroids[used]))
        rows = centroids[used]
    return found


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize(
    ("levels", "resamplings", "each"),
    [([9], 3, [3]), ([20, 5], 2, [0, 2]), ([24, 8, 3], [1, 2, 0], [1, 2, 0])],
)
def test_the_tree_is_the_paper_s(
    metric: str, levels: list[int], resamplings: Any, each: list[int]
) -> None:
    x = clustered(np.random.default_rng(6), 150, 7, centres=11)
    tree = build_hierarchy(x, levels, resamplings=resamplings, metric=metric, seed=3)
    wanted = restated(x, levels, each, metric == "cosine", 3)
    for level, (labels, centroids) in enumerate(wanted):
        assert np.array_equal(tree.assignments[level], labels)
        assert np.array_equal(tree.centroids[level], centroids)
    assert tree.settings["resamplings"] == each
    assert tree.levels == tuple(len(c) for _, c in wanted)
    own = mf.kmeans(
        x, tree.levels[0], init=tree.centroids[0], max_iterations=0, spherical=metric == "cosine"
    )
    assert np.array_equal(own.distances, tree.distance)


def test_members_closest_to_their_centroid() -> None:
    labels = np.array([1, 0, 1, 1, 0, 1, 3])
    distances = np.array([2.0, 5, 1, 2, 5, 0, 9])
    assert closest_members(labels, distances, 2).tolist() == [1, 2, 4, 5, 6]
    assert closest_members(labels, distances, 3).tolist() == [0, 1, 2, 4, 5, 6]  # 0 before 3
    assert closest_members(labels, distances, 1).tolist() == [1, 5, 6]


def test_copies_leave_fewer_clusters() -> None:
    x = np.repeat(np.eye(3, dtype=np.float32), 10, axis=0)
    tree = build_hierarchy(x, [12, 5], resamplings=2)
    assert tree.settings["levels"] == [12, 5]
    assert tree.levels == tuple(tree.settings["found"]) == (3, 3)
    few = build_hierarchy(x, [12], resamplings=2)  # 3 clusters of 2 each come to fewer than 12
    assert few.settings["resamplings"] == [0]
    assert few.levels == (3,)
    assert all(len(np.unique(a)) == 3 for a in tree.assignments)
    assert np.bincount(np.repeat([0, 1, 2], 10)[hierarchical(x, 6, hierarchy=tree).indices]).tolist(
    ) == [2, 2, 2]  # fmt: skip


def test_default_levels_fall_and_follow_n() -> None:
    assert default_levels(1) == [1]
    assert default_levels(399) == [39, 27, 19]
    assert default_levels(100) == [10]
    assert default_levels(10_000) == [1000, 316, 100]
    assert default_levels(1_000_000) == [100_000, 10_000, 1000]
    for n in range(1, 3000):
        levels = default_levels(n)
        assert n >= levels[0] >= 1
        assert levels == sorted(set(levels), reverse=True)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_threads_and_parts_change_nothing(metric: str) -> None:
    x = clustered(np.random.default_rng(1), 400, 8)
    whole = build_hierarchy(x, [40, 6], metric=metric, threads=1)
    for options in ({"threads": 3}, {"memory": "40MB"}):
        other = build_hierarchy(x, [40, 6], metric=metric, **options)  # type: ignore[arg-type]
        for a, b in zip(whole.assignments, other.assignments, strict=True):
            assert np.array_equal(a, b)
        for a, b in zip(whole.centroids, other.centroids, strict=True):
            assert np.array_equal(a, b)
        assert np.array_equal(whole.distance, other.distance)
        assert (whole.settings, whole.data_sha256) == (other.settings, other.data_sha256)


def test_many_clusters_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    from meddel_fast.selectors import cluster_levels

    monkeypatch.setattr(cluster_levels, "_SPLIT", 19)
    x = clustered(np.random.default_rng(1), 400, 8)
    tree = build_hierarchy(x, [40, 19], resamplings=0)
    split = mf.kmeans(x, 40, spherical=False, init="split", max_iterations=10)
    assert np.array_equal(tree.assignments[0], split.labels)
    above = mf.kmeans(split.centroids, 19, spherical=False, max_iterations=10)
    assert np.array_equal(tree.assignments[1], above.labels)


def test_a_tree_serves_every_budget() -> None:
    x = clustered(np.random.default_rng(2), 300, 6)
    options: dict[str, Any] = {"levels": [30, 8], "metric": "cosine", "seed": 7}
    tree = build_hierarchy(x, **options)
    for budget in (1, 0.1, 222):
        anew = hierarchical(x, budget, **options)
        for rows in (x, x.astype(np.float64), mf.Prepared(x)):
            assert same(hierarchical(rows, budget, hierarchy=tree, seed=7), anew)
        within = hierarchical(x, budget, hierarchy=tree, seed=7, memory="40MB")
        assert same(within, anew)


def test_stopped_by_the_callback() -> None:
    x = clustered(np.random.default_rng(2), 2000, 16)
    seen: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        seen.append((done, total))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_hierarchy(x, [200, 20], progress=stop)
    assert len(seen) == 1
    told: list[tuple[int, int]] = []
    build_hierarchy(x, [50, 5], progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] > 0
    assert len({total for _, total in told}) == 1  # one pass, whatever it is made of


# A tree that is given


@pytest.fixture(scope="module")
def tree() -> HierarchyResult:
    return build_hierarchy(clustered(np.random.default_rng(0), 90, 5), [12, 4, 2])


def test_a_tree_of_other_rows_is_refused(tree: HierarchyResult) -> None:
    x = clustered(np.random.default_rng(0), 90, 5)
    hierarchical(x, 5, hierarchy=tree)
    other = x.copy()
    other[44, 2] += 1
    with pytest.raises(ValueError, match="hierarchy must be made of these rows, got one of others"):
        hierarchical(other, 5, hierarchy=tree)
    for rows in (x[:80], x[:, :4]):
        with pytest.raises(ValueError, match="hierarchy must be of rows of shape"):
            hierarchical(rows, 5, hierarchy=tree)
    with pytest.raises(TypeError, match="hierarchy must be a HierarchyResult, got str"):
        hierarchical(x, 5, hierarchy="tree.npz")


@pytest.mark.parametrize(
    ("error", "text", "options"),
    [
        (ValueError, "levels must be from 1 to 90.*got 91", {"levels": [91]}),
        (ValueError, "levels must be from 1 to 9 .*falling.*got 10", {"levels": [10, 10]}),
        (ValueError, r"levels must fall from fine to coarse, got \[1, 1\]", {"levels": [1, 1]}),
        (ValueError, "levels must be from 1", {"levels": [9, 0]}),
        (TypeError, "levels must be numbers of clusters.*got 5", {"levels": 5}),
        (TypeError, "levels must be numbers of clusters.*got '12'", {"levels": "12"}),
        (TypeError, r"levels must be numbers of clusters.*got \[\]", {"levels": []}),
        (TypeError, "levels must be an int.*got float", {"levels": [4.0]}),
        (ValueError, "resamplings must be at least 0", {"resamplings": -1}),
        (TypeError, "resamplings must be an int", {"resamplings": 1.5}),
        (
            ValueError,
            "one for each of 2 levels, got 3",
            {"levels": [9, 3], "resamplings": [1, 2, 3]},
        ),
        (ValueError, "metric must be one of 'euclidean', 'cosine'", {"metric": "l1"}),
        (ValueError, "max_iterations must be at least 1", {"max_iterations": 0}),
        (ValueError, "seed must be at least 0", {"seed": -1}),
    ],
)
def test_options_are_checked(error: type[Exception], text: str, options: dict[str, Any]) -> None:
    x = clustered(np.random.default_rng(0), 90, 5)
    for call in (lambda: build_hierarchy(x, **options), lambda: hierarchical(x, 9, **options)):
        with pytest.raises(error, match=text):
            call()


def test_what_a_tree_makes_idle_is_refused(tree: HierarchyResult) -> None:
    x = clustered(np.random.default_rng(0), 90, 5)
    for idle in ({"levels": [9]}, {"resamplings": 2}, {"metric": "cosine"}, {"max_iterations": 9}):
        with pytest.raises(ValueError, match=f"{next(iter(idle))} must be None where hierarchy"):
            hierarchical(x, 5, hierarchy=tree, **idle)
    with pytest.raises(ValueError, match="inside must be one of"):
        hierarchical(x, 5, hierarchy=tree, inside="middle")


# What it is for


def entropy(kept: Int, concept: Int) -> tuple[float, int]:
    """Of the kept concepts, 1 for uniform; and how often the rarest is kept."""
    counts = np.bincount(concept[kept], minlength=int(concept.max()) + 1)
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum() / np.log(len(counts))), int(counts.min())


def test_concepts_of_a_long_tail_are_kept_evenly() -> None:
    rng = np.random.default_rng(5)
    concept = np.repeat(np.arange(12), np.maximum(2000 // np.arange(1, 13), 1))
    centres = rng.standard_normal((12, 64))
    x = (centres[concept] + 0.5 * rng.standard_normal((len(concept), 64))).astype(np.float32)
    budget = 360
    assert np.bincount(concept).min() == 166
    flat = entropy(select("random", x, budget).indices, concept)
    even = entropy(hierarchical(x, budget).indices, concept)
    assert flat[0] < 0.9
    assert flat[1] < 12
    assert even[0] > 0.95
    assert even[1] > 12
