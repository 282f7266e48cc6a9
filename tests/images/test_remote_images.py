"""Images of remote places: the same manifests, few requests, and nothing passed over in silence."""

from __future__ import annotations

import os
import pickle
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL.Image")
pytest.importorskip("pyarrow")
pytest.importorskip("fsspec")

import object_stores
from accounts import write
from containers import mask_png, png, tarred, write_dicom, write_video, zipped
from object_stores import BUCKET, Proxy, Store
from PIL import Image
from releases import RELEASES

from meddel_fast.common import places, read_ahead, remote_path
from meddel_fast.common.read_ahead import Span, read_range, reading_ahead
from meddel_fast.common.remote.errors import RemoteError
from meddel_fast.common.remote_path import RemotePath, listed, path_of, relative
from meddel_fast.images import archive, known_members, prefetch
from meddel_fast.images.load_images import load_image
from meddel_fast.images.manifest import SCHEMA, Manifest
from meddel_fast.images.quality import measure_manifest
from meddel_fast.images.scan.build import build, scan
from meddel_fast.images.scan.registry_check import check
from meddel_fast.images.sources import read_bytes
from meddel_fast.images.splits import Dealing

FOLDER = {
    **{f"images/s{n % 2}/{n}.png": png(n) for n in range(6)},
    **{f"masks/s{n % 2}/{n}.png": mask_png() for n in range(5)},
    "images/bad.png": b"\x89PNG no more",
    "images/empty.jpg": b"",
    "images/.hidden.png": png(90),
    "images/packed.zip": zipped({"q/1.png": png(50), "q/2.png": png(51)}),
    "images/IM0001": b"no DICOM",
    "notes.txt": b"read me",
}
SHARDS = {
    **{
        f"train/{k}.tar": tarred(
            {
                f"{k}-{n}.{end}": data
                for n in range(4)
                for end, data in (("png", png(10 * k + n)), ("seg.png", mask_png()), ("cls", b"x"))
            }
        )
        for k in range(2)
    },
    "test/9.tar": tarred({"x.png": png(90), "y.cls": b"z"}),
    "broken.tar": b"none" * 300,
}


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with object_stores.s3_server() as running:
        yield running


@pytest.fixture
def seen(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy before the store, to which s3:// leads."""
    with object_stores.proxy(store) as about:
        object_stores.use(monkeypatch, about.url, patience=2)
        yield about


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known of what another test, or the process that scanned, has read."""
    forget(monkeypatch)


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_FAR", archive._Cache(archive._REMOTE))
    monkeypatch.setattr(remote_path, "_STATE_OF", remote_path._States())
    known_members._tars.clear()


def put(root: Path, place: str) -> str:
    for path in sorted(root.rglob("*")):
        if path.is_file():
            places.put_file(str(path), places.join(place, path.relative_to(root).as_posix()))
    return place


def images(place: str, count: int = 6) -> str:
    """A folder of images in a store."""
    for n in range(count):
        places.write_bytes(f"{place}/images/{n}.png", png(n))
    return place


def assert_same(far: Manifest, near: Manifest) -> None:
    """All but the root, and where in tars the images lie, is that of a scan of the disk."""
    assert far.table.select(SCHEMA.names).to_pylist() == near.table.select(SCHEMA.names).to_pylist()
    assert far.left_out == near.left_out
    assert far.notes == near.notes
    assert far.name == near.name
    assert far.fingerprint == near.fingerprint


def of_requests(seen: Proxy, ends: str) -> list[str]:
    """The methods of the requests for what ends so, one after the other."""
    return [method for method, path in seen.requests if path.partition("?")[0].endswith(ends)]


# a scan of a remote place is that of the same files on a disk


@pytest.mark.parametrize("kind", ["memory", "s3"])
@pytest.mark.parametrize("files", [FOLDER, SHARDS], ids=["folder", "shards"])
def test_a_scan_is_that_of_the_disk(
    files: dict[str, bytes], kind: str, seen: Proxy, tmp_path: Path
) -> None:
    place = put(write(tmp_path / "set", files), f"{kind}://{BUCKET}/same-{len(files)}/set")
    far, near = scan(place), scan(tmp_path / "set")
    assert_same(far, near)
    assert str(far.root) == place
    far.save(tmp_path / "far.parquet")
    again = Manifest.load(tmp_path / "far.parquet")
    assert again.table == far.table
    assert str(again.root) == place
    pairs = zip(again.image_paths(), near.image_paths(), strict=True)
    assert all(np.array_equal(load_image(a, 16), load_image(b, 16)) for a, b in pairs)
    assert (
        measure_manifest(again).manifest.table["noise"]
        == (measure_manifest(near).manifest.table["noise"])
    )


@pytest.mark.parametrize("name", ["kvasir-capsule osf", "ead2019 release", "cvc-clinicdb both"])
def test_a_data_set_of_the_registry_is_that_of_the_disk(name: str, tmp_path: Path) -> None:
    RELEASES[name]().write(tmp_path / "top")
    place, key = put(tmp_path / "top", f"memory://{name.replace(' ', '-')}/top"), [name.split()[0]]
    assert_same(build(place, key), build(tmp_path / "top", key))
    told = [[asdict(report) for report in check(root, key)] for root in (place, tmp_path / "top")]
    assert told[0] == told[1]
    assert told[0][0]["parts"][0]["found"] > 1


def test_containers_are_read_in_place(tmp_path: Path) -> None:
    pytest.importorskip("av")
    pytest.importorskip("pydicom")
    folder = tmp_path / "set" / "images"
    write_video(folder / "clip.mp4", "mpeg4", 30)
    write_dicom(folder / "scan.dcm", np.random.default_rng(0).integers(0, 255, (3, 40, 30), "u1"))
    pages = [Image.fromarray(np.full((30, 40), 40 * n, "u1")) for n in range(3)]
    pages[0].save(folder / "stack.tif", save_all=True, append_images=pages[1:])
    place = put(tmp_path / "set", "memory://held/set")
    far, near = scan(place), scan(tmp_path / "set")
    assert_same(far, near)
    assert {Path(row.partition("::")[0]).suffix for row in far.ids} == {".mp4", ".dcm", ".tif"}
    pairs = zip(far.image_paths(), near.image_paths(), strict=True)
    assert all(np.array_equal(load_image(a, 16), load_image(b, 16)) for a, b in pairs)


def test_lists_of_splits_are_those_of_the_disk(tmp_path: Path) -> None:
    lines = ["file,split,group", *(f"{n}.png,{'train' if n else 'test'},g{n}" for n in range(3))]
    files = {f"images/{n}.png": png(n) for n in range(4)}
    root = write(
        tmp_path / "set", files | {"splits.csv": "\n".join([*lines, "7.png,val,g"]).encode()}
    )
    place = put(root, "memory://lists/set")
    assert_same(scan(place), scan(root))
    assert_same(scan(place, splits=f"{place}/splits.csv"), scan(root, splits=root / "splits.csv"))
    near = scan(place, splits=root / "splits.csv")  # a list on the disk
    assert near.column("split") == scan(root).column("split") == ["test", "train", "train"]


def test_keys_that_are_no_files_are_no_samples_and_are_counted(store: Store, seen: Proxy) -> None:
    store.fill(["odd/set/images/", "odd/set/images/deep/"], b"")
    store.fill([f"odd/set/images/{n}.png" for n in range(2)], png(1))
    store.fill(["odd/set/images//a.png", "odd/set/images/../b.png"], png(2))
    found = scan(f"s3://{BUCKET}/odd/set")
    assert found.table["id"].to_pylist() == ["images/0.png", "images/1.png"]
    assert found.left_out is not None
    told = {tally.what: tally.first for tally in found.left_out.noticed}
    assert told["names in the store that no path has"] == ("images/../b.png", "images//a.png")


def test_long_lists_come_in_pages(store: Store, seen: Proxy) -> None:
    store.fill([f"many/images/{n:04d}.png" for n in range(1500)], b"")
    with listed(f"s3://{BUCKET}/many"):
        found = [path.name for path in path_of(f"s3://{BUCKET}/many/images").iterdir()]
    assert found == [f"{n:04d}.png" for n in range(1500)]
    assert sum("list-type=2" in path for _, path in seen.requests) == 2


# requests


def test_an_image_is_one_request(seen: Proxy) -> None:
    place = images(f"s3://{BUCKET}/once/set")
    seen.requests.clear()
    paths = scan(place).image_paths()
    assert [of_requests(seen, f"once/set/images/{n}.png") for n in range(6)] == [["GET"]] * 6
    seen.requests.clear()
    assert [read_bytes(path) for path in paths] == [png(n) for n in range(6)]
    assert seen.counts() == {"GET": 6}


def test_a_member_of_a_tar_is_one_range(
    seen: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = put(write(tmp_path / "set", SHARDS), f"s3://{BUCKET}/ranges/set")
    scan(place).save(tmp_path / "far.parquet")
    forget(monkeypatch)  # as another process would begin
    found = Manifest.load(tmp_path / "far.parquet")
    sizes = dict(zip(found.ids, found.column("bytes"), strict=True))
    images, masks = found.image_paths(), found.mask_paths()
    seen.requests.clear()
    seen.sent = 0
    data = [read_bytes(path) for path in images]
    assert [len(each) for each in data] == list(sizes.values())
    object_stores.settled(lambda: seen.sent == sum(sizes.values()))
    assert seen.counts() == {"GET": len(images), "HEAD": 3}  # three tars, asked about once each
    assert {read_bytes(path) for path in masks if path} == {mask_png()}


def test_a_member_of_a_zip_is_one_range(seen: Proxy) -> None:
    members = {f"images/{n}.png": png(n) for n in range(6)}
    places.write_bytes(f"s3://{BUCKET}/z/set.zip", zipped(members | {"images/a.txt": b"x" * 9}))
    found = scan(f"s3://{BUCKET}/z/set.zip")
    paths = found.image_paths()
    seen.requests.clear()
    assert [read_bytes(path) for path in paths] == list(members.values())[:6]
    assert seen.counts() == {"GET": 6}


def test_requests_overlap_and_what_they_hold_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    together, lock, size = threading.Barrier(4, timeout=20), threading.Lock(), 100
    state = {"flying": 0, "most": 0, "asked": 0, "done": 0, "held": 0}

    def get(place: str, start: int, stop: int | None) -> Any:
        with lock:
            state["flying"] += 1
            state["asked"] += 1
            state["most"] = max(state["most"], state["flying"])
            state["held"] = max(state["held"], state["asked"] - state["done"])
        if int(place[-1]) < 4 and len(place) == len("s3://b/0"):
            together.wait()  # the first four are only answered when all four are asked
        with lock:
            state["flying"] -= 1
        return place.encode().ljust(size, b"."), ()

    monkeypatch.setattr(places, "get_bytes", get)
    names = [f"s3://b/{n}" for n in range(40)]
    with reading_ahead(lambda n: [Span(names[n], size=size)], 40, held=6 * size, in_flight=4) as it:
        for number, name in enumerate(names):
            with it.using(number):
                assert read_range(name) == name.encode().ljust(size, b".")
            with lock:
                state["done"] += 1
    assert state["asked"] == 40  # none twice
    assert state["most"] == 4
    assert state["held"] <= 7  # of six that fit, and the one just done with
    assert not read_ahead._held


def test_what_cannot_be_read_ahead_is_told_where_it_is_used(seen: Proxy) -> None:
    place = images(f"s3://{BUCKET}/gone/set", 3)
    found = scan(place)
    places.remove(f"{place}/images/1.png")
    paths = found.image_paths()
    with prefetch.reading([(path,) for path in paths]) as ahead:
        for number in (2, 0):
            with ahead.using(number):
                assert read_bytes(paths[number]) == png(number)
        with ahead.using(1), pytest.raises(FileNotFoundError, match=r"no file s3://.*1\.png"):
            read_bytes(paths[1])


# a store that fails


def test_a_store_that_does_not_answer_ends_the_scan(seen: Proxy) -> None:
    place = images(f"s3://{BUCKET}/silent/set")
    seen.spoil = lambda method, path, number: (
        "503" if path.endswith("silent/set/images/4.png") else ""
    )
    with pytest.raises(
        RemoteError, match=r"silent/set/images/4\.png could not be read in \d tries"
    ):
        scan(place)
    seen.spoil = lambda method, path, number: (
        "403" if path.endswith("silent/set/images/4.png") else ""
    )
    with pytest.raises(PermissionError, match=r"images/4\.png may not be read"):
        scan(place)


@pytest.mark.parametrize("fault", ["503", "reset", "half"])
def test_faults_that_pass_change_nothing(fault: str, seen: Proxy) -> None:
    place = images(f"s3://{BUCKET}/faults/set")
    unspoilt, hits = scan(place), Counter[str]()

    def spoil(method: str, path: str, number: int) -> str:
        hits[path] += 1
        return fault if path.endswith(".png") and hits[path] == 1 else ""

    seen.spoil = spoil
    assert_same(scan(place), unspoilt)
    assert sum(count > 1 for path, count in hits.items() if path.endswith(".png")) == 6


def test_an_object_that_vanishes_while_scanned_is_a_row_that_says_so(seen: Proxy) -> None:
    place = images(f"s3://{BUCKET}/vanish/set")

    def spoil(method: str, path: str, number: int) -> str:
        return "404" if path.endswith("vanish/set/images/4.png") else ""

    seen.spoil = spoil
    found = scan(place)
    (row,) = found.skipped.to_pylist()
    assert row["id"] == "images/4.png"
    assert row["reason"] == f"cannot be read: no file {place}/images/4.png"


# a URL is no path of this machine


def test_a_url_is_never_a_path_of_this_machine() -> None:
    path = path_of("s3://bucket/set/images/1.png")
    assert isinstance(path, RemotePath)
    for use in (os.stat, open, os.path.realpath, Path.unlink, Path.mkdir, os.fspath):
        with pytest.raises(TypeError, match=r"s3://bucket/set/images/1\.png is on no disk"):
            use(path)
    assert str(path.parent / "2.png") == "s3://bucket/set/images/2.png"
    assert str(path_of(Path("s3://bucket/set"))) == "s3://bucket/set"  # pathlib's spelling
    assert relative(path, "s3://bucket/set") == "images/1.png"
    again = pickle.loads(pickle.dumps(path))
    assert (again, str(again), hash(again)) == (path, str(path), hash(path))


def test_roots_of_two_kinds_are_not_joined(tmp_path: Path) -> None:
    near = scan(write(tmp_path / "set", {"images/1.png": png(1)}))
    places.write_bytes("memory://two/a/images/1.png", png(1))
    places.write_bytes("memory://two/b/images/1.png", png(2))
    a, b = scan("memory://two/a", name="a"), scan("memory://two/b", name="b")
    joint = Manifest.concat([a, b], "both")
    assert str(joint.root) == "memory://two"
    assert joint.image_paths() == [*a.image_paths(), *b.image_paths()]
    for other in (replace(near, name="near"), replace(b, root=Path("s3://else/b"))):
        with pytest.raises(ValueError, match="wanted folders of one disk or one bucket"):
            Manifest.concat([a, other], "both")


@pytest.mark.parametrize(
    "url",
    [
        "https://host/set.tar?X-Amz-Signature=SECRET",
        "https://host/set?sig=SECRET",
        "https://user:SECRET@host/set.tar",
        "s3://bucket/set?X-Amz-Security-Token=SECRET",
    ],
)
def test_what_signs_a_url_is_refused_and_not_shown(url: str, tmp_path: Path) -> None:
    near = scan(write(tmp_path / "set", {"images/1.png": png(1)}))
    for use in (scan, lambda root: replace(near, root=root)):
        with pytest.raises(ValueError, match="environment") as refused:
            use(url)
        assert "SECRET" not in str(refused.value)


def test_credentials_are_in_no_manifest(seen: Proxy, tmp_path: Path) -> None:
    scan(images(f"s3://{BUCKET}/keys/set")).save(tmp_path / "m.parquet")
    data = (tmp_path / "m.parquet").read_bytes()
    assert not any(value.encode() in data for value in object_stores.KEYS.values())


def test_nothing_is_asked_that_no_url_was_given_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(tmp_path / "set", FOLDER)
    far = replace(scan(root), root=Path("s3://bucket/set"))
    far.save(tmp_path / "far.parquet")

    def refuse(*_: Any) -> Any:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("meddel_fast.common.remote.objects.client", refuse)
    assert len(scan(root)) == 8
    assert len(Manifest.load(tmp_path / "far.parquet").image_paths()) == 8


# web servers


def test_images_and_tars_of_a_web_server(tmp_path: Path) -> None:
    tar = tarred({f"{n}.png": png(n) for n in range(3)})
    files = {f"set/images/{n}.png": png(n) for n in range(3)} | {"shards/0.tar": tar}
    near = scan(write(tmp_path / "set", {f"images/{n}.png": png(n) for n in range(3)}))
    with object_stores.web_server(files) as (url, seen):
        far = replace(near, root=Path(f"{url}/set"))
        assert [read_bytes(path) for path in far.image_paths()] == [png(n) for n in range(3)]
        assert len(seen) == 3
        assert_same(scan(f"{url}/shards/0.tar"), scan(write(tmp_path, {"0.tar": tar}) / "0.tar"))
        with pytest.raises(RemoteError, match="cannot be listed"):
            scan(f"{url}/set")


# the command line


def test_commands_take_urls(cli: Any, seen: Proxy, tmp_path: Path) -> None:
    from meddel_fast.cli import app

    place, out = images(f"s3://{BUCKET}/cli/set"), tmp_path / "m.parquet"
    done = cli.invoke(app, ["data", "build", place, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert str(Manifest.load(out).root) == place
    done = cli.invoke(app, ["data", "quality", str(out), "--out", str(tmp_path / "q.parquet")])
    assert done.exit_code == 0, done.output
    assert min(Manifest.load(tmp_path / "q.parquet").column("noise")) > 0
    RELEASES["etis"]().write(tmp_path / "sets")
    put(tmp_path / "sets", f"s3://{BUCKET}/sets")
    done = cli.invoke(app, ["data", "check", f"s3://{BUCKET}/sets", "etis", "--quick"])
    assert "etis: off etis-laribpolypdb" in done.output.lower()
    assert not Path("s3:").exists()


def test_dealing_by_group_sees_paths_from_the_root(tmp_path: Path) -> None:
    root = write(
        tmp_path / "set",
        {f"images/{v}_{n}.png": png(10 * v + n) for v in range(3) for n in range(2)},
    )
    place, dealing = put(root, "memory://deal/set"), Dealing(group_by=r"images/(\d)_")
    assert_same(scan(place, dealing=dealing), scan(root, dealing=dealing))
    assert set(scan(place, dealing=dealing).column("group")) == {"0", "1", "2"}
