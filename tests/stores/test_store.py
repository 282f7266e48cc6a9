"""Stores: what their files hold, however many, and what is wrong with damaged ones."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import meddel_fast as mf
from meddel_fast.common.hashes import sha256_file
from meddel_fast.stores.store import Store, as_store, open_store

X = np.random.default_rng(0).normal(size=(100, 7)).astype(np.float32)


def write(path: Path, x: Any) -> Path:
    """Write x as the kind of file that its name says."""
    if path.suffix == ".npy":
        np.save(path, x)
    elif path.suffix == ".safetensors":
        pytest.importorskip("safetensors")
        from safetensors.numpy import save_file

        save_file({"embeddings": np.ascontiguousarray(x)}, path)
    else:
        pa = pytest.importorskip("pyarrow")
        import pyarrow.parquet as pq

        column = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), x.shape[1])
        table = pa.table({"id": pa.array(range(len(x))), "embedding": column})
        pq.write_table(table, path, row_group_size=13)
    return path


def folder_of(path: Path, x: Any, rows: int = 30) -> Path:
    """Write a folder as embed does."""
    path.mkdir()
    shards = []
    for number, start in enumerate(range(0, len(x), rows)):
        name = f"shard-{number:05d}.npy"
        part = x[start : start + rows]
        np.save(path / name, part)
        sha256 = sha256_file(path / name)
        shards.append({"name": name, "rows": len(part), "sha256": sha256})
    index = {"shape": list(x.shape), "dtype": str(x.dtype), "complete": True, "shards": shards}
    (path / "index.json").write_text(json.dumps(index))
    return path


def same_rows(store: Store, x: Any) -> None:
    assert store.shape == x.shape
    assert len(store) == len(x)
    for start, stop in [(0, len(x)), (0, 1), (len(x) - 1, len(x)), (11, 64), (29, 31)]:
        np.testing.assert_array_equal(store.rows(start, stop), x[start:stop])
    for indices in ([], [5], [99, 0, 0, 51], list(range(20, 70)), list(range(99, -1, -9))):
        np.testing.assert_array_equal(store.take(np.array(indices, np.int64)), x[indices])


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "float64"])
@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".parquet"])
def test_files(tmp_path: Path, suffix: str, dtype: str) -> None:
    x = (10 * X).astype(dtype)
    one = open_store(write(tmp_path / f"one{suffix}", x))
    cuts = [0, 1, 30, 31, 100]
    many = [write(tmp_path / f"{a}{suffix}", x[a:b]) for a, b in itertools.pairwise(cuts)]
    wanted = x.astype(np.float32) if dtype == "float64" else x
    for store in (one, open_store(many)):
        assert store.dtype == wanted.dtype
        same_rows(store, wanted)
    assert str(tmp_path) in repr(one)


def test_embeddings_folder(tmp_path: Path) -> None:
    store = open_store(folder_of(tmp_path / "run", X.astype(np.float16)))
    same_rows(store, X.astype(np.float16))
    store.rows_read = 0
    store.rows(10, 90)
    assert store.rows_read == 80


def test_bfloat16(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    from safetensors.torch import save_file

    x = torch.from_numpy(X).to(torch.bfloat16)
    save_file({"a": x, "b": torch.zeros(3)}, tmp_path / "x.safetensors")
    store = open_store(tmp_path / "x.safetensors", tensor="a")
    assert store.bfloat16
    same_rows(store, x.view(torch.int16).numpy().view(np.uint16))
    same_rows(as_store("x", x), x.view(torch.int16).numpy().view(np.uint16))
    found = mf.similar_pairs(store, threshold=0.5)
    wanted = mf.similar_pairs(x, threshold=0.5)
    assert len(found.i) > 0
    np.testing.assert_array_equal(found.similarity, wanted.similarity.numpy())


def test_rows_of_other_layouts(tmp_path: Path) -> None:
    np.save(tmp_path / "big.npy", X.astype(">f4"))
    same_rows(open_store(tmp_path / "big.npy"), X)
    same_rows(as_store("x", X[::-1]), X[::-1])
    with (tmp_path / "v2.npy").open("wb") as file:
        np.lib.format.write_array(file, X, version=(2, 0))
    same_rows(open_store(tmp_path / "v2.npy"), X)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".parquet"])
def test_a_truncated_file_is_named(tmp_path: Path, suffix: str) -> None:
    whole, cut = write(tmp_path / f"a{suffix}", X), write(tmp_path / f"b{suffix}", X)
    truncated(cut)
    with pytest.raises(ValueError, match=re.escape(str(cut))):
        open_store([whole, cut])


@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".parquet"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 300])
def test_a_foreign_file_is_named(tmp_path: Path, suffix: str, content: bytes) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        open_store(path)


def test_a_store_does_not_become_an_array_unasked(tmp_path: Path) -> None:
    store = open_store(write(tmp_path / "x.npy", X))
    with pytest.raises(TypeError, match=r"store\.rows\(0, len\(store\)\) gives all as an array"):
        np.asarray(store)
    for wrong in (0, slice(0, 3)):
        with pytest.raises(TypeError, match=r"indices must be of shape \(k,\), got"):
            store[wrong]  # type: ignore[index]
    np.testing.assert_array_equal(store[np.array([3, 1])].rows(0, 2), X[[3, 1]])


def test_a_file_that_shrinks_later_is_named(tmp_path: Path) -> None:
    store = open_store(write(tmp_path / "x.npy", X))
    truncated(tmp_path / "x.npy")
    for start in (0, 50):  # the first are all there
        with pytest.raises(ValueError, match=r"x\.npy has changed since it was opened"):
            store.rows(start, start + 50)


def replaced(path: Path) -> None:
    write(path.with_stem("new"), X + 1).replace(path)


def removed(path: Path) -> None:
    path.unlink()


def overwritten(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content)
    os.utime(path, (1, 1))  # a clock may be too coarse to tell two writes apart


@pytest.mark.parametrize("change", [replaced, overwritten, truncated, removed])
@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".parquet"])
def test_a_file_that_changes_between_reads_is_named(
    tmp_path: Path, suffix: str, change: Callable[[Path], None]
) -> None:
    if suffix != ".npy":
        pytest.importorskip("pyarrow" if suffix == ".parquet" else "safetensors")
    path = write(tmp_path / f"x{suffix}", X)
    store = open_store(path)
    np.testing.assert_array_equal(store.rows(0, 5), X[:5])
    change(path)
    with pytest.raises(
        ValueError, match=r"x\.\w+ (has changed since it was opened|is no longer there)"
    ):
        store.rows(0, 5)


def test_a_file_that_changes_between_two_passes_gives_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.tile(X, (300, 40))
    path = write(tmp_path / "x.npy", x)
    store, read = open_store(path), Store.rows
    before = path.read_bytes()

    def read_then_meddle(self: Store, start: int, stop: int) -> np.ndarray:
        found = read(self, start, stop)
        if self.rows_read >= len(x) and path.read_bytes() == before:  # the first pass is over
            np.save(path, np.zeros_like(x))
        return found

    monkeypatch.setattr(Store, "rows", read_then_meddle)
    with pytest.raises(ValueError, match=r"x\.npy has changed since it was opened"):
        mf.kmeans(store, 20, memory="12MB")


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros(3, np.float32), ValueError, "must hold a 2-d float array, got shape (3,)"),
        (np.zeros((0, 3), np.float32), ValueError, "at least one row and one column, got (0, 3)"),
        (np.zeros((3, 3), np.int64), TypeError, "got int64"),
        (np.asfortranarray(np.zeros((3, 3))), ValueError, "got Fortran order"),
    ],
)
def test_wrong_arrays(tmp_path: Path, x: Any, error: type[Exception], message: str) -> None:
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(error, match=re.escape(message)):
        open_store(tmp_path / "x.npy")


def test_wrong_files(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.npy", X), write(tmp_path / "b.npy", X[:, :6])
    with pytest.raises(ValueError, match=r"b\.npy must have 7 columns of float32 like .*a\.npy"):
        open_store([a, b])
    with pytest.raises(ValueError, match=r"c\.npy must have 7 columns of float32 .* of float16"):
        open_store([a, write(tmp_path / "c.npy", X.astype(np.float16))])
    with pytest.raises(FileNotFoundError, match=r"no\.npy is missing"):
        open_store([a, tmp_path / "no.npy"])
    with pytest.raises(ValueError, match=r"must end in one of .npy, .npz, .safetensors, .parquet"):
        open_store(write(tmp_path / "x.npy", X).rename(tmp_path / "x.bin"))
    with pytest.raises(ValueError, match="at least one file, got none"):
        open_store([])


def test_names_in_files(tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", X)
    with pytest.raises(ValueError, match="must hold a tensor 'y', got embeddings"):
        open_store(path, tensor="y")
    path = write(tmp_path / "x.parquet", X)
    same_rows(open_store(path, column="embedding"), X)
    with pytest.raises(
        TypeError, match=r"column 'id' of .* must be one, and hold lists of float32"
    ):
        open_store(path, column="id")
    with pytest.raises(
        ValueError, match=r"has no column 'y'; its columns: id \(int64\), embedding"
    ):
        open_store(path, column="y")


def change_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_damaged_shard_is_named_before_it_is_used(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "run", X)
    change_byte(folder / "shard-00002.npy")
    store = open_store(folder)
    np.testing.assert_array_equal(store.rows(0, 60), X[:60])
    for _ in range(2):  # once more: it must not count as looked at
        with pytest.raises(ValueError, match=r"shard .*shard-00002\.npy is damaged"):
            store.rows(55, 65)
        with pytest.raises(ValueError, match=r"shard-00002\.npy is damaged"):
            store.take(np.array([0, 60]))
    for operation in (mf.redundancy, mf.deduplicate, lambda s: mf.kcenter_greedy(s, 3)):
        with pytest.raises(ValueError, match=r"shard-00002\.npy is damaged"):
            operation(store)


@pytest.mark.parametrize("shard", [0, 3])
def test_shards_that_are_not_the_indexs(tmp_path: Path, shard: int) -> None:
    folder = folder_of(tmp_path / "run", X)
    name = f"shard-{shard:05d}.npy"
    np.save(folder / name, X[:5])
    with pytest.raises(ValueError, match=rf"{name} is not the index's: wanted .* got 5 x 7"):
        open_store(folder)
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name} is missing"):
        open_store(folder)


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no embeddings: it has no index\.json"):
        open_store(tmp_path)
    folder = folder_of(tmp_path / "run", X)
    index = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps(index | {"complete": False}))
    with pytest.raises(ValueError, match="was interrupted"):
        open_store(folder)
    (folder / "index.json").write_text(json.dumps(index | {"shape": [101, 7]}))
    with pytest.raises(ValueError, match="must list shards of 101 rows"):
        open_store(folder)
    (folder / "index.json").write_text("{}")
    with pytest.raises(ValueError, match="is no index of embeddings"):
        open_store(folder)


def test_nan_is_named_with_its_row(tmp_path: Path) -> None:
    x = np.zeros((3000, 5), np.float32)
    x[[2500, 2700], 1] = np.nan
    store = open_store(write(tmp_path / "x.npy", x))
    with pytest.raises(ValueError, match=r"x must be finite in fp32, got NaN .* row 2500$"):
        mf.redundancy(store)


def test_embed_writes_what_a_store_opens(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from frames import TINY, blob_frames

    from meddel_fast.training.embed import embed
    from meddel_fast.training.pretrain import pretrain

    data = blob_frames(tmp_path / "frames")
    model = pretrain(data, None, tmp_path / "mae", TINY)
    made = embed(data, model, tmp_path / "out", shard_size=5, dtype="float16")
    store = open_store(tmp_path / "out")
    assert len(store) == 12
    np.testing.assert_array_equal(store.rows(0, 12), made.array)


@pytest.mark.parametrize("number", [None, 1])
def test_an_index_of_this_format_or_without_a_number_is_read(
    tmp_path: Path, number: int | None
) -> None:
    folder = folder_of(tmp_path / "run", X)
    index = json.loads((folder / "index.json").read_text())
    if number is not None:
        (folder / "index.json").write_text(json.dumps({"format": number, **index}))
    same_rows(open_store(folder), X)


def test_an_index_of_another_format_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "run", X)
    index = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps({"format": 2, **index}))
    with pytest.raises(ValueError, match="of format 2, which needs a newer meddel-fast"):
        open_store(folder)
