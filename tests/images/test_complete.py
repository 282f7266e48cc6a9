"""Nothing below a root vanishes: a file is a row, a row with a reason, or counted by name."""

from __future__ import annotations

import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL.Image")
pytest.importorskip("pyarrow")

from accounts import Files, left, noticed, pairs, reasons, told, write
from containers import mask_png, png, tarred, zipped
from releases import RELEASES

from meddel_fast.images.left_out import LeftOut
from meddel_fast.images.manifest import Manifest
from meddel_fast.images.scan.build import build, scan
from meddel_fast.images.scan.datadel_set import scan_set
from meddel_fast.images.scan.folder import scan_folder

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
