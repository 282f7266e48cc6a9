"""Operations on parts: the bits of the whole, for any parts, budget and type; and little memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import assert_same, of_type
from sharded_cases import (
    OPERATIONS,
    ORDER,
    N,
    Operation,
    sample,
    whole,
)
from thread_group import ThreadGroup, on_ranks

import meddel_fast as mf
from meddel_fast.ops._call import needs_parts
from meddel_fast.sharded import memory, parts
from meddel_fast.sharded.group import SoloGroup
from meddel_fast.stores.store import LocalRows, open_store


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of each type, and one in shards that end within parts."""
    folder = tmp_path_factory.mktemp("stores")
    for dtype in ("float32", "float16", "int8"):
        np.save(folder / f"{dtype}.npy", sample(dtype))
    for number, rows in enumerate(np.split(sample("float16"), [1, 1500, 1501, 3499])):
        np.save(folder / f"shard-{number}.npy", rows)
    return folder


ROOMY = 40_000_000


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut all sets into parts of 1,024 rows that do not stay."""
    cut(monkeypatch, 1024, stays=False)


def cut(monkeypatch: pytest.MonkeyPatch, rows: int, *, stays: bool) -> None:
    monkeypatch.setattr(parts.Parts, "_rows_a_part", lambda self, left: (rows, stays))


@pytest.mark.parametrize(
    ("dtype", "rows", "stays"),
    [
        ("float32", 1024, False),
        ("float16", 1024, False),
        ("int8", 1024, False),
        ("float16", 2048, False),
        ("float16", 1024, True),
    ],
)
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_bits_of_the_whole(
    files: Path, monkeypatch: pytest.MonkeyPatch, name: str, dtype: str, rows: int, stays: bool
) -> None:
    cut(monkeypatch, rows, stays=stays)
    store = open_store(files / f"{dtype}.npy")
    assert_same(OPERATIONS[name](store, memory=ROOMY, threads=1), whole(name, dtype))
    assert store.rows_read == N if stays else store.rows_read > N


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_least_budget(files: Path, name: str) -> None:
    """What an operation says that it needs at least is enough."""
    store = open_store(files / "float16.npy")
    budget = 1000
    while True:
        try:
            found = OPERATIONS[name](store, memory=budget)
        except ValueError as error:
            wanted = int(str(error).split("memory must be at least ")[1].split()[0])
            assert wanted > budget
            budget = max(wanted, budget * 21 // 20)  # a share of it is set aside for pairs
        else:
            break
    assert_same(found, whole(name, "float16"))


@pytest.mark.parametrize("name", ["pairs", "greedy in groups", "kmeans", "kcenter"])
def test_shards_need_not_fit_parts(streamed: None, files: Path, name: str) -> None:
    store = open_store([files / f"shard-{number}.npy" for number in range(5)])
    assert_same(OPERATIONS[name](store, memory=ROOMY), whole(name, "float16"))


@pytest.mark.parametrize("name", ["pairs of two", "kcenter", "components"])
def test_arrays_and_tensors_in_parts(streamed: None, name: str) -> None:
    torch = pytest.importorskip("torch")
    assert_same(OPERATIONS[name](sample("float32"), memory=ROOMY), whole(name, "float32"))
    assert_same(OPERATIONS[name](LocalRows(sample("int8")), memory=ROOMY), whole(name, "int8"))
    if name != "pairs of two":
        tensor = sample("bfloat16")
        assert isinstance(tensor, torch.Tensor)
        wanted = [field.numpy() for field in OPERATIONS[name](tensor)]
        assert_same(OPERATIONS[name](tensor, memory=ROOMY), wanted)


def test_screens_and_parts(isa: str, screen: str, streamed: None, files: Path) -> None:
    store = open_store(files / "int8.npy")
    for name in ("redundancy in groups", "top 3", "components in groups", "kcenter", "semdedup"):
        assert_same(OPERATIONS[name](store, memory=ROOMY), whole(name, "int8"))


@pytest.mark.parametrize(
    ("most", "memory"), [(50, 6_000_000), (10_000, 6_000_000), (10**7, 6_000_000)]
)
def test_pairs_in_chunks(files: Path, most: int, memory: int) -> None:
    store = open_store(files / "float16.npy")
    wanted = mf.similar_pairs(sample("float16"), threshold=0.97)
    chunks = list(mf.iter_similar_pairs(store, threshold=0.97, max_pairs=most, memory=memory))
    assert_same([np.concatenate(f) for f in zip(*chunks, strict=True)], wanted)
    row_has = int(np.bincount(wanted.i).max())
    limit = min(most, memory // 4 // 72)
    assert max(len(chunk.i) for chunk in chunks) <= max(limit, row_has)
    second = sample("float16")[:1500]
    wanted = mf.similar_pairs(sample("float16"), second, threshold=0.98)
    chunks = list(mf.iter_similar_pairs(store, second, threshold=0.98, memory=2 * memory))
    assert_same([np.concatenate(f) for f in zip(*chunks, strict=True)], wanted)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("spherical", [True, False])
def test_clusters_without_members(streamed: None, dtype: str, spherical: bool) -> None:
    """More clusters than different rows (one of zeros), seeded and given: the same rows fill in."""
    if dtype == "bfloat16":
        pytest.importorskip("torch")
    few = np.random.default_rng(4).normal(size=(6, 8)).astype(np.float32)
    few[2] = 0
    x = of_type(few[np.random.default_rng(5).integers(6, size=2500)], dtype)
    far = np.full((9, 8), 40.0, np.float32) * np.arange(1, 10, dtype=np.float32)[:, None]
    for init in (None, far):
        wanted = mf.kmeans(x, 9, spherical=spherical, init=init, max_iterations=3)
        found = mf.kmeans(
            x, 9, spherical=spherical, init=init, max_iterations=3, memory=ROOMY, threads=1
        )
        assert_same(found, [np.asarray(field) for field in wanted])
        assert len(np.unique(found.labels)) < 9


def test_greedy_halves_a_part_that_has_too_many_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    x = sample("float32")[:1100].copy()
    # 244,650 pairs, where a hundredth of them fits. (Of equal rows none would be held.)
    x[:700] = x[0] * np.linspace(1, 2, 700, dtype=np.float32)[:, None]
    cut(monkeypatch, 1024, stays=False)
    budget = 1_500_000
    for more in ({}, {"order": np.argsort(ORDER[:1100])}):
        for rule in ("greedy", "components"):
            found = mf.deduplicate(x, 0.97, rule=rule, memory=budget, **more)
            assert_same(found, mf.deduplicate(x, 0.97, rule=rule, **more))
    assert budget // 8 // 44 < 244_650 // 50


def test_too_many_pairs(streamed: None, files: Path) -> None:
    store = open_store(files / "float32.npy")
    with pytest.raises(MemoryError, match=r"more than max_pairs = 100 pairs .* cosine of 0\.97"):
        mf.similar_pairs(store, threshold=0.97, max_pairs=100, memory=ROOMY)


def test_parts_follow_from_the_budget(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((10_000, 100), np.float32))
    store = open_store(tmp_path / "x.npy")

    def layout(budget: int, **plan: int) -> parts.Parts:
        made = parts.Parts("x", store, parts.Settings(budget, SoloGroup(), 1))
        made.plan(**{"everywhere": 24} | plan)
        return made

    with pytest.raises(ValueError, match=r"memory must be at least (\d+) bytes") as error:
        layout(1_000_000)
    least = int(str(error.value).split("at least ")[1].split()[0])
    assert layout(least).step == 1024
    with pytest.raises(ValueError, match=f"at least {least}"):
        layout(least - 1)
    assert layout(least + 1_000_000, beside=1_000_000).step == 1024
    assert layout(least + 10_000_000, held=1000).step == 1024
    middle = layout(9_000_000)
    assert not middle.stays
    assert [t.start for t in middle.tiles] == list(range(0, 10_000, middle.step))
    assert middle.tiles[-1].stop == 10_000
    large = layout(40_000_000)
    assert large.stays
    assert len(large.tiles) == 1


def test_ranks_of_unlike_room(tmp_path: Path) -> None:
    """One rank has room for its rows, the other has not: what they exchange goes on to match."""
    x = np.random.default_rng(0).normal(size=(9000, 256)).astype(np.float16)
    np.save(tmp_path / "x.npy", x)
    stores = [open_store(tmp_path / "x.npy") for _ in range(2)]
    budgets = (100_000_000, 8_200_000)

    def work(group: ThreadGroup) -> Any:
        rank = group.rank
        return mf.kmeans(
            stores[rank], 30, max_iterations=3, threads=1, memory=budgets[rank], group=group
        )

    wanted = mf.kmeans(x, 30, max_iterations=3, threads=1)
    for found in on_ranks(2, work):
        assert_same(found, wanted)
    assert all(store.rows_read > len(x) for store in stores)  # neither kept them


def test_what_asks_for_parts(files: Path) -> None:
    x, store = sample("int8"), open_store(files / "int8.npy")
    assert not needs_parts(x, None, memory=None, group=None)
    for sets, memory_, group in (
        ([x], 10**9, None), ([x], None, SoloGroup()), ([x, store], None, None),
        ([LocalRows(x)], None, None),
    ):  # fmt: skip
        assert needs_parts(*sets, memory=memory_, group=group)


@pytest.mark.parametrize(
    ("memory", "error", "message"),
    [
        (0, ValueError, "memory must be at least 1, got 0"),
        (1.5, TypeError, "memory must be an int, got float 1.5"),
        (
            "much",
            ValueError,
            "memory must be bytes, or a text such as '512MB' or '2GiB', got 'much'",
        ),
        ("5 parsecs", ValueError, "got '5 parsecs'"),
        (
            100_000,
            ValueError,
            "memory must be at least .* bytes for 3500 x 24 rows of x, got 100000",
        ),
    ],
)
def test_wrong_budgets(files: Path, memory: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        mf.redundancy(open_store(files / "float32.npy"), memory=memory)


def test_budgets_as_text() -> None:
    sizes = {"512MB": 512 * 10**6, "2 GiB": 2**31, "1.5kb": 1500, "77": 77}
    assert {text: memory.check_memory(text) for text in sizes} == sizes
    assert memory.check_memory(None) > 2**20


def test_a_gpu_is_refused(files: Path) -> None:
    store = open_store(files / "float32.npy", memory=ROOMY)
    for device in ("cuda", "", "CPU"):
        message = f"device must be 'cpu' where the rows are in parts, got '{device}'"
        with pytest.raises(ValueError, match=message):
            mf.redundancy(store, device=device)
    torch = pytest.importorskip("torch")
    for cpu in ("cpu", torch.device("cpu")):
        assert_same(mf.redundancy(store, device=cpu), whole("redundancy", "float32"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: mf.kcenter_greedy(s, 0), "k must be from 1 to 3500"),
        (lambda s: mf.kcenter_greedy(s), "give k, radius or both"),
        (lambda s: mf.kmeans(s, 9000), "k must be from 1 to 3500"),
        (lambda s: mf.kmeans(s, 2, init=np.zeros((2, 3))), r"init must have shape \(2, 24\)"),
        (lambda s: mf.topk_similarity(s, np.zeros((9, 5))), "y must have 24 columns like x, got 5"),
        (lambda s: mf.deduplicate(s, 2.0), "threshold must be from -1 to 1"),
        (lambda s: mf.deduplicate(s, order=[1, 1]), "order must have one entry a row of x"),
    ],
)
def test_wrong_arguments(files: Path, call: Operation, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(open_store(files / "float32.npy"))


@pytest.mark.parametrize("name", mf.selectors.SELECTORS)
def test_selectors_take_stores(streamed: None, files: Path, name: str) -> None:
    store = open_store(files / "float16.npy", memory=ROOMY)
    needs = {"score": ORDER / N, "like": sample("float16")[:3]}
    own = {option: needs[option] for option in mf.selectors.METHODS[name].needs}
    found = mf.selectors.select(name, store, 0.01, **own)
    wanted = mf.selectors.select(name, sample("float16"), 0.01, **own)
    for field in ("order", "scores", "reason", "duplicate_of", "similarity", "distance", "cluster"):
        np.testing.assert_array_equal(getattr(found, field), getattr(wanted, field), field)
    # These read nothing, and herding holds what it has read.
    assert (store.rows_read > N) == (name not in ("random", "loss", "herding"))


def test_a_store_may_have_a_budget(files: Path) -> None:
    store = open_store(files / "float16.npy", memory=100_000)
    with pytest.raises(ValueError, match=r"memory must be at least .* got 100000"):
        mf.redundancy(store)
    assert_same(mf.redundancy(store, memory=ROOMY), whole("redundancy", "float16"))


LIMITED = """
import re, resource, sys
import numpy as np
import meddel_fast as mf, meddel_fast.sharded
from concurrent.futures import ThreadPoolExecutor
path, budget, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
mapped = int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
# Beside the budget: the threads' stacks, and what the allocator maps ahead.
limit = mapped + budget + 32 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
store = mf.open_store(path)
labels = np.arange(len(store)) // 64
kept = mf.deduplicate(store, 0.95, labels=labels, memory=budget, threads=1)
centres = mf.kcenter_greedy(store, 40, memory=budget, threads=1)
np.savez(out, *kept, *centres)
"""


def test_a_quarter_of_the_data_is_memory_enough(tmp_path: Path) -> None:
    """256 MB of rows; the process may map 64 MB beyond what it is before it opens them."""
    rng = np.random.default_rng(0)
    n, d = 65_536, 4096
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.int8, (n, d))
    for start in range(0, n, 8192):
        x[start : start + 8192] = rng.integers(-128, 128, size=(8192, d), dtype=np.int8)
    x[1::64] = x[::64]
    x.flush()
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "x.npy"), str(32 * 2**20)]
    done = subprocess.run(
        [*command, str(tmp_path / "out.npz")],
        capture_output=True, text=True, timeout=250, env={"MALLOC_ARENA_MAX": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    wanted = (
        *mf.deduplicate(x, 0.95, labels=np.arange(n) // 64), *mf.kcenter_greedy(x, 40)
    )  # fmt: skip
    with np.load(tmp_path / "out.npz") as found:
        assert_same([found[name] for name in found.files], wanted)
