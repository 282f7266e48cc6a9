"""A data set's rows: checked block by block, put in the order of their ids, dealt out to ranks.

What is wrong with a row is told with its id, before any worker begins. Rows become their bits with
a word on their type, so that no library makes one type of two on the way. One task sees all ids,
and no embedding: it says where each row goes; then each block is split among the ranks.

These tasks ask Ray for no cores, as workers may hold all of them when a lost block is made again;
how many run at a time is limited here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays import SUPPORTED
from meddel_fast.cluster.ray.sources import Part
from meddel_fast.common.extras import needs
from meddel_fast.sharded.parts import block_bounds
from meddel_fast.stores.store import LocalRows

with needs("ray"):
    import pyarrow as pa
    import pyarrow.compute as pc
    import ray
    from ray.exceptions import GetTimeoutError, ObjectLostError

_TYPES = {"halffloat": "<f2", "float": "<f4", "double": "<f8", "int8": "|i1"}
_ROW, _PLACE = "__row__", "__place__"  # columns: a row's bits, its number in the order of ids


class LostBlocksError(RuntimeError):
    """Blocks of rows are gone from Ray's store and did not come back."""


class BlockRows:
    """The rows of a data set, as a source of :class:`meddel_fast.cluster.ray.workers.Workers`.

    Parameters
    ----------
    ds : ray.data.Dataset
        Rows with a unique id (an integer or a text) and an embedding each, in any order.
    name, embedding
        The columns of these.
    columns
        Further ones that operations are to have.
    """

    def __init__(
        self, ds: Any, name: str = "id", embedding: str = "embedding", columns: Sequence[str] = ()
    ) -> None:
        with needs("ray"):
            import ray.data  # takes its time, and workers import this file

        if not isinstance(ds, ray.data.Dataset):
            raise TypeError(f"ds must be a ray.data.Dataset, got {type(ds).__name__}")
        self._ds, self._name, self._embedding = ds, name, embedding
        self._columns = [c for c in dict.fromkeys(columns) if c not in (name, embedding)]

    def prepare(self, size: int) -> int:
        """Run the data set, check its rows and deal them out; return the most bytes of a rank.

        Raises
        ------
        TypeError, ValueError
            A column is missing, an id is null, stands twice or is neither integer nor text, an
            embedding is null, not finite or not like the others; the message names the id.
        """
        wanted = [self._name, self._embedding, *self._columns]
        with contextlib.suppress(pa.ArrowInvalid, TypeError):  # of blocks that differ: told below
            schema = self._ds.schema(fetch_if_missing=False)
            if schema is not None:
                _check_columns(wanted, schema.names)
        blocks = self._ds.select_columns(wanted).to_arrow_refs()
        how = self._name, self._embedding
        checked = _tasks(_check, [(block, *how) for block in blocks], 2)
        ids = [its for its, _ in checked]
        about, *places = _tasks(_order, [(self._name, *ids)], 1 + len(blocks))[0]
        self._n, self._kind, self._type = ray.get(about)
        bounds = block_bounds(self._n, size)
        jobs = [
            (rows, names, at, bounds) for (names, rows), at in zip(checked, places, strict=True)
        ]
        self._pieces = _tasks(_split, jobs, size)
        dtype, _, width = self._kind.partition(" x ")
        longest = max(stop - start for start, stop in pairwise(bounds))
        return longest * int(width) * int(np.dtype(dtype).itemsize)

    def for_rank(self, rank: int) -> DealtRows:
        """Return what a rank opens."""
        pieces = [its[rank] for its in self._pieces]
        return DealtRows(pieces, self._name, self._n, self._kind, self._type)


class DealtRows:
    """The rows of a rank, in pieces of blocks."""

    def __init__(self, pieces: list[Any], name: str, n: int, kind: str, ids: Any) -> None:
        self._pieces, self._name, self._n, self._kind, self._ids = pieces, name, n, kind, ids

    def open(self, rank: int, size: int, patience: float) -> Part:
        """Fetch the pieces one after the other, and put their rows in their places.

        Raises
        ------
        LostBlocksError
            A piece is gone, or has not come within `patience` seconds.
        """
        start, stop = block_bounds(self._n, size)[rank : rank + 2]
        dtype, _, width = self._kind.partition(" x ")
        rows = np.empty((stop - start, int(width)), np.dtype(dtype))
        bits = rows.view(np.uint8)
        others, places = [], []
        for piece in self._pieces:
            table = self._fetched(piece, patience)
            if table is None:
                continue
            others.append(table.drop_columns([_PLACE, _ROW]))
            if not len(table):  # for the types of the columns
                continue
            at = table[_PLACE].to_numpy() - start
            bits[at] = _bits(table[_ROW])
            places.append(at)
        order = np.argsort(np.concatenate(places)) if places else np.empty(0, np.int64)
        rest = pa.concat_tables(others).take(pa.array(order)).combine_chunks()
        columns = {name: _one(rest[name]) for name in rest.column_names}
        return Part(LocalRows(rows), start, stop, columns.pop(self._name), columns)

    def _fetched(self, piece: Any, patience: float) -> Any:
        try:
            return ray.get(piece, timeout=patience)
        except (ObjectLostError, GetTimeoutError) as error:
            raise LostBlocksError(" ".join(str(error).split())[:200]) from error


def _tasks(function: Callable[..., Any], jobs: Iterable[tuple[Any, ...]], count: int) -> list[Any]:
    """Run a task a job, as many at a time as there are cores; the references that each returns.

    Raises
    ------
    TypeError, ValueError
        What one of them raises, as it is.
    """
    task = ray.remote(num_cpus=0)(_tried).options(num_returns=1 + count)
    cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
    running: list[Any] = []
    found = []

    def look(references: list[Any]) -> None:
        for error in ray.get(references):
            if error is not None:
                raise error

    for job in jobs:
        if len(running) >= cores:
            done, running = ray.wait(running, num_returns=1)
            look(done)
        said, *made = task.remote(function, count, *job)
        found.append(made)
        running.append(said)
    look(running)
    return found


def _tried(function: Callable[..., Any], count: int, *job: Any) -> list[Any]:
    """Return what is wrong, or None, and what the function returns."""
    try:
        return [None, *function(*job)]
    except (TypeError, ValueError) as error:
        return [error, *[None] * count]


def _check_columns(wanted: Sequence[str], names: Sequence[str]) -> None:
    for column in wanted:
        if column not in names:
            raise ValueError(f"ds has no column {column!r}, got {', '.join(names)}")


def _check(table: Any, name: str, embedding: str) -> tuple[Any, Any]:
    """Return the ids of a block with the type of their rows, and the rest with the rows' bits."""
    _check_columns([name, embedding], table.column_names)
    ids = _ids(_one(table[name]), name)
    bits, kinds = [], list[str]()
    for chunk in table[embedding].chunks:
        rows, kind = _vectors(chunk, ids.slice(len(kinds), len(chunk)), embedding)
        bits.append(rows)
        kinds += [kind] * len(rows)
    others = {c: table[c] for c in table.column_names if c not in (name, embedding)}
    rest = pa.table({_ROW: pa.chunked_array(bits, pa.large_binary()), **others})
    kind = pa.array(kinds, pa.string()).dictionary_encode()
    return pa.table({name: ids, "kind": kind}), rest


def _order(name: str, *blocks: Any) -> list[Any]:
    """Return (n, type of all rows, type of the ids), and for each block its rows' numbers."""
    some = [block for block in blocks if len(block)]
    if not some:
        raise ValueError("ds must have at least one row, got none")
    types = sorted({str(block[name].type) for block in some})
    if len(types) > 1:
        raise TypeError(f"ids must be of one type, got {' and '.join(types)}")
    ids = pa.chunked_array([chunk for block in some for chunk in block[name].chunks])
    kind = ""
    for block in some:
        for value in block["kind"].unique().to_pylist():
            kind = kind or value
            if value != kind:
                at = block["kind"].to_pylist().index(value)
                raise ValueError(
                    f"embedding must be of one type and length, got {value} for id "
                    f"{block[name][at].as_py()!r}, {kind} for {ids[0].as_py()!r}"
                )
    order = np.asarray(pc.sort_indices(ids))
    ids = ids.take(pa.array(order))
    same = np.asarray(pc.equal(ids[1:], ids[:-1])) if len(ids) > 1 else np.zeros(0, bool)
    if same.any():
        raise ValueError(f"ids must be unique, got {ids[int(np.argmax(same))].as_py()!r} twice")
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    cuts = np.cumsum([len(block) for block in blocks])[:-1]
    return [(len(order), kind, ids.type), *np.split(places, cuts)]


def _split(rest: Any, names: Any, places: Any, bounds: list[int]) -> list[Any]:
    """Return for each rank its rows of a block, be it none; of a block without rows None."""
    size = len(bounds) - 1
    if not len(rest):
        return [None] * size
    table = names.drop_columns(["kind"]).append_column(_PLACE, pa.array(places))
    for column in rest.column_names:
        table = table.append_column(column, rest[column])
    owners = np.searchsorted(np.array(bounds), places, "right") - 1
    return [table.take(pa.array(np.flatnonzero(owners == rank))) for rank in range(size)]


def _bits(column: Any) -> NDArray[np.uint8]:
    """Return the bits of rows, which are of one length."""
    bits = _one(column)
    offsets = np.frombuffer(bits.buffers()[1], np.int64)[bits.offset :][: len(bits) + 1]
    return np.frombuffer(bits.buffers()[2], np.uint8)[offsets[0] : offsets[-1]].reshape(
        len(bits), -1
    )


def _one(column: Any) -> Any:
    """Return a column as one array."""
    found = column.combine_chunks()
    if isinstance(found, pa.ChunkedArray):  # one of no chunk
        found = pa.array([], found.type) if found.num_chunks == 0 else found.chunk(0)
    return found


def _ids(ids: Any, name: str) -> Any:
    if not len(ids):
        return pa.array([], pa.int64())
    if pa.types.is_dictionary(ids.type):
        ids = ids.dictionary_decode()
    if ids.null_count:
        row = int(np.argmax(np.asarray(ids.is_null())))
        near = next((i.as_py() for i in ids if i.is_valid), None)
        raise ValueError(
            f"ids must not be null, got one in column {name!r} (row {row} of the block that also "
            f"holds {near!r})"
        )
    if pa.types.is_integer(ids.type):
        return ids.cast(pa.int64())
    if pa.types.is_string(ids.type) or pa.types.is_large_string(ids.type):
        return ids.cast(pa.large_string())
    raise TypeError(f"ids must be integers or texts, got {ids.type} in column {name!r}")


def _vectors(chunk: Any, ids: Any, embedding: str) -> tuple[Any, str]:
    """Return the bits of rows as large_binary, and their type and length."""
    while isinstance(chunk, pa.ExtensionArray):
        shape = getattr(chunk.type, "shape", None)
        if shape is not None and len(shape) != 1:
            raise TypeError(f"embedding must be one vector a row, got shape {tuple(shape)} a row")
        chunk = chunk.storage
    is_list = pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list
    numbers = getattr(chunk.type, "value_type", None)
    if len(chunk) == 0:
        return pa.array([], pa.large_binary()), ""
    if not any(is_one(chunk.type) for is_one in is_list) or str(numbers) not in _TYPES:
        raise TypeError(f"column {embedding!r} must hold lists of {SUPPORTED}, got {chunk.type}")
    if chunk.null_count:
        at = int(np.argmax(np.asarray(chunk.is_null())))
        raise ValueError(f"embedding must not be null, got null for id {ids[at].as_py()!r}")
    lengths = np.asarray(pc.list_value_length(chunk))
    other = np.flatnonzero(lengths != lengths[0])
    if len(other):
        raise ValueError(
            f"embedding must be of one length, got {lengths[other[0]]} for id "
            f"{ids[int(other[0])].as_py()!r}, {lengths[0]} for {ids[0].as_py()!r}"
        )
    values = chunk.flatten()
    if values.null_count:
        at = int(np.argmax(np.asarray(values.is_null()))) // lengths[0]
        raise ValueError(f"embedding must hold no null, got one for id {ids[at].as_py()!r}")
    rows = values.to_numpy(zero_copy_only=False).reshape(len(chunk), -1)
    if rows.shape[1] == 0:
        raise ValueError(f"embedding must hold numbers, got none for id {ids[0].as_py()!r}")
    _check_finite(rows, ids)
    rows = np.ascontiguousarray(rows)
    offsets = np.arange(len(rows) + 1, dtype=np.int64) * rows.strides[0]
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(rows.reshape(-1).view(np.uint8))]
    return (
        pa.Array.from_buffers(pa.large_binary(), len(rows), buffers),
        f"{rows.dtype.name} x {rows.shape[1]}",
    )


def _check_finite(rows: NDArray[Any], ids: Any) -> None:
    """Refuse NaN and infinities, as they are in fp32, by the id."""
    if rows.dtype.kind != "f":
        return
    with np.errstate(over="ignore"):
        plain = rows.astype(np.float32) if rows.dtype.itemsize == 8 else rows
    bad = np.flatnonzero(~np.isfinite(plain).all(axis=1))
    if len(bad):
        name = ids[int(bad[0])].as_py()
        raise ValueError(f"embedding must be finite in fp32, got NaN or infinity for id {name!r}")
