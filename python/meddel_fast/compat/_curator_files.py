"""What NeMo Curator's drop-in reads and writes: files, their options, columns of any type."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.extras import needs
from meddel_fast.common.files import StrPath
from meddel_fast.common.outputs import FolderKind

SUFFIXES = {"parquet": (".parquet",), "jsonl": (".jsonl", ".json")}

_BLOCK = 1 << 26  # bytes of JSON looked at together: a line must fit
_WHOLE = 2**53  # below which float64 holds every integer

# Of cuDF's readers: how they read, not what.
_READ_ALIKE = {
    "engine", "bytes_per_thread", "open_file_options", "prefetch_options", "use_pandas_metadata",
}  # fmt: skip
# Of cuDF's and pandas' writers, and what pyarrow calls them.
_WRITE = {
    "compression": "compression",
    "compression_level": "compression_level",
    "use_dictionary": "use_dictionary",
    "row_group_size_rows": "row_group_size",
    "max_page_size_bytes": "data_page_size",
    "data_page_size": "data_page_size",
    "write_statistics": "write_statistics",
    "version": "version",
}


def check_read_options(options: Mapping[str, Any] | None, filetype: str) -> dict[str, Any]:
    """Return what of ``read_kwargs`` is to be obeyed; refuse by name what cannot be.

    Raises
    ------
    ValueError
        An option that would change what is read, or where from, and is not obeyed here.
    """
    given = _without_storage("read_kwargs", options)
    obeyed = {"filters"} if filetype == "parquet" else set()
    for name in given:
        if name not in obeyed | _READ_ALIKE:
            raise ValueError(
                f"read_kwargs must hold only {_names(obeyed | _READ_ALIKE)} for {filetype}, "
                f"got {name!r}, which would change what is read"
            )
    return {name: value for name, value in given.items() if name in obeyed}


def check_write_options(name: str, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return pyarrow's names for ``cache_kwargs`` or ``write_kwargs``; refuse others by name.

    Raises
    ------
    ValueError
        An option that is not obeyed here, or has a value that cannot be.
    """
    with needs("compat"):
        import pyarrow as pa
        import pyarrow.parquet as pq

    given = _without_storage(name, options)
    given.pop("engine", None)
    out: dict[str, Any] = {}
    if "statistics" in given:  # of cuDF: of what, or "NONE"
        out["write_statistics"] = given.pop("statistics") != "NONE"
    for option, value in given.items():
        if option not in _WRITE:
            known = _names({*_WRITE, "engine", "statistics"})
            raise ValueError(f"{name} must hold only {known}, got {option!r}")
        out[_WRITE[option]] = value
    try:
        pq.write_table(pa.table({"id": [0]}), io.BytesIO(), **out)
    except (ValueError, TypeError, OSError, pa.ArrowException) as error:
        raise ValueError(f"{name}: {error}") from None
    return out


def _without_storage(name: str, options: Mapping[str, Any] | None) -> dict[str, Any]:
    given = dict(options or {})
    if given.pop("storage_options", None):
        raise ValueError(f"{name} must hold no storage_options: files are read and written locally")
    return given


def _names(options: set[str]) -> str:
    return ", ".join(map(repr, sorted(options)))


def find_files(inputs: Sequence[Path], suffixes: tuple[str, ...]) -> list[Path]:
    """Return files with these suffixes, of folders and those below, sorted by path.

    Raises
    ------
    FileNotFoundError
        There are none.
    """
    files = sorted(
        path for place in inputs for path in ([place] if place.is_file() else place.rglob("*"))
        if path.name.endswith(suffixes) and path.is_file()
    )  # fmt: skip
    if not files:
        raise FileNotFoundError(f"no files that end in {suffixes} in {', '.join(map(str, inputs))}")
    return files


def read_files(
    files: Sequence[Path], filetype: str, columns: Sequence[str], options: Mapping[str, Any]
) -> tuple[Any, list[int]]:
    """Read columns of all files, the first of them the ids; and how many rows each file has.

    Raises
    ------
    ValueError
        A column is missing, or ids have types that cannot be one.
    """
    with needs("compat"):
        import pyarrow as pa

    read = _read_parquet if filetype == "parquet" else _read_json
    tables = [read(path, columns, options) for path in files]
    tables = _one_id_type(tables, columns[0])
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowInvalid as error:
        raise ValueError(f"columns must be of one type in all files: {error}") from None
    return table, [t.num_rows for t in tables]


def _read_parquet(path: Path, columns: Sequence[str], options: Mapping[str, Any]) -> Any:
    with needs("compat"):
        import pyarrow as pa
        import pyarrow.parquet as pq

    _check_columns(path, columns, pq.read_schema(path).names)
    table = pq.read_table(path, columns=list(columns), partitioning=None, **options)
    views = {"string_view": pa.large_string(), "binary_view": pa.large_binary()}
    for place, field in enumerate(table.schema):  # pyarrow takes no rows of views
        if plain := views.get(str(field.type)):
            table = table.set_column(place, field.name, table[place].cast(plain))
    return table


def _read_json(path: Path, columns: Sequence[str], options: Mapping[str, Any]) -> Any:
    with needs("compat"):
        import pyarrow as pa
        import pyarrow.json as json

    if path.stat().st_size == 0:
        return pa.table({name: pa.nulls(0) for name in columns})
    read = json.ReadOptions(block_size=_BLOCK)
    table = json.read_json(path, read_options=read)
    _check_columns(path, columns, table.column_names)
    # pyarrow takes text that looks like a date for one; what is text in the file stays text.
    fields = {field.name: _as_text(field.type) for field in table.schema if field.name in columns}
    if pa.types.is_floating(fields[columns[0]]) and _beyond(table[columns[0]]):
        fields[columns[0]] = pa.uint64()  # the next that there is for integers beyond int64
    if any(table.schema.field(name).type != kind for name, kind in fields.items()):
        parse = json.ParseOptions(explicit_schema=pa.schema(list(fields.items())))
        try:
            table = json.read_json(path, read_options=read, parse_options=parse)
        except pa.ArrowInvalid as error:
            raise ValueError(
                f"{path}: {columns[0]} has numbers that 64 bits do not hold, write them as text "
                f"({error})"
            ) from None
    return table.select(list(columns))


def _beyond(column: Any) -> bool:
    """Whether floats may be integers that were rounded."""
    values = np.asarray(column.drop_null())
    return bool((np.abs(values) >= _WHOLE).any())


def _as_text(kind: Any) -> Any:
    """Return a type with text where it has times."""
    with needs("compat"):
        import pyarrow as pa

    if pa.types.is_timestamp(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_as_text(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _as_text(field.type)) for field in kind])
    return kind


def _check_columns(path: StrPath, wanted: Sequence[str], there: Sequence[str]) -> None:
    if missing := sorted(set(wanted) - set(there)):
        raise ValueError(f"{path} must have the columns {missing}, it has {list(there)}")


def _one_id_type(tables: list[Any], name: str) -> list[Any]:
    """Return tables whose ids can be joined without a change of their values."""
    with needs("compat"):
        import pyarrow as pa

    def plain(kind: Any) -> Any:
        return kind.value_type if pa.types.is_dictionary(kind) else kind

    kinds = {table.schema.field(name).type for table in tables}
    some = [plain(kind) for kind in kinds if not pa.types.is_null(kind)]
    alike = any(
        all(is_one(kind) for kind in some)
        for is_one in (
            pa.types.is_integer, pa.types.is_timestamp, pa.types.is_floating,
            lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
            lambda kind: kind == some[0],
        )
    )  # fmt: skip
    if not alike:
        raise ValueError(f"{name} must be of one type in all files, got {sorted(map(str, kinds))}")
    if any(map(pa.types.is_nested, some)):
        raise ValueError(f"{name} must be text, numbers, bytes, dates or times, got {some[0]}")
    if len(kinds) > 1 and any(map(pa.types.is_dictionary, kinds)):
        tables = [
            table.set_column(
                table.column_names.index(name), name,
                table[name].cast(plain(table.schema.field(name).type)),
            )
            for table in tables
        ]  # fmt: skip
    return tables


def sortable(column: Any) -> Any:
    """Return a column of the same order that pyarrow can sort."""
    with needs("compat"):
        import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        return column.cast(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        return pa.chunked_array([chunk.storage for chunk in chunks], type=kind.storage_type)
    return column.cast(pa.float32()) if kind == pa.float16() else column


def embeddings(column: Any, name: str) -> NDArray[Any]:
    """Return a column of lists as an array, checked to be one."""
    with needs("compat"):
        import pyarrow as pa

    column = column.combine_chunks()
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    if column.null_count or not (
        pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
        or pa.types.is_fixed_size_list(column.type)
    ):  # fmt: skip
        raise ValueError(f"{name} must be lists of numbers without nulls, got {column.type}")
    lengths = np.unique(column.value_lengths()) if len(column) else np.zeros(1)
    if len(lengths) != 1 or lengths[0] == 0:
        raise ValueError(f"{name} must be lists of one length, got {lengths.tolist()}")
    return np.asarray(column.flatten()).reshape(len(column), int(lengths[0]))


def _entries(path: Path) -> list[str]:
    return [entry.name for entry in path.iterdir() if not entry.name.startswith((".", "_"))]


def folder_of(name: str, pattern: str) -> FolderKind:
    """Return the kind of folders all of whose entries have such names."""
    return FolderKind(
        name, lambda path: all(re.fullmatch(pattern, entry) for entry in _entries(path))
    )


def _is_duplicates(path: Path) -> bool:
    with needs("compat"):
        import pyarrow.parquet as pq

    names = _entries(path)
    return all(name.endswith(".parquet") for name in names) and all(
        pq.read_schema(path / name).names == ["id"] for name in names
    )


KMEANS = folder_of("the clusters of an earlier run", r"centroid=\d+")
PAIRWISE = folder_of("the comparisons of an earlier run", r"cluster_\d+\.parquet")
DUPLICATES = FolderKind("the duplicates of an earlier run", _is_duplicates)
