"""Nothing below a root vanishes: a file is a row, a row with a reason, or counted by name."""

from __future__ import annotations

import json
import os
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("pyarrow")

from containers import encoded, frame, mask_png, png, tarred, zipped  # noqa: E402
from releases import RELEASES  # noqa: E402

from meddel_fast.images.address import ImageError  # noqa: E402
from meddel_fast.images.archive import open_archive  # noqa: E402
from meddel_fast.images.image_check import content  # noqa: E402
from meddel_fast.images.left_out import LeftOut, Tally, skipped_tallies  # noqa: E402
from meddel_fast.images.manifest import Manifest  # noqa: E402
from meddel_fast.images.readers.item import stem_of  # noqa: E402
from meddel_fast.images.scan.build import build, scan  # noqa: E402
from meddel_fast.images.scan.datadel_set import scan_set  # noqa: E402
from meddel_fast.images.scan.folder import scan_folder  # noqa: E402
from meddel_fast.training.loader import frames  # noqa: E402

Files = Mapping[str, bytes]


def write(root: Path, files: Files) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def pairs(count: int, kind: str = "png") -> dict[str, bytes]:
    """Images 0, 1 ... with their masks."""
    images = {f"images/{n}.{kind}": png(n) for n in range(count)}
    return images | {f"masks/{n}.png": mask_png(rows=n + 1) for n in range(count)}


def told(manifest: Manifest) -> LeftOut:
    assert manifest.left_out is not None
    account = manifest.left_out
    used = account.images + account.masks + account.tables
    assert account.files == used + sum(tally.count for tally in account.left)
    return account


def left(manifest: Manifest) -> dict[str, tuple[str, ...]]:
    """What was left out, each kind with all its names."""
    tallies = told(manifest).left
    assert all(tally.count == len(tally.first) or "passed over" in tally.what for tally in tallies)
    return {tally.what: tally.first for tally in tallies}


def noticed(manifest: Manifest) -> dict[str, tuple[str, ...]]:
    return {tally.what: tally.first for tally in told(manifest).noticed}


def reasons(manifest: Manifest) -> dict[str, str]:
    return {row["id"]: row["reason"] for row in manifest.skipped.to_pylist()}


# --- folders ---------------------------------------------------------------------------------


def test_all_in_rows_leaves_nothing_to_tell(tmp_path: Path) -> None:
    account = told(scan_folder(write(tmp_path, pairs(3))))
    assert account == LeftOut(6, 3, 3)
    assert account.lines() == ["files: 6 (images 3, masks 3, tables 0, left out 0)"]


PASSED_OVER: dict[str, tuple[Files, dict[str, tuple[str, ...]]]] = {
    "another folder of images": (
        {"Kvasir/images/a.png": png(9), "Kvasir/masks/a.png": mask_png(), "x.png": png(8)},
        {"images in places passed over": ("Kvasir (2)", "x.png")},
    ),
    "folders under other names": (
        {"Images/0.png": png(7), "mask/0.png": mask_png(), "train/images/0.png": png(6)},
        {"images in places passed over": ("Images", "mask", "train")},
    ),
    "an archive beside its folder": (
        {"images.zip": zipped({"0.png": png(0), "1.png": png(1), "n.txt": b""})},
        {"images in places passed over": ("images.zip (2)",), ".txt files": ("images.zip::n.txt",)},
    ),
    "hidden files": (
        {".DS_Store": b"", "images/._0.png": b"", "images/Thumbs.db": b"", "masks/.x/0.png": b"",
         "desktop.ini": b""},
        {"hidden files": (".DS_Store", "desktop.ini", "images/._0.png", "images/Thumbs.db",
                          "masks/.x/0.png")},
    ),
    "other suffixes": (
        {"a.TXT": b"", "images/b.txt": b"", "images/c.nii.gz": b"", "images/scan": b"",
         "images/frame.0001": b""},
        {".txt files": ("a.TXT", "images/b.txt"), ".gz files": ("images/c.nii.gz",),
         "files without a suffix": ("images/frame.0001", "images/scan")},
    ),
    "packed files": (
        {"more.tar.gz": b"", "images/x.rar": b"", "y.7z": b"", "z.TGZ": b""},
        {"packed files, to be unpacked first": ("images/x.rar", "more.tar.gz", "y.7z", "z.TGZ")},
    ),
    "masks without an image": (
        {"masks/9.png": mask_png(), "masks/v1/0.png": mask_png(), "masks/0_mask.png": mask_png()},
        {"masks without an image": ("masks/0_mask.png", "masks/9.png", "masks/v1/0.png")},
    ),
    "refused members": (
        {"images/z.zip": zipped({"../up.txt": b"", "z.png": png(30)})},
        {"refused members of archives": (
            "images/z.zip::../up.txt (refused: path leads out of the archive)",)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", list(PASSED_OVER))
def test_what_is_passed_over_is_counted_with_the_first_names(tmp_path: Path, case: str) -> None:
    files, wanted = PASSED_OVER[case]
    manifest = scan_folder(write(tmp_path, pairs(2) | dict(files)))
    found = left(manifest)
    assert {what: tuple(sorted(names)) for what, names in found.items()} == wanted
    assert len(manifest) == 2 + (case == "refused members")


def test_links_and_folders_that_cannot_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(tmp_path / "set", pairs(2))
    write(tmp_path, {"store/5.png": png(5), "private.txt": b"x"})
    (root / "images" / "far").symlink_to(tmp_path / "store")
    (root / "notes.txt").symlink_to(tmp_path / "private.txt")
    os.mkfifo(root / "images" / "pipe")
    for name in ("shut", "none/below"):
        (root / name).mkdir(parents=True)
    whole = os.scandir

    def scandir(path: Any) -> Any:
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(os, "scandir", scandir)
    manifest = scan_folder(root)
    assert left(manifest) == {
        "links and special files": ("notes.txt", "images/far", "images/pipe")
    } or set(left(manifest)["links and special files"]) == {
        "notes.txt", "images/far", "images/pipe"}  # fmt: skip
    assert noticed(manifest) == {
        "folders cannot be listed": ("shut",),
        "empty folders": ("none/below",),
    }
    (root / "images" / "pipe").unlink()
    followed = scan_folder(root, follow_links=True)
    assert "images/far/5.png" in followed.ids
    assert left(followed) == {"links and special files": ("notes.txt",)}


def test_names_in_an_archive_behind_a_link_are_not_told(tmp_path: Path) -> None:
    root = write(tmp_path / "set", pairs(2))
    write(tmp_path, {"mine.zip": zipped({"secret.png": png(1)})})
    (root / "far.zip").symlink_to(tmp_path / "mine.zip")
    (root / "images" / "far.zip").symlink_to(tmp_path / "mine.zip")
    manifest = scan_folder(root)
    assert reasons(manifest) == {"images/far.zip": "link out of the data set"}
    assert left(manifest) == {"links and special files": ("far.zip",)}


def test_images_behind_a_link_count_once(tmp_path: Path) -> None:
    root = write(tmp_path / "set", pairs(2))
    (root / "images").rename(tmp_path / "store")
    (root / "images").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "b.txt").write_bytes(b"")
    assert told(scan_folder(root)).images == 2
    assert left(scan_folder(root)) == {".txt files": ("images/b.txt",)}


def test_names_lie_about_what_is_inside(tmp_path: Path) -> None:
    files = {"images/a.jpg": png(5), "images/b.jpg": b"hello", "images/c": png(6),
             "images/d.PNG": png(7)}  # fmt: skip
    manifest = scan_folder(write(tmp_path, pairs(1) | files))
    assert manifest.ids == ["images/0.png", "images/a.jpg", "images/d.PNG"]
    assert reasons(manifest) == {"images/b.jpg": "not an image"}
    assert left(manifest) == {"files without a suffix": ("images/c",)}


def test_names_that_are_not_utf_8_are_told_with_their_bytes(tmp_path: Path) -> None:
    write(tmp_path, pairs(1))
    for name in (b"images/\xffd/x.png", b"\xfe.txt"):
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png(3))
    manifest = scan_folder(tmp_path)
    assert reasons(manifest) == {r"images/\udcffd/x.png": "name is not UTF-8"}
    assert left(manifest) == {".txt files": (r"\udcfe.txt",)}
    manifest.save(tmp_path / "m.parquet")
    assert Manifest.load(tmp_path / "m.parquet").left_out == manifest.left_out


@pytest.mark.parametrize("top", ["", "{}/", "./{}/"])
@pytest.mark.parametrize("packed", [("masks",), ("images",), ("images", "masks")])
def test_parts_packed_with_their_folder_or_without(
    tmp_path: Path, packed: tuple[str, ...], top: str
) -> None:
    for part in ("images", "masks"):
        files = {f"{n}.png": mask_png() if part == "masks" else png(n) for n in range(3)}
        if part in packed:
            inside = {f"{top.format(part)}{name}": data for name, data in files.items()}
            write(tmp_path, {f"{part}.zip": zipped(inside | {"__MACOSX/._0.png": b""})})
        else:
            write(tmp_path / part, files)
    (tmp_path / "splits.csv").write_text("file,split\n0,train\n1,val\n2,test\n")
    manifest = scan_folder(tmp_path, require_masks=True)
    assert manifest.column("split") == ["train", "val", "test"]
    assert set(manifest.column("group")) == {""}
    assert set(left(manifest)) == {"hidden files"}


def test_one_mask_of_five_is_missing(tmp_path: Path) -> None:
    files = pairs(5)
    del files["masks/3.png"]
    manifest = scan_folder(write(tmp_path, files))
    assert noticed(manifest) == {"images without a mask, though others have one": ("images/3.png",)}
    assert noticed(scan_folder(tmp_path, require_masks=True)) == {}
    assert reasons(scan_folder(tmp_path, require_masks=True)) == {"images/3.png": "no mask"}
    for path in (tmp_path / "masks").iterdir():
        path.unlink()
    (tmp_path / "masks").rmdir()
    assert noticed(scan_folder(tmp_path)) == {}  # a set without masks lacks none


def test_masks_of_another_size_or_shape_are_counted(tmp_path: Path) -> None:
    sizes = {"masks/0.png": (20, 15), "masks/1.png": (30, 30), "masks/2.png": (384, 288)}
    files = pairs(4) | {name: mask_png(*size) for name, size in sizes.items()}
    assert noticed(scan_folder(write(tmp_path, files))) == {
        "masks of another shape than their image (squeezed)": ("images/1.png (30x30 on 40x30)",),
        "masks of another size than their image": (
            "images/0.png (20x15 on 40x30)",
            "images/2.png (384x288 on 40x30)",
        ),
    }


def test_groups_and_equal_files_in_two_given_splits(tmp_path: Path) -> None:
    files = pairs(6) | {"images/2.png": png(0), "images/5.png": png(4)}
    lines = ["file,split,group", "0,train,a", "1,train,a", "2,test,a", "3,val,b", "4,val,c",
             "5,val,c", "gone,val,c", "elsewhere/x.png,test,d"]  # fmt: skip
    files |= {"splits.csv": "\n".join(lines).encode()}
    manifest = scan_folder(write(tmp_path, files))
    assert told(manifest).tables == 1
    assert noticed(manifest) == {
        "groups (videos, patients) lie in two splits": ("a (test, train)",),
        "equal files": ("images/5.png = images/4.png",),
        "equal files lie in two splits": ("images/2.png = images/0.png",),
        "lines of splits.csv name no image": ("elsewhere/x.png",),
    }
    assert reasons(manifest) == {"images/gone": "missing: listed in splits.csv"}


def test_a_table_of_splits_for_two_sets_tells_of_its_own_set_alone(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, pairs(3))
    lines = ["file,split", *(f"{s}/images/{n}.png,train" for s in "ab" for n in range(3))]
    (tmp_path / "all.csv").write_text("\n".join([*lines, "a/images/9.png,test"]))
    assert noticed(scan_folder(tmp_path / "b", splits=tmp_path / "all.csv")) == {
        "lines of all.csv name no image": ("a/images/9.png",)
    }
    first = scan_folder(tmp_path / "a", splits=tmp_path / "all.csv")
    assert noticed(first) == {}
    assert list(reasons(first).values()) == ["missing: listed in all.csv"]


def test_a_file_listed_twice_with_two_splits_is_refused_by_line(tmp_path: Path) -> None:
    (write(tmp_path, pairs(3)) / "splits.csv").write_text(
        "file,split\n0.png,train\n1.png,test\nimages/0.png,test\n"
    )
    with pytest.raises(ValueError, match=r"lines 2 and 4 of .*splits\.csv differ about images/0"):
        scan_folder(tmp_path)
    (tmp_path / "splits.csv").write_text("file,split\n0.png,train\n1.png,test\n0.png,train\n")
    assert scan_folder(tmp_path).column("split") == ["train", "test"]


# --- generated trees -------------------------------------------------------------------------


def listed(path: Path) -> int:
    """Count the files below a folder, members in place of the archives that hold them."""
    count = 0
    for parent, folders, names in os.walk(path):
        count += sum((Path(parent) / folder).is_symlink() for folder in folders)
        for name in names:
            inside = members(Path(parent) / name) if not (Path(parent) / name).is_symlink() else 1
            count += inside
    return count


def members(path: Path) -> int:
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                return len([n for n in archive.namelist() if not n.endswith("/")]) or 1
        if path.suffix == ".tar":
            with tarfile.open(path) as archive:
                return len([m for m in archive if not m.isdir()]) or 1
    except (zipfile.BadZipFile, tarfile.TarError):
        pass
    return 1


def made_tree(root: Path, seed: int) -> None:
    """Write a tree of whatever lies in the folders of the careless."""
    rng = np.random.default_rng(seed)
    suffixes = [".png", ".PNG", ".jpg", ".txt", ".tar.gz", ".dcm", ".mp4", ".tif", "", ".json"]
    folders = ["images", "images/v1", "masks", "masks/v1", "Kvasir/images", ".", ".git", "a b/c"]
    write(root, pairs(2))
    for n in range(40):
        folder, suffix = rng.choice(folders), rng.choice(suffixes)
        data = [png(n), png(n % 7), b"", b"text", mask_png()][rng.integers(5)]
        name = f"{'._' if rng.random() < 0.1 else ''}f{n}{suffix}"
        write(root, {f"{folder}/{name}": data})
    inside = {f"{rng.choice(folders)}/m{n}{rng.choice(suffixes)}": png(n) for n in range(8)}
    inside |= {"../up.png": png(1), "__MACOSX/._m": b"", "/abs.txt": b"", "empty/": b""}
    for folder in rng.choice(folders, 3, replace=False):
        write(root, {f"{folder}/z{seed}.zip": zipped(inside), f"{folder}/t{seed}.tar": tarred(
            {n: d for n, d in inside.items() if n != "empty/"})})  # fmt: skip
    write(root, {"images/broken.zip": b"PK", "x/none.zip": zipped({})})
    (root / "images" / "dead.png").symlink_to(root / "gone.png")
    (root / "Kvasir" / "link").symlink_to(root / "images")


@pytest.mark.parametrize("seed", range(6))
def test_files_below_a_root_are_rows_or_counted(tmp_path: Path, seed: int) -> None:
    pytest.importorskip("av")
    pytest.importorskip("pydicom")
    made_tree(tmp_path, seed)
    manifest = scan_folder(tmp_path)
    account = told(manifest)  # holds the sum against the count of files
    assert account.files == listed(tmp_path)
    containers = {row["image"].removesuffix("::000000") for row in manifest.table.to_pylist()}
    assert account.images == len(containers)
    assert account.masks == len({m for m in manifest.column("mask") if m})
    assert scan_folder(tmp_path, workers=1).left_out == account


@pytest.mark.parametrize("release", ["kvasir-seg", "polypgen", "hyper-kvasir", "kvasir-instrument"])
def test_files_of_a_release_are_rows_or_counted(tmp_path: Path, release: str) -> None:
    made = RELEASES[release]()
    write(tmp_path, made.files)
    write(tmp_path, {"other/images/1.png": png(1), "README.md": b"", ".cache/x": b""})
    manifest = build(tmp_path)
    account = told(manifest)
    assert account.files == listed(tmp_path)
    assert account.images == len(made.facts)
    assert left(manifest)["images in places passed over"] == ("other",)
    assert left(manifest)[".md files"] == ("README.md",)
    assert left(manifest)["hidden files"] == (".cache/x",)


def test_a_known_set_tells_images_without_masks_and_folders_beside(tmp_path: Path) -> None:
    for folder in ("Kvasir-SEG", "Strange"):
        write(tmp_path / folder, pairs(4))
    (tmp_path / "Kvasir-SEG" / "masks" / "0.png").unlink()
    write(tmp_path / "Kvasir-SEG", {"masks/77.png": mask_png(), "notes.json": b"{}"})
    manifest = build(tmp_path)
    assert len(manifest) == 3
    assert manifest.skipped["id"].to_pylist() == ["kvasir-seg/images/0.png"]  # told in a row
    assert left(manifest) == {
        "masks without an image": ("kvasir-seg/masks/77.png",),
        "images in places passed over": ("Strange (8)",),
    }
    alone = scan_set(tmp_path / "Kvasir-SEG", "kvasir-seg")
    assert told(alone).images == 4
    assert alone.left_out == scan(tmp_path / "Kvasir-SEG", "kvasir-seg", workers=1).left_out


# --- WebDataset ------------------------------------------------------------------------------


def shard(root: Path, files: Files, name: str = "0.tar") -> Manifest:
    write(root, {name: tarred(files)})
    return scan(root)


SHARDS: dict[str, tuple[Files, dict[str, Any], dict[str, str]]] = {
    # members, and of what is found: rows (mask, label, group), reasons of skipped rows
    "dots in the name": (
        {f"case{c}.000{n}.png": png(10 * c + n) for c in (1, 2) for n in (1, 2)},
        {f"case{c}.000{n}.png": (None, None, f"case{c}") for c in (1, 2) for n in (1, 2)},
        {},
    ),
    "dots, each with mask and label": (
        {f"d/c.{n}.{end}": data for n in (1, 2) for end, data in
         (("jpg", png(n)), ("seg.png", mask_png()), ("cls", b"polyp"), ("json", b"{}"))},
        {f"d/c.{n}.jpg": (f"d/c.{n}.seg.png", "polyp", "d/c") for n in (1, 2)},
        {},
    ),
    "one image of a key under a name of its own": (
        {"a.rgb.png": png(1), "a.seg.png": mask_png(), "a.cls": b"x", "b.0001.png": png(2),
         "b.0001.cls": b"y"},
        {"a.rgb.png": ("a.seg.png", "x", ""), "b.0001.png": (None, "y", "")},
        {},
    ),
    "a label for all images of a key": (
        {"a.1.png": png(1), "a.2.png": png(2), "a.cls": b"x", "a.2.txt": b"own"},
        {"a.1.png": (None, "x", "a"), "a.2.png": (None, "own", "a")},
        {},
    ),
    "two images of a key": (
        {"a.jpg": png(1), "a.png": png(2), "a.depth.png": png(3), "a.mask.png": mask_png()},
        {"a.jpg": ("a.mask.png", None, "")},
        {"a.png": "second image of its key", "a.depth.png": "second image of its key"},
    ),
    "numbered images beside the key's own": (
        {"a.png": png(1), "a.seg.png": mask_png(), "a.0001.png": png(2), "a.7.png": png(3),
         "2.png": png(4), "2.x.png": png(5)},
        {"a.png": ("a.seg.png", None, "a"), "a.0001.png": (None, None, "a"),
         "a.7.png": (None, None, "a"), "2.png": (None, None, "")},
        {"2.x.png": "second image of its key"},
    ),
    "images of a name with dots in two kinds": (
        {"a.1.jpg": png(1), "a.1.png": png(2)},
        {"a.1.jpg": (None, None, "")},
        {"a.1.png": "second image of its key"},
    ),
    "masks too many or alone": (
        {"a.png": png(1), "a.mask.png": mask_png(), "a.seg.png": mask_png(),
         "b.seg.png": mask_png(), "c.1.png": png(2), "c.2.png": png(3), "c.seg.png": mask_png()},
        {"a.png": ("a.mask.png", None, ""), "c.1.png": (None, None, "c"),
         "c.2.png": (None, None, "c")},
        {"a.seg.png": "second mask of its key", "b.seg.png": "mask without an image",
         "c.seg.png": "second mask of its key"},
    ),
    "keys without an image": (
        {"a.png": png(1), "b.cls": b"x", "b.json": b"{}", "c.mp4": b"", "README": b""},
        {"a.png": (None, None, "")},
        {"b.cls": "no image of this key", "c.mp4": "no image of this key",
         "README": "no image of this key"},
    ),
    "suffixes in capitals": (
        {"A.PNG": png(1), "A.SEG.PNG": mask_png(), "A.CLS": b"x", "B.Mask": mask_png(),
         "B.JPG": png(2)},
        {"A.PNG": ("A.SEG.PNG", "x", ""), "B.JPG": ("B.Mask", None, "")},
        {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", list(SHARDS))
def test_samples_of_shards(tmp_path: Path, case: str) -> None:
    files, rows, skipped = SHARDS[case]
    manifest = shard(tmp_path, files)
    prefix = "0.tar::"
    found = {
        row["id"].removeprefix(prefix): (row["mask"] and row["mask"].removeprefix(prefix),
                                         row["label"], row["group"])
        for row in manifest.ok.table.to_pylist()
    }  # fmt: skip
    assert found == rows
    assert {i.removeprefix(prefix): why for i, why in reasons(manifest).items()} == skipped
    assert told(manifest).files == len(files)


def test_frames_of_a_key_are_numbered_and_stay_in_one_split(tmp_path: Path) -> None:
    files = {f"v{v}.{n:04d}.png": png(10 * v + n, 16, 16) for v in range(8) for n in range(3)}
    manifest = shard(tmp_path, files)
    assert manifest.column("frame") == [0, 1, 2] * 8
    assert len(set(zip(manifest.column("group"), manifest.column("split"), strict=True))) == 8
    assert set(manifest.column("split")) == {"train", "val", "test"}


def test_frames_of_a_key_stay_together_over_shards(tmp_path: Path) -> None:
    for n in range(4):  # one frame of each case in each shard, and a name of its own
        files = {f"v{v}.{n:04d}.png": png(10 * v + n, 16, 16) for v in range(6)}
        write(tmp_path, {f"{n}.tar": tarred(files | {f"w.{n}.png": png(90 + n, 16, 16)} if n == 0
                                            else files)})  # fmt: skip
    manifest = scan(tmp_path)
    cases = set(zip(manifest.column("group"), manifest.column("split"), strict=True))
    assert {group for group, _ in cases} == {"", *(f"v{v}" for v in range(6))}
    assert len(cases) == 7
    assert set(manifest.column("split")) == {"train", "val", "test"}


def test_what_is_odd_about_shards_is_told(tmp_path: Path) -> None:
    files = {"a.png": png(1), "a.txt": b"long " * 100, "b.png": png(2), "b.json": b"{}"}
    write(tmp_path, {"1.tar": tarred({"a.png": png(3)}), "2.tar.gz": b"", "._3.tar": b"",
                     "more/4.tar": tarred({"x.png": png(4)})})  # fmt: skip
    manifest = shard(tmp_path, files)
    assert len(manifest) == 3
    assert noticed(manifest) == {
        "keys in several shards": ("a",),
        "texts of more than 200 characters, not read as labels": ("0.tar::a.txt",),
    }
    assert left(manifest) == {
        "hidden files": ("._3.tar",),
        "packed files, to be unpacked first": ("2.tar.gz",),
        "images in places passed over": ("more",),
        ".json files": ("0.tar::b.json",),
        ".txt files": ("0.tar::a.txt",),
    }


def test_folders_of_tars_named_after_splits(tmp_path: Path) -> None:
    for number, folder in enumerate(("train", "Validation", "test")):
        write(tmp_path, {f"{folder}/0.tar": tarred({f"{n}.png": png(9 * number + n)
                                                    for n in range(2)})})  # fmt: skip
    manifest = scan(tmp_path)
    splits = {i.split("/")[0]: s for i, s in zip(manifest.ids, manifest.column("split"),
                                                 strict=True)}  # fmt: skip
    assert splits == {"train": "train", "Validation": "val", "test": "test"}
    assert len(manifest) == 6


@pytest.mark.parametrize("name", ["0.tar.gz", "0.tgz"])
def test_packed_tars_alone_are_named(tmp_path: Path, name: str) -> None:
    write(tmp_path, {name: b""})
    for read in (scan, build):
        with pytest.raises(FileNotFoundError, match=rf"{name}.*: unpack first"):
            read(tmp_path)


# --- names in archives -----------------------------------------------------------------------

NAMES = ["füße", "één", "日本", "naïve", "plain"]


class RawInfo(zipfile.ZipInfo):
    """A member whose name is written as the bytes given, without the mark that it is UTF-8."""

    raw: bytes

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 - zipfile's own name
        return self.raw, self.flag_bits & ~0x800


def raw_zip(files: Mapping[bytes, bytes], extra: Mapping[bytes, bytes] | None = None) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for n, (name, data) in enumerate(files.items()):
            info = RawInfo(str(n))
            info.raw, info.extra = name, (extra or {}).get(name, b"")
            archive.writestr(info, data)
    return buffer.getvalue()


def unicode_path(raw: bytes, name: str, crc: int | None = None) -> bytes:
    data = struct.pack("<BI", 1, zlib.crc32(raw) if crc is None else crc) + name.encode()
    return struct.pack("<HH", 0x7075, len(data)) + data


def utf_8(files: Files, form: str = "NFD") -> bytes:
    """A zip as a Mac writes it: decomposed names in UTF-8, without the mark."""
    return raw_zip({unicodedata.normalize(form, n).encode(): d for n, d in files.items()})


def old_names(files: Files) -> bytes:
    """A zip with names in an old code page, and the right ones in Info-ZIP's field."""
    raw = {name: name.encode("cp437", "replace") for name in files}
    raw = {name: data if data.count(b"?") == 0 else f"_{n}.png".encode()
           for n, (name, data) in enumerate(raw.items())}  # fmt: skip
    extra = {raw[name]: struct.pack("<HHI", 1, 4, 0) + unicode_path(raw[name], name)
             for name in files}  # fmt: skip
    return raw_zip({raw[name]: data for name, data in files.items()}, extra)


def tar_of(kind: int) -> Callable[[Files], bytes]:
    def pack(files: Files) -> bytes:
        buffer = BytesIO()
        encoding = "utf-8"
        with tarfile.open(fileobj=buffer, mode="w", format=kind, encoding=encoding) as archive:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, BytesIO(data))
        return buffer.getvalue()

    return pack


PACKERS: dict[str, tuple[str, Callable[[Files], bytes]]] = {
    "zip with the mark": ("zip", zipped),
    "zip of a Mac": ("zip", utf_8),
    "zip without the mark": ("zip", lambda files: utf_8(files, "NFC")),
    "zip with Info-ZIP's field": ("zip", old_names),
    "zip in a zip": ("zip", lambda files: utf_8({"größe.zip": utf_8(files)})),
    "pax tar": ("tar", tar_of(tarfile.PAX_FORMAT)),
    "GNU tar": ("tar", tar_of(tarfile.GNU_FORMAT)),
}


@pytest.mark.parametrize("packer", list(PACKERS))
@pytest.mark.parametrize("packed", ["images", "masks"])
def test_masks_are_found_whatever_wrote_the_names(tmp_path: Path, packer: str, packed: str) -> None:
    suffix, pack = PACKERS[packer]
    for part in ("images", "masks"):
        files = {f"{name}.png": png(n) if part == "images" else mask_png()
                 for n, name in enumerate(NAMES)}  # fmt: skip
        if part == packed:
            write(tmp_path, {f"{part}.{suffix}": pack(files)})
        else:
            below = "größe/" if packer == "zip in a zip" else ""
            write(tmp_path / part, {f"{below}{name}": data for name, data in files.items()})
    manifest = scan_folder(tmp_path, require_masks=True)
    stems = [unicodedata.normalize("NFC", stem_of(path)) for path in manifest.image_paths()]
    assert sorted(stems) == sorted(NAMES)
    assert told(manifest).left == ()
    assert len(frames(manifest, 8)[np.arange(5)]) == 5


def test_a_known_set_takes_the_names_of_a_mac(tmp_path: Path) -> None:
    files = {f"images/{n}.jpg": encoded(Image.fromarray(frame(i)), "JPEG")
             for i, n in enumerate(NAMES)}  # fmt: skip
    masks = {f"masks/{n}.jpg": encoded(Image.fromarray(frame(i)), "JPEG")
             for i, n in enumerate(NAMES)}  # fmt: skip
    write(tmp_path / "Kvasir-SEG", files)
    write(tmp_path / "Kvasir-SEG", {"more.zip": utf_8(masks)})
    assert len(scan_set(tmp_path / "Kvasir-SEG", "kvasir-seg").with_masks()) == 5


def test_names_of_old_tools(tmp_path: Path) -> None:
    right, wrong = b"\x81.png", b"\x84.png"  # ü and ä in code page 437
    field = {wrong: unicode_path(wrong, "other.png", crc=1), right: unicode_path(b"", "x.png")}
    for extra in ({}, field):
        (tmp_path / "x.zip").write_bytes(raw_zip({right: png(1), wrong: png(2)}, extra))
        assert open_archive(tmp_path / "x.zip").names == ["ü.png", "ä.png"]
    damaged = unicode_path(right, "x")[:-1] + b"\xff"
    for extra in (damaged, b"\x75"):
        (tmp_path / "x.zip").write_bytes(raw_zip({right: png(1)}, {right: extra}))
        assert open_archive(tmp_path / "x.zip").names == ["ü.png"]
    old = tarred({"u.png": png(1)}).replace(b"u.png\0", b"\xfc.png\0", 1)
    fixed = bytearray(old)
    fixed[148:156] = b" " * 8
    fixed[148:156] = b"%06o\0 " % sum(fixed[:512])
    (tmp_path / "x.tar").write_bytes(bytes(fixed))
    assert open_archive(tmp_path / "x.tar").names == ["ü.png"]


@pytest.mark.parametrize(
    "name", ["../up.png", "/abs.png", "a::b.png", "c:\\x.png", "a/../../b.png"]
)
def test_guards_hold_for_names_as_they_are_decoded(tmp_path: Path, name: str) -> None:
    raw = b"harmless.png"
    write(tmp_path, {"m.zip": raw_zip({raw: png(1)}, {raw: unicode_path(raw, name)})})
    archive = open_archive(tmp_path / "m.zip")
    assert archive.names == []
    ((refused, why),) = archive.refused.items()
    assert refused == name.replace("\\", "/")
    assert why.startswith("refused: ")
    with pytest.raises(ImageError, match="refused"):
        archive.read(refused)
    twice = raw_zip({raw: png(1), b"b.png": png(2)}, {raw: unicode_path(raw, "b.png")})
    write(tmp_path, {"t.zip": twice})
    assert open_archive(tmp_path / "t.zip").refused == {"b.png": "two members have this name"}


# --- told, kept, shown -----------------------------------------------------------------------


def test_the_account_travels_with_the_manifest(tmp_path: Path) -> None:
    write(tmp_path / "a", pairs(3) | {f"n{n}.txt": b"" for n in range(7)})
    write(tmp_path / "b", pairs(2) | {"c.txt": b""})
    first, second = scan_folder(tmp_path / "a"), scan_folder(tmp_path / "b")
    first.save(tmp_path / "m.parquet")
    assert Manifest.load(tmp_path / "m.parquet").left_out == first.left_out
    joint = Manifest.concat([first, second], "ab")
    names = tuple(f"a/n{n}.txt" for n in range(5))
    assert joint.left_out == LeftOut(18, 5, 5, 0, (Tally(".txt files", 8, names, True),))
    assert str(joint.left_out.left[0]) == f".txt files: 8 ({', '.join(names)}, ...)"
    assert first.split("train").left_out is None  # a part has no account of its own


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"left": [], "noticed": 3}', '{"left": [{"what": 1}], "noticed": []}',
     '{"left": [], "noticed": [], "files": -1}', '{"left": [], "noticed": [], "files": true}',
     '{"left": [], "noticed": [], "more": 1}', "[" * 100_000],
)  # fmt: skip
def test_an_account_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="what was left out is not understood"):
        LeftOut.parse(text)


def test_reasons_are_counted_by_kind() -> None:
    rows = [("a", "tiny: 3x4"), ("b", "tiny: 5x6"),
            ("c", "mask: lies across the image, 3x4 on 4x3"), ("d", "mask: broken: x"),
            ("e", "not an image")]  # fmt: skip
    assert list(map(str, skipped_tallies(rows))) == [
        "tiny: 2 (a, b)", "mask: lies across the image: 1 (c)", "mask: broken: 1 (d)",
        "not an image: 1 (e)",
    ]  # fmt: skip


def test_commands_end_with_the_table(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    typer = pytest.importorskip("typer.testing")
    from meddel_fast.cli import app

    files = pairs(3) | {"other/1.png": png(9), "images/\x1b[2J.txt": b"", "images/t.png": png(1, 9)}
    write(tmp_path / "set", files)
    target = tmp_path / "m.parquet"
    run = typer.CliRunner().invoke
    built = run(app, ["data", "build", str(tmp_path / "set"), "--out", str(target)])
    assert built.exit_code == 0, built.output
    wanted = [
        f"{target}: 3 images (test 1, train 1, val 1); 1 skipped: tiny 1",
        "  3 masks: lesion above 127.5 (0, 255)",
        "  skipped: tiny: 1 (images/t.png)",
        "files: 9 (images 4, masks 3, tables 0, left out 2)",
        "  left out: images in places passed over: 1 (other)",
        "  left out: .txt files: 1 (images/\\x1b[2J.txt)",
    ]
    notes = Manifest.load(target).notes
    assert notes
    wanted[1:1] = [f"  {note}" for note in notes]
    assert built.stdout.splitlines()[-len(wanted) :] == wanted
    shown = run(app, ["data", "show", str(target)])
    assert shown.stdout.splitlines() == wanted
    for command in (["show", str(target)], ["build", str(tmp_path / "set"), "--out", str(target)]):
        as_json = json.loads(run(app, ["data", *command, "--json"]).stdout)
        assert as_json["images"] == 3
        assert as_json["skipped"][0]["first"] == ["images/t.png"]
        assert [tally["count"] for tally in as_json["left_out"]["left"]] == [1, 1]
    old = Manifest.load(target).ok
    old.split("train").save(target)
    assert "what the scan left out is not known" in run(app, ["data", "show", str(target)]).stdout


# --- files that change after the manifest was made ---------------------------------------------


def replaced(path: Path, data: bytes) -> None:
    """Put other content in a file's place, with its size and times as far as they go."""
    before = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_replaced_files_are_named_before_anything_is_made_of_them(tmp_path: Path) -> None:
    bmp = [encoded(Image.fromarray(frame(n)), "BMP") for n in range(9)]
    masks = [encoded(Image.fromarray(frame(n)).convert("L").convert("1"), "BMP") for n in range(9)]
    files = {f"images/{n}.bmp": bmp[n] for n in range(5)}
    files |= {f"masks/{n}.bmp": masks[n] for n in range(5)}
    manifest = scan_folder(write(tmp_path, files))
    for n in (1, 3):
        replaced(tmp_path / f"images/{n}.bmp", bmp[n + 5])
    wanted = r"images/1\.bmp: is not the file .* \(as were 2 of 5 read together\)"
    with pytest.raises(ImageError, match=wanted):
        frames(manifest, 16)[np.arange(5)]
    assert len(frames(manifest, 16)[np.array([0, 2, 4])]) == 3  # the others are as they were
    assert len(frames(manifest, 16, masks=True)[np.arange(5)]) == 5
    replaced(tmp_path / "images/1.bmp", bmp[1])
    replaced(tmp_path / "images/3.bmp", bmp[3])
    assert len(frames(manifest, 16)[np.arange(5)]) == 5
    replaced(tmp_path / "masks/0.bmp", masks[8])
    with pytest.raises(ImageError, match=r"masks/0\.bmp: is not the file"):
        frames(manifest, 17, masks=True)[np.array([0])]


def test_members_pages_and_unions_have_the_hash_of_the_manifest(tmp_path: Path) -> None:
    pages = [Image.fromarray(frame(n)) for n in range(3)]
    inside = {"c.png": png(3), "d.zip": zipped({"e.png": png(4)})}
    stack = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    files = {"images/a.png": png(1), "images/z.zip": zipped({"b.png": png(2)}),
             "images/t.tar": tarred(inside), "images/s.tif": stack}  # fmt: skip
    manifest = scan_folder(write(tmp_path / "set", files))
    assert len(manifest) == 7
    made = RELEASES["edd2020"]()
    write(tmp_path, made.files)
    union = build(tmp_path, ["edd2020"])
    assert any("||" in path for path in union.column("mask"))
    for each in (manifest, union):
        assert [content(path) for path in each.image_paths()] == each.column("sha256")
        masks = [path and content(path) for path in each.mask_paths()]
        assert masks == each.column("mask_sha256")
    replaced(tmp_path / "set/images/z.zip", zipped({"b.png": png(7)}))
    with pytest.raises(ImageError, match=r"z\.zip::b\.png: is not the file .* 1 of 7 read"):
        frames(manifest, 16)[np.arange(7)]
