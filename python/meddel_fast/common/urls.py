"""What places look like: local paths, and URLs of object stores; nothing is asked of a network.

``pathlib`` turns ``s3://bucket/x`` into ``s3:/bucket/x``, which every function of the system takes
for a local folder ``s3:``. Both spellings are the URL here.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

StrPath = str | os.PathLike[str]

SCHEMES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "az": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "hf": "huggingface_hub",
    "memory": "fsspec",
}
"""Kinds of URLs, and the library that reads each."""

_OTHER_NAMES = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az"}
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(/{1,2})(.*)", re.DOTALL)
_IN_TEXT = re.compile(
    r"([a-z][a-z0-9+.-]*://)(?:[^\s/'\"<>]*@)?([^\s'\"<>?]*)(\?[^\s'\"<>]*)?", re.I
)
_FOLDED = re.compile(rf"\b({'|'.join([*SCHEMES, *_OTHER_NAMES])}):/(?=[^/\s])")


def as_place(path: StrPath) -> str:
    """Return a local path as text, or a URL spelled as one.

    Raises
    ------
    ValueError
        A URL of an unknown kind, without a bucket or a host, or with credentials in it.
    """
    text = os.fspath(path)
    found = _URL.fullmatch(text)
    if found is None:
        return text
    scheme, slashes, rest = found[1].lower(), found[2], found[3]
    scheme = _OTHER_NAMES.get(scheme, scheme)
    if scheme not in SCHEMES:
        if slashes == "/":
            return text
        known = ", ".join(f"{name}://" for name in SCHEMES if name != "memory")
        raise ValueError(f"a place must be a local path or one of {known}, got {scrubbed(text)}")
    place = f"{scheme}://{rest}"
    if not rest or rest.startswith("/"):
        raise ValueError(f"{place} names no bucket and no host: wanted {scheme}://NAME/...")
    host = rest.partition("/")[0]
    if "@" in host and (scheme in ("s3", "gs", "http", "https") or ":" in host):
        raise ValueError(
            f"{scrubbed(place)} has credentials in it: leave them out, they are taken from the "
            "environment"
        )
    return place


def is_remote(path: StrPath) -> bool:
    """Tell whether a place is a URL.

    Raises
    ------
    ValueError
        As :func:`as_place`.
    """
    return scheme_of(as_place(path)) != ""


def scheme_of(place: str) -> str:
    """Return the kind of a URL that :func:`as_place` gave; empty for a local path."""
    scheme, mark, _ = place.partition("://")
    return scheme if mark and scheme in SCHEMES else ""


def join(place: StrPath, *names: str) -> str:
    """Return the place of a name, or of names one below the other, below a place.

    Raises
    ------
    ValueError
        A name is absolute, empty, or leads up.
    """
    place = as_place(place)
    for name in names:
        if not is_inner(name):
            raise ValueError(f"{shown(place)} is joined with names below it alone, got {name!r}")
    if not scheme_of(place):
        return os.path.join(place, *names)  # noqa: PTH118 - text in, text out
    before, mark, query = place.partition("?") if place.startswith("http") else (place, "", "")
    return "/".join([before.rstrip("/"), *names]) + mark + query


def is_inner(name: str) -> bool:
    """Tell whether a name, with "/" between folders, is that of something below a folder."""
    return not (set(name.split("/")) & {"", ".", ".."} or "\0" in name)


def name_of(path: StrPath) -> str:
    """Return the last name of a place: that of the file, without a web address's query."""
    place = as_place(path)
    if not scheme_of(place):
        return Path(place).name
    if place.startswith("http"):
        place = re.split("[?#]", place, maxsplit=1)[0]
    return place.partition("://")[2].rstrip("/").rpartition("/")[2]


def suffix_of(path: StrPath) -> str:
    """Return the suffix of a place's name, as pathlib does."""
    return Path(name_of(path)).suffix


def shown(path: StrPath) -> str:
    """Return a place as messages show it: without the query of a web address, which may sign."""
    text = os.fspath(path)
    found = _URL.fullmatch(text)
    if found is None or _OTHER_NAMES.get(found[1].lower(), found[1].lower()) not in SCHEMES:
        return text
    return scrubbed(as_place(path)) if found[1].lower().startswith("http") else as_place(path)


def scrubbed(text: str) -> str:
    """Return a text without the credentials and the queries of the URLs in it."""
    return _IN_TEXT.sub(lambda m: m[1] + m[2] + ("?..." if m[3] else ""), text)


def unfolded(text: str) -> str:
    """Return a text with the second slash of its URLs, which ``pathlib`` takes away."""
    return _FOLDED.sub(r"\1://", text)


def local_path(path: StrPath, what: str) -> Path:
    """Return a place as a path of this machine, where URLs are not taken.

    Raises
    ------
    ValueError
        It is a URL; the message begins with `what`.
    """
    if is_remote(path):
        raise ValueError(
            f"{what} must be on this machine, got {shown(path)}: copy it, and give its path"
        )
    return Path(path)
