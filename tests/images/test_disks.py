"""Data sets as they lie on users' disks: names of downloads, tables, copies of others."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

pytest.importorskip("PIL.Image")
pytest.importorskip("pyarrow")

from containers import zipped
from disks import SEG, below, beside, counts, found, tree
from releases import RELEASES, Release, pairs, pranet_test, pranet_train

from meddel_fast.benchmark.config_file import load_config
from meddel_fast.images.datadel.entries.cvc import CLINICDB_STARTS
from meddel_fast.images.datadel.registry import collections, data_sets, known_set, located
from meddel_fast.images.manifest import Manifest
from meddel_fast.images.readers.frame_numbers import Numbered
from meddel_fast.images.readers.tree import Tree
from meddel_fast.images.scan.build import build, looks_plain
from meddel_fast.images.scan.datadel_set import scan_set
from meddel_fast.images.scan.registry_check import check, unclaimed

CONFIGS = Path(__file__).parents[2] / "configs"
DATADEL = list(data_sets())


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("kvasir-capsule", "kvasir-capsule-labeled-images.zip"),
        ("kvasir-capsule", "kvasir-capsule-labeled-videos.zip"),
        ("kvasir-capsule", "kvasir-capsule-unlabeled-videos.zip"),
        ("edd2020", "EDD2020_release-I_2020-01-15_v2"),
        ("edd2020", "EDD2020_release-I_2020-01-15_v2_s3"),
        ("edd2020", "EDD2020_release-I_2020-01-15_v2.zip"),
        ("edd2020", "EndoCV2020-Endoscopy-Disease-Detection-Segmentation-subChallenge_data.zip"),
        ("ead2019", "endoscopy-artefact-detection-_ead_-dataset"),
        ("ead2019", "trainingData_detection"),
        ("imageclefmed", "ImageCLEFmed-MEDVQA-GI-2023-Development-Dataset.zip"),
        ("hyper-kvasir", "labeled-images"),
        ("hyper-kvasir", "hyper-kvasir-videos.zip"),
        ("polypgen", "PolypGen2021_MultiCenterData_v3.zip"),
        ("kvasir-seg", "KVASIR seg v2"),
        ("kvasir-seg", "kvasir-seg (1).zip"),
        ("cvc-300", "CVC-EndoSceneStill"),
        ("pranet", "TestDataset.zip"),
        ("pranet", "Train Dataset"),
    ],
)
def test_downloads_are_found_under_their_names(tmp_path: Path, key: str, name: str) -> None:
    path = tmp_path / name
    if name.endswith(".zip"):
        path.write_bytes(zipped({"readme.txt": b""}))
    else:
        path.mkdir()
    assert known_set(key).locate(tmp_path) == [path]
    assert known_set(key).locate(tmp_path / name) == [path] if path.is_dir() else True
    named = [k for k in DATADEL if known_set(k).locate(tmp_path)]
    assert named == ([key] if key in DATADEL else [])


@pytest.mark.parametrize("within", ["", "labelled_images/"])
@pytest.mark.parametrize("packed", [False, True])
def test_kvasir_capsule_in_its_three_downloads(tmp_path: Path, within: str, packed: bool) -> None:
    made = RELEASES["kvasir-capsule osf"]()
    images = below(made, "Kvasir-Capsule/labelled_images")
    files = {f"{within}{path}": data for path, data in images.items()}
    files |= {path: d for path, d in below(made, "Kvasir-Capsule").items() if "metadata" in path}
    parts = {
        "labeled-images": files,
        "labeled-videos": {"a.mp4": b"video"},
        "unlabeled-videos": {"b.mp4": b"video", "c.mp4": b"video"},
    }
    for part, inside in parts.items():
        top = f"kvasir-capsule-{part}"
        if packed:
            (tmp_path / f"{top}.zip").write_bytes(zipped(inside))
        else:
            Release({f"{top}/{path}": data for path, data in inside.items()}).write(tmp_path)
    report = found(tmp_path)["kvasir-capsule"]
    assert counts(report) == {"labelled images": 3, "labelled videos": 1, "unlabelled videos": 2}
    samples = (
        known_set("kvasir-capsule")
        .parts[0]
        .find(Tree(known_set("kvasir-capsule").locate(tmp_path)))
    )
    assert [(s.label, s.group, len(s.boxes or ())) for s in samples] == [
        ("Angiectasia", "v0", 1), ("Normal clean mucosa", "v2", 0), ("Polyp", "v1", 2)
    ]  # fmt: skip


def test_ead_in_its_two_downloads(tmp_path: Path) -> None:
    RELEASES["ead2019 release"]().moved("").write(tmp_path)
    report = found(tmp_path)["ead2019"]
    assert report.where == ("trainingData_detection", "trainingData_semanticSegmentation")
    assert counts(report) == {"detection": 3, "segmentation": 3}
    assert len(build(tmp_path).with_masks()) == 3


def test_an_edition_counts_only_where_there_is_none_without(tmp_path: Path) -> None:
    pairs("Kvasir-SEG (1)").write(tmp_path)
    entry = known_set("kvasir-seg")
    assert entry.locate(tmp_path) == [tmp_path / "Kvasir-SEG (1)"]
    pairs("Kvasir-SEG").write(tmp_path)  # unpacked twice
    assert entry.locate(tmp_path) == [tmp_path / "Kvasir-SEG"]
    assert unclaimed(tmp_path, check(tmp_path, quick=True)) == ["Kvasir-SEG (1)"]
    for name in ("kvasir-seg-master", "Kvasir-SEG copy", "kvasir-dataset-v2"):
        (tmp_path / name).mkdir()
    assert entry.locate(tmp_path) == [tmp_path / "Kvasir-SEG"]


def test_releases_of_kaggle_are_told_by_what_is_in_them(tmp_path: Path) -> None:
    made = {
        "archive": RELEASES["cvc-clinicdb kaggle"](),
        "archive (1)": RELEASES["kvasir-instrument kaggle"]().moved("archive (1)"),
        "archive (2)": RELEASES["kvasir-seg archive"]().moved("archive (2)"),
        "archive (3)": RELEASES["polypgen kaggle"]().moved("archive (3)"),
        "archive (4)": pairs("archive (4)/photos"),
    }
    for each in made.values():
        each.write(tmp_path)
    reports = check(tmp_path, quick=True)
    told = {each.key: each.where for each in reports if each.where}
    assert told == {
        "cvc-clinicdb": ("archive",), "kvasir-instrument": ("archive (1)",),
        "kvasir-seg": ("archive (2)",), "polypgen": ("archive (3)",),
    }  # fmt: skip
    assert unclaimed(tmp_path, reports) == ["archive (4)"]
    several = tmp_path / "archive (4)"
    pairs("archive (4)/ETIS-LaribPolypDB").write(tmp_path)
    pairs("archive (4)/CVC-ColonDB").write(tmp_path)
    places = {key: place.where for key, place in located(tmp_path).items()}
    assert places["etis"] == (several / "ETIS-LaribPolypDB",)
    assert places["cvc-colondb"] == (several / "CVC-ColonDB",)


def test_data_check_tells_what_it_passes_over(tmp_path: Path) -> None:
    pytest.importorskip("typer")
    from typer.testing import CliRunner

    from meddel_fast.cli import app

    beside(tmp_path, "Kvasir-SEG", "kvasir-seg.zip", SEG.files)
    pairs("photos").write(tmp_path)
    (tmp_path / "Kvasir-SEG" / "images" / "extra.jpg").write_bytes(
        SEG.files["Kvasir-SEG/images/0.jpg"]
    )
    result = CliRunner().invoke(app, ["data", "check", str(tmp_path), "--quick"])
    assert result.exit_code == 1
    said = [line.strip() for line in result.output.splitlines()]
    assert "kvasir-seg: off Kvasir-SEG" in said
    assert "images: 4 of 1,000 images, off, 1 besides that are no samples" in said
    assert "Kvasir-SEG/images/extra.jpg: no mask" in said
    assert "kvasir-seg.zip: not read, all that it holds lies beside it" in said
    assert said[-1] == "no data set by name: photos"


def test_what_a_mac_and_a_download_add_counts_for_nothing(tmp_path: Path) -> None:
    made = pairs("Kvasir-SEG/Kvasir-SEG", "jpg", "png")
    made.files |= {
        "Kvasir-SEG/__MACOSX/images/._0.jpg": b"x", "Kvasir-SEG/.DS_Store": b"x",
        "Kvasir-SEG/LICENSE": b"x", "Kvasir-SEG/README.txt": b"x", "__MACOSX/._Kvasir-SEG": b"x",
    }  # fmt: skip
    made.write(tmp_path)
    manifest = build(tmp_path)
    assert len(manifest.with_masks()) == len(manifest) == 4
    assert not len(manifest.skipped)
    assert unclaimed(tmp_path, check(tmp_path, quick=True)) == []


@pytest.mark.parametrize(
    ("archive", "members"),
    [
        ("kvasir-instrument.zip", ["kvasir-instrument/images.tar.gz", "masks.tar.gz"]),
        ("kvasir-capsule-labeled-images.zip", ["labelled_images/Polyp.tar.gz"]),
        ("CVC-ClinicDB.zip", ["CVC-ClinicDB.rar"]),
    ],
)
def test_archives_that_hold_what_has_to_be_unpacked_say_so(
    tmp_path: Path, archive: str, members: list[str]
) -> None:
    (tmp_path / archive).write_bytes(zipped(dict.fromkeys([*members, "train.txt"], b"a\n")))
    (report,) = found(tmp_path).values()
    assert report.status == "unrecognised"
    places = sorted(f"{archive}::{member}" for member in members)
    assert report.problem == f"unpack first: {', '.join(places)}"


def test_broken_tables_do_not_hide_what_has_to_be_unpacked(tmp_path: Path) -> None:
    RELEASES["kvasir-capsule"]().write(tmp_path)
    (tmp_path / "Kvasir-Capsule" / "metadata.csv").write_bytes(b"file\nx")
    (tmp_path / "Kvasir-Capsule" / "labelled_images" / "Blood.tar.gz").write_bytes(b"")
    report = found(tmp_path)["kvasir-capsule"]
    assert report.status == "corrupt"
    assert "column filename" in report.problem
    assert "unpack first: Kvasir-Capsule/labelled_images/Blood.tar.gz" in report.problem


# --- videos by name ------------------------------------------------------------------------------


@pytest.fixture
def no_av(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)


@pytest.mark.usefixtures("no_av")
@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize(
    ("top", "label"),
    [("hyper-kvasir/labeled-videos/lower-gi-tract/sort/cecum", "cecum"),
     ("hyper-kvasir-videos/videos", None), ("hyper-kvasir/hyper-kvasir-videos/videos", None)],
)  # fmt: skip
def test_videos_are_counted_by_name_without_pyav(
    tmp_path: Path, quick: bool, top: str, label: str | None
) -> None:
    for n, kind in enumerate(["avi", "avi", "mpg"]):
        path = tmp_path / top / f"a clip {n}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"video")
    pairs("Kvasir-SEG").write(tmp_path)
    reports = {each.key: each for each in check(tmp_path, quick=quick)}
    assert counts(reports["kvasir-seg"]) == {"images": 4}
    hyper = reports["hyper-kvasir"]
    assert counts(hyper) == {"labelled videos": 3}
    assert hyper.parts[-1].expected == (373, 374)
    assert any("not opened: this needs av" in note for note in hyper.notes) == (not quick)
    part = known_set("hyper-kvasir").parts[-1]
    assert part.find(tree(tmp_path / top.split("/")[0]))[0].label == label


def test_a_complete_copy_has_as_many_videos_as_the_release_or_the_article() -> None:
    part = known_set("hyper-kvasir").parts[-1]
    assert (part.videos, *part.also) == (373, 374)


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


# --- counts of the releases, and a run -----------------------------------------------------------


def test_counts_of_the_releases() -> None:
    ead = {part.name: (part.images, *part.also) for part in known_set("ead2019").parts}
    assert ead == {"detection": (2_394, 2_147, 2_199, 2_342), "segmentation": (597, 475)}
    assert known_set("ead2019").images == 2_147 + 195 + 52 + 475 + 122 == 2_991
    assert known_set("cvc-colondb").parts[0].also == ()
    assert known_set("polypgen").images == 1_537 + 2_225 + 4_275


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("edd2020", "CC BY-NC 4.0"), ("ead2019", "CC BY-NC 3.0"),
        ("kvasir-capsule", "commercial use"), ("kvasir-seg", "880"), ("kvasir-seg", "validation"),
        ("cvc-300", "CVC-ColonDB"), ("cvc-colondb", "CVC-300"),
        ("imageclefmed", "Kvasir-Instrument"), ("imageclefmed", "Journal of Digital Imaging 22"),
        ("cvc-clinicdb", "CVC-612 is this set"),
        ("hyper-kvasir", "five folds"), ("gastrovision", "bare name"),
    ],
)  # fmt: skip
def test_what_a_user_would_want_to_know_is_told(key: str, words: str) -> None:
    entry = known_set(key)
    told = (entry.terms, entry.splits, entry.note, entry.citation.venue, entry.layout)
    assert words in " ".join(told)


def write_paper(root: Path, name: Callable[[str, str], str]) -> Iterable[tuple[str, Release]]:
    config = load_config(CONFIGS / "paper.toml", data_root=root)
    for data in config.data:
        assert data.path is not None
        made = RELEASES[data.set]()
        top = next(iter(made.files)).partition("/")[0]
        made.moved(name(top, data.path.name)).write(root)
        yield data.name, made


@pytest.mark.parametrize("as_released", [False, True])
def test_the_papers_config_reads_the_releases_that_check_finds(
    tmp_path: Path, as_released: bool
) -> None:
    pytest.importorskip("rich")
    from meddel_fast.benchmark.stages.run_stages import RunStages
    from meddel_fast.benchmark.stages.stage import Records

    made = dict(write_paper(tmp_path, lambda top, path: top if as_released else path))
    config = load_config(CONFIGS / "paper.toml", data_root=tmp_path, out=tmp_path / "run")
    plan = RunStages(config, Records(config.out))
    reports = found(tmp_path)
    for data in config.data:
        stage = plan.scan(data)
        assert stage.inputs()["files"]
        stage.work(lambda done, total: None)
        manifest = Manifest.load(plan.manifest_path(data.name))
        facts = made[data.name].facts.values()
        assert len(manifest) == len(facts), data.name
        assert sum(counts(reports[data.set]).values()) == len(manifest)
        if "test" in data.use:
            assert len(manifest.with_masks()) == sum(told["masked"] for told in facts), data.name


def test_a_set_in_several_archives_is_found_beside_the_path_of_a_config(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    from meddel_fast.benchmark.stages.run_stages import RunStages
    from meddel_fast.benchmark.stages.stage import Records

    made = RELEASES["hyper-kvasir"]()
    for part in ("labeled-images", "unlabeled-images"):
        files = below(made, f"hyper-kvasir/{part}")
        packed = zipped({f"{part}/{path}": data for path, data in files.items()})
        (tmp_path / f"hyper-kvasir-{part}.zip").write_bytes(packed)
    config = load_config(CONFIGS / "paper.toml", data_root=tmp_path, out=tmp_path / "run")
    plan = RunStages(config, Records(config.out))
    (data,) = [each for each in config.data if each.set == "hyper-kvasir"]
    stage = plan.scan(data)
    before = stage.inputs()
    stage.work(lambda done, total: None)
    assert len(Manifest.load(plan.manifest_path(data.name))) == 5
    (tmp_path / "hyper-kvasir-unlabeled-images.zip").write_bytes(zipped({"x.png": b""}))
    assert stage.inputs() != before
