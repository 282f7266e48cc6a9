"""Splits and groups that a user or a release gives: obeyed, told where they leak, or refused."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL.Image")
pytest.importorskip("pyarrow")

import pyarrow.parquet as pq
from made_release import pairs
from releases import kvasir_instrument
from scenes import by_id, command, save, scene

from meddel_fast.benchmark.config import DataConfig
from meddel_fast.common.errors import ConfigError
from meddel_fast.images.manifest import Manifest
from meddel_fast.images.scan.build import build, scan
from meddel_fast.images.scan.datadel_set import scan_set
from meddel_fast.images.scan.folder import scan_folder
from meddel_fast.images.shared_images import equal_files
from meddel_fast.images.splits import Dealing

# --- groups and lists that a user gives ------------------------------------------------------


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Forty images that have nothing to do with one another."""
    for number in range(40):
        save(tmp_path / f"set/images/{number:02}.png", scene(number))
    return tmp_path / "set"


def listed(path: Path, header: str, lines: Sequence[str]) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


@pytest.mark.parametrize("column", ["group", "sequence", "patient"])
@pytest.mark.parametrize("empty", [False, True])
def test_a_list_of_groups_alone_is_dealt_by(plain: Path, column: str, empty: bool) -> None:
    header = f"file,split,{column}" if empty else f"file,{column}"
    middle = ",," if empty else ","
    lines = [f"images/{n:02}.png{middle}p{n // 4}" for n in range(40)]
    manifest = scan_folder(plain, splits=listed(plain / "groups.csv", header, lines))
    assert manifest.column("group") == [f"p{n // 4}" for n in range(40)]
    kept = set(zip(manifest.column("group"), manifest.column("split"), strict=True))
    assert len(kept) == 10
    assert Counter(split for _, split in kept) == {"train": 8, "val": 1, "test": 1}
    assert manifest.skipped.num_rows == 0


def test_equal_files_join_groups_that_a_list_gives(plain: Path) -> None:
    shutil.copy(plain / "images/00.png", plain / "images/39.png")  # patients 0 and 9
    shutil.copy(plain / "images/38.png", plain / "images/20.png")  # patients 9 and 5
    lines = [f"images/{n:02}.png,p{n // 4}" for n in range(40)]
    manifest = scan_folder(plain, splits=listed(plain / "groups.csv", "file,patient", lines))
    split = dict(zip(manifest.column("group"), manifest.column("split"), strict=True))
    assert len({split["p0"], split["p9"], split["p5"]}) == 1
    assert set(split.values()) == {"train", "val", "test"}
    assert "as 8 units; joined to others: 40 by group, 4 by equal file" in manifest.notes[0]


def test_images_that_agree_in_any_column_of_a_list_are_joined(plain: Path) -> None:
    lines = [f"images/{n:02}.png,s{n // 2},{f'p{n // 8}' if n < 32 else ''}" for n in range(40)]
    path = listed(plain / "groups.csv", "file,sequence,patient", lines)
    manifest = scan_folder(plain, splits=path)
    split = manifest.column("split")
    assert all(len(set(split[at : at + 8])) == 1 for at in range(0, 32, 8))
    assert all(len(set(split[at : at + 2])) == 1 for at in range(32, 40, 2))
    assert "as 8 units" in manifest.notes[0]


def test_images_that_a_list_of_groups_leaves_out_are_still_used(plain: Path) -> None:
    path = listed(plain / "groups.csv", "file,group", ["00.png,a", "01.png,a", "gone.png,b"])
    manifest = scan_folder(plain, splits=path)
    assert len(manifest) == 40
    assert by_id(manifest, "group")["00.png"] == "a"
    assert manifest.skipped["reason"].to_pylist() == ["missing: listed in groups.csv"]


def test_a_list_that_leaks_is_told_and_kept(plain: Path) -> None:
    shutil.copy(plain / "images/00.png", plain / "images/39.png")
    lines = [f"{n:02}.png,{'train' if n < 35 else 'test'},p{n // 4}" for n in range(40)]
    manifest = scan_folder(plain, splits=listed(plain / "splits.csv", "file,split,group", lines))
    assert manifest.column("split") == ["train"] * 35 + ["test"] * 5
    assert manifest.notes == (
        "splits are those of splits.csv",
        "1 file lies in more than one split",
        "1 group lies in more than one split",
    )
    assert equal_files(manifest) == [[("images/00.png", "train"), ("images/39.png", "test")]]


@pytest.mark.parametrize(
    ("header", "lines", "message"),
    [
        ("file", ["00.png"], "wanted columns file and split, or file and one of group, sequence"),
        ("name,group", ["00.png,a"], "wanted columns file and split"),
        ("file,split", ["00.png,"], "wanted train, val or test in line 2"),
        ("file,split,group", ["00.png,train,a", "01.png,,a"], "train, val or test in line 3"),
        ("file,group", ["00.png,a", "images/00.png,b"], "lines 2 and 3 of .* differ about"),
    ],
)
def test_lists_that_cannot_be_meant_are_refused(
    plain: Path, header: str, lines: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        scan_folder(plain, splits=listed(plain / "list.csv", header, lines))


@pytest.mark.parametrize(
    ("pattern", "group"),
    [(r"case(\d+)", "3"), (r"case\d+", "case3"), (r"(case)(\d+)_", "case/3"), (r"x(\d)?_", "x_")],
)
def test_groups_are_found_in_names(tmp_path: Path, pattern: str, group: str) -> None:
    for number in range(24):
        save(tmp_path / f"images/case{number // 2}_x_{number}.png", scene(number))
    save(tmp_path / "images/other.png", scene(99))
    manifest = scan_folder(tmp_path, dealing=Dealing(group_by=pattern))
    groups = by_id(manifest, "group")
    assert groups["case3_x_7.png"] == group
    assert groups["other.png"] == ""
    kept = {(g, s) for g, s in zip(groups.values(), manifest.column("split"), strict=True) if g}
    assert len(kept) == len({g for g, _ in kept})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "40 images were dealt into splits as 40 units"),
        (["--split", "val"], "all 40 images are for val, nothing was dealt"),
        (["--group-by", "[0-3]"], "as 4 units; joined to others: 40 by group"),
        (["--no-near-duplicates"], "40 images were dealt into splits as 40 units"),
    ],
)
def test_the_command_deals_as_it_is_told_and_says_how(
    plain: Path, tmp_path: Path, options: list[str], told: str
) -> None:
    result = command("data", "build", plain, "--out", tmp_path / "m.parquet", *options)
    assert result.exit_code == 0, result.output
    assert told in result.output
    assert told in Manifest.load(tmp_path / "m.parquet").notes[0]
    wrong = command("data", "build", plain, "--out", tmp_path / "n.parquet", "--split", "tset")
    assert wrong.exit_code == 2
    assert "split must be train, val, test or deal" in wrong.output


def test_dealing_is_checked() -> None:
    with pytest.raises(ValueError, match="split must be train, val, test or deal, got 'tset'"):
        Dealing(split="tset")
    with pytest.raises(ValueError, match=r"group_by must be a regular expression, got '\('"):
        Dealing(group_by="(")
    with pytest.raises(
        ConfigError, match="split must be '', 'deal', 'train', 'val' or 'test', got 'tset'"
    ):
        DataConfig("a", Path("a"), split="tset")
    with pytest.raises(ConfigError, match="group_by must be a regular expression"):
        DataConfig("a", Path("a"), group_by="(")
    with pytest.raises(ConfigError, match="split must be left out beside `splits`"):
        DataConfig("a", Path("a"), split="test", splits=Path("a.csv"))


# --- sets that are all for testing -----------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_set_may_be_all_one_split(plain: Path, split: str) -> None:
    manifest = scan_folder(plain, dealing=Dealing(split=split))
    assert manifest.column("split") == [split] * 40
    assert manifest.notes == (f"all 40 images are for {split}, nothing was dealt",)
    listed(plain / "splits.csv", "file,split", [f"{n:02}.png,train" for n in range(40)])
    with pytest.raises(ValueError, match=r"split: wanted none, .*splits\.csv gives splits"):
        scan_folder(plain, dealing=Dealing(split=split))


@pytest.mark.parametrize(
    ("key", "top"),
    [("cvc-300", "CVC-300"), ("cvc-colondb", "CVC-ColonDB"), ("etis", "ETIS-LaribPolypDB")],
)
def test_test_sets_of_the_registry_are_not_dealt(tmp_path: Path, key: str, top: str) -> None:
    pairs(top, count=20).write(tmp_path)
    manifest = scan(tmp_path / top, key)
    assert manifest.column("split") == ["test"] * 20
    assert build(tmp_path).column("split") == ["test"] * 20
    dealt = scan_set(tmp_path / top, key, dealing=Dealing(split="deal", near_duplicates=False))
    assert set(dealt.column("split")) == {"train", "val", "test"}
    path = listed(tmp_path / "s.csv", "file,split", ["0.png,train", "1.png,test"])
    assert set(scan_set(tmp_path / top, key, splits=path).column("split")) <= {"train", "test"}


def test_other_sets_of_the_registry_are_dealt(tmp_path: Path) -> None:
    pairs("Kvasir-SEG", images="jpg", masks="jpg", count=20).write(tmp_path)
    manifest = scan(tmp_path / "Kvasir-SEG", "kvasir-seg", dealing=Dealing(near_duplicates=False))
    assert set(manifest.column("split")) == {"train", "val", "test"}


def test_a_release_with_a_list_is_not_put_into_one_split(tmp_path: Path) -> None:
    kvasir_instrument().write(tmp_path)
    (top,) = (path for path in tmp_path.iterdir() if path.is_dir())
    with pytest.raises(ValueError, match="split: wanted none, kvasir-instrument gives splits"):
        scan_set(top, "kvasir-instrument", dealing=Dealing(split="test"))
    listed = scan_set(top, "kvasir-instrument", dealing=Dealing(split="deal"))
    assert listed.column("split") == scan_set(top, "kvasir-instrument").column("split")


def test_a_file_of_two_sets_on_both_sides_is_told(tmp_path: Path) -> None:
    for top, numbers in (("ETIS-LaribPolypDB", range(4)), ("Kvasir-SEG", range(20))):
        for number in numbers:
            save(tmp_path / top / f"images/{number}.png", scene(number))
            save(tmp_path / top / f"masks/{number}.png", np.full((48, 64), 255, np.uint8))
    manifest = build(tmp_path)
    splits = dict(zip(manifest.ids, manifest.column("split"), strict=True))
    across = sum(splits[f"kvasir-seg/images/{number}.png"] != "test" for number in range(4))
    assert across > 0
    assert set(manifest.notes) == {
        "kvasir-seg: 20 images were dealt into splits as 20 units",
        "etis: all 4 images are for test, nothing was dealt",
        f"{across} files lie in more than one split of the sets together",
    }


def test_notes_go_with_a_manifest(plain: Path, tmp_path: Path) -> None:
    manifest = scan_folder(plain, dealing=Dealing(split="test"))
    manifest.save(tmp_path / "m.parquet")
    again = Manifest.load(tmp_path / "m.parquet")
    assert again.notes == manifest.notes != ()
    assert again.split("test").notes == manifest.notes
    table = pq.read_table(tmp_path / "m.parquet")
    text = {**table.schema.metadata, b"notes": b"5"}
    pq.write_table(table.replace_schema_metadata(text), tmp_path / "bad.parquet")
    with pytest.raises(ValueError, match="is no manifest: notes must be a list, got 5"):
        Manifest.load(tmp_path / "bad.parquet")
    joint = Manifest.concat([again], "joint")
    assert joint.notes == (f"set: {manifest.notes[0]}",)
    assert again.fingerprint == manifest.fingerprint
