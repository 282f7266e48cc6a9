"""Splits that do not leak: what is joined, how it is dealt, what is told, what is refused."""

from __future__ import annotations

import csv
import random
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("pyarrow")

import pyarrow.parquet as pq  # noqa: E402
import releases  # noqa: E402

from meddel_fast.benchmark.config import DataConfig  # noqa: E402
from meddel_fast.benchmark.config_file import load_config  # noqa: E402
from meddel_fast.common.errors import ConfigError  # noqa: E402
from meddel_fast.images.look_alikes import NEAR, NEXT, alike, look  # noqa: E402
from meddel_fast.images.manifest import Manifest  # noqa: E402
from meddel_fast.images.scan.assign_splits import assign  # noqa: E402
from meddel_fast.images.scan.build import build, scan  # noqa: E402
from meddel_fast.images.scan.datadel_set import scan_set  # noqa: E402
from meddel_fast.images.scan.folder import scan_folder  # noqa: E402
from meddel_fast.images.shared_images import equal_files, shared_images  # noqa: E402
from meddel_fast.images.sources import Sampling  # noqa: E402
from meddel_fast.images.splits import Dealing, deal_splits, join  # noqa: E402


def scene(seed: int, shift: float = 0.0, light: float = 1.0) -> np.ndarray:
    """Draw a soft coloured scene, (48, 64, 3) uint8, seen from a place that moves with `shift`."""
    field = np.random.default_rng(seed).uniform(20, 235, (7, 9, 3)).astype(np.uint8)
    wide = np.asarray(Image.fromarray(field).resize((160, 96), Image.Resampling.BICUBIC))
    left = 20 + round(shift)
    return (wide[20:68, left : left + 64] * light).astype(np.uint8)


def save(path: Path, pixels: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def by_id(manifest: Manifest, column: str = "split") -> dict[str, Any]:
    ids = (name.removeprefix("images/") for name in manifest.ids)
    return dict(zip(ids, manifest.column(column), strict=True))


def rows_of(**columns: Sequence[str]) -> list[dict[str, Any]]:
    """Make the rows of a scan of which dealing reads id, group and hash."""
    n = len(columns["id"])
    columns.setdefault("group", [""] * n)
    columns.setdefault("sha256", [f"{i:064x}" for i in range(n)])
    return [
        {"status": "ok", "split": "", **{name: values[i] for name, values in columns.items()}}
        for i in range(n)
    ]


# --- what is joined --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_components_are_those_of_a_search_through_the_graph(seed: int) -> None:
    rng = random.Random(seed)
    n = 40
    relations = [[rng.choice(["", *map(str, range(60))]) for _ in range(n)] for _ in range(2)]
    pairs = [(rng.randrange(n), rng.randrange(n)) for _ in range(5)]
    found = join(n, relations, pairs)
    for start in range(n):
        reached, left = {start}, [start]
        while left:
            i = left.pop()
            near = {b if a == i else a for a, b in pairs if i in (a, b)}
            near |= {j for r in relations for j in range(n) if r[i] and r[i] == r[j]}
            left += near - reached
            reached |= near
        assert {j for j in range(n) if found[j] == found[start]} == reached
        assert found[start] == min(reached)


def test_one_file_in_two_sub_folders_stays_in_one_split(tmp_path: Path) -> None:
    for number in range(30):
        pair = number // 3 * 2
        for folder in (pair, pair + 1):
            save(tmp_path / f"images/video {folder}/{number}.png", scene(number))
            save(
                tmp_path / f"images/video {folder}/own {number}.png",
                scene(1000 * folder + 1000 + number),
            )
    manifest = scan_folder(tmp_path)
    for column in ("sha256", "group"):
        kept = set(zip(manifest.column(column), manifest.column("split"), strict=True))
        assert len(kept) == len(set(manifest.column(column)))
    assert len(equal_files(manifest)) == 30
    assert Counter(manifest.column("split")) == {"train": 96, "val": 12, "test": 12}
    assert manifest.notes[0] == (
        "120 images were dealt into splits as 10 units; joined to others: 120 by group, "
        "60 by equal file"
    )


@pytest.mark.parametrize("seed", range(4))
def test_chains_of_relations_are_followed(tmp_path: Path, seed: int) -> None:
    """A is the file of B, B in the folder of C, C looks like D, D is counted next to E."""
    images = tmp_path / "images"
    save(images / "a.png", scene(seed))
    save(images / "v/b.png", scene(seed))
    save(images / "v/c.png", scene(100 + seed))
    save(images / "frame_7.png", scene(100 + seed, light=0.9))
    save(images / "frame_8.png", scene(100 + seed, shift=5, light=0.9))
    for other in range(20):
        save(images / f"{'abcdefghijklmnopqrst'[other]} x.png", scene(200 + 50 * seed + other))
    found = by_id(scan_folder(tmp_path))
    chain = ("a.png", "v/b.png", "v/c.png", "frame_7.png", "frame_8.png")
    assert len({found[name] for name in chain}) == 1
    assert set(found.values()) == {"train", "val", "test"}


def test_images_of_known_groups_are_not_joined_by_their_looks(tmp_path: Path) -> None:
    for group in range(12):
        for frame in range(2):
            save(
                tmp_path / f"images/{group}/{frame}.png",
                scene(0, shift=frame, light=1 - group / 50),
            )
    manifest = scan_folder(tmp_path)
    assert manifest.notes[0].startswith("24 images were dealt into splits as 12 units")
    assert set(manifest.column("split")) == {"train", "val", "test"}


def test_a_line_about_a_video_is_about_its_frames(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    for name in ("a", "b/c", "d"):
        path = tmp_path / f"images/{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as out:
            stream = out.add_stream("mpeg4", rate=10)
            stream.width, stream.height = 64, 48
            for n in range(3):
                pixels = scene(ord(name[-1]), shift=n)
                out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            out.mux(stream.encode())
    lines = ["file,split,patient", "a.mp4,train,p1", "images/b/c.MP4,test,p2", "gone.mp4,test,p3",
             "a.mp4::000002,val,p1"]  # fmt: skip
    (tmp_path / "splits.csv").write_text("\n".join(lines))
    manifest = scan_folder(tmp_path, sampling=Sampling(1))
    assert by_id(manifest) == {
        "a.mp4::000000": "train", "a.mp4::000001": "train", "a.mp4::000002": "val",
        **{f"b/c.mp4::00000{n}": "test" for n in range(3)},
    }  # fmt: skip
    assert manifest.column("group") == ["p1"] * 3 + ["p2"] * 3
    assert manifest.column("frame") == [0, 1, 2] * 2
    skipped = dict(zip(manifest.skipped["id"].to_pylist(), manifest.skipped["reason"].to_pylist(),
                       strict=True))  # fmt: skip
    assert skipped == {
        **{f"images/d.mp4::00000{n}": "not listed in splits.csv" for n in range(3)},
        "images/gone": "missing: listed in splits.csv",
    }


def test_frames_of_one_video_are_joined_by_number_and_looks(tmp_path: Path) -> None:
    for video in range(8):
        for frame in range(6):
            name = f"images/{video * 6 + frame:03}.png"
            save(tmp_path / name, scene(video, shift=6 * frame))
    manifest = scan_folder(tmp_path)
    splits = list(by_id(manifest).values())
    videos = [set(splits[start : start + 6]) for start in range(0, 48, 6)]
    assert all(len(found) == 1 for found in videos)
    assert set(splits) == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("change", "joined"),
    [
        (lambda p: p, True),
        (lambda p: (p * 0.9).astype(np.uint8), True),
        (lambda p: np.asarray(Image.fromarray(p).resize((128, 96))), True),
        (lambda p: p[1:-1, 1:-1], True),
        (lambda p: p[:, ::-1], False),
        (lambda p: p[..., ::-1], False),
        (lambda p: 255 - p, False),
    ],
    ids=["same", "darker", "larger", "cut", "mirrored", "other colours", "inverted"],
)
@pytest.mark.parametrize("seed", range(3))
def test_copies_are_joined_whatever_their_names(
    tmp_path: Path, change: Any, joined: bool, seed: int
) -> None:
    pixels = scene(seed)
    save(tmp_path / "one.png", pixels)
    save(tmp_path / "other.jpg", change(pixels), quality=60)
    looks = [look(tmp_path / name) for name in ("one.png", "other.jpg")]
    assert (alike(["one.png", "other.jpg"], looks, [False, False]) == [0, 0]) is joined


@pytest.mark.parametrize(
    ("names", "joined"),
    [
        (("7.png", "8.png"), True),
        (("img_0007.png", "img_0008.png"), True),
        (("f_7_a.png", "f_9_a.png"), True),
        (("7.png", "9000.png"), True),
        (("x.png", "y.png"), False),
        (("a_7.png", "b_8.png"), False),
        (("u/7.png", "v/8.png"), False),
    ],
)
def test_names_that_are_counted_on_need_to_look_less_alike(
    names: tuple[str, str], joined: bool
) -> None:
    x = np.zeros((2, 448), np.float32)
    x[:, 0] = 1
    x[1, 1] = np.sqrt(1 / 0.85**2 - 1)  # cosine .85
    assert NEXT < 0.85 < NEAR
    assert (alike(names, list(x), [False, False]) == [0, 0]) is joined


def test_what_does_not_look_alike_is_not_joined_by_its_number(tmp_path: Path) -> None:
    for number in range(12):
        save(tmp_path / f"images/{number}.png", scene(number))
    assert scan_folder(tmp_path).notes[0] == "12 images were dealt into splits as 12 units"


def test_images_that_cannot_be_looked_at_are_left_out_of_it(tmp_path: Path) -> None:
    (tmp_path / "no.png").write_bytes(b"no picture")
    save(tmp_path / "yes.png", scene(1))
    assert look(tmp_path / "no.png") is None
    assert look(tmp_path / "absent.png") is None
    seen = look(tmp_path / "yes.png")
    assert seen is not None
    assert seen.shape == (448,)
    assert alike(["a", "b", "c"], [None, seen, seen], [False] * 3) == [0, 1, 1]
    assert alike(["a", "b"], [seen, seen], [True, True]) == [0, 1]
    assert alike(["a", "b"], [None, None], [False, False]) == [0, 1]
    assert alike([], [], []) == []


def test_a_still_is_joined_to_the_pages_that_it_was_taken_from(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for series in range(10):
        pages = [Image.fromarray(scene(series, shift=12 * page)) for page in range(3)]
        pages[0].save(tmp_path / f"images/s{series}.tif", save_all=True, append_images=pages[1:])
        save(tmp_path / f"images/still {'abcdefghij'[series]}.png", scene(series, shift=12))
    manifest = scan_folder(tmp_path)
    split = by_id(manifest)
    for series in range(10):
        still = split[f"still {'abcdefghij'[series]}.png"]
        pages = {s for name, s in split.items() if name.startswith(f"s{series}.tif")}
        assert pages == {still}


# --- how it is dealt -------------------------------------------------------------------------


def test_the_outcome_depends_on_no_order() -> None:
    names = [f"images/{i}.png" for i in range(60)]
    groups = [f"g{i // 3}" if i < 30 else "" for i in range(60)]
    hashes = [f"{i % 50:064x}" for i in range(60)]
    rows = rows_of(id=names, group=groups, sha256=hashes)
    assign(rows, [None] * 60, Dealing())
    order = np.random.default_rng(0).permutation(60)
    again = rows_of(
        id=[names[i] for i in order],
        group=[groups[i] for i in order],
        sha256=[hashes[i] for i in order],
    )
    assign(again, [None] * 60, Dealing())
    assert [again[at]["split"] for at in np.argsort(order)] == [row["split"] for row in rows]


def test_deals_without_a_leak_are_as_they_were() -> None:
    groups = [f"g{i // 3}" if i < 30 else "" for i in range(60)]
    rows = rows_of(id=[f"{i}.png" for i in range(60)], group=groups)
    assign(rows, [None] * 60, Dealing())
    keys = [f"group {row['group']}" if row["group"] else row["sha256"] for row in rows]
    assert [row["split"] for row in rows] == deal_splits(keys)


def test_few_images_more_move_few_that_were_there() -> None:
    digests = [f"{i * 7919:064x}" for i in range(1020)]
    rows = rows_of(id=digests[:1000], sha256=digests[:1000])
    more = rows_of(id=digests, sha256=digests)
    assign(rows, [None] * 1000, Dealing())
    assign(more, [None] * 1020, Dealing())
    moved = sum(a["split"] != b["split"] for a, b in zip(rows, more, strict=False))
    assert moved <= 20


@pytest.mark.parametrize(
    ("sizes", "large"),
    [
        ([900, *[1] * 100], {"train"}),
        ([600, *[4] * 100], {"train"}),
        ([300, *[7] * 100], {"train"}),
        ([400, 300, *[3] * 100], {"train"}),
        ([996, 1, 1, 1, 1], {"train"}),
        ([50, 30, 5], {"train", "val"}),
        ([10, 10, 10], {"train", "val", "test"}),
    ],
)
def test_large_components_are_for_training(sizes: list[int], large: set[str]) -> None:
    keys = [f"k{number}" for number, size in enumerate(sizes) for _ in range(size)]
    dealt = dict(zip(keys, deal_splits(keys), strict=True))
    n = len(keys)
    assert {dealt[f"k{i}"] for i, size in enumerate(sizes) if size > n / 4} == large
    counts = Counter(deal_splits(keys))
    assert set(counts) == {"train", "val", "test"}
    if len(sizes) > 3:
        assert max(counts["val"], counts["test"]) <= 0.1 * n + max(
            size for size in sizes if size <= n / 4
        )


def test_a_component_too_large_for_the_shares_is_told(tmp_path: Path) -> None:
    for frame in range(20):
        save(tmp_path / f"images/{frame:02}.png", scene(0, shift=frame))
    for other in "abcde":
        save(tmp_path / f"images/{other}.png", scene(ord(other)))
    manifest = scan_folder(tmp_path)
    assert manifest.notes == (
        "25 images were dealt into splits as 6 units; joined to others: 20 by looks",
        "the largest unit holds 20 of the 25 images, all for train: a list of splits or groups, or "
        "group_by, would part it",
    )
    for other in "abcde":
        (tmp_path / f"images/{other}.png").unlink()
    manifest = scan_folder(tmp_path)
    assert set(manifest.column("split")) == {"train"}
    assert "with fewer than 3 units all images are for training" in manifest.notes[1]
    apart = scan_folder(tmp_path, dealing=Dealing(near_duplicates=False))
    assert set(apart.column("split")) == {"train", "val", "test"}
    assert apart.notes == ("20 images were dealt into splits as 20 units",)


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
    releases.pairs(top, count=20).write(tmp_path)
    manifest = scan(tmp_path / top, key)
    assert manifest.column("split") == ["test"] * 20
    assert build(tmp_path).column("split") == ["test"] * 20
    dealt = scan_set(tmp_path / top, key, dealing=Dealing(split="deal", near_duplicates=False))
    assert set(dealt.column("split")) == {"train", "val", "test"}
    path = listed(tmp_path / "s.csv", "file,split", ["0.png,train", "1.png,test"])
    assert set(scan_set(tmp_path / top, key, splits=path).column("split")) <= {"train", "test"}


def test_other_sets_of_the_registry_are_dealt(tmp_path: Path) -> None:
    releases.pairs("Kvasir-SEG", images="jpg", masks="jpg", count=20).write(tmp_path)
    manifest = scan(tmp_path / "Kvasir-SEG", "kvasir-seg", dealing=Dealing(near_duplicates=False))
    assert set(manifest.column("split")) == {"train", "val", "test"}


def test_a_release_with_a_list_is_not_put_into_one_split(tmp_path: Path) -> None:
    releases.kvasir_instrument().write(tmp_path)
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


# --- the same images on both sides are refused -----------------------------------------------


def masked(folder: Path, count: int = 12) -> Path:
    for number in range(count):
        save(folder / f"images/{number:02}.png", scene(number))
        save(folder / f"masks/{number:02}.png", np.full((48, 64), 255, np.uint8))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like an encoder's, and is never read further."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "config.json").write_text('{"image_size": 32}')
    return folder


def command(*arguments: object) -> Any:
    pytest.importorskip("typer")
    from typer.testing import CliRunner

    from meddel_fast.cli import app

    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.mark.parametrize("task", ["segmentation", "classification", "localisation"])
@pytest.mark.parametrize("case", ["one split", "two of three", "other manifest", "copies"])
def test_testing_on_what_was_trained_on_is_refused(
    tmp_path: Path, model: Path, task: str, case: str
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    folder = masked(tmp_path / "data")
    manifest = scan_folder(folder)
    manifest.save(tmp_path / "m.parquet")
    counts = Counter(manifest.column("split"))
    options: list[object] = ["--train-split", "test", "--test-split", "test"]
    test, train = counts["test"], counts["test"]
    if case == "two of three":
        options = ["--train-split", "train", "--train-split", "val", "--test-split", "val"]
        test, train = counts["val"], counts["train"] + counts["val"]
    elif case in ("other manifest", "copies"):
        other = folder
        if case == "copies":
            other = tmp_path / "elsewhere"
            shutil.copytree(folder, other)
            for path in (other / "images").iterdir():
                path.rename(path.with_name(f"renamed {path.name}"))
            for path in (other / "masks").iterdir():
                path.rename(path.with_name(f"renamed {path.name}"))
        scan_folder(other, dealing=Dealing(split="test")).save(tmp_path / "t.parquet")
        options = ["--test", tmp_path / "t.parquet"]
        test, train = 12, counts["train"]
    if task == "classification":
        options += ["--set", "labels=lesion"]
    result = command("evaluate", model, tmp_path / "m.parquet", "--task", task, *options)
    shared = min(test, train) if case != "two of three" else test
    assert result.exit_code == 2, result.output
    said = " ".join(result.output.split())
    assert f"{shared} of {test} test images are among the {train} training images" in said


def test_images_are_told_by_path_and_by_content(tmp_path: Path) -> None:
    manifest = scan_folder(masked(tmp_path / "a", 4), dealing=Dealing(split="test"))
    assert [pair[0] for pair in shared_images(manifest, manifest, contents=False)] == manifest.ids
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    save(tmp_path / "b/images/03.png", scene(77))
    (tmp_path / "link").symlink_to(tmp_path / "a")
    copy = scan_folder(tmp_path / "b", dealing=Dealing(split="test"))
    link = scan_folder(tmp_path / "link", dealing=Dealing(split="test"))
    assert shared_images(manifest, copy) == [(name, name) for name in copy.ids[:3]]
    assert shared_images(manifest, copy, contents=False) == []
    assert len(shared_images(manifest, link, contents=False)) == 4


RUN = """
[run]
name = "small"
out = "run"

[[data]]
name = "trained"
path = "trained"

[[data]]
name = "tested"
path = "tested"
use = ["test"]
split = "test"
"""


@pytest.fixture
def small_run(tmp_path: Path) -> Path:
    masked(tmp_path / "trained", 20)
    for number in range(5):
        save(tmp_path / f"tested/images/{number}.png", scene(50 + number))
        save(tmp_path / f"tested/masks/{number}.png", np.full((48, 64), 255, np.uint8))
    (tmp_path / "run.toml").write_text(RUN)
    return tmp_path / "run.toml"


def test_a_run_trains_the_heads_of_a_test_set_on_another_set(small_run: Path) -> None:
    pytest.importorskip("rich")
    from meddel_fast.benchmark.run import run
    from meddel_fast.benchmark.stages.run_stages import RunStages
    from meddel_fast.benchmark.stages.stage import Records

    with pytest.raises(ConfigError, match=r"'tested': no image with a mask .* `train_on` names"):
        run(load_config(small_run), until="data")
    small_run.write_text(RUN + 'train_on = ["trained"]\n')
    config = load_config(small_run)
    out = run(config, until="data")
    tested = Manifest.load(out / "data/tested.parquet")
    assert tested.column("split") == ["test"] * 5
    plan = RunStages(config, Records(out))
    plan.records._digests |= {p: p.name for p in (out / "data").iterdir()}
    heads = plan.head_rows(config.data[1])
    trained = Manifest.load(out / "data/trained.parquet").split("train")
    assert heads.ids == [f"trained/{name}" for name in trained.ids]
    assert plan.head_rows(config.data[0]).ids == trained.ids


def test_a_run_refuses_heads_that_saw_the_test_images(small_run: Path) -> None:
    pytest.importorskip("rich")
    from meddel_fast.benchmark.run import run

    text = RUN.replace('path = "tested"', 'path = "trained"') + 'train_on = ["trained"]\n'
    small_run.write_text(text)
    with pytest.raises(ConfigError, match="'tested': 16 of 20 test images are among those"):
        run(load_config(small_run), until="data")
    small_run.write_text(RUN + 'train_on = ["nobody"]\n')
    with pytest.raises(ConfigError, match=r"'tested' train_on must name data sets .* got 'nobody'"):
        load_config(small_run)


# --- real frames -----------------------------------------------------------------------------


def nearest(real_data: Path, splits: Mapping[str, str]) -> tuple[np.ndarray, dict[str, set[str]]]:
    """Give the highest cosine of each test frame to a training frame, and sequences' splits."""
    with (real_data / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    x = np.load(real_data / "embeddings_effnet_lite0_f32.npy").astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    split = np.array([splits.get(row["file"], "") for row in rows])
    sequences: dict[str, set[str]] = {}
    for row, name in zip(rows, split, strict=True):
        if name and row["sequence"]:
            sequences.setdefault(row["sequence"], set()).add(name)
    return (x[split == "test"] @ x[split == "train"].T).max(axis=1), sequences


@pytest.mark.parametrize(
    ("name", "before", "fewest", "most"),
    [("cvc_clinicdb", (12, 29), 10, 29), ("kvasir_seg", (3, 0), 950, 995)],
)
def test_neighbours_in_real_videos_are_on_one_side(
    real_data: Path, name: str, before: tuple[int, int], fewest: int, most: int
) -> None:
    """Without a list and without sequences, no test frame has a training frame at .95."""
    manifest = scan_folder(real_data / name)
    ids = [f"{name}/{one}" for one in manifest.ids]
    cosines, sequences = nearest(real_data, dict(zip(ids, manifest.column("split"), strict=True)))
    assert len(cosines) >= 0.1 * len(manifest)
    assert cosines.max() < 0.95
    assert sum(len(splits) > 1 for splits in sequences.values()) <= 1
    units = int(manifest.notes[0].partition(" as ")[2].split()[0])
    assert fewest <= units <= most
    one_by_one = deal_splits(manifest.column("sha256"))  # what was dealt before
    cosines, sequences = nearest(real_data, dict(zip(ids, one_by_one, strict=True)))
    parted = sum(len(splits) > 1 for splits in sequences.values())
    assert ((cosines >= 0.95).sum(), parted) == before
