"""`Prepared`: what one operation works out serves the next, and no result shows it."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import numpy as np
import pytest
from operation_cases import operations
from samples import ADVERSARIAL, DTYPES, adversarial, assert_same, clustered, of_type

import meddel_fast as mf
from meddel_fast import _core
from meddel_fast.stores.store import LocalRows, open_store

MODES = ["auto", "always", "wide", "grouped", "dense", "boxes", "never"]


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Any:
    _core.use_screen(request.param)
    yield request.param
    _core.use_screen("auto")


def samples(rng: np.random.Generator, n: int, d: int, dtype: str = "float32") -> Any:
    """Clusters in which some rows are zero, equal, or of one direction."""
    if dtype == "bfloat16":
        pytest.importorskip("torch")
    x = clustered(rng, n, d)
    x[n // 4 : n // 4 + 5] = x[2]
    x[7] = 0
    return of_type(x, dtype)


def same_as_of(x: Any, prepared: Any, times: int = 2, **more: Any) -> None:
    """Compare all operations on a prepared set, and again, with those on the array."""
    calls = operations(len(x))
    wanted = {name: fast(x, **more) for name, (fast, _) in calls.items()}
    for _ in range(times):
        for name, (fast, _) in calls.items():
            try:
                assert_same(fast(prepared, **more), wanted[name])
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from None


@pytest.mark.parametrize("dtype", DTYPES)
def test_operations_return_the_same(mode: str, rng: np.random.Generator, dtype: str) -> None:
    x = samples(rng, 300, 131, dtype)
    same_as_of(x, mf.Prepared(x), threads=2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_operations_return_the_truth(rng: np.random.Generator, dtype: str) -> None:
    x = samples(rng, 90, 24, dtype)
    prepared = mf.Prepared(x)
    for fast, slow in operations(len(x)).values():
        assert_same(fast(prepared), slow(x))


@pytest.mark.parametrize("data", ADVERSARIAL)
@pytest.mark.parametrize("forced", ["always", "dense"])
def test_rows_that_stretch_the_bounds(rng: np.random.Generator, data: str, forced: str) -> None:
    _core.use_screen(forced)
    try:
        x = adversarial(data, rng, 150, 131)
        same_as_of(x, mf.Prepared(x), threads=1)
    finally:
        _core.use_screen("auto")


def test_one_set_serves_all_modes_and_instruction_sets(rng: np.random.Generator) -> None:
    """Codes made by one are used by the others."""
    x = samples(rng, 250, 131)
    prepared = mf.Prepared(x)
    try:
        for forced in MODES:
            for name in _core.available_isas():
                _core.use_screen(forced)
                _core.use_isa(name)
                same_as_of(x, prepared, 1, threads=1)
    finally:
        _core.use_screen("auto")
        _core.use_isa("")


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_large_enough_for_all_screens(rng: np.random.Generator, metric: str) -> None:
    x = samples(rng, 6000, 96)
    prepared = mf.Prepared(x)
    labels = rng.integers(4, size=len(x))
    for _ in range(2):
        for call in (
            lambda x: mf.kmeans(x, 60, max_iterations=2, spherical=metric == "cosine"),
            lambda x: mf.kcenter_greedy(x, 100, metric=metric),
            lambda x: mf.redundancy(x, labels=labels),
            lambda x: mf.topk_similarity(x, k=3),
            lambda x: mf.similar_pairs(x, threshold=0.99),
            lambda x: mf.deduplicate(x, 0.99, rule="greedy"),
        ):
            assert_same(call(prepared), call(x))


@pytest.mark.parametrize("most", [0, 30_000, 60_000, 200_000, 1_000_000])
@pytest.mark.parametrize("forced", ["always", "dense"])
def test_little_room(rng: np.random.Generator, most: int, forced: str) -> None:
    """Codes of some rows are held, or of none, and what is kept goes for what follows."""
    x = samples(rng, 300, 131)
    known = _core.Prepared(x, most)
    for_good = len(x) * (8 + 2 * 4 * 8) + 100
    _core.use_screen(forced)
    try:
        for _ in range(2):
            for cosine in (True, False):
                assert_same(
                    _core.kcenter_greedy(known, 40, -1.0, cosine, 0, [], True, 2),
                    _core.kcenter_greedy(x, 40, -1.0, cosine, 0, [], True, 2),
                )
                assert known.nbytes <= most + for_good
                uniforms = rng.random(20).tolist()
                seeds = _core.kmeans_plus_plus(x, cosine, uniforms, 2)
                assert_same([_core.kmeans_plus_plus(known, cosine, uniforms, 2)], [seeds])
                init = x[seeds].copy()
                assert_same(
                    _core.kmeans(known, init, 3, 0.0, cosine, None, 2),
                    _core.kmeans(x, init, 3, 0.0, cosine, None, 2),
                )
                assert known.nbytes <= most + for_good
            assert_same(
                _core.topk_similarity(known, None, 3, 2), _core.topk_similarity(x, None, 3, 2)
            )
    finally:
        _core.use_screen("auto")


def test_holds_what_it_says(rng: np.random.Generator) -> None:
    x = samples(rng, 3000, 131)
    prepared = mf.Prepared(x)
    assert prepared.nbytes == 0, "nothing is worked out before it is wanted"
    mf.redundancy(prepared)
    first = prepared.nbytes
    assert 8 * len(x) <= first
    mf.redundancy(prepared)
    assert prepared.nbytes == first
    _core.use_screen("always")
    try:
        mf.kcenter_greedy(prepared, 100)
    finally:
        _core.use_screen("auto")
    assert first + 64 * len(x) < prepared.nbytes
    assert prepared.nbytes <= 2**26 + len(x) * (8 + 64) + 100


def test_what_is_found_is_used(rng: np.random.Generator) -> None:
    """A second call makes no code again: it keeps what it holds."""
    x = samples(rng, 400, 131)
    for metric in ("euclidean", "cosine"):
        prepared = mf.Prepared(x)
        _core.use_screen("always")
        try:
            mf.kcenter_greedy(prepared, 50, metric=metric)
            held = prepared.nbytes
            mf.kcenter_greedy(prepared, 60, metric=metric)
            mf.kmeans(prepared, 9, spherical=metric == "cosine", max_iterations=2)
        finally:
            _core.use_screen("auto")
        assert prepared.nbytes == held


def test_several_threads_use_one_at_a_time(rng: np.random.Generator) -> None:
    x = samples(rng, 600, 131)
    calls = operations(len(x))
    names = list(calls)
    wanted = {name: calls[name][0](x, threads=1) for name in names}
    prepared, start = mf.Prepared(x), threading.Barrier(4)
    wrong: list[Any] = []

    def work(turn: int) -> None:
        start.wait()
        for name in names[turn:] + names[:turn]:
            try:
                assert_same(calls[name][0](prepared, threads=2), wanted[name])
            except Exception as error:
                wrong.append((name, error))

    _core.use_screen("always")
    try:
        threads = [threading.Thread(target=work, args=(4 * turn,)) for turn in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        _core.use_screen("auto")
    assert not wrong


@pytest.mark.parametrize("mode", ["auto", "always", "grouped"], indirect=True)
@pytest.mark.parametrize("dtype", DTYPES)
def test_two_sets(rng: np.random.Generator, mode: str, dtype: str) -> None:
    x, y = samples(rng, 200, 70, dtype), samples(rng, 130, 70, dtype)
    float32 = samples(rng, 80, 70)
    first, second = mf.Prepared(x), mf.Prepared(y)
    for a, b in ((first, second), (x, second), (first, y), (first, first)):
        plain = [v.rows if isinstance(v, mf.Prepared) else v for v in (a, b)]
        for call in (
            lambda x, y: mf.similar_pairs(x, y, threshold=0.9),
            lambda x, y: mf.topk_similarity(x, y, 3),
        ):
            assert_same(call(a, b), call(*plain))
    other = mf.Prepared(float32)  # of another type: both are widened
    assert_same(mf.topk_similarity(first, other, 2), mf.topk_similarity(x, float32, 2))


def test_chunks_of_pairs(rng: np.random.Generator) -> None:
    x = samples(rng, 300, 70)
    chunks = mf.iter_similar_pairs(mf.Prepared(x), threshold=0.8, max_pairs=1000)
    plain = mf.iter_similar_pairs(x, threshold=0.8, max_pairs=1000)
    for chunk, wanted in zip(chunks, plain, strict=True):
        assert_same(chunk, wanted)


def test_nan_is_refused_as_of_an_array_and_by_each_call(rng: np.random.Generator) -> None:
    x = rng.normal(size=(20, 3)).astype(np.float32)
    x[[7, 12]] = np.nan
    prepared = mf.Prepared(x)
    for call, name in (
        (lambda x: mf.kmeans(x, 2), "x"),
        (mf.redundancy, "x"),
        (lambda x: mf.similar_pairs(np.ones((2, 3), np.float32), x), "y"),
        (lambda x: mf.selectors.kcenter(x, 5), "x"),
    ):
        errors = []
        for given in (x, prepared, prepared):
            with pytest.raises(ValueError, match=f"{name} must be finite.* in row 7") as caught:
                call(given)
            errors.append(str(caught.value))
        assert len(set(errors)) == 1


@pytest.mark.parametrize(
    ("x", "error"),
    [
        (np.zeros(3, np.float32), ValueError),
        (np.zeros((0, 3), np.float32), ValueError),
        (np.zeros((2, 3), np.int32), TypeError),
        ([["a"]], TypeError),
        (None, TypeError),
    ],
)
def test_what_operations_refuse_cannot_be_prepared(x: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as plain:
        mf.redundancy(x)
    with pytest.raises(error) as caught:
        mf.Prepared(x)
    assert str(caught.value) == str(plain.value)


def test_a_store_cannot_be_prepared(rng: np.random.Generator, tmp_path: Any) -> None:
    np.save(tmp_path / "x.npy", rng.normal(size=(20, 3)).astype(np.float32))
    with pytest.raises(TypeError, match="a Store is read in parts"):
        mf.Prepared(open_store(tmp_path / "x.npy"))


def test_a_change_is_refused(rng: np.random.Generator) -> None:
    x = rng.normal(size=(500, 8)).astype(np.float32)
    prepared = mf.Prepared(x)
    mf.kmeans(prepared, 3)
    x *= 2
    with pytest.raises(ValueError, match="x has changed since it was prepared"):
        mf.kmeans(prepared, 3)
    with pytest.raises(ValueError, match="x has changed since it was prepared"):
        mf.selectors.random(prepared, 5)
    x /= 2
    assert_same(mf.kmeans(prepared, 3), mf.kmeans(x, 3))
    x[-1, -1] += 1  # the last row is among those that are looked at, as is the first
    with pytest.raises(ValueError, match="y has changed since it was prepared"):
        mf.topk_similarity(x, prepared)


def test_slices_and_copies_are_other_sets(rng: np.random.Generator) -> None:
    x = samples(rng, 250, 131)
    prepared = mf.Prepared(x)
    other = x.copy()
    other[:50] = x[50:100]
    _core.use_screen("always")
    try:
        for plain, given in (
            (x, prepared),
            (x[100:200], prepared[100:200]),
            (x[100:], mf.Prepared(prepared[100:])),
            (x[:, :70], mf.Prepared(x[:, :70])),
            (other, mf.Prepared(other)),
            (x, mf.Prepared(prepared)),
        ):
            assert_same(mf.kcenter_greedy(given, 40), mf.kcenter_greedy(plain, 40))
            assert_same(mf.redundancy(given), mf.redundancy(plain))
    finally:
        _core.use_screen("auto")
    assert prepared[100:].base is x


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.astype(np.float64),
        lambda x: x[::-1],
        lambda x: x[:, ::2],
        lambda x: np.asfortranarray(x),
        lambda x: x.tolist(),
        lambda x: x.astype(">f4"),
    ],
)
def test_what_has_to_be_converted(rng: np.random.Generator, view: Any) -> None:
    x = view(samples(rng, 60, 32))
    prepared = mf.Prepared(x)
    same_as_of(x, prepared, 1)
    assert prepared.shape == np.shape(x)


def test_torch_tensors_give_tensors(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.from_numpy(samples(rng, 60, 32)).to(dtype)
        prepared = mf.Prepared(x)
        assert prepared.rows is x
        assert prepared.dtype == dtype
        found = mf.kmeans(prepared, 3)
        assert torch.is_tensor(found.labels)
        assert torch.is_tensor(mf.redundancy(prepared)[0])
        assert torch.is_tensor(prepared[:5])
        assert_same(mf.redundancy(prepared, memory="40MB"), mf.redundancy(x))


def test_rows_are_handed_on_to_parts(rng: np.random.Generator) -> None:
    x = samples(rng, 300, 40)
    prepared = mf.Prepared(x)
    same_as_of(x, prepared, 1, memory="40MB")
    assert_same(mf.redundancy(LocalRows(prepared)), mf.redundancy(x))
    assert prepared.nbytes == 0


def test_what_it_says_of_itself(rng: np.random.Generator) -> None:
    x = rng.normal(size=(30, 4)).astype(np.float16)
    prepared = mf.Prepared(x)
    about = (prepared.n, prepared.d, prepared.shape, prepared.ndim, len(prepared), prepared.dtype)
    assert about == (30, 4, (30, 4), 2, 30, np.float16)
    assert prepared.rows is x
    assert np.asarray(prepared) is x
    assert repr(prepared) == "Prepared(30 x 4 of float16, 0 bytes held)"
    again = pickle.loads(pickle.dumps(prepared))
    assert_same(mf.redundancy(again), mf.redundancy(x))
    assert again.nbytes > 0 == prepared.nbytes


def test_equal_rows_of_many_groups_are_kept_apart(rng: np.random.Generator) -> None:
    """Where all rows are of one kind, places of the table for one group meet those of others."""
    x = np.tile(rng.normal(size=(1, 8)).astype(np.float32), (600, 1))
    labels = rng.integers(300, size=len(x))
    found = mf.redundancy(mf.Prepared(x), labels=labels)
    assert_same(found, mf.redundancy(x, labels=labels))
    assert (labels[found.neighbor[found.neighbor >= 0]] == labels[found.neighbor >= 0]).all()
