"""What a checkpoint is asked for: a place, how often, of which rows and options."""

from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from meddel_fast.common import places
from meddel_fast.sharded.fingerprint import Fingerprint


class Set(Protocol):
    """What is asked of a set of rows."""

    n: int
    d: int
    kind: str
    own: range
    fingerprint: Fingerprint | None


def check_place(place: Any) -> str:
    """Return a place for checkpoints, as text.

    Raises
    ------
    TypeError, NotADirectoryError
        It is none, or there is a file.
    """
    if not isinstance(place, str | os.PathLike) or not str(place):
        raise TypeError(f"checkpoint must be a path or a URL, got {type(place).__name__} {place!r}")
    folder = places.as_place(place)
    if not places.is_remote(folder) and Path(folder).exists() and not Path(folder).is_dir():
        raise NotADirectoryError(f"checkpoint must be a folder, {folder} is a file")
    return folder


def seconds_between() -> float | None:
    """Return the seconds from one save to the next, where the environment says them."""
    said = os.environ.get("MEDDEL_CHECKPOINT_EVERY", "")
    try:
        seconds = float(said) if said else None
    except ValueError:
        seconds = math.nan
    if seconds is not None and not 0 <= seconds < math.inf:
        raise ValueError(f"MEDDEL_CHECKPOINT_EVERY must be seconds, 0 or more, got {said!r}")
    return seconds


def plain_option(value: Any) -> Any:
    """Return an option in plain values; of an array its type, shape and hash."""
    if not isinstance(value, np.ndarray):
        return value
    digest = hashlib.sha256(np.ascontiguousarray(value).data).hexdigest()
    return [value.dtype.str, list(value.shape), digest]
