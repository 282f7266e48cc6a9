"""The public functions on a device, in Triton's interpreter: test_triton.py runs this in a process
of its own, in which ``ops`` takes the CPU for the device.

k-center and components take the CUDA extension's code on the host, where it was built.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from close_calls import SHAPES, near_ties, powers_of_two, straddle
from numpy.typing import NDArray
from operation_cases import RULES, doubled, operations, twice
from samples import ADVERSARIAL, DTYPES, adversarial, assert_same, clustered, of_type

import meddel_fast as mf
from meddel_fast import reference
from meddel_fast.kernels import (
    best_columns,
    cluster_sums,
    confirm,
    cuda,
    join,
    kmeans,
    rough_clusters,
    rows,
    seeding,
    tile_max,
)
from meddel_fast.kernels.prepared import Tuning
from meddel_fast.ops import _gpu

CPU = torch.device("cpu")
# Several tiles, clusters and windows out of few rows.
SMALL = Tuning(tile=32, clusters=3, capacity=1, window=32)
FEW = 128  # rows a block: all that most tests have, so that their sums are those of one
NEED_EXTENSION = ("kcenter", "components")  # operations that begin so


@pytest.fixture(autouse=True)
def on_the_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("deduplicate", "kcenter", "kmeans", "pairs", "redundancy", "topk"):
        module = sys.modules[f"meddel_fast.ops.{name}"]
        monkeypatch.setattr(module, "choose_device", lambda *_, **__: CPU)
    # The interpreter's cost is by the program, and by the step of a loop over a block's rows.
    monkeypatch.setattr(confirm, "PAIRS", 512)
    monkeypatch.setattr(cluster_sums, "BLOCK_ROWS", FEW)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def tuning(monkeypatch: pytest.MonkeyPatch) -> None:
    for pipeline, name in (
        (_gpu._pairs, "similar_pairs"),
        (_gpu._topk, "topk_similarity"),
        (_gpu._redundancy, "redundancy"),
        (_gpu._kmeans, "kmeans"),
        (_gpu._deduplicate, "deduplicate"),
    ):
        given = functools.partial(getattr(pipeline, name), tuning=SMALL)
        monkeypatch.setattr(pipeline, name, given)


@pytest.fixture(scope="module")
def extension() -> Iterator[bool]:
    """Whether the CUDA extension's code is here for the host; if so it is used."""
    build = Path(os.environ.get("MEDDEL_BUILD_DIR", "nowhere")).resolve()
    if not list(build.glob("_cuda_on_host*")):
        yield False
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(build))
        import _cuda_on_host as host

        patch.setattr(cuda, "_cuda", host)
        patch.setattr(
            cuda, "_launch", lambda name, _device, *arguments: getattr(host, name)(*arguments, 0)
        )
        yield True


def check_all(x: Any, extension: bool, only: tuple[str, ...] = ()) -> None:
    assert len(x) <= FEW
    for name, (fast, slow) in operations(len(x)).items():
        if (only and name not in only) or (name.startswith(NEED_EXTENSION) and not extension):
            continue
        try:
            assert_same(fast(x), slow(x))
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None


def test_this_is_the_interpreter() -> None:
    assert not hasattr(join.flag_tiles.fn, "device_caches"), "a compiled kernel"


@pytest.mark.parametrize("dtype", DTYPES)
def test_types(dtype: str, extension: bool, rng: np.random.Generator) -> None:
    few = ("pairs_95", "redundancy_labels", "topk", "greedy", "kmeans", "kmeans_euclidean")
    check_all(of_type(clustered(rng, 50, 67), dtype), extension, few)


@pytest.mark.parametrize(("n", "d"), [(1, 5), (2, 64), (3, 65), (33, 1), (70, 129)])
def test_shapes(n: int, d: int, extension: bool, rng: np.random.Generator) -> None:
    check_all(clustered(rng, n, d), extension)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial(name: str, extension: bool, rng: np.random.Generator) -> None:
    """All rows equal, so that everything survives; zeros; extreme norms; ties."""
    few = ("pairs_0", "redundancy_labels", "topk", "kmeans_euclidean")
    check_all(adversarial(name, rng, 40, 70), extension, few)


@pytest.mark.parametrize("dtype", DTYPES)
def test_exact_copies_are_found_at_1(dtype: str, extension: bool, rng: np.random.Generator) -> None:
    x, which = doubled(rng, 20, 37, dtype)
    first, second = twice(which)
    assert_same(mf.similar_pairs(x, threshold=1.0), [first, second, np.ones(20)])
    for rule in RULES if extension else RULES[:2]:
        found = mf.deduplicate(x, 1.0, rule=rule)
        np.testing.assert_array_equal(np.flatnonzero(found.keep), first)
        np.testing.assert_array_equal(np.asarray(found.representative)[second], first)
    assert np.all(np.asarray(mf.topk_similarity(x, k=1).similarity) == 1.0)
    if extension:
        centres = mf.kcenter_greedy(x, radius=0.0, metric="cosine")
        assert sorted(which[np.asarray(centres.indices)]) == list(range(20))


@pytest.mark.parametrize("shape", SHAPES)
def test_close_calls(shape: str, rng: np.random.Generator) -> None:
    """Thresholds at, just above and just below cosines that occur."""
    x = SHAPES[shape](rng, 70, 100)
    wide = reference.widen(x)
    occurring = np.unique(reference.cosine(wide, wide)[np.triu_indices(70, 1)])
    some = float(np.clip(rng.choice(occurring[-len(occurring) // 5 :]), -1, 1))
    for threshold in {float(np.clip(np.nextafter(some, to), -1, 1)) for to in (-2, some, 2)}:
        wanted = reference.similar_pairs(x, threshold=threshold)
        assert_same(mf.similar_pairs(x, threshold=threshold), wanted)
    assert_same(mf.topk_similarity(x, k=3), reference.topk_similarity(x, k=3))


@pytest.mark.parametrize("threshold", [0.95, 0.0])
@pytest.mark.parametrize("d", [16, 130])
def test_pairs_on_both_sides_of_the_threshold(
    d: int, threshold: float, rng: np.random.Generator
) -> None:
    parts = straddle(rng, rng.normal(size=(24, d)).astype(np.float32), threshold)
    x = powers_of_two(rng, np.concatenate([*parts, rng.normal(size=(30, d)).astype(np.float32)]))
    x = x[rng.permutation(len(x))]
    wanted = reference.similar_pairs(x, threshold=threshold)
    assert_same(mf.similar_pairs(x, threshold=threshold), wanted)


def test_none_and_all_survive(rng: np.random.Generator) -> None:
    x = np.eye(100, 140, dtype=np.float32)
    assert len(mf.similar_pairs(x, threshold=0.5).i) == 0
    x = clustered(rng, 220, 20)  # more pairs than a part may leave: the work is cut
    assert join.SEGMENT * SMALL.tile**2 < 220 * 219 // 2
    assert_same(mf.similar_pairs(x, threshold=-1.0), reference.similar_pairs(x, threshold=-1.0))


def test_near_ties(rng: np.random.Generator) -> None:
    queries, x = near_ties(rng, 100, 70)
    for k in (1, 10, 100):
        assert_same(mf.topk_similarity(queries, x, k), reference.topk_similarity(queries, x, k))


@pytest.mark.parametrize(("n", "m"), [(1, 1), (40, 33), (17, 150)])
def test_two_sets(n: int, m: int, rng: np.random.Generator) -> None:
    both = clustered(rng, n + m, 70)
    x, y = both[:n], of_type(both[n:], "float16")
    wide = y.astype(np.float32)
    for threshold in (0.95, 0.3):
        wanted = reference.similar_pairs(x, wide, threshold=threshold)
        assert_same(mf.similar_pairs(x, y, threshold=threshold), wanted)
    for k in {1, min(m, 40), m}:
        assert_same(mf.topk_similarity(x, y, k), reference.topk_similarity(x, wide, k))


@pytest.mark.parametrize("sets", [1, 2])
def test_pairs_as_a_stream(sets: int, rng: np.random.Generator) -> None:
    x = clustered(rng, 150, 70)
    given = [x] if sets == 1 else [x, x[20:]]
    wanted = reference.similar_pairs(*given, threshold=0.3)
    parts = list(mf.iter_similar_pairs(*given, threshold=0.3, max_pairs=len(wanted[0]) // 3))
    assert len(parts) > 1
    assert_same([np.concatenate(p) for p in zip(*parts, strict=True)], wanted)


@pytest.mark.parametrize("k", [20, 99])
def test_many_neighbours(k: int, rng: np.random.Generator) -> None:
    x = clustered(rng, 100, 70)
    assert_same(mf.topk_similarity(x, k=k), reference.topk_similarity(x, k=k))


def test_kmeans_refills_empty_clusters(rng: np.random.Generator) -> None:
    x = clustered(rng, 50, 6)
    init = np.tile(x[:1], (5, 1))  # all but the first start empty
    for spherical in (True, False):
        settings = {"init": init, "spherical": spherical, "max_iterations": 3}
        assert_same(mf.kmeans(x, 5, **settings), reference.kmeans(x, 5, **settings))
    wanted = reference.kmeans(np.ones((9, 2), np.float32), 4)  # seeds of which all are copies
    assert_same(mf.kmeans(np.ones((9, 2), np.float32), 4), wanted)


def seeds_by_screens(
    x: NDArray[Any], k: int, spherical: bool, weights: NDArray[np.float64] | None = None
) -> None:
    """All rows but those that a screen leaves out, beside the reference."""
    given = rows.Rows(torch.from_numpy(x), CPU)
    uniforms = np.random.default_rng(1).random(k)
    got = seeding.kmeans_plus_plus(
        given, confirm.squared_norms(given), uniforms, spherical=spherical, screened=True,
        weights=None if weights is None else torch.from_numpy(weights),
    )  # fmt: skip
    wide = reference.widen(x)
    np.testing.assert_array_equal(
        got, reference.kmeans_plus_plus(wide, k, spherical, uniforms, weights)
    )


@pytest.mark.parametrize("spherical", [True, False])
@pytest.mark.parametrize("d", [5, 200])
def test_seeds_by_screens(d: int, spherical: bool, rng: np.random.Generator) -> None:
    x = clustered(rng, 120, d)
    seeds_by_screens(x, 16, spherical)
    seeds_by_screens(x, 8, spherical, rng.integers(0, 3, size=120).astype(np.float64))


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_seeds_by_screens_of_adversarial_rows(name: str, rng: np.random.Generator) -> None:
    x = adversarial(name, rng, 40, 70)
    for spherical in (True, False):
        seeds_by_screens(x, 10, spherical)


def test_screens_leave_out_rows(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer pairs are compared than there are."""
    compared = []
    inner = confirm.inner
    monkeypatch.setattr(
        confirm, "inner", lambda x, y, i, j: compared.append(len(i)) or inner(x, y, i, j)
    )
    seeds_by_screens(clustered(rng, 100, 70), 30, True)
    assert 0 < sum(compared) < 100 * 15


@pytest.fixture
def whole_blocks(on_the_device: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_sums, "BLOCK_ROWS", reference.BLOCK_ROWS)


def test_kmeans_of_several_blocks(whole_blocks: None, rng: np.random.Generator) -> None:
    x = clustered(rng, reference.BLOCK_ROWS + 100, 3)
    settings = {"init": x[:2].copy(), "max_iterations": 1}
    assert_same(mf.kmeans(x, 2, **settings), reference.kmeans(x, 2, **settings))


def sums_of_blocks(x: NDArray[np.float64], labels: NDArray[np.int64], k: int) -> NDArray[Any]:
    total = np.zeros((k, x.shape[1]))
    for s in range(0, len(x), reference.BLOCK_ROWS):
        part = np.zeros_like(total)
        chosen = slice(s, s + reference.BLOCK_ROWS)
        np.add.at(part, labels[chosen], x[chosen])
        total += part
    return total


@pytest.mark.parametrize("resident", [True, False])
def test_sums_in_the_order_of_the_contract(
    whole_blocks: None, resident: bool, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    n, d, k = reference.BLOCK_ROWS + 77, 131, 3
    x = (rng.normal(size=(n, d)) * 10.0 ** rng.integers(-9, 9, size=(n, 1))).astype(np.float32)
    x[7] = 0
    labels = rng.integers(k, size=n)
    monkeypatch.setattr(rows, "CHUNK_BYTES", 1)  # a block a chunk
    held = rows.Rows(torch.from_numpy(x), CPU)
    held.resident = resident
    wide = reference.widen(x)
    got = cluster_sums.cluster_sums(held, torch.from_numpy(labels), k, None)
    np.testing.assert_array_equal(got, sums_of_blocks(wide, labels, k))
    norms = np.sqrt(reference.squared_norm(wide))
    unit = np.divide(wide, norms[:, None], out=np.zeros_like(wide), where=norms[:, None] > 0)
    got = cluster_sums.cluster_sums(held, torch.from_numpy(labels), k, torch.from_numpy(norms))
    np.testing.assert_array_equal(got, sums_of_blocks(unit, labels, k))
    np.testing.assert_array_equal(
        kmeans.squared_norms_of_sums(got), reference.squared_norm(got.numpy())
    )
    values = np.abs(wide[:, 0])
    blocks = [np.cumsum(values[s : s + 1024])[-1] for s in range(0, n, 1024)]
    np.testing.assert_array_equal(cluster_sums.block_sums(torch.from_numpy(values)), blocks)


def test_rows_that_stay_in_host_memory(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """Sent in chunks, and again where a pair is confirmed."""
    x = clustered(rng, 60, 70).astype(np.float64)

    class Away(rows.Rows):
        def __init__(self, data: torch.Tensor, device: torch.device) -> None:
            super().__init__(data, device)
            self.resident, self.data = False, data

    monkeypatch.setattr(_gpu, "Rows", Away)
    monkeypatch.setattr(rows, "CHUNK_BYTES", 70 * 8 * 50)
    wanted = reference.similar_pairs(x, threshold=0.9)
    assert len(wanted[0]) > 100  # confirmed in more than one go
    assert_same(mf.similar_pairs(x, threshold=0.9), wanted)
    assert_same(mf.redundancy(x), reference.redundancy(x))
    settings = {"max_iterations": 2, "seed": 3}
    assert_same(mf.kmeans(x, 3, **settings), reference.kmeans(x, 3, **settings))


def test_too_many_pairs() -> None:
    x = np.ones((80, 4), np.float32)
    assert len(mf.similar_pairs(x, max_pairs=3160).i) == 3160
    with pytest.raises(MemoryError, match="more than max_pairs = 3159 pairs have a cosine"):
        mf.similar_pairs(x, max_pairs=3159)
    with pytest.raises(MemoryError, match="gave up after 3160; raise the threshold"):
        mf.deduplicate(x, rule="greedy", max_pairs=100)


def test_results_come_in_kind(rng: np.random.Generator) -> None:
    x = clustered(rng, 40, 8)
    wanted = reference.topk_similarity(x, k=2)
    for given in (x, x[::-1][::-1], x.astype(">f4"), np.asfortranarray(x), x.tolist()):
        got = mf.topk_similarity(given, k=2)
        assert all(isinstance(field, np.ndarray) for field in got)
        assert_same(got, wanted)
    read_only = x.copy()
    read_only.flags.writeable = False
    assert_same(mf.topk_similarity(read_only, k=2), wanted)
    got = mf.topk_similarity(torch.from_numpy(x).T.contiguous().T, k=2)
    assert all(isinstance(field, torch.Tensor) for field in got)
    assert_same(got, wanted)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros(3, np.float32), ValueError, r"x must be a 2-d float array, got shape \(3,\)"),
        (np.zeros((0, 4)), ValueError, r"must have at least one row and one column, got \(0, 4\)"),
        (np.zeros((4, 0)), ValueError, r"must have at least one row and one column, got \(4, 0\)"),
        (np.zeros((2, 2), int), TypeError, "x must be float32, float16, .* got int64"),
        (torch.zeros((2, 2), dtype=torch.int32), TypeError, "x must be float32, .* got int32"),
        (
            np.array([[1, 2], [3, np.nan]]),
            ValueError,
            "finite in fp32, got NaN or infinity in row 1",
        ),
        (np.array([[1e39, 2], [3, np.inf]]), ValueError, "got NaN or infinity in row 0"),
    ],
)
def test_bad_samples(x: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        mf.redundancy(x)
    with pytest.raises(error, match=message.replace("x must", "y must")):
        mf.topk_similarity(np.ones((3, 2), np.float32), x)


def test_bad_widths() -> None:
    with pytest.raises(ValueError, match="y must have 2 columns like x, got 3"):
        mf.similar_pairs(np.ones((3, 2), np.float32), np.ones((3, 3), np.float32))
    with pytest.raises(ValueError, match=r"init must have shape \(2, 2\), got \(2, 3\)"):
        mf.kmeans(np.ones((3, 2), np.float32), 2, init=np.ones((2, 3), np.float32))


def test_bars_are_scores_that_k_columns_reach(rng: np.random.Generator) -> None:
    x = clustered(rng, 100, 70)
    wide = reference.widen(x)
    cosine = torch.from_numpy(reference.cosine(wide, wide))
    cosine.fill_diagonal_(-np.inf)
    held = rows.Rows(torch.from_numpy(x), CPU)
    squares = confirm.squared_norms(held)
    _, (side,) = _gpu._topk.prepare([held], [squares], cosine=True, ordered=False, tuning=SMALL)
    whole = join.Side(side.codes)
    for k in (1, 3, 12, 30, 99):
        got = tile_max.bars(
            whole, whole, join.Reach.whole(100, 100, 32, CPU), k, lambda p, q: cosine[p, q],
            mask=join.Mask.OTHER, tile=32,
        )  # fmt: skip
        kth = cosine.sort(1, descending=True).values[:, k - 1]
        assert bool((got <= kth).all())
        assert bool((got > -np.inf).all())
        if k in (1, 99):
            assert float((got == kth).double().mean()) > 0.5


def test_best_keeps_the_best_whatever_comes_when(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(best_columns, "HELD", 50)
    score = torch.from_numpy(rng.choice([-0.0, 0.0, 0.5, 1.0], size=(20, 30)))
    kept = best_columns.Best(21, 4, CPU)
    for part in torch.from_numpy(rng.permutation(600)).split(40):
        kept.add(part // 30, part % 30, score.reshape(-1)[part])
    similarity, indices = kept.result()
    wanted = np.argsort(-score.numpy() + 0.0, axis=1, kind="stable")[:, :4]
    np.testing.assert_array_equal(indices[:20], wanted)
    np.testing.assert_array_equal(similarity[:20], np.take_along_axis(score.numpy(), wanted, 1))
    assert indices[20].tolist() == [-1] * 4


def test_similar_rows_stand_together(rng: np.random.Generator) -> None:
    centre = rng.integers(-120, 120, size=(6, 64))
    which = rng.integers(6, size=600)
    code = torch.from_numpy((centre[which] + rng.integers(-5, 6, (600, 64))).clip(-127, 127))
    (cluster,) = rough_clusters.rough_clusters([code.to(torch.int8)], 6)
    assert int(cluster.max()) < 6
    same = cluster[:, None] == cluster[None, :]
    assert float(same[which[:, None] == which[None, :]].double().mean()) > 0.9
