"""Data sets as they lie on users' disks: names of downloads, videos, counts, a run's config."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

pytest.importorskip("PIL.Image")
pytest.importorskip("pyarrow")

from containers import zipped
from disks import SEG, below, beside, counts, found, tree
from made_release import Release, pairs
from releases import RELEASES

from meddel_fast.benchmark.config_file import load_config
from meddel_fast.images.datadel.registry import data_sets, known_set, located
from meddel_fast.images.manifest import Manifest
from meddel_fast.images.readers.tree import Tree
from meddel_fast.images.scan.build import build
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
