"""Archives, videos, DICOM and stacks: the right pixels at every address, and what is refused."""

from __future__ import annotations

import hashlib
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("pyarrow")

from containers import (  # noqa: E402
    encoded,
    frame,
    mask_png,
    png,
    tarred,
    write_dicom,
    zipped,
)

from meddel_fast.benchmark.config import DataConfig  # noqa: E402
from meddel_fast.images import archive  # noqa: E402
from meddel_fast.images.address import ImageError, member, parse, place, union  # noqa: E402
from meddel_fast.images.load_images import load_image  # noqa: E402
from meddel_fast.images.load_masks import load_mask  # noqa: E402
from meddel_fast.images.manifest import Manifest  # noqa: E402
from meddel_fast.images.scan.folder import scan_folder  # noqa: E402
from meddel_fast.images.sources import Sampling, open_image, read_bytes, units  # noqa: E402
from meddel_fast.training.loader import Frames  # noqa: E402

SIZE = 16


def direct(folder: Path, data: bytes) -> np.ndarray:
    """The pixels of an encoded image by the plain way, through a file of its own."""
    (folder / "direct").write_bytes(data)
    return load_image(folder / "direct", SIZE)


# --- addresses -------------------------------------------------------------------------------


def test_addresses_are_taken_apart() -> None:
    assert parse("a/b.png").members == ()
    deep = parse(Path("a/x.zip::in/y.zip::z/clip.mp4::000123"[: len("a/x.zip::in/y.zip")]))
    assert (deep.file, deep.members, deep.index) == (Path("a/x.zip"), ("in/y.zip",), None)
    clip = parse("a/x.tar::z/clip.MP4::000123")
    assert (clip.members, clip.index, clip.suffix) == (("z/clip.MP4",), 123, ".mp4")
    assert clip.container == Path("a/x.tar::z/clip.MP4")
    with pytest.raises(ImageError, match="one level deep"):
        parse("a.zip::b.zip::c.zip::d.png")
    assert place("r/images.zip::a/1.png") == "r/images/a/1.png"
    assert place("r/clip.mp4::000123") == "r/clip/000123"
    assert place("r/a.b/1.png") == "r/a.b/1.png"
    assert union("m/a.png||b.png") == [Path("m/a.png"), Path("m/b.png")]
    assert union("s.zip::a.png||b.png") == [Path("s.zip::a.png"), Path("s.zip::b.png")]
    assert union("m/a.png") == [Path("m/a.png")]


# --- archives --------------------------------------------------------------------------------

MEMBERS = {"set/images/a.png": png(1), "./set/images/b.png": png(2), "set\\c.png": png(3)}


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("x.zip", zipped),
        ("x.zip", lambda members: zipped(members, zipfile.ZIP_STORED)),
        ("x.tar", tarred),
    ],
)
def test_members_are_read_in_place(
    tmp_path: Path, name: str, pack: Callable[[dict[str, bytes]], bytes]
) -> None:
    path = tmp_path / name
    path.write_bytes(pack(MEMBERS))
    (tmp_path / f"outer{path.suffix}").write_bytes(pack({"in/x.zip": zipped(MEMBERS), name: b""}))
    outer = member(tmp_path / f"outer{path.suffix}", "in/x.zip")
    for where in (path, outer):
        found = units(where, Sampling())
        assert found == [member(where, n) for n in ("set/c.png", "set/images/a.png",
                                                    "set/images/b.png")]  # fmt: skip
        for address, data in zip(found, [png(3), png(1), png(2)], strict=True):
            assert read_bytes(address) == data
            np.testing.assert_array_equal(load_image(address, SIZE), direct(tmp_path, data))
    with pytest.raises(ImageError, match=r"no such member in .*x\.(zip|tar)"):
        read_bytes(member(path, "set/images/z.png"))
    with pytest.raises(FileNotFoundError):
        read_bytes(member(tmp_path / "none.zip", "a.png"))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        ["direct", name, f"outer{path.suffix}"]
    )


def test_an_archive_that_changed_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(zipped({"a.png": png(1)}))
    assert read_bytes(member(path, "a.png")) == png(1)
    path.write_bytes(zipped({"a.png": png(2), "b.png": png(3)}))
    assert read_bytes(member(path, "a.png")) == png(2)


def test_many_threads_and_more_archives_than_are_kept_open(tmp_path: Path) -> None:
    for shard in range(archive._OPEN + 4):
        pack = zipped if shard % 2 else tarred
        path = tmp_path / f"{shard}.{'zip' if shard % 2 else 'tar'}"
        path.write_bytes(pack({f"{n}.png": png(10 * shard + n, 16, 16) for n in range(8)}))
    paths = [u for p in sorted(tmp_path.iterdir()) for u in units(p, Sampling())]
    wanted = [frame(10 * int(parse(p).file.stem) + int(Path(parse(p).members[0]).stem), 16, 16)
              for p in paths]  # fmt: skip
    loaded = Frames(paths, 16, workers=8)[np.random.default_rng(0).permutation(len(paths))]
    order = np.random.default_rng(0).permutation(len(paths))
    np.testing.assert_array_equal(loaded, np.stack(wanted)[order])
    opened = [f.readlink() for f in Path("/proc/self/fd").iterdir() if f.is_symlink()]
    assert sum(p.parent == tmp_path for p in opened) == archive._OPEN


def link(target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


def zip_with_link() -> bytes:
    path = zipfile.ZipInfo("link.png")
    path.external_attr = (stat.S_IFLNK | 0o777) << 16
    return zipped({"a.png": png(1), path: b"/etc/passwd"})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("name", "data", "bad", "reason"),
    [
        ("x.zip", zipped({"a.png": png(1), "../up.png": png(2)}), "../up.png", "leads out"),
        ("x.zip", zipped({"a.png": png(1), "b/../../c.png": b""}), "b/../../c.png", "leads out"),
        ("x.zip", zipped({"a.png": png(1), "..\\up.png": png(2)}), "../up.png", "leads out"),
        ("x.zip", zipped({"a.png": png(1), "/abs.png": png(2)}), "/abs.png", "absolute path"),
        ("x.zip", zipped({"a.png": png(1), "C:\\abs.png": png(2)}), "C:/abs.png", "absolute path"),
        ("x.zip", zip_with_link(), "link.png", "link in an archive"),
        ("x.tar", tarred({"a.png": png(1), "../up.png": png(2)}), "../up.png", "leads out"),
        ("x.tar", tarred({"a.png": png(1), "l.png": link("/etc/passwd")}), "l.png", "link in"),
        ("x.tar", tarred({"a.png": png(1), "h.png": link("a.png", tarfile.LNKTYPE)}), "h.png",
         "link in"),
        ("x.tar", tarred({"a.png": png(1), "f.png": link("", tarfile.FIFOTYPE)}), "f.png",
         "not a regular file"),
    ],
)  # fmt: skip
def test_hostile_members_are_refused_by_name(
    tmp_path: Path, name: str, data: bytes, bad: str, reason: str
) -> None:
    (tmp_path / "images").mkdir()
    path = tmp_path / "images" / name
    path.write_bytes(data)
    with pytest.raises(ImageError, match=reason) as error:
        archive.open_archive(path).read(bad)
    assert str(error.value.path).endswith(f"{name}::{bad}".replace("//", "/"))
    manifest = scan_folder(tmp_path)
    assert manifest.ids == [f"images/{name}::a.png"]
    (row,) = manifest.skipped.to_pylist()
    assert bad.lstrip("/") in row["id"]
    assert reason in row["reason"]


def test_members_that_are_bombs_are_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "FREE_BYTES", 10_000)
    monkeypatch.setattr(archive, "MAX_MEMBER", 300_000)
    path = tmp_path / "x.zip"
    noise = np.random.default_rng(0).bytes(300_001)
    path.write_bytes(zipped({"a.png": bytes(200_000), "b.png": noise, "c.png": bytes(10_000)}))
    for name, reason in (
        ("a.png", r"refused: \d+ bytes grow to 200000, more than 100 times"),
        ("b.png", "refused: 300001 bytes unpacked, more than 300000"),
    ):
        with pytest.raises(ImageError, match=rf"x\.zip::{name}: {reason}"):
            read_bytes(member(path, name))
    assert read_bytes(member(path, "c.png")) == bytes(10_000)
    lying = bytearray(zipped({"a.png": bytes(200_000)}))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = lying.index(signature) + offset
        lying[at : at + 4] = (5_000).to_bytes(4, "little")  # says that it unpacks to 5,000 bytes
    path.write_bytes(bytes(lying))
    with pytest.raises(ImageError, match=r"x\.zip::a\.png: (broken|truncated)"):
        read_bytes(member(path, "a.png"))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_that_could_outgrow_their_stated_size_are_refused(
    tmp_path: Path, method: int
) -> None:
    (tmp_path / "x.zip").write_bytes(zipped({"a.png": bytes(1000)}, method))
    with pytest.raises(ImageError, match=r"a\.png: refused: .* must be stored or deflated"):
        read_bytes(member(tmp_path / "x.zip", "a.png"))


def test_broken_archives_are_rows_with_a_reason(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "good.png").write_bytes(png(0))
    whole = zipped({"a.png": png(1)}, zipfile.ZIP_STORED)
    (images / "cut.zip").write_bytes(whole[:-30])
    flipped = bytearray(whole)
    flipped[60] ^= 1
    (images / "flipped.zip").write_bytes(bytes(flipped))
    (images / "text.tar").write_text("no archive")
    (images / "cut.tar").write_bytes(tarred({"a.png": png(1)})[:900])
    (images / "deep.zip").write_bytes(zipped({"b.zip": zipped({"c.zip": zipped({})})}))
    (images / "twice.tar").write_bytes(tarred({"a.png": png(1), "./a.png": png(2)}))
    manifest = scan_folder(tmp_path)
    assert manifest.ids == ["images/good.png"]
    found = {r["id"].removeprefix("images/"): r["reason"] for r in manifest.skipped.to_pylist()}
    assert found.keys() == {
        "cut.zip", "flipped.zip::a.png", "text.tar", "cut.tar", "deep.zip::b.zip::c.zip",
        "twice.tar::a.png",
    }  # fmt: skip
    assert found["cut.zip"].startswith("broken archive: ")
    assert "CRC" in found["flipped.zip::a.png"]
    assert found["cut.tar"] == "broken archive: unexpected end of data"
    assert "one level deep" in found["deep.zip::b.zip::c.zip"]
    assert "two members" in found["twice.tar::a.png"]


@pytest.mark.parametrize("where", ["folders", "archives of parts", "one archive"])
def test_a_set_is_the_same_in_a_folder_and_in_archives(tmp_path: Path, where: str) -> None:
    images = {f"v{n // 3}/{n}.png": png(n) for n in range(12)}
    masks = {f"v{n // 3}/{n}.png": mask_png(rows=n + 1) for n in range(12)}
    root = tmp_path / "set"
    root.mkdir()
    if where == "folders":
        for part, files in (("images", images), ("masks", masks)):
            for name, data in files.items():
                (root / part / name).parent.mkdir(parents=True, exist_ok=True)
                (root / part / name).write_bytes(data)
    elif where == "archives of parts":
        (root / "images.zip").write_bytes(zipped(images))
        (root / "masks.tar").write_bytes(tarred(masks))
    else:
        root = tmp_path / "set.zip"
        root.write_bytes(zipped({f"top/images/{n}": d for n, d in images.items()}
                                | {f"top/masks/{n}": d for n, d in masks.items()}))  # fmt: skip
    manifest = scan_folder(root, require_masks=True)
    assert len(manifest) == 12
    by_hash = dict(zip(manifest.column("sha256"), manifest.ok.table.to_pylist(), strict=True))
    for number in range(12):
        row = by_hash[hashlib.sha256(png(number)).hexdigest()]
        assert row["group"] == f"v{number // 3}"
        assert row["bytes"] == len(png(number))
        assert load_mask(manifest.root / row["mask"], 30).mean() == pytest.approx((number + 1) / 30)
    assert sorted(map(str, by_hash)) == sorted(
        hashlib.sha256(data).hexdigest() for data in images.values()
    )
    manifest.save(tmp_path / "m.parquet")
    again = Manifest.load(tmp_path / "m.parquet")
    assert load_image(again.image_paths()[0], 8).shape == (8, 8, 3)
    other = scan_folder(_folder_of(tmp_path / "other", png(99)), name="other")
    joint = Manifest.concat([again, other], "joint")
    assert all(load_image(path, 8).shape == (8, 8, 3) for path in joint.image_paths())


def _folder_of(root: Path, data: bytes) -> Path:
    (root / "images").mkdir(parents=True)
    (root / "images" / "x.png").write_bytes(data)
    return root


def test_names_that_hold_the_separator(tmp_path: Path) -> None:
    _folder_of(tmp_path, png(1))
    for name in ("a::b.png", "a||b.png", "a::b::c::d.png", "a::b::c::d.zip", "a::0001.png"):
        (tmp_path / "images" / name).write_bytes(png(2))
    manifest = scan_folder(tmp_path)
    assert manifest.ids == ["images/x.png"]
    assert set(manifest.skipped["reason"].to_pylist()) == {"name holds :: or ||"}


def test_masks_joined_to_a_union(tmp_path: Path) -> None:
    for name, rows in (("a.png", 3), ("b.png", 9)):
        (tmp_path / name).write_bytes(mask_png(rows=rows))
    joined = load_mask(tmp_path / "a.png||b.png", 30)
    np.testing.assert_array_equal(joined, load_mask(tmp_path / "b.png", 30))
    (tmp_path / "m.zip").write_bytes(zipped({"in/a.png": mask_png(rows=9), "in/b.png": mask_png()}))
    assert load_mask(tmp_path / "m.zip::in/a.png||b.png", 30).mean() == pytest.approx(1 / 3)


# --- stacks and DICOM --------------------------------------------------------------------------


def test_pages_of_a_tiff(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    pages = [Image.fromarray(frame(n)) for n in range(4)]
    pages[0].save(images / "stack.tif", save_all=True, append_images=pages[1:])
    pages[0].save(images / "scales.tif", save_all=True, append_images=[pages[1].resize((20, 15))])
    manifest = scan_folder(tmp_path)
    assert manifest.ids == [
        "images/scales.tif",
        *(f"images/stack.tif::{n:06d}" for n in range(4)),
    ]
    assert manifest.column("frame") == [-1, 0, 1, 2, 3]
    assert manifest.column("group") == ["", *["stack"] * 4]
    assert len(set(manifest.column("sha256")[1:])) == 4
    whole = hashlib.sha256((images / "stack.tif").read_bytes()).hexdigest()
    assert manifest.column("sha256")[3] == hashlib.sha256(f"{whole}::000002".encode()).hexdigest()
    for number, path in enumerate(manifest.image_paths()[1:]):
        np.testing.assert_array_equal(
            load_image(path, SIZE), direct(tmp_path, encoded(pages[number]))
        )
    with pytest.raises(ImageError, match="no page 4, the file has 4"):
        load_image(images / "stack.tif::000004", 8)


def test_sixteen_bit_pages(tmp_path: Path) -> None:
    deep = [Image.fromarray(np.full((20, 20), v, np.uint16)) for v in (100, 4000, 65535)]
    deep[0].save(tmp_path / "deep.tif", save_all=True, append_images=deep[1:])
    means = [load_image(p, 4).mean() for p in units(tmp_path / "deep.tif", Sampling())]
    assert means == [100, round(4000 / 4095 * 255), 255]


def test_dicom(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    images = tmp_path / "images"
    images.mkdir()
    stack = np.stack([np.full((20, 30), 100 * n, np.uint16) for n in range(1, 4)])
    stack[:, :10] = 0
    write_dicom(images / "window.dcm", stack, WindowCenter=200, WindowWidth=200)
    write_dicom(images / "exact.dcm", stack[:1], "MONOCHROME1", WindowCenter=["100", "5"],
                WindowWidth=["200", "5"], VOILUTFunction="LINEAR_EXACT")  # fmt: skip
    write_dicom(images / "rescaled.dcm", stack[:1], RescaleSlope="2", RescaleIntercept="-50")
    write_dicom(images / "colour.dcm", np.stack([frame(1), frame(2)]), "RGB")
    (images / "broken.dcm").write_bytes(b"no DICOM" * 100)
    manifest = scan_folder(tmp_path)
    assert manifest.ids == [
        "images/colour.dcm::000000", "images/colour.dcm::000001", "images/exact.dcm",
        "images/rescaled.dcm", *(f"images/window.dcm::{n:06d}" for n in range(3)),
    ]  # fmt: skip
    (broken,) = manifest.skipped.to_pylist()
    assert broken["reason"].startswith("not a DICOM file")
    assert manifest.column("mode")[:3] == ["RGB", "RGB", "L"]

    def pixels(name: str) -> np.ndarray:
        with open_image(images / name) as image:
            return np.asarray(image)

    np.testing.assert_array_equal(pixels("colour.dcm::000001"), frame(2))
    # (x - 199.5) / 199 + 0.5, cut to 0..1, of x = 100, 200 and 300
    for number, level in enumerate([0, round(255 * 100 / 199), 255]):
        window = pixels(f"window.dcm::{number:06d}")
        assert (window[0, 0], window[-1, -1]) == (0, level)
    assert (pixels("exact.dcm")[0, 0], pixels("exact.dcm")[-1, -1]) == (255, 128)
    assert (pixels("rescaled.dcm")[0, 0], pixels("rescaled.dcm")[-1, -1]) == (0, 255)
    with pytest.raises(ImageError, match="no frame 3, the file has 3"):
        load_image(images / "window.dcm::000003", 8)
    (tmp_path / "x.zip").write_bytes(zipped({"w.dcm": (images / "window.dcm").read_bytes()}))
    inside = load_image(tmp_path / "x.zip::w.dcm::000001", 8)
    np.testing.assert_array_equal(inside, load_image(images / "window.dcm::000001", 8))


def test_more_kinds_of_dicom(tmp_path: Path) -> None:
    """A sigmoid window, 12 bits a colour, a palette; pixels that end early."""
    pytest.importorskip("pydicom")
    ramp = np.arange(0, 4000, 10, dtype=np.uint16).reshape(20, 20)
    write_dicom(tmp_path / "s.dcm", ramp[None], WindowCenter=2000, WindowWidth=800,
                VOILUTFunction="SIGMOID")  # fmt: skip
    with open_image(tmp_path / "s.dcm") as image:
        found = np.asarray(image)
    wanted = 255 / (1 + np.exp(-4 * (ramp.astype(float) - 2000) / 800))
    np.testing.assert_array_equal(found, np.floor(wanted + 0.5).astype(np.uint8))

    deep = np.repeat(ramp[None, :, :, None], 3, axis=3)
    write_dicom(tmp_path / "d.dcm", deep, "RGB", BitsStored=12, HighBit=11)
    with open_image(tmp_path / "d.dcm") as image:
        np.testing.assert_array_equal(np.asarray(image), (deep[0] >> 4).astype(np.uint8))

    index = (np.arange(400) % 256).astype(np.uint8).reshape(1, 20, 20)
    table = np.arange(256, dtype=np.uint16) * 256
    colours = {"Red": table, "Green": table[::-1].copy(), "Blue": table // 2}
    more: dict[str, Any] = {}
    for colour, values in colours.items():
        more[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        more[f"{colour}PaletteColorLookupTableData"] = values.tobytes()
    write_dicom(tmp_path / "p.dcm", index, "PALETTE COLOR", **more)
    with open_image(tmp_path / "p.dcm") as image:
        found = np.asarray(image)
    wanted = np.stack([values[index[0]] >> 8 for values in colours.values()], axis=-1)
    np.testing.assert_array_equal(found, wanted.astype(np.uint8))

    whole = (tmp_path / "d.dcm").read_bytes()
    (tmp_path / "d.dcm").write_bytes(whole[: len(whole) - 500])
    with pytest.raises(ImageError, match="broken: "):
        load_image(tmp_path / "d.dcm", 8)


@pytest.mark.parametrize("told", [["2", "3"], -1, 2_000_000_000])
def test_frames_that_no_dicom_file_has(tmp_path: Path, told: Any) -> None:
    pytest.importorskip("pydicom")
    write_dicom(tmp_path / "x.dcm", frame(1)[None], "RGB", NumberOfFrames=told)
    assert units(tmp_path / "x.dcm", Sampling()) == [tmp_path / "x.dcm"]
    with pytest.raises(ImageError, match="broken: NumberOfFrames is "):
        load_image(tmp_path / "x.dcm", 8)


def test_a_dicom_value_of_no_known_kind(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    write_dicom(tmp_path / "x.dcm", frame(1)[None], "RGB", NumberOfFrames=1)
    right = (tmp_path / "x.dcm").read_bytes()
    tag = b"\x28\x00\x08\x00"
    assert right.count(tag + b"IS") == 1
    (tmp_path / "x.dcm").write_bytes(right.replace(tag + b"IS", tag + b"I\xb9"))
    with pytest.raises(ImageError, match="broken: Unknown Value Representation"):
        load_image(tmp_path / "x.dcm", 8)


# --- sampling ----------------------------------------------------------------------------------


def test_settings_of_a_run_sample_alike() -> None:
    assert Sampling() == Sampling(DataConfig.stride, DataConfig.scene)


@pytest.mark.parametrize("options", [{"stride": 0}, {"scene": -0.1}, {"scene": 1.0}])
def test_sampling_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))}: wanted"):
        Sampling(**options)
