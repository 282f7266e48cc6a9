"""What is done with a selection: subsets of data sets and tables, lists of shards, provenance.

torch, pandas, Polars, pyarrow and datasets are recognised by what they hand in, and imported only
where something of theirs is made. :class:`~meddel_fast.selectors.Selection` has the first ones as
methods.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from meddel_fast import arrays
from meddel_fast.extras import needs
from meddel_fast.files import (
    StrPath,
    atomic_directory,
    read_json,
    write_json,
)
from meddel_fast.outputs import NAMES, array_file, csv_table, output_path, table
from meddel_fast.store import Store
from meddel_fast.untrusted import json_metadata, read_parquet, read_parquet_schema

if TYPE_CHECKING:
    from meddel_fast.selectors.base import Selection

METADATA_KEY = b"meddel_fast.selection"
"""Where a saved selection keeps what is no column."""

KIND = table("a saved selection", METADATA_KEY)
LISTS = {
    ".txt": NAMES,
    ".csv": csv_table("a selection's list", "index", "id", "kept"),
    ".npy": array_file("a list of indices", "iu", 1),
}
"""What :func:`write_list` writes, by suffix."""

_ROWS_HASHED = 1 << 12  # at a time


def subset(selection: Selection, dataset: Any) -> Any:
    """Return the kept samples of a data set, ascending, as a ``torch.utils.data.Subset``.

    Raises
    ------
    ValueError
        If the data set is not as long as what was selected from.
    """
    with needs("benchmark"):
        from torch.utils.data import Subset

    _check_length("dataset", len(dataset), selection)
    return Subset(dataset, selection.indices.tolist())


def filter_table(selection: Selection, table: Any) -> Any:
    """Return the kept rows of a table, ascending, as the kind of table that came.

    Parameters
    ----------
    selection : Selection
        Of n samples.
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
    kept = selection.indices
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
    _check_length("table", len(table), selection)
    return take[library]()


def shard_keys(shards: Iterable[StrPath]) -> dict[str, list[str]]:
    """List the samples of WebDataset shards, in the order in which they are read.

    Parameters
    ----------
    shards : iterable of path
        tar files. Members that follow each other with one name up to the first dot of the last
        part are a sample; that name is its key. Members without one are none's.

    Returns
    -------
    dict
        Keys of each shard, by its path as given.
    """
    return {os.fspath(shard): list(_samples(shard)) for shard in shards}


def kept_keys(selection: Selection, keys: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the keys of the kept samples of each shard, given those of all.

    Parameters
    ----------
    selection : Selection
        Of n samples, in the order of the shards.
    keys : mapping
        Keys of each shard, n in all, as :func:`shard_keys` lists them.

    Raises
    ------
    ValueError
        If there are not n keys.
    """
    _check_length("keys", sum(map(len, keys.values())), selection)
    mask, begin, kept = selection.mask, 0, {}
    for shard, names in keys.items():
        part = mask[begin : begin + len(names)]
        kept[shard] = [name for name, keep in zip(names, part, strict=True) if keep]
        begin += len(names)
    return kept


def write_kept_keys(kept: Mapping[str, Sequence[str]], path: StrPath) -> None:
    """Write the keys of :func:`kept_keys` as JSON, for :func:`is_kept`."""
    write_json(path, {shard: list(names) for shard, names in kept.items()})


def is_kept(kept: Mapping[str, Sequence[str]] | StrPath) -> Callable[[Mapping[str, Any]], bool]:
    """Return a predicate for WebDataset's ``select``: whether a sample is kept.

    Parameters
    ----------
    kept : mapping or path
        Keys by shard, or the file of :func:`write_kept_keys`. A sample's shard, its ``__url__``, is
        looked up as it is, else by the last part of it.

    Returns
    -------
    callable
        ``dataset.select(is_kept("kept.json"))``. It raises a KeyError for a shard that is not
        listed.

    Raises
    ------
    ValueError
        If two shards have the same last part.
    """
    lists = kept if isinstance(kept, Mapping) else read_json(kept)
    whole = {shard: frozenset(names) for shard, names in lists.items()}
    by_name = {PurePosixPath(shard).name: names for shard, names in whole.items()}
    if len(by_name) < len(whole):
        raise ValueError("kept must hold no two shards of one file name")

    def predicate(sample: Mapping[str, Any]) -> bool:
        shard = sample["__url__"]
        names = whole[shard] if shard in whole else by_name[PurePosixPath(shard).name]
        return sample["__key__"] in names

    return predicate


def write_shards(kept: Mapping[str, Sequence[str]], folder: StrPath) -> None:
    """Copy the kept samples of each shard to a shard of the same name in a new folder.

    Parameters
    ----------
    kept : mapping
        Keys by path of the shard, as of :func:`kept_keys`. A shard of which nothing is kept is left
        out.
    folder : path
        Where to write; made, whole or not at all.

    Raises
    ------
    ValueError
        If two shards have the same file name.
    FileExistsError
        If the folder is there and not empty.
    """
    if len({Path(shard).name for shard in kept}) < len(kept):
        raise ValueError("kept must hold no two shards of one file name")
    with atomic_directory(folder) as target:
        for shard, names in kept.items():
            if not names:
                continue
            wanted = frozenset(names)
            with tarfile.open(shard) as source, tarfile.open(
                target / Path(shard).name, "w", format=tarfile.PAX_FORMAT
            ) as copy:  # fmt: skip
                for member in source:
                    if member.isfile() and _key(member.name) in wanted:
                        copy.addfile(member, source.extractfile(member))


def provenance(ids: Sequence[str] | None = None, data: Any | None = None) -> dict[str, str]:
    """Return what tells a selection's origin: the package's version, hashes of names and data.

    Parameters
    ----------
    ids : sequence of str, optional
        Names of the samples.
    data : array of shape (n, d), optional
        What was selected from.

    Returns
    -------
    dict
        ``version``, and ``ids_sha256`` and ``data_sha256`` where given.
    """
    from meddel_fast import __version__

    about = {"version": __version__}
    if ids is not None:
        about["ids_sha256"] = ids_sha256(ids)
    if data is not None:
        about["data_sha256"] = data_sha256(data)
    return about


def ids_sha256(ids: Sequence[str]) -> str:
    """SHA-256 of names in their order, as 64 hex digits."""
    return hashlib.sha256(json.dumps(list(ids)).encode()).hexdigest()


def data_sha256(data: Any) -> str:
    """SHA-256 of an array's type, shape and elements (row by row), as 64 hex digits."""
    array: Any = data
    if not isinstance(data, Store):
        array = arrays.to_numpy("data", data.cpu() if arrays.is_torch(data) else data)
    n = len(array)
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    for begin in range(0, n, _ROWS_HASHED):
        end = min(n, begin + _ROWS_HASHED)
        rows = data.rows(begin, end) if isinstance(data, Store) else array[begin:end]
        digest.update(rows.tobytes())
    return digest.hexdigest()


def read_about(path: StrPath) -> dict[str, Any]:
    """Read what a saved selection says of itself: method, settings, version and hashes."""
    return json_metadata(path, read_parquet_schema(path), METADATA_KEY)


def read_ids(path: StrPath) -> list[str] | None:
    """Read the samples' names from a saved selection; None if it has none."""
    if "id" not in read_parquet_schema(path).names:
        return None
    ids: list[str] = read_parquet(path, {"id": "string"}, "saved selection")["id"].to_pylist()
    return ids


def write_list(selection: Selection, path: StrPath, ids: Sequence[str] | None = None) -> None:
    """Write a selection as a list, by the suffix of the file.

    Parameters
    ----------
    selection : Selection
        Of n samples.
    path : path
        ``.txt``: a kept sample's name (its index without `ids`) a line, ascending. ``.csv``: every
        sample, with rank, reason and what it repeats. ``.npy``: int64 indices of the kept samples.
    ids : sequence of str, optional
        Names of the n samples.

    Raises
    ------
    ValueError
        For another suffix, or names that are not n.
    FileExistsError
        Something else than such a list is there.
    """
    if ids is not None:
        _check_length("ids", len(ids), selection)
    names = [str(i) for i in range(selection.n)] if ids is None else list(ids)
    suffix = Path(path).suffix
    if suffix not in LISTS:
        raise ValueError(f"path must end in .txt, .csv or .npy, got {os.fspath(path)!r}")
    with output_path(path, LISTS[suffix]) as temporary:
        if suffix == ".txt":
            text = "".join(f"{names[i]}\n" for i in selection)
            temporary.write_text(text, encoding="utf-8", newline="")
        elif suffix == ".csv":
            temporary.write_text(_csv(selection, names), encoding="utf-8", newline="")
        else:
            np.save(temporary, selection.indices)


def _csv(selection: Selection, names: Sequence[str]) -> str:
    import csv
    import io

    rank = np.full(selection.n, -1, dtype=np.int64)
    rank[selection.order] = np.arange(len(selection))
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["index", "id", "kept", "rank", "reason", "duplicate_of", "similarity"])
    for i, name in enumerate(names):
        other, cosine = selection.duplicate_of[i], selection.similarity[i]
        repeats = [names[other], repr(float(cosine))] if other >= 0 else ["", ""]
        rows.writerow([i, name, int(rank[i] >= 0), rank[i], selection.reason[i], *repeats])
    return text.getvalue()


def _samples(shard: StrPath) -> Iterable[str]:
    last = None
    with tarfile.open(shard) as members:
        for member in members:
            key = _key(member.name) if member.isfile() else None
            if key is not None and key != last:
                last = key
                yield key


def _key(name: str) -> str | None:
    """Return the key of a member's name; None for what WebDataset passes over."""
    folder, slash, last = name.rpartition("/")
    key, dot, _ = last.partition(".")
    return f"{folder}{slash}{key}" if key and dot else None


def _check_length(name: str, length: int, selection: Selection) -> None:
    if length != selection.n:
        raise ValueError(
            f"{name} must be {selection.n} long, as what was selected from, got {length}"
        )
