"""SemDeDup's stages and files, for those who have scripts around them.

``compute_centroids`` and ``assign_and_sort_clusters`` (clustering), ``SemDeDupJob`` (semdedup.py),
``extract_pruned_data``. The files are the original's: ``kmeans_centroids.npy``,
``dist_to_cent.npy``, ``nearest_cent.npy``, ``sorted_clusters/cluster_<i>.npy``,
``dataframes/cluster_<i>.pkl``. Pickles are written for the original's tools and never read: what is
read back here stands beside each as ``cluster_<i>.parquet``.

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
from meddel_fast.compat._search import inner_of_pairs
from meddel_fast.compat.faiss import Kmeans
from meddel_fast.extras import needs
from meddel_fast.files import StrPath, atomic_path, write_text
from meddel_fast.untrusted import load_npy

Member = tuple[Any, int, float, int]

_KEEP = ("hard", "easy", "random")
_PATH, _ID = 0, 1  # columns of a sorted cluster


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
    made = Kmeans(
        np.shape(data)[-1], ncentroids, niter=niter, seed=seed, spherical=Kmeans_with_cos_dist
    )
    made.train(data)
    distance, nearest = made.assign(data)
    _save(Path(save_folder, "kmeans_centroids.npy"), made.centroids)
    _save(Path(save_folder, "dist_to_cent.npy"), distance)
    _save(Path(save_folder, "nearest_cent.npy"), nearest)
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
        Names of the samples, no two the same.
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
        For an unknown metric, or l2 with cosine k-means.
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
    by_cluster = np.argsort(nearest, kind="stable")
    borders = np.searchsorted(nearest[by_cluster], [np.arange(len(centroids) + 1)])[0]
    out = []
    for cluster in cluster_ids:
        target = Path(sorted_clusters_file_loc, f"cluster_{cluster}.npy")
        if target.exists():
            continue
        check_int("cluster_ids", cluster, 0, len(centroids) - 1, " (the centroids)")
        members = by_cluster[borders[cluster] : borders[cluster + 1]]
        away = distance[members]
        if sim_metric == "cosine":
            near = away if kmeans_with_cos_dist else _cosines(data, members, centroids[cluster])
            away = 1.0 - near.astype(np.float64)
        order = np.argsort(-away if keep_hard else away, kind="stable")
        found = [(paths_list[i], int(i), float(away[j]), int(cluster))
                 for i, j in zip(members[order], order, strict=True)]  # fmt: skip
        _save(target, np.array(found) if found else np.empty((0, 4), dtype="<U1"))
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
        if len(np.unique(cluster[:, _PATH])) < len(cluster):
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
            order = list(range(len(members)))
            if len(order) > 1 and str(self.args.which_to_keep).lower() == "random":
                self._random.shuffle(order)
            elif str(self.args.which_to_keep).lower() == "easy":
                order.reverse()
            members = members[order]
            highest = np.zeros(len(members))
            if len(members) > 1:
                rows = embeddings[members[:, _ID].astype(np.int64)]
                highest = self.semdedup(members, rows)
            columns: dict[str, Any] = {"indices": order}
            columns |= {f"eps={eps}": highest > 1 - eps for eps in self.args.eps_list}
            self._write(tables, cluster, columns)

    def _write(self, tables: Path, cluster: int, columns: dict[str, Any]) -> None:
        with needs("compat"):
            import pyarrow as pa
            import pyarrow.parquet as pq
        if self.pickles:
            with needs("compat"):
                from pandas import DataFrame

            with atomic_path(tables / f"cluster_{cluster}.pkl") as temporary:
                DataFrame(columns).to_pickle(temporary)
        with atomic_path(tables / f"cluster_{cluster}.parquet") as temporary:
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

    Names are whole; the original cuts them to 32 characters.

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
        If the job did not have this eps.
    """
    with needs("compat"):
        import pyarrow.parquet as pq

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
    write_text(output_txt_path, "\n".join(names))


def _cosines(data: Any, members: NDArray[np.int64], centroid: Any) -> NDArray[np.float64]:
    rows, centre = np.asarray(data[members]), np.asarray(centroid)[None]
    own, first = np.arange(len(rows)), np.zeros(len(rows), dtype=np.int64)
    squares = inner_of_pairs(rows, rows, own, own)
    squares *= inner_of_pairs(centre, centre, first[:1], first[:1])
    product = inner_of_pairs(rows, centre, own, first)
    cosine = np.divide(product, np.sqrt(squares), out=np.zeros_like(squares), where=squares > 0)
    return np.clip(cosine, -1.0, 1.0)


def _load_cluster(folder: StrPath, cluster: int) -> NDArray[Any]:
    return load_npy(Path(folder, f"cluster_{cluster}.npy"))


def _save(path: Path, array: Any) -> None:
    with atomic_path(path) as temporary:
        np.save(temporary, array, allow_pickle=False)


def _text(name: Any) -> str:
    return os.fsdecode(name)
