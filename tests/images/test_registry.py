"""The registry: every entry on a made tree of its release, whole, incomplete and damaged."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("PIL.Image")
pytest.importorskip("pyarrow")

from containers import mask_png, png, tarred, write_video, zipped
from made_release import HEIGHT, Release, mask_file, pairs
from releases import RELEASES

from meddel_fast.benchmark.config_file import load_config
from meddel_fast.common.errors import ConfigError
from meddel_fast.images.address import ImageError
from meddel_fast.images.datadel import registry
from meddel_fast.images.datadel.data_set import Part
from meddel_fast.images.datadel.registry import collections, data_sets, known_set
from meddel_fast.images.load_images import load_image
from meddel_fast.images.load_masks import load_mask
from meddel_fast.images.manifest import Manifest
from meddel_fast.images.scan.build import build, scan
from meddel_fast.images.scan.datadel_set import scan_set
from meddel_fast.images.scan.registry_check import SetReport, check
from meddel_fast.images.scan.webdataset import scan_shards
from meddel_fast.images.sources import Sampling

DATA = Path(os.environ.get("MEDDEL_DATA", Path(__file__).parents[2] / "../shared/data"))

Shrink = Callable[[str, dict[str, int]], None]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shrink]:
    """A function that gives an entry the counts of a made release."""

    def shrink(key: str, counts: dict[str, int]) -> None:
        def smaller(parts: tuple[Part, ...]) -> tuple[Part, ...]:
            return tuple(
                replace(p, also=(), **{unit: counts[p.name]})
                for p in parts
                if (unit := "images" if p.videos is None else "videos") and counts.get(p.name)
            )

        for name in ("ENTRIES", "COLLECTIONS"):
            changed = [
                replace(e, parts=smaller(e.parts), copies=tuple(map(smaller, e.copies)))
                if e.key == key
                else e
                for e in getattr(registry, name)
            ]
            monkeypatch.setattr(registry, name, tuple(changed))
        forget()

    def forget() -> None:
        data_sets.cache_clear()
        collections.cache_clear()

    yield shrink
    monkeypatch.undo()
    forget()


def report(root: Path, key: str, **options: bool) -> SetReport:
    (found,) = check(root, [key], **options)
    return found


# --- the entries -----------------------------------------------------------------------------


def test_the_fourteen_sets_of_the_paper() -> None:
    # Table 1 of arXiv 2401.17542: frames, and the sum of the three pre-training sets
    frames = {key: entry.paper_frames for key, entry in data_sets().items()}
    assert frames == {
        "gastrovision": 8_000, "hyper-kvasir": 110_079, "kvasir-capsule": 47_238,
        "cvc-clinicdb": 612, "cvc-300": 60, "cvc-colondb": 380, "ead2019": 2_991, "edd2020": 380,
        "etis": 196, "imageclefmed": 66_662, "kvasir-instrument": 590, "kvasir-seg": 1_000,
        "kvasir-sessile": 196, "polypgen": 3_762,
    }  # fmt: skip
    divisions = Counter(entry.division for entry in data_sets().values())
    assert divisions == {"pre-training": 3, "downstream": 11}
    first = [e.paper_frames for e in data_sets().values() if e.division == "pre-training"]
    assert sum(first) == 165_317
    assert known_set("hyper-kvasir").images == 110_079
    assert known_set("polypgen").images == 8_037
    assert known_set("imageclefmed").images is None


@pytest.mark.parametrize("key", list(data_sets()))
def test_every_entry_is_whole(key: str) -> None:
    entry = known_set(key)
    assert key in {release.split(" ")[0] for release in RELEASES}
    for text in (entry.name, entry.terms, entry.home, entry.download, entry.splits, entry.layout):
        assert text
    assert entry.home.startswith("http")
    assert entry.citation.title
    assert not entry.citation.doi or entry.citation.doi.startswith("10.")
    assert entry.parts
    assert len({part.name for part in entry.parts}) == len(entry.parts)
    assert entry.locate(Path(__file__).parent) == []


def test_unknown_keys() -> None:
    with pytest.raises(ValueError, match=r"no data set 'kvasir_seg'.*did you mean 'kvasir-seg'"):
        known_set("kvasir_seg")
    with pytest.raises(ValueError, match=r"no data set 'mnist' in the registry; known: gastro"):
        known_set("mnist")


# --- every layout ----------------------------------------------------------------------------


def judge(manifest: Manifest, made: Release, packed: bool) -> None:
    """Hold a manifest against the facts of a made release; nothing found by its name alone."""
    skipped = {row["id"]: row["reason"] for row in manifest.skipped.to_pylist()}
    assert len(skipped) == len(made.left)
    for path, reason in made.left.items():
        assert [r for i, r in skipped.items() if i.endswith(path.partition("/")[2])] == [reason]
    assert len(manifest) == len(made.facts)
    rows = {row["sha256"]: row for row in manifest.table.to_pylist()}
    for path, facts in made.facts.items():
        row = rows[hashlib.sha256(made.files[path]).hexdigest()]
        assert row["id"].endswith(path.partition("/")[2])
        assert ("::" in row["id"]) == packed
        assert load_image(manifest.root / row["image"], 8).shape == (8, 8, 3)
        assert (row["mask"] is not None) == facts["masked"], path
        if row["mask"]:
            share = load_mask(manifest.root / row["mask"], HEIGHT).mean()
            assert round(share * HEIGHT) == facts["number"] + 1, path
        for name in facts.keys() & {"label", "group", "split", "frame"}:
            assert row[name] == facts[name], path
        if "boxes" in facts:
            assert json.loads(row["boxes"]) == facts["boxes"]
        else:
            assert row["boxes"] is None
    assert all(manifest.column("split"))


@pytest.mark.parametrize("release", list(RELEASES))
def test_a_release_in_a_folder_and_in_an_archive(
    tmp_path: Path, release: str, small: Shrink
) -> None:
    key, made = release.split(" ")[0], RELEASES[release]()
    small(key, made.parts)
    root = tmp_path / "open"
    made.write(root)
    (folder,) = known_set(key).locate(root)
    judge(scan_set(folder, key), made, packed=False)
    found = report(root, key)
    assert found.status == "complete", found
    assert {part.name: part.found for part in found.parts} == made.parts
    assert found.download == ""

    top = folder.name
    inside = {name.removeprefix(f"{top}/"): data for name, data in made.files.items()}
    (tmp_path / "zip").mkdir()
    (tmp_path / "zip" / f"{top}.zip").write_bytes(zipped(inside))
    judge(scan_set(tmp_path / "zip" / f"{top}.zip", key), made, packed=True)
    assert report(tmp_path / "zip", key).status == "complete"
    (tmp_path / "deep" / top).mkdir(parents=True)
    (tmp_path / "deep" / top / "all.zip").write_bytes(zipped({"in.zip": zipped(made.files)}))
    judge(scan_set(tmp_path / "deep" / top, key), made, packed=True)


@pytest.mark.parametrize("key", list(data_sets()))
def test_what_is_missing_broken_or_off_in_count(tmp_path: Path, key: str, small: Shrink) -> None:
    made = RELEASES[key]()
    small(key, made.parts)
    entry = known_set(key)
    missing = report(tmp_path, key)
    assert (missing.status, missing.parts, missing.download) == ("missing", (), entry.download)
    (tmp_path / entry.name).mkdir()
    empty = report(tmp_path, key)
    assert empty.status == "unrecognised"
    assert entry.layout in empty.problem
    (tmp_path / entry.name).rmdir()

    made.write(tmp_path)
    image = next(iter(made.facts))
    whole = (tmp_path / image).read_bytes()
    (tmp_path / image).write_bytes(whole[: len(whole) // 2])
    assert report(tmp_path, key, quick=True).status == "complete"
    corrupt = report(tmp_path, key)
    assert corrupt.status == "corrupt"
    (bad,) = [part for part in corrupt.parts if part.status == "corrupt"]
    assert bad.corrupt == 1
    assert bad.examples[0].startswith(f"{image}: ")
    assert scan_set(entry.locate(tmp_path)[0], key).skipped.num_rows == 1

    (tmp_path / image).unlink()
    off = report(tmp_path, key)
    assert off.status == "off"
    (part,) = [part for part in off.parts if part.status == "off"]
    assert part.found == part.expected[0] - 1
    assert off.download == entry.download
    if len(made.parts) > 1:
        gone = list(made.parts)[-1]
        for path in [path for path, facts in made.facts.items() if facts["part"] == gone]:
            (tmp_path / path).unlink()
        (tmp_path / image).write_bytes(whole)
        without = report(tmp_path, key)
        optional = next(p.optional for p in entry.parts if p.name == gone)
        assert without.status == ("complete" if optional else "partial")


def test_packed_files_that_have_to_be_unpacked_first(tmp_path: Path, small: Shrink) -> None:
    (tmp_path / "CVC-ClinicDB.rar").write_bytes(b"Rar!")
    missing = report(tmp_path, "cvc-clinicdb")
    assert missing.status == "missing"
    assert missing.problem == "unpack first: CVC-ClinicDB.rar"
    made = RELEASES["kvasir-capsule"]()
    made.write(tmp_path)
    (tmp_path / "Kvasir-Capsule" / "labelled_images" / "Blood.tar.gz").write_bytes(b"")
    packed = report(tmp_path, "kvasir-capsule", quick=True)
    assert packed.status == "off"
    assert packed.problem == "unpack first: Kvasir-Capsule/labelled_images/Blood.tar.gz"
    small("kvasir-capsule", made.parts)
    assert report(tmp_path, "kvasir-capsule", quick=True).problem == ""


def test_images_that_a_table_lists_and_that_are_not_there(tmp_path: Path) -> None:
    for key, reason in (
        ("kvasir-instrument", "missing: listed in a split"),
        ("hyper-kvasir", "missing: listed in image-labels.csv"),
        ("kvasir-capsule", "missing: listed in metadata.csv"),
    ):
        made = RELEASES[key]()
        image = next(iter(made.facts))
        made.write(tmp_path)
        (tmp_path / image).unlink()
        (skipped,) = scan_set(known_set(key).locate(tmp_path)[0], key).skipped.to_pylist()
        assert skipped["reason"] == reason
        assert Path(image).stem in skipped["id"]
        assert report(tmp_path, key).parts[0].absent == 1


@pytest.mark.parametrize(
    ("key", "file", "text", "message"),
    [
        ("kvasir-seg", "Kvasir-SEG/kavsir_bboxes.json", '{"0": {', "not JSON"),
        ("kvasir-seg", "Kvasir-SEG/kavsir_bboxes.json", '{"0": {"bbox": [{"xmin": 1}]}}',
         "boxes of '0' not understood"),
        ("polypgen", "PolypGen2021_MultiCenterData_v3/data_C1/bbox_C1/a1.txt", "polyp 1 2 3",
         "line 1 is no box"),
        ("kvasir-capsule", "Kvasir-Capsule/metadata.csv", "file;frame\n1;2", "column filename"),
        ("kvasir-capsule", "Kvasir-Capsule/metadata.csv", "filename;frame_number\nv0_0.jpg;x",
         "row of 'v0_0.jpg' not understood"),
        ("kvasir-capsule json", "Kvasir-Capsule/metadata.json", "{}", "wanted a list of objects"),
        ("cvc-clinicdb both", "CVC-ClinicDB/metadata.csv", "a,b\n1,2", "frame_id and sequence_id"),
    ],
)  # fmt: skip
def test_broken_tables(tmp_path: Path, key: str, file: str, text: str, message: str) -> None:
    RELEASES[key]().write(tmp_path)
    (tmp_path / file).write_text(text)
    key = key.split(" ")[0]
    with pytest.raises(ImageError, match=message):
        scan_set(known_set(key).locate(tmp_path)[0], key)
    found = report(tmp_path, key)
    assert found.status == "corrupt"
    assert Path(file).name in found.problem


def test_videos_of_a_release(tmp_path: Path, small: Shrink) -> None:
    pytest.importorskip("av")
    made = RELEASES["kvasir-capsule"]()
    made.write(tmp_path)
    top = tmp_path / "Kvasir-Capsule"
    for name in ("labelled_videos/a.mp4", "unlabelled_videos/b.mp4", "unlabelled_videos/c.mp4"):
        write_video(top / name, "libx264", 20)
    counts = {**made.parts, "labelled videos": 1, "unlabelled videos": 2}
    small("kvasir-capsule", counts)
    assert report(tmp_path, "kvasir-capsule").status == "complete"
    manifest = scan_set(top, "kvasir-capsule", sampling=Sampling(stride=8))
    clips = [row for row in manifest.table.to_pylist() if ".mp4::" in row["id"]]
    assert len(clips) == 9
    assert {row["group"] for row in clips} == {"a", "b", "c"}
    assert {row["frame"] for row in clips} == {0, 8, 16}
    (top / "unlabelled_videos" / "c.mp4").write_bytes(b"no video")
    found = report(tmp_path, "kvasir-capsule")
    assert found.status == "corrupt"
    assert "no video" in found.parts[2].examples[0]


# --- many sets, WebDataset shards ----------------------------------------------------------------


def test_build_makes_one_manifest_of_all_that_is_there(tmp_path: Path) -> None:
    for key in ("kvasir-seg", "polypgen", "gastrovision"):
        RELEASES[key]().write(tmp_path)
    (tmp_path / "other").mkdir()
    manifest = build(tmp_path)
    counts = Counter(i.split("/")[0] for i in manifest.ids)
    assert counts == {"kvasir-seg": 4, "polypgen": 8, "gastrovision": 4}
    assert all(load_image(path, 8).any() for path in manifest.image_paths())
    assert {i.split("/")[0] for i in build(tmp_path, ["polypgen"]).ids} == {"polypgen"}
    with pytest.raises(FileNotFoundError, match="no folder or archive of etis in"):
        build(tmp_path, ["polypgen", "etis"])
    with pytest.raises(FileNotFoundError, match="data sets of the registry by name"):
        build(tmp_path / "other")
    (tmp_path / "ETIS-Larib").mkdir()
    with pytest.raises(ValueError, match="has no layout of etis"):
        build(tmp_path)


def test_a_set_in_several_archives(tmp_path: Path) -> None:
    made = RELEASES["hyper-kvasir"]()
    for part in ("labeled-images", "unlabeled-images", "segmented-images"):
        top = f"hyper-kvasir/{part}/"
        files = {f"{part}/{n.removeprefix(top)}": d for n, d in made.files.items() if top in n}
        files = {n: d for n, d in files.items() if "hyper-kvasir" not in n}
        (tmp_path / f"hyper-kvasir-{part}.zip").write_bytes(zipped(files))
    manifest = build(tmp_path)
    assert len(manifest) == len(made.facts)
    assert all(load_image(path, 8).any() for path in manifest.image_paths())


def test_splits_file_replaces_a_release_s_own(tmp_path: Path) -> None:
    RELEASES["kvasir-instrument"]().write(tmp_path)
    folder = tmp_path / "kvasir-instrument"
    lines = ["file,split", *(f"images/{n}.jpg,{'val' if n else 'test'}" for n in range(4))]
    (folder / "own.csv").write_text("\n".join(lines))
    manifest = scan_set(folder, "kvasir-instrument", splits=folder / "own.csv")
    assert manifest.column("split") == ["test", "val", "val", "val"]
    assert manifest.skipped["reason"].to_pylist() == ["not listed in own.csv"]


def test_webdataset_shards(tmp_path: Path) -> None:
    for shard in range(2):
        members = {}
        for n in range(3):
            key = f"./case.d/{shard}{n}"
            members |= {f"{key}.png": png(10 * shard + n), f"{key}.cls": b" polyp\n",
                        f"{key}.seg.png": mask_png(rows=n + 1), f"{key}.json": b"{}"}  # fmt: skip
        members["alone.jpg"] = png(90 + shard)
        members["../up.png"] = png(99)
        (tmp_path / f"{shard:05d}.tar").write_bytes(tarred(members))
    (tmp_path / "cut.tar").write_bytes(b"no tar")
    manifest = scan(tmp_path, sampling=Sampling(), splits=None)
    assert len(manifest) == 8
    assert manifest.column("label") == [None, *["polyp"] * 3] * 2
    for row in manifest.with_masks().table.to_pylist():
        n = int(row["id"][-5])
        assert load_mask(manifest.root / row["mask"], 30).mean() == pytest.approx((n + 1) / 30)
        assert row["id"].startswith(f"0000{row['id'][4]}.tar::case.d/")
    reasons = sorted(manifest.skipped["reason"].to_pylist())
    assert reasons[0].startswith("broken archive")
    assert len(reasons) == 3
    single = scan(tmp_path / "00001.tar", require_masks=True)
    assert len(single) == 3
    with pytest.raises(ValueError, match="WebDataset tars are dealt into splits"):
        scan(tmp_path, splits="x.csv")
    with pytest.raises(FileNotFoundError, match="no folder or tar"):
        scan_shards(tmp_path / "none")
    (tmp_path / "e").mkdir()
    with pytest.raises(ValueError, match="no image in the 0 tars"):
        scan_shards(tmp_path / "e")


def test_masks_of_a_union_must_have_one_size(tmp_path: Path) -> None:
    RELEASES["edd2020"]().write(tmp_path)
    folder = known_set("edd2020").locate(tmp_path)[0]
    (folder / "masks" / "EDD_0_polyp.tif").write_bytes(mask_png(20, 20))
    (folder / "masks" / "EDD_1_BE.tif").write_bytes(b"broken")
    reasons = sorted(scan_set(folder, "edd2020").skipped["reason"].to_pylist())
    assert reasons[0].startswith("mask: EDD_1_BE.tif: ")
    assert reasons[1].startswith("mask: parts of different sizes")


def test_an_archive_beside_its_folder_is_read_once(tmp_path: Path) -> None:
    made = pairs("Kvasir-SEG")
    made.write(tmp_path)
    (tmp_path / "Kvasir-SEG.zip").write_bytes(zipped(made.files))
    assert len(build(tmp_path)) == 4


def test_a_plain_folder_may_hold_all_masks_elsewhere(tmp_path: Path) -> None:
    made = pairs("Kvasir-SEG")
    del made.files["Kvasir-SEG/masks/1.png"]  # an image without mask is no image of this set
    made.files["Kvasir-SEG/masks/9.png"] = mask_file("x.png", range(3))
    made.write(tmp_path)
    assert len(build(tmp_path)) == 3
    assert report(tmp_path, "kvasir-seg").status == "off"


def test_a_run_reads_a_set_of_the_registry_from_its_archive(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    from meddel_fast.benchmark.run import run

    made = RELEASES["kvasir-seg"]()
    archive = tmp_path / "release.zip"
    archive.write_bytes(zipped(made.files))
    text = """
    [run]
    name = "r"
    out = "run"
    [[data]]
    name = "k"
    path = "release.zip"
    set = "kvasir-seg"
    """
    config = tmp_path / "r.toml"
    config.write_text(text)
    run(load_config(config), until="data")
    manifest = Manifest.load(tmp_path / "run" / "data" / "k.parquet")
    judge(manifest, made, packed=True)
    assert len(Manifest.load(tmp_path / "run" / "data" / "pretrain.parquet")) == 2
    less = {n: d for n, d in made.files.items() if not n.endswith("/0.jpg")}
    archive.write_bytes(zipped(less))
    run(load_config(config), until="data")
    assert len(Manifest.load(tmp_path / "run" / "data" / "k.parquet")) == 3
    config.write_text(text.replace('"kvasir-seg"', '"kvasir-sge"'))
    with pytest.raises(ConfigError, match=r"'k' set: no data set 'kvasir-sge'.*did you mean"):
        run(load_config(config), until="data")


# --- real frames -----------------------------------------------------------------------------


@pytest.mark.skipif(not (DATA / "manifest.csv").is_file(), reason="real frames are not here")
@pytest.mark.parametrize(
    ("key", "folder", "counts"),
    [
        ("kvasir-seg", "kvasir_seg", {"train": 880, "val": 120}),
        ("cvc-clinicdb", "cvc_clinicdb", {"train": 396, "val": 96, "test": 120}),
    ],
)
def test_real_frames_by_their_readers(key: str, folder: str, counts: dict[str, int]) -> None:
    assert known_set(key).locate(DATA) == [(DATA / folder).resolve()]
    manifest = scan_set(DATA / folder, key, splits=DATA / "manifest.csv")
    assert Counter(manifest.column("split")) == counts
    assert len(manifest.with_masks()) == len(manifest)
    assert report(DATA, key, quick=True).status == "complete"
    assert known_set(key).images == len(manifest)
