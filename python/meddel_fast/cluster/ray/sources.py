"""Where the ranks' rows come from: a store that each reads by itself.

The other source is :class:`meddel_fast.cluster.ray.blocks.BlockRows`. One is prepared on the
driver, and what it has for a rank is sent there and opened.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from meddel_fast.sharded.parts import block_bounds
from meddel_fast.stores.store import LocalRows, Store, open_store


@dataclass
class Part:
    """The rows of one rank.

    Attributes
    ----------
    rows
        As the operations take them: the whole store, or this rank's rows.
    start, stop
        Which rows of the set are this rank's.
    names : pyarrow.Array, optional
        Their ids; None where these are the numbers of the rows.
    columns : dict
        What else there is of each, by name (Arrow arrays).
    """

    rows: Store | LocalRows
    start: int
    stop: int
    names: Any = None
    columns: dict[str, Any] = field(default_factory=dict)


@dataclass
class StoreRows:
    """Embeddings in files that each rank opens by itself; ids are the numbers of the rows.

    Parameters
    ----------
    source, tensor, column
        As :func:`meddel_fast.open_store` takes them.
    """

    source: Any
    tensor: str | None = None
    column: str | None = None

    def prepare(self, size: int) -> int:
        """Return the bytes that a rank's rows take beside its budget: none, they are read."""
        return 0

    def for_rank(self, rank: int) -> StoreRows:
        """Return what a rank opens."""
        return self

    def open(self, rank: int, size: int, patience: float) -> Part:
        """Open the part of a rank."""
        store = open_store(self.source, tensor=self.tensor, column=self.column)
        start, stop = block_bounds(len(store), size)[rank : rank + 2]
        return Part(store, start, stop)
