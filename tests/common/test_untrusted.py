"""Files that are damaged or forged are refused in their own name, and cost nothing."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meddel_fast.common.npy import load_npy
from meddel_fast.common.untrusted import check_fields, described, plain_name, read_parquet


def npy(header: str, data: bytes = b"", version: int = 1) -> bytes:
    text = header.encode("latin1") + b"\n"
    width = 2 if version == 1 else 4
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(width, "little") + text + data


def header(shape: str = "(2, 3)", descr: str = "'<f4'", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


@pytest.mark.parametrize("mapped", [False, True])
def test_npy_comes_back(tmp_path: Path, mapped: bool) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    for version in (1, 2):
        (tmp_path / "x.npy").write_bytes(npy(header(), x.tobytes(), version))
        got = load_npy(tmp_path / "x.npy", mapped=mapped)
        np.testing.assert_array_equal(got, x)
        assert isinstance(got, np.memmap) == mapped


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is not a .npy file"),
        (b"\x93NUMPY\x09\x00", "is not a .npy file"),
        (npy("{'descr': '<f4', 'shape': (2, 3"), "is not a .npy file"),
        (npy("(" * 3000), "is not a .npy file"),
        (npy("__import__('os').abort()"), "is not a .npy file"),
        (npy(header(descr="'|O'"), b"x" * 99), "is not a .npy file of numbers"),
        (npy(header(descr="'|V0'")), "is not a .npy file of numbers"),
        (npy(header(shape="(-2, -3)"), b"x" * 24), "is not a .npy file: its shape"),
        (npy(header(shape="(1000000, 1000000)"), b"x" * 24), "is truncated: its header wants"),
        (npy(header(shape=f"({2**62}, {2**62})"), b"x" * 24), "is truncated: its header wants"),
    ],
)
@pytest.mark.parametrize("mapped", [False, True])
def test_npy_is_refused(tmp_path: Path, content: bytes, told: str, mapped: bool) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"x.npy {told}"):
            load_npy(tmp_path / "x.npy", mapped=mapped)
        assert tracemalloc.get_traced_memory()[1] < 5 << 20
    finally:
        tracemalloc.stop()


def test_absent_npy(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*x\.npy"):
        load_npy(tmp_path / "x.npy")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/x", "a/b", "a\\b", "a\0", None, 3])
def test_names_that_lead_out(name: Any) -> None:
    with pytest.raises(ValueError, match=r"i\.json must list files of its own folder"):
        plain_name("i.json", name)


def test_names_that_stay() -> None:
    for name in ("shard-00000.npy", "...", "..a", " "):
        assert plain_name("i.json", name) == name


@pytest.mark.parametrize("wrong", [{}, {"a": "1"}, {"a": None}, {"a": True}, {"a": [1]}])
def test_fields(wrong: dict[str, Any]) -> None:
    check_fields("f", {"a": 1}, {"a": int}, "thing")
    check_fields("f", {"a": True}, {"a": bool}, "thing")
    check_fields("f", {"a": 1.5}, {"a": (int, float)}, "thing")
    with pytest.raises(ValueError, match="f is no thing: 'a' must be int or float, got"):
        check_fields("f", wrong, {"a": (int, float)}, "thing")


@pytest.mark.parametrize("wrong", [None, [], "a", 1])
def test_fields_of_what_is_no_mapping(wrong: Any) -> None:
    with pytest.raises(ValueError, match="f is no thing: must be an object, got"):
        check_fields("f", wrong, {"a": int}, "thing")


@pytest.mark.parametrize("error", [KeyError("a"), TypeError("a"), IndexError("a"), ValueError("a")])
def test_described(error: Exception) -> None:
    with pytest.raises(ValueError, match=r"f is no thing: .*a"), described("f", "thing"):
        raise error
    with pytest.raises(FileNotFoundError, match=r"^a$"), described("f", "thing"):
        raise FileNotFoundError("a")


def parquet(path: Path, columns: dict[str, Any], about: Any) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    from meddel_fast.selectors.selection import METADATA_KEY

    metadata = {METADATA_KEY: about if isinstance(about, bytes) else json.dumps(about)}
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)


def selection() -> dict[str, Any]:
    nan = np.full(3, np.nan)
    return {
        "rank": np.array([1, -1, 0]),
        "score": np.array([1.0, 0.0, 2.0]),
        "reason": ["kept", "duplicate", "kept"],
        "duplicate_of": np.array([-1, 0, -1]),
        "similarity": np.array([np.nan, 0.9, np.nan]),
        "distance": nan,
        "cluster": np.array([0, 0, 1]),
    }


ABOUT = {"format": 1, "method": "m", "settings": {}}


def test_a_selection_comes_back(tmp_path: Path) -> None:
    from meddel_fast.selectors import Selection

    path = tmp_path / "a=1"  # which a reader of partitioned sets would make a column of
    path.mkdir()
    parquet(path / "s.parquet", selection(), ABOUT)
    found = Selection.load(path / "s.parquet")
    assert found.order.tolist() == [2, 0]
    assert found.indices.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("change", "about", "told"),
    [
        ({}, b"{", "has damaged metadata"),
        ({}, [1], "has damaged metadata: wanted an object"),
        ({}, {"format": 2}, "is not a saved selection of format 1"),
        ({}, {"format": 1, "settings": {}}, "'method' must be str, got None"),
        ({"score": None}, ABOUT, "has no column 'score'"),
        ({"score": ["a", "b", "c"]}, ABOUT, "'score' must be double without nulls, got string"),
        ({"score": [1.0, None, 2.0]}, ABOUT, "'score' must be double without nulls, got double"),
        ({"rank": np.array([2, -1, 0])}, ABOUT, "'rank' is damaged"),
        ({"rank": np.array([0, -1, 0])}, ABOUT, "'rank' is damaged"),
        ({"reason": ["kept", "kept", "kept"]}, ABOUT, "'reason' is damaged"),
        ({"reason": ["kept", "other", "kept"]}, ABOUT, "'reason' is damaged"),
        ({"duplicate_of": np.array([-1, 3, -1])}, ABOUT, "'duplicate_of' is damaged"),
        ({"duplicate_of": np.array([-1, -2, -1])}, ABOUT, "'duplicate_of' is damaged"),
    ],
)
def test_a_selection_is_refused(
    tmp_path: Path, change: dict[str, Any], about: Any, told: str
) -> None:
    from meddel_fast.selectors import Selection

    columns = {k: v for k, v in {**selection(), **change}.items() if v is not None}
    parquet(tmp_path / "s.parquet", columns, about)
    with pytest.raises(ValueError, match=rf"s\.parquet .*{told}"):
        Selection.load(tmp_path / "s.parquet")


def embeddings(folder: Path, **change: Any) -> Path:
    from meddel_fast.common.atomic import write_json
    from meddel_fast.common.hashes import sha256_file

    np.save(folder / "shard-00000.npy", np.ones((4, 3), np.float32))
    sha256 = sha256_file(folder / "shard-00000.npy")
    shard = {"name": "shard-00000.npy", "rows": 4, "sha256": sha256}
    shard |= {k: v for k, v in change.items() if k in shard}
    index = {"complete": True, "shape": [4, 3], "dtype": "float32", "shards": [shard]}
    index |= {k: v for k, v in change.items() if k in index}
    write_json(folder / "index.json", {k: v for k, v in index.items() if v != "gone"})
    return folder


def open_embeddings(folder: Path) -> Any:
    pytest.importorskip("torch")
    from meddel_fast.training.embed import Embeddings

    return Embeddings.load(folder).array


def open_store(folder: Path) -> Any:
    import meddel_fast as mf

    return mf.open_store(folder).rows(0, 4)


@pytest.mark.parametrize("read", [open_embeddings, open_store])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"complete": "gone"}, "'complete' must be bool"),
        ({"shape": [4, 3, 2]}, "shape must be two counts"),
        ({"shape": [4, True]}, "shape must be two counts"),
        ({"shape": [4, 2]}, r"shard-00000\.npy is not the index's"),
        ({"shape": [5, 3]}, "must list shards of 5 rows"),
        ({"dtype": "object"}, "dtype must be of"),
        ({"dtype": "float16"}, r"shard-00000\.npy is not the index's"),
        ({"shards": [3]}, "wanted shards, got 3"),
        ({"shards": []}, "must list shards of 4 rows"),
        ({"name": "../run/shard-00000.npy"}, "must list files of its own folder"),
        ({"sha256": "0" * 64}, "is damaged"),
        ({"rows": "4"}, "'rows' must be int"),
    ],
)
def test_an_index_is_refused(
    tmp_path: Path, read: Callable[[Path], Any], change: dict[str, Any], told: str
) -> None:
    (tmp_path / "run").mkdir()
    assert read(embeddings(tmp_path / "run")).shape == (4, 3)
    with pytest.raises(ValueError, match=told):
        read(embeddings(tmp_path / "run", **change))


def test_a_dictionary_without_a_value_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": ["a", "b"]}), path)
    damaged = pa.DictionaryArray.from_arrays(pa.array([0, 3]), ["a", "b"], safe=False)
    monkeypatch.setattr(pq.ParquetFile, "read", lambda self: pa.table({"id": damaged}))
    with pytest.raises(ValueError, match=r"t\.parquet is not a Parquet file: .*out of bounds"):
        read_parquet(path, {"id": "string"}, "table")
