"""Operations on a Ray cluster: the bits of a call in memory, for any number of workers."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dying_works import EXCHANGE, WAIT, NoRows
from frames import TINY, blob_frames
from sharded_cases import LABELS, ORDER, WEIGHTS, sample

import meddel_fast as mf

pytest.importorskip("ray")
import pyarrow as pa
import ray
import ray.data
from ray_cluster import small_cluster

from meddel_fast.cluster.ray import (
    BlockRows,
    StoreRows,
    Workers,
    deduplicate,
    embed,
    select,
)
from meddel_fast.cluster.ray.embedding import _Embed
from meddel_fast.cluster.ray.seat import Seat
from meddel_fast.cluster.ray.sources import Part
from meddel_fast.cluster.ray.works import DEDUPLICATE, KCENTER, KMEANS, SELECT
from meddel_fast.sharded.group import SoloGroup
from meddel_fast.stores.store import LocalRows

HOW: dict[str, Any] = {"memory": "100MB", "wait": 0.5}
N = len(sample("float16"))
ANY_ORDER = np.random.default_rng(5).permutation(N)
TEXTS = np.array([f"image {i:05d}.png" for i in range(N)])


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[Any]:
    with small_cluster(3, cores=2) as found:
        yield found


def data_set(x: Any, ids: Any, **columns: Any) -> Any:
    """Rows in no order, in blocks of different sizes, some of them empty."""
    cuts = [0, 0, 700, 701, 2500, 2500, len(ids)]
    tables = []
    for a, b in pairwise(cuts):
        some = ANY_ORDER[len(ids) > ANY_ORDER][a:b]
        rows = pa.FixedSizeListArray.from_arrays(pa.array(x[some].reshape(-1)), x.shape[1])
        given = {"id": ids, **columns}
        others = {name: pa.array(values[some].tolist()) for name, values in given.items()}
        tables.append(pa.table({"embedding": rows, **others}))
    return ray.data.from_arrow(tables)


def rows_of(ds: Any) -> Any:
    return pa.concat_tables(ray.get(ds.to_arrow_refs()))


def chosen(table: Any) -> list[int]:
    """The places of ranked rows, by rank."""
    rank = table["rank"].to_pylist()
    return sorted((i for i, r in enumerate(rank) if r is not None), key=lambda i: rank[i])


def assert_equal(found: Any, wanted: Any) -> None:
    np.testing.assert_array_equal(np.asarray(found), wanted)


@pytest.mark.parametrize(("size", "dtype"), [(1, "float32"), (2, "int8"), (3, "float16")])
def test_the_bits_of_memory_over_a_store(size: int, dtype: str, tmp_path: Any) -> None:
    x = sample(dtype)
    np.save(tmp_path / "x.npy", x)
    with Workers(StoreRows(str(tmp_path / "x.npy")), size, **HOW) as workers:
        assert workers.size == size
        for rule in ("semdedup", "greedy", "components"):
            more = {"rule": rule, "order": ORDER, "labels": LABELS}
            found = workers.run(DEDUPLICATE, threshold=0.98, **more).table()
            wanted = mf.deduplicate(x, 0.98, **more)
            assert_equal(found["keep"], wanted.keep)
            assert_equal(found["representative"], wanted.representative)
            assert_equal(found["similarity"], wanted.similarity)
        clusters = workers.run(KMEANS, k=40, spherical=False, seed=3, max_iterations=3)
        wanted = mf.kmeans(x, 40, spherical=False, seed=3, max_iterations=3)
        assert_equal(clusters.about["centroids"], wanted.centroids)
        assert_equal(clusters.table()["cluster"], wanted.labels)
        centres = workers.run(KCENTER, k=90, start=7).table()
        wanted = mf.kcenter_greedy(x, 90, start=7)
        assert chosen(centres) == wanted.indices.tolist()
        assert_equal(centres["distance"], wanted.distances)
        picked = workers.run(SELECT, method="meddel", budget=200)
        wanted = mf.selectors.meddel(x, 200)
        assert chosen(picked.table()) == wanted.order.tolist()
        assert picked.table()["reason"].to_pylist() == wanted.reason.tolist()
        assert picked.about["settings"] == wanted.settings
        assert workers.report.recoveries == []
        assert (min(workers.report.sent) > 0) == (size > 1)


def test_a_data_set_in_any_order(caplog: pytest.LogCaptureFixture) -> None:
    x = sample("float16")
    groups = np.array([f"patient {i}" for i in LABELS])
    ds = data_set(x, TEXTS, groups=groups, weight=WEIGHTS, label=LABELS, quality=ORDER)
    with caplog.at_level(logging.INFO):
        found = rows_of(
            deduplicate(ds, 0.98, rule="greedy", labels="label", order="quality", workers=2, **HOW)
        )
    order = np.argsort(ORDER, kind="stable")
    wanted = mf.deduplicate(x, 0.98, rule="greedy", labels=LABELS, order=order)
    assert found["id"].to_pylist() == TEXTS.tolist()
    assert_equal(found["keep"], wanted.keep)
    assert found["representative"].to_pylist() == TEXTS[wanted.representative].tolist()
    assert_equal(found["similarity"], wanted.similarity)
    assert "deduplicate: 2 workers" in caplog.text
    with Workers(BlockRows(ds, columns=["groups", "weight"]), 3, **HOW) as workers:
        picked = workers.run(
            SELECT, method="kcenter", budget=0.1, groups="groups", selected=[TEXTS[7], TEXTS[3000]]
        )
        alone = mf.selectors.kcenter(x, 0.1, groups=groups, selected=[7, 3000])
        assert chosen(picked.table()) == alone.order.tolist()
        clusters = workers.run(KMEANS, k=20, sample_weight="weight", max_iterations=3)
        alone = mf.kmeans(x, 20, sample_weight=WEIGHTS, max_iterations=3)
        assert_equal(clusters.about["centroids"], alone.centroids)
        assert_equal(clusters.table()["cluster"], alone.labels)
        centres = workers.run(KCENTER, k=30, start=TEXTS[9], metric="cosine").table()
        assert (
            chosen(centres) == mf.kcenter_greedy(x, 30, start=9, metric="cosine").indices.tolist()
        )
        with pytest.raises(ValueError, match="start must be ids of rows, got 'nobody'"):
            workers.run(KCENTER, k=30, start="nobody")
        with pytest.raises(ValueError, match="k must be from 1 to 3500"):
            workers.run(KCENTER, k=4000)
        assert workers.report.recoveries == []


def test_five_workers_and_a_few_rows() -> None:
    """More workers than blocks of 1,024 rows: some have none."""
    x = sample("float32")[:1500]
    ids = np.arange(1500) * 7 - 3000
    with Workers(BlockRows(data_set(x, ids)), 5, **HOW) as workers:
        found = workers.run(DEDUPLICATE, threshold=0.98, rule="components").table()
        wanted = mf.deduplicate(x, 0.98, rule="components")
        assert found["id"].to_pylist() == ids.tolist()
        assert_equal(found["representative"], ids[wanted.representative])


def test_columns_of_a_worker_without_rows() -> None:
    """They have the types of the others'."""
    x = sample("float32")[:60]
    left, groups = np.arange(60) % 5 == 0, np.array([f"patient {i % 7}" for i in range(60)])
    ds = data_set(x, TEXTS[:60], left=left, groups=groups)
    options = {"exclude": "left", "groups": "groups"}
    found = rows_of(select(ds, "kcenter", 9, options=options, workers=2, **HOW))
    alone = mf.selectors.kcenter(x, 9, exclude=left, groups=groups)
    assert chosen(found) == alone.order.tolist()


def test_a_column_that_the_source_has_not() -> None:
    part = Part(LocalRows(np.ones((2, 2), np.float32)), 0, 2, pa.array([1, 2]), {"a": None})
    with pytest.raises(ValueError, match="column 'b' must be among those of the source, got a"):
        Seat(part, SoloGroup(), 1, 1).column("b")


def test_the_store_does_not_fill_up() -> None:
    """600 MB and more go through stores of 100 MB; of each array all have had nothing stays."""
    with Workers(NoRows(), 3, **HOW) as workers:
        workers.run(EXCHANGE, rounds=100)
        sent = 100 * (1 << 20)
        assert sum(workers.report.sent) == 2 * (3 * sent + sent) + 3 * 2
        assert taken() < 20 << 20


def taken() -> float:
    """Bytes of the nodes' object stores that are in use."""
    name = "object_store_memory"
    time.sleep(2)  # nodes tell it once a second
    return float(ray.cluster_resources()[name] - ray.available_resources()[name])


def test_an_interrupt_ends_all(tmp_path: Path) -> None:
    def interrupt() -> None:
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with Workers(NoRows(), 2, **HOW) as workers, pytest.raises(KeyboardInterrupt):
        workers.run(WAIT, folder=tmp_path)
    processes = [Path("/proc", its.name) for its in tmp_path.iterdir()]
    assert len(processes) == 2
    while any(its.exists() for its in processes):  # the test's time is limited
        time.sleep(0.05)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str, np.ndarray]:
    """A manifest, an encoder, and what one process makes of them."""
    from meddel_fast.training.embed import embed as embed_alone
    from meddel_fast.training.untrained import write_untrained

    folder = tmp_path_factory.mktemp("images")
    manifest = blob_frames(folder / "blobs")
    encoder = folder / "encoder"
    write_untrained(encoder, TINY, device="cpu")
    how: dict[str, Any] = {"batch_size": 5, "device": "cpu", "workers": 1}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = embed_alone(manifest, encoder, folder / "out", **how).array
    finally:
        torch.set_num_threads(threads)
    return manifest, str(encoder), found


def test_images_in_any_order(images: tuple[Any, str, np.ndarray], tmp_path: Path) -> None:
    manifest, encoder, wanted = images
    paths = [str(path) for path in manifest.image_paths()]
    broken = tmp_path / "half.png"
    broken.write_bytes(Path(paths[0]).read_bytes()[:100])
    rows = [{"id": i, "path": path} for i, path in enumerate([*paths, str(broken), "/none.png"])]
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    ds = ray.data.from_items(rows, override_num_blocks=2)
    made = embed(ds, encoder, batch_size=5, broken="mark", workers=1).materialize()
    found = {row["id"]: row for row in made.take_all()}
    for i, row in enumerate(wanted):
        np.testing.assert_array_equal(found[i]["embedding"], row)
        assert found[i]["broken"] is None
    assert [found[i]["embedding"] for i in (12, 13)] == [None, None]
    assert str(broken) in found[12]["broken"]
    assert "/none.png" in found[13]["broken"]
    with pytest.raises(ValueError, match=r"must not be null, got null for id 1[23]"):
        BlockRows(made).prepare(1)
    table = rows_of(made)
    whole = ray.data.from_arrow(table.filter(table["broken"].is_null()))
    decided = rows_of(deduplicate(whole, 0.9999, workers=1, **HOW))
    assert_equal(decided["keep"], mf.deduplicate(wanted, 0.9999).keep)


def test_contents_of_images(images: tuple[Any, str, np.ndarray]) -> None:
    manifest, encoder, wanted = images
    contents = [path.read_bytes() for path in manifest.image_paths()]
    how = {"image": "bytes", "id": "id", "embedding": "embedding", "cpus": 1, "batch_size": 5}
    actor = _Embed(encoder, mark=False, **how)
    made = actor(pa.table({"id": [*range(12)], "bytes": contents}))
    assert_equal(np.stack(made["embedding"].to_numpy()), wanted)
    assert made.column_names == ["id", "bytes", "embedding"]
    for content, said in ((None, "there is none"), (b"", "empty file"), (b"no image", "id 'b'")):
        with pytest.raises(ValueError, match=rf"the image of id 'b' is broken: .*{said}|{said}"):
            actor(pa.table({"id": ["a", "b"], "bytes": [contents[0], content]}))


def test_what_embed_refuses() -> None:
    ds = ray.data.from_items([{"id": 1, "path": "x.png"}])
    with pytest.raises(ValueError, match="ds has no column 'image', got id, path"):
        embed(ds, "encoder", image="image")
    with pytest.raises(ValueError, match="broken must be one of"):
        embed(ds, "encoder", broken="skip")
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        embed(ds, "encoder", batch_size=0)
    with pytest.raises(TypeError, match=r"ds must be a ray.data.Dataset, got list"):
        embed([], "encoder")


def bad(column: str, value: Any, ids: Any = None) -> Any:
    """A data set of two blocks, a row of which has this in place of what it should have."""
    ids = [3, 1, 7, 5] if ids is None else ids
    rows = [{"id": i, "embedding": [1.0, float(k)]} for k, i in enumerate(ids)]
    rows[2][column] = value
    return ray.data.from_arrow([pa.Table.from_pylist(rows[:2]), pa.Table.from_pylist(rows[2:])])


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: bad("id", 3), "ids must be unique, got 3 twice"),
        (lambda: bad("id", None), "ids must not be null, got one in column 'id'.*also holds 5"),
        (lambda: bad("embedding", None), "embedding must not be null, got null for id 7"),
        (lambda: bad("embedding", [1.0, None]), "embedding must hold no null, got one for id 7"),
        (lambda: bad("embedding", [1.0, np.nan]), "finite in fp32, got NaN or infinity for id 7"),
        (lambda: bad("embedding", [1e300, 1.0]), "finite in fp32, got NaN or infinity for id 7"),
        (lambda: bad("embedding", [1.0]), "of one length, got 2 for id 5, 1 for 7"),
        (lambda: mixed([[1.0, 2.0, 3.0]]), "got float64 x 3 for id 'b', float64 x 2 for 'a'"),
        (lambda: mixed(np.ones((1, 2), "f4")), "got float32 x 2 for id 'b', float64 x 2 for 'a'"),
        (lambda: ray.data.from_items([{"id": 1}]), "ds has no column 'embedding', got id"),
        (lambda: ray.data.from_arrow(bad_table()), "ds must have at least one row, got none"),
    ],
)  # fmt: skip
def test_rows_that_are_refused(made: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        BlockRows(made()).prepare(2)


def mixed(other: Any) -> Any:
    rows = pa.FixedSizeListArray.from_arrays(pa.array(np.ravel(other)), len(other[0]))
    first = pa.table({"id": ["a"], "embedding": [[1.0, 2.0]]})
    return ray.data.from_arrow([first, pa.table({"id": ["b"], "embedding": rows})])


def bad_table() -> Any:
    return pa.table(
        {"id": pa.array([], pa.int64()), "embedding": pa.array([], pa.list_(pa.float32()))}
    )


def test_types_that_are_refused() -> None:
    numbers = pa.table({"id": [1], "embedding": [[1.0]]})
    texts = pa.table({"id": ["1"], "embedding": [[1.0]]})
    with pytest.raises(TypeError, match=r"int64 (vs|and) .*string"):
        BlockRows(ray.data.from_arrow([numbers, texts])).prepare(1)
    with pytest.raises(TypeError, match="ids must be integers or texts, got double"):
        BlockRows(ray.data.from_items([{"id": 1.5, "embedding": [1.0]}])).prepare(1)
    with pytest.raises(TypeError, match=r"column 'embedding' must hold lists of .* got int64"):
        BlockRows(ray.data.from_items([{"id": 1, "embedding": 2}])).prepare(1)
    tensors = ray.data.from_items([{"id": 1, "embedding": np.ones((2, 2))}])
    with pytest.raises(TypeError, match=r"one vector a row, got shape \(2, 2\) a row"):
        BlockRows(tensors).prepare(1)
    with pytest.raises(TypeError, match=r"ds must be a ray.data.Dataset, got list"):
        BlockRows([])
