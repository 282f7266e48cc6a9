"""Stores that fail: what is tried again and told, what is refused, and nothing half there."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import object_stores as stores
import pytest

from meddel_fast.common import places
from meddel_fast.common.atomic import atomic_path
from meddel_fast.common.hashes import sha256_file
from meddel_fast.common.remote import ranges, s3
from meddel_fast.common.remote.errors import RemoteDeniedError, RemoteMissingError

pytest.importorskip("s3fs")
MIB = 1 << 20


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have files of more than a MB go up in parts of one."""
    models = pytest.importorskip("moto.s3.models")
    monkeypatch.setattr(models, "S3_UPLOAD_PART_MIN_SIZE", 1)
    monkeypatch.setattr(s3, "_SINGLE", MIB)
    monkeypatch.setattr(s3, "_PART", MIB)


FAULTS = {
    "503": lambda method, path, number: "503" if number <= 2 else "",
    "reset": lambda method, path, number: "reset" if number <= 2 else "",
    "half": lambda method, path, number: "half" if method == "GET" and number <= 3 else "",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_reading_is_tried_again_and_told(
    fault: str, s3_proxy: stores.Proxy, s3_store: stores.Store, caplog: pytest.LogCaptureFixture
) -> None:
    data = os.urandom(300_000)
    s3_store.fill(["x"], data)
    s3_proxy.spoil = FAULTS[fault]
    assert places.read_bytes("s3://bucket/x") == data
    told = [r for r in caplog.records if r.name.startswith("meddel_fast")]
    assert 1 <= len(told) <= 2  # aiohttp asks again by itself once, where a connection was reset
    assert all(r.levelno == logging.WARNING and "s3://bucket/x" in r.getMessage() for r in told)
    assert "testing-secret" not in caplog.text
    assert "Signature" not in caplog.text


def test_a_store_that_never_answers_is_given_up(
    s3_proxy: stores.Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDDEL_REMOTE_PATIENCE", "1")
    s3_proxy.spoil = lambda method, path, number: "503"
    begun = time.monotonic()
    with pytest.raises(places.RemoteError, match=r"x could not be read in \d tries .*503"):
        places.read_bytes("s3://bucket/x")
    assert 2 <= len(s3_proxy.requests) <= 6
    assert time.monotonic() - begun < 20
    monkeypatch.setenv("MEDDEL_REMOTE_PATIENCE", "soon")
    with pytest.raises(ValueError, match="must be seconds"):
        places.read_bytes("s3://bucket/x")


def test_what_does_not_pass_is_not_tried_again(
    s3_proxy: stores.Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RemoteMissingError, match="no file s3://bucket/none"):
        places.read_bytes("s3://bucket/none")
    with pytest.raises(RemoteMissingError, match="no file s3://no-bucket/x"):
        places.read_bytes("s3://no-bucket/x")
    assert len(s3_proxy.requests) == 2
    s3_proxy.spoil = lambda method, path, number: "403"
    with pytest.raises(RemoteDeniedError, match=r"may not be written: 403.*AWS_ACCESS_KEY_ID"):
        places.write_bytes("s3://bucket/x", b"1")
    assert len(s3_proxy.requests) == 3
    for name in stores.KEYS:
        monkeypatch.delenv(name)
    with pytest.raises(RemoteDeniedError, match=r"no credentials .* set AWS_ACCESS_KEY_ID"):
        places.read_bytes("s3://bucket/x")
    assert len(s3_proxy.requests) == 3


def test_a_server_that_ignores_ranges_is_refused(
    s3_proxy: stores.Proxy, s3_store: stores.Store
) -> None:
    s3_store.fill(["x"], b"0123456789")
    s3_proxy.spoil = lambda method, path, number: "all"
    with pytest.raises(places.RemoteError, match="asked for 3 bytes, the server sent 10"):
        places.read_bytes("s3://bucket/x", 2, 5)
    assert places.read_bytes("s3://bucket/x") == b"0123456789"


def test_an_object_replaced_while_it_is_read(
    s3_proxy: stores.Proxy, s3_store: stores.Store
) -> None:
    s3_store.fill(["x"], bytes(20 * MIB))
    with places.open_reader("s3://bucket/x") as file:
        assert file.read(10) == bytes(10)
        s3_store.fill(["x"], b"1" * 20 * MIB)
        file.seek(10 * MIB)
        with pytest.raises(places.RemoteChangedError, match="has changed"):
            file.read(MIB)


def test_reading_ahead_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    data, on_way, most, asked = os.urandom(MIB) * 64, 0, 0, 0
    places.write_bytes("memory://ahead/x", data)

    class Held:
        """Bytes that are asked for; they count until the reader has taken them."""

        def __init__(self, start: int, stop: int) -> None:
            nonlocal on_way, most, asked
            self.start, self.stop = start, stop
            on_way += stop - start
            asked += stop - start
            most = max(most, on_way)

        def result(self) -> bytes:
            return data[self.start : self.stop]

        def cancel(self) -> None:
            pass

        def __del__(self) -> None:
            nonlocal on_way
            on_way -= self.stop - self.start

    class Requests:
        def submit(self, call: Any, place: str, start: int, stop: int, tag: str) -> Held:
            return Held(start, stop)

    monkeypatch.setattr(ranges, "_requests", Requests)
    with places.open_reader("memory://ahead/x") as file:
        while file.read(100_000):
            pass
        assert most <= places.AHEAD + 2 * ranges.PART
        assert most > ranges.PART  # it does read ahead
        assert asked <= len(data) + (1 << 16)
        asked = 0
        for place in range(0, 60 * MIB, 5 * MIB):
            file.seek(place)
            assert file.read(10) == data[place : place + 10]
        assert asked <= 12 * 2 * (1 << 16)


@pytest.mark.usefixtures("small_parts")
def test_a_large_file_goes_up_in_parts(
    s3_proxy: stores.Proxy, s3_store: stores.Store, tmp_path: Path
) -> None:
    data = os.urandom(3 * MIB - 7)
    (tmp_path / "x").write_bytes(data)
    s3_proxy.spoil = lambda method, path, number: "503" if number == 4 else ""
    places.put_file(tmp_path / "x", "s3://bucket/large")
    assert s3_store.objects()["large"] == data
    assert s3_store.uploads() == 0
    assert [path for method, path in s3_proxy.requests if "partNumber=3" in path]
    assert places.read_bytes("s3://bucket/large") == data
    assert sha256_file("s3://bucket/large") == sha256_file(tmp_path / "x")


@pytest.mark.usefixtures("small_parts")
def test_a_failed_upload_leaves_what_was_there(
    s3_proxy: stores.Proxy, s3_store: stores.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDDEL_REMOTE_PATIENCE", "1")
    s3_store.fill(["kept"], b"old")
    (tmp_path / "x").write_bytes(bytes(3 * MIB - 7))
    s3_proxy.spoil = lambda method, path, number: "503" if "partNumber=2" in path else ""
    with pytest.raises(places.RemoteError, match="kept could not be written"):
        places.put_file(tmp_path / "x", "s3://bucket/kept")
    assert s3_store.objects()["kept"] == b"old"
    assert s3_store.uploads() == 0
    s3_proxy.spoil = lambda method, path, number: "503" if method == "PUT" else ""
    with pytest.raises(places.RemoteError, match="kept could not be written"):
        places.write_bytes("s3://bucket/kept", b"new")
    assert s3_store.objects()["kept"] == b"old"
    with pytest.raises(ZeroDivisionError), atomic_path("s3://bucket/kept") as temporary:
        temporary.write_bytes(b"half" * (1 // len(temporary.suffix)))
    assert s3_store.objects()["kept"] == b"old"


@pytest.mark.usefixtures("small_parts")
def test_a_lost_answer_is_no_failed_upload(
    s3_proxy: stores.Proxy, s3_store: stores.Store, tmp_path: Path
) -> None:
    data = os.urandom(2 * MIB + 1)
    (tmp_path / "x").write_bytes(data)
    lost = []

    def spoil(method: str, path: str, number: int) -> str:
        if method == "POST" and "uploadId" in path and not lost:
            lost.append(path)
            return "lose"
        return ""

    s3_proxy.spoil = spoil
    places.put_file(tmp_path / "x", "s3://bucket/lost")
    assert lost
    assert s3_store.objects()["lost"] == data


@pytest.mark.usefixtures("small_parts")
def test_what_was_changed_on_the_way_is_sent_again(
    s3_proxy: stores.Proxy, s3_store: stores.Store, tmp_path: Path
) -> None:
    flipped = []

    def spoil(method: str, path: str, number: int) -> str:
        if method == "PUT" and len(flipped) < 2:
            flipped.append(path)
            return "flip"
        return ""

    s3_proxy.spoil = spoil
    places.write_bytes("s3://bucket/flipped", b"right")
    assert len(flipped) == 2
    assert s3_store.objects()["flipped"] == b"right"
    flipped.clear()
    data = os.urandom(2 * MIB + 1)
    (tmp_path / "x").write_bytes(data)
    places.put_file(tmp_path / "x", "s3://bucket/flipped")
    assert len(flipped) == 2
    assert s3_store.objects()["flipped"] == data


UPLOAD = """
import sys
from meddel_fast.common import places
from meddel_fast.common.remote import s3
s3._SINGLE = s3._PART = 1 << 20
places.put_file(sys.argv[1], "s3://bucket/killed")
"""


@pytest.mark.usefixtures("small_parts")
def test_a_killed_upload_shows_nothing(
    s3_proxy: stores.Proxy,
    s3_store: stores.Store,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    s3_store.fill(["killed"], b"old")
    data = os.urandom(2 * MIB + 1)
    (tmp_path / "x").write_bytes(data)
    s3_proxy.spoil = lambda method, path, number: "wait 30" if "partNumber=3" in path else ""
    child = subprocess.Popen([sys.executable, "-c", UPLOAD, str(tmp_path / "x")])
    try:
        limit = time.monotonic() + 60
        while not any("partNumber=3" in path for _, path in s3_proxy.requests):
            assert child.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.05)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    assert s3_store.objects()["killed"] == b"old"
    assert s3_store.uploads() == 1
    s3_proxy.spoil = lambda method, path, number: ""
    monkeypatch.setattr(s3, "_STALE", s3.timedelta(days=9999))  # moto's uploads are of 2010
    places.put_file(tmp_path / "x", "s3://bucket/killed")
    assert s3_store.objects()["killed"] == data
    assert s3_store.uploads() == 1
    assert "was not finished: its parts are kept" in caplog.text
    monkeypatch.setattr(s3, "_STALE", s3.timedelta(days=2))
    places.put_file(tmp_path / "x", "s3://bucket/killed")
    assert "was not finished: its parts were removed" in caplog.text
    assert s3_store.uploads() == 0
