"""NeMo Curator's semantic deduplication, on a CPU: ``SemanticDeduplicationWorkflow``.

Reads Parquet or JSON lines with an id and an embedding, and writes the layout of NeMo Curator:
``kmeans_results/centroid=<k>/*.parquet``, ``pairwise_results/cluster_<k>.parquet``,
``duplicates/*.parquet``. Ids keep their type in all of them. A sample is a duplicate when its
highest cosine to an earlier sample of its cluster is at or above 1 - eps, compared in fp64. NeMo
Curator 1.4.0 stores and multiplies in float16 unless told otherwise; here that has to be asked for.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import ops
from meddel_fast.arrays import check_choice, check_float, check_int
from meddel_fast.common.atomic import atomic_directory
from meddel_fast.common.extras import needs
from meddel_fast.common.outputs import check_folder
from meddel_fast.compat._curator_files import (
    DUPLICATES,
    KMEANS,
    PAIRWISE,
    SUFFIXES,
    check_read_options,
    check_write_options,
    embeddings,
    find_files,
    read_files,
    sortable,
)
from meddel_fast.compat._curator_scores import half_redundancy, redundancy
from meddel_fast.compat._search import cosine_of_pairs

Int = NDArray[np.int64]

_STORED = ("float16", "float32")
_COMPUTED = ("auto", "float16", "float32")
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

    def __post_init__(self) -> None:
        """Give each column its direction."""
        check_choice("strategy", self.strategy, ("sort", "random"))
        if isinstance(self.ascending, bool):
            self.ascending = [self.ascending] * len(self.metadata_cols)
        if len(self.ascending) != len(self.metadata_cols):
            raise ValueError(
                f"ascending must have one entry a column ({len(self.metadata_cols)}), "
                f"got {len(self.ascending)}"
            )

    @classmethod
    def metadata_based(
        cls, metadata_cols: list[str], ascending: bool | list[bool] = True, random_seed: int = 42
    ) -> RankingStrategy:
        """Return the strategy that sorts by columns."""
        return cls(metadata_cols, ascending, "sort", random_seed)

    @classmethod
    def random(cls, random_seed: int = 42) -> RankingStrategy:
        """Return the strategy that shuffles."""
        return cls([], strategy="random", random_seed=random_seed)


@dataclass
class WorkflowRunResult:
    """What a run took and found: ``kmeans_time``, ``pairwise_time``, ``total_time`` (seconds) and
    ``num_duplicates``, in `metadata`. There are no tasks of pipelines here.
    """  # noqa: D205

    workflow_name: str
    pipeline_tasks: dict[str, list[Any]] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    def get_metadata(self, key: str) -> Any:
        """Return an entry of the metadata, None where there is none."""
        return self.metadata.get(key)


class SemanticDeduplicationWorkflow:
    """Cluster embeddings, compare them within clusters, list the duplicates.

    Parameters
    ----------
    input_path : str or list of str
        Folder or file (or several) to read, folders below included; sorted by path.
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
    init : "k-means||", "random" or array of shape (n_clusters, d)
        Where k-means starts; for the first k-means++ draws, for the second any samples are drawn.
    n_init : int or "auto"
        Runs, of which that of the lowest inertia stays; "auto" is one.
    fit_data_fraction : float, optional
        Fit k-means on this share of the files, above 0 and at most 1, drawn as NeMo Curator draws
        them; default: on all (NeMo Curator: on what its GPU holds).
    distance_metric : {"cosine", "l2"}
        The distance to the centroid that samples are ranked by.
    which_to_keep : {"hard", "easy", "random"}
        Rank the farthest first, the nearest first, or at random. Equal distances: by id in the same
        direction.
    ranking_strategy : RankingStrategy, optional
        In place of the two before, which may then be None; its columns must be among
        `metadata_fields`.
    eps : float, optional
        Threshold; without it no duplicates are written. From 1 on even the first of a cluster is
        a duplicate, as there: its score is 0.
    read_kwargs : dict, optional
        ``filters`` of Parquet files; what only changes how cuDF reads is passed over, all else
        refused, ``storage_options`` too.
    cache_kwargs, write_kwargs : dict, optional
        ``compression``, ``row_group_size_rows`` and the like: of the clusters and the comparisons
        (default: as of `write_kwargs`), and of the duplicates. What is not obeyed is refused.
    clear_output : bool
        Replace what an earlier run wrote; else it is an error if there is any. Nothing else is ever
        replaced (NeMo Curator empties `output_path`).
    pairwise_compute_dtype : {"auto", "float16", "float32"}
        "float16": embeddings and their products are rounded to it as NeMo Curator does, "float32":
        cosines are exact; "auto": as the embeddings are stored.
    kmeans_embedding_output_dtype : {"float32", "float16"}
        How ``kmeans_results`` stores embeddings; float16 as their bits, in uint16, as there.
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
        distance_metric: str | None = "cosine",
        which_to_keep: str | None = "hard",
        ranking_strategy: RankingStrategy | None = None,
        pairwise_batch_size: int = 1024,
        eps: float | None = None,
        _duplicates_num_row_groups_hint: int | None = None,
        read_kwargs: Mapping[str, Any] | None = None,
        cache_kwargs: Mapping[str, Any] | None = None,
        write_kwargs: Mapping[str, Any] | None = None,
        clear_output: bool = True,
        verbose: bool = True,
        pairwise_compute_dtype: str = "auto",
        kmeans_embedding_output_dtype: str = "float32",
        *,
        embedding_dim: int | None = None,
    ) -> None:
        if isinstance(input_path, (str, os.PathLike)):
            input_path = [input_path]
        self.inputs = [Path(path) for path in input_path]
        self.output = Path(output_path)
        self.cache = Path(cache_path or output_path)
        for place in (*self.inputs, self.output, self.cache):
            if ":/" in str(place):
                raise ValueError(f"files are read and written locally, got {place}")
        self.n_clusters = check_int("n_clusters", n_clusters, 1)
        self.id_field, self.embedding_field = id_field, embedding_field
        self.metadata_fields = list(metadata_fields or [])
        self.filetype = check_choice("input_filetype", input_filetype, tuple(SUFFIXES))
        self.suffixes = tuple(input_file_extensions or SUFFIXES[self.filetype])
        self.max_iter = check_int("max_iter", max_iter, 1)
        self.random_state = check_int("random_state", random_state, 0)
        if isinstance(init, str):
            check_choice("init", init, ("k-means||", "random"))
        self.init = init if isinstance(init, str) else np.asarray(init)
        self.n_init = 1 if n_init == "auto" else check_int("n_init", n_init, 1)
        self.fraction = 1.0 if fit_data_fraction is None else fit_data_fraction
        if not 0.0 < self.fraction <= 1.0:
            raise ValueError(
                f"fit_data_fraction must be above 0 and at most 1, got {self.fraction}"
            )
        self.ranking = ranking_strategy or _ranking(
            distance_metric, which_to_keep, id_field, self.random_state
        )
        known = {id_field, *self.metadata_fields, *_COLUMNS.values()}
        if missing := sorted(set(self.ranking.metadata_cols) - known):
            raise ValueError(f"metadata_fields must hold {missing}, which the ranking needs")
        self.eps = None if eps is None else check_float("eps", eps, 0.0, 2.0)
        hint = _duplicates_num_row_groups_hint
        self.groups = 10 if hint is None else check_int("_duplicates_num_row_groups_hint", hint, 1)
        self.read_options = check_read_options(read_kwargs, self.filetype)
        self.write_options = check_write_options("write_kwargs", write_kwargs)
        self.cache_options = check_write_options("cache_kwargs", cache_kwargs or write_kwargs)
        if "row_group_size" in self.write_options:
            raise ValueError("write_kwargs must not hold row_group_size_rows, as there")
        self.clear_output = bool(clear_output)
        stored, computed = kmeans_embedding_output_dtype, pairwise_compute_dtype
        check_choice("kmeans_embedding_output_dtype", stored, _STORED)
        check_choice("pairwise_compute_dtype", computed, _COMPUTED)
        if (stored, computed) == ("float16", "float32"):
            raise ValueError(
                "pairwise_compute_dtype must not be 'float32' where "
                "kmeans_embedding_output_dtype is 'float16': what is rounded stays so"
            )
        self.store_halves = stored == "float16"
        self.halves = "float16" in (stored, computed)

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
        FileExistsError
            If something else than an earlier run's results is where they go.
        ValueError
            If a column is missing or embeddings are not as they must be, or a folder to write to
            lies in one to read.
        """
        began = time.monotonic()
        self._check_places()
        table, x, fit = self._read()
        labels, table = self._cluster(table, x, fit)
        clustered = time.monotonic()
        order = self._sweep(table, labels)
        scored = half_redundancy if self.halves else redundancy
        score, nearest = scored(x[order], labels[order])
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
        return WorkflowRunResult("semantic_deduplication", metadata=metadata)

    def _check_places(self) -> None:
        """Refuse, before any work, what must not be replaced, and clear what must not stay."""
        for folder, kind in (
            (self.cache / "kmeans_results", KMEANS),
            (self.cache / "pairwise_results", PAIRWISE),
            (self.output / "duplicates", DUPLICATES),
        ):
            check_folder(folder, kind, self.inputs)
            if not self.clear_output and folder.is_dir() and any(folder.iterdir()):
                raise FileExistsError(f"{folder} is not empty, and clear_output is False")
        if self.eps is None and (self.output / "duplicates").is_dir():
            shutil.rmtree(self.output / "duplicates")  # of another run: not of this one's clusters

    def _read(self) -> tuple[Any, NDArray[np.float32], NDArray[np.bool_]]:
        """Read the columns, the embeddings at length 1, and which rows k-means is fitted on."""
        files = find_files(self.inputs, self.suffixes)
        wanted = [self.id_field, self.embedding_field, *self.metadata_fields]
        table, counts = read_files(
            files, self.filetype, list(dict.fromkeys(wanted)), self.read_options
        )
        x = embeddings(table[self.embedding_field], self.embedding_field).astype(np.float64)
        norms = np.linalg.norm(x, axis=1, keepdims=True)
        x = np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)
        drawn = random.Random(self.random_state).sample(range(len(files)), len(files))
        chosen = drawn[: max(1, round(len(files) * self.fraction))]
        fit = np.repeat(np.isin(np.arange(len(files)), chosen), counts)
        if int(fit.sum()) < self.n_clusters:
            raise ValueError(
                f"n_clusters must be at most {int(fit.sum())}, the samples that k-means is fitted "
                f"on, got {self.n_clusters}"
            )
        return table, x.astype(np.float32), fit

    def _cluster(
        self, table: Any, x: NDArray[np.float32], fit: NDArray[np.bool_]
    ) -> tuple[Int, Any]:
        """Cluster, add distances to the centroids, write ``kmeans_results``."""
        with needs("compat"):
            import pyarrow as pa
            import pyarrow.parquet as pq

        some = x if fit.all() else x[fit]
        draws = np.random.default_rng(self.random_state)
        runs = []
        for run in range(self.n_init if isinstance(self.init, str) else 1):
            init = None if isinstance(self.init, str) else self.init
            if isinstance(self.init, str) and self.init == "random":
                init = some[draws.choice(len(some), self.n_clusters, replace=False)]
            runs.append(
                ops.kmeans(
                    some, self.n_clusters, spherical=False, max_iterations=self.max_iter,
                    seed=self.random_state + run, init=init,
                )
            )  # fmt: skip
        found = min(runs, key=lambda run: run.inertia)
        if some is not x:
            found = ops.kmeans(
                x, self.n_clusters, spherical=False, max_iterations=0, init=found.centroids
            )
        labels: Int = found.labels
        cosine = 1.0 - cosine_of_pairs(x, found.centroids, np.arange(len(x)), labels)
        stored = x.astype(np.float16).view(np.uint16) if self.store_halves else x
        table = table.set_column(
            table.column_names.index(self.embedding_field), self.embedding_field,
            pa.FixedSizeListArray.from_arrays(pa.array(stored.reshape(-1)), x.shape[1]),
        )  # fmt: skip
        table = table.append_column(
            _COLUMNS["l2"], pa.array(np.sqrt(found.distances), pa.float32())
        )
        table = table.append_column(_COLUMNS["cosine"], pa.array(cosine, pa.float32()))
        with atomic_directory(self.cache / "kmeans_results", replace=self.clear_output) as folder:
            for cluster in np.unique(labels):
                target = folder / f"centroid={cluster}"
                target.mkdir()
                part = table.take(np.flatnonzero(labels == cluster))
                pq.write_table(part, target / "0.parquet", **self.cache_options)
        return labels, table

    def _sweep(self, table: Any, labels: Int) -> Int:
        """Return the samples cluster by cluster, each in the order of the ranking."""
        with needs("compat"):
            import pyarrow as pa
            import pyarrow.compute as pc

        if self.ranking.strategy == "random":
            shuffled = np.random.default_rng(self.ranking.random_seed).permutation(len(labels))
            return shuffled[np.argsort(labels[shuffled], kind="stable")]
        rising = self.ranking.ascending
        assert isinstance(rising, list)
        keys, sortables = [("0", "ascending")], [pa.array(labels)]
        for column, up in zip(self.ranking.metadata_cols, rising, strict=True):
            keys.append((str(len(keys)), "ascending" if up else "descending"))
            sortables.append(sortable(table[column]))
        ranked = pa.table(sortables, names=[name for name, _ in keys])
        return np.asarray(pc.sort_indices(ranked, sort_keys=keys)).astype(np.int64)

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
                pq.write_table(part, folder / f"cluster_{cluster}.parquet", **self.cache_options)

    def _write_duplicates(self, ids: Any, goes: NDArray[np.bool_]) -> int:
        with needs("compat"):
            import pyarrow as pa
            import pyarrow.compute as pc
            import pyarrow.parquet as pq

        gone = ids.filter(goes)
        rows = pc.sort_indices(sortable(gone))
        size = max(1, len(gone) // self.groups)
        with atomic_directory(self.output / "duplicates", replace=self.clear_output) as folder:
            pq.write_table(
                pa.table({"id": gone.take(rows)}), folder / "0.parquet", row_group_size=size,
                **self.write_options,
            )  # fmt: skip
        return len(gone)


def _ranking(
    metric: str | None, which_to_keep: str | None, id_field: str, seed: int
) -> RankingStrategy:
    column = _COLUMNS[check_choice("distance_metric", metric, tuple(_COLUMNS))]
    check_choice("which_to_keep", which_to_keep, ("hard", "easy", "random"))
    if which_to_keep == "random":
        return RankingStrategy([], strategy="random", random_seed=seed)
    return RankingStrategy([column, id_field], ascending=which_to_keep == "easy")
