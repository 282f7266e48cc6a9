"""Archives that are left beside what was unpacked from them count once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("PIL.Image")
pytest.importorskip("pyarrow")

from containers import tarred, zipped
from disks import SEG, below, beside, counts, found
from made_release import Release, pairs
from releases import RELEASES

from meddel_fast.images.datadel.registry import known_set
from meddel_fast.images.scan.build import build
from meddel_fast.images.scan.datadel_set import scan_set
from meddel_fast.images.scan.registry_check import check, unclaimed


@pytest.mark.parametrize(
    ("key", "top", "archive", "inside"),
    [
        ("kvasir-seg", "Kvasir-SEG", "kvasir-seg.zip", SEG.files),
        ("kvasir-seg", "Kvasir-SEG", "Kvasir SEG.tar", SEG.files),
        ("kvasir-seg", "Kvasir-SEG", "kvasir-seg.zip", below(SEG, "Kvasir-SEG")),
        ("kvasir-seg", "kvasir-seg/Kvasir-SEG", "kvasir-seg.zip", SEG.files),
        ("kvasir-seg", "Kvasir-SEG", "Kvasir-SEG/kvasir-seg.zip", SEG.files),
        ("kvasir-seg", "Kvasir-SEG", "Kvasir-SEG/a/b/kvasir-seg.zip", SEG.files),
        ("kvasir-seg", "Kvasir-SEG", "Kvasir-SEG/all.zip", {"in.zip": zipped(SEG.files)}),
        ("kvasir-seg", "Kvasir-SEG", "Kvasir-SEG/images.zip", below(SEG, "Kvasir-SEG/images")),
        ("kvasir-seg", "Kvasir-SEG", "Kvasir-SEG/masks.tar", below(SEG, "Kvasir-SEG/masks")),
        ("kvasir-seg", "kvasir_seg", "kvasir-seg.zip",
         {p: d for p, d in SEG.files.items() if p[-5] != "3"}),  # unpacked, and added to
        ("kvasir-sessile", "sessile-main-Kvasir-SEG", "kvasir-sessile.zip",
         SEG.moved("sessile-main-Kvasir-SEG").files),
    ],
)  # fmt: skip
def test_an_archive_beside_what_it_was_unpacked_to_counts_once(
    tmp_path: Path, key: str, top: str, archive: str, inside: dict[str, bytes]
) -> None:
    beside(tmp_path, top, archive, inside)
    report = found(tmp_path)[key]
    assert counts(report) == {"images": 4}
    assert report.notes
    manifest = build(tmp_path)
    assert len(manifest) == len(manifest.with_masks()) == 4
    assert not any(".zip" in row or ".tar" in row for row in manifest.ids)
    (folder,) = known_set(key).locate(tmp_path)
    assert len(scan_set(folder, key)) == 4
    assert len(set(manifest.column("sha256"))) == 4


def test_archives_of_hyper_kvasir_beside_its_folder(tmp_path: Path) -> None:
    made = RELEASES["hyper-kvasir"]()
    for top in ("hyper-kvasir", ""):
        root = tmp_path / f"of {top}"
        made.moved(top).write(root)
        for part in ("labeled-images", "unlabeled-images", "segmented-images"):
            inside = below(made, f"hyper-kvasir/{part}")
            packed = zipped({f"{part}/{path}": data for path, data in inside.items()})
            (root / f"hyper-kvasir-{part}.zip").write_bytes(packed)
        assert counts(found(root)["hyper-kvasir"]) == made.parts
        assert len(build(root)) == len(made.facts)
        assert unclaimed(root, check(root, quick=True)) == []


def test_classes_in_archives_are_no_copies_of_each_other(tmp_path: Path) -> None:
    # one file in the folders of two findings, of which one is packed: two samples
    made = RELEASES["kvasir-capsule"]()
    data = made.files["Kvasir-Capsule/labelled_images/Polyp/v1_1.jpg"]
    made.write(tmp_path)
    packed = tarred({"v1_1.jpg": data})
    (tmp_path / "Kvasir-Capsule" / "labelled_images" / "Ulcer.tar").write_bytes(packed)
    assert counts(found(tmp_path)["kvasir-capsule"]) == {"labelled images": 4}


def others(make: Callable[[Release], dict[str, bytes]]) -> dict[str, bytes]:
    return make(pairs("Kvasir-SEG", "bmp", "bmp", 8))


@pytest.mark.parametrize(
    "inside",
    [
        # other names; the same names, sizes and places, but other pictures
        others(lambda made: {p: d for p, d in made.files.items() if p[-5] in "4567"}),
        others(lambda made: {
            p: made.files[f"{p[:-5]}{int(p[-5]) + 4}.bmp"] for p in made.files if p[-5] in "0123"
        }),
    ],
)  # fmt: skip
def test_an_archive_of_other_images_is_read_as_well(
    tmp_path: Path, inside: dict[str, bytes]
) -> None:
    pairs("Kvasir-SEG", "bmp", "bmp").write(tmp_path)
    (tmp_path / "kvasir-seg.zip").write_bytes(zipped(inside))
    report = found(tmp_path)["kvasir-seg"]
    assert counts(report) == {"images": 8}
    assert "different files" in report.notes[0]
    assert len(set(build(tmp_path).column("sha256"))) == 8


def test_what_was_unpacked_in_part_is_whole_with_its_archive(tmp_path: Path) -> None:
    some = {path: data for path, data in SEG.files.items() if not path.endswith("3.jpg")}
    Release(some).write(tmp_path)
    (tmp_path / "kvasir-seg.zip").write_bytes(zipped(SEG.files))
    assert counts(found(tmp_path)["kvasir-seg"]) == {"images": 4}
    assert len(build(tmp_path).with_masks()) == 4


def test_one_archive_downloaded_twice(tmp_path: Path) -> None:
    for name in ("CVC-300.zip", "CVC-300 (1).zip"):
        (tmp_path / name).write_bytes(zipped(pairs("CVC-300").files))
    (tmp_path / "CVC-300.tar").write_bytes(tarred(pairs("CVC-300").files))
    assert counts(found(tmp_path)["cvc-300"]) == {"images": 4}
    assert len(build(tmp_path)) == 4
