"""A selection for other programs: lists of what is kept, and shards of WebDataset.

:class:`~meddel_fast.selectors.Selection` itself takes the kept part of data sets and tables.
"""

from __future__ import annotations

import csv
import io
import os
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from meddel_fast.common.atomic import atomic_directory, write_json
from meddel_fast.common.files import StrPath, read_json
from meddel_fast.common.outputs import NAMES, array_file, csv_table, output_path
from meddel_fast.common.urls import local_path, shown, suffix_of
from meddel_fast.selectors.selection import Selection

LISTS = {
    ".txt": NAMES,
    ".csv": csv_table("a selection's list", "index", "id", "kept"),
    ".npy": array_file("a list of indices", "iu", 1),
}
"""What :func:`write_list` writes, by suffix."""


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
    shards = [local_path(shard, "a shard") for shard in shards]
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
    selection.check_length("keys", sum(map(len, keys.values())))
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


def write_list(selection: Selection, path: StrPath, ids: Sequence[str] | None = None) -> None:
    """Write a selection as a list, by the suffix of the file.

    Parameters
    ----------
    selection : Selection
        Of n samples.
    path : path
        ``.txt``: a kept sample's name (its index without `ids`) a line, ascending. ``.csv``: every
        sample, with rank, reason and what it repeats. ``.npy``: int64 indices of the kept samples.
        A URL will do.
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
        selection.check_length("ids", len(ids))
    names = [str(i) for i in range(selection.n)] if ids is None else list(ids)
    suffix = suffix_of(path)
    if suffix not in LISTS:
        raise ValueError(f"path must end in .txt, .csv or .npy, got {shown(path)!r}")
    with output_path(path, LISTS[suffix]) as temporary:
        if suffix == ".txt":
            text = "".join(f"{names[i]}\n" for i in selection)
            temporary.write_text(text, encoding="utf-8", newline="")
        elif suffix == ".csv":
            temporary.write_text(_csv(selection, names), encoding="utf-8", newline="")
        else:
            np.save(temporary, selection.indices)


def _csv(selection: Selection, names: Sequence[str]) -> str:
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
