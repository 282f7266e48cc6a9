"""The screens drop no pair that counts: attacks on their bounds, on every instruction set.

All runs are forced to screen. What is wanted comes from reference.py; its cosines are worked out
once per array and lent to all its functions, as they are nearly all of its cost.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import pytest
from close_calls import SHAPES, cosines, near_ties, powers_of_two, straddle, unit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from samples import as_reference, assert_same, of_type, told

import meddel_fast as mf
from meddel_fast import _core, reference


@pytest.fixture(autouse=True, params=["always", "products", "codes"])
def always(request: pytest.FixtureRequest) -> Iterator[None]:
    _core.use_screen(request.param)
    yield
    _core.use_screen("auto")


def lent(cosine: NDArray[np.float64]) -> Any:
    """Have reference.py take these cosines; a fresh copy each time, as it may write to them."""
    return mock.patch.object(reference, "cosine", side_effect=lambda _x, _y: cosine.copy())


class Truth:
    """An array with what reference.py says of it."""

    def __init__(self, x: Any) -> None:
        self.x = x
        self.cosine = reference.cosine(reference.widen(x), reference.widen(x))
        self.told: dict[bytes, Any] = {}

    def wanted(self, operation: str, *args: Any, **kwargs: Any) -> Any:
        key = pickle.dumps((operation, args, kwargs))
        if key not in self.told:
            with lent(self.cosine):
                self.told[key] = getattr(reference, operation)(self.x, *args, **kwargs)
        return self.told[key]

    def check(self, operation: str, *args: Any, threads: int = 1, **kwargs: Any) -> None:
        got = getattr(mf, operation)(self.x, *args, threads=threads, **kwargs)
        wanted = self.wanted(operation, *args, **kwargs)
        try:
            assert_same(got, wanted)
        except AssertionError as error:
            raise AssertionError(f"{operation} {args} {kwargs}: {error}") from None

    def check_pairs(self, threshold: float) -> None:
        got = mf.similar_pairs(self.x, threshold=threshold, threads=1)
        i, j = np.nonzero(np.triu(self.cosine >= threshold, 1))
        assert_same(got, (i, j, self.cosine[i, j]))

    def check_all(self, rng: np.random.Generator, exact_thresholds: int) -> None:
        """Pairs at fixed thresholds and at, just above and just below cosines that occur, and
        the operations whose bar rises as they go."""
        n = len(self.x)
        for threshold in (-1.0, 0.0, 1.0, *self.occurring(rng, exact_thresholds)):
            self.check_pairs(threshold)
        order, labels = rng.permutation(n), rng.integers(3, size=n)
        self.check("redundancy")
        self.check("redundancy", order=order, labels=labels, threads=2)
        self.check("topk_similarity", None, min(3, n - 1))
        self.check("deduplicate", 0.95, rule="greedy", order=order)

    def occurring(self, rng: np.random.Generator, count: int) -> list[float]:
        values = np.unique(np.clip(self.cosine[np.triu_indices(len(self.x), 1)], -1, 1))
        high = values[-len(values) // 10 :]  # most at the top, where few survive
        chosen = np.concatenate([rng.choice(high, count), rng.choice(values, (count + 1) // 2)])
        around = [np.nextafter(chosen, -2), chosen, np.nextafter(chosen, 2)]
        return sorted(set(np.clip(np.concatenate(around), -1, 1).tolist()))


@functools.cache
def truth(shape: str, n: int, d: int) -> Truth:
    return Truth(SHAPES[shape](np.random.default_rng([n, d, len(shape)]), n, d))


def check_centres(x: Any, k: int) -> None:
    """k-center and k-means (its centroids are the columns of a scan)."""
    for metric in ("euclidean", "cosine"):
        got = mf.kcenter_greedy(x, k, metric=metric, threads=1)
        assert_same(got, told("kcenter_greedy", x, k, metric=metric))
    init = reference.widen(x[:: max(1, len(x) // k)][:k]).astype(np.float32)
    for spherical in (True, False):
        args = {"init": init, "spherical": spherical, "max_iterations": 2}
        got = mf.kmeans(x, len(init), threads=1, **args)
        assert_same(got, told("kmeans", x, len(init), **args))


# Widths below, at and above the kept 60; of a group of 4, of a vector of 16; dense beyond 64.
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("d", [3, 130])
def test_shapes(isa: str, shape: str, d: int, rng: np.random.Generator) -> None:
    truth(shape, 130, d).check_all(rng, exact_thresholds=1)
    check_centres(truth(shape, 130, d).x, 12)


@pytest.mark.parametrize("shape", ["isotropic", "spikes"])
def test_very_wide(isa: str, shape: str) -> None:
    case = truth(shape, 40, 4096)
    case.check_pairs(float(np.sort(case.cosine, axis=None)[-80]))
    case.check("topk_similarity", None, 3)


@pytest.mark.parametrize("shape", ["isotropic", "int8"])
def test_every_width(isa: str, shape: str) -> None:
    for d in range(1, 71):
        case = truth(shape, 36, d)
        for threshold in (0.95, float(np.sort(case.cosine, axis=None)[-60])):
            case.check_pairs(min(threshold, 1.0))
        case.check("redundancy")


@pytest.mark.parametrize("n", [1, 2, 3, 4, 15, 16, 17, 127, 128, 129, 255, 256, 257])
def test_borders_of_blocks_and_tiles(isa: str, n: int) -> None:
    for shape, d in (("isotropic", 20), ("crowd", 70)):
        case = truth(shape, n, d)
        case.check_pairs(0.95)
        case.check("redundancy", order=np.arange(n)[::-1].copy())
        if n > 1:
            case.check("topk_similarity", None, 1, threads=3)


@pytest.mark.parametrize(("shape", "d"), [("isotropic", 8), ("crowd", 72)])
@pytest.mark.parametrize("n", [1023, 1024, 1025])
def test_many_tiles(isa: str, n: int, shape: str, d: int) -> None:
    """Also more tiles than go to the dense screen before the prefix is asked again."""
    case = truth(shape, n, d)
    case.check_pairs(float(np.quantile(case.cosine[:100], 0.97)))
    case.check("redundancy", threads=2)


THRESHOLDS = [0.95, 0.999, 0.5, 0.0, -0.7]


@functools.cache
def straddling(d: int, threshold: float, around: str) -> Truth:
    """Pairs on both sides of the threshold, with rows around that shape basis and step."""
    rng = np.random.default_rng([d, int(1000 * threshold + 1000), len(around)])
    u, below, above = straddle(rng, rng.normal(size=(24, d)).astype(np.float32), threshold)
    gap = cosines(u, above) - cosines(u, below)
    assert np.all(gap > 0)
    assert np.all(gap <= 8 * 2.0**-53), "the pairs are not close enough to the threshold"
    rows = [u, below, above]
    if around != "nothing":
        rows.append(SHAPES[around](rng, 100, d))
    x = np.concatenate(rows)
    return Truth(powers_of_two(rng, x)[rng.permutation(len(x))])


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("d", [4, 16, 60, 61, 65, 128, 384])
def test_pairs_on_both_sides_of_the_threshold(isa: str, d: int, threshold: float) -> None:
    for around in ("nothing", "isotropic", "spikes"):
        straddling(d, threshold, around).check_pairs(threshold)


@pytest.mark.parametrize("threshold", [0.95, 0.5])
@pytest.mark.parametrize("d", [16, 130])
def test_rules_on_both_sides_of_the_threshold(isa: str, d: int, threshold: float) -> None:
    case = straddling(d, threshold, "isotropic")
    labels = np.arange(len(case.x)) % 2
    for rule in ("semdedup", "greedy", "components"):
        case.check("deduplicate", threshold, rule=rule)
        case.check("deduplicate", threshold, rule=rule, labels=labels, threads=2)


@pytest.mark.parametrize("around", ["flat", "crowd"])
def test_very_wide_pairs_on_both_sides(isa: str, around: str) -> None:
    straddling(1500, 0.95, around).check_pairs(0.95)


@functools.cache
def one_query(d: int, threshold: float) -> tuple[Any, Any, Any]:
    """One row, many others all at one cosine to it but for an ulp or two, and their ranking."""
    rng = np.random.default_rng(d)
    u = np.tile(rng.normal(size=(1, d)), (80, 1)).astype(np.float32)
    u, below, above = straddle(rng, u, threshold)
    y = np.concatenate([below, above, rng.normal(size=(140, d))]).astype(np.float32)
    y = powers_of_two(rng, y)[rng.permutation(len(y))]
    return u[:1], y, reference.topk_similarity(u[:1], y, len(y))


@pytest.mark.parametrize("threshold", [0.95, 0.5])
@pytest.mark.parametrize("d", [16, 60, 130, 384])
def test_near_ties_are_ranked_by_the_truth(isa: str, d: int, threshold: float) -> None:
    u, y, (similarity, indices) = one_query(d, threshold)
    for k in (1, 2, 7, 81, 160, 200):
        got = mf.topk_similarity(u, y, k, threads=1)
        assert_same(got, (similarity[:, :k], indices[:, :k]))


@functools.cache
def nearest_by_an_ulp(d: int) -> list[tuple[Any, ...]]:
    """Calls that look for the nearest of rows that one is about equally near to, and answers."""
    u, y, _ = one_query(d, 0.95)
    x = np.concatenate([y, u])
    out: list[tuple[str, Any, dict[str, Any]]] = [("redundancy", (), {})]
    for metric, spherical in (("cosine", True), ("euclidean", False)):
        init = {"init": y, "spherical": spherical, "max_iterations": 0}
        given = {"metric": metric, "selected": np.arange(len(y))}
        out += [("kmeans", (len(y),), init), ("kcenter_greedy", (1,), given)]
    return [(x, *call, getattr(reference, call[0])(x, *call[1], **call[2])) for call in out]


@pytest.mark.parametrize("d", [16, 130])
def test_nearest_by_an_ulp(isa: str, d: int) -> None:
    for x, name, args, kwargs, wanted in nearest_by_an_ulp(d):
        assert_same(getattr(mf, name)(x, *args, **kwargs, threads=1), wanted)


@pytest.mark.parametrize("d", [7, 33, 60, 100, 384])
def test_rows_that_are_permutations_of_each_other(isa: str, d: int) -> None:
    rng = np.random.default_rng(d)
    queries, rows = near_ties(rng, 300, d)
    for k in (1, 10):
        wanted = told("topk_similarity", queries, rows, k)
        assert_same(mf.topk_similarity(queries, rows, k, threads=1), wanted)
    for spherical in (True, False):
        args = {"init": rows, "spherical": spherical, "max_iterations": 0}
        data = np.tile(queries, (60, 1))
        assert_same(mf.kmeans(data, 300, **args), told("kmeans", data, 300, **args))
    start = np.concatenate([queries[:1], rows])
    for metric in ("euclidean", "cosine"):
        got = mf.kcenter_greedy(start, 20, metric=metric, threads=1)
        assert_same(got, told("kcenter_greedy", start, 20, metric=metric))


def pairs_among_many(x: NDArray[Any], threshold: float) -> Any:
    """reference.similar_pairs on the rows that plain fp64 puts near or above the threshold."""
    wide = reference.widen(x)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    wide = np.divide(wide, norms, out=np.zeros_like(wide), where=norms > 0)
    involved = np.zeros(len(x), bool)
    for begin in range(0, len(x), 512):
        near = wide[begin : begin + 512] @ wide[begin:].T >= threshold - 1e-9
        near[:, : len(near)] &= ~np.eye(len(near), dtype=bool)
        involved[begin : begin + 512] |= near.any(axis=1)
        involved[begin:] |= near.any(axis=0)
    rows = np.flatnonzero(involved)
    i, j, similarity = reference.similar_pairs(x[rows], threshold=threshold)
    return rows[i], rows[j], similarity


@functools.cache
def centres(shape: str, d: int, metric: str) -> tuple[Any, Any]:
    rng = np.random.default_rng(d)
    x = SHAPES[shape](rng, 2500, d)
    return x, reference.kcenter_greedy(x, 120, metric=metric)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("d", [5, 70])
@pytest.mark.parametrize("shape", ["isotropic", "crowd", "spikes", "norms", "int8", "permutations"])
def test_centres_that_are_caught_up_with(isa: str, shape: str, d: int, metric: str) -> None:
    """More rows than k-center keeps exact, so that most see centres late, in blocks."""
    x, wanted = centres(shape, d, metric)
    assert_same(mf.kcenter_greedy(x, 120, metric=metric, threads=1), wanted)


@functools.cache
def warm_centres(shape: str, metric: str) -> tuple[Any, Any]:
    """Some centres given, the end at a distance that occurs."""
    x, (chosen, radii, _) = centres(shape, 70, metric)
    args = {"metric": metric, "selected": chosen[50::-2].copy(), "radius": float(radii[90])}
    return args, reference.kcenter_greedy(x, len(x), **args)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("shape", ["isotropic", "norms"])
def test_warm_start_and_radius_of_many(isa: str, shape: str, metric: str) -> None:
    x, _ = centres(shape, 70, metric)
    args, wanted = warm_centres(shape, metric)
    assert len(wanted[0]) > 30
    assert_same(mf.kcenter_greedy(x, threads=2, **args), wanted)
    assert_same(mf.kcenter_greedy(x, threads=1, distances=False, **args)[:2], wanted[:2])


UNLIKE = {  # kind: d, threshold
    "zeros": (40, 0.95), "outside": (400, 0.95), "inside": (160, 0.95), "spikes": (128, 0.975),
}  # fmt: skip


@functools.cache
def unlike_the_sample(kind: str) -> tuple[Any, Any]:
    """4,100 rows, and straddling pairs where a sample of 2,048, evenly spread, does not see them.

    So step, longest code and largest remainder are learnt from rows that do not prepare for them:
    from zeros; from rows half of which is within 24 dimensions, while the pairs lie outside these
    (too far for the remainder's integers); from rows that are long outside, while the pairs lie
    within; from a crowd, while the pairs have a spike.
    """
    rng = np.random.default_rng(len(kind))
    n, inside = 4100, 24
    d, threshold = UNLIKE[kind]
    x = np.zeros((n, d), np.float32)
    pairs, columns = rng.normal(size=(32, d)).astype(np.float32), slice(0, d)
    if kind == "outside":
        x[:, :inside] = unit(rng.normal(size=(n, inside)))
        x[:, inside:] = unit(rng.normal(size=(n, d - inside)))
        columns = slice(inside, d)
    elif kind == "inside":
        x[:] = rng.normal(size=(n, d))
        x[:, :inside] *= 2
        columns = slice(0, inside)
    elif kind == "spikes":
        x[:] = SHAPES["crowd"](rng, n, d)
        pairs[:, 5] = 20
    unseen = np.setdiff1d(np.arange(n), np.arange(2048) * n // 2048)
    odd = rng.choice(unseen, size=96, replace=False)
    x[odd] = 0
    x[odd, columns] = np.concatenate(straddle(rng, pairs[:, columns], threshold))
    x = powers_of_two(rng, x)
    return x, pairs_among_many(x, threshold)


@pytest.mark.parametrize("kind", UNLIKE)
def test_rows_unlike_the_sample(isa: str, kind: str) -> None:
    x, wanted = unlike_the_sample(kind)
    assert len(wanted[0]) >= 32
    for threads in (1, 2):
        assert_same(mf.similar_pairs(x, threshold=UNLIKE[kind][1], threads=threads), wanted)


@functools.cache
def some_against_all(kind: str) -> list[tuple[Any, ...]]:
    """A few of the rows against all, both ways round: pairs and the two nearest."""
    x, (i, j, _) = unlike_the_sample(kind)
    few, out = x[np.concatenate([i[:16], j[:16], [0, 1, 2]])], []
    for left, right in ((few, x), (x, few)):
        with lent(reference.cosine(reference.widen(left), reference.widen(right))):
            pairs = reference.similar_pairs(left, right, threshold=UNLIKE[kind][1])
            out.append((left, right, pairs, reference.topk_similarity(left, right, 2)))
    return out


@pytest.mark.parametrize("kind", UNLIKE)
def test_two_sets_unlike_the_sample(isa: str, kind: str) -> None:
    for left, right, pairs, top in some_against_all(kind):
        threshold = UNLIKE[kind][1]
        assert_same(mf.similar_pairs(left, right, threshold=threshold, threads=1), pairs)
        assert_same(mf.topk_similarity(left, right, 2, threads=1), top)


def test_wider_than_the_dense_screen_allows(isa: str) -> None:
    case = truth("crowd", 12, 16500)
    case.check_pairs(float(np.median(case.cosine)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8"])
@pytest.mark.parametrize("d", [24, 200])
def test_types(isa: str, dtype: str, d: int, rng: np.random.Generator) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("torch")
    x = of_type(SHAPES["isotropic"](np.random.default_rng(d), 90, d), dtype)
    case = Truth(as_reference(x))
    case.x = x
    for threshold in case.occurring(rng, 4):
        case.check_pairs(threshold)


@st.composite
def samples(draw: st.DrawFn) -> NDArray[Any]:
    """Rows of one or two shapes, joined, some of them copied, scaled or set to zero."""
    n, d = draw(st.integers(2, 140)), draw(st.sampled_from([4, 5, 31, 60, 61, 64, 66, 130]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    names = draw(st.lists(st.sampled_from(sorted(SHAPES)), min_size=1, max_size=2))
    x = np.concatenate([SHAPES[name](rng, n, d).astype(np.float32) for name in names])
    if draw(st.booleans()):
        x = np.concatenate([x, *straddle(rng, x[np.abs(x[:, 2:]).max(axis=1) > 0][:8], 0.9)])
    if draw(st.booleans()):
        x = powers_of_two(rng, x, 25)
    if draw(st.booleans()):
        x[rng.random(len(x)) < 0.2] = x[0]
    if draw(st.booleans()):
        x[rng.random(len(x)) < 0.2] = 0
    return x[rng.permutation(len(x))]


@settings(
    derandomize=True, max_examples=15, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(x=samples(), choice=st.integers(0, 2**32))
def test_any(isa: str, x: NDArray[np.float32], choice: int) -> None:
    Truth(x).check_all(np.random.default_rng(choice), exact_thresholds=1)
