"""Shards of WebDataset: every member is part of a sample, or counted by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PIL.Image")
pytest.importorskip("pyarrow")

from accounts import Files, left, noticed, reasons, told, write
from containers import mask_png, png, tarred

from meddel_fast.images.manifest import Manifest
from meddel_fast.images.scan.build import build, scan


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
