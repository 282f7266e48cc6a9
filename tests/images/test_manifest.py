"""The manifest: rows, splits, joins, and what it refuses."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from meddel_fast.images.manifest import SCHEMA, Manifest  # noqa: E402


def row(number: int, **changes: Any) -> dict[str, Any]:
    masked = number % 2 == 1
    values = {
        "id": f"images/{number}.jpg",
        "image": f"images/{number}.jpg",
        "mask": f"masks/{number}.png" if masked else None,
        "sha256": f"{number:064x}",
        "mask_sha256": f"{number + 100:064x}" if masked else None,
        "bytes": 1000 + number,
        "width": 64,
        "height": 48,
        "mode": "RGB",
        "split": ("train", "val", "test")[number % 3],
        "group": "" if number > 6 else str(number // 2),
        "frame": number,
        "status": "ok",
        "reason": "",
    }
    return values | changes


@pytest.fixture
def manifest() -> Manifest:
    rows = [row(n) for n in range(9, -1, -1)]
    rows[5] = row(4, status="skipped", reason="truncated", split="")
    return Manifest.from_rows("set", "/data/set", rows)


def test_rows_are_sorted_and_the_unusable_ones_set_aside(manifest: Manifest) -> None:
    assert manifest.table["id"].to_pylist() == [f"images/{n}.jpg" for n in range(10)]
    assert len(manifest) == 9
    assert "images/4.jpg" not in manifest.ids
    assert len(manifest.image_paths()) == len(manifest.mask_paths()) == len(manifest.ids) == 9
    assert manifest.image_paths()[0] == Path("/data/set/images/0.jpg")
    assert manifest.mask_paths()[:2] == [None, Path("/data/set/masks/1.png")]
    assert manifest.skipped["reason"].to_pylist() == ["truncated"]
    assert manifest.ok.table.num_rows == 9
    assert manifest.ok.ok is manifest.ok


def test_splits_and_masks(manifest: Manifest) -> None:
    assert manifest.split("train").ids == [f"images/{n}.jpg" for n in (0, 3, 6, 9)]
    both = manifest.splits(["val", "test"])
    assert both.ids == [f"images/{n}.jpg" for n in (1, 2, 5, 7, 8)]
    assert both.with_masks().column("frame") == [1, 5, 7]
    with pytest.raises(ValueError, match=r"wanted some of \['train', 'val', 'test'\], got"):
        manifest.split("trian")
    with pytest.raises(ValueError, match="wanted one of"):
        manifest.column("colour")


def test_take_keeps_the_order_given(manifest: Manifest) -> None:
    assert manifest.take([4, 0, 2]).column("frame") == [5, 0, 2]
    assert manifest.take(np.array([8], np.int32)).column("frame") == [9]
    assert len(manifest.take([])) == 0
    for wrong, kind, message in (
        ([9], ValueError, r"wanted values in \[0, 9\), got 9"),
        ([-1], ValueError, "got -1"),
        ([1, 1], ValueError, "at most once"),
        ([0.5], TypeError, "wanted integers"),
        ([[0]], TypeError, r"\(1, 1\)"),
        ([True], TypeError, "bool"),
    ):
        with pytest.raises(kind, match=message):
            manifest.take(wrong)


def test_save_and_load(manifest: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "set.parquet"
    manifest.save(path)
    loaded = Manifest.load(path)
    assert loaded == manifest
    assert loaded.fingerprint == manifest.fingerprint
    metadata = pq.read_schema(path).metadata
    assert metadata[b"name"] == b"set"
    assert metadata[b"root"] == b"/data/set"
    assert pq.read_schema(path).remove_metadata() == SCHEMA


def test_load_refuses_what_is_no_manifest(manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no manifest at"):
        Manifest.load(tmp_path / "absent.parquet")
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(ValueError, match="not a Parquet file"):
        Manifest.load(tmp_path / "text.parquet")
    pq.write_table(manifest.table, tmp_path / "plain.parquet")
    with pytest.raises(ValueError, match="wanted a manifest of format 3, has None"):
        Manifest.load(tmp_path / "plain.parquet")
    manifest.save(tmp_path / "cut.parquet")
    data = (tmp_path / "cut.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="not a Parquet file"):
        Manifest.load(tmp_path / "cut.parquet")


def test_labels_and_boxes(tmp_path: Path) -> None:
    rows = [row(0, label="polyp", boxes="[[1, 2, 30, 40]]"), row(1, boxes="[]"), row(2)]
    told = Manifest.from_rows("set", "/data/set", rows)
    told.save(tmp_path / "set.parquet")
    loaded = Manifest.load(tmp_path / "set.parquet")
    assert loaded.column("label") == ["polyp", None, None]
    assert loaded.column("boxes") == ["[[1, 2, 30, 40]]", "[]", None]
    seen = {told.fingerprint}
    for change in ({"label": "ulcer"}, {"boxes": "[]"}, {"label": None}, {"boxes": None}):
        seen.add(Manifest.from_rows("set", "/x", [row(0, **{**rows[0], **change})]).fingerprint)
    assert len(seen) == 5


def test_formats_1_and_2_are_still_read(manifest: Manifest, tmp_path: Path) -> None:
    newer = manifest.table.drop_columns(["mask_meaning"])
    old = newer.drop_columns(["label", "boxes"])
    for version, table in (("2", newer), ("1", old), ("0", old)):
        metadata = {"name": "set", "root": "/data/set", "format": version}
        pq.write_table(table.replace_schema_metadata(metadata), tmp_path / f"{version}.parquet")
    assert Manifest.load(tmp_path / "2.parquet") == manifest
    assert Manifest.load(tmp_path / "1.parquet") == manifest
    # what this very table had for a fingerprint under formats 1 and 2
    digest = hashlib.sha256()
    for line in old.filter(pa.compute.equal(old["status"], "ok")).to_pylist():
        values = (line["id"], line["sha256"], line["split"], line["mask_sha256"])
        digest.update(repr(values).encode())
    assert manifest.fingerprint == digest.hexdigest()
    with pytest.raises(ValueError, match="wanted a manifest of format 3, has 0"):
        Manifest.load(tmp_path / "0.parquet")


def test_ids_are_unique_and_columns_present(manifest: Manifest) -> None:
    with pytest.raises(ValueError, match=r"has 'images/1\.jpg' twice"):
        Manifest.from_rows("set", "/x", [row(1), row(1)])
    with pytest.raises(ValueError, match=r"without \['mask'\]"):
        Manifest("set", Path("/x"), manifest.table.drop_columns(["mask"]))


def test_concat_keeps_paths_and_parts_groups(manifest: Manifest) -> None:
    other = Manifest.from_rows("a", "/data/more/a", [row(n) for n in range(3)])
    joint = Manifest.concat([manifest, other], "pool")
    assert joint.root == Path("/data")
    assert joint.ids == sorted([f"a/{i}" for i in other.ids] + [f"set/{i}" for i in manifest.ids])
    expected = other.image_paths() + manifest.image_paths()
    assert joint.image_paths() == expected
    assert joint.mask_paths() == other.mask_paths() + manifest.mask_paths()
    assert joint.column("group")[:3] == ["a/0", "a/0", "a/1"]
    assert joint.column("group")[-1] == ""
    assert joint.skipped.num_rows == 1
    single = Manifest.concat([other], "pool")
    assert single.image_paths() == other.image_paths()
    with pytest.raises(ValueError, match="different names"):
        Manifest.concat([other, other], "pool")
    with pytest.raises(ValueError, match="at least one"):
        Manifest.concat([], "pool")


def test_fingerprint_tells_content_from_place(manifest: Manifest) -> None:
    moved = dataclasses.replace(manifest, root=Path("/elsewhere"), name="other")
    assert moved.fingerprint == manifest.fingerprint
    assert manifest.ok.fingerprint == manifest.fingerprint
    seen = {manifest.fingerprint, manifest.take([1, 0]).fingerprint, manifest.take([0]).fingerprint}
    for change in (
        {"sha256": "f" * 64},
        {"split": "test"},
        {"mask_sha256": "e" * 64},
        {"id": "images/00.jpg"},
        {"status": "skipped"},
    ):
        rows = [row(n, **(change if n == 3 else {})) for n in range(10)]
        seen.add(Manifest.from_rows("set", "/data/set", rows).fingerprint)
    assert len(seen) == 8


def test_an_empty_manifest_works() -> None:
    empty = Manifest.from_rows("none", "/x", [])
    assert (len(empty), empty.ids, empty.split("train").image_paths()) == (0, [], [])
    assert empty.skipped.num_rows == 0
