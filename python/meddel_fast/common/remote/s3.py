"""S3 and what speaks like it, by the calls of s3fs: conditional reads, checked uploads.

A ranged read names the tag of the object that was opened, so that parts of two objects never come
together. What is put carries its MD5, and the tag that the store answers is compared with it. Large
files go up in parts, which are thrown away when one fails; those that a killed process left are
found at the next upload to the same place.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Iterator
from concurrent.futures import wait
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

from meddel_fast.common.pool import Pool
from meddel_fast.common.remote.client import (
    UNKNOWN,
    Client,
    Info,
    byte_range,
    same,
    size_of,
    time_limit,
    whole,
)
from meddel_fast.common.remote.errors import Passing, RemoteError, can_pass, status_of, told
from meddel_fast.common.remote.retry import attempt
from meddel_fast.common.urls import shown

_LOG = logging.getLogger(__name__)
_SINGLE = 16 << 20  # bytes: the largest file that is put by one request
_PART = 8 << 20  # bytes of a part of a larger one, at least
_MOST_PARTS = 10_000  # of the protocol
_AT_ONCE = 4  # parts on their way
_LAST_PARTS = 5.0  # seconds that these are waited for when one has failed
_STALE = timedelta(days=2)  # an unfinished upload older than this is nobody's any more


class S3Client(Client):
    """The objects of a store that speaks S3."""

    checks_tag = True

    def info(self, place: str) -> Info:
        """Ask for the head of an object; names that end in "/" are of folders."""
        bucket, key = _split(place)
        if not key or key.endswith("/"):
            raise FileNotFoundError(place)
        found = self._call("head_object", 0, Bucket=bucket, Key=key)
        return Info(int(found["ContentLength"]), str(found.get("ETag", "")))

    def read(self, place: str, start: int, stop: int, tag: str) -> bytes:
        """Ask for a range of the object of this tag."""
        bucket, key = _split(place)
        if stop <= start:
            return b""
        wanted = {"IfMatch": tag} if tag else {}

        async def ask() -> tuple[bytes, str]:
            found = await self.fs._call_s3(
                "get_object", Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}", **wanted
            )
            async with found["Body"] as body:
                return await body.read(), str(found.get("ETag", ""))

        data, got = self._wait(ask, stop - start)
        same(place, got, tag)
        return whole(place, data, stop - start)

    def get(self, place: str, start: int, stop: int | None) -> tuple[bytes, Info]:
        """Ask for a range, or all from `start`, of whatever object is there."""
        bucket, key = _split(place)
        part = {} if start == 0 and stop is None else {"Range": byte_range(start, stop)}

        async def ask() -> tuple[bytes, Any]:
            found = await self.fs._call_s3("get_object", Bucket=bucket, Key=key, **part)
            async with found["Body"] as body:
                return await body.read(), found

        data, found = self._wait(ask, UNKNOWN if stop is None else stop - start)
        whole(place, data, int(found["ContentLength"]))
        told = str(found.get("ContentRange", "")).rpartition("/")[2]
        return data, Info(int(told) if told.isdigit() else len(data), str(found.get("ETag", "")))

    def write(self, place: str, data: bytes) -> None:
        """Put an object by one request; the store compares its MD5."""
        bucket, key = _split(place, writing=True)
        found = self._call("put_object", len(data), Bucket=bucket, Key=key, Body=data, **_md5(data))
        _check_tag(found, data)

    def upload(self, place: str, local: str) -> None:
        """Put a file, in parts where it is large; each is tried again by itself."""
        size = size_of(local)
        if size <= _SINGLE:
            with open(local, "rb") as file:  # noqa: PTH123 - text as it came
                data = file.read()
            self.write(place, data)
            return
        self._look_for_unfinished(place)
        bucket, key = _split(place, writing=True)
        number = self._call("create_multipart_upload", 0, Bucket=bucket, Key=key)["UploadId"]
        where = {"Bucket": bucket, "Key": key, "UploadId": number}
        try:
            tags = self._put_parts(place, local, size, where)
            parts = [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(tags, 1)]
            attempt(place, "written", lambda: self._complete(place, size, where, parts))
        except BaseException:
            self._abort(place, where)
            raise

    def check_writable(self, place: str) -> None:
        """Begin an upload and throw it away: it asks for the rights that writing needs."""
        bucket, key = _split(place, writing=True)
        number = self._call("create_multipart_upload", 0, Bucket=bucket, Key=key)["UploadId"]
        self._abort(place, {"Bucket": bucket, "Key": key, "UploadId": number})

    def _put_parts(self, place: str, local: str, size: int, where: dict[str, str]) -> list[str]:
        """Send the parts, a few at a time, and return their tags in order."""
        part = max(_PART, -(-size // _MOST_PARTS))

        def send(number: int) -> str:
            with open(local, "rb") as file:  # noqa: PTH123 - text as it came
                file.seek((number - 1) * part)
                data = file.read(part)
            if len(data) != min(part, size - (number - 1) * part):
                raise RemoteError(f"{local} has become shorter while it was sent")

            def ask() -> str:
                found = self._call(
                    "upload_part", len(data), **where, PartNumber=number, Body=data, **_md5(data)
                )
                _check_tag(found, data)
                return str(found["ETag"])

            return attempt(place, "written", ask)

        pool = Pool(_AT_ONCE, "upload")
        futures = [pool.submit(send, n) for n in range(1, -(-size // part) + 1)]
        try:
            return [future.result() for future in futures]
        except Exception:
            pool.shutdown(wait=False, cancel_futures=True)
            wait(futures, _LAST_PARTS)  # what arrives after the rest was thrown away would stay
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _complete(
        self, place: str, size: int, where: dict[str, str], parts: list[dict[str, Any]]
    ) -> None:
        """Make one object of the parts; when the answer was lost, see whether it is there."""
        try:
            self._call("complete_multipart_upload", 0, **where, MultipartUpload={"Parts": parts})
        except Exception as error:
            if status_of(error)[1] != "NoSuchUpload":
                raise
            digests = (base64.b16decode(p["ETag"].strip('"'), casefold=True) for p in parts)
            joint = hashlib.md5(b"".join(digests), usedforsecurity=False).hexdigest()
            if self.info(place) != Info(size, f'"{joint}-{len(parts)}"'):
                raise
        got = self.info(place).size
        if got != size:
            raise RemoteError(f"{shown(place)} has {got} bytes after {size} were sent")

    def _abort(self, place: str, where: dict[str, str]) -> None:
        """Throw the parts of an upload away; where even that fails, say so."""
        try:
            self._call("abort_multipart_upload", 0, **where)
        except Exception as error:
            if status_of(error)[1] == "NoSuchUpload":
                return
            _LOG.warning(
                "%s: the parts of a failed upload may still be kept, and charged for, by the store "
                "(%s)", shown(place), told(error),
            )  # fmt: skip

    def _look_for_unfinished(self, place: str) -> None:
        """Throw away what killed uploads to this place left, once nobody can be at work on it."""
        bucket, key = _split(place)
        try:
            found = self._call("list_multipart_uploads", 0, Bucket=bucket, Prefix=key)
        except Exception as error:  # no right to list them is no reason not to write
            if can_pass(error):
                raise
            return
        for upload in found.get("Uploads", []):
            if upload["Key"] != key:
                continue
            age = datetime.now(timezone.utc) - upload["Initiated"]
            if age >= _STALE:
                self._abort(place, {"Bucket": bucket, "Key": key, "UploadId": upload["UploadId"]})
            _LOG.warning(
                "%s: an upload begun %s ago was not finished: %s", shown(place), str(age)[:-7],
                "its parts were removed" if age >= _STALE else "its parts are kept, in case it is "
                "still under way",
            )  # fmt: skip

    def files(self, place: str) -> Iterator[tuple[str, int]]:
        """List the objects below a place, page after page, each tried again by itself."""
        bucket, key = _split(place)
        prefix = key.rstrip("/") + "/" if key else ""
        more: dict[str, str] = {}
        while True:
            ask = partial(self._call, "list_objects_v2", 0, Bucket=bucket, Prefix=prefix, **more)
            page = attempt(place, "listed", ask)
            for entry in page.get("Contents", []):
                yield entry["Key"][len(prefix) :], int(entry["Size"])
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def is_folder(self, place: str) -> bool:
        """Tell whether the first page of a listing has something."""
        return next(self.files(place), None) is not None

    def remove(self, place: str) -> None:
        """Remove an object."""
        bucket, key = _split(place, writing=True)
        self._call("delete_object", 0, Bucket=bucket, Key=key)

    def _call(self, method: str, size: int, **arguments: Any) -> Any:
        """Make one call of the protocol, with so many bytes to send."""

        async def ask() -> Any:
            return await self.fs._call_s3(method, **arguments)

        return self._wait(ask, size)

    def _wait(self, ask: Any, size: int) -> Any:
        from fsspec.asyn import sync

        return sync(self.fs.loop, ask, timeout=time_limit(size))


def _split(place: str, writing: bool = False) -> tuple[str, str]:
    """Return the bucket and the key of a URL, with nothing taken out of the key."""
    bucket, _, key = place.partition("://")[2].partition("/")
    if writing and (not key or key.endswith("/")):
        raise RemoteError(f"{place} is no name of a file")
    return bucket, key


def _md5(data: bytes) -> dict[str, str]:
    digest = hashlib.md5(data, usedforsecurity=False).digest()
    return {"ContentMD5": base64.b64encode(digest).decode()}


def _check_tag(found: dict[str, Any], data: bytes) -> None:
    """Compare the tag of what was stored, where it is a plain MD5, with what was sent."""
    tag = str(found.get("ETag", "")).strip('"')
    encrypted = found.get("ServerSideEncryption", "AES256") != "AES256"
    if encrypted or "SSECustomerAlgorithm" in found or len(tag) != 32:
        return
    if tag != hashlib.md5(data, usedforsecurity=False).hexdigest():
        raise Passing("what the store has got is not what was sent")
