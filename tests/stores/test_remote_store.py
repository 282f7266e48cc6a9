"""Stores, manifests, selections and embeddings by URL: the bits of local ones, and nothing half."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import object_stores as stores
import pytest
from numpy.typing import NDArray

import meddel_fast as mf
from meddel_fast.common import places
from meddel_fast.common.atomic import write_json
from meddel_fast.stores import embedding_files
from meddel_fast.stores.embedding_files import INDEX, read_index, take_stock, write_shard

pytest.importorskip("s3fs")
pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402

N, D = 3000, 48


@pytest.fixture
def x(rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.standard_normal((N, D)).astype(np.float32)


def save(kind: str, x: NDArray[Any], folder: Path) -> Path:
    path = folder / f"x.{kind}"
    if kind == "npy":
        np.save(path, x)
    elif kind == "npz":
        np.savez(path, x=x)
    elif kind == "packed.npz":
        np.savez_compressed(path, x=x)
    elif kind == "parquet":
        fixed = pa.FixedSizeListArray.from_arrays(x.ravel(), x.shape[1])
        other = pa.array([bytes(np.random.default_rng(i).bytes(2000)) for i in range(len(x))])
        pq.write_table(pa.table({"other": other, "x": fixed}), path, row_group_size=700)
    else:
        pytest.importorskip("safetensors.numpy").save_file({"x": x}, path)
    return path


@pytest.mark.parametrize("kind", ["npy", "npz", "packed.npz", "parquet", "safetensors"])
def test_rows_are_those_of_the_file(
    kind: str, s3_proxy: stores.Proxy, x: NDArray[np.float32], tmp_path: Path
) -> None:
    local = save(kind, x, tmp_path)
    place = f"s3://bucket/{tmp_path.name}/x.{kind}"
    places.put_file(local, place)
    s3_proxy.sent = 0
    s3_proxy.spoil = lambda method, path, number: "503" if number % 4 == 0 else ""
    store = mf.open_store(place)
    assert store.shape == (N, D)
    np.testing.assert_array_equal(store.rows(0, N), x)
    np.testing.assert_array_equal(store.rows(17, 18), x[17:18])
    some = np.array([5, 2999, 0, 5, 1400])
    np.testing.assert_array_equal(store.take(some), x[some])
    times = 6 if kind == "packed.npz" else 2.1  # what lies before a row is unpacked each time
    wanted = local.stat().st_size / 2 if kind == "parquet" else times * x.nbytes
    assert s3_proxy.sent < wanted  # the Parquet file's other column is tenfold
    s3_proxy.spoil = lambda method, path, number: ""
    found = mf.deduplicate(store, 0.3)
    np.testing.assert_array_equal(found.keep, mf.deduplicate(x, 0.3).keep)


def test_reading_takes_few_requests(
    s3_proxy: stores.Proxy, x: NDArray[np.float32], tmp_path: Path
) -> None:
    places.put_file(save("npy", x, tmp_path), "s3://bucket/few.npy")
    s3_proxy.requests.clear()
    store = mf.open_store("s3://bucket/few.npy")
    assert s3_proxy.counts() == {"HEAD": 1, "GET": 1}
    store.rows(0, N)
    assert s3_proxy.counts() == {"HEAD": 1, "GET": 2}
    store.take(np.arange(0, 300, 3))  # 57 kB: nearer to each other than a request is worth
    assert s3_proxy.counts() == {"HEAD": 1, "GET": 3}


def test_a_store_that_changes_is_refused(
    s3_proxy: stores.Proxy, s3_store: stores.Store, x: NDArray[np.float32], tmp_path: Path
) -> None:
    for kind in ("npy", "parquet"):
        local = save(kind, x, tmp_path)
        place = f"s3://bucket/changed.{kind}"
        places.put_file(local, place)
        changed, removed = mf.open_store(place), mf.open_store(place)
        changed.rows(0, 5)
        s3_store.fill([f"changed.{kind}"], local.read_bytes()[:-1] + b"x")
        with pytest.raises(ValueError, match=rf"changed.{kind} has changed since it was opened"):
            changed.rows(2000, 2100)
        places.remove(place)
        with pytest.raises(ValueError, match="no longer there"):
            removed.rows(2000, 2100)


def test_stores_without_conditional_reads_are_looked_at_after(
    x: NDArray[np.float32], tmp_path: Path
) -> None:
    local = save("npy", x, tmp_path)
    places.put_file(local, "memory://looked/x.npy")
    store = mf.open_store("memory://looked/x.npy")
    np.testing.assert_array_equal(store.rows(5, 2000), x[5:2000])
    places.put_file(local, "memory://looked/x.npy")
    with pytest.raises(ValueError, match="has changed since it was opened"):
        store.rows(0, 5)
    places.remove("memory://looked/x.npy")
    with pytest.raises(ValueError, match="no longer there"):
        store.rows(0, 5)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("short.npy", None, "truncated"),
        ("text.npy", b"text", "not a .npy file"),
        ("text.parquet", b"text" * 10, "not a whole Parquet file"),
        ("text.safetensors", b"\x05\0\0\0\0\0\0\0text!", "not a safetensors file"),
        ("x.txt", b"1", "no embeddings"),
    ],
)
def test_damaged_files_are_named(
    name: str, data: bytes | None, says: str, tmp_path: Path, x: NDArray[np.float32]
) -> None:
    whole = save("npy", x, tmp_path).read_bytes()
    places.write_bytes(f"memory://damaged/{name}", whole[:-1] if data is None else data)
    with pytest.raises((ValueError, FileNotFoundError), match=says) as caught:
        mf.open_store(f"memory://damaged/{name}")
    assert f"memory://damaged/{name}" in str(caught.value)


def about(x: NDArray[Any], key: str = "k") -> dict[str, Any]:
    return {"format": 1, "key": key, "shape": list(x.shape), "dtype": "float32"}


def put_shards(folder: str, x: NDArray[Any], numbers: list[int], key: str = "k") -> None:
    """Write shards of 1,000 rows with their notes, as `embed` does."""
    for number in numbers:
        entry = write_shard(folder, number, x[1000 * number : 1000 * (number + 1)])
        note = places.join(folder, entry["name"].replace(".npy", ".json"))
        write_json(note, {"key": key, "shards": [entry]})


@pytest.mark.parametrize("scheme", ["path", "s3"])
def test_a_folder_of_embeddings_goes_on(
    scheme: str, s3_proxy: stores.Proxy, x: NDArray[np.float32], tmp_path: Path
) -> None:
    folder = f"s3://bucket/{tmp_path.name}" if scheme == "s3" else str(tmp_path / "e")
    put_shards(folder, x, [0, 2])
    places.write_bytes(places.join(folder, "shard-00001.npy"), b"no note: killed before it")
    places.write_bytes(places.join(folder, "mine.txt"), b"")
    take_stock(folder, about(x), 3)
    found = read_index(folder)
    assert not found["complete"]
    assert [shard["name"] for shard in found["shards"]] == ["shard-00000.npy", "shard-00002.npy"]
    assert places.list_files(folder) == [
        "index.json", "mine.txt", "shard-00000.npy", "shard-00002.npy",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="embedding was interrupted"):
        mf.open_store(folder)
    put_shards(folder, x, [1])
    take_stock(folder, about(x), 3, fresh=True)
    store = mf.open_store(folder)
    np.testing.assert_array_equal(store.rows(0, N), x)
    np.testing.assert_array_equal(embedding_files.read_rows(folder, read_index(folder)), x)
    places.write_bytes(places.join(folder, "shard-00002.npy"), b"cut")
    take_stock(folder, about(x), 3)  # as of a run started again
    assert [shard["rows"] for shard in read_index(folder)["shards"]] == [1000, 1000]
    take_stock(folder, about(x, "other settings"), 3)
    assert read_index(folder)["shards"] == []
    assert places.list_files(folder) == ["index.json", "mine.txt"]


def test_a_store_that_does_not_answer_loses_no_shards(
    s3_proxy: stores.Proxy,
    s3_store: stores.Store,
    x: NDArray[np.float32],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = "s3://bucket/silent"
    put_shards(folder, x, [0, 1, 2])
    take_stock(folder, about(x), 3, fresh=True)
    monkeypatch.setenv("MEDDEL_REMOTE_PATIENCE", "0.1")
    s3_proxy.spoil = lambda method, path, number: "503" if method == "GET" and INDEX in path else ""
    with pytest.raises(places.RemoteError, match="503"):
        take_stock(folder, about(x), 3)
    assert sum("silent/shard" in name for name in s3_store.objects()) == 3


def test_each_shard_is_held_to_its_hash(
    s3_proxy: stores.Proxy, s3_store: stores.Store, x: NDArray[np.float32]
) -> None:
    folder = "s3://bucket/hashed"
    put_shards(folder, x, [0, 1, 2])
    take_stock(folder, about(x), 3, fresh=True)
    held = s3_store.objects()["hashed/shard-00001.npy"]
    assert read_index(folder)["shards"][1]["sha256"] == hashlib.sha256(held).hexdigest()
    s3_store.fill(["hashed/shard-00001.npy"], held[:-1] + bytes([held[-1] ^ 1]))
    store = mf.open_store(folder)
    np.testing.assert_array_equal(store.rows(0, 1000), x[:1000])
    with pytest.raises(ValueError, match=r"hashed/shard-00001.npy is damaged"):
        store.rows(990, 1010)
    with pytest.raises(ValueError, match=r"hashed/shard-00001.npy is damaged"):
        embedding_files.read_rows(folder, read_index(folder))
    places.remove(f"{folder}/shard-00002.npy")
    with pytest.raises(FileNotFoundError, match=r"shard s3://bucket/hashed/shard-00002.npy"):
        mf.open_store(folder)
    index = json.loads(s3_store.objects()["hashed/index.json"])
    index["shards"][0]["name"] = "../x.npy"
    s3_store.fill(["hashed/index.json"], json.dumps(index).encode())
    with pytest.raises(ValueError, match="must list files of its own folder"):
        mf.open_store(folder)


def test_manifests_and_selections(s3_proxy: stores.Proxy, x: NDArray[np.float32]) -> None:
    from meddel_fast.images.manifest import Manifest
    from meddel_fast.selectors.export import write_list
    from meddel_fast.selectors.selection import read_ids

    row = {"image": "a.png", "sha256": "0", "bytes": 1, "width": 1, "height": 1, "mode": "L"}
    row |= {"split": "train", "group": "", "frame": -1, "status": "ok", "reason": ""}
    manifest = Manifest.from_rows("set", "/data", [{"id": str(i), **row} for i in range(5)])
    manifest.save("s3://bucket/m.parquet")
    assert Manifest.load(Path("s3://bucket/m.parquet")).fingerprint == manifest.fingerprint
    kept = mf.selectors.select("kcenter", x[:5], 2)
    kept.save("s3://bucket/kept.parquet", manifest.ids)
    again = mf.selectors.Selection.load("s3://bucket/kept.parquet")
    np.testing.assert_array_equal(again.order, kept.order)
    assert read_ids("s3://bucket/kept.parquet") == manifest.ids
    write_list(kept, "s3://bucket/kept.txt", manifest.ids)
    assert places.read_bytes("s3://bucket/kept.txt").decode().split() == [
        manifest.ids[i] for i in kept
    ]
    with pytest.raises(FileExistsError, match=r"s3://bucket/m.parquet is there and is not"):
        kept.save("s3://bucket/m.parquet")
    with pytest.raises(FileNotFoundError, match=r"s3://bucket/none\.parquet"):
        Manifest.load("s3://bucket/none.parquet")
    with pytest.raises(ValueError, match=r"an index, .* must be on this machine"):
        mf.index.SelectionIndex.open("s3://bucket/index")
