"""The drop-in for SemDeDup: files, thresholds and ties of the original.

What it keeps is restated from the published rules, in fp64. Embeddings are whole numbers of length
1 or planted angles, so that the original's float32 would decide likewise.
"""

from __future__ import annotations

import random
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")

import pyarrow as pa
import pyarrow.parquet as pq
from bundles import EPS, D, N, highest_to_earlier, unit_rows

from meddel_fast.compat import semdedup


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return unit_rows()


@pytest.fixture(scope="module")
def sorted_clusters(x: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("semdedup")
    x.tofile(folder / "embeddings.bin")
    made = semdedup.compute_centroids(x, 3, 20, Kmeans_with_cos_dist=True, save_folder=str(folder))
    assert made.centroids is not None
    names = [f"folder/a rather long name of a frame {i:05d}.png" for i in range(N)]
    semdedup.assign_and_sort_clusters(
        x, names, kmeans_with_cos_dist=True, save_folder=str(folder),
        sorted_clusters_file_loc=str(folder / "sorted_clusters"), cluster_ids=range(3),
    )  # fmt: skip
    return folder


def test_semdedup_sorts(x: np.ndarray, sorted_clusters: Path, tmp_path: Path) -> None:
    nearest = np.load(sorted_clusters / "nearest_cent.npy")
    similarity = np.load(sorted_clusters / "dist_to_cent.npy")
    centroids = np.load(sorted_clusters / "kmeans_centroids.npy")
    np.testing.assert_allclose(similarity, np.sum(x * centroids[nearest], axis=1), atol=1e-6)
    seen: list[int] = []
    for cluster in range(3):
        members = np.load(sorted_clusters / "sorted_clusters" / f"cluster_{cluster}.npy")
        assert members.dtype.kind == "U"
        ids = members[:, 1].astype(int)
        assert [int(name[-9:-4]) for name in members[:, 0]] == ids.tolist()
        mine = np.flatnonzero(nearest == cluster)
        wanted = mine[np.argsort(similarity[mine], kind="stable")]  # farthest first, then by index
        np.testing.assert_array_equal(ids, wanted)
        assert (members[:, 3].astype(int) == cluster).all()
        seen += ids.tolist()
    assert sorted(seen) == list(range(N))
    for more in ({}, {"keep_hard": False}, {"sim_metric": "l2"}):
        out = semdedup.assign_and_sort_clusters(
            x, np.arange(N), save_folder=str(sorted_clusters), cluster_ids=[2],
            sorted_clusters_file_loc=str(tmp_path / str(len(list(tmp_path.iterdir())))), **more,
        )  # fmt: skip
        away = np.array([member[2] for member in out[0]])
        assert (np.diff(away) >= 0).all() if "keep_hard" in more else (np.diff(away) <= 0).all()
    with pytest.raises(ValueError, match="sim_metric must be 'cosine' with kmeans_with_cos_dist"):
        semdedup.assign_and_sort_clusters(x, [], "l2", kmeans_with_cos_dist=True)


@pytest.mark.parametrize("keep", ["hard", "easy", "random"])
def test_semdedup_marks(x: np.ndarray, sorted_clusters: Path, tmp_path: Path, keep: str) -> None:
    args = SimpleNamespace(
        embs_memory_loc=str(sorted_clusters / "embeddings.bin"), dataset_size=N, emd_size=D,
        sorted_clusters_path=str(sorted_clusters / "sorted_clusters"), save_loc=str(tmp_path),
        eps_list=EPS, which_to_keep=keep, seed=7, num_clusters=3, clusters_per_job=2,
    )  # fmt: skip
    shuffle = random.Random(7)
    semdedup.SemDeDupJob(args, 0, pickles=False)()
    assert len(list((tmp_path / "dataframes").iterdir())) == 2
    semdedup.SemDeDupJob(args, 2, pickles=False)()
    kept: list[str] = []
    for cluster in range(3):
        if cluster == 2:
            shuffle = random.Random(7)  # of a job of its own
        members = np.load(sorted_clusters / "sorted_clusters" / f"cluster_{cluster}.npy")
        order = list(range(len(members)))
        if keep == "random":
            shuffle.shuffle(order)
        order = order[::-1] if keep == "easy" else order
        highest = highest_to_earlier(x[members[order, 1].astype(int)])
        table = pq.read_table(tmp_path / "dataframes" / f"cluster_{cluster}.parquet")
        assert table.column_names == ["indices", *(f"eps={eps}" for eps in EPS)]
        np.testing.assert_array_equal(table["indices"], order)
        for eps in EPS:
            np.testing.assert_array_equal(table[f"eps={eps}"], highest > 1 - eps)
        kept += members[np.array(order)[highest <= 1 - 0.05], 0].tolist()
    tables, out = tmp_path / "dataframes", tmp_path / "kept.txt"
    arguments = (args.sorted_clusters_path, tables, 0.05, 3, out)
    semdedup.extract_pruned_data(*arguments)
    assert out.read_text().split("\n") == kept
    semdedup.extract_pruned_data(*arguments, retreive_kept_samples=False)
    assert len(out.read_text().split("\n")) == N - len(kept)
    with pytest.raises(ValueError, match=re.escape("eps must be one of ['eps=0.01'")):
        semdedup.extract_pruned_data(args.sorted_clusters_path, tables, 0.2, 3, out)
    (tables / "cluster_1.parquet").unlink()
    with pytest.raises(FileNotFoundError, match="pickles are not read"):
        semdedup.extract_pruned_data(*arguments)


def test_semdedup_threshold_is_strict(tmp_path: Path) -> None:
    x = np.array([[1, 0], [3, 4], [1, 0]], np.float32)  # cosines 0.6 and 1
    x.tofile(tmp_path / "x")
    (tmp_path / "sorted").mkdir()
    members = np.array([("a", 0, 0.5, 0), ("b", 1, 0.4, 0), ("c", 2, 0.3, 0)])
    np.save(tmp_path / "sorted" / "cluster_0.npy", members)
    np.save(tmp_path / "sorted" / "cluster_1.npy", members[:1])
    args = SimpleNamespace(
        embs_memory_loc=str(tmp_path / "x"), dataset_size=3, emd_size=2, save_loc=str(tmp_path),
        sorted_clusters_path=str(tmp_path / "sorted"), eps_list=[0.0, 0.4], which_to_keep="hard",
        seed=0, num_clusters=2, clusters_per_job=2,
    )  # fmt: skip
    semdedup.SemDeDupJob(args, 0, pickles=False)()
    assert not list((tmp_path / "dataframes").glob("*.pkl"))
    table = pq.read_table(tmp_path / "dataframes" / "cluster_0.parquet")
    assert table["eps=0.0"].to_pylist() == [False, False, False]  # a copy is not above 1
    assert table["eps=0.4"].to_pylist() == [False, False, True]
    alone = pq.read_table(tmp_path / "dataframes" / "cluster_1.parquet")
    assert alone["eps=0.4"].to_pylist() == [False]
    pandas = pytest.importorskip("pandas")
    args.save_loc = str(tmp_path / "pickled")
    semdedup.SemDeDupJob(args, 0)()
    pickled = pandas.read_pickle(tmp_path / "pickled" / "dataframes" / "cluster_0.pkl")
    assert pickled.to_dict("list") == table.to_pydict()


def test_semdedup_errors() -> None:
    args = SimpleNamespace(which_to_keep="hard", seed=0)
    members, x = np.array([("a", 0, 0.5, 0)] * 2), np.eye(2, dtype=np.float32)
    with pytest.raises(ValueError, match="cluster must hold no name twice"):
        semdedup.SemDeDupJob(args, 0).semdedup(members, x)
    with pytest.raises(ValueError, match="which_to_keep must be one of"):
        semdedup.SemDeDupJob(SimpleNamespace(which_to_keep="best"), 0)


# How names of each kind stand in the files: whole, and readable as what they were.
NAMES: dict[str, tuple[Any, list[str]]] = {
    "int": (list(range(6)), list("012345")),
    "19 digits": ([10**18 + i for i in range(6)], [f"100000000000000000{i}" for i in range(6)]),
    "31 digits": ([10**30 + i for i in range(6)], [f"{10**30 + i}" for i in range(6)]),
    "numpy int": (np.arange(6) + 2**60, [f"{2**60 + i}" for i in range(6)]),
    "numpy uint": (np.arange(6, dtype="u8") + np.uint64(2**63), [f"{2**63 + i}" for i in range(6)]),
    "numpy str": (np.array([f"é {i} " for i in range(6)]), [f"é {i} " for i in range(6)]),
    "numpy object": (np.array([f"x{i}" for i in range(6)], object), [f"x{i}" for i in range(6)]),
    "bytes": ([b"x%d" % i for i in range(6)], [f"x{i}" for i in range(6)]),
    "path": ([Path("a", f"{i}.png") for i in range(6)], [f"a/{i}.png" for i in range(6)]),
    "tuple": ([("case", i) for i in range(6)], [f"('case', {i})" for i in range(6)]),
    "float": ([i / 3 for i in range(6)], [repr(i / 3) for i in range(6)]),
    "date": (np.arange(6).astype("M8[D]"), [f"1970-01-0{i + 1}" for i in range(6)]),
    "mixed": ([1, "a", None, (2,), b"z", 2.5], ["1", "a", "None", "(2,)", "z", "2.5"]),
}  # fmt: skip


def write_clusters(folder: Path, x: np.ndarray) -> None:
    """Write a clustering of rows into clusters 0 and 2; cluster 1 is empty."""
    x.tofile(folder / "embeddings")
    np.save(folder / "kmeans_centroids.npy", x[:3])
    np.save(folder / "nearest_cent.npy", np.arange(len(x)) % 2 * 2)
    np.save(folder / "dist_to_cent.npy", np.arange(len(x), 0, -1, dtype=np.float32))


@pytest.mark.parametrize("kind", NAMES)
def test_semdedup_keeps_names_of_any_kind(x: np.ndarray, tmp_path: Path, kind: str) -> None:
    given, written = NAMES[kind]
    write_clusters(tmp_path, x[:6])
    out = semdedup.assign_and_sort_clusters(
        x[:6], given, "l2", save_folder=str(tmp_path), cluster_ids=range(3),
        sorted_clusters_file_loc=str(tmp_path / "sorted"),
    )  # fmt: skip
    assert [[row[:2] for row in part] for part in out] == [
        [(given[i], i) for i in part] for part in ([0, 2, 4], [], [1, 3, 5])
    ]
    for keep in ("hard", "easy", "random"):
        args = SimpleNamespace(
            embs_memory_loc=str(tmp_path / "embeddings"), dataset_size=6, emd_size=D,
            sorted_clusters_path=str(tmp_path / "sorted"), save_loc=str(tmp_path / keep),
            eps_list=[0.0], which_to_keep=keep, seed=3, num_clusters=3, clusters_per_job=3,
        )  # fmt: skip
        semdedup.SemDeDupJob(args, 0, pickles=False)()
        empty = pq.read_table(tmp_path / keep / "dataframes" / "cluster_1.parquet")
        assert empty.to_pydict() == {"indices": [], "eps=0.0": []}
        kept = tmp_path / f"{keep}.txt"
        semdedup.extract_pruned_data(
            tmp_path / "sorted", tmp_path / keep / "dataframes", 0.0, 3, kept
        )
        assert sorted(kept.read_text().split("\n")) == sorted(written)


def test_semdedup_reads_what_the_original_made_of_numbers(x: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "cluster_0.npy", np.array([(7, 0, 0.5, 0), (2**52 + 1, 1, 0.5, 0)]))
    np.save(tmp_path / "cluster_1.npy", np.array([]))  # of no members
    x.tofile(tmp_path / "embeddings")
    args = SimpleNamespace(
        embs_memory_loc=str(tmp_path / "embeddings"), dataset_size=N, emd_size=D, seed=0,
        sorted_clusters_path=str(tmp_path), save_loc=str(tmp_path), eps_list=[0.0],
        which_to_keep="easy", num_clusters=2, clusters_per_job=2,
    )  # fmt: skip
    semdedup.SemDeDupJob(args, 0, pickles=False)()
    arguments = (tmp_path, tmp_path / "dataframes", 0.0, 2, tmp_path.parent / "kept.txt")
    semdedup.extract_pruned_data(*arguments)
    assert arguments[-1].read_text() == f"{2**52 + 1}\n7"
    np.save(tmp_path / "cluster_0.npy", np.array([(10**18, 0, 0.5, 0), (10**18 + 1, 1, 0.5, 0)]))
    with pytest.raises(ValueError, match="names were rounded to float64"):
        semdedup.extract_pruned_data(*arguments)


def test_semdedup_refuses_names_before_it_writes(x: np.ndarray, tmp_path: Path) -> None:
    write_clusters(tmp_path, x[:6])
    for names, message in (
        (list("abcde"), "paths_list must have one name a row (6), got 5"),
        (["1", "b", 1, "d", "e", "f"], "paths_list must hold no name twice in a cluster"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            semdedup.assign_and_sort_clusters(
                x[:6], names, "l2", save_folder=str(tmp_path), cluster_ids=range(3),
                sorted_clusters_file_loc=str(tmp_path / "sorted"),
            )  # fmt: skip
    with pytest.raises(ValueError, match=re.escape("cluster_ids must be from 0 to 2")):
        semdedup.assign_and_sort_clusters(
            x[:6], list("abcdef"), "l2", save_folder=str(tmp_path), cluster_ids=[0, 3],
            sorted_clusters_file_loc=str(tmp_path / "sorted"),
        )  # fmt: skip
    assert not (tmp_path / "sorted").exists()


def test_semdedup_replaces_nothing_that_it_did_not_write(
    x: np.ndarray, sorted_clusters: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "kmeans_centroids.npy", x[0])  # one axis: not centroids
    with pytest.raises(FileExistsError, match="is not the centroids of a clustering"):
        semdedup.compute_centroids(x, 3, 2, save_folder=str(tmp_path))
    np.save(tmp_path / "kmeans_centroids.npy", x)
    mapped = np.load(tmp_path / "kmeans_centroids.npy", mmap_mode="r")
    with pytest.raises(ValueError, match="is an input"):
        semdedup.compute_centroids(mapped, 3, 2, save_folder=str(tmp_path))
    np.testing.assert_array_equal(np.load(tmp_path / "kmeans_centroids.npy"), x)
    clusters = sorted_clusters / "sorted_clusters"
    with pytest.raises(ValueError, match="which is an input"):
        semdedup.extract_pruned_data(clusters, tmp_path, 0.1, 3, clusters / "kept.txt")
    (tmp_path / "kept.txt").write_text('{"not": "names"}')
    with pytest.raises(FileExistsError, match="is not a list of names"):
        semdedup.extract_pruned_data(clusters, tmp_path / "x", 0.1, 3, tmp_path / "kept.txt")


def test_semdedup_replaces_no_table_that_came_while_it_worked(
    x: np.ndarray, sorted_clusters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "dataframes" / "cluster_0.parquet"
    target.parent.mkdir()
    args = SimpleNamespace(
        embs_memory_loc=tmp_path / "embeddings", dataset_size=N, emd_size=x.shape[1],
        sorted_clusters_path=sorted_clusters / "sorted_clusters", save_loc=tmp_path,
        eps_list=[0.1], which_to_keep="hard", seed=0, num_clusters=1, clusters_per_job=1,
    )  # fmt: skip
    x.tofile(args.embs_memory_loc)
    load = semdedup._load_cluster

    def loaded_late(columns: dict[str, Any]) -> None:
        def late(folder: Path, cluster: int) -> np.ndarray:
            pq.write_table(pa.table(columns), target)
            return load(folder, cluster)

        monkeypatch.setattr(semdedup, "_load_cluster", late)
        semdedup.SemDeDupJob(args, 0, pickles=False)()

    with pytest.raises(FileExistsError, match="is not the marks of a cluster"):
        loaded_late({"patient": ["a"]})
    assert pq.read_table(target).column_names == ["patient"]
    target.unlink()
    loaded_late({"indices": [0], "eps=0.5": [True]})  # another job's marks of this cluster
    assert pq.read_table(target).column_names == ["indices", "eps=0.1"]
