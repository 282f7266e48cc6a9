"""Members of remote tars by their places in the tar, which a manifest tells.

A scan reads the list of a tar's members once. Later processes read a member by one request, without
the list, as long as the tar is the one that was scanned.
"""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import BinaryIO

from meddel_fast.common import places
from meddel_fast.common.read_ahead import read_range
from meddel_fast.common.remote_path import RemotePath
from meddel_fast.images.address import PART

_LOG = logging.getLogger(__name__)

Extent = tuple[int, int]


@dataclass
class _Tar:
    state: places.State
    members: dict[str, Extent] = field(default_factory=dict)
    told: bool = False


_lock = threading.Lock()
_tars: dict[str, _Tar] = {}  # by URL


def state_text(state: places.State) -> str:
    """Write the state of a tar as a manifest has it."""
    return json.dumps(list(state))


def remember(found: Iterable[tuple[str, str, str, int, int]]) -> None:
    """Take note of members: URL of the tar, its state as text, the member's name, start, size."""
    with _lock:
        for place, text, name, start, size in found:
            tar = _tars.get(place)
            if tar is None or state_text(tar.state) != text:
                tar = _tars[place] = _Tar(tuple(json.loads(text)))
            tar.members[name] = (start, start + size)


def known_extent(file: RemotePath, members: tuple[str, ...]) -> Extent | None:
    """Give the range of a tar that holds a member; None where it is not known, or not any more."""
    tar = _tars.get(str(file))
    extent = None if tar is None else tar.members.get(PART.join(members))
    if tar is None or extent is None:
        return None
    if file.state() == tar.state:
        return extent
    if not tar.told:
        tar.told = True
        _LOG.warning("%s has changed since it was scanned: its list of members is read anew", file)
    return None


def read_known(file: RemotePath, members: tuple[str, ...]) -> BinaryIO | None:
    """Read a member whose place is known, by one request; None where it is not known.

    Raises
    ------
    OSError
        The store does not answer.
    """
    extent = known_extent(file, members)
    return None if extent is None else io.BytesIO(read_range(str(file), *extent))
