"""SemDeDup's stages and files, for those who have scripts around them.

``compute_centroids`` and ``assign_and_sort_clusters`` (clustering), ``SemDeDupJob`` (semdedup.py),
``extract_pruned_data``. The files are the original's: ``kmeans_centroids.npy``,
``dist_to_cent.npy``, ``nearest_cent.npy``, ``sorted_clusters/cluster_<i>.npy``,
``dataframes/cluster_<i>.pkl``. Pickles are written for the original's tools and never read: what is
read back here stands beside each as ``cluster_<i>.parquet``.

Names of samples may be of any kind. The files hold them as text: texts as they are, paths as such,
all others as Python writes them (``12``, ``('case 1', 3)``), whole whatever their length (the
original: integers as float64, exact up to 2^53). Nothing but an earlier file of the same kind is
replaced, and no input.

Embeddings are compared by cosine (the original: by inner product, and so equal for rows of length
1), and thresholds in fp64: a sample goes when its highest cosine to an earlier one of its cluster
is above 1 - eps.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Sequence
from logging import Logger
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.arrays import check_choice, check_int
from meddel_fast.common.atomic import write_bytes
from meddel_fast.common.extras import needs
from meddel_fast.common.files import StrPath
from meddel_fast.common.npy import load_npy
from meddel_fast.common.outputs import NAMES, Kind, array_file, check_output, output_path
from meddel_fast.common.untrusted import read_parquet_schema
from meddel_fast.compat._search import cosine_of_pairs
from meddel_fast.compat.faiss import Kmeans

Member = tuple[Any, int, float, int]

_KEEP = ("hard", "easy", "random")
_PATH, _ID = 0, 1  # columns of a sorted cluster
_WHOLE = 2**53  # below which float64 holds every integer

_CLUSTERING = {
    "kmeans_centroids": array_file("the centroids of a clustering", "f", 2),
    "dist_to_cent": array_file("the distances of a clustering", "f", 1),
    "nearest_cent": array_file("the labels of a clustering", "iu", 1),
}
_SORTED = array_file("a sorted cluster", "US", 2)
_PICKLE = Kind("a pickled table", (".pkl",), lambda path: b"pandas" in path.read_bytes()[:200])


def compute_centroids(
    data: Any,
    ncentroids: int = 1000,
    niter: int = 100,
    seed: int = 1234,
    Kmeans_with_cos_dist: bool = False,
    save_folder: str = "",
    logger: Logger | None = None,
    verbose: bool = True,
) -> Kmeans:
    """Cluster embeddings, and write centroids, nearest centroids and distances to them.

    Parameters
    ----------
    data : array of shape (n, d)
        Embeddings, memory-mapped or not.
    ncentroids, niter, seed : int
        Number of clusters, of steps at most, and the seed.
    Kmeans_with_cos_dist : bool
        Cluster by cosine; ``dist_to_cent.npy`` then holds similarities, else squared distances.
    save_folder : str
        Where the files go.
    logger, verbose
        Taken for the original's sake.

    Returns
    -------
    Kmeans
        As of :mod:`meddel_fast.compat.faiss`, trained on all rows.
    """
    folder, source = Path(save_folder), getattr(data, "filename", None)
    for name, kind in _CLUSTERING.items():
        check_output(folder / f"{name}.npy", kind, [source])
    made = Kmeans(
        np.shape(data)[-1], ncentroids, niter=niter, seed=seed, spherical=Kmeans_with_cos_dist
    )
    made.train(data)
    distance, nearest = made.assign(data)
    for (name, kind), array in zip(
        _CLUSTERING.items(), (made.centroids, distance, nearest), strict=True
    ):
        _save(folder / f"{name}.npy", array, kind)
    return made


def assign_and_sort_clusters(
    data: Any,
    paths_list: Sequence[Any],
    sim_metric: str = "cosine",
    keep_hard: bool = True,
    kmeans_with_cos_dist: bool = False,
    save_folder: str = "",
    sorted_clusters_file_loc: str = "",
    cluster_ids: Iterable[int] = range(5000),
    logger: Logger | None = None,
) -> list[list[Member]]:
    """Sort the members of each cluster by the distance to its centroid, and write them.

    Parameters
    ----------
    data : array of shape (n, d)
        Embeddings.
    paths_list : sequence of length n
        Names of the samples, no two of a cluster the same; see the module.
    sim_metric : {"cosine", "l2"}
        Distance: 1 - cosine, or what ``dist_to_cent.npy`` holds.
    keep_hard : bool
        Farthest first, else nearest first; equal ones by index either way.
    kmeans_with_cos_dist : bool
        Whether ``dist_to_cent.npy`` holds similarities, which are then used.
    save_folder : str
        Where :func:`compute_centroids` wrote.
    sorted_clusters_file_loc : str
        Folder for the sorted clusters; one that has its file is left out, as it was.
    cluster_ids : iterable of int
        Clusters to sort.
    logger
        Taken for the original's sake.

    Returns
    -------
    list of list of tuple
        Of each cluster that was sorted: (name, index, distance, cluster).

    Raises
    ------
    ValueError
        For an unknown metric, l2 with cosine k-means, a cluster that is not there, more or fewer
        names than rows, or two of a cluster that are written alike.
    FileNotFoundError
        If the folder lacks a file.
    """
    check_choice("sim_metric", sim_metric, ("cosine", "l2"))
    if kmeans_with_cos_dist and sim_metric == "l2":
        raise ValueError("sim_metric must be 'cosine' with kmeans_with_cos_dist, got 'l2'")
    centroids, distance, nearest = (
        load_npy(Path(save_folder, f"{name}.npy"))
        for name in ("kmeans_centroids", "dist_to_cent", "nearest_cent")
    )
    if len(paths_list) != len(nearest):
        raise ValueError(
            f"paths_list must have one name a row ({len(nearest)}), got {len(paths_list)}"
        )
    clusters = [
        check_int("cluster_ids", cluster, 0, len(centroids) - 1, " (the centroids)")
        for cluster in cluster_ids
    ]
    by_cluster = np.argsort(nearest, kind="stable")
    borders = np.searchsorted(nearest[by_cluster], [np.arange(len(centroids) + 1)])[0]
    out = []
    for cluster in clusters:
        target = Path(sorted_clusters_file_loc, f"cluster_{cluster}.npy")
        if target.exists():
            continue
        members = by_cluster[borders[cluster] : borders[cluster + 1]]
        away = distance[members]
        if sim_metric == "cosine":
            near = away if kmeans_with_cos_dist else _cosines(data[members], centroids[cluster])
            away = 1.0 - near.astype(np.float64)
        order = np.argsort(-away if keep_hard else away, kind="stable")
        found = [(paths_list[i], int(i), float(away[j]), cluster)
                 for i, j in zip(members[order], order, strict=True)]  # fmt: skip
        _save(target, _as_array(found), _SORTED)
        out.append(found)
    return out


class SemDeDupJob:
    """Marks what repeats an earlier member of its cluster, for a range of clusters.

    Parameters
    ----------
    args : object
        With the original's attributes: ``embs_memory_loc`` (file of float32), ``dataset_size``,
        ``emd_size``, ``sorted_clusters_path``, ``save_loc``, ``eps_list``, ``which_to_keep``
        ("hard", "easy" or "random"), ``seed``, ``num_clusters``, ``clusters_per_job``.
    job_start_cluster : int
        First cluster of this job.
    pickles : bool
        Write ``.pkl`` files as the original does, which takes pandas; ``.parquet`` in any case.
    """

    def __init__(self, args: Any, job_start_cluster: int, pickles: bool = True) -> None:
        check_choice("which_to_keep", str(args.which_to_keep).lower(), _KEEP)
        self.args = args
        self.job_start_cluster = check_int("job_start_cluster", job_start_cluster, 0)
        self.pickles = pickles
        self._random = random.Random(args.seed)

    def __call__(self) -> None:
        """Do this job's clusters."""
        last = min(self.args.num_clusters, self.job_start_cluster + self.args.clusters_per_job)
        self._process_shard(self.job_start_cluster, last)

    def semdedup(self, cluster: NDArray[Any], cluster_reps: Any) -> NDArray[np.float64]:
        """Return each member's highest cosine to an earlier one, 0 if none is positive.

        Parameters
        ----------
        cluster : array of shape (m, 4)
            Members as sorted clusters hold them.
        cluster_reps : array of shape (m, d)
            Their embeddings.

        Raises
        ------
        ValueError
            If two members have the same name.
        """
        if len({_text(name) for name in cluster[:, _PATH]}) < len(cluster):
            raise ValueError("cluster must hold no name twice")
        found: NDArray[np.float64] = ops.redundancy(cluster_reps).similarity
        return np.maximum(found, 0.0)

    def _process_shard(self, start_cluster: int, end_cluster: int) -> None:
        embeddings = np.memmap(
            self.args.embs_memory_loc, dtype="float32", mode="r",
            shape=(self.args.dataset_size, self.args.emd_size),
        )  # fmt: skip
        tables = Path(self.args.save_loc, "dataframes")
        for cluster in range(start_cluster, end_cluster):
            if (tables / f"cluster_{cluster}.parquet").exists():
                continue
            members = _load_cluster(self.args.sorted_clusters_path, cluster)
            order = list(range(len(members)))  # Python's shuffle draws otherwise for an array
            if len(order) > 1 and str(self.args.which_to_keep).lower() == "random":
                self._random.shuffle(order)
            elif str(self.args.which_to_keep).lower() == "easy":
                order.reverse()
            indices = np.array(order, dtype=np.int64)
            members = members[indices]
            highest = np.zeros(len(members))
            if len(members) > 1:
                rows = embeddings[members[:, _ID].astype(np.int64)]
                highest = self.semdedup(members, rows)
            columns: dict[str, Any] = {"indices": indices}
            columns |= {f"eps={eps}": highest > 1 - eps for eps in self.args.eps_list}
            self._write(tables, cluster, columns)

    def _write(self, tables: Path, cluster: int, columns: dict[str, Any]) -> None:
        with needs("compat"):
            import pyarrow as pa
            import pyarrow.parquet as pq
        if self.pickles:
            with needs("compat"):
                from pandas import DataFrame

            with output_path(tables / f"cluster_{cluster}.pkl", _PICKLE) as temporary:
                DataFrame(columns).to_pickle(temporary)
        with output_path(tables / f"cluster_{cluster}.parquet", _MARKS) as temporary:
            pq.write_table(pa.table(columns), temporary)


def extract_pruned_data(
    sorted_clusters_path: StrPath,
    semdedup_pruning_tables_path: StrPath,
    eps: float,
    num_clusters: int,
    output_txt_path: StrPath,
    retreive_kept_samples: bool = True,
) -> None:
    """Write the names of the samples that stay (or go), a line each.

    Names are whole; the original cuts them to 32 characters. What is at `output_txt_path` is
    replaced if it is a list of names.

    Parameters
    ----------
    sorted_clusters_path : path
        Folder of the sorted clusters.
    semdedup_pruning_tables_path : path
        The ``dataframes`` folder of :class:`SemDeDupJob`, of which the Parquet files are read.
    eps : float
        One of the job's ``eps_list``.
    num_clusters : int
        Clusters 0 to ``num_clusters - 1`` are read.
    output_txt_path : path
        File to write.
    retreive_kept_samples : bool
        Names of what stays, else of what goes.

    Raises
    ------
    FileNotFoundError
        If a cluster's file is missing; for one that the original made, which is a pickle, too.
    ValueError
        If the job did not have this eps, a name has a line break in it, or the file would be
        among those that are read.
    FileExistsError
        If something else than a list of names has this path.
    """
    with needs("compat"):
        import pyarrow.parquet as pq

    check_output(output_txt_path, NAMES, [sorted_clusters_path, semdedup_pruning_tables_path])
    names: list[str] = []
    for cluster in range(num_clusters):
        table = Path(semdedup_pruning_tables_path, f"cluster_{cluster}.parquet")
        if not table.exists():
            raise FileNotFoundError(f"{table} is missing: run SemDeDupJob (pickles are not read)")
        columns = pq.read_table(table)
        if f"eps={eps}" not in columns.column_names:
            raise ValueError(f"eps must be one of {columns.column_names[1:]}, got {eps}")
        goes = columns[f"eps={eps}"].to_numpy()
        members = _load_cluster(sorted_clusters_path, cluster)[columns["indices"].to_numpy()]
        names += [_text(name) for name in members[goes != retreive_kept_samples, _PATH]]
    for name in names:
        if "\n" in name or "\r" in name:
            raise ValueError(f"names must have no line break, as there is one a line, got {name!r}")
    write_bytes(output_txt_path, os.fsencode("\n".join(names)))


def _are_marks(path: Path) -> bool:
    first, *others = read_parquet_schema(path).names
    return first == "indices" and all(name.startswith("eps=") for name in others)


_MARKS = Kind("the marks of a cluster", (".parquet",), _are_marks)


def _cosines(rows: Any, centroid: Any) -> NDArray[np.float64]:
    own, first = np.arange(len(rows)), np.zeros(len(rows), dtype=np.int64)
    return cosine_of_pairs(np.asarray(rows), np.asarray(centroid)[None], own, first)


def _load_cluster(folder: StrPath, cluster: int) -> NDArray[Any]:
    members = load_npy(Path(folder, f"cluster_{cluster}.npy"))
    return members if members.size else members.reshape(0, 4)


def _as_array(members: list[Member]) -> NDArray[Any]:
    """Return members as the original's array of texts (of bytes, where all names are bytes)."""
    rows = [(_text(name), str(i), repr(away), str(c)) for name, i, away, c in members]
    if len({row[_PATH] for row in rows}) < len(rows):
        raise ValueError("paths_list must hold no name twice in a cluster, as they are written")
    table = np.array(rows) if rows else np.empty((0, 4), dtype="<U1")
    if rows and all(isinstance(name, bytes) for name, *_ in members):
        return np.array([[os.fsencode(text) for text in row] for row in rows])
    return table


def _save(path: Path, array: Any, kind: Kind) -> None:
    with output_path(path, kind) as temporary:
        np.save(temporary, array, allow_pickle=False)


def _text(name: Any) -> str:
    """Return how a name is written; one read from a file of the original may be a float64."""
    if isinstance(name, (np.datetime64, np.timedelta64)):
        return str(name)
    if isinstance(name, np.generic):
        name = name.item()
        if isinstance(name, float) and name.is_integer():
            if abs(name) >= _WHOLE:
                raise ValueError(f"names were rounded to float64 when they were written: {name}")
            name = int(name)
    return os.fsdecode(name) if isinstance(name, (str, bytes, os.PathLike)) else repr(name)
