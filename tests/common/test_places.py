"""Places: paths and URLs by the same functions, on a real S3 server, behind a proxy that spoils."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import object_stores as stores
import pytest

from meddel_fast.common import places
from meddel_fast.common.atomic import atomic_directory, atomic_path, write_json
from meddel_fast.common.files import make_folder, read_json
from meddel_fast.common.hashes import sha256_file
from meddel_fast.common.lock import lock
from meddel_fast.common.outputs import NAMES, check_folder, check_output, folder_with, json_object
from meddel_fast.common.remote import connect, ranges, s3
from meddel_fast.common.remote.errors import RemoteDeniedError, RemoteMissingError
from meddel_fast.common.urls import scrubbed, unfolded

pytest.importorskip("s3fs")
MIB = 1 << 20


@pytest.fixture(scope="module")
def server() -> Iterator[stores.Store]:
    with stores.s3_server() as store:
        yield store


@pytest.fixture
def spoilt(server: stores.Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[stores.Proxy]:
    with stores.proxy(server) as proxy:
        stores.use(monkeypatch, proxy.url)
        yield proxy


@pytest.fixture(params=["path", "memory", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        request.getfixturevalue("spoilt")
    name = tmp_path.name
    return {"path": f"{tmp_path}/f", "memory": f"memory://{name}", "s3": f"s3://bucket/{name}"}[
        request.param
    ]


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("s3://b/x y", "s3://b/x y"),
        (Path("s3://b/x.npy"), "s3://b/x.npy"),
        ("s3a://b/x", "s3://b/x"),
        (Path("abfs://c/x"), "az://c/x"),
        ("GCS://b/x", "gs://b/x"),
        ("hf://datasets/a/b@main/x", "hf://datasets/a/b@main/x"),
        ("/a/s3:/x", "/a/s3:/x"),
        ("video.mp4::000125", "video.mp4::000125"),
        ("C:/x", "C:/x"),
    ],
)
def test_urls_are_told_from_paths(given: Any, place: str) -> None:
    assert places.as_place(given) == place
    assert places.is_remote(given) == ("://" in place)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("ftp://host/x", "ftp://host/x"),
        ("file:///x", "one of s3://"),
        ("s3://", "no bucket"),
        ("s3://key:secret@host/b", "credentials"),
        ("https://me:secret@host/b?token=secret", "credentials"),
    ],
)
def test_other_urls_are_refused(wrong: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        places.read_bytes(wrong)
    assert "secret" not in str(caught.value)


def test_names_in_urls() -> None:
    signed = "https://host/a/x.npy?X-Amz-Signature=abc"
    assert places.name_of(signed) == "x.npy"
    assert places.suffix_of(signed) == ".npy"
    assert places.shown(signed) == "https://host/a/x.npy?..."
    assert places.join(signed, "b") == "https://host/a/x.npy/b?X-Amz-Signature=abc"
    assert places.join("s3://b/a/", "c", "d/e") == "s3://b/a/c/d/e"
    assert places.join("a", "b") == "a/b"
    assert places.name_of("s3://b/a#1?.npy") == "a#1?.npy"
    text = "GET 'http://me:secret@h/x?X-Amz-Credential=AKIA' failed, see s3:/b/y and /s3:/z"
    assert scrubbed(text) == "GET 'http://h/x?...' failed, see s3:/b/y and /s3:/z"
    assert unfolded("no s3:/b/y, but a:/b") == "no s3://b/y, but a:/b"
    for name in ("../c", "/c", "", "c//d", "c/./d"):
        with pytest.raises(ValueError, match="below it"):
            places.join("s3://b", name)


def test_one_set_of_functions(folder: str, tmp_path: Path) -> None:
    place = places.join(folder, "a", "x #1?&%.bin")
    assert not places.exists(place)
    assert not places.exists(folder)
    assert places.list_files(folder) == []
    places.remove(place)
    with pytest.raises(FileNotFoundError):
        places.read_bytes(place)
    places.write_bytes(place, b"0123456789")
    assert places.exists(place)
    assert places.is_folder(folder)
    assert not places.is_file(folder)
    assert places.size(place) == 10
    assert places.read_bytes(place) == b"0123456789"
    assert places.read_bytes(place, 2, 5) == b"234"
    assert places.read_bytes(place, 8, 50) == b"89"
    assert places.read_bytes(place, 50) == b""
    before = places.state(place)
    assert places.state(place) == before
    time.sleep(0.01)
    places.write_bytes(place, b"9876543210")
    assert places.state(place) != before
    (tmp_path / "local").write_bytes(b"")
    places.put_file(tmp_path / "local", places.join(folder, "empty"))
    assert places.listing(folder).sizes == {"a/x #1?&%.bin": 10, "empty": 0}
    with places.open_reader(place) as file:
        assert file.read(3) == b"987"
        file.seek(-2, os.SEEK_END)
        assert file.read() == b"10"
    write_json(places.join(folder, "x.json"), {"a": 1})
    assert read_json(places.join(folder, "x.json")) == {"a": 1}
    places.remove(place)
    assert places.list_files(folder) == ["empty", "x.json"]


def test_nothing_local_is_made_of_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kind = folder_with("results", "x")
    url: Path | str
    for url in ("s3://bucket/x", Path("s3://bucket/x")):
        for make in (lambda u: make_folder(Path(u)), lambda u: check_folder(u, kind)):
            with pytest.raises(ValueError, match=r"must be on this machine, got s3://bucket/x"):
                make(url)
        with pytest.raises(ValueError, match="must be on this machine"), lock(Path(url)):
            pass
        with pytest.raises(ValueError, match="must be on this machine"), atomic_directory(url):
            pass
    assert list(tmp_path.iterdir()) == []


def test_listing_many_keys(spoilt: stores.Proxy, server: stores.Store) -> None:
    names = [f"many/{n // 100}/{n % 100}.png" for n in range(10_000)]
    server.fill(names)
    spoilt.spoil = lambda method, path, number: "503" if number in (4, 5) else ""
    found = places.list_files("s3://bucket/many")
    assert found == sorted(name.removeprefix("many/") for name in names)
    assert spoilt.counts() == {"GET": 10 + 2}  # it goes on at the page that failed


def test_listing_leaves_out_what_is_no_file(
    spoilt: stores.Proxy, server: stores.Store, caplog: pytest.LogCaptureFixture
) -> None:
    server.fill(["odd/", "odd/a/", "odd/a/x", "odd//y", "odd/../../z", "odd/b/./c", "oddity"])
    found = places.listing("s3://bucket/odd")
    assert found.sizes == {"a/x": 1}
    assert found.folders == 2
    assert found.odd == ("../../z", "/y", "b/./c")
    assert "3 names" in caplog.text


FAULTS = {
    "503": lambda method, path, number: "503" if number <= 2 else "",
    "reset": lambda method, path, number: "reset" if number <= 2 else "",
    "half": lambda method, path, number: "half" if method == "GET" and number <= 3 else "",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_reading_is_tried_again_and_told(
    fault: str, spoilt: stores.Proxy, server: stores.Store, caplog: pytest.LogCaptureFixture
) -> None:
    data = os.urandom(300_000)
    server.fill(["x"], data)
    spoilt.spoil = FAULTS[fault]
    assert places.read_bytes("s3://bucket/x") == data
    told = [r for r in caplog.records if r.name.startswith("meddel_fast")]
    assert len(told) == 2
    assert all(r.levelno == logging.WARNING and "s3://bucket/x" in r.getMessage() for r in told)
    assert "testing-secret" not in caplog.text
    assert "Signature" not in caplog.text


def test_a_store_that_never_answers_is_given_up(
    spoilt: stores.Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDDEL_REMOTE_PATIENCE", "1")
    spoilt.spoil = lambda method, path, number: "503"
    begun = time.monotonic()
    with pytest.raises(places.RemoteError, match=r"x could not be read in \d tries .*503"):
        places.read_bytes("s3://bucket/x")
    assert 2 <= len(spoilt.requests) <= 6
    assert time.monotonic() - begun < 20
    monkeypatch.setenv("MEDDEL_REMOTE_PATIENCE", "soon")
    with pytest.raises(ValueError, match="must be seconds"):
        places.read_bytes("s3://bucket/x")


def test_what_does_not_pass_is_not_tried_again(
    spoilt: stores.Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RemoteMissingError, match="no file s3://bucket/none"):
        places.read_bytes("s3://bucket/none")
    with pytest.raises(RemoteMissingError, match="no file s3://no-bucket/x"):
        places.read_bytes("s3://no-bucket/x")
    assert len(spoilt.requests) == 2
    spoilt.spoil = lambda method, path, number: "403"
    with pytest.raises(RemoteDeniedError, match=r"may not be written: 403.*AWS_ACCESS_KEY_ID"):
        places.write_bytes("s3://bucket/x", b"1")
    assert len(spoilt.requests) == 3
    for name in stores.KEYS:
        monkeypatch.delenv(name)
    with pytest.raises(RemoteDeniedError, match=r"no credentials .* set AWS_ACCESS_KEY_ID"):
        places.read_bytes("s3://bucket/x")
    assert len(spoilt.requests) == 3


def test_a_server_that_ignores_ranges_is_refused(
    spoilt: stores.Proxy, server: stores.Store
) -> None:
    server.fill(["x"], b"0123456789")
    spoilt.spoil = lambda method, path, number: "all"
    with pytest.raises(places.RemoteError, match="asked for 3 bytes, the server sent 10"):
        places.read_bytes("s3://bucket/x", 2, 5)
    assert places.read_bytes("s3://bucket/x") == b"0123456789"


def test_an_object_replaced_while_it_is_read(spoilt: stores.Proxy, server: stores.Store) -> None:
    server.fill(["x"], bytes(20 * MIB))
    with places.open_reader("s3://bucket/x") as file:
        assert file.read(10) == bytes(10)
        server.fill(["x"], b"1" * 20 * MIB)
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


def test_a_large_file_goes_up_in_parts(
    spoilt: stores.Proxy, server: stores.Store, tmp_path: Path
) -> None:
    data = os.urandom(21 * MIB)
    (tmp_path / "x").write_bytes(data)
    spoilt.spoil = lambda method, path, number: "503" if number == 4 else ""
    places.put_file(tmp_path / "x", "s3://bucket/large")
    assert server.objects()["large"] == data
    assert server.uploads() == 0
    assert [path for method, path in spoilt.requests if "partNumber=3" in path]
    assert places.read_bytes("s3://bucket/large") == data
    assert sha256_file("s3://bucket/large") == sha256_file(tmp_path / "x")


def test_a_failed_upload_leaves_what_was_there(
    spoilt: stores.Proxy, server: stores.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDDEL_REMOTE_PATIENCE", "1")
    server.fill(["kept"], b"old")
    (tmp_path / "x").write_bytes(bytes(21 * MIB))
    spoilt.spoil = lambda method, path, number: "503" if "partNumber=2" in path else ""
    with pytest.raises(places.RemoteError, match="kept could not be written"):
        places.put_file(tmp_path / "x", "s3://bucket/kept")
    assert server.objects()["kept"] == b"old"
    assert server.uploads() == 0
    spoilt.spoil = lambda method, path, number: "503" if method == "PUT" else ""
    with pytest.raises(places.RemoteError, match="kept could not be written"):
        places.write_bytes("s3://bucket/kept", b"new")
    assert server.objects()["kept"] == b"old"
    with pytest.raises(ZeroDivisionError), atomic_path("s3://bucket/kept") as temporary:
        temporary.write_bytes(b"half" * (1 // len(temporary.suffix)))
    assert server.objects()["kept"] == b"old"


def test_a_lost_answer_is_no_failed_upload(
    spoilt: stores.Proxy, server: stores.Store, tmp_path: Path
) -> None:
    data = os.urandom(17 * MIB)
    (tmp_path / "x").write_bytes(data)
    lost = []

    def spoil(method: str, path: str, number: int) -> str:
        if method == "POST" and "uploadId" in path and not lost:
            lost.append(path)
            return "lose"
        return ""

    spoilt.spoil = spoil
    places.put_file(tmp_path / "x", "s3://bucket/lost")
    assert lost
    assert server.objects()["lost"] == data


def test_what_was_changed_on_the_way_is_sent_again(
    spoilt: stores.Proxy, server: stores.Store, tmp_path: Path
) -> None:
    flipped = []

    def spoil(method: str, path: str, number: int) -> str:
        if method == "PUT" and len(flipped) < 2:
            flipped.append(path)
            return "flip"
        return ""

    spoilt.spoil = spoil
    places.write_bytes("s3://bucket/flipped", b"right")
    assert len(flipped) == 2
    assert server.objects()["flipped"] == b"right"
    flipped.clear()
    data = os.urandom(17 * MIB)
    (tmp_path / "x").write_bytes(data)
    places.put_file(tmp_path / "x", "s3://bucket/flipped")
    assert len(flipped) == 2
    assert server.objects()["flipped"] == data


UPLOAD = """
import sys
from meddel_fast.common import places
places.put_file(sys.argv[1], "s3://bucket/killed")
"""


def test_a_killed_upload_shows_nothing(
    spoilt: stores.Proxy,
    server: stores.Store,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.fill(["killed"], b"old")
    data = os.urandom(17 * MIB)
    (tmp_path / "x").write_bytes(data)
    spoilt.spoil = lambda method, path, number: "wait 30" if "partNumber=3" in path else ""
    child = subprocess.Popen([sys.executable, "-c", UPLOAD, str(tmp_path / "x")])
    try:
        limit = time.monotonic() + 60
        while not any("partNumber=3" in path for _, path in spoilt.requests):
            assert child.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.05)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    assert server.objects()["killed"] == b"old"
    assert server.uploads() == 1
    spoilt.spoil = lambda method, path, number: ""
    monkeypatch.setattr(s3, "_STALE", s3.timedelta(days=9999))  # moto's uploads are of 2010
    places.put_file(tmp_path / "x", "s3://bucket/killed")
    assert server.objects()["killed"] == data
    assert server.uploads() == 1
    assert "was not finished: its parts are kept" in caplog.text
    monkeypatch.setattr(s3, "_STALE", s3.timedelta(days=2))
    places.put_file(tmp_path / "x", "s3://bucket/killed")
    assert "was not finished: its parts were removed" in caplog.text
    assert server.uploads() == 0


def test_results_go_where_nothing_else_is(spoilt: stores.Proxy, server: stores.Store) -> None:
    kind = json_object("a result", "miou")
    server.fill(["out/other.json", "out/list.txt", "out/sub.json/x"], b'{"a": 1}')
    server.fill(["out/result.json"], b'{"miou": 1}')
    check_output("s3://bucket/out/new.json", kind)
    check_output("s3://bucket/out/result.json", kind)
    for place, error, says in (
        ("s3://bucket/out/other.json", FileExistsError, "is not a result"),
        ("s3://bucket/out/list.txt", ValueError, "ends in .json"),
        ("s3://bucket/out/sub.json", IsADirectoryError, "is a folder"),
        ("s3://no-bucket/out.json", RemoteMissingError, "no such bucket"),
        ("s3://bucket/in/x.json", ValueError, "lies in s3://bucket/in"),
        ("s3://bucket/in", ValueError, "is an input"),
        ("https://host/x.json", places.RemoteError, "can only be read"),
        ("hf://datasets/a/b/x.json", places.RemoteError, "can only be read|HF_HUB_OFFLINE"),
    ):
        with pytest.raises(error, match=says):
            check_output(place, kind, ["s3://bucket/in", None, "/local"])
    server.fill(["out/names.txt"], b"a\nb\n")
    check_output(Path("s3://bucket/out/names.txt"), NAMES)
    marked = folder_with("results", "mark")
    check_folder("s3://bucket/fresh", marked, remote=True)
    with pytest.raises(FileExistsError, match=r"not empty and is not results, it holds list.txt"):
        check_folder("s3://bucket/out", marked, remote=True)
    with pytest.raises(ValueError, match="holds the input"):
        check_folder("s3://bucket/fresh", marked, ["s3://bucket/fresh/x"], remote=True)
    server.fill(["out/mark"])
    check_folder("s3://bucket/out", marked, remote=True)
    assert server.uploads() == 0


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_web_servers(knows_ranges: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(200_000)
    with stores.web_server({"x.bin": data, "empty": b""}, ranges=knows_ranges) as (url, seen):
        stores.use(monkeypatch, url)
        assert places.read_bytes(f"{url}/x.bin?X-Amz-Signature=secret") == data
        assert places.read_bytes(f"{url}/empty") == b""
        assert places.size(f"{url}/x.bin") == len(data)
        seen.clear()
        if knows_ranges:
            assert places.read_bytes(f"{url}/x.bin", 5, 9) == data[5:9]
            assert [part for _, _, part in seen] == ["bytes=0-0", "bytes=5-8"]
        else:
            with pytest.raises(places.RemoteError, match="ignores ranges"):
                places.read_bytes(f"{url}/x.bin", 5, 9)
        with pytest.raises(FileNotFoundError) as missing:
            places.read_bytes(f"{url}/none?X-Amz-Signature=secret")
        assert "secret" not in str(missing.value)
        assert not places.exists(f"{url}/none")
        with pytest.raises(places.RemoteError, match="can only be read"):
            places.write_bytes(f"{url}/new", b"1")
        with pytest.raises(places.RemoteError, match="no lists of files"):
            places.list_files(f"{url}/")


@pytest.mark.parametrize(
    ("url", "library", "install"),
    [
        ("s3://b/x", "s3fs", r"pip install 'meddel-fast\[remote\]'"),
        ("https://h/x", "aiohttp", r"pip install 'meddel-fast\[remote\]'"),
        ("gs://b/x", "gcsfs", "pip install fsspec gcsfs"),
        ("az://b/x", "adlfs", "pip install fsspec adlfs"),
        ("hf://datasets/a/b/x", "huggingface_hub", "pip install fsspec huggingface_hub"),
    ],
)
def test_missing_libraries_are_named(
    url: str, library: str, install: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "_clients", {})
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModuleNotFoundError, match=f"{url[:2]}.* needs {library}: {install}"):
        places.read_bytes(url)


def test_the_hub_is_not_asked_while_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(connect, "_clients", {})
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(places.RemoteError, match="HF_HUB_OFFLINE"):
        places.read_bytes("hf://datasets/a/b/x")


def test_nothing_is_loaded_for_local_places(tmp_path: Path) -> None:
    code = (
        "import sys, meddel_fast as mf, numpy as np\n"
        f"np.save({str(tmp_path / 'x.npy')!r}, np.eye(3, dtype=np.float32))\n"
        f"mf.open_store({str(tmp_path / 'x.npy')!r}).rows(0, 3)\n"
        "print([n for n in ('fsspec', 's3fs', 'aiohttp', 'asyncio') if n in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert told.stdout.strip() == "[]", told
