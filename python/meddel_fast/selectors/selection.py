"""The result of a selector: which samples are kept, in which order, and why the others are not.

It is saved and loaded here, and applied to data sets and tables;
:mod:`~meddel_fast.selectors.export` writes it as lists and shards for other programs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.extras import needs
from meddel_fast.common.outputs import output_path, table
from meddel_fast.common.untrusted import (
    check_fields,
    json_metadata,
    read_parquet,
    read_parquet_schema,
)
from meddel_fast.common.urls import StrPath, shown
from meddel_fast.selectors.provenance import provenance

REASONS = ("kept", "duplicate", "disruptive", "budget", "excluded")
"""Why a sample is where it is; "budget": nothing is wrong with it, others were wanted more;
"excluded": it was not to be chosen from."""

METADATA_KEY = b"meddel_fast.selection"
"""Where a saved selection keeps what is no column."""

SAVED = table("a saved selection", METADATA_KEY)
"""The kind of file that :meth:`Selection.save` writes."""

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
        """Return the kept samples of a data set, ascending, as a ``torch.utils.data.Subset``.

        Raises
        ------
        ValueError
            If the data set is not as long as what was selected from.
        """
        with needs("benchmark"):
            from torch.utils.data import Subset

        self.check_length("dataset", len(dataset))
        return Subset(dataset, self.indices.tolist())

    def filter(self, table: Any) -> Any:
        """Return the kept rows of a table, ascending, as the kind of table that came.

        Libraries are recognised by what they hand in, and not imported.

        Parameters
        ----------
        table : of n rows
            A pandas or Polars DataFrame or Series, an Arrow table, batch or array, a Hugging Face
            dataset, a numpy array, a torch tensor, a list or a tuple.

        Raises
        ------
        TypeError
            For another kind.
        ValueError
            If it does not have n rows.
        """
        library = type(table).__module__.partition(".")[0]
        kept = self.indices
        take: dict[str, Callable[[], Any]] = {
            "pandas": lambda: table.iloc[kept],
            "polars": lambda: table[kept],
            "pyarrow": lambda: table.take(kept),
            "datasets": lambda: table.select(kept),
            "numpy": lambda: table[kept],
            "torch": lambda: table[kept],
            "builtins": lambda: type(table)(table[i] for i in kept),
        }
        known = library in take and hasattr(table, "__len__") and hasattr(table, "__getitem__")
        if not known or isinstance(table, str | bytes | Mapping):
            raise TypeError(
                "table must be of pandas, Polars, pyarrow, datasets, numpy or torch, a list or a "
                f"tuple, got {type(table).__module__}.{type(table).__qualname__}"
            )
        self.check_length("table", len(table))
        return take[library]()

    def check_length(self, name: str, length: int) -> None:
        """Refuse what is not as long as what was selected from.

        Raises
        ------
        ValueError
            Its length is not n; the message calls it by this name.
        """
        if length != self.n:
            raise ValueError(
                f"{name} must be {self.n} long, as what was selected from, got {length}"
            )

    def save(
        self,
        path: StrPath,
        ids: Sequence[str] | None = None,
        data: Any | None = None,
    ) -> None:
        """Write the selection as Parquet, one row a sample.

        The schema's metadata hold the settings, the package's version and hashes of ids and data.

        Parameters
        ----------
        path
            File to write, atomically; a path or a URL.
        ids
            Names of the n samples, for people who read the file; :meth:`load` needs none.
        data
            What was selected from, to be told by its hash.

        Raises
        ------
        ValueError, FileExistsError
            The name is another format's (:func:`meddel_fast.selectors.export.write_list` writes
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
        about |= provenance(ids, data)
        table = pa.table(columns).replace_schema_metadata(
            {METADATA_KEY: json.dumps(about, sort_keys=True)}
        )
        with output_path(path, SAVED) as temporary:
            pq.write_table(table, temporary)

    @classmethod
    def load(cls, path: StrPath) -> Selection:
        """Read what :meth:`save` wrote, by path or by URL.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ValueError
            The file is no Parquet file, no selection, or of a format that this version cannot read.
        """
        about = read_about(path)
        if about.get("format") != _FORMAT:
            raise ValueError(
                f"{shown(path)} is not a saved selection of format {_FORMAT}, "
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
    path: StrPath, column: dict[str, NDArray[Any]], order: NDArray[np.int64]
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
            raise ValueError(f"{shown(path)} is no {_WANTED}: its column {name!r} is damaged")


def read_about(path: StrPath) -> dict[str, Any]:
    """Read what a saved selection says of itself: method, settings, version and hashes."""
    return json_metadata(path, read_parquet_schema(path), METADATA_KEY)


def read_ids(path: StrPath) -> list[str] | None:
    """Read the samples' names from a saved selection; None if it has none."""
    if "id" not in read_parquet_schema(path).names:
        return None
    ids: list[str] = read_parquet(path, {"id": "string"}, _WANTED)["id"].to_pylist()
    return ids


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
