"""The folder that :mod:`meddel_fast.training.embed` writes, read and checked; needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.files import StrPath, read_json
from meddel_fast.common.npy import load_npy
from meddel_fast.common.untrusted import check_fields, plain_name

INDEX = "index.json"
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
    path = Path(folder) / INDEX
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no embeddings: it has no {INDEX}")
    index = read_json(path)
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
    """Read the embeddings (n, d) that an index lists; mapped into memory when in one shard.

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
        path = Path(folder) / shard["name"]
        part = load_npy(path, mapped=True)
        if part.shape != (shard["rows"], d) or part.dtype != dtype:
            raise ValueError(
                f"shard {path} is not the index's: wanted {shard['rows']} x {d} {dtype}, "
                f"got {part.shape} {part.dtype}"
            )
        parts.append(part)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
