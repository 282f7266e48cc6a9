"""Places: paths and URLs by the same functions, on a real S3 server, and a web server."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import object_stores as stores
import pytest

from meddel_fast.common import places
from meddel_fast.common.atomic import atomic_directory, write_json
from meddel_fast.common.files import make_folder, read_json
from meddel_fast.common.lock import lock
from meddel_fast.common.outputs import NAMES, check_folder, check_output, folder_with, json_object
from meddel_fast.common.remote import connect
from meddel_fast.common.remote.errors import RemoteMissingError
from meddel_fast.common.urls import scrubbed, unfolded

pytest.importorskip("s3fs")
MIB = 1 << 20


@pytest.fixture(params=["path", "memory", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        request.getfixturevalue("s3_proxy")
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


def test_listing_many_keys(s3_proxy: stores.Proxy, s3_store: stores.Store) -> None:
    names = [f"many/{n // 100}/{n % 100}.png" for n in range(10_000)]
    s3_store.fill(names)
    s3_proxy.spoil = lambda method, path, number: "503" if number in (4, 5) else ""
    found = places.list_files("s3://bucket/many")
    assert found == sorted(name.removeprefix("many/") for name in names)
    assert s3_proxy.counts() == {"GET": 10 + 2}  # it goes on at the page that failed


def test_listing_leaves_out_what_is_no_file(
    s3_proxy: stores.Proxy, s3_store: stores.Store, caplog: pytest.LogCaptureFixture
) -> None:
    s3_store.fill(["odd/", "odd/a/", "odd/a/x", "odd//y", "odd/../../z", "odd/b/./c", "oddity"])
    found = places.listing("s3://bucket/odd")
    assert not places.is_file("s3://bucket/odd/")
    assert places.exists("s3://bucket/odd/")
    assert places.exists("s3://bucket")
    assert found.sizes == {"a/x": 1}
    assert found.folders == 2
    assert found.odd == ("../../z", "/y", "b/./c")
    assert "3 names" in caplog.text


def test_results_go_where_nothing_else_is(s3_proxy: stores.Proxy, s3_store: stores.Store) -> None:
    kind = json_object("a result", "miou")
    s3_store.fill(["out/other.json", "out/list.txt", "out/sub.json/x"], b'{"a": 1}')
    s3_store.fill(["out/result.json"], b'{"miou": 1}')
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
    s3_store.fill(["out/names.txt"], b"a\nb\n")
    check_output(Path("s3://bucket/out/names.txt"), NAMES)
    marked = folder_with("results", "mark")
    check_folder("s3://bucket/fresh", marked, remote=True)
    with pytest.raises(FileExistsError, match=r"not empty and is not results, it holds list.txt"):
        check_folder("s3://bucket/out", marked, remote=True)
    with pytest.raises(ValueError, match="holds the input"):
        check_folder("s3://bucket/fresh", marked, ["s3://bucket/fresh/x"], remote=True)
    s3_store.fill(["out/mark"])
    check_folder("s3://bucket/out", marked, remote=True)
    assert s3_store.uploads() == 0


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
