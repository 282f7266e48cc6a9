"""The tables that a curation leaves beside the selection: duplicates, and what is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays import DeduplicateResult
from meddel_fast.common.extras import needs
from meddel_fast.common.outputs import NAMES, output_path, table
from meddel_fast.common.untrusted import read_parquet

with needs("benchmark"):
    import pyarrow as pa
    import pyarrow.parquet as pq

_DUPLICATES, _KEPT = b"meddel_fast.duplicates", b"meddel_fast.kept"
DUPLICATES = table("a table of duplicates", _DUPLICATES)
KEPT = table("a table of kept samples", _KEPT)
_FORMAT = b"1"


def write_duplicates(path: Path, ids: Sequence[str], found: DeduplicateResult) -> None:
    """Write a row a sample: ``id``, ``keep``, ``representative`` (an id) and ``similarity``.

    The last is null for what is kept.
    """
    names = pa.array(ids, pa.string())
    columns = {
        "id": names,
        "keep": pa.array(found.keep),
        "representative": names.take(pa.array(found.representative)),
        "similarity": pa.array(found.similarity, mask=np.asarray(found.keep)),
    }
    made = pa.table(columns).replace_schema_metadata({_DUPLICATES: _FORMAT})
    with output_path(path, DUPLICATES) as temporary:
        pq.write_table(made, temporary)


def read_keep(path: Path) -> NDArray[np.bool_]:
    """Read which samples :func:`write_duplicates` says are kept."""
    keep = read_parquet(path, {"keep": "bool"}, DUPLICATES.name)["keep"]
    return np.asarray(keep.to_numpy(), bool)


def nearest_dropped(path: Path, most: int) -> list[tuple[str, str, float]]:
    """Return dropped samples with their representative and similarity, the least similar first."""
    columns = {"id": "string", "keep": "bool", "representative": "string"}
    found = read_parquet(path, columns, DUPLICATES.name)
    rows = found.filter(pa.compute.invert(found["keep"])).sort_by(
        [("similarity", "ascending"), ("id", "ascending")]
    )
    named = rows.slice(0, most).to_pylist()
    return [(row["id"], row["representative"], row["similarity"]) for row in named]


def write_kept(path: Path, ids: Sequence[str], rows: NDArray[np.int64]) -> None:
    """Write a row for each kept sample of embeddings: its ``id``, and ``row`` in the source."""
    columns = {"id": pa.array([ids[row] for row in rows.tolist()], pa.string()), "row": rows}
    with output_path(path, KEPT) as temporary:
        pq.write_table(pa.table(columns).replace_schema_metadata({_KEPT: _FORMAT}), temporary)


def write_list(path: Path, names: Sequence[str], *, ours: bool) -> None:
    """Write names, one a line.

    Parameters
    ----------
    path
        Where to.
    names
        The names.
    ours
        Whether a file there is known to be of an earlier call: a list of any names gives way then,
        else one that is told by its looks.
    """
    kind = replace(NAMES, is_one=lambda path: True) if ours else NAMES
    with output_path(path, kind) as temporary:
        temporary.write_text("".join(f"{name}\n" for name in names), "utf-8", newline="")
