"""SHA-256 of files and of settings, to see whether they have changed."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from meddel_fast.common.atomic import plain
from meddel_fast.common.places import open_reader
from meddel_fast.common.urls import StrPath

_READ_BLOCK = 1 << 20


def sha256_file(path: StrPath) -> str:
    """SHA-256 of the content of a file, on this machine or by URL, as 64 hex digits."""
    digest = hashlib.sha256()
    with open_reader(path) as file:
        while block := file.read(_READ_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of a value's canonical JSON (sorted keys, no spaces, UTF-8), as 64 hex digits.

    Equal settings have equal hashes whatever the order of their keys. Takes what
    :func:`meddel_fast.common.atomic.write_json` takes and raises what it raises.
    """
    text = json.dumps(
        value,
        default=plain,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )
    return hashlib.sha256(text.encode()).hexdigest()
