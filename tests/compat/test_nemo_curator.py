"""The drop-in for NeMo Curator's semantic deduplication: files, identifiers, thresholds and ties.

What it keeps is restated from the published rules, in fp64, as in ``test_dedup.py``.
"""

from __future__ import annotations

import datetime
import decimal
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")

import pyarrow as pa
import pyarrow.parquet as pq
from bundles import N, highest_to_earlier, unit_rows

from meddel_fast.compat import nemo_curator


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return unit_rows()


def curated(x: np.ndarray, folder: Path, kind: str = "parquet") -> list[str]:
    """Two files of embeddings; the ids run backwards."""
    ids = [f"doc-{N - i:03d}" for i in range(N)]
    (folder / "in" / "deeper").mkdir(parents=True)
    for part, name in ((slice(0, 50), "a"), (slice(50, N), "deeper/b")):
        columns = {"id": ids[part], "embeddings": (2 * x[part]).tolist(), "date": ids[part]}
        if kind == "parquet":
            pq.write_table(pa.table(columns), folder / "in" / f"{name}.parquet")
        else:
            rows = [
                dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
            ]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / "in" / f"{name}.jsonl").write_text(text)
    return ids


@pytest.mark.parametrize("keep", ["hard", "easy"])
@pytest.mark.parametrize("distance", ["cosine", "l2"])
def test_nemo_curator(x: np.ndarray, tmp_path: Path, distance: str, keep: str) -> None:
    ids = curated(x, tmp_path, "jsonl" if distance == "l2" else "parquet")
    flow = nemo_curator.SemanticDeduplicationWorkflow(
        str(tmp_path / "in"), str(tmp_path / "out"), 3, cache_path=str(tmp_path / "cache"),
        input_filetype="jsonl" if distance == "l2" else "parquet", distance_metric=distance,
        which_to_keep=keep, eps=0.05, metadata_fields=["date"],
    )  # fmt: skip
    result = flow.run()
    gone: list[str] = []
    seen: list[str] = []
    for folder in sorted((tmp_path / "cache" / "kmeans_results").iterdir()):
        cluster = int(folder.name.removeprefix("centroid="))
        table = pa.concat_tables([pq.read_table(file) for file in folder.glob("*.parquet")])
        columns = ["id", "embeddings", "date", "l2_dist_to_cent", "cosine_dist_to_cent"]
        assert [c for c in table.column_names if c != "centroid"] == columns
        assert table["date"].to_pylist() == table["id"].to_pylist()
        members = table.to_pylist()
        members.sort(
            key=lambda row: (row[f"{distance}_dist_to_cent"], row["id"]), reverse=keep == "hard"
        )
        rows = x[[ids.index(row["id"]) for row in members]]
        stored = np.array([row["embeddings"] for row in members])
        np.testing.assert_allclose(stored, rows, atol=1e-6)  # scaled to length 1
        highest = highest_to_earlier(rows)
        pairs = pq.read_table(
            tmp_path / "cache" / "pairwise_results" / f"cluster_{cluster}.parquet"
        )
        assert pairs["cosine_sim_score"].type == pa.float32()
        assert pairs["id"].to_pylist() == [row["id"] for row in members]
        highest[0] = 0.0  # the first has nobody before it
        np.testing.assert_allclose(pairs["cosine_sim_score"], highest, atol=1e-6)
        for j, other in enumerate(pairs["max_id"].to_pylist()):
            i = pairs["id"].to_pylist().index(other)
            assert i < j or i == j == 0
            np.testing.assert_allclose(rows[i] @ rows[j] if i < j else 0.0, highest[j], atol=1e-6)
        gone += [row["id"] for row, m in zip(members, highest, strict=True) if m >= 0.95]
        seen += [row["id"] for row in members]
    assert sorted(seen) == sorted(ids)
    duplicates = pq.read_table(tmp_path / "out" / "duplicates")["id"].to_pylist()
    assert duplicates == sorted(gone)
    assert 3 <= len(gone) < N
    assert result.metadata["num_duplicates"] == len(gone)


def test_nemo_curator_threshold_takes_in_its_end(tmp_path: Path) -> None:
    rows = {"id": [1, 2, 3], "embeddings": [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]}
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table(rows), tmp_path / "in" / "x.parquet")
    # Of what is equally far the id decides; 3 comes last, or first.
    for keep, stays, others in (("easy", 1, {1: 1, 2: 1, 3: 1}), ("hard", 2, {1: 2, 2: 3, 3: 3})):
        flow = nemo_curator.SemanticDeduplicationWorkflow(
            str(tmp_path / "in"), str(tmp_path / "out"), 1, eps=0.0, which_to_keep=keep
        )
        assert flow.run().metadata["num_duplicates"] == 1  # a copy is at 1
        assert pq.read_table(tmp_path / "out" / "duplicates")["id"].to_pylist() == [3 - stays]
        pairs = pq.read_table(tmp_path / "out" / "pairwise_results" / "cluster_0.parquet")
        nearest = {row["id"]: row["max_id"] for row in pairs.to_pylist()}
        assert nearest == others
    flow.run()  # replaces what is there
    flow.clear_output = False
    with pytest.raises(FileExistsError):
        flow.run()


def test_nemo_curator_options(x: np.ndarray, tmp_path: Path) -> None:
    curated(x, tmp_path)

    def run(**options: Any) -> dict[str, Any]:
        flow = nemo_curator.SemanticDeduplicationWorkflow(
            [str(tmp_path / "in")], str(tmp_path / "out"), **{"n_clusters": 3} | options
        )
        return flow.run().metadata

    assert run()["num_duplicates"] == 0
    assert not (tmp_path / "out" / "duplicates").exists()
    shuffled = nemo_curator.RankingStrategy.random(random_seed=3)
    for options in (
        {"which_to_keep": "random"}, {"fit_data_fraction": 0.5, "n_init": 2},
        {"fit_data_fraction": 1.0, "init": "random", "n_init": "auto"},
        {"ranking_strategy": shuffled, "which_to_keep": None, "distance_metric": None},
        {"read_kwargs": {"engine": "cudf"}, "write_kwargs": {"storage_options": None}},
        {"pairwise_compute_dtype": "float32", "fit_data_fraction": None},
    ):  # fmt: skip
        assert run(eps=0.01, **options)["num_duplicates"] >= 3
    assert (tmp_path / "out" / "duplicates").exists()
    run()  # of other clusters: what an earlier run found is no longer so
    assert not (tmp_path / "out" / "duplicates").exists()
    newest = nemo_curator.RankingStrategy.metadata_based(["date"], ascending=False)
    assert newest == nemo_curator.RankingStrategy(["date"], ascending=[False])
    with pytest.raises(ValueError, match=re.escape("ascending must have one entry a column (1)")):
        nemo_curator.RankingStrategy(["date"], ascending=[False, True])
    run(eps=0.05, metadata_fields=["date"], ranking_strategy=newest)
    for file in (tmp_path / "out" / "pairwise_results").iterdir():
        found = pq.read_table(file)["id"].to_pylist()
        assert found == sorted(found, reverse=True)
    for options, message in (
        ({"ranking_strategy": newest}, "metadata_fields must hold ['date']"),
        ({"which_to_keep": "best"}, "which_to_keep must be one of"),
        ({"distance_metric": "l1"}, "distance_metric must be one of"),
        ({"fit_data_fraction": 1.5}, "fit_data_fraction must be above 0 and at most 1, got 1.5"),
        ({"init": "k-means++"}, "init must be one of 'k-means||', 'random'"),
        ({"read_kwargs": {"nrows": 3}}, "'nrows', which would change what is read"),
        ({"read_kwargs": {"columns": ["id"]}}, "'columns', which would change what is read"),
        ({"read_kwargs": {"storage_options": {"key": 1}}}, "read_kwargs must hold no storage_opt"),
        ({"write_kwargs": {"storage_options": {"a": 1}}}, "write_kwargs must hold no storage_opt"),
        ({"cache_kwargs": {"partition_cols": ["id"]}}, "cache_kwargs must hold only"),
        ({"cache_kwargs": {"compression": "best"}}, "cache_kwargs: "),
        ({"write_kwargs": {"row_group_size_rows": 3}}, "must not hold row_group_size_rows"),
        ({"pairwise_compute_dtype": "float64"}, "pairwise_compute_dtype must be one of 'auto'"),
        ({"kmeans_embedding_output_dtype": "auto"}, "kmeans_embedding_output_dtype must be one of"),
        (
            {"kmeans_embedding_output_dtype": "float16", "pairwise_compute_dtype": "float32"},
            "pairwise_compute_dtype must not be 'float32'",
        ),
        (
            {"n_clusters": 91},
            "n_clusters must be at most 90, the samples that k-means is fitted on",
        ),
        ({"id_field": "name"}, "must have the columns ['name']"),
        ({"embedding_field": "date"}, "date must be lists of numbers without nulls, got string"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            run(**options)
    with pytest.raises(FileNotFoundError, match="no files that end in"):
        run(input_filetype="jsonl")


DAY = datetime.date(2024, 3, 1)
IDS: dict[str, Any] = {
    "string": pa.array([f"2024-03-0{i + 1}" for i in range(6)]),
    "large string": pa.array([f"x{i}" for i in range(6)], pa.large_string()),
    "dictionary": pa.array([f"x{i}" for i in range(6)]).dictionary_encode(),
    "binary": pa.array([b"x%d" % i for i in range(6)], pa.binary()),
    "int64": pa.array([2**60 + i for i in range(6)]),
    "uint64": pa.array([2**63 + i for i in range(6)], pa.uint64()),
    "int16": pa.array(range(6), pa.int16()),
    "date32": pa.array([DAY + datetime.timedelta(days=i) for i in range(6)]),
    "timestamp": pa.array([10**18 + i for i in range(6)], pa.timestamp("ns", "UTC")),
    "time": pa.array(range(6), pa.time64("us")),
    "decimal": pa.array([decimal.Decimal(f"{i}.50") for i in range(6)]),
    "float64": pa.array([i / 3 for i in range(6)]),
    "float16": pa.array(np.arange(6, dtype=np.float16)),
}
if hasattr(pa, "uuid"):  # from pyarrow 18 on
    IDS["uuid"] = pa.array([bytes([i] * 16) for i in range(6)], pa.uuid())
PLANES = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [-1.0, 0.0], [-1.0, 0.0]]


def run_planes(tmp_path: Path, **options: Any) -> tuple[Any, Any, Any]:
    """Run on pairs of copies; return the tables that were written, of all clusters."""
    arguments = {"n_clusters": 3, "eps": 0.0, "which_to_keep": "easy"} | options
    flow = nemo_curator.SemanticDeduplicationWorkflow(
        str(tmp_path / "in"), str(tmp_path / "out"), **arguments
    )
    flow.run()
    folders = ("kmeans_results", "pairwise_results", "duplicates")
    out = [
        pa.concat_tables(
            [
                pq.read_table(file, partitioning=None)
                for file in sorted((tmp_path / "out" / name).rglob("*.parquet"))
            ]
        )
        for name in folders
    ]  # fmt: skip
    return out[0], out[1], out[2]


@pytest.mark.parametrize("kind", IDS)
def test_nemo_curator_ids_keep_their_type(tmp_path: Path, kind: str) -> None:
    (tmp_path / "in").mkdir()
    ids = IDS[kind]
    for part in range(2):  # of dictionaries of their own
        table = pa.table({"id": ids[3 * part : 3 * part + 3], "embeddings": PLANES[3 * part :][:3]})
        pq.write_table(table, tmp_path / "in" / f"{part}.parquet")
    clusters, pairs, gone = run_planes(tmp_path, metadata_fields=["id"])
    for table, column in ((clusters, "id"), (pairs, "id"), (pairs, "max_id"), (gone, "id")):
        assert table.schema.field(column).type == ids.type

    def values(column: Any) -> list[Any]:  # a nanosecond is too little for Python's times
        return (column.cast(pa.int64()) if kind == "timestamp" else column).to_pylist()

    def flat(column: Any) -> list[int]:
        return [values(ids).index(value) for value in values(column)]

    assert sorted(flat(clusters["id"])) == sorted(flat(pairs["id"])) == list(range(6))
    assert flat(gone["id"]) == [1, 3, 5]  # equally far: the higher id goes
    nearest = dict(zip(flat(pairs["id"]), flat(pairs["max_id"]), strict=True))
    assert nearest == {0: 0, 1: 0, 2: 2, 3: 2, 4: 4, 5: 4}


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        ([f"2024-03-0{i + 1}" for i in range(6)], pa.string()),
        ([f"2024-03-01T00:00:0{i}Z" for i in range(6)], pa.string()),
        ([str(10**19 + i) for i in range(6)], pa.string()),
        ([2**60 + i for i in range(6)], pa.int64()),
        ([2**63 + i for i in range(6)], pa.uint64()),
    ],
)
def test_nemo_curator_ids_of_json_stay_what_they_are(
    tmp_path: Path, ids: list[Any], kind: Any
) -> None:
    (tmp_path / "in").mkdir()
    rows = [
        {"id": i, "embeddings": e, "seen": {"on": ["2024-03-01"], "at": "2024-03-01"}}
        for i, e in zip(ids, PLANES, strict=True)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "in" / "a.jsonl").write_text(lines)
    (tmp_path / "in" / "b.jsonl").write_text("")
    clusters, pairs, gone = run_planes(tmp_path, input_filetype="jsonl", metadata_fields=["seen"])
    assert gone["id"].type == pairs["max_id"].type == clusters["id"].type == kind
    assert gone["id"].to_pylist() == ids[1::2]
    assert sorted(clusters["id"].to_pylist()) == ids
    assert clusters["seen"].to_pylist() == [rows[0]["seen"]] * 6


def test_nemo_curator_takes_views(tmp_path: Path) -> None:
    """Which pyarrow cannot take rows of; they come back as large text."""
    if not hasattr(pa, "string_view"):
        pytest.skip("pyarrow has no views")
    (tmp_path / "in").mkdir()
    ids = [f"a rather long name {i}" for i in range(6)]
    table = pa.table({"id": pa.array(ids, pa.string_view()), "embeddings": PLANES})
    pq.write_table(table, tmp_path / "in" / "a.parquet")
    gone = run_planes(tmp_path)[2]
    assert gone["id"].to_pylist() == ids[1::2]
    assert gone["id"].type == pa.large_string()


def test_nemo_curator_refuses_ids_that_it_would_change(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    row = {"id": 2**64, "embeddings": [1.0, 0.0]}
    (tmp_path / "in" / "a.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(ValueError, match="id has numbers that 64 bits do not hold"):
        run_planes(tmp_path, n_clusters=1, input_filetype="jsonl")
    for name, ids in (("a", [1, 2, 3]), ("b", ["1", "2", "3"])):
        table = pa.table({"id": ids, "embeddings": PLANES[:3]})
        pq.write_table(table, tmp_path / "in" / f"{name}.parquet")
    with pytest.raises(ValueError, match=re.escape("one type in all files, got ['int64', 'str")):
        run_planes(tmp_path)
    (tmp_path / "in" / "a.parquet").unlink()
    pq.write_table(pa.table({"id": [[1]], "embeddings": [[1.0]]}), tmp_path / "in" / "b.parquet")
    with pytest.raises(ValueError, match="id must be text, numbers, bytes, dates or times, got li"):
        run_planes(tmp_path, n_clusters=1)


def test_nemo_curator_scores_below_zero_have_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    angles = np.radians([0, 120, 240])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).tolist()
    table = pa.table({"id": [0, 1, 2], "embeddings": rows, "order": [0, 1, 2]})
    pq.write_table(table, tmp_path / "in" / "a.parquet")
    ranking = nemo_curator.RankingStrategy.metadata_based(["order"])
    pairs = run_planes(
        tmp_path, n_clusters=1, metadata_fields=["order"], ranking_strategy=ranking, eps=0.5
    )[1]
    assert pairs["id"].to_pylist() == [0, 1, 2]
    assert pairs["max_id"].to_pylist() in ([0, 0, 0], [0, 0, 1])  # one and the same angle
    np.testing.assert_allclose(pairs["cosine_sim_score"], [0.0, -0.5, -0.5], atol=1e-6)


@pytest.mark.parametrize("stored", ["float16", "float32"])
def test_nemo_curator_in_half_precision(x: np.ndarray, tmp_path: Path, stored: str) -> None:
    curated(x, tmp_path)
    clusters, pairs, gone = run_planes(
        tmp_path, n_clusters=2, eps=0.05, kmeans_embedding_output_dtype=stored,
        pairwise_compute_dtype="auto" if stored == "float16" else "float16",
        cache_kwargs={"compression": "gzip"}, write_kwargs={"compression": "zstd"},
    )  # fmt: skip
    bits = np.array(clusters["embeddings"].to_pylist())
    assert clusters["embeddings"].type.value_type == (
        pa.uint16() if stored == "float16" else pa.float32()
    )
    values = bits.astype(np.uint16).view(np.float16) if stored == "float16" else bits
    of_id = dict(zip(clusters["id"].to_pylist(), values.astype(np.float16), strict=True))
    ids, nearest = pairs["id"].to_pylist(), pairs["max_id"].to_pylist()
    home = {}
    for folder in (tmp_path / "out" / "kmeans_results").iterdir():
        for file in folder.iterdir():
            assert pq.ParquetFile(file).metadata.row_group(0).column(0).compression == "GZIP"
            for i in pq.read_table(file, partitioning=None)["id"].to_pylist():
                home[i] = folder.name
    for row, (i, score) in enumerate(zip(ids, pairs["cosine_sim_score"].to_pylist(), strict=True)):
        before = [j for j in ids[:row] if home[j] == home[i]]
        products = [
            np.float16(of_id[i].astype(np.float64) @ of_id[j].astype(np.float64)) for j in before
        ]
        assert score == (max(products) if before else 0.0)
        assert nearest[row] == (before[int(np.argmax(products))] if before else i)
    scores = np.array(pairs["cosine_sim_score"])
    assert gone["id"].to_pylist() == sorted(np.array(ids)[scores >= 0.95].tolist())
    file = pq.ParquetFile(next((tmp_path / "out" / "duplicates").iterdir()))
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_nemo_curator_obeys_filters(x: np.ndarray, tmp_path: Path) -> None:
    curated(x, tmp_path)
    wanted = {"filters": [("id", "<=", "doc-030")]}
    clusters = run_planes(tmp_path, read_kwargs=wanted)[0]
    assert sorted(clusters["id"].to_pylist()) == [f"doc-{i:03d}" for i in range(1, 31)]


def test_nemo_curator_replaces_nothing_but_earlier_runs(x: np.ndarray, tmp_path: Path) -> None:
    curated(x, tmp_path)
    (tmp_path / "out" / "duplicates").mkdir(parents=True)
    pq.write_table(pa.table({"mine": [1]}), tmp_path / "out" / "duplicates" / "a.parquet")
    with pytest.raises(FileExistsError, match="is not the duplicates of an earlier run"):
        run_planes(tmp_path)
    assert not (tmp_path / "out" / "kmeans_results").exists()
    for places in (("in", "in"), ("in", "in/deeper")):
        with pytest.raises(ValueError, match="which is an input"):
            nemo_curator.SemanticDeduplicationWorkflow(
                str(tmp_path / places[0]), str(tmp_path / places[1]), 3
            ).run()
    with pytest.raises(ValueError, match="read and written locally, got s3:"):
        nemo_curator.SemanticDeduplicationWorkflow("s3://bucket/in", str(tmp_path), 3)
