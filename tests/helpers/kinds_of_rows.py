"""The kinds of object of docs/inputs.md's table, made by the real libraries, and where they lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

PAGE = Path(__file__).parents[2] / "docs" / "inputs.md"
FLOATS = ("float32", "float16", "float64")
ALL = (*FLOATS, "int8")


class Made(NamedTuple):
    """An object, and the address of its first element where one array holds all."""

    x: Any
    address: int | None = None


class Row(NamedTuple):
    """How the kinds of a row of the table are made, of which types of elements."""

    make: Callable[[NDArray[Any], Path], Made]
    dtypes: tuple[str, ...] = ALL


def table() -> dict[str, tuple[str, str]]:
    """What the page says: kind -> (copied, results)."""
    text = PAGE.read_text(encoding="utf-8").partition("|---|---|---|\n")[2].partition("\n\n")[0]
    cells = [line.strip("| ").split(" | ") for line in text.splitlines()]
    return {kind: (copied, results) for kind, copied, results in cells}


def _at(x: NDArray[Any]) -> int:
    return int(x.__array_interface__["data"][0])


def _lists(x: NDArray[Any]) -> Any:
    pa = pytest.importorskip("pyarrow")
    return pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), x.shape[1])


def _buffer(array: Any) -> int:
    return int(array.buffers()[-1].address)


def _numpy(x: NDArray[Any], _: Path) -> Made:
    return Made(x, _at(x))


def _torch(x: NDArray[Any], _: Path) -> Made:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(x)
    return Made(tensor, tensor.data_ptr())


def _jax(x: NDArray[Any], _: Path) -> Made:
    array = pytest.importorskip("jax.numpy").array(x).block_until_ready()
    return Made(array, array.unsafe_buffer_pointer())


def _array_api(x: NDArray[Any], _: Path) -> Made:
    array = pytest.importorskip("array_api_strict").asarray(x)
    return Made(array, _at(np.from_dlpack(array)))


def _pandas_rows(x: NDArray[Any], _: Path) -> Made:
    pd = pytest.importorskip("pandas")
    return Made(pd.DataFrame(x, copy=False, index=np.arange(len(x)) * 3 + 7), _at(x))


def _pandas_columns(x: NDArray[Any], _: Path) -> Made:
    pd = pytest.importorskip("pandas")
    return Made(pd.DataFrame({f"c{i}": x[:, i] for i in range(x.shape[1])}))


def _pandas_arrays(x: NDArray[Any], _: Path) -> Made:
    pd = pytest.importorskip("pandas")
    return Made(pd.Series(list(x), index=[f"name {i}" for i in range(len(x))]))


def _pandas_arrow(x: NDArray[Any], _: Path) -> Made:
    pd, lists = pytest.importorskip("pandas"), _lists(x)
    return Made(pd.Series(lists, dtype=pd.ArrowDtype(lists.type)), _buffer(lists))


def _polars_column(x: NDArray[Any], _: Path) -> Made:
    pl = pytest.importorskip("polars")
    series = pl.Series("e", x)
    return Made(series, _at(series.to_numpy(allow_copy=False)))


def _polars_frame(x: NDArray[Any], _: Path) -> Made:
    return Made(pytest.importorskip("polars").DataFrame(x))


def _arrow_array(x: NDArray[Any], _: Path) -> Made:
    lists = _lists(x)
    return Made(lists, _buffer(lists))


def _arrow_chunks(x: NDArray[Any], _: Path) -> Made:
    pa, lists = pytest.importorskip("pyarrow"), _lists(x)
    chunks = pa.chunked_array([lists[:9], lists[9:10], lists[10:]])
    return Made(pa.table({"id": np.arange(len(x)), "e": chunks}), _buffer(lists))


def _arrow_columns(x: NDArray[Any], _: Path) -> Made:
    pa = pytest.importorskip("pyarrow")
    return Made(pa.table({f"c{i}": x[:, i] for i in range(x.shape[1])}))


def _nanoarrow(x: NDArray[Any], _: Path) -> Made:
    lists = _lists(x)
    return Made(pytest.importorskip("nanoarrow").Array(lists), _buffer(lists))


def _narwhals(x: NDArray[Any], _: Path) -> Made:
    made = _polars_column(x, _)
    return Made(pytest.importorskip("narwhals").from_native(made.x, series_only=True), made.address)


def _dataset(x: NDArray[Any]) -> Any:
    datasets = pytest.importorskip("datasets")
    listed = datasets.List(datasets.Value(str(x.dtype)), length=x.shape[1])
    return datasets.Dataset.from_dict({"e": list(x)}, features=datasets.Features({"e": listed}))


def _datasets_column(x: NDArray[Any], _: Path) -> Made:
    both = _dataset(np.concatenate([x[:10], x[10:]]))
    return Made(both["e"], _buffer(both.data.column("e").chunk(0)))


def _datasets_selected(x: NDArray[Any], _: Path) -> Made:
    order = np.random.default_rng(3).permutation(len(x))
    mixed = np.empty_like(x)
    mixed[order] = x
    return Made(_dataset(mixed).select(order)["e"])


def _zarr(x: NDArray[Any], folder: Path) -> Made:
    zarr = pytest.importorskip("zarr")
    return Made(zarr.create_array(str(folder / "x.zarr"), data=x, chunks=(7, x.shape[1] - 1)))


def _h5py(x: NDArray[Any], folder: Path) -> Made:
    file = pytest.importorskip("h5py").File(folder / "x.h5", "w")
    return Made(file.create_dataset("e", data=x, chunks=(7, 2)))


def _lance(x: NDArray[Any], folder: Path) -> Made:
    pa, lance = pytest.importorskip("pyarrow"), pytest.importorskip("lance")
    table = pa.table({"id": np.arange(len(x)), "e": _lists(x)})
    return Made(lance.write_dataset(table, str(folder / "x.lance"), max_rows_per_file=9))


def _faiss(kind: str) -> Callable[[NDArray[Any], Path], Made]:
    def make(x: NDArray[Any], _: Path) -> Made:
        faiss = pytest.importorskip("faiss")
        index = faiss.index_factory(x.shape[1], kind)
        index.train(x)
        ids = np.arange(len(x)) + 100
        index.add_with_ids(x, ids) if kind.startswith("IDMap") else index.add(x)
        held = faiss.downcast_index(index)
        while not hasattr(held, "get_xb") and not hasattr(held, "invlists"):
            held = faiss.downcast_index(held.storage if hasattr(held, "storage") else held.index)
        flat = hasattr(held, "get_xb")
        return Made(index, _at(faiss.rev_swig_ptr(held.get_xb(), 1)) if flat else None)

    return make


ROWS = {
    "numpy array, `np.memmap`": Row(_numpy),
    "torch tensor": Row(_torch),
    "JAX array": Row(_jax, ("float32", "float16", "int8")),
    "array of the Array API, by DLPack": Row(_array_api, ("float32", "float64", "int8")),
    "pandas `DataFrame(x, copy=False)`": Row(_pandas_rows),
    "pandas frame of columns of numbers": Row(_pandas_columns),
    "pandas column of arrays": Row(_pandas_arrays),
    "pandas column of Arrow lists": Row(_pandas_arrow),
    "Polars column of arrays or lists": Row(_polars_column),
    "Polars frame of columns of numbers": Row(_polars_frame),
    "pyarrow array of lists": Row(_arrow_array),
    "pyarrow table or array of several chunks": Row(_arrow_chunks),
    "pyarrow table of columns of numbers": Row(_arrow_columns),
    "others with `__arrow_c_array__` or `__arrow_c_stream__`": Row(_nanoarrow),
    "narwhals": Row(_narwhals),
    "`datasets` column": Row(_datasets_column),
    "`datasets` column, shuffled or selected from": Row(_datasets_selected),
    "Zarr array": Row(_zarr),
    "HDF5 data set of h5py": Row(_h5py),
    "Lance data set": Row(_lance, FLOATS),
    "FAISS flat index": Row(_faiss("Flat"), ("float32",)),
    "FAISS HNSW index of flat rows": Row(_faiss("HNSW8"), ("float32",)),
    "FAISS flat index with ids of one's own": Row(_faiss("IDMap,Flat"), ("float32",)),
    "FAISS inverted lists of flat rows": Row(_faiss("IVF2,Flat"), ("float32",)),
}
