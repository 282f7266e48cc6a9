"""Files of web servers, read by fsspec's connections: sizes and ranges by GET alone.

A signed address is good for GET and refused for HEAD, so that a size is asked for by a range of one
byte. Servers may ignore a range and send all: its answer says so, before the body is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from meddel_fast.common.remote.client import (
    UNKNOWN,
    Info,
    ReadingClient,
    byte_range,
    same,
    time_limit,
    whole,
)
from meddel_fast.common.remote.errors import Passing, RemoteError
from meddel_fast.common.urls import shown

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class WebClient(ReadingClient):
    """Files at ``http:`` and ``https:``."""

    checks_tag = True

    def info(self, place: str) -> Info:
        """Ask for the first byte, whose answer has the size of all."""

        async def ask() -> Info:
            async with await self._get(place, "bytes=0-0") as answer:
                found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
                tag = _tag(answer)
                if answer.status == 206 and found:
                    return Info(int(found[3]), tag)
                if answer.status == 416:  # an empty file has no first byte
                    return Info(0, tag)
                answer.raise_for_status()
                length = answer.headers.get("Content-Length")
                if length is None:
                    raise RemoteError(
                        f"{shown(place)} cannot be read: the server does not say how large it is"
                    )
                return Info(int(length), tag)

        return self._wait(ask, 1)  # type: ignore[no-any-return]

    def read(self, place: str, start: int, stop: int, tag: str) -> bytes:
        """Ask for a range; refuse what is another one."""
        if stop <= start:
            return b""

        async def ask() -> bytes:
            async with await self._get(place, f"bytes={start}-{stop - 1}") as answer:
                answer.raise_for_status()
                same(place, _tag(answer), tag)
                if answer.status == 206:
                    told = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
                    if told is None or (int(told[1]), int(told[2])) != (start, stop - 1):
                        raise Passing(f"the server sent {answer.headers.get('Content-Range')!r}")
                    return bytes(await answer.read())
                length = int(answer.headers.get("Content-Length", -1))
                if start or length != stop:
                    raise RemoteError(
                        f"{shown(place)} cannot be read in parts, as its server ignores ranges: "
                        "copy the file to this machine first"
                    )
                return bytes(await answer.read())

        return whole(place, self._wait(ask, stop - start), stop - start)

    def get(self, place: str, start: int, stop: int | None) -> tuple[bytes, Info]:
        """Ask for a range, or all from `start`, of whatever is there."""
        part = "" if start == 0 and stop is None else byte_range(start, stop)

        async def ask() -> tuple[bytes, Info]:
            async with await self._get(place, part) as answer:
                answer.raise_for_status()
                if part and answer.status != 206:
                    raise RemoteError(
                        f"{shown(place)} cannot be read in parts, as its server ignores ranges: "
                        "copy the file to this machine first"
                    )
                found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
                data: bytes = await answer.read()
                whole(place, data, int(answer.headers.get("Content-Length", len(data))))
                return data, Info(int(found[3]) if found else len(data), _tag(answer))

        return self._wait(ask, UNKNOWN if stop is None else stop - start)  # type: ignore[no-any-return]

    def files(self, place: str) -> Iterator[tuple[str, int]]:
        """Refuse: the protocol has no listings."""
        raise RemoteError(f"{shown(place)} cannot be listed: web servers have no lists of files")

    def is_folder(self, place: str) -> bool:
        """Return False: there are files alone."""
        return False

    async def _get(self, place: str, wanted: str) -> Any:
        session = await self.fs.set_session()
        headers = {"Accept-Encoding": "identity"} | ({"Range": wanted} if wanted else {})
        return session.get(self.fs.encode_url(place), headers=headers)

    def _wait(self, ask: Any, size: int) -> Any:
        from fsspec.asyn import sync

        return sync(self.fs.loop, ask, timeout=time_limit(size))


def _tag(answer: Any) -> str:
    headers = answer.headers
    return str(headers.get("ETag") or headers.get("Last-Modified") or "")
