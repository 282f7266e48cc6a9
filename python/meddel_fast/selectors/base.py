"""What every selector shares: the result it returns, the budget it keeps to, the input it takes."""

from __future__ import annotations

import json
import math
import numbers
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast import arrays
from meddel_fast.extras import needs
from meddel_fast.outputs import output_path
from meddel_fast.selectors import use
from meddel_fast.store import Store, as_store
from meddel_fast.untrusted import check_fields, read_parquet

REASONS = ("kept", "duplicate", "disruptive", "budget", "excluded")
"""Why a sample is where it is; "budget": nothing is wrong with it, others were wanted more;
"excluded": it was not to be chosen from."""

_BLOCK = 1024  # rows looked at together
_FORMAT = 1
_WANTED = "saved selection"
_COLUMNS = {
    "rank": "int64",
    "score": "double",
    "reason": "string",
    "duplicate_of": "int64",
    "similarity": "double",
    "distance": "double",
    "cluster": "int64",
}


@dataclass(frozen=True, eq=False)
class Selection:
    """Which samples a selector keeps, in which order, and what became of the others.

    Iterated over, it gives the kept samples' indices, ascending: torch's ``DataLoader`` takes it as
    a sampler.

    Attributes
    ----------
    method
        Name of the selector.
    n
        Number of samples that it chose from.
    indices : int64, shape (b,)
        The kept samples, ascending.
    order : int64, shape (b,)
        The kept samples, most wanted first.
    scores : float64, shape (n,)
        Higher is kept sooner; the scale is the method's own, described in its docstring.
    reason : str, shape (n,)
        One of :data:`REASONS`.
    duplicate_of : int64, shape (n,)
        For dropped duplicates, the sample that it repeats; -1 elsewhere.
    similarity : float64, shape (n,)
        Cosine to `duplicate_of`; NaN where there is none.
    distance : float64, shape (n,)
        Distance to the cluster's centroid or to the nearest centre; NaN for methods without one.
    cluster : int64, shape (n,)
        Cluster of each sample, or the kept sample that stands for it (facility, craig); -1 where
        there is none.
    settings
        The options, with what the method found on its way (JSON values only).
    """

    method: str
    n: int
    indices: NDArray[np.int64]
    order: NDArray[np.int64]
    scores: NDArray[np.float64]
    reason: NDArray[np.str_]
    duplicate_of: NDArray[np.int64]
    similarity: NDArray[np.float64]
    distance: NDArray[np.float64]
    cluster: NDArray[np.int64]
    settings: dict[str, Any]

    def __len__(self) -> int:
        """Return the number of kept samples."""
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        """Yield the indices of the kept samples, ascending."""
        return iter(self.indices.tolist())

    @property
    def mask(self) -> NDArray[np.bool_]:
        """True for the kept samples, shape (n,)."""
        mask = np.zeros(self.n, dtype=bool)
        mask[self.indices] = True
        return mask

    def counts(self) -> dict[str, int]:
        """Return the number of samples for each of :data:`REASONS`."""
        return {reason: int(np.count_nonzero(self.reason == reason)) for reason in REASONS}

    def subset(self, dataset: Any) -> Any:
        """Return the kept samples of a data set: :func:`meddel_fast.selectors.use.subset`."""
        return use.subset(self, dataset)

    def filter(self, table: Any) -> Any:
        """Return the kept rows of a table: :func:`meddel_fast.selectors.use.filter_table`."""
        return use.filter_table(self, table)

    def save(
        self,
        path: str | os.PathLike[str],
        ids: Sequence[str] | None = None,
        data: Any | None = None,
    ) -> None:
        """Write the selection as Parquet, one row a sample.

        The schema's metadata hold the settings, the package's version and hashes of ids and data.

        Parameters
        ----------
        path
            File to write, atomically.
        ids
            Names of the n samples, for people who read the file; :meth:`load` needs none.
        data
            What was selected from, to be told by its hash.

        Raises
        ------
        ValueError, FileExistsError
            The name is another format's (:func:`meddel_fast.selectors.use.write_list` writes
            lists), or something else than a saved selection is there.
        """
        with needs("benchmark"):
            import pyarrow as pa
            import pyarrow.parquet as pq

        if ids is not None and len(ids) != self.n:
            raise ValueError(f"ids must be one for each of {self.n} samples, got {len(ids)}")
        rank = np.full(self.n, -1, dtype=np.int64)
        rank[self.order] = np.arange(len(self.order))
        columns = {} if ids is None else {"id": pa.array(list(ids), pa.string())}
        columns |= {
            "rank": pa.array(rank),
            "score": pa.array(self.scores),
            "reason": pa.array(self.reason.tolist(), pa.string()).dictionary_encode(),
            "duplicate_of": pa.array(self.duplicate_of),
            "similarity": pa.array(self.similarity),
            "distance": pa.array(self.distance),
            "cluster": pa.array(self.cluster),
        }
        about = {"format": _FORMAT, "method": self.method, "settings": self.settings}
        about |= use.provenance(ids, data)
        table = pa.table(columns).replace_schema_metadata(
            {use.METADATA_KEY: json.dumps(about, sort_keys=True)}
        )
        with output_path(path, use.KIND) as temporary:
            pq.write_table(table, temporary)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Selection:
        """Read what :meth:`save` wrote.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ValueError
            The file is no Parquet file, no selection, or of a format that this version cannot read.
        """
        about = use.read_about(path)
        if about.get("format") != _FORMAT:
            raise ValueError(
                f"{os.fspath(path)} is not a saved selection of format {_FORMAT}, "
                f"its format is {about.get('format')!r:.80}"
            )
        check_fields(path, about, {"method": str, "settings": dict}, _WANTED)
        table = read_parquet(path, _COLUMNS, _WANTED)
        column = {name: table[name].to_numpy() for name in _COLUMNS}
        kept = np.flatnonzero(column["rank"] >= 0)
        order = kept[np.argsort(column["rank"][kept])]
        _check_columns(path, column, order)
        return cls(
            method=about["method"],
            n=table.num_rows,
            indices=kept,
            order=order,
            scores=column["score"],
            reason=column["reason"].astype(np.str_),
            duplicate_of=column["duplicate_of"],
            similarity=column["similarity"],
            distance=column["distance"],
            cluster=column["cluster"],
            settings=about["settings"],
        )


def _check_columns(
    path: str | os.PathLike[str], column: dict[str, NDArray[Any]], order: NDArray[np.int64]
) -> None:
    """Refuse columns that no selection has: a rank left out, a sample that is not there."""
    n = len(column["rank"])
    wrong = {
        "rank": not np.array_equal(column["rank"][order], np.arange(len(order))),
        "reason": not np.isin(column["reason"], REASONS).all()
        or not np.array_equal(column["reason"] == "kept", column["rank"] >= 0),
        "duplicate_of": ((column["duplicate_of"] < -1) | (column["duplicate_of"] >= n)).any(),
    }
    for name in wrong:
        if wrong[name]:
            raise ValueError(f"{os.fspath(path)} is no {_WANTED}: its column {name!r} is damaged")


def make_selection(
    method: str,
    order: NDArray[np.int64],
    scores: NDArray[np.float64],
    settings: dict[str, Any],
    *,
    reason: NDArray[np.str_] | None = None,
    duplicate_of: NDArray[np.int64] | None = None,
    similarity: NDArray[np.float64] | None = None,
    distance: NDArray[np.float64] | None = None,
    cluster: NDArray[np.int64] | None = None,
) -> Selection:
    """Fill in what a method has nothing to say about.

    `reason` names the dropped samples' fates ("budget" when it is not given); kept ones become
    "kept", and lose the duplicate that they were not dropped for.
    """
    n = len(scores)
    indices = np.sort(order)
    reason = np.full(n, "budget", dtype="<U10") if reason is None else reason.astype("<U10")
    reason[indices] = "kept"
    repeats = reason == "duplicate"
    nothing = np.full(n, -1, dtype=np.int64)
    nan = np.full(n, np.nan)
    return Selection(
        method=method,
        n=n,
        indices=indices,
        order=order,
        scores=scores,
        reason=reason,
        duplicate_of=nothing if duplicate_of is None else np.where(repeats, duplicate_of, -1),
        similarity=nan if similarity is None else np.where(repeats, similarity, np.nan),
        distance=nan if distance is None else distance,
        cluster=nothing if cluster is None else cluster,
        settings=settings,
    )


def check_rows(x: Any, threads: int | None, memory: int | str | None = None) -> Any:
    """Return the embeddings as they came, checked as the kernels will check them.

    With a budget they become a store that has it.

    Raises
    ------
    TypeError, ValueError
        Not a non-empty 2-d array of a supported type, or not finite.
    """
    if isinstance(x, Store):
        return x if memory is None else x.within(memory)  # it is checked when it is read
    if memory is not None:
        store = as_store("x", x).within(memory)
        for start in range(0, len(store), _BLOCK):
            rows = store.rows(start, min(len(store), start + _BLOCK))
            arrays.check_finite("x", rows, arrays.resolve_threads(threads), start)
        return store
    arrays.check_rows("x", x, arrays.resolve_threads(threads))
    return x if arrays.is_torch(x) else np.asarray(x)


def check_budget(budget: Any, n: int, excluded: int = 0) -> int:
    """Return the number of samples to keep.

    Parameters
    ----------
    budget
        An int is a count in 1..n; a float is a share in (0, 1], of which the count is
        ``max(1, floor(share * n + 0.5))``.
    n
        Number of samples to choose from.
    excluded
        Number of samples that are left out of these.
    """
    if isinstance(budget, bool | np.bool_) or not isinstance(budget, numbers.Real):
        raise TypeError(
            "budget must be a count (int) or a share (float), "
            f"got {type(budget).__name__} {budget!r}"
        )
    if isinstance(budget, numbers.Integral):
        count = int(budget)
        if not 1 <= count <= n:
            rows = f"the rows of x less {excluded} excluded" if excluded else "the rows of x"
            raise ValueError(f"budget must be from 1 to {n} ({rows}), got {count}")
        return count
    share = float(budget)
    if not 0.0 < share <= 1.0:
        raise ValueError(f"budget must be above 0 and at most 1.0 as a share, got {share}")
    return max(1, math.floor(share * n + 0.5))


def random_keys(n: int, seed: int) -> NDArray[np.float64]:
    """Return n pseudo-random numbers in [0, 1): the top 53 bits of splitmix64(seed, index).

    A sample's number depends on the seed and its index alone, in integer arithmetic that no
    library version and no machine changes (Steele, Lea and Flood 2014).
    """
    gamma = 0x9E3779B97F4A7C15
    state = _mix(np.array([seed & (2**64 - 1)], dtype=np.uint64))
    steps = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(gamma)
    return (_mix(state + steps) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def to_numpy(value: Any) -> NDArray[Any]:
    """Return a kernel's result as a numpy array, whatever kind and device it is of."""
    return np.asarray(value.cpu().numpy() if arrays.is_torch(value) else value)


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble the bits with the finaliser of splitmix64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
