"""Scanning folders: what is found, matched, skipped and refused."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("pyarrow")

from meddel_fast.images.load_images import load_image  # noqa: E402
from meddel_fast.images.load_masks import load_mask  # noqa: E402
from meddel_fast.images.scan.folder import scan_folder  # noqa: E402
from meddel_fast.images.splits import deal_splits, plain_stem  # noqa: E402

DATA = Path(os.environ.get("MEDDEL_DATA", Path(__file__).parents[2] / "../shared/data"))


def picture(path: Path, number: int = 0, size: tuple[int, int] = (40, 30), **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path, **options)


def mask(path: Path, size: tuple[int, int] = (40, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((size[1], size[0]), np.uint8)
    pixels[: size[1] // 2] = 255
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve images with masks, under names that trip the careless."""
    root = tmp_path / "a set"
    names = ["1.jpg", "10.jpg", "2.JPG", "with space.png", "ümläut.jpeg", "dot.ted.name.bmp"]
    names += [f"{n}.png" for n in range(20, 26)]
    for number, name in enumerate(names):
        picture(root / "images" / name, number)
        mask(root / "masks" / f"{plain_stem(name)}.png")
    return root


def reasons(manifest: Any) -> dict[str, str]:
    rows = manifest.skipped.to_pylist()
    return {row["id"].removeprefix("images/"): row["reason"] for row in rows}


def test_everything_is_found_and_matched(root: Path) -> None:
    calls: list[tuple[int, int]] = []
    manifest = scan_folder(root, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(n, 12) for n in range(1, 13)]
    assert len(manifest) == 12
    assert manifest.name == "a set"
    assert manifest.ids == sorted(f"images/{path.name}" for path in (root / "images").iterdir())
    for image, where, row in zip(
        manifest.image_paths(), manifest.mask_paths(), manifest.table.to_pylist(), strict=True
    ):
        assert where is not None
        assert plain_stem(where.name) == plain_stem(image.name)
        assert load_image(image, 8).shape == (8, 8, 3)
        assert load_mask(where, 8).mean() == 0.5
        assert row["sha256"] == hashlib.sha256(image.read_bytes()).hexdigest()
        assert row["mask_sha256"] == hashlib.sha256(where.read_bytes()).hexdigest()
        assert row["bytes"] == image.stat().st_size
        assert (row["width"], row["height"], row["mode"]) == (40, 30, "RGB")


def test_same_manifest_whatever_the_threads(root: Path) -> None:
    assert scan_folder(root, workers=1) == scan_folder(root, workers=7)


def test_bad_files_are_rows_with_a_reason(root: Path) -> None:
    images = root / "images"
    whole = (images / "1.jpg").read_bytes()
    (images / "empty.jpg").write_bytes(b"")
    (images / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (images / "page.jpg").write_text("<html>")
    picture(images / "tiny.png", 1, (15, 40))
    (images / "folder.png").mkdir()
    picture(images / "good.png")
    (root / "masks" / "good.png").write_bytes(b"")
    picture(images / "tall.png", 2)
    mask(root / "masks" / "tall.png", (30, 40))
    picture(images / "other.png", 3)
    mask(root / "masks" / "other.png", (17, 23))
    picture(images / "alone.png", 4)
    manifest = scan_folder(root)
    found = reasons(manifest)
    assert found.pop("cut.jpg").startswith("truncated")
    assert found == {
        "empty.jpg": "empty file",
        "page.jpg": "not an image",
        "tiny.png": "tiny: 15x40",
        "good.png": "mask: empty file",
        "tall.png": "mask: lies across the image, 30x40 on 40x30",
    }
    assert len(manifest) == 14
    by_id = dict(zip(manifest.ids, manifest.mask_paths(), strict=True))
    assert by_id["images/alone.png"] is None
    assert by_id["images/other.png"] is not None  # another size is squeezed to the same square
    assert reasons(scan_folder(root, require_masks=True))["alone.png"] == "no mask"
    assert "tiny.png" not in reasons(scan_folder(root, min_size=15))


def test_rotated_image_beside_its_unrotated_mask_is_noticed(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(root / "images" / "turned.jpg", 5, exif=exif)
    mask(root / "masks" / "turned.png")
    assert "lies across" in reasons(scan_folder(root))["turned.jpg"]
    mask(root / "masks" / "turned.png", (30, 40))
    manifest = scan_folder(root)
    row = next(r for r in manifest.ok.table.to_pylist() if r["id"] == "images/turned.jpg")
    assert (row["width"], row["height"]) == (30, 40)


def test_hidden_and_foreign_files_are_passed_over(root: Path) -> None:
    for name in (".DS_Store", "._1.jpg", "Thumbs.db", "notes.txt", ".tmp-x/1.jpg"):
        (root / "images" / name).parent.mkdir(exist_ok=True)
        (root / "images" / name).write_bytes(b"x")
    assert len(scan_folder(root)) == 12
    assert scan_folder(root).skipped.num_rows == 0


def test_links(root: Path, tmp_path: Path) -> None:
    picture(tmp_path / "private.png", 9)
    (root / "images" / "out.png").symlink_to(tmp_path / "private.png")
    (root / "images" / "dead.png").symlink_to(root / "images" / "gone.png")
    (root / "images" / "inside.png").symlink_to(root / "images" / "20.png")
    (root / "images" / "circle").symlink_to(root / "images")
    manifest = scan_folder(root)
    assert reasons(manifest) == {"out.png": "link out of the data set", "dead.png": "broken link"}
    assert "images/inside.png" in manifest.ids
    assert set(reasons(scan_folder(root, follow_links=True))) == {"dead.png"}


def test_images_may_be_a_link_to_elsewhere(root: Path, tmp_path: Path) -> None:
    (root / "images").rename(tmp_path / "store")
    (root / "images").symlink_to(tmp_path / "store")
    assert len(scan_folder(root)) == 12


def test_decomposed_names_match_composed_ones(root: Path) -> None:
    picture(root / "images" / "e\u0301tude.png", 3)
    mask(root / "masks" / "\u00e9tude.png")
    manifest = scan_folder(root, require_masks=True)
    assert len(manifest) == 13
    assert all(path.is_file() for path in manifest.image_paths())


def test_name_that_is_not_utf8(root: Path) -> None:
    raw = os.fsencode(root / "images") + b"/\xff\xfe.png"
    with open(raw, "wb") as file:  # noqa: PTH123
        file.write((root / "images" / "20.png").read_bytes())
    assert reasons(scan_folder(root)) == {r"\udcff\udcfe.png": "name is not UTF-8"}


def test_two_images_or_masks_with_one_stem(root: Path) -> None:
    picture(root / "images" / "1.png")
    with pytest.raises(ValueError, match=r"one image a stem in .*images, got 1\.jpg and 1\.png"):
        scan_folder(root)
    (root / "images" / "1.png").unlink()
    mask(root / "masks" / "20.bmp")
    with pytest.raises(ValueError, match=r"masks, got 20\.bmp and 20\.png"):
        scan_folder(root)


def test_folders_that_cannot_be_meant(root: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="root: no folder"):
        scan_folder(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=r"wanted a folder images in .*, it has a set"):
        scan_folder(tmp_path)
    (tmp_path / "e" / "images").mkdir(parents=True)
    with pytest.raises(ValueError, match="root: no image files in"):
        scan_folder(tmp_path / "e")
    picture(tmp_path / "e" / "images" / "x.png")
    with pytest.raises(FileNotFoundError, match="wanted a folder masks in"):
        scan_folder(tmp_path / "e", require_masks=True)
    mask(tmp_path / "e" / "masks" / "x_mask.png")
    with pytest.raises(ValueError, match=r"no mask fits.*like x, masks like x_mask"):
        scan_folder(tmp_path / "e")
    for path in (root / "images").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"none of the 12 images .* \(12 empty file\)"):
        scan_folder(root)
    for options in ({"min_size": 0}, {"workers": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(options))}: wanted at least 1"):
            scan_folder(root, **options)


def test_without_masks(root: Path) -> None:
    for path in (root / "masks").iterdir():
        path.unlink()
    (root / "masks").rmdir()
    assert scan_folder(root).mask_paths() == [None] * 12


def test_interrupt_stops_at_once(root: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan_folder(root, progress=interrupt)


# --- splits ----------------------------------------------------------------------------------


def write_splits(path: Path, lines: list[str]) -> Path:
    path.write_text("\ufeff" + "\r\n".join(lines) + "\r\n", encoding="utf-8")
    return path


def test_own_splits_file_by_bare_name(root: Path) -> None:
    names = sorted(path.name for path in (root / "images").iterdir())
    lines = ["File, Split ,sequence,frame"]
    lines += [f"{plain_stem(n)},{('Training', 'dev', 'test')[i % 3]},s{i // 4},{i}"
              for i, n in enumerate(names)]  # fmt: skip
    write_splits(root / "splits.csv", [*lines, "gone,train,s0,99", ",,,"])
    manifest = scan_folder(root)
    assert manifest.column("split") == ["train", "val", "test"] * 4
    assert manifest.column("group") == [f"s{i // 4}" for i in range(12)]
    assert manifest.column("frame") == list(range(12))
    assert reasons(manifest) == {"gone": "missing: listed in splits.csv"}


def test_splits_file_above_several_sets(root: Path) -> None:
    other = root.parent / "b"
    picture(other / "images" / "1.png")  # same stem as in the first set
    names = sorted(path.name for path in (root / "images").iterdir())
    lines = ["dataset,file,split"] + [f"a,a set/images/{name},train" for name in names[1:]]
    lines += ["b,b/images/1.png,test", r"a,a set\images\lost.png,train"]
    table = write_splits(root.parent / "all.csv", lines)
    manifest = scan_folder(root, splits=table)
    assert set(manifest.column("split")) == {"train"}
    assert reasons(manifest) == {
        names[0]: "not listed in all.csv",
        "lost": "missing: listed in all.csv",
    }
    assert scan_folder(other, splits=table).column("split") == ["test"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["file,label", "1,train"], "wanted columns file and split"),
        ([], "wanted columns file and split"),
        (["file,split", "1,trian"], r"wanted train, val or test in line 2 .*got 'trian'"),
        (["file,split,frame", "1,train,x"], r"whole number as frame in line 2 .*got 'x'"),
        (["file,split", "1,train", "1.jpg,test"], r"lines 2 and 3 of .* differ about 1\.jpg"),
        (["file,split", "nothing,train"], r"no image of .* is listed .*like 1\.jpg, 10\.jpg"),
    ],
)
def test_bad_splits_files(root: Path, lines: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scan_folder(root, splits=write_splits(root / "bad.csv", lines))


def test_absent_or_binary_splits_file(root: Path) -> None:
    with pytest.raises(FileNotFoundError, match="splits: no file"):
        scan_folder(root, splits=root / "absent.csv")
    (root / "bad.csv").write_bytes(b"file,split\n\xff\xfe\x00,train\n")
    with pytest.raises(ValueError, match="not a CSV file in UTF-8"):
        scan_folder(root, splits=root / "bad.csv")


def test_dealt_splits(root: Path) -> None:
    manifest = scan_folder(root)
    counts = Counter(manifest.column("split"))
    assert counts == {"train": 8, "val": 2, "test": 2}
    for number, path in enumerate(list((root / "images").glob("2?.png"))):
        (root / "images" / f"copy{number}.png").write_bytes(path.read_bytes())
    split = dict(zip(*(scan_folder(root).column(c) for c in ("sha256", "split")), strict=True))
    again = scan_folder(root)
    assert [split[s] for s in again.column("sha256")] == again.column("split")


def test_sub_folders_are_groups_that_stay_together(tmp_path: Path) -> None:
    for number in range(40):
        name = f"video {number // 4}/{number % 4}"
        picture(tmp_path / "images" / f"{name}.png", number, (16, 16))
        mask(tmp_path / "masks" / f"{name}.png", (16, 16))
    manifest = scan_folder(tmp_path, require_masks=True)
    assert len(manifest) == 40
    pairs = set(zip(manifest.column("group"), manifest.column("split"), strict=True))
    assert len(pairs) == 10
    assert Counter(split for _, split in pairs) == {"train": 8, "val": 1, "test": 1}


def test_dealing_by_hash() -> None:
    keys = [str(n) for n in range(1000)]
    dealt = deal_splits(keys)
    assert Counter(dealt) == {"train": 800, "val": 100, "test": 100}
    assert dict(zip(keys[::-1], deal_splits(keys[::-1]), strict=True)) == dict(
        zip(keys, dealt, strict=True)
    )
    assert sorted(deal_splits(["a", "b", "c"])) == ["test", "train", "val"]
    assert deal_splits(["a", "b"]) == ["train", "train"]
    assert deal_splits([]) == []
    assert dealt[:8] == deal_splits(keys)[:8]


# --- real frames -----------------------------------------------------------------------------


@pytest.mark.skipif(not (DATA / "manifest.csv").is_file(), reason="real frames are not here")
@pytest.mark.parametrize(
    ("name", "counts", "groups"),
    [
        ("kvasir_seg", {"train": 880, "val": 120}, 1),
        ("cvc_clinicdb", {"train": 396, "val": 96, "test": 120}, 29),
    ],
)
def test_real_frames(name: str, counts: dict[str, int], groups: int) -> None:
    manifest = scan_folder(DATA / name, splits=DATA / "manifest.csv", require_masks=True)
    assert manifest.skipped.num_rows == 0
    assert Counter(manifest.column("split")) == counts
    assert len(set(manifest.column("group"))) == groups
    areas = [load_mask(path, 64).mean() for path in manifest.mask_paths()[:50] if path]
    assert 0.01 < np.mean(areas) < 0.5
