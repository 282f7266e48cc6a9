"""What other libraries hold and cannot be taken as it is: refused by its name, nothing altered."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import meddel_fast as mf

N, D = 20, 4
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
ROWS: list[Any] = X.tolist()


def pa() -> Any:
    return pytest.importorskip("pyarrow")


def pd() -> Any:
    return pytest.importorskip("pandas")


def pl() -> Any:
    return pytest.importorskip("polars")


def lists(rows: list[Any], kind: str = "list_") -> Any:
    return pa().array(rows, getattr(pa(), kind)(pa().float32()))


def changed(row: int, value: Any) -> list[Any]:
    return [value if i == row else r for i, r in enumerate(ROWS)]


HOLED = [1.0, None, 2.0, 3.0]


def nan_in_pandas() -> Any:
    x = X.copy()
    x[7, 1] = np.nan
    return pa().Table.from_pandas(pd().DataFrame({"e": list(x)}))


def dataset(**columns: Any) -> Any:
    return pytest.importorskip("datasets").Dataset.from_dict(columns)


def index(kind: str, change: Callable[[Any], Any] = lambda i: None) -> Any:
    faiss = pytest.importorskip("faiss")
    found = faiss.index_factory(D, kind)
    found.train(np.tile(X, (20, 1)))
    found.add(X)
    change(found)
    return found


def with_ids(ids: Any) -> Any:
    faiss = pytest.importorskip("faiss")
    found = faiss.index_factory(D, "IVF2,Flat")
    found.train(X)
    found.add_with_ids(X, np.asarray(ids, np.int64))
    return found


def jitted() -> Any:
    jax = pytest.importorskip("jax")
    kept: list[Any] = []
    jax.jit(lambda v: kept.append(v) or v)(X)
    return kept[0]


def deleted() -> Any:
    array = pytest.importorskip("jax.numpy").array(X)
    array.delete()
    return array


class Elsewhere:
    """An array on a device of DLPack's number 10, ROCm."""

    def __dlpack__(self, **how: Any) -> Any:
        raise AssertionError

    def __dlpack_device__(self) -> tuple[int, int]:
        return (10, 0)


class Dataless:
    """Speaks DLPack and has nothing to say."""

    def __dlpack__(self, **how: Any) -> Any:
        raise BufferError("it needs a gradient")

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


def missing(frame: Any) -> Any:
    frame.iloc[3, 1] = pd().NA
    return frame


CASES: dict[str, tuple[Callable[[], Any], str]] = {
    "arrow null row": (lambda: lists(changed(7, None)), "x must hold no null, row 7 is"),
    "arrow null in a row": (lambda: lists(changed(7, HOLED)), "x must hold no null, row 7 has one"),
    "arrow ragged": (lambda: lists(changed(7, [1.0])), "row 7 has 1 numbers, the first 4"),
    "arrow ragged in a later chunk": (
        lambda: pa().chunked_array([lists(ROWS[:9]), lists([[1.0, 2.0]] * 3)]),
        "row 9 has 2 numbers, the first 4",
    ),
    "arrow null in a later chunk": (
        lambda: pa().chunked_array([lists(ROWS[:9]), lists(changed(7, None))]),
        "x must hold no null, row 16 is",
    ),
    "arrow null under a fixed size": (
        lambda: pa().array(changed(7, None), pa().list_(pa().float32(), D)),
        "x must hold no null, row 7 is",
    ),
    "arrow texts": (lambda: pa().array([["a"]] * 3), "x must be lists of float32, .* got list<"),
    "arrow integers": (lambda: pa().array([[1, 2]] * 3), r"must be lists of .* got list<.*int64"),
    "arrow tensors of two axes": (
        lambda: pa().FixedShapeTensorArray.from_numpy_ndarray(X.reshape(N, 2, 2)),
        "x must be lists of float32.* got extension<arrow.fixed_shape_tensor",
    ),
    "arrow, two columns": (
        lambda: pa().table({"a": lists(ROWS), "b": lists(ROWS)}),
        "column must name one of the 2 of x that hold lists .*: a, b",
    ),
    "arrow, no column": (
        lambda: pa().table({"a": ["x"], "b": [1.0]}),
        r"x must have a column of lists, or columns of one type.*: a \(string\), b \(double\)",
    ),
    "arrow, columns of two types": (
        lambda: pa().table({"a": np.float32([1]), "b": np.float64([1])}),
        "columns of one type",
    ),
    "arrow, null in a column": (
        lambda: pa().table({"a": [1.0, 2.0], "b": [1.0, None]}),
        "x must hold no null, row 1 of 'b' is",
    ),
    "arrow stream": (
        lambda: pa().table({"a": lists(ROWS)}).to_reader(),
        "x must be in memory, got a pyarrow.RecordBatchReader: read_all",
    ),
    "arrow of pandas' NaN": (nan_in_pandas, "x must hold no null, row 7 of 'e' has one"),
    "pandas nullable": (
        lambda: missing(pd().DataFrame(X).astype("Float32")),
        "x must hold no null, row 3 of '1' is",
    ),
    "pandas NaN": (
        lambda: pd().DataFrame(np.where(np.eye(N, D) > 0, np.nan, X)),
        "x must be finite in fp32, got NaN or infinity in row 0",
    ),
    "pandas None": (
        lambda: pd().Series(changed(7, None)),
        "x must hold a vector in each row, row 7 is None",
    ),
    "pandas ragged": (
        lambda: pd().Series([np.array(r) for r in changed(7, [1.0])]),
        "vectors of one length and type, row 7 is float64 of .1,., the first float64 of .4,.",
    ),
    "pandas, vectors of two types": (
        lambda: pd().Series([X[0], X[1].astype(np.float64)]),
        "row 1 is float64 of .4,., the first float32",
    ),
    "pandas integers": (lambda: pd().DataFrame({"a": [1, 2]}), "x must be float32.* got int64"),
    "pandas texts": (
        lambda: pd().DataFrame({"a": ["x"], "b": [1.0]}),
        r"x must have a column of vectors, or columns .* one type; its columns: a \(.*\), b \(fl",
    ),
    "pandas, two types": (
        lambda: pd().DataFrame({"a": np.float32([1]), "b": np.float64([1])}),
        "columns of numbers of one type; its columns: a .float32., b .float64.",
    ),
    "pandas, two columns": (
        lambda: pd().DataFrame({"a": ROWS, "b": ROWS}),
        "x must have one column of vectors, got 2: a, b",
    ),
    "polars null": (
        lambda: pl().Series(changed(7, None), dtype=pl().Array(pl().Float32, D)),
        "x must hold no null, row 7 is",
    ),
    "polars null in a row": (
        lambda: pl().Series(changed(7, HOLED), dtype=pl().List(pl().Float32)),
        "x must hold no null, row 7 has one",
    ),
    "polars ragged": (lambda: pl().Series(changed(7, [1.0])), "row 7 has 1 numbers, the first 4"),
    "polars lazy": (
        lambda: pl().DataFrame(X).lazy(),
        r"x must be in memory, got a polars.LazyFrame: collect\(\) it",
    ),
    "datasets null": (
        lambda: dataset(e=changed(7, None)),
        "x must hold no null, row 7 of 'e' is",
    ),
    "datasets null, selected": (
        lambda: dataset(e=changed(7, None)).select([3, 7, 1]),
        "x must hold no null, row 1 of 'e' is",
    ),
    "datasets, no column": (lambda: dataset(t=["a"]), "x must have a column of lists"),
    "datasets, splits": (
        lambda: pytest.importorskip("datasets").DatasetDict(train=dataset(e=ROWS)),
        r"x must be one split, got a datasets.DatasetDict of \['train'\]",
    ),
    "datasets, streamed": (
        lambda: dataset(e=ROWS).to_iterable_dataset(),
        "x must be a Dataset or a column of one, got a datasets.IterableDataset",
    ),
    "faiss codes": (lambda: index("SQ8"), "as they came .* got a faiss.IndexScalarQuantizer"),
    "faiss product codes": (lambda: index("IVF2,PQ2x4np"), "got a faiss.IndexIVFPQ"),
    "faiss turned": (lambda: index("PCA2,Flat"), "got a faiss.IndexPreTransform"),
    "faiss scaled": (lambda: index("L2norm,Flat"), "got a faiss.IndexPreTransform"),
    "faiss lists with rows gone": (
        lambda: index("IVF2,Flat", lambda i: i.remove_ids(np.array([3]))),
        "x must have the ids 0 to 18 of its 19 rows, got 19",
    ),
    "faiss lists with ids": (
        lambda: with_ids(np.arange(N) + 5),
        "x must have the ids 0 to 19 of its 20 rows, got 24",
    ),
    "faiss lists with an id twice": (
        lambda: with_ids([*range(N - 1), 0]),
        "x must have each id from 0 to 19 once, got 0 2 times",
    ),
    "jax in jit": (jitted, "x must be an array with values, got a jax.*Tracer"),
    "jax deleted": (deleted, "x must be an array with values, got .*ArrayImpl: Array has been del"),
    "jax key": (
        lambda: pytest.importorskip("jax").random.key(0),
        "x must be an array with values|x must be a 2-d",
    ),
    "jax complex": (
        lambda: pytest.importorskip("jax.numpy").array(X) * 1j,
        "x must be float32, .* got complex64",
    ),
    "jax fp8": (
        lambda: pytest.importorskip("jax.numpy").array(X).astype("float8_e4m3fn"),
        "x must be float32, .* got float8_e4m3fn",
    ),
    "another device": (Elsewhere, "x must be on the CPU or an NVIDIA GPU, got .*Elsewhere on dev"),
    "no data": (
        Dataless,
        "x must be an array that numpy can read, got .*Dataless: it needs a",
    ),
    "strict complex": (
        lambda: pytest.importorskip("array_api_strict").asarray(X.astype(complex)),
        "x must be float32, .* got complex128",
    ),
}
WAYS: dict[str, Callable[[Any], Any]] = {
    "in memory": mf.redundancy,
    "in parts": lambda x: mf.redundancy(x, memory="1GB"),
    "second": lambda x: mf.topk_similarity(X, x),
    "selector": lambda x: mf.selectors.kcenter(x, 2),
    "store": lambda x: mf.redundancy(mf.open_store(x)),
    "prepared": mf.Prepared,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", CASES)
def test_it_is_refused_by_its_name(kind: str, way: str) -> None:
    make, said = CASES[kind]
    x = make()
    if way == "store":
        said = re.sub(r"\bx must", "(x|source) must", said).replace(
            "of x that", "of (x|source) that"
        )
    if way == "prepared" and "finite" in said:
        pytest.skip("which it looks for when it is used")
    if way == "second":
        said = re.sub(r"\bx must", "y must", said).replace("of x that", "of y that")
    with pytest.raises((TypeError, ValueError), match=said):
        WAYS[way](x)


def test_zarr_tells_of_chunks_that_are_not_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(str(tmp_path / "x.zarr"), shape=X.shape, chunks=(5, D), dtype="f4")
    array[:10] = X[:10]
    found = mf.redundancy(array)
    assert caplog.messages == ["x: 2 of 4 chunks are not stored and read as 0.0"]
    wanted = np.concatenate([X[:10], np.zeros_like(X[10:])])
    np.testing.assert_array_equal(found.neighbor, mf.redundancy(wanted).neighbor)


def test_folders_of_zarr_and_lance_are_stores(tmp_path: Path) -> None:
    zarr, lance = pytest.importorskip("zarr"), pytest.importorskip("lance")
    for version in (2, 3):
        group = zarr.open_group(str(tmp_path / f"{version}.zarr"), mode="w", zarr_format=version)
        group.create_array("e", data=X.astype(">f4"), chunks=(3, 3))
        store = mf.open_store(tmp_path / f"{version}.zarr", tensor="e")
        assert (store.shape, store.dtype) == ((N, D), np.float32)
        np.testing.assert_array_equal(store.rows(1, 9), X[1:9])
        np.testing.assert_array_equal(mf.open_store(tmp_path / f"{version}.zarr/e").rows(0, N), X)
        with pytest.raises(TypeError, match=r"zarr must be an array, .* give tensor= one of e"):
            mf.open_store(tmp_path / f"{version}.zarr")
    table = pa().table({"e": pa().FixedSizeListArray.from_arrays(pa().array(X.reshape(-1)), D)})
    lance.write_dataset(table, str(tmp_path / "x.lance"), max_rows_per_file=7)
    store = mf.open_store(tmp_path / "x.lance", column="e", memory="40MB")
    lance.write_dataset(table, str(tmp_path / "x.lance"), mode="overwrite")  # another version
    np.testing.assert_array_equal(store.take(np.array([19, 0, 7])), X[[19, 0, 7]])
    assert mf.kcenter_greedy(store, 3).indices.tolist() == mf.kcenter_greedy(X, 3).indices.tolist()
    with pytest.raises(ValueError, match="has no column 'f'; its columns: e"):
        mf.open_store(tmp_path / "x.lance", column="f")


@pytest.mark.parametrize("packed", [False, True], ids=["stored", "deflated"])
def test_members_of_npz_files(tmp_path: Path, packed: bool) -> None:
    path, save = tmp_path / "x.npz", np.savez_compressed if packed else np.savez
    save(path, e=X, half=X.astype(">f2"), ids=np.arange(N), columns=np.asfortranarray(X))
    store = mf.open_store(path, tensor="e", memory="40MB")
    assert (store.shape, store.dtype) == ((N, D), np.float32)
    for start, stop in ((0, N), (15, 20), (3, 4), (4, 15)):
        np.testing.assert_array_equal(store.rows(start, stop), X[start:stop])
    np.testing.assert_array_equal(store.take(np.array([19, 0, 7])), X[[19, 0, 7]])
    half = mf.open_store(path, tensor="half")
    np.testing.assert_array_equal(half.rows(0, N), X.astype(np.float16))
    assert mf.kcenter_greedy(store, 3).indices.tolist() == mf.kcenter_greedy(X, 3).indices.tolist()
    with pytest.raises(ValueError, match=r"tensor must name one of the arrays .*: columns, e, ha"):
        mf.open_store(path)
    with pytest.raises(ValueError, match="tensor must name one of the arrays"):
        mf.open_store(path, tensor="f")
    with pytest.raises(ValueError, match="row after row"):
        mf.open_store(path, tensor="columns")
    with pytest.raises(ValueError, match=r"2-d float array, got shape \(20,\)"):
        mf.open_store(path, tensor="ids")
    save(tmp_path / "one.npz", X)
    np.testing.assert_array_equal(mf.open_store(tmp_path / "one.npz").rows(0, N), X)


@pytest.mark.parametrize("packed", [False, True], ids=["stored", "deflated"])
def test_npz_files_that_are_cut_off_or_bent(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "x.npz"
    (np.savez_compressed if packed else np.savez)(path, e=np.tile(X, (200, 1)))
    whole = path.read_bytes()
    for at in (0, 10, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:at])
        with pytest.raises(ValueError, match=r"x\.npz is not a whole \.npz file"):
            mf.open_store(path)
    if packed:
        bent = bytearray(whole)
        bent[len(whole) // 2 : len(whole) // 2 + 64] = bytes(64)
        path.write_bytes(bent)
        store = mf.open_store(path)
        with pytest.raises(ValueError, match=r"x\.npz is damaged"):
            store.rows(0, len(store))
