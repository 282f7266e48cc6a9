"""One rank in one attempt: its rows, its group, its budget, and what it may ask the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meddel_fast.cluster.ray.sources import Part
from meddel_fast.common.extras import needs
from meddel_fast.sharded.group import Group, together
from meddel_fast.stores.store import LocalRows, Store

with needs("ray"):
    import pyarrow as pa
    import pyarrow.compute as pc

_AT_ONCE = 1 << 18  # ids that a rank asks for at a time


class Work(NamedTuple):
    """What the ranks do together; both functions must be importable by the workers.

    Attributes
    ----------
    name
        What logs call it.
    compute
        ``compute(seat, **options)``: the result, the same on each rank. Exchanges with the others.
    answer
        ``answer(seat, result, **options)``: (settings, Arrow table of this rank's rows). Exchanges
        with the others, too; may be asked for again of a result that another rank has handed on.
    """

    name: str
    compute: Callable[..., Any]
    answer: Callable[..., tuple[dict[str, Any], Any]]


@dataclass
class Seat:
    """What a rank's work has at hand.

    Attributes
    ----------
    part
        Its rows.
    group
        The ranks.
    memory, threads
        The budget in bytes, and the number of threads.
    checkpoint
        The place for checkpoints, or None.
    """

    part: Part
    group: Group
    memory: int
    threads: int
    checkpoint: str | None = None

    @property
    def rows(self) -> Store | LocalRows:
        """The rows as operations take them."""
        return self.part.rows

    @property
    def how(self) -> dict[str, Any]:
        """What operations and selectors are told of the work beside their options."""
        how = {"group": self.group, "memory": self.memory, "threads": self.threads}
        return how | {"checkpoint": self.checkpoint}

    @property
    def own(self) -> slice:
        """Which rows of the set are this rank's."""
        return slice(self.part.start, self.part.stop)

    def column(self, name: str) -> NDArray[Any]:
        """Return this rank's values of a column: numbers, or texts.

        Raises
        ------
        ValueError
            There is no such column, or it holds a null.
        """
        if isinstance(self.part.rows, Store):
            raise TypeError(f"columns are of data sets, got {name!r} for a store: give an array")
        if name not in self.part.columns:
            have = ", ".join(self.part.columns) or "none"
            raise ValueError(f"column {name!r} must be among those of the source, got {have}")
        found = self.part.columns[name]
        if found.null_count:
            at = int(np.argmax(np.asarray(found.is_null())))
            raise ValueError(
                f"column {name!r} must hold no null, got one for id {self.part.names[at].as_py()!r}"
            )
        values = found.to_numpy(zero_copy_only=False)
        return _plain(values)

    def whole(self, name: str, value: Any) -> Any:
        """Return an argument with one entry a row of the set: as it is, or of the column named."""
        if not isinstance(value, str):
            return value
        own = together(self.group, lambda: pa.table({name: self.column(value)}))
        tables = [table for table in gathered(self.group, own) if len(table)]
        return _plain(pa.concat_tables(tables)[name].to_numpy())

    def names(self, rows: NDArray[np.int64]) -> Any:
        """Return the ids of any rows, as an Arrow array; null for -1. All ranks have to ask."""
        if isinstance(self.part.rows, Store):
            return pa.array(rows, mask=rows < 0)
        wanted = np.unique(rows[rows >= 0])
        pieces = []
        longest = int(max(its[0] for its in self.group.allgather(np.array([len(wanted)]))))
        for at in range(0, longest, _AT_ONCE):
            mine = wanted[at : at + _AT_ONCE]
            asked = np.unique(np.concatenate(self.group.allgather(mine)))
            here = asked[(asked >= self.part.start) & (asked < self.part.stop)] - self.part.start
            told = gathered(self.group, pa.table({"id": self.part.names.take(pa.array(here))}))
            tables = [table for table in told if len(table)]
            if len(mine):
                ids = pa.concat_tables(tables)["id"].combine_chunks()
                pieces.append(ids.take(pa.array(np.searchsorted(asked, mine))))
        if not pieces:
            return pa.nulls(len(rows), self.part.names.type)
        places = pa.array(np.searchsorted(wanted, rows), mask=rows < 0)
        return pa.concat_arrays(pieces).take(places)

    @property
    def own_names(self) -> Any:
        """The ids of this rank's rows, as an Arrow array."""
        if isinstance(self.part.rows, Store):
            return pa.array(np.arange(self.part.start, self.part.stop))
        return self.part.names

    def numbers(self, name: str, ids: Any) -> NDArray[np.int64]:
        """Return the numbers of the rows that have these ids, in their order.

        Raises
        ------
        ValueError
            No row has one of them: on all ranks.
        """
        if isinstance(self.part.rows, Store):
            return np.asarray(ids)
        wanted = pa.array(ids)
        if len(self.part.names):
            wanted = wanted.cast(self.part.names.type)
        found = np.asarray(pc.fill_null(pc.index_in(wanted, value_set=self.part.names), -1))
        mine = np.where(found >= 0, found + self.part.start, -1).astype(np.int64)
        numbers: NDArray[np.int64] = np.max(self.group.allgather(mine), axis=0)
        if (numbers < 0).any():
            missing = wanted[int(np.argmax(numbers < 0))].as_py()
            raise ValueError(f"{name} must be ids of rows, got {missing!r}")
        return numbers


def _plain(values: Any) -> NDArray[Any]:
    """Return values of an Arrow column as numpy has them: texts not as objects."""
    plain: NDArray[Any] = values.astype(str) if values.dtype == object else values
    return plain


def gathered(group: Group, table: Any) -> list[Any]:
    """Return the Arrow tables of all ranks."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    own = np.frombuffer(sink.getvalue(), np.uint8)
    return [pa.ipc.open_stream(bits).read_all() for bits in group.allgather(own)]
