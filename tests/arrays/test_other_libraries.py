"""Other libraries' objects, by the table of docs/inputs.md: where rows lie, values, results."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kinds_of_rows import ROWS, Made, table
from numpy.typing import NDArray
from operation_cases import operations
from samples import clustered, of_type

import meddel_fast as mf
from meddel_fast.arrays.rows import open_rows
from meddel_fast.stores.store import LocalRows, Store, taken

N, D = 40, 6
X = clustered(np.random.default_rng(0), N, D)
TABLE = table()
READ = ("in parts", "read")


def made(kind: str, dtype: str, folder: Path) -> tuple[NDArray[Any], Made]:
    x = of_type(X, dtype)
    return x, ROWS[kind].make(x, folder)


def as_numpy(field: Any) -> Any:
    """A result of any library in numpy."""
    if hasattr(field, "to_pylist"):
        return np.array(field.to_pylist())
    return field if field is None or isinstance(field, (int, float)) else np.asarray(field)


def assert_equal(found: Any, wanted: Any) -> None:
    assert type(found) is type(wanted)
    for name, field in found._asdict().items():
        np.testing.assert_array_equal(as_numpy(field), getattr(wanted, name), err_msg=name)


def test_the_table_has_the_kinds_that_are_made() -> None:
    assert list(TABLE) == list(ROWS)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int8"])
@pytest.mark.parametrize("kind", ROWS)
def test_rows_are_where_the_table_says(kind: str, dtype: str, tmp_path: Path) -> None:
    if dtype not in ROWS[kind].dtypes:
        pytest.skip(f"has no {dtype} here")
    x, (given, address) = made(kind, dtype, tmp_path)
    copied = TABLE[kind][0]
    rows = taken("x", given, in_parts=False)
    assert isinstance(rows, Store) == (copied in READ)
    if isinstance(rows, Store):
        assert rows.shape == (N, D)
        found = rows.rows(2, 8)
        wanted = x.astype(np.float32) if dtype == "float64" else x
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted[2:8])
        mixed = np.array([5, 30, 30, 1, 17])
        np.testing.assert_array_equal(rows.take(mixed), wanted[mixed])
        assert rows.in_memory == (copied == "in parts" and dtype != "float64")
        if rows.in_memory:
            assert found.ctypes.data == address + 2 * D * x.itemsize
        return
    array = rows if isinstance(rows, np.ndarray) else rows.numpy()
    np.testing.assert_array_equal(array, x)
    assert array.dtype == x.dtype
    if copied == "no":
        assert array.ctypes.data == address
        if dtype != "float64":
            assert open_rows("x", given).array.ctypes.data == address
    else:
        assert not np.shares_memory(array, x)
        parts = taken("x", given, in_parts=True)
        assert isinstance(parts, Store) or not parts.flags.c_contiguous or "FAISS" in kind


@pytest.mark.parametrize("kind", ROWS)
def test_every_operation_has_numpys_bits(kind: str, tmp_path: Path) -> None:
    x, (given, _) = made(kind, "float32", tmp_path)
    before = x.copy()
    for name, (fast, _) in operations(N).items():
        try:
            assert_equal(fast(given), fast(x))
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None
    assert_equal(mf.topk_similarity(x, given, 3), mf.topk_similarity(x, x.copy(), 3))
    assert_equal(mf.similar_pairs(x, y=given), mf.similar_pairs(x, y=x.copy()))
    chunks = [list(mf.iter_similar_pairs(s, threshold=0.5, max_pairs=99)) for s in (given, x)]
    joined = [[np.concatenate([as_numpy(c[f]) for c in part]) for f in range(3)] for part in chunks]
    for found, wanted in zip(*joined, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert_equal(mf.dedup_sweep(given).at(0.9), mf.dedup_sweep(x).at(0.9))
    np.testing.assert_array_equal(x, before)  # nothing writes to what it is given


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8"])
@pytest.mark.parametrize("kind", ROWS)
def test_other_types_have_numpys_bits(kind: str, dtype: str, tmp_path: Path) -> None:
    if dtype not in ROWS[kind].dtypes:
        pytest.skip(f"has no {dtype} here")
    x, (given, _) = made(kind, dtype, tmp_path)
    assert_equal(mf.redundancy(given), mf.redundancy(x))
    assert_equal(mf.kmeans(given, 3, memory="30MB"), mf.kmeans(x, 3))


@pytest.mark.filterwarnings("ignore:retrieve")
@pytest.mark.parametrize("kind", ROWS)
def test_selectors_and_stores_have_numpys_bits(kind: str, tmp_path: Path) -> None:
    x, (given, _) = made(kind, "float32", tmp_path)
    left_out = np.arange(N) % 7 == 2
    for name, more in (("kcenter", {}), ("semdedup", {"clusters": 3})):
        select = getattr(mf.selectors, name)
        wanted = select(x, 9, exclude=left_out, **more)
        for memory in (None, "40MB"):
            found = select(given, 9, exclude=left_out, memory=memory, **more)
            np.testing.assert_array_equal(found.order, wanted.order)
            np.testing.assert_array_equal(found.scores, wanted.scores)
    found, wanted = (mf.selectors.retrieve(x, 9, like=like) for like in (given, x))
    np.testing.assert_array_equal(found.order, wanted.order)
    if not kind.startswith(("numpy", "torch")):
        store = mf.open_store(given)
        np.testing.assert_array_equal(store.rows(0, N), x)
    prepared = mf.Prepared(given)
    assert_equal(mf.redundancy(prepared), mf.redundancy(x))
    assert_equal(mf.redundancy(LocalRows(given)), mf.redundancy(x))


KINDS_OF_RESULTS = {
    "numpy": ("numpy", "numpy"),
    "torch": ("torch", "torch"),
    "JAX with `jax_enable_x64`, else numpy": ("numpy", "numpy"),
    "of the same library": ("array_api_strict", "array_api_strict"),
    "pandas": ("pandas", "pandas"),
    "Polars": ("polars", "polars"),
    "pyarrow": ("pyarrow", "pyarrow"),
    "of the library beneath": ("polars", "polars"),
}


@pytest.mark.parametrize("kind", ROWS)
def test_results_are_of_the_kind_that_the_table_says(kind: str, tmp_path: Path) -> None:
    x, (given, _) = made(kind, "float32", tmp_path)
    wanted = KINDS_OF_RESULTS[TABLE[kind][1]]
    for call in (
        lambda s, **o: mf.kmeans(s, 3, **o),
        lambda s, **o: mf.topk_similarity(s, k=2, **o),
        lambda s, **o: mf.kcenter_greedy(s, 4, **o),
        lambda s, **o: mf.similar_pairs(s, threshold=0.5, **o),
    ):
        for sets, more in ((given, {}), (given, {"memory": "40MB"}), (mf.Prepared(given), {})):
            for name, field in call(sets, **more)._asdict().items():
                if hasattr(field, "dtype") or hasattr(field, "type"):
                    assert type(field).__module__.partition(".")[0] in wanted, name
                    np.testing.assert_array_equal(as_numpy(field), getattr(call(x), name))


def test_what_has_an_entry_a_row_has_pandas_index(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"e": list(X)}, index=[f"name {i}" for i in range(N)])
    found, center = mf.deduplicate(frame, 0.95), mf.kcenter_greedy(frame, N)
    assert list(found.keep.index) == list(frame.index)
    assert list(found.keep.index) == list(mf.topk_similarity(frame, k=2).indices.index)
    assert frame[found.keep].index.equals(frame.index[found.keep.to_numpy()])
    assert list(center.distances.index) == list(frame.index)
    assert list(center.indices.index) == list(range(N))  # N numbers of rows, not one for each row
    assert frame.iloc[center.indices].shape == (N, 1)
    again = mf.redundancy(frame, labels=mf.kmeans(frame, 3).labels)
    assert_equal(again, mf.redundancy(X, labels=mf.kmeans(X, 3).labels))


def test_options_may_be_columns_too() -> None:
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    pa = pytest.importorskip("pyarrow")
    order, labels = np.random.default_rng(1).permutation(N), np.arange(N) % 3
    wanted = mf.redundancy(X, order=order, labels=labels)
    for column in (pd.Series, pl.Series, pa.array, lambda v: pd.Series(v, dtype="Int64")):
        assert_equal(mf.redundancy(X, order=column(order), labels=column(labels)), wanted)
    texts = [f"patient {i % 5}" for i in range(N)]
    wanted = mf.selectors.kcenter(X, 9, groups=texts, exclude=labels == 2)
    for column in (pd.Series, pl.Series, pa.array):
        found = mf.selectors.kcenter(X, 9, groups=column(texts), exclude=column(labels == 2))
        np.testing.assert_array_equal(found.order, wanted.order)
    with pytest.raises(ValueError, match="labels must hold no null, row 3 is"):
        mf.redundancy(X, labels=pd.Series([0, 1, 2, None] * 10, dtype="Int64"))
    with pytest.raises(ValueError, match="labels must hold no null, row 1 is"):
        mf.redundancy(X, labels=pl.Series([0, None] * 20))


def test_bfloat16_of_jax_is_that_of_torch() -> None:
    jnp, torch = pytest.importorskip("jax.numpy"), pytest.importorskip("torch")
    x = jnp.asarray(X).astype(jnp.bfloat16).block_until_ready()
    assert open_rows("x", x).array.ctypes.data == x.unsafe_buffer_pointer()
    wanted = torch.from_numpy(X).to(torch.bfloat16)
    for more in ({}, {"memory": "40MB"}):
        found = mf.redundancy(x, **more)
        np.testing.assert_array_equal(found.similarity, mf.redundancy(wanted).similarity)
    store = mf.open_store(x)
    assert (store.bfloat16, store.dtype) == (True, np.uint16)
    from meddel_fast.selectors.provenance import data_sha256

    assert data_sha256(x) == data_sha256(wanted) == data_sha256(store)


def test_results_are_jaxs_where_it_keeps_64_bits() -> None:
    pytest.importorskip("jax")
    code = """
import jax, numpy as np, meddel_fast as mf
jax.config.update("jax_enable_x64", True)
x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
found, wanted = mf.kmeans(jax.numpy.asarray(x), 3), mf.kmeans(x, 3)
for name, field in found._asdict().items():
    if hasattr(field, "dtype"):
        assert isinstance(field, jax.Array) and field.dtype == getattr(wanted, name).dtype
    assert np.array_equal(np.asarray(field), getattr(wanted, name))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_chunks_are_not_copied_as_a_whole() -> None:
    """With a budget of a third of the rows, no more than that is held beside them."""
    pa = pytest.importorskip("pyarrow")
    n, d = 60_000, 64
    x = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), d)
    columns = pa.table({f"c{i}": x[:, i] for i in range(d)})
    frame = pytest.importorskip("pandas").DataFrame(x[:, :-1].copy(order="F"))
    frame["last"] = x[:, -1]  # another block
    chunks = pa.chunked_array([lists[at : at + 1000] for at in range(0, n, 1000)])
    wanted = mf.kcenter_greedy(x, 5).indices
    for rows in (chunks, columns, frame):
        tracemalloc.start()
        found = mf.kcenter_greedy(rows, 5, distances=False, memory=x.nbytes // 2).indices
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < x.nbytes // 2
        np.testing.assert_array_equal(as_numpy(found), wanted)


def test_a_copy_of_chunks_is_told(caplog: pytest.LogCaptureFixture) -> None:
    pa = pytest.importorskip("pyarrow")
    lists = pa.FixedSizeListArray.from_arrays(pa.array(X.reshape(-1)), D)
    chunked = pa.chunked_array([lists[:9], lists[9:]])
    with caplog.at_level("INFO", logger="meddel_fast"):
        found = mf.redundancy(mf.Prepared(chunked))
    assert caplog.messages == [f"x: {N} rows, {X.nbytes} bytes, copied into one array"]
    assert_equal(found, mf.redundancy(X))


def test_an_array_outlives_the_index_that_it_looks_at() -> None:
    faiss = pytest.importorskip("faiss")
    index = faiss.IndexFlatL2(D)
    index.add(X)
    prepared = mf.Prepared(index)
    del index
    other = faiss.IndexFlatL2(D)
    other.add(np.zeros_like(X))
    assert_equal(mf.redundancy(prepared), mf.redundancy(X))


class Line:
    """A set of another library."""

    __module__ = "a_library_of_lines.sets"

    def __init__(self, rows: Any) -> None:
        self.rows = rows


def test_a_library_can_be_added(monkeypatch: pytest.MonkeyPatch) -> None:
    from meddel_fast.arrays import kinds

    monkeypatch.setattr(kinds, "_REGISTERED", {})
    with pytest.raises(TypeError, match=r"x must be an array, got a a_library_of_lines\.sets"):
        mf.redundancy(Line(X))
    mf.register_kind(
        "a_library_of_lines",
        lambda name, x, column: x.rows if column is None else x.rows[:, :2],
        lambda x, field, array, each: (field, array, each),
    )
    found = mf.kmeans(Line(X), 3)
    assert (found.labels[0], found.labels[2], found.centroids[2]) == ("labels", True, False)
    np.testing.assert_array_equal(found.labels[1], mf.kmeans(X, 3).labels)
    assert mf.open_store(Line(X), column="two").shape == (N, 2)
    with pytest.raises(TypeError, match="library must be the name of a module"):
        mf.register_kind("a.b", lambda *_: None)
    with pytest.raises(TypeError, match="result must be callable"):
        mf.register_kind("a", lambda *_: None, "b")  # type: ignore[arg-type]


def test_numpys_calls_load_nothing_of_it() -> None:
    code = """
import sys, numpy as np, meddel_fast as mf
x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
mf.kmeans(x, 3), mf.topk_similarity(x, x, k=2), mf.selectors.kcenter(x, 3)
kinds = {m for m in sys.modules if m.startswith("meddel_fast.arrays.kinds.")}
print(sorted(m.rpartition(".")[2] for m in kinds))
print({"pandas", "polars", "pyarrow", "jax", "zarr", "lance", "faiss", "torch"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["['arrow_lists', 'bits', 'readers']", "set()"], done.stderr
