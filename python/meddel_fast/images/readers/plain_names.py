"""Names of folders and archives, in forms in which copies can be compared."""

from __future__ import annotations

import re
from functools import lru_cache

_EDITION = re.compile(r"([\s._\-]*(v\d+(\.\d+)*|\(\d+\)))+$", re.IGNORECASE)


def plain(name: str) -> str:
    """Give a name without case, spaces, dashes and underscores: releases differ in these."""
    return re.sub(r"[\s_\-]+", "", name).casefold()


@lru_cache(maxsize=1 << 12)  # thousands of files lie in one folder
def plain_folders(folders: tuple[str, ...]) -> tuple[str, ...]:
    """Give the names of folders in plain form."""
    return tuple(map(plain, folders))


def release_name(name: str) -> str:
    """Give a folder's or archive's name in plain form, without an edition (``_v2``, ``(1)``)."""
    return plain(_EDITION.sub("", name))
