"""Checks of an index's files, before they are used: hashes show damage, not forgery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.untrusted import check_fields, plain_name

DTYPES = ("float32", "float16", "int8")
_WANTED = "head of an index"


def check_head(path: Path, head: Any) -> None:
    """Check that a head says all that is read from it, of files of its own folder.

    Raises
    ------
    ValueError
        It does not; the message says what is missing or of another type.
    """
    if not isinstance(head, dict):
        raise ValueError(f"{path} is no {_WANTED}: wanted an object, got {head!r:.80}")
    counts = {"format": int, "d": int, "generation": int, "learned": int}
    check_fields(path, head, counts | {"threshold": float, "segments": list}, _WANTED)
    if min(head[name] for name in counts) < 0 or head["d"] == 0:
        raise ValueError(f"{path} is no {_WANTED}: a count is below 0, or d is")
    if head.get("dtype") not in DTYPES:
        raise ValueError(f"{path}: dtype must be one of {DTYPES}, got {head.get('dtype')!r:.80}")
    if not 0 < head["threshold"] <= 1:
        raise ValueError(
            f"{path}: threshold must be above 0 and at most 1, got {head['threshold']}"
        )
    if head.get("centroids") is not None or "centroids" not in head:
        _check_entry(path, head, "centroids")
    for segment in head["segments"]:
        if not isinstance(segment, dict):
            raise ValueError(f"{path} is no {_WANTED}: wanted segments, got {segment!r:.80}")
        if "changes" in segment:
            _check_entry(path, segment, "changes")
            continue
        check_fields(path, segment, {"n": int}, _WANTED)
        for kind in ("rows", "ids", "arrivals"):
            _check_entry(path, segment, kind)


def _check_entry(path: Path, of: dict[str, Any], kind: str) -> None:
    check_fields(path, of, {kind: dict}, _WANTED)
    check_fields(path, of[kind], {"name": str, "bytes": int, "sha256": str}, _WANTED)
    plain_name(path, of[kind]["name"])


def check_array(
    path: Path, array: NDArray[Any], shape: tuple[int | None, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return an array that was read, if it has a type and a shape (None: of any length there).

    Raises
    ------
    ValueError
        It has another.
    """
    sides = len(array.shape) == len(shape) and all(
        wanted in (None, got) for got, wanted in zip(array.shape, shape, strict=True)
    )
    if array.dtype != dtype or not sides:
        raise ValueError(
            f"{path} is not what the index says: wanted {shape} {dtype}, "
            f"got {array.shape} {array.dtype}"
        )
    return array


def check_within(path: Path, positions: NDArray[np.int64], low: int, high: int) -> None:
    """Check that positions that a file tells are from `low` to below `high`.

    Raises
    ------
    ValueError
        One is not; the message names it.
    """
    wrong = positions[(positions < low) | (positions >= high)]
    if len(wrong):
        raise ValueError(f"{path} is not what the index says: it tells of {wrong[0]}")
