"""NeMo Curator's semantic deduplication, on a CPU: ``SemanticDeduplicationWorkflow``.

Reads Parquet or JSON lines with an id and an embedding, and writes the layout of NeMo Curator:
``kmeans_results/centroid=<k>/*.parquet``, ``pairwise_results/cluster_<k>.parquet``,
``duplicates/*.parquet``. A sample is a duplicate when its highest cosine to an earlier sample of
its cluster is at or above 1 - eps, compared in fp64 (NeMo Curator: in float32 or less).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.arrays import check_choice, check_float, check_int
from meddel_fast.compat._search import inner_of_pairs
from meddel_fast.extras import needs
from meddel_fast.files import StrPath, atomic_directory

Int = NDArray[np.int64]

_SUFFIXES = {"parquet": (".parquet",), "jsonl": (".jsonl", ".json")}
_COLUMNS = {"cosine": "cosine_dist_to_cent", "l2": "l2_dist_to_cent"}


@dataclass
class RankingStrategy:
    """In which order the samples of a cluster are swept: what comes first stays.

    Attributes
    ----------
    metadata_cols : list of str
        Columns to sort by, the first one first.
    ascending : bool or list of bool
        Of all or each of them.
    strategy : {"sort", "random"}
        Sort, or shuffle (numpy's generator; not NeMo Curator's shuffle).
    random_seed : int
        Of the shuffle.
    """

    metadata_cols: list[str]
    ascending: bool | list[bool] = True
    strategy: str = "sort"
    random_seed: int = 42


@dataclass
class WorkflowRunResult:
    """What a run took and found: ``kmeans_time``, ``pairwise_time``, ``total_time`` (seconds) and
    ``num_duplicates``.
    """  # noqa: D205

    workflow_name: str
    metadata: dict[str, Any] = field(default_factory=dict)


class SemanticDeduplicationWorkflow:
    """Cluster embeddings, compare them within clusters, list the duplicates.

    Parameters
    ----------
    input_path : str or list of str
        Folder (or several) with the files, those below included; they are read sorted by path.
    output_path : str
        Where ``duplicates`` goes.
    n_clusters : int
        Number of clusters.
    cache_path : str, optional
        Where ``kmeans_results`` and ``pairwise_results`` go; default: `output_path`.
    id_field, embedding_field : str
        Columns of ids and of embeddings (lists of equal length).
    metadata_fields : list of str, optional
        Columns to keep.
    input_filetype : {"parquet", "jsonl"}
        Kind of files.
    input_file_extensions : list of str, optional
        Their suffixes; default: .parquet, or .jsonl and .json.
    max_iter : int
        Steps of k-means at most.
    random_state : int
        Seed.
    init : "k-means||" or array of shape (n_clusters, d)
        Where k-means starts; for the former k-means++ draws.
    n_init : int or "auto"
        Runs, of which that of the lowest inertia stays; "auto" is one.
    fit_data_fraction : float, optional
        Fit k-means on this share of the samples, drawn at random.
    distance_metric : {"cosine", "l2"}
        The distance to the centroid that samples are ranked by.
    which_to_keep : {"hard", "easy", "random"}
        Rank the farthest first, the nearest first, or at random. Equal distances: by id in the same
        direction.
    ranking_strategy : RankingStrategy, optional
        In place of the two before; its columns must be among `metadata_fields`.
    eps : float, optional
        Threshold; without it no duplicates are written.
    clear_output : bool
        Replace what an earlier run wrote; else it is an error if there is any.
    embedding_dim, tol, oversampling_factor, max_samples_per_batch, pairwise_batch_size, verbose
        Taken for NeMo Curator's sake; they change nothing.

    Raises
    ------
    TypeError, ValueError
        For a value out of range.
    """

    def __init__(
        self,
        input_path: str | list[str],
        output_path: str,
        n_clusters: int,
        cache_path: str | None = None,
        id_field: str = "id",
        embedding_field: str = "embeddings",
        embedding_dim: int | None = None,
        metadata_fields: list[str] | None = None,
        input_filetype: str = "parquet",
        input_file_extensions: list[str] | None = None,
        max_iter: int = 300,
        tol: float = 1e-4,
        random_state: int = 42,
        init: Any = "k-means||",
        n_init: int | str = 1,
        oversampling_factor: float = 2.0,
        max_samples_per_batch: int = 1 << 15,
        fit_data_fraction: float | None = None,
        distance_metric: str = "cosine",
        which_to_keep: str = "hard",
        ranking_strategy: RankingStrategy | None = None,
        pairwise_batch_size: int = 1024,
        eps: float | None = None,
        clear_output: bool = True,
        verbose: bool = True,
    ) -> None:
        self.inputs = [
            Path(p) for p in ([input_path] if isinstance(input_path, str) else input_path)
        ]
        self.output = Path(output_path)
        self.cache = Path(output_path if cache_path is None else cache_path)
        self.n_clusters = check_int("n_clusters", n_clusters, 1)
        self.id_field, self.embedding_field = id_field, embedding_field
        self.metadata_fields = list(metadata_fields or [])
        self.filetype = check_choice("input_filetype", input_filetype, tuple(_SUFFIXES))
        self.suffixes = tuple(input_file_extensions or _SUFFIXES[self.filetype])
        self.max_iter = check_int("max_iter", max_iter, 1)
        self.random_state = check_int("random_state", random_state, 0)
        if isinstance(init, str):
            check_choice("init", init, ("k-means||",))
        self.init = None if isinstance(init, str) else np.asarray(init)
        self.n_init = 1 if n_init == "auto" else check_int("n_init", n_init, 1)
        self.fraction = fit_data_fraction
        if fit_data_fraction is not None and not 0.0 < fit_data_fraction < 1.0:
            raise ValueError(
                f"fit_data_fraction must be above 0 and below 1, got {fit_data_fraction}"
            )
        check_choice("distance_metric", distance_metric, tuple(_COLUMNS))
        check_choice("which_to_keep", which_to_keep, ("hard", "easy", "random"))
        self.ranking = ranking_strategy or _ranking(
            _COLUMNS[distance_metric], which_to_keep, id_field, self.random_state
        )
        known = {id_field, *self.metadata_fields, *_COLUMNS.values()}
        if missing := sorted(set(self.ranking.metadata_cols) - known):
            raise ValueError(f"metadata_fields must hold {missing}, which the ranking needs")
        self.eps = None if eps is None else check_float("eps", eps, 0.0, 2.0)
        self.clear_output = bool(clear_output)

    def run(
        self,
        kmeans_executor: Any = None,
        pairwise_executor: Any = None,
        checkpoint_path: Any = None,
    ) -> WorkflowRunResult:
        """Do all and write the files; each folder is written whole or not at all.

        Parameters
        ----------
        kmeans_executor, pairwise_executor, checkpoint_path
            Taken for NeMo Curator's sake; they change nothing.

        Returns
        -------
        WorkflowRunResult
            Times, and the number of duplicates (0 without `eps`).

        Raises
        ------
        FileNotFoundError
            If there are no files to read.
        ValueError
            If a column is missing or embeddings are not as they must be.
        """
        began = time.monotonic()
        table, x = self._read()
        labels, table = self._cluster(table, x)
        clustered = time.monotonic()
        order = self._sweep(table, labels)
        score, nearest = _redundancy(x[order], labels[order])
        ids = table[self.id_field].combine_chunks().take(order)
        self._write_pairs(ids, labels[order], score, nearest)
        count = 0 if self.eps is None else self._write_duplicates(ids, score >= 1.0 - self.eps)
        ended = time.monotonic()
        metadata = {
            "kmeans_time": clustered - began,
            "pairwise_time": ended - clustered,
            "total_time": ended - began,
            "num_duplicates": count,
        }
        return WorkflowRunResult("semantic_deduplication", metadata)

    def _read(self) -> tuple[Any, NDArray[np.float32]]:
        """Read the columns, and the embeddings at length 1."""
        with needs("compat"):
            import pyarrow as pa

        files = sorted(
            path for folder in self.inputs for path in folder.rglob("*")
            if path.suffix in self.suffixes and path.is_file()
        )  # fmt: skip
        if not files:
            where = ", ".join(map(str, self.inputs))
            raise FileNotFoundError(f"no files that end in {self.suffixes} in {where}")
        wanted = [self.id_field, self.embedding_field, *self.metadata_fields]
        wanted = list(dict.fromkeys(wanted))
        tables = [_read_file(path, self.filetype, wanted) for path in files]
        table = pa.concat_tables(tables, promote_options="permissive")
        x = _embeddings(table[self.embedding_field], self.embedding_field).astype(np.float64)
        norms = np.linalg.norm(x, axis=1, keepdims=True)
        x = np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)
        return table, x.astype(np.float32)

    def _cluster(self, table: Any, x: NDArray[np.float32]) -> tuple[Int, Any]:
        """Cluster, add distances to the centroids, write ``kmeans_results``."""
        with needs("compat"):
            import pyarrow as pa
            import pyarrow.parquet as pq

        some = x
        if self.fraction is not None:
            rng = np.random.default_rng(self.random_state)
            size = max(self.n_clusters, int(len(x) * self.fraction))
            some = x[np.sort(rng.choice(len(x), min(size, len(x)), replace=False))]
        runs = [
            ops.kmeans(
                some, self.n_clusters, spherical=False, max_iterations=self.max_iter,
                seed=self.random_state + run, init=self.init,
            )
            for run in range(self.n_init if self.init is None else 1)
        ]  # fmt: skip
        found = min(runs, key=lambda run: run.inertia)
        if some is not x:
            found = ops.kmeans(
                x, self.n_clusters, spherical=False, max_iterations=0, init=found.centroids
            )
        labels: Int = found.labels
        cosine = _cosine_distances(x, found.centroids, labels)
        table = table.set_column(
            table.column_names.index(self.embedding_field), self.embedding_field,
            pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), x.shape[1]),
        )  # fmt: skip
        table = table.append_column(
            _COLUMNS["l2"], pa.array(np.sqrt(found.distances), pa.float32())
        )
        table = table.append_column(_COLUMNS["cosine"], pa.array(cosine, pa.float32()))
        with atomic_directory(self.cache / "kmeans_results", replace=self.clear_output) as folder:
            for cluster in np.unique(labels):
                target = folder / f"centroid={cluster}"
                target.mkdir()
                pq.write_table(table.take(np.flatnonzero(labels == cluster)), target / "0.parquet")
        return labels, table

    def _sweep(self, table: Any, labels: Int) -> Int:
        """Return the samples cluster by cluster, each in the order of the ranking."""
        with needs("compat"):
            import pyarrow as pa
            import pyarrow.compute as pc

        if self.ranking.strategy == "random":
            shuffled = np.random.default_rng(self.ranking.random_seed).permutation(len(labels))
            return shuffled[np.argsort(labels[shuffled], kind="stable")]
        columns = self.ranking.metadata_cols
        rising = self.ranking.ascending
        rising = [rising] * len(columns) if isinstance(rising, bool) else rising
        keys = [("", "ascending")] + [
            (column, "ascending" if up else "descending")
            for column, up in zip(columns, rising, strict=True)
        ]
        sortable = table.select(columns).append_column("", pa.array(labels))
        return np.asarray(pc.sort_indices(sortable, sort_keys=keys)).astype(np.int64)

    def _write_pairs(self, ids: Any, labels: Int, score: Any, nearest: Int) -> None:
        with needs("compat"):
            import pyarrow as pa
            import pyarrow.parquet as pq

        pairs = pa.table(
            {
                "id": ids,
                "max_id": ids.take(nearest),
                "cosine_sim_score": pa.array(score, pa.float32()),
            }
        )
        with atomic_directory(self.cache / "pairwise_results", replace=self.clear_output) as folder:
            for cluster in np.unique(labels):
                begin, end = np.searchsorted(labels, [cluster, cluster + 1])
                part = pairs.slice(begin, end - begin)
                pq.write_table(part, folder / f"cluster_{cluster}.parquet")

    def _write_duplicates(self, ids: Any, goes: NDArray[np.bool_]) -> int:
        with needs("compat"):
            import pyarrow as pa
            import pyarrow.parquet as pq

        found = pa.table({"id": ids.filter(goes)}).sort_by("id")
        with atomic_directory(self.output / "duplicates", replace=self.clear_output) as folder:
            pq.write_table(found, folder / "0.parquet")
        return int(found.num_rows)


def _ranking(column: str, which_to_keep: str, id_field: str, seed: int) -> RankingStrategy:
    if which_to_keep == "random":
        return RankingStrategy([], strategy="random", random_seed=seed)
    return RankingStrategy([column, id_field], ascending=which_to_keep == "easy")


def _read_file(path: StrPath, filetype: str, columns: Sequence[str]) -> Any:
    with needs("compat"):
        import pyarrow.json as json
        import pyarrow.parquet as pq

    table = pq.read_table(path) if filetype == "parquet" else json.read_json(path)
    if missing := sorted(set(columns) - set(table.column_names)):
        raise ValueError(f"{path} must have the columns {missing}, it has {table.column_names}")
    return table.select(list(columns))


def _embeddings(column: Any, name: str) -> NDArray[Any]:
    """Return a column of lists as an array, checked to be one."""
    with needs("compat"):
        import pyarrow as pa

    column = column.combine_chunks()
    if column.null_count or not (
        pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
        or pa.types.is_fixed_size_list(column.type)
    ):  # fmt: skip
        raise ValueError(f"{name} must be lists of numbers without nulls, got {column.type}")
    lengths = np.unique(column.value_lengths()) if len(column) else np.zeros(1)
    if len(lengths) != 1 or lengths[0] == 0:
        raise ValueError(f"{name} must be lists of one length, got {lengths.tolist()}")
    return np.asarray(column.flatten()).reshape(len(column), int(lengths[0]))


def _cosine_distances(
    x: NDArray[np.float32], centroids: NDArray[np.float32], labels: Int
) -> NDArray[np.float64]:
    own, each = np.arange(len(x)), np.arange(len(centroids))
    squares = inner_of_pairs(x, x, own, own)
    squares *= inner_of_pairs(centroids, centroids, each, each)[labels]
    product = inner_of_pairs(x, centroids, own, labels)
    cosine = np.divide(product, np.sqrt(squares), out=np.zeros_like(squares), where=squares > 0)
    return 1.0 - np.clip(cosine, -1.0, 1.0)


def _redundancy(x: NDArray[np.float32], labels: Int) -> tuple[NDArray[np.float64], Int]:
    """Highest cosine to an earlier row of the cluster and that row; 0 and itself if none is > 0."""
    found = ops.redundancy(x, labels=labels)
    positive = found.similarity > 0.0
    nearest = np.where(positive, found.neighbor, np.arange(len(x)))
    return np.where(positive, found.similarity, 0.0), nearest
