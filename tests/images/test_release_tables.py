"""What tables, numbers and bundles of the releases tell: classes, sequences, splits, copies."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("PIL.Image")
pytest.importorskip("pyarrow")

from containers import zipped
from disks import counts, found, tree
from made_release import Release, pairs
from releases import RELEASES, pranet_test, pranet_train

from meddel_fast.images.datadel.entries.cvc import CLINICDB_STARTS
from meddel_fast.images.datadel.registry import collections, known_set
from meddel_fast.images.readers.frame_numbers import Numbered
from meddel_fast.images.scan.build import build, looks_plain
from meddel_fast.images.scan.datadel_set import scan_set
from meddel_fast.images.scan.registry_check import check, unclaimed

# --- tables --------------------------------------------------------------------------------------


def test_a_file_in_the_folders_of_two_findings_has_the_rows_of_each(tmp_path: Path) -> None:
    made = RELEASES["kvasir-capsule osf"]()
    top = "Kvasir-Capsule/labelled_images"
    made.files[f"{top}/Erosion/v1_1.jpg"] = made.files[f"{top}/Polyp/v1_1.jpg"]
    made.files["Kvasir-Capsule/metadata.csv"] += b"\nv1_1.jpg;v1;10;Erosion;3;3;6;3;6;8;3;8"
    made.write(tmp_path)
    manifest = scan_set(tmp_path / "Kvasir-Capsule", "kvasir-capsule")
    rows = {row["id"]: row for row in manifest.table.to_pylist()}
    polyp, erosion = (rows[f"labelled_images/{c}/v1_1.jpg"] for c in ("Polyp", "Erosion"))
    assert (polyp["label"], polyp["boxes"]) == ("Polyp", "[[1, 2, 20, 22], [5, 3, 9, 8]]")
    assert (erosion["label"], erosion["boxes"]) == ("Erosion", "[[3, 3, 6, 8]]")
    assert polyp["split"] == erosion["split"]  # one video


def test_a_finding_within_a_stretch_of_mucosa_keeps_its_folders_class(tmp_path: Path) -> None:
    made = RELEASES["kvasir-capsule"]()
    line = b"\nv1_1.jpg;v1;10;Normal clean mucosa;;;;;;;"  # one column short, as in the release
    made.files["Kvasir-Capsule/metadata.csv"] += line
    made.write(tmp_path)
    rows = scan_set(tmp_path / "Kvasir-Capsule", "kvasir-capsule").table.to_pylist()
    (row,) = [row for row in rows if row["id"].endswith("v1_1.jpg")]
    assert (row["label"], row["boxes"]) == ("Polyp", "[[1, 2, 20, 22]]")


def test_video_and_frame_come_from_the_name_without_a_table(tmp_path: Path) -> None:
    made = RELEASES["kvasir-capsule"]()
    del made.files["Kvasir-Capsule/metadata.csv"]
    made.write(tmp_path)
    rows = scan_set(tmp_path / "Kvasir-Capsule", "kvasir-capsule").table.to_pylist()
    assert [(row["group"], row["frame"]) for row in rows] == [("v0", 0), ("v2", 2), ("v1", 1)]
    assert {row["boxes"] for row in rows} == {None}


def test_lists_that_put_one_image_in_two_splits_are_refused(tmp_path: Path) -> None:
    made = RELEASES["kvasir-instrument"]()
    made.files["kvasir-instrument/test.txt"] = b"3\n4"
    made.write(tmp_path)
    with pytest.raises(ValueError, match="'3' is listed for train as well as for test"):
        scan_set(tmp_path / "kvasir-instrument", "kvasir-instrument")


def test_lists_higher_up_that_name_none_of_the_images_are_of_something_else(tmp_path: Path) -> None:
    pairs("archive/Kvasir-SEG/Kvasir-SEG").write(tmp_path)
    (tmp_path / "archive" / "train.txt").write_text("epoch 1\nepoch 2\n")
    (tmp_path / "archive" / "val.txt").write_text("loss\n")
    samples = known_set("kvasir-seg").parts[0].find(tree(tmp_path / "archive"))
    assert [(sample.split, sample.reason) for sample in samples] == [("", "")] * 4


def test_images_without_a_mask_are_rows_that_say_so(tmp_path: Path) -> None:
    made = pairs("Kvasir-SEG")
    del made.files["Kvasir-SEG/masks/1.png"]
    made.write(tmp_path)
    skipped = build(tmp_path).skipped.to_pylist()
    assert [(row["id"], row["reason"]) for row in skipped] == [
        ("kvasir-seg/images/1.png", "no mask")
    ]
    (part,) = found(tmp_path)["kvasir-seg"].parts
    assert (part.found, part.unfit, part.absent) == (3, 1, 0)
    assert part.examples == ("Kvasir-SEG/images/1.png: no mask",)


def test_a_mask_without_the_sign_is_not_taken_from_the_image_that_has_its_name(
    tmp_path: Path,
) -> None:
    made = RELEASES["polypgen release on other disks"]()
    folder = "PolypGen2021_MultiCenterData_v3/data_C3/images_C3"
    made.image(f"{folder}/C3_EndoCV2021_00489.jpg", "single frames")
    made.write(tmp_path)
    manifest = build(tmp_path)
    assert [row["reason"] for row in manifest.skipped.to_pylist()] == ["no mask"]
    assert manifest.skipped["id"].to_pylist()[0].endswith("00489_.jpg")


# --- sequences and splits by number --------------------------------------------------------------


def test_the_published_sequences_of_clinicdb() -> None:
    numbers = Numbered(612, CLINICDB_STARTS)
    told = Counter(numbers.sequence(str(n)) for n in range(1, 613))
    sizes = [25, 25, 17, 11, 25, 23, 25, 26, 22, 6, 22, 25, 25, 20, 20, 25, 21, 20, 25, 20, 19, 19,
             12, 25, 25, 18, 25, 20, 21]  # fmt: skip
    assert [told[str(n)] for n in range(1, 30)] == sizes
    assert numbers.fits(["1", "612", "cju0"])
    for stems in (["0", "1"], ["613"], ["cju0"]):
        assert not numbers.fits(stems)


def test_real_frames_have_the_sequences_of_their_numbers(real_data: Path) -> None:
    import csv

    with (real_data / "manifest.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["sequence"]]
    numbers = Numbered(612, CLINICDB_STARTS)
    assert len(rows) == 612
    assert all(numbers.sequence(Path(row["file"]).stem) == row["sequence"] for row in rows)
    manifest = scan_set(real_data / "cvc_clinicdb", "cvc-clinicdb")
    splits: dict[str, set[str]] = {}
    for group, split in zip(manifest.column("group"), manifest.column("split"), strict=True):
        splits.setdefault(str(group), set()).add(str(split))
    assert len(splits) == 29
    assert all(len(each) == 1 for each in splits.values())


def test_endoscenes_splits_keep_sequences_whole() -> None:
    (layout,) = [e for e in known_set("cvc-clinicdb").parts[0].layouts if e.images == "bbdd"]
    (numbers,) = layout.numbers
    of = {n: (numbers.sequence(str(n)), numbers.split(str(n))) for n in range(1, 613)}
    assert len(set(of.values())) == 29
    assert Counter(split for _, split in set(of.values())) == {"train": 18, "val": 6, "test": 5}
    assert Counter(numbers.split(str(n)) for n in of) == {"train": 367, "val": 123, "test": 122}


def test_endoscenes_split_of_cvc_300_tests_on_pranets_60() -> None:
    layout = known_set("cvc-300").parts[0].layouts[1]
    (numbers,) = layout.numbers
    told = {n: numbers.split(str(n)) for n in range(1, 301)}
    assert Counter(told.values()) == {"train": 180, "val": 60, "test": 60}
    assert [n for n in told if told[n] == "test"] == list(range(149, 209))


def test_sixty_frames_counted_anew_are_no_part_of_endoscenes_split(tmp_path: Path) -> None:
    RELEASES["cvc-300 tested"]().write(tmp_path / "a")
    assert set(build(tmp_path / "a").column("split")) == {"test"}
    made = Release()
    for n in range(1, 5):
        made.image(f"CVC-300/images/{n}.png", mask=f"CVC-300/masks/{n}.png")
    made.write(tmp_path / "b")
    samples = known_set("cvc-300").parts[0].find(tree(tmp_path / "b" / "CVC-300"))
    assert [sample.split for sample in samples] == [""] * 4


# --- PraNet --------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
def test_pranets_bundle_is_one_set_from_any_of_its_folders(tmp_path: Path, packed: bool) -> None:
    train, test = pranet_train(), pranet_test()
    if packed:
        for name, made in (("TrainDataset", train), ("TestDataset", test)):
            (tmp_path / f"{name}.zip").write_bytes(zipped(made.files))
    else:
        train.write(tmp_path)
        test.write(tmp_path)
    reports = found(tmp_path)
    assert list(reports) == ["pranet"]
    assert counts(reports["pranet"]) == {**train.parts, **test.parts}
    manifest = build(tmp_path)
    assert Counter(manifest.column("split")) == {"train": 4, "test": 10}
    assert len(manifest.with_masks()) == 14
    if packed:
        return
    for folder, made, other in (
        ("TrainDataset", train, "TestDataset"), ("TestDataset", test, "TrainDataset")
    ):  # fmt: skip
        root = tmp_path / folder
        assert not looks_plain(root)
        (report,) = found(root).values()
        assert counts(report) == made.parts
        assert report.notes == (f"{other}: not here, which is a download of its own",)
        assert {part.name for part in report.parts} == set(made.parts)
        assert set(build(root).column("split")) == {"train" if made is train else "test"}
        assert unclaimed(root, check(root, quick=True)) == []


def test_a_set_of_pranets_that_is_not_there_is_missing(tmp_path: Path) -> None:
    made = pranet_test()
    left = {path: data for path, data in made.files.items() if "/Kvasir/" not in path}
    Release(left).write(tmp_path)
    report = found(tmp_path)["pranet"]
    assert {part.name: part.status for part in report.parts}["Kvasir"] == "missing"


def test_pranets_counts_are_those_of_its_readme() -> None:
    assert list(collections()) == ["pranet"]
    parts = {part.name: part.images for part in known_set("pranet").parts}
    assert parts == {
        "training": 1_450, "CVC-300": 60, "CVC-ClinicDB": 62, "CVC-ColonDB": 380,
        "ETIS-LaribPolypDB": 196, "Kvasir": 100,
    }  # fmt: skip


def test_a_set_in_pranets_bundle_is_read_alone_when_asked_for(tmp_path: Path) -> None:
    pranet_test().write(tmp_path)
    assert counts(found(tmp_path / "TestDataset", "cvc-300")["cvc-300"]) == {"images": 2}
    assert set(build(tmp_path / "TestDataset", ["cvc-300"]).column("split")) == {"test"}
    assert counts(found(tmp_path / "TestDataset", "kvasir-seg")["kvasir-seg"]) == {"images": 3}


def test_a_folder_of_that_name_without_pranets_layout_hides_nothing(tmp_path: Path) -> None:
    pairs("TestDataset/somewhere/ETIS").write(tmp_path)
    assert found(tmp_path) == {}
    assert unclaimed(tmp_path, check(tmp_path, quick=True)) == ["TestDataset"]
