"""Every operation equals reference.py bit for bit: types, shapes, instruction sets, threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from operation_cases import check_all, operations
from samples import ADVERSARIAL, DTYPES, adversarial, assert_same, clustered, of_type, told

import meddel_fast as mf
from meddel_fast import reference


@pytest.mark.parametrize("dtype", DTYPES)
def test_types(isa: str, screen: str, dtype: str, rng: np.random.Generator) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("torch")
    check_all(of_type(clustered(rng, 70, 37), dtype))


@pytest.mark.parametrize("d", [1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 129])
def test_widths(isa: str, screen: str, d: int, rng: np.random.Generator) -> None:
    check_all(clustered(rng, 33, d))


@pytest.mark.parametrize("n", [1, 2, 3, 15, 16, 17, 31, 32, 33, 130, 300])
def test_sizes(isa: str, screen: str, n: int, rng: np.random.Generator) -> None:
    check_all(clustered(rng, n, 24))


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial(isa: str, screen: str, name: str, rng: np.random.Generator) -> None:
    check_all(adversarial(name, rng, 60, 20))


def test_wide(isa: str, screen: str, rng: np.random.Generator) -> None:
    check_all(clustered(rng, 20, 4096))


def test_wide_ends_of_int8(isa: str, screen: str) -> None:
    """The largest products that there are, in the longest rows that are tested."""
    x = np.random.default_rng(0).choice(np.array([-128, 127], np.int8), size=(9, 4096))
    x[:6] = np.array([-128, 127, -128, -128, 127, 0], np.int8)[:, None]
    x[4, 5] = -128
    check_all(x)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_threads(threads: int, screen: str, rng: np.random.Generator) -> None:
    check_all(clustered(rng, 400, 16), threads=threads)


def test_many_blocks_of_kmeans(screen: str, rng: np.random.Generator) -> None:
    """More rows than one block of the contract's sums, so that their order shows."""
    x = clustered(rng, 2 * reference.BLOCK_ROWS + 100, 12)
    for spherical in (True, False):
        wanted = told("kmeans", x, 9, spherical=spherical, max_iterations=4)
        for threads in (1, 3):
            got = mf.kmeans(x, 9, spherical=spherical, max_iterations=4, threads=threads)
            assert_same(got, wanted)


def test_kmeans_refills_empty_clusters(screen: str, rng: np.random.Generator) -> None:
    x = clustered(rng, 50, 6)
    init = np.tile(x[:1], (5, 1))  # all but the first start empty
    for spherical in (True, False):
        got = mf.kmeans(x, 5, init=init, spherical=spherical, max_iterations=3)
        assert_same(got, told("kmeans", x, 5, init=init, spherical=spherical, max_iterations=3))
        assert len(np.unique(got.labels)) == 5


@pytest.mark.parametrize(("n", "m"), [(1, 1), (40, 33), (17, 300)])
def test_two_sets(isa: str, screen: str, n: int, m: int, rng: np.random.Generator) -> None:
    both = clustered(rng, n + m, 21)
    x, y = both[:n], both[n:]
    for threshold in (0.95, 0.3):
        assert_same(
            mf.similar_pairs(x, y, threshold=threshold),
            told("similar_pairs", x, y, threshold=threshold),
        )
    k = min(m, 5)
    assert_same(mf.topk_similarity(x, y, k), told("topk_similarity", x, y, k))


def test_two_sets_of_different_types(screen: str, rng: np.random.Generator) -> None:
    x, y = clustered(rng, 20, 9), of_type(clustered(rng, 30, 9), "int8")
    assert_same(mf.topk_similarity(x, y, 3), told("topk_similarity", x, y, 3))


def test_layouts(rng: np.random.Generator, tmp_path: Any) -> None:
    """Views, orders, byte orders, misaligned and memory-mapped arrays give the same answer."""
    x = clustered(rng, 60, 18)
    wanted = mf.topk_similarity(x, k=3)
    padded = np.zeros((60, 25), np.float32)
    padded[:, 3:21] = x
    misaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(60, 18)
    np.save(tmp_path / "x.npy", x)
    read_only = x.copy()
    read_only.flags.writeable = False
    for other in (
        np.asfortranarray(x), padded[:, 3:21], np.repeat(x, 2, axis=0)[::2], x[::-1][::-1],
        np.ascontiguousarray(x[:, ::-1])[:, ::-1], x.astype(">f4"), misaligned, read_only,
        np.load(tmp_path / "x.npy", mmap_mode="r"), x.astype(np.float64), x.tolist(),
    ):  # fmt: skip
        assert_same(mf.topk_similarity(other, k=3), wanted)


def test_torch_in_torch_out(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    x = clustered(rng, 60, 18)
    for tensor in (torch.from_numpy(x), torch.from_numpy(x.T.copy()).T.requires_grad_()):
        for name, (fast, slow) in operations(len(x)).items():
            got = fast(tensor)
            assert isinstance(got[0], torch.Tensor), name
            assert_same(got, slow(x))


def test_permutation(screen: str, rng: np.random.Generator) -> None:
    """A permuted input gives the permuted answer (no ties here)."""
    x = rng.normal(size=(200, 30)).astype(np.float32)
    shuffle = rng.permutation(200)
    back = np.argsort(shuffle)  # where a sample has gone
    mixed, labels = x[shuffle], rng.integers(3, size=200)

    def check(name: str, args: Any, moved: Any, samples: str, **kwargs: Any) -> None:
        """Compare, by the fields' letters: an index of samples, a row a sample, or both."""
        one = getattr(mf, name)(x, *args, **kwargs)
        other = getattr(mf, name)(mixed, *args, **{**kwargs, **moved})
        for a, b, kind in zip(one, other, samples, strict=False):
            b = shuffle[b] if kind in "ib" else b
            np.testing.assert_array_equal(a, b[back] if kind in "rb" else b, err_msg=name)

    for metric in ("euclidean", "cosine"):
        for selected in (None, np.arange(4)):
            moved = {"start": back[0], "selected": None if selected is None else back[:4]}
            check("kcenter_greedy", (50,), moved, "i.r", metric=metric, selected=selected)
    moved = {"order": back, "labels": labels[shuffle]}
    order = np.arange(200)
    check("redundancy", (), {"order": back}, "r", order=order)
    check("redundancy", (), moved, "r", order=order, labels=labels)
    for rule in ("semdedup", "greedy", "components"):
        check("deduplicate", (0.4,), moved, "rbr", rule=rule, order=order, labels=labels)
    check("topk_similarity", (None, 5), {}, "rb")
    for spherical in (True, False):  # (updated centroids depend on the order of their sums)
        kwargs = {"init": x[:7], "max_iterations": 0, "spherical": spherical}
        check("kmeans", (7,), {}, "r.r", **kwargs)
    pairs = {frozenset(p) for p in zip(*mf.similar_pairs(x, threshold=0.3)[:2], strict=True)}
    other = mf.similar_pairs(mixed, threshold=0.3)
    assert {frozenset((shuffle[i], shuffle[j])) for i, j in zip(*other[:2], strict=True)} == pairs


def test_kcenter_never_repeats_a_sample() -> None:
    x = np.ones((10, 3), np.float32)
    result = mf.kcenter_greedy(x, 10, start=4)
    np.testing.assert_array_equal(result.indices, [4, 0, 1, 2, 3, 5, 6, 7, 8, 9])
    np.testing.assert_array_equal(result.radii[1:], 0)


def test_kcenter_radii_never_rise_and_cover(rng: np.random.Generator) -> None:
    x = clustered(rng, 300, 10)
    result = mf.kcenter_greedy(x, 40)
    assert np.all(np.diff(result.radii[1:]) <= 0)
    assert result.distances.max() <= result.radii[-1]


def test_greedy_rule_covers_all(rng: np.random.Generator) -> None:
    x = clustered(rng, 200, 8)
    result = mf.deduplicate(x, 0.9, rule="greedy")
    i, _j, _ = mf.similar_pairs(x[result.keep], threshold=0.9)
    assert len(i) == 0
    assert result.keep[result.representative].all()
    assert np.all(result.similarity[~result.keep] >= 0.9)


def test_real_embeddings(screen: str, real_data: Any) -> None:
    x = np.load(real_data / "embeddings_effnet_lite0_f32.npy", mmap_mode="r")[::4]
    assert_same(mf.similar_pairs(x, threshold=0.95), told("similar_pairs", x, threshold=0.95))
    assert_same(mf.redundancy(x), told("redundancy", x))
    assert_same(mf.kcenter_greedy(x, 40), told("kcenter_greedy", x, 40))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_kcenter_ends_at_a_radius(
    isa: str, screen: str, metric: str, rng: np.random.Generator
) -> None:
    x = clustered(rng, 150, 70)
    whole = mf.kcenter_greedy(x, 100, metric=metric)
    for k in (1, 7, 60):
        # Equal to a radius that occurs: the centre that would have it is not chosen any more.
        radius = float(whole.radii[k])
        result = mf.kcenter_greedy(x, radius=radius, metric=metric)
        assert_same(result, told("kcenter_greedy", x, 150, radius=radius, metric=metric))
        assert len(result.indices) <= k
        assert result.distances.max() <= radius
        more = mf.kcenter_greedy(x, radius=np.nextafter(radius, 0), metric=metric, distances=False)
        assert len(more.indices) > len(result.indices)
        assert more.distances is None
        assert_same(more[:2], [field[: len(more.indices)] for field in whole[:2]])


def test_kcenter_radius_with_k_and_selected(isa: str, rng: np.random.Generator) -> None:
    x = np.repeat(clustered(rng, 30, 9), 2, axis=0)
    distinct = len(np.unique(x, axis=0))
    assert len(mf.kcenter_greedy(x, radius=0.0).indices) == distinct
    assert len(mf.kcenter_greedy(x, 5, radius=0.0).indices) == 5
    every = mf.kcenter_greedy(x, radius=0.0).indices
    none = mf.kcenter_greedy(x, radius=0.0, selected=every)
    assert len(none.indices) == 0
    assert not none.distances.any()
