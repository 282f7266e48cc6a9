"""Splits that do not leak: what is joined, and how it is dealt."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("pyarrow")

from scenes import by_id, save, scene  # noqa: E402

from meddel_fast.images.look_alikes import NEAR, NEXT, alike, look  # noqa: E402
from meddel_fast.images.scan.assign_splits import assign  # noqa: E402
from meddel_fast.images.scan.folder import scan_folder  # noqa: E402
from meddel_fast.images.shared_images import equal_files  # noqa: E402
from meddel_fast.images.sources import Sampling  # noqa: E402
from meddel_fast.images.splits import Dealing, deal_splits, join  # noqa: E402


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
