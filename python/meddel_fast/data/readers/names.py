"""Names of folders and archives, in forms in which copies can be compared."""

from __future__ import annotations

import re

_EDITION = re.compile(r"([\s._\-]*(v\d+(\.\d+)*|\(\d+\)|main|master|copy))+$", re.IGNORECASE)


def plain(name: str) -> str:
    """Give a name without case, spaces, dashes and underscores: releases differ in these."""
    return re.sub(r"[\s_\-]+", "", name).casefold()


def release_name(name: str) -> str:
    """Give a folder's or archive's name in plain form, without an edition (``_v2``, ``(1)``)."""
    return plain(_EDITION.sub("", name))
