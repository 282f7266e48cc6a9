"""The folder that :mod:`meddel_fast.training.embed` writes: its index and shards; needs no torch.

It may be a URL's. A shard is put whole and then its note, ``shard-00000.json``; the index, which is
written last, takes the notes up. So whenever it ends, what is listed is there.
"""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from meddel_fast.common.atomic import remove_leftovers, write_bytes, write_json
from meddel_fast.common.files import read_json
from meddel_fast.common.hashes import sha256_file
from meddel_fast.common.npy import load_npy, parse_npy
from meddel_fast.common.outputs import FolderKind
from meddel_fast.common.places import (
    RemoteError,
    StrPath,
    is_file,
    is_remote,
    join,
    list_files,
    read_bytes,
    remove,
    shown,
    size,
)
from meddel_fast.common.untrusted import check_fields, described, plain_name

INDEX = "index.json"
_SHARD, _NOTE = re.compile(r"shard-\d+\.npy"), re.compile(r"shard-\d+\.json")
FORMAT = 1  # of the index; those of earlier versions have no number, and are of this form too
_WANTED = "index of embeddings"
_DTYPES = ("float32", "float16", "float64", "int8")


def read_index(folder: StrPath) -> dict[str, Any]:
    """Read and check ``index.json``.

    Returns
    -------
    dict
        With ``complete`` (bool), ``shape`` (two counts), ``dtype`` (a name) and ``shards``
        (``name``, ``rows``, ``sha256`` each), which have ``shape[0]`` rows in all if complete; the
        rest is as it was written.

    Raises
    ------
    FileNotFoundError
        The folder has no index.
    ValueError
        It is none of ours; the message says what is wrong.
    """
    path = join(folder, INDEX)
    if not is_file(path):
        raise FileNotFoundError(f"{shown(folder)} holds no embeddings: it has no {INDEX}")
    index = read_json(path)
    path = shown(path)
    if not isinstance(index, dict):
        raise ValueError(f"{path} is no {_WANTED}: wanted an object, got {index!r:.80}")
    fields = {"complete": bool, "shape": list, "dtype": str, "shards": list}
    check_fields(path, index, fields, _WANTED)
    if index.get("format", FORMAT) != FORMAT:
        raise ValueError(
            f"{path} is an {_WANTED} of format {index['format']!r:.80}, which needs a newer "
            f"meddel-fast: this one reads format {FORMAT}"
        )
    shape, dtype = index["shape"], index["dtype"]
    if len(shape) != 2 or not all(type(side) is int and side > 0 for side in shape):
        raise ValueError(f"{path} is no {_WANTED}: shape must be two counts, got {shape!r:.80}")
    if dtype not in _DTYPES:
        raise ValueError(f"{path} is no {_WANTED}: dtype must be of {_DTYPES}, got {dtype!r:.80}")
    check_shards(path, index["shards"])
    if index["complete"] and sum(shard["rows"] for shard in index["shards"]) != shape[0]:
        raise ValueError(f"{path} must list shards of {shape[0]} rows in all")
    return index


def check_shards(path: StrPath, shards: list[Any]) -> None:
    """Check the list of shards that `path` holds.

    Raises
    ------
    ValueError
        An entry is no object with ``name`` (a file of the same folder), ``rows`` and ``sha256``.
    """
    for shard in shards:
        if not isinstance(shard, dict):
            raise ValueError(f"{path} is no {_WANTED}: wanted shards, got {shard!r:.80}")
        check_fields(path, shard, {"name": str, "rows": int, "sha256": str}, _WANTED)
        plain_name(path, shard["name"])


def read_rows(folder: StrPath, index: dict[str, Any]) -> NDArray[Any]:
    """Read the embeddings (n, d) that an index lists; mapped into memory when in one local shard.

    Raises
    ------
    FileNotFoundError
        A shard is missing.
    ValueError
        A shard is damaged, or has not the rows and the type that the index says.
    """
    d, dtype = index["shape"][1], np.dtype(index["dtype"])
    parts = []
    for shard in index["shards"]:
        place = join(folder, shard["name"])
        part = _fetch(place, shard["sha256"]) if is_remote(place) else load_npy(place, mapped=True)
        if part.shape != (shard["rows"], d) or part.dtype != dtype:
            raise ValueError(
                f"shard {shown(place)} is not the index's: wanted {shard['rows']} x {d} {dtype}, "
                f"got {part.shape} {part.dtype}"
            )
        parts.append(part)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _fetch(place: str, sha256: str) -> NDArray[Any]:
    data = read_bytes(place)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(f"shard {shown(place)} is damaged: its hash is not the index's")
    return parse_npy(shown(place), data)


def shard_name(number: int) -> str:
    """Return the name of a shard's file."""
    return f"shard-{number:05d}.npy"


def write_shard(folder: StrPath, number: int, array: NDArray[Any]) -> dict[str, Any]:
    """Write a shard, and return what the index is to say of it."""
    name = shard_name(number)
    buffer = io.BytesIO()
    np.save(buffer, array)
    place, data = join(folder, name), buffer.getvalue()
    write_bytes(place, data)
    # A store has compared what it got; a disk has not.
    there = hashlib.sha256(data).hexdigest() if is_remote(place) else sha256_file(place)
    return {"name": name, "rows": len(array), "sha256": there}


def take_stock(folder: StrPath, about: dict[str, Any], count: int, *, fresh: bool = False) -> None:
    """Write the index of those shards of this very run that are whole, and delete all others.

    Parameters
    ----------
    folder
        Where they lie.
    about
        What the index says beside, its ``key`` among it: that of the run.
    count
        Shards of the whole: with all of them the index is complete.
    fresh
        They were hashed when they were written, and need not be now.
    """
    if not is_remote(folder):
        remove_leftovers(folder)
    names = [name for name in list_files(folder) if "/" not in name]
    notes = [name for name in names if _NOTE.fullmatch(name)]
    whole: dict[str, dict[str, Any]] = {}
    for name in [INDEX, *notes]:
        for shard in _written(join(folder, name), about["key"]):
            if shard["name"] not in whole and (fresh or _is_whole(folder, shard, about)):
                whole[shard["name"]] = shard
    for name in names:
        if _SHARD.fullmatch(name) and name not in whole:
            remove(join(folder, name))
    shards = [whole[name] for name in sorted(whole, key=lambda name: (len(name), name))]
    complete = len(shards) == count
    if not (complete and len(_written(join(folder, INDEX), about["key"])) == count):
        write_json(join(folder, INDEX), {**about, "complete": complete, "shards": shards})
    for name in notes:
        remove(join(folder, name))


def _written(place: str, key: str) -> list[dict[str, Any]]:
    """Shards that a file lists for a run with this key; none when it is not whole."""
    try:
        with described(place, "list of shards"):
            index = read_json(place)
            if index["key"] != key:
                return []
            shards = list(index["shards"])
        check_shards(place, shards)
        return shards
    except (OSError, ValueError) as error:
        if isinstance(error, RemoteError) and not isinstance(error, FileNotFoundError):
            raise  # the store does not answer: nothing is known of what is there
        return []


def _is_whole(folder: StrPath, shard: dict[str, Any], about: dict[str, Any]) -> bool:
    """Tell whether a shard is as its note says; a remote one by its size, as it was put whole."""
    place = join(folder, shard["name"])
    if not is_file(place):
        return False
    if not is_remote(place):
        return sha256_file(place) == str(shard["sha256"])
    header = io.BytesIO()
    shape, dtype = (int(shard["rows"]), int(about["shape"][1])), np.dtype(about["dtype"])
    npy_format.write_array_header_1_0(
        header, {"descr": dtype.str, "fortran_order": False, "shape": shape}
    )
    return size(place) == header.tell() + shape[0] * shape[1] * int(dtype.itemsize)


def _is_ours(folder: Path) -> bool:
    """Tell embeddings from what else has an index.json; a damaged one counts as theirs."""
    try:
        index = read_json(folder / INDEX)
    except ValueError:
        return True
    return isinstance(index, dict) and "shards" in index


FOLDER = FolderKind("a folder of embeddings", _is_ours)
