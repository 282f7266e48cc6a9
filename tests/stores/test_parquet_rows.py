"""Embeddings in Parquet, as the field's libraries write them; and what is wrong with others."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import meddel_fast as mf
from meddel_fast.stores import parquet_rows
from meddel_fast.stores.store import open_store

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

N, D = 100, 7
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
FLOATS = {"halffloat": np.float16, "float": np.float32, "double": np.float64, "int8": np.int8}


def listed(kind: Callable[[Any], Any], x: Any) -> Any:
    """An array of lists of x's type."""
    return pa.array(x.tolist(), kind(pa.from_numpy_dtype(x.dtype)))


class Stored(pa.ExtensionType):
    """An extension type that stores lists, like the tensors of Ray Data."""

    def __init__(self, storage: Any) -> None:
        super().__init__(storage, "meddel.test")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: Any, serialized: bytes) -> Any:
        return cls(storage)


KINDS: dict[str, Callable[[Any], Any]] = {
    "list": lambda x: listed(pa.list_, x),
    "large_list": lambda x: listed(pa.large_list, x),
    "fixed_size_list": lambda x: listed(lambda t: pa.list_(t, x.shape[1]), x),
    "tensor": lambda x: pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.from_numpy_dtype(x.dtype), (x.shape[1],)),
        listed(lambda t: pa.list_(t, x.shape[1]), x),
    ),
    "extension": lambda x: pa.ExtensionArray.from_storage(
        Stored(pa.list_(pa.from_numpy_dtype(x.dtype))), listed(pa.list_, x)
    ),
    "chunked": lambda x: pa.chunked_array([listed(pa.list_, x[:41]), listed(pa.list_, x[41:])]),
    "sliced": lambda x: listed(pa.list_, np.concatenate([x[:9], x, x[:5]]))[9 : 9 + len(x)],
    "sliced fixed": lambda x: listed(
        lambda t: pa.list_(t, x.shape[1]), np.concatenate([x[:9], x, x[:5]])
    )[9 : 9 + len(x)],
}


@pytest.fixture(params=["whole groups", "batches"])
def decoding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep row groups whole, or read them three rows at a time."""
    if request.param == "batches":
        monkeypatch.setattr(parquet_rows, "_KEPT", 0)
        monkeypatch.setattr(parquet_rows, "_BATCH", 3 * D * 4)


@pytest.mark.usefixtures("decoding")
@pytest.mark.parametrize("plain", [False, True], ids=["with Arrow's schema", "without"])
@pytest.mark.parametrize("dtype", FLOATS.values(), ids=FLOATS)
@pytest.mark.parametrize("kind", KINDS)
def test_lists_of_every_kind(tmp_path: Path, kind: str, dtype: Any, plain: bool) -> None:
    x = (10 * X).astype(dtype)
    table = pa.table({"id": np.arange(N), "e": KINDS[kind](x), "text": ["a"] * N})
    path = tmp_path / "x.parquet"
    pq.write_table(table, path, row_group_size=30, store_schema=not plain)
    store = open_store(path)
    wanted = x.astype(np.float32) if dtype is np.float64 else x
    assert store.shape == (N, D)
    assert store.dtype == wanted.dtype
    for start, stop in [(0, N), (95, N), (11, 64), (0, 1), (29, 31)]:
        np.testing.assert_array_equal(store.rows(start, stop), wanted[start:stop])
    for indices in ([99, 0, 0, 51], list(range(20, 70)), [3], [2]):
        np.testing.assert_array_equal(store.take(np.array(indices)), wanted[indices])
    found, expected = mf.redundancy(store, threads=1), mf.redundancy(x, threads=1)
    np.testing.assert_array_equal(found.similarity, expected.similarity)


def _write(path: Path, column: Any, **more: Any) -> Path:
    pq.write_table(pa.table({"e": column, **more}), path, row_group_size=30)
    return path


def _rows(change: dict[int, Any]) -> list[Any]:
    return [change.get(row, values) for row, values in enumerate(X.tolist())]


SHORT, HOLED = X[0, :3].tolist(), [1.0, None, *X[0, 2:].tolist()]
LONG = [*X[0].tolist(), 1.0]


@pytest.mark.usefixtures("decoding")
@pytest.mark.parametrize("kind", [pa.list_, pa.large_list])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({64: SHORT}, "row 64 of 'e' has 3 numbers, the first 7"),
        ({64: SHORT, 70: LONG + [1.0] * 3}, "row 64 of 'e' has 3 numbers, the first 7"),
        ({64: []}, "row 64 of 'e' has 0 numbers, the first 7"),
        ({0: SHORT}, "row 1 of 'e' has 7 numbers, the first 3"),
        ({0: []}, "row 0 of 'e' is empty"),
        ({0: None}, "no null, row 0 of 'e' is"),
        ({99: None}, "no null, row 99 of 'e' is"),
        ({64: HOLED}, "no null, row 64 of 'e' has one"),
    ],
)
def test_rows_that_are_no_vectors_are_refused_by_their_number(
    tmp_path: Path, kind: Any, change: dict[int, Any], said: str
) -> None:
    path = _write(tmp_path / "x.parquet", pa.array(_rows(change), kind(pa.float32())))
    with pytest.raises(ValueError, match=re.escape(said)):
        open_store(path).rows(0, N)


@pytest.mark.usefixtures("decoding")
@pytest.mark.parametrize("change", [{64: None}, {64: HOLED}])
def test_nulls_in_fixed_size_lists(tmp_path: Path, change: dict[int, Any]) -> None:
    path = _write(tmp_path / "x.parquet", pa.array(_rows(change), pa.list_(pa.float32(), D)))
    with pytest.raises(ValueError, match="must hold no null, row 64 of 'e'"):
        open_store(path).rows(60, N)


def test_errors_name_the_columns_with_their_types(tmp_path: Path) -> None:
    two = _write(tmp_path / "two.parquet", KINDS["list"](X), f=KINDS["large_list"](X), id=range(N))
    columns = r"e \(list<.*float>\), f \(large_list<.*float>\), id \(int64\)"
    with pytest.raises(ValueError, match=rf"one of the 2 of .*: e, f; .* {columns}"):
        open_store(two)
    np.testing.assert_array_equal(open_store(two, column="f").rows(0, N), X)
    with pytest.raises(ValueError, match=rf"has no column 'g'; its columns: {columns}"):
        open_store(two, column="g")
    with pytest.raises(TypeError, match=rf"column 'id' of .* hold lists of float32, .* {columns}"):
        open_store(two, column="id")
    for column in (
        pa.array(range(N)), pa.array(["a"] * N), pa.array(X[:, 0]),
        pa.array([[1, 2]] * N), pa.array([["a"]] * N), pa.array([[[1.0]]] * N),
        pa.array([{"x": 1.0}] * N),
        pa.ExtensionArray.from_storage(
            pa.fixed_shape_tensor(pa.float32(), (1, D)), KINDS["fixed_size_list"](X)
        ),
    ):  # fmt: skip
        path = _write(tmp_path / "none.parquet", column)
        with pytest.raises(TypeError, match=r"must have a column of lists .*; its columns: e \("):
            open_store(path)


def test_a_column_of_numbers_beside_one_of_other_lists_is_found(tmp_path: Path) -> None:
    tokens = pa.array([[1, 2, 3]] * N)
    path = _write(tmp_path / "x.parquet", KINDS["list"](X), tokens=tokens, names=[["a"]] * N)
    np.testing.assert_array_equal(open_store(path).rows(0, N), X)


def test_an_empty_file_among_others_adds_nothing(tmp_path: Path) -> None:
    paths = [_write(tmp_path / f"{k}.parquet", KINDS["list"](x)) for k, x in enumerate((X, X[:0]))]
    np.testing.assert_array_equal(open_store([paths[1], *paths]).rows(0, N), X)
    with pytest.raises(ValueError, match="must have at least one row and one column"):
        open_store(paths[1])
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "none.npy", X[:0])
    np.testing.assert_array_equal(
        open_store([tmp_path / "none.npy", tmp_path / "x.npy"]).rows(0, N), X
    )


@pytest.mark.parametrize("library", ["pandas", "polars", "duckdb", "datasets"])
def test_what_other_libraries_write(tmp_path: Path, library: str) -> None:
    module = pytest.importorskip(library)
    path = str(tmp_path / "x.parquet")
    if library == "pandas":
        module.DataFrame({"id": range(N), "e": list(X)}).to_parquet(path)
    elif library == "polars":
        series = module.Series(X.tolist(), dtype=module.List(module.Float32))
        module.DataFrame({"e": series}).write_parquet(path)
    elif library == "duckdb":
        made = pa.table({"e": KINDS["list"](X)})  # noqa: F841 (found by its name)
        module.sql(f"copy made to '{path}'")
    else:
        features = module.Features({"e": module.Sequence(module.Value("float32"))})
        module.Dataset.from_dict({"e": X.tolist()}, features=features).to_parquet(path)
    np.testing.assert_array_equal(open_store(path).rows(0, N), X)
